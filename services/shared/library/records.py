"""The records of the library table, how they lie in it, and reading those of the media.

The table has an item for each medium (item number 0), and one for each of its files (1, 2, …). The downloader writes
them, and an operator with `adopt` and `verify --refetch`. Attributes that a record doesn't know are ignored; those that
an item lacks have the record's default.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, Self

from services.shared.clock import Clock
from services.shared.dynamodb import read_items
from services.shared.events import FailedFile

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

MEDIUM = 0  # the item number of a medium's own record
# Later versions of file 7 have the item numbers 7 + VERSIONS, 7 + 2 * VERSIONS, …: known before anything is stored, so
# that a repeated download finds what it has done. GoPro's own numbers are smaller.
VERSIONS = 10**15
# The key of the one item that is about no medium: what an operator asks of the next sync. No id of GoPro's looks so.
REQUEST = "#request"
FULL_WALK = "full_walk"  # its attribute: the name of the full walk that was asked for last
TIME = "%Y-%m-%dT%H:%M:%SZ"  # of the records' times, all in UTC


class Status(StrEnum):
    """The state of a medium or of a file."""

    DOWNLOADING = "DOWNLOADING"  # a medium that a worker has taken
    UPLOADING = "UPLOADING"  # a file whose upload was begun
    STORED = "STORED"  # in the bucket, whole
    FAILED = "FAILED"  # a medium that a sync gave up; another sync tries it again
    MISSING = "MISSING"  # lost from the bucket, and wanted again by an operator


class Listed(Protocol):
    """A medium as GoPro lists it: a row of the listing, or an event."""

    @property
    def item_count(self) -> int | None: ...
    @property
    def size(self) -> int | None: ...
    @property
    def reprocessed_at(self) -> str: ...
    @property
    def labels(self) -> str | tuple[str, ...]: ...


@dataclass(frozen=True, kw_only=True)
class Row:
    """What a row of GoPro's listing says of a medium's files. It changes when they do."""

    item_count: int | None = None  # None if unknown
    size: int | None = None  # bytes of all files together; None if unknown
    reprocessed_at: str = ""  # UTC, ISO 8601; empty if never, or unknown
    labels: str = ""  # sorted, in a comma list, which takes little memory; empty if unknown

    @classmethod
    def of(cls, medium: Listed) -> Self:
        """Return what is listed for a medium."""
        return cls(
            item_count=medium.item_count or None,
            size=medium.size,
            reprocessed_at=medium.reprocessed_at,
            labels=medium.labels if isinstance(medium.labels, str) else ",".join(medium.labels),
        )

    def known(self) -> dict[str, int | str]:
        """Return the values that GoPro says, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value not in (None, "")}

    def tells_more_than(self, remembered: "Row") -> bool:
        """Return whether anything else is said than was remembered. A value that GoPro no longer says is no news."""
        return any(getattr(remembered, name) != value for name, value in self.known().items())


@dataclass(frozen=True, kw_only=True)
class _Record:
    media_id: str  # GoPro's, opaque
    status: Status | None = None  # None where the item has none, or an unknown one

    @classmethod
    def from_item(cls, item: Mapping[str, Any]) -> Self:
        """Read a record from an item with plain values (`str`, `Decimal`), as a DynamoDB resource's client returns."""
        known = {field.name: _plain(item[field.name]) for field in fields(cls) if field.name in item}
        return cls(**known | {"status": _status(known.get("status"))})

    def to_item(self) -> dict[str, Any]:
        """Return the item to write, without the attributes that are None."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class LaneProgress:
    """How far a worker is with a medium, as it says at most once a second while bytes arrive."""

    at: int = 0  # Unix milliseconds
    bytes: int = 0  # that have arrived from GoPro, in the bucket or not yet
    of_bytes: int = 0  # of all files, as far as known
    parts: int = 0  # in the bucket
    of_parts: int = 0  # of the files that were begun
    files: int = 0  # in the bucket
    of_files: int = 0  # 0 if unknown
    waits_for: str = ""  # SESSION or GOPRO; empty while bytes arrive

    @classmethod
    def from_item(cls, item: Mapping[str, Any]) -> Self:
        """Read it from the attribute of a medium's record. An attribute that is unknown or missing does no harm."""
        return cls(**{field.name: _plain(item[field.name]) for field in fields(cls) if field.name in item})

    def waiting_for(self, what: str) -> Self:
        """Return the same progress of a lane that waits for something, or, with an empty text, for nothing."""
        return replace(self, waits_for=what)


# What a lane may wait for:
SESSION = "session"  # with GoPro
GOPRO = "gopro"  # which is busy, or has an outage


@dataclass(frozen=True, kw_only=True)
class MediumRecord(_Record):
    """A medium. Times are UTC in ISO 8601; None where the event never happened."""

    epoch: int = 0  # how often a worker has taken the medium
    lease_until: int | None = None  # Unix seconds; None while no worker has it
    sync_id: str = ""  # of the sync that took it last
    filename: str = ""  # as GoPro lists it
    captured_at: str = ""  # empty where it isn't known
    tried_at: str | None = None  # when a worker took it last
    # As GoPro listed it when it was stored last. None if unknown.
    item_count: int | None = None
    size: int | None = None  # bytes
    reprocessed_at: str | None = None  # None also if it was stored by 0.1.0, which did not remember the row
    labels: str | None = None  # in a comma list
    files_total: int | None = None  # files when it was stored last, or as far as known when it failed
    bytes_total: int = 0  # of those files
    bytes_done: int = 0  # in the bucket, as of the last heartbeat
    stored_at: str | None = None
    warning: str = ""  # what was suspicious when it was stored last
    failed_at: str | None = None
    reason: str | None = None  # why it failed last, in words for the operator
    # Of a medium that failed:
    files_stored: int | None = None  # files in the bucket
    failed_files: tuple[FailedFile, ...] = ()  # the others, at most 100
    known_since: str | None = None  # since when it fails for good with this reason; None where another try may help
    known_by: str | None = None  # the sync in which that began
    progress: LaneProgress | None = None  # of the worker that has the medium; None until bytes have arrived for a while

    @classmethod
    def from_item(cls, item: Mapping[str, Any]) -> Self:
        """Read a record as `_Record` does, with its failed files and its worker's progress."""
        record = super().from_item(item)
        failed = (FailedFile(name=str(one["name"]), reason=str(one["reason"])) for one in item.get("failed_files", ()))
        progress = LaneProgress.from_item(item["progress"]) if item.get("progress") else None
        return replace(record, failed_files=tuple(failed), progress=progress)

    def to_item(self) -> dict[str, Any]:
        """Return the item to write, without the attributes that are None."""
        nested = {
            "failed_files": [asdict(one) for one in self.failed_files],
            "progress": asdict(self.progress) if self.progress else {},
        }
        plain = {name: value for name, value in super().to_item().items() if name not in nested}
        return {**plain, **{name: value for name, value in nested.items() if value}, "item": MEDIUM}

    @property
    def was_stored(self) -> bool:
        """Whether it is in the bucket, or was, as GoPro listed it then."""
        return self.status == Status.STORED or self.stored_at is not None

    @property
    def row(self) -> Row | None:
        """The row of the listing with which it was stored last; None if nobody remembered it."""
        if self.reprocessed_at is None:
            return None
        return Row(
            item_count=self.item_count,
            size=self.size,
            reprocessed_at=self.reprocessed_at,
            labels=self.labels or "",
        )

    def is_leased(self, now: datetime) -> bool:
        """Return whether a worker is downloading the medium."""
        return self.status == Status.DOWNLOADING and (self.lease_until or 0) > now.timestamp()


@dataclass(frozen=True, kw_only=True)
class FileRecord(_Record):
    """A file of a medium."""

    item: int  # its number within the medium, from 1; see VERSIONS
    origin: str = ""  # names the file within its medium, the same in every manifest: "source/default/2"
    original_name: str = ""  # as GoPro gives it
    key: str = ""  # in the media bucket; never changes once it is chosen
    size: int = 0  # bytes
    origin_etag: str = ""  # the origin's; empty where it sent none
    sync_id: str = ""  # of the sync that stored it; 0.1.0 did not write it
    part_count: int = 1
    # Of an upload that was begun: empty for a file that is uploaded in one request.
    upload_id: str | None = None
    part_size: int | None = None  # bytes
    # Of the stored object:
    etag: str | None = None
    checksum: str | None = None  # CRC64NVME, base64
    proof: str | None = None  # "origin-etag" or "length": what the match with the origin rests on
    # Of a missing file whose key another object has taken:
    former_key: str | None = None


class LibraryReader:
    """The library table as everybody but its owner sees it.

    `client`: of a DynamoDB resource (`resource.meta.client`), which takes and returns plain values.
    """

    def __init__(self, client: "DynamoDBClient", table: str, *, clock: Clock) -> None:
        self._client = client
        self._table = table
        self._clock = clock

    def full_walk_asked(self) -> str:
        """Return which full walk an operator has asked for last; empty if none. Each one has a name of its own.

        The read is consistent. Raises `TransientError` when DynamoDB keeps leaving the key unprocessed.
        """
        found = read_items(self._client, self._table, [{"media_id": REQUEST, "item": MEDIUM}], clock=self._clock)
        return "".join(str(item.get(FULL_WALK, "")) for item in found)

    def media(self, media_ids: Collection[str]) -> dict[str, MediumRecord]:
        """Return the records of these media by media id, without those that the table doesn't have.

        The read is consistent. Raises `TransientError` when DynamoDB keeps leaving keys unprocessed.
        """
        # DynamoDB refuses a request that names a key twice.
        keys = [{"media_id": media_id, "item": MEDIUM} for media_id in dict.fromkeys(media_ids)]
        records = map(MediumRecord.from_item, read_items(self._client, self._table, keys, clock=self._clock))
        return {record.media_id: record for record in records}


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, Decimal) else value


def _status(value: Any) -> Status | None:
    return Status(value) if value in set(Status) else None
