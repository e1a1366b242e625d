"""The simulator is deterministic, and what failed once holds now."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.campaign import campaign, run_chunk
from tests.simulation.planted_bugs import BUGS, Bug, Edit, hunt, plant
from tests.simulation.regressions import Regression, options_text, read_options, regressions
from tests.simulation.scenario import Options
from tests.simulation.shrink import shrink
from tests.simulation.world import Outcome, run
from tests.template import ROOT

SEEDS = 300
_STAMP = "from tests.simulation.world import run; print([run(seed).stamp for seed in range(12)])"


def test_same_seed_gives_the_same_run_in_any_process() -> None:
    mine = [run(seed).stamp for seed in range(12)]
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", _STAMP],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == str(mine)


def test_a_run_does_not_depend_on_those_before_it() -> None:
    run(3)
    assert run(4).stamp == run(4).stamp


def test_campaign_ends_with_its_time_and_says_what_it_has_not_tried() -> None:
    result = campaign(start=0, count=None, jobs=1, minutes=0.01)
    assert result.seeds > 0  # how many depends on what else the machine does
    assert campaign(start=0, count=60, jobs=2, minutes=5).seeds == 60
    assert "sync closed: deadline" in result.missing() or result.reached["sync closed: deadline"]


def test_invariants_hold() -> None:
    result = run_chunk(range(SEEDS))
    assert result.failed == []
    assert len(result.faults) > 20, "hardly anything went wrong, so hardly anything was tried"


@pytest.mark.parametrize("regression", regressions(), ids=lambda regression: f"seed-{regression.seed}")
def test_what_failed_once_holds(regression: Regression) -> None:
    assert run(regression.seed, read_options(regression.options)).violations == []


def test_options_survive_the_command_line() -> None:
    options = Options(
        only=frozenset({"cdn.open 3", "cdn.open 1"}), media=2, without=frozenset({"redrive"}), actions=frozenset({0})
    )
    assert read_options(options_text(options)) == options
    assert read_options(options_text(Options())) == Options()


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name.partition(":")[0])
def test_planted_bugs_fit_the_code(bug: Bug, tmp_path: Path) -> None:
    for edit in bug.edits:
        copy = tmp_path / edit.path
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text((ROOT / "services" / edit.path).read_text())
    plant(bug, tmp_path)
    for edit in bug.edits:
        compile((tmp_path / edit.path).read_text(), edit.path, "exec")


def test_a_planted_bug_that_only_crashes_is_not_caught() -> None:
    crash = Bug("a crash", ["I2"], [Edit("summarizer/tally.py", "before.version + 1", "before.no_such_version + 1")])
    assert hunt(crash, seeds=5) is None


def test_regressions_are_told_as_json() -> None:
    regression = Regression(5, '{"media": 1}', "I4")
    assert Regression(**json.loads(regression.as_json())) == regression


def test_failing_run_is_made_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an invariant that no duplicate may break, the smallest run that breaks it has one fault."""
    from tests.simulation import shrink as shrinking  # noqa: PLC0415
    from tests.simulation.faults import Fault  # noqa: PLC0415
    from tests.simulation.invariants import Violation  # noqa: PLC0415

    def strict(seed: int, options: Options | None = None) -> Outcome:
        outcome = run(seed, options)
        if any(strike.fault is Fault.DUPLICATE for strike in outcome.strikes):
            outcome.violations.append(Violation("I99", "a duplicate"))
        return outcome

    monkeypatch.setattr(shrinking, "run", strict)
    failing = next(o for o in map(strict, range(100)) if o.violations and len(o.strikes) > 3)
    smaller = shrink(failing)
    assert [strike.fault for strike in smaller.strikes] == [Fault.DUPLICATE]
    assert len(smaller.trace) <= len(failing.trace)
