"""Uploads: in one request or in parts, taken up again, completed, proven."""

from base64 import b64encode
from collections.abc import Iterator
from hashlib import md5
from typing import Any

import boto3
import pytest
from awscrt import checksums
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from services.downloader.keys import is_copy
from services.downloader.transfer import Bucket, KeyOccupied, Limits, StoredObject, Upload, UploadGone, Version
from services.downloader.transfer.bucket import LENGTH, ORIGIN_ETAG, Part, _combined
from services.downloader.transfer.limits import MIB, SMALLEST_PART
from tests.moto_s3 import take_bytearrays

BUCKET, KEY = "media", "gopro/2026/01/01/m/a.mp4"
METADATA = {"media-id": "m", "item": "1", "origin-etag": "e"}
IN_PARTS = Limits(memory_bytes=SMALLEST_PART)  # of the smallest size


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "unit-test")
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket=BUCKET)
        take_bytearrays(client.meta.events)
        yield client


def content(size: int) -> bytes:
    return bytes(range(251)) * (size // 251 + 1)


def origin_etag(body: bytes, part_size: int) -> str:
    parts = [body[at : at + part_size] for at in range(0, len(body), part_size)]
    return f"{md5(b''.join(md5(p).digest() for p in parts)).hexdigest()}-{len(parts)}"


def stored(bucket: Bucket, body: bytes, *, etag: str = "e") -> StoredObject:
    upload = bucket.begin(KEY, Version(size=len(body), etag=etag), limits=IN_PARTS, metadata=METADATA)
    for number in range(1, upload.part_count + 1):
        start = (number - 1) * SMALLEST_PART
        bucket.put_part(upload, number, body[start : start + upload.length_of(number)])
    return bucket.complete(upload)


def test_a_stored_object_has_the_bytes_and_says_what_it_is(s3: Any) -> None:
    body = content(SMALLEST_PART * 2 + 17)
    object_ = stored(Bucket(s3, BUCKET), body)
    assert s3.get_object(Bucket=BUCKET, Key=KEY)["Body"].read() == body
    version = Version(size=len(body), etag="e")
    assert is_copy(object_, version, media_id="m", item=1)
    assert not is_copy(object_, version, media_id="m", item=2)
    assert not is_copy(object_, Version(size=len(body), etag="other"), media_id="m", item=1)
    assert not is_copy(object_, Version(size=len(body) + 1, etag="e"), media_id="m", item=1)


def test_cut_as_the_origin_was_the_copy_has_its_etag_which_proves_it(s3: Any) -> None:
    body = content(SMALLEST_PART * 2 + 17)
    etag = origin_etag(body, SMALLEST_PART)
    version = Version(size=len(body), etag=etag)
    assert Limits(memory_bytes=64 * MIB).part_size(version) == SMALLEST_PART
    assert stored(Bucket(s3, BUCKET), body, etag=etag).proof(version) == ORIGIN_ETAG


def test_another_etag_than_the_origins_is_proven_by_length_only(s3: Any) -> None:
    body = content(1000)
    assert stored(Bucket(s3, BUCKET), body).proof(Version(size=1000, etag="e")) == LENGTH


def test_an_upload_goes_on_from_the_parts_that_s3_has(s3: Any) -> None:
    bucket, body = Bucket(s3, BUCKET), content(SMALLEST_PART * 3)
    version = Version(size=len(body), etag="e")
    begun = bucket.begin(KEY, version, limits=IN_PARTS, metadata=METADATA)
    bucket.put_part(begun, 2, body[SMALLEST_PART : 2 * SMALLEST_PART])
    resumed = bucket.resume(begun.upload_id, KEY, version, part_size=SMALLEST_PART)
    assert resumed.bytes_done == SMALLEST_PART
    assert list(resumed.parts) == [2]
    assert not resumed.is_filled


def test_a_part_of_another_length_than_it_should_have_is_not_counted(s3: Any) -> None:
    bucket = Bucket(s3, BUCKET)
    version = Version(size=SMALLEST_PART * 2, etag="e")
    begun = bucket.begin(KEY, version, limits=IN_PARTS, metadata=METADATA)
    bucket.put_part(begun, 1, b"cut short")
    assert bucket.resume(begun.upload_id, KEY, version, part_size=SMALLEST_PART).parts == {}


def test_an_aborted_upload_is_gone_and_aborting_it_again_is_fine(s3: Any) -> None:
    bucket, version = Bucket(s3, BUCKET), Version(size=9, etag="e-1")
    begun = bucket.begin(KEY, version, limits=IN_PARTS, metadata=METADATA)
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
        ("put_object", "PreconditionFailed", KeyOccupied),
        ("put_object", "ConditionalRequestConflict", UploadGone),
    ],
)
def test_what_s3_refuses_is_told_apart(operation: str, code: str, expected: type[Exception]) -> None:
    client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="u", aws_secret_access_key="u")
    upload_id = "" if operation == "put_object" else "u"
    upload = Upload(upload_id=upload_id, key=KEY, version=Version(size=3, etag=""), part_size=SMALLEST_PART)
    upload.parts[1] = Part(etag="x", size=3, crc=1)
    bucket = Bucket(client, BUCKET)
    with Stubber(client) as stub:
        stub.add_client_error(operation, service_error_code=code)
        with pytest.raises(expected):
            bucket.complete(upload) if operation.startswith("complete") else bucket.put_part(upload, 1, b"abc")


def test_a_conflict_on_completing_gives_the_upload_up_and_starts_anew() -> None:
    client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="u", aws_secret_access_key="u")
    upload = Upload(upload_id="u", key=KEY, version=Version(size=3, etag=""), part_size=SMALLEST_PART)
    upload.parts[1] = Part(etag="x", size=3, crc=1)
    with Stubber(client) as stub:
        stub.add_client_error("complete_multipart_upload", service_error_code="ConditionalRequestConflict")
        stub.add_response("abort_multipart_upload", {}, {"Bucket": BUCKET, "Key": KEY, "UploadId": "u"})
        with pytest.raises(UploadGone):
            Bucket(client, BUCKET).complete(upload)
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
        Bucket(client, BUCKET).complete(upload)
    assert [(params["MpuObjectSize"], params["IfNoneMatch"]) for params in asked] == [(3, "*")]


@pytest.mark.parametrize("etag", ["e", "e-1"], ids=["in one request", "in parts"])
def test_an_object_is_never_overwritten(s3: Any, etag: str) -> None:
    bucket = Bucket(s3, BUCKET)
    version = Version(size=9, etag=etag)
    upload = bucket.begin(KEY, version, limits=IN_PARTS, metadata=METADATA)
    s3.put_object(Bucket=BUCKET, Key=KEY, Body=b"was first")
    with pytest.raises(KeyOccupied):  # noqa: PT012
        bucket.put_part(upload, 1, b"x" * 9)
        bucket.complete(upload)
    assert s3.get_object(Bucket=BUCKET, Key=KEY)["Body"].read() == b"was first"


def test_what_is_not_there_is_not_found(s3: Any) -> None:
    assert Bucket(s3, BUCKET).find("gopro/none") is None


@pytest.fixture
def stubbed() -> Iterator[tuple[Bucket, Stubber]]:
    client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="u", aws_secret_access_key="u")
    with Stubber(client) as stub:
        yield Bucket(client, BUCKET), stub
        stub.assert_no_pending_responses()


@pytest.mark.parametrize("code", ["404", "403", "NoSuchKey", "NotFound", "Forbidden"])
def test_s3_says_in_many_ways_that_nothing_is_at_a_key(stubbed: tuple[Bucket, Stubber], code: str) -> None:
    bucket, stub = stubbed
    stub.add_client_error("head_object", service_error_code=code)
    assert bucket.find(KEY) is None


def test_an_object_that_can_not_be_asked_for_is_not_taken_for_absent(stubbed: tuple[Bucket, Stubber]) -> None:
    bucket, stub = stubbed
    stub.add_client_error("head_object", service_error_code="SlowDown")
    with pytest.raises(ClientError, match="SlowDown"):
        bucket.find(KEY)


@pytest.mark.parametrize("crc", ["AAAAAAAAAAE=", ""])
def test_an_object_is_told_as_s3_knows_it(stubbed: tuple[Bucket, Stubber], crc: str) -> None:
    bucket, stub = stubbed
    about = {"ContentLength": 3, "ETag": '"X-1"', "Metadata": METADATA, **({"ChecksumCRC64NVME": crc} if crc else {})}
    stub.add_response("head_object", about, {"Bucket": BUCKET, "Key": KEY, "ChecksumMode": "ENABLED"})
    assert bucket.find(KEY) == StoredObject(key=KEY, size=3, etag="X-1", checksum=crc, metadata=METADATA)


def test_an_upload_that_can_not_be_given_up_is_not_taken_for_gone(stubbed: tuple[Bucket, Stubber]) -> None:
    bucket, stub = stubbed
    stub.add_client_error("abort_multipart_upload", service_error_code="SlowDown")
    with pytest.raises(ClientError, match="SlowDown"):
        bucket.abort(KEY, "u")


def test_an_upload_whose_parts_can_not_be_listed_is_not_taken_for_gone(stubbed: tuple[Bucket, Stubber]) -> None:
    bucket, stub = stubbed
    stub.add_client_error("list_parts", service_error_code="SlowDown")
    with pytest.raises(ClientError, match="SlowDown"):
        bucket.resume("u", KEY, Version(size=9, etag=""), part_size=SMALLEST_PART)


def test_of_an_upload_those_parts_count_that_are_of_their_file(stubbed: tuple[Bucket, Stubber]) -> None:
    bucket, stub = stubbed
    about = {"Bucket": BUCKET, "Key": KEY, "UploadId": "u"}
    first = {"PartNumber": 1, "Size": 5, "ETag": "one", "ChecksumCRC64NVME": "AAAAAAAAAQI="}
    other = {"PartNumber": 2, "Size": 4, "ETag": "cut short"}
    last = {"PartNumber": 3, "Size": 1, "ETag": "three"}
    beyond = {"PartNumber": 4, "Size": -4, "ETag": "none of the file's"}
    pages: list[dict[str, Any]] = [{"Parts": [first, other]}, {}, {"Parts": [last, beyond]}]
    for number, page in enumerate(pages):
        more = number < len(pages) - 1
        after = {"PartNumberMarker": number} if number else {}
        stub.add_response(
            "list_parts", {**page, "IsTruncated": more, "NextPartNumberMarker": number + 1}, {**about, **after}
        )
    version = Version(size=11, etag="e")
    upload = bucket.resume("u", KEY, version, part_size=5)
    assert upload == Upload(
        upload_id="u",
        key=KEY,
        version=version,
        part_size=5,
        parts={1: Part(etag="one", size=5, crc=258), 3: Part(etag="three", size=1, crc=None)},
    )


@pytest.mark.parametrize(
    ("size", "lengths"), [(0, [0]), (1, [1]), (5, [5]), (6, [5, 1]), (10, [5, 5]), (12, [5, 5, 2])]
)
def test_all_parts_have_the_size_of_a_part_but_the_last_which_has_the_rest(size: int, lengths: list[int]) -> None:
    upload = Upload(upload_id="u", key=KEY, version=Version(size=size, etag=""), part_size=5)
    assert [upload.length_of(number) for number in range(1, upload.part_count + 1)] == lengths


@pytest.mark.parametrize(
    ("etag", "of_the_origin", "proof"),
    [("e", "e", ORIGIN_ETAG), ("e", "f", LENGTH), ("", "", LENGTH), ("e", "", LENGTH)],
)
def test_only_the_etag_that_the_origin_has_proves_a_copy(etag: str, of_the_origin: str, proof: str) -> None:
    object_ = StoredObject(key=KEY, size=3, etag=etag, checksum="", metadata={})
    assert object_.proof(Version(size=3, etag=of_the_origin)) == proof


@given(st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=9))
def test_the_combined_checksum_is_that_of_the_whole(chunks: list[bytes]) -> None:
    parts = [Part(etag="", size=len(chunk), crc=checksums.crc64nvme(chunk)) for chunk in chunks]
    assert _combined(parts) == checksums.crc64nvme(b"".join(chunks))


# ── In one request ───────────────────────────────────────────────────────────────────────────────────────────────────


def checksum(body: bytes) -> str:
    return b64encode(checksums.crc64nvme(body).to_bytes(8, "big")).decode()


def requests_of(client: Any) -> list[tuple[str, dict[str, Any]]]:
    """(operation, parameters) of all that a client is asked for from now on."""
    asked: list[tuple[str, dict[str, Any]]] = []
    client.meta.events.register(
        "provide-client-params.s3", lambda params, model, **_: asked.append((model.name, dict(params)))
    )
    return asked


@pytest.mark.parametrize("size", [0, 1, 5 * MIB])
def test_a_file_that_is_no_longer_than_a_part_goes_up_in_one_request(s3: Any, size: int) -> None:
    asked, bucket, body = requests_of(s3), Bucket(s3, BUCKET), bytearray(content(size)[:size])
    upload = bucket.begin(KEY, Version(size=size, etag="e"), limits=Limits(), metadata=METADATA)
    assert (upload.upload_id, upload.part_count, upload.stored) == ("", 1, None)
    assert asked == []
    bucket.put_part(upload, 1, body)
    object_ = bucket.complete(upload)
    ((operation, params),) = asked
    assert (operation, params["IfNoneMatch"], params["ContentLength"]) == ("PutObject", "*", size)
    assert (params["ChecksumCRC64NVME"], params["Metadata"]) == (checksum(bytes(body)), METADATA)
    assert (object_, object_.size, object_.metadata) == (upload.stored, size, METADATA)
    assert object_.etag == md5(body).hexdigest()
    found = bucket.find(KEY)
    assert found
    assert (found.size, found.etag, found.metadata) == (size, object_.etag, METADATA)
    assert s3.get_object(Bucket=BUCKET, Key=KEY)["Body"].read() == body
    assert upload.is_filled


def test_what_s3_says_of_the_checksum_is_kept() -> None:
    client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="u", aws_secret_access_key="u")
    upload = Upload(upload_id="", key=KEY, version=Version(size=3, etag="e"), part_size=SMALLEST_PART)
    bucket = Bucket(client, BUCKET)
    with Stubber(client) as stub:
        stub.add_response("put_object", {"ETag": '"e"', "ChecksumCRC64NVME": checksum(b"abc")})
        bucket.put_part(upload, 1, b"abc")
    object_ = bucket.complete(upload)
    assert (object_.checksum, object_.proof(upload.version)) == (checksum(b"abc"), ORIGIN_ETAG)


def test_one_part_of_an_origin_that_was_cut_goes_up_as_one_part_so_that_its_etag_proves_it(s3: Any) -> None:
    bucket, body = Bucket(s3, BUCKET), content(1000)
    version = Version(size=len(body), etag=origin_etag(body, SMALLEST_PART))
    assert version.etag.endswith("-1")
    upload = bucket.begin(KEY, version, limits=Limits(), metadata=METADATA)
    assert upload.upload_id
    bucket.put_part(upload, 1, body)
    object_ = bucket.complete(upload)
    assert (object_.etag, object_.proof(version)) == (version.etag, ORIGIN_ETAG)
