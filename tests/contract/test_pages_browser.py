"""The pages in a real Chromium: on a phone and a desktop, in light and dark, printed, by keyboard and for axe-core."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

from ops import story_page
from tests import library_pages
from tests.pages import EXAMPLES, HOSTILE, Told, sync_of
from tests.unit.story_events import a_retried_medium, hostile
from tools.template import ROOT

CHROMIUM = ROOT / ".chromium" / "chromium"
AXE = ROOT / ".chromium" / "node_modules" / "axe-core" / "axe.min.js"
PHONE, DESKTOP = 375, 1440
LOOKS = ("light", "dark", "print")


def drawn(made: Callable[[], Told]) -> bytes:
    return made().page()


PAGES: Mapping[str, Callable[[], bytes]] = {
    **{name: partial(drawn, made) for name, made in EXAMPLES.items()},
    "story": lambda: story_page.page(a_retried_medium()),
    "hostile story": lambda: story_page.page(hostile()),
    **library_pages.PAGES,
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    assert CHROMIUM.exists(), "make .chromium/.ready"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    found = {name: folder / f"{number}.html" for number, name in enumerate(PAGES)}
    for name, path in found.items():
        path.write_bytes(PAGES[name]())
    return found


class Shown:
    """A page in a window, and what it said and asked for."""

    def __init__(self, chromium: Browser, file: Path, *, width: int = DESKTOP, look: str = "light") -> None:
        self.page: Page = chromium.new_page(viewport={"width": width, "height": 900})
        self.said: list[str] = []
        self.asked: list[str] = []
        self.refused: list[str] = []
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: self.said.append(f"dialog: {dialog.message}"))
        self.page.on("request", self._request)
        self.page.on("requestfailed", lambda request: self.refused.append(str(request.failure)))
        self.page.goto(file.as_uri())
        self.page.emulate_media(
            color_scheme="dark" if look == "dark" else "light", media="print" if look == "print" else "screen"
        )

    def _console(self, message: ConsoleMessage) -> None:
        self.said.append(message.text)

    def _request(self, request: Request) -> None:
        self.asked.append(request.url)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.page.close()


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_its_window_and_axe_finds_nothing(
    chromium: Browser, files: Mapping[str, Path], name: str, width: int, look: str
) -> None:
    with Shown(chromium, files[name], width=width, look=look) as shown:
        assert shown.page.evaluate("document.documentElement.scrollWidth") <= width
        cut = """() => [...document.querySelectorAll('main *')]
            .filter(e => !e.closest('svg, thead, .hidden, .wide') && getComputedStyle(e).display !== 'inline')
            .filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML)"""
        assert shown.page.evaluate(cut) == []
        shown.page.evaluate("document.querySelectorAll('details').forEach(e => { e.open = true })")
        found = axe(shown.page)
        assert [(one["id"], [node["html"][:200] for node in one["nodes"][:3]]) for one in found] == []
        assert shown.said == []
        assert shown.asked == [files[name].as_uri()]


def axe(page: Page) -> list[dict[str, Any]]:
    """Return what axe-core finds wrong, by its rules for WCAG 2.2 AA and its best practices."""
    page.evaluate(AXE.read_text())
    # By default, axe-core leaves out what WCAG 2.2 has added.
    options = "{resultTypes: ['violations'], rules: {'target-size': {enabled: true}}}"
    found: dict[str, Any] = page.evaluate(f"axe.run({options})")
    violations: list[dict[str, Any]] = found["violations"]
    return violations


def test_axe_would_find_something(chromium: Browser, tmp_path: Path) -> None:
    page = sync_of(12).page().replace(b' lang="en"', b"").replace(b'role="img" aria-label', b'role="img" data-label')
    (tmp_path / "worse.html").write_bytes(page)
    with Shown(chromium, tmp_path / "worse.html") as shown:
        assert {"html-has-lang", "svg-img-alt"} <= {one["id"] for one in axe(shown.page)}


def test_a_hostile_name_stays_a_name(chromium: Browser, files: Mapping[str, Path]) -> None:
    with Shown(chromium, files["hostile"]) as shown:
        names = shown.page.locator(".media bdi").all_text_contents()
        assert set(HOSTILE[:2]) <= set(names)
        assert shown.page.locator("script, img, iframe").count() == 0
        assert shown.said == []
        # A name that runs from right to left leaves the text after it where it is.
        row = shown.page.locator(".media tr", has_text=HOSTILE[3])
        captured = row.locator("td").first.bounding_box()
        name = row.locator("bdi").bounding_box()
        assert captured
        assert name
        assert captured["x"] >= name["x"] + name["width"]


def test_hostile_names_stay_names_on_the_librarys_page(chromium: Browser, files: Mapping[str, Path]) -> None:
    with Shown(chromium, files["hostile names"]) as shown:
        names = shown.page.locator("[aria-labelledby=missing] th bdi").all_text_contents()
        for hostile in HOSTILE[:2]:
            assert any(name.startswith(f"{hostile} (") for name in names)
        assert shown.page.locator("script, img, iframe").count() == 0
        assert shown.said == []


@pytest.mark.parametrize("look", ["light", "dark"])
def test_nights_of_each_state_look_different(chromium: Browser, files: Mapping[str, Path], look: str) -> None:
    with Shown(chromium, files["400 nights with gaps"], width=PHONE, look=look) as shown:
        pictures = {}
        for state in ("all well", "partial", "failed", "no sync"):
            night = shown.page.locator(f".calendar svg svg:has(title:text-matches(': {state}'))").first
            pictures[state] = night.screenshot()
        assert len(set(pictures.values())) == len(pictures)


def test_the_style_is_applied_and_nothing_else_could_be(chromium: Browser, tmp_path: Path) -> None:
    page = sync_of(12).page()
    smuggled = b"<script>document.title = 'ran'</script><style>h1{display:none}</style><p style='color:red'>x</p>"
    smuggled += b"<img src='https://example.com/x.png'>"
    (tmp_path / "smuggled.html").write_bytes(page.replace(b"</main>", smuggled + b"</main>"))
    with Shown(chromium, tmp_path / "smuggled.html") as shown:
        assert shown.page.title() != "ran"
        assert shown.page.locator("h1").is_visible()
        border = shown.page.locator(".verdict").evaluate("e => getComputedStyle(e).borderLeftWidth")
        assert border == "6px"
        assert shown.refused == ["csp"]  # the image
        assert len(shown.said) == 4  # the policy refused each


def test_a_long_table_keeps_its_header_in_sight(chromium: Browser, files: Mapping[str, Path]) -> None:
    with Shown(chromium, files["1000"]) as shown:
        group = shown.page.locator("details", has=shown.page.locator("tbody tr:nth-of-type(70)")).first
        group.locator("summary").click()
        group.locator("tbody tr").nth(60).scroll_into_view_if_needed()
        shown.page.mouse.wheel(0, 400)
        head = group.locator("thead th").first
        shown.page.wait_for_function("e => e.getBoundingClientRect().top === 0", arg=head.element_handle())


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_everything_is_reached_by_keyboard(chromium: Browser, files: Mapping[str, Path], width: int) -> None:
    with Shown(chromium, files["12-with-failures"], width=width) as shown:
        stops = "[...document.querySelectorAll('a, summary, [tabindex]')].filter(e => e.checkVisibility())"
        wanted = shown.page.evaluate(f"{stops}.length")
        reached = set()
        for _ in range(wanted):
            shown.page.keyboard.press("Tab")
            reached.add(shown.page.evaluate(f"{stops}.indexOf(document.activeElement)"))
            outline = shown.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline == "solid"
        assert reached == set(range(wanted))


def test_a_printed_page_has_what_is_folded_on_the_screen(chromium: Browser, files: Mapping[str, Path]) -> None:
    def rows(shown: Shown) -> int:
        script = "() => [...document.querySelectorAll('.media tbody tr')].filter(e => e.checkVisibility()).length"
        return int(shown.page.evaluate(script))

    with Shown(chromium, files["1000"]) as screen, Shown(chromium, files["1000"], look="print") as printed:
        assert rows(screen) < 100
        assert rows(printed) == 1000
        assert printed.page.locator("nav").first.is_hidden()


# The kernel's `ru_maxrss` would be that of the tests, if they have taken more than this process.
MEASURE = """
import json, time
from pathlib import Path
from services.summarizer.page import pages
from tests.pages import PLACE, sync_of
told = sync_of(1000)
began = time.process_time()
page = pages.sync_page(told.sync, told.media.values(), PLACE)
seconds = time.process_time() - began
peak = Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]
print(json.dumps([seconds, int(peak), len(page)]))
"""


def test_a_page_of_1000_media_is_made_within_2_seconds_of_cpu_and_256_mb() -> None:
    ran = subprocess.run([sys.executable, "-c", MEASURE], cwd=ROOT, capture_output=True, text=True, check=True)
    seconds, kilobytes, size = json.loads(ran.stdout)
    assert seconds < 2
    assert kilobytes * 1024 < 256 * 1000 * 1000
    assert size < 500_000
