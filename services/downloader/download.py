"""One worker's download of one medium: its progress, and how each of its originals is stored."""

import threading
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger

from services.downloader.library_table import Lease, LibraryTable
from services.downloader.manifest import Manifest, Original, OriginalsMissing, read_manifest, suspicion
from services.downloader.progress import INTERVAL_SECONDS, ProgressReport
from services.downloader.shortfall import Incomplete, IncompleteForGood, incomplete
from services.downloader.transfer import (
    MIB,
    WEAK,
    Bucket,
    ConnectionPool,
    Headers,
    KeyOccupied,
    Limits,
    Origin,
    OriginChanged,
    StoredObject,
    TransferError,
    Upload,
    UploadGone,
    UrlExpired,
    Version,
    open_source,
    read_version,
)
from services.shared.clock import Clock
from services.shared.errors import Fenced, PermanentError, TransientError
from services.shared.events import MediumEvent, Slice
from services.shared.gopro.hosts import AllowedHosts, ForbiddenHost
from services.shared.inbox.heartbeat import Budget, SliceOver
from services.shared.library.objects import (
    ObjectMetadata,
    content_disposition,
    content_type,
    is_copy,
    object_key,
    other_key,
)
from services.shared.library.records import GOPRO, VERSIONS, FileRecord, LaneProgress, Status
from services.shared.logs import where, why

if TYPE_CHECKING:
    from services.shared.gopro.patient import Lane

logger = Logger(child=True)

_TRIES = 3  # of one file in one slice, if its origin changes or its upload disappears
SMALL = 8 * MIB  # a file up to this size needs only one connection


@dataclass(kw_only=True)
class Download:
    """One worker's download of one medium. The heartbeat reads its progress from another thread."""

    medium: MediumEvent
    lease: Lease
    budget: Budget
    gopro: "Lane"
    library: LibraryTable
    clock: Clock
    files: dict[int, FileRecord] = field(default_factory=dict)  # by item number
    files_total: int = 0  # all files, in the bucket, at GoPro or lost; as far as known
    failures: list[tuple[str, Exception]] = field(default_factory=list)  # of this try: name and error of each file
    uploads: dict[int, Upload] = field(default_factory=dict)  # under way, by item number
    keys: dict[int, str] = field(default_factory=dict)  # chosen for files that have no record yet, by item number
    connections: int = 0  # to the CDN, the most at once so far
    _found: dict[str, tuple[int, int]] = field(default_factory=dict)  # bytes and parts that this slice found, by upload
    _urls: dict[str, str] = field(default_factory=dict)  # the URLs signed last, by origin
    _renewing: threading.Lock = field(default_factory=threading.Lock)
    _unsaved: deque[FileRecord] = field(default_factory=deque)
    _saving: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.report = ProgressReport(self._progress, lambda now: self.library.note(self.lease, now), self.clock)
        self.gopro.on_wait = self.report.wait_for

    @property
    def stored(self) -> list[FileRecord]:
        """The files in the bucket, in order, without those that were begun or are lost."""
        return [record for _, record in sorted(self.files.items()) if record.status == Status.STORED]

    @property
    def bytes_done(self) -> int:
        """The bytes in the bucket, including the parts of unfinished uploads."""
        uploads = list(self.uploads.values())
        return sum(record.size for record in self.stored) + sum(upload.bytes_done for upload in uploads)

    @property
    def parts_done(self) -> int:
        """The parts in the bucket, including those of unfinished uploads."""
        uploads = list(self.uploads.values())
        return sum(record.part_count for record in self.stored) + sum(len(upload.parts) for upload in uploads)

    def begin_slice(self) -> None:
        """Note what is in the bucket before this slice."""
        self._found = {"": (self.bytes_done, self.parts_done)}

    def resume(self, item: int, upload: Upload) -> None:
        """Note an upload that is under way, with the parts that it has already."""
        self._found.setdefault(upload.upload_id, (upload.bytes_done, len(upload.parts)))
        self.uploads[item] = upload

    def slice(self, *, began_at: str, seconds: float, retries: int) -> Slice:
        """Return what this slice has done."""
        found_bytes, found_parts = map(sum, zip(*self._found.values(), strict=True))
        return Slice(
            began_at=began_at,
            seconds=seconds,
            bytes=max(0, self.bytes_done - found_bytes),
            parts=max(0, self.parts_done - found_parts),
            connections=self.connections,
            retries=retries,
        )

    @property
    def next_item(self) -> int:
        """The item number of the first file that isn't stored; if all are, the number of files plus one."""
        unfinished = (item for item, record in sorted(self.files.items()) if record.status != Status.STORED)
        return next(unfinished, len(self.files) + 1)

    @property
    def suspicion(self) -> str:
        """Why the medium may be incomplete although all that GoPro offers is stored; empty if nothing looks wrong."""
        files = {record.origin: record.size for record in self.stored}
        return suspicion(files, item_count=self.medium.item_count or None, listed_size=self.medium.size)

    def incomplete(self) -> Incomplete | IncompleteForGood:
        """Return the error that says what this try could not store."""
        return incomplete(self.failures, stored=len(self.stored), total=self.files_total)

    def _progress(self) -> LaneProgress:
        """Return how far this download is."""
        stored, uploads = self.stored, list(self.uploads.values())
        arrived = sum(record.size for record in stored)
        known = arrived + sum(upload.version.size for upload in uploads)
        # What GoPro lists for the whole medium counts until every file was opened.
        is_known = self.files_total == len(stored) + len(uploads)
        return LaneProgress(
            at=int(self.clock.now().timestamp() * 1000),
            bytes=arrived + sum(upload.bytes_arrived for upload in uploads),
            of_bytes=known if is_known else max(known, self.medium.size or 0),
            parts=self.parts_done,
            of_parts=sum(record.part_count for record in stored) + sum(upload.part_count for upload in uploads),
            files=len(stored),
            of_files=self.files_total,
        )

    def pause(self, seconds: float) -> None:
        """Wait for GoPro's files to be served again, and report the wait if it is a long one."""
        if seconds >= INTERVAL_SECONDS:
            self.report.wait_for(GOPRO)
        self.clock.sleep(seconds)

    def renew(self) -> None:
        """Renew the lease. Raises `Fenced` when it was taken over or given back."""
        self.library.renew(self.lease, bytes_done=self.bytes_done)

    def manifest(self) -> Manifest:
        """Request the originals from GoPro, with freshly signed URLs. Raises as `read_manifest` and `Lane` do."""
        listing = self.gopro.download_listing(self.medium.media_id)
        manifest = read_manifest(
            listing,
            item_count=self.medium.item_count or None,
            filename=self.medium.filename,
            stored={record.origin for record in self.stored},
        )
        self._urls = {original.origin: original.url for original in manifest.originals}
        return manifest

    def fresh_url(self, origin: str, stale: str) -> str:
        """Return a URL for an original whose URL `stale` no longer opens. One request renews the URLs of all files.

        Raises `OriginalsMissing` when GoPro no longer offers the original.
        """
        with self._renewing:
            if self._urls.get(origin, stale) == stale:
                self.manifest()
            if origin not in self._urls:
                raise OriginalsMissing(f"GoPro no longer offers {origin}")
            return self._urls[origin]

    def choose_keys(self, originals: Iterable[tuple[int, Original]]) -> None:
        """Choose keys for all files that have none. The files' order makes another try choose the same keys."""
        taken = {record.key for record in self.files.values()}
        for item, original in originals:
            record = self.files.get(item)
            if record and record.status == Status.STORED:
                item += VERSIONS  # noqa: PLW2901  # of the next version, in case there is one
            if item not in self.files:
                self.keys[item] = object_key(self.medium, item=item, name=original.name, taken=taken)
                taken.add(self.keys[item])

    def record(self, item: int, original: Original, version: Version, key: str) -> FileRecord:
        """Return the record of an original that gets this key."""
        return FileRecord(
            media_id=self.medium.media_id,
            item=item,
            origin=original.origin,
            original_name=original.name,
            key=key,
            size=version.size,
            origin_etag=version.etag,
            sync_id=self.medium.sync_id,
        )

    def save(self, record: FileRecord) -> None:
        """Write a file's record to the library table, together with those that other threads wait to write.

        Raises `Fenced` when the lease was taken over.
        """
        self._unsaved.append(record)
        with self._saving:
            if not any(one is record for one in self._unsaved):
                return  # another thread has written it meanwhile
            batch = list(self._unsaved)
            for _ in batch:
                self._unsaved.popleft()
            try:
                self.library.save_files(self.lease, batch)
            except BaseException:
                self._unsaved.extend(one for one in batch if one is not record)
                raise
            self.files.update({one.item: one for one in batch})


class Originals:
    """Stores originals. A file never has two live uploads, and no object is ever overwritten."""

    def __init__(self, bucket: Bucket, *, hosts: AllowedHosts, limits: Limits, clock: Clock) -> None:
        self._bucket = bucket
        self._hosts = hosts
        self._limits = limits
        self._clock = clock

    def check_hosts(self, originals: Iterable[Original]) -> None:
        """Raise `ForbiddenHost` if none of these originals may be fetched, because GoPro has moved its files."""
        refusals = []
        for original in originals:
            try:
                self._hosts.check(original.url)
            except ForbiddenHost as refused:
                refusals.append(refused)
            else:
                return
        if refusals:
            raise refusals[0]

    def store_all(
        self, download: Download, originals: Sequence[tuple[int, Original]], connections: ConnectionPool
    ) -> None:
        """Store the originals with these item numbers, several small ones at once.

        A failure is added to `download.failures`, and does not stop the others. Raises `SliceOver` and `Fenced`.
        """
        download.choose_keys(originals)
        waiting, failed, ends = deque(originals), dict[int, tuple[str, Exception]](), list[BaseException]()

        def work() -> None:
            while not ends:
                try:
                    item, original = waiting.popleft()
                except IndexError:
                    return
                try:
                    self.store(download, item, original, connections)
                except (Fenced, SliceOver) as end:
                    ends.append(end)
                except Exception as error:  # noqa: BLE001  # no error of one file may stop the others
                    logger.warning("file_failed", item=item, why=why(error), at=where(error))
                    failed[item] = (original.name or original.origin, error)
                except BaseException as end:  # noqa: BLE001  # raised again below
                    ends.append(end)

        threads = []
        with suppress(RuntimeError):  # no memory for more threads: work with fewer
            for _ in range(self.at_once(download.medium, len(originals)) - 1):
                thread = threading.Thread(target=work, name="file", daemon=True)
                thread.start()
                threads.append(thread)
        work()
        for thread in threads:
            thread.join()
        download.failures.extend(failed[item] for item in sorted(failed))
        if ends:
            raise next((end for end in ends if not isinstance(end, SliceOver)), ends[0])

    def at_once(self, medium: MediumEvent, files: int) -> int:
        """Return how many files to store at once: one if they are large, because a large file uses all connections."""
        if medium.size and medium.size > SMALL * max(medium.item_count, files):
            return 1
        return min(files, self._limits.parts_in_hand(SMALL))

    def store(self, download: Download, item: int, original: Original, connections: ConnectionPool) -> None:
        """Store an original. If it is stored but has changed at its origin, store the new version beside it.

        Raises `TransientError` or `PermanentError` when the original could not be copied. Also raises `SliceOver` and
        `Fenced`.
        """
        url = original.url

        def renew() -> str:
            nonlocal url
            url = download.fresh_url(original.origin, url)
            return url

        origin = Origin(url, renew, connections=connections, check_url=self._hosts.check)
        for _ in range(_TRIES):
            download.uploads.pop(item, None)
            download.budget.begin_step()
            try:
                file = download.files.get(item)
                if file and file.status == Status.STORED:
                    if self._is_unchanged(download, file, origin):
                        return
                    item += VERSIONS
                self._copy(download, item, original, origin)
            except (OriginChanged, UploadGone, KeyOccupied) as error:
                logger.warning("file_restarted", item=item, why=str(error))
                if isinstance(error, KeyOccupied):
                    self.abort(download.files[item])  # this upload can never be completed
            except UrlExpired as error:
                raise PermanentError(str(error)) from error
            except TransferError as error:
                raise TransientError(str(error), retry_after=error.retry_after) from error
            else:
                return
        raise TransientError(f"{original.origin} kept changing while it was copied")

    def _is_unchanged(self, download: Download, file: FileRecord, origin: Origin) -> bool:
        """Return whether the origin still has the version that is stored.

        If ETags are missing or contradict each other, the size decides.
        """
        etags = set()
        for _ in range(2):
            version = read_version(origin, check=download.budget.begin_step, sleep=self._clock.sleep)
            etag, known = version.etag.removeprefix(WEAK), file.origin_etag.removeprefix(WEAK)
            if version.size != file.size or not etag or etag == known or not known:
                return version.size == file.size
            etags.add(etag)
        return len(etags) > 1

    def _copy(self, download: Download, item: int, original: Original, origin: Origin) -> None:
        with open_source(
            origin, check=download.budget.begin_step, sleep=download.pause, on_bytes=download.report.look
        ) as source:
            if source.version.size == 0:
                raise PermanentError("the file is empty at its origin (0 bytes)")
            upload = self.find_or_begin(download, item, original, source.version)
            if isinstance(upload, StoredObject):
                stored, part_count = upload, 1
            else:
                part_count = upload.part_count
                download.resume(item, upload)
                stored = source.copy(self._bucket, upload, limits=self._limits)
        record = replace(
            download.record(item, original, source.version, stored.key),
            status=Status.STORED,
            part_count=part_count,
            etag=stored.etag,
            checksum=stored.checksum,
            proof=stored.proof(source.version),
        )
        download.save(record)
        download.uploads.pop(item, None)

    def find_or_begin(
        self, download: Download, item: int, original: Original, version: Version
    ) -> Upload | StoredObject:
        """Return the upload that was begun earlier if it is of this version, else a new one.

        Returns the object instead if it is already in the bucket. Raises `PermanentError` when other objects have both
        of the file's keys.
        """
        record = download.files.get(item)
        if record and record.upload_id:
            # Without an ETag in the record, only the size identifies the version.
            if record.size == version.size and record.origin_etag in (version.etag, ""):
                try:
                    return self._bucket.resume(
                        record.upload_id, record.key, version, part_size=record.part_size or version.size
                    )
                except UploadGone:
                    logger.info("upload_gone", item=item)
            else:
                self.abort(record)  # before a new one is begun: a file never has two live uploads
        # A worker may have died after completing the upload but before recording it.
        key = record.key if record else download.keys[item]
        for candidate in (key, other_key(key, version.etag)):
            found = self._bucket.find(candidate)
            if found is None:
                return self._begin(download, item, original, version, candidate)
            if is_copy(
                found.metadata,
                found.size,
                media_id=download.medium.media_id,
                item=item,
                origin_etag=version.etag,
                origin_size=version.size,
            ):
                return found
        raise PermanentError(f"the key {key} and the alternative key are both taken by other objects")

    def abort(self, record: FileRecord) -> None:
        """Abort the upload of a file, if it has one."""
        if record.upload_id:
            self._bucket.abort(record.key, record.upload_id)

    def _begin(self, download: Download, item: int, original: Original, version: Version, key: str) -> Upload:
        metadata = ObjectMetadata.of(
            download.medium,
            item=item,
            files=download.files_total,
            origin=original.origin,
            name=original.name,
            origin_etag=version.etag,
            origin_size=version.size,
        )
        headers = Headers(
            metadata=metadata.encode(),
            content_type=content_type(key),
            content_disposition=content_disposition(original.name or download.medium.filename, key=key),
        )
        upload = self._bucket.begin(key, version, limits=self._limits, headers=headers)
        before = download.files.get(item)
        # A file that the bucket has lost stays missing until it is stored, even if GoPro stops offering it meanwhile.
        status = Status.MISSING if before and before.status == Status.MISSING else Status.UPLOADING
        record = replace(
            download.record(item, original, version, key),
            status=status,
            upload_id=upload.upload_id,
            part_size=upload.part_size,
            part_count=upload.part_count,
        )
        try:
            download.save(record)
        except BaseException:
            self.abort(record)  # no record names the upload, so nobody else can abort it
            raise
        return upload
