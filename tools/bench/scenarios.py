"""The scenarios: which file is copied, from which source into which sink, by whom, with how much memory."""

from collections.abc import Sequence
from dataclasses import dataclass

from infra.config import Settings
from services.downloader.settings import part_memory_bytes
from tools.bench.kit import FIRST_BYTE_MILLISECONDS, LANE_MEGABITS, MIB, SINK_DELAY_MILLISECONDS
from tools.bench.measure import SmallFunction
from tools.bench.names import (
    BY_DISK,
    CONNECTIONS,
    COPYURL,
    CURL,
    LANES,
    MEMORY,
    NAIVE,
    NAIVE_WARM,
    OURS_COLD,
    OURS_WARM,
    RELAY,
    SINGLE_CONNECTION,
    SMALL,
    STREAMS,
    UNLIMITED,
)

FUNCTION_MIB = Settings.downloader_memory_mb
PART_MEMORY = part_memory_bytes(FUNCTION_MIB)
CPU_SHARE = FUNCTION_MIB / 1769  # of a processor; Lambda assigns a whole one at 1,769 MB


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One transfer, which every contestant runs in turn."""

    name: str
    title: str
    size: int  # bytes
    contestants: Sequence[str]
    part_memory: int  # bytes, for the parts in memory
    slow: bool = False  # the source and the sink
    single_size: int | None = None  # bytes, for tools with one connection: a smaller file takes them as long
    within: SmallFunction | None = None
    begin: int = 2  # connections of ours, which finds how many more to use
    most_rounds: int = 100

    def size_for(self, contestant: str) -> int:
        return self.single_size if self.single_size and contestant in SINGLE_CONNECTION else self.size


def scenarios(*, quick: bool) -> list[Scenario]:
    """Return all timed scenarios. Quick ones have small files, which show only that everything works."""
    scale = 8 if quick else 1
    return [
        Scenario(
            name=UNLIMITED,
            title="a source and an S3 as fast as this machine",
            size=1024 * MIB // scale,
            contestants=(OURS_WARM, OURS_COLD, RELAY, COPYURL, STREAMS, NAIVE, NAIVE_WARM, BY_DISK, CURL),
            part_memory=PART_MEMORY,
        ),
        Scenario(
            name=LANES,
            title=(
                f"{LANE_MEGABITS} Mbit/s a connection, {FIRST_BYTE_MILLISECONDS} ms to the first byte, "
                f"{SINK_DELAY_MILLISECONDS} ms for each request to S3"
            ),
            size=512 * MIB // scale,
            single_size=64 * MIB // scale,
            contestants=(OURS_WARM, OURS_COLD, RELAY, STREAMS, *SINGLE_CONNECTION),
            part_memory=PART_MEMORY,
            slow=True,
            most_rounds=3,  # the source's fixed rate leaves little variance
        ),
        Scenario(
            name=SMALL,
            title=f"a function with {CPU_SHARE:.2f} of a processor and {FUNCTION_MIB} MB",
            size=256 * MIB // scale,
            contestants=(OURS_WARM, OURS_COLD, COPYURL, NAIVE, NAIVE_WARM),
            part_memory=PART_MEMORY,
            within=SmallFunction(cpu_share=CPU_SHARE, memory_bytes=FUNCTION_MIB * MIB),
        ),
        Scenario(
            name=MEMORY,
            title="memory of a fresh process, with 8 parts of 8 MiB in hand",
            size=248 * MIB // scale,  # a larger file would get larger parts
            contestants=(OURS_COLD,),
            part_memory=CONNECTIONS * 8 * MIB,
            begin=CONNECTIONS,  # which take the most memory
        ),
    ]
