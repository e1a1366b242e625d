"""The fake GoPro Cloud: the cases from the field, each as its README scripts it."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from ops.local.gopro_cloud import Control, FakeGoProCloud, Generated, Library, Literal, Medium, Series, Shape, faults
from ops.local.gopro_cloud.visitor import Visitor

Serve = Callable[..., Visitor]


@pytest.fixture
def cloud() -> Iterator[FakeGoProCloud]:
    with FakeGoProCloud() as cloud:
        yield cloud


@pytest.fixture
def serve(cloud: FakeGoProCloud) -> Serve:
    def serving(*media: Medium, count: int = 0) -> Visitor:
        library = Library(media=media, series=(Series(count=count),))
        # Every script survives the way to another process.
        Control(cloud.control_url).replace_library(library)
        return Visitor(cloud.url, cloud.tokens.paste(3600))

    return serving


def days(count: int) -> list[Medium]:
    return [Medium(media_id=f"day-{day}", captured_at=f"2026-03-{day:02}T10:00:00Z") for day in range(1, count + 1)]


@pytest.mark.parametrize(
    ("fault", "status", "content"),
    [
        (faults.Answer(endpoint="cdn", item=2, status=404, times=None), 404, b"NoSuchKey"),
        (faults.Answer(endpoint="cdn", item=2, status=403, times=None), 403, b"AccessDenied"),
        (faults.HtmlPage(item=2, times=None), 200, b"<!DOCTYPE HTML>"),
        (faults.ZeroBytes(item=2, times=None), 200, b""),
    ],
)
def test_one_file_of_a_medium_can_be_bad(
    serve: Serve, cloud: FakeGoProCloud, fault: faults.Fault, status: int, content: bytes
) -> None:
    parts = tuple(Generated(10, f"{number}") for number in range(3))
    visitor = serve(Medium(media_id="m", shape=Shape.BURST, contents=parts))
    cloud.arm(fault)
    first, bad, last = (visitor.fetch(one["url"]) for one in visitor.offered("m")["files"])
    assert (first.status_code, bad.status_code, last.status_code) == (200, status, 200)
    assert content in bad.content


def test_a_fault_can_be_that_of_a_label(serve: Serve, cloud: FakeGoProCloud) -> None:
    visitor = serve(Medium(media_id="m", shape=Shape.PHOTO, raw=Literal(b"raw")))
    cloud.arm(faults.Answer(endpoint="cdn", label="raw_photo", status=404, times=None))
    assert visitor.fetch(visitor.source_url("m")).status_code == 200
    assert visitor.fetch(visitor.offered("m")["sidecar_files"][0]["url"]).status_code == 404


def test_originals_can_be_where_they_usually_are_not(serve: Serve, cloud: FakeGoProCloud) -> None:
    visitor = serve(
        Medium(media_id="raw", shape=Shape.PHOTO, raw=Literal(b"raw"), source_offered=False),
        Medium(media_id="files", shape=Shape.PHOTO, offered_in="files"),
        Medium(media_id="sidecars", offered_in="sidecar_files"),
    )
    assert [one["label"] for one in cloud.originals("raw")] == ["raw_photo"]
    assert visitor.offered("raw")["variations"] == []
    for media_id, where in (("files", "files"), ("sidecars", "sidecar_files")):
        (source,) = (one for one in visitor.offered(media_id)[where] if one.get("label") == "source")
        assert visitor.fetch(source["url"]).headers["ETag"] == cloud.originals(media_id)[0]["etag"]


def test_the_servers_page_can_be_smaller(serve: Serve, cloud: FakeGoProCloud) -> None:
    visitor = serve(count=250)
    cloud.arm(faults.SmallPages(per_page=100))
    answers = [visitor.get("/media/search", per_page=200, page=page).json() for page in (1, 2, 3)]
    assert [len(answer["_embedded"]["media"]) for answer in answers] == [100, 100, 50]
    assert answers[0]["_pages"] == {"current_page": 1, "per_page": 100, "total_items": 250, "total_pages": 3}
    assert len(visitor.page(per_page=30)) == 30


def test_rows_can_be_odd(serve: Serve) -> None:
    visitor = serve(
        Medium(media_id="null", row_is=None),
        Medium(media_id="number", row_is=7),
        Medium(media_id="a", row={"id": None, "file_size": -1}),
    )
    rows: list[Any] = list(visitor.page())
    assert rows[:2] == [None, 7]
    assert (rows[2]["id"], rows[2]["file_size"]) == (None, -1)
    assert visitor.page(fields="id,type")[2] == {"id": None, "type": "Video"}


def test_a_row_can_break_every_page_that_holds_it(serve: Serve) -> None:
    visitor = serve(*(msgspec.structs.replace(one, breaks_pages=one.media_id == "day-3") for one in days(6)))

    def statuses(pages: int, **parameters: Any) -> list[int]:
        return [visitor.get("/media/search", page=page, **parameters).status_code for page in range(1, pages + 1)]

    assert statuses(3, per_page=2) == [200, 500, 200]
    assert statuses(2, per_page=3) == [200, 500]
    assert statuses(6, per_page=1) == [200, 200, 200, 500, 200, 200]
    assert statuses(3, per_page=2, order_by="created_at") == [200, 500, 200]


def test_a_page_can_fail_by_its_number(serve: Serve, cloud: FakeGoProCloud) -> None:
    visitor = serve(*days(6))
    cloud.arm(faults.Answer(endpoint="search", page=2, status=500, times=None))
    assert [visitor.get("/media/search", page=page, per_page=2).status_code for page in (1, 2, 3, 2)] == [
        200, 500, 200, 500,
    ]  # fmt: skip


def test_a_medium_can_change_after_it_was_stored(serve: Serve, cloud: FakeGoProCloud) -> None:
    before = Medium(media_id="m", shape=Shape.PHOTO, contents=(Generated(10, "before"),))
    visitor = serve(before)
    row, etag = visitor.page()[0], cloud.originals("m")[0]["etag"]
    changes = {"contents": (Generated(12, "after"),), "raw": Literal(b"raw"), "reprocessed_at": "2026-05-01T00:00:00Z"}
    Control(cloud.control_url).change_library(add=[msgspec.structs.replace(before, **changes)])
    changed = visitor.page()[0]
    assert {name for name in row if row[name] != changed[name]} == {
        "file_size", "reprocessed_at", "updated_at", "available_labels",
    }  # fmt: skip
    assert visitor.fetch(visitor.source_url("m")).headers["ETag"] == cloud.originals("m")[0]["etag"] != etag
    Control(cloud.control_url).change_library(remove=["m"])
    assert visitor.ids() == []


@pytest.mark.parametrize("state", ["failure", "transcoding", "uploading"])
@pytest.mark.parametrize("offered", [True, False])
def test_a_medium_can_be_never_ready_with_and_without_its_source(serve: Serve, state: str, *, offered: bool) -> None:
    visitor = serve(Medium(media_id="m", ready_to_view=state, source_offered=offered))
    assert visitor.page()[0]["ready_to_view"] == state
    assert ("source" in [one["label"] for one in visitor.offered("m")["variations"]]) == offered


@pytest.mark.parametrize("status", [401, 403])
def test_one_medium_can_be_refused(serve: Serve, cloud: FakeGoProCloud, status: int) -> None:
    visitor = serve(*days(2))
    cloud.arm(
        faults.Refused(endpoint="download", media_id="day-1", status=status, error="no_rights", message="Not you")
    )
    refused = visitor.get("/media/day-1/download")
    assert (refused.status_code, refused.json()) == (status, {"error": "no_rights", "error_description": "Not you"})
    assert visitor.get("/media/day-2/download").status_code == 200


@pytest.mark.parametrize("status", [402, 403])
def test_the_account_can_be_refused(serve: Serve, cloud: FakeGoProCloud, status: int) -> None:
    visitor = serve(*days(1))
    Control(cloud.control_url).arm(faults.Refused(status=status))
    for path in ("/media/user", "/media/search", "/media/day-1/download"):
        refused = visitor.get(path)
        assert (refused.status_code, refused.json()["error"]) == (status, "subscription_required")


def test_the_cdn_can_move_to_another_host(serve: Serve, cloud: FakeGoProCloud) -> None:
    visitor = serve(*days(1))
    cloud.arm(faults.CdnMoved())
    url = visitor.source_url("day-1")
    assert urlsplit(url).hostname == "localhost"
    assert visitor.fetch(url, byte_range="0-0").status_code == 206


def test_fewer_bytes_can_be_offered_than_are_listed(serve: Serve) -> None:
    visitor = serve(
        Medium(
            media_id="m",
            shape=Shape.CHAPTERED,
            contents=(Generated(30_000),),
            listed_size=90_000,
            row={"item_count": None},
        )
    )
    row = visitor.page()[0]
    assert (row["file_size"], row["item_count"]) == (90_000, None)
    assert [one["label"] for one in visitor.offered("m")["variations"] if one["label"] in ("source", "concat")] == [
        "concat", "source",
    ]  # fmt: skip
    assert len(visitor.fetch(visitor.source_url("m")).content) == 30_000


def test_items_can_be_withheld(serve: Serve, cloud: FakeGoProCloud) -> None:
    parts = tuple(Generated(10, f"{number}") for number in range(3))
    visitor = serve(Medium(media_id="m", shape=Shape.CHAPTERED, contents=parts, withheld=(2,)))
    assert visitor.page()[0]["item_count"] == 3
    sources = [one["item_number"] for one in visitor.offered("m")["variations"] if one["label"] == "source"]
    assert sources == [1, 3]
    assert len(cloud.originals("m")) == 2


def test_a_range_can_come_without_its_length(serve: Serve, cloud: FakeGoProCloud) -> None:
    visitor = serve(*days(1))
    cloud.arm(faults.NoLength(times=None))
    answer = visitor.fetch(visitor.source_url("day-1"), byte_range="10-19")
    assert "Content-Length" not in answer.headers
    assert answer.headers["Content-Range"] == "bytes 10-19/1048576"
    assert len(answer.content) == 10


def test_validators_can_be_of_no_use(serve: Serve, cloud: FakeGoProCloud) -> None:
    visitor = serve(*days(1))
    url = visitor.source_url("day-1")

    def etag(**headers: str) -> str:
        answer = visitor.fetch(url, byte_range="0-0", **headers)
        assert answer.status_code == 206
        return answer.headers.get("ETag", "")

    good = etag()
    cloud.arm(faults.OtherEtag(times=2), faults.OtherEtag(kind="none", after=2, times=1))
    assert etag() == f"W/{good}"
    assert visitor.fetch(url, **{"If-Match": f"W/{good}"}).status_code == 412, "weak ones match nothing"
    assert etag() == ""
    cloud.arm(faults.OtherEtag(kind="by_edge"))
    one, other = etag(), etag()
    assert one != other
    assert etag() == one
    assert visitor.fetch(url, **{"If-Match": one}).status_code == 412, "the other edge answers"


@pytest.mark.parametrize(
    ("medium", "expected"),
    [
        (Medium(media_id="m", filename="Trip; day 1.MP4"), 'attachment; filename="Trip; day 1.MP4"'),
        (Medium(media_id="m", filename='a "b" \\.MP4'), 'attachment; filename="a \\"b\\" \\\\.MP4"'),
        (
            Medium(media_id="m", disposition="attachment; filename=x.MP4; filename*=UTF-8''50%25.MP4"),
            "attachment; filename=x.MP4; filename*=UTF-8''50%25.MP4",
        ),
    ],
)
def test_names_can_be_odd(serve: Serve, medium: Medium, expected: str) -> None:
    visitor = serve(medium)
    assert visitor.fetch(visitor.source_url("m"), byte_range="0-0").headers["Content-Disposition"] == expected


def test_connections_can_share_a_limit(serve: Serve, cloud: FakeGoProCloud) -> None:
    visitor = serve(Medium(media_id="m", contents=(Generated(100_000),)))
    cloud.arm(faults.SharedLimit(bytes_per_second=200_000))
    url = visitor.source_url("m")
    started = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        ranges = [f"{start}-{start + 24_999}" for start in range(0, 100_000, 25_000)]
        answers = list(pool.map(lambda asked: visitor.fetch(url, byte_range=asked), ranges))
    assert b"".join(answer.content for answer in answers) == b"".join(Generated(100_000).read(0, 100_000))
    assert time.monotonic() - started > 0.45
    cloud.faults.disarm()
    started = time.monotonic()
    visitor.fetch(url)
    assert time.monotonic() - started < 0.4
