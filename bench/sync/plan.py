"""What is copied: how many media of which sizes."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bench.kit import LANE_BYTES_PER_SECOND, MIB
from bench.sync.results import Lane, Workload
from tests.gopro_cloud import Generated, Library, Medium, Series
from tests.gopro_cloud.faults import Throttle

LANES = Lane(count=5, bytes_per_second=LANE_BYTES_PER_SECOND)

_FIRST_CAPTURE = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The sizes of one run of the bench."""

    rounds: int  # media that each lane gets
    mean: int  # bytes of a medium, on average
    step: int  # bytes by which the media of the first round differ, and those of the last
    small: int  # bytes of each medium where growth is measured
    growth: tuple[tuple[int, int], ...]  # media of a library, and how many such libraries are synced; shortest first

    def sizes(self) -> Iterator[int]:
        """The sizes of the media that go through the lanes, in order of capture.

        Media of one size would keep the lanes in step for ever, which they never are: so those of the first round
        differ. Those of the last round make up for it, so that every lane carries the same and all end together:
        what is left of the ideal is then the system's doing, and not the luck of the last file.
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
        """The media for the lanes, and a CDN that gives every connection the speed of one lane."""
        media = tuple(_video(number, size) for number, size in enumerate(self.sizes()))
        return Library(media=media, faults=(Throttle(bytes_per_second=LANES.bytes_per_second, times=None),))

    def small_library(self, number: int, media: int) -> Library:
        """A library of small media that none of another number has."""
        first = _FIRST_CAPTURE + timedelta(days=30 * number)
        series = Series(count=media, prefix=f"6b{number:02x}", size=self.small, first_captured_at=_written(first))
        return Library(series=(series,))


FULL = Plan(rounds=4, mean=192 * MIB, step=32 * MIB, small=200_000, growth=((10, 3), (100, 3), (1000, 2)))
# Shows that everything works, and nothing about speed.
QUICK = Plan(rounds=2, mean=8 * MIB, step=MIB, small=200_000, growth=((5, 1), (10, 1)))


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
