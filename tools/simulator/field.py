"""The cases from the field: what is odd about a library, a medium or a file, for as long as the run goes on."""

import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tools.simulator.faults import Fault

if TYPE_CHECKING:
    from tools.simulator.gopro import GoPro, Medium

_OTHER_HOST = "media-cdn-new.gopro.com"
_ODD_NAMES = ("Trip; day 1.MP4", 'the "best" one.MP4', "50%25 off.MP4", "größer.MP4", "no extension", "a/b.MP4")
_FEWEST_OF_A_BURST = 2  # a single file without a label is no original
# These change a medium's row after it was stored.
CHANGES = (Fault.REPROCESSED, Fault.RAW_ADDED)


def begin(case: Fault, gopro: "GoPro", medium: "Medium | None", chance: random.Random) -> None:
    """Begin a case: one about all of GoPro, or one about a medium, if there is one."""
    if case in _BEGIN_WHOLE:
        _BEGIN_WHOLE[case](gopro, chance)
    elif medium is not None:
        _BEGIN[case](medium, chance)
        medium.odd_since = now = gopro.effects.scheduler.now
        if case in CHANGES:
            medium.reprocessed_at = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%dT%H:%M:%SZ}"
            medium.changed_at = now


def _bad_file(medium: "Medium", chance: random.Random) -> None:
    chance.choice(medium.files).trouble = chance.choice(("404", "403", "page", "nothing"))


def _unusual_place(medium: "Medium", chance: random.Random) -> None:
    if any(file.is_raw for file in medium.files):
        medium.files[0].is_withheld = True  # a RAW file without its photo
    elif medium.shape != "burst":
        medium.place = chance.choice(("files", "sidecar_files"))


def _odd_row(medium: "Medium", chance: random.Random) -> None:
    medium.odd_row = chance.choice(("null", "text", "no id", "number"))


def _reprocessed(medium: "Medium", chance: random.Random) -> None:
    file = chance.choice(medium.files)
    file.renew(medium, len(file.body) + chance.choice((1, 3)))
    medium.listed_size = sum(len(file.body) for file in medium.files)


def _raw_added(medium: "Medium", _: random.Random) -> None:
    if not any(file.is_raw for file in medium.files):
        medium.add_file("raw_photo/default/1", 1, 7)


def _never_ready(medium: "Medium", chance: random.Random) -> None:
    medium.state = chance.choice(("failure", "transcoding", "uploading"))
    medium.available = chance.random() < 0.5


def _medium_refused(medium: "Medium", chance: random.Random) -> None:
    medium.refused = chance.choice((401, 403))


def _fewer_bytes(medium: "Medium", _: random.Random) -> None:
    medium.listed_size = 3 * sum(len(file.body) for file in medium.files) + 100_000
    medium.counted = False


def _unknown_count(medium: "Medium", _: random.Random) -> None:
    medium.counted = False


def _withheld_item(medium: "Medium", chance: random.Random) -> None:
    if medium.shape != "burst" or medium.item_count > _FEWEST_OF_A_BURST:
        chance.choice(medium.files).is_withheld = True


def _odd_name(medium: "Medium", chance: random.Random) -> None:
    medium.filename = chance.choice(_ODD_NAMES)


def _empty_file(medium: "Medium", chance: random.Random) -> None:
    file = chance.choice(medium.files)
    file.renew(medium, 0)


def _breaks_pages(medium: "Medium", _: random.Random) -> None:
    medium.breaks_pages = True


def _no_length(medium: "Medium", _: random.Random) -> None:
    medium.sends_length = False


def _validators(medium: "Medium", chance: random.Random) -> None:
    medium.validators = chance.choice(("weak", "by edge"))


def _slow(medium: "Medium", _: random.Random) -> None:
    medium.seconds_per_byte = 70.0


_BEGIN: Mapping[Fault, "Callable[[Medium, random.Random], None]"] = {
    Fault.BAD_FILE: _bad_file,
    Fault.UNUSUAL_PLACE: _unusual_place,
    Fault.ODD_ROW: _odd_row,
    Fault.BROKEN_PAGE: _breaks_pages,
    Fault.REPROCESSED: _reprocessed,
    Fault.RAW_ADDED: _raw_added,
    Fault.NEVER_READY: _never_ready,
    Fault.MEDIUM_REFUSED: _medium_refused,
    Fault.FEWER_BYTES: _fewer_bytes,
    Fault.UNKNOWN_COUNT: _unknown_count,
    Fault.ITEM_WITHHELD: _withheld_item,
    Fault.NO_LENGTH: _no_length,
    Fault.VALIDATORS: _validators,
    Fault.ODD_NAME: _odd_name,
    Fault.EMPTY_FILE: _empty_file,
    Fault.SLOW_FOR_EVER: _slow,
}


def _small_pages(gopro: "GoPro", chance: random.Random) -> None:
    gopro.page_cap = chance.choice((1, 2))


def _failing_page(gopro: "GoPro", chance: random.Random) -> None:
    gopro.failing_page = chance.choice((1, 2, 2, 3))


def _account_refused(gopro: "GoPro", chance: random.Random) -> None:
    gopro.refused = chance.choice((402, 403))


def _cdn_moved(gopro: "GoPro", _: random.Random) -> None:
    gopro.cdn_host = _OTHER_HOST


def _count_off(gopro: "GoPro", _: random.Random) -> None:
    gopro.count_off = 1


def _shared(gopro: "GoPro", chance: random.Random) -> None:
    gopro.shared_seconds_per_byte = chance.choice((0.5, 5.0))


_BEGIN_WHOLE: Mapping[Fault, "Callable[[GoPro, random.Random], None]"] = {
    Fault.SMALL_PAGES: _small_pages,
    Fault.FAILING_PAGE: _failing_page,
    Fault.ACCOUNT_REFUSED: _account_refused,
    Fault.CDN_MOVED: _cdn_moved,
    Fault.COUNT_OFF: _count_off,
    Fault.SHARED: _shared,
}

CASES = (*_BEGIN, *_BEGIN_WHOLE)
