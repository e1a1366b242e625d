"""Checks of what is deployed: the stack's resources against its own template.

Only what a person can break by hand, or what waits for one, is looked at. What the template leaves out, such as a
schedule that the settings disable, is no finding.
"""

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from ops import prerequisites
from ops.doctor.findings import Finding, Severity
from ops.doctor.subject import Resource, Subject, unless_gone
from ops.errors import OperatorError
from services.shared.events import SERVICES

_JOURNAL = "Journal"  # what writes the events of the bus into a log, by its name in the template
_DONE = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE")
_OF_A_FUNCTION = ("Timeout", "MemorySize")  # what of its configuration is compared, besides its environment
_SCHEDULE = (  # what an update of a schedule has to name
    "Name",
    "GroupName",
    "ScheduleExpression",
    "ScheduleExpressionTimezone",
    "FlexibleTimeWindow",
    "Description",
    "Target",
)


def stack(subject: Subject) -> Iterator[Finding]:
    """Check that the stack exists, its last deployment has succeeded, and it is protected if its tables are."""
    deployment = subject.deployment
    cloudformation = subject.client("cloudformation")
    try:
        (found,) = cloudformation.describe_stacks(StackName=deployment.stack_name)["Stacks"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationError":
            raise
        yield Finding(
            severity=Severity.BROKEN,
            what=f"there is no stack {deployment.stack_name} {deployment.place}",
            means="Nothing is deployed here, or it is in another account or region.",
            fix=f"set AWS_PROFILE or AWS_REGION, or deploy: .venv/bin/cdk deploy -c env={subject.env}",
        )
        return
    yield from state_findings(found["StackStatus"], subject.env)
    protected = any(
        one.wanted.get("DeletionProtectionEnabled") is True for one in subject.resources("AWS::DynamoDB::Table")
    )
    if protected and not found.get("EnableTerminationProtection"):
        protect = "cloudformation update-termination-protection --enable-termination-protection --stack-name"
        yield Finding(
            severity=Severity.AT_RISK,
            what="the stack can be deleted, although `protected` is set",
            means="A deletion by mistake would end all syncs. The bucket, the tables and the credentials would stay.",
            fix=subject.aws(f"{protect} {deployment.stack_name}"),
        )


def state_findings(state: str, env: str) -> Iterator[Finding]:
    """Yield what the state of a stack means, unless its last deployment has succeeded."""
    deploy = f".venv/bin/cdk deploy -c env={env}"
    if state.endswith("_IN_PROGRESS"):
        yield Finding(
            severity=Severity.AT_RISK,
            what=f"the stack's state is {state}",
            means="A deployment is under way. Other findings may come from it.",
            fix="wait until it has ended, and look again",
        )
    elif state == "UPDATE_ROLLBACK_COMPLETE":
        yield Finding(
            severity=Severity.AT_RISK,
            what=f"the stack's state is {state}",
            means="The last deployment failed, and the one before it is in force.",
            fix=f"{deploy}, once the cause that it prints is fixed",
        )
    elif state not in _DONE:
        yield Finding(
            severity=Severity.BROKEN,
            what=f"the stack's state is {state}",
            means="A deployment failed in a way that has to be repaired before the next one.",
            fix=f"read the stack's events in the console; then {deploy}",
        )


def functions(subject: Subject) -> Iterator[Finding]:
    """Check that each function is there, may start, and has the configuration of the template."""
    client = subject.client("lambda")
    for one in subject.resources("AWS::Lambda::Function"):
        named = {"FunctionName": one.physical_id}
        found = unless_gone(client.get_function_configuration, **named)
        if found is None:
            yield _gone(subject, one, "Nothing reacts to the events in its inbox.")
            continue
        yield from configuration_findings(one, found, restore=subject.restore)
        if client.get_function_concurrency(**named).get("ReservedConcurrentExecutions") == 0:
            yield Finding(
                severity=Severity.BROKEN,
                what=f"{one.name} may not start: its reserved concurrency is 0",
                means="Its messages wait, and become dead letters once their tries are used up.",
                fix=subject.aws(f"lambda delete-function-concurrency --function-name {one.physical_id}"),
            )


def configuration_findings(one: Resource, found: Mapping[str, Any], *, restore: str) -> Iterator[Finding]:
    """Yield what differs between a function and its template, and whether Lambda can run it."""
    if found.get("State", "Active") == "Failed" or found.get("LastUpdateStatus") == "Failed":
        reason = found.get("StateReason") or found.get("LastUpdateStatusReason") or "Lambda gives no reason"
        yield Finding(
            severity=Severity.BROKEN,
            what=f"{one.name} can't run: {reason}",
            means="Its messages wait, and become dead letters once their tries are used up.",
            fix=restore,
        )
    wanted = one.wanted.get("Environment", {}).get("Variables", {})
    has = found.get("Environment", {}).get("Variables", {})
    changed = [name for name in _OF_A_FUNCTION if _differs(one.wanted.get(name), found.get(name))]
    changed += [name for name, value in wanted.items() if name in has and _differs(value, has[name])]
    missing = [name for name in wanted if name not in has]
    if missing:
        yield Finding(
            severity=Severity.BROKEN,
            what=f"{one.name} lacks the environment variables {', '.join(missing)}",
            means="It can't start, or does not do what the settings say.",
            fix=restore,
        )
    if changed:
        yield Finding(
            severity=Severity.AT_RISK,
            what=f"{one.name} was changed by hand: {', '.join(changed)}",
            means="It does not do what the settings say, until the next change of that setting is deployed.",
            fix=restore,
        )


def event_sources(subject: Subject) -> Iterator[Finding]:
    """Check that each inbox is read by its function."""
    client = subject.client("lambda")
    for one in subject.resources("AWS::Lambda::EventSourceMapping"):
        found = unless_gone(client.get_event_source_mapping, UUID=one.physical_id)
        means = "Its function reads no messages: they wait in the inbox, and are lost after four days."
        if found is None:
            yield _gone(subject, one, means)
        elif found["State"] in {"Disabled", "Disabling"} and one.wanted.get("Enabled") is not False:
            yield Finding(
                severity=Severity.BROKEN,
                what=f"the event source {one.name} is disabled",
                means=means,
                fix=subject.aws(f"lambda update-event-source-mapping --enabled --uuid {one.physical_id}"),
            )
        else:
            wanted = one.wanted.get("ScalingConfig", {}).get("MaximumConcurrency")
            has = found.get("ScalingConfig", {}).get("MaximumConcurrency")
            if _differs(wanted, has):
                update = f"lambda update-event-source-mapping --uuid {one.physical_id}"
                yield Finding(
                    severity=Severity.AT_RISK,
                    what=f"the event source {one.name} runs {has or 'any number of'} functions at once, not {wanted}",
                    means="The setting `concurrency` is not in force: GoPro sees more or fewer downloads at once.",
                    fix=subject.aws(f"{update} --scaling-config MaximumConcurrency={wanted}"),
                )


def bus(subject: Subject) -> Iterator[Finding]:
    """Check that the bus is there, and each rule on it is enabled and has its targets and its pattern."""
    client = subject.client("events")
    for one in subject.resources("AWS::Events::EventBus"):
        if unless_gone(client.describe_event_bus, Name=one.physical_id) is None:
            yield _gone(subject, one, "No event reaches a service: no sync begins.")
            return
    for one in subject.resources("AWS::Events::Rule"):
        on_bus = {"EventBusName": subject.deployment.outputs["EventBusName"]}
        found = unless_gone(client.describe_rule, Name=one.short_name, **on_bus)
        severity, means = _of_rule(one)
        if found is None:
            yield _gone(subject, one, means, severity)
            continue
        if found["State"] == "DISABLED" and one.wanted.get("State") != "DISABLED":
            enable = f"events enable-rule --name {one.short_name} --event-bus-name {on_bus['EventBusName']}"
            yield Finding(
                severity=severity, what=f"the rule {one.name} is disabled", means=means, fix=subject.aws(enable)
            )
        targets = client.list_targets_by_rule(Rule=one.short_name, **on_bus)["Targets"]
        missing = {target["Id"] for target in one.wanted.get("Targets", [])} - {target["Id"] for target in targets}
        if missing:
            what = f"the rule {one.name} has lost its target{'s' * (len(missing) > 1)} {', '.join(sorted(missing))}"
            yield Finding(severity=severity, what=what, means=means, fix=subject.restore)
        if json.loads(found.get("EventPattern", "{}")) != one.wanted["EventPattern"]:
            what = f"the pattern of the rule {one.name} was changed"
            yield Finding(severity=severity, what=what, means=means, fix=subject.restore)


def _of_rule(one: Resource) -> tuple[Severity, str]:
    if one.name.startswith(_JOURNAL):
        return Severity.AT_RISK, "The log of events stays empty: `story` and `events` show nothing. Syncs go on."
    if one.name.startswith("Webhooks"):
        return Severity.BROKEN, "No notification reaches this address."
    return Severity.BROKEN, "Its service does not get these events, so every sync that needs it stays open."


def schedules(subject: Subject) -> Iterator[Finding]:
    """Check that each schedule is as the settings want it."""
    client, group = subject.client("scheduler"), subject.deployment.outputs["ScheduleGroupName"]
    for one in subject.resources("AWS::Scheduler::Schedule"):
        name, means = one.short_name, _of_schedule(one)
        found = unless_gone(client.get_schedule, Name=name, GroupName=group)
        if found is None:
            yield _gone(subject, one, means)
        elif found["State"] != one.wanted.get("State", "ENABLED"):
            is_wanted = found["State"] == "DISABLED"
            yield Finding(
                severity=Severity.BROKEN if is_wanted else Severity.AT_RISK,
                what=f"the schedule {name} is {found['State'].lower()}, and the settings want it otherwise",
                means=means if is_wanted else "Syncs begin by themselves, although `schedule_enabled` is false.",
                fix=_switch(subject, name, group, one.wanted.get("State", "ENABLED")),
            )
        elif found["ScheduleExpression"] != one.wanted["ScheduleExpression"]:
            yield Finding(
                severity=Severity.AT_RISK,
                what=f"the schedule {name} is {found['ScheduleExpression']}, not {one.wanted['ScheduleExpression']}",
                means="It fires at another time than the settings say.",
                fix=subject.restore,
            )


def _switch(subject: Subject, name: str, group: str, state: str) -> str:
    """Return the commands that enable or disable a schedule, for which Scheduler wants all of it once more."""
    known = ", ".join(f"{field}: {field}" for field in _SCHEDULE)
    look = f"scheduler get-schedule --group-name {group} --name {name} --query '{{{known}}}' > schedule.json"
    update = f"scheduler update-schedule --state {state} --cli-input-json file://schedule.json"
    return f"{subject.aws(look)} && {subject.aws(update)}"


def _of_schedule(one: Resource) -> str:
    if "Review" in one.name:
        return "A sync whose last result is lost is never closed, and nobody hears of it."
    if "Probe" in one.name:
        return "Nobody warns you in the evening if tonight's sync will have no session."
    if "CatchUp" in one.name:
        return "On the night when clocks go forward, no sync may begin."
    return "No sync begins by itself."


def notifications(subject: Subject) -> Iterator[Finding]:
    """Check that the topic is there, and each address of the settings has confirmed."""
    client = subject.client("sns")
    for one in subject.resources("AWS::SNS::Topic"):
        topic = {"TopicArn": one.physical_id}
        if unless_gone(client.get_topic_attributes, **topic) is None:
            yield _gone(subject, one, "No notification and no alarm reaches anybody, and no sync is announced.")
            continue
        pages = client.get_paginator("list_subscriptions_by_topic").paginate(**topic)
        has = {each["Endpoint"]: each["SubscriptionArn"] for page in pages for each in page["Subscriptions"]}
        emails = [
            each.wanted["Endpoint"]
            for each in subject.resources("AWS::SNS::Subscription")
            if each.wanted["Protocol"] == "email"
        ]
        subscribe = subject.aws(f"sns subscribe --topic-arn {one.physical_id} --protocol email --notification-endpoint")
        yield from subscription_findings(emails, has, subscribe=subscribe)


def subscription_findings(emails: Sequence[str], has: Mapping[str, str], *, subscribe: str) -> Iterator[Finding]:
    """Yield which addresses get nothing. `has`: the ARN of each endpoint's subscription, or SNS's word for none yet."""
    means = "No notification and no alarm reaches this address."
    for email in emails:
        arn = has.get(email, "")
        if not arn or arn == "Deleted":
            yield Finding(
                severity=Severity.BROKEN,
                what=f"{email} is not subscribed, although the settings name it",
                means=f"{means} It has unsubscribed, or did not confirm in time.",
                fix=f"{subscribe} {shlex.quote(email)}; then click the link in the e-mail",
            )
        elif not arn.startswith("arn:"):
            yield Finding(
                severity=Severity.BROKEN,
                what=f"{email} has not confirmed its subscription",
                means=means,
                fix=f"click the link in the e-mail of SNS; to get another: {subscribe} {shlex.quote(email)}",
            )


def alarms(subject: Subject) -> Iterator[Finding]:
    """Check that each alarm is there, notifies, and does not ring."""
    wanted = subject.resources("AWS::CloudWatch::Alarm")
    names = [one.physical_id for one in wanted]
    found = {
        alarm["AlarmName"]: alarm
        for page in subject.client("cloudwatch").get_paginator("describe_alarms").paginate(AlarmNames=names)
        for alarm in page["MetricAlarms"]
    }
    for one in wanted:
        if one.physical_id not in found:
            yield _gone(subject, one, "Nobody hears of what it watches.", Severity.AT_RISK)
        else:
            yield from alarm_findings(one, found[one.physical_id], aws=subject.aws, restore=subject.restore)


def alarm_findings(
    one: Resource, found: Mapping[str, Any], *, aws: Callable[[str], str], restore: str
) -> Iterator[Finding]:
    """Yield what is wrong with an alarm."""
    name = one.name.removeprefix("Alarms")
    means, _, runbook = str(one.wanted.get("AlarmDescription", "")).partition(" Runbook: ")
    if found["StateValue"] == "ALARM":
        what = f"the alarm {name} rings"
        yield Finding(severity=Severity.BROKEN, what=what, means=means, fix=f"follow the runbook {runbook}")
    if one.wanted.get("ActionsEnabled") is not False and not found["ActionsEnabled"]:
        yield Finding(
            severity=Severity.AT_RISK,
            what=f"the actions of the alarm {name} are disabled",
            means="Nobody hears of it when it rings.",
            fix=aws(f"cloudwatch enable-alarm-actions --alarm-names {one.physical_id}"),
        )
    if one.wanted.get("AlarmActions") and not found.get("AlarmActions"):
        yield Finding(
            severity=Severity.AT_RISK,
            what=f"the alarm {name} has no action",
            means="Nobody hears of it when it rings.",
            fix=restore,
        )


def queues(subject: Subject) -> Iterator[Finding]:
    """Check that each queue is there, inboxes have dead letters, and no dead letter waits for a person."""
    sqs = subject.client("sqs")
    letters = _queues_of_dead_letters(subject)
    for one in subject.resources("AWS::SQS::Queue"):
        found = unless_gone(sqs.get_queue_attributes, QueueUrl=one.physical_id, AttributeNames=["All"])
        if found is None:
            yield _gone(subject, one, "What would be in it is lost.")
            continue
        has = found["Attributes"]
        waiting = int(has["ApproximateNumberOfMessages"])
        if one.physical_id in letters and waiting:
            means, fix = letters[one.physical_id]
            yield Finding(
                severity=Severity.BROKEN,
                what=f"{one.name} holds {waiting} message{'s' * (waiting > 1)}",
                means=means,
                fix=fix,
            )
        if "RedrivePolicy" in one.wanted and not has.get("RedrivePolicy"):
            yield Finding(
                severity=Severity.AT_RISK,
                what=f"{one.name} has no dead-letter queue any more",
                means="A message that fails is tried for four days, and then lost.",
                fix=subject.restore,
            )


def _queues_of_dead_letters(subject: Subject) -> dict[str, tuple[str, str]]:
    """Return, by the URL of each queue that a person has to empty, what a message in it means, and what to do."""
    deployment = subject.deployment
    found = {
        deployment.dead_letters(service): (
            f"Work of the {service} failed at every try.",
            subject.ours(f"failures --service {service}")
            + f"; once the cause is fixed: {subject.ours(f'redrive --service {service}')}",
        )
        for service in SERVICES
    }
    found[deployment.undelivered] = (
        "The bus could not deliver an event into an inbox or to a webhook.",
        f"{subject.ours('failures')}; then follow docs/runbooks.md#undeliveredevents",
    )
    found[deployment.outputs.get("ScheduleDeadLettersUrl", "")] = (
        "A schedule could not put its event onto the bus: a sync may not have begun.",
        "follow docs/runbooks.md#scheduledeadletters",
    )
    return found


def secrets(subject: Subject) -> Iterator[Finding]:
    """Check that each secret is there, and the credentials are filled in. No value is shown."""
    client, credentials = subject.client("secretsmanager"), subject.deployment.outputs["CredentialsSecretName"]
    for one in subject.resources("AWS::SecretsManager::Secret"):
        found = unless_gone(client.describe_secret, SecretId=one.physical_id)
        is_credentials = found is not None and credentials in {found["ARN"], found["Name"]}
        if found is None:
            yield _gone(subject, one, "No sync can sign in to GoPro.")
        elif "DeletedDate" in found:
            yield Finding(
                severity=Severity.BROKEN,
                what=f"the secret {one.name} is about to be deleted",
                means="No function can read it: no sync can sign in to GoPro.",
                fix=subject.aws(f"secretsmanager restore-secret --secret-id {one.physical_id}"),
            )
        elif is_credentials and _is_empty(client.get_secret_value(SecretId=one.physical_id)["SecretString"]):
            yield Finding(
                severity=Severity.BROKEN,
                what="the credentials secret is empty",
                means="Cloud Sync has no session with GoPro: every sync fails.",
                fix=subject.ours("credentials login"),
            )


def _is_empty(content: str) -> bool:
    try:
        return not json.loads(content or "{}")
    except ValueError:
        return False  # a cookie, for example


def session(subject: Subject) -> Iterator[Finding]:
    """Check that GoPro accepts the session, as far as the last sync knows, and that it is not too old."""
    health = subject.deployment.session_health()
    secret = subject.client("secretsmanager").describe_secret(
        SecretId=subject.deployment.outputs["CredentialsSecretName"]
    )
    known_since = health.first_refused or health.since
    if not known_since or secret["LastChangedDate"] > datetime.fromisoformat(known_since):
        return  # there is none yet, or newer credentials, which the next sync uses
    fix = subject.ours("credentials login")
    if health.first_refused:
        yield Finding(
            severity=Severity.BROKEN,
            what=f"GoPro refuses the session since {health.first_refused}",
            means="Every sync fails until there is another one.",
            fix=fix,
        )
    elif not health.renews_itself and health.expected_end < subject.now():
        yield Finding(
            severity=Severity.AT_RISK,
            what=f"the session is older than the shortest of the last ones: since {health.since}",
            means="The next sync will probably have no session. `credentials check` asks GoPro.",
            fix=fix,
        )


def media_bucket(subject: Subject) -> Iterator[Finding]:
    """Check that the bucket with the originals is protected as it was deployed."""
    deployment, name = subject.deployment, subject.deployment.outputs["MediaBucketName"]
    region, kms_key = str(deployment.session.region_name), deployment.outputs.get("KmsKeyArn")
    try:
        facts = prerequisites.read_bucket(deployment, name)
    except OperatorError as error:
        means = "Nothing can be stored, and what was stored is gone with it."
        yield Finding(severity=Severity.BROKEN, what=str(error).rstrip("."), means=means, fix=subject.restore)
        return
    is_ours = bool(subject.resources("AWS::S3::Bucket"))
    for one in prerequisites.bucket_findings(facts, region=region, kms_key=kms_key):
        yield Finding(
            severity=Severity.AT_RISK,
            what=f"{name}: {one.text}",
            means="The bucket with your originals is less safe than Cloud Sync counts on.",
            fix=one.fix.replace("aws ", subject.aws(""), 1)
            or (subject.restore if is_ours else subject.ours(f"options bucket {name}")),
        )


def tables(subject: Subject) -> Iterator[Finding]:
    """Check that each table is there, and can be restored to any second of the last weeks."""
    client = subject.client("dynamodb")
    for one in subject.resources("AWS::DynamoDB::Table"):
        table = {"TableName": one.physical_id}
        found = unless_gone(client.describe_table, **table)
        if found is None:
            yield _gone(subject, one, "What Cloud Sync knows of your media and syncs was in it: see docs/operating.md.")
            continue
        wanted = one.wanted.get("PointInTimeRecoverySpecification", {}).get("PointInTimeRecoveryEnabled")
        backups = client.describe_continuous_backups(**table)["ContinuousBackupsDescription"]
        state = backups.get("PointInTimeRecoveryDescription", {}).get("PointInTimeRecoveryStatus")
        update = f"dynamodb update-continuous-backups --table-name {one.physical_id}"
        if wanted and state != "ENABLED":
            yield Finding(
                severity=Severity.AT_RISK,
                what=f"{one.name} has no point-in-time recovery",
                means="If somebody deletes from it by mistake, it can't be restored.",
                fix=subject.aws(f"{update} --point-in-time-recovery-specification PointInTimeRecoveryEnabled=true"),
            )
        if one.wanted.get("DeletionProtectionEnabled") is True and not found["Table"].get("DeletionProtectionEnabled"):
            update = f"dynamodb update-table --deletion-protection-enabled --table-name {one.physical_id}"
            yield Finding(
                severity=Severity.AT_RISK,
                what=f"{one.name} can be deleted, although `protected` is set",
                means="Its content could be lost by one mistaken command.",
                fix=subject.aws(update),
            )


def log_groups(subject: Subject) -> Iterator[Finding]:
    """Check that each log group is there, and keeps its lines for as long as the settings say."""
    client = subject.client("logs")
    for one in subject.resources("AWS::Logs::LogGroup"):
        name, days = one.physical_id, one.wanted.get("RetentionInDays")
        pages = client.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=name)
        found = [group for page in pages for group in page["logGroups"] if group["logGroupName"] == name]
        keep = subject.aws(f"logs put-retention-policy --log-group-name {name} --retention-in-days {days}")
        if not found:
            yield Finding(
                severity=Severity.AT_RISK,
                what=f"the log group {one.name} is gone",
                means="What would be written there is lost: a failure can't be explained.",
                fix=f"{subject.aws(f'logs create-log-group --log-group-name {name}')} && {keep}",
            )
        elif _differs(days, found[0].get("retentionInDays")):
            has = found[0].get("retentionInDays")
            yield Finding(
                severity=Severity.AT_RISK,
                what=f"the log group {one.name} keeps its lines {f'for {has} days' if has else 'for ever'}, not {days}",
                means="You pay for logs that nobody wanted, or miss some that you wanted.",
                fix=keep,
            )


def kms_key(subject: Subject) -> Iterator[Finding]:
    """Check that the key that encrypts what is stored can be used. Without the setting `kms_key` there is none."""
    arn = subject.deployment.outputs.get("KmsKeyArn")
    if not arn:
        return
    state = subject.client("kms").describe_key(KeyId=arn)["KeyMetadata"]["KeyState"]
    if state != "Enabled":
        cancel = subject.aws(f"kms cancel-key-deletion --key-id {arn}")
        enable = subject.aws(f"kms enable-key --key-id {arn}")
        yield Finding(
            severity=Severity.BROKEN,
            what=f"the key's state is {state}",
            means="Nobody can read what it encrypts, now or once it is deleted: media, tables, queues, secrets, logs.",
            fix=f"{cancel} && {enable}" if state == "PendingDeletion" else enable,
        )


def _gone(subject: Subject, one: Resource, means: str, severity: Severity = Severity.BROKEN) -> Finding:
    return Finding(severity=severity, what=f"{one.name} is gone", means=means, fix=subject.restore)


def _differs(wanted: object, has: object) -> bool:
    """Return whether a plain value of a template is not what is there. A reference can't be compared."""
    return wanted is not None and not isinstance(wanted, Mapping | list) and str(wanted) != str(has)
