"""What the whole does, from a request to its notification."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import pytest

from services.shared.bus import Bus
from services.shared.events import Event
from tests.choreography.conftest import Stage
from tests.choreography.stage import Choreography, Context, bodies
from tests.gopro_cloud import DEMO_CREDENTIALS, Generated, Library, Medium, Series, Shape
from tests.gopro_cloud.faults import Answer, Drop


def video(number: int, *faults: Any, **fields: Any) -> Medium:
    media_id = f"6a93{number:020x}"
    known: dict[str, Any] = {
        "media_id": media_id,
        "contents": (Generated(50_000 + number, media_id),),
        "filename": f"GX01{number:04}.MP4",
        "faults": faults,
    }
    return Medium(**{**known, **fields})


def serve(system: Choreography, *media: Medium, **fields: Any) -> None:
    system.cloud.replace_library(Library(media=media, **fields))


def digests(system: Choreography) -> list[str]:
    return sorted(hashlib.sha256(body).hexdigest() for body in system.objects().values())


def sources(system: Choreography, *media: Medium) -> list[str]:
    return sorted(o["sha256"] for medium in media for o in system.cloud.originals(medium.media_id))


def test_a_library_ends_in_the_bucket_and_one_notification_says_so(stage: Stage) -> None:
    media = [video(n) for n in range(12)]
    media.append(video(99, shape=Shape.CHAPTERED, contents=tuple(Generated(9000, f"{n}") for n in range(3))))
    with stage() as system:
        serve(system, *media)
        sync_id = system.sync()
        assert digests(system) == sources(system, *media)
        (summary,) = system.events("SyncCompleted", sync_id)
        assert (summary["outcome"], summary["closed_because"]) == ("completed", "complete")
        assert (summary["listed"], summary["discovered"], summary["downloaded"], summary["failed"]) == (13, 13, 13, 0)
        (told,) = system.notifications()
        assert sync_id in told["Message"]


def test_a_manual_syncs_id_is_the_one_that_put_events_prints(stage: Stage) -> None:
    with stage() as system:
        serve(system)
        printed = system.put("SyncRequested", {})
        system.run()
        assert system.sync_record(printed)["state"] == "CLOSED"


@pytest.mark.scenario(31)
def test_an_empty_library_completes_at_once_with_zeros(stage: Stage) -> None:
    with stage() as system:
        serve(system)
        (summary,) = system.events("SyncCompleted", system.sync())
        assert [summary[name] for name in ("listed", "discovered", "downloaded", "failed", "bytes")] == [0] * 5
        assert len(system.notifications()) == 1


@pytest.mark.scenario(38)
def test_a_partial_failure_names_each_failure_and_the_rest_is_stored(stage: Stage) -> None:
    good, gone, proxy = video(1), video(2, gone=True), video(3, source_offered=False)
    with stage() as system:
        serve(system, good, gone, proxy)
        sync_id = system.sync()
        (summary,) = system.events("SyncCompleted", sync_id)
        assert (summary["outcome"], summary["downloaded"], summary["failed"]) == ("partial", 1, 2)
        told = bodies(system.notifications())
        for wanted in (sync_id, gone.media_id, "404", proxy.media_id, "no original"):
            assert wanted in told
        assert digests(system) == sources(system, good)
        assert system.dead_letters("downloader") == [], "there is nothing to redrive of what can't be had"


def test_a_second_sync_downloads_only_what_failed_before(stage: Stage) -> None:
    media = [video(n) for n in range(4)]
    late = video(9, Answer(endpoint="download", media_id=video(9).media_id, status=404, times=1))
    with stage() as system:
        serve(system, *media, late)
        system.sync()
        system.cloud.observations.clear()
        sync_id = system.sync()
        (summary,) = system.events("SyncCompleted", sync_id)
        assert (summary["stored"], summary["discovered"], summary["downloaded"]) == (4, 1, 1)
        assert {seen.media_id for seen in system.cloud.observations.requests(endpoint="cdn")} == {late.media_id}


@pytest.mark.scenario(7)
def test_wrong_credentials_give_one_critical_notification_that_says_what_to_do(stage: Stage) -> None:
    wrong = {"client_id": "demo", "client_secret": "no", "username": "a", "password": "wrong"}
    with stage(credentials=wrong) as system:
        sync_id = system.sync()
        (summary,) = system.events("SyncFailed", sync_id)
        assert (summary["outcome"], summary["closed_because"]) == ("failed", "auth_failed")
        told = bodies(system.notifications())
        assert "put-secret-value" in told
        assert "SyncRequested" in told
        assert len(system.cloud.observations.requests(endpoint="token")) == 1, "no retry storm"


@pytest.mark.scenario(20)
def test_a_failing_medium_is_tried_as_often_as_the_queue_allows_and_its_message_is_kept(stage: Stage) -> None:
    bad = video(1, Drop(at_bytes=0, times=None))
    with stage() as system:
        serve(system, bad, video(2))
        sync_id = system.sync()
        receives = system.template.services["downloader"].inbox["RedrivePolicy"]["maxReceiveCount"]
        assert len(system.cloud.observations.attempts(bad.media_id)) >= receives
        (failure,) = system.events("MediaDownloadFailed", sync_id)
        assert failure["attempts"] == receives
        (summary,) = system.events("SyncCompleted", sync_id)
        assert (summary["downloaded"], summary["failed"]) == (1, 1)
        (letter,) = system.dead_letters("downloader")
        assert json.loads(letter)["detail"]["data"]["media_id"] == bad.media_id


@pytest.mark.scenario(29)
def test_a_redriven_medium_is_stored_and_amends_the_closed_sync(stage: Stage) -> None:
    bad = video(1, Drop(at_bytes=0, times=None))
    with stage() as system:
        serve(system, bad, video(2))
        sync_id = system.sync()
        summary = system.sync_record(sync_id)["summary"]
        system.notifications()
        system.cloud.faults.disarm()
        assert system.redrive("downloader") == 1
        system.run()
        assert digests(system) == sources(system, bad, video(2))
        (amendment,) = system.events("SyncAmended", sync_id)
        assert (amendment["number"], amendment["recovered"]) == (1, [bad.media_id])
        assert system.sync_record(sync_id)["summary"] == summary, "a closed summary stays as it is"
        assert bad.media_id in bodies(system.notifications())


@pytest.mark.scenario(1)
def test_every_event_delivered_again_changes_nothing(stage: Stage) -> None:
    media = [video(n) for n in range(3)] + [video(9, gone=True)]
    with stage() as system:
        serve(system, *media)
        sync_id = system.sync()
        before, sums = system.sync_record(sync_id), digests(system)
        system.notifications()
        summarizer = "cloud-sync.summarizer"  # nobody here reacts to what it publishes
        for event in [event for event in system.published if event["source"] != summarizer]:
            same = {"sync_id": sync_id} if event["detail-type"] == "SyncRequested" else {}
            system.put(event["detail-type"], {**event["detail"], **same}, source=event["source"])
        system.run()
        after = system.sync_record(sync_id)
        assert after["summary"] == before["summary"]
        assert (after["downloaded"], after["failed"], digests(system)) == (before["downloaded"], before["failed"], sums)
        assert len(system.events("SyncCompleted", sync_id)) == 1
        assert system.notifications() == []


@pytest.mark.scenario(1, 4)
@pytest.mark.parametrize("times", [2, 5])
def test_every_batch_handled_several_times_gives_one_summary(stage: Stage, times: int) -> None:
    with stage() as system:
        serve(system, *[video(n) for n in range(3)], video(9, gone=True))
        sync_id = system.put("SyncRequested", {})
        for _ in range(30):
            for name in system.template.services:
                system.deliver(name, times=times)
        system.run()
        (summary,) = {json.dumps(s, sort_keys=True) for s in system.events("SyncCompleted", sync_id)}
        assert (json.loads(summary)["downloaded"], json.loads(summary)["failed"]) == (3, 1)
        assert int(system.sync_record(sync_id)["version"]) < 60


class Killed(BaseException):
    """The function is gone: nothing catches this, as nothing survives a kill."""


@pytest.mark.scenario(3)
@pytest.mark.parametrize(("service", "fact"), [("downloader", "MediaDownloaded"), ("lister", "LibraryListed")])
def test_a_worker_that_is_killed_before_it_tells_its_result_tells_it_at_the_next_try(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, service: str, fact: str
) -> None:
    publish, kills = Bus.publish, [fact]

    def killed(bus: Bus, events: Iterable[Event], **more: Any) -> None:
        told = list(events)
        if kills and fact in [type(event).__name__ for event in told]:
            kills.pop()
            raise Killed
        publish(bus, told, **more)

    monkeypatch.setattr(Bus, "publish", killed)
    with stage() as system:
        serve(system, video(1))
        sync_id = system.put("SyncRequested", {})
        with pytest.raises(Killed):
            system.run()
        asked = len(system.cloud.observations.requests(endpoint="cdn"))
        system.come_back(service)
        system.run()
        assert len(system.events(fact, sync_id)) == 1
        (summary,) = system.events("SyncCompleted", sync_id)
        assert (summary["downloaded"], summary["failed"]) == (1, 0)
        assert digests(system) == sources(system, video(1))
        if service == "downloader":
            assert len(system.cloud.observations.requests(endpoint="cdn")) == asked, "nothing is downloaded again"


@pytest.mark.scenario(25)
def test_a_sync_by_hand_during_the_scheduled_one_stores_nothing_twice_and_both_close(stage: Stage) -> None:
    media = [video(n) for n in range(3)]
    due = {"provider": "gopro", "trigger": "scheduled", "scheduled_time": "2026-11-23T01:00:00Z"}
    with stage() as system:
        serve(system, *media)
        system.put("SyncRequested", due, source="cloud-sync.schedule")
        by_hand = system.put("SyncRequested", {})
        system.run("authenticator", "lister")
        system.run()
        for sync_id in ("scheduled-2026-11-23", by_hand):
            (summary,) = system.events("SyncCompleted", sync_id)
            assert (summary["outcome"], summary["discovered"], summary["downloaded"]) == ("completed", 3, 3)
        for medium in media:
            assert len(system.cloud.observations.requests(endpoint="cdn", media_id=medium.media_id)) == 1
        assert digests(system) == sources(system, *media)
        assert len(system.notifications()) == 2


@pytest.mark.scenario(37)
def test_a_library_that_is_suddenly_empty_is_a_warning_and_nothing_is_deleted(stage: Stage) -> None:
    with stage() as system:
        serve(system, *[video(n) for n in range(3)])
        system.sync()
        stored = system.objects()
        serve(system)
        (summary,) = system.events("SyncCompleted", system.sync())
        assert "suddenly empty" in summary["warnings"][0]
        assert "suddenly empty" in bodies(system.notifications())
        assert system.objects() == stored
        assert system.cloud.observations.requests(endpoint="change") == []


@pytest.mark.scenario(57)
def test_a_replay_of_the_archive_over_a_closed_sync_changes_nothing(stage: Stage) -> None:
    with stage() as system:
        serve(system, *[video(n) for n in range(3)], video(9, gone=True))
        sync_id = system.sync()
        before, sums, told = system.sync_record(sync_id), digests(system), len(system.published)
        system.notifications()
        system.cloud.observations.clear()
        for event in list(system.published):
            for service in system.template.services.values():
                if event["detail-type"] in service.rule["EventPattern"]["detail-type"]:
                    replayed = json.dumps({**event, "replay-name": "last week"})
                    url = system.physical[service.inbox.id]
                    system.client("sqs").send_message(QueueUrl=url, MessageBody=replayed)
        system.run()
        after = system.sync_record(sync_id)
        assert (after["state"], after["summary"]) == ("CLOSED", before["summary"])
        assert digests(system) == sums
        assert system.cloud.observations.requests(endpoint="cdn") == []
        assert system.notifications() == []
        assert {event["detail-type"] for event in system.published[told:]}.isdisjoint({"SyncCompleted", "SyncAmended"})
        assert len(system.events("SessionAuthenticated")) == 1, "a request of last week begins nothing"


@pytest.mark.scenario(32)
@pytest.mark.parametrize("library", [1, 200, 201, 1001])
def test_libraries_of_every_size_are_listed_to_the_last_medium(stage: Stage, library: int) -> None:
    with stage(MAX_MEDIA_PER_SYNC="3") as system:
        serve(system, series=(Series(count=library, size=100),))
        (summary,) = system.events("SyncCompleted", system.sync())
        ids = list(map(Series(count=library).media_id, range(library)))
        assert sorted(set(system.looked_up)) == sorted(ids), "whether the bucket has it was asked of each"
        assert sorted(fact["media_id"] for fact in system.events("MediaDiscovered")) == sorted(ids[:3])
        assert summary["listed"] == library
        assert summary["discovered"] == min(3, library)
        assert summary["deferred"] == max(0, library - 3)
        assert summary["warnings"] == []


def test_a_listing_in_slices_sees_everything(stage: Stage) -> None:
    with stage(PAGES_PER_SLICE="1", MAX_MEDIA_PER_SYNC="2") as system:
        serve(system, series=(Series(count=701, size=100),))
        sync_id = system.sync()
        assert len(system.events("LibraryListingPaused", sync_id)) >= 3
        assert system.events("LibraryListed", sync_id)[0]["listed"] == 701


def test_a_library_too_large_for_one_sync_takes_as_many_as_it_needs(stage: Stage) -> None:
    with stage(MAX_MEDIA_PER_SYNC="3") as system:
        serve(system, series=(Series(count=8, size=100),))
        downloaded = [system.events("SyncCompleted", system.sync())[0]["downloaded"] for _ in range(4)]
        assert downloaded == [3, 3, 2, 0]


@pytest.mark.scenario(24)
def test_the_schedule_and_its_catch_up_are_one_sync(stage: Stage) -> None:
    due = {"provider": "gopro", "trigger": "scheduled"}
    with stage() as system:
        serve(system, video(1))
        system.put("SyncRequested", {**due, "scheduled_time": "2027-03-28T00:59:00Z"}, source="cloud-sync.schedule")
        system.run()
        system.put("SyncRequested", {**due, "scheduled_time": "2027-03-28T02:15:00Z"}, source="cloud-sync.schedule")
        system.run()
        assert len(system.events("SyncCompleted", "scheduled-2027-03-28")) == 1
        assert len(system.events("SessionAuthenticated")) == 1
        assert len(system.notifications()) == 1


@pytest.mark.scenario(5)
def test_a_session_that_dies_in_the_middle_is_renewed_and_nothing_fails(stage: Stage) -> None:
    media = [video(n) for n in range(4)]
    with stage(LANE_WAIT_SECONDS="3") as system:
        serve(system, *media)
        system.cloud.configure_account(expires_in=4)  # a session may be replaced after half of its life
        sync_id = system.put("SyncRequested", {})
        for name in ("authenticator", "lister"):
            system.run(name)
        system.cloud.tokens.revoke_access()
        # One service runs at a time here, so a lane's patience ends before the authenticator's turn comes.
        system.run()
        (summary,) = system.events("SyncCompleted", sync_id)
        assert (summary["downloaded"], summary["failed"]) == (4, 0)


@pytest.mark.scenario(7)
def test_a_session_that_dies_for_good_while_the_library_is_listed_fails_the_sync(stage: Stage) -> None:
    no_password = {key: DEMO_CREDENTIALS[key] for key in ("client_id", "client_secret", "refresh_token")}
    with stage(credentials=no_password, LANE_WAIT_SECONDS="3") as system:
        serve(system, video(1))
        system.cloud.configure_account(expires_in=4)
        sync_id = system.put("SyncRequested", {})
        system.run("authenticator")
        system.cloud.tokens.revoke_access()
        system.cloud.tokens.blacklist_refresh()
        system.run()
        (summary,) = system.events("SyncFailed", sync_id)
        assert summary["closed_because"] == "auth_failed"
        assert "revoked" in summary["reason"]
        assert len(system.notifications()) == 1


def test_a_request_with_mistakes_is_answered_with_what_is_wrong(stage: Stage) -> None:
    with stage() as system:
        serve(system, video(1))
        for detail, wanted in (
            ({"provider": "dropbox"}, "dropbox"),
            ({"filters": {"types": ["Vidoe"]}}, "Vidoe"),
            ({"filters": {"type": ["Video"]}}, "unknown filter"),
            ({"filters": {"captured_from": "soon"}}, "captured_from"),
        ):
            (summary,) = system.events("SyncFailed", system.sync(**detail))
            assert wanted in summary["reason"]
        assert system.objects() == {}
        assert len(system.notifications()) == 4


def test_a_filtered_sync_takes_only_what_was_asked_for(stage: Stage) -> None:
    photo = Medium(media_id="p", shape=Shape.PHOTO, filename="GOPR0001.JPG", contents=(Generated(99, "p"),))
    with stage() as system:
        serve(system, video(1), photo)
        system.sync(filters={"types": ["Photo"]})
        assert digests(system) == sources(system, photo)


@pytest.mark.scenario(12)
def test_a_download_that_runs_out_of_time_goes_on_in_further_invocations(stage: Stage) -> None:
    long = video(1, contents=(Generated(11 * (1 << 20), "long"),), etag_part_bytes=5 * (1 << 20))

    with stage() as system:

        def parts() -> int:
            s3, bucket = system.client("s3"), system.output("MediaBucketName")
            uploads = s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
            listed = [s3.list_parts(Bucket=bucket, Key=u["Key"], UploadId=u["UploadId"]) for u in uploads]
            return sum(len(answer.get("Parts", [])) for answer in listed)

        class Short(Context):
            """Its last minute begins as soon as it has stored a part."""

            def __init__(self) -> None:
                super().__init__("downloader")
                self.before = parts()

            def get_remaining_time_in_millis(self) -> int:
                return 59_000 if parts() > self.before else 800_000

        serve(system, long)
        sync_id = system.put("SyncRequested", {})
        system.run("authenticator", "lister", "summarizer")
        system.contexts["downloader"] = Short
        system.run()
        assert len(system.events("MediaDownloadPaused", sync_id)) >= 1
        assert len(system.events("SyncCompleted", sync_id)) == 1
        assert digests(system) == sources(system, long)


@pytest.mark.scenario(46)
def test_an_unreadable_message_ends_among_the_dead_letters_and_others_flow(stage: Stage) -> None:
    with stage() as system:
        serve(system, video(1))
        for name in system.template.services:
            url = system.physical[system.template.services[name].inbox.id]
            system.client("sqs").send_message(QueueUrl=url, MessageBody="{not json")
        sync_id = system.sync()
        assert len(system.events("SyncCompleted", sync_id)) == 1
        for name in system.template.services:
            assert system.dead_letters(name) == ["{not json"]
