"""What is said of a medium of which some files are stored and others are not, and whether it is tried again."""

from typing import Any

from services.downloader.shortfall import incomplete
from services.shared.errors import PermanentError, TransientError
from services.shared.events import FailedFile


def lacking(*failures: tuple[str, Exception], total: int = 12) -> Any:
    return incomplete(failures, stored=1, total=total)


def test_a_partial_medium_says_how_many_files_are_stored_and_which_are_missing_and_why() -> None:
    gone, error = PermanentError("gone"), lacking(("a.JPG", PermanentError("gone")), ("", PermanentError("2 more")))
    assert str(error) == "1 of 12 files stored; missing: a.JPG (gone), 2 more"
    assert error.shortfall.files == (FailedFile(name="a.JPG", reason="gone"), FailedFile(name="", reason="2 more"))
    many = lacking(*[(f"{n}.JPG", gone) for n in range(3)], ("9.JPG", KeyError("secret")))
    assert str(many) == "1 of 12 files stored; missing: 0.JPG, 1.JPG, 2.JPG (gone), 9.JPG (unexpected error: KeyError)"
    assert "missing: 0.JPG, 1.JPG, 2.JPG and 2 more (gone)" in str(lacking(*[(f"{n}.JPG", gone) for n in range(5)]))


def test_a_partial_medium_names_no_more_than_five_reasons_and_nothing_at_length() -> None:
    failures = [(f"{n}.JPG", PermanentError(f"why {n}")) for n in range(5)]
    assert str(lacking(*failures)).endswith(", 3.JPG (why 3), 4.JPG (why 4)")
    more = str(lacking(*failures, ("5", PermanentError("a")), ("6", PermanentError("b"))))
    assert more.endswith(", 4.JPG (why 4), and others for 2 other reasons")
    (long,) = lacking(("n" * 999, PermanentError("r" * 999))).shortfall.files
    assert (long.name, long.reason) == ("n" * 200, "r" * 300)


def test_the_failure_of_an_only_file_is_said_plainly() -> None:
    gone = ("a.JPG", PermanentError("gone"))
    assert str(lacking(gone, total=1)) == "gone"
    assert str(lacking(gone, ("", PermanentError("2 offered")), total=1)) == "gone; 2 offered"
    assert str(lacking(gone, total=2)) == "1 of 2 files stored; missing: a.JPG (gone)"


def test_a_medium_is_given_up_at_once_only_if_no_file_may_still_come() -> None:
    moved = PermanentError("the CDN has moved", remedy="Allow its host.")
    for_good = lacking(("a", PermanentError("gone")), ("b", moved))
    assert (isinstance(for_good, PermanentError), for_good.remedy) == (True, "Allow its host.")
    assert lacking(("a", PermanentError("gone"))).remedy == ""
    waits = [TransientError("busy", retry_after=seconds) for seconds in (7, 9, None)]
    curable = lacking(("a", moved), *[("b", error) for error in waits])
    assert (isinstance(curable, TransientError), curable.retry_after) == (True, 9)
    assert curable.shortfall.stored == for_good.shortfall.stored == 1
    assert lacking(("a", KeyError())).retry_after is None
