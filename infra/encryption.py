"""A KMS key for all that the stack stores, as an option: one of the user's, or one that the stack creates."""

from collections.abc import Callable, Mapping
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_secretsmanager as secretsmanager
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra import key_grants
from infra.config import CREATE
from infra.suppressions import unsuppress

_DATA_KEY_FOR = cdk.Duration.hours(1)
"""How long SQS uses a data key: each new one is a paid request to KMS, for each queue and sender."""


class Encryption(Construct):
    """The key. `everything` encrypts with it what a stack has stored in it, and `grant` lets a role use it."""

    def __init__(self, scope: Construct, construct_id: str, *, kms_key: str, budget: bool) -> None:
        """`kms_key`: `create`, or the ARN of a key. `budget`: whether AWS Budgets publishes to the topic."""
        super().__init__(scope, construct_id)
        self.created = kms_key == CREATE
        self.key_arn = self._create(budget=budget) if self.created else kms_key

    def _create(self, *, budget: bool) -> str:
        stack = cdk.Stack.of(self)
        where = {"partition": stack.partition, "account": stack.account}
        policy = {
            "Version": "2012-10-17",
            "Statement": [
                key_grants.of_account(**where),
                *key_grants.of_services(**where, region=stack.region, stack=stack.stack_name, budget=budget),
            ],
        }
        key = kms.CfnKey(
            self,
            "Key",
            description=f"{stack.stack_name}: all that Cloud Sync stores",
            enable_key_rotation=True,
            key_policy=policy,
        )
        # Without it nothing that was stored could be read.
        key.apply_removal_policy(cdk.RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE)
        kms.CfnAlias(self, "Alias", alias_name=f"alias/{stack.stack_name}", target_key_id=key.ref)
        return key.attr_arn

    def everything(self, stack: cdk.Stack) -> None:
        """Encrypt all stores of a stack, whichever construct has created them."""
        for construct in stack.node.find_all():
            for kind, encrypt in _STORES.items():
                if isinstance(construct, kind):
                    unsuppress(construct, *encrypt(construct, self.key_arn))

    def grant(self, allow: Callable[[iam.PolicyStatement], object], needed: Mapping[str, tuple[str, ...]]) -> None:
        """Let a role use the key as `key_grants.operations` says. `allow` adds a statement to the role's policies."""
        for service, operations in needed.items():
            condition = key_grants.through(service, region=cdk.Aws.REGION, suffix=cdk.Aws.URL_SUFFIX)
            allow(iam.PolicyStatement(actions=[*operations], resources=[self.key_arn], conditions=condition))


def _bucket(bucket: Any, key_arn: str) -> tuple[str, ...]:
    by_default = s3.CfnBucket.ServerSideEncryptionByDefaultProperty(sse_algorithm="aws:kms", kms_master_key_id=key_arn)
    # One data key for many objects: otherwise each part of an upload is a paid request to KMS.
    rule = s3.CfnBucket.ServerSideEncryptionRuleProperty(
        server_side_encryption_by_default=by_default, bucket_key_enabled=True
    )
    bucket.bucket_encryption = s3.CfnBucket.BucketEncryptionProperty(server_side_encryption_configuration=[rule])
    return ()


def _table(table: Any, key_arn: str) -> tuple[str, ...]:
    table.sse_specification = dynamodb.CfnTable.SSESpecificationProperty(
        sse_enabled=True, sse_type="KMS", kms_master_key_id=key_arn
    )
    return ("CKV_AWS_119",)


def _queue(queue: Any, key_arn: str) -> tuple[str, ...]:
    queue.sqs_managed_sse_enabled = None
    queue.kms_master_key_id = key_arn
    queue.kms_data_key_reuse_period_seconds = _DATA_KEY_FOR.to_seconds()
    return ("CKV_AWS_27",)


def _topic(topic: Any, key_arn: str) -> tuple[str, ...]:
    topic.kms_master_key_id = key_arn
    return ("CKV_AWS_26",)


def _secret(secret: Any, key_arn: str) -> tuple[str, ...]:
    secret.kms_key_id = key_arn
    return ("CKV_AWS_149",)


def _log_group(log_group: Any, key_arn: str) -> tuple[str, ...]:
    log_group.kms_key_id = key_arn
    return ("CKV_AWS_158",)


# Each sets the key, and returns the findings that were accepted for want of one.
_STORES: Mapping[type, Callable[[Any, str], tuple[str, ...]]] = {
    s3.CfnBucket: _bucket,
    dynamodb.CfnTable: _table,
    sqs.CfnQueue: _queue,
    sns.CfnTopic: _topic,
    secretsmanager.CfnSecret: _secret,
    logs.CfnLogGroup: _log_group,
}
