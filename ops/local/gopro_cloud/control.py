"""The control API: scripting and watching a running cloud over HTTP, from any process."""

import inspect
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, get_type_hints

import msgspec
import requests

from ops.local.gopro_cloud.exchange import Reply, Request, json_reply
from ops.local.gopro_cloud.faults import Fault
from ops.local.gopro_cloud.library import Library, Medium
from ops.local.gopro_cloud.observations import Seen

if TYPE_CHECKING:
    from ops.local.gopro_cloud.cloud import FakeGoProCloud


class ControlDesk:
    """The server's side: each public method is a call, `POST /control/<its name>` with its arguments as JSON."""

    def __init__(self, cloud: "FakeGoProCloud") -> None:
        self._cloud = cloud

    def answer(self, request: Request) -> Reply:
        """Answer one request; 404 lists the calls, and 400 says what is wrong with the arguments."""
        calls = {name: call for name, call in inspect.getmembers(self) if not name.startswith("_") and name != "answer"}
        call = calls.get(request.path.removeprefix("/control/"))
        if call is None or request.method != "POST":
            return json_reply(404, {"error": f"no such call; known are: POST /control/{{{','.join(sorted(calls))}}}"})
        try:
            given = msgspec.json.decode(request.body or b"{}", type=dict[str, Any])
            types = get_type_hints(call)
            if unknown := given.keys() - inspect.signature(call).parameters:
                raise ValueError(f"unknown arguments: {', '.join(sorted(unknown))}")
            arguments = {name: msgspec.convert(value, types[name]) for name, value in given.items()}
            return json_reply(200, msgspec.to_builtins(call(**arguments)))
        except (ValueError, TypeError, msgspec.MsgspecError) as error:
            return json_reply(400, {"error": str(error)})

    def replace_library(self, library: Library) -> None:
        self._cloud.replace_library(library)

    def change_library(self, add: list[Medium], remove: list[str]) -> None:
        self._cloud.change_library(add=add, remove=remove)

    def originals(self, media_id: str) -> list[dict[str, Any]]:
        return self._cloud.originals(media_id)

    def arm(self, faults: list[Fault]) -> None:
        self._cloud.arm(*faults)

    def disarm(self, media_id: str | None = None) -> None:
        self._cloud.faults.disarm(media_id)

    def not_struck(self) -> list[Fault]:
        return self._cloud.faults.not_struck()

    def advance(self, seconds: float) -> None:
        self._cloud.advance(seconds)

    def configure_account(self, changes: dict[str, Any]) -> None:
        self._cloud.configure_account(**changes)

    def paste_token(self, lifetime: float) -> str:
        return self._cloud.tokens.paste(lifetime)

    def revoke_tokens(self, what: Literal["access", "refresh", "all"] = "access") -> None:
        if what != "refresh":
            self._cloud.tokens.revoke_access()
        if what != "access":
            self._cloud.tokens.blacklist_refresh()

    def secrets(self) -> dict[str, list[str]]:
        return self._cloud.secrets

    def requests(self) -> list[Seen]:
        return self._cloud.observations.requests()

    def totals(self) -> dict[str, Any]:
        return {"downloads": self._cloud.observations.downloads._asdict()}

    def forget(self) -> None:
        self._cloud.observations.clear()

    def reset(self) -> None:
        self._cloud.reset()


class Control:
    """The client's side; `url` is a running cloud's `control_url`. ValueError when the cloud refuses a call."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def _call(self, name: str, **arguments: Any) -> Any:
        with requests.Session() as session:
            session.trust_env = False  # no proxy of the environment
            response = session.post(f"{self.url}/{name}", msgspec.json.encode(arguments), timeout=60)
        answer = response.json()
        if not response.ok:
            raise ValueError(answer["error"])
        return answer

    def replace_library(self, library: Library) -> None:
        """Serve another library and its faults; earlier faults are removed."""
        self._call("replace_library", library=library)

    def change_library(self, *, add: Iterable[Medium] = (), remove: Iterable[str] = ()) -> None:
        """Add media, each in the place of one with the same id, and remove others; faults stay armed."""
        self._call("change_library", add=list(add), remove=list(remove))

    def originals(self, media_id: str) -> list[dict[str, Any]]:
        """Return a medium's originals in order: `item`, `label`, `filename`, `size`, `sha256`, `etag`."""
        return list(self._call("originals", media_id=media_id))

    def sha256(self, media_id: str, item: int = 1) -> str:
        """Return the SHA-256, in hex, of a medium's original number `item`."""
        return str(self.originals(media_id)[item - 1]["sha256"])

    def arm(self, *faults: Fault) -> None:
        self._call("arm", faults=faults)

    def disarm(self, media_id: str | None = None) -> None:
        """Remove the faults of one medium, or with None all of them."""
        self._call("disarm", media_id=media_id)

    def not_struck(self) -> list[Fault]:
        """Return the faults that are armed and have hit no request yet."""
        return msgspec.convert(self._call("not_struck"), list[Fault])

    def advance(self, seconds: float) -> None:
        """Let time pass for signed URLs and tokens."""
        self._call("advance", seconds=seconds)

    def configure_account(self, **changes: Any) -> None:
        """Change fields of the account, as `expires_in=20`; issued tokens stay good."""
        self._call("configure_account", changes=changes)

    def paste_token(self, lifetime: float) -> str:
        """Return a browser's access token that is good for `lifetime` seconds."""
        return str(self._call("paste_token", lifetime=lifetime))

    def revoke_tokens(self, what: Literal["access", "refresh", "all"] = "access") -> None:
        self._call("revoke_tokens", what=what)

    def secrets(self) -> dict[str, list[str]]:
        """Return all secrets that the cloud has given away, by kind."""
        return dict(self._call("secrets"))

    def requests(self, endpoint: str | None = None, media_id: str | None = None) -> list[Seen]:
        """Return the requests so far, oldest first: those of one endpoint or medium where given."""
        every = msgspec.convert(self._call("requests"), list[Seen])
        return [seen for seen in every if endpoint in (None, seen.endpoint) and media_id in (None, seen.media_id)]

    def totals(self) -> dict[str, Any]:
        """Return the `downloads`: how many ran at once (`max`), of how many media (`media_max`, `media_current`)."""
        return dict(self._call("totals"))

    def forget(self) -> None:
        """Forget all requests so far."""
        self._call("forget")

    def reset(self) -> None:
        """Return to how the cloud was started."""
        self._call("reset")
