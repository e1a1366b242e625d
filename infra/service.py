"""A service: the one construct that the stack builds four times."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import cast

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra import packaging
from infra.config import Settings
from infra.suppressions import suppress
from services.shared.events import Event, source_of
from services.shared.settings import ServiceSettings, to_environment

INBOX_RETENTION = cdk.Duration.days(4)
# SQS counts a dead letter's age from when its message was first sent, so dead letters are kept longer than an inbox's.
DEAD_LETTER_RETENTION = cdk.Duration.days(14)

_ENCRYPTED_BY_SQS = (
    "Encrypted with SQS's own key, which the rule doesn't know; EventBridge can't send under AWS's KMS key"
)
METRICS_NAMESPACE = "CloudSync"


def publishing_as(source: str) -> Mapping[str, Mapping[str, str]]:
    """Return the condition that every event of a PutEvents request has this source.

    `events:source` has a value for each entry of the request, so a plain `StringEquals` may refuse several entries.
    `ForAllValues` alone would accept a request without any source.
    """
    return {"ForAllValues:StringEquals": {"events:source": source}, "Null": {"events:source": "false"}}


def dead_letter_queue(scope: Construct, construct_id: str, *, of_an_inbox: bool = False) -> sqs.Queue:
    """Create a queue for messages that could not be delivered or processed, kept as long as SQS allows."""
    queue = sqs.Queue(
        scope,
        construct_id,
        encryption=sqs.QueueEncryption.SQS_MANAGED,
        enforce_ssl=True,
        retention_period=DEAD_LETTER_RETENTION,
    )
    suppress(queue, "CKV_AWS_27", because=_ENCRYPTED_BY_SQS)
    suppress(
        queue,
        *(() if of_an_inbox else ("AwsSolutions-SQS3",)),  # which knows the dead letters of a queue
        "Serverless-SQSRedrivePolicy",
        because="These are dead letters: only an operator receives them",
    )
    return queue


class Service(Construct):
    """A function, its inbox, its dead letters, and the rule on the bus that fills the inbox.

    The function may read its inbox, publish as itself, write to its own log and send traces. `may` grants each further
    permission.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        bus: events.IEventBus,
        undelivered: sqs.IQueue,
        layer: lambda_.ILayerVersion,
        deployment: Settings,
        reacts_to: Collection[type[Event]],
        settings: ServiceSettings,  # without the names of the bus and the inbox, which are filled in here
        timeout: cdk.Duration,
        memory_mb: int,
        batch_size: int = 1,
        batch_window: cdk.Duration | None = None,
        concurrency: int = 2,
        environment_of_libraries: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        self.name = construct_id.lower()
        self.timeout = timeout
        self.memory_mb = memory_mb

        self.dead_letters = dead_letter_queue(self, "DeadLetters", of_an_inbox=True)
        self.inbox = sqs.Queue(
            self,
            "Inbox",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=INBOX_RETENTION,
            # SQS's minimum. The handlers shorten it for each message, so the message of a killed function is back soon.
            visibility_timeout=timeout,
            dead_letter_queue=sqs.DeadLetterQueue(queue=self.dead_letters, max_receive_count=settings.max_receives),
        )
        suppress(self.inbox, "CKV_AWS_27", because=_ENCRYPTED_BY_SQS)
        self._rule(bus, reacts_to, undelivered)
        self.log_group = self._log_group(deployment)
        # Written by hand: AWS's managed policy for functions lets each of them write to every log of the account.
        role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        self.grants = iam.Policy(self, "Grants", roles=[role])
        self.actions: set[str] = set()
        """What `may` has allowed so far."""
        self.calls_gopro = hasattr(settings, "gopro_api_url")
        self.function = lambda_.Function(
            self,
            "Function",
            description=f"Cloud Sync's {self.name}",
            handler=f"services.{self.name}.handler.handler",
            code=packaging.service_code(self.name, deployment.wheels),
            layers=[layer],
            runtime=packaging.RUNTIME,
            architecture=packaging.ARCHITECTURE,
            # By its ARN, so that only `may` grants it permissions.
            role=iam.Role.from_role_arn(self, "FunctionRole", role.role_arn, mutable=False),
            timeout=timeout,
            memory_size=memory_mb,
            tracing=lambda_.Tracing.ACTIVE,
            # A pause returns to the service that published it, as often as a long file needs. The event's `hops` bound
            # that chain; Lambda's recursion detection would stop it after 16 invocations.
            recursive_loop=lambda_.RecursiveLoop.ALLOW,
            log_group=self.log_group,
            logging_format=lambda_.LoggingFormat.JSON,
            # Never above INFO: Lambda takes a line without a level, such as a metric, for one of INFO. The function's
            # own logger keeps to the setting.
            application_log_level_v2=lambda_.ApplicationLogLevel[
                "DEBUG" if deployment.log_level == "DEBUG" else "INFO"
            ],
            environment={
                **to_environment(
                    dataclasses.replace(settings, event_bus_name=bus.event_bus_name, inbox_url=self.inbox.queue_url)
                ),
                "POWERTOOLS_SERVICE_NAME": self.name,
                "POWERTOOLS_METRICS_NAMESPACE": METRICS_NAMESPACE,
                "POWERTOOLS_LOG_LEVEL": deployment.log_level,
                **(environment_of_libraries or {}),
            },
        )
        # Lambda refuses to trace, and to poll a queue, for a role without the permission.
        self.function.node.add_dependency(self.grants)
        self._suppress_findings_on_the_function()
        self._may_do_what_every_service_does(bus)
        deliveries = lambda_.EventSourceMapping(
            self,
            "Deliveries",
            target=self.function,
            event_source_arn=self.inbox.queue_arn,
            batch_size=batch_size,
            max_batching_window=batch_window,
            max_concurrency=concurrency,
            report_batch_item_failures=True,
        )
        suppress(
            deliveries,
            "Serverless-LambdaEventSourceMappingDestination",
            because="Lambda has no such destination for a queue; the queue's dead letters take what failed",
        )

    def may(self, *actions: str, on: str, when: Mapping[str, Mapping[str, str]] | None = None) -> None:
        """Allow the function these actions on one resource, given by its ARN."""
        self.actions.update(actions)
        self.grants.add_statements(iam.PolicyStatement(actions=[*actions], resources=[on], conditions=when))

    def may_below(self, prefix: str, *actions: str, of: s3.IBucket) -> None:
        """Allow the function these actions on all objects of a bucket whose keys begin with the prefix."""
        self.may(*actions, on=of.arn_for_objects(f"{prefix}*"))
        arn = f"arn:<AWS::Partition>:s3:::{of.bucket_name}"  # of a bucket that isn't the stack's
        if created := of.node.default_child:
            arn = f"<{cdk.Stack.of(of).get_logical_id(cast('s3.CfnBucket', created))}.Arn>"
        suppress(
            self.grants,
            f"AwsSolutions-IAM5[Resource::{arn}/{prefix}*]",
            because="The objects aren't known beforehand; the prefix is this service's own",
        )

    def _may_do_what_every_service_does(self, bus: events.IEventBus) -> None:
        # X-Ray has no resources: the only `*` in the stack.
        self.may("xray:PutTraceSegments", "xray:PutTelemetryRecords", on="*")
        suppress(self.grants, "AwsSolutions-IAM5[Resource::*]", because="X-Ray knows no resources")
        self.may(
            "sqs:ReceiveMessage",
            "sqs:DeleteMessage",
            "sqs:GetQueueAttributes",
            "sqs:ChangeMessageVisibility",
            on=self.inbox.queue_arn,
        )
        self.may(
            "events:PutEvents",
            on=bus.event_bus_arn,
            when=publishing_as(source_of(self.name)),
        )
        self.may("logs:CreateLogStream", "logs:PutLogEvents", on=self.log_group.log_group_arn)

    def _suppress_findings_on_the_function(self) -> None:
        suppress(
            self.function,
            "AwsSolutions-L1",
            "Serverless-LambdaLatestVersion",
            because="AWS supports Python 3.13 for as long as 3.14, until June 2029",
        )
        suppress(
            self.function,
            "Serverless-LambdaDLQ",
            "CKV_AWS_116",
            because="Such a queue is for asynchronous calls; this function is called for its inbox, which has one",
        )
        suppress(
            self.function,
            "CKV_AWS_115",
            because="The event source bounds it; a reservation would be taken from the account's other functions",
        )
        suppress(self.function, "CKV_AWS_117", because="In a VPC a NAT gateway would charge for every byte of a video")
        suppress(self.function, "CKV_AWS_173", because="Encrypted with Lambda's own key; names and limits, no secrets")

    def _log_group(self, deployment: Settings) -> logs.LogGroup:
        log_group = logs.LogGroup(
            self,
            "Log",
            removal_policy=(
                cdk.RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE if deployment.is_production else cdk.RemovalPolicy.DESTROY
            ),
        )
        suppress(
            log_group, "CKV_AWS_158", because="CloudWatch Logs encrypts with a key of its own; no secret is logged"
        )
        # The construct takes names such as ONE_YEAR; the setting is a number of days.
        resource = cast("logs.CfnLogGroup", log_group.node.default_child)
        resource.retention_in_days = deployment.log_retention_days
        return log_group

    def _rule(self, bus: events.IEventBus, reacts_to: Collection[type[Event]], undelivered: sqs.IQueue) -> None:
        events.Rule(
            self,
            "Rule",
            description=f"What the {self.name} reacts to",
            event_bus=bus,
            event_pattern=events.EventPattern(
                detail_type=[event.__name__ for event in reacts_to],
                source=sorted(set().union(*(event.sources() for event in reacts_to))),
            ),
            targets=[
                targets.SqsQueue(
                    self.inbox,
                    # Outlasts an outage, and ends before the inbox would drop a message of that age.
                    max_event_age=cdk.Duration.hours(4),
                    # Not the service's own dead letters: SQS's redrive refuses messages that never were in the inbox.
                    dead_letter_queue=undelivered,
                )
            ],
        )
