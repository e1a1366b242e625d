"""Cases from the field, end to end: one bad thing costs itself alone, and is named with its reason."""

from typing import Any

import msgspec

from ops.local.gopro_cloud import Generated, Medium, Shape
from ops.local.gopro_cloud.faults import Answer, Refused, SmallPages
from tests.e2e.media import serve, video
from tests.e2e.stage import Stage, eventually


def several(number: int, shape: Shape, count: int, name: str) -> Medium:
    contents = tuple(Generated(50_000 + item, f"{number}, {item}") for item in range(count))
    return video(number, shape=shape, contents=contents, filename=name)


LAPSE = several(1, Shape.BURST, 12, "G0010001.JPG")
CHAPTERS = several(2, Shape.CHAPTERED, 4, "GX010002.MP4")
PHOTO = video(3, shape=Shape.PHOTO, filename="GOPR0003.JPG")
REPROCESSED = video(4)
NO_ROW = video(5, row_is=None)
OFFERED, NOT_OFFERED = video(6, ready_to_view="failure"), video(7, ready_to_view="failure", source_offered=False)
PLAIN = [video(number) for number in range(8, 13)]
NO_FRAME = Answer(endpoint="cdn", media_id=LAPSE.media_id, item=3, status=404, times=None)
NO_CHAPTER = Answer(endpoint="cdn", media_id=CHAPTERS.media_id, item=1, status=403, times=None)


def test_what_can_be_had_of_an_odd_library_is_stored_and_the_next_night_takes_what_has_come(stage: Stage) -> None:
    media = [LAPSE, CHAPTERS, PHOTO, REPROCESSED, NO_ROW, OFFERED, NOT_OFFERED, *PLAIN]
    serve(stage, *media)
    stage.control.arm(NO_FRAME, NO_CHAPTER, SmallPages(per_page=5))
    summary, listed, message = sync(stage)
    assert (listed["listed"], listed["unreadable"]) == (len(media) - 1, 1)
    assert (summary["downloaded"], summary["failed"]) == (len(PLAIN) + 3, 3)
    for medium, lacking in ((LAPSE, [3]), (CHAPTERS, [1])):
        assert items(stage, medium) == [item for item in range(1, len(medium.contents) + 1) if item not in lacking]
    for medium in (PHOTO, REPROCESSED, OFFERED, *PLAIN):
        assert items(stage, medium) == [1]
    for wanted in ("11 of 12 files", "G0010003.JPG", "404", "3 of 4 files", "GX010002.MP4", NOT_OFFERED.filename):
        assert wanted in message, wanted
    assert "failure" in message
    assert OFFERED.filename not in message, "GoPro could not make it ready, and its source is stored"
    assert "1 unreadable in the listing" in message

    stage.control.disarm(LAPSE.media_id)
    raw = msgspec.structs.replace(PHOTO, raw=Generated(60_000, "raw"))
    again = msgspec.structs.replace(
        REPROCESSED, contents=(Generated(310_000, "reprocessed"),), reprocessed_at="2026-11-26T12:00:00Z"
    )
    stage.control.change_library(add=[raw, again])
    stage.control.forget()
    before = {key: one.etag for key, one in stage.objects().items()}
    summary, listed, message = sync(stage)
    assert listed["looked_again"] == 2
    assert (summary["downloaded"], summary["failed"]) == (3, 2)
    after = stage.objects()
    assert before.items() <= {key: one.etag for key, one in after.items()}.items(), "nothing is overwritten"
    added = sorted(one.metadata["media-id"] for key, one in after.items() if key not in before)
    assert added == sorted(medium.media_id for medium in (LAPSE, PHOTO, REPROCESSED))
    whole = {seen.media_id for seen in stage.control.requests("cdn")}
    assert whole <= {medium.media_id for medium in (LAPSE, CHAPTERS, PHOTO, REPROCESSED)}
    assert {seen.item for seen in stage.control.requests("cdn", LAPSE.media_id)} == {3}
    assert {seen.item for seen in stage.control.requests("cdn", CHAPTERS.media_id)} == {1}
    stage.control.forget()
    summary, listed, _ = sync(stage)
    assert listed["looked_again"] == 0
    assert stage.control.requests("cdn", PHOTO.media_id) == stage.control.requests("cdn", REPROCESSED.media_id) == []


def test_an_account_that_gopro_refuses_is_one_critical_notification_in_gopros_words(stage: Stage) -> None:
    serve(stage, *PLAIN)
    stage.control.arm(Refused(message="An active GoPro subscription is required."))
    sync_id = stage.trigger()
    summary = stage.summary(sync_id, "SyncFailed")
    assert "subscription_required" in summary["reason"]
    notification = stage.wait_for_notification(sync_id)
    assert notification["MessageAttributes"]["severity"]["Value"] == "critical"
    assert "An active GoPro subscription is required." in notification["Message"]
    eventually(stage.is_idle, "empty inboxes")
    assert len(stage.notifications()) == 1
    assert stage.control.requests("download") == []
    assert len(stage.control.requests("token")) == 1


def sync(stage: Stage) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Run a sync. Returns its summary, its listing's outcome, and the text of its notification."""
    sync_id = stage.trigger()
    summary = stage.summary(sync_id)
    listed = stage.wait_for_event("LibraryListed", sync_id)["detail"]["data"]
    message = stage.wait_for_notification(sync_id)["Message"]
    stage.wait_for_close(sync_id)
    return summary, listed, message


def items(stage: Stage, medium: Medium) -> list[int]:
    """Return which originals of a medium are in the bucket, byte for byte."""
    digests = {one["sha256"]: one["item"] for one in stage.control.originals(medium.media_id)}
    return sorted(digests.get(one.sha256, 0) for one in stage.objects_of(medium.media_id))
