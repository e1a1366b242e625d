"""The CDN: the files behind signed URLs, as S3 behind CloudFront serves them."""

import itertools
import re
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ops.local.gopro_cloud.api import Target
from ops.local.gopro_cloud.contents import Content, Generated, Piece, multipart_etag, sha256
from ops.local.gopro_cloud.exchange import Reply, Request, answered_otherwise, slowed, text_reply
from ops.local.gopro_cloud.faults import (
    Corrupt,
    Drop,
    ExpireAfter,
    Fault,
    FaultBook,
    Gzip,
    IgnoreRange,
    NoLength,
    Occasion,
    OtherEtag,
    Replace,
    Truncate,
    WrongRange,
)
from ops.local.gopro_cloud.library import Catalogue, Medium, Rendition
from ops.local.gopro_cloud.signing import SignedUrl, Signer

_CONTENT_TYPES = {"mp4": "video/mp4", "jpg": "image/jpeg", "json": "application/json", "gpx": "application/gpx+xml"}
_CODES = {400: "InvalidArgument", 403: "AccessDenied", 404: "NoSuchKey", 412: "PreconditionFailed", 416: "InvalidRange"}


class Span(NamedTuple):
    """A part of a file, from `start` to, not including, `end`; `partial`: it is answered with 206."""

    start: int
    end: int
    partial: bool


def refusal(status: int) -> Reply:
    """Return an error as S3 words it."""
    code = _CODES.get(status, "InternalError")
    body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{code}</Message></Error>'
    return text_reply(status, "application/xml", body)


def etag_of(medium: Medium, content: Content) -> str:
    """Return the quoted ETag: a multipart one, or one that proves nothing."""
    if medium.etag_part_bytes is None:
        return f'"{sha256(content)[:32]}"'
    return f'"{multipart_etag(content, medium.etag_part_bytes)}"'


class Cdn:
    """Answers requests for files."""

    def __init__(self, catalogue: Catalogue, signer: Signer, faults: FaultBook) -> None:
        self._catalogue = catalogue
        self._signer = signer
        self._faults = faults
        self._edges = itertools.cycle("ab")

    def answer(self, request: Request, target: Target) -> Reply:
        """Answer one GET or HEAD."""
        if request.header("Authorization") is not None:
            return refusal(400)
        signed = self._signer.find(request)
        if signed is None:
            return refusal(403)
        medium = self._catalogue.get(target.media_id)
        renditions = [] if medium is None or medium.gone else medium.renditions()
        found = [one for one in renditions if (one.label, one.item) == (target.label, target.item)]
        if medium is None or not found:
            return refusal(404)
        span = _wanted(request.header("Range"), found[0].content.size)
        faults = self._faults.strike(
            Occasion("cdn", request.method, target.media_id, target.label, target.item, start=span.start, end=span.end)
        )
        reply = answered_otherwise(faults, request, refusal)
        reply = reply or self._serve(request, medium, found[0], span, signed, faults)
        return slowed(reply, faults, self._faults)

    def _etag(self, medium: Medium, content: Content, faults: list[Fault]) -> str:
        """Return the ETag header of this answer; empty for none."""
        etag = etag_of(medium, content)
        for fault in faults:
            if isinstance(fault, OtherEtag):
                by_edge = f'"{sha256(content)[:30]}-{next(self._edges)}"'
                return {"weak": f"W/{etag}", "none": "", "by_edge": by_edge}[fault.kind]
        return etag

    def _serve(
        self,
        request: Request,
        medium: Medium,
        rendition: Rendition,
        span: Span,
        signed: SignedUrl,
        faults: list[Fault],
    ) -> Reply:
        content = rendition.content
        etag = self._etag(medium, content, faults)
        # A weak validator matches nothing: If-Match compares strongly.
        if request.header("If-Match") not in (None, "*", etag if etag.startswith('"') else "nothing"):
            return refusal(412)
        start, end, partial = _answered(span, content.size, faults)
        if partial and start >= content.size:
            reply = refusal(416)
            reply.headers["Content-Range"] = f"bytes */{content.size}"
            return reply
        headers = {
            "Content-Type": _CONTENT_TYPES.get(rendition.extension, "binary/octet-stream"),
            "Content-Disposition": request.query["response-content-disposition"],
            **({"ETag": etag} if etag else {}),
            "Accept-Ranges": "bytes",
            **({"Content-Range": f"bytes {start}-{end - 1}/{content.size}"} if partial else {}),
        }
        reply = Reply(status=206 if partial else 200, headers=headers, length=end - start)
        for fault in faults:
            match fault:
                case Drop():
                    reply.ending, end = "reset", fault.at_bytes
                case Truncate():
                    end = fault.at_bytes
                    reply.ending = "whole" if fault.honest else "cut"
                    reply.length = end - start if fault.honest else reply.length
                case ExpireAfter():
                    reply.ending, end = "cut", fault.at_bytes
                    signed.spent = True
                case Replace():
                    reply.ending, end = "cut", fault.at_bytes
                    other = Generated(content.size + fault.size_delta, f"in the place of {content!r}")
                    self._catalogue.replace_original(medium.media_id, rendition.item, other)
        reply.pieces = content.read(start, end)
        _alter(reply, start, faults)
        return reply


def _wanted(header: str | None, size: int) -> Span:
    """Return the part that a Range header wants of `size` bytes; the whole where S3 ignores the header."""
    found = re.fullmatch(r"bytes=(\d+)-(\d*)", header or "")
    if found is None or (found[2] and int(found[2]) < int(found[1])):
        return Span(0, size, partial=False)
    return Span(int(found[1]), min(int(found[2] or size) + 1, size), partial=True)


def _answered(span: Span, size: int, faults: list[Fault]) -> Span:
    """Return the part that is sent, which faults make another than the wanted one."""
    for fault in faults:
        match fault:
            case IgnoreRange():
                return Span(0, size, partial=False)
            case WrongRange():
                return Span(span.start + 1, min(span.end + 1, size), partial=True)
    return span


def _alter(reply: Reply, start: int, faults: list[Fault]) -> None:
    """Change the body, which begins at byte `start` of the file, as the faults want it."""
    for fault in faults:
        match fault:
            case Corrupt():
                reply.pieces = _inverted(reply.pieces, fault.at_bytes - start)
            case Gzip():
                reply.headers["Content-Encoding"] = "gzip"
                reply.pieces, reply.length = _gzipped(reply.pieces), None
            case NoLength():
                reply.length = None


def _inverted(pieces: Iterable[Piece], place: int) -> Iterator[Piece]:
    """Yield the pieces with the byte at `place` inverted."""
    for piece in pieces:
        if 0 <= place < len(piece):
            wrong = bytearray(piece)
            wrong[place] ^= 0xFF
            yield bytes(wrong)
        else:
            yield piece
        place -= len(piece)


def _gzipped(pieces: Iterable[Piece]) -> Iterator[Piece]:
    squeeze = zlib.compressobj(1, wbits=31)
    for piece in pieces:
        yield squeeze.compress(piece)
    yield squeeze.flush()
