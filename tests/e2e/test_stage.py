"""The stage that the other end-to-end tests run on."""

from tests.e2e.stage import Stage
from tests.gopro_cloud.demo import LIBRARY as DEMO


def test_the_demo_library_syncs(stage: Stage) -> None:
    sync_id = stage.trigger()

    view = stage.wait_for_close(sync_id)

    assert view.outcome == "partial"
    assert stage.events("SyncCompleted", sync_id)
    assert stage.wait_for_notification(sync_id)["Subject"].startswith("Cloud Sync: 12 of 14")
    assert {one.metadata["media-id"] for one in stage.objects().values()} < {medium.media_id for medium in DEMO.media}
    assert len(stage.worker_pids("downloader")) > 1
