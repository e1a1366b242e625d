"""Least privilege on a stage whose roles and policies decide.

All stories run with all grants, which shows that these suffice and that each of them is used. Then grants are
taken away, one at a time: three of them with the first story alone, and with `-m every_grant` (`make least-privilege`)
each of them with the stories that use it.
"""

from collections.abc import Iterator, Mapping

import pytest

from tests.e2e import least_privilege
from tests.e2e.least_privilege import NOT_SHOWN, Outcome
from tests.e2e.roles import Grant, Roles, used
from tests.e2e.stage import PATIENCE_SECONDS, Stage, running
from tests.e2e.stories import SETTINGS, STORIES, fail_fast

FIRST = next(iter(STORIES))
ALL_KEPT = dict.fromkeys(STORIES, "")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with running(tmp_path_factory.mktemp("guarded") / "stage", SETTINGS, enforce_iam=True) as stage:
        fail_fast(stage)
        yield stage


@pytest.fixture(scope="module")
def roles(guarded: Stage) -> Roles:
    return Roles(guarded)


@pytest.fixture(scope="module")
def known(guarded: Stage, roles: Roles) -> Mapping[str, Outcome]:
    """How every story goes with all grants, once the functions are warm."""
    least_privilege.with_all(guarded, roles, FIRST)
    return {story: least_privilege.with_all(guarded, roles, story) for story in STORIES}


@pytest.mark.scenario(60)
def test_with_all_grants_every_promise_is_kept_and_every_grant_used(known: Mapping[str, Outcome], roles: Roles) -> None:
    assert {story: outcome.broken for story, outcome in known.items()} == ALL_KEPT
    grants = roles.grants()
    decisions = [one for outcome in known.values() for one in outcome.decisions]
    assert set(grants) - used(grants, decisions) == set()
    refused = {(one.action, *one.values("events:source")) for one in decisions if not one.allowed}
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
    guarded: Stage, roles: Roles, known: Mapping[str, Outcome], owner: str, action: str, promises: set[str]
) -> None:
    grant = only_grant(roles, owner, action)
    missed = least_privilege.without(guarded, roles, grant, {FIRST: known[FIRST]})
    assert missed.broken.partition(": ")[0] in promises
    assert grant in roles.grants(), "it is back"


@pytest.mark.every_grant
@pytest.mark.timeout(3600)
def test_every_grant_is_missed(
    guarded: Stage, roles: Roles, known: Mapping[str, Outcome], capsys: pytest.CaptureFixture[str]
) -> None:
    grants = [one for one in roles.grants() if one.action not in NOT_SHOWN]
    superfluous = []
    with capsys.disabled():
        for grant in grants:
            verdict = least_privilege.without(guarded, roles, grant, known)
            print(f"\n{verdict}", end="", flush=True)
            superfluous += [] if verdict.broken else [str(verdict)]
        print(f"\n{len(grants) - len(superfluous)} of {len(grants)} actions of the roles are needed")
    assert superfluous == []
    assert {story: least_privilege.with_all(guarded, roles, story).broken for story in STORIES} == ALL_KEPT


@pytest.mark.scenario(60)
def test_a_grant_that_nobody_misses_passes_for_unneeded(
    guarded: Stage, roles: Roles, known: Mapping[str, Outcome]
) -> None:
    """Else every grant would pass for needed."""
    for action in NOT_SHOWN:
        grant = only_grant(roles, "lister", action)
        assert used([grant], known[FIRST].decisions)
        with roles.without(grant):
            outcome = least_privilege.run(guarded, roles, FIRST, lambda _: PATIENCE_SECONDS)
        assert outcome.broken == ""


@pytest.mark.scenario(60)
def test_no_service_can_publish_under_the_source_of_another(guarded: Stage, known: Mapping[str, Outcome]) -> None:
    said = least_privilege.foreign_sources(guarded)
    own = {(service, source): source == f"cloud-sync.{service}" for service, source in said}
    assert len(own) == 24
    assert said == {pair: "" if is_own else "AccessDeniedException" for pair, is_own in own.items()}


@pytest.mark.scenario(60)
def test_nothing_is_granted_on_everything_without_a_reason(roles: Roles) -> None:
    wide = least_privilege.on_everything(roles)
    assert {grant.action.partition(":")[0] for grant in wide} == {"xray"}
    assert all(wide.values())


def only_grant(roles: Roles, owner: str, action: str) -> Grant:
    (grant,) = [one for one in roles.grants() if (one.owner, one.action) == (owner, action)]
    return grant
