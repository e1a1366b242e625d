"""What is measured: which file, from which source into which sink, by whom, in how much room."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.kit import FIRST_BYTE_MILLISECONDS, LANE_MEGABITS, MIB, SINK_DELAY_MILLISECONDS
from bench.measure import SmallFunction
from services.downloader.part_memory import part_memory_bytes

# Names of contestants, as every table has them.
OURS_WARM = "ours, warm"
OURS_COLD = "ours, cold"
RELAY = "C relay (floor)"
COPYURL = "rclone copyurl"
STREAMS = "rclone copyto, 8 streams"
NAIVE = "naive boto3"
NAIVE_WARM = "naive boto3, warm"
BY_DISK = "requests → /tmp → boto3"
CURL = "curl | aws s3 cp"
SINGLE_CONNECTION = (COPYURL, NAIVE, BY_DISK, CURL)

CONNECTIONS = 8
FUNCTION_MIB, SMALL_FUNCTION_MIB = 1024, 512  # memory of a function: the default, and a small one's
SMALL_CPU_SHARE = 0.29  # of a processor, which Lambda gives by the memory


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One transfer that contestants do in turn."""

    name: str
    title: str
    size: int  # bytes
    contestants: Sequence[str]
    part_memory: int  # bytes, for the parts that are in hand
    slow: bool = False  # both ends
    single_size: int | None = None  # bytes, for who has one connection: a smaller file takes as long as the larger
    within: SmallFunction | None = None
    most_rounds: int = 100

    def size_for(self, contestant: str) -> int:
        return self.single_size if self.single_size and contestant in SINGLE_CONNECTION else self.size


UNLIMITED, LANES, SMALL, MEMORY, CORRECTNESS = "A", "B", "C", "D", "E"


def scenarios(*, quick: bool) -> list[Scenario]:
    """All that are timed, with their full sizes or with such as show only that everything works."""
    scale = 8 if quick else 1
    return [
        Scenario(
            name=UNLIMITED,
            title="a source and an S3 as fast as this machine",
            size=1024 * MIB // scale,
            contestants=(OURS_WARM, OURS_COLD, RELAY, COPYURL, STREAMS, NAIVE, NAIVE_WARM, BY_DISK, CURL),
            part_memory=part_memory_bytes(FUNCTION_MIB),
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
            part_memory=part_memory_bytes(FUNCTION_MIB),
            slow=True,
            most_rounds=3,  # the clock of the source leaves little to chance
        ),
        Scenario(
            name=SMALL,
            title=f"a function with {SMALL_CPU_SHARE} of a processor and {SMALL_FUNCTION_MIB} MB",
            size=256 * MIB // scale,
            contestants=(OURS_WARM, OURS_COLD, COPYURL, NAIVE, NAIVE_WARM),
            part_memory=part_memory_bytes(SMALL_FUNCTION_MIB),
            within=SmallFunction(cpu_share=SMALL_CPU_SHARE, memory_bytes=SMALL_FUNCTION_MIB * MIB),
        ),
        Scenario(
            name=MEMORY,
            title="memory of a fresh process, with 8 parts of 8 MiB in hand",
            size=248 * MIB // scale,  # a larger file has larger parts
            contestants=(OURS_COLD,),
            part_memory=CONNECTIONS * 8 * MIB,
        ),
    ]
