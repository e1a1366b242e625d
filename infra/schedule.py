"""The schedules: the daily sync, its catch-up, the review of all syncs, and the probe of the session."""

from collections.abc import Mapping

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_scheduler_targets as targets
from constructs import Construct

from infra.config import Settings
from infra.service import dead_letter_queue, publishing_as
from services.shared.events import SCHEDULE, Event, SessionProbeDue, SyncRequested, SyncReviewDue, source_of

REVIEW_EVERY = cdk.Duration.minutes(15)


class Schedules(Construct):
    """Schedules of EventBridge Scheduler that put events onto the bus, the same ones that an operator sends.

    Their group is the stack's own, so that two environments can share an account: an operator types the names of the
    daily ones, so those are fixed.
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
        self._role = self._role_that_publishes_as_the_schedule()

        self.daily = self._sync(
            "Daily",
            name="gopro-sync-daily-schedule",
            at=(settings.schedule_hour, 0),
            enabled=settings.schedule_enabled,
            description="Syncs the GoPro library",
        )
        # Scheduler skips a local time that does not exist on the night daylight saving time begins. The catch-up runs
        # after that gap and requests the sync of the same date; on every other night that sync has already begun.
        self.catch_up = self._sync(
            "CatchUp",
            name="gopro-sync-catch-up-schedule",
            at=settings.catch_up_time,
            enabled=settings.schedule_enabled,
            description="Syncs the GoPro library on the night whose clock skips the daily hour",
        )
        # Runs even when the daily ones are disabled: a sync that an operator started has to be closed too.
        self.review = scheduler.Schedule(
            self,
            "Review",
            schedule=scheduler.ScheduleExpression.rate(REVIEW_EVERY),
            target=self._publishes(SyncReviewDue, {}, for_at_most=REVIEW_EVERY),
            schedule_group=self.group,
            description="Closes syncs that are complete, overdue or stalled",
            time_window=scheduler.TimeWindow.off(),
        )

        if settings.session_probe_hour is not None:
            scheduler.Schedule(
                self,
                "SessionProbe",
                schedule=self._daily_at(settings.session_probe_hour),
                target=self._publishes(SessionProbeDue, {}, for_at_most=cdk.Duration.hours(1)),
                schedule_group=self.group,
                enabled=settings.schedule_enabled,
                description="Warns if the next sync will have no session",
                time_window=scheduler.TimeWindow.off(),
            )

    def _daily_at(self, hour: int, minute: int = 0) -> scheduler.ScheduleExpression:
        return scheduler.ScheduleExpression.cron(hour=str(hour), minute=str(minute), time_zone=self._zone)

    def _sync(
        self, construct_id: str, *, name: str, at: tuple[int, int], enabled: bool, description: str
    ) -> scheduler.Schedule:
        detail = {
            "provider": SyncRequested.provider,
            "trigger": "scheduled",
            "scheduled_time": scheduler.ContextAttribute.scheduled_time,
        }
        return scheduler.Schedule(
            self,
            construct_id,
            schedule_name=name,
            schedule=self._daily_at(*at),
            target=self._publishes(SyncRequested, detail, for_at_most=cdk.Duration.hours(2)),
            schedule_group=self.group,
            enabled=enabled,
            description=description,
            time_window=scheduler.TimeWindow.off(),
        )

    def _publishes(
        self, event: type[Event], detail: Mapping[str, str], *, for_at_most: cdk.Duration
    ) -> targets.EventBridgePutEvents:
        return targets.EventBridgePutEvents(
            targets.EventBridgePutEventsEntry(
                event_bus=self._bus,
                source=source_of(SCHEDULE),
                detail_type=event.__name__,
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
                conditions=publishing_as(source_of(SCHEDULE)),
            )
        )
        role.add_to_policy(iam.PolicyStatement(actions=["sqs:SendMessage"], resources=[self.dead_letters.queue_arn]))
        self.allow = role.add_to_policy
        """Adds a statement to the policy of the schedules' role."""
        # Otherwise the target would grant the role PutEvents under any source.
        return role.without_policy_updates()
