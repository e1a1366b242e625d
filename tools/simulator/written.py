"""Nights written by hand: without faults, except those that a test plans."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tools.simulator.bus import Accepted
from tools.simulator.faults import Fault, Planned
from tools.simulator.gopro import EtagKind, Medium, make_file
from tools.simulator.scenario import Action, Options, quiet
from tools.simulator.world import Outcome, World

SYNC = "night"


def by_hand(sync_id: str, *, at: float = 0.0, **detail: Any) -> Action:
    """Return an operator's request for a sync, `at` seconds from the start."""
    return Action(at, "manual", sync_id, {"provider": "gopro", "sync_id": sync_id, **detail})


BY_HAND = by_hand(SYNC)
DAILY = Action(0.0, "daily")


def video(number: int, *, size: int = 23, seconds_per_byte: float = 0.001, etags: EtagKind = "parts") -> Medium:
    """Return a video of one file; a higher number is newer."""
    media_id = f"6a93{number:05d}"
    return Medium(
        id=media_id,
        type="Video",
        filename=f"GX01{number:04d}.MP4",
        captured_at=f"2026-02-10T10:{number % 60:02d}:00Z",
        created_at=f"2026-02-{1 + number // 60:02d}T11:{number % 60:02d}:00Z",
        shape="single",
        etags=etags,
        files=[make_file(media_id, "source/default/1", 1, size, 0, etags)],
        listed_size=size,
        seconds_per_byte=seconds_per_byte,
    )


def videos(count: int, **particulars: Any) -> list[Medium]:
    return [video(number, **particulars) for number in range(count)]


class Night:
    """A finished night, in which all invariants held."""

    def __init__(self, world: World, outcome: Outcome) -> None:
        self.world = world
        self.outcome = outcome

    @property
    def struck(self) -> list[Fault]:
        return [strike.fault for strike in self.outcome.strikes]

    def sync(self, sync_id: str = SYNC) -> Mapping[str, Any]:
        """Return the sync's record."""
        return next(record for record in self.syncs() if record["sync_id"] == sync_id)

    def syncs(self) -> Sequence[Mapping[str, Any]]:
        return [item for item in self.world.tables["Syncs"].plain() if item["record"] == "sync"]

    def summary(self, sync_id: str = SYNC) -> Mapping[str, Any]:
        summary: Mapping[str, Any] = self.sync(sync_id)["summary"]
        return summary

    def results(self, sync_id: str = SYNC) -> Mapping[str, str]:
        """Return the state of each medium in a sync, by media id."""
        return {media_id: medium["state"] for media_id, medium in self.world.media_of(sync_id).items()}

    def events(self, name: str) -> list[Accepted]:
        return self.world.events(name)

    def ids(self, name: str) -> list[str]:
        """Return the event ids of all events of this name, repetitions included."""
        return [str(event.read()["metadata"]["event_id"]) for event in self.events(name)]

    def data(self, name: str) -> list[dict[str, Any]]:
        return [event.read()["data"] for event in self.events(name)]

    def stored(self) -> Mapping[str, bytes]:
        """Return the originals in the bucket, by key."""
        return {key: found.body for key, found in self.world.s3.objects.items() if key.startswith("gopro/")}

    def rows(self, operation: str, subject: str = "") -> list[tuple[float, str, str]]:
        """Return the time, actor and outcome of each call of an operation."""
        rows = self.world.trace.rows
        return [(when, who, out) for when, who, did, about, out in rows if did == operation and subject in about]

    def fetched(self, media_id: str, *, since: float = 0.0) -> int:
        """Return how many bytes of the medium's files were requested from the CDN."""
        total = 0
        for when, _, did, about, _ in self.world.trace.rows:
            if did == "cdn.open" and about.startswith(media_id) and when > since:
                first, last = about.rpartition("bytes=")[2].split("-")
                total += int(last) + 1 - int(first)
        return total

    def state(self) -> Mapping[str, Any]:
        """Return the final state without fields that depend on times and repetitions."""
        passing = ("tried_at", "stored_at", "failed_at", "epoch", "version", "seconds", "late", "amended")
        told = ("slices", "ended_at", "listed_at", "full_walk_at", "sessions")
        announced = ("closed_at", "requested_at", "summary", "announcement", "quiet", "session_version")
        return {
            "objects": self.stored(),
            **{
                name: [
                    {field: value for field, value in item.items() if field not in (*passing, *told, *announced)}
                    for item in self.world.tables[name].plain()
                ]
                for name in ("Library", "Syncs")
            },
        }


def night(
    library: Sequence[Medium],
    *planned: Planned,
    seed: int = 0,
    actions: Sequence[Action] = (BY_HAND,),
    rates: Mapping[Fault, float] | None = None,
    **particulars: Any,
) -> Night:
    """Run a night and return it; the seed decides how long each call takes.

    Fails where an invariant is violated. `particulars` are fields of `Scenario`. No phases follow the end, unless
    `particulars` say so.
    """
    plan = quiet(
        library,
        seed=seed,
        actions=tuple(actions),
        rates=rates or {},
        planned=tuple(replace(one) for one in planned),
        **particulars,
    )
    world = World(plan, Options())
    outcome = world.run()
    assert outcome.violations == [], "\n".join([*outcome.trace.lines(), *map(str, outcome.violations)])
    return Night(world, outcome)


def nights(count: int, *planned: Planned, media: int = 6, **particulars: Any) -> Iterator[Night]:
    """Yield this many nights with the same library and faults, and different durations of calls."""
    for seed in range(count):
        yield night(videos(media), *planned, seed=seed, **particulars)
