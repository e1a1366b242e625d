"""Which stack a command is for, on the local stage or on AWS: says so, and asks before it changes one on AWS."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from ops.arguments import refuse
from ops.deployment import Deployment, command, on_aws
from ops.errors import OperatorError
from ops.local import stage

DEFAULT_ENV = "dev"

Say = Callable[[str], None]

StageDir = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help=f"Folder of the local stage. Default: {stage.FOLDER_VARIABLE}, or the one of this checkout.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class Where:
    """The options that say which stack a command is for."""

    env: Annotated[
        Literal["dev", "prod"] | None, typer.Option(metavar="dev|prod", help="The stack of this environment on AWS.")
    ] = None
    local: Annotated[bool, typer.Option("--local", help="The local stage.")] = False
    stage_dir: StageDir = None

    def __post_init__(self) -> None:
        if self.env and self.local:
            refuse("--env names a stack on AWS, and --local the local stage: give one of them")


@dataclass(frozen=True, kw_only=True)
class WhereToChange(Where):
    """The same for a command that changes something there."""

    yes: Annotated[bool, typer.Option("--yes", help="Change the stack on AWS without asking.")] = False


def deployment_for(where: Where, say: Say, *, changes: bool = False) -> Deployment:
    """Return the stack that a command is for. `changes`: whether the command changes something there.

    Raises `OperatorError` when the named stage does not run, or when nobody has confirmed a change on AWS.
    """
    if where.env is None:
        # A named stage is meant: never fall back to AWS.
        named = stage.named_folder(where.stage_dir)
        local = _local_stage(named, say, required=where.local or named is not None)
        if local is not None:
            say(local.place)
            return local
    deployment = on_aws(where.env or DEFAULT_ENV)
    if not changes:
        say(f"on {deployment.stack_name} {deployment.place}")
        return deployment
    say(f"on {deployment.stack_name} {deployment.place}, account {deployment.account}")
    if where.env is None and not (isinstance(where, WhereToChange) and where.yes):
        _confirm(deployment)
    return deployment


def ask(question: str, *, instead: str) -> None:
    """Go on only if a person says yes. Raises `OperatorError` otherwise. `instead`: what to type without a terminal."""
    if not sys.stdin.isatty():
        raise OperatorError(f"Nothing was changed: there is no terminal to ask at. {instead}")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise OperatorError("nothing was changed")


def stage_to_stop(given: Path | None) -> Path:
    """Return the folder of the stage that `local down` is for: the one that is named, or else that of this checkout."""
    return stage.named_folder(given) or next(iter(stage.folders()), stage.DEFAULT_FOLDER)


def _confirm(deployment: Deployment) -> None:
    if not sys.stdin.isatty():
        raise OperatorError(
            "Nothing was changed: no local stage runs, and without a terminal the stack on AWS has to be named. "
            f"Add {deployment.options} if it is meant, or --yes."
        )
    ask("This changes the stack on AWS. Continue?", instead="")


def _local_stage(named: Path | None, say: Say, *, required: bool) -> Deployment | None:
    """Return the named stage, or else the one of this checkout, if it runs."""
    folders = [named] if named else stage.folders()
    running, unreadable = [], None
    for folder in folders:
        try:
            found = stage.load(folder)
        except OperatorError as error:
            unreadable = error
        else:
            running += [found] if found.is_up else []
    if running:
        first, *others = running
        for other in others:
            say(f"another local stage runs: name it with {stage.option(other.folder)}")
        return first.deployment
    if not required:
        return None
    if unreadable:
        raise unreadable
    if not folders:
        stage.load(stage.DEFAULT_FOLDER)  # raises: there is none
    again = command("local up", stage.option(folders[0]))
    raise OperatorError(f"The local stage in {folders[0]} does not run. Start it again: {again}")
