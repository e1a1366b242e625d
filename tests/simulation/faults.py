"""What can go wrong, and how often it does in a run.

Each opportunity for a fault draws one number, whatever comes of it. Opportunities are counted operation by operation,
so they keep their names when others go. So a run can be repeated with just some of its faults: that is how a failing
one is made smaller.
"""

import random
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Fault(StrEnum):
    """Each is also the name under which it is counted."""

    # to the process that makes a call
    KILL_BEFORE = "killed before an effect"
    KILL_AFTER = "killed after an effect"
    FREEZE = "frozen for minutes, then goes on"
    # to a call of AWS
    REFUSED = "refused by AWS"
    LOST_ANSWER = "answer lost, sent again by the client"
    NO_ANSWER = "done, and the answer never came"
    SLOW = "slow answer"
    CONFLICT = "conflicting write"
    UNPROCESSED = "keys left unprocessed"
    PARTIAL = "entries of PutEvents refused"
    # to what is on its way
    DUPLICATE = "event delivered several times"
    LATE = "event delivered late"
    DROPPED = "event lost"
    TWICE = "message received twice"
    KEPT = "deleted message that comes back"
    # GoPro
    RATE_LIMITED = "GoPro: 429"
    SERVER_ERROR = "GoPro: 5xx"
    SILENT = "GoPro: no answer"
    BLOCKED = "GoPro: firewall"
    SHORT_PAGE = "GoPro: short page"
    REPEATED_ROW = "GoPro: row repeated"
    # its CDN
    TRUNCATED = "CDN: cut off"
    STALLED = "CDN: stalled"
    CDN_BUSY = "CDN: busy"
    CDN_FAILED = "CDN: 5xx"
    CDN_SILENT = "CDN: no answer"
    URL_EXPIRED = "CDN: URL expired"
    RANGE_IGNORED = "CDN: range ignored"
    WRONG_PAGE = "CDN: a web page"
    # what happens by itself
    OUTAGE = "GoPro: outage"
    REVOKED = "GoPro: session revoked"
    LIBRARY_CHANGED = "GoPro: library changed"
    ORIGIN_CHANGED = "GoPro: file replaced"
    REDEPLOYED = "functions redeployed"
    CLOCK_SKEW = "clocks that differ"
    POISON = "message that can't be read"
    REDRIVEN = "dead letters redriven in mid-sync"


PROCESS = (Fault.KILL_BEFORE, Fault.KILL_AFTER, Fault.FREEZE)
AWS = (*PROCESS, Fault.REFUSED, Fault.LOST_ANSWER, Fault.NO_ANSWER, Fault.SLOW)

# How often a fault strikes per opportunity, where it strikes most.
HIGHEST: Mapping[Fault, float] = {
    Fault.KILL_BEFORE: 0.05,
    Fault.KILL_AFTER: 0.05,
    Fault.FREEZE: 0.03,
    Fault.REFUSED: 0.06,
    Fault.LOST_ANSWER: 0.1,
    Fault.NO_ANSWER: 0.05,
    Fault.SLOW: 0.1,
    Fault.CONFLICT: 0.2,
    Fault.UNPROCESSED: 0.4,
    Fault.PARTIAL: 0.4,
    Fault.DUPLICATE: 0.6,
    Fault.LATE: 0.4,
    Fault.DROPPED: 0.06,
    Fault.TWICE: 0.3,
    Fault.KEPT: 0.3,
    Fault.RATE_LIMITED: 0.3,
    Fault.SERVER_ERROR: 0.3,
    Fault.SILENT: 0.2,
    Fault.BLOCKED: 0.1,
    Fault.SHORT_PAGE: 0.5,
    Fault.REPEATED_ROW: 0.3,
    Fault.TRUNCATED: 0.2,
    Fault.STALLED: 0.1,
    Fault.CDN_BUSY: 0.2,
    Fault.CDN_FAILED: 0.2,
    Fault.CDN_SILENT: 0.2,
    Fault.URL_EXPIRED: 0.3,
    Fault.RANGE_IGNORED: 0.5,
    Fault.WRONG_PAGE: 0.1,
}
# Those that a scenario puts at moments of their own.
TIMED = (
    Fault.OUTAGE,
    Fault.REVOKED,
    Fault.LIBRARY_CHANGED,
    Fault.ORIGIN_CHANGED,
    Fault.REDEPLOYED,
    Fault.CLOCK_SKEW,
    Fault.POISON,
    Fault.REDRIVEN,
)
# Those that are chosen more often than others, since they can strike anywhere.
WEIGHTS: Mapping[Fault, int] = {
    Fault.KILL_BEFORE: 5,
    Fault.KILL_AFTER: 5,
    Fault.FREEZE: 4,
    Fault.REFUSED: 3,
    Fault.LOST_ANSWER: 3,
    Fault.DUPLICATE: 4,
    Fault.LATE: 3,
    Fault.LIBRARY_CHANGED: 2,
    Fault.ORIGIN_CHANGED: 2,
    Fault.REVOKED: 2,
}

# What services seldom do, so that faults have to strike there more often to be tried at all: by how much.
SELDOM: Mapping[str, float] = {"s3.abort_multipart_upload": 5.0, "sqs.get_queue_attributes": 5.0}


def boundary(operation: str, fault: Fault) -> str:
    """What separates an effect from what came before it, or from what comes after it."""
    return f"{operation}: {fault}"


@dataclass(frozen=True)
class Strike:
    """A fault that happened: at which opportunity, such as "events.put_events 3", and which."""

    opportunity: str
    fault: Fault


@dataclass
class Planned:
    """A fault that is to strike at one opportunity, rather than by chance."""

    fault: Fault
    operation: str = ""  # what its name begins with
    subject: str = ""  # what it is about has this in it
    nth: int | None = None  # of the opportunities that fit, from 1; None: at each of them
    met: int = 0

    def strikes(self, kinds: tuple[Fault, ...], operation: str, subject: str) -> bool:
        if self.fault not in kinds or not operation.startswith(self.operation) or self.subject not in subject:
            return False
        self.met += 1
        return self.nth in (None, self.met)


@dataclass
class _Opportunities:
    """Those of one operation, in the order in which they come."""

    draw: random.Random
    thresholds: list[tuple[float, Fault]]
    count: int = 0


@dataclass
class Faults:
    """Decides at each opportunity."""

    seed: int
    rates: Mapping[Fault, float]
    most: int  # strikes in a run
    only: frozenset[str] | None = None  # where given, faults strike at no other opportunities
    planned: Sequence[Planned] = ()
    over: bool = False  # whether the time for faults has passed
    struck: list[Strike] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._at: dict[tuple[str, tuple[Fault, ...]], _Opportunities] = {}

    def strike(self, kinds: tuple[Fault, ...], operation: str, subject: str = "") -> Fault | None:
        """Which of these faults happens here, if one does."""
        for plan in self.planned:
            if plan.strikes(kinds, operation, subject):
                self.struck.append(Strike(f"{operation}, planned {len(self.struck) + 1}", plan.fault))
                return plan.fault
        at = self._at.get((operation, kinds))
        if at is None:
            at = self._at[operation, kinds] = self._opportunities(kinds, operation)
        if not at.thresholds:
            return None
        at.count += 1
        drawn = at.draw.random()
        if drawn >= at.thresholds[-1][0] or self.over or len(self.struck) >= self.most:
            return None
        opportunity = f"{operation} {at.count}"
        if self.only is not None and opportunity not in self.only:
            return None
        fault = next(kind for threshold, kind in at.thresholds if drawn < threshold)
        self.struck.append(Strike(opportunity, fault))
        return fault

    def _opportunities(self, kinds: tuple[Fault, ...], operation: str) -> _Opportunities:
        total, thresholds = 0.0, []
        for kind in kinds:
            if rate := self.rates.get(kind, 0.0) * SELDOM.get(operation, 1.0):
                total += rate
                thresholds.append((total, kind))
        return _Opportunities(random.Random(self._seed_of(operation)), thresholds)

    def boundaries(self) -> list[str]:
        """Where a process could have been killed: before and after each operation that the run came to."""
        operations = {operation for operation, kinds in self._at if Fault.KILL_BEFORE in kinds}
        return [
            boundary(operation, fault) for operation in operations for fault in (Fault.KILL_BEFORE, Fault.KILL_AFTER)
        ]

    def chance(self) -> random.Random:
        """For the particulars of the latest strike."""
        return random.Random(self._seed_of(self.struck[-1].opportunity))

    def _seed_of(self, name: str) -> int:
        return (self.seed << 32) + zlib.crc32(name.encode())
