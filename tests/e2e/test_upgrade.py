"""An update in the middle of a sync: 0.1.0 begins it with its own functions, and today's end it.

Both are deployed from their own sources. Those of 0.1.0 come from this repository's history, and their packages from
their own hash-pinned list.
"""

import hashlib
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ops import watch
from ops.local import deploy as deploying
from ops.local import stage as local
from ops.local.gopro_cloud import Library, Medium
from ops.local.gopro_cloud.faults import Throttle
from ops.local.gopro_cloud.observations import Seen
from ops.local.toolchain import ROOT
from services.shared.events import SERVICES
from tests.e2e.media import MIB, video
from tests.e2e.stage import SETTINGS, eventually
from tools.local_stage import LocalStage

pytestmark = [pytest.mark.slow, pytest.mark.lengthy]

COMMIT = "9befeef"  # 0.1.0
PART = 5 * MIB
# Two lanes, both of them busy during the update, and messages that wait behind them.
LANES = 2
BEFORE = [video(number) for number in (1, 2)]
# The first two parts come at once, by three requests; the next two take longer than an update.
SLOWLY = Throttle(bytes_per_second=25_000, after=3, times=None)
IN_HAND = [video(number, size=22 * MIB) for number in (3, 4)]
IN_HAND_SLOWLY = [video(number, SLOWLY, size=22 * MIB) for number in (3, 4)]
WAITING = [video(number) for number in (5, 6, 7)]
EVERYTHING = [*BEFORE, *IN_HAND, *WAITING]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources of 0.1.0."""
    folder = tmp_path_factory.mktemp("0.1.0")
    archive = subprocess.run(["git", "archive", COMMIT], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode:
        pytest.skip(f"this checkout has no history: {archive.stderr.decode()}")
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    return folder


@pytest.fixture
def stage(tmp_path: Path, sources: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalStage]:
    """A stage with the stack of 0.1.0."""
    monkeypatch.setattr(deploying, "ROOT", sources)
    stage = LocalStage(deployed(tmp_path))
    monkeypatch.undo()
    yield stage
    stage.end()


def deployed(folder: Path) -> local.Stage:
    return local.up(local.Wanted(folder=folder / "stage", settings={**SETTINGS, "concurrency": str(LANES)}), say=print)


def sync(stage: LocalStage) -> str:
    """Run a whole sync, and return its id."""
    sync_id = stage.trigger()
    closed(stage, sync_id)
    return sync_id


def closed(stage: LocalStage, sync_id: str) -> Mapping[str, Any]:
    def found() -> Mapping[str, Any] | None:
        view = watch.look(stage.deployment, sync_id)
        return view.sync if view.is_closed else None

    return eventually(found, f"the close of sync {sync_id}", seconds=480)


def stored(stage: LocalStage) -> dict[str, list[str]]:
    """Return the SHA-256 of each version of the originals, by medium."""
    s3, bucket, found = stage.client("s3"), stage.outputs["MediaBucketName"], dict[str, list[str]]()
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix="gopro/"):
        for one in page.get("Versions", []):
            body = s3.get_object(Bucket=bucket, Key=one["Key"], VersionId=one["VersionId"])
            content = hashlib.sha256(body["Body"].read()).hexdigest()
            found.setdefault(body["Metadata"]["media-id"], []).append(content)
    return found


def originals(*media: Medium) -> dict[str, list[str]]:
    return {
        medium.media_id: [
            hashlib.sha256(b"".join(one.content.read(0, one.content.size))).hexdigest() for one in medium.originals()
        ]
        for medium in media
    }


def whole_parts(requests: list[Seen]) -> Counter[tuple[str | None, int | None, str | None]]:
    """Return how often each range that is at least a part was sent to its end."""
    found = Counter[tuple[str | None, int | None, str | None]]()
    for one in requests:
        first, _, last = (one.range or "").removeprefix("bytes=").partition("-")
        if last and one.bytes_sent == int(last) - int(first) + 1 >= PART:
            found[one.media_id, one.item, one.range] += 1
    return found


def test_an_update_in_the_middle_of_a_sync_loses_nothing_and_fetches_nothing_twice(
    stage: LocalStage, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.control.replace_library(Library(media=tuple(BEFORE)))
    sync(stage)
    assert stored(stage) == originals(*BEFORE)

    # Both lanes have stored a part, and the other media's messages wait in the inbox.
    stage.control.replace_library(Library(media=(*BEFORE, *IN_HAND_SLOWLY, *WAITING)))
    stage.control.forget()
    sync_id = stage.trigger()
    parts = {"Bucket": stage.outputs["MediaBucketName"]}
    eventually(
        lambda: (
            sum(
                bool(stage.client("s3").list_parts(**parts, Key=one["Key"], UploadId=one["UploadId"]).get("Parts"))
                for one in stage.uploads()
            )
            == LANES
        ),
        "a part in each lane",
    )

    updated = LocalStage(deployed(tmp_path))

    # The functions of 0.1.0 have fetched nothing of what waits.
    waiting = {medium.media_id for medium in WAITING}
    assert not waiting & {one.media_id for one in updated.control.requests("cdn")}, "the update took too long"

    # What holds something is what it was.
    kept = ["MediaBucketName", "LibraryTableName", "SyncsTableName", "AuthenticatorTableName", "CredentialsSecretName"]
    kept += [f"{service.title()}{queue}" for service in SERVICES for queue in ("QueueUrl", "DeadLettersUrl")]
    assert {name: updated.outputs[name] for name in kept} == {name: stage.outputs[name] for name in kept}
    assert "UndeliveredEventsUrl" in updated.outputs.keys() - stage.outputs.keys()

    # The sync ends with today's functions.
    updated.control.replace_library(Library(media=tuple(EVERYTHING)))
    ended = closed(updated, sync_id)
    assert (ended["outcome"], ended["closed_because"]) == ("completed", "complete")
    assert ended["downloaded"] == len(IN_HAND + WAITING)
    requests = updated.control.requests("cdn")
    assert stored(updated) == originals(*EVERYTHING)
    assert not {one.media_id for one in requests} & {medium.media_id for medium in BEFORE}
    assert max(whole_parts(requests).values()) == 1
    assert updated.uploads() == []
    assert [letter for service in SERVICES for letter in updated.dead_letters(service)] == []

    # The next sync finds everything.
    updated.control.forget()
    sync(updated)
    assert updated.control.requests("cdn") == []
    assert stored(updated) == originals(*EVERYTHING)

    # So does 0.1.0, when the operator goes back to it.
    monkeypatch.setattr(deploying, "ROOT", sources)
    back = LocalStage(deployed(tmp_path))
    assert "UndeliveredEventsUrl" not in back.outputs
    back.control.forget()
    sync(back)
    assert back.control.requests("cdn") == []
    assert stored(back) == originals(*EVERYTHING)
