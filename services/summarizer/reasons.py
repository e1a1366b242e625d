"""Why a sync did not do its work, or all of it, and what an operator can do about that."""

from datetime import timedelta

from services.shared.events import ClosedBecause
from services.summarizer.records import Sync

NO_RESULT = "it had no result when the sync closed"


def reason(sync: Sync, because: ClosedBecause, deadline: timedelta) -> str:
    """Return why a sync did none or only part of its work. Empty if only individual media failed."""
    if because in ("auth_failed", "request_refused"):
        return sync.session_problem
    if because == "listing_failed":
        return sync.listing_problem
    if because == "cancelled":
        before = " before the library was listed" if sync.expected is None else ""
        return f"The sync was cancelled at {sync.cancel_requested_at}{before}."
    parts = []
    if because == "deadline":
        parts.append(f"The sync did not finish within {deadline.total_seconds() / 3600:g} hours of its request.")
    if because == "stalled":
        parts.append("No download was active any more, but results were missing.")
    if sync.expected is None:
        parts.append("The end of the listing was never reported, so the number of new media is unknown.")
    if sync.session_problem:
        parts.append(f"The session with GoPro failed: {sync.session_problem}")
    return " ".join(parts)


def remedy(sync: Sync, because: ClosedBecause) -> str:
    """Return what an operator can do about `reason`."""
    if because == "listing_failed":
        return (
            "Check the reason. If GoPro has an outage, wait: the next scheduled sync lists the library again. To list "
            "it sooner, send a new SyncRequested (`cloud-sync trigger`). A changed API needs a new version of Cloud "
            "Sync."
        )
    if because in ("auth_failed", "request_refused") or sync.session_problem:
        if "SyncRequested" in sync.session_remedy:
            return sync.session_remedy
        return f"{sync.session_remedy} Then send a new SyncRequested (`cloud-sync trigger`).".strip()
    if because in ("complete", "cancelled"):
        return ""
    still_active = "Active downloads continue, and their results are reported later. " if because == "deadline" else ""
    return (
        f"{still_active}The next sync finds what is still missing. To have it sooner, see what failed, fix the cause, "
        "and redrive it.\n"
        "  cloud-sync failures\n"
        "  cloud-sync redrive --service NAME"
    )
