"""`cloud-sync adopt`: the library table is rebuilt from the bucket, and nothing is overwritten."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from ops import command
from ops.adopt import Adopted, adopt, read_object
from ops.library import Absent, KnownMedium
from services.downloader.library_table import AlreadyStored
from services.shared.library.records import VERSIONS, Status
from tests.unit.library_stage import BUCKET, LibraryStage, library_stage, medium


@pytest.fixture
def stage() -> Iterator[LibraryStage]:
    with library_stage() as running:
        yield running


def lasting(records: dict[tuple[str, int], dict[str, Any]]) -> dict[tuple[str, int], dict[str, Any]]:
    """Leave out when, and how often, a medium was tried, and GoPro's row, which the next listing brings."""
    passing = {"tried_at", "stored_at", "epoch", "reprocessed_at", "warning"}
    return {
        key: {name: value for name, value in record.items() if name not in passing} for key, record in records.items()
    }


def test_a_lost_table_is_rebuilt_as_it_was(stage: LibraryStage) -> None:
    stage.store(medium("m-1", item_count=3), b"a", b"bb", b"ccc")
    stage.store(medium("m 2/ü", captured_at=None), b"four")
    before = stage.records()
    for media_id in ("m-1", "m 2/ü"):
        stage.forget(media_id)

    assert stage.adopt() == Adopted(objects=4, media=2, files=4, bytes=10)
    assert lasting(stage.records()) == lasting(before)
    assert stage.verify() == []
    known = stage.library.take(medium("m-1", item_count=3, sync_id="s-2"))
    assert known == AlreadyStored(epoch=1, sync_id="s-1")
    stage.take(medium("m-1", item_count=4, sync_id="s-2"))  # it has grown since


def test_a_dry_run_counts_the_same_and_writes_nothing(stage: LibraryStage) -> None:
    stage.store(medium(item_count=2), b"a", b"b")
    stage.forget("m-1")
    would = stage.adopt(dry_run=True)
    assert stage.records() == {}
    assert stage.adopt() == would == Adopted(objects=2, media=1, files=2, bytes=2)
    assert stage.adopt() == stage.adopt(dry_run=True) == Adopted(objects=2, known=2)


def test_all_versions_of_a_file_are_adopted(stage: LibraryStage) -> None:
    stage.store(medium(), b"a", b"b")
    stage.store(medium(look_again=True, sync_id="s-2", labels=("source",)), b"new", items=[2 + VERSIONS])
    before = stage.records()
    stage.forget("m-1")
    done = stage.adopt()
    assert (done.files, done.media, done.unsettled) == (3, 1, 0)
    after = stage.records()
    assert sorted(item for _, item in after) == [0, 1, 2, 2 + VERSIONS]
    assert after["m-1", 2 + VERSIONS]["key"].endswith("-v2.MP4")
    ours = {key: record for key, record in lasting(before).items() if key[1]}
    assert {key: record for key, record in lasting(after).items() if key[1]} == ours


def test_existing_records_stay_and_only_missing_ones_are_written(stage: LibraryStage) -> None:
    lease = stage.store(medium("m-1", item_count=3), b"a", b"b", b"c", stored=False)
    begun = replace(stage.library.files("m-1")[2], status=Status.UPLOADING, upload_id="u")
    stage.library.save_files(lease, [begun])
    stage.store(medium("m-2", item_count=2), b"d", b"e")
    before = stage.records()
    stage.forget("m-1", 3)
    stage.forget("m-2", 0)

    assert stage.adopt() == Adopted(objects=5, media=1, files=1, bytes=1, known=4)
    assert lasting(stage.records()) == lasting(before)


def test_a_medium_that_lost_a_file_is_not_recorded_as_stored(stage: LibraryStage) -> None:
    stage.store(medium(item_count=3), b"a", b"b", b"c")
    stage.delete(stage.key("m-1", 2))
    stage.forget("m-1")

    assert stage.adopt() == Adopted(objects=2, files=2, bytes=2, unsettled=1)
    assert {item for _, item in stage.records()} == {1, 3}
    assert stage.adopt() == Adopted(objects=2, known=2, unsettled=1)


def test_a_medium_that_grew_is_stored_with_all_of_its_files(stage: LibraryStage) -> None:
    stage.store(medium(item_count=1), b"a")
    stage.store(medium(item_count=2, sync_id="s-2"), b"b")
    before = stage.records()
    stage.forget("m-1")
    assert stage.adopt() == Adopted(objects=2, media=1, files=2, bytes=2)
    assert lasting(stage.records()) == lasting(before)
    assert stage.records()["m-1", 0]["sync_id"] == "s-2"


def test_files_in_two_folders_are_one_medium(stage: LibraryStage) -> None:
    """GoPro lets people correct a capture time. Stored files keep their keys."""
    stage.store(medium(item_count=1, captured_at="2026-02-01T00:00:00Z"), b"a")
    stage.store(medium(item_count=2), b"b")
    before = stage.records()
    stage.forget("m-1")
    assert stage.adopt().files == 2
    after = stage.records()
    assert lasting(after).keys() == before.keys()
    assert all(after["m-1", item]["key"] == before["m-1", item]["key"] for item in (1, 2))
    # The second folder's object knew of no other file: the medium is looked at again, and nothing is fetched.
    assert after["m-1", 0]["item_count"] == 1
    stage.take(medium(item_count=2, sync_id="s-2"))
    assert {record.status for record in stage.library.files("m-1").values()} == {Status.STORED}


@pytest.mark.parametrize("unsaid", ["origin", "files", "item-count"])
def test_nothing_is_written_of_a_medium_with_an_object_of_incomplete_metadata(stage: LibraryStage, unsaid: str) -> None:
    event = medium(item_count=2)
    stage.store(event, b"a", b"b")
    stage.put(event, b"b", item=2, files=2, key=stage.key("m-1", 2), without=[unsaid])
    stage.forget("m-1")

    assert stage.adopt() == Adopted(objects=2, unsettled=1)
    assert stage.records() == {}


@pytest.mark.parametrize("unsaid", ["origin", None])
def test_a_stored_medium_that_adopt_cannot_complete_is_left_to_refetch(stage: LibraryStage, unsaid: str | None) -> None:
    event = medium(item_count=2)
    stage.store(event, b"a", b"b")
    if unsaid:
        stage.put(event, b"b", item=2, files=2, key=stage.key("m-1", 2), without=[unsaid])
        why = "an object's metadata is incomplete"
    else:
        stage.delete(stage.key("m-1", 2))
        why = "the table has 1 of its 2 files"
    stage.forget("m-1", 2)

    (left,) = list(adopt(stage.stores))
    assert (left.files, left.unsettled) == (0, 1)
    assert left.left == f"{why}; `verify --refetch` makes the next sync look at it"
    stage.verify(refetch=True)
    assert stage.stores.medium("m-1").status == Status.MISSING


def test_a_mediums_own_record_is_not_guessed_from_incomplete_metadata(stage: LibraryStage) -> None:
    event = medium(item_count=2)
    stage.store(event, b"a", b"b")
    for item, body in ((1, b"a"), (2, b"b")):
        stage.put(event, body, item=item, key=stage.key("m-1", item), without=["files"])
    stage.forget("m-1", 0)
    before = stage.records()

    assert stage.adopt() == Adopted(objects=2, known=2, unsettled=1)
    assert stage.records() == before


def test_objects_not_created_by_cloud_sync_are_passed_over(stage: LibraryStage) -> None:
    key = "gopro/2026/01/30/m-1/GX010639.MP4"
    stage.s3.put_object(Bucket=BUCKET, Key="gopro/mine.txt", Body=b"mine")
    stage.s3.put_object(Bucket=BUCKET, Key="listings/s-1.json", Body=b"{}")
    stage.put(medium(), b"a", key="gopro/the best/GX010639.MP4")
    stage.put(medium(), b"a", key=key, item=0)
    assert stage.adopt() == Adopted(objects=3, passed_over=3)
    assert stage.records() == {}


@pytest.mark.parametrize(
    ("changed", "size"),
    [
        ({}, 2),
        ({"origin-size": ""}, 1),
        ({"media-id": ""}, 1),
        ({"media-id": "m-2"}, 1),
        ({"item": "x"}, 1),
        ({"captured-at": "2020-01-01T00:00:00Z"}, 1),
    ],
)
def test_an_object_counts_only_when_its_metadata_its_size_and_its_key_fit(
    stage: LibraryStage, changed: dict[str, str], size: int
) -> None:
    stage.store(medium(), b"a")
    found = stage.stores.head(stage.key("m-1"))
    assert not isinstance(found, Absent)
    assert read_object(found)
    assert read_object(replace(found, metadata={**found.metadata, **changed}, size=size)) is None
    for name in ("media-id", "item", "origin-etag", "origin-size"):
        assert read_object(replace(found, metadata={k: v for k, v in found.metadata.items() if k != name})) is None


def test_of_two_copies_of_a_file_the_proven_one_is_adopted(stage: LibraryStage) -> None:
    folder = "gopro/2026/01/30/m-1/"
    etag = stage.put(medium(), b"a", key=f"{folder}proven.MP4")
    stage.put(medium(), b"a", key=f"{folder}proven.MP4", origin_etag=etag)
    stage.put(medium(), b"b", key=f"{folder}unproven.MP4")
    assert stage.adopt() == Adopted(objects=2, media=1, files=1, bytes=1, passed_over=1)
    record = stage.library.files("m-1")[1]
    assert (record.key, record.proof) == (f"{folder}proven.MP4", "origin-etag")
    assert stage.adopt() == Adopted(objects=2, known=1, passed_over=1)


def test_the_parts_of_an_upload_are_counted_from_its_etag(stage: LibraryStage) -> None:
    stage.store(medium(), b"a")
    found = stage.stores.head(stage.key("m-1"))
    assert not isinstance(found, Absent)
    read = [read_object(replace(found, etag=etag)) for etag in ("0123abcd", "0123abcd-17")]
    assert [one.record.part_count for one in read if one] == [1, 17]


def test_records_that_a_sync_writes_at_the_same_time_are_not_overwritten(stage: LibraryStage) -> None:
    stage.store(medium(item_count=2), b"a", b"b")
    before = stage.records()
    stores = stage.stores
    stores.medium = lambda media_id: KnownMedium(media_id=media_id, own=None, files={})  # type: ignore[method-assign]
    assert stage.adopt(stores=stores) == Adopted(objects=2)
    assert stage.records() == before


def test_the_command_prints_what_it_did_and_exits_with_its_status(
    stage: LibraryStage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "_deployment", lambda _, **__: stage.deployment)
    stage.store(medium("m-1"), b"a")
    stage.store(medium("m-2", item_count=2), b"a", b"b")
    stage.delete(stage.key("m-2", 1))
    for media_id in ("m-1", "m-2"):
        stage.forget(media_id)
    assert command.main(["adopt", "--dry-run"]) == 1
    assert capsys.readouterr().out.splitlines()[0] == "would adopt  m-1  GX010639.MP4: 1 file, 1 bytes"
    assert command.main(["adopt", "--dry-run", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [(one["media_id"], one["files"], one["unsettled"]) for one in found["media"]] == [
        ("m-1", 1, 0),
        ("m-2", 1, 1),
    ]
    assert (found["dry_run"], found["total"]["objects"], found["total"]["bytes"]) == (True, 2, 2)
    assert command.main(["adopt"]) == 1
    *lines, figures = capsys.readouterr().out.splitlines()
    assert lines == [
        "adopted  m-1  GX010639.MP4: 1 file, 1 bytes",
        "adopted  m-2  GX020639.MP4: 1 file, 1 bytes",
        "left     m-2  GX020639.MP4: 1 of its 2 files are in the bucket; the next sync fetches the rest",
    ]
    assert figures == (
        "2 objects seen: adopted 1 media and 2 files, 2 bytes; 0 known already, 0 passed over; "
        "1 media left to the next sync"
    )
    stage.store(medium("m-2", item_count=2), b"a", items=[1])
    assert command.main(["adopt"]) == 0


def test_the_sync_after_an_adoption_walks_the_whole_library(stage: LibraryStage) -> None:
    stage.store(medium(), b"a")
    stage.adopt(dry_run=True)
    assert stage.full_walk_asked() == ""
    steps = adopt(stage.stores)
    next(steps)
    first = stage.full_walk_asked()
    assert first, "asked for before anything is written"
    assert list(steps) == []
    assert stage.full_walk_asked() not in ("", first), "and after all is"
    assert list(stage.stores.media_ids()) == ["m-1"]
