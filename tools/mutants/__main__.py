"""Do the unit tests notice a decision that was changed? mutmut changes them, one place at a time.

`python -m tools.mutants` fails when fewer than 95 % of a decision's mutants are noticed, and when those that aren't
are not just the ones that survivors.toml gives a reason for. A mutant that runs into mutmut's limit of time, fifteen
times what its tests take and more than a minute, is an endless loop: it counts as noticed, and is printed.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tools.arguments import positive
from tools.mutants.decisions import DECISIONS, Decision
from tools.mutants.survivors import Change, known_survivors
from tools.template import ROOT

BAR = 95  # percent of the mutants of each decision, equivalent mutants included
WORK = ROOT / ".mutants"
KILLED, TIMED_OUT, SURVIVED = "killed", "timed out", "survived"
# Exit codes of mutmut's workers: pytest's, or the signal of a time limit. 33 means that no test covers the mutant.
ENDINGS = {1: KILLED, -24: TIMED_OUT, 0: SURVIVED, 33: SURVIVED}


def hunt(decision: Decision, *, jobs: int) -> dict[str, str]:
    """Return how each mutant of a decision ended, by mutmut's name of the mutant.

    Raises `RuntimeError` when mutmut failed, or left a mutant without a verdict.
    """
    work = workplace(decision)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    for folder in ("services", "tests", "tools", "ops", "infra"):
        shutil.copytree(ROOT / folder, work / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (work / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text() + configuration(decision))
    done = subprocess.run(
        [Path(sys.executable).parent / "mutmut", "run", "--max-children", str(jobs), *patterns(decision)],
        cwd=work,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"mutmut failed on {decision.module}\n{done.stdout[-4000:]}")
    exit_codes = json.loads((work / "mutants" / f"{decision.module}.meta").read_text())["exit_code_by_key"]
    wanted = tuple(pattern.removesuffix("*") for pattern in patterns(decision))
    endings = {name: ENDINGS.get(code) for name, code in exit_codes.items() if name.startswith(wanted)}
    if not endings or None in endings.values():
        strange = {name: exit_codes[name] for name, ending in endings.items() if ending is None}
        raise RuntimeError(f"{decision.module}: mutants without a verdict: {strange}")
    return {name: ending for name, ending in endings.items() if ending}


def workplace(decision: Decision) -> Path:
    return WORK / Path(decision.module).stem


def configuration(decision: Decision) -> str:
    """Return mutmut's configuration.

    Property tests use the same examples in every run, and failing examples are not shrunk.
    """
    settings = {
        "source_paths": [decision.module.partition("/")[0]],
        "only_mutate": [decision.module],
        "pytest_add_cli_args": ["-p", "no:cacheprovider", "--hypothesis-profile=mutants"],
        "pytest_add_cli_args_test_selection": [f"tests/unit/{test}" for test in decision.tests],
        "do_not_mutate_patterns": [r"^\s*logger\."],  # texts, not decisions
        "timeout_constant": 5.0,  # seconds, which mutmut multiplies by 15
        "use_git_change_detection": False,
    }
    return "\n[tool.mutmut]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())


def patterns(decision: Decision) -> list[str]:
    """Return mutmut's names of the mutants: `x_function`, or `xǁClassǁmethod`, in their module."""
    module = decision.module.removesuffix(".py").replace("/", ".")
    mangled = [f"xǁ{name.replace('.', 'ǁ')}" if "." in name else f"x_{name}" for name in decision.functions]
    return [f"{module}.{name}__mutmut_*" for name in mangled] or [f"{module}.x*"]


def changes(decision: Decision, mutants: Iterable[str]) -> dict[str, Change]:
    """Return the change that mutmut made for each of these mutants."""
    script = (
        "import json, sys; from mutmut.mutation.diff_apply import get_diff_for_mutant; "
        "print(json.dumps({name: get_diff_for_mutant(name, path=sys.argv[1]) for name in sys.argv[2:]}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, decision.module, *mutants],
        cwd=workplace(decision),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return {
        name: Change.from_diff(decision.module, function_of(name), diff)
        for name, diff in json.loads(done.stdout).items()
    }


def function_of(mutant: str) -> str:
    """Return `function` or `Class.method` from mutmut's name of a mutant."""
    mangled = mutant.rpartition("__mutmut_")[0].rpartition(".")[2]
    return mangled.removeprefix("xǁ").replace("ǁ", ".") if "ǁ" in mangled else mangled.removeprefix("x_")


def percent(counted: Counter[str]) -> float:
    return 100 * (counted[KILLED] + counted[TIMED_OUT]) / counted.total()


def row(name: str, counted: Counter[str]) -> str:
    numbers = [counted.total(), *(counted[ending] for ending in (KILLED, TIMED_OUT, SURVIVED))]
    return f"{name:<46}" + "".join(f"{number:>10}" for number in numbers) + f"{percent(counted):>9.1f} %"


def troubles(of_decision: Mapping[str, Counter[str]], found: set[Change], known: set[Change]) -> list[str]:
    """Return the reasons why a run fails.

    `found` are the survivors; `known` are those with a reason.
    """
    return [
        *[f"{name}: fewer than {BAR} % were noticed" for name, of_it in of_decision.items() if percent(of_it) < BAR],
        *[f"a survivor without a reason:\n{change}" for change in sorted(found - known)],
        *[f"listed, and no survivor any more:\n{change}" for change in sorted(known - found)],
    ]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.mutants", description=__doc__)
    parser.add_argument("--only", default="", help="the decisions whose name or module has this")
    parser.add_argument("--jobs", type=positive, default=2, help="processes")
    arguments = parser.parse_args(argv)
    began = time.monotonic()
    of_decision: dict[str, Counter[str]] = defaultdict(Counter)
    found: set[Change] = set()
    endless: set[Change] = set()
    chosen = [one for one in DECISIONS if arguments.only in one.name or arguments.only in one.module]
    if not chosen:
        parser.error(f"no decision has {arguments.only!r} in its name or module")
    print(f"{'':<46}" + "".join(f"{title:>10}" for title in ("mutants", KILLED, TIMED_OUT, SURVIVED)))
    for decision in chosen:
        endings = hunt(decision, jobs=arguments.jobs)
        counted = Counter(endings.values())
        of_decision[decision.name] += counted
        print(row(decision.module, counted), flush=True)
        changed = changes(decision, [name for name, ending in endings.items() if ending != KILLED])
        found |= {change for name, change in changed.items() if endings[name] == SURVIVED}
        endless |= {change for name, change in changed.items() if endings[name] == TIMED_OUT}
    print()
    for name, counted in of_decision.items():
        print(row(name, counted))
    total = sum(of_decision.values(), Counter())
    print(row("all decisions", total))
    print(*[f"\nended by the limit of time:\n{change}" for change in sorted(endless)])
    print(f"\n{time.monotonic() - began:.0f} seconds, with {arguments.jobs} processes.")

    modules = {decision.module for decision in chosen}
    found_troubles = troubles(of_decision, found, {change for change in known_survivors() if change.module in modules})
    print(*found_troubles, sep="\n")
    return 1 if found_troubles else 0


if __name__ == "__main__":
    sys.exit(main())
