"""What 0.1.0 leaves behind goes on with today's services: all four, as composed, on moto and the fake GoPro Cloud.

`tools/upgrade_fixture.py` has made what is left.
"""

import base64
import json
from collections import deque
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ops.local.gopro_cloud import DEMO_CREDENTIALS, FakeGoProCloud, Library, Medium
from ops.local.gopro_cloud.observations import Seen
from tests.unit.gopro_stage import Stage, staged
from tools.template import reactions_of_services

LEFT: dict[str, Any] = json.loads(Path(__file__).with_name("left_by_0_1_0.json").read_text())
LIBRARY = msgspec.convert({"media": LEFT["library"]}, Library)
BUCKET = "media-bucket"
PARTLY, GONE, IN_HAND = (f"6a930000000000000000000{number}" for number in (5, 6, 7))
PART = 5 << 20


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setattr("services.shared.gopro.client.PACE_SECONDS", 0.0)
    with FakeGoProCloud(LIBRARY) as cloud, staged(monkeypatch, cloud) as stage:
        stage.clock.moment = datetime.fromisoformat(LEFT["message"]["time"]).replace(tzinfo=UTC, hour=23)
        more = {
            "CONNECTIONS_PER_FILE": "2",
            "NOTIFICATION_TOPIC_ARN": stage.client("sns").create_topic(Name="notifications")["TopicArn"],
            "DOWNLOADER_INBOX_URL": stage.client("sqs").create_queue(QueueName="inbox")["QueueUrl"],
            "DOWNLOADER_INBOX_ARN": "arn:aws:sqs:us-east-1:123456789012:inbox",
            "DOWNLOADER_DEAD_LETTERS_ARN": "arn:aws:sqs:us-east-1:123456789012:dead",
            "DOWNLOADER_MEMORY_MB": "1024",
            "IS_LOCAL": "False",
            "ENVIRONMENT": "prod",
        }
        stage.environment |= more
        for name, value in more.items():
            monkeypatch.setenv(name, value)
        leave(stage)
        yield stage


def leave(stage: Stage) -> None:
    """Put there what 0.1.0 has left."""
    s3, upload = stage.client("s3"), LEFT["upload"]
    for one in LEFT["objects"]:
        body = base64.b64decode(one["body"])
        s3.put_object(Bucket=BUCKET, Key=one["key"], Body=body, Metadata=one["metadata"])
    upload_id = s3.create_multipart_upload(
        Bucket=BUCKET, Key=upload["key"], Metadata={"media-id": IN_HAND, "item": "1"}, ChecksumAlgorithm="CRC64NVME"
    )["UploadId"]
    content = next(medium.contents[0] for medium in LIBRARY.media if medium.media_id == IN_HAND)
    for part in upload["parts"]:
        start = (part["number"] - 1) * PART
        body = b"".join(content.read(start, start + part["size"]))
        s3.upload_part(Bucket=BUCKET, Key=upload["key"], UploadId=upload_id, PartNumber=part["number"], Body=body)
    for table, items in LEFT["tables"].items():
        for item in items:
            known = {**item, "upload_id": {"S": upload_id}} if "upload_id" in item else item
            stage.client("dynamodb").put_item(TableName=table.lower(), Item=known)
    # Only the refresh token that 0.1.0 was given last is still good.
    stage.cloud.configure_account(refresh_token="rotated")
    stage.cloud.tokens.blacklist_refresh()
    stage.cloud.configure_account(refresh_token="rotated-last", two_factor=True)
    private = {**DEMO_CREDENTIALS, "access_token": stage.cloud.tokens.paste(60)}
    for name, content in LEFT["secrets"].items():
        tokens = private if name == "CREDENTIALS_SECRET" else {**private, "refresh_token": "rotated-last"}
        stage.put_secret(name, {key: tokens[key] if value == f"<{key}>" else value for key, value in content.items()})


def run(stage: Stage, detail_type: str, detail: Mapping[str, Any], event_id: str) -> list[tuple[str, Any]]:
    """Deliver an event, and whatever comes of it, to the services that react. Returns all that they publish."""
    waiting = deque([(detail_type, detail, event_id)])
    published: list[tuple[str, Any]] = []
    while waiting:
        name, content, own_id = waiting.popleft()
        for service, reactions in reactions_of_services().items():
            if name in {kind.__name__ for kind in reactions}:
                assert stage.open(service).send(name, content, event_id=own_id)
                caused = stage.published()
                published += [(kind, one["data"]) for kind, one in caused]
                waiting += [(kind, one, one["metadata"]["event_id"]) for kind, one in caused]
    return published


def fetched(stage: Stage) -> list[Seen]:
    """Return what the CDN was asked for since the last call."""
    seen = stage.cloud.observations.requests("cdn")
    stage.cloud.observations.clear()
    return seen


def stored(stage: Stage, media_id: str) -> list[bytes]:
    """Return the originals of a medium that are in the bucket, by their items."""
    s3, found = stage.client("s3"), {}
    for listed in s3.list_objects_v2(Bucket=BUCKET, Prefix="gopro/")["Contents"]:
        one = s3.get_object(Bucket=BUCKET, Key=listed["Key"])
        if one["Metadata"]["media-id"] == media_id:
            found[int(one["Metadata"]["item"])] = one["Body"].read()
    return [found[item] for item in sorted(found)]


def test_what_0_1_0_leaves_behind_goes_on_and_nothing_stored_is_fetched_again(stage: Stage) -> None:
    in_hand = LEFT["message"]

    # The message of the upload in hand comes back, and the sync that 0.1.0 has begun ends.
    published = dict(run(stage, "MediaDiscovered", in_hand["detail"], in_hand["id"]))
    assert published["SyncCompleted"]["closed_because"] == "complete"
    assert published["SyncCompleted"]["downloaded"] == 1
    seen = fetched(stage)
    assert {one.media_id for one in seen} == {IN_HAND}
    # The first look at a file asks for less than a part.
    there = {f"bytes={(part['number'] - 1) * PART}-{part['number'] * PART - 1}" for part in LEFT["upload"]["parts"]}
    assert not there & {one.range for one in seen}
    assert stage.client("s3").list_multipart_uploads(Bucket=BUCKET).get("Uploads", []) == []

    # The next night tries what was failed, and of that only what is missing.
    published = dict(run(stage, "SyncRequested", {"provider": "gopro", "sync_id": "next-night"}, "request-1"))
    assert published["SyncCompleted"]["outcome"] == "completed"
    assert published["LibraryListed"]["stored"] == len(LIBRARY.media) - 2
    assert {(one.media_id, one.item) for one in fetched(stage)} == {(PARTLY, 3), (PARTLY, 4), (GONE, 1)}
    for medium in LIBRARY.media:
        assert stored(stage, medium.media_id) == originals(medium), medium.media_id

    # The night after has nothing to do.
    published = dict(run(stage, "SyncRequested", {"provider": "gopro", "sync_id": "night-after"}, "request-2"))
    assert published["LibraryListed"]["stored"] == len(LIBRARY.media)
    assert published["LibraryListed"]["discovered"] == 0
    assert stage.cloud.observations.requests("download") == []
    assert fetched(stage) == []


def originals(medium: Medium) -> list[bytes]:
    return [b"".join(one.content.read(0, one.content.size)) for one in medium.originals()]
