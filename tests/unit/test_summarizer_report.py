"""What people read of a sync."""

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from summarizer_stage import (
    BEGIN,
    DEAD_LETTERS,
    SYNC,
    WHERE,
    a_sync_of,
    discovered,
    downloaded,
    failed,
    listed,
    requested,
)
from test_summarizer_tally import after

from services.authenticator.credentials import fill
from services.authenticator.failures import NeedsOperator, failure
from services.shared.events import (
    AuthenticationFailed,
    Event,
    Failure,
    LibraryListingFailed,
    Summary,
    SyncAmended,
    SyncCompleted,
)
from services.summarizer.closing import close, closing_event, why_to_close
from services.summarizer.report import Notification, amendment_notification, closing_notification, full_report
from services.summarizer.sync import Medium

REVOKED = AuthenticationFailed(
    sync_id=SYNC, reason="the refresh token was revoked", remedy="Put a new refresh_token into the secret."
)


def summary_of(*facts: Event, seconds: int = 3725) -> Summary:
    table = after(facts)
    assert table.sync is not None
    now = BEGIN + timedelta(seconds=seconds)
    because = why_to_close(table.sync) or "deadline"
    return closing_event(close(table.sync, list(table.media.values()), because, now=now, deadline=timedelta(hours=12)))


def notification_of(*facts: Event) -> Notification:
    return closing_notification(summary_of(*facts), WHERE)


def check_subject(subject: str) -> None:
    assert re.fullmatch(r"[\x20-\x7e]{1,99}", subject)


def test_a_partial_failure_says_what_failed_why_and_what_to_do() -> None:
    notification = notification_of(
        requested(),
        *[discovered(f"m{n}") for n in range(12)],
        listed(12, listed=120, stored=108, pending=1, deferred=3, warnings=["the library shrank"]),
        *[downloaded(f"m{n}", bytes=250_000_000) for n in range(10)],
        failed("m10", "GoPro no longer has it (404)"),
        failed("m11", "kept ending early"),
    )
    assert notification.severity == "warning"
    assert notification.event == "SyncCompleted"
    assert notification.subject == f"Cloud Sync: 10 of 12 new media stored, 2 failed, 1 warning ({SYNC})"
    for needed in (
        SYNC,
        "1 h 2 min later",
        "120  media in the GoPro library",
        "10  stored now (2.5 GB)",
        "2  failed",
        "1  not ready at GoPro yet",
        "3  left for a later sync",
        "GXm10.MP4 (m10): GoPro no longer has it (404)",
        "GXm11.MP4 (m11): kept ending early",
        "the library shrank",
        f'aws sqs start-message-move-task --source-arn "$(aws sqs get-queue-attributes --queue-url {DEAD_LETTERS} ',
        f"s3://media/reports/{SYNC}.json",
    ):
        assert needed in notification.body


def test_nothing_new_is_told_shortly() -> None:
    notification = notification_of(requested(), listed(0, listed=40, stored=40))
    assert notification.severity == "info"
    assert notification.subject == f"Cloud Sync: no new media ({SYNC})"
    assert len(notification.body.splitlines()) < 15
    assert "redrive" not in notification.body
    assert "failed" not in notification.body


def test_all_stored_is_no_reason_to_get_up() -> None:
    notification = notification_of(*a_sync_of(2), downloaded("m0"), downloaded("m1", already_stored=True))
    assert notification.severity == "info"
    assert notification.subject == f"Cloud Sync: all 2 new media stored ({SYNC})"
    assert "1 by another sync meanwhile" in notification.body


def test_a_warning_is_one_even_if_nothing_failed() -> None:
    notification = notification_of(requested(), listed(0, warnings=["the library is suddenly empty", "and more"]))
    assert notification.severity == "warning"
    assert notification.subject == f"Cloud Sync: no new media, 2 warnings ({SYNC})"
    assert "the library is suddenly empty" in notification.body


def test_a_critical_failure_says_its_reason_and_the_remedy_first() -> None:
    notification = notification_of(requested(), REVOKED)
    assert notification.severity == "critical"
    assert notification.subject.startswith("Cloud Sync FAILED: no session with GoPro")
    for needed in ("the refresh token was revoked", "Put a new refresh_token", "send a new SyncRequested"):
        assert notification.body.count(needed) == 1
    assert "Media\n" not in notification.body  # of a library that was not listed nothing is known


def test_a_remedy_that_says_how_to_go_on_is_not_told_so_twice() -> None:
    remedy = "Fill the secret, then send a new SyncRequested."
    body = notification_of(requested(), replace(REVOKED, remedy=remedy)).body
    assert remedy in body
    assert body.count("send a new SyncRequested") == 1


@pytest.mark.parametrize(
    "facts", [(), (discovered("m0"), listed(1), failed("m0", "no session"))], ids=["critical", "partial"]
)
def test_each_command_of_a_remedy_stands_on_a_line_of_its_own_and_can_be_run_as_it_is(facts: Sequence[Event]) -> None:
    fact = failure(SYNC, NeedsOperator("the token died", remedy=fill("arn:aws:secretsmanager:eu:1:secret:c")))
    lines = [line.strip() for line in notification_of(requested(), fact, *facts).body.splitlines()]
    commands = [shlex.split(line) for line in lines if line.startswith("aws ")]
    fill_it, request = commands[0], commands[1]
    assert fill_it == [
        *("aws", "secretsmanager", "put-secret-value", "--secret-id", "arn:aws:secretsmanager:eu:1:secret:c"),
        *("--secret-string", "file://credentials.json"),
    ]
    assert request[:-1] == ["aws", "events", "put-events", "--entries"]
    (entry,) = json.loads(request[-1])
    assert entry == {
        "EventBusName": WHERE.bus,
        "Source": "cloud-sync.operator",
        "DetailType": "SyncRequested",
        "Detail": '{"provider": "gopro"}',
    }


def test_how_to_list_again_is_told_as_a_command() -> None:
    body = notification_of(requested(), LibraryListingFailed(sync_id=SYNC, reason="GoPro has trouble (503)")).body
    assert f'    aws events put-events --entries \'[{{"EventBusName": "{WHERE.bus}"' in body


def test_a_failed_sync_that_had_begun_to_download_says_how_far_it_came() -> None:
    notification = notification_of(requested(), discovered("m0"), downloaded("m0"))
    assert notification.severity == "critical"
    assert "1  stored now (10 bytes)" in notification.body
    assert "media in the GoPro library" not in notification.body


def test_a_session_that_failed_half_way_is_told_with_its_remedy() -> None:
    body = notification_of(*a_sync_of(2), downloaded("m0"), REVOKED).body
    assert "GXm1.MP4 (m1): the refresh token was revoked" in body
    assert "Put a new refresh_token" in body


def test_what_has_no_result_is_named_too() -> None:
    notification = notification_of(*a_sync_of(2), downloaded("m0"))
    assert notification.subject.startswith("Cloud Sync: 1 of 2 new media stored, 1 without a result")
    assert "12 hours" in notification.body
    assert "What is still under way goes on" in notification.body
    assert "GXm1.MP4 (m1): no result had come" in notification.body


names = st.text(st.characters(), max_size=300)


@given(names, names, st.lists(names, max_size=3), st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", fullmatch=True))
def test_no_name_breaks_a_subject_or_a_line(name: str, reason: str, warnings: list[str], sync_id: str) -> None:
    summary = replace(
        summary_of(*a_sync_of(1), failed("m0")),
        sync_id=sync_id,
        failures=(Failure(media_id=name, filename=name, reason=reason),),
        warnings=tuple(warnings),
        reason=reason,
        trigger=name,
    )
    plain = replace(summary, failures=(Failure(media_id="i", filename="f", reason="r"),), trigger="t")
    plain = replace(plain, warnings=("w",) * len(warnings), reason="r" if reason else "")
    notification = closing_notification(summary, WHERE)
    check_subject(notification.subject)
    assert len(notification.body.splitlines()) == len(closing_notification(plain, WHERE).body.splitlines())
    assert not set(notification.body) & set("\r\x00\x1b\u202e\u2028")
    notification.body.encode()


def test_the_largest_summary_fits_into_a_notification() -> None:
    long = "\N{ROCKET}" * 1000
    summary = replace(
        summary_of(*a_sync_of(1), failed("m0")),
        failures=tuple(Failure(media_id=long, filename=long, reason=long) for _ in range(100)),
        failures_total=2500,
        warnings=(long,) * 20,
        reason=long,
        remedy=long,
    )
    notification = closing_notification(summary, WHERE)
    assert len(notification.body.encode()) < 250_000
    check_subject(notification.subject)


def test_beyond_a_hundred_failures_the_rest_is_counted() -> None:
    facts = [
        requested(),
        *[discovered(f"m{n}") for n in range(130)],
        listed(130),
        *[failed(f"m{n}") for n in range(130)],
    ]
    body = notification_of(*facts).body
    assert "Not stored: 130" in body
    assert "and 30 more, see the report" in body


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


def test_an_amendment_says_what_came_in() -> None:
    media = {"m0": Medium(media_id="m0", state="DOWNLOADED", filename="a.mp4")}
    notification = amendment_notification([(amended(1, ["m0"], []), media)], WHERE)
    assert (notification.severity, notification.event, notification.sync_id) == ("info", "SyncAmended", SYNC)
    assert notification.subject == f"Cloud Sync: after the close, 1 stored ({SYNC})"
    assert "a.mp4 (m0)" in notification.body
    assert "start-message-move-task" not in notification.body


def test_amendments_of_several_syncs_are_one_notification() -> None:
    media = {"m1": Medium(media_id="m1", state="FAILED", filename="b.mp4", reason="gone")}
    notification = amendment_notification(
        [(amended(1, ["m0"], []), {}), (amended(4, [], ["m1"], "other"), media)], WHERE
    )
    assert notification.severity == "warning"
    assert notification.sync_id == f"{SYNC},other"
    assert notification.summary_id == f"summary of {SYNC},summary of other"
    assert notification.number == "1,4"
    assert notification.subject == "Cloud Sync: after the close, 1 stored and 1 failed (2 syncs)"
    for needed in (f"Sync {SYNC}, amendment 1", "Sync other, amendment 4", "(name unknown) (m0)", "b.mp4 (m1): gone"):
        assert needed in notification.body


def test_the_report_holds_every_medium() -> None:
    table = after(a_sync_of(300), [failed(f"m{n}", "gone") for n in range(300)])
    assert table.sync is not None
    closed = close(table.sync, list(table.media.values()), "complete", now=BEGIN, deadline=timedelta(hours=12))
    event = closing_event(closed)
    late = Medium(media_id="z", state="DOWNLOADED", filename="z", late=9)
    report = json.loads(full_report(event, closed, [*table.media.values(), late]))
    assert isinstance(event, SyncCompleted)
    assert (report["sync_id"], report["event"], report["summary"]) == (
        SYNC,
        "SyncCompleted",
        json.loads(json.dumps(closed.summary)),
    )
    assert len(report["media"]) == 301
    assert [m["media_id"] for m in report["media"] if m["after_close"]] == ["z"]


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (2_500_000, "2.5 MB"), (4 * 10**15, "4000.00 TB")],
)
def test_sizes_read_easily(count: int, words: str) -> None:
    assert f"stored now ({words})" in notification_of(*a_sync_of(1), downloaded("m0", bytes=count)).body
