"""The summarizer with its real inbox, and its table in the simulated DynamoDB; everything around them is recorded."""

import json
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, timedelta
from types import SimpleNamespace
from typing import Any, Literal

from aws_lambda_powertools import Logger

from services.shared.bus import Bus
from services.shared.errors import TransientError
from services.shared.events import Event, OperatorsNotified
from services.shared.inbox.inbox import Inbox
from services.shared.library.records import MediumRecord
from services.shared.settings import ServiceSettings
from services.summarizer.announcing import Announcer
from services.summarizer.library_page import LibraryPage
from services.summarizer.notification import Notification
from services.summarizer.page.pages import Place
from services.summarizer.reactions import REACTIONS, Summarizer
from services.summarizer.records import ClosedSync, Medium, Sync
from services.summarizer.syncs_table import SyncsTable
from tests.unit.clocks import ManualClock
from tests.unit.inbox_fakes import CONTEXT, INBOX_URL, Queue, body_of, record
from tests.unit.summarizer_facts import BEGIN, DEADLINE, DEPLOYMENT, SYNC, review_due
from tools.simulator.dynamodb import DynamoDb, ResourceClient, Table

DAILY_HOUR = BEGIN.hour  # in UTC

Logger()  # the parent of the modules' loggers; in a function it is the handler's

SETTINGS = ServiceSettings(
    event_bus_name="bus", inbox_url=INBOX_URL, max_receives=10, retry_base_seconds=2, retry_cap_seconds=300
)


class Crash(BaseException):
    """The function is killed at this point: like a kill, nothing catches it."""


class Wire:
    """EventBridge's client, as far as the bus uses it."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.down = False

    def put_events(self, Entries: Sequence[Any]) -> dict[str, Any]:  # noqa: N803  # AWS's own name
        if self.down:
            return {"Entries": [{"ErrorCode": "InternalFailure"}] * len(Entries)}
        self.sent += [(entry["DetailType"], json.loads(entry["Detail"])) for entry in Entries]
        return {"Entries": [{"EventId": "e"}] * len(Entries)}


class Stage:
    """One syncs table, and as many summarizers on it as a test wants (`summarizer()`)."""

    def __init__(self, notify: Literal["all", "problems"] = "all") -> None:
        calm: Any = Calm()
        self.database = DynamoDb([Table("syncs", {"sync_id": "S", "record": "S"})], calm)
        client: Any = ResourceClient(self.database)
        self.clock = ManualClock(BEGIN + timedelta(minutes=1))
        self.syncs = SyncsTable(client, "syncs", clock=self.clock)
        self.wire = Wire()
        self.notifications: list[Notification] = []
        self.topic_is_down = False
        self.notify = notify
        self.reports: dict[str, dict[str, Any]] = {}
        self.pages: dict[str, str] = {}
        self.library_pages: list[str] = []  # each in place of the one before it
        self.library: dict[str, MediumRecord] = {}
        self.downloader_is_idle = True
        self.steps: list[str] = []
        self.before_step: Callable[[str], object] = lambda name: None
        self.inbox = self.summarizer()

    def summarizer(self) -> Inbox[Summarizer]:
        """Return another summarizer on the same table."""

        def watched(one: object) -> Any:
            return Watched(one, self)

        library: Any = SimpleNamespace(media=self._records)
        downloader_inbox: Any = SimpleNamespace(is_empty=lambda: self.downloader_is_idle)
        queue: Any = Queue()
        bus = Bus(watched(self.wire), name="bus", publisher="summarizer", clock=self.clock)
        reports = watched(
            SimpleNamespace(
                store=self._store_report,
                store_page=self._store_page,
                store_library_page=self._store_library_page,
            )
        )
        place = Place(env=DEPLOYMENT.env, zone=UTC, memory_mb=1024)
        announcer = Announcer(
            syncs=watched(self.syncs),
            bus=bus,
            topic=watched(SimpleNamespace(publish=self._notify)),
            reports=reports,
            deployment=DEPLOYMENT,
            place=place,
            clock=self.clock,
        )
        service = Summarizer(
            syncs=watched(self.syncs),
            announcer=announcer,
            page=LibraryPage(
                syncs=watched(self.syncs),
                library=library,
                reports=reports,
                place=place,
                daily_hour=DAILY_HOUR,
                clock=self.clock,
            ),
            library=library,
            downloader_inbox=downloader_inbox,
            deadline=DEADLINE,
            notify=self.notify,
            clock=self.clock,
            count=lambda name, value: None,
        )
        return Inbox(service, REACTIONS, bus=bus, queue=queue, settings=SETTINGS, clock=self.clock)

    def deliver(self, *events: Event, to: Inbox[Summarizer] | None = None) -> set[str]:
        """Deliver a batch. Returns the ids of the syncs whose events are to be delivered again ("" for reviews)."""
        bodies = [body_of(event, time=event.occurred_at) for event in events]
        records = [record(body, name=str(n)) for n, body in enumerate(bodies)]
        answer = (to or self.inbox).process({"Records": records}, CONTEXT)
        return {events[int(str(failure["itemIdentifier"]))].sync_id for failure in answer["batchItemFailures"]}

    def take(self, *events: Event) -> None:
        """Deliver a batch that has to succeed."""
        assert self.deliver(*events) == set()

    def review(self, minutes: float) -> None:
        """Review, so many minutes after the request."""
        self.wait_until(minutes)
        self.take(review_due(minutes))

    def wait_until(self, minutes: float) -> None:
        self.clock.moment = max(self.clock.moment, BEGIN + timedelta(minutes=minutes))

    def before(self, step: str, action: Callable[[], object], *, nth: int = 1) -> None:
        """Let this happen just before the nth step of that name from now on ("": of any name), and then no more."""
        left = nth

        def strike(name: str) -> None:
            nonlocal left
            left -= step in ("", name)
            if left == 0:
                self.undisturbed()
                action()

        self.before_step = strike

    def undisturbed(self) -> None:
        self.before_step = lambda name: None

    def sync(self, sync_id: str = SYNC) -> Sync:
        found = self.syncs.read(sync_id)
        assert found is not None
        return found

    def closed_sync(self) -> ClosedSync:
        sync = self.sync()
        assert isinstance(sync, ClosedSync)
        return sync

    @property
    def is_settled(self) -> bool:
        return self.syncs.unsettled() == []

    def medium(self, media_id: str) -> Medium:
        return self.syncs.media(SYNC, [media_id])[media_id]

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Return the data of the events of a kind on the bus."""
        return [detail["data"] for name, detail in self.wire.sent if name == kind]

    @property
    def event_names(self) -> list[str]:
        """The names of the events about syncs: all but those that say what was sent to operators."""
        return [name for name, _ in self.wire.sent if name != OperatorsNotified.__name__]

    @property
    def notified(self) -> list[str]:
        """The events that the notifications are about."""
        return [notification.about for notification in self.notifications]

    def _records(self, media_ids: Collection[str]) -> dict[str, MediumRecord]:
        return {media_id: self.library[media_id] for media_id in media_ids if media_id in self.library}

    def _notify(self, notification: Notification) -> None:
        if self.topic_is_down:
            raise TransientError("the topic is down")
        self.notifications.append(notification)

    def _store_report(self, sync_id: str, report: bytes) -> None:
        self.reports[sync_id] = json.loads(report)

    def _store_library_page(self, page: bytes) -> None:
        self.library_pages.append(page.decode())

    def _store_page(self, sync_id: str, page: bytes) -> None:
        self.pages[sync_id] = page.decode()


class Watched:
    """Lets a test act just before, or instead of, a step: a call that changes the world."""

    STEPS = (
        *("write", "tell", "claim", "release", "mark_event_sent", "mark_notified", "put_events", "publish", "store"),
        *("store_library_page", "keep_page", "import_into_history"),
    )

    def __init__(self, watched: object, stage: Stage) -> None:
        self._watched = watched
        self._stage = stage

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._watched, name)
        if name not in self.STEPS:
            return attribute

        def step(*args: Any, **more: Any) -> Any:
            self._stage.before_step(name)
            self._stage.steps.append(name)
            return attribute(*args, **more)

        return step


class Calm:
    """Effects of a simulated AWS in which each call is answered at once, and no fault strikes."""

    faults = SimpleNamespace(strike=lambda *_: None)

    def call(self, _operation: str, _subject: str, apply: Callable[[], Any], **_: Any) -> Any:
        return apply()
