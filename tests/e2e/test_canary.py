"""The canary: whatever goes wrong, no secret that was in reach shows in anything that the stage puts out.

The search itself is the `stage` fixture's, after every end-to-end test. Here every kind of output is provoked with
secrets in reach, and leaks are planted to show that each would be found.
"""

import base64
import json
import secrets
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import quote

import psutil
import pytest

from ops.local.gopro_cloud.faults import Answer, Drop, Echo, Fault, Redirect, Throttle
from services.shared.events import SERVICES
from tests.e2e import outputs
from tests.e2e.canary import IN_PART, Finder, Secret, report
from tests.e2e.media import serve, video
from tests.e2e.stage import Stage, eventually

FOR_EVER: dict[str, Any] = {"times": None}


def private() -> str:
    """A value that nobody else has, with marks in it that encodings change."""
    return f'{secrets.token_urlsafe(24)}+/"&{secrets.token_hex(12)}'


@pytest.fixture
def login(stage: Stage) -> dict[str, str]:
    """Credentials that are in the secret and that nobody has seen before; GoPro takes them."""
    account = {name: private() for name in ("client_secret", "password", "refresh_token")}
    stage.control.configure_account(**account, expires_in=20)
    credentials = {**stage.credentials, **account}
    stage.put_secret("CredentialsSecretName", credentials)
    return credentials


# --- provoking ------------------------------------------------------------------------------------------------------


def a_sync_whose_errors_echo_all_that_they_were_sent(stage: Stage) -> str:
    """Most of its media fail for good, and its session is refused in the middle. Returns the sync's id."""
    faults: list[Fault] = [
        *(Echo(endpoint="download", status=status, **FOR_EVER) for status in (200, 302, 400, 404, 500)),
        *(Echo(endpoint="cdn", status=status, **FOR_EVER) for status in (302, 400, 403, 404, 500)),
        Redirect(location="http://169.254.169.254/latest/meta-data/", **FOR_EVER),
        Drop(at_bytes=0, **FOR_EVER),
        Answer(endpoint="download", status=403, html=True),
    ]
    media = [video(number, fault) for number, fault in enumerate(faults)]
    media += [video(90, Throttle(bytes_per_second=100_000)), video(91), video(92, gone=True)]
    serve(stage, *media)
    stage.control.arm(Echo(endpoint="token"), Echo(endpoint="user"), Echo(endpoint="search"))
    sync_id = stage.trigger()
    stage.wait_for_event("MediaDownloaded", sync_id)
    stage.control.revoke_tokens("access")
    return sync_id


def messages_that_can_not_be_read(stage: Stage, value: str) -> None:
    """One for each inbox; the value may then be where it was put, and among the dead letters."""
    stage.canary.know("value in a message", value, may_lie_in=[outputs.QUEUE_BODY, outputs.DEAD_LETTER])
    bodies = {
        "authenticator": f'{{"detail-type": "SyncRequested", "detail": {{"access_token": "{value}"',
        "lister": json.dumps({"detail-type": "SessionAuthenticated", "detail": {"data": {"session_version": value}}}),
        "downloader": json.dumps({"detail-type": value, "detail": {"metadata": {"sync_id": value}, "data": value}}),
        "summarizer": f"Authorization: {value}",
    }
    for service, body in bodies.items():
        stage.send(service, body)


def functions_that_crash(stage: Stage, value: str) -> None:
    """By an event that is none, and before they have begun."""
    functions = stage.client("lambda")
    event = json.dumps({"Records": [{"body": value, "access_token": value}]})
    stage.canary.know("value in a record", value)
    for service in SERVICES:
        name = stage.output(service, "FunctionName")
        assert "FunctionError" in functions.invoke(FunctionName=name, Payload=event), service
    with stage.environment("lister", MAX_MEDIA_PER_SYNC="many"):
        name = stage.output("lister", "FunctionName")
        assert "FunctionError" in functions.invoke(FunctionName=name, Payload=event)


def a_session_that_can_not_be_read(stage: Stage) -> None:
    """The lister meets it; the authenticator writes the secret anew with the next session."""
    session = {"access_token": private(), "version": private()}
    stage.canary.know("access token", session["access_token"])
    stage.canary.know("access token", session["version"])
    secret = stage.variables("lister")["SESSION_SECRET"]
    stage.client("secretsmanager").put_secret_value(SecretId=secret, SecretString=json.dumps(session))
    detail = {"session_version": 1, "requested_at": "2026-11-25T02:00:00Z"}
    metadata = {"sync_id": "unreadable-session", "version": 1}
    stage.put_event("SessionAuthenticated", {"metadata": metadata, "data": detail})


def credentials_that_are_none(stage: Stage) -> list[dict[str, str] | str]:
    client = {"client_id": stage.credentials["client_id"], "client_secret": private()}
    return [
        f'{{"client_id": "x", "client_secret": "{secrets.token_hex(20)}", "refresh_token": ',
        f'["{secrets.token_hex(20)}"]',
        f'{{"access_token": {{"value": "{secrets.token_hex(20)}"}}}}',
        {**client, "refresh_token": f"{private()}\n{private()}"},
        {"access_token": f"{private()} {private()}"},
        {"access_token": private()},
    ]


def refused(stage: Stage, name: str) -> str:
    """A sync that gets no session."""
    stage.trigger(sync_id=name)
    return str(stage.wait_for_event("AuthenticationFailed", name)["detail"]["data"]["reason"])


@pytest.mark.scenario(56)
def test_no_secret_shows_in_any_output_whatever_goes_wrong(stage: Stage, login: dict[str, str]) -> None:
    echoing = a_sync_whose_errors_echo_all_that_they_were_sent(stage)
    finds = stage.canary.search()  # while messages wait in the inboxes
    messages_that_can_not_be_read(stage, private())
    functions_that_crash(stage, private())
    summary = stage.summary(echoing)
    assert (summary["downloaded"], summary["failed"]) == (3, 13)
    assert stage.events("SessionRejected", echoing)
    assert len(stage.control.secrets()["access_token"]) >= 2, "the session was renewed"
    assert stage.control.not_struck() == []

    a_session_that_can_not_be_read(stage)
    for number, credentials in enumerate(credentials_that_are_none(stage)):
        stage.put_secret("CredentialsSecretName", credentials)
        refused(stage, f"malformed-{number}")
    for number, status in enumerate((200, 302, 400, 401, 403)):
        stage.put_secret("CredentialsSecretName", {**login, "refresh_token": private(), "password": ""})
        stage.control.arm(Echo(endpoint="token", status=status))
        refused(stage, f"refused-{number}")
    stage.put_secret("CredentialsSecretName", {**login, "password": private(), "refresh_token": ""})
    refused(stage, "wrong-password")

    stage.summary("unreadable-session", "SyncFailed")  # before a session can be read again

    pasted = stage.control.paste_token(3600)
    stage.put_secret("CredentialsSecretName", {"access_token": pasted})
    stage.control.arm(Echo(endpoint="search", status=400, **FOR_EVER))
    listing = stage.summary(stage.trigger(), "SyncFailed")
    assert listing["closed_because"] == "listing_failed", listing["reason"]
    stage.control.revoke_tokens("access")
    assert "pasted token is dead" in refused(stage, "pasted-token-died")
    for service in SERVICES:
        eventually(partial(stage.dead_letters, service), f"a dead letter of the {service}")

    finds += stage.canary.search()
    assert not finds, report(finds)
    assert set(outputs.KINDS) == set(+stage.canary.searched), "a search in nothing shows nothing"


# --- would it be found? ---------------------------------------------------------------------------------------------


def log_line(stage: Stage, value: str, text: str = "a token: {}") -> None:
    logs, where = (
        stage.client("logs"),
        {"logGroupName": stage.outputs["ListerLogGroupName"], "logStreamName": private()},
    )
    logs.create_log_stream(**where)
    logs.put_log_events(**where, logEvents=[{"timestamp": int(time.time() * 1000), "message": text.format(value)}])


def exception(stage: Stage, value: str) -> None:
    log_line(stage, value, 'Traceback (most recent call last):\n  File "x.py", line 1\nValueError: {}')


def event(stage: Stage, value: str) -> None:
    stage.put_event("Planted", {"note": value})
    stage.wait_for_event("Planted")


def queue_body(stage: Stage, value: str, output: str = "ListerQueueUrl") -> None:
    stage.client("sqs").send_message(QueueUrl=stage.outputs[output], MessageBody=value, DelaySeconds=600)


def dead_letter(stage: Stage, value: str) -> None:
    queue_body(stage, value, "ListerDeadLettersUrl")


def item(stage: Stage, value: str) -> None:
    stage.deployment.table("LibraryTableName").put_item(Item={"media_id": "planted", "item": 0, "reason": value})


def planted_object(stage: Stage, key: str, content: str = "", **more: Any) -> None:
    stage.client("s3").put_object(Bucket=stage.outputs["MediaBucketName"], Key=key, Body=content, **more)


def object_metadata(stage: Stage, value: str) -> None:
    planted_object(stage, "gopro/metadata", Metadata={"origin": quote(value)})


def object_tag(stage: Stage, value: str) -> None:
    planted_object(stage, "gopro/tag", "x", Tagging=f"origin={quote(value, safe='')}")


def object_key(stage: Stage, value: str) -> None:
    planted_object(stage, f"gopro/{value}")


def object_content(stage: Stage, value: str) -> None:
    planted_object(stage, "reports/planted", json.dumps({"reason": value}))


def notification(stage: Stage, value: str) -> None:
    attribute = {"severity": {"DataType": "String", "StringValue": value}}
    topic = stage.outputs["NotificationTopicArn"]
    stage.client("sns").publish(TopicArn=topic, Message="planted", MessageAttributes=attribute)
    eventually(stage.notifications, "the notification")


def trace(stage: Stage, value: str) -> None:
    """A segment as a function sends it, to the daemon that the functions have."""
    stage.client("lambda").invoke(FunctionName=stage.output("summarizer", "FunctionName"), Payload='{"Records": []}')
    (worker, *_) = stage.worker_pids("summarizer")
    host, port = psutil.Process(worker).environ()["AWS_XRAY_DAEMON_ADDRESS"].split(":")
    xray, began = stage.client("xray"), time.time() - 60
    known = eventually(lambda: [*outputs.traces(xray, began)], "a trace")
    segment = {"trace_id": known[-1].id, "id": "b" * 16, "name": "planted", "metadata": value}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.sendto(f'{{"format":"json","version":1}}\n{json.dumps(segment)}'.encode(), (host, int(port)))
    eventually(lambda: value in str([*outputs.traces(xray, began)]), "the planted segment")


def setting(stage: Stage, value: str) -> None:
    stage.configure("lister", Description=value)


LEAKS: dict[Callable[[Stage, str], None], str] = {
    log_line: outputs.LOG_LINE,
    exception: outputs.EXCEPTION,
    event: outputs.EVENT,
    queue_body: outputs.QUEUE_BODY,
    dead_letter: outputs.DEAD_LETTER,
    item: outputs.ITEM,
    object_metadata: outputs.OBJECT,
    object_tag: outputs.OBJECT,
    object_key: outputs.OBJECT,
    object_content: outputs.CONTENT,
    notification: outputs.NOTIFICATION,
    trace: outputs.TRACE,
    setting: outputs.SETTING,
}


@pytest.mark.scenario(56)
def test_a_leak_into_any_kind_of_output_is_found_and_its_place_is_named(stage: Stage) -> None:
    assert {*LEAKS.values()} == {*outputs.KINDS}
    planted = {leak: secrets.token_urlsafe(40) for leak in LEAKS}
    description = stage.function("lister")["Description"]
    try:
        for leak, value in planted.items():
            stage.canary.know(leak.__name__, value)
            leak(stage, value)
        finds = stage.canary.search()
    finally:
        setting(stage, description)
        stage.clean()

    found = {(find.secret, find.output) for find in finds}
    # An exception is a line of the log too, and an event one of the bus's log; else a leak is found only where it was
    # planted.
    planted_at = {(leak.__name__, kind) for leak, kind in LEAKS.items()}
    assert found - {("exception", outputs.LOG_LINE)} == planted_at | {("event", outputs.LOG_LINE)}
    assert any(find.where.startswith(stage.outputs["EventLogGroupName"]) for find in finds)
    text = repr(finds) + report(finds)
    assert not any(value[at : at + IN_PART] in text for value in planted.values() for at in range(20))


TOKEN = f'canary-{"-".join(f"{number:04x}" for number in range(0x1000, 0x1020))}/é"%='


@pytest.mark.scenario(56)
@pytest.mark.parametrize(
    ("encoded", "encoding"),
    [
        (lambda token: token, "plain"),
        (lambda token: token[40 : 40 + IN_PART], "plain"),
        (lambda token: f"...{token[-IN_PART - 30 : -30]}", "plain"),
        (lambda token: quote(token, safe=""), "plain"),
        (lambda token: quote(token, safe="")[-IN_PART:], "URL-quoted"),
        (lambda token: json.dumps(token)[-IN_PART - 1 : -1], "JSON-escaped"),
        (lambda token: base64.b64encode(token.encode()).decode(), "base64 after 0 bytes"),
        (lambda token: base64.b64encode(f"a{token}".encode()).decode(), "base64 after 1 bytes"),
        (lambda token: base64.b64encode(f"ab{token}z".encode()).decode(), "base64 after 2 bytes"),
        (lambda token: base64.b64encode(f"user:{token[:60]}".encode()).decode(), "base64 after 2 bytes"),
    ],
)
@pytest.mark.parametrize("before", range(5))
def test_a_secret_is_found_in_part_and_encoded(encoded: Callable[[str], str], encoding: str, before: int) -> None:
    finder = Finder([Secret(kind="token", value=TOKEN)])
    assert ("token", encoding) in finder.find(f'{"x" * before} "{encoded(TOKEN)}" and on')


@pytest.mark.scenario(56)
def test_a_secret_that_may_lie_somewhere_is_found_elsewhere() -> None:
    finder = Finder([Secret(kind="marker", value=TOKEN, may_lie_in=frozenset({outputs.DEAD_LETTER}))])

    assert finder.find(TOKEN, outputs.DEAD_LETTER) == set()
    assert finder.find(TOKEN, outputs.LOG_LINE) == {("marker", "plain")}


@pytest.mark.scenario(56)
@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("https://cdn.example/x?Expires=1&Signature=abc", "signed URL"),
        ("KEY=1&Key-Pair-Id=K", "signed URL"),
        ("?response-content-disposition=attachment", "signed URL"),
        ("{'Authorization': 'Bearer abc'}", "Authorization header"),
        ("Cookie: gp_access_token=abc", "Authorization header"),
    ],
)
def test_signed_urls_and_sessions_are_known_by_their_form_too(text: str, mark: str) -> None:
    assert Finder([]).find(text) == {(mark, "plain")}
    assert Finder([]).find("GoPro refused the session (401) at /media/user; the signed URL no longer opens") == set()


def test_a_value_so_short_that_it_comes_up_by_chance_is_refused() -> None:
    with pytest.raises(AssertionError, match="can't be looked for"):
        Secret(kind="password", value="short")
