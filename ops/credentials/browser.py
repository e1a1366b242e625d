"""Takes a session from a browser of its own, in which the person signs in to GoPro.

The browser has its own profile, so it sees nothing of the person's other browsing, and of its cookies only one is read.
The profile is kept: next time GoPro may still know the browser, and nobody has to sign in again.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.credentials.pasted import COOKIE
from ops.errors import OperatorError

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

LIBRARY_PAGE = "https://gopro.com/media-library"
PROFILE = Path("~/.local/share/cloud-sync/browser")

_NAMES = ("google-chrome", "google-chrome-stable", "chromium", "chromium-browser", "microsoft-edge")
_LOOK_EVERY_MS = 300
_SETTLE_SECONDS = 15.0  # for a remembered browser to get its session
_LOAD_MS = 60_000


@dataclass(frozen=True, kw_only=True)
class Window:
    """A browser and what it opens."""

    page: str = LIBRARY_PAGE
    profile: Path = PROFILE
    executable: str = ""  # empty: the Chrome or Chromium of this machine
    headless: bool = False
    arguments: tuple[str, ...] = ()  # more of the browser's own

    def sign_in(self, accepted: Callable[[str], bool], *, seconds: float, say: Callable[[str], None]) -> str:
        """Open the library, wait until the person has signed in, and return the session's token.

        `accepted` tells whether GoPro accepts a token: a kept profile may still hold a dead one. Raises `OperatorError`
        when the window is closed, when the time is over, or when there is no browser.
        """
        with self._open() as context:
            say(f"a browser window shows {self.page}. Sign in there; this command goes on by itself")
            token = self._wait(context, accepted, seconds)
        if not token:
            raise OperatorError(f"Nobody signed in within {seconds:.0f} seconds. Try again with a longer --timeout.")
        return token

    def reopen(self, accepted: Callable[[str], bool]) -> str:
        """Open the library without a window, and return the token of the session that the kept profile has.

        Raises `OperatorError` when GoPro asks to sign in again.
        """
        if not self._folder.is_dir():
            raise OperatorError(f"There is no profile in {self._folder} yet: sign in once with `credentials login`.")
        with self._open() as context:
            token = self._wait(context, accepted, _SETTLE_SECONDS)
        if not token:
            raise OperatorError("GoPro asks to sign in again: run `credentials login`.")
        return token

    @property
    def _folder(self) -> Path:
        return self.profile.expanduser()

    def _wait(self, context: "BrowserContext", accepted: Callable[[str], bool], seconds: float) -> str:
        from playwright.sync_api import Error  # noqa: PLC0415  # an extra

        judged: set[str] = set()
        ends = time.monotonic() + seconds
        try:
            page = context.pages[0] if context.pages else context.new_page()
            page.goto(self.page, wait_until="domcontentloaded", timeout=_LOAD_MS)
            while time.monotonic() < ends:
                token = self._cookie(context)
                if token and token not in judged and accepted(token):
                    return token
                judged.add(token)
                page.wait_for_timeout(_LOOK_EVERY_MS)
        except Error as error:
            if "closed" in error.message or "detached" in error.message:  # as it waited, or as the page loaded
                raise OperatorError("The browser window was closed before anybody had signed in.") from None
            raise OperatorError(f"The browser could not open {self.page}: {_first_line(error.message)}") from None
        return ""

    def _cookie(self, context: "BrowserContext") -> str:
        cookies = context.cookies(self.page)
        return next((str(cookie.get("value", "")) for cookie in cookies if cookie.get("name") == COOKIE), "")

    @contextmanager
    def _open(self) -> "Iterator[BrowserContext]":
        try:
            from playwright.sync_api import Error, sync_playwright  # noqa: PLC0415  # an extra
        except ModuleNotFoundError:
            raise OperatorError(
                "Signing in with a browser needs Playwright: .venv/bin/python -m pip install '.[browser]'"
            ) from None
        self._folder.mkdir(parents=True, exist_ok=True)
        self._folder.chmod(0o700)  # whoever reads the profile is signed in
        executable = self.executable or next(filter(None, map(shutil.which, _NAMES)), None)
        browser: dict[str, Any] = {"executable_path": executable} if executable else {"channel": "chrome"}
        with sync_playwright() as playwright:
            try:
                context = playwright.chromium.launch_persistent_context(
                    self._folder, headless=self.headless, no_viewport=True, args=self.arguments, **browser
                )
            except Error as error:
                raise OperatorError(
                    f"No Chrome or Chromium could be started: {_first_line(error.message)} "
                    "Install one, or name it with --browser."
                ) from None
            try:
                yield context
            finally:
                context.close()


def _first_line(message: str) -> str:
    return message.strip().partition("\n")[0]
