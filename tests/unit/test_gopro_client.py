"""The client of GoPro's API, over real HTTP: what it sends, what each answer means, and what no error shows."""

import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.local.gopro_cloud import FakeGoProCloud
from ops.local.gopro_cloud.faults import Answer, Hangup
from services.shared.errors import PermanentError, TransientError
from services.shared.events import Filters
from services.shared.gopro.client import (
    FIELDS,
    AccountRefused,
    ApiRetired,
    Blocked,
    GoProClient,
    ListedMedium,
    RateLimited,
    SessionRefused,
    SourceGone,
    Unavailable,
    UnexpectedAnswer,
    oddity,
    read_medium,
    whole_number,
)
from services.shared.gopro.hosts import AllowedHosts, ForbiddenHost
from services.shared.gopro.words import is_about_account, own_words
from tests.unit.clocks import ManualClock

TOKEN = "canary-token.eyJhbGciOiJkaXIifQ..x.y"
LOOPBACK = AllowedHosts(["127.0.0.1"])


@dataclass
class Reply:
    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})


@dataclass
class Request:
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query)


class Server:
    """Answers every request with `reply`, and keeps the requests."""

    def __init__(self) -> None:
        self.reply = Reply()
        self.requests: list[Request] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # sends head and body together, instead of waiting for the client's acknowledgement

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                server.requests.append(Request(self.command, self.path, dict(self.headers.items()), body))
                self.send_response(server.reply.status)
                headers = {"Content-Length": str(len(server.reply.body)), **server.reply.headers}
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(server.reply.body)
                self.close_connection = int(headers["Content-Length"]) > len(server.reply.body)

            do_GET = do_POST = _answer  # noqa: N815

            def log_message(self, *args: object) -> None:
                """Log nothing."""

        class Quiet(ThreadingHTTPServer):
            def handle_error(self, *args: object) -> None:
                """Ignore clients that close the connection, as some tests want them to."""

        self._http = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, content: Any, status: int = 200, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.reply = Reply(status, body, {"Content-Type": "application/json", **named})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


def client_of(url: str) -> GoProClient:
    return GoProClient(url, hosts=LOOPBACK, clock=ManualClock())


@pytest.fixture
def client(server: Server) -> GoProClient:
    return client_of(server.url)


def texts_of(error: BaseException | None) -> str:
    """Return all texts that a log could show of an error and of those that led to it."""
    if error is None:
        return ""
    return f"{error} {error!r} {error.args!r}" + texts_of(error.__cause__) + texts_of(error.__context__)


@contextmanager
def raises(error: type[Exception], match: str | None = None) -> Iterator[pytest.ExceptionInfo[Exception]]:
    """Expect an error that shows no secret and no URL."""
    with pytest.raises(error, match=match) as caught:
        yield caught
    for secret in ("canary", "Signature", "Bearer", "http://", "https://", "127.0.0.1"):
        assert secret not in texts_of(caught.value)


# ── Requests ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_call_sends_the_accept_header_and_the_token_and_nothing_about_the_client(
    client: GoProClient, server: Server
) -> None:
    client.user(TOKEN)
    (request,) = server.requests
    assert (request.method, request.target) == ("GET", "/media/user")
    assert request.headers["Accept"] == "application/vnd.gopro.jk.media+json; version=2.0.0"
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    assert not {"User-Agent", "Origin", "Referer", "Cookie"} & set(request.headers)


def test_a_grant_is_requested_by_a_form_with_the_same_header_and_without_a_token(
    client: GoProClient, server: Server
) -> None:
    server.answer({"error": "invalid_grant"}, status=400)
    answer = client.token({"grant_type": "refresh_token", "refresh_token": "a&b"})
    (request,) = server.requests
    assert answer.status_code == 400
    assert (request.method, request.target) == ("POST", "/v1/oauth2/token")
    assert parse_qs(request.body.decode()) == {"grant_type": ["refresh_token"], "refresh_token": ["a&b"]}
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert request.headers["Accept"] == "application/vnd.gopro.jk.media+json; version=2.0.0"
    assert not {"User-Agent", "Origin", "Referer", "Authorization"} & set(request.headers)


@pytest.mark.scenario(53)
def test_no_cookie_of_an_answer_is_sent_with_a_later_call(client: GoProClient, server: Server) -> None:
    server.answer({}, Set_Cookie="gp_access_token=somebody; Path=/")
    client.user(TOKEN)
    client.user(TOKEN)
    assert "Cookie" not in server.requests[1].headers


def test_no_netrc_and_no_proxy_of_the_environment_is_used(
    client: GoProClient, server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    client.token({"grant_type": "password"})
    assert "Authorization" not in server.requests[0].headers


def test_a_page_is_requested_with_its_filters(client: GoProClient, server: Server) -> None:
    server.answer({"_pages": {"total_items": 0}, "_embedded": {"media": []}})
    filters = Filters(types=("Video", "Photo"), captured_from="2026-01-01T00:00:00Z")
    client.search(TOKEN, page=3, filters=filters)
    client.search(
        TOKEN, page=1, filters=Filters(captured_until="2026-01-01T00:00:00Z"), page_size=7, order="captured_at"
    )
    client.search(TOKEN, page=1, filters=Filters())
    filtered, until, plain = (request.query for request in server.requests)
    assert filtered["page"] == ["3"]
    assert filtered["per_page"] == ["200"]
    assert filtered["type"] == ["Video,Photo"]
    assert filtered["captured_range"] == ["2026-01-01T00:00:00Z,9999-12-31T00:00:00Z"]
    assert until["captured_range"] == ["1970-01-01T00:00:00Z,2026-01-01T00:00:00Z"]
    assert until["per_page"] == ["7"]
    assert [until["order_by"], plain["order_by"]] == [["captured_at"], ["created_at"]]
    assert not {"type", "captured_range"} & set(plain)
    assert "id" in plain["fields"][0].split(",")


@pytest.mark.parametrize("media_id", ["6a9300000000000000000001", "a/../user", "a?b=c", "ä b"])
def test_a_media_id_is_quoted_in_the_path_of_its_download_listing(
    client: GoProClient, server: Server, media_id: str
) -> None:
    client.download_listing(TOKEN, media_id)
    _, media, name, download = server.requests[0].target.split("/")
    assert (media, download) == ("media", "download")
    assert unquote(name) == media_id
    assert "?" not in name


def test_calls_are_a_tenth_of_a_second_apart(server: Server) -> None:
    clock = ManualClock()
    paced = GoProClient(server.url, hosts=LOOPBACK, clock=clock)
    for pause in (0.0, 0.0, 0.04, 5.0):
        clock.advance(pause)
        paced.user(TOKEN)
    assert clock.slept == pytest.approx([0.1, 0.06], abs=1e-4)


# ── Answers ────────────────────────────────────────────────────────────────────────────────────────────

JSON = {"Content-Type": "application/json"}
HTML = {"Content-Type": "text/html"}
UNAUTHORIZED = b'{"error": "canary", "error_description": "https://canary.example/?Signature=canary"}'
UNPAID = b'{"error": "subscription_required"}'
PAGE = b"<html>Request of the canary blocked</html>"


MEANINGS: Mapping[type[Exception], list[Reply]] = {
    SessionRefused: [Reply(401, UNAUTHORIZED, JSON), Reply(401, b"", {}), Reply(403, UNAUTHORIZED, JSON)],
    AccountRefused: [
        Reply(402, UNAUTHORIZED, JSON),
        Reply(402, PAGE, HTML),
        Reply(403, UNPAID, JSON),
        Reply(401, UNPAID, JSON),
    ],
    Blocked: [Reply(403, PAGE, HTML), Reply(403, b"", {})],
    ApiRetired: [Reply(406, b"", {}), Reply(410, b'"canary"', JSON)],
    RateLimited: [Reply(429, b'"canary"', JSON)],
    Unavailable: [
        *[Reply(status, b'"canary"', JSON) for status in (408, 425, 500, 502, 599)],
        Reply(502, PAGE, HTML),
        Reply(503, b"", {}),
        Reply(302, b"", {"Location": "https://canary:canary@[canary?Signature=canary"}),
        *[Reply(200, body, JSON) for body in (b"", b'{"canary": "https://canary', b"[" * 100_000, b"\xff\xfe{")],
        Reply(200, PAGE, HTML),
        Reply(200, b"{}", {**JSON, "Content-Length": "500", "X-Canary": "canary"}),
        Reply(200, b"{}", {**JSON, "Content-Encoding": "gzip"}),
    ],
    UnexpectedAnswer: [
        *[Reply(200, body, JSON) for body in (b'["canary"]', b'"canary"', b"null")],
        Reply(400, b'"canary"', JSON),
        Reply(204, b"", {}),
        Reply(302, b"", {"Location": "https://canary/elsewhere"}),
    ],
}
PERMANENT = (AccountRefused, ApiRetired, UnexpectedAnswer)
CALLS: Sequence[Callable[[GoProClient], object]] = (
    lambda client: client.user(TOKEN),
    lambda client: client.search(TOKEN, page=1, filters=Filters(types=("canary-filter",))),
    lambda client: client.download_listing(TOKEN, "m"),
)


@pytest.mark.scenario(56)
@pytest.mark.parametrize(("error", "reply"), [(error, reply) for error in MEANINGS for reply in MEANINGS[error]])
def test_every_answer_has_one_meaning_for_all_calls(
    client: GoProClient, server: Server, error: type[Exception], reply: Reply, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server.reply = reply
    for call in CALLS:
        with raises(error) as caught:
            call(client)
        assert type(caught.value) is error
        assert isinstance(caught.value, PermanentError if error in PERMANENT else TransientError)
    assert "canary" not in caplog.text


NOTHING_SAID: Sequence[object] = (None, [], "no", 5, {}, {"error": None}, {"error": ["x"]}, {"error": ""})


def test_a_refusal_says_what_gopro_says(client: GoProClient, server: Server) -> None:
    server.answer({"error": "token_expired", "error_description": "Your session is over."}, status=401)
    with raises(SessionRefused) as caught:
        client.user(TOKEN)
    assert str(caught.value) == "GoPro refused the session (401: token_expired: Your session is over.) at /media/user"
    server.answer({"error": {"code": "payment_due", "message": "Please pay"}}, status=402)
    with pytest.raises(AccountRefused) as refused:
        client.user(TOKEN)
    assert str(refused.value) == "GoPro refuses the account (402: payment_due: Please pay)"
    assert "gopro.com" in refused.value.remedy


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"error": "no_rights", "error_description": "Not you!"}, "no_rights: Not you!"),
        ({"error": "SubscriptionRequired"}, "SubscriptionRequired"),
        ({"error": {"code": "x_y", "message": "It's a no-go (403)"}, "message": 5}, "x_y: It's a no-go (403)"),
        ({"message": "no", "code": "no"}, "no"),
        ({"error": "see https://a.example/?t=1 of me@example.com"}, "see … of …"),
        ({"error": "Bearer eyJhbGciOiJkaXIifQ"}, "… …"),
        ({"error": "bad canary"}, "bad …"),
        ({"error": "medium 6a9300000000000000000001 or AbCdEfGhIjKlM"}, "medium … or …"),
        ({"error": "a\nb\x00c 12345 antidisestablishmentarianism"}, "a … … …"),
        ({"error": "word " * 100}, ("word " * 12).strip()),
        *[(nothing, "") for nothing in NOTHING_SAID],
    ],
)
def test_of_gopros_words_only_plain_ones_are_passed_on(answer: object, words: str) -> None:
    assert own_words(answer, token=TOKEN).strip() == words


@given(st.text(), st.text())
def test_no_part_of_a_token_is_among_gopros_words(before: str, after: str) -> None:
    token = "Zp3kqwertyuiopasdfgh.eyJhbGciOiJkaXIifQ.x9"
    said = own_words({"error": f"{before}{token}{after}", "message": token[:9]}, token=token)
    assert not any(token[start : start + 9] in said for start in range(len(token) - 8))


@pytest.mark.parametrize(
    "words", ["subscription_required", "Account suspended", "no active SUBSCRIPTION", "entitlement"]
)
def test_a_refusal_of_the_account_is_told_by_its_words(words: str) -> None:
    assert is_about_account(words)
    assert not is_about_account(f"{words}: the token has expired")
    assert not is_about_account("forbidden")


def test_a_404_means_that_a_medium_is_gone_or_that_the_search_has_changed(client: GoProClient, server: Server) -> None:
    server.answer({}, status=404)
    with raises(SourceGone):
        client.download_listing(TOKEN, "m")
    with raises(UnexpectedAnswer, match="its API has changed"):
        client.search(TOKEN, page=1, filters=Filters())


@pytest.mark.parametrize(("status", "error"), [(429, RateLimited), (500, Unavailable), (503, Unavailable)])
def test_an_outage_of_the_token_endpoint_is_transient(
    client: GoProClient, server: Server, status: int, error: type[Exception]
) -> None:
    server.answer({}, status=status)
    with raises(error):
        client.token({"client_secret": "canary", "password": "canary", "refresh_token": "canary"})


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 406, 410])
def test_any_other_answer_of_the_token_endpoint_is_returned(client: GoProClient, server: Server, status: int) -> None:
    server.answer({"error": "x"}, status=status)
    assert client.token({"grant_type": "password"}).json() == {"error": "x"}


def test_a_connection_that_is_refused_reset_or_silent_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeGoProCloud() as cloud:
        cloud.arm(Hangup())
        with raises(Unavailable, match="ConnectionError"):
            client_of(cloud.url).user(TOKEN)
    monkeypatch.setattr("services.shared.gopro.client.TIMEOUT_SECONDS", (1, 0.2))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent_client = client_of(f"http://127.0.0.1:{silent.getsockname()[1]}")
        with raises(Unavailable, match="ConnectionError"):
            silent_client.user(TOKEN)
        silent.listen()
        with raises(Unavailable, match="Timeout"):
            silent_client.user(TOKEN)


def test_a_connection_that_died_since_the_last_call_is_opened_again_once() -> None:
    with FakeGoProCloud() as cloud:
        client = client_of(cloud.url)
        with raises(SessionRefused):
            client.user(TOKEN)
        cloud.arm(Hangup())
        with raises(SessionRefused):
            client.user(TOKEN)
        cloud.arm(Hangup())
        cloud.arm(Hangup())
        with raises(Unavailable, match="ConnectionError"):
            client.user(TOKEN)


def test_a_login_is_never_sent_twice() -> None:
    with FakeGoProCloud() as cloud:
        client = client_of(cloud.url)
        with raises(SessionRefused):
            client.user(TOKEN)
        cloud.arm(Hangup(endpoint="token"))
        with raises(Unavailable, match="ConnectionError"):
            client.token({"grant_type": "password"})


@pytest.mark.parametrize("token", ["two\nlines", "caf\u00e9 \u2603", "nul\0", "\ud800"])
def test_a_token_with_impossible_characters_is_refused_without_a_call(
    client: GoProClient, server: Server, token: str
) -> None:
    with raises(SessionRefused):
        client.user(f"canary{token}")
    assert server.requests == []


def listing(**changes: Any) -> dict[str, Any]:
    return {"_pages": {"total_items": 1}, "_embedded": {"media": [{"id": "a"}]}, **changes}


def test_a_page_of_the_library_is_read(client: GoProClient, server: Server) -> None:
    server.answer(listing(_pages={"total_items": "212"}, _embedded={"errors": [1, 2], "media": [{"id": "a"}]}))
    page = client.search(TOKEN, page=1, filters=Filters())
    assert [medium.media_id for medium in page.media] == ["a"]
    assert page.total_items == 212
    assert page.errors == 2


SHAPES: Sequence[tuple[str, Any]] = [
    ("_pages", None), ("_pages", []), ("_pages", {}), ("_embedded", None), ("_embedded", [1]), ("_embedded", {}),
    *[("_pages", {"total_items": total}) for total in (None, -1, True, "many", float("nan"), float("inf"))],
    *[("_embedded", {"media": media}) for media in (None, {"a": 1}, "canary")],
]  # fmt: skip


@pytest.mark.scenario(36)
@pytest.mark.parametrize(("field", "value"), SHAPES)
def test_a_listing_of_another_shape_is_an_error_and_not_an_empty_library(
    client: GoProClient, server: Server, field: str, value: Any
) -> None:
    server.answer(listing(**{field: value}))
    with raises(UnexpectedAnswer):
        client.search(TOKEN, page=1, filters=Filters())


@pytest.mark.parametrize(
    ("row", "odd"),
    [
        (None, "the row is null"),
        ("canary", "the row is a string"),
        (["canary"], "the row is an array"),
        (5, "the row is a number"),
        (True, "the row is a boolean"),
        ({"filename": "canary"}, "the id is missing"),
        ({"id": None}, "the id is null"),
        ({"id": 4711}, "the id is a number"),
        ({"id": 1.5}, "the id is a number"),
        ({"id": {"a": "canary"}}, "the id is an object"),
        ({"id": ""}, "the id is empty"),
    ],
)
def test_a_row_that_cannot_be_read_costs_itself_alone_and_its_values_are_not_shown(
    client: GoProClient, server: Server, row: object, odd: str
) -> None:
    server.answer(listing(_embedded={"media": [{"id": "a"}, row, {"id": "b"}]}))
    page = client.search(TOKEN, page=1, filters=Filters())
    assert [medium.media_id for medium in page.media] == ["a", "b"]
    assert (page.odd, page.rows) == ((odd,), 3)


@pytest.mark.parametrize(
    ("said", "per_page"), [(100, 100), ("100", 100), (0, None), (None, None), ("many", None), (-5, None)]
)
def test_the_size_of_a_page_is_what_gopro_says(
    client: GoProClient, server: Server, said: object, per_page: int
) -> None:
    server.answer(listing(_pages={"total_items": 1, "per_page": said}))
    assert client.search(TOKEN, page=1, filters=Filters()).per_page == per_page


@pytest.mark.parametrize(("errors", "counted"), [(None, 0), ([], 0), ({}, 0), ("broken", 1), ({"a": 1}, 1), (3, 1)])
def test_errors_in_a_listing_are_counted_in_any_form(
    client: GoProClient, server: Server, errors: object, counted: int
) -> None:
    server.answer(listing(_embedded={"errors": errors, "media": []}))
    assert client.search(TOKEN, page=1, filters=Filters()).errors == counted


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec="utf-8") | st.just("\ud800")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(FIELDS.split(",")), JSON_VALUES))
def test_any_row_is_a_medium_or_an_error(row: dict[str, Any]) -> None:
    if oddity(row):
        assert not isinstance(row.get("id"), str) or not row["id"]
        return
    medium = read_medium(row)
    assert medium.item_count is None or medium.item_count >= 1  # what is unknown stays unknown
    assert medium.labels == ",".join(sorted(medium.labels.split(",")))
    assert medium.size is None or medium.size >= 0
    assert json.dumps([medium.media_id, medium.filename, medium.camera], ensure_ascii=False).encode()


def test_a_row_of_gopros_is_read() -> None:
    row = {
        "id": "6a9300000000000000000001", "type": "Video", "filename": "GX010123.MP4", "file_size": "4012345678",
        "item_count": 3, "captured_at": None, "created_at": "2026-01-31T02:00:00Z", "ready_to_view": "ready",
        "camera_model": "HERO13 Black", "source_duration": "61234", "reprocessed_at": "2026-02-01T00:00:00Z",
        "available_labels": ["source", "gpmf", None, 7, "", "source"],
    }  # fmt: skip
    assert read_medium(row) == ListedMedium(
        media_id="6a9300000000000000000001",
        type="Video",
        filename="GX010123.MP4",
        captured_at="2026-01-31T02:00:00Z",
        size=4_012_345_678,
        item_count=3,
        state="ready",
        camera="HERO13 Black",
        created_at="2026-01-31T02:00:00Z",
        reprocessed_at="2026-02-01T00:00:00Z",
        labels="gpmf,source",
    )


@pytest.mark.parametrize("unknown", [None, 0, "0", "many", -1, 1.5, True, [2], {}])
def test_an_unknown_item_count_stays_unknown(unknown: object) -> None:
    assert read_medium({"id": "m", "item_count": unknown}).item_count is None


@pytest.mark.parametrize(
    ("value", "number"),
    [
        *[(value, 5) for value in (5, "5", " 5 ", 5.0)],
        (0, 0),
        *[(value, None) for value in (5.5, -1, "-1", "\u00b2", "\u0665", "1" * 5000, 10**400, True, None, [5], "")],
        *[(value, None) for value in (float("nan"), float("-inf"))],
    ],
)
def test_a_number_is_whole_and_not_negative(value: object, number: int | None) -> None:
    assert whole_number(value) == number


@pytest.mark.scenario(14)
@pytest.mark.parametrize("form", ["seconds", "date"])
@pytest.mark.parametrize("status", [429, 503])
def test_an_error_carries_the_time_that_gopro_asks_to_wait(form: Literal["seconds", "date"], status: int) -> None:
    with FakeGoProCloud() as cloud:
        cloud.arm(Answer(status=status, retry_after=9_000, retry_after_as=form))
        with pytest.raises((RateLimited, Unavailable)) as caught:
            client_of(cloud.url).user(cloud.tokens.paste(3600))
    assert caught.value.retry_after == pytest.approx(9_000, abs=600)


# ── Hosts ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.scenario(51)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed_so_no_other_host_gets_the_token(server: Server, status: int) -> None:
    with Server() as other:
        server.answer({}, status=status, Location=f"{other.url}/media/user")
        with raises(UnexpectedAnswer, match=str(status)):
            client_of(server.url).user(TOKEN)
        assert client_of(server.url).token({"password": "secret"}).status_code == status
    assert other.requests == []
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "url",
    [
        "http://api.gopro.com", "http://127.0.0.1:1", "https://127.0.0.1", "https://localhost", "https://169.254.169.254",
        "https://[::1]", "https://10.0.0.1", "https://user:secret@api.gopro.com", "https://", "api.gopro.com",
        "file:///etc/passwd", "https://[broken", "",
    ],
)  # fmt: skip
def test_the_api_has_to_be_a_host_name_over_https_unless_the_settings_allow_more(url: str) -> None:
    with pytest.raises(ForbiddenHost) as caught:
        GoProClient(url, hosts=AllowedHosts(["media-cdn-vod.gopro.com"]), clock=ManualClock())
    assert "secret" not in texts_of(caught.value)


@pytest.mark.parametrize("url", ["https://api.gopro.com", "https://api.gopro.com/", "HTTPS://API.GoPro.com"])
def test_a_host_name_over_https_needs_no_allowance(url: str) -> None:
    GoProClient(url, hosts=AllowedHosts([]), clock=ManualClock())
