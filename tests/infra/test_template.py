"""What must hold of the stack whatever it looks like, read from the synthesized production template."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from services.summarizer.syncs import MEDIA_PER_WRITE
from tests.template import SERVICES, Resource, ServiceWiring, Synthesize, Template, run_app

MINUTE = 60
DAY = 24 * 60 * MINUTE


@pytest.fixture(scope="session")
def prod(template: Synthesize) -> Template:
    return template("prod")


@pytest.fixture(scope="session")
def unusual(template: Synthesize) -> Template:
    """A development stack with every setting another than its default."""
    return template(
        "dev",
        schedule_hour=21,
        schedule_time_zone="America/New_York",
        schedule_enabled="false",
        notification_emails="a@example.org, b@example.org",
        log_retention_days=3,
        log_level="WARNING",
        gopro_api_url="http://127.0.0.1:8080",
        download_hosts="127.0.0.1,cdn.example.org",
        retry_base_seconds="0.5",
        concurrency=7,
        sync_deadline_hours="0.25",
        max_media_per_sync=3,
        max_gigabytes_per_sync=9,
        pages_per_slice=2,
        lane_wait_seconds=4,
        stall_kilobytes_per_second=250,
        stall_seconds=15,
        downloader_memory_mb=2048,
        downloader_timeout_seconds=90,
    )


@pytest.fixture(params=SERVICES)
def service(request: pytest.FixtureRequest, prod: Template) -> ServiceWiring:
    return prod.services[request.param]


def actions(statement: Mapping[str, Any]) -> list[str]:
    """The actions of a statement, as a list even when it is one."""
    return [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]


def granted(service: ServiceWiring) -> set[str]:
    return {action for statement in service.statements for action in actions(statement)}


# Who may do what


def test_a_service_may_publish_only_as_itself(prod: Template, service: ServiceWiring) -> None:
    (publishing,) = [statement for statement in service.statements if "events:PutEvents" in actions(statement)]
    assert publishing["Condition"] == {"StringEquals": {"events:source": f"cloud-sync.{service.name}"}}
    assert prod.referred(publishing["Resource"]).body["Type"] == "AWS::Events::EventBus"


def test_nothing_is_allowed_on_all_resources_but_tracing_which_knows_none(prod: Template) -> None:
    everything = [
        action
        for policy in prod.of_type("AWS::IAM::Policy")
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Resource"] == "*"
        for action in actions(statement)
    ]
    assert set(everything) == {"xray:PutTraceSegments", "xray:PutTelemetryRecords"}


def test_every_action_is_named_in_full(service: ServiceWiring) -> None:
    assert [action for action in granted(service) if "*" in action] == []


def test_every_function_has_a_role_of_its_own_without_managed_policies(prod: Template, service: ServiceWiring) -> None:
    functions = prod.of_type("AWS::Lambda::Function")
    assert [function for function in functions if prod.refers(function["Role"], service.role)] == [service.function]
    assert "ManagedPolicyArns" not in service.role.properties


def test_a_function_writes_to_its_own_log_only(prod: Template, service: ServiceWiring) -> None:
    writing = [s for s in service.statements if any(action.startswith("logs:") for action in actions(s))]
    assert [prod.referred(statement["Resource"]) for statement in writing] == [service.log_group]


def test_a_function_reads_no_inbox_but_its_own(prod: Template, service: ServiceWiring) -> None:
    reading = [s for s in service.statements if "sqs:ReceiveMessage" in actions(s)]
    assert [prod.referred(statement["Resource"]) for statement in reading] == [service.inbox]


def test_only_the_authenticator_reads_the_users_credentials(prod: Template) -> None:
    credentials = prod.services["authenticator"].environment["CREDENTIALS_SECRET"]
    readers = [
        service.name
        for service in prod.services.values()
        if any(statement["Resource"] == credentials for statement in service.statements)
    ]
    assert readers == ["authenticator"]


def test_nobody_may_delete_an_object_or_a_secret_or_a_queued_message_of_others(prod: Template) -> None:
    deleting = {
        action for service in prod.services.values() for action in granted(service) if "delete" in action.lower()
    }
    assert deleting == {"sqs:DeleteMessage", "dynamodb:DeleteItem"}
    library = prod.services["downloader"].environment["LIBRARY_TABLE"]["Ref"]
    on_the_library = [
        statement
        for service in prod.services.values()
        for statement in service.statements
        if "dynamodb:DeleteItem" in actions(statement) and prod.referred(statement["Resource"]).id == library
    ]
    assert on_the_library == []


def prefixes(service: ServiceWiring, action: str) -> list[str]:
    """The prefixes of the media bucket where a service may do this."""
    return [
        statement["Resource"]["Fn::Join"][1][-1] for statement in service.statements if action in actions(statement)
    ]


def test_each_prefix_of_the_bucket_has_one_writer(prod: Template) -> None:
    written = {name: prefixes(service, "s3:PutObject") for name, service in prod.services.items()}
    assert written == {
        "authenticator": [],
        "lister": ["/listings/*"],
        "downloader": ["/gopro/*"],
        "summarizer": ["/reports/*"],
    }


# Messages


def test_a_failed_message_ends_in_its_own_services_dead_letters(prod: Template, service: ServiceWiring) -> None:
    others = [other.dead_letters for other in prod.services.values() if other.name != service.name]
    assert service.dead_letters not in others
    assert service.dead_letters not in [other.inbox for other in prod.services.values()]


def test_a_function_knows_after_how_many_receives_its_message_is_dead(service: ServiceWiring) -> None:
    assert service.environment["MAX_RECEIVES"] == str(service.inbox["RedrivePolicy"]["maxReceiveCount"])


def test_a_message_is_hidden_for_as_long_as_its_function_may_run(service: ServiceWiring) -> None:
    assert service.inbox["VisibilityTimeout"] == service.function["Timeout"]


def test_dead_letters_are_kept_longer_than_messages_live(service: ServiceWiring) -> None:
    assert service.dead_letters["MessageRetentionPeriod"] == 14 * DAY
    assert service.inbox["MessageRetentionPeriod"] == 4 * DAY


def test_what_the_bus_cannot_deliver_is_kept_with_the_dead_letters(prod: Template, service: ServiceWiring) -> None:
    (target,) = service.rule["Targets"]
    assert prod.refers(target["DeadLetterConfig"]["Arn"], service.dead_letters)
    assert target["RetryPolicy"]["MaximumEventAgeInSeconds"] == 4 * 60 * 60


@pytest.mark.parametrize("queue", ["inbox", "dead_letters"])
def test_only_its_own_rule_may_send_to_a_queue(prod: Template, service: ServiceWiring, queue: str) -> None:
    allowed = [s for s in policy_statements(prod, getattr(service, queue)) if s["Effect"] == "Allow"]
    senders = [statement["Condition"]["ArnEquals"]["aws:SourceArn"] for statement in allowed]
    assert [prod.referred(sender) for sender in senders] == [service.rule]


def test_failures_are_reported_message_by_message(service: ServiceWiring) -> None:
    assert service.source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_five_media_are_downloaded_at_once_each_in_an_invocation_of_its_own(prod: Template) -> None:
    source = prod.services["downloader"].source
    assert (source["ScalingConfig"]["MaximumConcurrency"], source["BatchSize"]) == (5, 1)


def test_the_summarizer_takes_as_many_facts_as_one_transaction_can(prod: Template) -> None:
    source = prod.services["summarizer"].source
    assert (source["BatchSize"], source["MaximumBatchingWindowInSeconds"]) == (MEDIA_PER_WRITE, 1)
    assert source["ScalingConfig"]["MaximumConcurrency"] == 2


def test_every_event_that_a_service_reacts_to_may_be_sent_by_an_operator(service: ServiceWiring) -> None:
    assert "cloud-sync.operator" in service.rule["EventPattern"]["source"]


REACTIONS = {
    "authenticator": {"SyncRequested": {"schedule"}, "SessionRejected": {"lister", "downloader"}},
    "lister": {"SessionAuthenticated": {"authenticator"}, "LibraryListingPaused": {"lister"}},
    "downloader": {"MediaDiscovered": {"lister"}, "MediaDownloadPaused": {"downloader"}},
    "summarizer": {
        "SyncRequested": {"schedule"},
        "SyncReviewDue": {"schedule"},
        "AuthenticationFailed": {"authenticator"},
        "MediaDiscovered": {"lister"},
        "LibraryListed": {"lister"},
        "LibraryListingFailed": {"lister"},
        "MediaDownloaded": {"downloader"},
        "MediaDownloadFailed": {"downloader"},
    },
}


def test_the_rules_route_exactly_the_events_of_the_plan(service: ServiceWiring) -> None:
    pattern = service.rule["EventPattern"]
    reactions = REACTIONS[service.name]
    assert set(pattern["detail-type"]) == set(reactions)
    assert set(pattern["source"]) == {f"cloud-sync.{p}" for p in set().union(*reactions.values(), {"operator"})}


# Functions


def test_functions_run_where_their_wheels_are_for(prod: Template, service: ServiceWiring) -> None:
    assert (service.function["Runtime"], service.function["Architectures"]) == ("python3.13", ["arm64"])
    (layer,) = service.function["Layers"]
    assert prod.referred(layer)["CompatibleArchitectures"] == ["arm64"]


def test_functions_are_traced_and_log_json_for_a_limited_time(service: ServiceWiring) -> None:
    assert service.function["TracingConfig"] == {"Mode": "Active"}
    assert service.function["LoggingConfig"]["LogFormat"] == "JSON"
    assert service.function["LoggingConfig"]["ApplicationLogLevel"] == service.environment["POWERTOOLS_LOG_LEVEL"]
    assert service.log_group["RetentionInDays"] == 365


def test_lambda_drops_no_log_line_that_the_function_writes(unusual: Template) -> None:
    for service in unusual.services.values():
        assert service.environment["POWERTOOLS_LOG_LEVEL"] == "WARNING"
        assert service.function["LoggingConfig"]["ApplicationLogLevel"] == "WARN"
        assert service.log_group["RetentionInDays"] == 3


@pytest.mark.scenario(13)
def test_a_chain_of_pauses_is_not_cut_and_no_concurrency_is_taken_from_the_account(service: ServiceWiring) -> None:
    assert service.function["RecursiveLoop"] == "Allow"
    assert "ReservedConcurrentExecutions" not in service.function.properties


# Stores


def policy_statements(prod: Template, resource: Resource) -> list[Mapping[str, Any]]:
    """The statements of a bucket's, queue's or topic's own policy."""
    holders = {"AWS::S3::BucketPolicy": "Bucket", "AWS::SQS::QueuePolicy": "Queues", "AWS::SNS::TopicPolicy": "Topics"}
    return [
        statement
        for kind, holder in holders.items()
        for policy in prod.of_type(kind)
        if any(
            prod.refers(held, resource) for held in [policy[holder]] + (policy[holder] if holder != "Bucket" else [])
        )
        for statement in policy["PolicyDocument"]["Statement"]
    ]


@pytest.mark.parametrize("kind", ["AWS::S3::Bucket", "AWS::SQS::Queue", "AWS::SNS::Topic"])
def test_nobody_may_talk_in_the_clear(prod: Template, kind: str) -> None:
    for resource in prod.of_type(kind):
        denials = [s for s in policy_statements(prod, resource) if s["Effect"] == "Deny"]
        assert [d["Condition"] for d in denials] == [{"Bool": {"aws:SecureTransport": "false"}}], resource.id
        assert denials[0]["Principal"] in ("*", {"AWS": "*"})


def test_the_media_bucket_is_private_and_outlives_the_stack(prod: Template) -> None:
    (bucket,) = prod.of_type("AWS::S3::Bucket")
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert bucket["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert bucket.body["DeletionPolicy"] == bucket.body["UpdateReplacePolicy"] == "Retain"


def test_parts_of_an_upload_wait_longer_than_its_dead_letter(prod: Template) -> None:
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
        assert table["DeletionProtectionEnabled"] is True
        assert table.body["DeletionPolicy"] == table.body["UpdateReplacePolicy"] == "Retain"


def test_the_tables_have_the_keys_that_the_services_write(prod: Template) -> None:
    environments = {name: service.environment for name, service in prod.services.items()}
    keys = {
        name: [(key["AttributeName"], key["KeyType"]) for key in prod.referred(environments[user][name])["KeySchema"]]
        for user, name in [
            ("downloader", "LIBRARY_TABLE"),
            ("summarizer", "SYNCS_TABLE"),
            ("authenticator", "AUTHENTICATOR_TABLE"),
        ]
    }
    assert keys == {
        "LIBRARY_TABLE": [("media_id", "HASH"), ("item", "RANGE")],
        "SYNCS_TABLE": [("sync_id", "HASH"), ("record", "RANGE")],
        "AUTHENTICATOR_TABLE": [("id", "HASH")],
    }


def test_what_cannot_be_made_again_outlives_the_stack(prod: Template) -> None:
    environment = prod.services["authenticator"].environment
    kept = {name: prod.referred(environment[name]).body["DeletionPolicy"] for name in environment if "SECRET" in name}
    assert kept == {"CREDENTIALS_SECRET": "Retain", "REFRESH_SECRET": "Retain", "SESSION_SECRET": "Delete"}


def test_a_deployment_never_changes_what_a_secret_holds(prod: Template, unusual: Template) -> None:
    for stack in (prod, unusual):
        for secret in stack.of_type("AWS::SecretsManager::Secret"):
            assert secret["SecretString"] == "{}"
            assert "GenerateSecretString" not in secret.properties


# Schedules


def schedules(synthesized: Template) -> dict[str, Resource]:
    """The schedules by what an operator calls them; the review has no such name."""
    return {
        str(schedule.properties.get("Name")): schedule for schedule in synthesized.of_type("AWS::Scheduler::Schedule")
    }


@pytest.mark.scenario(23)
def test_the_daily_sync_is_at_two_in_berlin_and_its_catch_up_past_the_gap_of_summer_time(prod: Template) -> None:
    daily = schedules(prod)["gopro-sync-daily-schedule"]
    catch_up = schedules(prod)["gopro-sync-catch-up-schedule"]
    assert daily["ScheduleExpression"] == "cron(0 2 * * ? *)"
    assert catch_up["ScheduleExpression"] == "cron(15 4 * * ? *)"
    assert {s["ScheduleExpressionTimezone"] for s in (daily, catch_up)} == {"Europe/Berlin"}


def test_hour_and_zone_are_settings_and_reach_the_services_that_date_a_sync(unusual: Template) -> None:
    daily = schedules(unusual)["gopro-sync-daily-schedule"]
    catch_up = schedules(unusual)["gopro-sync-catch-up-schedule"]
    assert (daily["ScheduleExpression"], catch_up["ScheduleExpression"]) == (
        "cron(0 21 * * ? *)",
        "cron(15 23 * * ? *)",
    )
    for schedule in (daily, catch_up):
        assert schedule["ScheduleExpressionTimezone"] == "America/New_York"
        assert schedule["State"] == "DISABLED"
    assert schedules(unusual)["None"]["State"] == "ENABLED"
    for name in ("authenticator", "summarizer"):
        assert unusual.services[name].environment["SCHEDULE_TIME_ZONE"] == "America/New_York"


def test_schedules_put_the_event_that_an_operator_would_send(prod: Template) -> None:
    for name in ("gopro-sync-daily-schedule", "gopro-sync-catch-up-schedule"):
        target = schedules(prod)[name]["Target"]
        assert target["EventBridgeParameters"] == {"DetailType": "SyncRequested", "Source": "cloud-sync.schedule"}
        assert target["Input"] == (
            '{"provider":"gopro","trigger":"scheduled","scheduled_time":"<aws.scheduler.scheduled-time>"}'
        )


def test_all_syncs_are_reviewed_every_quarter_of_an_hour(prod: Template) -> None:
    review = schedules(prod)["None"]
    assert review["ScheduleExpression"] == "rate(15 minutes)"
    assert review["Target"]["EventBridgeParameters"]["DetailType"] == "SyncReviewDue"
    assert review["Target"]["Input"] == "{}"


def test_a_schedule_is_punctual_persistent_and_keeps_what_it_could_not_send(prod: Template) -> None:
    for schedule in schedules(prod).values():
        target = schedule["Target"]
        assert schedule["FlexibleTimeWindow"] == {"Mode": "OFF"}
        assert target["RetryPolicy"]["MaximumRetryAttempts"] == 185
        assert prod.referred(target["DeadLetterConfig"]["Arn"])["MessageRetentionPeriod"] == 14 * DAY
        assert prod.referred(target["Arn"]).body["Type"] == "AWS::Events::EventBus"


def test_the_schedules_may_publish_only_as_the_schedule(prod: Template) -> None:
    for schedule in schedules(prod).values():
        statements = prod.statements_of(prod.referred(schedule["Target"]["RoleArn"]))
        (publishing,) = [statement for statement in statements if "events:PutEvents" in actions(statement)]
        assert publishing["Condition"] == {"StringEquals": {"events:source": "cloud-sync.schedule"}}


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


# Alarms


def alarms_on(prod: Template, metric: str, resource: Resource) -> list[Resource]:
    return [
        alarm
        for alarm in prod.of_type("AWS::CloudWatch::Alarm")
        if alarm["MetricName"] == metric and any(prod.refers(d["Value"], resource) for d in alarm["Dimensions"])
    ]


def rings(alarm: Resource) -> tuple[Any, ...]:
    """When it does: over which threshold, of what, in how many periods of how many seconds, and in silence or not."""
    assert "DatapointsToAlarm" not in alarm.properties, "else fewer periods would do"
    names = ("ComparisonOperator", "Threshold", "Statistic", "EvaluationPeriods", "Period", "TreatMissingData")
    return tuple(alarm[name] for name in names)


def test_every_dead_letter_rings(prod: Template) -> None:
    sources = [
        prod.referred(queue["RedrivePolicy"]["deadLetterTargetArn"])
        for queue in prod.of_type("AWS::SQS::Queue")
        if "RedrivePolicy" in queue.properties
    ]
    sources += [prod.referred(s["Target"]["DeadLetterConfig"]["Arn"]) for s in schedules(prod).values()]
    assert len(sources) > len(SERVICES)
    for queue in sources:
        (alarm,) = alarms_on(prod, "ApproximateNumberOfMessagesVisible", queue)
        assert rings(alarm) == ("GreaterThanOrEqualToThreshold", 1, "Maximum", 1, 5 * MINUTE, "notBreaching")


def test_the_alarm_of_dead_letters_gives_commands_for_that_very_queue(prod: Template) -> None:
    for name, service in prod.services.items():
        (alarm,) = alarms_on(prod, "ApproximateNumberOfMessagesVisible", service.dead_letters)
        commands = re.findall(r"cloud-sync (\w+) --env prod(?: --service (\w+))?", alarm["AlarmDescription"])
        assert commands[:2] == [("failures", name), ("redrive", name)]
        assert (("trigger", "") in commands) == (name == "authenticator")


@pytest.mark.scenario(22)
def test_silence_for_more_than_a_day_rings(prod: Template) -> None:
    (alarm,) = alarms_on(prod, "Invocations", prod.services["authenticator"].function)
    assert rings(alarm) == ("LessThanThreshold", 1, "Sum", 26, 60 * MINUTE, "breaching")


@pytest.mark.scenario(28)
def test_a_failing_summarizer_and_an_undelivered_notification_ring(prod: Template) -> None:
    (unread,) = alarms_on(prod, "ApproximateAgeOfOldestMessage", prod.services["summarizer"].inbox)
    assert rings(unread) == ("GreaterThanOrEqualToThreshold", 10 * MINUTE, "Maximum", 1, 5 * MINUTE, "notBreaching")
    (topic,) = prod.of_type("AWS::SNS::Topic")
    (undelivered,) = alarms_on(prod, "NumberOfNotificationsFailed", topic)
    assert rings(undelivered) == ("GreaterThanOrEqualToThreshold", 1, "Sum", 1, 5 * MINUTE, "notBreaching")


def test_every_alarm_rings_but_that_of_silence_where_the_schedule_is_switched_off(
    prod: Template, unusual: Template
) -> None:
    for stack, silent in ((prod, set()), (unusual, {"Invocations"})):
        alarms = stack.of_type("AWS::CloudWatch::Alarm")
        assert {alarm["MetricName"] for alarm in alarms if alarm["ActionsEnabled"] is not True} == silent


def test_alarms_reach_the_topic(prod: Template) -> None:
    (topic,) = prod.of_type("AWS::SNS::Topic")
    for alarm in prod.of_type("AWS::CloudWatch::Alarm"):
        assert [prod.referred(action) for action in alarm["AlarmActions"]] == [topic]
    principals = [s["Principal"] for s in policy_statements(prod, topic) if s["Effect"] == "Allow"]
    assert principals == [{"Service": "cloudwatch.amazonaws.com"}]


def test_everything_works_with_no_subscriber_and_with_two(unusual: Template, prod: Template) -> None:
    assert prod.of_type("AWS::SNS::Subscription") == []
    endpoints = {(s["Protocol"], s["Endpoint"]) for s in unusual.of_type("AWS::SNS::Subscription")}
    assert endpoints == {("email", "a@example.org"), ("email", "b@example.org")}


# The stack as a whole


def test_an_operator_finds_everything_in_the_outputs(prod: Template) -> None:
    outputs = set(prod.body["Outputs"])
    of_services = {
        f"{name.capitalize()}{what}"
        for name in SERVICES
        for what in ("QueueUrl", "DeadLettersUrl", "FunctionName", "LogGroupName", "ConsoleUrl")
    }
    assert outputs >= of_services | {
        "EventBusName",
        "MediaBucketName",
        "LibraryTableName",
        "SyncsTableName",
        "AuthenticatorTableName",
        "NotificationTopicArn",
        "CredentialsSecretName",
        "DailyScheduleName",
        "CatchUpScheduleName",
        "ReviewScheduleName",
        "ScheduleGroupName",
        "MediaBucketConsoleUrl",
    }


def test_settings_reach_the_functions(unusual: Template) -> None:
    downloader, lister = unusual.services["downloader"], unusual.services["lister"]
    expected = {
        "GOPRO_API_URL": "http://127.0.0.1:8080",
        "DOWNLOAD_HOSTS": "127.0.0.1,cdn.example.org",
        "RETRY_BASE_SECONDS": "0.5",
        "LANE_WAIT_SECONDS": "4",
        "MEMORY_MEGABYTES": "2048",
        "STALL_BYTES_PER_SECOND": "250000",
        "STALL_SECONDS": "15",
    }
    assert downloader.environment.items() >= expected.items()
    assert (downloader.function["MemorySize"], downloader.function["Timeout"]) == (2048, 90)
    assert downloader.inbox["VisibilityTimeout"] == 90
    assert downloader.source["ScalingConfig"]["MaximumConcurrency"] == 7
    assert unusual.services["summarizer"].environment["SYNC_DEADLINE_HOURS"] == "0.25"
    limits = {"MAX_MEDIA_PER_SYNC": "3", "MAX_GIGABYTES_PER_SYNC": "9", "PAGES_PER_SLICE": "2"}
    assert lister.environment.items() >= limits.items()
    assert lister.environment["RETRY_BASE_SECONDS"] == "2"


def test_a_wrong_setting_stops_the_synthesis_by_name(tmp_path: Path) -> None:
    done = run_app(tmp_path, {"env": "prod", "concurency": "5", "schedule_hour": "22"})
    assert done.returncode != 0
    assert "concurency is no setting; did you mean concurrency?" in done.stderr
    assert "schedule_hour=22" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_helper_of_the_toolkit_is_deployed_along(prod: Template) -> None:
    kinds = {resource.body["Type"] for resource in prod.resources.values()}
    assert not [
        kind for kind in kinds if kind.startswith(("Custom::", "AWS::CloudFormation::CustomResource", "AWS::EC2"))
    ]
    assert len(prod.of_type("AWS::Lambda::Function")) == len(SERVICES)


def without_assets(stack: Template) -> str:
    """The resources as text, but for the hashes of what is uploaded and the layer's id, which follows from its hash."""

    def strip(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: strip(item) for key, item in value.items() if not key.startswith(("S3Key", "aws:asset"))}
        return [strip(item) for item in value] if isinstance(value, list) else value

    (layer,) = stack.of_type("AWS::Lambda::LayerVersion")
    return json.dumps(strip(stack.body["Resources"]), sort_keys=True).replace(layer.id, "Layer")


def test_the_local_stage_deploys_the_very_same_resources(template: Synthesize, prod: Template) -> None:
    assert without_assets(template("prod", wheels="host")) == without_assets(prod)
