"""The summarizer's handler with its own wiring: SQS records in, and AWS's answers from moto."""

import importlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from moto import mock_aws

from services.shared.clock import iso
from services.shared.events import SessionEnding, SyncReviewDue
from services.summarizer.report import LIBRARY_PAGE_KEY
from services.summarizer.settings import Settings
from tests.unit.inbox_fakes import body_of, record
from tests.unit.summarizer_facts import SYNC, a_sync_of, discovered, downloaded, failed, listed, requested

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

    def __init__(self, module: Any) -> None:
        self.module = module
        session: Any = boto3.Session(region_name=REGION)
        dynamodb = session.resource("dynamodb")
        self.syncs, self.library = (
            dynamodb.create_table(
                TableName=name,
                KeySchema=[
                    {"AttributeName": partition, "KeyType": "HASH"},
                    {"AttributeName": sort, "KeyType": "RANGE"},
                ],
                AttributeDefinitions=[
                    {"AttributeName": partition, "AttributeType": "S"},
                    {"AttributeName": sort, "AttributeType": kind},
                ],
                BillingMode="PAY_PER_REQUEST",
            )
            for name, partition, sort, kind in (
                ("syncs", "sync_id", "record", "S"),
                ("library", "media_id", "item", "N"),
            )
        )
        self.sqs, self.s3 = session.client("sqs"), session.client("s3")
        self.s3.create_bucket(Bucket="media", CreateBucketConfiguration={"LocationConstraint": REGION})
        self.urls = {
            name: self.sqs.create_queue(QueueName=name)["QueueUrl"]
            for name in ("downloader", "notifications", "events")
        }
        arn = f"arn:aws:sqs:{REGION}:123456789012:"
        sns, events = session.client("sns"), session.client("events")
        topic = sns.create_topic(Name="topic")["TopicArn"]
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=f"{arn}notifications")
        events.create_event_bus(Name="bus")
        events.put_rule(Name="all", EventBusName="bus", EventPattern='{"source": ["cloud-sync.summarizer"]}')
        events.put_targets(Rule="all", EventBusName="bus", Targets=[{"Id": "q", "Arn": f"{arn}events"}])
        settings = Settings(
            event_bus_name="bus",
            inbox_url="https://sqs.example/inbox",
            max_receives=10,
            environment="prod",
            retry_base_seconds=2,
            retry_cap_seconds=300,
            syncs_table="syncs",
            library_table="library",
            media_bucket="media",
            notification_topic_arn=topic,
            notify="all",
            downloader_inbox_url=self.urls["downloader"],
            downloader_memory_mb=1024,
            is_local=False,
            sync_deadline_hours=12,
            schedule_time_zone="Europe/Berlin",
            schedule_hour=2,
            schedule_enabled=True,
        )
        self.inbox = module.build(settings, session)

    def handle(self, *bodies: str) -> None:
        """Give the function a batch, which it has to acknowledge."""
        records = [record(body, name=f"m{n}") for n, body in enumerate(bodies)]
        assert self.module.handler({"Records": records}, CONTEXT) == {"batchItemFailures": []}

    def received(self, queue: str) -> list[Any]:
        messages = self.sqs.receive_message(QueueUrl=self.urls[queue], MaxNumberOfMessages=10).get("Messages", [])
        return [json.loads(message["Body"]) for message in messages]


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployed]:
    for name in Settings.__dataclass_fields__:
        monkeypatch.setenv(name.upper(), "1")
    monkeypatch.setenv("SCHEDULE_TIME_ZONE", "UTC")
    monkeypatch.setenv("NOTIFY", "all")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("POWERTOOLS_TRACE_DISABLED", "true")
    with mock_aws():
        # Another suite may have imported it already. What it took from that suite's environment is replaced.
        module: Any = importlib.import_module("services.summarizer.handler")
        stage = Deployed(module)
        monkeypatch.setattr(module, "inbox", stage.inbox)
        monkeypatch.setattr(module.metrics, "namespace", "CloudSync")
        yield stage


def test_a_batch_of_facts_becomes_a_summary_a_notification_a_report_and_metrics(
    deployed: Deployed, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = [*a_sync_of(2), downloaded("m0", seconds=1.25), failed("m1", "gone at the source")]
    deployed.handle(*[body_of(fact, time=fact.occurred_at) for fact in facts])
    event, told = sorted(deployed.received("events"), key=lambda one: str(one["detail-type"]), reverse=True)
    assert (event["detail-type"], told["detail-type"]) == ("SyncCompleted", "OperatorsNotified")
    assert event["detail"]["metadata"]["sync_id"] == SYNC
    assert event["detail"]["metadata"]["causation_id"] == facts[-1].event_id
    assert event["detail"]["data"]["outcome"] == "partial"
    (notification,) = deployed.received("notifications")
    assert notification["Subject"] == f"Cloud Sync: 1 of 2 new media stored, 1 failed ({SYNC})"
    assert told["detail"]["data"]["subject"] == notification["Subject"]
    assert told["detail"]["data"]["text"] == notification["Message"]
    assert told["detail"]["data"]["link"].endswith(f"?region={REGION}&prefix=reports%2F{SYNC}.html")
    assert {name: value["Value"] for name, value in notification["MessageAttributes"].items()} == {
        "severity": "warning",
        "sync_id": SYNC,
        "summary_id": event["detail"]["data"]["summary_id"],
        "number": "0",
        "event": "SyncCompleted",
    }
    report = deployed.s3.get_object(Bucket="media", Key=f"reports/{SYNC}.json")
    assert report["ContentType"].startswith("application/json")
    assert len(json.loads(report["Body"].read())["media"]) == 2
    emitted = metrics_in(capsys)
    assert emitted["MediaNew"] == [2.0]
    assert emitted["MediaDownloaded"] == emitted["MediaFailed"] == emitted["SyncCompleted"] == [1.0]
    assert emitted["BytesStored"] == [10.0]
    (described,) = emitted["_aws"]["CloudWatchMetrics"]
    assert "environment" in described["Dimensions"][0]


def metrics_in(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The metrics that the function has written last."""
    lines = [line for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
    return dict(json.loads(lines[-1])) if lines else {}


def test_a_session_that_ends_is_announced_although_no_sync_is_under_way(deployed: Deployed) -> None:
    ending = SessionEnding(
        sync_id="scheduled-2026-11-24",
        warned_on="2026-11-23",
        since="2026-11-23T13:55:00Z",
        ends_about="2026-11-23T22:40:00Z",
        next_sync_at="2026-11-24T01:00:00Z",
    )
    deployed.handle(body_of(ending, time="2026-11-23T19:00:01Z"))
    (notification,) = deployed.received("notifications")
    assert "ends about 23:40" in notification["Message"]
    assert notification["MessageAttributes"]["sync_id"]["Value"] == ending.sync_id
    kept = {item["record"]: item for item in deployed.syncs.scan()["Items"]}
    assert set(kept) == {"last", "library"}, "no sync is made up"
    assert kept["library"]["warning"]["ends_about"] == ending.ends_about
    page = deployed.s3.get_object(Bucket="media", Key=LIBRARY_PAGE_KEY)
    assert "expected to end about 23 November 2026, 23:40" in page["Body"].read().decode()


@pytest.mark.scenario(21)
def test_the_review_reads_the_library_and_the_downloaders_inbox(
    deployed: Deployed, capsys: pytest.CaptureFixture[str]
) -> None:
    now = datetime.now(UTC)

    def review(minutes_ago: float) -> Any:
        due = {"detail-type": SyncReviewDue.__name__, "id": "r", "time": iso(now - timedelta(minutes=minutes_ago))}
        deployed.handle(json.dumps({**due, "detail": {}}))
        return deployed.syncs.get_item(Key={"sync_id": SYNC, "record": "sync"})["Item"]

    facts = [requested(occurred_at=iso(now)), discovered("m0"), discovered("m1"), listed(2)]
    deployed.handle(*[body_of(fact, time=iso(now)) for fact in facts])
    stored = {"media_id": "m0", "item": 0, "status": "STORED", "epoch": 1, "item_count": 1, "sync_id": SYNC}
    deployed.library.put_item(Item=stored)
    deployed.sqs.send_message(QueueUrl=deployed.urls["downloader"], MessageBody="work")
    for minutes_ago in (30, 15):
        sync = review(minutes_ago)
        assert (sync["state"], sync["downloaded"]) == ("OPEN", 1)
        assert metrics_in(capsys)["OpenSyncs"] == [1.0]
    deployed.sqs.purge_queue(QueueUrl=deployed.urls["downloader"])
    review(10)
    assert review(5)["closed_because"] == "stalled"
    capsys.readouterr()
    review(0)
    assert metrics_in(capsys) == {}, "no open sync, nothing to pay for"
