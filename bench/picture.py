"""How the pictures of all benches look. Needs matplotlib, and nothing of the project's own requirements."""

from pathlib import Path
from typing import Any

import matplotlib as mpl  # type: ignore[import-not-found]  # it is where this runs, and not where types are checked
from matplotlib import pyplot as plt

OURS, OTHERS, LINES = "#1f6f8b", "#c9b79c", "#8a8a8a"
_STYLE = {
    "font.size": 9,
    "axes.titlesize": 9,
    "svg.fonttype": "none",  # letters stay letters
    "svg.hashsalt": "cloud-sync",  # else the same figures would give another file each time
}


def two_plots(height: float) -> tuple[Any, Any, Any]:
    """A figure of this height in inches, and its two axes side by side."""
    mpl.use("svg")
    mpl.rcParams.update(_STYLE)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, height), layout="constrained")
    return figure, left, right


def save(figure: Any, picture: Path) -> None:
    """As an SVG that says nothing of when it was made."""
    figure.savefig(picture, format="svg", metadata={"Date": None, "Creator": None})
