"""A run: the whole system in one scenario, until nothing is left to happen."""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, ClassVar

from services.shared.events import source_of
from tools.simulator.bus import Accepted, Bus, EventsClient, Rule
from tools.simulator.dynamodb import DynamoDb, ResourceClient, Table
from tools.simulator.effects import Effects
from tools.simulator.ending import Ending
from tools.simulator.faults import Fault, Faults
from tools.simulator.field import CASES, begin
from tools.simulator.functions import Environment, Function
from tools.simulator.gopro import CANARY, Account, GoPro
from tools.simulator.invariants import Invariants, Violation
from tools.simulator.loading import LOG, SMALLEST_PART, services
from tools.simulator.network import CLOUD
from tools.simulator.queues import Queue, Sqs, SqsClient
from tools.simulator.s3 import S3, S3Client
from tools.simulator.scenario import HOUR, POISON, WRONG_SECRET, Action, Options, Scenario, added_medium, scenario
from tools.simulator.secrets_and_topics import Secrets, SecretsClient, SnsClient, Topic
from tools.simulator.trace import Trace
from tools.simulator.virtual import STAGE, Scheduler, VirtualClock
from tools.simulator.wiring import ServiceWires, wires

_A_NIGHT = 24 * HOUR
_RATHER_NEW = ("camera", "expires_at", "seconds")  # fields that an older version might not write
_LATE_FAULTS = HOUR / 2
_LONGEST = 15 * HOUR  # after the last request; a sync's deadline is 12 hours


@dataclass
class Outcome:
    """The outcome of a run."""

    seed: int
    options: Options
    violations: list[Violation]
    trace: Trace
    strikes: list[Any]
    boundaries: Mapping[str, int]  # number of kills at each boundary that the run reached
    name: str
    effects: int = 0
    stamp: str = ""  # digest of the history
    faults: Mapping[str, int] = field(default_factory=dict)


def run(seed: int, options: Options | None = None) -> Outcome:
    """Run the scenario of a seed, and check all invariants."""
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
        self._pending = 0  # actions still to come
        self._quiet_reviews = 0
        self._over = False
        self._phases = self._late_phases()
        self.last_request = plan.start

    @property
    def killed(self) -> set[str]:
        """Return the names of the invocations that did not finish."""
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
        """Return the records of a sync's media, by media id."""
        items = self.tables["Syncs"].plain(sync_id)
        return {item["media_id"]: item for item in items if item["record"].startswith("medium#")}

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
        self.secrets = Secrets(content, self.effects, random.Random(self.plan.seed * 5 + 2))
        host = self.wires.services["downloader"].environment["DOWNLOAD_HOSTS"].split(",")[0]
        self.gopro = GoPro(account, list(plan.library), self.effects, cdn_host=host, url_seconds=plan.url_seconds)
        self.gopro.outages = [(plan.start + begin, plan.start + end) for begin, end in plan.outages]
        CLOUD.gopro = self.gopro

    def _function(self, service: ServiceWires) -> Function:
        handler = services()[f"{service.name}.handler"]
        own = {**service.environment, **{k: v for k, v in self.plan.settings.items() if k in service.environment}}
        settings = handler.from_environment(handler.Settings, own)

        def build(generation: int) -> Environment:
            inbox = handler.build(settings, self._session(source_of(service.name)), clock=VirtualClock())
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

    def client(self, name: str, source: str) -> Any:
        """Return a boto3 client for a function whose events have this source."""
        clients: dict[str, Callable[[], Any]] = {
            "dynamodb": lambda: ResourceClient(self.database),
            "events": lambda: EventsClient(self.bus, source),
            "s3": lambda: S3Client(self.s3),
            "secretsmanager": lambda: SecretsClient(self.secrets),
            "sns": lambda: SnsClient(self.topic),
            "sqs": lambda: SqsClient(self.sqs),
        }
        return clients[name]()

    def _session(self, source: str) -> Any:
        return SimpleNamespace(
            client=lambda name, **_: self.client(name, source),
            resource=lambda name: SimpleNamespace(meta=SimpleNamespace(client=self.client(name, source))),
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
        services().set_page_size(self.plan.page_size)
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
        """Publish the quarter-hourly review, and check whether the run is over."""
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
        """Return the ids of the syncs that the summarizer's table marks as unsettled."""
        return [key[1] for key in self.tables["Syncs"].items if key[0] == "#unsettled"]

    def _late_phases(self) -> Iterator[bool]:
        """Run the phases after the end; each begins when the one before has ended."""
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
            moment = max(self.scheduler.now, plan.start + plan.nights_later * _A_NIGHT)
            self.last_request = moment
            for change in plan.overnight:
                self._plan_action(max(self.scheduler.now, moment - 60), change)
            self._plan_action(moment, Action(moment - plan.start, "manual", "next-night", {"sync_id": "next-night"}))
            yield True

    def _redrive(self) -> bool:
        """Redrive all dead letters to their inboxes, as an operator does."""
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
        elif action.kind == "cancel":
            self.bus.take("cloud-sync.operator", "SyncCancelRequested", json.dumps({"sync_id": action.sync_id}))
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
        elif action.fault in CASES:
            self._begin_case(action, action.fault)
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
                medium.add_file(f"{label}/default/{number}", number, 9)
                medium.changed_at = self.scheduler.now
            elif action.kind == "replace":
                self._replace(action)
        self.gopro.remember()

    def _begin_case(self, action: Action, case: Fault) -> None:
        plan, library = self.plan, self.gopro.library
        medium = library.get(plan.library[action.number].id) if action.number < len(plan.library) else None
        begin(case, self.gopro, medium, random.Random(plan.seed * 31 + action.number))
        self.trace.add("world", f"{case}: {medium.id if medium else ''}", "")
        self.gopro.remember()

    def _replace(self, action: Action) -> None:
        medium = self.plan.library[action.number]
        file = medium.files[-1]
        # Without an ETag only the size distinguishes two versions: a known limit.
        size = len(file.body) + (3 if medium.etags == "none" or len(file.versions) % 2 else 0)
        file.renew(medium, size)

    def events(self, name: str) -> list[Accepted]:
        return [event for event in self.bus.archive if event.name == name]
