"""The real stack on the emulated AWS, and one sync of it with the moments at which things happened."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from bench.sync.plan import LANES
from ops.dead_letters import SERVICES
from ops.local import stage as local
from tests.e2e.stage import Stage

# One connection for each download, as the comparison wants it, and the log of production: `dev` has a longer one.
# All else is as it goes to AWS.
SETTINGS = {"concurrency": str(LANES.count), "gopro_connections": str(LANES.count), "log_level": "INFO"}

_QUEUE = "bench"
_POLL_SECONDS = 10


class Unfinished(Exception):
    """A sync did not end in the time that it was given."""


@dataclass(frozen=True, kw_only=True)
class Fact:
    """An event as it went over the bus."""

    detail_type: str
    at: float  # unix seconds
    data: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Sync:
    """A sync that is over."""

    asked: float  # unix seconds
    notified: float  # unix seconds
    facts: tuple[Fact, ...]
    cpu_seconds: Mapping[str, float]

    @property
    def seconds(self) -> float:
        """From the request to the notification."""
        return self.notified - self.asked

    def first(self, detail_type: str) -> float:
        """Seconds after the request."""
        return min(self._times(detail_type))

    def last(self, detail_type: str) -> float:
        """Seconds after the request."""
        return max(self._times(detail_type))

    def wrong(self, media: int) -> list[str]:
        """What its summary says that it should not, when so many media were to be stored."""
        summary = next(fact.data for fact in self.facts if fact.detail_type in ("SyncCompleted", "SyncFailed"))
        wanted = {"outcome": "completed", "downloaded": media, "failed": 0, "outstanding": 0}
        return [
            f"the sync's {name} is {summary[name]}, not {one}" for name, one in wanted.items() if summary[name] != one
        ]

    def _times(self, detail_type: str) -> Iterator[float]:
        return (fact.at - self.asked for fact in self.facts if fact.detail_type == detail_type)


@contextmanager
def deployed(folder: Path) -> Iterator[Stage]:
    """A stage of its own while the context lasts. Raises `OperatorError` when it can't be brought up."""
    stage = Stage(local.up(local.Wanted(folder=folder, settings=SETTINGS, fresh=True), say=lambda _: None))
    try:
        yield stage
    finally:
        stage.end()


class Bench:
    """Runs syncs on a stage, and disturbs them as little as it can: nothing is polled but one queue, which waits."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._sqs = stage.client("sqs")
        outputs = stage.outputs
        self._notifications, arn = self._queue("notifications")
        stage.client("sns").subscribe(TopicArn=outputs["NotificationTopicArn"], Protocol="sqs", Endpoint=arn)
        self._facts, arn = self._queue("facts")
        rule = {"Rule": _QUEUE, "EventBusName": outputs["EventBusName"]}
        events = stage.client("events")
        pattern = json.dumps({"source": [{"prefix": "cloud-sync."}]})
        events.put_rule(Name=_QUEUE, EventBusName=outputs["EventBusName"], EventPattern=pattern)
        events.put_targets(**rule, Targets=[{"Id": "queue", "Arn": arn}])

    def sync(self, *, patience_seconds: float) -> Sync:
        """A sync of what the GoPro Cloud holds, until it has been told. Raises `Unfinished`."""
        cpu = self._cpu_seconds()
        asked = time.time()
        self._stage.trigger()
        notified = self._await_notification(asked + patience_seconds)
        after = self._cpu_seconds()
        return Sync(
            asked=asked,
            notified=notified,
            facts=tuple(self._all_facts()),
            cpu_seconds={name: round(seconds - cpu[name], 2) for name, seconds in after.items()},
        )

    def _queue(self, name: str) -> tuple[str, str]:
        url = self._sqs.create_queue(QueueName=f"{_QUEUE}-{name}")["QueueUrl"]
        answer = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return url, answer["Attributes"]["QueueArn"]

    def _await_notification(self, deadline: float) -> float:
        """When it arrived, unix seconds."""
        while time.time() < deadline:
            for message in self._receive(self._notifications, wait_seconds=_POLL_SECONDS):
                return _sent_at(message)
        raise Unfinished("A sync did not end in time. The stage is gone; try it with: .venv/bin/cloud-sync demo --keep")

    def _all_facts(self) -> Iterator[Fact]:
        while messages := self._receive(self._facts):
            for message in messages:
                event = json.loads(message["Body"])
                data = event["detail"].get("data", {})
                yield Fact(detail_type=event["detail-type"], at=_sent_at(message), data=data)

    def _receive(self, url: str, *, wait_seconds: int = 0) -> list[dict[str, Any]]:
        answer = self._sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=wait_seconds, AttributeNames=["SentTimestamp"]
        )
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        if messages:
            entries = [{"Id": str(n), "ReceiptHandle": one["ReceiptHandle"]} for n, one in enumerate(messages)]
            self._sqs.delete_message_batch(QueueUrl=url, Entries=entries)
        return messages

    def _cpu_seconds(self) -> dict[str, float]:
        """What each part of the stage has used so far."""
        pids = {process.name: [process.pid] for process in self._stage.local.processes}
        pids["functions"] = [pid for service in SERVICES for pid in self._stage.worker_pids(service)]
        return {name: sum(map(_cpu_seconds, ids)) for name, ids in pids.items()}


def _cpu_seconds(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def _sent_at(message: Mapping[str, Any]) -> float:
    """When a message came into its queue: the moment itself, however late it is read."""
    return int(message["Attributes"]["SentTimestamp"]) / 1000
