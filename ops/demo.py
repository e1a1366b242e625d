"""A whole sync on this machine: shows what a person sees of it, and checks the outcome."""

import contextlib
import hashlib
import json
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from ops.dead_letters import failures
from ops.deployment import Deployment
from ops.errors import OperatorError
from ops.local import stage
from ops.local.emulator import tail
from ops.local.gopro_cloud import Control
from ops.local.gopro_cloud.demo import EXPECTED
from ops.local.gopro_cloud.faults import SharedLimit
from ops.local.gopro_cloud.observations import Seen
from ops.local.toolchain import ROOT
from ops.progress import View, folded, printable, size
from ops.report import write_page
from ops.trigger import Request, entry
from ops.watch import screen, watch
from services.shared.library.objects import PREFIX

FOLDER = ROOT / ".local-demo"
PAGES = ROOT / ".local-demo-pages"  # stay when the stage is gone
# Nobody at a terminal wants to wait as long as a nightly job may.
SETTINGS = {"retry_base_seconds": "0.5"}
TIMEOUT_SECONDS = 150.0
_WIDTH = 80
_BYTES_PER_SECOND = 12_000_000  # of the GoPro Cloud, so that there is something to see while bytes arrive
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
    """An original in the GoPro Cloud."""

    media_id: str
    item: int
    size: int  # bytes
    sha256: str


def run(*, keep: bool, say: Callable[[str], None]) -> int:
    """Run the demonstration. Returns 0 only when the outcome is exactly the expected one."""
    began = time.monotonic()
    say(f"the stage takes about 200 MB in {FOLDER.name}" + ("" if keep else ", until the end"))
    brought = stage.up(stage.Wanted(folder=FOLDER, settings=SETTINGS, fresh=True), say)
    try:
        problems, page = _show(brought, say)
    except BaseException as error:
        if isinstance(error, Exception):
            _print_warnings()
        stage.down(FOLDER, say)
        raise
    print()
    for problem in problems:
        print(f"NOT AS EXPECTED: {problem}")
    if problems:
        _print_warnings()
    else:
        print(f"Everything is as expected, {time.monotonic() - began:.0f} s after the start.")
    if keep:
        _print_next_steps(brought)
    else:
        print("To keep it running and look around: .venv/bin/cloud-sync demo --keep", flush=True)
        stage.down(FOLDER, say)
    print(f"The page of this sync, for a browser: {page.relative_to(ROOT)}", flush=True)
    return 1 if problems else 0


def _show(brought: stage.Stage, say: Callable[[str], None]) -> tuple[list[str], Path]:
    """Show a sync from its request to the bytes in the bucket.

    Returns what was not as expected, and the file with the sync's page.
    """
    deployment, control = brought.deployment, Control(brought.gopro_control_url)
    control.arm(SharedLimit(bytes_per_second=_BYTES_PER_SECOND))
    with _notifications(deployment) as receive:
        _heading("Request a sync by hand")
        sync_id = _request(brought)
        _heading(f"Progress, from a GoPro Cloud that sends {size(_BYTES_PER_SECOND)}/s")
        view = watch(deployment, sync_id, timeout=TIMEOUT_SECONDS, terminal=screen(width=_WIDTH))
        _heading("Notification")
        notification = receive(_NOTIFICATION_SECONDS)
        _print_folded(f"Subject: {notification['Subject']}\n\n{notification['Message']}".splitlines())
    originals = _originals(control)
    _heading("Trouble on the way, and what the downloader did about it")
    _print_folded(troubles(control.requests(), originals, _names(view)))
    _heading("Files in the bucket")
    objects = sorted(_stored(deployment), key=lambda one: one.key)
    print(*_listing(objects, originals), sep="\n")
    _heading("Failures")
    _print_folded(_failed(view))
    print(f"\nDead letters: {len(failures(deployment))}")
    unseen = [f"this trouble did not occur: {type(fault).__name__}" for fault in control.not_struck()]
    PAGES.mkdir(exist_ok=True)
    page = write_page(deployment, sync_id, say, output=PAGES / "sync.html")
    return compare(view, objects, originals, EXPECTED) + unseen, page


def _request(brought: stage.Stage) -> str:
    """Send the shortest event that requests a sync, and print the command that does the same."""
    deployment = brought.deployment
    entries = [entry(deployment.outputs["EventBusName"], Request())]
    print(_shell(brought))
    print(f"aws events put-events --entries {shlex.quote(_json(entries))}\n")
    answer = deployment.client("events").put_events(Entries=entries)
    print(_json({name: answer[name] for name in ("FailedEntryCount", "Entries")}))
    if answer["FailedEntryCount"]:
        raise OperatorError("EventBridge refused the event.")
    return str(answer["Entries"][0]["EventId"])


@contextlib.contextmanager
def _notifications(deployment: Deployment) -> Iterator[Callable[[float], Mapping[str, str]]]:
    """Subscribe to the notification topic. Yields a function that waits so many seconds for the next message."""
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
        raise OperatorError(f"No notification arrived within {seconds:.0f} s.")

    try:
        yield receive
    finally:
        sns.unsubscribe(SubscriptionArn=subscription["SubscriptionArn"])
        sqs.delete_queue(QueueUrl=queue)


def _stored(deployment: Deployment) -> Iterator[StoredObject]:
    s3, bucket = deployment.client("s3"), deployment.outputs["MediaBucketName"]
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=PREFIX):
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


def _originals(control: Control) -> list[Original]:
    """Ask the GoPro Cloud for the originals that the sync has to store."""
    return [
        Original(media_id=media_id, item=one["item"], size=one["size"], sha256=one["sha256"])
        for media_id in EXPECTED["stored_media"]
        for one in control.originals(media_id)
    ]


def compare(
    view: View, objects: Sequence[StoredObject], originals: Sequence[Original], expected: Mapping[str, Any]
) -> list[str]:
    """Return a line for everything that is not as expected."""
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
        problems.append("an original is in the bucket twice")
    for original in originals:
        stored = found.pop((original.media_id, original.item), None)
        if stored is None:
            problems.append(f"item {original.item} of {original.media_id} is not in the bucket")
        elif (stored.size, stored.sha256) != (original.size, original.sha256):
            problems.append(f"{stored.key} differs from its original")
    problems += [f"{stored.key} is not an original of the library" for stored in found.values()]
    return problems


def _names(view: View) -> Mapping[str, str]:
    return {media_id: printable(str(medium.get("filename") or media_id)) for media_id, medium in view.media.items()}


def troubles(requests: Sequence[Seen], originals: Sequence[Original], names: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for every download that the GoPro Cloud cut short or refused, and how it went on."""
    ends = {(one.media_id, one.item): one.size - 1 for one in originals}
    downloads = [one for one in requests if one.endpoint == "cdn" and one.method == "GET"]
    for position, one in enumerate(downloads):
        name = names.get(one.media_id or "", one.media_id)
        later = [other for other in downloads[position + 1 :] if other.media_id == one.media_id]
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", one.range or "")
        if one.status == HTTPStatus.FORBIDDEN:
            served = any(other.status == HTTPStatus.PARTIAL_CONTENT for other in later)
            went_on = "a new URL was requested, and it served the file" if served else "no URL served the file"
            yield f"{name}: the signed URL had expired (403); {went_on}."
        elif asked and one.status == HTTPStatus.PARTIAL_CONTENT:
            cut_at = int(asked[1]) + one.bytes_sent
            if cut_at <= min(int(asked[2]), ends.get((one.media_id or "", one.item or 0), -1)):
                resumed = any((other.range or "").startswith(f"bytes={cut_at}-") for other in later)
                went_on = "another connection went on from there" if resumed else "the rest was fetched again"
                yield f"{name}: the connection dropped at byte {cut_at:,}; {went_on}."


def _listing(objects: Sequence[StoredObject], originals: Sequence[Original]) -> Iterator[str]:
    digests = {(one.media_id, one.item): one.sha256 for one in originals}
    for one in objects:
        same = digests.get((one.media_id, one.item)) == one.sha256
        verdict = "same as the original" if same else "NOT the original"
        yield printable(one.key)
        yield f"{size(one.size):>12}  sha256 {one.sha256[:12]}…  {verdict}"
    yield f"\n{size(sum(one.size for one in objects))} in {len(objects)} files"


def _failed(view: View) -> Iterator[str]:
    for media_id, medium in sorted(view.media.items()):
        if medium["state"] == "FAILED":
            filename = printable(str(medium.get("filename") or "(no name)"))
            yield f"{filename} ({media_id}): {printable(str(medium.get('reason')))}"


def _print_folded(lines: Iterable[str]) -> None:
    for line in lines:
        indent = len(line) - len(line.lstrip()) + 4
        print(*folded(line, _WIDTH, indent=indent), sep="\n")


def _json(content: object) -> str:
    """Return JSON with a line for each value, so that it is not too wide."""
    return json.dumps(content, separators=(",\n  ", ": "))


def _shell(brought: stage.Stage) -> str:
    """Return the shell command that points the AWS CLI at the stage, on several lines."""
    return " \\\n".join(folded(brought.shell, _WIDTH - 2, indent=2))


def _print_warnings() -> None:
    """Print the warnings and errors that the functions logged, before their log is deleted."""
    for line in tail(FOLDER / "ministack.log", lines=10_000).splitlines():
        with contextlib.suppress(ValueError):
            logged = json.loads(line)
            if isinstance(logged, dict) and logged.get("level") in {"WARNING", "ERROR", "CRITICAL"}:
                why = logged.get("why") or logged.get("exception") or ""
                print(f"  {logged.get('service')}: {logged.get('message')}: {why}"[:400], file=sys.stderr)


def _heading(text: str) -> None:
    print(f"\n=== {text} ===\n", flush=True)


def _print_next_steps(brought: stage.Stage) -> None:
    deployment = brought.deployment
    print(f"\nThe stage keeps running. Its GoPro Cloud is at {brought.gopro_url},")
    print(f"and the functions' log is {FOLDER.name}/ministack.log. To look around:\n")
    print("# a second sync, which tries only what failed")
    print(deployment.command("trigger --wait"))
    print(deployment.command("status"))
    print("# its page, and the page of the library")
    print(deployment.command("report --open"))
    print(deployment.command("report --library --open"))
    print("# the bucket")
    print(_shell(brought))
    print(f"aws s3 ls --recursive s3://{brought.outputs['MediaBucketName']}")
    print("# stop the stage and delete it")
    print(deployment.command("local down"))
