"""What has to hold after every end-to-end test, whatever was done in it: the invariants I1 to I5 and I7 to I10.

I1, I2, I5, I9 and that each sync closes are the matter of `accounts.py`; I6, that no secret shows anywhere, is the
canary's to see to (`canary.py`).
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from infra.schedule import REVIEW_EVERY
from ops.dead_letters import SERVICES
from services.shared.events import SOURCE_PREFIX
from services.shared.library import MEDIUM
from services.shared.slices import MAX_HOPS
from tests.e2e.accounts import Books, wrong_accounts
from tests.e2e.stage import Stage, settled

_OF_A_MEDIUM = "medium#"
SOURCES = {f"{SOURCE_PREFIX}{service}" for service in SERVICES}


_SETTLED_WITHIN_SECONDS = 10.0


def violations_at_rest(stage: Stage) -> list[str]:
    """What doesn't hold, once those are done that were about to write down what they have done."""
    return settled(lambda: violations(stage), seconds=_SETTLED_WITHIN_SECONDS)


def violations(stage: Stage) -> list[str]:
    """What doesn't hold, each with the number of its invariant."""
    syncs, media = _syncs(stage)
    library = list(_items(stage, "LibraryTableName"))
    events = [*stage.events(), *stage.posted]
    books = Books(
        events=events,
        syncs=syncs,
        media=media,
        library={record["media_id"]: record for record in library if record["item"] == MEDIUM},
        left_open=stage.left_open,
    )
    return [
        *wrong_accounts(books),
        *_bounds(stage, events, syncs),
        *_objects(stage, library),
        *_uploads(stage, library),
    ]


def _items(stage: Stage, output: str) -> Iterator[dict[str, Any]]:
    table = stage.deployment.table(output)
    for page in table.meta.client.get_paginator("scan").paginate(TableName=table.name, ConsistentRead=True):
        yield from page["Items"]


def _syncs(stage: Stage) -> tuple[Mapping[str, Any], Mapping[str, list[Any]]]:
    syncs: dict[str, Any] = {}
    media: dict[str, list[Any]] = defaultdict(list)
    for item in _items(stage, "SyncsTableName"):
        if item["record"] == "sync":
            syncs[item["sync_id"]] = item
        elif item["record"].startswith(_OF_A_MEDIUM):
            media[item["sync_id"]].append(item)
    return syncs, media


def _bounds(stage: Stage, events: Iterable[Mapping[str, Any]], syncs: Mapping[str, Any]) -> Iterator[str]:
    """I7: hops and attempts; I8: the time to the close, of those that closed."""
    most = int(_variables(stage, "downloader")["MAX_RECEIVES"])
    for event in events:
        detail = event["detail"]
        if event["source"] not in SOURCES:
            continue  # what people and schedules send has no bounds to keep
        if detail["metadata"]["hops"] > MAX_HOPS:
            yield f"I7: {event['detail-type']} after {detail['metadata']['hops']} hops"
        if event["detail-type"] == "MediaDownloadFailed" and detail["data"]["attempts"] > most:
            yield f"I7: {detail['data']['media_id']} failed after {detail['data']['attempts']} attempts"
    hours = float(_variables(stage, "summarizer")["SYNC_DEADLINE_HOURS"])
    longest = timedelta(hours=hours) + timedelta(seconds=float(REVIEW_EVERY.to_seconds()))
    for sync_id, sync in syncs.items():
        if summary := sync.get("summary"):
            took = datetime.fromisoformat(summary["closed_at"]) - datetime.fromisoformat(summary["requested_at"])
            if took > longest:
                yield f"I8: {sync_id} closed after {took}"


def _variables(stage: Stage, service: str) -> Mapping[str, str]:
    name = stage.outputs[f"{service.title()}FunctionName"]
    configuration = stage.client("lambda").get_function_configuration(FunctionName=name)
    variables: Mapping[str, str] = configuration["Environment"]["Variables"]
    return variables


def _objects(stage: Stage, library: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """I3: what is told to be stored is there, whole; I4: no object was ever written over by other bytes."""
    objects = stage.objects()
    versions: dict[str, set[str]] = defaultdict(set)
    for page in (
        stage.client("s3")
        .get_paginator("list_object_versions")
        .paginate(Bucket=stage.outputs["MediaBucketName"], Prefix="gopro/")
    ):
        for version in page.get("Versions", []):
            versions[version["Key"]].add(version["ETag"])
    yield from (
        f"I4: {key} was written over" for key, etags in versions.items() if len(etags) > 1 and key not in stage.by_hand
    )
    for record in library:
        if record["item"] and record["status"] == "STORED" and record["key"] not in stage.by_hand:
            found = objects.get(record["key"])
            if found is None:
                yield f"I3: {record['key']} is told to be stored and isn't there"
            elif (found.size, found.checksum, found.etag.strip('"')) != (
                record["size"],
                record["checksum"],
                record["etag"],
            ):
                yield f"I3: {record['key']} isn't the object that was stored"


def _uploads(stage: Stage, library: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """I10: every multipart upload is named by a library item."""
    named = {record.get("upload_id") for record in library}
    for upload in stage.uploads():
        if upload["UploadId"] not in named:
            yield f"I10: the upload of {upload['Key']} is named by no library item"
