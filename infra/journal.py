"""The journal of the bus: a rule that writes every event of Cloud Sync into a log group, for `story` and `events`."""

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.suppressions import suppress
from services.shared.events import SOURCE_PREFIX

_WRITERS = ["events.amazonaws.com", "delivery.logs.amazonaws.com"]


class Journal(Construct):
    """The log group, the rule that fills it, and the policy that lets EventBridge write there for this rule alone."""

    def __init__(self, scope: Construct, construct_id: str, *, bus: events.IEventBus, days: int) -> None:
        """`days`: how long the log group keeps an event."""
        super().__init__(scope, construct_id)
        stack = cdk.Stack.of(self)
        # The console finds a log group for events by this prefix. The rest of the name is for people to type.
        name = f"/aws/events/{stack.stack_name}"
        # Not kept when the stack is deleted: a group of this name would be in the way of the next deployment.
        self.log_group = logs.CfnLogGroup(self, "Log", log_group_name=name, retention_in_days=days)
        self.log_group.apply_removal_policy(cdk.RemovalPolicy.DESTROY)
        suppress(
            self.log_group,
            "CKV_AWS_158",
            because="CloudWatch Logs encrypts with a key of its own; no event holds a secret",
        )
        arn = stack.format_arn(
            service="logs",
            resource="log-group",
            resource_name=self.log_group.ref,
            arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
        )
        # CDK's own target for logs would bring a function that writes the policy; CloudFormation can write it itself.
        self.rule = events.CfnRule(
            self,
            "Rule",
            description="Writes every event of Cloud Sync into a log",
            event_bus_name=bus.event_bus_name,
            event_pattern={"source": [{"prefix": SOURCE_PREFIX}]},
            targets=[events.CfnRule.TargetProperty(id="Log", arn=arn)],
        )
        suppress(
            self.rule,
            "Serverless-EventBusDLQ",
            because="An event that can't be logged is missing from a picture, and nobody would send it again for that",
        )
        # As AWS's documentation has it: only the second call names the rule.
        self.policy = logs.CfnResourcePolicy(
            self,
            "Policy",
            policy_name=f"{stack.stack_name}-events",
            policy_document=stack.to_json_string(
                {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Effect": "Allow",
                            "Principal": {"Service": _WRITERS},
                            "Action": "logs:CreateLogStream",
                            "Resource": f"{arn}:*",
                        },
                        {
                            "Effect": "Allow",
                            "Principal": {"Service": _WRITERS},
                            "Action": "logs:PutLogEvents",
                            "Resource": f"{arn}:*",
                            "Condition": {"ArnEquals": {"aws:SourceArn": self.rule.attr_arn}},
                        },
                    ],
                }
            ),
        )
