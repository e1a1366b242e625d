"""The authenticator: its real composition against the fake GoPro Cloud."""

import hashlib
import importlib
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from ops.local.gopro_cloud import DEMO_CREDENTIALS, Account, FakeGoProCloud
from ops.local.gopro_cloud.faults import Answer, Hangup, Refused
from services.authenticator.authenticator_table import AuthenticatorTable, Outcome, StillInProgress
from services.authenticator.secrets import Secrets
from services.authenticator.settings import Settings
from services.shared.gopro.client import GoProClient
from services.shared.gopro.patient import Session
from services.shared.settings import from_environment
from tests.unit.gopro_stage import Stage, staged

CLIENT = {key: DEMO_CREDENTIALS[key] for key in ("client_id", "client_secret")}
REFRESH = {**CLIENT, "refresh_token": DEMO_CREDENTIALS["refresh_token"]}
LOGIN = {**CLIENT, "username": DEMO_CREDENTIALS["username"], "password": DEMO_CREDENTIALS["password"]}
BOTH = {**REFRESH, **LOGIN}


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    with FakeGoProCloud(account=Account(expires_in=3600)) as cloud, staged(monkeypatch, cloud) as stage:
        stage.seconds = 120
        stage.put_secret("CREDENTIALS_SECRET", REFRESH)
        yield stage.open("authenticator")


def calls(stage: Stage, endpoint: str) -> int:
    return len(stage.cloud.observations.requests(endpoint))


def rejected(version: int, sync_id: str = "sync-1") -> dict[str, Any]:
    return {"metadata": {"version": 1, "sync_id": sync_id}, "data": {"session_version": version}}


def the_failure(stage: Stage) -> dict[str, Any]:
    ((name, detail),) = stage.published()
    assert name == "AuthenticationFailed"
    data: dict[str, Any] = detail["data"]
    return data


# -- a sync's session -------------------------------------------------------------------------------------------------


def test_a_sync_gets_a_session_from_the_refresh_token(stage: Stage) -> None:
    assert stage.send("SyncRequested")
    ((name, detail),) = stage.published()
    assert name == "SessionAuthenticated"
    assert detail["metadata"]["sync_id"] == "sync-1"
    assert detail["data"]["session_version"] == 1
    assert detail["data"]["requested_at"] == "2026-11-23T01:00:02Z"
    session = stage.secret("SESSION_SECRET")
    assert session["version"] == 1
    assert session["expires_at"] == detail["data"]["expires_at"]
    assert stage.cloud.tokens.judge(session["access_token"]) == (1, True)
    assert calls(stage, "user") == 1


def test_the_next_sync_uses_the_same_session(stage: Stage) -> None:
    stage.send("SyncRequested")
    stage.send("SyncRequested", event_id="sync-2")
    assert [detail["data"]["session_version"] for _, detail in stage.published()] == [1, 1]
    assert calls(stage, "token") == 1
    assert calls(stage, "user") == 2


def test_a_session_is_renewed_ahead_of_its_end_with_the_rotated_token(stage: Stage) -> None:
    stage.send("SyncRequested")
    stage.clock.advance(3600 - 1199)
    assert stage.send("SyncRequested", event_id="sync-2")
    assert stage.secret("SESSION_SECRET")["version"] == 2
    assert [seen.grant for seen in stage.cloud.observations.requests("token")] == ["refresh_token"] * 2


def test_a_session_that_gopro_refuses_is_renewed_for_a_sync(stage: Stage) -> None:
    stage.send("SyncRequested")
    stage.cloud.tokens.revoke_access()
    assert stage.send("SyncRequested", event_id="sync-2")
    assert stage.secret("SESSION_SECRET")["version"] == 2


@pytest.mark.parametrize("begun_before", [False, True])
def test_an_account_that_gopro_refuses_fails_the_sync_at_once_in_gopros_words_and_keeps_the_session(
    stage: Stage, begun_before: bool
) -> None:
    if begun_before:
        stage.send("SyncRequested")
        stage.published()
    refused = Refused(message="Please renew your plan.")
    stage.cloud.arm(refused)
    for night in (2, 3):
        assert stage.send("SyncRequested", event_id=f"sync-{night}")
        told = the_failure(stage)
        assert told["reason"] == "GoPro refuses the account (403: subscription_required: Please renew your plan.)"
        assert "check that the subscription is active, then send a new SyncRequested" in told["remedy"]
    assert (calls(stage, "token"), calls(stage, "user")) == (1, 3 if begun_before else 2)
    stage.cloud.faults.disarm()
    assert stage.send("SyncRequested", event_id="sync-4")
    assert stage.published()[-1][0] == "SessionAuthenticated"
    assert calls(stage, "token") == 1


@pytest.mark.parametrize("status", [400, 404, 500])
def test_trouble_of_the_listing_is_not_that_of_a_pasted_session(stage: Stage, status: int) -> None:
    stage.put_secret("CREDENTIALS_SECRET", {"access_token": stage.cloud.tokens.paste(3600)})
    stage.cloud.arm(Answer(endpoint="search", status=status, times=None))
    assert stage.send("SyncRequested")
    assert [name for name, _ in stage.published()] == ["SessionAuthenticated"]


def test_a_rejected_session_of_a_refused_account_is_not_marked_dead(stage: Stage) -> None:
    stage.send("SyncRequested")
    stage.published()
    stage.clock.advance(1900)
    stage.cloud.arm(Refused())
    assert stage.send("SessionRejected", rejected(1))
    assert "subscription_required" in the_failure(stage)["reason"]
    assert (stage.secret("SESSION_SECRET")["version"], stage.secret("SESSION_SECRET")["dead_because"]) == (2, "")


def test_new_credentials_win_over_a_session_and_over_the_rotated_token(stage: Stage) -> None:
    stage.send("SyncRequested")
    stage.cloud.configure_account(refresh_token="another-refresh-token")
    stage.put_secret("CREDENTIALS_SECRET", {**CLIENT, "refresh_token": "another-refresh-token"})
    assert stage.send("SyncRequested", event_id="sync-2")
    assert stage.secret("SESSION_SECRET")["version"] == 2
    assert stage.published()[-1][0] == "SessionAuthenticated"


def test_without_rotation_the_old_refresh_token_is_kept(stage: Stage) -> None:
    stage.cloud.configure_account(rotation=False)
    stage.send("SyncRequested")
    assert stage.secret("REFRESH_SECRET") == {}
    stage.cloud.tokens.revoke_access()
    assert stage.send("SyncRequested", event_id="sync-2")


def test_the_rotated_token_is_stored_before_the_session_is_used(stage: Stage) -> None:
    stage.cloud.arm(Answer(endpoint="user", status=503, times=1))
    assert not stage.send("SyncRequested")
    assert stage.secret("REFRESH_SECRET")["refresh_token"] != REFRESH["refresh_token"]
    # What was granted is kept, so the next try logs in no second time.
    assert stage.send("SyncRequested", receives=2)
    assert calls(stage, "token") == 1
    assert [name for name, _ in stage.published()] == ["SessionAuthenticated"]


def test_a_crash_between_grant_and_use_loses_no_refresh_token(stage: Stage) -> None:
    stage.cloud.arm(Hangup(endpoint="user", times=2))
    assert not stage.send("SyncRequested")
    stage.put_secret("SESSION_SECRET", {})
    assert stage.send("SyncRequested", receives=2)
    assert stage.secret("SESSION_SECRET")["version"] == 2


class Faltering:
    """Secrets Manager in such trouble that so many writes fail."""

    def __init__(self, client: Any, failures: int) -> None:
        self.client, self.failures = client, failures

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def put_secret_value(self, **request: Any) -> Any:
        self.failures -= 1
        if self.failures >= 0:
            raise ClientError({"Error": {"Code": "InternalServiceError"}}, "PutSecretValue")
        return self.client.put_secret_value(**request)


class Lagging:
    """Secrets Manager as it may be after a write: who names no version gets the one before."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def get_secret_value(self, **request: Any) -> Any:
        stage = {} if "VersionId" in request else {"VersionStage": "AWSPREVIOUS"}
        return self.client.get_secret_value(**request, **stage)


def secrets_of(stage: Stage, client: Any) -> Secrets:
    settings = from_environment(Settings, stage.environment)
    dynamodb = stage.session.resource("dynamodb").meta.client
    table = AuthenticatorTable(dynamodb, settings.authenticator_table, clock=stage.clock)
    return Secrets(client, settings, table=table, clock=stage.clock)


def a_session(version: int) -> Session:
    return Session(access_token=f"token-{version}", version=version, obtained_at="2026-11-23T01:00:00Z")


def test_an_answer_from_before_the_last_write_brings_back_neither_session_nor_refresh_token(stage: Stage) -> None:
    credentials = secrets_of(stage, stage.client("secretsmanager")).credentials()
    secrets = secrets_of(stage, Lagging(stage.client("secretsmanager")))
    for number in (1, 2, 3):
        secrets.keep_refresh_token(f"rotated-{number}", credentials)
        secrets.keep_session(a_session(number))
    assert secrets.refresh_token(credentials) == "rotated-3"
    assert secrets.session() == a_session(3)


def test_what_somebody_else_has_written_since_is_read(stage: Stage) -> None:
    secrets = secrets_of(stage, stage.client("secretsmanager"))
    secrets.keep_session(a_session(1))
    stage.put_secret("SESSION_SECRET", "{}")
    assert secrets.session() is None


def test_a_secret_that_was_created_again_is_read_after_a_wait(stage: Stage) -> None:
    secrets = secrets_of(stage, stage.client("secretsmanager"))
    secrets.keep_session(a_session(1))
    secrets._table.note_secret_version(stage.environment["SESSION_SECRET"], "0" * 32)
    assert secrets.session() == a_session(1)
    assert stage.clock.slept == [1, 2, 4]


@pytest.mark.parametrize(("failures", "kept"), [(4, True), (5, False)])
def test_storing_a_rotated_token_is_tried_five_times_since_the_old_one_is_dead(
    stage: Stage, failures: int, kept: bool
) -> None:
    client: Any = Faltering(stage.client("secretsmanager"), failures)
    secrets = secrets_of(stage, client)
    with nullcontext() if kept else pytest.raises(ClientError):
        secrets.keep_refresh_token("rotated", secrets.credentials())
    assert secrets.refresh_token(secrets.credentials()) == ("rotated" if kept else REFRESH["refresh_token"])
    assert stage.clock.slept == [1, 2, 4, 8]


def test_username_and_password_serve_where_there_is_no_refresh_token(stage: Stage) -> None:
    stage.put_secret("CREDENTIALS_SECRET", LOGIN)
    assert stage.send("SyncRequested")
    stage.cloud.tokens.revoke_access()
    stage.clock.advance(3)
    assert stage.send("SyncRequested", event_id="sync-2")
    assert [seen.grant for seen in stage.cloud.observations.requests("token")] == ["password", "refresh_token"]


@pytest.mark.scenario(7)
def test_the_password_replaces_a_dead_refresh_token_at_most_once_a_minute(stage: Stage) -> None:
    stage.put_secret("CREDENTIALS_SECRET", BOTH)
    stage.cloud.tokens.blacklist_refresh()
    assert stage.send("SyncRequested")
    stage.cloud.tokens.blacklist_refresh()
    stage.cloud.tokens.revoke_access()
    stage.clock.advance(20)
    assert not stage.send("SyncRequested", event_id="sync-2")
    assert stage.hidden[-1] == 40
    stage.clock.advance(40)
    assert stage.send("SyncRequested", event_id="sync-2", receives=2)
    grants = [seen.grant for seen in stage.cloud.observations.requests("token")]
    assert grants.count("password") == 2


def test_an_unreadable_session_secret_is_overwritten(stage: Stage) -> None:
    stage.put_secret("SESSION_SECRET", "{broken")
    stage.put_secret("REFRESH_SECRET", "[]")
    assert stage.send("SyncRequested")
    assert stage.secret("SESSION_SECRET")["version"] == 1


def test_versions_rise_even_if_the_table_is_lost(stage: Stage) -> None:
    stage.send("SyncRequested")
    session = stage.secret("SESSION_SECRET")
    stage.put_secret("SESSION_SECRET", {**session, "version": 41})
    stage.client("dynamodb").delete_item(TableName="authenticator", Key={"id": {"S": "session-version"}})
    stage.cloud.tokens.revoke_access()
    assert stage.send("SyncRequested", event_id="sync-2")
    assert stage.secret("SESSION_SECRET")["version"] == 42


# -- a pasted token ---------------------------------------------------------------------------------------------------


def test_the_end_of_a_pasted_token_is_unknown(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.put_secret("CREDENTIALS_SECRET", {"access_token": stage.cloud.tokens.paste(3600)})
    assert stage.send("SyncRequested")
    assert "pasted_token_used" in caplog.text
    ((_, detail),) = stage.published()
    assert detail["data"]["expires_at"] is None
    assert calls(stage, "token") == 0


def test_a_dead_pasted_token_is_reported_at_once_with_a_remedy(stage: Stage) -> None:
    stage.put_secret("CREDENTIALS_SECRET", {"access_token": stage.cloud.tokens.paste(100)})
    stage.send("SyncRequested")
    stage.published()
    stage.clock.advance(101)
    assert stage.send("SessionRejected", rejected(1))
    data = the_failure(stage)
    assert "the pasted token is dead: paste a new one, or configure a client id and secret" in data["reason"]
    assert data["session_version"] == 1
    assert stage.secret("SESSION_SECRET")["dead_because"] == data["reason"]


# -- credentials that don't do ----------------------------------------------------------------------------------------


@pytest.mark.scenario(55)
@pytest.mark.parametrize(
    "content",
    [
        "{}",
        "",
        " ",
        "not json",
        "[]",
        '"text"',
        {"client_id": "x", "client_secret": "y"},
        {"client_id": "", "client_secret": "", "refresh_token": ""},
        {"client_id": "x", "username": "u", "password": "p"},
        {"client_id": 7, "client_secret": "y", "refresh_token": "z"},
        {"access_token": "two words"},
        {"access_token": "tök"},
        {**REFRESH, "client_secret": "line\nbreak"},
    ],
)
def test_an_unusable_credentials_secret_is_named_with_the_command_that_fills_it(stage: Stage, content: object) -> None:
    if content:
        stage.put_secret("CREDENTIALS_SECRET", content)
    else:
        stage.environment["CREDENTIALS_SECRET"] = stage.client("secretsmanager").create_secret(Name="empty")["ARN"]
        stage.open("authenticator")
    assert stage.send("SyncRequested")
    data = the_failure(stage)
    secret = stage.environment["CREDENTIALS_SECRET"]
    assert secret in data["reason"]
    assert "\n  cloud-sync credentials set" in data["remedy"]
    assert calls(stage, "token") == 0


@pytest.mark.scenario(55)
def test_a_credentials_secret_marked_for_deletion_is_named_with_the_command_that_restores_it(stage: Stage) -> None:
    secret = stage.environment["CREDENTIALS_SECRET"]
    stage.client("secretsmanager").delete_secret(SecretId=secret, RecoveryWindowInDays=7)
    assert stage.send("SyncRequested")
    data = the_failure(stage)
    assert f"{secret} is marked for deletion" in data["reason"]
    assert f"aws secretsmanager restore-secret --secret-id {secret}" in data["remedy"]
    assert calls(stage, "token") == 0


@pytest.mark.scenario(7)
@pytest.mark.parametrize(
    ("credentials", "change", "reason", "remedy"),
    [
        ({**REFRESH, "client_id": "wrong"}, {}, "client id and secret are not known", "Check client_id"),
        ({**REFRESH, "refresh_token": "wrong"}, {}, "no longer valid", "new refresh_token"),
        ({**LOGIN, "password": "wrong"}, {}, "tried with the password", "username and password still log in"),
        (LOGIN, {"two_factor": True}, "second factor", "Use a refresh_token"),
    ],
)
def test_refused_credentials_fail_the_sync_at_once_with_a_remedy(
    stage: Stage, credentials: dict[str, str], change: dict[str, Any], reason: str, remedy: str
) -> None:
    stage.cloud.configure_account(**change)
    stage.put_secret("CREDENTIALS_SECRET", credentials)
    assert stage.send("SyncRequested")
    data = the_failure(stage)
    assert reason in data["reason"]
    assert remedy in data["remedy"]
    assert calls(stage, "token") == 1


@pytest.mark.scenario(7)
def test_a_revoked_refresh_token_marks_the_session_dead(stage: Stage) -> None:
    stage.send("SyncRequested")
    stage.published()
    stage.cloud.tokens.blacklist_refresh()
    stage.cloud.tokens.revoke_access()
    assert stage.send("SyncRequested", event_id="sync-2")
    assert "revoked" in the_failure(stage)["reason"]
    assert "revoked" in stage.secret("SESSION_SECRET")["dead_because"]


def test_wrong_new_credentials_leave_a_living_session_alone(stage: Stage) -> None:
    stage.send("SyncRequested")
    stage.published()
    stage.put_secret("CREDENTIALS_SECRET", {**REFRESH, "client_secret": "wrong"})
    assert stage.send("SyncRequested", event_id="sync-2")
    assert the_failure(stage)
    assert not stage.secret("SESSION_SECRET")["dead_because"]


def test_a_dead_session_is_tried_again_for_a_new_sync(stage: Stage) -> None:
    stage.put_secret("CREDENTIALS_SECRET", LOGIN)
    stage.send("SyncRequested")
    stage.cloud.configure_account(two_factor=True)
    stage.cloud.tokens.revoke_access()
    stage.cloud.tokens.blacklist_refresh()
    stage.clock.advance(61)
    stage.send("SyncRequested", event_id="sync-2")
    assert stage.secret("SESSION_SECRET")["dead_because"]
    stage.cloud.configure_account(two_factor=False)
    stage.clock.advance(61)
    assert stage.send("SyncRequested", event_id="sync-3")
    session = stage.secret("SESSION_SECRET")
    assert not session["dead_because"]
    assert session["version"] == 2


# -- trouble that may pass --------------------------------------------------------------------------------------------


def test_an_outage_is_retried_after_2_4_and_8_seconds_and_then_reported(stage: Stage) -> None:
    stage.cloud.outage(600)
    for receives in (1, 2, 3):
        assert not stage.send("SyncRequested", receives=receives)
        assert stage.published() == []
    assert stage.hidden == [2, 4, 8]
    assert not stage.send("SyncRequested", receives=4)
    assert stage.hidden[-1] == 0
    data = the_failure(stage)
    assert "503" in data["reason"]
    assert "wait until GoPro answers" in data["remedy"]


def test_a_redriven_request_of_a_failed_sync_is_acknowledged_and_logged(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.cloud.outage(600)
    stage.send("SyncRequested", receives=4)
    stage.cloud.outage(0)
    stage.published()
    assert stage.send("SyncRequested", receives=1)
    assert stage.published() == []
    assert calls(stage, "token") == 1
    assert "sync_failed_before" in caplog.text


@pytest.mark.scenario(14)
def test_a_rate_limit_is_waited_for_as_long_as_gopro_asks(stage: Stage) -> None:
    stage.cloud.arm(Answer(endpoint="token", status=429, retry_after=33))
    assert not stage.send("SyncRequested")
    assert stage.hidden == [33]
    assert stage.send("SyncRequested", receives=2)


def test_the_firewall_s_html_page_is_no_verdict_on_the_credentials(stage: Stage) -> None:
    stage.cloud.arm(Answer(endpoint="token", status=403, html=True, times=None))
    assert not stage.send("SyncRequested")
    assert not stage.send("SyncRequested", receives=4)
    assert "firewall" in the_failure(stage)["reason"]


@pytest.mark.scenario(36)
@pytest.mark.parametrize("status", [406, 410])
def test_a_retired_api_is_told_at_once(stage: Stage, status: int) -> None:
    stage.cloud.arm(Answer(endpoint="user", status=status))
    assert stage.send("SyncRequested")
    assert "update Cloud Sync" in the_failure(stage)["remedy"]


# -- once a sync ------------------------------------------------------------------------------------------------------


@pytest.mark.scenario(24)
def test_a_sync_that_has_begun_is_not_begun_again(stage: Stage) -> None:
    for due in ("2026-11-24T01:00:00Z", "2026-11-24T03:15:00Z"):
        assert stage.send("SyncRequested", {"trigger": "scheduled", "scheduled_time": due})
    ((_, detail),) = stage.published()
    assert detail["metadata"]["sync_id"] == "scheduled-2026-11-24"


def the_item_of(stage: Stage, sync_id: str) -> dict[str, Any]:
    """What the table holds of a sync's beginning, as Powertools' idempotency wrote it in version 0.1.0."""
    key = {"id": "sync#" + hashlib.md5(json.dumps(sync_id).encode()).hexdigest()}
    return dict(boto3.resource("dynamodb").Table("authenticator").get_item(Key=key).get("Item", key))


def put_item(item: Mapping[str, Any], **changes: Any) -> None:
    boto3.resource("dynamodb").Table("authenticator").put_item(Item={**item, **changes})


def claimed_by_another_worker(stage: Stage, sync_id: str, seconds: float) -> dict[str, Any]:
    now = stage.clock.now().timestamp()
    item = {
        **the_item_of(stage, sync_id),
        "status": "INPROGRESS",
        "expiration": int(now) + 10**6,
        "in_progress_expiration": int((now + seconds) * 1000),
    }
    put_item(item)
    return item


@pytest.mark.parametrize("outcome", [Outcome(session_version=7), Outcome(failed_because="a wrong password")])
def test_a_sync_that_another_worker_is_beginning_is_waited_for(stage: Stage, outcome: Outcome) -> None:
    item = claimed_by_another_worker(stage, "sync-1", seconds=60)
    stage.clock.while_asleep = lambda: put_item(item, status="COMPLETED", data=json.dumps(asdict(outcome)))
    assert stage.send("SyncRequested")
    assert stage.published() == []
    assert stage.clock.slept == [AuthenticatorTable.POLL_SECONDS]


def test_a_sync_that_another_worker_is_still_beginning_is_never_reported_as_failed(stage: Stage) -> None:
    claimed_by_another_worker(stage, "sync-1", seconds=1000)
    assert not stage.send("SyncRequested", receives=4)
    assert stage.published() == []


def test_the_claim_of_a_killed_worker_ends_with_its_time(stage: Stage) -> None:
    claimed_by_another_worker(stage, "sync-1", seconds=30)
    assert stage.send("SyncRequested")
    assert [name for name, _ in stage.published()] == ["SessionAuthenticated"]
    assert stage.clock.slept.count(AuthenticatorTable.POLL_SECONDS) == 31


def test_the_next_try_of_a_message_takes_up_its_own_claim_at_once_and_nobody_else_does(stage: Stage) -> None:
    stage.cloud.arm(Answer(endpoint="user", status=503, times=1))
    assert not stage.send("SyncRequested")
    table = AuthenticatorTable(boto3.resource("dynamodb").meta.client, "authenticator", clock=stage.clock)
    another: Any = SimpleNamespace(id="another message", remaining_seconds=lambda: 4)
    with pytest.raises(StillInProgress):
        table.begin_sync("sync-1", another)
    assert stage.send("SyncRequested", receives=2)
    assert AuthenticatorTable.POLL_SECONDS not in stage.clock.slept


def test_the_outcome_of_a_beginning_is_kept_for_400_days(stage: Stage) -> None:
    stage.send("SyncRequested")
    item = the_item_of(stage, "sync-1")
    assert item["status"] == "COMPLETED"
    assert json.loads(item["data"]) == {"session_version": 1, "failed_because": ""}
    assert item["expiration"] == int(stage.clock.now().timestamp()) + 400 * 86_400


def test_a_sync_whose_outcome_cannot_be_kept_is_not_reported_as_failed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forget(*_: object) -> None:
        raise ClientError({"Error": {"Code": "InternalServerError"}}, "UpdateItem")

    monkeypatch.setattr(AuthenticatorTable, "remember", forget)
    assert not stage.send("SyncRequested", receives=4)
    assert [name for name, _ in stage.published()] == ["SessionAuthenticated"]


# -- requests ---------------------------------------------------------------------------------------------------------


def test_filters_are_published_in_utc(stage: Stage) -> None:
    filters = {"types": ["Video"], "captured_from": "2026-01-30T22:08:11.5+01:00", "captured_until": "2026-02-01"}
    assert stage.send("SyncRequested", {"filters": filters})
    ((_, detail),) = stage.published()
    assert detail["data"]["filters"] == {
        "types": ["Video"],
        "captured_from": "2026-01-30T21:08:11Z",
        "captured_until": "2026-02-01T00:00:00Z",
    }


@pytest.mark.parametrize(
    ("request_", "named"),
    [
        ({"provider": "dropbox"}, "provider"),
        ({"filters": {"types": ["Vidoe"]}}, "Vidoe"),
        ({"filters": {"captured_from": "yesterday"}}, "captured_from"),
        ({"filters": {"captured_until": "0001-01-01T00:00:00+14:00"}}, "captured_until"),
        ({"filters": {"captured_from": "2026-02-02", "captured_until": "2026-02-02"}}, "captured_until"),
        ({"filters": {"type": ["Video"]}}, "type"),
        ({"filters": "Video"}, ""),
    ],
)
def test_a_request_with_a_mistake_is_refused_with_the_reason(stage: Stage, request_: Any, named: str) -> None:
    assert stage.send("SyncRequested", request_)
    data = the_failure(stage)
    assert data["request_refused"]
    assert named in data["reason"]
    assert "new SyncRequested" in data["remedy"]
    assert calls(stage, "token") == 0


# -- rejected sessions ------------------------------------------------------------------------------------------------


@pytest.fixture
def begun(stage: Stage) -> Stage:
    """A sync runs, and its session is ten minutes old."""
    stage.send("SyncRequested")
    stage.published()
    stage.clock.advance(601)
    return stage


@pytest.mark.scenario(5)
def test_a_rejected_session_is_replaced_without_an_event(begun: Stage) -> None:
    assert begun.send("SessionRejected", rejected(1))
    assert begun.secret("SESSION_SECRET")["version"] == 2
    assert begun.published() == []


@pytest.mark.scenario(6)
def test_a_session_replaced_already_is_not_replaced_again(begun: Stage) -> None:
    for _ in range(5):
        assert begun.send("SessionRejected", rejected(1))
    assert begun.secret("SESSION_SECRET")["version"] == 2
    assert calls(begun, "token") == 2


@pytest.mark.scenario(6)
def test_a_young_session_is_not_replaced_yet(begun: Stage) -> None:
    begun.send("SessionRejected", rejected(1))
    begun.clock.advance(400)
    assert not begun.send("SessionRejected", rejected(2))
    assert begun.hidden[-1] == 200
    assert calls(begun, "token") == 2
    begun.clock.advance(200)
    assert begun.send("SessionRejected", rejected(2), receives=2)
    assert begun.secret("SESSION_SECRET")["version"] == 3


def test_of_a_short_session_half_its_life_is_young(stage: Stage) -> None:
    stage.cloud.configure_account(expires_in=60)
    stage.send("SyncRequested")
    stage.clock.advance(20)
    assert not stage.send("SessionRejected", rejected(1))
    assert stage.hidden[-1] == 10
    stage.clock.advance(10)
    assert stage.send("SessionRejected", rejected(1), receives=2)


@pytest.mark.scenario(7)
def test_a_dead_session_is_reported_to_every_sync_and_gopro_is_asked_once(begun: Stage) -> None:
    begun.cloud.tokens.blacklist_refresh()
    assert begun.send("SessionRejected", rejected(1))
    first = the_failure(begun)
    asked = calls(begun, "any"), calls(begun, "token"), calls(begun, "user")
    assert begun.send("SessionRejected", rejected(1, "another-sync"))
    ((name, detail),) = begun.published()
    assert name == "AuthenticationFailed"
    assert detail["metadata"]["sync_id"] == "another-sync"
    assert detail["data"]["reason"] == first["reason"]
    assert "cloud-sync credentials login" in detail["data"]["remedy"]
    assert (calls(begun, "any"), calls(begun, "token"), calls(begun, "user")) == asked


def test_after_new_credentials_a_dead_session_is_replaced(begun: Stage) -> None:
    begun.cloud.tokens.blacklist_refresh()
    begun.send("SessionRejected", rejected(1))
    begun.put_secret("CREDENTIALS_SECRET", LOGIN)
    assert begun.send("SessionRejected", rejected(1))
    session = begun.secret("SESSION_SECRET")
    assert session["version"] == 2
    assert not session["dead_because"]


def test_a_rejected_session_in_a_long_outage_fails_that_sync_and_stays_for_a_redrive(begun: Stage) -> None:
    begun.cloud.outage(600)
    assert not begun.send("SessionRejected", rejected(1), receives=4)
    assert the_failure(begun)["session_version"] == 1
    assert not begun.secret("SESSION_SECRET")["dead_because"]


@pytest.mark.scenario(6)
def test_two_workers_never_refresh_at_the_same_time(begun: Stage) -> None:
    held_by_another_worker(begun, 60)
    session = begun.secret("SESSION_SECRET")

    def the_other_one_finishes() -> None:
        begun.put_secret("SESSION_SECRET", {**session, "version": 2})
        begun.client("dynamodb").delete_item(TableName="authenticator", Key={"id": {"S": "refresh-lease"}})
        begun.clock.while_asleep = lambda: None

    begun.clock.while_asleep = the_other_one_finishes
    assert begun.send("SessionRejected", rejected(1))
    assert calls(begun, "token") == 1
    assert begun.secret("SESSION_SECRET")["version"] == 2


def test_syncs_that_begin_at_once_share_one_new_session(begun: Stage) -> None:
    begun.cloud.tokens.revoke_access()
    fresh = begun.cloud.tokens.paste(3600)
    held_by_another_worker(begun, 60)
    session = begun.secret("SESSION_SECRET")

    def the_other_one_finishes() -> None:
        begun.put_secret("SESSION_SECRET", {**session, "version": 2, "access_token": fresh})
        begun.client("dynamodb").delete_item(TableName="authenticator", Key={"id": {"S": "refresh-lease"}})
        begun.clock.while_asleep = lambda: None

    begun.clock.while_asleep = the_other_one_finishes
    assert begun.send("SyncRequested", event_id="sync-2")
    ((_, detail),) = begun.published()
    assert detail["data"]["session_version"] == 2
    assert calls(begun, "token") == 1


def held_by_another_worker(stage: Stage, seconds: float) -> None:
    until = {"N": str(int(stage.clock.now().timestamp() + seconds))}
    stage.client("dynamodb").put_item(
        TableName="authenticator", Item={"id": {"S": "refresh-lease"}, "owner": {"S": "x"}, "lease_until": until}
    )


def test_the_lease_of_a_killed_worker_ends_with_its_time(begun: Stage) -> None:
    held_by_another_worker(begun, 30)
    assert begun.send("SessionRejected", rejected(1))
    assert begun.secret("SESSION_SECRET")["version"] == 2


def test_a_worker_whose_lease_ran_out_leaves_the_next_ones_alone(begun: Stage) -> None:
    table = AuthenticatorTable(boto3.resource("dynamodb").meta.client, "authenticator", clock=begun.clock)
    with table.refresh_lease(lambda: 100):
        held_by_another_worker(begun, 60)
    lease = begun.client("dynamodb").get_item(TableName="authenticator", Key={"id": {"S": "refresh-lease"}})
    assert lease["Item"]["owner"] == {"S": "x"}


def test_session_numbers_rise_even_if_the_table_is_lost_or_restored(
    begun: Stage,
) -> None:
    table = AuthenticatorTable(boto3.resource("dynamodb").meta.client, "authenticator", clock=begun.clock)
    key = {"id": {"S": "session-version"}}
    assert [table.next_session_version(1), table.next_session_version(2)] == [2, 3]
    assert table.next_session_version(7) == 8, "the table knew of 3"
    begun.client("dynamodb").delete_item(TableName="authenticator", Key=key)
    assert [table.next_session_version(8), table.next_session_version(2)] == [9, 10]


def test_a_worker_without_time_does_not_wait_for_the_lease(begun: Stage) -> None:
    held_by_another_worker(begun, 600)
    assert not begun.send("SessionRejected", rejected(1))
    assert calls(begun, "token") == 1


def test_a_worker_that_could_not_keep_what_it_is_granted_does_not_ask(begun: Stage) -> None:
    begun.seconds = 70
    assert not begun.send("SessionRejected", rejected(1))
    assert calls(begun, "token") == 1


def test_the_function_answers_as_its_inbox_does(begun: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    handler = importlib.import_module("services.authenticator.handler")
    monkeypatch.setattr(handler, "inbox", begun.inbox)
    batch = {"Records": [begun.record("SyncRequested", {}, event_id="sync-2")]}
    assert handler.handler(batch, begun.context()) == {"batchItemFailures": []}
    assert [name for name, _ in begun.published()] == ["SessionAuthenticated"]


# -- nothing secret ---------------------------------------------------------------------------------------------------


@pytest.mark.scenario(56)
def test_no_secret_ever_leaves(
    stage: Stage,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    canaries = {
        "client_id": "canary-client-id",
        "client_secret": "canary-client-secret",
        "refresh_token": "canary-refresh-token",
        "username": "canary@example.com",
        "password": "canary-password",
    }
    stage.cloud.configure_account(**canaries)
    told: list[Any] = []
    known = set(canaries.values())

    def sync(name: str, credentials: object, receives: int = 4) -> None:
        stage.put_secret("CREDENTIALS_SECRET", credentials)
        stage.send("SyncRequested", event_id=name, receives=receives)
        stage.send("SessionRejected", rejected(1, name), receives=receives)
        stage.clock.advance(601)
        told.extend(stage.published())
        for secret in ("SESSION_SECRET", "REFRESH_SECRET"):
            known.update(stage.secret(secret).get(key, "") for key in ("access_token", "refresh_token"))

    echo = json.dumps({"error": "canary-client-secret", "error_description": " ".join(canaries.values())})
    sync("good", canaries)
    sync("login", {key: value for key, value in canaries.items() if key != "refresh_token"})
    for number, status in enumerate((400, 401, 403, 404, 500, 200)):
        stage.cloud.arm(Answer(endpoint="token", status=status, body=echo, times=2))
        sync(f"echo-{number}", {**canaries, "username": f"canary-{number}"})
    stage.cloud.tokens.blacklist_refresh()
    sync("blacklisted", {key: value for key, value in canaries.items() if key not in ("username", "password")})
    sync("broken", '{"client_secret": "canary-client-secret", ')
    sync("listed", '{"client_secret": ["canary-client-secret"]}')
    sync("pasted", {"access_token": stage.cloud.tokens.paste(10)})
    sync("pasted badly", {"access_token": "canary\ntoken"})
    stage.cloud.outage(60)
    sync("outage", canaries)
    stage.cloud.outage(0)

    def unforeseen(self: GoProClient, form: Mapping[str, str]) -> None:
        raise ValueError(f"what is one to do with {form}?")

    monkeypatch.setattr(GoProClient, "token", unforeseen)
    sync("unforeseen", {**canaries, "username": "canary"}, receives=1)
    sync("unforeseen", {**canaries, "username": "canary"})
    captured = capfd.readouterr()
    # A record's own text is the least of it: what is logged beside it lies in its attributes.
    logged = "\n".join(repr(vars(record)) for record in caplog.records if "botocore" not in record.name)
    assert "the credentials secret" in logged
    table = stage.client("dynamodb").scan(TableName="authenticator")["Items"]
    everything = "\n".join([captured.out, captured.err, logged, json.dumps(told), json.dumps(table)])
    assert "AuthenticationFailed" in everything
    for secret in known - {""}:
        assert secret not in everything
    assert "canary" not in everything
