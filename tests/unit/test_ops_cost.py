"""The estimate of a month's cost."""

import json
import re
from dataclasses import replace

import pytest

from infra.config import Settings
from ops import prices
from ops.__main__ import main
from ops.command import UNUSABLE
from ops.cost import Item, Use, month, network, watching


def usd(items: list[Item]) -> dict[str, float]:
    return {item.name: item.usd for item in items}


def test_storage_is_priced_by_the_contents_of_the_bucket_at_the_months_end() -> None:
    rows = usd(month(Use(media_per_night=100, gigabytes_each=4, stored_gigabytes=1_000)))

    assert rows["S3, 13,160 GB stored"] == pytest.approx(13_160 * 0.023)


def test_twice_the_media_cost_twice_the_transfer() -> None:
    one, two = (usd(month(Use(media_per_night=n, gigabytes_each=4))) for n in (5, 10))

    for item in ("Lambda, while bytes flow", "S3, parts and other requests"):
        assert two[item] == pytest.approx(2 * one[item])


def test_faster_downloads_make_lambda_cheaper_and_nothing_else_that_stores() -> None:
    slow, fast = (month(Use(media_per_night=5, gigabytes_each=4, megabytes_per_second=n)) for n in (10, 80))

    cheaper = [before.name for before, after in zip(slow, fast, strict=True) if after.usd < before.usd]
    assert cheaper == ["Lambda, while bytes flow"]


@pytest.mark.parametrize("media", [5, 100])
def test_to_see_what_happens_costs_a_few_dollars_a_month_most_of_it_for_the_dashboard_and_alarms(media: int) -> None:
    rows = usd(watching(Use(media_per_night=media, gigabytes_each=4, webhooks=2)))

    assert rows["dashboard"] == prices.DASHBOARD_MONTH.usd == 3
    assert sum(rows.values()) - rows["dashboard"] - rows["alarms"] < 1
    assert all(value >= 0 for value in rows.values())


def test_a_metric_costs_by_the_hours_in_which_syncs_run() -> None:
    hour, night = (usd(watching(Use(media_per_night=media, gigabytes_each=4)))["metrics"] for media in (100, 20 * 100))

    assert Use(media_per_night=100, gigabytes_each=4).hours_per_night == 1
    assert Use(media_per_night=2000, gigabytes_each=4).hours_per_night == 12
    assert night == pytest.approx(12 * hour)


def test_events_that_are_kept_longer_cost_more_by_their_storage_alone() -> None:
    use = Use(media_per_night=100, gigabytes_each=4)
    short, default, long = (usd(watching(replace(use, event_log_days=days))) for days in (1, 90, 3653))

    assert usd(watching(use)) == default, "the default is the setting's"
    assert Settings.event_log_days == 90
    assert short["log of all events"] < default["log of all events"] < long["log of all events"]
    assert {name for name in default if default[name] != long[name]} == {"log of all events"}


def test_progress_costs_a_write_a_second_in_which_bytes_come() -> None:
    rows = usd(watching(Use(media_per_night=1, gigabytes_each=4, megabytes_per_second=40)))

    assert rows["progress of the lanes"] == pytest.approx(30.4 * 100 * prices.TABLE_WRITE.usd)


def test_webhooks_cost_the_secret_that_holds_their_addresses_and_little_more() -> None:
    none, one, three = (
        usd(watching(Use(media_per_night=5, gigabytes_each=4, webhooks=number)))[f"webhooks ({number})"]
        for number in (0, 1, 3)
    )

    assert none == 0
    assert prices.SECRET_MONTH.usd < one < three < prices.SECRET_MONTH.usd + 0.01


def test_what_a_setting_switches_off_is_named_and_is_a_setting() -> None:
    use = Use(media_per_night=5, gigabytes_each=4)
    named = {word for item in (*month(use), *watching(use)) for word in re.findall(r"`(\w+)", item.off)}

    assert named >= {"dashboard", "event_log_days", "log_level"}
    assert named - {"webhooks", "heartbeat"} <= set(Settings.__dataclass_fields__)


def test_the_command_prints_the_total_and_its_assumptions(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "--media-per-night", "5", "--gigabytes-each", "4"]) == 0

    printed = capsys.readouterr().out
    assert "5 new media a night, 4 GB each" in printed
    assert "list prices as of November 2026" in printed
    assert "dashboard" in printed
    assert "`dashboard = false`" in printed
    assert "total" in printed
    assert max(map(len, printed.splitlines())) <= 100


def test_the_json_has_each_price_with_its_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "--json"]) == 0

    printed = json.loads(capsys.readouterr().out)
    amounts = [*printed["usd"].values(), *printed["usd_to_see_it"].values()]
    assert printed["total_usd"] == pytest.approx(sum(amounts))
    for price in printed["prices"].values():
        assert price["usd"] > 0
        assert price["page"].startswith("https://aws.amazon.com/")
        assert price["page"].endswith("/")


def test_a_negative_amount_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "--gigabytes-each", "-1"]) == UNUSABLE

    assert "'-1' is not a number from 0 to 100,000,000" in capsys.readouterr().err


def test_the_largest_amounts_have_an_estimate() -> None:
    largest = [part for name in ("media-per-night", "gigabytes-each") for part in (f"--{name}", "1e8")]

    assert main(["cost", *largest, "--megabytes-per-second", "0.001"]) == 0


def test_a_vpc_costs_by_the_hour_and_for_every_byte_of_a_video_unless_the_downloader_stays_outside() -> None:
    plain = Use(media_per_night=100 / 4, gigabytes_each=4)
    inside, outside = (replace(plain, vpc=True, vpc_functions=functions) for functions in ("all", "no_downloader"))

    assert network(plain) == []
    rows = usd(network(inside))
    assert rows == {
        "NAT gateway": pytest.approx(30.4 * 24 * 0.045),
        "NAT gateway, 3,040 GB through it": pytest.approx(3_040 * 0.045),
        "endpoints (5)": pytest.approx(5 * 30.4 * 24 * 0.01),
    }
    assert usd(network(outside))["NAT gateway, 0 GB through it"] == 0
    assert usd(month(inside)).items() >= rows.items()


def test_the_command_tells_what_a_vpc_costs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "--vpc", "create", "--vpc-functions", "no_downloader"]) == 0
    assert "NAT gateway, 0 GB through it" in capsys.readouterr().out
    assert main(["cost"]) == 0
    assert "NAT" not in capsys.readouterr().out
