"""Follows a sync in the tables until it closes."""

import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol, TextIO

from boto3.dynamodb.conditions import Attr, Key

from ops.deployment import Deployment
from ops.errors import OperatorError
from ops.live import LiveScreen
from ops.progress import View, changes, folded, standing
from ops.terminal import is_dumb, is_plain
from services.authenticator.authenticator_table import sync_key
from services.shared.cancellations import SYNC
from services.shared.clock import Clock
from services.shared.library.records import Status

EXIT_STATUS = {"completed": 0, "partial": 1, "failed": 1}

JUST_REQUESTED_SECONDS = 60.0  # within which a sync that was just requested is in the table
GRACE_SECONDS = 10.0  # how long to look for any other sync: it may have been requested just now

_GLANCE_SECONDS = 1.0  # between two looks at the lanes alone
_STANDING_SECONDS = 10.0  # between two lines that say how the sync stands, where the line can't be redrawn


class Screen(Protocol):
    """Where a sync is shown."""

    redraws: bool  # whether to show it again before the tables are read again in full

    def line(self, text: str) -> None:
        """Print a line about something that happened."""

    def show(self, view: View, quiet: str) -> None:
        """Show how the sync stands. `quiet`: since when nothing was new, in words; or empty."""

    def end(self) -> None:
        """Remove what only holds for the moment."""


def screen(stream: TextIO | None = None, *, width: int | None = None) -> Screen:
    """Return a live picture where the stream is a terminal that can show one, otherwise lines of text."""
    stream = stream or sys.stdout
    return Terminal(stream, width=width) if is_plain(stream) else LiveScreen(stream, width=width)


class Terminal:
    """Prints lines and, in a terminal, one line below them that is redrawn."""

    redraws = False

    def __init__(
        self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic, *, width: int | None = None
    ) -> None:
        """`width`: where lines are folded. By default that is the width of the terminal, and nowhere outside one."""
        self._stream = stream or sys.stdout
        self._clock = clock
        self._erases = self._stream.isatty() and not is_dumb()
        self._width = width or (shutil.get_terminal_size().columns if self._stream.isatty() else None)
        self._standing = ""
        self._printed_at = clock()

    def line(self, text: str) -> None:
        self._clear()
        print(*folded(text, self._width), sep="\n", file=self._stream, flush=True)
        self._printed_at = self._clock()

    def show(self, view: View, quiet: str) -> None:
        self.standing(standing(view) + quiet)

    def standing(self, text: str) -> None:
        """Redraw how the sync stands. Outside a terminal: print it if it is new and nothing was printed for a while."""
        if self._erases:
            self._clear()
            print(f"  {text}"[: self._width and self._width - 1], end="\r", file=self._stream, flush=True)
        elif text != self._standing and self._clock() - self._printed_at >= _STANDING_SECONDS:
            self.line(f"  {text}")
            self._standing = text

    def end(self) -> None:
        """Remove the line that is redrawn."""
        self._clear()
        self._stream.flush()

    def _clear(self) -> None:
        if self._erases:
            print("\x1b[2K", end="", file=self._stream)


def watch(
    deployment: Deployment,
    sync_id: str,
    *,
    timeout: float | None = None,
    grace: float = JUST_REQUESTED_SECONDS,
    terminal: Screen | None = None,
    clock: Clock | None = None,
) -> View:
    """Print the progress of a sync until it closes, and return its last view.

    Raises `OperatorError` when the sync is not closed after `timeout` seconds, or still unknown after `grace` seconds.
    """
    terminal = terminal or screen()
    try:
        return _watch(deployment, sync_id, timeout=timeout, grace=grace, terminal=terminal, clock=clock or Clock())
    finally:
        terminal.end()


def _watch(
    deployment: Deployment, sync_id: str, *, timeout: float | None, grace: float, terminal: Screen, clock: Clock
) -> View:
    began = moved = clock.monotonic()
    view = look(deployment, sync_id)
    if view.sync is None and grace < JUST_REQUESTED_SECONDS:
        terminal.line(f"no sync {sync_id} yet; looking for {grace:.0f} s, in case it was requested just now")
    before = View()
    while True:
        now = clock.monotonic()
        for line in changes(before, view):
            terminal.line(line)
        if view.is_over:
            return view
        moved = moved if view.progress == before.progress else now
        terminal.show(view, _quiet(now - moved))
        waited = now - began
        if view.sync is None and waited >= min(grace, grace if timeout is None else timeout):
            raise OperatorError(
                f"There is no sync {sync_id} {deployment.place}, after {waited:.0f} s. If it was requested, see with "
                f"`{deployment.command('status')}` whether the summarizer reads its inbox."
            )
        if timeout is not None and waited >= timeout:
            raise OperatorError(f"Still open after {waited:.0f} s. To resume: {resume(deployment, sync_id)}")
        _pause(deployment, view, terminal, clock)
        before, view = view, look(deployment, sync_id)


def _pause(deployment: Deployment, view: View, terminal: Screen, clock: Clock) -> None:
    """Wait until the next look at the tables. Meanwhile show every second how far the lanes are."""
    left = poll_seconds(deployment)
    while terminal.redraws and left > _GLANCE_SECONDS:
        clock.sleep(_GLANCE_SECONDS)
        left -= _GLANCE_SECONDS
        view = glance(deployment, view)
        terminal.show(view, "")
    clock.sleep(left)


def poll_seconds(deployment: Deployment) -> float:
    """Return how long to wait between two looks at the tables."""
    return 0.5 if deployment.endpoint_url else 3.0


def resume(deployment: Deployment, sync_id: str) -> str:
    """Return the command that shows this sync again."""
    return deployment.command(f"watch {sync_id}")


def _quiet(seconds: float) -> str:
    minutes = int(seconds // 60)
    return f"; nothing new for {minutes} min" if minutes else ""


def look(deployment: Deployment, sync_id: str) -> View:
    """Return the sync as the tables show it now."""
    sync: dict[str, Any] | None = None
    media: dict[str, dict[str, Any]] = {}
    table = deployment.table("SyncsTableName")
    pages = table.meta.client.get_paginator("query").paginate(
        TableName=table.name, KeyConditionExpression=Key("sync_id").eq(sync_id)
    )
    for page in pages:
        for record in page["Items"]:
            kind, _, media_id = record["record"].partition("#")
            if kind == "sync":
                sync = record
            else:
                media[media_id] = record
    is_open = sync is None or sync.get("state") != "CLOSED"
    unstored = [media_id for media_id, medium in media.items() if medium["state"] != "DOWNLOADED"]
    known, now = deployment.library().media(unstored), Clock().now()
    leased = {media_id: record for media_id, record in known.items() if record.is_leased(now)}
    own = {media_id: record for media_id, record in leased.items() if record.sync_id in ("", sync_id)}
    others = {
        media_id: record
        for media_id, record in leased.items()
        if media_id not in own and is_open and media[media_id]["state"] == "DISCOVERED"
    }
    begins = sync is not None and is_open and sync.get("expected") is None and not media
    signed_in = not begins or _is_signed_in(deployment, sync_id)
    untold = {
        media_id: record
        for media_id, record in known.items()
        if record.status == Status.STORED and record.sync_id == sync_id and media[media_id]["state"] == "DISCOVERED"
    }
    return View(sync=sync, media=media, working=own, elsewhere=others, untold=untold, signed_in=signed_in)


def glance(deployment: Deployment, view: View) -> View:
    """Return a view with the lanes as the library table shows them now. Everything else is as it was."""
    lanes = {**view.working, **view.elsewhere}
    if not lanes:
        return view
    now = Clock().now()
    known = {media_id: one for media_id, one in deployment.library().media(lanes).items() if one.is_leased(now)}
    return replace(
        view,
        working={media_id: record for media_id, record in known.items() if media_id in view.working},
        elsewhere={media_id: record for media_id, record in known.items() if media_id in view.elsewhere},
    )


def _is_signed_in(deployment: Deployment, sync_id: str) -> bool:
    found = deployment.table("AuthenticatorTableName").get_item(Key=sync_key(sync_id))
    return bool(found.get("Item", {}).get("status") == "COMPLETED")


def unsettled_syncs(deployment: Deployment) -> list[str]:
    """Return the ids of the syncs that are open, or closed and not announced yet."""
    unsettled = deployment.table("SyncsTableName").query(KeyConditionExpression=Key("sync_id").eq("#unsettled"))
    return [item["record"] for item in unsettled["Items"]]


def last_sync(deployment: Deployment) -> str:
    """Return the sync that was requested last. Raises `OperatorError` when there is none."""
    table = deployment.table("SyncsTableName")
    closed = deployment.syncs().recent(1)
    if closed and not closed[0].imported:
        requested = {past.sync_id: past.requested_at for past in closed}
        for sync_id in unsettled_syncs(deployment):
            sync = table.get_item(Key={"sync_id": sync_id, "record": SYNC}).get("Item", {})
            requested.setdefault(sync_id, str(sync.get("requested_at", "")))
    else:
        # No sync has closed since there is a history: only the syncs themselves tell.
        requested = _all_syncs(table)
    if not requested:
        start = deployment.command("trigger")
        raise OperatorError(f"No sync has run yet {deployment.place}. Start one: {start}")
    return max(requested, key=lambda sync_id: requested[sync_id])


def _all_syncs(table: Any) -> dict[str, str]:
    """Return when each sync was requested, by id. Reads the whole table."""
    pages = table.meta.client.get_paginator("scan").paginate(
        TableName=table.name,
        FilterExpression=Attr("record").eq(SYNC),
        ProjectionExpression="sync_id, requested_at",
    )
    return {str(sync["sync_id"]): str(sync.get("requested_at")) for page in pages for sync in page["Items"]}
