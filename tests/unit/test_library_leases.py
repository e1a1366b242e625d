"""Leases and epochs of the library table."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from services.downloader.library_table import LEASE, AlreadyStored, Busy, Lease, LibraryTable, TableContended
from services.shared.errors import Fenced
from services.shared.events import FailedFile, MediaDiscovered
from services.shared.inbox.heartbeat import Heartbeat
from services.shared.library.records import FileRecord, LibraryReader, MediumRecord, Row, Status
from tests.unit.clocks import ManualClock
from tests.unit.downloader_stage import TABLE, library_table_client

FILE = FileRecord(media_id="m-1", item=1, key="a")


class Stage:
    """A library table, and workers of it whose clock is the stage's."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.clock = ManualClock()
        self.library = LibraryTable(client, TABLE, clock=self.clock)

    def take(self, event: MediaDiscovered) -> Lease:
        lease = self.library.take(event)
        assert isinstance(lease, Lease)
        return lease

    def record(self) -> MediumRecord:
        return LibraryReader(self.client, TABLE, clock=self.clock).media(["m-1"])["m-1"]

    def worker(self, client: object) -> LibraryTable:
        return LibraryTable(cast("Any", client), TABLE, clock=self.clock)


@pytest.fixture
def stage() -> Iterator[Stage]:
    with mock_aws():
        yield Stage(library_table_client())


def medium(sync_id: str = "s-1", item_count: int = 1) -> MediaDiscovered:
    return MediaDiscovered(sync_id=sync_id, media_id="m-1", filename="GX010123.MP4", item_count=item_count)


def finish(library: LibraryTable, lease: Lease) -> None:
    library.finish(lease, row=Row(item_count=1), files=1, total_bytes=5)


# ── Taking a medium ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_medium_is_busy_until_its_lease_ends(stage: Stage) -> None:
    first = stage.take(medium())
    assert stage.library.take(medium("s-2")) == Busy(epoch=1, seconds_left=LEASE.total_seconds())
    stage.clock.advance(LEASE.total_seconds())
    assert stage.take(medium("s-2")).epoch == first.epoch + 1


@pytest.mark.parametrize("captured_at", ["2026-01-30T21:08:11Z", None])
def test_taking_a_medium_records_what_it_is_and_who_has_it_until_when(stage: Stage, captured_at: str | None) -> None:
    event = replace(medium(), captured_at=captured_at)
    stage.library.fail(stage.take(event), "why")
    assert stage.take(replace(event, sync_id="s-2")) == Lease(media_id="m-1", epoch=2)
    assert stage.record() == MediumRecord(
        media_id="m-1",
        status=Status.DOWNLOADING,
        epoch=2,
        lease_until=int((stage.clock.now() + LEASE).timestamp()),
        tried_at="2026-11-23T02:00:00Z",
        failed_at="2026-11-23T02:00:00Z",
        reason="why",  # of the last failure, until the medium is stored
        files_stored=0,
        sync_id="s-2",
        filename="GX010123.MP4",
        captured_at=captured_at or "",
    )


class Refusing:
    """A client that refuses to write, and reads this of the medium."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.answer = answer
        self.asked: list[dict[str, Any]] = []

    def update_item(self, **_: object) -> None:
        raise ClientError({"Error": {"Code": "ConditionalCheckFailedException", "Message": ""}}, "UpdateItem")

    def get_item(self, **request: Any) -> Any:
        self.asked.append(request)
        return self.answer


@pytest.mark.parametrize(
    ("lease_until", "seconds_left"),
    [(50, 50), (-9, 1), (None, 1)],
    ids=["a live lease", "a lease that has just ended", "a record that has just gone"],
)
def test_a_medium_that_cannot_be_taken_is_busy_for_a_second_at_least(
    stage: Stage, lease_until: int | None, seconds_left: float
) -> None:
    now = int(stage.clock.now().timestamp())
    client = Refusing({} if lease_until is None else {"Item": {"epoch": 7, "lease_until": now + lease_until}})
    epoch = 0 if lease_until is None else 7
    assert stage.worker(client).take(medium()) == Busy(epoch=epoch, seconds_left=seconds_left)
    assert client.asked == [{"TableName": TABLE, "Key": {"media_id": "m-1", "item": 0}, "ConsistentRead": True}]


def test_a_stored_medium_is_taken_again_only_when_it_has_grown(stage: Stage) -> None:
    lease = stage.take(medium())
    finish(stage.library, lease)
    assert stage.library.take(medium("s-2")) == AlreadyStored(epoch=lease.epoch, sync_id="s-1")
    assert stage.take(medium("s-2", item_count=2)).epoch == 2


LISTED = Row(item_count=1, size=5, reprocessed_at="2026-01-05T00:00:00Z", labels="gpmf,source")


def look(sync_id: str = "s-2", row: Row = LISTED) -> MediaDiscovered:
    return replace(
        medium(sync_id, row.item_count or 0),
        size=row.size,
        reprocessed_at=row.reprocessed_at,
        labels=tuple(row.labels.split(",")) if row.labels else (),
        look_again=True,
    )


@pytest.mark.parametrize(
    "change", [{"item_count": 2}, {"size": 4}, {"reprocessed_at": "2026-02-01T00:00:00Z"}, {"labels": "source"}]
)
def test_a_stored_medium_is_taken_for_a_look_only_if_its_row_has_changed(stage: Stage, change: dict[str, Any]) -> None:
    stage.library.finish(stage.take(medium()), row=LISTED, files=1, total_bytes=5, warning="w")
    assert stage.record().row == LISTED
    assert stage.library.take(look()) == AlreadyStored(epoch=1, sync_id="s-1", warning="w")
    changed = replace(LISTED, **change)
    unmarked = replace(look(row=changed), look_again=False, item_count=1)
    assert stage.library.take(unmarked) == AlreadyStored(epoch=1, sync_id="s-1", warning="w")
    stage.library.finish(stage.take(look(row=changed)), row=changed, files=1, total_bytes=5)
    assert (stage.record().row, stage.record().warning) == (changed, "")
    assert stage.library.take(look("s-3", changed)) == AlreadyStored(epoch=2, sync_id="s-2")


def test_what_gopro_no_longer_says_is_no_reason_for_a_look(stage: Stage) -> None:
    stage.library.finish(stage.take(medium()), row=LISTED, files=1, total_bytes=5)
    silent = Row(labels="other")
    assert stage.library.take(look(row=Row(item_count=1))) == AlreadyStored(epoch=1, sync_id="s-1")
    stage.library.finish(stage.take(look(row=silent)), row=silent, files=1, total_bytes=5)
    assert stage.record().row == replace(LISTED, labels="other", reprocessed_at="")


@pytest.mark.parametrize("row", [Row(item_count=1), Row(item_count=1, size=5), Row()])
def test_a_medium_stored_without_a_row_can_be_looked_at_once(stage: Stage, row: Row) -> None:
    stage.library.finish(stage.take(medium()), row=row, files=1, total_bytes=5)
    assert stage.record().row is None, "a message of 0.1.0 says no more"
    stage.library.finish(stage.take(look()), row=LISTED, files=1, total_bytes=5)
    assert stage.library.take(look("s-3")) == AlreadyStored(epoch=2, sync_id="s-2")


def test_a_row_that_says_little_is_remembered_after_a_look_all_the_same(stage: Stage) -> None:
    stage.library.finish(stage.take(medium()), row=Row(size=5), files=1, total_bytes=5)
    stage.library.finish(stage.take(look(row=Row(size=6))), row=Row(size=6), files=1, total_bytes=6, looked_again=True)
    assert stage.record().row == Row(size=6)


def test_a_look_that_failed_leaves_the_medium_stored_with_the_reason_and_the_old_row(stage: Stage) -> None:
    stage.library.finish(stage.take(medium()), row=Row(item_count=1), files=1, total_bytes=5)
    stage.library.fail(stage.take(look()), "no answer", is_stored=True)
    record = stage.record()
    assert (record.status, record.reason, record.row) == (Status.STORED, "no answer", None)
    assert stage.take(look("s-3")).epoch == 3


def test_a_failed_medium_has_a_reason_and_can_be_taken_again(stage: Stage) -> None:
    stage.library.fail(stage.take(medium()), "x" * 1000)
    assert (stage.record().status, stage.record().sync_id, stage.record().reason) == (Status.FAILED, "s-1", "x" * 300)
    finish(stage.library, stage.take(medium("s-2")))
    assert stage.record().reason is None


def test_a_failure_that_lasts_is_known_since_the_sync_that_met_it_first(stage: Stage) -> None:
    def fail(sync_id: str, reason: str = "gone", **more: Any) -> str:
        stage.clock.advance(3600)
        return stage.library.fail(stage.take(medium(sync_id)), reason, for_good=True, **more)

    assert fail("s-1") == ""
    assert fail("s-1") == "", "the sync that met it first may report it again"
    assert fail("s-2") == fail("s-3") == "2026-11-23T03:00:00Z"
    assert stage.record().known_since == "2026-11-23T03:00:00Z"
    assert fail("s-4", "another reason") == ""
    assert fail("s-5", "another reason") == "2026-11-23T07:00:00Z"
    stage.library.fail(stage.take(medium("s-6")), "another reason", files_total=0)
    assert (stage.record().known_since, stage.record().known_by) == (None, None)
    assert fail("s-7", "another reason") == ""


def test_a_failure_says_how_many_files_are_stored_and_which_are_not_until_all_are(stage: Stage) -> None:
    lease = stage.take(medium())
    failed = (FailedFile(name="a.JPG", reason="gone"), FailedFile(name="", reason="GoPro offers 3"))
    stage.library.fail(lease, "why", for_good=True, files_stored=11, files_total=13, failed_files=failed)
    record = stage.record()
    assert (record.files_stored, record.files_total, record.failed_files) == (11, 13, failed)
    stage.library.fail(stage.take(medium("s-2")), "why", files_stored=11)
    assert (stage.record().files_total, stage.record().failed_files) == (13, ()), "0 is unknown"
    finish(stage.library, stage.take(medium("s-3")))
    record = stage.record()
    assert (record.files_stored, record.files_total, record.failed_files, record.known_since, record.known_by) == (
        None, 1, (), None, None,
    )  # fmt: skip


# ── Holding a lease ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_lease_ends_before_a_killed_workers_message_is_visible_again() -> None:
    assert LEASE.total_seconds() < Heartbeat.HIDDEN_SECONDS
    assert LEASE.total_seconds() > Heartbeat.PATIENCE_SECONDS  # a worker that can't renew stops before another starts


def test_renewing_keeps_a_medium_busy_and_records_the_progress(stage: Stage) -> None:
    lease = stage.take(medium())
    stage.clock.advance(100)
    stage.library.renew(lease, bytes_done=7)
    stage.clock.advance(100)
    assert isinstance(stage.library.take(medium()), Busy)
    assert stage.record().bytes_done == 7


ENDS: dict[str, Callable[[LibraryTable, Lease], object]] = {
    "release": lambda library, lease: library.release(lease),
    "finish": finish,
    "fail": lambda library, lease: library.fail(lease, "why"),
}
WRITES: dict[str, Callable[[LibraryTable, Lease], object]] = {
    **ENDS,
    "renew": lambda library, lease: library.renew(lease, bytes_done=1),
    "save_files": lambda library, lease: library.save_files(lease, [FILE]),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_late_heartbeat_renews_no_lease_that_was_given_back(
    stage: Stage, end: Callable[[LibraryTable, Lease], object]
) -> None:
    lease = stage.take(medium())
    end(stage.library, lease)
    with pytest.raises(Fenced):
        stage.library.renew(lease, bytes_done=1)
    assert stage.record().lease_until is None


@pytest.mark.scenario(43)
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_worker_of_an_older_epoch_can_write_nothing(
    stage: Stage, write: Callable[[LibraryTable, Lease], object]
) -> None:
    old = stage.take(medium())
    stage.clock.advance(LEASE.total_seconds())
    stage.take(medium())
    before = stage.client.scan(TableName=TABLE)["Items"]
    with pytest.raises(Fenced):
        write(stage.library, old)
    assert stage.client.scan(TableName=TABLE)["Items"] == before


@pytest.mark.scenario(54)
@pytest.mark.parametrize("apart", [timedelta(minutes=5), timedelta(minutes=-5)], ids=["ahead", "behind"])
def test_one_of_two_workers_whose_clocks_are_five_minutes_apart_completes(stage: Stage, apart: timedelta) -> None:
    first = stage.take(medium())
    other = LibraryTable(stage.client, TABLE, clock=ManualClock(stage.clock.now() + apart))
    met = other.take(medium("s-2"))
    if isinstance(met, Busy):
        # The worker behind waits. However long it would, the other's end frees the medium at once.
        finish(stage.library, first)
        assert other.take(medium("s-2")) == AlreadyStored(epoch=first.epoch, sync_id="s-1")
    else:
        # For the worker ahead the lease is over. It takes the medium, and the first one can write nothing more.
        assert isinstance(met, Lease)
        for write in (WRITES["finish"], WRITES["renew"]):
            with pytest.raises(Fenced):
                write(stage.library, first)
        finish(other, met)
    assert stage.record().status == Status.STORED
    assert isinstance(met, Lease) == (apart > timedelta())


def test_file_records_are_read_by_item_without_the_mediums_own(stage: Stage) -> None:
    lease = stage.take(medium())
    second = replace(FILE, item=2, key="b")
    for record in (second, FILE):
        stage.library.save_files(lease, [record])
    assert stage.library.files("m-1") == {1: FILE, 2: second}


# ── Collisions ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Conflicting:
    """A client whose writes fail so often before they succeed. `reason`: why its transactions are cancelled."""

    def __init__(
        self, client: Any, times: int, reason: str = "TransactionConflict", code: str = "TransactionConflictException"
    ) -> None:
        self._client, self._times, self._reason, self._code = client, times, reason, code

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def _collide(self, operation: str, code: str, **more: object) -> None:
        self._times -= 1
        if self._times >= 0:
            response: Any = {"Error": {"Code": code, "Message": ""}, **more}
            raise ClientError(response, operation)

    def update_item(self, **request: Any) -> Any:
        self._collide("UpdateItem", self._code)
        return self._client.update_item(**request)

    def transact_write_items(self, **request: Any) -> Any:
        reasons = [{"Code": self._reason}, {"Code": "None"}]
        self._collide("TransactWriteItems", "TransactionCanceledException", CancellationReasons=reasons)
        return self._client.transact_write_items(**request)


@pytest.mark.scenario(45)
@pytest.mark.parametrize("reason", ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"])
def test_a_write_that_collides_or_is_throttled_is_repeated(stage: Stage, reason: str) -> None:
    lease = stage.take(medium())
    stage.worker(Conflicting(stage.client, 5, reason)).save_files(lease, [FILE])
    assert stage.library.files("m-1") == {1: FILE}
    assert stage.clock.slept == [0.05, 0.1, 0.2, 0.4]


@pytest.mark.parametrize(
    "code", ["ThrottlingException", "ProvisionedThroughputExceededException", "RequestLimitExceeded"]
)
def test_a_single_write_that_is_throttled_is_repeated_too(stage: Stage, code: str) -> None:
    lease = stage.take(medium())
    stage.worker(Conflicting(stage.client, 5, code=code)).release(lease)
    assert stage.clock.slept == [0.05, 0.1, 0.2, 0.4]


@pytest.mark.parametrize("reason", ["ThrottlingException", "TransactionInProgressException"])
def test_whatever_word_a_cancelled_transaction_has_for_it_it_is_repeated(stage: Stage, reason: str) -> None:
    lease = stage.take(medium())
    stage.worker(Conflicting(stage.client, 1, reason)).save_files(lease, [FILE])
    assert stage.library.files("m-1") == {1: FILE}


def test_a_worker_makes_one_write_at_a_time_so_that_its_heartbeat_never_collides_with_it(stage: Stage) -> None:
    lease, order, renewing = stage.take(medium()), [], threading.Event()

    class Watched:
        def update_item(self, **_: object) -> None:
            order.append("renewed")

        def transact_write_items(self, **_: object) -> None:
            beat.start()
            assert renewing.wait(5)
            order.append("saved")

    worker = stage.worker(Watched())

    def renew() -> None:
        renewing.set()
        worker.renew(lease, bytes_done=1)

    beat = threading.Thread(target=renew)
    worker.save_files(lease, [FILE])
    beat.join()
    assert order == ["saved", "renewed"]


def test_a_write_that_keeps_colliding_fails_this_try(stage: Stage) -> None:
    lease = stage.take(medium())
    with pytest.raises(TableContended):
        stage.worker(Conflicting(stage.client, 6)).save_files(lease, [FILE])


def test_a_medium_that_is_being_written_at_this_moment_is_busy(stage: Stage) -> None:
    stage.take(medium())
    assert isinstance(stage.worker(Conflicting(stage.client, 3)).take(medium("s-2")), Busy)
