"""Which syncs an operator has cancelled, for services that are about to begin work."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SYNC = "sync"  # the sort key of a sync's own record in the syncs table


class Cancellations:
    """Reads cancellations from the syncs table, which belongs to the summarizer.

    `client`: the client of a DynamoDB resource (`resource.meta.client`), which takes and returns plain values.
    """

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def include(self, sync_id: str) -> bool:
        """Return whether the sync is cancelled. The read is consistent; an unknown sync is not cancelled."""
        key = {"sync_id": sync_id, "record": SYNC}
        found = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True)
        return bool(found.get("Item", {}).get("cancel_requested_at"))
