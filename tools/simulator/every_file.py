"""I17: every file that the origin would have given is stored, or named with its reason."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from services.shared.library.records import Status
from tools.simulator.gopro import File, Medium

if TYPE_CHECKING:
    from tools.simulator.invariants import Invariants
    from tools.simulator.world import World

_SLOW = 20.0  # seconds a byte: a file may take longer than a download gets


class EveryFile:
    """Looks for files of the library that are neither stored nor named by the last listing of all of it."""

    def __init__(self, world: "World", watched: "Invariants") -> None:
        self._world = world
        self._watched = watched
        self._bodies: dict[str, set[bytes]] = {}  # by media id
        for key, stored in world.s3.objects.items():
            if key.startswith("gopro/"):
                self._bodies.setdefault(stored.metadata["media-id"], set()).add(stored.body)
        environment = {**world.wires.services["lister"].environment, **world.plan.settings}
        self._most_media = int(environment["MAX_MEDIA_PER_SYNC"])
        self._own = {item["media_id"]: item for item in world.tables["Library"].plain() if item["item"] == 0}

    def unaccounted(self, sync_id: str, states: list[Mapping[str, int]]) -> Iterator[str]:
        """Yield what is wrong, as of a sync's listing. `states`: of the library while it was listed."""
        listing = json.loads(self._world.s3.objects[f"listings/{sync_id}.json"].body)
        taken_on = {medium["media_id"] for medium in listing["media"]}
        began, ended = self._last_full_walk(sync_id, listing)
        for medium in self._world.gopro.library.values():
            missing = self._missing(medium)
            if not missing or not all(medium.id in state for state in states):
                continue
            if max(medium.changed_at, medium.odd_since) > began:
                continue  # for the next full walk to see
            if listing["walk"] == "newest" and self._is_balanced(medium, ended):
                continue  # likewise, if it is below the newest media
            if medium.id in taken_on:
                yield from self._unnamed(medium, missing)
            elif not self._left_out(medium, listing):
                names = ", ".join(file.origin for file in missing)
                yield f"{sync_id}: {medium.id} lacks {names}, and nothing says so"

    def _last_full_walk(self, sync_id: str, listing: Mapping[str, Any]) -> tuple[float, float]:
        """Return when the walk began and ended that saw the row of every medium last: this one, or one before it."""
        began, frozen_at = self._watched.listing_began, self._watched.frozen_at
        own = frozen_at[f"listings/{sync_id}.json"]
        if listing["walk"] == "full":
            return began[sync_id], own
        full = [
            (frozen_at[key], other)
            for other in began
            if frozen_at.get(key := f"listings/{other}.json", math.inf) < own and self._was_full(key)
        ]
        if not full:  # a worker made it that was killed before it could freeze its listing
            return self._world.plan.start, self._world.plan.start
        ended, other = max(full)
        return began[other], ended

    def _was_full(self, key: str) -> bool:
        said = json.loads(self._world.s3.objects[key].body)
        return bool(said["walk"] == "full" and said["full_walk_at"])

    def _is_balanced(self, medium: Medium, ended: float) -> bool:
        """Return whether a medium was added, and another deleted, after the last full walk: the count tells neither."""
        then = [state for when, state in self._world.gopro.history if when <= ended][-1]
        return medium.id not in then and not then.keys() <= self._world.gopro.library.keys()

    def _missing(self, medium: Medium) -> list[File]:
        """Return the files that are not stored, though GoPro has them or says that it should."""
        bodies = self._bodies.get(medium.id, set())
        return [
            file
            for file in medium.files
            if _is_known(medium, file) and not any(body in bodies for body, _ in _wanted(medium, file))
        ]

    def _left_out(self, medium: Medium, listing: Mapping[str, Any]) -> bool:
        """Return whether the listing's counts or warnings cover a medium that it did not take on."""
        record = self._own.get(medium.id, {})
        warned = listing["warnings"] or listing["known_warnings"]
        if medium.odd_row or medium.breaks_pages or listing["unseen"]:
            return bool(listing["unreadable" if medium.odd_row and not listing["unseen"] else "unseen"] and warned)
        if medium.state != "ready":
            # A stored medium is looked at again once it is ready.
            return bool(listing["pending"] or (medium.changed_at and listing["stored"]))
        if record.get("status") == Status.STORED and not medium.changed_at:
            return False
        # Looks at changed media come last, and wait when a sync has taken on all that it may.
        is_full = len(listing["media"]) >= self._most_media
        return bool(listing["deferred"] or is_full)

    def _unnamed(self, medium: Medium, missing: list[File]) -> Iterator[str]:
        """Yield what the medium's last result leaves unsaid."""
        results = [
            (event.name, event.read()["data"])
            for event in self._world.bus.archive
            if event.name in ("MediaDownloaded", "MediaDownloadFailed")
        ]
        own = [(name, data) for name, data in results if data["media_id"] == medium.id]
        if not own:
            return  # it is outstanding, which the summary says
        name, data = own[-1]
        names = ", ".join(file.origin for file in missing)
        if name == "MediaDownloaded":
            if not medium.changed_at:
                yield f"{medium.id} is reported as stored without {names}"
            return
        if not data["reason"]:
            yield f"{medium.id} failed without a reason"
        offered = [file for file in missing if not file.is_withheld]
        if data["files_total"] and len(data["failed_files"]) < len(offered):
            yield f"{medium.id} lacks {names}, and its failure names {data['failed_files']}"
        if self._world.plan.name == "field" and (
            good := [file for file in missing if self._could_be_had(medium, file)]
        ):
            yield f"{medium.id} failed without {', '.join(file.origin for file in good)}, which could be had"

    def _could_be_had(self, medium: Medium, file: File) -> bool:
        gopro = self._world.gopro
        api = not gopro.refused and not medium.refused and medium.available
        cdn = gopro.cdn_host == gopro.first_cdn_host and medium.seconds_per_byte < _SLOW and file.body
        return bool(api and cdn and not file.trouble and not file.is_withheld)


def _is_known(medium: Medium, file: File) -> bool:
    """Return whether anything that GoPro says shows that there is such a file."""
    return not file.is_withheld or (medium.counted and not file.is_raw)


def _wanted(medium: Medium, file: File) -> list[tuple[bytes, str]]:
    """Return the versions of which one has to be stored: the last one where the row tells that there is another."""
    return file.versions[-1:] if medium.changed_at else file.versions
