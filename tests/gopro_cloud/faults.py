"""What can go wrong, and when.

A fault names where it strikes (an endpoint, and if wanted one medium, item or rendition) and how often. Of the faults
that meet one request, the first that answers it otherwise or cuts it off applies, and all that slow or alter it do (a
request answered otherwise is not altered, so those wait for the next).
"""

from __future__ import annotations

import dataclasses
import re
import threading
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tests.gopro_cloud.contents import Content
from tests.gopro_cloud.recipes import content_from_json

if TYPE_CHECKING:
    from collections.abc import Iterable


class Endpoint(StrEnum):
    """What a request asks for."""

    TOKEN = "token"
    AUTHORIZE = "authorize"
    USER = "user"
    SEARCH = "search"
    MEDIUM = "medium"
    DOWNLOAD = "download"
    MOMENTS = "moments"
    ITEMS = "items"
    ZIP = "zip"
    CHANGE = "change"
    CDN = "cdn"
    UNKNOWN = "unknown"


_GROUPS: dict[str, frozenset[str]] = {
    "any": frozenset(Endpoint),
    "api": frozenset(Endpoint) - {Endpoint.CDN, Endpoint.TOKEN, Endpoint.AUTHORIZE},
    "oauth": frozenset({Endpoint.TOKEN, Endpoint.AUTHORIZE}),
}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Where and how often a fault strikes.

    `endpoint` is one of `Endpoint`, or `api` (all that needs a session), `oauth` or `any`. `times` is how many
    requests it hits (None: all of them, for ever), after the first `after` matching ones were spared. HEAD requests
    are spared unless `methods` names them.
    """

    default_endpoint: ClassVar[str] = "cdn"
    role: ClassVar[Literal["slows", "alters", "answers", "cuts"]] = "alters"

    endpoint: str = ""
    media_id: str | None = None
    item: int | None = None
    label: str | None = None
    times: int | None = 1
    after: int = 0
    methods: tuple[str, ...] = ("GET", "POST")

    def __post_init__(self) -> None:
        if not self.endpoint:
            object.__setattr__(self, "endpoint", self.default_endpoint)
        if self.endpoint not in _GROUPS and self.endpoint not in set(Endpoint):
            raise ValueError(f"unknown endpoint {self.endpoint!r}")

    def meets(self, occasion: Occasion) -> bool:
        """Whether the fault is about such a request at all."""
        return (
            (occasion.endpoint == self.endpoint or occasion.endpoint in _GROUPS.get(self.endpoint, ()))
            and self.media_id in (None, occasion.media_id)
            and self.item in (None, occasion.item)
            and self.label in (None, occasion.label)
            and occasion.method in self.methods
            and self.touches(occasion)
        )

    def touches(self, occasion: Occasion) -> bool:
        """Whether it strikes within the part of a file that is asked for."""
        return True

    def to_json(self) -> dict[str, Any]:
        form: dict[str, Any] = {"fault": fault_name(type(self))}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                form[field.name] = value.to_json() if isinstance(value, Content) else value
        return form


@dataclass(frozen=True, kw_only=True)
class Occasion:
    """One request, as far as a fault can be about it: on the CDN it wants the bytes `start` to `end` of a file."""

    endpoint: Endpoint
    method: str = "GET"
    media_id: str | None = None
    item: int | None = None
    label: str | None = None
    start: int = 0
    end: int = 0
    served: int = 0  # bytes that went through the same signed URL before
    page: int = 0


# -- anywhere ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Delay(Fault):
    """The answer's first byte comes `seconds` late."""

    role = "slows"
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Answer(Fault):
    """Answers with `status` instead; a 416 or 429 gets the headers that belong to it.

    `retry_after` seconds are told as a number or, with `retry_after_as="date"`, as a date. `html` sends the
    firewall's "Request blocked" page. Without `body` the answer is what GoPro or its CDN would say.
    """

    role = "answers"

    default_endpoint = "api"
    status: int
    retry_after: int | None = None
    retry_after_as: Literal["seconds", "date"] = "seconds"
    html: bool = False
    body: str | None = None


@dataclass(frozen=True, kw_only=True)
class Hangup(Fault):
    """The connection is reset without an answer."""

    role = "answers"

    default_endpoint = "api"


@dataclass(frozen=True, kw_only=True)
class Redirect(Fault):
    """Sends the client elsewhere."""

    role = "answers"

    location: str = "http://169.254.169.254/latest/meta-data/"
    status: int = 302


@dataclass(frozen=True, kw_only=True)
class Echo(Fault):
    """Answers with `status` and repeats, in headers and body, all that the request carried: tokens, forms, its query.

    With a `status` of 3xx it sends the client to another host, with all of that in the URL.
    """

    role = "answers"

    default_endpoint = "api"
    status: int = 500


@dataclass(frozen=True, kw_only=True)
class Outage(Fault):
    """From the request that meets it on, everything is out for `seconds` of real time.

    `form`: `503` for all, `reset` connections, or `refuse` them (nothing listens). `of`: `api`, `cdn` or `all`;
    nothing but `all` can be refused, since both share a port.
    """

    role = "answers"

    default_endpoint = "any"
    seconds: float
    form: Literal["503", "reset", "refuse"] = "503"
    of: Literal["api", "cdn", "all"] = "all"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.form == "refuse" and self.of != "all":
            raise ValueError("the API and the CDN share a port: only both can refuse connections")


# -- the CDN ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _AtByte(Fault):
    """Strikes at byte `at_bytes` of the file, in whichever response holds that byte."""

    at_bytes: int = 0

    def touches(self, occasion: Occasion) -> bool:
        return occasion.start <= self.at_bytes < max(occasion.end, occasion.start + 1)


@dataclass(frozen=True, kw_only=True)
class Drop(_AtByte):
    """The connection is reset before byte `at_bytes` of the file."""

    role = "cuts"


@dataclass(frozen=True, kw_only=True)
class Truncate(_AtByte):
    """The body ends before byte `at_bytes` of the file, and the connection with it.

    `honest`: the Content-Length told is that of the shorter body, so that only the file's own length gives it away.
    """

    role = "cuts"

    honest: bool = False


@dataclass(frozen=True, kw_only=True)
class Corrupt(_AtByte):
    """Byte `at_bytes` of the file is inverted; length and ETag are the original's."""


@dataclass(frozen=True, kw_only=True)
class ExpireAfter(Fault):
    """A signed URL is no longer good once `served_bytes` were served through it: 403 until another one is asked for.

    `cut` ends the response under way at that byte; otherwise it goes on and the next one gets the 403.
    """

    role = "cuts"

    served_bytes: int
    cut: bool = True

    def touches(self, occasion: Occasion) -> bool:
        return occasion.served + occasion.end - occasion.start >= self.served_bytes


@dataclass(frozen=True, kw_only=True)
class Throttle(Fault):
    """No connection gets more than `bytes_per_second`."""

    role = "slows"
    bytes_per_second: float


@dataclass(frozen=True, kw_only=True)
class IgnoreRange(Fault):
    """Answers 200 with the whole file whatever range is asked for."""


@dataclass(frozen=True, kw_only=True)
class WrongRange(Fault):
    """Answers another range than the one asked for: `shift` bytes later, of a file `total_delta` bytes longer."""

    shift: int = 1
    total_delta: int = 0


@dataclass(frozen=True, kw_only=True)
class Gzip(Fault):
    """The body comes gzip-encoded, whether or not that was asked for."""


@dataclass(frozen=True, kw_only=True)
class NoLength(Fault):
    """The body comes chunked, without a Content-Length."""


@dataclass(frozen=True, kw_only=True)
class HtmlPage(Fault):
    """A page of HTML with status 200."""

    role = "answers"


@dataclass(frozen=True, kw_only=True)
class ZeroBytes(Fault):
    """Status 200, Content-Length 0."""

    role = "answers"


@dataclass(frozen=True, kw_only=True)
class Replace(_AtByte):
    """The original is replaced, for good, by another with another ETag.

    The response under way is cut at byte `at_bytes` of the file (0: it is answered from the new one at once). Without
    `content` the new file is noise, `size_delta` bytes longer than the old one.
    """

    role = "cuts"

    size_delta: int = 0
    content: Content | None = None


# -- the API ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ShapeChange(Fault):
    """The answer's JSON has another shape: what `path` leads to is `value`, or gone with `remove`.

    `path` is dotted, with list indices and `*` for each of a list: `_embedded.variations.*.available`.
    """

    default_endpoint = "search"
    path: str
    value: Any = None
    remove: bool = False


@dataclass(frozen=True, kw_only=True)
class StaleUrls(Fault):
    """The URLs of the answer expired `seconds` ago."""

    default_endpoint = "download"
    seconds: int = 60


@dataclass(frozen=True, kw_only=True)
class ShortPage(Fault):
    """A page holds only its first `rows` rows, while `_pages` says nothing of it."""

    default_endpoint = "search"
    rows: int = 12
    page: int | None = None  # only this one

    def touches(self, occasion: Occasion) -> bool:
        return self.page in (None, occasion.page)


@dataclass(frozen=True, kw_only=True)
class RepeatItem(Fault):
    """A page other than the first begins with the last row of the page before it.

    `hides`: that row takes the place of the page's own first one (the page is as long as it should be, and the walk
    misses an item); otherwise the page is one row longer.
    """

    default_endpoint = "search"
    hides: bool = True
    page: int | None = None  # only this one

    def touches(self, occasion: Occasion) -> bool:
        return occasion.page > 1 and self.page in (None, occasion.page)


@dataclass(frozen=True, kw_only=True)
class EndlessPages(Fault):
    """There is always one more page; those past the end repeat the library from its beginning."""

    default_endpoint = "search"
    times: int | None = None


@dataclass(frozen=True, kw_only=True)
class WrongTotal(Fault):
    """`total_items` is wrong by `delta`, and `total_pages` follows it."""

    default_endpoint = "search"
    delta: int
    times: int | None = None


@dataclass(frozen=True, kw_only=True)
class LibraryChange(Fault):
    """Media come and go just before the request that meets it is answered; `add` holds media in their JSON form."""

    default_endpoint = "search"
    add: tuple[dict[str, Any], ...] = ()
    remove: tuple[str, ...] = ()


_KINDS: tuple[type[Fault], ...] = (
    Delay, Answer, Hangup, Redirect, Echo, Outage,
    Drop, Truncate, Corrupt, ExpireAfter, Throttle, IgnoreRange, WrongRange, Gzip, NoLength, HtmlPage, ZeroBytes,
    Replace,
    ShapeChange, StaleUrls, ShortPage, RepeatItem, EndlessPages, WrongTotal, LibraryChange,
)  # fmt: skip


def fault_name(kind: type[Fault]) -> str:
    """How JSON calls a kind of fault: `ExpireAfter` is `expire_after`."""
    return re.sub(r"(?<!^)([A-Z])", r"_\1", kind.__name__).lower()


_BY_NAME = {fault_name(kind): kind for kind in _KINDS}


def fault_from_json(form: dict[str, Any]) -> Fault:
    """Read what `to_json` wrote; ValueError names what is wrong with it."""
    fields = dict(form)
    name = fields.pop("fault", None)
    if name not in _BY_NAME:
        raise ValueError(f"unknown fault {name!r}; known are {', '.join(sorted(_BY_NAME))}")
    for listed in ("methods", "add", "remove"):
        if isinstance(fields.get(listed), list):
            fields[listed] = tuple(fields[listed])
    if isinstance(fields.get("content"), dict):
        fields["content"] = content_from_json(fields["content"])
    try:
        return _BY_NAME[name](**fields)
    except TypeError as error:
        raise ValueError(f"fault {name}: {error}") from error


class _Armed:
    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.met = 0
        self.struck = 0

    @property
    def spent(self) -> bool:
        return self.fault.times is not None and self.struck >= self.fault.times


class FaultBook:
    """The faults that are armed, in the order they were, and how often each has struck."""

    def __init__(self) -> None:
        self._armed: list[_Armed] = []
        self._lock = threading.Lock()

    def arm(self, faults: Iterable[Fault]) -> None:
        with self._lock:
            self._armed.extend(_Armed(fault) for fault in faults)

    def clear(self) -> None:
        with self._lock:
            self._armed.clear()

    def disarm(self, media_id: str | None = None) -> None:
        """Take the cause away: the faults of one medium, or with None all."""
        with self._lock:
            self._armed = [armed for armed in self._armed if media_id not in (None, armed.fault.media_id)]

    def strike(self, occasion: Occasion) -> list[Fault]:
        """The faults that hit this request, which counts for them."""
        struck: list[_Armed] = []
        with self._lock:
            due: list[_Armed] = []
            for armed in self._armed:
                if not armed.spent and armed.fault.meets(occasion):
                    armed.met += 1
                    if armed.met > armed.fault.after:
                        due.append(armed)
            deciding = next((armed for armed in due if armed.fault.role in ("answers", "cuts")), None)
            altered = deciding is None or deciding.fault.role == "cuts"
            for armed in due:
                if armed is deciding or armed.fault.role == "slows" or (armed.fault.role == "alters" and altered):
                    armed.struck += 1
                    struck.append(armed)
            # A book that many short-lived faults went through must not get slower and slower.
            if len(self._armed) > 64:
                self._armed = [armed for armed in self._armed if not armed.spent]
        return [armed.fault for armed in struck]

    def not_struck(self) -> list[Fault]:
        """Those that are armed and have hit nothing yet."""
        with self._lock:
            return [armed.fault for armed in self._armed if not armed.struck]

    def to_json(self) -> list[dict[str, Any]]:
        with self._lock:
            return [{**armed.fault.to_json(), "struck": armed.struck} for armed in self._armed]
