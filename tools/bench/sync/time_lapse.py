"""Measures how fast one medium of many small files is stored."""

from pathlib import Path

from tools.bench.sync.copies import differences, in_bucket, originals
from tools.bench.sync.plan import LANES, LATENCY_SECONDS, Plan
from tools.bench.sync.results import TimeLapseRun
from tools.bench.sync.stage import Bench, deployed


def run(plan: Plan, folder: Path) -> TimeLapseRun:
    """Sync a library of one time-lapse, with production's connections, on a new stage."""
    library = plan.time_lapse_library()
    with deployed(folder, {"log_level": "INFO"}) as stage:
        stage.control.replace_library(library)
        wanted = {one.filename: one.sha256 for one in originals(stage.control, library)}
        stage.control.forget()
        sync = Bench(stage).sync(patience_seconds=300)
        return TimeLapseRun(
            files=plan.frames,
            file_bytes=plan.frame,
            bytes_per_second=LANES.bytes_per_second,
            latency_seconds=LATENCY_SECONDS,
            seconds=sync.last("MediaDownloaded") - sync.first("MediaDiscovered"),
            connections_at_once=stage.control.totals()["downloads"]["max"],
            cpu_seconds=sync.cpu_seconds,
            wrong=[*sync.wrong(1), *differences(wanted, in_bucket(stage, named_by="original-name"))],
        )
