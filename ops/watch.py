"""Follows a sync in the tables until it closes."""

import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from boto3.dynamodb.conditions import Attr, Key

from ops.deployment import Deployment
from ops.errors import OperatorError
from ops.progress import View, changes, standing
from services.shared.library import DOWNLOADING, medium_records

EXIT_STATUS = {"completed": 0, "partial": 1, "failed": 1}

_UNKNOWN_SECONDS = 60.0  # how long a sync that nobody has heard of is waited for
_STANDING_SECONDS = 10.0  # between two lines that say how it stands, where the line can't be redrawn


class Terminal:
    """Lines, and below them in a terminal one that is redrawn."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream or sys.stdout
        self._clock = clock
        self._redraws = self._stream.isatty()
        self._standing = ""
        self._told_at = clock()

    def line(self, text: str) -> None:
        self._clear()
        print(text, file=self._stream, flush=True)
        self._told_at = self._clock()

    def standing(self, text: str) -> None:
        """How it stands: redrawn in a terminal; elsewhere a line when it is new and nothing was said for a while."""
        if self._redraws:
            self._clear()
            print(f"  {text}"[:100], end="\r", file=self._stream, flush=True)
        elif text != self._standing and self._clock() - self._told_at >= _STANDING_SECONDS:
            self.line(f"  {text}")
            self._standing = text

    def _clear(self) -> None:
        if self._redraws:
            print("\x1b[2K", end="", file=self._stream)


def watch(
    deployment: Deployment, sync_id: str, *, timeout: float | None = None, terminal: Terminal | None = None
) -> View:
    """Tells the progress of a sync until it is closed, and returns its last view.

    Raises `OperatorError` when it is not closed after `timeout` seconds, or nobody has heard of it after a minute.
    """
    terminal = terminal or Terminal()
    began = time.monotonic()
    view = View()
    while True:
        before, view = view, look(deployment, sync_id)
        for line in changes(before, view):
            terminal.line(line)
        if view.is_closed:
            return view
        terminal.standing(standing(view))
        waited = time.monotonic() - began
        given_up = timeout is not None and waited >= timeout
        if view.sync is None and (given_up or waited >= _UNKNOWN_SECONDS):
            raise OperatorError(
                f"Nobody has heard of a sync {sync_id} in {waited:.0f} s. Is that its id? "
                "If so, see with `.venv/bin/cloud-sync status` whether the summarizer's inbox is being read."
            )
        if given_up:
            raise OperatorError(f"Still open after {waited:.0f} s. Go on with: .venv/bin/cloud-sync watch {sync_id}")
        time.sleep(0.5 if deployment.endpoint_url else 3.0)


def look(deployment: Deployment, sync_id: str) -> View:
    """The sync as the tables show it now."""
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
    outstanding = [media_id for media_id, medium in media.items() if medium["state"] == "DISCOVERED"]
    library = deployment.table("LibraryTableName")
    known = medium_records(library.meta.client, library.name, outstanding)
    now = time.time()
    working = {
        media_id: record
        for media_id, record in known.items()
        if record.get("status") == DOWNLOADING and record.get("lease_until", 0) > now
    }
    return View(sync=sync, media=media, working=working)


def last_sync(deployment: Deployment) -> str:
    """The sync that was asked for last, an open one before a closed one. Raises `OperatorError` when there is none."""
    table = deployment.table("SyncsTableName")
    open_ids = [item["record"] for item in table.query(KeyConditionExpression=Key("sync_id").eq("#unsettled"))["Items"]]
    syncs = [table.get_item(Key={"sync_id": sync_id, "record": "sync"}).get("Item") for sync_id in open_ids]
    candidates = [sync for sync in syncs if sync] or _all_syncs(table)
    if not candidates:
        raise OperatorError(f"No sync has run yet {deployment.place}. Start one: .venv/bin/cloud-sync trigger")
    return str(
        max(candidates, key=lambda sync: (sync.get("state") == "OPEN", str(sync.get("requested_at"))))["sync_id"]
    )


def _all_syncs(table: Any) -> list[dict[str, Any]]:
    pages = table.meta.client.get_paginator("scan").paginate(
        TableName=table.name, FilterExpression=Attr("record").eq("sync")
    )
    return [sync for page in pages for sync in page["Items"]]
