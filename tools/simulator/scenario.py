"""The scenario of a seed: a library, some syncs, and faults."""

import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo

from tools.simulator.faults import Fault, Planned
from tools.simulator.field import CASES, CHANGES
from tools.simulator.gopro import CANARY, EtagKind, File, Medium, Shape, make_file
from tools.simulator.s3 import Again
from tools.simulator.wiring import wires

MINUTE, HOUR = 60.0, 3600.0
_CASES_AMONG_FAULTS = 0.2
# Numbers of media that are added between two nights.
_OVERNIGHT, _BELOW_THE_NEWEST = 150, 250
_OF_A_FILE = (Fault.BAD_FILE, Fault.EMPTY_FILE)
Access = Literal["both", "refresh", "password", "pasted", "wrong", "empty"]

# On these dates the local time 02:00 in Europe exists once, not at all, and twice.
_NIGHTS = (date(2026, 3, 10), date(2026, 3, 29), date(2026, 10, 25))


@dataclass(frozen=True)
class Action:
    """An action at a moment of its own, in seconds from the start."""

    at: float
    kind: Literal[
        "daily",
        "catch-up",
        "manual",
        "add",
        "remove",
        "grow",
        "ready",
        "replace",
        "revoke",
        "redeploy",
        "cancel",
        "poison",
        "redrive",
        "case",
    ]
    sync_id: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)
    number: int = 0  # number of the medium; of a case from the field also the seed of its particulars
    fault: Fault | None = None  # if the action is a fault


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A library, what is asked for, and what goes wrong. By default nothing does, and nothing follows the end."""

    seed: int = 0
    start: float
    library: tuple[Medium, ...]
    actions: tuple[Action, ...]
    rates: Mapping[Fault, float] = field(default_factory=dict)
    most_strikes: int = 1_000
    faults_until: float = 0.0  # seconds from the start
    outages: tuple[tuple[float, float], ...] = ()
    access: Access = "both"
    lifetime: int = 86_400
    url_seconds: float = 3600.0  # lifetime of a signed URL
    rotates: bool = True
    password_works: bool = True
    skew: float = 0.0
    settings: Mapping[str, str] = field(default_factory=dict)  # the functions', where they differ from the template's
    page_size: int = 200
    old_handles_work: bool = False
    listing_granted: bool = False
    second_complete: Again = "gone"
    foreign_fields: bool = False  # whether events carry fields that this version doesn't know
    redrive: bool = False
    abort_before_redrive: bool = False
    replay: bool = False
    another_night: bool = False
    nights_later: int = 1  # when that other night is
    overnight: tuple[Action, ...] = ()  # changes of the library, a minute before it
    late_faults: bool = False  # whether faults also strike after the end, for example while dead letters are redriven
    name: str = "written"  # or "calm", "field", "one fault", "mixed" for a scenario of a seed
    planned: tuple[Planned, ...] = ()

    def timed_faults(self) -> Mapping[Fault, int]:
        """Return how often each scheduled fault happens."""
        counts = Counter(action.fault for action in self.actions if action.fault)
        return {**counts, Fault.OUTAGE: len(self.outages), Fault.CLOCK_SKEW: int(self.skew > 0)}


@dataclass(frozen=True)
class Options:
    """Reductions of a scenario, to find the smallest one that still fails."""

    only: frozenset[str] | None = None  # the only opportunities at which faults may strike
    media: int | None = None
    without: frozenset[str] = frozenset()  # faults, and phases after the end: "redrive", "replay", "another night"
    actions: frozenset[int] | None = None  # numbers of the actions to keep

    @classmethod
    def read(cls, text: str) -> "Options":
        """Read options from what `text` returns."""
        given = json.loads(text) if text else {}
        return cls(
            only=frozenset(given["only"]) if "only" in given else None,
            media=given.get("media"),
            without=frozenset(given.get("without", ())),
            actions=frozenset(given["actions"]) if "actions" in given else None,
        )

    def text(self) -> str:
        """Return the options as the command line takes them; empty where there are none."""
        given = {
            "only": None if self.only is None else sorted(self.only),
            "media": self.media,
            "without": sorted(self.without) or None,
            "actions": None if self.actions is None else sorted(self.actions),
        }
        given = {name: value for name, value in given.items() if value is not None}
        return json.dumps(given) if given else ""

    def apply(self, scenario: Scenario) -> Scenario:
        """Return the scenario with only what these options leave of it."""
        rates = {fault: rate for fault, rate in scenario.rates.items() if fault not in self.without}
        kept = [
            action
            for number, action in enumerate(scenario.actions)
            if (self.actions is None or number in self.actions) and action.fault not in self.without
        ]
        return replace(
            scenario,
            rates=rates,
            actions=tuple(kept),
            library=scenario.library[: self.media],
            outages=() if Fault.OUTAGE in self.without else scenario.outages,
            skew=0.0 if Fault.CLOCK_SKEW in self.without else scenario.skew,
            redrive=scenario.redrive and "redrive" not in self.without,
            replay=scenario.replay and "replay" not in self.without,
            another_night=scenario.another_night and "another night" not in self.without,
        )


def scenario(seed: int) -> Scenario:
    """Return the scenario of a seed."""
    chance = random.Random(seed * 7919 + 17)
    kind = chance.random()
    name = "calm" if kind < 0.18 else "field" if kind < 0.33 else "one fault" if kind < 0.6 else "mixed"
    rates, timed = _faults(chance, name)
    night = _Night(chance.choices(_NIGHTS, (8, 1, 1))[0])
    window = chance.choice((10 * MINUTE, 30 * MINUTE, 2 * HOUR)) if name not in ("calm", "field") else 0.0
    library = tuple(_medium(chance, number) for number in range(_library_size(chance)))
    access: Access = chance.choices(("both", "refresh", "password", "pasted", "wrong", "empty"), (50, 25, 15, 6, 3, 1))[
        0
    ]
    syncs = _syncs(chance, night)
    # Randoms of their own: the seeds keep what else happens in them.
    cancel = _cancel(random.Random(seed * 104_729 + 5), syncs, night)
    walks = random.Random(seed * 15_485_863 + 3)
    actions = [*syncs, *cancel, *_timed(chance, timed, len(library), window)]
    if name == "field" or (name != "calm" and chance.random() < _CASES_AMONG_FAULTS):
        actions += _cases(chance, library)
    return Scenario(
        seed=seed,
        start=night.begins,
        library=library,
        actions=tuple(sorted(actions, key=lambda action: action.at)),
        rates=rates,
        most_strikes=chance.choice((1, 3, 8, 20, 60)),
        faults_until=window,
        outages=tuple(
            (begin, begin + chance.choice((20.0, 250.0, 700.0, 2000.0)))
            for begin in [chance.random() * min(window, 20 * MINUTE)]
            if Fault.OUTAGE in timed
        ),
        access=access,
        lifetime=chance.choices((86_400, 3600, 600), (6, 3, 2))[0],
        url_seconds=chance.choices((3600.0, 60.0), (4, 1))[0],
        rotates=chance.random() < 0.7,
        password_works=chance.random() < 0.9,
        skew=chance.choice((1.0, 20.0, 300.0)) if Fault.CLOCK_SKEW in timed else 0.0,
        settings={**_settings(chance), **_walks(walks)},
        page_size=chance.choice((1, 2, 3, 200)),
        old_handles_work=chance.random() < 0.5,
        listing_granted=chance.random() < 0.5,
        second_complete=chance.choice(get_args(Again)),
        foreign_fields=Fault.REDEPLOYED in timed,
        redrive=chance.random() < 0.6,
        abort_before_redrive=chance.random() < 0.3,
        replay=chance.random() < 0.1,
        another_night=chance.random() < (0.6 if name == "field" else 0.15),
        nights_later=walks.choice((1, 1, 7)),
        overnight=_overnight(walks, len(library)),
        late_faults=chance.random() < 0.4,
        name=name,
    )


def _faults(chance: random.Random, name: str) -> tuple[Mapping[Fault, float], frozenset[Fault]]:
    if name in ("calm", "field"):
        return {}, frozenset()
    kinds = [fault for fault in Fault if not fault.startswith("field: ")]
    drawn = chance.choices(kinds, [f.weight for f in kinds], k=1 if name == "one fault" else chance.randint(2, 10))
    # In order of declaration, since the order of a set differs between processes.
    chosen = [fault for fault in Fault if fault in drawn]
    rates = {fault: fault.highest * chance.choice((0.1, 0.3, 1.0)) for fault in chosen if fault.highest}
    return rates, frozenset(fault for fault in chosen if not fault.highest)


def _library_size(chance: random.Random) -> int:
    return chance.choices((0, 1, 2, 3, 4, 6, 8, 25), (30, 100, 120, 120, 100, 50, 20, 2))[0]


def _medium(chance: random.Random, number: int) -> Medium:
    id_ = f"{chance.choice(('6a93', 'Zq7'))}{number:05d}"
    shape: Shape = chance.choices(("single", "chaptered", "burst", "raw", "edit"), (12, 2, 2, 1, 1))[0]
    etags: EtagKind = chance.choices(("parts", "plain", "none"), (5, 4, 1))[0]
    label = {"burst": "files", "edit": "baked_source"}.get(shape, "source")
    count = chance.randint(2, 3) if shape in ("chaptered", "burst") else 1
    files: list[File] = []
    for item in range(1, count + 1):
        size = chance.choices((1, 5, 8, 9, 16, 23, 40, 160), (9, 9, 9, 9, 9, 9, 9, 1))[0]
        files.append(make_file(id_, f"{label}/default/{item}", item, size, 0, etags))
    if shape == "raw":
        files.append(make_file(id_, "raw_photo/default/1", 1, 7, 0, etags))
    size = sum(len(file.body) for file in files)
    day = chance.randint(1, 28)
    return Medium(
        id=id_,
        type={"single": "Video", "chaptered": "Chaptered", "burst": "Burst", "raw": "Photo", "edit": "Edit"}[shape],
        filename=chance.choice(("GX010001.MP4", "GX010002.MP4", f"GX01{number:04d}.MP4", "")),
        captured_at=f"2026-02-{day:02d}T10:00:00Z",
        created_at=f"2026-02-{day:02d}T11:{number:02d}:00Z",
        shape=shape,
        etags=etags,
        files=files,
        listed_size=chance.choice((size, size, size + 3, None)),
        state=chance.choices(("ready", "transcoding"), (12, 1))[0],
        available=chance.random() < 0.95,
        seconds_per_byte=chance.choices((0.001, 1.0, 20.0, 70.0), (12, 2, 2, 1))[0],
        numbered=chance.random() < 0.8,
    )


def _settings(chance: random.Random) -> Mapping[str, str]:
    """Return settings so low that small libraries reach the limits."""
    settings: dict[str, str] = {}
    if chance.random() < 0.25:
        settings["PAGES_PER_SLICE"] = chance.choice(("1", "2"))
    if chance.random() < 0.15:
        settings["MAX_MEDIA_PER_SYNC"] = chance.choice(("1", "2"))
    if chance.random() < 0.3:
        settings["CONNECTIONS_PER_FILE"] = chance.choice(("1", "2", "3"))
    return settings


def _walks(chance: random.Random) -> Mapping[str, str]:
    """Return how often the whole library is walked: each time, or once a week and otherwise its newest media only."""
    return {"FULL_WALK_DAYS": "1"} if chance.random() < 1 / 4 else {}


def _overnight(chance: random.Random, media: int) -> tuple[Action, ...]:
    """Return changes of the library between two nights."""
    kinds = chance.choices(("add", "add below", "remove"), k=chance.choice((0, 0, 1, 1, 2)))
    return tuple(
        Action(0.0, "remove", number=chance.randrange(media) if media else 0)
        if kind == "remove"
        else Action(0.0, "add", number=(_OVERNIGHT if kind == "add" else _BELOW_THE_NEWEST) + number)
        for number, kind in enumerate(kinds)
    )


def quiet(library: Iterable[Medium], *, actions: Iterable[Action] = (), **particulars: Any) -> Scenario:
    """Return a scenario without a seed. `particulars`: fields that differ from the defaults."""
    begins = _Night(_NIGHTS[0]).begins
    return Scenario(start=begins, library=tuple(library), actions=tuple(actions), **particulars)


class _Night:
    """The times at which the schedules fire on a date."""

    def __init__(self, of: date) -> None:
        zone = ZoneInfo(wires().zone)
        (daily, self.has_daily), (catch_up, _) = (
            _moment(of, time_of_day, zone) for time_of_day in (wires().daily, wires().catch_up)
        )
        self.begins = daily
        self.date = of
        self.catch_up = catch_up - daily


def _moment(of: date, time_of_day: tuple[int, int], zone: ZoneInfo) -> tuple[float, bool]:
    """Return a local time, and whether it exists.

    EventBridge Scheduler skips times that daylight saving removes from a night.
    """
    local = datetime.combine(of, time(*time_of_day), zone)
    return local.timestamp(), local.astimezone(UTC).astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None)


def _syncs(chance: random.Random, night: _Night) -> list[Action]:
    actions: list[Action] = []
    if chance.random() < 0.6:
        if night.has_daily:
            actions.append(Action(0.0, "daily"))
            if chance.random() < 0.1:  # the schedule also delivers at least once
                actions.append(Action(chance.random() * 90, "daily"))
        if not night.has_daily or chance.random() < 0.3:
            actions.append(Action(night.catch_up, "catch-up"))
    for number in range(chance.choice((0, 1, 1, 2)) if actions else chance.choice((1, 1, 1, 2))):
        detail: dict[str, Any] = {"provider": "gopro"}
        if chance.random() < 0.1:
            detail["filters"] = {"types": ["Video", "Chaptered"]}
        if chance.random() < 0.02:
            detail["filters"] = {"types": ["Vidoe"]}
        sync_id = chance.choice(("", f"manual-{number}"))
        if sync_id:
            detail["sync_id"] = sync_id
        actions.append(
            Action(chance.choice((0.0, 1.0, 10.0, 300.0, 2000.0)) * chance.random(), "manual", sync_id, detail)
        )
    return actions


def _cancel(chance: random.Random, syncs: Iterable[Action], night: _Night) -> list[Action]:
    """Return the wish to cancel one of the syncs that have a name, in one scenario of eight."""
    scheduled = f"scheduled-{night.date}"
    named = [(sync.at, scheduled if sync.kind != "manual" else sync.sync_id) for sync in syncs]
    named = [(at, sync_id) for at, sync_id in named if sync_id]
    if not named or chance.random() > 1 / 8:
        return []
    requested_at, sync_id = chance.choice(named)
    at = requested_at + chance.choice((3.0, 6.0, 15.0, 60.0, 600.0)) * chance.random()
    return [Action(at, "cancel", sync_id) for _ in range(chance.choice((1, 1, 2)))]


def _timed(chance: random.Random, timed: frozenset[Fault], media: int, window: float) -> list[Action]:
    def moment() -> float:
        return chance.choice((5.0, 30.0, 200.0, window)) * chance.random()

    def some_medium() -> int:
        return chance.randrange(media) if media else 0

    actions: list[Action] = []
    if Fault.REVOKED in timed:
        actions += [Action(moment(), "revoke", fault=Fault.REVOKED) for _ in range(chance.randint(1, 3))]
    if Fault.LIBRARY_CHANGED in timed:
        for number in range(chance.randint(1, 4)):
            kind: Any = chance.choice(("add", "remove", "grow", "ready"))
            target = 100 + number if kind == "add" else some_medium()
            actions.append(Action(moment(), kind, number=target, fault=Fault.LIBRARY_CHANGED))
    if Fault.ORIGIN_CHANGED in timed:
        actions += [
            Action(moment(), "replace", number=some_medium(), fault=Fault.ORIGIN_CHANGED)
            for _ in range(chance.randint(1, 3))
        ]
    if Fault.POISON in timed:
        actions += [
            Action(moment(), "poison", number=chance.randrange(len(POISON)), fault=Fault.POISON)
            for _ in range(chance.randint(1, 4))
        ]
    if Fault.REDRIVEN in timed:
        actions += [
            Action(chance.choice((200.0, 2000.0, window)) * chance.random(), "redrive", fault=Fault.REDRIVEN)
            for _ in range(chance.randint(1, 3))
        ]
    if Fault.REDEPLOYED in timed:
        actions += [Action(moment(), "redeploy", fault=Fault.REDEPLOYED) for _ in range(chance.randint(1, 3))]
    return actions


def _cases(chance: random.Random, library: Sequence[Medium]) -> list[Action]:
    """Return some cases from the field, most of them from the beginning."""
    cases = chance.choices(CASES, k=chance.choice((1, 1, 2, 3)))
    of_several = [number for number, medium in enumerate(library) if len(medium.files) > 1]

    def some_medium(case: Fault) -> int:
        # A bad file has neighbours where there is a choice.
        return chance.choice((case in _OF_A_FILE and of_several) or range(max(1, len(library))))

    return [
        # Before the syncs of the same moment; a library that changes does so after a sync.
        Action(
            chance.choice((200.0, 2 * HOUR)) if case in CHANGES else chance.choice((-1.0, -1.0, -1.0, 20.0)),
            "case",
            number=some_medium(case),
            fault=case,
        )
        for case in cases
    ]


def added_medium(seed: int, number: int) -> Medium:
    """Return a medium that is added to the library during the run, as the newest unless its number says otherwise."""
    medium = _medium(random.Random(seed * 31 + number), number)
    month = 1 if number >= _BELOW_THE_NEWEST else 3
    medium.created_at = f"2026-{month:02d}-01T00:{number % 60:02d}:00Z"
    return medium


# Events that no service can read, or that request something impossible.
POISON: tuple[tuple[str, Any], ...] = (
    ("MediaDiscovered", {"metadata": {"version": 1, "sync_id": "poison-1"}, "data": {}}),
    ("MediaDownloaded", {"metadata": {"version": 9, "sync_id": "poison-2"}, "data": {"media_id": "x"}}),
    ("LibraryListed", {"metadata": {"version": 1, "sync_id": "poison-3"}, "data": {"listed": "many"}}),
    ("SessionAuthenticated", {"metadata": "poison-4"}),
    ("SessionRejected", {"metadata": {"version": 1, "sync_id": "poison/5"}, "data": {"session_version": 1}}),
    ("SyncRequested", {"provider": "poison-6"}),
    ("SyncRequested", {"metadata": {"version": 7}, "data": {"sync_id": "poison-7"}}),
)
WRONG_SECRET = f"{CANARY}wrong-secret"
