"""Where originals lie: safe, unique and dated, whatever a file is called."""

import time
import unicodedata
from collections.abc import Iterator
from hashlib import sha256
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.downloader.keys import is_copy, object_key, object_metadata, other_key, read_metadata, safe_name
from services.downloader.transfer import StoredObject, Version
from services.shared.events import MediaDiscovered


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
def test_where_the_function_runs_makes_no_difference_to_a_key(captured_at: str) -> None:
    key = object_key(medium(captured_at=captured_at), item=1, name="a.mp4", taken=())
    assert key == "gopro/2026/01/30/6a93/a.mp4"


@pytest.mark.scenario(54)
@pytest.mark.parametrize(
    "captured_at",
    [None, "", "yesterday", "2026-13-45T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:00:00-14:00"],
)
def test_a_medium_without_a_usable_date_has_a_key_all_the_same(captured_at: str | None) -> None:
    assert object_key(medium(captured_at=captured_at), item=1, name="a.mp4", taken=()) == "gopro/0000/00/00/6a93/a.mp4"


def test_the_first_year_of_the_calendar_keeps_four_digits() -> None:
    assert object_key(medium(captured_at="0001-01-01T00:00:00Z"), item=1, name="a.mp4", taken=()).startswith(
        "gopro/0001/01/01/"
    )


def test_equal_names_in_one_medium_get_their_item_number_also_when_they_differ_by_case_only() -> None:
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
def test_a_name_that_is_taken_gets_the_first_free_number_from_its_items_on(
    name: str, others: list[str], chosen: str
) -> None:
    folder = "gopro/2026/01/30/6a93/"
    assert object_key(medium(), item=5, name=name, taken=[folder + other for other in others]) == folder + chosen


def test_a_file_without_a_name_is_called_as_its_medium_and_else_by_its_item() -> None:
    assert object_key(medium(), item=2, name="", taken=()).endswith("/6a93/GX010123.MP4")
    assert object_key(medium(filename=""), item=2, name="", taken=()).endswith("/6a93/item-2")


@pytest.mark.parametrize(("folder", "name"), [("gopro/m.x", "readme"), ("gopro/m", "a.b.MP4"), ("gopro/m", ".MP4")])
def test_another_key_for_a_version_is_marked_by_its_etag(folder: str, name: str) -> None:
    mark = sha256(b"e-1").hexdigest()[:8]
    stem, dot, extension = name.rpartition(".")
    assert other_key(f"{folder}/{name}", "e-1") == (
        f"{folder}/{stem}-{mark}.{extension}" if dot else f"{folder}/{name}-{mark}"
    )


def test_a_plain_id_of_up_to_64_characters_is_the_folder() -> None:
    folders = [object_key(medium(media_id="x" * n), item=1, name="a", taken=()).split("/")[4] for n in (64, 65)]
    assert folders == ["x" * 64, f"{'x' * 48}-{sha256(b'x' * 65).hexdigest()[:12]}"]


def test_an_id_that_is_not_plain_keeps_what_is_and_has_a_mark_of_its_own() -> None:
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
        ("_. X.XXX ._", "X.XXX"),
        ("…", "fallback"),
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
def test_what_is_left_of_a_name(name: str, safe: str) -> None:
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
    return object_metadata(described, **{**known, **more})  # type: ignore[arg-type]


@given(st.text(max_size=300), st.text(max_size=300), st.text(max_size=300))
@example("Ä" * 300, "Ä" * 300, "Ä" * 83)
@example("Ä" * 300, "Ä" * 300, "Ä" * 300)
def test_metadata_is_ascii_fits_and_can_be_read_back(name: str, camera: str, origin: str) -> None:
    metadata = metadata_of(medium(camera=camera), name=name, origin=origin)
    assert sum(len(key) + len(value) for key, value in metadata.items()) <= 2048
    assert "".join(metadata.values()).isascii()
    assert not any(c < " " for c in "".join(metadata.values()))
    assert (name or "GX010123.MP4").startswith(unquote(metadata["original-name"]))
    assert read_metadata(metadata).get("origin", origin) == origin, "whole, or not at all"


def test_an_origin_is_told_whole_as_long_as_a_name_would_be() -> None:
    room = len(metadata_of(medium(), name="n" * 2048)["original-name"])
    assert metadata_of(medium(), origin="o" * room)["origin"] == "o" * room
    assert "origin" not in metadata_of(medium(), origin="o" * (room + 1))


def test_metadata_says_what_the_object_is() -> None:
    assert metadata_of(medium(item_count=2)) == {
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


def test_metadata_of_a_file_without_a_name_and_a_date_has_the_mediums_name_and_no_date() -> None:
    metadata = metadata_of(medium(captured_at=None), name="")
    assert (metadata["original-name"], metadata["captured-at"]) == ("GX010123.MP4", "")


def test_metadata_keeps_as_much_of_a_long_name_as_has_room() -> None:
    metadata = metadata_of(medium(), name="a" * 601)
    assert metadata["original-name"] == "a" * 500


VERSION = Version(size=7, etag='"é-2"')


def stored(media_id: str = "m/ü", item: int = 3, version: Version = VERSION, size: int = 7) -> StoredObject:
    metadata = metadata_of(medium(media_id=media_id), item=item, origin_etag=version.etag, origin_size=version.size)
    return StoredObject(key="k", size=size, etag="", checksum="", metadata=metadata)


def test_an_object_is_a_copy_by_its_size_and_what_was_written_on_it() -> None:
    assert is_copy(stored(), VERSION, media_id="m/ü", item=3)


@pytest.mark.parametrize(
    "other",
    [
        stored(media_id="m"),
        stored(item=4),
        stored(version=Version(size=7, etag="another")),
        stored(size=8),
        StoredObject(key="k", size=7, etag="", checksum="", metadata={}),
    ],
    ids=["medium", "item", "version", "size", "nothing said"],
)
def test_an_object_that_differs_in_one_of_these_is_no_copy(other: StoredObject) -> None:
    assert not is_copy(other, VERSION, media_id="m/ü", item=3)
