"""Is the simulator worth anything? Bugs are planted, one at a time, in a copy of the services; it has to catch each.

`python -m tests.simulation.planted_bugs` prints for each bug the first seed that shows it, and by which invariant.
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

from ops.command import positive
from tests.simulation.campaign import campaign
from tests.simulation.wiring import wires
from tests.template import ROOT

MOST_SEEDS = 2_000


@dataclass(frozen=True)
class Edit:
    """A replacement in a file of the services, whose text has to stand there just so often."""

    path: str  # below services/
    old: str
    new: str
    times: int = 1


@dataclass(frozen=True)
class Bug:
    """`shows`: the invariants whose violation is this bug's sign; a crash (I0) is nobody's."""

    name: str
    shows: Sequence[str]
    edits: Sequence[Edit]


@dataclass(frozen=True)
class Caught:
    seed: int
    violation: str


BUGS: Sequence[Bug] = (
    Bug(
        "no dedupe: a fact that comes twice counts twice",
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
                '        return "complete" if sync.settled_media == sync.expected else None\n',
                "    if sync.settled_media and sync.settled_media >= (sync.expected or 0) or sync.expected == 0:\n"
                '        return "complete"\n',
            )
        ],
    ),
    Bug(
        "publishing before closing",
        ["I1"],
        [
            Edit(
                "summarizer/summarizer.py",
                "            self._syncs.write(sync, closed)\n",
                "            self._announcer._bus.publish([closing_event(closed)], cause=cause)\n"
                "            self._syncs.write(sync, closed)\n",
            ),
            Edit(
                "summarizer/summarizer.py",
                "from services.summarizer.closing import amend, close, why_to_close",
                "from services.summarizer.closing import amend, close, closing_event, why_to_close",
            ),
        ],
    ),
    Bug(
        "caching a token too early: the session is kept before its refresh token is",
        ["I12"],
        [
            Edit(
                "authenticator/session.py",
                "            self._vault.keep_refresh_token(granted.refresh_token, credentials)\n",
                "            pass\n",
            ),
            Edit(
                "authenticator/session.py",
                '        self._vault.keep_session(session)\n        logger.info("A new session"',
                "        self._vault.keep_session(session)\n"
                "        if not credentials.pasted and granted.refresh_token:\n"
                "            self._vault.keep_refresh_token(granted.refresh_token, credentials)\n"
                '        logger.info("A new session"',
            ),
        ],
    ),
    Bug(
        "no epoch: a worker that was overtaken goes on writing",
        ["I10", "I3", "I4"],
        [
            Edit("downloader/lease.py", 'condition: str = "epoch = :epoch"', 'condition: str = "epoch >= :epoch"'),
            Edit(
                "downloader/lease.py",
                '"ConditionExpression": "epoch = :epoch"',
                '"ConditionExpression": "epoch >= :epoch"',
            ),
            Edit("downloader/lease.py", 'condition="epoch = :epoch AND', 'condition="epoch >= :epoch AND'),
        ],
    ),
    Bug(
        "acknowledging before publishing",
        ["I2", "I8"],
        [
            Edit(
                "shared/inbox.py",
                "            self._bus.publish(caused, cause=event)\n",
                "            if end is None:\n"
                "                self._queue.delete_message(QueueUrl=self._inbox_url, ReceiptHandle=message._handle)\n"
                "            self._bus.publish(caused, cause=event)\n",
            )
        ],
    ),
    Bug(
        "treating a short page as complete",
        ["I2"],
        [
            Edit(
                "lister/walk.py",
                "            if len(page.media) == min("
                "self.page_size, max(0, page.total_items - (number - 1) * self.page_size)):\n",
                "            if page.media or not page.total_items:\n",
            ),
            Edit(
                "lister/walk.py",
                "self.complete = seen == self.total and not self.changed",
                "self.complete = seen <= (self.total or 0) and not self.changed",
            ),
        ],
    ),
    Bug(
        "telling a listing before it is frozen",
        ["I5", "I11"],
        [
            Edit(
                "lister/listing.py",
                "        frozen, ours = self._archive.freeze(\n",
                "        told = [_discovered(medium, event.sync_id) for medium in admission.admitted]\n"
                "        self._bus.publish(told, cause=event)\n"
                "        frozen, ours = self._archive.freeze(\n",
            )
        ],
    ),
    Bug(
        "a tally whose write doesn't depend on what it was made from",
        ["I5"],
        [
            Edit(
                "summarizer/syncs.py",
                '"version = :before AND #state = :state"',
                '"(version = :before OR version <> :before) AND #state = :state"',
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
        [
            Edit(
                "shared/bus.py",
                "            if not entries:\n                return\n",
                "            if len(entries) < len(results):\n                return\n",
            )
        ],
    ),
    Bug(
        "a sync's beginning remembered before it is told",
        ["I2", "I16"],
        [
            Edit(
                "authenticator/authentication.py",
                "            self._bus.publish([outcome], cause=event)\n            told = True\n",
                "            message.untold = outcome\n",
            ),
            Edit(
                "authenticator/authentication.py",
                "        if not done_now:\n",
                "        if done_now:\n"
                "            self._bus.publish([message.untold], cause=event)\n"
                "        if not done_now:\n",
            ),
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
                "        try:\n            self._send(self._notification(claimed))\n",
                "        for sync in claimed:\n"
                "            self._syncs.mark_notified(sync)\n"
                "        try:\n            self._send(self._notification(claimed))\n",
            )
        ],
    ),
    Bug(
        "an upload of a former version left behind",
        ["I10"],
        [
            Edit(
                "downloader/download.py",
                "                # First this, then a new one: there is never more than one live upload of an item.\n"
                "                self._abort(record)\n",
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
        "a summary that says more than was counted",
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
        "a sync that could not work, told as completed",
        ["I1", "I8"],
        [
            Edit(
                "summarizer/closing.py",
                'kind = SyncFailed if sync.outcome == "failed" else SyncCompleted',
                "kind = SyncCompleted",
            )
        ],
    ),
)


def plant(bug: Bug, services: Path) -> None:
    """Edits a copy of the services. Raises where the code is no longer as the bug knows it."""
    for edit in bug.edits:
        path = services / edit.path
        text = path.read_text()
        if (found := text.count(edit.old)) != edit.times:
            raise RuntimeError(
                f"{bug.name}: services/{edit.path} has this {found} times, not {edit.times}:\n{edit.old}"
            )
        path.write_text(text.replace(edit.old, edit.new))


def hunt(bug: Bug, *, seeds: int) -> Caught | None:
    """The first seed that violates anything, in a process that sees the copy instead of the services.

    None where none does, or where what it violates isn't the bug's sign.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "services"
        shutil.copytree(ROOT / "services", copy, ignore=shutil.ignore_patterns("__pycache__"))
        plant(bug, copy)
        command = [sys.executable, "-m", "tests.simulation.planted_bugs", "--first-catch", str(seeds)]
        done = subprocess.run(
            command,
            cwd=folder,  # which comes first on the path of a module that is run
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
    """In the process with the copy: the first seed that violates anything, as JSON."""
    import services  # noqa: PLC0415  # only to see which ones these are

    if not Path(str(services.__file__)).is_relative_to(Path.cwd()):
        raise RuntimeError("these are not the services that a bug was planted in")
    result = campaign(start=0, count=seeds, jobs=1, minutes=None, first_only=True)
    first = result.failed[0] if result.failed else None
    print(json.dumps(first))
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.planted_bugs", description=__doc__)
    parser.add_argument("--seeds", type=positive, default=MOST_SEEDS, help="to try for each bug")
    parser.add_argument("--jobs", type=positive, default=2, help="processes")
    parser.add_argument("--only", default="", help="the bugs whose name has this")
    parser.add_argument("--first-catch", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.first_catch is not None:
        return _first_catch(arguments.first_catch)
    wires()  # once, rather than in every process
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
