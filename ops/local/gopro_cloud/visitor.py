"""A plain client of the cloud, for tests that look at its answers as they come."""

from typing import Any

import requests

ACCEPT = "application/vnd.gopro.jk.media+json; version=2.0.0"


class Visitor:
    """Holds a session's token, if any, and sends the vendor's header. Answers are `requests` responses, unchecked."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = url
        self.http = requests.Session()
        self.http.trust_env = False  # no proxy of the environment
        self.headers = {"Accept": ACCEPT}
        if token is not None:
            self.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str, **parameters: Any) -> requests.Response:
        """GET a path of the API."""
        return self._send("GET", self.url + path, params=parameters, headers=self.headers)

    def post_token(self, **form: str) -> requests.Response:
        """Ask for a token, with the fields form-encoded."""
        return self._send("POST", f"{self.url}/v1/oauth2/token", data=form)

    def page(self, number: int = 1, **parameters: Any) -> list[dict[str, Any]]:
        """Return the rows of one page of the listing."""
        rows: list[dict[str, Any]] = self.get("/media/search", page=number, **parameters).json()["_embedded"]["media"]
        return rows

    def ids(self, number: int = 1, **parameters: Any) -> list[str]:
        return [row["id"] for row in self.page(number, **parameters)]

    def offered(self, media_id: str) -> dict[str, Any]:
        """Return `files`, `variations`, `sprites` and `sidecar_files` of a medium's download listing."""
        embedded: dict[str, Any] = self.get(f"/media/{media_id}/download").json()["_embedded"]
        return embedded

    def source_url(self, media_id: str, *, link: str = "url") -> str:
        """Return the signed URL of the first variation labelled `source`; `link` may be `head`."""
        return str(next(one[link] for one in self.offered(media_id)["variations"] if one["label"] == "source"))

    def fetch(self, url: str, *, byte_range: str | None = None, **headers: str) -> requests.Response:
        """GET a signed URL, without the session; `byte_range` as in `0-99`."""
        if byte_range is not None:
            headers["Range"] = f"bytes={byte_range}"
        headers.setdefault("Accept-Encoding", "identity")
        return self._send("GET", url, headers=headers)

    def _send(self, method: str, url: str, **request: Any) -> requests.Response:
        return self.http.request(method, url, timeout=60, allow_redirects=False, **request)
