"""Every alarm has a runbook, and says where."""

import re

from tests.runbooks import PAGE, PARTS, runbooks
from tools.template import ROOT, Template


def anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_the_description_of_every_alarm_ends_with_the_address_of_its_runbook(prod: Template) -> None:
    addresses = {anchor(name): name for name in runbooks()}
    for alarm in prod.of_type("AWS::CloudWatch::Alarm"):
        page, _, name = alarm["AlarmDescription"].rpartition(" ")[2].partition("#")
        assert page == PAGE.relative_to(ROOT).as_posix()
        assert addresses[name] in alarm.id, "the runbook of another alarm"


def test_there_is_one_runbook_for_each_alarm_and_none_without(prod: Template) -> None:
    named = [alarm["AlarmDescription"].rpartition("#")[2] for alarm in prod.of_type("AWS::CloudWatch::Alarm")]
    assert sorted(named) == sorted(map(anchor, runbooks()))


def test_every_runbook_says_what_to_do_with_our_commands_first() -> None:
    for name, runbook in runbooks().items():
        assert runbook.means, name
        assert all(runbook.commands[part] for part in PARTS), name
        everything = [line for part in PARTS for line in runbook.commands[part]]
        assert any(line.startswith(".venv/bin/cloud-sync") for line in everything), name


def test_a_description_fits_into_cloudwatch(prod: Template) -> None:
    assert all(len(alarm["AlarmDescription"]) <= 1024 for alarm in prod.of_type("AWS::CloudWatch::Alarm"))
