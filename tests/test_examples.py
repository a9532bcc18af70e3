"""The examples, over real files, as the README runs them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path
from typing import cast

import pytest

from longest_function import Longest, longest_function
from thumbnails import encode, thumbnail

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"

SMALL = """\
def short(): pass

class Holder:
    async def long(self):
        if True:
            return 1
"""


def test_longest_function(tmp_path: Path) -> None:
    """The longest function of a file, wherever it stands; None if there is none."""
    file = tmp_path / "small.py"
    file.write_text(SMALL)
    assert longest_function(file) == Longest("long", lines=3, line=4)
    file.write_text("x = 1\n")
    assert longest_function(file) is None


def test_encoding(tmp_path: Path) -> None:
    """The file is read in the encoding that it declares."""
    file = tmp_path / "latin.py"
    file.write_bytes(b"# coding: latin-1\ndef h\xe9(): pass\n")
    assert longest_function(file) == Longest("hé", lines=1, line=2)


def test_warnings_are_for_the_authors(tmp_path: Path) -> None:
    """What Python warns of in the file is not said."""
    (tmp_path / "odd.py").write_text("def f(): return '\\d'\n")
    command = [sys.executable, "-m", "majordomo2", "run", "--files"]
    function = "examples.longest_function:longest_function"
    done = subprocess.run(
        [*command, function, str(tmp_path / "odd.py")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == "1 input: 1 success\n"


def test_over_a_tree(tmp_path: Path) -> None:
    """Over a tree with a broken file: a line each, its failure, status 1 (SPEC 11.4)."""
    (tmp_path / "deep" / "down").mkdir(parents=True)
    (tmp_path / "a.py").write_text(SMALL)
    (tmp_path / "deep" / "broken.py").write_text("def f(:\n")
    (tmp_path / "deep" / "down" / "empty.py").touch()
    command = [sys.executable, "-m", "majordomo2", "run", "--files"]
    function = "examples.longest_function:longest_function"
    done = subprocess.run(
        [*command, function, f"{tmp_path}/**/*.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [cast("dict[str, object]", json.loads(x)) for x in done.stdout.splitlines()]
    assert done.returncode == 1
    assert [line.get("data") for line in lines] == [
        {"name": "long", "lines": 3, "line": 4},
        None,
        None,
    ]
    error = cast("dict[str, str]", lines[1]["error"])
    assert error["type"] == "SyntaxError"
    counts, failure = done.stderr.splitlines()
    assert counts == "3 inputs: 2 success, 1 failure"
    assert "broken.py: failure: SyntaxError: " in failure


def test_link_checker() -> None:
    """A server that misbehaves in each way: what became of its links, and status 1.

    What it does to each of them is fixed, and so is how often it must be asked.
    """
    done = subprocess.run(
        [sys.executable, EXAMPLES / "link_checker.py"],
        capture_output=True,
        text=True,
        check=False,
    )
    head, *rows = done.stdout.splitlines()
    assert head.split() == ["status", "links", "attempts", "such", "as"]
    table = [re.split(r"\s{2,}", row)[:3] for row in rows]
    assert [row[:2] for row in table] == [
        ["200", "42"],
        ["404", "3"],
        ["gave up: 500", "2"],
        ["gave up: silence", "1"],
    ]
    assert [row[2] for row in table[2:]] == ["8", "4"]
    # On a very busy machine a page may seem silent, and is asked for once more.
    assert int(table[0][2]) >= 68
    last = done.stderr.splitlines()[-1].rpartition("\r")[2]
    assert re.fullmatch(
        r" +48 done, 0 running, 0 queued, 0 waiting, \d+ restarts ", last
    )
    assert done.returncode == 1


def test_thumbnail(tmp_path: Path) -> None:
    """Every fourth pixel of every fourth row."""
    file = tmp_path / "castle.pgm"
    file.write_text(encode([[10 * y + x for x in range(8)] for y in range(5)]))
    assert thumbnail(file) == tmp_path / "small" / "castle.pgm"
    assert (tmp_path / "small" / "castle.pgm").read_text() == (
        "P2\n2 2\n255\n0 4\n40 44\n"
    )


def test_thumbnails_in_processes() -> None:
    """A library that hangs and crashes: the rest is there, and those are named."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / "thumbnails.py"],
        capture_output=True,
        text=True,
        check=False,
    )
    *rows, last = done.stdout.splitlines()
    lines = [cast("dict[str, object]", json.loads(row)) for row in rows]
    assert [(line["input"], line["status"], line["attempts"]) for line in lines] == [
        ("broken.pgm", "failure", 2),
        ("castle.pgm", "success", 1),
        ("crashes.pgm", "failure", 2),
        ("dog.pgm", "success", 1),
        ("hangs.pgm", "timeout", 2),
        ("harbour.pgm", "success", 1),
        ("lemon.pgm", "success", 1),
        ("windmill.pgm", "success", 1),
    ]
    good = [line for line in lines if line["status"] == "success"]
    assert [line["data"] for line in good] == [
        f"small/{line['input']}" for line in good
    ]
    assert last.split() == ["small", "pictures:", *(line["input"] for line in good)]
    # As the recipe shows it.
    assert done.stderr in (ROOT / "docs" / "how-to.md").read_text()
    assert done.stderr.count("\n") == 4
    assert done.returncode == 1


@contextmanager
def serving(*args: str) -> Generator[tuple[subprocess.Popen[str], int], None, None]:
    """The job server, which has said at which port it listens."""
    command = [sys.executable, str(EXAMPLES / "job_server.py"), *args]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield server, int(next_line(server).removeprefix("listening on 127.0.0.1:"))
        finally:
            server.kill()


def next_line(server: subprocess.Popen[str]) -> str:
    assert server.stdout is not None
    return server.stdout.readline().rstrip("\n")


class Client:
    """Asks the job server for one line at a time."""

    def __init__(self, connection: socket.socket, lines: BufferedIOBase) -> None:
        self._connection, self._lines = connection, lines

    def ask(self, path: Path) -> None:
        self._connection.sendall(f"{path}\n".encode())

    def answer(self) -> dict[str, object] | None:
        """None: the server has closed the connection."""
        line = self._lines.readline()
        return cast("dict[str, object]", json.loads(line)) if line else None


@contextmanager
def client(port: int) -> Generator[Client, None, None]:
    address = ("127.0.0.1", port)
    with (
        socket.create_connection(address, timeout=60) as connection,
        connection.makefile("rb") as lines,
    ):
        yield Client(connection, lines)


def success(path: Path, content: bytes) -> dict[str, object]:
    digest = hashlib.sha256(content).hexdigest()
    number = len(content)
    return {"path": str(path), "status": "success", "bytes": number, "sha256": digest}


def test_job_server_answers(tmp_path: Path) -> None:
    """A line of JSON for each job, in their order, whether it succeeds or not."""
    file = tmp_path / "some.txt"
    file.write_bytes(b"some text")
    with serving("0") as (_, port), client(port) as fred:
        fred.ask(file)
        fred.ask(tmp_path / "missing")
        fred.ask(file)
        first, second, third = (fred.answer() for _ in range(3))
    assert first == third == success(file, b"some text")
    assert second is not None
    assert second["status"] == "failure"
    assert str(second["error"]).startswith("FileNotFoundError(")


def test_job_server_drains(tmp_path: Path) -> None:
    """On SIGTERM it takes no more clients and jobs, but answers what it has begun."""
    file = tmp_path / "a pipe"
    os.mkfifo(file)
    with (
        serving("0", "60") as (server, port),
        client(port) as fred,
        client(port) as idle,
    ):
        idle.ask(tmp_path / "missing")
        assert idle.answer() is not None  # so the server knows it
        fred.ask(file)
        with file.open("wb") as pipe:  # waits until the job reads from it
            server.terminate()
            assert next_line(server) == "draining"
            with pytest.raises(ConnectionRefusedError), client(port):
                pass
            idle.ask(file)
            assert idle.answer() == {"path": str(file), "status": "refused"}
            pipe.write(b"late")
        assert fred.answer() == success(file, b"late")
        assert fred.answer() is idle.answer() is None
        assert next_line(server) == "done"
        assert server.wait() == 0


def test_job_server_loses_patience(tmp_path: Path) -> None:
    """What has not ended after the grace is cancelled, and the client hears of it."""
    file = tmp_path / "a pipe"
    os.mkfifo(file)
    with serving("0", "0.1") as (server, port), client(port) as fred:
        fred.ask(file)
        with file.open("wb"):
            server.terminate()
            assert fred.answer() == {"path": str(file), "status": "cancelled"}
            assert server.wait() == 0
