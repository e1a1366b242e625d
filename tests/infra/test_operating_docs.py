"""The commands in docs/operating.md, and the estimated cost, match the stack."""

import re

import pytest

from ops import cost
from tools.template import ROOT, Template

PAGE = (ROOT / "docs" / "operating.md").read_text()


def pairs(text: str) -> list[dict[str, str]]:
    """Read `A=b,C=d A=e,C=f` as the AWS command line does."""
    return [dict(pair.split("=") for pair in entry.split(",")) for entry in text.split()]


@pytest.mark.scenario(59)
def test_the_command_that_recreates_the_library_table_matches_the_stack(prod: Template) -> None:
    library = prod.referred(prod.services["downloader"].environment["LIBRARY_TABLE"])
    (typed,) = re.findall("^aws dynamodb create-table .*", PAGE, re.MULTILINE)
    options = dict(re.findall(r"--([a-z-]+) (.+?)(?= --|$)", typed))

    assert options["billing-mode"] == library["BillingMode"]
    assert pairs(options["attribute-definitions"]) == library["AttributeDefinitions"]
    assert pairs(options["key-schema"]) == library["KeySchema"]


def test_the_estimated_cost_has_every_metric_of_an_alarm(prod: Template) -> None:
    alarms = [alarm.properties for alarm in prod.of_type("AWS::CloudWatch::Alarm")]
    assert sum(sum("MetricStat" in one for one in alarm.get("Metrics", [])) or 1 for alarm in alarms) == cost._ALARMS


def test_the_estimated_cost_has_every_secret(prod: Template) -> None:
    assert len(prod.of_type("AWS::SecretsManager::Secret")) == cost._SECRETS
