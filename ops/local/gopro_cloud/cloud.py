"""The fake GoPro Cloud as a whole: its parts put together, and what a test does with it."""

import threading
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Literal, Self

import msgspec

from ops.local.gopro_cloud.api import Api, refusal, target_of
from ops.local.gopro_cloud.cdn import Cdn, etag_of
from ops.local.gopro_cloud.contents import sha256
from ops.local.gopro_cloud.control import ControlDesk
from ops.local.gopro_cloud.exchange import Reply, Request
from ops.local.gopro_cloud.faults import Fault, FaultBook
from ops.local.gopro_cloud.library import Catalogue, Library, Medium
from ops.local.gopro_cloud.login import LoginPages
from ops.local.gopro_cloud.oauth import Account, TokenOffice
from ops.local.gopro_cloud.observations import Observations, Seen
from ops.local.gopro_cloud.server import Server
from ops.local.gopro_cloud.signing import KEY_PAIR_ID, Clock, Signer


class FakeGoProCloud:
    """A whole cloud. `with FakeGoProCloud(library) as cloud:` serves it in threads of this process.

    `url` is the address of the API and the CDN, `control_url` that of the control API.
    """

    def __init__(
        self,
        library: Library | None = None,
        *,
        account: Account | None = None,
        port: int = 0,
        host: str = "127.0.0.1",
    ) -> None:
        self._first_library = library or Library()
        self._first_account = account or Account()
        self.observations = Observations()
        self._server = Server(host, port, self.answer, self.observations.end)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.url = f"http://{host}:{self._server.port}"
        self.control_url = f"{self.url}/control"
        self.clock = Clock()
        self.faults = FaultBook()
        self.catalogue = Catalogue()
        self.tokens = TokenOffice(self.clock, self._first_account)
        self._login = LoginPages(self.tokens)
        self._signer = Signer(self.clock, self.url)
        self._api = Api(self.catalogue, self.tokens, self._signer, self.faults)
        self._cdn = Cdn(self.catalogue, self._signer, self.faults)
        self._desk = ControlDesk(self)
        self._outage: tuple[float, str] = (0.0, "all")
        self.replace_library(self._first_library)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.stop()
        self._thread.join()

    # -- scripting ----------------------------------------------------------------------------------------------------

    def replace_library(self, library: Library) -> None:
        """Serve another library and its faults; earlier faults are removed."""
        self.catalogue.replace(library)
        self.faults.disarm()
        self.faults.arm(library.faults)
        for medium in library.media:
            self.faults.arm(msgspec.structs.replace(fault, media_id=medium.media_id) for fault in medium.faults)

    def change_library(self, *, add: Iterable[Medium] = (), remove: Iterable[str] = ()) -> None:
        """Add media, each in the place of one with the same id, as a reprocessed one; faults stay armed."""
        self.catalogue.add(add)
        self.catalogue.remove(remove)

    def arm(self, *faults: Fault) -> None:
        self.faults.arm(faults)

    def advance(self, seconds: float) -> None:
        """Let time pass for signed URLs and tokens."""
        self.clock.advance(seconds)

    def outage(self, seconds: float, of: Literal["api", "all"] = "all") -> None:
        """Answer the API's requests, or all, with 503 for `seconds` of real time; 0 ends an outage."""
        self._outage = (time.monotonic() + seconds, of)

    def configure_account(self, **changes: Any) -> None:
        """Change fields of the account, as `expires_in=20` or `two_factor=True`; issued tokens stay good."""
        self.tokens.configure(**changes)

    def reset(self) -> None:
        """Return to how it was made: library, account, clock; nothing observed, no fault, no session."""
        self.outage(0)
        self.clock.ahead = 0.0
        self._signer.reset()
        self.tokens.reset(self._first_account)
        self._login.reset()
        self.replace_library(self._first_library)
        self.observations.clear()

    # -- comparing ----------------------------------------------------------------------------------------------------

    def originals(self, media_id: str) -> list[dict[str, Any]]:
        """Return a medium's originals in order: `item` (from 1), `label`, `filename`, `size`, `sha256`, `etag`."""
        medium = self.catalogue.get(media_id)
        if medium is None:
            raise ValueError(f"no medium {media_id}")
        return [
            {
                "item": item,
                "label": one.label,
                "filename": one.filename,
                "size": one.content.size,
                "sha256": sha256(one.content),
                "etag": etag_of(medium, one.content),
            }
            for item, one in enumerate(medium.originals(), start=1)
        ]

    def sha256(self, media_id: str, item: int = 1) -> str:
        """Return the SHA-256, in hex, of a medium's original number `item`."""
        return str(self.originals(media_id)[item - 1]["sha256"])

    @property
    def secrets(self) -> dict[str, list[str]]:
        """Every secret that it has given away since it was made or reset: nobody's output may show one."""
        return {**self.tokens.issued, "signature": self._signer.issued, "key_pair_id": [KEY_PAIR_ID]}

    # -- answering ----------------------------------------------------------------------------------------------------

    def answer(self, request: Request) -> tuple[Reply, Seen]:
        """Return the reply to a request, and the note of it, which the server fills in while it sends."""
        target = target_of(request.method, request.path)
        seen = Seen(
            at=time.time(),
            endpoint=target.endpoint,
            method=request.method,
            media_id=target.media_id,
            label=target.label,
            item=target.item,
            range=request.header("Range"),
            authorized=request.header("Authorization") is not None,
        )
        if request.path.startswith("/control/"):
            return self._desk.answer(request), seen
        self.observations.begin(seen)
        until, of = self._outage
        if time.monotonic() < until and (of == "all" or target.endpoint != "cdn"):
            return refusal(503), seen
        if target.endpoint == "cdn":
            return self._cdn.answer(request, target), seen
        if target.endpoint == "login":
            return self._login.answer(request), seen
        return self._api.answer(request, target, seen), seen
