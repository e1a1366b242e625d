"""The settings of a deployment: `cdk deploy -c env=dev|prod -c name=value`, checked before anything is made.

Needs neither CDK nor a stack, so that a wrong value is refused in the words of whoever typed it.
"""

import difflib
import ipaddress
import re
import zoneinfo
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any, Literal
from urllib.parse import urlsplit

CATCH_UP_AFTER = timedelta(hours=2, minutes=15)
"""How long after the daily sync its catch-up comes: past the gap that summer time tears, and on the same date."""

_LAST_HOUR = int((timedelta(days=1) - CATCH_UP_AFTER) / timedelta(hours=1))
_LOG_RETENTION_DAYS = (
    1,
    3,
    5,
    7,
    14,
    30,
    60,
    90,
    120,
    150,
    180,
    365,
    400,
    545,
    731,
    1096,
    1827,
    2192,
    2557,
    2922,
    3288,
    3653,
)
_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
_EMAIL = re.compile(r"[^@\s,]+@[^@\s,]+\.[^@\s,]+")


class SettingsError(ValueError):
    """One or more settings are unknown or wrong; the text has a line for each, with what is allowed."""


class _Refused(Exception):
    """A value is not allowed; its text says what is."""


def _choice(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in allowed:
            raise _Refused(f"one of {', '.join(allowed)}")
        return text

    return parse


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"-?\d+", text) or not low <= int(text) <= high:
            raise _Refused(f"a whole number from {low} to {high}")
        return int(text)

    return parse


def _above_zero(high: int) -> Callable[[str], float]:
    def parse(text: str) -> float:
        if not re.fullmatch(r"\d+(\.\d+)?", text) or not 0 < float(text) <= high:
            raise _Refused(f"a number above 0 and at most {high}, such as 0.5")
        return float(text)

    return parse


def _truth(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise _Refused("true or false")
    return text.lower() == "true"


def _retention(text: str) -> int:
    if text not in map(str, _LOG_RETENTION_DAYS):
        raise _Refused(f"a number of days that CloudWatch Logs knows: {', '.join(map(str, _LOG_RETENTION_DAYS))}")
    return int(text)


def _time_zone(text: str) -> str:
    if text not in zoneinfo.available_timezones():
        raise _Refused("a name of the IANA time zone database, such as Europe/Berlin")
    return text


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part for part in (part.strip() for part in text.split(",")) if part)


def _emails(text: str) -> tuple[str, ...]:
    if not all(_EMAIL.fullmatch(part) for part in _parts(text)):
        raise _Refused("e-mail addresses with commas between them, or nothing")
    return _parts(text)


def is_loopback(host: str) -> bool:
    """Whether this host is the machine itself."""
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _hosts(text: str) -> tuple[str, ...]:
    hosts = tuple(part.lower() for part in _parts(text))
    usable = [is_loopback(host) or (_HOST.fullmatch(host) and not _is_address(host)) for host in hosts]
    if not hosts or not all(usable):
        raise _Refused(
            "exact host names with commas between them, without scheme, port or wildcard; no address but a loopback one"
        )
    return hosts


def _origin(text: str) -> str:
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or parts.username is not None or parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise _Refused("the https address of a host, without path or user, such as https://api.gopro.com")
    return text.rstrip("/")


def _setting(default: Any, parse: Callable[[str], Any]) -> Any:
    return field(default=default, metadata={"parse": parse})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a deployment is made with. The defaults are the production ones; `dev` differs where `_DEV` says."""

    env: Literal["dev", "prod"] = _setting("dev", _choice("dev", "prod"))
    gopro_api_url: str = _setting("https://api.gopro.com", _origin)
    download_hosts: tuple[str, ...] = _setting(("media-cdn-vod.gopro.com",), _hosts)
    retry_base_seconds: float = _setting(30.0, _above_zero(300))  # the downloader's first wait
    concurrency: int = _setting(5, _whole(2, 1000))  # downloads at once; fewer than 2 no event source can do
    gopro_connections: int = _setting(40, _whole(1, 64))  # to the CDN, over all downloads
    stall_kilobytes_per_second: int = _setting(16, _whole(1, 10_000))  # a connection that brings less than this …
    stall_seconds: int = _setting(30, _whole(1, 45))  # … for so long is opened anew; less than a pause needs
    sync_deadline_hours: float = _setting(12.0, _above_zero(72))
    max_media_per_sync: int = _setting(1000, _whole(1, 100_000))
    max_gigabytes_per_sync: int = _setting(4000, _whole(1, 1_000_000))
    pages_per_slice: int = _setting(100, _whole(1, 10_000))
    lane_wait_seconds: float = _setting(300.0, _above_zero(600))
    schedule_time_zone: str = _setting("Europe/Berlin", _time_zone)
    schedule_hour: int = _setting(2, _whole(0, 23))
    schedule_enabled: bool = _setting(default=True, parse=_truth)
    notification_emails: tuple[str, ...] = _setting((), _emails)
    log_retention_days: int = _setting(365, _retention)
    log_level: str = _setting("INFO", _choice("DEBUG", "INFO", "WARNING", "ERROR"))
    downloader_memory_mb: int = _setting(1024, _whole(256, 10_240))
    downloader_timeout_seconds: int = _setting(900, _whole(70, 900))  # the last minute is for pausing
    wheels: Literal["lambda", "host"] = _setting("lambda", _choice("lambda", "host"))

    @property
    def is_production(self) -> bool:
        return self.env == "prod"

    @property
    def catch_up_time(self) -> tuple[int, int]:
        """The local hour and minute of the catch-up."""
        minutes = self.schedule_hour * 60 + int(CATCH_UP_AFTER.total_seconds()) // 60
        return minutes // 60, minutes % 60

    @classmethod
    def from_context(cls, context: Mapping[str, object]) -> "Settings":
        """The settings that the CDK context asks for, over the defaults of its `env`.

        Raises `SettingsError` that names every unknown name and every bad value at once.
        """
        # CDK keeps its own entries in the same place: feature flags, look-ups, paths.
        asked = {name: value for name, value in context.items() if not name.startswith(("@", "aws:", "aws-cdk:"))}
        known = {setting.name: setting for setting in fields(cls)}
        problems = [_unknown(name, known) for name in asked if name not in known]
        values: dict[str, Any] = {}
        for name in known.keys() & asked.keys():
            try:
                values[name] = known[name].metadata["parse"](_text(asked[name]))
            except _Refused as refused:
                problems.append(f"{name}={_text(asked[name])!r} is refused; allowed: {refused}")
        defaults = _DEV if values.get("env", "dev") == "dev" else {}
        settings = cls(**{**defaults, **values})
        problems += _contradictions(settings)
        if problems:
            raise SettingsError("\n".join(sorted(problems)))
        return settings


_DEV: Mapping[str, Any] = {"log_retention_days": 14, "log_level": "DEBUG"}


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value).strip()


def _unknown(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
    return f"{name} is no setting; {hint}"


def _contradictions(settings: Settings) -> Iterable[str]:
    """What each value allows and the values together do not."""
    if settings.schedule_hour > _LAST_HOUR:
        yield (
            f"schedule_hour={settings.schedule_hour} puts the catch-up, {CATCH_UP_AFTER} later, on the next date; "
            f"allowed: a whole number from 0 to {_LAST_HOUR}"
        )
    api = urlsplit(settings.gopro_api_url)
    host = (api.hostname or "").lower()
    local = is_loopback(host) and host in settings.download_hosts
    if (is_loopback(host) and not local) or (api.scheme != "https" and not local):
        yield (
            f"gopro_api_url={settings.gopro_api_url!r} is refused; allowed: an https address, "
            "or any address of this machine whose host is named in download_hosts"
        )
