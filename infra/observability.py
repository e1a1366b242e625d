"""What somebody is told of when no sync can tell it: alarms, to the topic that the syncs' notifications go to."""

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.service import Service
from infra.suppressions import suppress

_MISSING_IS_FINE = cloudwatch.TreatMissingData.NOT_BREACHING
_UNREAD_SECONDS = 600  # a fact is tallied within seconds, and within a minute where syncs compete
_MISSING_IS_BAD = cloudwatch.TreatMissingData.BREACHING


class Notifications(sns.Topic):
    """The topic for summaries and alarms. It works with no subscriber; each e-mail address has to confirm its own."""

    def __init__(self, scope: Construct, construct_id: str, *, emails: Sequence[str]) -> None:
        super().__init__(scope, construct_id, display_name="Cloud Sync", enforce_ssl=True)
        suppress(
            self,
            "CKV_AWS_26",
            because="Alarms can't publish under AWS's key for SNS, and what is told here ends as plain e-mail",
        )
        for email in emails:
            self.add_subscription(subscriptions.EmailSubscription(email))
        # A topic with a policy of its own no longer lets the account's alarms in unasked.
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
        f"Why: `cloud-sync failures {where}`; once mended: `cloud-sync redrive {where}`."
    )
    if service == "authenticator":
        # A sync's outcome is final, so that no replay begins it twice.
        text += f" A failed sync is not begun again by that, but anew by `cloud-sync trigger --env {env}`."
    return text


class Alarms(Construct):
    """Each says in its description what to do about it."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        env: str,
        topic: sns.ITopic,
        services: Sequence[Service],
        authenticator: Service,
        summarizer: Service,
        schedule_dead_letters: sqs.IQueue,
        schedule_enabled: bool,
    ) -> None:
        super().__init__(scope, construct_id)
        self._action = actions.SnsAction(topic)

        for service in services:
            self._dead_letters(
                f"{service.node.id}DeadLetters",
                service.dead_letters,
                _work_failed(service.name, env),
            )
        self._dead_letters(
            "ScheduleDeadLetters",
            schedule_dead_letters,
            "A schedule could not put its event onto the bus: look at the bus and the schedules' role.",
        )
        # Every sync begins at the authenticator, so its silence means that nothing has asked for one, or nothing
        # arrived. A metric that is not there is what silence looks like.
        self._alarm(
            "NoSync",
            authenticator.function.metric_invocations(period=cdk.Duration.hours(1), statistic="Sum"),
            "No sync has begun for 26 hours: look at the daily schedule. Also rings after the first deployment, until "
            "the first sync.",
            comparison=cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
            periods=26,
            missing=_MISSING_IS_BAD,
            rings=schedule_enabled,
        )
        self._alarm(
            "SummarizerErrors",
            # A message that fails is no error of the function, which reports it and lives; it stays in the inbox.
            summarizer.inbox.metric_approximate_age_of_oldest_message(
                period=cdk.Duration.minutes(5), statistic="Maximum"
            ),
            "The summarizer fails: syncs may stay open and untold. Read its log.",
            threshold=_UNREAD_SECONDS,
        )
        # Rings at the topic that fails, for its other subscribers; the console shows it in any case.
        self._alarm(
            "NotificationsFailed",
            cloudwatch.Metric(
                namespace="AWS/SNS",
                metric_name="NumberOfNotificationsFailed",
                dimensions_map={"TopicName": topic.topic_name},
                period=cdk.Duration.minutes(5),
                statistic="Sum",
            ),
            "A notification did not reach a subscriber: look at the topic's subscriptions.",
        )

    def _dead_letters(self, construct_id: str, queue: sqs.IQueue, description: str) -> None:
        self._alarm(
            construct_id,
            queue.metric_approximate_number_of_messages_visible(period=cdk.Duration.minutes(5), statistic="Maximum"),
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
            alarm_description=description,
            actions_enabled=rings,
        )
        alarm.add_alarm_action(self._action)
