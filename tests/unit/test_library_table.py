"""Reading the library table: every medium asked for is read, however DynamoDB portions it out."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

import pytest

from services.shared.dynamodb import KeysUnprocessed
from services.shared.library.records import MEDIUM, FileRecord, LibraryReader, MediumRecord, Status
from tests.unit.clocks import ManualClock


class DynamoDB:
    """Answers BatchGetItem, and leaves as many keys unprocessed as the script says, call by call."""

    def __init__(self, stored: Sequence[str], *leaves: int) -> None:
        self._stored = stored
        self._leaves = list(leaves)
        self.calls: list[list[str]] = []
        self.clock = ManualClock()

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

    def read(self, media_ids: Sequence[str]) -> set[str]:
        records = LibraryReader(cast("Any", self), "library", clock=self.clock).media(media_ids)
        assert all(record.media_id == media_id for media_id, record in records.items())
        return set(records)


def ids(count: int) -> list[str]:
    return [f"m{number}" for number in range(count)]


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 200, 250])
def test_any_number_of_media_is_read_a_hundred_at_a_time(count: int) -> None:
    table = DynamoDB(ids(count)[::2])
    assert table.read(ids(count)) == set(ids(count)[::2])
    assert [len(call) for call in table.calls] == [100] * (count // 100) + ([count % 100] if count % 100 else [])


def test_a_medium_that_is_asked_for_twice_is_read_once() -> None:
    table = DynamoDB(["a", "b"])
    assert table.read(["a", "b", "a"]) == {"a", "b"}
    assert table.calls == [["a", "b"]]


@pytest.mark.scenario(45)
def test_keys_that_dynamodb_left_are_asked_for_again_after_growing_pauses() -> None:
    table = DynamoDB(ids(150), 60, 60, 60, 1, 0, 50)
    assert table.read(ids(150)) == set(ids(150))
    assert [len(call) for call in table.calls] == [100, 60, 60, 60, 1, 50, 50]
    assert table.clock.slept == pytest.approx([0.1, 0.2, 0.1])


def test_a_table_that_returns_one_item_each_time_is_read_to_its_end() -> None:
    table = DynamoDB(ids(40), *range(39, 0, -1))
    assert table.read(ids(40)) == set(ids(40))


def test_a_table_that_returns_nothing_eight_times_is_a_transient_error() -> None:
    table = DynamoDB(["a"], *[1] * 50)
    with pytest.raises(KeysUnprocessed, match="1 keys of library"):
        table.read(["a"])
    assert len(table.calls) == 8


# ── Records ──────────────────────────────────────────────────────────────────────────────────────────────────────────

MEDIUM_ITEM = {
    "media_id": "m", "item": 0, "status": "STORED", "epoch": 3, "sync_id": "s", "filename": "a.MP4", "captured_at": "",
    "tried_at": "t", "item_count": 2, "files_total": 2, "bytes_total": 2**40, "bytes_done": 7, "stored_at": "t",
    "warning": "w",
}  # fmt: skip
FILE_ITEM = {
    "media_id": "m", "item": 1, "status": "UPLOADING", "origin": "source/default/1", "original_name": "", "key": "k",
    "size": 12, "origin_etag": "e-2", "part_count": 3, "upload_id": "", "part_size": 5, "sync_id": "s",
}  # fmt: skip


def in_dynamodb(item: dict[str, Any]) -> dict[str, Any]:
    return {name: Decimal(value) if isinstance(value, int) else value for name, value in item.items()}


@pytest.mark.parametrize(("kind", "item"), [(MediumRecord, MEDIUM_ITEM), (FileRecord, FILE_ITEM)])
def test_a_record_is_written_as_it_was_read(kind: type[MediumRecord | FileRecord], item: dict[str, Any]) -> None:
    record = kind.from_item(in_dynamodb(item))
    assert record.to_item() == item
    assert {type(value) for value in record.to_item().values()} == {str, int, Status}


def test_unknown_attributes_are_ignored_and_missing_ones_have_their_default() -> None:
    assert MediumRecord.from_item({"media_id": "m", "item": 0, "of_tomorrow": {1}}) == MediumRecord(media_id="m")
    assert FileRecord.from_item({"media_id": "m", "item": 1, "status": "MELTED"}) == FileRecord(media_id="m", item=1)


@pytest.mark.parametrize(
    ("status", "lease_until", "leased"),
    [
        (Status.DOWNLOADING, 1001, True),
        (Status.DOWNLOADING, 1000, False),
        (Status.DOWNLOADING, None, False),
        (Status.STORED, 1001, False),
    ],
)
def test_a_medium_is_leased_until_its_lease_ends(status: Status, lease_until: int | None, leased: bool) -> None:
    record = MediumRecord(media_id="m", status=status, lease_until=lease_until)
    assert record.is_leased(datetime.fromtimestamp(1000, UTC)) is leased
