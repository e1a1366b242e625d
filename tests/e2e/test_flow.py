"""What users and operators are promised beyond the main flow: real processes, real HTTP, real bytes."""

from contextlib import ExitStack
from typing import Any

import pytest

from ops.local.gopro_cloud.faults import Answer, Throttle
from ops.trigger import request_cancel
from tests.e2e.media import MIB, assert_stored, serve, video
from tests.e2e.stage import Stage, eventually

HELD = Throttle(bytes_per_second=2_000, times=None)  # until `disarm`


@pytest.mark.scenario(31)
def test_a_second_sync_downloads_only_what_failed_before(stage: Stage) -> None:
    serve(stage)
    summary = stage.summary(stage.trigger())
    assert [summary[name] for name in ("listed", "discovered", "downloaded", "failed")] == [0, 0, 0, 0]

    late = video(9)
    serve(stage, *[video(n) for n in range(3)], late)
    stage.control.arm(Answer(endpoint="download", media_id=late.media_id, status=404))
    stage.wait_for_close(stage.trigger())
    stage.control.forget()
    sync_id = stage.trigger()
    summary = stage.summary(sync_id)
    assert (summary["stored"], summary["discovered"], summary["downloaded"]) == (3, 1, 1)
    assert {seen.media_id for seen in stage.control.requests("cdn")} == {late.media_id}
    stage.wait_for_close(sync_id)
    stage.control.forget()
    summary = stage.summary(stage.trigger())
    assert (summary["stored"], summary["discovered"]) == (4, 0)
    assert stage.control.requests("cdn") == []
    eventually(lambda: len(stage.notifications()) == 4, "one notification for each sync")


@pytest.mark.scenario(55)
@pytest.mark.parametrize("state", ["missing", "empty", "malformed", "to be deleted"])
def test_an_unusable_credentials_secret_is_named_with_the_command_that_fixes_it(stage: Stage, state: str) -> None:
    serve(stage, video(1))
    secrets, secret = stage.client("secretsmanager"), stage.outputs["CredentialsSecretName"]
    with ExitStack() as fixed:
        if state == "missing":
            secret = f"{secret}-of-another-stack"
            fixed.enter_context(stage.environment("authenticator", CREDENTIALS_SECRET=secret))
        elif state == "to be deleted":
            secrets.delete_secret(SecretId=secret)
            fixed.callback(secrets.restore_secret, SecretId=secret)
        else:
            content = {"empty": "{}", "malformed": "client_id: me"}[state]
            secrets.put_secret_value(SecretId=secret, SecretString=content)
            fixed.callback(stage.put_secret, "CredentialsSecretName", stage.credentials)
        sync_id = stage.trigger()
        failed = stage.wait_for_event("AuthenticationFailed", sync_id)["detail"]["data"]
        message = stage.wait_for_notification(sync_id)["Message"]
        stage.wait_for_close(sync_id)
    restore = f"aws secretsmanager restore-secret --secret-id {secret}"
    command = restore if state == "to be deleted" else "cloud-sync credentials login"
    assert secret in failed["reason"]
    assert command in failed["remedy"]
    assert command in message
    assert stage.control.requests("token") == []
    assert stage.all_dead_letters() == []
    assert stage.summary(stage.trigger())["downloaded"] == 1, "once it is fixed, a new request succeeds"


@pytest.mark.scenario(12)
def test_a_download_longer_than_an_invocation_pauses_and_resumes(stage: Stage) -> None:
    medium = video(1, Throttle(bytes_per_second=2 * MIB, times=None), size=50 * MIB)
    serve(stage, medium)
    with stage.configured("downloader", Timeout=75):  # fifteen seconds of work, then a pause
        sync_id = stage.trigger()
        summary = stage.summary(sync_id)
    assert summary["downloaded"] == 1
    pauses = [event["detail"]["metadata"]["hops"] for event in stage.events("MediaDownloadPaused", sync_id)]
    assert pauses
    assert pauses == sorted(pauses)
    assert_stored(stage, medium)


def test_a_cancelled_sync_finishes_what_is_in_hand_and_leaves_the_rest_to_the_next(stage: Stage) -> None:
    media = [video(n, HELD) for n in range(10)]
    serve(stage, *media)
    sync_id = stage.trigger()
    eventually(lambda: stage.control.totals()["downloads"]["media_current"] == 5, "five downloads at once")
    eventually(lambda: stage.inbox("downloader")["visible"] == 5, "five more that wait")
    request_cancel(stage.deployment, sync_id)
    eventually(lambda: (stage.look(sync_id).sync or {}).get("cancel_requested_at"), "the mark of the cancellation")
    for medium in media:
        stage.control.disarm(medium.media_id)
    summary = stage.summary(sync_id)
    assert [summary[name] for name in ("closed_because", "downloaded", "skipped", "failed", "outstanding")] == [
        *("cancelled", 5, 5, 0, 0),
    ]  # fmt: skip
    sent = stage.wait_for_notification(sync_id)
    assert sent["Subject"].startswith("Cloud Sync (cancelled): 5 of 10 new media stored, 5 left for the next sync")
    assert sent["MessageAttributes"]["severity"]["Value"] == "info"
    stage.wait_for_close(sync_id)
    summary = stage.summary(stage.trigger())
    assert (summary["stored"], summary["downloaded"]) == (5, 5)
    assert_stored(stage, *media)


@pytest.mark.scenario(5)
def test_five_downloads_run_at_once_and_a_session_that_ends_then_is_renewed_once(stage: Stage) -> None:
    media = [video(n, HELD) for n in range(10)]
    serve(stage, *media)
    sync_id = stage.trigger()
    eventually(lambda: stage.control.totals()["downloads"]["media_current"] == 5, "five downloads at once")
    eventually(lambda: stage.inbox("downloader")["visible"] == 5, "five more that wait")
    before = len(stage.control.requests("token"))
    stage.age_session(hours=1)  # one that has just begun would not be renewed
    stage.control.advance(100_000)
    stage.control.arm(Throttle(endpoint="token", bytes_per_second=1))
    for medium in media:
        stage.control.disarm(medium.media_id)
    eventually(lambda: len(refused(stage)) >= 2, "several downloads that meet the end of the session")
    stage.control.disarm()
    summary = stage.summary(sync_id)
    assert (summary["downloaded"], summary["failed"]) == (10, 0)
    assert_stored(stage, *media)
    assert stage.control.totals()["downloads"]["media_max"] == 5
    assert len(stage.control.requests("token")) == before + 1
    assert len(stage.events("SessionAuthenticated", sync_id)) == 1, "a renewal doesn't begin the sync anew"


def refused(stage: Stage) -> set[str | None]:
    """The media that GoPro was asked for with a session that had ended."""
    return {seen.media_id for seen in stage.control.requests("download") if seen.status == 401}


def test_the_daily_schedules_own_target_starts_a_sync_named_by_its_date(stage: Stage) -> None:
    serve(stage, video(1))
    with stage.soon(stage.schedule("Daily")["Target"]):
        request = stage.wait_for_event("SyncRequested")
        assert request["source"] == "cloud-sync.schedule"
        closed = stage.wait_for_event("SyncCompleted")["detail"]
    assert closed["metadata"]["sync_id"].startswith("scheduled-20")
    assert closed["data"]["trigger"] == "scheduled"
    stage.wait_for_close(closed["metadata"]["sync_id"])


@pytest.mark.parametrize(
    ("detail", "reason"),
    [
        ({"provider": "gopro", "filters": {"type": ["Video"]}}, "unknown filter type"),
        ({"provider": "dropbox"}, "dropbox"),
    ],
)
def test_a_request_with_a_mistake_fails_with_its_reason_and_downloads_nothing(
    stage: Stage, detail: dict[str, Any], reason: str
) -> None:
    serve(stage, video(1))
    assert reason in stage.summary(stage.put_event("SyncRequested", detail), "SyncFailed")["reason"]
    assert stage.objects() == {}
