"""The promises to users and operators, as short stories that together need every grant of every role.

A story runs on a clean stage. Where a promise isn't kept, `NotKept` says which, as early as it shows.
"""

import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from ops.dead_letters import redrive
from ops.local.gopro_cloud import Library, Series
from ops.local.gopro_cloud.faults import Drop
from services.authenticator.authenticator_table import PASSWORD_PAUSE_SECONDS
from services.shared.envelope import detail
from services.shared.events import SERVICES, LibraryListed, MediaDiscovered, SessionRejected
from tests.e2e.media import MIB, is_stored, serve, video
from tests.e2e.outputs import traces
from tests.e2e.stage import Stage

POLL_SECONDS = 0.05
SIGNS_SECONDS = 0.3  # between two looks for signs that nothing will come any more

# Failures that end within seconds, a listing that pauses after each page of 200, and a sync that takes on little.
SETTINGS = {
    "retry_base_seconds": "0.1",
    "gopro_connections": "5",
    "lane_wait_seconds": "5",
    "pages_per_slice": "1",
    "max_media_per_sync": "3",
}
CALLS = {
    "authenticator": {"secretsmanager", "dynamodb"},
    "lister": {"secretsmanager", "dynamodb", "s3"},
    "downloader": {"secretsmanager", "dynamodb", "s3", "sqs"},
    "summarizer": {"dynamodb", "sns", "s3"},
}
MAX_RECEIVES = {service: 3 if service == "summarizer" else 2 for service in SERVICES}

_T = TypeVar("_T")


class NotKept(AssertionError):
    """A promise was not kept; the text says which, and how it showed.

    `overdue`: nothing says so but the time.
    """

    def __init__(self, text: str, *, overdue: bool = False) -> None:
        super().__init__(text)
        self.overdue = overdue


@dataclass
class Run:
    """One run of a story. `patience`: seconds for each promise, by its words."""

    stage: Stage
    patience: Callable[[str], float]
    took: dict[str, float] = field(default_factory=dict)
    watches: bool = True  # whether dead letters and failed syncs mean that the story won't end well

    def until(self, promise: str, look: Callable[[], _T | None]) -> _T:
        """Return what `look` returns, as soon as that is true. Raises `NotKept`."""
        began = time.monotonic()
        deadline, next_signs = began + self.patience(promise), began
        while not (found := look()):
            now = time.monotonic()
            if self.watches and now >= next_signs:
                next_signs = now + SIGNS_SECONDS
                if sign := self._sign():
                    raise NotKept(f"{promise}: {sign}")
            if now >= deadline:
                raise NotKept(f"{promise}: not within {deadline - began:.0f} s", overdue=True)
            time.sleep(POLL_SECONDS)
        self.took[promise] = time.monotonic() - began
        return found

    def holds(self, promise: str, kept: object) -> None:
        if not kept:
            raise NotKept(promise)

    def completed(self, sync_id: str) -> dict[str, Any]:
        """Return the summary of a sync, once that is published."""
        events = self.until("the sync completes", lambda: self.stage.events("SyncCompleted", sync_id))
        return dict(events[0]["detail"]["data"])

    def _sign(self) -> str:
        for event in self.stage.events("SyncFailed"):
            return f"SyncFailed, {event['detail']['data']['reason']}"
        letters = {service: self.dead_letters(service) for service in SERVICES}
        return ", ".join(f"{count} dead letters of the {service}" for service, count in letters.items() if count)

    def is_done(self) -> bool:
        """Whether no message waits, is in work, or has become a dead letter."""
        return self.stage.is_idle() and not any(map(self.dead_letters, SERVICES))

    def dead_letters(self, service: str) -> int:
        return _visible(self.stage, self.stage.output(service, "DeadLettersUrl"))


Story = Callable[[Run], None]


def a_library_is_stored_and_reported(run: Run) -> None:
    """A file of three parts and a small one, by a fresh login; then logs and traces, and nothing is left over."""
    stage = run.stage
    small, large = video(1, etag_part_bytes=None), video(2, size=11 * MIB)
    serve(stage, small, large)
    began = time.time()
    sync_id = stage.trigger()
    summary = run.completed(sync_id)
    run.holds("two media are downloaded", (summary["outcome"], summary["downloaded"]) == ("completed", 2))
    for medium in (small, large):
        run.holds("the originals are stored, byte for byte", is_stored(stage, medium))
    run.until("the notification comes", lambda: stage.notifications(sync_id))
    run.holds("the report is stored", stage.objects(f"reports/{sync_id}.json"))
    run.holds("the page is stored beside it", stage.objects(f"reports/{sync_id}.html"))
    run.until("nothing is left in a queue", run.is_done)
    for service in SERVICES:
        run.until(f"the log of the {service} is written", partial(_logged, stage, service, sync_id))
    run.until("the log of the bus has the last event", partial(_is_in_journal, stage, "SyncCompleted", sync_id))
    for service in SERVICES:
        run.until(f"the {service} is traced", partial(_is_traced, stage, service, began))


def unreadable_messages_become_dead_letters(run: Run) -> None:
    """Each service makes a dead letter of its own within seconds."""
    run.watches = False
    for service in SERVICES:
        run.stage.send(service, "no event")
    for service in SERVICES:
        run.until(f"the {service} keeps its message", partial(run.dead_letters, service))


def sessions_are_replaced(run: Run) -> None:
    """A session that GoPro refuses, first at the next sync, then as a worker reports it."""
    stage = run.stage
    stage.control.configure_account(expires_in=4)
    serve(stage)
    run.completed(stage.trigger())
    stage.control.revoke_tokens("access")
    sync_id = stage.trigger()
    run.completed(sync_id)
    version = stage.events("SessionAuthenticated", sync_id)[0]["detail"]["data"]["session_version"]
    stage.put_event("SessionRejected", detail(SessionRejected(sync_id=sync_id, session_version=version)))
    run.until("the rejected session is replaced", lambda: stage.session()["version"] > version)


def logins_by_password_are_a_minute_apart(run: Run) -> None:
    """A second one waits for its time instead of failing."""
    stage = run.stage
    serve(stage)
    password_only = {name: value for name, value in stage.credentials.items() if name != "refresh_token"}
    stage.put_secret("CredentialsSecretName", password_only)
    tried_at = int(time.time()) - PASSWORD_PAUSE_SECONDS + 8
    stage.deployment.table("AuthenticatorTableName").put_item(Item={"id": "password-grant", "tried_at": tried_at})
    run.completed(stage.trigger())


def interrupted_files_resume_and_replaced_ones_start_over(run: Run) -> None:
    """Both after a redrive of their dead letters: one upload is resumed, the other aborted."""
    stage = run.stage
    cut = Drop(at_bytes=11 * MIB, times=None)
    interrupted, replaced = (video(number, cut, size=12 * MIB) for number in (1, 2))
    serve(stage, interrupted, replaced)
    run.watches = False
    sync_id = stage.trigger()
    run.until("the cut ones are kept", lambda: run.dead_letters("downloader") == 2)
    run.completed(sync_id)
    other = video(2, size=12 * MIB + 1)
    serve(stage, video(1, size=12 * MIB), other)
    run.holds("both are redriven", len(redrive(stage.deployment, "downloader")) == 2)
    run.watches = True
    run.until("both are stored", lambda: len(stage.objects()) == 2)
    run.until("the sync is amended", lambda: stage.events("SyncAmended", sync_id))
    stored = {one.sha256 for one in stage.objects().values()}
    served = {stage.control.sha256(medium.media_id) for medium in (interrupted, other)}
    run.holds("byte for byte", stored == served)
    run.holds("no upload is left", not stage.uploads())


def a_stored_medium_is_reported_again(run: Run) -> None:
    """To a second sync that discovers it before it knows that it is stored."""
    stage = run.stage
    serve(stage, video(1))
    sync_id = stage.trigger()
    run.completed(sync_id)
    discovered = stage.events("MediaDiscovered", sync_id)[0]["detail"]
    other = f"other-{uuid.uuid4()}"
    stage.left_open.add(other)  # nothing ever says that its library is listed
    stage.put_event("MediaDiscovered", {**discovered, "metadata": {**discovered["metadata"], "sync_id": other}})
    downloaded = run.until("the medium is reported as stored", lambda: stage.events("MediaDownloaded", other))
    run.holds("as stored before", downloaded[0]["detail"]["data"]["already_stored"])


def a_stalled_sync_is_closed(run: Run) -> None:
    """Of a medium nothing is heard, no worker has it, and the inbox is empty: the second review says so."""
    stage = run.stage
    sync_id, media_id = f"stalled-{uuid.uuid4()}", video(1).media_id
    listed = LibraryListed(sync_id=sync_id, listed=1, stored=0, discovered=1, pending=0, deferred=0)
    for event in (MediaDiscovered(sync_id=sync_id, media_id=media_id), listed):
        stage.post("summarizer", event, "lister")
    run.until("the listing and the medium are known", lambda: _known(stage, sync_id) == (1, 1))
    stage.put_event("SyncReviewDue")
    run.until("the review takes note", lambda: (stage.look(sync_id).sync or {}).get("quiet"))
    time.sleep(1.1)  # a later review is one of another second
    stage.put_event("SyncReviewDue")
    summary = run.completed(sync_id)
    run.holds("as stalled", summary["closed_because"] == "stalled")
    run.holds("the medium is named", [one["media_id"] for one in summary["failures"]] == [media_id])


def a_paused_listing_resumes_and_a_shrunken_library_is_noticed(run: Run) -> None:
    """A listing of two pages, a slice each; then a sync of what is left of that library."""
    stage = run.stage
    stage.control.replace_library(Library(series=(Series(count=201),)))
    sync_id = stage.trigger()
    summary = run.completed(sync_id)
    run.holds("all of it was listed", (summary["listed"], summary["downloaded"]) == (201, 3))
    run.holds("after a pause", stage.events("LibraryListingPaused", sync_id))
    serve(stage, video(1))
    warnings = run.completed(stage.trigger())["warnings"]
    run.holds("the summary warns of it", any("much smaller" in warning for warning in warnings))


def schedules_fire_or_leave_a_dead_letter(run: Run) -> None:
    """The review's own target, and one that publishes under a source that isn't the schedule's."""
    stage = run.stage
    target = stage.schedule("Review")["Target"]
    parameters = target["EventBridgeParameters"]
    foreign = {**target, "EventBridgeParameters": {**parameters, "Source": "cloud-sync.operator"}}
    dead_letters = target["DeadLetterConfig"]["Arn"].rsplit(":", 1)[-1]
    url = stage.client("sqs").get_queue_url(QueueName=dead_letters)["QueueUrl"]
    stage.client("sqs").purge_queue(QueueUrl=url)
    with stage.soon(target):
        run.until("the schedule publishes", lambda: stage.events("SyncReviewDue"))
    run.holds("as the schedule", stage.events("SyncReviewDue")[0]["source"] == parameters["Source"])
    with stage.soon(foreign):
        run.until("what it may not publish is kept", lambda: _visible(stage, url))
    run.holds("and not published", len(stage.events("SyncReviewDue")) == 1)


STORIES: Mapping[str, Story] = {
    story.__name__.replace("_", " "): story
    for story in (
        a_library_is_stored_and_reported,
        unreadable_messages_become_dead_letters,
        sessions_are_replaced,
        logins_by_password_are_a_minute_apart,
        interrupted_files_resume_and_replaced_ones_start_over,
        a_stored_medium_is_reported_again,
        a_stalled_sync_is_closed,
        a_paused_listing_resumes_and_a_shrunken_library_is_noticed,
        schedules_fire_or_leave_a_dead_letter,
    )
}


def fail_fast(stage: Stage) -> None:
    """Fewer tries and shorter waits, as another deployment could have them."""
    sqs = stage.client("sqs")
    for service, receives in MAX_RECEIVES.items():
        changed = {"MAX_RECEIVES": str(receives), "RETRY_BASE_SECONDS": SETTINGS["retry_base_seconds"]}
        stage.configure(service, Environment={"Variables": {**stage.variables(service), **changed}})
        url = stage.output(service, "QueueUrl")
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"])["Attributes"]
        redrive_policy = {**json.loads(attributes["RedrivePolicy"]), "maxReceiveCount": receives}
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": json.dumps(redrive_policy)})


def _visible(stage: Stage, queue_url: str) -> int:
    name = "ApproximateNumberOfMessages"
    answer = stage.client("sqs").get_queue_attributes(QueueUrl=queue_url, AttributeNames=[name])
    return int(answer["Attributes"][name])


def _known(stage: Stage, sync_id: str) -> tuple[int, int]:
    """How many media a sync expects, and how many it knows."""
    sync = stage.look(sync_id).sync or {}
    return sync.get("expected") or 0, sync.get("discovered", 0)


def _logged(stage: Stage, service: str, sync_id: str) -> bool:
    group, pattern = stage.output(service, "LogGroupName"), f'"{sync_id}"'
    logs = stage.client("logs").get_paginator("filter_log_events")
    return any(page["events"] for page in logs.paginate(logGroupName=group, filterPattern=pattern))


def _is_in_journal(stage: Stage, kind: str, sync_id: str) -> bool:
    pattern = f'{{ ($.detail-type = "{kind}") && ($.detail.metadata.sync_id = "{sync_id}") }}'
    group = stage.outputs["EventLogGroupName"]
    return bool(stage.client("logs").filter_log_events(logGroupName=group, filterPattern=pattern)["events"])


def _is_traced(stage: Stage, service: str, since: float) -> bool:
    """Whether the handler is traced, and into every AWS service that it calls."""
    function, found = stage.output(service, "FunctionName"), traces(stage.client("xray"), since)
    called = {json.loads(document)["name"] for one in found if one.function == function for document in one.documents}
    return {"## handler", "events", *CALLS[service]} <= called
