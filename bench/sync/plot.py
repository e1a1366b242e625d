"""Draws the figure of docs/performance-sync.md, from what `report.plot` gives, on its input.

Runs where matplotlib is, and nothing of the project's own requirements: python -m bench.sync.plot PICTURE.svg
"""

import json
import sys
from typing import Any

import matplotlib as mpl  # type: ignore[import-not-found]  # it is where this runs, and not where types are checked
from matplotlib import pyplot as plt

STYLE = {
    "font.size": 9,
    "axes.titlesize": 9,
    "svg.fonttype": "none",  # letters stay letters
    "svg.hashsalt": "cloud-sync",  # else the same figures would give another file each time
}
NO_DATE = {"Date": None, "Creator": None}
OURS, OTHERS, LINES = "#1f6f8b", "#c9b79c", "#8a8a8a"


def main(shown: dict[str, Any], picture: str) -> None:
    mpl.use("svg")
    mpl.rcParams.update(STYLE)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 2.8), layout="constrained")
    _lanes(left, shown)
    _growth(right, shown["growth"])
    figure.savefig(picture, format="svg", metadata=NO_DATE)


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
    places = range(len(media))  # each of the lengths is a multiple of the one before
    axes.plot(places, milliseconds, marker="o", color=OURS)
    axes.set_xticks(places, [f"{count:,}" for count in media])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("media in the library")
    axes.set_title("Milliseconds for each small medium: flat is good", loc="left")
    axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    main(json.load(sys.stdin), sys.argv[1])
