"""Makes the library table anew of what the objects in the media bucket say of themselves."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from ops.library import WORKERS, Absent, FoundObject, LibraryStores, in_order
from services.downloader.keys import is_copy, media_folder, read_metadata
from services.downloader.transfer import ORIGIN_ETAG, Version
from services.shared.bus import iso
from services.shared.gopro.media import whole_number
from services.shared.library import MEDIUM, STORED

_EPOCH = 1  # as after a first try
_REFETCH = "`verify --refetch` has the next sync look"  # which looks at no medium that is stored


@dataclass(frozen=True, kw_only=True)
class OwnObject:
    """An original in the bucket, by what is written on it."""

    found: FoundObject
    version: Version  # of the origin
    media_id: str
    item: int
    name: str
    captured_at: str
    sync_id: str
    # Objects written by earlier versions don't say these.
    origin: str | None
    item_count: int | None
    files: int | None  # that the medium has

    @property
    def is_proven(self) -> bool:
        return self.found.proof(self.version) == ORIGIN_ETAG

    @property
    def says_all(self) -> bool:
        return None not in (self.origin, self.item_count, self.files)

    @property
    def record(self) -> dict[str, Any]:
        """As the downloader writes it of a file that is stored."""
        _, multipart, parts = self.found.etag.rpartition("-")
        return {
            "media_id": self.media_id,
            "item": self.item,
            "origin": self.origin,
            "original_name": self.name,
            "key": self.found.key,
            "size": self.found.size,
            "origin_etag": self.version.etag,
            "status": STORED,
            "part_count": int(parts) if multipart else 1,
            "etag": self.found.etag,
            "checksum": self.found.checksum,
            "proof": self.found.proof(self.version),
        }


@dataclass(frozen=True, kw_only=True)
class Adopted:
    """What was done, or would be, about some objects: those of a medium, or those that are none of ours."""

    media_id: str = ""
    name: str = ""
    left: str = ""  # why the medium is left to a sync
    objects: int = 0
    media: int = 0  # whose own record was written
    files: int = 0  # whose record was written
    bytes: int = 0  # of those
    known: int = 0  # objects that the table names already
    passed_over: int = 0  # none of ours, or a second copy
    unsettled: int = 0  # media that only a sync can complete

    def __add__(self, other: "Adopted") -> "Adopted":
        counts = ("objects", "media", "files", "bytes", "known", "passed_over", "unsettled")
        return Adopted(**{name: getattr(self, name) + getattr(other, name) for name in counts})


def adopt(stores: LibraryStores, *, dry_run: bool = False) -> Iterator[Adopted]:
    """Writes the records that are missing, and never over one that is there."""
    with ThreadPoolExecutor(WORKERS) as pool:
        found = in_order(pool, stores.head, stores.object_keys())
        # All objects of a medium are in one folder, and so beside each other, unless its capture time was changed
        # between two of its downloads; then its records may say too little, and the next sync completes them.
        folders = (list(group) for _, group in groupby(_objects(found), key=lambda one: one.key.rpartition("/")[0]))
        yield from in_order(pool, lambda objects: _adopt_folder(stores, objects, dry_run=dry_run), folders)


def read_object(found: FoundObject) -> OwnObject | None:
    """The original that an object is; None where it doesn't say so, or isn't as it says."""
    said = read_metadata(found.metadata)
    media_id, item = said.get("media-id", ""), whole_number(said.get("item"))
    version = Version(size=whole_number(said.get("origin-size")) or 0, etag=said.get("origin-etag", ""))
    captured_at = said.get("captured-at", "")
    if not item or not is_copy(found, version, media_id=media_id, item=item):
        return None
    if not found.key.startswith(media_folder(media_id, captured_at)):
        return None  # somebody's copy: the downloader puts nothing there
    return OwnObject(
        found=found,
        version=version,
        media_id=media_id,
        item=item,
        name=said.get("original-name", ""),
        captured_at=captured_at,
        sync_id=said.get("sync-id", ""),
        origin=said.get("origin"),
        item_count=whole_number(said.get("item-count")),
        files=whole_number(said.get("files")),
    )


def _objects(found: Iterable[FoundObject | Absent]) -> Iterator[FoundObject]:
    for one in found:
        if not isinstance(one, Absent):
            yield one


def _adopt_folder(stores: LibraryStores, objects: Sequence[FoundObject], *, dry_run: bool) -> Adopted:
    own = [one for one in map(read_object, objects) if one]
    # Of two copies of a file the proven one counts, and then the newer one.
    best = {one.item: one for one in sorted(own, key=lambda one: (one.is_proven, one.found.modified))}
    if not best:
        return Adopted(objects=len(objects), passed_over=len(objects))
    first = best[min(best)]
    medium = stores.records(first.media_id)
    others = {item for item, one in best.items() if item in medium.files and medium.files[item]["key"] != one.found.key}
    new = [one for item, one in sorted(best.items()) if item not in medium.files]
    seen = Adopted(
        media_id=first.media_id,
        name=first.name,
        objects=len(objects),
        known=len(best) - len(others) - len(new),
        passed_over=len(objects) - len(best) + len(others),
    )
    is_stored = medium.own.get("status") == STORED
    if not all(one.says_all for one in (new if medium.own else best.values())):
        # A record without its origin would keep its number from the file that it is of, which would be stored again.
        then = _REFETCH if is_stored else "the next sync finds what is there"
        return replace(seen, unsettled=1, left=f"an object doesn't say all; {then}")

    def write(record: Mapping[str, Any]) -> bool:
        return dry_run or _written(stores, record)

    adopted = [one for one in new if write(one.record)]
    done = replace(seen, files=len(adopted), bytes=sum(one.found.size for one in adopted))
    if medium.own:
        has, total = medium.known_files + len(adopted), medium.own.get("files_total", 0)
        left = f"the table has {has} of its {total} files; {_REFETCH}"
        return replace(done, unsettled=1, left=left) if is_stored and has < total else done
    here = {one.found.key for one in best.values()}
    known = [record for record in medium.files.values() if record["status"] == STORED]
    if not all(_is_there(stores, record, here) for record in known):
        return replace(done, unsettled=1, left="a file that the table has is gone; see `verify`")
    records = [*known, *(one.record for one in new)]
    expected = max(one.files or 0 for one in best.values())
    if len(records) < expected:
        left = f"{len(records)} of its {expected} files are there; the next sync fetches the rest"
        return replace(done, unsettled=1, left=left)
    return replace(done, media=int(write(_medium_record(best, records))))


def _medium_record(objects: Mapping[int, OwnObject], files: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """As the downloader writes it of a medium that is stored."""
    first, last = objects[min(objects)], max(objects.values(), key=lambda one: (one.found.modified, one.item))
    total = sum(int(record["size"]) for record in files)
    return {
        "media_id": first.media_id,
        "item": MEDIUM,
        "status": STORED,
        "epoch": _EPOCH,
        "sync_id": last.sync_id,
        "filename": first.name,
        "captured_at": first.captured_at,
        "item_count": max(one.item_count or 0 for one in objects.values()),
        "files_total": len(files),
        "bytes_total": total,
        "bytes_done": total,
        "stored_at": iso(last.found.modified),
    }


def _is_there(stores: LibraryStores, record: Mapping[str, Any], here: Collection[str]) -> bool:
    """Whether a file that the table has is in the bucket: if not among these keys, then in another folder."""
    key = str(record["key"])
    return key in here or not isinstance(stores.head(key), Absent)


def _written(stores: LibraryStores, record: Mapping[str, Any]) -> bool:
    """Whether there was none: a record that a sync has written meanwhile stays as it is."""
    try:
        stores.dynamodb.put_item(
            TableName=stores.table, Item=record, ConditionExpression="attribute_not_exists(media_id)"
        )
    except stores.dynamodb.exceptions.ConditionalCheckFailedException:
        return False
    return True
