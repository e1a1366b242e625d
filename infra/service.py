"""A service: the one construct that the stack builds four times."""

import itertools
from collections.abc import Mapping, Sequence
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

INBOX_RETENTION = cdk.Duration.days(4)
# A dead letter keeps the age of its message: it must be kept for longer than an inbox keeps one, or it is gone at once.
DEAD_LETTER_RETENTION = cdk.Duration.days(14)

_ENCRYPTED_BY_SQS = (
    "Encrypted with SQS's own key, which the rule doesn't know; EventBridge can't send under AWS's KMS key"
)
_RETRY_CAP_SECONDS = 300
_OPERATOR = "operator"
_LAMBDA_LEVELS = {"WARNING": "WARN"}  # where Lambda's name of a level is not Python's


def source_of(publisher: str) -> str:
    """The `source` of all events that this service, the schedule or an operator publishes."""
    return f"cloud-sync.{publisher}"


def dead_letter_queue(scope: Construct, construct_id: str) -> sqs.Queue:
    """A queue for what could not be delivered or done, kept for as long as SQS can."""
    queue = sqs.Queue(
        scope,
        construct_id,
        encryption=sqs.QueueEncryption.SQS_MANAGED,
        enforce_ssl=True,
        retention_period=DEAD_LETTER_RETENTION,
    )
    suppress(queue, "CKV_AWS_27", because=_ENCRYPTED_BY_SQS)
    suppress(
        queue, "Serverless-SQSRedrivePolicy", because="These are dead letters: nothing receives them but an operator"
    )
    return queue


class Service(Construct):
    """A function, its inbox, its dead letters, and the rule on the bus that fills the inbox.

    The function can read its inbox, publish as itself, write its own log and send traces. All else it needs is
    granted with `may`, one line for each need.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        name: str,
        bus: events.IEventBus,
        reacts_to: Mapping[str, Sequence[str]],  # the publishers of each event; an operator may send every one
        layer: lambda_.ILayerVersion,
        settings: Settings,
        environment: Mapping[str, str],
        retry_base_seconds: float = 2,
        timeout: cdk.Duration,
        memory_megabytes: int,
        max_receives: int = 4,
        batch_size: int = 1,
        batch_window: cdk.Duration | None = None,
        concurrency: int = 2,
    ) -> None:
        super().__init__(scope, construct_id)
        self.name = name

        self.dead_letters = dead_letter_queue(self, "DeadLetters")
        self.inbox = sqs.Queue(
            self,
            "Inbox",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=INBOX_RETENTION,
            # The shortest that SQS allows; the handlers shorten it per message, so a killed one's is back soon.
            visibility_timeout=timeout,
            dead_letter_queue=sqs.DeadLetterQueue(queue=self.dead_letters, max_receive_count=max_receives),
        )
        suppress(self.inbox, "CKV_AWS_27", because=_ENCRYPTED_BY_SQS)
        self.rule = self._rule(bus, reacts_to)
        self.log_group = self._log_group(settings)
        # Written by hand: AWS's managed policy for functions lets each of them write to every log of the account.
        role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        self._grants = iam.Policy(self, "Grants", roles=[role])
        self.function = lambda_.Function(
            self,
            "Function",
            description=f"Cloud Sync's {name}",
            handler=f"services.{name}.handler.handler",
            code=packaging.service_code(name),
            layers=[layer],
            runtime=packaging.RUNTIME,
            architecture=packaging.ARCHITECTURE,
            # By its ARN, so that nothing but `may` gives it rights.
            role=iam.Role.from_role_arn(self, "FunctionRole", role.role_arn, mutable=False),
            timeout=timeout,
            memory_size=memory_megabytes,
            tracing=lambda_.Tracing.ACTIVE,
            # A pause comes back to the service that published it, as often as a long file needs. The hops in the
            # event bound that chain; Lambda would cut it after 16 if it saw it.
            recursive_loop=lambda_.RecursiveLoop.ALLOW,
            log_group=self.log_group,
            logging_format=lambda_.LoggingFormat.JSON,
            application_log_level_v2=lambda_.ApplicationLogLevel[
                _LAMBDA_LEVELS.get(settings.log_level, settings.log_level)
            ],
            environment={
                "EVENT_BUS_NAME": bus.event_bus_name,
                "INBOX_URL": self.inbox.queue_url,
                "MAX_RECEIVES": str(max_receives),
                "RETRY_BASE_SECONDS": f"{retry_base_seconds:g}",
                "RETRY_CAP_SECONDS": str(_RETRY_CAP_SECONDS),
                "POWERTOOLS_SERVICE_NAME": name,
                "POWERTOOLS_METRICS_NAMESPACE": "CloudSync",
                "POWERTOOLS_LOG_LEVEL": settings.log_level,
                **environment,
            },
        )
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
        # Lambda refuses to trace, and to poll a queue, for a role that may not.
        self.function.node.add_dependency(self._grants)
        # X-Ray knows no resources: the only `*` there is.
        self.may("xray:PutTraceSegments", "xray:PutTelemetryRecords", on="*")
        suppress(self._grants, "AwsSolutions-IAM5[Resource::*]", because="X-Ray knows no resources")
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
            when={"StringEquals": {"events:source": source_of(name)}},
        )
        self.may("logs:CreateLogStream", "logs:PutLogEvents", on=self.log_group.log_group_arn)

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
            because="Lambda has no such destination for a queue, whose own dead letters take what failed",
        )

    def may(self, *actions: str, on: str, when: Mapping[str, Mapping[str, str]] | None = None) -> None:
        """Allow the function these actions on one resource, given by its ARN."""
        self._grants.add_statements(iam.PolicyStatement(actions=[*actions], resources=[on], conditions=when))

    def may_below(self, prefix: str, *actions: str, of: s3.Bucket) -> None:
        """Allow the function these actions on all objects of a bucket whose keys begin with the prefix."""
        self.may(*actions, on=of.arn_for_objects(f"{prefix}*"))
        bucket = cdk.Stack.of(of).get_logical_id(cast("s3.CfnBucket", of.node.default_child))
        suppress(
            self._grants,
            f"AwsSolutions-IAM5[Resource::<{bucket}.Arn>/{prefix}*]",
            because="The objects aren't known beforehand; the prefix is this service's own",
        )

    def _log_group(self, settings: Settings) -> logs.LogGroup:
        log_group = logs.LogGroup(
            self,
            "Log",
            removal_policy=cdk.RemovalPolicy.RETAIN if settings.is_production else cdk.RemovalPolicy.DESTROY,
        )
        suppress(
            log_group, "CKV_AWS_158", because="CloudWatch Logs encrypts with a key of its own; no secret is logged"
        )
        # The construct takes names such as ONE_YEAR; the setting is the number of days that they stand for.
        resource = cast("logs.CfnLogGroup", log_group.node.default_child)
        resource.retention_in_days = settings.log_retention_days
        return log_group

    def _rule(self, bus: events.IEventBus, reacts_to: Mapping[str, Sequence[str]]) -> events.Rule:
        publishers = sorted({_OPERATOR, *itertools.chain.from_iterable(reacts_to.values())})
        return events.Rule(
            self,
            "Rule",
            description=f"What the {self.name} reacts to",
            event_bus=bus,
            event_pattern=events.EventPattern(
                source=[source_of(publisher) for publisher in publishers], detail_type=[*reacts_to]
            ),
            targets=[
                targets.SqsQueue(
                    self.inbox,
                    # Long enough for an outage, and over before the inbox would forget a message of that age.
                    max_event_age=cdk.Duration.hours(4),
                    dead_letter_queue=self.dead_letters,
                )
            ],
        )
