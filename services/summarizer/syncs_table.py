"""The syncs table, which only the summarizer writes.

    {sync_id, record: "sync", …}           a sync
    {sync_id, record: "medium#<id>", …}    a medium's state in it
    {sync_id: "#unsettled", record: <id>}  an index of the syncs that the review has to look at
    {sync_id: "#history", record: …}       the history's record of a closed sync; see history.py
    {sync_id: "#page", record: "library"}  what is known of the library's page; see library_page.py
    {sync_id: "#told", record: "last", …}  what operators were told last, over all syncs

The index consists of ordinary items, written and removed in the transactions that settle a sync or unsettle it. A
secondary index could not be read consistently, and a sync that the review does not see is never closed.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from botocore.exceptions import ClientError

from services.shared.cancellations import SYNC
from services.shared.clock import Clock
from services.shared.dynamodb import CONTENDED, read_items
from services.shared.retry import retry
from services.summarizer.history import HISTORY, Details, PageState, PastSync, past, place, sync_at
from services.summarizer.records import ClosedSync, Conflict, Medium, Sync, Told

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_MEDIUM = "medium#"
_UNSETTLED = "#unsettled"
# Writes that collide are tried again in place, for about eight seconds in all, while their messages wait.
_TRIES = 12
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.05, 1.0
# A write whose condition failed is decided again on what is there now.
_PASSING = CONTENDED | {"ConditionalCheckFailed", "ConditionalCheckFailedException"}

_DETAILS = frozenset(field.name for field in fields(Details))

_NUMBERS_AS_JSON = msgspec.json.Encoder(decimal_format="number")

_State = TypeVar("_State", Sync, ClosedSync, Medium, PastSync, PageState, Told)
_T = TypeVar("_T")


class SyncsTable:
    """`client`: of a DynamoDB resource (`resource.meta.client`), which takes and returns plain values."""

    # A transaction of 100 actions also holds the sync, its place in the index and its record in the history.
    MEDIA_PER_WRITE = 97

    def __init__(self, client: "DynamoDBClient", table: str, *, clock: Clock) -> None:
        self._client = client
        self._table = table
        self._clock = clock

    def insist(self, step: Callable[[], _T]) -> _T:
        """Return what `step` returns, which reads, decides and writes, and is repeated when its write collides.

        A collision is no failed attempt of a message. Raises the last `Conflict` when they don't end.
        """
        return retry(
            step,
            on=Conflict,
            clock=self._clock,
            tries=_TRIES,
            first_pause=_FIRST_PAUSE_SECONDS,
            longest_pause=_LONGEST_PAUSE_SECONDS,
        )

    def read(self, sync_id: str) -> Sync | None:
        """Return a sync as it is now.

        Read it before its media: a write that is conditional on its version is then conditional on theirs, too.
        """
        answer = self._client.get_item(TableName=self._table, Key=_key(sync_id), ConsistentRead=True)
        item: Mapping[str, Any] | None = answer.get("Item")
        if item is None:
            return None
        return _read(item, ClosedSync if item.get("state") == "CLOSED" else Sync)

    def media(self, sync_id: str, media_ids: Collection[str]) -> dict[str, Medium]:
        """Return those of these media that the sync knows. Raises `TransientError` when DynamoDB does not read all."""
        keys = [_key(sync_id, _MEDIUM + media_id) for media_id in media_ids]
        media = [_read(item, Medium) for item in read_items(self._client, self._table, keys, clock=self._clock)]
        return {medium.media_id: medium for medium in media}

    def all_media(self, sync_id: str) -> list[Medium]:
        """Return every medium of the sync."""
        return [_read(item, Medium) for item in self._query(sync_id, _MEDIUM)]

    def unsettled(self) -> list[str]:
        """Return the ids of the syncs that are open, or closed with something left to announce."""
        return [str(item["record"]) for item in self._query(_UNSETTLED, "")]

    def told(self) -> Told:
        """Return what operators were told last."""
        answer = self._client.get_item(TableName=self._table, Key=_TOLD, ConsistentRead=True)
        item: Mapping[str, Any] | None = answer.get("Item")
        return _read(item, Told) if item else Told()

    def tell(self, after: Told) -> None:
        """Note what operators were told. `after` has the version that was read. Raises `Conflict`."""
        self._put(**_telling(after))

    def write(
        self,
        before: Sync | None,
        after: Sync,
        media: Sequence[Medium] = (),
        *,
        details: Details | None = None,
        told: Told | None = None,
    ) -> None:
        """Replace `before` with `after`, and write the media and a closed sync's record in the history, all or nothing.

        `after.version` has to be one more than that of `before`. The write fails when the table's version is no longer
        that of `before` (None: when the sync is there already). At most `MEDIA_PER_WRITE` media.
        `details`: of the history's record; None leaves those that it has. `told`: what operators are told by this, with
        the version that was read; the write also fails when they have been told something since. Raises `Conflict`.
        """
        actions: list[Any] = [
            {"Update": {"TableName": self._table, "Key": _key(after.sync_id), **_update(before, after)}}
        ]
        for medium in media:
            key = _key(after.sync_id, _MEDIUM + medium.media_id)
            actions.append({"Put": {"TableName": self._table, "Item": {**_item(medium), **key}}})
        index = _key(_UNSETTLED, after.sync_id)
        was_unsettled = before is not None and before.unsettled
        if after.unsettled and not was_unsettled:
            actions.append({"Put": {"TableName": self._table, "Item": index}})
        elif was_unsettled and not after.unsettled:
            actions.append({"Delete": {"TableName": self._table, "Key": index}})
        if isinstance(after, ClosedSync):
            actions.append({"Update": {"TableName": self._table, **_record(after, details)}})
        if told:
            actions.append({"Put": {"TableName": self._table, **_telling(told)}})
        try:
            self._client.transact_write_items(TransactItems=actions)
        except ClientError as error:
            if _may_pass(error):
                raise Conflict(str(error)) from error
            raise

    def recent(self, count: int) -> list[PastSync]:
        """Return the records in the history of the last closed syncs, the one that was requested last first."""
        newest = {"ScanIndexForward": False, "PaginationConfig": {"MaxItems": count}}
        items = self._query(HISTORY, "", **newest)
        return [_read({**item, "sync_id": sync_at(item["record"])}, PastSync) for item in items]

    def import_into_history(self, sync_ids: Sequence[str]) -> None:
        """Add those of these syncs to the history that are closed and not in it: an earlier version has closed them.

        Raises `Conflict` if another writer adds one of them meanwhile. Those before it are added.
        """
        keys = [_key(sync_id) for sync_id in sync_ids]
        items = read_items(self._client, self._table, keys, clock=self._clock)
        closed = [_read(item, ClosedSync) for item in items if item.get("state") == "CLOSED"]
        places = [_key(HISTORY, place(sync)) for sync in closed]
        there = {item["record"] for item in read_items(self._client, self._table, places, clock=self._clock)}
        for sync in closed:
            if place(sync) not in there:
                record = {**_item(past(sync, Details(), imported=True)), **_key(HISTORY, place(sync))}
                self._put(Item=record, ConditionExpression="attribute_not_exists(sync_id)")

    def page(self) -> PageState:
        """Return what is known of the library's page."""
        answer = self._client.get_item(TableName=self._table, Key=_PAGE, ConsistentRead=True)
        item: Mapping[str, Any] | None = answer.get("Item")
        return _read(item, PageState) if item else PageState()

    def keep_page(self, before: PageState, after: PageState) -> None:
        """Keep what is known of the library's page. Raises `Conflict` if the table no longer has `before`."""
        self._put(
            Item={**_item(replace(after, version=before.version + 1)), **_PAGE},
            ConditionExpression="attribute_not_exists(sync_id) OR version = :before",
            ExpressionAttributeValues={":before": before.version},
        )

    def claim(self, sync: ClosedSync, *, now: int, until: int) -> bool:
        """Claim the sync's announcement (unix seconds). False when it has gone out, or another sender claims it."""
        return self._mark(
            sync,
            "SET announcement.claimed_until = :until",
            "announcement.notified = :no AND announcement.claimed_until <= :now",
            {":until": until, ":now": now, ":no": False},
        )

    def release(self, sync: ClosedSync, *, until: int) -> None:
        """End a claim that would last until then, so that the next sender need not wait."""
        self._mark(
            sync,
            "SET announcement.claimed_until = :free",
            "announcement.claimed_until = :until",
            {":free": 0, ":until": until},
        )

    def mark_event_sent(self, sync: ClosedSync) -> None:
        """Record that the event of the sync's announcement is on the bus."""
        self._mark(sync, "SET announcement.event_sent = :yes", "", {":yes": True})

    def mark_notified(self, sync: ClosedSync) -> None:
        """Record that the notification of the sync's announcement has gone out."""
        self._mark(sync, "SET announcement.notified = :yes", "", {":yes": True})

    def _mark(self, sync: ClosedSync, change: str, condition: str, values: Mapping[str, Any]) -> bool:
        """Change the announcement that `sync` has. False when the table has another one, or the condition fails.

        Marks leave the version as it is: they neither stop a fact that arrives meanwhile, nor are stopped by it.
        """

        def mark() -> bool:
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

        return self.insist(mark)

    def _put(self, **request: Any) -> None:
        """Put an item. Raises `Conflict` if its condition fails, or the table is busy."""
        try:
            self._client.put_item(TableName=self._table, **request)
        except ClientError as error:
            if _may_pass(error):
                raise Conflict(str(error)) from error
            raise

    def _query(self, partition: str, prefix: str, **more: Any) -> list[dict[str, Any]]:
        request: dict[str, Any] = {
            **more,
            "TableName": self._table,
            "KeyConditionExpression": "sync_id = :partition",
            "ExpressionAttributeValues": {":partition": partition},
            "ConsistentRead": True,
        }
        if prefix:
            request["KeyConditionExpression"] += " AND begins_with(#record, :prefix)"
            request["ExpressionAttributeNames"] = {"#record": "record"}
            request["ExpressionAttributeValues"][":prefix"] = prefix
        return [item for page in self._client.get_paginator("query").paginate(**request) for item in page["Items"]]


def _key(sync_id: str, record: str = SYNC) -> Any:
    return {"sync_id": sync_id, "record": record}


_PAGE = _key("#page", "library")
_TOLD = _key("#told", "last")


def _update(before: Sync | None, after: Sync) -> Mapping[str, Any]:
    """Return the update of a sync's item. It sets what differs: attributes of a newer version of the code stay."""
    old = _item(before) if before else {"sync_id": after.sync_id}
    new = _item(after)
    changed = {name: value for name, value in new.items() if old.get(name) != value}
    removed = [name for name in old if name not in new]
    places = {name: f"{index}" for index, name in enumerate([*changed, *removed])}
    expression = "SET " + ", ".join(f"#{places[name]} = :{places[name]}" for name in changed)
    if removed:
        expression += " REMOVE " + ", ".join(f"#{places[name]}" for name in removed)
    names = {f"#{place}": name for name, place in places.items()}
    values = {f":{places[name]}": value for name, value in changed.items()}
    if before is None:
        condition = "attribute_not_exists(sync_id)"
    else:
        condition = "version = :before AND #state = :state"
        names["#state"] = "state"
        values |= {":before": before.version, ":state": before.state}
    return {
        "UpdateExpression": expression,
        "ConditionExpression": condition,
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": values,
    }


def _record(sync: ClosedSync, details: Details | None) -> Mapping[str, Any]:
    """Return the update of a closed sync's record in the history. Without details, it leaves those that it has."""
    values = _item(past(sync, details or Details()))
    if details is None:
        values = {name: value for name, value in values.items() if name not in _DETAILS}
    del values["sync_id"]  # the partition of the history has its place
    places = {name: f"{index}" for index, name in enumerate(values)}
    return {
        "Key": _key(HISTORY, place(sync)),
        "UpdateExpression": "SET " + ", ".join(f"#{at} = :{at}" for at in places.values()),
        "ExpressionAttributeNames": {f"#{at}": name for name, at in places.items()},
        "ExpressionAttributeValues": {f":{at}": values[name] for name, at in places.items()},
    }


def _telling(told: Told) -> Any:
    """Return the put of what operators are told, on the condition that nothing was told since this was read."""
    return {
        "Item": {**_item(replace(told, version=told.version + 1)), **_TOLD},
        "ConditionExpression": "attribute_not_exists(sync_id) OR version = :before",
        "ExpressionAttributeValues": {":before": told.version},
    }


def _item(state: Sync | Medium | PastSync | PageState | Told) -> dict[str, Any]:
    """Return the item as DynamoDB takes it: without what is None, and with fractions as `Decimal`."""
    plain = json.loads(msgspec.json.encode(state), parse_float=Decimal)
    return {name: value for name, value in plain.items() if value is not None}


def _read(item: Mapping[str, Any], kind: type[_State]) -> _State:
    """Return the record in an item. Attributes that this version of the code does not know are ignored."""
    return msgspec.json.decode(_NUMBERS_AS_JSON.encode(item), type=kind)


def _may_pass(error: ClientError) -> bool:
    codes = {str(reason.get("Code")) for reason in error.response.get("CancellationReasons", [])} - {"None"}
    return (codes or {str(error.response["Error"].get("Code"))}) <= _PASSING
