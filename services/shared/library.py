"""The library table: what is known of each medium. The downloader writes it; lister and summarizer read it here.

Per medium one record with item 0 (`status`, lease, totals), and one for each of its files (items 1, 2, …).
"""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from services.shared.errors import TransientError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

DOWNLOADING, STORED, FAILED = "DOWNLOADING", "STORED", "FAILED"
MEDIUM = 0  # the item number of a medium's own record

_BATCH = 100  # keys a BatchGetItem takes
_TRIES = 8


def medium_records(client: "DynamoDBClient", table: str, media_ids: Collection[str]) -> Mapping[str, dict[str, Any]]:
    """The records of these media, by media id; those that the table doesn't have are absent. Consistent reads.

    `client` is the client of a DynamoDB resource (`resource.meta.client`), which takes and gives plain values.
    Raises `TransientError` when DynamoDB keeps leaving keys unprocessed.
    """
    found: dict[str, dict[str, Any]] = {}
    ids = list(media_ids)
    for start in range(0, len(ids), _BATCH):
        keys: list[Any] = [{"media_id": media_id, "item": MEDIUM} for media_id in ids[start : start + _BATCH]]
        for _ in range(_TRIES):
            answer = client.batch_get_item(RequestItems={table: {"Keys": keys, "ConsistentRead": True}})
            for record in answer["Responses"].get(table, []):
                found[str(record["media_id"])] = record
            left = answer["UnprocessedKeys"].get(table)
            if not left:
                break
            keys = list(left["Keys"])
        else:
            raise TransientError(f"DynamoDB left {len(keys)} keys of {table} unprocessed")
    return found
