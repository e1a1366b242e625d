"""GoPro Cloud and its CDN, as the services' own client and transfer engine meet them: answers without sockets."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal
from urllib.parse import quote, urlsplit

import requests

from tests.simulation.effects import Effects
from tests.simulation.faults import PROCESS, Fault
from tests.simulation.virtual import SimulatorError

CANARY = "canary-"  # is in every secret, so none can go anywhere unnoticed

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
    """One original, and all that it has ever been."""

    origin: str  # as the downloader names it: "source/default/1"
    number: int
    body: bytes
    etag: str
    versions: list[tuple[bytes, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
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
    available: bool = True  # whether its originals are offered
    seconds_per_byte: float = 0.01
    numbered: bool = True  # whether the listing numbers its entries

    @property
    def item_count(self) -> int:
        return sum(not file.origin.startswith("raw_photo") for file in self.files)


def make_file(medium_id: str, origin: str, number: int, size: int, version: int, etags: EtagKind) -> File:
    body = content(medium_id, origin, size, version)
    return File(origin, number, body, etag_of(body, etags))


def content(medium_id: str, origin: str, size: int, version: int) -> bytes:
    """The bytes of a version, of which no two are alike."""
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
    """Which credentials and tokens are good."""

    client_id: str
    client_secret: str
    username: str
    password: str
    refresh_token: str
    lifetime: int
    rotates: bool
    password_works: bool = True
    access: dict[str, float] = field(default_factory=dict)  # token: until when
    refresh_tokens_spent: set[str] = field(default_factory=set)
    issued: int = 0


class Response:
    """What the services read of an answer."""

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
    """One account's cloud."""

    def __init__(
        self, account: Account, library: list[Medium], effects: Effects, *, cdn_host: str, url_seconds: float = 3600.0
    ) -> None:
        self.account = account
        self.effects = effects
        self.library = {medium.id: medium for medium in library}
        self.gone: dict[str, Medium] = {}
        self.outages: list[tuple[float, float]] = []
        self.history: list[tuple[float, dict[str, int]]] = []  # when the library became so: item counts by id
        self.grants: list[tuple[float, str]] = []  # when a session was given, and which
        self.on_grant: list[Callable[[str], None]] = []
        self.on_use: list[Callable[[str], None]] = []  # told each access token that is used
        self.on_open: list[Callable[[str], None]] = []  # told the medium of each file that is opened
        self.on_password: list[Callable[[], None]] = []  # told of each try to log in with it
        self._host = cdn_host
        self._url_seconds = url_seconds
        self._signed: dict[str, tuple[Medium, File, float]] = {}
        self._signatures = 0
        self.remember()

    def ever(self) -> list[Medium]:
        """All media that there are or were."""
        return [*self.library.values(), *self.gone.values()]

    def known(self, medium_id: str) -> list[Medium]:
        """The media of this id that there are or were."""
        return [state[medium_id] for state in (self.library, self.gone) if medium_id in state]

    def remember(self) -> None:
        """Notes what the library is from now on."""
        self._newest_first = sorted(self.library.values(), key=lambda m: (m.created_at, m.id), reverse=True)
        self.history.append((self.effects.scheduler.now, {m.id: m.item_count for m in self.library.values()}))

    def is_good(self, token: str) -> bool:
        return self.account.access.get(token, 0.0) > self.effects.scheduler.now

    def revoke(self) -> None:
        """Ends all sessions."""
        self.account.access.clear()

    def request(self, method: str, url: str, **request: Any) -> Response:
        """A call of the API."""
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
        if not self.is_good(token):
            self.effects.trace.reach("session refused by GoPro")
            return Response(401, {"error": "invalid_token"})
        if path == "/media/user":
            return Response(200, {"id": "u", "total_count": len(self.library)})
        if path == "/media/search":
            return self._search(request["params"])
        _, _, medium_id, what = path.split("/")
        if what != "download":
            raise SimulatorError(f"the simulated GoPro has no {path}")
        if medium_id not in self.library:
            self.effects.trace.reach("medium gone at GoPro")
            return Response(404, {"error": "not found"})
        return Response(200, self._manifest(self.library[medium_id]))

    def _token(self, form: Mapping[str, str]) -> Response:
        account = self.account
        for told in self.on_password if form["grant_type"] == "password" else ():
            told()
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
        per_page, page = min(200, int(query["per_page"])), int(query["page"])
        types = set(query["type"].split(",")) if "type" in query else None
        media = [medium for medium in self._newest_first if types is None or medium.type in types]
        rows = [_row(medium) for medium in media[(page - 1) * per_page : page * per_page]]
        fault = self.effects.faults.strike(_PAGE, "gopro.search page") if rows else None
        if fault:
            chance = self.effects.faults.chance()
            if fault is Fault.SHORT_PAGE:
                rows = rows[: chance.randint(0, len(rows) - 1)]
            else:
                rows[chance.randrange(len(rows))] = _row(chance.choice(media))
            self.effects.trace.add("gopro.search", f"page {page}", fault)
        total = {"current_page": page, "per_page": per_page, "total_items": len(media)}
        return Response(200, {"_pages": total, "_embedded": {"errors": [], "media": rows}})

    def _manifest(self, medium: Medium) -> Mapping[str, Any]:
        def entry(file: File, label: str, **more: Any) -> dict[str, Any]:
            shown = {"label": label, "type": "mp4", "url": self._sign(medium, file), "available": medium.available}
            return shown | ({"item_number": file.number} if medium.numbered else {}) | more

        proxy = {"label": "high_res_proxy_mp4", "url": self._url(medium, "high_res_proxy_mp4/default/1", "")}
        originals = [file for file in medium.files if not file.origin.startswith("raw_photo")]
        raws = [file for file in medium.files if file.origin.startswith("raw_photo")]
        files: list[Any] = [proxy]
        variations: list[Any] = [proxy]
        if medium.shape == "burst" and len(originals) > 1:
            files = [entry(file, "") for file in originals]
            variations = [{"label": "source", "url": self._url(medium, "cover/default/1", "")}]
        elif medium.shape == "edit":
            variations.append(entry(originals[0], "baked_source"))
        else:
            variations += [entry(file, "source") for file in originals]
            variations.append({"label": "concat", "url": self._url(medium, "concat/default/1", "")})
        sidecars = [entry(file, "raw_photo") for file in raws]
        return {
            "filename": medium.filename,
            "_embedded": {"files": files, "variations": variations, "sprites": [], "sidecar_files": sidecars},
        }

    def _sign(self, medium: Medium, file: File) -> str:
        self._signatures += 1
        expires = self.effects.scheduler.now + self._url_seconds
        url = self._url(medium, file.origin, f"{CANARY}signature-{self._signatures}")
        self._signed[url] = (medium, file, expires)
        return url

    def _url(self, medium: Medium, origin: str, signature: str) -> str:
        name = quote(medium.filename or "unnamed", safe="")
        query = f"Signature={signature}&response-content-disposition=attachment%3B%20filename%3D%22{name}%22"
        return f"https://{self._host}/{medium.id}/{origin}.mp4?{query}"

    def open(self, url: str, headers: Mapping[str, str], stall_seconds: float) -> "Body":
        """A GET of the CDN. Raises `Lost` when no answer comes."""
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
        if medium.id not in self.library:
            return Body(403, {"Content-Type": "application/xml"}, b"")
        body, quoted = file.body, f'"{file.etag}"'
        plain = {"Content-Type": "video/mp4", **({"ETag": quoted} if file.etag else {})}
        if headers.get("If-Match", quoted) != quoted:
            self.effects.trace.reach("file changed while it was fetched")
            return Body(412, plain, b"")
        if fault is Fault.RANGE_IGNORED:
            return Body(200, {**plain, "Content-Length": str(len(body))}, body)
        first, last = (int(edge) for edge in headers["Range"].removeprefix("bytes=").split("-"))
        if first >= len(body):
            return Body(416, {**plain, "Content-Range": f"bytes */{len(body)}"}, b"")
        part = body[first : last + 1]
        plain["Content-Range"] = f"bytes {first}-{first + len(part) - 1}/{len(body)}"
        return Body(206, {**plain, "Content-Length": str(len(part))}, part)

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
    """An answer of the CDN, whose bytes take their time."""

    is_redirect = False

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = HTTPStatus(status)
        self.headers = headers
        self.stalled = False
        self._left = memoryview(body)
        self._broken = False

    def bind(self, gopro: GoPro, subject: str, medium: Medium, stall_seconds: float) -> None:
        self._gopro, self._subject, self._medium, self._stall = gopro, subject, medium, stall_seconds

    def fill(self, buffer: memoryview) -> int:
        effects = self._gopro.effects
        count = min(len(buffer), len(self._left))
        if self._broken or not count:
            return 0
        fault = effects.faults.strike(_READ, "cdn.read", self._subject)
        effects.scheduler.wait(count * self._medium.seconds_per_byte)
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
                self.stalled = True
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count

    def close(self) -> None:
        self._broken = True


def _plain(path: str) -> str:
    """A path without the medium's id."""
    return "/media/{id}/download" if path.endswith("/download") else path


def _row(medium: Medium) -> dict[str, Any]:
    return {
        "id": medium.id,
        "type": medium.type,
        "filename": medium.filename,
        "file_size": medium.listed_size,
        "item_count": medium.item_count,
        "captured_at": medium.captured_at,
        "created_at": medium.created_at,
        "ready_to_view": medium.state,
        "camera_model": "HERO13 Black",
    }
