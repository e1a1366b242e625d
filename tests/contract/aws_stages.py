"""Three AWSs, furnished alike, that answer the same calls: the simulated one, moto, and the embedded one."""

import itertools
import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol
from unittest import mock

import boto3
import botocore.session
import moto.s3.models
import moto.sqs.models
from botocore.config import Config
from moto import mock_aws

from ops.local.emulator import REGION
from services.downloader.transfer import S3_CONFIG
from tests.moto_s3 import take_bytearrays
from tests.simulation.alone import SOURCE, AwsAlone
from tests.simulation.bus import EventsClient
from tests.simulation.faults import Fault
from tests.simulation.s3 import Again
from tests.simulation.virtual import SimulatorError

BUS, SECRET, EMPTY_SECRET = "bus", "secret", "empty-secret"
DEAD_LETTERS = "dead"
FURNITURE = ("tables", "bucket", "secrets", "queues", "bus", "topic")
MAX_RECEIVES = 3
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


class Malformed(Exception):
    """A request that is a mistake of the code's. The simulator ends the run at it; AWS has a code for it."""


@dataclass(frozen=True)
class Received:
    body: str
    handle: str
    receives: int


class Stage(Protocol):
    """An AWS, and what has to be done around its clients."""

    name: str
    smallest_part: int  # bytes
    clients: Mapping[str, Any]
    bucket: str
    topic: str  # its ARN
    queues: Mapping[str, str]  # their URLs
    paging: Mapping[str, Any]  # what makes its paginators give small pages

    def do(self, call: Callable[[], Any]) -> Any:
        """What the call returns. Raises `ClientError`, or `Malformed`."""

    def send(self, queue: str, body: str) -> None: ...

    def receive(self, queue: str) -> list[Received]:
        """What is visible, at most ten."""

    def notifications(self) -> list[tuple[str, str, Mapping[str, str]]]:
        """Subject, message and attributes of all that the topic has handed on."""

    def pass_time(self, seconds: float) -> None: ...

    def let_deliver(self) -> None:
        """Gives events that are under way a moment."""

    @contextmanager
    def losing_an_answer(self, service: str, operation: str) -> Iterator[None]:
        """The first answer in here is lost, so that the client sends the same request again."""


class SimulatedStage:
    name = "simulated"
    smallest_part = 5
    paging: Mapping[str, Any] = {}  # they are small

    def __init__(self, *, visibility: float, old_handles_work: bool = False, again: Again = "gone") -> None:
        self.aws = AwsAlone(
            tables=TABLES,
            patterns=PATTERNS,
            rates={Fault.LOST_ANSWER: 1.0},
            max_receives=MAX_RECEIVES,
            visibility=visibility,
        )
        self.aws.faults.over = True
        self.aws.sqs.old_handles_work = old_handles_work
        self.aws.bucket.again = again
        self.aws.secret_values.content = {SECRET: "{}", EMPTY_SECRET: None}
        self.bucket = self.aws.bucket.bucket
        self.topic = self.aws.topic.arn
        self.queues = {name: name for name in (*PATTERNS, DEAD_LETTERS)}
        self.clients = {
            "dynamodb": self.aws.dynamodb,
            "plain_dynamodb": self.aws.plain_dynamodb,
            "events": self.aws.events,
            "other_events": EventsClient(self.aws.bus, OTHER_SOURCE),
            "s3": self.aws.s3,
            "secretsmanager": self.aws.secretsmanager,
            "sns": self.aws.sns,
            "sqs": self.aws.queue_client,
        }

    def do(self, call: Callable[[], Any]) -> Any:
        try:
            return self.aws.do(call)
        except SimulatorError as error:
            self.aws.scheduler.broken = None
            raise Malformed(str(error)) from error

    def send(self, queue: str, body: str) -> None:
        self.aws.sqs.send(self.aws.queues[queue], body)

    def receive(self, queue: str) -> list[Received]:
        found = self.aws.sqs.receive(self.aws.sqs.queues[queue], 10, lambda messages: None)
        return [Received(message.body, message.handle, message.receives) for message in found]

    def notifications(self) -> list[tuple[str, str, Mapping[str, str]]]:
        return [(sent.subject, sent.body, sent.attributes) for sent in self.aws.topic.sent]

    def pass_time(self, seconds: float) -> None:
        self.aws.pass_time(seconds)

    def let_deliver(self) -> None:
        self.aws.pass_time(1)

    @contextmanager
    def losing_an_answer(self, service: str, operation: str) -> Iterator[None]:
        self.aws.faults.over = False
        try:
            yield
        finally:
            self.aws.faults.over = True


@dataclass
class Clients:
    """boto3's, made once. Whose account they speak for can be changed."""

    endpoint_url: str | None

    def __post_init__(self) -> None:
        plain = botocore.session.get_session()
        plain.set_credentials("test", "test")
        self._credentials = plain.get_credentials()
        session = boto3.Session(botocore_session=plain, region_name=REGION)
        config = Config(proxies={})

        def client(name: str) -> Any:
            wanted = config.merge(S3_CONFIG) if name == "s3" else config
            return session.client(name, endpoint_url=self.endpoint_url, config=wanted)  # type: ignore[call-overload]

        self.by_name = {name: client(name) for name in ("events", "s3", "secretsmanager", "sns", "sqs")}
        self.by_name["other_events"] = self.by_name["events"]
        self.by_name["plain_dynamodb"] = client("dynamodb")
        resource = session.resource("dynamodb", endpoint_url=self.endpoint_url, config=config)
        self.by_name["dynamodb"] = resource.meta.client

    def speak_for(self, account: str) -> None:
        self._credentials.access_key = account

    def __getitem__(self, name: str) -> Any:
        return self.by_name[name]


@dataclass
class BotoStage:
    """An AWS that boto3 talks to, furnished."""

    name: str
    smallest_part: int
    clients: Any
    bucket: str
    visibility: int
    wait: Callable[[float], None]
    delivery_seconds: float
    furnished: Collection[str] = FURNITURE
    topic: str = ""
    queues: dict[str, str] = field(default_factory=dict)
    paging = MappingProxyType({"PaginationConfig": {"PageSize": 2}})

    def __post_init__(self) -> None:
        for name in self.furnished:
            getattr(self, f"_add_{name}")()

    def _add_tables(self) -> None:
        for name, key in TABLES.items():
            self.clients["dynamodb"].create_table(
                TableName=name,
                AttributeDefinitions=[{"AttributeName": a, "AttributeType": t} for a, t in key.items()],
                KeySchema=[
                    {"AttributeName": attribute, "KeyType": kind}
                    for attribute, kind in zip(key, ("HASH", "RANGE"), strict=False)
                ],
                BillingMode="PAY_PER_REQUEST",
            )

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

    def notifications(self) -> list[tuple[str, str, Mapping[str, str]]]:
        told = [json.loads(received.body) for received in self.receive("notifications")]
        return [
            (each["Subject"], each["Message"], {n: a["Value"] for n, a in each["MessageAttributes"].items()})
            for each in told
        ]

    def pass_time(self, seconds: float) -> None:
        self.wait(seconds)

    def let_deliver(self) -> None:
        time.sleep(self.delivery_seconds)

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


class MotoStages:
    """In this process, and quick: its clock can be put forward, and its parts may be small."""

    SMALLEST_PART = 64

    def __init__(self) -> None:
        with mock_aws():
            self._clients = Clients(None)
            take_bytearrays(self._clients["s3"].meta.events)

    @property
    def clients(self) -> Mapping[str, Any]:
        return self._clients.by_name

    @contextmanager
    def stage(self, *, visibility: int = 30, furnished: Collection[str] = FURNITURE) -> Iterator[Stage]:
        """`furnished`: what is needed of it."""
        ahead = [0.0]
        plain_seconds, plain_milliseconds = moto.sqs.models.unix_time, moto.sqs.models.unix_time_millis
        with (
            mock_aws(),
            mock.patch.object(moto.sqs.models, "unix_time", lambda *a: plain_seconds(*a) + ahead[0]),
            mock.patch.object(moto.sqs.models, "unix_time_millis", lambda *a: plain_milliseconds(*a) + ahead[0] * 1000),
            mock.patch.object(moto.s3.models, "S3_UPLOAD_PART_MIN_SIZE", self.SMALLEST_PART),
        ):

            def wait(seconds: float) -> None:
                ahead[0] += seconds

            yield BotoStage("moto", self.SMALLEST_PART, self._clients, "bucket", visibility, wait, 0.0, furnished)


class EmbeddedStages:
    """Over HTTP. Each stage is an account of its own, and so sees nothing of the others."""

    SMALLEST_PART = 5 << 20

    def __init__(self, endpoint_url: str) -> None:
        self._clients = Clients(endpoint_url)
        self._accounts = itertools.count(111_111_111_111)

    @contextmanager
    def stage(self, *, visibility: int = 30) -> Iterator[Stage]:
        account = str(next(self._accounts))
        self._clients.speak_for(account)
        # The names of buckets are everybody's.
        yield BotoStage("embedded", self.SMALLEST_PART, self._clients, f"bucket-{account}", visibility, time.sleep, 0.3)


class SimulatedStages:
    @contextmanager
    def stage(self, *, visibility: int = 30, **variant: Any) -> Iterator[Stage]:
        yield SimulatedStage(visibility=visibility, **variant)
