"""The page of a sync or of the library: fetched from the bucket, or drawn from the tables if the bucket has none."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from zoneinfo import ZoneInfo

from botocore.exceptions import ClientError

from ops.deployment import Deployment
from ops.errors import OperatorError
from services.shared.clock import Clock
from services.summarizer.library_page import read_known
from services.summarizer.page.library import library_page
from services.summarizer.page.pages import Place, sync_page
from services.summarizer.records import ClosedSync
from services.summarizer.report import LIBRARY_PAGE_KEY, page_key

_ABSENT = ("404", "NoSuchKey")


def write_page(deployment: Deployment, sync_id: str, say: Callable[[str], None], *, output: Path | None) -> Path:
    """Write the page of a closed sync to a file, by default to one in a new folder for temporary files.

    Returns the file's absolute path. Raises `OperatorError` when there is no such sync, or it is still open.
    """
    page = _stored(deployment, page_key(sync_id))
    if page is None:
        page = _drawn(deployment, sync_id)
        say("the bucket has no page of this sync; this one is drawn from the tables")
    return _written(page, output, f"{sync_id}.html")


def write_library_page(deployment: Deployment, say: Callable[[str], None], *, output: Path | None) -> Path:
    """Write the page of the whole library to a file, as `write_page` does. Returns the file's absolute path."""
    page = _stored(deployment, LIBRARY_PAGE_KEY)
    if page is None:
        page = _library_drawn(deployment)
        say("the bucket has no page of the library; this one is drawn from the tables")
    return _written(page, output, "library.html")


def _written(page: bytes, output: Path | None, name: str) -> Path:
    path = output or Path(tempfile.mkdtemp(prefix="cloud-sync-")) / name
    try:
        path.write_bytes(page)
    except OSError as error:
        raise OperatorError(f"The page could not be written to {path}: {error.strerror}") from error
    return path.absolute()


def latest(deployment: Deployment) -> str:
    """Return the id of the closed sync that was requested last. Raises `OperatorError` when there is none."""
    closed = deployment.syncs().recent(1)
    if not closed:
        raise OperatorError(f"No sync has closed yet {deployment.place}. Start one: {deployment.command('trigger')}")
    return closed[0].sync_id


def _stored(deployment: Deployment, key: str) -> bytes | None:
    bucket = deployment.outputs["MediaBucketName"]
    try:
        found = deployment.client("s3").get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"].get("Code") in _ABSENT:
            return None
        raise
    content: bytes = found["Body"].read()
    return content


def _drawn(deployment: Deployment, sync_id: str) -> bytes:
    syncs = deployment.syncs()
    sync = syncs.read(sync_id)
    if sync is None:
        raise OperatorError(f"There is no sync {sync_id} {deployment.place}.")
    if not isinstance(sync, ClosedSync):
        follow = deployment.command(f"watch {sync_id}")
        raise OperatorError(f"The sync {sync_id} has not closed, so it has no page yet. To follow it: {follow}")
    return sync_page(sync, syncs.all_media(sync_id), _place(deployment, _variables(deployment)))


def _library_drawn(deployment: Deployment) -> bytes:
    syncs, variables = deployment.syncs(), _variables(deployment)
    hour = variables.get("SCHEDULE_HOUR")
    is_on = variables.get("SCHEDULE_ENABLED") == str(True)
    known = read_known(
        syncs,
        deployment.library(),
        place=_place(deployment, variables),
        daily_hour=int(hour) if hour and is_on else None,
        warning=syncs.page().warning,
        now=Clock().now(),
    )
    return library_page(known)


def _variables(deployment: Deployment) -> Mapping[str, str]:
    """Return the environment of the summarizer's function."""
    name = deployment.outputs["SummarizerFunctionName"]
    function = deployment.client("lambda").get_function_configuration(FunctionName=name)
    variables: Mapping[str, str] = function.get("Environment", {}).get("Variables", {})
    return variables


def _place(deployment: Deployment, variables: Mapping[str, str]) -> Place:
    """Return what the pages have to know of the deployment, as its summarizer does."""
    memory = variables.get("DOWNLOADER_MEMORY_MB")
    return Place(
        env=deployment.options,
        zone=ZoneInfo(variables.get("SCHEDULE_TIME_ZONE", "UTC")),
        memory_mb=int(memory) if memory else None,
    )
