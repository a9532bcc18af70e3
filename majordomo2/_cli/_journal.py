"""`majordomo2 journal`: what is in a journal, and how old things leave it."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from .. import JournalError
from ._cause import printable
from ._run import write_all
from ._usage import BROKEN_PIPE, UNITS, binary, wrong

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="See what is in a journal, and delete old tasks from it, also while a run "
    "has it.",
)


def _age(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|min|h|d)", text)
    if found is None:
        raise typer.BadParameter(
            f"it must be a number and a unit of s, min, h and d, not {text}: such as "
            f"30min or 7d"
        )
    return float(found[1]) * UNITS[found[2]]


File: TypeAlias = Annotated[
    Path, typer.Argument(metavar="FILE", help="The file of the journal.")
]
AsJSON: TypeAlias = Annotated[
    bool, typer.Option("--json", help="A line of JSON for each task, for programs.")
]
OlderThan: TypeAlias = Annotated[
    float,
    typer.Option(
        parser=_age,
        metavar="AGE",
        help="Such as 90s, 30min, 12h or 7d. What was heard of since then stays.",
    ),
]


@app.command()
def show(file: File, *, as_json: AsJSON = False) -> None:
    """Show the tasks of a journal, in the order in which they were first recorded.

    The file is only read, without holding up whoever has it.

    \b
    ID        of the task
    STATUS    queued; running; cut off, if it was running when its process ended; or
              what became of it
    ATTEMPTS  how often the function was started
    PING      how long ago the task was last heard of
    STATE     what it saved last, shortened

    With --json each line has all that is recorded: id, action, arguments, status
    ("unspecified" until the task has ended), attempts, state, data, pinged (in seconds
    since 1970); and as shown the STATUS of the table.
    """  # noqa: D301 - \b, which keeps the lines below it as they are, is meant
    from ..journals._reading import check_journal_file  # noqa: PLC0415 - as in run
    from ._listing import objects, table  # noqa: PLC0415 - as above

    stream = binary(sys.stdout, "standard output")
    try:
        check_journal_file(file)
        for text in objects(file) if as_json else table(file, stream):
            write_all(stream, text)
    except JournalError as error:
        raise wrong("FILE", printable(str(error))) from None
    except BrokenPipeError:
        raise typer.Exit(BROKEN_PIPE) from None
    except OSError as error:
        typer.echo(f"stopped, as it can't be written: {error.strerror}", err=True)
        raise typer.Exit(1) from None


@app.command(name="prune")
def prune_(file: File, *, older_than: OlderThan) -> None:
    """Delete the tasks that have ended, and were last heard of so long ago.

    A success that is deleted is forgotten: if it is added again, it runs again. Parts of
    a parallel task stay as long as the whole of it does.

    A run may have the journal meanwhile. If none has, the file becomes smaller, too.
    """
    from ..journals._reading import check_journal_file, prune  # noqa: PLC0415 - as above

    try:
        check_journal_file(file)
        deleted, left = prune(file, time.time() - older_than)
    except JournalError as error:
        raise wrong("FILE", printable(str(error))) from None
    typer.echo(f"{deleted} task{'s' * (deleted != 1)} deleted, {left} left")
