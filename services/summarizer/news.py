"""How urgent an announcement is, what its cause is, and whether operators are notified of it: decisions only."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from services.shared.clock import iso
from services.shared.events import SessionEnding, Severity, Summary
from services.summarizer.records import Medium, Silence, Told

Notify = Literal["all", "problems"]

# Shorter than a day: a cause that lasts is repeated every night, even if a night's sync ends earlier than the last one.
REPEATED_AFTER = timedelta(hours=20)

_MANY = 3  # media; if this many fail for one reason and none is stored, the cause lies outside the media
_RANK: Mapping[Severity, int] = {"info": 0, "warning": 1, "critical": 2}


@dataclass(frozen=True, kw_only=True)
class News:
    """What an announcement says. Two with the same cause differ only in when, and in how many media are affected."""

    severity: Severity
    cause: str = ""  # a digest; empty: nothing is wrong, or it happened only once
    media: int = 0  # that the cause keeps from being stored
    is_well: bool = False  # a whole sync shows that nothing is wrong any more


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether operators are notified, and what is then noted as told."""

    silence: Silence  # empty: they are notified
    since: str  # UTC, ISO 8601: when they were first told of this cause; empty: now
    told: Told


def of_summary(summary: Summary) -> News:
    """Return the news of a close."""
    urgency = severity(summary)
    # Suspicious media and a refused request happen once, so they never count as repeated: an operator who repeats a
    # request wants an answer.
    happened_once = summary.suspicious_total or summary.closed_because == "request_refused"
    if urgency == "info" or happened_once:
        return News(severity=urgency, is_well=urgency == "info" and summary.outcome == "completed")
    # The reason for a cancellation contains the time, so each would be a new cause.
    whole = [] if summary.closed_because == "cancelled" else [summary.closed_because, summary.reason]
    reasons = sorted(reason.reason for reason in summary.reasons if not reason.known)
    return News(
        severity=urgency,
        cause=_digest("sync", *whole, *reasons, *summary.warnings),
        media=summary.failures_total - summary.known_losses,
    )


def of_late_results(media: Iterable[Medium]) -> News:
    """Return the news of an amendment. `media`: those that it names."""
    failed = [medium for medium in media if medium.state == "FAILED"]
    if not failed:
        return News(severity="info")
    return News(
        severity="warning",
        cause=_digest("late", *sorted({medium.reason for medium in failed})),
        media=len(failed),
    )


def of_session(event: SessionEnding) -> News:
    """Return the news that the next sync will have no session."""
    return News(severity="warning", cause=_digest("session", event.reason, event.since))


def severity(summary: Summary) -> Severity:
    """Return how urgent a close is. Known losses and known warnings do not raise the severity."""
    new_reasons = [reason for reason in summary.reasons if not reason.known]
    has_one_cause = len(new_reasons) == 1 and new_reasons[0].media >= _MANY and not summary.downloaded
    if summary.closed_because == "request_refused":
        return "warning"  # nothing is broken: the request had a mistake
    if summary.outcome == "failed" or (has_one_cause and summary.closed_because != "cancelled"):
        return "critical"
    return "warning" if new_reasons or summary.outstanding or summary.warnings or summary.suspicious else "info"


def judge(news: News, told: Told, *, notify: Notify, now: datetime) -> Verdict:
    """Return whether operators are notified. `told`: what they were told last.

    The same cause is repeated when it has become worse, or when the last notification of it is old enough.
    """
    if news.severity == "info":
        # Once all is well, the same cause is news again.
        after = Told(version=told.version) if news.is_well else told
        return Verdict(silence="good news" if notify == "problems" else "", since="", told=after)
    if not news.cause:
        return Verdict(silence="", since="", told=told)
    is_same = news.cause == told.cause
    is_worse = news.media > told.media or _RANK[news.severity] > _RANK[told.severity]
    if is_same and not is_worse and now < datetime.fromisoformat(told.at) + REPEATED_AFTER:
        return Verdict(silence="repeated", since=told.since, told=told)
    since = told.since if is_same else ""
    return Verdict(
        silence="",
        since=since,
        told=Told(
            version=told.version,
            cause=news.cause,
            severity=news.severity,
            media=news.media,
            at=iso(now),
            since=since or iso(now),
        ),
    )


def _digest(*parts: str) -> str:
    """Return a short text that is the same for the same parts. Reasons can be long, and are of no use in the table."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
