"""The tools that copy a file from the source to the sink, and the command line of each."""

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.bench.kit import BUCKET, MIB, Kit, file_name
from tools.bench.measure import Pipeline
from tools.bench.names import (
    BY_DISK,
    CONNECTIONS,
    COPYURL,
    CURL,
    NAIVE,
    NAIVE_WARM,
    OURS_COLD,
    OURS_WARM,
    RELAY,
    STREAMS,
)
from tools.bench.seaweed import ACCESS_KEY, SECRET_KEY

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / ".bench/venv/bin"

_PYTHON, _RCLONE, _AWS = (str(PEERS / name) for name in ("python", "rclone", "aws"))


@dataclass(frozen=True, kw_only=True)
class Job:
    """One transfer."""

    source: str  # URL of the folder of the files
    size: int  # bytes; the file is named by its size
    endpoint: str
    key: str
    authority: str
    relay: str
    warm_up: str  # URL of the file that a warm contestant copies first
    part_memory: int  # bytes, for the parts in memory
    part_size: int  # bytes, in our engine; other tools get the same setting where they have one
    workers: int  # in our engine
    begin: int  # connections of our engine at the start

    @property
    def url(self) -> str:
        return f"{self.source}/{file_name(self.size)}"


@dataclass(frozen=True, kw_only=True)
class Contestant:
    command: Callable[[Job], Pipeline]
    tool: str  # a path, or a name on PATH; the contestant is skipped without it
    warm: bool = False  # reports its own figures, for a second transfer in the same process

    @property
    def missing(self) -> str | None:
        """Return why the contestant can't take part, or None."""
        return None if shutil.which(self.tool) else f"{Path(self.tool).name} not found"


def environment(kit: Kit) -> Mapping[str, str]:
    """Return the environment that all contestants share.

    It holds the S3 credentials and the trusted authority, and none of this machine's own settings.
    """
    authority = str(kit.authority)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(kit.folder),
        "TMPDIR": str(kit.folder),
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CA_BUNDLE": authority,
        "REQUESTS_CA_BUNDLE": authority,
        "CURL_CA_BUNDLE": authority,
        "RCLONE_CA_CERT": authority,
        "RCLONE_CONFIG": "",  # no config file, only the variables below
        "RCLONE_CONFIG_SINK_TYPE": "s3",
        "RCLONE_CONFIG_SINK_PROVIDER": "Other",
        "RCLONE_CONFIG_SINK_ENV_AUTH": "true",
        "RCLONE_CONFIG_SINK_NO_CHECK_BUCKET": "true",
        "BOTO_DISABLE_CRT": "true",  # as in our production; the peers' environment has no native signer
    }


def _ours(job: Job) -> list[str]:
    return [
        *(
            sys.executable,
            "-m",
            "tools.bench.ours",
            job.url,
            job.endpoint,
            BUCKET,
            job.key,
            "--authority",
            job.authority,
        ),
        *("--connections", str(CONNECTIONS), "--begin", str(job.begin), "--part-memory", str(job.part_memory)),
    ]


def _peer(name: str, job: Job) -> list[str]:
    return [_PYTHON, "-m", f"tools.bench.peers.{name}", job.url, job.endpoint, BUCKET, job.key]


def _warmed(command: list[str], job: Job) -> Pipeline:
    return [[*command, "--warm-up", job.warm_up]]


def _relay(job: Job) -> Pipeline:
    numbers = job.size, job.workers, job.part_size // MIB
    return [[job.relay, job.url, job.endpoint, f"/{BUCKET}/{job.key}", *map(str, numbers)]]


def _copyurl(job: Job) -> Pipeline:
    return [[_RCLONE, "copyurl", job.url, f"sink:{BUCKET}/{job.key}", "--s3-endpoint", job.endpoint]]


def _streams(job: Job) -> Pipeline:
    return [
        [
            *(_RCLONE, "copyto", f":http:{file_name(job.size)}", f"sink:{BUCKET}/{job.key}"),
            *("--http-url", job.source, "--s3-endpoint", job.endpoint),
            *("--multi-thread-streams", str(CONNECTIONS), "--multi-thread-cutoff", "1M"),
            *("--s3-upload-concurrency", str(CONNECTIONS), "--s3-chunk-size", f"{job.part_size // MIB}M"),
        ]
    ]


def _curl(job: Job) -> Pipeline:
    return [
        ["curl", "--silent", "--show-error", "--fail", job.url],
        [_AWS, "s3", "cp", "-", f"s3://{BUCKET}/{job.key}", "--endpoint-url", job.endpoint],
    ]


CONTESTANTS: Mapping[str, Contestant] = {
    OURS_WARM: Contestant(command=lambda job: _warmed(_ours(job), job), tool=sys.executable, warm=True),
    OURS_COLD: Contestant(command=lambda job: [_ours(job)], tool=sys.executable),
    RELAY: Contestant(command=_relay, tool="gcc"),
    COPYURL: Contestant(command=_copyurl, tool=_RCLONE),
    STREAMS: Contestant(command=_streams, tool=_RCLONE),
    NAIVE: Contestant(command=lambda job: [_peer("naive", job)], tool=_PYTHON),
    NAIVE_WARM: Contestant(command=lambda job: _warmed(_peer("naive", job), job), tool=_PYTHON, warm=True),
    BY_DISK: Contestant(command=lambda job: [_peer("by_disk", job)], tool=_PYTHON),
    CURL: Contestant(command=_curl, tool="curl"),
}
