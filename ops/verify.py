"""Holds the library table against the media bucket, without reading a byte of an original."""

from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import blake2b

from ops.adopt import read_object
from ops.errors import OperatorError
from ops.library import WORKERS, Absent, FoundObject, LibraryStores, MediumRecords, Record, in_order
from ops.progress import size
from ops.refetch import Wrong, files_missing_after, set_right, status_after
from services.downloader.keys import is_copy
from services.downloader.transfer import Version
from services.shared.library import MISSING, STORED

_LONGEST_RUN = timedelta(minutes=15)  # of a Lambda function: who began an upload has written it down by then
_WANTED = "wanted again: the next sync sees to it, if GoPro still lists it"
_BACK = "it is there again: `--refetch` takes it for stored"
_WHOLE = "all of its files are there again: `--refetch` takes it for stored"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something that isn't as the library table says, or that it doesn't know."""

    wrong: str
    media_id: str = ""
    name: str = ""  # of the file, or of the medium
    key: str = ""
    harmless: bool = False  # nothing is lost by it, and there is nothing to mend


@dataclass(kw_only=True)
class Verification:
    """What was found so far. The figures are of records that were looked at, good and bad."""

    stores: LibraryStores
    media: int = 0  # STORED
    files: int = 0  # STORED
    bytes_total: int = 0
    proofs: Counter[str] = field(default_factory=Counter)
    problems: int = 0
    harmless: int = 0
    marked_media: int = 0  # to be fetched again, with what of them is missing
    mended_media: int = 0  # whose records were set right, and nothing is missing
    not_marked: int = 0  # since something had them in hand
    _known: set[bytes] = field(default_factory=set)  # marks of the keys and upload ids that records name

    def run(self, *, media_id: str | None = None, refetch: bool = False, now: datetime) -> Iterator[Problem]:
        """Looks at one medium, or else at all and then at what no record names. Raises `OperatorError`."""
        with ThreadPoolExecutor(WORKERS) as pool:
            for medium, wrongs in self._media(pool, media_id):
                yield from self._counted(_problems(medium, wrongs))
                if refetch and (wrongs or _is_told_wrongly(medium)):
                    self._set_right(medium, wrongs, now)
            if media_id is None:
                yield from self._counted(self._objects_without_record(pool))
                yield from self._counted(self._uploads_without_record(now))

    def totals(self) -> Iterator[str]:
        """The figures, in lines."""
        proofs = ", ".join(f"{count} {proof}" for proof, count in sorted(self.proofs.items(), reverse=True))
        yield f"{self.media} media stored in {self.files} files, {size(self.bytes_total)}; proof: {proofs or 'none'}"
        yield f"{self.problems} wrong, {self.harmless} to know of"

    def _media(self, pool: ThreadPoolExecutor, media_id: str | None) -> Iterator[tuple[MediumRecords, list[Wrong]]]:
        ids = self.stores.media_ids() if media_id is None else [media_id]
        media = in_order(pool, self.stores.records, ids)
        wrongs: list[Wrong] = []
        for medium, item, wrong in in_order(pool, self._look, _files(media)):
            if item is None:
                if media_id and not medium.own and not medium.files:
                    raise OperatorError(f"The library table has no medium {media_id}.")
                self.media += medium.own.get("status") == STORED
                yield medium, wrongs
                wrongs = []
                continue
            record = medium.files[item]
            self._known |= {_mark(str(record["key"])), _mark(str(record.get("upload_id", "")))}
            if record["status"] == STORED:
                self.files += 1
                self.bytes_total += int(record["size"])
                self.proofs[str(record["proof"])] += 1
            if wrong:
                wrongs.append(wrong)
                if wrong.intact:
                    self._known.add(_mark(wrong.intact.key))

    def _look(self, file: tuple[MediumRecords, int | None]) -> tuple[MediumRecords, int | None, Wrong | None]:
        medium, item = file
        record: Record = medium.files[item] if item else {}
        wrong = None
        if item and record["status"] == STORED:
            wrong = _difference(self.stores.head(str(record["key"])), record, medium.media_id, item)
        elif item and record["status"] == MISSING:
            wrong = self._back(record, medium.media_id, item)
        return medium, item, wrong

    def _back(self, record: Record, media_id: str, item: int) -> Wrong | None:
        """Whether a file that is wanted again is there, at its key or at the one that it had to leave to another."""
        for key in filter(None, (record["key"], record.get("former_key"))):
            found = self.stores.head(str(key))
            if not isinstance(found, Absent) and not _other_bytes(found, record, media_id, item):
                return Wrong(item=item, wrong=_BACK, intact=found)
        return None

    def _set_right(self, medium: MediumRecords, wrongs: list[Wrong], now: datetime) -> None:
        wanted = files_missing_after(medium, wrongs) or status_after(medium, wrongs) == MISSING
        if not set_right(self.stores, medium, wrongs, now=now):
            self.not_marked += 1
        elif wanted:
            self.marked_media += 1
        else:
            self.mended_media += 1

    def _objects_without_record(self, pool: ThreadPoolExecutor) -> Iterator[Problem]:
        keys = (key for key in self.stores.object_keys() if _mark(key) not in self._known)
        for problem in in_order(pool, self._about_object, keys):
            if problem:
                yield problem

    def _about_object(self, key: str) -> Problem | None:
        found = self.stores.head(key)
        if isinstance(found, Absent):
            return None
        own = read_object(found)
        if own is None:
            return Problem(wrong="is none of ours", key=key, harmless=True)
        record = self.stores.records(own.media_id).files.get(own.item)
        if record is None:
            told = "`adopt` takes it" if own.says_all else "it says too little for `adopt`, and a sync has to look"
            return Problem(wrong=f"no record names it: {told}", media_id=own.media_id, name=own.name, key=key)
        if record["key"] == key:
            return None  # stored since the records were read
        # Whether the file itself is there, and what it should be, was seen by its record: this is beside it.
        told = f"calls itself item {own.item} of this medium and isn't what is stored as that"
        if record["status"] == STORED and (found.size, found.checksum) == (record["size"], record["checksum"]):
            told = f"is another copy of {record['key']}"
        return Problem(wrong=told, media_id=own.media_id, name=own.name, key=key, harmless=True)

    def _uploads_without_record(self, now: datetime) -> Iterator[Problem]:
        # Of those begun later a sync may be about to write the record. Older ones have had theirs before it was read.
        for key, upload_id in self.stores.uploads(begun_before=now - _LONGEST_RUN):
            if _mark(upload_id) not in self._known:
                yield Problem(wrong=f"no record names the multipart upload {upload_id}", key=key)

    def _counted(self, problems: Iterable[Problem]) -> Iterator[Problem]:
        for problem in problems:
            self.harmless += problem.harmless
            self.problems += not problem.harmless
            yield problem


def _files(media: Iterable[MediumRecords]) -> Iterator[tuple[MediumRecords, int | None]]:
    """(medium, item) of every file, and (medium, None) after the last one of each medium."""
    for medium in media:
        for item in sorted(medium.files):
            yield medium, item
        yield medium, None


def _difference(found: FoundObject | Absent, record: Record, media_id: str, item: int) -> Wrong | None:
    if isinstance(found, Absent):
        how = "removed: a delete marker hides it" if found.hidden else "missing"
        return Wrong(item=item, wrong=how)
    other_bytes = _other_bytes(found, record, media_id, item)
    told = [*other_bytes, *(["another ETag"] if found.etag != record["etag"] else [])]
    intact = None if other_bytes else found
    return Wrong(item=item, wrong=", ".join(told), occupied=bool(other_bytes), intact=intact) if told else None


def _other_bytes(found: FoundObject, record: Record, media_id: str, item: int) -> list[str]:
    """In words, why an object isn't the file of a record; empty where it is."""
    # Its size apart, which is told by itself.
    ours = is_copy(found, Version(size=found.size, etag=str(record["origin_etag"])), media_id=media_id, item=item)
    differences = {
        f"another size ({found.size:,} bytes, not {int(record['size']):,})": found.size != record["size"],
        # Of a file whose upload has begun again nobody knows one yet.
        "another checksum": found.checksum != record.get("checksum", found.checksum),
        "not ours by its metadata": not ours,
    }
    return [difference for difference, holds in differences.items() if holds]


def _problems(medium: MediumRecords, wrongs: Iterable[Wrong]) -> Iterator[Problem]:
    told = {item: _WANTED for item, record in medium.files.items() if record["status"] == MISSING}
    told |= {wrong.item: wrong.wrong for wrong in wrongs}
    for item, wrong in sorted(told.items()):
        record = medium.files[item]
        name = str(record["original_name"]) or medium.filename
        yield Problem(media_id=medium.media_id, name=name, key=str(record["key"]), wrong=wrong)
    about = ""
    if not medium.own:
        about = "the table has no record of the medium itself: `adopt` or the next sync sees to it"
    elif medium.own["status"] == STORED and medium.lacks_files:
        known, total = medium.known_files, medium.own["files_total"]
        about = f"the table has {known} of its {total} files: see `adopt`, and if it stays, `--refetch`"
    elif medium.own["status"] == MISSING and not told:
        about = _WANTED if medium.lacks_files else _WHOLE
    if about:
        yield Problem(media_id=medium.media_id, name=medium.filename, wrong=about)


def _is_told_wrongly(medium: MediumRecords) -> bool:
    """Whether the medium's own record says of its files what their records don't."""
    status = medium.own.get("status")
    return status in (STORED, MISSING) and status_after(medium) != status


def _mark(text: str) -> bytes:
    """Eight bytes that stand for a text, so that a hundred thousand of them take little memory."""
    return blake2b(text.encode(), digest_size=8).digest()
