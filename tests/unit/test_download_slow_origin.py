"""A CDN that gives 100 kB/s in all: a file of 17 MB is stored, with as few connections as are fast enough."""

import pytest

from ops.local.gopro_cloud import FakeGoProCloud, Generated
from ops.local.gopro_cloud.faults import SharedLimit
from services.downloader.transfer import ConnectionPool, Pace
from tests.unit.downloader_stage import MIB, discovered, downloader_stage, video

SIZE = 17_000_000


@pytest.mark.slow
def test_a_limit_that_all_connections_share_keeps_no_file_from_being_stored() -> None:
    with FakeGoProCloud() as cloud, downloader_stage(cloud) as stage:
        stage.connections = 8
        stage.connect = lambda: ConnectionPool(Pace(), connections=8, memory_bytes=64 * MIB)
        stage.serve(video(contents=(Generated(SIZE),)))
        cloud.arm(SharedLimit(bytes_per_second=100_000))
        assert stage.stored(discovered()).bytes == SIZE
        assert stage.is_copied()
