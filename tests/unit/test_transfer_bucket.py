"""Uploads: in one request or in parts, resumed, completed, proven."""

from base64 import b64encode
from collections.abc import Callable, Iterator
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

from services.downloader.transfer import Bucket, Headers, KeyOccupied, Limits, StoredObject, Upload, UploadGone, Version
from services.downloader.transfer.bucket import LENGTH, MIB, ORIGIN_ETAG, SMALLEST_PART, Part, _combined
from tests.moto_s3 import take_bytearrays

BUCKET, KEY = "media", "gopro/2026/01/01/m/a.mp4"
METADATA = {"media-id": "m", "item": "1", "origin-etag": "e"}
HEADERS = Headers(metadata=METADATA, content_type="video/mp4", content_disposition="attachment; filename*=UTF-8''a.MP4")
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
    upload = bucket.begin(KEY, Version(size=len(body), etag=etag), limits=IN_PARTS, headers=HEADERS)
    for number in range(1, upload.part_count + 1):
        start = (number - 1) * SMALLEST_PART
        bucket.put_part(upload, number, body[start : start + upload.length_of(number)])
    return bucket.complete(upload)


def test_a_copy_with_the_origins_parts_has_its_etag_which_proves_it(s3: Any) -> None:
    body = content(SMALLEST_PART * 2 + 17)
    version = Version(size=len(body), etag=origin_etag(body, SMALLEST_PART))
    assert Limits(memory_bytes=64 * MIB).part_size(version) == SMALLEST_PART
    copied = stored(Bucket(s3, BUCKET), body, etag=version.etag)
    assert (copied.proof(version), copied.metadata) == (ORIGIN_ETAG, METADATA)
    assert_as_told(s3.get_object(Bucket=BUCKET, Key=KEY), body)


def assert_as_told(found: Any, body: bytes | bytearray) -> None:
    """Assert that an object has this content and says of itself what it was told to."""
    assert found["Body"].read() == body
    assert (found["Metadata"], found["ContentType"], found["ContentDisposition"]) == (
        HEADERS.metadata, HEADERS.content_type, HEADERS.content_disposition,
    )  # fmt: skip


def test_an_aborted_upload_is_gone_and_aborting_it_again_is_fine(s3: Any) -> None:
    bucket, version = Bucket(s3, BUCKET), Version(size=9, etag="e-1")
    begun = bucket.begin(KEY, version, limits=IN_PARTS, headers=HEADERS)
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
def test_refusals_of_s3_are_told_apart(operation: str, code: str, expected: type[Exception]) -> None:
    client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="u", aws_secret_access_key="u")
    upload_id = "" if operation == "put_object" else "u"
    upload = Upload(upload_id=upload_id, key=KEY, version=Version(size=3, etag=""), part_size=SMALLEST_PART)
    upload.parts[1] = Part(etag="x", size=3, crc=1)
    bucket = Bucket(client, BUCKET)
    with Stubber(client) as stub:
        stub.add_client_error(operation, service_error_code=code)
        with pytest.raises(expected):
            bucket.complete(upload) if operation.startswith("complete") else bucket.put_part(upload, 1, b"abc")


def test_completing_names_the_size_of_the_whole() -> None:
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


@pytest.fixture
def stubbed() -> Iterator[tuple[Bucket, Stubber]]:
    client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="u", aws_secret_access_key="u")
    with Stubber(client) as stub:
        yield Bucket(client, BUCKET), stub
        stub.assert_no_pending_responses()


@pytest.mark.parametrize("code", ["404", "403", "NoSuchKey", "NotFound", "Forbidden"])
def test_s3_says_in_many_ways_that_no_object_has_a_key(stubbed: tuple[Bucket, Stubber], code: str) -> None:
    bucket, stub = stubbed
    stub.add_client_error("head_object", service_error_code=code)
    assert bucket.find(KEY) is None


@pytest.mark.parametrize("crc", ["AAAAAAAAAAE=", ""])
def test_an_object_is_described_as_s3_does(stubbed: tuple[Bucket, Stubber], crc: str) -> None:
    bucket, stub = stubbed
    head = {"ContentLength": 3, "ETag": '"X-1"', "Metadata": METADATA, **({"ChecksumCRC64NVME": crc} if crc else {})}
    stub.add_response("head_object", head, {"Bucket": BUCKET, "Key": KEY, "ChecksumMode": "ENABLED"})
    assert bucket.find(KEY) == StoredObject(key=KEY, size=3, etag="X-1", checksum=crc, metadata=METADATA)


@pytest.mark.parametrize(
    ("operation", "call"),
    [
        ("head_object", lambda bucket: bucket.find(KEY)),
        ("abort_multipart_upload", lambda bucket: bucket.abort(KEY, "u")),
        ("list_parts", lambda bucket: bucket.resume("u", KEY, Version(size=9, etag=""), part_size=SMALLEST_PART)),
    ],
)
def test_an_unclear_answer_is_not_taken_for_an_absence(
    stubbed: tuple[Bucket, Stubber], operation: str, call: Callable[[Bucket], object]
) -> None:
    bucket, stub = stubbed
    stub.add_client_error(operation, service_error_code="SlowDown")
    with pytest.raises(ClientError, match="SlowDown"):
        call(bucket)


def test_only_the_parts_of_the_file_count(stubbed: tuple[Bucket, Stubber]) -> None:
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
def test_every_part_is_full_but_the_last(size: int, lengths: list[int]) -> None:
    upload = Upload(upload_id="u", key=KEY, version=Version(size=size, etag=""), part_size=5)
    assert [upload.length_of(number) for number in range(1, upload.part_count + 1)] == lengths


@pytest.mark.parametrize(
    ("etag", "of_the_origin", "proof"),
    [("e", "e", ORIGIN_ETAG), ("e", "f", LENGTH), ("", "", LENGTH), ("e", "", LENGTH)],
)
def test_only_the_origins_etag_proves_a_copy(etag: str, of_the_origin: str, proof: str) -> None:
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
    """Return a list of (operation, parameters) of all requests from now on."""
    asked: list[tuple[str, dict[str, Any]]] = []
    client.meta.events.register(
        "provide-client-params.s3", lambda params, model, **_: asked.append((model.name, dict(params)))
    )
    return asked


@pytest.mark.parametrize("size", [0, 1, 5 * MIB])
def test_a_file_that_fits_into_a_part_is_uploaded_in_one_request(s3: Any, size: int) -> None:
    asked, bucket, body = requests_of(s3), Bucket(s3, BUCKET), bytearray(content(size)[:size])
    upload = bucket.begin(KEY, Version(size=size, etag="e"), limits=Limits(), headers=HEADERS)
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
    assert_as_told(s3.get_object(Bucket=BUCKET, Key=KEY), body)


def test_the_checksum_that_s3_returns_is_kept() -> None:
    client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="u", aws_secret_access_key="u")
    upload = Upload(upload_id="", key=KEY, version=Version(size=3, etag="e"), part_size=SMALLEST_PART)
    bucket = Bucket(client, BUCKET)
    with Stubber(client) as stub:
        stub.add_response("put_object", {"ETag": '"e"', "ChecksumCRC64NVME": checksum(b"abc")})
        bucket.put_part(upload, 1, b"abc")
    object_ = bucket.complete(upload)
    assert (object_.checksum, object_.proof(upload.version)) == (checksum(b"abc"), ORIGIN_ETAG)


def test_an_origin_of_one_part_is_uploaded_as_one_part_so_that_its_etag_proves_it(s3: Any) -> None:
    bucket, body = Bucket(s3, BUCKET), content(1000)
    version = Version(size=len(body), etag=origin_etag(body, SMALLEST_PART))
    assert version.etag.endswith("-1")
    upload = bucket.begin(KEY, version, limits=Limits(), headers=HEADERS)
    assert upload.upload_id
    bucket.put_part(upload, 1, body)
    object_ = bucket.complete(upload)
    assert (object_.etag, object_.proof(version)) == (version.etag, ORIGIN_ETAG)
