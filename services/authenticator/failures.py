"""Why there is no session, in words for the operator. None of them ever holds a secret."""

from services.shared.errors import PermanentError, TransientError, reason_of
from services.shared.events import AuthenticationFailed
from services.shared.gopro.client import ApiRetired, Blocked
from services.shared.gopro.media import UnexpectedAnswer

AGAIN = "then send a new SyncRequested"


class NeedsOperator(PermanentError):
    """Nothing but an operator's act can mend this. `remedy` says which."""

    def __init__(self, reason: str, *, remedy: str) -> None:
        super().__init__(reason)
        self.remedy = remedy


def failure(sync_id: str, error: Exception, *, session_version: int = 0) -> AuthenticationFailed:
    """The fact that this error is for a sync."""
    return AuthenticationFailed(
        sync_id=sync_id, reason=reason_of(error), remedy=_remedy(error), session_version=session_version
    )


def _remedy(error: Exception) -> str:
    if isinstance(error, NeedsOperator):
        return error.remedy
    if isinstance(error, ApiRetired | UnexpectedAnswer):
        return f"GoPro has changed its API: update Cloud Sync, {AGAIN}."
    if isinstance(error, Blocked):
        return f"GoPro's firewall turns this network away: wait some hours, {AGAIN}."
    if isinstance(error, TransientError):
        return f"Nothing is wrong with the credentials as far as is known: wait until GoPro answers again, {AGAIN}."
    return f"Look at the authenticator's log, mend the cause, {AGAIN}."
