"""Many real media, small ones, through the real stack on the emulated AWS of this machine."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from bench.sync.copies import differences, in_bucket, originals
from bench.sync.stage import Bench, Sync, deployed
from ops.dead_letters import SERVICES
from tests.e2e.stage import Stage
from tests.gopro_cloud import Library, Series
from tests.gopro_cloud.library import Shape
from tests.load.functions import memory
from tests.load.sizes import item_bytes

MEDIUM_BYTES = 3000
_WARM_UP_MEDIA = 20
_PATIENCE_SECONDS = 300.0
_SECOND_NOTIFICATION_SECONDS = 3  # in which another one would have come


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """One sync of as many media. Memory in bytes."""

    media: int
    seconds: float  # from the request to the notification
    events: Mapping[str, int]  # by detail-type
    event: int  # bytes of the largest event's data
    item: int  # bytes of the largest item
    before: Mapping[str, int]  # memory by process, when all functions were warm
    after: Mapping[str, int]
    peaks: Mapping[str, int]  # by service, the most memory that a process of its function has had
    wrong: tuple[str, ...]


def run(folder: Path, media: int) -> Embedded:
    """Raises `OperatorError` when the stage can't be brought up, `Unfinished` when the sync doesn't end in time."""
    with deployed(folder) as stage:
        bench = _Bench(stage)
        wanted: dict[str, str] = {}

        def sync(prefix: str, count: int) -> Sync:
            library = Library(series=(Series(count=count, prefix=prefix, size=MEDIUM_BYTES, shape=Shape.PHOTO),))
            stage.control.replace_library(library)
            wanted.update({one.media_id: one.sha256 for one in originals(stage.control, library)})
            return bench.sync(patience_seconds=_PATIENCE_SECONDS)

        sync("6a", _WARM_UP_MEDIA)
        before = _memory(stage)
        done = sync("6b", media)
        after = _memory(stage)
        return Embedded(
            media=media,
            seconds=done.seconds,
            events=Counter(fact.detail_type for fact in done.facts),
            event=max(len(json.dumps(fact.data)) for fact in done.facts),
            item=max(item_bytes(item) for item in _items(stage)),
            before=before,
            after=after,
            peaks={name: max(_memory_of(stage, name, "VmHWM")) for name in SERVICES},
            wrong=(*done.wrong(media), *differences(wanted, in_bucket(stage)), *_left(stage, bench)),
        )


class _Bench(Bench):
    def another_notification(self) -> bool:
        """Whether the sync that was told is told again."""
        return bool(self._receive(self._notifications, wait_seconds=_SECOND_NOTIFICATION_SECONDS))


def _left(stage: Stage, bench: _Bench) -> Iterator[str]:
    """What should not be there any more, or never should have been."""
    if bench.another_notification():
        yield "a second notification"
    for service in SERVICES:
        if any(stage.inbox(service).values()):
            yield f"the {service}'s inbox holds {stage.inbox(service)}"
        if letters := stage.dead_letters(service):
            yield f"{len(letters)} dead letters of the {service}"
    if stage.uploads():
        yield f"{len(stage.uploads())} uploads that nobody has completed"


def _items(stage: Stage) -> Iterator[Mapping[str, Any]]:
    for output in ("LibraryTableName", "SyncsTableName", "AuthenticatorTableName"):
        table = stage.deployment.table(output)
        for page in table.meta.client.get_paginator("scan").paginate(TableName=table.name):
            yield from page["Items"]


def _memory(stage: Stage) -> dict[str, int]:
    """Of the emulator, and of all processes of the functions together."""
    process = stage.local.process("ministack")
    assert process, "the emulator is gone"
    workers = [one for name in SERVICES for one in _memory_of(stage, name, "VmRSS")]
    return {"emulator": psutil.Process(process.pid).memory_info().rss, "functions": sum(workers)}


def _memory_of(stage: Stage, service: str, field: str) -> list[int]:
    return [memory(field, pid) for pid in stage.worker_pids(service)]
