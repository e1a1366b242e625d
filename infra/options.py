"""What a stack has beyond the default, by its settings: network, key, budget, boundary, tags."""

from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from infra import key_grants
from infra.budget import MonthlyBudget
from infra.config import CREATE
from infra.encryption import Encryption
from infra.network import Network

if TYPE_CHECKING:
    from infra.stack import CloudSync


def add(stack: "CloudSync") -> None:
    """Add the options. To be called when everything else is there: they are about all of it."""
    settings = stack.settings
    if settings.vpc:
        network = Network(stack, "Network", settings=settings)
        network.connect(stack.services)
        cdk.CfnOutput(stack, "VpcId", value=network.vpc_id)
        cdk.CfnOutput(stack, "FunctionsSecurityGroupId", value=network.security_group.ref)
    if settings.monthly_budget_usd:
        MonthlyBudget(stack, "Budget", usd=settings.monthly_budget_usd, topic=stack.notifications)
    if settings.kms_key:
        _encrypt(stack, settings.kms_key)
    if settings.permissions_boundary:
        boundary = iam.ManagedPolicy.from_managed_policy_arn(
            stack, "Boundary", managed_policy_arn=settings.permissions_boundary
        )
        iam.PermissionsBoundary.of(stack).apply(boundary)
    for key, value in settings.tags:
        cdk.Tags.of(stack).add(key, value)


def _encrypt(stack: "CloudSync", kms_key: str) -> None:
    settings = stack.settings
    encryption = Encryption(stack, "Encryption", kms_key=kms_key, budget=bool(settings.monthly_budget_usd))
    encryption.everything(stack)
    for service in stack.services:
        # A bucket that was there before can't be encrypted with a key that is created now.
        foreign = encryption.created and settings.media_bucket != CREATE
        actions = {action for action in service.actions if not (foreign and action.startswith("s3:"))}
        encryption.grant(service.grants.add_statements, key_grants.operations(actions))
    encryption.grant(stack.schedules.allow, key_grants.operations(["sqs:SendMessage"]))
    cdk.CfnOutput(stack, "KmsKeyArn", value=encryption.key_arn)
