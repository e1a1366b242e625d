"""Every form in which people paste a session is recognised, or refused with a reason; no text shows a secret."""

import json
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.credentials.pasted import recognise
from ops.errors import OperatorError

TOKEN = "eyJhbGciOiJSU0EtT0FFUCJ9." + ".".join(part * 30 for part in ("aB3_", "xY-9", "Q0q1", "zZ_-"))
OTHER = "eyJhbGciOiJub25lIn0." + "n0tThis0ne" * 12

COOKIES = f"_ga=GA1.2.3; session=abc; gp_access_token={TOKEN}; gp_user_id=0123; sp=x%3D1"
BASH = (
    "curl 'https://api.gopro.com/media/search?page=1&per_page=30' \\\n  -H 'accept: application/json' \\\n"
    f"  -H 'accept-language: en' \\\n  -b '{COOKIES}' \\\n  -H 'user-agent: Mozilla/5.0' --compressed"
)
CMD = (
    'curl ^"https://api.gopro.com/media/search?page=1^&per_page=30^" ^\r\n  -H ^"accept: application/json^" ^\r\n'
    f'  -b ^"_ga=GA1.2.3; gp_access_token={TOKEN}; sp=x^%^3D1^" ^\r\n  -H ^"user-agent: Mozilla/5.0^"'
)
POWERSHELL = (
    "$session = New-Object Microsoft.PowerShell.Commands.WebRequestSession\r\n"
    '$session.Cookies.Add((New-Object System.Net.Cookie("_ga", "GA1.2.3", "/", ".gopro.com")))\r\n'
    f'$session.Cookies.Add((New-Object System.Net.Cookie("gp_access_token", "{TOKEN}", "/", ".gopro.com")))\r\n'
    'Invoke-WebRequest -UseBasicParsing -Uri "https://api.gopro.com/media/search" -WebSession $session `\r\n'
    '-Headers @{\r\n"authority"="api.gopro.com"\r\n  "accept"="*/*"\r\n}'
)
HEADERS = (
    f":authority: api.gopro.com\n:method: GET\n:path: /media/user\n:scheme: https\naccept: */*\ncookie: {COOKIES}\n"
    "user-agent: Mozilla/5.0"
)


def har(*requests: dict[str, object]) -> bytes:
    return json.dumps({"log": {"version": "1.2", "entries": list(requests)}}).encode()


def entry(host: str, cookie: str = "", *, at: str = "2026-11-27T08:00:00Z", **more: object) -> dict[str, object]:
    headers = [{"name": "Accept", "value": "*/*"}, *([{"name": "Cookie", "value": cookie}] if cookie else [])]
    return {"startedDateTime": at, "request": {"url": f"https://{host}/media/user", "headers": headers, **more}}


GOOD: dict[str, tuple[str | bytes, str]] = {
    "a bare token": (TOKEN, "a token"),
    "in double quotes": (f'"{TOKEN}"', "a token"),
    "in single quotes, with line ends": (f"\r\n'{TOKEN}'\r\n", "a token"),
    "with a byte order mark": (b"\xef\xbb\xbf" + TOKEN.encode(), "a token"),
    "written by PowerShell in UTF-16": (TOKEN.encode("utf-16"), "a token"),
    "a bearer token": (f"Bearer {TOKEN}", "a bearer token"),
    "in lower case": (f"bearer  {TOKEN}\n", "a bearer token"),
    "an Authorization header": (f"Authorization: Bearer {TOKEN}", "a bearer token"),
    "the cookie alone": (f"gp_access_token={TOKEN}", "the cookie gp_access_token"),
    "the cookie with spaces": (f"gp_access_token = {TOKEN}", "the cookie gp_access_token"),
    "a cookie as YAML": (f"gp_access_token: '{TOKEN}'", "the cookie gp_access_token"),
    "cookies": (COOKIES, "a Cookie header"),
    "a Cookie header": (f"Cookie: {COOKIES}", "a Cookie header"),
    "a Cookie header that ends with it": (f"cookie: a=b; gp_access_token={TOKEN}", "a Cookie header"),
    "a Set-Cookie header": (
        f"Set-Cookie: gp_access_token={TOKEN}; Path=/; Domain=.gopro.com; HttpOnly",
        "a Cookie header",
    ),
    "a value that is percent-encoded": (f"Cookie: gp_access_token={TOKEN.replace('.', '%2E')}", "a Cookie header"),
    "cURL for bash": (BASH, "a request copied as cURL (bash)"),
    "cURL for bash, with a cookie header": (BASH.replace("-b '", "-H 'cookie: "), "a request copied as cURL (bash)"),
    "cURL for bash, quotes inside": (BASH.replace("-b '_ga", "-b $'n=\\'x\\'; _ga"), "a request copied as cURL (bash)"),
    "cURL for bash, a bearer header": (
        f"curl https://api.gopro.com/media/user -H 'Authorization: Bearer {TOKEN}'",
        "a request copied as cURL (bash)",
    ),
    "cURL for bash, Windows line ends": (BASH.replace("\n", "\r\n"), "a request copied as cURL (bash)"),
    "cURL for cmd": (CMD, "a request copied as cURL (cmd)"),
    "PowerShell": (POWERSHELL, "a request copied for PowerShell"),
    "fetch": (
        f'fetch("https://api.gopro.com/media/user", {{"headers": {{"authorization": "Bearer {TOKEN}"}}}});',
        "a request copied as fetch",
    ),
    "headers with HTTP/2's pseudo headers": (HEADERS, "a request's headers"),
    "headers with names and values on lines of their own": (
        f":authority\napi.gopro.com\naccept\n*/*\ncookie\n{COOKIES}\n",
        "a request's headers",
    ),
    "a file of cookies": (
        (f"# Netscape HTTP Cookie File\n.gopro.com\tTRUE\t/\tTRUE\t1790000000\t_ga\tGA1\n"
        f"#HttpOnly_.gopro.com\tTRUE\t/\tTRUE\t1790000000\tgp_access_token\t{TOKEN}\n"),
        "a file of cookies",
    ),
    "an extension's list of cookies": (
        json.dumps([
            {"domain": ".example.com", "name": "gp_access_token", "value": OTHER},
            {"domain": ".gopro.com", "name": "gp_access_token", "value": TOKEN},
        ]),
        "a browser's list of cookies",
    ),
    "a HAR file": (har(entry("api.gopro.com", COOKIES)), "a HAR file"),
    "a HAR file with cookies apart": (
        har(entry("api.gopro.com", cookies=[{"name": "gp_access_token", "value": TOKEN}])),
        "a HAR file",
    ),
    "a HAR file, the latest of two": (
        har(
            entry("api.gopro.com", COOKIES, at="2026-11-27T09:00:00Z"),
            entry("api.gopro.com", f"gp_access_token={OTHER}", at="2026-11-27T08:00:00Z"),
        ),
        "a HAR file",
    ),
    "a HAR file with other sites' cookies": (
        har(entry("api.gopro.com", COOKIES), entry("evil-gopro.com", f"gp_access_token={OTHER}", at="2027")),
        "a HAR file",
    ),
    "JSON": (json.dumps({"access_token": TOKEN}), "JSON with an access token"),
    "JSON around a bearer line": (json.dumps({"access_token": f"Bearer {TOKEN}"}), "JSON with an access token"),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_the_token_alone_is_kept(name: str) -> None:
    given_, form = GOOD[name]
    found = recognise(given_ if isinstance(given_, bytes) else given_.encode())
    assert found.credentials == {"access_token": TOKEN}
    assert found.form == form
    assert TOKEN not in repr(found)


def test_what_is_dropped_is_counted() -> None:
    assert recognise(f"Cookie: {COOKIES}".encode()).dropped == "4 other cookies"
    assert recognise(har(entry("api.gopro.com", COOKIES), entry("gopro.com"), entry("x.example"))).dropped == (
        "2 other requests"
    )


@pytest.mark.parametrize(
    "credentials",
    [
        {"client_id": "c", "client_secret": "s", "refresh_token": "r"},
        {"client_id": "c", "client_secret": "s", "username": "u", "password": "p"},
    ],
)
def test_an_oauth_client_is_kept_as_it_is(credentials: dict[str, str]) -> None:
    found = recognise(json.dumps(credentials).encode())
    assert (found.credentials, found.form) == (credentials, "JSON with an OAuth client")


BAD: dict[str, tuple[str | bytes, str]] = {
    "nothing": ("  \n", "Nothing was pasted"),
    "words": ("my password is swordfish", "neither a token"),
    "a word": ("swordfish", "only 9 characters"),
    "a shortened token": (f"{TOKEN[:60]}…", "cut short"),
    "a shortened cookie": (f"Cookie: a=b; gp_access_token={TOKEN[:60]}…; c=d", "cut short"),
    "dots in the middle": (f"gp_access_token={TOKEN[:60]}...", "cut short"),
    "an empty cookie": ("Cookie: a=b; gp_access_token=; c=d", "holds no session"),
    "cookies of another name": (f"Cookie: my_gp_access_token={TOKEN}; a=b", "holds no session"),
    "a request to another site": (BASH.replace("api.gopro.com", "api.example.com"), "another site"),
    "a request to a site that looks alike": (BASH.replace("api.gopro.com", "api.gopro.com.example"), "another site"),
    "headers of another site": (HEADERS.replace("api.gopro.com", "example.com"), "another site"),
    "a request without a session": (BASH.replace("gp_access_token", "gone"), "holds no session"),
    "a HAR file without cookies": (har(entry("api.gopro.com")), "with sensitive data"),
    "a HAR file of another site": (har(entry("example.com", COOKIES)), "0 of its 1 requests"),
    "an empty HAR file": (har(), "holds no request"),
    "half a HAR file": (har(entry("api.gopro.com", COOKIES))[:-9], "not whole"),
    "a list of other cookies": (json.dumps([{"name": "a", "value": "b"}]), "no gp_access_token"),
    "JSON of another form": (json.dumps({"token": TOKEN}), "unknown keys: token"),
    "JSON that is incomplete": (json.dumps({"client_id": "c"}), "incomplete"),
    "an image": (b"\x89PNG\r\n\x1a\n\xff\xd8", "not text"),
    "a URL": (f"https://gopro.com/login?next={'a' * 60}", "no token"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_holds_no_token_is_refused_with_the_reason(name: str) -> None:
    given_, why = BAD[name]
    with pytest.raises(OperatorError, match=why) as refused:
        recognise(given_ if isinstance(given_, bytes) else given_.encode())
    assert TOKEN[:40] not in str(refused.value)
    assert "swordfish" not in str(refused.value)


def test_a_har_file_of_20_megabytes_is_read() -> None:
    filler = {"content": {"text": "x" * 2_000_000}}
    content = har(*[{**entry("api.gopro.com"), "response": filler}] * 10, entry("api.gopro.com", COOKIES))
    assert len(content) > 20_000_000
    assert recognise(content).credentials == {"access_token": TOKEN}


def _shown(content: bytes) -> Iterator[str]:
    """Yield all that a person or a log could see of what comes of it."""
    error: BaseException | None = None
    try:
        yield repr(recognise(content))
    except OperatorError as refused:
        error = refused
    while error is not None:
        yield f"{error!r} {error}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


@given(
    name=st.sampled_from(sorted(GOOD)),
    cut=st.integers(0, 400),
    insert=st.text(max_size=5),
)
def test_no_error_shows_a_token_however_the_input_is_damaged(name: str, cut: int, insert: str) -> None:
    given_, _ = GOOD[name]
    text = (given_ if isinstance(given_, bytes) else given_.encode()).decode("utf-8", errors="replace")
    at = text.find(TOKEN[-100:]) if TOKEN[-100:] in text else len(text) // 2
    damaged = text[: max(0, at - cut)] + insert + text[max(0, at - cut + 1) :]
    shown = "".join(_shown(damaged.encode(errors="replace")))
    assert TOKEN[20:60] not in shown
    assert TOKEN[-40:] not in shown


@given(st.binary(max_size=200))
def test_anything_is_recognised_or_refused(content: bytes) -> None:
    with suppress(OperatorError):
        assert recognise(content).credentials
