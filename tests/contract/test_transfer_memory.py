"""The memory of a copy is bounded by its limits: enforced by the system on a process of its own, and measured."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import boto3
import pytest

from ops.local.emulator import REGION
from ops.local.gopro_cloud import FakeGoProCloud, Generated, Library, Medium
from ops.local.gopro_cloud.visitor import Visitor
from services.downloader.settings import part_memory_bytes
from tests.template import Synthesize
from tools.bench.seaweed import ACCESS_KEY, SECRET_KEY
from tools.template import ROOT, ServiceWiring

MIB = 1 << 20
PART = 8 * MIB  # of a file of this size
SIZE = 25 * PART + 1
LARGEST_PART = 100 * MIB  # of GoPro's, as far as is known
HUGE = 7 * LARGEST_PART + 1
BESIDES = 32 * MIB  # stacks, sockets, what is sent and received, and the allocator's own

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux limits an address space")


@dataclass
class Bench:
    endpoint_url: str
    bucket: str
    urls: dict[str, str]
    downloader: ServiceWiring

    def run(
        self, *, connections: int, memory: int, space: int, file: str = "large"
    ) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "tests.contract.bounded_copy", self.endpoint_url, self.bucket,
                   self.urls["small"], self.urls[file], str(connections), str(memory), str(space)]  # fmt: skip
        # One arena: each reserves 64 MiB of the address space, whatever it uses of them.
        given = {name: str(value) for name, value in self.downloader.environment.items()}
        libraries = {name: value for name, value in given.items() if name.startswith(("BOTO_", "MALLOC_"))}
        environment = {**os.environ, **libraries, "MALLOC_ARENA_MAX": "1"}
        return subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
        )


@pytest.fixture
def bench(seaweed_url: str, template: Synthesize) -> Iterator[Bench]:
    session = boto3.Session(ACCESS_KEY, SECRET_KEY, region_name=REGION)
    name = f"bucket-{uuid.uuid4().hex}"
    session.client("s3", endpoint_url=seaweed_url).create_bucket(Bucket=name)
    media = [
        Medium(media_id=media_id, contents=(Generated(size, media_id),), etag_part_bytes=part)
        for media_id, size, part in (("small", MIB, None), ("large", SIZE, None), ("huge", HUGE, LARGEST_PART))
    ]
    with FakeGoProCloud(Library(media=tuple(media))) as cloud:
        visitor = Visitor(cloud.url, cloud.tokens.paste(3600))
        urls = {medium.media_id: visitor.source_url(medium.media_id) for medium in media}
        yield Bench(seaweed_url, name, urls, template("prod").services["downloader"])


@pytest.mark.slow
@pytest.mark.scenario(52)
def test_eight_connections_with_parts_of_8_mib_take_no_more_than_their_buffers_and_little_besides(bench: Bench) -> None:
    copied = bench.run(connections=8, memory=8 * PART, space=8 * PART + BESIDES)
    assert copied.returncode == 0, copied.stderr[-2000:]
    measured = json.loads(copied.stdout)
    assert (measured["size"], measured["parts"]) == (SIZE, 26)
    print(f"peak RSS {measured['peak_rss_bytes'] / MIB:.0f} MiB, boto3 included")
    assert measured["peak_rss_bytes"] <= 160 * MIB


@pytest.mark.slow
@pytest.mark.scenario(52)
def test_as_many_of_the_largest_parts_as_are_allowed_fit_into_the_deployed_function(bench: Bench) -> None:
    given = bench.downloader.environment
    function = int(given["DOWNLOADER_MEMORY_MB"]) * MIB
    memory = part_memory_bytes(int(given["DOWNLOADER_MEMORY_MB"]))
    copied = bench.run(
        connections=int(given["CONNECTIONS_PER_FILE"]), memory=memory, space=memory + BESIDES, file="huge"
    )
    assert copied.returncode == 0, copied.stderr[-2000:]
    measured = json.loads(copied.stdout)
    assert (measured["size"], measured["parts"]) == (HUGE, 8)
    print(f"peak RSS {measured['peak_rss_bytes'] / MIB:.0f} MiB of {function / MIB:.0f}, boto3 included")
    assert memory / 2 < measured["peak_rss_bytes"] <= 0.9 * function


@pytest.mark.scenario(52)
def test_buffers_that_have_no_room_in_the_address_space_fail_the_copy(bench: Bench) -> None:
    # Shows that the limit above is one that bites.
    copied = bench.run(connections=8, memory=10 * PART, space=6 * PART)
    assert copied.returncode != 0
    assert "MemoryError" in copied.stderr
