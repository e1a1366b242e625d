"""What the downloader does: stores all originals of a medium, in as many slices as it takes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from services.downloader.download import Download, Originals
from services.downloader.library_table import AlreadyStored, Busy, Lease
from services.downloader.manifest import OriginalsMissing, assign_items
from services.downloader.shortfall import Incomplete, IncompleteForGood, Shortfall
from services.downloader.transfer import ORIGIN_ETAG
from services.shared.clock import Clock, precise
from services.shared.errors import Fenced, PermanentError, TransientError, reason_of
from services.shared.events import (
    Event,
    MediaDiscovered,
    MediaDownloaded,
    MediaDownloadFailed,
    MediaDownloadPaused,
    MediaDownloadSkipped,
    MediumEvent,
    Slice,
    StoredFile,
)
from services.shared.inbox.heartbeat import MAX_HOPS, MAX_IDLE_SLICES, Budget, Heartbeat, SliceOver
from services.shared.inbox.reaction import Reaction
from services.shared.library.records import VERSIONS, FileRecord, Row, Status

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from services.downloader.library_table import LibraryTable
    from services.downloader.transfer import ConnectionPool
    from services.shared.cancellations import Cancellations
    from services.shared.gopro.patient import PatientClient
    from services.shared.inbox.message import Message

FILES_IN_EVENT = 100
SLICES_IN_EVENT = 20
_MEDIUM = tuple(f.name for f in fields(MediumEvent) if f.name not in ("hops", "causation_id", "occurred_at"))
_PROGRESS = ("item", "parts_done", "idle_slices", "slices")


class WaitingForLease(TransientError):
    """Another worker has the medium."""


class NoProgress(PermanentError):
    """A download has paused too often, or too often in a row without a new part."""


class Downloader:
    """Stores media."""

    def __init__(
        self,
        *,
        library: "LibraryTable",
        cancelled: "Cancellations",
        gopro: "PatientClient",
        originals: Originals,
        connect: "Callable[[], AbstractContextManager[ConnectionPool]]",
        clock: Clock,
    ) -> None:
        """`connect` opens the connections that the files of one medium share."""
        self._library = library
        self._cancelled = cancelled
        self._gopro = gopro
        self._originals = originals
        self._connect = connect
        self._clock = clock

    def download(self, event: MediumEvent, message: "Message") -> Sequence[Event]:
        """Store a medium, and return the one event that says how that went.

        The event is a MediaDownloaded, a MediaDownloadPaused when time is nearly over, or a MediaDownloadSkipped when
        the sync is cancelled. If another worker has the medium, the first receive raises `WaitingForLease`, and a later
        one returns a MediaDownloadPaused. Raises `Incomplete` or `IncompleteForGood` when files could not be stored.
        """
        began, began_at = self._clock.monotonic(), precise(self._clock.now())
        download: Download | None = None
        with Heartbeat(message, self._clock, lambda: download.renew() if download else None) as heartbeat:
            if self._cancelled.include(event.sync_id):
                return [MediaDownloadSkipped(sync_id=event.sync_id, hops=event.hops, media_id=event.media_id)]
            lease = self._library.take(event)
            if isinstance(lease, AlreadyStored):
                return [self._already_stored(event, lease)]
            if isinstance(lease, Busy):
                if message.receives == 1:
                    raise WaitingForLease("another worker has this medium", retry_after=lease.seconds_left)
                return [same_slice(event)]  # as a new message, so that waiting uses up no tries
            budget = Budget(message.remaining_seconds, heartbeat, self._clock)
            gopro = self._gopro.for_message(event, message, budget)
            download = Download(
                medium=event, lease=lease, budget=budget, gopro=gopro, library=self._library, clock=self._clock
            )

            def worked() -> Slice:
                seconds = round(self._clock.monotonic() - began, 3)
                return download.slice(began_at=began_at, seconds=seconds, retries=message.receives - 1)

            try:
                return [self._store_or_pause(download, worked)]
            except Fenced:
                raise
            except Exception:
                self._library.release(lease)
                raise

    def _store_or_pause(self, download: Download, worked: Callable[[], Slice]) -> Event:
        """Return the event that ends this slice. `worked` returns what the slice has done so far."""
        download.files = self._library.files(download.medium.media_id)
        download.begin_slice()
        before = download.parts_done
        try:
            self._store(download)
        except SliceOver:
            if download.failures and download.parts_done <= before:
                error = download.incomplete()
                if isinstance(error, Incomplete):
                    raise error from None  # a slice with failures and no new part is a failed try
            paused = next_slice(download.medium, item=download.next_item, parts_done=download.parts_done, done=worked())
            self._library.release(download.lease)
            return paused
        return _downloaded(
            download.medium,
            download.stored,
            epoch=download.lease.epoch,
            done=worked(),
            warning=download.suspicion,
        )

    def _store(self, download: Download) -> None:
        medium, manifest = download.medium, download.manifest()
        self._originals.check_hosts(manifest.originals)
        # If GoPro has changed a file, only its latest version counts.
        latest = {item % VERSIONS: item for item in sorted(download.files)}
        first = {file.origin: item for item, file in download.files.items() if item < VERSIONS}
        numbered = [(latest.get(item, item), file) for item, file in assign_items(manifest.originals, first)]
        offered = {item for item, _ in numbered}
        kept = {item for item, file in download.files.items() if file.status in (Status.STORED, Status.MISSING)}
        # Missing originals count too: a medium without them is not complete.
        download.files_total = len(offered | kept) + manifest.files - len(numbered)
        stored = {file.item for file in download.stored}
        wanted = [(item, original) for item, original in numbered if medium.look_again or item not in stored]
        with self._connect() as connections:
            try:
                self._originals.store_all(download, wanted, connections)
            finally:
                download.connections = connections.most_in_use
        for item in sorted(kept - stored - offered):
            file, why = download.files[item], "the bucket has lost it, and GoPro no longer offers it"
            download.failures.append((file.original_name or file.origin, OriginalsMissing(why)))
        download.failures += [("", OriginalsMissing(missing)) for missing in manifest.missing]
        if download.failures:
            raise download.incomplete()
        self._library.finish(
            download.lease,
            row=Row.of(medium),
            files=len(download.stored),
            total_bytes=download.bytes_done,
            warning=download.suspicion,
            looked_again=medium.look_again,
        )

    def failed(self, event: MediumEvent, message: "Message", error: Exception) -> Sequence[Event]:
        """Record the failure in the library table, under a new lease, and report it.

        If another worker has the medium by now, reports the failure and leaves the record alone. If another worker has
        stored the medium, reports it as downloaded.
        """
        reason = reason_of(error)
        not_offered = bool(event.state) and isinstance(error, OriginalsMissing)
        if not_offered:
            reason = f"GoPro has not made it ready (its state there is {event.state}): {reason}"
        lease = self._library.take(event)
        if isinstance(lease, AlreadyStored):
            return [self._already_stored(event, lease)]
        for_good = isinstance(error, PermanentError)
        lacking = self._lacking(event, error)
        is_stored = event.look_again and 0 < lacking.stored == lacking.total
        if is_stored:
            reason = f"stored before, but the look at what has changed failed: {reason}"
        known_since = ""
        if isinstance(lease, Lease):
            known_since = self._library.fail(
                lease,
                reason,
                is_stored=is_stored,
                for_good=for_good,
                files_stored=lacking.stored,
                files_total=lacking.total,
                failed_files=lacking.files[:FILES_IN_EVENT],
            )
        return [
            MediaDownloadFailed(
                sync_id=event.sync_id,
                hops=event.hops,
                media_id=event.media_id,
                reason=reason,
                epoch=lease.epoch,
                attempts=message.receives,
                slices=_slices(event),
                files_stored=lacking.stored,
                files_total=lacking.total,
                failed_files=lacking.files[:FILES_IN_EVENT],
                # The listing has reported since when the medium is not ready.
                known_since=event.state_since if not_offered else known_since,
                dead_letter=not for_good,
                remedy=error.remedy if isinstance(error, PermanentError) else "",
            )
        ]

    def _lacking(self, event: MediumEvent, error: Exception) -> Shortfall:
        """Return the shortfall that the error carries, or else one from the library table, without file names."""
        if isinstance(error, Incomplete | IncompleteForGood):
            return error.shortfall
        known = self._library.files(event.media_id).values()
        stored = sum(file.status == Status.STORED for file in known)
        return Shortfall(stored=stored, total=len(known) if event.look_again else 0, files=())

    def _already_stored(self, event: MediumEvent, found: AlreadyStored) -> MediaDownloaded:
        files = sorted(self._library.files(event.media_id).items())
        stored = [file for _, file in files if file.status == Status.STORED]
        # A repeated event of the sync that stored the medium itself must get the same answer as the first.
        is_others = found.sync_id != event.sync_id
        return _downloaded(event, stored, epoch=found.epoch, already_stored=is_others, warning=found.warning)


def _downloaded(
    event: MediumEvent,
    files: Sequence[FileRecord],
    *,
    epoch: int,
    done: Slice | None = None,
    already_stored: bool = False,
    warning: str = "",
) -> MediaDownloaded:
    """Return the result of a medium with these files. `done`: the last slice of the work on it, if there was any."""
    slices = _slices(event, done)
    if event.look_again:
        files = [file for file in files if file.sync_id == event.sync_id]  # only those that the look has added
    return MediaDownloaded(
        sync_id=event.sync_id,
        hops=event.hops,
        media_id=event.media_id,
        epoch=epoch,
        files=tuple(
            StoredFile(key=file.key, size=file.size, checksum=file.checksum or "", proof=file.proof or "")
            for file in files[:FILES_IN_EVENT]
        ),
        files_total=len(files),
        bytes=sum(file.size for file in files),
        seconds=round(sum(one.seconds for one in slices), 3),
        already_stored=already_stored,
        looked_again=event.look_again,
        warning=warning,
        proven_by_etag=sum(file.proof == ORIGIN_ETAG for file in files),
        slices=slices,
    )


def next_slice(event: MediumEvent, *, item: int, parts_done: int, done: Slice | None = None) -> MediaDownloadPaused:
    """Return the event that resumes a download in a new slice. `done`: what the slice that ends has done.

    Raises `NoProgress` after too many pauses in all, or too many in a row without a new part.
    """
    before, idle = (event.parts_done, event.idle_slices) if isinstance(event, MediaDownloadPaused) else (0, 0)
    hops, idle = event.hops + 1, idle + 1 if parts_done <= before else 0
    if idle >= MAX_IDLE_SLICES or hops > MAX_HOPS:
        raise NoProgress(f"given up after {hops} pauses, {idle} of them without a new part")
    slices = _slices(event, done)
    return _paused(event, hops=hops, item=item, parts_done=parts_done, idle_slices=idle, slices=slices)


def same_slice(event: MediumEvent) -> MediaDownloadPaused:
    """Return the event that begins this slice again, in a new message. Not a pause: the hops stay the same."""
    return _paused(event, hops=event.hops)


def _slices(event: MediumEvent, done: Slice | None = None) -> tuple[Slice, ...]:
    """Return the last slices of this sync's work on a medium: those that the event carries, and the one just done."""
    before = event.slices if isinstance(event, MediaDownloadPaused) else ()
    return (*before, *([done] if done else []))[-SLICES_IN_EVENT:]


def _paused(event: MediumEvent, **changes: int | tuple[Slice, ...]) -> MediaDownloadPaused:
    names = (*_MEDIUM, *_PROGRESS) if isinstance(event, MediaDownloadPaused) else _MEDIUM
    known: dict[str, Any] = {name: getattr(event, name) for name in names}
    return MediaDownloadPaused(**{**known, **changes})


DOWNLOAD = Reaction(do=Downloader.download, on_end=Downloader.failed)

REACTIONS: Mapping[type[Event], Reaction] = {MediaDiscovered: DOWNLOAD, MediaDownloadPaused: DOWNLOAD}
