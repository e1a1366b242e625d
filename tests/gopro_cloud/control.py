"""The control API: scripting and watching a running cloud over HTTP, from any process."""

from __future__ import annotations

import json
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from tests.gopro_cloud.exchange import Reply, Request, json_reply
from tests.gopro_cloud.faults import Fault, fault_from_json
from tests.gopro_cloud.library import Library, Medium
from tests.gopro_cloud.observations import Seen

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.gopro_cloud.cloud import FakeGoProCloud

Form = dict[str, Any]


class ControlDesk:
    """The server's side: `GET` tells, `POST` changes; a form that can't be read gets 400 and says why."""

    def __init__(self, cloud: FakeGoProCloud) -> None:
        self._cloud = cloud
        self._desks: dict[tuple[str, str], Callable[[Form], Form]] = {
            ("GET", "observations"): self._observations,
            ("DELETE", "observations"): self._forget,
            ("GET", "library"): lambda _: self._cloud.library.to_json(),
            ("POST", "library"): self._library,
            ("POST", "media"): self._media,
            ("GET", "originals"): lambda form: {"originals": self._cloud.originals(form["media_id"])},
            ("GET", "faults"): lambda _: {"faults": self._cloud.faults.to_json()},
            ("POST", "faults"): self._faults,
            ("GET", "clock"): lambda _: self._clock({}),
            ("POST", "clock"): self._clock,
            ("GET", "tokens"): lambda _: self._cloud.tokens.to_json(),
            ("POST", "tokens"): self._tokens,
            ("GET", "secrets"): lambda _: dict(self._cloud.secrets),
            ("POST", "settings"): self._settings,
            ("POST", "outage"): self._outage,
            ("POST", "reset"): self._reset,
        }

    def answer(self, request: Request) -> Reply:
        desk = self._desks.get((request.method, request.path.removeprefix("/control/")))
        if desk is None:
            known = sorted(f"{method} /control/{name}" for method, name in self._desks)
            return json_reply(404, {"error": "no such control", "known": known})
        try:
            form = json.loads(request.body) if request.body else dict(request.query)
            return json_reply(200, desk(form))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            return json_reply(400, {"error": f"{type(error).__name__}: {error}"})

    def _observations(self, form: Form) -> Form:
        return self._cloud.observations.to_json(
            since=int(form.get("since", 0)), requests=form.get("requests", "1") not in ("0", "false")
        )

    def _forget(self, form: Form) -> Form:
        self._cloud.observations.clear()
        return {}

    def _library(self, form: Form) -> Form:
        library = Library.from_json(form)
        self._cloud.replace_library(library)
        return {"media": len(library.media) + sum(series.count for series in library.series)}

    def _media(self, form: Form) -> Form:
        added = [Medium.from_json(entry) for entry in form.get("add", ())]
        self._cloud.add_media(*added)
        self._cloud.remove_media(*form.get("remove", ()))
        return {"added": len(added), "removed": len(form.get("remove", ()))}

    def _faults(self, form: Form) -> Form:
        faults = [fault_from_json(entry) for entry in form.get("add", ())]
        clear = form.get("clear")
        if clear:
            self._cloud.faults.disarm(None if clear is True else str(clear))
        self._cloud.arm(*faults)
        return {"faults": self._cloud.faults.to_json()}

    def _clock(self, form: Form) -> Form:
        self._cloud.advance(float(form.get("advance", 0)))
        return {"now": self._cloud.clock.now(), "ahead": self._cloud.clock.ahead}

    def _tokens(self, form: Form) -> Form:
        tokens = self._cloud.tokens
        if "account" in form:
            self._cloud.configure_account(**form["account"])
        revoke = form.get("revoke")
        if revoke not in (None, "access", "refresh", "all"):
            raise ValueError("revoke is access, refresh or all")
        if revoke in ("access", "all"):
            tokens.revoke_access()
        if revoke in ("refresh", "all"):
            tokens.blacklist_refresh()
        if "accept" in form:
            tokens.accept(str(form["accept"]))
        pasted = {"access_token": tokens.paste(float(form["paste"]))} if "paste" in form else {}
        return {**tokens.to_json(), **pasted}

    def _settings(self, form: Form) -> Form:
        if unknown := set(form) - {"url_lifetime"}:
            raise ValueError(f"unknown settings: {', '.join(sorted(unknown))}")
        self._cloud.url_lifetime = float(form.get("url_lifetime", self._cloud.url_lifetime))
        return {"url_lifetime": self._cloud.url_lifetime}

    def _outage(self, form: Form) -> Form:
        self._cloud.outage(float(form["seconds"]), form.get("form", "503"), form.get("of", "all"))
        return {}

    def _reset(self, form: Form) -> Form:
        self._cloud.reset()
        return {}


class Control:
    """A client for a cloud that runs elsewhere; `url` is its `control_url`. ValueError when it refuses a form."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def ask(self, method: str, name: str, form: Form | None = None) -> Form:
        """Send one form to `/control/<name>` and return the answer."""
        parts = urlsplit(self.url)
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        try:
            query = f"?{urlencode(form)}" if form and method == "GET" else ""
            body = json.dumps(form) if form is not None and method != "GET" else None
            connection.request(method, f"{parts.path}/control/{name}{query}", body)
            response = connection.getresponse()
            answer: Form = json.loads(response.read())
        finally:
            connection.close()
        if response.status != 200:
            raise ValueError(answer.get("error", answer))
        return answer

    def replace_library(self, library: Library) -> None:
        self.ask("POST", "library", library.to_json())

    def add_media(self, *media: Medium) -> None:
        self.ask("POST", "media", {"add": [medium.to_json() for medium in media]})

    def remove_media(self, *media_ids: str) -> None:
        self.ask("POST", "media", {"remove": list(media_ids)})

    def arm(self, *faults: Fault) -> None:
        self.ask("POST", "faults", {"add": [fault.to_json() for fault in faults]})

    def disarm(self, media_id: str | None = None) -> None:
        """Take away the faults of one medium, or all."""
        self.ask("POST", "faults", {"clear": media_id or True})

    def advance(self, seconds: float) -> float:
        """Let time pass for URLs and tokens; returns the cloud's time, unix seconds."""
        return float(self.ask("POST", "clock", {"advance": seconds})["now"])

    def outage(self, seconds: float, form: str = "503", of: str = "all") -> None:
        self.ask("POST", "outage", {"seconds": seconds, "form": form, "of": of})

    def revoke_tokens(self, what: str = "access") -> None:
        """`access`, `refresh` or `all` tokens are dead from now on."""
        self.ask("POST", "tokens", {"revoke": what})

    def paste_token(self, lifetime: float) -> str:
        """A browser's access token, good for `lifetime` seconds."""
        return str(self.ask("POST", "tokens", {"paste": lifetime})["access_token"])

    def configure_account(self, **changes: Any) -> None:
        self.ask("POST", "tokens", {"account": changes})

    def set_url_lifetime(self, seconds: float) -> None:
        self.ask("POST", "settings", {"url_lifetime": seconds})

    def tokens(self) -> Form:
        return self.ask("GET", "tokens")

    def secrets(self) -> dict[str, list[str]]:
        """All that it has given away, by kind: `access_token`, `refresh_token`, `signature`, `key_pair_id`."""
        return dict(self.ask("GET", "secrets"))

    def observations(self) -> Form:
        """Totals, concurrency, attempts and every request; see `Observations.to_json`."""
        return self.ask("GET", "observations")

    def totals(self) -> Form:
        """The observations without the single requests."""
        return self.ask("GET", "observations", {"requests": "0"})

    def requests(self, endpoint: str | None = None, media_id: str | None = None) -> list[Seen]:
        """The requests so far, oldest first, of one endpoint or medium where given."""
        every = [Seen(**{**one, "faults": tuple(one["faults"])}) for one in self.observations()["requests"]]
        return [one for one in every if endpoint in (None, one.endpoint) and media_id in (None, one.media_id)]

    def forget(self) -> None:
        """Begin to observe anew."""
        self.ask("DELETE", "observations")

    def originals(self, media_id: str) -> list[Form]:
        """A medium's originals in order: `item`, `label`, `filename`, `size`, `sha256`, `etag`."""
        return list(self.ask("GET", "originals", {"media_id": media_id})["originals"])

    def sha256(self, media_id: str, item: int = 1) -> str:
        return str(self.originals(media_id)[item - 1]["sha256"])

    def reset(self) -> None:
        self.ask("POST", "reset")
