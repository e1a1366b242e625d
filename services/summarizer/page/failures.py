"""What a sync did not store, grouped by reason, each group with what to do and the command to type."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from services.summarizer.reasons import NO_RESULT
from services.summarizer.records import ClosedSync, Medium
from services.summarizer.texts import day, line, name

GROUPS = 30
NAMED = 50  # media of a group

Kind = Literal["dead letters", "failed", "without a result", "known losses", "skipped"]
# In the order of their urgency; each with its name in the singular.
_ONE: Mapping[Kind, str] = {
    "dead letters": "dead letter",
    "failed": "failed",
    "without a result": "without a result",
    "skipped": "skipped",
    "known losses": "known loss",
}
_COMMANDS = ("  cloud-sync ", "  aws ")  # how the line of a remedy begins that is to be typed


@dataclass(frozen=True)
class Step:
    """A sentence to read, or a command to type."""

    text: str
    is_command: bool = False


@dataclass(frozen=True, kw_only=True)
class Group:
    """Media that are not stored for one reason."""

    kind: Kind
    title: str  # how many of which kind
    reason: str
    media: int
    names: tuple[str, ...]  # the first of them, each with how much of it is stored
    steps: tuple[Step, ...]  # what to do, in order


@dataclass(frozen=True, kw_only=True)
class Failures:
    """The groups, the most urgent first."""

    groups: tuple[Group, ...]
    hidden: int  # media of the groups that are left out


def failures(sync: ClosedSync, media: Iterable[Medium], env: str) -> Failures:
    """Return what a sync has not stored. `env`: the option of `cloud-sync` that selects the deployment."""
    grouped: dict[tuple[Kind, str, str], list[Medium]] = {}
    for medium in media:
        if medium.state != "DOWNLOADED":
            kind = _kind(medium)
            grouped.setdefault((kind, _reason(sync, medium, kind), medium.remedy), []).append(medium)
    ordered = sorted(grouped.items(), key=lambda entry: ([*_ONE].index(entry[0][0]), -len(entry[1]), entry[0]))
    groups = [
        Group(
            kind=kind,
            title=f"{len(members):,} {_ONE[kind] if len(members) == 1 else kind}",
            reason=line(reason, 1000),
            media=len(members),
            names=tuple(map(_named, sorted(members, key=lambda one: (one.filename, one.media_id))[:NAMED])),
            steps=tuple(_steps(sync, kind, remedy, members, env)),
        )
        for (kind, reason, remedy), members in ordered[:GROUPS]
    ]
    return Failures(groups=tuple(groups), hidden=sum(len(members) for _, members in ordered[GROUPS:]))


def steps_of(remedy: str, env: str) -> list[Step]:
    """Return the steps of a remedy, as services write them: a line that begins with spaces is a command.

    The service that wrote the remedy does not know the deployment, so its commands lack the option.
    """
    steps: list[Step] = []
    for text in remedy.split("\n"):
        if text.startswith(_COMMANDS):
            is_ours = text.startswith(_COMMANDS[0]) and "--env" not in text
            steps.append(Step(f"{line(text, 1000)} {env if is_ours else ''}".strip(), is_command=True))
        elif said := line(text, 1500):
            steps.append(Step(said))
    if "SyncRequested" in remedy:
        steps.append(_trigger(env))
    return steps


def _kind(medium: Medium) -> Kind:
    if medium.state == "SKIPPED":
        return "skipped"
    if medium.state == "DISCOVERED":
        return "without a result"
    if medium.known_since:
        return "known losses"
    return "dead letters" if medium.dead_letter else "failed"


def _reason(sync: ClosedSync, medium: Medium, kind: Kind) -> str:
    if kind == "skipped":
        return "the sync was cancelled"
    if kind == "without a result":
        return sync.session_problem or NO_RESULT
    return medium.reason or "reason unknown"


def _steps(sync: ClosedSync, kind: Kind, remedy: str, members: Sequence[Medium], env: str) -> list[Step]:
    match kind:
        case "dead letters":
            is_one = len(members) == 1
            alone = f"--media-id {shlex.quote(line(members[0].media_id, 200))}" if is_one else ""
            why = "Its tries are used up. Once the cause is fixed, try it again:"
            said = Step(why if is_one else "Their tries are used up. Once the cause is fixed, try them again:")
            redrive = Step(_typed("redrive", env, alone, "--wait"), is_command=True)
            return [*steps_of(remedy, env), said, redrive]
        case "without a result":
            return [
                Step("Look whether they are still being worked on, and for messages that used up their tries:"),
                Step(_typed("watch", env, sync.sync_id), is_command=True),
                Step(_typed("failures", env), is_command=True),
            ]
        case "known losses":
            return [Step("Nothing has to be done: it is the same as before, and no further try can help.")]
        case "skipped":
            return [Step("The next sync takes them. To start one now:"), _trigger(env)]
        case "failed":
            once_more = Step("No other try of this sync could help. The next one tries once more. To start it now:")
            return steps_of(remedy, env) if remedy else [once_more, _trigger(env)]


def _trigger(env: str) -> Step:
    return Step(_typed("trigger", env, "--wait"), is_command=True)


def _typed(*words: str) -> str:
    """Return a command of `cloud-sync`. Empty words are left out."""
    return " ".join(filter(None, ("cloud-sync", *words)))


def _named(medium: Medium) -> str:
    parts = [name(medium.filename, medium.media_id)]
    if medium.files_total and medium.state == "FAILED":
        parts.append(f"{medium.files_stored:,} of {medium.files_total:,} files stored")
    if medium.known_since:
        parts.append(f"since {day(medium.known_since)}")
    return ", ".join(parts)
