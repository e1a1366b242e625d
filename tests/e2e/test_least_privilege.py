"""The short part of `make least-privilege`: what of it every run of the tests can afford.

All stories are told with all grants, which shows that these suffice and that each of them is used. Three grants are
taken away, one at a time and with the first story alone: each is missed. That the others are missed too, and by which
story, is shown by `make least-privilege` only, which takes each of them away.
"""

import sys
from collections.abc import Iterator, Mapping

import pytest

from tests.e2e import least_privilege
from tests.e2e.least_privilege import Told
from tests.e2e.roles import Grant, Roles, used
from tests.e2e.stage import Stage
from tests.e2e.stories import STORIES


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A stage whose roles and policies decide."""
    folder = tmp_path_factory.mktemp("guarded") / "stage"
    with least_privilege.guarded_stage(folder, lambda text: print(f"guarded stage: {text}", file=sys.stderr)) as stage:
        yield stage


@pytest.fixture(scope="module")
def roles(guarded: Stage) -> Roles:
    return Roles(guarded)


@pytest.fixture(scope="module")
def known(guarded: Stage, roles: Roles) -> Mapping[str, Told]:
    """How every story goes with all grants, once the functions are warm."""
    least_privilege.with_all(guarded, roles, next(iter(STORIES)))
    return {story: least_privilege.with_all(guarded, roles, story) for story in STORIES}


@pytest.mark.scenario(60)
def test_with_its_grants_every_promise_is_kept_and_every_grant_is_used(known: Mapping[str, Told], roles: Roles) -> None:
    assert {story: told.broken for story, told in known.items()} == dict.fromkeys(STORIES, "")
    grants = roles.grants()
    decisions = [one for told in known.values() for one in told.decisions]
    assert set(grants) - used(grants, decisions) == set()
    refused = {(one.action, one.context.get("events:source")) for one in decisions if not one.allowed}
    assert refused == {("events:PutEvents", "cloud-sync.operator")}, "the schedule's, which its story is about"


@pytest.mark.scenario(60)
@pytest.mark.parametrize(
    ("owner", "action", "promises"),  # the first of these that is looked at
    [
        ("downloader", "s3:PutObject", {"the sync completes", "two media are downloaded"}),
        ("summarizer", "sns:Publish", {"the notification comes"}),
        ("lister", "logs:PutLogEvents", {"the log of the lister is written"}),
    ],
)
def test_a_grant_that_is_taken_away_is_missed(
    guarded: Stage, roles: Roles, known: Mapping[str, Told], owner: str, action: str, promises: set[str]
) -> None:
    grant = only_grant(roles, owner, action)
    story = next(iter(STORIES))
    missed = least_privilege.without(guarded, roles, grant, {story: known[story]})
    assert missed.broken.partition(": ")[0] in promises
    assert grant in roles.grants(), "it is back"


@pytest.mark.scenario(60)
def test_a_grant_that_nobody_misses_is_told_apart(guarded: Stage, roles: Roles, known: Mapping[str, Told]) -> None:
    """Else everything would pass for needed: what no promise depends on is used, and is found to be superfluous."""
    story = next(iter(STORIES))
    for action in least_privilege.NOT_SHOWN:
        grant = only_grant(roles, "lister", action)
        assert used([grant], known[story].decisions)
        assert least_privilege.without(guarded, roles, grant, {story: known[story]}).broken == ""


@pytest.mark.scenario(60)
def test_no_service_can_publish_under_the_source_of_another(guarded: Stage, known: Mapping[str, Told]) -> None:
    said = least_privilege.foreign_sources(guarded)
    assert len(said) == 24
    assert least_privilege.wrong_sources(said) == []


@pytest.mark.scenario(60)
def test_nothing_is_granted_on_everything_without_a_reason(roles: Roles) -> None:
    wide = least_privilege.everything(roles)
    assert {grant.action.partition(":")[0] for grant in wide} == {"xray"}
    assert all(wide.values())


def only_grant(roles: Roles, owner: str, action: str) -> Grant:
    (grant,) = [one for one in roles.grants() if (one.owner, one.action) == (owner, action)]
    return grant
