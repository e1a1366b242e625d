"""Rebuilding the library table from the metadata of the objects in the media bucket."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby

from ops.library import WORKERS, Absent, FoundObject, LibraryStores, in_order
from services.downloader.transfer import ORIGIN_ETAG, Version
from services.shared.clock import iso
from services.shared.library.objects import ObjectMetadata, media_folder
from services.shared.library.records import FileRecord, MediumRecord, Status

_EPOCH = 1  # as after a first try
_REFETCH = "`verify --refetch` makes the next sync look at it"  # a sync looks at no medium that is stored


@dataclass(frozen=True, kw_only=True)
class OwnObject:
    """An original in the bucket, and its metadata."""

    found: FoundObject
    said: ObjectMetadata

    @property
    def proof(self) -> str:
        """What proves that it is a copy of its origin."""
        return self.found.proof(Version(size=self.said.origin_size, etag=self.said.origin_etag or ""))

    @property
    def is_complete(self) -> bool:
        """Whether its metadata has all that a record needs. Early versions wrote less."""
        return None not in (self.said.origin, self.said.item_count, self.said.files)

    @property
    def record(self) -> FileRecord:
        """The record that the downloader writes for it."""
        _, multipart, parts = self.found.etag.rpartition("-")
        return FileRecord(
            media_id=self.said.media_id,
            item=self.said.item,
            origin=self.said.origin or "",
            original_name=self.said.original_name,
            key=self.found.key,
            size=self.found.size,
            origin_etag=self.said.origin_etag or "",
            sync_id=self.said.sync_id,
            status=Status.STORED,
            part_count=int(parts) if multipart else 1,
            etag=self.found.etag,
            checksum=self.found.checksum,
            proof=self.proof,
        )


@dataclass(frozen=True, kw_only=True)
class Adopted:
    """What was done, or would be, about the objects of one folder."""

    media_id: str = ""
    name: str = ""
    left: str = ""  # why the medium is left to a sync
    objects: int = 0
    media: int = 0  # whose own record was written
    files: int = 0  # whose record was written
    bytes: int = 0  # of those files
    known: int = 0  # objects that the table has already
    passed_over: int = 0  # objects not created by Cloud Sync, and second copies
    unsettled: int = 0  # media that only a sync can complete

    def __add__(self, other: "Adopted") -> "Adopted":
        counts = ("objects", "media", "files", "bytes", "known", "passed_over", "unsettled")
        return Adopted(**{name: getattr(self, name) + getattr(other, name) for name in counts})


def adopt(stores: LibraryStores, *, dry_run: bool = False) -> Iterator[Adopted]:
    """Write the records that the table lacks. An existing record is never changed.

    The next sync walks the whole library: it has to compare the rows of these media from now on.
    """
    if not dry_run:
        stores.ask_for_full_walk()
    with ThreadPoolExecutor(WORKERS) as pool:
        found = in_order(pool, stores.head, stores.object_keys())
        # A medium's objects share a folder, and so follow each other, unless its capture time was changed between two
        # downloads. Then its records may lack something, which the next sync completes.
        folders = (list(group) for _, group in groupby(_objects(found), key=lambda one: one.key.rpartition("/")[0]))
        yield from in_order(pool, lambda objects: _adopt_folder(stores, objects, dry_run=dry_run), folders)
    if not dry_run:
        stores.ask_for_full_walk()


def read_object(found: FoundObject) -> OwnObject | None:
    """Return the original that an object is by its metadata; None when they don't fit each other."""
    said = ObjectMetadata.decode(found.metadata)
    if not said.item or said.origin_etag is None or said.origin_size != found.size:
        return None
    if not found.key.startswith(media_folder(said.media_id, said.captured_at)):
        return None  # a copy that somebody made: the downloader writes nothing there
    return OwnObject(found=found, said=said)


def _objects(found: Iterable[FoundObject | Absent]) -> Iterator[FoundObject]:
    for one in found:
        if not isinstance(one, Absent):
            yield one


def _adopt_folder(stores: LibraryStores, objects: Sequence[FoundObject], *, dry_run: bool) -> Adopted:
    own = [one for one in map(read_object, objects) if one]
    # Of two copies of a file the proven one counts, and then the newer one.
    best = {one.said.item: one for one in sorted(own, key=lambda one: (one.proof == ORIGIN_ETAG, one.found.modified))}
    if not best:
        return Adopted(objects=len(objects), passed_over=len(objects))
    first = best[min(best)].said
    medium = stores.medium(first.media_id)
    others = {item for item, one in best.items() if item in medium.files and medium.files[item].key != one.found.key}
    new = [one for item, one in sorted(best.items()) if item not in medium.files]
    seen = Adopted(
        media_id=first.media_id,
        name=first.original_name,
        objects=len(objects),
        known=len(best) - len(others) - len(new),
        passed_over=len(objects) - len(best) + len(others),
    )
    is_stored = medium.status == Status.STORED
    if not all(one.is_complete for one in (new if medium.own else best.values())):
        # A record without its origin would take the item number from its file, and the file would be stored again.
        then = _REFETCH if is_stored else "the next sync recognizes its objects"
        return replace(seen, unsettled=1, left=f"an object's metadata is incomplete; {then}")

    def write(record: FileRecord | MediumRecord) -> bool:
        return dry_run or _write(stores, record)

    adopted = [one for one in new if write(one.record)]
    done = replace(seen, files=len(adopted), bytes=sum(one.found.size for one in adopted))
    if medium.own:
        has, total = medium.known_files + len(adopted), medium.own.files_total or 0
        left = f"the table has {has} of its {total} files; {_REFETCH}"
        return replace(done, unsettled=1, left=left) if is_stored and has < total else done
    here = {one.found.key for one in best.values()}
    known = [record for record in medium.files.values() if record.status == Status.STORED]
    if not all(_is_there(stores, record, here) for record in known):
        return replace(done, unsettled=1, left="a file that the table has is gone; see `verify`")
    records = [*known, *(one.record for one in new)]
    expected = max(one.said.files or 0 for one in best.values())
    if len(records) < expected:
        left = f"{len(records)} of its {expected} files are in the bucket; the next sync fetches the rest"
        return replace(done, unsettled=1, left=left)
    return replace(done, media=int(write(_medium_record(best, records))))


def _medium_record(objects: Mapping[int, OwnObject], files: Sequence[FileRecord]) -> MediumRecord:
    """Return the record that the downloader writes for a stored medium."""
    first, last = objects[min(objects)], max(objects.values(), key=lambda one: (one.found.modified, one.said.item))
    total = sum(record.size for record in files)
    return MediumRecord(
        media_id=first.said.media_id,
        status=Status.STORED,
        epoch=_EPOCH,
        sync_id=last.said.sync_id,
        filename=first.said.original_name,
        captured_at=first.said.captured_at,
        item_count=max(one.said.item_count or 0 for one in objects.values()) or None,
        files_total=len(files),
        bytes_total=total,
        bytes_done=total,
        stored_at=iso(last.found.modified),
    )


def _is_there(stores: LibraryStores, record: FileRecord, here: Collection[str]) -> bool:
    """Return whether the file of a record is in the bucket, among these keys or in another folder."""
    return record.key in here or not isinstance(stores.head(record.key), Absent)


def _write(stores: LibraryStores, record: FileRecord | MediumRecord) -> bool:
    """Write a record. Returns False when the table has one: a sync may have written it meanwhile."""
    try:
        stores.dynamodb.put_item(
            TableName=stores.table, Item=record.to_item(), ConditionExpression="attribute_not_exists(media_id)"
        )
    except stores.dynamodb.exceptions.ConditionalCheckFailedException:
        return False
    return True
