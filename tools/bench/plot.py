"""Draws the figure of docs/performance.md.

Runs where matplotlib is installed: python -m tools.bench.plot RESULTS.json PICTURE.svg
"""

import json
import sys
from pathlib import Path
from typing import Any

from tools.bench.kit import LANE_MEGABITS, MIB
from tools.bench.names import CONNECTIONS, LANES, OURS_COLD, OURS_WARM, RELAY, UNLIMITED
from tools.bench.picture import LINES, OTHERS, OURS, save, two_plots


def main(results_path: Path, picture: Path) -> None:
    results: dict[str, Any] = json.loads(results_path.read_text())
    by_scenario: dict[str, list[dict[str, Any]]] = {}
    for row in results["summary"]:
        by_scenario.setdefault(row["scenario"], []).append(row)
    figure, left, right = two_plots(3.6)
    _bars(left, by_scenario.get(UNLIMITED, []), "cpu_seconds_per_gib", 1.0, highest_first=False)
    left.set_title("CPU seconds for a GiB: less is better", loc="left")
    _bars(right, by_scenario.get(LANES, []), "bytes_per_second", MIB, highest_first=True)
    right.set_title(f"MiB/s, at {LANE_MEGABITS} Mbit/s a connection: more is better", loc="left")
    if rate := results["lane_bytes_per_second"]:
        ideal = CONNECTIONS * rate / MIB
        right.axvline(ideal, color=LINES, linestyle="--", linewidth=1)
        right.annotate("ideal", (ideal, 0), xytext=(-4, 0), textcoords="offset points", ha="right", color=LINES)
        right.set_xlim(right=ideal * 1.12)
    save(figure, picture)


def _bars(axes: Any, rows: list[dict[str, Any]], key: str, unit: float, *, highest_first: bool) -> None:
    """Draw a bar for each contestant's median, with a whisker from the lowest to the highest round."""
    rows = sorted(rows, key=lambda row: float(row[key]["median"]), reverse=not highest_first)
    names = [row["contestant"] for row in rows]
    middle = [row[key]["median"] / unit for row in rows]
    below = [(row[key]["median"] - row[key]["low"]) / unit for row in rows]
    above = [(row[key]["high"] - row[key]["median"]) / unit for row in rows]
    axes.barh(names, middle, xerr=[below, above], color=[_color(name) for name in names], height=0.65, ecolor="#444444")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xlim(left=0)
    for position, (value, whisker) in enumerate(zip(middle, above, strict=True)):
        end = (value + whisker, position)
        axes.annotate(f"{value:.1f}", end, xytext=(4, 0), textcoords="offset points", va="center")


def _color(contestant: str) -> str:
    return {OURS_WARM: OURS, OURS_COLD: OURS, RELAY: LINES}.get(contestant, OTHERS)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
