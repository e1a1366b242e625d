"""Runs what `make test` leaves out, some parts side by side, and prints a line for each: `make prove`.

The output of a part is kept in `.prove/`, and printed when the part fails.
"""

import argparse
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from tools.template import ROOT

SKIPPED = "skipped: "  # a part's last line begins like this when this machine can't run it

_TAIL_LINES = 200


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of `make prove`. With `alone`, nothing runs beside it, since it measures processor time and memory."""

    name: str
    command: Sequence[str]
    alone: bool = False

    @property
    def log(self) -> Path:
        return ROOT / ".prove" / f"{self.name.replace(' ', '-')}.log"


def python(*arguments: str) -> list[str]:
    return [sys.executable, "-m", *arguments]


def pytest(*arguments: str) -> list[str]:
    return python("pytest", "-q", *arguments)


# The longest files of end to end first, so that the others run beside them.
_END_TO_END = (
    *("-n", "3", "--no-loadscope-reorder", "tests/e2e/test_story.py", "tests/e2e/test_runbooks.py"),
    *("tests/e2e", "--ignore=tests/e2e/test_least_privilege.py"),
)
# The longest first, so that the others run beside them.
PARTS = (
    Part(name="load", command=python("tools.load", "--sizes", "1000,10000"), alone=True),
    Part(name="end to end", command=pytest(*_END_TO_END)),
    Part(name="10,000 seeds", command=python("tools.simulator", "--seeds", "10000", "--jobs", "1")),
    Part(name="least privilege", command=pytest("tests/e2e/test_least_privilege.py")),
    Part(name="planted bugs", command=python("tools.simulator.planted_bugs", "--jobs", "1")),
    Part(name="slow tests", command=pytest("--ignore=tests/e2e", "-m", "slow and not lengthy", "tests")),
    Part(name="static", command=python("tools.static")),
    Part(name="Lambda's Python", command=python("tools.lambda_python")),
)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    part: Part
    verdict: str  # "passed", "failed" or "skipped"
    seconds: float
    said: str  # the last line of its output

    def __str__(self) -> str:
        return f"{self.part.name:<18}{self.seconds:>6.0f} s  {self.verdict}: {self.said[:100]}"


def run(part: Part) -> Outcome:
    """Run one part and write its output to its log."""
    part.log.parent.mkdir(exist_ok=True)
    began = time.monotonic()
    with part.log.open("wb") as log:
        done = subprocess.run(part.command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, check=False)
    said = (part.log.read_text(errors="replace").strip().splitlines() or [""])[-1]
    verdict = "failed" if done.returncode else "skipped" if said.startswith(SKIPPED) else "passed"
    return Outcome(part=part, verdict=verdict, seconds=time.monotonic() - began, said=said.removeprefix(SKIPPED))


def outcomes(parts: Sequence[Part], jobs: int) -> Iterator[Outcome]:
    """Yield the outcome of each part as soon as the part ends; parts that run alone come first."""
    for part in parts:
        if part.alone:
            yield run(part)
    with ThreadPoolExecutor(jobs) as pool:
        for future in as_completed([pool.submit(run, part) for part in parts if not part.alone]):
            yield future.result()


def prove(parts: Sequence[Part], jobs: int) -> int:
    """Run these parts and print their outcomes; return 1 when one failed."""
    began, found = time.monotonic(), []
    for outcome in outcomes(parts, jobs):
        found.append(outcome)
        print(outcome, flush=True)
        if outcome.verdict == "failed":
            lines = outcome.part.log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
            print("\n".join(f"    {line}" for line in lines), flush=True)
    verdicts = Counter(outcome.verdict for outcome in found)
    counted = ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in ("passed", "failed", "skipped"))
    minutes, seconds = divmod(round(time.monotonic() - began), 60)
    print(f"{counted} in {minutes} min {seconds:02} s")
    return 1 if verdicts["failed"] or not found else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tools.prove", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="the parts whose name has this text")
    parser.add_argument("--jobs", type=int, default=3, help="parts side by side; those end to end mostly wait")
    asked = parser.parse_args(arguments)
    return prove([part for part in PARTS if asked.only in part.name], asked.jobs)


if __name__ == "__main__":
    sys.exit(main())
