"""Leases and epochs of the library table."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from services.downloader.lease import LEASE, AlreadyStored, Busy, Lease, Library
from services.shared.errors import TransientError
from services.shared.events import MediaDiscovered
from services.shared.inbox import Fenced, Heartbeat
from services.shared.library import DOWNLOADING, STORED, medium_records

TABLE = "library"


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "unit-test")
    with mock_aws():
        resource = boto3.resource("dynamodb", region_name="eu-central-1")
        keys = [("media_id", "S", "HASH"), ("item", "N", "RANGE")]
        resource.create_table(
            TableName=TABLE,
            KeySchema=[{"AttributeName": n, "KeyType": k} for n, _, k in keys],
            AttributeDefinitions=[{"AttributeName": n, "AttributeType": t} for n, t, _ in keys],
            BillingMode="PAY_PER_REQUEST",
        )
        yield resource.meta.client


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def library(client: Any, clock: Clock) -> Library:
    return Library(client, TABLE, now=clock, sleep=lambda _: None)


def medium(sync_id: str = "s-1", item_count: int = 1) -> MediaDiscovered:
    return MediaDiscovered(sync_id=sync_id, media_id="m-1", filename="GX010123.MP4", item_count=item_count)


def taken(library: Library, event: MediaDiscovered | None = None) -> Lease:
    lease = library.take(event or medium())
    assert isinstance(lease, Lease)
    return lease


def test_a_medium_under_a_live_lease_is_busy_and_after_its_end_it_is_not(library: Library, clock: Clock) -> None:
    first = taken(library)
    busy = library.take(medium("s-2"))
    assert isinstance(busy, Busy)
    assert busy.seconds_left == LEASE.total_seconds()
    clock.now += LEASE
    assert taken(library, medium("s-2")).epoch == first.epoch + 1


@pytest.mark.parametrize("captured_at", ["2026-01-30T21:08:11Z", None])
def test_taking_a_medium_writes_down_what_it_is_who_has_it_and_until_when(
    library: Library, clock: Clock, client: Any, captured_at: str | None
) -> None:
    event = replace(medium(), captured_at=captured_at)
    library.failed(taken(library, event), "why")
    lease = taken(library, replace(event, sync_id="s-2"))
    record = medium_records(client, TABLE, ["m-1"])["m-1"]
    assert lease == Lease(media_id="m-1", epoch=2)
    assert {name: value for name, value in record.items() if name != "failed_at"} == {
        "media_id": "m-1",
        "item": 0,
        "status": DOWNLOADING,
        "epoch": 2,
        "lease_until": int((clock.now + LEASE).timestamp()),
        "tried_at": "2026-11-23T02:00:00Z",
        "sync_id": "s-2",
        "filename": "GX010123.MP4",
        "captured_at": captured_at or "",
    }


class Refusing:
    """A client that refuses to write, and reads this of the medium."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.answer = answer
        self.asked: list[dict[str, Any]] = []

    def update_item(self, **_: Any) -> Any:
        raise ClientError({"Error": {"Code": "ConditionalCheckFailedException", "Message": ""}}, "UpdateItem")

    def get_item(self, **request: Any) -> Any:
        self.asked.append(request)
        return self.answer


@pytest.mark.parametrize(
    ("answer", "seconds_left"),
    [({"Item": {"lease_until": 50}}, 50), ({"Item": {"lease_until": -9}}, 1), ({"Item": {}}, 1), ({}, 1)],
    ids=["a live lease", "one that has just ended", "one that was just given up", "a record that has just gone"],
)
def test_a_medium_that_can_not_be_had_is_busy_for_a_second_at_least(
    clock: Clock, answer: dict[str, Any], seconds_left: float
) -> None:
    answer = {
        name: {key: int(clock.now.timestamp()) + value for key, value in item.items()} for name, item in answer.items()
    }
    client = Refusing(answer)
    library = Library(client, TABLE, now=clock, sleep=lambda _: None)  # type: ignore[arg-type]
    assert library.take(medium()) == Busy(seconds_left=seconds_left)
    assert client.asked == [{"TableName": TABLE, "Key": {"media_id": "m-1", "item": 0}, "ConsistentRead": True}]


def test_a_lease_ends_before_a_killed_workers_message_is_visible_again() -> None:
    assert LEASE.total_seconds() < Heartbeat.HIDDEN_SECONDS
    assert LEASE.total_seconds() > Heartbeat.PATIENCE_SECONDS  # a worker that can't renew stops before another starts


def test_renewing_keeps_a_medium_busy_and_notes_the_progress(library: Library, clock: Clock, client: Any) -> None:
    lease = taken(library)
    clock.now += timedelta(seconds=100)
    library.renew(lease, bytes_done=7)
    clock.now += timedelta(seconds=100)
    assert isinstance(library.take(medium()), Busy)
    assert medium_records(client, TABLE, ["m-1"])["m-1"]["bytes_done"] == 7


def test_a_released_lease_is_free_at_once(library: Library) -> None:
    lease = taken(library)
    library.release(lease)
    assert taken(library).epoch == lease.epoch + 1


@pytest.mark.parametrize("end", ["release", "stored", "failed"])
def test_a_heartbeat_that_comes_too_late_takes_back_no_lease_that_was_given_up(
    library: Library, client: Any, end: str
) -> None:
    lease = taken(library)
    ends: dict[str, Any] = {
        "release": lambda: library.release(lease),
        "stored": lambda: library.stored(lease, item_count=1, files=1, total_bytes=1),
        "failed": lambda: library.failed(lease, "why"),
    }
    ends[end]()
    with pytest.raises(Fenced):
        library.renew(lease, bytes_done=1)
    assert "lease_until" not in medium_records(client, TABLE, ["m-1"])["m-1"]


@pytest.mark.scenario(43)
@pytest.mark.parametrize("write", ["renew", "release", "save_file", "stored", "failed"])
def test_a_worker_of_an_older_epoch_can_write_nothing(library: Library, clock: Clock, client: Any, write: str) -> None:
    old = taken(library)
    clock.now += LEASE
    taken(library)
    before = client.scan(TableName=TABLE)["Items"]
    writes: dict[str, Any] = {
        "renew": lambda: library.renew(old, bytes_done=1),
        "release": lambda: library.release(old),
        "save_file": lambda: library.save_file(old, 1, {"key": "k"}),
        "stored": lambda: library.stored(old, item_count=1, files=1, total_bytes=1),
        "failed": lambda: library.failed(old, "why"),
    }
    with pytest.raises(Fenced):
        writes[write]()
    assert client.scan(TableName=TABLE)["Items"] == before


@pytest.mark.scenario(54)
@pytest.mark.parametrize("apart", [timedelta(minutes=5), timedelta(minutes=-5)], ids=["ahead", "behind"])
def test_of_two_workers_whose_clocks_are_five_minutes_apart_one_completes(
    library: Library, clock: Clock, client: Any, apart: timedelta
) -> None:
    first = taken(library)
    other = Library(client, TABLE, now=lambda: clock.now + apart, sleep=lambda _: None)
    met = other.take(medium("s-2"))
    if isinstance(met, Busy):
        # The one behind waits; however long it thinks it has to, the other's end frees the medium at once.
        library.stored(first, item_count=1, files=1, total_bytes=5)
        assert other.take(medium("s-2")) == AlreadyStored(epoch=first.epoch, sync_id="s-1")
    else:
        # To the one ahead the lease is over: it takes the medium over, and the first may write no more.
        assert isinstance(met, Lease)
        with pytest.raises(Fenced):
            library.stored(first, item_count=1, files=1, total_bytes=5)
        with pytest.raises(Fenced):
            library.renew(first, bytes_done=1)
        other.stored(met, item_count=1, files=1, total_bytes=5)
    assert medium_records(client, TABLE, ["m-1"])["m-1"]["status"] == STORED
    assert isinstance(met, Lease) == (apart > timedelta())


def test_a_stored_medium_is_not_taken_again_by_another_sync(library: Library) -> None:
    lease = taken(library)
    library.stored(lease, item_count=1, files=1, total_bytes=5)
    assert library.take(medium("s-2")) == AlreadyStored(epoch=lease.epoch, sync_id="s-1")


def test_a_stored_medium_that_has_grown_is_taken_again(library: Library) -> None:
    library.stored(taken(library), item_count=1, files=1, total_bytes=5)
    assert isinstance(library.take(medium("s-2", item_count=2)), Lease)


def test_a_failed_medium_says_why_and_can_be_taken_again(library: Library, client: Any) -> None:
    library.failed(taken(library), "x" * 1000)
    record = medium_records(client, TABLE, ["m-1"])["m-1"]
    assert (record["status"], record["sync_id"], len(record["reason"])) == ("FAILED", "s-1", 300)
    assert isinstance(library.take(medium("s-2")), Lease)
    assert "reason" not in medium_records(client, TABLE, ["m-1"])["m-1"]


def test_file_records_come_back_by_item_without_the_mediums_own(library: Library) -> None:
    lease = taken(library)
    library.save_file(lease, 2, {"key": "b", "size": 2})
    library.save_file(lease, 1, {"key": "a", "size": 1})
    assert {item: record["key"] for item, record in library.files("m-1").items()} == {1: "a", 2: "b"}


class Conflicting:
    """A client whose writes collide so often before they go through."""

    def __init__(self, client: Any, times: int) -> None:
        self.client, self.times = client, times

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def update_item(self, **request: Any) -> Any:
        self.times -= 1
        if self.times >= 0:
            raise ClientError({"Error": {"Code": "TransactionConflictException", "Message": ""}}, "UpdateItem")
        return self.client.update_item(**request)

    def transact_write_items(self, **request: Any) -> Any:
        self.times -= 1
        if self.times >= 0:
            response: Any = {
                "Error": {"Code": "TransactionCanceledException", "Message": "cancelled"},
                "CancellationReasons": [{"Code": "TransactionConflict"}, {"Code": "None"}],
            }
            raise ClientError(response, "TransactWriteItems")
        return self.client.transact_write_items(**request)


@pytest.mark.scenario(45)
def test_a_write_that_collides_with_the_own_heartbeat_is_tried_again(client: Any) -> None:
    lease = taken(Library(client, TABLE))
    library = Library(Conflicting(client, 3), TABLE, sleep=lambda _: None)  # type: ignore[arg-type]
    library.save_file(lease, 1, {"key": "a"})
    assert library.files("m-1")[1]["key"] == "a"


def test_a_write_that_keeps_colliding_fails_for_this_try(client: Any) -> None:
    lease = taken(Library(client, TABLE))
    library = Library(Conflicting(client, 99), TABLE, sleep=lambda _: None)  # type: ignore[arg-type]
    with pytest.raises(TransientError):
        library.save_file(lease, 1, {"key": "a"})


def test_a_medium_that_is_being_written_at_the_very_moment_is_found_busy(client: Any, clock: Clock) -> None:
    taken(Library(client, TABLE, now=clock))
    library = Library(Conflicting(client, 3), TABLE, now=clock, sleep=lambda _: None)  # type: ignore[arg-type]
    assert isinstance(library.take(medium("s-2")), Busy)
