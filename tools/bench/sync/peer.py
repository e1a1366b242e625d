"""Copies the same library through the same lanes with another tool for the job: gopro-media-downloader."""

import subprocess
import time
from pathlib import Path

from ops.local.gopro_cloud import FakeGoProCloud
from ops.local.toolchain import ROOT
from tools.bench.measure import Failed, measure
from tools.bench.sync.copies import differences, in_folder, originals
from tools.bench.sync.plan import LANES, Plan
from tools.bench.sync.results import PeerRun

NAME = "gopro-media-downloader"

_PYTHON = ROOT / ".bench/peer/bin/python"
_RUNNER = ROOT / "tools/bench/peer_runner.py"
_TOKEN_SECONDS = 86_400.0


class Missing(Exception):
    """The peer can't be measured. The text says why, as a sentence about the peer."""


def run(plan: Plan, folder: Path) -> PeerRun:
    """Run the peer and measure its copy. Raises `Missing`."""
    version = _version()
    workload, library = plan.workload(), plan.lanes_library()
    copies, home = folder / "copies", folder / "home"
    home.mkdir(parents=True)
    token = home / "token"
    # In this process, which is otherwise idle meanwhile.
    with FakeGoProCloud(library) as cloud:
        wanted = {one.filename: one.sha256 for one in originals(cloud, library)}
        token.touch(mode=0o600)
        token.write_text(cloud.tokens.paste(_TOKEN_SECONDS))
        command = [_PYTHON, _RUNNER, cloud.url, "sync", "--dest", copies, "--token-file", token]
        options = ["--concurrency", LANES.count, "--non-interactive", "--quiet"]
        started = time.time()
        try:
            usage, _ = measure(
                [[str(word) for word in (*command, *options)]],
                # Without this machine's own settings.
                environment={"PATH": "/usr/bin:/bin", "HOME": str(home), "GOPRO_DL_HOME": str(home)},
                cwd=home,
                patience_seconds=180 + 3 * workload.bytes / LANES.together,
            )
        except Failed as error:
            raise Missing(f"Version {version} could not copy the library: {error}") from error
        downloads = cloud.observations.requests("cdn", method="GET")
        return PeerRun(
            name=NAME,
            version=version,
            lane=LANES,
            workload=workload,
            seconds=usage.wall,
            first_byte=min(seen.at for seen in downloads) - started,
            last_byte=max(seen.at + seen.seconds for seen in downloads) - started,
            cpu_seconds=usage.cpu,
            connections_at_once=cloud.observations.max_downloads,
            wrong=differences(wanted, in_folder(copies)),
        )


def _version() -> str:
    asked = f"from importlib.metadata import version; print(version({NAME!r}))"
    try:
        told = subprocess.run([_PYTHON, "-c", asked], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Missing("It is not installed in .bench/peer; `make .bench/peer/.ready` does it") from error
    return told.stdout.strip()
