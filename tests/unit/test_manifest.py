"""Which files are originals, in every shape of GoPro's download listing and with every trap in it."""

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.downloader.manifest import Manifest, Original, assign_items, read_manifest, suspicion
from services.shared.gopro.client import UnexpectedAnswer
from services.shared.library.records import VERSIONS

CDN = "https://media-cdn-vod.gopro.com/m"


def entry(path: str, *, name: str = "", **fields: Any) -> dict[str, Any]:
    disposition = f"&response-content-disposition=attachment%3B%20filename%3D%22{name}%22" if name else ""
    return {"url": f"{CDN}/{path}?Expires=1&Signature=s&Key-Pair-Id=k{disposition}", "available": True, **fields}


def listing(*, filename: str = "GX010639.MP4", **embedded: list[dict[str, Any]]) -> dict[str, Any]:
    return {"filename": filename, "_embedded": {"files": [], "variations": [], "sidecar_files": [], **embedded}}


def with_places(embedded: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    return {"filename": "GX010639.MP4", "_embedded": embedded}


def paths(manifest: Manifest) -> list[str]:
    return [original.url.split("?")[0].removeprefix(f"{CDN}/") for original in manifest.originals]


PROXY_FILE = entry("high_res_proxy_mp4/default/1.mp4", item_number=1)
PROXIES = [
    entry("edit_proxy/default/1.mp4", label="edit_proxy", type="mp4", height=2160),
    entry("high_res_proxy_mp4/default/1.mp4", label="high_res_proxy_mp4", type="mp4", height=2160),
]


def test_the_original_of_a_single_video_is_its_source_and_never_a_proxy() -> None:
    source = entry("source/default/1.mp4", label="source", type="mp4", height=2160)
    found = read_manifest(listing(files=[PROXY_FILE], variations=[*PROXIES, source]), item_count=1)
    assert paths(found) == ["source/default/1.mp4"]
    assert not found.missing


def test_the_originals_of_a_chaptered_video_are_its_sources_in_order_with_their_own_names() -> None:
    chapters = [
        entry(f"source/default/{n}.mp4", name=f"GX0{n}0639.MP4", label="source", item_number=n) for n in (3, 1, 2)
    ]
    joined = entry("concat/default/1.mp4", label="concat")
    found = read_manifest(listing(files=[PROXY_FILE], variations=[joined, *chapters, *PROXIES]), item_count=3)
    assert [(o.number, o.name) for o in found.originals] == [(n, f"GX0{n}0639.MP4") for n in (1, 2, 3)]
    assert not found.missing


def test_a_chapter_without_a_number_has_the_number_in_its_path() -> None:
    chapters = [entry(f"source/default/{n}.mp4", label="source") for n in (12, 1)]
    found = read_manifest(listing(variations=chapters), item_count=2)
    assert [(o.number, o.origin) for o in found.originals] == [(1, "source/default/1"), (12, "source/default/12")]
    assert paths(found) == ["source/default/1.mp4", "source/default/12.mp4"]


def test_files_without_any_number_are_numbered_by_their_order() -> None:
    names = ["z", "GX07.mp4", "x/9a.mp4", "8.tar.gz"]
    found = read_manifest(listing(variations=[entry(name, label="source") for name in names]), item_count=4)
    assert [(o.number, o.origin) for o in found.originals] == [(n, f"source/default/{n}") for n in (1, 2, 3, 4)]
    assert paths(found) == names


def name_of(disposition: str, *, path: str = "source/default/1.mp4", filename: str = "", label: str = "source") -> str:
    """Return the name of a file whose URL has this Content-Disposition, and whose medium has this name."""
    one = entry(path, label=label)
    one["url"] += f"&response-content-disposition={quote(disposition)}" if disposition else ""
    return read_manifest(listing(filename="", variations=[one]), item_count=1, filename=filename).originals[0].name


def test_a_file_has_the_name_in_its_url_or_else_the_one_of_the_listing() -> None:
    named, nameless = entry("1.mp4", name="GX010639%20b.MP4 ", label="source"), entry("2.mp4", label="source")
    found = read_manifest(listing(variations=[named, nameless]), item_count=2, filename="other.MP4")
    assert [original.name for original in found.originals] == ["GX010639 b.MP4", "GX010639.MP4"]


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('attachment; filename="a b.MP4"', "a b.MP4"),
        ("attachment; FILENAME=a b.MP4", "a b.MP4"),
        ("attachment; filename=a b.MP4; x=y", "a b.MP4"),
        ("attachment; filename = GX01.MP4 ;", "GX01.MP4"),
        ("filename=GX01.MP4", "GX01.MP4"),
        ('x-other;filename="GX01.MP4"', "GX01.MP4"),
        ('attachment; filename="Trip; day 1.MP4"', "Trip; day 1.MP4"),
        ('attachment; filename="Trip; filename=x.MP4"', "Trip; filename=x.MP4"),
        (r'attachment; filename="a \"quoted\" one.MP4"', 'a "quoted" one.MP4'),
        (r'attachment; filename="a\\b\;.MP4"', "a\\b;.MP4"),
        (r'attachment; filename="GX01.MP4\\"; x="y"', "GX01.MP4\\.mp4"),
        ('attachment; filename="unclosed.MP4', "unclosed.MP4"),
        ("attachment; filename*=UTF-8''a%20b.MP4; x=y", "a b.MP4"),
        ("attachment; filename*=UTF-8'en'%E2%82%AC%20rates.MP4", "€ rates.MP4"),
        ("attachment; filename*=ISO-8859-1''%A3%20rates.MP4", "£ rates.MP4"),
        ("attachment; filename=\"E rates.MP4\"; filename*=UTF-8''%E2%82%AC%20rates.MP4", "€ rates.MP4"),
        ("attachment; filename*=UTF-8''%E2%82%AC%20rates.MP4; filename=\"E rates.MP4\"", "€ rates.MP4"),
        ("attachment; FILENAME*=utf-8''a.MP4", "a.MP4"),
        ("attachment; filename*=UTF-8''; filename=a.MP4", "a.MP4"),
        ('attachment; filename*0="a "; filename*1="b.MP4"', "a b.MP4"),
        ('attachment; filename="100%25 real.MP4"', "100%25 real.MP4"),
        ('attachment; filename="50% off.MP4"', "50% off.MP4"),
        ("attachment; filename*=UTF-8''50%25%20off.MP4", "50% off.MP4"),
        ('attachment; filename="Größe 📷.MP4"', "Größe 📷.MP4"),
    ],
)
def test_a_file_name_is_read_by_the_rules_of_http(disposition: str, name: str) -> None:
    assert name_of(disposition, filename="medium.MP4") == name


@pytest.mark.parametrize(
    "disposition",
    ["", "attachment", ";", '"', "attachment; filename=", 'attachment; filename=""', "attachment; name=a.MP4", "\0=\0"],
)
def test_without_a_readable_name_a_file_has_its_mediums_name(disposition: str) -> None:
    assert name_of(disposition, filename="GX010639.MP4") == "GX010639.MP4"
    assert name_of(disposition) == "source-1.mp4"
    unnamed = listing(filename="", variations=[entry("1.mp4", label="source")])
    assert read_manifest(unnamed, item_count=1).originals[0].name == "source-1.mp4"


@pytest.mark.parametrize(
    ("disposition", "filename", "path", "name"),
    [
        ("attachment; filename=Trip; day 1.MP4", "Trip; day 1.MP4", "1.mp4", "Trip; day 1.MP4"),  # quotes left out
        ("attachment; filename=Trip", "Other.MP4", "1.mp4", "Trip.mp4"),
        ("attachment; filename=Trip.", "", "1.mp4", "Trip.mp4"),
        ("attachment; filename=BOX", "", "1.mp4", "BOX.mp4"),
        ("attachment; filename=MP4", "", "1.mp4", "MP4.mp4"),
        ("attachment; filename=a.b.MP4", "", "1.mp4", "a.b.MP4"),
        ("", "a.b.json", "1.mp4", "a.b.mp4"),
        ('attachment; filename="Day 1.5"', "", "1.MP4", "Day 1.5.MP4"),
        ('attachment; filename="GS01.360"', "", "1.mp4", "GS01.360"),
        ('attachment; filename="GX01.new"', "", "1.new", "GX01.new"),
        ('attachment; filename="GX01.new "', "", "1.NEW", "GX01.new"),
        ('attachment; filename="GX01"', "", "1", "GX01.mp4"),
        ("", "Trip", "1.mp4", "Trip.mp4"),
        ("", "edit.json", "1.mp4", "edit.mp4"),
        ("", "json", "1.mp4", "json.mp4"),
    ],
)
def test_the_extension_never_gets_lost(disposition: str, filename: str, path: str, name: str) -> None:
    one = entry(path, label="baked_source", type="mp4")
    one["url"] += f"&response-content-disposition={quote(disposition)}" if disposition else ""
    (original,) = read_manifest(listing(filename=filename, variations=[one]), item_count=1).originals
    assert original.name == name


def test_a_raw_file_without_a_name_is_named_after_its_photo() -> None:
    raw = entry("raw_photo/default/1.gpr", label="raw_photo")
    photo = entry("source/default/1.jpg", label="source")
    found = read_manifest(listing(filename="GP01.JPG", variations=[photo], sidecar_files=[raw]), item_count=1)
    assert [original.name for original in found.originals] == ["GP01.JPG", "GP01.gpr"]


def test_the_type_says_the_extension_where_the_path_does_not() -> None:
    for kind, name in (("mp4", "Trip.mp4"), ("video/mp4", "Trip"), ("", "Trip"), (None, "Trip"), ("x" * 9, "Trip")):
        one = entry("a", label="source", type=kind)
        (original,) = read_manifest(listing(filename="Trip", variations=[one]), item_count=1).originals
        assert original.name == name


@given(st.text(max_size=60) | st.text("atchmen;=\"\\*'%filename \t\r\n0", max_size=60))
def test_any_disposition_gives_a_name_that_can_be_written(disposition: str) -> None:
    name = name_of(disposition.encode(errors="replace").decode(), filename="GX01.MP4")
    assert name.encode()
    assert "." in name


def test_the_originals_of_a_burst_are_all_of_its_files_and_not_its_cover() -> None:
    photos = [entry(f"files/{n}.jpg", item_number=n) for n in range(1, 31)]
    cover = entry("source/default/1.jpg", label="source", type="jpg")
    found = read_manifest(listing(files=photos, variations=[cover]), item_count=30)
    assert paths(found) == [f"files/{n}.jpg" for n in range(1, 31)]
    assert not found.missing


def test_two_files_are_a_burst_and_a_single_file_is_no_original() -> None:
    photos = [entry(f"files/{n}.jpg", item_number=n) for n in (1, 2)]
    found = read_manifest(listing(files=photos), item_count=2)
    assert [original.origin for original in found.originals] == ["files/default/1", "files/default/2"]
    assert not found.missing
    assert read_manifest(listing(files=photos[:1]), item_count=1).originals == ()


def test_several_sources_are_the_originals_whatever_the_files_are() -> None:
    files = [entry(f"files/{n}.mp4", item_number=n) for n in (1, 2)]
    sources = [entry(f"source/default/{n}.mp4", label="source", item_number=n) for n in (1, 2)]
    found = read_manifest(listing(files=files, variations=sources), item_count=2)
    assert paths(found) == ["source/default/1.mp4", "source/default/2.mp4"]


def test_the_original_of_an_edit_is_its_baked_source_and_not_its_project_file() -> None:
    project = entry("source/default/1.json", label="source", type="json")
    baked = entry("baked_source/default/1.mp4", label="baked_source", type="mp4")
    found = read_manifest(listing(filename="", variations=[project, baked]), item_count=7)
    assert paths(found) == ["baked_source/default/1.mp4"]
    assert found.originals[0].origin == "baked_source/default/1"
    assert not found.missing


def test_the_originals_of_a_raw_photo_are_the_photo_and_its_raw_sidecar() -> None:
    photo = entry("source/default/1.jpg", label="source", type="jpg")
    raw = entry("raw_photo/default/1.gpr", label="raw_photo", type="gpr", item_number=1)
    other = entry("gpmf/default/1.mp4", label="gpmf", type="mp4")
    found = read_manifest(listing(variations=[photo], sidecar_files=[other, raw]), item_count=1)
    assert paths(found) == ["source/default/1.jpg", "raw_photo/default/1.gpr"]
    assert [original.origin for original in found.originals] == ["source/default/1", "raw_photo/default/1"]
    assert [item for item, _ in assign_items(found.originals, {})] == [1, 2]
    assert (found.missing, found.files) == ((), 2)


PHOTO_MISSING = "GoPro offers the RAW file, but not the photo that belongs to it"


@pytest.mark.parametrize("place", ["sidecar_files", "variations", "files"])
@pytest.mark.parametrize("item_count", [1, None])
def test_a_raw_file_without_its_photo_is_an_original_and_the_photo_is_missing(
    place: str, item_count: int | None
) -> None:
    raw = entry("raw_photo/default/1.gpr", label="raw_photo", type="gpr", item_number=1)
    found = read_manifest(with_places({"variations": PROXIES, place: [raw]}), item_count=item_count)
    assert [original.origin for original in found.originals] == ["raw_photo/default/1"]
    assert (found.missing, found.files) == ((PHOTO_MISSING,), 2)


def test_the_raw_files_of_a_burst_whose_photos_are_not_offered_are_originals() -> None:
    raws = [entry(f"raw_photo/default/{n}.gpr", label="raw_photo", item_number=n) for n in (2, 1, 3)]
    found = read_manifest(listing(sidecar_files=raws), item_count=3)
    assert [original.number for original in found.originals] == [1, 2, 3]
    assert (found.missing, found.files) == ((PHOTO_MISSING,), 6)
    found = read_manifest(listing(files=raws), item_count=None)
    assert (len(found.originals), found.missing, found.files) == (3, (PHOTO_MISSING,), 4)


@pytest.mark.parametrize("place", ["sidecar_files", "files"])
@pytest.mark.parametrize("label", ["source", "baked_source"])
def test_an_original_is_taken_wherever_it_is_offered(place: str, label: str) -> None:
    parts = [entry(f"{label}/default/{n}.mp4", label=label, item_number=n) for n in (1, 2)]
    found = read_manifest(with_places({"variations": PROXIES, place: parts[:1]}), item_count=1)
    assert [original.origin for original in found.originals] == [f"{label}/default/1"]
    assert (found.missing, found.files) == ((), 1)
    if place != "files":  # two files are a burst, whatever their label
        found = read_manifest(with_places({"variations": PROXIES, place: parts}), item_count=2)
        assert [original.origin for original in found.originals] == [f"{label}/default/1", f"{label}/default/2"]


@pytest.mark.parametrize("fields", [{}, {"label": ""}, {"label": None}, {"type": "jpg"}])
@pytest.mark.parametrize("label", ["source", "baked_source", "raw_photo"])
def test_an_entry_without_a_label_has_that_of_its_path(label: str, fields: dict[str, Any]) -> None:
    found = read_manifest(listing(files=[entry(f"x/{label}/default/1.jpg", **fields)]), item_count=1)
    assert [original.origin for original in found.originals] == [f"{label}/default/1"]


@pytest.mark.parametrize(
    "one",
    [
        entry("sources/default/1.jpg"),
        entry("source/1.jpg"),
        entry("source/default/1/2.jpg"),
        entry("source/default/1.jpg", label="concat"),
        entry("source/default/1.jpg", label="gpmf"),
        entry("proxy/source/default/1.jpg"),
        entry("source/default/1.json", label="source", type="json"),
    ],
)
def test_nothing_else_is_taken_for_an_original(one: dict[str, Any]) -> None:
    for place in ("files", "variations", "sidecar_files"):
        found = read_manifest(with_places({place: [one]}), item_count=2)
        assert (found.originals, found.files) == ((), 2) or place == "variations"
        assert found.missing == ("GoPro offers no original, only renditions made from it",)


def test_a_file_of_type_gpr_is_a_raw_file_whatever_gopro_calls_it() -> None:
    photo = entry("source/default/1.jpg", label="source")
    for raw in (entry("a", type="gpr"), entry("a.GPR"), entry("a", type="GPR")):
        found = read_manifest(listing(files=[raw], variations=[photo]), item_count=1)
        assert [original.origin for original in found.originals] == ["source/default/1", "raw_photo/default/1"]


@pytest.mark.parametrize("place", ["files", "sidecar_files"])
def test_a_file_that_is_offered_twice_is_one_original(place: str) -> None:
    source = entry("source/default/1.mp4", label="source", item_number=1)
    again = source | {"url": source["url"] + "&again"}
    found = read_manifest(with_places({"variations": [source], place: [again]}), item_count=1)
    assert [(o.origin, o.url) for o in found.originals] == [("source/default/1", source["url"])]
    assert found.files == 1


def test_a_file_in_an_unusual_place_changes_no_name_of_those_in_the_usual_one() -> None:
    source = entry("source/default/1.mp4", label="source", item_number=1)
    others = [entry("f/1.mp4", label="source", item_number=1)]
    sidecars = [entry(f"s/{n}.mp4", label="source", item_number=n) for n in (1, 2)]
    found = read_manifest(listing(files=others, variations=[source], sidecar_files=sidecars), item_count=4)
    assert [original.origin for original in found.originals] == [
        "source/default/1",
        "files.source/default/1",
        "sidecar_files.source/default/1",
        "source/default/2",
    ]
    assert (found.missing, found.files) == ((), 4)
    assert [item for item, _ in assign_items(found.originals, {})] == [1, 2, 3, 4]


def test_an_unavailable_second_offer_of_an_original_is_not_missed() -> None:
    source = entry("source/default/1.mp4", label="source", item_number=1)
    other = entry("f/1.mp4", label="source", item_number=1) | {"available": False}
    second = entry("f/2.mp4", label="source", item_number=2) | {"available": False}
    found = read_manifest(listing(files=[other], variations=[source]), item_count=1)
    assert (len(found.originals), found.missing) == (1, ())
    found = read_manifest(listing(sidecar_files=[other, second], variations=[source]), item_count=2)
    assert found.missing == ("GoPro marks source/default/2 as not available",)
    assert found.files == 2


def test_a_baked_source_beside_a_source_or_a_burst_is_an_original_too() -> None:
    baked = entry("baked_source/default/1.mp4", label="baked_source", item_number=1)
    source = entry("source/default/1.mp4", label="source", item_number=1)
    photos = [entry(f"files/{n}.jpg", item_number=n) for n in (1, 2)]
    found = read_manifest(listing(variations=[baked, source]), item_count=1)
    assert [original.origin for original in found.originals] == ["source/default/1", "baked_source/default/1"]
    found = read_manifest(listing(files=photos, variations=[baked, source]), item_count=2)
    assert [o.origin for o in found.originals] == ["files/default/1", "files/default/2", "baked_source/default/1"]
    assert (found.missing, found.files) == ((), 3)


def test_a_raw_file_is_no_item_of_its_own() -> None:
    files = [entry("files/1.jpg", item_number=1), entry("files/1.gpr", item_number=1)]
    found = read_manifest(listing(files=files), item_count=2)
    assert [original.origin for original in found.originals] == ["files/1", "files/2"]
    assert (found.missing, found.files) == (("GoPro lists 2 items and offers 1",), 3)


@pytest.mark.parametrize("offered", [1, 2, 3])
def test_with_an_unknown_item_count_every_original_is_taken_and_none_is_missed(offered: int) -> None:
    chapters = [entry(f"source/default/{n}.mp4", label="source", item_number=n) for n in range(1, offered + 1)]
    found = read_manifest(listing(variations=chapters), item_count=None)
    assert (len(found.originals), found.missing, found.files) == (offered, (), offered)
    photos = [entry(f"files/{n}.jpg", item_number=n) for n in range(offered + 1)]
    assert len(read_manifest(listing(files=photos), item_count=None).originals) == offered + 1


def test_a_listing_of_proxies_has_no_original() -> None:
    found = read_manifest(listing(files=[PROXY_FILE], variations=PROXIES), item_count=None)
    assert (found.originals, found.files) == ((), 1)
    assert found.missing == ("GoPro offers no original, only renditions made from it",)


@pytest.mark.parametrize(
    "proxy", [entry("high_res_proxy_mp4/default/1.mp4"), entry("default/1.mp4", label="edit_proxy")]
)
def test_proxies_among_the_files_are_no_burst(proxy: dict[str, Any]) -> None:
    found = read_manifest(listing(files=[proxy | {"item_number": n} for n in (1, 2)]), item_count=2)
    assert found.originals == ()


@pytest.mark.parametrize("available", [False, "false", None])
def test_an_unavailable_chapter_is_missing_and_the_others_are_originals(available: object) -> None:
    first = entry("source/default/1.mp4", label="source", item_number=1)
    second = entry("source/default/2.mp4", label="source", item_number=2) | {"available": available}
    found = read_manifest(listing(variations=[first, second]), item_count=2)
    assert paths(found) == ["source/default/1.mp4"]
    assert found.missing == ("GoPro marks source/default/2 as not available",)


def test_an_original_counts_as_available_unless_gopro_says_otherwise() -> None:
    source = entry("source/default/1.mp4", label="source")
    del source["available"]
    assert paths(read_manifest(listing(variations=[source]), item_count=1)) == ["source/default/1.mp4"]


def test_an_unreadable_url_costs_no_other_file() -> None:
    broken = entry("", label="source", item_number=1) | {"url": "https://["}
    found = read_manifest(listing(variations=[broken, entry("2.mp4", label="source", item_number=2)]), item_count=2)
    assert [(original.origin, original.name) for original in found.originals] == [
        ("source/default/1", "GX010639.MP4"),
        ("source/default/2", "GX010639.MP4"),
    ]


@pytest.mark.parametrize("url", ["", None, 7])
def test_an_original_without_a_url_is_missing(url: object) -> None:
    source = entry("", label="source") | {"url": url}
    found = read_manifest(listing(variations=[source]), item_count=1)
    assert (found.originals, found.missing) == ((), ("GoPro marks source/default/1 as not available",))
    assert found.files == 1


def test_originals_are_missing_when_gopro_lists_more_items() -> None:
    only = entry("source/default/1.mp4", label="source", item_number=1)
    found = read_manifest(listing(variations=[only]), item_count=3)
    assert len(found.originals) == 1
    assert found.missing == ("GoPro lists 3 items and offers 1",)
    assert found.files == 3


def test_the_files_of_two_lenses_are_two_originals() -> None:
    lenses = [entry(f"source/{p}/1.mp4", label="source", item_number=1, camera_position=p) for p in ("front", "back")]
    found = read_manifest(listing(variations=lenses), item_count=2)
    assert paths(found) == ["source/back/1.mp4", "source/front/1.mp4"]
    assert [item for item, _ in assign_items(found.originals, {})] == [1, 2]


def test_entries_with_the_same_number_are_numbered_by_position() -> None:
    same = [entry("s", label="source", item_number=1), entry("t", label="source", item_number=1)]
    found = read_manifest(listing(variations=same), item_count=2)
    assert [o.origin for o in found.originals] == ["source/1", "source/2"]


def test_a_medium_that_has_grown_keeps_its_item_numbers() -> None:
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
    [
        (1, {}, 1),
        (5, {}, 5),
        (1, {"another": 2}, 1),
        (2, {"another": 2}, 3),
        (0, {}, 1),
        (0, {"another": 7}, 8),
        (VERSIONS, {}, 1),
        (VERSIONS - 1, {}, VERSIONS - 1),
    ],
)
def test_an_item_has_gopros_number_or_else_the_next_free_one(number: int, known: dict[str, int], item: int) -> None:
    original = Original(origin="it", number=number, name="", url="")
    assert assign_items([original], known) == [(item, original)]
    assert assign_items([original], {"it": 4, **known}) == [(4, original)]


@pytest.mark.parametrize(
    ("stored", "items", "missing"),
    [
        (["source/default/1", "source/default/2"], 2, ()),
        (["source/default/1"], 2, ("GoPro lists 2 items and offers 1",)),
        (["source/default/1", "baked_source/default/1"], 2, ("GoPro lists 2 items and offers 1",)),
        (["source/default/1", "raw_photo/default/1"], 2, ("GoPro lists 2 items and offers 1",)),
        (["raw_photo/default/1"], 1, (PHOTO_MISSING,)),
        (["raw_photo/default/1", "baked_source/default/1"], 1, ()),
        (["baked_source/default/1"], 7, ()),
    ],
)
def test_what_is_stored_is_not_missing_when_gopro_no_longer_offers_it(
    stored: list[str], items: int, missing: tuple[str, ...]
) -> None:
    found = read_manifest(listing(variations=PROXIES), item_count=items, stored=stored)
    assert (found.originals, found.missing) == ((), missing)
    gone = entry("source/default/1.mp4", label="source") | {"available": False}
    assert not read_manifest(listing(variations=[gone]), item_count=1, stored=["source/default/1"]).missing


SUSPICIOUS = "smaller than listed: 30,000 of 90,000 bytes"
UNCOUNTED = "GoPro says neither how many files it has nor how large they are: 1 stored"


@pytest.mark.parametrize(
    ("files", "items", "size", "suspicious"),
    [
        ({"source/default/1": 30_000}, None, 90_000, SUSPICIOUS),
        ({"source/default/1": 30_000}, 1, 90_000, SUSPICIOUS),
        ({"source/default/1": 10_000, "source/default/2": 20_000}, 2, 90_000, SUSPICIOUS),
        ({"source/default/1": 30_000, "raw_photo/default/1": 60_000}, 1, 90_000, SUSPICIOUS),
        # GoPro overstates by a few KB for each file
        ({"source/default/1": 80_000}, 1, 90_000, ""),
        ({"source/default/1": 79_999}, 1, 90_000, "smaller than listed: 79,999 of 90,000 bytes"),
        ({"a": 35_000, "b": 35_000}, 2, 90_000, ""),
        ({"a": 35_000, "b": 34_999}, 2, 90_000, "smaller than listed: 69,999 of 90,000 bytes"),
        # but never by half of a file
        ({"source/default/1": 2_000}, 1, 4_000, ""),
        ({"source/default/1": 1_999}, 1, 4_000, "smaller than listed: 1,999 of 4,000 bytes"),
        # as large as listed, or larger
        ({"source/default/1": 90_000}, None, 90_000, ""),
        ({"source/default/1": 90_001}, None, 90_000, ""),
        ({"source/default/1": 30_000}, 1, None, ""),
        ({"source/default/1": 30_000}, 1, 0, ""),
        # nothing says that it is complete
        ({"source/default/1": 30_000}, None, None, UNCOUNTED),
        ({"source/default/1": 30_000}, None, 0, UNCOUNTED),
        ({"baked_source/default/1": 30_000}, None, None, ""),
        ({"source/default/1": 1, "baked_source/default/1": 1}, None, None, UNCOUNTED.replace("1 stored", "2 stored")),
    ],
)
def test_a_medium_is_suspicious_unless_its_files_are_all_that_gopro_lists(
    files: dict[str, int], items: int | None, size: int | None, suspicious: str
) -> None:
    assert suspicion(files, item_count=items, listed_size=size) == suspicious


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
def test_a_listing_of_an_unknown_shape_is_refused(broken: dict[str, Any], what: str) -> None:
    with pytest.raises(UnexpectedAnswer, match=f"^GoPro's download listing {what}: its API has changed$"):
        read_manifest(broken, item_count=1)


def test_a_listing_may_lack_files_and_sidecars() -> None:
    source = entry("source/default/1.mp4", label="source")
    assert paths(read_manifest({"_embedded": {"variations": [source]}}, item_count=1)) == ["source/default/1.mp4"]


def test_no_signed_url_shows_in_a_repr() -> None:
    found = read_manifest(listing(variations=[entry("source/1.mp4", label="source")]), item_count=1)
    assert "Signature" not in repr(found)
