"""GoPro's API: the media endpoints, and the OAuth ones before them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

from tests.gopro_cloud import listing
from tests.gopro_cloud.exchange import Reply, Request, answered_otherwise, html_reply, json_reply, slowed
from tests.gopro_cloud.faults import (
    EndlessPages,
    Endpoint,
    Fault,
    FaultBook,
    LibraryChange,
    Occasion,
    RepeatItem,
    ShapeChange,
    ShortPage,
    StaleUrls,
    WrongTotal,
)
from tests.gopro_cloud.library import Catalogue, Entry, Medium

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.gopro_cloud.oauth import TokenOffice
    from tests.gopro_cloud.observations import Seen
    from tests.gopro_cloud.signing import Signer

# Public clients send either at all of the media endpoints.
VENDOR_TYPES = frozenset({"application/vnd.gopro.jk.media+json", "application/vnd.gopro.jk.media.search+json"})
VENDOR_VERSION = "2.0.0"
PER_PAGE, PER_PAGE_CAP = 50, 200

TYPES = frozenset({
    "Photo", "Video", "TimeLapse", "TimeLapseVideo", "Burst", "BurstVideo", "Chaptered", "Continuous", "Livestream",
    "Looped", "LoopedVideo", "ExternalVideo", "Session", "Audio", "MultiClipEdit", "Edit",
})  # fmt: skip
STATES = frozenset({
    "ready", "uploading", "registered", "rendering", "pretranscoding", "transcoding", "stabilizing", "processing",
    "loading", "updating", "live", "failure", "unknown",
})  # fmt: skip
_ERRORS = {401: "unauthorized", 403: "forbidden", 404: "not_found", 410: "gone", 429: "too_many_requests"}


@dataclass(frozen=True)
class Target:
    """Which endpoint a request is for, and about which medium."""

    endpoint: Endpoint
    media_id: str | None = None


_ROUTES = (
    (r"\w+ /v1/oauth2/token", Endpoint.TOKEN),
    (r"\w+ /v1/oauth2/authorize", Endpoint.AUTHORIZE),
    (r"\w+ /media/x/zip/source", Endpoint.ZIP),
    (r"(?!GET|HEAD)\w+ /media(/([^/]+).*)?", Endpoint.CHANGE),
    (r"\w+ /media/user", Endpoint.USER),
    (r"\w+ /media/search", Endpoint.SEARCH),
    (r"\w+ /media/items", Endpoint.ITEMS),
    (r"\w+ /media(/([^/]+))", Endpoint.MEDIUM),
    (r"\w+ /media(/([^/]+))/download", Endpoint.DOWNLOAD),
    (r"\w+ /media(/([^/]+))/moments", Endpoint.MOMENTS),
)


def target_of(method: str, path: str) -> Target:
    """What method and path ask for."""
    for route, endpoint in _ROUTES:
        if found := re.fullmatch(route, f"{method} {path}"):
            media_id = found[2] if found.re.groups else None
            return Target(endpoint, unquote(media_id) if media_id else None)
    return Target(Endpoint.UNKNOWN)


def refusal(status: int) -> Reply:
    """An error as the API words it."""
    if status == 406:
        return Reply(status=406)
    error = _ERRORS.get(status, "server_error")
    return json_reply(status, {"error": error, "error_description": f"{error} ({status})"})


def token_of(request: Request) -> str | None:
    """The access token a request carries, as a bearer or as the browser's cookie."""
    scheme, _, token = (request.header("Authorization") or "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token.strip()
    try:
        cookie = SimpleCookie(request.header("Cookie") or "").get("gp_access_token")
    except CookieError:
        return None
    return cookie.value if cookie else None


def vendor_accept(request: Request) -> str | None:
    """The version that the vendor's Accept header names (empty: none), or None when it isn't that header."""
    for accepted in (request.header("Accept") or "").split(","):
        kind, *parameters = (part.strip() for part in accepted.split(";"))
        if kind in VENDOR_TYPES:
            version = re.search(r"version=([\w.]+)", ";".join(parameters))
            return version[1] if version else ""
    return None


class Api:
    """Answers everything that isn't the CDN's."""

    def __init__(
        self,
        catalogue: Catalogue,
        tokens: TokenOffice,
        signer: Signer,
        faults: FaultBook,
        *,
        base_url: Callable[[], str],
        url_lifetime: Callable[[], float],
    ) -> None:
        self._catalogue = catalogue
        self._tokens = tokens
        self._signer = signer
        self._faults = faults
        self._base_url = base_url
        self._url_lifetime = url_lifetime

    def answer(self, request: Request, target: Target, seen: Seen, struck_by: Callable[[list[Fault]], None]) -> Reply:
        """Answer one request; `seen` learns of its session, `struck_by` is told the faults that struck."""
        token = token_of(request)
        version, good = self._tokens.judge(token) if token else (None, False)
        seen.token_version = version
        accept = vendor_accept(request)
        seen.vendor_accept = accept is not None
        struck = self._faults.strike(
            Occasion(
                endpoint=target.endpoint,
                method=request.method,
                media_id=target.media_id,
                page=_number(request.query.get("page"), 1),
            )
        )
        struck_by(struck)
        reply = answered_otherwise(struck, request, refusal)
        if reply is None:
            if target.endpoint is Endpoint.TOKEN:
                reply = self._token(request, seen)
            elif target.endpoint is Endpoint.AUTHORIZE:
                reply = html_reply(403)
            elif target.endpoint is Endpoint.UNKNOWN:
                reply = refusal(404)
            elif accept is None:
                reply = refusal(406)
            elif accept not in ("", VENDOR_VERSION):
                reply = refusal(410)
            elif not good:
                reply = refusal(401)
            else:
                reply = self._media(request, target, struck)
            reply = _reshaped(reply, struck)
        return slowed(reply, struck)

    def _token(self, request: Request, seen: Seen) -> Reply:
        if request.method != "POST":
            return refusal(404)
        text = request.body.decode(errors="replace")
        if "json" in (request.header("Content-Type") or ""):
            try:
                read = json.loads(text)
            except ValueError:
                read = {}
            form = {str(key): str(value) for key, value in read.items()} if isinstance(read, dict) else {}
        else:
            form = dict(parse_qsl(text))
        seen.grant = form.get("grant_type")
        grant = self._tokens.grant(form)
        seen.token_version = grant.token_version
        return json_reply(grant.status, grant.body, {"Cache-Control": "no-store"})

    def _media(self, request: Request, target: Target, struck: list[Fault]) -> Reply:
        for fault in struck:
            if isinstance(fault, LibraryChange):
                self._catalogue.add(Medium.from_json(form) for form in fault.add)
                self._catalogue.remove(fault.remove)
        match target.endpoint:
            case Endpoint.USER:
                return self._user()
            case Endpoint.SEARCH:
                return self._search(request, struck)
            case Endpoint.MEDIUM | Endpoint.DOWNLOAD | Endpoint.MOMENTS:
                return self._of_medium(target, struck)
        return _EMPTY_ANSWERS[target.endpoint]()

    def _user(self) -> Reply:
        total = len(self._catalogue.search())
        body = {"id": listing.USER_ID, "total_count": total, "total_storage": self._catalogue.storage()}
        return json_reply(200, {**body, "storage_limit": None, "trash_count": 0})

    def _of_medium(self, target: Target, struck: list[Fault]) -> Reply:
        medium = self._catalogue.get(target.media_id or "")
        if medium is None or medium.gone:
            return refusal(404)
        if target.endpoint is Endpoint.MEDIUM:
            return json_reply(200, listing.row(medium))
        if target.endpoint is Endpoint.MOMENTS:
            moments = [{"time": time} for time in medium.moments]
            return json_reply(200, {"_embedded": {"errors": [], "moments": moments}})
        stale = next((fault.seconds for fault in struck if isinstance(fault, StaleUrls)), None)
        lifetime = self._url_lifetime() if stale is None else -float(stale)

        def sign(path: str, filename: str, method: str) -> str:
            return self._base_url() + self._signer.sign(path, filename, method=method, lifetime=lifetime)

        return json_reply(200, listing.download(medium, sign))

    def _search(self, request: Request, struck: list[Fault]) -> Reply:
        query = request.query
        try:
            captured = _range(query.get("captured_range"))
            created = _range(query.get("created_range"))
            updated = _range(query.get("updated_range"))
        except ValueError:
            return refusal(500)
        if updated is not None:
            moved = (updated[0] - listing.UPDATED_AFTER, updated[1] - listing.UPDATED_AFTER)
            created = moved if created is None else (max(created[0], moved[0]), min(created[1], moved[1]))
        entries = self._catalogue.search(
            types=_known(query.get("type"), TYPES),
            states=_known(query.get("processing_states"), STATES),
            captured=captured,
            created=created,
            by_created=query.get("order_by") == "created_at",
        )
        page = max(1, _number(query.get("page"), 1))
        per_page = min(PER_PAGE_CAP, max(1, _number(query.get("per_page"), PER_PAGE)))
        rows, told = _page(entries, page, per_page, struck)
        names = [name.strip() for name in query["fields"].split(",")] if query.get("fields") else None
        media = [listing.row(entry.medium(), names) for entry in rows]
        return json_reply(200, {"_pages": told, "_embedded": {"errors": [], "media": media}})


_EMPTY_ANSWERS: dict[Endpoint, Callable[[], Reply]] = {
    Endpoint.ITEMS: lambda: json_reply(200, {"items": [], "_pages": listing.pages(1, PER_PAGE, 0)}),
    Endpoint.ZIP: lambda: Reply(status=200, headers={"Content-Type": "application/zip"}),
    # Acknowledged and observed; nothing ever changes by it.
    Endpoint.CHANGE: lambda: json_reply(200, {"_embedded": {"errors": []}}),
}


def _page(entries: list[Entry], page: int, per_page: int, struck: list[Fault]) -> tuple[list[Entry], dict[str, int]]:
    offset = (page - 1) * per_page
    total = len(entries)
    rows = entries[offset : offset + per_page]
    told = listing.pages(page, per_page, total)
    for fault in struck:
        match fault:
            case EndlessPages() if total:
                rows = [entries[(offset + place) % total] for place in range(per_page)]
                told["total_pages"] = max(told["total_pages"], page + 1)
            case WrongTotal():
                told = listing.pages(page, per_page, max(0, total + fault.delta))
            case RepeatItem() if rows:
                rows = [entries[offset - 1], *(rows[1:] if fault.hides else rows)]
            case ShortPage():
                rows = rows[: fault.rows]
    return rows, told


def _number(text: str | None, default: int) -> int:
    return int(text) if text and re.fullmatch(r"\d{1,9}", text) else default


def _known(text: str | None, known: frozenset[str]) -> frozenset[str] | None:
    """The names that the API knows; None, which filters nothing, when it knows none of them."""
    return frozenset((text or "").split(",")) & known or None


def _range(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    first, _, last = text.partition(",")
    start, end = datetime.fromisoformat(first), datetime.fromisoformat(last)
    if start.tzinfo is None or end.tzinfo is None:
        raise ValueError("a range needs its time zone")
    return start.timestamp(), end.timestamp()


def _reshaped(reply: Reply, struck: list[Fault]) -> Reply:
    for fault in struck:
        if isinstance(fault, ShapeChange) and reply.body:
            body = json.loads(reply.body)
            reply.body = json.dumps(_reshape(body, fault.path.split("."), fault)).encode()
    return reply


def _reshape(node: Any, path: list[str], fault: ShapeChange) -> Any:
    """The node with what `path` leads to set or removed; a path that leads nowhere changes nothing."""
    if not path or path == [""]:
        return fault.value
    name, rest = path[0], path[1:]
    if isinstance(node, list):
        places = range(len(node)) if name == "*" else [int(name)] if name.isdigit() and int(name) < len(node) else []
        if not rest and fault.remove:
            return [entry for place, entry in enumerate(node) if place not in places]
        return [_reshape(entry, rest, fault) if place in places else entry for place, entry in enumerate(node)]
    if isinstance(node, dict) and (name in node or (not rest and not fault.remove)):
        if not rest and fault.remove:
            return {key: value for key, value in node.items() if key != name}
        return {**node, name: _reshape(node.get(name), rest, fault)}
    return node
