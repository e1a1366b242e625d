"""Comparing the library table with the media bucket, without reading a byte of an original."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import blake2b

from ops.adopt import read_object
from ops.errors import OperatorError
from ops.library import WORKERS, Absent, FoundObject, KnownMedium, LibraryStores, in_order
from ops.progress import size
from ops.refetch import Difference, correct, files_missing_after, status_after
from services.downloader.transfer import LENGTH
from services.shared.library.objects import is_copy
from services.shared.library.records import FileRecord, Status

_LONGEST_RUN = timedelta(minutes=15)  # of a Lambda function, which records an upload right after it has begun it
_MISSING = "marked as missing: the next sync fetches it, if GoPro still lists it"
_BACK = "in the bucket again: `--refetch` records it as stored"
_ALL_BACK = "all of its files are in the bucket again: `--refetch` records it as stored"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A difference between the library table and the bucket."""

    text: str
    media_id: str = ""
    name: str = ""  # of the file, or of the medium
    key: str = ""
    harmless: bool = False  # nothing is lost, and there is nothing to fix


@dataclass(kw_only=True)
class Verification:
    """The comparison, and its figures so far: of all records that were checked, good and bad."""

    stores: LibraryStores
    media: int = 0  # STORED
    files: int = 0  # STORED
    bytes_total: int = 0
    proofs: Counter[str] = field(default_factory=Counter)
    under_kms: int = 0  # files with the proof `length` that can have no other, since KMS encrypts them
    problems: int = 0
    harmless: int = 0
    marked_media: int = 0  # of which the next sync fetches what is missing
    corrected_media: int = 0  # of which nothing is missing
    not_marked: int = 0  # because a sync works on them
    _known: set[bytes] = field(default_factory=set)  # hashes of the keys and upload ids in the records

    def run(self, *, media_id: str | None = None, refetch: bool = False, now: datetime) -> Iterator[Problem]:
        """Check one medium, or all media and then what no record names. Raises `OperatorError`.

        `refetch`: correct the records, so that the next sync fetches what is missing.
        """
        corrects = False
        with ThreadPoolExecutor(WORKERS) as pool:
            for medium, differences in self._media(pool, media_id):
                yield from self._counted(_problems(medium, differences))
                if refetch and (differences or _has_wrong_status(medium)):
                    if not corrects:
                        self.stores.ask_for_full_walk()
                    corrects = True
                    self._correct(medium, differences, now)
            if corrects:
                self.stores.ask_for_full_walk()
            if media_id is None:
                yield from self._counted(self._objects_without_record(pool))
                yield from self._counted(self._uploads_without_record(now))

    def totals(self) -> Iterator[str]:
        """Return the figures, in lines."""
        proofs = ", ".join(f"{count} {proof}" for proof, count in sorted(self.proofs.items(), reverse=True))
        yield f"{self.media} media stored in {self.files} files, {size(self.bytes_total)}; proof: {proofs or 'none'}"
        if self.under_kms:
            yield (
                f"{self.under_kms} of them are encrypted with a KMS key, under which an ETag proves nothing: "
                "their proof is the length, and S3's checksum of what it received"
            )
        yield f"{self.problems} problems, {self.harmless} notices"

    def described(self, problems: Sequence[Problem]) -> dict[str, object]:
        """Return the figures and these problems for other programs."""
        names = (
            "media",
            "files",
            "bytes_total",
            "proofs",
            "under_kms",
            "marked_media",
            "corrected_media",
            "not_marked",
        )
        shown = ("media_id", "name", "key", "text")
        wrong, notices = (
            [{name: getattr(one, name) for name in shown} for one in problems if one.harmless == harmless]
            for harmless in (False, True)
        )
        return {**{name: getattr(self, name) for name in names}, "problems": wrong, "notices": notices}

    def _media(self, pool: ThreadPoolExecutor, media_id: str | None) -> Iterator[tuple[KnownMedium, list[Difference]]]:
        ids = self.stores.media_ids() if media_id is None else [media_id]
        media = in_order(pool, self.stores.medium, ids)
        differences: list[Difference] = []
        for medium, record, difference, found in in_order(pool, self._look, _files(media)):
            if record is None:
                if media_id and not medium.own and not medium.files:
                    raise OperatorError(f"The library table has no medium {media_id}.")
                self.media += medium.status == Status.STORED
                yield medium, differences
                differences = []
                continue
            self._known |= {_hash(record.key), _hash(record.upload_id or "")}
            if record.status == Status.STORED:
                self.files += 1
                self.bytes_total += record.size
                self.proofs[str(record.proof)] += 1
                self.under_kms += record.proof == LENGTH and isinstance(found, FoundObject) and found.under_kms
            if difference:
                differences.append(difference)
                if difference.intact:
                    self._known.add(_hash(difference.intact.key))

    def _look(
        self, file: tuple[KnownMedium, FileRecord | None]
    ) -> tuple[KnownMedium, FileRecord | None, Difference | None, FoundObject | Absent | None]:
        medium, record = file
        difference, found = None, None
        if record and record.status == Status.STORED:
            found = self.stores.head(record.key)
            difference = _difference(found, record)
        elif record and record.status == Status.MISSING:
            difference = self._back(record)
        return medium, record, difference, found

    def _back(self, record: FileRecord) -> Difference | None:
        """Return whether a missing file is in the bucket again, at its key or at its former one."""
        for key in filter(None, (record.key, record.former_key)):
            found = self.stores.head(key)
            if not isinstance(found, Absent) and not _other_bytes(found, record):
                return Difference(item=record.item, text=_BACK, intact=found)
        return None

    def _correct(self, medium: KnownMedium, differences: Sequence[Difference], now: datetime) -> None:
        is_missing = files_missing_after(medium, differences) or status_after(medium, differences) == Status.MISSING
        if not correct(self.stores, medium, differences, now=now):
            self.not_marked += 1
        elif is_missing:
            self.marked_media += 1
        else:
            self.corrected_media += 1

    def _objects_without_record(self, pool: ThreadPoolExecutor) -> Iterator[Problem]:
        keys = (key for key in self.stores.object_keys() if _hash(key) not in self._known)
        for problem in in_order(pool, self._about_object, keys):
            if problem:
                yield problem

    def _about_object(self, key: str) -> Problem | None:
        found = self.stores.head(key)
        if isinstance(found, Absent):
            return None
        own = read_object(found)
        if own is None:
            return Problem(text="not created by Cloud Sync", key=key, harmless=True)
        said = own.said
        record = self.stores.medium(said.media_id).files.get(said.item)
        if record is None:
            text = "no record of it: `adopt` writes one"
            if not own.is_complete:
                text = "no record of it, and its metadata is incomplete: the next sync has to look at it"
            return Problem(text=text, media_id=said.media_id, name=said.original_name, key=key)
        if record.key == key:
            return None  # stored since the records were read
        # The file of the record was checked already: this object exists beside it.
        text = f"claims to be item {said.item} of this medium, which has another key"
        if record.status == Status.STORED and (found.size, found.checksum) == (record.size, record.checksum):
            text = f"another copy of {record.key}"
        return Problem(text=text, media_id=said.media_id, name=said.original_name, key=key, harmless=True)

    def _uploads_without_record(self, now: datetime) -> Iterator[Problem]:
        # A younger upload may have been begun after its record was read.
        for key, upload_id in self.stores.uploads(begun_before=now - _LONGEST_RUN):
            if _hash(upload_id) not in self._known:
                yield Problem(text=f"no record of the multipart upload {upload_id}", key=key)

    def _counted(self, problems: Iterable[Problem]) -> Iterator[Problem]:
        for problem in problems:
            self.harmless += problem.harmless
            self.problems += not problem.harmless
            yield problem


def _files(media: Iterable[KnownMedium]) -> Iterator[tuple[KnownMedium, FileRecord | None]]:
    """Return (medium, record) of every file, and (medium, None) after the last file of each medium."""
    for medium in media:
        for _, record in sorted(medium.files.items()):
            yield medium, record
        yield medium, None


def _difference(found: FoundObject | Absent, record: FileRecord) -> Difference | None:
    if isinstance(found, Absent):
        how = "removed: a delete marker hides it" if found.hidden else "missing"
        return Difference(item=record.item, text=how)
    other_bytes = _other_bytes(found, record)
    texts = [*other_bytes, *(["another ETag"] if found.etag != record.etag else [])]
    if not texts:
        return None
    intact = None if other_bytes else found
    return Difference(item=record.item, text=", ".join(texts), occupied=bool(other_bytes), intact=intact)


def _other_bytes(found: FoundObject, record: FileRecord) -> list[str]:
    """Return why an object isn't the file of a record; nothing when it is."""
    own = is_copy(
        found.metadata,
        record.size,  # the size of the object is a difference of its own
        media_id=record.media_id,
        item=record.item,
        origin_etag=record.origin_etag,
        origin_size=record.size,
    )
    differences = {
        f"another size ({found.size:,} bytes, not {record.size:,})": found.size != record.size,
        # A file whose upload was begun again has no checksum yet.
        "another checksum": record.checksum is not None and found.checksum != record.checksum,
        "other metadata": not own,
    }
    return [difference for difference, holds in differences.items() if holds]


def _problems(medium: KnownMedium, differences: Iterable[Difference]) -> Iterator[Problem]:
    texts = {item: _MISSING for item, record in medium.files.items() if record.status == Status.MISSING}
    texts |= {one.item: one.text for one in differences}
    for item, text in sorted(texts.items()):
        record = medium.files[item]
        name = record.original_name or medium.filename
        yield Problem(media_id=medium.media_id, name=name, key=record.key, text=text)
    about = ""
    if not medium.own:
        about = "the table has no record of the medium itself: `adopt` or the next sync writes it"
    elif medium.status == Status.STORED and medium.lacks_files:
        known, total = medium.known_files, medium.own.files_total
        about = f"the table has {known} of its {total} files: run `adopt`, and if that changes nothing, `--refetch`"
    elif medium.status == Status.MISSING and not texts:
        about = _MISSING if medium.lacks_files else _ALL_BACK
    if about:
        yield Problem(media_id=medium.media_id, name=medium.filename, text=about)


def _has_wrong_status(medium: KnownMedium) -> bool:
    """Return whether the medium's status contradicts the records of its files."""
    return medium.status in (Status.STORED, Status.MISSING) and status_after(medium) != medium.status


def _hash(text: str) -> bytes:
    """Return eight bytes for a text, so that a hundred thousand texts take little memory."""
    return blake2b(text.encode(), digest_size=8).digest()
