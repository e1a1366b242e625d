"""AWS on a bad day: deployed functions whose calls of one AWS service go through Microburst."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from ops.local.gopro_cloud import Medium
from ops.local.gopro_cloud.faults import Throttle
from services.downloader.transfer.parts import SMALLEST_SEGMENT
from tests.e2e.fault_proxy import FaultProxy, Rule, refusing_entries
from tests.e2e.media import MIB, assert_stored, bytes_fetched, serve, video
from tests.e2e.stage import Stage, eventually

PART = 5 * MIB


@pytest.fixture(scope="module")
def running_proxy(running_stage: Stage) -> Iterator[FaultProxy]:
    proxy = FaultProxy(running_stage.record.endpoint_url)
    try:
        yield proxy
    finally:
        proxy.end()


@pytest.fixture
def proxy(running_proxy: FaultProxy, stage: Stage) -> FaultProxy:
    running_proxy.clear()
    return running_proxy


@contextmanager
def calls_through(proxy: FaultProxy, stage: Stage, *rules: Rule, **services: str | tuple[str, ...]) -> Iterator[None]:
    """Under these rules. `services`: which AWS services, as botocore names them, a service of ours calls through it."""
    proxy.inject(*rules)
    with ExitStack() as entered:
        for service, called in services.items():
            names = (called,) if isinstance(called, str) else called
            entered.enter_context(
                stage.environment(
                    service, RETRY_BASE_SECONDS="0.5", **{f"AWS_ENDPOINT_URL_{name}": proxy.url for name in names}
                )
            )
        yield
        # The change of their environment would kill those that still work.
        eventually(lambda: not any(stage.inbox(service)["in_flight"] for service in services), "idle services")


def parts_passed(proxy: FaultProxy) -> list[int]:
    return [int(one.query["partNumber"]) for one in proxy.passed() if one.method == "PUT" and "partNumber" in one.query]


def entries_of(body: bytes) -> list[tuple[str, str]]:
    """Type and id of each event of a PutEvents."""
    found = json.loads(body)["Entries"]
    return [(one["DetailType"], json.loads(one["Detail"])["metadata"]["event_id"]) for one in found]


def event_ids(stage: Stage, detail_type: str, sync_id: str) -> Counter[str]:
    """How often each event of this type went over the bus."""
    return Counter(one["detail"]["metadata"]["event_id"] for one in stage.events(detail_type, sync_id))


@pytest.mark.scenario(10)
def test_a_part_whose_connection_to_s3_is_cut_is_sent_again_and_no_other(stage: Stage, proxy: FaultProxy) -> None:
    long = video(1, size=4 * PART)
    cut = {
        "service": "s3",
        "operation": "UploadPart",
        "times": 2,
        "request": {"cut_upload": {"after_frac": 0.5}},
    }
    serve(stage, long)
    with calls_through(proxy, stage, cut, downloader="S3"):
        summary = stage.summary(stage.trigger())
    assert (summary["downloaded"], summary["failed"]) == (1, 0)
    assert len(proxy.hits("UploadPart", "request:cut_upload")) == 2
    assert sorted(parts_passed(proxy)) == [1, 2, 3, 4, 5], "each arrived, and none twice"
    assert bytes_fetched(stage, long) == long.contents[0].size, "a part is sent again from memory, not fetched again"
    assert_stored(stage, long)
    assert stage.uploads() == []


@pytest.mark.scenario(16)
def test_entries_that_eventbridge_refused_are_sent_again_and_no_others(stage: Stage, proxy: FaultProxy) -> None:
    media = [video(n) for n in range(10)]
    partly = {"service": "events", "operation": "PutEvents", "times": 2, **refusing_entries(every=3)}
    serve(stage, *media)
    with calls_through(proxy, stage, partly, lister="EVENTBRIDGE"):
        sync_id = stage.trigger()
        summary = stage.summary(sync_id)
    assert (summary["discovered"], summary["downloaded"], summary["failed"]) == (10, 10, 0)
    assert len(proxy.hits("PutEvents")) == 2
    first, second, third, last = [entries_of(one.body) for one in proxy.passed()]
    assert [kind for kind, _ in first] == ["MediaDiscovered"] * 10
    assert second == first[::3], "what was refused"
    assert third == second[::3], "what of that was refused again"
    assert [kind for kind, _ in last] == ["LibraryListed"]
    assert event_ids(stage, "MediaDiscovered", sync_id) == {event_id: 1 for _, event_id in first}
    assert_stored(stage, *media)
    assert stage.all_dead_letters() == []


@pytest.mark.scenario(17)
def test_events_whose_answer_is_lost_are_sent_twice_under_one_id_and_count_once(
    stage: Stage, proxy: FaultProxy
) -> None:
    media = [video(n) for n in range(3)]
    kinds = ("MediaDiscovered", "LibraryListed", "MediaDownloaded", "SyncCompleted")
    lost = [
        {
            "service": "events",
            "operation": "PutEvents",
            "body": f"contains(Entries[].DetailType, '{detail_type}')",
            "times": 1,
            "response": {"abort_bytes": 0},  # once AWS has answered
        }
        for detail_type in kinds
    ]
    serve(stage, *media)
    with calls_through(proxy, stage, *lost, lister="EVENTBRIDGE", downloader="EVENTBRIDGE", summarizer="EVENTBRIDGE"):
        sync_id = stage.trigger()
        summary = stage.summary(sync_id)
        stage.wait_for_close(sync_id)
        # The second MediaDiscovered of a medium waits for the lease that the first one took.
        stage.purge("downloader")
    assert len(proxy.hits("PutEvents", "response:abort")) == len(kinds)
    for detail_type, number in zip(kinds, (3, 1, 3, 1), strict=True):
        went = event_ids(stage, detail_type, sync_id)
        assert len(went) == number, "what is sent again has the id that it had"
        assert max(went.values()) >= 2, "and it was sent again"
    assert [summary[name] for name in ("discovered", "downloaded", "failed")] == [3, 3, 0]
    assert summary["bytes"] == sum(medium.contents[0].size for medium in media)
    assert_stored(stage, *media)
    assert len(stage.versions()) == 3
    assert len(stage.notifications(sync_id)) == 1
    assert stage.all_dead_letters() == []


@pytest.mark.scenario(28)
def test_a_notification_that_sns_denied_is_sent_once_it_takes_it(stage: Stage, proxy: FaultProxy) -> None:
    publish = {"service": "sns", "operation": "Publish"}
    denies = {**publish, "error": {"code": "AuthorizationError", "status": 403}}
    is_down = {**publish, "error": {"code": "ServiceUnavailable", "status": 503}, "times": 2}
    serve(stage, video(1))
    with calls_through(proxy, stage, denies, summarizer="SNS"):
        sync_id = stage.trigger()
        summary = stage.summary(sync_id)
        eventually(lambda: len(proxy.hits("Publish", "error:AuthorizationError")) >= 2, "a second try")
        assert stage.notifications() == []
        view = stage.look(sync_id)
        assert view.is_closed
        announcement = (view.sync or {})["announcement"]
        assert announcement["event_sent"]
        assert not announcement["notified"]
        proxy.inject(is_down)
        notification = stage.wait_for_notification(sync_id)
        stage.wait_for_close(sync_id)
    assert len(proxy.hits("Publish", "error:ServiceUnavailable")) == 2
    # At least once: an answer of SNS that comes too late for its caller is a second notification of the same number.
    of_the_summary = {"summary_id": summary["summary_id"], "number": "0"}
    for one in (notification, *stage.notifications()):
        assert of_the_summary.items() <= {k: v["Value"] for k, v in one["MessageAttributes"].items()}.items()
    assert len(stage.events("SyncCompleted", sync_id)) == 1
    assert_stored(stage, video(1))
    assert stage.all_dead_letters() == []


def completion_of(medium: Medium) -> Rule:
    """A rule about the completion of a medium's upload, the first one only. Tells media apart by their sizes."""
    size = {"x-amz-mp-object-size": str(medium.contents[0].size)}
    return {"service": "s3", "operation": "CompleteMultipartUpload", "headers": size, "times": 1}


@pytest.mark.scenario(44)
def test_whatever_s3_answers_to_a_completion_the_right_object_is_stored_once(stage: Stage, proxy: FaultProxy) -> None:
    occupied, conflict, gone, failed = media = [video(n, size=PART + n * MIB) for n in range(4)]
    rules = [
        # 412 and NoSuchUpload are what follows an answer that was lost: the object is there.
        {**completion_of(occupied), "response": {"abort_bytes": 0}},
        {**completion_of(occupied), "error": {"code": "PreconditionFailed", "status": 412}},
        {**completion_of(gone), "response": {"abort_bytes": 0}},
        {**completion_of(gone), "error": {"code": "NoSuchUpload", "status": 404}},
        {**completion_of(conflict), "error": {"code": "ConditionalRequestConflict", "status": 409}},
        {**completion_of(failed), "error": {"code": "InternalError", "status": 200}},
    ]
    serve(stage, *media)
    with calls_through(proxy, stage, *rules, downloader="S3"):
        summary = stage.summary(stage.trigger())
    assert len(proxy.hits("CompleteMultipartUpload")) == len(rules)
    assert (summary["downloaded"], summary["failed"]) == (4, 0)
    assert_stored(stage, *media)
    assert len(stage.versions()) == 4
    assert stage.uploads() == []
    assert bytes_fetched(stage, failed) == failed.contents[0].size
    for medium in (occupied, gone):
        # To know which version to look for, the first bytes are asked for again.
        assert bytes_fetched(stage, medium) == medium.contents[0].size + SMALLEST_SEGMENT
    assert bytes_fetched(stage, conflict) == 2 * conflict.contents[0].size, "S3 wanted it anew"
    assert len(stage.control.requests("download", conflict.media_id)) == 1, "within the same try"


@pytest.mark.scenario(45)
def test_throttles_and_collisions_lose_no_count(stage: Stage, proxy: FaultProxy) -> None:
    media = [video(n, size=PART + n) for n in range(8)]
    collision = {"CancellationReasons": [{"Code": "TransactionConflict"}, {"Code": "None"}]}
    rules: list[Rule] = [
        {"service": service, "operation": operation, "error": error, "times": 3, "sequence": {"fail": 1, "pass": 1}}
        for service, operation, error in (
            ("s3", "UploadPart", {"code": "SlowDown", "status": 503}),
            ("dynamodb", "UpdateItem", {"code": "ProvisionedThroughputExceededException"}),
            ("dynamodb", "TransactWriteItems", {"code": "TransactionCanceledException", "fields": collision}),
        )
    ]
    serve(stage, *media)
    everything = {"lister": ("S3", "DYNAMODB"), "downloader": ("S3", "DYNAMODB"), "summarizer": ("S3", "DYNAMODB")}
    with calls_through(proxy, stage, *rules, **everything):
        sync_id = stage.trigger()
        summary = stage.summary(sync_id)
        view = stage.wait_for_close(sync_id)
    assert [len(proxy.hits(rule["operation"])) for rule in rules] == [3, 3, 3]
    assert [summary[name] for name in ("listed", "discovered", "downloaded", "failed")] == [8, 8, 8, 0]
    sync = view.sync or {}
    assert [sync[name] for name in ("discovered", "downloaded", "failed")] == [8, 8, 0]
    assert sync["bytes"] == sum(medium.contents[0].size for medium in media)
    assert_stored(stage, *media)
    assert stage.uploads() == []
    assert {record["status"] for record in stage.library().values()} == {"STORED"}
    assert stage.all_dead_letters() == []
    assert len(stage.notifications()) == 1


@pytest.mark.scenario(2, 11)
def test_killed_downloaders_are_taken_over_and_nothing_is_fetched_twice(stage: Stage, proxy: FaultProxy) -> None:
    """One is killed in mid-file, the other while it waits for S3's answer to the completion: S3 has completed it."""
    completed = video(1, size=3 * PART)
    half = video(2, Throttle(bytes_per_second=MIB, times=None), size=8 * PART)
    stall = {**completion_of(completed), "response": {"bandwidth_kbps": 0.001}}
    serve(stage, completed, half)
    with calls_through(proxy, stage, stall, downloader="S3"):
        sync_id = stage.trigger()

        def parts_kept() -> int:
            uploads = [one for one in stage.uploads() if half.media_id in one["Key"]]
            return stage.parts_of(uploads[0]) if uploads else 0

        def both_at_their_point() -> bool:
            return parts_kept() >= 2 and bool(stage.objects_of(completed.media_id))

        eventually(both_at_their_point, "two parts of one, and the other completed")
        assert proxy.hits("CompleteMultipartUpload", "response:")
        assert stage.library()[completed.media_id, 1]["status"] == "UPLOADING", "it doesn't know yet"
        assert stage.kill_workers("downloader") >= 2
        killed, kept, sent = time.time(), parts_kept(), bytes_fetched(stage, half)
        stage.control.disarm(half.media_id)  # their messages and leases come back within two minutes
        summary = stage.summary(sync_id)
    assert (summary["downloaded"], summary["failed"]) == (2, 0)
    assert_stored(stage, completed, half)
    assert len(stage.versions()) == 2
    assert stage.library()[completed.media_id, 1]["status"] == "STORED"
    assert bytes_fetched(stage, completed) == completed.contents[0].size + SMALLEST_SEGMENT, "no second download"
    # The first bytes are asked for again, for the version; then what S3 didn't have.
    size = half.contents[0].size
    assert 2 * PART <= kept * PART <= sent < size, "it was killed in mid-file"
    assert 0 < bytes_fetched(stage, half, since=killed) <= size - kept * PART + SMALLEST_SEGMENT
    assert stage.uploads() == []
