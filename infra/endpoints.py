"""Which services of AWS a function calls from its own network, told from the actions that its role allows.

Imports no CDK.
"""

from collections.abc import Iterable

GATEWAYS = frozenset({"s3", "dynamodb"})
"""Services with a gateway endpoint, which costs nothing."""

BY_LAMBDA = frozenset(
    {
        # Lambda polls the queue, and writes the function's log, from its own network.
        "sqs:ReceiveMessage",
        "sqs:DeleteMessage",
        "logs:CreateLogStream",
        "logs:PutLogEvents",
        # S3, SQS, SNS, DynamoDB and Secrets Manager use the key for a function; Lambda makes the network interfaces.
        "kms:*",
        "ec2:*",
    }
)
"""Actions that the role allows to others than the function's own code."""

_NAMES = {"cloudwatch": "monitoring"}  # of endpoints, where IAM has another name for the service


def called(actions: Iterable[str]) -> frozenset[str]:
    """Return the services that code with these permissions calls, by the names of their endpoints."""
    own = {action for action in actions if not {action, f"{action.partition(':')[0]}:*"} & BY_LAMBDA}
    services = {action.partition(":")[0] for action in own}
    return frozenset(_NAMES.get(service, service) for service in services)
