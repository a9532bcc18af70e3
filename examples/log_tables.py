"""Makes tables of logs, is killed, and goes on where it was: `python log_tables.py`.

The script writes a folder of logs, runs the command line over it, kills that when some
results are there, and runs the same command again:

    majordomo2 run log_tables:convert --files '*.log' --journal work.db

What was done is not done again, and its lines come from the journal. A log in whose middle
it was killed goes on there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from majordomo2 import TaskState

EXAMPLES = Path(__file__).parent
OPTIONS = ["--files", "*.log", "--journal", "work.db"]
EVERY = 1000  # rows from one saved state to the next

# What is run for each log


@dataclass(frozen=True)
class Progress:
    """How many bytes were read and written, and how many rows that are."""

    read: int = 0
    written: int = 0
    rows: int = 0


@dataclass(frozen=True)
class Table:
    file: Path
    rows: int


progress = TaskState(Progress)


def convert(log: Path) -> Table:
    """Write a table beside the log: a row for each line, with tabs between its cells."""
    done = progress.get()
    table = log.with_suffix(".tsv")
    rows = done.rows
    with log.open("rb") as source, table.open("r+b" if rows else "wb") as target:
        source.seek(done.read)
        # What was written after the state was saved is written once more.
        target.truncate(done.written)
        target.seek(done.written)
        for line in source:
            target.write(as_row(line))
            rows += 1
            if rows % EVERY == 0:
                target.flush()  # first: the state must not be ahead of the file
                progress.update(Progress(source.tell(), target.tell(), rows))
    return Table(table, rows)


def as_row(line: bytes) -> bytes:
    """Such as 2026-02-28T12:00:00 WARNING the disk is nearly full."""
    time, level, text = line.rstrip(b"\n").split(b" ", 2)
    return b"\t".join([time, level, text]) + b"\n"


# The script


def write_logs(folder: Path, number: int) -> None:
    """So many, all short but for the last."""
    for each in range(number):
        lines = 20 if each < number - 1 else 200_000
        with (folder / f"{each:06}.log").open("w") as log:
            log.writelines(
                f"2026-02-28T12:00:{second % 60:02} INFO request {second} of {each}\n"
                for second in range(lines)
            )


def main() -> int:
    number = int(sys.argv[1]) if sys.argv[1:] else 3000
    command = [sys.executable, "-m", "majordomo2", "run", "log_tables:convert"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_logs(folder, number)

        def start() -> subprocess.Popen[str]:
            return subprocess.Popen(  # noqa: S603 - the command is our own
                [*command, *OPTIONS],
                cwd=folder,
                env=os.environ | {"PYTHONPATH": str(EXAMPLES)},  # where this module is
                stdout=subprocess.PIPE,
                text=True,
            )

        with start() as run:
            there = sum(1 for _ in islice(lines_of(run), number // 3))
            run.kill()
        print(f"killed when {there} of {number} results were there")
        with start() as run:
            there = sum(1 for _ in lines_of(run))
        print(f"the same command again: {there} results")
        tables = sum(1 for _ in folder.glob("*.tsv"))
        print(f"{tables} tables")
    return run.returncode


def lines_of(run: subprocess.Popen[str]) -> Iterator[str]:
    assert run.stdout is not None
    return iter(run.stdout)


if __name__ == "__main__":
    sys.exit(main())
