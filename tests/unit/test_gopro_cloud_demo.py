"""The fake GoPro Cloud: its sample files, and the library of the demonstration."""

import contextlib
import struct
from collections.abc import Iterator

import pytest
import requests

from ops.local.gopro_cloud import FakeGoProCloud, Sample, Shape, demo
from ops.local.gopro_cloud.contents import SAMPLES
from ops.local.gopro_cloud.visitor import Visitor


@pytest.fixture(scope="module")
def cloud() -> Iterator[FakeGoProCloud]:
    with FakeGoProCloud(demo.LIBRARY) as cloud:
        yield cloud


def boxes(body: bytes) -> dict[str, bytes]:
    """Return the bodies of an MP4's boxes, by their types."""
    found, at = {}, 0
    while at < len(body):
        size, kind = struct.unpack_from(">I4s", body, at)
        assert 8 <= size <= len(body) - at
        found[kind.decode()] = body[at + 8 : at + size]
        at += size
    return found


@pytest.mark.parametrize("name", ["video1.mp4", "video2.mp4", "video3.mp4"])
def test_a_padded_video_is_an_mp4_whose_tables_lead_to_its_pictures(name: str) -> None:
    content = Sample(name, 50_000, "padding")
    file = b"".join(content.read(0, content.size))
    top = boxes(file)
    assert {"ftyp", "moov", "mdat", "free"} == set(top)
    tables = boxes(boxes(boxes(boxes(boxes(top["moov"])["trak"])["mdia"])["minf"])["stbl"])
    assert tables["stsd"][12:16] == b"avc1"
    (first,) = struct.unpack(">I", tables["stco"][8:12])
    assert file[first:].startswith(top["mdat"])


def test_the_pictures_are_a_jpeg_and_a_tiff_and_all_samples_are_small() -> None:
    photo, raw = (SAMPLES / "photo.jpg").read_bytes(), (SAMPLES / "raw.gpr").read_bytes()
    assert (photo[:3], photo[-2:]) == (b"\xff\xd8\xff", b"\xff\xd9")
    assert raw[:4] == b"II*\x00"
    assert all(path.stat().st_size < 8_000 for path in SAMPLES.iterdir())


def test_samples_differ_by_their_seed_and_have_a_smallest_size() -> None:
    assert len({b"".join(Sample("photo.jpg", 9_000, seed).read(0, 9_000)) for seed in "abc"}) == 3
    with pytest.raises(ValueError, match="more than 100 bytes"):
        Sample("photo.jpg", 100)


def test_the_demonstrations_library_has_every_kind_and_stays_small() -> None:
    media = demo.LIBRARY.media
    assert {medium.shape for medium in media} == set(Shape) - {Shape.QUIK_PROJECT}
    assert {len(medium.media_id) for medium in media} == {13, 24}
    assert len({(medium.filename, medium.captured_at) for medium in media}) == len(media) - 1, "the twins"
    assert any(medium.raw for medium in media)
    assert demo.EXPECTED["bytes"] < 100_000_000
    assert demo.EXPECTED["stored"] + demo.EXPECTED["failed"] == demo.EXPECTED["listed"] == len(media) == 14


def test_a_plain_client_gets_what_the_demonstration_expects(cloud: FakeGoProCloud) -> None:
    """A client as simple as can be: it tries each medium up to three times, and takes whatever is an original."""
    visitor = Visitor(cloud.url, cloud.tokens.paste(3600))
    found: dict[str, list[tuple[int, str]]] = {}
    for media_id in [media_id for media_id in visitor.ids(per_page=200) for _ in range(3)]:
        if media_id not in found:
            with contextlib.suppress(requests.RequestException):
                found[media_id] = copied(visitor, media_id)
    assert {media_id: sorted(files) for media_id, files in found.items() if files} == {
        media_id: sorted((one["size"], one["etag"]) for one in cloud.originals(media_id))
        for media_id in demo.EXPECTED["stored_media"]
    }
    sizes = [size for files in found.values() for size, _ in files]
    assert (len(sizes), sum(sizes)) == (demo.EXPECTED["files"], demo.EXPECTED["bytes"])
    assert cloud.faults.not_struck() == []


def copied(visitor: Visitor, media_id: str) -> list[tuple[int, str]]:
    """Return the size and ETag of each original."""
    listed = visitor.get(f"/media/{media_id}/download")
    listed.raise_for_status()
    offered = listed.json()["_embedded"]
    wanted = ("source", "baked_source", "raw_photo")
    labelled = [one for one in (*offered["variations"], *offered["sidecar_files"]) if one["label"] in wanted]
    answers = [visitor.fetch(one["url"]) for one in (offered["files"] if len(offered["files"]) > 1 else labelled)]
    for answer in answers:
        answer.raise_for_status()
    return [(len(answer.content), answer.headers["ETag"]) for answer in answers]
