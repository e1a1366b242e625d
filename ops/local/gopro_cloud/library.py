"""The media of a library, as a test describes them, and the catalogue that the cloud serves from."""

import re
import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal, NamedTuple

import msgspec

from ops.local.gopro_cloud.contents import MIB, Content, Generated, Sample
from ops.local.gopro_cloud.faults import Fault

PROXY = Sample("video1.mp4", 64 * 1024, "proxy")


class Shape(StrEnum):
    """How the download listing of a medium is laid out."""

    SINGLE_VIDEO = "single_video"
    CHAPTERED = "chaptered"
    PHOTO = "photo"
    BURST = "burst"
    EDIT = "edit"  # a highlight rendered by the cloud: `baked_source`
    QUIK_PROJECT = "quik_project"  # an edit list without any rendition


_TYPES = {
    Shape.SINGLE_VIDEO: "Video",
    Shape.CHAPTERED: "Chaptered",
    Shape.PHOTO: "Photo",
    Shape.BURST: "Burst",
    Shape.EDIT: "MultiClipEdit",
    Shape.QUIK_PROJECT: "MultiClipEdit",
}


class Rendition(NamedTuple):
    """One file of a medium, and where its download listing has it; a faithful copy holds each `original`."""

    where: Literal["files", "variations", "sidecar_files", "sprites"]
    label: str
    item: int
    extension: str
    content: Content
    filename: str
    original: bool = False


class Medium(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One medium of the library.

    `contents` has the bytes of each chapter or picture. `listed_size` is the listing's `file_size`: the truth, null, or
    any number. `row` has fields of the listing's row that are other than the truth, and `row_is` takes the place of the
    whole row. The CDN's ETags are those of uploads in parts of `etag_part_bytes` (None: no multipart ETags).
    """

    media_id: str
    shape: Shape = Shape.SINGLE_VIDEO
    contents: tuple[Content, ...] = ()  # empty: 1 MiB of noise
    raw: Content | None = None
    type: str = ""  # empty: the one that belongs to the shape
    filename: str = "GX010001.MP4"
    captured_at: str | None = "2026-01-30T21:08:11Z"
    created_at: str | None = None  # None: an hour later
    camera_model: str = "HERO13 Black"
    listed_size: int | Literal["true"] | None = "true"
    ready_to_view: str = "ready"
    reprocessed_at: str | None = None
    row: dict[str, Any] = {}
    row_is: Any = msgspec.UNSET
    breaks_pages: bool = False  # every page of the listing that would hold its row is answered with 500
    disposition: str = ""  # the Content-Disposition of each of its originals; empty: a good one with the file's name
    etag_part_bytes: int | None = 20 * MIB
    item_numbers: bool = True
    backwards: bool = False  # the download listing has the items in descending order
    source_offered: bool = True
    source_available: bool = True
    offered_in: Literal["files", "variations", "sidecar_files"] | None = None  # None: where originals usually are
    withheld: tuple[int, ...] = ()  # items that are not offered
    gone: bool = False  # listed, and 404 when asked for
    numbers_as_strings: bool = False
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        if not self.contents and self.shape != Shape.QUIK_PROJECT:
            msgspec.structs.force_setattr(self, "contents", (Generated(MIB, self.media_id),))
        if not self.type:
            msgspec.structs.force_setattr(self, "type", _TYPES[self.shape])
        if self.shape not in (Shape.CHAPTERED, Shape.BURST) and len(self.contents) > 1:
            raise ValueError(f"{self.media_id}: a {self.shape} has one content")

    @property
    def still(self) -> bool:
        return self.shape in (Shape.PHOTO, Shape.BURST)

    @property
    def extension(self) -> str:
        return "jpg" if self.still else "mp4"

    @property
    def true_size(self) -> int:
        """Bytes of all originals but the RAW file, as GoPro counts them."""
        return sum(content.size for content in self.contents)

    @property
    def captured(self) -> float:
        """When it was captured, in unix seconds; 1970 where `captured_at` is no date."""
        return _moment(self.captured_at)

    @property
    def created(self) -> float:
        """When it came to the cloud, in unix seconds."""
        return _moment(self.created_at) if self.created_at else self.captured + 3600

    def item_filename(self, item: int) -> str:
        """Return the file's own name, as the camera wrote it: chapters and pictures of a burst count up."""
        if not self.filename or self.filename.endswith(".json"):
            return f"{self.media_id}.{self.extension}"
        if self.shape == Shape.CHAPTERED and (name := re.fullmatch(r"(G[A-Z])\d\d(\d{4}\.\w+)", self.filename)):
            return f"{name[1]}{item:02}{name[2]}"
        if self.shape == Shape.BURST and (name := re.fullmatch(r"(G\w{3})(\d{4})(\.\w+)", self.filename)):
            return f"{name[1]}{int(name[2]) + item - 1:04}{name[3]}"
        return self.filename

    def renditions(self) -> list[Rendition]:
        """Return every file that the CDN serves of this medium, in the order of its download listing.

        The order is a trap, as it is at GoPro: `files` of a video is a proxy, and the first variation is another.
        """
        name = self.item_filename(1)
        found: list[Rendition] = []
        match self.shape:
            case Shape.QUIK_PROJECT:
                pass
            case Shape.PHOTO:
                found = [self._derived("files", "thumbnail", "jpg"), *self._offered("variations", "source")]
            case Shape.BURST:
                cover = Rendition("variations", "source", 1, "jpg", self.contents[0], name)
                found = [*self._offered("files", "file"), cover]
            case Shape.SINGLE_VIDEO | Shape.CHAPTERED | Shape.EDIT:
                proxy = Rendition("variations", "high_res_proxy_mp4", 1, "mp4", PROXY, name)
                found = [
                    proxy._replace(where="files"),
                    proxy._replace(label="edit_proxy"),
                    *([proxy._replace(label="concat")] if self.shape == Shape.CHAPTERED else []),
                    *self._offered("variations", "baked_source" if self.shape == Shape.EDIT else "source"),
                    proxy,
                    self._derived("sprites", "thumbnail", "jpg"),
                    self._derived("sidecar_files", "gpmf", "mp4"),
                    self._derived("sidecar_files", "gpx", "gpx"),
                    self._derived("sidecar_files", "mediainfo", "json"),
                    self._derived("sidecar_files", "zip", "zip"),
                ]
        if self.raw is not None:
            raw_name = re.sub(r"\.\w+$", "", name) + ".GPR"
            found.append(Rendition("sidecar_files", "raw_photo", 1, "gpr", self.raw, raw_name, original=True))
        return found

    def originals(self) -> list[Rendition]:
        """Return the originals that are offered, by item number, the RAW file last."""
        found = [rendition for rendition in self.renditions() if rendition.original]
        return sorted(found, key=lambda rendition: (rendition.label == "raw_photo", rendition.item))

    def _offered(self, where: Literal["files", "variations"], label: str) -> list[Rendition]:
        found = [
            Rendition(
                self.offered_in or where, label, item, self.extension, content, self.item_filename(item), original=True
            )
            for item, content in enumerate(self.contents, start=1)
            if item not in self.withheld
        ]
        return (found[::-1] if self.backwards else found) if self.source_offered else []

    def _derived(self, where: Literal["files", "sidecar_files", "sprites"], label: str, extension: str) -> Rendition:
        content = Generated(2048, f"{self.media_id} {label}")
        return Rendition(where, label, 1, extension, content, f"{label}.{extension}")

    def to_json(self) -> dict[str, Any]:
        """Return the form that a `LibraryChange` adds."""
        form: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return form


class Series(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """`count` media, one a minute from `first_captured_at` on. Their ids are `prefix` and a running number."""

    count: int
    prefix: str = "6b"
    shape: Shape = Shape.SINGLE_VIDEO
    size: int = 1000  # bytes of each
    first_captured_at: str = "2020-01-01T00:00:00Z"

    def media_id(self, index: int) -> str:
        return f"{self.prefix}{index:0{24 - len(self.prefix)}x}"

    def captured(self, index: int) -> float:
        """Return when one of the media was captured, in unix seconds."""
        return _moment(self.first_captured_at) + index * 60

    def medium(self, index: int) -> Medium:
        media_id = self.media_id(index)
        return Medium(
            media_id=media_id,
            shape=self.shape,
            contents=(Generated(self.size, media_id),),
            filename=f"GOPR{index % 10_000:04}.JPG" if self.shape == Shape.PHOTO else f"GX01{index % 10_000:04}.MP4",
            captured_at=iso(self.captured(index)),
        )


class Library(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A whole library, and the faults that don't belong to one medium."""

    media: tuple[Medium, ...] = ()
    series: tuple[Series, ...] = ()
    faults: tuple[Fault, ...] = ()


def _moment(text: str | None) -> float:
    try:
        read = datetime.fromisoformat(text or "")
    except ValueError:
        return 0.0
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()


def iso(at: float) -> str:
    """Write a unix time as GoPro does: UTC, whole seconds, with a Z."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Catalogue:
    """The library as it stands now; it may change while it is read."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.replace(Library())

    def replace(self, library: Library) -> None:
        """Serve another library from now on; ValueError when two of its media have the same id."""
        media = [*library.media, *(series.medium(index) for series in library.series for index in range(series.count))]
        by_id = {medium.media_id: medium for medium in media}
        if len(by_id) != len(media):
            raise ValueError("two media of the library have the same id")
        with self._lock:
            self._media = by_id
            self._sorted: dict[str, list[Medium]] = {}

    def add(self, media: Iterable[Medium]) -> None:
        """Add media, each in the place of one with the same id."""
        with self._lock:
            self._media.update({medium.media_id: medium for medium in media})
            self._sorted = {}

    def remove(self, media_ids: Iterable[str]) -> None:
        """Remove media, which are then neither listed nor found."""
        with self._lock:
            for media_id in media_ids:
                self._media.pop(media_id, None)
            self._sorted = {}

    def replace_original(self, media_id: str, item: int, content: Content) -> None:
        """Put another original in the place of one, as a reprocessing does."""
        with self._lock:
            medium = self._media[media_id]
            contents = [*medium.contents]
            contents[item - 1] = content
            self.add([msgspec.structs.replace(medium, contents=tuple(contents))])

    def get(self, media_id: str | None) -> Medium | None:
        """Return the medium, also when it is `gone`."""
        with self._lock:
            return self._media.get(media_id or "")

    def search(self, order_by: Literal["captured", "created"] = "captured") -> list[Medium]:
        """Return all media, newest first."""
        with self._lock:
            if order_by not in self._sorted:
                self._sorted[order_by] = sorted(self._media.values(), key=lambda one: -float(getattr(one, order_by)))
            return self._sorted[order_by]
