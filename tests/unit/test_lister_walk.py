"""Walking a library that changes, repeats rows and leaves rows out."""

from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.lister.walk import PAGE_PAUSE_SECONDS, PAGE_TRIES, WALKS, Walk
from services.shared.gopro.client import CallRefused, ListedMedium, NotServed, Order, Page, UnexpectedAnswer
from services.shared.inbox.heartbeat import SliceOver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def medium(media_id: str) -> ListedMedium:
    return ListedMedium(
        media_id=media_id, type="Video", filename="", captured_at=None, size=1, item_count=1, state="ready", camera=""
    )


class Library:
    """A library, newest medium first, and a walk through it. Before each call the library may change.

    `spoil` changes the rows of an answer. Calls count from 1. Its media were captured in the opposite order.
    """

    def __init__(self, size: int, page_size: int = 3) -> None:
        self.ids = [f"m{number}" for number in range(size)]
        self.walk = Walk(page_size=page_size)
        self.asked: list[int] = []  # page numbers
        self.sizes: list[int] = []  # of the pages asked for
        self.orders: list[Order] = []
        self.bad: set[str] = set()  # media whose pages are never served
        self.bad_only_in: Order | None = None
        self.failure: Exception = NotServed("500")
        self.refuses: Callable[[int, int], bool] = lambda number, size: False
        self.odd: dict[str, str] = {}  # what is odd about the row of a medium
        self.serves: Callable[[int, int], int] = lambda call, size: size  # the size of a page
        self.says_size = False
        self.slept: list[float] = []
        self.errors = 0  # that each answer reports
        self.before: Callable[[int], object] = lambda call: None
        self.spoil: Callable[[int, list[str]], list[str]] = lambda call, rows: rows

    @property
    def calls(self) -> int:
        return len(self.asked)

    def fetch(self, number: int, size: int, order: Order) -> Page:
        self.asked.append(number)
        self.sizes.append(size)
        self.orders.append(order)
        self.before(self.calls)
        size = self.serves(self.calls, size)
        ids = self.ids if order == "created_at" else self.ids[::-1]
        rows = ids[(number - 1) * size : number * size]
        if (self.bad.intersection(rows) and self.bad_only_in in (None, order)) or self.refuses(number, size):
            raise self.failure
        rows = self.spoil(self.calls, rows)
        return Page(
            media=tuple(medium(row) for row in rows if row not in self.odd),
            total_items=len(self.ids),
            errors=self.errors,
            odd=tuple(self.odd[row] for row in rows if row in self.odd),
            per_page=size if self.says_size else None,
        )

    def add(self, *media_ids: str) -> None:
        for media_id in media_ids:
            self.ids.insert(0, media_id)

    def step(self) -> None:
        self.walk.step(self.fetch, self.slept.append)

    def finish(self) -> set[str]:
        for _ in range(1000):
            if self.walk.finished:
                return {row.media_id for row in self.walk.media()}
            self.step()
        pytest.fail("the walk has no end")

    def assert_proven(self, *, walks: int = 1) -> None:
        assert self.finish() == set(self.ids)
        assert (self.walk.complete, self.walk.number) == (True, walks)


@pytest.mark.parametrize(
    ("size", "pages"),
    [(0, [1]), (1, [1]), (3, [1]), (4, [1, 2, 1]), (6, [1, 2, 1]), (7, [1, 2, 3, 1]), (100, [*range(1, 35), 1])],
)
def test_one_walk_proves_a_quiet_library_and_ends_with_a_second_look_at_the_first_of_several_pages(
    size: int, pages: list[int]
) -> None:
    library = Library(size)
    library.assert_proven()
    assert library.asked == pages
    assert library.slept == []


def test_a_short_page_is_asked_for_again_after_a_pause() -> None:
    library = Library(9)
    library.spoil = lambda call, rows: rows[:1] if call in (2, 3) else rows
    library.assert_proven()
    assert library.asked == [1, 2, 2, 2, 3, 1]
    assert library.slept == [PAGE_PAUSE_SECONDS] * 2


def test_a_first_page_that_stays_short_proves_nothing_even_if_all_media_were_seen() -> None:
    library = Library(9)
    library.spoil = lambda call, rows: {"m0": rows[1:], "m3": ["m0", *rows]}.get(rows[0], rows) if rows else []
    assert library.finish() == set(library.ids)
    assert (library.walk.complete, library.walk.changed, library.walk.number) == (False, False, WALKS)
    assert library.asked[:PAGE_TRIES] == [1] * PAGE_TRIES


def test_media_seen_for_the_first_time_in_a_walk_are_fresh() -> None:
    library = Library(9)
    library.spoil = lambda call, rows: ["m2", "m4", "m5"] if call == 2 else rows
    for _ in range(4):  # the last decides that another walk is needed
        library.step()
    assert (library.walk.number, library.walk.fresh) == (2, 8)
    library.step()
    assert library.walk.fresh == 8 + 3


def test_the_errors_that_gopro_reports_add_up() -> None:
    library = Library(9)
    library.errors = 2
    library.finish()
    assert library.walk.errors == 2 * library.calls == 8


def test_rows_that_only_short_pages_have_shown_are_seen_and_not_proven() -> None:
    library = Library(9)
    shown = {2: ["m3"], 3: ["m4"], 4: [], 5: []}
    library.spoil = lambda call, rows: shown.get(call, [] if {"m3", "m4", "m5"}.intersection(rows) else rows)
    assert library.finish() == set(library.ids) - {"m5"}
    assert [library.walk.sightings[media_id].walk for media_id in ("m3", "m4", "m8")] == [0, 0, 3]
    assert library.walk.sightings["m3"].medium == medium("m3")
    assert (library.walk.complete, library.walk.unseen, library.walk.passed_over) == (False, 1, 3)


def test_a_row_that_short_pages_alone_have_shown_is_not_in_a_proven_library() -> None:
    library = Library(9)
    library.spoil = lambda call, rows: ["m3", "ghost"] if call in (2, 3, 4, 5) else rows
    library.assert_proven()


def test_a_listing_with_a_page_that_stays_short_is_never_complete() -> None:
    library = Library(9)
    library.spoil = lambda call, rows: [row for row in rows if row != "m4"]
    assert library.finish() == set(library.ids) - {"m4"}
    assert (library.walk.complete, library.walk.number) == (False, WALKS)


def test_the_next_walk_adds_what_the_first_one_missed() -> None:
    library = Library(9)
    library.spoil = lambda call, rows: ["m2", "m4", "m5"] if call == 2 else rows  # a row of the first page comes again
    library.assert_proven(walks=2)


def test_without_a_bad_page_all_walks_go_in_the_same_order() -> None:
    library = Library(9)
    library.spoil = lambda call, rows: ["m2", "m4", "m5"] if rows[0] == "m3" else rows
    library.finish()
    assert (library.walk.number, set(library.orders)) == (WALKS, {"created_at"})


def test_a_library_that_is_emptied_during_a_walk_is_proven_empty_by_the_next() -> None:
    library = Library(9)
    library.before = lambda call: library.ids.clear() if call == 2 else None
    library.assert_proven(walks=2)


def test_a_page_that_has_a_row_twice_is_short() -> None:
    library = Library(9)
    library.spoil = lambda call, rows: ["m3", "m3", "m5"] if call == 2 else rows
    library.assert_proven()
    assert library.asked == [1, 2, 2, 3, 1]


def test_another_walk_finds_media_that_are_added_during_the_first() -> None:
    library = Library(9)
    library.before = lambda call: library.add("new") if call == 3 else None
    library.assert_proven(walks=2)


@pytest.mark.parametrize("size", [6, 9])
def test_media_added_while_as_many_are_deleted_are_noticed(size: int) -> None:
    library = Library(size)

    def swap(call: int) -> None:
        if call == 2:
            library.add("x", "y", "z", "w")
            library.ids = [one for one in library.ids if one not in ("m0", "m1", "m2", "m3")]

    library.before = swap
    library.assert_proven(walks=2)


@pytest.mark.scenario(35)
def test_a_listing_without_an_end_is_given_up_and_not_complete() -> None:
    library = Library(9)
    library.before = lambda call: library.add(f"new{call}", f"newer{call}", f"newest{call}")
    library.finish()
    assert not library.walk.complete
    first_walk = library.asked.index(1, 1)
    assert first_walk == 2 * 4 + 10, "twice the pages of the twelve media that were there at its beginning, and ten"
    assert library.calls < 300


def test_a_walk_that_reaches_its_page_limit_is_not_complete_although_its_numbers_agree() -> None:
    library = Library(4)
    library.before = lambda call: library.ids.extend(f"more{n}" for n in range(38)) if call == 2 else None
    library.assert_proven(walks=2)
    assert library.asked[:15] == [*range(1, 15), 1], "twice the two pages that there were at its beginning, and ten"


def test_an_incomplete_walk_returns_every_medium_that_was_ever_seen() -> None:
    library = Library(9)

    def change(call: int) -> None:
        library.add(f"new{call}")
        if call == 3:
            library.ids.remove("m0")  # which the first page had

    library.before = change
    assert "m0" in library.finish() - set(library.ids)
    assert not library.walk.complete


def test_a_walk_resumes_from_json() -> None:
    library = Library(20)
    while not library.walk.finished:
        library.step()
        library.walk = msgspec.json.decode(msgspec.json.encode(library.walk), type=Walk)
    library.assert_proven()


# ── The size of pages ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("says_size", [True, False])
@pytest.mark.parametrize("served", [5, 50, 100, 120, 199, 200, 1000])
def test_every_medium_is_seen_whatever_size_of_page_gopro_serves(served: int, says_size: bool) -> None:
    library = Library(500, page_size=200)
    library.serves = lambda call, size: min(size, served)
    library.says_size = says_size
    library.assert_proven()
    assert library.calls <= 500 // served + (4 if says_size else 40)


def test_the_size_that_gopro_says_is_asked_for_from_then_on() -> None:
    library = Library(500, page_size=200)
    library.serves = lambda call, size: min(size, 100)
    library.says_size = True
    library.assert_proven()
    assert list(zip(library.asked, library.sizes, strict=True)) == [
        (1, 200), (2, 100), (3, 100), (4, 100), (5, 100), (1, 100),
    ]  # fmt: skip
    assert library.slept == []
    assert library.walk.size_changes == 1


@pytest.mark.parametrize("says_size", [True, False])
@pytest.mark.parametrize(("first", "then"), [(200, 100), (100, 200), (100, 50), (200, 120), (50, 200)])
@pytest.mark.parametrize("at", [2, 3, 4])
def test_every_medium_is_seen_when_the_size_of_pages_changes_in_the_middle(
    first: int, then: int, at: int, says_size: bool
) -> None:
    library = Library(500, page_size=200)
    library.serves = lambda call, size: min(size, first if call < at else then)
    library.says_size = says_size
    assert library.finish() == set(library.ids)
    assert library.walk.complete


@pytest.mark.parametrize("at", [1, 2, 3])
def test_every_medium_is_seen_when_gopro_ignores_the_size_asked_for(at: int) -> None:
    library = Library(500, page_size=200)
    library.serves = lambda call, size: 100 if call < at else 250
    library.says_size = True
    library.assert_proven()


def test_a_size_that_changes_at_every_call_ends_the_walk_all_the_same() -> None:
    library = Library(5000, page_size=200)
    library.serves = lambda call, size: 130 if call % 2 else 70
    library.says_size = True
    library.finish()
    assert library.calls < WALKS * 2 * 5000 // 70


# ── Bad pages ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("failure", [NotServed("500"), UnexpectedAnswer("a list"), CallRefused("403")])
@pytest.mark.parametrize("bad", ["m0", "m7", "m450", "m799"])
def test_a_medium_whose_page_always_fails_is_the_only_one_not_seen(bad: str, failure: Exception) -> None:
    library = Library(800, page_size=200)
    library.bad, library.failure = {bad}, failure
    assert library.finish() == set(library.ids) - {bad}
    assert (library.walk.complete, library.walk.changed, library.walk.unseen) == (False, False, 1)
    assert library.walk.trouble == str(failure)
    assert library.walk.passed_over == 1
    assert set(library.slept) <= {PAGE_PAUSE_SECONDS}
    assert library.calls < WALKS * (5 + 40)


def test_a_page_that_always_fails_by_its_number_costs_nothing() -> None:
    library = Library(800, page_size=200)
    library.refuses = lambda number, size: (number, size) == (3, 200)
    library.assert_proven()
    assert library.calls == 2 + PAGE_TRIES + 1 + 4 + 1, (
        "page 3 is tried, page 2 again, then four pages of half the size"
    )


def test_pages_that_are_too_large_for_gopro_are_made_smaller_for_good() -> None:
    library = Library(1000, page_size=200)
    library.refuses = lambda number, size: size > 50
    library.assert_proven()
    assert library.sizes.count(200) == PAGE_TRIES
    assert library.calls < 20 + 20


def test_a_failure_that_passes_is_waited_for() -> None:
    library = Library(9)
    library.refuses = lambda number, size: library.calls in (2, 3)
    library.assert_proven()
    assert library.asked == [1, 2, 2, 2, 3, 1]
    assert library.slept == [PAGE_PAUSE_SECONDS] * 2


@pytest.mark.parametrize("failure", [NotServed("500"), UnexpectedAnswer("a list")])
@pytest.mark.parametrize("served", [0, 1, 2])
def test_a_library_of_which_no_page_is_served_any_more_cannot_be_listed(served: int, failure: Exception) -> None:
    library = Library(800, page_size=200)
    library.refuses = lambda number, size: library.calls > served
    library.failure = failure
    with pytest.raises(type(failure)):
        library.finish()
    assert library.calls <= served + PAGE_TRIES + 6


def test_the_other_order_shows_what_the_usual_one_does_not() -> None:
    library = Library(800, page_size=200)
    library.bad, library.bad_only_in = {"m5"}, "created_at"
    library.assert_proven(walks=2)
    assert library.walk.unseen == 0


def test_bad_pages_are_passed_over_and_the_next_walk_goes_in_the_other_order() -> None:
    library = Library(20, page_size=4)
    library.bad = {"m5", "m10"}
    assert library.finish() == set(library.ids) - library.bad
    assert (library.walk.unseen, library.walk.passed_over, library.walk.order) == (2, 2, "created_at")
    assert (library.walk.narrowing_failures, library.walk.narrowing_until) == (2 * len((2, 1)), 0)
    assert library.orders.index("captured_at") > 10
    assert library.orders[-1] == "created_at"


def test_the_kinds_of_odd_rows_are_all_named() -> None:
    library = Library(2)
    library.odd = {"m0": "the row is null", "m1": "the id is null"}
    with pytest.raises(UnexpectedAnswer, match=r"\(the row is null, the id is null\)"):
        library.finish()


def test_narrowing_down_is_bounded() -> None:
    library = Library(4000, page_size=200)
    library.bad = {f"m{number}" for number in range(200, 4000, 2)}
    seen = library.finish()
    assert not library.walk.complete
    assert library.walk.unseen == 4000 - len(seen)
    narrow = [size for size in library.sizes if size < 200]
    assert len(narrow) == 354, "of them 180 failures, and what was served beside them"


def test_every_step_that_deals_with_a_bad_page_is_progress() -> None:
    library = Library(20, page_size=4)
    library.bad = {"m4"}
    progress = []
    for _ in range(6):
        library.step()
        progress.append(library.walk.fresh)
    assert progress == [4, 5, 6, 7, 8, 10], "the first page, two smaller sizes, the bad row, and what is beside it"


# ── Odd rows ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_rows_that_cannot_be_read_are_counted_and_the_others_seen() -> None:
    library = Library(9)
    library.odd = {"m0": "the id is null", "m4": "the row is null", "m5": "the id is null"}
    assert library.finish() == set(library.ids) - set(library.odd)
    assert (library.walk.complete, library.walk.number, library.walk.unseen) == (True, 1, 0)
    assert library.walk.odd == {"the id is null": 2, "the row is null": 1}
    assert library.walk.unreadable == 3


def test_odd_rows_count_once_however_many_walks_there_are() -> None:
    library = Library(9)
    library.odd = {"m4": "the row is null"}
    library.spoil = lambda call, rows: ["m5", "m7", "m8"] if call == 3 else rows
    library.finish()
    assert (library.walk.number, library.walk.complete, library.walk.unreadable) == (2, True, 1)


@pytest.mark.parametrize("size", [1, 3, 9])
def test_a_library_of_which_no_row_can_be_read_means_a_changed_api(size: int) -> None:
    library = Library(size)
    library.odd = dict.fromkeys(library.ids, "the id is missing")
    with pytest.raises(UnexpectedAnswer, match=r"no row .*\(the id is missing\): its API has changed"):
        library.finish()


# ── Slices ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("bad", [set(), {"m4"}])
def test_a_step_that_is_interrupted_is_safe_to_repeat(bad: set[str]) -> None:
    library = Library(20, page_size=4)
    library.bad = bad
    interruptions = iter(range(11, 1000, 11))
    next_one = [next(interruptions)]

    def fetch(number: int, size: int, order: Order) -> Page:
        if library.calls == next_one[0]:
            next_one[0] = next(interruptions)
            raise SliceOver
        return library.fetch(number, size, order)

    while not library.walk.finished:
        with suppress(SliceOver):
            library.walk.step(fetch, library.slept.append)
    assert {row.media_id for row in library.walk.media()} == set(library.ids) - bad
    assert library.walk.complete == (not bad)


def test_a_walk_that_version_0_1_0_stored_is_resumed() -> None:
    library = Library(9)
    stored = {
        "page_size": 3, "number": 1, "page": 3, "page_limit": 16, "total": 9, "front": ["m2", "m0", "m1"],
        "changed": False, "unchanged_since": 1, "errors": 0, "finished": False, "complete": False, "idle_slices": 0,
        "fresh": 6,
        "sightings": {
            f"m{number}": {
                "walk": 1,
                "medium": {
                    "media_id": f"m{number}", "type": "Video", "filename": "", "captured_at": None, "size": 1,
                    "item_count": 1, "state": "ready", "camera": "",
                },
            }
            for number in range(6)
        },
    }  # fmt: skip
    library.walk = msgspec.convert(stored, Walk)
    library.assert_proven()
    assert library.asked == [3, 1]


def spoiled(rows: list[str], happenings: "Iterable[tuple[str, int]]") -> list[str]:
    rows = list(rows)
    for what, where in happenings:
        if what == "omit" and rows:
            rows.pop(where % len(rows))
        elif what == "repeat" and len(rows) > 1:
            rows[where % (len(rows) - 1) + 1] = rows[where % (len(rows) - 1)]
    return rows


HAPPENINGS = st.lists(
    st.tuples(st.sampled_from(["add", "remove", "omit", "repeat", "fail", "smaller"]), st.integers(0, 30)), max_size=6
)


@pytest.mark.scenario(35)
@settings(max_examples=400)
@given(
    size=st.integers(0, 25),
    page_size=st.integers(1, 6),
    happenings=st.dictionaries(st.integers(1, 60), HAPPENINGS, max_size=12),
)
def test_a_walk_ends_with_exactly_the_library_or_is_not_complete(
    size: int, page_size: int, happenings: dict[int, list[tuple[str, int]]]
) -> None:
    library = Library(size, page_size)

    def change(call: int) -> None:
        for number, (what, where) in enumerate(happenings.get(call, ())):
            if what == "add":
                library.add(f"new-{call}-{number}")
            elif what == "remove" and library.ids:
                library.ids.pop(where % len(library.ids))

    def happens(what: str, call: int) -> bool:
        return what in dict(happenings.get(call, ()))

    library.before, library.says_size = change, True
    library.spoil = lambda call, rows: spoiled(rows, happenings.get(call, ()))
    library.serves = lambda call, size: -(-size // 2) if happens("smaller", call) else size
    library.refuses = lambda number, size: happens("fail", library.calls)
    try:
        seen = library.finish()
    except NotServed:
        return
    assert library.calls < 900
    assert seen == set(library.ids) or not library.walk.complete
