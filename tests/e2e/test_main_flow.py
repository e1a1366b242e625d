"""What `make test` shows of the deployed stack: a sync, a redrive, wrong credentials and a killed worker."""

import time

import pytest

from ops.dead_letters import redrive
from ops.local.gopro_cloud import Generated, Shape
from ops.local.gopro_cloud.faults import Drop, Throttle
from services.downloader.transfer.parts import SMALLEST_SEGMENT
from services.summarizer.report import LIBRARY_PAGE_KEY
from tests.e2e.media import MIB, assert_stored, bytes_fetched, serve, video
from tests.e2e.stage import Stage, eventually

PART = 5 * MIB


def library_page(stage: Stage) -> str:
    """Return the library's page as the bucket has it; empty while it has none."""
    s3 = stage.client("s3")
    try:
        found = s3.get_object(Bucket=stage.outputs["MediaBucketName"], Key=LIBRARY_PAGE_KEY)
    except s3.exceptions.NoSuchKey:
        return ""
    return str(found["Body"].read().decode())


@pytest.mark.scenario(38)
def test_a_sync_stores_what_it_can_and_reports_the_rest(stage: Stage) -> None:
    chapters = tuple(Generated(400_000 + n, f"chapter {n}") for n in range(3))
    good = [video(n) for n in range(9)] + [video(20, shape=Shape.CHAPTERED, contents=chapters)]
    gone, proxy = video(30, gone=True), video(31, source_offered=False)
    serve(stage, *good, gone, proxy)
    sync_id = stage.trigger()
    summary = stage.summary(sync_id)
    assert (summary["outcome"], summary["downloaded"], summary["failed"]) == ("partial", 10, 2)
    message = stage.wait_for_notification(sync_id)["Message"]
    for wanted in (sync_id, "10", gone.filename, "404", proxy.filename, "no original"):
        assert wanted in message
    assert_stored(stage, *good)
    (single,) = stage.objects_of(good[0].media_id)
    assert (single.content_type, single.content_disposition) == (
        "video/mp4", f"attachment; filename*=UTF-8''{good[0].filename}",
    )  # fmt: skip
    eventually(stage.is_idle, "empty inboxes")
    assert len(stage.notifications()) == 1
    eventually(lambda: f"{gone.filename} ({gone.media_id})" in library_page(stage), "the library's page")
    assert "2 media not stored by the last sync; 10 media stored" in library_page(stage)


@pytest.mark.scenario(20, 29, 30)
def test_a_medium_that_fails_becomes_a_dead_letter_and_a_redrive_amends_the_closed_sync(stage: Stage) -> None:
    bad, good = video(1, Drop(at_bytes=12 * MIB, times=None), size=20 * MIB), video(2)
    serve(stage, bad, good)
    sync_id = stage.trigger()
    summary = stage.summary(sync_id)
    assert (summary["downloaded"], summary["failed"], summary["closed_because"]) == (1, 1, "complete")
    # A wait begins when a try ends, so it is between the last request of one try and the first of the next.
    starts = [seen.at for seen in stage.control.requests("download", bad.media_id)]
    requests = [seen.at + seen.seconds for seen in stage.control.requests("cdn", bad.media_id)]
    ends = [max(at for at in requests if at < start) for start in starts[1:]]
    base = float(stage.variables("downloader")["RETRY_BASE_SECONDS"])
    for start, end, planned in zip(starts[1:], ends, (base, 2 * base, 4 * base), strict=True):
        assert start - end >= planned
    (letter,) = eventually(stage.dead_letters, "the dead letter")
    assert letter.media_id == bad.media_id
    (upload,) = stage.uploads()
    assert stage.parts_of(upload) >= 1

    stage.abort(upload)  # as a lifecycle rule does after days; a fresh one is begun
    stage.control.disarm()
    assert [one.media_id for one in redrive(stage.deployment, "downloader", media_id=bad.media_id)] == [bad.media_id]
    amendment = stage.wait_for_event("SyncAmended", sync_id)["detail"]["data"]
    assert (amendment["number"], amendment["recovered"]) == (1, [bad.media_id])
    assert_stored(stage, bad, good)
    assert stage.uploads() == []
    assert (stage.look(sync_id).sync or {})["summary"] == summary
    eventually(lambda: len(stage.notifications(sync_id)) == 2, "the notification of the amendment")
    eventually(lambda: "All is well: 2 media stored" in library_page(stage), "the library's page after the amendment")


@pytest.mark.scenario(7)
def test_wrong_credentials_end_in_one_critical_notification_and_no_second_login(stage: Stage) -> None:
    serve(stage, video(1))
    known = {key: stage.credentials[key] for key in ("client_id", "client_secret", "username")}
    stage.put_secret("CredentialsSecretName", {**known, "password": "not-the-password"})
    sync_id = stage.trigger()
    summary = stage.summary(sync_id, "SyncFailed")
    assert (summary["outcome"], summary["closed_because"]) == ("failed", "auth_failed")
    notification = stage.wait_for_notification(sync_id)
    assert notification["MessageAttributes"]["severity"]["Value"] == "critical"
    assert "cloud-sync credentials login --local" in notification["Message"]
    eventually(stage.is_idle, "empty inboxes")
    assert len(stage.control.requests("token")) == 1
    assert len(stage.notifications()) == 1
    assert stage.all_dead_letters() == []


@pytest.mark.scenario(11)
def test_the_medium_of_a_killed_worker_is_taken_over_and_none_of_its_parts_fetched_again(stage: Stage) -> None:
    medium = video(1, Throttle(bytes_per_second=2 * MIB, times=None), size=8 * PART)
    serve(stage, medium)
    sync_id = stage.trigger()
    kept = eventually(lambda: [one for one in stage.uploads() if stage.parts_of(one) >= 2], "two parts")
    assert stage.kill_workers("downloader") >= 1
    killed, parts, sent = time.time(), stage.parts_of(kept[0]), bytes_fetched(stage, medium)
    stage.control.disarm()
    stage.bring_back(stage.wait_for_event("MediaDiscovered", sync_id))
    summary = stage.summary(sync_id)
    assert (summary["downloaded"], summary["failed"]) == (1, 0)
    assert_stored(stage, medium)
    size = medium.contents[0].size
    assert 2 * PART <= parts * PART <= sent < size, "it was killed in mid-file"
    # The first bytes are asked for again, for the version; then what S3 didn't have.
    assert 0 < bytes_fetched(stage, medium, since=killed) <= size - parts * PART + SMALLEST_SEGMENT
    assert stage.uploads() == []
