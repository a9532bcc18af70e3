"""The command: its options, their checks, its exit status."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import logging
import math
import os
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, BinaryIO, TextIO, TypeAlias, cast

import trio
import typer

from .. import TaskOptions, job
from ._inputs import LineReader, paths
from ._report import cause_of, in_a_line
from ._run import Plan, Run

# As Python's own thread pools: enough for functions that wait, no crowd on a small
# machine, and no flood for the servers that they may ask.
WORKERS = min(32, (os.cpu_count() or 1) + 4)

INTERRUPTED = 128 + 2  # as a shell says it of SIGINT
BROKEN_PIPE = 128 + 13  # and of SIGPIPE

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,  # errors in plain lines, not in frames that break them
    pretty_exceptions_enable=False,
)


class RunnerChoice(StrEnum):
    """The names of the runners, for typer."""

    AUTO = "auto"
    ASYNC = "async"
    INLINE = "inline"
    THREAD = "thread"


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
        help="What the function is called with, one at a time.",
        show_default=False,
    ),
]
Files: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--files",
        help="INPUTS are paths and globs (** too), and the function gets a "
        "pathlib.Path each.",
    ),
]
Stdin: TypeAlias = Annotated[
    bool, typer.Option("--stdin", help="Read one input a line, as they come.")
]
Workers: TypeAlias = Annotated[
    float,
    typer.Option(
        parser=_workers,
        metavar="N",
        help="How many at once: 4 more than there are processors, 32 at most.",
    ),
]
Retries: TypeAlias = Annotated[
    float,
    typer.Option(
        parser=_retries,
        metavar="N",
        help="Restarts of a function that raises or falls silent: as many as the "
        "library's default.",
    ),
]
Keepalive: TypeAlias = Annotated[
    float,
    typer.Option(
        parser=_seconds,
        metavar="SECONDS",
        help="Silence after which it is cut off: the library's default.",
    ),
]
Runner: TypeAlias = Annotated[
    RunnerChoice,
    typer.Option(
        help="Where it runs. auto: an async function in the event loop, a plain one in "
        "a thread."
    ),
]
Output: TypeAlias = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write the lines there, not to standard output."),
]


@app.callback()
def majordomo2() -> None:
    """Supervise functions that may fail or hang."""


@app.command()
def run(
    function: FunctionName,
    inputs: Inputs = None,
    *,
    files: Files = False,
    stdin: Stdin = False,
    workers: Workers = WORKERS,
    retries: Retries = 3,
    keepalive: Keepalive = 5,
    runner: Runner = RunnerChoice.AUTO,
    output: Output = None,
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
    repr      true if data isn't JSON (nor a dataclass, date, set and the like, which
              are given as JSON) but the text that Python's repr() makes of it

    What the function prints goes to standard error, where a summary stands at the end.

    \b
    Exit status:
    0    all succeeded
    1    some did not
    2    wrong usage
    130  after Ctrl-C: what was running is cancelled, and every input has its line; a
         second Ctrl-C ends it at once
    141  nobody read the lines any more
    """  # noqa: D301 - \b, which keeps the lines below it as they are, is meant
    given = _given(inputs, files=files, stdin=stdin)
    lines = LineReader(_binary(sys.stdin, "--stdin")) if stdin else None
    options = TaskOptions(keepalive=keepalive, retries=retries, runner=runner.value)
    standard = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        loaded = _load(function)
        _check_runner(loaded, options)
        with _opened(output, standard) as stream:
            plan = Plan(loaded, given, lines, workers, options, stream)
            made = Run(plan)
            # The summary says what the library would log.
            logging.getLogger("majordomo2").addHandler(logging.NullHandler())
            trio.run(made.run)
    raise typer.Exit(_conclude(made))


def _wrong(parameter: str, message: str) -> typer.BadParameter:
    return typer.BadParameter(message, param_hint=f"'{parameter}'")


def _given(inputs: list[str] | None, *, files: bool, stdin: bool) -> Iterable[object]:
    if stdin and (inputs or files):
        other = "INPUTS" if inputs else "--files"
        raise _wrong("--stdin", f"its lines are the inputs: leave {other} out")
    if not inputs:
        if not stdin:
            raise _wrong("INPUTS", "there are none: give some, or --stdin")
        return ()
    if not files:
        return inputs
    try:
        return paths(inputs)
    except ValueError as error:
        raise _wrong("INPUTS", in_a_line(str(error))) from None


def _binary(stream: TextIO | None, parameter: str) -> BinaryIO:
    # Python has None for a stream that was closed by whoever started the process.
    if stream is None:
        raise _wrong(parameter, "the stream is closed: give another")
    return stream.buffer


def _load(name: str) -> Callable[..., object]:
    module_name, _, path = name.partition(":")
    if not module_name or not path:
        raise _wrong("FUNCTION", f"write it as package.module:function, not {name}")
    found = _import(module_name)
    for part in path.split("."):
        found = _attribute(found, part, name)
    if not callable(found):
        raise _wrong("FUNCTION", f"{name} is no function, but {in_a_line(repr(found))}")
    return found


def _import(name: str) -> object:
    if os.getcwd() not in sys.path:  # noqa: PTH109 - strings, as on the path
        sys.path.insert(0, os.getcwd())  # noqa: PTH109 - as above
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        if _is_missing(name, error):
            raise _wrong(
                "FUNCTION",
                f"there is no module {name}: write it with dots, and run this in the "
                f"folder that holds {name.partition('.')[0]}",
            ) from None
        cause = in_a_line(cause_of(error))
        raise _wrong("FUNCTION", f"importing {name} raised {cause}") from None


def _is_missing(name: str, error: BaseException) -> bool:
    """Is it this module that is missing, and none that it imports?"""
    return (
        isinstance(error, ModuleNotFoundError)
        and error.name is not None
        and f"{name}.".startswith(f"{error.name}.")
    )


def _attribute(owner: object, name: str, whole: str) -> object:
    try:
        return cast("object", getattr(owner, name))
    except AttributeError:
        near = difflib.get_close_matches(name, dir(owner), n=1)
        hint = f"did you mean {near[0]}?" if near else "check the name"
        raise _wrong("FUNCTION", f"there is no {whole}: {hint}") from None


def _check_runner(function: Callable[..., object], options: TaskOptions) -> None:
    try:
        job(function, **options)
    except TypeError as error:
        raise _wrong("FUNCTION", str(error)) from None


@contextlib.contextmanager
def _opened(output: Path | None, standard: TextIO | None) -> Generator[BinaryIO]:
    if output is None:
        yield _binary(standard, "--output")
        return
    try:
        stream = output.open("wb", buffering=0)
    except OSError as error:
        folder = output.parent
        missing = f"the folder {folder} isn't there: make it first"
        reason = error.strerror if folder.is_dir() else missing
        raise _wrong("--output", f"can't write {output}: {reason}") from None
    with stream:
        yield stream


def _conclude(made: Run) -> int:
    """Say the summary; the exit status."""
    if not made.interrupted:
        if isinstance(made.write_error, BrokenPipeError):
            return BROKEN_PIPE
        if not made.summary.counts and made.write_error is None:
            raise _wrong("--stdin", "there were no inputs: it held no line")
    for line in _last_words(made):
        typer.echo(line, err=True)
    if made.interrupted:
        return INTERRUPTED
    return 0 if made.summary.all_succeeded and made.write_error is None else 1


def _last_words(made: Run) -> Iterator[str]:
    yield from made.summary.lines()
    if made.fatal is not None:
        cause = ", ".join([cause_of(made.fatal), *getattr(made.fatal, "__notes__", [])])
        yield f"stopped: the function raised {in_a_line(cause)}"
    if made.write_error is not None:
        yield f"stopped, as the lines can't be written: {made.write_error.strerror}"
