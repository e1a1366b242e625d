"""Reading the library table: every medium asked for, however DynamoDB portions it out."""

from collections.abc import Iterator
from typing import Any, cast

import boto3
import pytest
from moto import mock_aws

from services.shared.errors import TransientError
from services.shared.library import MEDIUM, STORED, medium_records


class DynamoDB:
    """Answers BatchGetItem, leaving as many keys unprocessed as the script says, call by call."""

    def __init__(self, stored: set[str], *leaves: int) -> None:
        self._stored = stored
        self._leaves = list(leaves)
        self.calls: list[list[str]] = []

    def batch_get_item(self, **request: Any) -> dict[str, Any]:
        (wanted,) = request["RequestItems"].values()
        assert wanted["ConsistentRead"] is True
        assert {key["item"] for key in wanted["Keys"]} == {MEDIUM}
        ids = [key["media_id"] for key in wanted["Keys"]]
        assert 1 <= len(ids) <= 100
        assert len(set(ids)) == len(ids)
        self.calls.append(ids)
        leave = self._leaves.pop(0) if self._leaves else 0
        done, left = ids[: len(ids) - leave], wanted["Keys"][len(ids) - leave :]
        return {
            "Responses": {"library": [{"media_id": one, "item": 0} for one in reversed(done) if one in self._stored]},
            "UnprocessedKeys": {"library": {"Keys": left, "ConsistentRead": True}} if left else {},
        }


def read(table: DynamoDB, media_ids: list[str], naps: list[float] | None = None) -> set[str]:
    slept = [] if naps is None else naps
    records = medium_records(cast("Any", table), "library", media_ids, sleep=slept.append, jitter=lambda: 0.5)
    assert all(record["media_id"] == media_id for media_id, record in records.items())
    return set(records)


def ids(count: int) -> list[str]:
    return [f"m{number}" for number in range(count)]


def test_nothing_to_look_up_asks_nobody() -> None:
    table = DynamoDB(set())
    assert read(table, []) == set()
    assert table.calls == []


@pytest.mark.parametrize("count", [1, 99, 100, 101, 200, 250])
def test_any_number_of_media_is_looked_up_a_hundred_at_a_time(count: int) -> None:
    table = DynamoDB(set(ids(count)[::2]))
    assert read(table, ids(count)) == set(ids(count)[::2])
    assert [len(call) for call in table.calls] == [100] * (count // 100) + ([count % 100] if count % 100 else [])


def test_a_medium_that_is_asked_for_twice_is_looked_up_once() -> None:
    table = DynamoDB({"a", "b"})
    assert read(table, ["a", "b", "a"]) == {"a", "b"}
    assert table.calls == [["a", "b"]]


@pytest.mark.scenario(45)
def test_keys_that_were_left_are_asked_for_again_after_a_wait() -> None:
    table = DynamoDB(set(ids(150)), 60, 1)
    naps: list[float] = []
    assert read(table, ids(150), naps) == set(ids(150))
    assert [len(call) for call in table.calls] == [100, 60, 1, 50]
    assert naps == pytest.approx([0.05, 0.05])


def test_waits_grow_while_nothing_comes() -> None:
    table = DynamoDB({"a"}, 1, 1, 1)
    naps: list[float] = []
    assert read(table, ["a"], naps) == {"a"}
    assert naps == pytest.approx([0.1, 0.2, 0.4])


def test_a_table_that_gives_something_each_time_is_read_to_its_end() -> None:
    table = DynamoDB(set(ids(40)), *range(39, 0, -1))
    assert read(table, ids(40)) == set(ids(40))


def test_a_table_that_gives_nothing_for_too_long_is_trouble_that_may_pass() -> None:
    table = DynamoDB({"a"}, *[1] * 50)
    with pytest.raises(TransientError, match="1 keys of library"):
        read(table, ["a"])
    assert len(table.calls) == 8


@pytest.fixture
def dynamodb(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "unit-test")
    with mock_aws():
        yield boto3.resource("dynamodb", "eu-central-1")


def test_records_come_as_plain_values_and_without_those_of_files(dynamodb: Any) -> None:
    table = dynamodb.create_table(
        TableName="library",
        KeySchema=[{"AttributeName": "media_id", "KeyType": "HASH"}, {"AttributeName": "item", "KeyType": "RANGE"}],
        AttributeDefinitions=[
            {"AttributeName": "media_id", "AttributeType": "S"},
            {"AttributeName": "item", "AttributeType": "N"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    for number in range(120):
        table.put_item(Item={"media_id": f"m{number}", "item": 0, "status": STORED, "epoch": number})
        table.put_item(Item={"media_id": f"m{number}", "item": 1, "key": "gopro/…"})
    records = medium_records(dynamodb.meta.client, "library", ids(130))
    assert set(records) == set(ids(120))
    assert records["m7"] == {"media_id": "m7", "item": 0, "status": "STORED", "epoch": 7}
