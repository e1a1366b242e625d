"""A setting is valid, or refused by its name before anything is synthesized."""

from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.config import CATCH_UP_AFTER, Settings, SettingsError
from services.summarizer.page.library import CATCHES_UP

REFUSED = {
    "env": ["staging"],
    "gopro_api_url": [
        "api.gopro.com",
        "ftp://api.gopro.com",
        "https://user@api.gopro.com",
        "https://api.gopro.com/media",
        "https://api.gopro.com:99999",
        "https://[::1",
        "http://api.gopro.com",
        "http://127.0.0.1:8080",
        "https://localhost",
    ],
    "download_hosts": ["", "*.gopro.com", "https://cdn.gopro.com", "cdn.gopro.com:443", "169.254.169.254", "10.0.0.1"],
    "retry_base_seconds": ["0", "-1", "nan", "301"],
    "concurrency": ["1", "1001", "5.5"],
    "sync_deadline_hours": ["0", "73"],
    "max_media_per_sync": ["0"],
    "max_gigabytes_per_sync": ["many"],
    "looks_per_sync": ["-1", "some"],
    "order": ["", "random"],
    "session_probe_hour": ["24", "-1", "never", "20:00"],
    "pages_per_slice": ["0"],
    "full_walk_days": ["0", "366", "weekly"],
    "lane_wait_seconds": ["601"],
    "stall_kilobytes_per_second": ["0", "10001", "1.5"],
    "stall_seconds": ["0", "601", "soon"],
    "schedule_time_zone": ["Berlin"],
    "schedule_hour": ["22", "25", "-1"],
    "schedule_enabled": ["yes"],
    "notification_emails": ["me", "a@example.org b@example.org"],
    "log_retention_days": ["42"],
    "log_level": ["debug"],
    "downloader_memory_mb": ["128"],
    "downloader_timeout_seconds": ["901"],
    "wheels": ["docker"],
    "vpc": ["", "my-vpc", "vpc-xyz", "default"],
    "vpc_subnets": ["subnet-xyz", "vpc-0123456789abcdef0"],
    "vpc_functions": ["none", "downloader"],
    "kms_key": [
        "",
        "alias/mine",
        "arn:aws:kms:eu-central-1:123456789012:alias/mine",
        "1234abcd-12ab-34cd-56ef-1234567890ab",
    ],
    "object_lock_days": ["", "0", "36501", "30d", "off"],
    "permissions_boundary": ["", "boundary", "arn:aws:iam::123456789012:role/boundary"],
    "tags": ["team", "=video", "aws:team=video", "team=a,team=b", "team=what?", ",".join(f"k{n}=v" for n in range(41))],
    "media_bucket": ["", "s3://mine", "Mine", "my_bucket", "my..bucket", "xn--mine", "mine--x-s3", "ab"],
    "library_table": ["", "a", "my table", "arn:aws:dynamodb:us-east-1:123456789012:table/mine"],
    "syncs_table": ["a"],
    "authenticator_table": ["a"],
    "credentials_secret": ["", "mine", "arn:aws:secretsmanager:us-east-1:123456789012:secret:mine"],
    "refresh_secret": ["mine"],
    "monthly_budget_usd": ["", "0", "12.50", "1000001"],
    "protected": ["maybe"],
}

ZONES = (
    "Europe/Berlin Europe/London America/New_York America/Santiago Africa/Casablanca Asia/Beirut Australia/Lord_Howe "
    "Pacific/Auckland Asia/Kolkata UTC"
)


def problems(**context: object) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        Settings.from_context({"env": "dev", **context})
    return str(refused.value).splitlines()


def test_production_differs_from_development_in_its_logs_alone() -> None:
    dev, prod = Settings.from_context({"env": "dev"}), Settings.from_context({"env": "prod"})
    assert (dev.env, dev.log_level, dev.log_retention_days) == ("dev", "DEBUG", 14)
    assert (prod.env, prod.log_level, prod.log_retention_days) == ("prod", "INFO", 365)
    assert (dev.concurrency, dev.schedule_hour) == (prod.concurrency, prod.schedule_hour) == (5, 2)


def test_a_given_value_wins_over_the_default_of_the_environment() -> None:
    assert Settings.from_context({"env": "dev", "log_level": "ERROR"}).log_level == "ERROR"


def test_the_toolkits_own_context_is_ignored() -> None:
    own = {"aws:cdk:version-reporting": True, "@aws-cdk/core:x": "y", "aws-cdk:enableDiffNoFail": "true"}
    assert Settings.from_context({"env": "dev", **own}) == Settings.from_context({"env": "dev"})


def test_an_environment_that_nobody_named_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"^env is missing: which stack\? Give -c env=prod"):
        Settings.from_context({"concurrency": "3"})


def test_all_problems_are_reported_at_once() -> None:
    found = problems(concurency="5", concurrency="1", env="test", schedule_hour="22")
    names = [problem.split("=")[0].split(" ")[0] for problem in found]
    assert names == ["concurency", "concurrency", "env", "schedule_hour"]


def test_a_misspelt_name_is_answered_with_the_right_one() -> None:
    assert problems(concurency="5") == ["concurency is no setting; did you mean concurrency?"]


def test_an_unknown_name_is_answered_with_all_settings() -> None:
    (problem,) = problems(colour="blue")
    assert "schedule_time_zone" in problem


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in REFUSED.items() for value in values])
def test_a_bad_value_is_refused_with_the_allowed_ones(name: str, value: str) -> None:
    (problem,) = problems(**{name: value})
    assert problem.startswith(f"{name}={value!r}")
    assert "allowed: " in problem


KEY_ARN = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"


def test_options_are_off_unless_they_are_asked_for() -> None:
    plain = Settings.from_context({"env": "prod"})
    assert (plain.vpc, plain.vpc_subnets, plain.vpc_functions) == (None, (), "all")
    assert (plain.kms_key, plain.object_lock_days, plain.media_bucket) == (None, None, "create")
    assert (plain.permissions_boundary, plain.tags, plain.monthly_budget_usd) == (None, (), None)


def test_options_are_read_as_they_are_meant() -> None:
    asked = Settings.from_context(
        {
            "env": "prod",
            "vpc": "vpc-0123456789abcdef0",
            "vpc_subnets": ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1", "subnet-0123456789abcdef1"],
            "kms_key": KEY_ARN,
            "media_bucket": "my.bucket-1",
            "tags": "team=video, cost center = a=b ,empty=",
            "monthly_budget_usd": "25",
            "permissions_boundary": "arn:aws-cn:iam::123456789012:policy/a/b",
        }
    )
    assert asked.vpc_subnets == ("subnet-0123456789abcdef0", "subnet-0123456789abcdef1")
    assert (asked.vpc, asked.kms_key, asked.media_bucket) == ("vpc-0123456789abcdef0", KEY_ARN, "my.bucket-1")
    assert asked.tags == (("team", "video"), ("cost center", "a=b"), ("empty", ""))
    assert (asked.monthly_budget_usd, asked.permissions_boundary) == (25, "arn:aws-cn:iam::123456789012:policy/a/b")
    created = Settings.from_context({"env": "prod", "vpc": "create", "kms_key": "create", "object_lock_days": "30"})
    assert (created.vpc, created.kms_key, created.object_lock_days) == ("create", "create", 30)


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        (
            {"vpc": "vpc-0123456789abcdef0"},
            (
                "vpc='vpc-0123456789abcdef0' is refused without vpc_subnets; allowed: with the ids of 2 or more of its "
                "private subnets, in different zones, that have a route to the internet"
            ),
        ),
        (
            {"vpc": "vpc-0123456789abcdef0", "vpc_subnets": "subnet-0123456789abcdef0"},
            (
                "vpc='vpc-0123456789abcdef0' is refused without vpc_subnets; allowed: with the ids of 2 or more of its "
                "private subnets, in different zones, that have a route to the internet"
            ),
        ),
        (
            {"vpc": "create", "vpc_subnets": "subnet-0123456789abcdef0,subnet-0123456789abcdef1"},
            (
                "vpc_subnets='subnet-0123456789abcdef0,subnet-0123456789abcdef1' is refused; "
                "allowed: only with vpc=vpc-…, whose subnets they are"
            ),
        ),
        ({"vpc_functions": "no_downloader"}, "vpc_functions='no_downloader' is refused; allowed: only with a vpc"),
        (
            {"media_bucket": "mine", "object_lock_days": "30"},
            (
                "object_lock_days='30' is refused; allowed: only with media_bucket=create: "
                "the lock of mine is yours to set"
            ),
        ),
    ],
)
def test_options_that_contradict_each_other_are_named(asked: dict[str, str], problem: str) -> None:
    assert problems(**asked) == [problem]


def test_the_local_stage_may_name_this_machine() -> None:
    settings = Settings.from_context(
        {
            "env": "dev",
            "download_hosts": "127.0.0.1, localhost,CDN.gopro.com",
            "gopro_api_url": "http://127.0.0.1:8080/",
        }
    )
    assert settings.download_hosts == ("127.0.0.1", "localhost", "cdn.gopro.com")
    assert settings.gopro_api_url == "http://127.0.0.1:8080"


def test_plain_http_to_another_machine_is_refused_even_when_its_host_is_named() -> None:
    (problem,) = problems(download_hosts="nas.example.org", gopro_api_url="http://nas.example.org")
    assert problem.startswith("gopro_api_url=")


def test_values_may_be_json() -> None:
    settings = Settings.from_context(
        {
            "env": "dev",
            "concurrency": 7,
            "schedule_enabled": False,
            "notification_emails": ["a@example.org"],
            "retry_base_seconds": 0.5,
        }
    )
    assert (settings.concurrency, settings.schedule_enabled, settings.retry_base_seconds) == (7, False, 0.5)
    assert settings.notification_emails == ("a@example.org",)


@given(hour=st.integers(0, 23))
def test_the_catch_up_is_on_the_same_date_or_refused(hour: int) -> None:
    catch_up = datetime(2026, 1, 1, hour, tzinfo=UTC) + CATCH_UP_AFTER
    if catch_up.day == 1:
        settings = Settings.from_context({"env": "dev", "schedule_hour": str(hour)})
        assert settings.catch_up_time == (catch_up.hour, catch_up.minute)
    else:
        assert "a whole number from 0 to 21; the catch-up" in problems(schedule_hour=str(hour))[0]


@given(
    day=st.dates(min_value=date(2024, 1, 1), max_value=date(2043, 12, 31)),
    zone=st.sampled_from(ZONES.split()),
    hour=st.integers(0, 21),
)
def test_on_every_date_the_daily_hour_or_that_of_the_catch_up_exists(day: date, zone: str, hour: int) -> None:
    def exists(hour: int, minute: int) -> bool:
        local = datetime.combine(day, time(hour, minute), tzinfo=ZoneInfo(zone))
        there_and_back = local.astimezone(ZoneInfo("UTC")).astimezone(ZoneInfo(zone))
        return local.replace(tzinfo=None) == there_and_back.replace(tzinfo=None)

    assert exists(hour, 0) or exists(*Settings(env="dev", schedule_hour=hour).catch_up_time)


def test_no_page_says_that_a_night_had_no_sync_before_its_catch_up() -> None:
    assert CATCHES_UP > CATCH_UP_AFTER


def test_a_new_key_is_refused_for_what_an_earlier_stack_has_encrypted() -> None:
    (problem,) = problems(kms_key="create", syncs_table="left")
    assert problem == (
        "kms_key='create' is refused with syncs_table; allowed: none, or the ARN of the key "
        "with which they are encrypted"
    )
    with_its_key = Settings.from_context({"env": "dev", "syncs_table": "left", "kms_key": KEY_ARN})
    assert with_its_key.taken_back == ("syncs_table",)


def test_a_library_table_is_refused_without_the_bucket_that_it_is_about() -> None:
    (problem,) = problems(library_table="left")
    assert problem == (
        "library_table='left' is refused without media_bucket; "
        "allowed: with the bucket in which the table's objects are"
    )
    Settings.from_context({"env": "dev", "library_table": "left", "media_bucket": "left"})
