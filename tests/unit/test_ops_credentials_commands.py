"""`cloud-sync credentials`: what is stored, what GoPro was asked, and that nobody sees the token."""

import io
import json
import os
import pty
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops import command
from ops.credentials.prompt import read_hidden
from ops.deployment import Deployment
from ops.local.gopro_cloud.cloud import FakeGoProCloud
from ops.local.gopro_cloud.faults import Answer, Refused
from ops.local.gopro_cloud.library import Library, Series
from services.authenticator.authenticator_table import HEALTH_KEY

Output = pytest.CaptureFixture[str]


@pytest.fixture
def cloud() -> Iterator[FakeGoProCloud]:
    with FakeGoProCloud(Library(series=(Series(count=3),))) as running:
        yield running


@pytest.fixture
def token(cloud: FakeGoProCloud) -> str:
    return cloud.tokens.paste(9 * 3600)


@pytest.fixture(autouse=True)
def stack(monkeypatch: pytest.MonkeyPatch, deployment: Deployment, cloud: FakeGoProCloud) -> Deployment:
    secrets = deployment.client("secretsmanager")
    bus = deployment.client("events").create_event_bus(Name="bus")
    deployment.outputs.update(
        CredentialsSecretName=secrets.create_secret(Name="credentials", SecretString="{}")["ARN"],
        SessionSecretName=secrets.create_secret(Name="session", SecretString="{}")["ARN"],
        EventBusName=bus["EventBusArn"].rpartition("/")[2],
        GoProApiUrl=cloud.url,
        DownloadHosts="127.0.0.1",
    )
    monkeypatch.setattr(command, "_deployment", lambda _, **__: deployment)
    return deployment


def stored(stack: Deployment) -> object:
    secret = stack.outputs["CredentialsSecretName"]
    return json.loads(stack.client("secretsmanager").get_secret_value(SecretId=secret)["SecretString"])


def begin_session(stack: Deployment, token: str, **more: object) -> None:
    session = {"access_token": token, "version": 3, "obtained_at": "2026-11-27T01:00:00Z", **more}
    secret = stack.outputs["SessionSecretName"]
    stack.client("secretsmanager").put_secret_value(SecretId=secret, SecretString=json.dumps(session))


def paste(monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    standard_input = io.TextIOWrapper(io.BytesIO(content.encode()))
    monkeypatch.setattr("sys.stdin", standard_input)


def test_a_pasted_request_is_checked_and_its_token_alone_is_stored(
    monkeypatch: pytest.MonkeyPatch, capsys: Output, stack: Deployment, cloud: FakeGoProCloud, token: str
) -> None:
    paste(monkeypatch, f"curl 'https://api.gopro.com/media/user' -b '_ga=1; gp_access_token={token}; x=y'")
    assert command.main(["credentials", "set"]) == 0
    assert stored(stack) == {"access_token": token}
    assert [seen.endpoint for seen in cloud.observations.requests()] == ["user", "search"]
    said = capsys.readouterr()
    assert "recognised a request copied as cURL (bash); dropped 2 other cookies" in said.err
    assert "GoPro accepts it: 3 media" in said.err
    assert token not in said.out + said.err


def test_a_sync_is_begun_at_once_where_it_is_wanted(
    monkeypatch: pytest.MonkeyPatch, capsys: Output, token: str
) -> None:
    paste(monkeypatch, token)
    assert command.main(["credentials", "set", "-", "--sync"]) == 0
    said = capsys.readouterr()
    assert f"watch {said.out.strip()}" in said.err


def test_no_second_sync_is_begun_while_one_is_under_way(
    monkeypatch: pytest.MonkeyPatch, capsys: Output, stack: Deployment, token: str
) -> None:
    for item in ({"sync_id": "s1", "record": "sync", "state": "OPEN"}, {"sync_id": "#unsettled", "record": "s1"}):
        stack.table("SyncsTableName").put_item(Item=item)
    paste(monkeypatch, token)
    assert command.main(["credentials", "set", "--sync"]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "a sync is under way: .venv/bin/cloud-sync watch s1" in said.err
    assert stored(stack) == {"access_token": token}


def test_a_file_is_read(tmp_path: Path, stack: Deployment, token: str) -> None:
    file = tmp_path / "cookie.txt"
    file.write_text(f"Bearer {token}")
    assert command.main(["credentials", "set", str(file)]) == 0
    assert stored(stack) == {"access_token": token}


def test_a_token_in_place_of_a_file_is_not_repeated(capsys: Output, stack: Deployment, token: str) -> None:
    assert command.main(["credentials", "set", token]) == 2
    said = capsys.readouterr().err
    assert "never the token itself" in said
    assert token not in said
    assert stored(stack) == {}


@pytest.mark.parametrize(
    ("endpoint", "error", "said"),
    [
        ("user", "invalid_token", "GoPro's account does not accept the token"),
        ("search", "invalid_token", "its session is at its end"),
        ("user", "subscription_required", "check that the subscription is active"),
    ],
)
def test_both_calls_have_to_accept_the_token(
    monkeypatch: pytest.MonkeyPatch,
    capsys: Output,
    stack: Deployment,
    cloud: FakeGoProCloud,
    token: str,
    endpoint: str,
    error: str,
    said: str,
) -> None:
    refused = {"endpoint": endpoint, "status": 401, "error": error, "message": ""}
    cloud.arm(Refused(**refused))  # type: ignore[arg-type]  # the stubs know each field by its own type
    paste(monkeypatch, token)
    assert command.main(["credentials", "set"]) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert ("Nothing was stored" in shown) == (error == "invalid_token")
    assert stored(stack) == {}


def test_an_outage_is_told_from_a_refusal(
    monkeypatch: pytest.MonkeyPatch, capsys: Output, stack: Deployment, cloud: FakeGoProCloud, token: str
) -> None:
    cloud.arm(Answer(endpoint="user", status=503))
    paste(monkeypatch, token)
    assert command.main(["credentials", "set"]) == 2
    assert "could not be asked" in capsys.readouterr().err
    assert stored(stack) == {}


def test_an_oauth_client_is_stored_without_a_try_that_would_use_it_up(
    monkeypatch: pytest.MonkeyPatch, stack: Deployment, cloud: FakeGoProCloud
) -> None:
    credentials = {"client_id": "c", "client_secret": "s", "refresh_token": "r"}
    paste(monkeypatch, json.dumps(credentials))
    assert command.main(["credentials", "set"]) == 0
    assert stored(stack) == credentials
    assert not cloud.observations.requests()


def test_check_says_what_is_stored_and_whether_gopro_accepts_it(
    capsys: Output, stack: Deployment, cloud: FakeGoProCloud, token: str
) -> None:
    assert command.main(["credentials", "check"]) == 1
    assert "none yet" in capsys.readouterr().out
    begin_session(stack, token)
    stack.table("AuthenticatorTableName").put_item(Item={**HEALTH_KEY, "lives": [32_400, 90_000]})
    assert command.main(["credentials", "check"]) == 0
    said = capsys.readouterr()
    assert "the last pasted ones lived for 9.0, 25.0 hours" in said.out
    assert "session      number 3, since 2026-11-27 01:00Z" in said.out
    assert "accepts it, for the account and for the listing: 3 media" in said.out
    assert command.main(["credentials", "check", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["session"], found["lives_hours"], found["refused_because"]) == (3, [9.0, 25.0], "")
    assert found["accepted_for"].startswith("3 media")
    assert token not in json.dumps(found)
    cloud.tokens.revoke_access()
    assert command.main(["credentials", "check"]) == 1
    again = capsys.readouterr()
    assert "does not accept the token" in again.out
    assert "credentials login" in again.err
    assert token not in said.out + said.err + again.out + again.err


def test_check_asks_nobody_about_a_session_that_is_known_dead(
    capsys: Output, stack: Deployment, cloud: FakeGoProCloud, token: str
) -> None:
    begin_session(stack, token, dead_because="the pasted token is dead")
    assert command.main(["credentials", "check"]) == 1
    assert "the pasted token is dead" in capsys.readouterr().out
    assert not cloud.observations.requests()


def test_a_stack_that_is_too_old_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: Output, stack: Deployment, token: str
) -> None:
    del stack.outputs["GoProApiUrl"]
    paste(monkeypatch, token)
    assert command.main(["credentials", "set"]) == 2
    assert "deploy it again" in capsys.readouterr().err


def test_the_prompt_shows_nothing_and_takes_lines_longer_than_a_terminal_keeps(capsys: Output) -> None:
    person, program = pty.openpty()
    pasted = b"curl 'https://api.gopro.com/' \\\r\n -b '" + b"x" * 9_000 + b"'\r\n"

    def paste_slowly() -> None:
        for at in range(0, len(pasted), 1_000):
            os.write(person, pasted[at : at + 1_000])
            time.sleep(0.005)

    with os.fdopen(program, "r+b", buffering=0) as raw, io.TextIOWrapper(raw, write_through=True) as terminal:
        pasting = threading.Timer(0.2, paste_slowly)
        pasting.start()
        read = read_hidden("> ", terminal)
        pasting.join()
        os.set_blocking(person, False)
        with pytest.raises(BlockingIOError):  # nothing was echoed
            os.read(person, 1)
    os.close(person)
    assert read.replace(b"\r", b"").replace(b"\n", b"") == pasted.replace(b"\r", b"").replace(b"\n", b"")
    assert capsys.readouterr().err == "> \n"
