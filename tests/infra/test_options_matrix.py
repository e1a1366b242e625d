"""All options in combination: in each template the tools find nothing, and the grants are those that are needed."""

from pathlib import Path

import pytest

from infra import key_grants
from services.shared.events import SERVICES
from tests.infra.test_options import (
    LAMBDAS_INTERFACES,
    LEFT,
    TAKEN_BACK,
    actions,
    key_of,
    statements,
    through,
    unserved,
)
from tools.pairwise import pairs, possible
from tools.static.options import VALUES, Linted, is_allowed, label, linted, matrix

pytestmark = [pytest.mark.slow, pytest.mark.lengthy]

MATRIX = matrix()


@pytest.fixture(scope="module", params=MATRIX, ids=label)
def combination(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Linted:
    """A combination of options, synthesized once."""
    return linted(request.param, tmp_path_factory.mktemp("combination"))


def test_every_two_values_of_two_settings_that_may_meet_do(capsys: pytest.CaptureFixture[str]) -> None:
    rows = possible(VALUES, is_allowed)
    meeting = {pair for row in rows for pair in pairs(row)}
    assert meeting <= {pair for row in MATRIX for pair in pairs(row)}
    with capsys.disabled():
        print(f"\n{len(VALUES)} settings, {len(rows):,} combinations, {len(meeting)} pairs, in {len(MATRIX)} templates")


def test_the_tools_find_nothing(combination: Linted, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\n{label(combination.row)}")
        for report in combination.reports:
            found, suppressed = len(report.problems), len(report.suppressed)
            print(f"  {report.tool:<22} {report.checked}, {found} findings, {suppressed} accepted")
    assert [problem for report in combination.reports for problem in report.problems] == []


def test_the_tools_find_nothing_in_a_stack_that_takes_everything_back(tmp_path: Path) -> None:
    back = linted({"env": "prod", **TAKEN_BACK}, tmp_path)
    assert [problem for report in back.reports for problem in report.problems] == []


def test_nothing_that_holds_something_has_another_logical_id(combination: Linted) -> None:
    given = combination.row["media_bucket"] != "create"
    wanted = {name for name, kind in LEFT.items() if not (given and kind == "AWS::S3::Bucket")}
    assert wanted <= set(combination.template.resources)


def test_every_grant_on_the_key_is_needed_and_every_one_that_is_needed_is_there(combination: Linted) -> None:
    stack, row = combination.template, combination.row
    foreign = row["kms_key"] == "create" and row["media_bucket"] != "create"
    for service in SERVICES:
        role = stack.services[service].statements
        needed = {}
        if row["kms_key"] != "none":
            own = {
                one for one in actions(role) if not one.startswith("kms:") and not (foreign and one.startswith("s3:"))
            }
            needed = {via: set(found) for via, found in key_grants.operations(own).items()}
        assert through(role, key_of(stack)) == needed


def test_roles_are_bounded_and_allow_nothing_on_everything_but_what_has_no_resources(combination: Linted) -> None:
    stack, row = combination.template, combination.row
    bounded = {role.properties.get("PermissionsBoundary") for role in stack.of_type("AWS::IAM::Role")}
    assert bounded == {None if row["permissions_boundary"] == "none" else row["permissions_boundary"]}
    wide = actions(one for one in statements(stack) if one["Resource"] == "*")
    interfaces = set() if row["vpc"] == "none" else LAMBDAS_INTERFACES
    assert wide == {"xray:PutTraceSegments", "xray:PutTelemetryRecords"} | interfaces


def test_every_endpoint_that_is_needed_is_there(combination: Linted) -> None:
    if combination.row["vpc"] == "create":
        assert unserved(combination.template) == set()
