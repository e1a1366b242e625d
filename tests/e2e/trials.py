"""The fault behind each alarm, made on the local stage, and what has to be well after its runbook.

A trial is a generator. It makes the fault and yields; then the runbook's part "Look" runs, and what it printed is sent
back. The trial takes away what no runbook could, such as an outage of GoPro, and yields again; then "Do" and "Verify"
run, and what they printed is sent back. Then the trial asserts that all is well.
"""

import copy
import json
import re
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from ops.local.gopro_cloud.faults import Answer, Drop
from tests.e2e.desk import Desk
from tests.e2e.media import assert_stored, serve, video
from tests.e2e.outputs import LISTENERS
from tests.e2e.stage import Stage, eventually

SOON = {"RETRY_BASE_SECONDS": "0.1"}
SIX_DAYS = 6 * 24  # hours


@dataclass(frozen=True, kw_only=True)
class Turn:
    """It is the operator's turn, who fills in these words, and pastes this."""

    words: Mapping[str, str] = field(default_factory=dict)
    paste: str = ""


Trial = Callable[[Stage, Desk], Generator[Turn, str, None]]


def a_login_of_gopro_that_is_down(stage: Stage, _: Desk) -> Generator[Turn, str, None]:
    serve(stage, video(1))
    stage.control.arm(Answer(endpoint="token", status=503, times=None))
    with stage.environment("authenticator", **SOON):
        stage.trigger()
        eventually(lambda: stage.dead_letters("authenticator"), "a dead letter of the authenticator")
        looked = yield Turn()
        assert "SyncRequested" in looked
        stage.control.disarm()
        yield Turn()
    assert_stored(stage, video(1))


def a_listing_that_gopro_refuses(stage: Stage, _: Desk) -> Generator[Turn, str, None]:
    serve(stage, video(1))
    stage.control.arm(Answer(endpoint="search", status=500, times=None))
    with stage.environment("lister", LANE_WAIT_SECONDS="1", **SOON):
        sync_id = stage.trigger()
        eventually(lambda: stage.dead_letters("lister"), "a dead letter of the lister")
        stage.wait_for_close(sync_id)
        looked = yield Turn()
        assert "SessionAuthenticated" in looked
        stage.control.disarm()
        yield Turn()
    assert_stored(stage, video(1))


def a_medium_whose_connection_drops_at_every_try(stage: Stage, _: Desk) -> Generator[Turn, str, None]:
    good, cut = video(1), video(2)
    serve(stage, good, video(2, Drop(at_bytes=1000, times=None)))
    sync_id = stage.trigger()
    eventually(lambda: stage.dead_letters("downloader"), "a dead letter of the downloader")
    stage.wait_for_close(sync_id)
    looked = yield Turn()
    assert cut.media_id in looked
    stage.control.disarm(cut.media_id)
    done = yield Turn()
    assert f"succeeded  {cut.media_id}" in done
    assert_stored(stage, good, cut)


def a_table_that_the_summarizer_cannot_use(stage: Stage, _: Desk) -> Generator[Turn, str, None]:
    serve(stage, video(1))
    wrong = {"SYNCS_TABLE": "of-another-stack", "MAX_RECEIVES": "2", **SOON}
    with fewer_receives(stage, "summarizer", 2), stage.environment("summarizer", **wrong):
        sync_id = stage.trigger()
        facts = {"SyncRequested", "MediaDiscovered", "LibraryListed", "MediaDownloaded"}

        def all_are_dead() -> bool:
            return {letter.event for letter in stage.dead_letters("summarizer")} >= facts

        eventually(all_are_dead, "a dead letter of each fact")
        looked = yield Turn(words=of_the_summarizer(stage))
        assert '"outcome":"dead_letter"' in looked
        assert "ResourceNotFoundException" in looked
    yield Turn(words=of_the_summarizer(stage))
    assert stage.wait_for_close(sync_id).sync is not None
    assert stage.wait_for_notification(sync_id)


def a_schedule_that_could_not_publish(stage: Stage, _: Desk) -> Generator[Turn, str, None]:
    """Scheduler here doesn't use its dead letters unless roles are enforced; what it would put there is put there."""
    serve(stage, video(1))
    sqs, url = stage.client("sqs"), stage.outputs["ScheduleDeadLettersUrl"]
    because = {"ERROR_CODE": "ResourceNotFoundException", "ERROR_MESSAGE": "Event bus does not exist."}
    attributes = {name: {"DataType": "String", "StringValue": text} for name, text in because.items()}
    sqs.send_message(QueueUrl=url, MessageBody=stage.schedule("Daily")["Target"]["Input"], MessageAttributes=attributes)
    words = {
        "EVENT_BUS": stage.outputs["EventBusName"],
        "SCHEDULE_GROUP": stage.outputs["ScheduleGroupName"],
        "SCHEDULE": stage.outputs["DailyScheduleName"].rsplit("/", 1)[-1],
        "QUEUE_URL": url,
    }
    looked = yield Turn(words=words)
    assert "Event bus does not exist." in looked
    done = yield Turn(words=words)
    assert '"ApproximateNumberOfMessages": "0"' in done
    assert_stored(stage, video(1))


def an_inbox_that_the_bus_cannot_reach(stage: Stage, desk: Desk) -> Generator[Turn, str, None]:
    """The rule has lost its target. The bus here has no dead letters; what it would put there is put there."""
    serve(stage, video(1))
    events, bus = stage.client("events"), stage.outputs["EventBusName"]
    inbox = stage.output("downloader", "QueueArn")
    (rule,) = events.list_rule_names_by_target(TargetArn=inbox, EventBusName=bus)["RuleNames"]
    targets = events.list_targets_by_rule(Rule=rule, EventBusName=bus)["Targets"]

    def restore() -> None:
        events.put_targets(Rule=rule, EventBusName=bus, Targets=targets)

    desk.revert_drift = restore
    events.remove_targets(Rule=rule, EventBusName=bus, Ids=[target["Id"] for target in targets])
    try:
        sync_id = stage.trigger()
        lost = stage.wait_for_event("MediaDiscovered", sync_id)
        because = {"TARGET_ARN": inbox, "ERROR_CODE": "NO_PERMISSIONS", "ERROR_MESSAGE": "Access is denied."}
        attributes = {name: {"DataType": "String", "StringValue": text} for name, text in because.items()}
        queue = stage.deployment.undelivered
        stage.client("sqs").send_message(QueueUrl=queue, MessageBody=json.dumps(lost), MessageAttributes=attributes)
        looked = yield Turn()
        assert "the bus could not deliver it: NO_PERMISSIONS Access is denied." in looked
        yield Turn()
    finally:
        restore()
    assert_stored(stage, video(1))


def a_daily_schedule_that_somebody_disabled(stage: Stage, _: Desk) -> Generator[Turn, str, None]:
    serve(stage, video(1))
    before = stage.schedule("Daily")
    changing = ("Arn", "CreationDate", "LastModificationDate", "ResponseMetadata", "ActionAfterCompletion")
    kept = before.keys() - {*changing, "State"}
    stage.client("scheduler").update_schedule(**{name: before[name] for name in kept}, State="DISABLED")
    looked = yield Turn()
    assert "its schedule is disabled" in looked
    done = yield Turn(words={"SCHEDULE_GROUP": before["GroupName"], "SCHEDULE": before["Name"]})
    assert "its schedule is disabled" not in done
    after = stage.schedule("Daily")
    assert {name: after.get(name) for name in (*kept, "State")} == {name: before[name] for name in (*kept, "State")}
    assert_stored(stage, video(1))


def a_deployment_that_breaks_the_summarizer(stage: Stage, _: Desk) -> Generator[Turn, str, None]:
    """The function misses a variable of its environment."""
    serve(stage, video(1))
    template = stage.client("cloudformation").get_template(StackName=stage.deployment.stack_name)["TemplateBody"]
    good: dict[str, Any] = template if isinstance(template, dict) else json.loads(template)
    broken = copy.deepcopy(good)
    (function,) = (
        one["Properties"]
        for one in broken["Resources"].values()
        if "summarizer" in one.get("Properties", {}).get("Handler", "")
    )
    del function["Environment"]["Variables"]["SYNCS_TABLE"]
    deploy_template(stage, broken)
    try:
        sync_id = stage.trigger()
        stage.wait_for_event("MediaDownloaded", sync_id)
        # AWS writes this into the function's log; the embedded AWS writes it into its own.
        log = stage.record.folder / "ministack.log"
        eventually(lambda: "SYNCS_TABLE is not set" in log.read_text(errors="replace"), "a summarizer that can't start")
        looked = yield Turn(words=of_the_summarizer(stage))
        ((waiting, in_work),) = re.findall(r"summarizer\D+(\d+)\D+(\d+)", looked.partition("$")[0])[:1]
        assert int(waiting) + int(in_work), "messages wait in its inbox"
        yield Turn(words=of_the_summarizer(stage))
        assert stage.wait_for_close(sync_id).sync is not None
    finally:
        if "SYNCS_TABLE" not in stage.variables("summarizer"):
            deploy_template(stage, good)
    assert_stored(stage, video(1))


def deploy_template(stage: Stage, body: Mapping[str, Any]) -> None:
    """Update the stack to this template, as a deployment from another checkout would."""
    stacks, stack = stage.client("cloudformation"), {"StackName": stage.deployment.stack_name}
    s3, key = stage.client("s3"), "another.template.json"
    bucket = next(one["Name"] for one in s3.list_buckets()["Buckets"] if one["Name"].startswith("cdk"))
    s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(body))
    stacks.update_stack(
        **stack,
        TemplateURL=f"https://s3.amazonaws.com/{bucket}/{key}",
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"],
        Parameters=[{"ParameterKey": name, "UsePreviousValue": True} for name in body.get("Parameters", {})],
    )
    stacks.get_waiter("stack_update_complete").wait(**stack, WaiterConfig={"Delay": 1})


def a_topic_that_somebody_deleted(stage: Stage, _: Desk) -> Generator[Turn, str, None]:
    serve(stage, video(1))
    sns, topic = stage.client("sns"), {"TopicArn": stage.outputs["NotificationTopicArn"]}
    kept = ("Policy", "DisplayName")
    attributes = sns.get_topic_attributes(**topic)["Attributes"]
    sns.delete_topic(**topic)
    try:
        sync_id = stage.trigger()
        stage.wait_for_event("SyncCompleted", sync_id)
        log = {"logGroupName": of_the_summarizer(stage)["LOG_GROUP"], "filterPattern": '"retry"'}
        eventually(lambda: stage.client("logs").filter_log_events(**log)["events"], "a failure in the log")
        looked = yield Turn(words=of_the_summarizer(stage))
        assert "its notification has not been sent yet" in looked
        assert "NotFound" in looked
        words = {"TOPIC_ARN": topic["TopicArn"], "TOPIC": topic["TopicArn"].rpartition(":")[2]}
        yield Turn(words=words)
        assert (stage.wait_for_close(sync_id).sync or {})["announcement"]["notified"]
    finally:
        sns.create_topic(Name=topic["TopicArn"].rpartition(":")[2])
        for name in kept:
            sns.set_topic_attributes(**topic, AttributeName=name, AttributeValue=attributes.get(name, ""))
        unsubscribe(stage, "email")
        stage.queue_of_notifications(LISTENERS[1])


def a_function_that_may_not_start(stage: Stage, _: Desk) -> Generator[Turn, str, None]:
    serve(stage, video(1))
    name = {"FunctionName": stage.output("downloader", "FunctionName")}
    functions = stage.client("lambda")
    functions.put_function_concurrency(**name, ReservedConcurrentExecutions=0)
    try:
        sync_id = stage.trigger()
        stage.wait_for_event("MediaDiscovered", sync_id)
        looked = yield Turn(words={"FUNCTION": name["FunctionName"]})
        assert '"ReservedConcurrentExecutions": 0' in looked
        assert stage.objects() == {}
        yield Turn(words={"FUNCTION": name["FunctionName"]})
    finally:
        functions.delete_function_concurrency(**name)
    assert_stored(stage, video(1))


def a_pasted_session_that_is_old(stage: Stage, _: Desk) -> Generator[Turn, str, None]:
    serve(stage, video(1))
    stage.put_secret("CredentialsSecretName", {"access_token": stage.control.paste_token(lifetime=9 * 3600)})
    stage.summary(stage.trigger())
    stage.age_session(hours=SIX_DAYS)
    looked = yield Turn()
    assert f"{SIX_DAYS}.0 hours ago" in looked
    pasted = stage.control.paste_token(lifetime=9 * 3600)
    done = yield Turn(paste=f"Cookie: gp_access_token={pasted}")
    assert pasted not in done
    assert "0.0 hours ago" in done
    assert_stored(stage, video(1))


def a_subscriber_that_is_gone(stage: Stage, _: Desk) -> Generator[Turn, str, None]:
    serve(stage, video(1))
    sns, topic = stage.client("sns"), stage.outputs["NotificationTopicArn"]
    gone = f"{stage.output('lister', 'QueueArn')}-of-another-stack"
    subscribed = sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=gone, ReturnSubscriptionArn=True)
    words = {"TOPIC_ARN": topic, "SUBSCRIPTION_ARN": subscribed["SubscriptionArn"]}
    try:
        looked = yield Turn(words=words)
        assert gone in looked
        done = yield Turn(words=words)
        listed = done.partition("Subscriptions")[2]
        assert "you@example.com" in listed
        assert gone not in listed
    finally:
        unsubscribe(stage, "email")
    assert_stored(stage, video(1))


TRIALS: Mapping[str, Trial] = {
    "AuthenticatorDeadLetters": a_login_of_gopro_that_is_down,
    "ListerDeadLetters": a_listing_that_gopro_refuses,
    "DownloaderDeadLetters": a_medium_whose_connection_drops_at_every_try,
    "SummarizerDeadLetters": a_table_that_the_summarizer_cannot_use,
    "ScheduleDeadLetters": a_schedule_that_could_not_publish,
    "UndeliveredEvents": an_inbox_that_the_bus_cannot_reach,
    "NoSync": a_daily_schedule_that_somebody_disabled,
    "SummarizerErrors": a_deployment_that_breaks_the_summarizer,
    "SummarizerStuck": a_topic_that_somebody_deleted,
    "Throttles": a_function_that_may_not_start,
    "SessionOld": a_pasted_session_that_is_old,
    "NotificationsFailed": a_subscriber_that_is_gone,
}


def of_the_summarizer(stage: Stage) -> dict[str, str]:
    return {"LOG_GROUP": stage.output("summarizer", "LogGroupName")}


def unsubscribe(stage: Stage, protocol: str) -> None:
    sns, topic = stage.client("sns"), stage.outputs["NotificationTopicArn"]
    for one in sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]:
        if one["Protocol"] == protocol:
            sns.unsubscribe(SubscriptionArn=one["SubscriptionArn"])


@contextmanager
def fewer_receives(stage: Stage, service: str, receives: int) -> Iterator[None]:
    """Let a message of this inbox become a dead letter sooner."""
    sqs, url, name = stage.client("sqs"), stage.output(service, "QueueUrl"), "RedrivePolicy"
    before = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"][name]
    changed = json.dumps({**json.loads(before), "maxReceiveCount": receives})
    with ExitStack() as restored:
        restored.callback(sqs.set_queue_attributes, QueueUrl=url, Attributes={name: before})
        sqs.set_queue_attributes(QueueUrl=url, Attributes={name: changed})
        yield
