"""The `cloud-sync` command: trigger, watch, status, failures, redrive, verify, adopt, cost, and the local stage."""

import argparse
import contextlib
import json
import math
import os
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from botocore.exceptions import BotoCoreError, ClientError

from ops import cost, dead_letters, demo, watch
from ops.adopt import Adopted, adopt
from ops.deployment import Deployment, on_aws
from ops.errors import OperatorError
from ops.library import LibraryStores
from ops.local import stage
from ops.progress import printable, size
from ops.status import status
from ops.trigger import Request, request_sync
from ops.verify import Verification
from services.shared.bus import utc_now
from services.shared.events import SyncRequested

SOMETHING_WRONG = 1
UNUSABLE = 2
INTERRUPTED = 130

_EXAMPLES = """\
examples:
  cloud-sync local up                       the whole system on this machine, with a GoPro Cloud of its own
  cloud-sync trigger --wait                 a sync now, and its progress until it is over
  cloud-sync watch                          the progress of the sync that was asked for last
  cloud-sync failures --env prod            what no try could finish, and why it is worth a look
  cloud-sync redrive --media-id ID          one failed medium once more
  cloud-sync verify --env prod              is all in the bucket that is said to be?
  cloud-sync local down

Without --env or --local a command goes to the local stage when one is up, else to the `dev` stack on AWS.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    parsed = _parser().parse_args(arguments)
    # Ended or interrupted, a command takes back what it has begun.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        status_code: int = parsed.run(parsed)
        sys.stdout.flush()
    except OperatorError as error:
        return _fail(str(error))
    except ClientError as error:
        told = error.response.get("Error", {})
        return _fail(f"AWS refused {error.operation_name}: {told.get('Code')}: {told.get('Message')}")
    except BotoCoreError as error:
        return _fail(str(error))
    except BrokenPipeError:
        # Whoever read the output has seen enough. What is still buffered goes nowhere, without a complaint at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    return status_code


def _interrupt(*_: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise KeyboardInterrupt


def _fail(text: str) -> int:
    print(f"cloud-sync: {text}", file=sys.stderr)
    return UNUSABLE


def say(text: str) -> None:
    """Progress, beside what the command prints."""
    print(f"cloud-sync: {text}", file=sys.stderr, flush=True)


# --- the commands ---------------------------------------------------------------------------------------------------


def _trigger(arguments: argparse.Namespace) -> int:
    request = Request(
        provider=arguments.provider,
        sync_id=arguments.sync_id,
        types=arguments.types,
        captured_from=arguments.captured_from,
        captured_until=arguments.captured_until,
    )
    request.detail()  # a mistake is told before AWS is asked anything
    deployment = _deployment(arguments)
    sync_id = request_sync(deployment, request)
    print(sync_id, flush=True)
    return _follow(deployment, sync_id, arguments.timeout) if arguments.wait else 0


def _watch(arguments: argparse.Namespace) -> int:
    deployment = _deployment(arguments)
    return _follow(deployment, arguments.sync_id or watch.last_sync(deployment), arguments.timeout)


def _follow(deployment: Deployment, sync_id: str, timeout: float | None) -> int:
    return watch.EXIT_STATUS.get(watch.watch(deployment, sync_id, timeout=timeout).outcome, 1)


def _status(arguments: argparse.Namespace) -> int:
    for line in status(_deployment(arguments)):
        print(line)
    return 0


def _failures(arguments: argparse.Namespace) -> int:
    deployment = _deployment(arguments)
    letters = dead_letters.failures(deployment, arguments.service or dead_letters.SERVICES)
    if not letters:
        say("no dead letters")
        return 0
    reasons = dead_letters.reasons(deployment, letters)
    rows = [("SERVICE", "EVENT", "MEDIUM", "SYNC", "RECEIVED", "SINCE", "WHY")]
    for letter in sorted(letters, key=lambda one: one.since):
        event = printable(letter.event) or "(not an event)"
        about = printable(letter.media_id) or "-", printable(letter.sync_id) or "-"
        counted = f"{letter.receives} times", f"{letter.since:%Y-%m-%d %H:%M:%SZ}"
        why = reasons.get(letter.message_id) or f"see the {letter.service}'s log"
        rows.append((letter.service, event, *about, *counted, printable(why)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _redrive(arguments: argparse.Namespace) -> int:
    deployment = _deployment(arguments)
    sent = dead_letters.redrive(deployment, arguments.service, media_id=arguments.media_id, limit=arguments.limit)
    for letter in sent:
        print(f"{printable(letter.event) or letter.message_id} {printable(letter.media_id)}".rstrip())
    if arguments.media_id and not sent:
        say(f"no dead letter of the {arguments.service} is about {printable(arguments.media_id)}: see `failures`")
        return SOMETHING_WRONG
    say(f"{len(sent)} message{'' if len(sent) == 1 else 's'} back in the inbox of the {arguments.service}")
    if any(letter.event == SyncRequested.__name__ for letter in sent if letter.service == "authenticator"):
        say("a sync that failed is not begun again: ask for a new one with `.venv/bin/cloud-sync trigger`")
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    verification = Verification(stores=LibraryStores(_deployment(arguments)))
    for problem in verification.run(media_id=arguments.media_id, refetch=arguments.refetch, now=utc_now()):
        named = [printable(text) for text in (problem.media_id, problem.name, problem.key) if text]
        print(f"{'note ' if problem.harmless else 'WRONG'}  {'  '.join(named)}: {printable(problem.wrong)}", flush=True)
    for line in verification.totals():
        print(line)
    if verification.not_marked:
        say(f"{verification.not_marked} media were left as they are: a sync has them in hand. Once it is over, again")
    if verification.marked_media:
        say(f"{verification.marked_media} media are marked: the next sync fetches what is gone, if GoPro has it")
    if verification.mended_media:
        say(f"{verification.mended_media} media are set right in the table: nothing of them has to be fetched")
    if verification.problems and not arguments.refetch:
        say("what to do about it: docs/operating.md, 'An object is gone' and 'The library table is lost'")
    return SOMETHING_WRONG if verification.problems else 0


def _adopt(arguments: argparse.Namespace) -> int:
    total, adopted = Adopted(), "would adopt" if arguments.dry_run else "adopted"
    for one in adopt(LibraryStores(_deployment(arguments)), dry_run=arguments.dry_run):
        total += one
        called = f"{printable(one.media_id)}  {printable(one.name)}"
        if one.media or one.files:
            print(
                f"{adopted}  {called}: {one.files} file{'' if one.files == 1 else 's'}, {size(one.bytes)}", flush=True
            )
        if one.left:
            print(f"{'left':{len(adopted)}}  {called}: {one.left}", flush=True)
    print(
        f"{total.objects} objects seen: {adopted} {total.media} media and {total.files} files, {size(total.bytes)}; "
        f"{total.known} known already, {total.passed_over} passed over; {total.unsettled} media left to the next sync"
    )
    return SOMETHING_WRONG if total.unsettled else 0


def _local_up(arguments: argparse.Namespace) -> int:
    wanted = stage.Wanted(
        folder=arguments.stage_dir,
        gopro_url=arguments.gopro_url,
        credentials=arguments.credentials,
        settings=dict(arguments.settings),
        enforce_iam=arguments.iam,
    )
    brought = stage.up(wanted, say)
    if arguments.json:
        print(json.dumps(brought.description))
        return 0
    folder = "" if arguments.stage_dir == stage.DEFAULT_FOLDER else f" --stage-dir {arguments.stage_dir}"
    print(f"The local stage is up at {brought.endpoint_url}; its GoPro Cloud is {brought.gopro_url}.")
    print(f"  a sync      .venv/bin/cloud-sync trigger --wait{folder}")
    print(f"  by hand     {brought.shell}")
    print(f"  logs        {brought.folder}/ministack.log")
    print(f"  the end     .venv/bin/cloud-sync local down{folder}")
    return 0


def _local_down(arguments: argparse.Namespace) -> int:
    stage.down(arguments.stage_dir, say)
    return 0


def _cost(arguments: argparse.Namespace) -> int:
    use = cost.Use(
        media_per_night=arguments.media_per_night,
        gigabytes_each=arguments.gigabytes_each,
        stored_gigabytes=arguments.stored_gigabytes,
        megabytes_per_second=arguments.megabytes_per_second,
    )
    print("\n".join(cost.report(use)))
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    return demo.run(keep=arguments.keep, say=say)


def _deployment(arguments: argparse.Namespace) -> Deployment:
    """The stack that a command is for, which it says."""
    if arguments.env is None:
        # A folder that is named means the stage in it, and never what lies on AWS.
        named = arguments.stage_dir != stage.DEFAULT_FOLDER
        local = _local_stage(arguments.stage_dir, required=arguments.local or named)
        if local is not None:
            say(f"on the local stage at {local.endpoint_url}")
            return local
    deployment = on_aws(arguments.env or "dev")
    say(f"on {deployment.stack_name} {deployment.place}")
    return deployment


def _local_stage(folder: Path, *, required: bool) -> Deployment | None:
    try:
        found = stage.load(folder)
    except OperatorError:
        if required:
            raise
        return None
    if found.is_up:
        return found.deployment
    if required:
        raise OperatorError(
            f"The local stage in {folder} does not run. Bring it up again: .venv/bin/cloud-sync local up"
        )
    return None


# --- the command line -----------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cloud-sync",
        description="Operates Cloud Sync, on AWS or on the local stage.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    where = _where()

    trigger = _command(commands, "trigger", _trigger, "ask for a sync now, and print its id", where)
    trigger.add_argument("--provider", default="gopro", help="default: %(default)s")
    trigger.add_argument("--sync-id", metavar="ID", help="a name of your own; default: the id of the event")
    trigger.add_argument("--types", type=_comma_list, default=(), metavar="A,B", help="only these, such as Video,Photo")
    trigger.add_argument("--from", dest="captured_from", type=_moment, metavar="DATE", help="captured since, in UTC")
    trigger.add_argument("--until", dest="captured_until", type=_moment, metavar="DATE", help="captured before, in UTC")
    trigger.add_argument("--wait", action="store_true", help="show its progress until it is over, as `watch` does")
    _add_timeout(trigger)

    follow = _command(
        commands, "watch", _watch, "show the progress of a sync until it is over; status 0: all stored, 1: not", where
    )
    follow.add_argument("sync_id", nargs="?", metavar="SYNC_ID", help="default: the one asked for last")
    _add_timeout(follow)

    _command(commands, "status", _status, "show what waits in the inboxes, the dead letters and the last sync", where)

    found = _command(commands, "failures", _failures, "list the dead letters; looking counts as a receive", where)
    found.add_argument(
        "--service", action="append", choices=dead_letters.SERVICES, help="only of this; may be repeated"
    )

    again = _command(commands, "redrive", _redrive, "send dead letters back to the inbox they came from", where)
    again.add_argument("--service", choices=dead_letters.SERVICES, default="downloader", help="default: %(default)s")
    again.add_argument("--media-id", metavar="ID", help="only what is about this medium")
    again.add_argument("--limit", type=positive, metavar="N", help="at most so many")

    check = _command(
        commands,
        "verify",
        _verify,
        "hold what is said to be stored against the bucket; status 0: all there, 1: not",
        where,
    )
    check.add_argument("--media-id", metavar="ID", help="only this medium")
    check.add_argument(
        "--refetch", action="store_true", help="set the table right: what is gone is fetched by the next sync"
    )

    rebuild = _command(commands, "adopt", _adopt, "write into the library table what lies in the bucket", where)
    rebuild.add_argument("--dry-run", action="store_true", help="only say what would be written")

    _add_cost(commands)
    _add_local(commands)

    demonstration = _command(commands, "demo", _demo, "run a whole sync on this machine and check what came of it")
    demonstration.add_argument("--keep", action="store_true", help="leave it running afterwards, to look around in")
    return parser


def _add_cost(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    estimate = _command(commands, "cost", _cost, "estimate what a month costs on AWS")
    for name, default, purpose in (
        ("--media-per-night", 5.0, "new media"),
        ("--gigabytes-each", 4.0, "size of one, in 10^9 bytes"),
        ("--stored-gigabytes", 0.0, "what the bucket holds already"),
        ("--megabytes-per-second", cost.Use.megabytes_per_second, "that one download gets from GoPro"),
    ):
        estimate.add_argument(name, type=_amount, default=default, metavar="N", help=f"{purpose}; default: {default:g}")


def _add_local(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    local = commands.add_parser("local", help="the whole system on this machine", description="The local stage.")
    steps = local.add_subparsers(metavar="up|down", required=True)
    up = _command(steps, "up", _local_up, "bring the local stage up, or what runs of it up to date", _stage_dir())
    up.add_argument("--gopro-url", metavar="URL", help="a GoPro Cloud to use; default: one of our own is started")
    up.add_argument("--credentials", type=Path, metavar="FILE.json", help="goes into the credentials secret")
    up.add_argument(
        "--set", dest="settings", action="append", default=[], type=_setting, metavar="NAME=VALUE",
        help="a setting, as `cdk deploy -c` takes it; may be repeated",
    )  # fmt: skip
    up.add_argument("--iam", action="store_true", help="let roles and policies decide, as on AWS; over TLS")
    up.add_argument("--json", action="store_true", help="print one JSON object: where it is, and the stack's outputs")
    _command(steps, "down", _local_down, "end what `up` started, and delete it", _stage_dir())


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    run: Callable[[argparse.Namespace], int],
    purpose: str,
    *parents: argparse.ArgumentParser,
) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name, help=purpose, description=f"{purpose[0].upper()}{purpose[1:]}.", parents=parents
    )
    command.set_defaults(run=run)
    return command


def _where() -> argparse.ArgumentParser:
    where = argparse.ArgumentParser(add_help=False, parents=[_stage_dir()])
    choice = where.add_mutually_exclusive_group()
    choice.add_argument("--env", choices=("dev", "prod"), help="the stack of this environment on AWS")
    choice.add_argument("--local", action="store_true", help="the local stage")
    return where


def _stage_dir() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--stage-dir",
        type=Path,
        default=stage.DEFAULT_FOLDER,
        metavar="DIR",
        help="of the local stage; default: %(default)s",
    )
    return parser


def _add_timeout(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--timeout", type=float, metavar="SECONDS", help="give up looking after so long; default: never"
    )


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _comma_list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _amount(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 <= float(text) < math.inf:
            return float(text)
    raise argparse.ArgumentTypeError("a number, 0 or more")


def positive(text: str) -> int:
    with contextlib.suppress(ValueError):
        if int(text) > 0:
            return int(text)
    raise argparse.ArgumentTypeError("a whole number above 0")


def _moment(text: str) -> str:
    """A date or a time of ISO 8601, in UTC unless it says otherwise."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a date such as 2026-01-30 or 2026-01-30T21:08:11Z"
        ) from error
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
