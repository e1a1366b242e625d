"""The faults of a run, and their frequency.

Each opportunity for a fault draws one number, whatever the outcome. Opportunities are numbered per operation, so they
keep their names when others disappear. A run can therefore be repeated with a subset of its faults, which is how a
failing run is shrunk.
"""

import random
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self


class Fault(StrEnum):
    """A kind of fault; its value is the name under which it is counted."""

    highest: float  # probability per opportunity; 0 for a fault that strikes at moments of its own
    weight: int  # how much more often than others it is chosen, since it can strike anywhere

    def __new__(cls, name: str, highest: float = 0.0, weight: int = 1) -> Self:
        """Make a fault of its name and its probabilities."""
        fault = str.__new__(cls, name)
        fault._value_ = name
        fault.highest, fault.weight = highest, weight
        return fault

    # in the process that makes a call
    KILL_BEFORE = "killed before an effect", 0.05, 5
    KILL_AFTER = "killed after an effect", 0.05, 5
    FREEZE = "frozen for minutes", 0.03, 4
    # in a call of AWS
    REFUSED = "refused by AWS", 0.06, 3
    LOST_ANSWER = "answer lost, sent again by the client", 0.1, 3
    NO_ANSWER = "done, and the answer never came", 0.05
    SLOW = "slow answer", 0.1
    CONFLICT = "conflicting write", 0.2
    UNPROCESSED = "keys left unprocessed", 0.4
    PARTIAL = "entries of PutEvents refused", 0.4
    # in a delivery
    DUPLICATE = "event delivered several times", 0.6, 4
    LATE = "event delivered late", 0.4, 3
    DROPPED = "event lost", 0.06
    TWICE = "message received twice", 0.3
    KEPT = "deleted message that comes back", 0.3
    # in GoPro's API
    RATE_LIMITED = "GoPro: 429", 0.3
    SERVER_ERROR = "GoPro: 5xx", 0.3
    SILENT = "GoPro: no answer", 0.2
    BLOCKED = "GoPro: firewall", 0.1
    SHORT_PAGE = "GoPro: short page", 0.5
    REPEATED_ROW = "GoPro: row repeated", 0.3
    # in GoPro's CDN
    TRUNCATED = "CDN: cut off", 0.2
    STALLED = "CDN: stalled", 0.1
    CDN_BUSY = "CDN: busy", 0.2
    CDN_FAILED = "CDN: 5xx", 0.2
    CDN_SILENT = "CDN: no answer", 0.2
    URL_EXPIRED = "CDN: URL expired", 0.3
    RANGE_IGNORED = "CDN: range ignored", 0.5
    WRONG_PAGE = "CDN: a web page", 0.1
    # at moments of their own
    OUTAGE = "GoPro: outage"
    REVOKED = "GoPro: session revoked", 0.0, 2
    LIBRARY_CHANGED = "GoPro: library changed", 0.0, 2
    ORIGIN_CHANGED = "GoPro: file replaced", 0.0, 2
    REDEPLOYED = "functions redeployed"
    CLOCK_SKEW = "clocks that differ"
    POISON = "message that can't be read"
    REDRIVEN = "dead letters redriven in mid-sync"
    # from the field: each begins at a moment of its own, and goes on
    BAD_FILE = "field: a bad file"
    UNUSUAL_PLACE = "field: an original in an unusual place"
    SMALL_PAGES = "field: the server's page is smaller"
    ODD_ROW = "field: an odd row"
    BROKEN_PAGE = "field: a row that breaks its page"
    FAILING_PAGE = "field: a page that always fails"
    REPROCESSED = "field: reprocessed after it was stored"
    RAW_ADDED = "field: a RAW file added after it was stored"
    NEVER_READY = "field: never ready"
    MEDIUM_REFUSED = "field: a medium refused"
    ACCOUNT_REFUSED = "field: the account refused"
    CDN_MOVED = "field: the CDN moved"
    FEWER_BYTES = "field: fewer bytes than listed"
    NO_LENGTH = "field: a range without its length"
    VALIDATORS = "field: validators of no use"
    ODD_NAME = "field: an odd name"
    COUNT_OFF = "field: a count that is off by one"
    EMPTY_FILE = "field: an empty file"
    SLOW_FOR_EVER = "field: slow for ever"
    SHARED = "field: a limit that connections share"
    UNKNOWN_COUNT = "field: an unknown count"
    ITEM_WITHHELD = "field: an item that is not offered"


PROCESS = (Fault.KILL_BEFORE, Fault.KILL_AFTER, Fault.FREEZE)
AWS = (*PROCESS, Fault.REFUSED, Fault.LOST_ANSWER, Fault.NO_ANSWER, Fault.SLOW)

# Factors for rare operations, so that faults strike them often enough to be tested.
SELDOM: Mapping[str, float] = {"s3.abort_multipart_upload": 5.0, "sqs.get_queue_attributes": 5.0}


def boundary(operation: str, fault: Fault) -> str:
    """Return the name of the boundary before or after an operation, where a process can be killed."""
    return f"{operation}: {fault}"


@dataclass(frozen=True)
class Strike:
    """A fault that struck, and its opportunity, such as "events.put_events 3"."""

    opportunity: str
    fault: Fault


@dataclass
class Planned:
    """A fault planned for particular opportunities, rather than left to chance."""

    fault: Fault
    operation: str = ""  # prefix of the operation's name
    subject: str = ""  # substring of the operation's subject
    nth: int | None = None  # number of the matching opportunity, from 1; None: every one
    seconds: float | None = None  # how long it lasts; None: chance decides
    met: int = 0

    def strikes(self, kinds: tuple[Fault, ...], operation: str, subject: str) -> bool:
        if self.fault not in kinds or not operation.startswith(self.operation) or self.subject not in subject:
            return False
        self.met += 1
        return self.nth in (None, self.met)


@dataclass
class _Opportunities:
    """The opportunities of one operation, in order."""

    draw: random.Random
    thresholds: list[tuple[float, Fault]]
    count: int = 0


@dataclass
class Faults:
    """Decides at each opportunity whether a fault strikes."""

    seed: int
    rates: Mapping[Fault, float]
    most: int  # the most strikes of a run
    only: frozenset[str] | None = None  # if given, the only opportunities at which faults may strike
    planned: Sequence[Planned] = ()
    over: bool = False  # whether the time for faults is over
    seconds: float | None = None  # duration of the latest strike, if it was planned
    struck: list[Strike] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._at: dict[tuple[str, tuple[Fault, ...]], _Opportunities] = {}

    def strike(self, kinds: tuple[Fault, ...], operation: str, subject: str = "") -> Fault | None:
        """Return the fault that strikes at this opportunity, or None."""
        for plan in self.planned:
            if plan.strikes(kinds, operation, subject):
                self.struck.append(Strike(f"{operation}, planned {len(self.struck) + 1}", plan.fault))
                self.seconds = plan.seconds
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
        self.seconds = None
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
        """Return the boundaries where a process could have been killed: before and after each operation of the run."""
        operations = {operation for operation, kinds in self._at if Fault.KILL_BEFORE in kinds}
        return [
            boundary(operation, fault) for operation in operations for fault in (Fault.KILL_BEFORE, Fault.KILL_AFTER)
        ]

    def chance(self) -> random.Random:
        """Return the random generator for the details of the latest strike."""
        return random.Random(self._seed_of(self.struck[-1].opportunity))

    def _seed_of(self, name: str) -> int:
        return (self.seed << 32) + zlib.crc32(name.encode())
