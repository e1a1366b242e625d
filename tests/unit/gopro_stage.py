"""One service of those that talk to GoPro, as it is composed: with moto's AWS, the fake cloud and one clock."""

import importlib
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from functools import cache
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from moto import mock_aws

from infra.config import Settings as DeploymentSettings
from ops.local.gopro_cloud import FakeGoProCloud
from services.shared.inbox.heartbeat import Heartbeat
from services.shared.inbox.inbox import Inbox
from services.shared.inbox.message import Message
from services.shared.settings import ServiceSettings, to_environment
from tests.moto_s3 import take_bytearrays
from tests.unit.clocks import ManualClock
from tests.unit.inbox_fakes import record

REGION = "eu-central-1"


@cache
def _session() -> boto3.Session:
    """One for all tests: making it and its clients takes longer than most of them."""
    session = boto3.Session(region_name=REGION, aws_access_key_id="unit-test", aws_secret_access_key="unit-test")
    take_bytearrays(session.events)
    return session


@cache
def _client(name: str) -> Any:
    return _session().client(name)  # type: ignore[call-overload]


class StageSession:
    """A boto3 session that catches events itself: moto takes seconds for some hundred of them."""

    def __init__(self) -> None:
        self.entries: list[Any] = []

    def client(self, name: str, **options: Any) -> Any:
        return self if name == "events" else _session().client(name, **options)  # type: ignore[call-overload]

    def resource(self, name: str, **options: Any) -> Any:
        return _session().resource(name, **options)  # type: ignore[call-overload]

    def put_events(self, *, Entries: list[Any]) -> Any:  # noqa: N803  # as boto3 calls it
        assert len(Entries) <= 10
        assert {entry["EventBusName"] for entry in Entries} == {"bus"}
        self.entries += Entries
        return {"FailedEntryCount": 0, "Entries": [{"EventId": "event"} for _ in Entries]}


class CloudClock(ManualClock):
    """A clock that the fake GoPro Cloud goes by, too."""

    def __init__(self, cloud: FakeGoProCloud) -> None:
        super().__init__(datetime.now(UTC).replace(microsecond=0))  # as the fake cloud's tokens, but on a whole second
        self._cloud = cloud

    def advance(self, seconds: float) -> None:
        super().advance(seconds)
        self._cloud.advance(seconds)


@dataclass(kw_only=True)
class Stage:
    cloud: FakeGoProCloud
    clock: CloudClock
    environment: dict[str, str]
    session: StageSession = field(default_factory=StageSession)
    hidden: list[float] = field(default_factory=list)  # for how many seconds messages were hidden, in order
    inbox: Inbox[Any] = field(init=False)
    seconds: float = 900.0  # that a function has

    def client(self, name: str) -> Any:
        return _client(name)

    def open(self, service: str, **changes: str) -> "Stage":
        """Compose the service, with other settings where `changes` says so."""
        handler = importlib.import_module(f"services.{service}.handler")
        settings = handler.from_environment(handler.Settings, {**self.environment, **changes})
        self.inbox = handler.build(settings, self.session, clock=self.clock)
        return self

    def context(self) -> Any:
        end = self.clock.now() + timedelta(seconds=self.seconds)
        return SimpleNamespace(
            function_name="function",
            memory_limit_in_mb=512,
            invoked_function_arn="arn",
            aws_request_id="request",
            get_remaining_time_in_millis=lambda: int((end - self.clock.now()).total_seconds() * 1000),
        )

    def record(self, detail_type: str, detail: Mapping[str, Any], *, receives: int = 1, event_id: str) -> Any:
        body = {"id": event_id, "time": "2026-11-23T01:00:02Z", "detail-type": detail_type, "detail": detail}
        return record(json.dumps(body), receives=receives)

    def send(
        self, detail_type: str, detail: Mapping[str, Any] | None = None, *, receives: int = 1, event_id: str = "sync-1"
    ) -> bool:
        """Deliver a message. Returns whether it was acknowledged."""
        record = self.record(detail_type, detail or {}, receives=receives, event_id=event_id)
        response = self.inbox.process({"Records": [record]}, self.context())
        return not response["batchItemFailures"]

    def published(self) -> list[tuple[str, dict[str, Any]]]:
        """Return what was published since the last call: (detail-type, {"metadata", "data"})."""
        found = [(entry["DetailType"], json.loads(entry["Detail"])) for entry in self.session.entries]
        self.session.entries.clear()
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
        create_table(dynamodb, "authenticator", id="S")
        create_table(dynamodb, "library", media_id="S", item="N")
        create_table(dynamodb, "syncs", sync_id="S", record="S")
        arns = {
            f"{name}_SECRET": secrets.create_secret(Name=name.lower(), SecretString="{}")["ARN"]
            for name in ("CREDENTIALS", "REFRESH", "SESSION")
        }
        environment = {
            **{setting.name.upper(): str(setting.default) for setting in fields(DeploymentSettings)},
            **to_environment(ServiceSettings(event_bus_name="bus", inbox_url="https://queue.invalid/inbox")),
            **arns,
            "ENVIRONMENT": "dev",
            "POWERTOOLS_METRICS_NAMESPACE": "UnitTest",
            "AUTHENTICATOR_TABLE": "authenticator",
            "LIBRARY_TABLE": "library",
            "SYNCS_TABLE": "syncs",
            "MEDIA_BUCKET": "media-bucket",
            "GOPRO_API_URL": cloud.url,
            "DOWNLOAD_HOSTS": "127.0.0.1",
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        stage = Stage(cloud=cloud, clock=CloudClock(cloud), environment=environment)
        monkeypatch.setattr(Message, "hide", lambda self, seconds: stage.hidden.append(seconds))
        monkeypatch.setattr(Heartbeat, "PATIENCE_SECONDS", math.inf)  # its thread doesn't beat by the stage's clock
        yield stage


def create_table(dynamodb: Any, name: str, **keys: str) -> None:
    dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, ("HASH", "RANGE"), strict=False)],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": kind} for key, kind in keys.items()],
        BillingMode="PAY_PER_REQUEST",
    )
