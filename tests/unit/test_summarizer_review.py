"""What the review decides: results that no event has reported, and how long nothing has moved."""

from dataclasses import replace

import pytest

from services.shared.events import Event, FailedFile, MediaDownloaded, MediaDownloadFailed
from services.shared.library.records import MediumRecord, Status
from services.summarizer.records import Medium, Quiet, Sync
from services.summarizer.review import missed_results, quiet_since
from tests.unit.summarizer_facts import SYNC

STORED = MediumRecord(
    media_id="m0", status=Status.STORED, item_count=1, epoch=3, files_total=2, bytes_total=77, sync_id=SYNC
)
FAILED = MediumRecord(media_id="m0", status=Status.FAILED, epoch=2, reason="refused", sync_id=SYNC)
FAILURE = MediaDownloadFailed(sync_id=SYNC, media_id="m0", epoch=2, reason="refused")
RESULT = MediaDownloaded(sync_id=SYNC, media_id="m0", epoch=3, files_total=2, bytes=77)


@pytest.mark.parametrize(
    ("record", "facts"),
    [
        pytest.param(STORED, [RESULT], id="stored"),
        pytest.param(
            replace(STORED, sync_id="another"), [replace(RESULT, already_stored=True)], id="stored_by_another"
        ),
        pytest.param(
            replace(STORED, item_count=None, files_total=None),
            [replace(RESULT, files_total=0)],
            id="stored_by_an_early_version",
        ),
        pytest.param(FAILED, [FAILURE], id="failed"),
        pytest.param(replace(FAILED, reason=None), [replace(FAILURE, reason="")], id="failed_without_a_reason"),
        pytest.param(replace(FAILED, sync_id="another"), [], id="failed_in_another_sync"),
        pytest.param(replace(STORED, status=Status.DOWNLOADING), [], id="under_way"),
        pytest.param(None, [], id="unknown"),
    ],
)
def test_results_that_no_event_reported_are_read_from_the_library_table(
    record: MediumRecord | None, facts: list[Event]
) -> None:
    outstanding = [Medium(media_id=media_id, state="DISCOVERED") for media_id in ("another", "m0")]
    assert missed_results(SYNC, outstanding, {"m0": record} if record else {}) == facts


@pytest.mark.parametrize(
    ("record", "facts"),
    [
        pytest.param(STORED, [replace(RESULT, looked_again=True, files_total=0, bytes=0)], id="looked_at"),
        pytest.param(replace(STORED, sync_id="another"), [], id="stored_before_and_not_looked_at_yet"),
        pytest.param(replace(STORED, reason="refused"), [replace(FAILURE, epoch=3, files_total=2)], id="look_failed"),
        pytest.param(replace(STORED, reason="refused", sync_id="another"), [], id="look_of_another_sync_failed"),
        pytest.param(FAILED, [FAILURE], id="a_new_file_failed"),
    ],
)
def test_the_result_of_a_look_is_that_of_the_sync_that_looked(record: MediumRecord, facts: list[Event]) -> None:
    look = Medium(media_id="m0", state="DISCOVERED", looked_again=True)
    assert missed_results(SYNC, [look], {"m0": record}) == facts


@pytest.mark.parametrize(("known_by", "since"), [("an earlier sync", "2026-11-01T02:00:00Z"), (SYNC, ""), (None, "")])
def test_a_failure_from_the_library_table_says_what_is_missing_and_since_when(known_by: str | None, since: str) -> None:
    missing = (FailedFile(name="a.JPG", reason="gone"),)
    record = MediumRecord(
        media_id="m0", status=Status.FAILED, sync_id=SYNC, files_stored=11, files_total=12, failed_files=missing,
        known_since="2026-11-01T02:00:00Z" if known_by else None, known_by=known_by,
    )  # fmt: skip
    (fact,) = missed_results(SYNC, [Medium(media_id="m0", state="DISCOVERED")], {"m0": record})
    assert isinstance(fact, MediaDownloadFailed)
    assert (fact.files_stored, fact.files_total, fact.failed_files, fact.known_since) == (11, 12, missing, since)


@pytest.mark.parametrize("item_count", [1, None])
def test_a_medium_stored_with_fewer_items_than_were_discovered_has_no_result_yet(item_count: int | None) -> None:
    grown = Medium(media_id="m0", state="DISCOVERED", item_count=2)
    assert missed_results(SYNC, [grown], {"m0": replace(STORED, item_count=item_count)}) == []


@pytest.mark.parametrize(
    ("quiet", "moving", "expected"),
    [
        pytest.param(None, False, Quiet(version=8, reviewed_at="now"), id="the_first_quiet_review"),
        pytest.param(Quiet(version=7, reviewed_at="x"), False, Quiet(version=7, reviewed_at="x"), id="a_later_one"),
        pytest.param(Quiet(version=6, reviewed_at="x"), False, Quiet(version=8, reviewed_at="now"), id="after_a_fact"),
        pytest.param(Quiet(version=7, reviewed_at="x"), True, None, id="something_moves"),
    ],
)
def test_quiet_lasts_from_its_first_review_until_something_moves(
    quiet: Quiet | None, moving: bool, expected: Quiet | None
) -> None:
    sync = Sync(sync_id=SYNC, version=7, quiet=quiet)
    assert quiet_since(sync, moving=moving, reviewed_at="now") == expected
