"""Syncs of ever longer libraries of small media: does a medium take longer the more there are?"""

from pathlib import Path

from bench.sync.copies import differences, in_bucket, originals
from bench.sync.plan import Plan
from bench.sync.results import Growth, GrowthRun
from bench.sync.stage import Bench, deployed

_WARM_UP_MEDIA = 20  # enough for every function to have started as often as it will
_PATIENCE_SECONDS = 60.0
_PATIENCE_SECONDS_PER_MEDIUM = 0.3


def run(plan: Plan, folder: Path) -> Growth:
    """All libraries on one stage, one after the other; each holds nothing that one before it held.

    They take turns, short and long, so that whatever else this machine does meanwhile falls upon all of them.
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
