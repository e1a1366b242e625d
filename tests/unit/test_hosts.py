"""The hosts that requests may go to: exact names over https, and loopback hosts only where they are named."""

import pytest
from hypothesis import example, given
from hypothesis import provisional as web
from hypothesis import strategies as st
from urllib3.util import parse_url

from services.shared.gopro.hosts import AllowedHosts, ForbiddenHost

CDN = "media-cdn-vod.gopro.com"


def allowed(url: str, *hosts: str) -> bool:
    try:
        AllowedHosts(hosts or (CDN,)).check(url)
    except ForbiddenHost:
        return False
    return True


@pytest.mark.parametrize(
    "url",
    [
        f"https://{CDN}/file?Signature=x", f"https://{CDN.upper()}/file", f"https://{CDN}:443/file", f"HTTPS://{CDN}",
        f"https://{CDN}?@evil.example", f"https://{CDN}#@evil.example",
    ],
)  # fmt: skip
def test_a_named_host_is_allowed_over_https(url: str) -> None:
    assert allowed(url)


@pytest.mark.scenario(51)
@pytest.mark.parametrize(
    "url",
    [
        # another scheme, or none
        f"http://{CDN}/file", f"ftp://{CDN}/file", f"//{CDN}/file", CDN, "file:///etc/passwd", "",
        # another host
        f"https://evil.{CDN}/file", f"https://{CDN}.evil.example/file", f"https://{CDN}./file", f"https://evil{CDN}/file",
        # a user name, or what looks like one
        f"https://user@{CDN}/file", f"https://user:password@{CDN}/file", f"https://@{CDN}/file",
        f"https://{CDN}@evil.example/file", f"https://{CDN}:x@evil.example/file",
        rf"https://{CDN}\@evil.example/file", rf"https://evil.example\@{CDN}/file",
        # characters that parsers treat differently
        f"https://{CDN}%00.evil.example/file", f"https://{CDN}\t.evil.example/file", f"https://{CDN}\n.evil.example/file",
        "https://\u2100.example/file",
        # an address
        "https://169.254.169.254/latest/meta-data/", "https://127.0.0.1/file", "https://localhost/file",
        "https://[::1]/file", "https://2130706433/file",
        # no host
        "https://", "https:///file", "https://[broken/file",
    ],
)  # fmt: skip
def test_every_other_url_is_refused(url: str) -> None:
    assert not allowed(url)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.9.10"])
def test_a_named_loopback_host_is_allowed_over_plain_http(host: str) -> None:
    named = f"[{host}]" if ":" in host else host
    assert allowed(f"http://{named}:8080/file", host)
    assert allowed(f"https://{named}:8080/file", host)
    assert not allowed(f"ftp://{named}/file", host)


@pytest.mark.scenario(51)
@pytest.mark.parametrize("host", ["10.0.0.1", "169.254.169.254", "192.168.1.1", "8.8.8.8", "fd00::1", "0.0.0.0"])
def test_no_other_address_is_allowed_even_if_it_is_named(host: str) -> None:
    named = f"[{host}]" if ":" in host else host
    assert not allowed(f"https://{named}/file", host)
    assert not allowed(f"http://{named}/file", host)


def test_a_host_that_gopro_has_moved_to_is_named_with_the_setting_and_the_command() -> None:
    with pytest.raises(ForbiddenHost) as refused:
        AllowedHosts([CDN, "b.example"]).check("https://CDN-2.gopro.com/file?Signature=secret")
    assert str(refused.value) == (
        "GoPro offers its files at cdn-2.gopro.com, which is not an allowed host (setting `download_hosts`)"
    )
    assert refused.value.remedy == (
        "If cdn-2.gopro.com is GoPro's own host, allow it. Set this in cloud-sync.toml:\n"
        '    download_hosts = ["b.example", "cdn-2.gopro.com", "media-cdn-vod.gopro.com"]\n'
        "Then deploy; the next sync stores what is missing:\n"
        "    .venv/bin/cdk deploy"
    )


@pytest.mark.parametrize(
    "url",
    [
        "https://10.0.0.1/a",
        "https://localhost/a",
        "https://a;reboot.example/a",
        "http://cdn.example/a",
        "https://",
        "x",
    ],
)
def test_no_command_allows_what_never_should_be(url: str) -> None:
    with pytest.raises(ForbiddenHost) as refused:
        AllowedHosts([CDN]).check(url)
    assert not refused.value.remedy


def test_on_the_local_stage_another_loopback_host_can_be_allowed() -> None:
    with pytest.raises(ForbiddenHost) as refused:
        AllowedHosts(["127.0.0.1"]).check("http://localhost:8080/file")
    assert 'download_hosts = ["127.0.0.1", "localhost"]' in refused.value.remedy


def test_the_setting_is_a_comma_list() -> None:
    hosts = AllowedHosts.parse(f" {CDN} , 127.0.0.1,, ")
    hosts.check(f"https://{CDN}/file")
    hosts.check("http://127.0.0.1:1/file")
    with pytest.raises(ForbiddenHost):
        AllowedHosts.parse("").check("https:///file")


@example(f"https://{CDN[:-3]}\n{CDN[-3:]}/file")
@example(f"https://{CDN}:99999/file")
@given(web.urls() | st.text() | st.text().map(lambda text: f"https://{CDN}{text}/file"))
def test_the_http_library_sees_the_same_host_in_every_allowed_url(url: str) -> None:
    if allowed(url):
        target = parse_url(url)
        assert target.scheme == "https"
        assert target.host == CDN
        assert target.auth is None


@given(st.text(min_size=1).map(lambda text: f"https://{text}?Signature=canary#canary"))
def test_no_refusal_shows_the_url(url: str) -> None:
    try:
        AllowedHosts([CDN]).check(url)
    except ForbiddenHost as refusal:
        before: BaseException | None = refusal
        while before:
            assert "canary" not in str(before)
            before = before.__cause__ or before.__context__
