"""`cloud-sync verify`: what the table says, what the bucket has, and what the next sync does about it."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock

import pytest
from botocore.exceptions import ClientError

from ops import command
from ops.deployment import Deployment
from ops.errors import OperatorError
from ops.library import WORKERS, in_order
from ops.refetch import Difference, correct
from ops.verify import Verification
from services.downloader.library_table import LEASE, AlreadyStored, Lease
from services.downloader.transfer import ORIGIN_ETAG
from services.shared.library.objects import other_key
from services.shared.library.records import VERSIONS, FileRecord, Row, Status
from tests.unit.library_stage import BUCKET, LATER, NOW, TABLE, LibraryStage, library_stage, medium


@pytest.fixture
def stage() -> Iterator[LibraryStage]:
    with library_stage() as running:
        yield running


MARKED = "marked as missing: the next sync fetches it, if GoPro still lists it"
BACK = "in the bucket again: `--refetch` records it as stored"
ALL_BACK = "all of its files are in the bucket again: `--refetch` records it as stored"


def bring_back(stage: LibraryStage, key: str) -> None:
    """Delete the latest version of an object, be it a delete marker or another object."""
    (latest,) = [
        version
        for kind in ("Versions", "DeleteMarkers")
        for version in stage.s3.list_object_versions(Bucket=BUCKET, Prefix=key).get(kind, [])
        if version["Key"] == key and version["IsLatest"]
    ]
    stage.s3.delete_object(Bucket=BUCKET, Key=key, VersionId=latest["VersionId"])


def problems(stage: LibraryStage, **options: Any) -> list[str]:
    return [problem.text for problem in stage.verify(**options)]


def change(stage: LibraryStage, lease: Lease, item: int = 1, **fields: Any) -> None:
    """Change the record of a file."""
    stage.library.save_files(lease, [replace(stage.library.files("m-1")[item], **fields)])


def status_of(stage: LibraryStage, media_id: str = "m-1") -> Status | None:
    return stage.stores.medium(media_id).status


def test_stored_media_are_counted(stage: LibraryStage) -> None:
    stage.store(medium("m-1", item_count=3), b"a", b"bb", b"ccc")
    for number in range(2, 26):
        stage.store(medium(f"m-{number}"), b"four")

    assert stage.verify() == []
    assert list(stage.verification.totals()) == [
        "25 media stored in 27 files, 102 bytes; proof: 27 length",
        "0 problems, 0 notices",
    ]


def test_files_are_counted_by_what_proves_them(stage: LibraryStage) -> None:
    lease = stage.store(medium("m-1", item_count=3), b"a", b"bb", b"ccc")
    change(stage, lease, 2, proof=ORIGIN_ETAG)

    assert stage.verify() == []
    assert next(stage.verification.totals()).endswith("; proof: 1 origin-etag, 2 length")


def test_files_whose_etag_proves_nothing_because_of_a_key_are_counted(stage: LibraryStage) -> None:
    stage.store(medium("m-1"), b"plain")
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "a-key"}}
    stage.s3.put_bucket_encryption(Bucket=BUCKET, ServerSideEncryptionConfiguration={"Rules": [rule]})
    stage.store(medium("m-3", item_count=2), b"under", b"the key")

    assert stage.verify() == []
    assert stage.verification.under_kms == 2
    _, about_key, _ = stage.verification.totals()
    assert about_key.startswith("2 of them are encrypted with a KMS key, under which an ETag proves nothing")
    assert stage.verification.described([])["under_kms"] == 2


def test_a_medium_whose_records_fill_several_pages_is_checked_once(stage: LibraryStage) -> None:
    for item in range(6):
        stage.dynamodb.put_item(TableName=TABLE, Item={"media_id": "m-1", "item": item, "reason": "x" * 350_000})
    assert len(list(stage.dynamodb.get_paginator("scan").paginate(TableName=TABLE))) > 1

    assert list(stage.stores.media_ids()) == ["m-1"]
    assert len(stage.stores.medium("m-1").files) == 5


def test_a_lost_object_is_reported_with_its_medium_name_and_key(stage: LibraryStage) -> None:
    stage.store(medium(item_count=2), b"a", b"b")
    key = stage.key("m-1", 2)
    stage.delete(key)

    (problem,) = stage.verify()
    assert (problem.media_id, problem.name, problem.key) == ("m-1", "GX020639.MP4", key)
    assert problem.text == "removed: a delete marker hides it"
    for version in stage.s3.list_object_versions(Bucket=BUCKET, Prefix=key)["Versions"]:
        stage.s3.delete_object(Bucket=BUCKET, Key=key, VersionId=version["VersionId"])
    for marker in stage.s3.list_object_versions(Bucket=BUCKET, Prefix=key)["DeleteMarkers"]:
        stage.s3.delete_object(Bucket=BUCKET, Key=key, VersionId=marker["VersionId"])
    assert problems(stage) == ["missing"]


@pytest.mark.parametrize(
    ("body", "origin_etag", "media_id", "item", "differences"),
    [
        (b"bbb", "", "m-1", 1, "another ETag"),
        (b"toolong", "", "m-1", 1, "another size (7 bytes, not 3), another ETag"),
        (b"aaa", "other", "m-1", 1, "other metadata"),
        (b"aaa", "", "m-2", 1, "other metadata"),
        (b"aaa", "", "m-1", 2, "other metadata"),
    ],
)
def test_another_object_at_a_key_is_reported_with_its_differences(
    stage: LibraryStage, body: bytes, origin_etag: str, media_id: str, item: int, differences: str
) -> None:
    stage.store(medium(), b"aaa")
    stage.put(medium(media_id), body, item=item, key=stage.key("m-1"), origin_etag=origin_etag or "etag-1")

    assert problems(stage) == [differences]


def test_only_the_stored_files_of_an_unfinished_medium_are_checked(stage: LibraryStage) -> None:
    lease = stage.store(medium(item_count=2), b"a", stored=False)
    begun = FileRecord(media_id="m-1", item=2, status=Status.UPLOADING, key="gopro/x", upload_id="u", size=1)
    stage.library.save_files(lease, [begun])
    assert problems(stage) == []
    assert stage.verification.media == 0
    stage.delete(stage.key("m-1"))
    assert problems(stage) == ["removed: a delete marker hides it"]


def test_records_that_the_table_has_lost_are_reported(stage: LibraryStage) -> None:
    stage.store(medium("m-1", item_count=2), b"a", b"b")
    stage.store(medium("m-2"), b"c")
    stage.forget("m-1", 2)
    stage.forget("m-2", 0)

    assert sorted(problems(stage)) == [
        "no record of it: `adopt` writes one",
        "the table has 1 of its 2 files: run `adopt`, and if that changes nothing, `--refetch`",
        "the table has no record of the medium itself: `adopt` or the next sync writes it",
    ]


def test_objects_without_a_record_are_reported_and_only_originals_are_problems(stage: LibraryStage) -> None:
    stage.store(medium(), b"a")
    folder = stage.key("m-1").rpartition("/")[0]
    stage.put(medium("m-2"), b"b", key="gopro/2026/01/30/m-2/GX010639.MP4")
    stage.put(medium(), b"a", key=f"{folder}/GX010639-12345678.MP4")
    stage.put(medium(), b"another", key=f"{folder}/GX010639-87654321.MP4")
    stage.put(medium(), b"a", key="gopro/the best/GX010639.MP4")
    stage.s3.put_object(Bucket=BUCKET, Key=f"{folder}/notes.txt", Body=b"mine")
    stage.s3.put_object(Bucket=BUCKET, Key="reports/s-1.json", Body=b"{}")

    notices = {problem.key.rpartition("/")[2]: problem.text for problem in stage.verify() if problem.harmless}
    assert notices == {
        "GX010639-12345678.MP4": f"another copy of {stage.key('m-1')}",
        "GX010639-87654321.MP4": "claims to be item 1 of this medium, which has another key",
        "GX010639.MP4": "not created by Cloud Sync",
        "notes.txt": "not created by Cloud Sync",
    }
    (problem,) = [problem for problem in stage.verify() if not problem.harmless]
    assert (problem.media_id, problem.text) == ("m-2", "no record of it: `adopt` writes one")
    assert (stage.verification.problems, stage.verification.harmless) == (1, 4)


def test_a_file_that_a_sync_stores_meanwhile_is_no_problem(stage: LibraryStage) -> None:
    stage.store(medium("m-1"), b"a")
    stores = stage.stores
    ids = stores.media_ids

    def then_a_sync_stores_another() -> Iterator[str]:
        yield from ids()
        stage.store(medium("m-2"), b"b")

    stores.media_ids = then_a_sync_stores_another  # type: ignore[method-assign]
    assert list(Verification(stores=stores).run(now=LATER)) == []


def test_uploads_without_a_record_are_reported_once_they_are_older_than_any_function(stage: LibraryStage) -> None:
    begin = stage.s3.create_multipart_upload
    named = begin(Bucket=BUCKET, Key="gopro/2026/01/30/m-1/a")["UploadId"]
    left = begin(Bucket=BUCKET, Key="gopro/2026/01/30/m-2/b")["UploadId"]
    begin(Bucket=BUCKET, Key="elsewhere")
    lease, key = stage.take(medium()), "gopro/2026/01/30/m-1/a"
    begun_file = FileRecord(media_id="m-1", item=1, status=Status.UPLOADING, key=key, upload_id=named)
    stage.library.save_files(lease, [begun_file])

    begun = datetime(2010, 11, 10, 20, 48, 33, tzinfo=UTC)  # what moto says of every upload
    assert problems(stage, now=begun + timedelta(minutes=14)) == []
    assert problems(stage, now=begun + timedelta(minutes=16)) == [f"no record of the multipart upload {left}"]


def test_a_lost_table_or_bucket_is_reported_before_anything_is_checked(stage: LibraryStage) -> None:
    stage.deployment.outputs["MediaBucketName"] = "no-such-bucket"
    with pytest.raises(OperatorError, match="The media bucket no-such-bucket is gone"):
        stage.verify()
    stage.dynamodb.delete_table(TableName=TABLE)
    with pytest.raises(OperatorError, match=r"library table library is gone\. Restore it, or create an empty one"):
        stage.adopt()


def test_an_object_that_may_not_be_read_is_an_error_and_nothing_is_marked(stage: LibraryStage) -> None:
    stage.store(medium(), b"a")
    stores = stage.stores
    refused = ClientError({"Error": {"Code": "403", "Message": "Forbidden"}}, "HeadObject")
    stores._s3 = Mock(head_object=Mock(side_effect=refused))

    with pytest.raises(ClientError, match="403"):
        list(Verification(stores=stores).run(refetch=True, now=LATER))
    assert status_of(stage) == Status.STORED


def test_few_results_are_held_at_a_time_and_their_order_stays() -> None:
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


def test_only_the_lost_file_of_a_medium_is_marked_as_missing(stage: LibraryStage) -> None:
    event = medium(item_count=2)
    stage.store(event, b"a", b"b")
    stage.store(medium("m-2"), b"c")
    stage.delete(stage.key("m-1", 2))
    before = stage.records()

    stage.verify(refetch=True)

    assert (stage.verification.problems, stage.verification.marked_media) == (1, 1)
    assert stage.records() == {
        **before,
        ("m-1", 0): {**before["m-1", 0], "status": "MISSING", "epoch": 2},
        ("m-1", 2): {**before["m-1", 2], "status": "MISSING"},
    }
    assert problems(stage) == [MARKED]
    assert stage.library.take(event) == Lease(media_id="m-1", epoch=3)
    stage.verify(refetch=True)
    assert stage.verification.marked_media == 0


def test_each_version_of_a_file_is_checked_and_marked_for_itself(stage: LibraryStage) -> None:
    stage.store(medium(), b"a")
    stage.store(medium(look_again=True, sync_id="s-2", labels=("source",)), b"new", items=[1 + VERSIONS])
    assert problems(stage) == []
    assert (stage.verification.media, stage.verification.files) == (1, 2)
    stage.delete(stage.key("m-1", 1 + VERSIONS))
    stage.verify(refetch=True)
    assert [(file.item, file.status) for file in stage.library.files("m-1").values()] == [
        (1, Status.STORED),
        (1 + VERSIONS, Status.MISSING),
    ]


@pytest.mark.parametrize(
    ("body", "origin_etag"), [(b"bbb", "other"), (b"longer", "etag-1")], ids=["not ours", "another size"]
)
def test_a_file_whose_key_another_object_has_gets_another_key(
    stage: LibraryStage, body: bytes, origin_etag: str
) -> None:
    stage.store(medium(), b"aaa")
    key = stage.key("m-1")
    stage.put(medium(), body, key=key, origin_etag=origin_etag)

    stage.verify(refetch=True)

    assert stage.library.files("m-1")[1].status == Status.MISSING
    assert stage.key("m-1") == other_key(key, "etag-1")
    assert stage.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == body


def test_a_leased_medium_is_not_changed_until_its_lease_is_over(stage: LibraryStage) -> None:
    stage.store(medium(item_count=2), b"a", stored=False)
    stage.delete(stage.key("m-1"))
    before = stage.records()

    stage.verify(refetch=True, now=NOW)
    assert (stage.verification.marked_media, stage.verification.not_marked) == (0, 1)
    assert stage.records() == before

    stage.verify(refetch=True, now=NOW + LEASE)
    assert stage.verification.marked_media == 1
    assert {record["status"] for record in stage.records().values()} == {"MISSING"}


@pytest.mark.parametrize("status", [Status.DOWNLOADING, Status.FAILED, Status.STORED])
def test_a_medium_that_a_sync_took_since_it_was_read_is_not_changed(stage: LibraryStage, status: Status) -> None:
    stage.store(medium(item_count=2), b"a", b"b")
    read = stage.stores.medium("m-1")
    lease = stage.take(medium(item_count=3))
    if status == Status.FAILED:
        stage.library.fail(lease, "no answer")
    elif status == Status.STORED:
        stage.library.finish(lease, row=Row(item_count=3), files=2, total_bytes=2)
    before = stage.records()

    assert correct(stage.stores, read, [Difference(item=1, text="missing")], now=LATER) is False
    assert stage.records() == before


def burst(stage: LibraryStage, pictures: int) -> list[Difference]:
    stage.store(medium(item_count=pictures), b"a")
    first = stage.library.files("m-1")[1]
    with stage.deployment.table("LibraryTableName").batch_writer() as batch:
        for item in range(2, pictures + 1):
            batch.put_item(Item=replace(first, item=item, key=f"{first.key}-{item}").to_item())
    return [Difference(item=item, text="missing") for item in range(1, pictures + 1)]


def test_more_files_than_a_transaction_takes_are_all_marked(stage: LibraryStage) -> None:
    lost = burst(stage, 120)
    assert correct(stage.stores, stage.stores.medium("m-1"), lost, now=LATER)
    assert {record["status"] for record in stage.records().values()} == {"MISSING"}
    assert stage.records()["m-1", 0]["epoch"] == 2


def test_marking_that_ends_half_way_is_completed_the_next_time(
    stage: LibraryStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = burst(stage, 120)
    stage.delete(stage.key("m-1"))
    stores = stage.stores
    write, calls = stores.dynamodb.transact_write_items, 0

    def only_once(**request: object) -> object:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise KeyboardInterrupt
        return write(**request)

    with monkeypatch.context() as patch:
        patch.setattr(stores.dynamodb, "transact_write_items", only_once)
        with pytest.raises(KeyboardInterrupt):
            correct(stores, stores.medium("m-1"), lost, now=LATER)
    assert status_of(stage) == Status.STORED

    stage.verify(refetch=True)
    assert stage.verification.marked_media == 1
    assert {record["status"] for record in stage.records().values()} == {"MISSING"}


def test_a_file_of_a_medium_without_a_record_of_its_own_is_marked(stage: LibraryStage) -> None:
    stage.store(medium(item_count=2), b"a", b"b")
    stage.delete(stage.key("m-1", 2))
    stage.forget("m-1", 0)

    stage.verify(refetch=True)
    assert stage.own("m-1") is None
    assert stage.library.files("m-1")[2].status == Status.MISSING
    assert stage.verification.marked_media == 1
    bring_back(stage, stage.key("m-1", 2))
    stage.verify(refetch=True)
    assert stage.adopt().media == 1
    assert stage.verify() == []


# --- and what is there again ----------------------------------------------------------------------------------------


def test_a_missing_file_that_is_back_is_recorded_as_stored(stage: LibraryStage) -> None:
    stage.store(medium(item_count=2), b"a", b"b")
    before = stage.records()
    key = stage.key("m-1", 2)
    stage.delete(key)
    stage.verify(refetch=True)
    bring_back(stage, key)

    assert problems(stage) == [BACK]
    assert stage.verification.problems == 1
    marked = stage.records()
    assert problems(stage) == [BACK], "nothing changes unless asked for"
    assert stage.records() == marked

    stage.verify(refetch=True)
    assert (stage.verification.marked_media, stage.verification.corrected_media) == (0, 1)
    assert stage.records() == {**before, ("m-1", 0): {**before["m-1", 0], "epoch": 3}}
    assert stage.verify() == []
    assert stage.library.take(medium(item_count=2)) == AlreadyStored(epoch=3, sync_id="s-1")


def test_a_medium_of_which_one_file_is_still_missing_stays_missing(stage: LibraryStage) -> None:
    stage.store(medium(item_count=2), b"a", b"b")
    for item in (1, 2):
        stage.delete(stage.key("m-1", item))
    stage.verify(refetch=True)
    bring_back(stage, stage.key("m-1", 2))

    assert problems(stage, refetch=True) == [MARKED, BACK]
    assert (stage.verification.marked_media, stage.verification.corrected_media) == (1, 0)
    assert status_of(stage) == Status.MISSING
    assert problems(stage) == [MARKED]
    bring_back(stage, stage.key("m-1", 1))
    stage.verify(refetch=True)
    assert stage.verify() == []


def test_a_medium_that_failed_for_a_missing_file_is_stored_once_the_file_is_back(stage: LibraryStage) -> None:
    event = medium(item_count=2)
    stage.store(event, b"a", b"b")
    key = stage.key("m-1", 2)
    stage.delete(key)
    stage.verify(refetch=True)
    lease = stage.take(event)
    stage.library.fail(lease, "the bucket has lost source/default/2, and GoPro no longer offers it")
    assert problems(stage) == [MARKED]
    bring_back(stage, key)

    stage.verify(refetch=True)
    own = stage.own("m-1")
    assert own
    assert (own.status, own.epoch, own.reason) == (Status.STORED, lease.epoch + 1, None)
    assert stage.verify() == []


def test_a_medium_that_failed_for_another_reason_stays_failed_when_a_record_is_corrected(stage: LibraryStage) -> None:
    stage.store(medium(), b"a")
    stage.library.fail(stage.take(medium(item_count=2)), "GoPro lists 2 items and offers 1")
    own = stage.own("m-1")
    stage.put(medium(), b"b", key=stage.key("m-1"))

    assert problems(stage, refetch=True) == ["another ETag"]
    assert stage.verification.corrected_media == 1
    assert stage.own("m-1") == own
    assert stage.verify() == []


@pytest.mark.parametrize("status", [Status.STORED, Status.MISSING])
def test_another_etag_alone_is_recorded_and_nothing_is_fetched(stage: LibraryStage, status: Status) -> None:
    """moto has no checksums, so other bytes of the same size stand for an object that was copied onto itself."""
    lease = stage.store(medium(item_count=2), b"aaa", b"b")
    record = stage.library.files("m-1")[1]
    change(stage, lease, origin_etag=record.etag, proof="origin-etag")
    key = stage.key("m-1")
    if status == Status.MISSING:
        stage.delete(key)
        stage.verify(refetch=True)
    etag = stage.put(medium(), b"bbb", key=key, origin_etag=record.etag or "")
    own = stage.own("m-1")
    assert own

    assert problems(stage) == ["another ETag" if status == Status.STORED else BACK]
    stage.verify(refetch=True)
    assert stage.verification.corrected_media == 1
    expected = replace(record, origin_etag=record.etag or "", etag=etag, proof="length")
    assert stage.library.files("m-1")[1] == expected
    assert stage.own("m-1") == replace(own, status=Status.STORED, epoch=1 if status == Status.STORED else 3)
    assert stage.verify() == []


def test_another_object_at_the_key_of_a_missing_file_is_not_taken_for_it(
    stage: LibraryStage,
) -> None:
    stage.store(medium(), b"aaa")
    key = stage.key("m-1")
    stage.delete(key)
    stage.verify(refetch=True)
    marked = stage.records()
    stage.put(medium(), b"longer", key=key)

    assert problems(stage, refetch=True) == [MARKED]
    assert stage.records() == marked


def test_an_original_that_is_back_at_its_former_key_is_recorded_as_stored_there(stage: LibraryStage) -> None:
    stage.store(medium(), b"aaa")
    before, key = stage.records(), stage.key("m-1")
    stage.put(medium(), b"longer", key=key)
    stage.verify(refetch=True)
    assert stage.key("m-1") != key
    assert sorted(problems(stage)) == ["claims to be item 1 of this medium, which has another key", MARKED]
    bring_back(stage, key)

    assert problems(stage, refetch=True) == [BACK]
    assert stage.records() == {**before, ("m-1", 0): {**before["m-1", 0], "epoch": 3}}
    assert stage.verify() == []


def test_a_missing_file_whose_upload_was_begun_again_is_recorded_when_its_object_is_back(stage: LibraryStage) -> None:
    event = medium()
    stage.store(event, b"aaa")
    record, key = stage.library.files("m-1")[1], stage.key("m-1")
    stage.delete(key)
    stage.verify(refetch=True)
    lease = stage.take(event)
    change(stage, lease, status=Status.MISSING, upload_id="u", part_size=5, etag=None, checksum=None, proof=None)
    stage.library.fail(lease, "no answer")
    bring_back(stage, key)

    assert problems(stage, refetch=True) == [BACK]
    assert stage.library.files("m-1")[1] == record
    assert stage.verify() == []


@pytest.mark.parametrize("unsaid", ["origin", "files"])
def test_a_file_with_incomplete_metadata_and_no_record_is_left_to_the_next_sync(
    stage: LibraryStage, unsaid: str
) -> None:
    event = medium(item_count=2)
    stage.store(event, b"a", b"b")
    stage.put(event, b"b", item=2, files=2, key=stage.key("m-1", 2), without=[unsaid])
    stage.forget("m-1", 2)

    assert problems(stage) == [
        "the table has 1 of its 2 files: run `adopt`, and if that changes nothing, `--refetch`",
        "no record of it, and its metadata is incomplete: the next sync has to look at it",
    ]
    stage.verify(refetch=True)
    assert stage.verification.marked_media == 1
    stage.take(event)


# --- the command ----------------------------------------------------------------------------------------------------


def test_the_command_prints_problems_and_exits_with_their_status(
    stage: LibraryStage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def deployment(_: object, **__: object) -> Deployment:
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
        "1 problems, 0 notices",
    ]
    assert "docs/operating.md, 'An object is gone'" in err
    assert command.main(["verify", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    (problem,) = found["problems"]
    assert (problem["media_id"], problem["key"]) == ("m-\x1b1", key)
    assert (found["media"], found["bytes_total"], found["proofs"], found["notices"]) == (1, 1, {"length": 1}, [])
    assert command.main(["verify", "--refetch"]) == 1
    assert (
        capsys.readouterr().err
        == "cloud-sync: 1 media are marked: the next sync fetches what is gone, if GoPro has it\n"
    )
    bring_back(stage, key)
    assert command.main(["verify", "--refetch"]) == 1
    assert capsys.readouterr().err == (
        "cloud-sync: 1 media were corrected in the table: nothing of them has to be fetched\n"
    )
    assert command.main(["verify"]) == 0
    assert command.main(["verify", "--media-id", "m-9"]) == 2
    assert capsys.readouterr().err == "cloud-sync: The library table has no medium m-9.\n"


def test_the_sync_after_a_correction_walks_the_whole_library(
    stage: LibraryStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for media_id in ("m-1", "m-2"):
        stage.store(medium(media_id), b"a")
    stage.verify(refetch=True)
    assert stage.full_walk_asked() == "", "nothing was wrong"
    for media_id in ("m-1", "m-2"):
        stage.s3.delete_object(Bucket=BUCKET, Key=stage.key(media_id))
    stage.verify()
    assert stage.full_walk_asked() == "", "nothing was corrected"
    asked = []

    def noted(*arguments: Any, **options: Any) -> bool:
        asked.append(stage.full_walk_asked())
        return correct(*arguments, **options)

    monkeypatch.setattr("ops.verify.correct", noted)
    stage.verify(refetch=True)
    assert asked[0] == asked[1] != "", "asked for before the first correction"
    assert stage.full_walk_asked() not in ("", asked[0]), "and after the last one"
