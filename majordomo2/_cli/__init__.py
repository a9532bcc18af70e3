"""The command line: `majordomo2 run package.module:function INPUTS`, and `journal`.

_cause     what an exception says, and where it was raised
_usage     what the commands have in common
_report    how a result, and the whole, is said
_inputs    what the function is called with
_function  the function, found by its name
_run       the function over the inputs, in a Trio run
_kept      the journal of a run
_listing   what is in a journal, as a table and as JSON
_journal   the commands that show and prune a journal
_command   the command, its options and their checks
"""

from __future__ import annotations

import io
import os
import sys

EXTRA = "pip install 'majordomo2[cli]'"


def main() -> None:
    """Run the command, as a process of its own."""
    try:
        from ._command import app  # noqa: PLC0415 - needs the extra
    except ModuleNotFoundError as error:
        if error.name not in ("msgspec", "typer"):
            raise
        print(f"majordomo2: {error.name} is missing: {EXTRA}", file=sys.stderr)  # noqa: T201 - to the user
        raise SystemExit(2) from None
    _keep_stdout()
    app()


def _keep_stdout() -> None:
    """Keep standard output for the lines alone.

    Whoever else writes to it, be it C code or a child process, writes to standard error
    from now on. A stream that is None was closed by whoever started the process.
    """
    if sys.stdout is None or sys.stderr is None:
        return
    kept = io.FileIO(os.dup(1), "w")
    os.dup2(2, 1)
    # No buffer: at exit Python would complain of what a broken pipe left in it.
    sys.stdout = io.TextIOWrapper(
        kept, sys.stdout.encoding, sys.stdout.errors, write_through=True
    )
