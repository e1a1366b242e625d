"""Reading many items of a DynamoDB table at once."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from services.shared.errors import TransientError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_BATCH = 100  # keys a BatchGetItem takes
_TRIES = 8  # in a row that bring nothing


def read_items(
    client: "DynamoDBClient",
    table: str,
    keys: Sequence[Any],
    *,
    sleep: Callable[[float], None] = time.sleep,
    jitter: Callable[[], float] = random.random,
) -> Iterator[dict[str, Any]]:
    """The items of these keys, each key once; those that the table doesn't have are absent. Consistent reads.

    `client` is the client of a DynamoDB resource (`resource.meta.client`), which takes and gives plain values.
    Raises `TransientError` when DynamoDB keeps leaving keys unprocessed.
    """
    for start in range(0, len(keys), _BATCH):
        asked: list[Any] = list(keys[start : start + _BATCH])
        idle = 0
        while asked:
            answer = client.batch_get_item(RequestItems={table: {"Keys": asked, "ConsistentRead": True}})
            yield from answer["Responses"].get(table, [])
            left: list[Any] = list(answer.get("UnprocessedKeys", {}).get(table, {"Keys": []})["Keys"])
            # Keys are left when the answer is full at 16 MB, or when the table is asked for more than it can take.
            idle = 0 if len(left) < len(asked) else idle + 1
            if idle == _TRIES:
                raise TransientError(f"DynamoDB left {len(left)} keys of {table} unprocessed")
            if left:
                sleep(0.05 * 2**idle * (0.5 + jitter()))
            asked = left
