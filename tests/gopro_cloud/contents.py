"""What the files of the library hold, and their digests.

Every content can be read from any offset at the price of the range alone, so nothing here keeps a file in memory.
"""

from __future__ import annotations

import base64
import hashlib
import random
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MIB = 1 << 20
Piece = bytes | memoryview


@runtime_checkable
class Content(Protocol):
    """The bytes of one file; hashable, so that its digests are worked out once."""

    @property
    def size(self) -> int:
        """Length in bytes."""

    def read(self, start: int, end: int) -> Iterator[Piece]:
        """The bytes from `start` up to, not including, `end`, in pieces of at most a few MiB."""

    def to_json(self) -> dict[str, Any]:
        """Its recipe: the form that `recipes.content_from_json` reads."""


_NOISE = memoryview(random.Random(20260930).randbytes(2 * MIB))
_MARK = hashlib.sha256().digest_size


@dataclass(frozen=True)
class Generated:
    """`size` bytes of noise made from `seed`; every MiB differs from every other, within a file and between files."""

    size: int
    seed: str = ""

    def read(self, start: int, end: int) -> Iterator[Piece]:
        end = min(end, self.size)
        while start < end:
            index, inside = divmod(start, MIB)
            block = index * MIB
            block_end = min(end, block + MIB)
            mark = hashlib.sha256(f"{self.seed}:{index}".encode()).digest()
            if inside < _MARK:
                piece = mark[inside : block_end - block]
                yield piece
                start += len(piece)
            if start < block_end:
                # A window into the noise at a place of its own: no byte is computed or copied while serving.
                shift = int.from_bytes(mark[:4], "big") % MIB
                yield _NOISE[shift + start - block : shift + block_end - block]
                start = block_end

    def to_json(self) -> dict[str, Any]:
        return {"kind": "generated", "size": self.size, "seed": self.seed}


@dataclass(frozen=True)
class Literal:
    """Exactly these bytes."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, start: int, end: int) -> Iterator[Piece]:
        if piece := self.data[start:end]:
            yield piece

    def to_json(self) -> dict[str, Any]:
        return {"kind": "literal", "base64": base64.b64encode(self.data).decode()}


@dataclass(frozen=True)
class LocalFile:
    """The bytes of a file on this machine, which must not change while it is served."""

    path: str

    @property
    def size(self) -> int:
        return Path(self.path).stat().st_size

    def read(self, start: int, end: int) -> Iterator[Piece]:
        with Path(self.path).open("rb") as file:
            file.seek(start)
            while start < end and (piece := file.read(min(MIB, end - start))):
                yield piece
                start += len(piece)

    def to_json(self) -> dict[str, Any]:
        return {"kind": "file", "path": self.path}


@dataclass(frozen=True)
class Flipped:
    """Another content of which the byte at each of `offsets` is inverted: the same length, the wrong bytes."""

    original: Content
    offsets: tuple[int, ...]

    @property
    def size(self) -> int:
        return self.original.size

    def read(self, start: int, end: int) -> Iterator[Piece]:
        for piece in self.original.read(start, end):
            wrong = [offset - start for offset in self.offsets if start <= offset < start + len(piece)]
            if wrong:
                changed = bytearray(piece)
                for offset in wrong:
                    changed[offset] ^= 0xFF
                yield bytes(changed)
            else:
                yield piece
            start += len(piece)

    def to_json(self) -> dict[str, Any]:
        return {"kind": "flipped", "original": self.original.to_json(), "offsets": list(self.offsets)}


class Digests:
    """Digests of contents, each worked out at most once (by one thread, the others wait for it)."""

    def __init__(self) -> None:
        self._known: dict[object, str] = {}
        self._busy: dict[object, threading.Lock] = {}
        self._lock = threading.Lock()

    def sha256(self, content: Content) -> str:
        """SHA-256 of the whole content, in hex."""
        return self._once(("sha256", content), lambda: _sha256(content))

    def multipart_etag(self, content: Content, part_bytes: int) -> str:
        """The ETag S3 gives to an upload in parts of `part_bytes`: MD5 of the parts' MD5s, then `-N`; unquoted."""
        return self._once((part_bytes, content), lambda: _multipart_etag(content, part_bytes))

    def _once(self, key: object, work_out: Callable[[], str]) -> str:
        with self._lock:
            if key in self._known:
                return self._known[key]
            busy = self._busy.setdefault(key, threading.Lock())
        with busy:
            if key not in self._known:
                self._known[key] = work_out()
        return self._known[key]


def _sha256(content: Content) -> str:
    digest = hashlib.sha256()
    for piece in content.read(0, content.size):
        digest.update(piece)
    return digest.hexdigest()


def _multipart_etag(content: Content, part_bytes: int) -> str:
    size = content.size
    starts = range(0, size, part_bytes) if size else range(1)
    parts = hashlib.md5(usedforsecurity=False)
    for start in starts:
        part = hashlib.md5(usedforsecurity=False)
        for piece in content.read(start, min(size, start + part_bytes)):
            part.update(piece)
        parts.update(part.digest())
    return f"{parts.hexdigest()}-{len(starts)}"
