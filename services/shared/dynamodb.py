"""DynamoDB, as far as several services use it alike."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from services.shared.clock import Clock
from services.shared.errors import TransientError
from services.shared.retry import retry

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# Codes by which DynamoDB says that a write may be tried again as it is: an error's own, or a cancelled transaction's
# reasons.
CONTENDED = frozenset(
    {
        "InternalServerError",
        "ProvisionedThroughputExceeded",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingError",
        "ThrottlingException",
        "TransactionConflict",
        "TransactionConflictException",
        "TransactionInProgressException",
    }
)

_KEYS_PER_REQUEST = 100  # BatchGetItem's limit
_TRIES = 8  # in a row that return nothing
_FIRST_PAUSE_SECONDS = 0.1


class KeysUnprocessed(TransientError):
    """DynamoDB returned none of the items that were asked for."""


def read_items(client: "DynamoDBClient", table: str, keys: Sequence[Any], *, clock: Clock) -> Iterator[dict[str, Any]]:
    """Return the items with these keys, without those that the table doesn't have. The reads are consistent.

    Each key may be given once. `client`: of a DynamoDB resource (`resource.meta.client`), which takes and returns plain
    values. Raises `TransientError` when DynamoDB keeps leaving keys unprocessed.
    """
    for start in range(0, len(keys), _KEYS_PER_REQUEST):
        wanted: list[Any] = list(keys[start : start + _KEYS_PER_REQUEST])
        while wanted:
            read = partial(_read_some, client, table, wanted)
            items, wanted = retry(read, on=KeysUnprocessed, clock=clock, tries=_TRIES, first_pause=_FIRST_PAUSE_SECONDS)
            yield from items


def _read_some(client: "DynamoDBClient", table: str, keys: list[Any]) -> tuple[list[dict[str, Any]], list[Any]]:
    """Return items, and the keys that are left: an answer is full at 16 MB, or the table is asked for too much."""
    answer = client.batch_get_item(RequestItems={table: {"Keys": keys, "ConsistentRead": True}})
    left: list[Any] = list(answer.get("UnprocessedKeys", {}).get(table, {"Keys": []})["Keys"])
    if len(left) == len(keys):
        raise KeysUnprocessed(f"DynamoDB left {len(left)} keys of {table} unprocessed")
    return answer["Responses"].get(table, []), left


def error_codes(error: ClientError) -> set[str]:
    """Return the error's code, and where a transaction was cancelled, those of its actions that caused it."""
    reasons = {str(reason.get("Code")) for reason in error.response.get("CancellationReasons", [])}
    return {str(error.response["Error"].get("Code", "")), *reasons} - {"None", ""}
