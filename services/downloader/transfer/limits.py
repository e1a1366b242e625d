"""How a file is cut into parts, and how many of them are in hand at once."""

from dataclasses import dataclass

from services.downloader.transfer.origin import Version

MIB = 1 << 20
SMALLEST_PART = 5 * MIB  # S3's limit for every part but the last
_MOST_PARTS = 9_000  # S3 takes 10,000
# Part sizes that upload tools use. GoPro's own isn't published; 20 and 100 MiB have been seen.
_USUAL_PARTS = tuple(size * MIB for size in (5, 8, 10, 15, 16, 20, 25, 32, 50, 64, 100, 128, 256, 512))


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one file may take."""

    connections: int = 8  # to the origin
    memory_bytes: int = 256 * MIB  # for the parts in hand, all together

    def part_size(self, version: Version) -> int:
        """Bytes of each part but the last.

        An upload cut as the origin's was has the same ETag (md5 of the parts' md5s, and their number), which proves
        the copy without reading anything twice. `-N` bounds the origin's part size, and one of the usual ones may fit.
        A file that needs larger parts than the memory has room for gets them all the same, one at a time.
        """
        largest = max(SMALLEST_PART, self.memory_bytes // MIB * MIB)
        smallest = max(SMALLEST_PART, -(-version.size // _MOST_PARTS))
        if count := version.origin_parts:
            for size in _USUAL_PARTS:
                if smallest <= size <= largest and (count - 1) * size < version.size <= count * size:
                    return size
        default = 16 * MIB if version.size >= 256 * MIB else 8 * MIB
        return min(max(default, -(-smallest // MIB) * MIB), max(largest, smallest))

    def in_one(self, version: Version) -> bool:
        """Whether a file goes up in one request: it is no longer than a part, and neither was its origin cut."""
        return version.size <= self.part_size(version) and not version.origin_parts

    def parts_in_hand(self, part_size: int) -> int:
        """How many parts of this size may be in hand at once: one a connection, and some that are being sent."""
        wanted = self.connections + -(-self.connections // 4)
        return max(1, min(wanted, self.memory_bytes // part_size))
