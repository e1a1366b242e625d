"""The simulated AWS without a run around it: its clients, called as boto3's are."""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from tools.simulator.bus import Bus, EventsClient, Rule
from tools.simulator.dynamodb import DynamoDb, ResourceClient, Table
from tools.simulator.effects import Effects
from tools.simulator.faults import Fault, Faults
from tools.simulator.queues import Queue, Sqs, SqsClient
from tools.simulator.s3 import S3, S3Client
from tools.simulator.secrets_and_topics import Secrets, SecretsClient, SnsClient, Topic
from tools.simulator.trace import Trace
from tools.simulator.virtual import Process, Scheduler

_T = TypeVar("_T")
SOURCE = "cloud-sync.downloader"


class AwsAlone:
    """One client of each kind. Every call goes through `do`, which runs it as a task."""

    def __init__(
        self,
        *,
        tables: Mapping[str, Mapping[str, str]] | None = None,
        patterns: Mapping[str, Mapping[str, Sequence[str]]] | None = None,
        rates: Mapping[Fault, float] | None = None,
        seed: int = 0,
        max_receives: int = 3,
        visibility: float = 30.0,
        smallest_part: int = 5,
    ) -> None:
        """Take the tables' key attributes and types, and the rules' patterns by the name of the target queue."""
        self.scheduler = Scheduler(1_770_000_000.0)
        self.trace = Trace(self.scheduler)
        self.faults = Faults(seed, rates or {}, most=1_000_000)
        self.effects = Effects(self.scheduler, self.faults, self.trace, random.Random(seed))
        self.sqs = Sqs(self.effects, old_handles_work=False)
        self.dead = self.sqs.add(Queue("dead", "dead", visibility))
        self.queues = {
            name: self.sqs.add(Queue(name, name, visibility, max_receives, self.dead))
            for name in (patterns or {"inbox": {}})
        }
        rules = [Rule(pattern, self.queues[name]) for name, pattern in (patterns or {}).items()]
        self.bus = Bus("bus", rules, self.sqs, self.effects)
        self.database = DynamoDb([Table(name, key) for name, key in (tables or {}).items()], self.effects)
        self.bucket = S3("bucket", self.effects, smallest_part=smallest_part)
        self.secret_values = Secrets({"secret": "{}"}, self.effects)
        self.topic = Topic("topic", self.effects)
        self.dynamodb = ResourceClient(self.database)
        self.events = EventsClient(self.bus, SOURCE)
        self.s3 = S3Client(self.bucket)
        self.secretsmanager = SecretsClient(self.secret_values)
        self.sns = SnsClient(self.topic)
        self.queue_client = SqsClient(self.sqs)

    def do(self, call: Callable[[], _T]) -> _T:
        """Run the call to its end in virtual time, and return its result or raise its exception."""
        results: list[_T] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                results.append(call())
            except Exception as error:  # noqa: BLE001  # raised again below
                errors.append(error)

        task = self.scheduler.spawn(Process("alone"), run)
        while not task.done:
            if not self.scheduler.step():
                raise RuntimeError("the call waits for something that never comes")
        if errors:
            raise errors[0]
        return results[0]

    def all_at_once(self, *calls: Callable[[], Any]) -> None:
        """Start these calls at the same moment, and run them to their end."""
        tasks = [self.scheduler.spawn(Process(f"alone {number}"), call) for number, call in enumerate(calls)]
        while not all(task.done for task in tasks):
            self.scheduler.step()

    def pass_time(self, seconds: float) -> None:
        until = self.scheduler.now + seconds
        done: list[bool] = []
        self.scheduler.at(until, lambda: done.append(True))
        while not done:
            self.scheduler.step()

    def receive(self, queue: str = "inbox", most: int = 10) -> list[Any]:
        return self.sqs.receive(self.queues[queue], most, lambda messages: None)
