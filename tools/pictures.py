"""Makes the pictures of README.md from a run of the demo: its live view, and the page of its sync, light and dark."""

import html
import re
from collections.abc import Mapping
from pathlib import Path

import pyte
from playwright.sync_api import Browser, ViewportSize, sync_playwright

from ops.demo import PAGES
from ops.local.toolchain import ROOT
from tools.pseudo_terminal import PseudoTerminal, pseudo_terminal

CHROMIUM = ROOT / ".chromium" / "chromium"
FOLDER = ROOT / "docs" / "pictures"
COLUMNS, LINES = 80, 26
LOOKS = ("light", "dark")

_DEMO_SECONDS, _SHOT_SECONDS = 600.0, 120.0
_LANE = re.compile(r" \d+ % .* part \d+ of \d+$", re.MULTILINE)
_PAGE = ViewportSize(width=1080, height=1070)  # CSS pixels of the page that are shown: all above the choreography
_TERMINAL = ViewportSize(width=760, height=100)
_COLOURS: Mapping[str, Mapping[str, str]] = {
    "light": {"default": "#1f2328", "red": "#b3261e", "green": "#1a7f37", "brown": "#7d5600", "cyan": "#0b6b78"},
    "dark": {"default": "#e6edf3", "red": "#ff8a80", "green": "#56d364", "brown": "#e3b341", "cyan": "#56d4dd"},
}
_GROUNDS = {"light": "#f6f8fa", "dark": "#0d1117"}


def main() -> None:
    """Run the demo, and write a picture for each look into docs/pictures/."""
    with pseudo_terminal(["demo"], columns=COLUMNS, lines=LINES) as terminal:
        status = terminal.wait(_DEMO_SECONDS)
    if status:
        raise SystemExit(f"the demo failed, and no picture was changed:\n{terminal.picture}")
    screen = terminal.screen(_busiest(terminal))
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        for look in LOOKS:
            _shoot(chromium, FOLDER / f"page-{look}.png", look, url=(PAGES / "sync.html").as_uri())
            _shoot(chromium, FOLDER / f"live-{look}.png", look, content=_terminal(screen, look))
        chromium.close()


def _busiest(terminal: PseudoTerminal) -> int:
    """Return the number of the picture in the middle of those that show the most lanes."""
    lanes = [len(_LANE.findall(picture)) for _, picture in terminal.pictures]
    most = [number for number, count in enumerate(lanes) if count == max(lanes)]
    return most[len(most) // 2]


def _shoot(chromium: Browser, picture: Path, look: str, *, url: str = "", content: str = "") -> None:
    page = chromium.new_page(viewport=_PAGE if url else _TERMINAL, color_scheme="dark" if look == "dark" else "light")
    if url:
        page.goto(url)
    else:
        page.set_content(content)
    page.screenshot(path=picture, full_page=not url, timeout=_SHOT_SECONDS * 1000)
    print(f"written: {picture.relative_to(ROOT)}")
    page.close()


def _terminal(screen: pyte.Screen, look: str) -> str:
    """Return the lower part of a screen, from its last blank line before the live view on, as HTML."""
    rows = ["".join(_cell(screen.buffer[row][column], look) for column in range(COLUMNS)) for row in range(LINES)]
    filled = [row for row, text in enumerate(screen.display) if text.strip()]
    shown = "\n".join(rows[filled[0] : filled[-1] + 1])
    style = f"margin:0;padding:16px 20px;font:14px/1.45 monospace;background:{_GROUNDS[look]}"
    return f'<body style="margin:0"><pre style="{style}">{shown}</pre>'


def _cell(cell: pyte.screens.Char, look: str) -> str:
    colours = _COLOURS[look]
    colour = colours.get(cell.fg, colours["default"])
    weight = ";font-weight:bold" if cell.bold else ""
    return f'<span style="color:{colour}{weight}">{html.escape(cell.data)}</span>'


if __name__ == "__main__":
    main()
