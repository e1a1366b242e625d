"""The bytes of the library's files, and their digests.

Any range can be read at the price of that range alone, so no file is ever held in memory.
"""

import functools
import hashlib
import random
import re
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVarTuple

import msgspec

MIB = 1 << 20
SAMPLES = Path(__file__).parent / "samples"  # made by tools/samples.py

Piece = bytes | memoryview
_Arguments = TypeVarTuple("_Arguments")

_NOISE = memoryview(random.Random(20260930).randbytes(2 * MIB))  # noqa: S311  # must be the same every time


def snake_case(name: str) -> str:
    """Return the tag of a class in JSON: `LocalFile` is `local_file`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class _Content(msgspec.Struct, frozen=True, tag_field="kind", tag=snake_case, forbid_unknown_fields=True):
    """The bytes of one file: its `size`, and `read(start, end)`, which yields the half-open range in pieces."""


class Generated(_Content, frozen=True):
    """`size` bytes of noise made from `seed`; each MiB differs from all others, within a file and between files."""

    size: int
    seed: str = ""

    def read(self, start: int, end: int) -> Iterator[Piece]:
        end = min(end, self.size)
        while start < end:
            block, inside = divmod(start, MIB)
            length = min(end, (block + 1) * MIB) - start
            mark = hashlib.sha256(f"{self.seed}:{block}".encode()).digest()
            if inside < len(mark):
                piece: Piece = mark[inside : inside + length]
            else:
                # A window into the noise, at a place that the mark decides: nothing is computed or copied.
                shift = int.from_bytes(mark[:4], "big") % MIB + inside
                piece = _NOISE[shift : shift + length]
            yield piece
            start += len(piece)


class Literal(_Content, frozen=True):
    """Exactly these bytes; base64 in JSON."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, start: int, end: int) -> Iterator[Piece]:
        yield self.data[start:end]


class LocalFile(_Content, frozen=True):
    """A file of this machine, which must not change while it is served."""

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


class Sample(_Content, frozen=True):
    """A real video or picture of the `samples` folder, padded to `size` bytes with noise made from `seed`.

    The padding is an MP4 box of type `free`. Players skip it, and viewers ignore what follows a JPEG or TIFF.
    """

    name: str
    size: int
    seed: str = ""

    def __post_init__(self) -> None:
        if self.size < len(_sample_head(self.name, self.size)):
            raise ValueError(f"{self.name} has more than {self.size} bytes")

    def read(self, start: int, end: int) -> Iterator[Piece]:
        head = _sample_head(self.name, self.size)
        yield head[start:end]
        padding = Generated(self.size - len(head), self.seed)
        yield from padding.read(max(0, start - len(head)), end - len(head))


Content = Generated | Literal | LocalFile | Sample


@functools.cache
def _sample_head(name: str, size: int) -> bytes:
    """Return the sample and the header of the box that pads it."""
    known = sorted(path.name for path in SAMPLES.iterdir())
    if name not in known:
        raise ValueError(f"there is no sample {name!r}, only {', '.join(known)}")
    sample = (SAMPLES / name).read_bytes()
    return sample + struct.pack(">I4s", max(0, size - len(sample)), b"free")


def _once(work: Callable[[*_Arguments], str]) -> Callable[[*_Arguments], str]:
    """Cache as `functools.cache` does, but let other threads wait for a result that one is working out."""
    cached = functools.cache(work)
    locks: dict[object, threading.Lock] = {}

    @functools.wraps(work)
    def waiting(*arguments: *_Arguments) -> str:
        with locks.setdefault(arguments, threading.Lock()):
            return cached(*arguments)

    return waiting


@_once
def sha256(content: Content) -> str:
    """Return the SHA-256 of the whole content, in hex."""
    digest = hashlib.sha256()
    for piece in content.read(0, content.size):
        digest.update(piece)
    return digest.hexdigest()


@_once
def multipart_etag(content: Content, part_bytes: int) -> str:
    """Return the unquoted ETag that S3 gives to an upload in parts of `part_bytes`: MD5 of the parts' MD5s, `-N`."""
    starts = range(0, content.size, part_bytes) or range(1)
    parts = hashlib.md5(usedforsecurity=False)
    for start in starts:
        part = hashlib.md5(usedforsecurity=False)
        for piece in content.read(start, min(content.size, start + part_bytes)):
            part.update(piece)
        parts.update(part.digest())
    return f"{parts.hexdigest()}-{len(starts)}"
