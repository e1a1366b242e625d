"""`cloud-sync doctor` on a local stage: nothing on a healthy one, and exactly what is broken on any other."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.doctor.examination import examine
from ops.doctor.findings import Finding
from ops.doctor.subject import Subject
from services.shared.clock import Clock
from tests.e2e.breakages import BREAKAGES, EMAIL, disable_rule
from tests.e2e.desk import Desk
from tests.e2e.stage import SETTINGS, Stage, running

pytestmark = pytest.mark.slow

WITH_EMAIL = {**SETTINGS, "notification_emails": EMAIL}


@pytest.fixture(scope="module")
def own_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A stage of these tests' own, since a breakage must not meet another test."""
    with running(tmp_path_factory.mktemp("stage"), WITH_EMAIL) as stage:
        yield stage


def found(stage: Stage) -> list[Finding]:
    return [one for made in examine(Subject(stage.deployment, Clock().now)) for one in made.findings]


@pytest.mark.parametrize("name", BREAKAGES)
def test_each_breakage_is_named_and_nothing_else(own_stage: Stage, tmp_path: Path, name: str) -> None:
    assert found(own_stage) == [], "the stage is not healthy to begin with"
    breakage = BREAKAGES[name]
    put_back = breakage.make(own_stage)
    try:
        (finding,) = found(own_stage)
        assert finding.what == breakage.what.format(bucket=own_stage.outputs["MediaBucketName"])
        assert finding.means
        assert finding.fix
    finally:
        if put_back:
            put_back()
    if not put_back:
        command, _, _ = finding.fix.partition("; ")
        assert command.startswith("aws "), "no command that could fix it"
        Desk(own_stage, tmp_path, WITH_EMAIL).run([command], {})
    assert found(own_stage) == []


def doctor(stage: Stage, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ops", "doctor", "--stage-dir", str(stage.record.folder), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_exit_status_says_whether_all_is_well(own_stage: Stage) -> None:
    healthy = doctor(own_stage)
    assert healthy.returncode == 0, healthy.stdout + healthy.stderr
    assert {line.split()[0] for line in healthy.stdout.splitlines()} == {"ok"}
    disable_rule("ListerRule")(own_stage)
    try:
        broken = doctor(own_stage, "--json")
    finally:
        rule = {"EventBusName": own_stage.outputs["EventBusName"]}
        for one in own_stage.client("events").list_rules(**rule)["Rules"]:
            own_stage.client("events").enable_rule(Name=one["Name"], **rule)
    assert broken.returncode == 1
    told = json.loads(broken.stdout)
    assert told["healthy"] is False
    assert [(one["check"], one["severity"], one["what"]) for one in told["findings"]] == [
        ("bus", "broken", "the rule ListerRule is disabled")
    ]
