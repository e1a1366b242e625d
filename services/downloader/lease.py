"""The downloader's writes to the library table: taking a medium, and saying what became of it.

A medium is worked on under a lease. Taking it raises the medium's epoch, and every later write is conditional on
that epoch, so a worker that was believed dead and isn't can change nothing any more.
"""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ClientError

from services.shared.bus import iso, utc_now
from services.shared.errors import TransientError
from services.shared.events import MediumEvent
from services.shared.inbox import Fenced
from services.shared.library import DOWNLOADING, FAILED, MEDIUM, STORED

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# Shorter than the time for which a message is hidden: when a killed worker's message is back, its lease is over.
LEASE = timedelta(seconds=110)
_CONFLICT_TRIES = 6
_REASON_LENGTH = 300

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Lease:
    media_id: str
    epoch: int


@dataclass(frozen=True, kw_only=True)
class Busy:
    """Another worker has the medium, until then unless it renews."""

    seconds_left: float


@dataclass(frozen=True, kw_only=True)
class AlreadyStored:
    epoch: int
    sync_id: str  # of the sync that stored it


class _Refused(Exception):
    """The condition of a write doesn't hold."""


class Library:
    """The library table as its owner sees it. `client`: of a DynamoDB resource, for plain values."""

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        *,
        now: Callable[[], datetime] = utc_now,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._table = table
        self._now = now
        self._sleep = sleep

    def take(self, medium: MediumEvent) -> Lease | Busy | AlreadyStored:
        """Takes the lease of a medium, unless it is stored with as many items, or another worker has it."""
        now = self._now()

        def write() -> Any:
            return self._client.update_item(
                TableName=self._table,
                Key=_key(medium.media_id),
                UpdateExpression=(
                    "SET #status = :downloading, lease_until = :until, sync_id = :sync, tried_at = :at, "
                    "filename = :name, captured_at = :captured REMOVE reason ADD epoch :one"
                ),
                ConditionExpression=(
                    "(attribute_not_exists(lease_until) OR lease_until <= :now) "
                    "AND (attribute_not_exists(#status) OR #status <> :stored OR item_count < :items)"
                ),
                ExpressionAttributeNames={"#status": "status"},
                ExpressionAttributeValues={
                    ":downloading": DOWNLOADING,
                    ":stored": STORED,
                    ":until": int((now + LEASE).timestamp()),
                    ":now": int(now.timestamp()),
                    ":at": iso(now),
                    ":sync": medium.sync_id,
                    ":name": medium.filename,
                    ":captured": medium.captured_at or "",
                    ":items": medium.item_count,
                    ":one": 1,
                },
                ReturnValues="UPDATED_NEW",
            )

        try:
            answer = self._try_again_on_conflict(write)
        except _Refused:
            return self._why_not(medium, now)
        return Lease(media_id=medium.media_id, epoch=_integer(answer["Attributes"]["epoch"]))

    def _why_not(self, medium: MediumEvent, now: datetime) -> Busy | AlreadyStored:
        record = self._client.get_item(TableName=self._table, Key=_key(medium.media_id), ConsistentRead=True)
        found: Mapping[str, Any] = record.get("Item", {})
        if found.get("status") == STORED:
            return AlreadyStored(epoch=_integer(found["epoch"]), sync_id=str(found["sync_id"]))
        return Busy(seconds_left=max(1.0, _integer(found.get("lease_until", 0)) - now.timestamp()))

    def files(self, media_id: str) -> dict[int, dict[str, Any]]:
        """The records of a medium's files, by item number."""
        found: dict[int, dict[str, Any]] = {}
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="media_id = :id AND #item > :medium",
            ExpressionAttributeNames={"#item": "item"},
            ExpressionAttributeValues={":id": media_id, ":medium": MEDIUM},
            ConsistentRead=True,
        )
        for page in pages:
            for record in page["Items"]:
                found[_integer(record["item"])] = dict(record)
        return found

    def renew(self, lease: Lease, *, bytes_done: int) -> None:
        """Keeps the lease, and notes how far the work is. Raises `Fenced` when it is another's, or was given back."""
        until = int((self._now() + LEASE).timestamp())
        self._update(
            lease,
            "SET lease_until = :until, bytes_done = :done",
            {":until": until, ":done": bytes_done},
            condition="epoch = :epoch AND attribute_exists(lease_until)",
        )

    def release(self, lease: Lease) -> None:
        """Lets another worker go on at once."""
        self._update(lease, "REMOVE lease_until", {})

    def save_file(self, lease: Lease, item: int, record: Mapping[str, Any]) -> None:
        """Writes the record of a file, if the lease still is this worker's; else raises `Fenced`."""
        self._write(
            lambda: self._client.transact_write_items(
                TransactItems=[
                    {
                        "ConditionCheck": {
                            "TableName": self._table,
                            "Key": _key(lease.media_id),
                            "ConditionExpression": "epoch = :epoch",
                            "ExpressionAttributeValues": {":epoch": lease.epoch},
                        }
                    },
                    {"Put": {"TableName": self._table, "Item": {"media_id": lease.media_id, "item": item, **record}}},
                ]
            )
        )

    def stored(self, lease: Lease, *, item_count: int, files: int, total_bytes: int) -> None:
        """Every original of the medium is in the bucket."""
        self._update(
            lease,
            "SET #status = :status, item_count = :items, files_total = :files, bytes_total = :bytes, "
            "bytes_done = :bytes, stored_at = :at REMOVE lease_until, reason",
            {":status": STORED, ":items": item_count, ":files": files, ":bytes": total_bytes, ":at": iso(self._now())},
        )

    def failed(self, lease: Lease, reason: str) -> None:
        """This sync gives the medium up; a later one tries it again."""
        self._update(
            lease,
            "SET #status = :status, reason = :reason, failed_at = :at REMOVE lease_until",
            {":status": FAILED, ":reason": reason[:_REASON_LENGTH], ":at": iso(self._now())},
        )

    def _update(
        self, lease: Lease, expression: str, values: Mapping[str, Any], *, condition: str = "epoch = :epoch"
    ) -> None:
        names = {"ExpressionAttributeNames": {"#status": "status"}} if "#status" in expression else {}
        self._write(
            lambda: self._client.update_item(
                TableName=self._table,
                Key=_key(lease.media_id),
                UpdateExpression=expression,
                ConditionExpression=condition,
                ExpressionAttributeValues={":epoch": lease.epoch, **values},
                **names,  # type: ignore[arg-type]  # the stubs know keywords by their names only
            )
        )

    def _write(self, write: Callable[[], object]) -> None:
        """A write under a lease, whose epoch is its condition."""
        try:
            self._try_again_on_conflict(write)
        except _Refused as refused:
            raise Fenced("another worker has taken this medium over") from refused

    def _try_again_on_conflict(self, write: Callable[[], _T]) -> _T:
        """A worker's own heartbeat can be what its write collides with, so a conflict is no failure.

        Raises `_Refused` where the write's condition doesn't hold.
        """
        for attempt in range(_CONFLICT_TRIES):
            try:
                return write()
            except ClientError as error:
                if _code(error) == "ConditionalCheckFailedException" or "ConditionalCheckFailed" in _reasons(error):
                    raise _Refused from error
                if _code(error) != "TransactionConflictException" and "TransactionConflict" not in _reasons(error):
                    raise
                self._sleep(0.05 * 2**attempt * (0.5 + random.random()))  # noqa: S311  # jitter
        raise TransientError("the library table is contended: a write kept colliding")


def _key(media_id: str) -> Any:
    return {"media_id": media_id, "item": MEDIUM}


def _integer(value: Any) -> int:
    return int(value)


def _code(error: ClientError) -> str:
    return str(error.response["Error"].get("Code", ""))


def _reasons(error: ClientError) -> set[str]:
    """Why a transaction was cancelled, per action."""
    return {str(reason.get("Code")) for reason in error.response.get("CancellationReasons", [])}
