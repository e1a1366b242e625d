"""The reports and their pages in the media bucket."""

from typing import TYPE_CHECKING

from services.summarizer.report import LIBRARY_PAGE_KEY, page_key, report_key

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class ReportsBucket:
    """The bucket that holds a report and a page for each closed sync, and the page of the library."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def store(self, sync_id: str, report: bytes) -> None:
        """Write a sync's report, in place of its former one."""
        self._put(report_key(sync_id), report, "application/json")

    def store_page(self, sync_id: str, page: bytes) -> None:
        """Write a sync's page, in place of its former one."""
        self._put(page_key(sync_id), page, "text/html")

    def store_library_page(self, page: bytes) -> None:
        """Write the library's page, in place of its former one."""
        self._put(LIBRARY_PAGE_KEY, page, "text/html")

    def _put(self, key: str, body: bytes, content_type: str) -> None:
        self._client.put_object(Bucket=self._bucket, Key=key, Body=body, ContentType=f"{content_type}; charset=utf-8")
