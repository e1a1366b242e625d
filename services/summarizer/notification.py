"""The notifications that people read: of a close, of late results, and of a session that ends.

Each is read in ten seconds, on a phone: the verdict, what failed by reason, what to type, where to look. The sync's
page has the details.
"""

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo

from services.shared.console import console_link
from services.shared.events import (
    FailureReason,
    OperatorsNotified,
    SessionEnding,
    Severity,
    Summary,
    SyncAmended,
)
from services.summarizer.news import severity
from services.summarizer.records import Medium
from services.summarizer.report import LIBRARY_PAGE_KEY, page_key
from services.summarizer.texts import day, duration, line, size, some, walked, wanted

SUBJECT_LENGTH = 99  # SNS takes fewer than 100 characters, ASCII, on one line
# Fits a message of Discord (2,000 characters), ntfy (4,096 bytes), Telegram (4,096 characters) and a block of Slack's
# (3,000 characters), so that one text serves all of them.
TEXT_BYTES = 1_900
_NAMED = 3  # media that a line names
_LINES = 6  # lines of a list
_WORDS = 200  # characters of a reason
_REMEDY = 600  # characters of a remedy
_TO_DO_BYTES = 800
_DEAD_LETTERS = "Dead letters, which wait for a redrive"
_INDENT = "  "  # of a command, below what it is for
_NAMESPACE = uuid.UUID("0d2f7c52-93b4-5a0e-8d1c-7be5f2a46c19")


@dataclass(frozen=True, kw_only=True)
class Notification:
    """One message to the operators. `announcements` identifies what it announces: pairs of a summary and a number."""

    subject: str
    text: str
    severity: Severity
    about: str  # the class name of the event with the same content
    sync_ids: Sequence[str]
    announcements: Sequence[tuple[str, int]]
    link: str = field(repr=False)

    @property
    def event(self) -> OperatorsNotified:
        """The event that says that this was sent."""
        return OperatorsNotified(
            sync_id=self.sync_ids[0],
            notification_id=str(uuid.uuid5(_NAMESPACE, json.dumps([self.about, *self.announcements]))),
            about=self.about,
            severity=self.severity,
            subject=self.subject,
            text=self.text,
            link=self.link,
        )


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """The deployment to which a notification refers its reader."""

    bus: str  # the event bus's name: `cloud-sync-` and the environment
    bucket: str
    topic_arn: str
    is_local: bool = False  # on a local stage

    @property
    def env(self) -> str:
        """The option of the `cloud-sync` command that selects this deployment."""
        return "--local" if self.is_local else f"--env {self.bus.removeprefix('cloud-sync-')}"

    def command(self, text: str) -> str:
        """Return a `cloud-sync` command for this deployment."""
        return f"cloud-sync {text} {self.env}"

    def link(self, key: str) -> str:
        """Return the address of an object in the AWS console."""
        return console_link(self.bucket, key, near=self.topic_arn)


def closing_notification(summary: Summary, deployment: Deployment, *, told_since: str = "") -> Notification:
    """Return the notification of how a sync ended. `told_since`: when operators were first told of the same cause."""
    headline = headline_of(summary)
    return Notification(
        subject=_subject(headline, summary.sync_id),
        text=_text(
            [
                f"{headline}.",
                f"You were first told so on {day(told_since)}." if told_since else "",
                _why(summary.reason),
                _figures(summary),
                *_failures(summary),
                _section("Stored, but suspicious", [_suspicious(summary)] if summary.suspicious else []),
                _section("Not ready at GoPro", [_not_ready(summary)] if summary.not_ready else []),
                _section("Warnings", [line(warning, 2 * _WORDS) for warning in summary.warnings]),
            ],
            to_do=_what_to_do(summary, deployment),
            look=_look(deployment, summary.sync_id),
        ),
        severity=severity(summary),
        about=type(summary).__name__,
        sync_ids=[summary.sync_id],
        announcements=[(summary.summary_id, 0)],
        link=deployment.link(page_key(summary.sync_id)),
    )


def amendment_notification(
    amendments: Sequence[tuple[SyncAmended, Mapping[str, Medium]]], deployment: Deployment
) -> Notification:
    """Return the notification of results after the close: of amendments, each with the media that it names, by id."""
    recovered = sum(amended.recovered_total for amended, _ in amendments)
    failed = sum(amended.failed_total for amended, _ in amendments)
    counts = [f"{recovered:,} stored"] * bool(recovered) + [f"{failed:,} failed"] * bool(failed)
    headline = f"Cloud Sync: after the close, {' and '.join(counts) or 'nothing changed'}"
    named = [(media_id, media) for amended, media in amendments for media_id in amended.recovered]
    lost = [media[media_id] for amended, media in amendments for media_id in amended.failed if media_id in media]
    dead, others = [one for one in lost if one.dead_letter], [one for one in lost if not one.dead_letter]
    stored = [media.get(media_id) or Medium(media_id=media_id, state="DOWNLOADED") for media_id, media in named]
    odd = [f"{_name(one.filename, one.media_id)}: {line(one.warning, _WORDS)}" for one in stored if one.warning]
    sync_ids = [amended.sync_id for amended, _ in amendments]
    return Notification(
        subject=_subject(headline, sync_ids[0] if len(sync_ids) == 1 else f"{len(sync_ids)} syncs"),
        text=_text(
            [
                f"{headline}.",
                _section("Stored now", [_names(_name(one.filename, one.media_id) for one in stored)] if stored else []),
                _section("Stored, but suspicious", odd),
                _section(_DEAD_LETTERS, _by_reason(dead)),
                _section("Failed", _by_reason(others)),
            ],
            to_do=[*_remedies((one.remedy for one in lost), deployment), *(_redrive(deployment) if dead else [])],
            look=_look(deployment, sync_ids[0]),
        ),
        severity="warning" if failed else "info",
        about=SyncAmended.__name__,
        sync_ids=sync_ids,
        announcements=[(amended.summary_id, amended.number) for amended, _ in amendments],
        link=deployment.link(page_key(sync_ids[0])),
    )


def session_notification(event: SessionEnding, deployment: Deployment, zone: tzinfo) -> Notification:
    """Return the notification that the next sync will probably have no session. `zone`: for the times in it."""
    next_sync = _local(event.next_sync_at, zone)
    if event.ends_about is None:
        headline = f"Cloud Sync: no session with GoPro for the sync at {next_sync}"
        state = f"The last session began at {_local(event.since, zone)}."
    else:
        headline = f"Cloud Sync: the session with GoPro ends before the sync at {next_sync}"
        state = f"It ends about {_local(event.ends_about, zone)}."
    return Notification(
        subject=_subject(headline, event.sync_id),
        text=_text(
            [f"{headline}.", f"{state} The sync is {event.sync_id}.", _why(event.reason)],
            to_do=[_INDENT + deployment.command("credentials login")],
            look=[],
        ),
        severity="warning",
        about=SessionEnding.__name__,
        sync_ids=[event.sync_id],
        announcements=[(event.event_id, 0)],
        link=deployment.link(LIBRARY_PAGE_KEY),
    )


def headline_of(summary: Summary) -> str:
    """Return the verdict on a sync in one line: the subject, and the first line of the text.

    It includes the number of warnings. Otherwise nobody would open a notification titled "no new media".
    """
    notes = [f", {some(len(summary.warnings), 'warning')}"] if summary.warnings else []
    notes += [f", {summary.suspicious_total:,} suspicious"] if summary.suspicious else []
    if summary.known_losses:
        notes.append(f"; {some(summary.known_losses, 'known loss', 'known losses')}")
    return _outcome(summary) + "".join(notes)


_WHY_NOTHING: Mapping[str, str] = {
    "auth_failed": "Cloud Sync FAILED: no session with GoPro",
    "request_refused": "Cloud Sync: a request for a sync was refused, and nothing was synced",
    "listing_failed": "Cloud Sync FAILED: the GoPro library could not be listed",
}


def _outcome(summary: Summary) -> str:
    if summary.outcome == "failed":
        other = "Cloud Sync FAILED: the listing of the GoPro library did not end in time"
        return _WHY_NOTHING.get(summary.closed_because, other)
    kinds = ["filtered"] if wanted(summary.filters) else []
    kinds += ["cancelled"] if summary.closed_because == "cancelled" else []
    title = f"Cloud Sync ({', '.join(kinds)})" if kinds else "Cloud Sync"
    if not _was_listed(summary):
        return f"{title}: nothing was begun"
    new = max(0, summary.discovered - summary.looked_again - summary.known_losses)
    stored = summary.downloaded - summary.looked_again_downloaded
    changed = f", {summary.looked_again_downloaded:,} looked at again" if summary.looked_again_downloaded else ""
    if summary.outcome == "completed":
        return f"{title}: {f'all {new:,} new media stored' if new else 'no new media'}{changed}"
    failed = summary.failed - summary.known_losses
    dead = f" ({some(summary.dead_letters, 'dead letter')})" if summary.dead_letters else ""
    missing = [f"{failed:,} failed{dead}"] * bool(failed)
    missing += [f"{summary.outstanding:,} without a result"] * bool(summary.outstanding)
    missing += [f"{summary.skipped:,} left for the next sync"] * bool(summary.skipped)
    return f"{title}: {stored:,} of {new:,} new media stored{changed}, {', '.join(missing)}"


def _was_listed(summary: Summary) -> bool:
    """Return whether the sync listed the library."""
    began = summary.closed_because != "cancelled" or summary.listed or summary.discovered
    return summary.outcome != "failed" and bool(began)


def _figures(summary: Summary) -> str:
    """Return the figures of a sync in one line."""
    figures = [f"{summary.downloaded:,} stored ({size(summary.bytes)})"] if summary.downloaded else []
    if summary.stored:
        figures.append(f"{summary.stored:,} of {summary.listed:,} were in the bucket before")
    for count, meaning in (
        (summary.deferred, "left for a later sync by the limit"),
        (summary.pending, "not ready at GoPro"),
        (summary.unreadable, "unreadable in the listing"),
        (summary.unseen, "counted by GoPro and not listed"),
    ):
        figures += [f"{count:,} {meaning}"] if count else []
    figures += [some(len(summary.known_warnings), "known warning")] if summary.known_warnings else []
    figures += [walked(summary)] if walked(summary) else []
    if summary.outcome == "failed" and not figures:
        return ""
    took = duration(summary.requested_at, summary.closed_at)
    asked = f" (filter: {wanted(summary.filters)})" if wanted(summary.filters) else ""
    said = "; ".join([*figures, f"took {took}"])
    return f"{said[0].upper()}{said[1:]}{asked}."


def _failures(summary: Summary) -> list[str]:
    """Return what failed, by who acts next: an operator with dead letters, an operator otherwise, the next sync."""
    dead: list[str] = []
    yours: list[str] = []
    retried: list[str] = []
    for reason in summary.reasons:
        others = reason.media - reason.dead_letters
        if reason.dead_letters and not reason.known:
            dead.append(_group(summary, reason, reason.dead_letters, dead_letters=True))
        if others and not reason.known:
            (yours if reason.remedy else retried).append(_group(summary, reason, others, dead_letters=False))
    return [
        _section(_DEAD_LETTERS, dead),
        _section("Waits for you", yours),
        _section("The next sync tries again by itself", retried),
    ]


def _group(summary: Summary, reason: FailureReason, media: int, *, dead_letters: bool) -> str:
    """Return the line of the media that failed for one reason. `media`: how many."""
    names = [
        _name(failure.filename, failure.media_id)
        for failure in summary.failures
        if failure.reason == reason.reason and failure.dead_letter == dead_letters and not failure.known_since
    ]
    return _line_of(reason.reason, names, media)


def _line_of(reason: str, names: Sequence[str], media: int) -> str:
    return f"{media:,} x {line(reason, _WORDS) or 'reason unknown'}: {_names(names, media)}"


def _by_reason(media: Iterable[Medium]) -> list[str]:
    groups: dict[str, list[str]] = {}
    for medium in media:
        groups.setdefault(medium.reason, []).append(_name(medium.filename, medium.media_id))
    return [_line_of(reason, names, len(names)) for reason, names in groups.items()]


def _suspicious(summary: Summary) -> str:
    named = (f"{_name(one.filename, one.media_id)}, {line(one.warning, _WORDS)}" for one in summary.suspicious)
    return _names(named, summary.suspicious_total)


def _not_ready(summary: Summary) -> str:
    return _names(
        f"{_name(one.filename, one.media_id)} ({line(one.state, 40)} since {day(one.since)})"
        for one in summary.not_ready
    )


def _name(filename: str, media_id: str) -> str:
    return line(filename, 60) or line(media_id, 40)


def _names(names: Iterable[str], total: int = 0) -> str:
    """Return the first names, and how many more there are."""
    listed = list(names)
    more = max(total, len(listed)) - _NAMED
    return ", ".join(listed[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _what_to_do(summary: Summary, deployment: Deployment) -> list[str]:
    new = [reason for reason in summary.reasons if not reason.known]
    lines = _remedies([summary.remedy, *(reason.remedy for reason in new)], deployment)
    return lines + (_redrive(deployment) if summary.dead_letters else [])


def _remedies(remedies: Iterable[str], deployment: Deployment) -> list[str]:
    """Return the lines of these remedies, without duplicates. Each command has its own line, so that it can be copied.

    The service that wrote a remedy does not know the deployment.
    """
    lines: list[str] = []
    for remedy in filter(None, remedies):
        for text in remedy[:_REMEDY].split("\n"):
            if text.startswith("  cloud-sync "):
                lines.append(_INDENT + deployment.command(line(text.removeprefix("  cloud-sync "), _REMEDY)))
            elif text.startswith("  "):
                lines.append(_INDENT + line(text, _REMEDY))
            else:
                # Its command follows, for this deployment.
                lines.append(line(text.replace(" (`cloud-sync trigger`)", ""), _REMEDY))
        lines += [_INDENT + deployment.command("trigger --wait")] if "SyncRequested" in remedy else []
    return list(dict.fromkeys(lines))


def _redrive(deployment: Deployment) -> list[str]:
    return [_INDENT + deployment.command("redrive --wait")]


def _look(deployment: Deployment, sync_id: str) -> list[str]:
    """Return where the details are: the command that fetches the page, and the page in the console."""
    return [deployment.command(f"report {sync_id}"), deployment.link(page_key(sync_id))]


def _local(moment: str, zone: tzinfo) -> str:
    return f"{datetime.fromisoformat(moment).astimezone(zone):%H:%M on %d %B}"


def _why(reason: str) -> str:
    return f"Why: {line(reason, 2 * _WORDS)}" if reason else ""


def _section(title: str, lines: Sequence[str]) -> str:
    shown = [f"  {text}" for text in lines[:_LINES]]
    shown += [f"  and {len(lines) - _LINES:,} more"] if len(lines) > _LINES else []
    return "\n".join([f"{title}:", *shown]) if lines else ""


def _subject(headline: str, about: str) -> str:
    """Return the headline, with what it is about where that fits."""
    short = line(headline, 1000).encode("ascii", "replace").decode()
    whole = f"{short} ({about})"
    if len(whole) <= SUBJECT_LENGTH:
        return whole
    return short if len(short) <= SUBJECT_LENGTH else f"{short[: SUBJECT_LENGTH - 3]}..."


def _text(paragraphs: Iterable[str], *, to_do: Sequence[str], look: Sequence[str]) -> str:
    """Return the text. Where it is too long, lines of the paragraphs go: what to type and where to look stay."""
    end = [_fitting(_section("To do", to_do), _TO_DO_BYTES), _section("Look", look)]
    room = TEXT_BYTES - len("".join(f"\n\n{one}" for one in end).encode()) - 1
    return "\n\n".join(filter(None, [_fitting("\n\n".join(filter(None, paragraphs)), room), *end])) + "\n"


def _fitting(text: str, room: int) -> str:
    """Return the lines that fit into this many bytes, and a mark if that is not all of them."""
    if len(text.encode()) <= room:
        return text
    mark = "\n  ... more on the page"
    part = text.encode()[: room - len(mark)].decode(errors="ignore")
    lines = part.rpartition("\n")[0].rstrip()
    return (lines if "\n" in lines else part) + mark
