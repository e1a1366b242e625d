"""The walk through the newest media: when it may be made, when it ends, and what has to be looked at after it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.lister.newest import FORM, MOST_PAGES, MOST_WAITING, Known, NewestWalk, still_waiting, why_full
from services.shared.events import Filters
from services.shared.gopro.client import ListedMedium, Page
from services.shared.library.records import MediumRecord, Row, Status

NOW = datetime(2026, 6, 10, 2, 0, tzinfo=UTC)
PAGE = 3  # media
STORED, FAILED = Status.STORED, Status.FAILED


def medium(media_id: str, *, state: str = "ready", items: int = 1) -> ListedMedium:
    return ListedMedium(
        media_id=media_id, type="", filename="", captured_at=None, size=1, item_count=items, state=state, camera=""
    )


def record(media_id: str, status: Status = STORED, items: int = 1) -> MediumRecord:
    row = {"item_count": items, "size": 1, "reprocessed_at": "", "stored_at": "2026-01-01T00:00:00Z"}
    return MediumRecord(media_id=media_id, status=status, **row)  # type: ignore[arg-type]


def known(
    *, total: int = 9, front: str = "cba", waiting: Sequence[ListedMedium | str] | None = (), **more: Any
) -> Known:
    """`front`: a media id a letter."""
    listed = None if waiting is None else tuple(medium(one) if isinstance(one, str) else one for one in waiting)
    return Known(
        form=FORM,
        library_table="library",
        asked="a1",
        full_walk_at="2026-06-09T02:00:00Z",
        total=total,
        front=tuple(map(medium, front)),
        waiting=listed,
        **more,
    )


def page(media: Sequence[ListedMedium | str], *, total: int = 9, **more: Any) -> Page:
    listed = tuple(medium(one) if isinstance(one, str) else one for one in media)
    return Page(media=listed, total_items=total, **{"errors": 0, **more})


def walked(before: Known, *pages: Page, stored: str = "") -> NewestWalk:
    """Return the walk after these pages. `stored`: media whose record says so."""
    walk = NewestWalk(known=before, page_size=PAGE)
    for one in pages:
        assert not walk.ended
        asked = walk.to_look_up(one)
        walk.take(one, {media_id: record(media_id) for media_id in asked if media_id in stored})
    return walk


# -- whether it may be made --------------------------------------------------------------------------------------------


def because(before: Known | None, **changes: Any) -> str:
    usual: dict[str, Any] = {
        "filters": Filters(),
        "now": NOW,
        "full_walk_days": 7,
        "library_table": "library",
        "asked": "a1",
        "page_size": PAGE,
    }
    return why_full(before, **{**usual, **changes})


def test_a_night_after_a_full_walk_begins_with_the_newest_media() -> None:
    assert because(known()) == ""


@pytest.mark.parametrize("before", [None, Known(), replace(known(), form=FORM + 1)])
def test_without_a_proven_full_walk_the_library_is_walked(before: Known | None) -> None:
    assert because(before) == "no full walk was proven complete before"


@pytest.mark.parametrize(
    ("before", "changes", "reason"),
    [
        (known(), {"filters": Filters(types=("Video",))}, "the sync has filters"),
        (known(), {"library_table": "another"}, "the library table is another one"),
        (known(), {"asked": "a2"}, "an operator has changed the library table"),
        (known(waiting=None), {}, "more than 1,000 media were waiting"),
        (known(total=PAGE), {}, "the library fits a page"),
    ],
)
def test_whatever_the_newest_media_cannot_tell_needs_a_full_walk(
    before: Known, changes: dict[str, Any], reason: str
) -> None:
    assert because(before, **changes) == reason


def test_a_library_of_one_medium_more_than_a_page_may_begin_with_the_newest() -> None:
    assert because(known(total=PAGE + 1)) == ""


@pytest.mark.parametrize(
    ("days", "since", "due"),
    [
        (7, timedelta(days=6, hours=11, minutes=59), False),
        (7, timedelta(days=6, hours=12), True),
        (1, timedelta(hours=11, minutes=59), False),
        (1, timedelta(hours=12), True),
    ],
)
def test_a_full_walk_is_due_after_these_days_less_half_of_one(days: int, since: timedelta, *, due: bool) -> None:
    before = replace(known(), full_walk_at=(NOW - since).isoformat())
    assert because(before, full_walk_days=days) == ("the last full walk is long ago" if due else "")


# -- where it ends -----------------------------------------------------------------------------------------------------


def test_an_idle_night_reads_one_page_and_no_record() -> None:
    walk = NewestWalk(known=known(), page_size=PAGE)
    one = page("cba")
    assert walk.to_look_up(one) == []
    walk.take(one, {})
    assert (walk.ended, walk.because, walk.new, walk.touched()) == (True, "", set(), [])
    assert walk.front() == tuple(map(medium, "cba"))


def test_new_media_are_followed_until_a_page_has_none() -> None:
    first = NewestWalk(known=known(), page_size=PAGE)
    assert first.to_look_up(page("edc", total=11)) == ["e", "d"]
    first.take(page("edc", total=11), {})
    assert (first.ended, first.because, first.page) == (False, "", 2)
    walk = walked(known(), page("edc", total=11), page("ba9", total=11), stored="9")
    assert (walk.ended, walk.because, walk.new) == (True, "", {"e", "d"})
    assert [one.media_id for one in walk.touched()] == ["e", "d", "9"]
    assert walk.front() == tuple(map(medium, "edc"))
    assert walk.records == {"9": record("9")}


def test_a_medium_is_looked_up_once() -> None:
    walk = walked(known(), page("edc", total=11))
    assert walk.to_look_up(page("db9", total=11)) == ["9"]


def test_a_medium_that_another_sync_has_not_stored_is_new() -> None:
    walk = NewestWalk(known=known(), page_size=PAGE)
    walk.take(page("dcb", total=10), {"d": record("d", FAILED)})
    assert (walk.ended, walk.new) == (False, {"d"})


def test_the_last_page_ends_the_walk_though_it_has_new_media() -> None:
    walk = walked(known(total=4), page("edc", total=6), page("ba9", total=6))
    assert (walk.ended, walk.because) == (True, "GoPro counts 6 media, and 7 are known")
    walk = walked(known(total=4, front="cba"), page("edc", total=6), page("ba", total=6))
    assert (walk.ended, walk.because, walk.new) == (True, "", {"e", "d"})
    walk = walked(known(total=2, front="a"), page("dca", total=5), page("eb", total=5), stored="b")
    assert (walk.ended, walk.because, walk.new) == (True, "", {"c", "d", "e"})


@pytest.mark.parametrize(
    ("total", "reason"),
    [
        (8, "GoPro counts 8 media, and 9 are known"),
        (9, ""),
        (10, "GoPro counts 10 media, and 9 are known"),
    ],
)
def test_a_count_that_does_not_agree_needs_a_full_walk(total: int, reason: str) -> None:
    walk = walked(known(), page("cba", total=total))
    assert (walk.ended, walk.because) == (True, reason)


def test_a_medium_deleted_and_another_added_on_top_do_not_agree_though_the_count_stays() -> None:
    walk = walked(known(), page("dcb", total=9))
    assert (walk.ended, walk.because) == (True, "GoPro counts 9 media, and 10 are known")


def test_a_medium_that_a_filtered_sync_has_stored_does_not_agree() -> None:
    walk = walked(known(), page("dcb", total=10), stored="d")
    assert walk.because == "GoPro counts 10 media, and 9 are known"


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (page("b98", total=12), "the library changed during the walk"),
        (page("b98", total=11, per_page=2), "the library changed during the walk"),
        (page("b98", total=11, errors=1), "GoPro reported errors in its listing"),
        (page("b9", total=11, odd=("null",)), "rows could not be read"),
        (page("ba9", total=11, per_page=PAGE), ""),
    ],
)
def test_whatever_is_odd_about_a_page_needs_a_full_walk(second: Page, reason: str) -> None:
    walk = walked(known(), page("edc", total=11), second, stored="98")
    assert (walk.ended, walk.because) == (True, reason)


def test_rows_that_could_not_be_read_before_are_no_news() -> None:
    before = replace(known(), odd={"null": 1})
    assert walked(before, page("cb", odd=("null",))).because == ""
    assert walked(before, page("c", odd=("null", "null"))).because == "rows could not be read"
    assert walked(before, page("cb", odd=("text",))).because == "rows could not be read"


def test_after_so_many_pages_of_new_media_a_full_walk_is_needed() -> None:
    ids = [str(number) for number in range(1000, 1000 + PAGE * MOST_PAGES)]
    pages = [page(ids[n * PAGE : (n + 1) * PAGE], total=900) for n in range(MOST_PAGES)]
    walk = walked(known(), *pages[:-1])
    assert (walk.ended, walk.page) == (False, MOST_PAGES)
    walk = walked(known(), *pages)
    assert (walk.ended, walk.because) == (True, f"{MOST_PAGES} pages have new media")


def test_a_page_is_as_large_as_gopro_says() -> None:
    walk = walked(known(total=2, front="a"), page("cb", total=5, per_page=2), page("a9", total=5, per_page=2))
    assert (walk.ended, walk.because) == (False, "")


# -- what has to be looked at ------------------------------------------------------------------------------------------


def test_waiting_media_are_looked_at_as_they_are_listed_now_or_were_listed_last() -> None:
    waiting = [medium("b", state="uploading"), medium("7", items=2)]
    walk = walked(known(waiting=waiting), page("cba"))
    assert walk.touched() == [medium("b"), medium("7", items=2)]


def test_a_newest_medium_whose_row_has_changed_is_looked_at() -> None:
    walk = walked(known(), page([medium("c"), medium("b", items=2), medium("a")]))
    assert walk.because == ""
    assert walk.touched() == [medium("b", items=2)]


def test_what_is_not_stored_or_has_changed_waits() -> None:
    media = [medium("a"), medium("b"), medium("c"), medium("d", items=2), medium("e", items=2)]
    records = {"a": record("a"), "b": record("b", FAILED), "d": record("d"), "e": record("e", FAILED)}
    assert still_waiting(media, records, {}) == tuple(media[1:])
    unremembered = MediumRecord(media_id="a", status=STORED)
    assert still_waiting([medium("a")], {"a": unremembered}, {}) == ()
    assert still_waiting([medium("a")], {"a": unremembered}, {"a": Row(item_count=3)}) == (medium("a"),)


def test_too_many_waiting_media_are_not_remembered() -> None:
    media = [medium(str(number)) for number in range(MOST_WAITING + 1)]
    assert still_waiting(media[1:], {}, {}) == tuple(media[1:])
    assert still_waiting(media, {}, {}) is None


@pytest.mark.parametrize(
    ("waiting", "since", "hidden"),
    [
        (medium("7", state="transcoding"), "2026-06-09T00:00:00Z", True),
        (medium("7", state="transcoding"), "2026-06-07T02:00:00Z", True),
        (medium("7", state="transcoding"), "2026-06-07T01:59:59Z", False),
        (medium("7", state="failure"), "2026-06-09T00:00:00Z", False),
        (medium("7"), "", False),
        (medium("b", state="transcoding"), "2026-06-09T00:00:00Z", False),
    ],
)
def test_a_medium_in_processing_that_no_page_shows_needs_a_full_walk(
    waiting: ListedMedium, since: str, *, hidden: bool
) -> None:
    walk = walked(known(waiting=[medium("6"), waiting]), page("cba"))
    assert walk.hides_a_medium_that_may_be_ready({waiting.media_id: since}, now=NOW) == hidden
