"""What the lister does: lists the library, freezes the media that the sync takes on, and then publishes them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger

from services.lister.listing import FrozenListing
from services.lister.survey import Found, Survey
from services.lister.walk import Walk
from services.shared.clock import Clock
from services.shared.errors import PermanentError, reason_of
from services.shared.events import (
    Event,
    Filters,
    LibraryListed,
    LibraryListingFailed,
    LibraryListingPaused,
    MediaDiscovered,
    SessionAuthenticated,
)
from services.shared.gopro.client import PAGE_SIZE, READY, Order, Page
from services.shared.inbox.heartbeat import MAX_HOPS, MAX_IDLE_SLICES, Budget, Heartbeat, SliceOver
from services.shared.inbox.reaction import Reaction

if TYPE_CHECKING:
    from services.lister.listings_bucket import ListingsBucket
    from services.lister.settings import Settings
    from services.shared.bus import Bus
    from services.shared.cancellations import Cancellations
    from services.shared.gopro.patient import Lane, PatientClient
    from services.shared.inbox.message import Message
    from services.shared.library.records import LibraryReader

logger = Logger(child=True)

_PUBLISHED_AT_ONCE = 500
NOT_READY_NAMED = 50  # media that are not ready, in LibraryListed

Begun = SessionAuthenticated | LibraryListingPaused


class ListingStuck(PermanentError):
    """The listing does not come to an end."""


class Lister:
    """Lists the library in slices, each a reaction to one event."""

    def __init__(
        self,
        *,
        gopro: "PatientClient",
        listings: "ListingsBucket",
        library: "LibraryReader",
        cancelled: "Cancellations",
        bus: "Bus",
        settings: "Settings",
        clock: Clock,
    ) -> None:
        self._gopro = gopro
        self._listings = listings
        self._survey = Survey(listings=listings, library=library, settings=settings, clock=clock)
        self._cancelled = cancelled
        self._bus = bus
        self._settings = settings
        self._clock = clock

    def list_library(self, event: Begun, message: "Message") -> Sequence[Event]:
        """List the library, and publish the frozen listing. Pauses when the slice ends first.

        If the sync has a frozen listing already, publishes it again. For a cancelled sync, lists and freezes nothing,
        but still publishes a frozen listing: part of it may be published already, and the sync can only be closed once
        all of it is counted. Raises `ListingStuck` when the listing does not come to an end, and GoPro's errors.
        """
        with Heartbeat(message, self._clock) as heartbeat:
            budget = Budget(message.remaining_seconds, heartbeat, self._clock)
            frozen = self._listings.frozen(event.sync_id)
            if frozen is None:
                if self._cancelled.include(event.sync_id):
                    return self._not_begun()
                lane = self._gopro.for_message(event, message, budget)
                found = None
                if isinstance(event, SessionAuthenticated):
                    found = self._survey.of_newest(event, lane, budget, page_size=PAGE_SIZE)
                if found is None:
                    walk = self._begin_or_resume(event)
                    self._walk(walk, event.filters, lane, budget)
                    budget.check()
                    if not walk.finished:
                        return [self._pause(walk, event)]
                    found = self._survey.of_all(walk, event, lane)
                if self._cancelled.include(event.sync_id):
                    return self._not_begun()
                frozen = self._freeze(found, event)
            else:
                logger.info("frozen_listing_found")
            return self._publish(frozen, event, budget)

    def _not_begun(self) -> Sequence[Event]:
        logger.info("cancelled_sync_not_listed")
        return []

    def not_listed(self, event: Begun, _message: "Message", error: Exception) -> Sequence[Event]:
        """Report that this sync has no listing."""
        return [LibraryListingFailed(sync_id=event.sync_id, hops=event.hops, reason=reason_of(error))]

    def _begin_or_resume(self, event: Begun) -> Walk:
        walk = self._listings.walk(event.seen_key) if isinstance(event, LibraryListingPaused) else None
        if walk is None:
            if event.hops:
                logger.warning("walk_missing", hops=event.hops)
            return Walk(page_size=PAGE_SIZE)
        walk.fresh = 0
        return walk

    def _walk(self, walk: Walk, filters: Filters, lane: "Lane", budget: Budget) -> None:
        """Walk until the end of the library or of this slice."""

        def fetch(page: int, size: int, order: Order) -> Page:
            return lane.search(page=page, filters=filters, page_size=size, order=order)

        with suppress(SliceOver):
            for _ in range(self._settings.pages_per_slice):
                if walk.finished or not budget.has_time():
                    return
                walk.step(fetch, budget.sleep)

    def _pause(self, walk: Walk, event: Begun) -> LibraryListingPaused:
        walk.idle_slices = 0 if walk.fresh else walk.idle_slices + 1
        if walk.idle_slices >= MAX_IDLE_SLICES:
            raise ListingStuck(f"the listing saw no new medium in {MAX_IDLE_SLICES} slices in a row")
        if event.hops >= MAX_HOPS:
            raise ListingStuck(f"the listing had not finished after {MAX_HOPS} pauses")
        hops = event.hops + 1
        logger.info("listing_paused", hops=hops, seen=len(walk.sightings), next_page=walk.page, walk=walk.number)
        return LibraryListingPaused(
            sync_id=event.sync_id,
            hops=hops,
            seen_key=self._listings.keep_walk(event.sync_id, hops, walk),
            next_page=walk.page,
            session_version=event.session_version,
            requested_at=event.requested_at,
            provider=event.provider,
            filters=event.filters,
        )

    def _freeze(self, found: Found, event: Begun) -> FrozenListing:
        """Freeze a listing. If another worker was first, return that worker's listing.

        What is known of the library is written first. If this worker ends in between, the next one finds there all that
        nobody has stored yet, and takes it on.
        """
        if found.known:
            self._listings.keep_known(found.known)
        frozen, is_ours = self._listings.freeze(event.sync_id, found.listing)
        if is_ours and found.last:
            self._listings.keep_last(found.last)
        return frozen

    def _publish(self, frozen: FrozenListing, event: Begun, budget: Budget) -> Sequence[Event]:
        """Publish the media, and return the LibraryListed.

        Every worker publishes the same. It does so in portions, so that a fenced worker stops early.
        """
        discovered = [*_discovered(frozen, event.sync_id)]
        for start in range(0, len(discovered), _PUBLISHED_AT_ONCE):
            budget.check()
            self._bus.publish(discovered[start : start + _PUBLISHED_AT_ONCE], cause=event)
        budget.check()
        for warning in (*frozen.warnings, *frozen.known_warnings):
            logger.warning("listing_warning", warning=warning)
        return [
            LibraryListed(
                sync_id=event.sync_id,
                hops=event.hops,
                listed=frozen.listed,
                stored=frozen.stored,
                discovered=len(discovered),
                pending=frozen.pending,
                deferred=frozen.deferred,
                looked_again=len(frozen.look_again),
                not_ready=frozen.not_ready[:NOT_READY_NAMED],
                unreadable=frozen.unreadable,
                unseen=frozen.unseen,
                warnings=frozen.warnings,
                known_warnings=frozen.known_warnings,
                filters=event.filters,
                library_media=frozen.library_media,
                walk=frozen.walk,
                full_walk_at=frozen.full_walk_at,
            )
        ]


def _discovered(frozen: FrozenListing, sync_id: str) -> Iterator[MediaDiscovered]:
    since = {medium.media_id: medium.since for medium in frozen.not_ready}
    look_again = set(frozen.look_again)
    for medium in frozen.media:
        yield MediaDiscovered(
            sync_id=sync_id,
            media_id=medium.media_id,
            type=medium.type,
            filename=medium.filename,
            captured_at=medium.captured_at,
            size=medium.size,
            item_count=medium.item_count or 0,
            camera=medium.camera,
            reprocessed_at=medium.reprocessed_at,
            labels=tuple(medium.labels.split(",")) if medium.labels else (),
            look_again=medium.media_id in look_again,
            state="" if medium.state == READY else medium.state,
            state_since=since.get(medium.media_id, ""),
        )


LIST = Reaction(do=Lister.list_library, on_end=Lister.not_listed)

REACTIONS: Mapping[type[Event], Reaction] = {SessionAuthenticated: LIST, LibraryListingPaused: LIST}
