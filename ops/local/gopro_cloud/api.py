"""GoPro's API: the token endpoint, and the media endpoints behind a session."""

import functools
import re
from collections.abc import Iterable
from datetime import datetime
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote

import msgspec

from ops.local.gopro_cloud import listing
from ops.local.gopro_cloud.exchange import Reply, Request, answered_otherwise, json_reply, slowed
from ops.local.gopro_cloud.faults import (
    CdnMoved,
    EndlessPages,
    Endpoint,
    Fault,
    FaultBook,
    LibraryChange,
    Occasion,
    RepeatItem,
    SessionsEnd,
    ShapeChange,
    ShortPage,
    SmallPages,
    StaleUrls,
    WrongTotal,
)
from ops.local.gopro_cloud.library import Catalogue, Medium
from ops.local.gopro_cloud.oauth import TokenOffice
from ops.local.gopro_cloud.observations import Seen
from ops.local.gopro_cloud.signing import URL_SECONDS, Signer

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


class Target(NamedTuple):
    """Which endpoint a request is for, and about which medium and file."""

    endpoint: Endpoint
    media_id: str | None = None
    label: str | None = None
    item: int | None = None


_ROUTES: tuple[tuple[Endpoint, str], ...] = (
    ("token", r"POST /v1/oauth2/token"),
    ("zip", r"GET /media/x/zip/source"),
    ("user", r"GET /media/user"),
    ("search", r"GET /media/search"),
    ("download", r"GET /media/(?P<media_id>[^/]+)/download"),
    ("change", r"(?!GET|HEAD)\w+ /media(/(?P<media_id>[^/]+).*)?"),
    ("login", r"(GET|POST) /(login(/code)?|media-library)"),
    ("cdn", r"\w+ /cdn/(?P<media_id>[^/]+)/(?P<label>\w+)/default/(?P<item>\d+)\.\w+"),
)


def target_of(method: str, path: str) -> Target:
    """Return what method and path ask for."""
    for endpoint, route in _ROUTES:
        if match := re.fullmatch(route, f"{method} {path}"):
            found = match.groupdict()
            media_id, item = found.get("media_id"), found.get("item")
            return Target(endpoint, unquote(media_id) if media_id else None, found.get("label"), int(item or 0) or None)
    return Target("unknown")


def refusal(status: int) -> Reply:
    """Return an error as the API words it."""
    if status == HTTPStatus.NOT_ACCEPTABLE:
        return Reply(status=status)
    error = HTTPStatus(status).phrase.lower().replace(" ", "_")
    return json_reply(status, {"error": error, "error_description": f"{error} ({status})"})


class Api:
    """Answers all requests but the CDN's."""

    def __init__(self, catalogue: Catalogue, tokens: TokenOffice, signer: Signer, faults: FaultBook) -> None:
        self._catalogue = catalogue
        self._tokens = tokens
        self._signer = signer
        self._faults = faults

    def answer(self, request: Request, target: Target, seen: Seen) -> Reply:
        """Answer one request; `seen` learns of its session."""
        page = _number(request.query.get("page"), 1)
        faults = self._faults.strike(Occasion(target.endpoint, request.method, target.media_id, page=page))
        if any(isinstance(fault, SessionsEnd) for fault in faults):
            self._tokens.revoke_access()
        seen.token_version, signed_in = self._tokens.judge(_token(request))
        reply = answered_otherwise(faults, request, refusal)
        if reply is None:
            version = _vendor_version(request)
            if target.endpoint == "token":
                reply = self._token(request, seen)
            elif target.endpoint == "unknown":
                reply = refusal(404)
            elif version is None:
                reply = refusal(406)
            elif version != VENDOR_VERSION:
                reply = refusal(410)
            elif not signed_in:
                reply = refusal(401)
            else:
                reply = self._media(request, target, faults)
        return slowed(reply, faults, self._faults)

    def _token(self, request: Request, seen: Seen) -> Reply:
        form = dict(parse_qsl(request.body.decode(errors="replace")))
        seen.grant = form.get("grant_type")
        grant = self._tokens.grant(form)
        seen.token_version = grant.token_version
        return json_reply(grant.status, grant.body, {"Cache-Control": "no-store"})

    def _media(self, request: Request, target: Target, faults: list[Fault]) -> Reply:
        for fault in faults:
            if isinstance(fault, LibraryChange):
                self._catalogue.add(msgspec.convert(form, Medium) for form in fault.add)
                self._catalogue.remove(fault.remove)
        body: dict[str, Any] | None
        match target.endpoint:
            case "user":
                body = self._user()
            case "search":
                body = self._search(request.query, faults)
            case "download":
                body = self._download(target, faults)
            case "zip":
                return Reply(status=200, headers={"Content-Type": "application/zip"})
            case _:  # deletions and the like: acknowledged and observed, but nothing ever changes
                body = {"_embedded": {"errors": []}}
        if body is None:
            return refusal(500 if target.endpoint == "search" else 404)
        for fault in faults:
            if isinstance(fault, ShapeChange):
                body = _reshaped(body, fault.path.split("."), fault)
        return json_reply(200, body)

    def _user(self) -> dict[str, Any]:
        media = self._catalogue.search()
        size = sum(medium.true_size for medium in media)
        return {"id": listing.USER_ID, "total_count": len(media), "total_storage": size}

    def _download(self, target: Target, faults: list[Fault]) -> dict[str, Any] | None:
        """Return the download listing; None when there is no such medium."""
        medium = self._catalogue.get(target.media_id)
        if medium is None or medium.gone:
            return None
        lifetime = next((-fault.seconds for fault in faults if isinstance(fault, StaleUrls)), URL_SECONDS)
        host = next((fault.host for fault in faults if isinstance(fault, CdnMoved)), "")
        return listing.download(medium, functools.partial(self._signer.sign, lifetime=lifetime, host=host))

    def _search(self, query: dict[str, str], faults: list[Fault]) -> dict[str, Any] | None:
        """Return a page of the listing; None for a malformed range, and where a row breaks the page."""
        types, states = _known(query.get("type"), TYPES), _known(query.get("processing_states"), STATES)
        try:
            captured, created, updated = (_range(query.get(f"{at}_range")) for at in ("captured", "created", "updated"))
        except ValueError:
            return None
        media = [
            medium
            for medium in self._catalogue.search("created" if query.get("order_by") == "created_at" else "captured")
            if (not types or medium.type in types)
            and (not states or medium.ready_to_view in states)
            and captured[0] <= medium.captured < captured[1]
            and created[0] <= medium.created < created[1]
            and updated[0] <= medium.created + listing.UPDATED_AFTER < updated[1]
        ]
        page = max(1, _number(query.get("page"), 1))
        cap = min([PER_PAGE_CAP, *(fault.per_page for fault in faults if isinstance(fault, SmallPages))])
        per_page = min(cap, max(1, _number(query.get("per_page"), PER_PAGE)))
        rows, pages = _page(media, page, per_page, faults)
        if any(medium.breaks_pages for medium in rows):
            return None
        found = [listing.row(medium, query.get("fields")) for medium in rows]
        return {"_pages": pages, "_embedded": {"errors": [], "media": found}}


def _page(media: list[Medium], page: int, per_page: int, faults: list[Fault]) -> tuple[list[Medium], dict[str, int]]:
    offset = (page - 1) * per_page
    rows = media[offset : offset + per_page]
    pages = listing.pages(page, per_page, len(media))
    for fault in faults:
        match fault:
            case EndlessPages():
                rows = [media[(offset + place) % len(media)] for place in range(per_page)]
                pages["total_pages"] = max(pages["total_pages"], page + 1)
            case WrongTotal():
                pages = listing.pages(page, per_page, max(0, len(media) + fault.delta))
            case RepeatItem() if rows:
                rows = [media[offset - 1], *(rows[1:] if fault.hides else rows)]
            case ShortPage():
                rows = rows[: fault.rows]
    return rows, pages


def _token(request: Request) -> str:
    """Return the access token that a request carries, as a bearer or as the browser's cookie; empty when none."""
    bearer = re.fullmatch(r"Bearer\s+(\S+)", request.header("Authorization") or "", re.IGNORECASE)
    cookie = re.search(r"\bgp_access_token=\"?([^;\s\"]+)", request.header("Cookie") or "")
    found = bearer or cookie
    return found[1] if found else ""


def _vendor_version(request: Request) -> str | None:
    """Return the version in the vendor's Accept header; None without such a header."""
    # Public clients send either type at all of the media endpoints.
    vendor = r"application/vnd\.gopro\.jk\.media(?:\.search)?\+json(?:;\s*version=([\w.]+))?"
    found = re.search(vendor, request.header("Accept") or "")
    return (found[1] or VENDOR_VERSION) if found else None


def _number(text: str | None, default: int) -> int:
    return int(text) if text and re.fullmatch(r"\d{1,9}", text) else default


def _known(text: str | None, known: Iterable[str]) -> set[str]:
    """Return the names that the API knows, and ignore the others; without a known name nothing is filtered."""
    return set((text or "").split(",")) & set(known)


def _range(text: str | None) -> tuple[float, float]:
    """Read a half-open range, in unix seconds; ValueError when it is malformed."""
    if text is None:
        return float("-inf"), float("inf")
    first, _, last = text.partition(",")
    start, end = datetime.fromisoformat(first), datetime.fromisoformat(last)
    if start.tzinfo is None or end.tzinfo is None:
        raise ValueError("a range needs its time zone")
    return start.timestamp(), end.timestamp()


def _reshaped(node: Any, path: list[str], fault: ShapeChange) -> Any:
    """Return the node with what `path` leads to set or removed."""
    name, rest = path[0], path[1:]
    if isinstance(node, list):
        items = list(enumerate(node))
        chosen = {str(place) for place, _ in items} if name == "*" else {name}
        if not rest and fault.remove:
            return [one for place, one in items if str(place) not in chosen]
        return [
            (_reshaped(one, rest, fault) if rest else fault.value) if str(place) in chosen else one
            for place, one in items
        ]
    if not rest and fault.remove:
        return {key: value for key, value in node.items() if key != name}
    return {**node, name: _reshaped(node[name], rest, fault) if rest else fault.value}
