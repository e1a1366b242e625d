"""The local stage itself: brought up, up again, refused, and gone without a trace."""

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil

from ops.local import stage as local
from ops.local.toolchain import ROOT
from tests.e2e.stage import SETTINGS, Stage


def cloud_sync(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ops", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def settings(**more: str) -> list[str]:
    return [part for name, value in {**SETTINGS, **more}.items() for part in ("--set", f"{name}={value}")]


def test_up_again_keeps_what_runs_and_applies_the_settings(running_stage: Stage) -> None:
    folder = running_stage.record.folder
    group = running_stage.outputs["ListerLogGroupName"]

    ran = cloud_sync("local", "up", "--json", "--stage-dir", folder, *settings(log_retention_days="3"))

    assert ran.returncode == 0, ran.stderr
    printed = json.loads(ran.stdout)
    assert (printed["endpoint_url"], printed["region"], printed["account"]) == (
        running_stage.record.endpoint_url,
        "us-east-1",
        "000000000000",
    )
    assert printed["outputs"] == running_stage.outputs
    assert printed["gopro_url"] == running_stage.record.gopro_url
    (described,) = running_stage.client("logs").describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    assert described["retentionInDays"] == 3


def test_wrong_settings_are_refused_in_the_words_of_the_synth_and_the_stage_stays_as_it_is(
    running_stage: Stage,
) -> None:
    folder, url = running_stage.record.folder, "http://gopro.example"
    wrong = settings(retry_bas_seconds="1", concurrency="1")

    ran = cloud_sync("local", "up", "--stage-dir", folder, "--gopro-url", url, *wrong)

    assert ran.returncode == 2
    assert "retry_bas_seconds is no setting; did you mean retry_base_seconds?" in ran.stderr
    assert "concurrency='1' is refused" in ran.stderr
    assert f"'{url}' is refused" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert running_stage.record.is_up
    assert running_stage.control.totals()
    assert local.load(folder).gopro_url == running_stage.record.gopro_url


def test_an_up_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "stage"

    ran = cloud_sync("local", "up", "--stage-dir", folder, "--set", "concurrency=1")

    assert ran.returncode == 2
    assert "concurrency='1' is refused" in ran.stderr
    assert not folder.exists()
    assert not processes_in(folder)


def processes_in(folder: Path) -> list[int]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if Path(process.cwd()).is_relative_to(folder):
                found.append(process.pid)
    return found
