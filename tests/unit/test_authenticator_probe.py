"""The evening probe: whether people are warned that the next sync will have no session."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from ops.local.gopro_cloud import DEMO_CREDENTIALS, Account, FakeGoProCloud
from ops.local.gopro_cloud.faults import Answer
from tests.unit.gopro_stage import Stage, staged

OAUTH = {key: DEMO_CREDENTIALS[key] for key in ("client_id", "client_secret", "refresh_token")}


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    with FakeGoProCloud(account=Account(expires_in=86_400)) as cloud, staged(monkeypatch, cloud) as stage:
        stage.seconds = 120
        yield stage.open("authenticator", SCHEDULE_HOUR="2", SCHEDULE_TIME_ZONE="UTC")


def paste(stage: Stage, *, hours: float) -> None:
    stage.put_secret("CREDENTIALS_SECRET", {"access_token": stage.cloud.tokens.paste(hours * 3600)})


def sync(stage: Stage, name: str = "sync-1") -> None:
    stage.send("SyncRequested", event_id=name)
    stage.published()


def at_hour(stage: Stage, hour: int) -> None:
    """Let time pass until this hour, in UTC."""
    now = stage.clock.now()
    due = now.replace(hour=hour, minute=0, second=0, microsecond=0)
    stage.clock.advance(((due if due > now else due + timedelta(days=1)) - now).total_seconds())


def probe(stage: Stage) -> list[dict[str, Any]]:
    """Probe; return the warnings."""
    assert stage.send("SessionProbeDue")
    published = stage.published()
    assert {name for name, _ in published} <= {"SessionEnding"}
    return [detail for _, detail in published]


def test_without_a_session_nobody_is_asked(stage: Stage) -> None:
    paste(stage, hours=9)
    assert probe(stage) == []
    assert not stage.cloud.observations.requests()


def test_a_session_that_renews_itself_is_probed_and_no_warning_is_needed(stage: Stage) -> None:
    stage.put_secret("CREDENTIALS_SECRET", OAUTH)
    sync(stage)
    assert probe(stage) == []


def test_a_refresh_token_that_was_revoked_is_found_in_the_evening(stage: Stage) -> None:
    stage.put_secret("CREDENTIALS_SECRET", OAUTH)
    sync(stage)
    stage.cloud.tokens.revoke_access()
    stage.cloud.tokens.blacklist_refresh()
    (warning,) = probe(stage)
    assert warning["data"]["ends_about"] is None
    assert "it was revoked" in warning["data"]["reason"]


def test_a_pasted_session_that_ends_before_the_next_sync_is_announced_once_a_day(stage: Stage) -> None:
    at_hour(stage, 14)
    paste(stage, hours=60)
    sync(stage)
    at_hour(stage, 20)
    (warning,) = probe(stage)
    data = warning["data"]
    assert warning["metadata"]["sync_id"] == f"scheduled-{data['next_sync_at'][:10]}"
    assert data["ends_about"][11:16] == "20:45"  # three quarters of the usual nine hours
    assert data["next_sync_at"][11:16] == "02:00"
    assert data["reason"] == ""
    assert probe(stage) == []
    at_hour(stage, 20)
    assert len(probe(stage)) == 1


def test_a_fresh_pasted_session_is_not_announced(stage: Stage) -> None:
    at_hour(stage, 20)
    paste(stage, hours=9)
    sync(stage)
    assert probe(stage) == []


def test_a_dead_session_is_announced_once_and_its_life_is_learnt(stage: Stage) -> None:
    at_hour(stage, 8)
    paste(stage, hours=4)
    sync(stage)
    stage.clock.advance(3.5 * 3600)
    sync(stage, "sync-2")  # accepted once more
    at_hour(stage, 20)
    (warning,) = probe(stage)
    assert warning["data"]["ends_about"] is None
    assert "the pasted token is dead" in warning["data"]["reason"]
    assert probe(stage) == []
    paste(stage, hours=9)
    sync(stage, "sync-3")
    at_hour(stage, 1)
    (warning,) = probe(stage)  # the last one lived for three hours and a half
    assert warning["data"]["ends_about"] is not None


def test_a_token_that_the_listing_refuses_is_dead_although_the_account_accepts_it(stage: Stage) -> None:
    paste(stage, hours=60)
    sync(stage)
    stage.clock.advance(3600)
    stage.cloud.arm(Answer(endpoint="search", status=401, times=None))
    (warning,) = probe(stage)
    assert "the pasted token is dead" in warning["data"]["reason"]


def test_a_sync_that_failed_today_has_told_people_already(stage: Stage) -> None:
    at_hour(stage, 9)
    paste(stage, hours=1)
    sync(stage)
    stage.clock.advance(7200)
    sync(stage, "sync-2")  # its notification says that there is no session
    assert probe(stage) == []


def test_an_outage_is_no_warning(stage: Stage) -> None:
    paste(stage, hours=60)
    sync(stage)
    stage.cloud.arm(Answer(endpoint="user", status=503, times=None))
    assert not stage.send("SessionProbeDue")
    stage.send("SessionProbeDue", receives=4)
    assert stage.published() == []
