"""The client of GoPro's API, over real HTTP: what it sends, what it makes of each answer, what it never tells."""

import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.shared.errors import PermanentError, TransientError
from services.shared.events import Filters
from services.shared.gopro.client import (
    ApiRetired,
    Blocked,
    GoProClient,
    RateLimited,
    SessionRefused,
    SourceGone,
    Unavailable,
)
from services.shared.gopro.hosts import AllowedHosts, ForbiddenHost
from services.shared.gopro.media import ListedMedium, UnexpectedAnswer, read_medium, whole_number
from tests.gopro_cloud import DEMO_CREDENTIALS, FakeGoProCloud, Library, Medium
from tests.gopro_cloud.faults import Answer, Hangup, Redirect

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
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query)


class Server:
    """Answers every request with `reply`, and keeps what it was asked."""

    def __init__(self) -> None:
        self.reply = Reply()
        self.requests: list[Request] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body leave together, else the client's acknowledgement is waited for

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
                """Nothing."""

        class Quiet(ThreadingHTTPServer):
            def handle_error(self, *args: object) -> None:
                """Clients that break off are what some tests are about."""

        self._http = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, content: Any, status: int = 200, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.reply = Reply(status, body, {"Content-Type": "application/json", **named})

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture(scope="module")
def module_server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def server(module_server: Server) -> Server:
    module_server.reply = Reply()
    module_server.requests.clear()
    return module_server


def client_of(url: str) -> GoProClient:
    return GoProClient(url, hosts=LOOPBACK, sleep=lambda _: None)


@pytest.fixture
def client(server: Server) -> GoProClient:
    return client_of(server.url)


def chain(error: BaseException) -> Iterator[BaseException]:
    """An error and all that came before it, told or not."""
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None:
            yield one
            waiting += [one.__cause__, one.__context__]


def told_by(error: BaseException) -> str:
    """All the texts that a log could have of an error."""
    return "".join(str(one) + repr(one) + repr(one.args) for one in chain(error))


# ── What is sent ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_call_says_what_it_accepts_and_bears_the_token_and_says_nothing_of_itself(
    client: GoProClient, server: Server
) -> None:
    client.user(TOKEN)
    (request,) = server.requests
    assert (request.method, request.target) == ("GET", "/media/user")
    assert request.headers["Accept"] == "application/vnd.gopro.jk.media+json; version=2.0.0"
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    assert not {"User-Agent", "Origin", "Referer", "Cookie"} & set(request.headers)


def test_a_grant_is_asked_for_by_a_form_with_the_same_header_and_without_a_token(
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
def test_no_cookie_of_an_answer_goes_with_a_later_call(client: GoProClient, server: Server) -> None:
    server.answer({}, Set_Cookie="gp_access_token=somebody; Path=/")
    client.user(TOKEN)
    client.user(TOKEN)
    assert "Cookie" not in server.requests[1].headers


def test_nothing_of_the_environment_gets_between(
    client: GoProClient, server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    client.token({"grant_type": "password"})
    assert "Authorization" not in server.requests[0].headers


def test_a_page_is_asked_for_with_its_filters(client: GoProClient, server: Server) -> None:
    server.answer({"_pages": {"total_items": 0}, "_embedded": {"media": []}})
    filters = Filters(types=("Video", "Photo"), captured_from="2026-01-01T00:00:00Z")
    client.search(TOKEN, page=3, filters=filters)
    client.search(TOKEN, page=1, filters=Filters(captured_until="2026-01-01T00:00:00Z"), page_size=7)
    client.search(TOKEN, page=1, filters=Filters())
    filtered, until, plain = (request.query for request in server.requests)
    assert filtered["page"] == ["3"]
    assert filtered["per_page"] == ["200"]
    assert filtered["type"] == ["Video,Photo"]
    assert filtered["captured_range"] == ["2026-01-01T00:00:00Z,9999-12-31T00:00:00Z"]
    assert until["captured_range"] == ["1970-01-01T00:00:00Z,2026-01-01T00:00:00Z"]
    assert until["per_page"] == ["7"]
    assert not {"type", "captured_range"} & set(plain)
    assert "id" in plain["fields"][0].split(",")


@pytest.mark.parametrize("media_id", ["6a9300000000000000000001", "a/../user", "a?b=c", "ä b"])
def test_whatever_a_medium_is_called_its_listing_is_what_is_asked_for(
    client: GoProClient, server: Server, media_id: str
) -> None:
    client.download_listing(TOKEN, media_id)
    _, media, name, download = server.requests[0].path.split("/")
    assert (media, download) == ("media", "download")
    assert "/" not in name
    assert not server.requests[0].query


def test_calls_keep_their_distance() -> None:
    now, naps = [100.0], []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        now[0] += seconds

    with FakeGoProCloud() as cloud:
        paced = GoProClient(cloud.url, hosts=LOOPBACK, monotonic=lambda: now[0], sleep=sleep)
        token = cloud.tokens.paste(3600)
        for pause in (0.0, 0.0, 0.04, 5.0):
            now[0] += pause
            paced.user(token)
    assert naps == pytest.approx([0.1, 0.06])


# ── What the answers mean ────────────────────────────────────────────────────────────────────────────────────────────

JSON = {"Content-Type": "application/json"}
HTML = {"Content-Type": "text/html"}
UNAUTHORIZED = b'{"error": "unauthorized"}'
PAGE = b"<html>Request blocked</html>"


@pytest.mark.parametrize(
    ("reply", "error", "kind"),
    [
        (Reply(401, UNAUTHORIZED, JSON), SessionRefused, TransientError),
        (Reply(401, b"", {}), SessionRefused, TransientError),
        (Reply(403, UNAUTHORIZED, JSON), SessionRefused, TransientError),
        (Reply(403, PAGE, HTML), Blocked, TransientError),
        (Reply(403, b"", {}), Blocked, TransientError),
        (Reply(404, b"{}", JSON), SourceGone, PermanentError),
        (Reply(406, b"", {}), ApiRetired, PermanentError),
        (Reply(410, b"{}", JSON), ApiRetired, PermanentError),
        (Reply(408, b"{}", JSON), Unavailable, TransientError),
        (Reply(425, b"{}", JSON), Unavailable, TransientError),
        (Reply(429, b"{}", JSON), RateLimited, TransientError),
        (Reply(500, b"{}", JSON), Unavailable, TransientError),
        (Reply(502, PAGE, HTML), Unavailable, TransientError),
        (Reply(503, b"", {}), Unavailable, TransientError),
        (Reply(599, b"", {}), Unavailable, TransientError),
        (Reply(400, b"{}", JSON), UnexpectedAnswer, PermanentError),
        (Reply(204, b"", {}), UnexpectedAnswer, PermanentError),
        (Reply(302, b"", {"Location": "http://127.0.0.1:9/elsewhere"}), UnexpectedAnswer, PermanentError),
        (Reply(302, b"", {"Location": "http://[broken"}), Unavailable, TransientError),
        (Reply(200, PAGE, HTML), Unavailable, TransientError),
        (Reply(200, b"", JSON), Unavailable, TransientError),
        (Reply(200, b'{"id": "6a93', JSON), Unavailable, TransientError),
        (Reply(200, b"[" * 100_000, JSON), Unavailable, TransientError),
        (Reply(200, b"\xff\xfe{", JSON), Unavailable, TransientError),
        (Reply(200, b"{}", {**JSON, "Content-Length": "500"}), Unavailable, TransientError),
        (Reply(200, b"{}", {**JSON, "Content-Encoding": "gzip"}), Unavailable, TransientError),
        (Reply(200, b"[]", JSON), UnexpectedAnswer, PermanentError),
        (Reply(200, b"null", JSON), UnexpectedAnswer, PermanentError),
    ],
)
def test_every_answer_has_its_meaning(
    client: GoProClient, server: Server, reply: Reply, error: type[Exception], kind: type[Exception]
) -> None:
    server.reply = reply
    calls: tuple[Callable[[], object], ...] = (
        lambda: client.user(TOKEN),
        lambda: client.download_listing(TOKEN, "m"),
        lambda: client.search(TOKEN, page=1, filters=Filters()),
    )
    for call in calls:
        with pytest.raises(error) as caught:
            call()
        assert type(caught.value) is error
        assert isinstance(caught.value, kind)


@pytest.mark.parametrize(("status", "error"), [(429, RateLimited), (500, Unavailable), (503, Unavailable)])
def test_a_grant_that_was_not_answered_may_be_asked_for_again(
    client: GoProClient, server: Server, status: int, error: type[Exception]
) -> None:
    server.answer({}, status=status)
    with pytest.raises(error):
        client.token({"grant_type": "password"})


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 406, 410])
def test_what_the_token_endpoint_says_is_for_the_authenticator_to_read(
    client: GoProClient, server: Server, status: int
) -> None:
    server.answer({"error": "x"}, status=status)
    assert client.token({"grant_type": "password"}).json() == {"error": "x"}


def test_no_connection_at_all_is_an_outage() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with pytest.raises(Unavailable, match="ConnectionError"):
            client_of(f"http://127.0.0.1:{nobody.getsockname()[1]}").user(TOKEN)


def test_a_connection_that_is_reset_or_gives_no_answer_in_time_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.shared.gopro.client.TIMEOUT_SECONDS", (1, 0.2))
    with FakeGoProCloud() as cloud:
        token = cloud.tokens.paste(3600)
        cloud.arm(Hangup())
        with pytest.raises(Unavailable, match="ConnectionError"):
            client_of(cloud.url).user(token)
        cloud.arm(Answer(status=200, body="{}"))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(Unavailable, match="Timeout"):
            client_of(f"http://127.0.0.1:{silent.getsockname()[1]}").user(token)


@pytest.mark.parametrize("token", ["two\nlines", "caf\u00e9 \u2603", "nul\0", "\ud800"])
def test_what_could_not_be_a_token_is_refused_without_a_call(client: GoProClient, server: Server, token: str) -> None:
    with pytest.raises(SessionRefused) as caught:
        client.user(token)
    assert token not in told_by(caught.value)
    assert server.requests == []


def listing(**changes: Any) -> dict[str, Any]:
    rows = [{"id": "a", "filename": "GX010001.MP4", "ready_to_view": "ready"}]
    return {"_pages": {"total_items": 1}, "_embedded": {"errors": [], "media": rows}, **changes}


def test_a_page_of_the_library_is_read(client: GoProClient, server: Server) -> None:
    server.answer(listing(_pages={"total_items": "212"}, _embedded={"errors": [1, 2], "media": [{"id": "a"}]}))
    page = client.search(TOKEN, page=1, filters=Filters())
    assert [medium.media_id for medium in page.media] == ["a"]
    assert page.total_items == 212
    assert page.errors == 2


@pytest.mark.scenario(36)
@pytest.mark.parametrize(
    "changed",
    [
        {"_pages": None},
        {"_pages": []},
        {"_pages": {}},
        {"_pages": {"total_items": None}},
        {"_pages": {"total_items": -1}},
        {"_pages": {"total_items": True}},
        {"_pages": {"total_items": "many"}},
        {"_pages": {"total_items": float("nan")}},
        {"_pages": {"total_items": float("inf")}},
        {"_embedded": None},
        {"_embedded": [1]},
        {"_embedded": {}},
        {"_embedded": {"media": None}},
        {"_embedded": {"media": {"a": 1}}},
        {"_embedded": {"media": ["a"]}},
        {"_embedded": {"media": [{"id": "a"}, None]}},
        {"_embedded": {"media": [{"id": ""}]}},
        {"_embedded": {"media": [{"id": 5}]}},
        {"_embedded": {"media": [{"filename": "GX010001.MP4"}]}},
    ],
)
def test_a_listing_of_another_shape_is_no_empty_library(
    client: GoProClient, server: Server, changed: dict[str, Any]
) -> None:
    server.answer(listing(**changed))
    with pytest.raises(UnexpectedAnswer):
        client.search(TOKEN, page=1, filters=Filters())


@pytest.mark.parametrize(("errors", "counted"), [(None, 0), ([], 0), ({}, 0), ("broken", 1), ({"a": 1}, 1), (3, 1)])
def test_errors_within_a_listing_are_counted_whatever_form_they_have(
    client: GoProClient, server: Server, errors: object, counted: int
) -> None:
    server.answer(listing(_embedded={"errors": errors, "media": []}))
    assert client.search(TOKEN, page=1, filters=Filters()).errors == counted


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
ROW = [
    "id",
    "type",
    "filename",
    "captured_at",
    "created_at",
    "file_size",
    "item_count",
    "ready_to_view",
    "camera_model",
]


@given(st.dictionaries(st.sampled_from(ROW), json_values | st.text(st.characters(codec="utf-8") | st.just("\ud800"))))
def test_a_row_is_a_medium_or_told_to_be_none_whatever_is_in_it(row: dict[str, Any]) -> None:
    try:
        medium = read_medium(row)
    except UnexpectedAnswer:
        assert not isinstance(row.get("id"), str) or not row["id"]
        return
    assert medium.item_count >= 1
    assert medium.size is None or medium.size >= 0
    assert json.dumps([medium.media_id, medium.filename, medium.camera], ensure_ascii=False).encode()


def test_a_row_as_gopro_sends_it_is_read() -> None:
    row = {
        "id": "6a9300000000000000000001",
        "type": "Video",
        "filename": "GX010123.MP4",
        "file_size": "4012345678",
        "item_count": 3,
        "captured_at": None,
        "created_at": "2026-01-31T02:00:00Z",
        "ready_to_view": "ready",
        "camera_model": "HERO13 Black",
        "source_duration": "61234",
    }
    assert read_medium(row) == ListedMedium(
        media_id="6a9300000000000000000001",
        type="Video",
        filename="GX010123.MP4",
        captured_at="2026-01-31T02:00:00Z",
        size=4_012_345_678,
        item_count=3,
        state="ready",
        camera="HERO13 Black",
    )


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (5, 5),
        ("5", 5),
        (" 5 ", 5),
        (5.0, 5),
        (0, 0),
        (5.5, None),
        (-1, None),
        ("-1", None),
        ("\u00b2", None),
        ("\u0665", None),
        ("1" * 5000, None),
        (10**400, None),
        (True, None),
        (float("nan"), None),
        (float("-inf"), None),
        (None, None),
        ([5], None),
        ("", None),
    ],
)
def test_a_number_is_one_or_none(value: object, number: int | None) -> None:
    assert whole_number(value) == number


# ── Retry-After ──────────────────────────────────────────────────────────────────────────────────────────────────────

NOW = datetime(2026, 11, 23, 1, 0, 0, tzinfo=UTC)


@pytest.mark.scenario(14)
@pytest.mark.parametrize("form", ["seconds", "date"])
@pytest.mark.parametrize("status", [429, 503])
def test_what_gopro_asks_to_wait_comes_with_the_error(form: Any, status: int) -> None:
    with FakeGoProCloud() as cloud:
        cloud.arm(Answer(status=status, retry_after=40, retry_after_as=form))
        with pytest.raises((RateLimited, Unavailable)) as caught:
            client_of(cloud.url).user(cloud.tokens.paste(3600))
    assert caught.value.retry_after == pytest.approx(40, abs=2)


def test_a_429_without_retry_after_asks_for_nothing(client: GoProClient, server: Server) -> None:
    server.answer({}, status=429)
    with pytest.raises(RateLimited) as caught:
        client.user(TOKEN)
    assert caught.value.retry_after is None


# ── Where it goes ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.scenario(51)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed_so_nobody_else_is_shown_the_token(server: Server, status: int) -> None:
    other = Server()
    try:
        server.answer({}, status=status, Location=f"{other.url}/media/user")
        with suppress(UnexpectedAnswer):
            client_of(server.url).user(TOKEN)
        assert client_of(server.url).token({"password": "secret"}).status_code == status
    finally:
        other.stop()
    assert other.requests == []
    assert len(server.requests) == 2


@pytest.mark.scenario(51)
def test_a_redirect_into_the_machines_own_network_is_refused_by_not_being_followed() -> None:
    with FakeGoProCloud() as cloud:
        cloud.arm(Redirect(endpoint="api"))
        with pytest.raises(UnexpectedAnswer, match="302"):
            client_of(cloud.url).user(cloud.tokens.paste(3600))


@pytest.mark.parametrize(
    "url",
    [
        "http://api.gopro.com",
        "http://127.0.0.1:1",
        "https://127.0.0.1",
        "https://localhost",
        "https://169.254.169.254",
        "https://[::1]",
        "https://10.0.0.1",
        "https://user:secret@api.gopro.com",
        "https://",
        "api.gopro.com",
        "file:///etc/passwd",
        "https://[broken",
        "",
    ],
)
def test_the_api_is_a_name_over_https_unless_the_settings_allow_more(url: str) -> None:
    with pytest.raises(ForbiddenHost) as caught:
        GoProClient(url, hosts=AllowedHosts(["media-cdn-vod.gopro.com"]))
    assert "secret" not in told_by(caught.value)


@pytest.mark.parametrize("url", ["https://api.gopro.com", "https://api.gopro.com/", "HTTPS://API.GoPro.com"])
def test_the_apis_own_name_needs_no_allowance(url: str) -> None:
    GoProClient(url, hosts=AllowedHosts([]))


# ── What is never told ───────────────────────────────────────────────────────────────────────────────────────────────


def every_failure(server: Server) -> Iterator[tuple[GoProClient, Callable[[GoProClient], object]]]:
    """All sorts of failing calls, each with secrets in what it sends and in what it gets."""
    form = {"client_secret": "canary-secret", "password": "canary-password", "refresh_token": "canary-refresh"}
    calls: tuple[Callable[[GoProClient], object], ...] = (
        lambda client: client.user(TOKEN),
        lambda client: client.search(TOKEN, page=1, filters=Filters(types=("canary-filter",))),
        lambda client: client.download_listing(TOKEN, "m"),
        lambda client: client.token(form),
    )
    location = {"Location": "https://canary:canary@[canary?Signature=canary"}
    replies = [Reply(status, b'"canary-body"', JSON) for status in (200, 302, 400, 401, 403, 404, 406, 410, 429, 500)]
    replies += [
        Reply(200, b'{"canary": "https://cdn/?Signature=canary', JSON),
        Reply(200, b'{"_pages": "canary", "canary": 1}', JSON),
        Reply(200, b'{"_pages": {"total_items": 1}, "_embedded": {"media": [{"canary": "canary"}]}}', JSON),
        Reply(302, b"", location),
        Reply(200, b"{}", {"Content-Length": "500", "X-Canary": "canary"}),
    ]
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        for call in calls:
            yield client_of(f"http://127.0.0.1:{nobody.getsockname()[1]}"), call
            yield client_of("http://127.0.0.1:1"), lambda client: client.user("canary-token\n")
            for reply in replies:
                server.reply = reply
                yield client_of(server.url), call


@pytest.mark.scenario(56)
def test_no_error_nor_any_before_it_holds_a_token_a_password_or_a_url(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    errors: list[Exception] = []
    for client, call in every_failure(server):
        try:
            call(client)
        except (TransientError, PermanentError) as error:
            errors.append(error)
    assert len(errors) > 40
    for told in map(told_by, errors):
        assert not [
            part for part in ("canary", "Signature", "Bearer", "http://", "https://", "127.0.0.1") if part in told
        ]
    assert "canary" not in caplog.text


def test_a_session_that_ends_at_the_fake_is_refused() -> None:
    library = Library(media=(Medium(media_id="6a9300000000000000000001"),))
    with FakeGoProCloud(library) as cloud:
        client = client_of(cloud.url)
        token = client.token(
            {"grant_type": "password"}
            | {name: DEMO_CREDENTIALS[name] for name in ("client_id", "client_secret", "username", "password")}
        ).json()["access_token"]
        assert client.user(token)["total_count"] == 1
        assert client.search(token, page=1, filters=Filters()).total_items == 1
        assert client.download_listing(token, "6a9300000000000000000001")["_embedded"]["variations"]
        cloud.advance(90_000)
        with pytest.raises(SessionRefused):
            client.user(token)
