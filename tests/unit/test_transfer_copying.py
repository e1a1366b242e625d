"""A whole file, from its origin to the object in S3."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from services.downloader.transfer import Bucket, Copied, KeyOccupied, Limits, Upload, Version, copy
from services.downloader.transfer.limits import MIB
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


def copied(s3: Any, server: Server, **options: Any) -> Copied | None:
    bucket, limits = Bucket(s3, BUCKET), Limits(connections=3, memory_bytes=20 * MIB)

    def plan(version: Version) -> Upload:
        return bucket.begin(KEY, version, limits=limits, metadata={"a": "b"})

    return copy(server.origin(), bucket, plan, limits=limits, sleep=lambda _: None, **options)


@pytest.mark.parametrize(
    ("size", "etag"), [(1, "e"), (8 * MIB, "e"), (8 * MIB + 1, "e"), (17 * MIB, "e"), (6 * MIB, "e-2"), (1, "e-1")]
)
def test_a_file_is_stored_byte_for_byte(s3: Any, size: int, etag: str) -> None:
    server = Server(body_of(256) * (size // 256 + 1), etag=etag)
    server.body = server.body[:size]
    result = copied(s3, server)
    assert result
    assert (result.version, result.object.size) == (server.version(), size)
    stored = s3.get_object(Bucket=BUCKET, Key=KEY)
    assert stored["Body"].read() == server.body
    assert stored["Metadata"] == result.object.metadata == {"a": "b"}


@pytest.mark.parametrize("ignored", [False, True], ids=["416", "200"])
def test_an_empty_file_is_stored_as_an_empty_object(s3: Any, ignored: bool) -> None:
    server = Server(b"", ignores_ranges=[ignored])
    result = copied(s3, server)
    assert result
    assert (result.version.size, result.object.size, result.parts) == (0, 0, 1)
    assert s3.get_object(Bucket=BUCKET, Key=KEY)["Body"].read() == b""
    assert len(server.asked) == 1


def test_what_is_at_the_key_stays(s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key=KEY, Body=b"was first")
    with pytest.raises(KeyOccupied):
        copied(s3, Server(body_of(1000)))
    assert s3.get_object(Bucket=BUCKET, Key=KEY)["Body"].read() == b"was first"


def test_what_went_up_in_one_request_is_done_though_time_is_over(s3: Any) -> None:
    def may_go_on(_: float) -> bool:
        return "Contents" not in s3.list_objects_v2(Bucket=BUCKET)

    result = copied(s3, Server(body_of(1000)), may_go_on=may_go_on)
    assert result
    assert result.object.size == 1000


def test_what_went_up_in_parts_is_completed_only_while_there_is_time(s3: Any) -> None:
    stored: list[int] = []
    server = Server(bytes(9 * MIB))
    assert (
        copied(s3, server, progress=lambda u: stored.append(len(u.parts)), may_go_on=lambda _: max(stored) < 2) is None
    )
    (upload,) = s3.list_multipart_uploads(Bucket=BUCKET)["Uploads"]
    assert upload["Key"] == KEY
    assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET)
