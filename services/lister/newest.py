"""The walk through the newest media only, for the nights on which nothing else has changed.

GoPro lists the media newest first by upload, and counts all of them. A full walk that was proven complete leaves behind
what it knew: the count, the rows of the first page, and the media that were still waiting. A later night reads pages
from the first one until a page has no medium that is new. If GoPro's count is then what was known, plus what is new, no
other medium was added. Every other medium is as the full walk left it: stored, and with an unchanged row.

This does not prove what a full walk proves. It cannot see that the row of an older medium has changed, nor that one
medium was deleted and another was added below the pages that it read. The next full walk sees both. Whenever anything
does not fit, the sync falls back on a full walk at once.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from services.lister.admission import LONG_NOT_READY, has_changed, is_ready
from services.shared.clock import iso
from services.shared.events import Filters
from services.shared.gopro.client import FAILURE, ListedMedium, Page
from services.shared.library.records import MediumRecord, Row, Status

FORM = 1  # of `Known`; a higher one makes each stack's next sync a full walk
MOST_PAGES = 10  # of newest media; with more, a full walk costs little more
MOST_WAITING = 1000  # media whose records are read every night; with more, the next sync walks the whole library
EARLY = timedelta(hours=12)  # nights are not exactly a day apart


@dataclass(frozen=True, kw_only=True)
class Known:
    """What the listings so far know of the whole library. It stays true even if the sync that found it out fails."""

    form: int = 0
    library_table: str = ""  # whose records say that the other media are stored
    asked: str = ""  # the operator's last request for a full walk that was fulfilled
    full_walk_at: str = ""  # when the last full walk was over; UTC, ISO 8601
    decided_at: str = ""  # when this was found out; UTC, ISO 8601
    total: int = 0  # GoPro's count of media
    odd: Mapping[str, int] = field(default_factory=dict)  # number of rows that could not be read, by what is odd
    front: tuple[ListedMedium, ...] = ()  # the newest media, at most a page
    waiting: tuple[ListedMedium, ...] | None = ()  # see `still_waiting`, as listed last; None: too many


def why_full(
    known: Known | None,
    *,
    filters: Filters,
    now: datetime,
    full_walk_days: int,
    library_table: str,
    asked: str,
    page_size: int,
) -> str:
    """Return why a sync has to walk the whole library; empty if it may begin with the newest media."""
    if known is None or known.form != FORM:
        return "no full walk was proven complete before"
    reasons = {
        "the sync has filters": filters != Filters(),
        "the library table is another one": known.library_table != library_table,
        "an operator has changed the library table": known.asked != asked,
        f"more than {MOST_WAITING:,} media were waiting": known.waiting is None,
        "the library fits a page": known.total <= page_size,
        "the last full walk is long ago": now - datetime.fromisoformat(known.full_walk_at)
        >= timedelta(days=full_walk_days) - EARLY,
    }
    return next((because for because, holds in reasons.items() if holds), "")


def still_waiting(
    media: Iterable[ListedMedium], records: Mapping[str, MediumRecord], rows: Mapping[str, Row]
) -> tuple[ListedMedium, ...] | None:
    """Return the media that a later sync may have to take on; None if they are too many to remember.

    These are the media that are not stored, and the stored ones whose row has changed since. The media that this sync
    takes on are among them, because nobody knows yet what becomes of them. `rows`: as for `admit`.
    """
    found = tuple(medium for medium in media if not _is_done(medium, records.get(medium.media_id), rows))
    return found if len(found) <= MOST_WAITING else None


@dataclass(kw_only=True)
class NewestWalk:
    """A walk from the first page on. Its fields say what it has found out so far."""

    known: Known
    page_size: int  # rows in a page, as requested
    page: int = 1  # the next page
    total: int | None = None  # GoPro's count of media
    size: int | None = None  # rows in a page, as GoPro says
    seen: dict[str, ListedMedium] = field(default_factory=dict)  # by media id, newest first
    odd: Counter[str] = field(default_factory=Counter)  # as in `Known`, of these pages
    new: set[str] = field(default_factory=set)  # ids of media that were neither known nor stored
    records: dict[str, MediumRecord] = field(default_factory=dict)  # those that were read, by media id
    ended: bool = False
    because: str = ""  # once it has ended: why the whole library has to be walked after all

    def to_look_up(self, page: Page) -> Sequence[str]:
        """Return the ids on a page whose records `take` needs."""
        known = self._known_ids | self.seen.keys()
        return [medium.media_id for medium in page.media if medium.media_id not in known]

    def take(self, page: Page, records: Mapping[str, MediumRecord]) -> None:
        """Take the next page, which must be whole. `records`: of the media in `to_look_up`."""
        fresh = [media_id for media_id in self.to_look_up(page) if not _is_stored(records.get(media_id))]
        size = page.per_page or self.page_size
        has_changed = self.total not in (None, page.total_items) or self.size not in (None, size)
        self.records |= records
        self.seen |= {medium.media_id: medium for medium in page.media if medium.media_id not in self.seen}
        self.odd.update(page.odd)
        self.new.update(fresh)
        self.total, self.size = page.total_items, size
        expected = self.known.total + len(self.new)
        is_last = not fresh or self.page * size >= page.total_items
        if has_changed:
            self.give_up("the library changed during the walk")
        elif page.errors:
            self.give_up("GoPro reported errors in its listing")
        elif self.odd - Counter(self.known.odd):
            self.give_up("rows could not be read")
        elif page.total_items < expected or (is_last and page.total_items != expected):
            self.give_up(f"GoPro counts {page.total_items:,} media, and {expected:,} are known")
        elif not is_last and self.page == MOST_PAGES:
            self.give_up(f"{MOST_PAGES} pages have new media")
        else:
            self.ended = is_last
            self.page += 1

    def give_up(self, because: str) -> None:
        """End the walk, because only a full walk can tell more."""
        self.ended, self.because = True, because

    def touched(self) -> Sequence[ListedMedium]:
        """Return the media that may be waiting, each as listed last: only their records matter.

        The other media are stored, and their rows are as they were listed last.
        """
        before = {medium.media_id: medium for medium in self.known.front}
        waiting = {medium.media_id: medium for medium in self.known.waiting or ()}
        seen = {
            media_id: medium
            for media_id, medium in self.seen.items()
            if media_id in waiting or before.get(media_id) != medium
        }
        return [*(waiting | seen).values()]

    def front(self) -> tuple[ListedMedium, ...]:
        """Return the newest media, at most a page."""
        return tuple(self.seen.values())[: self.page_size]

    def hides_a_medium_that_may_be_ready(self, since: Mapping[str, str], *, now: datetime) -> bool:
        """Return whether a waiting medium may have become ready, and only a full walk can tell.

        That is so if GoPro was still processing it, which takes hours, and no page showed it. `since`: what
        `not_ready_since` returned. A medium that has not been ready for long does not count: syncs try it anyway.
        """
        return any(
            not is_ready(medium)
            and medium.state != FAILURE
            and medium.media_id not in self.seen
            and since[medium.media_id] >= iso(now - LONG_NOT_READY)
            for medium in self.known.waiting or ()
        )

    @property
    def _known_ids(self) -> set[str]:
        return {medium.media_id for medium in (*self.known.front, *(self.known.waiting or ()))}


def _is_stored(record: MediumRecord | None) -> bool:
    return record is not None and record.status == Status.STORED


def _is_done(medium: ListedMedium, record: MediumRecord | None, rows: Mapping[str, Row]) -> bool:
    return record is not None and record.status == Status.STORED and not has_changed(record, medium, rows)
