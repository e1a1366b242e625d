"""Calls to GoPro's API, and what its answers mean.

Status codes and their meaning are as public clients have seen them; GoPro documents none of this.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import requests
from urllib3.util import SKIP_HEADER

from services.shared.errors import PermanentError, TransientError
from services.shared.events import Filters
from services.shared.gopro.hosts import AllowedHosts
from services.shared.gopro.media import FIELDS, ListedMedium, UnexpectedAnswer, read_medium, whole_number
from services.shared.retry_after import retry_after

# GoPro answers 406 without this header, and 410 once it has retired the version.
ACCEPT = "application/vnd.gopro.jk.media+json; version=2.0.0"
PAGE_SIZE = 200  # more is cut to this without a word
TIMEOUT_SECONDS = (10, 60)  # to connect, and between two reads
PACE_SECONDS = 0.1  # between two calls
_NOT_JSON = object()


class SessionRefused(TransientError):
    """The access token is dead. A new session mends it."""


class Blocked(TransientError):
    """GoPro's firewall turned the request away (403 with an HTML page); no token is to blame."""


class RateLimited(TransientError):
    """Too many requests (429)."""


class Unavailable(TransientError):
    """No connection, or an error on GoPro's side."""


class SourceGone(PermanentError):
    """The medium was deleted at GoPro, or lies in its trash."""


class ApiRetired(PermanentError):
    """GoPro no longer serves this version of its API."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """One page of the search."""

    media: tuple[ListedMedium, ...]
    total_items: int  # in the whole search
    errors: int  # entries of `_embedded.errors`


class GoProClient:
    """The API's endpoints. Every call takes the access token, so that no session is kept longer than it should."""

    def __init__(
        self,
        base_url: str,
        *,
        hosts: AllowedHosts,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`hosts` has to name the API's host only where that is a loopback one or plain http is spoken."""
        self._base_url = base_url.rstrip("/")
        hosts.check_api(self._base_url)
        self._http = requests.Session()
        self._http.trust_env = False  # a .netrc or a proxy of the environment must not see tokens
        self._http.headers.update({"Accept": ACCEPT, "User-Agent": SKIP_HEADER})
        self._monotonic = monotonic
        self._sleep = sleep
        self._next_call = 0.0

    def user(self, token: str) -> Mapping[str, Any]:
        """The account, with `total_count`, the number of media. The cheapest call that proves a session."""
        return self._get(token, "/media/user")

    def search(self, token: str, *, page: int, filters: Filters, page_size: int = PAGE_SIZE) -> Page:
        """One page of the library, newest upload first. Pages count from 1."""
        query = {"fields": FIELDS, "order_by": "created_at", "page": str(page), "per_page": str(page_size)}
        if filters.types:
            query["type"] = ",".join(filters.types)
        if filters.captured_from or filters.captured_until:
            # Half-open; a malformed one is answered with 500, so both ends are checked before they get here.
            query["captured_range"] = (
                f"{filters.captured_from or '1970-01-01T00:00:00Z'},{filters.captured_until or '9999-12-31T00:00:00Z'}"
            )
        answer = self._get(token, "/media/search", query)
        pages, embedded = answer.get("_pages"), answer.get("_embedded")
        total = whole_number(pages.get("total_items")) if isinstance(pages, dict) else None
        rows = embedded.get("media") if isinstance(embedded, dict) else None
        if total is None:
            raise UnexpectedAnswer("GoPro's listing lacks `_pages.total_items`: its API has changed")
        if not isinstance(embedded, dict) or not isinstance(rows, list):
            raise UnexpectedAnswer("GoPro's listing lacks `_embedded.media`: its API has changed")
        if not all(isinstance(row, dict) for row in rows):
            raise UnexpectedAnswer("GoPro's listing has a row that is no object: its API has changed")
        errors = embedded.get("errors") or []
        return Page(
            media=tuple(read_medium(row) for row in rows),
            total_items=total,
            errors=len(errors) if isinstance(errors, list) else 1,
        )

    def download_listing(self, token: str, media_id: str) -> Mapping[str, Any]:
        """Everything that can be downloaded of a medium, with freshly signed URLs: keep none of them.

        Raises `SourceGone` when GoPro no longer has the medium.
        """
        return self._get(token, f"/media/{quote(media_id, safe='')}/download")

    def token(self, form: Mapping[str, str]) -> requests.Response:
        """POST to the OAuth endpoint; what its answer means is the caller's to say.

        Raises `Unavailable` or `RateLimited`; its texts never hold the form.
        """
        return self._send("POST", "/v1/oauth2/token", data=form)

    def _get(self, token: str, path: str, query: Mapping[str, str] | None = None) -> Mapping[str, Any]:
        if not (token.isascii() and token.isprintable()):
            raise SessionRefused("the access token holds characters that no token has")
        response = self._send("GET", path, params=query, headers={"Authorization": f"Bearer {token}"})
        status = response.status_code
        if status == HTTPStatus.UNAUTHORIZED or (status == HTTPStatus.FORBIDDEN and _is_json(response)):
            raise SessionRefused(f"GoPro refused the session ({status}) at {path}")
        if status == HTTPStatus.FORBIDDEN:
            raise Blocked(f"GoPro's firewall blocked {path} (403)")
        if status == HTTPStatus.NOT_FOUND:
            raise SourceGone(f"GoPro has no {path} (404): deleted, or in the trash")
        if status in (HTTPStatus.NOT_ACCEPTABLE, HTTPStatus.GONE):
            raise ApiRetired(f"GoPro no longer serves this version of its API ({status} at {path})")
        if status != HTTPStatus.OK:
            raise UnexpectedAnswer(f"GoPro answered {path} with {status}")
        answer: Any = _NOT_JSON
        with suppress(ValueError, RecursionError):
            answer = response.json()
        if answer is _NOT_JSON:
            # Such as a page that tells of maintenance: a changed API would still speak JSON.
            raise Unavailable(f"GoPro answered {path} with something that isn't JSON")
        if not isinstance(answer, dict):
            raise UnexpectedAnswer(f"GoPro answered {path} with a {type(answer).__name__}, not an object")
        return answer

    def _send(self, method: str, path: str, **request: Any) -> requests.Response:
        wait = self._next_call - self._monotonic()
        if wait > 0:
            self._sleep(wait)
        self._next_call = self._monotonic() + PACE_SECONDS
        response: requests.Response | None = None
        try:
            response = self._http.request(
                method, self._base_url + path, timeout=TIMEOUT_SECONDS, allow_redirects=False, **request
            )
        # A ValueError is what becomes of a redirect to something that is no URL, though none is followed.
        except (requests.RequestException, ValueError) as error:
            kind = type(error).__name__
        finally:
            self._http.cookies.clear()
        if response is None:
            # Not raised above, where it would carry the first error with it: the texts of those hold whole URLs.
            raise Unavailable(f"no answer from GoPro at {path}: {kind}")
        status = response.status_code
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            raise RateLimited(f"GoPro asks to slow down (429 at {path})", retry_after=retry_after(response.headers))
        if status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY) or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise Unavailable(f"GoPro has trouble ({status} at {path})", retry_after=retry_after(response.headers))
        return response


def _is_json(response: requests.Response) -> bool:
    return "json" in response.headers.get("Content-Type", "").lower()
