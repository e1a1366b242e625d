"""The fake GoPro Cloud: serving files, and everything that goes wrong with it."""

from __future__ import annotations

import gzip
import hashlib
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from tests.gopro_cloud import FakeGoProCloud, Generated, Library, Literal, LocalFile, Medium
from tests.gopro_cloud.contents import MIB
from tests.gopro_cloud.faults import (
    Answer,
    Corrupt,
    Delay,
    Drop,
    Echo,
    ExpireAfter,
    Gzip,
    HtmlPage,
    IgnoreRange,
    NoLength,
    Outage,
    Redirect,
    Replace,
    StaleUrls,
    Throttle,
    Truncate,
    WrongRange,
    ZeroBytes,
)
from tests.gopro_cloud.visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    """What comes through before the connection breaks."""
    headers = {"Range": f"bytes={byte_range}"} if byte_range else {}
    answer = visitor.http.get(url, headers=headers, stream=True, timeout=10)
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
    assert answer.headers["Last-Modified"]
    assert answer.headers["Content-Disposition"] == 'attachment; filename="GX010001.MP4"'


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("0-0", 0, 1),
        ("0-31", 0, 32),
        ("31-33", 31, 34),
        (f"{MIB - 5}-{MIB + 40}", MIB - 5, MIB + 41),
        ("1000000-", 1_000_000, SIZE),
        ("-7", SIZE - 7, SIZE),
        (f"{SIZE - 1}-{SIZE + 99}", SIZE - 1, SIZE),
    ],
)
def test_any_range_is_answered_exactly(visitor: Visitor, url: str, asked: str, start: int, end: int) -> None:
    answer = visitor.fetch(url, byte_range=asked)
    assert answer.status_code == 206
    assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/{SIZE}"
    assert answer.content == BYTES[start:end]


def test_a_range_past_the_end_is_a_416(visitor: Visitor, url: str) -> None:
    answer = visitor.fetch(url, byte_range=f"{SIZE}-")
    assert (answer.status_code, answer.headers["Content-Range"]) == (416, f"bytes */{SIZE}")


@pytest.mark.parametrize("asked", ["5-1", "a-b", "0-1,4-5"])
def test_a_range_that_makes_no_sense_is_ignored(visitor: Visitor, url: str, asked: str) -> None:
    assert visitor.fetch(url, byte_range=asked).status_code == 200


@pytest.mark.parametrize("part_bytes", [5 * MIB, 20 * MIB, 100 * MIB, MIB, 1000])
def test_the_etag_is_that_of_a_multipart_upload(cloud: FakeGoProCloud, visitor: Visitor, part_bytes: int) -> None:
    content = Literal(BYTES[:2_500_000])
    cloud.add_media(Medium(media_id="e", contents=(content,), etag_part_bytes=part_bytes))
    parts = [content.data[at : at + part_bytes] for at in range(0, content.size, part_bytes)]
    expected = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()
    assert visitor.fetch(visitor.source_url("e")).headers["ETag"] == f'"{expected}-{len(parts)}"'


def test_an_etag_may_tell_nothing(cloud: FakeGoProCloud, visitor: Visitor) -> None:
    cloud.add_media(Medium(media_id="e", etag_part_bytes=None))
    assert "-" not in visitor.fetch(visitor.source_url("e")).headers["ETag"]


def test_conditions_are_honoured(visitor: Visitor, url: str) -> None:
    head = visitor.fetch(url, byte_range="0-0").headers
    assert visitor.fetch(url, byte_range="1-2", **{"If-Match": head["ETag"]}).status_code == 206
    assert visitor.fetch(url, byte_range="1-2", **{"If-Match": '"other"'}).status_code == 412
    assert visitor.fetch(url, byte_range="1-2", **{"If-Range": head["ETag"]}).status_code == 206
    assert visitor.fetch(url, byte_range="1-2", **{"If-Range": head["Last-Modified"]}).status_code == 206
    assert visitor.fetch(url, byte_range="1-2", **{"If-Range": '"other"'}).status_code == 200


def test_a_session_is_not_for_the_cdn(visitor: Visitor, url: str) -> None:
    assert visitor.fetch(url, Authorization="Bearer x").status_code == 400


def test_urls_expire_by_the_clouds_clock(cloud: FakeGoProCloud, visitor: Visitor, url: str) -> None:
    cloud.advance(3590)
    assert visitor.fetch(url, byte_range="0-0").status_code == 206
    cloud.advance(11)
    expired = visitor.fetch(url, byte_range="0-0")
    assert expired.status_code == 403
    assert b"<Code>AccessDenied</Code>" in expired.content
    assert visitor.fetch(visitor.source_url("m"), byte_range="0-0").status_code == 206


def test_a_urls_lifetime_is_a_setting(cloud: FakeGoProCloud, visitor: Visitor) -> None:
    cloud.url_lifetime = 10
    url = visitor.source_url("m")
    cloud.advance(11)
    assert visitor.fetch(url).status_code == 403


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Expires=1", "Expires=2"),
        ("Signature=", "Signature=A"),
        ("Key-Pair-Id=K", "Key-Pair-Id=X"),
        ("GX010001", "GX010002"),
        ("/source/default/", "/edit_proxy/default/"),
    ],
)
def test_a_url_that_was_tampered_with_is_refused(visitor: Visitor, url: str, old: str, new: str) -> None:
    assert old in url
    assert visitor.fetch(url.replace(old, new)).status_code == 403


def test_a_url_without_a_signature_is_refused(visitor: Visitor, url: str) -> None:
    assert visitor.fetch(url.partition("?")[0]).status_code == 403


def test_a_connection_is_reset_at_its_byte(cloud: FakeGoProCloud, visitor: Visitor, url: str) -> None:
    cloud.arm(Drop(at_bytes=1_500_000))
    assert visitor.fetch(url, byte_range="0-1499999").content == BYTES[:1_500_000]
    assert received(visitor, url, "1000000-1999999") == BYTES[1_000_000:1_500_000]
    assert visitor.fetch(url).content == BYTES


def test_a_body_ends_early(cloud: FakeGoProCloud, visitor: Visitor, url: str) -> None:
    cloud.arm(Truncate(at_bytes=2_000_000))
    assert received(visitor, url) == BYTES[:2_000_000]
    assert visitor.fetch(url).content == BYTES


def test_a_short_body_can_claim_to_be_whole(cloud: FakeGoProCloud, visitor: Visitor, url: str) -> None:
    cloud.arm(Truncate(at_bytes=600, honest=True))
    answer = visitor.fetch(url, byte_range="100-999")
    assert (answer.status_code, answer.content) == (206, BYTES[100:600])
    assert answer.headers["Content-Range"] == f"bytes 100-999/{SIZE}"


def test_a_url_expires_in_mid_file_and_a_new_one_goes_on(cloud: FakeGoProCloud, visitor: Visitor, url: str) -> None:
    cloud.arm(ExpireAfter(served_bytes=1_000_000))
    first = visitor.fetch(url, byte_range="0-599999").content
    second = received(visitor, url, "600000-1999999")
    assert len(first + second) == 1_000_000
    assert visitor.fetch(url, byte_range="1000000-").status_code == 403
    rest = visitor.fetch(visitor.source_url("m"), byte_range="1000000-").content
    assert first + second + rest == BYTES


def test_a_url_can_expire_between_two_ranges(cloud: FakeGoProCloud, visitor: Visitor, url: str) -> None:
    cloud.arm(ExpireAfter(served_bytes=1000, cut=False))
    assert visitor.fetch(url, byte_range="0-1999").content == BYTES[:2000]
    assert visitor.fetch(url, byte_range="2000-").status_code == 403


def test_a_url_can_be_stale_when_it_comes(cloud: FakeGoProCloud, visitor: Visitor) -> None:
    cloud.arm(StaleUrls())
    assert visitor.fetch(visitor.source_url("m")).status_code == 403
    assert visitor.fetch(visitor.source_url("m")).status_code == 200


def test_refusals_come_at_once(cloud: FakeGoProCloud, visitor: Visitor, url: str) -> None:
    wanted = [403, 401, 410, 416, 429, 500, 503]
    cloud.arm(*(Answer(endpoint="cdn", status=status, retry_after=3 if status == 429 else None) for status in wanted))
    answers = [visitor.fetch(url) for _ in wanted]
    assert [answer.status_code for answer in answers] == wanted
    assert answers[3].headers["Content-Range"] == f"bytes */{SIZE}"
    assert answers[4].headers["Retry-After"] == "3"
    assert visitor.fetch(url).status_code == 200


def test_the_first_byte_can_be_slow(cloud: FakeGoProCloud, visitor: Visitor, url: str) -> None:
    cloud.arm(Delay(seconds=0.3))
    started = time.monotonic()
    visitor.fetch(url, byte_range="0-9")
    assert time.monotonic() - started >= 0.3


def test_bandwidth_is_capped_for_each_connection(cloud: FakeGoProCloud, visitor: Visitor) -> None:
    cloud.arm(Throttle(bytes_per_second=1_000_000, times=None))
    urls = [visitor.source_url("m") for _ in range(3)]
    started = time.monotonic()
    part = {"headers": {"Range": "bytes=0-399999"}}
    threads = [threading.Thread(target=requests.get, args=(url,), kwargs=part) for url in urls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - started >= 0.35
    assert cloud.observations.max_downloads == 3
    assert cloud.observations.max_media == 1


def test_a_range_can_be_ignored(cloud: FakeGoProCloud, visitor: Visitor, url: str) -> None:
    cloud.arm(IgnoreRange())
    answer = visitor.fetch(url, byte_range="5-9")
    assert (answer.status_code, answer.content) == (200, BYTES)


def test_another_range_can_be_sent_than_was_asked_for(cloud: FakeGoProCloud, visitor: Visitor, url: str) -> None:
    cloud.arm(WrongRange(shift=3))
    shifted = visitor.fetch(url, byte_range="10-19")
    assert shifted.headers["Content-Range"] == f"bytes 13-22/{SIZE}"
    assert shifted.content == BYTES[13:23]
    cloud.arm(WrongRange(shift=0, total_delta=5))
    assert visitor.fetch(url, byte_range="10-19").headers["Content-Range"] == f"bytes 10-19/{SIZE + 5}"


def test_a_body_can_come_compressed(cloud: FakeGoProCloud, visitor: Visitor, url: str) -> None:
    cloud.arm(Gzip())
    answer = visitor.http.get(url, stream=True, timeout=10)
    assert answer.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(b"".join(answer.raw.stream(decode_content=False))) == BYTES


def test_a_body_can_come_without_its_length(cloud: FakeGoProCloud, visitor: Visitor, url: str) -> None:
    cloud.arm(NoLength())
    answer = visitor.fetch(url)
    assert "Content-Length" not in answer.headers
    assert answer.content == BYTES


def test_a_page_of_html_or_nothing_can_come_with_200(cloud: FakeGoProCloud, visitor: Visitor, url: str) -> None:
    cloud.arm(HtmlPage(), ZeroBytes())
    page = visitor.fetch(url)
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html")
    nothing = visitor.fetch(url)
    assert (nothing.status_code, nothing.content) == (200, b"")


def test_bytes_can_be_wrong_at_the_right_length(cloud: FakeGoProCloud, visitor: Visitor, url: str) -> None:
    cloud.arm(Corrupt(at_bytes=MIB + 7))
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
    cloud.arm(Replace(at_bytes=1_000_000, size_delta=size_delta))
    assert received(visitor, url) == BYTES[:1_000_000]
    resumed = visitor.fetch(url, byte_range="1000000-", **{"If-Range": before["etag"]})
    after = cloud.originals("m")[0]
    assert resumed.status_code == 200
    assert resumed.headers["ETag"] == after["etag"] != before["etag"]
    assert len(resumed.content) == SIZE + size_delta
    assert hashlib.sha256(resumed.content).hexdigest() == after["sha256"]


def test_a_change_at_the_first_byte_is_answered_from_the_new_original(
    cloud: FakeGoProCloud, visitor: Visitor, url: str
) -> None:
    cloud.arm(Replace(content=Literal(b"new"), after=1))
    assert visitor.fetch(url).content == BYTES
    assert visitor.fetch(url).content == b"new"


@pytest.mark.parametrize("location", ["http://169.254.169.254/latest/meta-data/", "https://elsewhere.example/x.mp4"])
def test_a_redirect_can_lead_elsewhere(cloud: FakeGoProCloud, visitor: Visitor, url: str, location: str) -> None:
    cloud.arm(Redirect(location=location))
    answer = visitor.fetch(url)
    assert (answer.status_code, answer.headers["Location"]) == (302, location)


@pytest.mark.parametrize("status", [302, 403, 500])
def test_an_error_can_echo_the_signature(cloud: FakeGoProCloud, visitor: Visitor, url: str, status: int) -> None:
    cloud.arm(Echo(endpoint="cdn", status=status))
    signature = parse_qs(urlsplit(url).query)["Signature"][0]
    answer = visitor.fetch(url)
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/xml")
    assert signature in answer.text
    assert (signature in answer.headers.get("Location", "")) == (status == 302)
    assert signature in cloud.secrets["signature"]


def test_faults_wait_for_their_turn_and_end_after_it(cloud: FakeGoProCloud, visitor: Visitor, url: str) -> None:
    cloud.arm(Answer(endpoint="cdn", status=500, after=1, times=2))
    assert [visitor.fetch(url, byte_range="0-0").status_code for _ in range(5)] == [206, 500, 500, 206, 206]


def test_a_fault_slows_and_another_cuts_the_same_response(cloud: FakeGoProCloud, visitor: Visitor, url: str) -> None:
    cloud.arm(Throttle(bytes_per_second=500_000), Drop(at_bytes=100_000))
    started = time.monotonic()
    assert len(received(visitor, url)) == 100_000
    assert time.monotonic() - started > 0.15
    assert cloud.observations.requests("cdn")[-1].faults == ("throttle", "drop")


def test_an_empty_file_and_a_file_of_this_machine_are_served(
    cloud: FakeGoProCloud, visitor: Visitor, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("files") / "real.mp4"
    path.write_bytes(BYTES[:2_000_000])
    cloud.add_media(
        Medium(media_id="empty", contents=(Literal(b""),)), Medium(media_id="real", contents=(LocalFile(str(path)),))
    )
    assert visitor.fetch(visitor.source_url("empty")).content == b""
    assert visitor.fetch(visitor.source_url("empty"), byte_range="0-").status_code == 416
    assert visitor.fetch(visitor.source_url("real"), byte_range="1999990-").content == BYTES[1_999_990:2_000_000]


def test_generated_contents_differ_in_every_mebibyte() -> None:
    blocks = [BYTES[at : at + MIB] for at in range(0, 3 * MIB, MIB)]
    other = b"".join(Generated(MIB, "another").read(0, MIB))
    assert len({*blocks, other}) == 4
    assert b"".join(Generated(10**13, "huge").read(10**13 - 5, 10**13)) != b""


def test_ten_downloads_run_at_once(cloud: FakeGoProCloud, visitor: Visitor) -> None:
    size = 24 * MIB
    for number in range(10):
        cloud.add_media(Medium(media_id=f"big{number}", contents=(Generated(size, str(number)),), etag_part_bytes=None))
    urls = [visitor.source_url(f"big{number}") for number in range(10)]
    got: list[int] = []

    def pull(url: str) -> None:
        with requests.get(url, stream=True, timeout=20) as answer:
            got.append(sum(len(piece) for piece in answer.iter_content(MIB)))

    threads = [threading.Thread(target=pull, args=(url,)) for url in urls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [size] * 10
    assert 1 < cloud.observations.max_media <= 10


@pytest.mark.parametrize("form", ["503", "reset"])
def test_an_outage_of_the_api_leaves_the_cdn_alone_and_ends(
    cloud: FakeGoProCloud, visitor: Visitor, url: str, form: str
) -> None:
    cloud.arm(Outage(endpoint="search", seconds=60, form=form, of="api"))  # type: ignore[arg-type]

    def status() -> int:
        try:
            return visitor.get("/media/search").status_code
        except requests.ConnectionError:
            return 0

    assert [status(), status()] == ([503, 503] if form == "503" else [0, 0])
    assert visitor.fetch(url, byte_range="0-0").status_code == 206
    cloud.outage(0)
    assert status() == 200
    cloud.outage(0.2, form)  # type: ignore[arg-type]
    time.sleep(0.3)
    assert status() == 200


def test_an_outage_can_refuse_every_connection_and_the_port_comes_back(
    cloud: FakeGoProCloud, visitor: Visitor, url: str
) -> None:
    assert visitor.get("/media/user").status_code == 200
    cloud.outage(60, "refuse")
    with pytest.raises(requests.ConnectionError, match="refused"):
        requests.get(f"{cloud.url}/media/user", timeout=5)
    with pytest.raises(requests.ConnectionError):
        visitor.fetch(url)
    assert requests.get(f"{cloud.control_url}/control/clock", timeout=5).status_code == 200
    cloud.outage(0)
    assert visitor.get("/media/user").status_code == 200
    assert urlsplit(url).netloc in cloud.url
