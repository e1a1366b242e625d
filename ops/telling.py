"""Gathers the story of a sync or medium: from the journal, the services' logs, the tables and the queues."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from ops.dead_letters import failures
from ops.deployment import Deployment
from ops.errors import OperatorError
from ops.journal import Journal, reacting, requested
from ops.progress import View, closing, standing
from ops.queues import messages_in
from ops.story import Letter, Node, Published, Receive, Story, about, tell
from ops.watch import look
from services.shared.events import SERVICES, MediaDiscovered
from services.shared.library.records import MediumRecord

_EARLY = timedelta(minutes=5)  # the clocks of services and of the log differ


def story_of(deployment: Deployment, name: str) -> Story:
    """Return the story of this sync or medium. Raises `OperatorError` when nothing knows it."""
    journal = Journal(deployment)
    since = requested(deployment, name)
    with ThreadPoolExecutor() as pool:
        dead = pool.submit(_letters, journal, deployment)  # the queues take seconds, and so may the log
        found = journal.events_about(name, since=since)
        letters, known = dead.result()
    if any(event.sync_id == name for event in (*found, *known)):
        return _of_sync(journal, deployment, name, found, letters, known)
    if any(event.media_id == name for event in (*found, *known)):
        return _of_medium(journal, deployment, name, found, letters, known)
    kept = "the log of events may have dropped them by now (the setting `event_log_days`)"
    raise OperatorError(f"No event of a sync or medium {name} is known {deployment.place}: {kept}.")


def _of_sync(
    journal: Journal,
    deployment: Deployment,
    sync_id: str,
    found: Sequence[Published],
    letters: Sequence[Letter],
    known: Sequence[Published],
) -> Story:
    events = about(found, lambda event: event.sync_id == sync_id, known)
    receives = journal.receives(("$.sync_id", sync_id), since=_start(events))
    receives += _of_others(journal, events)
    roots = tell(events, receives, _about(letters, events), reacts=reacting())
    view = look(deployment, sync_id)
    return Story(
        about=f"Sync {sync_id}",
        roots=roots,
        now=(*_standing(view), *_queues(deployment)),
        gaps=(*_media_without_event(view, events), *_orphans(roots)),
    )


def _of_medium(
    journal: Journal,
    deployment: Deployment,
    media_id: str,
    found: Sequence[Published],
    letters: Sequence[Letter],
    known: Sequence[Published],
) -> Story:
    own = [event for event in (*found, *known) if event.media_id == media_id]
    since = _start(own)
    syncs = {event.sync_id for event in own if event.sync_id}
    others = journal.events_without_media(syncs, since=since - timedelta(days=1))
    events = about([*found, *others], lambda event: event.media_id == media_id, known)
    receives = journal.receives(("$.media_id", media_id), since=since)
    for sync_id in sorted(syncs):
        receives += journal.receives(("$.sync_id", sync_id), ("$.media_id", None), since=_start(events))
    receives += _of_others(journal, events)
    roots = tell(events, receives, _about(letters, events), reacts=reacting())
    record = deployment.library().media([media_id]).get(media_id)
    return Story(
        about=f"Medium {media_id}",
        roots=roots,
        now=tuple(_medium(record)),
        gaps=tuple(_orphans(roots)),
        is_of_medium=True,
    )


def _letters(journal: Journal, deployment: Deployment) -> tuple[list[Letter], list[Published]]:
    """Return the dead letters that are there now, and the events in them."""
    sqs = deployment.client("sqs")
    queues = {service: deployment.dead_letters(service) for service in SERVICES}
    empty = [service for service, queue in queues.items() if not any(messages_in(sqs, queue).values())]
    read = [one for dead in failures(deployment, empty=empty) if (one := journal.letter(dead))]
    return [letter for letter, _ in read], [event for _, event in read]


def _about(letters: Iterable[Letter], events: Iterable[Published]) -> list[Letter]:
    ids = {event.event_id for event in events}
    return [letter for letter in letters if letter.event_id in ids]


def _of_others(journal: Journal, events: Iterable[Published]) -> list[Receive]:
    """Return the receives of the events that belong to no sync, such as the review that closed this one."""
    return [
        receive
        for event in events
        if not event.sync_id
        for receive in journal.receives(("$.event_id", event.event_id), since=event.at - _EARLY)
    ]


def _start(events: Iterable[Published]) -> datetime:
    return min(event.at for event in events) - _EARLY


def _standing(view: View) -> Iterator[str]:
    if view.sync is None:
        yield "the summarizer knows nothing of this sync"
    else:
        yield closing(view.sync) if view.is_closed else f"sync {view.sync['sync_id']}: {standing(view)}"


def _queues(deployment: Deployment) -> Iterator[str]:
    """Yield a line for each service whose inbox holds messages, of any sync."""
    sqs = deployment.client("sqs")
    for service in SERVICES:
        counts = messages_in(sqs, deployment.inbox(service))
        if any(counts.values()):
            said = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
            yield f"the {service}'s inbox: {said} (of all syncs)"


def _medium(record: MediumRecord | None) -> Iterator[str]:
    if record is None:
        yield "the library table doesn't know this medium"
        return
    taken = f"taken {record.epoch} times, last by sync {record.sync_id}"
    yield f"the library table: {record.status or 'no status'}, {taken}"
    if record.stored_at:
        yield f"stored at {record.stored_at}"
    if record.reason:
        yield f"failed at {record.failed_at}: {record.reason}"


def _media_without_event(view: View, events: Iterable[Published]) -> Iterator[str]:
    """Yield a line about the media that the syncs table has and the log doesn't."""
    told = {event.media_id for event in events if event.type == MediaDiscovered.__name__}
    if untold := sorted(view.media.keys() - told):
        some = ", ".join(untold[:5]) + (", …" if len(untold) > 5 else "")  # noqa: PLR2004 - enough to go on
        yield f"the table of syncs has {len(untold)} media whose {MediaDiscovered.__name__} is not in the log: {some}"


def _orphans(roots: Iterable[Node]) -> Iterator[str]:
    lost = sum(bool(root.event.causation_id) for root in roots)
    if lost:
        yield f"{lost} {'event was' if lost == 1 else 'events were'} caused by one that is not in the log"
