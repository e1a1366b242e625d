"""Messages that no try could finish: what they are about, and back into the inboxes with them."""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from ops.deployment import Deployment
from services.shared.events import SyncRequested, read_event
from services.shared.library import medium_records

SERVICES = ("authenticator", "lister", "downloader", "summarizer")

_WAIT_SECONDS = 1  # more than none: only then SQS asks all its servers, and nothing means that there is nothing
_HOLD_SECONDS = 120  # how long what was looked at stays hidden from others if this process dies


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """A message in a dead-letter queue. The body is what the inbox got, untouched."""

    service: str
    body: str
    message_id: str
    receipt: str
    receives: int  # SQS's count, this look included
    since: datetime  # when it first came into the inbox; UTC
    event: str = ""  # empty where the body is no event
    sync_id: str = ""
    media_id: str = ""


def failures(deployment: Deployment, services: Sequence[str] = SERVICES) -> list[DeadLetter]:
    """What lies among the dead letters. Looking counts as a receive, and changes nothing else."""
    found = []
    for service in services:
        with _held(deployment, service) as letters:
            found += list(letters)
    return found


def redrive(
    deployment: Deployment, service: str, *, media_id: str | None = None, limit: int | None = None
) -> list[DeadLetter]:
    """Sends dead letters back to the inbox, and returns those.

    A message is deleted only when its copy has been sent: one that is interrupted in between is there twice, and
    every service takes a message twice.
    """
    sqs = deployment.client("sqs")
    inbox, queue = deployment.outputs[f"{service.title()}QueueUrl"], _url(deployment, service)
    sent: list[DeadLetter] = []
    with _held(deployment, service) as letters:
        wanted = (letter for letter in letters if media_id in (None, letter.media_id))
        # All are taken before the first is sent: one that fails again at once would be met again, and so for ever.
        for letter in list(islice(wanted, limit)):
            sqs.send_message(QueueUrl=inbox, MessageBody=letter.body)
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=letter.receipt)
            sent.append(letter)
    return sent


def read(service: str, message: dict[str, Any]) -> DeadLetter:
    """A message as SQS returns it."""
    try:
        event = json.loads(message["Body"])
        detail = event.get("detail") or {}
        metadata, data = detail.get("metadata") or {}, detail.get("data") or {}
        sync_id = metadata.get("sync_id")
        if event.get("detail-type") == SyncRequested.__name__:
            sync_id = _requested(message["Body"])
        told = {"event": event.get("detail-type"), "sync_id": sync_id, "media_id": data.get("media_id")}
    except (ValueError, AttributeError):
        told = {}
    attributes = message["Attributes"]
    return DeadLetter(
        service=service,
        body=message["Body"],
        message_id=message["MessageId"],
        receipt=message["ReceiptHandle"],
        receives=int(attributes["ApproximateReceiveCount"]),
        since=datetime.fromtimestamp(int(attributes["SentTimestamp"]) / 1000, UTC),
        **{name: str(value) for name, value in told.items() if value},
    )


def reasons(deployment: Deployment, letters: Iterable[DeadLetter]) -> dict[str, str]:
    """Why these messages are here, by message id, as far as the tables tell: of the medium, or where none, the sync."""
    letters = list(letters)
    library, syncs = deployment.table("LibraryTableName"), deployment.table("SyncsTableName")
    media = medium_records(library.meta.client, library.name, {one.media_id for one in letters if one.media_id})
    of_media = {media_id: record.get("reason") for media_id, record in media.items()}
    of_syncs = {}
    for sync_id in {one.sync_id for one in letters if one.sync_id and not one.media_id}:
        sync = syncs.get_item(Key={"sync_id": sync_id, "record": "sync"}).get("Item", {})
        of_syncs[sync_id] = sync.get("listing_problem") or sync.get("session_problem")
    found = {
        one.message_id: of_media.get(one.media_id) if one.media_id else of_syncs.get(one.sync_id) for one in letters
    }
    return {message_id: str(reason) for message_id, reason in found.items() if reason}


def _requested(body: str) -> str:
    """The sync that a request began: people needn't name one. Empty where the date of a schedule's zone names it."""
    event = read_event(body)
    named_by_date = isinstance(event, SyncRequested) and event.scheduled_time
    return "" if named_by_date else event.sync_id


@contextmanager
def _held(deployment: Deployment, service: str) -> Iterator[Iterator[DeadLetter]]:
    """The service's dead letters, each once. Those that are still there afterwards are visible again."""
    sqs, queue = deployment.client("sqs"), _url(deployment, service)
    held: dict[str, str] = {}

    def receive() -> Iterator[DeadLetter]:
        while True:
            answer = sqs.receive_message(
                QueueUrl=queue,
                MaxNumberOfMessages=10,
                VisibilityTimeout=_HOLD_SECONDS,
                WaitTimeSeconds=_WAIT_SECONDS,
                MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
            )
            letters = [read(service, message) for message in answer.get("Messages", [])]
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
            # What was deleted meanwhile is among the failed entries of the answer, as it should be.
            sqs.change_message_visibility_batch(QueueUrl=queue, Entries=entries)


def _url(deployment: Deployment, service: str) -> str:
    return deployment.outputs[f"{service.title()}DeadLettersUrl"]
