"""Originals or a library table that are gone: noticed, and restored without fetching what is there."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from ops import command
from ops.local.gopro_cloud import Generated, Shape
from ops.local.gopro_cloud.faults import Throttle
from services.downloader.transfer.parts import SMALLEST_SEGMENT
from tests.e2e.media import MIB, assert_stored, serve, video
from tests.e2e.stage import Stage, eventually

Run = Callable[..., tuple[int, list[str]]]

CHAPTERED = video(
    1, shape=Shape.CHAPTERED, contents=tuple(Generated(6 * MIB + n, f"chapter {n}") for n in range(3)),
    filename="GX010639.MP4",
)  # fmt: skip
BURST = video(
    2, shape=Shape.BURST, contents=tuple(Generated(3_000 + n, f"picture {n}") for n in range(4)),
    filename="G0010131.JPG",
)  # fmt: skip
RAW = video(3, shape=Shape.PHOTO, raw=Generated(5_000, "raw"), filename="GOPR0132.JPG")
SINGLE = video(4, filename="GX010700.MP4")
MEDIA = (CHAPTERED, BURST, RAW, SINGLE)
FILES = 3 + 4 + 2 + 1


@pytest.fixture
def run(stage: Stage, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command on the stage; return its exit status and the lines that it printed."""

    def run(*arguments: str) -> tuple[int, list[str]]:
        capsys.readouterr()
        status = command.main([*arguments, "--stage-dir", str(stage.record.folder)])
        return status, capsys.readouterr().out.splitlines()

    return run


def sync(stage: Stage) -> dict[str, Any]:
    """A whole sync, of which the GoPro Cloud then remembers the requests."""
    stage.control.forget()
    sync_id = stage.trigger()
    stage.wait_for_close(sync_id)
    return stage.summary(sync_id)


def fetched(stage: Stage) -> Counter[str | None]:
    """Bytes that were fetched of each medium."""
    found: Counter[str | None] = Counter()
    for seen in stage.control.requests("cdn"):
        found[seen.media_id] += seen.bytes_sent
    return found


def delete(stage: Stage, key: str) -> None:
    stage.by_hand.add(key)
    stage.client("s3").delete_object(Bucket=stage.outputs["MediaBucketName"], Key=key)


def put(stage: Stage, key: str, body: bytes, **more: Any) -> None:
    stage.by_hand.add(key)
    stage.client("s3").put_object(Bucket=stage.outputs["MediaBucketName"], Key=key, Body=body, **more)


def versions(stage: Stage) -> Counter[str]:
    """How many versions each object has: two where it was written over, or deleted and stored again."""
    return Counter(key for key, _ in stage.versions())


@pytest.mark.scenario(58)
def test_an_object_removed_by_hand_is_reported_and_fetched_again_only_with_refetch(stage: Stage, run: Run) -> None:
    serve(stage, *MEDIA)
    assert sync(stage)["downloaded"] == len(MEDIA)
    status, lines = run("verify")
    assert (status, lines[1:]) == (0, ["0 problems, 0 notices"])
    assert lines[0].startswith(f"{len(MEDIA)} media stored in {FILES} files")

    gone = stage.objects_of(CHAPTERED.media_id)[1]
    delete(stage, gone.key)
    status, lines = run("verify")
    assert status == 1
    wrong = f"WRONG  {CHAPTERED.media_id}  GX020639.MP4  {gone.key}: removed: a delete marker hides it"
    assert [lines[0], lines[-1]] == [wrong, "1 problems, 0 notices"]
    assert run("verify", "--media-id", CHAPTERED.media_id)[1][0] == wrong
    assert run("verify", "--media-id", SINGLE.media_id)[0] == 0

    assert sync(stage)["discovered"] == 0
    assert fetched(stage) == {}

    assert run("verify", "--refetch")[0] == 1
    assert "marked as missing" in run("verify")[1][0]
    summary = sync(stage)
    assert (summary["discovered"], summary["downloaded"], summary["failed"]) == (1, 1, 0)
    assert fetched(stage) == {CHAPTERED.media_id: gone.size}
    assert_stored(stage, *MEDIA)
    assert stage.objects_of(CHAPTERED.media_id)[1].key == gone.key
    assert [key for key, count in versions(stage).items() if count > 1] == [gone.key]
    assert run("verify")[0] == 0
    assert sync(stage)["discovered"] == 0


@pytest.mark.scenario(58)
def test_an_object_that_was_overwritten_stays_and_its_original_is_stored_beside_it(stage: Stage, run: Run) -> None:
    serve(stage, SINGLE)
    sync(stage)
    (before,) = stage.objects_of(SINGLE.media_id)
    # The very metadata and size: only the checksum differs.
    other = bytes(before.size)
    put(stage, before.key, other, Metadata=dict(before.metadata))

    status, lines = run("verify", "--refetch")
    assert status == 1
    assert lines[0].endswith("another checksum, another ETag")
    assert sync(stage)["downloaded"] == 1
    assert fetched(stage) == {SINGLE.media_id: before.size}
    left, right = sorted(stage.objects_of(SINGLE.media_id), key=lambda one: one.key == before.key, reverse=True)
    assert (left.key, left.content()) == (before.key, other)
    assert right.sha256 == stage.control.originals(SINGLE.media_id)[0]["sha256"]
    status, lines = run("verify")
    beside = "claims to be item 1 of this medium, which has another key"
    assert (status, lines[0]) == (0, f"note   {SINGLE.media_id}  GX010700.MP4  {left.key}: {beside}")


@pytest.mark.scenario(59)
def test_adopt_rebuilds_a_lost_library_table_and_nothing_is_downloaded_again(stage: Stage, run: Run) -> None:
    serve(stage, *MEDIA)
    sync(stage)
    before, stored = stage.library(), versions(stage)
    stage.empty_table("LibraryTableName")

    status, lines = run("adopt", "--dry-run")
    assert (status, len(lines)) == (0, len(MEDIA) + 1)
    assert lines[-1].startswith(f"{FILES} objects seen: would adopt {len(MEDIA)} media and {FILES} files")
    assert stage.library() == {}
    status, lines = run("adopt")
    assert (status, lines[-1].split(",")[0]) == (
        0, f"{FILES} objects seen: adopted {len(MEDIA)} media and {FILES} files"
    )  # fmt: skip

    # When, and how often it was tried, is of no matter any more. The row in GoPro's listing is remembered anew.
    passing = {"tried_at", "stored_at", "epoch", "labels", "reprocessed_at", "size"}
    after = stage.library()
    assert after.keys() == before.keys()
    for key, record in before.items():
        lasting = {name: value for name, value in record.items() if name not in passing}
        assert {name: value for name, value in after[key].items() if name not in passing} == lasting
    assert sync(stage)["stored"] == len(MEDIA)
    assert fetched(stage) == {}
    assert run("verify")[0] == 0
    status, lines = run("adopt")
    assert (status, len(lines)) == (0, 1)
    assert f"adopted 0 media and 0 files, 0 bytes; {FILES} known already, 0 passed over" in lines[0]
    assert (stage.library(), versions(stage)) == (after, stored)


@pytest.mark.scenario(59)
def test_without_adopt_a_sync_looks_at_each_medium_and_stores_nothing_twice(stage: Stage, run: Run) -> None:
    serve(stage, *MEDIA)
    sync(stage)
    stage.empty_table("LibraryTableName")
    stored = versions(stage)
    assert sync(stage)["downloaded"] == len(MEDIA)
    assert versions(stage) == stored
    assert fetched(stage)[CHAPTERED.media_id] <= 3 * SMALLEST_SEGMENT < CHAPTERED.true_size
    assert run("verify")[0] == 0

    metadata_of_earlier_versions = {
        key: {name: value for name, value in one.metadata.items() if name not in ("origin", "files", "item-count")}
        for key, one in stage.objects().items()
    }
    contents = {key: one.content() for key, one in stage.objects().items()}
    stage.empty_bucket()
    for key, metadata in metadata_of_earlier_versions.items():
        put(stage, key, contents[key], Metadata=metadata)
    stage.empty_table("LibraryTableName")
    stored = versions(stage)
    status, lines = run("adopt")
    assert status == 1
    assert lines[-1].endswith(f"{len(MEDIA)} media left to the next sync")
    assert stage.library() == {}
    assert sync(stage)["downloaded"] == len(MEDIA)
    assert versions(stage) == stored
    assert_stored(stage, *MEDIA)
    assert run("verify")[0] == 0


@pytest.mark.scenario(58, 59)
def test_beside_a_sync_both_commands_do_no_harm(stage: Stage, run: Run) -> None:
    serve(stage, *MEDIA)
    sync(stage)
    stored = versions(stage)
    gone = stage.objects_of(CHAPTERED.media_id)[1]
    delete(stage, gone.key)
    stage.empty_table("LibraryTableName")
    slow = [video(n, Throttle(bytes_per_second=2_000, times=None)) for n in range(10, 15)]
    serve(stage, *MEDIA, *slow)
    sync_id = stage.trigger()
    for times in range(4):
        if times == 2:
            eventually(lambda: stage.control.totals()["downloads"]["media_current"] >= 1, "a download")
        assert run("adopt")[0] != command.UNUSABLE
        assert run("verify", "--refetch")[0] != command.UNUSABLE
    stage.control.disarm()
    stage.wait_for_close(sync_id)
    run("verify", "--refetch")
    stage.wait_for_close(stage.trigger())
    assert_stored(stage, *MEDIA, *slow)
    assert run("verify")[0] == 0
    assert {key: count for key, count in versions(stage).items() if count > 1} == {gone.key: 2}
    assert versions(stage).keys() - stored.keys() == {one.key for m in slow for one in stage.objects_of(m.media_id)}
