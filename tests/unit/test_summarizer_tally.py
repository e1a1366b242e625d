"""The tally, as a computation: whatever the order, the repetitions and the batches, one result."""

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from summarizer_stage import BEGIN, SYNC, a_sync_of, discovered, downloaded, failed, listed, requested

from services.shared.bus import iso
from services.shared.events import AuthenticationFailed, Event, LibraryListed, LibraryListingFailed
from services.summarizer.closing import close, why_to_close
from services.summarizer.tally import Tallied, media_ids, tally

if TYPE_CHECKING:
    from services.summarizer.sync import Medium, Sync

NOW = BEGIN + timedelta(hours=1)
DEADLINE = timedelta(hours=12)


class Table:
    """A sync and its media, changed by nothing but tally and close."""

    def __init__(self) -> None:
        self.sync: Sync | None = None
        self.media: dict[str, Medium] = {}
        self.closes = 0

    def take(self, batch: Sequence[Event]) -> Tallied | None:
        known = {media_id: self.media[media_id] for media_id in media_ids(batch) if media_id in self.media}
        tallied = tally(self.sync, known, batch, now=NOW)
        if tallied:
            assert tallied.sync.version == (self.sync.version if self.sync else 0) + 1
            self.sync = tallied.sync
            self.media |= {medium.media_id: medium for medium in tallied.media}
        return tallied

    def close_if_over(self) -> None:
        assert self.sync is not None
        if self.sync.is_open and (because := why_to_close(self.sync)):
            self.sync = close(self.sync, list(self.media.values()), because, now=NOW, deadline=DEADLINE)
            self.closes += 1

    @property
    def facts(self) -> Any:
        """All that the facts alone decide."""
        assert self.sync is not None
        return replace(self.sync, version=0), self.media


def after(*batches: Sequence[Event]) -> Table:
    table = Table()
    for batch in batches:
        table.take(batch)
    return table


def at(seconds: int) -> str:
    return iso(BEGIN + timedelta(seconds=seconds))


@st.composite
def facts_of_a_sync(draw: st.DrawFn, *, problems: bool = True) -> list[Event]:
    """The facts of a whole sync in some order, each up to five times."""
    ids = [f"m{n}" for n in range(draw(st.integers(0, 6)))]
    seconds = st.integers(0, 300)
    facts: list[Event] = [listed(len(ids), occurred_at=at(draw(seconds)), warnings=("shrank",))]
    if draw(st.booleans()):
        facts.append(requested(occurred_at=at(draw(seconds))))
    for media_id in ids:
        if draw(st.integers(0, 9)):
            facts.append(discovered(media_id, occurred_at=at(draw(seconds))))
        for epoch in draw(st.lists(st.integers(1, 3), max_size=2)):
            reason = draw(st.sampled_from(["gone", "refused", ""]))
            facts.append(failed(media_id, reason, epoch=epoch, occurred_at=at(draw(seconds))))
        for epoch in draw(st.lists(st.integers(1, 3), max_size=2)):
            more = {"seconds": draw(st.sampled_from([0.0, 1.5])), "already_stored": draw(st.booleans())}
            facts.append(downloaded(media_id, epoch=epoch, occurred_at=at(draw(seconds)), **more))
    if problems:
        facts += [
            AuthenticationFailed(
                sync_id=SYNC, reason="revoked", remedy="mend", session_version=version, occurred_at=at(draw(seconds))
            )
            for version in draw(st.lists(st.integers(1, 3), max_size=2))
        ]
        if draw(st.booleans()):
            facts.append(LibraryListingFailed(sync_id=SYNC, reason="it broke", occurred_at=at(draw(seconds))))
    repeated = [fact for fact in facts for _ in range(draw(st.integers(1, 5)))]
    return draw(st.permutations(repeated))


def split(facts: Sequence[Event], seed: int) -> list[Sequence[Event]]:
    chance, batches, left = random.Random(seed), [], list(facts)
    while left:
        size = chance.randint(1, len(left))
        batches.append(left[:size])
        left = left[size:]
    return batches


@pytest.mark.scenario(1)
@given(facts_of_a_sync(), st.randoms(use_true_random=False), st.integers(0, 99))
def test_order_repetition_and_batches_make_no_difference(facts: list[Event], chance: random.Random, seed: int) -> None:
    other = list(facts)
    chance.shuffle(other)
    assert after(facts).facts == after(*split(other, seed)).facts


@pytest.mark.scenario(1)
@given(facts_of_a_sync())
def test_facts_told_again_change_nothing(facts: list[Event]) -> None:
    table = after(facts)
    assert all(table.take([fact]) is None for fact in facts)


@given(facts_of_a_sync(), st.integers(0, 99))
def test_the_counters_are_what_the_set_of_facts_says(facts: list[Event], seed: int) -> None:
    table = Table()
    for batch in split(facts, seed):
        table.take(batch)
        table.close_if_over()
    assert table.sync is not None
    stored = {fact.media_id for fact in facts if type(fact).__name__ == "MediaDownloaded"}  # type: ignore[attr-defined]
    refused = {fact.media_id for fact in facts if type(fact).__name__ == "MediaDownloadFailed"}  # type: ignore[attr-defined]
    own = {fact.media_id for fact in facts if not getattr(fact, "already_stored", True)}  # type: ignore[attr-defined]
    assert table.sync.discovered == len(set(media_ids(facts)))
    assert table.sync.downloaded == len(stored)
    assert table.sync.failed == len(refused - stored)
    assert table.sync.already_stored == len(stored - own)
    assert table.sync.bytes == 10 * len(own)


@given(facts_of_a_sync(), st.integers(0, 99))
def test_a_sync_never_closes_twice_and_never_changes_its_summary(facts: list[Event], seed: int) -> None:
    table, summaries = Table(), []
    for batch in split(facts, seed):
        table.take(batch)
        table.close_if_over()
        assert table.sync is not None
        if table.sync.summary:
            summaries.append(table.sync.summary)
    assert table.closes <= 1
    assert all(summary == summaries[0] for summary in summaries)


@pytest.mark.scenario(18)
@given(facts_of_a_sync(problems=False), st.integers(0, 99))
def test_it_closes_as_complete_when_every_discovered_medium_has_a_result_and_not_before(
    facts: list[Event], seed: int
) -> None:
    table = Table()
    for batch in split(facts, seed):
        table.take(batch)
        table.close_if_over()
    assert table.sync is not None
    assert table.closes == (table.sync.settled_media == table.sync.expected)
    if table.sync.summary:
        assert table.sync.summary["downloaded"] + table.sync.summary["failed"] == table.sync.summary["discovered"]
        assert table.sync.summary["outstanding"] == 0


def test_a_downloaded_medium_stays_downloaded_whatever_fails_later() -> None:
    table = after([discovered("m0")], [downloaded("m0")], [failed("m0", epoch=9)])
    assert table.media["m0"].state == "DOWNLOADED"
    assert table.media["m0"].reason == ""
    assert table.sync is not None
    assert (table.sync.downloaded, table.sync.failed) == (1, 0)


def test_a_failed_medium_that_is_downloaded_after_all_counts_once() -> None:
    table = after([failed("m0")], [downloaded("m0", epoch=2)])
    assert table.sync is not None
    assert (table.sync.discovered, table.sync.downloaded, table.sync.failed, table.sync.bytes) == (1, 1, 0, 10)


def test_what_another_sync_stored_is_downloaded_but_adds_no_bytes() -> None:
    table = after([downloaded("m0", already_stored=True)])
    assert table.sync is not None
    assert (table.sync.downloaded, table.sync.already_stored, table.sync.bytes) == (1, 1, 0)


def test_a_result_heard_before_its_discovery_gets_its_name_later() -> None:
    table = after([failed("m0", "gone")], [discovered("m0", filename="a.mp4", size=7, item_count=3)])
    medium = table.media["m0"]
    assert (medium.state, medium.reason, medium.filename, medium.size) == ("FAILED", "gone", "a.mp4", 7)
    assert medium.item_count == 3


@pytest.mark.parametrize(
    "first",
    [
        requested(),
        requested(refused="unknown filter: colour"),
        discovered("m0"),
        listed(3),
        downloaded("m0"),
        failed("m0"),
        AuthenticationFailed(sync_id=SYNC, reason="r", remedy="m", occurred_at=at(5)),
        LibraryListingFailed(sync_id=SYNC, reason="r", occurred_at=at(5)),
    ],
    ids=lambda fact: type(fact).__name__,
)
def test_any_fact_may_be_the_first_that_a_sync_is_known_by(first: Event) -> None:
    sync = after([first]).sync
    assert sync is not None
    assert sync.requested_at == first.occurred_at
    assert sync.is_open
    assert sync.unsettled


def test_the_request_dates_a_sync_even_if_it_is_heard_of_last() -> None:
    table = after([discovered("m0", occurred_at=at(20))], [requested(occurred_at=at(0))])
    assert table.sync is not None
    assert (table.sync.requested_at, table.sync.trigger) == (at(0), "scheduled")


def test_the_catch_up_changes_nothing_of_a_known_sync() -> None:
    table = after([requested()])
    assert table.take([requested(occurred_at=iso(BEGIN + timedelta(hours=2, minutes=15)))]) is None


@pytest.mark.parametrize(("said", "kept"), [("", "manual"), ("by hand", "by hand"), ("x" * 50, "x" * 40)])
def test_a_trigger_is_what_the_request_says_cut_short(said: str, kept: str) -> None:
    sync = after([requested(trigger=said)]).sync
    assert sync is not None
    assert sync.trigger == kept


@pytest.mark.scenario(54)
@pytest.mark.parametrize("nonsense", ["", "yesterday", "2026-11-23T01:00:00", "2099-01-01T00:00:00Z"])
def test_a_time_that_is_no_time_or_is_yet_to_come_counts_as_now(nonsense: str) -> None:
    sync = after([discovered("m0", occurred_at=nonsense)]).sync
    assert sync is not None
    assert sync.requested_at == iso(NOW)


def test_the_expected_number_never_changes_once_it_is_known() -> None:
    table = after([listed(3)], [listed(5)])
    assert table.sync is not None
    assert table.sync.expected == 3


def test_a_sync_keeps_what_its_listing_counted_and_warned_of() -> None:
    sync = after([listed(3, listed=19, stored=8, pending=2, deferred=6, warnings=("shrank", "short"))]).sync
    assert sync is not None
    assert (sync.expected, sync.listed, sync.stored, sync.pending, sync.deferred) == (3, 19, 8, 2, 6)
    assert sync.warnings == ("shrank", "short")


def test_a_result_says_under_which_lease_it_was_had_how_long_that_took_and_what_went_wrong() -> None:
    media = after([downloaded("m0", epoch=3, seconds=1.23456), failed("m1", "", epoch=2)]).media
    assert (media["m0"].epoch, media["m0"].seconds) == (3, 1.235)
    assert (media["m1"].epoch, media["m1"].reason) == (2, "unknown")


def test_the_later_of_two_failures_stands() -> None:
    for order in ([1, 2], [2, 1]):
        medium = after(*[[failed("m0", f"try {epoch}", epoch=epoch)] for epoch in order]).media["m0"]
        assert (medium.epoch, medium.reason) == (2, "try 2")


def test_the_newest_word_of_a_failed_session_stands_whatever_the_order() -> None:
    words = [
        AuthenticationFailed(sync_id=SYNC, reason="z" * 5000, remedy="wait", session_version=1, occurred_at=at(5)),
        AuthenticationFailed(sync_id=SYNC, reason="a" * 5000, remedy="b" * 5000, session_version=2, occurred_at=at(5)),
    ]
    for order in (words, words[::-1]):
        sync = after(order).sync
        assert sync is not None
        assert (sync.session_version, sync.session_problem, sync.session_remedy) == (2, "a" * 1000, "b" * 1000)


def test_of_two_words_of_a_failed_listing_one_stands_whatever_the_order() -> None:
    words = [LibraryListingFailed(sync_id=SYNC, reason=reason, occurred_at=at(5)) for reason in ("ab", "b" * 5000)]
    for order in (words, words[::-1]):
        sync = after(order).sync
        assert sync is not None
        assert sync.listing_problem == "b" * 1000


def test_a_failure_that_does_not_say_why_has_a_reason_all_the_same() -> None:
    sync = after(
        [
            AuthenticationFailed(sync_id=SYNC, reason="", remedy="", occurred_at=at(5)),
            LibraryListingFailed(sync_id=SYNC, reason="", occurred_at=at(5)),
        ]
    ).sync
    assert sync is not None
    assert (sync.session_problem, sync.listing_problem) == ("unknown", "unknown")


def test_a_medium_keeps_the_name_under_which_it_was_discovered() -> None:
    table = after([discovered("m0", filename="a.mp4")], [discovered("m0", filename="b.mp4")])
    assert table.media["m0"].filename == "a.mp4"


def test_texts_from_elsewhere_are_cut_and_made_encodable() -> None:
    table = after(
        [
            discovered("m0", filename="\ud800" + "x" * 5000),
            failed("m0", "y" * 5000),
            listed(1, warnings=tuple("w" * 5000 for _ in range(500))),
        ]
    )
    assert table.sync is not None
    texts = [table.media["m0"].filename, table.media["m0"].reason, *table.sync.warnings]
    assert sum(len(text.encode()) for text in texts) < 10_000


@pytest.mark.parametrize("seconds", [float("nan"), float("inf")])
def test_a_duration_that_is_no_number_is_left_out(seconds: float) -> None:
    assert after([downloaded("m0", seconds=seconds)]).media["m0"].seconds == 0


class TestAfterTheClose:
    def closed(self) -> Table:
        table = after(a_sync_of(2), [downloaded("m0"), failed("m1")])
        table.close_if_over()
        return table

    def test_a_late_result_is_tallied_and_marked_late(self) -> None:
        table = self.closed()
        tallied = table.take([downloaded("m1", epoch=2)])
        assert tallied
        assert table.media["m1"].late == tallied.sync.version == tallied.sync.late
        assert (tallied.sync.downloaded, tallied.sync.failed) == (2, 0)
        assert tallied.sync.has_more_to_tell
        assert not tallied.sync.is_open

    def test_a_duplicate_of_a_late_result_changes_nothing(self) -> None:
        table = self.closed()
        assert table.take([downloaded("m1", epoch=2)])
        assert table.take([downloaded("m1", epoch=2)]) is None

    def test_a_medium_that_failed_once_more_has_nothing_new_to_tell(self) -> None:
        table = self.closed()
        table.take([failed("m1", "still gone", epoch=2)])
        assert table.sync is not None
        assert not table.sync.has_more_to_tell

    @pytest.mark.parametrize("fact", [downloaded("m7"), failed("m7")], ids=lambda fact: type(fact).__name__)
    def test_a_late_result_of_a_medium_never_heard_of_is_told_and_wakes_the_review(self, fact: Event) -> None:
        table = self.closed()
        assert table.sync is not None
        table.sync = replace(table.sync, unsettled=False)
        table.take([fact])
        assert table.sync.has_more_to_tell
        assert table.sync.unsettled is True

    def test_a_late_discovery_has_nothing_to_tell(self) -> None:
        table = self.closed()
        table.take([discovered("m7")])
        assert table.sync is not None
        assert not table.sync.has_more_to_tell

    @pytest.mark.parametrize(
        "fact",
        [
            requested(occurred_at=at(-99)),
            AuthenticationFailed(sync_id=SYNC, reason="r", remedy="m", session_version=7),
            LibraryListingFailed(sync_id=SYNC, reason="r"),
            listed(9),
        ],
        ids=lambda fact: type(fact).__name__,
    )
    def test_what_a_sync_was_is_not_rewritten(self, fact: Event) -> None:
        assert self.closed().take([fact]) is None

    def test_a_listing_that_ends_after_the_deadline_is_noted_and_reopens_nothing(self) -> None:
        table = after([requested(), discovered("m0")])
        assert table.sync is not None
        table.sync = close(table.sync, list(table.media.values()), "deadline", now=NOW, deadline=DEADLINE)
        table.take([LibraryListed(sync_id=SYNC, listed=1, stored=0, discovered=1, pending=0, deferred=0)])
        assert table.sync.expected == 1
        assert not table.sync.is_open
