"""The tally, as a computation: one result, whatever the order, the repetitions and the batches."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.shared.clock import iso
from services.shared.events import (
    AuthenticationFailed,
    Event,
    FailedFile,
    Filters,
    LibraryListingFailed,
    MediaDownloaded,
    MediaDownloadFailed,
    MediaDownloadSkipped,
    NotReadyMedium,
    SessionAuthenticated,
    SessionRejected,
    Slice,
    StoredFile,
)
from services.summarizer.records import ClosedSync, Medium, SessionSeen, Sync
from services.summarizer.tally import media_ids
from tests.unit.summarizer_facts import (
    BEGIN,
    NOT_LISTED,
    NOW,
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


def named_after_its_type(fact: object) -> str:
    return type(fact).__name__


@st.composite
def facts_of_a_sync(draw: st.DrawFn, *, problems: bool = True) -> list[Event]:
    """The facts of a whole sync in some order, each up to five times."""
    ids = [f"m{n}" for n in range(draw(st.integers(0, 6)))]
    times = st.integers(0, 300).map(at)
    facts: list[Event] = [listed(len(ids), occurred_at=draw(times), warnings=("shrank",))]
    if draw(st.booleans()):
        facts.append(requested(occurred_at=draw(times)))
    for media_id in ids:
        if draw(st.integers(0, 9)):
            facts.append(discovered(media_id, occurred_at=draw(times)))
        for epoch in draw(st.lists(st.integers(1, 3), max_size=2)):
            reason = draw(st.sampled_from(["gone", "refused", ""]))
            more = {"known_since": draw(st.sampled_from(["", "2026-11-02"])), "dead_letter": draw(st.booleans())}
            facts.append(failed(media_id, reason, epoch=epoch, occurred_at=draw(times), **more))
        for epoch in draw(st.lists(st.integers(1, 3), max_size=2)):
            more = {"seconds": draw(st.sampled_from([0.0, 1.5])), "already_stored": draw(st.booleans())}
            facts.append(downloaded(media_id, epoch=epoch, occurred_at=draw(times), **more))
    facts += [rejected(version, draw(st.integers(60, 90))) for version in draw(st.lists(st.integers(1, 2), max_size=2))]
    facts += [
        given_session(version, draw(st.integers(0, 9))) for version in draw(st.lists(st.integers(1, 2), max_size=2))
    ]
    if problems:
        versions = draw(st.lists(st.integers(1, 3), max_size=2))
        facts += [replace(REVOKED, session_version=version, occurred_at=draw(times)) for version in versions]
        if draw(st.booleans()):
            facts.append(replace(NOT_LISTED, occurred_at=draw(times)))
    if draw(st.booleans()):
        facts += [cancelled(draw(st.integers(0, 300))), *[skipped(media_id) for media_id in ids if draw(st.booleans())]]
    repeated = [fact for fact in facts for _ in range(draw(st.integers(1, 5)))]
    return draw(st.permutations(repeated))


def split(facts: Sequence[Event], seed: int) -> Iterator[Sequence[Event]]:
    chance, left = random.Random(seed), list(facts)
    while left:
        size = chance.randint(1, len(left))
        yield left[:size]
        left = left[size:]


@pytest.mark.scenario(1)
@given(facts_of_a_sync(), st.randoms(use_true_random=False), st.integers(0, 99))
def test_order_repetition_and_batches_make_no_difference(facts: list[Event], chance: random.Random, seed: int) -> None:
    other = list(facts)
    chance.shuffle(other)
    one, two = Known(facts), Known(*split(other, seed))
    assert (replace(one.sync, version=0), one.media) == (replace(two.sync, version=0), two.media)


@pytest.mark.scenario(1)
@given(facts_of_a_sync())
def test_repeated_facts_change_nothing(facts: list[Event]) -> None:
    known = Known(facts)
    assert all(known.take([fact]) is None for fact in facts)


@given(facts_of_a_sync(), st.integers(0, 99))
def test_the_counters_are_those_of_the_set_of_facts(facts: list[Event], seed: int) -> None:
    known = Known()
    for batch in split(facts, seed):
        known.take(batch)
        known.close_if_over()
    results = [fact for fact in facts if isinstance(fact, MediaDownloaded)]
    stored = {fact.media_id for fact in results}
    own = {fact.media_id for fact in results if not fact.already_stored}
    refused = {fact.media_id for fact in facts if isinstance(fact, MediaDownloadFailed)}
    assert known.sync.discovered == len(set(media_ids(facts)))
    assert known.sync.downloaded == len(stored)
    assert known.sync.failed == len(refused - stored)
    left = {fact.media_id for fact in facts if isinstance(fact, MediaDownloadSkipped)}
    assert known.sync.skipped == len(left - refused - stored)
    assert known.sync.known_losses == sum(bool(medium.known_since) for medium in known.media.values())
    assert known.sync.already_stored == len(stored - own)
    assert known.sync.bytes == 10 * len(own)


@given(facts_of_a_sync(), st.integers(0, 99))
def test_a_sync_closes_at_most_once_and_its_summary_never_changes(facts: list[Event], seed: int) -> None:
    known, summaries = Known(), []
    for batch in split(facts, seed):
        known.take(batch)
        known.close_if_over()
        summaries += [known.sync.summary] if isinstance(known.sync, ClosedSync) else []
    assert known.closes <= 1
    assert all(summary == summaries[0] for summary in summaries)


@pytest.mark.scenario(18)
@given(facts_of_a_sync(problems=False), st.integers(0, 99))
def test_a_sync_is_complete_when_every_discovered_medium_has_a_result_and_not_before(
    facts: list[Event], seed: int
) -> None:
    known = Known()
    for batch in split(facts, seed):
        known.take(batch)
        known.close_if_over()
    assert known.closes == (known.sync.settled_media == known.sync.expected)
    if isinstance(known.sync, ClosedSync):
        summary = known.sync.summary
        assert summary["downloaded"] + summary["failed"] + summary["skipped"] == summary["discovered"]
        assert summary["outstanding"] == 0


def test_a_downloaded_medium_stays_downloaded_whatever_fails_later() -> None:
    known = Known([discovered("m0")], [downloaded("m0")], [failed("m0", epoch=9)])
    assert (known.media["m0"].state, known.media["m0"].reason) == ("DOWNLOADED", "")
    assert (known.sync.downloaded, known.sync.failed) == (1, 0)


def test_a_failed_medium_that_is_downloaded_after_all_counts_once() -> None:
    known = Known([failed("m0")], [downloaded("m0", epoch=2)])
    assert (known.sync.discovered, known.sync.downloaded, known.sync.failed, known.sync.bytes) == (1, 1, 0, 10)
    assert known.media["m0"].reason == ""


def test_a_medium_that_another_sync_stored_is_downloaded_and_adds_no_bytes() -> None:
    sync = Known([downloaded("m0", already_stored=True)]).sync
    assert (sync.downloaded, sync.already_stored, sync.bytes) == (1, 1, 0)


def test_a_result_that_arrives_before_its_discovery_gets_its_name_later() -> None:
    medium = Known([failed("m0", "gone")], [discovered("m0", filename="a.mp4", size=7, item_count=3)]).media["m0"]
    assert (medium.state, medium.reason) == ("FAILED", "gone")
    assert (medium.filename, medium.size, medium.item_count) == ("a.mp4", 7, 3)


@pytest.mark.parametrize(
    "first",
    [
        requested(),
        requested(refused="unknown filter: colour"),
        discovered("m0"),
        listed(3),
        downloaded("m0"),
        failed("m0"),
        replace(REVOKED, occurred_at=at(5)),
        replace(NOT_LISTED, occurred_at=at(5)),
        skipped("m0"),
        cancelled(),
    ],
    ids=named_after_its_type,
)
def test_any_fact_may_be_the_first_of_its_sync(first: Event) -> None:
    sync = Known([first]).sync
    assert sync.requested_at == first.occurred_at
    assert sync.is_open
    assert sync.unsettled


def test_the_request_dates_a_sync_even_if_it_arrives_last() -> None:
    sync = Known([discovered("m0", occurred_at=at(20))], [requested(occurred_at=at(0))]).sync
    assert (sync.requested_at, sync.trigger) == (at(0), "scheduled")


def test_the_catch_up_changes_nothing_of_a_known_sync() -> None:
    assert Known([requested()]).take([requested(occurred_at=iso(BEGIN + timedelta(hours=2, minutes=15)))]) is None


@pytest.mark.parametrize(("sent", "kept"), [("", "manual"), ("by hand", "by hand"), ("x" * 50, "x" * 40)])
def test_a_trigger_is_the_requests_own_cut_short(sent: str, kept: str) -> None:
    assert Known([requested(trigger=sent)]).sync.trigger == kept


@pytest.mark.scenario(54)
@pytest.mark.parametrize("nonsense", ["", "yesterday", "2026-11-23T01:00:00", "2099-01-01T00:00:00Z"])
def test_an_unreadable_or_future_time_counts_as_now(nonsense: str) -> None:
    assert Known([discovered("m0", occurred_at=nonsense)]).sync.requested_at == iso(NOW)


def test_the_expected_number_never_changes_once_it_is_known() -> None:
    assert Known([listed(3)], [listed(5)]).sync.expected == 3


def test_a_sync_keeps_the_counts_and_warnings_of_its_listing() -> None:
    sync = Known([listed(3, listed=19, stored=8, pending=2, deferred=6, warnings=("shrank", "short"))]).sync
    assert (sync.expected, sync.listed, sync.stored, sync.pending, sync.deferred) == (3, 19, 8, 2, 6)
    assert sync.warnings == ("shrank", "short")


def test_a_result_has_its_lease_and_its_size_and_duration_or_reason() -> None:
    media = Known([downloaded("m0", epoch=3, seconds=1.23456), failed("m1", "", epoch=2)]).media
    stored = Medium(media_id="m0", state="DOWNLOADED", epoch=3, bytes=10, seconds=1.235, ended_at=at(60))
    lost = Medium(media_id="m1", state="FAILED", epoch=2, reason="unknown", attempts=4, ended_at=at(60))
    assert (media["m0"], media["m1"]) == (stored, lost)


def test_a_failure_has_what_is_stored_what_is_missing_and_what_can_be_done() -> None:
    files = tuple(FailedFile(name="n" * 500, reason="r" * 500) for _ in range(100))
    more = {"files_stored": 11, "files_total": 111, "failed_files": files, "dead_letter": True}
    known = Known([discovered("m0", item_count=7)], [failed("m0", "no answer", known_since="2026-11-02" * 9, **more)])
    medium = known.media["m0"]
    assert medium.known_since == ("2026-11-02" * 9)[:40]
    assert (medium.files_stored, medium.files_total, medium.dead_letter) == (11, 111, True)
    assert medium.failed_files == (FailedFile(name="n" * 100, reason="r" * 100),) * 20
    known.take([downloaded("m0", epoch=2, looked_again=True, warning="w" * 500)])
    stored = Medium(media_id="m0", state="DOWNLOADED", epoch=2, bytes=10, seconds=1.5, looked_again=True)
    stored = replace(stored, listed=True, filename="GXm0.MP4", size=10, item_count=7, ended_at=at(60))
    assert known.media["m0"] == replace(stored, warning="w" * 300)


def test_a_known_loss_is_counted_until_it_is_stored_after_all() -> None:
    known = Known([failed("m0", known_since="2026-11-02"), failed("m1")])
    assert (known.sync.failed, known.sync.known_losses, known.media["m0"].known_since) == (2, 1, "2026-11-02")
    known.take([downloaded("m0", epoch=2)])
    assert (known.sync.failed, known.sync.known_losses) == (1, 0)


def test_what_an_operator_can_cure_is_no_known_loss() -> None:
    known = Known([failed("m0", known_since="2026-11-02", remedy="Allow the host." + "x" * 5000)])
    assert known.sync.known_losses == 0
    assert known.media["m0"].remedy == ("Allow the host." + "x" * 5000)[:1000]


def test_a_sync_keeps_what_its_listing_could_not_read_and_what_is_not_ready() -> None:
    long = NotReadyMedium(media_id="i" * 500, filename="f" * 500, state="s" * 500, since="t" * 500)
    filters = Filters(types=("v" * 500,) * 500, captured_from="2026-08-01", captured_until="2026-08-14")
    walk: dict[str, Any] = {"walk": "newest", "full_walk_at": "2026-11-20T01:00:09Z"}
    more = {"looked_again": 1, "unreadable": 2, "unseen": 3, "library_media": 19, **walk}
    fact = listed(3, not_ready=(long,) * 500, known_warnings=("w" * 500,) * 500, filters=filters, **more)
    sync = Known([fact]).sync
    assert (sync.looked_again, sync.unreadable, sync.unseen, sync.library_media) == (1, 2, 3, 19)
    assert (sync.walk, sync.full_walk_at) == ("newest", "2026-11-20T01:00:09Z")
    short = NotReadyMedium(media_id="i" * 200, filename="f" * 200, state="s" * 40, since="t" * 40)
    assert sync.not_ready == (short,) * 50
    assert sync.known_warnings == ("w" * 300,) * 20
    assert sync.filters == replace(filters, types=("v" * 40,) * 20)


def session_failed(version: int, reason: str, remedy: str) -> AuthenticationFailed:
    return AuthenticationFailed(sync_id=SYNC, reason=reason, remedy=remedy, session_version=version, occurred_at=at(5))


@pytest.mark.parametrize("order", [1, -1])
def test_a_request_that_was_refused_stays_refused(order: int) -> None:
    facts = [replace(REVOKED, request_refused=refused) for refused in (True, False)]

    assert Known(*[[fact] for fact in facts[::order]]).sync.request_refused
    assert not Known([REVOKED]).sync.request_refused


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_failures_of_one_kind_the_same_stands_in_either_order(order: int) -> None:
    def after(*facts: Event) -> tuple[Sync, dict[str, Medium]]:
        known = Known(*[[fact] for fact in facts[::order]])
        return known.sync, known.media

    _, media = after(failed("m0", "try 1", epoch=1), failed("m0", "try 2", epoch=2))
    assert (media["m0"].epoch, media["m0"].reason) == (2, "try 2")
    sync, _ = after(session_failed(1, "z" * 5000, "wait"), session_failed(2, "a" * 5000, "b" * 5000))
    assert (sync.session_version, sync.session_problem, sync.session_remedy) == (2, "a" * 1000, "b" * 1000)
    sync, _ = after(replace(NOT_LISTED, reason="ab"), replace(NOT_LISTED, reason="b" * 5000))
    assert sync.listing_problem == "b" * 1000


@pytest.mark.parametrize("order", [1, -1])
def test_a_request_that_was_refused_once_stays_refused(order: int) -> None:
    facts = [replace(REVOKED, request_refused=True), replace(REVOKED, session_version=1)][::order]
    assert Known(*[[fact] for fact in facts]).sync.request_refused is True
    assert Known([REVOKED]).sync.request_refused is False


def test_a_failure_without_a_reason_gets_one() -> None:
    sync = Known([session_failed(0, "", ""), LibraryListingFailed(sync_id=SYNC, reason="")]).sync
    assert (sync.session_problem, sync.listing_problem) == ("unknown", "unknown")


def test_a_medium_keeps_the_name_under_which_it_was_discovered() -> None:
    known = Known([discovered("m0", filename="a.mp4")], [discovered("m0", filename="b.mp4")])
    assert known.media["m0"].filename == "a.mp4"


def test_texts_from_elsewhere_are_cut_and_made_encodable() -> None:
    warnings = tuple("w" * 5000 for _ in range(500))
    name = "\ud800" + "x" * 5000
    known = Known([discovered("m0", filename=name), failed("m0", "y" * 5000), listed(1, warnings=warnings)])
    texts = [known.media["m0"].filename, known.media["m0"].reason, *known.sync.warnings]
    assert sum(len(text.encode()) for text in texts) < 10_000


@pytest.mark.parametrize("seconds", [float("nan"), float("inf")])
def test_a_duration_that_is_no_number_is_left_out(seconds: float) -> None:
    assert Known([downloaded("m0", seconds=seconds)]).media["m0"].seconds == 0


@pytest.fixture
def closed() -> Known:
    known = Known(a_sync_of(2), [downloaded("m0"), failed("m1")])
    known.close_if_over()
    return known


def test_a_late_result_is_tallied_and_marked_late(closed: Known) -> None:
    assert closed.take([downloaded("m1", epoch=2)])
    assert closed.media["m1"].late == closed.sync.version == closed.sync.late
    assert (closed.sync.downloaded, closed.sync.failed) == (2, 0)
    assert closed.sync.has_late_results
    assert not closed.sync.is_open
    assert closed.take([downloaded("m1", epoch=2)]) is None


def test_the_first_wish_to_cancel_stands() -> None:
    assert Known([cancelled(50)], [cancelled(40)], [cancelled(60)]).sync.cancel_requested_at == at(40)


def test_a_skipped_medium_keeps_its_name_and_yields_to_every_result() -> None:
    known = Known([discovered("m0"), discovered("m1")], [skipped("m0"), skipped("m1")])
    assert (known.media["m0"].state, known.media["m0"].filename, known.sync.skipped) == ("SKIPPED", "GXm0.MP4", 2)
    known.take([failed("m0"), downloaded("m1")])
    assert (known.media["m0"].state, known.media["m1"].state, known.sync.skipped) == ("FAILED", "DOWNLOADED", 0)
    assert known.take([skipped("m0"), skipped("m1")]) is None


@pytest.mark.parametrize(
    "fact", [failed("m1", "still gone", epoch=2), discovered("m7"), skipped("m7")], ids=named_after_its_type
)
def test_a_second_failure_and_a_late_discovery_are_no_late_results(closed: Known, fact: Event) -> None:
    assert closed.take([fact])
    assert not closed.sync.has_late_results


@pytest.mark.parametrize("fact", [downloaded("m7"), failed("m7")], ids=named_after_its_type)
def test_a_late_result_of_an_unknown_medium_brings_the_sync_back_to_the_review(closed: Known, fact: Event) -> None:
    closed.sync = replace(closed.sync, unsettled=False)
    closed.take([fact])
    assert closed.sync.has_late_results
    assert closed.sync.unsettled is True


@pytest.mark.parametrize(
    "fact",
    [requested(occurred_at=at(-99)), replace(REVOKED, session_version=7), NOT_LISTED, listed(9), cancelled()],
    ids=named_after_its_type,
)
def test_a_closed_sync_keeps_its_request_its_problems_and_its_listing(closed: Known, fact: Event) -> None:
    assert closed.take([fact]) is None


def test_what_comes_late_of_a_skipped_medium_is_a_late_result(closed: Known) -> None:
    closed.take([skipped("m7")])
    assert not closed.sync.has_late_results
    closed.take([failed("m7")])
    assert closed.sync.has_late_results


def test_a_listing_that_ends_after_the_deadline_is_noted_and_reopens_nothing() -> None:
    known = Known([requested(), discovered("m0")])
    known.close("deadline")
    known.take([listed(1)])
    assert known.sync.expected == 1
    assert not known.sync.is_open


# ── What the page is drawn from ──────────────────────────────────────────────────────────────────────────────────────

WORK = Slice(began_at="2026-11-23T02:00:31.2504+01:00", seconds=1.23456, bytes=10, parts=1, connections=2, retries=1)
KEPT = replace(WORK, began_at="2026-11-23T01:00:31.250Z", seconds=1.235)


def test_a_medium_keeps_when_it_was_captured_and_how_it_was_worked_on() -> None:
    found = discovered("m0", captured_at="2026-11-20T10:00:00+01:00")
    work: dict[str, Any] = {"slices": (WORK,), "hops": 3, "occurred_at": "2026-11-23T01:01:00Z"}
    known = Known([found, discovered("m1")], [downloaded("m0", files_total=2, proven_by_etag=1, **work)])
    known.take([failed("m1", attempts=4, **work)])
    stored, lost = known.media["m0"], known.media["m1"]
    assert stored.captured_at == "2026-11-20T09:00:00Z"
    assert (stored.slices, stored.hops, stored.ended_at) == ((KEPT,), 3, "2026-11-23T01:01:00Z")
    assert (stored.files_total, stored.proven_by_etag, stored.attempts) == (2, 1, 0)
    assert (lost.slices, lost.hops, lost.ended_at, lost.attempts) == ((KEPT,), 3, "2026-11-23T01:01:00Z", 4)
    assert (lost.captured_at, lost.proven_by_etag) == ("", None)


@pytest.mark.parametrize(
    "text",
    ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "2026-11-20T10:00:00", "soon"],
)
def test_a_capture_time_that_not_every_time_zone_can_express_is_unknown(text: str) -> None:
    assert Known([discovered("m0", captured_at=text)]).media["m0"].captured_at == ""


def test_only_the_last_slices_are_kept_and_only_those_that_can_be_read() -> None:
    slices = tuple(replace(WORK, seconds=float(number)) for number in range(25))
    broken = (replace(WORK, began_at="soon"), replace(WORK, seconds=float("nan")), replace(WORK, began_at="2026-11-23"))
    medium = Known([downloaded("m0", slices=slices + broken)]).media["m0"]
    assert [one.seconds for one in medium.slices] == [float(number) for number in range(5, 25)]


def a_file(proof: str) -> StoredFile:
    return StoredFile(key="k", size=1, checksum="c", proof=proof)


@pytest.mark.parametrize(
    ("files", "total", "given", "known"),
    [
        (("origin-etag", "length"), 2, None, 1),
        (("length",), 1, None, 0),
        (("origin-etag",), 2, None, None),  # the event names only the first files
        ((), 0, None, None),
        (("length",), 1, 1, 1),
        ((), 0, 0, 0),
    ],
)
def test_proofs_are_known_if_the_fact_tells_of_all_files(
    files: tuple[str, ...], total: int, given: int | None, known: int | None
) -> None:
    fact = downloaded("m0", files=tuple(map(a_file, files)), files_total=total, proven_by_etag=given)
    assert Known([fact]).media["m0"].proven_by_etag == known


def test_a_sync_keeps_when_it_was_listed_and_how_often_the_listing_paused() -> None:
    sync = Known([listed(0, hops=3)], [listed(0, hops=9, occurred_at=at(99))]).sync
    assert (sync.listed_at, sync.listing_pauses) == (at(30), 3)
    assert Known([listed(0, occurred_at="soon")]).sync.listed_at == ""


def given_session(version: int, seconds: float, expires_at: str | None = None) -> SessionAuthenticated:
    return SessionAuthenticated(
        sync_id=SYNC, session_version=version, requested_at=at(0), expires_at=expires_at, occurred_at=at(seconds)
    )


def rejected(version: int, seconds: float) -> SessionRejected:
    return SessionRejected(sync_id=SYNC, session_version=version, occurred_at=at(seconds))


def test_what_becomes_of_the_session_is_known_in_any_order() -> None:
    facts = [
        given_session(4, 5, at(3600)),
        given_session(4, 9, at(7200)),
        rejected(4, 70),
        rejected(4, 60),
        rejected(5, 80),
    ]
    expected = (
        SessionSeen(version=4, authenticated_at=at(5), expires_at=at(3600), rejected_at=at(60)),
        SessionSeen(version=5, rejected_at=at(80)),
    )
    assert Known(facts).sync.sessions == expected
    assert Known(*[[fact] for fact in reversed(facts)]).sync.sessions == expected
    assert Known([given_session(4, 5)]).sync.sessions == (SessionSeen(version=4, authenticated_at=at(5)),)


def test_a_session_is_known_even_after_the_close_and_changes_no_count(closed: Known) -> None:
    before = closed.sync
    assert closed.take([rejected(4, 60)])
    assert closed.sync == replace(before, version=before.version + 1, sessions=closed.sync.sessions)
    assert closed.take([rejected(4, 60)]) is None


def test_only_the_lowest_versions_of_a_session_are_kept() -> None:
    facts = [rejected(version, 60) for version in range(1, 30)]
    for order in (1, -1):
        assert [one.version for one in Known(*[[f] for f in facts[::order]]).sync.sessions] == list(range(1, 21))
