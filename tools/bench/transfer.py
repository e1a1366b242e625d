"""`make bench`: measures the transfer beside other tools, and rewrites docs/performance.md.

Exits with 0; with 1 when a goal was missed or a stored file is wrong; with 2 when this machine can't run it.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from tools.bench import machine, report
from tools.bench.contestants import PEERS, ROOT, environment
from tools.bench.kit import LANE_BYTES_PER_SECOND, MIB, Kit, kit, require_tools
from tools.bench.names import CORRECTNESS, LANES
from tools.bench.results import Plan, Proof, Results
from tools.bench.rounds import play
from tools.bench.scenarios import Scenario, scenarios
from tools.bench.seaweed import WEED, seaweed
from tools.bench.servers import Unusable

BENCH = Path(__file__).parent
DOCUMENT = ROOT / "docs/performance.md"
PICTURE = DOCUMENT.with_suffix(".svg")

_PART = 8 * MIB  # of files that small
_MOST_TIMES = 3  # the rounds, while chance decides on a goal


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    signal.signal(signal.SIGTERM, _leave)
    started = time.monotonic()
    try:
        require_tools()
        with _scratch() as folder, kit(Path(folder)) as the_kit:
            results = _measure(the_kit, options)
    except Unusable as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    results.seconds = time.monotonic() - started
    kind = "-quick" if options.quick else "-some" if options.only else ""
    path = BENCH / f"results{kind}.json"
    results.write(path)
    print(f"\n{report.text(results)}\n\nwritten: {path.relative_to(ROOT)}")
    if options.quick:
        print("small files may miss goals that large ones meet: none counts here")
    if options.quick or options.only:
        print("docs/performance.md is as it was: only a whole bench writes it")
    else:
        _write_document(results, path)
    for fault in results.faults:
        print(fault, file=sys.stderr)
    return 1 if results.faults else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    names = [scenario.name for scenario in scenarios(quick=False)] + [CORRECTNESS]
    parser = argparse.ArgumentParser(prog="python -m tools.bench.transfer", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each contestant has its turn")
    parser.add_argument("--quick", action="store_true", help="one round of small files: shows that all works")
    parser.add_argument("--only", metavar=",".join(names), default="", help="some of the scenarios")
    options = parser.parse_args(arguments)
    options.only = [name for name in options.only.upper().split(",") if name]
    if unknown := set(options.only) - set(names):
        parser.error(f"no scenario {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    if options.rounds < 1:
        parser.error("at least one round")
    return options


def _leave(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)  # so that all servers are stopped


def _scratch() -> "tempfile.TemporaryDirectory[str]":
    """Return a folder for servers, files and logs, on the disk and not in memory."""
    parent = ROOT / ".bench"
    parent.mkdir(exist_ok=True)
    return tempfile.TemporaryDirectory(prefix="run-", dir=parent)


def _measure(the_kit: Kit, options: argparse.Namespace) -> Results:
    chosen = [one for one in scenarios(quick=options.quick) if not options.only or one.name in options.only]
    results = Results(
        begun=datetime.now(UTC).isoformat(timespec="seconds"),
        quick=options.quick,
        machine=machine.describe(),
        versions=machine.versions(),
        load=os.getloadavg()[0],
        scenarios=chosen,
    )
    if not options.only or CORRECTNESS in options.only:
        _prove(the_kit, results)
    for scenario in chosen:
        _time(scenario, the_kit, results, rounds=1 if options.quick else options.rounds)
    return results


def _time(scenario: Scenario, the_kit: Kit, results: Results, *, rounds: int) -> None:
    print(f"\n{scenario.name}: {scenario.title}", flush=True)
    warm_up = (16 if results.quick else 256) * MIB
    if scenario.name == LANES:
        size = (4 if results.quick else 32) * MIB
        the_kit.add_file(size)
        # Never less than the nominal rate, so that a contestant gets no credit for a source that is faster.
        results.lane_rate = max(LANE_BYTES_PER_SECOND, the_kit.lane_rate(size))
    done, count = 0, min(rounds, scenario.most_rounds)
    contestants: Collection[str] = scenario.contestants
    while contestants and done < _MOST_TIMES * count:
        played = play(
            scenario,
            the_kit,
            rounds=range(done, done + count),
            contestants=contestants,
            warm_up=warm_up,
            say=lambda line: print(line, flush=True),
        )
        done += count
        results.plans[scenario.name] = Plan(part_size=played.part_size, workers=played.workers)
        results.runs += played.runs
        results.absent |= {(scenario.name, name): why for name, why in played.absent.items()}
        contestants = set() if results.quick else results.undecided(scenario)
        if contestants and done < _MOST_TIMES * count:
            print(f"{scenario.name}  chance decides on a goal: more rounds of {', '.join(sorted(contestants))}")


def _prove(the_kit: Kit, results: Results) -> None:
    """Store files of awkward sizes in a real S3 server, and read them back."""
    print(f"{CORRECTNESS}: what was stored is what the source has", flush=True)
    if not WEED.exists():
        results.proofs_absent = "weed not found"
        print(f"{CORRECTNESS}  skipped: {results.proofs_absent}")
        return
    many = 5 * _PART + 12_345 if results.quick else 300 * MIB + 12_345
    sizes = [0, 1, _PART - 1, _PART, _PART + 1, many]
    for size in sizes:
        the_kit.add_file(size)
    folder = the_kit.folder / "seaweed"
    folder.mkdir()
    with seaweed(folder, certificate=the_kit.certificate, key=the_kit.certificate_key) as endpoint:
        done = subprocess.run(
            [
                *(
                    sys.executable,
                    "-m",
                    "tools.bench.correctness",
                    the_kit.fast,
                    str(the_kit.folder / "files"),
                    endpoint,
                ),
                *(str(the_kit.authority), *map(str, sizes)),
            ],
            cwd=ROOT,
            env=environment(the_kit),
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
    results.proofs = [Proof(**json.loads(line)) for line in done.stdout.splitlines()]
    seen = {proof.size for proof in results.proofs}
    results.proofs += [Proof(size=n, parts=0, same=False, why="not tried") for n in sizes if n not in seen]


def _write_document(results: Results, path: Path) -> None:
    drawn = subprocess.run([PEERS / "python", "-m", "tools.bench.plot", path, PICTURE], cwd=ROOT, check=False)
    if drawn.returncode:
        print("skipped: the plot", file=sys.stderr)
    DOCUMENT.write_text(report.document(results, picture=None if drawn.returncode else PICTURE.name))
    print(f"written: {DOCUMENT.relative_to(ROOT)}")


if __name__ == "__main__":
    sys.exit(main())
