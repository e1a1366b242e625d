"""The topic for notifications, and the alarms for what no sync can report by itself."""

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.config import Settings
from infra.schedule import Schedules
from infra.service import METRICS_NAMESPACE, Service
from infra.suppressions import suppress
from services.shared.metrics import Metric

_MISSING_IS_FINE = cloudwatch.TreatMissingData.NOT_BREACHING
_MISSING_IS_BAD = cloudwatch.TreatMissingData.BREACHING
_PERIOD = cdk.Duration.minutes(5)
_SESSION_OLD_HOURS = 6 * 24


class Notifications(sns.Topic):
    """The topic for summaries and alarms. It works without subscribers; each e-mail address has to confirm its own."""

    def __init__(self, scope: Construct, construct_id: str, *, emails: Sequence[str]) -> None:
        super().__init__(scope, construct_id, display_name="Cloud Sync", enforce_ssl=True)
        suppress(
            self,
            "CKV_AWS_26",
            because="Alarms can't publish under AWS's key for SNS, and what is published here ends as plain e-mail",
        )
        for email in emails:
            self.add_subscription(subscriptions.EmailSubscription(email))
        # A topic with a policy of its own no longer accepts the account's alarms by default.
        self.add_to_resource_policy(
            iam.PolicyStatement(
                sid="AllowAlarms",
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[self.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": cdk.Aws.ACCOUNT_ID}},
            )
        )


def _work_failed(service: str, env: str) -> str:
    where = f"--env {env} --service {service}"
    text = (
        f"Work of the {service} failed for good. "
        f"Why: `cloud-sync failures {where}`; once the cause is fixed: `cloud-sync redrive {where}`."
    )
    if service == "authenticator":
        # A sync's outcome is final, so that no replay begins it twice.
        text += f" A redrive does not begin a failed sync again; request a new one: `cloud-sync trigger --env {env}`."
    return text


RUNBOOKS = "docs/runbooks.md"
"""The page with a runbook for each alarm, in the checkout. An alarm's name is the heading of its runbook."""


class Alarms(Construct):
    """All alarms. The description of each says what to do first, and names its runbook."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        topic: sns.ITopic,
        services: Sequence[Service],
        authenticator: Service,
        summarizer: Service,
        schedules: Schedules,
        undelivered: sqs.IQueue,
    ) -> None:
        super().__init__(scope, construct_id)
        self._action = actions.SnsAction(topic)
        self.by_name: dict[str, cloudwatch.Alarm] = {}

        for service in services:
            name = f"{service.node.id}DeadLetters"
            self._dead_letters(name, service.dead_letters, _work_failed(service.name, settings.env))
        self._dead_letters(
            "ScheduleDeadLetters",
            schedules.dead_letters,
            "A schedule could not put its event onto the bus: look at the bus and the schedules' role.",
        )
        self._dead_letters(
            "UndeliveredEvents",
            undelivered,
            "The bus could not deliver an event into an inbox or to a webhook. Which, and why: `cloud-sync failures "
            f"--env {settings.env}`. For an inbox, restore what was changed by hand: `cdk deploy -c env={settings.env} "
            f"--revert-drift`. Then redrive that service: `cloud-sync redrive --env {settings.env} --service NAME`. "
            f"For a webhook, set its address anew: `cloud-sync webhooks set NAME --env {settings.env}`.",
        )
        # Every sync begins at the authenticator. Without an invocation, nobody requested a sync, or the request did not
        # arrive. CloudWatch shows no invocations as a missing metric.
        self._alarm(
            "NoSync",
            authenticator.function.metric_invocations(period=cdk.Duration.hours(1), statistic="Sum"),
            "No sync has begun for 26 hours: look at the daily schedule. Also rings after the first deployment, until "
            "the first sync.",
            comparison=cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
            periods=26,
            missing=_MISSING_IS_BAD,
            rings=settings.schedule_enabled,
        )
        # One error may be a timeout, after which the batch comes again.
        self._alarm(
            "SummarizerErrors",
            summarizer.function.metric_errors(period=_PERIOD, statistic="Sum"),
            "The summarizer cannot start, or is killed: syncs stay open and unreported. Read its log; if it cannot "
            "start, deploy again.",
            periods=3,
        )
        # The function reports a failed message and ends without an error. A message in work is as good a sign as one
        # that waits: a failed one is hidden until its next try. The age of the oldest message is none: SQS leaves out
        # a message that was received three times.
        self._alarm(
            "SummarizerStuck",
            cloudwatch.MathExpression(
                expression="IF(waiting + in_work > 0 AND FILL(deleted, 0) == 0, 1, 0)",
                using_metrics={
                    "waiting": summarizer.inbox.metric_approximate_number_of_messages_visible(statistic="Maximum"),
                    "in_work": summarizer.inbox.metric_approximate_number_of_messages_not_visible(statistic="Maximum"),
                    "deleted": summarizer.inbox.metric_number_of_messages_deleted(statistic="Sum"),
                },
                period=_PERIOD,
                label="Messages that wait while none is finished",
            ),
            "The summarizer finishes none of its messages: syncs stay open and unreported. Read its log.",
            periods=3,
        )
        self._alarm(
            "Throttles",
            cloudwatch.MathExpression(
                expression=" + ".join(f"FILL({service.name}, 0)" for service in services),
                using_metrics={
                    service.name: service.function.metric_throttles(statistic="Sum") for service in services
                },
                period=_PERIOD,
                label="Throttled invocations of all functions",
            ),
            "Lambda refused to start a function, which costs a message one of its tries: the account's concurrency is "
            "used up. What it has: `aws lambda get-account-settings --query AccountLimit.ConcurrentExecutions`. "
            "Request more, or deploy with a smaller `concurrency`.",
        )
        # Only a pasted session grows old. Its cookie lasts seven days, whatever the session behind it does.
        self._alarm(
            "SessionOld",
            cloudwatch.Metric(
                namespace=METRICS_NAMESPACE,
                metric_name=Metric.SESSION_AGE_HOURS.value,
                dimensions_map={"environment": settings.env, "service": authenticator.name},
                period=cdk.Duration.hours(1),
                statistic="Maximum",
            ),
            f"The session with GoPro is six days old: `cloud-sync credentials login --env {settings.env}`.",
            threshold=_SESSION_OLD_HOURS,
        )
        # Publishes to the failing topic itself, for its other subscribers; the console shows the alarm in any case.
        self._alarm(
            "NotificationsFailed",
            cloudwatch.Metric(
                namespace="AWS/SNS",
                metric_name="NumberOfNotificationsFailed",
                dimensions_map={"TopicName": topic.topic_name},
                period=_PERIOD,
                statistic="Sum",
            ),
            "A notification did not reach a subscriber: look at the topic's subscriptions.",
        )

    def _dead_letters(self, construct_id: str, queue: sqs.IQueue, description: str) -> None:
        self._alarm(
            construct_id,
            queue.metric_approximate_number_of_messages_visible(period=_PERIOD, statistic="Maximum"),
            description,
        )

    def _alarm(
        self,
        construct_id: str,
        metric: cloudwatch.IMetric,
        description: str,
        *,
        comparison: cloudwatch.ComparisonOperator = cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
        threshold: float = 1,
        periods: int = 1,
        missing: cloudwatch.TreatMissingData = _MISSING_IS_FINE,
        rings: bool = True,
    ) -> None:
        alarm = cloudwatch.Alarm(
            self,
            construct_id,
            metric=metric,
            threshold=threshold,
            comparison_operator=comparison,
            evaluation_periods=periods,
            treat_missing_data=missing,
            alarm_description=f"{description} Runbook: {RUNBOOKS}#{construct_id.lower()}",
            actions_enabled=rings,
        )
        alarm.add_alarm_action(self._action)
        self.by_name[construct_id] = alarm
