"""Every word that a person reads of a sync: the notifications, the reasons, what to do next, and the full report."""

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from services.shared.events import SOURCE_PREFIX, Summary, SyncAmended
from services.summarizer.sync import ClosedBecause, Medium, Sync

Severity = Literal["info", "warning", "critical"]

NO_RESULT = "no result had come when the sync was closed"

SUBJECT_LENGTH = 99  # SNS takes fewer than 100 characters, ASCII, on one line
BODY_BYTES = 200_000  # SNS takes 256 KB, attributes included
_SYNCS_IN_ATTRIBUTES = 20
# Directions and embeddings would let a file name rewrite the line that it stands in.
_REORDERING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True, kw_only=True)
class Notification:
    """One message to whoever looks after this. `event`: the class name of the event that says the same."""

    subject: str
    body: str
    severity: Severity
    event: str
    sync_id: str  # several, separated by commas, where it is about several
    summary_id: str  # of the summary told or added to; several like `sync_id`
    number: str  # "0" is a summary, "1", "2", … the amendments to it; several like `sync_id`


@dataclass(frozen=True, kw_only=True)
class Whereabouts:
    """Where a reader is sent to."""

    bucket: str
    dead_letters_url: str  # of the downloader
    bus: str  # the event bus's name


def report_key(sync_id: str) -> str:
    """Where a sync's full report lies in the media bucket."""
    return f"reports/{sync_id}.json"


def full_report(summary: Summary, sync: Sync, media: Iterable[Medium]) -> bytes:
    """JSON: the summary as it was at the close, and every medium's result as it is now.

    `amendments` counts those announced since the close; a medium with `after_close` has got its result since then.
    """
    results: list[dict[str, Any]] = []
    for medium in sorted(media, key=lambda one: (one.filename, one.media_id)):
        result = msgspec.to_builtins(medium)
        result["after_close"] = medium.late is not None
        results.append({name: value for name, value in result.items() if name not in ("listed", "epoch", "late")})
    content = {
        "sync_id": sync.sync_id,
        "summary": sync.summary,
        "event": type(summary).__name__,
        "amendments": sync.announcement.number if sync.announcement else 0,
        "media": results,
    }
    return json.dumps(content, ensure_ascii=False, indent=1).encode()


def reason(sync: Sync, because: ClosedBecause, deadline: timedelta) -> str:
    """What kept a sync from doing its work, or all of it. Empty where only single media failed."""
    if because == "auth_failed":
        return sync.session_problem
    if because == "listing_failed":
        return sync.listing_problem
    hours = f"{deadline.total_seconds() / 3600:g} hours"
    parts = []
    if because == "deadline":
        parts.append(f"The sync had not ended {hours} after it was asked for.")
    if because == "stalled":
        parts.append("Nothing was under way any more, and yet results were missing.")
    if sync.expected is None:
        parts.append("The end of the listing was never reported, so how many media are new is not known.")
    if sync.session_problem:
        parts.append(f"The session with GoPro failed: {sync.session_problem}")
    return " ".join(parts)


def remedy(sync: Sync, because: ClosedBecause) -> str:
    """What an operator can do about `reason`."""
    if because == "auth_failed":
        return _and_again(sync.session_remedy)
    if because == "listing_failed":
        return (
            "Look at the reason. An outage at GoPro passes: the next scheduled sync lists again, and a new "
            "SyncRequested does so now. A changed API needs a new version of Cloud Sync."
        )
    if sync.session_problem:
        return _and_again(sync.session_remedy)
    if because in ("deadline", "stalled"):
        still_moving = (
            "What is still under way goes on, and is told once it has ended. " if because == "deadline" else ""
        )
        return (
            f"{still_moving}Look among the dead letters of the lister, the downloader and the summarizer, and redrive "
            "them. What is still missing is found again by the next sync."
        )
    return ""


def _and_again(remedy: str) -> str:
    """A remedy that ends with how to go on from there."""
    return remedy if "SyncRequested" in remedy else f"{remedy} Then send a new SyncRequested.".strip()


def closing_notification(summary: Summary, where: Whereabouts) -> Notification:
    """How a sync ended."""
    severity: Severity = "info"
    if summary.outcome == "failed":
        severity = "critical"
    elif summary.outcome == "partial" or summary.warnings:
        severity = "warning"
    headline = _headline(summary)
    paragraphs = [headline + ".", _identity(summary)]
    if summary.reason:
        paragraphs.append(f"What went wrong\n  {_line(summary.reason, 1500)}")
    if severity == "critical" and summary.remedy:
        paragraphs.append("\n".join(["What to do", *_remedy(summary.remedy, where)]))
    if summary.outcome != "failed" or summary.discovered:
        paragraphs.append(_counts(summary))
    if summary.warnings:
        paragraphs.append("Warnings\n" + "\n".join(f"  - {_line(warning, 400)}" for warning in summary.warnings))
    if summary.failures_total:
        paragraphs += [_failures(summary), _what_to_do(summary, where)]
    paragraphs.append(f"Every medium's result: s3://{where.bucket}/{report_key(summary.sync_id)}")
    return Notification(
        subject=_subject(headline, summary.sync_id),
        body=_body(paragraphs),
        severity=severity,
        event=type(summary).__name__,
        sync_id=summary.sync_id,
        summary_id=summary.summary_id,
        number="0",
    )


def amendment_notification(
    amendments: Sequence[tuple[SyncAmended, Mapping[str, Medium]]], where: Whereabouts
) -> Notification:
    """What came in of syncs that had closed. With each amendment go the media that it names, by id."""
    recovered = sum(amended.recovered_total for amended, _ in amendments)
    failed = sum(amended.failed_total for amended, _ in amendments)
    told = [f"{recovered} stored"] * bool(recovered) + [f"{failed} failed"] * bool(failed)
    headline = f"Cloud Sync: after the close, {' and '.join(told) or 'nothing changed'}"
    paragraphs = [headline + ".", "The summary sent when a sync closed stays as it was; these results came in since."]
    for amended, media in amendments:
        lines = [f"Sync {amended.sync_id}, amendment {amended.number}"]
        if amended.recovered_total:
            lines.append(f"  stored now: {amended.recovered_total}")
            lines += [f"    - {_name(media.get(media_id), media_id)}" for media_id in amended.recovered]
            lines += _rest(amended.recovered_total - len(amended.recovered), indent="    ")
        if amended.failed_total:
            lines.append(f"  failed: {amended.failed_total}")
            for media_id in amended.failed:
                medium = media.get(media_id)
                why = _line(medium.reason if medium else "", 200) or "no reason known"
                lines.append(f"    - {_name(medium, media_id)}: {why}")
            lines += _rest(amended.failed_total - len(amended.failed), indent="    ")
        lines.append(f"  every medium's result: s3://{where.bucket}/{report_key(amended.sync_id)}")
        paragraphs.append("\n".join(lines))
    if failed:
        paragraphs.append("What to do\n" + _redrive(where))
    sync_ids = [amended.sync_id for amended, _ in amendments]
    summary_ids = [amended.summary_id for amended, _ in amendments]
    numbers = [str(amended.number) for amended, _ in amendments]
    return Notification(
        subject=_subject(headline, sync_ids[0] if len(sync_ids) == 1 else f"{len(sync_ids)} syncs"),
        body=_body(paragraphs),
        severity="warning" if failed else "info",
        event=SyncAmended.__name__,
        sync_id=",".join(sync_ids[:_SYNCS_IN_ATTRIBUTES]),
        summary_id=",".join(summary_ids[:_SYNCS_IN_ATTRIBUTES]),
        number=",".join(numbers[:_SYNCS_IN_ATTRIBUTES]),
    )


def _headline(summary: Summary) -> str:
    """The first line, and the subject: warnings show here too, or nobody would open a message of nothing new."""
    count = len(summary.warnings)
    return _outcome(summary) + (f", {count} warning{'s' if count > 1 else ''}" if count else "")


def _outcome(summary: Summary) -> str:
    if summary.closed_because == "auth_failed":
        return "Cloud Sync FAILED: no session with GoPro"
    if summary.closed_because == "listing_failed":
        return "Cloud Sync FAILED: the GoPro library could not be listed"
    if summary.outcome == "failed":
        return "Cloud Sync FAILED: the listing of the GoPro library did not end in time"
    if not summary.discovered:
        return "Cloud Sync: no new media"
    if summary.outcome == "completed":
        return f"Cloud Sync: all {summary.discovered} new media stored"
    missing = [f"{summary.failed} failed"] * bool(summary.failed)
    missing += [f"{summary.outstanding} without a result"] * bool(summary.outstanding)
    return f"Cloud Sync: {summary.downloaded} of {summary.discovered} new media stored, {', '.join(missing)}"


def _identity(summary: Summary) -> str:
    took = _duration(summary.requested_at, summary.closed_at)
    return "\n".join(
        [
            f"Sync       {summary.sync_id} ({_line(summary.trigger, 40)})",
            f"Asked for  {summary.requested_at}",
            f"Closed     {summary.closed_at}, {took} later ({_CLOSED_BECAUSE[summary.closed_because]})",
        ]
    )


_CLOSED_BECAUSE: Mapping[str, str] = {
    "complete": "every new medium has a result",
    "deadline": "its time was over",
    "stalled": "nothing moved any more",
    "auth_failed": "no session could be had",
    "listing_failed": "the library could not be listed",
}


def _counts(summary: Summary) -> str:
    stored = _bytes(summary.bytes)
    if summary.already_stored:
        stored += f"; {summary.already_stored} by another sync meanwhile"
    was_listed = summary.outcome != "failed"
    rows = [
        (summary.listed, "media in the GoPro library", was_listed),
        (summary.stored, "were in the bucket already", was_listed),
        (summary.discovered, "were new", was_listed or summary.discovered > 0),
        (summary.downloaded, f"stored now ({stored})", summary.discovered > 0),
        (summary.failed, "failed", summary.discovered > 0),
        (summary.outstanding, "without a result", summary.outstanding > 0),
        (summary.pending, "not ready at GoPro yet", summary.pending > 0),
        (summary.deferred, "left for a later sync, as this one had enough", summary.deferred > 0),
    ]
    return "Media\n" + "\n".join(f"  {count:>7}  {meaning}" for count, meaning, shown in rows if shown)


def _failures(summary: Summary) -> str:
    lines = [f"Not stored: {summary.failures_total}"]
    for failure in summary.failures:
        name = _line(failure.filename, 200) or "(name unknown)"
        lines.append(f"  - {name} ({_line(failure.media_id, 100)}): {_line(failure.reason, 200) or 'no reason known'}")
    return "\n".join(lines + _rest(summary.failures_total - len(summary.failures)))


def _what_to_do(summary: Summary, where: Whereabouts) -> str:
    lines = ["What to do"]
    if summary.remedy and summary.outcome != "failed":
        lines += _remedy(summary.remedy, where)
    lines.append("  Nothing has to be done for what failed by itself: the next sync tries each of these media again.")
    return "\n".join([*lines, _redrive(where)])


def _remedy(remedy: str, where: Whereabouts) -> list[str]:
    """A remedy. What is to be typed stands on lines of its own, further in, so that it can be copied whole."""
    lines = [f"  {'  ' if line.startswith('  ') else ''}{_line(line, 1500)}" for line in remedy[:1500].split("\n")]
    if "SyncRequested" in remedy:
        request = {
            "EventBusName": where.bus,
            "Source": f"{SOURCE_PREFIX}operator",
            "DetailType": "SyncRequested",
            "Detail": json.dumps({"provider": "gopro"}),
        }
        lines += ["  A new SyncRequested is sent by", f"    aws events put-events --entries '{json.dumps([request])}'"]
    return lines


def _redrive(where: Whereabouts) -> str:
    queue = where.dead_letters_url
    arn = (
        f"aws sqs get-queue-attributes --queue-url {queue} "
        "--attribute-names QueueArn --query Attributes.QueueArn --output text"
    )
    return "\n".join(
        [
            "  Messages that ran out of tries wait among the downloader's dead letters,",
            f"  {queue}",
            "  To try those again now, once the cause is gone:",
            f'    aws sqs start-message-move-task --source-arn "$({arn})"',
        ]
    )


def _rest(count: int, indent: str = "  ") -> list[str]:
    return [f"{indent}- and {count} more, see the report"] if count > 0 else []


def _name(medium: Medium | None, media_id: str) -> str:
    return f"{_line(medium.filename if medium else '', 200) or '(name unknown)'} ({_line(media_id, 100)})"


def _line(text: str, length: int) -> str:
    """Text from elsewhere, on one line, with nothing in it that moves the cursor."""
    one = " ".join(text.split())
    clean = "".join("?" if c in _REORDERING or unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") else c for c in one)
    return clean if len(clean) <= length else clean[: length - 1] + "…"


def _subject(headline: str, about: str) -> str:
    text = _line(f"{headline} ({about})", 1000).encode("ascii", "replace").decode()
    return text if len(text) <= SUBJECT_LENGTH else text[: SUBJECT_LENGTH - 3] + "..."


def _body(paragraphs: Sequence[str]) -> str:
    text = "\n\n".join(paragraphs) + "\n"
    if len(text.encode()) <= BODY_BYTES:
        return text
    return text.encode()[:BODY_BYTES].decode(errors="ignore") + "\n… cut here; the reports have it all.\n"


def _bytes(count: int) -> str:
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:  # noqa: PLR2004  # steps of decimal units
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.2f} TB"


def _duration(begin: str, end: str) -> str:
    seconds = max(0, int((datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()))
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
