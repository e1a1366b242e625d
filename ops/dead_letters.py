"""Dead letters: messages that used up their tries, and events that the bus could not deliver.

Lists them and sends them back to the inboxes.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain, islice
from typing import Any

from ops.deployment import Deployment
from services.shared.envelope import read_event
from services.shared.events import SERVICES, SyncRequested

WEBHOOKS = "webhooks"  # in place of a service: what was for an address outside AWS
_WAIT_SECONDS = 1  # long polling asks all of SQS's servers, so an empty answer means an empty queue
_HOLD_SECONDS = 120  # how long the messages stay hidden from others if this process dies


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """A message in a dead-letter queue. Its body is unchanged from what the inbox received, or was to receive."""

    service: str
    queue: str  # URL
    body: str
    message_id: str
    receipt: str
    receives: int  # SQS's count, including this one
    since: datetime  # when it entered the inbox; UTC
    event: str = ""  # empty where the body is not an event
    sync_id: str = ""
    media_id: str = ""
    undelivered_because: str = ""  # EventBridge's reason; empty where the message was in the inbox


def failures(
    deployment: Deployment, services: Sequence[str] = SERVICES, *, empty: Collection[str] = ()
) -> list[DeadLetter]:
    """List the dead letters. Listing counts as a receive and changes nothing else.

    `empty`: services whose queue of dead letters is known to be empty. To find that out by listing takes a second each.
    """
    found: list[DeadLetter] = []
    for service in [one for one in services if one not in empty]:
        with _held(deployment, service) as letters:
            found += letters
    with _undelivered(deployment) as letters:
        wanted = {*services, WEBHOOKS} if set(services) == set(SERVICES) else {*services}
        found += [letter for letter in letters if letter.service in wanted]
    return found


def drop_undelivered_to_webhooks(deployment: Deployment) -> int:
    """Delete what the bus could not deliver to a webhook, and return how many. Nobody sends old news again."""
    sqs = deployment.client("sqs")
    with _undelivered(deployment) as letters:
        dropped = [letter for letter in letters if letter.service == WEBHOOKS]
        for letter in dropped:
            sqs.delete_message(QueueUrl=letter.queue, ReceiptHandle=letter.receipt)
    return len(dropped)


def redrive(
    deployment: Deployment,
    service: str,
    *,
    media_id: str | None = None,
    limit: int | None = None,
    before_sending: Callable[[Sequence[DeadLetter]], object] = lambda _: None,
) -> list[DeadLetter]:
    """Send dead letters back to the inbox and return them. `before_sending` is called with all of them.

    A message is deleted only after its copy was sent. An interruption in between leaves both, which is harmless:
    every service can take a message twice.
    """
    sqs = deployment.client("sqs")
    sent: list[DeadLetter] = []
    with _held(deployment, service) as failed, _undelivered(deployment) as undelivered:
        letters = (letter for letter in chain(failed, undelivered) if letter.service == service)
        wanted = (letter for letter in letters if media_id in (None, letter.media_id))
        # Receive all before sending the first: a message that fails again at once would be received again, endlessly.
        chosen = list(islice(wanted, limit))
        before_sending(chosen)
        for letter in chosen:
            sqs.send_message(QueueUrl=deployment.inbox(service), MessageBody=letter.body)
            sqs.delete_message(QueueUrl=letter.queue, ReceiptHandle=letter.receipt)
            sent.append(letter)
    return sent


def reasons(deployment: Deployment, letters: Iterable[DeadLetter]) -> dict[str, str]:
    """Return why the messages failed, by message id, where the tables know: the medium's reason, or else the sync's."""
    letters = list(letters)
    media = deployment.library().media({one.media_id for one in letters if one.media_id})
    of_media = {media_id: record.reason for media_id, record in media.items()}
    syncs, of_syncs = deployment.table("SyncsTableName"), {}
    for sync_id in {one.sync_id for one in letters if one.sync_id and not one.media_id}:
        sync = syncs.get_item(Key={"sync_id": sync_id, "record": "sync"}).get("Item", {})
        of_syncs[sync_id] = sync.get("listing_problem") or sync.get("session_problem")
    found = {
        one.message_id: one.undelivered_because
        or (of_media.get(one.media_id) if one.media_id else of_syncs.get(one.sync_id))
        for one in letters
    }
    return {message_id: str(reason) for message_id, reason in found.items() if reason}


def _held(deployment: Deployment, service: str) -> AbstractContextManager[Iterator[DeadLetter]]:
    """Yield the service's dead letters, each once, and make those that remain visible again."""
    queue = deployment.dead_letters(service)
    return _received(deployment, queue, lambda message: _read(service, queue, message))


def _undelivered(deployment: Deployment) -> AbstractContextManager[Iterator[DeadLetter]]:
    """Yield likewise the events that the bus could not deliver, each with the service that should have received it."""
    queue = deployment.undelivered
    if not queue:
        return nullcontext(iter(()))
    services = {_name(deployment.inbox(service)): service for service in SERVICES}

    def read(message: Mapping[str, Any]) -> DeadLetter:
        said = {name: value["StringValue"] for name, value in message.get("MessageAttributes", {}).items()}
        reason = " ".join(filter(None, (said.get("ERROR_CODE", ""), said.get("ERROR_MESSAGE", "")))) or "unknown"
        target = said.get("TARGET_ARN", "")
        service = WEBHOOKS if ":api-destination/" in target else services.get(_name(target), "")
        letter = _read(service, queue, message)
        return replace(letter, undelivered_because=f"the bus could not deliver it: {reason}")

    return _received(deployment, queue, read)


def _name(queue: str) -> str:
    """Return the name in a queue's URL or ARN."""
    return re.split("[:/]", queue)[-1]


@contextmanager
def _received(
    deployment: Deployment, queue: str, read: Callable[[Mapping[str, Any]], DeadLetter]
) -> Iterator[Iterator[DeadLetter]]:
    sqs = deployment.client("sqs")
    held: dict[str, str] = {}

    def receive() -> Iterator[DeadLetter]:
        while True:
            answer = sqs.receive_message(
                QueueUrl=queue,
                MaxNumberOfMessages=10,
                VisibilityTimeout=_HOLD_SECONDS,
                WaitTimeSeconds=_WAIT_SECONDS,
                MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
                MessageAttributeNames=["All"],
            )
            letters = [read(message) for message in answer.get("Messages", [])]
            new = [letter for letter in letters if letter.message_id not in held]
            held.update({letter.message_id: letter.receipt for letter in letters})
            if not new:
                return
            yield from new

    try:
        yield receive()
    finally:
        receipts = list(held.values())
        for start in range(0, len(receipts), 10):
            entries = [
                {"Id": str(number), "ReceiptHandle": receipt, "VisibilityTimeout": 0}
                for number, receipt in enumerate(receipts[start : start + 10])
            ]
            # SQS reports the messages deleted meanwhile as failed entries, and nothing needs to be done about them.
            sqs.change_message_visibility_batch(QueueUrl=queue, Entries=entries)


def _read(service: str, queue: str, message: Mapping[str, Any]) -> DeadLetter:
    """Read a message as SQS returns it."""
    body, attributes = message["Body"], message["Attributes"]
    return DeadLetter(
        service=service,
        queue=queue,
        body=body,
        message_id=message["MessageId"],
        receipt=message["ReceiptHandle"],
        receives=int(attributes["ApproximateReceiveCount"]),
        since=datetime.fromtimestamp(int(attributes["SentTimestamp"]) / 1000, UTC),
        **{name: str(value) for name, value in _subject(body).items() if value},
    )


def _subject(body: str) -> dict[str, Any]:
    """Return which event a message holds, and its sync and medium; nothing where the body is not an event."""
    try:
        event = json.loads(body)
        detail = event.get("detail") or {}
        metadata, data = detail.get("metadata") or {}, detail.get("data") or {}
        sync_id, media_id = metadata.get("sync_id"), data.get("media_id")
        if event.get("detail-type") == SyncRequested.__name__:
            sync_id = _requested_sync(body)
        return {"event": event.get("detail-type"), "sync_id": sync_id, "media_id": media_id}
    except (ValueError, AttributeError):
        return {}


def _requested_sync(body: str) -> str:
    """Return the id of the requested sync; empty for a schedule's, which its time zone decides."""
    event = read_event(body)
    named_by_date = isinstance(event, SyncRequested) and event.scheduled_time
    return "" if named_by_date else event.sync_id
