"""What the library's page says."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from html import unescape
from typing import Any

import pytest

from services.shared.clock import iso
from services.shared.events import Filters, SessionEnding
from services.shared.schedule import next_daily
from services.summarizer.history import OTHERS, Kind, MissingMedium, PastSync
from services.summarizer.page import prices
from services.summarizer.page.costs import dollars, keeping, upload_requests
from services.summarizer.page.library import (
    MONTHS,
    NIGHTS,
    Kept,
    Known,
    Missing,
    Month,
    Row,
    Verdict,
    calendar,
    covered,
    facts,
    growth,
    kept,
    library_page,
    missing,
    missing_in_all,
    named_as_missing,
    recent,
    verdict,
    waiting,
)
from services.summarizer.records import Sync
from tests.library_pages import LAST_NIGHT, NO_SESSION, NOW, PAGES, ZONE, failed, night, stored
from tests.pages import HOSTILE

LOST = MissingMedium(media_id="m1", filename="GX1.MP4", because="failed", reason="GoPro's CDN answered 503")
LEFT = "and the scheduled ones since 18 November 2026 that an earlier version has left."
GONE = replace(LOST, media_id="m2", filename="GX2.MP4", reason="empty at GoPro", since="2026-10-28T07:00:00Z")


def known(*history: PastSync, **more: Any) -> Known:
    given = {"history": history, "now": NOW, "zone": ZONE, "next_sync": next_daily(2, ZONE, NOW), "env": "--env prod"}
    return Known(**{**given, **more})


def left(ago: int, *media: MissingMedium, **more: Any) -> PastSync:
    return night(ago, outcome="partial", failed=len(media), missing=media, **more)


# The verdict


def test_before_the_first_sync_the_page_says_how_to_start_one() -> None:
    assert verdict(known()) == Verdict(
        tone="warn", sentence="No sync has closed yet.", commands=["cloud-sync trigger --wait --env prod"]
    )
    assert verdict(known(env="")).commands == ["cloud-sync trigger --wait"]


@pytest.mark.parametrize(
    ("last", "sentence"),
    [
        (stored(0, 5, 12_300_000_000), "All is well: 5 media stored (12.3 GB)."),
        (stored(0, 1, 400), "All is well: 1 medium stored (400 bytes)."),
        (night(0), "All is well: nothing new to store."),
        (
            replace(night(0), failed=2, known_losses=2),
            "All is well: nothing new to store, 2 media missing for good.",
        ),
    ],
)
def test_after_a_sync_that_left_nothing_all_is_well(last: PastSync, sentence: str) -> None:
    said = verdict(known(last))
    assert said == Verdict(tone="good", sentence=sentence, note="The last sync was at 27 November 2026, 02:00.")


def test_what_the_last_sync_left_is_named_with_the_commands_to_type() -> None:
    last = replace(stored(0, 2, 7_000), failed=3, skipped=1, reason="It did not finish.", dead_letters=1)
    assert verdict(known(last)) == Verdict(
        tone="warn",
        sentence="4 media not stored by the last sync; 2 media stored (7.0 kB).",
        note="The last sync was at 27 November 2026, 02:00.",
        reason="It did not finish.",
        commands=["cloud-sync redrive --wait --env prod", "cloud-sync report scheduled-2026-11-27 --env prod"],
    )
    without_dead_letters = verdict(known(replace(last, dead_letters=0)))
    assert without_dead_letters.commands == ["cloud-sync report scheduled-2026-11-27 --env prod"]


def test_a_sync_that_never_learned_what_there_is_may_have_left_anything() -> None:
    last = night(0, outcome="partial", was_listed=False, closed_because="cancelled")
    said = verdict(known(last))
    assert said.sentence == "An unknown number of media not stored by the last sync; nothing new to store."


@pytest.mark.parametrize(
    ("because", "commands"),
    [
        ("auth_failed", ["cloud-sync credentials login --env prod", "cloud-sync trigger --wait --env prod"]),
        ("listing_failed", ["cloud-sync trigger --wait --env prod"]),
    ],
)
def test_a_failed_sync_says_why_and_what_to_type(because: Any, commands: list[str]) -> None:
    assert verdict(known(replace(failed(), closed_because=because))) == Verdict(
        tone="bad",
        sentence="The last sync failed.",
        note="The last sync was at 27 November 2026, 02:00.",
        reason=NO_SESSION,
        commands=commands,
    )


def test_a_running_sync_comes_first_and_of_several_the_one_requested_first() -> None:
    syncs = [Sync(sync_id=name, requested_at=iso(LAST_NIGHT), downloaded=3) for name in ("b", "a")]
    later = Sync(sync_id="0", requested_at=iso(NOW), downloaded=9)
    assert verdict(known(failed(1), running=[later, *syncs])) == Verdict(
        tone="good",
        sentence="A sync is running: 3 media stored so far.",
        note="It was requested at 27 November 2026, 02:00.",
        commands=["cloud-sync watch a --env prod"],
    )


def test_a_night_without_a_sync_is_bad_news() -> None:
    assert verdict(known(night(1), night(2))) == Verdict(
        tone="bad",
        sentence="No sync ran at 27 November 2026, 02:00.",
        note="The last sync was at 26 November 2026, 02:00.",
        commands=["cloud-sync status --env prod", "cloud-sync trigger --wait --env prod"],
    )


@pytest.mark.parametrize(
    "given",
    [
        known(night(1), night(2), next_sync=None),  # the schedule is off
        known(night(1), night(2), now=LAST_NIGHT + timedelta(hours=3)),  # the catch-up may still come
        known(replace(night(1), requested_at=iso(LAST_NIGHT - timedelta(hours=1))), night(2)),  # the clock was changed
        known(replace(night(0), requested_at=iso(NOW))),  # nothing was there to be synced before
    ],
)
def test_no_night_is_missed_that_may_not_have_been_due(given: Known) -> None:
    assert verdict(given).tone == "good"


def test_a_sync_of_the_evening_before_is_not_the_nights() -> None:
    evening = replace(night(1), requested_at=iso(LAST_NIGHT - timedelta(hours=1, seconds=1)))
    assert verdict(known(evening, night(2))).sentence == "No sync ran at 27 November 2026, 02:00."


def test_a_night_is_missed_once_the_catch_up_is_over() -> None:
    due = LAST_NIGHT + timedelta(hours=3, seconds=1)
    assert verdict(known(night(1), night(2), now=due)).sentence == "No sync ran at 27 November 2026, 02:00."


# What people ask first


def test_the_next_sync_and_what_is_in_the_bucket_are_said() -> None:
    answers = dict(facts(known(replace(stored(0, 12, 5), listed=4_812, stored=4_790))))
    assert answers["Next sync"] == "28 November 2026, 02:00"
    assert answers["In the bucket"] == "4,802 of the 4,812 media in the GoPro library, as of 27 November 2026, 02:00"


def test_what_a_sync_of_a_part_of_the_library_counts_is_not_the_library() -> None:
    part = replace(night(0), filters=Filters(types=("Photo",)), listed=7)
    answers = dict(facts(known(part, night(3), next_sync=None)))
    assert answers["Next sync"] == "none: the schedule is off"
    assert answers["In the bucket"].endswith("as of 24 November 2026, 02:00")
    assert "In the bucket" not in dict(facts(known(part)))


def ending(**more: Any) -> SessionEnding:
    given = {"since": "2026-11-26T20:00:00Z", "next_sync_at": iso(NOW), "occurred_at": "2026-11-27T06:00:00Z"}
    return SessionEnding(**{"sync_id": "s", "warned_on": "2026-11-27", **given, **more})


@pytest.mark.parametrize(
    ("history", "warning", "said"),
    [
        ([], None, "unknown: no sync has used one yet"),
        ([night(0)], None, "accepted by GoPro, as of the sync at 27 November 2026, 02:00"),
        ([failed(), night(1)], None, f"none, as of the sync at 27 November 2026, 02:00: {NO_SESSION}"),
        (
            [night(0, was_listed=False, closed_because="listing_failed"), night(1)],
            None,
            "accepted by GoPro, as of the sync at 26 November 2026, 02:00",
        ),
        (
            [night(0)],
            ending(ends_about="2026-11-27T10:30:00Z"),
            "expected to end about 27 November 2026, 11:30. To renew it: cloud-sync credentials login --env prod",
        ),
        (
            [],
            ending(),
            "refused by GoPro, as of 27 November 2026, 07:00. To renew it: cloud-sync credentials login --env prod",
        ),
        (
            [night(0)],
            ending(occurred_at=iso(LAST_NIGHT)),
            "accepted by GoPro, as of the sync at 27 November 2026, 02:00",
        ),
    ],
)
def test_of_the_session_the_latest_news_are_said(
    history: list[PastSync], warning: SessionEnding | None, said: str
) -> None:
    assert dict(facts(known(*history, warning=warning)))["Session with GoPro"] == said


# The calendar


def states(months: Sequence[Month]) -> Mapping[date, str]:
    return {one.day: one.state for month in months for one in month.nights if one.state != "unknown"}


def test_each_day_has_the_state_that_its_last_sync_left() -> None:
    again = replace(night(2), sync_id="manual", requested_at=iso(LAST_NIGHT - timedelta(days=2, hours=-6)))
    months = calendar(known(failed(0), again, failed(2), left(4, LOST), night(5)))
    assert states(months) == {
        date(2026, 11, 27): "failed",
        date(2026, 11, 26): "none",
        date(2026, 11, 25): "well",
        date(2026, 11, 24): "none",
        date(2026, 11, 23): "partial",
        date(2026, 11, 22): "well",
    }
    (november,) = months
    assert (november.name, len(november.nights)) == ("Nov 2026", 30)
    assert (november.count("none"), november.count("well"), november.count("unknown")) == (2, 2, 24)


def test_a_day_is_the_one_of_the_schedules_zone() -> None:
    late = replace(night(0), requested_at="2026-11-26T23:30:00Z")
    assert states(calendar(known(late))) == {date(2026, 11, 27): "well"}


def test_today_is_open_while_its_sync_is_still_to_come() -> None:
    evening = datetime(2026, 11, 27, 0, 30, tzinfo=ZONE)
    soon = evening + timedelta(minutes=10)
    assert states(calendar(known(night(1), now=evening, next_sync=soon))) == {date(2026, 11, 26): "well"}
    assert states(calendar(known(night(1)))) == {date(2026, 11, 26): "well", date(2026, 11, 27): "none"}
    assert states(calendar(known(night(1), now=evening, next_sync=None)))[date(2026, 11, 27)] == "none"


def test_a_running_sync_is_on_its_day() -> None:
    sync = Sync(sync_id="s", requested_at=iso(LAST_NIGHT))
    assert states(calendar(known(running=[sync]))) == {date(2026, 11, 27): "running"}
    assert calendar(known()) == []


def test_a_day_says_in_words_what_came() -> None:
    titles = {one.day.day: one.title for one in calendar(known(stored(0, 3, 5_000), failed(1), night(3)))[0].nights}
    assert titles[27] == "27 November 2026: all well, 3 media stored (5.0 kB)"
    assert titles[26] == "26 November 2026: failed"
    assert titles[25] == "25 November 2026: no sync"


def test_months_go_back_to_the_first_sync_the_latest_first_and_not_beyond_the_limit() -> None:
    months = calendar(known(night(0), night(35)))
    assert [month.name for month in months] == ["Nov 2026", "Oct 2026"]
    assert len(calendar(known(night(0), night(31 * MONTHS)))) == MONTHS
    over_new_year = calendar(known(night(0), night(340)))
    assert [month.first for month in over_new_year[-2:]] == [date(2026, 1, 1), date(2025, 12, 1)]


# Growth and kinds


def test_each_month_has_what_came_and_what_that_cost() -> None:
    history = [stored(0, 3, 8_000), stored(1, 1, 2_000), stored(30, 2, 5_000)]
    history[0] = replace(history[0], seconds=100.0, parts=7, files=4, discovered=5)
    history[1] = replace(history[1], seconds=0.0, parts=0, files=0, discovered=0)
    november, october = growth(known(*history, memory_mb=2048), calendar(known(*history)))
    usd = (
        200 * prices.LAMBDA_GB_SECOND
        + upload_requests(7, 4) * prices.S3_PUT
        + 5 * prices.TABLE_WRITES_PER_MEDIUM * prices.TABLE_WRITE
    )
    assert (november.month, november.media, november.size, november.share) == ("Nov 2026", 4, "10.0 kB", 100.0)
    assert november.usd == dollars(usd)
    assert (october.month, october.media, october.size, october.share) == ("Oct 2026", 2, "5.0 kB", 50.0)


def test_the_cost_of_computing_is_left_out_where_the_memory_is_not_known() -> None:
    history = [replace(stored(0, 1, 8_000), seconds=1e9, parts=10**6, files=0, discovered=0)]
    (month,) = growth(known(*history), calendar(known(*history)))
    assert month.usd == dollars(10**6 * prices.S3_PUT)
    (month,) = growth(known(*history, memory_mb=1024), calendar(known(*history)))
    assert month.usd == dollars(10**6 * prices.S3_PUT + 1e9 * prices.LAMBDA_GB_SECOND)


def test_shares_are_given_to_a_tenth_of_a_percent() -> None:
    assert [one.share for one in kept([stored(0, 1, 3), stored(1, 1, 2, camera="MAX2")])] == [100.0, 66.7]


def test_long_reasons_and_names_are_cut() -> None:
    long = "x" * 400
    assert len(verdict(known(replace(failed(), reason=long))).reason) == 300
    assert len(verdict(known(left(0, LOST, reason=long))).reason) == 300
    assert len(dict(facts(known(replace(failed(), reason=long))))["Session with GoPro"].partition(": ")[2]) == 200
    assert len(recent(known(replace(failed(), reason=long)))[0].said) == 200
    assert len(missing(known(left(0, replace(LOST, reason=long))))[0].reason) == 200
    assert kept([stored(0, 1, 1, camera=long, kind=long)])[0].name == f"{'x' * 59}…, {'x' * 39}…"


def test_months_without_anything_new_have_no_bar() -> None:
    (november,) = growth(known(night(0)), calendar(known(night(0))))
    assert (november.media, november.share) == (0, 0.0)
    assert growth(known(), []) == []


def test_kinds_are_added_up_over_the_syncs_and_the_rest_comes_last() -> None:
    history = [
        stored(0, 2, 60, camera="MAX2"),
        stored(1, 1, 40, camera="MAX2"),
        stored(2, 5, 50, camera="", kind=""),
        replace(stored(3, 2, 90), kinds=(Kind(camera="HERO9", type="Photo", media=1, bytes=20),)),
        replace(stored(4, 3, 30), kinds=(Kind(camera=OTHERS, type=OTHERS, media=2, bytes=25),)),
    ]
    assert kept(history) == [
        Kept(name="MAX2, Video", media=3, size="100 bytes", share=100.0),
        Kept(name="unknown camera, unknown type", media=5, size="50 bytes", share=50.0),
        Kept(name="HERO9, Photo", media=1, size="20 bytes", share=20.0),
        Kept(name="others", media=4, size="100 bytes", share=100.0),
    ]
    assert kept([night(0)]) == []


# What is missing


def test_what_is_missing_has_been_so_since_the_first_of_the_syncs_that_name_it() -> None:
    history = [left(0, LOST, GONE), left(1, LOST), left(2, LOST), night(3), left(4, LOST)]
    assert missing(known(*history)) == [
        Missing(
            name="GX2.MP4 (m2)", reason="empty at GoPro", since="28 October 2026", lasting="30 days", for_good=True
        ),
        Missing(
            name="GX1.MP4 (m1)",
            reason="GoPro's CDN answered 503",
            since="25 November 2026",
            lasting="2 days",
            for_good=False,
        ),
    ]


def test_a_sync_of_a_part_neither_ends_nor_begins_what_the_library_lacks() -> None:
    part = {"filters": Filters(types=("Photo",))}
    other = replace(LOST, media_id="m9")
    history = [left(0, other, **part), left(1, LOST), night(2, **part), left(3, LOST), night(4)]
    assert {one.name: one.since for one in missing(known(*history))} == {
        "GX1.MP4 (m1)": "24 November 2026",
        "GX1.MP4 (m9)": "27 November 2026",
    }
    assert set(named_as_missing([night(0), left(1, LOST)])) == set()


def test_the_latest_sync_says_why_a_medium_is_missing() -> None:
    history = [left(0, replace(LOST, reason="now this")), left(1, LOST)]
    assert [one.reason for one in missing(known(*history))] == ["now this"]
    (one,) = missing(known(left(0, replace(LOST, reason=""))))
    assert (one.reason, one.lasting) == ("reason unknown", "0 days")


def test_what_is_in_the_bucket_by_now_is_not_missing() -> None:
    assert missing(known(left(0, LOST), stored={"m1"})) == []


def test_what_is_not_ready_at_gopro_is_not_missing_for_good() -> None:
    waits = MissingMedium(media_id="n", filename="N", because="not ready", reason="x", since="2026-11-19T23:30:00Z")
    (one,) = missing(known(left(0, waits)))
    assert (one.since, one.lasting, one.for_good) == ("20 November 2026", "7 days", False)


def test_media_that_no_record_names_are_counted() -> None:
    waits = replace(LOST, media_id="n", because="not ready")
    history = [left(0, LOST, waits, outstanding=4, skipped=3)]
    assert missing_in_all(known(*history)) == 2 + (2 + 4 + 3 - 1)
    assert missing_in_all(known(left(0, LOST))) == 1
    assert missing_in_all(known(left(0, LOST), stored={"m1"})) == 0
    assert missing_in_all(known()) == 0


def test_what_waits_is_said_with_the_night_since_which_some_has_waited() -> None:
    history = [night(0, deferred=2, pending=1), night(1, deferred=9), night(2, filters=Filters(types=("Photo",)))]
    history += [night(3, deferred=1), night(4), night(5, deferred=3, pending=3)]
    assert list(waiting(known(*history))) == [
        "2 media left for later syncs, since each has a limit. Some have been since 24 November 2026.",
        "1 medium not ready at GoPro. Some have been since 27 November 2026.",
    ]
    assert list(waiting(known(night(0)))) == []
    assert list(waiting(known())) == []


# The last syncs, and what is covered


def test_the_last_syncs_say_how_they_ended() -> None:
    ended = [
        replace(stored(0, 3, 5_000), amendments=2, reason="It did not finish.", requested_at="2026-11-26T23:30:00Z"),
        left(1, LOST, LOST, amendments=1),
        night(2, failed=1, known_losses=1),
        failed(3),
        night(4, outcome="partial", was_listed=False, closed_because="cancelled", reason="It was cancelled."),
    ]
    rows = recent(known(*ended))
    assert [(row.word, row.tone, row.said) for row in rows] == [
        ("all well", "good", "after 2 amendments"),
        ("partial", "warn", "2 media not stored; after 1 amendment"),
        ("all well", "good", "1 medium missing for good"),
        ("failed", "bad", NO_SESSION),
        ("partial", "warn", "It was cancelled."),
    ]
    assert rows[0] == Row(
        sync_id="scheduled-2026-11-27",
        when="27 November 2026, 00:30",
        tone="good",
        word="all well",
        said="after 2 amendments",
        stored="3 media, 5.0 kB",
        took="2 h 12 min",
    )
    assert rows[1].stored == "nothing new"
    assert len(recent(known(*(night(ago) for ago in range(30))))) == 10


@pytest.mark.parametrize(
    ("history", "said"),
    [
        ([], "The history begins with the first sync that closes."),
        ([night(0), night(3)], "Every sync since 24 November 2026."),
        (
            [night(0), night(1), night(2), night(9, imported=True)],
            f"Every sync since 25 November 2026, {LEFT}",
        ),
        (
            [night(9, imported=True)],
            f"Every sync from now on, {LEFT}",
        ),
        ([night(0)] * NIGHTS, f"The last {NIGHTS} syncs, since 27 November 2026."),
    ],
)
def test_the_page_says_what_it_covers(history: list[PastSync], said: str) -> None:
    assert covered(known(*history)) == said


# The page


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_small_and_has_nothing_of_a_name_but_its_text(name: str) -> None:
    html = PAGES[name]().decode()
    assert len(html) < 150_000
    for hostile in HOSTILE:
        assert not hostile.startswith("<") or hostile not in html
    assert "<script" not in html
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in html


def test_the_page_has_the_nights_that_were_not_well_in_words() -> None:
    html = library_page(known(failed(0), left(1, LOST), night(2))).decode()
    assert "<li>27 November 2026: failed</li>" in html
    assert "<li>26 November 2026: partial</li>" in html
    assert "<li>25 November 2026" not in html
    assert html.count('class="legend"') == 5
    assert "not known" not in html


def test_the_page_says_what_is_missing_and_kept_what_it_covers_and_when_it_was_written() -> None:
    shown = known(left(0, LOST), stored(1, 2, 5_000))
    html = unescape(library_page(shown).decode())
    assert "GX1.MP4 (m1)" in html
    assert "HERO13 Black, Video" in html
    assert f"{prices.PRICES_OF}." in html
    assert (
        f"<p>{covered(shown)} Written at 27 November 2026, 08:30, and again after each sync. "
        "Times are in Europe/Berlin. The pages of single syncs lie beside this one; "
        "<code>cloud-sync report SYNC --env prod</code> opens one."
    ) in html


def test_the_page_says_what_it_costs_to_keep_what_came() -> None:
    html = library_page(known(stored(0, 3, 2 * 10**12), stored(40, 3, 10**12))).decode()
    assert f"To keep what these months brought costs {keeping(3 * 10**12)} a month" in html
    assert keeping(3 * 10**12) == "$69.00"
