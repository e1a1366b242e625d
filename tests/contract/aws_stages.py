"""AWSs, furnished alike, that answer the same calls: the simulated one, and those that boto3 talks to."""

import itertools
import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.credentials import Credentials

from ops.local.emulator import REGION
from services.downloader.transfer import S3_CONFIG
from tools.simulator.alone import SOURCE, AwsAlone
from tools.simulator.bus import EventsClient
from tools.simulator.faults import Fault
from tools.simulator.s3 import Again
from tools.simulator.virtual import SimulatorError

BUS, SECRET, EMPTY_SECRET = "bus", "secret", "empty-secret"
DEAD_LETTERS = "dead"
FURNITURE = ("tables", "bucket", "secrets", "queues", "bus", "topic")
MAX_RECEIVES = 3
SMALLEST_PART = 5 << 20  # bytes
OTHER_SOURCE = "cloud-sync.operator"
TABLES: Mapping[str, Mapping[str, str]] = {  # key attributes and their types, as the template's tables have them
    "records": {"id": "S"},
    "files": {"media_id": "S", "item": "N"},
    "syncs": {"sync_id": "S", "record": "S"},
}
PATTERNS: Mapping[str, Mapping[str, Sequence[str]]] = {  # of rules, by the queue that each fills
    "inbox": {"detail-type": ["Asked", "Paused"], "source": [SOURCE, OTHER_SOURCE]},
    "facts": {"detail-type": ["Asked"], "source": [SOURCE]},
}
Sent = tuple[str, str, Mapping[str, str]]  # a notification: subject, message and attributes


class Malformed(Exception):
    """A request that is a mistake in the code. The simulator ends the run at it; AWS has a code for it."""


@dataclass(frozen=True)
class Received:
    """A message."""

    body: str
    handle: str
    receives: int


class SimulatedStage:
    """The simulated AWS."""

    name = "simulated"
    paging: Mapping[str, Any] = {}  # its pages are small

    def __init__(self, *, visibility: int = 30, again: Again = "gone", smallest_part: int = SMALLEST_PART) -> None:
        self.smallest_part = smallest_part  # bytes
        self.aws = AwsAlone(
            tables=TABLES,
            patterns=PATTERNS,
            rates={Fault.LOST_ANSWER: 1.0},
            max_receives=MAX_RECEIVES,
            visibility=visibility,
            smallest_part=smallest_part,
        )
        self.aws.faults.over = True
        self.aws.bucket.again = again
        self.aws.secret_values.content = {SECRET: "{}", EMPTY_SECRET: None}
        self.bucket = self.aws.bucket.bucket
        self.topic = self.aws.topic.arn
        self.queues = {name: name for name in (*PATTERNS, DEAD_LETTERS)}
        self.clients: Mapping[str, Any] = {
            "dynamodb": self.aws.dynamodb,
            "events": self.aws.events,
            "other_events": EventsClient(self.aws.bus, OTHER_SOURCE),
            "s3": self.aws.s3,
            "secretsmanager": self.aws.secretsmanager,
            "sns": self.aws.sns,
            "sqs": self.aws.queue_client,
        }

    def do(self, call: Callable[[], Any]) -> Any:
        """Return what the call returns. Raises `ClientError`, or `Malformed`."""
        try:
            return self.aws.do(call)
        except SimulatorError as error:
            self.aws.scheduler.broken = None
            raise Malformed(str(error)) from error

    def send(self, queue: str, body: str) -> None:
        """Send a message to a queue."""
        self.aws.sqs.send(self.aws.queues[queue], body)

    def receive(self, queue: str) -> list[Received]:
        """Receive what is visible, at most ten messages."""
        found = self.aws.sqs.receive(self.aws.sqs.queues[queue], 10, lambda messages: None)
        return [Received(message.body, message.handle, message.receives) for message in found]

    def notifications(self) -> list[Sent]:
        """Return all notifications."""
        return [(sent.subject, sent.body, sent.attributes) for sent in self.aws.topic.sent]

    def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        self.aws.pass_time(seconds)

    def let_deliver(self) -> None:
        """Give events that are under way a moment."""
        self.aws.pass_time(1)

    @contextmanager
    def losing_an_answer(self, _service: str, _operation: str) -> Iterator[None]:
        """Lose the first answer in here, so that the client sends the same request again."""
        self.aws.faults.over = False
        try:
            yield
        finally:
            self.aws.faults.over = True


@dataclass
class Clients:
    """boto3's clients, made once. The account that they speak for can be changed."""

    endpoint_url: str | None

    def __post_init__(self) -> None:
        plain = botocore.session.get_session()
        plain.set_credentials("test", "test")
        self._session = plain
        session = boto3.Session(botocore_session=plain, region_name=REGION)
        config = Config(proxies={})

        def client(name: str) -> Any:
            wanted = config.merge(S3_CONFIG) if name == "s3" else config
            return session.client(name, endpoint_url=self.endpoint_url, config=wanted)  # type: ignore[call-overload]

        self.by_name = {name: client(name) for name in ("events", "s3", "secretsmanager", "sns", "sqs")}
        self.by_name["other_events"] = self.by_name["events"]
        resource = session.resource("dynamodb", endpoint_url=self.endpoint_url, config=config)
        self.by_name["dynamodb"] = resource.meta.client

    def speak_for(self, account: str) -> None:
        """Make the next calls as this account."""
        credentials = self._session.get_credentials()
        assert isinstance(credentials, Credentials)
        credentials.access_key = account

    def __getitem__(self, name: str) -> Any:
        return self.by_name[name]


def add_table(dynamodb: Any, name: str, key: Mapping[str, str]) -> None:
    """Make a table. `key`: the types of the key attributes, by name."""
    dynamodb.create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": a, "AttributeType": t} for a, t in key.items()],
        KeySchema=[
            {"AttributeName": attribute, "KeyType": kind}
            for attribute, kind in zip(key, ("HASH", "RANGE"), strict=False)
        ],
        BillingMode="PAY_PER_REQUEST",
    )


@dataclass
class BotoStage:
    """An AWS that boto3 talks to. What `SimulatedStage` does, it does too."""

    name: str
    smallest_part: int
    clients: Clients
    bucket: str
    visibility: int = 30
    furnished: Collection[str] = FURNITURE
    topic: str = ""
    queues: dict[str, str] = field(default_factory=dict)  # their URLs
    paging: Mapping[str, Any] = field(default_factory=lambda: {"PaginationConfig": {"PageSize": 2}})

    def __post_init__(self) -> None:
        for name in self.furnished:
            getattr(self, f"_add_{name}")()

    def _add_tables(self) -> None:
        for name, key in TABLES.items():
            add_table(self.clients["dynamodb"], name, key)

    def _add_bucket(self) -> None:
        self.clients["s3"].create_bucket(Bucket=self.bucket)

    def _add_secrets(self) -> None:
        self.clients["secretsmanager"].create_secret(Name=SECRET, SecretString="{}")
        self.clients["secretsmanager"].create_secret(Name=EMPTY_SECRET)

    def _add_topic(self) -> None:
        self.topic = self.clients["sns"].create_topic(Name="topic")["TopicArn"]
        arn = self._arn("notifications")
        self.clients["sns"].subscribe(TopicArn=self.topic, Protocol="sqs", Endpoint=arn)

    def _add_queues(self) -> None:
        sqs = self.clients["sqs"]
        for name in (DEAD_LETTERS, "notifications", *PATTERNS):
            attributes = {"VisibilityTimeout": str(self.visibility)}
            if name in PATTERNS:
                redrive = {"deadLetterTargetArn": self._arn(DEAD_LETTERS), "maxReceiveCount": MAX_RECEIVES}
                attributes["RedrivePolicy"] = json.dumps(redrive)
            self.queues[name] = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]

    def _add_bus(self) -> None:
        events = self.clients["events"]
        events.create_event_bus(Name=BUS)
        for name, pattern in PATTERNS.items():
            events.put_rule(Name=name, EventBusName=BUS, EventPattern=json.dumps(pattern))
            events.put_targets(Rule=name, EventBusName=BUS, Targets=[{"Id": name, "Arn": self._arn(name)}])

    def _arn(self, queue: str) -> str:
        answer = self.clients["sqs"].get_queue_attributes(QueueUrl=self.queues[queue], AttributeNames=["QueueArn"])
        return str(answer["Attributes"]["QueueArn"])

    def do(self, call: Callable[[], Any]) -> Any:
        return call()

    def send(self, queue: str, body: str) -> None:
        self.clients["sqs"].send_message(QueueUrl=self.queues[queue], MessageBody=body)

    def receive(self, queue: str) -> list[Received]:
        answer = self.clients["sqs"].receive_message(
            QueueUrl=self.queues[queue],
            MaxNumberOfMessages=10,
            WaitTimeSeconds=0,
            MessageSystemAttributeNames=["ApproximateReceiveCount"],
        )
        return [
            Received(message["Body"], message["ReceiptHandle"], int(message["Attributes"]["ApproximateReceiveCount"]))
            for message in answer.get("Messages", [])
        ]

    def notifications(self) -> list[Sent]:
        sent = [json.loads(received.body) for received in self.receive("notifications")]
        return [
            (each["Subject"], each["Message"], {n: a["Value"] for n, a in each["MessageAttributes"].items()})
            for each in sent
        ]

    def pass_time(self, seconds: float) -> None:
        time.sleep(seconds)

    def let_deliver(self) -> None:
        time.sleep(0.3)

    @contextmanager
    def losing_an_answer(self, service: str, operation: str) -> Iterator[None]:
        emitter = self.clients[service].meta.events
        left = [0]  # seconds to wait before the request goes again

        def send_again(**_: Any) -> int | None:
            return left.pop() if left else None

        event = f"needs-retry.*.{operation}"
        emitter.register_first(event, send_again)
        try:
            yield
        finally:
            emitter.unregister(event, send_again)
        assert not left, "the call was not sent at all"


Stage = SimulatedStage | BotoStage


class EmbeddedStages:
    """The embedded AWS, over HTTP. Each stage is an account of its own, and so sees nothing of the others."""

    def __init__(self, endpoint_url: str) -> None:
        self._clients = Clients(endpoint_url)
        self._accounts = itertools.count(111_111_111_111)

    def stage(self, *, visibility: int) -> BotoStage:
        account = str(next(self._accounts))
        self._clients.speak_for(account)
        # The names of buckets are everybody's.
        return BotoStage("embedded", SMALLEST_PART, self._clients, f"bucket-{account}", visibility)
