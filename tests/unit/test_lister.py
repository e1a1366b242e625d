"""The lister: its real composition against the fake GoPro Cloud."""

import importlib
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from services.lister import listing
from services.lister.archive import Archive, FrozenListing
from services.shared.bus import iso
from services.shared.errors import TransientError
from services.shared.gopro.client import GoProClient
from services.shared.inbox import Fenced, Heartbeat
from tests.gopro_cloud import FakeGoProCloud, Library, Medium, Series
from tests.gopro_cloud.faults import (
    Answer,
    EndlessPages,
    Fault,
    LibraryChange,
    RepeatItem,
    ShapeChange,
    ShortPage,
    WrongTotal,
)
from tests.unit.gopro_stage import Stage, staged


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setattr("services.shared.gopro.client.PACE_SECONDS", 0.0)
    with FakeGoProCloud() as cloud, staged(monkeypatch, cloud) as stage:
        give_session(stage, 1)
        yield stage.open("lister")


def give_session(stage: Stage, version: int, **changes: Any) -> None:
    session = {
        "access_token": stage.cloud.tokens.paste(86_400),
        "version": version,
        "obtained_at": iso(stage.clock()),
        "expires_at": iso(stage.clock() + timedelta(hours=24)),
    }
    stage.put_secret("SESSION_SECRET", {**session, **changes})


def serve(stage: Stage, count: int, *faults: Fault) -> None:
    stage.cloud.replace_library(Library(series=(Series(count=count),), faults=faults))


def begun(filters: dict[str, Any] | None = None, sync_id: str = "sync-1") -> dict[str, Any]:
    data = {"session_version": 1, "requested_at": "2026-11-23T01:00:00Z", "filters": filters or {}}
    return {"metadata": {"version": 1, "sync_id": sync_id}, "data": data}


def told(stage: Stage) -> tuple[list[str], dict[str, Any]]:
    """The ids that were discovered, and what LibraryListed says, which has to come last."""
    events = stage.published()
    names = [name for name, _ in events]
    assert names == ["MediaDiscovered"] * (len(events) - 1) + ["LibraryListed"]
    return [detail["data"]["media_id"] for _, detail in events[:-1]], events[-1][1]["data"]


def the_failure(stage: Stage) -> str:
    ((name, detail),) = stage.published()
    assert name == "LibraryListingFailed"
    return str(detail["data"]["reason"])


def kept(stage: Stage, key: str) -> Any:
    return json.loads(stage.client("s3").get_object(Bucket="media-bucket", Key=key)["Body"].read())


def keys(stage: Stage) -> set[str]:
    return {entry["Key"] for entry in stage.client("s3").list_objects_v2(Bucket="media-bucket").get("Contents", [])}


def searches(stage: Stage) -> int:
    return len(stage.cloud.observations.requests("search"))


# -- a listing --------------------------------------------------------------------------------------------------------


@pytest.mark.scenario(32)
@pytest.mark.parametrize("count", [0, 1, 200, 201, 401, 1001])
def test_the_whole_library_is_told_once_and_then_listed(stage: Stage, count: int) -> None:
    serve(stage, count)
    stage.open("lister", MAX_MEDIA_PER_SYNC="2000")
    assert stage.send("SessionAuthenticated", begun())
    discovered, listed = told(stage)
    assert sorted(discovered) == sorted(entry.medium().media_id for entry in stage.cloud.catalogue.search())
    assert listed == {"listed": count, "stored": 0, "discovered": count, "pending": 0, "deferred": 0, "warnings": []}


def test_a_discovered_medium_says_what_the_downloader_has_to_know(stage: Stage) -> None:
    medium = Medium(media_id="AbCdEfGh12345", filename="GX010001.MP4", numbers_as_strings=True)
    stage.cloud.replace_library(Library(media=(medium,)))
    stage.send("SessionAuthenticated", begun())
    (_, detail), _ = stage.published()
    assert detail["metadata"]["hops"] == 0
    assert detail["data"] == {
        "media_id": "AbCdEfGh12345",
        "type": "Video",
        "filename": "GX010001.MP4",
        "captured_at": "2026-01-30T21:08:11Z",
        "size": medium.true_size,
        "item_count": 1,
        "camera": "HERO13 Black",
    }


def test_what_the_bucket_has_is_left_out(stage: Stage) -> None:
    serve(stage, 3)
    first = Series(count=3).media_id(0)
    stage.client("dynamodb").put_item(
        TableName="library",
        Item={"media_id": {"S": first}, "item": {"N": "0"}, "status": {"S": "STORED"}, "item_count": {"N": "1"}},
    )
    stage.send("SessionAuthenticated", begun())
    discovered, listed = told(stage)
    assert first not in discovered
    assert (listed["listed"], listed["stored"], listed["discovered"]) == (3, 1, 2)


def test_what_is_too_much_for_one_sync_is_deferred_and_the_oldest_go_first(stage: Stage) -> None:
    serve(stage, 5)
    stage.open("lister", MAX_MEDIA_PER_SYNC="2")
    stage.send("SessionAuthenticated", begun())
    discovered, listed = told(stage)
    assert discovered == [Series(count=5).media_id(0), Series(count=5).media_id(1)]
    assert listed["deferred"] == 3


def test_a_medium_that_is_not_ready_is_pending(stage: Stage) -> None:
    stage.cloud.replace_library(Library(media=(Medium(media_id="m1", ready_to_view="transcoding"),)))
    stage.send("SessionAuthenticated", begun())
    discovered, listed = told(stage)
    assert discovered == []
    assert listed["pending"] == 1


# -- frozen -----------------------------------------------------------------------------------------------------------


@pytest.mark.scenario(1, 4)
def test_a_redelivery_tells_the_same_without_asking_gopro(stage: Stage) -> None:
    serve(stage, 3)
    stage.send("SessionAuthenticated", begun())
    first = told(stage)
    serve(stage, 7)
    asked = searches(stage)
    assert stage.send("SessionAuthenticated", begun())
    assert told(stage) == first
    assert searches(stage) == asked


def test_of_two_that_list_at_once_the_first_to_finish_decides_for_both(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(stage, 2)
    look = Archive.frozen
    looks: list[str] = []

    def too_early(self: Archive, sync_id: str) -> FrozenListing | None:
        looks.append(sync_id)
        if len(looks) == 1:
            # The other worker freezes just after this one saw that nothing was frozen.
            self.freeze(sync_id, FrozenListing(media=(), listed=9, stored=9, pending=0, deferred=0, warnings=()))
            return None
        return look(self, sync_id)

    monkeypatch.setattr(Archive, "frozen", too_early)
    stage.send("SessionAuthenticated", begun())
    discovered, listed = told(stage)
    assert discovered == []
    assert listed["listed"] == 9
    assert keys(stage) == {"listings/sync-1.json"}


def test_two_syncs_have_listings_of_their_own(stage: Stage) -> None:
    serve(stage, 1)
    stage.send("SessionAuthenticated", begun())
    stage.send("SessionAuthenticated", begun(sync_id="sync-2"))
    assert {"listings/sync-1.json", "listings/sync-2.json"} <= keys(stage)


class Conflicts:
    """An S3 client under whose hands another write of the same key goes on."""

    def __init__(self, times: int) -> None:
        self.left = times

    def put_object(self, **_: Any) -> None:
        self.left -= 1
        if self.left >= 0:
            raise ClientError({"Error": {"Code": "ConditionalRequestConflict"}}, "PutObject")


def test_a_conflicting_write_is_tried_again() -> None:
    client: Any = Conflicts(3)
    nothing = FrozenListing(media=(), listed=0, stored=0, pending=0, deferred=0, warnings=())
    assert Archive(client, "bucket", sleep=lambda _: None).freeze("s", nothing) == (nothing, True)
    with pytest.raises(TransientError):
        Archive(Conflicts(99), "bucket", sleep=lambda _: None).freeze("s", nothing)  # type: ignore[arg-type]


# -- proven -----------------------------------------------------------------------------------------------------------


@pytest.mark.scenario(35)
@pytest.mark.parametrize(
    "fault",
    [
        ShortPage(times=2),
        ShortPage(page=2, times=1, rows=0),
        RepeatItem(times=1),
        RepeatItem(times=1, hides=False),
        LibraryChange(after=1, remove=(Series(count=450).media_id(449),)),
        LibraryChange(after=1, add=(Medium(media_id="f" * 24, captured_at="2027-01-01T00:00:00Z").to_json(),)),
        WrongTotal(delta=200, times=1, after=1),
        EndlessPages(),
    ],
    ids=lambda fault: type(fault).__name__,
)
def test_a_defect_that_passes_leaves_no_gap_and_no_warning(stage: Stage, fault: Fault) -> None:
    serve(stage, 450, fault)
    assert stage.send("SessionAuthenticated", begun())
    discovered, listed = told(stage)
    assert stage.cloud.faults.not_struck() == []
    assert set(discovered) == {entry.medium().media_id for entry in stage.cloud.catalogue.search()}
    assert listed["warnings"] == []


@pytest.mark.scenario(35)
@pytest.mark.parametrize(
    "fault", [ShortPage(times=None), RepeatItem(times=None), WrongTotal(delta=5), WrongTotal(delta=-5)]
)
def test_what_can_not_be_proven_is_said(stage: Stage, fault: Fault) -> None:
    serve(stage, 450, fault)
    assert stage.send("SessionAuthenticated", begun())
    _, listed = told(stage)
    assert any("could not be proven complete" in warning for warning in listed["warnings"])


def test_errors_within_the_listing_are_a_warning(stage: Stage) -> None:
    serve(stage, 2, ShapeChange(path="_embedded.errors", value=[{"reason": "x"}]))
    stage.send("SessionAuthenticated", begun())
    assert any("reported 1 errors" in warning for warning in told(stage)[1]["warnings"])


def test_a_filter_that_gopro_ignored_is_made_good_for_and_said(stage: Stage) -> None:
    media = (Medium(media_id="m1"), Medium(media_id="m2", shape="photo"))  # type: ignore[arg-type]
    stage.cloud.replace_library(
        Library(media=media, faults=(ShapeChange(path="_embedded.media.0.type", value="Burst"),))
    )
    stage.send("SessionAuthenticated", begun({"types": ["Video"]}))
    discovered, listed = told(stage)
    assert discovered == []
    assert listed["listed"] == 0
    assert any("ignored the filter" in warning for warning in listed["warnings"])


def test_filters_are_applied(stage: Stage) -> None:
    serve(stage, 10)
    filters = {"types": ["Video"], "captured_from": "2020-01-01T00:02:00Z", "captured_until": "2020-01-01T00:05:00Z"}
    stage.send("SessionAuthenticated", begun(filters))
    discovered, _ = told(stage)
    assert discovered == [Series(count=10).media_id(number) for number in (2, 3, 4)]
    assert "listings/_last.json" not in keys(stage)


@pytest.mark.scenario(37)
@pytest.mark.parametrize(("now", "word"), [(0, "suddenly empty"), (3, "much smaller")])
def test_a_library_that_shrank_suddenly_is_a_warning(stage: Stage, now: int, word: str) -> None:
    serve(stage, 10)
    stage.send("SessionAuthenticated", begun())
    assert told(stage)[1]["warnings"] == []
    assert kept(stage, "listings/_last.json")["total"] == 10
    serve(stage, now)
    stage.send("SessionAuthenticated", begun(sync_id="sync-2"))
    assert any(word in warning for warning in told(stage)[1]["warnings"])


def test_a_library_that_shrank_a_little_is_none(stage: Stage) -> None:
    for sync_id, count in (("sync-1", 10), ("sync-2", 5)):
        serve(stage, count)
        stage.send("SessionAuthenticated", begun(sync_id=sync_id))
        assert told(stage)[1]["warnings"] == []


def test_a_listing_that_is_not_complete_is_nothing_to_compare_with(stage: Stage) -> None:
    serve(stage, 450, ShortPage(times=None))
    stage.send("SessionAuthenticated", begun())
    assert "listings/_last.json" not in keys(stage)


def test_another_count_of_the_account_is_a_warning(stage: Stage) -> None:
    serve(stage, 2, ShapeChange(endpoint="user", path="total_count", value="7"))
    stage.send("SessionAuthenticated", begun())
    assert any("account counts 7" in warning for warning in told(stage)[1]["warnings"])


def test_an_account_that_does_not_answer_fails_no_listing(stage: Stage) -> None:
    serve(stage, 2, Answer(endpoint="user", status=404))
    stage.send("SessionAuthenticated", begun())
    assert told(stage)[1]["warnings"] == []


# -- pauses -----------------------------------------------------------------------------------------------------------


def go_on(stage: Stage, pauses: int = 0) -> tuple[int, list[tuple[str, dict[str, Any]]]]:
    """Delivers each LibraryListingPaused; how many there were, and what came after the last."""
    while True:
        events = stage.published()
        if [name for name, _ in events] != ["LibraryListingPaused"]:
            return pauses, events
        pauses += 1
        assert pauses < 250
        assert events[0][1]["metadata"]["hops"] == pauses
        assert stage.send("LibraryListingPaused", events[0][1])


def test_a_large_library_is_listed_in_slices_without_a_gap(stage: Stage) -> None:
    serve(stage, 1100)
    stage.open("lister", PAGES_PER_SLICE="2", MAX_MEDIA_PER_SYNC="5000")
    filters = {"captured_from": "2019-01-01T00:00:00Z"}
    assert stage.send("SessionAuthenticated", begun(filters))
    pauses, events = go_on(stage)
    assert pauses == 3
    assert len({detail["data"].get("media_id") for _, detail in events[:-1]}) == 1100
    assert events[-1][1]["data"]["warnings"] == []
    assert {f"listings/sync-1/{number}.json" for number in (1, 2, 3)} <= keys(stage)


@pytest.mark.scenario(13)
def test_a_listing_pauses_more_often_than_lambda_lets_functions_call_each_other_unasked(stage: Stage) -> None:
    serve(stage, 18 * 200)
    stage.open("lister", PAGES_PER_SLICE="1", MAX_MEDIA_PER_SYNC="1")
    assert stage.send("SessionAuthenticated", begun())
    pauses, events = go_on(stage)
    assert pauses > 16
    assert (events[-1][1]["data"]["listed"], events[-1][1]["data"]["warnings"]) == (18 * 200, [])


class _Killed(BaseException):
    """The function is gone: nothing catches this."""


@pytest.mark.scenario(34)
@pytest.mark.parametrize("page", [1, 2, 3, 4])
def test_a_lister_that_is_killed_between_two_pages_leaves_no_gap(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    serve(stage, 801)
    stage.open("lister", PAGES_PER_SLICE="2")
    search, left = GoProClient.search, [None] * page

    def killed(self: GoProClient, *args: Any, **options: Any) -> Any:
        if not left:
            raise _Killed
        left.pop()
        return search(self, *args, **options)

    monkeypatch.setattr(GoProClient, "search", killed)
    waiting: tuple[str, dict[str, Any]] = ("SessionAuthenticated", begun())
    with pytest.raises(_Killed):  # noqa: PT012
        for _ in range(9):
            stage.send(*waiting)
            (waiting,) = stage.published()
    assert stage.published() == []
    monkeypatch.setattr(GoProClient, "search", search)
    assert stage.send(*waiting, receives=2)
    _, events = go_on(stage, waiting[1]["metadata"].get("hops", 0))
    assert len({detail["data"]["media_id"] for _, detail in events[:-1]}) == 801
    assert events[-1][1]["data"]["warnings"] == []


def test_with_a_minute_left_the_listing_pauses(stage: Stage) -> None:
    serve(stage, 450)
    stage.seconds = 59
    assert stage.send("SessionAuthenticated", begun())
    ((name, detail),) = stage.published()
    assert name == "LibraryListingPaused"
    assert detail["data"]["next_page"] == 1
    assert detail["data"]["seen_key"] == "listings/sync-1/1.json"


def test_a_listing_that_sees_nothing_new_is_given_up(stage: Stage) -> None:
    serve(stage, 450)
    stage.seconds = 59
    stage.send("SessionAuthenticated", begun())
    pauses, events = go_on(stage)
    assert pauses == 2
    ((name, detail),) = events
    assert name == "LibraryListingFailed"
    assert "three" in detail["data"]["reason"] or "3 slices" in detail["data"]["reason"]


@pytest.mark.scenario(13)
def test_a_listing_does_not_pause_for_ever(stage: Stage) -> None:
    serve(stage, 450)
    stage.open("lister", PAGES_PER_SLICE="1")
    paused = begun()
    paused["metadata"]["hops"] = listing.MAX_HOPS
    paused["data"].update(seen_key="listings/sync-1/200.json", next_page=2)
    assert stage.send("LibraryListingPaused", paused)
    assert "no end" in the_failure(stage)


def test_a_listing_whose_notes_are_gone_begins_anew(stage: Stage) -> None:
    serve(stage, 450)
    paused = begun()
    paused["metadata"]["hops"] = 1
    paused["data"].update(seen_key="listings/sync-1/1.json", next_page=3)
    stage.send("LibraryListingPaused", paused)
    assert len(set(told(stage)[0])) == 450


# -- trouble ----------------------------------------------------------------------------------------------------------


def test_a_rejected_session_is_told_at_once_and_its_successor_waited_for(stage: Stage) -> None:
    serve(stage, 2)
    stage.cloud.tokens.revoke_access()
    stage.clock.while_asleep = lambda: give_session(stage, 2)
    assert stage.send("SessionAuthenticated", begun())
    events = stage.published()
    assert [name for name, _ in events] == ["SessionRejected", *["MediaDiscovered"] * 2, "LibraryListed"]
    assert events[0][1]["data"] == {"session_version": 1}


def test_nobody_calls_gopro_with_a_session_known_dead(stage: Stage) -> None:
    give_session(stage, 1, dead_because="the pasted token has died")
    assert not stage.send("SessionAuthenticated", begun(), receives=4)
    assert "the pasted token has died" in the_failure(stage)
    assert searches(stage) == 0


@pytest.mark.scenario(15)
def test_an_outage_is_waited_for_in_the_lane_and_is_no_attempt(stage: Stage) -> None:
    serve(stage, 2)
    stage.cloud.outage(600)
    began = stage.clock()

    def mended_after_four_minutes() -> None:
        if stage.clock() - began > timedelta(minutes=4):
            stage.cloud.outage(0)

    stage.clock.while_asleep = mended_after_four_minutes
    assert stage.send("SessionAuthenticated", begun())
    assert len(told(stage)[0]) == 2


def test_no_wait_goes_past_the_function_s_own_time(stage: Stage) -> None:
    serve(stage, 450, Answer(endpoint="search", status=429, retry_after=200, after=1, times=None))
    stage.seconds = 240
    assert stage.send("SessionAuthenticated", begun())
    ((name, detail),) = stage.published()
    assert name == "LibraryListingPaused"
    assert detail["data"]["next_page"] == 2


def test_a_long_outage_is_retried_after_2_4_and_8_seconds_and_then_told(stage: Stage) -> None:
    stage.cloud.outage(6000)
    waits = []
    for receives in (1, 2, 3):
        assert not stage.send("SessionAuthenticated", begun(), receives=receives)
        waits.append(stage.hidden[-1])
    assert waits == [2, 4, 8]
    assert stage.published() == []
    assert not stage.send("SessionAuthenticated", begun(), receives=4)
    assert "503" in the_failure(stage)


@pytest.mark.scenario(36)
@pytest.mark.parametrize(
    "fault",
    [
        Answer(endpoint="search", status=404),
        Answer(endpoint="search", status=406),
        Answer(endpoint="search", status=410),
        ShapeChange(path="_pages", remove=True),
        ShapeChange(path="_pages.total_items", value="many"),
        ShapeChange(path="_embedded.media", value={}),
        ShapeChange(path="_embedded.media.*.id", remove=True),
    ],
)
def test_an_api_that_changed_fails_the_listing_loudly_and_at_once(stage: Stage, fault: Fault) -> None:
    serve(stage, 2, fault)
    assert stage.send("SessionAuthenticated", begun())
    reason = the_failure(stage)
    assert "API" in reason or "listing" in reason
    assert keys(stage) == set()


def test_the_function_answers_as_its_inbox_does(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    handler = importlib.import_module("services.lister.handler")
    monkeypatch.setattr(handler, "inbox", stage.inbox)
    batch = {"Records": [stage.record("SessionAuthenticated", begun(), event_id="event-1")]}
    assert handler.handler(batch, stage.context()) == {"batchItemFailures": []}
    assert [name for name, _ in stage.published()] == ["LibraryListed"]


def test_a_fenced_worker_says_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(stage, 2)

    def lost(self: Heartbeat) -> None:
        raise Fenced("another worker has it")

    monkeypatch.setattr(Heartbeat, "check", lost)
    assert not stage.send("SessionAuthenticated", begun(), receives=4)
    assert stage.published() == []
    assert keys(stage) == set()


def test_a_worker_that_is_fenced_while_it_tells_falls_silent(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(stage, 701)

    def lost_after_a_while(self: Heartbeat) -> None:
        if stage.caught.entries:
            raise Fenced("another worker has it")

    monkeypatch.setattr(Heartbeat, "check", lost_after_a_while)
    assert not stage.send("SessionAuthenticated", begun(), receives=4)
    assert 0 < len(stage.published()) < 701


def test_a_worker_that_is_fenced_while_it_walks_does_not_pause(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(stage, 401)
    stage.open("lister", PAGES_PER_SLICE="1")

    def lost_after_a_page(self: Heartbeat) -> None:
        if searches(stage):
            raise Fenced("another worker has it")

    monkeypatch.setattr(Heartbeat, "check", lost_after_a_page)
    assert not stage.send("SessionAuthenticated", begun(), receives=4)
    assert stage.published() == []
    assert keys(stage) == set()
