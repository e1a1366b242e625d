"""What the services ask of EventBridge, SQS, SNS and Secrets Manager, and what these answer."""

import json
from typing import Any

from tests.contract.aws_stages import BUS, DEAD_LETTERS, EMPTY_SECRET, MAX_RECEIVES, OTHER_SOURCE, SECRET
from tests.contract.transcripts import BY_SQS, MALFORMED, Calls, Difference, lax, refused, script
from tools.simulator.alone import SOURCE

_OWN_BUS = "the roles of infra/stack.py: to another bus a service may put nothing, so the simulator ends the run"
_TWELVE_HOURS = "SQS's guide, visibility timeout: 12 hours from the receive on, which extending does not begin anew"
_DELETE = "API reference of DeleteMessage: an old handle, or one of a message that is gone, is no error"
_IN_FLIGHT = "API reference of ChangeMessageVisibility: MessageNotInflight"
_NO_VALUE = "API reference of GetSecretValue: ResourceNotFoundException, as of a secret without the version AWSCURRENT"
_SUBJECT = "API reference of Publish: a subject is ASCII without line breaks, of less than 100 characters"
COUNTS = [
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
]
DETAIL = {"metadata": {"event_id": "1", "hops": 0}, "data": {"filename": '\ud83d ä \\ " \n 😀', "size": 2**53 + 1}}


def entry(name: str = "Asked", **changes: Any) -> dict[str, str]:
    return {"EventBusName": BUS, "Source": SOURCE, "DetailType": name, "Detail": json.dumps(DETAIL), **changes}


# --- EventBridge ----------------------------------------------------------------------------------------------------


@script()
def events_go_where_a_rule_wants_them(aws: Calls) -> None:
    aws.events.put_events(Entries=[entry(), entry("Paused"), entry("Nobody wants this")])
    aws.receive("inbox", 2)
    aws.receive("facts")
    aws.other_events.put_events(Entries=[entry(Source=OTHER_SOURCE), entry("Unknown", Source=OTHER_SOURCE)])
    aws.receive("inbox")
    aws.receive("facts", 0)


@script()
def ten_events_at_once_and_no_more(aws: Calls) -> None:
    aws.events.put_events(Entries=[entry(Detail=json.dumps({"n": n})) for n in range(10)])
    aws.receive("facts", 10)
    aws.events.put_events(Entries=[entry() for _ in range(11)])
    aws.events.put_events(Entries=[])
    aws.receive("facts", 0)


@script()
def event_that_is_no_object_is_refused_by_its_place(aws: Calls) -> None:
    texts = ('{"n": 1}', "not JSON", '{"n": ', '{"n": 2}')
    aws.events.put_events(Entries=[entry(Detail=text) for text in texts])
    aws.receive("facts", 2)


@script(
    Difference(step="put_events 1",
               answers={"FailedEntryCount": 1, "Entries": [{"ErrorCode": "InvalidArgument"}]},
               aws=MALFORMED, known_from=_OWN_BUS),
)  # fmt: skip
def event_for_a_bus_that_is_not_there(aws: Calls) -> None:
    aws.events.put_events(Entries=[entry(EventBusName="no-such-bus")])


@script()
def events_of_a_megabyte(aws: Calls) -> None:
    aws.events.put_events(Entries=[entry(Detail=json.dumps({"text": "x" * (1 << 19)})) for _ in range(2)])


@script()
def events_whose_answer_was_lost_come_twice(aws: Calls) -> None:
    aws.events.losing_answer("put_events", Entries=[entry(Detail="{}")])
    twice = aws.stage.receive("facts")
    aws.stage.let_deliver()
    twice += aws.stage.receive("facts")
    ids = {json.loads(message.body)["id"] for message in twice}
    aws.step("delivered", {"messages": len(twice), "ids": len(ids)})


# --- SQS ------------------------------------------------------------------------------------------------------------


def counts(aws: Calls) -> None:
    aws.sqs.get_queue_attributes(QueueUrl=aws.stage.queues["inbox"], AttributeNames=COUNTS)


def hide(aws: Calls, handle: str, seconds: int) -> None:
    aws.sqs.change_message_visibility(
        QueueUrl=aws.stage.queues["inbox"], ReceiptHandle=handle, VisibilityTimeout=seconds
    )


def delete(aws: Calls, handle: str) -> None:
    aws.sqs.delete_message(QueueUrl=aws.stage.queues["inbox"], ReceiptHandle=handle)


@script(
    *lax("change_message_visibility 2", aws=BY_SQS, known_from=_TWELVE_HOURS),
    Difference(step="delete_message 2", answers=BY_SQS, aws={}, known_from=_DELETE),
)
def messages_are_hidden_while_they_are_worked_on(aws: Calls) -> None:
    counts(aws)
    for body in ("one", '{"two": "ä€😀\\ud83d"}', "three"):
        aws.stage.send("inbox", body)
    counts(aws)
    found = aws.receive("inbox", 3)
    counts(aws)
    aws.receive("inbox", 0)
    hide(aws, found[0].handle, 0)
    counts(aws)
    again = aws.receive("inbox")
    delete(aws, again[0].handle)
    delete(aws, again[0].handle)
    counts(aws)
    hide(aws, found[1].handle, 43_200)  # they count from the receive on
    hide(aws, found[1].handle, 43_000)
    counts(aws)


@script(visibility=4)
def hidden_messages_come_back(aws: Calls) -> None:
    aws.stage.send("inbox", "one")
    aws.receive("inbox")
    aws.stage.pass_time(4.2)
    counts(aws)
    (again,) = aws.receive("inbox")
    hide(aws, again.handle, 600)  # longer than the queue's own visibility
    aws.stage.pass_time(4.2)
    aws.receive("inbox", 0)
    hide(aws, again.handle, 0)
    aws.receive("inbox")


@script()
def message_that_fails_too_often_is_a_dead_letter(aws: Calls) -> None:
    aws.stage.send("inbox", '{"body": "ä"}')
    for _ in range(MAX_RECEIVES):
        (message,) = aws.receive("inbox")
        hide(aws, message.handle, 0)
    counts(aws)  # it is one only when it would be received once more
    aws.receive("inbox", 0)
    counts(aws)
    aws.step("dead letters", [message.body for message in aws.stage.receive(DEAD_LETTERS)])
    hide(aws, message.handle, 10)


@script()
def handles_of_messages_that_are_gone(aws: Calls) -> None:
    aws.stage.send("inbox", "one")
    (message,) = aws.receive("inbox")
    delete(aws, message.handle)
    hide(aws, message.handle, 10)


@script(
    *lax("change_message_visibility 1", aws=BY_SQS, known_from=_IN_FLIGHT),
    visibility=1,
)
def handle_of_a_message_that_is_visible_again(aws: Calls) -> None:
    aws.stage.send("inbox", "one")
    (message,) = aws.receive("inbox")
    aws.stage.pass_time(1.2)
    hide(aws, message.handle, 10)


@script(Difference(step="delete_message 1", answers=BY_SQS, aws={}, known_from=_DELETE))
def handle_of_an_earlier_receive(aws: Calls) -> None:
    aws.stage.send("inbox", "one")
    (first,) = aws.receive("inbox")
    hide(aws, first.handle, 0)
    aws.receive("inbox")
    hide(aws, first.handle, 0)
    aws.receive("inbox", 0)
    delete(aws, first.handle)
    counts(aws)


# --- Secrets Manager ------------------------------------------------------------------------------------------------


@script(
    *lax("get_secret_value 7", aws=refused("ResourceNotFoundException"), known_from=_NO_VALUE),
)  # fmt: skip
def secrets(aws: Calls) -> None:
    def get(secret: str) -> None:
        aws.secretsmanager.get_secret_value(SecretId=secret)

    def put(secret: str, text: str) -> str:
        return str(aws.secretsmanager.put_secret_value(SecretId=secret, SecretString=text).get("VersionId", ""))

    get(SECRET)
    put(SECRET, '{"version": 1, "token": "ä€😀"}')
    get(SECRET)
    second = put(SECRET, "second")
    third = put(SECRET, "third")
    get(SECRET)
    for version in (second, third, "0" * 32):
        aws.secretsmanager.get_secret_value(SecretId=SECRET, VersionId=version)
    get(EMPTY_SECRET)
    put(EMPTY_SECRET, "value")
    get(EMPTY_SECRET)
    get("no-such-secret")
    put("no-such-secret", "value")


# --- SNS ------------------------------------------------------------------------------------------------------------


def publish(aws: Calls, **changes: Any) -> None:
    attributes = {"severity": "warning", "sync_id": "scheduled-2026-08-14", "event": "SyncCompleted"}
    request: dict[str, Any] = {
        "TopicArn": aws.stage.topic,
        "Subject": "Cloud Sync: 3 stored, 1 failed",
        "Message": "A text\nof two lines: ä€😀",
        "MessageAttributes": {n: {"DataType": "String", "StringValue": v} for n, v in attributes.items()},
    }
    aws.sns.publish(**{**request, **changes})


@script()
def notifications(aws: Calls) -> None:
    publish(aws)
    aws.notifications()


@script()
def notification_to_a_topic_that_is_not_there(aws: Calls) -> None:
    publish(aws, TopicArn=aws.stage.topic + "-2")


@script(*lax("publish 1", "publish 2", "publish 3", known_from=_SUBJECT))
def notifications_that_sns_does_not_take(aws: Calls) -> None:
    publish(aws, Subject="two\nlines")
    publish(aws, Subject="ä")
    publish(aws, Subject="x" * 101)
    publish(aws, Message="x" * (256 * 1024 + 1))
