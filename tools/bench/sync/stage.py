"""Deploys the real stack on the emulated AWS, runs a sync and records the moments of its events."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from ops.local import stage as local
from services.shared.events import SERVICES
from tools.bench.sync.plan import LANES
from tools.local_stage import LocalStage

# One connection for each download, as the comparison requires, and production's log level: `dev` logs more.
# All other settings are those of production.
SETTINGS = {"concurrency": str(LANES.count), "gopro_connections": str(LANES.count), "log_level": "INFO"}

_POLL_SECONDS = 10


class Unfinished(Exception):
    """A sync did not end in the time allowed."""


@dataclass(frozen=True, kw_only=True)
class Fact:
    """An event, as recorded from the bus."""

    detail_type: str
    at: float  # unix seconds
    data: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Sync:
    """A finished sync."""

    asked: float  # unix seconds
    notified: float  # unix seconds
    facts: tuple[Fact, ...]
    cpu_seconds: Mapping[str, float]

    @property
    def seconds(self) -> float:
        """Return the seconds from the request to the notification."""
        return self.notified - self.asked

    def first(self, detail_type: str) -> float:
        """Return when the first event of a type came, in seconds after the request."""
        return min(self._times(detail_type))

    def last(self, detail_type: str) -> float:
        """Return when the last event of a type came, in seconds after the request."""
        return max(self._times(detail_type))

    def wrong(self, media: int) -> list[str]:
        """Return each value of the summary that is wrong, if this many media were to be stored."""
        summary = next(fact.data for fact in self.facts if fact.detail_type in ("SyncCompleted", "SyncFailed"))
        wanted = {"outcome": "completed", "downloaded": media, "failed": 0, "outstanding": 0}
        return [
            f"the sync's {name} is {summary[name]}, not {one}" for name, one in wanted.items() if summary[name] != one
        ]

    def _times(self, detail_type: str) -> Iterator[float]:
        return (fact.at - self.asked for fact in self.facts if fact.detail_type == detail_type)


@contextmanager
def deployed(folder: Path, settings: Mapping[str, str] = SETTINGS) -> Iterator[LocalStage]:
    """Deploy a stage of its own while the context lasts. Raises `OperatorError` when the deployment fails."""
    stage = LocalStage(local.up(local.Wanted(folder=folder, settings=settings, fresh=True), say=lambda _: None))
    try:
        yield stage
    finally:
        stage.end()


class Bench:
    """Runs syncs on a stage with little overhead: it only polls one queue, with long polling."""

    def __init__(self, stage: LocalStage) -> None:
        self._stage = stage
        self._sqs = stage.client("sqs")
        self._facts = stage.queue_of_events("bench-facts")
        self._notifications = stage.queue_of_notifications("bench-notifications")

    def sync(self, *, patience_seconds: float) -> Sync:
        """Sync the library of the GoPro Cloud, and wait for the notification. Raises `Unfinished`."""
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

    def _await_notification(self, deadline: float) -> float:
        """Return when the notification arrived, in unix seconds."""
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
        """Return the CPU seconds that each part of the stage has used so far."""
        pids = {process.name: [process.pid] for process in self._stage.record.processes}
        pids["functions"] = [pid for service in SERVICES for pid in self._stage.worker_pids(service)]
        return {name: sum(map(_cpu_seconds, ids)) for name, ids in pids.items()}


def _cpu_seconds(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def _sent_at(message: Mapping[str, Any]) -> float:
    """Return when a message was sent to its queue, however late it is read."""
    return int(message["Attributes"]["SentTimestamp"]) / 1000
