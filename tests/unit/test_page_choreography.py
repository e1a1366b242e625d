"""The picture of a sync's choreography: what each event counts, and where everything is drawn."""

from typing import Any

import pytest

from services.shared.events import (
    EVENT_TYPES,
    AuthenticationFailed,
    Event,
    LibraryListed,
    LibraryListingFailed,
    LibraryListingPaused,
    MediaDiscovered,
    MediaDownloaded,
    MediaDownloadFailed,
    MediaDownloadPaused,
    MediaDownloadSkipped,
    SessionAuthenticated,
    SessionRejected,
    Slice,
    SyncAmended,
    SyncCancelRequested,
    SyncCompleted,
    SyncFailed,
    SyncRequested,
)
from services.summarizer.page import choreography
from services.summarizer.page.choreography import (
    BOX_X,
    BUS_WIDTH,
    BUS_X,
    Counts,
    counts,
    picture,
    reacting_services,
    retries,
)
from services.summarizer.records import Announcement, ClosedSync, Medium, SessionSeen
from tools.template import reactions_of_services

WORK = Slice(began_at="2026-11-23T01:00:00Z", seconds=2.0)
SESSION = SessionSeen(version=4, authenticated_at="2026-11-23T01:00:00Z")


def closed(**more: Any) -> ClosedSync:
    given = {"closed_because": "complete", "outcome": "completed", "summary": {}, "trigger": "scheduled"}
    return ClosedSync(**{"sync_id": "s", **given, **more})


def stored(media_id: str, **more: Any) -> Medium:
    return Medium(**{"media_id": media_id, "state": "DOWNLOADED", "listed": True, "slices": (WORK,), **more})


def failed(media_id: str, **more: Any) -> Medium:
    return Medium(**{"media_id": media_id, "state": "FAILED", "listed": True, "attempts": 1, **more})


def test_the_picture_knows_what_each_service_reacts_to() -> None:
    """The page can't import the other services, so it repeats their reactions."""
    for name, reactions in reactions_of_services().items():
        drawn = {event for event in EVENT_TYPES.values() if name in reacting_services(event)}
        of_a_sync = set(reactions) & set(EVENTS)
        assert drawn & set(EVENTS) == of_a_sync, name


EVENTS = (
    SyncRequested,
    SyncCancelRequested,
    SessionAuthenticated,
    SessionRejected,
    AuthenticationFailed,
    LibraryListingPaused,
    MediaDiscovered,
    LibraryListed,
    LibraryListingFailed,
    MediaDownloadPaused,
    MediaDownloaded,
    MediaDownloadFailed,
    MediaDownloadSkipped,
    SyncCompleted,
    SyncFailed,
    SyncAmended,
)


@pytest.mark.parametrize("event", [event for event in EVENTS if "operator" not in event.publishers])
def test_every_event_is_drawn_at_its_publishers(event: type[Event]) -> None:
    found = {name for name, publishes in choreography._PUBLISHES.items() if event in publishes}
    # No fact tells who has reported a rejected session: it is drawn only where it arrives.
    assert found == (set() if event is SessionRejected else set(event.publishers))


def test_every_event_is_counted_by_the_facts() -> None:
    sync = closed(
        expected=5,
        discovered=5,
        downloaded=2,
        already_stored=1,
        failed=2,
        skipped=1,
        listed_at="2026-11-23T01:00:10Z",
        listing_pauses=3,
        cancel_requested_at="2026-11-23T01:00:20Z",
        sessions=(
            SessionSeen(version=4, authenticated_at="2026-11-23T01:00:00Z", rejected_at="2026-11-23T01:05:00Z"),
            SessionSeen(version=5, rejected_at="2026-11-23T01:06:00Z"),
        ),
        announcement=Announcement(number=2),
    )
    media = [
        stored("a", hops=2, slices=(Slice(began_at=WORK.began_at, retries=2), WORK, WORK)),
        stored("b", already_stored=True, slices=()),
        failed("c", attempts=4, hops=1, dead_letter=True),
        failed("d", listed=False),
        Medium(media_id="e", state="SKIPPED", listed=True),
    ]
    found = counts(sync, media)
    assert {event.__name__: found.of(event) for event in EVENTS} == {
        "SyncRequested": 1,
        "SyncCancelRequested": 1,
        "SessionAuthenticated": 1,
        "SessionRejected": 2,
        "AuthenticationFailed": 0,
        "LibraryListingPaused": 3,
        "MediaDiscovered": 4,
        "LibraryListed": 1,
        "LibraryListingFailed": 0,
        "MediaDownloadPaused": 3,
        "MediaDownloaded": 2,
        "MediaDownloadFailed": 2,
        "MediaDownloadSkipped": 1,
        "SyncCompleted": 1,
        "SyncFailed": 0,
        "SyncAmended": 2,
    }
    assert (found.retries, found.dead_letters, found.by_others) == (5, 1, 1)


def test_a_sync_that_failed_has_counted_what_there_was() -> None:
    sync = closed(outcome="failed", session_problem="revoked", listing_problem="changed", trigger="")
    found = counts(sync, [])
    there = {event.__name__: found.of(event) for event in EVENTS if found.of(event) != 0}
    assert there == {
        "SyncRequested": None,
        "SessionAuthenticated": None,
        "SessionRejected": None,
        "AuthenticationFailed": 1,
        "LibraryListingFailed": 1,
        "SyncFailed": 1,
    }
    assert counts(closed(), []).of(SessionAuthenticated) == 0
    assert counts(closed(session_problem="revoked"), []).of(SessionRejected) == 0
    assert counts(closed(expected=0), []).of(SessionRejected) is None


def test_what_an_earlier_version_did_not_record_is_unknown() -> None:
    old = closed(expected=2, discovered=2, downloaded=2)
    found = counts(old, [stored("a"), stored("b", slices=())])
    unknown = (SessionAuthenticated, SessionRejected, LibraryListingPaused, MediaDownloadPaused)
    assert [found.of(event) for event in unknown] == [None] * 4
    assert found.retries is None
    known = counts(old, [stored("a"), stored("b", slices=(), already_stored=True)])
    assert (known.of(MediaDownloadPaused), known.retries) == (0, 0)


def test_retries_are_the_tries_that_failed_and_were_repeated() -> None:
    assert retries(stored("a", slices=(Slice(began_at="", retries=2), Slice(began_at="", retries=1)))) == 3
    assert retries(failed("a", attempts=4)) == 3
    assert retries(failed("a", attempts=0)) == 0
    assert retries(failed("a", attempts=2, slices=(Slice(began_at="", retries=1),))) == 2


def drawn(**more: Any) -> choreography.Picture:
    given: dict[str, Any] = {"events": {}, "retries": 0, "dead_letters": 0, "by_others": 0}
    return picture(closed(), Counts(**{**given, **more}))


def test_without_any_event_each_service_is_a_small_box() -> None:
    found = drawn()
    assert [(box.name, box.y, box.height) for box in found.boxes] == [
        ("authenticator", 44, 44),
        ("lister", 104, 44),
        ("downloader", 164, 44),
        ("summarizer", 224, 44),
    ]
    assert found.height == 270
    assert found.rows == ()
    assert not found.has_unknown
    (arrow,) = found.boxes[3].arrows
    assert (arrow.label, arrow.direction, arrow.is_problem, arrow.y) == ("every fact of this sync", "in", False, 249)


def test_an_event_is_an_arrow_and_a_pause_has_two_heads() -> None:
    events = {SyncRequested: 1, SessionAuthenticated: 2, AuthenticationFailed: 1, LibraryListingPaused: 1200}
    found = drawn(events={**events, SessionRejected: 0})
    authenticator, lister, downloader, _ = found.boxes
    assert [(arrow.label, arrow.direction, arrow.is_problem, arrow.y) for arrow in authenticator.arrows] == [
        ("SyncRequested × 1", "in", False, 69),  # noqa: RUF001
        ("SessionAuthenticated × 2", "out", False, 99),  # noqa: RUF001
        ("AuthenticationFailed × 1", "out", True, 129),  # noqa: RUF001
    ]
    assert (authenticator.height, lister.y) == (100, 160)
    given, paused = lister.arrows
    assert (given.label, given.direction) == ("SessionAuthenticated × 2", "in")  # noqa: RUF001
    assert (paused.label, paused.direction) == ("LibraryListingPaused × 1,200", "loop")  # noqa: RUF001
    assert (lister.height, downloader.y) == (70, 246)
    assert authenticator.arrows[0].heads == ("198,69 190,65 190,73",)
    assert authenticator.arrows[2].heads == ("22,129 30,125 30,133",)
    assert paused.heads == (f"198,{paused.y} 190,{paused.y - 4} 190,{paused.y + 4}",
                            f"22,{paused.y} 30,{paused.y - 4} 30,{paused.y + 4}")  # fmt: skip
    assert (BUS_X + BUS_WIDTH + 2, BOX_X - 2) == (22, 198)


def test_the_downloader_shows_what_happened_in_it() -> None:
    found = drawn(events={MediaDownloadPaused: 2}, retries=1200, dead_letters=2, by_others=3)
    downloader = found.boxes[2]
    assert [(note.text, note.tone, note.y - downloader.y) for note in downloader.notes] == [
        ("↻ 1,200 retries", "warn", 34),
        ("‖ 2 pauses", "calm", 50),
        ("3 by another sync", "calm", 66),
        ("✕ 2 dead letters", "bad", 82),
    ]
    assert downloader.height == 34 + 4 * 16
    assert found.notes[0] == "downloader: ↻ 1,200 retries"
    one = drawn(events={MediaDownloadPaused: 1}, dead_letters=1, retries=1).boxes[2]
    assert [note.text for note in one.notes] == ["↻ 1 retry", "‖ 1 pause", "✕ 1 dead letter"]


def test_the_table_says_the_same_as_the_picture() -> None:
    found = drawn(events={SyncRequested: 1, LibraryListed: 0, SessionRejected: 1, MediaDiscovered: 1000,
                          SyncCompleted: 1, MediaDownloadPaused: None})  # fmt: skip
    assert [(row.event, row.publisher, row.reacting, row.count) for row in found.rows] == [
        ("SyncRequested", "schedule", "authenticator, summarizer", "1"),
        ("SessionRejected", "lister or downloader", "authenticator, summarizer", "1"),
        ("MediaDiscovered", "lister", "downloader, summarizer", "1,000"),
        ("SyncCompleted", "summarizer", "whoever listens", "1"),
        ("MediaDownloadPaused", "downloader", "downloader", "?"),
    ]
    assert found.has_unknown
    assert found.asked_by == "the schedule"
    asked = picture(closed(trigger="manual"), Counts(events={SyncRequested: 1}, retries=0, dead_letters=0, by_others=0))
    assert (asked.asked_by, asked.rows[0].publisher) == ("an operator", "operator")
