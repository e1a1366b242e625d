"""A run: the whole system in one scenario, until nothing is left to happen."""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, ClassVar

from tests.simulation import loading
from tests.simulation.bus import Accepted, Bus, EventsClient, Rule
from tests.simulation.dynamodb import DynamoDb, ResourceClient, Table, TypedClient
from tests.simulation.effects import Effects
from tests.simulation.ending import Ending
from tests.simulation.faults import Faults
from tests.simulation.functions import Environment, Function
from tests.simulation.gopro import CANARY, Account, GoPro, make_file
from tests.simulation.invariants import Invariants, Violation
from tests.simulation.loading import LOG, SMALLEST_PART, services
from tests.simulation.network import CLOUD
from tests.simulation.queues import Queue, Sqs, SqsClient
from tests.simulation.s3 import S3, S3Client
from tests.simulation.scenario import HOUR, POISON, WRONG_SECRET, Action, Options, Scenario, added_medium, scenario
from tests.simulation.secrets_and_topics import Secrets, SecretsClient, SnsClient, Topic
from tests.simulation.trace import Trace
from tests.simulation.virtual import STAGE, Scheduler
from tests.simulation.wiring import ServiceWires, wires

_NEXT_NIGHT = 24 * HOUR
_RATHER_NEW = ("camera", "expires_at", "seconds")  # fields that an older version might not write
_LATE_FAULTS = HOUR / 2
_LONGEST = 15 * HOUR  # from the last request; a sync has 12


@dataclass
class Outcome:
    """What came of a run."""

    seed: int
    options: Options
    violations: list[Violation]
    trace: Trace
    strikes: list[Any]
    boundaries: Mapping[str, int]  # how often a process was killed at each, at those that the run came to
    name: str
    effects: int = 0
    stamp: str = ""  # of all that happened
    faults: Mapping[str, int] = field(default_factory=dict)


def run(seed: int, options: Options | None = None) -> Outcome:
    """Runs the scenario of a seed, and checks what has to hold."""
    options = options or Options()
    world = World(options.apply(scenario(seed)), options)
    return world.run()


class World:
    trace_kind: ClassVar[type[Trace]] = Trace
    most_steps: ClassVar[int] = 400_000

    def __init__(self, plan: Scenario, options: Options) -> None:
        self.plan = plan
        self.options = options
        self.wires = wires()
        self.scheduler = Scheduler(plan.start)
        self.trace = self.trace_kind(self.scheduler)
        self.faults = Faults(plan.seed, plan.rates, plan.most_strikes, options.only, plan.planned)
        self.chance = random.Random(plan.seed * 2 + 1)
        self.effects = Effects(self.scheduler, self.faults, self.trace, random.Random(plan.seed * 2))
        STAGE.set(self.scheduler, random.Random(plan.seed * 3 + 1))
        self._make_aws()
        self._make_gopro()
        self.invariants = Invariants(self)
        LOG.sink = self.invariants.on_log
        self.functions = {name: self._function(service) for name, service in self.wires.services.items()}
        self._pending = 0  # actions that are still to come
        self._quiet_reviews = 0
        self._over = False
        self._phases = self._late_phases()
        self.last_request = plan.start

    @property
    def killed(self) -> set[str]:
        """The invocations that did not come to their end."""
        return self.effects.killed

    # The parts

    def _make_aws(self) -> None:
        plan, wires = self.plan, self.wires
        self.sqs = Sqs(self.effects, old_handles_work=plan.old_handles_work)
        rules = []
        for service in wires.services.values():
            dead = self.sqs.add(Queue(service.dead_letters, service.dead_letters, 30.0))
            inbox = self.sqs.add(Queue(service.inbox, service.inbox, service.visibility, service.max_receives, dead))
            rules.append(Rule(service.pattern, inbox))
        self.bus = Bus(wires.bus, rules, self.sqs, self.effects)
        if plan.foreign_fields:
            self.bus.decorate = self._as_another_version_writes
        self.database = DynamoDb([Table(name, key) for name, key in wires.tables.items()], self.effects)
        self.s3 = S3(
            wires.bucket,
            self.effects,
            smallest_part=SMALLEST_PART,
            listing_granted=plan.listing_granted,
            again=plan.second_complete,
        )
        self.topic = Topic(wires.topic, self.effects)
        self.tables = {
            name: self.database.tables[wires.outputs[f"{name}TableName"]]
            for name in ("Library", "Syncs", "Authenticator")
        }

    def media_of(self, sync_id: str) -> dict[str, dict[str, Any]]:
        """The records of a sync's media, by media id."""
        items = self.tables["Syncs"].plain()
        return {i["media_id"]: i for i in items if i["sync_id"] == sync_id and i["record"].startswith("medium#")}

    def _as_another_version_writes(self, name: str, detail: str) -> str:
        if self.chance.random() < 0.5:
            self.trace.reach(f"{name} of this version")
            return detail
        self.trace.reach(f"{name} of another version")
        content = json.loads(detail)
        for part in ("metadata", "data"):
            if isinstance(content.get(part), dict):
                content[part]["something_new"] = {"of": [1, 2]}
                for field_name in _RATHER_NEW:
                    content[part].pop(field_name, None)
        return json.dumps(content)

    def _make_gopro(self) -> None:
        plan = self.plan
        good_secret = f"{CANARY}client-secret"
        account = Account(
            client_id="client",
            client_secret=good_secret,
            username="somebody",
            password=f"{CANARY}password",
            refresh_token=f"{CANARY}refresh-0",
            lifetime=plan.lifetime,
            rotates=plan.rotates,
            password_works=plan.password_works,
        )
        client = {
            "client_id": "client",
            "client_secret": WRONG_SECRET if plan.access == "wrong" else good_secret,
        }
        login = {"username": account.username, "password": account.password}
        refresh = {"refresh_token": account.refresh_token}
        pasted = {"access_token": f"{CANARY}access-pasted"}
        credentials: Mapping[str, str] = {
            "both": {**client, **login, **refresh},
            "wrong": {**client, **login, **refresh},
            "refresh": {**client, **refresh},
            "password": {**client, **login},
            "pasted": pasted,
            "empty": {},
        }[plan.access]
        if plan.access == "pasted":
            account.access[pasted["access_token"]] = self.scheduler.now + 40 * HOUR
        content = dict.fromkeys(self.wires.secrets, "{}")
        content[self.wires.credentials] = json.dumps(credentials)
        self.secrets = Secrets(content, self.effects)
        host = self.wires.services["downloader"].environment["DOWNLOAD_HOSTS"].split(",")[0]
        self.gopro = GoPro(account, list(plan.library), self.effects, cdn_host=host, url_seconds=plan.url_seconds)
        self.gopro.outages = [(plan.start + begin, plan.start + end) for begin, end in plan.outages]
        CLOUD.gopro = self.gopro

    def _function(self, service: ServiceWires) -> Function:
        handler = services()[f"{service.name}.handler"]
        own = {**service.environment, **{k: v for k, v in self.plan.settings.items() if k in service.environment}}
        settings = handler.from_environment(handler.Settings, own)

        def build(generation: int) -> Environment:
            inbox = handler.build(settings, self._session(handler.SOURCE))
            skew = self.plan.skew * (2 * self.chance.random() - 1)
            return Environment(inbox.process, skew, generation)

        return Function(
            service,
            self.sqs.queues[service.inbox],
            self.sqs,
            self.effects,
            build=build,
            on_error=self.invariants.unforeseen,
            chance=random.Random(self.chance.random()),
        )

    def _session(self, source: str) -> Any:
        resource = ResourceClient(self.database)
        clients: dict[str, Callable[[], Any]] = {
            "dynamodb": lambda: TypedClient(self.database),
            "events": lambda: EventsClient(self.bus, source),
            "s3": lambda: S3Client(self.s3),
            "secretsmanager": lambda: SecretsClient(self.secrets),
            "sns": lambda: SnsClient(self.topic),
            "sqs": lambda: SqsClient(self.sqs),
        }
        return SimpleNamespace(
            client=lambda name, **_: clients[name](),
            resource=lambda _: SimpleNamespace(meta=SimpleNamespace(client=resource)),
        )

    # The run

    def run(self) -> Outcome:
        plan = self.plan
        try:
            self._begin()
            while not self._over and self.scheduler.step():
                if len(self.trace) > self.most_steps:
                    self.invariants.violated("I7", "the run has no end")
                    break
            if not any(violation.invariant == "I7" for violation in self.invariants.violations):
                Ending(self, self.invariants).check()
        finally:
            processes = [process for function in self.functions.values() for process in function.processes]
            self.scheduler.close(processes)
            STAGE.set(None, random.Random(0))
            LOG.sink = None
        counts = Counter({str(fault): count for fault, count in plan.timed_faults().items()})
        counts.update(strike.fault for strike in self.faults.struck)
        return Outcome(
            seed=plan.seed,
            options=self.options,
            violations=self.invariants.violations,
            trace=self.trace,
            strikes=list(self.faults.struck),
            boundaries={**dict.fromkeys(self.faults.boundaries(), 0), **self.effects.boundaries},
            name=plan.name,
            effects=len(self.trace),
            stamp=self.trace.digest(),
            faults=counts,
        )

    def _begin(self) -> None:
        loading.set_page_size(self.plan.page_size)
        for action in self.plan.actions:
            self._plan_action(self.plan.start + action.at, action)
        self.scheduler.after(self.plan.faults_until, self._end_faults)
        self.scheduler.after(self.chance.random() * self.wires.review_seconds, self._review)

    def _plan_action(self, moment: float, action: Action) -> None:
        self._pending += 1
        self.scheduler.at(moment, self._act, action)

    def _end_faults(self) -> None:
        self.faults.over = True

    def _review(self) -> None:
        """Every quarter of an hour; and the look at whether all is over, since between two of them nothing else is."""
        if self._is_quiet():
            self._quiet_reviews += 1
            if self._quiet_reviews > 1:
                self._quiet_reviews = 0
                if not next(self._phases, False):
                    self._over = True
                    return
        else:
            self._quiet_reviews = 0
        if self.scheduler.now > self.last_request + _LONGEST:
            self._over = True
            return
        self.bus.take("cloud-sync.schedule", "SyncReviewDue", "{}")
        self.scheduler.after(self.wires.review_seconds, self._review)

    def _is_quiet(self) -> bool:
        return (
            not self._pending
            and not self.bus.under_way
            and not any(function.running or function.queue.messages for function in self.functions.values())
            and not self.unsettled()
        )

    def unsettled(self) -> list[str]:
        """The syncs that the summarizer has not finished with, as its table has them."""
        return [key[1] for key in self.tables["Syncs"].items if key[0] == "#unsettled"]

    def _late_phases(self) -> Iterator[bool]:
        """What comes once all is over; each part begins when the one before has ended."""
        plan = self.plan
        if plan.late_faults:
            self.faults.over = False
            self.scheduler.after(_LATE_FAULTS, self._end_faults)
        if plan.redrive and self._redrive():
            yield True
        if plan.replay:
            self.trace.reach("archive replayed")
            self.trace.add("events.replay", f"{len(self.bus.archive)} events", "")
            for event in list(self.bus.archive):
                self.bus.deliver(event, replay="replay-1")
            yield True
        if plan.another_night:
            self.trace.reach("another night")
            moment = max(self.scheduler.now, plan.start + _NEXT_NIGHT)
            self.last_request = moment
            self._plan_action(moment, Action(moment - plan.start, "manual", "next-night", {"sync_id": "next-night"}))
            yield True

    def _redrive(self) -> bool:
        """Sends all dead letters to their inboxes again, as an operator does."""
        if self.plan.abort_before_redrive:
            for upload in list(self.s3.uploads.values()):
                self.s3.end(upload)
                self.trace.add("s3.lifecycle", f"{upload.key} {upload.id}", "")
        moved = 0
        for service in self.wires.services.values():
            dead = self.sqs.queues[service.dead_letters]
            for message in list(dead.messages.values()):
                del dead.messages[message.id]
                self.sqs.send(self.sqs.queues[service.inbox], message.body)
                moved += 1
        if moved:
            self.trace.reach("dead letters redriven")
            self.trace.add("operator.redrive", f"{moved} messages", "")
        return moved > 0

    def _act(self, action: Action) -> None:
        self._pending -= 1
        self.trace.add("world", f"{action.kind} {action.sync_id or action.number or ''}", "")
        if action.kind in ("daily", "catch-up"):
            due = f"{datetime.fromtimestamp(self.scheduler.now, UTC):%Y-%m-%dT%H:%M:%SZ}"
            detail = self.wires.schedule_input.replace("<aws.scheduler.scheduled-time>", due)
            self.last_request = self.scheduler.now
            self.bus.take("cloud-sync.schedule", "SyncRequested", detail)
        elif action.kind == "manual":
            self.last_request = self.scheduler.now
            self.bus.take("cloud-sync.operator", "SyncRequested", json.dumps(dict(action.detail)))
        elif action.kind == "poison":
            name, detail = POISON[action.number]
            self.last_request = self.scheduler.now
            self.bus.take("cloud-sync.operator", name, json.dumps(detail))
        elif action.kind == "redrive":
            self._redrive()
        elif action.kind == "revoke":
            self.gopro.revoke()
        elif action.kind == "redeploy":
            for function in self.functions.values():
                function.redeploy()
        else:
            self._change_library(action)

    def _change_library(self, action: Action) -> None:
        library = self.gopro.library
        if action.kind == "add":
            medium = added_medium(self.plan.seed, action.number)
            library[medium.id] = medium
        elif action.number < len(self.plan.library) and self.plan.library[action.number].id in library:
            medium = self.plan.library[action.number]
            if action.kind == "remove":
                self.gopro.gone[medium.id] = library.pop(medium.id)
            elif action.kind == "ready":
                medium.state, medium.available = "ready", True
            elif action.kind == "grow" and medium.shape in ("burst", "chaptered"):
                label = medium.files[0].origin.split("/")[0]
                number = medium.item_count + 1
                medium.files.append(make_file(medium.id, f"{label}/default/{number}", number, 9, 0, medium.etags))
            elif action.kind == "replace":
                self._replace(action)
        self.gopro.remember()

    def _replace(self, action: Action) -> None:
        medium = self.plan.library[action.number]
        file = medium.files[-1]
        # Without an ETag nothing but its size tells one version from another: a known limit.
        size = len(file.body) + (3 if medium.etags == "none" or len(file.versions) % 2 else 0)
        fresh = make_file(medium.id, file.origin, file.number, size, len(file.versions), medium.etags)
        file.body, file.etag = fresh.body, fresh.etag
        file.versions.append((file.body, file.etag))

    def events(self, name: str) -> list[Accepted]:
        return [event for event in self.bus.archive if event.name == name]
