"""Measures which share of several slow connections a whole sync uses."""

from pathlib import Path

from tools.bench.sync.copies import differences, in_bucket, originals
from tools.bench.sync.plan import LANES, Plan
from tools.bench.sync.results import LanesRun, Moments
from tools.bench.sync.stage import Bench, deployed


def run(plan: Plan, folder: Path) -> LanesRun:
    """Run one sync on a new stage, so that every function starts cold, as it does every night."""
    workload, library = plan.workload(), plan.lanes_library()
    with deployed(folder) as stage:
        stage.control.replace_library(library)
        wanted = {one.media_id: one.sha256 for one in originals(stage.control, library)}
        stage.control.forget()
        sync = Bench(stage).sync(patience_seconds=180 + 3 * workload.bytes / LANES.together)
        downloads = [seen for seen in stage.control.requests("cdn") if seen.method == "GET"]
        return LanesRun(
            lane=LANES,
            workload=workload,
            moments=Moments(
                discovered=sync.first("MediaDiscovered"),
                first_byte=min(seen.at for seen in downloads) - sync.asked,
                last_byte=max(seen.at + seen.seconds for seen in downloads) - sync.asked,
                stored=sync.last("MediaDownloaded"),
                completed=sync.first("SyncCompleted"),
                notified=sync.seconds,
            ),
            connections_at_once=stage.control.totals()["downloads"]["max"],
            cpu_seconds=sync.cpu_seconds,
            wrong=[*sync.wrong(workload.media), *differences(wanted, in_bucket(stage))],
        )
