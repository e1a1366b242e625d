"""`cloud-sync verify`: what the table says, what the bucket has, and what the next sync does about it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from unittest.mock import Mock

import pytest
from botocore.exceptions import ClientError

from ops import command
from ops.deployment import Deployment
from ops.errors import OperatorError
from ops.library import WORKERS, FoundObject, in_order
from ops.refetch import Wrong, set_right
from ops.verify import Verification
from services.downloader.keys import other_key
from services.downloader.lease import LEASE, AlreadyStored, Lease
from services.downloader.transfer import ORIGIN_ETAG
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


WANTED = "wanted again: the next sync sees to it, if GoPro still lists it"
BACK = "it is there again: `--refetch` takes it for stored"
WHOLE = "all of its files are there again: `--refetch` takes it for stored"


def bring_back(stage: LibraryStage, key: str) -> None:
    """What lies before the latest version of an object, be that a delete marker or another object."""
    (latest,) = [
        version
        for kind in ("Versions", "DeleteMarkers")
        for version in stage.s3.list_object_versions(Bucket=BUCKET, Prefix=key).get(kind, [])
        if version["Key"] == key and version["IsLatest"]
    ]
    stage.s3.delete_object(Bucket=BUCKET, Key=key, VersionId=latest["VersionId"])


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


def test_files_are_counted_by_what_proves_them(stage: LibraryStage) -> None:
    lease = stage.store(medium("m-1", item_count=3), b"a", b"bb", b"ccc")
    stage.library.save_file(lease, 2, {**stage.library.files("m-1")[2], "proof": ORIGIN_ETAG})

    assert stage.verify() == []
    assert next(stage.verification.totals()).endswith("; proof: 1 origin-etag, 2 length")


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
    bring_back(stage, stage.key("m-1"))

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
        "the table has 1 of its 2 files: see `adopt`, and if it stays, `--refetch`",
        "the table has no record of the medium itself: `adopt` or the next sync sees to it",
    ]


def test_objects_that_no_record_names_are_told_and_only_lost_ones_are_wrong(stage: LibraryStage) -> None:
    stage.store(medium(), b"a")
    folder = stage.key("m-1").rpartition("/")[0]
    stage.put(medium("m-2"), b"b", key="gopro/2026/01/30/m-2/GX010639.MP4")
    stage.put(medium(), b"a", key=f"{folder}/GX010639-12345678.MP4")
    stage.put(medium(), b"another", key=f"{folder}/GX010639-87654321.MP4")
    stage.put(medium(), b"a", key="gopro/the best/GX010639.MP4")
    stage.s3.put_object(Bucket=BUCKET, Key=f"{folder}/notes.txt", Body=b"mine")
    stage.s3.put_object(Bucket=BUCKET, Key="reports/s-1.json", Body=b"{}")

    problems = {problem.key.rpartition("/")[2]: problem for problem in stage.verify() if problem.harmless}
    assert {name: problem.wrong for name, problem in problems.items()} == {
        "GX010639-12345678.MP4": f"is another copy of {stage.key('m-1')}",
        "GX010639-87654321.MP4": "calls itself item 1 of this medium and isn't what is stored as that",
        "GX010639.MP4": "is none of ours",
        "notes.txt": "is none of ours",
    }
    (wrong,) = [problem for problem in stage.verify() if not problem.harmless]
    assert (wrong.media_id, wrong.wrong) == ("m-2", "no record names it: `adopt` takes it")
    assert (stage.verification.problems, stage.verification.harmless) == (1, 4)


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
    with pytest.raises(OperatorError, match=r"library table library is gone\. Restore it, or make it again"):
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
    assert told(stage) == [WANTED]
    assert not Known.from_record(after["m-1", 0]).has_all_of(listed(item_count=2))
    outstanding = Medium(media_id="m-1", state="DISCOVERED", item_count=2)
    assert known_results("s-1", [outstanding], {"m-1": after["m-1", 0]}) == [], "neither stored nor failed by any sync"
    assert stage.library.take(event) == Lease(media_id="m-1", epoch=3)
    stage.verify(refetch=True)
    assert stage.verification.marked_media == 0


@pytest.mark.parametrize(
    ("body", "origin_etag"), [(b"bbb", "other"), (b"longer", "etag-1")], ids=["not ours", "another size"]
)
def test_a_file_whose_key_is_occupied_gets_another_and_what_lies_there_stays(
    stage: LibraryStage, body: bytes, origin_etag: str
) -> None:
    stage.store(medium(), b"aaa")
    key = stage.key("m-1")
    stage.put(medium(), body, key=key, origin_etag=origin_etag)

    stage.verify(refetch=True)

    assert stage.library.files("m-1")[1]["status"] == MISSING
    assert stage.key("m-1") == other_key(key, "etag-1")
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
    wrong = [Wrong(item=1, wrong="missing")]

    assert set_right(stage.stores, read, wrong, now=LATER) is False
    assert stage.records() == before


def test_a_medium_that_a_sync_began_since_no_record_of_it_was_read_is_left_alone(stage: LibraryStage) -> None:
    stage.store(medium(), b"a")
    stage.forget("m-1", 0)
    read = stage.stores.records("m-1")
    assert isinstance(stage.library.take(medium()), Lease)
    before = stage.records()

    assert set_right(stage.stores, read, [Wrong(item=1, wrong="missing")], now=LATER) is False
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
    return [Wrong(item=item, wrong="missing") for item in range(1, pictures + 1)]


def test_more_files_than_a_transaction_takes_are_all_marked(stage: LibraryStage) -> None:
    wrongs = burst(stage, 120)
    assert set_right(stage.stores, stage.stores.records("m-1"), wrongs, now=LATER)
    assert {record["status"] for record in stage.records().values()} == {MISSING}
    assert stage.own("m-1")["epoch"] == 2


def test_marking_that_ends_half_way_leaves_a_medium_that_is_told_and_marked_the_next_time(stage: LibraryStage) -> None:
    wrongs = burst(stage, 120)
    stage.delete(stage.key("m-1"))
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
        set_right(stores, stores.records("m-1"), wrongs, now=LATER)
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
    assert told(stage) == [WANTED]


def test_a_file_whose_mediums_own_record_is_lost_is_marked_and_that_record_left_to_others(stage: LibraryStage) -> None:
    stage.store(medium(item_count=2), b"a", b"b")
    stage.delete(stage.key("m-1", 2))
    stage.forget("m-1", 0)

    stage.verify(refetch=True)
    assert stage.own("m-1") == {}
    assert stage.library.files("m-1")[2]["status"] == MISSING
    assert stage.verification.marked_media == 1
    bring_back(stage, stage.key("m-1", 2))
    stage.verify(refetch=True)
    assert stage.adopt().media == 1
    assert stage.verify() == []


# --- and what is there again ----------------------------------------------------------------------------------------


def test_a_file_that_is_wanted_again_and_is_back_is_taken_for_stored_without_gopro(stage: LibraryStage) -> None:
    stage.store(medium(item_count=2), b"a", b"b")
    before = stage.records()
    key = stage.key("m-1", 2)
    stage.delete(key)
    stage.verify(refetch=True)
    bring_back(stage, key)

    assert told(stage) == [BACK]
    assert stage.verification.problems == 1
    marked = stage.records()
    assert told(stage) == [BACK], "nothing changes unless asked for"
    assert stage.records() == marked

    stage.verify(refetch=True)
    assert (stage.verification.marked_media, stage.verification.mended_media) == (0, 1)
    assert stage.records() == {**before, ("m-1", 0): {**before["m-1", 0], "epoch": 3}}
    assert stage.verify() == []
    assert stage.library.take(medium(item_count=2)) == AlreadyStored(epoch=3, sync_id="s-1")


def test_a_medium_of_which_only_a_part_is_back_stays_wanted(stage: LibraryStage) -> None:
    stage.store(medium(item_count=2), b"a", b"b")
    for item in (1, 2):
        stage.delete(stage.key("m-1", item))
    stage.verify(refetch=True)
    bring_back(stage, stage.key("m-1", 2))

    assert told(stage, refetch=True) == [WANTED, BACK]
    assert (stage.verification.marked_media, stage.verification.mended_media) == (1, 0)
    assert stage.own("m-1")["status"] == MISSING
    assert told(stage) == [WANTED]
    bring_back(stage, stage.key("m-1", 1))
    stage.verify(refetch=True)
    assert stage.verify() == []


def test_a_medium_that_a_sync_failed_for_want_of_a_file_is_stored_once_that_is_back(stage: LibraryStage) -> None:
    event = medium(item_count=2)
    stage.store(event, b"a", b"b")
    key = stage.key("m-1", 2)
    stage.delete(key)
    stage.verify(refetch=True)
    lease = stage.library.take(event)
    assert isinstance(lease, Lease)
    stage.library.failed(lease, "the bucket has lost source/default/2, and GoPro no longer offers it")
    assert told(stage) == [WANTED]
    bring_back(stage, key)

    stage.verify(refetch=True)
    own = stage.own("m-1")
    assert (own["status"], own["epoch"], "reason" in own) == (STORED, lease.epoch + 1, False)
    assert stage.verify() == []


def test_a_medium_that_failed_for_something_else_stays_failed_when_a_record_is_mended(stage: LibraryStage) -> None:
    stage.store(medium(), b"a")
    lease = stage.library.take(medium(item_count=2))
    assert isinstance(lease, Lease)
    stage.library.failed(lease, "GoPro lists 2 items and offers 1")
    own = stage.own("m-1")
    stage.put(medium(), b"b", key=stage.key("m-1"))

    assert told(stage, refetch=True) == ["another ETag"]
    assert stage.verification.mended_media == 1
    assert stage.own("m-1") == own
    assert stage.verify() == []


@pytest.mark.parametrize("status", [STORED, MISSING])
def test_another_etag_alone_is_noted_and_nothing_is_fetched_for_it(stage: LibraryStage, status: str) -> None:
    """moto tells no checksum, so that here other bytes of the same size stand for an object copied onto itself."""
    lease = stage.store(medium(item_count=2), b"aaa", b"b")
    record = stage.library.files("m-1")[1]
    stage.library.save_file(lease, 1, {**record, "origin_etag": record["etag"], "proof": "origin-etag"})
    key = stage.key("m-1")
    if status == MISSING:
        stage.delete(key)
        stage.verify(refetch=True)
    etag = stage.put(medium(), b"bbb", key=key, origin_etag=record["etag"])
    own = stage.own("m-1")

    assert told(stage) == ["another ETag" if status == STORED else BACK]
    stage.verify(refetch=True)
    assert stage.verification.mended_media == 1
    expected = {**record, "origin_etag": record["etag"], "etag": etag, "proof": "length"}
    assert stage.library.files("m-1")[1] == expected
    assert stage.own("m-1") == {**own, "status": STORED, "epoch": 1 if status == STORED else 3}
    assert stage.verify() == []


def test_what_lies_at_the_key_of_a_file_that_is_wanted_again_and_is_another_is_not_taken_for_it(
    stage: LibraryStage,
) -> None:
    stage.store(medium(), b"aaa")
    key = stage.key("m-1")
    stage.delete(key)
    stage.verify(refetch=True)
    marked = stage.records()
    stage.put(medium(), b"longer", key=key)

    assert told(stage, refetch=True) == [WANTED]
    assert stage.records() == marked


def test_an_original_that_comes_back_to_the_key_it_had_to_leave_is_taken_for_stored_there(stage: LibraryStage) -> None:
    stage.store(medium(), b"aaa")
    before, key = stage.records(), stage.key("m-1")
    stage.put(medium(), b"longer", key=key)
    stage.verify(refetch=True)
    assert stage.key("m-1") != key
    isnt = "calls itself item 1 of this medium and isn't what is stored as that"
    assert sorted(told(stage)) == [isnt, WANTED]
    bring_back(stage, key)

    assert told(stage, refetch=True) == [BACK]
    assert stage.records() == {**before, ("m-1", 0): {**before["m-1", 0], "epoch": 3}}
    assert stage.verify() == []


def test_a_file_whose_upload_has_begun_again_is_back_when_its_object_is(stage: LibraryStage) -> None:
    event = medium()
    stage.store(event, b"aaa")
    record, key = stage.library.files("m-1")[1], stage.key("m-1")
    stage.delete(key)
    stage.verify(refetch=True)
    lease = stage.library.take(event)
    assert isinstance(lease, Lease)
    begun = {name: value for name, value in record.items() if name not in ("etag", "checksum", "proof")}
    stage.library.save_file(lease, 1, {**begun, "status": MISSING, "upload_id": "u", "part_size": 5})
    stage.library.failed(lease, "no answer")
    bring_back(stage, key)

    assert told(stage, refetch=True) == [BACK]
    assert stage.library.files("m-1")[1] == record
    assert stage.verify() == []


def test_a_file_that_is_back_is_left_alone_while_a_sync_has_its_medium(stage: LibraryStage) -> None:
    stage.store(medium(), b"a")
    key = stage.key("m-1")
    stage.delete(key)
    stage.verify(refetch=True)
    bring_back(stage, key)
    assert isinstance(stage.library.take(medium()), Lease)
    before = stage.records()

    stage.verify(refetch=True, now=NOW)
    assert stage.verification.not_marked == 1
    assert stage.records() == before


def test_more_files_than_a_transaction_takes_are_all_taken_for_stored(stage: LibraryStage) -> None:
    wrongs = burst(stage, 120)
    before = stage.records()
    set_right(stage.stores, stage.stores.records("m-1"), wrongs, now=LATER)
    found = stage.stores.head(stage.key("m-1"))
    assert isinstance(found, FoundObject)
    read = stage.stores.records("m-1")
    back = [
        Wrong(item=item, wrong=BACK, intact=replace(found, key=str(record["key"])))
        for item, record in read.files.items()
    ]
    assert set_right(stage.stores, read, back, now=LATER)
    after = stage.records()
    assert {key: record for key, record in after.items() if key[1]} == {
        key: record for key, record in before.items() if key[1]
    }
    assert {record["status"] for record in after.values()} == {STORED}


def test_a_medium_whose_lost_records_were_adopted_after_it_was_marked_is_stored_again(stage: LibraryStage) -> None:
    stage.store(medium(item_count=2), b"a", b"b")
    key = stage.key("m-1", 2)
    stage.delete(key)
    stage.forget("m-1", 2)
    stage.verify(refetch=True)
    bring_back(stage, key)
    stage.adopt()

    assert told(stage) == [WHOLE]
    stage.verify(refetch=True)
    assert stage.own("m-1")["status"] == STORED
    assert stage.verify() == []


@pytest.mark.parametrize("unsaid", ["origin", "files", "item-count"])
def test_a_file_whose_record_is_lost_and_whose_object_says_too_little_is_found_by_the_sync_after_a_mark(
    stage: LibraryStage, unsaid: str
) -> None:
    event = medium(item_count=2)
    stage.store(event, b"a", b"b")
    stage.put(event, b"b", item=2, files=2, key=stage.key("m-1", 2), without=[unsaid])
    stage.forget("m-1", 2)

    assert told(stage) == [
        "the table has 1 of its 2 files: see `adopt`, and if it stays, `--refetch`",
        "no record names it: it says too little for `adopt`, and a sync has to look",
    ]
    stage.verify(refetch=True)
    assert stage.verification.marked_media == 1
    assert isinstance(stage.library.take(event), Lease)


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
    assert "docs/operating.md, 'An object is gone'" in err
    assert command.main(["verify", "--refetch"]) == 1
    assert (
        capsys.readouterr().err
        == "cloud-sync: 1 media are marked: the next sync fetches what is gone, if GoPro has it\n"
    )
    bring_back(stage, key)
    assert command.main(["verify", "--refetch"]) == 1
    assert capsys.readouterr().err == (
        "cloud-sync: 1 media are set right in the table: nothing of them has to be fetched\n"
    )
    assert command.main(["verify"]) == 0
    assert command.main(["verify", "--media-id", "m-9"]) == 2
    assert capsys.readouterr().err == "cloud-sync: The library table has no medium m-9.\n"
