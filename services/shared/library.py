"""The library table: what is known of each medium. The downloader writes it; lister and summarizer read it here.

Per medium one record with item 0 (`status`, lease, totals), and one for each of its files (items 1, 2, …).
"""

import random
import time
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from services.shared.tables import read_items

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

DOWNLOADING, STORED, FAILED = "DOWNLOADING", "STORED", "FAILED"
MISSING = "MISSING"  # of a medium and of its files that an operator wants to have again: the bucket has lost them
MEDIUM = 0  # the item number of a medium's own record


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
    ids = dict.fromkeys(media_ids)  # DynamoDB refuses to be asked for a key twice
    keys = [{"media_id": media_id, "item": MEDIUM} for media_id in ids]
    return {str(record["media_id"]): record for record in read_items(client, table, keys, sleep=sleep, jitter=jitter)}
