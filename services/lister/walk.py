"""Seeing every medium of a library that is shown in pages, and knowing whether that was all of it.

Pages come short although more is there, repeat rows, and shift while the library changes. A walk from the first page
to the last is believed when as many different media were seen as GoPro counts, and nothing changed meanwhile. That
last is known from two things that stayed the same from the first call to the last: GoPro's count, and the first page.
New media come first in the order that is asked for, so one that came would show there; and with none that came, one
that went would show in the count.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from services.shared.gopro.client import PAGE_SIZE, Page
from services.shared.gopro.media import ListedMedium

WALKS = 3
SHORT_PAGE_TRIES = 4
SHORT_PAGE_PAUSE_SECONDS = 2.0


@dataclass(kw_only=True, slots=True)
class Sighting:
    medium: ListedMedium
    walk: int  # the latest walk that came across it


@dataclass(kw_only=True)
class Walk:
    """How far a listing has come. It is kept as JSON between two slices."""

    page_size: int = PAGE_SIZE
    number: int = 1  # of this walk; what the first one missed, up to two more add
    page: int = 1  # the next
    page_limit: int = 0  # of this walk, so that a listing without an end has one
    total: int | None = None  # as GoPro counts
    front: frozenset[str] | None = None  # the media of the first page
    changed: bool = False  # something says that the library isn't what it was when this walk began
    unchanged_since: int = 1  # the first walk of those that saw one and the same library
    sightings: dict[str, Sighting] = field(default_factory=dict)
    errors: int = 0  # that GoPro reported within its pages
    finished: bool = False
    complete: bool = False
    idle_slices: int = 0  # in a row, in which no medium was come across for the first time in its walk
    fresh: int = 0  # media come across for the first time in their walk, in this slice

    def step(self, fetch: Callable[[int], Page], sleep: Callable[[float], None]) -> None:
        """Takes the next page, or comes to a verdict after the last one.

        May be done again from the beginning when `fetch` or `sleep` raised.
        """
        if self.page > 1 and self._at_end():
            self._judge(fetch, sleep)
            return
        self._take(self.page, fetch, sleep)
        if self.page == 1:
            self.page_limit = 2 * -(-(self.total or 0) // self.page_size) + 10
        self.page += 1

    def media(self) -> Sequence[ListedMedium]:
        """What was seen: the library as it is where the walk is complete, or else all that was ever come across."""
        oldest = self.unchanged_since if self.complete else 1
        return [sighting.medium for sighting in self.sightings.values() if sighting.walk >= oldest]

    def _at_end(self) -> bool:
        return self.page > self.page_limit or (self.page - 1) * self.page_size >= (self.total or 0)

    def _judge(self, fetch: Callable[[int], Page], sleep: Callable[[float], None]) -> None:
        if self.page > self.page_limit:
            self.changed = True
        elif self.page > 2:  # noqa: PLR2004  # a library of one page was seen at once
            self._take(1, fetch, sleep)
        seen = sum(sighting.walk >= self.unchanged_since for sighting in self.sightings.values())
        self.complete = seen == self.total and not self.changed
        self.finished = self.complete or self.number == WALKS
        if not self.finished:
            self.number, self.page = self.number + 1, 1
            if self.changed:
                self.unchanged_since, self.total, self.front, self.changed = self.number, None, None, False

    def _take(self, number: int, fetch: Callable[[int], Page], sleep: Callable[[float], None]) -> None:
        rows, whole = self._whole_page(number, fetch, sleep)
        if number == 1:
            front = frozenset(row.media_id for row in rows)
            # A first page that isn't whole can't vouch for anything.
            self.changed |= not whole or self.front not in (None, front)
            self.front = front
        for row in rows:
            before = self.sightings.get(row.media_id)
            self.fresh += before is None or before.walk < self.number
            self.sightings[row.media_id] = Sighting(medium=row, walk=self.number)

    def _whole_page(
        self, number: int, fetch: Callable[[int], Page], sleep: Callable[[float], None]
    ) -> tuple[Sequence[ListedMedium], bool]:
        """The rows of a page, and whether there are as many as there have to be."""
        partial: dict[str, ListedMedium] = {}
        for attempt in range(SHORT_PAGE_TRIES):
            if attempt:
                sleep(SHORT_PAGE_PAUSE_SECONDS)
            page = fetch(number)
            self.changed |= self.total not in (None, page.total_items)
            self.total = page.total_items
            self.errors += page.errors
            if len(page.media) == min(self.page_size, max(0, page.total_items - (number - 1) * self.page_size)):
                return page.media, True
            partial.update((row.media_id, row) for row in page.media)
        return list(partial.values()), False
