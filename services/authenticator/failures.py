"""Why Cloud Sync could not sign in, and what the operator has to do. No text here ever holds a secret."""

from services.shared.errors import PermanentError, TransientError, reason_of
from services.shared.events import AuthenticationFailed
from services.shared.gopro.client import AccountRefused, ApiRetired, Blocked, UnexpectedAnswer

AGAIN = "then send a new SyncRequested (`cloud-sync trigger`)"


class NeedsOperator(PermanentError):
    """A failure that only an operator can fix. `remedy` says how."""


class RequestRefused(NeedsOperator):
    """A request for a sync that has a mistake."""


def failure(sync_id: str, error: Exception, *, session_version: int = 0) -> AuthenticationFailed:
    """Return the event that reports this error for a sync."""
    return AuthenticationFailed(
        sync_id=sync_id,
        reason=reason_of(error),
        remedy=_remedy(error),
        session_version=session_version,
        request_refused=isinstance(error, RequestRefused),
    )


def _remedy(error: Exception) -> str:
    if isinstance(error, NeedsOperator):
        return error.remedy
    if isinstance(error, AccountRefused):
        return f"{error.remedy.removesuffix('.')}, {AGAIN}."
    if isinstance(error, ApiRetired | UnexpectedAnswer):
        return f"GoPro has changed its API: update Cloud Sync, {AGAIN}."
    if isinstance(error, Blocked):
        return f"GoPro's firewall blocks this network: wait some hours, {AGAIN}."
    if isinstance(error, TransientError):
        return f"The credentials may well be right: wait until GoPro answers again, {AGAIN}."
    return f"Find the cause in the authenticator's log, fix it, {AGAIN}."
