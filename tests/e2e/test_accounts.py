"""Shows that wrong accounts are found: each lie about a sync whose accounts add up."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from ops.trigger import SOURCE
from tests.e2e.accounts import Books, wrong_accounts

SYNC = "one"


def published(detail_type: str, **data: Any) -> dict[str, Any]:
    source = SOURCE if detail_type == "SyncRequested" else "cloud-sync.of-a-service"
    return {"source": source, "detail-type": detail_type, "detail": {"metadata": {"sync_id": SYNC}, "data": data}}


def medium(media_id: str, state: str, **more: Any) -> dict[str, Any]:
    return {"media_id": media_id, "state": state, "bytes": 0, "already_stored": False, **more}


LISTING = {"listed": 9, "stored": 5, "discovered": 4, "pending": 0, "deferred": 0}
FACTS = (
    published("SyncRequested"),
    *(published("MediaDiscovered", media_id=name) for name in ("good", "there", "bad", "lost")),
    published("LibraryListed", **LISTING),
    published("MediaDownloaded", media_id="good", epoch=1, bytes=100),
    published("MediaDownloaded", media_id="there", epoch=1, bytes=7, already_stored=True),
    published("MediaDownloadFailed", media_id="bad", epoch=1),
)
COUNTED = {"downloaded": 2, "already_stored": 1, "failed": 1, "known_losses": 0, "skipped": 0, "bytes": 100}
SUMMARY = {
    **LISTING,
    **COUNTED,
    "outcome": "partial",
    "closed_because": "stalled",
    "outstanding": 1,
    "failures": [{"media_id": "bad"}, {"media_id": "lost"}],
    "failures_total": 2,
    "warnings": [],
}


def books(*, amended: bool = False) -> Books:
    """Of a sync that stalled: two media are downloaded, one failed, one is outstanding. `amended`: "bad" came later."""
    bad = medium("bad", "DOWNLOADED", bytes=30, late=1) if amended else medium("bad", "FAILED")
    counted = {**COUNTED, "downloaded": 3, "failed": 0, "bytes": 130} if amended else COUNTED
    late = [
        published("MediaDownloaded", media_id="bad", epoch=2, bytes=30),
        published("SyncAmended", recovered=["bad"], failed=[]),
    ]
    media = [
        medium("good", "DOWNLOADED", bytes=100),
        medium("there", "DOWNLOADED", bytes=7, already_stored=True),
        bad,
        medium("lost", "DISCOVERED"),
    ]
    everything = {
        "events": [*FACTS, published("SyncCompleted", **SUMMARY), *(late if amended else [])],
        "syncs": {SYNC: {**counted, "discovered": 4, "amended": int(amended), "summary": SUMMARY}},
        "media": {SYNC: media},
        "library": {},
    }
    return Books(**copy.deepcopy(everything))  # type: ignore[arg-type]  # a dictionary of all its fields


def events(of: Books, detail_type: str, media_id: str | None = None) -> list[Any]:
    every = [one for one in of.events if one["detail-type"] == detail_type]
    return [one for one in every if media_id in (None, one["detail"]["data"].get("media_id"))]


def without(of: Books, detail_type: str, media_id: str | None = None) -> Books:
    gone = events(of, detail_type, media_id)
    return replace(of, events=[one for one in of.events if one not in gone])


def published_and_kept(of: Books, **changed: Any) -> Books:
    """The close was published with these values, and is kept so."""
    (closing,) = events(of, "SyncCompleted")
    closing["detail"]["data"] |= changed
    of.syncs[SYNC]["summary"] |= changed
    return of


@pytest.mark.parametrize("amended", [False, True])
def test_accounts_that_add_up_have_nothing_wrong(amended: bool) -> None:
    assert wrong_accounts(books(amended=amended)) == []


def test_a_result_that_a_review_read_in_the_library_table_needs_no_event() -> None:
    stored = {"good": {"status": "STORED"}, "bad": {"status": "FAILED", "sync_id": SYNC}}
    without_events = without(without(books(), "MediaDownloaded", "good"), "MediaDownloadFailed")
    assert wrong_accounts(replace(without_events, library=stored)) == []


def test_a_medium_that_was_skipped_and_is_stored_by_the_next_sync_adds_up() -> None:
    of = with_event(books(), published("MediaDownloadSkipped", media_id="lost"))
    of.media[SYNC][-1]["state"] = "SKIPPED"
    of.syncs[SYNC]["skipped"] = 1
    failures = [{"media_id": "bad"}]
    of = published_and_kept(of, skipped=1, outstanding=0, failures=failures, failures_total=1)
    assert wrong_accounts(of) == []
    assert wrong_accounts(replace(of, library={"lost": {"status": "STORED", "sync_id": "next"}})) == []


def redriven() -> Books:
    """Of a sync whose library could not be listed; the lister's message was redriven after the close."""
    nothing = {"discovered": 0, "downloaded": 0, "failed": 0, "skipped": 0, "outstanding": 0, "bytes": 0}
    summary = {
        **nothing,
        "already_stored": 0,
        "known_losses": 0,
        "outcome": "failed",
        "closed_because": "listing_failed",
        "failures": [],
        "failures_total": 0,
    }
    everything = {
        "events": [
            published("SyncRequested"),
            published("SyncFailed", **summary),
            published("MediaDiscovered", media_id="good"),
            published("MediaDownloaded", media_id="good", epoch=1, bytes=100),
            published("SyncAmended", recovered=["good"], failed=[]),
        ],
        "syncs": {SYNC: {"discovered": 1, "downloaded": 1, "bytes": 100, "amended": 1, "summary": summary}},
        "media": {SYNC: [medium("good", "DOWNLOADED", bytes=100, late=1)]},
        "library": {"good": {"status": "STORED", "sync_id": SYNC}},
    }
    return Books(**copy.deepcopy(everything))  # type: ignore[arg-type]  # a dictionary of all its fields


def test_a_failed_sync_whose_lister_was_redriven_adds_up() -> None:
    assert wrong_accounts(redriven()) == []


def test_a_failed_sync_that_counts_what_came_after_its_close_is_found() -> None:
    of = redriven()
    of.syncs[SYNC]["summary"] |= {"downloaded": 1, "discovered": 1, "bytes": 100}
    events(of, "SyncFailed")[0]["detail"]["data"] |= of.syncs[SYNC]["summary"]
    assert any(one.startswith("I2") for one in wrong_accounts(of))


def other(event: Any, **data: Any) -> Any:
    """A copy of an event with other data."""
    changed = copy.deepcopy(event)
    changed["detail"]["data"] |= data
    return changed


def with_event(of: Books, event: Any) -> Books:
    return replace(of, events=[*of.events, event])


def published_with_more_than_is_kept(of: Books) -> Books:
    del of.syncs[SYNC]["summary"]["warnings"]
    return of


def one_downloaded_too_many(of: Books) -> Books:
    """The failed one passes for downloaded, in all that the summarizer has written and published."""
    sync, (bad,) = of.syncs[SYNC], [one for one in of.media[SYNC] if one["media_id"] == "bad"]
    bad["state"] = "DOWNLOADED"
    sync["downloaded"], sync["failed"] = 3, 0
    failures = [one for one in sync["summary"]["failures"] if one["media_id"] != "bad"]
    return published_and_kept(of, downloaded=3, failed=0, failures=failures, failures_total=1)


def bytes_that_nobody_stored(of: Books) -> Books:
    of.syncs[SYNC]["bytes"] += 1
    of.media[SYNC][0]["bytes"] += 1
    return published_and_kept(of, bytes=101)


def a_counter_that_is_off(of: Books) -> Books:
    of.syncs[SYNC]["failed"] += 1
    return of


def another_one_outstanding(of: Books) -> Books:
    """The right number of them, and the wrong one."""
    failures = copy.deepcopy(of.syncs[SYNC]["summary"]["failures"])
    assert failures[-1]["media_id"] == "lost"
    failures[-1]["media_id"] = "good"
    return published_and_kept(of, failures=failures)


def never_closed(of: Books) -> Books:
    of.syncs[SYNC]["summary"] = None
    return without(of, "SyncCompleted")


LIES: Mapping[str, tuple[Callable[[Books], Books], set[str]]] = {
    "closed as both": (
        lambda of: with_event(of, {**events(of, "SyncCompleted")[0], "detail-type": "SyncFailed"}),
        {"I1"},
    ),
    "closed in silence": (lambda of: without(of, "SyncCompleted"), {"I1"}),
    "closed twice with other numbers": (
        lambda of: with_event(of, other(events(of, "SyncCompleted")[0], listed=10)),
        {"I9"},
    ),
    "published with more than is kept": (published_with_more_than_is_kept, {"I9"}),
    "one downloaded too many": (one_downloaded_too_many, {"I2", "I5"}),
    "one downloaded too few": (lambda of: without(of, "MediaDownloaded", "good"), {"I2", "I5"}),
    "bytes that nobody stored": (bytes_that_nobody_stored, {"I2"}),
    "another listing": (lambda of: published_and_kept(of, stored=6), {"I2"}),
    "a counter that is off": (a_counter_that_is_off, {"I5"}),
    "a result that was lost": (
        lambda of: with_event(of, other(events(of, "MediaDownloaded", "good")[0], media_id="lost")),
        {"I2", "I5"},
    ),
    "a failure that was never published": (lambda of: without(of, "MediaDownloadFailed"), {"I2"}),
    "a medium that was never discovered": (lambda of: without(of, "MediaDiscovered", "lost"), {"I2"}),
    "another one outstanding": (another_one_outstanding, {"I2"}),
    "nobody named": (lambda of: published_and_kept(of, failures=[]), {"I2"}),
    "never closed": (never_closed, {"I8"}),
    "never begun": (lambda of: replace(of, events=events(of, "SyncRequested"), syncs={}, media={}), {"I8"}),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_found(lie: str) -> None:
    falsify, invariants = LIES[lie]
    assert invariants <= {one.partition(":")[0] for one in wrong_accounts(falsify(books()))}


def test_a_recovery_without_an_amendment_is_found() -> None:
    assert wrong_accounts(without(books(amended=True), "SyncAmended"))


def test_a_test_may_leave_a_sync_open_on_purpose() -> None:
    assert wrong_accounts(replace(never_closed(books()), left_open={SYNC})) == []
