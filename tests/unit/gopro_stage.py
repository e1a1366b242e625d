"""One service of those that talk to GoPro, as it is composed: with moto's AWS, the fake cloud and one clock."""

import importlib
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from moto import mock_aws

from services.shared.inbox import Inbox, Message
from tests.gopro_cloud import FakeGoProCloud

REGION = "eu-central-1"


@cache
def _session() -> boto3.Session:
    """One for all tests: making it and its clients takes longer than most of them."""
    return boto3.Session(region_name=REGION, aws_access_key_id="unit-test", aws_secret_access_key="unit-test")


@cache
def _client(name: str) -> Any:
    return _session().client(name)  # type: ignore[call-overload]


class CaughtEvents:
    """EventBridge as the bus sees it. moto's takes seconds for some hundred events."""

    def __init__(self) -> None:
        self.entries: list[Any] = []

    def put_events(self, *, Entries: list[Any]) -> Any:  # noqa: N803  # as boto3 calls it
        assert len(Entries) <= 10
        assert {entry["EventBusName"] for entry in Entries} == {"bus"}
        self.entries += Entries
        return {"FailedEntryCount": 0, "Entries": [{"EventId": "event"} for _ in Entries]}


class StageSession:
    """A boto3 session with one service of its own."""

    def __init__(self, caught: CaughtEvents) -> None:
        self._caught = caught

    def client(self, name: str, **options: Any) -> Any:
        return self._caught if name == "events" else _session().client(name, **options)  # type: ignore[call-overload]

    def resource(self, name: str) -> Any:
        return _session().resource(name)  # type: ignore[call-overload]


class Clock:
    """Stands still, but for those who sleep by it."""

    def __init__(self, cloud: FakeGoProCloud) -> None:
        self._cloud = cloud
        self._now = datetime.now(UTC)
        self.while_asleep: Callable[[], None] = lambda: None

    def __call__(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._now.timestamp()

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)
        self._cloud.advance(seconds)

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)
        self.while_asleep()


@dataclass(kw_only=True)
class Stage:
    cloud: FakeGoProCloud
    clock: Clock
    environment: dict[str, str]
    caught: CaughtEvents = field(default_factory=CaughtEvents)
    hidden: list[float] = field(default_factory=list)  # for how many seconds messages were hidden, in order
    inbox: Inbox = field(init=False)
    seconds: float = 900.0  # that a function has

    def client(self, name: str) -> Any:
        return _client(name)

    def open(self, service: str, **changes: str) -> "Stage":
        """Composes the service, with other settings where `changes` says so."""
        handler = importlib.import_module(f"services.{service}.handler")
        from_environment = importlib.import_module("services.shared.settings").from_environment
        settings = from_environment(handler.Settings, {**self.environment, **changes})
        clocks = {"now": self.clock, "monotonic": self.clock.monotonic, "sleep": self.clock.sleep}
        taken = inspect.signature(handler.build).parameters
        ports = {name: clock for name, clock in clocks.items() if name in taken}
        self.inbox = handler.build(settings, StageSession(self.caught), **ports)
        return self

    def context(self) -> Any:
        end = self.clock() + timedelta(seconds=self.seconds)
        return SimpleNamespace(
            function_name="function",
            memory_limit_in_mb=512,
            invoked_function_arn="arn",
            aws_request_id="request",
            get_remaining_time_in_millis=lambda: int((end - self.clock()).total_seconds() * 1000),
        )

    def record(self, detail_type: str, detail: Mapping[str, Any], *, receives: int = 1, event_id: str) -> Any:
        body = {"id": event_id, "time": "2026-11-23T01:00:02Z", "detail-type": detail_type, "detail": detail}
        return {
            "messageId": "message-1",
            "receiptHandle": "receipt-1",
            "body": json.dumps(body),
            "attributes": {"ApproximateReceiveCount": str(receives)},
            "eventSource": "aws:sqs",
        }

    def send(
        self, detail_type: str, detail: Mapping[str, Any] | None = None, *, receives: int = 1, event_id: str = "sync-1"
    ) -> bool:
        """Whether the message was acknowledged."""
        record = self.record(detail_type, detail or {}, receives=receives, event_id=event_id)
        response = self.inbox.process({"Records": [record]}, self.context())
        return not response["batchItemFailures"]

    def published(self) -> list[tuple[str, dict[str, Any]]]:
        """What came on the bus since the last look: (detail-type, {"metadata", "data"})."""
        found = [(entry["DetailType"], json.loads(entry["Detail"])) for entry in self.caught.entries]
        self.caught.entries.clear()
        return found

    def secret(self, name: str) -> Any:
        content = self.client("secretsmanager").get_secret_value(SecretId=self.environment[name])["SecretString"]
        return json.loads(content)

    def put_secret(self, name: str, content: object) -> None:
        text = content if isinstance(content, str) else json.dumps(content)
        self.client("secretsmanager").put_secret_value(SecretId=self.environment[name], SecretString=text)


@contextmanager
def staged(monkeypatch: pytest.MonkeyPatch, cloud: FakeGoProCloud) -> Iterator[Stage]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "unit-test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    with mock_aws():
        secrets, s3, dynamodb = map(_client, ("secretsmanager", "s3", "dynamodb"))
        s3.create_bucket(Bucket="media-bucket", CreateBucketConfiguration={"LocationConstraint": REGION})
        _table(dynamodb, "authenticator", id="S")
        _table(dynamodb, "library", media_id="S", item="N")
        arns = {
            f"{name}_SECRET": secrets.create_secret(Name=name.lower(), SecretString="{}")["ARN"]
            for name in ("CREDENTIALS", "REFRESH", "SESSION")
        }
        environment = {
            **arns,
            "EVENT_BUS_NAME": "bus",
            "INBOX_URL": "https://queue.invalid/inbox",
            "MAX_RECEIVES": "4",
            "RETRY_BASE_SECONDS": "2",
            "RETRY_CAP_SECONDS": "300",
            "AUTHENTICATOR_TABLE": "authenticator",
            "LIBRARY_TABLE": "library",
            "MEDIA_BUCKET": "media-bucket",
            "GOPRO_API_URL": cloud.url,
            "DOWNLOAD_HOSTS": "127.0.0.1",
            "SCHEDULE_TIME_ZONE": "Europe/Berlin",
            "MAX_MEDIA_PER_SYNC": "1000",
            "MAX_GIGABYTES_PER_SYNC": "4000",
            "PAGES_PER_SLICE": "100",
            "LANE_WAIT_SECONDS": "300",
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        stage = Stage(cloud=cloud, clock=Clock(cloud), environment=environment)
        monkeypatch.setattr(Message, "hide", lambda self, seconds: stage.hidden.append(seconds))
        yield stage


def _table(dynamodb: Any, name: str, **keys: str) -> None:
    dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, ("HASH", "RANGE"), strict=False)],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": kind} for key, kind in keys.items()],
        BillingMode="PAY_PER_REQUEST",
    )
