"""The local stage as the end-to-end tests see it: real processes, the real stack, a GoPro Cloud to be scripted."""

import hashlib
import json
import os
import re
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import psutil

from ops import watch
from ops.dead_letters import SERVICES, DeadLetter, failures, redrive
from ops.deployment import Deployment
from ops.local import stage as local
from ops.local.processes import marked
from ops.progress import View
from ops.trigger import SOURCE, Request, request_sync
from services.shared.bus import iso, utc_now
from services.shared.events import SOURCE_PREFIX, Event, detail
from tests.e2e.canary import IN_PART, Canary
from tests.gopro_cloud import Control

# Retries within seconds, and one connection for each download, so that a throttled connection is a throttled download.
# Everything else is as it goes to AWS.
SETTINGS = {"retry_base_seconds": "0.5", "gopro_connections": "5"}

_T = TypeVar("_T")


def eventually(look: Callable[[], _T | None], *, seconds: float = 30.0, what: str = "") -> _T:
    """The first thing that `look` returns which is true; fails the test when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what or look}"
        time.sleep(0.1)
    return found


def settled(look: Callable[[], _T], *, seconds: float = 30.0) -> _T:
    """What `look` returns as soon as that is empty, or else once the time is over."""
    deadline = time.monotonic() + seconds
    while (found := look()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


class Collector:
    """Everything that comes into a queue, read in the background and kept in order of arrival."""

    def __init__(self, sqs: Any, queue_url: str, read: Callable[[str], dict[str, Any]]) -> None:
        self._sqs, self._queue_url, self._read = sqs, queue_url, read
        self._found: list[dict[str, Any]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"collect {queue_url}", daemon=True)
        self._thread.start()

    def all(self) -> list[dict[str, Any]]:
        return list(self._found)

    def clear(self) -> None:
        self._found = []

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.is_set():
            for message in self._sqs.receive_message(
                QueueUrl=self._queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=1
            ).get("Messages", []):
                self._found.append(self._read(message["Body"]))
                self._sqs.delete_message(QueueUrl=self._queue_url, ReceiptHandle=message["ReceiptHandle"])


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """An object in the media bucket. `metadata` without its `x-amz-meta-`."""

    key: str
    size: int  # bytes
    etag: str
    metadata: Mapping[str, str]
    checksum: str  # CRC64NVME of the whole object, base64
    content: Callable[[], bytes]

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content()).hexdigest()


@dataclass
class Stage:
    """A running local stage."""

    local: local.Stage
    listeners: tuple[str, str] = ("all-events", "all-notifications")  # queues of the tests' own
    by_hand: set[str] = field(default_factory=set)  # keys of originals that a test has put or deleted itself
    left_open: set[str] = field(default_factory=set)  # ids of syncs that a test leaves open on purpose
    posted: list[dict[str, Any]] = field(default_factory=list)  # events that a test has put into an inbox, past the bus
    _clients: dict[str, Any] = field(default_factory=dict)
    _collectors: list["Collector"] = field(default_factory=list)

    # --- where things are -------------------------------------------------------------------------------------------

    @property
    def endpoint_url(self) -> str:
        return self.local.endpoint_url

    @property
    def outputs(self) -> Mapping[str, str]:
        return self.local.outputs

    @cached_property
    def deployment(self) -> Deployment:
        return self.local.deployment

    @cached_property
    def canary(self) -> Canary:
        """Looks for secrets in what the stage puts out."""
        return Canary(self)

    @cached_property
    def control(self) -> Control:
        """Scripts and watches the GoPro Cloud."""
        return Control(self.local.gopro_control_url)

    def client(self, service: str) -> Any:
        """A boto3 client for the emulated AWS."""
        if service not in self._clients:
            self._clients[service] = self.deployment.client(service)
        return self._clients[service]

    @property
    def log(self) -> Path:
        """What the emulator and all functions have logged."""
        return self.local.folder / "ministack.log"

    # --- doing ------------------------------------------------------------------------------------------------------

    def trigger(self, **request: Any) -> str:
        """Asks for a sync as an operator does; takes what `ops.trigger.Request` takes. Returns the sync's id."""
        return request_sync(self.deployment, Request(**request))

    def put_event(self, detail_type: str, detail: Mapping[str, Any] | None = None, *, source: str = SOURCE) -> str:
        """Puts one event on the bus by hand. Returns its id."""
        entry = {
            "EventBusName": self.outputs["EventBusName"],
            "Source": source,
            "DetailType": detail_type,
            "Detail": json.dumps(detail or {}),
        }
        answer = self.client("events").put_events(Entries=[entry])
        assert answer["FailedEntryCount"] == 0, answer
        return str(answer["Entries"][0]["EventId"])

    def post(self, service: str, event: Event, source: str) -> None:
        """Puts an event into one inbox alone, as EventBridge would."""
        envelope = {
            "id": str(uuid.uuid4()),
            "source": f"{SOURCE_PREFIX}{source}",
            "detail-type": type(event).__name__,
            "time": iso(utc_now()),
            "detail": detail(event),
        }
        self.posted.append(envelope)
        url = self.outputs[f"{service.title()}QueueUrl"]
        self.client("sqs").send_message(QueueUrl=url, MessageBody=json.dumps(envelope))

    def review(self) -> None:
        """What the schedule does every 15 minutes."""
        self.put_event("SyncReviewDue")

    def redrive(self, service: str = "downloader", *, media_id: str | None = None) -> int:
        """Sends dead letters back; returns how many."""
        return len(redrive(self.deployment, service, media_id=media_id))

    def put_secret(self, output: str, value: Mapping[str, str] | str) -> None:
        """Fills a secret, with a text as it is. From now on none of it may show anywhere."""
        for kind, text in _private(value):
            self.canary.know(kind, text)
        content = value if isinstance(value, str) else json.dumps(value)
        self.client("secretsmanager").put_secret_value(SecretId=self.outputs[output], SecretString=content)

    @contextmanager
    def environment(self, service: str, **variables: str) -> Iterator[None]:
        """Runs a service with other environment variables for a while, as a deployment with other settings would.

        `AWS_ENDPOINT_URL_…`, which no deployment has, sends its calls of an AWS service elsewhere.
        """
        functions, name = self.client("lambda"), self.outputs[f"{service.title()}FunctionName"]
        before = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
        unknown = {one for one in variables if not one.startswith("AWS_ENDPOINT_URL_")} - set(before)
        assert not unknown, f"{service} has no {unknown}"
        functions.update_function_configuration(FunctionName=name, Environment={"Variables": {**before, **variables}})
        try:
            yield
        finally:
            functions.update_function_configuration(FunctionName=name, Environment={"Variables": before})

    # --- seeing -----------------------------------------------------------------------------------------------------

    def look(self, sync_id: str) -> View:
        """The sync as the tables show it now."""
        return watch.look(self.deployment, sync_id)

    def wait_for_close(self, sync_id: str, *, seconds: float = 90.0) -> View:
        """Waits until the sync is closed, and has been told to the world."""

        def closed() -> View | None:
            view = self.look(sync_id)
            announced = ((view.sync or {}).get("announcement") or {}).get("notified")
            return view if view.is_closed and announced else None

        return eventually(closed, seconds=seconds, what=f"the close of sync {sync_id}")

    def events(self, detail_type: str | None = None, sync_id: str | None = None) -> list[dict[str, Any]]:
        """What went over the bus, whole events as EventBridge delivers them, in order of arrival."""
        return [
            event
            for event in self._events.all()
            if detail_type in (None, event["detail-type"]) and sync_id in (None, sync_of(event))
        ]

    def wait_for_event(self, detail_type: str, sync_id: str | None = None, *, seconds: float = 30.0) -> dict[str, Any]:
        found = eventually(lambda: self.events(detail_type, sync_id), seconds=seconds, what=f"a {detail_type}")
        return found[0]

    def notifications(self, sync_id: str | None = None) -> list[dict[str, Any]]:
        """What SNS has sent: `Subject`, `Message`, `MessageAttributes`, …; those that speak of the sync."""
        return [one for one in self._notifications.all() if sync_id is None or sync_id in one["Message"]]

    def wait_for_notification(self, sync_id: str, *, seconds: float = 30.0) -> dict[str, Any]:
        found = eventually(lambda: self.notifications(sync_id), seconds=seconds, what=f"a notification of {sync_id}")
        return found[0]

    def objects(self, prefix: str = "gopro/") -> dict[str, StoredObject]:
        """What lies in the media bucket, by key."""
        s3, bucket = self.client("s3"), self.outputs["MediaBucketName"]
        found = {}
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for listed in page.get("Contents", []):
                key = listed["Key"]
                head = s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
                found[key] = StoredObject(
                    key=key,
                    size=head["ContentLength"],
                    etag=head["ETag"],
                    metadata=head["Metadata"],
                    checksum=head.get("ChecksumCRC64NVME", ""),
                    content=partial(_content, s3, bucket, key),
                )
        return found

    def objects_of(self, media_id: str) -> list[StoredObject]:
        """The originals of a medium, in order of their items."""
        own = [one for one in self.objects().values() if one.metadata["media-id"] == media_id]
        return sorted(own, key=lambda one: int(one.metadata["item"]))

    def uploads(self) -> list[dict[str, Any]]:
        """Multipart uploads that are neither completed nor aborted."""
        answer = self.client("s3").list_multipart_uploads(Bucket=self.outputs["MediaBucketName"])
        return list(answer.get("Uploads", []))

    def parts_of(self, upload: Mapping[str, Any]) -> int:
        """How many parts of it have arrived."""
        answer = self.client("s3").list_parts(**self._named(upload))
        return len(answer.get("Parts", []))

    def abort(self, upload: Mapping[str, Any]) -> None:
        self.client("s3").abort_multipart_upload(**self._named(upload))

    def _named(self, upload: Mapping[str, Any]) -> dict[str, str]:
        return {"Bucket": self.outputs["MediaBucketName"], "Key": upload["Key"], "UploadId": upload["UploadId"]}

    def library_record(self, media_id: str, item: int = 0) -> dict[str, Any] | None:
        table = self.deployment.table("LibraryTableName")
        answer = table.get_item(Key={"media_id": media_id, "item": item}, ConsistentRead=True)
        return dict(answer["Item"]) if "Item" in answer else None

    def dead_letters(self, service: str = "downloader") -> list[DeadLetter]:
        """What lies in a dead-letter queue; looking leaves it there."""
        return failures(self.deployment, [service])

    def inbox(self, service: str) -> dict[str, int]:
        """How many messages of an inbox are `visible`, `in_flight` and `delayed`."""
        answer = self.client("sqs").get_queue_attributes(
            QueueUrl=self.outputs[f"{service.title()}QueueUrl"], AttributeNames=["All"]
        )
        names = {"": "visible", "NotVisible": "in_flight", "Delayed": "delayed"}
        return {name: int(answer["Attributes"][f"ApproximateNumberOfMessages{of}"]) for of, name in names.items()}

    # --- the processes ----------------------------------------------------------------------------------------------

    def worker_pids(self, service: str, *, downloading: bool = False) -> list[int]:
        """The processes that run a service's function; `downloading`: those connected to the GoPro Cloud just now."""
        name = self.outputs[f"{service.title()}FunctionName"]
        cloud = urlsplit(self.local.gopro_url).port
        found = []
        for process in marked(self.local.mark):
            with suppress(psutil.Error):
                connected = [one.raddr.port for one in process.net_connections() if one.raddr]
                is_worker = process.environ().get("AWS_LAMBDA_FUNCTION_NAME") == name
                if is_worker and (not downloading or cloud in connected):
                    found.append(process.pid)
        return found

    def kill_workers(self, service: str, *, downloading: bool = False) -> int:
        """Kills them without notice, in the middle of what they do; returns how many."""
        pids = self.worker_pids(service, downloading=downloading)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        return len(pids)

    # --- from one test to the next ----------------------------------------------------------------------------------

    def listen(self) -> None:
        """Begins to collect all events and notifications."""
        events, sns = self.client("events"), self.client("sns")
        bus, topic = self.outputs["EventBusName"], self.outputs["NotificationTopicArn"]
        url, arn = self._queue(self.listeners[0])
        events.put_rule(Name="all-events", EventBusName=bus, EventPattern='{"source": [{"prefix": "cloud-sync."}]}')
        events.put_targets(Rule="all-events", EventBusName=bus, Targets=[{"Id": "queue", "Arn": arn}])
        # Each collector has its own client: a long poll must not keep the tests' calls waiting.
        self._events = Collector(self.deployment.client("sqs"), url, json.loads)
        url, arn = self._queue(self.listeners[1])
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        self._notifications = Collector(self.deployment.client("sqs"), url, json.loads)
        self._collectors = [self._events, self._notifications]

    def _queue(self, name: str) -> tuple[str, str]:
        sqs = self.client("sqs")
        url = sqs.create_queue(QueueName=name)["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        senders = {"Service": ["events.amazonaws.com", "sns.amazonaws.com"]}
        allowed = {"Effect": "Allow", "Principal": senders, "Action": "sqs:SendMessage", "Resource": arn}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
        return url, arn

    def clean(self) -> None:
        """Nothing stored, nothing known, nothing under way; the workers stay warm and the stack as it is."""
        self.control.reset()
        self.by_hand.clear()
        self.left_open.clear()
        with suppress(AssertionError):  # what is still in work then belongs to a worker that was killed
            eventually(lambda: not any(self.inbox(service)["in_flight"] for service in SERVICES), seconds=15)
        for service in SERVICES:
            for queue in ("QueueUrl", "DeadLettersUrl"):
                self.client("sqs").purge_queue(QueueUrl=self.outputs[f"{service.title()}{queue}"])
        for output in ("LibraryTableName", "SyncsTableName", "AuthenticatorTableName"):
            self._empty_table(self.deployment.table(output))
        self._empty_bucket()
        for secret in self._secrets():
            self.client("secretsmanager").put_secret_value(SecretId=secret, SecretString="{}")
        self.put_secret("CredentialsSecretName", self.credentials)
        self._events.clear()
        self._notifications.clear()
        self.posted.clear()

    @cached_property
    def credentials(self) -> Mapping[str, str]:
        """The ones that the GoPro Cloud takes, as they stood in the secret at first."""
        secret = self.client("secretsmanager").get_secret_value(SecretId=self.outputs["CredentialsSecretName"])
        return dict(json.loads(secret["SecretString"]))

    def _secrets(self) -> set[str]:
        """The refresh and session secrets."""
        variables = self.client("lambda").get_function_configuration(
            FunctionName=self.outputs["AuthenticatorFunctionName"]
        )["Environment"]["Variables"]
        return {variables["REFRESH_SECRET"], variables["SESSION_SECRET"]}

    def _empty_table(self, table: Any) -> None:
        keys = [one["AttributeName"] for one in table.key_schema]
        with table.batch_writer() as batch:
            for page in table.meta.client.get_paginator("scan").paginate(TableName=table.name, ConsistentRead=True):
                for item in page["Items"]:
                    batch.delete_item(Key={key: item[key] for key in keys})

    def _empty_bucket(self) -> None:
        s3, bucket = self.client("s3"), self.outputs["MediaBucketName"]
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            for one in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
                s3.delete_object(Bucket=bucket, Key=one["Key"], VersionId=one["VersionId"])
        for upload in self.uploads():
            self.abort(upload)

    def end(self) -> None:
        """Takes it down, and proves that nothing is left."""
        for collector in self._collectors:
            collector.end()
        down(self.local)


def _content(s3: Any, bucket: str, key: str) -> bytes:
    content: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    return content


def _private(credentials: Mapping[str, str] | str) -> Iterator[tuple[str, str]]:
    """(kind, value) of what is secret in what a user may put into the credentials secret."""
    if isinstance(credentials, str):
        yield from (("value", text) for text in re.findall(rf"[\w-]{{{IN_PART},}}", credentials))
    else:
        yield from ((key.replace("_", " "), text) for key, text in credentials.items() if text and key != "client_id")


def sync_of(event: Mapping[str, Any]) -> str:
    """The sync that an event belongs to; of a request by hand, the one that it begins."""
    detail = event["detail"]
    return str(detail.get("metadata", {}).get("sync_id") or detail.get("sync_id") or event["id"])


def down(stage: local.Stage) -> None:
    """Takes a local stage down, and proves that neither a process nor a file nor a listener of it is left."""
    local.down(stage.folder, say=lambda _: None)
    assert not marked(stage.mark), "processes are left"
    assert not stage.folder.exists(), "files are left"
    for url in filter(None, (stage.endpoint_url, stage.gopro_control_url)):
        address = urlsplit(url)
        with socket.socket() as probe:
            assert probe.connect_ex((address.hostname or "", address.port or 0)) != 0, f"{url} still answers"
