"""Is the simulator worth anything? Bugs are planted, one at a time, in a copy of the services; it has to catch each.

`python -m tools.simulator.planted_bugs` prints for each bug the first seed that shows it, and by which invariant.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tools.arguments import positive
from tools.simulator.campaign import campaign
from tools.simulator.wiring import wires
from tools.template import ROOT

MOST_SEEDS = 2_000


@dataclass(frozen=True)
class Edit:
    """A replacement in a file of the services. The old text must occur exactly this many times."""

    path: str  # below services/
    old: str
    new: str
    times: int = 1


@dataclass(frozen=True)
class Bug:
    """A bug to plant. `shows` names the invariants that detect it; a crash (I0) doesn't count."""

    name: str
    shows: Sequence[str]
    edits: Sequence[Edit]


@dataclass(frozen=True)
class Caught:
    seed: int
    violation: str


BUGS: Sequence[Bug] = (
    Bug(
        "cancelled: the downloader begins all the same",
        ["I18"],
        [Edit("downloader/reactions.py", "if self._cancelled.include(event.sync_id):", "if False:")],
    ),
    Bug(
        "cancelled: the lister lists all the same",
        ["I18"],
        [Edit("lister/reactions.py", "if self._cancelled.include(event.sync_id):", "if False:", times=2)],
    ),
    Bug(
        "cancelled: a skipped medium takes the place of a result",
        ["I5"],
        [
            Edit(
                "summarizer/tally.py",
                '"SKIPPED": 1, "FAILED": 2, "DOWNLOADED": 3',
                '"FAILED": 1, "DOWNLOADED": 2, "SKIPPED": 3',
            )
        ],
    ),
    Bug(
        "no dedupe: a repeated fact counts twice",
        ["I5"],
        [
            Edit(
                "summarizer/tally.py",
                "after = _recount(after, known, medium)",
                "after = _recount(after, None if medium == known else known, medium)",
            )
        ],
    ),
    Bug(
        "closing on ≥ instead of =, with nothing expected before the listing is known",
        ["I2"],
        [
            Edit(
                "summarizer/closing.py",
                "    if sync.expected is not None:\n"
                "        if sync.settled_media != sync.expected:\n"
                "            return None\n",
                "    if sync.settled_media and sync.settled_media >= (sync.expected or 0) or sync.expected == 0:\n",
            )
        ],
    ),
    Bug(
        "publishing before closing",
        ["I1"],
        [
            Edit(
                "summarizer/reactions.py",
                "            closed = self._write_announced(sync, closed, of_summary(closing_event(closed)), media)\n",
                "            self._announcer._bus.publish([closing_event(closed)], cause=cause)\n"
                "            closed = self._write_announced(sync, closed, of_summary(closing_event(closed)), media)\n",
            )
        ],
    ),
    Bug(
        "caching a token too early: the session is kept before its refresh token",
        ["I12"],
        [
            Edit(
                "authenticator/sessions.py",
                "            self._secrets.keep_refresh_token(granted.refresh_token, credentials)\n",
                "            pass\n",
            ),
            Edit(
                "authenticator/sessions.py",
                "        self._secrets.keep_session(session)\n        self._note_accepted(session, credentials)\n",
                "        self._secrets.keep_session(session)\n"
                "        if not credentials.pasted and granted.refresh_token:\n"
                "            self._secrets.keep_refresh_token(granted.refresh_token, credentials)\n"
                "        self._note_accepted(session, credentials)\n",
            ),
        ],
    ),
    Bug(
        "a stale secret: the latest version is read, not the one that was noted under the lease",
        ["I12", "I13", "I14"],
        [
            Edit(
                "authenticator/secrets.py",
                "        noted = self._table.secret_version(secret)\n",
                '        noted = ""\n',
            )
        ],
    ),
    Bug(
        "no epoch: a worker that was overtaken continues to write",
        ["I10", "I3", "I4"],
        [
            Edit(
                "downloader/library_table.py",
                'condition: str = "epoch = :epoch"',
                'condition: str = "epoch >= :epoch"',
            ),
            Edit(
                "downloader/library_table.py",
                '"ConditionExpression": "epoch = :epoch"',
                '"ConditionExpression": "epoch >= :epoch"',
            ),
            Edit("downloader/library_table.py", 'condition="epoch = :epoch AND', 'condition="epoch >= :epoch AND'),
        ],
    ),
    Bug(
        "acknowledging before publishing",
        ["I2", "I8"],
        [
            Edit(
                "shared/inbox/inbox.py",
                "        self._bus.publish(caused, cause=event)\n",
                "        if end is None:\n"
                "            self._queue.delete_message(QueueUrl=self._inbox_url, ReceiptHandle=message._handle)\n"
                "        self._bus.publish(caused, cause=event)\n",
            )
        ],
    ),
    Bug(
        "treating a short page as complete",
        ["I2"],
        [
            Edit(
                "lister/walk.py",
                "    return page.rows >= min(granted, max(0, page.total_items - (number - 1) * granted))\n",
                "    return bool(page.rows or not page.total_items)\n",
            ),
            Edit(
                "lister/walk.py",
                "self.complete = proven and seen + self.unreadable == self.total",
                "self.complete = proven and seen + self.unreadable <= (self.total or 0)",
            ),
        ],
    ),
    Bug(
        "a walk through the newest media that believes a count that does not agree",
        ["I17"],
        [
            Edit(
                "lister/newest.py",
                "elif page.total_items < expected or (is_last and page.total_items != expected):",
                "elif page.total_items < 0:",
            )
        ],
    ),
    Bug(
        "a walk through the newest media that forgets those that are not stored yet",
        ["I17"],
        [Edit("lister/newest.py", "    return found if len(found) <= MOST_WAITING else None\n", "    return ()\n")],
    ),
    Bug(
        "publishing a listing before it is frozen",
        ["I5", "I11"],
        [
            Edit(
                "lister/reactions.py",
                "        frozen, is_ours = self._listings.freeze(event.sync_id, found.listing)\n",
                "        self._bus.publish([*_discovered(found.listing, event.sync_id)], cause=event)\n"
                "        frozen, is_ours = self._listings.freeze(event.sync_id, found.listing)\n",
            )
        ],
    ),
    Bug(
        "a tally whose write is not conditional on the version it was made from",
        ["I5"],
        [
            Edit(
                "summarizer/syncs_table.py",
                '"version = :before AND #state = :state"',
                '"(version = :before OR version <> :before) AND #state = :state"',
            )
        ],
    ),
    Bug(
        "a history that a result after the close does not change",
        ["I19"],
        [
            Edit(
                "summarizer/syncs_table.py",
                "if isinstance(after, ClosedSync):",
                "if isinstance(after, ClosedSync) and not isinstance(before, ClosedSync):",
            )
        ],
    ),
    Bug(
        "originals written without If-None-Match",
        ["I4"],
        [Edit("downloader/transfer/bucket.py", 'IfNoneMatch="*"', 'IfNoneMatch=""', times=2)],
    ),
    Bug(
        "PutEvents believed when some of its entries failed",
        ["I2"],
        [Edit("shared/bus.py", "            if left:\n", "            if len(left) == len(results):\n")],
    ),
    Bug(
        "a sync's beginning remembered before it is published",
        ["I2", "I16"],
        [
            Edit(
                "shared/inbox/inbox.py",
                "        self._bus.publish(caused, cause=event)\n"
                "        reaction.after(self._service, event, caused)\n",
                "        reaction.after(self._service, event, caused)\n"
                "        self._bus.publish(caused, cause=event)\n",
            )
        ],
    ),
    Bug(
        "all amendments of a sync with one id",
        ["I11"],
        [Edit("shared/events.py", '    identity = ("number",)\n', "    identity = ()\n")],
    ),
    Bug(
        "marking a notification as sent before it is",
        ["I8"],
        [
            Edit(
                "summarizer/announcing.py",
                "                self._send(self._notification(loud), cause)\n",
                "                for sync in claimed:\n"
                "                    self._syncs.mark_notified(sync)\n"
                "                self._send(self._notification(loud), cause)\n",
            )
        ],
    ),
    Bug(
        "an upload of an earlier version left behind",
        ["I10"],
        [
            Edit(
                "downloader/download.py",
                "                self.abort(record)  # before a new one is begun: a file never has two live uploads\n",
                "                pass\n",
            )
        ],
    ),
    Bug(
        "failures counted as downloads",
        ["I5"],
        [Edit("summarizer/tally.py", 'state="FAILED"', 'state="DOWNLOADED"')],
    ),
    Bug(
        "a summary that reports more than was counted",
        ["I2"],
        [
            Edit(
                "summarizer/closing.py",
                "downloaded=sync.downloaded,",
                "downloaded=max(sync.downloaded, discovered - outstanding),",
            )
        ],
    ),
    Bug(
        "a failed sync announced as completed",
        ["I1", "I8"],
        [
            Edit(
                "summarizer/closing.py",
                'kind = SyncFailed if sync.outcome == "failed" else SyncCompleted',
                "kind = SyncCompleted",
            )
        ],
    ),
    Bug(
        "a bad file that keeps the others of its medium from being stored",
        ["I17"],
        [
            Edit(
                "downloader/download.py",
                "                    failed[item] = (original.name or original.origin, error)\n",
                "                    failed[item] = (original.name or original.origin, error)\n"
                "                    waiting.clear()\n",
            )
        ],
    ),
    Bug(
        "rows of a listing that could not be read, left out without a word",
        ["I17"],
        [Edit("lister/listing.py", "    if walk.odd:\n", "    if walk.odd and walk.errors:\n")],
    ),
)


def plant(bug: Bug, services: Path) -> None:
    """Plant a bug in a copy of the services. Raises where the code no longer contains the expected text."""
    for edit in bug.edits:
        path = services / edit.path
        text = path.read_text()
        if (found := text.count(edit.old)) != edit.times:
            raise RuntimeError(
                f"{bug.name}: services/{edit.path} has this {found} times, not {edit.times}:\n{edit.old}"
            )
        path.write_text(text.replace(edit.old, edit.new))


def hunt(bug: Bug, *, seeds: int) -> Caught | None:
    """Return the first seed that violates an invariant, run in a process that imports the copy of the services.

    None where no seed does, or where the violated invariant isn't one of the bug's.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "services"
        shutil.copytree(ROOT / "services", copy, ignore=shutil.ignore_patterns("__pycache__"))
        plant(bug, copy)
        command = [sys.executable, "-m", "tools.simulator.planted_bugs", "--first-catch", str(seeds)]
        done = subprocess.run(
            command,
            cwd=folder,  # first on the path of a module that is run
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(f"{bug.name}: the simulator itself failed\n{done.stderr}")
    first = json.loads(done.stdout.splitlines()[-1])
    if first is None:
        return None
    seed, violations = first
    signs = [text for text in violations if text.partition(":")[0] in bug.shows]
    crashed = any(text.startswith("I0:") for text in violations)
    return Caught(seed, signs[0].splitlines()[0]) if signs and not crashed else None


def _first_catch(seeds: int) -> int:
    """Print the first seed that violates an invariant, as JSON. Runs in the process with the copy."""
    import services  # noqa: PLC0415  # only to verify which services were imported

    if not Path(str(services.__file__)).is_relative_to(Path.cwd()):
        raise RuntimeError("these are not the services that a bug was planted in")
    result = campaign(start=0, count=seeds, jobs=1, minutes=None, first_only=True)
    first = result.failed[0] if result.failed else None
    print(json.dumps(first))
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.simulator.planted_bugs", description=__doc__)
    parser.add_argument("--seeds", type=positive, default=MOST_SEEDS, help="to try for each bug")
    parser.add_argument("--jobs", type=positive, default=2, help="processes")
    parser.add_argument("--only", default="", help="the bugs whose name has this")
    parser.add_argument("--first-catch", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.first_catch is not None:
        return _first_catch(arguments.first_catch)
    wires()  # once, and not in every process
    bugs = [bug for bug in BUGS if arguments.only in bug.name]
    if not bugs:
        parser.error(f"no bug has {arguments.only!r} in its name")
    missed = 0
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for bug, caught in zip(bugs, pool.map(lambda bug: hunt(bug, seeds=arguments.seeds), bugs), strict=True):
            missed += caught is None
            print(
                f"{bug.name}\n    → {f'seed {caught.seed}, {caught.violation[:200]}' if caught else 'NOT CAUGHT'}",
                flush=True,
            )
    print(f"\n{len(bugs) - missed} of {len(bugs)} planted bugs were caught.")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
