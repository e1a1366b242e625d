"""What must hold of the stack whatever it looks like, read from the synthesized template."""

import importlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from services.shared.events import EVENT_TYPES, SERVICES, Event, SessionProbeDue, SyncReviewDue
from services.shared.settings import from_environment, to_environment
from services.summarizer.syncs_table import SyncsTable
from tests.template import Synthesize
from tools.template import Resource, ServiceWiring, Template, reactions_of_services, run_app

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR

Statement = Mapping[str, Any]


def actions(statement: Statement) -> list[str]:
    """Return the actions of a statement, as a list even when it has one."""
    return [statement["Action"]] if isinstance(statement["Action"], str) else list(statement["Action"])


def granting(statements: tuple[Statement, ...], action: str) -> list[Statement]:
    return [statement for statement in statements if any(granted.startswith(action) for granted in actions(statement))]


def granted(service: ServiceWiring) -> set[str]:
    return {action for statement in service.statements for action in actions(statement)}


def allowed_by(prod: Template, resource: Resource) -> list[Statement]:
    """Return what a queue's or topic's own policy allows."""
    return [
        statement
        for kind, holder in (("AWS::SQS::QueuePolicy", "Queues"), ("AWS::SNS::TopicPolicy", "Topics"))
        for policy in prod.of_type(kind)
        if any(prod.refers(held, resource) for held in policy[holder])
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    ]


def every_source_is(source: str) -> Statement:
    """Return the condition that is right for a key with several values: all are this one, and there is one."""
    return {"ForAllValues:StringEquals": {"events:source": source}, "Null": {"events:source": "false"}}


# Permissions


def test_a_service_may_publish_only_as_itself(prod: Template, service: ServiceWiring) -> None:
    (publishing,) = granting(service.statements, "events:PutEvents")
    assert publishing["Condition"] == every_source_is(f"cloud-sync.{service.name}")
    assert prod.referred(publishing["Resource"]).body["Type"] == "AWS::Events::EventBus"


def test_only_tracing_which_has_no_resources_is_allowed_on_all_resources(prod: Template) -> None:
    on_everything = {
        action
        for policy in prod.of_type("AWS::IAM::Policy")
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Resource"] == "*"
        for action in actions(statement)
    }
    assert on_everything == {"xray:PutTraceSegments", "xray:PutTelemetryRecords"}


def test_every_function_has_a_role_of_its_own_without_managed_policies(prod: Template, service: ServiceWiring) -> None:
    functions = prod.of_type("AWS::Lambda::Function")
    assert [function for function in functions if prod.refers(function["Role"], service.role)] == [service.function]
    assert "ManagedPolicyArns" not in service.role.properties


def test_a_function_writes_only_to_its_own_log_and_reads_only_its_own_inbox(
    prod: Template, service: ServiceWiring
) -> None:
    for action, resource in (("logs:", service.log_group), ("sqs:ReceiveMessage", service.inbox)):
        assert [prod.referred(s["Resource"]) for s in granting(service.statements, action)] == [resource]


def test_only_the_authenticator_reads_the_users_credentials(prod: Template) -> None:
    credentials = prod.services["authenticator"].environment["CREDENTIALS_SECRET"]
    readers = [
        service.name
        for service in prod.services.values()
        if any(statement["Resource"] == credentials for statement in service.statements)
    ]
    assert readers == ["authenticator"]


def test_no_service_may_delete_an_object_a_secret_or_an_item_of_the_library(prod: Template) -> None:
    library = prod.referred(prod.services["downloader"].environment["LIBRARY_TABLE"])
    for service in prod.services.values():
        deleting = {action for action in granted(service) if "delete" in action.lower()}
        assert deleting <= {"sqs:DeleteMessage", "dynamodb:DeleteItem"}
        for statement in granting(service.statements, "dynamodb:DeleteItem"):
            assert prod.referred(statement["Resource"]) != library


def test_each_prefix_of_the_bucket_has_one_writer(prod: Template) -> None:
    written = {
        name: [s["Resource"]["Fn::Join"][1][-1] for s in granting(service.statements, "s3:PutObject")]
        for name, service in prod.services.items()
    }
    assert written == {
        "authenticator": [],
        "lister": ["/listings/*"],
        "downloader": ["/gopro/*"],
        "summarizer": ["/reports/*"],
    }


# Messages


def test_a_failed_message_ends_in_its_own_services_dead_letters(prod: Template, service: ServiceWiring) -> None:
    others = [other for other in prod.services.values() if other.name != service.name]
    assert service.dead_letters not in [other.dead_letters for other in others] + [other.inbox for other in others]


def test_a_function_knows_after_how_many_receives_its_message_is_dead(service: ServiceWiring) -> None:
    expected = 10 if service.name == "summarizer" else 4
    assert service.inbox["RedrivePolicy"]["maxReceiveCount"] == expected
    assert service.environment["MAX_RECEIVES"] == str(expected)


def test_a_message_is_hidden_for_as_long_as_its_function_may_run(service: ServiceWiring) -> None:
    assert service.inbox["VisibilityTimeout"] == service.function["Timeout"]


def test_dead_letters_are_kept_longer_than_messages_live(service: ServiceWiring) -> None:
    assert service.dead_letters["MessageRetentionPeriod"] == 14 * DAY
    assert service.inbox["MessageRetentionPeriod"] == 4 * DAY


def undelivered_events(prod: Template) -> Resource:
    """Return the one queue for events that the bus could not deliver."""
    targets = [target for service in prod.services.values() for target in service.rule["Targets"]]
    (queue,) = {prod.referred(target["DeadLetterConfig"]["Arn"]).id for target in targets}
    return prod.resources[queue]


def test_an_event_that_the_bus_cannot_deliver_is_kept_apart_from_what_was_in_an_inbox(
    prod: Template, service: ServiceWiring
) -> None:
    queue = undelivered_events(prod)
    (target,) = service.rule["Targets"]
    assert target["RetryPolicy"]["MaximumEventAgeInSeconds"] == 4 * HOUR
    assert queue["MessageRetentionPeriod"] == 14 * DAY
    assert queue not in [service.dead_letters, service.inbox]


def senders(prod: Template, queue: Resource) -> list[Resource]:
    """Return the rules that a queue's policy lets send."""
    allowed = allowed_by(prod, queue)
    return [prod.referred(statement["Condition"]["ArnEquals"]["aws:SourceArn"]) for statement in allowed]


def test_only_its_own_rule_may_send_to_an_inbox_and_none_to_its_dead_letters(
    prod: Template, service: ServiceWiring
) -> None:
    assert senders(prod, service.inbox) == [service.rule]
    assert senders(prod, service.dead_letters) == []


def test_only_the_rules_may_send_to_the_undelivered_events(prod: Template) -> None:
    rules = {service.rule.id for service in prod.services.values()}
    assert {rule.id for rule in senders(prod, undelivered_events(prod))} == rules


def test_every_event_is_written_into_a_log_that_only_the_rule_for_it_may_fill(prod: Template) -> None:
    (policy,) = prod.of_type("AWS::Logs::ResourcePolicy")
    document = joined(policy["PolicyDocument"])
    statements = {one["Action"]: one for one in json.loads(document)["Statement"]}
    source = re.fullmatch(r"<(\w+)\.Arn>", statements["logs:PutLogEvents"]["Condition"]["ArnEquals"]["aws:SourceArn"])
    assert source
    rule = prod.resources[source[1]]
    (target,) = rule["Targets"]
    (group,) = [one for one in prod.of_type("AWS::Logs::LogGroup") if "LogGroupName" in one.properties]

    assert group["LogGroupName"] == "/aws/events/cloud-sync-prod"
    assert {one["Resource"] for one in statements.values()} == {f"{joined(target['Arn'])}:*"}
    assert joined(target["Arn"]).endswith(f":log-group:<{group.id}>")
    assert "RoleArn" not in target, "EventBridge writes logs by the policy alone"
    assert prod.referred(rule["EventBusName"]).body["Type"] == "AWS::Events::EventBus"
    (pattern,) = rule["EventPattern"]["source"]
    assert all(source.startswith(pattern["prefix"]) for event in EVENT_TYPES.values() for source in event.sources())


def joined(value: Any) -> str:
    """Return a text of the template, with `<id>` and `<id.attribute>` for what is known only when it is deployed."""
    if isinstance(value, str):
        return value
    if "Ref" in value:
        return f"<{value['Ref']}>"
    if "Fn::GetAtt" in value:
        return f"<{'.'.join(value['Fn::GetAtt'])}>"
    separator, parts = value["Fn::Join"]
    return str(separator).join(map(joined, parts))


def test_events_are_kept_as_long_as_the_setting_says(prod: Template, unusual: Template) -> None:
    def days(template: Template) -> list[int]:
        return [
            group["RetentionInDays"]
            for group in template.of_type("AWS::Logs::LogGroup")
            if "LogGroupName" in group.properties
        ]

    assert (days(prod), days(unusual)) == ([90], [5])


def test_failures_are_reported_message_by_message(service: ServiceWiring) -> None:
    assert service.source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_five_media_are_downloaded_at_once_each_in_an_invocation_of_its_own(prod: Template) -> None:
    source = prod.services["downloader"].source
    assert (source["ScalingConfig"]["MaximumConcurrency"], source["BatchSize"]) == (5, 1)


def test_the_summarizer_takes_as_many_facts_as_one_transaction_holds(prod: Template) -> None:
    source = prod.services["summarizer"].source
    assert (source["BatchSize"], source["MaximumBatchingWindowInSeconds"]) == (SyncsTable.MEDIA_PER_WRITE, 1)
    assert source["ScalingConfig"]["MaximumConcurrency"] == 2


def test_a_rule_lets_through_the_events_of_its_services_reactions_from_every_publisher(service: ServiceWiring) -> None:
    pattern = service.rule["EventPattern"]
    reacts_to = reactions_of_services()[service.name]
    assert {EVENT_TYPES[name] for name in pattern["detail-type"]} == set(reacts_to)
    publishers = {publisher for event in reacts_to for publisher in event.publishers}
    assert set(pattern["source"]) == {f"cloud-sync.{publisher}" for publisher in publishers | {"operator"}}


# Functions


def test_functions_run_where_their_wheels_are_for(prod: Template, service: ServiceWiring) -> None:
    assert (service.function["Runtime"], service.function["Architectures"]) == ("python3.13", ["arm64"])
    (layer,) = service.function["Layers"]
    assert prod.referred(layer)["CompatibleArchitectures"] == ["arm64"]


def test_functions_are_traced_and_log_json_for_a_limited_time(service: ServiceWiring) -> None:
    assert service.function["TracingConfig"] == {"Mode": "Active"}
    assert service.function["LoggingConfig"]["LogFormat"] == "JSON"
    assert service.log_group["RetentionInDays"] == 365


def test_lambda_drops_no_log_line_and_no_metric_whatever_the_level(unusual: Template) -> None:
    for service in unusual.services.values():
        assert service.environment["POWERTOOLS_LOG_LEVEL"] == "WARNING"
        assert service.function["LoggingConfig"]["ApplicationLogLevel"] == "INFO"
        assert service.log_group["RetentionInDays"] == 3


@pytest.mark.scenario(13)
def test_a_chain_of_pauses_is_not_cut_and_no_concurrency_is_taken_from_the_account(service: ServiceWiring) -> None:
    assert service.function["RecursiveLoop"] == "Allow"
    assert "ReservedConcurrentExecutions" not in service.function.properties


def test_a_function_reads_exactly_the_environment_that_it_is_given(service: ServiceWiring) -> None:
    libraries = ("POWERTOOLS_", "BOTO_", "MALLOC_")
    given = {
        name: value if isinstance(value, str) else "known when deployed"
        for name, value in service.environment.items()
        if not name.startswith(libraries)
    }
    read = from_environment(importlib.import_module(f"services.{service.name}.settings").Settings, given)
    assert to_environment(read) == given


def test_settings_reach_the_functions(unusual: Template) -> None:
    downloader, lister = unusual.services["downloader"], unusual.services["lister"]
    expected = {
        "GOPRO_API_URL": "http://127.0.0.1:8080",
        "DOWNLOAD_HOSTS": "127.0.0.1,cdn.example.org",
        "RETRY_BASE_SECONDS": "0.5",
        "LANE_WAIT_SECONDS": "4",
        "DOWNLOADER_MEMORY_MB": "2048",
        "CONNECTIONS_PER_FILE": "3",
        "STALL_KILOBYTES_PER_SECOND": "250",
        "STALL_SECONDS": "15",
    }
    assert downloader.environment.items() >= expected.items()
    assert (downloader.function["MemorySize"], downloader.function["Timeout"]) == (2048, 90)
    assert downloader.source["ScalingConfig"]["MaximumConcurrency"] == 7
    assert unusual.services["summarizer"].environment["SYNC_DEADLINE_HOURS"] == "0.25"
    limits = {"MAX_MEDIA_PER_SYNC": "3", "MAX_GIGABYTES_PER_SYNC": "9", "PAGES_PER_SLICE": "2"}
    assert lister.environment.items() >= {**limits, "RETRY_BASE_SECONDS": "2", "RETRY_CAP_SECONDS": "300"}.items()


# Stores


def test_the_media_bucket_is_private_and_outlives_the_stack(prod: Template) -> None:
    (bucket,) = prod.of_type("AWS::S3::Bucket")
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert bucket["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert_kept_once_deployed(bucket)


def test_parts_of_an_upload_are_kept_longer_than_its_dead_letter(prod: Template) -> None:
    (bucket,) = prod.of_type("AWS::S3::Bucket")
    (rule,) = bucket["LifecycleConfiguration"]["Rules"]
    kept = rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] * DAY
    assert kept > prod.services["downloader"].dead_letters["MessageRetentionPeriod"]
    assert rule["Status"] == "Enabled"
    assert "ExpirationInDays" not in rule


def test_tables_cost_by_use_can_be_restored_and_outlive_the_stack(prod: Template) -> None:
    for table in prod.of_type("AWS::DynamoDB::Table"):
        assert table["BillingMode"] == "PAY_PER_REQUEST"
        assert table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True
        assert_kept_once_deployed(table)


def assert_kept_once_deployed(resource: Resource) -> None:
    """Assert that a resource outlives its stack, and that a first deployment that fails leaves none behind."""
    assert resource.body["DeletionPolicy"] == "RetainExceptOnCreate"
    assert resource.body["UpdateReplacePolicy"] == "Retain"


def test_nothing_is_protected_from_deletion_before_an_operator_says_so(prod: Template, unusual: Template) -> None:
    """A protected table blocks the rollback of a first deployment, and a protected stack the second try."""
    for stack, protected in ((prod, False), (unusual, True)):
        for table in stack.of_type("AWS::DynamoDB::Table"):
            assert table.properties.get("DeletionProtectionEnabled", False) is protected
        manifest = json.loads((stack.folder / "manifest.json").read_text())
        assert manifest["artifacts"][stack.stack]["properties"].get("terminationProtection", False) is protected


@pytest.mark.parametrize(
    ("user", "table", "keys"),
    [
        ("downloader", "LIBRARY_TABLE", [("media_id", "HASH"), ("item", "RANGE")]),
        ("summarizer", "SYNCS_TABLE", [("sync_id", "HASH"), ("record", "RANGE")]),
        ("authenticator", "AUTHENTICATOR_TABLE", [("id", "HASH")]),
    ],
)
def test_a_table_has_the_keys_that_its_service_writes(
    prod: Template, user: str, table: str, keys: list[tuple[str, str]]
) -> None:
    schema = prod.referred(prod.services[user].environment[table])["KeySchema"]
    assert [(key["AttributeName"], key["KeyType"]) for key in schema] == keys


def test_secrets_that_cannot_be_recreated_outlive_the_stack(prod: Template) -> None:
    environment = prod.services["authenticator"].environment
    once = "RetainExceptOnCreate"
    kept = {name: prod.referred(environment[name]).body["DeletionPolicy"] for name in environment if "SECRET" in name}
    assert kept == {"CREDENTIALS_SECRET": once, "REFRESH_SECRET": once, "SESSION_SECRET": "Delete"}


def test_a_deployment_never_changes_the_value_of_a_secret(prod: Template, unusual: Template) -> None:
    for secret in prod.of_type("AWS::SecretsManager::Secret") + unusual.of_type("AWS::SecretsManager::Secret"):
        assert secret["SecretString"] == "{}"
        assert "GenerateSecretString" not in secret.properties


# Schedules


def schedules(stack: Template) -> tuple[Resource, Resource, Resource]:
    """Return the daily schedule, its catch-up, and the review, which has no fixed name."""
    named = {schedule.properties.get("Name"): schedule for schedule in stack.of_type("AWS::Scheduler::Schedule")}
    review = schedule_of(stack, SyncReviewDue)
    assert review is not None
    return named["gopro-sync-daily-schedule"], named["gopro-sync-catch-up-schedule"], review


def schedule_of(stack: Template, event: type[Event]) -> Resource | None:
    """Return the one schedule that puts this event onto the bus, if there is any."""
    found = [
        schedule
        for schedule in stack.of_type("AWS::Scheduler::Schedule")
        if schedule["Target"]["EventBridgeParameters"]["DetailType"] == event.__name__
    ]
    assert len(found) <= 1
    return found[0] if found else None


@pytest.mark.scenario(23)
def test_the_daily_sync_is_at_two_in_berlin_and_its_catch_up_after_the_hour_that_summer_time_skips(
    prod: Template,
) -> None:
    daily, catch_up, _ = schedules(prod)
    assert daily["ScheduleExpression"] == "cron(0 2 * * ? *)"
    assert catch_up["ScheduleExpression"] == "cron(15 4 * * ? *)"
    assert {s["ScheduleExpressionTimezone"] for s in (daily, catch_up)} == {"Europe/Berlin"}


def test_hour_and_zone_are_settings_and_reach_the_services_that_date_a_sync(unusual: Template) -> None:
    daily, catch_up, review = schedules(unusual)
    assert daily["ScheduleExpression"] == "cron(0 21 * * ? *)"
    assert catch_up["ScheduleExpression"] == "cron(15 23 * * ? *)"
    for schedule in (daily, catch_up):
        assert schedule["ScheduleExpressionTimezone"] == "America/New_York"
        assert schedule["State"] == "DISABLED"
    assert review["State"] == "ENABLED"
    for name in ("authenticator", "summarizer"):
        assert unusual.services[name].environment["SCHEDULE_TIME_ZONE"] == "America/New_York"


def test_the_daily_schedules_put_the_event_that_an_operator_would_send(prod: Template) -> None:
    for schedule in schedules(prod)[:2]:
        target = schedule["Target"]
        assert target["EventBridgeParameters"] == {"DetailType": "SyncRequested", "Source": "cloud-sync.schedule"}
        assert target["Input"] == (
            '{"provider":"gopro","trigger":"scheduled","scheduled_time":"<aws.scheduler.scheduled-time>"}'
        )


def test_all_syncs_are_reviewed_every_quarter_of_an_hour(prod: Template) -> None:
    *_, review = schedules(prod)
    assert review["ScheduleExpression"] == "rate(15 minutes)"
    assert review["Target"]["EventBridgeParameters"]["DetailType"] == SyncReviewDue.__name__
    assert review["Target"]["Input"] == "{}"


def test_the_session_is_probed_in_the_evening_unless_nobody_wants_it(prod: Template, unusual: Template) -> None:
    probe = schedule_of(prod, SessionProbeDue)
    assert probe is not None
    assert probe["ScheduleExpression"] == "cron(0 20 * * ? *)"
    assert probe["ScheduleExpressionTimezone"] == "Europe/Berlin"
    assert probe["Target"]["Input"] == "{}"
    assert schedule_of(unusual, SessionProbeDue) is None


def test_a_schedule_is_punctual_retries_and_keeps_events_that_it_could_not_send(prod: Template) -> None:
    for schedule in prod.of_type("AWS::Scheduler::Schedule"):
        target = schedule["Target"]
        assert schedule["FlexibleTimeWindow"] == {"Mode": "OFF"}
        assert target["RetryPolicy"]["MaximumRetryAttempts"] == 185
        assert prod.referred(target["DeadLetterConfig"]["Arn"])["MessageRetentionPeriod"] == 14 * DAY
        assert prod.referred(target["Arn"]).body["Type"] == "AWS::Events::EventBus"


def test_the_schedules_may_publish_only_as_the_schedule(prod: Template) -> None:
    for schedule in prod.of_type("AWS::Scheduler::Schedule"):
        statements = prod.statements_of(prod.referred(schedule["Target"]["RoleArn"]))
        (publishing,) = granting(statements, "events:PutEvents")
        assert publishing["Condition"] == every_source_is("cloud-sync.schedule")


# Alarms


def alarms_on(prod: Template, metric: str, resource: Resource) -> list[Resource]:
    return [
        alarm
        for alarm in prod.of_type("AWS::CloudWatch::Alarm")
        if alarm.properties.get("MetricName") == metric
        and any(prod.refers(d["Value"], resource) for d in alarm["Dimensions"])
    ]


def rings(alarm: Resource) -> tuple[Any, ...]:
    """Return the threshold and statistic of an alarm, the number and seconds of its periods, and what silence means."""
    assert "DatapointsToAlarm" not in alarm.properties, "fewer periods would be enough"
    names = ("ComparisonOperator", "Threshold", "Statistic", "EvaluationPeriods", "Period", "TreatMissingData")
    return tuple(alarm[name] for name in names)


def test_every_dead_letter_rings(prod: Template) -> None:
    queues = [service.dead_letters for service in prod.services.values()]
    queues += [prod.referred(schedule["Target"]["DeadLetterConfig"]["Arn"]) for schedule in schedules(prod)]
    queues.append(undelivered_events(prod))
    for queue in queues:
        (alarm,) = alarms_on(prod, "ApproximateNumberOfMessagesVisible", queue)
        assert rings(alarm) == ("GreaterThanOrEqualToThreshold", 1, "Maximum", 1, 5 * MINUTE, "notBreaching")


def test_the_alarm_on_dead_letters_gives_commands_for_that_queue(prod: Template, service: ServiceWiring) -> None:
    (alarm,) = alarms_on(prod, "ApproximateNumberOfMessagesVisible", service.dead_letters)
    commands = re.findall(r"cloud-sync (\w+) --env prod(?: --service (\w+))?", alarm["AlarmDescription"])
    assert commands[:2] == [("failures", service.name), ("redrive", service.name)]
    assert (("trigger", "") in commands) == (service.name == "authenticator")


@pytest.mark.scenario(22)
def test_more_than_a_day_without_a_sync_rings(prod: Template) -> None:
    (alarm,) = alarms_on(prod, "Invocations", prod.services["authenticator"].function)
    assert rings(alarm) == ("LessThanThreshold", 1, "Sum", 26, HOUR, "breaching")


@pytest.mark.scenario(28)
def test_a_failing_summarizer_and_an_undelivered_notification_ring(prod: Template) -> None:
    summarizer = prod.services["summarizer"]
    (cannot_start,) = alarms_on(prod, "Errors", summarizer.function)
    assert rings(cannot_start) == ("GreaterThanOrEqualToThreshold", 1, "Sum", 3, 5 * MINUTE, "notBreaching")
    stuck, expression, metrics = math_alarm(prod, "Stuck")
    assert expression == "IF(waiting + in_work > 0 AND FILL(deleted, 0) == 0, 1, 0)"
    assert metrics == {
        "waiting": ("ApproximateNumberOfMessagesVisible", summarizer.inbox.id, "Maximum", 5 * MINUTE),
        "in_work": ("ApproximateNumberOfMessagesNotVisible", summarizer.inbox.id, "Maximum", 5 * MINUTE),
        "deleted": ("NumberOfMessagesDeleted", summarizer.inbox.id, "Sum", 5 * MINUTE),
    }
    assert (stuck["Threshold"], stuck["EvaluationPeriods"], stuck["TreatMissingData"]) == (1, 3, "notBreaching")
    (topic,) = prod.of_type("AWS::SNS::Topic")
    (undelivered,) = alarms_on(prod, "NumberOfNotificationsFailed", topic)
    assert rings(undelivered) == ("GreaterThanOrEqualToThreshold", 1, "Sum", 1, 5 * MINUTE, "notBreaching")


def math_alarm(prod: Template, name: str) -> tuple[Resource, str, Mapping[str, tuple[Any, ...]]]:
    """Return the alarm with this word in its id, its expression, and of each metric name, resource and statistic."""
    (alarm,) = (one for one in prod.of_type("AWS::CloudWatch::Alarm") if name in one.id)
    (expression,) = (one["Expression"] for one in alarm["Metrics"] if "Expression" in one)
    stats = {one["Id"]: one["MetricStat"] for one in alarm["Metrics"] if "MetricStat" in one}
    metrics = {
        id_: (
            stat["Metric"]["MetricName"],
            prod.referred(stat["Metric"]["Dimensions"][0]["Value"]).id,
            stat["Stat"],
            stat["Period"],
        )
        for id_, stat in stats.items()
    }
    return alarm, expression, metrics


def test_an_old_session_rings(prod: Template) -> None:
    (old,) = (
        one for one in prod.of_type("AWS::CloudWatch::Alarm") if one.properties.get("MetricName") == "SessionAgeHours"
    )
    assert old["Namespace"] == prod.services["authenticator"].environment["POWERTOOLS_METRICS_NAMESPACE"]
    dimensions = {one["Name"]: one["Value"] for one in old["Dimensions"]}
    environment = prod.services["authenticator"].environment
    assert dimensions == {"environment": environment["ENVIRONMENT"], "service": environment["POWERTOOLS_SERVICE_NAME"]}
    assert old["Threshold"] < 7 * 24, "the cookie itself lasts seven days"
    assert old["TreatMissingData"] == "notBreaching"


def test_a_throttled_function_rings_whichever_it_is(prod: Template) -> None:
    alarm, expression, metrics = math_alarm(prod, "Throttles")
    assert set(expression.split(" + ")) == {f"FILL({name}, 0)" for name in SERVICES}
    assert metrics == {
        name: ("Throttles", service.function.id, "Sum", 5 * MINUTE) for name, service in prod.services.items()
    }
    assert (alarm["Threshold"], alarm["EvaluationPeriods"], alarm["TreatMissingData"]) == (1, 1, "notBreaching")
    assert "get-account-settings" in alarm["AlarmDescription"]


def test_only_the_alarm_on_missing_syncs_is_disabled_with_the_schedule(prod: Template, unusual: Template) -> None:
    for stack, silent in ((prod, set()), (unusual, {"Invocations"})):
        alarms = stack.of_type("AWS::CloudWatch::Alarm")
        assert {alarm["MetricName"] for alarm in alarms if alarm["ActionsEnabled"] is not True} == silent


def test_alarms_reach_the_topic(prod: Template) -> None:
    (topic,) = prod.of_type("AWS::SNS::Topic")
    for alarm in prod.of_type("AWS::CloudWatch::Alarm"):
        assert [prod.referred(action) for action in alarm["AlarmActions"]] == [topic]
    principals = [statement["Principal"] for statement in allowed_by(prod, topic)]
    assert principals == [{"Service": "cloudwatch.amazonaws.com"}]


def test_the_topic_works_with_no_subscriber_and_with_two(unusual: Template, prod: Template) -> None:
    assert prod.of_type("AWS::SNS::Subscription") == []
    endpoints = {(s["Protocol"], s["Endpoint"]) for s in unusual.of_type("AWS::SNS::Subscription")}
    assert endpoints == {("email", "a@example.org"), ("email", "b@example.org")}


# The whole stack


def test_an_operator_finds_every_name_in_the_outputs(prod: Template) -> None:
    of_services = {
        f"{name.capitalize()}{what}"
        for name in SERVICES
        for what in (
            *("QueueUrl", "QueueArn", "DeadLettersUrl", "DeadLettersArn"),
            *("FunctionName", "LogGroupName", "ConsoleUrl"),
        )
    }
    others = (
        "EventBusName MediaBucketName LibraryTableName SyncsTableName AuthenticatorTableName NotificationTopicArn "
        "UndeliveredEventsUrl CredentialsSecretName DailyScheduleName CatchUpScheduleName ReviewScheduleName "
        "ScheduleGroupName MediaBucketConsoleUrl"
    )
    assert set(prod.body["Outputs"]) >= of_services | set(others.split())


@pytest.mark.parametrize(
    ("partition", "domain"),
    [
        ("aws", "console.aws.amazon.com"),
        ("aws-cn", "console.amazonaws.cn"),
        ("aws-us-gov", "console.amazonaws-us-gov.com"),
        ("aws-iso", "console.aws.amazon.com"),
    ],
)
def test_links_to_the_console_have_the_domain_of_the_partition(prod: Template, partition: str, domain: str) -> None:
    def resolved(value: Any) -> str:
        if isinstance(value, str):
            return value
        if "Fn::If" in value:
            condition, yes, no = value["Fn::If"]
            compared, expected = prod.body["Conditions"][condition]["Fn::Equals"]
            assert compared == {"Ref": "AWS::Partition"}
            return resolved(yes if partition == expected else no)
        return "eu-central-1" if value == {"Ref": "AWS::Region"} else "name"

    links = {name: output["Value"] for name, output in prod.body["Outputs"].items() if name.endswith("ConsoleUrl")}
    assert len(links) > len(SERVICES)
    for link in links.values():
        assert "".join(map(resolved, link["Fn::Join"][1])).startswith(f"https://eu-central-1.{domain}/")


def test_two_environments_fit_into_one_account(prod: Template, unusual: Template) -> None:
    fixed = ("Name", "EventBusName", "ScheduleGroupName", "QueueName", "BucketName", "TableName", "FunctionName")
    names = [
        {
            (resource.body["Type"], name, resource.properties.get("GroupName"), resource[name])
            for resource in stack.resources.values()
            for name in fixed
            if isinstance(resource.properties.get(name), str)
        }
        for stack in (unusual, prod)
    ]
    assert names[0]
    assert names[0] & names[1] == set()


def test_a_wrong_setting_stops_the_synthesis_by_name(tmp_path: Path) -> None:
    done = run_app(tmp_path, {"env": "prod", "concurency": "5", "schedule_hour": "22"})
    assert done.returncode != 0
    assert "concurency is no setting; did you mean concurrency?" in done.stderr
    assert "schedule_hour='22'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_toolkit_deploys_no_helpers_of_its_own(prod: Template) -> None:
    kinds = {resource.body["Type"] for resource in prod.resources.values()}
    helpers = ("Custom::", "AWS::CloudFormation::CustomResource", "AWS::EC2")
    assert [kind for kind in kinds if kind.startswith(helpers)] == []
    assert len(prod.of_type("AWS::Lambda::Function")) == len(SERVICES)


def without_assets(stack: Template) -> str:
    """Return the resources as text, without the hashes of uploads and the layer's id, which contains one."""

    def strip(value: object) -> object:
        if isinstance(value, dict):
            return {key: strip(item) for key, item in value.items() if not key.startswith(("S3Key", "aws:asset"))}
        return [strip(item) for item in value] if isinstance(value, list) else value

    (layer,) = stack.of_type("AWS::Lambda::LayerVersion")
    return json.dumps(strip(stack.body["Resources"]), sort_keys=True).replace(layer.id, "Layer")


def test_nothing_that_a_failed_first_deployment_made_is_left_behind(prod: Template, unusual: Template) -> None:
    for stack in (prod, unusual):
        assert [one.id for one in stack.resources.values() if one.body.get("DeletionPolicy") == "Retain"] == []


def test_the_local_stage_deploys_the_same_resources(template: Synthesize, prod: Template) -> None:
    local = without_assets(template("prod", wheels="host"))
    # The summarizer names the commands that an operator types: on a local stage, none of them may mean AWS.
    assert local.count('"IS_LOCAL": "True"') == 1
    assert local.replace('"IS_LOCAL": "True"', '"IS_LOCAL": "False"') == without_assets(prod)
