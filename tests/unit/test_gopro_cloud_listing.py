"""The fake GoPro Cloud: searching, and what is wrong with its pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from tests.gopro_cloud import FakeGoProCloud, Generated, Library, Medium, Series, Shape
from tests.gopro_cloud.faults import EndlessPages, LibraryChange, RepeatItem, ShapeChange, ShortPage, WrongTotal
from tests.gopro_cloud.visitor import Visitor

Open = Callable[[Library], AbstractContextManager[tuple[FakeGoProCloud, Visitor]]]


@pytest.fixture
def serve() -> Open:
    @contextmanager
    def serving(library: Library) -> Iterator[tuple[FakeGoProCloud, Visitor]]:
        with FakeGoProCloud(library) as cloud:
            yield cloud, Visitor(cloud.url, cloud.tokens.paste(3600))

    return serving


def library_of(count: int) -> Library:
    return Library(series=(Series(count=count),))


def media(count: int) -> tuple[Medium, ...]:
    return tuple(
        Medium(media_id=f"medium-{day:02}", captured_at=f"2026-03-{day:02}T10:00:00Z") for day in range(1, count + 1)
    )


def walk(visitor: Visitor, per_page: int, pages: int) -> list[str]:
    return [media_id for number in range(1, pages + 1) for media_id in visitor.ids(number, per_page=per_page)]


@pytest.mark.parametrize("count", [0, 1, 199, 200, 201, 1_001])
def test_pages_are_capped_at_200_and_hold_every_medium_once(serve: Open, count: int) -> None:
    with serve(library_of(count)) as (_, visitor):
        told = visitor.get("/media/search", per_page=500).json()["_pages"]
        pages = -(-count // 200)
        assert told == {"current_page": 1, "per_page": 200, "total_items": count, "total_pages": pages}
        found = walk(visitor, 500, pages + 1)
        assert len(found) == len(set(found)) == count


def test_a_library_of_100_000_is_served_page_by_page(serve: Open) -> None:
    with serve(library_of(100_000)) as (_, visitor):
        last = visitor.get("/media/search", per_page=200, page=500, fields="id,captured_at").json()
        assert last["_pages"]["total_items"] == 100_000
        assert len(last["_embedded"]["media"]) == 200
        assert last["_embedded"]["media"][-1] == {"id": "6b" + "0" * 22, "captured_at": "2020-01-01T00:00:00Z"}
        assert visitor.get("/media/user").json()["total_count"] == 100_000


@pytest.mark.parametrize("form", ["hex", "mixed"])
def test_made_up_media_can_be_asked_for_by_either_form_of_id(serve: Open, form: str) -> None:
    series = Series(count=300, id_form=form, prefix="6b" if form == "hex" else "aB")  # type: ignore[arg-type]
    with serve(Library(series=(series,))) as (cloud, visitor):
        media_id = visitor.ids()[7]
        assert len(media_id) == (24 if form == "hex" else 13)
        assert visitor.get(f"/media/{media_id}").json()["id"] == media_id
        assert visitor.fetch(visitor.source_url(media_id)).headers["ETag"] == cloud.originals(media_id)[0]["etag"]
        assert visitor.get(f"/media/{media_id}x").status_code == 404


def test_the_newest_come_first_by_capture_or_by_arrival(serve: Open) -> None:
    library = Library(
        media=(
            Medium(media_id="old", captured_at="2016-01-01T00:00:00Z", created_at="2026-09-01T00:00:00Z"),
            Medium(media_id="new", captured_at="2026-08-01T00:00:00Z", created_at="2026-08-02T00:00:00Z"),
        )
    )
    with serve(library) as (_, visitor):
        assert visitor.ids(order_by="captured_at") == ["new", "old"]
        assert visitor.ids(order_by="created_at") == ["old", "new"]


def test_a_row_has_the_fields_asked_for_or_all_seventy(serve: Open) -> None:
    with serve(Library(media=media(1))) as (_, visitor):
        assert visitor.page(fields="id,filename,nonsense") == [{"id": "medium-01", "filename": "GX010001.MP4"}]
        assert len(visitor.page()[0]) >= 70


def test_types_and_states_filter_and_unknown_ones_are_ignored(serve: Open) -> None:
    library = Library(
        media=(
            Medium(media_id="video"),
            Medium(media_id="photo", shape=Shape.PHOTO),
            Medium(media_id="upload", ready_to_view="uploading"),
        )
    )
    with serve(library) as (_, visitor):
        assert set(visitor.ids(type="Photo,Burst")) == {"photo"}
        assert set(visitor.ids(type="Photo,Vidoe")) == {"photo"}
        assert len(visitor.ids(type="Vidoe")) == 3
        assert set(visitor.ids(processing_states="uploading")) == {"upload"}
        assert len(visitor.ids(processing_states="reddy")) == 3


def test_ranges_are_half_open_and_a_malformed_one_is_a_500(serve: Open) -> None:
    with serve(Library(media=media(3))) as (_, visitor):
        days = "2026-03-01T10:00:00Z,2026-03-03T10:00:00Z"
        assert visitor.ids(captured_range=days) == ["medium-02", "medium-01"]
        assert visitor.ids(created_range="2026-03-02T11:00:00Z,2026-03-09T00:00:00Z") == ["medium-03", "medium-02"]
        assert visitor.ids(updated_range="2026-03-02T12:00:00Z,2026-03-02T12:00:01Z") == ["medium-02"]
        for wrong in ("2026-03-01", "yesterday,today", ""):
            assert visitor.get("/media/search", captured_range=wrong).status_code == 500


def test_sizes_are_null_or_overstated_and_names_empty_where_told(serve: Open) -> None:
    library = Library(
        media=(
            Medium(media_id="null", listed_size=None),
            Medium(media_id="more", contents=(Generated(1000),), listed_size=7000),
            Medium(media_id="sum", shape=Shape.CHAPTERED, contents=(Generated(10), Generated(20), Generated(30))),
            Medium(media_id="highlight", shape=Shape.EDIT, filename=""),
        )
    )
    with serve(library) as (_, visitor):
        rows = {row["id"]: row for row in visitor.page()}
        assert {name: row["file_size"] for name, row in rows.items()} == {
            "null": None,
            "more": 7000,
            "sum": 60,
            "highlight": None,
        }
        assert rows["sum"]["item_count"] == 3
        assert (rows["highlight"]["filename"], rows["highlight"]["file_extension"]) == ("", "json")


def test_numbers_may_arrive_as_strings_and_any_field_be_replaced(serve: Open) -> None:
    medium = Medium(media_id="m", contents=(Generated(5),), numbers_as_strings=True, extra={"captured_at": None})
    with serve(Library(media=(medium,))) as (_, visitor):
        row = visitor.page()[0]
        assert (row["file_size"], row["on_watermark"], row["captured_at"]) == ("5", "false", None)


def test_a_short_page_says_nothing_of_it(serve: Open) -> None:
    with serve(library_of(212)) as (cloud, visitor):
        cloud.arm(ShortPage(rows=12))
        short = visitor.get("/media/search", per_page=50).json()
        assert len(short["_embedded"]["media"]) == 12
        assert short["_pages"] == {"current_page": 1, "per_page": 50, "total_items": 212, "total_pages": 5}
        assert len(visitor.ids(per_page=50)) == 50


@pytest.mark.parametrize("hides", [True, False])
def test_an_item_is_repeated_across_a_page_boundary(serve: Open, *, hides: bool) -> None:
    with serve(library_of(30)) as (cloud, visitor):
        cloud.arm(RepeatItem(hides=hides, page=2))
        found = walk(visitor, 10, 3)
        assert found[9] == found[10]
        assert len(found) == (30 if hides else 31)
        assert len(set(found)) == (29 if hides else 30)
        assert len(set(walk(visitor, 10, 3))) == 30


def test_the_library_changes_during_the_walk(serve: Open) -> None:
    newest = Medium(media_id="newest", captured_at="2026-09-09T00:00:00Z")
    with serve(Library(media=media(6))) as (cloud, visitor):
        cloud.arm(LibraryChange(add=(newest.to_json(),), remove=("medium-01",), after=1))
        first, second = visitor.ids(1, per_page=3), visitor.ids(2, per_page=3)
        assert first == ["medium-06", "medium-05", "medium-04"]
        assert second == ["medium-04", "medium-03", "medium-02"]
        assert visitor.ids(1, per_page=1) == ["newest"]
        assert visitor.get("/media/medium-01/download").status_code == 404


def test_paging_can_be_endless(serve: Open) -> None:
    with serve(library_of(5)) as (cloud, visitor):
        cloud.arm(EndlessPages())
        for number in (1, 2, 9, 400):
            body = visitor.get("/media/search", page=number, per_page=3).json()
            assert len(body["_embedded"]["media"]) == 3
            assert body["_pages"]["total_pages"] > number


def test_the_total_can_be_wrong(serve: Open) -> None:
    with serve(library_of(5)) as (cloud, visitor):
        cloud.arm(WrongTotal(delta=7))
        body = visitor.get("/media/search", per_page=5).json()
        assert (body["_pages"]["total_items"], body["_pages"]["total_pages"]) == (12, 3)
        assert len(body["_embedded"]["media"]) == 5


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (ShapeChange(path="_embedded.media", remove=True), {"errors": []}),
        (ShapeChange(path="_embedded", value="moved"), "moved"),
        (ShapeChange(path="_embedded.media.*.id", value=7), {"errors": [], "media": [{"id": 7}, {"id": 7}]}),
        (ShapeChange(path="_embedded.media.1", remove=True), {"errors": [], "media": [{"id": "medium-02"}]}),
    ],
)
def test_an_answer_can_have_another_shape(serve: Open, change: ShapeChange, expected: object) -> None:
    with serve(Library(media=media(2))) as (cloud, visitor):
        cloud.arm(change)
        assert visitor.get("/media/search", fields="id").json()["_embedded"] == expected
        assert visitor.ids() == ["medium-02", "medium-01"]


def test_moments_albums_and_zips_answer_as_gopro_does(serve: Open) -> None:
    medium = Medium(media_id="m", moments=(1000, 2500))
    with serve(Library(media=(medium,))) as (_, visitor):
        moments = visitor.get("/media/m/moments", fields="time").json()
        assert [moment["time"] for moment in moments["_embedded"]["moments"]] == [1000, 2500]
        assert visitor.get("/media/items", type="collection").json()["items"] == []
        zipped = visitor.get("/media/x/zip/source", ids="m")
        assert (zipped.status_code, zipped.content) == (200, b"")


def test_deleting_is_acknowledged_observed_and_changes_nothing(serve: Open) -> None:
    with serve(Library(media=media(2))) as (cloud, visitor):
        for path in ("/media?ids=medium-01", "/media/medium-02", "/media/medium-02/trash"):
            answer = visitor.http.request("DELETE", visitor.url + path, headers=visitor.headers, timeout=5)
            assert answer.status_code == 200
        assert len(visitor.ids()) == 2
        assert len(cloud.observations.requests("change")) == 3
