"""The fake GoPro Cloud as a whole: its parts put together, and what a test does with it."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Self

from tests.gopro_cloud.api import Api, target_of
from tests.gopro_cloud.cdn import Cdn, digest_row, place_of
from tests.gopro_cloud.cdn import refusal as cdn_refusal
from tests.gopro_cloud.clock import Clock
from tests.gopro_cloud.contents import Digests
from tests.gopro_cloud.control import ControlDesk
from tests.gopro_cloud.exchange import Reply, Request, json_reply
from tests.gopro_cloud.faults import Endpoint, Fault, FaultBook, Outage, fault_name
from tests.gopro_cloud.library import Catalogue, Library, Medium
from tests.gopro_cloud.oauth import Account, TokenOffice
from tests.gopro_cloud.observations import Observations, Seen
from tests.gopro_cloud.server import Listener
from tests.gopro_cloud.signing import KEY_PAIR_ID, Signer

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

_SECRET_PARAMETERS = {"Signature", "Key-Pair-Id", "access_token"}


class FakeGoProCloud:
    """A whole cloud. `with FakeGoProCloud(library) as cloud:` serves it in threads of this process.

    `url` is the API's (and the CDN's) address, `control_url` that of the control API, which an outage never touches.
    `url_lifetime` is how long a signed URL is good, in seconds.
    """

    def __init__(
        self,
        library: Library | None = None,
        *,
        account: Account | None = None,
        url_lifetime: float = 3600,
        port: int = 0,
        host: str = "127.0.0.1",
    ) -> None:
        self._first_library = library or Library()
        self._first_account = account or Account()
        self._first_lifetime = url_lifetime
        self.url_lifetime = url_lifetime
        self.clock = Clock()
        self.observations = Observations()
        self.faults = FaultBook()
        self.digests = Digests()
        self.tokens = TokenOffice(self.clock, self._first_account)
        self._library = self._first_library
        self.catalogue = Catalogue(Library())
        self._signer = Signer(self.clock)
        self.cdn = Cdn(self.catalogue, self._signer, self.faults, self.digests)
        self.api = Api(
            self.catalogue,
            self.tokens,
            self._signer,
            self.faults,
            base_url=lambda: self.url,
            url_lifetime=lambda: self.url_lifetime,
        )
        self._desk = ControlDesk(self)
        self._outage: tuple[float, str, str] = (0.0, "503", "all")
        self.stopping = threading.Event()
        self._public = Listener(self, host, port)
        self._control = Listener(self, host, 0, is_control=True)
        self.url = f"http://{host}:{self._public.port}"
        self.control_url = f"http://{host}:{self._control.port}"
        self.replace_library(self._first_library)

    # -- life ---------------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        self._public.start()
        self._control.start()
        return self

    def stop(self) -> None:
        """End at once: downloads under way break off."""
        self.stopping.set()
        self._public.stop()
        self._control.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    # -- what a test scripts ------------------------------------------------------------------------------------------

    def replace_library(self, library: Library) -> None:
        """Serve another library, with its own faults and none of those before."""
        self.catalogue.replace(library)
        self._library = library
        self.faults.clear()
        self.faults.arm(library.faults)
        self.faults.arm(_own_faults(library.media))

    def add_media(self, *media: Medium) -> None:
        """New media with their faults; one with a known id takes that one's place."""
        self.catalogue.add(media)
        self.faults.arm(_own_faults(media))

    def remove_media(self, *media_ids: str) -> None:
        self.catalogue.remove(media_ids)

    def arm(self, *faults: Fault) -> None:
        self.faults.arm(faults)

    def advance(self, seconds: float) -> None:
        """Let time pass for signed URLs and tokens."""
        self.clock.advance(seconds)

    def outage(
        self,
        seconds: float,
        form: Literal["503", "reset", "refuse"] = "503",
        of: Literal["api", "cdn", "all"] = "all",
    ) -> None:
        """Be out from now on for `seconds` of real time (0 ends an outage); see `Outage` for its forms."""
        if form == "refuse":
            if of != "all":
                raise ValueError("the API and the CDN share a port: only both can refuse connections")
            self._public.refuse(seconds)
        else:
            self._public.refuse(0)
            self._outage = (time.monotonic() + seconds, form, of)

    def configure_account(self, **changes: Any) -> None:
        """Change fields of the account, as `expires_in=20` or `two_factor=True`; tokens that are out stay good."""
        self.tokens.change(replace(self.tokens.account, **changes))

    def reset(self) -> None:
        """Back to how it was made: library, account, clock; nothing observed, no fault, no session."""
        self.outage(0)
        self.url_lifetime = self._first_lifetime
        self.clock.reset()
        self._signer.reset()
        self.tokens.reset(self._first_account)
        self.replace_library(self._first_library)
        self.observations.clear()

    # -- what a test compares with ------------------------------------------------------------------------------------

    def originals(self, media_id: str) -> list[dict[str, Any]]:
        """A medium's originals in order: `item` (from 1), `label`, `filename`, `size`, `sha256`, `etag` (quoted)."""
        medium = self.catalogue.get(media_id)
        if medium is None:
            raise ValueError(f"no medium {media_id}")
        found = [rendition for rendition in medium.renditions() if rendition.original]
        return [digest_row(self.cdn, self.digests, medium, number, one) for number, one in enumerate(found, start=1)]

    def sha256(self, media_id: str, item: int = 1) -> str:
        """SHA-256, in hex, of a medium's original number `item`."""
        return str(self.originals(media_id)[item - 1]["sha256"])

    @property
    def secrets(self) -> dict[str, list[str]]:
        """Every secret that it has given away since it was made or reset: what must show in nobody's output."""
        return {**self.tokens.issued, "signature": self._signer.issued, "key_pair_id": [KEY_PAIR_ID]}

    @property
    def library(self) -> Library:
        """The library as it was given last."""
        return self._library

    # -- answering ----------------------------------------------------------------------------------------------------

    def answer(self, request: Request, *, control: bool) -> tuple[Reply, Seen | None]:
        """The reply to any request, and the note of it that is to be filled while it is sent."""
        if request.path.startswith("/control/"):
            return self._desk.answer(request), None
        if control:
            return json_reply(404, {"error": "only /control/ is served here"}), None
        is_cdn = request.path.startswith("/cdn/")
        seen = Seen(
            at=time.time(),
            endpoint=Endpoint.CDN,
            method=request.method,
            range=request.header("Range"),
            query={name: value for name, value in request.query.items() if name not in _SECRET_PARAMETERS},
            authorized=request.header("Authorization") is not None,
        )
        if is_cdn:
            if place := place_of(request.path):
                seen.media_id, seen.label, seen.item = place
        else:
            target = target_of(request.method, request.path)
            seen.endpoint, seen.media_id = target.endpoint, target.media_id
        self.observations.add(seen)
        until, form, of = self._outage
        if time.monotonic() < until and of in ("all", "cdn" if is_cdn else "api"):
            seen.faults = ("outage",)
            return self._out(form, is_cdn), seen

        def struck(faults: list[Fault]) -> None:
            seen.faults = tuple(fault_name(type(fault)) for fault in faults)
            for fault in faults:
                if isinstance(fault, Outage):
                    self.outage(fault.seconds, fault.form, fault.of)

        reply = self.cdn.answer(request, struck) if is_cdn else self.api.answer(request, target, seen, struck)
        if "outage" in seen.faults:
            reply = self._out(self._outage[1], is_cdn)
        return reply, seen

    def _out(self, form: str, is_cdn: bool) -> Reply:
        if form == "503":
            return cdn_refusal(503) if is_cdn else json_reply(503, {"error": "service_unavailable"})
        return Reply(status=0, silent=True, ending="reset")


def _own_faults(media: Iterable[Medium]) -> list[Fault]:
    return [replace(fault, media_id=medium.media_id) for medium in media for fault in medium.faults]
