"""What a person pastes: finds the one token in it, and says what it was found in.

A browser shows the token as the cookie `gp_access_token`, which GoPro's API takes as a bearer token too. Browsers copy
a request in several forms. All of them hold the cookie or the header in readable text, so one search serves them once
their quoting is undone. Texts of errors never quote the input.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from ops.credentials.forms import FORMS, checked
from ops.errors import OperatorError

COOKIE = "gp_access_token"

_DOMAIN = "gopro.com"
_SHORTEST = 40  # GoPro's tokens have 500 characters and more; a word or an id has fewer than this
_TOKEN = r"[A-Za-z0-9._~+/=-]"  # noqa: S105  # RFC 6750's b68token and the dots of a JWE
_IN_COOKIE = re.compile(rf"(?<![\w-]){COOKIE}[\"']?\s*[=:,\t]\s*[\"']?((?:{_TOKEN}|%[0-9A-Fa-f]{{2}})*)(\S?)")
_IN_HEADER = re.compile(rf"\bbearer\s+({_TOKEN}+)(\S?)", re.IGNORECASE)
_OTHER_COOKIE = re.compile(r"(?:^|[;:,'\"\s])\s*([\w.-]+)=[^;\s]*(?=;|['\"\s]|$)")
_URL = re.compile(r"https?://[^\s\"'^<>\\]+")
_HOST_HEADER = re.compile(r"^\s*(?::authority|host)\s*:\s*(\S+)", re.IGNORECASE | re.MULTILINE)
_BARE = "a token"
_MARKS = tuple(
    (form, re.compile(mark, re.IGNORECASE | flags))
    for form, mark, flags in (
        ("a request copied for PowerShell", r"invoke-webrequest|websession|system\.net\.cookie", 0),
        ("a request copied as cURL (cmd)", r"\Acurl .*\^\"", re.DOTALL),
        ("a request copied as cURL (bash)", r"\Acurl ", 0),
        ("a request copied as fetch", r"\A(await )?fetch\(", 0),
        ("a Cookie header", r"\A(set-)?cookie\s*:.*\Z", 0),
        ("a file of cookies", r"^(#httponly_)?\.?[\w.-]+\t(true|false)\t", re.MULTILINE),
        ("a request's headers", r"^:?[a-z-]+:?\s*(:.*)?\n", re.MULTILINE),
        ("a Cookie header", r"=.*;|;.*=", 0),
    )
)
_SHORTENED = ("…", "...")
_MAX_BYTES = 200_000_000


@dataclass(frozen=True, kw_only=True)
class Pasted:
    """Credentials, and where they were found. `repr` shows no value."""

    form: str  # what was recognised, for a person to read: "a Cookie header"
    credentials: Mapping[str, str] = field(repr=False)  # as the credentials secret holds them
    dropped: str = ""  # what else was there and is not kept, such as "12 other cookies"


class NotRecognised(OperatorError):
    """The input holds no usable credentials."""


@dataclass(frozen=True)
class _Found:
    token: str = field(repr=False)
    whole: bool  # nothing that belongs to a value follows


def recognise(content: bytes) -> Pasted:
    """Find the credentials in what was pasted or read from a file.

    Raises `NotRecognised`, which says what the input seems to be and what to do.
    """
    text = _decoded(content).strip()
    if not text:
        raise NotRecognised("Nothing was pasted. Copy the value of the cookie gp_access_token, and paste it.")
    if text[0] in "{[":
        return _from_json(text)
    return _from_text(text)


def _decoded(content: bytes) -> str:
    if len(content) > _MAX_BYTES:
        raise NotRecognised("The input has more than 200 MB. Export only the requests to api.gopro.com.")
    utf16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))  # what PowerShell's `>` writes
    try:
        return content.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError:
        raise NotRecognised("The input is not text. Paste the token, or name a text or HAR file.") from None


def _from_json(text: str) -> Pasted:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise NotRecognised(
            "The input begins like JSON and is not whole. Export the HAR file again, or copy all of the text."
        ) from None
    match content:
        case {"log": {"entries": list(entries)}}:
            return _from_har(entries)
        case list(cookies):
            return _from_cookies(cookies)
        case {"cookies": list(cookies)}:
            return _from_cookies(cookies)
        case {**values} if len(values) == 1 and isinstance(values.get("access_token"), str):
            inner = _from_text(str(values["access_token"]).strip())
            return Pasted(form="JSON with an access token", credentials=inner.credentials, dropped=inner.dropped)
        case {**values}:
            credentials = checked(values, origin="The JSON")
            return Pasted(form="JSON with an OAuth client", credentials=credentials)
    raise NotRecognised(f"The input is JSON in none of the known forms. {FORMS}")


def _from_har(entries: Iterable[object]) -> Pasted:
    latest: tuple[str, _Found] | None = None
    requests = others = 0
    for entry in entries:
        match entry:
            case {"request": {"url": str(url), **request}, **more}:
                requests += 1
                if not _is_gopro(urlsplit(url).hostname):
                    others += 1
                    continue
                begun = str(more.get("startedDateTime", ""))
                for found in _of_har_request({str(name): value for name, value in request.items()}):
                    if found.token and (latest is None or begun >= latest[0]):
                        latest = begun, found
    if not requests:
        raise NotRecognised(
            "The HAR file holds no request. Reload GoPro's page with the network tab open, then export."
        )
    if latest is None:
        raise NotRecognised(
            f"The HAR file holds no session: {requests - others} of its {requests} requests went to GoPro, and none "
            "carries the cookie gp_access_token. Browsers leave cookies out by default: choose the export with "
            "sensitive data."
        )
    return _pasted(latest[1], form="a HAR file", dropped=_other(requests - 1, "request"))


def _of_har_request(request: Mapping[str, Any]) -> Iterator[_Found]:
    for name in ("headers", "cookies"):
        rows = request.get(name)
        for row in rows if isinstance(rows, list) else ():
            match row:
                case {"name": str(header), "value": str(value)} if header.lower() == COOKIE:
                    yield _Found(unquote(value), whole=True)
                case {"name": str(header), "value": str(value)} if header.lower() in ("cookie", "authorization"):
                    yield from _search(value)


def _from_cookies(cookies: Iterable[object]) -> Pasted:
    """Read the cookies that a browser's extension exports as a list of objects."""
    found: _Found | None = None
    others = 0
    for cookie in cookies:
        match cookie:
            case {"name": str(name), "value": str(value), **more} if name == COOKIE:
                if _is_gopro(str(more.get("domain", _DOMAIN)).lstrip(".")):
                    found = _Found(unquote(value), whole=True)
                    continue
        others += 1
    if found is None:
        raise NotRecognised("The list of cookies holds no gp_access_token of gopro.com. Sign in at gopro.com first.")
    return _pasted(found, form="a browser's list of cookies", dropped=_other(others, "cookie"))


def _from_text(text: str) -> Pasted:
    form, plain = _form_of(text), _unquoted(text)
    hosts = [urlsplit(url).hostname or "" for url in _URL.findall(plain)[:1]]
    hosts += [host.rsplit(":", 1)[0] if host.count(":") == 1 else host for host in _HOST_HEADER.findall(plain)]
    if form.startswith("a request") and hosts and not any(map(_is_gopro, hosts)):
        raise NotRecognised(
            f"This is {form}, and it goes to another site than GoPro. Copy a request to api.gopro.com in its place."
        )
    found = next((one for one in _search(plain) if one.token), None)
    if found is not None:
        kept = {COOKIE, "path", "domain", "expires", "max-age", "samesite"}
        cookies = {name.lower() for name in _OTHER_COOKIE.findall(plain)} - kept if "=" in plain else set()
        if form == _BARE:
            form = "the cookie gp_access_token" if COOKIE in plain else "a bearer token"
        return _pasted(found, form=form, dropped=_other(len(cookies), "cookie"))
    if form != _BARE:
        raise NotRecognised(
            f"This is {form}, and it holds no session: there is neither a cookie gp_access_token nor a header "
            "`Authorization: Bearer` in it. Sign in at gopro.com, reload the page, and copy a request to api.gopro.com."
        )
    bare = _strip_quotes(text)
    if re.search(r"\s", bare):
        raise NotRecognised(
            "This is neither a token nor anything that holds one. Copy the value of the cookie gp_access_token alone."
        )
    return _pasted(_Found(bare, whole=True), form=form)


def _form_of(text: str) -> str:
    return next((form for form, mark in _MARKS if mark.search(text)), _BARE)


def _unquoted(text: str) -> str:
    """Undo what shells add: cmd's carets, line continuations, backslashes before quotes."""
    if '^"' in text:
        text = re.sub(r"\^(.)", r"\1", text.replace("^\r\n", " ").replace("^\n", " "))
    text = re.sub(r"[\\`]\r?\n", " ", text)
    text = re.sub(r"\\u00([0-7][0-9A-Fa-f])", lambda found: chr(int(found[1], 16)), text)
    return text.replace('\\"', '"').replace("`", "")


def _search(text: str) -> Iterator[_Found]:
    for pattern in (_IN_COOKIE, _IN_HEADER):
        for match in pattern.finditer(text):
            yield _Found(unquote(match[1]), whole=match[2] in ("", ";", '"', "'", ",", ")", "\\"))


def _pasted(found: _Found, *, form: str, dropped: str = "") -> Pasted:
    token = found.token
    if not found.whole or any(mark in token for mark in _SHORTENED):
        raise NotRecognised(
            f"This is {form}, and its token is cut short or has characters that no token has. Browsers shorten what "
            "they show: use their copy function rather than the mouse."
        )
    if not re.fullmatch(f"{_TOKEN}+", token):
        raise NotRecognised(
            f"This is {form}, and what it holds is no token: GoPro's have letters, digits and dots only."
        )
    if len(token) < _SHORTEST:
        raise NotRecognised(
            f"This is {form}, and its token has only {len(token)} characters: GoPro's have 500 and more."
        )
    return Pasted(form=form, credentials={"access_token": token}, dropped=dropped)


def _strip_quotes(text: str) -> str:
    return text[1:-1].strip() if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'`" else text


def _is_gopro(host: str | None) -> bool:
    return host == _DOMAIN or (host or "").endswith(f".{_DOMAIN}")


def _other(count: int, noun: str) -> str:
    return f"{count} other {noun}{'' if count == 1 else 's'}" if count else ""
