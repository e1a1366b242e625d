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
from ops.refetch import Wrong, want_again
from services.downloader.keys import is_copy
from services.downloader.transfer import Version
from services.shared.library import MISSING, STORED

_LONGEST_RUN = timedelta(minutes=15)  # of a Lambda function: who began an upload has written it down by then
_WANTED = "wanted again: the next sync sees to it"


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
    not_marked: int = 0  # since something had them in hand
    _known: set[bytes] = field(default_factory=set)  # marks of the keys and upload ids that records name

    def run(self, *, media_id: str | None = None, refetch: bool = False, now: datetime) -> Iterator[Problem]:
        """Looks at one medium, or else at all and then at what no record names. Raises `OperatorError`."""
        with ThreadPoolExecutor(WORKERS) as pool:
            for medium, wrongs in self._media(pool, media_id):
                yield from self._counted(_problems(medium, wrongs))
                if refetch and (wrongs or _is_stored_in_part(medium)):
                    self._mark(medium, wrongs, now)
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
        for medium, item, found in in_order(pool, self._look, _files(media)):
            if item is None:
                if media_id and not medium.own and not medium.files:
                    raise OperatorError(f"The library table has no medium {media_id}.")
                self.media += medium.own.get("status") == STORED
                yield medium, wrongs
                wrongs = []
                continue
            record = medium.files[item]
            self._known |= {_mark(str(record["key"])), _mark(str(record.get("upload_id", "")))}
            if found is not None:
                self.files += 1
                self.bytes_total += int(record["size"])
                self.proofs[str(record["proof"])] += 1
                if wrong := _difference(found, record, medium.media_id, item):
                    wrongs.append(wrong)

    def _look(
        self, file: tuple[MediumRecords, int | None]
    ) -> tuple[MediumRecords, int | None, FoundObject | Absent | None]:
        medium, item = file
        claimed = item is not None and medium.files[item]["status"] == STORED
        return medium, item, self.stores.head(str(medium.files[item]["key"])) if claimed and item else None

    def _mark(self, medium: MediumRecords, wrongs: list[Wrong], now: datetime) -> None:
        if want_again(self.stores, medium, wrongs, now=now):
            self.marked_media += 1
        else:
            self.not_marked += 1

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
            told = "no record names it: `adopt` takes it"
            return Problem(wrong=told, media_id=own.media_id, name=own.name, key=key)
        if record["key"] == key:
            return None  # stored since the records were read
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
        return Wrong(item=item, wrong=how, occupied=False)
    # Its size apart, which is told by itself.
    ours = is_copy(found, Version(size=found.size, etag=str(record["origin_etag"])), media_id=media_id, item=item)
    other_bytes = {
        f"another size ({found.size:,} bytes, not {int(record['size']):,})": found.size != record["size"],
        "another checksum": found.checksum != record["checksum"],
        "not ours by its metadata": not ours,
    }
    differences = {**other_bytes, "another ETag": found.etag != record["etag"]}
    told = [difference for difference, holds in differences.items() if holds]
    return Wrong(item=item, wrong=", ".join(told), occupied=any(other_bytes.values())) if told else None


def _problems(medium: MediumRecords, wrongs: Iterable[Wrong]) -> Iterator[Problem]:
    told = {wrong.item: wrong.wrong for wrong in wrongs}
    told |= {item: _WANTED for item, record in medium.files.items() if record["status"] == MISSING}
    for item, wrong in sorted(told.items()):
        record = medium.files[item]
        name = str(record["original_name"]) or medium.filename
        yield Problem(media_id=medium.media_id, name=name, key=str(record["key"]), wrong=wrong)
    about = ""
    if not medium.own:
        about = "the table has no record of the medium itself: the next sync sees to it"
    elif _lacks_records(medium):
        about = f"the table has {len(medium.files)} of its {medium.own['files_total']} files: see `adopt`"
    elif medium.own["status"] == MISSING and not told:
        about = _WANTED
    if about:
        yield Problem(media_id=medium.media_id, name=medium.filename, wrong=about)


def _is_stored_in_part(medium: MediumRecords) -> bool:
    wanted = any(record["status"] == MISSING for record in medium.files.values())
    return medium.own.get("status") == STORED and (wanted or _lacks_records(medium))


def _lacks_records(medium: MediumRecords) -> bool:
    return medium.own.get("status") == STORED and len(medium.files) < medium.own["files_total"]


def _mark(text: str) -> bytes:
    """Eight bytes that stand for a text, so that a hundred thousand of them take little memory."""
    return blake2b(text.encode(), digest_size=8).digest()
