"""The journal in a file: its promises, and what else may be in the file's place."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

import majordomo2.journals._schema as schema
from journal_actions import doubled_async, opened
from majordomo2 import JournalError, Majordomo, checkpoint, start_majordomo
from majordomo2.abc import Record
from majordomo2.journals import SQLiteJournal
from support import untyped

PATIENCE = 60  # seconds

RECORD = Record("x", "m.f", "[1]", "success", 1, '{"n":1}', "2", 1.5)


def everything(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def python(script: str, *args: object) -> subprocess.Popen[str]:
    """A process of its own, which prints a line when it is ready."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, args)],
        env=os.environ | {"PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


# The file


def test_it_is_one_file(tmp_path: Path) -> None:
    """SPEC 10.1: when it is closed nothing lies beside it, and others can read it."""
    path = tmp_path / "work.db"
    with opened(path) as journal:
        journal.write([RECORD])
        assert {file.name for file in tmp_path.iterdir()} == {
            "work.db",
            "work.db-lock",
            "work.db-shm",
            "work.db-wal",
        }
    assert [file.name for file in tmp_path.iterdir()] == ["work.db"]
    with contextlib.closing(sqlite3.connect(path)) as file:
        rows = file.execute("SELECT id, json_extract(state, '$.n') FROM tasks")
        assert rows.fetchall() == [("x", 1)]


@pytest.mark.parametrize(("synchronous", "number"), [("NORMAL", 1), ("FULL", 2)])
def test_synchronous(tmp_path: Path, synchronous: str, number: int) -> None:
    """SPEC 10.3: what durable means is SQLite's own setting, beside its log."""
    journal = SQLiteJournal(tmp_path / "work.db", synchronous=untyped(synchronous))
    journal.open()
    file: sqlite3.Connection = untyped(journal)._file
    assert file.execute("PRAGMA synchronous").fetchone() == (number,)
    assert file.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    journal.close()
    assert repr(journal).endswith(f"work.db', synchronous='{synchronous}')")


def test_it_can_be_read_while_it_is_in_use(tmp_path: Path) -> None:
    """SPEC 10.1: by whoever opens it with SQLite, who takes nothing from it."""
    path = tmp_path / "work.db"
    with opened(path) as journal:
        journal.write([RECORD])
        with contextlib.closing(sqlite3.connect(path)) as file:
            assert file.execute("SELECT id FROM tasks").fetchall() == [("x",)]
        other = python(
            "from majordomo2.journals import SQLiteJournal as S; import sys; "
            "S(sys.argv[1]).open()",
            path,
        )
        assert other.wait(PATIENCE) == 1  # the lock is still there
        journal.write([RECORD._replace(data="3")])
    other.communicate()


def test_what_a_crash_leaves(tmp_path: Path) -> None:
    """SPEC 10.3: what was written is there after a SIGKILL, and the lock is not."""
    path = tmp_path / "work.db"
    script = """
        import sys
        from majordomo2.abc import Record
        from majordomo2.journals import SQLiteJournal
        journal = SQLiteJournal(sys.argv[1])
        journal.open()
        journal.write([Record("x", "m.f", "[1]", "success", 1, '{"n":1}', "2", 1.5)])
        print("ready", flush=True)
        sys.stdin.read()
    """
    process = python(script, path)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.kill()
    process.communicate(timeout=PATIENCE)
    assert (tmp_path / "work.db-wal").stat().st_size
    with opened(path) as journal:
        assert journal.read(["x"]) == [RECORD]


@pytest.mark.parametrize("link", ["link.db", "folder/work.db"])
def test_a_link_to_it(tmp_path: Path, link: str) -> None:
    """SPEC 10.5: it is the same file by whatever path."""
    (tmp_path / "real").mkdir()
    (tmp_path / "folder").symlink_to(tmp_path / "real")
    (tmp_path / "link.db").symlink_to(tmp_path / "real" / "work.db")
    with opened(tmp_path / link) as journal:
        journal.write([RECORD])
        with pytest.raises(JournalError, match="in use by this process"):
            SQLiteJournal(tmp_path / "real" / "work.db").open()
        journal.write([RECORD._replace(data="3")])
    with opened(tmp_path / "real" / "work.db") as journal:
        assert journal.read(["x"]) == [RECORD._replace(data="3")]


def test_another_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SPEC 10.1: a relative path is that of the folder in which it was opened."""
    monkeypatch.chdir(tmp_path)
    with opened(Path("work.db")) as journal:
        monkeypatch.chdir("/")
        journal.write([RECORD])
        assert journal.read(["x"]) == [RECORD]
    assert [file.name for file in tmp_path.iterdir()] == ["work.db"]


# One at a time


def test_another_process_has_it(tmp_path: Path) -> None:
    """SPEC 10.5: refused at once, with the number of the process, the file untouched."""
    path = tmp_path / "work.db"
    script = """
        import sys
        from majordomo2.journals import SQLiteJournal
        journal = SQLiteJournal(sys.argv[1])
        journal.open()
        print("ready", flush=True)
        sys.stdin.read()
        journal.close()
    """
    process = python(script, path)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    before = everything(tmp_path)
    with pytest.raises(JournalError, match=rf"in use by process {process.pid}\b"):
        SQLiteJournal(path).open()
    assert everything(tmp_path) == before
    process.communicate("", timeout=PATIENCE)
    with opened(path):
        pass


def test_this_process_has_it(tmp_path: Path) -> None:
    """SPEC 10.5: two journals of one file, or one of them twice; by any path to it."""
    path = tmp_path / "work.db"
    (tmp_path / "link").symlink_to(tmp_path)
    with opened(path) as journal:
        with pytest.raises(
            JournalError, match=f"in use by this process, {os.getpid()}"
        ):
            SQLiteJournal(path).open()
        with pytest.raises(JournalError, match="in use by this process"):
            SQLiteJournal(tmp_path / "link" / "work.db").open()
        with pytest.raises(JournalError, match="open already"):
            journal.open()
        journal.write([RECORD])
    with opened(path) as journal:
        assert journal.read(["x"]) == [RECORD]


def test_a_child_does_not_keep_it(tmp_path: Path) -> None:
    """SPEC 10.5: a process that the holder has started has no part in the lock."""
    path = tmp_path / "work.db"
    with opened(path):
        child = subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.read()"],
            stdin=subprocess.PIPE,
            close_fds=False,
        )
    with opened(path):
        pass
    child.communicate(b"")


def test_two_threads_enter_at_once(tmp_path: Path) -> None:
    """SPEC 10.5: one of them has it."""
    for number in range(50):
        path = tmp_path / f"{number}.db"
        told: list[object] = []

        def enter(path: Path = path, told: list[object] = told) -> None:
            journal = SQLiteJournal(path)
            try:
                journal.open()
            except JournalError as error:
                told.append("in use by this process" in str(error))
            else:
                told.append(journal)

        threads = [threading.Thread(target=enter) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (journal,) = (each for each in told if isinstance(each, SQLiteJournal))
        assert True in told
        journal.close()


def test_it_is_open_no_more(tmp_path: Path) -> None:
    """SPEC 10.5: before it is opened, and after it was closed, there is nothing in it."""
    journal = SQLiteJournal(tmp_path / "work.db")
    with pytest.raises(JournalError, match="is not open"):
        journal.read(["x"])
    with opened(journal.path):
        pass
    journal.close()  # which does nothing


# What is no journal


def other_database(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TABLE tasks (id)")


def newer(path: Path) -> None:
    with opened(path) as journal:
        journal.write([RECORD])
    with contextlib.closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA user_version = 99")


def text(path: Path) -> None:
    path.write_text("hello " * 1000)


def byte(path: Path) -> None:
    path.write_text("x")


def short(path: Path) -> None:
    path.write_text("hello")


BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "text": (text, "is no journal"),
    "short": (short, "is no journal"),
    "pipe": (os.mkfifo, "is no regular file"),
    "byte": (byte, "is no journal: it is too short"),
    "folder": (Path.mkdir, "is a folder and no journal"),
    "other": (other_database, "is a database of SQLite, but no journal"),
    "newer": (newer, "is a journal of version 99, .* up to 1: install a newer one"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_journal(tmp_path: Path, kind: str) -> None:
    """SPEC 10.5: a clear error on entering the block, and the file is as it was."""
    path = tmp_path / "work.db"
    make, message = BAD[kind]
    make(path)
    before = everything(tmp_path) if path.is_file() else None

    async def main() -> None:
        async with start_majordomo(journal=SQLiteJournal(path)):
            raise AssertionError

    with pytest.raises(JournalError, match=f"work.db {message}"):
        trio.run(main)
    assert before is None or everything(tmp_path) == before


def test_a_newer_one_that_a_crash_left(tmp_path: Path) -> None:
    """SPEC 10.5: its log is not touched either."""
    path = tmp_path / "work.db"
    newer(path)
    with contextlib.closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("UPDATE tasks SET data = '3'")
        file.commit()
        before = {
            name: data
            for name, data in everything(tmp_path).items()
            if "shm" not in name
        }
        for name, data in before.items():
            (tmp_path / f"copy-{name}").write_bytes(data)
    copied = {
        name: data for name, data in everything(tmp_path).items() if "copy" in name
    }
    with pytest.raises(JournalError, match="version 99"):
        SQLiteJournal(tmp_path / "copy-work.db").open()
    after = {
        name: data for name, data in everything(tmp_path).items() if "copy" in name
    }
    assert after == copied


def test_an_empty_file_is_a_beginning(tmp_path: Path) -> None:
    """SPEC 10.1: as `mktemp` makes it."""
    path = tmp_path / "work.db"
    path.touch()
    with opened(path) as journal:
        journal.write([RECORD])
        assert journal.read(["x"]) == [RECORD]


def test_a_crash_while_it_was_made(tmp_path: Path) -> None:
    """SPEC 10.3: it is made anew."""
    script = """
        import os, signal, sys
        import majordomo2.journals._schema as schema
        from majordomo2.journals import SQLiteJournal
        schema.MIGRATIONS += ("CREATE TABLE more (x)", "no SQL")
        journal = SQLiteJournal(sys.argv[1])
        try:
            journal.open()
        except Exception:
            os.kill(os.getpid(), signal.SIGKILL)
    """
    path = tmp_path / "work.db"
    process = python(script, path)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGKILL
    with opened(path) as journal:
        journal.write([RECORD])
        assert journal.read(["x"]) == [RECORD]


READ_ONLY = """
    import os, sys
    from majordomo2 import JournalError
    from majordomo2.journals import SQLiteJournal
    if os.getuid() == 0:
        os.setuid(65534)  # to root nothing is read-only
    try:
        SQLiteJournal(sys.argv[1]).open()
    except JournalError as error:
        print(error)
"""


@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_is_read_only(what: str) -> None:
    """SPEC 10.5: a clear error, and the file is as it was."""
    # Not pytest's folder, into which no other user may look.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "work.db"
        with opened(path) as journal:
            journal.write([RECORD])
        path.chmod(0o444 if what == "file" else 0o666)
        folder.chmod(0o777 if what == "file" else 0o555)
        before = everything(folder)
        said, _ = python(READ_ONLY, path).communicate(timeout=PATIENCE)
        guilty = path if what == "file" else folder
        assert f"can't be written to, as {guilty} is read-only" in said
        assert everything(folder) == before
        folder.chmod(0o755)


# What happens to it while it is in use


async def saves_for_ever(jarvis: Majordomo) -> None:
    async def action() -> None:
        number = 0
        while True:
            number += 1
            await checkpoint({"number": number, "text": "x" * 1000})

    await jarvis.run(action, id="x")


def fails(path: Path, spoil: object) -> str:
    """The error that ends an instance whose file is spoilt while it writes."""

    async def main() -> None:
        async with (
            start_majordomo(journal=SQLiteJournal(path)) as jarvis,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(saves_for_ever, jarvis)
            await jarvis.run(doubled_async, 1, id="first")
            untyped(spoil)()
            await trio.sleep(PATIENCE)
            raise AssertionError("it goes on without its journal")

    with pytest.raises(JournalError) as caught:
        trio.run(main)
    return str(caught.value)


def test_the_file_is_removed(tmp_path: Path) -> None:
    """SPEC 10.5: SQLite would go on writing, and nobody would find it again."""
    path = tmp_path / "work.db"
    assert "work.db can't be written: it was removed while it was in use" in fails(
        path, path.unlink
    )


def test_the_log_is_removed(tmp_path: Path) -> None:
    """SPEC 10.5: what is in it would be lost."""
    log = tmp_path / "work.db-wal"
    said = fails(tmp_path / "work.db", log.unlink)
    assert "its log, -wal, was removed while it was in use" in said


def test_the_file_is_replaced(tmp_path: Path) -> None:
    """SPEC 10.5: the same."""
    path = tmp_path / "work.db"

    def replace() -> None:
        (tmp_path / "other").write_bytes(path.read_bytes())
        (tmp_path / "other").rename(path)

    assert "another file was put in its place" in fails(path, replace)


def test_a_page_is_corrupted(tmp_path: Path) -> None:
    """SPEC 10.5: a clear error when it is read, and no result is made of it."""
    path = tmp_path / "work.db"
    with opened(path) as journal:
        many = [RECORD._replace(id=f"x/{n}") for n in range(10_000)]
        journal.write(many)
    size = path.stat().st_size
    with path.open("r+b") as file:
        for page in range(4096, size - 4096, 4096):
            file.seek(page)
            file.write(os.urandom(512))
    before = everything(tmp_path)

    async def main() -> None:
        async with start_majordomo(journal=SQLiteJournal(path)) as jarvis:
            await jarvis.run(doubled_async, 1, id="x/5000")
            raise AssertionError

    with pytest.raises(JournalError, match=r"work\.db can't be read: .*malformed"):
        trio.run(main)
    assert everything(tmp_path) == before


FULL = """
    import resource, signal, sys
    import trio
    from majordomo2 import JournalError, checkpoint, start_majordomo
    from majordomo2.journals import SQLiteJournal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    durable = 0

    async def action():
        global durable
        while True:
            await checkpoint({"number": durable + 1, "text": "x" * 10_000})
            durable += 1

    async def main():
        async with start_majordomo(journal=SQLiteJournal(sys.argv[1])) as jarvis:
            await jarvis.run(action, id="x")

    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
    try:
        trio.run(main)
    except JournalError as error:
        print(durable, error)
"""


def test_the_disk_is_full(tmp_path: Path) -> None:
    """SPEC 10.5: a clear error; what was durable stays, and the file is sound."""
    path = tmp_path / "work.db"
    process = python(FULL, path)
    said, _ = process.communicate(timeout=PATIENCE)
    match = re.match(r"(\d+) .*work\.db can't be written: (.*)", said)
    assert match is not None
    durable = int(match[1])
    assert durable
    assert match[2] in ("disk I/O error", "database or disk is full")
    with contextlib.closing(sqlite3.connect(path)) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        (number,) = file.execute(
            "SELECT json_extract(state, '$.number') FROM tasks"
        ).fetchone()
    assert number >= durable


# Older files


# What the first version of the schema made, as it was: this never changes.
VERSION_1 = """
    PRAGMA application_id = 1835298610;
    CREATE TABLE tasks (
        n INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        action TEXT NOT NULL,
        arguments NOT NULL,
        status TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        state,
        data,
        pinged REAL NOT NULL
    );
    INSERT INTO tasks VALUES
        (1, 'x', 'journal_actions.doubled_async', '[1]', 'success', 3, '{"n":1}', '2', 9.5);
    PRAGMA user_version = 1;
"""


def test_the_first_version_can_be_read(tmp_path: Path) -> None:
    """SPEC 10.5: whatever comes after it."""
    path = tmp_path / "work.db"
    with contextlib.closing(sqlite3.connect(path)) as file:
        file.executescript(VERSION_1)

    async def main() -> None:
        async with start_majordomo(journal=SQLiteJournal(path)) as jarvis:
            task = await jarvis.run(doubled_async, 1, id="x")
            assert (task.status, task.data) == ("success", 2)
            assert (task.attempts, task.state) == (3, {"n": 1})

    trio.run(main)


def test_the_next_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC 10.5: an older file becomes a newer one, and then is none of the older."""
    path = tmp_path / "work.db"
    with contextlib.closing(sqlite3.connect(path)) as file:
        file.executescript(VERSION_1)
    with monkeypatch.context() as patch:
        more = "ALTER TABLE tasks ADD COLUMN owner TEXT DEFAULT 'me'"
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, more))
        with opened(path) as journal:
            (record,) = journal.read(["x"])
            assert record is not None
            journal.write([record._replace(data="4")])
            # Whoever looks at the file alone sees it too.
            with pytest.raises(JournalError, match="in use"):
                SQLiteJournal(path).open()
    with contextlib.closing(sqlite3.connect(path)) as file:
        assert file.execute("SELECT data, owner FROM tasks").fetchall() == [("4", "me")]
    with pytest.raises(JournalError, match="is a journal of version 2"):
        SQLiteJournal(path).open()


def test_a_migration_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SPEC 10.5: nothing of it stays."""
    path = tmp_path / "work.db"
    with contextlib.closing(sqlite3.connect(path)) as file:
        file.executescript(VERSION_1)
    with monkeypatch.context() as patch:
        steps = ("ALTER TABLE tasks ADD COLUMN owner TEXT", "no SQL")
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, *steps))
        with pytest.raises(JournalError, match="can't be opened"):
            SQLiteJournal(path).open()
    with opened(path) as journal:
        assert journal.read(["x"])[0]


# Bad input


@pytest.mark.parametrize(
    ("path", "options", "error", "message"),
    [
        (3, {}, TypeError, "path must be that of a file, not 3"),
        (None, {}, TypeError, "path must be that of a file"),
        ("", {}, ValueError, "path must not be empty"),
        ("a\0b", {}, ValueError, "path must be that of a file"),
        (":memory:", {}, ValueError, "there is MemoryJournal"),
        ("x", {"synchronous": "OFF"}, ValueError, "'NORMAL' or 'FULL', not 'OFF'"),
        ("x", {"synchronous": None}, ValueError, "'NORMAL' or 'FULL', not None"),
    ],
)
def test_bad_input(
    path: object, options: dict[str, object], error: type[Exception], message: str
) -> None:
    """SPEC 7.4: at once, with the value and the remedy."""
    with pytest.raises(error, match=message):
        SQLiteJournal(untyped(path), **untyped(options))


@pytest.mark.parametrize("path", [".", "/", ".."])
def test_a_folder(path: str) -> None:
    """SPEC 10.5: whatever it is called."""
    with pytest.raises(JournalError, match="is a folder and no journal"):
        SQLiteJournal(path).open()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """SPEC 10.5: it is not made."""
    with pytest.raises(
        JournalError, match=r"work\.db can't be made, as there is no folder"
    ):
        SQLiteJournal(tmp_path / "no" / "work.db").open()
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="it has no such names")
def test_a_strange_name(tmp_path: Path) -> None:
    """SPEC 10.1: what means something in a URI means nothing in a path."""
    path = tmp_path / os.fsdecode(b"a b?mode=ro#%20\xff.db")
    for _ in range(2):
        with opened(path) as journal:
            journal.write([RECORD])
            assert journal.read(["x"]) == [RECORD]
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
