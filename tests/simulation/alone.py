"""The simulated AWS by itself: its clients, called as boto3's are, without a run around them."""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from tests.simulation.bus import Bus, EventsClient, Rule
from tests.simulation.dynamodb import DynamoDb, ResourceClient, Table, TypedClient
from tests.simulation.effects import Effects
from tests.simulation.faults import Fault, Faults
from tests.simulation.queues import Queue, Sqs, SqsClient
from tests.simulation.s3 import S3, S3Client
from tests.simulation.secrets_and_topics import Secrets, SecretsClient, SnsClient, Topic
from tests.simulation.trace import Trace
from tests.simulation.virtual import Process, Scheduler

_T = TypeVar("_T")
SOURCE = "cloud-sync.downloader"


class AwsAlone:
    """One of each. Every call goes through `do`, which makes it a task of its own."""

    def __init__(
        self,
        *,
        tables: Mapping[str, Mapping[str, str]] | None = None,
        patterns: Mapping[str, Mapping[str, Sequence[str]]] | None = None,
        rates: Mapping[Fault, float] | None = None,
        seed: int = 0,
        max_receives: int = 3,
        visibility: float = 30.0,
    ) -> None:
        """`tables`: key attributes and their types. `patterns`: of rules, by the name of the queue that each fills."""
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
        self.bucket = S3("bucket", self.effects, smallest_part=5)
        self.secret_values = Secrets({"secret": "{}"}, self.effects)
        self.topic = Topic("topic", self.effects)
        self.dynamodb = ResourceClient(self.database)
        self.plain_dynamodb = TypedClient(self.database)
        self.events = EventsClient(self.bus, SOURCE)
        self.s3 = S3Client(self.bucket)
        self.secretsmanager = SecretsClient(self.secret_values)
        self.sns = SnsClient(self.topic)
        self.queue_client = SqsClient(self.sqs)

    def do(self, call: Callable[[], _T]) -> _T:
        """What the call returns or raises, when virtual time has brought it to its end."""
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
        """Begins these calls at the same moment, and lets them end."""
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
