"""The fake GoPro Cloud: the download listing of every kind of medium."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from tests.gopro_cloud import FakeGoProCloud, Generated, Literal, Medium, Shape
from tests.gopro_cloud.faults import Answer, ShapeChange
from tests.gopro_cloud.visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Iterator

PARTS = tuple(Generated(1000 + number, f"part {number}") for number in range(1, 4))


@pytest.fixture
def cloud() -> Iterator[FakeGoProCloud]:
    with FakeGoProCloud() as cloud:
        yield cloud


@pytest.fixture
def visitor(cloud: FakeGoProCloud) -> Visitor:
    return Visitor(cloud.url, cloud.tokens.paste(3600))


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


def test_a_single_video_hides_its_source_behind_proxies(cloud: FakeGoProCloud, visitor: Visitor) -> None:
    cloud.add_media(Medium(media_id="m", contents=(Literal(b"the original"),)))
    offered = visitor.offered("m")
    assert labels(offered["variations"]) == ["edit_proxy", "source", "high_res_proxy_mp4"]
    _, source, proxy = offered["variations"]
    assert (source["width"], source["height"]) == (proxy["width"], proxy["height"])
    assert sha256(visitor, source) == cloud.sha256("m")
    assert sha256(visitor, offered["files"][0]) == sha256(visitor, proxy) != cloud.sha256("m")
    assert labels(offered["sidecar_files"]) == ["gpmf", "gpx", "mediainfo", "zip"]
    assert visitor.fetch(offered["sprites"][0]["urls"][0]).status_code == 200


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("numbered", [False, True])
def test_a_chaptered_video_offers_as_many_sources(
    cloud: FakeGoProCloud, visitor: Visitor, *, numbered: bool, backwards: bool
) -> None:
    medium = Medium(media_id="m", shape=Shape.CHAPTERED, contents=PARTS, filename="GX010639.MP4")
    cloud.add_media(replace(medium, item_numbers=numbered, backwards=backwards))
    offered = visitor.offered("m")
    chapters = sources(offered)
    assert [number_in_path(one) for one in chapters] == ([3, 2, 1] if backwards else [1, 2, 3])
    assert [one.get("item_number") for one in sorted(chapters, key=number_in_path)] == (
        [1, 2, 3] if numbered else [None] * 3
    )
    assert len(offered["files"]) == 1
    assert "concat" in labels(offered["variations"])
    for one in chapters:
        item = number_in_path(one)
        assert sha256(visitor, one) == cloud.sha256("m", item)
        disposition = parse_qs(urlsplit(one["url"]).query)["response-content-disposition"][0]
        assert disposition == f'attachment; filename="GX{item:02}0639.MP4"'


def test_a_photo_has_one_source(cloud: FakeGoProCloud, visitor: Visitor) -> None:
    cloud.add_media(Medium(media_id="m", shape=Shape.PHOTO, filename="GOPR0001.JPG"))
    assert [sha256(visitor, one) for one in sources(visitor.offered("m"))] == [cloud.sha256("m")]


def test_a_raw_photo_has_its_raw_file_among_the_sidecars(cloud: FakeGoProCloud, visitor: Visitor) -> None:
    cloud.add_media(Medium(media_id="m", shape=Shape.PHOTO, raw=Literal(b"raw"), filename="GOPR0001.JPG"))
    (raw,) = visitor.offered("m")["sidecar_files"]
    assert (raw["label"], raw["type"]) == ("raw_photo", "gpr")
    assert [(one["item"], one["label"], one["filename"]) for one in cloud.originals("m")] == [
        (1, "source", "GOPR0001.JPG"),
        (2, "raw_photo", "GOPR0001.GPR"),
    ]
    assert sha256(visitor, raw) == cloud.sha256("m", 2)


def test_every_file_of_a_burst_is_an_original_and_its_source_only_the_cover(
    cloud: FakeGoProCloud, visitor: Visitor
) -> None:
    cloud.add_media(Medium(media_id="m", shape=Shape.BURST, contents=PARTS, filename="G0010131.JPG"))
    offered = visitor.offered("m")
    assert [one["item_number"] for one in offered["files"]] == [1, 2, 3]
    assert [sha256(visitor, one) for one in offered["files"]] == [cloud.sha256("m", item) for item in (1, 2, 3)]
    assert [sha256(visitor, one) for one in sources(offered)] == [cloud.sha256("m", 1)]
    assert [one["filename"] for one in cloud.originals("m")] == ["G0010131.JPG", "G0010132.JPG", "G0010133.JPG"]


def test_a_highlight_is_its_baked_source(cloud: FakeGoProCloud, visitor: Visitor) -> None:
    cloud.add_media(Medium(media_id="m", shape=Shape.EDIT, filename=""))
    offered = visitor.offered("m")
    baked = next(one for one in offered["variations"] if one["label"] == "baked_source")
    assert (baked["type"], sha256(visitor, baked)) == ("mp4", cloud.sha256("m"))
    assert not sources(offered)


def test_a_quik_project_has_no_rendition_at_all(cloud: FakeGoProCloud, visitor: Visitor) -> None:
    cloud.add_media(Medium(media_id="m", shape=Shape.QUIK_PROJECT, filename="project.json"))
    row = visitor.page()[0]
    assert (row["play_as"], row["mce_type"], row["file_size"]) == ("edl", "user_created", None)
    assert visitor.offered("m") == {"files": [], "variations": [], "sprites": [], "sidecar_files": []}
    assert cloud.originals("m") == []


def test_the_source_may_be_missing(cloud: FakeGoProCloud, visitor: Visitor) -> None:
    cloud.add_media(Medium(media_id="m", source_offered=False))
    offered = visitor.offered("m")
    assert not sources(offered)
    assert offered["files"]
    assert cloud.originals("m") == []


def test_the_source_may_be_unavailable_for_good_or_for_a_while(cloud: FakeGoProCloud, visitor: Visitor) -> None:
    cloud.add_media(Medium(media_id="never", source_available=False), Medium(media_id="later"))
    cloud.arm(
        ShapeChange(
            endpoint="download", media_id="later", path="_embedded.variations.*.available", value=False, times=2
        )
    )
    assert [sources(visitor.offered("never"))[0]["available"] for _ in range(3)] == [False] * 3
    assert [sources(visitor.offered("later"))[0]["available"] for _ in range(3)] == [False, False, True]


def test_a_medium_that_is_gone_is_listed_and_not_found(cloud: FakeGoProCloud, visitor: Visitor) -> None:
    cloud.add_media(Medium(media_id="m", gone=True))
    assert visitor.ids() == ["m"]
    assert visitor.get("/media/m").status_code == 404
    assert visitor.get("/media/m/download").status_code == 404


def test_each_call_signs_anew_and_head_links_are_for_head_alone(cloud: FakeGoProCloud, visitor: Visitor) -> None:
    cloud.add_media(Medium(media_id="m"))
    first, second = visitor.source_url("m"), visitor.source_url("m")
    assert first != second
    head = visitor.source_url("m", link="head")
    assert visitor.http.head(head, timeout=5).headers["Content-Length"] == str(1 << 20)
    assert visitor.http.head(first, timeout=5).status_code == 403
    assert visitor.fetch(head).status_code == 403


def test_a_fault_of_a_medium_strikes_that_medium_alone(cloud: FakeGoProCloud, visitor: Visitor) -> None:
    cloud.add_media(
        Medium(media_id="bad", faults=(Answer(endpoint="download", status=500, times=None),)), Medium(media_id="good")
    )
    assert [visitor.get("/media/bad/download").status_code for _ in range(2)] == [500, 500]
    assert visitor.get("/media/good/download").status_code == 200
    cloud.faults.disarm("bad")
    assert visitor.get("/media/bad/download").status_code == 200


@pytest.mark.parametrize("name", ["../../x.MP4", 'a"b\\c.MP4', "Ärger 🏔.MP4", "a\r\nX-Evil: 1.MP4"])
def test_odd_names_reach_the_disposition_and_break_nothing(cloud: FakeGoProCloud, visitor: Visitor, name: str) -> None:
    cloud.add_media(Medium(media_id="odd / id", filename=name))
    assert visitor.page()[0]["filename"] == name
    answer = visitor.fetch(visitor.get("/media/odd%20%2F%20id/download").json()["_embedded"]["variations"][1]["url"])
    assert answer.status_code == 200
    assert "X-Evil" not in answer.headers
    disposition = answer.headers["Content-Disposition"].encode("latin-1").decode()
    assert disposition.startswith("attachment; filename=")
    assert unquote(cloud.observations.requests("cdn")[0].media_id or "") == "odd / id"
