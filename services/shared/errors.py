"""The errors of all services. Two kinds matter: those that a retry may cure, and those that none can cure.

    TransientError                     another try may succeed
    ├── PublishFailed                  bus: EventBridge did not take all entries
    ├── RateLimited                    gopro.client: too many requests (429)
    ├── Unavailable                    gopro.client: no answer, or a server error
    │   └── NotServed                  gopro.client: only this call fails
    ├── Blocked, SessionRefused        gopro.client: the firewall's page; a dead access token
    ├── WriteConflict                  lister: another write of the same listing is under way
    ├── KeysUnprocessed                dynamodb: DynamoDB read none of the items that were asked for
    ├── NoSession                      gopro.patient: no session to use
    │   ├── NotShown                   gopro.patient: the session secret does not show the new session yet
    │   └── UnreadableSession          gopro.patient: the session secret does not hold a session
    ├── LeaseTaken, TooYoung           authenticator: another worker renews; the session is too young to renew
    ├── StillInProgress                authenticator: another worker begins this sync
    ├── WaitingForLease                downloader: another worker has the medium
    ├── TableContended                 downloader: a write to the library table kept colliding
    ├── Incomplete                     downloader: some files could not be stored, and a retry may store them
    └── Conflict, ReviewIncomplete     summarizer: another writer was first; the review of some syncs failed
    PermanentError                     every retry would fail the same way
    ├── OversizeEvent                  bus: larger than EventBridge takes
    ├── ForbiddenHost                  gopro.hosts: a URL that may not be fetched
    ├── AccountRefused                 gopro.client: no call is accepted, whatever the session
    ├── CallRefused                    gopro.client: only this call is refused
    ├── SourceGone, ApiRetired         gopro.client: deleted at GoPro; this version of the API is retired
    ├── UnexpectedAnswer               gopro.client: GoPro's API has changed
    ├── GrantRefused                   authenticator: GoPro's token endpoint said no
    ├── NeedsOperator                  authenticator: only an operator can fix it; carries the remedy
    │   └── RequestRefused             authenticator: the request for the sync has a mistake
    ├── ListingStuck                   lister: the listing has no end
    ├── NoProgress                     downloader: too many pauses
    └── OriginalsMissing               downloader: GoPro does not offer all originals
        └── IncompleteForGood          downloader: some files could not be stored, and no retry can help
    Fenced                             another worker has taken the work over; publish nothing
    MalformedEvent (a ValueError)      envelope: not an event of the contract
    SliceOver                          inbox.heartbeat: the function's time is nearly over; pause

The transfer engine has its own tree, in `services.downloader.transfer.errors`. The downloader turns `UrlExpired` into a
`PermanentError`, and the others into a `TransientError`.
"""

from botocore.exceptions import ClientError


class TransientError(Exception):
    """A failure that may pass. `retry_after`: seconds to wait before the retry; None if the other side named none."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class PermanentError(Exception):
    """A failure that a retry cannot cure.

    `remedy`: what an operator can do, with each command on its own line; empty if the next sync simply tries again.
    """

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class Fenced(Exception):
    """Another worker has taken this work over, so this worker may neither write nor publish anything more."""


def reason_of(error: BaseException) -> str:
    """Return the text of an error that may leave this service.

    Of an unforeseen error, that is only the type: its message might contain a secret.
    """
    if isinstance(error, TransientError | PermanentError):
        return str(error)
    if isinstance(error, ClientError):
        return f"AWS refused {error.operation_name}: {error.response.get('Error', {}).get('Code', 'no code')}"
    return f"unexpected error: {type(error).__name__}"
