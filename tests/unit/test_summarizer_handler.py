"""The summarizer as it is deployed: its own wiring, with SQS records in, and AWS's answers from moto."""

import importlib
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from moto import mock_aws
from summarizer_stage import SYNC, a_sync_of, create_table, discovered, downloaded, failed, listed, requested

from services.shared.bus import iso
from services.shared.events import Event, SyncRequested, SyncReviewDue, detail

REGION = "eu-central-1"
CONTEXT: Any = SimpleNamespace(
    function_name="summarizer",
    memory_limit_in_mb=256,
    invoked_function_arn="arn:aws:lambda:eu-central-1:123456789012:function:summarizer",
    aws_request_id="r",
    get_remaining_time_in_millis=lambda: 100_000,
)


class Deployed:
    """The tables, queues, bus, topic and bucket that the function works with, and the function."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.session = boto3.Session(region_name=REGION)
        dynamodb = self.session.resource("dynamodb")
        create_table(dynamodb, "syncs", "sync_id", ("record", "S"))
        create_table(dynamodb, "library", "media_id", ("item", "N"))
        self.library = dynamodb.Table("library")
        self.syncs = dynamodb.Table("syncs")
        self.sqs = self.session.client("sqs")
        queue = lambda name: self.sqs.create_queue(QueueName=name)["QueueUrl"]  # noqa: E731
        self.inbox_url, self.downloader_url = queue("inbox"), queue("downloader")
        self.notified_url, self.published_url = queue("notified"), queue("published")
        sns = self.session.client("sns")
        topic = sns.create_topic(Name="topic")["TopicArn"]
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=f"arn:aws:sqs:{REGION}:123456789012:notified")
        events = self.session.client("events")
        events.create_event_bus(Name="bus")
        events.put_rule(Name="all", EventBusName="bus", EventPattern='{"source": ["cloud-sync.summarizer"]}')
        arn = f"arn:aws:sqs:{REGION}:123456789012:published"
        events.put_targets(Rule="all", EventBusName="bus", Targets=[{"Id": "q", "Arn": arn}])
        self.s3 = self.session.client("s3")
        self.s3.create_bucket(Bucket="media", CreateBucketConfiguration={"LocationConstraint": REGION})
        environment = {
            "EVENT_BUS_NAME": "bus",
            "INBOX_URL": self.inbox_url,
            "MAX_RECEIVES": "10",
            "RETRY_BASE_SECONDS": "2",
            "RETRY_CAP_SECONDS": "300",
            "SYNCS_TABLE": "syncs",
            "LIBRARY_TABLE": "library",
            "MEDIA_BUCKET": "media",
            "NOTIFICATION_TOPIC_ARN": topic,
            "DOWNLOADER_INBOX_URL": self.downloader_url,
            "DOWNLOADER_DEAD_LETTERS_URL": "https://sqs.example/dead-letters",
            "SYNC_DEADLINE_HOURS": "12",
            "SCHEDULE_TIME_ZONE": "Europe/Berlin",
            "POWERTOOLS_METRICS_NAMESPACE": "CloudSync",
            "POWERTOOLS_SERVICE_NAME": "summarizer",
            "POWERTOOLS_TRACE_DISABLED": "true",
            "AWS_DEFAULT_REGION": REGION,
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        self.module = importlib.reload(importlib.import_module("services.summarizer.handler"))

    def handle(self, *bodies: str) -> list[str]:
        """Gives the function a batch. Returns the ids of the messages that failed: m0, m1, …"""
        records = []
        for n, body in enumerate(bodies):
            self.sqs.send_message(QueueUrl=self.inbox_url, MessageBody=body)
            (message,) = self.sqs.receive_message(QueueUrl=self.inbox_url)["Messages"]
            attributes = {"ApproximateReceiveCount": "1"}
            handle = message["ReceiptHandle"]
            records.append({"messageId": f"m{n}", "receiptHandle": handle, "body": body, "attributes": attributes})
        answer = self.module.handler({"Records": records}, CONTEXT)
        return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]

    def received(self, url: str) -> list[Any]:
        messages = self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        return [json.loads(message["Body"]) for message in messages]


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployed]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with mock_aws():
        yield Deployed(monkeypatch)


def message(event: Event, **envelope: str) -> str:
    """An event as EventBridge puts it into an inbox."""
    time = {"time": event.occurred_at} if event.occurred_at else {}
    return json.dumps(
        {"detail-type": type(event).__name__, "id": event.event_id, "detail": detail(event), **time, **envelope}
    )


def test_a_batch_of_facts_becomes_a_summary_on_the_bus_a_notification_and_a_report(
    deployed: Deployed, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = [*a_sync_of(2), downloaded("m0", seconds=1.25), failed("m1", "gone at the source")]
    assert deployed.handle(*map(message, facts)) == []
    (event,) = deployed.received(deployed.published_url)
    assert event["detail-type"] == "SyncCompleted"
    assert event["detail"]["metadata"]["sync_id"] == SYNC
    assert event["detail"]["metadata"]["causation_id"] == facts[-1].event_id
    assert event["detail"]["data"]["outcome"] == "partial"
    (notification,) = deployed.received(deployed.notified_url)
    assert notification["Subject"] == f"Cloud Sync: 1 of 2 new media stored, 1 failed ({SYNC})"
    attributes = {name: value["Value"] for name, value in notification["MessageAttributes"].items()}
    summary_id = event["detail"]["data"]["summary_id"]
    assert attributes == {
        "severity": "warning",
        "sync_id": SYNC,
        "summary_id": summary_id,
        "number": "0",
        "event": "SyncCompleted",
    }
    report = deployed.s3.get_object(Bucket="media", Key=f"reports/{SYNC}.json")
    assert report["ContentType"].startswith("application/json")
    assert len(json.loads(report["Body"].read())["media"]) == 2
    metrics = [line for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
    emitted = json.loads(metrics[-1])
    assert emitted["MediaDownloaded"] == emitted["MediaFailed"] == emitted["SyncCompleted"] == [1.0]
    assert emitted["BytesStored"] == [10.0]


def test_a_request_written_by_hand_suffices(deployed: Deployed) -> None:
    by_hand = {"detail-type": "SyncRequested", "id": "7b9f", "time": "2026-11-23T01:00:00Z", "detail": {}}
    assert deployed.handle(json.dumps(by_hand)) == []
    item = deployed.syncs.get_item(Key={"sync_id": "7b9f", "record": "sync"})["Item"]
    assert (item["state"], item["trigger"], item["requested_at"]) == ("OPEN", "manual", "2026-11-23T01:00:00Z")
    assert "expected" not in item


def test_the_schedule_and_its_catch_up_are_one_sync_named_by_the_local_date(deployed: Deployed) -> None:
    for due in ("2026-11-22T23:30:00Z", "2026-11-23T01:45:00Z"):
        event = SyncRequested(sync_id="x", trigger="scheduled", scheduled_time=due, occurred_at=due)
        data = {"trigger": "scheduled", "scheduled_time": due}
        assert (
            deployed.handle(
                message(event, id=due.replace(":", "-")).replace(json.dumps(detail(event)), json.dumps(data))
            )
            == []
        )
    names = {item["sync_id"] for item in deployed.syncs.scan()["Items"]}
    assert names == {"#unsettled", SYNC}


def test_an_unreadable_message_fails_alone(deployed: Deployed) -> None:
    assert deployed.handle("not JSON", message(requested()), message(listed(0))) == ["m0"]
    assert len(deployed.received(deployed.published_url)) == 1


def test_a_sync_that_cannot_be_written_fails_alone(deployed: Deployed) -> None:
    poison = discovered("m0", sync_id="b", size=10**40)  # more digits than DynamoDB has
    assert deployed.handle(message(requested()), message(poison), message(listed(0))) == ["m1"]
    assert len(deployed.received(deployed.published_url)) == 1


@pytest.mark.scenario(28)
def test_a_topic_that_is_gone_is_told_once_it_is_there_again(deployed: Deployed) -> None:
    sns = deployed.session.client("sns")
    topic = os.environ["NOTIFICATION_TOPIC_ARN"]
    sns.delete_topic(TopicArn=topic)
    facts = [message(fact) for fact in (*a_sync_of(1), downloaded("m0"))]
    assert deployed.handle(*facts) == [f"m{n}" for n in range(len(facts))]
    assert [event["detail-type"] for event in deployed.received(deployed.published_url)] == ["SyncCompleted"]
    assert sns.create_topic(Name="topic")["TopicArn"] == topic
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=f"arn:aws:sqs:{REGION}:123456789012:notified")
    assert deployed.handle(*facts) == []
    (notification,) = deployed.received(deployed.notified_url)
    assert SYNC in notification["Subject"]
    assert deployed.received(deployed.published_url) == [], "its event is on the bus already"


@pytest.mark.scenario(21)
def test_the_review_reads_the_library_and_the_downloaders_inbox(deployed: Deployed) -> None:
    begin = datetime.now(UTC)
    asked = iso(begin - timedelta(minutes=31))
    deployed.handle(
        *[message(fact) for fact in (requested(occurred_at=asked), discovered("m0"), discovered("m1"), listed(2))]
    )
    deployed.library.put_item(
        Item={"media_id": "m0", "item": 0, "status": "STORED", "epoch": 1, "item_count": 1, "sync_id": SYNC}
    )
    deployed.sqs.send_message(QueueUrl=deployed.downloader_url, MessageBody="work")
    for minutes in (30, 15):
        assert deployed.handle(review(begin - timedelta(minutes=minutes))) == []
    item = deployed.syncs.get_item(Key={"sync_id": SYNC, "record": "sync"})["Item"]
    assert (item["state"], item["downloaded"]) == ("OPEN", 1)
    deployed.sqs.purge_queue(QueueUrl=deployed.downloader_url)
    for minutes in (10, 5):
        deployed.handle(review(begin - timedelta(minutes=minutes)))
    (event,) = deployed.received(deployed.published_url)
    assert event["detail"]["data"]["closed_because"] == "stalled"
    assert event["detail"]["data"]["failures"][0]["media_id"] == "m1"


def review(due: datetime) -> str:
    return json.dumps({"detail-type": SyncReviewDue.__name__, "id": "r", "time": iso(due), "detail": {}})


def test_its_settings_are_checked_when_it_starts(deployed: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNC_DEADLINE_HOURS", "soon")
    with pytest.raises(RuntimeError, match="SYNC_DEADLINE_HOURS"):
        importlib.reload(deployed.module)
