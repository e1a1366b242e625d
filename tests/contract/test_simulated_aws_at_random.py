"""Calls that nobody has thought of: random, the same in each run, made to the simulated AWS and to moto."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import moto.s3.models
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moto import mock_aws

from tests.contract.aws_stages import BotoStage, Clients, SimulatedStage
from tests.contract.scripts_s3 import Upload
from tests.contract.transcripts import Calls, without
from tests.moto_s3 import take_bytearrays

pytestmark = pytest.mark.slow

SMALLEST_PART = 64
with mock_aws():
    CLIENTS = Clients(None)
    take_bytearrays(CLIENTS["s3"].meta.events)


def agree(run: Callable[[Calls], None], furniture: str) -> None:
    """Both answer the same, call by call. `furniture`: what moto's stage needs for it."""
    simulated = Calls(SimulatedStage(smallest_part=SMALLEST_PART))
    run(simulated)
    with mock_aws(), mock.patch.object(moto.s3.models, "S3_UPLOAD_PART_MIN_SIZE", SMALLEST_PART):
        emulated = Calls(BotoStage("moto", SMALLEST_PART, CLIENTS, "bucket", furnished=[furniture]))
        run(emulated)
    assert emulated.steps == without(simulated.steps, {"ChecksumCRC64NVME"})  # of which moto knows nothing


# --- DynamoDB -------------------------------------------------------------------------------------------------------

ATTRIBUTES = ("a", "b", "c")
NUMBERS = st.integers(-2, 2)
TEXTS = st.sampled_from(("", "x", "xy", "y"))
# One kind of value an attribute has: what comes of comparing two kinds moto gets wrong (see the scripts).
KINDS: Mapping[str, st.SearchStrategy[Any]] = {"a": NUMBERS, "b": NUMBERS, "c": TEXTS}
IDS = st.sampled_from(("one", "two"))


@dataclass
class Expression:
    """A text, and the values that it refers to."""

    text: str
    values: dict[str, Any] = field(default_factory=dict)


class Writer:
    """Makes expressions, with values of their own."""

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
        self._draw = draw
        self.values: dict[str, Any] = {}

    def value(self, attribute: str) -> str:
        name = f":v{len(self.values)}"
        self.values[name] = self._draw(KINDS[attribute])
        return name

    def condition(self, depth: int = 2) -> str:
        kind = self._draw(st.sampled_from(("compare", "compare", "exists", "begins") + ("both",) * (depth > 0)))
        attribute = self._draw(st.sampled_from(ATTRIBUTES))
        if kind == "exists":
            return f"{self._draw(st.sampled_from(('attribute_exists', 'attribute_not_exists')))}({attribute})"
        if kind == "begins":
            return f"begins_with(c, {self.value('c')})"
        if kind == "both":
            parts = [self.condition(depth - 1) for _ in range(self._draw(st.integers(2, 3)))]
            return "(" + f" {self._draw(st.sampled_from(('AND', 'OR')))} ".join(parts) + ")"
        sign = self._draw(st.sampled_from(("=", "<>", "<", "<=", ">", ">=")))
        return f"{attribute} {sign} {self.value(attribute)}"

    def update(self) -> str:
        left = self._draw(st.permutations(ATTRIBUTES))[: self._draw(st.integers(1, 3))]
        clauses: dict[str, list[str]] = {}
        for attribute in left:
            kinds = ("SET", "REMOVE") if attribute == "c" else ("SET", "REMOVE", "ADD")
            kind = self._draw(st.sampled_from(kinds))
            change = {"SET": f"{attribute} = ", "REMOVE": attribute, "ADD": f"{attribute} "}[kind]
            value = "" if kind == "REMOVE" else self.value(attribute)
            clauses.setdefault(kind, []).append(change + value)
        return " ".join(f"{clause} {', '.join(parts)}" for clause, parts in clauses.items())


@st.composite
def writes(draw: Any) -> tuple[str, str, dict[str, Any]]:
    """A write: its kind, the item's id, and the request without the table."""
    kind, id_ = draw(st.sampled_from(("Put", "Update", "Update", "Delete", "ConditionCheck"))), draw(IDS)
    writer = Writer(draw)
    request: dict[str, Any] = {}
    if kind == "Put":
        item = draw(st.fixed_dictionaries({}, optional=dict(KINDS)))
        request["Item"] = {"id": id_, **item}
    else:
        request["Key"] = {"id": id_}
    if kind == "Update":
        request["UpdateExpression"] = writer.update()
    if kind == "ConditionCheck" or draw(st.booleans()):
        request["ConditionExpression"] = writer.condition()
    if writer.values:
        request["ExpressionAttributeValues"] = writer.values
    return kind, id_, {"TableName": "records", **request}


@st.composite
def steps_of_dynamodb(draw: Any) -> list[list[tuple[str, str, dict[str, Any]]]]:
    """Single writes, and transactions of several items."""
    steps = draw(st.lists(st.lists(writes(), min_size=1, max_size=2), min_size=1, max_size=8))
    return [step for step in steps if len({id_ for _, id_, _ in step}) == len(step)]


@settings(max_examples=100)
@given(steps_of_dynamodb())
def test_conditional_writes_and_transactions(steps: Sequence[Sequence[tuple[str, str, dict[str, Any]]]]) -> None:
    def run(aws: Calls) -> None:
        single = {
            "Put": aws.dynamodb.put_item,
            "Update": aws.dynamodb.update_item,
            "Delete": aws.dynamodb.delete_item,
        }
        for step in steps:
            kind, _, request = step[0]
            if len(step) == 1 and kind in single:
                single[kind](**request)
            else:
                aws.dynamodb.transact_write_items(TransactItems=[{kind: request} for kind, _, request in step])
            keys = [{"id": "one"}, {"id": "two"}]
            aws.dynamodb.batch_get_item(RequestItems={"records": {"Keys": keys, "ConsistentRead": True}})

    agree(run, "tables")


@settings(max_examples=30)
@given(
    st.sets(st.tuples(st.sampled_from(("m", "n")), st.integers(-3, 12)), max_size=9),
    st.sampled_from(("=", "<", "<=", ">", ">=")),
    st.integers(-3, 12),
)
def test_queries(keys: set[tuple[str, int]], sign: str, item: int) -> None:
    def run(aws: Calls) -> None:
        for media_id, number in sorted(keys):
            aws.dynamodb.put_item(TableName="files", Item={"media_id": media_id, "item": number})
        aws.dynamodb.pages(
            "query",
            TableName="files",
            KeyConditionExpression=f"media_id = :id AND #item {sign} :item",
            ExpressionAttributeNames={"#item": "item"},
            ExpressionAttributeValues={":id": "m", ":item": item},
            ConsistentRead=True,
        )

    agree(run, "tables")


# --- S3 -------------------------------------------------------------------------------------------------------------

PARTS = {"small": 2, "smallest": SMALLEST_PART, "larger": SMALLEST_PART + 3, "empty": 0}
STEPS_OF_S3 = st.lists(
    st.one_of(
        st.tuples(st.just("create"), st.sampled_from(("k", "l"))),
        st.tuples(st.just("part"), st.integers(0, 2), st.integers(1, 4), st.sampled_from(sorted(PARTS))),
        st.tuples(st.just("list"), st.integers(0, 2)),
        st.tuples(st.just("complete"), st.integers(0, 2), st.booleans(), st.sets(st.integers(1, 4), min_size=1)),
        st.tuples(st.just("abort"), st.integers(0, 2)),
        st.tuples(st.just("put"), st.sampled_from(("k", "l")), st.booleans()),
    ),
    max_size=14,
)


class Uploads:
    """Those of a run, and the parts that each has been sent."""

    def __init__(self, aws: Calls) -> None:
        self._aws = aws
        self._all: list[tuple[Upload, dict[int, tuple[bytes, dict[str, Any]]]]] = []
        self._over: set[int] = set()

    def make(self, step: Sequence[Any]) -> None:
        aws, (kind, *rest) = self._aws, step
        if kind == "create":
            self._all.append((Upload(aws, key=rest[0], metadata={"number": str(len(self._all))}), {}))
        elif kind == "put":
            key, conditional = rest
            more = {"IfNoneMatch": "*"} if conditional else {}
            aws.s3.put_object(Bucket=aws.stage.bucket, Key=key, Body=b"put", **more)
        elif self._all:
            self._go_on(kind, rest[0] % len(self._all), *rest[1:])
        for key in ("k", "l"):
            aws.s3.get_object(Bucket=aws.stage.bucket, Key=key)

    def _go_on(self, kind: str, which: int, *rest: Any) -> None:
        upload, parts = self._all[which]
        if kind == "part" and which not in self._over:  # moto breaks at parts of an upload that has ended
            number, size = rest
            body = (f"{number} {size} ".encode() * SMALLEST_PART)[: PARTS[size]]
            parts[number] = body, upload.put(number, body)
        elif kind == "list":
            upload.parts()
        elif kind == "complete":
            conditional, numbers = rest
            listed = {number: parts[number] for number in sorted(numbers) if number in parts}
            if listed and which not in self._over:  # as above; of repeated ones the scripts know more
                self._complete(which, listed, conditional=conditional)
        elif kind == "abort":
            upload.abort()
            self._over.add(which)

    def _complete(self, which: int, listed: Mapping[int, tuple[bytes, dict[str, Any]]], *, conditional: bool) -> None:
        more: dict[str, Any] = {"IfNoneMatch": "*"} if conditional else {}
        if self._all[which][0].complete(*(part for _, part in listed.values()), **more):
            self._over.add(which)


@settings(max_examples=60)
@given(STEPS_OF_S3)
def test_multipart_uploads(steps: Sequence[Sequence[Any]]) -> None:
    def run(aws: Calls) -> None:
        uploads = Uploads(aws)
        for step in (("create", "k"), ("part", 0, 1, "smallest"), *steps):
            uploads.make(step)

    agree(run, "bucket")


def test_a_difference_would_be_found() -> None:
    def run(aws: Calls) -> None:
        aws.dynamodb.put_item(TableName="records", Item={"id": "one", "by": aws.stage.name})
        aws.dynamodb.get_item(TableName="records", Key={"id": "one"}, ConsistentRead=True)

    with pytest.raises(AssertionError):
        agree(run, "tables")
