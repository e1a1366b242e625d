"""Small real pictures: a JPEG of coloured squares, and an uncompressed TIFF in the place of a camera's RAW file."""

from __future__ import annotations

import functools
import hashlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.gopro_cloud.contents import Generated, Piece

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIDE = 40  # squares of 8 by 8 pixels, across and down
_DC_COUNTS = bytes([0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0])


@dataclass(frozen=True)
class Photograph:
    """A JPEG of `size` bytes whose picture follows from `title`; the camera's notes in it fill it up."""

    title: str
    size: int = 1_500_000

    def read(self, start: int, end: int) -> Iterator[Piece]:
        if piece := _jpeg(self.title, self.size)[start:end]:
            yield piece

    def to_json(self) -> dict[str, Any]:
        return {"kind": "photograph", "title": self.title, "size": self.size}


@dataclass(frozen=True)
class RawPhotograph:
    """A TIFF of `rows` lines of 1,024 grey pixels of 16 bits."""

    title: str
    rows: int = 1024

    @property
    def size(self) -> int:
        return len(_tiff_head(self.rows)) + self.rows * 2048

    def read(self, start: int, end: int) -> Iterator[Piece]:
        head = _tiff_head(self.rows)
        if start < min(end, len(head)):
            yield head[start:end]
        if end > len(head):
            noise = Generated(self.rows * 2048, f"raw {self.title}")
            yield from noise.read(max(0, start - len(head)), end - len(head))

    def to_json(self) -> dict[str, Any]:
        return {"kind": "raw_photograph", "title": self.title, "rows": self.rows}


def _tiff_head(rows: int) -> bytes:
    tags = [
        (256, 1024), (257, rows), (258, 16), (259, 1), (262, 1), (273, 8 + 2 + 9 * 12 + 4), (277, 1), (278, rows),
        (279, rows * 2048),
    ]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\x00" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


@functools.lru_cache(maxsize=16)
def _jpeg(title: str, size: int) -> bytes:
    start = b"\xff\xd8" + _segment(0xE0, b"JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00")
    pixels = _SIDE * 8
    frame = struct.pack(">BHHB", 8, pixels, pixels, 3) + bytes([1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0])
    picture = (
        _segment(0xDB, b"\x00" + bytes([8] * 64))
        + _segment(0xC0, frame)
        + _segment(0xC4, b"\x00" + _DC_COUNTS + bytes(range(12)))
        + _segment(0xC4, b"\x10" + bytes([1]) + bytes(15) + b"\x00")
        + _segment(0xDA, bytes([3, 1, 0, 2, 0, 3, 0, 0, 63, 0]))
        + _scan(title)
        + b"\xff\xd9"
    )
    notes = []
    missing = size - len(start) - len(picture)
    while missing > 0:
        # A comment takes at least its four bytes of header, so the last but one leaves room for the last.
        length = missing if missing <= 65_000 else min(60_000, missing - 4)
        if length < 4:
            raise ValueError(f"a photograph of {size} bytes can't be made")
        text = b"".join(Generated(length - 4, f"{title} {missing}").read(0, length - 4))
        # Simple readers look for markers, which begin with 0xFF, even within comments.
        notes.append(_segment(0xFE, text.replace(b"\xff", b"\xfe")))
        missing -= length
    if missing < 0:
        raise ValueError(f"a photograph needs at least {len(start) + len(picture) + 4} bytes")
    return start + b"".join(notes) + picture


def _scan(title: str) -> bytes:
    """One DC difference and an end-of-block a square and colour."""
    colour = hashlib.sha256(title.encode()).digest()
    codes, code = {}, 0
    symbol = 0
    for length, count in enumerate(_DC_COUNTS, start=1):
        for _ in range(count):
            codes[symbol] = format(code, f"0{length}b")
            code, symbol = code + 1, symbol + 1
        code <<= 1
    bits: list[str] = []
    last = [0, 0, 0]
    for row in range(_SIDE):
        for column in range(_SIDE):
            wave = (row * column * (1 + colour[0] % 5) + colour[1] * (row + column)) % 256
            for part, value in enumerate((wave - 128, colour[2] % 128 - 64 + row, colour[3] % 128 - 64 + column)):
                difference = value - last[part]
                last[part] = value
                length = abs(difference).bit_length()
                bits.append(codes[length])
                if length:
                    bits.append(format(difference if difference > 0 else difference + (1 << length) - 1, f"0{length}b"))
                bits.append("0")
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\x00")
