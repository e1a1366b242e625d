"""What the embedded AWS asks roles and policies for beyond MiniStack, each against a started instance."""

import io
import json
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import boto3
import pytest
from botocore.exceptions import ClientError

from infra.service import publishing_as
from ops.local.emulator import ACCOUNT, REGION
from tests.contract.embedded_aws import EmbeddedAws

# What a function needs for its queue, its log and its traces.
pytestmark = pytest.mark.slow

NEEDS = (
    "sqs:ReceiveMessage",
    "sqs:GetQueueAttributes",
    "sqs:DeleteMessage",
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "xray:PutTraceSegments",
    "xray:PutTelemetryRecords",
)
_T = TypeVar("_T")


def statement(*actions: str, on: str = "*", when: Mapping[str, Any] | None = None) -> dict[str, Any]:
    allowed: dict[str, Any] = {"Effect": "Allow", "Action": [*actions], "Resource": on}
    return allowed | ({"Condition": {"ForAllValues:StringEquals": when}} if when else {})


def document(*statements: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


@dataclass
class Role:
    """A role whose one policy can be changed."""

    aws: EmbeddedAws
    service: str = "lambda.amazonaws.com"
    name: str = field(default_factory=lambda: f"role-{uuid.uuid4().hex}")

    def __post_init__(self) -> None:
        trusts = {"Effect": "Allow", "Principal": {"Service": self.service}, "Action": "sts:AssumeRole"}
        created = self.aws.client("iam").create_role(RoleName=self.name, AssumeRolePolicyDocument=document(trusts))
        self.arn: str = created["Role"]["Arn"]

    def allow(self, *statements: Mapping[str, Any]) -> None:
        self.aws.client("iam").put_role_policy(
            RoleName=self.name, PolicyName="only", PolicyDocument=document(*statements)
        )

    def client(self, name: str) -> Any:
        keys = self.aws.client("sts").assume_role(RoleArn=self.arn, RoleSessionName="test")["Credentials"]
        session = boto3.Session(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], region_name=REGION)
        return self.aws.client_of(session, name)

    def decisions(self) -> list[tuple[str, str, bool]]:
        """Action, resource and whether it was allowed."""
        lines = map(json.loads, self.aws.decisions.read_text().splitlines())
        return [(one["action"], one["resource"], one["allowed"]) for one in lines if one["role"] == self.name]


def eventually(look: Callable[[], _T], seconds: float = 10.0) -> _T:
    deadline = time.monotonic() + seconds
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


@dataclass
class Queue:
    aws: EmbeddedAws

    def __post_init__(self) -> None:
        self._sqs = self.aws.client("sqs")
        self.url: str = self._sqs.create_queue(QueueName=f"queue-{uuid.uuid4().hex}")["QueueUrl"]
        self.arn: str = self._all()["QueueArn"]

    def _all(self) -> dict[str, str]:
        answer = self._sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["All"])
        return dict(answer["Attributes"])

    def send(self) -> None:
        self._sqs.send_message(QueueUrl=self.url, MessageBody="message")

    def holds(self) -> tuple[int, int]:
        """How many messages are waiting, and how many are in someone's hands."""
        counts = self._all()
        return int(counts["ApproximateNumberOfMessages"]), int(counts["ApproximateNumberOfMessagesNotVisible"])

    def attributes(self) -> dict[str, str]:
        """Return the attributes of the first message, which stays in the queue."""
        (first, *_) = self._sqs.receive_message(QueueUrl=self.url, MessageAttributeNames=["All"], VisibilityTimeout=0)[
            "Messages"
        ]
        return {name: value["StringValue"] for name, value in first["MessageAttributes"].items()}

    def accepts_from(self, rule_arn: str) -> None:
        allowed = {
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": self.arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": rule_arn}},
        }
        self._sqs.set_queue_attributes(QueueUrl=self.url, Attributes={"Policy": document(allowed)})


@pytest.fixture
def bus(guarded: EmbeddedAws) -> tuple[str, str]:
    """A bus's name and ARN."""
    name = f"bus-{uuid.uuid4().hex}"
    return name, guarded.client("events").create_event_bus(Name=name)["EventBusArn"]


def entry(bus: str, source: str) -> dict[str, str]:
    return {"EventBusName": bus, "Source": source, "DetailType": "Happened", "Detail": "{}"}


# --- requests -------------------------------------------------------------------------------------------------------


def test_a_role_publishes_under_the_source_of_its_condition_alone(guarded: EmbeddedAws, bus: tuple[str, str]) -> None:
    name, arn = bus
    role = Role(guarded)
    role.allow(statement("events:PutEvents", on=arn, when={"events:source": "own"}))
    events = role.client("events")

    assert events.put_events(Entries=[entry(name, "own")] * 2)["FailedEntryCount"] == 0
    for entries in ([entry(name, "other")], [entry(name, "own"), entry(name, "other")]):
        with pytest.raises(ClientError, match="AccessDenied"):
            events.put_events(Entries=entries)


def test_the_condition_of_the_stack_allows_ten_entries_and_refuses_any_other_source_among_them(
    guarded: EmbeddedAws, bus: tuple[str, str]
) -> None:
    name, arn = bus
    role = Role(guarded)
    role.allow({**statement("events:PutEvents", on=arn), "Condition": publishing_as("own")})
    events = role.client("events")

    for entries in ([entry(name, "own")], [entry(name, "own")] * 10):
        assert events.put_events(Entries=entries)["FailedEntryCount"] == 0
    for others in (["other"], ["own"] * 9 + ["other"], ["other"] + ["own"] * 9):
        with pytest.raises(ClientError, match="AccessDenied"):
            events.put_events(Entries=[entry(name, source) for source in others])


def test_a_condition_on_one_source_refuses_the_list_that_a_request_has(
    guarded: EmbeddedAws, bus: tuple[str, str]
) -> None:
    """`events:source` has several values, so AWS promises nothing of a plain `StringEquals`."""
    name, arn = bus
    role = Role(guarded)
    role.allow({**statement("events:PutEvents", on=arn), "Condition": {"StringEquals": {"events:source": "own"}}})

    with pytest.raises(ClientError, match="AccessDenied"):
        role.client("events").put_events(Entries=[entry(name, "own")] * 10)


def test_a_condition_on_the_detail_type_counts_too(guarded: EmbeddedAws, bus: tuple[str, str]) -> None:
    name, arn = bus
    role = Role(guarded)
    role.allow(statement("events:PutEvents", on=arn, when={"events:detail-type": "Happened"}))

    assert role.client("events").put_events(Entries=[entry(name, "any")])["FailedEntryCount"] == 0
    with pytest.raises(ClientError, match="AccessDenied"):
        role.client("events").put_events(Entries=[{**entry(name, "any"), "DetailType": "Other"}])


def test_a_changed_policy_holds_from_the_next_request_on_and_each_decision_is_kept(
    guarded: EmbeddedAws, bus: tuple[str, str]
) -> None:
    name, arn = bus
    role = Role(guarded)
    role.allow(statement("events:PutEvents", on=arn))
    events = role.client("events")
    events.put_events(Entries=[entry(name, "any")])
    role.allow(statement("events:DescribeEventBus", on=arn))

    with pytest.raises(ClientError, match="AccessDenied"):
        events.put_events(Entries=[entry(name, "any")])

    assert role.decisions() == [("events:PutEvents", arn, True), ("events:PutEvents", arn, False)]


# --- what Lambda does for a function --------------------------------------------------------------------------------


@dataclass
class Function:
    """A traced function that reads a queue, with all that it needs."""

    aws: EmbeddedAws

    def __post_init__(self) -> None:
        self.role, self.queue = Role(self.aws), Queue(self.aws)
        self.needs(*NEEDS)
        self.name = f"function-{uuid.uuid4().hex}"
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            archive.writestr("own.py", "def handler(*_): print('at work')")
        functions = self.aws.client("lambda")
        functions.create_function(
            FunctionName=self.name,
            Runtime="python3.13",
            Handler="own.handler",
            Role=self.role.arn,
            Code={"ZipFile": content.getvalue()},
            TracingConfig={"Mode": "Active"},
        )
        functions.get_waiter("function_active_v2").wait(FunctionName=self.name, WaiterConfig={"Delay": 1})
        self.mapping = functions.create_event_source_mapping(
            FunctionName=self.name, EventSourceArn=self.queue.arn, BatchSize=1
        )["UUID"]

    def needs(self, *actions: str) -> None:
        self.role.allow(statement(*actions))

    def log(self) -> list[str]:
        with suppress(ClientError):  # there is no such log yet
            found = self.aws.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{self.name}")
            return [event["message"] for event in found["events"]]
        return []

    def traces(self) -> int:
        found = self.aws.client("xray").get_trace_summaries(StartTime=time.time() - 60, EndTime=time.time() + 1)
        return sum(one["ServiceIds"][0]["Name"] == self.name for one in found["TraceSummaries"])

    def refused(self, action: str) -> bool:
        return any(decided[0] == action and not decided[2] for decided in self.role.decisions())


@pytest.fixture
def function(guarded: EmbeddedAws) -> Iterator[Function]:
    made = Function(guarded)
    yield made
    guarded.client("lambda").delete_event_source_mapping(UUID=made.mapping)


def test_with_all_that_it_needs_a_function_takes_its_message_and_leaves_log_and_trace(function: Function) -> None:
    function.queue.send()

    assert eventually(lambda: function.log() and function.queue.holds() == (0, 0))
    assert any("at work" in line for line in function.log())
    assert function.traces() == 1
    assert {action for action, _, allowed in function.role.decisions() if allowed} == set(NEEDS)


@pytest.mark.parametrize("action", ["sqs:ReceiveMessage", "sqs:GetQueueAttributes"])
def test_a_queue_that_a_role_may_not_poll_stays_full_until_it_may(function: Function, action: str) -> None:
    function.needs(*(one for one in NEEDS if one != action))
    function.queue.send()

    assert eventually(lambda: function.refused(action))
    assert function.queue.holds() == (1, 0)
    assert function.log() == []
    function.needs(*NEEDS)
    assert eventually(lambda: function.log() and function.queue.holds() == (0, 0))


def test_a_message_that_a_role_may_not_delete_stays_in_the_queue(function: Function) -> None:
    function.needs(*(one for one in NEEDS if one != "sqs:DeleteMessage"))
    function.queue.send()

    assert eventually(lambda: function.refused("sqs:DeleteMessage"))
    assert function.log()
    assert function.queue.holds() == (0, 1)


@pytest.mark.parametrize("action", ["logs:CreateLogStream", "logs:PutLogEvents"])
def test_a_role_that_may_not_log_leaves_no_line(function: Function, action: str) -> None:
    function.needs(*(one for one in NEEDS if one != action))
    function.queue.send()

    assert eventually(lambda: function.refused(action) and function.queue.holds() == (0, 0))
    assert function.log() == []


def test_a_role_that_may_not_trace_leaves_no_trace(function: Function) -> None:
    function.needs(*(one for one in NEEDS if one != "xray:PutTraceSegments"))
    function.queue.send()

    assert eventually(lambda: function.log() and function.refused("xray:PutTraceSegments"))
    assert function.traces() == 0


# --- what EventBridge may do ----------------------------------------------------------------------------------------


def test_a_rule_fills_a_queue_whose_policy_lets_it_or_else_leaves_a_dead_letter(
    guarded: EmbeddedAws, bus: tuple[str, str]
) -> None:
    name, _ = bus
    events, queue, dead_letters = guarded.client("events"), Queue(guarded), Queue(guarded)
    rule = events.put_rule(Name="all", EventBusName=name, EventPattern='{"source": ["own"]}')["RuleArn"]
    target = {"Id": "queue", "Arn": queue.arn, "DeadLetterConfig": {"Arn": dead_letters.arn}}
    events.put_targets(Rule="all", EventBusName=name, Targets=[target])

    def after_an_event() -> tuple[int, int]:
        events.put_events(Entries=[entry(name, "own")])
        return queue.holds()[0], dead_letters.holds()[0]

    assert after_an_event() == (0, 0)
    dead_letters.accepts_from(rule)
    assert after_an_event() == (0, 1)
    assert dead_letters.attributes() == {"RULE_ARN": rule, "TARGET_ARN": queue.arn, "ERROR_CODE": "NO_PERMISSIONS"}
    queue.accepts_from(f"{rule}-other")
    assert after_an_event() == (0, 2)
    queue.accepts_from(rule)
    assert after_an_event() == (1, 2)


def test_a_rule_writes_into_a_log_group_whose_policy_lets_it(guarded: EmbeddedAws, bus: tuple[str, str]) -> None:
    name, _ = bus
    events, logs, group = guarded.client("events"), guarded.client("logs"), f"/aws/events/{name}"
    logs.create_log_group(logGroupName=group)
    arn = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}"
    rule = events.put_rule(Name="journal", EventBusName=name, EventPattern='{"source": ["own"]}')["RuleArn"]
    events.put_targets(Rule="journal", EventBusName=name, Targets=[{"Id": "log", "Arn": arn}])

    def lines_after_an_event_with(*allowed: Mapping[str, Any]) -> int:
        if allowed:
            logs.put_resource_policy(policyName=name, policyDocument=document(*allowed))
        events.put_events(Entries=[entry(name, "own")])
        return len(logs.filter_log_events(logGroupName=group)["events"])

    def for_eventbridge(action: str, source: str = rule, on: str = arn) -> dict[str, Any]:
        trusted = {
            "Principal": {"Service": "events.amazonaws.com"},
            "Condition": {"ArnEquals": {"aws:SourceArn": source}},
        }
        return {**statement(action, on=f"{on}:*"), **trusted}

    create, put = for_eventbridge("logs:CreateLogStream"), for_eventbridge("logs:PutLogEvents")
    assert lines_after_an_event_with() == 0
    assert lines_after_an_event_with(create) == 0
    assert lines_after_an_event_with(create, for_eventbridge("logs:PutLogEvents", source=f"{rule}-other")) == 0
    assert lines_after_an_event_with(create, for_eventbridge("logs:PutLogEvents", on=f"{arn}-other")) == 0
    assert lines_after_an_event_with(create, put) == 1
    assert lines_after_an_event_with(create, put, {**put, "Effect": "Deny"}) == 1


def test_a_schedule_publishes_with_its_role_or_else_leaves_a_dead_letter(
    guarded: EmbeddedAws, bus: tuple[str, str]
) -> None:
    name, arn = bus
    role, published, dead_letters = Role(guarded, "scheduler.amazonaws.com"), Queue(guarded), Queue(guarded)
    events = guarded.client("events")
    rule = events.put_rule(Name="all", EventBusName=name, EventPattern='{"source": [{"prefix": ""}]}')["RuleArn"]
    events.put_targets(Rule="all", EventBusName=name, Targets=[{"Id": "queue", "Arn": published.arn}])
    published.accepts_from(rule)
    own = statement("events:PutEvents", on=arn, when={"events:source": "own"})

    def fire(source: str, *statements: Mapping[str, Any]) -> None:
        role.allow(*statements)
        before = len(role.decisions())
        at = datetime.now(UTC) + timedelta(seconds=2)
        guarded.client("scheduler").create_schedule(
            Name=f"schedule-{uuid.uuid4().hex}",
            ScheduleExpression=f"at({at:%Y-%m-%dT%H:%M:%S})",
            FlexibleTimeWindow={"Mode": "OFF"},
            ActionAfterCompletion="DELETE",
            Target={
                "Arn": arn,
                "RoleArn": role.arn,
                "Input": "{}",
                "EventBridgeParameters": {"Source": source, "DetailType": "Due"},
                "DeadLetterConfig": {"Arn": dead_letters.arn},
            },
        )
        assert eventually(lambda: len(role.decisions()) > before)

    def hold(events_: int, letters: int) -> bool:
        return eventually(lambda: (published.holds()[0], dead_letters.holds()[0]) == (events_, letters))

    fire("own", own)
    assert hold(1, 0)
    fire("other", own)  # neither published nor kept
    fire("other", own, statement("sqs:SendMessage", on=dead_letters.arn))
    assert hold(1, 1)


def test_without_iam_nothing_is_asked(aws: EmbeddedAws) -> None:
    role = Role(aws)
    bus = f"bus-{uuid.uuid4().hex}"
    aws.client("events").create_event_bus(Name=bus)

    assert role.client("events").put_events(Entries=[entry(bus, "any")])["FailedEntryCount"] == 0
    assert not aws.decisions.exists()
