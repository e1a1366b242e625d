"""The fake GoPro Cloud: scripting and watching it from another process, and its own process."""

import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
import requests

from ops.local.gopro_cloud import (
    DEMO_CREDENTIALS,
    Control,
    FakeGoProCloud,
    Generated,
    Library,
    Literal,
    LocalFile,
    Medium,
    Sample,
    Series,
    Shape,
    demo,
)
from ops.local.gopro_cloud.__main__ import main
from ops.local.gopro_cloud.faults import Answer, Drop, Echo, LibraryChange, ShortPage
from ops.local.gopro_cloud.visitor import Visitor

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = Library(
    media=(
        Medium(media_id="a", contents=(Generated(1000, "a"),), faults=(Answer(endpoint="download", status=500),)),
        Medium(media_id="b", shape=Shape.PHOTO, contents=(Sample("photo.jpg", 20_000),), raw=Literal(b"raw")),
        Medium(
            media_id="c", shape=Shape.CHAPTERED, contents=(Generated(9, "1"), LocalFile(__file__)), listed_size=None
        ),
    ),
    series=(Series(count=3),),
    faults=(ShortPage(rows=2), LibraryChange(add=(Medium(media_id="d").to_json(),), remove=("a",), after=99)),
)


@pytest.fixture
def cloud() -> Iterator[FakeGoProCloud]:
    with FakeGoProCloud(LIBRARY) as cloud:
        yield cloud


@pytest.fixture
def control(cloud: FakeGoProCloud) -> Control:
    return Control(cloud.control_url)


def session(cloud: FakeGoProCloud, control: Control) -> Visitor:
    return Visitor(cloud.url, control.paste_token(3600))


def call(control: Control, name: str, form: object) -> requests.Response:
    return requests.post(f"{control.url}/{name}", json=form, timeout=60)


@pytest.mark.parametrize("library", [LIBRARY, demo.LIBRARY])
def test_a_library_survives_being_written_as_json(library: Library) -> None:
    assert msgspec.json.decode(msgspec.json.encode(library), type=Library) == library


@pytest.mark.parametrize(
    ("form", "why"),
    [
        ({"medias": []}, "medias"),
        ({"media": [{"media_id": "a", "colour": "red"}]}, "colour"),
        ({"media": [{"media_id": "a", "contents": [{"kind": "cake"}]}]}, "cake"),
        ({"media": [{"media_id": "a", "contents": [{"kind": "sample", "name": "cake.mp4", "size": 9}]}]}, "cake.mp4"),
        ({"media": [{"media_id": "a", "faults": [{"fault": "flood"}]}]}, "flood"),
        ({"media": [{"media_id": "a", "faults": [{"fault": "drop", "at_bytes": 1, "endpoint": "moon"}]}]}, "moon"),
        ({"media": [{"media_id": "a"}, {"media_id": "a"}]}, "same id"),
    ],
)
def test_a_library_that_cannot_be_read_is_refused_with_its_reason(
    cloud: FakeGoProCloud, control: Control, form: dict[str, Any], why: str
) -> None:
    refused = call(control, "replace_library", {"library": form})
    assert refused.status_code == 400
    assert why in refused.json()["error"]
    assert len(cloud.catalogue.search()) == 6


def test_a_wrong_call_is_refused_with_its_reason(control: Control) -> None:
    unknown = call(control, "nonsense", {})
    assert unknown.status_code == 404
    assert "replace_library" in unknown.json()["error"]
    assert "colour" in call(control, "advance", {"seconds": 1, "colour": "red"}).json()["error"]
    assert "seconds" in call(control, "advance", {}).json()["error"]
    assert "float" in call(control, "advance", {"seconds": "many"}).json()["error"]
    for wrong in ({"colour": "red"}, {"expires_in": "soon"}):
        with pytest.raises(ValueError, match="account"):
            control.configure_account(**wrong)
    with pytest.raises(ValueError, match="no medium"):
        control.originals("nobody")
    with pytest.raises(ValueError, match="backwards"):
        control.advance(-1)


def test_the_library_can_be_replaced_and_reset(cloud: FakeGoProCloud, control: Control) -> None:
    control.replace_library(Library(media=(Medium(media_id="other"),)))
    assert session(cloud, control).ids() == ["other"]
    control.reset()
    assert len(session(cloud, control).ids()) == 2, "the library's own faults are armed again"
    assert len(session(cloud, control).ids()) == 6


def test_faults_are_armed_and_disarmed(cloud: FakeGoProCloud, control: Control) -> None:
    control.disarm()
    drop, echo = Drop(media_id="a", at_bytes=5), Echo(times=2)
    control.arm(Answer(endpoint="user", status=503, times=None), drop, echo)
    visitor = session(cloud, control)
    assert visitor.get("/media/user").status_code == 503
    assert control.not_struck() == [drop, echo]
    control.disarm("a")
    assert control.not_struck() == [echo]
    control.disarm()
    assert visitor.get("/media/user").status_code == 200


def test_originals_have_their_digests(cloud: FakeGoProCloud, control: Control) -> None:
    raw = control.originals("b")[1]
    assert raw["sha256"] == hashlib.sha256(b"raw").hexdigest() == control.sha256("b", 2) == cloud.sha256("b", 2)
    assert raw["etag"] == f'"{hashlib.md5(hashlib.md5(b"raw").digest()).hexdigest()}-1"'
    assert [one["size"] for one in control.originals("b")] == [20_000, 3]


def test_all_secrets_that_were_given_away_are_known(cloud: FakeGoProCloud, control: Control) -> None:
    pasted = control.paste_token(3600)
    client = {name: DEMO_CREDENTIALS[name] for name in ("client_id", "client_secret", "refresh_token")}
    granted = Visitor(cloud.url).post_token(grant_type="refresh_token", **client).json()
    control.revoke_tokens("all")
    url = Visitor(cloud.url, control.paste_token(3600)).source_url("b")

    secrets = control.secrets()

    assert secrets["access_token"][:2] == [pasted, granted["access_token"]]
    assert secrets["refresh_token"] == [DEMO_CREDENTIALS["refresh_token"], granted["refresh_token"]]
    assert any(signature in url for signature in secrets["signature"])
    assert secrets["key_pair_id"][0] in url
    control.reset()
    assert control.secrets()["signature"] == []


def test_tokens_expire_and_are_revoked_and_the_account_is_configured(cloud: FakeGoProCloud, control: Control) -> None:
    visitor = session(cloud, control)
    control.advance(3601)
    assert visitor.get("/media/user").status_code == 401
    visitor = session(cloud, control)
    control.revoke_tokens()
    assert visitor.get("/media/user").status_code == 401
    refresh = {name: DEMO_CREDENTIALS[name] for name in ("client_id", "client_secret", "refresh_token")}
    control.configure_account(expires_in=20)
    assert visitor.post_token(grant_type="refresh_token", **refresh).json()["expires_in"] == 20
    control.revoke_tokens("refresh")
    revoked = visitor.post_token(grant_type="refresh_token", **refresh)
    assert (revoked.status_code, revoked.json()["error"]) == (400, "invalid_grant")
    assert "token_blacklisted" in revoked.text


def test_requests_are_observed(cloud: FakeGoProCloud, control: Control) -> None:
    control.disarm()
    url = session(cloud, control).source_url("b")
    visitor = Visitor(cloud.url)
    visitor.fetch(url, byte_range="0-99")
    visitor.fetch(url, Authorization="Bearer x")
    (resolved,) = control.requests("download", "b")
    assert (resolved.status, resolved.authorized, resolved.token_version) == (200, True, 1)
    good, refused = control.requests("cdn")
    assert (good.media_id, good.label, good.item, good.range) == ("b", "source", 1, "bytes=0-99")
    assert (good.status, good.bytes_sent, good.finished, good.authorized) == (206, 100, True, False)
    assert (refused.status, refused.authorized) == (400, True)
    assert good.at <= refused.at
    assert control.totals() == {"downloads": {"max": 1, "media_current": 0, "media_max": 1}}
    assert "Signature" not in str(control.requests())
    control.forget()
    assert control.requests() == []


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_its_process_says_where_it_listens_and_ends_cleanly(tmp_path: Path, ending: signal.Signals) -> None:
    library, ready = tmp_path / "library.json", tmp_path / "ready.json"
    library.write_bytes(msgspec.json.encode(LIBRARY))
    command = [sys.executable, "-m", "ops.local.gopro_cloud", "--library", str(library), "--ready-file", str(ready)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        assert ready.read_text(encoding="utf-8") == line
        where = json.loads(line)
        assert Control(where["control_url"]).sha256("b", 2) == hashlib.sha256(b"raw").hexdigest()
        assert Visitor(where["url"]).get("/media/user").status_code == 401
        process.send_signal(ending)
        assert process.wait(60) == 0
        assert process.stderr.read() == ""


def test_it_prints_the_credentials(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--print-credentials"])
    assert json.loads(capsys.readouterr().out) == DEMO_CREDENTIALS


@pytest.mark.parametrize(
    ("option", "value", "why"),
    [
        ("--library", "missing.json", "missing.json: No such file or directory"),
        ("--library", f"{ROOT}/pyproject.toml", f"{ROOT}/pyproject.toml: Expected `object`, got `array`"),
        ("--port", "70000", "'70000' is not a port; give a number from 0 to 65535"),
        ("--port", "http", "'http' is not a port; give a number from 0 to 65535"),
        ("--port", "{taken}", "{taken}: Address already in use"),
        ("--ready-file", "missing/ready.json", "there is no folder missing"),
    ],
)
def test_a_wrong_argument_is_refused_with_one_line(
    cloud: FakeGoProCloud, capsys: pytest.CaptureFixture[str], option: str, value: str, why: str
) -> None:
    taken = str(urlsplit(cloud.url).port)
    with pytest.raises(SystemExit) as end:
        main([option, value.format(taken=taken)])
    assert end.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith(f"argument {option}: {why.format(taken=taken)}")
