"""The verdict of a sync's page, and its funnel."""

from dataclasses import replace
from typing import Any

import pytest

from services.shared.events import Filters, Summary, SyncCompleted, SyncFailed
from services.summarizer.page.funnel import Bar, Part, funnel
from services.summarizer.page.verdict import Standing, standing, verdict
from services.summarizer.records import Announcement, ClosedSync, Medium

SYNC = "scheduled-2026-11-23"


def summary(**more: Any) -> Summary:
    kind = SyncFailed if more.get("outcome") == "failed" else SyncCompleted
    given = {"outcome": "completed", "closed_because": "complete", "trigger": "scheduled", "listed": 100}
    times = {"requested_at": "2026-11-23T01:00:00Z", "closed_at": "2026-11-23T01:10:00Z"}
    return kind(**{"sync_id": SYNC, "summary_id": "s", **given, **times, **more})


def closed(number: int = 0, **more: Any) -> ClosedSync:
    announcement = Announcement(number=number)
    given = {"closed_because": "complete", "outcome": "completed", "summary": {}, "announcement": announcement}
    return ClosedSync(**{"sync_id": SYNC, **given, **more})


def counted(taken_on: int, **more: int) -> ClosedSync:
    return closed(**{"expected": taken_on, "discovered": taken_on, **more})


def test_the_media_of_a_sync_stand_in_groups_that_do_not_overlap() -> None:
    sync = counted(20, downloaded=9, failed=5, known_losses=2, skipped=1)
    assert standing(sync) == Standing(taken_on=20, stored=9, failed=3, known_losses=2, skipped=1, outstanding=5)
    assert standing(sync).missing == 9
    assert standing(closed(discovered=4, downloaded=4)).taken_on == 4
    assert standing(closed(discovered=2, expected=6, downloaded=7)).outstanding == 0


@pytest.mark.parametrize(
    ("sync", "about", "tone", "sentence"),
    [
        (counted(0), {}, "good", "No new media to copy."),
        (counted(1, downloaded=1), {}, "good", "The one new medium is stored."),
        (counted(1200, downloaded=1200), {}, "good", "All 1,200 new media are stored."),
        (counted(5, downloaded=5), {"looked_again": 2}, "good", "All 5 new or changed media are stored."),
        (counted(3, downloaded=2, failed=1, known_losses=1), {}, "good", "All 2 new media are stored."),
        (counted(2, failed=2, known_losses=2), {}, "good", "No new media to copy."),
        (counted(3, downloaded=1, failed=2), {}, "warn", "1 of 3 new media is stored: 2 failed."),
        (
            counted(9, downloaded=3, failed=1, skipped=1),
            {},
            "warn",
            "3 of 9 new media are stored: 1 failed, 4 have no result, 1 is left for the next sync.",
        ),
        (
            counted(5, downloaded=2, skipped=2),
            {"closed_because": "cancelled"},
            "warn",
            "This sync was cancelled: 2 of 5 new media are stored: 1 has no result, 2 are left for the next sync.",
        ),
        (counted(3, failed=3), {}, "bad", "None of 3 new media are stored: 3 failed."),
        (counted(2, failed=2), {}, "warn", "None of 2 new media are stored: 2 failed."),
        (
            counted(3, failed=3),
            {"closed_because": "cancelled"},
            "warn",
            "This sync was cancelled: none of 3 new media are stored: 3 failed.",
        ),
        (
            closed(),
            {"closed_because": "cancelled", "listed": 0},
            "warn",
            "This sync was cancelled before it had begun.",
        ),
        (
            closed(),
            {"outcome": "failed", "closed_because": "auth_failed"},
            "bad",
            "Nothing was copied: Cloud Sync could not sign in to GoPro.",
        ),
        (
            closed(),
            {"outcome": "failed", "closed_because": "request_refused"},
            "warn",
            "Nothing was copied: the request for this sync has a mistake.",
        ),
        (
            closed(),
            {"outcome": "failed", "closed_because": "listing_failed"},
            "bad",
            "Nothing was copied: the GoPro library could not be listed.",
        ),
        (
            closed(),
            {"outcome": "failed", "closed_because": "deadline"},
            "bad",
            "Nothing was copied: the listing of the GoPro library did not end in time.",
        ),
        (
            closed(discovered=4, downloaded=3),
            {"outcome": "failed", "closed_because": "deadline"},
            "bad",
            "The listing of the GoPro library did not end; 3 media were stored all the same.",
        ),
        (
            closed(discovered=1, downloaded=1),
            {"outcome": "failed", "closed_because": "deadline"},
            "bad",
            "The listing of the GoPro library did not end; 1 medium was stored all the same.",
        ),
        (counted(1, downloaded=1), {"warnings": ("shrank",)}, "warn", "The one new medium is stored."),
        (counted(1, downloaded=1), {"suspicious_total": 1}, "warn", "The one new medium is stored."),
        (counted(1, downloaded=1), {"known_warnings": ("shrank",)}, "good", "The one new medium is stored."),
    ],
)
def test_the_verdict_is_one_sentence_and_how_good_the_news_is(
    sync: ClosedSync, about: dict[str, Any], tone: str, sentence: str
) -> None:
    found = verdict(sync, summary(**about))
    assert (found.tone, found.sentence) == (tone, sentence)


def test_notes_say_what_else_a_reader_has_to_know() -> None:
    sync = counted(6, downloaded=4, failed=2, known_losses=1)
    about = {"suspicious_total": 2, "pending": 1, "deferred": 1200, "warnings": ("a", "b")}
    assert verdict(sync, summary(**about, filters=Filters(types=("Video",)))).notes == (
        "This sync covers a part of the library: Video.",
        "1 known loss, the same as before.",
        "2 media stored, but suspicious: see below.",
        "1 medium not ready at GoPro yet: a later sync takes it.",
        "1,200 media left for later syncs: this one reached its limit.",
        "The listing of the library has 2 warnings: see below.",
    )
    assert verdict(counted(0), summary(walk="newest", full_walk_at="2026-11-20T01:00:09Z")).notes == (
        "Only the newest media were listed, the whole library last on 2026-11-20.",
    )
    assert verdict(counted(3, failed=2, known_losses=2), summary()).notes == ("2 known losses, the same as before.",)
    assert verdict(counted(0), summary(pending=2)).notes == (
        "2 media not ready at GoPro yet: a later sync takes them.",
    )
    assert verdict(counted(2, downloaded=2), summary(warnings=("a",))).notes == (
        "The listing of the library has 1 warning: see below.",
    )


def test_an_amended_sync_says_what_came_after_its_close() -> None:
    sync = replace(counted(3, downloaded=3), announcement=Announcement(number=1))
    assert verdict(sync, summary(downloaded=1)).notes == (
        "When the sync closed, 1 of them was stored; 2 came in after that.",
    )
    sync = replace(counted(3, downloaded=2, failed=1), announcement=Announcement(number=2))
    assert verdict(sync, summary(downloaded=2)).notes == (
        "When the sync closed, 2 of them were stored; other results came in after that.",
    )


def failed(media_id: str, stored: int, total: int, **more: Any) -> Medium:
    return Medium(media_id=media_id, state="FAILED", files_stored=stored, files_total=total, **more)


def test_the_funnel_goes_from_the_library_to_what_became_of_each_medium() -> None:
    about = summary(stored=58, deferred=10, pending=5, unreadable=3, looked_again=4)
    now = Standing(taken_on=24, stored=16, failed=4, known_losses=2, skipped=1, outstanding=1)
    media = [
        failed("a", 1, 3),
        failed("b", 0, 3),
        failed("c", 3, 3),
        failed("d", 1, 3, known_since="2026-11-01"),
        Medium(media_id="e", state="DOWNLOADED", files_stored=1, files_total=3),
        failed("f", 2, 3),
    ]
    library, taken_on = funnel(about, now, media)
    assert (library.name, library.media) == ("In the GoPro library", 100)
    assert [(part.name, part.media, part.fill, part.x, part.width) for part in library.parts] == [
        ("stored already", 58, "calm-fill", 0.0, 58.0),
        ("new", 20, "new-fill", 58.0, 20.0),
        ("changed at GoPro", 4, "new-fill", 78.0, 4.0),
        ("left for a later sync", 10, "warn-fill", 82.0, 10.0),
        ("not ready at GoPro", 5, "warn-fill", 92.0, 5.0),
        ("could not be read", 3, "bad-fill", 97.0, 3.0),
    ]
    assert (taken_on.name, taken_on.media) == ("Taken on by this sync", 24)
    assert [(part.name, part.media, part.fill) for part in taken_on.parts] == [
        ("stored", 16, "good-fill"),
        ("incomplete", 2, "warn-fill"),
        ("failed", 2, "bad-fill"),
        ("known losses", 2, "calm-fill"),
        ("left for the next sync", 1, "warn-fill"),
        ("without a result", 1, "bad-fill"),
    ]


def test_a_bar_shows_even_its_smallest_part_and_ends_at_its_end() -> None:
    now = Standing(taken_on=1, stored=1, failed=0, known_losses=0, skipped=0, outstanding=0)
    library, _ = funnel(summary(stored=99_999), now, [])
    first, last = library.parts
    assert (first.x, first.width, last.x, last.width) == (0.0, 98.039, 98.039, 1.961)


def test_bars_without_media_are_left_out() -> None:
    now = Standing(taken_on=0, stored=0, failed=0, known_losses=0, skipped=0, outstanding=0)
    assert funnel(summary(), now, []) == ()
    part = Part(name="stored already", media=3, fill="calm-fill", x=0.0, width=100.0)
    assert funnel(summary(stored=3), now, []) == (Bar(name="In the GoPro library", media=3, parts=(part,)),)


@pytest.mark.parametrize("name", ["types", "captured_from", "captured_until"])
def test_a_filtered_sync_says_that_its_library_is_a_part(name: str) -> None:
    now = Standing(taken_on=0, stored=0, failed=0, known_losses=0, skipped=0, outstanding=0)
    filters = Filters(**{name: ("Video",) if name == "types" else "2026-01-01"})  # type: ignore[arg-type]
    (bar,) = funnel(summary(stored=3, filters=filters), now, [])
    assert bar.name == "In the part that this sync covers"
