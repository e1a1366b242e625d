"""A night on which something fails, as its operator has it: from what is told to everything stored."""

import html
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ops.local.gopro_cloud.faults import Drop
from services.summarizer.report import page_key
from tests.e2e.desk import Desk
from tests.e2e.media import assert_stored, serve, video
from tests.e2e.stage import SETTINGS, Stage, eventually

pytestmark = pytest.mark.slow


def in_the_notification(stage: Stage, sync_id: str) -> Sequence[str]:
    """Return the commands that the notification says to type."""
    message = stage.wait_for_notification(sync_id)["Message"]
    todo = message.partition("To do:\n")[2].partition("\n\n")[0]
    return [line.strip() for line in todo.splitlines() if line.strip().startswith("cloud-sync ")]


def on_the_page(stage: Stage, sync_id: str) -> Sequence[str]:
    """Return the commands that the sync's page says to type."""
    found = stage.client("s3").get_object(Bucket=stage.outputs["MediaBucketName"], Key=page_key(sync_id))
    codes = re.findall(r"<pre><code>(.*?)</code></pre>", found["Body"].read().decode())
    return [html.unescape(re.sub(r"<[^>]*>", "", code)) for code in codes]


@pytest.mark.parametrize("told", [in_the_notification, on_the_page])
def test_what_the_operator_is_told_to_type_brings_everything_into_the_bucket(
    stage: Stage, tmp_path: Path, told: Callable[[Stage, str], Sequence[str]]
) -> None:
    good, cut = video(1), video(2)
    serve(stage, good, video(2, Drop(at_bytes=1000, times=None)))
    sync_id = stage.trigger()
    eventually(lambda: stage.dead_letters("downloader"), "a dead letter of the downloader")
    stage.wait_for_close(sync_id)
    commands = told(stage, sync_id)
    began = time.monotonic()
    stage.control.disarm(cut.media_id)  # the cause is gone, as what was told asks to make sure

    assert [command for command in commands if "redrive" in command]
    desk = Desk(stage, tmp_path, SETTINGS)
    desk.run([f".venv/bin/{command}".replace("--local", "--env prod") for command in commands], {})

    assert_stored(stage, good, cut)
    assert stage.all_dead_letters() == []
    print(f"everything is stored {time.monotonic() - began:.1f} s after the operator began to type")
