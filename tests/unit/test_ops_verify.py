"""`cloud-sync verify`: what the table says, what the bucket has, and what the next sync does about it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from unittest.mock import Mock

import pytest
from botocore.exceptions import ClientError

from ops import command
from ops.deployment import Deployment
from ops.errors import OperatorError
from ops.library import WORKERS, in_order
from ops.refetch import Wrong, want_again
from ops.verify import Verification
from services.downloader.keys import other_key
from services.downloader.lease import LEASE, Lease
from services.lister.admission import Known
from services.shared.gopro.media import ListedMedium
from services.shared.inbox import Fenced
from services.shared.library import DOWNLOADING, FAILED, MISSING, STORED
from services.summarizer.review import known_results
from services.summarizer.sync import Medium
from tests.unit.library_stage import BUCKET, LATER, NOW, TABLE, LibraryStage, library_stage, medium


@pytest.fixture
def stage() -> Iterator[LibraryStage]:
    with library_stage() as running:
        yield running


def told(stage: LibraryStage, **options: object) -> list[str]:
    return [problem.wrong for problem in stage.verify(**options)]


def test_what_is_all_there_is_counted(stage: LibraryStage) -> None:
    stage.store(medium("m-1", item_count=3), b"a", b"bb", b"ccc")
    for number in range(2, 60):
        stage.store(medium(f"m-{number}"), b"four")

    assert stage.verify() == []
    assert list(stage.verification.totals()) == [
        "59 media stored in 61 files, 238 bytes; proof: 61 length",
        "0 wrong, 0 to know of",
    ]


def test_a_medium_whose_records_are_on_several_pages_is_looked_at_once(stage: LibraryStage) -> None:
    for item in range(6):
        stage.dynamodb.put_item(TableName=TABLE, Item={"media_id": "m-1", "item": item, "reason": "x" * 350_000})
    assert len(list(stage.dynamodb.get_paginator("scan").paginate(TableName=TABLE))) > 1

    assert list(stage.stores.media_ids()) == ["m-1"]
    assert len(stage.stores.records("m-1").files) == 5


def test_an_empty_table_beside_an_empty_bucket_is_in_order(stage: LibraryStage) -> None:
    assert stage.verify() == []
    assert next(stage.verification.totals()) == "0 media stored in 0 files, 0 bytes; proof: none"


def test_an_object_that_is_gone_is_told_with_its_medium_name_and_key(stage: LibraryStage) -> None:
    stage.store(medium(item_count=2), b"a", b"b")
    key = stage.key("m-1", 2)
    stage.delete(key)

    (problem,) = stage.verify()
    assert (problem.media_id, problem.name, problem.key) == ("m-1", "GX020639.MP4", key)
    assert problem.wrong == "removed: a delete marker hides it"
    for version in stage.s3.list_object_versions(Bucket=BUCKET, Prefix=key)["Versions"]:
        stage.s3.delete_object(Bucket=BUCKET, Key=key, VersionId=version["VersionId"])
    for marker in stage.s3.list_object_versions(Bucket=BUCKET, Prefix=key)["DeleteMarkers"]:
        stage.s3.delete_object(Bucket=BUCKET, Key=key, VersionId=marker["VersionId"])
    assert told(stage) == ["missing"]


def test_an_object_that_comes_back_when_its_delete_marker_goes_is_fine_again(stage: LibraryStage) -> None:
    stage.store(medium(), b"a")
    stage.delete(stage.key("m-1"))
    (marker,) = stage.s3.list_object_versions(Bucket=BUCKET)["DeleteMarkers"]
    stage.s3.delete_object(Bucket=BUCKET, Key=marker["Key"], VersionId=marker["VersionId"])

    assert stage.verify() == []


@pytest.mark.parametrize(
    ("body", "origin_etag", "media_id", "item", "differences"),
    [
        (b"bbb", "", "m-1", 1, "another ETag"),
        (b"toolong", "", "m-1", 1, "another size (7 bytes, not 3), another ETag"),
        (b"aaa", "other", "m-1", 1, "not ours by its metadata"),
        (b"aaa", "", "m-2", 1, "not ours by its metadata"),
        (b"aaa", "", "m-1", 2, "not ours by its metadata"),
    ],
)
def test_an_object_that_is_another_is_told_by_how_it_differs(
    stage: LibraryStage, body: bytes, origin_etag: str, media_id: str, item: int, differences: str
) -> None:
    stage.store(medium(), b"aaa")
    stage.put(medium(media_id), body, item=item, key=stage.key("m-1"), origin_etag=origin_etag or "etag-1")

    assert told(stage) == [differences]


def test_another_checksum_is_told(stage: LibraryStage) -> None:
    lease = stage.store(medium(), b"aaa")
    stage.library.save_file(lease, 1, {**stage.library.files("m-1")[1], "checksum": "AAAAAAAAAAA="})

    assert told(stage) == ["another checksum"]


def test_what_is_not_said_to_be_stored_is_not_looked_for_and_the_rest_of_its_medium_is(stage: LibraryStage) -> None:
    lease = stage.store(medium(item_count=2), b"a", stored=False)
    begun = {"status": "UPLOADING", "key": "gopro/x", "upload_id": "u", "original_name": "b", "size": 1}
    stage.library.save_file(lease, 2, begun)
    assert told(stage) == []
    assert stage.verification.media == 0
    stage.delete(stage.key("m-1"))
    assert told(stage) == ["removed: a delete marker hides it"]


def test_a_medium_whose_files_the_table_has_lost_is_told(stage: LibraryStage) -> None:
    stage.store(medium("m-1", item_count=2), b"a", b"b")
    stage.store(medium("m-2"), b"c")
    stage.forget("m-1", 2)
    stage.forget("m-2", 0)

    assert sorted(told(stage)) == [
        "no record names it: `adopt` takes it",
        "the table has 1 of its 2 files: see `adopt`",
        "the table has no record of the medium itself: the next sync sees to it",
    ]


def test_objects_that_no_record_names_are_told_and_only_lost_ones_are_wrong(stage: LibraryStage) -> None:
    stage.store(medium(), b"a")
    folder = stage.key("m-1").rpartition("/")[0]
    stage.put(medium("m-2"), b"b", key="gopro/2026/01/30/m-2/GX010639.MP4")
    stage.put(medium(), b"a", key=f"{folder}/GX010639-12345678.MP4")
    stage.put(medium(), b"a", key="gopro/the best/GX010639.MP4")
    stage.s3.put_object(Bucket=BUCKET, Key=f"{folder}/notes.txt", Body=b"mine")
    stage.s3.put_object(Bucket=BUCKET, Key="reports/s-1.json", Body=b"{}")

    problems = {problem.key.rpartition("/")[2]: problem for problem in stage.verify() if problem.harmless}
    assert {name: problem.wrong for name, problem in problems.items()} == {
        "GX010639-12345678.MP4": f"is another copy of {stage.key('m-1')}",
        "GX010639.MP4": "is none of ours",
        "notes.txt": "is none of ours",
    }
    (wrong,) = [problem for problem in stage.verify() if not problem.harmless]
    assert (wrong.media_id, wrong.wrong) == ("m-2", "no record names it: `adopt` takes it")
    assert (stage.verification.problems, stage.verification.harmless) == (1, 3)


def test_what_a_sync_stores_meanwhile_is_not_taken_for_lost(stage: LibraryStage) -> None:
    stage.store(medium("m-1"), b"a")
    stores = stage.stores
    ids = stores.media_ids

    def then_a_sync_stores_another() -> Iterator[str]:
        yield from ids()
        stage.store(medium("m-2"), b"b")

    stores.media_ids = then_a_sync_stores_another  # type: ignore[method-assign]
    assert list(Verification(stores=stores).run(now=LATER)) == []


def test_uploads_that_no_record_names_are_told_once_nobody_can_be_about_to_write_one(stage: LibraryStage) -> None:
    begin = stage.s3.create_multipart_upload
    named = begin(Bucket=BUCKET, Key="gopro/2026/01/30/m-1/a")["UploadId"]
    left = begin(Bucket=BUCKET, Key="gopro/2026/01/30/m-2/b")["UploadId"]
    begin(Bucket=BUCKET, Key="elsewhere")
    lease = stage.library.take(medium())
    assert isinstance(lease, Lease)
    stage.library.save_file(lease, 1, {"status": "UPLOADING", "key": "gopro/2026/01/30/m-1/a", "upload_id": named})

    begun = datetime(2010, 11, 10, 20, 48, 33, tzinfo=UTC)  # what moto says of every upload
    assert told(stage, now=begun + timedelta(minutes=14)) == []
    assert told(stage, now=begun + timedelta(minutes=16)) == [f"no record names the multipart upload {left}"]


def test_one_medium_can_be_looked_at_alone(stage: LibraryStage) -> None:
    stage.store(medium("m-1"), b"a")
    stage.store(medium("m-2"), b"b")
    stage.delete(stage.key("m-2"))

    assert told(stage, media_id="m-1") == []
    assert stage.verification.media == 1
    assert len(told(stage, media_id="m-2")) == 1
    with pytest.raises(OperatorError, match="has no medium m-3"):
        stage.verify(media_id="m-3")


def test_a_table_or_a_bucket_that_is_gone_is_said_before_anything_is_looked_at(stage: LibraryStage) -> None:
    stage.deployment.outputs["MediaBucketName"] = "no-such-bucket"
    with pytest.raises(OperatorError, match="The media bucket no-such-bucket is gone"):
        stage.verify()
    stage.dynamodb.delete_table(TableName=TABLE)
    with pytest.raises(OperatorError, match=r"library table library is gone\. Make it again"):
        stage.adopt()


def test_an_object_that_one_may_not_look_at_is_an_error_and_nothing_is_marked(stage: LibraryStage) -> None:
    stage.store(medium(), b"a")
    stores = stage.stores
    refused = ClientError({"Error": {"Code": "403", "Message": "Forbidden"}}, "HeadObject")
    stores._s3 = Mock(head_object=Mock(side_effect=refused))

    with pytest.raises(ClientError, match="403"):
        list(Verification(stores=stores).run(refetch=True, now=LATER))
    assert stage.own("m-1")["status"] == STORED


def test_few_are_held_at_a_time_and_their_order_stays() -> None:
    begun: list[int] = []

    def subjects() -> Iterator[int]:
        for number in range(200):
            begun.append(number)
            yield number

    with ThreadPoolExecutor(WORKERS) as pool:
        results = in_order(pool, lambda number: number * 2, subjects())
        for taken in range(200):
            assert next(results) == 2 * taken
            assert len(begun) - taken <= 2 * WORKERS + 1
        assert list(results) == []


# --- to be fetched again --------------------------------------------------------------------------------------------


def listed(media_id: str = "m-1", item_count: int = 1) -> ListedMedium:
    return ListedMedium(
        media_id=media_id, type="Video", filename="", captured_at=None, size=1, item_count=item_count, state="ready",
        camera="",
    )  # fmt: skip


def test_nothing_is_marked_unless_asked_for(stage: LibraryStage) -> None:
    stage.store(medium(), b"a")
    stage.delete(stage.key("m-1"))
    before = stage.records()
    stage.verify()
    assert stage.records() == before


def test_a_marked_medium_is_discovered_and_only_what_is_gone_is_to_be_stored(stage: LibraryStage) -> None:
    event = medium(item_count=2)
    stage.store(event, b"a", b"b")
    stage.store(medium("m-2"), b"c")
    stage.delete(stage.key("m-1", 2))
    before = stage.records()
    assert Known.from_record(before["m-1", 0]).has_all_of(listed(item_count=2))

    stage.verify(refetch=True)

    assert (stage.verification.problems, stage.verification.marked_media) == (1, 1)
    after = stage.records()
    expected = {
        **before,
        ("m-1", 0): {**before["m-1", 0], "status": MISSING, "epoch": 2},
        ("m-1", 2): {**before["m-1", 2], "status": MISSING},
    }
    assert after == expected
    assert told(stage) == ["wanted again: the next sync sees to it"]
    assert not Known.from_record(after["m-1", 0]).has_all_of(listed(item_count=2))
    outstanding = Medium(media_id="m-1", state="DISCOVERED", item_count=2)
    assert known_results("s-1", [outstanding], {"m-1": after["m-1", 0]}) == [], "neither stored nor failed by any sync"
    assert stage.library.take(event) == Lease(media_id="m-1", epoch=3)
    stage.verify(refetch=True)
    assert stage.verification.marked_media == 0


@pytest.mark.parametrize(
    ("body", "origin_etag", "moves"),
    [(b"bbb", "other", True), (b"longer", "etag-1", True), (b"bbb", "etag-1", False)],
    ids=["not ours", "another size", "only another ETag"],
)
def test_a_file_whose_key_is_occupied_gets_another_and_what_lies_there_stays(
    stage: LibraryStage, body: bytes, origin_etag: str, moves: bool
) -> None:
    stage.store(medium(), b"aaa")
    key = stage.key("m-1")
    stage.put(medium(), body, key=key, origin_etag=origin_etag)

    stage.verify(refetch=True)

    assert stage.library.files("m-1")[1]["status"] == MISSING
    assert stage.key("m-1") == (other_key(key, "etag-1") if moves else key)
    assert stage.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == body


def test_a_medium_in_work_is_left_alone_until_its_lease_is_over(stage: LibraryStage) -> None:
    stage.store(medium(item_count=2), b"a", stored=False)
    stage.delete(stage.key("m-1"))
    before = stage.records()

    stage.verify(refetch=True, now=NOW)
    assert (stage.verification.marked_media, stage.verification.not_marked) == (0, 1)
    assert stage.records() == before

    stage.verify(refetch=True, now=NOW + LEASE)
    assert stage.verification.marked_media == 1
    assert {key: record["status"] for key, record in stage.records().items()} == {
        ("m-1", 0): MISSING,
        ("m-1", 1): MISSING,
    }


@pytest.mark.parametrize("status", [DOWNLOADING, FAILED, STORED])
def test_a_medium_that_a_sync_took_since_it_was_read_is_left_alone(stage: LibraryStage, status: str) -> None:
    stage.store(medium(item_count=2), b"a", b"b")
    read = stage.stores.records("m-1")
    lease = stage.library.take(medium(item_count=3))
    assert isinstance(lease, Lease)
    if status == FAILED:
        stage.library.failed(lease, "no answer")
    elif status == STORED:
        stage.library.stored(lease, item_count=3, files=2, total_bytes=2)
    before = stage.records()
    wrong = [Wrong(item=1, wrong="missing", occupied=False)]

    assert want_again(stage.stores, read, wrong, now=LATER) is False
    assert stage.records() == before


def test_a_medium_that_a_sync_began_since_no_record_of_it_was_read_is_left_alone(stage: LibraryStage) -> None:
    stage.store(medium(), b"a")
    stage.forget("m-1", 0)
    read = stage.stores.records("m-1")
    assert isinstance(stage.library.take(medium()), Lease)
    before = stage.records()

    assert want_again(stage.stores, read, [Wrong(item=1, wrong="missing", occupied=False)], now=LATER) is False
    assert stage.records() == before


def test_a_worker_of_before_can_not_write_over_the_mark(stage: LibraryStage) -> None:
    lease = stage.store(medium(), b"a")
    stage.delete(stage.key("m-1"))
    stage.verify(refetch=True)
    for write in (
        lambda: stage.library.stored(lease, item_count=1, files=1, total_bytes=1),
        lambda: stage.library.save_file(lease, 1, {"status": STORED}),
    ):
        with pytest.raises(Fenced):
            write()
    assert stage.own("m-1")["status"] == MISSING


def burst(stage: LibraryStage, pictures: int) -> list[Wrong]:
    lease = stage.store(medium(item_count=pictures), b"a")
    first = stage.library.files("m-1")[1]
    for item in range(2, pictures + 1):
        stage.library.save_file(lease, item, {**first, "item": item, "key": f"{first['key']}-{item}"})
    return [Wrong(item=item, wrong="missing", occupied=False) for item in range(1, pictures + 1)]


def test_more_files_than_a_transaction_takes_are_all_marked(stage: LibraryStage) -> None:
    wrongs = burst(stage, 120)
    assert want_again(stage.stores, stage.stores.records("m-1"), wrongs, now=LATER)
    assert {record["status"] for record in stage.records().values()} == {MISSING}
    assert stage.own("m-1")["epoch"] == 2


def test_marking_that_ends_half_way_leaves_a_medium_that_is_told_and_marked_the_next_time(stage: LibraryStage) -> None:
    wrongs = burst(stage, 120)
    stores = stage.stores
    write, calls = stores.dynamodb.transact_write_items, 0

    def only_once(**request: object) -> object:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise KeyboardInterrupt
        return write(**request)

    stores.dynamodb.transact_write_items = only_once
    with pytest.raises(KeyboardInterrupt):
        want_again(stores, stores.records("m-1"), wrongs, now=LATER)
    assert stage.own("m-1")["status"] == STORED

    stage.verify(refetch=True)
    assert stage.verification.marked_media == 1
    assert {record["status"] for record in stage.records().values()} == {MISSING}


def test_a_medium_whose_files_are_lost_from_table_and_bucket_alike_is_marked(stage: LibraryStage) -> None:
    stage.store(medium(item_count=2), b"a", b"b")
    stage.delete(stage.key("m-1", 2))
    stage.forget("m-1", 2)

    stage.verify(refetch=True)
    assert stage.own("m-1")["status"] == MISSING
    assert told(stage) == ["wanted again: the next sync sees to it"]


def test_a_file_whose_mediums_own_record_is_lost_is_marked_with_a_new_one(stage: LibraryStage) -> None:
    stage.store(medium(item_count=2), b"a", b"b")
    stage.delete(stage.key("m-1", 2))
    stage.forget("m-1", 0)

    stage.verify(refetch=True)
    assert stage.own("m-1") == {"media_id": "m-1", "item": 0, "status": MISSING, "epoch": 1}
    assert stage.library.take(medium(item_count=2)) == Lease(media_id="m-1", epoch=2)


# --- the command ----------------------------------------------------------------------------------------------------


def test_the_command_says_what_is_wrong_and_how_it_ends(
    stage: LibraryStage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def deployment(_: object) -> Deployment:
        return stage.deployment

    monkeypatch.setattr(command, "_deployment", deployment)
    stage.store(medium("m-\x1b1"), b"a")
    assert command.main(["verify"]) == 0
    assert capsys.readouterr().err == ""
    key = stage.key("m-\x1b1")
    stage.delete(key)
    assert command.main(["verify"]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        f"WRONG  m-?1  GX010639.MP4  {key}: removed: a delete marker hides it",
        "1 media stored in 1 files, 1 bytes; proof: 1 length",
        "1 wrong, 0 to know of",
    ]
    assert "nothing is fetched again unless asked for" in err
    assert command.main(["verify", "--refetch"]) == 1
    assert capsys.readouterr().err == "cloud-sync: 1 media are marked: the next sync fetches what of them is gone\n"
    assert command.main(["verify", "--media-id", "m-9"]) == 2
    assert capsys.readouterr().err == "cloud-sync: The library table has no medium m-9.\n"
