"""The command: its options, their checks, its exit status."""

from __future__ import annotations

import contextlib
import difflib
import importlib.metadata
import io
import logging
import math
import os
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Annotated, BinaryIO, TextIO, TypeAlias

import trio
import typer

from .. import TaskOptions
from .._checks import cores
from .._options import RUNNER_NAMES
from .._runner import RunnerName
from ..abc import Journal
from . import _journal
from ._cause import cause_and_place, in_a_line, printable
from ._function import check_runner, load
from ._inputs import LineReader, paths
from ._run import Plan, Run
from ._usage import BROKEN_PIPE, SIGNAL, binary, wrong

# As Python's own thread pools: enough for functions that wait, no crowd on a small
# machine, and no flood for the servers that they may ask.
WORKERS = min(32, (os.cpu_count() or 1) + 4)
PROCESSES = cores()

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,  # errors in plain lines, not in frames that break them
    pretty_exceptions_enable=False,
)
app.add_typer(_journal.app, name="journal")


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if (seconds := float(text)) >= 0:
            return seconds
    raise typer.BadParameter(
        f"it must be 0 seconds or more, not {text}: such as 2.5, or inf for no limit"
    )


def _whole(text: str, least: int) -> float:
    if text == "inf":
        return math.inf
    with contextlib.suppress(ValueError):
        if (number := int(text)) >= least:
            return number
    raise typer.BadParameter(
        f"it must be a whole number, {least} or more, not {text}: or inf for no limit"
    )


def _workers(text: str) -> float:
    return _whole(text, least=1)


def _retries(text: str) -> float:
    return _whole(text, least=0)


def _runner(text: str) -> RunnerName:
    for name in RUNNER_NAMES:
        if text == name:
            return name
    near = difflib.get_close_matches(text, RUNNER_NAMES, n=1)
    hint = f": did you mean {near[0]}?" if near else ""
    raise typer.BadParameter(f"it must be {_OR}, not {text}{hint}")


_OR = " or ".join([", ".join(RUNNER_NAMES[:-1]), RUNNER_NAMES[-1]])


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"majordomo2 {importlib.metadata.version('majordomo2')}")
        raise typer.Exit


FunctionName: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="FUNCTION",
        help="As package.module:function. The current folder is searched first.",
    ),
]
Inputs: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="INPUTS",
        help="What the function is called with, one at a time: strings as they are, "
        "also a lone -. Before inputs that begin with - write --.",
        show_default=False,
    ),
]
Files: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--files",
        help="Take INPUTS as paths and globs (** too); the function gets a pathlib.Path "
        "each.",
    ),
]
Stdin: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--stdin",
        help="Take the lines of standard input as inputs, each as soon as it comes.",
    ),
]
Workers: TypeAlias = Annotated[
    float | None,
    typer.Option(
        parser=_workers,
        metavar="N",
        help="How many calls run at once; inf: no limit. Plain functions run in "
        "threads: those that wait do so together, but those that compute take turns, "
        "so more of them are slower each and not faster together: they are for "
        "--runner process.",
        show_default=f"{WORKERS} here: processors + 4, at most 32; with --runner "
        f"process {PROCESSES}: processors",
    ),
]
Retries: TypeAlias = Annotated[
    float,
    typer.Option(
        parser=_retries,
        metavar="N",
        help="How often a call that raises or falls silent is started again; inf: for "
        "ever.",
    ),
]
Keepalive: TypeAlias = Annotated[
    float,
    typer.Option(
        parser=_seconds,
        metavar="SECONDS",
        help="How long a call may be silent before it is cut off; inf: for ever. "
        "keepalive() and update_data() of majordomo2 are signs of life. Threads that "
        "compute need longer, or fewer --workers.",
    ),
]
Runner: TypeAlias = Annotated[
    RunnerName,
    typer.Option(
        parser=_runner,
        metavar="|".join(RUNNER_NAMES),
        help="Where the calls run. thread: each in a thread. async: in the event loop. "
        "inline: in the event loop, one after the other. process: each in a process, "
        "which is killed with its children when it is cut off. auto: async for an async "
        "function, thread for a plain one.",
    ),
]
Output: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="FILE", help="Write the lines to this file; - is standard output."
    ),
]
JournalFile: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--journal",
        metavar="FILE",
        help="Record in this file what becomes of each input: the same command again "
        "goes on where it was, also after a crash. What has succeeded is not run again, "
        "and its line says so; what has not goes on from the state that it had saved. "
        "It is made if it isn't there.",
    ),
]
Resume: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on with a journal that is there: without it, a FILE that isn't there "
        "begins anew.",
    ),
]
Version: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--version",
        callback=_show_version,
        is_eager=True,
        help="Show the version and exit.",
    ),
]


@app.callback()
def majordomo2(*, version: Version = False) -> None:
    """Supervise functions that may fail or hang."""


@app.command()
def run(
    function: FunctionName,
    inputs: Inputs = None,
    *,
    files: Files = False,
    stdin: Stdin = False,
    workers: Workers = None,
    retries: Retries = 3,
    keepalive: Keepalive = 5,
    runner: Runner = "auto",
    output: Output = None,
    journal: JournalFile = None,
    resume: Resume = False,
) -> None:
    """Call a function with every input, in parallel, each input a task.

    Each result is a line of JSON, in the order of the inputs, as soon as it can be
    said:

    \b
    id        of the task
    input     what the function was called with
    status    success, failure, timeout or cancelled
    attempts  how often the function was started
    seconds   from the start of the first attempt to the end
    data      what it returned; of a timeout, the state that it had saved
    error     instead of data, the type and message of what it raised
    repr      true if data is not the value, which JSON can't say, but the text that
              Python's repr() makes of it
    recalled  true if the data comes from the journal, and nothing was run

    Of paths, dates, enums, dataclasses, sets and the like JSON has a form of its own:
    strings, values, objects, lists.

    What the function prints goes to standard error, where a summary stands at the end.

    \b
    Exit status:
    0    all succeeded
    1    some did not
    2    wrong usage
    130  after Ctrl-C: what was running is cancelled, and every input has its line; a
         second Ctrl-C ends it at once
    143  after SIGTERM, in the same way
    141  nobody read the lines any more
    """  # noqa: D301 - \b, which keeps the lines below it as they are, is meant
    given = _given(inputs, files=files, stdin=stdin)
    lines = LineReader(binary(sys.stdin, "--stdin")) if stdin else None
    kept = _journal_of(journal, output, resume=resume)
    options = TaskOptions(keepalive=keepalive, retries=retries, runner=runner)
    standard = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        loaded = _loaded(function, runner)
        # First the journal: if another run has it, that one's lines are left alone.
        with kept as opened, _opened(output, standard) as stream:
            if workers is None:
                workers = PROCESSES if runner == "process" else WORKERS
            plan = Plan(
                loaded, given, lines, workers, options, stream, opened, function
            )
            made = Run(plan)
            # The summary says what the library would log.
            logging.getLogger("majordomo2").addHandler(logging.NullHandler())
            trio.run(made.run)
    raise typer.Exit(_conclude(made))


def _given(inputs: list[str] | None, *, files: bool, stdin: bool) -> Iterable[object]:
    if stdin and (inputs or files):
        other = "INPUTS" if inputs else "--files"
        raise wrong("--stdin", f"its lines are the inputs: leave {other} out")
    if not inputs:
        if not stdin:
            remedy = (
                "paths or globs, such as '**/*.txt'" if files else "some, or --stdin"
            )
            raise wrong("INPUTS", f"there are none: give {remedy}")
        return ()
    if not files:
        return inputs
    try:
        return paths(inputs)
    except ValueError as error:
        raise wrong("INPUTS", in_a_line(str(error))) from None


def _journal_of(
    path: str | None, output: str | None, *, resume: bool
) -> contextlib.AbstractContextManager[Journal | None]:
    """Where it is recorded what becomes of the inputs, to be opened."""
    if path is None:
        if resume:
            raise wrong("--resume", "it goes on with a journal: give --journal FILE")
        return contextlib.nullcontext()
    from ._kept import kept, ready  # noqa: PLC0415 - some Pythons have no SQLite

    return ready(kept(path, output, resume=resume))


def _loaded(name: str, runner: RunnerName) -> Callable[..., object]:
    try:
        function = load(name)
    except ValueError as error:
        raise wrong("FUNCTION", str(error)) from None
    try:
        check_runner(function, name, runner)
    except ValueError as error:
        raise wrong("--runner", str(error)) from None
    return function


@contextlib.contextmanager
def _opened(output: str | None, standard: TextIO | None) -> Generator[BinaryIO]:
    if output in (None, "-"):
        yield binary(standard, "--output")
        return
    try:
        stream = io.FileIO(output, "w")
    except OSError as error:
        folder = Path(output).parent
        missing = f"the folder {folder} isn't there: make it first"
        reason = error.strerror if folder.is_dir() else missing
        raise wrong("--output", f"can't write {output}: {reason}") from None
    with stream:
        yield stream


def _conclude(made: Run) -> int:
    """Say the summary; the exit status."""
    if made.interrupted is None:
        if isinstance(made.write_error, BrokenPipeError):
            return BROKEN_PIPE
        if not made.summary.counts and not made.errors:
            raise wrong("--stdin", "there were no inputs: it held no line")
    for line in _last_words(made):
        typer.echo(line, err=True)
    if made.interrupted is not None:
        return SIGNAL + made.interrupted
    return 0 if made.summary.all_succeeded and not made.errors else 1


def _last_words(made: Run) -> Iterator[str]:
    yield from made.summary.lines()
    if made.fatal is not None:
        notes = [in_a_line(str(n)) for n in getattr(made.fatal, "__notes__", [])]
        said = ", ".join([cause_and_place(made.fatal), *notes])
        yield f"stopped: the function raised {said}"
    if made.journal_error is not None:
        yield f"stopped: {printable(str(made.journal_error))}"
    if made.write_error is not None:
        yield f"stopped, as the lines can't be written: {made.write_error.strerror}"
