"""What the summarizer does with a sync, on moto's DynamoDB: batches in, events and notifications out."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from summarizer_stage import (
    BEGIN,
    SYNC,
    Crash,
    Stage,
    a_stage,
    a_sync_of,
    discovered,
    downloaded,
    failed,
    listed,
    requested,
    review_due,
)

from services.shared.errors import TransientError
from services.shared.events import AuthenticationFailed, Event, LibraryListingFailed, SyncReviewDue
from services.summarizer.syncs import Conflict

REVOKED = AuthenticationFailed(sync_id=SYNC, reason="the refresh token was revoked", remedy="Sign in again.")
ENDED = [*a_sync_of(2), downloaded("m0"), failed("m1", "gone")]


@pytest.fixture
def stage() -> Iterator[Stage]:
    with a_stage() as stage:
        yield stage


def settled(stage: Stage) -> bool:
    return stage.syncs.unsettled() == []


# --- closing


def test_a_sync_with_nothing_new_closes_at_once_with_zeros_and_one_notification(stage: Stage) -> None:
    stage.tell(requested(), listed(0, listed=40, stored=40))
    assert stage.event_names == ["SyncCompleted"]
    summary = stage.events()[0]
    assert (summary["outcome"], summary["closed_because"]) == ("completed", "complete")
    assert (summary["listed"], summary["stored"], summary["discovered"], summary["downloaded"]) == (40, 40, 0, 0)
    assert [n.severity for n in stage.notifications] == ["info"]
    assert settled(stage)


@pytest.mark.scenario(38)
def test_twelve_media_of_which_two_cannot_be_had(stage: Stage) -> None:
    stage.tell(*a_sync_of(12))
    assert stage.sync().is_open
    for n in range(10):
        stage.tell(downloaded(f"m{n}"))
    stage.tell(failed("m10", "gone at the source"))
    assert stage.event_names == []
    stage.tell(failed("m11", "the originals are not offered"))
    (summary,) = stage.events("SyncCompleted")
    assert (summary["outcome"], summary["downloaded"], summary["failed"], summary["bytes"]) == ("partial", 10, 2, 100)
    (notification,) = stage.notifications
    assert notification.severity == "warning"
    for needed in (SYNC, "gone at the source", "the originals are not offered", "GXm11.MP4", "m11"):
        assert needed in notification.body
    assert settled(stage)


def test_wrong_credentials_close_the_sync_with_a_critical_notification(stage: Stage) -> None:
    stage.tell(requested())
    stage.tell(REVOKED)
    (summary,) = stage.events("SyncFailed")
    assert (summary["closed_because"], summary["reason"]) == ("auth_failed", "the refresh token was revoked")
    assert [n.severity for n in stage.notifications] == ["critical"]
    assert "Sign in again." in stage.notifications[0].body


def test_a_refused_request_is_only_noted(stage: Stage) -> None:
    stage.tell(requested(refused="unknown filter: colour"))
    assert stage.sync().is_open
    assert stage.event_names == []


def test_a_listing_that_failed_closes_the_sync(stage: Stage) -> None:
    stage.tell(requested(), LibraryListingFailed(sync_id=SYNC, reason="its API has changed"))
    assert stage.events("SyncFailed")[0]["closed_because"] == "listing_failed"


@pytest.mark.scenario(18)
def test_results_before_the_listing_close_nothing(stage: Stage) -> None:
    stage.tell(discovered("m0"), downloaded("m0"))
    assert stage.sync().is_open
    stage.tell(listed(1), requested())
    assert not stage.sync().is_open


@pytest.mark.scenario(57)
@pytest.mark.parametrize("late", [requested(), listed(5), REVOKED, discovered("m9"), downloaded("m1", epoch=2)])
def test_no_event_reopens_a_closed_sync(stage: Stage, late: Event) -> None:
    stage.tell(*ENDED)
    before = stage.sync()
    stage.tell(late)
    after = stage.sync()
    assert not after.is_open
    assert (after.summary, after.outcome, after.closed_because) == (
        before.summary,
        before.outcome,
        before.closed_because,
    )
    assert stage.event_names.count("SyncCompleted") == 1


def test_facts_that_change_nothing_write_nothing(stage: Stage) -> None:
    stage.tell(*a_sync_of(2))
    stage.steps.clear()
    stage.tell(*a_sync_of(2))
    assert stage.steps == []


def test_two_syncs_in_one_batch_are_kept_apart(stage: Stage) -> None:
    stage.tell(requested(), requested(sync_id="b"), listed(0), listed(3, sync_id="b"))
    assert not stage.sync().is_open
    assert stage.sync("b").is_open
    assert stage.syncs.unsettled() == ["b"]


def test_a_failure_of_one_sync_makes_only_its_messages_come_again(stage: Stage) -> None:
    def table_refuses(name: str) -> None:
        if name == "write" and not stage.steps:
            stage.steps.append("refused")
            raise TransientError("no")

    stage.before_step = table_refuses
    assert set(stage.inbox.react([requested(), requested(sync_id="b")])) == {SYNC}
    assert stage.syncs.read(SYNC) is None
    assert stage.sync("b").is_open


def test_ninety_nine_facts_of_one_sync_fit_and_a_thousand_in_order(stage: Stage) -> None:
    stage.tell(*[discovered(f"m{n}") for n in range(99)])
    assert stage.sync().discovered == 99
    stage.tell(*[discovered(f"m{n}") for n in range(350)])
    assert stage.sync().discovered == len(stage.media()) == 350


def test_progress_is_counted_as_metrics(stage: Stage) -> None:
    stage.tell(*ENDED)
    assert stage.metrics == [("MediaDownloaded", 1), ("MediaFailed", 1), ("BytesStored", 10), ("SyncCompleted", 1)]


def test_the_report_names_every_medium_and_lies_there_before_the_event_goes_out(stage: Stage) -> None:
    stage.tell(*ENDED)
    assert stage.steps.index("store_report") < stage.steps.index("put_events") < stage.steps.index("notify")
    report = stage.reports[f"reports/{SYNC}.json"]
    assert report["summary"] == stage.sync().summary
    assert [(m["media_id"], m["state"], m["reason"]) for m in report["media"]] == [
        ("m0", "DOWNLOADED", ""),
        ("m1", "FAILED", "gone"),
    ]
    assert f"s3://media/reports/{SYNC}.json" in stage.notifications[0].body


# --- collisions


@pytest.mark.scenario(45)
def test_a_collision_is_tried_again_in_place_and_is_no_failed_attempt(stage: Stage) -> None:
    stage.tell(*a_sync_of(2))
    other = stage.summarizer()
    interferences = [downloaded("m0"), discovered("m2")]

    def interfere(name: str) -> None:
        if name == "write" and interferences:
            other.react([interferences.pop()])

    stage.before_step = interfere
    assert stage.inbox.react([failed("m1")]) == {}
    assert stage.pauses
    assert (stage.sync().downloaded, stage.sync().failed, stage.sync().discovered) == (1, 1, 3)


def test_collisions_without_end_become_a_failure_that_comes_again(stage: Stage) -> None:
    def collide(name: str) -> None:
        if name == "write":
            raise Conflict("busy")

    stage.before_step = collide
    failures = stage.inbox.react([requested()])
    assert isinstance(failures[SYNC], TransientError)
    assert 5 < sum(stage.pauses) < 30


@pytest.mark.scenario(26)
def test_two_summarizers_racing_on_a_sync_close_it_once(stage: Stage) -> None:
    stage.tell(*a_sync_of(2))
    other = stage.summarizer()
    raced: list[str] = []

    def race(name: str) -> None:
        if name == "write" and not raced:
            raced.append(name)
            assert other.react([failed("m1", "gone")]) == {}

    stage.before_step = race
    stage.tell(downloaded("m0"))
    assert stage.event_names == ["SyncCompleted"]
    assert len(stage.notifications) == 1
    assert stage.events()[0]["failed"] == stage.events()[0]["downloaded"] == 1


def test_a_fact_that_comes_while_the_sync_closes_is_in_the_summary_or_late_but_never_in_neither(stage: Stage) -> None:
    """The closer has read all media; before its write the last failed one is downloaded after all."""
    stage.tell(*a_sync_of(1))
    other = stage.summarizer()
    writes: list[str] = []

    def slip_in(name: str) -> None:
        if name == "write":
            writes.append(name)
            if len(writes) == 2:  # the first is the tally's, the second the close
                other.react([downloaded("m0", epoch=2)])

    stage.before_step = slip_in
    stage.tell(failed("m0"))
    (summary,) = stage.events("SyncCompleted")
    assert (summary["downloaded"], summary["failed"], summary["outcome"]) == (1, 0, "completed")
    assert stage.event_names == ["SyncCompleted"]


@pytest.mark.scenario(29)
def test_a_fact_that_was_read_before_the_close_and_is_written_after_it_is_late(stage: Stage) -> None:
    stage.tell(*a_sync_of(1))
    other = stage.summarizer()
    closed: list[str] = []

    def close_first(name: str) -> None:
        if name == "write" and not closed:
            closed.append(name)
            stage.now = BEGIN + timedelta(hours=12)
            assert other.react([review_due(12 * 60)]) == {}

    stage.before_step = close_first
    stage.tell(downloaded("m0"))
    assert stage.event_names == ["SyncCompleted", "SyncAmended"]
    assert (stage.events()[0]["downloaded"], stage.events()[0]["outstanding"]) == (0, 1)
    assert stage.events()[1]["recovered"] == ["m0"]
    assert stage.media()["m0"].late


# --- telling


STEPS = ["write", "write", "claim", "store_report", "put_events", "mark_event_sent", "notify", "mark_notified", "write"]


def test_the_steps_of_closing_and_telling_come_in_this_order(stage: Stage) -> None:
    stage.tell(*a_sync_of(1))
    stage.steps.clear()
    stage.tell(downloaded("m0"))
    assert stage.steps == STEPS


def crash_at(stage: Stage, step: int) -> None:
    """Lets the function die just before its n-th change of the world from now on."""
    seen: list[str] = []

    def crash(name: str) -> None:
        seen.append(name)
        if len(seen) == step + 1:
            raise Crash(name)

    stage.before_step = crash


@pytest.mark.scenario(27)
@pytest.mark.parametrize("step", range(len(STEPS)), ids=[f"{n}_before_{name}" for n, name in enumerate(STEPS)])
@pytest.mark.parametrize("rescue", ["the message comes again", "only the review comes"])
def test_a_crash_between_any_two_steps_loses_nothing(stage: Stage, step: int, rescue: str) -> None:
    stage.tell(*a_sync_of(1))
    crash_at(stage, step)
    with pytest.raises(Crash):
        stage.inbox.react([downloaded("m0")])
    stage.before_step = lambda name: None
    stage.now += timedelta(minutes=15)
    if rescue == "the message comes again":
        stage.tell(downloaded("m0"))
    else:
        stage.library["m0"] = {"status": "STORED", "item_count": 1, "epoch": 1, "bytes_total": 10, "sync_id": SYNC}
        stage.review(16)
    ids = {detail["metadata"]["event_id"] for _, detail in stage.wire.sent}
    assert set(stage.event_names) == {"SyncCompleted"}
    assert len(ids) == 1
    assert len(stage.event_names) == (2 if STEPS[step] == "mark_event_sent" else 1)
    assert len(stage.notifications) == (2 if STEPS[step] == "mark_notified" else 1)
    assert stage.notifications[0] == stage.notifications[-1]
    assert all(event == stage.events()[0] for event in stage.events())
    assert stage.sync().downloaded == 1
    assert settled(stage)


def test_what_one_sender_has_in_hand_another_leaves_alone_for_a_minute(stage: Stage) -> None:
    stage.tell(*a_sync_of(1))
    crash_at(stage, STEPS.index("store_report"))
    with pytest.raises(Crash):
        stage.inbox.react([downloaded("m0")])
    stage.before_step = lambda name: None
    stage.now += timedelta(seconds=59)
    stage.tell(downloaded("m0"))
    assert stage.event_names == []
    stage.now += timedelta(seconds=1)
    stage.tell(downloaded("m0"))
    assert stage.event_names == ["SyncCompleted"]


@pytest.mark.scenario(28)
def test_a_sender_that_fails_gives_its_claim_back_so_that_the_next_try_need_not_wait(stage: Stage) -> None:
    stage.topic_down = True
    assert set(stage.inbox.react(ENDED)) == {SYNC}
    assert not settled(stage)
    stage.topic_down = False
    stage.tell(*ENDED)
    assert len(stage.notifications) == 1
    assert stage.event_names == ["SyncCompleted"]  # the event had gone out before, and was marked sent
    assert settled(stage)


def test_while_the_bus_is_down_nobody_is_notified_of_what_no_event_says(stage: Stage) -> None:
    stage.wire.down = True
    assert set(stage.inbox.react(ENDED)) == {SYNC}
    assert stage.notifications == []
    stage.wire.down = False
    stage.tell(*ENDED)  # at once: a sender that failed holds no claim
    assert stage.event_names == ["SyncCompleted"]
    assert len(stage.notifications) == 1


@pytest.mark.scenario(28)
def test_a_sync_waits_in_the_review_until_the_topic_is_back(stage: Stage) -> None:
    stage.topic_down = True
    stage.inbox.react(ENDED)
    assert set(stage.inbox.react([review_due(15)])) == {""}
    stage.topic_down = False
    stage.review(30)
    assert [n.event for n in stage.notifications] == ["SyncCompleted"]
    assert settled(stage)


# --- after the close


@pytest.mark.scenario(29)
def test_the_first_late_result_is_told_at_once(stage: Stage) -> None:
    stage.tell(*ENDED)
    closed = stage.sync().summary
    stage.tell(downloaded("m1", epoch=2))
    (amended,) = stage.events("SyncAmended")
    assert (amended["number"], amended["recovered"], amended["recovered_total"]) == (1, ["m1"], 1)
    assert amended["summary_id"] == stage.events("SyncCompleted")[0]["summary_id"]
    assert [n.event for n in stage.notifications] == ["SyncCompleted", "SyncAmended"]
    assert "GXm1.MP4" in stage.notifications[1].body
    assert stage.sync().summary == closed
    assert stage.media()["m1"].late
    assert stage.reports[f"reports/{SYNC}.json"]["summary"] == closed
    assert settled(stage)


def test_a_duplicate_of_a_late_result_tells_nothing(stage: Stage) -> None:
    stage.tell(*ENDED)
    for _ in range(3):
        stage.tell(downloaded("m1", epoch=2))
    stage.review(15)
    assert stage.event_names.count("SyncAmended") == 1
    assert len(stage.notifications) == 2


def test_later_ones_are_gathered_by_the_review_in_one_amendment(stage: Stage) -> None:
    stage.tell(*a_sync_of(4), *[failed(f"m{n}") for n in range(4)])
    for n in range(4):
        stage.tell(downloaded(f"m{n}", epoch=2))
    assert [a["recovered"] for a in stage.events("SyncAmended")] == [["m0"]]
    assert stage.syncs.unsettled() == [SYNC]
    stage.review(15)
    assert [(a["number"], a["recovered"]) for a in stage.events("SyncAmended")] == [
        (1, ["m0"]),
        (2, ["m1", "m2", "m3"]),
    ]
    assert len(stage.notifications) == 3
    assert settled(stage)
    stage.review(30)
    assert len(stage.notifications) == 3


def test_a_review_sends_one_notification_however_many_syncs_are_amended(stage: Stage) -> None:
    for sync_id in ("a", "b"):
        own = {"sync_id": sync_id}
        stage.tell(requested(**own), *[discovered(m, **own) for m in ("m0", "m1")], listed(2, **own))
        stage.tell(failed("m0", **own), failed("m1", **own))
        stage.tell(downloaded("m0", epoch=2, **own))
        stage.tell(downloaded("m1", epoch=2, **own))
    before = len(stage.notifications)
    stage.review(15)
    assert len(stage.notifications) == before + 1
    assert stage.notifications[-1].sync_id == "a,b"
    assert len(stage.events("SyncAmended")) == 4
    assert settled(stage)


def test_an_amendment_that_could_not_be_sent_keeps_its_number_and_its_words(stage: Stage) -> None:
    stage.tell(*a_sync_of(3), *[failed(f"m{n}") for n in range(3)])
    stage.topic_down = True
    assert set(stage.inbox.react([downloaded("m0", epoch=2)])) == {SYNC}
    stage.inbox.react([downloaded("m1", epoch=2)])
    stage.topic_down = False
    stage.review(15)  # what was begun is told first …
    assert [(a["number"], a["recovered"]) for a in stage.events("SyncAmended")] == [(1, ["m0"])]
    stage.review(30)  # … and the rest at the next review: at most one a sync and review
    assert [(a["number"], a["recovered"]) for a in stage.events("SyncAmended")] == [(1, ["m0"]), (2, ["m1"])]
    assert settled(stage)


AMENDING = [
    "write",
    "write",
    "claim",
    "store_report",
    "put_events",
    "mark_event_sent",
    "notify",
    "mark_notified",
    "write",
]


@pytest.mark.parametrize("step", range(len(AMENDING)))
def test_a_crash_between_any_two_steps_of_an_amendment_loses_nothing(stage: Stage, step: int) -> None:
    stage.tell(*ENDED)
    stage.steps.clear()
    crash_at(stage, step)
    with pytest.raises(Crash):
        stage.inbox.react([downloaded("m1", epoch=2)])
    stage.before_step = lambda name: None
    stage.now += timedelta(minutes=2)
    stage.tell(downloaded("m1", epoch=2))
    assert {(a["number"], *a["recovered"]) for a in stage.events("SyncAmended")} == {(1, "m1")}
    assert stage.notifications[-1].event == "SyncAmended"
    assert settled(stage)


def test_a_result_that_comes_before_the_close_is_told_is_told_after_it(stage: Stage) -> None:
    stage.topic_down = True
    stage.inbox.react(ENDED)
    stage.inbox.react([downloaded("m1", epoch=2)])
    stage.topic_down = False
    stage.review(15)
    assert stage.event_names == ["SyncCompleted", "SyncAmended"]
    assert stage.events()[0]["failed"] == 1
    assert [n.event for n in stage.notifications] == ["SyncCompleted", "SyncAmended"]
    assert settled(stage)


# --- review


def test_the_review_turns_into_facts_what_the_library_table_knows(stage: Stage) -> None:
    stage.tell(*a_sync_of(4))
    stage.library = {
        "m0": {"status": "STORED", "item_count": 1, "epoch": 3, "bytes_total": 77, "sync_id": SYNC},
        "m1": {"status": "STORED", "item_count": 1, "epoch": 3, "bytes_total": 77, "sync_id": "another"},
        "m2": {"status": "FAILED", "epoch": 2, "reason": "refused", "sync_id": SYNC},
        "m3": {"status": "FAILED", "epoch": 2, "reason": "refused", "sync_id": "another"},
    }
    stage.review(15)
    sync = stage.sync()
    assert sync.is_open  # the failure of m3 was another sync's
    assert (sync.downloaded, sync.already_stored, sync.failed, sync.bytes) == (2, 1, 1, 77)
    assert stage.media()["m2"].reason == "refused"
    stage.library["m3"]["sync_id"] = SYNC
    stage.review(30)
    assert not stage.sync().is_open
    assert stage.events("SyncCompleted")[0]["closed_because"] == "complete"


def test_a_medium_stored_with_fewer_items_than_were_discovered_has_no_result_yet(stage: Stage) -> None:
    stage.tell(requested(), discovered("m0", item_count=3), listed(1))
    stage.library["m0"] = {"status": "STORED", "item_count": 2, "epoch": 1, "sync_id": SYNC}
    stage.review(15)
    assert stage.sync().downloaded == 0


def test_a_result_learnt_from_the_library_and_told_later_counts_once(stage: Stage) -> None:
    stage.tell(*a_sync_of(2))
    stage.library["m0"] = {"status": "STORED", "item_count": 1, "epoch": 1, "bytes_total": 10, "sync_id": SYNC}
    stage.review(15)
    stage.tell(downloaded("m0"), failed("m1"))
    assert (stage.sync().downloaded, stage.sync().bytes) == (1, 10)
    assert stage.media()["m0"].seconds == 1.5


def test_a_sync_that_nobody_ends_closes_by_the_review_after_its_deadline(stage: Stage) -> None:
    stage.tell(*a_sync_of(2), downloaded("m0"))
    stage.inbox_is_empty = False
    stage.review(12 * 60 - 1)
    assert stage.sync().is_open
    stage.review(12 * 60)
    (summary,) = stage.events("SyncCompleted")
    assert (summary["closed_because"], summary["outcome"], summary["outstanding"]) == ("deadline", "partial", 1)
    assert settled(stage)


@pytest.mark.scenario(19)
def test_a_sync_whose_listing_was_lost_fails_at_the_deadline_and_says_so(stage: Stage) -> None:
    stage.tell(requested(), discovered("m0"), downloaded("m0"))
    for minutes in (15, 30, 45):
        stage.review(minutes)
    assert stage.sync().is_open
    stage.review(12 * 60)
    (summary,) = stage.events("SyncFailed")
    assert (summary["closed_because"], summary["downloaded"]) == ("deadline", 1)
    assert "listing was never reported" in summary["reason"]
    assert stage.notifications[0].severity == "critical"


@pytest.mark.scenario(21)
def test_a_sync_stalls_when_two_reviews_running_saw_nothing_move(stage: Stage) -> None:
    stage.tell(*a_sync_of(2), downloaded("m0"))
    stage.review(15)
    assert stage.sync().is_open
    stage.review(30)
    (summary,) = stage.events("SyncCompleted")
    assert (summary["closed_because"], summary["outstanding"]) == ("stalled", 1)
    assert summary["failures"][0]["media_id"] == "m1"
    assert "GXm1.MP4" in stage.notifications[0].body


def test_the_same_review_twice_is_one_review(stage: Stage) -> None:
    stage.tell(*a_sync_of(2), downloaded("m0"))
    for _ in range(3):
        stage.review(15)
    assert stage.sync().is_open


def test_two_reviews_in_one_batch_are_one_review(stage: Stage) -> None:
    stage.tell(*a_sync_of(2), downloaded("m0"))
    stage.tell(review_due(15), review_due(45), review_due(30))
    sync = stage.sync()
    assert sync.is_open
    assert sync.quiet
    assert sync.quiet.reviewed_at == review_due(45).occurred_at


def test_reviews_without_a_time_count_by_the_clock(stage: Stage) -> None:
    stage.tell(*a_sync_of(1))
    for minutes in (15, 30):
        stage.now = BEGIN + timedelta(minutes=minutes)
        stage.tell(SyncReviewDue())
    assert not stage.sync().is_open


def a_message_waits(stage: Stage) -> None:
    stage.inbox_is_empty = False


def a_fact_comes(stage: Stage) -> None:
    stage.tell(failed("m1"))


def a_worker_has_a_lease(stage: Stage) -> None:
    later = int((BEGIN + timedelta(hours=2)).timestamp())
    stage.library["m2"] = {"status": "DOWNLOADING", "lease_until": later, "sync_id": SYNC}


@pytest.mark.parametrize(
    ("movement", "stalls_after"), [(a_message_waits, 60), (a_worker_has_a_lease, 60), (a_fact_comes, 45)]
)
def test_anything_that_moves_between_two_reviews_keeps_a_sync_from_stalling(
    stage: Stage, movement: Callable[[Stage], None], stalls_after: int
) -> None:
    stage.tell(*a_sync_of(3), downloaded("m0"))
    stage.review(15)
    movement(stage)
    stage.review(30)
    assert stage.sync().is_open
    stage.inbox_is_empty, stage.library = True, {}
    stage.review(45)
    assert stage.sync().is_open == (stalls_after > 45)  # two quiet ones running, counted afresh
    stage.review(60)
    assert not stage.sync().is_open


def test_a_lease_that_ran_out_keeps_nothing_alive(stage: Stage) -> None:
    stage.tell(*a_sync_of(1))
    stage.library["m0"] = {"status": "DOWNLOADING", "lease_until": int(BEGIN.timestamp()), "sync_id": SYNC}
    stage.review(15)
    stage.review(30)
    assert stage.events("SyncCompleted")[0]["closed_because"] == "stalled"


def test_a_fact_that_comes_during_the_second_quiet_review_keeps_the_sync_open(stage: Stage) -> None:
    stage.tell(*a_sync_of(2))
    stage.review(15)
    other = stage.summarizer()
    slipped: list[str] = []

    def slip_in(name: str) -> None:
        if name == "write" and not slipped:
            slipped.append(name)
            other.react([downloaded("m0")])

    stage.before_step = slip_in
    stage.review(30)
    assert stage.sync().is_open


def test_a_fact_that_came_with_the_review_is_tallied_first(stage: Stage) -> None:
    stage.tell(*a_sync_of(1))
    stage.now = BEGIN + timedelta(hours=13)
    stage.tell(review_due(13 * 60), downloaded("m0"))
    assert stage.events("SyncCompleted")[0]["closed_because"] == "complete"


def test_a_review_goes_on_with_the_other_syncs_when_one_fails(stage: Stage) -> None:
    stage.tell(requested(sync_id="a"), requested(sync_id="b"))
    broken: list[str] = []

    def break_once(name: str) -> None:
        if name == "write" and not broken:
            broken.append(name)
            raise TransientError("no")

    stage.before_step = break_once
    stage.now = BEGIN + timedelta(hours=12)
    failures = stage.inbox.react([review_due(12 * 60)])
    assert set(failures) == {""}
    assert "a" in str(failures[""])
    assert not stage.sync("b").is_open
    stage.review(12 * 60 + 15)
    assert settled(stage)


def test_a_review_with_nothing_to_do_does_nothing(stage: Stage) -> None:
    stage.review(15)
    assert stage.steps == []


# --- everything at once


@pytest.mark.scenario(26)
@settings(max_examples=25)
@given(st.data())
def test_whatever_crashes_repeats_and_overtakes_every_sync_ends_in_one_summary(data: st.DataObject) -> None:
    """Two summarizers at once, deaths at any step, duplicates, any order; then some reviews, past the deadline."""
    with a_stage() as stage:
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
                        rival.react(data.draw(st.lists(st.sampled_from(facts), min_size=1, max_size=3)))
                    case "crash":
                        raise Crash(name)

            stage.before_step = trouble
            while True:
                try:
                    assert stage.inbox.react(batch) == {}
                    break
                except Crash:
                    stage.now += timedelta(seconds=data.draw(st.sampled_from([1, 61])))
            found = stage.syncs.read(SYNC)
            if found and found.summary:
                summaries.append(found.summary)
        stage.before_step = lambda name: None
        for minutes in (60, 75, 13 * 60, 13 * 60 + 15, 13 * 60 + 30):
            stage.review(minutes)
        final = stage.sync()
        assert final.summary is not None
        assert (final.discovered, final.downloaded, final.failed) == (len(ids), len(stored), len(refused - stored))
        assert all(summary == final.summary for summary in summaries)
        closings = stage.events("SyncCompleted")
        assert closings
        assert all(summary == final.summary for summary in closings)
        amendments = {a["number"]: a for a in stage.events("SyncAmended")}
        assert sorted(amendments) == list(range(1, len(amendments) + 1))
        assert all(a == amendments[a["number"]] for a in stage.events("SyncAmended"))
        recovered = [media_id for a in amendments.values() for media_id in a["recovered"]]
        assert len(recovered) == len(set(recovered))
        assert final.summary["downloaded"] + len(recovered) == len(stored)
        assert settled(stage)
