"""The contract between the services: every event that crosses the bus, and how one is written and read.

On the wire (`detail-type` is the class name, `source` is `cloud-sync.<publisher>`):

    {"metadata": {"event_id", "version", "sync_id", "causation_id", "occurred_at", "hops"},
     "data": {…the class's fields…}}

Readers are tolerant: fields they don't know are ignored. A field that is missing or of another type raises
`MalformedEvent`, which names it and never says what was in it. Adding a field with a default keeps the version.
"""

import json
import re
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, tzinfo
from typing import Any, ClassVar, Literal, TypeVar

import msgspec

SOURCE_PREFIX = "cloud-sync."
VERSION = 1

_NAMESPACE = uuid.UUID("6f1c1a3e-6b0e-5d4c-9f55-0d6c5a2f4e11")
_ENVELOPE_FIELDS = ("sync_id", "hops", "causation_id", "occurred_at")
# A sync's name becomes part of object keys and table keys, so it has to be plain.
SYNC_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_QUOTED = re.compile("Invalid enum value .*(?= - at )", re.DOTALL)  # msgspec's one text that quotes what it was given
_SYNC_ID_RULE = "`sync_id`: 1 to 100 letters, digits, '.', '_' or '-', not beginning with a mark"


class MalformedEvent(ValueError):
    """What arrived is not an event of this contract; the text names the field that is wrong, and holds no values."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened. The fields that all events have travel as the envelope's metadata."""

    sync_id: str  # the run of the whole system that it belongs to
    hops: int = 0  # how often the work that this event belongs to has paused
    causation_id: str = ""  # the event_id of the event reacted to; filled in when published
    occurred_at: str = ""  # UTC, ISO 8601; filled in when published

    publishers: ClassVar[tuple[str, ...]] = ()
    identity: ClassVar[tuple[str, ...]] = ()  # the fields that, within a sync, tell two events of one type apart

    @property
    def event_id(self) -> str:
        """The same for every repetition of the same fact, since it is derived from what happened."""
        # As JSON, since no two lists have the same: a mark between the parts could be within one as well.
        occurrence = [getattr(self, name) for name in self.identity]
        return str(uuid.uuid5(_NAMESPACE, json.dumps([self.sync_id, type(self).__name__, *occurrence])))


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Narrows a sync to a part of the library. Empty: all of it."""

    types: tuple[str, ...] = ()  # GoPro's media types, such as "Video"
    captured_from: str | None = None  # UTC, ISO 8601, inclusive
    captured_until: str | None = None  # UTC, ISO 8601, exclusive


@dataclass(frozen=True, kw_only=True)
class SyncRequested(Event):
    """A sync is wanted. The one event that people write by hand: everything has a default."""

    publishers = ("schedule", "operator")

    provider: str = "gopro"  # there is no other
    trigger: str = "manual"  # "scheduled" where the schedule asked
    scheduled_time: str | None = None  # UTC, ISO 8601: when the schedule was due
    filters: Filters = field(default_factory=Filters)  # the part of the library that is wanted
    refused: str = ""  # why the request can't be met; never on the wire, found while reading it


@dataclass(frozen=True, kw_only=True)
class SessionAuthenticated(Event):
    """There is a session with GoPro that this sync can use. The token itself is in the session secret."""

    publishers = ("authenticator",)
    identity = ("session_version",)

    session_version: int  # as in the session secret; rises with every new session
    requested_at: str  # UTC, ISO 8601: when the sync was requested
    provider: str = "gopro"  # there is no other
    filters: Filters = field(default_factory=Filters)  # as they were requested
    expires_at: str | None = None  # UTC, ISO 8601; None when it can't be known (a pasted token)


@dataclass(frozen=True, kw_only=True)
class AuthenticationFailed(Event):
    """No session can be had. `remedy` says what the operator has to do."""

    publishers = ("authenticator",)
    identity = ("session_version",)

    reason: str  # in words for the operator
    remedy: str  # what to do about it
    session_version: int = 0  # of the session that could not be replaced; 0 when the sync got none to begin with


@dataclass(frozen=True, kw_only=True)
class SessionRejected(Event):
    """GoPro refused (or is about to refuse) the session of this version."""

    publishers = ("lister", "downloader")
    identity = ("session_version",)

    session_version: int  # of the session that is to be replaced


@dataclass(frozen=True, kw_only=True)
class MediumEvent(Event):
    """What the downloader has to know of a medium, as GoPro listed it."""

    media_id: str  # GoPro's, opaque
    type: str = ""  # GoPro's media type, such as "Video"
    filename: str = ""  # as listed: may be empty, and is seldom unique
    captured_at: str | None = None  # UTC, ISO 8601
    size: int | None = None  # bytes over all items as listed; the CDN's length is the truth
    item_count: int = 1  # files that it consists of, such as chapters or the photos of a burst
    camera: str = ""  # its model


@dataclass(frozen=True, kw_only=True)
class MediaDiscovered(MediumEvent):
    """A medium is in the GoPro library and not, or not wholly, in the bucket."""

    publishers = ("lister",)
    identity = ("media_id",)


@dataclass(frozen=True, kw_only=True)
class MediaDownloadPaused(MediumEvent):
    """A download ran out of its slice of time, or waits for another worker; it goes on from the library table."""

    publishers = ("downloader",)
    identity = ("media_id", "hops")

    item: int = 1  # the item to go on with
    parts_done: int = 0  # parts stored of all items so far
    idle_slices: int = 0  # slices in a row that stored no new part


@dataclass(frozen=True, kw_only=True)
class LibraryListingPaused(Event):
    """A listing ran out of its slice of time; what was seen lies in the bucket."""

    publishers = ("lister",)
    identity = ("hops",)

    seen_key: str  # the object that holds the media seen so far
    next_page: int  # of GoPro's search, from 1
    session_version: int  # of the session that the listing began with
    requested_at: str  # UTC, ISO 8601: when the sync was requested
    provider: str = "gopro"  # there is no other
    filters: Filters = field(default_factory=Filters)  # as they were requested


@dataclass(frozen=True, kw_only=True)
class LibraryListed(Event):
    """The whole library has been seen, and this many of its media were handed on as MediaDiscovered."""

    publishers = ("lister",)

    listed: int  # media in the library (as filtered)
    stored: int  # of these, already in the bucket
    discovered: int  # handed on in this sync
    pending: int  # not ready at GoPro yet
    deferred: int  # left for a later sync
    warnings: tuple[str, ...] = ()  # what is odd about the listing, or could not be proven


@dataclass(frozen=True, kw_only=True)
class LibraryListingFailed(Event):
    """The library could not be listed."""

    publishers = ("lister",)

    reason: str  # in words for the operator


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """One original in the media bucket."""

    key: str  # in the media bucket
    size: int  # bytes
    checksum: str  # CRC64NVME of the whole object, base64
    proof: str  # "origin-etag" or "length": what the match with the origin rests on


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
    seconds: float = 0.0  # spent by this sync on it
    already_stored: bool = False  # another sync had stored it


@dataclass(frozen=True, kw_only=True)
class MediaDownloadFailed(Event):
    """A medium could not be stored in this sync. Terminal: retries are over, or would not help."""

    publishers = ("downloader",)
    identity = ("media_id", "epoch")

    media_id: str  # GoPro's, opaque
    reason: str  # in words for the operator
    epoch: int = 0  # of the lease under which it failed
    attempts: int = 0  # how often its message was received


@dataclass(frozen=True, kw_only=True)
class SyncReviewDue(Event):
    """Time to look after the syncs that are not settled. It is of no sync, and has nothing to say but when it came."""

    publishers = ("schedule",)
    identity = ("occurred_at",)

    sync_id: str = ""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A medium that a sync could not store."""

    media_id: str
    filename: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Summary(Event):
    """What a sync came to, as it stood when it closed. Counts are of media."""

    publishers = ("summarizer",)

    summary_id: str  # the same when the summary is told again
    outcome: Literal["completed", "partial", "failed"]  # partial: media failed, or are outstanding
    # what ended the sync: all is settled, its time is over, nothing moves any more, no session, no listing
    closed_because: Literal["complete", "deadline", "stalled", "auth_failed", "listing_failed"]
    trigger: str  # "manual" or "scheduled"
    requested_at: str  # UTC, ISO 8601
    closed_at: str  # UTC, ISO 8601
    listed: int = 0  # in the library, as filtered
    stored: int = 0  # already in the bucket when the library was listed
    discovered: int = 0  # taken on by this sync
    downloaded: int = 0  # of these, now in the bucket
    already_stored: int = 0  # of the downloaded, those that another sync had stored meanwhile
    failed: int = 0  # of these, given up
    outstanding: int = 0  # neither stored nor failed when the sync closed
    pending: int = 0  # not ready at GoPro yet
    deferred: int = 0  # left for a later sync
    bytes: int = 0  # of the downloaded
    failures: tuple[Failure, ...] = ()  # the first 100
    failures_total: int = 0  # all of them
    warnings: tuple[str, ...] = ()  # about the listing
    reason: str = ""  # what kept the sync as a whole from doing its work
    remedy: str = ""  # what to do about it


@dataclass(frozen=True, kw_only=True)
class SyncCompleted(Summary):
    """The sync is over; a partial failure is this event with failures in it."""


@dataclass(frozen=True, kw_only=True)
class SyncFailed(Summary):
    """The sync could not do its work: no session, or no listing."""


@dataclass(frozen=True, kw_only=True)
class SyncAmended(Event):
    """After a sync had closed, results of its media came in. The closed summary stays as it is."""

    publishers = ("summarizer",)
    identity = ("number",)

    summary_id: str  # of the summary that it adds to
    number: int  # 1, 2, … within the sync
    recovered: tuple[str, ...] = ()  # media that are in the bucket after all: their ids, the first 100
    recovered_total: int = 0  # all of them
    failed: tuple[str, ...] = ()  # media that were outstanding and then failed: their ids, the first 100
    failed_total: int = 0  # all of them


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
        SyncReviewDue,
        SyncCompleted,
        SyncFailed,
        SyncAmended,
    )
}

_E = TypeVar("_E", bound=Event)


def detail(event: Event) -> dict[str, Any]:
    """The `detail` of an event as it goes on the bus: {"metadata": {…}, "data": {…}}."""
    data = msgspec.to_builtins(event)
    metadata = {name: data.pop(name) for name in _ENVELOPE_FIELDS}
    data.pop("refused", None)
    return {"metadata": {"event_id": event.event_id, "version": VERSION, **metadata}, "data": data}


def read_event(body: str, *, schedule_zone: tzinfo = UTC) -> Event:
    """The event in the body of an SQS message that EventBridge sent.

    `schedule_zone` is the zone of the schedule: a scheduled sync is named by its date there.
    Raises `MalformedEvent` when the body is not an event of this contract. A `SyncRequested` that says something
    wrong is returned all the same, `refused`, under its own event's id: there is somebody to be told.
    """
    envelope = _json_object(body)
    name = envelope.get("detail-type")
    event_type = EVENT_TYPES.get(name) if isinstance(name, str) else None
    if event_type is None:
        raise MalformedEvent("not an EventBridge event of a known `detail-type`")
    if event_type is SyncReviewDue:
        return SyncReviewDue(occurred_at=_text(envelope.get("time")))
    content = envelope.get("detail")
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise MalformedEvent(f"{name}: its `detail` is not an object")
    if event_type is SyncRequested:
        return _read_sync_requested(envelope, content, schedule_zone)
    return _read(event_type, content)


def is_replay(body: str) -> bool:
    """Whether EventBridge sent this from an archive (it adds `replay-name`)."""
    try:
        return "replay-name" in _json_object(body)
    except MalformedEvent:
        return False


def _json_object(body: str) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedEvent(f"not JSON: {error}") from error
    if not isinstance(content, dict):
        raise MalformedEvent("not a JSON object")
    return content


def _read(event_type: type[Event], content: dict[str, Any]) -> Event:
    name = event_type.__name__
    metadata, data = content.get("metadata"), content.get("data")
    if not isinstance(metadata, dict) or not isinstance(data, dict):
        raise MalformedEvent(f"{name} without the objects `metadata` and `data`")
    if metadata.get("version") != VERSION:
        raise MalformedEvent(f"{name}: its `version` is not {VERSION}, the one that this code reads")
    event = _convert(event_type, _values(data, metadata))
    if not SYNC_ID.fullmatch(event.sync_id):
        raise MalformedEvent(f"{name}: {_SYNC_ID_RULE}")
    return event


def _values(data: dict[str, Any], metadata: dict[str, Any]) -> dict[str, Any]:
    """The fields of an event, those of the envelope from nowhere but there."""
    own = {name: value for name, value in data.items() if name not in _ENVELOPE_FIELDS}
    return own | {name: metadata[name] for name in _ENVELOPE_FIELDS if name in metadata}


def _read_sync_requested(envelope: dict[str, Any], content: dict[str, Any], zone: tzinfo) -> SyncRequested:
    """People write this one, so what is missing is filled in, and what is wrong is kept to be told to them."""
    own_id, sent_at = _text(envelope.get("id")), _text(envelope.get("time"))
    try:
        return _requested(content, own_id, sent_at, zone)
    except MalformedEvent as error:
        if not SYNC_ID.fullmatch(own_id):
            raise
        return SyncRequested(sync_id=own_id, occurred_at=sent_at, refused=str(error))


def _requested(content: dict[str, Any], own_id: str, sent_at: str, zone: tzinfo) -> SyncRequested:
    data, metadata = content.get("data", content), content.get("metadata", {})
    if not isinstance(data, dict) or not isinstance(metadata, dict):
        raise MalformedEvent("SyncRequested: its `metadata` or `data` is not an object")
    if metadata.get("version", VERSION) != VERSION:
        raise MalformedEvent(f"SyncRequested: its `version` is not {VERSION}, the one that this code reads")
    wanted = {name: value for name, value in data.items() if value is not None and name != "refused"}
    if isinstance(wanted.get("filters"), dict):
        _refuse_unknown_filters(wanted["filters"])
    event = _convert(SyncRequested, {**_values(wanted, metadata), "sync_id": own_id, "occurred_at": sent_at})
    sync_id = wanted.get("sync_id", metadata.get("sync_id"))
    if sync_id in (None, ""):
        sync_id = _scheduled_sync_id(event, zone) or own_id
    if not isinstance(sync_id, str) or not SYNC_ID.fullmatch(sync_id):
        raise MalformedEvent(f"SyncRequested: {_SYNC_ID_RULE}")
    return replace(event, sync_id=sync_id)


def _refuse_unknown_filters(filters: dict[str, Any]) -> None:
    """Without this, a sync meant to be narrow would take everything."""
    known = {known.name for known in fields(Filters)}
    if unknown := sorted(filters.keys() - known):
        raise MalformedEvent(
            f"SyncRequested: unknown filter: {', '.join(unknown)}; there are {', '.join(sorted(known))}"
        )


def _scheduled_sync_id(event: SyncRequested, zone: tzinfo) -> str | None:
    """The schedule and its catch-up fall on one local date, so both name the same sync."""
    if event.scheduled_time is None:
        return None
    with suppress(ValueError, OverflowError):
        due = datetime.fromisoformat(event.scheduled_time)
        if due.tzinfo is None:
            due = due.replace(tzinfo=UTC)  # rather than the zone of whatever machine this is
        return f"scheduled-{due.astimezone(zone).date().isoformat()}"
    raise MalformedEvent("SyncRequested: `scheduled_time` is not a time in ISO 8601")


def _convert(event_type: type[_E], values: dict[str, Any]) -> _E:
    try:
        return msgspec.convert(values, event_type)
    except msgspec.ValidationError as error:
        problem = _QUOTED.sub("Not one of the allowed values", str(error))
    raise MalformedEvent(f"{event_type.__name__}: {problem}")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
