"""SQS: standard queues with visibility, receive counts and dead letters."""

# ruff: noqa: N803  # arguments are named as boto3 names them

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

from tools.simulator.effects import Client, Effects, refusal
from tools.simulator.faults import Fault

_T = TypeVar("_T")

_TWICE = (Fault.TWICE,)
_LONGEST_VISIBILITY = 12 * 3600


@dataclass
class Message:
    """A message in any state."""

    id: str
    body: str
    sent_at: float
    visible_at: float
    receives: int = 0  # since it was sent or redriven
    handle: str = ""  # of the latest receive
    received_at: float = 0.0
    handles: list[str] = field(default_factory=list)  # of all receives


@dataclass
class Queue:
    """Messages, each visible from some moment on."""

    name: str
    url: str
    visibility: float
    max_receives: int = 0  # 0: no dead letters
    dead_letters: "Queue | None" = None
    messages: OrderedDict[str, Message] = field(default_factory=OrderedDict)  # finds its first entry in constant time
    handles: dict[str, Message] = field(default_factory=dict)  # of messages that are not deleted
    received_most: tuple[int, str] = (0, "")  # the highest receive count of a message, and its id
    on_visible: Callable[[float], None] = lambda _: None  # called with the time at which a message becomes visible


class Sqs:
    """All queues of the account."""

    def __init__(self, effects: Effects, *, old_handles_work: bool) -> None:
        self.effects = effects
        self.queues: dict[str, Queue] = {}
        self.old_handles_work = old_handles_work  # SQS specifies neither behaviour
        # Visible messages that a receive chooses from; None for all. SQS also samples only some of its servers.
        self.looked_at: int | None = None
        self.on_send: list[Callable[[Queue, Message], None]] = []
        self.dead: list[tuple[str, Message]] = []  # every message that became a dead letter, with its queue's name
        self._count = 0

    def add(self, queue: Queue) -> Queue:
        self.queues[queue.url] = queue
        return queue

    def send(self, queue: Queue, body: str) -> Message:
        self._count += 1
        now = self.effects.scheduler.now
        message = Message(id=f"m{self._count}", body=body, sent_at=now, visible_at=now)
        queue.messages[message.id] = message
        for watch in self.on_send:
            watch(queue, message)
        queue.on_visible(message.visible_at)
        return message

    def receive(self, queue: Queue, most: int, pick: Callable[[list[Message]], None]) -> list[Message]:
        """Receive up to `most` visible messages. `pick` orders the candidates in place."""
        now = self.effects.scheduler.now
        waiting = (message for message in queue.messages.values() if message.visible_at <= now)
        visible = list(islice(waiting, self.looked_at and max(self.looked_at, most)))
        pick(visible)
        received: list[Message] = []
        for message in visible:
            if queue.dead_letters and message.receives >= queue.max_receives:
                self._bury(queue, message)
            elif len(received) < most:
                received.append(self._received(queue, message, now))
        return received

    def _received(self, queue: Queue, message: Message, now: float) -> Message:
        self._count += 1
        message.receives += 1
        message.handle = f"{message.id}r{self._count}"
        message.handles.append(message.handle)
        queue.handles[message.handle] = message
        message.received_at = now
        queue.received_most = max(queue.received_most, (message.receives, message.id))
        message.visible_at = now + queue.visibility
        if self.effects.faults.strike(_TWICE, "sqs.receive"):
            message.visible_at = now + 2 * self.effects.faults.chance().random()
            self.effects.trace.add("sqs.receive", message.id, Fault.TWICE)
        queue.on_visible(message.visible_at)
        return message

    def _bury(self, queue: Queue, message: Message) -> None:
        assert queue.dead_letters
        self._forget(queue, message)
        buried = self.send(queue.dead_letters, message.body)
        self.dead.append((queue.name, buried))
        self.effects.trace.add("sqs.dead letter", f"{queue.name} {message.id}", f"after {message.receives} receives")

    def change_visibility(self, queue: Queue, handle: str, seconds: int) -> None:
        now = self.effects.scheduler.now
        message = queue.handles.get(handle)
        if message is None:
            raise refusal("InvalidParameterValue", "ChangeMessageVisibility", "The message does not exist")
        if handle != message.handle and not self.old_handles_work:
            raise refusal("InvalidParameterValue", "ChangeMessageVisibility", "The receipt handle has expired")
        if message.visible_at <= now:
            raise refusal("MessageNotInflight", "ChangeMessageVisibility")
        if seconds < 0 or now + seconds > message.received_at + _LONGEST_VISIBILITY:
            raise refusal("InvalidParameterValue", "ChangeMessageVisibility", "0 to 43200 seconds from the receive on")
        message.visible_at = now + seconds
        queue.on_visible(message.visible_at)

    def delete(self, queue: Queue, handle: str) -> None:
        message = queue.handles.get(handle)
        if message and (handle == message.handle or self.old_handles_work):
            self._forget(queue, message)

    def _forget(self, queue: Queue, message: Message) -> None:
        queue.messages.pop(message.id, None)
        for handle in message.handles:
            queue.handles.pop(handle, None)

    def counts(self, queue: Queue) -> Mapping[str, int]:
        now = self.effects.scheduler.now
        visible = sum(message.visible_at <= now for message in queue.messages.values())
        return {
            "ApproximateNumberOfMessages": visible,
            "ApproximateNumberOfMessagesNotVisible": len(queue.messages) - visible,
            "ApproximateNumberOfMessagesDelayed": 0,
        }


class SqsClient(Client):
    def __init__(self, sqs: Sqs) -> None:
        self._sqs = sqs

    def change_message_visibility(self, *, QueueUrl: str, ReceiptHandle: str, VisibilityTimeout: int) -> dict[str, Any]:
        queue = self._sqs.queues[QueueUrl]

        def apply() -> dict[str, Any]:
            self._sqs.change_visibility(queue, ReceiptHandle, VisibilityTimeout)
            return {}

        return self._call("change_message_visibility", f"{ReceiptHandle} {VisibilityTimeout} s", apply)

    def delete_message(self, *, QueueUrl: str, ReceiptHandle: str) -> dict[str, Any]:
        queue = self._sqs.queues[QueueUrl]

        def apply() -> dict[str, Any]:
            self._sqs.delete(queue, ReceiptHandle)
            return {}

        return self._call("delete_message", ReceiptHandle, apply)

    def get_queue_attributes(self, *, QueueUrl: str, AttributeNames: list[str]) -> dict[str, Any]:
        queue = self._sqs.queues[QueueUrl]

        def apply() -> dict[str, Any]:
            counts = self._sqs.counts(queue)
            return {"Attributes": {name: str(counts[name]) for name in AttributeNames}}

        return self._call("get_queue_attributes", queue.name, apply)

    def _call(self, name: str, subject: str, apply: Callable[[], _T]) -> _T:
        return self._sqs.effects.call(
            f"sqs.{name}", subject, apply, codes=("RequestThrottled", "ServiceUnavailable", "InternalError")
        )
