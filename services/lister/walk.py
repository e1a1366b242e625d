"""The walk through all pages of a library, and the proof that it saw every medium.

GoPro's pages may have rows missing or repeated, and shift while the library changes. A walk from the first page to the
last is complete if it saw as many different media as GoPro counts, and the library did not change meanwhile.

The library did not change if GoPro's count and the first page stayed the same from the first call to the last. The
newest media are listed first, so an added medium changes the first page. If none was added, a deleted one changes the
count.

A bad page must not cost more than its own rows. If a page fails or stays short, its rows are requested in smaller
pages, down to a single row. Rows that are still missing then are passed over. The next walk lists the library in the
other order, where these rows have other neighbours. If GoPro serves no page at all, the walk fails.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from services.shared.errors import PermanentError
from services.shared.gopro.client import (
    PAGE_SIZE,
    ApiRetired,
    CallRefused,
    ListedMedium,
    NotServed,
    Order,
    Page,
    UnexpectedAnswer,
)

WALKS = 3
PAGE_TRIES = 4
PAGE_PAUSE_SECONDS = 2.0  # between two tries of a page
SIZE_CHANGES = 20  # how often a listing adopts another page size that GoPro serves
NARROWING_FAILURES = 60  # the most failures of narrowed pages in one walk, before rows are passed over at once

PAGE_FAILURES = (NotServed, CallRefused, UnexpectedAnswer, ApiRetired)  # one page may fail so while others are served

Fetch = Callable[[int, int, Order], Page]  # takes the page's number, its size and the order
Sleep = Callable[[float], None]


@dataclass(kw_only=True, slots=True)
class Sighting:
    """A medium that was seen."""

    medium: ListedMedium
    walk: int  # the latest walk that saw it; 0: only incomplete pages showed it


@dataclass(kw_only=True)
class Walk:
    """The state of a listing, which has up to three walks. It is stored as JSON between two slices."""

    page_size: int = PAGE_SIZE
    number: int = 1  # of the current walk; up to two more walks add what the first one missed
    page: int = 1  # the next page
    page_limit: int = 0  # the last page that this walk requests, in pages of `page_size`; GoPro's may have no end
    total: int | None = None  # GoPro's count of media
    front: frozenset[str] | None = None  # media ids of the first page; None until it was seen whole
    changed: bool = False  # whether the library has changed since this walk began
    unchanged_since: int = 1  # the first walk that saw the library as it is now
    sightings: dict[str, Sighting] = field(default_factory=dict)  # by media id
    errors: int = 0  # reported by GoPro in its pages
    finished: bool = False
    complete: bool = False
    idle_slices: int = 0  # slices in a row that made no progress
    fresh: int = 0  # the progress of this slice: media first seen in the current walk, and bad pages dealt with
    # A walk stored by 0.1.0 does not have the fields below.
    order: Order = "created_at"
    front_size: int = 0  # rows in the first page; 0: `largest`
    size: int = 0  # rows in the next page; 0: `largest`
    largest: int = 0  # the largest page that GoPro serves, in rows; 0: `page_size`
    size_changes: int = 0  # how often GoPro served another size than was requested
    odd: dict[str, int] = field(default_factory=dict)  # number of unreadable rows in this walk, by what is odd
    passed_over: int = 0  # rows of this walk that no page showed
    narrowing_failures: int = 0  # of this walk
    narrowing_until: int = 0  # the row at which the narrowed page ends; 0: no page is being narrowed
    passed_over_before: int = 0  # `passed_over` when narrowing began
    trouble: str = ""  # why the last page that was passed over had failed
    served: tuple[int, int, Order] | None = None  # the last page that GoPro served

    def step(self, fetch: Fetch, sleep: Sleep) -> None:
        """Read the next page, or decide after the last page whether another walk is needed.

        If `fetch` or `sleep` raises, it is safe to repeat the step. Raises an error of `fetch` that does not concern
        one page alone, and `UnexpectedAnswer` if no row of the whole library can be read.
        """
        self.largest = self.largest or self.page_size
        self.size = self.size or self.largest
        if self._at_end():
            self._judge(fetch, sleep)
            return
        narrowing = self.size < self.largest
        tries = 1 if narrowing else PAGE_TRIES
        page, failure = self._whole_page(self.page, self.size, self.order, fetch, sleep, tries=tries)
        if page is not None and self._is_next(page):
            self._take(page)
        elif page is None:
            if failure and not narrowing and self.served:
                sleep(PAGE_PAUSE_SECONDS)
                fetch(*self.served)  # raises if GoPro serves nothing any more
            self.narrowing_failures += narrowing
            if self.size > 1 and self.narrowing_failures < NARROWING_FAILURES:
                self._narrow()
            else:
                self._pass_over(failure)

    @property
    def unseen(self) -> int:
        """The number of media that GoPro counts but no page showed."""
        return max(0, (self.total or 0) - len(self.sightings) - self.unreadable)

    @property
    def unreadable(self) -> int:
        """The number of rows that could not be read."""
        return sum(self.odd.values())

    def media(self) -> Sequence[ListedMedium]:
        """Return the library as it is now if the listing is complete, else every medium that any walk saw."""
        oldest = self.unchanged_since if self.complete else 0
        return [sighting.medium for sighting in self.sightings.values() if sighting.walk >= oldest]

    @property
    def _offset(self) -> int:
        """The number of rows before the next page."""
        return (self.page - 1) * self.size

    def _at_end(self) -> bool:
        return self.page > 1 and self.total is not None and (self._offset >= self.total or self._is_endless())

    def _is_endless(self) -> bool:
        return bool(self.page_limit) and self._offset >= self.page_limit * self.page_size

    def _judge(self, fetch: Fetch, sleep: Sleep) -> None:
        if self._is_endless():
            self.changed = True
        elif self.front is not None and len(self.front) < (self.total or 0):  # else it is the whole library
            size = self.front_size or self.largest
            page, _ = self._whole_page(1, size, "created_at", fetch, sleep, tries=PAGE_TRIES)
            self._look_at_front(page.media if page else None)
        seen = sum(sighting.walk >= self.unchanged_since for sighting in self.sightings.values())
        proven = self.front is not None and not self.changed
        self.complete = proven and seen + self.unreadable == self.total
        self.finished = self.complete or self.number == WALKS
        if not self.finished:
            self._begin_another(proven=proven)
        elif self.odd and not self.sightings:
            kinds = ", ".join(self.odd)
            raise UnexpectedAnswer(f"no row of GoPro's listing could be read ({kinds}): its API has changed")

    def _begin_another(self, *, proven: bool) -> None:
        self.order = "captured_at" if self.passed_over and self.order == "created_at" else "created_at"
        self.number, self.page, self.page_limit, self.size = self.number + 1, 1, 0, self.largest
        self.odd, self.passed_over, self.narrowing_failures, self.narrowing_until = {}, 0, 0, 0
        if not proven:
            self.unchanged_since, self.front, self.changed = self.number, None, False

    def _whole_page(
        self, number: int, size: int, order: Order, fetch: Fetch, sleep: Sleep, *, tries: int
    ) -> tuple[Page | None, Exception | None]:
        """Return the page and None if it has as many rows as GoPro's count implies, else None and its last failure.

        The failure is None if the page was served, but stayed short.
        """
        failure: Exception | None = None
        partial: list[ListedMedium] = []
        for attempt in range(tries):
            if attempt:
                sleep(PAGE_PAUSE_SECONDS)
            try:
                page = fetch(number, size, order)
            except PAGE_FAILURES as error:
                failure = error
                if isinstance(error, PermanentError):
                    break
                continue
            self.changed |= self.total not in (None, page.total_items)
            self.total = page.total_items
            self.errors += page.errors
            if is_whole(page, number=number, size=size):
                self._see(page.media)
                return page, None
            partial += page.media
        for medium in partial:
            self.sightings.setdefault(medium.media_id, Sighting(medium=medium, walk=0))
        return None, failure

    def _is_next(self, page: Page) -> bool:
        """Adopt the size of a page. Return whether the page begins where the walk goes on.

        GoPro may serve smaller or larger pages than were requested. If the page begins elsewhere for that reason,
        the next step requests the rows again, by their page number in the new size.
        """
        if page.per_page in (None, self.size) or self.size_changes == SIZE_CHANGES:
            return True
        offset, number = self._offset, self.page
        self.size = self.largest = page.per_page or self.size
        self.page = offset // self.size + 1
        self.size_changes += 1
        return self.page == number

    def _take(self, page: Page) -> None:
        self.served = self.page, self.size, self.order
        self.page_limit = self.page_limit or 2 * -(-page.total_items // self.page_size) + 10
        for kind in page.odd:
            self.odd[kind] = self.odd.get(kind, 0) + 1
        if self.page == 1 and self.order == "created_at":
            self._look_at_front(page.media)
            self.front_size = self.size
        self._move()

    def _look_at_front(self, media: Sequence[ListedMedium] | None) -> None:
        """Compare the first page with what it was before. `media`: None if the page could not be read whole."""
        if media is None:
            self.front = None
            return
        ids = [medium.media_id for medium in media]
        # The two pages may differ in size.
        self.changed |= self.front is not None and not self.front.issuperset(ids[: len(self.front)])
        self.front = frozenset(ids)

    def _see(self, media: Sequence[ListedMedium]) -> None:
        for medium in media:
            before = self.sightings.get(medium.media_id)
            self.fresh += before is None or before.walk < self.number
            self.sightings[medium.media_id] = Sighting(medium=medium, walk=self.number)

    def _narrow(self) -> None:
        """Request the next rows in smaller pages."""
        self.fresh += 1
        if not self.narrowing_until:
            self.narrowing_until, self.passed_over_before = self._offset + self.size, self.passed_over
        self._resize(self._offset, _smaller(self.size))

    def _pass_over(self, failure: Exception | None) -> None:
        if failure and self.served is None and self.passed_over:
            raise failure  # rows were passed over before, and no page was ever served
        self.trouble = str(failure or self.trouble)
        self.passed_over += self.size
        self.fresh += 1
        self._move()

    def _move(self) -> None:
        """Go to the row after this page, with the largest page size that fits there."""
        end = self.page * self.size
        if self.narrowing_until and end >= self.narrowing_until:
            if self.passed_over == self.passed_over_before:
                self.largest = _smaller(self.largest)  # all rows were served: the page was too large
            self.narrowing_until = 0
        self._resize(end, self.largest)

    def _resize(self, offset: int, size: int) -> None:
        while offset % size:
            size = _smaller(size)
        self.size, self.page = size, offset // size + 1


def is_whole(page: Page, *, number: int, size: int) -> bool:
    """Return whether a page has as many rows as GoPro's count implies. `size`: of the page that was requested."""
    granted = page.per_page or size
    return page.rows >= min(granted, max(0, page.total_items - (number - 1) * granted))


def _smaller(size: int) -> int:
    """Return the next smaller page size: the largest that divides this one evenly."""
    return size // next((factor for factor in range(2, size) if size % factor == 0), size)
