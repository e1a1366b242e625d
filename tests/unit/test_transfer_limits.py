"""How files are cut into parts, and how many parts are worked on at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.downloader.transfer import Limits, Upload, Version
from services.downloader.transfer.bucket import MIB, SMALLEST_PART


@given(
    size=st.integers(1, 5 * 2**40),
    count=st.integers(0, 12_000),
    memory=st.integers(-(2**28), 2**31),
)
def test_every_size_can_be_cut_within_the_limits_of_s3(size: int, count: int, memory: int) -> None:
    part_size = Limits(memory_bytes=memory).part_size(Version(size=size, etag=f"abc-{count}"))
    upload = Upload(upload_id="u", key="k", version=Version(size=size, etag=""), part_size=part_size)
    assert part_size >= SMALLEST_PART
    assert upload.part_count <= 10_000
    assert sum(upload.length_of(n) for n in (1, upload.part_count)) <= size or upload.part_count == 1
    assert (upload.part_count - 1) * part_size < size <= upload.part_count * part_size


@given(size=st.integers(1, 2**36), origin=st.sampled_from([5, 8, 16, 20, 64, 100]))
def test_the_part_size_gives_the_origins_number_of_parts_if_a_usual_one_does(size: int, origin: int) -> None:
    count = -(-size // (origin * MIB))
    part_size = Limits(memory_bytes=200 * MIB).part_size(Version(size=size, etag=f"abc-{count}"))
    if size <= 9_000 * origin * MIB:
        assert -(-size // part_size) == count


@pytest.mark.parametrize(
    ("size", "parts", "memory", "part_size"),
    [
        # The origin's parts, if they have a usual size.
        (10 * MIB, 2, 64 * MIB, 5 * MIB),
        (16 * MIB, 2, 64 * MIB, 8 * MIB),
        (16 * MIB + 1, 2, 64 * MIB, 10 * MIB),
        (40 * MIB, 2, 20 * MIB, 20 * MIB),
        (40 * MIB, 2, 20 * MIB - 1, 8 * MIB),
        (50 * MIB, 2, 64 * MIB, 25 * MIB),
        (1024 * MIB, 2, 512 * MIB, 512 * MIB),
        (5 * MIB, 1, 64 * MIB, 5 * MIB),
        (10 * MIB, 3, 64 * MIB, 8 * MIB),
        (9 * MIB, 3, 64 * MIB, 8 * MIB),
        (9_000 * 8 * MIB, 9_000, 64 * MIB, 8 * MIB),
        (9_001 * 8 * MIB, 9_001, 64 * MIB, 32 * MIB),
        # Our own parts.
        (256 * MIB - 1, 0, 64 * MIB, 8 * MIB),
        (256 * MIB, 0, 64 * MIB, 32 * MIB),
        (9_000 * 32 * MIB, 0, 64 * MIB, 32 * MIB),
        (9_000 * 32 * MIB + 1, 0, 64 * MIB, 33 * MIB),
        # Parts that fit into the memory, within the limits of S3.
        (100 * MIB, 0, 6 * MIB + MIB // 2, 6 * MIB),
        (100 * MIB, 0, 0, SMALLEST_PART),
        (9_000 * 20 * MIB + 1, 0, 6 * MIB, 20 * MIB + 1),
    ],
)
def test_the_part_size(size: int, parts: int, memory: int, part_size: int) -> None:
    etag = f"abc-{parts}" if parts else "abc"
    assert Limits(memory_bytes=memory).part_size(Version(size=size, etag=etag)) == part_size


@pytest.mark.parametrize(
    ("connections", "memory", "in_hand"),
    [(1, 64, 2), (4, 64, 5), (5, 64, 7), (8, 80, 10), (8, 40, 5), (8, 39, 4), (8, 8, 1), (8, 7, 1), (8, -9, 1)],
)
def test_the_parts_in_hand(connections: int, memory: int, in_hand: int) -> None:
    assert Limits(connections=connections, memory_bytes=memory * MIB).parts_in_hand(8 * MIB) == in_hand


@pytest.mark.parametrize(
    ("size", "etag", "in_one"),
    [
        (0, "", True),
        (8 * MIB, "", True),
        (8 * MIB + 1, "", False),
        (8 * MIB, "0123", True),
        (1000, "0123-1", False),
        (8 * MIB, "0123-2", False),
        (1000, "0123-abc", True),
    ],
)
def test_a_file_that_fits_into_a_part_and_was_not_cut_is_uploaded_in_one_request(
    size: int, etag: str, in_one: bool
) -> None:
    assert Limits().in_one(Version(size=size, etag=etag)) is in_one


def test_a_small_memory_makes_smaller_files_need_parts() -> None:
    limits = Limits(memory_bytes=6 * MIB)
    assert limits.in_one(Version(size=6 * MIB, etag=""))
    assert not limits.in_one(Version(size=6 * MIB + 1, etag=""))


@pytest.mark.scenario(52)
@given(
    connections=st.integers(1, 64),
    memory=st.integers(-(2**28), 2**33),
    part_size=st.integers(SMALLEST_PART, 512 * MIB),
)
def test_the_parts_in_hand_fit_into_the_memory_and_some_are_sent_while_others_come(
    connections: int, memory: int, part_size: int
) -> None:
    in_hand = Limits(connections=connections, memory_bytes=memory).parts_in_hand(part_size)
    assert in_hand == 1 or in_hand * part_size <= memory
    assert in_hand >= 1
    if memory >= 2 * connections * part_size:
        assert connections < in_hand <= 2 * connections
