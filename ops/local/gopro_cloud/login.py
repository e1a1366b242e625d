"""The pages of gopro.com that a browser needs: signing in, with a second factor if wanted, and the media library.

As on the real pages, the session is the cookie `gp_access_token`, which scripts can't read. A browser that has signed
in is remembered: when its session is dead, opening the library gives it a new one.
"""

import secrets
import threading
from html import escape
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl

from ops.local.gopro_cloud.exchange import Reply, Request, text_reply
from ops.local.gopro_cloud.oauth import TokenOffice

LIBRARY = "/media-library"
LOGIN = "/login"
CODE = "/login/code"
SESSION_COOKIE = "gp_access_token"
COOKIE_SECONDS = 7 * 86_400  # the cookie outlives the session behind it

_REMEMBERED, _HALFWAY = "gp_remembered", "gp_halfway"
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 16px sans-serif; margin: 4rem auto; max-width: 24rem }} label {{ display: block; margin: 1rem 0 }}
input {{ display: block; width: 100%; padding: .5rem }} .wrong {{ color: #a00 }}
</style></head><body><h1>{title}</h1>{body}</body></html>"""


class LoginPages:
    """Answers a browser."""

    def __init__(self, tokens: TokenOffice) -> None:
        self._tokens = tokens
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Forget every browser."""
        with self._lock:
            self._remembered: set[str] = set()
            self._halfway: set[str] = set()

    def answer(self, request: Request) -> Reply:
        """Answer one request of a browser."""
        cookies = _cookies(request)
        form = dict(parse_qsl(request.body.decode(errors="replace"), keep_blank_values=True))
        with self._lock:
            match request.method, request.path:
                case "GET", path if path == LIBRARY:
                    return self._library(cookies)
                case "GET", path if path == LOGIN:
                    return _login_page()
                case "POST", path if path == LOGIN:
                    return self._sign_in(form)
                case "POST", path if path == CODE:
                    return self._second_factor(form, cookies)
        return Reply(status=404)

    def _sign_in(self, form: dict[str, str]) -> Reply:
        account = self._tokens.account
        if (form.get("username"), form.get("password")) != (account.username, account.password):
            return _login_page("The e-mail address or the password is wrong.")
        if not account.two_factor:
            return self._remember()
        mark = secrets.token_urlsafe(24)
        self._halfway.add(mark)
        return _code_page(mark)

    def _second_factor(self, form: dict[str, str], cookies: dict[str, str]) -> Reply:
        mark = cookies.get(_HALFWAY, "")
        if mark not in self._halfway:
            return _redirect(LOGIN)
        if form.get("code") != self._tokens.account.code:
            return _code_page(mark, "The code is wrong.")
        self._halfway.discard(mark)
        return self._remember()

    def _remember(self) -> Reply:
        mark = secrets.token_urlsafe(24)
        self._remembered.add(mark)
        return _redirect(LIBRARY, cookie=(_REMEMBERED, mark))

    def _library(self, cookies: dict[str, str]) -> Reply:
        _, alive = self._tokens.judge(cookies.get(SESSION_COOKIE, ""))
        remembered = cookies.get(_REMEMBERED) in self._remembered
        if not alive and not remembered:
            return _redirect(LOGIN)
        reply = _page("Media library", "<p id='library'>Everything that you have filmed.</p>")
        if not alive:
            token = self._tokens.paste(self._tokens.account.browser_seconds)
            reply.headers["Set-Cookie"] = _set_cookie(SESSION_COOKIE, token)
        return reply


def _login_page(wrong: str = "") -> Reply:
    return _page(
        "Sign in",
        _said(wrong) + "<form method='post' action='/login'>"
        "<label>E-mail <input name='username' type='email' autocomplete='username' required></label>"
        "<label>Password <input name='password' type='password' autocomplete='current-password' required></label>"
        "<button type='submit'>Sign in</button></form>",
    )


def _code_page(mark: str, wrong: str = "") -> Reply:
    reply = _page(
        "Second factor",
        _said(wrong) + "<form method='post' action='/login/code'>"
        "<label>Code <input name='code' inputmode='numeric' autocomplete='one-time-code' required></label>"
        "<button type='submit'>Continue</button></form>",
    )
    reply.headers["Set-Cookie"] = _set_cookie(_HALFWAY, mark)
    return reply


def _page(title: str, body: str) -> Reply:
    return text_reply(200, "text/html; charset=utf-8", _PAGE.format(title=title, body=body))


def _said(wrong: str) -> str:
    return f"<p class='wrong' role='alert'>{escape(wrong)}</p>" if wrong else ""


def _redirect(location: str, cookie: tuple[str, str] | None = None) -> Reply:
    return Reply(status=303, headers={"Location": location, **({"Set-Cookie": _set_cookie(*cookie)} if cookie else {})})


def _set_cookie(name: str, value: str) -> str:
    return f"{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={COOKIE_SECONDS}"


def _cookies(request: Request) -> dict[str, str]:
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(request.header("Cookie") or "").items()}
    except CookieError:
        return {}
