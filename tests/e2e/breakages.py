"""What an operator can break by hand, one thing at a time, and what `cloud-sync doctor` has to call it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.e2e.stage import Stage

EMAIL = "you@example.com"

PutBack = Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class Breakage:
    """`what`: what the doctor calls it. `make`: breaks it, and returns how to put it back.

    Without a way back, the command that the doctor prints has to fix it.
    """

    what: str
    make: Callable[[Stage], PutBack | None]


def physical(stage: Stage, name: str) -> str:
    """Return what AWS calls the resource whose logical id begins with this name."""
    pages = stage.client("cloudformation").get_paginator("list_stack_resources")
    found = [
        str(one["PhysicalResourceId"])
        for page in pages.paginate(StackName=stage.deployment.stack_name)
        for one in page["StackResourceSummaries"]
        if one["LogicalResourceId"][:-8] == name or one["LogicalResourceId"] == name
    ]
    assert len(found) == 1, f"{name}: {found}"
    return found[0]


# --- schedules ------------------------------------------------------------------------------------------------------


def _schedule(stage: Stage, name: str) -> tuple[dict[str, str], dict[str, Any]]:
    """Return how to name a schedule, and all of it that an update takes."""
    named = {"GroupName": stage.outputs["ScheduleGroupName"], "Name": physical(stage, name).rsplit("/", 1)[-1]}
    found = stage.client("scheduler").get_schedule(**named)
    changing = {"Arn", "CreationDate", "LastModificationDate", "ResponseMetadata"}
    return named, {key: value for key, value in found.items() if key not in changing}


def disable_schedule(name: str) -> Callable[[Stage], None]:
    def make(stage: Stage) -> None:
        _, whole = _schedule(stage, name)
        stage.client("scheduler").update_schedule(**{**whole, "State": "DISABLED"})

    return make


def delete_schedule(stage: Stage) -> PutBack:
    named, whole = _schedule(stage, "SchedulesReview")
    stage.client("scheduler").delete_schedule(**named)
    return lambda: stage.client("scheduler").create_schedule(**whole)


def move_schedule(stage: Stage) -> PutBack:
    _, whole = _schedule(stage, "SchedulesDaily")
    stage.client("scheduler").update_schedule(**{**whole, "ScheduleExpression": "cron(0 5 * * ? *)"})
    return lambda: stage.client("scheduler").update_schedule(**whole)


# --- the bus --------------------------------------------------------------------------------------------------------


def _rule(stage: Stage, name: str) -> dict[str, str]:
    return {"Name": physical(stage, name).rsplit("|", 1)[-1], "EventBusName": stage.outputs["EventBusName"]}


def disable_rule(name: str) -> Callable[[Stage], None]:
    def make(stage: Stage) -> None:
        stage.client("events").disable_rule(**_rule(stage, name))

    return make


def _targets(stage: Stage, rule: Mapping[str, str]) -> tuple[dict[str, str], list[dict[str, Any]]]:
    on_bus = {"Rule": rule["Name"], "EventBusName": rule["EventBusName"]}
    return on_bus, stage.client("events").list_targets_by_rule(**on_bus)["Targets"]


def take_target(stage: Stage) -> PutBack:
    events = stage.client("events")
    on_bus, targets = _targets(stage, _rule(stage, "ListerRule"))
    events.remove_targets(**on_bus, Ids=[one["Id"] for one in targets])
    return lambda: events.put_targets(**on_bus, Targets=targets)


def change_pattern(stage: Stage) -> PutBack:
    events, rule = stage.client("events"), _rule(stage, "SummarizerRule")
    pattern = events.describe_rule(**rule)["EventPattern"]
    narrowed = {**json.loads(pattern), "detail-type": ["SyncRequested"]}
    events.put_rule(**rule, EventPattern=json.dumps(narrowed), State="ENABLED")
    return lambda: events.put_rule(**rule, EventPattern=pattern, State="ENABLED")


def delete_rule(stage: Stage) -> PutBack:
    events, rule = stage.client("events"), _rule(stage, "AuthenticatorRule")
    pattern = events.describe_rule(**rule)["EventPattern"]
    on_bus, targets = _targets(stage, rule)
    events.remove_targets(**on_bus, Ids=[one["Id"] for one in targets])
    events.delete_rule(**rule)

    def put_back() -> None:
        events.put_rule(**rule, EventPattern=pattern, State="ENABLED")
        events.put_targets(**on_bus, Targets=targets)

    return put_back


# --- functions ------------------------------------------------------------------------------------------------------


def stop_function(stage: Stage) -> None:
    name = stage.output("downloader", "FunctionName")
    stage.client("lambda").put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)


def take_variable(stage: Stage) -> PutBack:
    before = stage.variables("summarizer")
    without = {name: value for name, value in before.items() if name != "SYNCS_TABLE"}
    stage.configure("summarizer", Environment={"Variables": without})
    return lambda: stage.configure("summarizer", Environment={"Variables": before})


def change_function(stage: Stage) -> PutBack:
    before = stage.variables("lister")
    stage.configure("lister", Timeout=30, Environment={"Variables": {**before, "MAX_MEDIA_PER_SYNC": "1"}})
    return lambda: stage.configure("lister", Timeout=900, Environment={"Variables": before})


def disable_event_source(stage: Stage) -> None:
    stage.client("lambda").update_event_source_mapping(UUID=physical(stage, "ListerDeliveries"), Enabled=False)


def widen_event_source(stage: Stage) -> None:
    source = {"UUID": physical(stage, "DownloaderDeliveries")}
    stage.client("lambda").update_event_source_mapping(**source, ScalingConfig={"MaximumConcurrency": 50})


# --- notifications and alarms ---------------------------------------------------------------------------------------


def delete_topic(stage: Stage) -> PutBack:
    sns, topic = stage.client("sns"), {"TopicArn": stage.outputs["NotificationTopicArn"]}
    kept = {name: sns.get_topic_attributes(**topic)["Attributes"].get(name, "") for name in ("Policy", "DisplayName")}
    subscribed = sns.list_subscriptions_by_topic(**topic)["Subscriptions"]
    sns.delete_topic(**topic)

    def put_back() -> None:
        sns.create_topic(Name=topic["TopicArn"].rpartition(":")[2])
        for name, value in kept.items():
            sns.set_topic_attributes(**topic, AttributeName=name, AttributeValue=value)
        for one in subscribed:
            sns.subscribe(**topic, Protocol=one["Protocol"], Endpoint=one["Endpoint"])

    return put_back


def unsubscribe(stage: Stage) -> None:
    sns, topic = stage.client("sns"), {"TopicArn": stage.outputs["NotificationTopicArn"]}
    for one in sns.list_subscriptions_by_topic(**topic)["Subscriptions"]:
        if one["Endpoint"] == EMAIL:
            sns.unsubscribe(SubscriptionArn=one["SubscriptionArn"])


def _alarm(stage: Stage) -> tuple[str, dict[str, Any]]:
    """Return the name of an alarm, and all that creates it again."""
    name, cloudwatch = physical(stage, "AlarmsUndeliveredEvents"), stage.client("cloudwatch")
    (found,) = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    taken = cloudwatch.meta.service_model.operation_model("PutMetricAlarm").input_shape.members
    return name, {key: value for key, value in found.items() if key in taken}


def ring(stage: Stage) -> PutBack:
    cloudwatch, (name, _) = stage.client("cloudwatch"), _alarm(stage)
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="a test")
    return lambda: cloudwatch.set_alarm_state(AlarmName=name, StateValue="OK", StateReason="a test")


def silence(stage: Stage) -> None:
    stage.client("cloudwatch").disable_alarm_actions(AlarmNames=[_alarm(stage)[0]])


def take_actions(stage: Stage) -> PutBack:
    cloudwatch, (_, whole) = stage.client("cloudwatch"), _alarm(stage)
    cloudwatch.put_metric_alarm(**{**whole, "AlarmActions": []})
    return lambda: cloudwatch.put_metric_alarm(**whole)


def delete_alarm(stage: Stage) -> PutBack:
    cloudwatch, (name, whole) = stage.client("cloudwatch"), _alarm(stage)
    cloudwatch.delete_alarms(AlarmNames=[name])
    return lambda: cloudwatch.put_metric_alarm(**whole)


# --- queues ---------------------------------------------------------------------------------------------------------


def fill_queue(name: str) -> Callable[[Stage], PutBack]:
    def make(stage: Stage) -> PutBack:
        sqs, queue = stage.client("sqs"), {"QueueUrl": physical(stage, name)}
        sqs.send_message(**queue, MessageBody="{}")
        return lambda: sqs.purge_queue(**queue)

    return make


def take_redrive_policy(stage: Stage) -> PutBack:
    sqs, queue = stage.client("sqs"), {"QueueUrl": stage.output("lister", "QueueUrl")}
    name = "RedrivePolicy"
    before = sqs.get_queue_attributes(**queue, AttributeNames=[name])["Attributes"][name]
    sqs.set_queue_attributes(**queue, Attributes={name: ""})
    return lambda: sqs.set_queue_attributes(**queue, Attributes={name: before})


def delete_queue(stage: Stage) -> PutBack:
    sqs, queue = stage.client("sqs"), {"QueueUrl": stage.deployment.undelivered}
    sqs.delete_queue(**queue)
    return lambda: sqs.create_queue(QueueName=queue["QueueUrl"].rpartition("/")[2])


# --- what is stored -------------------------------------------------------------------------------------------------


def empty_credentials(stage: Stage) -> PutBack:
    stage.put_secret("CredentialsSecretName", "{}")
    return lambda: stage.put_secret("CredentialsSecretName", stage.credentials)


def delete_secret(stage: Stage) -> None:
    name = physical(stage, "StorageRefresh")
    stage.client("secretsmanager").delete_secret(SecretId=name, RecoveryWindowInDays=7)


def take_lifecycle(stage: Stage) -> PutBack:
    s3, bucket = stage.client("s3"), {"Bucket": stage.outputs["MediaBucketName"]}
    rules = s3.get_bucket_lifecycle_configuration(**bucket)["Rules"]
    s3.delete_bucket_lifecycle(**bucket)
    return lambda: s3.put_bucket_lifecycle_configuration(**bucket, LifecycleConfiguration={"Rules": rules})


def suspend_versioning(stage: Stage) -> None:
    suspended = {"Status": "Suspended"}
    stage.client("s3").put_bucket_versioning(Bucket=stage.outputs["MediaBucketName"], VersioningConfiguration=suspended)


def open_bucket(stage: Stage) -> None:
    stage.client("s3").delete_public_access_block(Bucket=stage.outputs["MediaBucketName"])


def take_bucket_policy(stage: Stage) -> PutBack:
    s3, bucket = stage.client("s3"), {"Bucket": stage.outputs["MediaBucketName"]}
    policy = s3.get_bucket_policy(**bucket)["Policy"]
    s3.delete_bucket_policy(**bucket)
    return lambda: s3.put_bucket_policy(**bucket, Policy=policy)


def end_recovery(stage: Stage) -> None:
    stage.client("dynamodb").update_continuous_backups(
        TableName=stage.outputs["LibraryTableName"],
        PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": False},
    )


def delete_log_group(stage: Stage) -> None:
    stage.client("logs").delete_log_group(logGroupName=stage.outputs["EventLogGroupName"])


def keep_for_ever(stage: Stage) -> None:
    stage.client("logs").delete_retention_policy(logGroupName=stage.output("lister", "LogGroupName"))


# {bucket} stands for the name of the media bucket.
BREAKAGES: Mapping[str, Breakage] = {
    "daily schedule off": Breakage(
        what="the schedule gopro-sync-daily-schedule is disabled, and the settings want it otherwise",
        make=disable_schedule("SchedulesDaily"),
    ),
    "catch-up schedule off": Breakage(
        what="the schedule gopro-sync-catch-up-schedule is disabled, and the settings want it otherwise",
        make=disable_schedule("SchedulesCatchUp"),
    ),
    "daily schedule moved": Breakage(
        what="the schedule gopro-sync-daily-schedule is cron(0 5 * * ? *), not cron(0 2 * * ? *)", make=move_schedule
    ),
    "review schedule gone": Breakage(what="SchedulesReview is gone", make=delete_schedule),
    "rule disabled": Breakage(what="the rule DownloaderRule is disabled", make=disable_rule("DownloaderRule")),
    "rule without its target": Breakage(what="the rule ListerRule has lost its target Target0", make=take_target),
    "rule with another pattern": Breakage(
        what="the pattern of the rule SummarizerRule was changed", make=change_pattern
    ),
    "rule gone": Breakage(what="AuthenticatorRule is gone", make=delete_rule),
    "rule of the event log disabled": Breakage(
        what="the rule JournalRule is disabled", make=disable_rule("JournalRule")
    ),
    "reserved concurrency 0": Breakage(
        what="DownloaderFunction may not start: its reserved concurrency is 0", make=stop_function
    ),
    "function without a variable": Breakage(
        what="SummarizerFunction lacks the environment variables SYNCS_TABLE", make=take_variable
    ),
    "function changed by hand": Breakage(
        what="ListerFunction was changed by hand: Timeout, MAX_MEDIA_PER_SYNC", make=change_function
    ),
    "event source disabled": Breakage(what="the event source ListerDeliveries is disabled", make=disable_event_source),
    "event source of another concurrency": Breakage(
        what="the event source DownloaderDeliveries runs 50 functions at once, not 5", make=widen_event_source
    ),
    "topic gone": Breakage(what="Notifications is gone", make=delete_topic),
    "nobody subscribed": Breakage(what=f"{EMAIL} is not subscribed, although the settings name it", make=unsubscribe),
    "alarm rings": Breakage(what="the alarm UndeliveredEvents rings", make=ring),
    "alarm silenced": Breakage(what="the actions of the alarm UndeliveredEvents are disabled", make=silence),
    "alarm without actions": Breakage(what="the alarm UndeliveredEvents has no action", make=take_actions),
    "alarm gone": Breakage(what="AlarmsUndeliveredEvents is gone", make=delete_alarm),
    **{
        f"{name} not empty": Breakage(what=f"{name} holds 1 message", make=fill_queue(name))
        for name in (
            "AuthenticatorDeadLetters",
            "ListerDeadLetters",
            "DownloaderDeadLetters",
            "SummarizerDeadLetters",
            "SchedulesDeadLetters",
            "Undelivered",
        )
    },
    "inbox without dead letters": Breakage(
        what="ListerInbox has no dead-letter queue any more", make=take_redrive_policy
    ),
    "queue gone": Breakage(what="Undelivered is gone", make=delete_queue),
    "credentials empty": Breakage(what="the credentials secret is empty", make=empty_credentials),
    "secret about to be deleted": Breakage(what="the secret StorageRefresh is about to be deleted", make=delete_secret),
    "lifecycle removed": Breakage(
        what="{bucket}: incomplete uploads are kept, and paid for, for ever: add a lifecycle rule with "
        "AbortIncompleteMultipartUpload after 21 days",
        make=take_lifecycle,
    ),
    "versioning suspended": Breakage(
        what="{bucket}: versioning is off: an object that somebody overwrites would be lost", make=suspend_versioning
    ),
    "public access not blocked": Breakage(what="{bucket}: public access is not blocked", make=open_bucket),
    "bucket without its policy": Breakage(
        what="{bucket}: its policy does not refuse requests without TLS: deny them if aws:SecureTransport is false",
        make=take_bucket_policy,
    ),
    "no point-in-time recovery": Breakage(what="StorageLibrary has no point-in-time recovery", make=end_recovery),
    "log group gone": Breakage(what="the log group JournalLog is gone", make=delete_log_group),
    "log without retention": Breakage(
        what="the log group ListerLog keeps its lines for ever, not 14", make=keep_for_ever
    ),
}
