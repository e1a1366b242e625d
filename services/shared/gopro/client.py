"""The endpoints of GoPro's API, and the meaning of its answers.

GoPro documents none of this. The status codes, the fields and their meaning are known from public clients. The only
reliable field of a medium is its id. Numbers are sometimes sent as strings.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal
from urllib.parse import quote

import requests
from urllib3.util import SKIP_HEADER

from services.shared.clock import Clock
from services.shared.errors import PermanentError, TransientError
from services.shared.events import Filters
from services.shared.gopro.hosts import AllowedHosts
from services.shared.gopro.words import is_about_account, own_words
from services.shared.retry import retry_after

# GoPro answers 406 without this header, and 410 once it has retired the version.
ACCEPT = "application/vnd.gopro.jk.media+json; version=2.0.0"
PAGE_SIZE = 200  # GoPro silently limits larger pages to this
TIMEOUT_SECONDS = (10, 60)  # to connect, and between two reads
PACE_SECONDS = 0.1  # between two calls
_DIGITS = 18  # no count or size has more, and Python refuses to read very long numbers
_NOT_JSON = object()
_REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.PAYMENT_REQUIRED)
_JSON_TYPES = {
    type(None): "null", bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "an array",
    dict: "an object",
}  # fmt: skip

Order = Literal["created_at", "captured_at"]

# The fields to request from the search: those that `read_medium` reads, out of about seventy.
FIELDS = (
    "id,type,filename,file_size,item_count,captured_at,created_at,reprocessed_at,ready_to_view,camera_model,"
    "available_labels"
)

READY = "ready"
FAILURE = "failure"  # GoPro could not process the medium

# The values of `type` that the search knows. It silently ignores any other, so a typo would select everything.
MEDIA_TYPES = frozenset({
    "Photo", "Video", "TimeLapse", "TimeLapseVideo", "Burst", "BurstVideo", "Chaptered", "Continuous", "Livestream",
    "Looped", "LoopedVideo", "ExternalVideo", "Session", "Audio", "MultiClipEdit", "Edit",
})  # fmt: skip


class SessionRefused(TransientError):
    """GoPro refuses the access token, so a new session is needed. `words`: the status, and what GoPro said."""

    def __init__(self, message: str, *, words: str = "") -> None:
        super().__init__(message)
        self.words = words


class AccountRefused(PermanentError):
    """GoPro refuses the account with any session, for example because it has no subscription."""

    def __init__(self, words: str) -> None:
        super().__init__(
            f"GoPro refuses the account ({words})",
            remedy="Log in at gopro.com, and check that the subscription is active.",
        )
        self.words = words


class Blocked(TransientError):
    """GoPro's firewall blocked the request: a 403 with an HTML page, with any token."""


class RateLimited(TransientError):
    """GoPro asks for fewer requests (429)."""


class Unavailable(TransientError):
    """GoPro gave no answer, or one that shows an error on its side."""


class NotServed(Unavailable):
    """This call fails, while GoPro serves others."""


class CallRefused(PermanentError):
    """GoPro refuses this call, while it accepts others with the same session."""

    def __init__(self, words: str) -> None:
        super().__init__(f"GoPro refuses this, while it answers other requests ({words})")


class SourceGone(PermanentError):
    """The medium was deleted at GoPro, or is in its trash."""


class ApiRetired(PermanentError):
    """GoPro no longer serves this version of its API."""


class UnexpectedAnswer(PermanentError):
    """GoPro gave an answer that this client cannot read: its API has changed."""


@dataclass(frozen=True, kw_only=True)
class ListedMedium:
    """A medium as a row of the search shows it."""

    media_id: str  # opaque
    type: str
    filename: str  # may be empty, and is not unique
    captured_at: str | None  # UTC, ISO 8601; wrong if the camera's clock was
    size: int | None  # bytes of all items together, sometimes overstated; None if unknown
    item_count: int | None  # its files, without RAW files; None if unknown
    state: str  # "ready", "failure", or a step of GoPro's processing; may be empty
    camera: str
    # A listing written by 0.1.0 does not have the fields below.
    reprocessed_at: str = ""  # UTC, ISO 8601; empty if never, or unknown
    labels: str = ""  # of all files at GoPro, renditions included; sorted, in a comma list
    created_at: str = ""  # when it was uploaded: UTC, ISO 8601; empty if unknown


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page of the search."""

    media: tuple[ListedMedium, ...]
    total_items: int  # in the whole search
    errors: int  # number of entries in `_embedded.errors`
    odd: tuple[str, ...] = ()  # for each unreadable row, why it cannot be read
    per_page: int | None = None  # the page size that GoPro served; None if it doesn't say

    @property
    def rows(self) -> int:
        """The number of rows, without repeated ones."""
        return len({medium.media_id for medium in self.media}) + len(self.odd)


class GoProClient:
    """The API's endpoints. Every call takes the access token, so that the client outlives any session.

    A call raises the errors above: those of the session, the account or the call, and those of an outage.
    """

    def __init__(self, base_url: str, *, hosts: AllowedHosts, clock: Clock) -> None:
        """`hosts` need not name the API's host, unless it is a loopback host or the URL is plain http."""
        self._base_url = base_url.rstrip("/")
        hosts.check_api(self._base_url)
        self._http = requests.Session()
        self._http.trust_env = False  # no .netrc and no proxy from the environment: they could see tokens
        self._http.headers.update({"Accept": ACCEPT, "User-Agent": SKIP_HEADER})
        self._clock = clock
        self._next_call = 0.0
        self._connected = False  # whether the last call had an answer, so that its connection is reused

    def user(self, token: str) -> Mapping[str, Any]:
        """Return the account, with `total_count`, its number of media. The cheapest call that proves a session."""
        return self._get(token, "/media/user")

    def search(
        self, token: str, *, page: int, filters: Filters, page_size: int = PAGE_SIZE, order: Order = "created_at"
    ) -> Page:
        """Return one page of the library, newest first by `order`. Pages count from 1.

        Raises `UnexpectedAnswer` when the answer does not have the shape of a listing.
        """
        query = {"fields": FIELDS, "order_by": order, "page": str(page), "per_page": str(page_size)}
        if filters.types:
            query["type"] = ",".join(filters.types)
        if filters.captured_from or filters.captured_until:
            # The range excludes its end. GoPro answers 500 to a malformed time, so the authenticator has checked both.
            query["captured_range"] = (
                f"{filters.captured_from or '1970-01-01T00:00:00Z'},{filters.captured_until or '9999-12-31T00:00:00Z'}"
            )
        try:
            answer = self._get(token, "/media/search", query)
        except SourceGone as gone:
            raise UnexpectedAnswer("GoPro's search is gone (404): its API has changed") from gone
        pages, embedded = answer.get("_pages"), answer.get("_embedded")
        pages = pages if isinstance(pages, dict) else {}
        total = whole_number(pages.get("total_items"))
        rows = embedded.get("media") if isinstance(embedded, dict) else None
        if total is None:
            raise UnexpectedAnswer("GoPro's listing lacks `_pages.total_items`: its API has changed")
        if not isinstance(embedded, dict) or not isinstance(rows, list):
            raise UnexpectedAnswer("GoPro's listing lacks `_embedded.media`: its API has changed")
        errors = embedded.get("errors") or []
        oddities = [oddity(row) for row in rows]
        return Page(
            media=tuple(read_medium(row) for row, odd in zip(rows, oddities, strict=True) if not odd),
            total_items=total,
            errors=len(errors) if isinstance(errors, list) else 1,
            odd=tuple(filter(None, oddities)),
            per_page=whole_number(pages.get("per_page")) or None,
        )

    def download_listing(self, token: str, media_id: str) -> Mapping[str, Any]:
        """Return all files of a medium, with freshly signed URLs. The URLs must not be stored.

        Raises `SourceGone` when GoPro no longer has the medium.
        """
        return self._get(token, f"/media/{quote(media_id, safe='')}/download")

    def token(self, form: Mapping[str, str]) -> requests.Response:
        """POST to the OAuth endpoint. Returns its answer, which the caller has to interpret.

        Raises `Unavailable` or `RateLimited`, whose texts never hold the form.
        """
        return self._send("POST", "/v1/oauth2/token", data=form)

    def _get(self, token: str, path: str, query: Mapping[str, str] | None = None) -> Mapping[str, Any]:
        if not (token.isascii() and token.isprintable()):
            raise SessionRefused("the access token has characters that no token has")
        response = self._send("GET", path, params=query, headers={"Authorization": f"Bearer {token}"})
        status = response.status_code
        if status in _REFUSED or (status == HTTPStatus.FORBIDDEN and _is_json(response)):
            answer = _json_of(response)
            said = own_words(None if answer is _NOT_JSON else answer, token=token)
            words = f"{status}: {said}" if said else str(status)
            if status == HTTPStatus.PAYMENT_REQUIRED or is_about_account(said):
                raise AccountRefused(words)
            raise SessionRefused(f"GoPro refused the session ({words}) at {path}", words=words)
        if status == HTTPStatus.FORBIDDEN:
            raise Blocked(f"GoPro's firewall blocked {path} (403)")
        if status == HTTPStatus.NOT_FOUND:
            raise SourceGone(f"GoPro has no {path} (404): deleted, or in the trash")
        if status in (HTTPStatus.NOT_ACCEPTABLE, HTTPStatus.GONE):
            raise ApiRetired(f"GoPro no longer serves this version of its API ({status} at {path})")
        if status != HTTPStatus.OK:
            raise UnexpectedAnswer(f"GoPro answered {path} with {status}")
        answer = _json_of(response)
        if answer is _NOT_JSON:
            # For example a maintenance page. A changed API would still answer in JSON.
            raise Unavailable(f"GoPro answered {path} with something that isn't JSON")
        if not isinstance(answer, dict):
            raise UnexpectedAnswer(f"GoPro answered {path} with a {type(answer).__name__}, not an object")
        return answer

    def _send(self, method: str, path: str, **request: Any) -> requests.Response:
        wait = self._next_call - self._clock.monotonic()
        if wait > 0:
            self._clock.sleep(wait)
        self._next_call = self._clock.monotonic() + PACE_SECONDS
        response, error = self._answer(method, path, request)
        if error == "ConnectionError" and method == "GET" and self._connected:
            # The connection of the last call may have died while the function was frozen.
            response, error = self._answer(method, path, request)
        self._connected = response is not None
        if response is None:
            # Raised outside of `except`: the first error, whose text holds the whole URL, must not be attached.
            raise Unavailable(f"no answer from GoPro at {path}: {error}")
        status = response.status_code
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            raise RateLimited(f"GoPro asks to slow down (429 at {path})", retry_after=retry_after(response.headers))
        if status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY) or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise Unavailable(f"GoPro has trouble ({status} at {path})", retry_after=retry_after(response.headers))
        return response

    def _answer(self, method: str, path: str, request: Mapping[str, Any]) -> tuple[requests.Response | None, str]:
        """Return GoPro's answer, or None and the name of the error."""
        try:
            return self._http.request(
                method, self._base_url + path, timeout=TIMEOUT_SECONDS, allow_redirects=False, **request
            ), ""
        # requests raises ValueError for a redirect to something that is not a URL, although it follows none.
        except (requests.RequestException, ValueError) as error:
            return None, type(error).__name__
        finally:
            self._http.cookies.clear()


def _json_of(response: requests.Response) -> Any:
    with suppress(ValueError, RecursionError):
        return response.json()
    return _NOT_JSON


def _is_json(response: requests.Response) -> bool:
    return "json" in response.headers.get("Content-Type", "").lower()


def oddity(row: object) -> str:
    """Return why a row of the search cannot be read; empty if it can. The text has none of the row's values."""
    if not isinstance(row, dict):
        return f"the row is {_JSON_TYPES[type(row)]}"
    if "id" not in row:
        return "the id is missing"
    if not isinstance(row["id"], str):
        return f"the id is {_JSON_TYPES[type(row['id'])]}"
    return "" if row["id"] else "the id is empty"


def read_medium(row: Mapping[str, Any]) -> ListedMedium:
    """Read a row of the search, for which `oddity` must be empty."""
    return ListedMedium(
        media_id=row["id"],
        type=text(row.get("type")),
        filename=text(row.get("filename")),
        captured_at=text(row.get("captured_at")) or text(row.get("created_at")) or None,
        size=whole_number(row.get("file_size")),
        item_count=whole_number(row.get("item_count")) or None,
        state=text(row.get("ready_to_view")),
        camera=text(row.get("camera_model")),
        reprocessed_at=text(row.get("reprocessed_at")),
        labels=_labels(row.get("available_labels")),
        created_at=text(row.get("created_at")),
    )


def _labels(value: object) -> str:
    labels = {text(label) for label in value} if isinstance(value, list) else set()
    return ",".join(sorted(label for label in labels if label and "," not in label))


def whole_number(value: object) -> int | None:
    """Return a count or size, which may be given as a string; None for anything else."""
    if isinstance(value, str) and len(value) <= _DIGITS and value.isascii() and value.strip().isdigit():
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 10**_DIGITS:
        return None
    return value


def text(value: object) -> str:
    """Return the text, with lone surrogates replaced, which JSON can hold and UTF-8 cannot; else an empty text."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else ""
