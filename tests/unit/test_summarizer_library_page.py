"""The library's page in the bucket: when it is written, and what a failure to write it leaves undone."""

from dataclasses import replace
from datetime import timedelta

import pytest
from botocore.exceptions import ClientError

from services.shared.clock import iso
from services.shared.events import SessionEnding
from services.shared.library.records import MediumRecord, Status
from services.summarizer.history import HISTORY, PageState
from services.summarizer.page.library import CATCHES_UP
from services.summarizer.records import ClosedSync
from tests.unit.summarizer_facts import (
    BEGIN,
    SYNC,
    a_sync_of,
    at,
    cancelled,
    downloaded,
    failed,
    listed,
    requested,
)
from tests.unit.summarizer_stage import Crash, Stage

FULL = ClientError({"Error": {"Code": "InternalError"}}, "PutObject")
WARNING = SessionEnding(
    sync_id="scheduled-2026-11-24", warned_on="2026-11-23", since=at(0), next_sync_at=at(0), occurred_at=at(9_000)
)


def fail() -> None:
    raise FULL


def crash() -> None:
    raise Crash


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_the_page_is_written_when_a_sync_closes_and_again_at_its_amendments(stage: Stage) -> None:
    stage.take(*a_sync_of(2), downloaded("m0"))
    assert stage.library_pages == []
    stage.take(failed("m1"))
    (page,) = stage.library_pages
    assert "1 medium not stored by the last sync" in page
    assert "GXm1.MP4 (m1)" in page
    stage.take(downloaded("m1", epoch=2))
    assert "All is well: 2 media stored (20 bytes)." in stage.library_pages[1]
    stage.take(downloaded("m1", epoch=2))
    assert len(stage.library_pages) == 2
    assert stage.is_settled


def test_the_page_comes_after_the_event_and_the_notification(stage: Stage) -> None:
    stage.take(*a_sync_of(1), downloaded("m0"))
    assert stage.steps.index("store_library_page") > stage.steps.index("mark_notified")


def test_a_failure_to_write_it_holds_nothing_back_and_the_next_review_writes_it(stage: Stage) -> None:
    stage.before("store_library_page", fail)
    stage.take(*a_sync_of(1), downloaded("m0"))
    assert (stage.event_names, stage.notified, stage.library_pages) == (["SyncCompleted"], ["SyncCompleted"], [])
    assert stage.is_settled
    stage.review(15)
    assert len(stage.library_pages) == 1
    stage.review(30)
    assert len(stage.library_pages) == 1


@pytest.mark.parametrize("step", ["import_into_history", "store_library_page", "keep_page"])
def test_a_function_that_is_killed_while_it_writes_the_page_writes_it_at_the_next_try(stage: Stage, step: str) -> None:
    facts = [*a_sync_of(1), downloaded("m0")]
    stage.before(step, crash)
    with pytest.raises(Crash):
        stage.take(*facts)
    assert stage.notified == ["SyncCompleted"]
    assert not stage.is_settled
    stage.take(*facts)
    assert "All is well: 1 medium stored (10 bytes)." in stage.library_pages[-1]
    assert stage.notified == ["SyncCompleted"]
    assert stage.is_settled


def test_after_a_kill_the_review_writes_the_page_if_the_facts_do_not_come_back(stage: Stage) -> None:
    stage.before("store_library_page", crash)
    with pytest.raises(Crash):
        stage.take(*a_sync_of(1), downloaded("m0"))
    stage.review(15)
    assert len(stage.library_pages) == 1
    assert stage.is_settled


def test_a_page_that_another_summarizer_wrote_meanwhile_is_written_again(stage: Stage) -> None:
    other = "manual"
    facts = [replace(fact, sync_id=other) for fact in [requested(occurred_at=at(5)), listed(0)]]
    stage.before("store_library_page", lambda: stage.deliver(*facts, to=stage.summarizer()))
    stage.take(*a_sync_of(1), downloaded("m0"))
    with_other, older, last = stage.library_pages
    assert (other in with_other, other in older, other in last) == (True, False, True)


def test_the_page_goes_stale_once_the_next_sync_should_have_begun(stage: Stage) -> None:
    stage.take(*a_sync_of(1), downloaded("m0"))
    tomorrow = (timedelta(days=1) + CATCHES_UP) / timedelta(minutes=1)
    stage.review(tomorrow - 1)
    assert len(stage.library_pages) == 1
    stage.review(tomorrow + 1)
    assert "No sync ran at 24 November 2026, 01:00." in stage.library_pages[1]
    stage.review(tomorrow + 15)
    assert len(stage.library_pages) == 2


def test_a_running_sync_is_on_the_page(stage: Stage) -> None:
    stage.take(*a_sync_of(2), downloaded("m0"))
    stage.review(10)
    assert "A sync is running: 1 medium stored so far." in stage.library_pages[0]
    assert stage.syncs.page().stale_at == iso(BEGIN + timedelta(days=1) + CATCHES_UP)


def test_a_warning_about_the_session_is_shown_and_kept(stage: Stage) -> None:
    stage.take(WARNING)
    assert "refused by GoPro, as of 23 November 2026, 03:30" in stage.library_pages[0]
    assert stage.notified == ["SessionEnding"]
    stage.take(*a_sync_of(0))
    assert "accepted by GoPro" not in stage.library_pages[1], "the warning is younger than the sync"


def test_a_warning_that_cannot_be_kept_is_notified_all_the_same(stage: Stage) -> None:
    def refuse() -> None:
        stage.before("", refuse)
        raise FULL

    stage.before("keep_page", refuse)
    stage.take(WARNING)
    assert stage.notified == ["SessionEnding"]


def test_nothing_keeps_a_review_from_its_end(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.take(*a_sync_of(1))

    def unreadable() -> PageState:
        raise FULL

    monkeypatch.setattr(stage.syncs, "page", unreadable)
    stage.review(15)
    stage.take(cancelled(), downloaded("m0"))
    assert stage.notified == ["SyncCompleted"]


def test_what_is_in_the_bucket_by_now_is_not_called_missing(stage: Stage) -> None:
    stage.library["m0"] = MediumRecord(media_id="m0", status=Status.STORED)
    stage.library["m1"] = MediumRecord(media_id="m1", status=Status.STORED, reason="a new file failed")
    stage.take(*a_sync_of(2), failed("m0"), failed("m1"))
    assert "GXm0.MP4 (m0)" not in stage.library_pages[0]
    assert "GXm1.MP4 (m1)" in stage.library_pages[0]


def test_the_scheduled_syncs_of_an_earlier_version_are_on_the_first_page(stage: Stage) -> None:
    for name in ("scheduled-2026-11-20", "scheduled-2026-11-22", "manual"):
        sync = ClosedSync(
            sync_id=name,
            requested_at=f"{name[-10:]}T01:00:00Z" if name != "manual" else "2026-11-21T07:00:00Z",
            expected=0,
            closed_because="complete",
            outcome="completed",
            summary={"closed_at": "2026-11-22T01:30:00Z", "trigger": "scheduled", "reason": ""},
            unsettled=False,
        )
        stage.syncs.write(None, sync)
    table = stage.database.tables["syncs"]
    for key in [key for key in table.items if key[0] == HISTORY]:
        table.replace(key, None)
    stage.take(*a_sync_of(0))
    assert [past.sync_id for past in stage.syncs.recent(9)] == [SYNC, "scheduled-2026-11-22", "scheduled-2026-11-20"]
    assert [past.imported for past in stage.syncs.recent(9)] == [False, True, True]
    assert "the scheduled ones since 20 November 2026 that an earlier version has left" in stage.library_pages[0]
