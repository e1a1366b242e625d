"""The local stage as the end-to-end tests see it: real processes, the real stack, a GoPro Cloud to be scripted."""

import hashlib
import json
import os
import re
import signal
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from ops import watch
from ops.local import stage as local
from ops.local.processes import marked
from ops.progress import View
from ops.trigger import SOURCE
from services.shared.clock import Clock, iso
from services.shared.envelope import detail
from services.shared.events import SERVICES, SOURCE_PREFIX, Event
from services.shared.library.records import REQUEST
from tests.e2e.canary import IN_PART, Canary
from tests.e2e.outputs import LISTENERS
from tools.local_stage import LocalStage

# Retries within seconds, and one connection for each download, so that a throttled connection is a throttled download.
# Everything else is as it goes to AWS.
SETTINGS = {"retry_base_seconds": "0.5", "gopro_connections": "5"}

# How long a test waits for what has to come; a wait ends when it comes, so only failures take this long.
PATIENCE_SECONDS = float(os.environ.get("PATIENCE_SECONDS", "240"))

_T = TypeVar("_T")


def eventually(look: Callable[[], _T | None], what: str = "", *, seconds: float = PATIENCE_SECONDS) -> _T:
    """Return the first true result of `look`; fail the test when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what or look}"
        time.sleep(0.1)
    return found


def settled(look: Callable[[], _T]) -> _T:
    """Return what `look` returns as soon as that is empty, or else its last result."""
    deadline = time.monotonic() + PATIENCE_SECONDS / 4
    while (found := look()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


class Collector:
    """The messages of a queue in order of arrival, received in the background."""

    def __init__(self, sqs: Any, queue_url: str) -> None:
        self._sqs, self._queue_url = sqs, queue_url
        self.found: list[dict[str, Any]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"collect {queue_url}", daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        queue = {"QueueUrl": self._queue_url}
        while not self._ended.is_set():
            answer = self._sqs.receive_message(**queue, MaxNumberOfMessages=10, WaitTimeSeconds=1)
            for message in answer.get("Messages", []):
                self.found.append(json.loads(message["Body"]))
                self._sqs.delete_message(**queue, ReceiptHandle=message["ReceiptHandle"])


@dataclass(frozen=True, kw_only=True)
class BucketObject:
    """An object in the media bucket. `metadata` without its `x-amz-meta-`."""

    key: str
    size: int  # bytes
    etag: str
    metadata: Mapping[str, str]
    content_type: str
    content_disposition: str
    checksum: str  # CRC64NVME of the whole object, base64
    content: Callable[[], bytes]

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content()).hexdigest()


class Stage(LocalStage):
    """A running local stage with listeners on its bus and topic, cleaned from one test to the next."""

    def __init__(self, record: local.Stage) -> None:
        super().__init__(record)
        self.canary = Canary(self)
        self.by_hand: set[str] = set()  # keys of originals that a test has put or deleted itself
        self.left_open: set[str] = set()  # ids of syncs that a test leaves open on purpose
        self.posted: list[dict[str, Any]] = []  # events that a test has put into an inbox, past the bus
        # Each collector has its own client: a long poll must not keep the tests' calls waiting.
        sqs = self.deployment.client
        self._events = Collector(sqs("sqs"), self.queue_of_events(LISTENERS[0]))
        self._notifications = Collector(sqs("sqs"), self.queue_of_notifications(LISTENERS[1]))
        self.credentials = self._secret(self.outputs["CredentialsSecretName"])  # those that the GoPro Cloud takes

    # --- doing ------------------------------------------------------------------------------------------------------

    def put_event(self, detail_type: str, detail: Mapping[str, Any] | None = None) -> str:
        """Put one event on the bus as an operator, and return its id."""
        entry = {
            "EventBusName": self.outputs["EventBusName"],
            "Source": SOURCE,
            "DetailType": detail_type,
            "Detail": json.dumps(detail or {}),
        }
        answer = self.client("events").put_events(Entries=[entry])
        assert answer["FailedEntryCount"] == 0, answer
        return str(answer["Entries"][0]["EventId"])

    def post(self, service: str, event: Event, source: str) -> None:
        """Put an event into one inbox alone, as EventBridge would."""
        envelope = {
            "id": str(uuid.uuid4()),
            "source": f"{SOURCE_PREFIX}{source}",
            "detail-type": type(event).__name__,
            "time": iso(Clock().now()),
            "detail": detail(event),
        }
        self.posted.append(envelope)
        self.send(service, json.dumps(envelope))

    def send(self, service: str, body: str) -> None:
        """Send a message to the inbox of a service."""
        self.client("sqs").send_message(QueueUrl=self.output(service, "QueueUrl"), MessageBody=body)

    def put_secret(self, output: str, value: Mapping[str, str] | str) -> None:
        """Fill a secret; a text is taken as it is. From now on the canary looks for all of it."""
        for kind, text in _private(value):
            self.canary.know(kind, text)
        content = value if isinstance(value, str) else json.dumps(value)
        self.client("secretsmanager").put_secret_value(SecretId=self.outputs[output], SecretString=content)

    def session(self) -> dict[str, Any]:
        """Return the session that the services have now."""
        return self._secret(self.variables("lister")["SESSION_SECRET"])

    def age_session(self, *, hours: float) -> None:
        """Make the session so much older than it is."""
        session = self.session()
        began = datetime.fromisoformat(session["obtained_at"]) - timedelta(hours=hours)
        changed = json.dumps({**session, "obtained_at": iso(began)})
        secret = self.variables("lister")["SESSION_SECRET"]
        self.client("secretsmanager").put_secret_value(SecretId=secret, SecretString=changed)

    def variables(self, service: str) -> dict[str, str]:
        """Return the environment variables of a service's function."""
        return dict(self.function(service)["Environment"]["Variables"])

    @contextmanager
    def environment(self, service: str, **variables: str) -> Iterator[None]:
        """Run a service with other environment variables for a while, as a deployment with other settings would.

        `AWS_ENDPOINT_URL_…`, which no deployment has, sends its calls of an AWS service elsewhere.
        """
        before = self.variables(service)
        unknown = {one for one in variables if not one.startswith("AWS_ENDPOINT_URL_")} - set(before)
        assert not unknown, f"{service} has no {unknown}"
        with self.configured(service, Environment={"Variables": {**before, **variables}}):
            yield

    @contextmanager
    def configured(self, service: str, **changed: Any) -> Iterator[None]:
        """Run a service with another function configuration for a while."""
        before = {name: self.function(service)[name] for name in changed}
        self.configure(service, **changed)
        try:
            yield
        finally:
            self.configure(service, **before)

    def configure(self, service: str, **changed: Any) -> None:
        """Change the configuration of a service's function for good."""
        name = self.output(service, "FunctionName")
        self.client("lambda").update_function_configuration(FunctionName=name, **changed)

    def function(self, service: str) -> Any:
        """Return the configuration of a service's function."""
        return self.client("lambda").get_function_configuration(FunctionName=self.output(service, "FunctionName"))

    @contextmanager
    def soon(self, target: Mapping[str, Any]) -> Iterator[None]:
        """Keep a schedule that fires this target once, within two seconds."""
        scheduler = self.client("scheduler")
        schedule = {"Name": f"soon-{uuid.uuid4()}", "GroupName": self.outputs["ScheduleGroupName"]}
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + 2))
        flexible = {"Mode": "OFF"}
        scheduler.create_schedule(
            **schedule, ScheduleExpression=f"at({at})", FlexibleTimeWindow=flexible, Target=target
        )
        try:
            yield
        finally:
            scheduler.delete_schedule(**schedule)

    def schedule(self, name: str) -> Any:
        """Return the `Daily`, `CatchUp` or `Review` schedule."""
        name, group = self.outputs[f"{name}ScheduleName"].rsplit("/", 1)[-1], self.outputs["ScheduleGroupName"]
        return self.client("scheduler").get_schedule(Name=name, GroupName=group)

    def kill_workers(self, service: str) -> int:
        """Kill them without notice, in the middle of what they do; return how many."""
        pids = self.worker_pids(service)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        return len(pids)

    def bring_back(self, discovered: Mapping[str, Any]) -> None:
        """Do what two minutes do for the medium of a killed worker: end its lease, and deliver its message again.

        A message that a dying worker receives is hidden for minutes. So it is sent again until a worker has taken the
        medium.
        """
        table = self.deployment.table("LibraryTableName")
        key = {"media_id": discovered["detail"]["data"]["media_id"], "item": 0}

        def epoch() -> int:
            return int(str(table.get_item(Key=key, ConsistentRead=True)["Item"]["epoch"]))

        def sent() -> bool:
            self.purge("downloader")
            table.update_item(
                Key=key,
                UpdateExpression="SET lease_until = :now",
                ExpressionAttributeValues={":now": int(time.time())},
            )
            self.send("downloader", json.dumps(discovered))
            with suppress(AssertionError):
                return bool(eventually(lambda: epoch() > before, seconds=30))
            return False

        before = epoch()
        eventually(sent, "a worker that takes the medium")

    # --- seeing -----------------------------------------------------------------------------------------------------

    def look(self, sync_id: str) -> View:
        """Return the sync as the tables show it now."""
        return watch.look(self.deployment, sync_id)

    def wait_for_close(self, sync_id: str) -> View:
        """Wait until the sync is closed and its notification sent."""

        def closed() -> View | None:
            view = self.look(sync_id)
            announced = ((view.sync or {}).get("announcement") or {}).get("notified")
            return view if view.is_closed and announced else None

        return eventually(closed, f"the close of sync {sync_id}")

    def events(self, detail_type: str | None = None, sync_id: str | None = None) -> list[dict[str, Any]]:
        """Return what went over the bus, whole events as EventBridge delivers them, in order of arrival."""
        return [
            event
            for event in list(self._events.found)
            if detail_type in (None, event["detail-type"]) and sync_id in (None, sync_of(event))
        ]

    def wait_for_event(self, detail_type: str, sync_id: str | None = None) -> dict[str, Any]:
        return eventually(lambda: self.events(detail_type, sync_id), f"a {detail_type}")[0]

    def summary(self, sync_id: str, detail_type: str = "SyncCompleted") -> dict[str, Any]:
        """Return the summary of a sync, once that is published."""
        return dict(self.wait_for_event(detail_type, sync_id)["detail"]["data"])

    def notifications(self, sync_id: str | None = None) -> list[dict[str, Any]]:
        """Return what SNS has sent (`Subject`, `Message`, `MessageAttributes`, …), all or what names the sync."""
        return [one for one in list(self._notifications.found) if sync_id is None or sync_id in one["Message"]]

    def wait_for_notification(self, sync_id: str) -> dict[str, Any]:
        return eventually(lambda: self.notifications(sync_id), f"a notification of {sync_id}")[0]

    def objects(self, prefix: str = "gopro/") -> dict[str, BucketObject]:
        """Return what lies in the media bucket, by key."""
        s3, bucket = self.client("s3"), self.outputs["MediaBucketName"]
        found = {}
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for listed in page.get("Contents", []):
                key = listed["Key"]
                head = s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
                found[key] = BucketObject(
                    key=key,
                    size=head["ContentLength"],
                    etag=head["ETag"],
                    metadata=head["Metadata"],
                    content_type=head["ContentType"],
                    content_disposition=head.get("ContentDisposition", ""),
                    checksum=head.get("ChecksumCRC64NVME", ""),
                    content=partial(_content, s3, bucket, key),
                )
        return found

    def objects_of(self, media_id: str) -> list[BucketObject]:
        """Return the originals of a medium, in order of their items."""
        own = [one for one in self.objects().values() if one.metadata["media-id"] == media_id]
        return sorted(own, key=lambda one: int(one.metadata["item"]))

    def versions(self) -> list[tuple[str, str]]:
        """Return key and ETag of every version of every original."""
        pages = self.client("s3").get_paginator("list_object_versions")
        found = pages.paginate(Bucket=self.outputs["MediaBucketName"], Prefix="gopro/")
        return [(one["Key"], one["ETag"]) for page in found for one in page.get("Versions", [])]

    def parts_of(self, upload: Mapping[str, Any]) -> int:
        """Return how many parts of an upload have arrived."""
        answer = self.client("s3").list_parts(**self._named(upload))
        return len(answer.get("Parts", []))

    def abort(self, upload: Mapping[str, Any]) -> None:
        self.client("s3").abort_multipart_upload(**self._named(upload))

    def _named(self, upload: Mapping[str, Any]) -> dict[str, str]:
        return {"Bucket": self.outputs["MediaBucketName"], "Key": upload["Key"], "UploadId": upload["UploadId"]}

    def library(self) -> dict[tuple[str, int], dict[str, Any]]:
        """Return the records of the library table, by medium and item, without the one of an operator's request."""
        records = self.items("LibraryTableName")
        return {(one["media_id"], int(one["item"])): one for one in records if one["media_id"] != REQUEST}

    def is_idle(self, *services: str) -> bool:
        """Whether no message is in the inboxes of these services, or of all."""
        return not any(any(self.inbox(service).values()) for service in services or SERVICES)

    def all_dead_letters(self) -> list[str]:
        """Return the services of all dead letters."""
        return [letter.service for service in SERVICES for letter in self.dead_letters(service)]

    # --- from one test to the next ----------------------------------------------------------------------------------

    def clean(self, *, grace_seconds: float = 15.0) -> None:
        """Leave nothing stored, known or under way; the workers stay warm and the stack as it is."""
        self.control.reset()
        self.by_hand.clear()
        self.left_open.clear()
        self._end_what_is_in_work(grace_seconds)
        self.purge()
        for output in ("LibraryTableName", "SyncsTableName", "AuthenticatorTableName"):
            self.empty_table(output)
        self.empty_bucket()
        variables = self.variables("authenticator")
        for name in ("REFRESH_SECRET", "SESSION_SECRET"):
            self.client("secretsmanager").put_secret_value(SecretId=variables[name], SecretString="{}")
        self.put_secret("CredentialsSecretName", self.credentials)
        self._events.found, self._notifications.found = [], []
        self.posted.clear()

    def _end_what_is_in_work(self, grace_seconds: float) -> None:
        """Wait for the workers, and kill those that take long. What a killed one had stays hidden until the purge."""
        deadline = time.monotonic() + grace_seconds
        while busy := [service for service in SERVICES if self.inbox(service)["in_flight"]]:
            if time.monotonic() > deadline:
                for service in busy:
                    self.kill_workers(service)
                return
            time.sleep(0.1)

    def purge(self, *services: str) -> None:
        """Take all messages out of the inboxes and dead letters of these services, or out of all queues."""
        for service in services or SERVICES:
            for queue in ("QueueUrl", "DeadLettersUrl"):
                self.client("sqs").purge_queue(QueueUrl=self.output(service, queue))
        if not services:
            self.client("sqs").purge_queue(QueueUrl=self.deployment.undelivered)

    def empty_table(self, output: str) -> None:
        table = self.deployment.table(output)
        keys = [one["AttributeName"] for one in table.key_schema]
        with table.batch_writer() as batch:
            for item in self.items(output):
                batch.delete_item(Key={key: item[key] for key in keys})

    def empty_bucket(self) -> None:
        s3, bucket = self.client("s3"), self.outputs["MediaBucketName"]
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            for one in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
                s3.delete_object(Bucket=bucket, Key=one["Key"], VersionId=one["VersionId"])
        for upload in self.uploads():
            self.abort(upload)

    def _secret(self, name: str) -> dict[str, Any]:
        return dict(json.loads(self.client("secretsmanager").get_secret_value(SecretId=name)["SecretString"]))

    def end_listening(self) -> None:
        self._events.end()
        self._notifications.end()


@contextmanager
def running(folder: Path, settings: Mapping[str, str], *, enforce_iam: bool = False) -> Iterator[Stage]:
    """A stage of its own, and the proof that neither a process nor a file nor a listener of it is left."""
    wanted = local.Wanted(folder=folder, settings=settings, enforce_iam=enforce_iam)
    record = local.up(wanted, say=lambda text: print(f"stage: {text}", file=sys.stderr))
    try:
        stage = Stage(record)
        yield stage
        stage.end_listening()
    finally:
        local.down(record.folder, say=lambda _: None)
    assert not marked(record.mark), "processes are left"
    assert not record.folder.exists(), "files are left"
    for url in filter(None, (record.endpoint_url, record.gopro_control_url)):
        address = urlsplit(url)
        with socket.socket() as probe:
            assert probe.connect_ex((address.hostname or "", address.port or 0)) != 0, f"{url} still answers"


def _content(s3: Any, bucket: str, key: str) -> bytes:
    content: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    return content


def _private(credentials: Mapping[str, str] | str) -> Iterator[tuple[str, str]]:
    """Yield (kind, value) of what is secret in what a user may put into the credentials secret."""
    if isinstance(credentials, str):
        yield from (("value", text) for text in re.findall(rf"[\w-]{{{IN_PART},}}", credentials))
    else:
        yield from ((key.replace("_", " "), text) for key, text in credentials.items() if text and key != "client_id")


def sync_of(event: Mapping[str, Any]) -> str:
    """Return the sync that an event belongs to; of a request by hand, the one that it begins."""
    detail = event["detail"]
    return str(detail.get("metadata", {}).get("sync_id") or detail.get("sync_id") or event["id"])
