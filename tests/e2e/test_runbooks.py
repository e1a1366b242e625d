"""Each runbook on docs/runbooks.md: its fault is made, its commands are run as printed, and all is well afterwards."""

import re
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.desk import Desk
from tests.e2e.stage import SETTINGS, Stage
from tests.e2e.trials import TRIALS
from tests.runbooks import runbooks
from tools.template import ROOT

DEPLOYS = {"SummarizerErrors"}


def trials() -> list[object]:
    return [
        pytest.param(name, marks=[pytest.mark.slow, pytest.mark.lengthy]) if name in DEPLOYS else name
        for name in TRIALS
    ]


@pytest.mark.parametrize("name", trials())
def test_a_runbook_mends_what_its_alarm_rings_for(stage: Stage, tmp_path: Path, name: str) -> None:
    runbook = runbooks()[name]
    desk = Desk(stage, tmp_path, SETTINGS)
    trial = TRIALS[name](stage, desk)
    turn = next(trial)
    try:
        looked = desk.run(runbook.commands["Look"], turn.words, may_fail=True)
        turn = trial.send(looked)
        commands = [*runbook.commands["Do"], *runbook.commands["Verify"]]
        done = desk.run(commands, turn.words, paste=turn.paste)
        with suppress(StopIteration):
            trial.send(done)
    finally:
        trial.close()
    assert stage.all_dead_letters() == []


def test_every_runbook_is_tried() -> None:
    assert TRIALS.keys() == runbooks().keys()


def test_the_cdk_command_has_every_option_of_a_runbook() -> None:
    known = subprocess.run(
        [ROOT / ".venv" / "bin" / "cdk", "deploy", "--help"], capture_output=True, text=True, check=True
    )
    lines = [line for runbook in runbooks().values() for part in runbook.commands.values() for line in part]
    options = {option for line in lines if "/cdk " in line for option in re.findall(r"--[a-z-]+", line)}
    assert options
    assert {option for option in options if option not in known.stdout} == set()
