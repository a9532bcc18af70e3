"""The command line in tests: inside this process, or as a process of its own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeAlias, cast

from typer.testing import CliRunner

from majordomo2._cli._command import app

Line: TypeAlias = dict[str, object]


@dataclass(frozen=True)
class Done:
    """What a run of the command left."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[Line]:
        return lines_of(self.out)

    @property
    def ran(self) -> list[str]:
        """What the functions said that they were called with."""
        return [
            line.removeprefix("runs ")
            for line in self.err.splitlines()
            if line.startswith("runs ")
        ]

    @property
    def said(self) -> str:
        """The messages, in one line."""
        return " ".join(self.err.split())


def lines_of(text: str) -> list[Line]:
    return [cast("Line", json.loads(line)) for line in text.splitlines()]


def call(*arguments: str, stdin: str | bytes | None = None) -> Done:
    """`majordomo2 ...`, inside this process."""
    done = CliRunner().invoke(app, arguments, input=stdin)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Done(done.exit_code, done.stdout, done.stderr)


@contextmanager
def process(
    *command: str, cwd: Path | None = None, stdin: int = subprocess.DEVNULL
) -> Generator[subprocess.Popen[str]]:
    """As a process; it is killed if the test gives up on it."""
    child = subprocess.Popen(
        command,
        cwd=cwd,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with child:
        try:
            yield child
        finally:
            child.kill()


def finished(child: subprocess.Popen[str]) -> Done:
    out, err = child.communicate(timeout=60)
    return Done(child.returncode, out, err)


def stream_of(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream
