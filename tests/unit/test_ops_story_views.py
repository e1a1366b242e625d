"""A story as people see it: in the terminal and as a page, with hostile text in it."""

import io
import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from ops import story_page, story_views
from ops.story import Story, tell
from ops.story_views import Line, reactions
from tests.unit.story_events import REACTS, a_retried_medium, event, hostile, medium, receive


def in_terminal(story: Story, *, everything: bool = False, width: int = 200) -> list[str]:
    output = io.StringIO()
    Console(file=output, width=width, highlight=False).print(story_views.tree(story, everything=everything))
    return output.getvalue().splitlines()


def test_the_tree_shows_each_try_cut_pause_dead_letter_and_redrive() -> None:
    assert in_terminal(a_retried_medium()) == [
        "Sync s, begun at 2026-11-25T02:00:00Z",
        "└── SessionAuthenticated  authenticator  +0.0 s  session",
        "    ├── → lister: done (waited 0.5 s)",
        "    └── MediaDiscovered  GX01.MP4  m1  lister  +4.0 s  found-it",
        "        ├── → downloader, try 1: failed, to be tried again (waited 0.5 s, took 1.0 s)  Incomplete: 1 of 2",
        "        ├── → downloader, try 2: cut off: killed, out of time, or refused by Lambda",
        "        ├── → downloader, try 3: paused; the next event resumes it (waited 1 min 1 s, took 1.0 s)",
        "        ├── → summarizer: done (waited 0.5 s, took 1.0 s)",
        "        └── MediaDownloadPaused  m1  downloader  +1 min 10 s  pause",
        "            ├── → downloader, try 1: cut off: killed, out of time, or refused by Lambda",
        "            ├── → downloader, try 2: cut off: killed, out of time, or refused by Lambda",
        "            ├── → downloader, try 3: cut off: killed, out of time, or refused by Lambda",
        "            ├── → downloader, try 4: failed for the last time: a dead letter (waited 0.5 s, took 1.0 s)  cut",
        "            ├── → downloader, sent again: done (waited 0.5 s, took 1.0 s)",
        "            ├── MediaDownloadFailed  m1  downloader  +1 min 30 s  failed",
        "            │   ├── cut",
        "            │   └── → summarizer: done (waited 0.5 s, took 1.0 s)",
        "            └── MediaDownloaded  m1  downloader  +1 h 2 min  stored",
        "                └── → summarizer: a dead letter now, first sent at 2026-11-25T02:00:00Z: no permission",
    ]


def test_media_that_went_well_are_one_line_and_all_of_them_on_request() -> None:
    media = [medium(f"m{n}", "MediaDownloadPaused", "MediaDownloadPaused", "MediaDownloaded") for n in range(1200)]
    events, receives = [one for own, _ in media for one in own], [one for _, own in media for one in own]
    story = Story(about="Sync s", roots=tell(events, receives, [], reacts=REACTS), now=("closed",), gaps=("1 lost",))
    assert in_terminal(story)[1:] == [
        "├── 1,200 media: MediaDiscovered → MediaDownloadPaused (2 times) → MediaDownloaded",
        "├── Now",
        "│   └── closed",
        "└── Missing from this story",
        "    └── 1 lost",
    ]
    assert sum("MediaDiscovered" in line for line in in_terminal(story, everything=True)) == 1200
    of_medium = Story(about="Medium m0", roots=story.roots[:1], is_of_medium=True)
    assert sum("MediaDiscovered" in line for line in in_terminal(of_medium)) == 1


def test_pauses_stand_beside_each_other() -> None:
    events, receives = medium("m", *["MediaDownloadPaused"] * 40, "MediaDownloadFailed")
    lines = in_terminal(Story(about="s", roots=tell(events, receives, [], reacts=REACTS)))
    pauses = [line.index("MediaDownloadPaused") for line in lines if "MediaDownloadPaused" in line]
    assert pauses == [8] * 40


@pytest.mark.parametrize(
    ("outcome", "mood"),
    [
        ("done", "good"),
        ("paused", "good"),
        ("ignored", "good"),
        ("waiting", "open"),
        ("retry", "bad"),
        ("fenced", "bad"),
        ("given_up", "bad"),
        ("dead_letter", "bad"),
        ("something_newer", "bad"),
    ],
)
def test_every_outcome_has_words_and_a_mood(outcome: str, mood: str) -> None:
    (node,) = tell([event("a", "MediaDownloadPaused")], [receive("a", outcome=outcome)], [], reacts=REACTS)
    (line,) = reactions(node)
    assert line.mood == mood
    assert ("something_newer" in line.text) == (outcome == "something_newer")


def test_a_service_that_has_logged_nothing_is_named() -> None:
    (node,) = tell([event("a", "MediaDownloaded")], [], [], reacts=REACTS)
    assert [*reactions(node)] == [
        Line("open", "summarizer: has logged nothing about it; its message may wait, or be in work")
    ]


# ── Hostile text ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_hostile_text_does_not_reach_the_terminal() -> None:
    text = "\n".join(in_terminal(hostile()))
    assert "<script>" in text
    assert "\x1b" not in text
    assert "\r" not in text
    assert "\u202e" not in text


def test_marks_of_rich_are_text() -> None:
    roots = tell([event("a", name="[red]x[/red]", media_id="[/]")], [], [], reacts=REACTS)
    assert any("[red]x[/red]  [/]" in line for line in in_terminal(Story(about="[bold]s", roots=roots)))


# ── The page ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class Elements(HTMLParser):
    """The names and the text of a page's elements."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def page(story: Story, *, everything: bool = False) -> str:
    return story_page.page(story, everything=everything).decode()


def picture(text: str) -> ET.Element:
    found = re.search("<svg.*?</svg>", text, re.DOTALL)
    assert found
    return ET.fromstring(found[0])


def test_the_page_holds_hostile_text_as_text_and_runs_nothing() -> None:
    elements = Elements(page(hostile()))
    assert "script" not in elements.names
    text = "".join(elements.text)
    assert "<script>alert(1)</script>" in text
    assert not {"\x1b", "\r", "\u202e"} & set(text)


def test_the_page_loads_nothing() -> None:
    text = page(a_retried_medium())
    assert "default-src 'none'" in text.replace("&#39;", "'")
    assert not re.findall(r'(?:src|href)="(?!#|data:)', text)


def test_the_table_has_every_event_with_all_that_came_of_it() -> None:
    story = a_retried_medium()
    text = "".join(Elements(page(story)).text)
    for _, node in story.walk():
        assert node.event.event_id in text
        assert node.event.type in text
        for line in reactions(node):
            assert line.text in text


def test_the_picture_has_a_lane_for_each_service_and_an_arrow_for_each_that_reacts() -> None:
    drawn = picture(page(a_retried_medium()))
    texts = [text.text for text in drawn.iter("text")]
    assert texts[:5] == ["asked by", "authenticator", "lister", "downloader", "summarizer"]
    assert texts[5:] == [
        "SessionAuthenticated",
        "MediaDiscovered  GX01.MP4  m1",
        "MediaDownloadPaused  m1",
        "MediaDownloadFailed  m1",
        "MediaDownloaded  m1",
    ]
    heads = [head.get("class") for head in drawn.iter("polygon")]
    assert heads == ["calm-fill", "bad-fill", "calm-fill", "bad-fill", "calm-fill", "bad-fill"]
    lanes = {lane.name: lane.x for lane in story_page._lanes([])}
    dots = [int(dot.get("cx", "")) for dot in drawn.iter("circle")]
    assert dots == [lanes["authenticator"], lanes["lister"], *[lanes["downloader"]] * 3]


def test_the_picture_is_bounded_and_says_what_it_leaves_out() -> None:
    events = [event(f"{n}", "MediaDownloadFailed", at=n, media_id=f"m{n}", reason="gone") for n in range(1000)]
    text = page(Story(about="Sync s", roots=tell(events, [], [], reacts=REACTS)))
    drawn = picture(text)
    assert len([*drawn.iter("circle")]) == story_page.MOST_ROWS
    assert f"{1000 - story_page.MOST_ROWS} more are in the table" in text
    assert text.count("<tr>") == 1001
    assert len(text) < 1_500_000


def test_events_of_the_schedule_and_of_an_unknown_publisher_have_a_lane() -> None:
    events = [
        event("a", "SyncRequested", publisher="schedule"),
        event("b", "SyncRequested", at=1, publisher="operator"),
        event("c", "NewerEvent", at=2, publisher="newer"),
    ]
    drawn = picture(page(Story(about="s", roots=tell(events, [], [], reacts=REACTS))))
    names = [text.text for text in drawn.iter("text")][:6]
    assert names == ["asked by", "authenticator", "lister", "downloader", "summarizer", "newer"]
    dots = [dot.get("cx") for dot in drawn.iter("circle")]
    assert dots[0] == dots[1] != dots[2]


def test_media_that_went_well_are_one_row() -> None:
    media = [medium(f"m{n}", "MediaDownloaded") for n in range(3)]
    roots = tell([one for own, _ in media for one in own], [one for _, own in media for one in own], [], reacts=REACTS)
    assert page(Story(about="s", roots=roots)).count("<tr>") == 2
    assert page(Story(about="s", roots=roots), everything=True).count("<tr>") == 7


def test_a_story_without_events_is_a_page_too() -> None:
    assert "<svg" in page(Story(about="Sync s"))
