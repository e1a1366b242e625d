"""The stacks that the tests of the infrastructure read."""

import pytest

from services.shared.events import SERVICES
from tests.template import Synthesize
from tools.template import ServiceWiring, Template


@pytest.fixture(scope="session")
def prod(template: Synthesize) -> Template:
    return template("prod")


@pytest.fixture(scope="session")
def unusual(template: Synthesize) -> Template:
    """A development stack in which no setting has its default."""
    return template(
        "dev",
        schedule_hour=21,
        schedule_time_zone="America/New_York",
        schedule_enabled="false",
        session_probe_hour="off",
        notify="problems",
        webhooks="slack, json",
        heartbeat="uptime-kuma",
        notification_emails="a@example.org, b@example.org",
        log_retention_days=3,
        dashboard="false",
        event_log_days=5,
        log_level="WARNING",
        gopro_api_url="http://127.0.0.1:8080",
        download_hosts="127.0.0.1,cdn.example.org",
        retry_base_seconds="0.5",
        concurrency=7,
        gopro_connections=21,
        sync_deadline_hours="0.25",
        max_media_per_sync=3,
        max_gigabytes_per_sync=9,
        order="newest",
        looks_per_sync=7,
        pages_per_slice=2,
        full_walk_days=30,
        lane_wait_seconds=4,
        stall_kilobytes_per_second=250,
        stall_seconds=15,
        downloader_memory_mb=2048,
        downloader_timeout_seconds=90,
        protected="true",
    )


@pytest.fixture(params=SERVICES)
def service(request: pytest.FixtureRequest, prod: Template) -> ServiceWiring:
    return prod.services[request.param]
