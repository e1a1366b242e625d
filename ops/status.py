"""What waits where, at a glance."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from boto3.dynamodb.conditions import Key

from ops.dead_letters import SERVICES
from ops.deployment import Deployment
from ops.errors import OperatorError
from ops.progress import View, closing, standing
from ops.watch import last_sync, look

_COUNTS = {
    "ApproximateNumberOfMessages": "waiting",
    "ApproximateNumberOfMessagesNotVisible": "in work",
    "ApproximateNumberOfMessagesDelayed": "delayed",
}


def status(deployment: Deployment) -> Iterator[str]:
    """Lines: each service's inbox and dead letters, how many syncs are unsettled, and the last sync."""
    sqs: Any = deployment.client("sqs")
    outputs = deployment.outputs  # first: without a stack there is nothing to head
    yield f"{'':14}{'waiting':>9}{'in work':>9}{'delayed':>9}{'dead letters':>14}"
    for service in SERVICES:
        inbox, dead = (
            sqs.get_queue_attributes(QueueUrl=outputs[f"{service.title()}{queue}"], AttributeNames=["All"])
            for queue in ("QueueUrl", "DeadLettersUrl")
        )
        counts = "".join(f"{inbox['Attributes'].get(name, '0'):>9}" for name in _COUNTS)
        yield f"{service:14}{counts}{dead['Attributes'].get('ApproximateNumberOfMessages', '0'):>14}"
    view = View()
    unsettled = deployment.table("SyncsTableName").query(KeyConditionExpression=Key("sync_id").eq("#unsettled"))
    yield f"unsettled syncs: {len(unsettled['Items'])}"
    with suppress(OperatorError):  # there may have been none yet
        view = look(deployment, last_sync(deployment))
    if view.sync:
        yield closing(view.sync) if view.is_closed else f"sync {view.sync['sync_id']}: {standing(view)}"
        if view.is_closed and not (view.sync.get("announcement") or {}).get("notified"):
            yield "  its notification has not gone out yet; every review tries again. Is the topic there?"
