"""The tables of a sync's page: what failed and what to type, the media, their proofs, the cost, the session."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from services.shared.events import MediaDiscovered, MediaDownloadPaused, Slice, SyncRequested
from services.summarizer.page import media as medium_table
from services.summarizer.page.choreography import Counts
from services.summarizer.page.costs import costs, dollars
from services.summarizer.page.failures import GROUPS, NAMED, Step, failures, steps_of
from services.summarizer.page.lanes import spans
from services.summarizer.page.media import OPEN, ROWS, came, proof, proofs, table
from services.summarizer.page.sessions import Session, sessions
from services.summarizer.page.wording import clock, date, lasting, rate, some_media, stamp, weekday
from services.summarizer.reasons import NO_RESULT
from services.summarizer.records import ClosedSync, Medium, SessionSeen

BERLIN = ZoneInfo("Europe/Berlin")
ENV = "--env prod"
TRIGGER = Step("cloud-sync trigger --env prod --wait", is_command=True)


def closed(**more: Any) -> ClosedSync:
    given = {"closed_because": "complete", "outcome": "completed", "summary": {}}
    return ClosedSync(**{"sync_id": "s-1", **given, **more})


def failed(media_id: str = "m", **more: Any) -> Medium:
    return Medium(**{"media_id": media_id, "state": "FAILED", "filename": f"{media_id}.MP4", "reason": "gone", **more})


def stored(media_id: str = "m", **more: Any) -> Medium:
    return Medium(**{"media_id": media_id, "state": "DOWNLOADED", "filename": f"{media_id}.MP4", "bytes": 10, **more})


# ── What failed ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_failures_are_grouped_by_reason_the_most_urgent_first() -> None:
    media = [
        failed("a", known_since="2026-11-02T00:00:00Z"),
        failed("b", reason="lost"),
        failed("c"),
        failed("d"),
        failed("e", dead_letter=True, reason="503"),
        Medium(media_id="f", state="DISCOVERED"),
        Medium(media_id="g", state="SKIPPED"),
        stored("h"),
        failed("i", reason=""),
        failed("j", dead_letter=True, reason="503"),
    ]
    found = failures(closed(), media, ENV)
    assert [(group.title, group.kind, group.reason) for group in found.groups] == [
        ("2 dead letters", "dead letters", "503"),
        ("2 failed", "failed", "gone"),
        ("1 failed", "failed", "lost"),
        ("1 failed", "failed", "reason unknown"),
        ("1 without a result", "without a result", NO_RESULT),
        ("1 skipped", "skipped", "the sync was cancelled"),
        ("1 known loss", "known losses", "gone"),
    ]
    assert found.hidden == 0
    assert found.groups[1].names == ("c.MP4 (c)", "d.MP4 (d)")


def steps(*media: Medium, sync: ClosedSync | None = None, env: str = ENV) -> tuple[Step, ...]:
    (group,) = failures(sync or closed(), media, env).groups
    return group.steps


def test_each_group_names_the_command_to_type() -> None:
    redrive = "cloud-sync redrive --env prod"
    assert steps(failed("a", dead_letter=True)) == (
        Step("Its tries are used up. Once the cause is fixed, try it again:"),
        Step(f"{redrive} --media-id a --wait", is_command=True),
    )
    assert steps(failed("a", dead_letter=True), failed("b", dead_letter=True)) == (
        Step("Their tries are used up. Once the cause is fixed, try them again:"),
        Step(f"{redrive} --wait", is_command=True),
    )
    assert steps(Medium(media_id="a", state="DISCOVERED")) == (
        Step("Look whether they are still being worked on, and for messages that used up their tries:"),
        Step("cloud-sync watch --env prod s-1", is_command=True),
        Step("cloud-sync failures --env prod", is_command=True),
    )
    assert steps(failed("a")) == (
        Step("No other try of this sync could help. The next one tries once more. To start it now:"),
        TRIGGER,
    )
    assert steps(Medium(media_id="a", state="SKIPPED")) == (
        Step("The next sync takes them. To start one now:"),
        TRIGGER,
    )
    (nothing,) = steps(failed("a", known_since="2026-11-02"))
    assert nothing == Step("Nothing has to be done: it is the same as before, and no further try can help.")


def test_a_remedy_comes_before_the_redrive_and_instead_of_another_try() -> None:
    remedy = "Sign in again:\n  cloud-sync credentials login"
    told = (Step("Sign in again:"), Step("cloud-sync credentials login --env prod", is_command=True))
    assert steps(failed("a", remedy=remedy)) == told
    assert steps(failed("a", remedy=remedy, dead_letter=True))[:2] == told


def test_a_command_cannot_be_left_by_an_id() -> None:
    (_, command) = steps(failed("a; rm -rf /\n`b`", dead_letter=True))
    assert command.text == "cloud-sync redrive --env prod --media-id 'a; rm -rf / `b`' --wait"


def test_without_an_option_a_command_has_no_gap() -> None:
    assert steps(failed("a"), env="")[1].text == "cloud-sync trigger --wait"
    assert steps_of("Sign in:\n  cloud-sync credentials login", "")[1].text == "cloud-sync credentials login"


def test_the_commands_of_a_remedy_are_for_this_deployment() -> None:
    remedy = (
        "Sign in again:\n  cloud-sync credentials login\n  cloud-sync status --env dev\n  aws sts get-caller-identity\n"
        "  indented text\n\nThen send a new SyncRequested."
    )
    assert steps_of(remedy, ENV) == [
        Step("Sign in again:"),
        Step("cloud-sync credentials login --env prod", is_command=True),
        Step("cloud-sync status --env dev", is_command=True),
        Step("aws sts get-caller-identity", is_command=True),
        Step("indented text"),
        Step("Then send a new SyncRequested."),
        TRIGGER,
    ]
    assert steps_of("", ENV) == []


def test_a_failed_medium_says_how_much_of_it_is_stored_and_since_when_it_is_lost() -> None:
    (group,) = failures(
        closed(), [failed("a", files_stored=1, files_total=1200, known_since="2026-11-02T01")], ENV
    ).groups
    assert group.names == ("a.MP4 (a), 1 of 1,200 files stored, since 2026-11-02",)
    skipped = Medium(media_id="a", state="SKIPPED", files_total=3)
    (group,) = failures(closed(), [skipped], ENV).groups
    assert group.names == ("(name unknown) (a)",)


def test_long_texts_of_a_failure_are_cut() -> None:
    long = "x" * 2000
    (group,) = failures(
        closed(), [failed(long, reason=long, remedy=f"  aws {long}\n{long}", dead_letter=True)], ENV
    ).groups
    assert len(group.reason) == 1000
    command, said, _, redrive = (step.text for step in group.steps)
    assert (len(command), len(said)) == (1000, 1500)
    assert redrive == f"cloud-sync redrive --env prod --media-id '{'x' * 199}…' --wait"


def test_a_medium_without_a_result_has_the_reason_of_its_session() -> None:
    (group,) = failures(closed(session_problem="revoked"), [Medium(media_id="a", state="DISCOVERED")], ENV).groups
    assert group.reason == "revoked"


def test_groups_and_names_are_limited() -> None:
    media = [
        failed(f"m{number:03}", reason=f"reason {number % (GROUPS + 2):02}") for number in range(10 * (GROUPS + 2))
    ]
    found = failures(closed(), media, ENV)
    assert (len(found.groups), found.hidden) == (GROUPS, 20)
    (group,) = failures(closed(), [failed(f"m{number:03}") for number in range(NAMED + 5)], ENV).groups
    assert (group.media, len(group.names), group.title) == (NAMED + 5, NAMED, "55 failed")
    assert group.names[-1] == "m049.MP4 (m049)"


# ── The media ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_table_begins_with_what_needs_attention() -> None:
    media = [
        stored("a", captured_at="2026-11-20T10:00:00Z"),
        stored("b", captured_at="2026-10-31T23:30:00Z"),
        stored("c", warning="smaller than listed"),
        Medium(media_id="d", state="SKIPPED"),
        Medium(media_id="e", state="DISCOVERED"),
        failed("f"),
        stored("g"),
    ]
    found = table(media, BERLIN)
    assert [
        (group.title, group.anchor, group.is_open, [row.media_id for row in group.rows]) for group in found.groups
    ] == [
        ("Not stored", "media-1", True, ["f"]),
        ("Without a result", "media-2", True, ["e"]),
        ("Left for the next sync", "media-3", True, ["d"]),
        ("Stored, but suspicious", "media-4", True, ["c"]),
        ("Stored", "media-5", True, ["a", "b", "g"]),
    ]
    assert found.hidden == 0


def test_many_stored_media_are_folded_by_the_month_of_their_capture() -> None:
    media = [stored(f"a{number}", captured_at="2026-11-20T10:00:00Z") for number in range(OPEN)]
    media += [
        stored("z", captured_at="2025-12-20T10:00:00Z"),
        stored("b", captured_at="2026-10-31T23:30:00Z"),
        stored("c"),
        stored("d", captured_at="2026-09-30T23:30:00Z"),
    ]
    media += [failed("e"), stored("f", captured_at="2026-11-01T10:00:00Z")]
    found = table(media, BERLIN)
    # In Berlin, 23:30 UTC is in the next month.
    assert [(group.title, len(group.rows), group.is_open) for group in found.groups] == [
        ("Not stored", 1, True),
        ("November 2026", OPEN + 2, False),
        ("October 2026", 1, False),
        ("December 2025", 1, False),
        ("Captured at an unknown time", 1, False),
    ]
    assert found.groups[1].rows[0].media_id == "f"
    assert [group.is_open for group in table([failed(f"m{n}") for n in range(OPEN + 1)], BERLIN).groups] == [False]
    few = table([stored(f"m{n}") for n in range(OPEN)], BERLIN).groups
    assert [(group.title, group.is_open) for group in few] == [("Stored", True)]


def test_the_table_names_the_first_media_and_counts_the_others() -> None:
    found = table([stored(f"m{number:05}") for number in range(ROWS + 7)], BERLIN)
    assert (sum(len(group.rows) for group in found.groups), found.hidden) == (ROWS, 7)


def row(medium: Medium) -> medium_table.Row:
    return table([medium], BERLIN).groups[0].rows[0]


def test_a_row_has_all_that_is_known_of_a_stored_medium() -> None:
    slices = (Slice(began_at="2026-11-23T01:00:00Z", seconds=90.0, retries=2), Slice(began_at="", seconds=10.0))
    medium = stored(
        "a",
        captured_at="2026-11-20T22:30:00Z",
        bytes=4_000_000_000,
        files_total=3,
        proven_by_etag=3,
        slices=slices,
        hops=1,
        looked_again=True,
        late=7,
        warning="smaller than listed",
    )
    assert row(medium) == medium_table.Row(
        name="a.MP4",
        media_id="a",
        captured="2026-11-20 23:30",
        size="4.0 GB",
        files="3 files",
        proof="ETag match",
        time="1 min 40 s, 40.0 MB/s",
        remark="smaller than listed; looked at again; tried again twice; paused once; after the close",
    )


def test_what_is_unknown_is_said_to_be() -> None:
    assert row(stored("a", filename="", bytes=0)) == medium_table.Row(
        name="(name unknown)",
        media_id="a",
        captured="unknown",
        size="unknown",
        files="unknown",
        proof="unknown",
        time="",
        remark="",
    )
    assert row(stored("a", seconds=5.0)).time == "5.0 s, 2 bytes/s"
    assert row(stored("a", seconds=5.0, already_stored=True)).time == ""
    assert row(stored("a", already_stored=True)).remark == "stored by another sync"


def test_long_texts_of_a_medium_are_cut() -> None:
    long = "x" * 400
    found = row(failed(long, reason=long, warning=long))
    assert {len(found.name), len(found.media_id)} == {200}
    assert found.remark == f"{'x' * 299}…; {'x' * 159}…"
    assert len(came([stored(camera=long)], BERLIN).cameras[0][0]) == 40


def test_a_row_of_a_failed_medium_says_why_and_how_much_is_stored() -> None:
    medium = failed("a", size=5_000_000, files_stored=1, files_total=3, attempts=5, dead_letter=True, hops=3)
    found = row(medium)
    assert (found.size, found.files, found.proof, found.time) == ("5.0 MB", "1 of 3 files", "", "")
    assert found.remark == "gone; a dead letter; tried again 4 times; paused 3 times"
    assert row(failed("a", reason="", known_since="2026-11-01")).remark == "reason unknown; a known loss"
    assert row(failed("a", item_count=7)).files == "0 of 7 files"
    assert row(failed("a", seconds=3.0)).files == "0 of ? files"


@pytest.mark.parametrize(
    ("by_etag", "files", "said"),
    [
        (None, 3, "unknown"),
        (0, 0, "unknown"),
        (3, 3, "ETag match"),
        (0, 3, "length match"),
        (1200, 1300, "1,200 ETag match, others length"),
    ],
)
def test_a_proof_is_of_all_files_or_says_of_how_many(by_etag: int | None, files: int, said: str) -> None:
    assert proof(stored("a", proven_by_etag=by_etag, files_total=files)) == said
    assert proof(failed("a", proven_by_etag=by_etag, files_total=files)) == ""


def test_proofs_are_counted_by_file() -> None:
    media = [
        stored("a", proven_by_etag=2, files_total=3),
        stored("b", proven_by_etag=0, files_total=4),
        stored("c"),
        failed("d", files_total=9),
    ]
    assert proofs(media) == medium_table.Proofs(by_etag=2, by_length=5, unknown_media=1)


def test_what_came_is_summed_up_for_the_owner() -> None:
    media = [
        stored("a", type="Video", camera="HERO12", captured_at="2026-11-20T23:30:00Z", bytes=3_000_000),
        stored("b", type="Photo", camera="MAX2", captured_at="2026-11-19T10:00:00Z", bytes=1_000_000),
        stored("c", type="Video", camera="HERO12", captured_at="2026-11-20T10:00:00Z", bytes=0),
        stored("d", type="Burst"),
        stored("e", type="Video", already_stored=True),
        failed("f", type="Video"),
    ]
    found = came(media, BERLIN)
    assert (found.media, found.size, found.captured) == (4, "4.0 MB", "2026-11-19 to 2026-11-21")
    assert found.kinds == (("Video", 2), ("Burst", 1), ("Photo", 1))
    assert found.cameras == (("HERO12", 2), ("unknown", 1), ("MAX2", 1))
    assert came([stored("a", captured_at="2026-11-19T10:00:00Z")], BERLIN).captured == "2026-11-19"
    assert came([], BERLIN) == medium_table.Came(media=0, size="0 bytes", kinds=(), cameras=(), captured="")
    assert len(came([stored(f"m{n}", camera=f"c{n}") for n in range(20)], BERLIN).cameras) == 8


# ── Cost and session ─────────────────────────────────────────────────────────────────────────────────────────────────

COUNTS = Counts(
    events={SyncRequested: 1, MediaDiscovered: 1000, MediaDownloadPaused: 0}, retries=0, dead_letters=0, by_others=0
)


def test_the_cost_is_what_was_counted_at_list_prices() -> None:
    slices = (Slice(began_at="2026-11-23T01:00:00Z", seconds=3600.0, parts=990),)
    media = [stored("a", slices=slices, files_total=5), stored("b", files_total=9)]
    found = costs(closed(bytes=10**12), media, spans(media), COUNTS, memory_mb=2048)
    assert [(item.item, item.counted, item.usd) for item in found.items] == [
        ("Lambda, while bytes came", "1 h at 2,048 MB", "$0.0960"),
        ("S3, requests of uploads", "1,000", "$0.0050"),
        ("Events", "1,001", "$0.0010"),
        ("Messages", "2,002", "$0.0024"),
        ("DynamoDB, writes", "about 32", "under $0.0001"),
    ]
    assert (found.total, found.month) == ("$0.1044", "$23.00")


def test_a_cost_that_nobody_counted_is_unknown_and_nothing_costs_nothing() -> None:
    unknown = replace(COUNTS, events={SyncRequested: None, MediaDownloadPaused: None})
    found = costs(closed(), [], [], unknown, memory_mb=1024)
    assert [(item.item, item.counted, item.usd) for item in found.items] == [
        ("Lambda, while bytes came", "unknown", "unknown"),
        ("S3, requests of uploads", "unknown", "unknown"),
    ]
    assert (found.total, found.month) == ("$0.0000", "")
    without_memory = costs(closed(), [], [], COUNTS, memory_mb=None).items
    assert [(item.item, item.usd) for item in without_memory][:2] == [
        ("Lambda, while bytes came", "unknown"),
        ("Events", "$0.0010"),
    ]


def test_dollars_have_the_digits_that_tell_something() -> None:
    amounts = (0.0, 0.00001, 0.0001, 0.12345, 0.99999, 1.0, 1234.5)
    assert [dollars(amount) for amount in amounts] == [
        "$0.0000",
        "under $0.0001",
        "$0.0001",
        "$0.1235",
        "$1.0000",
        "$1.00",
        "$1,234.50",
    ]


def test_a_session_says_when_it_was_given_and_how_long_it_had_left() -> None:
    seen = (
        SessionSeen(version=4, authenticated_at="2026-11-23T01:00:00Z", expires_at="2026-11-23T03:30:00Z"),
        SessionSeen(version=5, rejected_at="2026-11-23T03:00:00Z"),
        SessionSeen(version=6, authenticated_at="2026-11-23T01:00:00Z"),
    )
    assert sessions(seen, BERLIN) == (
        Session(version=4, given="2026-11-23 02:00", ends="2026-11-23 04:30", left="2 h 30 min", rejected=""),
        Session(
            version=5, given="not by this sync's request", ends="unknown", left="unknown", rejected="2026-11-23 04:00"
        ),
        Session(version=6, given="2026-11-23 02:00", ends="unknown", left="unknown", rejected=""),
    )


# ── Words ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_times_are_read_in_the_zone_of_the_schedule() -> None:
    moment = datetime(2026, 11, 22, 23, 5, 7, tzinfo=UTC)
    assert (clock(moment, BERLIN), clock(moment, BERLIN, seconds=True)) == ("00:05", "00:05:07")
    assert (date(moment, BERLIN), weekday(moment, BERLIN)) == ("23 November 2026", "Monday, 23 November 2026")
    assert stamp(moment, BERLIN) == "2026-11-23 00:05"
    assert (clock(None, BERLIN), date(None, BERLIN), stamp(None, BERLIN)) == ("unknown",) * 3


def test_a_duration_has_its_two_largest_units() -> None:
    seconds = (-1, 0, 9.94, 10, 59.4, 60, 61, 3599, 3600, 3660, 86_399, 86_400, 90_000, 400 * 86_400)
    assert [lasting(one) for one in seconds] == [
        "0.0 s",
        "0.0 s",
        "9.9 s",
        "10 s",
        "59 s",
        "1 min",
        "1 min 1 s",
        "59 min 59 s",
        "1 h",
        "1 h 1 min",
        "1 d",
        "1 d",
        "1 d 1 h",
        "400 d",
    ]


def test_a_rate_needs_time() -> None:
    assert (rate(10_000_000, 4), rate(5, 0), rate(5, -1)) == ("2.5 MB/s", "unknown", "unknown")


def test_one_medium_is_a_medium() -> None:
    assert (some_media(0), some_media(1), some_media(1234)) == ("0 media", "1 medium", "1,234 media")
