"""The hosts that requests may go to."""

import ipaddress
import re
from collections.abc import Iterable
from contextlib import suppress
from urllib.parse import SplitResult, urlsplit

from services.shared.errors import PermanentError

_HOST_NAME = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")


class ForbiddenHost(PermanentError):
    """The host of a URL is not allowed. The error's text never holds the URL, which may be signed."""


class AllowedHosts:
    """Exact host names that may be fetched from, over https.

    A loopback host may be named too, for the local stage, and only such a host may be reached over plain http. Every
    other IP address is refused, so that no redirect leads into a private network.
    """

    def __init__(self, hosts: Iterable[str]) -> None:
        self._hosts = frozenset(host.strip().lower() for host in hosts if host.strip())

    @classmethod
    def parse(cls, comma_list: str) -> "AllowedHosts":
        """Read the names from a comma list."""
        return cls(comma_list.split(","))

    def check(self, url: str) -> None:
        """Raise `ForbiddenHost` unless requests to this URL are allowed."""
        parts, host = _parse(url)
        if host not in self._hosts:
            raise self._unknown(parts, host)
        loopback = _is_loopback(host)
        if _is_address(host) and not loopback:
            raise ForbiddenHost(f"{host} is an IP address, and not a loopback one")
        if parts.scheme != "https" and not (parts.scheme == "http" and loopback):
            raise ForbiddenHost(f"{host} may only be reached over https, not {parts.scheme or '(no scheme)'}")

    def _unknown(self, parts: SplitResult, host: str) -> ForbiddenHost:
        is_public = parts.scheme == "https" and not _is_address(host) and _HOST_NAME.fullmatch(host)
        is_local = _is_loopback(host) and any(map(_is_loopback, self._hosts))  # on the local stage
        if not (is_public or is_local):
            return ForbiddenHost(f"{host or '(no host)'} is not an allowed host")
        both = ", ".join(f'"{one}"' for one in sorted(self._hosts | {host}))
        return ForbiddenHost(
            f"GoPro offers its files at {host}, which is not an allowed host (setting `download_hosts`)",
            remedy=(
                f"If {host} is GoPro's own host, allow it. Set this in cloud-sync.toml:\n"
                f"    download_hosts = [{both}]\n"
                "Then deploy; the next sync stores what is missing:\n    .venv/bin/cdk deploy"
            ),
        )

    def check_api(self, url: str) -> None:
        """Do the same for the API's own URL. A host name over https needs no allowance."""
        parts, host = _parse(url)
        if parts.scheme != "https" or not host or _is_address(host) or _is_loopback(host):
            self.check(url)


def _parse(url: str) -> tuple[SplitResult, str]:
    # urlsplit silently drops some characters that the HTTP libraries treat differently.
    plain = url.isascii() and url.isprintable() and " " not in url
    with suppress(ValueError):
        parts = urlsplit(url if plain else "")
        host = (parts.hostname or "").lower()
        _ = parts.port  # raises when it is not a number
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
