"""What each `cloud-sync` command does, and how the program ends."""

import json
import os
import signal
import sys
import webbrowser
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from typer.main import get_command

from ops import (
    cost,
    dead_letters,
    demo,
    events,
    prerequisites,
    report,
    story,
    story_page,
    story_views,
    telling,
    uninstall,
    watch,
    webhooks,
)
from ops.adopt import Adopted, adopt
from ops.arguments import (
    COST,
    DEPLOYING,
    FAILURES,
    LEAVING,
    LIBRARY,
    MACHINE,
    PROGRAM,
    SESSION,
    SYNCS,
    WEBHOOKS,
    Json,
    Medium,
    Run,
    Sync,
    Timeout,
    Wait,
    app,
    comma_list,
    command,
    event_type,
    event_types,
    group,
    moment,
    number,
    print_json,
    refusal,
    refuse,
    service,
    services,
    setting,
)
from ops.credentials import commands as credentials
from ops.credentials.commands import BrowserOptions, StartSync
from ops.deployment import Deployment
from ops.deployment import command as typed
from ops.doctor import findings
from ops.doctor.examination import examine
from ops.doctor.subject import Subject
from ops.errors import OperatorError
from ops.library import LibraryStores
from ops.local import stage
from ops.progress import described, printable, size
from ops.redriven import Redriven, Result
from ops.status import STYLES as STATUS_STYLES
from ops.status import status
from ops.terminal import is_plain, print_lines
from ops.trigger import Request, request_cancel, request_sync
from ops.verify import Verification
from ops.where import StageDir, Where, WhereToChange, ask, deployment_for, stage_to_stop
from services.shared.clock import Clock
from services.shared.events import SERVICES, SyncRequested

SOMETHING_WRONG = 1
UNUSABLE = 2
INTERRUPTED = 130

_PIPED_WIDTH = 1_000  # columns where there is no terminal: lines stay whole, for grep
_MOST = 100_000_000  # of anything that a cost is estimated of

_credentials = group("credentials", SESSION, "The session with GoPro: sign in, paste it, or check it.")
_webhooks = group("webhooks", WEBHOOKS, "Where notifications go besides e-mail, and who hears of each sync.")
_WEBHOOK_NAMES = f"One of {', '.join(webhooks.SERVICES)}."
_local = group("local", MACHINE, "Start or stop the whole system on this machine.")
_options = group("options", DEPLOYING, "Check what a deployment's options need. Changes nothing.")


def _webhook(text: str) -> str:
    return text if text in webhooks.SERVICES else refuse(f"{text!r} is not one of {', '.join(webhooks.SERVICES)}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    try:
        run = parse(arguments)
        # SIGTERM interrupts as Ctrl-C does, so that a command cleans up after itself.
        signal.signal(signal.SIGTERM, _interrupt)
        exit_status = run()
        sys.stdout.flush()
    except typer.TyperException as error:
        return _fail(refusal(error))
    except ClientError as error:
        answer = error.response.get("Error", {})
        return _fail(f"AWS refused {error.operation_name}: {answer.get('Code')}: {answer.get('Message')}")
    except (OperatorError, BotoCoreError) as error:
        return _fail(str(error))
    except BrokenPipeError:
        # The reader of the output closed it. Send what is still buffered nowhere, so that Python's exit is silent.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    return exit_status


def parse(arguments: Sequence[str] | None = None) -> Run:
    """Return the command that a command line names. Raises `typer.TyperException` for one that is wrong."""
    app.rich_markup_mode = None if is_plain(sys.stdout) else "rich"
    parsed = get_command(app).main(arguments, prog_name=PROGRAM, standalone_mode=False)
    return parsed if callable(parsed) else lambda: int(parsed or 0)  # a number: the help was shown


def _interrupt(*_: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise KeyboardInterrupt


def _fail(text: str) -> int:
    say(text)
    return UNUSABLE


def say(text: str) -> None:
    """Print a remark to standard error, apart from the command's output."""
    print(f"cloud-sync: {text}", file=sys.stderr, flush=True)


@command("trigger", "trigger --wait", "trigger --types Video,Photo --from 2026-01-30", panel=SYNCS)
def _trigger(
    where: WhereToChange,
    *,
    provider: Annotated[str, typer.Option(metavar="NAME", help="Whose library.")] = "gopro",
    sync_id: Annotated[
        str | None, typer.Option(metavar="ID", help="An id of your choice. Default: the event's id.")
    ] = None,
    types: Annotated[
        str | None, typer.Option(parser=comma_list, metavar="A,B", help="Only these, such as Video,Photo.")
    ] = None,
    captured_from: Annotated[
        str | None, typer.Option("--from", parser=moment, metavar="DATE", help="Captured since, in UTC.")
    ] = None,
    captured_until: Annotated[
        str | None, typer.Option("--until", parser=moment, metavar="DATE", help="Captured before, in UTC.")
    ] = None,
    wait: Wait = False,
    timeout: Timeout = None,
    as_json: Json = False,
) -> int:
    """Start a sync now, and print its id."""
    request = Request(
        provider=provider,
        sync_id=sync_id,
        types=tuple(types.split(",")) if types else (),
        captured_from=captured_from,
        captured_until=captured_until,
    )
    request.detail()  # refuse a mistake before AWS is called
    _refuse_timeout_without_wait(timeout, wait=wait)
    deployment = _deployment(where, changes=True)
    started = request_sync(deployment, request)
    if wait:
        if not as_json:
            print(started, flush=True)
        return _follow(deployment, started, timeout, as_json=as_json, grace=watch.JUST_REQUESTED_SECONDS)
    if as_json:
        print_json({"sync_id": started})
    else:
        print(started, flush=True)
    say(f"to follow it: {watch.resume(deployment, started)}")
    return 0


def _refuse_timeout_without_wait(timeout: float | None, *, wait: bool) -> None:
    if timeout is not None and not wait:
        raise OperatorError("--timeout is for watching: add --wait. Nothing was sent.")


@command("watch", "watch", "watch --env prod SYNC_ID", panel=SYNCS)
def _watch(
    where: Where,
    *,
    sync_id: Annotated[str | None, typer.Argument(metavar="SYNC_ID", help="The sync. Default: the latest one.")] = None,
    timeout: Timeout = None,
    as_json: Json = False,
) -> int:
    """Show the progress of a sync until it closes. Exit status 0: everything is stored, 1: something is not."""
    deployment = _deployment(where)
    if sync_id:
        return _follow(deployment, sync_id, timeout, as_json=as_json)
    latest = watch.last_sync(deployment)
    for older in watch.unsettled_syncs(deployment):
        if older != latest:
            say(f"an older sync is not settled yet: {watch.resume(deployment, older)}")
    return _follow(deployment, latest, timeout, as_json=as_json)


def _follow(
    deployment: Deployment,
    sync_id: str,
    timeout: float | None,
    *,
    as_json: bool = False,
    grace: float = watch.GRACE_SECONDS,
) -> int:
    terminal = watch.screen(sys.stderr if as_json else sys.stdout)
    try:
        view = watch.watch(deployment, sync_id, timeout=timeout, grace=grace, terminal=terminal)
    except KeyboardInterrupt:
        say(f"the sync goes on without this command. To look again: {watch.resume(deployment, sync_id)}")
        raise
    if as_json:
        print_json(described(view))
    return watch.EXIT_STATUS.get(view.outcome, SOMETHING_WRONG)


@command(
    "report", "report --open", "report --library --open", "report --env prod --output night.html SYNC_ID", panel=SYNCS
)
def _report(
    where: Where,
    *,
    sync_id: Annotated[
        str | None, typer.Argument(metavar="SYNC_ID", help="The sync. Default: the latest closed one.")
    ] = None,
    library: Annotated[bool, typer.Option("--library", help="The page of the whole library.")] = False,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to write it. Default: a file for temporary use.")
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> int:
    """Write the page of a closed sync, or of the library, to a file, and print the file's path."""
    if library and sync_id:
        raise OperatorError("--library is the page of all syncs: leave out SYNC_ID.")
    deployment = _deployment(where)
    if library:
        path = report.write_library_page(deployment, say, output=output)
    else:
        path = report.write_page(deployment, sync_id or report.latest(deployment), say, output=output)
    print(path)
    if show and not webbrowser.open(path.as_uri()):
        say("no browser could be opened here")
        return SOMETHING_WRONG
    return 0


@command("cancel", "cancel --env prod --wait SYNC_ID", panel=SYNCS)
def _cancel(where: WhereToChange, *, sync_id: Sync, wait: Wait = False, timeout: Timeout = None) -> int:
    """End a sync. Nothing more is begun, and what is in hand finishes."""
    _refuse_timeout_without_wait(timeout, wait=wait)
    deployment = _deployment(where, changes=True)
    request_cancel(deployment, sync_id)
    say("asked for the end: nothing more is begun, and what is in hand finishes. The next sync takes what is left")
    if wait:
        _follow(deployment, sync_id, timeout)
    else:
        say(f"to follow it: {watch.resume(deployment, sync_id)}")
    return 0


@command("status", "status --env prod", "status --json", panel=SYNCS)
def _status(where: Where, *, as_json: Json = False) -> int:
    """Show how everything stands, and the one thing to do, if any."""
    found = status(_deployment(where))
    if as_json:
        print_json(found.described())
    else:
        print_lines(found.lines(), STATUS_STYLES)
    return 0


@command("doctor", "doctor --env prod", "doctor --env prod --json", panel=FAILURES)
def _doctor(where: Where, *, as_json: Json = False) -> int:
    """Find what is not as it was deployed, and say how to fix it. Exit status 0: all is well, 1: something is not."""
    deployment = _deployment(where)
    results = []
    for one in examine(Subject(deployment, Clock().now)):
        results.append(one)
        if not as_json:
            print_lines(one.lines(), findings.STYLES, whole=findings.FIX)
    if as_json:
        print_json(findings.described(deployment.stack_name, results))
    say(f"{_count(len(results), 'check')}, {_count(sum(len(one.findings) for one in results), 'finding')}")
    return findings.exit_status(results)


@command("story", "story SYNC_ID", "story --env prod MEDIUM_ID", "story SYNC_ID --html story.html", panel=SYNCS)
def _story(
    where: Where,
    *,
    name: Annotated[
        str | None,
        typer.Argument(metavar="SYNC_ID|MEDIUM_ID", help="The sync or the medium. Default: the latest sync."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Show each medium, also those that went well at the first try.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write it as a page, with a sequence diagram.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Tell which event caused which in a sync or for a medium, who reacted, after how long, and what came of it."""
    deployment = _deployment(where)
    told = telling.story_of(deployment, name or watch.last_sync(deployment))
    if html:
        _write(html, story_page.page(told, everything=everything))
        say(f"the story is in {html}")
    if as_json:
        print_json(story.as_json(told))
    elif not html:
        width = None if sys.stdout.isatty() else _PIPED_WIDTH
        console = Console(no_color=is_plain(sys.stdout), highlight=False, width=width)
        console.print(story_views.tree(told, everything=everything))
    return 0


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise OperatorError(f"{path} can't be written: {error.strerror}") from error


@command("events", "events --tail", "events --sync SYNC_ID --type MediaDownloadFailed --last 100", panel=SYNCS)
def _events(
    where: Where,
    *,
    tail: Annotated[bool, typer.Option("--tail", help="Show each event as it comes, until Ctrl-C.")] = False,
    sync_id: Annotated[str, typer.Option("--sync", metavar="SYNC_ID", help="Only the events of this sync.")] = "",
    media_id: Annotated[str, typer.Option("--medium", metavar="ID", help="Only the events about this medium.")] = "",
    kind: Annotated[
        str | None,
        typer.Option(
            "--type",
            parser=event_type,
            metavar="TYPE",
            autocompletion=event_types,
            help="Only events of this type, such as SyncFailed.",
        ),
    ] = None,
    last: Annotated[int, typer.Option(min=1, max=10_000, metavar="N", help="Without --tail: so many.")] = 20,
    as_json: Json = False,
) -> int:
    """Show the events on the bus: the last ones, or each as it comes."""
    deployment, wanted = _deployment(where), events.Filter(sync_id=sync_id, media_id=media_id, kind=kind or "")
    if tail:
        say("each event shows here once it is in the log, some seconds after it was published. Ctrl-C ends this")
        seen = events.tail(deployment, wanted, clock=Clock())
    else:
        seen = iter(events.last(deployment, wanted, count=last, clock=Clock()))
    for one in seen:
        print(one.envelope if as_json else events.in_words(one.event, wanted), flush=True)
    return 0


@command("failures", "failures --env prod --service downloader", panel=FAILURES)
def _failures(
    where: Where,
    *,
    service: Annotated[
        list[str] | None,
        typer.Option(parser=service, metavar="SERVICE", autocompletion=services, help="Only these; may be repeated."),
    ] = None,
    as_json: Json = False,
) -> int:
    """List the dead letters, and why they failed. Listing counts as a receive."""
    deployment = _deployment(where)
    letters = sorted(dead_letters.failures(deployment, service or SERVICES), key=lambda one: one.since)
    reasons = dead_letters.reasons(deployment, letters)
    if as_json:
        print_json([_described(letter, reasons.get(letter.message_id)) for letter in letters])
        return 0
    if not letters:
        say("no dead letters")
        return 0
    rows = [("SERVICE", "EVENT", "MEDIUM", "SYNC", "RECEIVED", "SINCE", "WHY")]
    for letter in letters:
        event = printable(letter.event) or "(not an event)"
        subject = printable(letter.media_id) or "-", printable(letter.sync_id) or "-"
        counted = f"{letter.receives} times", f"{letter.since:%Y-%m-%d %H:%M:%SZ}"
        why = reasons.get(letter.message_id) or f"see the {letter.service}'s log"
        rows.append((letter.service, event, *subject, *counted, printable(why)))
    print(*_table(rows), sep="\n")
    return 0


def _described(letter: dead_letters.DeadLetter, why: str | None) -> dict[str, object]:
    names = ("service", "event", "media_id", "sync_id", "receives", "since", "message_id")
    return {**{name: getattr(letter, name) for name in names}, "why": why}


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


@command("redrive", "redrive --media-id ID --wait", "redrive --env prod --service lister", panel=FAILURES)
def _redrive(
    where: WhereToChange,
    *,
    service: Annotated[
        str,
        typer.Option(
            parser=service, metavar="SERVICE", autocompletion=services, help="The service to which they are sent back."
        ),
    ] = "downloader",
    media_id: Annotated[str | None, typer.Option(metavar="ID", help="Only the messages about this medium.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="At most so many.")] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Show what comes of them. Exit status 1: one failed again.")
    ] = False,
    timeout: Timeout = None,
) -> int:
    """Send dead letters back to the inbox they came from."""
    _refuse_timeout_without_wait(timeout, wait=wait)
    deployment = _deployment(where, changes=True)
    redriven = Redriven(deployment, service, clock=Clock())
    sent = dead_letters.redrive(deployment, service, media_id=media_id, limit=limit, before_sending=redriven.remember)
    for letter in sent:
        print(f"{printable(letter.event) or letter.message_id} {printable(letter.media_id)}".rstrip())
    if media_id and not sent:
        say(f"no dead letter of the {service} is about {printable(media_id)}: see `failures`")
        return SOMETHING_WRONG
    say(f"sent {_count(len(sent), 'message')} back to the {service}'s inbox")
    if any(letter.event == SyncRequested.__name__ for letter in sent if letter.service == "authenticator"):
        say(f"a failed sync does not start again: request a new one with `{deployment.command('trigger')}`")
    try:
        all_succeeded = not wait or _results(redriven.results(sent, timeout=timeout))
    except KeyboardInterrupt:
        say("the work on these messages goes on without this command")
        raise
    for sync_id in dict.fromkeys(letter.sync_id for letter in sent if letter.sync_id):
        say(f"to see its sync: {watch.resume(deployment, printable(sync_id))}")
    return 0 if all_succeeded else SOMETHING_WRONG


def _results(results: Iterable[Result]) -> bool:
    """Print what came of redriven messages, and return whether all succeeded."""
    succeeded = failed = 0
    for result in results:
        letter = result.letter
        subject = letter.media_id or letter.event or letter.message_id
        print(
            f"  {'succeeded' if result.succeeded else 'failed again'}  {printable(subject)}: {printable(result.text)}",
            flush=True,
        )
        succeeded, failed = succeeded + result.succeeded, failed + (not result.succeeded)
    say(f"{_count(succeeded, 'message')} succeeded, {failed} failed again")
    return not failed


@command("verify", "verify --env prod", "verify --refetch --media-id ID", panel=LIBRARY)
def _verify(
    where: WhereToChange,
    *,
    media_id: Medium = None,
    refetch: Annotated[
        bool, typer.Option("--refetch", help="Correct the table, so that the next sync fetches what is missing.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Compare the library table with the bucket. Exit status 0: everything is there, 1: something is not."""
    verification = Verification(stores=LibraryStores(_deployment(where, changes=refetch)))
    found = verification.run(media_id=media_id, refetch=refetch, now=Clock().now())
    if as_json:
        print_json(verification.described(list(found)))
    else:
        for problem in found:
            named = [printable(text) for text in (problem.media_id, problem.name, problem.key) if text]
            kind = "note " if problem.harmless else "WRONG"
            print(f"{kind}  {'  '.join(named)}: {printable(problem.text)}", flush=True)
        print(*verification.totals(), sep="\n")
    if verification.not_marked:
        say(
            f"{verification.not_marked} media were not changed: a sync is working on them. Try again once it has closed"
        )
    if verification.marked_media:
        say(f"{verification.marked_media} media are marked: the next sync fetches what is gone, if GoPro has it")
    if verification.corrected_media:
        say(f"{verification.corrected_media} media were corrected in the table: nothing of them has to be fetched")
    if verification.problems and not refetch:
        say("what to do about it: docs/operating.md, 'An object is gone' and 'The library table is lost'")
    return SOMETHING_WRONG if verification.problems else 0


@command("adopt", "adopt --env prod --dry-run", panel=LIBRARY)
def _adopt(
    where: WhereToChange,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be written.")] = False,
    as_json: Json = False,
) -> int:
    """Write into the library table what is in the bucket."""
    total, adopted = Adopted(), "would adopt" if dry_run else "adopted"
    done = adopt(LibraryStores(_deployment(where, changes=not dry_run)), dry_run=dry_run)
    if as_json:
        seen = list(done)
        total, media = sum(seen, total), [one for one in seen if one.media_id]
        print_json({"dry_run": dry_run, "media": list(map(asdict, media)), "total": asdict(total)})
        return SOMETHING_WRONG if total.unsettled else 0
    for one in done:
        total += one
        medium = f"{printable(one.media_id)}  {printable(one.name)}"
        if one.media or one.files:
            print(f"{adopted}  {medium}: {_count(one.files, 'file')}, {size(one.bytes)}", flush=True)
        if one.left:
            print(f"{'left':{len(adopted)}}  {medium}: {one.left}", flush=True)
    print(
        f"{total.objects} objects seen: {adopted} {total.media} media and {total.files} files, {size(total.bytes)}; "
        f"{total.known} known already, {total.passed_over} passed over; {total.unsettled} media left to the next sync"
    )
    return SOMETHING_WRONG if total.unsettled else 0


@command("set", "credentials set --env prod", "credentials set --env prod - < cookie.txt", of=_credentials)
def _set(
    where: WhereToChange,
    *,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="- for standard input. Default: a prompt.")
    ] = None,
    sync: StartSync = None,
) -> int:
    """Store a session that you paste: a cookie, a request copied as cURL, a HAR file."""
    return credentials.set_(_deployment(where, changes=True), file, sync=sync, say=say)


@command("login", "credentials login --env prod", of=_credentials)
def _login(
    where: WhereToChange,
    browser: BrowserOptions,
    *,
    timeout: Annotated[
        float, typer.Option(parser=number(1, 86_400), metavar="SECONDS", help="The time to sign in.")
    ] = 600,
    sync: StartSync = None,
) -> int:
    """Sign in to GoPro in a browser window, and store the session."""
    return credentials.login(_deployment(where, changes=True), browser, seconds=timeout, sync=sync, say=say)


@command("keep", "credentials keep --env prod --sync", of=_credentials)
def _keep(where: WhereToChange, browser: BrowserOptions, *, sync: StartSync = None) -> int:
    """Store the session of the browser that has signed in before, without a window; for a cron job at home."""
    return credentials.keep(_deployment(where, changes=True), browser, sync=sync, say=say)


@command("check", "credentials check --env prod", of=_credentials)
def _check(where: Where, *, as_json: Json = False) -> int:
    """Say what is stored, and whether GoPro accepts it now."""
    return credentials.check(_deployment(where), as_json=as_json, say=say)


@command("set", "webhooks set slack --env prod", "webhooks set healthchecks --env prod < address.txt", of=_webhooks)
def _set_webhook(
    where: WhereToChange,
    *,
    name: Annotated[
        str,
        typer.Argument(
            parser=_webhook, metavar="NAME", autocompletion=lambda: list(webhooks.SERVICES), help=_WEBHOOK_NAMES
        ),
    ],
) -> int:
    """Store the address of a webhook or of a monitor: at a prompt that hides it, or from standard input."""
    return webhooks.set_(_deployment(where, changes=True), name, say)


@command("test", "webhooks test --env prod", of=_webhooks)
def _test_webhooks(where: WhereToChange) -> int:
    """Send a notification to all webhooks that are deployed."""
    return webhooks.test(_deployment(where, changes=True), say)


@command("check", "webhooks check --env prod", of=_webhooks)
def _check_webhooks(where: Where) -> int:
    """Say which addresses are stored, and which are in use."""
    return webhooks.check(_deployment(where))


@command("clear", "webhooks clear --env prod", of=_webhooks)
def _clear_webhooks(where: WhereToChange) -> int:
    """Delete the notifications that no webhook took, which ends their alarm."""
    return webhooks.clear(_deployment(where, changes=True), say)


@command("cost", "cost --media-per-night 100 --gigabytes-each 2", "cost --vpc create", panel=COST)
def _cost(
    *,
    media_per_night: Annotated[
        float, typer.Option(parser=number(0, _MOST), metavar="N", help="New media a night.")
    ] = 5,
    gigabytes_each: Annotated[
        float, typer.Option(parser=number(0, _MOST), metavar="N", help="Size of a medium, in 10^9 bytes.")
    ] = 4,
    stored_gigabytes: Annotated[
        float, typer.Option(parser=number(0, _MOST), metavar="N", help="Already in the bucket.")
    ] = 0,
    megabytes_per_second: Annotated[
        float, typer.Option(parser=number(0.001, _MOST), metavar="N", help="Speed of one download from GoPro.")
    ] = cost.Use.megabytes_per_second,
    webhooks: Annotated[
        float, typer.Option(parser=number(0, _MOST), metavar="N", help="Webhooks and monitors that hear of each sync.")
    ] = 0,
    vpc: Annotated[
        Literal["none", "create"], typer.Option(metavar="none|create", help="The setting of this name.")
    ] = "none",
    vpc_functions: Annotated[
        Literal["all", "no_downloader"], typer.Option(metavar="all|no_downloader", help="The setting of this name.")
    ] = "all",
    as_json: Json = False,
) -> int:
    """Estimate a month's cost on AWS, and say what switches each part of it off."""
    use = cost.Use(
        media_per_night=media_per_night,
        gigabytes_each=gigabytes_each,
        stored_gigabytes=stored_gigabytes,
        megabytes_per_second=megabytes_per_second,
        webhooks=webhooks,
        vpc=vpc != "none",
        vpc_functions=vpc_functions,
    )
    if as_json:
        print_json(cost.description(use))
    else:
        print(*cost.report(use), sep="\n")
    return 0


@command("bucket", "options bucket --env prod NAME", of=_options)
def _options_bucket(
    where: Where,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The bucket that `media_bucket` shall name.")],
    kms_key: Annotated[
        str | None, typer.Option(metavar="ARN", help="What the setting `kms_key` is, or shall be.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Check a bucket of yours for the setting `media_bucket`. Exit status 0: it is fit, 1: something has to change."""
    deployment = _deployment(where)
    bucket = prerequisites.read_bucket(deployment, name)
    region = str(deployment.session.region_name)
    found = list(prerequisites.bucket_findings(bucket, region=region, kms_key=kms_key))
    if as_json:
        print_json({"bucket": asdict(bucket), "findings": [asdict(one) for one in found]})
        return SOMETHING_WRONG if found else 0
    for one in found:
        print(f"WRONG  {one.text}", *([f"       {one.fix}"] if one.fix else []), sep="\n")
    say(f"{_count(len(found), 'finding')} about {name}; nothing was changed")
    return SOMETHING_WRONG if found else 0


@command("key", "options key --env prod", of=_options)
def _options_key(
    where: Where,
    *,
    budget: Annotated[bool, typer.Option("--budget", help="With the setting `monthly_budget_usd`.")] = False,
) -> int:
    """Print the statements that the policy of a key of yours needs for the setting `kms_key`, as JSON."""
    print_json({"Version": "2012-10-17", "Statement": prerequisites.key_policy(_deployment(where), budget=budget)})
    return 0


@command("uninstall", "uninstall --env prod --dry-run", "uninstall --env prod --unprotect", panel=LEAVING)
def _uninstall(
    where: WhereToChange,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would go, and what would stay.")] = False,
    unprotect: Annotated[
        bool, typer.Option("--unprotect", help="Turn off the stack's protection from deletion first.")
    ] = False,
) -> int:
    """Delete the stack. Your originals, the tables and the credentials stay, and a new stack can take them back."""
    deployment = _deployment(where)
    leaving = uninstall.look(deployment)
    print(*uninstall.said(leaving), sep="\n", flush=True)
    if not dry_run:
        if leaving.protected:
            uninstall.refuse_protected(leaving.stack_name, unprotect=unprotect)
        if not where.yes:
            ask(f"Delete {leaving.stack_name}?", instead="Add --yes if it is meant.")
        uninstall.uninstall(deployment, unprotect=unprotect, say=say)
        say(f"{leaving.stack_name} is deleted")
    print("", "To take back what stays, write this into cloud-sync.toml and deploy:", "", sep="\n")
    print(*uninstall.lines_of_settings(leaving.settings), sep="\n")
    return 0


@command("up", "local up", "local up --set concurrency=2 --iam", of=_local)
def _local_up(
    *,
    stage_dir: StageDir = None,
    gopro_url: Annotated[
        str | None, typer.Option(metavar="URL", help="The GoPro Cloud to use. Default: the stage starts its own.")
    ] = None,
    credentials: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="The contents of the credentials secret.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            parser=setting,
            metavar="NAME=VALUE",
            help="A setting, as `cdk deploy -c` takes it; may be repeated.",
        ),
    ] = None,
    iam: Annotated[bool, typer.Option("--iam", help="Enforce roles and policies, as AWS does; over TLS.")] = False,
    as_json: Json = False,
) -> int:
    """Start the local stage, or update the one that runs."""
    wanted = stage.Wanted(
        folder=stage.named_folder(stage_dir) or stage.DEFAULT_FOLDER,
        gopro_url=gopro_url,
        credentials=credentials,
        settings={name: value for name, _, value in (one.partition("=") for one in settings or ())},
        enforce_iam=iam,
    )
    brought = stage.up(wanted, say)
    if as_json:
        print(json.dumps(brought.description))
        return 0
    option = stage.option(brought.folder)
    print(f"The local stage is up at {brought.endpoint_url}; its GoPro Cloud is at {brought.gopro_url}.")
    print(f"  start a sync       {typed('trigger --wait', option)}")
    print(f"  use the AWS CLI    {brought.shell}")
    print(f"  logs               {brought.folder}/ministack.log")
    print(f"  stop               {typed('local down', option)}")
    return 0


@command("down", "local down", of=_local)
def _local_down(*, stage_dir: StageDir = None) -> int:
    """Stop the local stage and delete it."""
    stage.down(stage_to_stop(stage_dir), say)
    for other in stage.folders() if stage_dir is None else []:
        say(f"another local stage is left: {typed('local down', stage.option(other))}")
    return 0


@command("demo", "demo --keep", panel=MACHINE)
def _demo(*, keep: Annotated[bool, typer.Option("--keep", help="Keep the stage running afterwards.")] = False) -> int:
    """Run a whole sync on this machine and check its outcome."""
    return demo.run(keep=keep, say=say)


def _deployment(where: Where, *, changes: bool = False) -> Deployment:
    return deployment_for(where, say, changes=changes)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
