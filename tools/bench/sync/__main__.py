"""`python -m tools.bench.sync`: measures whole syncs, and rewrites docs/performance-sync.md.

Exits with 0, with 1 when a goal is missed, with 2 when this machine can't run it.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn, TypeVar

import psutil

from ops.errors import OperatorError
from ops.local.embedded_aws import MINISTACK_VERSION
from ops.local.toolchain import ROOT, DeployTools, EmulatorTools
from tools.bench import machine
from tools.bench.servers import Unusable
from tools.bench.sync import growth, lanes, peer, report, time_lapse
from tools.bench.sync.plan import FULL, QUICK, Plan
from tools.bench.sync.results import Results, goals, load, save
from tools.bench.sync.stage import SETTINGS, Unfinished

PARTS = ("lanes", "peer", "time-lapse", "growth")
RESULTS = ROOT / "tools/bench/results-sync.json"
DOCUMENT = ROOT / "docs/performance-sync.md"

_PLOTTER = ROOT / ".bench/venv/bin/python"
_SPARE_MEMORY = 3 << 30  # bytes; for all processes, and for the objects that S3 assembles
_SPARE_DISK = 7 << 30  # bytes; the peer requires five of these GiB to stay free
_MISSED, _UNUSABLE, _INTERRUPTED = 1, 2, 130

_T = TypeVar("_T")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench and return the exit status."""
    parsed = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)  # when terminated or interrupted, stop all started processes
    try:
        if parsed.report:
            _write_documents(load(RESULTS))
            return 0
        return _judge(_run(QUICK if parsed.quick else FULL, parsed.only, quick=parsed.quick))
    except (Unusable, OperatorError, OSError) as error:
        print(f"bench-sync can't run: {error}", file=sys.stderr)
        return _UNUSABLE
    except Unfinished as error:
        print(f"bench-sync: {error}", file=sys.stderr)
        return _MISSED
    except KeyboardInterrupt:
        return _INTERRUPTED


def _run(plan: Plan, parts: Sequence[str], *, quick: bool) -> Results:
    """Measure, print the results, and save them."""
    _refuse_small_machines(plan)
    results = _measure(plan, parts, quick=quick)
    print(f"\n{report.text(results)}\n")
    if not quick and set(parts) == set(PARTS):
        save(results, RESULTS)
        _write_documents(results)
    return results


def _judge(results: Results) -> int:
    missed = [goal for goal in goals(results) if not goal.met]
    for goal in missed:
        print(f"MISSED: {goal.name}: {goal.measured}; wanted: {goal.wanted}", file=sys.stderr)
    return _MISSED if missed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.bench.sync", description="Measures whole syncs.")
    parser.add_argument("--quick", action="store_true", help="small libraries, only to see that it works")
    parser.add_argument(
        "--only",
        type=_parts,
        default=PARTS,
        metavar="PART,…",
        help=f"of {', '.join(PARTS)}; documents are written when all were run",
    )
    parser.add_argument(
        "--report", action="store_true", help="write the documents from the last results, measure nothing"
    )
    return parser


def _parts(text: str) -> tuple[str, ...]:
    asked = tuple(text.split(","))
    if unknown := set(asked) - set(PARTS):
        raise argparse.ArgumentTypeError(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    return asked


def _measure(plan: Plan, parts: Sequence[str], *, quick: bool) -> Results:
    results = Results(
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        quick=quick,
        machine=machine.describe(),
        load=os.getloadavg()[0],
        versions=_versions(),
        settings=SETTINGS,
    )
    with tempfile.TemporaryDirectory(dir=ROOT / ".bench", prefix="sync-") as scratch:
        folder = Path(scratch)
        if "lanes" in parts:
            results = replace(results, lanes=_told("a sync through slow lanes", lanes.run, plan, folder / "lanes"))
        if "peer" in parts:
            try:
                results = replace(results, peer=_told(peer.NAME, peer.run, plan, folder / "peer"))
            except peer.Missing as missing:
                results = replace(results, skipped={peer.NAME: f"{missing}."})
        if "time-lapse" in parts:
            run = _told("a time-lapse", time_lapse.run, plan, folder / "time-lapse")
            results = replace(results, time_lapse=run)
        if "growth" in parts:
            results = replace(results, growth=_told("growth", growth.run, plan, folder / "growth"))
    return results


def _told(name: str, run: Callable[[Plan, Path], _T], plan: Plan, folder: Path) -> _T:
    began = datetime.now(UTC)
    print(f"bench-sync: {name} …", file=sys.stderr, flush=True)
    done = run(plan, folder)
    print(f"bench-sync: {name}: {(datetime.now(UTC) - began).total_seconds():.0f} s", file=sys.stderr, flush=True)
    return done


def _versions() -> dict[str, str]:
    return {
        "Python": platform.python_version(),
        "Cloud Sync": version("cloud-sync"),
        "boto3": version("boto3"),
        "MiniStack": MINISTACK_VERSION,
    }


def _refuse_small_machines(plan: Plan) -> None:
    """Check that this machine can complete the bench, before anything starts.

    Raises `Unusable` or `OperatorError`.
    """
    EmulatorTools.find()
    DeployTools.find()
    if not _PLOTTER.exists():
        raise Unusable("Not installed: .bench/venv. Run `make .bench/.ready`.")
    library = plan.workload().bytes
    for what, wanted, free in (
        ("memory", library + _SPARE_MEMORY, psutil.virtual_memory().available),
        ("disk space", library + _SPARE_DISK, shutil.disk_usage(ROOT).free),
    ):
        if free < wanted:
            raise Unusable(f"It needs {wanted / 1e9:.0f} GB of {what}; {free / 1e9:.0f} GB are free.")


def _write_documents(results: Results) -> None:
    """Write the document and its plot, from the results alone."""
    shown = json.dumps(report.plot(results))
    target = DOCUMENT.with_name(report.PLOT)
    command: list[str | Path] = [_PLOTTER, "-m", "tools.bench.sync.plot", target]
    done = subprocess.run(command, cwd=ROOT, input=shown, text=True, check=False, capture_output=True)
    if done.returncode:
        raise Unusable(f"The plot can't be drawn:\n{done.stderr}")
    DOCUMENT.write_text(report.document(results))


def _interrupt(*_: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
