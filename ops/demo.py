"""The whole system on this machine, once through: what a person sees of a sync, and whether it came out right."""

import contextlib
import hashlib
import json
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.dead_letters import failures
from ops.deployment import Deployment
from ops.errors import OperatorError
from ops.local import stage
from ops.local.emulator import tail
from ops.progress import View, printable, size
from ops.trigger import SOURCE
from ops.watch import watch

FOLDER = Path(".local-demo")
# A person at a terminal doesn't wait for the pauses that a nightly job may take.
SETTINGS = {"retry_base_seconds": "0.5"}
TIMEOUT_SECONDS = 150.0
_NOTIFICATION_SECONDS = 75.0  # a sender that failed holds its claim for a minute


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """An original in the media bucket."""

    key: str
    size: int  # bytes
    sha256: str
    media_id: str
    item: int


@dataclass(frozen=True, kw_only=True)
class Original:
    """An original as the GoPro Cloud has it."""

    media_id: str
    item: int
    size: int  # bytes
    sha256: str


def run(*, keep: bool, say: Callable[[str], None]) -> int:
    """Runs the demonstration; returns 0 only when the outcome is exactly the expected one."""
    began = time.monotonic()
    brought = stage.up(stage.Wanted(folder=FOLDER, settings=SETTINGS, fresh=True), say)
    try:
        problems = _show(brought)
    except BaseException as error:
        if isinstance(error, Exception):
            _print_complaints()
        stage.down(FOLDER, say)
        raise
    print()
    for problem in problems:
        print(f"NOT AS EXPECTED: {problem}")
    if problems:
        _print_complaints()
    else:
        print(f"Everything came out as expected, {time.monotonic() - began:.0f} s after the start.")
    if keep:
        _print_how_to_look_further(brought)
    else:
        print("To look around in it afterwards: .venv/bin/cloud-sync demo --keep")
        stage.down(FOLDER, say)
    return 1 if problems else 0


def _show(brought: stage.Stage) -> list[str]:
    """A sync from the hand-written event to the bytes in the bucket; returns what was not as expected."""
    deployment = brought.deployment
    with _notifications(deployment) as received:
        _heading("A sync is asked for, by hand")
        sync_id = _ask(brought)
        _heading("What happens")
        view = watch(deployment, sync_id, timeout=TIMEOUT_SECONDS)
        _heading("The notification")
        notification = received(_NOTIFICATION_SECONDS)
        print(f"Subject: {notification['Subject']}\n\n{notification['Message']}")
    _heading("What lies in the bucket")
    objects = sorted(_stored(deployment), key=lambda one: one.key)
    expected, originals = _expected(brought)
    print(*_listing(objects, originals), sep="\n")
    _heading("What failed")
    print(*_failed(view), sep="\n")
    print(f"\nDead letters: {len(failures(deployment))}")
    return compare(view, objects, originals, expected)


def _ask(brought: stage.Stage) -> str:
    """Sends the least that a person can write."""
    deployment = brought.deployment
    entry = {
        "Source": SOURCE,
        "DetailType": "SyncRequested",
        "EventBusName": deployment.outputs["EventBusName"],
        "Detail": json.dumps({"provider": "gopro"}),
    }
    print(f"{brought.shell}\naws events put-events --entries {shlex.quote(json.dumps([entry]))}")
    answer = deployment.client("events").put_events(Entries=[entry])
    print(json.dumps({name: answer[name] for name in ("FailedEntryCount", "Entries")}))
    if answer["FailedEntryCount"]:
        raise OperatorError("EventBridge refused the event.")
    return str(answer["Entries"][0]["EventId"])


@contextlib.contextmanager
def _notifications(deployment: Deployment) -> Iterator[Callable[[float], Mapping[str, str]]]:
    """Listens on the notification topic; gives what waits for the next message, for so many seconds."""
    sqs, sns = deployment.client("sqs"), deployment.client("sns")
    queue = sqs.create_queue(QueueName="cloud-sync-demo")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    topic = deployment.outputs["NotificationTopicArn"]
    subscription = sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, ReturnSubscriptionArn=True)

    def receive(seconds: float) -> Mapping[str, str]:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for message in sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1).get("Messages", []):
                notification: dict[str, str] = json.loads(message["Body"])
                return notification
        raise OperatorError(f"No notification came within {seconds:.0f} s.")

    try:
        yield receive
    finally:
        sns.unsubscribe(SubscriptionArn=subscription["SubscriptionArn"])
        sqs.delete_queue(QueueUrl=queue)


def _stored(deployment: Deployment) -> Iterator[StoredObject]:
    s3, bucket = deployment.client("s3"), deployment.outputs["MediaBucketName"]
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="gopro/"):
        for listed in page.get("Contents", []):
            found = s3.get_object(Bucket=bucket, Key=listed["Key"])
            digest, count = hashlib.sha256(), 0
            for chunk in found["Body"].iter_chunks(1024 * 1024):
                digest.update(chunk)
                count += len(chunk)
            metadata = found["Metadata"]
            yield StoredObject(
                key=listed["Key"],
                size=count,
                sha256=digest.hexdigest(),
                media_id=metadata["media-id"],
                item=int(metadata["item"]),
            )


def _expected(brought: stage.Stage) -> tuple[Mapping[str, Any], list[Original]]:
    """What the demo library has to come to, and its originals as the GoPro Cloud has them."""
    from tests.gopro_cloud import Control  # noqa: PLC0415  # only here: nothing that goes to AWS knows the fake
    from tests.gopro_cloud.demo import EXPECTED  # noqa: PLC0415  # only here as well

    control = Control(brought.gopro_control_url)
    originals = [
        Original(media_id=media_id, item=one["item"], size=one["size"], sha256=one["sha256"])
        for media_id in EXPECTED["stored_media"]
        for one in control.originals(media_id)
    ]
    return EXPECTED, originals


def compare(
    view: View, objects: Sequence[StoredObject], originals: Sequence[Original], expected: Mapping[str, Any]
) -> list[str]:
    """What is not as it should be, a line for each."""
    summary: Mapping[str, Any] = (view.sync or {}).get("summary") or {}
    wanted = {
        "outcome": "partial" if expected["failed"] else "completed",
        "closed_because": "complete",
        "listed": expected["listed"],
        "downloaded": expected["stored"],
        "failed": expected["failed"],
        "outstanding": 0,
    }
    problems = [
        f"the summary's {name} is {summary.get(name)}, not {value}"
        for name, value in wanted.items()
        if summary.get(name) != value
    ]
    failed = {media_id for media_id, medium in view.media.items() if medium["state"] == "FAILED"}
    if failed != set(expected["failed_media"]):
        problems.append(f"these media failed: {', '.join(sorted(failed)) or 'none'}")
    found = {(one.media_id, one.item): one for one in objects}
    if len(found) != len(objects):
        problems.append("an original lies in the bucket twice")
    for original in originals:
        stored = found.pop((original.media_id, original.item), None)
        if stored is None:
            problems.append(f"item {original.item} of {original.media_id} is not in the bucket")
        elif (stored.size, stored.sha256) != (original.size, original.sha256):
            problems.append(f"{stored.key} has other bytes than its original")
    problems += [f"{stored.key} is no original of the library" for stored in found.values()]
    return problems


def _listing(objects: Sequence[StoredObject], originals: Sequence[Original]) -> Iterator[str]:
    digests = {(one.media_id, one.item): one.sha256 for one in originals}
    for one in objects:
        same = digests.get((one.media_id, one.item)) == one.sha256
        verdict = "same as the original" if same else "NOT the original"
        yield f"{size(one.size):>9}  sha256 {one.sha256[:12]}… {verdict}  {printable(one.key)}"
    yield f"{size(sum(one.size for one in objects)):>9}  in {len(objects)} files"


def _failed(view: View) -> Iterator[str]:
    for media_id, medium in sorted(view.media.items()):
        if medium["state"] == "FAILED":
            called = printable(str(medium.get("filename") or "(no name)"))
            yield f"{called:16} {media_id:26} {printable(str(medium.get('reason')))}"


def _print_complaints() -> None:
    """What the functions logged as wrong, since the log is about to go."""
    for line in tail(FOLDER / "ministack.log", lines=10_000).splitlines():
        with contextlib.suppress(ValueError):
            entry = json.loads(line)
            if isinstance(entry, dict) and entry.get("level") in {"WARNING", "ERROR", "CRITICAL"}:
                why = entry.get("why") or entry.get("exception") or ""
                print(f"  {entry.get('service')}: {entry.get('message')}: {why}"[:400], file=sys.stderr)


def _heading(text: str) -> None:
    print(f"\n=== {text} ===\n", flush=True)


def _print_how_to_look_further(brought: stage.Stage) -> None:
    here = f"--stage-dir {FOLDER}"
    print(f"\nIt goes on running. Its GoPro Cloud is {brought.gopro_url}; to look further:")
    print(f"  .venv/bin/cloud-sync trigger --wait {here}     a second sync: only what failed is tried again")
    print(f"  .venv/bin/cloud-sync status {here}")
    print(f"  {brought.shell}")
    print(f"  aws s3 ls --recursive s3://{brought.outputs['MediaBucketName']}")
    print(f"  {brought.folder}/ministack.log                 what the functions log")
    print(f"  .venv/bin/cloud-sync local down {here}         the end")
