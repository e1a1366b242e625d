"""What is known of a sync and of each of its media: the records of the syncs table."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from services.shared.errors import TransientError
from services.shared.events import ClosedBecause, FailedFile, Filters, NotReadyMedium, Severity, Slice, WalkKind

# Why operators are not notified of an announcement; empty: they are.
Silence = Literal["", "good news", "repeated"]
MediumState = Literal["DISCOVERED", "SKIPPED", "FAILED", "DOWNLOADED"]


@dataclass(frozen=True, kw_only=True)
class Medium:
    """The state of one medium in one sync."""

    media_id: str
    state: MediumState
    listed: bool = False  # whether its MediaDiscovered has arrived; the next six fields come from it
    filename: str = ""
    size: int | None = None  # bytes, as GoPro lists it
    item_count: int = 0  # 0: unknown
    type: str = ""  # GoPro's media type, such as "Video"; empty: unknown
    camera: str = ""  # model; empty: unknown
    captured_at: str = ""  # UTC, ISO 8601; empty: unknown
    epoch: int = 0  # of the lease under which it reached its state
    bytes: int = 0  # of all its files
    seconds: float = 0.0
    already_stored: bool = False  # another sync had stored it
    looked_again: bool = False  # it had been stored before, and was looked at again
    warning: str = ""  # what is suspicious about it
    reason: str = ""  # why it failed; the next six fields are of a failure, too
    files_stored: int = 0
    files_total: int = 0  # also of a stored medium; 0: unknown
    failed_files: tuple[FailedFile, ...] = ()  # the first of them
    known_since: str = ""  # UTC, ISO 8601: a known loss, since when
    dead_letter: bool = False  # its message can be redriven
    remedy: str = ""  # what to do about it
    proven_by_etag: int | None = None  # of its files, by the ETag at the origin; the others by length. None: unknown
    attempts: int = 0  # receives of the message that failed; 0: unknown
    hops: int = 0  # how often its download paused
    slices: tuple[Slice, ...] = ()  # the work on it; empty where no fact tells
    ended_at: str = ""  # UTC, ISO 8601: when its result was reported; empty: unknown
    late: int | None = None  # the sync's version with which it reached its state, if that was after the close


@dataclass(frozen=True, kw_only=True)
class Announcement:
    """The event and the notification that are due: number 0 is the close, 1, 2, … are amendments.

    Its content is frozen before any of it is sent, so that a repetition has the same content.
    """

    number: int = 0
    event_sent: bool = False
    notified: bool = False
    claimed_until: int = 0  # unix seconds: the end of a sender's claim
    recovered: tuple[str, ...] = ()  # media ids, the first 100
    recovered_total: int = 0
    failed: tuple[str, ...] = ()  # media ids, the first 100
    failed_total: int = 0
    silence: Silence = ""
    told_since: str = ""  # UTC, ISO 8601: when operators were first told of the same cause; empty: it is new


@dataclass(frozen=True, kw_only=True)
class Told:
    """What operators were told last, over all syncs."""

    version: int = 0  # rises with every change: a write is conditional on it
    cause: str = ""  # a digest; empty: that all is well, or nothing yet
    severity: Severity = "info"
    media: int = 0  # that the cause kept from being stored
    at: str = ""  # UTC, ISO 8601
    since: str = ""  # UTC, ISO 8601: when they were first told of this cause


@dataclass(frozen=True, kw_only=True)
class Quiet:
    """A review that found nothing moving in a sync."""

    version: int  # of the sync, after this was written
    reviewed_at: str  # when that review was due; UTC, ISO 8601


@dataclass(frozen=True, kw_only=True)
class SessionSeen:
    """What a sync's facts say of one version of the session with GoPro. Times: UTC, ISO 8601; empty: never."""

    version: int
    authenticated_at: str = ""  # when the authenticator gave it to this sync
    expires_at: str = ""  # empty also if unknown
    rejected_at: str = ""  # when a worker first asked for another one, since GoPro refuses it or will soon


@dataclass(frozen=True, kw_only=True)
class Sync:
    """A sync as far as its facts are known. The counts are of media, and depend on the set of its facts alone."""

    sync_id: str
    version: int = 0  # rises with every change: a write is conditional on the version it was decided on
    state: Literal["OPEN", "CLOSED"] = "OPEN"
    requested_at: str = ""  # UTC, ISO 8601
    trigger: str = ""  # empty until the SyncRequested arrives
    # From LibraryListed. `expected`: the number of its MediaDiscovered; None until it arrives.
    expected: int | None = None
    listed: int = 0
    stored: int = 0
    pending: int = 0
    deferred: int = 0
    looked_again: int = 0
    unreadable: int = 0
    unseen: int = 0
    not_ready: tuple[NotReadyMedium, ...] = ()
    warnings: tuple[str, ...] = ()
    known_warnings: tuple[str, ...] = ()
    filters: Filters = field(default_factory=Filters)
    library_media: int | None = None
    walk: WalkKind = "full"
    full_walk_at: str = ""
    listed_at: str = ""  # UTC, ISO 8601: when the listing ended; empty: unknown
    listing_pauses: int = 0
    sessions: tuple[SessionSeen, ...] = ()  # by version, the lowest 20
    discovered: int = 0  # media that any fact has named
    downloaded: int = 0
    already_stored: int = 0  # of the downloaded
    failed: int = 0
    known_losses: int = 0  # of the failed
    skipped: int = 0
    bytes: int = 0  # that this sync stored
    session_problem: str = ""  # why there was no session
    session_remedy: str = ""
    session_version: int = 0
    request_refused: bool = False  # whether that is because the request for the sync was wrong
    listing_problem: str = ""  # why the library could not be listed
    cancel_requested_at: str = ""  # UTC, ISO 8601; the lister and the downloader read it before they begin
    quiet: Quiet | None = None
    late: int = 0  # the version of the latest result after the close
    amended: int = 0  # the version up to which amendments cover late results
    unsettled: bool = True  # whether the review has to look at it

    @property
    def is_open(self) -> bool:
        """Whether the sync has no summary yet."""
        return self.state == "OPEN"

    @property
    def settled_media(self) -> int:
        """The number of media that this sync is done with."""
        return self.downloaded + self.failed + self.skipped

    @property
    def has_late_results(self) -> bool:
        """Whether results arrived after the close that no amendment covers yet."""
        return self.late > self.amended


@dataclass(frozen=True, kw_only=True)
class ClosedSync(Sync):
    """A sync with its summary. It never opens again; late results are tallied, and announced as amendments."""

    state: Literal["OPEN", "CLOSED"] = "CLOSED"
    closed_because: ClosedBecause
    outcome: Literal["completed", "partial", "failed"]
    # The closing event's data, frozen as JSON: a newer version of the code publishes the same content again.
    summary: Mapping[str, Any]
    announcement: Announcement = Announcement()

    @property
    def is_announced(self) -> bool:
        """Whether the latest announcement has gone out."""
        return self.announcement.notified


class Conflict(TransientError):
    """Another writer was first, or the table is busy: nothing was written. Read again, and decide again."""
