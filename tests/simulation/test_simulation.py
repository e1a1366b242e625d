"""The simulator itself: it is deterministic, and catches what it is there to catch. And a thousand simulated nights."""

import importlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from services.shared.inbox import heartbeat
from tools.simulator import shrink as shrinking
from tools.simulator.campaign import campaign, run_chunk
from tools.simulator.faults import Fault
from tools.simulator.invariants import Violation
from tools.simulator.loading import services
from tools.simulator.planted_bugs import BUGS, Bug, Edit, hunt, plant
from tools.simulator.scenario import Options
from tools.simulator.shrink import shrink
from tools.simulator.world import Outcome, run
from tools.template import ROOT

SEEDS, CHUNK = 1000, 100
_STAMP = "from tools.simulator.world import run; print([run(seed).stamp for seed in range(12)])"


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


def test_the_simulation_changes_nothing_for_other_users_of_the_services_and_of_libraries() -> None:
    run(0)
    for name in ("boto3", "random", "requests", "threading", "time", "uuid", "aws_lambda_powertools"):
        assert importlib.import_module(name).__spec__, "a stand-in has none"
    assert vars(heartbeat)["threading"] is threading
    assert importlib.import_module("services.shared.inbox.heartbeat") is heartbeat
    assert services()["shared.inbox.heartbeat"] is not heartbeat


def test_a_run_does_not_depend_on_those_before_it() -> None:
    run(3)
    assert run(4).stamp == run(4).stamp


def test_a_campaign_ends_with_its_seeds_or_its_time_and_names_what_it_has_not_tried() -> None:
    result = campaign(start=0, count=30, jobs=2, minutes=None)
    assert result.seeds == 30
    assert "GoPro: firewall" in result.missing() or "sync closed: deadline" in result.missing()
    assert campaign(start=0, count=None, jobs=1, minutes=0.0).seeds == 100, "what was handed out at once"


@pytest.mark.parametrize("start", range(0, SEEDS, CHUNK))
def test_invariants_hold(start: int) -> None:
    result = run_chunk(range(start, start + CHUNK))
    assert result.failed == []
    assert len(result.faults) > 20, "hardly anything went wrong, so hardly anything was tried"


def test_options_survive_the_command_line() -> None:
    options = Options(
        only=frozenset({"cdn.open 3", "cdn.open 1"}), media=2, without=frozenset({"redrive"}), actions=frozenset({0})
    )
    assert Options.read(options.text()) == options
    assert Options.read(Options().text()) == Options()


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


def test_a_failing_run_is_made_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an invariant that no duplicate may break, the smallest run that breaks it has one fault."""

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
