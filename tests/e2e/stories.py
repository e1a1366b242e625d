"""What users and operators are promised, in short stories that together need every grant of every role.

A story is told on a clean stage. Where a promise isn't kept, `NotKept` says which, as early as it shows.
"""

import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ops.dead_letters import SERVICES, redrive
from services.authenticator.ledger import PASSWORD_PAUSE_SECONDS
from services.shared.events import LibraryListed, MediaDiscovered, SessionRejected, detail
from tests.e2e.roles import Roles
from tests.e2e.stage import Stage
from tests.e2e.test_flow import serve, video
from tests.gopro_cloud import Library, Series
from tests.gopro_cloud.faults import Drop

MIB = 1 << 20
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
class Telling:
    """One telling of a story. `patience`: seconds for each promise, by its words."""

    stage: Stage
    roles: Roles
    patience: Callable[[str], float]
    took: dict[str, float] = field(default_factory=dict)
    watches: bool = True  # whether dead letters and failed syncs mean that the story won't end well

    def until(self, promise: str, look: Callable[[], _T | None]) -> _T:
        """What `look` returns, as soon as that is true. Raises `NotKept`."""
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
        """The summary of a sync, once it is told."""
        events = self.until("the sync completes", lambda: self.stage.events("SyncCompleted", sync_id))
        return dict(events[0]["detail"]["data"])

    def _sign(self) -> str:
        for event in self.stage.events("SyncFailed"):
            return f"SyncFailed, {event['detail']['data']['reason']}"
        letters = {service: self.dead_letters(service) for service in SERVICES}
        return ", ".join(f"{count} dead letters of the {service}" for service, count in letters.items() if count)

    def is_done(self) -> bool:
        """Whether no message waits, is in work, or has become a dead letter."""
        return not any(any(self.stage.inbox(one).values()) or self.dead_letters(one) for one in SERVICES)

    def dead_letters(self, service: str) -> int:
        return _visible(self.stage, self.stage.outputs[f"{service.title()}DeadLettersUrl"])


Story = Callable[[Telling], None]


def a_library_is_stored_and_told(tell: Telling) -> None:
    """A file of three parts and a small one, by a fresh login; then logs and traces, and nothing is left over."""
    stage = tell.stage
    small, large = video(1, etag_part_bytes=None), video(2, size=11 * MIB)
    serve(stage, small, large)
    began = time.time()
    sync_id = stage.trigger()
    summary = tell.completed(sync_id)
    tell.holds("two media are downloaded", (summary["outcome"], summary["downloaded"]) == ("completed", 2))
    for medium in (small, large):
        stored = [one.sha256 for one in stage.objects_of(medium.media_id)]
        originals = [one["sha256"] for one in stage.control.originals(medium.media_id)]
        tell.holds("the originals are stored, byte for byte", stored == originals)
    tell.until("the notification comes", lambda: stage.notifications(sync_id))
    tell.holds("the report is stored", stage.objects(f"reports/{sync_id}.json"))
    tell.until("nothing is left in a queue", tell.is_done)
    for service in SERVICES:
        tell.until(f"the log of the {service} is written", lambda service=service: _logged(stage, service, sync_id))
    for service in SERVICES:
        tell.until(f"the {service} is traced", lambda service=service: _traced(stage, service, began))


def what_can_not_be_read_is_kept(tell: Telling) -> None:
    """Each service makes a dead letter of it within seconds."""
    tell.watches = False
    for service in SERVICES:
        url = tell.stage.outputs[f"{service.title()}QueueUrl"]
        tell.stage.client("sqs").send_message(QueueUrl=url, MessageBody="no event")
    for service in SERVICES:
        tell.until(f"the {service} keeps its message", lambda service=service: tell.dead_letters(service))


def sessions_are_replaced(tell: Telling) -> None:
    """A session that GoPro refuses, first at the next sync, then as a worker reports it."""
    stage = tell.stage
    stage.control.configure_account(expires_in=4)
    serve(stage)
    tell.completed(stage.trigger())
    stage.control.revoke_tokens("access")
    sync_id = stage.trigger()
    tell.completed(sync_id)
    version = stage.events("SessionAuthenticated", sync_id)[0]["detail"]["data"]["session_version"]
    stage.put_event("SessionRejected", detail(SessionRejected(sync_id=sync_id, session_version=version)))
    tell.until("the rejected session is replaced", lambda: _session_version(stage) > version)


def logins_by_password_are_a_minute_apart(tell: Telling) -> None:
    """A second one waits for its time instead of failing."""
    stage = tell.stage
    serve(stage)
    password_only = {name: value for name, value in stage.credentials.items() if name != "refresh_token"}
    stage.put_secret("CredentialsSecretName", password_only)
    tried_at = int(time.time()) - PASSWORD_PAUSE_SECONDS + 8
    stage.deployment.table("AuthenticatorTableName").put_item(Item={"id": "password-grant", "tried_at": tried_at})
    tell.completed(stage.trigger())


def interrupted_files_go_on_and_replaced_ones_begin_anew(tell: Telling) -> None:
    """Both after a redrive of their dead letters: one upload is taken up again, the other is aborted."""
    stage = tell.stage
    cut = Drop(at_bytes=11 * MIB, times=None)
    interrupted, replaced = (video(number, cut, size=12 * MIB) for number in (1, 2))
    serve(stage, interrupted, replaced)
    tell.watches = False
    sync_id = stage.trigger()
    tell.until("the cut ones are kept", lambda: tell.dead_letters("downloader") == 2)
    tell.completed(sync_id)
    other = video(2, size=12 * MIB + 1)
    serve(stage, video(1, size=12 * MIB), other)
    tell.holds("both are redriven", len(redrive(stage.deployment, "downloader")) == 2)
    tell.watches = True
    tell.until("both are stored", lambda: len(stage.objects()) == 2)
    tell.until("that is told", lambda: stage.events("SyncAmended", sync_id))
    stored = {one.sha256 for one in stage.objects().values()}
    served = {stage.control.sha256(medium.media_id) for medium in (interrupted, other)}
    tell.holds("byte for byte", stored == served)
    tell.holds("no upload is left", not stage.uploads())


def a_stored_medium_is_told_again(tell: Telling) -> None:
    """To a second sync that takes it on before it knows that it is there."""
    stage = tell.stage
    serve(stage, video(1))
    sync_id = stage.trigger()
    tell.completed(sync_id)
    discovered = stage.events("MediaDiscovered", sync_id)[0]["detail"]
    other = f"other-{uuid.uuid4()}"
    stage.left_open.add(other)  # nothing ever says that its library is listed
    stage.put_event("MediaDiscovered", {**discovered, "metadata": {**discovered["metadata"], "sync_id": other}})
    told = tell.until("it is told to be stored", lambda: stage.events("MediaDownloaded", other))
    tell.holds("as stored before", told[0]["detail"]["data"]["already_stored"])


def a_stalled_sync_is_closed(tell: Telling) -> None:
    """Of a medium nothing is heard, no worker has it, and the inbox is empty: the second review says so."""
    stage = tell.stage
    sync_id, media_id = f"stalled-{uuid.uuid4()}", video(1).media_id
    listed = LibraryListed(sync_id=sync_id, listed=1, stored=0, discovered=1, pending=0, deferred=0)
    for event in (MediaDiscovered(sync_id=sync_id, media_id=media_id), listed):
        stage.post("summarizer", event, "lister")
    tell.until(
        "it is known", lambda: _sync(stage, sync_id).get("expected") == 1 and _sync(stage, sync_id)["discovered"]
    )
    stage.review()
    tell.until("the review takes note", lambda: _sync(stage, sync_id).get("quiet"))
    time.sleep(1.1)  # a later review is one of another second
    stage.review()
    summary = tell.completed(sync_id)
    tell.holds("as stalled", summary["closed_because"] == "stalled")
    tell.holds("the medium is named", [one["media_id"] for one in summary["failures"]] == [media_id])


def a_paused_listing_goes_on_and_a_shrunken_library_is_noticed(tell: Telling) -> None:
    """A listing of two pages, a slice each; then a sync of what is left of that library."""
    stage = tell.stage
    stage.control.replace_library(Library(series=(Series(count=201),)))
    sync_id = stage.trigger()
    summary = tell.completed(sync_id)
    tell.holds("all of it was listed", (summary["listed"], summary["downloaded"]) == (201, 3))
    tell.holds("after a pause", stage.events("LibraryListingPaused", sync_id))
    serve(stage, video(1))
    warnings = tell.completed(stage.trigger())["warnings"]
    tell.holds("the summary warns of it", any("much smaller" in warning for warning in warnings))


def schedules_fire_or_leave_a_dead_letter(tell: Telling) -> None:
    """The review's own target, and one that publishes under a source that isn't the schedule's."""
    stage = tell.stage
    target = tell.roles.schedule_target("ReviewScheduleName")
    parameters = target["EventBridgeParameters"]
    foreign = {**target, "EventBridgeParameters": {**parameters, "Source": "cloud-sync.operator"}}
    dead_letters = target["DeadLetterConfig"]["Arn"].rsplit(":", 1)[-1]
    url = stage.client("sqs").get_queue_url(QueueName=dead_letters)["QueueUrl"]
    stage.client("sqs").purge_queue(QueueUrl=url)
    with _soon(stage, target):
        tell.until("the schedule publishes", lambda: stage.events("SyncReviewDue"))
    tell.holds("as the schedule", stage.events("SyncReviewDue")[0]["source"] == parameters["Source"])
    with _soon(stage, foreign):
        tell.until("what it may not publish is kept", lambda: _visible(stage, url))
    tell.holds("and not published", len(stage.events("SyncReviewDue")) == 1)


STORIES: Mapping[str, Story] = {
    story.__name__.replace("_", " "): story
    for story in (
        a_library_is_stored_and_told,
        what_can_not_be_read_is_kept,
        sessions_are_replaced,
        logins_by_password_are_a_minute_apart,
        interrupted_files_go_on_and_replaced_ones_begin_anew,
        a_stored_medium_is_told_again,
        a_stalled_sync_is_closed,
        a_paused_listing_goes_on_and_a_shrunken_library_is_noticed,
        schedules_fire_or_leave_a_dead_letter,
    )
}


def fail_fast(stage: Stage) -> None:
    """Fewer tries and shorter waits, as another deployment could have them."""
    functions, sqs = stage.client("lambda"), stage.client("sqs")
    for service, receives in MAX_RECEIVES.items():
        name, url = stage.outputs[f"{service.title()}FunctionName"], stage.outputs[f"{service.title()}QueueUrl"]
        variables = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
        variables |= {"MAX_RECEIVES": str(receives), "RETRY_BASE_SECONDS": SETTINGS["retry_base_seconds"]}
        functions.update_function_configuration(FunctionName=name, Environment={"Variables": variables})
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"])["Attributes"]
        redrive_policy = {**json.loads(attributes["RedrivePolicy"]), "maxReceiveCount": receives}
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": json.dumps(redrive_policy)})


def _visible(stage: Stage, queue_url: str) -> int:
    name = "ApproximateNumberOfMessages"
    answer = stage.client("sqs").get_queue_attributes(QueueUrl=queue_url, AttributeNames=[name])
    return int(answer["Attributes"][name])


def _sync(stage: Stage, sync_id: str) -> dict[str, Any]:
    return dict(stage.look(sync_id).sync or {})


def _session_version(stage: Stage) -> int:
    variables = stage.client("lambda").get_function_configuration(FunctionName=stage.outputs["ListerFunctionName"])
    secret = variables["Environment"]["Variables"]["SESSION_SECRET"]
    content = stage.client("secretsmanager").get_secret_value(SecretId=secret)["SecretString"]
    return int(json.loads(content)["version"])


def _logged(stage: Stage, service: str, sync_id: str) -> bool:
    group = stage.outputs[f"{service.title()}LogGroupName"]
    pages = (
        stage.client("logs")
        .get_paginator("filter_log_events")
        .paginate(logGroupName=group, filterPattern=f'"{sync_id}"')
    )
    return any(page["events"] for page in pages)


def _traced(stage: Stage, service: str, since: float) -> bool:
    name = stage.outputs[f"{service.title()}FunctionName"]
    told = stage.client("xray").get_trace_summaries(StartTime=since, EndTime=time.time() + 1)
    return any(one["Name"] == name for summary in told["TraceSummaries"] for one in summary["ServiceIds"])


@contextmanager
def _soon(stage: Stage, target: Mapping[str, Any]) -> Iterator[None]:
    """A schedule that fires this target once, within two seconds."""
    scheduler, group, name = stage.client("scheduler"), stage.outputs["ScheduleGroupName"], f"soon-{uuid.uuid4()}"
    scheduler.create_schedule(
        Name=name,
        GroupName=group,
        ScheduleExpression=f"at({time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(time.time() + 2))})",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target=target,
    )
    try:
        yield
    finally:
        scheduler.delete_schedule(Name=name, GroupName=group)
