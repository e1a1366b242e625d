"""Make what a past version leaves behind, for the test that today's services go on with it.

The past version runs on its own local stage, so this runs in a checkout of it, with that checkout's Python:

    git worktree add ../0.1.0 9befeef && make -C ../0.1.0 setup
    cd ../0.1.0 && .venv/bin/python ../cloud-sync/tools/upgrade_fixture.py > ../cloud-sync/tests/unit/left_by_0_1_0.json

Two syncs of a small library: the first stores what it can, the second is left with an upload in hand. The secrets'
tokens are replaced by their names.
"""

import base64
import importlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

MIB = 1 << 20
MADE_BY = "tools/upgrade_fixture.py in a checkout of 9befeef (0.1.0)"
TABLES = ("Library", "Syncs", "Authenticator")
PRIVATE = ("access_token", "refresh_token", "client_secret", "password")

# As the fake GoPro Cloud takes them, then and today.
MEDIA: list[dict[str, Any]] = [
    {"media_id": "6a9300000000000000000001", "contents": [("video", 90)], "filename": "GX010001.MP4"},
    {
        "media_id": "6a9300000000000000000002",
        "shape": "chaptered",
        "contents": [("one", 80), ("two", 70), ("three", 60)],
        "filename": "GX010002.MP4",
    },
    {
        "media_id": "6a9300000000000000000003",
        "shape": "burst",
        "contents": [("b1", 50), ("b2", 51), ("b3", 52)],
        "filename": "G0010003.JPG",
    },
    {
        "media_id": "6a9300000000000000000004",
        "shape": "photo",
        "contents": [("photo", 40)],
        "raw": ("raw", 45),
        "filename": "GOPR0004.JPG",
    },
    {"media_id": "aB3dE5fG7hJ9k", "shape": "edit", "contents": [("edit", 30)], "filename": ""},
    # The first frames of it are stored, and then it fails.
    {
        "media_id": "6a9300000000000000000005",
        "shape": "burst",
        "type": "TimeLapse",
        "contents": [("f1", 20), ("f2", 21), ("f3", 22), ("f4", 23)],
        "filename": "G0010005.JPG",
    },
    {"media_id": "6a9300000000000000000006", "contents": [("gone", 35)], "filename": "GX010006.MP4"},
]
IN_HAND = {
    "media_id": "6a9300000000000000000007",
    "contents": [("in hand", 12 * MIB + 345)],
    "filename": "GX010007.MP4",
    "etag_part_bytes": 5 * MIB,
}
PARTLY, GONE = MEDIA[-2]["media_id"], MEDIA[-1]["media_id"]


def main() -> None:
    sys.path.insert(0, str(Path.cwd()))
    old, stage = importlib.import_module("tests.gopro_cloud"), importlib.import_module("tests.e2e.stage")
    faults = importlib.import_module("tests.gopro_cloud.faults")

    def medium(form: dict[str, Any], **more: Any) -> Any:
        contents = tuple(old.Generated(size, seed) for seed, size in form["contents"])
        raw = {"raw": old.Generated(form["raw"][1], form["raw"][0])} if "raw" in form else {}
        return old.Medium(**{**form, "contents": contents, **raw, **more})

    media = [medium(form, gone=form["media_id"] == GONE) for form in MEDIA]
    frame = faults.Answer(endpoint="cdn", media_id=PARTLY, item=3, status=404, times=None)
    slow = medium(IN_HAND, faults=(faults.Throttle(bytes_per_second=1_000_000, times=None),))
    with tempfile.TemporaryDirectory() as folder:
        wanted = stage.local.Wanted(folder=Path(folder) / "stage", settings=stage.SETTINGS)
        running = stage.Stage(stage.local.up(wanted, say=lambda text: print(text, file=sys.stderr)))
        try:
            running.listen()
            running.control.replace_library(old.Library(media=tuple(media), faults=(frame,)))
            running.wait_for_close(running.trigger())
            running.control.replace_library(old.Library(media=(*media, slow), faults=(frame,)))
            running.trigger()
            stage.eventually(lambda: any(running.parts_of(upload) for upload in running.uploads()), what="a part")
            time.sleep(1)  # the other media's results
            left = _left(running)
        finally:
            running.end()
    print(json.dumps(left, indent=1, sort_keys=True))


def _left(stage: Any) -> dict[str, Any]:
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    s3, dynamodb, bucket = stage.client("s3"), stage.client("dynamodb"), stage.outputs["MediaBucketName"]
    (upload,) = stage.uploads()
    events = stage.events("MediaDiscovered")
    (message,) = (event for event in events if event["detail"]["data"]["media_id"] == IN_HAND["media_id"])
    parts = s3.list_parts(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])["Parts"]
    objects = []
    for listed in s3.list_objects_v2(Bucket=bucket)["Contents"]:
        found = s3.get_object(Bucket=bucket, Key=listed["Key"])
        body = base64.b64encode(found["Body"].read()).decode()
        objects.append({"key": listed["Key"], "metadata": found["Metadata"], "body": body})
    variables = stage.client("lambda").get_function_configuration(
        FunctionName=stage.outputs["AuthenticatorFunctionName"]
    )["Environment"]["Variables"]
    secrets = {}
    for name in ("CREDENTIALS_SECRET", "REFRESH_SECRET", "SESSION_SECRET"):
        text = stage.client("secretsmanager").get_secret_value(SecretId=variables[name])["SecretString"]
        content = json.loads(text)
        secrets[name] = {key: f"<{key}>" if key in PRIVATE else value for key, value in content.items()}
    return {
        "_": f"Made by {MADE_BY}",
        "commit": commit,
        "library": [_today(form) for form in (*MEDIA, IN_HAND)],
        "tables": {name: dynamodb.scan(TableName=stage.outputs[f"{name}TableName"])["Items"] for name in TABLES},
        "objects": objects,
        "upload": {
            "key": upload["Key"],
            "upload_id": upload["UploadId"],
            "parts": [{"number": part["PartNumber"], "size": part["Size"]} for part in parts],
        },
        "message": message,
        "secrets": secrets,
    }


def _today(form: dict[str, Any]) -> dict[str, Any]:
    """Return a medium in the form that today's fake GoPro Cloud reads."""

    def content(seed: str, size: int) -> dict[str, Any]:
        return {"kind": "generated", "seed": seed, "size": size}

    raw = {"raw": content(*form["raw"])} if "raw" in form else {}
    return {**form, "contents": [content(seed, size) for seed, size in form["contents"]], **raw}


if __name__ == "__main__":
    main()
