"""What has to hold after every end-to-end test, whatever was done in it: the invariants I1 to I5, I7 to I10 and I19.

I1, I2, I5, I9 and that each sync closes are the matter of `accounts.py`; I6, that no secret shows anywhere, is the
canary's to see to (`canary.py`).
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from services.shared.events import SERVICES, SOURCE_PREFIX
from services.shared.inbox.heartbeat import MAX_HOPS
from services.shared.library.records import MEDIUM
from tests.e2e.accounts import Books, wrong_accounts
from tests.e2e.stage import Stage, settled

_OF_A_MEDIUM = "medium#"
_COUNTED = ("listed", "stored", "downloaded", "already_stored", "failed", "known_losses", "skipped", "bytes")
_SOURCES = {f"{SOURCE_PREFIX}{service}" for service in SERVICES}


def violations_at_rest(stage: Stage) -> list[str]:
    """Return what doesn't hold, once the workers have written down what they have done."""
    return settled(lambda: violations(stage))


def violations(stage: Stage) -> list[str]:
    """Return what doesn't hold, each with the number of its invariant."""
    syncs, media = _syncs(stage)
    library = stage.library()
    books = Books(
        events=[*stage.events(), *stage.posted],
        syncs=syncs,
        media=media,
        library={media_id: record for (media_id, item), record in library.items() if item == MEDIUM},
        left_open=stage.left_open,
    )
    return [
        *wrong_accounts(books),
        *_history(stage, syncs),
        *_bounds(stage, books),
        *_objects(stage, library.values()),
        *_uploads(stage, library.values()),
    ]


def _syncs(stage: Stage) -> tuple[Mapping[str, Any], Mapping[str, list[Any]]]:
    syncs: dict[str, Any] = {}
    media: dict[str, list[Any]] = defaultdict(list)
    for item in stage.items("SyncsTableName"):
        if item["record"] == "sync":
            syncs[item["sync_id"]] = item
        elif item["record"].startswith(_OF_A_MEDIUM):
            media[item["sync_id"]].append(item)
    return syncs, media


def _history(stage: Stage, syncs: Mapping[str, Any]) -> Iterator[str]:
    """I19: the history has each closed sync once, with the counts that the sync has."""
    kept = {past.sync_id: past for past in stage.deployment.syncs().recent(len(syncs) + 1)}
    closed = {sync_id: sync for sync_id, sync in syncs.items() if sync["state"] == "CLOSED"}
    if set(kept) != set(closed):
        yield f"I19: closed are {sorted(closed)}, and the history has {sorted(kept)}"
    for sync_id in set(kept) & set(closed):
        counts = {name: (getattr(kept[sync_id], name), closed[sync_id][name]) for name in _COUNTED}
        if wrong := {name: count for name, count in counts.items() if count[0] != count[1]}:
            yield f"I19: {sync_id}: counts (in the history, in the sync): {wrong}"


def _bounds(stage: Stage, books: Books) -> Iterator[str]:
    """I7: hops and attempts; I8: the time to the close, of those that closed."""
    most = int(stage.variables("downloader")["MAX_RECEIVES"])
    for event in books.events:
        detail = event["detail"]
        if event["source"] not in _SOURCES:
            continue  # what people and schedules send has no bounds to keep
        if detail["metadata"]["hops"] > MAX_HOPS:
            yield f"I7: {event['detail-type']} after {detail['metadata']['hops']} hops"
        if event["detail-type"] == "MediaDownloadFailed" and detail["data"]["attempts"] > most:
            yield f"I7: {detail['data']['media_id']} failed after {detail['data']['attempts']} attempts"
    hours = float(stage.variables("summarizer")["SYNC_DEADLINE_HOURS"])
    (minutes,) = re.findall(r"rate\((\d+) minutes\)", stage.schedule("Review")["ScheduleExpression"])
    longest = timedelta(hours=hours, minutes=int(minutes))
    for sync_id, sync in books.syncs.items():
        if summary := sync.get("summary"):
            took = datetime.fromisoformat(summary["closed_at"]) - datetime.fromisoformat(summary["requested_at"])
            if took > longest:
                yield f"I8: {sync_id} closed after {took}"


def _objects(stage: Stage, library: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """I3: what is STORED is there, whole; I4: no object was ever written over by other bytes."""
    objects, versions = stage.objects(), set(stage.versions())
    etags = defaultdict(list)
    for key, etag in versions:
        etags[key].append(etag)
    yield from (f"I4: {key} was written over" for key in etags if len(etags[key]) > 1 and key not in stage.by_hand)
    for record in library:
        if record["item"] and record["status"] == "STORED" and record["key"] not in stage.by_hand:
            stored = tuple(record[name] for name in ("size", "checksum", "etag"))
            found = objects.get(record["key"])
            if found is None or (found.size, found.checksum, found.etag.strip('"')) != stored:
                yield f"I3: {record['key']} is STORED as {stored}, and in the bucket is {found}"


def _uploads(stage: Stage, library: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """I10: every multipart upload is named by a library item."""
    named = {record.get("upload_id") for record in library}
    for upload in stage.uploads():
        if upload["UploadId"] not in named:
            yield f"I10: the upload of {upload['Key']} is named by no library item"
