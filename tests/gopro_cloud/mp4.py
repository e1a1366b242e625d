"""Small real films: MP4 with one H.264 track, written without an encoder.

Every macroblock is I_PCM (its samples stand in the stream as they are), a form each H.264 decoder must read. All
frames are equally long, so any range of a film of any length is made from the frames it touches alone.
"""

from __future__ import annotations

import functools
import hashlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

WIDTH, HEIGHT = 320, 240
COLUMNS, ROWS = WIDTH // 16, HEIGHT // 16
TIMESCALE = 90_000

# ue(25) = I_PCM in an I slice, then zero bits up to the byte; samples never are 0, so no start code can be emulated.
_MACROBLOCK_HEADER = b"\x0d\x00"
_WHITE = 235

# The seven segments of each digit, as the cells of a grid 3 wide and 5 high.
_DIGITS = (
    "111101101101111", "010110010010111", "111001111100111", "111001111001111", "101101111001001",
    "111100111001111", "111100111101111", "111001001001001", "111101111101111", "111101111001111",
)  # fmt: skip


@dataclass(frozen=True)
class Film:
    """A playable film: `title` gives its colours, `chapter` is shown big, and the frame's number runs below.

    A frame holds 115,806 bytes or so; `fps` frames make a second.
    """

    title: str
    frames: int
    chapter: int = 1
    fps: int = 24

    @property
    def size(self) -> int:
        return len(_head(self.frames, self.fps)) + self.frames * _FRAME_BYTES

    def read(self, start: int, end: int) -> Iterator[bytes]:
        end = min(end, self.size)
        head = _head(self.frames, self.fps)
        if start < min(end, len(head)):
            yield head[start:end]
            start = len(head)
        while start < end:
            index, inside = divmod(start - len(head), _FRAME_BYTES)
            piece = _frame(self.title, self.chapter, index)[inside : inside + end - start]
            yield piece
            start += len(piece)

    def to_json(self) -> dict[str, Any]:
        return {"kind": "film", "title": self.title, "frames": self.frames, "chapter": self.chapter, "fps": self.fps}


class _Bits:
    """Writes the bit fields of H.264's parameter sets and slice headers."""

    def __init__(self) -> None:
        self.text = ""

    def u(self, width: int, value: int) -> _Bits:
        self.text += format(value, f"0{width}b")
        return self

    def ue(self, value: int) -> _Bits:
        """Exponential Golomb, unsigned."""
        digits = format(value + 1, "b")
        self.text += "0" * (len(digits) - 1) + digits
        return self

    def to_bytes(self) -> bytes:
        """With zero bits up to the byte."""
        padded = self.text + "0" * (-len(self.text) % 8)
        return int(padded, 2).to_bytes(len(padded) // 8, "big")

    def closed(self) -> bytes:
        """With the stop bit that ends a parameter set."""
        return self.u(1, 1).to_bytes()


def _sequence_parameters() -> bytes:
    bits = _Bits().u(8, 66).u(8, 0xC0).u(8, 40)  # constrained baseline, level 4
    bits.ue(0).ue(0).ue(2).ue(1).u(1, 0)  # its id, 4-bit frame numbers, display order = coded order, one reference
    bits.ue(COLUMNS - 1).ue(ROWS - 1).u(1, 1).u(1, 1).u(1, 0).u(1, 0)  # size; frames only, no cropping, no VUI
    return b"\x67" + bits.closed()


def _picture_parameters() -> bytes:
    bits = _Bits().ue(0).ue(0).u(1, 0).u(1, 0)  # ids, CAVLC, no bottom-field order
    bits.ue(0).ue(0).ue(0).u(1, 0).u(2, 0)  # one slice group, one reference each, no weighting
    bits.ue(0).ue(0).ue(0).u(1, 1).u(1, 0).u(1, 0)  # quantisers; deblocking is told per slice
    return b"\x68" + bits.closed()


def _slice_start(index: int) -> bytes:
    """The slice header of frame `index` and the first macroblock's type."""
    bits = _Bits().ue(0).ue(7).ue(0).u(4, 0)  # first macroblock, I slice, parameter set, frame number
    bits.ue(1 + index % 2)  # neighbouring IDR pictures need different ids; 1 and 2 are equally long
    bits.u(1, 0).u(1, 0).ue(0).ue(1)  # reference marking, quantiser, no deblocking
    return b"\x65" + bits.ue(25).to_bytes()


_FRAME_BYTES = 4 + len(_slice_start(0)) + COLUMNS * ROWS * (2 + 384) - 2 + 1


@functools.lru_cache(maxsize=4096)
def _macroblock(luma: int, blue: int, red: int) -> bytes:
    return _MACROBLOCK_HEADER + bytes([luma]) * 256 + bytes([blue]) * 64 + bytes([red]) * 64


def _digit_cells(digit: int, column: int, row: int) -> Iterator[tuple[int, int]]:
    for place, lit in enumerate(_DIGITS[digit]):
        if lit == "1":
            yield column + place % 3, row + place // 3


@functools.lru_cache(maxsize=64)
def _frame(title: str, chapter: int, index: int) -> bytes:
    colour = hashlib.sha256(f"{title}/{chapter}".encode()).digest()
    blue, red = 40 + colour[0] % 176, 40 + colour[1] % 176
    lit = set(_digit_cells(chapter // 10 % 10, 6, 1)) | set(_digit_cells(chapter % 10, 11, 1))
    for place in range(4):
        lit.update(_digit_cells(index // 10 ** (3 - place) % 10, 2 + 4 * place, 8))
    blocks = []
    for row in range(ROWS):
        for column in range(COLUMNS):
            if (column, row) in lit:
                blocks.append(_macroblock(_WHITE, 128, 128))
            else:
                wave = (column * 5 + row * 3 + index * 4 + colour[2]) % 128
                blocks.append(_macroblock(32 + min(wave, 127 - wave) * 2, blue, red))
    body = _slice_start(index) + b"".join(blocks)[len(_MACROBLOCK_HEADER) :] + b"\x80"
    return struct.pack(">I", len(body)) + body


def _box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _full_box(kind: bytes, flags: int, *parts: bytes) -> bytes:
    return _box(kind, struct.pack(">I", flags), *parts)


_MATRIX = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)


@functools.lru_cache(maxsize=64)
def _head(frames: int, fps: int) -> bytes:
    """Everything before the first frame: `ftyp`, `moov` and the header of `mdat`."""
    ftyp = _box(b"ftyp", b"isom", struct.pack(">I", 0x200), b"isomiso2avc1mp41")
    # The offset of the first frame stands inside the box whose length decides it; that length never changes.
    moov = _moov(frames, fps, first_frame=0)
    moov = _moov(frames, fps, first_frame=len(ftyp) + len(moov) + 8)
    return ftyp + moov + struct.pack(">I4s", 8 + frames * _FRAME_BYTES, b"mdat")


def _moov(frames: int, fps: int, *, first_frame: int) -> bytes:
    per_frame = TIMESCALE // fps
    duration = frames * per_frame
    sps, pps = _sequence_parameters(), _picture_parameters()
    avcc = _box(
        b"avcC",
        b"\x01" + sps[1:4] + b"\xff\xe1" + struct.pack(">H", len(sps)) + sps,
        b"\x01" + struct.pack(">H", len(pps)) + pps,
    )
    avc1 = _box(
        b"avc1",
        bytes(6) + struct.pack(">H", 1) + bytes(16) + struct.pack(">HHIIIH", WIDTH, HEIGHT, 72 << 16, 72 << 16, 0, 1),
        bytes(32) + struct.pack(">Hh", 24, -1),
        avcc,
    )
    stbl = _box(
        b"stbl",
        _full_box(b"stsd", 0, struct.pack(">I", 1), avc1),
        _full_box(b"stts", 0, struct.pack(">III", 1, frames, per_frame)),
        _full_box(b"stsc", 0, struct.pack(">IIII", 1, 1, frames, 1)),
        _full_box(b"stsz", 0, struct.pack(">II", _FRAME_BYTES, frames)),
        _full_box(b"stco", 0, struct.pack(">II", 1, first_frame)),
    )
    minf = _box(
        b"minf",
        _full_box(b"vmhd", 1, bytes(8)),
        _box(b"dinf", _full_box(b"dref", 0, struct.pack(">I", 1), _full_box(b"url ", 1))),
        stbl,
    )
    mdia = _box(
        b"mdia",
        _full_box(b"mdhd", 0, struct.pack(">IIIIHH", 0, 0, TIMESCALE, duration, 0x55C4, 0)),
        _full_box(b"hdlr", 0, bytes(4) + b"vide" + bytes(12) + b"Film\x00"),
        minf,
    )
    size = struct.pack(">II", WIDTH << 16, HEIGHT << 16)
    tkhd = _full_box(b"tkhd", 3, struct.pack(">IIIII", 0, 0, 1, 0, duration), bytes(16), _MATRIX, size)
    times = struct.pack(">IIII", 0, 0, TIMESCALE, duration)
    mvhd = _full_box(b"mvhd", 0, times, struct.pack(">IH", 0x10000, 0x100), bytes(10), _MATRIX, bytes(24), b"\0\0\0\2")
    return _box(b"moov", mvhd, _box(b"trak", tkhd, mdia))
