"""A queue and a bus of a few lines, and records as SQS hands them to a function."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from botocore.exceptions import ClientError

from services.shared.envelope import detail
from services.shared.events import Event
from services.shared.inbox.message import Backoff, Message

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

INBOX_URL = "https://sqs.example/inbox"
BACKOFF = Backoff(base=30, cap=300, max_receives=4)


@dataclass
class Queue:
    """Keeps what each receipt handle's visibility was set to, in seconds."""

    hidden: list[tuple[str, int]] = field(default_factory=list)
    broken: bool = False
    calls: int = 0
    on_change: Callable[[], object] = lambda: None

    def change_message_visibility(self, **request: Any) -> None:
        self.calls += 1
        self.on_change()
        assert request["QueueUrl"] == INBOX_URL
        assert type(request["VisibilityTimeout"]) is int
        if self.broken:
            raise ClientError({"Error": {"Code": "ReceiptHandleIsInvalid"}}, "ChangeMessageVisibility")
        self.hidden.append((request["ReceiptHandle"].removeprefix("handle of "), request["VisibilityTimeout"]))


@dataclass
class Published:
    """Stands in for the bus."""

    events: list[Event] = field(default_factory=list)
    causes: list[Event | None] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)  # raised one by one, before anything is taken
    on_publish: Callable[[], object] = lambda: None

    def publish(self, events: Iterable[Event], *, cause: Event | None = None) -> None:
        taken = list(events)
        self.on_publish()
        if self.errors and taken:
            raise self.errors.pop(0)
        self.events += taken
        self.causes += [cause] * len(taken)


def body_of(event: Event, **envelope: object) -> str:
    return json.dumps({"id": "own-id", "detail-type": type(event).__name__, "detail": detail(event), **envelope})


SENT_AT = datetime(2026, 11, 25, 2, 0, tzinfo=UTC)


def record(body: str | Event, *, name: str = "m1", receives: int = 1) -> dict[str, Any]:
    """A message that was sent at `SENT_AT`."""
    sent = int(SENT_AT.timestamp() * 1000)
    return {
        "messageId": name,
        "receiptHandle": f"handle of {name}",
        "body": body if isinstance(body, str) else body_of(body),
        "attributes": {"ApproximateReceiveCount": str(receives), "SentTimestamp": str(sent)},
        "eventSource": "aws:sqs",
    }


def message(queue: Queue, *, receives: int = 1, backoff: Backoff = BACKOFF) -> Message:
    return Message(
        queue=cast("Any", queue),
        inbox_url=INBOX_URL,
        record=SQSRecord(record("{}", receives=receives)),
        backoff=backoff,
        now=SENT_AT,
        remaining_seconds=lambda: 900.0,
    )


class Context:
    """The part of Lambda's context that an inbox asks for."""

    @staticmethod
    def get_remaining_time_in_millis() -> int:
        return 899_500


CONTEXT = cast("LambdaContext", Context())
