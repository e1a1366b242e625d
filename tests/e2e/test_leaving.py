"""Leaving and coming back: a stack is deleted, and a new one goes on with what it has left."""

import hashlib
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pytest
from boto3.s3.transfer import TransferConfig

from ops import command, uninstall
from ops.local import deploy, emulator
from ops.local import stage as local
from ops.local.gopro_cloud import Generated, Library, Shape
from tests.e2e.media import MIB, video
from tests.e2e.stage import SETTINGS
from tools.local_stage import LocalStage

pytestmark = [pytest.mark.slow, pytest.mark.lengthy]

Run = Callable[..., tuple[int, str, str]]

ELSEWHERE = "eu-west-1"

MEDIA = (
    video(
        1,
        shape=Shape.CHAPTERED,
        contents=tuple(Generated(6 * MIB + n, f"chapter {n}") for n in range(3)),
        filename="GX010639.MP4",
    ),
    video(2, shape=Shape.PHOTO, raw=Generated(5_000, "raw"), filename="GOPR0132.JPG"),
    video(3),
)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[LocalStage]:
    """A stage of its own, without listeners: CloudFormation can't delete a bus that has rules of others."""
    wanted = local.Wanted(folder=tmp_path / "stage", settings={**SETTINGS, "protected": "true"})
    stage = LocalStage(local.up(wanted, say=print))
    yield stage
    stage.end()


@contextmanager
def another_region(folder: Path, gopro_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalStage]:
    """A stage in another region and on an emulator of its own, with the same GoPro Cloud."""
    for module in (deploy, emulator, local):
        monkeypatch.setattr(module, "REGION", ELSEWHERE)
    wanted = local.Wanted(folder=folder, gopro_url=gopro_url, settings=SETTINGS)
    stage = LocalStage(local.up(wanted, say=print))
    assert stage.deployment.session.region_name == ELSEWHERE
    yield stage
    stage.end()
    monkeypatch.undo()


@pytest.fixture
def run(stage: LocalStage, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command on the stage; return its exit status, its output and its remarks."""

    def run(*arguments: str, on: LocalStage = stage) -> tuple[int, str, str]:
        capsys.readouterr()
        status = command.main([*arguments, "--stage-dir", str(on.record.folder)])
        out, err = capsys.readouterr()
        return status, out, err

    return run


def originals(stage: LocalStage, bucket: str) -> dict[tuple[str, str], str]:
    """Return the SHA-256 of every version of every original in a bucket, by key and version."""
    s3, found = stage.client("s3"), {}
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix="gopro/"):
        for one in page.get("Versions", []):
            named = {"Bucket": bucket, "Key": one["Key"], "VersionId": one["VersionId"]}
            body = s3.get_object(**named)["Body"].read()
            found[one["Key"], one["VersionId"]] = hashlib.sha256(body).hexdigest()
    return found


def test_a_new_stack_takes_back_what_a_deleted_one_has_left(stage: LocalStage, run: Run) -> None:
    stage.control.replace_library(Library(media=MEDIA))
    assert run("trigger", "--wait")[0] == 0
    bucket = stage.outputs["MediaBucketName"]
    stored = originals(stage, bucket)
    assert len(stored) == sum(len(list(medium.originals())) for medium in MEDIA)

    # Nothing goes before the operator has said so.
    assert run("uninstall")[0] == 2
    status, out, err = run("uninstall", "--yes")
    assert (status, "protected" in err) == (2, True)
    assert f"{bucket}: " in out
    status, out, _ = run("uninstall", "--dry-run")
    assert status == 0
    assert run("status")[0] == 0

    status, out, err = run("uninstall", "--yes", "--unprotect")
    assert (status, "is deleted" in err) == (0, True), err
    taken = tomllib.loads(out[out.index("media_bucket = ") :])
    assert set(taken) == set(uninstall.OUTPUTS) - {"kms_key"}
    assert run("status")[0] == 2
    assert originals(stage, bucket) == stored
    for setting in ("library_table", "syncs_table", "authenticator_table"):
        table = stage.client("dynamodb").describe_table(TableName=taken[setting])["Table"]
        assert table["DeletionProtectionEnabled"] is True

    back = LocalStage(local.up(local.Wanted(folder=stage.record.folder, settings={**SETTINGS, **taken}), say=print))
    assert {name: back.outputs[uninstall.OUTPUTS[name]] for name in taken} == taken
    assert back.outputs["EventBusName"] == stage.outputs["EventBusName"]
    back.control.forget()
    assert run("trigger", "--wait")[0] == 0
    assert sum(one.bytes_sent for one in back.control.requests("cdn")) == 0
    assert back.control.requests("download") == []
    assert originals(back, bucket) == stored
    assert run("verify")[0] == 0

    # And it goes on: what is new is stored beside it.
    new = video(4)
    back.control.replace_library(Library(media=(*MEDIA, new)))
    back.control.forget()
    assert run("trigger", "--wait")[0] == 0
    assert {one.media_id for one in back.control.requests("cdn")} == {new.media_id}
    assert stored.items() < originals(back, bucket).items()

    # It can be left again, and the same settings take everything back.
    status, out, _ = run("uninstall", "--yes")
    assert (status, tomllib.loads(out[out.index("media_bucket = ") :])) == (0, taken)
    assert stored.items() < originals(back, bucket).items()


def test_a_library_moves_to_another_region_and_nothing_is_fetched_again(
    stage: LocalStage, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.control.replace_library(Library(media=MEDIA))
    assert run("trigger", "--wait")[0] == 0
    old, credentials = stage.outputs["MediaBucketName"], stage.outputs["CredentialsSecretName"]
    stored = originals(stage, old)
    secret = stage.client("secretsmanager").get_secret_value(SecretId=credentials)["SecretString"]

    with another_region(tmp_path / "elsewhere", stage.record.gopro_url, monkeypatch) as moved:
        new = moved.outputs["MediaBucketName"]
        copy(stage, old, moved, new)
        status, out, _ = run("adopt", on=moved)
        assert status == 0, out
        assert run("verify", on=moved)[0] == 0
        moved.client("secretsmanager").put_secret_value(
            SecretId=moved.outputs["CredentialsSecretName"], SecretString=secret
        )

        stage.control.forget()
        assert run("trigger", "--wait", on=moved)[0] == 0
        assert sum(one.bytes_sent for one in stage.control.requests("cdn")) == 0
        assert {key: content for (key, _), content in originals(moved, new).items()} == {
            key: content for (key, _), content in stored.items()
        }


def copy(source: LocalStage, old: str, target: LocalStage, new: str) -> None:
    """Copy the originals as `aws s3 sync` does: with their metadata, and in parts of its own size."""
    here, there = source.client("s3"), target.client("s3")
    for page in here.get_paginator("list_objects_v2").paginate(Bucket=old, Prefix="gopro/"):
        for listed in page["Contents"]:
            found = here.get_object(Bucket=old, Key=listed["Key"])
            kept = {name: found[name] for name in ("Metadata", "ContentType", "ContentDisposition") if name in found}
            there.upload_fileobj(
                BytesIO(found["Body"].read()), new, listed["Key"], ExtraArgs=kept, Config=TransferConfig()
            )
