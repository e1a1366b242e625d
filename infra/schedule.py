"""When things happen: the daily sync, its catch-up, and the review of all syncs."""

from collections.abc import Mapping

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_scheduler_targets as targets
from constructs import Construct

from infra.config import Settings
from infra.service import dead_letter_queue, source_of
from infra.suppressions import suppress

REVIEW_EVERY = cdk.Duration.minutes(15)

_PUBLISHER = "schedule"


class Schedules(Construct):
    """EventBridge Scheduler puts plain events onto the bus, the same that an operator sends.

    They are in a group of their own, so that two environments can share an account: the names of the daily ones are
    fixed, as an operator types them.
    """

    def __init__(self, scope: Construct, construct_id: str, *, bus: events.IEventBus, settings: Settings) -> None:
        super().__init__(scope, construct_id)
        self._bus = bus
        self._zone = cdk.TimeZone.of(settings.schedule_time_zone)
        self.group = scheduler.ScheduleGroup(
            self,
            "Group",
            schedule_group_name=cdk.Stack.of(self).stack_name,
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        self.dead_letters = dead_letter_queue(self, "DeadLetters")
        suppress(
            self.dead_letters,
            "AwsSolutions-SQS3",
            because="These are dead letters themselves; the rule knows only those of queues",
        )
        self._role = self._role_that_publishes_as_the_schedule()

        self.daily = self._sync(
            "Daily",
            name="gopro-sync-daily-schedule",
            at=(settings.schedule_hour, 0),
            enabled=settings.schedule_enabled,
            description="Syncs the GoPro library",
        )
        # Scheduler skips a local time that summer time tears out of the night. The catch-up comes after the gap and
        # asks for the sync of the same date, which is known already in every other night.
        self.catch_up = self._sync(
            "CatchUp",
            name="gopro-sync-catch-up-schedule",
            at=settings.catch_up_time,
            enabled=settings.schedule_enabled,
            description="Syncs the GoPro library in the night whose clock skips the daily hour",
        )
        # Stays on without the daily ones: a sync that an operator started has to be closed too.
        self.review = scheduler.Schedule(
            self,
            "Review",
            schedule=scheduler.ScheduleExpression.rate(REVIEW_EVERY),
            target=self._publishes("SyncReviewDue", {}, for_at_most=REVIEW_EVERY),
            schedule_group=self.group,
            description="Closes syncs that are complete, overdue or stalled",
            time_window=scheduler.TimeWindow.off(),
        )

    def _sync(
        self, construct_id: str, *, name: str, at: tuple[int, int], enabled: bool, description: str
    ) -> scheduler.Schedule:
        hour, minute = at
        detail = {
            "provider": "gopro",
            "trigger": "scheduled",
            "scheduled_time": scheduler.ContextAttribute.scheduled_time,
        }
        return scheduler.Schedule(
            self,
            construct_id,
            schedule_name=name,
            schedule=scheduler.ScheduleExpression.cron(hour=str(hour), minute=str(minute), time_zone=self._zone),
            target=self._publishes("SyncRequested", detail, for_at_most=cdk.Duration.hours(2)),
            schedule_group=self.group,
            enabled=enabled,
            description=description,
            time_window=scheduler.TimeWindow.off(),
        )

    def _publishes(
        self, detail_type: str, detail: Mapping[str, str], *, for_at_most: cdk.Duration
    ) -> targets.EventBridgePutEvents:
        return targets.EventBridgePutEvents(
            targets.EventBridgePutEventsEntry(
                event_bus=self._bus,
                source=source_of(_PUBLISHER),
                detail_type=detail_type,
                detail=scheduler.ScheduleTargetInput.from_object(detail),
            ),
            role=self._role,
            dead_letter_queue=self.dead_letters,
            max_event_age=for_at_most,
            retry_attempts=185,
        )

    def _role_that_publishes_as_the_schedule(self) -> iam.IRole:
        here = {"aws:SourceAccount": cdk.Aws.ACCOUNT_ID, "aws:SourceArn": self.group.schedule_group_arn}
        role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("scheduler.amazonaws.com", conditions={"StringEquals": here}),
        )
        role.add_to_policy(
            iam.PolicyStatement(
                actions=["events:PutEvents"],
                resources=[self._bus.event_bus_arn],
                conditions={"StringEquals": {"events:source": source_of(_PUBLISHER)}},
            )
        )
        role.add_to_policy(iam.PolicyStatement(actions=["sqs:SendMessage"], resources=[self.dead_letters.queue_arn]))
        # The target would grant itself PutEvents under any name.
        return role.without_policy_updates()
