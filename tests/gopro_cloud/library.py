"""The media of a library, as a test describes them, and the catalogue that the cloud serves from."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tests.gopro_cloud.contents import MIB, Content, Generated
from tests.gopro_cloud.faults import Fault, fault_from_json
from tests.gopro_cloud.recipes import content_from_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PROXY = Generated(64 * 1024, "proxy")
DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


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
    """One file behind a medium; `original` tells whether a faithful copy of the library must hold it."""

    where: Literal["files", "variations", "sidecar_files"]
    label: str
    item: int
    extension: str
    content: Content
    filename: str
    original: bool = False


@dataclass(frozen=True, kw_only=True)
class Medium:
    """One medium of the library.

    `contents` are the originals' bytes, one a chapter or picture. `listed_size` is the `file_size` of the listing:
    the truth, null, or any number. `etag_part_bytes` is the part size behind the CDN's ETags, in bytes (None: an ETag
    that isn't a multipart one). `extra` overrides fields of the listing's row. A medium that is `gone` is listed, and
    404 when asked for.
    """

    media_id: str
    shape: Shape = Shape.SINGLE_VIDEO
    contents: tuple[Content, ...] = ()
    raw: Content | None = None
    proxy: Content = PROXY
    type: str = ""
    filename: str = "GX010001.MP4"
    captured_at: str | None = "2026-01-30T21:08:11Z"
    created_at: str | None = None
    camera_model: str = "HERO13 Black"
    listed_size: int | Literal["true"] | None = "true"
    ready_to_view: str = "ready"
    etag_part_bytes: int | None = 20 * MIB
    item_numbers: bool = True
    backwards: bool = False  # the items of the download listing are in descending order
    concat: bool = True  # chaptered: a derived join is offered as well
    source_offered: bool = True
    source_available: bool = True
    sidecars: bool = True
    gone: bool = False
    numbers_as_strings: bool = False
    moments: tuple[int, ...] = ()  # highlights, in milliseconds from the start
    extra: dict[str, Any] = field(default_factory=dict, hash=False)
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", Shape(self.shape))
        if not self.contents and self.shape is not Shape.QUIK_PROJECT:
            object.__setattr__(self, "contents", (Generated(MIB, self.media_id),))
        if not self.type:
            object.__setattr__(self, "type", _TYPES[self.shape])
        if self.shape not in (Shape.CHAPTERED, Shape.BURST) and len(self.contents) > 1:
            raise ValueError(f"{self.media_id}: a {self.shape} has one content")

    def itself(self) -> Medium:
        return self

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

    def item_filename(self, item: int) -> str:
        """The file's own name, as the camera wrote it: chapters and pictures of a burst count up."""
        if not self.filename or self.filename.endswith(".json"):
            return f"{self.media_id}.{self.extension}"
        if self.shape is Shape.CHAPTERED and (name := re.fullmatch(r"(G[A-Z])\d\d(\d{4}\.\w+)", self.filename)):
            return f"{name[1]}{item:02}{name[2]}"
        if self.shape is Shape.BURST and (name := re.fullmatch(r"(G\w{3})(\d{4})(\.\w+)", self.filename)):
            return f"{name[1]}{(int(name[2]) + item - 1) % 10_000:04}{name[3]}"
        return self.filename

    def renditions(self) -> list[Rendition]:
        """Every file that the CDN serves of this medium, the originals first and in order."""
        name = self.item_filename(1)
        found = self._offered() if self.source_offered else []
        if self.raw is not None:
            raw_name = re.sub(r"\.\w+$", "", name) + ".GPR"
            found.append(Rendition("sidecar_files", "raw_photo", 1, "gpr", self.raw, raw_name, True))
        if self.shape is Shape.QUIK_PROJECT:
            return found
        if not self.still:
            labels = ["high_res_proxy_mp4", "edit_proxy"]
            if self.shape is Shape.CHAPTERED and self.concat:
                labels.append("concat")
            found += [Rendition("variations", label, 1, "mp4", self.proxy, name) for label in labels]
        sidecars = [("thumbnail", "jpg")]
        if not self.still and self.sidecars:
            sidecars += [("gpmf", "mp4"), ("gpx", "gpx"), ("mediainfo", "json"), ("zip", "zip")]
        for label, extension in sidecars:
            content = Generated(2048, f"{self.media_id} {label}")
            found.append(Rendition("sidecar_files", label, 1, extension, content, f"{label}.{extension}"))
        return found

    def _offered(self) -> list[Rendition]:
        """The originals, and the cover of a burst."""
        where: Literal["files", "variations"] = "files" if self.shape is Shape.BURST else "variations"
        label = {Shape.BURST: "file", Shape.EDIT: "baked_source"}.get(self.shape, "source")
        found = [
            Rendition(where, label, item, self.extension, content, self.item_filename(item), True)
            for item, content in enumerate(self.contents, start=1)
        ]
        if self.shape is Shape.BURST:
            found.append(Rendition("variations", "source", 1, "jpg", self.contents[0], self.item_filename(1)))
        return found

    def to_json(self) -> dict[str, Any]:
        form: dict[str, Any] = {}
        for one in dataclasses.fields(self):
            value = getattr(self, one.name)
            if one.name in ("contents", "faults"):
                value = [entry.to_json() for entry in value]
            elif isinstance(value, Content):
                value = value.to_json()
            elif isinstance(value, tuple):
                value = list(value)
            form[one.name] = value
        return form

    @classmethod
    def from_json(cls, form: dict[str, Any]) -> Medium:
        """Read what `to_json` wrote; ValueError names what is wrong with it."""
        fields = dict(form)
        for name, read in (("contents", content_from_json), ("faults", fault_from_json)):
            if name in fields:
                fields[name] = tuple(read(entry) for entry in fields[name])
        for name in ("raw", "proxy"):
            if fields.get(name) is not None:
                fields[name] = content_from_json(fields[name])
        if "moments" in fields:
            fields["moments"] = tuple(fields["moments"])
        try:
            return cls(**fields)
        except TypeError as error:
            raise ValueError(f"medium {form.get('media_id')!r}: {error}") from error


@dataclass(frozen=True, kw_only=True)
class Series:
    """`count` media made up on demand, one every `every_seconds` from `first_captured_at` on.

    Their ids are `prefix` and a running number: 24 hex digits, or with `id_form="mixed"` 13 letters and digits.
    """

    count: int
    prefix: str = "6b"
    id_form: Literal["hex", "mixed"] = "hex"
    shape: Shape = Shape.SINGLE_VIDEO
    size: int = 1000  # bytes of each
    first_captured_at: str = "2020-01-01T00:00:00Z"
    every_seconds: int = 60
    etag_part_bytes: int | None = 20 * MIB

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", Shape(self.shape))

    def media_id(self, index: int) -> str:
        width = (24 if self.id_form == "hex" else 13) - len(self.prefix)
        if self.id_form == "hex":
            return f"{self.prefix}{index:0{width}x}"
        digits = ""
        for _ in range(width):
            index, digit = divmod(index, len(DIGITS))
            digits = DIGITS[digit] + digits
        return self.prefix + digits

    def index_of(self, media_id: str) -> int | None:
        """Which one of the series has this id, if any."""
        number = media_id[len(self.prefix) :]
        try:
            if self.id_form == "hex":
                index = int(number, 16)
            else:
                index = 0
                for digit in number:
                    index = index * len(DIGITS) + DIGITS.index(digit)
        except ValueError:
            return None
        return index if index < self.count and self.media_id(index) == media_id else None

    def captured(self, index: int) -> float:
        return moment(self.first_captured_at) + index * self.every_seconds

    def medium(self, index: int) -> Medium:
        media_id = self.media_id(index)
        return Medium(
            media_id=media_id,
            shape=self.shape,
            contents=(Generated(self.size, media_id),),
            proxy=Generated(512, "proxy"),
            filename=("GOPR{:04}.JPG" if self.shape is Shape.PHOTO else "GX01{:04}.MP4").format(index % 10_000),
            captured_at=iso(self.captured(index)),
            etag_part_bytes=self.etag_part_bytes,
        )

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclass(frozen=True, kw_only=True)
class Library:
    """A whole library, and the faults that aren't of one medium."""

    media: tuple[Medium, ...] = ()
    series: tuple[Series, ...] = ()
    faults: tuple[Fault, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "media": [medium.to_json() for medium in self.media],
            "series": [series.to_json() for series in self.series],
            "faults": [fault.to_json() for fault in self.faults],
        }

    @classmethod
    def from_json(cls, form: dict[str, Any]) -> Library:
        """Read what `to_json` wrote; ValueError names what is wrong with it."""
        if unknown := set(form) - {"media", "series", "faults"}:
            raise ValueError(f"unknown keys of a library: {', '.join(sorted(unknown))}")
        try:
            series = tuple(Series(**entry) for entry in form.get("series", ()))
        except TypeError as error:
            raise ValueError(f"series: {error}") from error
        return cls(
            media=tuple(Medium.from_json(entry) for entry in form.get("media", ())),
            series=series,
            faults=tuple(fault_from_json(entry) for entry in form.get("faults", ())),
        )

    @classmethod
    def from_file(cls, path: str | Path) -> Library:
        return cls.from_json(json.loads(Path(path).read_text(encoding="utf-8")))


def moment(text: str | None) -> float:
    """Unix time of an ISO 8601 date in UTC; what can't be read counts as 1970."""
    try:
        read = datetime.fromisoformat(text or "")
    except ValueError:
        return 0.0
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()


def iso(at: float) -> str:
    """As GoPro writes times: UTC, whole seconds, with a Z."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Entry(NamedTuple):
    """What searching needs to know of a medium, without making it."""

    captured: float
    created: float
    type: str
    state: str
    medium: Callable[[], Medium]


class Catalogue:
    """The library as it stands now; it may change while it is read."""

    def __init__(self, library: Library) -> None:
        self._lock = threading.RLock()
        self.replace(library)

    def replace(self, library: Library) -> None:
        """Serve another library from now on."""
        media = {medium.media_id: medium for medium in library.media}
        if len(media) != len(library.media):
            raise ValueError("two media of the library have the same id")
        with self._lock:
            self._media = media
            self._series = library.series
            self._removed: set[str] = set()
            self._changed()

    def add(self, media: Iterable[Medium]) -> None:
        """New media, or others in the place of those with the same id."""
        with self._lock:
            for medium in media:
                self._media[medium.media_id] = medium
                self._removed.discard(medium.media_id)
            self._changed()

    def remove(self, media_ids: Iterable[str]) -> None:
        """Media that were deleted: neither listed nor found any more."""
        with self._lock:
            for media_id in media_ids:
                self._media.pop(media_id, None)
                self._removed.add(media_id)
            self._changed()

    def replace_content(self, media_id: str, label: str, item: int, content: Content) -> None:
        """Another original in the place of one, as after a reprocessing."""
        with self._lock:
            medium = self.get(media_id)
            if medium is None:
                raise ValueError(f"no medium {media_id}")
            if label == "raw_photo":
                self.add([dataclasses.replace(medium, raw=content)])
            else:
                contents = list(medium.contents)
                contents[item - 1] = content
                self.add([dataclasses.replace(medium, contents=tuple(contents))])

    def _changed(self) -> None:
        self._searches: dict[object, list[Entry]] = {}
        self._storage: int | None = None

    def get(self, media_id: str) -> Medium | None:
        """The medium, if the library has it (also if it is `gone`)."""
        with self._lock:
            if media_id in self._media:
                return self._media[media_id]
            if media_id in self._removed:
                return None
            for series in self._series:
                index = series.index_of(media_id)
                if index is not None:
                    return series.medium(index)
        return None

    def search(
        self,
        *,
        types: frozenset[str] | None = None,
        states: frozenset[str] | None = None,
        captured: tuple[float, float] | None = None,
        created: tuple[float, float] | None = None,
        by_created: bool = False,
    ) -> list[Entry]:
        """Newest first; ranges are half-open, in unix seconds."""
        key = (types, states, captured, created, by_created)
        with self._lock:
            if key not in self._searches:
                self._searches[key] = [
                    entry
                    for entry in self._sorted(by_created)
                    if (types is None or entry.type in types)
                    and (states is None or entry.state in states)
                    and (captured is None or captured[0] <= entry.captured < captured[1])
                    and (created is None or created[0] <= entry.created < created[1])
                ]
            return self._searches[key]

    def _sorted(self, by_created: bool) -> list[Entry]:
        entries = [
            Entry(moment(medium.captured_at), created_at(medium), medium.type, medium.ready_to_view, medium.itself)
            for medium in self._media.values()
        ]
        for series in self._series:
            kind = _TYPES[series.shape]
            start = series.captured(0)
            for index in range(series.count):
                if self._removed or self._media:
                    media_id = series.media_id(index)
                    if media_id in self._removed or media_id in self._media:
                        continue
                at = start + index * series.every_seconds
                entries.append(Entry(at, at + 3600, kind, "ready", functools.partial(series.medium, index)))
        entries.sort(key=lambda entry: -entry.created if by_created else -entry.captured)
        return entries

    def storage(self) -> int:
        """Bytes of all originals."""
        with self._lock:
            if self._storage is None:
                total = sum(medium.true_size for medium in self._media.values())
                self._storage = total + sum(series.count * series.size for series in self._series)
            return self._storage


def created_at(medium: Medium) -> float:
    """When the medium came to the cloud, in unix seconds: an hour after it was captured unless told otherwise."""
    return moment(medium.created_at) if medium.created_at else moment(medium.captured_at) + 3600
