"""The syncs table, which only the summarizer writes.

    {sync_id, record: "sync", …}           a sync
    {sync_id, record: "medium#<id>", …}    what became of a medium in it
    {sync_id: "#unsettled", record: <id>}  an index of the syncs that the review has to look at

The index is of ordinary items, written and removed in the transactions that make it so: a secondary index could not be
read consistently, and a sync that the review doesn't see is never closed.
"""

import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from botocore.exceptions import ClientError

from services.shared.errors import TransientError
from services.shared.tables import read_items
from services.summarizer.sync import Medium, Sync

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

MEDIA_PER_WRITE = 98  # beside them, a transaction of at most 100 actions holds the sync and its place in the index

_RECORD = "sync"
_MEDIUM = "medium#"
_UNSETTLED = "#unsettled"
# Writes that collided are tried again this often, in about eight seconds altogether, while the messages wait.
_CONFLICT_TRIES = 12
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.05, 1.0
# Codes by which DynamoDB says that a write may be tried again: as an error's own, or as a cancelled transaction's.
_PASSING = frozenset(
    {
        "ConditionalCheckFailed",
        "ConditionalCheckFailedException",
        "InternalServerError",
        "ProvisionedThroughputExceeded",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingError",
        "ThrottlingException",
        "TransactionConflict",
        "TransactionConflictException",
        "TransactionInProgressException",
    }
)

_State = TypeVar("_State", Sync, Medium)
_T = TypeVar("_T")


class Conflict(Exception):
    """Another writer was there first, or the table is busy: nothing was written. Read again, and decide again."""


class SyncsTable:
    """`client`: of a DynamoDB resource (`resource.meta.client`), which takes and gives plain values."""

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        *,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._table = table
        self._sleep = sleep
        self._jitter = jitter

    def insist(self, step: Callable[[], _T]) -> _T:
        """What `step` returns, which reads, decides and writes, and does so again whenever its write collides.

        A collision is nobody's failed attempt. Raises `TransientError` when there is no end to them.
        """
        for attempt in range(_CONFLICT_TRIES):
            try:
                return step()
            except Conflict as conflict:
                last = conflict
            pause = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2**attempt)
            self._sleep(pause * (0.5 + self._jitter()))
        raise TransientError(f"writes to {self._table} kept colliding") from last

    def read(self, sync_id: str) -> Sync | None:
        """A sync as it is now. Read it before its media: then a write that holds for its version holds for them."""
        answer = self._client.get_item(TableName=self._table, Key=_key(sync_id), ConsistentRead=True)
        return _read(answer["Item"], Sync) if "Item" in answer else None

    def media(self, sync_id: str, media_ids: Collection[str]) -> dict[str, Medium]:
        """Of these media, those that the sync knows. Raises `TransientError` when DynamoDB doesn't give them all."""
        keys = [_key(sync_id, _MEDIUM + media_id) for media_id in media_ids]
        items = read_items(self._client, self._table, keys, sleep=self._sleep, jitter=self._jitter)
        return {medium.media_id: medium for medium in (_read(item, Medium) for item in items)}

    def all_media(self, sync_id: str) -> list[Medium]:
        """Every medium of the sync."""
        return [_read(item, Medium) for item in self._query(sync_id, _MEDIUM)]

    def unsettled(self) -> list[str]:
        """The ids of the syncs that are open, or closed with something left to tell."""
        return [str(item["record"]) for item in self._query(_UNSETTLED, "")]

    def write(self, before: Sync | None, after: Sync, media: Sequence[Medium] = ()) -> None:
        """Makes `after` of `before`, and writes the media, all or nothing.

        `after.version` has to be one more than that of `before`; the write holds only while the table's is still
        that of `before` (None: while there is no such sync). At most `MEDIA_PER_WRITE` media.
        Raises `Conflict`.
        """
        old = _item(before) if before else {}
        new = _item(after)
        changed = {name: value for name, value in new.items() if old.get(name) != value}
        gone = [name for name in old if name not in new]
        changed.pop("sync_id", None)
        names = {f"#{index}": name for index, name in enumerate([*changed, *gone])}
        places = {name: place for place, name in names.items()}
        expression = "SET " + ", ".join(f"{places[name]} = :{places[name][1:]}" for name in changed)
        if gone:
            expression += " REMOVE " + ", ".join(places[name] for name in gone)
        values = {f":{places[name][1:]}": value for name, value in changed.items()}
        if before:
            condition = "version = :before AND #state = :state"
            names["#state"] = "state"
            values |= {":before": before.version, ":state": before.state}
        else:
            condition = "attribute_not_exists(sync_id)"
        actions: list[Any] = [
            {
                "Update": {
                    "TableName": self._table,
                    "Key": _key(after.sync_id),
                    "UpdateExpression": expression,
                    "ConditionExpression": condition,
                    "ExpressionAttributeNames": names,
                    "ExpressionAttributeValues": values,
                }
            }
        ]
        for medium in media:
            key = _key(after.sync_id, _MEDIUM + medium.media_id)
            actions.append({"Put": {"TableName": self._table, "Item": {**_item(medium), **key}}})
        index = _key(_UNSETTLED, after.sync_id)
        if after.unsettled and not (before and before.unsettled):
            actions.append({"Put": {"TableName": self._table, "Item": index}})
        elif before and before.unsettled and not after.unsettled:
            actions.append({"Delete": {"TableName": self._table, "Key": index}})
        try:
            self._client.transact_write_items(TransactItems=actions)
        except ClientError as error:
            if _may_pass(error):
                raise Conflict(str(error)) from error
            raise

    def claim(self, sync: Sync, *, now: int, until: int) -> bool:
        """Takes the sync's announcement in hand until then (unix seconds), unless it is told, or another has it."""
        return self._mark(
            sync,
            "SET announcement.claimed_until = :until",
            "announcement.notified = :no AND announcement.claimed_until <= :now",
            {":until": until, ":now": now, ":no": False},
        )

    def release(self, sync: Sync, *, until: int) -> None:
        """Gives a claim back that ran until then, so that the next try needn't wait for its end."""
        self._mark(
            sync,
            "SET announcement.claimed_until = :free",
            "announcement.claimed_until = :until",
            {":free": 0, ":until": until},
        )

    def mark_event_sent(self, sync: Sync) -> None:
        """Notes that the event of the sync's announcement is on the bus."""
        self._mark(sync, "SET announcement.event_sent = :yes", "", {":yes": True})

    def mark_notified(self, sync: Sync) -> None:
        """Notes that the notification of the sync's announcement has gone out: it is told."""
        self._mark(sync, "SET announcement.notified = :yes", "", {":yes": True})

    def _mark(self, sync: Sync, change: str, condition: str, values: Mapping[str, Any]) -> bool:
        """Changes the announcement that `sync` has; False when the table's is another by now, or not so.

        These leave the version as it is: a fact that comes meanwhile neither stops them nor is stopped.
        """
        return self.insist(lambda: self._try_to_mark(sync, change, condition, values))

    def _try_to_mark(self, sync: Sync, change: str, condition: str, values: Mapping[str, Any]) -> bool:
        assert sync.announcement is not None  # noqa: S101  # only closed syncs have something to tell
        try:
            self._client.update_item(
                TableName=self._table,
                Key=_key(sync.sync_id),
                UpdateExpression=change,
                ConditionExpression=f"announcement.#number = :number{' AND ' if condition else ''}{condition}",
                ExpressionAttributeNames={"#number": "number"},
                ExpressionAttributeValues={**values, ":number": sync.announcement.number},
            )
        except ClientError as error:
            if error.response["Error"].get("Code") == "ConditionalCheckFailedException":
                return False
            if _may_pass(error):
                raise Conflict(str(error)) from error
            raise
        return True

    def _query(self, partition: str, prefix: str) -> list[dict[str, Any]]:
        condition = "sync_id = :partition" + (" AND begins_with(#record, :prefix)" if prefix else "")
        request: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": condition,
            "ExpressionAttributeValues": {":partition": partition} | ({":prefix": prefix} if prefix else {}),
            "ConsistentRead": True,
        }
        if prefix:
            request["ExpressionAttributeNames"] = {"#record": "record"}
        return [item for page in self._client.get_paginator("query").paginate(**request) for item in page["Items"]]


def _key(sync_id: str, record: str = _RECORD) -> Any:
    return {"sync_id": sync_id, "record": record}


def _item(state: Sync | Medium) -> dict[str, Any]:
    """As DynamoDB takes it: without what is None, and fractions as `Decimal`."""
    plain: dict[str, Any] = _with_decimals(msgspec.to_builtins(state))
    return {name: value for name, value in plain.items() if value is not None}


def _read(item: Mapping[str, Any], kind: type[_State]) -> _State:
    known = {field.name for field in fields(kind)}
    return msgspec.convert({name: _with_numbers(value) for name, value in item.items() if name in known}, kind)


def _with_decimals(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_decimals(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_with_decimals(part) for part in value]
    return Decimal(str(value)) if isinstance(value, float) else value


def _with_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_numbers(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_with_numbers(part) for part in value]
    if isinstance(value, Decimal):
        return int(value) if value == int(value) else float(value)
    return value


def _may_pass(error: ClientError) -> bool:
    codes = {str(reason.get("Code")) for reason in error.response.get("CancellationReasons", [])} - {"None"}
    return (codes or {str(error.response["Error"].get("Code"))}) <= _PASSING
