"""The history: one compact record of each closed sync, from which the library's page is made.

    {sync_id: "#history", record: "<requested at>#<sync id>", …}

A record is written in the transaction that closes its sync, and again in each one that changes the closed sync. So it
cannot miss a sync, and repeated or reordered facts leave it as they leave the sync. Its counts are the sync's own. Its
details need every medium of the sync, and are as of the close or the last amendment.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from services.shared.clock import moment_in
from services.shared.events import ClosedBecause, Filters, SessionEnding
from services.summarizer.reasons import NO_RESULT
from services.summarizer.records import ClosedSync, Medium, Sync

HISTORY = "#history"  # the partition of the records; no sync has such an id
KINDS = 20  # the most pairs of camera and type that a record tells apart
MISSING = 50  # the most missing media that a record names
OTHERS = "others"  # the camera and the type of all that a record does not tell apart
NAME_LENGTH = 80
REASON_LENGTH = 160

MissingBecause = Literal["failed", "no result", "skipped", "not ready"]
_ORDER: Sequence[MissingBecause] = ("failed", "no result", "skipped", "not ready")


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What a sync stored of one camera and one type."""

    camera: str  # model; empty: unknown
    type: str  # GoPro's media type, such as "Video"; empty: unknown
    media: int
    bytes: int


@dataclass(frozen=True, kw_only=True)
class MissingMedium:
    """A medium that is in the GoPro library and, after this sync, not or not wholly in the bucket."""

    media_id: str
    filename: str
    because: MissingBecause
    reason: str = ""  # for people to read
    since: str = ""  # UTC, ISO 8601; empty: since this sync, as far as it knows


@dataclass(frozen=True, kw_only=True)
class Details:
    """What a record tells of the media of its sync."""

    kinds: tuple[Kind, ...] = ()  # the largest first
    seconds: float = 0.0  # of all downloads together, the failed ones included
    parts: int = 0  # that they uploaded
    files: int = 0  # that they stored
    missing: tuple[MissingMedium, ...] = ()  # the first of them
    dead_letters: int = 0  # of the failed: their messages can be redriven


@dataclass(frozen=True, kw_only=True)
class PastSync(Details):
    """A closed sync. Counts are of media; times are UTC in ISO 8601."""

    sync_id: str
    requested_at: str
    closed_at: str
    trigger: str  # "manual" or "scheduled"
    outcome: Literal["completed", "partial", "failed"]  # at the close
    closed_because: ClosedBecause
    reason: str = ""  # what kept the whole sync from its work, at the close
    was_listed: bool = False  # whether the end of the listing is known
    filters: Filters = field(default_factory=Filters)
    listed: int = 0
    stored: int = 0  # in the bucket already
    discovered: int = 0  # taken on
    downloaded: int = 0
    already_stored: int = 0  # of the downloaded: by another sync
    failed: int = 0
    known_losses: int = 0  # of the failed
    skipped: int = 0
    outstanding: int = 0
    pending: int = 0
    deferred: int = 0
    bytes: int = 0  # that this sync stored
    amendments: int = 0
    version: int = 0  # of the sync
    imported: bool = False  # made from a sync that had closed before there was a history

    @property
    def new(self) -> int:
        """The media that this sync itself stored."""
        return self.downloaded - self.already_stored

    @property
    def covers_the_library(self) -> bool:
        """Whether the sync listed the whole library, so that it knows everything that is missing."""
        return self.was_listed and self.filters == Filters()

    @property
    def unexpected(self) -> int:
        """The media that the sync took on and that are missing now, without known losses."""
        return self.failed - self.known_losses + self.outstanding + self.skipped

    @property
    def verdict(self) -> Literal["well", "partial", "failed"]:
        """How the sync ended, with the results that came after its close."""
        if self.outcome == "failed":
            return "failed"
        return "partial" if self.unexpected or not self.was_listed else "well"


@dataclass(frozen=True, kw_only=True)
class PageState:
    """What is known of the library's page in the bucket."""

    version: int = 0  # rises with every change: a write is conditional on the version before it
    stale_at: str = ""  # UTC, ISO 8601: when to write it again at the latest; empty: at once
    imported: bool = False  # whether the history has the scheduled syncs that closed before there was one
    warning: SessionEnding | None = None  # the last one about the session


def place(sync: Sync) -> str:
    """Return the sort key of a sync's record, which orders the history by the time of the request."""
    return f"{sync.requested_at}#{sync.sync_id}"


def sync_at(place: str) -> str:
    """Return the id of the sync whose record has this sort key."""
    return place.partition("#")[2]


def past(sync: ClosedSync, details: Details, *, imported: bool = False) -> PastSync:
    """Return the record of a closed sync."""
    taken_on = sync.discovered if sync.expected is None else max(sync.expected, sync.discovered)
    return PastSync(
        **vars(details),
        sync_id=sync.sync_id,
        requested_at=sync.requested_at,
        closed_at=sync.summary["closed_at"],
        trigger=sync.summary["trigger"],
        outcome=sync.outcome,
        closed_because=sync.closed_because,
        reason=sync.summary["reason"][:REASON_LENGTH],
        was_listed=sync.expected is not None,
        filters=sync.filters,
        listed=sync.listed,
        stored=sync.stored,
        discovered=taken_on,
        downloaded=sync.downloaded,
        already_stored=sync.already_stored,
        failed=sync.failed,
        known_losses=sync.known_losses,
        skipped=sync.skipped,
        outstanding=taken_on - sync.settled_media,
        pending=sync.pending,
        deferred=sync.deferred,
        bytes=sync.bytes,
        amendments=sync.announcement.number,
        version=sync.version,
        imported=imported,
    )


def details(sync: Sync, media: Sequence[Medium]) -> Details:
    """Return what a record tells of a sync's media. `media`: all of them."""
    own = [medium for medium in media if medium.state == "DOWNLOADED" and not medium.already_stored]
    missing = [_missing(sync, medium) for medium in media if medium.state != "DOWNLOADED"]
    missing += [
        MissingMedium(
            media_id=medium.media_id,
            filename=medium.filename[:NAME_LENGTH],
            because="not ready",
            reason=f"GoPro says: {medium.state}",
            since=_moment(medium.since),
        )
        for medium in sync.not_ready
    ]
    return Details(
        kinds=_kinds(own),
        seconds=round(sum(_seconds(medium) for medium in media), 3),
        parts=sum(piece.parts for medium in media for piece in medium.slices),
        files=sum(medium.files_total for medium in own),
        missing=tuple(sorted(missing, key=_place)[:MISSING]),
        dead_letters=sum(medium.dead_letter for medium in media),
    )


def _seconds(medium: Medium) -> float:
    return sum(piece.seconds for piece in medium.slices) if medium.slices else medium.seconds


def _kinds(stored: Sequence[Medium]) -> tuple[Kind, ...]:
    """Return the media and bytes by camera and type, the largest first. The smallest are added up as others."""
    counts: Counter[tuple[str, str]] = Counter()
    sizes: Counter[tuple[str, str]] = Counter()
    for medium in stored:
        counts[medium.camera, medium.type] += 1
        sizes[medium.camera, medium.type] += medium.bytes
    ordered = sorted(counts, key=lambda kind: (-sizes[kind], kind))
    told = ordered if len(ordered) <= KINDS else ordered[: KINDS - 1]
    rest = ordered[len(told) :]
    kinds = [
        Kind(camera=camera, type=type_, media=counts[camera, type_], bytes=sizes[camera, type_])
        for camera, type_ in told
    ]
    if rest:
        media, size = sum(counts[kind] for kind in rest), sum(sizes[kind] for kind in rest)
        kinds.append(Kind(camera=OTHERS, type=OTHERS, media=media, bytes=size))
    return tuple(kinds)


def _missing(sync: Sync, medium: Medium) -> MissingMedium:
    because: MissingBecause
    if medium.state == "FAILED":
        because, reason = "failed", medium.reason
    elif medium.state == "SKIPPED":
        because, reason = "skipped", "the sync was cancelled before its turn"
    else:
        because, reason = "no result", sync.session_problem or NO_RESULT
    return MissingMedium(
        media_id=medium.media_id,
        filename=medium.filename[:NAME_LENGTH],
        because=because,
        reason=reason[:REASON_LENGTH],
        since=_moment(medium.known_since),
    )


def _moment(text: str) -> str:
    """Return a time from elsewhere; empty if it is none with a time zone."""
    return text if moment_in(text) else ""


def _place(medium: MissingMedium) -> tuple[bool, int, str, str]:
    """Return what to sort missing media by. Those that are missing for good come last."""
    for_good = medium.because == "failed" and bool(medium.since)
    return for_good, _ORDER.index(medium.because), medium.filename, medium.media_id
