"""What is known of a sync and of each of its media. The syncs table keeps just these."""

from dataclasses import dataclass
from typing import Any, Literal

MediumState = Literal["DISCOVERED", "FAILED", "DOWNLOADED"]
ClosedBecause = Literal["complete", "deadline", "stalled", "auth_failed", "listing_failed"]


@dataclass(frozen=True, kw_only=True)
class Medium:
    """What became of one medium in one sync."""

    media_id: str
    state: MediumState
    listed: bool = False  # whether its MediaDiscovered was seen: only then are the next three known
    filename: str = ""
    size: int | None = None  # bytes, as GoPro lists it
    item_count: int = 1
    epoch: int = 0  # of the lease under which it came to its state
    bytes: int = 0  # of all its files
    seconds: float = 0.0
    already_stored: bool = False  # another sync had stored it
    reason: str = ""  # why it failed
    late: int | None = None  # the sync's version by which its state was reached, if that was after the close


@dataclass(frozen=True, kw_only=True)
class Announcement:
    """What the world is to be told of a sync: number 0 is its close, 1, 2, … are amendments.

    Frozen before the first word of it goes out, so that a repetition says the same.
    """

    number: int = 0
    event_sent: bool = False
    notified: bool = False
    claimed_until: int = 0  # unix seconds: until then one sender has it in hand
    recovered: tuple[str, ...] = ()  # media ids, the first 100
    recovered_total: int = 0
    failed: tuple[str, ...] = ()  # media ids, the first 100
    failed_total: int = 0


@dataclass(frozen=True, kw_only=True)
class Quiet:
    """What a review saw in which nothing moved."""

    version: int  # of the sync, after noting this
    reviewed_at: str  # when that review was due; UTC, ISO 8601


@dataclass(frozen=True, kw_only=True)
class Sync:
    """A sync as far as its facts are known. The counts are of media, and a function of the set of its facts."""

    sync_id: str
    version: int = 0  # rises with every change, so that a write can tell whether what it rests on still holds
    state: Literal["OPEN", "CLOSED"] = "OPEN"
    requested_at: str = ""  # UTC, ISO 8601
    trigger: str = ""  # empty until the SyncRequested was seen
    # From LibraryListed. `expected`: the media handed on in this sync; None until then.
    expected: int | None = None
    listed: int = 0
    stored: int = 0
    pending: int = 0
    deferred: int = 0
    warnings: tuple[str, ...] = ()
    discovered: int = 0  # media heard of, by any fact
    downloaded: int = 0
    already_stored: int = 0  # of the downloaded
    failed: int = 0
    bytes: int = 0  # that this sync stored
    session_problem: str = ""  # why there was no session
    session_remedy: str = ""
    session_version: int = 0
    listing_problem: str = ""  # why the library could not be listed
    quiet: Quiet | None = None
    closed_because: ClosedBecause | None = None
    outcome: str | None = None
    summary: dict[str, Any] | None = None  # of the closing event, and never changed
    announcement: Announcement | None = None
    late: int = 0  # the version by which the latest result came in after the close
    amended: int = 0  # the version up to which late results have been told
    unsettled: bool = True  # whether the review has to look at it

    @property
    def is_open(self) -> bool:
        return self.state == "OPEN"

    @property
    def settled_media(self) -> int:
        return self.downloaded + self.failed

    @property
    def is_told(self) -> bool:
        """Whether everything announced so far has gone out."""
        return self.announcement is not None and self.announcement.notified

    @property
    def has_more_to_tell(self) -> bool:
        """Whether results came in after the close that no amendment holds yet."""
        return self.late > self.amended
