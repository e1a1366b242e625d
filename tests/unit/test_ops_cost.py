"""The estimate of a month's cost."""

import pytest

from ops.__main__ import main
from ops.cost import Use, month


def test_storage_is_priced_by_what_lies_in_the_bucket_at_the_months_end() -> None:
    rows = dict(month(Use(media_per_night=100, gigabytes_each=4, stored_gigabytes=1_000)))
    (what,) = [name for name in rows if name.startswith("S3, ") and name.endswith("stored")]
    assert what == "S3, 13,160 GB stored"
    assert rows[what] == pytest.approx(13_160 * 0.023)


def test_twice_the_media_cost_twice_the_transfer() -> None:
    one, two = (dict(month(Use(media_per_night=n, gigabytes_each=4))) for n in (5, 10))
    for what in ("Lambda, while bytes flow", "S3, parts and other requests"):
        assert two[what] == pytest.approx(2 * one[what])


def test_a_faster_lane_makes_lambda_cheaper_and_nothing_else() -> None:
    slow, fast = (month(Use(media_per_night=5, gigabytes_each=4, megabytes_per_second=n)) for n in (10, 80))
    cheaper = [what for (what, before), (_, after) in zip(slow, fast, strict=True) if after < before]
    assert cheaper == ["Lambda, while bytes flow"]


def test_the_command_prints_the_sum_and_what_it_rests_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "--media-per-night", "5", "--gigabytes-each", "4"]) == 0
    told = capsys.readouterr().out
    assert "list prices as of November 2026" in told
    assert "together" in told


def test_a_negative_amount_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["cost", "--gigabytes-each", "-1"])
    assert "0 or more" in capsys.readouterr().err
