"""Looking again at stored media that GoPro has changed."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from ops.local.gopro_cloud import FakeGoProCloud, Generated, Medium
from ops.local.gopro_cloud.faults import Answer, IgnoreRange, OtherEtag
from services.downloader.library_table import AlreadyStored, Lease
from services.downloader.reactions import same_slice
from services.shared.events import MediaDiscovered
from services.shared.library.records import VERSIONS, Row, Status
from tests.unit.downloader_stage import MIB, Stage, chaptered, discovered, downloader_stage, photo, video

PLAIN, ANEW = ("gpmf", "source"), "2026-02-01T00:00:00Z"


@pytest.fixture(scope="module")
def cloud() -> Iterator[FakeGoProCloud]:
    with FakeGoProCloud() as running:
        yield running


@pytest.fixture
def stage(cloud: FakeGoProCloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setattr("services.shared.gopro.client.PACE_SECONDS", 0.0)
    with downloader_stage(cloud) as stage:
        yield stage


def look(sync_id: str = "s-2", **row: Any) -> MediaDiscovered:
    return discovered(sync_id=sync_id, look_again=True, **{"item_count": 1, "labels": PLAIN, **row})


def stored(stage: Stage, medium: Medium, **row: Any) -> list[str]:
    """Store a medium, and return its keys."""
    stage.serve(medium)
    stage.stored(discovered(**{"item_count": 1, "labels": PLAIN, **row}))
    stage.cloud.observations.clear()
    return sorted(stage.objects())


def names(stage: Stage) -> list[str]:
    return [key.rpartition("/")[2] for key in sorted(stage.objects())]


def test_the_row_is_remembered_when_a_medium_is_stored(stage: Stage) -> None:
    stored(stage, video(), size=5)
    assert stage.record().row == Row(item_count=1, size=5, reprocessed_at="", labels="gpmf,source")


def test_a_raw_file_that_appears_is_stored_beside_the_photo_and_nothing_is_fetched_twice(stage: Stage) -> None:
    stored(stage, photo())
    stage.serve(photo(raw=Generated(MIB + 7, "raw")))
    fact = stage.stored(look(labels=("gpmf", "raw_photo", "source")))
    assert (fact.looked_again, fact.already_stored, fact.bytes, fact.files_total) == (True, False, MIB + 7, 1)
    assert [file.size for file in fact.files] == [MIB + 7]
    assert stage.is_copied()
    assert (len(stage.ranges()), stage.ranges().count("bytes=0-0")) == (2, 1)  # of the photo only its first byte
    record = stage.record()
    assert (record.status, record.files_total, record.labels) == (
        Status.STORED, 2, "gpmf,raw_photo,source",
    )  # fmt: skip


@pytest.mark.parametrize("make", [video, photo])
def test_another_version_is_stored_beside_the_first_under_a_key_of_its_own(stage: Stage, make: Any) -> None:
    (first,) = stored(stage, make())
    before = stage.objects()[first]
    stage.serve(make(contents=(Generated(MIB + 1, "other"),)))
    fact = stage.stored(look(reprocessed_at=ANEW))
    assert names(stage) == ["GX010123-v2.MP4", "GX010123.MP4"]
    assert stage.objects()[first] == before
    assert [(file.key, file.size) for file in fact.files] == [(first.replace(".MP4", "-v2.MP4"), MIB + 1)]
    assert sorted(stage.library.files("m-1")) == [1, 1 + VERSIONS]
    third = make(contents=(Generated(MIB + 2, "third"),))
    stage.serve(third)
    stage.stored(look("s-3", reprocessed_at="2026-03-01T00:00:00Z"))
    assert names(stage) == ["GX010123-v2.MP4", "GX010123-v3.MP4", "GX010123.MP4"]
    assert stage.record().files_total == 3


def test_a_version_of_the_same_size_is_known_by_its_etag(stage: Stage) -> None:
    stored(stage, photo())
    stage.serve(photo(contents=(Generated(MIB, "other"),)))
    assert stage.stored(look(reprocessed_at=ANEW)).bytes == MIB
    assert names(stage) == ["GX010123-v2.MP4", "GX010123.MP4"]


def test_only_the_changed_chapter_is_fetched(stage: Stage) -> None:
    stored(stage, chaptered([MIB, MIB + 1, MIB + 2]), item_count=3)
    contents = (Generated(MIB, f"chapter {MIB}"), Generated(MIB + 9, "other"), Generated(MIB + 2, f"chapter {MIB + 2}"))
    stage.serve(replace_contents(chaptered([MIB, MIB + 1, MIB + 2]), contents))
    fact = stage.stored(look(item_count=3, reprocessed_at=ANEW))
    assert (fact.bytes, fact.files_total, len(stage.objects())) == (MIB + 9, 1, 4)
    assert sorted(stage.library.files("m-1")) == [1, 2, 3, 2 + VERSIONS]


def replace_contents(medium: Medium, contents: tuple[Generated, ...]) -> Medium:
    known = {name: getattr(medium, name) for name in medium.__struct_fields__}
    return Medium(**{**known, "contents": contents})


def test_a_medium_that_has_grown_keeps_its_files_and_gets_the_new_one(stage: Stage) -> None:
    stored(stage, chaptered([MIB, MIB + 1]), item_count=2)
    stage.serve(chaptered([MIB, MIB + 1, MIB + 2]))
    assert stage.stored(look(item_count=3)).bytes == MIB + 2
    assert stage.is_copied()
    assert stage.record().item_count == 3


def test_a_look_that_finds_nothing_changed_remembers_the_row_and_fetches_nothing(stage: Stage) -> None:
    stored(stage, video())
    fact = stage.stored(look(labels=("gpmf", "gpx", "source")))
    assert (fact.looked_again, fact.bytes, fact.files, fact.files_total) == (True, 0, (), 0)
    assert stage.ranges() == ["bytes=0-0"]
    assert stage.is_copied()
    assert stage.record().labels == "gpmf,gpx,source"


def test_a_repeated_look_is_recognized_and_reports_the_same(stage: Stage) -> None:
    stored(stage, photo())
    stage.serve(photo(raw=Generated(9, "raw")))
    event = look(labels=("raw_photo", "source"))
    first = stage.stored(event)
    stage.cloud.observations.clear()
    again = stage.stored(event)
    assert again == replace(first, seconds=0.0, slices=())
    (work,) = first.slices
    assert (work.bytes, work.parts, work.retries) == (9, 1, 0)
    others = stage.stored(replace(event, sync_id="s-3"))
    assert (others.already_stored, others.looked_again, others.bytes) == (True, True, 0)
    assert not stage.cloud.observations.requests()


def test_a_medium_that_0_1_0_stored_is_looked_at_without_fetching_it_again(stage: Stage) -> None:
    stored(stage, video())
    key = {"media_id": "m-1", "item": 0}
    stage.dynamodb.update_item(
        TableName="library", Key=key, UpdateExpression="REMOVE #size, reprocessed_at, labels, warning",
        ExpressionAttributeNames={"#size": "size"},
    )  # fmt: skip
    assert stage.record().row is None
    assert isinstance(stage.library.take(discovered(sync_id="s-2", item_count=1, labels=("raw_photo",))), AlreadyStored)
    assert stage.stored(look(item_count=0, labels=("source",))).bytes == 0
    assert stage.ranges() == ["bytes=0-0"]
    assert stage.record().row == Row(item_count=1, labels="source")


def test_what_gopro_no_longer_offers_is_not_missing_if_it_is_stored(stage: Stage) -> None:
    stored(stage, chaptered([MIB, MIB + 1]), item_count=2)
    stage.serve(chaptered([MIB, MIB + 1], withheld=(2,)))
    stage.stored(look(item_count=2, labels=("source",)))
    stage.serve(chaptered([MIB, MIB + 1], source_offered=False))
    stage.stored(look("s-3", item_count=2, labels=("gpmf",)))
    assert (stage.record().status, len(stage.objects())) == (Status.STORED, 2)


def test_a_look_that_fails_leaves_the_medium_stored_and_due(stage: Stage) -> None:
    stored(stage, video())
    stage.cloud.arm(Answer(endpoint="download", status=404, times=None))
    fact = stage.failed(look(reprocessed_at=ANEW))
    assert fact.reason.startswith("stored before, but the look at what has changed failed: GoPro has no")
    record = stage.record()
    assert (record.status, record.reason, record.reprocessed_at) == (Status.STORED, fact.reason, "")
    assert isinstance(stage.library.take(look("s-3", reprocessed_at=ANEW)), Lease)


def test_a_new_file_that_cannot_be_stored_is_missing(stage: Stage) -> None:
    stored(stage, photo())
    stage.serve(photo(raw=Generated(9, "raw")))
    stage.cloud.arm(Answer(endpoint="cdn", label="raw_photo", status=404, times=None))
    fact = stage.failed(look(labels=("raw_photo", "source")))
    assert (fact.files_stored, fact.files_total, [file.name for file in fact.failed_files]) == (1, 2, ["GX010123.GPR"])
    assert stage.record().status == Status.FAILED
    stage.serve(photo(raw=Generated(9, "raw")))
    assert stage.stored(look("s-3", labels=("raw_photo", "source"))).bytes == 9


def test_a_changed_file_that_cannot_be_compared_leaves_the_others_stored(stage: Stage) -> None:
    stored(stage, chaptered([MIB, MIB + 1]), item_count=2)
    stage.serve(chaptered([MIB, MIB + 1, MIB + 2]))
    stage.cloud.arm(Answer(endpoint="cdn", item=1, status=403, times=None))
    fact = stage.failed(look(item_count=3))
    assert (fact.files_stored, fact.files_total, len(stage.objects())) == (3, 3, 3)
    assert (stage.record().status, stage.record().item_count) == (Status.STORED, 2)


def test_a_lost_version_is_fetched_again_if_it_is_the_latest_and_else_named(stage: Stage) -> None:
    stored(stage, photo())
    stage.serve(photo(contents=(Generated(MIB + 1, "other"),)))
    stage.stored(look(reprocessed_at=ANEW))
    before = stage.objects()

    def lose(item: int) -> None:
        file = stage.library.files("m-1")[item]
        stage.s3.delete_object(Bucket="media", Key=file.key)
        for number in (0, item):
            stage.dynamodb.update_item(
                TableName="library", Key={"media_id": "m-1", "item": number},
                UpdateExpression="SET #status = :missing", ExpressionAttributeNames={"#status": "status"},
                ExpressionAttributeValues={":missing": "MISSING"},
            )  # fmt: skip

    lose(1 + VERSIONS)
    stage.stored(discovered(sync_id="s-3", item_count=1))
    assert stage.objects() == before
    lose(1)
    fact = stage.failed(discovered(sync_id="s-4", item_count=1))
    assert "the bucket has lost it, and GoPro no longer offers it" in fact.reason
    assert names(stage) == ["GX010123-v2.MP4"]


@pytest.mark.parametrize("kind", ["weak", "none", "by_edge"])
def test_where_etags_say_nothing_the_size_decides_whether_a_file_has_changed(stage: Stage, kind: Any) -> None:
    stored(stage, photo())
    stage.cloud.arm(OtherEtag(kind=kind, times=None))
    assert stage.stored(look(reprocessed_at=ANEW)).bytes == 0
    stage.serve(photo(contents=(Generated(MIB + 1, "other"),)))
    stage.cloud.arm(OtherEtag(kind=kind, times=None))
    assert stage.stored(look("s-3", reprocessed_at="2026-03-01T00:00:00Z")).bytes == MIB + 1
    assert names(stage) == ["GX010123-v2.MP4", "GX010123.MP4"]


def test_a_server_without_ranges_can_be_looked_at_too(stage: Stage) -> None:
    stored(stage, photo())
    stage.cloud.arm(IgnoreRange(times=None))
    assert stage.stored(look(reprocessed_at=ANEW)).bytes == 0
    assert len(stage.objects()) == 1


def test_a_look_that_pauses_resumes_as_a_look() -> None:
    event = look(labels=("raw_photo", "source"))
    resumed = same_slice(event)
    assert (resumed.look_again, Row.of(resumed)) == (True, Row.of(event))
