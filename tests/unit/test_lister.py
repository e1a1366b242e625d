"""The lister: its real composition against the fake GoPro Cloud."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ops.local.gopro_cloud import FakeGoProCloud, Generated, Library, Medium, Series, Shape
from ops.local.gopro_cloud.faults import (
    Answer,
    EndlessPages,
    Fault,
    LibraryChange,
    Refused,
    RepeatItem,
    ShapeChange,
    ShortPage,
    SmallPages,
    WrongTotal,
)
from services.lister.listing import FrozenListing
from services.lister.listings_bucket import ListingsBucket, WriteConflict
from services.lister.walk import Walk
from services.shared.clock import iso
from services.shared.errors import Fenced
from services.shared.gopro.client import PAGE_SIZE, GoProClient, Unavailable
from services.shared.inbox.heartbeat import MAX_HOPS, Heartbeat
from tests.unit.clocks import ManualClock
from tests.unit.gopro_stage import Stage, staged

NOTHING_LISTED = {
    **dict.fromkeys(
        ("listed", "stored", "discovered", "pending", "deferred", "looked_again", "unreadable", "unseen"), 0
    ),
    "not_ready": [],
    "warnings": [],
    "known_warnings": [],
    "filters": {},
    "walk": "full",
    "full_walk_at": "",
}
NOTHING = FrozenListing(media=(), listed=0, stored=0, pending=0, deferred=0, warnings=())


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setattr("services.shared.gopro.client.PACE_SECONDS", 0.0)
    monkeypatch.setattr("services.lister.reactions.PAGE_SIZE", 20)
    with FakeGoProCloud() as cloud, staged(monkeypatch, cloud) as stage:
        give_session(stage, 1)
        yield stage.open("lister")


def give_session(stage: Stage, version: int, **changes: Any) -> None:
    session = {
        "access_token": stage.cloud.tokens.paste(86_400),
        "version": version,
        "obtained_at": iso(stage.clock.now()),
        "expires_at": iso(stage.clock.now() + timedelta(hours=24)),
    }
    stage.put_secret("SESSION_SECRET", {**session, **changes})


def serve(stage: Stage, count: int, *faults: Fault) -> None:
    stage.cloud.replace_library(Library(series=(Series(count=count),), faults=faults))


def begun(*, sync_id: str = "sync-1", hops: int = 0, filters: dict[str, Any] | None = None, **data: Any) -> Any:
    data = {"session_version": 1, "requested_at": "2026-11-23T01:00:00Z", "filters": filters or {}, **data}
    return {"metadata": {"version": 1, "sync_id": sync_id, "hops": hops}, "data": data}


def send(stage: Stage, **more: Any) -> bool:
    """Begin a listing. Returns whether the message was acknowledged."""
    return stage.send("SessionAuthenticated", begun(**more))


def published(stage: Stage) -> tuple[list[str], dict[str, Any]]:
    """Return the ids of the discovered media, and the data of LibraryListed, which has to come last."""
    *media, (last, listed) = stage.published()
    assert {name for name, _ in media} <= {"MediaDiscovered"}
    assert last == "LibraryListed"
    return [detail["data"]["media_id"] for _, detail in media], listed["data"]


def warnings_of(stage: Stage, **more: Any) -> list[str]:
    assert send(stage, **more)
    return list(published(stage)[1]["warnings"])


def failure(stage: Stage) -> str:
    ((name, detail),) = stage.published()
    assert name == "LibraryListingFailed"
    return str(detail["data"]["reason"])


def resume(stage: Stage) -> int:
    """Deliver each LibraryListingPaused, and leave what is published after the last. Returns how many there were."""
    pauses = 0
    while [entry["DetailType"] for entry in stage.session.entries] == ["LibraryListingPaused"]:
        ((_, detail),) = stage.published()
        pauses += 1
        assert detail["metadata"]["hops"] == pauses
        assert detail["data"]["seen_key"] == f"listings/sync-1/{pauses}.json"
        assert stage.send("LibraryListingPaused", detail)
    return pauses


def library(stage: Stage) -> set[str]:
    return {medium.media_id for medium in stage.cloud.catalogue.search()}


def keys(stage: Stage) -> set[str]:
    return {entry["Key"] for entry in stage.client("s3").list_objects_v2(Bucket="media-bucket").get("Contents", [])}


def searches(stage: Stage) -> int:
    return len(stage.cloud.observations.requests("search"))


# -- a listing --------------------------------------------------------------------------------------------------------


@pytest.mark.scenario(32)
@pytest.mark.parametrize("count", [0, 1, 200, 201, 1001])
def test_every_medium_is_published_once_and_the_listing_after_them(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr("services.lister.reactions.PAGE_SIZE", PAGE_SIZE)
    serve(stage, count)
    stage.open("lister", MAX_MEDIA_PER_SYNC="2000")
    assert send(stage)
    discovered, listed = published(stage)
    assert sorted(discovered) == sorted(library(stage))
    counts = {"listed": count, "discovered": count, "library_media": count}
    assert listed == {**NOTHING_LISTED, **counts, "full_walk_at": iso(stage.clock.now())}


def test_a_discovered_medium_carries_what_the_downloader_needs(stage: Stage) -> None:
    medium = Medium(media_id="AbCdEfGh12345", filename="GX010001.MP4", numbers_as_strings=True)
    stage.cloud.replace_library(Library(media=(medium,)))
    send(stage)
    (_, detail), _ = stage.published()
    assert detail["metadata"]["hops"] == 0
    assert "source" in detail["data"].pop("labels")
    assert detail["data"] == {
        "media_id": "AbCdEfGh12345",
        "type": "Video",
        "filename": "GX010001.MP4",
        "captured_at": "2026-01-30T21:08:11Z",
        "size": medium.true_size,
        "item_count": 1,
        "camera": "HERO13 Black",
        "reprocessed_at": "",
        "look_again": False,
        "state": "",
        "state_since": "",
    }


def test_stored_pending_and_deferred_media_are_counted_and_not_published(stage: Stage) -> None:
    ids = [Series(count=5).media_id(number) for number in range(5)]
    processing = Medium(media_id="m1", captured_at=iso(stage.clock.now()), ready_to_view="transcoding")
    stage.cloud.replace_library(Library(series=(Series(count=5),), media=(processing,)))
    stage.client("dynamodb").put_item(
        TableName="library",
        Item={"media_id": {"S": ids[0]}, "item": {"N": "0"}, "status": {"S": "STORED"}, "item_count": {"N": "1"}},
    )
    stage.open("lister", MAX_MEDIA_PER_SYNC="2")
    send(stage)
    discovered, listed = published(stage)
    assert discovered == ids[1:3]
    counts = {"listed": 6, "stored": 1, "discovered": 2, "pending": 1, "deferred": 2, "library_media": 6}
    assert listed == {**NOTHING_LISTED, **counts, "full_walk_at": iso(stage.clock.now())}


def test_a_medium_that_0_1_0_stored_is_looked_at_once_it_changes_and_not_before(stage: Stage) -> None:
    medium = Medium(media_id="m1", contents=(Generated(10, "a"),))
    stage.cloud.replace_library(Library(media=(medium,)))
    stage.client("dynamodb").put_item(
        TableName="library",
        Item={"media_id": {"S": "m1"}, "item": {"N": "0"}, "status": {"S": "STORED"}, "item_count": {"N": "1"}},
    )
    for sync_id in ("sync-1", "sync-2"):
        send(stage, sync_id=sync_id)
        discovered, listed = published(stage)
        assert (discovered, listed["stored"], listed["looked_again"]) == ([], 1, 0)
    with_raw = Medium(media_id="m1", contents=(Generated(10, "a"),), raw=Generated(20, "b"))
    stage.cloud.replace_library(Library(media=(with_raw,)))
    send(stage, sync_id="sync-3")
    (_, detail), (_, listed) = stage.published()
    assert (detail["data"]["media_id"], detail["data"]["look_again"]) == ("m1", True)
    assert (listed["data"]["discovered"], listed["data"]["looked_again"], listed["data"]["stored"]) == (1, 1, 0)


@pytest.mark.parametrize(
    ("expires_at", "order", "first"),
    [
        ("2099-01-01T00:00:00Z", "auto", "oldest"),
        (None, "auto", "newest"),
        (None, "oldest", "oldest"),
        ("2099-01-01T00:00:00Z", "newest", "newest"),
    ],
)
def test_a_session_that_may_end_at_any_time_is_used_for_the_newest_media_first(
    stage: Stage, expires_at: str | None, order: str, first: str
) -> None:
    media = {"oldest": "2026-01-01T00:00:00Z", "newest": "2026-01-02T00:00:00Z"}
    stage.cloud.replace_library(
        Library(media=tuple(Medium(media_id=name, captured_at=at) for name, at in media.items()))
    )
    stage.put_secret("SESSION_SECRET", {**stage.secret("SESSION_SECRET"), "expires_at": expires_at})
    stage.open("lister", MAX_MEDIA_PER_SYNC="1", ORDER=order)
    send(stage)
    discovered, _ = published(stage)
    assert discovered == [first]


def test_media_that_gopro_fails_to_make_ready_are_named_and_published_with_their_state(stage: Stage) -> None:
    media = (
        Medium(media_id="m1", filename="GX01.MP4", ready_to_view="failure", created_at="2026-01-31T02:00:00Z"),
        Medium(media_id="m2", filename="GX02.MP4", ready_to_view="uploading", created_at="2026-02-01T02:00:00Z"),
        Medium(media_id="m3", captured_at=iso(stage.clock.now()), ready_to_view="uploading"),
        Medium(media_id="m4"),
    )
    stage.cloud.replace_library(Library(media=media))
    send(stage)
    *discovered, (_, listed) = stage.published()
    about = [
        (detail["data"]["media_id"], detail["data"]["state"], detail["data"]["state_since"]) for _, detail in discovered
    ]
    assert about == [
        ("m4", "", ""),
        ("m1", "failure", "2026-01-31T02:00:00Z"),
        ("m2", "uploading", "2026-02-01T02:00:00Z"),
    ]
    assert listed["data"]["not_ready"] == [
        {"media_id": "m1", "filename": "GX01.MP4", "state": "failure", "since": "2026-01-31T02:00:00Z"},
        {"media_id": "m2", "filename": "GX02.MP4", "state": "uploading", "since": "2026-02-01T02:00:00Z"},
    ]
    assert (listed["data"]["discovered"], listed["data"]["pending"]) == (3, 1)


def test_a_medium_without_a_date_is_not_ready_since_the_night_that_first_saw_it(stage: Stage) -> None:
    undated = ShapeChange(path="_embedded.media.0.created_at", times=None)
    stage.cloud.replace_library(Library(media=(Medium(media_id="m1", ready_to_view="loading"),), faults=(undated,)))
    first_seen = iso(stage.clock.now())
    for night in range(5):
        give_session(stage, 1)
        send(stage, sync_id=f"sync-{night}")
        discovered, listed = published(stage)
        named = [(one["media_id"], one["since"]) for one in listed["not_ready"]]
        assert (discovered, named) == ((["m1"], [("m1", first_seen)]) if night == 4 else ([], []))
        stage.clock.advance(86_400)


def test_a_filtered_listing_says_how_large_the_library_is(stage: Stage) -> None:
    stage.cloud.replace_library(Library(media=(Medium(media_id="m1"), Medium(media_id="m2", shape=Shape.PHOTO))))
    send(stage, filters={"types": ["Photo"]})
    _, listed = published(stage)
    assert (listed["listed"], listed["library_media"], listed["filters"]["types"]) == (1, 2, ["Photo"])


# -- frozen -----------------------------------------------------------------------------------------------------------


@pytest.mark.scenario(1, 4)
def test_a_redelivery_publishes_the_same_without_asking_gopro(stage: Stage) -> None:
    serve(stage, 3)
    send(stage)
    first = published(stage)
    serve(stage, 7)
    asked = searches(stage)
    assert send(stage)
    assert published(stage) == first
    assert searches(stage) == asked


def test_of_two_concurrent_listers_the_first_to_freeze_decides_for_both(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(stage, 2)
    read, reads = ListingsBucket.frozen, [0]
    others = FrozenListing(media=(), listed=9, stored=9, pending=0, deferred=0, warnings=())

    def frozen_just_after_the_first_read(self: ListingsBucket, sync_id: str) -> FrozenListing | None:
        reads[0] += 1
        found = read(self, sync_id)
        if reads == [1]:
            self.freeze(sync_id, others)
        return found

    monkeypatch.setattr(ListingsBucket, "frozen", frozen_just_after_the_first_read)
    send(stage)
    discovered, listed = published(stage)
    assert (discovered, listed["listed"]) == ([], 9)
    assert keys(stage) == {"listings/sync-1.json", "listings/_known.json"}


def test_a_conflicting_write_is_tried_again_five_times() -> None:
    conflicts = [3]

    class Client:
        def put_object(self, **_: Any) -> None:
            conflicts[0] -= 1
            if conflicts[0] >= 0:
                raise ClientError({"Error": {"Code": "ConditionalRequestConflict"}}, "PutObject")

    client: Any = Client()
    listings = ListingsBucket(client, "bucket", clock=ManualClock())
    assert listings.freeze("s", NOTHING) == (NOTHING, True)
    conflicts[0] = 5
    with pytest.raises(WriteConflict):
        listings.freeze("s", NOTHING)


# -- proven -----------------------------------------------------------------------------------------------------------


@pytest.mark.scenario(35)
@pytest.mark.parametrize(
    "fault",
    [
        ShortPage(times=2),
        ShortPage(page=2, times=1, rows=0),
        RepeatItem(times=1),
        RepeatItem(times=1, hides=False),
        LibraryChange(after=1, remove=(Series(count=45).media_id(44),)),
        LibraryChange(after=1, add=(Medium(media_id="f" * 24, captured_at="2027-01-01T00:00:00Z").to_json(),)),
        WrongTotal(delta=20, times=1, after=1),
        EndlessPages(),
        ShortPage(times=None),
        ShortPage(page=2, times=None, rows=0),
        SmallPages(per_page=8),
        SmallPages(per_page=7, after=2),
        SmallPages(per_page=7, times=2),
        Answer(endpoint="search", page=2, status=500, times=None),
        Answer(endpoint="search", page=1, status=500, after=1, times=2),
        Answer(endpoint="search", page=3, status=410, times=None),
        Refused(endpoint="search", page=3, error="no_such_page"),
        Refused(endpoint="search", page=3, status=401),
        ShapeChange(path="_embedded", value=[], page=3, times=None),
    ],
    ids=lambda fault: type(fault).__name__,
)
def test_a_passing_defect_of_the_pages_leaves_no_gap_and_no_warning(stage: Stage, fault: Fault) -> None:
    serve(stage, 45, fault)
    assert send(stage)
    discovered, listed = published(stage)
    assert stage.cloud.faults.not_struck() == []
    assert set(discovered) == library(stage)
    assert listed["warnings"] == []


@pytest.mark.scenario(35)
@pytest.mark.parametrize("fault", [RepeatItem(times=None), WrongTotal(delta=3), WrongTotal(delta=-3)])
def test_a_lasting_defect_of_the_pages_is_a_warning_and_not_compared_with_later(stage: Stage, fault: Fault) -> None:
    serve(stage, 45, fault)
    assert any("could not be proven complete" in warning for warning in warnings_of(stage))
    last = stage.client("s3").get_object(Bucket="media-bucket", Key="listings/_last.json")["Body"].read()
    assert json.loads(last)["total"] == 0


def test_odd_rows_cost_themselves_alone_and_are_counted(stage: Stage) -> None:
    odd = (
        ShapeChange(path="_embedded.media.1", value=None, times=None),
        ShapeChange(path="_embedded.media.2.id", value=None, times=None),
        ShapeChange(path="_embedded.media.3.id", value=4711, times=None),
    )
    serve(stage, 5, *odd)
    assert send(stage)
    discovered, listed = published(stage)
    assert len(discovered) == listed["listed"] == 2
    assert (listed["unreadable"], listed["unseen"]) == (3, 0)
    (warning,) = listed["warnings"]
    assert warning.startswith("3 rows of GoPro's listing could not be read, and the media are missing from it: ")
    assert warning.endswith(": the id is a number (1), the id is null (1), the row is null (1).")


def test_media_whose_pages_always_fail_are_counted_and_the_others_published(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = GoProClient.search

    def poisoned(self: GoProClient, token: str, **query: Any) -> Any:
        page = search(self, token, **query)
        if any(medium.media_id == ids[40] for medium in page.media):
            raise Unavailable("GoPro has trouble (500 at /media/search)")
        return page

    ids = [Series(count=75).media_id(number) for number in range(75)]
    serve(stage, 75)
    monkeypatch.setattr(GoProClient, "search", poisoned)
    assert send(stage)
    discovered, listed = published(stage)
    assert sorted(discovered) == sorted({*ids} - {ids[40]})
    assert (listed["listed"], listed["unseen"]) == (74, 1)
    (warning,) = listed["warnings"]
    assert "Cloud Sync saw 74 media, and GoPro counts 75. GoPro did not show a medium" in warning
    assert "GoPro has trouble (500 at /media/search)" in warning


def test_a_search_that_fails_for_good_while_other_calls_work_fails_the_listing(stage: Stage) -> None:
    serve(stage, 45, Answer(endpoint="search", status=500, after=1, times=None))
    assert not send(stage)
    assert stage.published() == []
    assert not stage.send("SessionAuthenticated", begun(), receives=4)
    assert "500" in failure(stage)


@pytest.mark.scenario(35)
def test_a_count_that_is_off_by_one_for_ever_is_one_true_warning_and_known_from_the_second_night_on(
    stage: Stage,
) -> None:
    for night, count in enumerate((45, 45, 47)):
        serve(stage, count, WrongTotal(delta=1))
        assert send(stage, sync_id=f"sync-{night}")
        _, listed = published(stage)
        warning = (
            f"The listing could not be proven complete: Cloud Sync saw {count} media, and GoPro counts {count + 1}. "
            f"The account counts {count}."
        )
        assert (listed["warnings"], listed["known_warnings"]) == (([warning], []) if night == 0 else ([], [warning]))
    serve(stage, 47, WrongTotal(delta=2))
    assert send(stage, sync_id="sync-3")
    _, listed = published(stage)
    assert (len(listed["warnings"]), listed["known_warnings"], listed["unseen"]) == (1, [], 2)
    serve(stage, 47)
    for night, warnings in ((4, 0), (5, 0)):
        assert send(stage, sync_id=f"sync-{night}")
        _, listed = published(stage)
        assert len(listed["warnings"] + listed["known_warnings"]) == warnings


def test_a_listing_that_version_0_1_0_froze_is_published(stage: Stage) -> None:
    medium = {
        "media_id": "m1", "type": "Video", "filename": "GX01.MP4", "captured_at": None, "size": 1, "item_count": 1,
        "state": "ready", "camera": "",
    }  # fmt: skip
    listing = {"media": [medium], "listed": 1, "stored": 0, "pending": 0, "deferred": 0, "warnings": ["odd"]}
    stage.client("s3").put_object(Bucket="media-bucket", Key="listings/sync-1.json", Body=json.dumps(listing))
    assert send(stage)
    counts = {"listed": 1, "discovered": 1, "warnings": ["odd"], "library_media": None}
    assert published(stage) == (["m1"], {**NOTHING_LISTED, **counts})


def test_what_version_0_1_0_remembers_of_the_last_listing_is_compared_with(stage: Stage) -> None:
    last = {"sync_id": "sync-0", "listed_at": "2026-11-20T01:00:00Z", "total": 9}
    stage.client("s3").put_object(Bucket="media-bucket", Key="listings/_last.json", Body=json.dumps(last))
    serve(stage, 2)
    assert "after 9 on 2026-11-20" in "".join(warnings_of(stage))


@pytest.mark.parametrize(
    ("fault", "warning"),
    [
        (ShapeChange(path="_embedded.errors", value=[{"reason": "x"}]), "GoPro reported 1 error in its listing."),
        (
            ShapeChange(endpoint="user", path="total_count", value="7"),
            "GoPro counts 7 media in the account, but 2 in the listing.",
        ),
    ],
)
def test_what_is_odd_about_a_listing_is_a_warning(stage: Stage, fault: Fault, warning: str) -> None:
    serve(stage, 2, fault)
    assert warnings_of(stage) == [warning]


def test_an_account_that_does_not_answer_fails_no_listing(stage: Stage) -> None:
    serve(stage, 2, Answer(endpoint="user", status=404))
    assert warnings_of(stage) == []


def test_filters_are_applied(stage: Stage) -> None:
    serve(stage, 10)
    filters = {"types": ["Video"], "captured_from": "2020-01-01T00:02:00Z", "captured_until": "2020-01-01T00:05:00Z"}
    send(stage, filters=filters)
    assert published(stage)[0] == [Series(count=10).media_id(number) for number in (2, 3, 4)]
    assert "listings/_last.json" not in keys(stage)


def test_media_of_other_types_are_left_out_when_gopro_ignores_the_filter(stage: Stage) -> None:
    fault = ShapeChange(path="_embedded.media.0.type", value="Burst")
    stage.cloud.replace_library(Library(media=(Medium(media_id="m1"),), faults=(fault,)))
    send(stage, filters={"types": ["Video"]})
    discovered, listed = published(stage)
    assert (discovered, listed["listed"]) == ([], 0)
    assert listed["warnings"] == ["GoPro ignored the filter: 1 media of other types were listed, and left out."]


@pytest.mark.scenario(37)
@pytest.mark.parametrize(
    ("now", "warning"), [(0, "suddenly empty: 0 media, after 10"), (4, "suddenly much smaller: 4"), (5, "")]
)
def test_a_library_with_less_than_half_its_former_media_is_a_warning(stage: Stage, now: int, warning: str) -> None:
    serve(stage, 10)
    assert warnings_of(stage) == []
    serve(stage, now)
    assert warning in "".join(warnings_of(stage, sync_id="sync-2"))
    last = stage.client("s3").get_object(Bucket="media-bucket", Key="listings/_last.json")["Body"].read()
    assert json.loads(last)["total"] == now


# -- pauses -----------------------------------------------------------------------------------------------------------


def cancel(stage: Stage) -> None:
    item = {"sync_id": {"S": "sync-1"}, "record": {"S": "sync"}, "cancel_requested_at": {"S": "2026-11-23T01:00:09Z"}}
    stage.client("dynamodb").put_item(TableName="syncs", Item=item)


def test_nothing_of_a_cancelled_sync_is_listed(stage: Stage) -> None:
    serve(stage, 2)
    cancel(stage)
    assert send(stage)
    assert (stage.published(), keys(stage), searches(stage)) == ([], set(), 0)
    assert send(stage, sync_id="sync-2")
    assert published(stage)[1]["discovered"] == 2


def test_a_sync_that_is_cancelled_during_its_walk_freezes_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(stage, 2)
    step = Walk.step

    def cancelled_meanwhile(self: Walk, *arguments: Any) -> None:
        step(self, *arguments)
        cancel(stage)

    monkeypatch.setattr(Walk, "step", cancelled_meanwhile)
    assert send(stage)
    assert (stage.published(), keys(stage)) == ([], set())


def test_a_frozen_listing_is_published_even_if_its_sync_is_cancelled(stage: Stage) -> None:
    serve(stage, 2)
    send(stage)
    first = published(stage)
    cancel(stage)
    send(stage)
    assert published(stage) == first


def test_a_large_library_is_listed_in_slices_without_a_gap(stage: Stage) -> None:
    serve(stage, 110)
    stage.open("lister", PAGES_PER_SLICE="2", MAX_MEDIA_PER_SYNC="5000")
    assert send(stage, filters={"captured_from": "2019-01-01T00:00:00Z"})
    assert resume(stage) == 3
    discovered, listed = published(stage)
    assert set(discovered) == library(stage)
    assert (len(discovered), listed["warnings"]) == (110, [])


def test_a_listing_that_sees_nothing_new_in_three_slices_fails(stage: Stage) -> None:
    serve(stage, 45)
    stage.seconds = 59  # too few for a single page
    send(stage)
    assert resume(stage) == 2
    assert "no new medium in 3 slices" in failure(stage)


@pytest.mark.scenario(13)
def test_a_listing_fails_after_the_last_allowed_pause(stage: Stage) -> None:
    serve(stage, 45)
    stage.open("lister", PAGES_PER_SLICE="1")
    paused = begun(hops=MAX_HOPS, seen_key="listings/sync-1/200.json", next_page=2)
    assert stage.send("LibraryListingPaused", paused)
    assert "not finished after" in failure(stage)


def test_a_listing_whose_walk_is_missing_starts_over(stage: Stage) -> None:
    serve(stage, 45)
    stage.send("LibraryListingPaused", begun(hops=1, seen_key="listings/sync-1/1.json", next_page=3))
    assert set(published(stage)[0]) == library(stage)


def test_a_wait_into_the_end_of_the_function_becomes_a_pause(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(stage, 45, Answer(endpoint="search", status=429, retry_after=200, after=1, times=None))
    search = GoProClient.search

    def slow(self: GoProClient, *args: Any, **options: Any) -> Any:
        page = search(self, *args, **options)
        stage.clock.advance(700)
        return page

    monkeypatch.setattr(GoProClient, "search", slow)
    assert send(stage)
    ((name, detail),) = stage.published()
    assert (name, detail["data"]["next_page"]) == ("LibraryListingPaused", 2)


# -- trouble ----------------------------------------------------------------------------------------------------------


def test_an_outage_longer_than_the_patience_is_left_to_the_queue(stage: Stage) -> None:
    stage.cloud.outage(6000)
    assert not send(stage)
    assert stage.hidden[-1] == 2
    assert stage.published() == []
    assert not stage.send("SessionAuthenticated", begun(), receives=4)
    assert "503" in failure(stage)


@pytest.mark.scenario(36)
@pytest.mark.parametrize(
    "fault",
    [
        Answer(endpoint="search", status=404, times=None),
        Answer(endpoint="search", status=406, times=None),
        Answer(endpoint="search", status=410, times=None),
        ShapeChange(path="_pages", remove=True, times=None),
        ShapeChange(path="_pages.total_items", value="many", times=None),
        ShapeChange(path="_embedded.media", value={}, times=None),
        ShapeChange(path="_embedded.media.*.id", remove=True, times=None),
        ShapeChange(path="_embedded.media.*", value=None, times=None),
    ],
)
def test_a_changed_api_fails_the_listing_at_once(stage: Stage, fault: Fault) -> None:
    serve(stage, 2, fault)
    assert send(stage)
    reason = failure(stage)
    assert "API" in reason or "listing" in reason
    assert keys(stage) == set()


@pytest.mark.parametrize(("status", "error"), [(403, "subscription_required"), (401, "no_subscription"), (402, "x")])
@pytest.mark.parametrize("endpoint", ["api", "search"])
def test_a_refused_account_fails_the_listing_at_once_in_gopros_words(
    stage: Stage, endpoint: Any, status: int, error: str
) -> None:
    serve(stage, 45, Refused(endpoint=endpoint, status=status, error=error, message="Please renew it."))
    assert send(stage)
    assert failure(stage) == f"GoPro refuses the account ({status}: {error}: Please renew it.)"
    assert len(stage.cloud.observations.requests()) <= 4


@pytest.mark.parametrize("moment", ["before the walk", "before a pause", "between two portions"])
def test_a_fenced_worker_publishes_and_writes_nothing_more(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    serve(stage, 701)
    if moment == "before a pause":
        stage.open("lister", PAGES_PER_SLICE="1")
    moments: dict[str, Callable[[], bool]] = {
        "before the walk": lambda: True,
        "before a pause": lambda: searches(stage) == 1,
        "between two portions": lambda: len(stage.session.entries) == 500,
    }

    def check(_: Heartbeat) -> None:
        if moments[moment]():
            raise Fenced("another worker has taken over")

    monkeypatch.setattr(Heartbeat, "check", check)
    assert not stage.send("SessionAuthenticated", begun(), receives=4)
    has_frozen = moment == "between two portions"
    assert [name for name, _ in stage.published()] == ["MediaDiscovered"] * (500 if has_frozen else 0)
    assert ("listings/sync-1.json" in keys(stage)) == has_frozen
    assert "listings/sync-1/1.json" not in keys(stage)
