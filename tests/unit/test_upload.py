"""Multipart uploads: cutting, taking up again, completing, proving."""

from collections.abc import Iterator
from hashlib import md5
from typing import Any

import boto3
import pytest
from awscrt import checksums
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from services.downloader.origin import Version
from services.downloader.upload import (
    LENGTH,
    MIB,
    ORIGIN_ETAG,
    SMALLEST_PART,
    KeyOccupied,
    MediaBucket,
    Part,
    StoredObject,
    Upload,
    UploadGone,
    _combined,
    choose_part_size,
)

BUCKET, KEY = "media", "gopro/2026/01/01/m/a.mp4"
METADATA = {"media-id": "m", "item": "1", "origin-etag": "e"}


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "unit-test")
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket=BUCKET)
        yield client


def content(size: int) -> bytes:
    return bytes(range(251)) * (size // 251 + 1)


def origin_etag(body: bytes, part_size: int) -> str:
    parts = [body[at : at + part_size] for at in range(0, len(body), part_size)]
    return f"{md5(b''.join(md5(p).digest() for p in parts)).hexdigest()}-{len(parts)}"


def stored(bucket: MediaBucket, body: bytes, *, etag: str = "e") -> StoredObject:
    upload = bucket.begin(KEY, Version(size=len(body), etag=etag), part_size=SMALLEST_PART, metadata=METADATA)
    for number in range(1, upload.part_count + 1):
        start = (number - 1) * SMALLEST_PART
        bucket.put_part(upload, number, body[start : start + upload.length_of(number)])
    return bucket.complete(upload)


def test_a_stored_object_has_the_bytes_and_says_what_it_is(s3: Any) -> None:
    body = content(SMALLEST_PART * 2 + 17)
    object_ = stored(MediaBucket(s3, BUCKET), body)
    assert s3.get_object(Bucket=BUCKET, Key=KEY)["Body"].read() == body
    version = Version(size=len(body), etag="e")
    assert object_.is_copy_of(version, media_id="m", item=1)
    assert not object_.is_copy_of(version, media_id="m", item=2)
    assert not object_.is_copy_of(Version(size=len(body), etag="other"), media_id="m", item=1)
    assert not object_.is_copy_of(Version(size=len(body) + 1, etag="e"), media_id="m", item=1)


def test_cut_as_the_origin_was_the_copy_has_its_etag_which_proves_it(s3: Any) -> None:
    body = content(SMALLEST_PART * 2 + 17)
    etag = origin_etag(body, SMALLEST_PART)
    version = Version(size=len(body), etag=etag)
    assert choose_part_size(version, memory_bytes=64 * MIB) == SMALLEST_PART
    assert stored(MediaBucket(s3, BUCKET), body, etag=etag).proof(version) == ORIGIN_ETAG


def test_another_etag_than_the_origins_is_proven_by_length_only(s3: Any) -> None:
    body = content(1000)
    assert stored(MediaBucket(s3, BUCKET), body).proof(Version(size=1000, etag="e")) == LENGTH


def test_an_upload_goes_on_from_the_parts_that_s3_has(s3: Any) -> None:
    bucket, body = MediaBucket(s3, BUCKET), content(SMALLEST_PART * 3)
    version = Version(size=len(body), etag="e")
    begun = bucket.begin(KEY, version, part_size=SMALLEST_PART, metadata=METADATA)
    bucket.put_part(begun, 2, body[SMALLEST_PART : 2 * SMALLEST_PART])
    resumed = bucket.resume(begun.upload_id, KEY, version, part_size=SMALLEST_PART)
    assert resumed.bytes_done == SMALLEST_PART
    assert (resumed.next_missing(), resumed.next_missing(after=1)) == (1, 3)


def test_a_part_of_another_length_than_it_should_have_is_not_counted(s3: Any) -> None:
    bucket = MediaBucket(s3, BUCKET)
    version = Version(size=SMALLEST_PART * 2, etag="e")
    begun = bucket.begin(KEY, version, part_size=SMALLEST_PART, metadata=METADATA)
    bucket.put_part(begun, 1, b"cut short")
    assert bucket.resume(begun.upload_id, KEY, version, part_size=SMALLEST_PART).parts == {}


def test_an_aborted_upload_is_gone_and_aborting_it_again_is_fine(s3: Any) -> None:
    bucket, version = MediaBucket(s3, BUCKET), Version(size=9, etag="e")
    begun = bucket.begin(KEY, version, part_size=SMALLEST_PART, metadata=METADATA)
    bucket.abort(KEY, begun.upload_id)
    bucket.abort(KEY, begun.upload_id)
    with pytest.raises(UploadGone):
        bucket.resume(begun.upload_id, KEY, version, part_size=SMALLEST_PART)


@pytest.mark.parametrize(
    ("operation", "code", "expected"),
    [
        ("upload_part", "NoSuchUpload", UploadGone),
        ("complete_multipart_upload", "NoSuchUpload", UploadGone),
        ("complete_multipart_upload", "PreconditionFailed", KeyOccupied),
    ],
)
def test_what_s3_refuses_is_told_apart(operation: str, code: str, expected: type[Exception]) -> None:
    client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="u", aws_secret_access_key="u")
    upload = Upload(upload_id="u", key=KEY, version=Version(size=3, etag=""), part_size=SMALLEST_PART)
    upload.parts[1] = Part(etag="x", size=3, crc=1)
    bucket = MediaBucket(client, BUCKET)
    with Stubber(client) as stub:
        stub.add_client_error(operation, service_error_code=code)
        with pytest.raises(expected):
            bucket.put_part(upload, 1, b"abc") if operation == "upload_part" else bucket.complete(upload)


def test_a_conflict_on_completing_gives_the_upload_up_and_starts_anew() -> None:
    client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="u", aws_secret_access_key="u")
    upload = Upload(upload_id="u", key=KEY, version=Version(size=3, etag=""), part_size=SMALLEST_PART)
    upload.parts[1] = Part(etag="x", size=3, crc=1)
    with Stubber(client) as stub:
        stub.add_client_error("complete_multipart_upload", service_error_code="ConditionalRequestConflict")
        stub.add_response("abort_multipart_upload", {}, {"Bucket": BUCKET, "Key": KEY, "UploadId": "u"})
        with pytest.raises(UploadGone):
            MediaBucket(client, BUCKET).complete(upload)
        stub.assert_no_pending_responses()


def test_s3_is_told_the_size_that_the_whole_must_have() -> None:
    client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="u", aws_secret_access_key="u")
    upload = Upload(upload_id="u", key=KEY, version=Version(size=3, etag=""), part_size=SMALLEST_PART)
    upload.parts[1] = Part(etag="x", size=3, crc=1)
    asked: list[dict[str, Any]] = []
    client.meta.events.register(
        "provide-client-params.s3.CompleteMultipartUpload", lambda params, **_: asked.append(params)
    )
    with Stubber(client) as stub:
        stub.add_response("complete_multipart_upload", {})
        stub.add_response("head_object", {"ContentLength": 3, "ETag": "x", "Metadata": {}})
        MediaBucket(client, BUCKET).complete(upload)
    assert [(params["MpuObjectSize"], params["IfNoneMatch"]) for params in asked] == [(3, "*")]


def test_an_object_is_never_overwritten(s3: Any) -> None:
    bucket = MediaBucket(s3, BUCKET)
    version = Version(size=9, etag="e")
    upload = bucket.begin(KEY, version, part_size=SMALLEST_PART, metadata=METADATA)
    bucket.put_part(upload, 1, b"x" * 9)
    s3.put_object(Bucket=BUCKET, Key=KEY, Body=b"was first")
    with pytest.raises(KeyOccupied):
        bucket.complete(upload)
    assert s3.get_object(Bucket=BUCKET, Key=KEY)["Body"].read() == b"was first"


def test_what_is_not_there_is_not_found(s3: Any) -> None:
    assert MediaBucket(s3, BUCKET).find("gopro/none") is None


@given(st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=9))
def test_the_combined_checksum_is_that_of_the_whole(chunks: list[bytes]) -> None:
    parts = [Part(etag="", size=len(chunk), crc=checksums.crc64nvme(chunk)) for chunk in chunks]
    assert _combined(parts) == checksums.crc64nvme(b"".join(chunks))


@given(
    size=st.integers(1, 5 * 2**40),
    count=st.integers(0, 12_000),
    memory=st.integers(0, 2**31),
)
def test_every_size_can_be_cut_within_the_limits_of_s3(size: int, count: int, memory: int) -> None:
    part_size = choose_part_size(Version(size=size, etag=f"abc-{count}"), memory_bytes=memory)
    upload = Upload(upload_id="u", key=KEY, version=Version(size=size, etag=""), part_size=part_size)
    assert part_size >= SMALLEST_PART
    assert upload.part_count <= 10_000
    assert sum(upload.length_of(n) for n in (1, upload.part_count)) <= size or upload.part_count == 1
    assert (upload.part_count - 1) * part_size < size <= upload.part_count * part_size


@given(size=st.integers(1, 2**36), origin=st.sampled_from([5, 8, 16, 20, 64, 100]))
def test_the_part_size_is_one_that_gives_the_origins_number_of_parts_if_one_fits(size: int, origin: int) -> None:
    count = -(-size // (origin * MIB))
    part_size = choose_part_size(Version(size=size, etag=f"abc-{count}"), memory_bytes=200 * MIB)
    if size <= 9_000 * origin * MIB:
        assert -(-size // part_size) == count
