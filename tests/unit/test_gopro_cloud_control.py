"""The fake GoPro Cloud: scripting and watching it from another process, and its own process."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from tests.gopro_cloud import (
    DEMO_CREDENTIALS,
    Control,
    FakeGoProCloud,
    Film,
    Generated,
    Library,
    Literal,
    Medium,
    Photograph,
    Series,
    Shape,
    demo,
)
from tests.gopro_cloud.faults import Answer, Drop, Echo, LibraryChange, Replace, ShortPage, Throttle
from tests.gopro_cloud.visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = Library(
    media=(
        Medium(media_id="a", contents=(Generated(1000, "a"),), faults=(Answer(endpoint="download", status=500),)),
        Medium(media_id="b", shape=Shape.PHOTO, contents=(Photograph("b", 20_000),), raw=Literal(b"raw")),
        Medium(media_id="c", shape=Shape.CHAPTERED, contents=(Film("c", 1), Film("c", 1, 2)), listed_size=None),
    ),
    series=(Series(count=3, id_form="mixed", prefix="Zz"),),
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


def test_a_library_survives_being_written_as_json() -> None:
    assert Library.from_json(json.loads(json.dumps(LIBRARY.to_json()))) == LIBRARY
    assert Library.from_json(json.loads(json.dumps(demo.LIBRARY.to_json()))) == demo.LIBRARY


@pytest.mark.parametrize(
    ("form", "why"),
    [
        ({"medias": []}, "medias"),
        ({"media": [{"media_id": "a", "colour": "red"}]}, "colour"),
        ({"media": [{"media_id": "a", "contents": [{"kind": "cake"}]}]}, "cake"),
        ({"media": [{"media_id": "a", "faults": [{"fault": "flood"}]}]}, "flood"),
        ({"media": [{"media_id": "a", "faults": [{"fault": "drop", "endpoint": "moon"}]}]}, "moon"),
        ({"media": [{"media_id": "a"}, {"media_id": "a"}]}, "same id"),
    ],
)
def test_a_form_that_cannot_be_read_is_refused_with_its_reason(control: Control, form: object, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        control.ask("POST", "library", form)  # type: ignore[arg-type]
    assert len(control.ask("GET", "library")["media"]) == 3


def test_the_library_can_be_replaced_and_reset(cloud: FakeGoProCloud, control: Control) -> None:
    control.replace_library(Library(media=(Medium(media_id="other"),)))
    assert session(cloud, control).ids() == ["other"]
    control.add_media(Medium(media_id="more", captured_at="2030-01-01T00:00:00Z"))
    control.remove_media("other")
    assert session(cloud, control).ids() == ["more"]
    control.reset()
    assert len(session(cloud, control).ids()) == 2, "the library's own faults are armed again"
    assert len(session(cloud, control).ids()) == 6


def test_faults_are_armed_and_taken_away(cloud: FakeGoProCloud, control: Control) -> None:
    control.disarm()
    visitor = session(cloud, control)
    control.arm(Answer(endpoint="user", status=503, times=None), Drop(media_id="a", at_bytes=5), Echo(times=2))
    assert visitor.get("/media/user").status_code == 503
    assert [(one["fault"], one["struck"]) for one in control.ask("GET", "faults")["faults"]] == [
        ("answer", 1),
        ("drop", 0),
        ("echo", 0),
    ]
    control.disarm("a")
    control.disarm()
    assert visitor.get("/media/user").status_code == 200
    assert control.ask("GET", "faults")["faults"] == []


def test_digests_are_told_for_every_original(cloud: FakeGoProCloud, control: Control) -> None:
    raw = control.originals("b")[1]
    assert raw["sha256"] == hashlib.sha256(b"raw").hexdigest() == control.sha256("b", 2) == cloud.sha256("b", 2)
    assert raw["etag"] == f'"{hashlib.md5(hashlib.md5(b"raw").digest()).hexdigest()}-1"'
    assert [one["size"] for one in control.originals("c")] == [Film("c", 1).size] * 2
    with pytest.raises(ValueError, match="no medium"):
        control.originals("nobody")


def test_the_clock_can_be_advanced_and_never_turned_back(cloud: FakeGoProCloud, control: Control) -> None:
    visitor = session(cloud, control)
    assert control.advance(3500) > 3500
    assert visitor.get("/media/user").status_code == 200
    control.advance(101)
    assert visitor.get("/media/user").status_code == 401
    with pytest.raises(ValueError, match="backwards"):
        control.advance(-1)


def test_all_secrets_that_were_given_away_are_told(cloud: FakeGoProCloud, control: Control) -> None:
    pasted = control.paste_token(3600)
    client = {name: DEMO_CREDENTIALS[name] for name in ("client_id", "client_secret", "refresh_token")}
    granted = Visitor(cloud.url).post_token(grant_type="refresh_token", **client).json()
    control.revoke_tokens("all")
    url = Visitor(cloud.url, control.paste_token(3600)).source_url("c")

    told = control.secrets()

    assert told["access_token"][:2] == [pasted, granted["access_token"]]
    assert told["refresh_token"] == [DEMO_CREDENTIALS["refresh_token"], granted["refresh_token"]]
    assert any(signature in url for signature in told["signature"])
    assert told["key_pair_id"][0] in url
    control.reset()
    assert control.secrets()["signature"] == []


def test_tokens_are_revoked_pasted_and_configured(cloud: FakeGoProCloud, control: Control) -> None:
    visitor = session(cloud, control)
    control.revoke_tokens()
    assert visitor.get("/media/user").status_code == 401
    control.ask("POST", "tokens", {"accept": "a.given.token"})
    assert Visitor(cloud.url, "a.given.token").get("/media/user").status_code == 200
    control.configure_account(expires_in=20, password="changed")
    with pytest.raises(ValueError, match="colour"):
        control.configure_account(colour="red")
    control.revoke_tokens("refresh")
    assert control.tokens()["refresh_tokens"] == ["blacklisted"]
    refresh = {name: DEMO_CREDENTIALS[name] for name in ("client_id", "client_secret", "refresh_token")}
    assert "token_blacklisted" in visitor.post_token(grant_type="refresh_token", **refresh).text


def test_what_was_asked_is_observed(cloud: FakeGoProCloud, control: Control) -> None:
    control.disarm()
    visitor = session(cloud, control)
    url = visitor.source_url("b")
    visitor.fetch(url, byte_range="0-99")
    visitor.fetch(url, Authorization="Bearer x")
    (resolved,) = control.requests("download", "b")
    assert (resolved.status, resolved.authorized, resolved.vendor_accept, resolved.token_version) == (
        200,
        True,
        True,
        1,
    )
    good, refused = control.requests("cdn")
    assert (good.media_id, good.label, good.item, good.range) == ("b", "source", 1, "bytes=0-99")
    assert (good.status, good.bytes_sent, good.finished, good.authorized) == (206, 100, True, False)
    assert (refused.status, refused.authorized) == (400, True)
    totals = control.totals()
    assert totals["counters"]["endpoints"] == {"download": 1, "cdn": 2}
    assert totals["counters"]["statuses"] == {"download 200": 1, "cdn 206": 1, "cdn 400": 1}
    assert totals["attempts"]["b"]["download"] == [resolved.at]
    assert totals["downloads"]["per_medium_max"] == {"b": 1}
    assert "requests" not in totals
    assert "Signature" not in str(control.observations())
    assert len(control.ask("GET", "observations", {"since": totals["next"] - 1})["requests"]) == 1
    control.forget()
    assert control.observations()["requests"] == []


def test_downloads_at_once_are_counted_overall_and_per_medium(cloud: FakeGoProCloud, control: Control) -> None:
    control.replace_library(
        Library(
            media=tuple(Medium(media_id=media_id, contents=(Generated(100_000),)) for media_id in "xyz"),
            faults=(Throttle(bytes_per_second=200_000, times=None),),
        )
    )
    visitor = session(cloud, control)
    urls = [visitor.source_url(media_id) for media_id in "xxyz"]
    threads = [threading.Thread(target=requests.get, args=(url,)) for url in urls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    downloads = control.totals()["downloads"]
    assert downloads == {
        "current": 0,
        "max": 4,
        "media_current": 0,
        "media_max": 3,
        "per_medium_max": {"x": 2, "y": 1, "z": 1},
    }


def test_an_outage_spares_the_control_api(cloud: FakeGoProCloud, control: Control) -> None:
    control.outage(60)
    assert requests.get(f"{cloud.url}/media/user", timeout=5).status_code == 503
    control.outage(0)
    assert requests.get(f"{cloud.url}/media/user", timeout=5).status_code == 406


def test_control_is_served_on_both_ports_and_gopro_on_one(cloud: FakeGoProCloud) -> None:
    assert requests.get(f"{cloud.url}/control/clock", timeout=5).status_code == 200
    assert requests.get(f"{cloud.control_url}/media/user", timeout=5).status_code == 404
    unknown = requests.get(f"{cloud.control_url}/control/nonsense", timeout=5)
    assert unknown.status_code == 404
    assert "POST /control/faults" in unknown.json()["known"]


def test_a_change_of_the_original_is_told_to_the_tests(cloud: FakeGoProCloud, control: Control) -> None:
    control.disarm()
    before = control.sha256("a")
    control.arm(Replace(media_id="a", content=Literal(b"new")))
    visitor = session(cloud, control)
    assert visitor.fetch(visitor.source_url("a")).content == b"new"
    assert control.sha256("a") == hashlib.sha256(b"new").hexdigest() != before


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_its_process_says_where_it_is_and_ends_cleanly(
    tmp_path_factory: pytest.TempPathFactory, ending: signal.Signals
) -> None:
    folder = tmp_path_factory.mktemp("cloud")
    library, ready = folder / "library.json", folder / "ready.json"
    library.write_text(json.dumps(LIBRARY.to_json()), encoding="utf-8")
    command = [sys.executable, "-m", "tests.gopro_cloud", "--library", str(library), "--ready-file", str(ready)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        assert ready.read_text(encoding="utf-8") == line
        where = json.loads(line)
        assert Control(where["control_url"]).sha256("b", 2) == hashlib.sha256(b"raw").hexdigest()
        credentials = {"grant_type": "password", **{k: v for k, v in DEMO_CREDENTIALS.items() if k != "refresh_token"}}
        assert Visitor(where["url"]).post_token(**credentials).status_code == 200
        process.send_signal(ending)
        assert process.wait(10) == 0
        assert process.stderr.read() == ""


def test_its_process_prints_the_credentials_and_refuses_a_wrong_library() -> None:
    command = [sys.executable, "-m", "tests.gopro_cloud"]
    printed = subprocess.run([*command, "--print-credentials"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(printed.stdout) == DEMO_CREDENTIALS
    wrong = subprocess.run(
        [*command, "--library", "missing.json"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert wrong.returncode == 1
    assert "missing.json" in wrong.stderr
