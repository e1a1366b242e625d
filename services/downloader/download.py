"""The downloader's reaction: one medium, from GoPro's manifest to originals that are proven to be in the bucket."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from aws_lambda_powertools import Logger

from services.downloader.keys import is_copy, object_key, object_metadata, other_key
from services.downloader.lease import AlreadyStored, Busy, Lease, Library
from services.downloader.manifest import Original, assign_items, read_manifest
from services.downloader.transfer import (
    Bucket,
    KeyOccupied,
    Limits,
    Origin,
    OriginBroken,
    OriginChanged,
    Pace,
    StoredObject,
    Upload,
    UploadGone,
    Version,
    WirePool,
    copy,
)
from services.shared.errors import PermanentError, TransientError, reason_of
from services.shared.events import (
    Event,
    MediaDownloaded,
    MediaDownloadFailed,
    MediaDownloadPaused,
    MediumEvent,
    StoredFile,
)
from services.shared.gopro.client import GoProClient
from services.shared.gopro.hosts import AllowedHosts
from services.shared.gopro.lane import Lane
from services.shared.inbox import Fenced, GaveUp, Heartbeat, Message
from services.shared.library import MISSING, STORED
from services.shared.slices import MAX_HOPS, MAX_IDLE_SLICES, PAUSE_SECONDS, SliceOver, sleep_within

logger = Logger(child=True)

UPLOADING = "UPLOADING"
FILES_IN_EVENT = 100
RESERVE_SECONDS = 20.0  # for what follows the last part
_RESTARTS = 3  # of one file within one try: the origin changed, or its upload went away


class OriginalsMissing(PermanentError):
    """GoPro doesn't offer all originals of a medium; the next sync asks again."""


class WaitingForLease(TransientError):
    """Another worker has the medium."""


class NoProgress(PermanentError):
    """A download has paused too often to be going anywhere."""


@dataclass
class _Work:
    """What one worker does for one message, as its heartbeat has to know it."""

    event: MediumEvent
    message: Message
    lease: Lease
    heartbeat: Heartbeat
    lane: Lane
    wires: WirePool
    files: dict[int, dict[str, Any]] = field(default_factory=dict)  # the file records, by item
    files_total: int = 0  # those and what else GoPro has; too many rather than too few
    bytes_under_way: int = 0
    parts_under_way: int = 0

    @property
    def bytes_done(self) -> int:
        return self.bytes_under_way + sum(int(record["size"]) for record in _stored(self.files))

    @property
    def parts_done(self) -> int:
        return self.parts_under_way + sum(int(record["part_count"]) for record in _stored(self.files))

    def may_go_on(self, slowest_part: float = 0.0) -> bool:
        """Whether there is time for another part. Raises `Fenced` when the medium is no longer this worker's."""
        self.heartbeat.check()
        return self.message.remaining_seconds() > max(PAUSE_SECONDS, 2 * slowest_part + RESERVE_SECONDS)


class Downloader:
    """Reacts to MediaDiscovered and MediaDownloadPaused."""

    def __init__(
        self,
        *,
        gopro: GoProClient,
        hosts: AllowedHosts,
        library: Library,
        bucket: Bucket,
        lane: Callable[[Event, Message, Callable[[float], None]], Lane],
        limits: Limits,
        pace: Pace,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`lane` makes one for a message, which waits with the `sleep` that it is given."""
        self._gopro = gopro
        self._hosts = hosts
        self._library = library
        self._bucket = bucket
        self._lane = lane
        self._limits = limits
        self._pace = pace
        self._monotonic = monotonic
        self._sleep = sleep

    def react(self, event: MediumEvent, message: Message) -> list[Event]:
        """Stores a medium, or says why not, or goes on later."""
        started = self._monotonic()
        held: list[_Work] = []

        def beat() -> None:
            for work in held:
                self._library.renew(work.lease, bytes_done=work.bytes_done)

        with Heartbeat(message, beat) as heartbeat, WirePool(self._pace) as wires:
            taken = self._library.take(event)
            if isinstance(taken, AlreadyStored):
                return [self._downloaded(event, taken.epoch, already_stored=taken.sync_id != event.sync_id)]
            if isinstance(taken, Busy):
                if message.receives == 1:
                    raise WaitingForLease("another worker has this medium", retry_after=taken.seconds_left)
                return [_paused(event, hops=event.hops)]  # a fresh message: waiting is nobody's failure
            lane = self._lane(event, message, sleep_within(message.remaining_seconds, self._sleep))
            work = _Work(event, message, taken, heartbeat, lane, wires)
            held.append(work)
            try:
                self._store_medium(work)
            except SliceOver:
                return [self._pause(work)]
            except Fenced:
                raise
            except Exception as error:
                raise self._failure(work, error) from error
        seconds = round(self._monotonic() - started, 3)
        return [self._downloaded(event, taken.epoch, seconds=seconds)]

    def _failure(self, work: _Work, error: Exception) -> Exception:
        """What to raise for it: itself while tries are left, or the end."""
        if not work.message.gives_up(error):
            self._library.release(work.lease)
            return error
        reason = reason_of(error)
        self._library.failed(work.lease, reason)
        fact = MediaDownloadFailed(
            sync_id=work.event.sync_id,
            hops=work.event.hops,
            media_id=work.event.media_id,
            reason=reason,
            epoch=work.lease.epoch,
            attempts=work.message.receives,
        )
        return GaveUp([fact], dead_letter=not isinstance(error, PermanentError))

    def _pause(self, work: _Work) -> Event:
        event, parts_done = work.event, work.parts_done
        before, idle = (event.parts_done, event.idle_slices) if isinstance(event, MediaDownloadPaused) else (0, 0)
        idle = idle + 1 if parts_done <= before else 0
        if idle >= MAX_IDLE_SLICES or event.hops + 1 > MAX_HOPS:
            error = NoProgress(f"given up after {event.hops + 1} pauses, {idle} of them without a new part")
            raise self._failure(work, error) from error
        self._library.release(work.lease)
        unfinished = [item for item, record in sorted(work.files.items()) if record["status"] != STORED]
        item = unfinished[0] if unfinished else len(work.files) + 1
        return _paused(event, hops=event.hops + 1, item=item, parts_done=parts_done, idle_slices=idle)

    def _downloaded(
        self, event: MediumEvent, epoch: int, *, seconds: float = 0.0, already_stored: bool = False
    ) -> MediaDownloaded:
        records = _stored(self._library.files(event.media_id))
        files = tuple(
            StoredFile(key=r["key"], size=int(r["size"]), checksum=r["checksum"], proof=r["proof"])
            for r in records[:FILES_IN_EVENT]
        )
        return MediaDownloaded(
            sync_id=event.sync_id,
            hops=event.hops,
            media_id=event.media_id,
            epoch=epoch,
            files=files,
            files_total=len(records),
            bytes=sum(int(record["size"]) for record in records),
            seconds=seconds,
            already_stored=already_stored,
        )

    def _store_medium(self, work: _Work) -> None:
        event = work.event
        work.files = self._library.files(event.media_id)
        listing = work.lane.call(lambda token: self._gopro.download_listing(token, event.media_id))
        manifest = read_manifest(listing, item_count=event.item_count)
        known = {str(record["origin"]): item for item, record in work.files.items()}
        assigned = assign_items(manifest.originals, known)
        # What GoPro doesn't offer counts: without it nobody may take the medium for whole.
        work.files_total = len(work.files.keys() | {item for item, _ in assigned}) + len(manifest.missing)
        for item, original in assigned:
            if work.files.get(item, {}).get("status") != STORED:
                self._store_file(work, item, original)
        if missing := [*manifest.missing, *_lost(work.files)]:
            raise OriginalsMissing("; ".join(missing))
        self._library.stored(
            work.lease, item_count=event.item_count, files=len(_stored(work.files)), total_bytes=work.bytes_done
        )

    def _store_file(self, work: _Work, item: int, original: Original) -> None:
        def renew() -> str:
            listing = work.lane.call(lambda token: self._gopro.download_listing(token, work.event.media_id))
            for fresh in read_manifest(listing, item_count=work.event.item_count).originals:
                if fresh.origin == original.origin:
                    return fresh.url
            raise OriginalsMissing(f"GoPro no longer offers {original.origin}")

        origin = Origin(original.url, renew, wires=work.wires, check=self._hosts.check)
        for _ in range(_RESTARTS):
            work.bytes_under_way = work.parts_under_way = 0
            if not work.may_go_on():
                raise SliceOver
            try:
                self._try_to_store(work, item, original, origin)
            except (OriginChanged, UploadGone, KeyOccupied) as error:
                logger.warning("A file starts over", item=item, why=str(error))
                if isinstance(error, KeyOccupied):
                    self._abort(work.files[item])  # nothing can come of it any more
            else:
                return
        raise TransientError(f"{original.origin} kept changing while it was stored")

    def _try_to_store(self, work: _Work, item: int, original: Original, origin: Origin) -> None:
        def plan(version: Version) -> Upload | StoredObject:
            if version.size == 0:
                raise OriginBroken("the origin's file is empty")
            return self._upload_for(work, item, original, version)

        def progress(upload: Upload) -> None:
            work.bytes_under_way, work.parts_under_way = upload.bytes_done, len(upload.parts)

        copied = copy(
            origin,
            self._bucket,
            plan,
            limits=self._limits,
            may_go_on=work.may_go_on,
            progress=progress,
            sleep=self._sleep,
        )
        if copied is None:
            raise SliceOver
        stored = copied.object
        self._save(work, item, original, copied.version, stored.key, status=STORED, part_count=copied.parts,
                   etag=stored.etag, checksum=stored.checksum, proof=stored.proof(copied.version))  # fmt: skip
        work.bytes_under_way = work.parts_under_way = 0

    def _upload_for(self, work: _Work, item: int, original: Original, version: Version) -> Upload | StoredObject:
        """The upload to go on with: the one begun earlier if it is of this version, else a new one.

        Or the object, where it is in the bucket already.
        """
        record = work.files.get(item)
        if record and record.get("upload_id"):
            if Version(size=int(record["size"]), etag=str(record["origin_etag"])) == version:
                upload_id, key, part_size = str(record["upload_id"]), str(record["key"]), int(record["part_size"])
                try:
                    return self._bucket.resume(upload_id, key, version, part_size=part_size)
                except UploadGone:
                    logger.info("The upload begun earlier is gone", item=item)
            else:
                # First this, then a new one: there is never more than one live upload of an item.
                self._abort(record)
        # Completed before, by a worker that could not say so any more? The object tells.
        key = str(record["key"]) if record else self._new_key(work, item, original)
        for candidate in (key, other_key(key, version.etag)):
            found = self._bucket.find(candidate)
            if found is None:
                return self._begin(work, item, original, version, candidate)
            if is_copy(found, version, media_id=work.event.media_id, item=item):
                return found
        raise PermanentError(f"other objects lie at {key} and at the key that would take its place")

    def _abort(self, record: Mapping[str, Any]) -> None:
        if record.get("upload_id"):
            self._bucket.abort(str(record["key"]), str(record["upload_id"]))

    def _new_key(self, work: _Work, item: int, original: Original) -> str:
        taken = {str(record["key"]) for record in work.files.values()}
        return object_key(work.event, item=item, name=original.name, taken=taken)

    def _begin(self, work: _Work, item: int, original: Original, version: Version, key: str) -> Upload:
        metadata = object_metadata(
            work.event,
            item=item,
            files=work.files_total,
            origin=original.origin,
            name=original.name,
            origin_etag=version.etag,
            origin_size=version.size,
        )
        upload = self._bucket.begin(key, version, limits=self._limits, metadata=metadata)
        begun: dict[str, str | int] = {"upload_id": upload.upload_id, "part_size": upload.part_size}
        # What the bucket has lost stays missing until it is stored, even if GoPro stops offering it half way.
        status = MISSING if work.files.get(item, {}).get("status") == MISSING else UPLOADING
        try:
            self._save(work, item, original, version, key, status=status, part_count=upload.part_count, **begun)
        except BaseException:
            self._abort({"key": key, **begun})  # nobody will know of it
            raise
        return upload

    def _save(self, work: _Work, item: int, original: Original, version: Version, key: str, **more: str | int) -> None:
        record: Mapping[str, Any] = {
            "origin": original.origin,
            "original_name": original.name,
            "key": key,
            "size": version.size,
            "origin_etag": version.etag,
            **more,
        }
        self._library.save_file(work.lease, item, record)
        work.files[item] = dict(record)


def _stored(files: Mapping[int, dict[str, Any]]) -> list[dict[str, Any]]:
    """The records of the files that are in the bucket, in order: others may have been begun and then taken back."""
    return [record for _, record in sorted(files.items()) if record["status"] == STORED]


def _lost(files: Mapping[int, dict[str, Any]]) -> list[str]:
    """In words, the files that the bucket has had and has lost, and that GoPro's manifest no longer shows."""
    lost = [record["origin"] for _, record in sorted(files.items()) if record["status"] == MISSING]
    return [f"the bucket has lost {origin}, and GoPro no longer offers it" for origin in lost]


_MEDIUM = tuple(f.name for f in fields(MediumEvent) if f.name not in ("hops", "causation_id", "occurred_at"))
_PLACE = ("item", "parts_done", "idle_slices")


def _paused(event: MediumEvent, **changes: int) -> MediaDownloadPaused:
    names = (*_MEDIUM, *_PLACE) if isinstance(event, MediaDownloadPaused) else _MEDIUM
    known: dict[str, Any] = {name: getattr(event, name) for name in names}
    return MediaDownloadPaused(**{**known, **changes})
