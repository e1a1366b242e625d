"""GoPro Cloud and its CDN, as the services' client and transfer engine see them: responses without sockets."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal
from urllib.parse import quote, urlsplit

import requests

from tools.simulator.effects import Effects
from tools.simulator.faults import PROCESS, Fault
from tools.simulator.virtual import SimulatorError

CANARY = "canary-"  # part of every secret, so that a leaked one is noticed anywhere

_API = (*PROCESS, Fault.RATE_LIMITED, Fault.SERVER_ERROR, Fault.SILENT, Fault.BLOCKED, Fault.SLOW)
_PAGE = (Fault.SHORT_PAGE, Fault.REPEATED_ROW)
_OPEN = (
    *PROCESS,
    Fault.CDN_BUSY,
    Fault.CDN_FAILED,
    Fault.CDN_SILENT,
    Fault.URL_EXPIRED,
    Fault.RANGE_IGNORED,
    Fault.WRONG_PAGE,
    Fault.SLOW,
)
_READ = (*PROCESS, Fault.TRUNCATED, Fault.STALLED)

Shape = Literal["single", "chaptered", "burst", "raw", "edit"]
EtagKind = Literal["parts", "plain", "none"]


@dataclass
class File:
    """One original, with all its past versions."""

    origin: str  # as the downloader names it: "source/default/1"
    number: int
    body: bytes
    etag: str
    versions: list[tuple[bytes, str]] = field(default_factory=list)
    trouble: Literal["", "404", "403", "page", "nothing"] = ""  # the CDN's answer to every request for it
    is_withheld: bool = False  # not offered

    def __post_init__(self) -> None:
        self.versions.append((self.body, self.etag))

    @property
    def is_raw(self) -> bool:
        return self.origin.startswith("raw_photo")

    def renew(self, medium: "Medium", size: int) -> None:
        """Put another version in its place."""
        self.body = content(medium.id, self.origin, size, len(self.versions))
        self.etag = etag_of(self.body, medium.etags)
        self.versions.append((self.body, self.etag))


@dataclass
class Medium:
    """A medium of the library."""

    id: str
    type: str
    filename: str
    captured_at: str
    created_at: str
    shape: Shape
    etags: EtagKind
    files: list[File]
    listed_size: int | None
    state: str = "ready"
    available: bool = True  # whether GoPro offers its originals
    seconds_per_byte: float = 0.01
    numbered: bool = True  # whether the listing numbers its entries
    # What is odd about it, from the field:
    place: str = "variations"  # where its originals are offered, unless it is a burst
    odd_row: Literal["", "null", "text", "no id", "number"] = ""
    breaks_pages: bool = False  # each page that would have its row is answered with 500
    refused: int = 0  # status of every call for it
    counted: bool = True  # whether its row has the number of its items
    sends_length: bool = True
    validators: Literal["", "weak", "by edge"] = ""
    reprocessed_at: str | None = None
    changed_at: float = 0.0  # when its row changed last; 0: never
    odd_since: float = 0.0  # since when something is odd about it

    @property
    def item_count(self) -> int:
        return sum(not file.is_raw for file in self.files)

    @property
    def offered(self) -> list[File]:
        return [file for file in self.files if not file.is_withheld]

    @property
    def labels(self) -> list[str]:
        return sorted({file.origin.split("/")[0] for file in self.offered} - {"files"} | {"high_res_proxy_mp4"})

    def has_had(self, body: bytes, etag: str, origin: str = "") -> bool:
        """Return whether one of its files, that of `origin` where given, has had these bytes with this ETag.

        One that is offered in an unusual place may be known by another origin, and validators of no use don't count.
        None is kept of a file that was replaced so often that its ETags seemed to contradict each other.
        """
        return any(
            body == version and (self.validators or etag in ("", of_version))
            for file in self.files
            if self.place != "variations" or origin in ("", file.origin)
            for version, of_version in file.versions
        )

    def add_file(self, origin: str, number: int, size: int) -> None:
        self.files.append(make_file(self.id, origin, number, size, 0, self.etags))


def make_file(medium_id: str, origin: str, number: int, size: int, version: int, etags: EtagKind) -> File:
    body = content(medium_id, origin, size, version)
    return File(origin, number, body, etag_of(body, etags))


def content(medium_id: str, origin: str, size: int, version: int) -> bytes:
    """Return the bytes of a version; no two versions are alike."""
    seed = f"{medium_id} {origin} {version}".encode()
    blocks = [hashlib.blake2b(seed, salt=n.to_bytes(4, "big")).digest() for n in range(-(-size // 64))]
    return b"".join(blocks)[:size]


def etag_of(body: bytes, kind: EtagKind) -> str:
    if kind == "none":
        return ""
    if kind == "plain":
        return hashlib.md5(body).hexdigest()
    parts = [body[start : start + 8] for start in range(0, len(body), 8)] or [b""]
    digest = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()
    return f"{digest}-{len(parts)}"


@dataclass
class Account:
    """The valid credentials and tokens."""

    client_id: str
    client_secret: str
    username: str
    password: str
    refresh_token: str
    lifetime: int
    rotates: bool
    password_works: bool = True
    access: dict[str, float] = field(default_factory=dict)  # expiry by token
    refresh_tokens_spent: set[str] = field(default_factory=set)
    issued: int = 0


class Response:
    """The parts of a response that the services read."""

    def __init__(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        self.status_code = status
        self.headers = {"Content-Type": "application/json", **(headers or {})}
        self._body = body

    @property
    def text(self) -> str:
        return self._body if isinstance(self._body, str) else json.dumps(self._body)

    def json(self) -> Any:
        if isinstance(self._body, str):
            raise requests.JSONDecodeError("not JSON", self._body, 0)
        return self._body


class GoPro:
    """The cloud of one account."""

    def __init__(
        self, account: Account, library: list[Medium], effects: Effects, *, cdn_host: str, url_seconds: float = 3600.0
    ) -> None:
        self.account = account
        self.effects = effects
        self.library = {medium.id: medium for medium in library}
        self.gone: dict[str, Medium] = {}
        self.outages: list[tuple[float, float]] = []
        self.history: list[tuple[float, dict[str, int]]] = []  # start of each state of the library: item counts by id
        self.grants: list[tuple[float, str]] = []  # the time and the access token of each login
        self.on_grant: list[Callable[[str], None]] = []
        self.on_use: list[Callable[[str], None]] = []  # called with each access token that is used
        self.on_open: list[Callable[[str], None]] = []  # called with the medium of each file that is opened
        self.on_password: list[Callable[[], None]] = []  # called on each attempt to log in with the password
        self.cdn_host = self.first_cdn_host = cdn_host
        # What is odd about the account, from the field:
        self.page_cap = 200
        self.failing_page = 0  # the number of a page that always fails, if it has more than a row
        self.refused = 0  # status of every call
        self.count_off = 0
        self.shared_seconds_per_byte = 0.0  # of all connections together
        self._shared_until = 0.0
        self._requests_answered = 0
        self._url_seconds = url_seconds
        self._signed: dict[str, tuple[Medium, File, float]] = {}
        self._signatures = 0
        self.remember()

    def ever(self) -> list[Medium]:
        """Return all present and past media."""
        return [*self.library.values(), *self.gone.values()]

    def known(self, medium_id: str) -> list[Medium]:
        """Return the present and past media with this id."""
        return [state[medium_id] for state in (self.library, self.gone) if medium_id in state]

    def remember(self) -> None:
        """Record the current state of the library."""
        self._newest_first = sorted(self.library.values(), key=lambda m: (m.created_at, m.id), reverse=True)
        self.history.append((self.effects.scheduler.now, {m.id: m.item_count for m in self.library.values()}))

    def is_good(self, token: str) -> bool:
        return self.account.access.get(token, 0.0) > self.effects.scheduler.now

    def revoke(self) -> None:
        """End all sessions."""
        self.account.access.clear()

    def request(self, method: str, url: str, **request: Any) -> Response:
        """Answer a call of the API."""
        path = urlsplit(url).path
        effects = self.effects
        effects.scheduler.wait(0.03 + 0.2 * effects.latency())
        fault = effects.faults.strike(_API, f"gopro.{method} {_plain(path)}", path)
        if fault is Fault.KILL_BEFORE:
            effects.kill(f"gopro.{method} {_plain(path)}", path, fault)
        if fault in (Fault.FREEZE, Fault.SLOW):
            effects.linger(f"gopro.{method}", path, fault, effects.faults.chance())
        if fault in (Fault.RATE_LIMITED, Fault.SERVER_ERROR, Fault.SILENT, Fault.BLOCKED):
            effects.trace.add(f"gopro.{method}", path, fault)
            return self._trouble(fault)
        if any(begin <= effects.scheduler.now < end for begin, end in self.outages):
            effects.trace.add(f"gopro.{method}", path, Fault.OUTAGE)
            effects.trace.reach("call during an outage")
            return Response(503, "Service Unavailable", {"Content-Type": "text/plain"})
        answer = self._answer(method, path, request)
        effects.trace.add(
            f"gopro.{method}", path, "" if answer.status_code == HTTPStatus.OK else str(answer.status_code)
        )
        if fault is Fault.KILL_AFTER:
            effects.kill(f"gopro.{method} {_plain(path)}", path, fault)
        return answer

    def _trouble(self, fault: Fault) -> Response:
        chance = self.effects.faults.chance()
        if fault is Fault.SILENT:
            self.effects.scheduler.wait(60 * chance.random())
            raise requests.ConnectionError("no answer")
        if fault is Fault.BLOCKED:
            return Response(403, "<html>Request blocked</html>", {"Content-Type": "text/html"})
        if fault is Fault.RATE_LIMITED:
            wait = chance.choice(("", "1", "20", "90"))
            return Response(429, {"error": "slow down"}, {"Retry-After": wait} if wait else {})
        return Response(chance.choice((500, 502, 503)), {"error": "trouble"})

    def _answer(self, method: str, path: str, request: Mapping[str, Any]) -> Response:
        if path == "/v1/oauth2/token":
            return self._token(request["data"])
        token = request["headers"]["Authorization"].removeprefix("Bearer ")
        for watch in self.on_use:
            watch(token)
        if refused := self._refused(token):
            return refused
        if path == "/media/user":
            return Response(200, {"id": "u", "total_count": len(self.library) + self.count_off})
        if path == "/media/search":
            return self._search(request["params"])
        _, _, medium_id, what = path.split("/")
        if what != "download":
            raise SimulatorError(f"the simulated GoPro has no {path}")
        return self._download_listing(medium_id)

    def _refused(self, token: str) -> Response | None:
        if not self.is_good(token):
            self.effects.trace.reach("session refused by GoPro")
            return Response(401, {"error": "invalid_token"})
        if self.refused:
            words = {"error": "subscription_required", "error_description": "An active subscription is required."}
            return Response(self.refused, words)
        return None

    def _token(self, form: Mapping[str, str]) -> Response:
        account = self.account
        for notify in self.on_password if form["grant_type"] == "password" else ():
            notify()
        if (form["client_id"], form["client_secret"]) != (account.client_id, account.client_secret):
            return Response(401, {"error": "invalid_client", "error_description": form["client_secret"]})
        if form["grant_type"] == "refresh_token":
            given = form["refresh_token"]
            if given in account.refresh_tokens_spent:
                self.effects.trace.reach("refresh token spent already")
                return Response(400, {"error": "invalid_grant", "error_description": f"token_blacklisted {given}"})
            if given != account.refresh_token:
                return Response(400, {"error": "invalid_grant"})
        elif (form["username"], form["password"]) != (account.username, account.password) or not account.password_works:
            return Response(401, {"error": "invalid_grant"})
        else:
            self.effects.trace.reach("login by password")
        account.issued += 1
        access = f"{CANARY}access-{account.issued}"
        account.access[access] = self.effects.scheduler.now + account.lifetime
        answer: dict[str, Any] = {"access_token": access, "token_type": "bearer", "expires_in": account.lifetime}
        if account.rotates or form["grant_type"] == "password":
            account.refresh_tokens_spent.add(account.refresh_token)
            account.refresh_token = answer["refresh_token"] = f"{CANARY}refresh-{account.issued}"
        for watch in self.on_grant:
            watch(access)
        self.grants.append((self.effects.scheduler.now, access))
        return Response(200, answer)

    def _search(self, query: Mapping[str, str]) -> Response:
        per_page, page = min(self.page_cap, int(query["per_page"])), int(query["page"])
        types = set(query["type"].split(",")) if "type" in query else None
        media = [medium for medium in self._newest_first if types is None or medium.type in types]
        if query.get("order_by") == "captured_at":
            media.sort(key=lambda medium: (medium.captured_at, medium.id), reverse=True)
        shown = media[(page - 1) * per_page : page * per_page]
        if any(medium.breaks_pages for medium in shown) or (page == self.failing_page and per_page > 1):
            return Response(500, {"error": "internal_server_error"})
        rows = [_row(medium) for medium in shown]
        fault = self.effects.faults.strike(_PAGE, "gopro.search page") if rows else None
        if fault:
            chance = self.effects.faults.chance()
            if fault is Fault.SHORT_PAGE:
                rows = rows[: chance.randint(0, len(rows) - 1)]
            else:
                rows[chance.randrange(len(rows))] = _row(chance.choice(media))
            self.effects.trace.add("gopro.search", f"page {page}", fault)
        total = {"current_page": page, "per_page": per_page, "total_items": len(media) + self.count_off}
        return Response(200, {"_pages": total, "_embedded": {"errors": [], "media": rows}})

    def _download_listing(self, medium_id: str) -> Response:
        if medium_id not in self.library:
            self.effects.trace.reach("medium gone at GoPro")
            return Response(404, {"error": "not found"})
        medium = self.library[medium_id]
        if medium.refused:
            return Response(medium.refused, {"error": "no_access", "error_description": "Not yours any more."})
        return Response(200, self._manifest(medium))

    def _manifest(self, medium: Medium) -> Mapping[str, Any]:
        def entry(file: File, label: str, **more: Any) -> dict[str, Any]:
            shown = {"label": label, "type": "mp4", "url": self._sign(medium, file), "available": medium.available}
            return shown | ({"item_number": file.number} if medium.numbered else {}) | more

        proxy = {"label": "high_res_proxy_mp4", "url": self._url(medium, "high_res_proxy_mp4/default/1", "")}
        originals = [file for file in medium.offered if not file.is_raw]
        places: dict[str, list[Any]] = {"files": [proxy], "variations": [proxy], "sprites": [], "sidecar_files": []}
        if medium.shape == "burst" and medium.item_count > 1:
            places["files"] = [entry(file, "") for file in originals]
            places["variations"] = [{"label": "source", "url": self._url(medium, "cover/default/1", "")}]
        elif medium.shape == "edit":
            places[medium.place] += [entry(file, "baked_source") for file in originals]
        else:
            places[medium.place] += [entry(file, "source") for file in originals]
            places["variations"].append({"label": "concat", "url": self._url(medium, "concat/default/1", "")})
        places["sidecar_files"] += [entry(file, "raw_photo") for file in medium.offered if file.is_raw]
        return {"filename": medium.filename, "_embedded": places}

    def _sign(self, medium: Medium, file: File) -> str:
        self._signatures += 1
        expires = self.effects.scheduler.now + self._url_seconds
        url = self._url(medium, file.origin, f"{CANARY}signature-{self._signatures}")
        self._signed[url] = (medium, file, expires)
        return url

    def _url(self, medium: Medium, origin: str, signature: str) -> str:
        quoted = (medium.filename or "unnamed").replace('"', '\\"')
        disposition = quote(f'attachment; filename="{quoted}"', safe="")
        query = f"Signature={signature}&response-content-disposition={disposition}"
        return f"https://{self.cdn_host}/{medium.id}/{origin}.mp4?{query}"

    def open(self, url: str, headers: Mapping[str, str], stall_seconds: float) -> "Body":
        """Answer a GET of the CDN. Raises `Lost` when the connection gets no answer."""
        effects = self.effects
        effects.scheduler.wait(0.02 + 0.1 * effects.latency())
        if url not in self._signed:
            raise SimulatorError("a URL of the CDN that no original has")
        medium, file, expires = self._signed[url]
        for watch in self.on_open:
            watch(medium.id)
        subject = f"{medium.id} {file.origin} {headers['Range']}"
        fault = effects.faults.strike(_OPEN, "cdn.open", subject)
        if fault in (Fault.KILL_BEFORE, Fault.KILL_AFTER):
            effects.kill("cdn.open", subject, fault)
        if fault in (Fault.FREEZE, Fault.SLOW):
            effects.linger("cdn.open", subject, fault, effects.faults.chance())
        if effects.scheduler.now >= expires:
            effects.trace.reach("signed URL ran out")
            fault = Fault.URL_EXPIRED
        answer = self._file_answer(medium, file, headers, fault)
        effects.trace.add("cdn.open", subject, str(answer.status) + (f" ({fault})" if fault else ""))
        answer.bind(self, subject, medium, stall_seconds)
        return answer

    def _file_answer(self, medium: Medium, file: File, headers: Mapping[str, str], fault: Fault | None) -> "Body":
        if fault is not None and (refused := self._refusal(fault)):
            return refused
        if medium.id not in self.library or file.trouble:
            return _trouble_of(file)
        body, quoted = file.body, self._validator(medium, file)
        plain = {"Content-Type": "video/mp4", **({"ETag": quoted} if file.etag else {})}
        if headers.get("If-Match", quoted) != quoted or headers.get("If-Match", "").startswith("W/"):
            self.effects.trace.reach("file changed while it was fetched")
            return Body(412, plain, b"")
        if fault is Fault.RANGE_IGNORED:
            return Body(200, {**plain, "Content-Length": str(len(body))}, body)
        first, last = (int(edge) for edge in headers["Range"].removeprefix("bytes=").split("-"))
        if first >= len(body):
            return Body(416, {**plain, "Content-Range": f"bytes */{len(body)}"}, b"")
        part = body[first : last + 1]
        plain["Content-Range"] = f"bytes {first}-{first + len(part) - 1}/{len(body)}"
        length = {"Content-Length": str(len(part))} if medium.sends_length else {}
        return Body(206, {**plain, **length}, part)

    def _validator(self, medium: Medium, file: File) -> str:
        self._requests_answered += 1
        if medium.validators == "by edge":
            return f'"{file.etag}-edge-{self._requests_answered % 2}"'
        return f'W/"{file.etag}"' if medium.validators == "weak" else f'"{file.etag}"'

    def take_share(self, count: int) -> float:
        """Take bytes of what all connections share. Returns the seconds that they take."""
        now = self.effects.scheduler.now
        self._shared_until = max(now, self._shared_until) + count * self.shared_seconds_per_byte
        return self._shared_until - now

    def _refusal(self, fault: Fault) -> "Body | None":
        faults = self.effects.faults
        if fault is Fault.CDN_SILENT:
            self.effects.scheduler.wait(20 * faults.chance().random())
            raise Lost
        if fault is Fault.CDN_BUSY:
            wait = faults.chance().choice(("", "3", "120"))
            return Body(503, {"Retry-After": wait} if wait else {}, b"")
        if fault is Fault.WRONG_PAGE:
            return Body(200, {"Content-Type": "text/html", "Content-Length": "4"}, b"oops")
        if fault is Fault.URL_EXPIRED:
            return Body(403, {"Content-Type": "application/xml"}, b"")
        return Body(500, {}, b"") if fault is Fault.CDN_FAILED else None


class Lost(Exception):
    """The CDN gave no answer."""


class Body:
    """A response of the CDN, whose bytes take time to arrive."""

    is_redirect = False

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = HTTPStatus(status)
        self.headers = headers
        self.too_slow: float | None = None
        self._left = memoryview(body)
        self._broken = False

    def bind(self, gopro: GoPro, subject: str, medium: Medium, stall_seconds: float) -> None:
        self._gopro, self._subject, self._medium, self._stall = gopro, subject, medium, stall_seconds

    def expect(self, size: int) -> None:
        """Learn how long the body is, if it doesn't say so. The simulated one ends where it ends."""

    def fill(self, buffer: memoryview) -> int:
        effects = self._gopro.effects
        count = min(len(buffer), len(self._left))
        if self._broken or not count:
            return 0
        fault = effects.faults.strike(_READ, "cdn.read", self._subject)
        effects.scheduler.wait(max(count * self._medium.seconds_per_byte, self._gopro.take_share(count)))
        if fault is not None:
            chance = effects.faults.chance()
            if fault in (Fault.KILL_BEFORE, Fault.KILL_AFTER):
                effects.kill("cdn.read", self._subject, fault)
            if fault is Fault.FREEZE:
                effects.linger("cdn.read", self._subject, fault, chance)
            else:
                effects.trace.add("cdn.read", self._subject, fault)
                count = chance.randrange(count)
                self._broken = True
            if fault is Fault.STALLED:
                effects.scheduler.wait(self._stall)
                self.too_slow = 0.0
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count

    def close(self) -> None:
        self._broken = True


def _plain(path: str) -> str:
    """Return a path without the medium's id."""
    return "/media/{id}/download" if path.endswith("/download") else path


def _trouble_of(file: File) -> Body:
    if file.trouble == "page":
        return Body(200, {"Content-Type": "text/html", "Content-Length": "4"}, b"oops")
    if file.trouble == "nothing":
        return Body(200, {"Content-Type": "video/mp4", "Content-Length": "0"}, b"")
    return Body(int(file.trouble or 403), {"Content-Type": "application/xml"}, b"")


def _row(medium: Medium) -> Any:
    if medium.odd_row in ("null", "text"):
        return None if medium.odd_row == "null" else "row"
    return {
        "id": {"no id": None, "number": 7}.get(medium.odd_row, medium.id),
        "type": medium.type,
        "filename": medium.filename,
        "file_size": medium.listed_size,
        "item_count": medium.item_count if medium.counted else None,
        "captured_at": medium.captured_at,
        "created_at": medium.created_at,
        "reprocessed_at": medium.reprocessed_at,
        "available_labels": medium.labels,
        "ready_to_view": medium.state,
        "camera_model": "HERO13 Black",
    }
