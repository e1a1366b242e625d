"""The fake GoPro Cloud: serving files, and everything that goes wrong with it."""

import contextlib
import hashlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from ops.local.gopro_cloud import (
    Content,
    Control,
    FakeGoProCloud,
    Generated,
    Library,
    Literal,
    LocalFile,
    Medium,
    Sample,
    faults,
)
from ops.local.gopro_cloud.contents import MIB
from ops.local.gopro_cloud.visitor import Visitor

CONTENT = Generated(3 * MIB + 12_345, "a video")
SIZE = CONTENT.size
BYTES = b"".join(CONTENT.read(0, SIZE))


@pytest.fixture
def cloud() -> Iterator[FakeGoProCloud]:
    with FakeGoProCloud(Library(media=(Medium(media_id="m", contents=(CONTENT,), etag_part_bytes=MIB),))) as cloud:
        yield cloud


@pytest.fixture
def visitor(cloud: FakeGoProCloud) -> Visitor:
    return Visitor(cloud.url, cloud.tokens.paste(10**6))


@pytest.fixture
def url(visitor: Visitor) -> str:
    return visitor.source_url("m")


def received(visitor: Visitor, url: str, byte_range: str | None = None) -> bytes:
    """Return what comes through before the connection breaks."""
    headers = {"Range": f"bytes={byte_range}"} if byte_range else {}
    answer = visitor.http.get(url, headers=headers, stream=True, timeout=60)
    assert answer.status_code in (200, 206)
    got: list[bytes] = []
    with pytest.raises(requests.exceptions.RequestException):
        got.extend(answer.iter_content(10_000))
    return b"".join(got)


def test_a_whole_file_comes_byte_for_byte(cloud: FakeGoProCloud, visitor: Visitor, url: str) -> None:
    answer = visitor.fetch(url)
    assert answer.content == BYTES
    assert hashlib.sha256(answer.content).hexdigest() == cloud.sha256("m")
    assert answer.headers["Content-Length"] == str(SIZE)
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Content-Type"] == "video/mp4"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="GX010001.MP4"'


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("0-0", 0, 1),
        ("31-33", 31, 34),
        (f"{MIB - 5}-{MIB + 40}", MIB - 5, MIB + 41),
        ("1000000-", 1_000_000, SIZE),
        (f"{SIZE - 1}-{SIZE + 99}", SIZE - 1, SIZE),
    ],
)
def test_a_range_is_answered_exactly(visitor: Visitor, url: str, asked: str, start: int, end: int) -> None:
    answer = visitor.fetch(url, byte_range=asked)
    assert answer.status_code == 206
    assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/{SIZE}"
    assert answer.content == BYTES[start:end]


def test_a_range_past_the_end_is_a_416_and_a_senseless_one_is_ignored(visitor: Visitor, url: str) -> None:
    answer = visitor.fetch(url, byte_range=f"{SIZE}-")
    assert (answer.status_code, answer.headers["Content-Range"]) == (416, f"bytes */{SIZE}")
    assert [visitor.fetch(url, byte_range=asked).status_code for asked in ("5-1", "a-b", "0-1,4-5")] == [200] * 3


@pytest.mark.parametrize("part_bytes", [5 * MIB, 20 * MIB, 100 * MIB, MIB, 1000])
def test_the_etag_is_that_of_a_multipart_upload(cloud: FakeGoProCloud, visitor: Visitor, part_bytes: int) -> None:
    data = BYTES[:2_500_000]
    medium = Medium(media_id="e", contents=(Literal(data),), etag_part_bytes=part_bytes)
    cloud.replace_library(Library(media=(medium,)))
    parts = [data[at : at + part_bytes] for at in range(0, len(data), part_bytes)]
    expected = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()
    assert visitor.fetch(visitor.source_url("e")).headers["ETag"] == f'"{expected}-{len(parts)}"'
    cloud.replace_library(Library(media=(Medium(media_id="e", etag_part_bytes=None),)))
    assert "-" not in visitor.fetch(visitor.source_url("e")).headers["ETag"], "one that proves nothing"


def test_if_match_is_honoured_and_an_authorization_header_refused(visitor: Visitor, url: str) -> None:
    etag = visitor.fetch(url, byte_range="0-0").headers["ETag"]
    assert visitor.fetch(url, byte_range="1-2", **{"If-Match": etag}).status_code == 206
    assert visitor.fetch(url, byte_range="1-2", **{"If-Match": '"other"'}).status_code == 412
    assert visitor.fetch(url, Authorization="Bearer x").status_code == 400


def test_urls_expire_by_the_clouds_clock(cloud: FakeGoProCloud, visitor: Visitor, url: str) -> None:
    cloud.advance(3000)
    assert visitor.fetch(url, byte_range="0-0").status_code == 206
    cloud.advance(601)
    expired = visitor.fetch(url, byte_range="0-0")
    assert expired.status_code == 403
    assert b"<Code>AccessDenied</Code>" in expired.content
    cloud.arm(faults.StaleUrls())
    assert [visitor.fetch(visitor.source_url("m")).status_code for _ in range(2)] == [403, 200]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Expires=1", "Expires=2"),
        ("Signature=", "Signature=A"),
        ("Key-Pair-Id=K", "Key-Pair-Id=X"),
        ("GX010001", "GX010002"),
        ("/source/default/", "/edit_proxy/default/"),
        ("?", "?nothing#"),
    ],
)
def test_a_url_without_its_signature_is_refused(visitor: Visitor, url: str, old: str, new: str) -> None:
    assert old in url
    assert visitor.fetch(url.replace(old, new)).status_code == 403


def test_a_connection_can_be_reset_at_a_byte(cloud: FakeGoProCloud, visitor: Visitor, url: str) -> None:
    cloud.arm(faults.Drop(at_bytes=1_500_000))
    assert visitor.fetch(url, byte_range="0-1499999").content == BYTES[:1_500_000]
    assert received(visitor, url, "1000000-1999999") == BYTES[1_000_000:1_500_000]
    assert visitor.fetch(url).content == BYTES


def test_a_body_can_end_early_or_claim_to_be_whole(cloud: FakeGoProCloud, visitor: Visitor, url: str) -> None:
    cloud.arm(faults.Truncate(at_bytes=2_000_000), faults.Truncate(at_bytes=600, honest=True))
    assert received(visitor, url) == BYTES[:2_000_000]
    answer = visitor.fetch(url, byte_range="100-999")
    assert (answer.status_code, answer.content) == (206, BYTES[100:600])
    assert answer.headers["Content-Range"] == f"bytes 100-999/{SIZE}"
    assert visitor.fetch(url).content == BYTES


def test_a_url_can_expire_in_mid_file_and_a_new_one_continues(
    cloud: FakeGoProCloud, visitor: Visitor, url: str
) -> None:
    cloud.arm(faults.ExpireAfter(at_bytes=1_000_000))
    first = visitor.fetch(url, byte_range="0-599999").content
    second = received(visitor, url, "600000-1999999")
    assert visitor.fetch(url, byte_range="1000000-").status_code == 403
    rest = visitor.fetch(visitor.source_url("m"), byte_range="1000000-").content
    assert first + second + rest == BYTES


def test_a_response_can_be_late_and_slow_and_cut(cloud: FakeGoProCloud, visitor: Visitor, url: str) -> None:
    cloud.arm(faults.Delay(seconds=0.3), faults.Throttle(bytes_per_second=500_000), faults.Drop(at_bytes=100_000))
    started = time.monotonic()
    assert len(received(visitor, url)) == 100_000
    assert time.monotonic() - started > 0.49
    assert cloud.faults.not_struck() == []


def test_disarming_ends_the_throttling_of_a_download_under_way(
    cloud: FakeGoProCloud, visitor: Visitor, url: str
) -> None:
    cloud.arm(faults.Throttle(bytes_per_second=2_000))
    with ThreadPoolExecutor() as pool:
        download = pool.submit(visitor.fetch, url)
        while cloud.faults.not_struck():
            time.sleep(0.01)
        cloud.faults.disarm()
        assert download.result().content == BYTES


@pytest.mark.parametrize(
    ("fault", "status", "headers", "content"),
    [
        (faults.Answer(endpoint="cdn", status=403), 403, {"Content-Type": "application/xml"}, None),
        (faults.Answer(endpoint="cdn", status=503, retry_after=3), 503, {"Retry-After": "3"}, None),
        (faults.IgnoreRange(), 200, {"Content-Length": str(SIZE)}, BYTES),
        (faults.WrongRange(), 206, {"Content-Range": f"bytes 11-20/{SIZE}"}, BYTES[11:21]),
        (faults.NoLength(), 206, {"Transfer-Encoding": "chunked"}, BYTES[10:20]),
        (faults.Gzip(), 206, {"Content-Encoding": "gzip"}, BYTES[10:20]),
        (faults.HtmlPage(), 200, {"Content-Type": "text/html"}, None),
        (faults.ZeroBytes(), 200, {"Content-Length": "0"}, b""),
        (faults.Redirect(), 302, {"Location": "http://169.254.169.254/latest/meta-data/"}, b""),
        (faults.Redirect(location="https://elsewhere.example/"), 302, {"Location": "https://elsewhere.example/"}, b""),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_range_can_be_answered_wrongly(
    cloud: FakeGoProCloud,
    visitor: Visitor,
    url: str,
    fault: faults.Fault,
    status: int,
    headers: dict[str, str],
    content: bytes | None,
) -> None:
    cloud.arm(fault)
    answer = visitor.fetch(url, byte_range="10-19")
    assert answer.status_code == status
    assert headers.items() <= answer.headers.items()
    assert content is None or answer.content == content
    assert visitor.fetch(url, byte_range="10-19").content == BYTES[10:20]


def test_bytes_can_be_wrong_at_the_right_length(cloud: FakeGoProCloud, visitor: Visitor, url: str) -> None:
    cloud.arm(faults.Corrupt(at_bytes=MIB + 7))
    answer = visitor.fetch(url, byte_range=f"{MIB}-{MIB + 99}")
    wrong = [place for place, byte in enumerate(answer.content) if byte != BYTES[MIB + place]]
    assert wrong == [7]
    assert answer.headers["ETag"] == cloud.originals("m")[0]["etag"]
    assert visitor.fetch(url).content == BYTES


@pytest.mark.parametrize("size_delta", [0, 1000])
def test_the_original_can_change_in_mid_file(
    cloud: FakeGoProCloud, visitor: Visitor, url: str, size_delta: int
) -> None:
    before = cloud.originals("m")[0]
    cloud.arm(faults.Replace(at_bytes=1_000_000, size_delta=size_delta))
    assert received(visitor, url) == BYTES[:1_000_000]
    assert visitor.fetch(url, byte_range="1000000-", **{"If-Match": before["etag"]}).status_code == 412
    changed = visitor.fetch(url)
    after = cloud.originals("m")[0]
    assert changed.headers["ETag"] == after["etag"] != before["etag"]
    assert len(changed.content) == SIZE + size_delta
    assert hashlib.sha256(changed.content).hexdigest() == after["sha256"]


@pytest.mark.parametrize("status", [302, 403, 500])
def test_an_error_can_echo_the_signature(cloud: FakeGoProCloud, visitor: Visitor, url: str, status: int) -> None:
    cloud.arm(faults.Echo(endpoint="cdn", status=status))
    signature = parse_qs(urlsplit(url).query)["Signature"][0]
    answer = visitor.fetch(url)
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/xml")
    assert signature in answer.text
    assert (signature in answer.headers.get("Location", "")) == (status == 302)
    assert signature in cloud.secrets["signature"]


def test_faults_wait_for_their_turn_and_end_after_it(cloud: FakeGoProCloud, visitor: Visitor, url: str) -> None:
    cloud.arm(faults.IgnoreRange(after=1), faults.Answer(endpoint="cdn", status=500, after=1, times=2))
    assert [visitor.fetch(url, byte_range="0-0").status_code for _ in range(5)] == [206, 500, 500, 200, 206]


def test_downloads_at_once_are_counted_overall_and_by_medium(cloud: FakeGoProCloud, visitor: Visitor) -> None:
    # Far more than the buffers of a connection hold: none of the downloads can end before it is read.
    contents = {media_id: Generated(24 * MIB, media_id) for media_id in "xyz"}
    media = (Medium(media_id=name, contents=(one,), etag_part_bytes=None) for name, one in contents.items())
    cloud.replace_library(Library(media=tuple(media)))
    with contextlib.ExitStack() as stack:
        answers = [stack.enter_context(requests.get(visitor.source_url(m), stream=True, timeout=60)) for m in "xxyz"]
        assert (cloud.observations.downloads.max, cloud.observations.downloads.media_current) == (4, 3)
        for answer in answers:
            assert sum(len(piece) for piece in answer.iter_content(MIB)) == 24 * MIB
    assert cloud.observations.downloads == (4, 0, 3)


@pytest.mark.parametrize("content", [CONTENT, Sample("video1.mp4", 300_000, "x"), Sample("photo.jpg", 9_000)])
def test_a_range_of_a_content_is_that_part_of_the_whole(content: Content) -> None:
    whole = b"".join(content.read(0, content.size))
    assert len(whole) == content.size
    for start in range(0, content.size, content.size // 37):
        for length in (1, 700, content.size // 3):
            end = min(content.size, start + length)
            assert b"".join(content.read(start, end)) == whole[start:end]


def test_generated_contents_differ_in_every_mebibyte() -> None:
    blocks = [BYTES[at : at + MIB] for at in range(0, 3 * MIB, MIB)]
    other = b"".join(Generated(MIB, "another").read(0, MIB))
    assert len({*blocks, other}) == 4
    assert len(b"".join(Generated(10**13, "huge").read(10**13 - 5, 10**13))) == 5


def test_an_empty_file_and_a_file_of_this_machine_are_served(
    cloud: FakeGoProCloud, visitor: Visitor, tmp_path: Path
) -> None:
    path = tmp_path / "real.mp4"
    path.write_bytes(BYTES[:2_000_000])
    real = Medium(media_id="real", contents=(LocalFile(str(path)),))
    cloud.replace_library(Library(media=(real, Medium(media_id="empty", contents=(Literal(b""),)))))
    assert visitor.fetch(visitor.source_url("empty")).content == b""
    assert visitor.fetch(visitor.source_url("empty"), byte_range="0-").status_code == 416
    assert visitor.fetch(visitor.source_url("real"), byte_range="1999990-").content == BYTES[1_999_990:2_000_000]


def test_an_outage_of_the_api_spares_the_cdn_and_one_of_all_does_not(
    cloud: FakeGoProCloud, visitor: Visitor, url: str
) -> None:
    def statuses() -> tuple[int, int]:
        return visitor.get("/media/user").status_code, visitor.fetch(url, byte_range="0-0").status_code

    cloud.outage(600, of="api")
    assert statuses() == (503, 206)
    cloud.outage(600)
    assert statuses() == (503, 503)
    assert Control(cloud.control_url).requests("user")[-1].status == 503
    cloud.outage(0)
    assert statuses() == (200, 206)


def test_a_stopped_cloud_breaks_off_downloads(visitor: Visitor) -> None:
    medium = Medium(media_id="big", contents=(Generated(64 * MIB),), etag_part_bytes=None)
    with FakeGoProCloud(Library(media=(medium,))) as cloud:
        url = Visitor(cloud.url, cloud.tokens.paste(60)).source_url("big")
        answer = visitor.http.get(url, stream=True, timeout=60)
    with pytest.raises(requests.RequestException):
        len(answer.content)
    with pytest.raises(requests.ConnectionError):
        visitor.http.get(url, timeout=60)
