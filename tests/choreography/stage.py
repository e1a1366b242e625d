"""The whole choreography in one process: the services as they are, wired by the synthesized template, on moto.

Nothing of the wiring is written down here: event patterns, receive counts, batch sizes and environments are read from
the template. moto routes events to queues by the rules; what Lambda's event sources do, `run` does: receive, call the
handler, delete what it did not report.
"""

import importlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any
from unittest import mock

import boto3
from aws_lambda_powertools.utilities.typing import LambdaContext
from moto import mock_aws

from tests.gopro_cloud import DEMO_CREDENTIALS, FakeGoProCloud
from tests.moto_s3 import take_bytearrays
from tests.template import Resource, ServiceWiring, Template

REGION = "eu-central-1"
ACCOUNT = "123456789012"
MOST_ROUNDS = 2_000


class Context(LambdaContext):
    """What Lambda tells a function, as far as the services ask."""

    def __init__(self, name: str, remaining_seconds: float = 800) -> None:
        self._function_name = name
        self._memory_limit_in_mb = 512
        self._invoked_function_arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"
        self._aws_request_id = "request"
        self.remaining_seconds = remaining_seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(self.remaining_seconds * 1000)


@dataclass
class Choreography:
    """The running system."""

    template: Template
    cloud: FakeGoProCloud
    session: boto3.Session
    physical: Mapping[str, str]  # names or URLs by logical id, as `Ref` gives them
    handlers: Mapping[str, ModuleType]
    notifications_url: str
    events_url: str
    contexts: dict[str, Callable[[], Context]] = field(default_factory=dict)
    clients: dict[str, Any] = field(default_factory=dict)
    in_hand: dict[str, list[str]] = field(default_factory=dict)  # the receipts of each service's last batch
    published: list[dict[str, Any]] = field(default_factory=list)
    looked_up: list[str] = field(default_factory=list)  # the media whose records were read in batches, as listings do

    def client(self, name: str) -> Any:
        if name not in self.clients:
            self.clients[name] = self.session.client(name)
        return self.clients[name]

    def output(self, name: str) -> str:
        return str(resolve(self.template, self.physical, self.template.body["Outputs"][name]["Value"]))

    def put(self, detail_type: str, detail: Mapping[str, Any], *, source: str = "cloud-sync.operator") -> str:
        """Puts one event on the bus as `aws events put-events` does; its id."""
        entry = {
            "EventBusName": self.output("EventBusName"),
            "Source": source,
            "DetailType": detail_type,
            "Detail": json.dumps(detail),
        }
        answer = self.client("events").put_events(Entries=[entry])
        assert answer["FailedEntryCount"] == 0
        return str(answer["Entries"][0]["EventId"])

    def sync(self, **detail: Any) -> str:
        """Requests a sync by hand and runs until nothing happens any more; the sync's id."""
        sync_id = self.put("SyncRequested", {"provider": "gopro", **detail})
        self.run()
        return str(detail.get("sync_id", sync_id))

    def review(self) -> None:
        self.put("SyncReviewDue", {}, source="cloud-sync.schedule")
        self.run()

    def run(self, *services: str) -> None:
        """Delivers messages to these services (all, when none is named) until their inboxes hold no visible one."""
        for _ in range(MOST_ROUNDS):
            # Every service gets its turn, so this must not end at the first that has something to do.
            if not any([self.deliver(name) for name in services or tuple(self.template.services)]):  # noqa: C419
                self._read_events()
                return
        raise AssertionError("the events go round and round")

    def deliver(self, name: str, *, times: int = 1) -> int:
        """One batch for a service, given to its handler `times` times; the number of its messages."""
        wiring = self.template.services[name]
        url, sqs = self.physical[wiring.inbox.id], self.client("sqs")
        received = sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=min(10, wiring.source["BatchSize"]),
            AttributeNames=["All"],
        ).get("Messages", [])
        if not received:
            return 0
        self.in_hand[name] = [message["ReceiptHandle"] for message in received]
        batch = {"Records": [self._record(wiring, message) for message in received]}
        context = self.contexts.get(name, lambda: Context(name))
        answer: Any = None
        for _ in range(times):
            answer = self.handlers[name].handler(batch, context())
        failed = {entry["itemIdentifier"] for entry in answer["batchItemFailures"]}
        for message in received:
            if message["MessageId"] not in failed:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return len(received)

    def come_back(self, name: str) -> None:
        """Shows a killed service's messages again, as the end of their time does."""
        url = self.physical[self.template.services[name].inbox.id]
        for receipt in self.in_hand[name]:
            self.client("sqs").change_message_visibility(QueueUrl=url, ReceiptHandle=receipt, VisibilityTimeout=0)

    def _record(self, wiring: ServiceWiring, message: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": message["Attributes"],
            "messageAttributes": {},
            "md5OfBody": message["MD5OfBody"],
            "eventSource": "aws:sqs",
            "eventSourceARN": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{wiring.inbox.id}",
            "awsRegion": REGION,
        }

    def _read_events(self) -> None:
        self.published += [json.loads(body) for body in self._drain(self.events_url)]

    def _drain(self, url: str) -> Iterator[str]:
        sqs = self.client("sqs")
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                yield message["Body"]

    def events(self, detail_type: str, sync_id: str | None = None) -> list[dict[str, Any]]:
        """The `data` of all events of a type that were on the bus."""
        details = [event["detail"] for event in self.published if event["detail-type"] == detail_type]
        return [d["data"] for d in details if sync_id in (None, d["metadata"]["sync_id"])]

    def notifications(self) -> list[dict[str, Any]]:
        """What the topic sent since the last look, as an SQS subscriber gets it."""
        return [json.loads(body) for body in self._drain(self.notifications_url)]

    def dead_letters(self, name: str) -> list[str]:
        """The bodies among a service's dead letters; they stay there."""
        # moto moves a message when the next receive finds it exhausted
        self.client("sqs").receive_message(QueueUrl=self.physical[self.template.services[name].inbox.id])
        url = self.physical[self.template.services[name].dead_letters.id]
        found = self.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0)
        return [message["Body"] for message in found.get("Messages", [])]

    def redrive(self, name: str) -> int:
        """Sends the dead letters to their inbox again, as SQS's redrive does; how many."""
        wiring, sqs = self.template.services[name], self.client("sqs")
        bodies = self.dead_letters(name)
        sqs.purge_queue(QueueUrl=self.physical[wiring.dead_letters.id])
        for body in bodies:
            sqs.send_message(QueueUrl=self.physical[wiring.inbox.id], MessageBody=body)
        return len(bodies)

    def objects(self, prefix: str = "gopro/") -> dict[str, bytes]:
        s3, bucket = self.client("s3"), self.output("MediaBucketName")
        listed = s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
        return {o["Key"]: s3.get_object(Bucket=bucket, Key=o["Key"])["Body"].read() for o in listed}

    def sync_record(self, sync_id: str) -> dict[str, Any]:
        table = self.session.resource("dynamodb").Table(self.output("SyncsTableName"))
        return dict(table.get_item(Key={"sync_id": sync_id, "record": "sync"})["Item"])


def resolve(template: Template, physical: Mapping[str, str], value: Any) -> Any:
    """A value of the template with its references resolved."""
    if isinstance(value, list):
        return [resolve(template, physical, entry) for entry in value]
    if not isinstance(value, dict):
        return value
    if "Ref" in value:
        return {"AWS::Region": REGION, "AWS::AccountId": ACCOUNT, "AWS::Partition": "aws"}.get(
            value["Ref"], physical.get(value["Ref"], value["Ref"])
        )
    if "Fn::GetAtt" in value:
        logical, attribute = value["Fn::GetAtt"]
        return physical[f"{logical}.{attribute}"] if f"{logical}.{attribute}" in physical else physical.get(logical)
    if "Fn::Join" in value:
        separator, entries = value["Fn::Join"]
        return separator.join(str(resolve(template, physical, entry)) for entry in entries)
    return {key: resolve(template, physical, entry) for key, entry in value.items()}


@contextmanager
def running(
    template: Template, cloud: FakeGoProCloud, *, credentials: Mapping[str, str] = DEMO_CREDENTIALS, **settings: str
) -> Iterator[Choreography]:
    """The system on an AWS of its own. `settings` replace variables of the functions' environments."""
    aws = {
        "AWS_ACCESS_KEY_ID": "choreography",
        "AWS_SECRET_ACCESS_KEY": "choreography",
        "AWS_DEFAULT_REGION": REGION,
        "POWERTOOLS_TRACE_DISABLED": "1",
    }
    local = {
        "GOPRO_API_URL": cloud.url,
        "DOWNLOAD_HOSTS": "127.0.0.1",
        "RETRY_BASE_SECONDS": "0",  # the waits themselves are the queue's, and measured on the embedded AWS
        **settings,
    }
    with mock.patch.dict(os.environ, aws), mock_aws():
        session = boto3.Session(region_name=REGION)
        take_bytearrays(session.events)
        looked_up: list[str] = []
        session.events.register(
            "provide-client-params.dynamodb.BatchGetItem", lambda params, **_: looked_up.extend(_media_ids(params))
        )
        physical = _create(template, session, credentials)
        handlers = {}
        for name, wiring in template.services.items():
            environment = {k: str(resolve(template, physical, v)) for k, v in wiring.environment.items()}
            environment |= {name: value for name, value in local.items() if name in environment}
            with mock.patch.dict(os.environ, environment):
                handlers[name] = _handler(name, session)
        yield Choreography(
            template,
            cloud,
            session,
            physical,
            handlers,
            notifications_url=_subscriber(template, session, physical),
            events_url=_every_event(template, session, physical),
            looked_up=looked_up,
        )


def _media_ids(batch: Mapping[str, Any]) -> Iterator[str]:
    return (key["media_id"] for asked in batch["RequestItems"].values() for key in asked["Keys"] if "media_id" in key)


def _handler(name: str, session: boto3.Session) -> ModuleType:
    module = importlib.import_module(f"services.{name}.handler")
    module.inbox = module.build(module.from_environment(module.Settings), session)  # type: ignore[attr-defined]
    return module


def _create(template: Template, session: boto3.Session, credentials: Mapping[str, str]) -> dict[str, str]:
    """Makes the stores, queues and rules that the template describes."""
    physical: dict[str, str] = {}
    dynamodb, sqs = session.client("dynamodb"), session.client("sqs")
    for table in template.of_type("AWS::DynamoDB::Table"):
        dynamodb.create_table(
            TableName=table.id,
            KeySchema=table["KeySchema"],
            AttributeDefinitions=table["AttributeDefinitions"],
            BillingMode="PAY_PER_REQUEST",
        )
        physical[table.id] = table.id
    for bucket in template.of_type("AWS::S3::Bucket"):
        physical[bucket.id] = bucket.id.lower()
        session.client("s3").create_bucket(
            Bucket=physical[bucket.id], CreateBucketConfiguration={"LocationConstraint": REGION}
        )
    for secret in template.of_type("AWS::SecretsManager::Secret"):
        physical[secret.id] = session.client("secretsmanager").create_secret(
            Name=secret.id, SecretString=secret.properties.get("SecretString", "{}")
        )["ARN"]
    for topic in template.of_type("AWS::SNS::Topic"):
        physical[topic.id] = session.client("sns").create_topic(Name=topic.id)["TopicArn"]
    # Dead-letter queues are those that others name, so they come first.
    for queue in sorted(template.of_type("AWS::SQS::Queue"), key=lambda queue: "RedrivePolicy" in queue.properties):
        physical[f"{queue.id}.Arn"] = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue.id}"
        physical[queue.id] = sqs.create_queue(
            QueueName=queue.id, Attributes=_queue_attributes(template, physical, queue)
        )["QueueUrl"]
    _create_bus(template, session, physical)
    where = resolve(template, physical, template.body["Outputs"]["CredentialsSecretName"]["Value"])
    session.client("secretsmanager").put_secret_value(SecretId=where, SecretString=json.dumps(dict(credentials)))
    return physical


def _queue_attributes(template: Template, physical: Mapping[str, str], queue: Resource) -> dict[str, str]:
    attributes = {"VisibilityTimeout": str(queue.properties.get("VisibilityTimeout", 30))}
    if "RedrivePolicy" in queue.properties:
        attributes["RedrivePolicy"] = json.dumps(resolve(template, physical, queue["RedrivePolicy"]))
    return attributes


def _create_bus(template: Template, session: boto3.Session, physical: dict[str, str]) -> None:
    events = session.client("events")
    for bus in template.of_type("AWS::Events::EventBus"):
        events.create_event_bus(Name=bus["Name"])
        physical[bus.id] = bus["Name"]
    for wiring in template.services.values():
        rule = wiring.rule
        bus_name = resolve(template, physical, rule["EventBusName"])
        pattern = json.dumps(resolve(template, physical, rule["EventPattern"]))
        events.put_rule(Name=rule.id, EventBusName=bus_name, EventPattern=pattern)
        _to_queue(events, rule.id, bus_name, physical[f"{wiring.inbox.id}.Arn"])


def _to_queue(events: Any, rule: str, bus_name: str, queue_arn: str) -> None:
    events.put_targets(Rule=rule, EventBusName=bus_name, Targets=[{"Id": "queue", "Arn": queue_arn}])


def _every_event(template: Template, session: boto3.Session, physical: Mapping[str, str]) -> str:
    """A queue that gets every event of the system."""
    url = session.client("sqs").create_queue(QueueName="every-event")["QueueUrl"]
    (bus,) = template.of_type("AWS::Events::EventBus")
    events = session.client("events")
    pattern = json.dumps({"source": [{"prefix": "cloud-sync."}]})
    events.put_rule(Name="every-event", EventBusName=physical[bus.id], EventPattern=pattern)
    _to_queue(events, "every-event", physical[bus.id], f"arn:aws:sqs:{REGION}:{ACCOUNT}:every-event")
    return str(url)


def _subscriber(template: Template, session: boto3.Session, physical: Mapping[str, str]) -> str:
    """A queue that is subscribed to the notifications."""
    url = session.client("sqs").create_queue(QueueName="notifications")["QueueUrl"]
    topic = resolve(template, physical, template.body["Outputs"]["NotificationTopicArn"]["Value"])
    session.client("sns").subscribe(
        TopicArn=topic, Protocol="sqs", Endpoint=f"arn:aws:sqs:{REGION}:{ACCOUNT}:notifications"
    )
    return str(url)


def bodies(notifications: Sequence[Mapping[str, Any]]) -> str:
    return "\n\n".join(f"{n['Subject']}\n{n['Message']}" for n in notifications)
