"""Which hosts may be talked to."""

import ipaddress
from collections.abc import Iterable
from contextlib import suppress
from urllib.parse import SplitResult, urlsplit

from services.shared.errors import PermanentError


class ForbiddenHost(PermanentError):
    """A URL points where no request may go. Its text never holds the URL, which may be signed."""


class AllowedHosts:
    """Exact host names that may be fetched from, over https.

    A loopback address may be named too, for a stage on one's own machine; only such a host may be spoken to
    over plain http. Every other address literal is refused, so no redirect leads into a private network.
    """

    def __init__(self, hosts: Iterable[str]) -> None:
        self._hosts = frozenset(host.strip().lower() for host in hosts if host.strip())

    @classmethod
    def parse(cls, comma_list: str) -> "AllowedHosts":
        return cls(comma_list.split(","))

    def check(self, url: str) -> None:
        """Raises `ForbiddenHost` unless requests to this URL are allowed."""
        parts, host = _parse(url)
        if host not in self._hosts:
            raise ForbiddenHost(f"the host {host or '(none)'} is not among the allowed ones")
        loopback = _is_loopback(host)
        if _is_address(host) and not loopback:
            raise ForbiddenHost(f"the address {host} is not a loopback one")
        if parts.scheme != "https" and not (parts.scheme == "http" and loopback):
            raise ForbiddenHost(f"{parts.scheme or 'no scheme'} is not allowed for {host}")

    def check_api(self, url: str) -> None:
        """The same for the API's own address, whose name needs no allowance as long as it is one, over https."""
        parts, host = _parse(url)
        if parts.scheme != "https" or not host or _is_address(host) or _is_loopback(host):
            self.check(url)


def _parse(url: str) -> tuple[SplitResult, str]:
    # urlsplit drops some characters silently that the libraries which go there take, or refuse, in other ways.
    plain = url.isascii() and url.isprintable() and " " not in url
    with suppress(ValueError):
        parts = urlsplit(url if plain else "")
        host = (parts.hostname or "").lower()
        _ = parts.port  # raises when it is none
        if parts.username is not None or parts.password is not None:
            raise ForbiddenHost(f"a URL for {host} carries a user name")
        return parts, host
    raise ForbiddenHost("not a URL")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)
