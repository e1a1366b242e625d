"""Originals that are gone, and a library table that is: seen, and made good without fetching what is there."""

from collections.abc import Callable
from typing import Any

import pytest

from ops import command
from services.downloader.transfer.parts import SMALLEST_SEGMENT
from tests.e2e.stage import Stage
from tests.e2e.test_flow import MIB, assert_stored, serve, summary_of, video
from tests.gopro_cloud import Generated, Shape
from tests.gopro_cloud.faults import Throttle

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
    """Runs the command on the stage; gives its exit status and the lines that it printed."""

    def run(*arguments: str) -> tuple[int, list[str]]:
        capsys.readouterr()
        status = command.main([*arguments, "--stage-dir", str(stage.local.folder)])
        return status, capsys.readouterr().out.splitlines()

    return run


def sync(stage: Stage) -> dict[str, Any]:
    """A whole sync, of which the GoPro Cloud then remembers the requests."""
    stage.control.forget()
    sync_id = stage.trigger()
    summary = summary_of(stage, sync_id)
    stage.wait_for_close(sync_id)
    return summary


def fetched(stage: Stage) -> dict[str, int]:
    """Bytes that were fetched of each medium."""
    found: dict[str, int] = {}
    for seen in stage.control.requests("cdn"):
        found[seen.media_id] = found.get(seen.media_id, 0) + seen.bytes_sent
    return found


def records(stage: Stage) -> dict[tuple[str, int], dict[str, Any]]:
    items = stage.deployment.table("LibraryTableName").scan(ConsistentRead=True)["Items"]
    return {(item["media_id"], int(item["item"])): item for item in items}


def lose_the_table(stage: Stage) -> None:
    stage._empty_table(stage.deployment.table("LibraryTableName"))
    assert records(stage) == {}


def delete(stage: Stage, key: str) -> None:
    stage.by_hand.add(key)
    stage.client("s3").delete_object(Bucket=stage.outputs["MediaBucketName"], Key=key)


def put(stage: Stage, key: str, body: bytes, **more: Any) -> None:
    stage.by_hand.add(key)
    stage.client("s3").put_object(Bucket=stage.outputs["MediaBucketName"], Key=key, Body=body, **more)


def bring_back(stage: Stage, key: str) -> None:
    """Deletes the latest version of an object, which may be a delete marker."""
    s3, bucket = stage.client("s3"), stage.outputs["MediaBucketName"]
    listed = s3.list_object_versions(Bucket=bucket, Prefix=key)
    every = [*listed.get("DeleteMarkers", []), *listed.get("Versions", [])]
    (latest,) = [version for version in every if version["IsLatest"]]
    s3.delete_object(Bucket=bucket, Key=key, VersionId=latest["VersionId"])


def versions(stage: Stage) -> dict[str, int]:
    """How many versions each object has: two where it was written over, or deleted and stored again."""
    answer = stage.client("s3").list_object_versions(Bucket=stage.outputs["MediaBucketName"], Prefix="gopro/")
    keys = [one["Key"] for one in answer["Versions"]]
    return {key: keys.count(key) for key in keys}


@pytest.mark.scenario(58)
def test_an_object_that_is_removed_by_hand_is_reported_and_fetched_again_only_when_asked_for(
    stage: Stage, run: Run
) -> None:
    serve(stage, *MEDIA)
    assert sync(stage)["downloaded"] == len(MEDIA)
    status, lines = run("verify")
    assert (status, lines[1:]) == (0, ["0 wrong, 0 to know of"])
    assert lines[0].startswith(f"{len(MEDIA)} media stored in {FILES} files")

    gone = stage.objects_of(CHAPTERED.media_id)[1]
    delete(stage, gone.key)
    status, lines = run("verify")
    assert status == 1
    told = f"WRONG  {CHAPTERED.media_id}  GX020639.MP4  {gone.key}: removed: a delete marker hides it"
    assert [lines[0], lines[-1]] == [told, "1 wrong, 0 to know of"]
    assert run("verify", "--media-id", CHAPTERED.media_id)[1][0] == told
    assert run("verify", "--media-id", SINGLE.media_id)[0] == 0

    assert sync(stage)["discovered"] == 0
    assert fetched(stage) == {}

    assert run("verify", "--refetch")[0] == 1
    assert "wanted again" in run("verify")[1][0]
    summary = sync(stage)
    assert (summary["discovered"], summary["downloaded"], summary["failed"]) == (1, 1, 0)
    assert fetched(stage) == {CHAPTERED.media_id: gone.size}
    assert_stored(stage, *MEDIA)
    assert stage.objects_of(CHAPTERED.media_id)[1].key == gone.key
    assert [key for key, count in versions(stage).items() if count > 1] == [gone.key]
    assert run("verify")[0] == 0
    assert sync(stage)["discovered"] == 0


@pytest.mark.scenario(58)
def test_an_object_that_somebody_wrote_over_is_left_and_its_original_stored_beside_it(stage: Stage, run: Run) -> None:
    serve(stage, SINGLE)
    sync(stage)
    (before,) = stage.objects_of(SINGLE.media_id)
    # The very metadata and size: only the checksum tells.
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
    beside = "calls itself item 1 of this medium and isn't what is stored as that"
    assert (status, lines[0]) == (0, f"note   {SINGLE.media_id}  GX010700.MP4  {left.key}: {beside}")


def test_what_is_there_again_is_stored_again_though_gopro_no_longer_lists_it(stage: Stage, run: Run) -> None:
    serve(stage, CHAPTERED, SINGLE)
    sync(stage)
    before = records(stage)
    first, gone, last = stage.objects_of(CHAPTERED.media_id)
    delete(stage, gone.key)
    run("verify", "--refetch")
    serve(stage, SINGLE)
    sync(stage)
    assert "wanted again" in run("verify")[1][0]

    bring_back(stage, gone.key)
    status, lines = run("verify")
    assert status == 1
    assert lines[0].endswith(f"{gone.key}: it is there again: `--refetch` takes it for stored")
    run("verify", "--refetch")
    assert run("verify")[0] == 0
    after = records(stage)
    assert after.pop((CHAPTERED.media_id, 0))["status"] == "STORED"
    assert after == {key: record for key, record in before.items() if key != (CHAPTERED.media_id, 0)}

    # The same bytes in one piece, and thus another ETag; and the first as something else, until that is taken back.
    put(stage, last.key, last.content(), Metadata=dict(last.metadata), ChecksumAlgorithm="CRC64NVME")
    put(stage, first.key, b"something else")
    assert [line.partition(": ")[2] for line in run("verify", "--refetch")[1][:2]] == [
        f"another size (14 bytes, not {first.size:,}), another checksum, not ours by its metadata, another ETag",
        "another ETag",
    ]
    bring_back(stage, first.key)
    assert run("verify", "--refetch")[1][0].endswith("it is there again: `--refetch` takes it for stored")
    assert run("verify")[0] == 0
    serve(stage, CHAPTERED, SINGLE)
    assert sync(stage)["stored"] == 2
    assert fetched(stage) == {}
    assert_stored(stage, CHAPTERED, SINGLE)


@pytest.mark.scenario(59)
def test_a_lost_library_table_is_adopted_from_the_bucket_and_nothing_is_downloaded_again(
    stage: Stage, run: Run
) -> None:
    serve(stage, *MEDIA)
    sync(stage)
    before, stored = records(stage), versions(stage)
    lose_the_table(stage)

    status, lines = run("adopt", "--dry-run")
    assert (status, len(lines)) == (0, len(MEDIA) + 1)
    assert lines[-1].startswith(f"{FILES} objects seen: would adopt {len(MEDIA)} media and {FILES} files")
    assert records(stage) == {}
    status, lines = run("adopt")
    assert (status, lines[-1].split(",")[0]) == (
        0, f"{FILES} objects seen: adopted {len(MEDIA)} media and {FILES} files"
    )  # fmt: skip

    # When, and how often it was tried, is of no matter any more.
    passing = {"tried_at", "stored_at", "epoch"}
    after = records(stage)
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
    assert (records(stage), versions(stage)) == (after, stored)


@pytest.mark.scenario(59)
def test_a_table_that_is_lost_in_part_is_filled_up_and_a_medium_with_a_file_gone_is_completed_by_a_sync(
    stage: Stage, run: Run
) -> None:
    serve(stage, *MEDIA)
    sync(stage)
    before = records(stage)
    gone = stage.objects_of(BURST.media_id)[2]
    delete(stage, gone.key)
    table = stage.deployment.table("LibraryTableName")
    for media_id, item in [(CHAPTERED.media_id, 2), (RAW.media_id, 0), *((BURST.media_id, n) for n in range(5))]:
        table.delete_item(Key={"media_id": media_id, "item": item})

    assert run("verify")[0] == 1
    status, lines = run("adopt")
    assert status == 1
    assert any("3 of its 4 files are there; the next sync fetches the rest" in line for line in lines)
    after = records(stage)
    assert after.keys() == before.keys() - {(BURST.media_id, 0), (BURST.media_id, 3)}
    assert all(after[key]["key"] == record["key"] for key, record in before.items() if key in after and key[1])
    assert sync(stage)["downloaded"] == 1
    assert fetched(stage) == {BURST.media_id: gone.size}
    assert_stored(stage, *MEDIA)
    assert run("verify")[0] == 0


def test_a_stored_medium_that_adopting_can_not_complete_is_completed_by_a_sync_after_refetch(
    stage: Stage, run: Run
) -> None:
    serve(stage, *MEDIA)
    sync(stage)
    said_little, gone = stage.objects_of(CHAPTERED.media_id)[1], stage.objects_of(BURST.media_id)[2]
    metadata = {name: value for name, value in said_little.metadata.items() if name != "origin"}
    put(stage, said_little.key, said_little.content(), Metadata=metadata, ChecksumAlgorithm="CRC64NVME")
    delete(stage, gone.key)
    for media_id, item in [(CHAPTERED.media_id, 2), (BURST.media_id, 3)]:
        stage.deployment.table("LibraryTableName").delete_item(Key={"media_id": media_id, "item": item})
    stored = versions(stage)

    status, lines = run("adopt")
    assert status == 1
    assert sorted(line.rpartition(": ")[2] for line in lines[:-1]) == [
        "an object doesn't say all; `verify --refetch` has the next sync look",
        "the table has 3 of its 4 files; `verify --refetch` has the next sync look",
    ]
    assert sync(stage)["discovered"] == 0
    run("verify", "--refetch")
    assert sync(stage)["downloaded"] == 2
    assert fetched(stage)[BURST.media_id] == gone.size
    assert fetched(stage)[CHAPTERED.media_id] <= SMALLEST_SEGMENT, "it looked at what the file is"
    assert versions(stage) == {**stored, gone.key: 2}
    assert_stored(stage, *MEDIA)
    assert run("verify")[0] == 0


@pytest.mark.scenario(59)
def test_without_adopting_and_where_objects_say_too_little_a_sync_looks_at_each_and_stores_nothing_twice(
    stage: Stage, run: Run
) -> None:
    serve(stage, *MEDIA)
    sync(stage)
    lose_the_table(stage)
    stored = versions(stage)
    assert sync(stage)["downloaded"] == len(MEDIA)
    assert versions(stage) == stored
    assert fetched(stage)[CHAPTERED.media_id] <= 3 * SMALLEST_SEGMENT < CHAPTERED.true_size
    assert run("verify")[0] == 0

    said_by_earlier_versions = {
        key: {name: value for name, value in one.metadata.items() if name not in ("origin", "files", "item-count")}
        for key, one in stage.objects().items()
    }
    contents = {key: one.content() for key, one in stage.objects().items()}
    stage._empty_bucket()
    for key, metadata in said_by_earlier_versions.items():
        put(stage, key, contents[key], Metadata=metadata)
    lose_the_table(stage)
    stored = versions(stage)
    status, lines = run("adopt")
    assert status == 1
    assert lines[-1].endswith(f"{len(MEDIA)} media left to the next sync")
    assert records(stage) == {}
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
    lose_the_table(stage)
    slow = [video(n, Throttle(bytes_per_second=200_000, times=1), size=1_000_000) for n in range(10, 15)]
    serve(stage, *MEDIA, *slow)
    sync_id = stage.trigger()
    times = 0
    while not stage.look(sync_id).is_closed:
        assert run("adopt")[0] != command.UNUSABLE
        assert run("verify", "--refetch")[0] != command.UNUSABLE
        times += 1
    assert times
    stage.wait_for_close(sync_id)
    run("verify", "--refetch")
    stage.wait_for_close(stage.trigger())
    assert_stored(stage, *MEDIA, *slow)
    assert run("verify")[0] == 0
    assert {key: count for key, count in versions(stage).items() if count > 1} == {gone.key: 2}
    assert versions(stage).keys() - stored.keys() == {one.key for m in slow for one in stage.objects_of(m.media_id)}
