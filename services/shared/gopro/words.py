"""GoPro's own words when it refuses a call, without anything that could be a secret or an id."""

import re
from typing import Any

_CODE_LENGTH, _MESSAGE_LENGTH = 60, 160
_LONGEST_WORD, _LONGEST_NUMBER = 20, 3  # characters; a number may be a status code
_MOST_HUMPS = 4  # parts of a camel-case word
_KNOWN_PART = 6  # a word of this length or longer is hidden if the token contains it
_HUMPS = re.compile(r"(?<=[a-z])(?=[A-Z])")
_ACCOUNT = re.compile(r"subscri|payment|billing|entitle|suspend|account", re.IGNORECASE)
_SESSION = re.compile(r"token|session|expired|log.?in|credential", re.IGNORECASE)


def own_words(answer: object, *, token: str) -> str:
    """Return the error code and message in an answer's JSON, cut short, for people to read; empty if it has none.

    Only plain words pass. Each word that could be part of a token, a URL, an address or an id becomes "…".
    """
    error = answer.get("error") if isinstance(answer, dict) else None
    sources: list[dict[str, Any]] = [part for part in (answer, error) if isinstance(part, dict)]
    code = _first(sources, "error", "code")
    message = _first(sources, "error_description", "message", "reason")
    said = [_plain(code, token)[:_CODE_LENGTH], _plain(message, token)[:_MESSAGE_LENGTH]]
    return ": ".join(dict.fromkeys(filter(None, said)))


def is_about_account(words: str) -> bool:
    """Return whether these words refuse the account rather than the session."""
    return bool(_ACCOUNT.search(words)) and not _SESSION.search(words)


def _first(sources: list[dict[str, Any]], *names: str) -> str:
    found = (source[name] for name in names for source in sources if isinstance(source.get(name), str))
    return next(found, "")


def _plain(text: str, token: str) -> str:
    return " ".join(word if _is_plain(word, token) else "…" for word in text[:1000].split())


def _is_plain(word: str, token: str) -> bool:
    parts = re.split(r"[_'\u2019/-]", word.strip("\"'.,;:!?()"))
    humps = [_HUMPS.split(part) for part in parts]
    return all(len(one) <= _MOST_HUMPS and all(_is_plain_part(part, token) for part in one) for one in humps)


def _is_plain_part(part: str, token: str) -> bool:
    if not part.isalpha():
        return not part or (part.isdecimal() and len(part) <= _LONGEST_NUMBER)
    if part.lower() == "bearer" or len(part) > _LONGEST_WORD or (len(part) >= _KNOWN_PART and part in token):
        return False
    return part.islower() or part.istitle() or part.isupper()
