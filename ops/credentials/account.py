"""What GoPro says of a token: whether it is accepted, and whose library it opens."""

from dataclasses import dataclass

from ops.errors import OperatorError
from ops.progress import size
from services.shared.errors import PermanentError, TransientError
from services.shared.events import Filters
from services.shared.gopro.client import AccountRefused, Blocked, GoProClient, SessionRefused, whole_number


class TokenRefused(OperatorError):
    """GoPro does not accept the token."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """The account behind a token."""

    media: int  # that the listing counts
    bytes: int | None  # as GoPro states it, None where it does not

    def __str__(self) -> str:
        more = "" if self.bytes is None else f", {size(self.bytes)}"
        return f"{self.media:,} media{more}"


def look_up(gopro: GoProClient, token: str) -> Account:
    """Ask GoPro for the account and for its listing, with this token.

    Both have to accept it: a token of yesterday may still open the account, while the listing already refuses it.
    Raises `TokenRefused`, or another `OperatorError` when GoPro can't be asked.
    """
    asked = "account"
    try:
        user = gopro.user(token)
        asked = "listing"
        page = gopro.search(token, page=1, filters=Filters(), page_size=1)
    except SessionRefused as refused:
        hint = "" if asked == "account" else " The account still accepts it: its session is at its end."
        raise TokenRefused(f"GoPro's {asked} does not accept the token: {refused}.{hint}") from None
    except AccountRefused as refused:
        raise OperatorError(f"{refused}. {refused.remedy}") from None
    except Blocked as blocked:
        raise OperatorError(f"{blocked}. Try again from another network, or in an hour.") from None
    except TransientError as error:
        raise OperatorError(f"GoPro could not be asked whether it accepts the token: {error}. Try again.") from None
    except PermanentError as error:
        raise OperatorError(f"GoPro's answer was not understood: {error}.") from None
    return Account(media=page.total_items, bytes=whole_number(user.get("total_storage")))
