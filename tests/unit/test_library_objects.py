"""Where originals lie: safe, unique and dated, whatever a file is called."""

import re
import time
import unicodedata
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.shared.events import MediaDiscovered
from services.shared.library.objects import (
    ObjectMetadata,
    content_disposition,
    content_type,
    is_copy,
    object_key,
    other_key,
    safe_name,
)
from services.shared.library.records import VERSIONS


def medium(**fields: object) -> MediaDiscovered:
    known: dict[str, object] = {
        "sync_id": "s-1",
        "media_id": "6a93",
        "filename": "GX010123.MP4",
        "captured_at": "2026-01-30T21:08:11Z",
        "camera": "HERO13 Black",
    }
    return MediaDiscovered(**{**known, **fields})  # type: ignore[arg-type]


def test_a_key_is_dated_by_capture_time_in_utc() -> None:
    late = medium(captured_at="2026-01-30T23:30:00-05:00")
    assert object_key(late, item=1, name="GX010123.MP4", taken=()) == "gopro/2026/01/31/6a93/GX010123.MP4"


@pytest.fixture
def in_new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("in_new_york")
@pytest.mark.parametrize("captured_at", ["2026-01-30T03:30:00Z", "2026-01-30T23:30:00", "2026-01-31T00:30:00+01:00"])
def test_a_key_does_not_depend_on_the_time_zone_of_the_function(captured_at: str) -> None:
    key = object_key(medium(captured_at=captured_at), item=1, name="a.mp4", taken=())
    assert key == "gopro/2026/01/30/6a93/a.mp4"


@pytest.mark.scenario(54)
@pytest.mark.parametrize(
    "captured_at",
    [None, "", "yesterday", "2026-13-45T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:00:00-14:00"],
)
def test_a_medium_without_a_usable_date_is_stored_in_the_folder_of_undated_media(captured_at: str | None) -> None:
    assert object_key(medium(captured_at=captured_at), item=1, name="a.mp4", taken=()) == "gopro/0000/00/00/6a93/a.mp4"


def test_the_first_year_of_the_calendar_keeps_four_digits() -> None:
    assert object_key(medium(captured_at="0001-01-01T00:00:00Z"), item=1, name="a.mp4", taken=()).startswith(
        "gopro/0001/01/01/"
    )


def test_names_that_differ_only_by_case_get_their_item_number() -> None:
    first = object_key(medium(), item=1, name="GX01.MP4", taken=())
    second = object_key(medium(), item=2, name="gx01.mp4", taken=[first])
    third = object_key(medium(), item=3, name="GX01.MP4", taken=[first, second])
    assert [k.rpartition("/")[2] for k in (first, second, third)] == ["GX01.MP4", "gx01-2.mp4", "GX01-3.MP4"]


@pytest.mark.parametrize(
    ("name", "others", "chosen"),
    [
        ("a.b.mp4", ["a.b.mp4"], "a.b-5.mp4"),
        ("readme", ["README"], "readme-5"),
        ("a.mp4", ["a.mp4", "a-5.mp4"], "a-6.mp4"),
        ("a.mp4", ["a.mp4", "a-5.mp4", "a-6.mp4"], "a-7.mp4"),
        ("a.mp4", ["a-5.mp4"], "a.mp4"),
    ],
)
def test_a_taken_name_gets_the_first_free_number_from_its_item_number_on(
    name: str, others: list[str], chosen: str
) -> None:
    folder = "gopro/2026/01/30/6a93/"
    assert object_key(medium(), item=5, name=name, taken=[folder + other for other in others]) == folder + chosen


@pytest.mark.parametrize(
    ("item", "name", "others", "chosen"),
    [
        (1, "a.b.mp4", ["a.b.mp4"], "a.b-v2.mp4"),
        (1 + VERSIONS, "a.mp4", ["a.mp4", "a-v2.mp4"], "a-v3.mp4"),
        (7, "readme", ["readme"], "readme-v2"),
        (7, "a.mp4", ["a.mp4", "a-v2.mp4"], "a-v2-7.mp4"),
        (7, "…", [], "item-7-v2"),
    ],
)
def test_another_version_of_a_file_is_named_after_it(item: int, name: str, others: list[str], chosen: str) -> None:
    folder = "gopro/2026/01/30/6a93/"
    taken = [folder + other for other in others]
    assert object_key(medium(), item=item + VERSIONS, name=name, taken=taken) == folder + chosen


def test_a_file_without_a_name_has_its_mediums_name_or_else_its_item_number() -> None:
    assert object_key(medium(), item=2, name="", taken=()).endswith("/6a93/GX010123.MP4")
    assert object_key(medium(filename=""), item=2, name="", taken=()).endswith("/6a93/item-2")


@pytest.mark.parametrize(("folder", "name"), [("gopro/m.x", "readme"), ("gopro/m", "a.b.MP4"), ("gopro/m", ".MP4")])
def test_the_other_key_of_a_version_is_marked_by_its_etag(folder: str, name: str) -> None:
    mark = sha256(b"e-1").hexdigest()[:8]
    stem, dot, extension = name.rpartition(".")
    assert other_key(f"{folder}/{name}", "e-1") == (
        f"{folder}/{stem}-{mark}.{extension}" if dot else f"{folder}/{name}-{mark}"
    )


def test_a_plain_id_of_up_to_64_characters_is_the_folder() -> None:
    folders = [object_key(medium(media_id="x" * n), item=1, name="a", taken=()).split("/")[4] for n in (64, 65)]
    assert folders == ["x" * 64, f"{'x' * 48}-{sha256(b'x' * 65).hexdigest()[:12]}"]


def test_an_unsafe_id_keeps_its_safe_characters_and_gets_a_hash() -> None:
    media_id = "A-z_09/ü" + "x" * 80
    mark = sha256(media_id.encode()).hexdigest()[:12]
    folder = object_key(medium(media_id=media_id), item=1, name="a", taken=()).split("/")[4]
    assert folder == f"A-z_09__{'x' * 40}-{mark}"


AWKWARD = [
    "../../x",
    "/etc/passwd",
    "a\x00b.mp4",
    "..\\..\\x.mp4",
    "\u202egpj.exe",
    "📷.MP4",
    "e\u0301.mp4",
    "…",
    " ",
    ".",
]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("GX010123.MP4", "video/mp4"),
        ("GS010123.360", "video/mp4"),
        ("GL010123.LRV", "video/mp4"),
        ("a.mov", "video/quicktime"),
        ("GOPR0123.JPG", "image/jpeg"),
        ("a.jpeg", "image/jpeg"),
        ("a.THM", "image/jpeg"),
        ("a.GPR", "image/x-gopro-gpr"),
        ("a.dng", "image/x-adobe-dng"),
        ("a.heic", "image/heic"),
        ("a.png", "image/png"),
        ("a.wav", "audio/wav"),
        ("a.m4a", "audio/mp4"),
        ("a.mp3", "audio/mpeg"),
        ("a.json", "application/json"),
        ("a.zip", "application/zip"),
        ("a.mp4.bin", "application/octet-stream"),
        ("mp4", "application/octet-stream"),
    ],
)
def test_the_content_type_is_that_of_the_extension(name: str, expected: str) -> None:
    assert content_type(f"gopro/2026/01/30/m.mp4/{name}") == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("GX010123.MP4", "GX010123.MP4"),
        ('Trip; day "1" 100%.MP4', "Trip%3B%20day%20%221%22%20100%25.MP4"),
        ("Zürich's (📷)*.jpg", "Z%C3%BCrich%27s%20%28%F0%9F%93%B7%29%2A.jpg"),
        ("!#$&+-.^_`|~", "!#$&+-.^_`|~"),
        ("../..\\x\r\n.mp4", "x.mp4"),
        ("half \ud83d.mp4", "half%20.mp4"),
        ("x" * 300 + ".MP4", "x" * 196 + ".MP4"),
        ("", "from-its-key.MP4"),
        (" \n", "from-its-key.MP4"),
    ],
)
def test_a_browser_saves_an_original_by_its_own_name(name: str, expected: str) -> None:
    disposition = content_disposition(name, key="gopro/2026/01/30/m/from-its-key.MP4")
    assert disposition == f"attachment; filename*=UTF-8''{expected}"


@given(name=st.text() | st.sampled_from(AWKWARD))
def test_a_content_disposition_is_one_that_mail_and_browsers_read(name: str) -> None:
    disposition = content_disposition(name, key="gopro/key")
    assert re.fullmatch(r"attachment; filename\*=UTF-8''[A-Za-z0-9!#$&+.^_`|~%-]+", disposition)
    assert len(disposition) < 700


@pytest.mark.scenario(49)
@given(name=st.text() | st.sampled_from(AWKWARD), media_id=st.text(min_size=1, max_size=80), item=st.integers(1, 9999))
@example(name="x" * 2000 + ".MP4", media_id="é" * 300, item=1)
@example(name="ab." + "c" * 3000, media_id="..", item=1)
def test_a_key_never_leaves_its_folder_and_always_fits(name: str, media_id: str, item: int) -> None:
    key = object_key(medium(media_id=media_id), item=item, name=name, taken=())
    root, year, month, day, folder, file = key.split("/")
    assert (root, year, month, day) == ("gopro", "2026", "01", "30")
    assert folder not in ("", ".", "..")
    assert file
    assert file[0] not in ". "
    assert not any(unicodedata.category(c).startswith("C") or c in "\\?#%&\"'<>|*: " for c in folder + file)
    assert len(key.encode()) <= 1024
    assert len(other_key(key, "etag").encode()) <= 1024


@pytest.mark.scenario(49)
@given(st.lists(st.text(max_size=12) | st.sampled_from(AWKWARD), max_size=30))
def test_keys_within_a_medium_are_unique_whatever_the_names(names: list[str]) -> None:
    taken: list[str] = []
    for item, name in enumerate(names, start=1):
        taken.append(object_key(medium(), item=item, name=name, taken=taken))
    assert len({key.casefold() for key in taken}) == len(names)


@pytest.mark.scenario(50)
@given(st.lists(st.text(min_size=1, max_size=70), unique=True, min_size=2, max_size=10))
def test_two_media_never_share_a_folder(media_ids: list[str]) -> None:
    assert len({object_key(medium(media_id=m), item=1, name="x", taken=()) for m in media_ids}) == len(media_ids)


@pytest.mark.scenario(49)
def test_composed_and_decomposed_names_are_the_same_name() -> None:
    assert safe_name("e\u0301.mp4", fallback="f") == safe_name("\u00e9.mp4", fallback="f")


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("a\x00b\u202e.mp4", "ab.mp4"),
        ("/x/y\\z/Ä 1+2(3)@_-.MP4", "Ä_1+2(3)@_-.MP4"),
        ("a  ?*b.mp4", "a_b.mp4"),
        ("_. X.YZ ._", "X.YZ"),
        ("…", "fallback"),
        ("📷.MP4", "fallback.MP4"),
        (".MP4", "fallback.MP4"),
        ("__.. .MP4", "fallback.MP4"),
        ("Trip; day 1.MP4", "Trip_day_1.MP4"),
        ("dir/", "fallback"),
        ("a." + "e" * 16, "a." + "e" * 16),
        ("n" * 300, "n" * 199),
        ("n" * 300 + ".MP4", "n" * 196 + ".MP4"),
        ("é" * 300 + ".jpeg", "é" * 97 + ".jpeg"),
        ("a." + "n" * 300 + ".MP4", "a." + "n" * 194 + ".MP4"),
        ("n" * 300 + "." + "e" * 16, "n" * 183 + "." + "e" * 16),
        ("n" * 300 + "." + "e" * 17, "n" * 199),
        ("n" * 190 + "." + "e" * 17, "n" * 190 + "." + "e" * 8),
    ],
)
def test_a_name_is_made_safe(name: str, safe: str) -> None:
    assert safe_name(name, fallback="fallback") == safe


def metadata_of(described: MediaDiscovered, **more: object) -> dict[str, str]:
    known: dict[str, object] = {
        "item": 2,
        "files": 3,
        "origin": "source/default/2",
        "name": "Ä 1.MP4",
        "origin_etag": "abc-2",
        "origin_size": 7,
    }
    return ObjectMetadata.of(described, **{**known, **more}).encode()  # type: ignore[arg-type]


@given(st.text(max_size=300), st.text(max_size=300), st.text(max_size=300))
@example("Ä" * 300, "Ä" * 300, "Ä" * 83)
@example("Ä" * 300, "Ä" * 300, "Ä" * 300)
def test_metadata_is_ascii_fits_into_an_object_and_can_be_read_back(name: str, camera: str, origin: str) -> None:
    metadata = metadata_of(medium(camera=camera), name=name, origin=origin)
    assert sum(len(key) + len(value) for key, value in metadata.items()) <= 2048
    assert "".join(metadata.values()).isascii()
    assert not any(c < " " for c in "".join(metadata.values()))
    decoded = ObjectMetadata.decode(metadata)
    assert (name or "GX010123.MP4").startswith(decoded.original_name)
    assert decoded.origin in (origin, None), "whole, or not at all"


def test_an_origin_is_written_whole_as_long_as_it_fits() -> None:
    room = len(metadata_of(medium(), name="n" * 2048)["original-name"])
    assert metadata_of(medium(), origin="o" * room)["origin"] == "o" * room
    assert "origin" not in metadata_of(medium(), origin="o" * (room + 1))


def test_metadata_says_what_the_object_is() -> None:
    metadata = metadata_of(medium(item_count=2))
    assert metadata == {
        "media-id": "6a93",
        "item": "2",
        "item-count": "2",
        "files": "3",
        "origin": "source/default/2",
        "original-name": "%C3%84%201.MP4",
        "captured-at": "2026-01-30T21:08:11Z",
        "camera": "HERO13%20Black",
        "sync-id": "s-1",
        "origin-etag": "abc-2",
        "origin-size": "7",
    }
    assert ObjectMetadata.decode(metadata).encode() == metadata


def test_a_file_without_a_name_and_a_date_is_described_by_its_mediums_name() -> None:
    metadata = metadata_of(medium(captured_at=None), name="")
    assert (metadata["original-name"], metadata["captured-at"]) == ("GX010123.MP4", "")


def test_metadata_keeps_as_much_of_a_long_name_as_has_room() -> None:
    assert metadata_of(medium(), name="a" * 601)["original-name"] == "a" * 500


def test_the_metadata_of_a_foreign_object_names_no_medium() -> None:
    foreign = ObjectMetadata.decode({"item": "one"})
    assert ("origin" in foreign.encode(), foreign.encode()["origin-etag"]) == (False, "")
    assert foreign == ObjectMetadata(
        media_id="", item=0, item_count=None, files=None, origin=None, original_name="", captured_at="", camera="",
        sync_id="", origin_etag=None, origin_size=0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("difference", "same"),
    [
        ({}, True),
        ({"media_id": "m"}, False),
        ({"item": 4}, False),
        ({"origin_etag": "another"}, False),
        ({"size": 8}, False),
        ({"metadata": {}}, False),
    ],
)
def test_an_object_is_a_copy_by_its_size_and_its_metadata(difference: dict[str, Any], same: bool) -> None:
    metadata = metadata_of(medium(media_id="m/ü"), item=3, origin_etag='"é-2"')
    this = {"metadata": metadata, "size": 7, "media_id": "m/ü", "item": 3, "origin_etag": '"é-2"', "origin_size": 7}
    assert is_copy(**{**this, **difference}) is same


def test_half_a_surrogate_pair_in_a_name_does_not_keep_an_original_from_being_stored() -> None:
    said = ObjectMetadata.of(
        medium(filename="a\ud83d.MP4"), item=1, files=1, origin="o", name="", origin_etag="e", origin_size=1
    ).encode()
    assert said["original-name"] == "a%3F.MP4"
