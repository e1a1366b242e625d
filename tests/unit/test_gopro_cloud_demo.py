"""The fake GoPro Cloud: real films and pictures, and the library of the demonstration."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import requests

from tests.gopro_cloud import Content, FakeGoProCloud, Film, Photograph, RawPhotograph, Shape, demo
from tests.gopro_cloud.visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Iterator


def bytes_of(content: Content) -> bytes:
    return b"".join(content.read(0, content.size))


def boxes(body: bytes) -> dict[str, bytes]:
    """The boxes of an MP4 container's body; of several of a kind the last."""
    found, at = {}, 0
    while at < len(body):
        size, kind = struct.unpack_from(">I4s", body, at)
        assert 8 <= size <= len(body) - at
        found[kind.decode()] = body[at + 8 : at + size]
        at += size
    assert at == len(body)
    return found


def test_a_film_is_an_mp4_whose_tables_lead_to_its_frames() -> None:
    film = Film("a film", 7)
    file = bytes_of(film)
    top = boxes(file)
    assert list(top) == ["ftyp", "moov", "mdat"]
    media = boxes(boxes(boxes(top["moov"])["trak"])["mdia"])
    tables = boxes(boxes(media["minf"])["stbl"])
    assert struct.unpack(">II", tables["stts"][4:12]) == (1, 7)
    frame_bytes, frames = struct.unpack(">II", tables["stsz"][4:12])
    (first,) = struct.unpack(">I", tables["stco"][8:12])
    assert frames == 7
    assert file[first:] == top["mdat"]
    assert frame_bytes * frames == len(top["mdat"])
    for number in range(frames):
        length, kind = struct.unpack_from(">IB", file, first + number * frame_bytes)
        assert (length, kind & 0x1F) == (frame_bytes - 4, 5), "one complete picture that needs no other"
        frame = file[first + number * frame_bytes + 4 : first + (number + 1) * frame_bytes]
        assert not any(code in frame for code in (b"\0\0\0", b"\0\0\1", b"\0\0\2")), "no start code within"


def test_films_differ_by_title_chapter_and_frame() -> None:
    assert len({bytes_of(Film(title, 1, chapter)) for title in "ab" for chapter in (1, 2)}) == 4
    film = Film("a", 3)
    first, second = (film.read(film.size - at, film.size - at + 100_000) for at in (300_000, 184_194))
    assert b"".join(first) != b"".join(second)


@pytest.mark.parametrize("content", [Film("x", 3), Photograph("x", 200_000), RawPhotograph("x", 16)])
def test_any_range_of_a_picture_is_that_part_of_the_whole(content: Content) -> None:
    whole = bytes_of(content)
    assert len(whole) == content.size
    for start in range(0, content.size, content.size // 37):
        for length in (0, 1, 700, content.size // 3):
            end = min(content.size, start + length)
            assert b"".join(content.read(start, end)) == whole[start:end]


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
@pytest.mark.parametrize(
    ("content", "suffix", "codec"),
    [
        (Film("x", 5), "mp4", "h264"),
        (Photograph("x", 100_000), "jpg", "mjpeg"),
        (RawPhotograph("x", 64), "tif", "tiff"),
    ],
)
def test_players_decode_it_without_errors(
    tmp_path_factory: pytest.TempPathFactory, content: Content, suffix: str, codec: str
) -> None:
    path = tmp_path_factory.mktemp("pictures") / f"x.{suffix}"
    path.write_bytes(bytes_of(content))
    probe = ["ffprobe", "-v", "error", "-show_entries", "stream=codec_name", "-of", "csv=p=0", str(path)]
    assert run(probe) == (codec, "")
    assert run(["ffmpeg", "-v", "error", "-xerror", "-i", str(path), "-f", "null", "-"]) == ("", "")


def run(command: list[str]) -> tuple[str, str]:
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.strip(), done.stderr


@pytest.fixture(scope="module")
def cloud() -> Iterator[FakeGoProCloud]:
    with FakeGoProCloud(demo.LIBRARY) as cloud:
        yield cloud


def test_the_demonstrations_library_has_every_kind_and_stays_small() -> None:
    media = demo.LIBRARY.media
    assert len(media) >= 12
    assert {medium.shape for medium in media} == set(Shape) - {Shape.QUIK_PROJECT}
    assert {len(medium.media_id) for medium in media} == {13, 24}
    assert len({(medium.filename, medium.captured_at) for medium in media}) == len(media) - 1
    assert demo.EXPECTED["bytes"] < 150_000_000
    assert demo.EXPECTED["stored"] + demo.EXPECTED["failed"] == demo.EXPECTED["listed"] == len(media)
    assert demo.EXPECTED["failed"] == 2


def test_a_plain_client_gets_what_the_demonstration_expects(cloud: FakeGoProCloud) -> None:
    """A client as simple as can be: tries thrice, and takes whatever is an original."""
    visitor = Visitor(cloud.url, cloud.tokens.paste(3600))
    stored, failed, files, received = set(), set(), 0, 0
    for media_id in visitor.ids(per_page=200):
        expected = cloud.originals(media_id)
        for _ in range(3):
            answer = visitor.get(f"/media/{media_id}/download")
            if answer.status_code != 200:
                continue
            try:
                got = [fetched(visitor, url) for url in original_urls(answer.json()["_embedded"])]
            except requests.RequestException:
                continue
            if got:
                assert sorted(got) == sorted((one["size"], one["etag"]) for one in expected)
                stored.add(media_id)
                files += len(got)
                received += sum(size for size, _ in got)
                break
        else:
            failed.add(media_id)
    assert stored == set(demo.EXPECTED["stored_media"])
    assert failed == set(demo.EXPECTED["failed_media"])
    assert (files, received) == (demo.EXPECTED["files"], demo.EXPECTED["bytes"])


def fetched(visitor: Visitor, url: str) -> tuple[int, str]:
    answer = visitor.fetch(url)
    answer.raise_for_status()
    return len(answer.content), answer.headers["ETag"]


def original_urls(offered: dict[str, list[dict[str, str]]]) -> list[str]:
    many = [one["url"] for one in offered["files"] if urlsplit(one["url"]).path.endswith(".jpg")]
    if len(many) > 1:
        return many
    wanted = ("source", "baked_source", "raw_photo")
    return [one["url"] for kind in ("variations", "sidecar_files") for one in offered[kind] if one["label"] in wanted]


def test_the_demonstrations_films_are_playable_names_and_all(cloud: FakeGoProCloud) -> None:
    films = [one for medium in demo.LIBRARY.media for one in medium.contents if isinstance(one, Film)]
    assert all(2_000_000 < film.size < 20_000_000 for film in films)
    assert len({(film.title, film.chapter) for film in films}) == len(films)
    assert Path("GX030639.MP4").name in [one["filename"] for one in cloud.originals(demo.LIBRARY.media[0].media_id)]
