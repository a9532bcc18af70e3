"""The command line with a journal: killed and gone on with, shown, pruned."""

from __future__ import annotations

import base64
import contextlib
import functools
import os
import pickle
import pty
import signal
import sqlite3
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from fcntl import ioctl
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from command import Done, Line, call, finished, lines_of, process, stream_of
from journal_actions import opened
from majordomo2 import JournalError
from majordomo2.abc import Record
from majordomo2.journals import _reading

FUNCTIONS = """
import functools
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from majordomo2 import checkpoint_sync, current_task_data, update_data


def note(x):
    sys.stderr.write(f"runs {x}\\n")  # in one piece, as there are other threads
    sys.stderr.flush()


def echo(x: str) -> str:
    note(x)
    return x


async def echo_async(x: str) -> str:
    note(x)
    return x


class Callable:
    def __call__(self, x: str) -> str:
        note(x)
        return x


instance = Callable()


def two(a: str, b: int = 0) -> list[str | int]:
    return [a, b]


partial = functools.partial(two, b=3)


def refuse(x: str) -> str:
    note(x)
    if not os.path.exists("mended"):
        raise LookupError("refused")
    return x


@dataclass
class Size:
    file: Path
    size: int


def size(path: Path) -> Size:
    note(path)
    return Size(path, path.stat().st_size)


def pair(x):
    note(x)
    return x, x


def wait(x: str) -> list[object]:
    found = current_task_data()
    if x.startswith("wait"):
        update_data("half of " + x)
        checkpoint_sync("half of " + x)
        note(x)
        while not os.path.exists("go"):
            time.sleep(0.01)
    else:
        note(x)
    return [x, found if found != {} else None]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with the module `work`."""
    (tmp_path / "work.py").write_text(FUNCTIONS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    sys.modules.pop("work", None)


def run(function: str, *arguments: str, stdin: str | bytes | None = None) -> Done:
    """`majordomo2 run work:FUNCTION ... --journal work.db`, inside this process."""
    journal = ("--journal", "work.db")
    return call("run", f"work:{function}", *arguments, *journal, stdin=stdin)


def show() -> list[Line]:
    """What `majordomo2 journal show` says, for programs."""
    return call("journal", "show", "work.db", "--json").lines


COMMAND = [sys.executable, "-m", "majordomo2"]
RUN = [*COMMAND, "run", "--journal", "work.db", "--keepalive", "inf"]


def give(child: subprocess.Popen[str], line: str) -> None:
    stdin = stream_of(child.stdin)
    stdin.write(f"{line}\n")
    stdin.flush()


def next_line(child: subprocess.Popen[str]) -> Line:
    (line,) = lines_of(stream_of(child.stdout).readline())
    return line


def until_running(child: subprocess.Popen[str], *inputs: str) -> None:
    """Wait until the function was called with all of them."""
    left = set(inputs)
    while left:
        left.remove(stream_of(child.stderr).readline().removeprefix("runs ").strip())


# `run --journal`


def test_what_has_succeeded_is_not_run_again() -> None:
    """Its line comes from the journal and says so, as does the summary (SPEC 10.2)."""
    first = run("echo", "a", "b")
    assert (first.status, sorted(first.ran)) == (0, ["a", "b"])
    assert first.err.endswith("2 inputs: 2 success\n")
    assert not any("recalled" in line for line in first.lines)
    again = run("echo", "a", "b")
    assert again == Done(0, again.out, "2 inputs: 2 success (2 from the journal)\n")
    assert again.lines == [
        line | {"seconds": 0, "recalled": True} for line in first.lines
    ]


def test_the_order_of_the_inputs_does_no_harm() -> None:
    """A task is known by the function and the input; new ones run (SPEC 10.1)."""
    run("echo", "b", "d")
    done = run("echo", "a", "b", "c", "d")
    assert sorted(done.ran) == ["a", "c"]
    assert [line["id"] for line in done.lines] == [f"work:echo/{x}" for x in "abcd"]
    assert ["recalled" in line for line in done.lines] == [False, True, False, True]
    assert done.err.endswith("4 inputs: 4 success (2 from the journal)\n")
    # Another function has tasks of its own.
    assert run("echo_async", "a").ran == ["a"]


def test_without_a_journal_nothing_is_kept(folder: Path) -> None:
    """The ids are the library's own, and nothing is written."""
    done = call("run", "work:echo", "a")
    assert str(done.lines[0]["id"]).startswith("task-")
    assert [file.name for file in folder.iterdir() if file.is_file()] == ["work.py"]


def test_failures_run_anew(folder: Path) -> None:
    """With fresh retries (SPEC 10.2)."""
    done = run("refuse", "a", "--retries", "1")
    assert (done.status, done.lines[0]["attempts"]) == (1, 2)
    (folder / "mended").touch()
    done = run("refuse", "a")
    assert (done.status, done.lines[0]["attempts"], done.ran) == (0, 1, ["a"])
    assert "recalled" not in done.lines[0]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_ended_goes_on(folder: Path, number: signal.Signals) -> None:
    """From the state; what a crash cut off counts as an attempt (SPEC 10.2, 10.3)."""
    with process(*RUN, "work:wait", "a", "wait", "b", "--workers", "1") as child:
        until_running(child, "a", "wait")
        assert next_line(child)["data"] == ["a", None]
        child.send_signal(number)
        before = finished(child)
    if number == signal.SIGKILL:
        assert before == Done(-signal.SIGKILL, "", "")
    else:
        assert before.status == 128 + number
        assert [line["status"] for line in before.lines] == ["cancelled"] * 2
    (folder / "go").touch()
    done = run("wait", "a", "wait", "b", "--resume")
    assert done.status == 0
    a, wait, b = done.lines
    assert (a["recalled"], a["data"], a["attempts"]) == (True, ["a", None], 1)
    assert wait["data"] == ["wait", "half of wait"]
    assert wait["attempts"] == (2 if number == signal.SIGKILL else 1)
    assert "recalled" not in wait
    assert b["data"] == ["b", None]
    assert done.err.endswith("3 inputs: 3 success (1 from the journal)\n")


def test_the_same_input_twice_at_once(folder: Path) -> None:
    """While it is unfinished both inputs have one task; later it is recalled."""
    with process(*RUN, "work:wait", "--stdin", stdin=subprocess.PIPE) as child:
        give(child, "wait")
        until_running(child, "wait")
        give(child, "wait")
        give(child, "b")
        until_running(child, "b")
        (folder / "go").touch()
        first, second, other = (next_line(child) for _ in range(3))
        give(child, "wait")
        third = next_line(child)
        stream_of(child.stdin).close()
        assert child.wait(timeout=60) == 0
        said = stream_of(child.stderr).read()
    assert first["data"] == ["wait", None]
    assert cast("float", first["seconds"]) > 0
    assert {**second, "seconds": 0} == {**first, "seconds": 0}
    assert other["input"] == "b"
    assert third == {**first, "seconds": 0, "recalled": True}
    assert said == "4 inputs: 4 success (1 from the journal)\n"


def test_the_same_input_twice_when_cancelled() -> None:
    """Both have their line."""
    with process(*RUN, "work:wait", "wait", "wait", "b") as child:
        until_running(child, "wait", "b")
        child.send_signal(signal.SIGINT)
        done = finished(child)
    assert [line["status"] for line in done.lines] == ["cancelled"] * 2 + ["success"]


@pytest.mark.parametrize("runner", ["auto", "inline", "process"])
def test_runners(runner: str) -> None:
    """Wherever the function runs (SPEC 9.4)."""
    first, again = (run("echo", "a", "--runner", runner) for _ in range(2))
    assert (first.status, first.lines[0]["data"]) == (0, "a")
    assert again.lines[0] == first.lines[0] | {"seconds": 0, "recalled": True}


@pytest.mark.parametrize(
    ("name", "action"),
    [
        ("echo_async", "work.echo_async"),
        ("instance", "work.Callable"),
        ("partial", "work.two"),
    ],
)
def test_the_users_function_is_recorded(name: str, action: str) -> None:
    """Whatever form it has (SPEC 10.1)."""
    run(name, "a")
    (record,) = show()
    assert (record["action"], record["arguments"]) == (action, ["a"])
    assert record.get("keywords") == ({"b": 3} if name == "partial" else None)
    assert run(name, "a").lines[0]["recalled"] is True


def test_other_arguments_are_a_conflict() -> None:
    """What a partial has fixed is a part of the task (SPEC 10.2)."""
    run("partial", "a")
    work = sys.modules["work"]
    vars(work)["partial"] = functools.partial(vars(work)["two"], b=4)
    done = run("partial", "a")
    error = cast("dict[str, str]", done.lines[0]["error"])
    assert (done.status, error["type"]) == (1, "majordomo2.JournalConflict")
    assert "recalled" not in done.lines[0]


def test_typed_results(folder: Path) -> None:
    """A result of a type that is annotated is the same when it is recalled (SPEC 10.4)."""
    first = run("size", "--files", "*.py")
    again = run("size", "--files", "*.py")
    assert first.lines[0]["data"] == {"file": "work.py", "size": len(FUNCTIONS)}
    assert again.lines[0]["data"] == first.lines[0]["data"]
    assert again.ran == []


def test_what_cannot_be_recorded_is_a_failure() -> None:
    """A result that JSON would bring back as another, with what to do (SPEC 10.4)."""
    done = run("pair", "a")
    assert (done.status, done.lines[0]["status"]) == (1, "failure")
    assert "annotate the function with what it returns" in done.err


def test_an_input_that_is_not_unicode_is_a_failure() -> None:
    """It can't be recorded, and costs nobody else anything."""
    done = run("echo", "--stdin", stdin=b"a\n\xff\nb\n")
    assert done.status == 1
    assert [line["status"] for line in done.lines] == ["success", "failure", "success"]
    assert done.lines[1]["id"] == "work:echo/\\udcff"
    assert (done.lines[1]["attempts"], sorted(done.ran)) == (0, ["a", "b"])


def test_an_input_with_a_nul_is_known_again() -> None:
    """Its name in the journal is that of its line, which any file can hold."""
    first, second = (run("echo", "--stdin", stdin=b"a\0b\n") for _ in range(2))
    assert [done.lines[0]["id"] for done in (first, second)] == [
        "work:echo/a\\x00b"
    ] * 2
    assert [done.lines[0]["status"] for done in (first, second)] == ["success"] * 2
    assert (len(first.ran), second.ran) == (1, [])


def test_a_journal_that_is_lost_ends_the_run() -> None:
    """All is cancelled, and the summary says why; status 1 (SPEC 10.5)."""
    with process(*RUN, "work:wait", "--stdin", stdin=subprocess.PIPE) as child:
        give(child, "a")
        until_running(child, "a")
        next_line(child)
        give(child, "wait")
        until_running(child, "wait")
        Path("work.db").unlink()
        give(child, "b")
        done = finished(child)
    assert done.status == 1
    assert {line["status"] for line in done.lines} == {"cancelled"}
    *_, counts, last = done.err.splitlines()
    assert counts == "3 inputs: 1 success, 2 cancelled"
    assert last == (
        "stopped: work.db can't be written: it was removed while it was in use"
    )


def test_one_run_at_a_time(folder: Path) -> None:
    """Another one is wrong usage, and does no harm to the lines of the first (10.5)."""
    (folder / "lines.jsonl").write_text("of the first run")
    with process(*RUN, "work:wait", "wait") as child:
        until_running(child, "wait")
        done = run("wait", "a", "--output", "lines.jsonl")
        assert (done.status, done.out) == (2, "")
        assert "'--journal': work.db is in use by process" in done.said
        assert str(child.pid) in done.said
    assert (folder / "lines.jsonl").read_text() == "of the first run"


def test_the_journal_is_closed_when_the_output_is_wrong(folder: Path) -> None:
    """What was opened is closed, whatever comes after it."""
    assert run("echo", "a", "--output", "nowhere/x").status == 2
    assert run("echo", "a").status == 0
    assert {file.name for file in folder.iterdir() if "work.db" in file.name} == {
        "work.db"
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--resume", "'--resume': it goes on with a journal: give --journal FILE"),
        ("--resume --journal no.db", "'--resume': there is no journal no.db to go on"),
        ("--journal .", "'--journal': it must be a file, such as work.db, not '.'"),
        ("--journal work.py", "'--journal': work.py is no journal"),
        ("--journal other.db", "a database of SQLite, but no journal"),
        ("--journal newer.db", "newer.db is a journal of version 99"),
        ("--journal no/work.db", "no/work.db can't be made, as there is no folder"),
        ("--journal new.db --output ./new.db", "'--output': the lines can't go to"),
    ],
)
def test_wrong_usage(folder: Path, arguments: str, said: str) -> None:
    """It says what is wrong; status 2; nothing is run or made (SPEC 10.5, 11.4)."""
    make_others()
    before = {file: file.read_bytes() for file in folder.iterdir() if file.is_file()}
    done = call("run", "work:echo", "a", *arguments.split())
    assert (done.status, done.out, done.ran) == (2, "", [])
    assert said in done.said
    assert "Usage: " in done.err
    after = {file: file.read_bytes() for file in folder.iterdir() if file.is_file()}
    assert after == before


def test_an_empty_name() -> None:
    """Such as that of a variable that is not set."""
    assert "it must be a file" in call("run", "work:echo", "a", "--journal", "").said


def test_without_sqlite() -> None:
    """The rest of the command works on a Python that was built without it."""
    program = (
        "import sys; sys.modules['sqlite3'] = None\n"
        "from majordomo2._cli import main\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "run", "builtins:len", "abc"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert lines_of(done.stdout)[0]["data"] == 3


def make_others() -> None:
    """Databases that are no journals of ours."""
    with contextlib.closing(sqlite3.connect("other.db")) as file:
        file.execute("CREATE TABLE tasks (id)")
    make_journal("newer.db")
    with contextlib.closing(sqlite3.connect("newer.db")) as file:
        file.execute("PRAGMA user_version = 99")
    Path("empty.db").touch()


# `journal show`

NOW = 1_800_000_000.0


def make_journal(path: str, *records: Record) -> None:
    with opened(path) as journal:
        journal.write(records)


def record(
    id: str,
    status: str = "success",
    attempts: int = 1,
    ago: float = 0,
    state: str | bytes | None = None,
    data: str | bytes | None = None,
) -> Record:
    return Record(id, "work.f", '["a"]', status, attempts, state, data, NOW - ago)


@pytest.fixture
def at_noon(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the moment of which the records tell how long ago they are."""
    clock = SimpleNamespace(time=lambda: NOW)
    monkeypatch.setattr("majordomo2._cli._journal.time", clock)
    monkeypatch.setattr("majordomo2._cli._listing.time", clock)


@pytest.mark.usefixtures("at_noon")
def test_table() -> None:
    """The tasks in the order in which they came, and how they are (SPEC 11.4)."""
    make_journal(
        "work.db",
        record("f/b", "unspecified", 0, ago=-5),
        record("f/a", "unspecified", 2, ago=3.9, state='{"page":3}'),
        record("f/c", ago=5 * 60, state='"' + "x" * 100 + '"'),
        record("f/long name", "failure", 4, ago=2 * 3600, data="LookupError: refused"),
        record("f/\x1b[2J\n", "timeout", ago=7 * 86_400, state='"\x1b]0;title\x07"'),
        record("f/p", "cancelled", 10, ago=59.9, state=b"any"),
    )
    done = call("journal", "show", "work.db")
    assert done == Done(0, done.out, "")
    assert done.out.splitlines() == [
        "ID           STATUS     ATTEMPTS    PING  STATE",
        "f/b          queued            0     0 s",
        'f/a          cut off           2     3 s  {"page":3}',
        f'f/c          success           1   5 min  "{"x" * 38}…',
        "f/long name  failure           4     2 h",
        r'f/\x1b[2J\n  timeout           1     7 d  "\x1b]0;title\x07"',
        "f/p          cancelled        10    59 s  a pickle of 3 bytes",
    ]


@pytest.mark.usefixtures("at_noon")
def test_long_ids() -> None:
    """An id of any length is said in full; those of 60 and more set no width."""
    make_journal("work.db", record("x" * 1000), record("y"))
    head, long, short = call("journal", "show", "work.db").out.splitlines()
    assert head.startswith(f"ID{' ' * 60}STATUS")
    assert long.startswith(f"{'x' * 1000}  success")
    assert short.startswith(f"y{' ' * 61}success")


def test_no_tasks() -> None:
    """There is a head and nothing below it."""
    make_journal("work.db")
    assert call("journal", "show", "work.db").out.splitlines() == [
        "ID  STATUS     ATTEMPTS    PING  STATE"
    ]
    assert show() == []


def test_as_json() -> None:
    """All that is recorded, as JSON, and the status that is shown (SPEC 11.4)."""
    pickled = pickle.dumps({1})
    make_journal(
        "work.db",
        record("f/a", "unspecified", 2, 1.5, state=f'{{"n":{2**70},"x":[1.5,null]}}'),
        record("f/b", data='"done"'),
        record("f/c", "failure", data='["no JSON, but a text"]'),
        record("f/d", data=pickled),
        record("f/e", data="{broken"),
    )
    lines = show()
    assert lines[0] == {
        "id": "f/a",
        "action": "work.f",
        "arguments": ["a"],
        "status": "unspecified",
        "shown": "cut off",
        "attempts": 2,
        "state": {"n": 2**70, "x": [1.5, None]},
        "data": None,
        "pinged": NOW - 1.5,
    }
    assert [line["data"] for line in lines[1:]] == [
        "done",
        '["no JSON, but a text"]',
        {"pickle": base64.b64encode(pickled).decode()},
        "{broken",
    ]


def test_arguments_of_any_kind() -> None:
    """Those of a partial, pickled ones, and what somebody else has written there."""
    given: list[str | bytes] = ['["a"] {"b":3}', b"any", "no JSON"]
    records = [record(str(n)) for n in range(3)]
    make_journal(
        "work.db",
        *(
            each._replace(arguments=arguments)
            for each, arguments in zip(records, given, strict=True)
        ),
    )
    said = [(line["arguments"], line.get("keywords")) for line in show()]
    pickled = {"pickle": base64.b64encode(b"any").decode()}
    assert said == [(["a"], {"b": 3}), (pickled, None), ("no JSON", None)]


def contents(folder: Path) -> dict[str, bytes]:
    """Of the journal's file, and of the log and the lock beside it."""
    files = (file for file in folder.iterdir() if file.name.startswith("work.db"))
    return {x.name: x.read_bytes() for x in files if not x.name.endswith("-shm")}


def test_while_a_run_has_it(folder: Path) -> None:
    """It says who, and what runs; after kill -9 it was cut off. The file stays (11.4)."""
    with process(*RUN, "work:wait", "a", "wait", "--workers", "1") as child:
        until_running(child, "a", "wait")
        assert [line["shown"] for line in show()] == ["success", "running"]
        before = contents(folder)
        first, head, _, running = call("journal", "show", "work.db").out.splitlines()
        assert contents(folder) == before
        assert first.startswith(f"in use by process {child.pid} (")
        assert head.startswith("ID ")
        assert running.split()[:3] == ["work:wait/wait", "running", "1"]
        assert running.endswith('"half of wait"')
        child.kill()
        child.wait()
    before = contents(folder)
    assert "work.db-wal" in before
    assert [line["shown"] for line in show()] == ["success", "cut off"]
    assert call("journal", "show", "work.db").out.startswith("ID ")
    assert contents(folder) == before


def test_a_file_that_nobody_has_is_left_alone(folder: Path) -> None:
    """Nothing is made beside it; and it may be a link."""
    make_journal("work.db", record("f/a"))
    Path("link.db").symlink_to("work.db")
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert len(show()) == 1
    assert len(call("journal", "show", "link.db", "--json").lines) == 1
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_a_link_to_a_file_with_a_log() -> None:
    """What is in the log alone is seen, and who has it."""
    Path("link.db").symlink_to("work.db")
    with opened("work.db") as journal:
        journal.write([record("f/a", "unspecified")])
        (line,) = call("journal", "show", "link.db", "--json").lines
    assert line["shown"] == "running"


@pytest.mark.parametrize("limit", ["PAGE", "PAGE_SIZE"])
def test_pages(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    """A part at a time, of a bounded size; what is added meanwhile is seen too."""
    monkeypatch.setattr(_reading, limit, 2 if limit == "PAGE" else 30)
    with opened("work.db") as journal:
        journal.write([record(f"f/{n}", state='"0123456789"') for n in range(5)])
        found = _reading.pages(Path("work.db"))
        first = next(found)
        journal.write([record("f/5")])
        rest = [each.id for page in found for each in page]
    assert [each.id for each in first] == ["f/0", "f/1"]
    assert rest == ["f/2", "f/3", "f/4", "f/5"]


@pytest.mark.parametrize("fails", [False, True])
def test_a_file_that_changes_while_it_is_read(
    monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """Where there was no log: it is read once more, whatever came of it."""
    make_journal("work.db", record("f/0"))
    original = _reading._page  # pyright: ignore[reportPrivateUsage]
    others = iter([True])

    def page(after: int, file: sqlite3.Connection) -> tuple[int, list[Record]]:
        if next(others, False):
            make_journal("work.db", *(record(f"f/{n}") for n in range(50)))
            if fails:
                raise sqlite3.DatabaseError("torn")
        return original(after, file)

    monkeypatch.setattr(_reading, "_page", page)
    assert sum(len(found) for found in _reading.pages(Path("work.db"))) == 50


def test_a_file_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """If it has not changed, that is an error; so it is if the file vanishes."""
    make_journal("work.db", record("f/0"))

    def page(_after: int, _file: sqlite3.Connection) -> tuple[int, list[Record]]:
        raise sqlite3.DatabaseError("torn")

    monkeypatch.setattr(_reading, "_page", page)
    done = call("journal", "show", "work.db")
    assert (done.status, done.out.count("\n")) == (2, 1)
    assert "'FILE': work.db can't be read: torn" in done.said
    found = _reading.pages(Path("work.db"))
    Path("work.db").unlink()
    with pytest.raises(JournalError, match=r"work\.db can't be read: .*No such file"):
        next(found)


def test_the_width_of_the_terminal() -> None:
    """The state is shortened to it, but for a few letters that are always there."""
    make_journal(
        "work.db",
        *(record(f"f/ä{n}", state=f'"{"x" * 100}"') for n in range(3)),
        record("y" * 80, state=f'"{"x" * 100}"'),
    )
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    command = [*COMMAND, "journal", "show", "work.db"]
    with subprocess.Popen(command, stdout=theirs) as child:
        os.close(theirs)
        text = b""
        with contextlib.suppress(OSError):  # how the end is told on Linux
            while part := os.read(ours, 10_000):
                text += part
    os.close(ours)
    assert child.returncode == 0
    _, *rows, long = text.decode().splitlines()
    assert {len(row) for row in rows} == {120}
    assert all(row.endswith("x…") for row in rows)
    assert long.endswith("  " + '"' + "x" * 8 + "…")


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_broken_pipe(options: list[str]) -> None:
    """When nobody reads any more it ends quietly, with the status of SIGPIPE."""
    make_journal("work.db", *(record(f"f/{'x' * 100}/{n}") for n in range(3000)))
    with process(*COMMAND, "journal", "show", "work.db", *options) as child:
        stream_of(child.stdout).readline()
        stream_of(child.stdout).close()
        assert stream_of(child.stderr).read() == ""
        assert child.wait(timeout=60) == 141


def test_a_full_disk() -> None:
    """What can't be written is said; status 1."""
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    make_journal("work.db", record("f/a"))
    with Path("/dev/full").open("w") as full:
        command = [*COMMAND, "journal", "show", "work.db"]
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    said = "stopped, as it can't be written: No space left on device\n"
    assert done.stderr == said


def test_closed_standard_output() -> None:
    """It is wrong usage."""
    make_journal("work.db", record("f/a"))
    command = ["sh", "-c", 'exec "$@" >&-', "sh", *COMMAND, "journal", "show"]
    done = subprocess.run(
        [*command, "work.db"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "the stream is closed" in done.stderr


@pytest.mark.parametrize("command", ["show", "prune"])
@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("nowhere.db", "'FILE': there is no file nowhere.db: check the path"),
        ("x" * 5000, "there is no file xxx"),
        (".", ". is a folder and no journal"),
        ("work.py", "work.py is no journal"),
        ("other.db", "other.db is a database of SQLite, but no journal"),
        ("newer.db", "newer.db is a journal of version 99"),
        ("empty.db", "empty.db is empty: there is no journal in it"),
    ],
)
def test_no_journal(folder: Path, command: str, path: str, said: str) -> None:
    """It says what is wrong; status 2; the file stays as it is (SPEC 10.5)."""
    make_others()
    before = {file: file.read_bytes() for file in folder.iterdir() if file.is_file()}
    options = ["--older-than", "0s"] if command == "prune" else []
    done = call("journal", command, path, *options)
    assert (done.status, done.out) == (2, "")
    assert said in done.said
    after = {file: file.read_bytes() for file in folder.iterdir() if file.is_file()}
    assert after == before


# `journal prune`

DAY = 86_400


def ids() -> list[object]:
    return [line["id"] for line in show()]


def prune(age: str = "7d", path: str = "work.db") -> Done:
    return call("journal", "prune", path, "--older-than", age)


@pytest.mark.usefixtures("at_noon")
def test_prune() -> None:
    """Deletes what has ended, and was last heard of longer ago (SPEC 11.4)."""
    make_journal(
        "work.db",
        record("old", ago=8 * DAY),
        record("new", ago=6 * DAY),
        record("old failure", "failure", ago=8 * DAY),
        record("old and unfinished", "unspecified", ago=8 * DAY),
    )
    assert prune() == Done(0, "2 tasks deleted, 2 left\n", "")
    assert ids() == ["new", "old and unfinished"]
    assert prune().out == "0 tasks deleted, 2 left\n"
    assert prune("144.5h").out == "0 tasks deleted, 2 left\n"
    assert prune("0s").out == "1 task deleted, 1 left\n"


@pytest.mark.usefixtures("at_noon")
@pytest.mark.parametrize(
    ("age", "seconds"), [("90s", 90), ("1.5min", 90), ("2 h", 7200), ("1d", DAY)]
)
def test_units(age: str, seconds: float) -> None:
    """Seconds, minutes, hours, days."""
    make_journal(
        "work.db", record("old", ago=seconds + 1), record("new", ago=seconds - 1)
    )
    assert prune(age).out == "1 task deleted, 1 left\n"
    assert ids() == ["new"]


@pytest.mark.parametrize("age", ["7", "d", "7w", "-1d", "1e3s", "inf", "", "7 d ago"])
def test_what_is_no_age(age: str) -> None:
    """It says which units there are; status 2."""
    done = prune(age)
    assert done.status == 2
    assert "it must be a number and a unit of s, min, h and d" in done.said


def test_the_age_must_be_given() -> None:
    """Nothing is deleted by default."""
    make_journal("work.db")
    done = call("journal", "prune", "work.db")
    assert (done.status, "'--older-than'" in done.err) == (2, True)


@pytest.mark.usefixtures("at_noon")
def test_parts_stay_with_the_whole() -> None:
    """Parts of a parallel task go when the task itself does: not before (SPEC 6.1)."""
    make_journal(
        "work.db",
        record("x/0", ago=9 * DAY),
        record("x/1", ago=9 * DAY),
        record("x", "unspecified", ago=8 * DAY),
        record("y/0", ago=9 * DAY),
        record("y/1", ago=9 * DAY),
        record("y/10", ago=6 * DAY),
        record("y", ago=8 * DAY),
        record("z/", ago=6 * DAY),
        record("z//0", ago=9 * DAY),
        record("of no task/0", ago=9 * DAY),
        record("x/a", ago=9 * DAY),
        record("x0", ago=9 * DAY),
        record("0", ago=9 * DAY),
    )
    assert prune().out == "7 tasks deleted, 6 left\n"
    assert ids() == ["x/0", "x/1", "x", "y/10", "z/", "z//0"]


@pytest.mark.usefixtures("at_noon")
def test_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who writes meanwhile waits for a few of them, not for all."""
    monkeypatch.setattr(_reading, "CHUNK", 3)
    records = [record(f"f{n}", ago=(8 - n % 2 * 2) * DAY) for n in range(40)]
    make_journal("work.db", *records)
    assert prune().out == "20 tasks deleted, 20 left\n"
    assert ids() == [f"f{n}" for n in range(40) if n % 2]


@pytest.mark.usefixtures("at_noon")
def test_the_file_becomes_smaller(folder: Path) -> None:
    """If nobody has it; and nothing is left beside it."""
    make_journal(
        "work.db",
        *(record(f"f{n}", ago=8 * DAY, state=f'"{"x" * 1000}"') for n in range(1000)),
        record("new"),
    )
    before = (folder / "work.db").stat().st_size
    assert prune().out == "1000 tasks deleted, 1 left\n"
    assert (folder / "work.db").stat().st_size < before / 10
    assert list(contents(folder)) == ["work.db"]
    assert ids() == ["new"]
    assert run("echo", "a").status == 0


def test_prune_while_a_run_has_it(folder: Path) -> None:
    """It goes on, and what it has is recorded (SPEC 10.3)."""
    arguments = ["work:wait", "--stdin", "--workers", "2"]
    with process(*RUN, *arguments, stdin=subprocess.PIPE) as child:
        for x in ("a", "wait"):
            give(child, x)
            until_running(child, x)
        next_line(child)
        assert prune("0s").out == "1 task deleted, 1 left\n"
        give(child, "b")
        until_running(child, "b")
        assert prune("1h").out.startswith("0 tasks deleted, ")
        (folder / "go").touch()
        done = finished(child)
    assert (done.status, len(done.lines)) == (0, 2)
    assert ids() == ["work:wait/wait", "work:wait/b"]
    again = run("wait", "a", "wait", "b")
    assert again.ran == ["a"]  # which was forgotten
    assert again.err.endswith("3 inputs: 3 success (2 from the journal)\n")


@pytest.mark.usefixtures("at_noon")
def test_a_file_that_somebody_has_keeps_its_size(folder: Path) -> None:
    """It is made smaller later on, even if nothing is left to be deleted."""
    state = f'"{"x" * 1000}"'
    records = [record(f"f{n}", ago=1, state=state) for n in range(1000)]
    make_journal("work.db", *records)
    before = (folder / "work.db").stat().st_size
    with opened("work.db"):
        assert prune("0s").out == "1000 tasks deleted, 0 left\n"
    assert (folder / "work.db").stat().st_size >= before
    assert prune("0s").out == "0 tasks deleted, 0 left\n"
    assert (folder / "work.db").stat().st_size < before / 10


@pytest.mark.usefixtures("at_noon")
def test_a_file_that_cannot_be_pruned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else writes to it, for longer than one waits; status 2."""
    monkeypatch.setattr(_reading, "PATIENCE", 0.01)
    make_journal("work.db", record("f/a", ago=DAY))
    with contextlib.closing(sqlite3.connect("work.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        done = prune("0s")
    assert done.status == 2
    assert "work.db can't be pruned: database is locked" in done.said
    assert ids() == ["f/a"]


# Help


def test_help() -> None:
    """It says what a journal is for, what the columns are, and what is forgotten."""
    said = {
        command: " ".join(call(*command.split(), "--help").out.split())
        for command in ("run", "journal", "journal show", "journal prune")
    }
    assert "the same command again goes on where it was" in said["run"]
    assert "recalled true if the data comes from the journal" in said["run"]
    assert "show" in said["journal"]
    assert "prune" in said["journal"]
    assert "how long ago the task was last heard of" in said["journal show"]
    assert "if it is added again, it runs again" in said["journal prune"]
