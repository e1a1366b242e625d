"""The contract between the services: every event that crosses the bus, one class each.

The class name is the event's `detail-type`; `services.shared.envelope` writes and reads the form on the wire. A field
added with a default keeps the version.
"""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

SOURCE_PREFIX = "cloud-sync."
SCHEDULE = "schedule"
OPERATOR = "operator"  # a person, or the command that they use
_NAMESPACE = uuid.UUID("6f1c1a3e-6b0e-5d4c-9f55-0d6c5a2f4e11")


def source_of(publisher: str) -> str:
    """Return the `source` of every event that this service, the schedule or an operator publishes."""
    return f"{SOURCE_PREFIX}{publisher}"


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened. The fields of this class travel as the envelope's metadata."""

    sync_id: str  # the sync that the event belongs to
    hops: int = 0  # how often the work behind this event has paused
    causation_id: str = ""  # event_id of the event reacted to; filled in when published
    occurred_at: str = ""  # UTC, ISO 8601; filled in when published

    publishers: ClassVar[tuple[str, ...]] = ()  # services, SCHEDULE or OPERATOR
    identity: ClassVar[tuple[str, ...]] = ()  # the fields that tell two events of one type and one sync apart

    @classmethod
    def sources(cls) -> set[str]:
        """Return every `source` that the event may have: those of its publishers, and an operator's."""
        return {source_of(publisher) for publisher in (*cls.publishers, OPERATOR)}

    @property
    def event_id(self) -> str:
        """The id of the fact: every repetition has the same one, since it is derived from what happened."""
        # JSON keeps the parts apart; a separator could occur within a part.
        occurrence = [getattr(self, name) for name in self.identity]
        return str(uuid.uuid5(_NAMESPACE, json.dumps([self.sync_id, type(self).__name__, *occurrence])))


@dataclass(frozen=True, kw_only=True)
class Filters:
    """The part of the library that a sync covers. Empty: all of it."""

    types: tuple[str, ...] = ()  # GoPro's media types, such as "Video"
    captured_from: str | None = None  # UTC, ISO 8601, inclusive
    captured_until: str | None = None  # UTC, ISO 8601, exclusive


@dataclass(frozen=True, kw_only=True)
class SyncRequested(Event):
    """A sync is wanted. People write this event by hand, so every field has a default."""

    publishers = (SCHEDULE, OPERATOR)

    provider: str = "gopro"  # the only one
    trigger: str = "manual"  # "scheduled" when the schedule asked
    scheduled_time: str | None = None  # UTC, ISO 8601: when the schedule was due
    filters: Filters = field(default_factory=Filters)  # the part of the library to sync
    refused: str = ""  # why the request is refused; found while reading, never on the wire


@dataclass(frozen=True, kw_only=True)
class SessionAuthenticated(Event):
    """A session with GoPro is ready for this sync. Its token is in the session secret."""

    publishers = ("authenticator",)
    identity = ("session_version",)

    session_version: int  # as in the session secret; rises with every new session
    requested_at: str  # UTC, ISO 8601: when the sync was requested
    provider: str = "gopro"  # the only one
    filters: Filters = field(default_factory=Filters)  # as requested
    expires_at: str | None = None  # UTC, ISO 8601; None when unknown (a pasted token)


@dataclass(frozen=True, kw_only=True)
class AuthenticationFailed(Event):
    """Cloud Sync could not sign in to GoPro. `remedy` says what the operator has to do."""

    publishers = ("authenticator",)
    identity = ("session_version",)

    reason: str  # for the operator to read
    remedy: str  # what to do about it
    session_version: int = 0  # of the session that could not be replaced; 0 when the sync never had one
    request_refused: bool = False  # the request for the sync has a mistake, and GoPro was never asked


@dataclass(frozen=True, kw_only=True)
class SessionRejected(Event):
    """GoPro refuses, or will soon refuse, the session whose number the event carries."""

    publishers = ("lister", "downloader")
    identity = ("session_version",)

    session_version: int  # of the session to replace


@dataclass(frozen=True, kw_only=True)
class Slice:
    """One worker's uninterrupted work on a medium, which ended with a pause or with all of its files stored."""

    began_at: str  # UTC, ISO 8601: when the worker took the lease
    seconds: float = 0.0  # that it took
    bytes: int = 0  # stored in it
    parts: int = 0  # stored in it, each by one request to S3
    connections: int = 0  # to the CDN, the most at once; 0: unknown
    retries: int = 0  # tries of this slice that had failed before


@dataclass(frozen=True, kw_only=True)
class MediumEvent(Event):
    """A medium as GoPro listed it, with all that the downloader needs."""

    media_id: str  # GoPro's, opaque
    type: str = ""  # GoPro's media type, such as "Video"
    filename: str = ""  # as listed; may be empty, and rarely unique
    captured_at: str | None = None  # UTC, ISO 8601
    size: int | None = None  # bytes of all items as listed; the CDN's length is the truth
    item_count: int = 0  # its files, such as the chapters of a video or the photos of a burst; 0: unknown
    camera: str = ""  # model
    reprocessed_at: str = ""  # UTC, ISO 8601: when GoPro made its files anew; empty: never, or unknown
    labels: tuple[str, ...] = ()  # of the files that GoPro lists for it, renditions included; sorted
    look_again: bool = False  # it was stored before, and its row in the listing has changed since
    state: str = ""  # GoPro's word, such as "failure", where it has not made the medium ready; else empty
    state_since: str = ""  # UTC, ISO 8601: since when it is known to be in such a state


@dataclass(frozen=True, kw_only=True)
class MediaDiscovered(MediumEvent):
    """A medium is in the GoPro library, and all or some of it is missing from the bucket."""

    publishers = ("lister",)
    identity = ("media_id",)


@dataclass(frozen=True, kw_only=True)
class MediaDownloadPaused(MediumEvent):
    """A download ran out of time, or waits for another worker; it resumes from the library table."""

    publishers = ("downloader",)
    identity = ("media_id", "hops")

    item: int = 1  # the item to resume with
    parts_done: int = 0  # parts stored so far, of all items
    idle_slices: int = 0  # slices in a row that stored no new part
    slices: tuple[Slice, ...] = ()  # this sync's work so far; the last 20


@dataclass(frozen=True, kw_only=True)
class LibraryListingPaused(Event):
    """A listing ran out of time; what it has seen is in the bucket."""

    publishers = ("lister",)
    identity = ("hops",)

    seen_key: str  # the object that holds the media seen so far
    next_page: int  # of GoPro's search, from 1
    session_version: int  # of the session that the listing began with
    requested_at: str  # UTC, ISO 8601: when the sync was requested
    provider: str = "gopro"  # the only one
    filters: Filters = field(default_factory=Filters)  # as requested


@dataclass(frozen=True, kw_only=True)
class NotReadyMedium:
    """A medium that GoPro could not make ready, or has not for more than three days."""

    media_id: str
    filename: str
    state: str  # GoPro's word, such as "failure" or "transcoding"
    since: str  # UTC, ISO 8601


# full: every page of the library was read. newest: only the first pages, since GoPro's count says that nothing else is
# new; changes of older media wait for the next full walk.
WalkKind = Literal["full", "newest"]


@dataclass(frozen=True, kw_only=True)
class LibraryListed(Event):
    """The library was listed, and a MediaDiscovered was published for each medium taken on."""

    publishers = ("lister",)

    listed: int  # media in the library (as filtered)
    stored: int  # of these, already in the bucket
    discovered: int  # taken on by this sync
    pending: int  # not ready at GoPro yet
    deferred: int  # left for a later sync
    looked_again: int = 0  # of the discovered: stored, but their row in the listing has changed since
    unreadable: int = 0  # rows of the listing that could not be read
    unseen: int = 0  # media that GoPro counts, and that no page showed
    not_ready: tuple[NotReadyMedium, ...] = ()  # failed at GoPro, or not ready for more than three days; the first 50
    warnings: tuple[str, ...] = ()  # what is odd about the listing, or could not be proven
    known_warnings: tuple[str, ...] = ()  # the same, as the last listing had it too
    filters: Filters = field(default_factory=Filters)  # as requested
    library_media: int | None = None  # media in the library without the filters, as far as known
    walk: WalkKind = "full"  # newest: only the newest media were read, and those that were not stored yet
    full_walk_at: str = ""  # UTC, ISO 8601: when the last full walk was over; empty: none was proven complete


@dataclass(frozen=True, kw_only=True)
class LibraryListingFailed(Event):
    """The library could not be listed."""

    publishers = ("lister",)

    reason: str  # for the operator to read


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """An original in the media bucket."""

    key: str  # in the media bucket
    size: int  # bytes
    checksum: str  # CRC64NVME of the whole object, base64
    proof: str  # "origin-etag" or "length": how the match with the origin is proven


@dataclass(frozen=True, kw_only=True)
class MediaDownloaded(Event):
    """All originals of a medium are in the bucket."""

    publishers = ("downloader",)
    identity = ("media_id", "epoch")

    media_id: str  # GoPro's, opaque
    epoch: int = 0  # of the lease under which it was stored
    files: tuple[StoredFile, ...] = ()  # the first 100
    files_total: int = 0  # all of them
    bytes: int = 0  # of all files
    seconds: float = 0.0  # that this sync spent on it
    already_stored: bool = False  # another sync had stored it
    looked_again: bool = False  # it was stored before, and looked at again; `files` and `bytes` are those added then
    warning: str = ""  # what is suspicious about it, such as fewer bytes than listed
    proven_by_etag: int | None = None  # files whose proof is "origin-etag", of all of them; None: unknown
    slices: tuple[Slice, ...] = ()  # this sync's work on it; the last 20


@dataclass(frozen=True, kw_only=True)
class FailedFile:
    """An original that could not be stored."""

    name: str  # as GoPro gives it, or what is known of it
    reason: str


@dataclass(frozen=True, kw_only=True)
class MediaDownloadFailed(Event):
    """A medium could not be stored in this sync: all tries are used up, or no try can help."""

    publishers = ("downloader",)
    identity = ("media_id", "epoch")

    media_id: str  # GoPro's, opaque
    reason: str  # for the operator to read
    epoch: int = 0  # of the lease under which it failed
    attempts: int = 0  # receives of its message
    files_stored: int = 0  # its originals in the bucket
    files_total: int = 0  # all of them, as far as known; 0: unknown
    failed_files: tuple[FailedFile, ...] = ()  # the first 100
    known_since: str = ""  # UTC, ISO 8601: since when it fails for good with this reason; empty: it is new
    dead_letter: bool = False  # its tries are used up, and its message can be redriven
    remedy: str = ""  # what the operator has to do about it; empty: the next sync tries again
    slices: tuple[Slice, ...] = ()  # this sync's work on it up to its last pause; the last 20


@dataclass(frozen=True, kw_only=True)
class MediaDownloadSkipped(Event):
    """A medium is left for the next sync: this one was cancelled before the medium's download began or resumed."""

    publishers = ("downloader",)
    identity = ("media_id",)

    media_id: str  # GoPro's, opaque


@dataclass(frozen=True, kw_only=True)
class SyncCancelRequested(Event):
    """A sync is to end: it begins nothing more, and what is in hand finishes. Its `sync_id` is all that is needed."""

    publishers = (OPERATOR,)


@dataclass(frozen=True, kw_only=True)
class Due(Event):
    """Something is due. Such an event belongs to no sync, and carries only its time: its `detail` is empty."""

    publishers = (SCHEDULE,)
    identity = ("occurred_at",)

    sync_id: str = ""


@dataclass(frozen=True, kw_only=True)
class SyncReviewDue(Due):
    """It is time to review the unsettled syncs."""


@dataclass(frozen=True, kw_only=True)
class SessionProbeDue(Due):
    """It is time to ask GoPro whether tonight's sync will have a session."""


@dataclass(frozen=True, kw_only=True)
class SessionEnding(Event):
    """The next scheduled sync, which `sync_id` names, will probably have no session with GoPro."""

    publishers = ("authenticator",)
    identity = ("warned_on",)

    warned_on: str  # local date; there is at most one such event a day
    since: str  # UTC, ISO 8601: since when the session is there
    next_sync_at: str  # UTC, ISO 8601: when the schedule requests the next sync
    ends_about: str | None = None  # UTC, ISO 8601, as expected; None: GoPro refuses the session already
    reason: str = ""  # why no session can be had; empty while the session lives


Severity = Literal["info", "warning", "critical"]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A medium that a sync could not store, or not all of it."""

    media_id: str
    filename: str
    reason: str
    files_stored: int = 0  # its originals in the bucket
    files_total: int = 0  # all of them, as far as known; 0: unknown
    known_since: str = ""  # UTC, ISO 8601: a known loss, since when; empty: it is new
    dead_letter: bool = False  # its message can be redriven


@dataclass(frozen=True, kw_only=True)
class FailureReason:
    """Why media of a sync are not stored. Said once, however many they are."""

    reason: str
    media: int  # with this reason
    known: bool = False  # they are known losses
    remedy: str = ""  # what to do about it; empty: the next sync tries again
    dead_letters: int = 0  # of the media: their messages can be redriven


@dataclass(frozen=True, kw_only=True)
class SuspiciousMedium:
    """A medium that is stored, and about which something is suspicious."""

    media_id: str
    filename: str
    warning: str  # such as "smaller than listed: 30,000 of 90,000 bytes"


ClosedBecause = Literal[
    "complete",  # every medium has a result
    "deadline",  # its time is over
    "stalled",  # nothing moves any more
    "cancelled",  # an operator wished it, and what was in hand has ended
    "auth_failed",  # no session
    "request_refused",  # no session, since the request is wrong
    "listing_failed",
]


@dataclass(frozen=True, kw_only=True)
class Summary(Event):
    """The result of a sync when it closed. Counts are of media."""

    publishers = ("summarizer",)

    summary_id: str  # the same when the summary is published again
    # partial: media are outstanding or skipped, or failed and are no known losses
    outcome: Literal["completed", "partial", "failed"]
    closed_because: ClosedBecause  # complete: every medium has a result; stalled: nothing moves any more
    trigger: str  # "manual" or "scheduled"
    requested_at: str  # UTC, ISO 8601
    closed_at: str  # UTC, ISO 8601
    listed: int = 0  # in the library, as filtered
    stored: int = 0  # already in the bucket when the library was listed
    discovered: int = 0  # taken on by this sync
    downloaded: int = 0  # of these, now in the bucket
    already_stored: int = 0  # of the downloaded: stored by another sync meanwhile
    failed: int = 0  # of the discovered: could not be stored
    known_losses: int = 0  # of the failed: for good, and with the same reason as before
    dead_letters: int = 0  # of the failed: their messages can be redriven
    skipped: int = 0  # of the discovered: left for the next sync, since this one was cancelled
    outstanding: int = 0  # without a result when the sync closed
    pending: int = 0  # not ready at GoPro yet
    deferred: int = 0  # left for a later sync
    looked_again: int = 0  # of the discovered: stored before, and changed at GoPro since
    looked_again_downloaded: int = 0  # of the downloaded: the same
    bytes: int = 0  # of the downloaded
    failures: tuple[Failure, ...] = ()  # the first 100; those that failed come first
    failures_total: int = 0  # all of them
    reasons: tuple[FailureReason, ...] = ()  # of the failures; the 20 with most media
    suspicious: tuple[SuspiciousMedium, ...] = ()  # of the downloaded; the first 50
    suspicious_total: int = 0  # all of them
    not_ready: tuple[NotReadyMedium, ...] = ()  # failed at GoPro, or not ready for more than three days; the first 50
    unreadable: int = 0  # rows of the listing that could not be read
    unseen: int = 0  # media that GoPro counts, and that no page of the listing showed
    filters: Filters = field(default_factory=Filters)  # as requested
    library_media: int | None = None  # media in the library without the filters, as far as known
    walk: WalkKind = "full"  # how the library was listed; newest: changes of older media wait for the next full walk
    full_walk_at: str = ""  # UTC, ISO 8601: when the last full walk was over; empty: none was proven complete
    warnings: tuple[str, ...] = ()  # about the listing
    known_warnings: tuple[str, ...] = ()  # about the listing; the last one had them too
    reason: str = ""  # what kept the whole sync from its work
    remedy: str = ""  # what to do about it


@dataclass(frozen=True, kw_only=True)
class SyncCompleted(Summary):
    """The sync is over. After a partial failure, `failures` names the media."""


@dataclass(frozen=True, kw_only=True)
class SyncFailed(Summary):
    """The sync could not do its work: there was no session, or no listing."""


@dataclass(frozen=True, kw_only=True)
class SyncAmended(Event):
    """Results came in after a sync had closed. The closed summary stays as it is."""

    publishers = ("summarizer",)
    identity = ("number",)

    summary_id: str  # of the summary that it adds to
    number: int  # 1, 2, … within the sync
    recovered: tuple[str, ...] = ()  # ids of media that are in the bucket after all; the first 100
    recovered_total: int = 0  # all of them
    failed: tuple[str, ...] = ()  # ids of media that were outstanding and then failed; the first 100
    failed_total: int = 0  # all of them


@dataclass(frozen=True, kw_only=True)
class OperatorsNotified(Event):
    """Operators were sent a notification, by SNS. Rules on the bus hand it to webhooks."""

    publishers = ("summarizer",)
    identity = ("notification_id",)

    notification_id: str  # the same when the notification is sent again
    about: str  # the class name of the event with the same content, such as "SyncCompleted"
    severity: Severity  # critical: nothing works; warning: something did not; info: all is well
    subject: str  # ASCII, one line, fewer than 100 characters
    text: str  # all that has to be known; at most 1,900 bytes
    link: str  # to the sync's page in the AWS console, for those who may sign in there


EVENT_TYPES: Mapping[str, type[Event]] = {
    cls.__name__: cls
    for cls in (
        SyncRequested,
        SessionAuthenticated,
        AuthenticationFailed,
        SessionRejected,
        MediaDiscovered,
        LibraryListingPaused,
        LibraryListed,
        LibraryListingFailed,
        MediaDownloadPaused,
        MediaDownloaded,
        MediaDownloadFailed,
        MediaDownloadSkipped,
        SyncCancelRequested,
        SyncReviewDue,
        SessionProbeDue,
        SessionEnding,
        SyncCompleted,
        SyncFailed,
        SyncAmended,
        OperatorsNotified,
    )
}
SERVICES = tuple(
    dict.fromkeys(
        publisher
        for event in EVENT_TYPES.values()
        for publisher in event.publishers
        if publisher not in (SCHEDULE, OPERATOR)
    )
)
