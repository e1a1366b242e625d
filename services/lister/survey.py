"""What a walk through the library has found, and what the sync makes of it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger

from services.lister.admission import admit, first_rows, not_ready_since
from services.lister.listing import (
    FrozenListing,
    LastListing,
    Warned,
    matching,
    unreadable,
    warnings_about,
    warnings_about_library,
)
from services.lister.newest import FORM, Known, NewestWalk, still_waiting, why_full
from services.lister.walk import PAGE_FAILURES, PAGE_PAUSE_SECONDS, PAGE_TRIES, Walk, is_whole
from services.shared.clock import Clock, iso
from services.shared.errors import PermanentError, TransientError
from services.shared.events import Filters, LibraryListingPaused, SessionAuthenticated
from services.shared.gopro.client import ListedMedium, Page, whole_number
from services.shared.inbox.heartbeat import Budget, SliceOver
from services.shared.library.records import MediumRecord, Row

if TYPE_CHECKING:
    from services.lister.listings_bucket import ListingsBucket
    from services.lister.settings import Settings
    from services.shared.gopro.patient import Lane
    from services.shared.library.records import LibraryReader

logger = Logger(child=True)


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a walk has found, and what the sync makes of it: the listing to freeze, and what to remember."""

    listing: FrozenListing
    known: Known | None  # None: as it was
    last: LastListing | None  # None: as it was


class Survey:
    """Decides what a sync takes on, from a walk and the library table."""

    def __init__(
        self, *, listings: "ListingsBucket", library: "LibraryReader", settings: "Settings", clock: Clock
    ) -> None:
        self._listings = listings
        self._library = library
        self._settings = settings
        self._clock = clock

    def of_newest(self, event: SessionAuthenticated, lane: "Lane", budget: Budget, *, page_size: int) -> Found | None:
        """Walk through the newest media. Returns None if the whole library has to be walked."""
        known, now = self._listings.known(), self._clock.now()
        because = why_full(
            known,
            filters=event.filters,
            now=now,
            full_walk_days=self._settings.full_walk_days,
            library_table=self._settings.library_table,
            asked=self._library.full_walk_asked(),
            page_size=page_size,
        )
        if known and not because:
            walk = NewestWalk(known=known, page_size=page_size)
            self._walk_newest(walk, lane, budget)
            budget.check()
            last, touched = self._listings.last() or LastListing(), walk.touched()
            since = not_ready_since(touched, last.not_ready_since, now=now)
            if walk.because == "" and walk.hides_a_medium_that_may_be_ready(since, now=now):
                walk.give_up("a medium that was not ready may be so by now")
            if walk.because == "":
                return self._newest(walk, touched, since, last, event, lane)
            because = walk.because
        logger.info("full_walk", because=because)
        return None

    def _walk_newest(self, walk: NewestWalk, lane: "Lane", budget: Budget) -> None:
        """Walk until the end of the newest media. A page that cannot be read whole is left to the full walk."""
        while not walk.ended:
            try:
                page = self._whole_page(walk, lane, budget)
            except SliceOver:
                page = None
            if page is None:
                walk.give_up(f"page {walk.page} could not be read whole")
            else:
                walk.take(page, self._library.media(walk.to_look_up(page)))

    def _whole_page(self, walk: NewestWalk, lane: "Lane", budget: Budget) -> Page | None:
        for attempt in range(PAGE_TRIES):
            if attempt:
                budget.sleep(PAGE_PAUSE_SECONDS)
            try:
                page = lane.search(page=walk.page, filters=Filters(), page_size=walk.page_size)
            except PAGE_FAILURES:
                return None
            if is_whole(page, number=walk.page, size=walk.page_size):
                return page
        return None

    def _newest(
        self,
        walk: NewestWalk,
        touched: Sequence[ListedMedium],
        since: Mapping[str, str],
        last: LastListing,
        event: SessionAuthenticated | LibraryListingPaused,
        lane: "Lane",
    ) -> Found:
        """Decide what this sync takes on after a walk through the newest media."""
        unread = [medium.media_id for medium in touched if medium.media_id not in walk.records]
        records = walk.records | self._library.media(unread)
        rows = self._rows_to_compare(touched, records, last)
        warnings = [unreadable(walk.known.odd)] if walk.known.odd else []
        total, odd = walk.total or 0, sum(walk.known.odd.values())
        listing = self._listing(touched, records, rows, since, warnings, last, lane)
        ids = {medium.media_id for medium in touched}
        now = iso(self._clock.now())
        return Found(
            listing=replace(
                listing,
                listed=total - odd,
                stored=listing.stored + total - odd - len(touched),
                unreadable=odd,
                library_media=total,
                walk="newest",
                full_walk_at=walk.known.full_walk_at,
            ),
            known=replace(
                walk.known,
                decided_at=now,
                total=total,
                front=walk.front(),
                waiting=still_waiting(touched, records, rows),
            ),
            last=replace(
                last,
                sync_id=event.sync_id,
                listed_at=now,
                total=total - odd,
                not_ready_since={**_without(last.not_ready_since, ids), **since},
            ),
        )

    def of_all(self, walk: Walk, event: SessionAuthenticated | LibraryListingPaused, lane: "Lane") -> Found:
        """Decide what this sync takes on after a walk through all that the filters leave of the library."""
        seen = walk.media()
        media = matching(seen, event.filters)
        last, now = self._listings.last() or LastListing(), self._clock.now()
        account_total = self._account_total(lane)
        whole_library = event.filters == Filters()
        if whole_library:
            warnings = [*warnings_about(walk, account_total=account_total)]
            warnings += warnings_about_library(walk, account_total=account_total, last=last)
        else:
            warnings = [*warnings_about(walk, account_total=None, left_out=len(seen) - len(media))]
        since = not_ready_since(media, last.not_ready_since, now=now)
        asked = self._library.full_walk_asked()  # before the records that an operator may change meanwhile
        records = self._library.media([medium.media_id for medium in media])
        rows = self._rows_to_compare(media, records, last, keep=whole_library)
        listing = self._listing(media, records, rows, since, warnings, last, lane)
        proven = whole_library and walk.complete
        listing = replace(
            listing,
            listed=len(media),
            unreadable=walk.unreadable,
            unseen=walk.unseen,
            library_media=walk.total if whole_library else account_total,
            full_walk_at=iso(now) if proven else "",
        )
        known = None
        if proven:
            known = Known(
                form=FORM,
                library_table=self._settings.library_table,
                asked=asked,
                full_walk_at=iso(now),
                decided_at=iso(now),
                total=walk.total or 0,
                odd=walk.odd,
                front=tuple(walk.sightings[i].medium for i in sorted(walk.front or ()) if i in walk.sightings),
                waiting=still_waiting(media, records, rows),
            )
        elif whole_library or listing.media:
            known = Known(decided_at=iso(now))  # it would not name what this sync takes on: begin with a full walk
        if whole_library:
            if walk.complete:
                last = replace(last, sync_id=event.sync_id, listed_at=iso(now), total=len(seen))
            marks = tuple(warning.mark for warning in warnings if warning.mark)
            last = replace(last, not_ready_since=since, first_rows={}, marks=marks)
        return Found(listing=listing, known=known, last=last if whole_library else None)

    def _listing(
        self,
        media: Sequence[ListedMedium],
        records: Mapping[str, MediumRecord],
        rows: Mapping[str, Row],
        since: Mapping[str, str],
        warnings: Sequence[Warned],
        last: LastListing,
        lane: "Lane",
    ) -> FrozenListing:
        """Return the listing as far as it is about these media."""
        admission = admit(
            media,
            records,
            rows=rows,
            since=since,
            now=self._clock.now(),
            max_media=self._settings.max_media_per_sync,
            max_bytes=self._settings.max_gigabytes_per_sync * 1e9,
            max_looks=self._settings.looks_per_sync,
            newest_first=self._settings.order == "newest"
            or (self._settings.order == "auto" and lane.session_can_end_at_any_time()),
        )
        known = [warning for warning in warnings if warning.mark in last.marks]
        return FrozenListing(
            media=admission.admitted,
            listed=len(media),
            stored=admission.stored,
            pending=admission.pending,
            deferred=admission.deferred,
            warnings=tuple(warning.text for warning in warnings if warning not in known),
            known_warnings=tuple(warning.text for warning in known),
            not_ready=admission.not_ready,
            look_again=admission.look_again,
        )

    def _rows_to_compare(
        self,
        media: Sequence[ListedMedium],
        records: Mapping[str, MediumRecord],
        last: LastListing,
        *,
        keep: bool = True,
    ) -> Mapping[str, Row]:
        """Return the rows that no record has, and keep them if they are new. Most nights need none, and read none."""
        if not last.first_rows and all(record.row or not record.was_stored for record in records.values()):
            return {}
        kept = self._listings.first_rows()
        before = last.first_rows if kept is None else kept
        rows = first_rows(media, records, before)
        if keep and rows != kept:
            self._listings.keep_first_rows(rows)
        return rows

    def _account_total(self, lane: "Lane") -> int | None:
        """Return the account's own count of media; None if unknown, since only a warning depends on it."""
        try:
            return whole_number(lane.user().get("total_count"))
        except (TransientError, PermanentError) as error:
            logger.warning("account_total_unknown", why=str(error))
            return None


def _without(times: Mapping[str, str], media_ids: Collection[str]) -> Mapping[str, str]:
    return {media_id: time for media_id, time in times.items() if media_id not in media_ids}
