"""What a shell says about AWS reaches no test."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import boto3
from moto import mock_aws

from tests.environment import OF_THE_TESTS, isolate
from tools.template import ROOT


def test_every_aws_setting_of_the_shell_is_replaced() -> None:
    shell = {"PATH": "/bin", "AWS_PROFILE": "mine", "AWS_ENDPOINT_URL_S3": "http://mine", "AWS_ACCESS_KEY_ID": "mine"}
    isolate(shell)
    assert shell == {"PATH": "/bin", **OF_THE_TESTS}


def test_the_tests_run_with_nothing_but_their_own_aws_settings() -> None:
    assert {name: value for name, value in os.environ.items() if name.startswith("AWS_")} == OF_THE_TESTS


def test_moto_answers_whatever_the_shell_says() -> None:
    """The test below runs this one in a hostile shell."""
    with mock_aws():
        secrets = boto3.client("secretsmanager", region_name="eu-central-1")
        secrets.create_secret(Name="planted", SecretString="{}")
        assert len(secrets.list_secrets()["SecretList"]) == 1


def test_an_endpoint_that_the_shell_names_is_never_called(tmp_path: Path) -> None:
    """As after `cloud-sync local up`, whose exports lead every AWS client of a shell to the running stage."""
    with socket.create_server(("127.0.0.1", 0)) as stage:
        stage.setblocking(False)
        endpoint_url = f"http://127.0.0.1:{stage.getsockname()[1]}"
        config = tmp_path / "config"
        config.write_text(f"[profile mine]\nregion = us-east-1\nendpoint_url = {endpoint_url}\n")
        shell = {
            "AWS_ENDPOINT_URL": endpoint_url,
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": endpoint_url,
            "AWS_CONFIG_FILE": str(config),
            "AWS_PROFILE": "mine",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "mine",
            "AWS_SECRET_ACCESS_KEY": "mine",
            "AWS_CA_BUNDLE": str(tmp_path / "no-such-file"),
        }
        test = f"{__file__}::{test_moto_answers_whatever_the_shell_says.__name__}"
        ran = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test],
            cwd=ROOT,
            env={**os.environ, **shell},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout
        try:
            _, caller = stage.accept()
        except BlockingIOError:
            caller = None
    assert caller is None
