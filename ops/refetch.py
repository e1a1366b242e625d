"""Correcting the library table by the bucket: lost files are marked as missing, files that are back as stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from ops.library import FoundObject, KnownMedium, LibraryStores
from services.downloader.transfer import Version
from services.shared.dynamodb import error_codes
from services.shared.library.objects import other_key
from services.shared.library.records import MEDIUM, Status

_FILES_AT_ONCE = 99  # a transaction takes a hundred actions, and one is about the medium


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A file whose object isn't as its record says."""

    item: int
    text: str
    occupied: bool = False  # another object has its key
    intact: FoundObject | None = None  # the original itself: only the record has to be corrected


def correct(stores: LibraryStores, medium: KnownMedium, differences: Sequence[Difference], *, now: datetime) -> bool:
    """Correct the records of a medium and of these of its files.

    Returns False when a sync has worked on the medium since it was read: nothing is changed then.

    Intact files become STORED, the others MISSING, and the medium what `status_after` says. A medium that is MISSING is
    discovered and taken like one that was never stored, and its files that aren't STORED are fetched. They keep their
    item, origin and key. Where another object has the key they get another one, because nothing is ever overwritten.
    The medium's epoch rises, which fences off any worker that still believes to have it.
    """
    files = [_file(stores.table, medium, one) for one in differences]
    # The medium comes last: while it is STORED no sync takes it, and so none misses a file that isn't marked yet.
    while len(files) > _FILES_AT_ONCE:
        if not _write(stores, [{"ConditionCheck": _unchanged(stores.table, medium, now)}, *files[:_FILES_AT_ONCE]]):
            return False
        files = files[_FILES_AT_ONCE:]
    return _write(stores, [_medium(stores.table, medium, differences, now), *files])


def status_after(medium: KnownMedium, differences: Sequence[Difference] = ()) -> Status | None:
    """Return the medium's status once these files are corrected; None where it has no record of its own."""
    if not medium.own:
        return None  # a sync or `adopt` writes it: nobody knows here how many files it should have
    if files_missing_after(medium, differences):
        return Status.MISSING
    if medium.status == Status.STORED:
        return Status.MISSING if medium.lacks_files else Status.STORED
    came_back = any(medium.files[one.item].status == Status.MISSING for one in differences)
    complete = (medium.status == Status.MISSING or came_back) and not medium.lacks_files
    return Status.STORED if complete else medium.status


def files_missing_after(medium: KnownMedium, differences: Sequence[Difference]) -> set[int]:
    """Return the items of the files that are MISSING once these are corrected."""
    missing = {item for item, record in medium.files.items() if record.status == Status.MISSING}
    return (missing | {one.item for one in differences}) - {one.item for one in differences if one.intact}


def _medium(table: str, medium: KnownMedium, differences: Sequence[Difference], now: datetime) -> dict[str, Any]:
    unchanged, status = _unchanged(table, medium, now), status_after(medium, differences)
    if status == medium.status:
        return {"ConditionCheck": unchanged}
    # As it was when it was stored, because all of its files are as they were then.
    complete = ", bytes_done = bytes_total REMOVE lease_until, reason" if status == Status.STORED else ""
    return {
        "Update": {
            **unchanged,
            "UpdateExpression": f"SET #status = :after{complete} ADD epoch :one",
            "ExpressionAttributeValues": {**unchanged["ExpressionAttributeValues"], ":after": status, ":one": 1},
        }
    }


def _unchanged(table: str, medium: KnownMedium, now: datetime) -> dict[str, Any]:
    """Return the condition that the medium's own record is as it was read, and that no worker has the medium."""
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
            ":epoch": medium.own.epoch,
            ":status": medium.own.status,
            ":now": int(now.timestamp()),
        },
    }


def _file(table: str, medium: KnownMedium, difference: Difference) -> dict[str, Any]:
    record = medium.files[difference.item]
    update: dict[str, Any] = {
        "TableName": table,
        "Key": {"media_id": medium.media_id, "item": difference.item},
        "ConditionExpression": "#status = :before AND #key = :key",
        "ExpressionAttributeNames": {"#status": "status", "#key": "key"},
    }
    values = {":before": record.status, ":key": record.key}
    if found := difference.intact:
        update["UpdateExpression"] = (
            "SET #status = :stored, #key = :found, etag = :etag, checksum = :checksum, proof = :proof "
            "REMOVE former_key, upload_id, part_size"
        )
        version = Version(size=found.size, etag=record.origin_etag)
        values |= {":stored": Status.STORED, ":found": found.key, ":etag": found.etag, ":checksum": found.checksum}
        values |= {":proof": found.proof(version)}
    elif difference.occupied:
        # The file may be back at its former key once the other object is gone.
        update["UpdateExpression"] = "SET #status = :missing, #key = :other, former_key = :key"
        values |= {":missing": Status.MISSING, ":other": other_key(record.key, record.origin_etag)}
    else:
        update["UpdateExpression"] = "SET #status = :missing"
        values |= {":missing": Status.MISSING}
    return {"Update": {**update, "ExpressionAttributeValues": values}}


def _write(stores: LibraryStores, actions: list[dict[str, Any]]) -> bool:
    try:
        stores.dynamodb.transact_write_items(TransactItems=actions)
    except ClientError as error:
        # Another write came first, or is being made at this moment.
        if not error_codes(error) & {"ConditionalCheckFailed", "TransactionConflict"}:
            raise
        return False
    return True
