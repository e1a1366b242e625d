"""How long sessions last, and whether the next sync will have one.

A session that Cloud Sync can renew needs no watching. A pasted session does: GoPro accepts it for some hours or days,
and nothing in it says how long. So the lifetimes of the last pasted sessions are kept. A session is expected to end
when it reaches three quarters of the shortest of them.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from services.shared.clock import iso

USUAL_LIFE = timedelta(hours=9)  # as most people report for a browser's session; used until a lifetime is known
CAUTION = 0.75  # the share of the shortest lifetime to rely on: the next one may be shorter
KEPT_LIVES = 10


@dataclass(frozen=True, kw_only=True)
class Health:
    """What is known of the current and the earlier sessions. Times are UTC in ISO 8601; empty if unknown."""

    version: int = 0  # of the current session; 0 before the first
    since: str = ""  # when it was obtained
    last_accepted: str = ""
    first_refused: str = ""
    renews_itself: bool = False
    lives: tuple[int, ...] = ()  # lifetimes of the last pasted sessions, oldest first, in seconds
    warned_on: str = ""  # the local date of the last warning

    def accepted(self, *, version: int, since: str, renews_itself: bool, now: datetime) -> "Health":
        """Return what is known once GoPro has accepted this session."""
        if version == self.version:
            return replace(self, last_accepted=iso(now), renews_itself=renews_itself)
        return Health(
            version=version,
            since=since,
            last_accepted=iso(now),
            renews_itself=renews_itself,
            lives=self.lives,
            warned_on=self.warned_on,
        )

    def refused(self, now: datetime) -> "Health":
        """Return what is known once GoPro has refused the session. Only the first refusal counts."""
        if self.first_refused or not self.version:
            return self
        life = int((_moment(self.last_accepted) - _moment(self.since)).total_seconds())
        # A session that was accepted only when it began says nothing about how long others last.
        lives = self.lives if self.renews_itself or life <= 0 else (*self.lives, life)[-KEPT_LIVES:]
        return replace(self, first_refused=iso(now), lives=lives)

    def age(self, now: datetime) -> timedelta:
        """Return how old the session is; zero if there is none."""
        return now - _moment(self.since) if self.since else timedelta()

    @property
    def expected_end(self) -> datetime:
        """When the session is expected to end. Only for a session whose `since` is known."""
        shortest = timedelta(seconds=min(self.lives)) if self.lives else USUAL_LIFE
        return _moment(self.since) + CAUTION * shortest


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """The next sync will probably have no session."""

    next_sync: datetime
    ends_about: datetime | None  # when the session is expected to end; None if it is dead


def outlook(health: Health, *, now: datetime, next_sync: datetime, dead: bool = False) -> Outlook | None:
    """Return the outlook if the next sync will probably have no session, else None.

    Returns None also before the first session. `dead`: Cloud Sync could not sign in just now.
    """
    if not health.version:
        return None
    if dead or health.first_refused:
        return Outlook(next_sync=next_sync, ends_about=None)
    if health.renews_itself or health.expected_end > next_sync:
        return None
    return Outlook(next_sync=next_sync, ends_about=max(now, health.expected_end))


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
