"""Settings are right, or refused by name before anything is made."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.config import CATCH_UP_AFTER, Settings, SettingsError


def problems(**context: object) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        Settings.from_context(context)
    return str(refused.value).splitlines()


def test_without_a_word_it_is_the_development_environment() -> None:
    assert Settings.from_context({}).env == "dev"


def test_environments_differ_where_one_would_expect_it() -> None:
    dev, prod = Settings.from_context({"env": "dev"}), Settings.from_context({"env": "prod"})
    assert (dev.log_level, prod.log_level) == ("DEBUG", "INFO")
    assert dev.log_retention_days < prod.log_retention_days
    assert (dev.concurrency, dev.schedule_hour) == (prod.concurrency, prod.schedule_hour) == (5, 2)


def test_a_given_value_wins_over_the_environments() -> None:
    assert Settings.from_context({"env": "dev", "log_level": "ERROR"}).log_level == "ERROR"


def test_cdks_own_context_is_none_of_ours() -> None:
    Settings.from_context(
        {"aws:cdk:version-reporting": True, "@aws-cdk/core:x": "y", "aws-cdk:enableDiffNoFail": "true"}
    )


def test_all_problems_are_told_at_once() -> None:
    found = problems(concurency="5", concurrency="1", env="test", schedule_hour="22")
    assert [problem.split("=")[0].split(" ")[0] for problem in found] == [
        "concurency",
        "concurrency",
        "env",
        "schedule_hour",
    ]


def test_a_misspelt_name_is_answered_with_the_right_one() -> None:
    assert problems(concurency="5") == ["concurency is no setting; did you mean concurrency?"]


def test_a_strange_name_is_answered_with_all_there_are() -> None:
    (problem,) = problems(colour="blue")
    assert "schedule_time_zone" in problem


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("env", "staging"),
        ("gopro_api_url", "api.gopro.com"),
        ("gopro_api_url", "ftp://api.gopro.com"),
        ("gopro_api_url", "https://user@api.gopro.com"),
        ("gopro_api_url", "https://api.gopro.com/media"),
        ("gopro_api_url", "https://api.gopro.com:99999"),
        ("gopro_api_url", "https://[::1"),
        ("gopro_api_url", "http://api.gopro.com"),
        ("gopro_api_url", "http://127.0.0.1:8080"),
        ("gopro_api_url", "https://localhost"),
        ("download_hosts", ""),
        ("download_hosts", "*.gopro.com"),
        ("download_hosts", "https://cdn.gopro.com"),
        ("download_hosts", "cdn.gopro.com:443"),
        ("download_hosts", "169.254.169.254"),
        ("download_hosts", "10.0.0.1"),
        ("retry_base_seconds", "0"),
        ("retry_base_seconds", "-1"),
        ("retry_base_seconds", "nan"),
        ("retry_base_seconds", "301"),
        ("concurrency", "1"),
        ("concurrency", "1001"),
        ("concurrency", "5.5"),
        ("sync_deadline_hours", "0"),
        ("sync_deadline_hours", "73"),
        ("max_media_per_sync", "0"),
        ("max_gigabytes_per_sync", "many"),
        ("pages_per_slice", "0"),
        ("lane_wait_seconds", "601"),
        ("stall_kilobytes_per_second", "0"),
        ("stall_kilobytes_per_second", "10001"),
        ("stall_kilobytes_per_second", "1.5"),
        ("stall_seconds", "0"),
        ("stall_seconds", "601"),
        ("stall_seconds", "soon"),
        ("schedule_time_zone", "Berlin"),
        ("schedule_hour", "22"),
        ("schedule_hour", "-1"),
        ("schedule_enabled", "yes"),
        ("notification_emails", "me"),
        ("notification_emails", "a@example.org b@example.org"),
        ("log_retention_days", "42"),
        ("log_level", "debug"),
        ("downloader_memory_mb", "128"),
        ("downloader_timeout_seconds", "901"),
        ("wheels", "docker"),
    ],
)
def test_a_bad_value_is_refused_with_what_is_allowed(name: str, value: str) -> None:
    (problem,) = problems(**{name: value})
    assert problem.startswith(f"{name}={value!r}" if name != "schedule_hour" else "schedule_hour=")
    assert "allowed: " in problem


def test_the_machine_itself_may_be_named_for_the_local_stage() -> None:
    settings = Settings.from_context(
        {"download_hosts": "127.0.0.1, localhost,CDN.gopro.com", "gopro_api_url": "http://127.0.0.1:8080/"}
    )
    assert settings.download_hosts == ("127.0.0.1", "localhost", "cdn.gopro.com")
    assert settings.gopro_api_url == "http://127.0.0.1:8080"


def test_plain_http_to_another_machine_stays_refused_even_when_it_is_named() -> None:
    (problem,) = problems(download_hosts="nas.example.org", gopro_api_url="http://nas.example.org")
    assert problem.startswith("gopro_api_url=")


def test_values_may_come_as_json_too() -> None:
    settings = Settings.from_context(
        {
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
        assert Settings.from_context({"schedule_hour": str(hour)}).catch_up_time == (catch_up.hour, catch_up.minute)
    else:
        assert "next date" in problems(schedule_hour=str(hour))[0]


@given(
    day=st.dates(min_value=date(2024, 1, 1), max_value=date(2043, 12, 31)),
    zone=st.sampled_from(
        [
            "Europe/Berlin",
            "Europe/London",
            "America/New_York",
            "America/Santiago",
            "Africa/Casablanca",
            "Asia/Beirut",
            "Australia/Lord_Howe",
            "Pacific/Auckland",
            "Asia/Kolkata",
            "UTC",
        ]
    ),
    hour=st.integers(0, 21),
)
def test_on_no_date_do_both_the_daily_hour_and_the_catch_up_fall_into_a_gap(day: date, zone: str, hour: int) -> None:
    def exists(hour: int, minute: int) -> bool:
        local = datetime.combine(day, time(hour, minute), tzinfo=ZoneInfo(zone))
        there_and_back = local.astimezone(ZoneInfo("UTC")).astimezone(ZoneInfo(zone))
        return local.replace(tzinfo=None) == there_and_back.replace(tzinfo=None)

    assert exists(hour, 0) or exists(*Settings(schedule_hour=hour).catch_up_time)
    assert timedelta(hours=2) < CATCH_UP_AFTER
