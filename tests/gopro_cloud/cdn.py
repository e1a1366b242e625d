"""The CDN: signed URLs, and the files behind them as S3 behind CloudFront serves them."""

from __future__ import annotations

import hashlib
import re
import zlib
from email.utils import formatdate, parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import quote, unquote

from tests.gopro_cloud.contents import Content, Digests, Flipped, Generated, Piece
from tests.gopro_cloud.exchange import Reply, Request, answered_otherwise, slowed
from tests.gopro_cloud.faults import (
    Corrupt,
    Drop,
    Endpoint,
    ExpireAfter,
    Fault,
    FaultBook,
    Gzip,
    IgnoreRange,
    NoLength,
    Occasion,
    Replace,
    Truncate,
    WrongRange,
)
from tests.gopro_cloud.library import Catalogue, Medium, Rendition, created_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.gopro_cloud.signing import Signer

_CONTENT_TYPES = {"mp4": "video/mp4", "jpg": "image/jpeg", "json": "application/json", "gpx": "application/gpx+xml"}
_CODES = {400: "InvalidArgument", 403: "AccessDenied", 404: "NoSuchKey", 412: "PreconditionFailed", 416: "InvalidRange"}


class Place(NamedTuple):
    """What a CDN path leads to."""

    media_id: str
    label: str
    item: int


class Cut(NamedTuple):
    """Where in the file a body ends early, if at all, and what becomes of the connection."""

    at_bytes: int | None
    ending: Literal["whole", "cut", "reset"]


def path_of(medium: Medium, rendition: Rendition) -> str:
    """`/cdn/<media id>/<label>/default/<item>.<extension>`: the item's number is in the path, as with GoPro."""
    return f"/cdn/{quote(medium.media_id, safe='')}/{rendition.label}/default/{rendition.item}.{rendition.extension}"


def place_of(path: str) -> Place | None:
    """The reverse of `path_of`."""
    found = re.fullmatch(r"/cdn/([^/]+)/(\w+)/default/(\d+)\.\w+", path)
    return Place(unquote(found[1]), found[2], int(found[3])) if found else None


def refusal(status: int) -> Reply:
    """An error as S3 words it."""
    code = _CODES.get(status, "InternalError")
    body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{code}</Message></Error>'
    return Reply(status=status, headers={"Content-Type": "application/xml"}, body=body.encode())


class Cdn:
    """Answers requests for files."""

    def __init__(self, catalogue: Catalogue, signer: Signer, faults: FaultBook, digests: Digests) -> None:
        self._catalogue = catalogue
        self._signer = signer
        self._faults = faults
        self._digests = digests

    def etag(self, medium: Medium, content: Content) -> str:
        """The quoted ETag: the multipart one of the medium's part size, or one that tells nothing."""
        if medium.etag_part_bytes is None:
            return f'"{hashlib.sha256(repr(content).encode()).hexdigest()[:32]}"'
        return f'"{self._digests.multipart_etag(content, medium.etag_part_bytes)}"'

    def answer(self, request: Request, seen: Callable[[list[Fault]], None]) -> Reply:
        """Answer one GET or HEAD; `seen` is told the faults that struck."""
        if request.header("Authorization") is not None:
            return refusal(400)
        if request.method not in ("GET", "HEAD") or not self._signer.good(request):
            return refusal(403)
        place = place_of(request.path)
        found = self._find(place) if place else None
        if place is None or found is None:
            return refusal(404)
        medium, rendition = found
        signature = request.query["Signature"]
        served = self._signer.served(signature)
        start, end = wanted_range(request.header("Range"), rendition.content.size) or (0, rendition.content.size)
        struck = self._faults.strike(
            Occasion(
                endpoint=Endpoint.CDN,
                method=request.method,
                media_id=place.media_id,
                item=place.item,
                label=place.label,
                start=start,
                end=end,
                served=served,
            )
        )
        seen(struck)
        otherwise = answered_otherwise(struck, request, lambda status: self._plain(status, rendition.content))
        if otherwise is not None:
            return slowed(otherwise, struck)
        cut = Cut(None, "cut")
        for fault in struck:
            if isinstance(fault, Replace):
                content = fault.content or _other(rendition.content, fault.size_delta)
                self._catalogue.replace_content(place.media_id, place.label, place.item, content)
                if start < fault.at_bytes:
                    cut = Cut(fault.at_bytes, "cut")
                else:
                    rendition = rendition._replace(content=content)
        if any(isinstance(fault, ExpireAfter) and served >= fault.served_bytes for fault in struck):
            self._signer.spend(signature)
            return refusal(403)
        reply = self._serve(request, medium, rendition, struck, cut)
        if reply.stream is not None:
            reply.sent = lambda sent: self._signer.count(signature, sent)
        return slowed(reply, struck)

    def _find(self, place: Place) -> tuple[Medium, Rendition] | None:
        medium = self._catalogue.get(place.media_id)
        if medium is None or medium.gone:
            return None
        for rendition in medium.renditions():
            if (rendition.label, rendition.item) == (place.label, place.item):
                return medium, rendition
        return None

    def _plain(self, status: int, content: Content) -> Reply:
        reply = refusal(status)
        if status == 416:
            reply.headers["Content-Range"] = f"bytes */{content.size}"
        return reply

    def _serve(self, request: Request, medium: Medium, rendition: Rendition, struck: list[Fault], cut: Cut) -> Reply:
        content = rendition.content
        etag = self.etag(medium, content)
        # Another original has another date, but the same one whenever it is asked for.
        modified = created_at(medium) + int(hashlib.sha256(etag.encode()).hexdigest()[:4], 16) % 3600
        headers = {
            "Content-Type": _CONTENT_TYPES.get(rendition.extension, "binary/octet-stream"),
            "ETag": etag,
            "Last-Modified": formatdate(modified, usegmt=True),
            "Accept-Ranges": "bytes",
        }
        if disposition := request.query.get("response-content-disposition"):
            headers["Content-Disposition"] = disposition
        if (wanted := request.header("If-Match")) is not None and wanted != "*" and etag not in _etags(wanted):
            return refusal(412)
        asked = None
        if _range_counts(request, etag, modified, struck):
            asked = wanted_range(request.header("Range"), content.size)
        start, end = asked or (0, content.size)
        if asked is not None:
            if start >= content.size:
                return self._plain(416, content)
            start, end, headers["Content-Range"] = _told_range(start, end, content.size, struck)
        reply = Reply(status=200 if asked is None else 206, headers=headers, stream=(), length=end - start)
        if request.method == "GET":
            self._fill(reply, content, (start, end), request.query["Signature"], struck, cut)
        return reply

    def _fill(
        self, reply: Reply, content: Content, span: tuple[int, int], signature: str, struck: list[Fault], cut: Cut
    ) -> None:
        """Put the bytes of `span` into the reply, as far and as the faults let them through."""
        start, end = span
        for fault in struck:
            if isinstance(fault, Corrupt):
                content = Flipped(content, (fault.at_bytes,))
            else:
                cut = self._cut(fault, start, signature) or cut
        if cut.at_bytes is not None and cut.at_bytes < end:
            reply.ending = cut.ending
            end = max(start, cut.at_bytes)
            if cut.ending == "whole":
                reply.length = end - start
        reply.stream = content.read(start, end)
        if any(isinstance(fault, Gzip) for fault in struck):
            reply.headers["Content-Encoding"] = "gzip"
            reply.stream, reply.length = _gzipped(reply.stream), None
        if any(isinstance(fault, NoLength) for fault in struck):
            reply.length = None

    def _cut(self, fault: Fault, start: int, signature: str) -> Cut | None:
        match fault:
            case Drop():
                return Cut(fault.at_bytes, "reset")
            case Truncate():
                return Cut(fault.at_bytes, "whole" if fault.honest else "cut")
            case ExpireAfter():
                left = fault.served_bytes - self._signer.served(signature)
                self._signer.spend(signature)
                return Cut(start + max(0, left), "cut") if fault.cut else None
        return None


def _range_counts(request: Request, etag: str, modified: float, struck: list[Fault]) -> bool:
    """Whether the request's range is honoured: an If-Range must name the file as it is now."""
    condition = request.header("If-Range")
    same = condition is None or condition == etag or _same_date(condition, modified)
    return same and not any(isinstance(fault, IgnoreRange) for fault in struck)


def _told_range(start: int, end: int, size: int, struck: list[Fault]) -> tuple[int, int, str]:
    """The range that is sent, and its Content-Range."""
    told = size
    for fault in struck:
        if isinstance(fault, WrongRange):
            start = min(start + fault.shift, size - 1)
            end = max(start + 1, min(end + fault.shift, size))
            told = size + fault.total_delta
    return start, end, f"bytes {start}-{end - 1}/{told}"


def wanted_range(header: str | None, size: int) -> tuple[int, int] | None:
    """The half-open range that a Range header wants of `size` bytes; None for the whole (also where S3 ignores it).

    A range that begins at or past the end comes back as (size, size): it can't be satisfied.
    """
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", header.strip()) if header else None
    if found is None or found[1] == found[2] == "":
        return None
    if found[1] == "":
        last = int(found[2])
        return (max(0, size - last), size) if last else (size, size)
    start = int(found[1])
    end = int(found[2]) + 1 if found[2] else size
    if end <= start and found[2]:
        return None
    return (size, size) if start >= size else (start, min(end, size))


def _etags(header: str) -> list[str]:
    return [one.strip() for one in header.split(",")]


def _same_date(header: str, modified: float) -> bool:
    try:
        return int(parsedate_to_datetime(header).timestamp()) == int(modified)
    except ValueError:
        return False


def _other(content: Content, size_delta: int) -> Content:
    seed = hashlib.sha256(f"in the place of {content!r}".encode()).hexdigest()
    return Generated(max(0, content.size + size_delta), seed)


def _gzipped(pieces: Iterator[Piece]) -> Iterator[Piece]:
    squeeze = zlib.compressobj(1, wbits=31)
    for piece in pieces:
        if out := squeeze.compress(piece):
            yield out
    yield squeeze.flush()


def digest_row(cdn: Cdn, digests: Digests, medium: Medium, number: int, rendition: Rendition) -> dict[str, Any]:
    """One original as the control API tells of it; `item` counts all originals of the medium from 1."""
    return {
        "item": number,
        "label": rendition.label,
        "filename": rendition.filename,
        "size": rendition.content.size,
        "sha256": digests.sha256(rendition.content),
        "etag": cdn.etag(medium, rendition.content),
    }
