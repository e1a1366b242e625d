"""Lets the next sync fetch what of a medium is gone from the bucket, and nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from ops.library import LibraryStores, MediumRecords
from services.downloader.keys import other_key
from services.shared.library import MEDIUM, MISSING, STORED

_FILES_AT_ONCE = 99  # a transaction takes a hundred actions, and one is about the medium


@dataclass(frozen=True, kw_only=True)
class Wrong:
    """A file whose object isn't as its record says."""

    item: int
    wrong: str
    occupied: bool  # something else lies at its key


def want_again(stores: LibraryStores, medium: MediumRecords, wrongs: Sequence[Wrong], *, now: datetime) -> bool:
    """Marks a medium and these of its files as MISSING; False when something has had it in hand since it was read.

    A medium that is MISSING is discovered and taken like any that isn't stored, and those of its files are fetched
    that aren't STORED. They keep their item, origin and key; where something else lies at the key they get another,
    for nothing is ever overwritten. Whoever still believes to have the medium is fenced off by its risen epoch.
    """
    files = [_file(stores.table, medium, wrong) for wrong in wrongs]
    # The medium last: until then it is STORED, so nobody takes it and passes over what isn't marked yet.
    while len(files) > _FILES_AT_ONCE:
        if not _write(stores, [{"ConditionCheck": _unchanged(stores.table, medium, now)}, *files[:_FILES_AT_ONCE]]):
            return False
        files = files[_FILES_AT_ONCE:]
    marked = _unchanged(stores.table, medium, now)
    marked["UpdateExpression"] = "SET #status = :missing ADD epoch :one"
    marked["ExpressionAttributeNames"] = {"#status": "status"}
    marked["ExpressionAttributeValues"] = {
        **marked.get("ExpressionAttributeValues", {}), ":missing": MISSING, ":one": 1
    }  # fmt: skip
    return _write(stores, [{"Update": marked}, *files])


def _unchanged(table: str, medium: MediumRecords, now: datetime) -> dict[str, Any]:
    """That the medium's own record is as it was read, and nobody works on it."""
    own: dict[str, Any] = {"TableName": table, "Key": {"media_id": medium.media_id, "item": MEDIUM}}
    if not medium.own:
        return {**own, "ConditionExpression": "attribute_not_exists(media_id)"}
    return {
        **own,
        "ConditionExpression": (
            "epoch = :epoch AND #status = :status AND (attribute_not_exists(lease_until) OR lease_until <= :now)"
        ),
        "ExpressionAttributeNames": {"#status": "status"},
        "ExpressionAttributeValues": {
            ":epoch": medium.own["epoch"],
            ":status": medium.own["status"],
            ":now": int(now.timestamp()),
        },
    }


def _file(table: str, medium: MediumRecords, wrong: Wrong) -> dict[str, Any]:
    record = medium.files[wrong.item]
    key = str(record["key"])
    return {
        "Update": {
            "TableName": table,
            "Key": {"media_id": medium.media_id, "item": wrong.item},
            "UpdateExpression": "SET #status = :missing, #key = :key",
            "ConditionExpression": "#status = :stored",
            "ExpressionAttributeNames": {"#status": "status", "#key": "key"},
            "ExpressionAttributeValues": {
                ":missing": MISSING,
                ":stored": STORED,
                ":key": other_key(key, str(record["origin_etag"])) if wrong.occupied else key,
            },
        }
    }


def _write(stores: LibraryStores, actions: list[dict[str, Any]]) -> bool:
    try:
        stores.dynamodb.transact_write_items(TransactItems=actions)
    except ClientError as error:
        reasons = {reason.get("Code") for reason in error.response.get("CancellationReasons", [])}
        # Another's write is before this one, or is being written at this moment.
        if not reasons & {"ConditionalCheckFailed", "TransactionConflict"}:
            raise
        return False
    return True
