"""Attended mode as a person lives it: the session ends, the message says what to type, and what was stored stays."""

import subprocess
import sys
import time

from ops.local.gopro_cloud.faults import SessionsEnd
from tests.e2e.media import assert_stored, bytes_fetched, is_stored, serve, video
from tests.e2e.stage import Stage, eventually
from tools.template import ROOT

SERVED = 4  # download listings before the session ends
COMMAND = "cloud-sync credentials login --local"


def type_in(stage: Stage, *words: str, paste: str = "") -> str:
    """Run a command of `cloud-sync` as a person does; return what it prints to standard output."""
    command = [sys.executable, "-m", "ops", *words, "--stage-dir", str(stage.record.folder)]
    done = subprocess.run(command, cwd=ROOT, input=paste, capture_output=True, text=True, check=False)
    token = paste.rpartition("=")[2]
    assert not token or token not in done.stdout + done.stderr
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def sign_in(stage: Stage) -> str:
    """Paste a new session from the browser and start a sync with it; return the sync's id."""
    token = stage.control.paste_token(lifetime=9 * 3600)
    return type_in(stage, "credentials", "set", "--sync", paste=f"Cookie: _ga=1; gp_access_token={token}")


def test_from_an_empty_secret_over_a_session_that_dies_in_mid_library_to_everything_stored(stage: Stage) -> None:
    began = time.monotonic()

    def reached(what: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {what}", file=sys.stderr)

    media = [video(number) for number in range(12)]
    serve(stage, *media)
    stage.put_secret("CredentialsSecretName", "{}")
    first = stage.trigger()
    assert stage.summary(first, "SyncFailed")["closed_because"] == "auth_failed"
    assert COMMAND in stage.wait_for_notification(first)["Message"]
    reached("the notification says that there is no session, and which command gets one")

    stage.control.arm(SessionsEnd(after=SERVED))
    second = sign_in(stage)
    reached("a session is pasted, and the command has begun a sync")
    summary = stage.summary(second)
    stored = [medium for medium in media if is_stored(stage, medium)]
    assert summary["outcome"] == "partial"
    assert 1 <= len(stored) == summary["downloaded"] <= SERVED
    assert summary["downloaded"] + summary["failed"] + summary["outstanding"] == len(media)
    assert COMMAND in stage.wait_for_notification(second)["Message"]
    reached(f"the session died in mid-library; {len(stored)} media are kept, and the notification names the command")

    fetched = {medium.media_id: bytes_fetched(stage, medium) for medium in stored}
    third = sign_in(stage)
    assert stage.summary(third)["outcome"] == "completed"
    assert_stored(stage, *media)
    assert {medium.media_id: bytes_fetched(stage, medium) for medium in stored} == fetched, "nothing is fetched twice"
    reached("everything is stored")


def test_the_evening_probe_announces_a_dead_session_once(stage: Stage) -> None:
    serve(stage, video(1))
    assert stage.summary(sign_in(stage))["outcome"] == "completed"
    stage.control.revoke_tokens("access")
    for _ in range(2):
        stage.put_event("SessionProbeDue")
        stage.wait_for_event("SessionEnding")
        eventually(stage.is_idle, "the probe")
    (warning,) = stage.events("SessionEnding")
    message = stage.wait_for_notification(warning["detail"]["metadata"]["sync_id"])
    assert COMMAND in message["Message"]
    assert "the pasted token is dead" in message["Message"]
