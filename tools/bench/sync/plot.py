"""Draws the figure of docs/performance-sync.md from the output of `report.plot` on standard input.

Needs matplotlib, and none of the project's other requirements: python -m tools.bench.sync.plot PICTURE.svg
"""

import json
import sys
from pathlib import Path
from typing import Any

from tools.bench.picture import LINES, OTHERS, OURS, save, two_plots


def main(shown: dict[str, Any], picture: Path) -> None:
    figure, left, right = two_plots(2.8)
    _lanes(left, shown)
    _growth(right, shown["growth"])
    save(figure, picture)


def _lanes(axes: Any, shown: dict[str, Any]) -> None:
    names, rates = zip(*shown["bars"], strict=True)
    labels = [f"{name}: {rate:.1f}" for name, rate in zip(names, rates, strict=True)]
    axes.barh(labels, rates, height=0.5, color=[OURS, OTHERS][: len(names)])
    axes.invert_yaxis()
    axes.axvline(shown["ideal"], color=LINES, linewidth=1)
    axes.axvline(shown["least"], color=LINES, linewidth=1, linestyle="--")
    axes.set_xlabel("MB/s; the line is the ideal, the dashes are the goal")
    axes.set_title("The whole library through slow lanes: more is better", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _growth(axes: Any, growth: list[tuple[int, float]]) -> None:
    media, milliseconds = zip(*growth, strict=True)
    places = range(len(media))  # each length is a multiple of the one before
    axes.plot(places, milliseconds, marker="o", color=OURS)
    axes.set_xticks(places, [f"{count:,}" for count in media])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("media in the library")
    axes.set_title("Milliseconds for each small medium: flat is good", loc="left")
    axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    main(json.load(sys.stdin), Path(sys.argv[1]))
