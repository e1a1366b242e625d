"""The command line of `cloud-sync`: how a command is registered, what its help says, and the values that it takes.

A command is one function in ops/command.py. Its parameters are its options and arguments, and its docstring is its
help. A parameter whose type is a dataclass stands for several options that commands share, one for each field.
"""

import contextlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from decimal import Decimal
from difflib import get_close_matches
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeAlias, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from services.shared.events import EVENT_TYPES, SERVICES

if TYPE_CHECKING:
    _Base = TyperCommand
else:
    _Base = object  # of a class that a command and a group of commands have in common

PROGRAM = "cloud-sync"

Run: TypeAlias = Callable[[], int]
"""A command with its options, ready to run. Returns the exit status."""

# The panels of the help, in this order.
PANELS = SYNCS, FAILURES, LIBRARY, SESSION, WEBHOOKS, MACHINE, DEPLOYING, LEAVING, COST = (
    "Syncs",
    "When something failed",
    "The library in the bucket",
    "The session with GoPro",
    "Webhooks and heartbeat",
    "On this machine",
    "Before a deployment",
    "Leaving",
    "Cost",
)

_INTRODUCTION = """\
Operates Cloud Sync, on AWS or on the local stage.

Without --env and --local, a command uses the local stage if one runs, otherwise the `dev` stack on AWS. There, a \
command that changes something asks first.
"""
_EXAMPLES = (
    "local up                 start the whole system on this machine",
    "trigger --wait           start a sync now and show its progress",
    "watch                    show the progress of the latest sync",
    "status --env prod        show how everything stands on AWS",
    "credentials login        sign in to GoPro in a browser",
    "failures                 list the messages that used up their tries",
    "redrive --media-id ID    try a failed medium again",
    "local down               stop the local stage and delete it",
)
_ENDS = """
Exit status:
  0    done, and all is as it should be
  1    done, and something is not, such as a medium that is not stored
  2    not done; the message says why
  130  interrupted
"""


def _examples(lines: Sequence[str]) -> str:
    return "\n".join(["", f"Example{'s' * (len(lines) > 1)}:", *(f"  {PROGRAM} {line}" for line in lines), ""])


def _without_types(params: list[Any]) -> list[Any]:
    """Let rich help show flags without `<bool>`."""
    for param in params:
        if getattr(param, "is_flag", False):
            param.display_type_rich = lambda ctx: None  # noqa: ARG005  # passed by its name
    return params


class _Taught(_Base):
    """Has a help that ends with its examples, line by line, so that they can be copied."""

    epilog: str | None

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self._ending, self.epilog = self.epilog or "", None

    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types(super().get_params(ctx))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        super().format_help(ctx, formatter)
        formatter.write(self._ending)


class _Command(_Taught, TyperCommand):
    """A command."""


class _Group(_Taught, TyperGroup):
    """A group of commands. Plain help shows them by panel, as rich help does."""

    def list_commands(self, _: Any) -> list[str]:
        return sorted(self.commands, key=lambda name: PANELS.index(self._panel(name)) if self._panel(name) else 0)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        width = max(map(len, self.commands))
        for panel, names in groupby(self.list_commands(ctx), key=self._panel):
            with formatter.section(panel or "Commands"):
                room = formatter.width - width - 6
                formatter.write_dl(
                    [(name.ljust(width), self.commands[name].get_short_help_str(room)) for name in names]
                )

    def _panel(self, name: str) -> str:
        return getattr(self.commands[name], "rich_help_panel", None) or ""


app = typer.Typer(cls=_Group, help=_INTRODUCTION, epilog=_examples(_EXAMPLES) + _ENDS)


def group(name: str, panel: str, purpose: str) -> typer.Typer:
    """Register a group of commands and return it."""
    made = typer.Typer(cls=_Group, help=purpose)
    app.add_typer(made, name=name, rich_help_panel=panel)
    return made


def command(
    name: str, *examples: str, panel: str | None = None, of: typer.Typer = app
) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Register a function as a command with these examples, which lack the program's name."""

    def register(function: Callable[..., int]) -> Callable[..., int]:
        of.command(name, cls=_Command, rich_help_panel=panel, epilog=_examples(examples))(_parsed(function))
        return function

    return register


def refusal(error: typer.TyperException) -> str:
    """Say what is wrong about a command line, and how to learn more."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context else PROGRAM
    return f"{error.format_message().replace('Value error, ', '')}\nFor help: {path} --help"


def refuse(text: str) -> NoReturn:
    """Raise the error that names the option whose value is refused, where one is being read."""
    raise typer.BadParameter(text)


def _parsed(function: Callable[..., int]) -> Callable[..., Run]:
    """Return a function that takes the options of `function` one by one, and returns it with them, ready to run."""
    own = inspect.signature(function, eval_str=True).parameters
    groups: dict[str, Any] = {name: given.annotation for name, given in own.items() if is_dataclass(given.annotation)}

    def prepare(**options: Any) -> Run:
        made = {
            name: kind(**{field.name: options.pop(field.name) for field in fields(kind)})
            for name, kind in groups.items()
        }
        return partial(function, **made, **options)

    flat = [given for name, given in own.items() if name not in groups]
    for kind in groups.values():
        hints = get_type_hints(kind, include_extras=True)
        flat += [
            inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=hints[one.name])
            for one in fields(kind)
        ]
    keyword = [given.replace(kind=inspect.Parameter.KEYWORD_ONLY) for given in flat]
    prepare.__doc__ = function.__doc__
    prepare.__signature__ = inspect.Signature(keyword)  # type: ignore[attr-defined]  # where `inspect` looks
    return prepare


def print_json(value: object) -> None:
    """Print a value as JSON, with numbers and times as JSON has them."""
    print(json.dumps(value, indent=2, default=_plain))


def _plain(value: object) -> object:
    if isinstance(value, Decimal):  # DynamoDB's numbers
        return int(value) if value == int(value) else float(value)
    return dict(value) if isinstance(value, Mapping) else str(value)


# ── Values ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def number(low: float, high: float) -> Callable[[str], float]:
    """Return a function that reads a number within these bounds."""

    def parse_number(text: str) -> float:
        with contextlib.suppress(ValueError):
            if low <= float(text) <= high:
                return float(text)
        refuse(f"{text!r} is not a number from {low:,} to {high:,}")

    return parse_number


def moment(text: str) -> str:
    """Read an ISO 8601 date or time, in UTC unless it names another zone."""
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        refuse(f"{text!r} is not a date such as 2026-01-30 or 2026-01-30T21:08:11Z")
    read = read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    return read.strftime("%Y-%m-%dT%H:%M:%SZ")


def comma_list(text: str) -> str:
    """Read a list such as Video,Photo, without the spaces around its parts."""
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        refuse(f"{text!r} is not a list such as Video,Photo")  # an empty part would silently stand for everything
    return ",".join(parts)


def setting(text: str) -> str:
    """Read a setting such as concurrency=2."""
    name, equals, _ = text.partition("=")
    return text if name and equals else refuse(f"{text!r} is not NAME=VALUE")


def service(text: str) -> str:
    """Read the name of a service."""
    return text if text in SERVICES else refuse(f"{text!r} is not one of {', '.join(SERVICES)}")


def services() -> list[str]:
    """Return what shell completion offers for a service."""
    return list(SERVICES)


def event_type(text: str) -> str:
    """Read the type of an event."""
    if text not in EVENT_TYPES:
        near = get_close_matches(text, EVENT_TYPES, n=1)
        refuse(f"{text!r} is no type of an event; " + (f"did you mean {near[0]}?" if near else ", ".join(EVENT_TYPES)))
    return text


def event_types() -> list[str]:
    """Return what shell completion offers for a type of event."""
    return sorted(EVENT_TYPES)


# ── Options of several commands ──────────────────────────────────────────────────────────────────────────────────────

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for other programs.")]
Sync = Annotated[str, typer.Argument(metavar="SYNC_ID", help="The id of the sync.")]
Wait = Annotated[bool, typer.Option("--wait", help="Show the progress until the sync closes, as `watch` does.")]
Timeout = Annotated[
    float | None,
    typer.Option(parser=number(0, 1_000_000), metavar="SECONDS", help="Stop watching after this time. Default: never."),
]
Medium = Annotated[str | None, typer.Option("--media-id", metavar="ID", help="Only this medium.")]
