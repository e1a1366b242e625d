"""The failure scenarios that need more than one process to go wrong: each in nights that are written for it."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest

from services.shared.inbox.inbox import Outcome
from tools.simulator.faults import Fault, Planned
from tools.simulator.scenario import HOUR, MINUTE, POISON, Action
from tools.simulator.written import BY_HAND, DAILY, SYNC, by_hand, night, nights, video, videos

MANY = 8  # nights of one kind, which differ in how long each call takes
ONE_CONNECTION = {"CONNECTIONS_PER_FILE": "1"}
LONGER_THAN_A_LEASE = 400.0  # seconds


@pytest.mark.scenario(1)
def test_events_delivered_two_to_five_times_leave_the_state_of_a_single_delivery() -> None:
    for once, often in zip(nights(4), nights(4, Planned(Fault.DUPLICATE)), strict=True):
        deliveries = len(often.rows("events.deliver"))
        assert deliveries > 2 * len(once.rows("events.deliver"))
        assert often.state() == once.state()


@pytest.mark.scenario(1)
def test_messages_received_twice_or_after_their_deletion_leave_the_state_of_a_single_receive() -> None:
    again = {Fault.TWICE: 0.5, Fault.KEPT: 0.5}
    for once, often in zip(nights(MANY), nights(MANY, rates=again, faults_until=HOUR), strict=True):
        assert {Fault.TWICE, Fault.KEPT} <= set(often.struck)
        assert often.state() == once.state()


@pytest.mark.scenario(2)
def test_a_file_whose_worker_died_after_the_completion_is_not_fetched_again() -> None:
    for seed in range(MANY):
        medium = video(1)
        crash = Planned(Fault.KILL_AFTER, "s3.complete_multipart_upload", nth=1)
        after = night([medium], crash, seed=seed)
        died = after.rows("s3.complete_multipart_upload")[0][0]
        assert after.fetched(medium.id, since=died) <= 4, "no more than the first bytes, which tell the version"
        assert list(after.stored().values()) == [medium.files[0].body]
        assert after.results() == {medium.id: "DOWNLOADED"}


@pytest.mark.scenario(3)
def test_a_result_in_the_library_table_is_published_by_the_next_receive() -> None:
    for seed in range(MANY):
        medium = video(1)
        crash = Planned(Fault.KILL_AFTER, "dynamodb.update_item", f"{medium.id}/0", nth=2)  # the first takes the lease
        after = night([medium], crash, seed=seed)
        died = next(when for when, _, out in after.rows("dynamodb.update_item") if out == Fault.KILL_AFTER)
        (published,) = after.events("MediaDownloaded")
        assert published.at > died
        assert after.fetched(medium.id, since=died) == 0
        assert after.summary()["downloaded"] == 1


@pytest.mark.scenario(3)
def test_a_frozen_listing_is_published_by_the_next_receive() -> None:
    for after in nights(MANY, Planned(Fault.KILL_BEFORE, "events.put", "LibraryListed", nth=1)):
        assert after.struck == [Fault.KILL_BEFORE]
        assert len(after.events("LibraryListed")) == 1
        assert after.summary()["downloaded"] == 6


@pytest.mark.scenario(4)
@pytest.mark.parametrize("fact", ["SessionAuthenticated", "MediaDiscovered", "LibraryListed", "MediaDownloaded"])
def test_facts_published_by_a_worker_that_then_died_are_published_again_and_change_nothing(fact: str) -> None:
    for calm, after in zip(nights(MANY), nights(MANY, Planned(Fault.KILL_AFTER, "events.put", fact, 1)), strict=True):
        assert after.struck == [Fault.KILL_AFTER]
        ids = after.ids(fact)
        assert len(ids) > len(set(ids)), "published twice under one id"
        assert set(ids) == set(calm.ids(fact))
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
        assert (after.summary()["downloaded"], after.summary()["failed"]) == (60, 0)


@pytest.mark.scenario(7)
def test_a_session_that_dies_for_good_while_the_library_is_listed_fails_the_sync_and_says_what_to_do() -> None:
    revoked = Action(1.0, "revoke", fault=Fault.REVOKED)
    lost = Planned(Fault.KILL_AFTER, "gopro.POST", nth=2)  # its answer had the only refresh token that is still good
    for seed in range(3):
        after = night(
            videos(12), lost, seed=seed, actions=[BY_HAND, revoked], access="refresh", lifetime=60, page_size=1
        )
        assert after.summary()["closed_because"] == "auth_failed"
        (sent,) = after.world.topic.sent
        assert "revoked" in sent.body
        assert "refresh_token" in sent.body


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
def test_a_download_of_more_than_sixteen_pauses_reaches_its_end() -> None:
    slow = video(1, size=160, seconds_per_byte=110.0)
    after = night([slow, video(2)], settings=ONE_CONNECTION)
    hops = [event.read()["metadata"]["hops"] for event in after.events("MediaDownloadPaused")]
    assert max(hops) > 16
    assert after.summary()["closed_because"] == "complete"
    assert after.results() == {slow.id: "DOWNLOADED", video(2).id: "DOWNLOADED"}


@pytest.mark.scenario(13)
def test_a_listing_of_more_than_sixteen_slices_reaches_its_end() -> None:
    after = night(videos(25), page_size=1, settings={"PAGES_PER_SLICE": "1"})
    assert max(event.read()["metadata"]["hops"] for event in after.events("LibraryListingPaused")) > 16
    assert after.summary()["downloaded"] == 25
    assert after.summary()["warnings"] == []


@pytest.mark.scenario(18)
def test_results_that_overtake_the_end_of_the_listing_close_nothing() -> None:
    for after in nights(MANY, Planned(Fault.LATE, "LibraryListed to Summarizer", seconds=300.0)):
        (arrived,) = [when for when, _, _ in after.rows("events.deliver", "LibraryListed")[1:]]
        assert all(result.at < arrived for result in after.events("MediaDownloaded"))
        (closed,) = after.events("SyncCompleted")
        assert closed.at > arrived
        assert (after.summary()["downloaded"], after.summary()["closed_because"]) == (6, "complete")


@pytest.mark.scenario(19)
def test_a_sync_whose_end_of_listing_is_lost_closes_at_its_deadline_and_says_so() -> None:
    for after in nights(3, Planned(Fault.DROPPED, "LibraryListed to Summarizer")):
        assert after.summary()["closed_because"] == "deadline"
        (sent,) = after.world.topic.sent
        assert "did not end in time" in sent.subject
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
def test_a_medium_whose_every_try_crashed_is_named_by_the_review_that_finds_the_sync_stalled() -> None:
    for after in nights(MANY, Planned(Fault.KILL_BEFORE, "cdn.open", video(3).id)):
        assert after.events("MediaDownloadFailed") == []
        assert len(after.world.sqs.dead) == 1
        summary = after.summary()
        assert (summary["closed_because"], summary["downloaded"], summary["outstanding"]) == ("stalled", 5, 1)
        assert [failure["media_id"] for failure in summary["failures"]] == [video(3).id]
        (sent,) = after.world.topic.sent
        assert video(3).filename in sent.body


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
def test_a_sync_by_hand_during_the_scheduled_one_closes_as_complete_and_nothing_is_stored_twice() -> None:
    for seed, delay in enumerate((0.0, 0.3, 2.0, 4.0, 10.0, 40.0)):
        after = night(videos(12, seconds_per_byte=0.2), seed=seed, actions=[DAILY, by_hand(SYNC, at=delay)])
        summaries = [sync["summary"] for sync in after.syncs()]
        assert [summary["closed_because"] for summary in summaries] == ["complete", "complete"]
        own = [summary["downloaded"] - summary["already_stored"] for summary in summaries]
        assert sum(own) == 12
        assert sorted(after.stored().values()) == sorted(medium.files[0].body for medium in videos(12))


@pytest.mark.scenario(27)
def test_a_notification_whose_sender_then_died_is_sent_again_unchanged() -> None:
    for after in nights(MANY, Planned(Fault.KILL_AFTER, "sns.publish", nth=1)):
        first, again = after.world.topic.sent
        assert first.attributes == again.attributes
        assert first.body == again.body
        assert len({data["summary_id"] for data in after.data("SyncCompleted")}) == 1
        assert len(after.syncs()) == 1


@pytest.mark.scenario(29)
def test_a_redrive_after_the_close_completes_the_library_and_leaves_the_summary() -> None:
    for after in nights(MANY, rates={Fault.CDN_FAILED: 1.0}, faults_until=10 * MINUTE, redrive=True):
        summary = after.summary()
        assert (summary["downloaded"], summary["failed"]) == (0, 6)
        recovered = {media_id for data in after.data("SyncAmended") for media_id in data["recovered"]}
        assert recovered == {medium.id for medium in videos(6)}
        assert set(after.results().values()) == {"DOWNLOADED"}
        assert len(after.stored()) == 6
        numbers = {data["number"] for data in after.data("SyncAmended")}
        assert numbers == set(range(1, len(numbers) + 1))


@pytest.mark.scenario(31)
def test_an_empty_library_completes_at_once_with_zeros() -> None:
    after = night([])
    assert [after.summary()[name] for name in ("listed", "discovered", "downloaded", "failed", "bytes")] == [0] * 5
    assert after.summary()["closed_because"] == "complete"
    assert after.events("SyncReviewDue")[0].at > after.events("SyncCompleted")[0].at, "no review had to close it"
    assert len(after.world.topic.sent) == 1


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


@pytest.mark.scenario(37)
def test_a_library_that_is_suddenly_empty_is_a_warning_and_nothing_is_deleted() -> None:
    removals = [Action(HOUR, "remove", number=number) for number in range(3)]
    after = night(videos(3), actions=[BY_HAND, *removals, by_hand("later", at=2 * HOUR)])
    assert "suddenly empty" in after.summary("later")["warnings"][0]
    assert "suddenly empty" in after.world.topic.sent[-1].body
    assert len(after.stored()) == 3


@pytest.mark.scenario(38)
def test_media_without_an_original_are_named_with_the_reason_and_the_rest_is_stored() -> None:
    good, gone, no_original = video(1), video(2), replace(video(3), available=False)
    while_listed = Planned(Fault.SLOW, "gopro.GET /media/{id}/download", gone.id, nth=1, seconds=20.0)
    removal = Action(10.0, "remove", number=1)
    after = night([good, gone, no_original], while_listed, actions=[BY_HAND, removal])
    assert after.results() == {good.id: "DOWNLOADED", gone.id: "FAILED", no_original.id: "FAILED"}
    assert after.summary()["outcome"] == "partial"
    (sent,) = after.world.topic.sent
    for wanted in (SYNC, gone.filename, "404", no_original.filename, "not available"):
        assert wanted in sent.body
    assert after.world.sqs.dead == [], "a redrive could store neither"


@pytest.mark.scenario(43)
def test_a_worker_that_was_believed_dead_changes_nothing_after_another_has_taken_over() -> None:
    for seed in range(MANY):
        medium = video(1, size=40)
        frozen = Planned(Fault.FREEZE, "cdn.read", medium.id, nth=4, seconds=LONGER_THAN_A_LEASE)
        after = night([medium], frozen, seed=seed, settings=ONE_CONNECTION)
        assert after.world.trace.reached[Outcome.FENCED] == 1
        assert list(after.stored().values()) == [medium.files[0].body]
        assert after.results() == {medium.id: "DOWNLOADED"}
        assert len({data["epoch"] for data in after.data("MediaDownloaded")}) == 1


@pytest.mark.scenario(46)
def test_unreadable_messages_become_dead_letters_and_the_others_flow() -> None:
    poison = [Action(0.3 * number, "poison", number=number) for number in range(len(POISON))]
    for seed in range(3):
        after = night(videos(3), seed=seed, actions=[BY_HAND, *poison])
        assert after.summary()["downloaded"] == 3
        services = after.world.wires.services.values()
        assert {name for name, _ in after.world.sqs.dead} == {service.inbox for service in services}
        assert all("poison" in letter.body and letter.receives == 0 for _, letter in after.world.sqs.dead)


@pytest.mark.scenario(48)
def test_a_deployment_in_mid_sync_mixes_old_and_new_and_nothing_is_lost() -> None:
    deployments = [Action(at, "redeploy", fault=Fault.REDEPLOYED) for at in (0.2, 0.8, 2.0, 5.0)]
    reached: Counter[str] = Counter()
    for seed in range(MANY):
        after = night(videos(12, seconds_per_byte=0.1), seed=seed, actions=[BY_HAND, *deployments], foreign_fields=True)
        assert after.world.functions["downloader"].generation == len(deployments)
        reached.update(after.world.trace.reached)
        assert (after.summary()["downloaded"], after.summary()["closed_because"]) == (12, "complete")
    for event in ("SessionAuthenticated", "MediaDiscovered", "MediaDownloaded", "LibraryListed"):
        assert reached[f"{event} of this version"], event
        assert reached[f"{event} of another version"], event


@pytest.mark.scenario(54)
def test_clocks_that_are_minutes_apart_let_one_worker_complete_each_medium() -> None:
    skew = 5 * MINUTE
    for seed in range(MANY // 2):
        frozen = Planned(Fault.FREEZE, "cdn.read", nth=4, seconds=800.0)  # a lease, and as far apart as two clocks are
        after = night(videos(8), frozen, Planned(Fault.DUPLICATE), seed=seed, skew=skew)
        assert after.world.trace.reached[Outcome.FENCED]
        assert sorted(after.stored().values()) == sorted(medium.files[0].body for medium in videos(8))
        assert set(after.results().values()) == {"DOWNLOADED"}


@pytest.mark.scenario(57)
def test_an_archive_replayed_over_a_closed_sync_changes_nothing() -> None:
    for before, after in zip(nights(MANY), nights(MANY, replay=True), strict=True):
        assert len(after.rows("events.deliver")) > len(before.rows("events.deliver"))
        assert after.state() == before.state()
        assert after.summary() == before.summary()
        assert len(after.world.topic.sent) == len(before.world.topic.sent) == 1
        assert after.events("SyncAmended") == []


# --- more than one night ---------------------------------------------------------------------------------------------


def test_the_next_sync_fetches_only_what_failed() -> None:
    late = replace(video(2), available=False)
    ready = Action(HOUR / 2, "ready", number=1)
    after = night([video(1), late, video(3)], actions=[BY_HAND, ready, by_hand("later", at=HOUR)])
    assert after.results() == {video(1).id: "DOWNLOADED", late.id: "FAILED", video(3).id: "DOWNLOADED"}
    assert after.results("later") == {late.id: "DOWNLOADED"}
    assert (after.summary("later")["stored"], after.summary("later")["discovered"]) == (2, 1)
    assert [
        after.fetched(medium.id, since=after.world.plan.start + HOUR) > 0 for medium in after.world.plan.library
    ] == [
        False,
        True,
        False,
    ]


def test_a_library_too_large_for_one_sync_takes_as_many_as_it_needs() -> None:
    syncs = [by_hand(f"sync-{number}", at=4 * HOUR * number) for number in range(4)]
    after = night(videos(8), actions=syncs, settings={"MAX_MEDIA_PER_SYNC": "3"})
    assert [after.summary(sync.sync_id)["downloaded"] for sync in syncs] == [3, 3, 2, 0]


def test_a_filtered_sync_takes_only_the_media_that_were_asked_for() -> None:
    photo = replace(video(2), type="Photo")
    after = night([video(1), photo], actions=[by_hand(SYNC, filters={"types": ["Photo"]})])
    assert after.results() == {photo.id: "DOWNLOADED"}
    assert list(after.stored().values()) == [photo.files[0].body]
