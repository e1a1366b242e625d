"""The style of all benches' plots. Needs matplotlib, and none of the project's other requirements."""

from pathlib import Path
from typing import Any

import matplotlib as mpl  # type: ignore[import-not-found]  # installed where this runs, not where types are checked
from matplotlib import pyplot as plt

OURS, OTHERS, LINES = "#1f6f8b", "#c9b79c", "#8a8a8a"
_STYLE = {
    "font.size": 9,
    "axes.titlesize": 9,
    "svg.fonttype": "none",  # keep text as text
    "svg.hashsalt": "cloud-sync",  # else the same figures give a different file each time
}


def two_plots(height: float) -> tuple[Any, Any, Any]:
    """Return a figure of this height in inches, and its two axes side by side."""
    mpl.use("svg")
    mpl.rcParams.update(_STYLE)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, height), layout="constrained")
    return figure, left, right


def save(figure: Any, picture: Path) -> None:
    """Save as an SVG without a creation date."""
    figure.savefig(picture, format="svg", metadata={"Date": None, "Creator": None})
