"""Which files are originals: every shape of GoPro's download listing, and every trap in it."""

from typing import Any
from urllib.parse import quote

import pytest

from services.downloader.manifest import Manifest, Original, assign_items, read_manifest
from services.shared.gopro.media import UnexpectedAnswer

CDN = "https://media-cdn-vod.gopro.com/m"


def entry(path: str, *, name: str = "", **fields: Any) -> dict[str, Any]:
    disposition = f"&response-content-disposition=attachment%3B%20filename%3D%22{name}%22" if name else ""
    return {"url": f"{CDN}/{path}?Expires=1&Signature=s&Key-Pair-Id=k{disposition}", "available": True, **fields}


def listing(*, filename: str = "GX010639.MP4", **embedded: list[dict[str, Any]]) -> dict[str, Any]:
    return {"filename": filename, "_embedded": {"files": [], "variations": [], "sidecar_files": [], **embedded}}


def paths(manifest: Manifest) -> list[str]:
    return [original.url.split("?")[0].removeprefix(f"{CDN}/") for original in manifest.originals]


PROXY_FILE = entry("high_res_proxy_mp4/default/1.mp4", item_number=1)
PROXIES = [
    entry("edit_proxy/default/1.mp4", label="edit_proxy", type="mp4", height=2160),
    entry("high_res_proxy_mp4/default/1.mp4", label="high_res_proxy_mp4", type="mp4", height=2160),
]


def test_a_single_videos_original_is_its_source_and_no_proxy_before_or_beside_it() -> None:
    source = entry("source/default/1.mp4", label="source", type="mp4", height=2160)
    found = read_manifest(listing(files=[PROXY_FILE], variations=[*PROXIES, source]), item_count=1)
    assert paths(found) == ["source/default/1.mp4"]
    assert not found.missing


def test_a_chaptered_video_is_all_of_its_sources_in_order_with_their_own_names() -> None:
    chapters = [
        entry(f"source/default/{n}.mp4", name=f"GX0{n}0639.MP4", label="source", item_number=n) for n in (3, 1, 2)
    ]
    joined = entry("concat/default/1.mp4", label="concat")
    found = read_manifest(listing(files=[PROXY_FILE], variations=[joined, *chapters, *PROXIES]), item_count=3)
    assert [(o.number, o.name) for o in found.originals] == [(n, f"GX0{n}0639.MP4") for n in (1, 2, 3)]
    assert not found.missing


def test_where_chapters_are_not_numbered_the_number_in_the_path_counts() -> None:
    chapters = [entry(f"source/default/{n}.mp4", label="source") for n in (12, 1)]
    found = read_manifest(listing(variations=chapters), item_count=2)
    assert [(o.number, o.origin) for o in found.originals] == [(1, "source/default/1"), (12, "source/default/12")]
    assert paths(found) == ["source/default/1.mp4", "source/default/12.mp4"]


def test_where_nothing_numbers_the_files_their_order_does() -> None:
    names = ["z", "GX07.mp4", "x/9a.mp4", "8.tar.gz"]
    found = read_manifest(listing(variations=[entry(name, label="source") for name in names]), item_count=4)
    assert [(o.number, o.origin) for o in found.originals] == [(n, f"source/default/{n}") for n in (1, 2, 3, 4)]
    assert paths(found) == names


def test_a_file_is_called_as_its_url_says_and_else_as_the_listing_does() -> None:
    named, nameless = entry("1.mp4", name="GX010639%20b.MP4 ", label="source"), entry("2.mp4", label="source")
    found = read_manifest(listing(variations=[named, nameless]), item_count=2)
    assert [original.name for original in found.originals] == ["GX010639 b.MP4", "GX010639.MP4"]


@pytest.mark.parametrize(
    "disposition",
    ['attachment; filename="a b.MP4"', "attachment; FILENAME=a b.MP4", "attachment; filename*=UTF-8''a%20b.MP4; x=y"],
)
def test_a_file_name_is_read_in_each_form_that_a_disposition_has(disposition: str) -> None:
    source = entry("1.mp4", label="source")
    source["url"] += f"&response-content-disposition={quote(disposition)}"
    assert read_manifest(listing(variations=[source]), item_count=1).originals[0].name == "a b.MP4"


def test_a_burst_is_every_file_and_not_its_cover() -> None:
    photos = [entry(f"files/{n}.jpg", item_number=n) for n in range(1, 31)]
    cover = entry("source/default/1.jpg", label="source", type="jpg")
    found = read_manifest(listing(files=photos, variations=[cover]), item_count=30)
    assert paths(found) == [f"files/{n}.jpg" for n in range(1, 31)]
    assert not found.missing


def test_two_photos_are_a_burst_and_one_alone_is_no_original() -> None:
    photos = [entry(f"files/{n}.jpg", item_number=n) for n in (1, 2)]
    found = read_manifest(listing(files=photos), item_count=2)
    assert [original.origin for original in found.originals] == ["files/default/1", "files/default/2"]
    assert not found.missing
    assert read_manifest(listing(files=photos[:1]), item_count=1).originals == ()


def test_where_there_are_several_sources_they_are_the_originals_whatever_the_files_are() -> None:
    files = [entry(f"files/{n}.mp4", item_number=n) for n in (1, 2)]
    sources = [entry(f"source/default/{n}.mp4", label="source", item_number=n) for n in (1, 2)]
    found = read_manifest(listing(files=files, variations=sources), item_count=2)
    assert paths(found) == ["source/default/1.mp4", "source/default/2.mp4"]


def test_an_edits_original_is_the_baked_source_although_its_source_is_a_project_file() -> None:
    project = entry("source/default/1.json", label="source", type="json")
    baked = entry("baked_source/default/1.mp4", label="baked_source", type="mp4")
    found = read_manifest(listing(filename="", variations=[project, baked]), item_count=7)
    assert paths(found) == ["baked_source/default/1.mp4"]
    assert found.originals[0].origin == "baked_source/default/1"
    assert not found.missing


def test_a_raw_photo_is_the_photo_and_its_raw_sidecar() -> None:
    photo = entry("source/default/1.jpg", label="source", type="jpg")
    raw = entry("raw_photo/default/1.gpr", label="raw_photo", type="gpr", item_number=1)
    other = entry("gpmf/default/1.mp4", label="gpmf", type="mp4")
    found = read_manifest(listing(variations=[photo], sidecar_files=[other, raw]), item_count=1)
    assert paths(found) == ["source/default/1.jpg", "raw_photo/default/1.gpr"]
    assert [original.origin for original in found.originals] == ["source/default/1", "raw_photo/default/1"]
    assert [item for item, _ in assign_items(found.originals, {})] == [1, 2]


def test_without_any_original_the_manifest_says_so_and_takes_no_proxy() -> None:
    found = read_manifest(listing(files=[PROXY_FILE], variations=PROXIES), item_count=1)
    assert found.originals == ()
    assert found.missing == ("GoPro offers no original, only renditions made from it",)


@pytest.mark.parametrize(
    "proxy", [entry("high_res_proxy_mp4/default/1.mp4"), entry("default/1.mp4", label="edit_proxy")]
)
def test_files_that_are_proxies_never_count_as_a_bursts_photos(proxy: dict[str, Any]) -> None:
    found = read_manifest(listing(files=[proxy | {"item_number": n} for n in (1, 2)]), item_count=2)
    assert found.originals == ()


@pytest.mark.parametrize("available", [False, "false", None])
def test_an_unavailable_chapter_is_missing_and_the_others_are_offered(available: object) -> None:
    first = entry("source/default/1.mp4", label="source", item_number=1)
    second = entry("source/default/2.mp4", label="source", item_number=2) | {"available": available}
    found = read_manifest(listing(variations=[first, second]), item_count=2)
    assert paths(found) == ["source/default/1.mp4"]
    assert found.missing == ("GoPro marks source/default/2 as not available",)


def test_an_original_of_which_gopro_does_not_say_whether_it_is_available_is() -> None:
    source = entry("source/default/1.mp4", label="source")
    del source["available"]
    assert paths(read_manifest(listing(variations=[source]), item_count=1)) == ["source/default/1.mp4"]


@pytest.mark.parametrize("url", ["", None, 7])
def test_an_original_without_a_url_is_missing(url: object) -> None:
    source = entry("", label="source") | {"url": url}
    found = read_manifest(listing(variations=[source]), item_count=1)
    assert (found.originals, found.missing) == ((), ("GoPro marks source/default/1 as not available",))


def test_fewer_originals_than_items_are_said_to_be_missing() -> None:
    only = entry("source/default/1.mp4", label="source", item_number=1)
    found = read_manifest(listing(variations=[only]), item_count=3)
    assert len(found.originals) == 1
    assert found.missing == ("GoPro lists 3 items and offers 1",)


def test_two_lenses_with_one_number_are_two_originals() -> None:
    lenses = [entry(f"source/{p}/1.mp4", label="source", item_number=1, camera_position=p) for p in ("front", "back")]
    found = read_manifest(listing(variations=lenses), item_count=2)
    assert paths(found) == ["source/back/1.mp4", "source/front/1.mp4"]
    assert [item for item, _ in assign_items(found.originals, {})] == [1, 2]


def test_entries_that_can_not_be_told_apart_are_numbered_by_position() -> None:
    same = [entry("s", label="source", item_number=1), entry("t", label="source", item_number=1)]
    found = read_manifest(listing(variations=same), item_count=2)
    assert [o.origin for o in found.originals] == ["source/1", "source/2"]


def test_a_medium_that_has_grown_keeps_the_item_numbers_that_it_has() -> None:
    photo = entry("files/1.jpg", item_number=1)
    raw = entry("raw_photo/1.gpr", label="raw_photo", item_number=1)
    more = [photo, entry("files/2.jpg", item_number=2)]
    grown = read_manifest(listing(files=more, sidecar_files=[raw]), item_count=2)
    known = {"files/default/1": 1, "raw_photo/default/1": 2}
    assert [(item, o.origin) for item, o in assign_items(grown.originals, known)] == [
        (1, "files/default/1"),
        (2, "raw_photo/default/1"),
        (3, "files/default/2"),
    ]


@pytest.mark.parametrize(
    ("number", "known", "item"),
    [(1, {}, 1), (5, {}, 5), (1, {"another": 2}, 1), (2, {"another": 2}, 3), (0, {}, 1), (0, {"another": 7}, 8)],
)
def test_an_item_has_gopros_number_if_that_is_one_and_free_and_else_the_next(
    number: int, known: dict[str, int], item: int
) -> None:
    original = Original(origin="it", number=number, name="", url="")
    assert assign_items([original], known) == [(item, original)]
    assert assign_items([original], {"it": 4, **known}) == [(4, original)]


@pytest.mark.parametrize(
    ("broken", "what"),
    [
        ({}, "has no `_embedded`"),
        ({"_embedded": []}, "has no `_embedded`"),
        ({"_embedded": {"variations": {}}}, "has an unreadable `variations`"),
        ({"_embedded": {"files": [1]}}, "has an unreadable `files`"),
        ({"_embedded": {"sidecar_files": ["1"]}}, "has an unreadable `sidecar_files`"),
    ],
)
def test_a_listing_of_another_shape_is_refused(broken: dict[str, Any], what: str) -> None:
    with pytest.raises(UnexpectedAnswer, match=f"^GoPro's download listing {what}: its API has changed$"):
        read_manifest(broken, item_count=1)


def test_a_listing_need_not_have_files_or_sidecars() -> None:
    source = entry("source/default/1.mp4", label="source")
    assert paths(read_manifest({"_embedded": {"variations": [source]}}, item_count=1)) == ["source/default/1.mp4"]


def test_no_signed_url_shows_in_a_repr() -> None:
    found = read_manifest(listing(variations=[entry("source/1.mp4", label="source")]), item_count=1)
    assert "Signature" not in repr(found)
