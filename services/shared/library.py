"""The library table: what is known of each medium. The downloader writes it; lister and summarizer read it here.

Per medium one record with item 0 (`status`, lease, totals), and one for each of its files (items 1, 2, …).
"""

import random
import time
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from services.shared.errors import TransientError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

DOWNLOADING, STORED, FAILED = "DOWNLOADING", "STORED", "FAILED"
MEDIUM = 0  # the item number of a medium's own record

_BATCH = 100  # keys a BatchGetItem takes
_TRIES = 8  # in a row that bring nothing


def medium_records(
    client: "DynamoDBClient",
    table: str,
    media_ids: Collection[str],
    *,
    sleep: Callable[[float], None] = time.sleep,
    jitter: Callable[[], float] = random.random,
) -> Mapping[str, dict[str, Any]]:
    """The records of these media, by media id; those that the table doesn't have are absent. Consistent reads.

    `client` is the client of a DynamoDB resource (`resource.meta.client`), which takes and gives plain values.
    Raises `TransientError` when DynamoDB keeps leaving keys unprocessed.
    """
    found: dict[str, dict[str, Any]] = {}
    ids = list(dict.fromkeys(media_ids))  # DynamoDB refuses to be asked for a key twice
    for start in range(0, len(ids), _BATCH):
        keys: list[Any] = [{"media_id": media_id, "item": MEDIUM} for media_id in ids[start : start + _BATCH]]
        idle = 0
        while keys:
            answer = client.batch_get_item(RequestItems={table: {"Keys": keys, "ConsistentRead": True}})
            for record in answer["Responses"].get(table, []):
                found[str(record["media_id"])] = record
            left: list[Any] = list(answer.get("UnprocessedKeys", {}).get(table, {"Keys": []})["Keys"])
            # Keys are left when the answer is full at 16 MB, or when the table is asked for more than it can take.
            idle = 0 if len(left) < len(keys) else idle + 1
            if idle == _TRIES:
                raise TransientError(f"DynamoDB left {len(left)} keys of {table} unprocessed")
            if left:
                sleep(0.05 * 2**idle * (0.5 + jitter()))
            keys = left
    return found
