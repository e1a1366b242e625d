"""How a stack stands: its queues, its session, the last syncs and the next one, and the one thing to do."""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from botocore.exceptions import ClientError

from ops.deployment import Deployment
from ops.errors import OperatorError
from ops.progress import View, closing, described, printable, size, standing
from ops.queues import DELIVERABLE, WORDS, messages_in
from ops.watch import last_sync, look, unsettled_syncs
from services.authenticator.health import Health
from services.shared.clock import Clock
from services.shared.events import SERVICES
from services.summarizer.history import PastSync
from services.summarizer.page.wording import lasting

_RECENT = 5
STYLES = {
    "to do: nothing": "green",
    "to do: ": "bold yellow",
    "FAILED": "red",
    "incomplete": "yellow",
    "refused": "red",
}
_VERDICTS = {"well": "all well", "partial": "incomplete", "failed": "FAILED"}


@dataclass(frozen=True, kw_only=True)
class Queues:
    """The numbers of messages in a service's inbox and in its dead-letter queue."""

    service: str
    waiting: int
    in_work: int
    delayed: int
    dead_letters: int


@dataclass(frozen=True, kw_only=True)
class StackStatus:
    """How a stack stands."""

    deployment: Deployment
    queues: Sequence[Queues]
    undelivered: int  # events that the bus could not deliver
    session: Health
    unsettled: int  # syncs that are open, or closed and not announced
    syncs: Sequence[View]  # the unsettled ones, and then the latest
    recent: Sequence[PastSync]  # the last closed ones, the latest first
    next_sync: str  # when it is due, or why there is none; empty if the stack's outputs don't tell

    @property
    def dead_letters(self) -> int:
        """The dead letters of all services, with the events that the bus could not deliver."""
        return sum(queue.dead_letters for queue in self.queues) + self.undelivered

    def lines(self) -> Iterator[str]:
        """Yield the status as lines of text."""
        yield f"{'':14}{''.join(f'{name:>9}' for name in WORDS.values())}{'dead letters':>14}"
        for one in self.queues:
            counts = one.waiting, one.in_work, one.delayed
            yield f"{one.service:14}{''.join(f'{count:>9}' for count in counts)}{one.dead_letters:>14}"
        if self.undelivered:
            shows = "`cloud-sync failures` shows for which service"
            yield f"events that the bus could not deliver: {self.undelivered}; {shows}"
        if self.session.first_refused:
            yield f"session with GoPro: refused since {self.session.first_refused}"
        elif self.session.since:
            yield f"session with GoPro: since {self.session.since}, last accepted {self.session.last_accepted}"
        yield from _table(self.recent)
        yield f"unsettled syncs: {self.unsettled}"
        for view in self.syncs:
            yield from _sync(view)
        if self.next_sync:
            yield f"next daily sync: {self.next_sync}"
        yield f"to do: {to_do(self) or 'nothing'}"

    def described(self) -> dict[str, object]:
        """Return the status for other programs."""
        return {
            "queues": [asdict(one) for one in self.queues],
            "undelivered_events": self.undelivered,
            "dead_letters": self.dead_letters,
            "session": asdict(self.session),
            "unsettled_syncs": self.unsettled,
            "syncs": [{**described(view), "media": len(view.media)} for view in self.syncs],
            "recent": [{**asdict(past), "verdict": past.verdict} for past in self.recent],
            "next_sync": self.next_sync or None,
            "to_do": to_do(self) or None,
        }


def to_do(status: StackStatus) -> str:
    """Return the one thing that an operator should do next; empty if there is none. The most urgent comes first."""
    command = status.deployment.command
    if status.session.first_refused:
        return f"GoPro refuses the session; sign in again: {command('credentials login')}"
    dead = [queue.service for queue in status.queues if queue.dead_letters]
    if status.dead_letters:
        after = f"then {command(f'redrive --service {dead[0]}')}" if dead else "then redrive them"
        return f"see why messages failed: {command('failures')}, fix the cause, {after}"
    for view in status.syncs:
        if _is_unannounced(view):
            return "look whether the notification topic still exists: a closed sync could not be announced"
    if "disabled" in status.next_sync:
        return "enable the daily schedule: no sync begins by itself"
    last = next(iter(status.recent), None)
    open_syncs = any(not view.is_closed for view in status.syncs)
    if last and last.verdict == "failed" and not open_syncs:
        why = f" ({printable(last.reason)})" if last.reason else ""
        return f"the last sync failed{why}; once the cause is fixed: {command('trigger --wait')}"
    return ""


def status(deployment: Deployment) -> StackStatus:
    """Return how a stack stands."""
    unsettled, syncs = unsettled_syncs(deployment), list[str]()
    with suppress(OperatorError):  # before the first sync
        latest = last_sync(deployment)
        syncs = [*(one for one in unsettled if one != latest), latest]
    return StackStatus(
        deployment=deployment,
        queues=[_queues(deployment, service) for service in SERVICES],
        undelivered=_waiting_in(deployment, deployment.undelivered) if deployment.undelivered else 0,
        session=deployment.session_health(),
        unsettled=len(unsettled),
        syncs=[look(deployment, sync_id) for sync_id in syncs],
        recent=deployment.syncs().recent(_RECENT),
        next_sync=_next_sync(deployment),
    )


def _queues(deployment: Deployment, service: str) -> Queues:
    inbox = messages_in(deployment.client("sqs"), deployment.inbox(service))
    waiting, in_work, delayed = (inbox[word] for word in WORDS.values())
    dead = _waiting_in(deployment, deployment.dead_letters(service))
    return Queues(service=service, waiting=waiting, in_work=in_work, delayed=delayed, dead_letters=dead)


def _waiting_in(deployment: Deployment, queue: str) -> int:
    return messages_in(deployment.client("sqs"), queue)[DELIVERABLE]


def _table(syncs: Sequence[PastSync]) -> Iterator[str]:
    if not syncs:
        return
    yield f"{'last syncs, UTC':18}{'':12}{'new':>7}{'stored':>8}{'missing':>9}{'bytes':>11}{'took':>15}"
    for past in syncs:
        requested, closed = (datetime.fromisoformat(at) for at in (past.requested_at, past.closed_at))
        counts = f"{past.discovered:>7}{past.downloaded:>8}{past.unexpected:>9}{size(past.bytes):>11}"
        took = lasting((closed - requested).total_seconds())
        yield f"{requested:%Y-%m-%d %H:%M}  {_VERDICTS[past.verdict]:12}{counts}{took:>15}"


def _sync(view: View) -> Iterator[str]:
    if view.sync is None:
        return
    yield closing(view.sync) if view.is_closed else f"sync {view.sync['sync_id']}: {standing(view)}"
    closed_at = (view.sync.get("summary") or {}).get("closed_at")
    yield f"  requested at {view.sync.get('requested_at')}" + (f", closed at {closed_at}" if closed_at else "")
    if _is_unannounced(view):
        yield "  its notification has not been sent yet; every review tries again. Does the topic still exist?"


def _is_unannounced(view: View) -> bool:
    return view.is_closed and not ((view.sync or {}).get("announcement") or {}).get("notified")


def _next_sync(deployment: Deployment) -> str:
    names = {"GroupName": "ScheduleGroupName", "Name": "DailyScheduleName"}
    if not deployment.outputs.keys() >= set(names.values()):
        return ""
    try:
        schedule = deployment.client("scheduler").get_schedule(
            **{name: deployment.outputs[output] for name, output in names.items()}
        )
    except ClientError as error:
        return f"unknown, {error.response['Error'].get('Code')}"
    if schedule["State"] != "ENABLED":
        return "none, its schedule is disabled"
    zone = ZoneInfo(schedule["ScheduleExpressionTimezone"])
    due = next_run(schedule["ScheduleExpression"], Clock().now().astimezone(zone))
    return f"{due:%Y-%m-%d %H:%M} {zone.key}" if due else str(schedule["ScheduleExpression"])


def next_run(expression: str, now: datetime) -> datetime | None:
    """Return when a daily schedule is due next, in the time zone of `now`; None if it is not a daily one."""
    daily = re.fullmatch(r"cron\((\d+) (\d+) \* \* \? \*\)", expression)
    if daily is None:
        return None
    today = now.replace(hour=int(daily[2]), minute=int(daily[1]), second=0, microsecond=0)
    return today if today > now else today + timedelta(days=1)
