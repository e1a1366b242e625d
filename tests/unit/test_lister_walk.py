"""Walking a library that changes, repeats itself and leaves things out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.lister.walk import SHORT_PAGE_PAUSE_SECONDS, SHORT_PAGE_TRIES, WALKS, Walk
from services.shared.gopro.client import Page
from services.shared.gopro.media import ListedMedium

if TYPE_CHECKING:
    from collections.abc import Callable


def medium(media_id: str) -> ListedMedium:
    return ListedMedium(
        media_id=media_id, type="Video", filename="", captured_at=None, size=1, item_count=1, state="ready", camera=""
    )


class Library:
    """Newest first. Before each call it may change, and the answer may be spoilt."""

    def __init__(self, size: int, page_size: int = 3) -> None:
        self.ids = [f"m{number}" for number in range(size)]
        self.page_size = page_size
        self.asked: list[int] = []  # page numbers
        self.slept: list[float] = []
        self.errors = 0  # that each answer reports
        self.before: Callable[[int], None] = lambda call: None
        self.spoil: Callable[[int, list[str]], list[str]] = lambda call, rows: rows

    @property
    def calls(self) -> int:
        return len(self.asked)

    def fetch(self, number: int) -> Page:
        self.asked.append(number)
        self.before(self.calls)
        start = (number - 1) * self.page_size
        rows = self.spoil(self.calls, self.ids[start : start + self.page_size])
        return Page(media=tuple(medium(row) for row in rows), total_items=len(self.ids), errors=self.errors)

    def add(self, media_id: str) -> None:
        self.ids.insert(0, media_id)


def finish(walk: Walk, library: Library) -> set[str]:
    for _ in range(1000):
        if walk.finished:
            return {row.media_id for row in walk.media()}
        walk.step(library.fetch, library.slept.append)
    pytest.fail("the walk has no end")


@pytest.mark.parametrize(
    ("size", "pages"),
    [(0, [1]), (1, [1]), (3, [1]), (4, [1, 2, 1]), (6, [1, 2, 1]), (7, [1, 2, 3, 1]), (100, [*range(1, 35), 1])],
)
def test_a_quiet_library_is_seen_whole_in_one_walk_of_which_several_pages_end_with_the_first(
    size: int, pages: list[int]
) -> None:
    library, walk = Library(size), Walk(page_size=3)
    assert finish(walk, library) == set(library.ids)
    assert walk.complete
    assert walk.number == 1
    assert library.asked == pages
    assert library.slept == []


def test_a_short_page_is_asked_for_again_after_a_pause() -> None:
    library, walk = Library(9), Walk(page_size=3)
    library.spoil = lambda call, rows: rows[:1] if call in (2, 3) else rows
    assert finish(walk, library) == set(library.ids)
    assert walk.complete
    assert walk.number == 1
    assert library.asked == [1, 2, 2, 2, 3, 1]
    assert library.slept == [SHORT_PAGE_PAUSE_SECONDS] * 2


def test_a_first_page_that_stays_short_vouches_for_nothing_even_if_all_media_were_seen() -> None:
    library, walk = Library(9), Walk(page_size=3)
    library.spoil = lambda call, rows: {"m0": ["m0", "m1"], "m3": ["m2", "m3", "m4", "m5"]}.get(rows[0], rows)
    assert finish(walk, library) == set(library.ids)
    assert not walk.complete
    assert library.asked[:SHORT_PAGE_TRIES] == [1] * SHORT_PAGE_TRIES


def test_what_is_come_across_for_the_first_time_in_a_walk_is_fresh() -> None:
    library, walk = Library(9), Walk(page_size=3)
    library.spoil = lambda call, rows: ["m3", "m3", "m5"] if call == 2 else rows
    for _ in range(4):  # to the verdict
        walk.step(library.fetch, library.slept.append)
    assert (walk.number, walk.fresh) == (2, 8)
    walk.step(library.fetch, library.slept.append)
    assert walk.fresh == 8 + 3


def test_the_errors_that_gopro_reports_add_up() -> None:
    library, walk = Library(9), Walk(page_size=3)
    library.errors = 2
    finish(walk, library)
    assert walk.errors == 2 * library.calls == 8


def test_a_page_that_stays_short_is_never_a_complete_listing() -> None:
    library, walk = Library(9), Walk(page_size=3)
    library.spoil = lambda call, rows: [row for row in rows if row != "m4"]
    assert finish(walk, library) == set(library.ids) - {"m4"}
    assert not walk.complete
    assert walk.number == WALKS


def test_what_one_walk_missed_the_next_one_adds() -> None:
    library, walk = Library(9), Walk(page_size=3)
    # A row is left out and another one repeated, so that the page looks whole.
    library.spoil = lambda call, rows: ["m3", "m3", "m5"] if call == 2 else rows
    assert finish(walk, library) == set(library.ids)
    assert walk.complete
    assert walk.number == 2


def test_a_row_repeated_across_a_page_boundary_counts_once() -> None:
    library, walk = Library(9), Walk(page_size=3)
    library.spoil = lambda call, rows: ["m2", *rows[1:]] if call == 2 else rows
    assert finish(walk, library) == set(library.ids)
    assert walk.complete


def test_media_that_arrive_during_the_walk_are_found_by_another_one() -> None:
    library, walk = Library(9), Walk(page_size=3)
    library.before = lambda call: library.add("new") if call == 3 else None
    assert finish(walk, library) == set(library.ids)
    assert walk.complete


@pytest.mark.parametrize("size", [6, 9])
def test_one_that_came_while_another_went_is_noticed_although_the_count_is_the_same(size: int) -> None:
    library, walk = Library(size), Walk(page_size=3)

    def swap(call: int) -> None:
        if call == 2:
            for name in ("x", "y", "z", "w"):
                library.add(name)
            for name in ("m0", "m1", "m2", "m3"):
                library.ids.remove(name)

    library.before = swap
    assert finish(walk, library) == set(library.ids)
    assert walk.complete
    assert walk.number == 2


@pytest.mark.scenario(35)
def test_a_listing_that_never_ends_is_given_up_and_not_believed() -> None:
    library, walk = Library(9), Walk(page_size=3)
    library.before = lambda call: (
        library.add(f"new{call}") or library.add(f"newer{call}") or library.add(f"newest{call}")
    )
    finish(walk, library)
    assert not walk.complete
    first_walk = library.asked.index(1, 1)
    assert first_walk == 2 * 4 + 10, "twice the pages of the twelve media that were there at its beginning, and ten"
    assert library.calls < 300


def test_a_walk_that_came_to_its_limit_is_not_believed_though_its_numbers_agree() -> None:
    library, walk = Library(4), Walk(page_size=3)
    library.before = lambda call: library.ids.extend(f"more{n}" for n in range(38)) if call == 2 else None
    assert finish(walk, library) == set(library.ids)
    assert library.asked[:15] == [*range(1, 15), 1], "twice the two pages that there were at its beginning, and ten"
    assert walk.complete
    assert walk.number == 2


def test_without_a_proof_all_that_was_ever_come_across_counts() -> None:
    library, walk = Library(9), Walk(page_size=3)

    def change(call: int) -> None:
        library.add(f"new{call}")
        if call == 3:
            library.ids.remove("m0")  # which the first page had

    library.before = change
    assert "m0" in finish(walk, library) - set(library.ids)
    assert not walk.complete


def test_a_walk_goes_on_after_it_was_kept_as_json() -> None:
    library, walk = Library(20), Walk(page_size=3)
    while not walk.finished:
        walk.step(library.fetch, lambda seconds: None)
        walk = msgspec.json.decode(msgspec.json.encode(walk), type=Walk)
    assert {row.media_id for row in walk.media()} == set(library.ids)
    assert walk.complete


@pytest.mark.scenario(35)
@settings(max_examples=400)
@given(
    size=st.integers(0, 25),
    page_size=st.integers(1, 6),
    happenings=st.dictionaries(
        st.integers(1, 60),
        st.lists(
            st.one_of(
                st.tuples(st.just("add"), st.just(0)),
                st.tuples(st.just("remove"), st.integers(0, 30)),
                st.tuples(st.just("omit"), st.integers(0, 5)),
                st.tuples(st.just("repeat"), st.integers(0, 5)),
            ),
            max_size=6,
        ),
        max_size=12,
    ),
)
def test_a_walk_ends_with_exactly_the_library_or_says_that_it_did_not(
    size: int, page_size: int, happenings: dict[int, list[tuple[str, int]]]
) -> None:
    library, walk = Library(size, page_size), Walk(page_size=page_size)

    def change(call: int) -> None:
        for number, (what, where) in enumerate(happenings.get(call, ())):
            if what == "add":
                library.add(f"new-{call}-{number}")
            elif what == "remove" and library.ids:
                library.ids.pop(where % len(library.ids))

    def spoil(call: int, rows: list[str]) -> list[str]:
        rows = list(rows)
        for what, where in happenings.get(call, ()):
            if what == "omit" and rows:
                rows.pop(where % len(rows))
            elif what == "repeat" and len(rows) > 1:
                rows[where % (len(rows) - 1) + 1] = rows[where % (len(rows) - 1)]
        return rows

    library.before, library.spoil = change, spoil
    seen = finish(walk, library)
    assert library.calls < 500
    if walk.complete:
        assert seen == set(library.ids)
