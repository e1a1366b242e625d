"""Lists the library, freezes what a sync takes on, and only then tells of it."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from aws_lambda_powertools import Logger

from services.lister.admission import Known, admit
from services.lister.archive import Archive, FrozenListing, LastListing
from services.lister.walk import Walk
from services.shared.bus import Bus, iso, utc_now
from services.shared.errors import PermanentError, TransientError, reason_of
from services.shared.events import (
    Event,
    Filters,
    LibraryListed,
    LibraryListingFailed,
    LibraryListingPaused,
    MediaDiscovered,
    SessionAuthenticated,
    SessionRejected,
)
from services.shared.gopro.client import PAGE_SIZE, GoProClient, Page, SourceGone
from services.shared.gopro.lane import Lane
from services.shared.gopro.media import ListedMedium, UnexpectedAnswer, whole_number
from services.shared.gopro.session import Session
from services.shared.inbox import Fenced, GaveUp, Heartbeat, Message
from services.shared.slices import MAX_HOPS, MAX_IDLE_SLICES, PAUSE_SECONDS, SliceOver, sleep_within

logger = Logger(child=True)

MUCH_SMALLER = 0.5  # a library with less than this part of its former media is reported
_TOLD_AT_ONCE = 500
_LOOKED_UP_AT_ONCE = 1000

Begun = SessionAuthenticated | LibraryListingPaused


class ListingStuck(PermanentError):
    """The listing goes on and on."""


class Listing:
    """A listing in slices, each a reaction to an event."""

    def __init__(
        self,
        *,
        gopro: GoProClient,
        current_session: Callable[[], Session | None],
        records: Callable[[Collection[str]], Mapping[str, Mapping[str, Any]]],
        archive: Archive,
        bus: Bus,
        max_media: int,
        max_bytes: float,
        pages_per_slice: int,
        lane_wait_seconds: float,
        page_size: int = PAGE_SIZE,
        now: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`records` looks media up in the library table, by their ids."""
        self._gopro = gopro
        self._current_session = current_session
        self._records = records
        self._archive = archive
        self._bus = bus
        self._max_media = max_media
        self._max_bytes = max_bytes
        self._pages_per_slice = pages_per_slice
        self._lane_wait = lane_wait_seconds
        self._page_size = page_size
        self._now = now
        self._monotonic = monotonic
        self._sleep = sleep

    def react(self, event: Begun, message: Message) -> Sequence[Event]:
        """Ends with LibraryListed, after a MediaDiscovered for each medium taken on, or with LibraryListingPaused."""
        try:
            with Heartbeat(message) as heartbeat:
                return self._react(event, message, heartbeat)
        except Fenced:
            raise
        except Exception as error:
            if not message.gives_up(error):
                raise
            fact = LibraryListingFailed(sync_id=event.sync_id, reason=reason_of(error))
            raise GaveUp([fact], dead_letter=not isinstance(error, PermanentError)) from error

    def _react(self, event: Begun, message: Message, heartbeat: Heartbeat) -> Sequence[Event]:
        frozen = self._archive.frozen(event.sync_id)
        if frozen is None:
            walk = self._begin(event)
            self._go_on(walk, event, message, heartbeat)
            heartbeat.check()
            if not walk.finished:
                return [self._paused(walk, event)]
            frozen = self._freeze(walk, event)
        else:
            logger.info("The listing is frozen already; it is told again")
        return self._tell(frozen, event, heartbeat)

    def _begin(self, event: Begun) -> Walk:
        walk = self._archive.walk(event.seen_key) if isinstance(event, LibraryListingPaused) else None
        if walk is None:
            if event.hops:
                logger.warning("What was seen before the pause is gone; the listing begins anew")
            walk = Walk(page_size=self._page_size)
        walk.fresh = 0
        return walk

    def _go_on(self, walk: Walk, event: Begun, message: Message, heartbeat: Heartbeat) -> None:
        """Walks until the end, or until this slice is over."""
        sleep = sleep_within(message.remaining_seconds, self._sleep)
        lane = Lane(
            self._gopro,
            current_session=self._current_session,
            reject=lambda version: self._bus.publish(
                [SessionRejected(sync_id=event.sync_id, session_version=version)], cause=event
            ),
            patience_seconds=self._lane_wait,
            now=self._now,
            monotonic=self._monotonic,
            sleep=sleep,
        )

        def fetch(number: int) -> Page:
            try:
                return lane.call(
                    lambda token: self._gopro.search(
                        token, page=number, filters=event.filters, page_size=self._page_size
                    )
                )
            except SourceGone as gone:
                raise UnexpectedAnswer("GoPro has no search any more (404): its API has changed") from gone

        for _ in range(self._pages_per_slice):
            if walk.finished or message.remaining_seconds() < PAUSE_SECONDS:
                return
            heartbeat.check()
            try:
                walk.step(fetch, sleep)
            except SliceOver:
                return

    def _paused(self, walk: Walk, event: Begun) -> LibraryListingPaused:
        walk.idle_slices = 0 if walk.fresh else walk.idle_slices + 1
        if walk.idle_slices >= MAX_IDLE_SLICES:
            raise ListingStuck(f"the listing was given up: {MAX_IDLE_SLICES} slices in a row showed no new medium")
        if event.hops >= MAX_HOPS:
            raise ListingStuck(f"the listing was given up: it had no end after {MAX_HOPS} pauses")
        hops = event.hops + 1
        logger.info("The listing pauses", seen=len(walk.sightings), next_page=walk.page, walk=walk.number)
        return LibraryListingPaused(
            sync_id=event.sync_id,
            hops=hops,
            seen_key=self._archive.keep_walk(event.sync_id, hops, walk),
            next_page=walk.page,
            session_version=event.session_version,
            requested_at=event.requested_at,
            provider=event.provider,
            filters=event.filters,
        )

    def _freeze(self, walk: Walk, event: Begun) -> FrozenListing:
        """Decides what this sync takes on. Of several deciders the first one counts."""
        seen = walk.media()
        media = _of_types(seen, event.filters)
        whole_library = event.filters == Filters()
        warnings = _warnings_of(walk)
        if len(media) < len(seen):
            warnings.append(
                f"GoPro ignored the filter: {len(seen) - len(media)} media of other types were listed and left out."
            )
        if whole_library:
            warnings += self._doubts(walk, len(seen))
        admission = admit(
            media,
            self._known([medium.media_id for medium in media]),
            max_media=self._max_media,
            max_bytes=self._max_bytes,
        )
        frozen, ours = self._archive.freeze(
            event.sync_id,
            FrozenListing(
                media=admission.admitted,
                listed=len(media),
                stored=admission.stored,
                pending=admission.pending,
                deferred=admission.deferred,
                warnings=tuple(warnings),
            ),
        )
        if ours and whole_library and walk.complete:
            self._archive.keep_last(LastListing(sync_id=event.sync_id, listed_at=iso(self._now()), total=len(seen)))
        return frozen

    def _known(self, media_ids: Sequence[str]) -> Mapping[str, Known]:
        """In portions, since records hold much more than what is kept of them here."""
        known: dict[str, Known] = {}
        for start in range(0, len(media_ids), _LOOKED_UP_AT_ONCE):
            records = self._records(media_ids[start : start + _LOOKED_UP_AT_ONCE])
            known.update((media_id, Known.from_record(record)) for media_id, record in records.items())
        return known

    def _doubts(self, walk: Walk, seen: int) -> list[str]:
        """What is odd about a listing of the whole library."""
        doubts: list[str] = []
        counted = self._count_of_account()
        if counted is not None and counted != walk.total:
            doubts.append(f"The account counts {counted:,} media; the listing {walk.total or 0:,}.")
        last = self._archive.last()
        if last and seen < last.total * MUCH_SMALLER:
            how = "empty" if not seen else "much smaller"
            doubts.append(
                f"The library is suddenly {how}: {seen:,} media, after {last.total:,} on {last.listed_at[:10]}. "
                "Nothing was deleted from the bucket."
            )
        return doubts

    def _count_of_account(self) -> int | None:
        """As `GET /media/user` has it. Only good for a warning, so its failures are none of the listing's."""
        session = self._current_session()
        if session is None:
            return None
        try:
            return whole_number(self._gopro.user(session.access_token).get("total_count"))
        except (TransientError, PermanentError) as error:
            logger.warning("The account's own count isn't known", why=str(error))
            return None

    def _tell(self, frozen: FrozenListing, event: Begun, heartbeat: Heartbeat) -> Sequence[Event]:
        """Portion by portion, since a fenced worker has to fall silent; every worker would say the same."""
        for start in range(0, len(frozen.media), _TOLD_AT_ONCE):
            heartbeat.check()
            told = frozen.media[start : start + _TOLD_AT_ONCE]
            self._bus.publish([_discovered(medium, event.sync_id) for medium in told], cause=event)
        heartbeat.check()
        for warning in frozen.warnings:
            logger.warning("About this listing", warning=warning)
        return [
            LibraryListed(
                sync_id=event.sync_id,
                listed=frozen.listed,
                stored=frozen.stored,
                discovered=len(frozen.media),
                pending=frozen.pending,
                deferred=frozen.deferred,
                warnings=frozen.warnings,
            )
        ]


def _of_types(media: Sequence[ListedMedium], filters: Filters) -> Sequence[ListedMedium]:
    """Without those whose type says that GoPro ignored the filter; a row without a type says nothing."""
    if not filters.types:
        return media
    return [medium for medium in media if not medium.type or medium.type in filters.types]


def _warnings_of(walk: Walk) -> list[str]:
    warnings: list[str] = []
    if not walk.complete:
        warnings.append(
            f"The listing could not be proven complete: {len(walk.sightings):,} media were seen, "
            f"GoPro counts {walk.total or 0:,}{', and the library changed meanwhile' if walk.changed else ''}."
        )
    if walk.errors:
        warnings.append(f"GoPro reported {walk.errors:,} errors within its listing.")
    return warnings


def _discovered(medium: ListedMedium, sync_id: str) -> MediaDiscovered:
    return MediaDiscovered(
        sync_id=sync_id,
        media_id=medium.media_id,
        type=medium.type,
        filename=medium.filename,
        captured_at=medium.captured_at,
        size=medium.size,
        item_count=medium.item_count,
        camera=medium.camera,
    )
