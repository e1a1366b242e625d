"""The story of a sync and of a medium on the deployed stack: complete, nothing invented, and every mishap named."""

import json
import threading
from typing import Any

import pytest
from msgspec import structs

from ops import events
from ops.dead_letters import redrive
from ops.journal import Journal
from ops.local.gopro_cloud.demo import LIBRARY
from ops.local.gopro_cloud.faults import Drop, Throttle
from ops.story import Delivery, Node, Story
from ops.telling import story_of
from services.shared.clock import Clock
from services.shared.envelope import read_event
from services.shared.events import SERVICES
from tests.e2e.media import MIB, serve, video
from tests.e2e.stage import PATIENCE_SECONDS, Stage, eventually

RESULTS = {"DOWNLOADED": "MediaDownloaded", "FAILED": "MediaDownloadFailed"}  # by the state in the table


def event_id(envelope: dict[str, Any]) -> str:
    return str(envelope["detail"].get("metadata", {}).get("event_id") or read_event(json.dumps(envelope)).event_id)


def nodes(story: Story) -> dict[str, Node]:
    return {node.event.event_id: node for _, node in story.walk()}


def reacted(stage: Stage, name: str) -> Story | None:
    """The story once every service has logged its reaction to each event; a log comes after the work."""
    story = story_of(stage.deployment, name)
    return None if any(node.silent for _, node in story.walk()) else story


def test_the_story_of_a_sync_has_every_event_that_anything_knows_and_no_other(stage: Stage) -> None:
    cut = video(1, Drop(at_bytes=0, times=None))
    stage.control.replace_library(structs.replace(LIBRARY, media=(*LIBRARY.media, cut)))
    sync_id = stage.trigger()
    stage.summary(sync_id)
    (letter,) = eventually(stage.dead_letters, "the dead letter")
    eventually(stage.is_idle, "empty inboxes")
    story = eventually(lambda: reacted(stage, sync_id), "all reactions in the log")

    told = nodes(story)
    assert set(told) == {event_id(one) for one in stage.events(sync_id=sync_id)}, "what a queue on the bus has seen"
    assert sorted(told) == sorted(node.event.event_id for _, node in story.walk()), "each once"
    media = stage.look(sync_id).media
    assert len(media) == 15
    for media_id, record in media.items():
        kinds = {node.event.type for node in told.values() if node.event.media_id == media_id}
        assert kinds == {"MediaDiscovered", RESULTS[record["state"]]}, media_id
    (dead,) = [one for node in told.values() for one in node.deliveries if one.letter]
    assert (dead.letter and dead.letter.message_id, dead.service) == (letter.message_id, "downloader")
    assert [one.outcome for one in dead.receives] == ["retry", "retry", "retry", "dead_letter"]
    assert story.gaps == ()

    (root,) = story.roots
    assert (root.event.type, root.event.publisher) == ("SyncRequested", "operator")
    assert {one.service for node in told.values() for one in node.deliveries} == set(SERVICES)
    waits = [one.waited for node in told.values() for delivery in node.deliveries for one in delivery.receives]
    assert all(0 <= waited < 600 for waited in waits)


def test_the_events_of_a_sync_are_shown_as_they_come_and_once(stage: Stage) -> None:
    serve(stage, video(1), video(2))
    seen: list[str] = []
    wanted = events.Filter(kind="MediaDownloaded")

    def follow() -> None:
        for one in events.tail(stage.deployment, wanted, clock=Clock()):
            seen.append(one.event.media_id)
            if len(seen) == 2:
                return

    following = threading.Thread(target=follow, daemon=True)
    following.start()
    sync_id = stage.trigger()
    stage.summary(sync_id)
    eventually(lambda: len(seen) == 2, "both media")
    following.join()
    assert sorted(seen) == [video(1).media_id, video(2).media_id]

    last = events.last(stage.deployment, events.Filter(sync_id=sync_id), count=3, clock=Clock())
    assert [one.event.event_id for one in last] == [event_id(one) for one in stage.events(sync_id=sync_id)][-3:]


@pytest.mark.slow
def test_a_medium_that_was_retried_paused_killed_and_redriven_shows_each_of_these(stage: Stage) -> None:
    medium = video(7331, Drop(at_bytes=0, times=None), size=50 * MIB)  # the logs have those of other tests, too
    serve(stage, medium)

    journal = Journal(stage.deployment)

    def story() -> Story:
        return story_of(stage.deployment, medium.media_id)

    def outcomes() -> list[str]:
        ended = journal.receives(("$.media_id", medium.media_id))
        return [one.outcome for one in ended if one.service == "downloader"]

    with stage.environment("downloader", RETRY_BASE_SECONDS="30"):
        sync_id = stage.trigger()
        eventually(lambda: outcomes() == ["retry"], "the first try")
        stage.control.disarm()
        stage.control.arm(Throttle(bytes_per_second=2 * MIB, times=None))
        with stage.configured("downloader", Timeout=75):  # fifteen seconds of work, then a pause
            stage.wait_for_event("MediaDownloadPaused", sync_id)
            before = len(stage.control.requests("cdn", medium.media_id))
            eventually(lambda: len(stage.control.requests("cdn", medium.media_id)) > before, "the resumed download")
            assert stage.kill_workers("downloader") >= 1
            stage.control.disarm()
            stage.control.arm(Drop(at_bytes=49 * MIB, times=None))  # in the part that is left
    # Two minutes later its message is visible again, and fails until it is a dead letter.
    (letter,) = eventually(stage.dead_letters, "the dead letter", seconds=2 * PATIENCE_SECONDS)
    dead = by_downloader(story(), "MediaDownloadPaused")
    assert [(one.cut_off, one.letter and one.letter.message_id) for one in dead] == [([1], letter.message_id)]
    stage.control.disarm()
    assert redrive(stage.deployment, "downloader", media_id=medium.media_id)
    stage.wait_for_event("MediaDownloaded", sync_id)
    told = eventually(lambda: reacted(stage, medium.media_id), "all reactions in the log")

    (first,), paused = by_downloader(told, "MediaDiscovered"), by_downloader(told, "MediaDownloadPaused")
    assert [one.outcome for one in first.receives] == ["retry", "paused"]
    assert [[one.outcome for one in delivery.receives] for delivery in paused] == [
        ["retry", "retry", "dead_letter"],
        ["done"],
    ]
    assert [(one.cut_off, one.letter) for one in paused] == [([1], None), ([], None)]
    path = [node.event.type for _, node in told.walk()]
    assert path == [
        "SyncRequested",
        "SessionAuthenticated",
        "MediaDiscovered",
        "MediaDownloadPaused",
        "MediaDownloadFailed",
        "MediaDownloaded",
    ]
    stage.wait_for_event("SyncAmended", sync_id)


def by_downloader(story: Story, kind: str) -> list[Delivery]:
    """The messages with events of a type in the downloader's inbox, in order."""
    return [
        delivery
        for _, node in story.walk()
        if node.event.type == kind
        for delivery in node.deliveries
        if delivery.service == "downloader"
    ]
