"""Many small real media through the real stack, on the emulated AWS of this machine."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ops.local.gopro_cloud import Library, Series
from ops.local.gopro_cloud.library import Shape
from services.shared.events import SERVICES
from tools.bench.sync.copies import differences, in_bucket, originals
from tools.bench.sync.stage import Bench, Sync, deployed
from tools.load.functions import memory
from tools.local_stage import LocalStage

MEDIUM_BYTES = 3000
_WARM_UP_MEDIA = 20
_PATIENCE_SECONDS = 300.0
_SECOND_NOTIFICATION_SECONDS = 3  # long enough for a second notification to arrive


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """One sync of this many media. Memory in bytes."""

    media: int
    seconds: float  # from the request to the notification
    events: int
    peaks: Mapping[str, int]  # by service, the peak memory of its function's processes
    wrong: tuple[str, ...]


def run(folder: Path, media: int) -> Embedded:
    """Run two syncs. Raises `OperatorError` without a stage, and `Unfinished` when a sync doesn't end in time."""
    with deployed(folder) as stage:
        bench = _Bench(stage)
        wanted: dict[str, str] = {}

        def sync(prefix: str, count: int) -> Sync:
            library = Library(series=(Series(count=count, prefix=prefix, size=MEDIUM_BYTES, shape=Shape.PHOTO),))
            stage.control.replace_library(library)
            wanted.update({one.media_id: one.sha256 for one in originals(stage.control, library)})
            return bench.sync(patience_seconds=_PATIENCE_SECONDS)

        sync("6a", _WARM_UP_MEDIA)
        done = sync("6b", media)
        return Embedded(
            media=media,
            seconds=done.seconds,
            events=len(done.facts),
            peaks={name: max(memory("VmHWM", pid) for pid in stage.worker_pids(name)) for name in SERVICES},
            wrong=(*done.wrong(media), *differences(wanted, in_bucket(stage)), *_left(stage, bench)),
        )


class _Bench(Bench):
    def another_notification(self) -> bool:
        """Return whether a second notification of the sync arrives."""
        return bool(self._receive(self._notifications, wait_seconds=_SECOND_NOTIFICATION_SECONDS))


def _left(stage: LocalStage, bench: _Bench) -> Iterator[str]:
    """Yield leftovers that a finished sync should have removed, or never created."""
    if bench.another_notification():
        yield "a second notification"
    for service in SERVICES:
        if any(stage.inbox(service).values()):
            yield f"the {service}'s inbox holds {stage.inbox(service)}"
        if letters := stage.dead_letters(service):
            yield f"{len(letters)} dead letters of the {service}"
    if stage.uploads():
        yield f"{len(stage.uploads())} uploads that nobody has completed"
