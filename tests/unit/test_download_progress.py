"""What the downloader says of its progress while bytes arrive."""

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any, cast

import pytest
from botocore.exceptions import EndpointConnectionError

from ops import prices
from ops.local.gopro_cloud import FakeGoProCloud, Generated
from ops.local.gopro_cloud.faults import Drop, SharedLimit
from services.downloader import progress
from services.downloader.library_table import Lease, LibraryTable
from services.shared.clock import Clock
from services.shared.library.records import GOPRO, LaneProgress, LibraryReader, MediumRecord
from tests.unit.downloader_stage import MIB, SIZE, Message, Stage, discovered, downloader_stage, video


@pytest.fixture(scope="module")
def cloud() -> Iterator[FakeGoProCloud]:
    with FakeGoProCloud() as running:
        yield running


@pytest.fixture
def stage(cloud: FakeGoProCloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setattr("services.shared.gopro.client.PACE_SECONDS", 0.0)
    with downloader_stage(cloud) as stage:
        yield stage


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> list[LaneProgress]:
    """What the lanes write from now on, as often as bytes arrive."""
    written: list[LaneProgress] = []
    note = LibraryTable.note

    def noting(self: LibraryTable, lease: Lease, now: LaneProgress) -> None:
        written.append(now)
        note(self, lease, now)

    monkeypatch.setattr(progress, "INTERVAL_SECONDS", 0.0)
    monkeypatch.setattr(LibraryTable, "note", noting)
    return written


@pytest.mark.parametrize("connections", [1, 4])
def test_bytes_are_told_as_they_arrive_and_none_twice(
    stage: Stage, noted: list[LaneProgress], connections: int
) -> None:
    stage.connections = connections
    stage.serve(video(Drop(at_bytes=3 * MIB)))
    stage.stored(discovered())

    counts = [now.bytes for now in noted]
    assert len(counts) > 6  # more than parts
    assert counts == sorted(counts)
    # Of several connections, one may bring the last bytes while the progress before them is written.
    assert counts[-1] == SIZE if connections == 1 else counts[-1] <= SIZE
    assert {now.of_bytes for now in noted} == {SIZE}
    assert {(now.of_parts, now.of_files, now.files) for now in noted} == {(3, 1, 0)}


def test_the_progress_of_a_stored_medium_is_forgotten(stage: Stage, noted: list[LaneProgress]) -> None:
    stage.serve(video())
    stage.stored(discovered())

    assert noted
    assert stage.record().progress is None


def test_a_resumed_download_begins_with_what_the_bucket_has(stage: Stage, noted: list[LaneProgress]) -> None:
    stage.serve(video())
    message = Message()
    note = stage.dynamodb.update_item

    def end_the_slice(**given: Any) -> Any:
        if len(noted) > 7:
            message.seconds = 50.0
        return note(**given)

    stage.dynamodb.update_item = end_the_slice
    try:
        paused = stage.react(discovered(), message)
    finally:
        stage.dynamodb.update_item = note
    done = getattr(paused, "parts_done", 0)
    assert 0 < done < 3
    noted.clear()

    stage.stored(paused)  # type: ignore[arg-type]

    assert noted[0].bytes >= done * 5 * MIB
    assert noted[-1].bytes == SIZE


def test_a_fenced_worker_writes_no_progress(stage: Stage) -> None:
    event = discovered()
    lease = stage.library.take(event)
    assert isinstance(lease, Lease)
    stage.library.note(lease, LaneProgress(bytes=1))
    assert stage.record().progress == LaneProgress(bytes=1)
    stage.release()
    other = stage.library.take(event)
    assert other == replace(lease, epoch=2)

    with pytest.raises(stage.dynamodb.exceptions.ConditionalCheckFailedException):
        stage.library.note(lease, LaneProgress(bytes=2))
    assert stage.record().progress is None


def test_a_table_that_refuses_the_progress_costs_the_download_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[int] = []

    def refuse(*_: object) -> None:
        refused.append(1)
        raise EndpointConnectionError(endpoint_url="https://dynamodb")

    monkeypatch.setattr(progress, "INTERVAL_SECONDS", 0.0)
    monkeypatch.setattr(LibraryTable, "note", refuse)
    stage.serve(video())
    stage.stored(discovered())

    assert refused == [1]
    assert stage.is_copied()


def test_progress_is_read_as_it_was_written_and_unknown_attributes_are_ignored(stage: Stage) -> None:
    now = LaneProgress(at=1, bytes=2, of_bytes=3, parts=4, of_parts=5, files=6, of_files=7, waits_for=GOPRO)
    item = MediumRecord(media_id="m-1", progress=now).to_item()
    item["progress"]["later"] = 1
    stage.dynamodb.put_item(TableName="library", Item=item)

    assert LibraryReader(stage.dynamodb, "library", clock=stage.clock).media(["m-1"])["m-1"].progress == now
    assert "progress" not in MediumRecord(media_id="m-1").to_item()


@pytest.mark.slow
def test_a_lane_makes_at_most_one_write_a_second(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prints what docs/operating.md says that it costs: `pytest -s -m slow` with this file."""
    written: list[float] = []
    note = LibraryTable.note

    def noting(self: LibraryTable, lease: Lease, now: LaneProgress) -> None:
        written.append(time.monotonic())
        note(self, lease, now)

    monkeypatch.setattr(LibraryTable, "note", noting)
    stage.clock = cast("Any", Clock())
    size, rate = 256 * MIB, 50_000_000
    stage.serve(video(contents=(Generated(size, "m-1"),), etag_part_bytes=16 * MIB))
    stage.cloud.arm(SharedLimit(bytes_per_second=rate))

    began = time.monotonic()
    stage.stored(discovered())
    seconds = time.monotonic() - began

    assert len(written) > 1
    assert all(after - before >= 1.0 for before, after in pairwise(written))
    for_a_gib = len(written) * 1024 * MIB / size
    for_a_terabyte = len(written) * 1e12 / size * prices.TABLE_WRITE.usd
    print(
        f"\n{size / seconds / 1e6:.0f} MB/s: {for_a_gib:.0f} writes a GiB, {for_a_terabyte:.4f} USD a TB "
        f"({len(written)} writes in {seconds:.1f} s)"
    )
