"""Signing in with a real Chromium, on the login page of the fake GoPro Cloud."""

import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from playwright.sync_api import Error, Page, sync_playwright

from ops.credentials.browser import Window
from ops.errors import OperatorError
from ops.local.gopro_cloud.cloud import FakeGoProCloud
from ops.local.gopro_cloud.oauth import DEMO_CREDENTIALS
from tools.bench.servers import free_ports
from tools.template import ROOT

CHROMIUM = ROOT / ".chromium" / "chromium"

pytestmark = pytest.mark.slow


@dataclass
class SignIn:
    """A window, the cloud behind it, and a person before it."""

    cloud: FakeGoProCloud
    window: Window
    port: int  # where a second client drives the same browser

    def accepted(self, token: str) -> bool:
        return self.cloud.tokens.judge(token)[1]

    def as_(self, person: Callable[[Page], None], *, seconds: float = 60) -> str:
        """Sign in while the person acts on the page; return the token."""
        acting = threading.Thread(target=self._act, args=(person,))
        acting.start()
        try:
            return self.window.sign_in(self.accepted, seconds=seconds, say=lambda _: None)
        finally:
            acting.join()

    def _act(self, person: Callable[[Page], None]) -> None:
        with sync_playwright() as playwright:
            while True:
                try:
                    browser = playwright.chromium.connect_over_cdp(f"http://127.0.0.1:{self.port}")
                    break
                except Error:  # the browser is still starting
                    threading.Event().wait(0.1)
            person(browser.contexts[0].pages[0])


@pytest.fixture
def sign_in(tmp_path: Path) -> Iterator[SignIn]:
    assert CHROMIUM.exists(), "make .chromium/.ready"
    (port,) = free_ports(1)
    with FakeGoProCloud() as cloud:
        window = Window(
            page=f"{cloud.url}/media-library",
            profile=tmp_path / "profile",
            executable=str(CHROMIUM),
            headless=True,
            arguments=(f"--remote-debugging-port={port}",),
        )
        yield SignIn(cloud, window, port)


def enter_password(page: Page, password: str = DEMO_CREDENTIALS["password"]) -> None:
    page.get_by_label("E-mail").fill(DEMO_CREDENTIALS["username"])
    page.get_by_label("Password").fill(password)
    page.get_by_role("button").click()


def test_a_person_signs_in_and_the_profile_is_kept(sign_in: SignIn) -> None:
    token = sign_in.as_(enter_password)
    assert sign_in.accepted(token)
    assert stat.S_IMODE(sign_in.window.profile.stat().st_mode) == 0o700
    # Next time nobody has to sign in: first the same session, and once it is dead a new one.
    assert sign_in.window.reopen(sign_in.accepted) == token
    sign_in.cloud.advance(10 * 3600)
    renewed = sign_in.window.reopen(sign_in.accepted)
    assert renewed != token
    assert sign_in.accepted(renewed)


def test_a_second_factor_and_a_wrong_password_first(sign_in: SignIn) -> None:
    sign_in.cloud.configure_account(two_factor=True)

    def person(page: Page) -> None:
        enter_password(page, "wrong")
        page.get_by_role("alert").wait_for()
        enter_password(page)
        page.get_by_label("Code").fill(sign_in.cloud.tokens.account.code)
        page.get_by_role("button").click()

    assert sign_in.accepted(sign_in.as_(person))


def test_a_closed_window_is_told(sign_in: SignIn) -> None:
    with pytest.raises(OperatorError, match="closed before anybody had signed in"):
        sign_in.as_(lambda page: page.close())


def test_nobody_signs_in_in_time(sign_in: SignIn) -> None:
    with pytest.raises(OperatorError, match="Nobody signed in within 1 seconds"):
        sign_in.window.sign_in(sign_in.accepted, seconds=1, say=lambda _: None)


def test_a_browser_that_gopro_has_forgotten_has_to_sign_in(sign_in: SignIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops.credentials.browser._SETTLE_SECONDS", 1.0)
    with pytest.raises(OperatorError, match="no profile"):
        sign_in.window.reopen(sign_in.accepted)
    sign_in.window.profile.mkdir()
    with pytest.raises(OperatorError, match="asks to sign in again"):
        sign_in.window.reopen(sign_in.accepted)


def test_a_browser_that_cannot_start_is_named(sign_in: SignIn, tmp_path: Path) -> None:
    window = replace(sign_in.window, executable=str(tmp_path / "no-browser"))
    with pytest.raises(OperatorError, match="No Chrome or Chromium could be started"):
        window.sign_in(sign_in.accepted, seconds=1, say=lambda _: None)
