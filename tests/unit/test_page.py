"""The page of a sync as a whole: complete, escaped, and of a bounded size."""

import base64
import hashlib
import html
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from jinja2 import UndefinedError

from services.summarizer.page.pages import sync_page
from services.summarizer.page.rendering import render
from services.summarizer.records import ClosedSync, Medium
from tests.pages import HOSTILE, PLACE, Told, all_stored, amended_sync, failed_sync, sync_of

VOID = {"meta", "link"}


class Outline(HTMLParser):
    """The elements of a page. Fails where they are not nested as they should be."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self.ids: list[str] = []
        self.links: set[str] = set()
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(page.decode())
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}
        given = {name: value or "" for name, value in attrs}
        self.ids += [given["id"]] if "id" in given else []
        self.links |= {given[name] for name in ("href", "src", "action") if name in given}
        for name in ("aria-labelledby", "aria-describedby"):
            self.links |= {f"#{target}" for target in given.get(name, "").split()}

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


PAGES = {
    "no media": all_stored(0),
    "all stored": all_stored(12),
    "some failed": sync_of(12),
    "hostile": sync_of(12, is_hostile=True),
    "many": sync_of(1000),
    "failed": failed_sync(),
    "amended": amended_sync(),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_well_formed_and_runs_and_loads_nothing(name: str) -> None:
    outline = Outline(PAGES[name].page())
    assert not outline.names & {"script", "iframe", "object", "embed", "form", "img", "base", "audio", "video", "input"}
    assert not [attribute for attribute in outline.attributes if attribute.startswith("on")]
    assert "style" not in outline.attributes  # the policy would refuse it
    assert len(outline.ids) == len(set(outline.ids))
    inner = {link for link in outline.links if link.startswith("#")}
    assert {link[1:] for link in inner} <= set(outline.ids)
    assert outline.links - inner == {"data:,"}


def test_the_policy_allows_the_pages_own_style_and_nothing_else() -> None:
    page = sync_of(12).page().decode()
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="(.*?)"', page)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert html.unescape(policy) == (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    assert page.index("Content-Security-Policy") < page.index("<style>")


def test_hostile_names_are_text() -> None:
    page = sync_of(12, is_hostile=True).page()
    text = "\n".join(Outline(page).text)
    for name in HOSTILE[:2] + HOSTILE[3:4] + HOSTILE[5:9] + HOSTILE[10:]:
        assert name in text
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in text
    assert "\0" not in text
    assert "x" * 201 not in text


def test_a_page_says_the_verdict_first_and_then_what_came_and_what_to_do() -> None:
    page = sync_of(12).page().decode()
    headings = re.findall(r"<h[12][^>]*>(.*?)</h[12]>", page)
    assert headings == [
        "9 of 11 new media are stored: 2 failed.",
        "What came",
        "What to do",
        "From the library to the bucket",
        "The choreography of this sync",
        "The work over time",
        "Media",
        "Proofs, cost, session",
    ]
    assert "<title>9 of 11 new media are stored: 2 failed. · scheduled-2026-11-23</title>" in page
    assert "cloud-sync redrive --env prod --media-id m0003" in "".join(Outline(page.encode()).text)


def test_a_sync_without_trouble_asks_for_nothing() -> None:
    page = all_stored(12).page().decode()
    assert "All 12 new media are stored." in page
    assert "What to do" not in page


def test_a_failed_sync_says_what_to_type() -> None:
    text = "".join(Outline(failed_sync().page()).text)
    assert "Nothing was copied: Cloud Sync could not sign in to GoPro." in text
    assert "GoPro refused the refresh token: it was revoked" in text
    assert text.index("cloud-sync credentials login --env prod") < text.index("cloud-sync trigger --env prod --wait")


def test_an_amended_page_shows_the_results_as_of_now() -> None:
    text = "".join(Outline(amended_sync().page()).text)
    assert "10 of 11 new media are stored: 1 failed." in text
    assert "When the sync closed, 9 of them were stored; 1 came in after that." in text
    assert "1 amendment since" in text
    assert "SyncAmended" in text
    assert "1 media were copied after the close" not in text
    assert "1 medium was copied after the close, and is not in this picture." in text


def test_a_sync_of_an_earlier_version_has_a_page_that_says_what_is_unknown() -> None:
    told = sync_of(12)
    assert isinstance(told.sync, ClosedSync)
    sync = replace(told.sync, sessions=(), listed_at="", listing_pauses=0)
    bare = ("type", "camera", "captured_at", "slices", "ended_at", "proven_by_etag", "hops", "attempts")
    blank = Medium(media_id="", state="FAILED")
    media = [replace(medium, **{name: getattr(blank, name) for name in bare}) for medium in told.media.values()]
    text = "".join(Outline(sync_page(sync, media, PLACE)).text)
    assert "“?”: no fact tells." in text
    assert "Nothing is known of it: no fact told." in text
    assert "No fact tells the proofs of 9 media." in text
    assert "The work over time" not in text


@pytest.mark.parametrize(("count", "limit"), [(0, 25_000), (12, 50_000), (1000, 500_000)])
def test_a_page_stays_small(count: int, limit: int) -> None:
    assert len(sync_of(count).page()) < limit


def test_the_page_of_a_huge_sync_is_not_much_larger_than_that_of_1000_media() -> None:
    told = sync_of(1000)
    assert isinstance(told.sync, ClosedSync)
    media = [
        replace(medium, media_id=f"{medium.media_id}-{copy}") for copy in range(20) for medium in told.media.values()
    ]
    page = sync_page(told.sync, media, PLACE)
    assert len(page) < 600_000
    assert "19,000 more media are in" in page.decode()


def test_a_name_that_nobody_gave_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        render("sync.html", sync_id="s")


def test_the_same_sync_has_the_same_page() -> None:
    again = Told()
    again.sync, again.media = sync_of(12).sync, dict(reversed(sync_of(12).media.items()))
    assert again.page() == sync_of(12).page()
