"""What can go wrong, and when.

A fault names the endpoint where it strikes, if wanted one medium, and how often. Of the faults that meet a request, the
first that answers in place of the cloud or cuts the body off applies. All that slow or alter the reply apply with it,
but a reply that a fault has made is not altered: those faults wait for the next request.
"""

import json
import threading
import time
from collections.abc import Iterable
from typing import Any, ClassVar, Literal, NamedTuple

import msgspec

from ops.local.gopro_cloud.contents import snake_case

Endpoint = Literal["token", "user", "search", "download", "zip", "change", "cdn", "login", "unknown"]


class Occasion(NamedTuple):
    """One request, as faults see it. The CDN is asked for the bytes from `start` to, not including, `end`."""

    endpoint: Endpoint
    method: str
    media_id: str | None = None
    label: str | None = None
    item: int | None = None
    page: int = 0
    start: int = 0
    end: int = 0


class _Fault(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag_field="fault",
    tag=snake_case,
    forbid_unknown_fields=True,
    omit_defaults=True,
):
    """Where and how often a fault strikes.

    `endpoint` "api" is every endpoint that needs a session. A file of the CDN is named by its `label` and `item`, a
    page of the listing by its number. `times` is how many requests the fault hits (None: all of them), once it has
    spared the first `after` that it meets. Only GET and POST requests meet a fault.
    """

    role: ClassVar[Literal["slows", "alters", "answers", "cuts"]] = "alters"

    endpoint: Endpoint | Literal["api"] = "cdn"
    media_id: str | None = None
    label: str | None = None
    item: int | None = None
    page: int | None = None
    times: int | None = 1
    after: int = 0

    def meets(self, occasion: Occasion) -> bool:
        return (
            (self.endpoint == occasion.endpoint or (self.endpoint == "api" and occasion.endpoint not in _SESSIONLESS))
            and self.media_id in (None, occasion.media_id)
            and self.label in (None, occasion.label)
            and self.item in (None, occasion.item)
            and self.page in (None, occasion.page)
            and occasion.method in ("GET", "POST")
        )


_SESSIONLESS = ("token", "cdn")


# -- at any endpoint --------------------------------------------------------------------------------------------------


class Delay(_Fault, frozen=True, kw_only=True):
    """The first byte of the reply comes `seconds` late."""

    role = "slows"
    seconds: float


class Answer(_Fault, frozen=True, kw_only=True):
    """The answer is `status`.

    It has a Retry-After of `retry_after` seconds, written as a number or as a date, and the `body`. Without one it says
    what GoPro or its CDN would say, or with `html` what the firewall does: "Request blocked".
    """

    role = "answers"
    endpoint: Endpoint | Literal["api"] = "api"
    status: int
    retry_after: int | None = None
    retry_after_as: Literal["seconds", "date"] = "seconds"
    html: bool = False
    body: str | None = None


class Refused(Answer, frozen=True, kw_only=True):
    """GoPro refuses every call, or every call for one medium, and says why: `error` and `message`."""

    status: int = 403
    times: int | None = None
    error: str = "subscription_required"
    message: str = "An active GoPro subscription is required."

    def __post_init__(self) -> None:
        if self.body is None:
            body = json.dumps({"error": self.error, "error_description": self.message})
            msgspec.structs.force_setattr(self, "body", body)


class HtmlPage(Answer, frozen=True, kw_only=True):
    """The CDN sends an HTML page with status 200."""

    endpoint: Endpoint | Literal["api"] = "cdn"
    status: int = 200
    html: bool = True


class ZeroBytes(Answer, frozen=True, kw_only=True):
    """The CDN sends nothing with status 200."""

    endpoint: Endpoint | Literal["api"] = "cdn"
    status: int = 200
    body: str | None = ""


class Echo(_Fault, frozen=True, kw_only=True):
    """The answer is `status` and repeats all that the request carried, in headers and body: tokens, forms, its query.

    A 3xx sends the client to another host, with all of that in the URL.
    """

    role = "answers"
    endpoint: Endpoint | Literal["api"] = "api"
    status: int = 500


class Hangup(_Fault, frozen=True, kw_only=True):
    """The connection is reset without an answer."""

    role = "answers"
    endpoint: Endpoint | Literal["api"] = "api"


class Redirect(_Fault, frozen=True, kw_only=True):
    """The client is sent to another address."""

    role = "answers"
    location: str = "http://169.254.169.254/latest/meta-data/"


# -- at the CDN -------------------------------------------------------------------------------------------------------


class _AtByte(_Fault, frozen=True, kw_only=True):
    """Strikes at byte `at_bytes` of the file, in whichever response holds that byte."""

    at_bytes: int

    def meets(self, occasion: Occasion) -> bool:
        return super().meets(occasion) and occasion.start <= self.at_bytes < max(occasion.end, occasion.start + 1)


class Drop(_AtByte, frozen=True, kw_only=True):
    """The connection is reset before byte `at_bytes`."""

    role = "cuts"


class Truncate(_AtByte, frozen=True, kw_only=True):
    """The body ends before byte `at_bytes`, and the connection with it.

    `honest`: the Content-Length is that of the shorter body, so only the file's length gives it away.
    """

    role = "cuts"
    honest: bool = False


class ExpireAfter(_AtByte, frozen=True, kw_only=True):
    """The signed URL expires at byte `at_bytes`: the body ends there, and the URL is answered with 403 from then on."""

    role = "cuts"


class Replace(_AtByte, frozen=True, kw_only=True):
    """The body ends before byte `at_bytes`, because another original, `size_delta` bytes longer, takes its place."""

    role = "cuts"
    size_delta: int = 0


class Corrupt(_AtByte, frozen=True, kw_only=True):
    """Byte `at_bytes` is inverted; length and ETag stay the original's."""


class Throttle(_Fault, frozen=True, kw_only=True):
    """A connection gets `bytes_per_second` at most."""

    role = "slows"
    bytes_per_second: float


class SharedLimit(_Fault, frozen=True, kw_only=True):
    """All connections together get `bytes_per_second` at most, each its share."""

    role = "slows"
    times: int | None = None
    bytes_per_second: float


class IgnoreRange(_Fault, frozen=True, kw_only=True):
    """The whole file comes with 200, whatever range is asked for."""


class WrongRange(_Fault, frozen=True, kw_only=True):
    """The range begins and ends one byte later than the one asked for."""


class Gzip(_Fault, frozen=True, kw_only=True):
    """The body is gzip-encoded, whether or not that was asked for."""


class NoLength(_Fault, frozen=True, kw_only=True):
    """The body is chunked, without a Content-Length; a range is still named by its Content-Range."""


class OtherEtag(_Fault, frozen=True, kw_only=True):
    """The ETag is weak, missing, or that of one of two edges in turn, which know each other's by no If-Match."""

    times: int | None = None
    kind: Literal["weak", "none", "by_edge"] = "weak"


# -- at the API -------------------------------------------------------------------------------------------------------


class ShapeChange(_Fault, frozen=True, kw_only=True):
    """The answer's JSON has another shape: `value` at `path`, or with `remove` nothing there.

    The path is dotted, with list indices and `*` for every entry of a list: `_embedded.variations.*.available`.
    """

    endpoint: Endpoint | Literal["api"] = "search"
    path: str
    value: Any = None
    remove: bool = False


class SessionsEnd(_Fault, frozen=True, kw_only=True):
    """Every session ends with this request, which is refused as well."""

    endpoint: Endpoint | Literal["api"] = "download"


class StaleUrls(_Fault, frozen=True, kw_only=True):
    """The URLs of a download listing expired `seconds` ago."""

    endpoint: Endpoint | Literal["api"] = "download"
    seconds: int = 60


class CdnMoved(_Fault, frozen=True, kw_only=True):
    """The URLs of a download listing name another host, which serves them."""

    endpoint: Endpoint | Literal["api"] = "download"
    times: int | None = None
    host: str = "localhost"


class SmallPages(_Fault, frozen=True, kw_only=True):
    """A page has `per_page` rows at most, whatever is asked for, and `_pages` says so."""

    endpoint: Endpoint | Literal["api"] = "search"
    times: int | None = None
    per_page: int = 100


class ShortPage(_Fault, frozen=True, kw_only=True):
    """A page has just its first `rows` rows; `_pages` doesn't show it."""

    endpoint: Endpoint | Literal["api"] = "search"
    rows: int = 12


class RepeatItem(_Fault, frozen=True, kw_only=True):
    """A page other than the first begins with the last row of the page before it.

    `hides`: that row takes the place of the page's own first one, so a walk misses an item. Otherwise the page is one
    row longer.
    """

    endpoint: Endpoint | Literal["api"] = "search"
    hides: bool = True

    def meets(self, occasion: Occasion) -> bool:
        return super().meets(occasion) and occasion.page > 1


class EndlessPages(_Fault, frozen=True, kw_only=True):
    """There is always one more page; those past the end repeat the library from its beginning."""

    endpoint: Endpoint | Literal["api"] = "search"
    times: int | None = None


class WrongTotal(_Fault, frozen=True, kw_only=True):
    """`total_items` is wrong by `delta`, and `total_pages` follows it."""

    endpoint: Endpoint | Literal["api"] = "search"
    times: int | None = None
    delta: int


class LibraryChange(_Fault, frozen=True, kw_only=True):
    """Media come and go just before a request is answered; `add` has them in their JSON form."""

    endpoint: Endpoint | Literal["api"] = "search"
    add: tuple[dict[str, Any], ...] = ()
    remove: tuple[str, ...] = ()


Fault = (
    Delay | Answer | Refused | HtmlPage | ZeroBytes | Echo | Hangup | Redirect
    | Drop | Truncate | ExpireAfter | Replace | Corrupt | Throttle | SharedLimit
    | IgnoreRange | WrongRange | Gzip | NoLength | OtherEtag
    | ShapeChange | SessionsEnd | StaleUrls | CdnMoved | SmallPages | ShortPage | RepeatItem | EndlessPages | WrongTotal
    | LibraryChange
)  # fmt: skip


class _Armed:
    """A fault, how many requests it has met and struck, and until when a shared limit is taken, in monotonic time."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.met = 0
        self.struck = 0
        self.taken_until = 0.0

    def is_due(self, occasion: Occasion) -> bool:
        if self.struck == self.fault.times or not self.fault.meets(occasion):
            return False
        self.met += 1
        return self.met > self.fault.after


class FaultBook:
    """The armed faults, in the order in which they were armed."""

    def __init__(self) -> None:
        self._armed: list[_Armed] = []
        self._lock = threading.Lock()

    def arm(self, faults: Iterable[Fault]) -> None:
        with self._lock:
            self._armed.extend(_Armed(fault) for fault in faults)

    def disarm(self, media_id: str | None = None) -> None:
        """Remove the faults of one medium, or with None all of them; downloads under way are throttled no more."""
        with self._lock:
            self._armed = [armed for armed in self._armed if media_id not in (None, armed.fault.media_id)]

    def has_any(self, faults: Iterable[Fault]) -> bool:
        """Whether one of these very faults is still armed."""
        with self._lock:
            return any(armed.fault is fault for armed in self._armed for fault in faults)

    def share(self, limits: Iterable[SharedLimit], count: int) -> float:
        """Take `count` bytes of those of the limits that are armed; return the seconds until they may be sent."""
        wait = 0.0
        with self._lock:
            now = time.monotonic()
            for armed in self._armed:
                for limit in limits:
                    if armed.fault is limit:
                        armed.taken_until = max(now, armed.taken_until) + count / limit.bytes_per_second
                        wait = max(wait, armed.taken_until - now)
        return wait

    def strike(self, occasion: Occasion) -> list[Fault]:
        """Return the faults that hit this request, and count it for them."""
        with self._lock:
            due = [armed for armed in self._armed if armed.is_due(occasion)]
            deciding = next((armed for armed in due if armed.fault.role in ("answers", "cuts")), None)
            roles = {"slows"} if deciding and deciding.fault.role == "answers" else {"slows", "alters"}
            struck = [armed for armed in due if armed is deciding or armed.fault.role in roles]
            for armed in struck:
                armed.struck += 1
        return [armed.fault for armed in struck]

    def not_struck(self) -> list[Fault]:
        """Return the faults that are armed and have hit no request yet."""
        with self._lock:
            return [armed.fault for armed in self._armed if not armed.struck]
