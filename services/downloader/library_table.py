"""The downloader's writes to the library table: taking the lease of a medium, and recording its result.

Taking the lease raises the medium's epoch. Every later write of the worker is conditional on that epoch. So a worker
that lost its lease without noticing can write nothing more.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ClientError

from services.shared.clock import Clock
from services.shared.dynamodb import CONTENDED, error_codes
from services.shared.errors import Fenced, TransientError
from services.shared.events import FailedFile, MediumEvent
from services.shared.library.records import MEDIUM, TIME, FileRecord, LaneProgress, MediumRecord, Row, Status
from services.shared.retry import retry

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# Shorter than the time for which a message is hidden: a killed worker's lease has ended when its message reappears.
LEASE = timedelta(seconds=110)
_REASON_LENGTH = 300
# DynamoDB's error codes: of a single write, and of the reasons for a cancelled transaction.
_CONDITION_FAILED = {"ConditionalCheckFailedException", "ConditionalCheckFailed"}
_TRIES = 5
_FIRST_PAUSE = 0.05  # seconds

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Lease:
    """The lease on a medium. This worker holds it."""

    media_id: str
    epoch: int


@dataclass(frozen=True, kw_only=True)
class Busy:
    """Another worker has the medium."""

    epoch: int
    seconds_left: float  # until its lease ends, unless that is renewed


@dataclass(frozen=True, kw_only=True)
class AlreadyStored:
    """The medium is in the bucket, with at least as many items as GoPro lists now."""

    epoch: int
    sync_id: str  # of the sync that stored it
    warning: str = ""  # what was suspicious when it was stored; empty if nothing


class TableContended(TransientError):
    """A write kept colliding with other writes, or being throttled."""


class _ConditionFailed(Exception):
    """The condition of a write doesn't hold."""


class LibraryTable:
    """The library table.

    `client` is the client of a DynamoDB resource, so that it takes and returns plain values. Every write raises
    `TableContended` when it keeps colliding with others.
    """

    def __init__(self, client: "DynamoDBClient", table: str, *, clock: Clock) -> None:
        self._client = client
        self._table = table
        self._clock = clock
        self._writing = threading.Lock()  # two writes of one worker would collide on the medium's record

    def take(self, medium: MediumEvent) -> Lease | Busy | AlreadyStored:
        """Take the lease of a medium, unless another worker holds it or the medium is already stored.

        A medium counts as stored if it was stored with at least as many items as the event lists. For a look, it must
        also have been stored with the same row.
        """
        now = self._clock.now()
        row = Row.of(medium).known() if medium.look_again else {}
        differs = "".join(f" OR attribute_not_exists(#{name}) OR #{name} <> :{name}" for name in row)

        def write() -> Any:
            return self._client.update_item(
                TableName=self._table,
                Key=_key(medium.media_id),
                UpdateExpression=(
                    "SET #status = :downloading, lease_until = :until, sync_id = :sync, tried_at = :at, "
                    "filename = :name, captured_at = :captured REMOVE #progress ADD epoch :one"
                ),
                ConditionExpression=(
                    "(attribute_not_exists(lease_until) OR lease_until <= :now) "
                    f"AND (attribute_not_exists(#status) OR #status <> :stored OR item_count < :items{differs})"
                ),
                ExpressionAttributeNames={
                    "#status": "status",
                    "#progress": "progress",
                    **{f"#{name}": name for name in row},
                },
                ExpressionAttributeValues={
                    **{f":{name}": value for name, value in row.items()},
                    ":downloading": Status.DOWNLOADING,
                    ":stored": Status.STORED,
                    ":until": int((now + LEASE).timestamp()),
                    ":now": int(now.timestamp()),
                    ":at": f"{now:{TIME}}",
                    ":sync": medium.sync_id,
                    ":name": medium.filename,
                    ":captured": medium.captured_at or "",
                    ":items": medium.item_count,
                    ":one": 1,
                },
                ReturnValues="UPDATED_NEW",
            )

        try:
            answer = self._write(write)
        except _ConditionFailed:
            return self._why_not(medium)
        return Lease(media_id=medium.media_id, epoch=int(answer["Attributes"]["epoch"]))

    def _why_not(self, medium: MediumEvent) -> Busy | AlreadyStored:
        record = self._medium(medium.media_id)
        if record.status == Status.STORED:
            return AlreadyStored(epoch=record.epoch, sync_id=record.sync_id, warning=record.warning)
        seconds_left = (record.lease_until or 0) - self._clock.now().timestamp()
        return Busy(epoch=record.epoch, seconds_left=max(1.0, seconds_left))

    def _medium(self, media_id: str) -> MediumRecord:
        found = self._client.get_item(TableName=self._table, Key=_key(media_id), ConsistentRead=True)
        return MediumRecord.from_item({"media_id": media_id, **found.get("Item", {})})

    def files(self, media_id: str) -> dict[int, FileRecord]:
        """Return the records of a medium's files, by item number."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="media_id = :id AND #item > :medium",
            ExpressionAttributeNames={"#item": "item"},
            ExpressionAttributeValues={":id": media_id, ":medium": MEDIUM},
            ConsistentRead=True,
        )
        records = (FileRecord.from_item(item) for page in pages for item in page["Items"])
        return {record.item: record for record in records}

    def renew(self, lease: Lease, *, bytes_done: int) -> None:
        """Extend the lease, and record the progress. Raises `Fenced` when the lease was taken over or given back."""
        until = int((self._clock.now() + LEASE).timestamp())
        self._update(
            lease,
            {"lease_until": until, "bytes_done": bytes_done},
            condition="epoch = :epoch AND attribute_exists(lease_until)",
        )

    def note(self, lease: Lease, progress: LaneProgress) -> None:
        """Record how far the worker is, unless it has lost the lease. Raises botocore's errors.

        Waits for no other write of this worker and keeps none waiting, because nothing depends on it.
        """
        self._client.update_item(
            TableName=self._table,
            Key=_key(lease.media_id),
            UpdateExpression="SET #progress = :progress",
            ConditionExpression="epoch = :epoch AND attribute_exists(lease_until)",
            ExpressionAttributeNames={"#progress": "progress"},
            ExpressionAttributeValues={":progress": asdict(progress), ":epoch": lease.epoch},
        )

    def release(self, lease: Lease) -> None:
        """End the lease, so that another worker can take the medium at once. Raises `Fenced` when it was taken over."""
        self._update(lease, {}, remove=["lease_until", "progress"])

    def save_files(self, lease: Lease, records: Sequence[FileRecord]) -> None:
        """Write the records of at most 99 files. Raises `Fenced` when the lease was taken over."""
        check = {
            "TableName": self._table,
            "Key": _key(lease.media_id),
            "ConditionExpression": "epoch = :epoch",
            "ExpressionAttributeValues": {":epoch": lease.epoch},
        }
        puts = [{"Put": {"TableName": self._table, "Item": record.to_item()}} for record in records]
        actions: Any = [{"ConditionCheck": check}, *puts]
        self._write_leased(lambda: self._client.transact_write_items(TransactItems=actions))

    def finish(
        self, lease: Lease, *, row: Row, files: int, total_bytes: int, warning: str = "", looked_again: bool = False
    ) -> None:
        """Record that every original of the medium is in the bucket, and end the lease.

        `row`: what GoPro lists now. `warning`: what is suspicious nevertheless; empty if nothing. Raises `Fenced` when
        the lease was taken over.
        """
        stored = {"status": Status.STORED, "files_total": files, "bytes_total": total_bytes, "bytes_done": total_bytes}
        # A record with `reprocessed_at`, even an empty one, has a row. A message of 0.1.0 lacks most of the row.
        is_row = bool(looked_again or row.labels or row.reprocessed_at)
        listed = {**row.known(), **({"reprocessed_at": row.reprocessed_at} if is_row else {})}
        self._update(
            lease,
            {**stored, **listed, "warning": warning, "stored_at": self._now()},
            remove=["lease_until", "progress", "reason", "files_stored", "failed_files", "known_since", "known_by"],
        )

    def fail(
        self,
        lease: Lease,
        reason: str,
        *,
        for_good: bool = False,
        files_stored: int = 0,
        files_total: int = 0,
        failed_files: Sequence[FailedFile] = (),
        is_stored: bool = False,
    ) -> str:
        """Record that this sync gives the medium up, and end the lease. Another sync tries the medium again.

        `is_stored`: the look failed, but all known files are in the bucket, so the medium stays stored. `for_good`: no
        further try of this sync can help. `files_total`: 0 if unknown.

        Returns since when the medium fails for good with this reason, if that began in an earlier sync; else an empty
        text. Raises `Fenced` when the lease was taken over.
        """
        before, reason = self._medium(lease.media_id), reason[:_REASON_LENGTH]
        known = {"known_since": self._now(), "known_by": before.sync_id}
        if before.known_since and before.reason == reason:
            known = {"known_since": before.known_since, "known_by": before.known_by or ""}
        status = Status.STORED if is_stored else Status.FAILED
        failed = {"status": status, "reason": reason, "failed_at": self._now(), "files_stored": files_stored}
        self._update(
            lease,
            {
                **failed,
                "failed_files": [asdict(file) for file in failed_files],
                **({"files_total": files_total} if files_total else {}),
                **(known if for_good else {}),
            },
            remove=["lease_until", "progress", *([] if for_good else known)],
        )
        return known["known_since"] if for_good and known["known_by"] != before.sync_id else ""

    def _now(self) -> str:
        return f"{self._clock.now():{TIME}}"

    def _update(
        self,
        lease: Lease,
        values: Mapping[str, Any],
        *,
        remove: Sequence[str] = (),
        condition: str = "epoch = :epoch",
    ) -> None:
        """Write these attributes of the medium's record, and remove others. Raises `Fenced` if the condition fails."""
        sets = ", ".join(f"#{name} = :{name}" for name in values)
        names = {f"#{name}": name for name in (*values, *remove)}
        self._write_leased(
            lambda: self._client.update_item(
                TableName=self._table,
                Key=_key(lease.media_id),
                UpdateExpression=(f"SET {sets} " if sets else "")
                + ("REMOVE " + ", ".join(f"#{name}" for name in remove) if remove else ""),
                ConditionExpression=condition,
                ExpressionAttributeNames=names,
                ExpressionAttributeValues={":epoch": lease.epoch, **{f":{name}": v for name, v in values.items()}},
            )
        )

    def _write_leased(self, write: Callable[[], object]) -> None:
        """Make a write that is conditional on the lease. Raises `Fenced` when the lease is lost."""
        try:
            self._write(write)
        except _ConditionFailed as failed:
            raise Fenced("another worker has taken this medium over") from failed

    def _write(self, write: Callable[[], _T]) -> _T:
        """Make a write. Raises `_ConditionFailed`, or `TableContended` when it keeps colliding or being throttled."""
        with self._writing:
            try:
                return _once(write)
            except TableContended:  # an operator or a fenced worker wrote at the same time
                again = partial(_once, write)
                return retry(again, on=TableContended, clock=self._clock, tries=_TRIES, first_pause=_FIRST_PAUSE)


def _once(write: Callable[[], _T]) -> _T:
    try:
        return write()
    except ClientError as error:
        codes = error_codes(error)
        if codes & _CONDITION_FAILED:
            raise _ConditionFailed from error
        if codes & CONTENDED:
            raise TableContended("the library table is contended: a write kept colliding") from error
        raise


def _key(media_id: str) -> Any:
    return {"media_id": media_id, "item": MEDIUM}
