"""Nights that look at the newest media only: what they find, and what makes them walk the whole library after all."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from ops.deployment import Deployment
from ops.library import LibraryStores
from ops.local.gopro_cloud import FakeGoProCloud, Generated, Library, Medium
from ops.local.gopro_cloud.faults import Answer, Fault, LibraryChange, ShapeChange, ShortPage
from services.lister.listings_bucket import ListingsBucket
from services.shared.clock import iso
from services.shared.dynamodb import read_items
from services.shared.gopro.client import GoProClient
from services.shared.library.records import REQUEST
from tests.unit.gopro_stage import Stage, staged
from tests.unit.test_lister import begun, give_session, keys, published, searches

DAY = 86_400
COUNT = 9  # media of the library, in pages of 4


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setattr("services.shared.gopro.client.PACE_SECONDS", 0.0)
    monkeypatch.setattr("services.lister.reactions.PAGE_SIZE", 4)
    with FakeGoProCloud() as cloud, staged(monkeypatch, cloud) as stage:
        stage.open("lister")
        serve(stage, *library())
        night(stage, 0)
        store(stage, *(one.media_id for one in library()))
        yield stage


def medium(number: int, **more: Any) -> Medium:
    """Return a medium that was captured and uploaded on this day of January."""
    at = f"2026-01-{number:02}T10:00:00Z"
    defaults = {"media_id": f"m{number:02}", "captured_at": at, "created_at": at, "contents": (Generated(10, "a"),)}
    return Medium(**{**defaults, **more})


def library(*, without: int = 0, upto: int = COUNT) -> list[Medium]:
    return [medium(number) for number in range(1, upto + 1) if number != without]


def serve(stage: Stage, *media: Medium, faults: tuple[Fault, ...] = ()) -> None:
    stage.cloud.replace_library(Library(media=media, faults=faults))


def store(stage: Stage, *media_ids: str, status: str = "STORED", **more: str) -> None:
    """Write the records that the downloader writes, with the rows of the media as GoPro lists them now."""
    frozen = {
        one.media_id: one
        for key in sorted(keys(stage))
        if not key.startswith("listings/_")
        for one in ListingsBucket(stage.client("s3"), "media-bucket", clock=stage.clock).frozen(key[9:-5]).media  # type: ignore[union-attr]
    }
    for media_id in media_ids:
        row = frozen[media_id]
        item = {
            "media_id": {"S": media_id},
            "item": {"N": "0"},
            "status": {"S": status},
            "item_count": {"N": str(row.item_count)},
            "size": {"N": str(row.size)},
            "reprocessed_at": {"S": row.reprocessed_at},
            "labels": {"S": row.labels},
            **{name: {"S": value} for name, value in more.items()},
        }
        stage.client("dynamodb").put_item(TableName="library", Item=item)


def night(stage: Stage, number: int, **more: Any) -> tuple[list[str], dict[str, Any]]:
    """Run the sync of a night, and return what it discovers, and its LibraryListed."""
    if number:
        stage.clock.advance(DAY)
    give_session(stage, 1)
    assert stage.send("SessionAuthenticated", begun(sync_id=f"night-{number}", **more))
    return published(stage)


def counts(listed: dict[str, Any]) -> tuple[int, ...]:
    return tuple(listed[name] for name in ("listed", "stored", "discovered", "pending", "deferred"))


def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the keys of the library table that are read from now on."""
    found: list[str] = []

    def noted(client: Any, table: str, keys: Sequence[Any], **more: Any) -> Iterator[dict[str, Any]]:
        found.extend(key["media_id"] for key in keys)
        return read_items(client, table, keys, **more)

    monkeypatch.setattr("services.shared.library.records.read_items", noted)
    return found


# -- an idle night -----------------------------------------------------------------------------------------------------


def test_the_first_night_walks_the_whole_library_and_an_idle_one_asks_for_a_page(stage: Stage) -> None:
    full_walk_at, asked = iso(stage.clock.now()), searches(stage)
    night(stage, 1)  # looks at what the first night took on
    asked = searches(stage)
    discovered, listed = night(stage, 2)
    assert (discovered, counts(listed)) == ([], (COUNT, COUNT, 0, 0, 0))
    assert (listed["walk"], listed["full_walk_at"], listed["library_media"]) == ("newest", full_walk_at, COUNT)
    assert searches(stage) - asked == 1
    assert len(stage.cloud.observations.requests("user")) == 1  # of the full walk


def test_an_idle_night_reads_no_record_of_a_medium(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    found = reads(monkeypatch)
    night(stage, 1)
    assert sorted(found) == [REQUEST, *(one.media_id for one in library())]
    found.clear()
    night(stage, 2)
    assert found == [REQUEST]


def test_what_the_night_knows_is_the_same_whichever_walk_found_it_out(stage: Stage) -> None:
    night(stage, 1)
    first = json.loads(stage.client("s3").get_object(Bucket="media-bucket", Key="listings/_known.json")["Body"].read())
    stage.open("lister", FULL_WALK_DAYS="1")
    _, listed = night(stage, 2)
    assert listed["walk"] == "full"
    second = json.loads(stage.client("s3").get_object(Bucket="media-bucket", Key="listings/_known.json")["Body"].read())
    assert sorted(one["media_id"] for one in first["front"]) == sorted(one["media_id"] for one in second["front"])
    times = ("full_walk_at", "decided_at", "front")
    assert {name: first[name] for name in first if name not in times} == {
        name: second[name] for name in second if name not in times
    }


# -- what a newest walk finds ------------------------------------------------------------------------------------------


def test_new_media_are_found_however_long_ago_they_were_captured(stage: Stage) -> None:
    old = medium(20, captured_at="2019-01-01T00:00:00Z")
    serve(stage, *library(), medium(10), old)
    discovered, listed = night(stage, 1)
    assert (sorted(discovered), listed["walk"]) == (["m10", "m20"], "newest")
    assert counts(listed) == (COUNT + 2, COUNT, 2, 0, 0)


def test_media_that_failed_are_tried_again(stage: Stage) -> None:
    store(stage, "m01", status="FAILED")
    for number in (1, 2):
        discovered, listed = night(stage, number)
        assert (discovered, listed["walk"]) == (["m01"], "newest")
        assert counts(listed) == (COUNT, COUNT - 1, 1, 0, 0)
    store(stage, "m01")
    assert night(stage, 3)[0] == []


def test_media_that_were_deferred_are_taken_on_oldest_first(stage: Stage) -> None:
    serve(stage, *library(upto=15))
    stage.open("lister", MAX_MEDIA_PER_SYNC="4")
    discovered, listed = night(stage, 1)
    assert (discovered, listed["deferred"]) == (["m10", "m11", "m12", "m13"], 2)
    store(stage, *discovered)
    discovered, listed = night(stage, 2)
    assert (discovered, listed["walk"], counts(listed)) == (["m14", "m15"], "newest", (15, 13, 2, 0, 0))


def test_a_medium_that_becomes_ready_is_taken_on(stage: Stage) -> None:
    today = iso(stage.clock.now())
    serve(stage, *library(), medium(10, created_at=today, ready_to_view="transcoding"))
    discovered, listed = night(stage, 1)
    assert (discovered, listed["walk"], counts(listed)) == ([], "newest", (COUNT + 1, COUNT, 0, 1, 0))
    serve(stage, *library(), medium(10, created_at=today))
    discovered, listed = night(stage, 2)
    assert (discovered, listed["walk"], counts(listed)) == (["m10"], "newest", (COUNT + 1, COUNT, 1, 0, 0))


def test_a_medium_in_processing_below_the_newest_needs_a_full_walk_for_three_days(stage: Stage) -> None:
    today = iso(stage.clock.now())
    undated = medium(10, created_at="2020-01-01T00:00:00Z", captured_at=today, ready_to_view="transcoding")
    unknown = ShapeChange(path="_embedded.media.1.created_at", page=3, times=None)
    serve(stage, *library(), undated, faults=(unknown,))
    walks = [night(stage, number)[1]["walk"] for number in range(1, 6)]
    assert walks == ["full", "full", "full", "full", "newest"]


def test_a_reprocessed_medium_among_the_newest_is_looked_at_the_same_night(stage: Stage) -> None:
    night(stage, 1)
    changed = medium(COUNT, reprocessed_at="2026-06-01T00:00:00Z", contents=(Generated(20, "b"),))
    serve(stage, *library(without=COUNT), changed)
    discovered, listed = night(stage, 2)
    assert (discovered, listed["walk"], listed["looked_again"]) == ([f"m{COUNT:02}"], "newest", 1)


def test_looks_that_had_to_wait_are_made_in_the_next_night(stage: Stage) -> None:
    stage.open("lister", FULL_WALK_DAYS="1", LOOKS_PER_SYNC="1")
    changed = [medium(n, reprocessed_at="2026-06-01T00:00:00Z", contents=(Generated(20, "b"),)) for n in (1, 2)]
    serve(stage, *changed, *(medium(number) for number in range(3, COUNT + 1)))
    first, listed = night(stage, 1)
    assert (listed["walk"], listed["looked_again"]) == ("full", 1)
    store(stage, *first)
    stage.open("lister", LOOKS_PER_SYNC="1")
    second, listed = night(stage, 2)
    assert (listed["walk"], listed["looked_again"], sorted(first + second)) == ("newest", 1, ["m01", "m02"])


# -- what it cannot find, and the next full walk does ------------------------------------------------------------------


def test_an_older_medium_that_was_reprocessed_is_found_by_the_next_full_walk(stage: Stage) -> None:
    night(stage, 1)
    changed = medium(1, reprocessed_at="2026-06-01T00:00:00Z", contents=(Generated(20, "b"),))
    serve(stage, changed, *(medium(number) for number in range(2, COUNT + 1)))
    found = {number: night(stage, number) for number in range(2, 8)}
    assert {number: (ids, listed["walk"]) for number, (ids, listed) in found.items()} == {
        **dict.fromkeys(range(2, 7), ([], "newest")),
        7: (["m01"], "full"),
    }


def test_a_medium_deleted_and_another_added_below_the_newest_are_found_by_the_next_full_walk(stage: Stage) -> None:
    night(stage, 1)
    hidden = medium(11, created_at="2026-01-01T09:00:00Z")
    serve(stage, hidden, *library(without=2))
    found = {number: night(stage, number) for number in range(2, 8)}
    assert {number: (ids, listed["walk"]) for number, (ids, listed) in found.items()} == {
        **dict.fromkeys(range(2, 7), ([], "newest")),
        7: (["m11"], "full"),
    }


# -- what needs a full walk at once ------------------------------------------------------------------------------------


def test_a_medium_deleted_and_another_added_on_top_need_a_full_walk_though_the_count_agrees(stage: Stage) -> None:
    night(stage, 1)
    serve(stage, *library(without=2), medium(10))
    discovered, listed = night(stage, 2)
    assert (discovered, listed["walk"], counts(listed)) == (["m10"], "full", (COUNT, COUNT - 1, 1, 0, 0))
    store(stage, "m10")
    assert night(stage, 3)[1]["walk"] == "newest"


def test_a_medium_added_below_the_newest_disagrees_with_the_count_and_is_found_the_same_night(stage: Stage) -> None:
    night(stage, 1)
    serve(stage, *library(), medium(11, created_at="2026-01-01T09:00:00Z"))
    discovered, listed = night(stage, 2)
    assert (discovered, listed["walk"]) == (["m11"], "full")


def test_a_library_that_shrank_is_walked_and_warned_about(stage: Stage) -> None:
    night(stage, 1)
    serve(stage, *library(upto=4))
    _, listed = night(stage, 2)
    assert listed["walk"] == "full"
    assert "suddenly much smaller: 4 media, after 9" in "".join(listed["warnings"])


@pytest.mark.parametrize(
    "fault",
    [
        ShortPage(page=1, rows=2, times=4),
        Answer(endpoint="search", status=500, times=1),
        ShapeChange(path="_embedded.media.1", value=None, times=1),
        ShapeChange(path="_embedded.errors", value=[{"reason": "x"}], times=1),
        LibraryChange(after=1, add=(medium(12).to_json(),)),
    ],
    ids=lambda fault: type(fault).__name__,
)
def test_pages_that_are_not_whole_and_sound_need_a_full_walk(stage: Stage, fault: Fault) -> None:
    night(stage, 1)
    serve(stage, *library(), medium(10), faults=(fault,))
    discovered, listed = night(stage, 2)
    assert stage.cloud.faults.not_struck() == []
    assert ("m10" in discovered, listed["walk"]) == (True, "full")


def test_a_short_page_is_asked_for_again(stage: Stage) -> None:
    night(stage, 1)
    serve(stage, *library(), faults=(ShortPage(page=1, rows=2, times=3),))
    assert night(stage, 2)[1]["walk"] == "newest"
    assert stage.cloud.faults.not_struck() == []


def test_rows_that_cannot_be_read_are_reported_every_night(stage: Stage) -> None:
    odd = ShapeChange(path="_embedded.media.1", value=None, page=2, times=None)
    stage.open("lister", FULL_WALK_DAYS="1")
    serve(stage, *library(), faults=(odd,))
    _, first = night(stage, 1)
    stage.open("lister")
    _, listed = night(stage, 2)
    assert (listed["walk"], listed["unreadable"], counts(listed)) == ("newest", 1, counts(first))
    assert (listed["warnings"], listed["known_warnings"]) == ([], first["warnings"])


def test_a_filtered_sync_that_takes_media_on_is_followed_by_a_full_walk(stage: Stage) -> None:
    night(stage, 1)
    assert night(stage, 2, filters={"types": ["Photo"]})[1]["walk"] == "full"
    assert night(stage, 3)[1]["walk"] == "newest"
    serve(stage, *library(), medium(10))
    discovered, _ = night(stage, 4, filters={"types": ["Video"]})
    assert discovered == ["m10"]
    assert night(stage, 5)[1]["walk"] == "full"


def test_after_a_walk_that_was_not_proven_the_next_one_is_full(stage: Stage) -> None:
    stage.open("lister", FULL_WALK_DAYS="1")
    ids = [one.media_id for one in library()]
    serve(stage, *library(), faults=(ShapeChange(path="_pages.total_items", value=10, times=None),))
    _, listed = night(stage, 1)
    assert (listed["walk"], listed["full_walk_at"], len(listed["warnings"])) == ("full", "", 1)
    stage.open("lister")
    serve(stage, *library())
    _, listed = night(stage, 2)
    assert (listed["walk"], listed["stored"]) == ("full", len(ids))


def test_an_operator_who_changes_the_table_is_followed_by_a_full_walk(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    night(stage, 1)
    session: Any = stage.session
    deployment = Deployment(session, "stack")
    outputs = {"LibraryTableName": "library", "MediaBucketName": "media-bucket"}
    monkeypatch.setitem(deployment.__dict__, "outputs", outputs)  # as if asked for already
    for number in (2, 4):
        LibraryStores(deployment).ask_for_full_walk()
        assert night(stage, number)[1]["walk"] == "full"
        assert night(stage, number + 1)[1]["walk"] == "newest"
    assert list(LibraryStores(deployment).media_ids()) == [one.media_id for one in library()]


def test_another_library_table_is_filled_by_a_full_walk(stage: Stage) -> None:
    night(stage, 1)
    stage.client("s3").put_object(
        Bucket="media-bucket",
        Key="listings/_known.json",
        Body=json.dumps({**known(stage), "library_table": "the one of the deleted stack"}),
    )
    assert night(stage, 2)[1]["walk"] == "full"


def known(stage: Stage) -> dict[str, Any]:
    body = stage.client("s3").get_object(Bucket="media-bucket", Key="listings/_known.json")["Body"].read()
    found: dict[str, Any] = json.loads(body)
    return found


def test_a_slice_that_ends_among_the_newest_goes_on_with_a_full_walk(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    night(stage, 1)
    serve(stage, *library(), faults=(ShortPage(page=1, rows=2, times=1),))
    search = GoProClient.search

    def slow(self: GoProClient, *arguments: Any, **options: Any) -> Any:
        stage.clock.advance(845)  # too little is left to ask for the page again
        return search(self, *arguments, **options)

    monkeypatch.setattr(GoProClient, "search", slow)
    stage.clock.advance(DAY)
    give_session(stage, 1)
    stage.send("SessionAuthenticated", begun(sync_id="night-2"))
    ((name, detail),) = stage.published()
    assert name == "LibraryListingPaused"
    monkeypatch.setattr(GoProClient, "search", search)
    assert stage.send("LibraryListingPaused", detail)
    assert published(stage)[1]["walk"] == "full"


# -- crashes and races -------------------------------------------------------------------------------------------------


def test_a_worker_that_ends_before_its_listing_is_frozen_loses_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    night(stage, 1)
    serve(stage, *library(), medium(10))
    freeze = ListingsBucket.freeze

    def killed(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(ListingsBucket, "freeze", killed)
    with pytest.raises(KeyboardInterrupt):
        night(stage, 2)
    monkeypatch.setattr(ListingsBucket, "freeze", freeze)
    assert stage.published() == []
    discovered, listed = night(stage, 3)
    assert (discovered, listed["walk"], counts(listed)) == (["m10"], "newest", (COUNT + 1, COUNT, 1, 0, 0))


def test_what_a_later_listing_knows_is_not_overwritten_by_an_earlier_one(stage: Stage) -> None:
    listings = ListingsBucket(stage.client("s3"), "media-bucket", clock=stage.clock)
    found = listings.known()
    assert found
    listings.keep_known(replace(found, decided_at="2099-01-01T00:00:00Z", total=7))
    listings.keep_known(replace(found, total=8))
    assert listings.known() == replace(found, decided_at="2099-01-01T00:00:00Z", total=7)


# -- upgrades ----------------------------------------------------------------------------------------------------------


def test_the_rows_that_an_older_version_kept_beside_the_last_listing_are_still_compared_with(stage: Stage) -> None:
    for one in library():
        key = {"media_id": {"S": one.media_id}, "item": {"N": "0"}}
        stage.client("dynamodb").put_item(TableName="library", Item={**key, "status": {"S": "STORED"}})
    row = {"item_count": 1, "size": 3, "reprocessed_at": "", "labels": ""}
    last = {"sync_id": "s", "listed_at": "2026-11-20T01:00:00Z", "total": COUNT, "first_rows": {"m01": row}}
    s3 = stage.client("s3")
    s3.put_object(Bucket="media-bucket", Key="listings/_last.json", Body=json.dumps(last))
    s3.delete_object(Bucket="media-bucket", Key="listings/_known.json")
    discovered, listed = night(stage, 1)
    assert (discovered, listed["walk"], listed["looked_again"]) == (["m01"], "full", 1)
    kept = json.loads(s3.get_object(Bucket="media-bucket", Key="listings/_first_rows.json")["Body"].read())
    assert set(kept) == {one.media_id for one in library()}
    assert (
        json.loads(s3.get_object(Bucket="media-bucket", Key="listings/_last.json")["Body"].read())["first_rows"] == {}
    )
    discovered, listed = night(stage, 2)
    assert (discovered, listed["walk"]) == (["m01"], "newest")


def test_a_damaged_memory_is_written_anew_by_a_full_walk(stage: Stage) -> None:
    stage.client("s3").put_object(Bucket="media-bucket", Key="listings/_known.json", Body=b"{")
    assert [night(stage, number)[1]["walk"] for number in (1, 2)] == ["full", "newest"]
