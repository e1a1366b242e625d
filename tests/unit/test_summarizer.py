"""What the summarizer does with a sync: batches in, events and notifications out."""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.shared.clock import iso
from services.shared.errors import TransientError
from services.shared.events import Event, SessionEnding, SyncReviewDue
from services.shared.library.records import MediumRecord, Status
from services.summarizer import announcing
from services.summarizer.records import ClosedSync, Conflict
from tests.unit.summarizer_facts import (
    BEGIN,
    SYNC,
    a_sync_of,
    at,
    cancelled,
    discovered,
    downloaded,
    failed,
    listed,
    requested,
    review_due,
    skipped,
)
from tests.unit.summarizer_stage import Crash, Stage


def session_ending(warned_on: str = "2026-11-23") -> SessionEnding:
    return SessionEnding(
        sync_id="scheduled-2026-11-24",
        occurred_at=at(0),
        warned_on=warned_on,
        since=at(-9000),
        next_sync_at=at(86_400),
    )


ENDED = [*a_sync_of(2), downloaded("m0"), failed("m1", "gone")]


@pytest.fixture
def stage() -> Stage:
    return Stage()


def fail(error: BaseException) -> None:
    raise error


crash = partial(fail, Crash())


# --- closing


def test_a_sync_with_nothing_new_closes_at_once_with_one_notification(stage: Stage) -> None:
    stage.take(requested(), listed(0, listed=40, stored=40))
    (summary,) = stage.events("SyncCompleted")
    assert (summary["outcome"], summary["closed_because"]) == ("completed", "complete")
    assert (summary["listed"], summary["stored"], summary["discovered"], summary["downloaded"]) == (40, 40, 0, 0)
    assert stage.notified == stage.event_names == ["SyncCompleted"]
    assert stage.is_settled


def test_a_cancelled_sync_closes_once_its_last_medium_is_skipped(stage: Stage) -> None:
    stage.take(*a_sync_of(2), downloaded("m0"))
    stage.take(cancelled())
    assert stage.sync().cancel_requested_at
    stage.take(skipped("m1"))
    (summary,) = stage.events("SyncCompleted")
    assert (summary["closed_because"], summary["downloaded"], summary["skipped"]) == ("cancelled", 1, 1)
    assert stage.is_settled
    stage.take(skipped("m1"), cancelled(99))
    assert stage.event_names == stage.notified == ["SyncCompleted"]


def test_the_wish_to_cancel_an_unknown_sync_makes_no_sync(stage: Stage) -> None:
    stage.take(cancelled())
    assert stage.syncs.read(SYNC) is None
    stage.take(cancelled(), requested())
    assert stage.closed_sync().closed_because == "cancelled"


def test_repeated_facts_write_nothing(stage: Stage) -> None:
    stage.take(*a_sync_of(2))
    stage.steps.clear()
    stage.take(*a_sync_of(2))
    assert stage.steps == []


def test_a_failed_write_of_one_sync_redelivers_only_its_own_facts(stage: Stage) -> None:
    stage.before("write", lambda: fail(TransientError("no")))
    other = {"sync_id": "b"}
    assert stage.deliver(requested(), requested(**other), listed(0), listed(3, **other)) == {SYNC}
    assert stage.syncs.read(SYNC) is None
    assert stage.sync("b").expected == 3
    assert stage.syncs.unsettled() == ["b"]


def test_more_facts_than_a_transaction_takes_are_tallied_in_several(stage: Stage) -> None:
    stage.take(*[discovered(f"m{n}") for n in range(100)])
    assert stage.sync().discovered == len(stage.syncs.all_media(SYNC)) == 100
    assert stage.steps == ["write", "write"]


# --- collisions


@pytest.mark.scenario(45)
def test_a_write_that_collides_is_tried_again_in_place(stage: Stage) -> None:
    stage.take(*a_sync_of(2))
    other = stage.summarizer()
    stage.before("write", lambda: stage.deliver(downloaded("m0"), discovered("m2"), to=other))
    stage.take(failed("m1"))
    assert stage.clock.slept
    assert (stage.sync().downloaded, stage.sync().failed, stage.sync().discovered) == (1, 1, 3)


def test_collisions_without_end_redeliver_the_facts(stage: Stage) -> None:
    def collide(name: str) -> None:
        if name == "write":
            raise Conflict("busy")

    stage.before_step = collide
    assert stage.deliver(requested()) == {SYNC}
    assert 5 < sum(stage.clock.slept) < 30


@pytest.mark.scenario(26)
def test_two_summarizers_racing_on_a_sync_close_it_once(stage: Stage) -> None:
    stage.take(*a_sync_of(2))
    other = stage.summarizer()
    stage.before("write", lambda: stage.deliver(failed("m1", "gone"), to=other))
    stage.take(downloaded("m0"))
    (summary,) = stage.events("SyncCompleted")
    assert summary["failed"] == summary["downloaded"] == 1
    assert stage.notified == ["SyncCompleted"]


def test_a_fact_that_overtakes_the_close_is_in_the_summary(stage: Stage) -> None:
    """The summarizer has read all media to close; before it writes, the failed medium is downloaded after all."""
    stage.take(*a_sync_of(1))
    other = stage.summarizer()
    # The first write is the tally's, the second one the close.
    stage.before("write", lambda: stage.deliver(downloaded("m0", epoch=2), to=other), nth=2)
    stage.take(failed("m0"))
    (summary,) = stage.events("SyncCompleted")
    assert (summary["downloaded"], summary["failed"], summary["outcome"]) == (1, 0, "completed")
    assert stage.event_names == ["SyncCompleted"]


@pytest.mark.scenario(29)
def test_a_fact_that_the_close_overtakes_is_late(stage: Stage) -> None:
    stage.take(*a_sync_of(1))
    other = stage.summarizer()

    def close_first() -> None:
        stage.wait_until(12 * 60)
        assert stage.deliver(review_due(12 * 60), to=other) == set()

    stage.before("write", close_first)
    stage.take(downloaded("m0"))
    assert stage.event_names == ["SyncCompleted", "SyncAmended"]
    (summary,), (amendment,) = stage.events("SyncCompleted"), stage.events("SyncAmended")
    assert (summary["downloaded"], summary["outstanding"]) == (0, 1)
    assert amendment["recovered"] == ["m0"]
    assert stage.medium("m0").late


# --- announcing

ANNOUNCING = ["claim", "store", "put_events", "mark_event_sent", "publish", "put_events", "mark_notified"]
PAGE = ["import_into_history", "store_library_page", "keep_page"]
CLOSING = ["write", "write", *ANNOUNCING, *PAGE, "write"]
AMENDING = ["write", "write", *ANNOUNCING, *PAGE[1:], "write"]  # an earlier version's syncs are imported once


def test_a_sync_is_closed_then_announced_then_settled(stage: Stage) -> None:
    stage.take(*a_sync_of(1))
    stage.steps.clear()
    stage.take(downloaded("m0"))
    assert stage.steps == CLOSING


@pytest.mark.scenario(27)
@pytest.mark.parametrize("step", range(len(CLOSING)), ids=[f"{n}_before_{name}" for n, name in enumerate(CLOSING)])
@pytest.mark.parametrize("rescue", ["redelivery", "review"])
def test_a_crash_between_any_two_steps_of_a_close_loses_nothing(stage: Stage, step: int, rescue: str) -> None:
    stage.take(*a_sync_of(1))
    stage.before("", crash, nth=step + 1)
    with pytest.raises(Crash):
        stage.deliver(downloaded("m0"))
    stage.wait_until(16)
    if rescue == "redelivery":
        stage.take(downloaded("m0"))
    else:
        stage.library["m0"] = MediumRecord(media_id="m0", status=Status.STORED, epoch=1, bytes_total=10, sync_id=SYNC)
        stage.review(16)
    summaries = stage.events("SyncCompleted")
    assert len(summaries) == len(stage.event_names) == (2 if CLOSING[step] == "mark_event_sent" else 1)
    assert len({detail["metadata"]["event_id"] for _, detail in stage.wire.sent}) == 2
    assert all(summary == summaries[0] for summary in summaries)
    sent_before = CLOSING.index("publish") < step <= CLOSING.index("mark_notified")
    assert len(stage.notifications) == (2 if sent_before else 1)
    assert stage.notifications[0] == stage.notifications[-1]
    told = stage.events("OperatorsNotified")
    assert len(told) == (2 if CLOSING[step] == "mark_notified" else 1)
    assert told[0] == told[-1]
    assert told[0]["text"] == stage.notifications[0].text
    assert stage.sync().downloaded == 1
    assert "All is well: 1 medium stored" in stage.library_pages[-1]
    assert stage.is_settled


def test_a_claim_keeps_other_senders_away_for_a_minute(stage: Stage) -> None:
    stage.take(*a_sync_of(1))
    stage.before("store", crash)
    with pytest.raises(Crash):
        stage.deliver(downloaded("m0"))
    stage.clock.advance(59)
    stage.take(downloaded("m0"))
    assert stage.event_names == []
    stage.clock.advance(1)
    stage.take(downloaded("m0"))
    assert stage.event_names == ["SyncCompleted"]


@pytest.mark.scenario(28)
@pytest.mark.parametrize("rescue", ["redelivery", "review"])
def test_a_sync_waits_for_its_notification_until_the_topic_is_back(stage: Stage, rescue: str) -> None:
    stage.topic_is_down = True
    assert stage.deliver(*ENDED) == {SYNC}
    assert stage.deliver(review_due(15)) == {""}
    stage.topic_is_down = False
    if rescue == "redelivery":  # at once: a sender that failed holds no claim
        stage.take(*ENDED)
    else:
        stage.review(30)
    assert stage.notified == stage.event_names == ["SyncCompleted"], "and its event is not published again"
    assert stage.is_settled


def test_no_notification_is_sent_before_its_event_is_published(stage: Stage) -> None:
    stage.wire.down = True
    assert stage.deliver(*ENDED) == {SYNC}
    assert stage.notifications == []
    stage.wire.down = False
    stage.take(*ENDED)  # at once: a sender that failed holds no claim
    assert stage.notified == stage.event_names == ["SyncCompleted"]


# --- after the close


@pytest.mark.scenario(29)
def test_the_first_late_result_is_announced_at_once(stage: Stage) -> None:
    stage.take(*ENDED)
    closed = stage.closed_sync().summary
    for _ in range(3):
        stage.take(downloaded("m1", epoch=2))
    (amendment,) = stage.events("SyncAmended")
    assert (amendment["number"], amendment["recovered"], amendment["recovered_total"]) == (1, ["m1"], 1)
    assert amendment["summary_id"] == closed["summary_id"]
    assert stage.notified == ["SyncCompleted", "SyncAmended"]
    assert "GXm1.MP4" in stage.notifications[1].text
    assert stage.closed_sync().summary == stage.reports[SYNC]["summary"] == closed
    assert stage.is_settled


def amendments(stage: Stage) -> list[tuple[int, list[str]]]:
    return [(amendment["number"], amendment["recovered"]) for amendment in stage.events("SyncAmended")]


def test_the_review_gathers_later_results_in_one_amendment(stage: Stage) -> None:
    stage.take(*a_sync_of(4), *[failed(f"m{n}") for n in range(4)])
    for n in range(4):
        stage.take(downloaded(f"m{n}", epoch=2))
    assert amendments(stage) == [(1, ["m0"])]
    assert not stage.is_settled
    for minutes in (15, 30):
        stage.review(minutes)
        assert amendments(stage) == [(1, ["m0"]), (2, ["m1", "m2", "m3"])]
        assert stage.notified == ["SyncCompleted", "SyncAmended", "SyncAmended"]
        assert stage.is_settled


def test_a_review_sends_one_notification_for_all_amended_syncs(stage: Stage) -> None:
    for sync_id in ("a", "b"):
        own = {"sync_id": sync_id}
        stage.take(requested(**own), *[discovered(m, **own) for m in ("m0", "m1")], listed(2, **own))
        for results in (
            [failed("m0", **own), failed("m1", **own)],
            [downloaded("m0", **own)],
            [downloaded("m1", **own)],
        ):
            stage.take(*results)
    before = len(stage.notifications)
    stage.review(15)
    assert [notification.sync_ids for notification in stage.notifications[before:]] == [["a", "b"]]
    assert len(stage.events("SyncAmended")) == 4
    assert stage.is_settled


def test_an_amendment_that_could_not_be_sent_keeps_its_number_and_content(stage: Stage) -> None:
    stage.take(*a_sync_of(3), *[failed(f"m{n}") for n in range(3)])
    stage.topic_is_down = True
    assert stage.deliver(downloaded("m0", epoch=2)) == {SYNC}
    stage.deliver(downloaded("m1", epoch=2))
    stage.topic_is_down = False
    stage.review(15)
    assert amendments(stage) == [(1, ["m0"])]
    stage.review(30)  # a review sends at most one amendment of a sync
    assert amendments(stage) == [(1, ["m0"]), (2, ["m1"])]
    assert stage.is_settled


@pytest.mark.parametrize("step", range(len(AMENDING)))
def test_a_crash_between_any_two_steps_of_an_amendment_loses_nothing(stage: Stage, step: int) -> None:
    stage.take(*ENDED)
    stage.steps.clear()
    stage.before("", crash, nth=step + 1)
    with pytest.raises(Crash):
        stage.deliver(downloaded("m1", epoch=2))
    assert stage.steps == AMENDING[:step]
    stage.clock.advance(120)
    stage.take(downloaded("m1", epoch=2))
    assert {(number, *recovered) for number, recovered in amendments(stage)} == {(1, "m1")}
    assert stage.notified[-1] == "SyncAmended"
    assert stage.is_settled


def test_a_result_that_arrives_before_the_close_is_announced_is_announced_after_it(stage: Stage) -> None:
    stage.topic_is_down = True
    stage.deliver(*ENDED)
    stage.deliver(downloaded("m1", epoch=2))
    stage.topic_is_down = False
    stage.review(15)
    assert stage.notified == stage.event_names == ["SyncCompleted", "SyncAmended"]
    assert stage.events("SyncCompleted")[0]["failed"] == 1
    assert stage.is_settled


# --- who is told what


def told(stage: Stage) -> list[tuple[str, str]]:
    """Return the syncs and the subjects of what operators were sent."""
    return [(one.sync_ids[0], one.subject.rpartition(" (")[0]) for one in stage.notifications]


def fail_all(stage: Stage, sync_id: str, *reasons: str) -> None:
    """Run a sync in which each medium fails for one of these reasons."""
    own = {"sync_id": sync_id, "occurred_at": iso(stage.clock.now())}
    media = [f"m{n}" for n in range(len(reasons))]
    results = [failed(media_id, why, **own) for media_id, why in zip(media, reasons, strict=True)]
    stage.take(requested(**own), *[discovered(media_id, **own) for media_id in media], listed(len(media), **own))
    stage.take(*results)


def test_each_notification_is_published_with_the_same_content(stage: Stage) -> None:
    stage.take(*ENDED)
    stage.take(downloaded("m1", epoch=2))
    stage.take(session_ending())
    sent = [(one.about, one.severity, one.subject, one.text, one.link) for one in stage.notifications]
    names = ("about", "severity", "subject", "text", "link")
    assert [tuple(event[name] for name in names) for event in stage.events("OperatorsNotified")] == sent
    assert [about for about, *_ in sent] == ["SyncCompleted", "SyncAmended", "SessionEnding"]
    assert len({detail["metadata"]["event_id"] for name, detail in stage.wire.sent if name == "OperatorsNotified"}) == 3


def test_a_cause_that_lasts_is_told_once_and_then_once_a_day(stage: Stage) -> None:
    fail_all(stage, "night-1", "no answer")
    stage.clock.advance(3600)
    fail_all(stage, "by-hand", "no answer")
    assert stage.syncs.unsettled() == []
    assert [name for name in stage.event_names if name == "SyncCompleted"] == ["SyncCompleted"] * 2, "for anyone else"
    stage.clock.advance(23 * 3600)
    fail_all(stage, "night-2", "no answer")
    headline = "Cloud Sync: 0 of 1 new media stored, 1 failed"
    assert told(stage) == [("night-1", headline), ("night-2", headline)]
    assert "You were first told so on 2026-11-23." in stage.notifications[1].text
    assert "first told" not in stage.notifications[0].text


def test_a_cause_that_changes_or_grows_is_told_at_once(stage: Stage) -> None:
    fail_all(stage, "a", "no answer")
    fail_all(stage, "b", "gone")
    fail_all(stage, "c", "gone", "gone")
    assert [sync_id for sync_id, _ in told(stage)] == ["a", "b", "c"]


def test_a_cause_that_strikes_again_after_all_was_well_is_told(stage: Stage) -> None:
    fail_all(stage, "a", "no answer")
    stage.take(requested(sync_id="b"), listed(0, sync_id="b"))
    fail_all(stage, "c", "no answer")
    assert [sync_id for sync_id, _ in told(stage)] == ["a", "b", "c"]


def test_who_wants_problems_only_is_not_told_what_went_well() -> None:
    stage = Stage(notify="problems")
    stage.take(*ENDED)
    stage.take(downloaded("m1", epoch=2))
    stage.take(requested(sync_id="b"), listed(0, sync_id="b"))
    assert stage.notified == ["SyncCompleted"]
    assert stage.event_names == ["SyncCompleted", "SyncAmended", "SyncCompleted"]
    assert stage.is_settled


def test_a_review_leaves_those_out_that_are_kept_silent() -> None:
    stage = Stage(notify="problems")
    for sync_id in ("a", "b"):
        own = {"sync_id": sync_id}
        stage.take(requested(**own), *[discovered(m, **own) for m in ("m0", "m1")], listed(2, **own))
        stage.take(downloaded("m0", **own))
        stage.wait_until(12 * 60)
    stage.review(12 * 60)
    stage.topic_is_down = True
    stage.take(downloaded("m1", sync_id="a"))
    stage.deliver(failed("m1", "gone", sync_id="b"))
    stage.topic_is_down = False
    before = len(stage.notifications)
    stage.review(12 * 60 + 15)
    assert [one.sync_ids for one in stage.notifications[before:]] == [["b"]]
    assert stage.is_settled


def test_two_summarizers_that_close_syncs_at_once_tell_a_shared_cause_once(stage: Stage) -> None:
    for sync_id in ("a", "b"):
        own = {"sync_id": sync_id}
        stage.take(requested(**own), discovered("m0", **own), listed(1, **own))
    other = stage.summarizer()
    # The first write is the tally's, the second one the close.
    stage.before("write", lambda: stage.deliver(failed("m0", sync_id="b"), to=other), nth=2)
    stage.take(failed("m0", sync_id="a"))
    assert [sync_id for sync_id, _ in told(stage)] == ["b"]
    assert stage.is_settled


def test_a_warning_about_the_session_is_sent_once_however_often_it_arrives(stage: Stage) -> None:
    stage.take(session_ending(), session_ending())
    stage.take(session_ending())
    assert stage.notified == ["SessionEnding"]
    stage.clock.advance(24 * 3600)
    stage.take(session_ending(warned_on="2026-11-24"))
    assert stage.notified == ["SessionEnding", "SessionEnding"]


def test_a_warning_that_could_not_be_sent_is_sent_later(stage: Stage) -> None:
    stage.topic_is_down = True
    assert stage.deliver(session_ending()) == {session_ending().sync_id}
    stage.topic_is_down = False
    stage.take(session_ending())
    assert stage.notified == ["SessionEnding"]


def test_a_warning_that_another_notification_overtakes_is_sent(stage: Stage) -> None:
    stage.before("tell", lambda: fail_all(stage, "a", "no answer"))
    stage.take(session_ending())
    assert stage.notified == ["SessionEnding", "SyncCompleted"]


# --- the review


def test_the_review_tallies_results_that_only_the_library_table_has(stage: Stage) -> None:
    stage.take(*a_sync_of(3), failed("m1"))
    stage.library["m0"] = MediumRecord(media_id="m0", status=Status.STORED, epoch=3, bytes_total=77, sync_id=SYNC)
    stage.review(15)
    assert (stage.sync().downloaded, stage.sync().bytes) == (1, 77)
    stage.library["m2"] = MediumRecord(media_id="m2", status=Status.FAILED, epoch=2, reason="refused", sync_id=SYNC)
    stage.review(30)
    assert stage.medium("m2").reason == "refused"
    assert stage.closed_sync().closed_because == "complete"


def test_a_sync_without_its_last_result_is_closed_by_the_review_after_its_deadline(stage: Stage) -> None:
    stage.take(*a_sync_of(2), downloaded("m0"))
    stage.downloader_is_idle = False
    stage.review(12 * 60 - 1)
    assert stage.sync().is_open
    stage.review(12 * 60)
    (summary,) = stage.events("SyncCompleted")
    assert (summary["closed_because"], summary["outcome"], summary["outstanding"]) == ("deadline", "partial", 1)
    assert stage.is_settled


@pytest.mark.scenario(21)
def test_a_sync_stalls_when_two_reviews_in_a_row_saw_nothing_move(stage: Stage) -> None:
    stage.take(*a_sync_of(2), downloaded("m0"))
    for _ in range(3):
        stage.review(15)  # the same review, delivered again
    stage.take(review_due(5), review_due(15))  # as well as an older one
    assert stage.sync().is_open
    stage.review(30)
    (summary,) = stage.events("SyncCompleted")
    assert (summary["closed_because"], summary["outstanding"]) == ("stalled", 1)
    assert [failure["media_id"] for failure in summary["failures"]] == ["m1"]


def test_two_reviews_in_one_batch_count_as_the_later_one(stage: Stage) -> None:
    stage.take(*a_sync_of(2), downloaded("m0"))
    stage.take(review_due(15), review_due(45), review_due(30))
    quiet = stage.sync().quiet
    assert quiet
    assert quiet.reviewed_at == review_due(45).occurred_at


def test_reviews_without_a_time_count_by_the_clock(stage: Stage) -> None:
    stage.take(*a_sync_of(1))
    for minutes in (15, 30):
        stage.wait_until(minutes)
        stage.take(SyncReviewDue())
    assert not stage.sync().is_open


def a_message_waits(stage: Stage) -> None:
    stage.downloader_is_idle = False


def a_fact_arrives(stage: Stage) -> None:
    stage.take(failed("m1"))


def a_worker_has_a_lease(stage: Stage) -> None:
    lease_until = int((BEGIN + timedelta(hours=2)).timestamp())
    stage.library["m2"] = MediumRecord(media_id="m2", status=Status.DOWNLOADING, lease_until=lease_until)


@pytest.mark.parametrize(
    ("movement", "stalls_after"), [(a_message_waits, 60), (a_worker_has_a_lease, 60), (a_fact_arrives, 45)]
)
def test_anything_that_moves_between_two_reviews_keeps_a_sync_from_stalling(
    stage: Stage, movement: Callable[[Stage], None], stalls_after: int
) -> None:
    stage.take(*a_sync_of(3), downloaded("m0"))
    stage.review(15)
    movement(stage)
    stage.review(30)
    assert stage.sync().is_open
    stage.downloader_is_idle = True
    stage.library = {}
    stage.review(45)
    assert stage.sync().is_open == (stalls_after > 45)  # two quiet reviews in a row, counted afresh
    stage.review(60)
    assert not stage.sync().is_open


@pytest.mark.parametrize("minutes", [15, 30], ids=["the_first", "the_second"])
def test_a_fact_during_a_quiet_review_keeps_the_sync_open(stage: Stage, minutes: int) -> None:
    stage.take(*a_sync_of(2))
    for earlier in range(15, minutes, 15):
        stage.review(earlier)
    other = stage.summarizer()
    stage.before("write", lambda: stage.deliver(downloaded("m0"), to=other))
    stage.review(minutes)
    assert stage.sync().is_open
    stage.review(minutes + 15)
    assert stage.sync().is_open  # this review is the first that nothing moved before


def test_the_facts_of_a_batch_are_tallied_before_its_review(stage: Stage) -> None:
    stage.take(*a_sync_of(1))
    stage.wait_until(13 * 60)
    stage.take(review_due(13 * 60), downloaded("m0"))
    assert stage.closed_sync().closed_because == "complete"


def test_a_sync_whose_review_fails_costs_the_others_nothing(stage: Stage) -> None:
    stage.take(requested(sync_id="a"), requested(sync_id="b"))
    stage.before("write", lambda: fail(TransientError("no")))
    stage.wait_until(12 * 60)
    assert stage.deliver(review_due(12 * 60)) == {""}
    assert stage.sync("a").is_open
    assert not stage.sync("b").is_open
    stage.review(12 * 60 + 15)
    assert stage.is_settled


# --- everything at once


@pytest.mark.scenario(26)
@settings(max_examples=25)
@given(st.data())
def test_every_sync_ends_in_one_summary_whatever_crashes_repeats_and_overtakes(data: st.DataObject) -> None:
    """Two summarizers at once, kills at any step, duplicates, any order; then some reviews, past the deadline."""
    stage = Stage()
    rival = stage.summarizer()
    ids = [f"m{n}" for n in range(data.draw(st.integers(0, 4)))]
    facts: list[Event] = [requested(), listed(len(ids)), *[discovered(media_id) for media_id in ids]]
    refused = {media_id for media_id in ids if data.draw(st.booleans())}
    stored = {media_id for media_id in ids if data.draw(st.booleans())}
    facts += [failed(media_id) for media_id in ids if media_id in refused]
    facts += [downloaded(media_id, epoch=2) for media_id in ids if media_id in stored]
    queue = data.draw(st.permutations([fact for fact in facts for _ in range(data.draw(st.integers(1, 3)))]))
    summaries = []
    while queue:
        size = data.draw(st.integers(1, len(queue)))
        batch, queue = queue[:size], queue[size:]
        troubles = iter(data.draw(st.lists(st.sampled_from(["", "", "", "rival", "crash"]), max_size=30)))

        def trouble(name: str, troubles: Iterator[str] = troubles) -> None:
            match next(troubles, ""):
                case "rival":
                    stage.deliver(*data.draw(st.lists(st.sampled_from(facts), min_size=1, max_size=3)), to=rival)
                case "crash":
                    crash()

        stage.before_step = trouble
        while True:
            try:
                stage.take(*batch)
                break
            except Crash:
                stage.clock.advance(data.draw(st.sampled_from([1, 61])))
        found = stage.syncs.read(SYNC)
        summaries += [found.summary] if isinstance(found, ClosedSync) else []
    stage.undisturbed()
    for minutes in (60, 75, 13 * 60, 13 * 60 + 15, 13 * 60 + 30):
        stage.review(minutes)
    final = stage.closed_sync()
    assert (final.discovered, final.downloaded, final.failed) == (len(ids), len(stored), len(refused - stored))
    closings = stage.events("SyncCompleted")
    assert closings
    assert all(summary == final.summary for summary in [*closings, *summaries])
    sent = dict(amendments(stage))
    assert sorted(sent) == list(range(1, len(sent) + 1))
    assert all(sent[number] == recovered for number, recovered in amendments(stage))
    late = [media_id for recovered in sent.values() for media_id in recovered]
    assert len(late) == len(set(late))
    assert final.summary["downloaded"] + len(late) == len(stored)
    assert stage.is_settled


# --- the page


def test_a_page_is_written_at_the_close_and_again_at_an_amendment(stage: Stage) -> None:
    stage.take(*a_sync_of(2), downloaded("m0"), failed("m1"))
    assert "1 of 2 new media is stored: 1 failed." in stage.pages[SYNC]
    assert "cloud-sync trigger --env prod --wait" in re.sub("</?span>", "", stage.pages[SYNC])
    stage.take(downloaded("m1", epoch=2))
    assert "All 2 new media are stored." in stage.pages[SYNC]
    assert "When the sync closed, 1 of them was stored; 1 came in after that." in stage.pages[SYNC]


def test_a_sync_whose_page_cannot_be_drawn_is_announced_all_the_same(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcing, "sync_page", Mock(side_effect=ZeroDivisionError))
    stage.take(*a_sync_of(1), downloaded("m0"))
    assert stage.pages == {}
    assert (stage.notified, list(stage.reports)) == (["SyncCompleted"], [SYNC])
    assert stage.is_settled
