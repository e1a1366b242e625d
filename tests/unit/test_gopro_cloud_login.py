"""The fake's web pages: who may sign in, and who is remembered."""

from collections.abc import Iterator

import pytest
import requests

from ops.local.gopro_cloud.cloud import FakeGoProCloud
from ops.local.gopro_cloud.oauth import DEMO_CREDENTIALS

GOOD = {"username": DEMO_CREDENTIALS["username"], "password": DEMO_CREDENTIALS["password"]}


@pytest.fixture
def cloud() -> Iterator[FakeGoProCloud]:
    with FakeGoProCloud() as running:
        yield running


@pytest.fixture
def browser() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


def test_a_browser_signs_in_and_gets_the_cookie(cloud: FakeGoProCloud, browser: requests.Session) -> None:
    assert "Sign in" in browser.get(f"{cloud.url}/media-library").text
    page = browser.post(f"{cloud.url}/login", data=GOOD)
    assert "Media library" in page.text
    assert cloud.tokens.judge(browser.cookies["gp_access_token"])[1]


def test_a_wrong_password_gets_no_cookie(cloud: FakeGoProCloud, browser: requests.Session) -> None:
    page = browser.post(f"{cloud.url}/login", data={**GOOD, "password": "wrong"})
    assert "is wrong" in page.text
    assert not browser.cookies


def test_the_second_factor_is_asked_for(cloud: FakeGoProCloud, browser: requests.Session) -> None:
    cloud.configure_account(two_factor=True)
    assert "Code" in browser.post(f"{cloud.url}/login", data=GOOD).text
    assert "is wrong" in browser.post(f"{cloud.url}/login/code", data={"code": "0"}).text
    assert "gp_access_token" not in browser.cookies
    assert "Media library" in browser.post(f"{cloud.url}/login/code", data={"code": "246810"}).text
    assert cloud.tokens.judge(browser.cookies["gp_access_token"])[1]


def test_a_code_without_a_password_leads_back_to_the_login(cloud: FakeGoProCloud, browser: requests.Session) -> None:
    assert "Sign in" in browser.post(f"{cloud.url}/login/code", data={"code": "246810"}).text
    assert not browser.cookies


def test_a_remembered_browser_gets_a_new_session_only_when_its_own_is_dead(
    cloud: FakeGoProCloud, browser: requests.Session
) -> None:
    browser.post(f"{cloud.url}/login", data=GOOD)
    first = browser.cookies["gp_access_token"]
    browser.get(f"{cloud.url}/media-library")
    assert browser.cookies["gp_access_token"] == first
    cloud.advance(9 * 3600)
    assert not cloud.tokens.judge(first)[1]
    browser.get(f"{cloud.url}/media-library")
    assert browser.cookies["gp_access_token"] != first
    assert cloud.tokens.judge(browser.cookies["gp_access_token"])[1]
