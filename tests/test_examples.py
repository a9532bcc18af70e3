"""The examples, over real files, as the README runs them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path
from typing import cast

import pytest
import trio

from log_tables import Progress, Table, as_row, convert, progress, write_logs
from longest_function import Longest, longest_function
from majordomo2 import start_majordomo
from majordomo2.journals import MemoryJournal
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


def test_a_row_of_a_log() -> None:
    """The time, the level, and all that stands behind them."""
    assert as_row(b"now INFO it is late\n") == b"now\tINFO\tit is late\n"
    assert as_row(b"now INFO no end") == b"now\tINFO\tno end\n"
    with pytest.raises(ValueError, match="unpack"):
        as_row(b"nonsense\n")


def test_a_log_goes_on_in_its_middle(tmp_path: Path) -> None:
    """What is in the table is not made again; what was not saved is (SPEC 10.2)."""
    log, table = tmp_path / "a.log", tmp_path / "a.tsv"
    lines = [b"%06d INFO text\n" % number for number in range(3500)]
    journal = MemoryJournal()

    async def run() -> object:
        async with start_majordomo(journal=journal) as jarvis:
            task = await jarvis.run(convert, log, retries=0, id="a")
        if task.status == "success":
            return task.data
        return progress.of(task)

    log.write_bytes(b"".join([*lines[:2500], b"x" * len(lines[0])]))
    size = 2000 * len(lines[0])
    assert trio.run(run) == Progress(read=size, written=size, rows=2000)
    with table.open("r+b") as file:  # so that it can be seen whether it was made again
        file.write(b"a mark")
    log.write_bytes(b"".join(lines))
    assert trio.run(run) == Table(table, 3500)
    whole = b"".join(map(as_row, lines))
    assert table.read_bytes() == b"a mark" + whole[len(b"a mark") :]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_log_tables_are_gone_on_with(
    tmp_path: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After kill -9 or Ctrl-C the same command goes on where it was (SPEC 10.2, 11.4)."""
    monkeypatch.setenv("PYTHONPATH", str(EXAMPLES))
    write_logs(tmp_path, 500)
    command = [sys.executable, "-m", "majordomo2", "run", "log_tables:convert"]
    command += ["--files", "*.log", "--journal", "work.db"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        first = next_line(run)
        run.send_signal(number)
        rest, said = run.communicate(timeout=60)
    before = [cast("dict[str, object]", json.loads(first))]
    if number == signal.SIGINT:
        before += [json.loads(line) for line in rest.splitlines()]
        assert len(before) == 500
        assert said.startswith("500 inputs: ")
        assert run.returncode == 130
    else:
        assert run.returncode == -signal.SIGKILL
    done = subprocess.run(
        [*command, "--resume"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    lines = [cast("dict[str, object]", json.loads(x)) for x in done.stdout.splitlines()]
    names = [f"{each:06}" for each in range(500)]
    assert [line["input"] for line in lines] == [f"{name}.log" for name in names]
    rows = [20] * 499 + [200_000]
    assert [line["data"] for line in lines] == [
        {"file": f"{name}.tsv", "rows": n} for name, n in zip(names, rows, strict=True)
    ]
    recalled = [line["id"] for line in lines if "recalled" in line]
    successes = [line["id"] for line in before if line["status"] == "success"]
    if number == signal.SIGINT:
        assert recalled == successes
    assert set(recalled) >= set(successes) != set()
    assert (
        done.stderr == f"500 inputs: 500 success ({len(recalled)} from the journal)\n"
    )
    for name in names:
        log = (tmp_path / f"{name}.log").read_bytes()
        table = (tmp_path / f"{name}.tsv").read_bytes()
        assert table == b"".join(map(as_row, log.splitlines(keepends=True)))


def test_log_tables() -> None:
    """The script is killed in the middle of it, and all is there in the end."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / "log_tables.py", "300"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "killed when 100 of 300 results were there",
        "the same command again: 300 results",
        "300 tables",
    ]
    said = re.fullmatch(
        r"300 inputs: 300 success \((\d+) from the journal\)\n", done.stderr
    )
    assert said is not None
    assert int(said[1]) >= 100


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
