"""DynamoDB: tables of items, conditional writes, transactions."""

# ruff: noqa: N803  # arguments are named as boto3 names them

import re
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from types import SimpleNamespace
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from tools.simulator import expressions
from tools.simulator.effects import Client, ConditionalCheckFailedException, Effects, refusal
from tools.simulator.expressions import AttributePath, Item, ValidationError
from tools.simulator.faults import AWS, Fault
from tools.simulator.virtual import SimulatorError

_T = TypeVar("_T")

_WRITE = (*AWS, Fault.CONFLICT)
_BATCH = (*AWS, Fault.UNPROCESSED)
_CODES = ("ThrottlingException", "ProvisionedThroughputExceededException", "InternalServerError")
_MOST_ACTIONS = 100
MOST_ITEM_BYTES = 400 * 1024
_LONGEST_NUMBER = 21  # bytes
_PAGE_ITEMS = 4
_NOTHING: Mapping[str, Any] = {}
_PARTITION = re.compile(r"(\w+) = (:\w+)(?: AND |$)")  # which every key condition of the services begins with
_KEY_TYPES: Mapping[str, type] = {"S": str, "N": Decimal}


class Table:
    """A table's items by key."""

    def __init__(self, name: str, key: Mapping[str, str]) -> None:
        """Take a name and the key attributes' types by name, in DynamoDB's notation."""
        self.name = name
        self.key = tuple(key)
        self.items: dict[tuple[Any, ...], Item] = {}
        self._types = [(attribute, _KEY_TYPES[kind]) for attribute, kind in key.items()]
        self._partitions: dict[Any, list[tuple[Any, ...]]] = {}  # the keys of each partition, in order

    def keys(
        self, partition: Any, after: tuple[Any, ...] | None = None, *, backwards: bool = False
    ) -> Iterator[tuple[Any, ...]]:
        """Return the keys of a partition in order, from after a key on where one is given."""
        keys = self._partitions.get(partition, [])
        if backwards:
            return iter(keys[: len(keys) if after is None else bisect_left(keys, after)][::-1])
        return islice(keys, 0 if after is None else bisect_right(keys, after), None)

    def replace(self, key: tuple[Any, ...], item: Item | None) -> Item | None:
        """Replace the item at a key, or delete it if `item` is None. Return the previous item."""
        before = self.items.get(key)
        if item is not None:
            self.items[key] = item
        if (before is None) != (item is None):
            keys = self._partitions.setdefault(key[0], [])
            if item is None:
                del self.items[key]
                del keys[bisect_left(keys, key)]
            else:
                insort(keys, key)
        return before

    def key_of(self, item: Mapping[str, Any]) -> tuple[Any, ...]:
        for name, kind in self._types:
            if not isinstance(item.get(name), kind) or item[name] == "":
                raise ValidationError(f"{self.name} takes no {item.get(name)!r} as {name}")
        return tuple(item[name] for name in self.key)

    def plain(self, partition: Any = None) -> list[Item]:
        """Return all items, or those of a partition, in the order of their keys, with whole numbers as `int`."""
        keys = sorted(self.items) if partition is None else self.keys(partition)
        return [_plain(self.items[key]) for key in keys]


class DynamoDb:
    """The tables, and the only way to change them."""

    def __init__(self, tables: Sequence[Table], effects: Effects, *, page_items: int = _PAGE_ITEMS) -> None:
        """Take the tables, and the items per page of a Query.

        A page is small, to expose a service that stops after the first one.
        """
        self.tables = {table.name: table for table in tables}
        self.effects = effects
        self.page_items = page_items
        self.on_write: list[Callable[[Table, Item | None, Item | None], None]] = []  # table, before, after
        self.on_read: list[Callable[[Table, Sequence[tuple[Any, ...]]], None]] = []  # table, keys

    def table(self, name: str) -> Table:
        if name not in self.tables:
            raise refusal("ResourceNotFoundException", "Table")
        return self.tables[name]

    def replace(self, table: Table, key: tuple[Any, ...], item: Item | None) -> None:
        """Put an item in the place of the one with that key, or none."""
        # A character has at most four bytes: only a long item has to be measured.
        if item is not None and len(repr(item)) * 4 > MOST_ITEM_BYTES and item_bytes(item) > MOST_ITEM_BYTES:
            raise ValidationError("Item size has exceeded the maximum allowed size")
        before = table.replace(key, item)
        for watch in self.on_write:
            watch(table, before, item)

    def note_read(self, table: Table, keys: Sequence[tuple[Any, ...]]) -> None:
        """Report to the observers which items are read together."""
        for watch in self.on_read:
            watch(table, keys)

    def changed(
        self, table: Table, key: tuple[Any, ...], request: Mapping[str, Any]
    ) -> tuple[Item, list[AttributePath]]:
        """Return the item as an update leaves it, and the attribute paths that the update touches."""
        before = table.items.get(key, {})
        after = {**_copy(before), **dict(zip(table.key, key, strict=True))}
        names = request.get("ExpressionAttributeNames", _NOTHING)
        values = request.get("ExpressionAttributeValues", _NOTHING)
        touched = expressions.update(request["UpdateExpression"])(before, after, names, values)
        if {path[0] for path in touched} & set(table.key):
            raise ValidationError("Cannot update attribute of the key")
        return after, touched

    def holds(self, table: Table, key: tuple[Any, ...], request: Mapping[str, Any]) -> bool:
        text = request.get("ConditionExpression")
        if not text:
            return True
        return expressions.condition(text)(
            table.items.get(key, {}),
            request.get("ExpressionAttributeNames", _NOTHING),
            request.get("ExpressionAttributeValues", _NOTHING),
        )


class ResourceClient(Client):
    """The client of a DynamoDB resource, with plain values; numbers are `Decimal`."""

    exceptions = SimpleNamespace(ConditionalCheckFailedException=ConditionalCheckFailedException)

    def __init__(self, database: DynamoDb) -> None:
        self._database = database

    def get_item(self, *, TableName: str, Key: Item, ConsistentRead: bool = False) -> dict[str, Any]:
        table, key = self._located(TableName, Key)

        def apply() -> dict[str, Any]:
            if not ConsistentRead:
                raise SimulatorError("a read that isn't consistent: no service may rest on one")
            self._database.note_read(table, [key])
            item = table.items.get(key)
            return {} if item is None else {"Item": self._given(item)}

        return self._call("get_item", table, key, apply)

    def put_item(self, *, TableName: str, Item: Item, **request: Any) -> dict[str, Any]:
        request = self._taken_request(request)
        item = self._taken(Item)
        table = self._database.table(TableName)
        key = table.key_of(item)

        def apply() -> dict[str, Any]:
            self._check(table, key, request, "PutItem")
            self._database.replace(table, key, item)
            return {}

        return self._call("put_item", table, key, apply, write="PutItem")

    def update_item(self, *, TableName: str, Key: Item, **request: Any) -> dict[str, Any]:
        request = self._taken_request(request)
        table, key = self._located(TableName, Key)

        def apply() -> dict[str, Any]:
            self._check(table, key, request, "UpdateItem")
            after, touched = self._database.changed(table, key, request)
            self._database.replace(table, key, after)
            wanted = request.get("ReturnValues", "NONE")
            if wanted == "NONE":
                return {}
            if wanted != "UPDATED_NEW":
                raise SimulatorError(f"ReturnValues={wanted} is not known to the simulator")
            updated = _at(after, touched)
            return {"Attributes": self._given(updated)} if updated else {}

        return self._call("update_item", table, key, apply, write="UpdateItem")

    def delete_item(self, *, TableName: str, Key: Item, **request: Any) -> dict[str, Any]:
        request = self._taken_request(request)
        table, key = self._located(TableName, Key)

        def apply() -> dict[str, Any]:
            self._check(table, key, request, "DeleteItem")
            self._database.replace(table, key, None)
            return {}

        return self._call("delete_item", table, key, apply, write="DeleteItem")

    def batch_get_item(self, *, RequestItems: Mapping[str, Any]) -> dict[str, Any]:
        ((name, request),) = RequestItems.items()
        table = self._database.table(name)
        keys = [self._taken(key) for key in request["Keys"]]
        if not 1 <= len(keys) <= _MOST_ACTIONS or len({table.key_of(key) for key in keys}) < len(keys):
            raise _invalid("Too many items requested, or the same one twice", "BatchGetItem")
        if not request.get("ConsistentRead"):
            raise SimulatorError("a read that isn't consistent: no service may rest on one")
        effects = self._database.effects
        left: list[Item] = []
        if effects.faults.strike((Fault.UNPROCESSED,), "dynamodb.batch_get_item keys"):
            effects.trace.add("dynamodb.batch_get_item", name, Fault.UNPROCESSED)
            count = effects.faults.chance().randint(1, len(keys))
            keys, left = keys[count:], keys[:count]

        def apply() -> dict[str, Any]:
            asked = [table.key_of(key) for key in keys]
            self._database.note_read(table, asked)
            found = [table.items.get(key) for key in asked]
            return {
                "Responses": {name: [self._given(item) for item in found if item is not None]},
                "UnprocessedKeys": {name: {**request, "Keys": left}} if left else {},
            }

        return self._call("batch_get_item", table, (len(keys),), apply)

    def transact_write_items(self, *, TransactItems: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        actions = [self._action(action) for action in TransactItems]
        if not 1 <= len(actions) <= _MOST_ACTIONS:
            raise _invalid("A transaction takes 1 to 100 actions", "TransactWriteItems")
        if len({(table.name, key) for _, table, key, _ in actions}) < len(actions):
            raise _invalid("Transaction request cannot include multiple operations on one item", "TransactWriteItems")
        done: list[bool] = []  # boto3 sends a token, so that DynamoDB executes a repeated request only once

        def apply() -> dict[str, Any]:
            if done:
                return {}
            reasons = [
                {"Code": "None" if self._database.holds(table, key, request) else "ConditionalCheckFailed"}
                for _, table, key, request in actions
            ]
            if any(reason["Code"] != "None" for reason in reasons):
                raise _cancelled(reasons)
            changes = [  # all of them first, so that none is made when one is malformed
                (
                    table,
                    key,
                    self._database.changed(table, key, request)[0] if kind == "Update" else request.get("Item"),
                )
                for kind, table, key, request in actions
                if kind != "ConditionCheck"
            ]
            for table, key, item in changes:
                self._database.replace(table, key, item)
            done.append(True)
            return {}

        _, table, key, _ = actions[0]
        return self._call("transact_write_items", table, key, apply, write="TransactWriteItems")

    def get_paginator(self, operation: str) -> Any:
        if operation != "query":
            raise SimulatorError(f"no paginator for {operation} in the simulated DynamoDB")
        return SimpleNamespace(paginate=self._query)

    def _query(self, *, TableName: str, KeyConditionExpression: str, **request: Any) -> Iterator[dict[str, Any]]:
        """Yield the pages of a Query. Of a paginator's own settings, `MaxItems` is known."""
        if not request.get("ConsistentRead"):
            raise SimulatorError("a read that isn't consistent: no service may rest on one")
        request = self._taken_request(request, KeyConditionExpression)
        table = self._database.table(TableName)
        begins = _PARTITION.match(KeyConditionExpression)
        if not begins or begins[1] != table.key[0]:
            raise _invalid(f"Query condition missed key schema element: {table.key[0]}", "Query")
        partition = request["ExpressionAttributeValues"][begins[2]]
        matches = expressions.condition(KeyConditionExpression)
        backwards = not request.get("ScanIndexForward", True)
        left = request.get("PaginationConfig", _NOTHING).get("MaxItems")
        names = request.get("ExpressionAttributeNames", _NOTHING)
        values = request.get("ExpressionAttributeValues", _NOTHING)
        after: tuple[Any, ...] | None = None
        more = True
        while more:
            page = self._database.page_items if left is None else min(left, self._database.page_items)

            def apply(after: tuple[Any, ...] | None = after, most: int = page) -> tuple[list[tuple[Any, ...]], bool]:
                ordered = table.keys(partition, after, backwards=backwards)
                matching = (key for key in ordered if matches(table.items[key], names, values))
                keys = list(islice(matching, most + 1))
                self._database.note_read(table, keys[:most])
                return keys[:most], len(keys) > most

            keys, more = self._call("query", table, (next(iter(values.values()), ""),), apply)
            after = keys[-1] if keys else after
            if left is not None:
                left -= len(keys)
                more = more and left > 0
            yield {"Items": [self._given(table.items[key]) for key in keys if key in table.items]}

    def _action(self, action: Mapping[str, Any]) -> tuple[str, Table, tuple[Any, ...], dict[str, Any]]:
        ((kind, given),) = action.items()
        if kind not in ("Put", "Update", "Delete", "ConditionCheck"):
            raise SimulatorError(f"a transaction's {kind} is not known to the simulator")
        request = self._taken_request(given)
        table = self._database.table(request["TableName"])
        if kind == "Put":
            request["Item"] = self._taken(given["Item"])
            return kind, table, table.key_of(request["Item"]), request
        return kind, table, table.key_of(self._taken(given["Key"])), request

    def _located(self, name: str, key: Item) -> tuple[Table, tuple[Any, ...]]:
        table = self._database.table(name)
        taken = self._taken(key)
        if set(taken) != set(table.key):
            raise _invalid("The provided key element does not match the schema", "GetItem")
        return table, table.key_of(taken)

    def _taken_request(self, request: Mapping[str, Any], *more_texts: str) -> dict[str, Any]:
        """Return a request with its values as the tables keep them.

        Refuses a request that defines an unused name or value.
        """
        texts = [request[name] for name in ("ConditionExpression", "UpdateExpression") if request.get(name)]
        used = expressions.placeholders(*texts, *more_texts)
        given = {*request.get("ExpressionAttributeNames", ()), *request.get("ExpressionAttributeValues", ())}
        if given != used:
            raise _invalid(f"unused or undefined in expressions: {sorted(given ^ used)}", "Request")
        values = request.get("ExpressionAttributeValues")
        return {**request, "ExpressionAttributeValues": self._taken(values)} if values else dict(request)

    def _check(self, table: Table, key: tuple[Any, ...], request: Mapping[str, Any], operation: str) -> None:
        if not self._database.holds(table, key, request):
            raise refusal("ConditionalCheckFailedException", operation, "The conditional request failed")

    def _call(self, name: str, table: Table, key: tuple[Any, ...], apply: Callable[[], _T], *, write: str = "") -> _T:
        subject = f"{table.name[:14]} {'/'.join(str(part) for part in key)}"

        if write and self._database.effects.faults.strike((Fault.CONFLICT,), f"dynamodb.{name} conflict"):
            self._database.effects.trace.add(f"dynamodb.{name}", subject, Fault.CONFLICT)
            if write == "TransactWriteItems":
                raise _cancelled([{"Code": "TransactionConflict"}])
            raise refusal("TransactionConflictException", write)
        return self._database.effects.call(f"dynamodb.{name}", subject, apply, codes=_CODES)

    def _taken(self, item: Mapping[str, Any]) -> Item:
        return {name: _kept(value) for name, value in item.items()}

    def _given(self, item: Item) -> Item:
        return {name: _copy(value) for name, value in item.items()}


def _invalid(message: str, operation: str) -> ClientError:
    # A malformed request is a bug in the code, which a retry must not hide.
    raise SimulatorError(f"DynamoDB refuses this {operation}: {message}")


def _cancelled(reasons: list[dict[str, str]]) -> ClientError:
    return refusal(
        "TransactionCanceledException",
        "TransactWriteItems",
        f"Transaction cancelled, reasons: [{', '.join(reason['Code'] for reason in reasons)}]",
        CancellationReasons=reasons,
    )


def _kept(value: Any) -> Any:
    if isinstance(value, str):
        return str(value)  # on the wire an enum is a plain string
    if isinstance(value, bool | Decimal | bytes) or value is None:
        return value
    if isinstance(value, int):
        return Decimal(value)
    if isinstance(value, dict):
        return {name: _kept(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_kept(part) for part in value]
    raise SimulatorError(f"boto3 doesn't take a {type(value).__name__} for DynamoDB")


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copy(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_copy(part) for part in value]
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, Decimal):
        return int(value) if value == int(value) else float(value)
    return value


def _at(item: Item, paths: Sequence[AttributePath]) -> Item:
    """Return only the parts of an item at these paths."""
    found: Item = {}
    for path in paths:
        part, place = item, found
        for step in path[:-1]:
            part, place = part[step], place.setdefault(step, {})
        if path[-1] in part:
            place[path[-1]] = part[path[-1]]
    return found


def item_bytes(item: Mapping[str, Any]) -> int:
    """Return the size of an item in bytes, by the rules of "DynamoDB item sizes and formats" in its developer guide."""
    return sum(len(name.encode()) + _value_bytes(value) for name, value in item.items())


def _value_bytes(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, bool) or value is None:
        return 1
    if isinstance(value, int | Decimal):
        number = Decimal(value).normalize().as_tuple()
        return min(_LONGEST_NUMBER, (len(number.digits) + 1) // 2 + 1 + number.sign)
    if isinstance(value, Mapping):
        return 3 + sum(len(name.encode()) + _value_bytes(part) + 1 for name, part in value.items())
    return 3 + sum(_value_bytes(part) + 1 for part in value)
