"""The commands `cloud-sync credentials …`: a session with GoPro, from a person's browser into the secret."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from ops.arguments import print_json
from ops.credentials.account import TokenRefused, look_up
from ops.credentials.browser import LIBRARY_PAGE, PROFILE, Window
from ops.credentials.pasted import COOKIE, recognise
from ops.credentials.prompt import read_hidden
from ops.deployment import Deployment
from ops.errors import OperatorError
from ops.trigger import Request, request_sync
from ops.watch import look, unsettled_syncs
from services.shared.clock import Clock
from services.shared.gopro.client import GoProClient
from services.shared.gopro.hosts import AllowedHosts
from services.shared.gopro.patient import Session, UnreadableSession, read_session

Say = Callable[[str], None]

_PROMPT = f"Paste the cookie {COOKIE}, or a request copied as cURL; it stays hidden. Then press Enter.\n> "


@dataclass(frozen=True, kw_only=True)
class BrowserOptions:
    """The options that say which browser to use."""

    browser: Annotated[
        str, typer.Option(metavar="PATH", help="The browser. Default: this machine's Chrome or Chromium.")
    ] = ""
    browser_option: Annotated[
        list[str] | None, typer.Option(metavar="OPTION", help="An option for the browser; may be repeated.")
    ] = None
    profile: Annotated[Path, typer.Option(metavar="DIR", help="The browser's profile.")] = PROFILE
    page: Annotated[str, typer.Option(metavar="URL", help=f"GoPro's library. Default: {LIBRARY_PAGE}.")] = ""


StartSync = Annotated[bool | None, typer.Option("--sync/--no-sync", help="Start a sync, unless one is under way.")]


def set_(deployment: Deployment, file: Path | None, *, sync: bool | None, say: Say) -> int:
    """Recognise what is pasted, let GoPro check it, and store it."""
    pasted = recognise(_read(file))
    dropped = f"; dropped {pasted.dropped}" if pasted.dropped else ""
    say(f"recognised {pasted.form}{dropped}")
    if token := pasted.credentials.get("access_token"):
        try:
            _check(deployment, token, say)
        except TokenRefused as refused:
            raise OperatorError(
                f"{refused} Nothing was stored. Sign in at gopro.com again, and copy the cookie afresh."
            ) from None
    else:
        say("an OAuth client is tried at the next sync: each try can use up its refresh token")
    _store(deployment, pasted.credentials, say)
    return _offer_sync(deployment, wanted=sync, say=say)


def login(deployment: Deployment, browser: BrowserOptions, *, seconds: float, sync: bool | None, say: Say) -> int:
    """Let the person sign in in a browser window within so many seconds, and store the session."""
    token = _window(deployment, browser).sign_in(_judge(deployment, say), seconds=seconds, say=say)
    _store(deployment, {"access_token": token}, say)
    return _offer_sync(deployment, wanted=sync, say=say)


def keep(deployment: Deployment, browser: BrowserOptions, *, sync: bool | None, say: Say) -> int:
    """Take the session of the browser's kept profile, and store it if it is a new one."""
    token = _window(deployment, browser, headless=True).reopen(_judge(deployment, say))
    current = _session(deployment)
    if current is not None and current.access_token == token:
        say("the browser still has the session that is stored")
        return 0
    _store(deployment, {"access_token": token}, say)
    return _offer_sync(deployment, wanted=sync, say=say)


def check(deployment: Deployment, *, as_json: bool, say: Say) -> int:
    """Say what is stored, how old it is, and whether GoPro accepts it now."""
    checked = _checked(deployment)
    if as_json:
        print_json(asdict(checked))
    else:
        print(*checked.lines(datetime.now(UTC)), sep="\n")
    if checked.refused_because and not checked.dead:
        say(f"to renew it: {deployment.command('credentials login')}")
    return 0 if checked.accepted_for else 1


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What is stored, and what GoPro says of it. Times are UTC."""

    credentials_changed: datetime | None = None
    session: int | None = None  # its number; None if there is none yet
    since: datetime | None = None
    expires_at: str | None = None  # None for a pasted session
    lives_hours: tuple[float, ...] = ()  # how long the last pasted sessions lived
    accepted_for: str = ""  # the account; empty unless GoPro accepts the session
    refused_because: str = ""
    dead: bool = False  # known to be refused, so GoPro was not asked

    def lines(self, now: datetime) -> Iterator[str]:
        """Yield what the command prints."""
        changed, since = self.credentials_changed, self.since
        yield f"credentials  changed {_ago(changed, now)}" if changed else "credentials  never changed"
        if since is None:
            yield "session      none yet: a sync gets one"
            return
        yield f"session      number {self.session}, since {_ago(since, now)}"
        if self.lives_hours:
            lives = ", ".join(f"{hours:.1f}" for hours in self.lives_hours)
            yield f"             the last pasted ones lived for {lives} hours"
        if self.expires_at:
            yield f"             ends at {self.expires_at}, and is renewed before"
        if changed and changed > since:
            yield "             the credentials are newer: the next sync uses them"
        accepts = f"accepts it, for the account and for the listing: {self.accepted_for}"
        yield f"GoPro        {self.refused_because or accepts}"


def _checked(deployment: Deployment) -> Checked:
    secret = deployment.client("secretsmanager").describe_secret(SecretId=deployment.outputs["CredentialsSecretName"])
    session = _session(deployment)
    if session is None:
        return Checked(credentials_changed=secret.get("LastChangedDate"))
    found = Checked(
        credentials_changed=secret.get("LastChangedDate"),
        session=session.version,
        since=datetime.fromisoformat(session.obtained_at),
        expires_at=session.expires_at,
        lives_hours=tuple(seconds / 3600 for seconds in deployment.session_health().lives),
    )
    if session.dead_because:
        return replace(found, refused_because=session.dead_because, dead=True)
    try:
        return replace(found, accepted_for=str(look_up(_client(deployment), session.access_token)))
    except TokenRefused as refused:
        return replace(found, refused_because=str(refused))


def _read(file: Path | None) -> bytes:
    if file is None and sys.stdin.isatty():
        return read_hidden(_PROMPT)
    if file is None or str(file) == "-":
        return sys.stdin.buffer.read()
    try:
        return file.read_bytes()
    except OSError as error:
        # Whoever passes the token itself in place of a file's name must not see it again.
        raise OperatorError(
            f"The file can't be read: {error.strerror}. Name a file, or - for standard input; never the token itself, "
            "since other users of this machine see a command's arguments."
        ) from None


def _window(deployment: Deployment, browser: BrowserOptions, *, headless: bool = False) -> Window:
    api = deployment.outputs.get("GoProApiUrl", "")
    # A stand-in for GoPro serves its pages beside its API.
    page = LIBRARY_PAGE if urlsplit(api).hostname in ("api.gopro.com", None) else f"{api}/media-library"
    return Window(
        page=browser.page or page,
        profile=browser.profile,
        executable=browser.browser,
        headless=headless,
        arguments=tuple(browser.browser_option or ()),
    )


def _judge(deployment: Deployment, say: Say) -> Callable[[str], bool]:
    def accepted(token: str) -> bool:
        try:
            _check(deployment, token, say)
        except TokenRefused:
            return False
        return True

    return accepted


def _check(deployment: Deployment, token: str, say: Say) -> None:
    """Say whose library the token opens. Raises `TokenRefused`."""
    say(f"GoPro accepts it: {look_up(_client(deployment), token)}")


def _client(deployment: Deployment) -> GoProClient:
    outputs = deployment.outputs
    if "GoProApiUrl" not in outputs:
        raise OperatorError(f"{deployment.stack_name} is older than this command: deploy it again first.")
    return GoProClient(outputs["GoProApiUrl"], hosts=AllowedHosts.parse(outputs["DownloadHosts"]), clock=Clock())


def _session(deployment: Deployment) -> Session | None:
    try:
        return read_session(deployment.client("secretsmanager"), deployment.outputs["SessionSecretName"])
    except UnreadableSession:
        return None


def _store(deployment: Deployment, credentials: Mapping[str, str], say: Say) -> None:
    secret = deployment.outputs["CredentialsSecretName"]
    content = json.dumps(dict(credentials))
    deployment.client("secretsmanager").put_secret_value(SecretId=secret, SecretString=content)
    say("stored in the credentials secret; what it held before stays there as its previous version")


def _offer_sync(deployment: Deployment, *, wanted: bool | None, say: Say) -> int:
    """Start a sync if it is `wanted`; ask when that is None and there is a person to ask."""
    under_way = [sync_id for sync_id in unsettled_syncs(deployment) if not look(deployment, sync_id).is_closed]
    if under_way:
        say(f"a sync is under way: {deployment.command(f'watch {under_way[0]}')}")
        say(f"once it has ended, start another with the new session: {deployment.command('trigger --wait')}")
        return 0
    if wanted is None and sys.stdin.isatty():
        print("Start a sync with it now? [Y/n] ", end="", file=sys.stderr, flush=True)
        wanted = sys.stdin.readline().strip().lower() in ("", "y", "yes")
    if not wanted:
        say(f"to use it now: {deployment.command('trigger --wait')}")
        return 0
    sync_id = request_sync(deployment, Request())
    print(sync_id, flush=True)
    say(f"a sync begins; to follow it: {deployment.command(f'watch {sync_id}')}")
    return 0


def _ago(then: datetime, now: datetime) -> str:
    return f"{then.astimezone(UTC):%Y-%m-%d %H:%M}Z, {(now - then).total_seconds() / 3600:,.1f} hours ago"
