"""What users and operators are promised, on the embedded AWS: real processes, real HTTP, real bytes."""

import json
import os
import time
from contextlib import ExitStack
from typing import Any

import pytest

from ops.dead_letters import SERVICES
from tests.e2e.outputs import traces
from tests.e2e.stage import Stage, eventually, settled
from tests.gopro_cloud import Generated, Library, Medium, Shape
from tests.gopro_cloud.faults import Answer, Drop, Throttle

MIB = 1 << 20


def video(number: int, *faults: Any, size: int = 300_000, **fields: Any) -> Medium:
    media_id = f"6a93{number:020x}"
    known: dict[str, Any] = {
        "media_id": media_id,
        "contents": (Generated(size + number, media_id),),
        "filename": f"GX01{number:04}.MP4",
        "etag_part_bytes": 5 * MIB,
        "faults": faults,
    }
    return Medium(**{**known, **fields})


def serve(stage: Stage, *media: Medium) -> None:
    stage.control.replace_library(Library(media=media))
    stage.control.forget()


def assert_stored(stage: Stage, *media: Medium) -> None:
    """The bucket holds exactly the originals of these media, byte for byte."""
    for medium in media:
        stored = [one.sha256 for one in stage.objects_of(medium.media_id)]
        assert stored == [original["sha256"] for original in stage.control.originals(medium.media_id)]
    assert {one.metadata["media-id"] for one in stage.objects().values()} == {medium.media_id for medium in media}


def summary_of(
    stage: Stage, sync_id: str, detail_type: str = "SyncCompleted", *, seconds: float = 90
) -> dict[str, Any]:
    event = stage.wait_for_event(detail_type, sync_id, seconds=seconds)
    return dict(event["detail"]["data"])


@pytest.mark.scenario(38)
def test_of_twelve_media_two_can_not_be_had_and_the_rest_is_stored_byte_for_byte(stage: Stage) -> None:
    chapters = tuple(Generated(400_000 + n, f"chapter {n}") for n in range(3))
    good = [video(n) for n in range(9)] + [video(20, shape=Shape.CHAPTERED, contents=chapters)]
    gone, proxy = video(30, gone=True), video(31, source_offered=False)
    serve(stage, *good, gone, proxy)
    sync_id = stage.trigger()
    summary = summary_of(stage, sync_id)
    assert (summary["outcome"], summary["downloaded"], summary["failed"]) == ("partial", 10, 2)
    told = stage.wait_for_notification(sync_id)
    for wanted in (sync_id, "10", gone.media_id, "404", proxy.media_id, "no original"):
        assert wanted in told["Message"]
    assert_stored(stage, *good)
    assert len(stage.notifications()) == 1


@pytest.mark.scenario(31)
def test_without_new_media_a_sync_completes_with_zeros_within_seconds(stage: Stage) -> None:
    serve(stage)
    started = time.monotonic()
    sync_id = stage.trigger()
    summary = summary_of(stage, sync_id, seconds=30)
    assert [summary[name] for name in ("listed", "discovered", "downloaded", "failed")] == [0, 0, 0, 0]
    stage.wait_for_notification(sync_id)
    assert time.monotonic() - started < 30
    assert len(stage.notifications()) == 1


def test_a_second_sync_downloads_nothing_again_except_what_failed_before(stage: Stage) -> None:
    late = video(9)
    serve(stage, *[video(n) for n in range(3)], late)
    stage.control.arm(Answer(endpoint="download", media_id=late.media_id, status=404))
    stage.wait_for_close(stage.trigger())
    stage.control.forget()
    sync_id = stage.trigger()
    summary = summary_of(stage, sync_id)
    assert (summary["stored"], summary["discovered"], summary["downloaded"]) == (3, 1, 1)
    assert {seen.media_id for seen in stage.control.requests("cdn")} == {late.media_id}
    stage.wait_for_close(sync_id)
    stage.control.forget()
    summary = summary_of(stage, stage.trigger())
    assert (summary["stored"], summary["discovered"]) == (4, 0)
    assert stage.control.requests("cdn") == []


@pytest.mark.scenario(7)
def test_wrong_credentials_end_in_one_critical_notification_and_no_retry_storm(stage: Stage) -> None:
    serve(stage, video(1))
    known = {key: stage.credentials[key] for key in ("client_id", "client_secret", "username")}
    stage.put_secret("CredentialsSecretName", {**known, "password": "not-the-password"})
    sync_id = stage.trigger()
    summary = summary_of(stage, sync_id, "SyncFailed")
    assert (summary["outcome"], summary["closed_because"]) == ("failed", "auth_failed")
    told = stage.wait_for_notification(sync_id)
    assert told["MessageAttributes"]["severity"]["Value"] == "critical"
    assert "put-secret-value" in told["Message"]
    time.sleep(5)
    assert len(stage.control.requests("token")) == 1
    assert len(stage.notifications()) == 1
    assert stage.dead_letters("authenticator") == []


@pytest.mark.scenario(55)
@pytest.mark.parametrize("state", ["missing", "empty", "malformed", "to be deleted"])
def test_a_credentials_secret_that_can_not_be_used_is_named_with_the_command_that_mends_it(
    stage: Stage, state: str
) -> None:
    serve(stage, video(1))
    secrets, secret = stage.client("secretsmanager"), stage.outputs["CredentialsSecretName"]
    with ExitStack() as mended:
        if state == "missing":
            secret = f"{secret}-of-another-stack"
            mended.enter_context(stage.environment("authenticator", CREDENTIALS_SECRET=secret))
        elif state == "to be deleted":
            secrets.delete_secret(SecretId=secret)
            mended.callback(secrets.restore_secret, SecretId=secret)
        else:
            content = {"empty": "{}", "malformed": "client_id: me"}[state]
            secrets.put_secret_value(SecretId=secret, SecretString=content)
            mended.callback(stage.put_secret, "CredentialsSecretName", stage.credentials)
        sync_id = stage.trigger()
        failed = stage.wait_for_event("AuthenticationFailed", sync_id)["detail"]["data"]
        told = stage.wait_for_notification(sync_id)
        stage.wait_for_close(sync_id)
    command = "restore-secret" if state == "to be deleted" else "put-secret-value"
    assert secret in failed["reason"]
    assert f"aws secretsmanager {command} --secret-id {secret}" in failed["remedy"]
    assert f"aws secretsmanager {command} --secret-id {secret}" in told["Message"]
    assert stage.control.requests("token") == []
    assert stage.dead_letters("authenticator") == []
    assert summary_of(stage, stage.trigger())["downloaded"] == 1, "once it is mended, a new request does"


def test_five_downloads_run_at_once_and_never_more(stage: Stage) -> None:
    # Long enough that the cold starts of five workers on a small machine don't hide that five are reached.
    slow = [video(n, Throttle(bytes_per_second=100_000, times=None), size=1_500_000) for n in range(10)]
    serve(stage, *slow)
    sync_id = stage.trigger()
    most = 0

    def ended() -> bool:
        nonlocal most
        downloads = stage.control.totals()["downloads"]
        most = max(most, downloads["media_current"])
        return bool(stage.events("SyncCompleted", sync_id))

    eventually(ended, seconds=150, what="the end of ten slow downloads")
    assert most == 5
    assert stage.control.totals()["downloads"]["media_max"] == 5
    assert_stored(stage, *slow)


# The plan's waits are 30, 60 and 120 s: set RETRY_BASE_SECONDS=30 to see those measured, which takes four minutes.
BASE = float(os.environ.get("RETRY_BASE_SECONDS", "2"))


@pytest.mark.scenario(20, 29)
def test_a_failing_medium_is_retried_with_the_planned_waits_then_kept_and_redriven(stage: Stage) -> None:
    bad, good = video(1, Drop(at_bytes=0, times=None)), video(2)
    with stage.environment("downloader", RETRY_BASE_SECONDS=f"{BASE:g}"):
        serve(stage, bad, good)
        sync_id = stage.trigger()
        summary = summary_of(stage, sync_id, seconds=90 + 8 * BASE)
        assert (summary["downloaded"], summary["failed"], summary["closed_because"]) == (1, 1, "complete")
        # A wait begins when a try ends, so it is looked for between the last request of one and the first of the next.
        starts = [seen.at for seen in stage.control.requests("download", bad.media_id)]
        tries = [seen.at + seen.seconds for seen in stage.control.requests("cdn", bad.media_id)]
        ends = [max(at for at in tries if at < start) for start in starts[1:]]
        waits = [start - end for start, end in zip(starts[1:], ends, strict=True)]
        print(f"waits before the tries after the first: {', '.join(f'{wait:.1f} s' for wait in waits)}")
        for wait, planned in zip(waits, (BASE, 2 * BASE, 4 * BASE), strict=True):
            assert planned <= wait < planned + 6, waits
        letter = eventually(stage.dead_letters, what="the dead letter")[0]
        assert letter.media_id == bad.media_id
        closed = (stage.look(sync_id).sync or {})["summary"]

        stage.control.disarm()
        assert stage.redrive(media_id=bad.media_id) == 1
        amendment = stage.wait_for_event("SyncAmended", sync_id)["detail"]["data"]
    assert (amendment["number"], amendment["recovered"]) == (1, [bad.media_id])
    assert_stored(stage, bad, good)
    assert (stage.look(sync_id).sync or {})["summary"] == closed
    eventually(lambda: len(stage.notifications(sync_id)) == 2, what="the notification of the amendment")


@pytest.mark.scenario(30)
def test_a_redrive_after_its_upload_was_aborted_begins_a_fresh_one(stage: Stage) -> None:
    bad = video(1, Drop(at_bytes=12 * MIB, times=None), size=20 * MIB)
    serve(stage, bad)
    sync_id = stage.trigger()
    assert summary_of(stage, sync_id)["failed"] == 1
    eventually(stage.dead_letters, what="the dead letter")
    (upload,) = stage.uploads()
    assert stage.parts_of(upload) >= 1

    stage.abort(upload)
    stage.control.disarm()
    assert stage.redrive(media_id=bad.media_id) == 1
    amendment = stage.wait_for_event("SyncAmended", sync_id)["detail"]["data"]
    assert amendment["recovered"] == [bad.media_id]
    assert_stored(stage, bad)
    assert stage.uploads() == []


@pytest.mark.scenario(12)
def test_a_download_longer_than_an_invocation_pauses_and_goes_on(stage: Stage) -> None:
    long = video(1, Throttle(bytes_per_second=2 * MIB, times=None), size=45 * MIB)
    functions, name = stage.client("lambda"), stage.outputs["DownloaderFunctionName"]
    timeout = functions.get_function_configuration(FunctionName=name)["Timeout"]
    functions.update_function_configuration(FunctionName=name, Timeout=70)  # ten seconds of work, then a pause
    try:
        serve(stage, long)
        sync_id = stage.trigger()
        summary = summary_of(stage, sync_id, seconds=120)
    finally:
        functions.update_function_configuration(FunctionName=name, Timeout=timeout)
    assert summary["downloaded"] == 1
    pauses = [event["detail"]["metadata"]["hops"] for event in stage.events("MediaDownloadPaused", sync_id)]
    assert pauses
    assert pauses == sorted(pauses)
    assert_stored(stage, long)


def test_several_connections_share_a_file_and_a_busy_cdn_gets_fewer(stage: Stage) -> None:
    busy = Answer(endpoint="cdn", status=503, retry_after=1, times=2, after=3)
    large = video(1, Throttle(bytes_per_second=2 * MIB, times=None), busy, size=60 * MIB)
    with stage.environment("downloader", CONNECTIONS_PER_FILE="6"):
        serve(stage, large)
        sync_id = stage.trigger()
        summary = summary_of(stage, sync_id, seconds=60)
    assert (summary["downloaded"], summary["failed"]) == (1, 0)
    assert_stored(stage, large)
    downloads = stage.control.totals()["downloads"]
    assert 4 <= downloads["max"] <= 6
    assert stage.objects_of(large.media_id)[0].etag == stage.control.originals(large.media_id)[0]["etag"]


@pytest.mark.scenario(5)
def test_a_session_that_ends_in_the_middle_is_renewed_once_and_all_lanes_go_on(stage: Stage) -> None:
    stage.control.configure_account(expires_in=60)
    slow = [video(n, Throttle(bytes_per_second=100_000, times=1), size=500_000) for n in range(12)]
    serve(stage, *slow)
    sync_id = stage.trigger()
    eventually(lambda: len(stage.objects()) >= 2, seconds=60, what="the first objects")
    before = len(stage.control.requests("token"))
    stage.control.advance(61)
    summary = summary_of(stage, sync_id, seconds=180)
    assert (summary["downloaded"], summary["failed"]) == (12, 0)
    assert_stored(stage, *slow)
    renewals = [seen.at for seen in stage.control.requests("token")[before:]]
    listings = stage.control.requests("download")
    refused = {seen.media_id: seen.at for seen in reversed(listings) if seen.status == 401}
    assert len(refused) >= 2, "several lanes met the end of the session"
    went_on = [
        min(seen.at for seen in listings if (seen.media_id, seen.status) == (lane, 200) and seen.at > at)
        for lane, at in refused.items()
    ]
    # The session with which they go on is as short: after two thirds of its minute, it may be renewed in its turn.
    assert len([at for at in renewals if at < max(went_on)]) == 1
    assert min(went_on) > renewals[0]
    assert len(stage.events("SessionAuthenticated", sync_id)) == 1, "a renewal doesn't begin the sync anew"


def test_the_daily_schedules_own_target_starts_a_sync_named_by_its_date(stage: Stage) -> None:
    serve(stage, video(1))
    scheduler = stage.client("scheduler")
    group = stage.outputs["ScheduleGroupName"]
    daily = scheduler.get_schedule(Name=stage.outputs["DailyScheduleName"], GroupName=group)
    soon = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + 2))
    scheduler.create_schedule(
        Name="soon",
        GroupName=group,
        ScheduleExpression=f"at({soon})",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target=daily["Target"],
    )
    request = stage.wait_for_event("SyncRequested", seconds=40)
    assert request["source"] == "cloud-sync.schedule"
    closed = stage.wait_for_event("SyncCompleted", seconds=60)["detail"]
    assert closed["metadata"]["sync_id"].startswith("scheduled-20")
    assert closed["data"]["trigger"] == "scheduled"
    stage.wait_for_close(closed["metadata"]["sync_id"])


def test_a_sync_is_traced_through_all_four_services_and_into_their_calls(stage: Stage) -> None:
    serve(stage, video(1))
    began = time.time()
    stage.wait_for_close(stage.trigger())

    functions = {stage.outputs[f"{service.title()}FunctionName"]: service for service in SERVICES}
    wanted = {
        "authenticator": {"secretsmanager", "dynamodb", "events"},
        "lister": {"secretsmanager", "dynamodb", "s3", "events"},
        "downloader": {"secretsmanager", "dynamodb", "s3", "events", "sqs"},
        "summarizer": {"dynamodb", "events", "sns", "s3"},
    }

    def missing() -> dict[str, set[str]]:
        called: dict[str, set[str]] = {service: set() for service in SERVICES}
        for trace in traces(stage.client("xray"), began - 1, time.time()):
            called[functions[trace.function]] |= {json.loads(document)["name"] for document in trace.documents}
        lacking = {service: {"## handler", *calls} - called[service] for service, calls in wanted.items()}
        return {service: calls for service, calls in lacking.items() if calls}

    # A handler that has told the close may still be at work, and what it sends to the daemon is told nobody else.
    assert settled(missing) == {}


@pytest.mark.parametrize("detail", [{"provider": "gopro", "filters": {"type": ["Video"]}}, {"provider": "dropbox"}])
def test_a_request_with_a_mistake_fails_with_words_and_nothing_is_downloaded(
    stage: Stage, detail: dict[str, Any]
) -> None:
    serve(stage, video(1))
    sync_id = stage.put_event("SyncRequested", detail)
    summary = summary_of(stage, sync_id, "SyncFailed")
    assert "dropbox" in summary["reason"] or "unknown filter: type" in summary["reason"]
    assert stage.objects() == {}
