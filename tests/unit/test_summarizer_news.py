"""How urgent an announcement is, what its cause is, and whether operators are notified of it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from services.shared.clock import iso
from services.shared.events import AuthenticationFailed, Event, LibraryListingFailed, SessionEnding
from services.summarizer.closing import closing_event, why_to_close
from services.summarizer.news import (
    REPEATED_AFTER,
    News,
    Notify,
    Verdict,
    judge,
    of_late_results,
    of_session,
    of_summary,
)
from services.summarizer.records import Medium, Silence, Told
from tests.unit.summarizer_facts import (
    NOT_LISTED,
    NOW,
    REVOKED,
    SYNC,
    Known,
    a_sync_of,
    cancelled,
    discovered,
    downloaded,
    failed,
    listed,
    requested,
    skipped,
)


def news(*facts: Event, sync_id: str = SYNC) -> News:
    known = Known([replace(fact, sync_id=sync_id) for fact in facts], sync_id=sync_id)
    return of_summary(closing_event(known.close(why_to_close(known.sync) or "deadline")))


def cause(*facts: Event) -> str:
    return news(*facts).cause


def session(**more: Any) -> SessionEnding:
    given = {"warned_on": "2026-11-23", "since": "2026-11-20T13:55:00Z", "next_sync_at": "2026-11-24T01:00:00Z", **more}
    return SessionEnding(sync_id="scheduled-2026-11-24", **given)


# --- causes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "severity"),
    [
        ([failed(f"m{n}", "no answer") for n in range(3)], "critical"),
        ([failed("m0", "no answer"), failed("m1", "no answer"), failed("m2", "gone")], "warning"),
        ([failed("m0", "no answer"), failed("m1", "no answer"), downloaded("m2")], "warning"),
        ([failed("m0", "no answer"), failed("m1", "no answer"), skipped("m2"), cancelled()], "warning"),
        ([*[failed(f"m{n}", "no answer") for n in range(3)], cancelled()], "warning"),
        ([downloaded("m0"), downloaded("m1")], "warning"),
        ([downloaded("m0"), downloaded("m1"), downloaded("m2", warning="odd")], "warning"),
        ([downloaded("m0"), downloaded("m1"), failed("m2", known_since="2026-11-02")], "info"),
    ],
    ids=["all", "two reasons", "one stored", "two of two", "cancelled", "one outstanding", "suspicious", "known loss"],
)
def test_one_cause_that_kept_many_media_is_critical(facts: Sequence[Event], severity: str) -> None:
    assert news(*a_sync_of(3), *facts).severity == severity


@pytest.mark.parametrize(
    ("facts", "severity", "is_well"),
    [
        ([requested(), listed(0)], "info", True),
        ([requested(), listed(0, warnings=("odd",))], "warning", False),
        ([requested(), listed(0, known_warnings=("odd",))], "info", True),
        ([requested(), cancelled()], "info", False),
        ([requested(), REVOKED], "critical", False),
        ([requested(), NOT_LISTED], "critical", False),
        ([requested(), replace(REVOKED, request_refused=True)], "warning", False),
    ],
)
def test_a_close_is_as_urgent_as_what_happened(facts: Sequence[Event], severity: str, is_well: bool) -> None:
    found = news(*facts)
    assert (found.severity, found.is_well) == (severity, is_well)


def test_a_cause_is_the_same_for_every_sync_and_however_many_media() -> None:
    facts = [*a_sync_of(2), downloaded("m0"), failed("m1", "no answer")]
    one, other = news(*facts), news(*facts, sync_id="other")
    assert one == other
    assert one.media == 1
    two = news(*a_sync_of(3), downloaded("m0"), failed("m2", "no answer"), failed("m1", "no answer"))
    assert (two.cause, two.media) == (one.cause, 2)
    assert len(one.cause) == 32


def test_causes_differ_by_what_an_operator_would_look_at() -> None:
    gone = failed("m0", "gone")
    causes = [
        cause(requested(), REVOKED),
        cause(requested(), replace(REVOKED, reason="GoPro is down")),
        cause(requested(), NOT_LISTED),
        cause(requested(), LibraryListingFailed(sync_id=SYNC, reason=REVOKED.reason)),
        cause(*a_sync_of(1)),
        cause(*a_sync_of(1), gone),
        cause(*a_sync_of(2), gone, failed("m1", "no answer")),
        cause(requested(), listed(0, warnings=("odd",))),
        cause(requested(), discovered("m0"), listed(1, warnings=("odd",)), gone),
        of_session(session()).cause,
        of_session(session(since="2026-11-22T13:55:00Z")).cause,
        of_session(session(reason="dead")).cause,
        of_late_results([Medium(media_id="m0", state="FAILED", reason="gone")]).cause,
        of_late_results([Medium(media_id="m0", state="FAILED", reason="no answer")]).cause,
    ]
    assert len(set(causes)) == len(causes)
    assert all(causes)


def test_known_losses_change_no_cause() -> None:
    known = failed("m1", "lost", known_since="2026-11-02")
    with_loss = news(*a_sync_of(2), failed("m0", "gone"), known)
    assert with_loss == news(*a_sync_of(1), failed("m0", "gone"))


def test_the_time_of_a_cancellation_is_no_part_of_a_cause() -> None:
    facts = [*a_sync_of(1), failed("m0", "gone")]
    assert cause(*facts, cancelled(40)) == cause(*facts, cancelled(41))


@pytest.mark.parametrize(
    "facts",
    [
        [*a_sync_of(1), downloaded("m0", warning="odd")],
        [requested(), AuthenticationFailed(sync_id=SYNC, reason="typo", remedy="", request_refused=True)],
    ],
    ids=["suspicious", "refused request"],
)
def test_what_happens_once_has_no_cause_that_could_be_repeated(facts: Sequence[Event]) -> None:
    assert news(*facts) == News(severity="warning")


def test_a_session_is_a_warning() -> None:
    assert of_session(session()).severity == "warning"
    # Tomorrow's warning is about another night, and has the same cause.
    tomorrow = session(warned_on="2026-11-24", next_sync_at="2026-11-25T01:00:00Z", ends_about="2026-11-24T20:00:00Z")
    assert of_session(session()).cause == of_session(tomorrow).cause


def test_late_results_are_a_warning_only_if_one_failed() -> None:
    stored = Medium(media_id="m0", state="DOWNLOADED")
    lost = [Medium(media_id=f"m{n}", state="FAILED", reason="gone") for n in range(1, 3)]
    assert of_late_results([stored]) == News(severity="info")
    found = of_late_results([stored, *lost])
    assert (found.severity, found.media) == ("warning", 2)
    assert found.cause == of_late_results(lost[:1]).cause


# --- whether they are told ------------------------------------------------------------------------------------------

FAILURE = News(severity="warning", cause="c", media=2)
TOLD = Told(version=7, cause="c", severity="warning", media=2, at=iso(NOW), since="2026-11-20T01:00:00Z")


def verdict(found: News, told: Told, hours: float = 1, *, notify: Notify = "all") -> Verdict:
    return judge(found, told, notify=notify, now=NOW + timedelta(hours=hours))


def test_a_new_cause_is_told_and_noted() -> None:
    now = iso(NOW + timedelta(hours=1))
    expected = Verdict(
        silence="",
        since="",
        told=Told(version=7, cause="c", severity="warning", media=2, at=now, since=now),
    )
    assert verdict(FAILURE, replace(TOLD, cause="other")) == expected
    assert verdict(FAILURE, Told(version=7)) == expected
    assert verdict(FAILURE, Told(version=7), notify="problems") == expected


def test_the_same_cause_is_not_told_again_within_a_day() -> None:
    silent = Verdict(silence="repeated", since=TOLD.since, told=TOLD)
    assert verdict(FAILURE, TOLD) == silent
    assert verdict(replace(FAILURE, media=1), TOLD) == silent
    assert verdict(replace(FAILURE, severity="warning"), replace(TOLD, severity="critical")).silence == "repeated"
    just_before = REPEATED_AFTER - timedelta(seconds=1)
    assert verdict(FAILURE, TOLD, just_before / timedelta(hours=1)) == silent


def test_a_cause_that_lasts_is_told_again_the_next_night_with_when_it_was_told_first() -> None:
    hours = REPEATED_AFTER / timedelta(hours=1)
    assert hours < 23, "nights follow each other within a day, and one night is an hour shorter"
    again = verdict(FAILURE, TOLD, hours)
    assert again == Verdict(silence="", since=TOLD.since, told=replace(TOLD, at=iso(NOW + REPEATED_AFTER)))


@pytest.mark.parametrize("worse", [{"media": 3}, {"severity": "critical"}])
def test_a_cause_that_has_become_worse_is_told_at_once(worse: dict[str, Any]) -> None:
    found = replace(FAILURE, **worse)
    expected = replace(TOLD, at=iso(NOW + timedelta(hours=1)), **worse)
    assert verdict(found, TOLD) == Verdict(silence="", since=TOLD.since, told=expected)


@pytest.mark.parametrize(("notify", "silence"), [("all", ""), ("problems", "good news")])
def test_good_news_is_told_if_wanted(notify: Notify, silence: Silence) -> None:
    well = News(severity="info", is_well=True)
    assert verdict(well, TOLD, notify=notify) == Verdict(silence=silence, since="", told=Told(version=7))
    partly = News(severity="info")
    assert verdict(partly, TOLD, notify=notify) == Verdict(silence=silence, since="", told=TOLD)


def test_what_happens_once_is_always_told_and_notes_nothing() -> None:
    once = News(severity="warning")
    assert verdict(once, TOLD, notify="problems") == Verdict(silence="", since="", told=TOLD)
    assert verdict(once, Told(version=7), notify="problems") == Verdict(silence="", since="", told=Told(version=7))
