"""The summarizer on a stage: the real table wiring on moto's DynamoDB, and everything around it recorded."""

import functools
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
from moto import mock_aws

from services.shared.bus import Bus, iso
from services.shared.errors import TransientError
from services.shared.events import (
    Event,
    LibraryListed,
    MediaDiscovered,
    MediaDownloaded,
    MediaDownloadFailed,
    SyncRequested,
    SyncReviewDue,
)
from services.summarizer.announcing import Announcer
from services.summarizer.batch import FactsInbox
from services.summarizer.report import Notification, Whereabouts
from services.summarizer.review import Review
from services.summarizer.summarizer import Summarizer
from services.summarizer.sync import Medium, Sync
from services.summarizer.syncs import SyncsTable

SYNC = "scheduled-2026-11-23"
BEGIN = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)
DEAD_LETTERS = "https://sqs.eu-central-1.amazonaws.com/123456789012/downloader-dead-letters"
WHERE = Whereabouts(bucket="media", dead_letters_url=DEAD_LETTERS, bus="cloud-sync-prod")


class Crash(BaseException):
    """The function is gone at this very point: nothing catches this, as nothing survives a kill."""


def requested(**more: Any) -> SyncRequested:
    return SyncRequested(**{"sync_id": SYNC, "trigger": "scheduled", "occurred_at": iso(BEGIN), **more})


def discovered(media_id: str, **more: Any) -> MediaDiscovered:
    return MediaDiscovered(
        **{
            "sync_id": SYNC,
            "media_id": media_id,
            "filename": f"GX{media_id}.MP4",
            "size": 10,
            "occurred_at": iso(BEGIN + timedelta(seconds=20)),
            **more,
        }
    )


def listed(discovered: int, **more: Any) -> LibraryListed:
    counts = {"listed": discovered, "stored": 0, "pending": 0, "deferred": 0}
    occurred_at = iso(BEGIN + timedelta(seconds=30))
    return LibraryListed(**{"sync_id": SYNC, "discovered": discovered, "occurred_at": occurred_at, **counts, **more})


def downloaded(media_id: str, **more: Any) -> MediaDownloaded:
    occurred_at = iso(BEGIN + timedelta(seconds=60))
    given = {"epoch": 1, "bytes": 10, "seconds": 1.5, "occurred_at": occurred_at}
    return MediaDownloaded(**{"sync_id": SYNC, "media_id": media_id, **given, **more})


def failed(media_id: str, reason: str = "gone at the source", **more: Any) -> MediaDownloadFailed:
    occurred_at = iso(BEGIN + timedelta(seconds=60))
    given = {"epoch": 1, "attempts": 4, "occurred_at": occurred_at}
    return MediaDownloadFailed(**{"sync_id": SYNC, "media_id": media_id, "reason": reason, **given, **more})


def review_due(minutes: float) -> SyncReviewDue:
    """A review that many minutes after the sync was asked for."""
    return SyncReviewDue(occurred_at=iso(BEGIN + timedelta(minutes=minutes)))


def a_sync_of(count: int) -> list[Event]:
    """All that is known of a sync before its first download ends."""
    return [requested(), *[discovered(f"m{n}") for n in range(count)], listed(count)]


class Wire:
    """EventBridge's client, as far as the bus uses it."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.down = False

    def put_events(self, Entries: Sequence[Any]) -> dict[str, Any]:  # noqa: N803  # AWS's own name
        if self.down:
            failed_entry = {"ErrorCode": "InternalFailure", "ErrorMessage": "down"}
            return {"FailedEntryCount": len(Entries), "Entries": [failed_entry] * len(Entries)}
        self.sent += [(entry["DetailType"], json.loads(entry["Detail"])) for entry in Entries]
        return {"FailedEntryCount": 0, "Entries": [{"EventId": "e"}] * len(Entries)}


class Stage:
    """One syncs table, and as many summarizers on it as a test wants (`summarizer()`)."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.now = BEGIN + timedelta(minutes=1)
        self.wire = Wire()
        self.notifications: list[Notification] = []
        self.topic_down = False
        self.reports: dict[str, dict[str, Any]] = {}
        self.library: dict[str, dict[str, Any]] = {}
        self.inbox_is_empty = True
        self.metrics: list[tuple[str, int]] = []
        self.pauses: list[float] = []
        self.steps: list[str] = []
        self.before_step: Callable[[str], None] = lambda name: None
        self.syncs = SyncsTable(client, "syncs", sleep=self.pauses.append, jitter=lambda: 0.5)
        self.inbox = self.summarizer()

    def summarizer(self, syncs: SyncsTable | None = None) -> FactsInbox:
        table: Any = Watched(syncs or self.syncs, self)
        wire: Any = Watched(self.wire, self)
        bus = Bus(wire, name="b", source="cloud-sync.summarizer", now=lambda: self.now, sleep=lambda _: None)
        announcer = Announcer(
            syncs=table,
            bus=bus,
            notify=self._notify,
            store_report=self._store_report,
            where=WHERE,
            now=lambda: self.now,
        )
        deadline = timedelta(hours=12)
        core = Summarizer(
            syncs=table,
            announcer=announcer,
            deadline=deadline,
            now=lambda: self.now,
            count=lambda name, value: self.metrics.append((name, value)),
        )
        review = Review(
            syncs=table,
            summarizer=core,
            announcer=announcer,
            library=lambda ids: {i: self.library[i] for i in ids if i in self.library},
            inbox_is_empty=lambda: self.inbox_is_empty,
            deadline=deadline,
            now=lambda: self.now,
        )
        unused: Any = None
        return FactsInbox(unused, core, review)

    def tell(self, *facts: Event) -> None:
        """Hands a batch to the summarizer, and wants it to succeed."""
        assert self.inbox.react(facts) == {}

    def review(self, minutes: float) -> None:
        """A review so many minutes after the sync was asked for."""
        self.now = max(self.now, BEGIN + timedelta(minutes=minutes))
        self.tell(review_due(minutes))

    def sync(self, sync_id: str = SYNC) -> Sync:
        found = self.syncs.read(sync_id)
        assert found is not None
        return found

    def media(self, sync_id: str = SYNC) -> dict[str, Medium]:
        return {medium.media_id: medium for medium in self.syncs.all_media(sync_id)}

    def events(self, kind: str = "") -> list[dict[str, Any]]:
        """The data of the events on the bus."""
        return [detail["data"] for name, detail in self.wire.sent if not kind or name == kind]

    @property
    def event_names(self) -> list[str]:
        return [name for name, _ in self.wire.sent]

    def _notify(self, notification: Notification) -> None:
        self.note("notify")
        if self.topic_down:
            raise TransientError("the topic is down")
        self.notifications.append(notification)

    def _store_report(self, key: str, report: bytes) -> None:
        self.note("store_report")
        self.reports[key] = json.loads(report)

    def note(self, name: str) -> None:
        self.before_step(name)
        self.steps.append(name)


class Watched:
    """Lets a test act just before, or instead of, a call of something that changes the world."""

    CHANGES = ("write", "claim", "release", "mark_event_sent", "mark_notified", "put_events")

    def __init__(self, watched: Any, stage: Stage) -> None:
        self._watched = watched
        self._stage = stage

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._watched, name)
        if name not in self.CHANGES:
            return attribute

        def call(*args: Any, **more: Any) -> Any:
            self._stage.note(name)
            return attribute(*args, **more)

        return call


def create_table(resource: Any, name: str, partition: str, sort: tuple[str, str]) -> None:
    resource.create_table(
        TableName=name,
        KeySchema=[
            {"AttributeName": partition, "KeyType": "HASH"},
            {"AttributeName": sort[0], "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": partition, "AttributeType": "S"},
            {"AttributeName": sort[0], "AttributeType": sort[1]},
        ],
        BillingMode="PAY_PER_REQUEST",
    )


@functools.cache
def _resource() -> Any:
    """Made once, as making it takes longer than most tests."""
    session = boto3.Session(region_name="eu-central-1", aws_access_key_id="test", aws_secret_access_key="test")
    return session.resource("dynamodb")


@contextmanager
def a_stage() -> Iterator[Stage]:
    with mock_aws():
        create_table(_resource(), "syncs", "sync_id", ("record", "S"))
        yield Stage(_resource().meta.client)
