"""What became of the session with GoPro during a sync."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import tzinfo

from services.summarizer.page.wording import lasting, read, stamp
from services.summarizer.records import SessionSeen


@dataclass(frozen=True, kw_only=True)
class Session:
    """A version of the session, as people read it."""

    version: int
    given: str
    ends: str
    left: str  # how long it had left when the sync got it
    rejected: str  # when another one was asked for; empty: never


def sessions(seen: Iterable[SessionSeen], zone: tzinfo) -> tuple[Session, ...]:
    """Return what facts tell of the sessions that a sync used."""
    return tuple(_session(one, zone) for one in seen)


def _session(seen: SessionSeen, zone: tzinfo) -> Session:
    given, ends = read(seen.authenticated_at), read(seen.expires_at)
    return Session(
        version=seen.version,
        given=stamp(given, zone) if given else "not by this sync's request",
        ends=stamp(ends, zone),
        left=lasting((ends - given).total_seconds()) if given and ends else "unknown",
        rejected=stamp(read(seen.rejected_at), zone) if seen.rejected_at else "",
    )
