"""The story of a sync: events in causal order, what became of each, and which media need no words."""

import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.story import Delivery, Folded, Letter, Node, Published, Receive, Story, about, as_json, fold, tell
from tests.unit.story_events import BEGAN, REACTS, event, letter, medium, receive


def told(
    events: Iterable[Published], receives: Iterable[Receive] = (), letters: Iterable[Letter] = ()
) -> tuple[Node, ...]:
    return tell(events, receives, letters, reacts=REACTS)


def shape(nodes: Iterable[Node]) -> list[Any]:
    """The ids of the events, each with those that it caused."""
    return [(node.event.event_id, shape(node.causes)) if node.causes else node.event.event_id for node in nodes]


# ── The tree ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_event_stands_under_its_cause_and_effects_in_the_order_of_their_time() -> None:
    events = [
        event("done", "MediaDownloaded", "m2", at=9),
        event("m1", cause="session", at=4),
        event("m2", cause="session", at=3),
        event("session", "SessionAuthenticated", "request", at=2),
        event("request", "SyncRequested"),
        event("other", "SyncCancelRequested", at=1),
    ]
    assert shape(told(events)) == [("request", [("session", [("m2", ["done"]), "m1"])]), "other"]


def test_events_of_the_same_moment_stand_in_the_order_of_type_and_id() -> None:
    events = [event("b"), event("a"), event("z", "LibraryListed")]
    assert shape(told(events)) == ["z", "a", "b"]


def test_an_event_whose_cause_is_unknown_begins_a_tree() -> None:
    assert shape(told([event("a", cause="lost"), event("b", cause="a", at=1)])) == [("a", ["b"])]


def test_a_fact_that_was_published_several_times_is_one_event_under_the_cause_of_the_first() -> None:
    events = [
        event("fact", cause="second", at=5, id="p2", publisher="later"),
        event("fact", cause="first", at=4, id="p1", publisher="sooner"),
        event("first", at=1),
        event("second", at=2),
    ]
    nodes = told(events)
    assert shape(nodes) == [("first", ["fact"]), "second"]
    (fact,) = nodes[0].causes
    assert (fact.event.times, fact.event.publisher, fact.event.at) == (2, "sooner", BEGAN + timedelta(seconds=4))
    assert nodes[0].event.times == 1


def test_a_line_that_the_log_holds_twice_is_one_publication() -> None:
    (node,) = told([event("a"), event("a")])
    assert node.event.times == 1


def test_an_event_that_caused_itself_stands_under_what_caused_it_before() -> None:
    events = [event("found"), event("wait", cause="wait", at=9, id="p2"), event("wait", cause="found", at=3, id="p1")]
    assert shape(told(events)) == [("found", ["wait"])]
    assert shape(told([event("wait", cause="wait")])) == ["wait"]


def test_a_circle_of_causes_loses_no_event() -> None:
    events = [event("a", cause="c"), event("b", cause="a", at=1), event("c", cause="b", at=2), event("d", at=3)]
    assert shape(told(events)) == ["d", ("a", [("b", ["c"])])]


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 12), st.integers(0, 5), st.integers(0, 30)),
        max_size=30,
    )
)
def test_every_event_is_told_once_whatever_caused_what(facts: list[tuple[int, int, int, int]]) -> None:
    events = [event(f"{n}", cause=f"{cause}", at=at, id=f"p{p}-{n}") for n, cause, at, p in facts]
    nodes = told(events)
    ids = [node.event.event_id for root in nodes for _, node in root.walk()]
    assert sorted(ids) == sorted({one.event_id for one in events})
    assert sum(node.event.times for root in nodes for _, node in root.walk()) == len({one.id for one in events})


def test_a_chain_of_a_thousand_pauses_can_be_told() -> None:
    chain = [event("0"), *(event(f"{n}", "MediaDownloadPaused", f"{n - 1}", at=n) for n in range(1, 1000))]
    (root,) = told(chain)
    walked = [(depth, node.event.event_id) for depth, node in root.walk()]
    assert walked == [(n, f"{n}") for n in range(1000)]


def test_a_walk_goes_down_before_it_goes_on_and_counts_the_depth() -> None:
    (root,) = told([event("a"), event("b", cause="a", at=1), event("c", cause="b", at=2), event("d", cause="a", at=3)])
    assert [(depth, node.event.event_id) for depth, node in root.walk(2)] == [(2, "a"), (3, "b"), (4, "c"), (3, "d")]


# ── What is chosen ───────────────────────────────────────────────────────────────────────────────────────────────────


def ids(events: Iterable[Published]) -> list[str]:
    return [one.event_id for one in events]


def test_the_wanted_events_are_taken_with_all_that_led_to_them_and_no_others() -> None:
    events = [
        event("review", "SyncReviewDue", sync_id=""),
        event("other review", "SyncReviewDue", sync_id="", at=1),
        event("request", "SyncRequested", at=2),
        event("foreign", "SyncRequested", sync_id="other", at=3),
        event("m", cause="request", at=4),
        event("closed", "SyncCompleted", "review", at=5),
    ]
    assert ids(about(events, lambda one: one.sync_id == "s")) == ["review", "request", "m", "closed"]
    assert ids(about(events, lambda one: one.event_id == "m")) == ["request", "m"]
    assert about(events, lambda one: False) == []


def test_events_that_only_dead_letters_know_are_taken_too_and_those_of_the_log_win() -> None:
    logged, lost = event("a", publisher="logged"), event("b", cause="a", at=1, publisher="letter")
    found = about([logged], lambda one: True, [lost, event("a", publisher="letter", id="other")])
    assert [(one.event_id, one.publisher, one.times) for one in found] == [("a", "logged", 1), ("b", "letter", 1)]


def test_a_circle_of_causes_ends_the_search() -> None:
    assert ids(about([event("a", cause="b"), event("b", cause="a", at=1)], lambda one: True)) == ["a", "b"]


# ── Reactions ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_receives_of_each_message_are_joined_to_its_event_by_number() -> None:
    first, second = receive("a", number=1, outcome="retry"), receive("a", number=2)
    elsewhere = receive("a", "summarizer")
    (node,) = told([event("a")], [second, elsewhere, first, receive("unknown")])
    assert node.deliveries == (
        Delivery(service="downloader", message_id="a-downloader", receives=(first, second)),
        Delivery(service="summarizer", message_id="a-summarizer", receives=(elsewhere,)),
    )
    assert node.deliveries[0].last == second
    assert Delivery(service="downloader", message_id="m").last is None


def test_a_receive_without_a_line_was_cut_off() -> None:
    def cut_off(*numbers: int) -> list[int]:
        receives = tuple(receive("a", number=number) for number in numbers)
        return Delivery(service="downloader", message_id="m", receives=receives).cut_off

    assert (cut_off(), cut_off(1), cut_off(1, 2), cut_off(3), cut_off(1, 4)) == ([], [], [], [1, 2], [2, 3])


def test_a_redriven_message_is_another_delivery_after_the_first() -> None:
    before = receive("a", number=4, outcome="dead_letter", message="z", ended_at=BEGAN)
    after = receive("a", message="b", ended_at=BEGAN + timedelta(hours=1))
    (node,) = told([event("a")], [after, before])
    assert [one.message_id for one in node.deliveries] == ["z", "b"]
    assert not node.is_calm


def test_a_dead_letter_is_joined_to_its_message_or_stands_alone() -> None:
    known, killed = letter("a"), letter("b", why="the bus could not deliver it")
    one, two = told([event("a"), event("b")], [receive("a", number=4, outcome="dead_letter")], [known, killed])
    assert one.deliveries[0].letter == known
    assert two.deliveries == (Delivery(service="downloader", message_id="b-downloader", letter=killed),)


def test_services_that_should_have_reacted_and_logged_nothing_are_named() -> None:
    found, unknown, handled = told(
        [event("a"), event("b", "NewerEvent", at=1), event("c", "MediaDownloaded", at=2)],
        [receive("a", "summarizer"), receive("c", "summarizer")],
    )
    assert (found.silent, unknown.silent, handled.silent) == (("downloader",), (), ())


@pytest.mark.parametrize(
    ("receives", "letters", "calm"),
    [
        ([receive("a")], [], True),
        ([receive("a", outcome="paused")], [], True),
        ([receive("a", outcome="waiting")], [], True),
        ([receive("a", outcome="ignored")], [], True),
        ([receive("a", outcome="retry"), receive("a", number=2)], [], False),
        ([receive("a", number=2)], [], False),
        ([receive("a", outcome="fenced")], [], False),
        ([receive("a", outcome="given_up")], [], False),
        ([receive("a", outcome="something newer")], [], False),
        ([receive("a")], [letter("a")], False),
        ([receive("a"), receive("a", message="again")], [], False),
        ([], [], False),
    ],
)
def test_an_event_is_calm_when_each_service_took_it_at_the_first_try(
    receives: list[Receive], letters: list[Letter], calm: bool
) -> None:
    (node,) = told([event("a", "MediaDownloadPaused")], receives, letters)
    assert node.is_calm == calm


# ── Folding ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def folded(
    *media: tuple[list[Published], list[Receive]], more: Iterable[Published] = ()
) -> tuple[list[str], list[Folded]]:
    events = [one for own, _ in media for one in own] + list(more)
    nodes, alike = fold(told(events, [one for _, own in media for one in own]))
    return [node.event.event_id for node in nodes], alike


def test_media_that_went_well_in_the_same_way_are_folded() -> None:
    straight = [medium(f"m{n}", "MediaDownloaded") for n in range(3)]
    paused = medium("p", "MediaDownloadPaused", "MediaDownloaded")
    assert folded(*straight, paused) == (
        [],
        [
            Folded(path=("MediaDiscovered", "MediaDownloaded"), media=3),
            Folded(path=("MediaDiscovered", "MediaDownloadPaused", "MediaDownloaded"), media=1),
        ],
    )


def test_media_that_failed_or_were_retried_or_have_no_end_are_told() -> None:
    failed, retried = medium("f", "MediaDownloadFailed"), medium("r", "MediaDownloaded", retried=True)
    open_, stored = medium("o"), medium("s", "MediaDownloaded")
    told_, alike = folded(failed, retried, open_, stored)
    assert told_ == ["f-0", "o-0", "r-0"]
    assert alike == [Folded(path=("MediaDiscovered", "MediaDownloaded"), media=1)]


def test_a_medium_that_closed_the_sync_is_told_and_so_is_all_that_is_about_no_medium() -> None:
    closing = event("closed", "SyncCompleted", "m-1", at=9)
    listed = event("listed", "LibraryListed", at=9)
    assert folded(medium("m", "MediaDownloaded"), more=[closing, listed]) == (["m-0", "listed"], [])


def test_a_medium_that_led_to_another_one_is_told() -> None:
    assert folded(medium("m", "MediaDownloaded"), more=[event("x", cause="m-0", media_id="other", at=9)])[0] == ["m-0"]


# ── For programs ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_json_has_every_event_after_its_cause_with_every_try() -> None:
    events = [event("b", "MediaDownloadFailed", "a", at=1.5, reason="gone"), event("a", media_id="m", hops=2)]
    tries = [
        receive("a", number=1, outcome="retry", error="Incomplete", why="cut", took=None),
        receive("a", number=3, outcome="dead_letter", ended_at=BEGAN + timedelta(seconds=9)),
    ]
    story = Story(about="Sync s", roots=told(events, tries, [letter("a")]), now=("open",), gaps=("none",))
    told_ = as_json(story)
    assert json.loads(json.dumps(told_)) == told_
    first, second = told_["events"]
    assert first == {
        "event_id": "a",
        "causation_id": "",
        "type": "MediaDiscovered",
        "published_by": "lister",
        "at": "2026-11-25T02:00:00+00:00",
        "times_published": 1,
        "sync_id": "s",
        "media_id": "m",
        "hops": 2,
        "reason": "",
        "reactions": [
            {
                "service": "downloader",
                "message_id": "a-downloader",
                "tries": [
                    {
                        "number": 1,
                        "ended_at": "2026-11-25T02:00:00+00:00",
                        "waited_seconds": 0.5,
                        "took_seconds": None,
                        "outcome": "retry",
                        "error": "Incomplete",
                        "why": "cut",
                    },
                    {"number": 2, "outcome": "cut_off"},
                    {
                        "number": 3,
                        "ended_at": "2026-11-25T02:00:09+00:00",
                        "waited_seconds": 0.5,
                        "took_seconds": 1.0,
                        "outcome": "dead_letter",
                        "error": "",
                        "why": "",
                    },
                ],
                "dead_letter_since": "2026-11-25T02:00:00Z",
            }
        ],
        "no_reaction_logged_by": ["summarizer"],
    }
    assert (second["event_id"], second["causation_id"], second["reason"]) == ("b", "a", "gone")
    assert (second["reactions"], second["no_reaction_logged_by"]) == ([], ["summarizer"])
    assert (told_["about"], told_["now"], told_["gaps"]) == ("Sync s", ["open"], ["none"])


def test_a_story_begins_with_its_first_event() -> None:
    assert Story(about="s", roots=told([event("a", at=5), event("b", cause="a", at=3)])).began_at == BEGAN + timedelta(
        seconds=3
    )
    assert Story(about="s").began_at is None
