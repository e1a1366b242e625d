"""Measures whether the time per medium grows with the library, with ever larger libraries of small media."""

from pathlib import Path

from tools.bench.sync.copies import differences, in_bucket, originals
from tools.bench.sync.plan import Plan
from tools.bench.sync.results import Growth, GrowthRun
from tools.bench.sync.stage import Bench, deployed

_WARM_UP_MEDIA = 20  # enough for every function to have made its cold starts
_PATIENCE_SECONDS = 60.0
_PATIENCE_SECONDS_PER_MEDIUM = 0.3


def run(plan: Plan, folder: Path) -> Growth:
    """Sync all libraries on one stage; no two of them share a medium.

    Short and long libraries alternate, so that other load on the machine affects all of them.
    """
    with deployed(folder) as stage:
        bench = Bench(stage)
        wanted: dict[str, str] = {}
        wrong: list[str] = []
        served = 0

        def sync(media: int) -> float:
            nonlocal served
            served += 1
            library = plan.small_library(served, media)
            stage.control.replace_library(library)
            wanted.update({one.media_id: one.sha256 for one in originals(stage.control, library)})
            done = bench.sync(patience_seconds=_PATIENCE_SECONDS + _PATIENCE_SECONDS_PER_MEDIUM * media)
            wrong.extend(done.wrong(media))
            return done.seconds

        sync(_WARM_UP_MEDIA)
        seconds: dict[int, list[float]] = {media: [] for media, _ in plan.growth}
        for turn in range(max(times for _, times in plan.growth)):
            for media, times in plan.growth:
                if turn < times:
                    seconds[media].append(sync(media))
        runs = [GrowthRun(media=media, seconds=taken) for media, taken in seconds.items()]
        wrong += differences(wanted, in_bucket(stage))
        return Growth(medium_bytes=plan.small, runs=runs, wrong=wrong)
