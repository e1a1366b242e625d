"""Would it be noticed? Of a sync whose accounts add up, each lie about it is told here, and found."""

import copy
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from ops.trigger import SOURCE
from services.shared.bus import iso
from services.shared.events import (
    Event,
    LibraryListed,
    MediaDiscovered,
    MediaDownloaded,
    MediaDownloadFailed,
    SyncRequested,
    detail,
)
from services.summarizer.closing import amend, announced_event, close
from services.summarizer.tally import Tallied, media_ids, tally
from tests.e2e.accounts import Books, wrong_accounts

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
SYNC = "one"


def at(seconds: float, event: Event) -> Event:
    return replace(event, sync_id=SYNC, occurred_at=iso(NOON + timedelta(seconds=seconds)))


FACTS = (
    at(0, SyncRequested(sync_id=SYNC)),
    *(at(10, MediaDiscovered(sync_id=SYNC, media_id=name)) for name in ("good", "there", "bad", "lost")),
    at(10, LibraryListed(sync_id=SYNC, listed=9, stored=5, discovered=4, pending=0, deferred=0)),
    at(20, MediaDownloaded(sync_id=SYNC, media_id="good", epoch=1, bytes=100)),
    at(20, MediaDownloaded(sync_id=SYNC, media_id="there", epoch=1, bytes=7, already_stored=True)),
    at(20, MediaDownloadFailed(sync_id=SYNC, media_id="bad", epoch=1, reason="gone")),
)
RECOVERED = at(90, MediaDownloaded(sync_id=SYNC, media_id="bad", epoch=2, bytes=30))


def on_the_bus(event: Event) -> dict[str, Any]:
    source = SOURCE if isinstance(event, SyncRequested) else f"cloud-sync.{event.publishers[0]}"
    event = replace(event, occurred_at=event.occurred_at or iso(NOON + timedelta(seconds=95)))
    return {
        "id": event.event_id,
        "source": source,
        "detail-type": type(event).__name__,
        "time": event.occurred_at,
        "detail": detail(event),
    }


def books(*, amended: bool = False) -> Books:
    """Of a sync that stalled: two media are downloaded, one failed, one is outstanding. `amended`: "bad" came later."""
    taken = tally(None, {}, FACTS, now=NOON)
    assert taken
    sync = close(taken.sync, taken.media, "stalled", now=NOON + timedelta(seconds=60), deadline=timedelta(hours=1))
    media = {medium.media_id: medium for medium in taken.media}
    events = [*FACTS, announced_event(sync)]
    if amended:
        late = tally(sync, {name: media[name] for name in media_ids([RECOVERED])}, [RECOVERED], now=NOON)
        assert isinstance(late, Tallied)
        media |= {medium.media_id: medium for medium in late.media}
        sync = amend(late.sync, media.values())
        events += [RECOVERED, announced_event(sync)]
    return Books(
        events=[on_the_bus(event) for event in events],
        syncs={SYNC: msgspec.to_builtins(sync)},
        media={SYNC: [msgspec.to_builtins(medium) for medium in media.values()]},
        library={},
    )


def events(of: Books, detail_type: str, media_id: str | None = None) -> list[Any]:
    every = [one for one in of.events if one["detail-type"] == detail_type]
    return [one for one in every if media_id in (None, one["detail"]["data"].get("media_id"))]


def without(of: Books, detail_type: str, media_id: str | None = None) -> Books:
    gone = events(of, detail_type, media_id)
    return replace(of, events=[one for one in of.events if one not in gone])


def told_and_kept(of: Books, **changed: Any) -> Books:
    """The close was told with these values, and is kept so."""
    (closing,) = events(of, "SyncCompleted")
    closing["detail"]["data"] |= changed
    of.syncs[SYNC]["summary"] |= changed
    return of


@pytest.mark.parametrize("amended", [False, True])
def test_accounts_that_add_up_are_left_alone(amended: bool) -> None:
    assert wrong_accounts(books(amended=amended)) == []


def test_what_a_review_has_read_in_the_library_table_needs_no_event() -> None:
    stored = {"good": {"status": "STORED"}, "bad": {"status": "FAILED", "sync_id": SYNC}}
    without_events = without(without(books(), "MediaDownloaded", "good"), "MediaDownloadFailed")
    assert wrong_accounts(replace(without_events, library=stored)) == []


def closed_as_both(of: Books) -> Books:
    (closing,) = events(of, "SyncCompleted")
    return replace(of, events=[*of.events, {**closing, "detail-type": "SyncFailed"}])


def closed_as_the_wrong_one(of: Books) -> Books:
    (closing,) = events(of, "SyncCompleted")
    closing["detail-type"] = "SyncFailed"
    return of


def closed_twice_with_other_numbers(of: Books) -> Books:
    (closing,) = events(of, "SyncCompleted")
    other = copy.deepcopy(closing)
    other["detail"]["data"]["listed"] += 1
    return replace(of, events=[*of.events, other])


def told_with_more_than_is_kept(of: Books) -> Books:
    del of.syncs[SYNC]["summary"]["warnings"]
    return of


def closed_untold(of: Books) -> Books:
    return without(of, "SyncCompleted")


def one_downloaded_too_many(of: Books) -> Books:
    """The failed one passes for downloaded, in all that the summarizer has written and told."""
    sync, (bad,) = of.syncs[SYNC], [one for one in of.media[SYNC] if one["media_id"] == "bad"]
    bad["state"] = "DOWNLOADED"
    sync["downloaded"], sync["failed"] = 3, 0
    failures = [one for one in sync["summary"]["failures"] if one["media_id"] != "bad"]
    return told_and_kept(of, downloaded=3, failed=0, failures=failures, failures_total=1)


def one_downloaded_too_few(of: Books) -> Books:
    return without(of, "MediaDownloaded", "good")


def bytes_that_nobody_stored(of: Books) -> Books:
    of.syncs[SYNC]["bytes"] += 1
    of.media[SYNC][0]["bytes"] += 1
    return told_and_kept(of, bytes=101)


def another_listing(of: Books) -> Books:
    return told_and_kept(of, stored=6)


def a_counter_that_is_off(of: Books) -> Books:
    of.syncs[SYNC]["failed"] += 1
    return of


def a_result_that_was_lost(of: Books) -> Books:
    (told,) = events(of, "MediaDownloaded", "good")
    other = copy.deepcopy(told)
    other["detail"]["data"]["media_id"] = "lost"
    return replace(of, events=[*of.events, other])


def a_failure_that_was_never_told(of: Books) -> Books:
    return without(of, "MediaDownloadFailed")


def a_medium_that_was_never_discovered(of: Books) -> Books:
    return without(of, "MediaDiscovered", "lost")


def another_one_outstanding(of: Books) -> Books:
    """The right number of them, and the wrong one."""
    failures = copy.deepcopy(of.syncs[SYNC]["summary"]["failures"])
    assert failures[-1]["media_id"] == "lost"
    failures[-1]["media_id"] = "good"
    return told_and_kept(of, failures=failures)


def nobody_named(of: Books) -> Books:
    return told_and_kept(of, failures=[])


def never_closed(of: Books) -> Books:
    of.syncs[SYNC]["summary"] = None
    return without(of, "SyncCompleted")


def never_begun(of: Books) -> Books:
    requests = events(of, "SyncRequested")
    return replace(of, events=requests, syncs={}, media={})


@pytest.mark.parametrize(
    ("lie", "invariant"),
    [
        (closed_as_both, "I1"),
        (closed_as_the_wrong_one, "I1"),
        (closed_untold, "I1"),
        (closed_twice_with_other_numbers, "I9"),
        (told_with_more_than_is_kept, "I9"),
        (one_downloaded_too_many, "I2"),
        (one_downloaded_too_many, "I5"),
        (one_downloaded_too_few, "I2"),
        (one_downloaded_too_few, "I5"),
        (bytes_that_nobody_stored, "I2"),
        (another_listing, "I2"),
        (a_counter_that_is_off, "I5"),
        (a_result_that_was_lost, "I5"),
        (a_result_that_was_lost, "I2"),
        (a_failure_that_was_never_told, "I2"),
        (a_medium_that_was_never_discovered, "I2"),
        (another_one_outstanding, "I2"),
        (nobody_named, "I2"),
        (never_closed, "I8"),
        (never_begun, "I8"),
    ],
)
def test_a_lie_is_found(lie: Callable[[Books], Books], invariant: str) -> None:
    assert invariant in {one.partition(":")[0] for one in wrong_accounts(lie(books()))}


def test_a_recovery_that_no_amendment_tells_of_is_found() -> None:
    of = books(amended=True)
    assert wrong_accounts(without(of, "SyncAmended"))


def test_a_sync_that_a_test_leaves_open_on_purpose_may_be_so() -> None:
    assert wrong_accounts(replace(never_closed(books()), left_open={SYNC})) == []
