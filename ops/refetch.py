"""Sets the library table right by what the bucket has: what is gone is wanted again, and what is there is stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from ops.library import FoundObject, LibraryStores, MediumRecords
from services.downloader.keys import other_key
from services.downloader.transfer import Version
from services.shared.library import MEDIUM, MISSING, STORED

_FILES_AT_ONCE = 99  # a transaction takes a hundred actions, and one is about the medium


@dataclass(frozen=True, kw_only=True)
class Wrong:
    """A file whose object isn't as its record says."""

    item: int
    wrong: str
    occupied: bool = False  # something else lies at its key
    intact: FoundObject | None = None  # the original itself: nothing but the record is to be set right


def set_right(stores: LibraryStores, medium: MediumRecords, wrongs: Sequence[Wrong], *, now: datetime) -> bool:
    """Sets the records of a medium and of these of its files right.

    False when something has had the medium in hand since it was read. Files that are intact become STORED, the others
    MISSING, and the medium what `status_after` says. A medium that is MISSING is discovered and taken like any that
    isn't stored, and those of its files are fetched that aren't STORED. They keep their item, origin and key; where
    something else lies at the key they get another, for nothing is ever overwritten. Whoever still believes to have
    the medium is fenced off by its risen epoch.
    """
    files = [_file(stores.table, medium, wrong) for wrong in wrongs]
    # The medium last: while it is STORED nobody takes it and passes over what isn't marked yet.
    while len(files) > _FILES_AT_ONCE:
        if not _write(stores, [{"ConditionCheck": _unchanged(stores.table, medium, now)}, *files[:_FILES_AT_ONCE]]):
            return False
        files = files[_FILES_AT_ONCE:]
    return _write(stores, [_medium(stores.table, medium, wrongs, now), *files])


def status_after(medium: MediumRecords, wrongs: Sequence[Wrong] = ()) -> str:
    """The status of a medium once these files of it are set right; empty where it has no record of its own."""
    if not medium.own:
        return ""  # a sync, or `adopt`, writes it: here nobody knows how many files it should have
    status = str(medium.own["status"])
    if files_missing_after(medium, wrongs):
        return MISSING
    if status == STORED:
        return MISSING if medium.lacks_files else STORED
    came_back = any(medium.files[wrong.item]["status"] == MISSING for wrong in wrongs)
    return STORED if (status == MISSING or came_back) and not medium.lacks_files else status


def files_missing_after(medium: MediumRecords, wrongs: Sequence[Wrong]) -> set[int]:
    """The items of the files that are MISSING once these are set right."""
    missing = {item for item, record in medium.files.items() if record["status"] == MISSING}
    return (missing | {wrong.item for wrong in wrongs}) - {wrong.item for wrong in wrongs if wrong.intact}


def _medium(table: str, medium: MediumRecords, wrongs: Sequence[Wrong], now: datetime) -> dict[str, Any]:
    unchanged, status = _unchanged(table, medium, now), status_after(medium, wrongs)
    if status == medium.own.get("status", ""):
        return {"ConditionCheck": unchanged}
    # As when it was stored, for all of its files are what they were then.
    whole = ", bytes_done = bytes_total REMOVE lease_until, reason" if status == STORED else ""
    return {
        "Update": {
            **unchanged,
            "UpdateExpression": f"SET #status = :after{whole} ADD epoch :one",
            "ExpressionAttributeValues": {**unchanged["ExpressionAttributeValues"], ":after": status, ":one": 1},
        }
    }


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
    update: dict[str, Any] = {
        "TableName": table,
        "Key": {"media_id": medium.media_id, "item": wrong.item},
        "ConditionExpression": "#status = :before AND #key = :key",
        "ExpressionAttributeNames": {"#status": "status", "#key": "key"},
    }
    values = {":before": record["status"], ":key": key}
    if found := wrong.intact:
        update["UpdateExpression"] = (
            "SET #status = :stored, #key = :found, etag = :etag, checksum = :checksum, proof = :proof "
            "REMOVE former_key, upload_id, part_size"
        )
        version = Version(size=found.size, etag=str(record["origin_etag"]))
        values |= {":stored": STORED, ":found": found.key, ":etag": found.etag, ":checksum": found.checksum}
        values |= {":proof": found.proof(version)}
    elif wrong.occupied:
        # Where what lies at its key goes away, the file may be there again.
        update["UpdateExpression"] = "SET #status = :missing, #key = :other, former_key = :key"
        values |= {":missing": MISSING, ":other": other_key(key, str(record["origin_etag"]))}
    else:
        update["UpdateExpression"] = "SET #status = :missing"
        values |= {":missing": MISSING}
    return {"Update": {**update, "ExpressionAttributeValues": values}}


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
