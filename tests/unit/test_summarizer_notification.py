"""The texts that people read about a sync, and its report."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.authenticator.credentials import RENEW
from services.authenticator.failures import NeedsOperator, RequestRefused, failure
from services.authenticator.request import accepted_filters
from services.shared.events import (
    Event,
    FailedFile,
    Failure,
    FailureReason,
    Filters,
    NotReadyMedium,
    SessionEnding,
    Summary,
    SyncAmended,
)
from services.summarizer.closing import closing_event, why_to_close
from services.summarizer.notification import (
    TEXT_BYTES,
    Notification,
    amendment_notification,
    closing_notification,
    session_notification,
)
from services.summarizer.records import Medium
from services.summarizer.report import report
from tests.unit.summarizer_facts import (
    BEGIN,
    DEPLOYMENT,
    NOT_LISTED,
    REVOKED,
    SYNC,
    Known,
    a_sync_of,
    at,
    cancelled,
    discovered,
    downloaded,
    failed,
    listed,
    requested,
    skipped,
)

CONSOLE = "https://eu-central-1.console.aws.amazon.com/s3/object/media?region=eu-central-1&prefix=reports%2F"
PAGE = f"{CONSOLE}{SYNC}.html"


def summary(*facts: Event) -> Summary:
    known = Known(facts)
    return closing_event(known.close(why_to_close(known.sync) or "deadline", now=BEGIN + timedelta(seconds=3725)))


def notification(*facts: Event) -> Notification:
    return closing_notification(summary(*facts), DEPLOYMENT)


def check_subject(subject: str) -> None:
    assert re.fullmatch(r"[\x20-\x7e]{1,99}", subject)


def check(facts: Sequence[Event], severity: str, headline: str, *needed: str, absent: Sequence[str] = ()) -> None:
    found = notification(*facts)
    assert found.severity == severity
    subject = f"{headline} ({SYNC})"
    assert found.subject == (subject if len(subject) <= 99 else headline)
    check_subject(found.subject)
    assert found.text.startswith(f"{headline}.\n")
    assert found.text.endswith(f"\nLook:\n  cloud-sync report {SYNC} --env prod\n  {PAGE}\n")
    assert [text for text in needed if text not in found.text] == []
    assert [text for text in absent if text in found.text] == []
    assert len(found.text.encode()) <= TEXT_BYTES


def session_ending(**changes: Any) -> Notification:
    fields = {"ends_about": "2026-11-23T22:40:00Z", "reason": "", **changes}
    event = SessionEnding(
        sync_id="scheduled-2026-11-24",
        warned_on="2026-11-23",
        since="2026-11-23T13:55:00Z",
        next_sync_at="2026-11-24T01:00:00Z",
        **fields,
    )
    return session_notification(event, DEPLOYMENT, ZoneInfo("Europe/Berlin"))


def test_a_session_that_ends_is_announced_in_local_time_with_the_command_that_renews_it() -> None:
    found = session_ending()
    check_subject(found.subject)
    assert found.subject == "Cloud Sync: the session with GoPro ends before the sync at 02:00 on 24 November"
    assert "\nIt ends about 23:40 on 23 November. The sync is scheduled-2026-11-24.\n" in found.text
    assert found.text.endswith("\nTo do:\n    cloud-sync credentials login --env prod\n")
    assert found.severity == "warning"
    assert found.link == f"{CONSOLE}index.html"


def test_a_dead_session_is_announced_with_its_reason() -> None:
    found = session_ending(ends_about=None, reason="the pasted token is dead")
    check_subject(found.subject)
    assert found.subject.startswith("Cloud Sync: no session with GoPro for the sync at 02:00")
    state = "The last session began at 14:55 on 23 November. The sync is scheduled-2026-11-24."
    assert f"\n{state}\n\nWhy: the pasted token is dead\n" in found.text
    assert found.event.event_id == session_ending().event.event_id, "one message a day, whatever it says"


def test_a_wrong_request_is_reported_as_one_and_raises_no_alarm() -> None:
    wrong = requested(provider="dropbox")
    with pytest.raises(RequestRefused) as refused:
        accepted_filters(wrong)

    check(
        [requested(), failure(SYNC, refused.value)],
        "warning",
        "Cloud Sync: a request for a sync was refused, and nothing was synced",
        "the request was not accepted: the provider 'dropbox' is unknown; the only provider is gopro",
        "Send a new SyncRequested without the mistake",
        absent=["session"],
    )


def test_a_partial_failure_has_what_failed_why_and_what_to_do() -> None:
    facts = [
        requested(),
        *[discovered(f"m{n}") for n in range(14)],
        listed(14, listed=122, stored=108, pending=1, deferred=3, warnings=["the library shrank"]),
        *[downloaded(f"m{n}", bytes=250_000_000) for n in range(10)],
        failed("m10", "GoPro no longer has it (404)"),
        failed("m11", "kept ending early", dead_letter=True),
        failed("m12", "kept ending early"),
        failed("m13", "another host", remedy="Allow the host:\n  cdk deploy -c download_hosts=cdn.example"),
    ]
    check(
        facts,
        "warning",
        "Cloud Sync: 10 of 14 new media stored, 4 failed (1 dead letter), 1 warning",
        "\n10 stored (2.5 GB); 108 of 122 were in the bucket before; 3 left for a later sync by the limit; "
        "1 not ready at GoPro; took 1 h 2 min.\n",
        "\nDead letters, which wait for a redrive:\n  1 x kept ending early: GXm11.MP4\n\n"
        "Waits for you:\n  1 x another host: GXm13.MP4\n\n"
        "The next sync tries again by itself:\n"
        "  1 x kept ending early: GXm12.MP4\n"
        "  1 x GoPro no longer has it (404): GXm10.MP4\n\n"
        "Warnings:\n  the library shrank\n\n"
        "To do:\n  Allow the host:\n    cdk deploy -c download_hosts=cdn.example\n"
        "    cloud-sync redrive --wait --env prod\n\n"
        "Look:\n",
    )


def test_a_sync_with_nothing_new_has_a_short_notification() -> None:
    facts = [requested(), listed(0, listed=40, stored=40)]
    check(facts, "info", "Cloud Sync: no new media", "\n40 of 40 were in the bucket before; took 1 h 2 min.\n")
    assert len(notification(*facts).text.splitlines()) == 7


def test_a_sync_that_listed_only_the_newest_media_says_so() -> None:
    facts = [requested(), listed(0, listed=40, stored=40, walk="newest", full_walk_at="2026-11-20T01:00:09Z")]
    how = "only the newest media were listed, the whole library last on 2026-11-20"
    check(facts, "info", "Cloud Sync: no new media", f"\n40 of 40 were in the bucket before; {how}; took 1 h 2 min.\n")


def test_a_sync_that_stored_everything_is_only_information() -> None:
    facts = [*a_sync_of(2), downloaded("m0"), downloaded("m1", already_stored=True)]
    absent = ["To do", "in the bucket before", "tries again", "Dead letters"]
    check(facts, "info", "Cloud Sync: all 2 new media stored", "\n2 stored (10 bytes); took", absent=absent)


def test_a_cause_that_lasts_has_the_day_on_which_it_was_told_first() -> None:
    found = closing_notification(summary(requested(), REVOKED), DEPLOYMENT, told_since="2026-11-20T01:02:03Z")
    assert found.text.startswith(
        "Cloud Sync FAILED: no session with GoPro.\n\nYou were first told so on 2026-11-20.\n\nWhy: "
    )


def test_warnings_make_a_notification_a_warning_even_if_nothing_failed() -> None:
    facts = [requested(), listed(0, warnings=["the library is suddenly empty", "and more"])]
    check(facts, "warning", "Cloud Sync: no new media, 2 warnings", "the library is suddenly empty")


def test_media_without_a_result_are_named_too() -> None:
    headline = "Cloud Sync: 1 of 2 new media stored, 1 without a result"
    texts = [
        "Why: The sync did not finish within 12 hours of its request.\n",
        "  Active downloads continue",
        "    cloud-sync failures --env prod\n    cloud-sync redrive --service NAME --env prod\n",
        "\nThe next sync tries again by itself:\n  1 x it had no result when the sync closed: GXm1.MP4\n",
    ]
    check([*a_sync_of(2), downloaded("m0")], "warning", headline, *texts)
    texts = ["1 x the refresh token was revoked: GXm1.MP4", "Put a new refresh_token"]
    check([*a_sync_of(2), downloaded("m0"), REVOKED], "warning", headline, *texts)


def test_a_failed_sync_that_had_begun_to_download_has_its_figures() -> None:
    headline = "Cloud Sync FAILED: the listing of the GoPro library did not end in time"
    facts = [requested(), discovered("m0"), downloaded("m0")]
    check(facts, "critical", headline, "\n1 stored (10 bytes); took 1 h 2 min.\n", absent=["in the bucket before"])


def test_a_failed_listing_comes_with_the_command_to_list_again() -> None:
    command = "\n    cloud-sync trigger --wait --env prod\n"
    headline = "Cloud Sync FAILED: the GoPro library could not be listed"
    check([requested(), NOT_LISTED], "critical", headline, "\nWhy: its API has changed\n", command, absent=["took"])


def test_a_critical_failure_has_its_reason_and_its_remedy_once() -> None:
    texts = [
        "the refresh token was revoked",
        "Put a new refresh_token",
        "send a new SyncRequested.",
        "cloud-sync trigger",
    ]
    facts = [requested(), REVOKED]
    check(facts, "critical", "Cloud Sync FAILED: no session with GoPro", *texts)
    assert [notification(*facts).text.count(text) for text in texts] == [1, 1, 1, 1]


@pytest.mark.parametrize(
    "facts", [(), (discovered("m0"), listed(1), failed("m0", "no session"))], ids=["critical", "partial"]
)
def test_each_command_of_a_remedy_can_be_copied_from_a_line_of_its_own(facts: Sequence[Event]) -> None:
    fact = failure(SYNC, NeedsOperator("the token died", remedy=RENEW))
    text = notification(requested(), fact, *facts).text
    commands = "".join(
        f"    cloud-sync {command} --env prod\n"
        for command in ("credentials login", "credentials set", "trigger --wait")
    )
    assert f"then send a new SyncRequested.\n{commands}\nLook:\n" in text


names = st.text(st.characters(), max_size=300)


@given(names, names, st.lists(names, max_size=3), st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", fullmatch=True))
def test_no_name_breaks_a_subject_or_a_line(name: str, reason: str, warnings: list[str], sync_id: str) -> None:
    wild = replace(
        summary(*a_sync_of(1), failed("m0")),
        sync_id=sync_id,
        failures=(Failure(media_id=name, filename=name, reason=reason),),
        warnings=tuple(warnings),
        reason=reason,
        trigger=name,
    )
    plain = replace(
        wild,
        failures=(Failure(media_id="i", filename="f", reason="r"),),
        warnings=("w",) * len(warnings),
        reason="r" if reason else "",
        trigger="t",
    )
    found = closing_notification(wild, DEPLOYMENT)
    check_subject(found.subject)
    assert len(found.text.encode()) <= TEXT_BYTES
    assert found.text.endswith(f"  {CONSOLE}{sync_id}.html\n")
    if "... more on the page" not in found.text:
        assert len(found.text.splitlines()) == len(closing_notification(plain, DEPLOYMENT).text.splitlines())
    assert not set(found.text) & set("\r\x00\x1b\u202e\u2028")
    found.text.encode()


def test_the_largest_summary_fits_and_still_says_what_to_do_and_where_to_look() -> None:
    long = "\N{ROCKET}" * 1000
    found = closing_notification(
        replace(
            summary(*a_sync_of(1), failed("m0")),
            sync_id="s" * 100,
            failures=tuple(Failure(media_id=long, filename=long, reason=long) for _ in range(100)),
            failures_total=2500,
            reasons=tuple(FailureReason(reason=f"{n}{long}", media=9, remedy=f"{n}{long}") for n in range(20)),
            dead_letters=1,
            warnings=(long,) * 20,
            reason=long,
            remedy=f"Do this:\n  cloud-sync one\n{long}",
        ),
        DEPLOYMENT,
    )
    assert TEXT_BYTES - 300 < len(found.text.encode()) <= TEXT_BYTES
    check_subject(found.subject)
    assert found.text.startswith("Cloud Sync: 0 of 1 new media stored, 1 failed (1 dead letter), 20 warnings.\n")
    assert found.text.count("\n  ... more on the page\n") == 2
    assert "\nTo do:\n  Do this:\n    cloud-sync one --env prod\n" in found.text
    assert found.text.endswith(".html\n")


def test_a_long_first_line_is_cut_and_not_dropped() -> None:
    long = replace(summary(*a_sync_of(1), failed("m0")), remedy="\N{ROCKET}" * 600)
    assert "\nTo do:\n  \N{ROCKET}\N{ROCKET}" in closing_notification(long, DEPLOYMENT).text


def failures_of_their_own(count: int, **more: Any) -> list[Event]:
    return [failed(f"m{n}", f"reason {n}", **more) for n in range(count)]


def test_reasons_and_names_beyond_the_first_are_counted() -> None:
    text = notification(*a_sync_of(12), *failures_of_their_own(12)).text
    assert text.count("  1 x reason ") == 6
    assert "\n  and 6 more\n" in text
    text = notification(*a_sync_of(6), *failures_of_their_own(6)).text
    assert "more" not in text
    text = notification(*a_sync_of(131), *[failed(f"m{n}") for n in range(130)], failed("m130", "no answer")).text
    assert "\n  130 x gone at the source: GXm0.MP4, GXm1.MP4, GXm10.MP4 and 127 more\n  1 x no answer: " in text
    text = notification(*a_sync_of(3), *[failed(f"m{n}") for n in range(3)]).text
    assert "\n  3 x gone at the source: GXm0.MP4, GXm1.MP4, GXm2.MP4\n" in text


def test_a_remedy_is_said_once_and_its_command_can_be_copied() -> None:
    remedy = "Allow the host:\n  cdk deploy -c download_hosts=cdn.example"
    facts = [failed(f"m{n}", f"the CDN has moved {n}", remedy=remedy) for n in range(3)]
    found = notification(*a_sync_of(3), *facts)
    assert found.severity == "warning"
    assert found.text.count("To do:\n  Allow the host:\n    cdk deploy -c download_hosts=cdn.example\n\nLook") == 1


@pytest.mark.parametrize(
    ("facts", "severity"),
    [
        ([failed(f"m{n}", "no answer") for n in range(3)], "critical"),
        ([failed("m0", "no answer"), failed("m1", "no answer"), failed("m2", "gone")], "warning"),
        ([failed("m0", "no answer"), failed("m1", "no answer"), downloaded("m2")], "warning"),
    ],
    ids=["all of three", "two reasons", "one is stored"],
)
def test_one_cause_that_kept_all_media_is_critical(facts: Sequence[Event], severity: str) -> None:
    assert notification(*a_sync_of(3), *facts).severity == severity


def test_a_remedy_of_media_may_ask_for_a_new_sync() -> None:
    text = notification(*a_sync_of(1), failed("m0", remedy="Fix it, then send a new SyncRequested.")).text
    assert "  Fix it, then send a new SyncRequested.\n    cloud-sync trigger --wait --env prod\n" in text


def test_a_failed_sync_with_failures_has_its_remedy_once() -> None:
    text = notification(requested(), discovered("m0"), NOT_LISTED).text
    assert text.count("Check the reason.") == 1
    assert "1 x it had no result when the sync closed: GXm0.MP4" in text


def test_a_reason_is_cut_and_an_empty_one_said() -> None:
    reasons = (FailureReason(reason="r" * 201, media=1), FailureReason(reason="", media=1))
    failures = tuple(Failure(media_id="a", filename="f", reason=one.reason) for one in reasons)
    wild = replace(summary(*a_sync_of(2), failed("m0"), failed("m1")), failures=failures, reasons=reasons)
    assert f"  1 x {'r' * 199}…: f\n  1 x reason unknown: f\n" in closing_notification(wild, DEPLOYMENT).text


def test_a_medium_without_a_name_is_called_by_its_id() -> None:
    text = notification(requested(), discovered("m0", filename=""), listed(1), failed("m0")).text
    assert "  1 x gone at the source: m0\n" in text


def test_a_headline_has_all_that_is_to_be_known() -> None:
    results = [downloaded("m0", warning="smaller than listed"), failed("m1", known_since="2026-11-02")]
    facts = [requested(), listed(2, warnings=("odd",)), *results]
    check(facts, "warning", "Cloud Sync: all 1 new media stored, 1 warning, 1 suspicious; 1 known loss")


def test_a_look_that_failed_is_no_new_medium() -> None:
    facts = [requested(), listed(1, looked_again=1), failed("m0")]
    check(facts, "warning", "Cloud Sync: 0 of 0 new media stored, 1 failed")
    stored = [downloaded("m0"), downloaded("m1", looked_again=True)]
    facts = [requested(), listed(3, looked_again=1), *stored, failed("m2")]
    check(facts, "warning", "Cloud Sync: 1 of 2 new media stored, 1 looked at again, 1 failed")


def test_without_dead_letters_no_redrive_is_offered() -> None:
    text = notification(*a_sync_of(1), failed("m0", "gone")).text
    assert "\nThe next sync tries again by itself:\n  1 x gone: GXm0.MP4\n\nLook:\n" in text
    assert "redrive" not in text


def test_known_losses_make_no_failed_night() -> None:
    known = [failed(f"m{n}", "gone", known_since="2026-11-02T01:00:00Z") for n in range(2)]
    absent = ["To do", "tries again", "GXm0.MP4"]
    check([*a_sync_of(2), *known], "info", "Cloud Sync: no new media; 2 known losses", absent=absent)
    facts = [*a_sync_of(3), *known[:1], downloaded("m1"), downloaded("m2")]
    check(facts, "info", "Cloud Sync: all 2 new media stored; 1 known loss", absent=absent)


def test_a_real_failure_stands_out_from_known_losses() -> None:
    known = failed("m0", "gone", known_since="2026-11-02", dead_letter=True)
    headline = "Cloud Sync: 1 of 2 new media stored, 1 failed (1 dead letter); 1 known loss"
    facts = [*a_sync_of(3), known, downloaded("m1"), failed("m2", "gone")]
    check(facts, "warning", headline, "again by itself:\n  1 x gone: GXm2.MP4\n\n", absent=["GXm0.MP4", "wait for"])


def test_what_a_medium_lacks_is_said() -> None:
    reason = "11 of 12 files stored; missing: GOPR0003.JPG (the CDN answered 404)"
    facts = [*a_sync_of(1), failed("m0", reason, files_stored=11, files_total=12)]
    check(facts, "warning", "Cloud Sync: 0 of 1 new media stored, 1 failed", f"  1 x {reason}: GXm0.MP4\n")


def test_a_filtered_sync_says_what_its_filter_was() -> None:
    filters = Filters(types=("Video", "Burst"), captured_from="2026-08-01T00:00:00Z", captured_until="2026-08-14")
    facts = [requested(), listed(0, listed=2, stored=2, filters=filters, library_media=19)]
    check(
        facts,
        "info",
        "Cloud Sync (filtered): no new media",
        "took 1 h 2 min (filter: Video, Burst; captured from 2026-08-01T00:00:00Z; captured before 2026-08-14).\n",
    )


def test_media_that_changed_at_gopro_are_counted_for_themselves() -> None:
    facts = [requested(), listed(2, looked_again=1), downloaded("m0"), downloaded("m1", looked_again=True)]
    headline = "Cloud Sync: all 1 new media stored, 1 looked at again"
    check(facts, "info", headline, "\n2 stored (20 bytes); ")


def test_a_cancelled_sync_says_what_is_left_and_alarms_nobody() -> None:
    facts = [*a_sync_of(3), cancelled(), downloaded("m0"), skipped("m1"), skipped("m2")]
    headline = "Cloud Sync (cancelled): 1 of 3 new media stored, 2 left for the next sync"
    check(facts, "info", headline, f"\nWhy: The sync was cancelled at {at(40)}.\n", absent=["To do", "tries again"])
    failures = [failed(f"m{n}", "no answer") for n in range(3)]
    headline = "Cloud Sync (cancelled): 0 of 4 new media stored, 3 failed, 1 left for the next sync"
    check([*a_sync_of(4), cancelled(), *failures, skipped("m3")], "warning", headline)


def test_a_sync_that_is_cancelled_before_its_listing_says_only_so() -> None:
    text = "before the library was listed.\n\nTook 1 h 2 min.\n"
    check([requested(), cancelled()], "info", "Cloud Sync (cancelled): nothing was begun", text)


def test_a_cancelled_sync_with_nothing_new_has_its_figures() -> None:
    filters = Filters(types=("Video",))
    facts = [requested(), cancelled(), listed(0, listed=5, stored=5, filters=filters)]
    check(facts, "info", "Cloud Sync (filtered, cancelled): no new media", "5 of 5 were in the bucket before")


def test_what_is_suspicious_about_a_stored_medium_is_said() -> None:
    warning = "smaller than listed: 30,000 of 90,000 bytes"
    facts = [*a_sync_of(1), downloaded("m0", warning=warning)]
    text = f"\nStored, but suspicious:\n  GXm0.MP4, {warning}\n"
    check(facts, "warning", "Cloud Sync: all 1 new media stored, 1 suspicious", text)
    facts = [*a_sync_of(5), *[downloaded(f"m{n}", warning="odd") for n in range(5)]]
    text = "\n  GXm0.MP4, odd, GXm1.MP4, odd, GXm2.MP4, odd and 2 more\n"
    check(facts, "warning", "Cloud Sync: all 5 new media stored, 5 suspicious", text)


def test_media_that_do_not_become_ready_are_named_with_state_and_age() -> None:
    late = NotReadyMedium(media_id="m7", filename="", state="failure", since="2026-11-02T01:00:09Z")
    facts = [requested(), listed(0, pending=1, unreadable=2, unseen=3, not_ready=(late,))]
    texts = [
        "\nNot ready at GoPro:\n  m7 (failure since 2026-11-02)\n",
        "\n1 not ready at GoPro; 2 unreadable in the listing; 3 counted by GoPro and not listed; took ",
    ]
    check(facts, "info", "Cloud Sync: no new media", *texts)


def test_warnings_as_of_last_night_alarm_nobody() -> None:
    facts = [requested(), listed(0, known_warnings=("GoPro counts 301 media",))]
    check(facts, "info", "Cloud Sync: no new media", "\n1 known warning; took 1 h", absent=["\nWarnings"])


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (2_500_000, "2.5 MB"), (4 * 10**15, "4000.00 TB")],
)
def test_sizes_have_a_unit_that_fits(count: int, words: str) -> None:
    assert f"\n1 stored ({words}); " in notification(*a_sync_of(1), downloaded("m0", bytes=count)).text


def amended(number: int, recovered: Sequence[str], failed: Sequence[str], sync_id: str = SYNC) -> SyncAmended:
    return SyncAmended(
        sync_id=sync_id,
        summary_id=f"summary of {sync_id}",
        number=number,
        recovered=tuple(recovered),
        recovered_total=len(recovered),
        failed=tuple(failed),
        failed_total=len(failed),
    )


def test_an_amendment_names_the_late_results() -> None:
    media = {"m0": Medium(media_id="m0", state="DOWNLOADED", filename="a.mp4")}
    found = amendment_notification([(amended(1, ["m0"], []), media)], DEPLOYMENT)
    assert (found.severity, found.about, found.sync_ids) == ("info", "SyncAmended", [SYNC])
    assert found.subject == f"Cloud Sync: after the close, 1 stored ({SYNC})"
    look = f"Look:\n  cloud-sync report {SYNC} --env prod\n  {PAGE}\n"
    assert found.text == f"Cloud Sync: after the close, 1 stored.\n\nStored now:\n  a.mp4\n\n{look}"
    assert found.link == PAGE


def test_an_amendment_says_which_media_are_dead_letters_or_suspicious() -> None:
    media = {
        "m0": Medium(media_id="m0", state="DOWNLOADED", filename="a.mp4", warning="smaller than listed"),
        "m1": Medium(media_id="m1", state="FAILED", filename="b.mp4", reason="no answer", dead_letter=True),
        "m2": Medium(media_id="m2", state="FAILED", filename="c.mp4", reason="gone", remedy="Look.\n  cloud-sync x"),
        "m3": Medium(media_id="m3", state="FAILED", filename="d.mp4", reason="gone"),
    }
    found = amendment_notification([(amended(1, ["m0"], ["m1", "m2", "m3", "m4"]), media)], DEPLOYMENT)
    assert (
        "\nStored now:\n  a.mp4\n\n"
        "Stored, but suspicious:\n  a.mp4: smaller than listed\n\n"
        "Dead letters, which wait for a redrive:\n  1 x no answer: b.mp4\n\n"
        "Failed:\n  2 x gone: c.mp4, d.mp4\n\n"
        "To do:\n  Look.\n    cloud-sync x --env prod\n    cloud-sync redrive --wait --env prod\n\n"
        "Look:\n"
    ) in found.text
    assert found.severity == "warning"


def test_amendments_of_several_syncs_are_one_notification() -> None:
    media = {"m1": Medium(media_id="m1", state="FAILED", filename="b.mp4", reason="gone")}
    both = [(amended(1, ["m0"], []), {}), (amended(4, [], ["m1"], "other"), media)]
    found = amendment_notification(both, DEPLOYMENT)
    assert (found.severity, found.sync_ids) == ("warning", [SYNC, "other"])
    assert found.announcements == [(f"summary of {SYNC}", 1), ("summary of other", 4)]
    assert found.subject == "Cloud Sync: after the close, 1 stored and 1 failed (2 syncs)"
    assert "\nStored now:\n  m0\n\nFailed:\n  1 x gone: b.mp4\n" in found.text
    assert "redrive" not in found.text


def test_the_event_says_what_was_sent_under_an_id_that_every_repetition_has() -> None:
    found = notification(requested(), REVOKED)
    event = found.event
    assert (event.sync_id, event.about, event.severity) == (SYNC, "SyncFailed", "critical")
    assert (event.subject, event.text, event.link) == (found.subject, found.text, PAGE)
    assert event == notification(requested(), REVOKED).event
    both: list[tuple[SyncAmended, dict[str, Medium]]]
    both = [(amended(1, ["m0"], []), {}), (amended(4, [], ["m1"], "other"), {})]
    ids = {
        one.event.event_id
        for one in (
            found,
            amendment_notification(both, DEPLOYMENT),
            amendment_notification(both[:1], DEPLOYMENT),
            amendment_notification([(amended(2, ["m0"], []), {})], DEPLOYMENT),
        )
    }
    assert len(ids) == 4


def test_the_report_has_every_medium() -> None:
    lacking = FailedFile(name="GOPR0003.JPG", reason="404")
    known = Known(a_sync_of(300), [failed(f"m{n}", "gone", failed_files=(lacking,)) for n in range(300)])
    closed = known.close("complete")
    late = Medium(media_id="z", state="DOWNLOADED", filename="z", late=9)
    content = json.loads(report(closed, [*known.media.values(), late]))
    assert (content["sync_id"], content["event"], content["amendments"]) == (SYNC, "SyncCompleted", 0)
    assert content["summary"] == json.loads(json.dumps(closed.summary))
    assert len(content["media"]) == 301
    assert content["media"][0]["failed_files"] == [{"name": "GOPR0003.JPG", "reason": "404"}]
    assert content["summary"]["reasons"] == [
        {"reason": "gone", "media": 300, "known": False, "remedy": "", "dead_letters": 0}
    ]
    assert [medium["media_id"] for medium in content["media"] if medium["after_close"]] == ["z"]


def test_on_a_local_stage_a_command_never_means_aws() -> None:
    assert replace(DEPLOYMENT, is_local=True).command("trigger --wait") == "cloud-sync trigger --wait --local"
    assert DEPLOYMENT.command("trigger --wait") == "cloud-sync trigger --wait --env prod"
