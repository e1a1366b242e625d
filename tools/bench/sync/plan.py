"""The libraries that the bench copies: how many media of which sizes."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ops.local.gopro_cloud import Generated, Library, Medium, Series, Shape
from ops.local.gopro_cloud.faults import Delay, Throttle
from tools.bench.kit import LANE_BYTES_PER_SECOND, MIB
from tools.bench.sync.results import Lane, Workload

LANES = Lane(count=5, bytes_per_second=LANE_BYTES_PER_SECOND)

LATENCY_SECONDS = 0.05  # of every answer of the CDN to the time-lapse

_FIRST_CAPTURE = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The sizes of one run of the bench."""

    rounds: int  # media per lane
    mean: int  # bytes of a medium, on average
    step: int  # bytes by which media of the first round differ from each other, and those of the last
    small: int  # bytes of each medium in the libraries of the growth measurement
    growth: tuple[tuple[int, int], ...]  # media of a library, and how many such libraries are synced; shortest first
    frames: int  # photos of the time-lapse
    frame: int  # bytes of each

    def sizes(self) -> Iterator[int]:
        """Yield the sizes in bytes of the media that go through the lanes, in order of capture.

        With media of one size the lanes would stay in step, which never happens in practice, so the media of the first
        round differ. The last round balances the sums, so that every lane carries the same number of bytes and all end
        together: any gap to the ideal is then due to the system and not to the last file.
        """
        places = range(LANES.count)
        skew = [(place - LANES.count // 2) * self.step for place in places]
        yield from (self.mean + one for one in skew)
        yield from (self.mean for _ in range(self.rounds - 2) for _ in places)
        yield from (self.mean - one for one in skew)

    def workload(self) -> Workload:
        sizes = list(self.sizes())
        return Workload(media=len(sizes), bytes=sum(sizes), smallest=min(sizes), largest=max(sizes))

    def lanes_library(self) -> Library:
        """Return the media for the lanes, on a CDN that gives every connection the speed of one lane."""
        media = tuple(_video(number, size) for number, size in enumerate(self.sizes()))
        return Library(media=media, faults=(Throttle(bytes_per_second=LANES.bytes_per_second, times=None),))

    def time_lapse_library(self) -> Library:
        """Return one time-lapse, on a CDN that limits every connection and takes its time for every answer."""
        slow = Throttle(bytes_per_second=LANES.bytes_per_second, times=None)
        late = Delay(endpoint="cdn", seconds=LATENCY_SECONDS, times=None)
        contents = tuple(Generated(self.frame, f"frame {number}") for number in range(self.frames))
        medium = Medium(media_id="6c930001", shape=Shape.BURST, contents=contents, filename="GOPR0001.JPG")
        return Library(media=(medium,), faults=(slow, late))

    def small_library(self, number: int, media: int) -> Library:
        """Return a library of small media that no library of another number contains."""
        first = _FIRST_CAPTURE + timedelta(days=30 * number)
        series = Series(count=media, prefix=f"6b{number:02x}", size=self.small, first_captured_at=_written(first))
        return Library(series=(series,))


FULL = Plan(
    rounds=4, mean=192 * MIB, step=32 * MIB, small=200_000, growth=((10, 3), (100, 3), (1000, 2)), frames=300, frame=MIB
)
# Shows only that everything works, and nothing about speed.
QUICK = Plan(rounds=2, mean=8 * MIB, step=MIB, small=200_000, growth=((5, 1), (10, 1)), frames=12, frame=MIB)


def _video(number: int, size: int) -> Medium:
    media_id = f"6a93{number:020x}"
    return Medium(
        media_id=media_id,
        contents=(Generated(size, media_id),),
        filename=f"GX01{number:04}.MP4",
        captured_at=_written(_FIRST_CAPTURE + timedelta(minutes=number)),
    )


def _written(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
