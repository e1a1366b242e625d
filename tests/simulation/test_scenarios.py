"""The failure scenarios that need more than one process to go wrong: each in nights that are written for it."""

from collections import Counter
from itertools import pairwise

import pytest

from tests.simulation.faults import Fault, Planned
from tests.simulation.scenario import HOUR, MINUTE, Action
from tests.simulation.written import BY_HAND, DAILY, SYNC, night, nights, video, videos

MANY = 12  # nights of one kind
ONE_CONNECTION = {"CONNECTIONS_PER_FILE": "1"}


@pytest.mark.scenario(1)
def test_events_delivered_two_to_five_times_leave_what_a_single_delivery_leaves() -> None:
    for once, often in zip(nights(MANY), nights(MANY, Planned(Fault.DUPLICATE)), strict=True):
        deliveries = len(often.rows("events.deliver"))
        assert deliveries > 2 * len(once.rows("events.deliver"))
        assert often.state() == once.state()


@pytest.mark.scenario(1)
def test_messages_received_again_and_again_leave_what_a_single_receive_leaves() -> None:
    again = {Fault.TWICE: 0.5, Fault.KEPT: 0.5}
    for once, often in zip(nights(MANY), nights(MANY, rates=again, faults_until=HOUR), strict=True):
        assert {Fault.TWICE, Fault.KEPT} <= set(often.struck)
        assert often.state() == once.state()


@pytest.mark.scenario(2)
def test_a_file_whose_worker_died_behind_the_completion_is_not_fetched_again() -> None:
    for seed in range(MANY):
        medium = video(1)
        crash = Planned(Fault.KILL_AFTER, "s3.complete_multipart_upload", nth=1)
        after = night([medium], crash, seed=seed)
        died = after.rows("s3.complete_multipart_upload")[0][0]
        assert after.fetched(medium.id, since=died) <= 4, "no more than the first bytes, which tell the version"
        assert list(after.stored().values()) == [medium.files[0].body]
        assert after.results() == {medium.id: "DOWNLOADED"}


@pytest.mark.scenario(3)
def test_a_result_in_the_library_table_is_told_by_the_next_receive() -> None:
    for seed in range(MANY):
        medium = video(1)
        crash = Planned(Fault.KILL_AFTER, "dynamodb.update_item", f"{medium.id}/0", nth=2)  # the first takes the lease
        after = night([medium], crash, seed=seed)
        died = next(when for when, _, out in after.rows("dynamodb.update_item") if out == Fault.KILL_AFTER)
        (told,) = after.events("MediaDownloaded")
        assert told.at > died
        assert after.fetched(medium.id, since=died) == 0
        assert after.summary()["downloaded"] == 1


@pytest.mark.scenario(4)
@pytest.mark.parametrize("told", ["SessionAuthenticated", "MediaDiscovered", "LibraryListed", "MediaDownloaded"])
def test_facts_told_by_a_worker_that_died_behind_it_come_again_and_change_nothing(told: str) -> None:
    for calm, after in zip(nights(MANY), nights(MANY, Planned(Fault.KILL_AFTER, "events.put", told, 1)), strict=True):
        assert after.struck == [Fault.KILL_AFTER]
        ids = after.ids(told)
        assert len(ids) > len(set(ids)), "told twice under one id"
        assert set(ids) == set(calm.ids(told))
        assert after.state() == calm.state()


@pytest.mark.scenario(6)
def test_lanes_refused_at_once_cost_one_renewal_and_none_within_ten_minutes_of_another() -> None:
    # Files that take a minute and a half, so that the session is old enough to be renewed while many are still to come.
    revoked = [Action(minutes * MINUTE, "revoke", fault=Fault.REVOKED) for minutes in (12, 12.5, 13)]
    for seed in range(3):
        after = night(videos(60, seconds_per_byte=4.0), seed=seed, actions=[BY_HAND, *revoked], settings=ONE_CONNECTION)
        granted = [when for when, _ in after.world.gopro.grants]
        refused = [when for when, _, out in after.rows("gopro.GET", "/download") if out == "401"]
        assert len(refused) >= 5
        assert 2 <= len(granted) <= 3
        # When a session began is kept in whole seconds.
        assert all(later - earlier > 10 * MINUTE - 1 for earlier, later in pairwise(granted))
        assert after.summary()["downloaded"] == 60
        assert after.summary()["failed"] == 0


@pytest.mark.scenario(11)
def test_after_a_worker_was_killed_within_a_part_no_part_that_s3_has_is_fetched_again() -> None:
    for seed in range(MANY):
        medium = video(1, size=40)
        crash = Planned(Fault.KILL_BEFORE, "s3.upload_part", nth=3)
        after = night([medium], crash, seed=seed, settings=ONE_CONNECTION)
        parts = after.rows("s3.upload_part")
        assert [out for _, _, out in parts].count("") == 5, "each of its five parts went up once"
        died = next(when for when, _, out in parts if out == Fault.KILL_BEFORE)
        kept = sum(when < died for when, _, _ in parts)
        part, first_look = 8, 4  # bytes
        assert after.fetched(medium.id, since=died) <= 40 - kept * part + first_look
        assert list(after.stored().values()) == [medium.files[0].body]


@pytest.mark.scenario(13)
def test_a_chain_of_more_than_sixteen_pauses_comes_to_its_end() -> None:
    slow = video(1, size=160, seconds_per_byte=110.0)
    after = night([slow, video(2)], settings=ONE_CONNECTION)
    hops = [event.read()["metadata"]["hops"] for event in after.events("MediaDownloadPaused")]
    assert max(hops) > 16
    assert after.summary()["closed_because"] == "complete"
    assert after.results() == {slow.id: "DOWNLOADED", video(2).id: "DOWNLOADED"}


@pytest.mark.scenario(13)
def test_a_listing_of_more_than_sixteen_slices_comes_to_its_end() -> None:
    after = night(videos(25), page_size=1, settings={"PAGES_PER_SLICE": "1"})
    assert max(event.read()["metadata"]["hops"] for event in after.events("LibraryListingPaused")) > 16
    assert after.summary()["downloaded"] == 25
    assert after.summary()["warnings"] == []


@pytest.mark.scenario(18)
def test_results_that_overtake_the_end_of_the_listing_close_nothing() -> None:
    overtaken = 0
    for after in nights(MANY, Planned(Fault.LATE, "LibraryListed to Summarizer")):
        (arrived,) = [when for when, _, _ in after.rows("events.deliver", "LibraryListed")[1:]]
        overtaken += all(result.at < arrived for result in after.events("MediaDownloaded"))
        (closed,) = after.events("SyncCompleted")
        assert closed.at > arrived
        assert after.summary()["downloaded"] == 6
        assert after.summary()["closed_because"] == "complete"
    assert overtaken > MANY / 2


@pytest.mark.scenario(19)
def test_a_sync_whose_end_of_listing_is_lost_closes_at_its_deadline_and_says_so() -> None:
    for after in nights(3, Planned(Fault.DROPPED, "LibraryListed to Summarizer")):
        assert after.summary()["closed_because"] == "deadline"
        (told,) = after.world.topic.sent
        assert "did not end in time" in told.subject
        assert len(after.stored()) == 6


@pytest.mark.scenario(20)
def test_a_medium_whose_tries_are_used_up_is_a_dead_letter_and_a_failure_fact() -> None:
    for after in nights(MANY, Planned(Fault.CDN_FAILED, "cdn.open", video(3).id)):
        (letter,) = after.world.sqs.dead
        assert video(3).id in letter[1].body
        (failed,) = after.data("MediaDownloadFailed")
        assert failed["media_id"] == video(3).id
        assert failed["attempts"] == after.world.wires.services["downloader"].max_receives
        assert (after.summary()["downloaded"], after.summary()["failed"]) == (5, 1)


@pytest.mark.scenario(20)
def test_a_listing_whose_tries_are_used_up_is_a_dead_letter_and_a_failure_fact() -> None:
    for after in nights(3, Planned(Fault.REFUSED, "s3.put_object", "listings/")):
        assert [name for name, _ in after.world.sqs.dead] == [after.world.wires.services["lister"].inbox]
        assert len(after.events("LibraryListingFailed")) == 1
        assert after.summary()["closed_because"] == "listing_failed"


@pytest.mark.scenario(21)
def test_a_medium_whose_every_try_crashed_is_named_when_the_review_finds_that_nothing_moves() -> None:
    for after in nights(MANY, Planned(Fault.KILL_BEFORE, "cdn.open", video(3).id)):
        assert after.events("MediaDownloadFailed") == []
        assert len(after.world.sqs.dead) == 1
        summary = after.summary()
        assert (summary["closed_because"], summary["downloaded"], summary["outstanding"]) == ("stalled", 5, 1)
        assert [failure["media_id"] for failure in summary["failures"]] == [video(3).id]
        (told,) = after.world.topic.sent
        assert video(3).id in told.body


@pytest.mark.scenario(24)
def test_a_schedule_that_fires_twice_and_its_catch_up_begin_one_sync() -> None:
    for delay in (0.0, 0.02, 0.5, 30.0, 2 * HOUR):
        for seed in range(3):
            after = night(videos(4), seed=seed, actions=[DAILY, Action(delay, "daily")])
            (sync,) = after.syncs()
            assert sync["summary"]["downloaded"] == 4
            assert len(set(after.ids("SessionAuthenticated"))) == 1
            assert len(after.world.gopro.grants) == 1


@pytest.mark.scenario(25)
def test_a_sync_by_hand_during_the_scheduled_one_closes_right_and_nothing_is_stored_twice() -> None:
    for seed, delay in enumerate((0.0, 0.3, 2.0, 4.0, 10.0, 40.0)):
        by_hand = Action(delay, "manual", SYNC, BY_HAND.detail)
        after = night(videos(12, seconds_per_byte=0.2), seed=seed, actions=[DAILY, by_hand])
        summaries = [sync["summary"] for sync in after.syncs()]
        assert len(summaries) == 2
        assert [summary["closed_because"] for summary in summaries] == ["complete", "complete"]
        own = [summary["downloaded"] - summary["already_stored"] for summary in summaries]
        assert sum(own) == 12
        assert sorted(after.stored().values()) == sorted(medium.files[0].body for medium in videos(12))


@pytest.mark.scenario(27)
def test_a_notification_whose_sender_died_behind_it_is_sent_again_as_the_same() -> None:
    for after in nights(MANY, Planned(Fault.KILL_AFTER, "sns.publish", nth=1)):
        first, again = after.world.topic.sent
        assert first.attributes == again.attributes
        assert first.body == again.body
        assert len({data["summary_id"] for data in after.data("SyncCompleted")}) == 1
        assert len(after.syncs()) == 1


@pytest.mark.scenario(29)
def test_a_redrive_after_the_close_mends_the_library_and_leaves_the_summary() -> None:
    for after in nights(MANY, rates={Fault.CDN_FAILED: 1.0}, faults_until=10 * MINUTE, redrive=True):
        summary = after.summary()
        assert (summary["downloaded"], summary["failed"]) == (0, 6)
        recovered = {media_id for data in after.data("SyncAmended") for media_id in data["recovered"]}
        assert recovered == {medium.id for medium in videos(6)}
        assert set(after.results().values()) == {"DOWNLOADED"}
        assert len(after.stored()) == 6
        numbers = {data["number"] for data in after.data("SyncAmended")}
        assert numbers == set(range(1, len(numbers) + 1))


@pytest.mark.scenario(34)
@pytest.mark.parametrize("fault", [Fault.KILL_BEFORE, Fault.KILL_AFTER])
def test_a_lister_killed_at_any_page_leaves_no_gap(fault: Fault) -> None:
    for page in range(1, 7):
        killed = Planned(fault, "gopro.GET /media/search", nth=page)
        for pages_per_slice in ("2", "100"):
            after = night(videos(11), killed, page_size=2, settings={"PAGES_PER_SLICE": pages_per_slice})
            assert after.struck == [fault]
            assert after.summary()["downloaded"] == 11
            assert after.summary()["warnings"] == []


@pytest.mark.scenario(43)
def test_of_two_workers_on_one_medium_the_one_that_was_believed_dead_changes_nothing() -> None:
    fenced = 0
    for seed in range(MANY):
        medium = video(1, size=40)
        frozen = Planned(Fault.FREEZE, "cdn.read", medium.id, nth=4)
        after = night([medium], frozen, seed=seed, settings=ONE_CONNECTION)
        fenced += after.world.trace.reached["worker fenced"]
        assert list(after.stored().values()) == [medium.files[0].body]
        assert after.results() == {medium.id: "DOWNLOADED"}
        assert len({data["epoch"] for data in after.data("MediaDownloaded")}) == 1
    assert fenced >= MANY / 4


@pytest.mark.scenario(48)
def test_a_deployment_in_mid_sync_mixes_old_and_new_and_nothing_is_lost() -> None:
    deployments = [Action(at, "redeploy", fault=Fault.REDEPLOYED) for at in (0.2, 0.8, 2.0, 5.0)]
    reached: Counter[str] = Counter()
    for seed in range(MANY):
        after = night(videos(12, seconds_per_byte=0.1), seed=seed, actions=[BY_HAND, *deployments], foreign_fields=True)
        assert after.world.functions["downloader"].generation == len(deployments)
        reached.update(after.world.trace.reached)
        assert after.summary()["downloaded"] == 12
        assert after.summary()["closed_because"] == "complete"
    for event in ("SessionAuthenticated", "MediaDiscovered", "MediaDownloaded", "LibraryListed"):
        assert reached[f"{event} of this version"], event
        assert reached[f"{event} of another version"], event


@pytest.mark.scenario(54)
def test_clocks_that_are_minutes_apart_let_one_worker_complete_each_medium() -> None:
    fenced = 0
    for seed in range(MANY // 2):
        frozen = Planned(Fault.FREEZE, "cdn.read", nth=4)
        after = night(videos(8), frozen, Planned(Fault.DUPLICATE), seed=seed, skew=5 * MINUTE)
        fenced += after.world.trace.reached["worker fenced"]
        assert sorted(after.stored().values()) == sorted(medium.files[0].body for medium in videos(8))
        assert set(after.results().values()) == {"DOWNLOADED"}
    assert fenced


@pytest.mark.scenario(57)
def test_an_archive_replayed_over_a_closed_sync_changes_nothing() -> None:
    for before, after in zip(nights(MANY), nights(MANY, replay=True), strict=True):
        assert len(after.rows("events.deliver")) > len(before.rows("events.deliver"))
        assert after.state() == before.state()
        assert after.summary() == before.summary()
        assert len(after.world.topic.sent) == len(before.world.topic.sent) == 1
        assert after.events("SyncAmended") == []
