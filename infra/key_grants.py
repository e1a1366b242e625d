"""What a KMS key has to allow: to a role, for what that role may do elsewhere, and to services of AWS themselves.

Imports no CDK, so that the command `key-policy` shows the same statements that the template has.
"""

from collections.abc import Iterable, Mapping
from typing import Any

Statement = Mapping[str, Any]

_READ = ("kms:Decrypt",)
_WRITE = ("kms:Decrypt", "kms:GenerateDataKey")  # Decrypt, too: S3 to put a part, SQS and SNS to check a data key
# As CDK grants them for a table with a key. DynamoDB uses the key in the name of whoever calls it.
_READ_TABLE = ("kms:Decrypt", "kms:DescribeKey")
_WRITE_TABLE = (
    *_READ_TABLE,
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
)

OPERATIONS: Mapping[str, tuple[str, ...]] = {
    "s3:GetObject": _READ,
    "s3:PutObject": _WRITE,
    "s3:AbortMultipartUpload": (),
    "s3:ListMultipartUploadParts": (),
    "dynamodb:GetItem": _READ_TABLE,
    "dynamodb:BatchGetItem": _READ_TABLE,
    "dynamodb:Query": _READ_TABLE,
    "dynamodb:ConditionCheckItem": _READ_TABLE,
    "dynamodb:PutItem": _WRITE_TABLE,
    "dynamodb:UpdateItem": _WRITE_TABLE,
    "dynamodb:DeleteItem": _WRITE_TABLE,
    "secretsmanager:GetSecretValue": _READ,
    "secretsmanager:PutSecretValue": _WRITE,
    "sqs:ReceiveMessage": _READ,
    "sqs:DeleteMessage": (),
    "sqs:GetQueueAttributes": (),
    "sqs:ChangeMessageVisibility": (),
    "sqs:SendMessage": _WRITE,
    "sns:Publish": _WRITE,
}
"""The operations of the key that each action on an encrypted resource asks for, in the name of whoever acts."""

NEVER = frozenset({"events", "logs", "xray", "ec2"})
"""Services whose actions ask for none. CloudWatch Logs itself uses the key of a log, and the bus has a key of AWS's."""


def operations(actions: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
    """Return what a role that may do these actions needs of the key, by the service through which it uses the key.

    Raises `KeyError` for an action that `OPERATIONS` does not know.
    """
    needed: dict[str, set[str]] = {}
    for action in actions:
        service = action.partition(":")[0]
        if service not in NEVER:
            needed.setdefault(service, set()).update(OPERATIONS[action])
    return {service: tuple(sorted(found)) for service, found in sorted(needed.items()) if found}


def through(service: str, *, region: str, suffix: str) -> Mapping[str, Mapping[str, str]]:
    """Return the condition that the key is used through this service, such as `s3`, and not directly."""
    return {"StringEquals": {"kms:ViaService": f"{service}.{region}.{suffix}"}}


def of_services(*, partition: str, region: str, account: str, stack: str, budget: bool) -> list[Statement]:
    """Return the statements of the key's policy for services of AWS that use the key in their own name.

    SNS and Scheduler are not among them. SNS uses the key in the name of who publishes, and Scheduler in that of the
    schedules' role. `budget`: whether AWS Budgets publishes to the topic.
    """
    account_only = {"StringEquals": {"aws:SourceAccount": account}}
    logs = f"arn:{partition}:logs:{region}:{account}:log-group"
    statements = [
        {
            "Sid": "EventBridgeSendsToQueues",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
            # No condition on the source: EventBridge's requests to the key have none of these keys, and a refused
            # one would drop the event.
        },
        {
            "Sid": "AlarmsPublish",
            "Principal": {"Service": "cloudwatch.amazonaws.com"},
            "Action": ["kms:Decrypt", "kms:GenerateDataKey*"],
            "Condition": account_only,
        },
        {
            "Sid": "LogsEncrypt",
            "Principal": {"Service": f"logs.{region}.amazonaws.com"},
            "Action": ["kms:Decrypt*", "kms:Describe*", "kms:Encrypt*", "kms:GenerateDataKey*", "kms:ReEncrypt*"],
            "Condition": {
                "ArnLike": {"kms:EncryptionContext:aws:logs:arn": [f"{logs}:{stack}-*", f"{logs}:/aws/events/{stack}"]}
            },
        },
    ]
    if budget:
        statements.append(
            {
                "Sid": "BudgetsPublish",
                "Principal": {"Service": "budgets.amazonaws.com"},
                "Action": ["kms:Decrypt", "kms:GenerateDataKey*"],
                "Condition": account_only,
            }
        )
    return [{"Effect": "Allow", "Resource": "*", **statement} for statement in statements]


def of_account(*, partition: str, account: str) -> Statement:
    """Return the statement that lets the account's own policies decide which roles may use and administer the key."""
    return {
        "Sid": "PoliciesOfTheAccountDecide",
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:{partition}:iam::{account}:root"},
        "Action": "kms:*",
        "Resource": "*",
    }
