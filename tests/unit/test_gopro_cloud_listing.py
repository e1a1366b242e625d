"""The fake GoPro Cloud: the search, what is wrong with its pages, and the download listings."""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from ops.local.gopro_cloud import FakeGoProCloud, Generated, Library, Literal, Medium, Series, Shape, faults
from ops.local.gopro_cloud.visitor import Visitor

Serve = Callable[..., Visitor]

PARTS = tuple(Generated(1000 + number, f"part {number}") for number in range(1, 4))


@pytest.fixture
def cloud() -> Iterator[FakeGoProCloud]:
    with FakeGoProCloud() as cloud:
        yield cloud


@pytest.fixture
def serve(cloud: FakeGoProCloud) -> Serve:
    def serving(*media: Medium, count: int = 0) -> Visitor:
        cloud.replace_library(Library(media=media, series=(Series(count=count),)))
        return Visitor(cloud.url, cloud.tokens.paste(3600))

    return serving


def days(count: int) -> tuple[Medium, ...]:
    return tuple(
        Medium(media_id=f"medium-{day:02}", captured_at=f"2026-03-{day:02}T10:00:00Z") for day in range(1, count + 1)
    )


def walk(visitor: Visitor, per_page: int, pages: int) -> list[str]:
    return [media_id for number in range(1, pages + 1) for media_id in visitor.ids(number, per_page=per_page)]


@pytest.mark.parametrize("count", [0, 1, 199, 200, 201, 1_001])
def test_pages_are_capped_at_200_and_hold_each_medium_once(serve: Serve, count: int) -> None:
    visitor = serve(count=count)
    pages = -(-count // 200)
    assert visitor.get("/media/search", per_page=500).json()["_pages"] == {
        "current_page": 1,
        "per_page": 200,
        "total_items": count,
        "total_pages": pages,
    }
    found = walk(visitor, 500, pages + 1)
    assert len(found) == len(set(found)) == count == visitor.get("/media/user").json()["total_count"]


def test_ids_have_24_hex_digits_or_13_letters_and_digits(cloud: FakeGoProCloud, serve: Serve) -> None:
    visitor = serve(Medium(media_id="aB3dE5fG7hJ9k"), count=2)
    for media_id in visitor.ids():
        assert len(media_id) in (13, 24)
        assert visitor.fetch(visitor.source_url(media_id)).headers["ETag"] == cloud.originals(media_id)[0]["etag"]


def test_the_newest_come_first_by_capture_or_by_arrival(serve: Serve) -> None:
    visitor = serve(
        Medium(media_id="old", captured_at="2016-01-01T00:00:00Z", created_at="2026-09-01T00:00:00Z"),
        Medium(media_id="new", captured_at="2026-08-01T00:00:00Z", created_at="2026-08-02T00:00:00Z"),
    )
    assert visitor.ids(order_by="captured_at") == ["new", "old"]
    assert visitor.ids(order_by="created_at") == ["old", "new"]


def test_a_row_has_the_fields_asked_for_or_all(serve: Serve) -> None:
    visitor = serve(*days(1))
    assert visitor.page(fields="id,filename,nonsense") == [{"id": "medium-01", "filename": "GX010001.MP4"}]
    assert len(visitor.page()[0]) > 20


def test_types_and_states_filter_and_unknown_ones_are_ignored(serve: Serve) -> None:
    visitor = serve(
        Medium(media_id="video"),
        Medium(media_id="photo", shape=Shape.PHOTO),
        Medium(media_id="upload", ready_to_view="uploading"),
    )
    assert set(visitor.ids(type="Photo,Burst")) == {"photo"}
    assert set(visitor.ids(type="Photo,Vidoe")) == {"photo"}
    assert len(visitor.ids(type="Vidoe")) == 3
    assert set(visitor.ids(processing_states="uploading")) == {"upload"}
    assert len(visitor.ids(processing_states="reddy")) == 3


def test_ranges_are_half_open_and_a_malformed_one_is_a_500(serve: Serve) -> None:
    visitor = serve(*days(3))
    assert visitor.ids(captured_range="2026-03-01T10:00:00Z,2026-03-03T10:00:00Z") == ["medium-02", "medium-01"]
    assert visitor.ids(created_range="2026-03-02T11:00:00Z,2026-03-09T00:00:00Z") == ["medium-03", "medium-02"]
    assert visitor.ids(updated_range="2026-03-02T12:00:00Z,2026-03-02T12:00:01Z") == ["medium-02"]
    for wrong in ("2026-03-01", "yesterday,today", ""):
        assert visitor.get("/media/search", captured_range=wrong).status_code == 500


def test_sizes_can_be_null_or_overstated_and_names_empty(serve: Serve) -> None:
    visitor = serve(
        Medium(media_id="null", listed_size=None),
        Medium(media_id="more", contents=(Generated(1000),), listed_size=7000),
        Medium(media_id="sum", shape=Shape.CHAPTERED, contents=(Generated(10), Generated(20), Generated(30))),
        Medium(media_id="highlight", shape=Shape.EDIT, filename=""),
    )
    rows = {row["id"]: row for row in visitor.page()}
    sizes = {name: row["file_size"] for name, row in rows.items()}
    assert sizes == {"null": None, "more": 7000, "sum": 60, "highlight": None}
    assert rows["sum"]["item_count"] == 3
    assert (rows["highlight"]["filename"], rows["highlight"]["file_extension"]) == ("", "json")


def test_numbers_and_booleans_can_come_as_strings(serve: Serve) -> None:
    row = serve(Medium(media_id="m", contents=(Generated(5),), numbers_as_strings=True)).page()[0]
    assert (row["file_size"], row["ready_to_edit"], row["reprocessed_at"]) == ("5", "true", None)


def test_a_short_page_has_coherent_pages(cloud: FakeGoProCloud, serve: Serve) -> None:
    visitor = serve(count=212)
    cloud.arm(faults.ShortPage(rows=12))
    short = visitor.get("/media/search", per_page=50).json()
    assert len(short["_embedded"]["media"]) == 12
    assert short["_pages"] == {"current_page": 1, "per_page": 50, "total_items": 212, "total_pages": 5}
    assert len(visitor.ids(per_page=50)) == 50


@pytest.mark.parametrize("hides", [True, False])
def test_an_item_can_be_repeated_across_a_page_boundary(cloud: FakeGoProCloud, serve: Serve, *, hides: bool) -> None:
    visitor = serve(count=30)
    cloud.arm(faults.RepeatItem(hides=hides))
    found = walk(visitor, 10, 3)
    assert found[9] == found[10]
    assert len(found) == (30 if hides else 31)
    assert len(set(found)) == (29 if hides else 30)
    assert len(set(walk(visitor, 10, 3))) == 30


def test_the_library_can_change_during_the_walk(cloud: FakeGoProCloud, serve: Serve) -> None:
    visitor = serve(*days(6))
    newest = Medium(media_id="newest", captured_at="2026-09-09T00:00:00Z")
    cloud.arm(faults.LibraryChange(add=(newest.to_json(),), remove=("medium-01",), after=1))
    assert visitor.ids(1, per_page=3) == ["medium-06", "medium-05", "medium-04"]
    assert visitor.ids(2, per_page=3) == ["medium-04", "medium-03", "medium-02"]
    assert visitor.ids(1, per_page=1) == ["newest"]
    assert visitor.get("/media/medium-01/download").status_code == 404


def test_paging_can_be_endless(cloud: FakeGoProCloud, serve: Serve) -> None:
    visitor = serve(count=5)
    cloud.arm(faults.EndlessPages())
    for number in (1, 2, 400):
        body = visitor.get("/media/search", page=number, per_page=3).json()
        assert len(body["_embedded"]["media"]) == 3
        assert body["_pages"]["total_pages"] > number


def test_the_total_can_be_wrong(cloud: FakeGoProCloud, serve: Serve) -> None:
    visitor = serve(count=5)
    cloud.arm(faults.WrongTotal(delta=7))
    body = visitor.get("/media/search", per_page=5).json()
    assert (body["_pages"]["total_items"], body["_pages"]["total_pages"]) == (12, 3)
    assert len(body["_embedded"]["media"]) == 5


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (faults.ShapeChange(path="_embedded.media", remove=True), {"errors": []}),
        (faults.ShapeChange(path="_embedded", value="moved"), "moved"),
        (faults.ShapeChange(path="_embedded.media.*.id", value=7), {"errors": [], "media": [{"id": 7}, {"id": 7}]}),
        (faults.ShapeChange(path="_embedded.media.*.id", remove=True), {"errors": [], "media": [{}, {}]}),
        (faults.ShapeChange(path="_embedded.media.0", value=7), {"errors": [], "media": [7, {"id": "medium-01"}]}),
        (faults.ShapeChange(path="_embedded.media.1", remove=True), {"errors": [], "media": [{"id": "medium-02"}]}),
    ],
)
def test_an_answer_can_have_another_shape(
    cloud: FakeGoProCloud, serve: Serve, change: faults.ShapeChange, expected: object
) -> None:
    visitor = serve(*days(2))
    cloud.arm(change)
    assert visitor.get("/media/search", fields="id").json()["_embedded"] == expected
    assert visitor.ids() == ["medium-02", "medium-01"]


def test_zips_are_empty(serve: Serve) -> None:
    zipped = serve(*days(1)).get("/media/x/zip/source", ids="medium-01")
    assert (zipped.status_code, zipped.content) == (200, b"")


def test_deleting_is_acknowledged_and_observed_and_changes_nothing(cloud: FakeGoProCloud, serve: Serve) -> None:
    visitor = serve(*days(2))
    for path in ("/media?ids=medium-01", "/media/medium-02", "/media/medium-02/trash"):
        answer = visitor.http.request("DELETE", visitor.url + path, headers=visitor.headers, timeout=60)
        assert answer.status_code == 200
    assert len(visitor.ids()) == 2
    assert len(cloud.observations.requests("change")) == 3


def labels(entries: list[dict[str, Any]]) -> list[str]:
    return [entry["label"] for entry in entries]


def sources(offered: dict[str, Any]) -> list[dict[str, Any]]:
    return [entry for entry in offered["variations"] if entry["label"] == "source"]


def number_in_path(entry: dict[str, Any]) -> int:
    return int(urlsplit(entry["url"]).path.rsplit("/", 1)[1].split(".")[0])


def sha256(visitor: Visitor, entry: dict[str, Any]) -> str:
    answer = visitor.fetch(entry["url"])
    assert answer.status_code == 200
    return hashlib.sha256(answer.content).hexdigest()


def test_a_single_video_hides_its_source_behind_proxies(cloud: FakeGoProCloud, serve: Serve) -> None:
    visitor = serve(Medium(media_id="m", contents=(Literal(b"the original"),)))
    offered = visitor.offered("m")
    assert labels(offered["variations"]) == ["edit_proxy", "source", "high_res_proxy_mp4"]
    _, source, proxy = offered["variations"]
    assert (source["width"], source["height"]) == (proxy["width"], proxy["height"])
    assert sha256(visitor, source) == cloud.sha256("m")
    assert sha256(visitor, offered["files"][0]) == sha256(visitor, proxy) != cloud.sha256("m")
    assert labels(offered["sidecar_files"]) == ["gpmf", "gpx", "mediainfo", "zip"]
    assert visitor.fetch(offered["sprites"][0]["urls"][0]).status_code == 200


@pytest.mark.parametrize(("numbered", "backwards"), [(True, False), (False, True)])
def test_a_chaptered_video_offers_a_source_for_each_chapter(
    cloud: FakeGoProCloud, serve: Serve, *, numbered: bool, backwards: bool
) -> None:
    medium = Medium(media_id="m", shape=Shape.CHAPTERED, contents=PARTS, filename="GX010639.MP4")
    visitor = serve(msgspec.structs.replace(medium, item_numbers=numbered, backwards=backwards))
    offered = visitor.offered("m")
    chapters = sources(offered)
    assert [number_in_path(one) for one in chapters] == ([3, 2, 1] if backwards else [1, 2, 3])
    assert [one.get("item_number") for one in chapters] == ([1, 2, 3] if numbered else [None] * 3)
    assert len(offered["files"]) == 1
    assert "concat" in labels(offered["variations"])
    for one in chapters:
        item = number_in_path(one)
        assert sha256(visitor, one) == cloud.sha256("m", item)
        disposition = parse_qs(urlsplit(one["url"]).query)["response-content-disposition"][0]
        assert disposition == f'attachment; filename="GX{item:02}0639.MP4"'


def test_a_raw_photo_has_one_source_and_its_raw_file_among_the_sidecars(cloud: FakeGoProCloud, serve: Serve) -> None:
    visitor = serve(Medium(media_id="m", shape=Shape.PHOTO, raw=Literal(b"raw"), filename="GOPR0001.JPG"))
    offered = visitor.offered("m")
    (raw,) = offered["sidecar_files"]
    assert (raw["label"], raw["type"]) == ("raw_photo", "gpr")
    assert [(one["item"], one["label"], one["filename"]) for one in cloud.originals("m")] == [
        (1, "source", "GOPR0001.JPG"),
        (2, "raw_photo", "GOPR0001.GPR"),
    ]
    found = [sha256(visitor, entry) for entry in (*sources(offered), raw)]
    assert found == [one["sha256"] for one in cloud.originals("m")]


def test_each_file_of_a_burst_is_an_original_and_its_source_only_the_cover(cloud: FakeGoProCloud, serve: Serve) -> None:
    visitor = serve(Medium(media_id="m", shape=Shape.BURST, contents=PARTS, filename="G0010131.JPG"))
    offered = visitor.offered("m")
    assert [one["item_number"] for one in offered["files"]] == [1, 2, 3]
    assert [sha256(visitor, one) for one in offered["files"]] == [cloud.sha256("m", item) for item in (1, 2, 3)]
    assert [sha256(visitor, one) for one in sources(offered)] == [cloud.sha256("m", 1)]
    assert [one["filename"] for one in cloud.originals("m")] == ["G0010131.JPG", "G0010132.JPG", "G0010133.JPG"]


def test_a_highlight_has_a_baked_source(cloud: FakeGoProCloud, serve: Serve) -> None:
    visitor = serve(Medium(media_id="m", shape=Shape.EDIT, filename=""))
    offered = visitor.offered("m")
    baked = next(one for one in offered["variations"] if one["label"] == "baked_source")
    assert (baked["type"], sha256(visitor, baked)) == ("mp4", cloud.sha256("m"))
    assert not sources(offered)


def test_a_quik_project_has_no_rendition(cloud: FakeGoProCloud, serve: Serve) -> None:
    visitor = serve(Medium(media_id="m", shape=Shape.QUIK_PROJECT, filename="project.json"))
    row = visitor.page()[0]
    assert (row["play_as"], row["mce_type"], row["file_size"]) == ("edl", "user_created", None)
    assert visitor.offered("m") == {"files": [], "variations": [], "sprites": [], "sidecar_files": []}
    assert cloud.originals("m") == []


@pytest.mark.parametrize("shape", [Shape.SINGLE_VIDEO, Shape.PHOTO])
def test_the_source_can_be_missing(cloud: FakeGoProCloud, serve: Serve, shape: Shape) -> None:
    offered = serve(Medium(media_id="m", shape=shape, source_offered=False)).offered("m")
    assert not sources(offered)
    assert offered["files"]
    assert cloud.originals("m") == []


def test_the_source_can_be_unavailable_for_good_or_for_a_while(cloud: FakeGoProCloud, serve: Serve) -> None:
    visitor = serve(Medium(media_id="never", source_available=False), Medium(media_id="later"))
    path = "_embedded.variations.*.available"
    cloud.arm(faults.ShapeChange(endpoint="download", media_id="later", path=path, value=False, times=2))
    assert [sources(visitor.offered("never"))[0]["available"] for _ in range(3)] == [False] * 3
    assert [sources(visitor.offered("later"))[0]["available"] for _ in range(3)] == [False, False, True]


def test_a_medium_that_is_gone_is_listed_and_not_found(serve: Serve) -> None:
    visitor = serve(Medium(media_id="m", gone=True))
    assert visitor.ids() == ["m"]
    assert visitor.get("/media/m/download").status_code == 404


def test_each_call_signs_anew_and_a_url_is_for_one_method(serve: Serve) -> None:
    visitor = serve(Medium(media_id="m"))
    first, second = visitor.source_url("m"), visitor.source_url("m")
    assert first != second
    head = visitor.source_url("m", link="head")
    assert visitor.http.head(head, timeout=60).headers["Content-Length"] == str(1 << 20)
    assert visitor.http.head(first, timeout=60).status_code == 403
    assert visitor.fetch(head).status_code == 403


def test_a_fault_of_a_medium_strikes_that_medium_alone(cloud: FakeGoProCloud, serve: Serve) -> None:
    fault = faults.Answer(endpoint="download", status=500, times=None)
    visitor = serve(Medium(media_id="bad", faults=(fault,)), Medium(media_id="good"))
    assert [visitor.get("/media/bad/download").status_code for _ in range(2)] == [500, 500]
    assert visitor.get("/media/good/download").status_code == 200
    cloud.faults.disarm("bad")
    assert visitor.get("/media/bad/download").status_code == 200


@pytest.mark.parametrize("name", ["../../x.MP4", 'a"b\\c.MP4', "Ärger 🏔.MP4", "a\r\nX-Evil: 1.MP4"])
def test_odd_names_reach_the_disposition_and_break_nothing(cloud: FakeGoProCloud, serve: Serve, name: str) -> None:
    visitor = serve(Medium(media_id="odd / id", filename=name))
    assert visitor.page()[0]["filename"] == name
    answer = visitor.fetch(visitor.source_url("odd%20%2F%20id"))
    assert answer.status_code == 200
    assert "X-Evil" not in answer.headers
    disposition = answer.headers["Content-Disposition"].encode("latin-1").decode()
    assert disposition.startswith("attachment; filename=")
    assert cloud.observations.requests("cdn")[0].media_id == "odd / id"
