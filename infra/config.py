"""The settings of a deployment: from cloud-sync.toml and `cdk deploy -c name=value`, checked before any synthesis.

Imports no CDK, so that a wrong value is refused by the name under which it was typed.
"""

import difflib
import ipaddress
import re
import zoneinfo
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import timedelta
from typing import Any, Literal
from urllib.parse import urlsplit

from infra.settings_file import BOTH, NO_FILE, SettingsFile
from infra.webhook_forms import HEARTBEATS, WEBHOOKS

CATCH_UP_AFTER = timedelta(hours=2, minutes=15)
"""How long after the daily sync its catch-up runs: past the hour that daylight saving time skips, on the same date."""

_LAST_HOUR = int((timedelta(days=1) - CATCH_UP_AFTER) / timedelta(hours=1))
# fmt: off
_LOG_RETENTION_DAYS = (
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
)
# fmt: on
_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
_EMAIL = re.compile(r"[^@\s,]+@[^@\s,]+\.[^@\s,]+")
_KEY_ARN = re.compile(r"arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[A-Za-z0-9-]+")
_POLICY_ARN = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:policy/[\w+=,.@/-]+")
_VPC = re.compile(r"vpc-[0-9a-f]{8,17}")
_SUBNET = re.compile(r"subnet-[0-9a-f]{8,17}")
_BUCKET = re.compile(
    r"(?!xn--|sthree-|amzn-s3-demo-)(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?<!-s3alias)(?<!--ol-s3)(?<!--x-s3)"
)
_TABLE = re.compile(r"(?!create$)[A-Za-z0-9_.-]{3,255}")
_SECRET_ARN = re.compile(r"arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:[\w/+=.@-]{1,505}-[A-Za-z0-9]{6}")
_TAG_KEY = re.compile(r"(?!(?i:aws:))[\w\s+.:/@-]{1,128}")
_TAG_VALUE = re.compile(r"[\w\s+.:/@=-]{0,256}")
_MOST_TAGS = 40  # AWS takes 50 for a resource; CloudFormation and CDK add some
_LONGEST_LOCK_DAYS = 36_500  # S3's limit
_LEAST_SUBNETS = 2
NONE, CREATE = "none", "create"

ABORT_UPLOADS_AFTER_DAYS = 21
"""When the bucket aborts incomplete uploads: a medium that is redriven on its dead letter's last day, the fourteenth,
must still find its uploaded parts."""


class SettingsError(ValueError):
    """One or more settings are unknown or refused; the text has a line for each, with what is allowed."""


class _Refused(Exception):
    """A value is not allowed; the text says which values are."""


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


def _hour(text: str) -> int:
    try:
        return _whole(0, _LAST_HOUR)(text)
    except _Refused as refused:
        raise _Refused(f"{refused}; the catch-up, {CATCH_UP_AFTER} later, has to be on the same date") from None


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
        raise _Refused(f"a number of days that CloudWatch Logs offers: {', '.join(map(str, _LOG_RETENTION_DAYS))}")
    return int(text)


def _hour_or_off(text: str) -> int | None:
    if text == "off":
        return None
    try:
        return _whole(0, 23)(text)
    except _Refused as refused:
        raise _Refused(f"{refused}, or off") from None


def _time_zone(text: str) -> str:
    if text not in zoneinfo.available_timezones():
        raise _Refused("a name from the IANA time zone database, such as Europe/Berlin")
    return text


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part for part in (part.strip() for part in text.split(",")) if part)


def _emails(text: str) -> tuple[str, ...]:
    if not all(_EMAIL.fullmatch(part) for part in _parts(text)):
        raise _Refused("e-mail addresses separated by commas, or nothing")
    return _parts(text)


def _services(text: str) -> tuple[str, ...]:
    if unknown := [part for part in _parts(text) if part not in WEBHOOKS]:
        raise _Refused(f"{', '.join(WEBHOOKS)}, separated by commas, or nothing; not {', '.join(unknown)}")
    return tuple(dict.fromkeys(_parts(text)))


def _none_or(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    def parse_unless_none(text: str) -> Any:
        if text == NONE:
            return None
        try:
            return parse(text)
        except _Refused as refused:
            raise _Refused(f"{refused}, or {NONE}") from None

    return parse_unless_none


def _like(form: re.Pattern[str], said: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if not form.fullmatch(text):
            raise _Refused(said)
        return text

    return parse


def _create_or(parse: Callable[[str], str]) -> Callable[[str], str]:
    def parse_unless_create(text: str) -> str:
        if text == CREATE:
            return text
        try:
            return parse(text)
        except _Refused as refused:
            raise _Refused(f"{CREATE}, or {refused}") from None

    return parse_unless_create


_key = _like(_KEY_ARN, "the ARN of a key, such as arn:aws:kms:eu-central-1:123456789012:key/1234abcd-…, no alias")
_vpc = _like(_VPC, "the id of a VPC, such as vpc-0123456789abcdef0")
_boundary = _like(_POLICY_ARN, "the ARN of a managed policy, such as arn:aws:iam::123456789012:policy/boundary")
_bucket = _like(_BUCKET, "the name of a bucket, without s3://")
_table = _like(_TABLE, "the name of a table in the stack's region")
_secret = _like(
    _SECRET_ARN, "the whole ARN of a secret, such as arn:aws:secretsmanager:eu-central-1:123456789012:secret:…"
)


def _subnets(text: str) -> tuple[str, ...]:
    if not all(_SUBNET.fullmatch(part) for part in _parts(text)):
        raise _Refused("ids of subnets separated by commas, such as subnet-0123456789abcdef0, or nothing")
    return tuple(dict.fromkeys(_parts(text)))


def _tags(text: str) -> tuple[tuple[str, str], ...]:
    tags = [(key.strip(), value.strip()) for key, _, value in (part.partition("=") for part in _parts(text))]
    usable = all(_TAG_KEY.fullmatch(key) and _TAG_VALUE.fullmatch(value) for key, value in tags)
    twice = len({key for key, _ in tags}) < len(tags)
    if not usable or twice or len(tags) > _MOST_TAGS or not all("=" in part for part in _parts(text)):
        raise _Refused(
            f"at most {_MOST_TAGS} of the form key=value, separated by commas, each key once, in letters, digits, "
            "spaces and + - . : / @ _; none begins with aws:"
        )
    return tuple(tags)


def is_loopback(host: str) -> bool:
    """Return whether this host is the machine itself."""
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
            "exact host names separated by commas, without scheme, port or wildcard; IP addresses only of loopback"
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


def _setting(default: Any, parse: Callable[[str], Any], description: str) -> Any:
    return field(default=default, metadata={"parse": parse, "description": description})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one deployment. The defaults are for production; `DEV` has the ones that differ in `dev`."""

    env: Literal["dev", "prod"] = _setting(MISSING, _choice("dev", "prod"), "which of the two stacks to deploy")
    protected: bool = _setting(
        default=False,
        parse=_truth,
        description="whether the stack and its tables refuse to be deleted; for after the first deployment",
    )
    notification_emails: tuple[str, ...] = _setting(
        (), _emails, "addresses for summaries and alarms, separated by commas; Cloud Sync also works without any"
    )
    notify: Literal["all", "problems"] = _setting(
        "all",
        _choice("all", "problems"),
        "which syncs you are notified of; with `problems`, let a `heartbeat` tell you that silence means success",
    )
    webhooks: tuple[str, ...] = _setting(
        (), _services, f"where else notifications go, separated by commas: {', '.join(WEBHOOKS)}"
    )
    heartbeat: str = _setting(
        "off",
        _choice("off", *HEARTBEATS),
        f"which monitor outside AWS hears of each sync's beginning and end: {', '.join(HEARTBEATS)}, or `off`",
    )
    schedule_hour: int = _setting(2, _hour, "the local hour of the daily sync; a catch-up follows 2 h 15 min later")
    schedule_time_zone: str = _setting("Europe/Berlin", _time_zone, "the IANA time zone of `schedule_hour`")
    session_probe_hour: int | None = _setting(
        20, _hour_or_off, "the local hour at which you are warned if the next sync will have no session; or `off`"
    )
    schedule_enabled: bool = _setting(default=True, parse=_truth, description="whether the daily sync runs at all")
    concurrency: int = _setting(5, _whole(2, 1000), "media downloaded at once; an SQS event source needs at least 2")
    gopro_connections: int = _setting(
        40,
        _whole(1, 64),
        "the most connections to GoPro's CDN, over all downloads; each finds out how many are worth using",
    )
    stall_kilobytes_per_second: int = _setting(
        16, _whole(1, 10_000), "a connection slower than this for `stall_seconds` is closed, and fewer are used"
    )
    stall_seconds: int = _setting(30, _whole(1, 45), "how long a connection may be that slow")
    max_media_per_sync: int = _setting(1000, _whole(1, 100_000), "media per sync; the rest waits for the next one")
    max_gigabytes_per_sync: int = _setting(
        4000, _whole(1, 1_000_000), "gigabytes (10^9 bytes) per sync; the rest waits for the next one"
    )
    order: Literal["auto", "oldest", "newest"] = _setting(
        "auto",
        _choice("auto", "oldest", "newest"),
        "which media come first among those never tried; `auto`: the newest if the session may end at any time",
    )
    looks_per_sync: int = _setting(
        100, _whole(0, 100_000), "stored media that GoPro has changed, per sync; these are looked at again"
    )
    sync_deadline_hours: float = _setting(12.0, _above_zero(72), "after this a sync closes with the results it has")
    retry_base_seconds: float = _setting(
        30.0,
        _above_zero(300),
        "a failed download is retried after this time, then after twice and then four times as long",
    )
    lane_wait_seconds: float = _setting(
        300.0, _above_zero(600), "how long a worker waits for GoPro to recover before its message fails"
    )
    pages_per_slice: int = _setting(100, _whole(1, 10_000), "pages of the library listed before the lister pauses")
    full_walk_days: int = _setting(
        7, _whole(1, 365), "the whole library is walked at least this often; other nights only look at what may matter"
    )
    downloader_memory_mb: int = _setting(512, _whole(256, 10_240), "memory of the downloader, in MiB")
    downloader_timeout_seconds: int = _setting(
        900, _whole(70, 900), "time of one invocation of the downloader; it pauses in the last minute"
    )
    log_level: str = _setting("INFO", _choice("DEBUG", "INFO", "WARNING", "ERROR"), "of all functions")
    log_retention_days: int = _setting(365, _retention, "how long CloudWatch Logs keeps the logs")
    dashboard: bool = _setting(
        default=True, parse=_truth, description="whether CloudWatch has a dashboard of the stack; `cost` has its price"
    )
    event_log_days: int = _setting(
        90, _retention, "how long CloudWatch Logs keeps the events of the bus, which `story` and `events` read"
    )
    media_bucket: str = _setting(
        CREATE,
        _create_or(_bucket),
        "`create`, or the name of a bucket of yours for the media, which is used as it is",
    )
    library_table: str = _setting(
        CREATE,
        _create_or(_table),
        "`create`, or the name of the table that an earlier stack has left: what is stored, and under which key",
    )
    syncs_table: str = _setting(
        CREATE,
        _create_or(_table),
        "`create`, or the name of the syncs table that an earlier stack has left, with their history",
    )
    authenticator_table: str = _setting(
        CREATE,
        _create_or(_table),
        "`create`, or the name of the authenticator's table that an earlier stack has left",
    )
    credentials_secret: str = _setting(
        CREATE,
        _create_or(_secret),
        "`create`, or the ARN of the secret with your GoPro credentials that an earlier stack has left",
    )
    refresh_secret: str = _setting(
        CREATE,
        _create_or(_secret),
        "`create`, or the ARN of the secret with the refresh token that an earlier stack has left",
    )
    object_lock_days: int | None = _setting(
        None,
        _none_or(_whole(1, _LONGEST_LOCK_DAYS)),
        "for how long S3 refuses to delete what is in the media bucket; cannot be undone",
    )
    kms_key: str | None = _setting(
        None,
        _none_or(_create_or(_key)),
        "`create`, or the ARN of a KMS key of yours, to encrypt all that is stored; copies lose their proof by ETag",
    )
    vpc: str | None = _setting(
        None,
        _none_or(_create_or(_vpc)),
        "`create`, or the id of a VPC of yours, to run the functions in; its NAT gateway charges for every byte",
    )
    vpc_subnets: tuple[str, ...] = _setting(
        (), _subnets, "with a VPC of yours: its private subnets for the functions, separated by commas"
    )
    vpc_functions: Literal["all", "no_downloader"] = _setting(
        "all",
        _choice("all", "no_downloader"),
        "which functions run in the VPC; `no_downloader` leaves out the one that all videos pass through",
    )
    permissions_boundary: str | None = _setting(
        None, _none_or(_boundary), "the ARN of the policy that bounds the permissions of every role"
    )
    tags: tuple[tuple[str, str], ...] = _setting(
        (), _tags, "tags of all resources, as `key=value`, separated by commas"
    )
    monthly_budget_usd: int | None = _setting(
        None,
        _none_or(_whole(1, 1_000_000)),
        "you are notified when the whole account will have cost, or has cost, this much in a month",
    )
    gopro_api_url: str = _setting("https://api.gopro.com", _origin, "where GoPro's API is")
    download_hosts: tuple[str, ...] = _setting(
        ("media-cdn-vod.gopro.com",),
        _hosts,
        "the only hosts to download from, separated by commas; a notification says which to add",
    )
    wheels: Literal["lambda", "host"] = _setting(
        "lambda", _choice("lambda", "host"), "the platform of the packages: AWS Lambda, or this machine"
    )

    @property
    def is_local(self) -> bool:
        """Whether this is a local stage, which reads no settings file."""
        return self.wheels == "host"

    @property
    def taken_back(self) -> tuple[str, ...]:
        """The names of the settings that name a table or a secret which is there already."""
        return tuple(name for name in TABLES_AND_SECRETS if getattr(self, name) != CREATE)

    @property
    def is_production(self) -> bool:
        return self.env == "prod"

    @property
    def catch_up_time(self) -> tuple[int, int]:
        """The local hour and minute of the catch-up."""
        minutes = self.schedule_hour * 60 + int(CATCH_UP_AFTER.total_seconds()) // 60
        return minutes // 60, minutes % 60

    @classmethod
    def from_context(cls, context: Mapping[str, object], file: SettingsFile = NO_FILE) -> "Settings":
        """Return the settings in the CDK context, over those in the file, over the defaults of `env`.

        Raises `SettingsError`, which names every unknown name and every refused value at once.
        """
        problems = list(_misplaced(file))
        by_hand = _parsed(_asked(context), problems)
        filed = {
            section: _parsed(values, problems, file, section)
            for section, values in file.sections.items()
            if section in (BOTH, *ENVIRONMENTS)
        }
        above = {**filed.get(BOTH, {}), **by_hand}
        if "env" not in {**file.sections.get(BOTH, {}), **_asked(context)}:
            problems.append(f'env is missing: which stack? Give -c env=prod, or write env = "prod" into {file.name}')
        env = above.get("env", "dev")
        defaults = DEV if env == "dev" else {}
        settings = cls(**{**defaults, **filed.get(BOTH, {}), **filed.get(env, {}), **by_hand, "env": env})
        problems += _contradictions(settings)
        if problems:
            raise SettingsError("\n".join(sorted(problems)))
        return settings


ENVIRONMENTS = ("dev", "prod")
TABLES_AND_SECRETS = ("library_table", "syncs_table", "authenticator_table", "credentials_secret", "refresh_secret")
DEV: Mapping[str, Any] = {"log_retention_days": 14, "event_log_days": 14, "log_level": "DEBUG"}


def overrides(context: Mapping[str, object], file: SettingsFile, settings: Settings) -> Iterable[str]:
    """Yield what an operator has to know of the settings that only this deployment has, and of a missing protection."""
    kept = {**file.sections.get(BOTH, {}), **file.sections.get(settings.env, {})}
    for name, value in sorted(_asked(context).items()):
        if name == "env" or (name in kept and _text(kept[name]) == _text(value)):
            continue
        instead = f" overrides the {_text(kept[name])} of {file.name} and" if name in kept else ""
        yield (
            f"note: -c {name}={_text(value)}{instead} holds for this deployment alone; "
            f"to keep it, write it into {file.name}"
        )
    if settings.is_production and not settings.protected:
        yield (
            "note: the stack and its tables can be deleted; once this deployment has succeeded, write protected = true "
            f"into {file.name} and deploy again"
        )


def _asked(context: Mapping[str, object]) -> dict[str, object]:
    """Return the settings in a context, which also holds CDK's own entries: feature flags, look-ups, paths."""
    return {name: value for name, value in context.items() if not name.startswith(("@", "aws:", "aws-cdk:"))}


def _misplaced(file: SettingsFile) -> Iterable[str]:
    for section, values in file.sections.items():
        if section not in (BOTH, *ENVIRONMENTS):
            yield f"{file.where(section)}: [{section}] is no environment; allowed: [dev] and [prod]"
        elif section != BOTH and "env" in values:
            yield f"{file.where(section, 'env')}: env belongs above the tables"


def _parsed(
    asked: Mapping[str, object], problems: list[str], file: SettingsFile | None = None, section: str = BOTH
) -> dict[str, Any]:
    """Return the values that are allowed. Adds a line to the problems for each other one, with its place in a file."""
    known = {setting.name: setting for setting in fields(Settings)}
    values: dict[str, Any] = {}
    for name, value in asked.items():
        where = f"{file.where(section, name)}: " if file else ""
        if name not in known:
            problems.append(where + _unknown(name, known))
            continue
        try:
            values[name] = known[name].metadata["parse"](_text(value))
        except _Refused as refused:
            problems.append(f"{where}{name}={_text(value)!r} is refused; allowed: {refused}")
    return values


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value).strip()


def _unknown(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    hint = f"did you mean {near[0]}?" if near else f"the settings are: {', '.join(known)}"
    return f"{name} is no setting; {hint}"


def _contradictions(settings: Settings) -> Iterable[str]:
    """Yield a line for each value that only the others make wrong."""
    yield from _contradictions_of_options(settings)
    api = urlsplit(settings.gopro_api_url)
    host = (api.hostname or "").lower()
    local = is_loopback(host) and host in settings.download_hosts
    if (is_loopback(host) and not local) or (api.scheme != "https" and not local):
        yield (
            f"gopro_api_url={settings.gopro_api_url!r} is refused; allowed: an https address, "
            "or any address of this machine whose host is named in download_hosts"
        )


def _contradictions_of_options(settings: Settings) -> Iterable[str]:
    own_vpc = settings.vpc not in {None, CREATE}
    if own_vpc and len(settings.vpc_subnets) < _LEAST_SUBNETS:
        yield (
            f"vpc={settings.vpc!r} is refused without vpc_subnets; allowed: with the ids of {_LEAST_SUBNETS} or more "
            "of its private subnets, in different zones, that have a route to the internet"
        )
    if settings.vpc_subnets and not own_vpc:
        subnets = ",".join(settings.vpc_subnets)
        yield f"vpc_subnets={subnets!r} is refused; allowed: only with vpc=vpc-…, whose subnets they are"
    if settings.vpc_functions != "all" and settings.vpc is None:
        yield f"vpc_functions={settings.vpc_functions!r} is refused; allowed: only with a vpc"
    if settings.object_lock_days and settings.media_bucket != CREATE:
        yield (
            f"object_lock_days='{settings.object_lock_days}' is refused; allowed: only with media_bucket={CREATE}: "
            f"the lock of {settings.media_bucket} is yours to set"
        )
    if settings.library_table != CREATE and settings.media_bucket == CREATE:
        # The table would say that everything is stored, and the new bucket would be empty.
        yield (
            f"library_table={settings.library_table!r} is refused without media_bucket; allowed: with the bucket in "
            "which the table's objects are"
        )
    if settings.kms_key == CREATE and settings.taken_back:
        # What the earlier stack has encrypted can be read with its key alone.
        yield (
            f"kms_key={CREATE!r} is refused with {', '.join(settings.taken_back)}; allowed: {NONE}, or the ARN of the "
            "key with which they are encrypted"
        )
