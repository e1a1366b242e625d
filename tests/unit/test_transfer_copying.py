"""A whole file, from its origin to the object in S3."""

from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from services.downloader.transfer import Bucket, Headers, Limits, StoredObject, Upload, open_source
from services.downloader.transfer.bucket import MIB
from tests.moto_s3 import take_bytearrays
from tests.unit.transfer_fakes import Server, body_of

BUCKET, KEY = "media", "key"


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "unit-test")
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket=BUCKET)
        take_bytearrays(client.meta.events)
        yield client


def copy(s3: Any, server: Server, *, check: Callable[[Upload | None], None] = lambda _: None) -> StoredObject:
    """`check` gets the upload, once there is one."""
    bucket, limits = Bucket(s3, BUCKET), Limits(connections=3, memory_bytes=20 * MIB)
    upload: Upload | None = None
    with open_source(server.origin(), check=lambda _: check(upload), sleep=lambda _: None) as source:
        assert source.version == server.version()
        upload = bucket.begin(KEY, source.version, limits=limits, headers=Headers(metadata={"a": "b"}))
        return source.copy(bucket, upload, limits=limits)


@pytest.mark.parametrize(
    ("size", "etag"), [(1, "e"), (8 * MIB, "e"), (8 * MIB + 1, "e"), (17 * MIB, "e"), (6 * MIB, "e-2"), (1, "e-1")]
)
def test_a_file_is_stored_byte_for_byte(s3: Any, size: int, etag: str) -> None:
    server = Server((body_of(256) * (size // 256 + 1))[:size], etag=etag)
    copied = copy(s3, server)
    stored = s3.get_object(Bucket=BUCKET, Key=KEY)
    assert stored["Body"].read() == server.body
    assert stored["Metadata"] == copied.metadata == {"a": "b"}
    assert copied.size == size


@pytest.mark.parametrize("ignored", [False, True], ids=["416", "200"])
def test_an_empty_file_is_stored_as_an_empty_object(s3: Any, ignored: bool) -> None:
    server = Server(b"", ignores_ranges=[ignored])
    assert copy(s3, server).size == 0
    assert s3.get_object(Bucket=BUCKET, Key=KEY)["Body"].read() == b""
    assert len(server.asked) == 1


def test_an_open_source_costs_one_request() -> None:
    server = Server(body_of(1000))
    with open_source(server.origin()) as source:
        assert source.version == server.version()
    assert (len(server.asked), server.open_now, len(server.given_back)) == (1, 0, 1)


class TimeIsOver(Exception):
    pass


def test_a_file_that_was_uploaded_in_one_request_is_stored_though_time_is_over(s3: Any) -> None:
    def check(upload: Upload | None) -> None:
        if upload and upload.parts:
            raise TimeIsOver

    assert copy(s3, Server(body_of(1000)), check=check).size == 1000


def test_a_file_that_was_uploaded_in_parts_is_completed_only_while_there_is_time(s3: Any) -> None:
    def check(upload: Upload | None) -> None:
        if upload and len(upload.parts) == upload.part_count:
            raise TimeIsOver

    with pytest.raises(TimeIsOver):
        copy(s3, Server(bytes(9 * MIB)), check=check)
    (upload,) = s3.list_multipart_uploads(Bucket=BUCKET)["Uploads"]
    assert upload["Key"] == KEY
    assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET)
