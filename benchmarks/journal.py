"""What a journal costs: named tasks, states, a resume, bytes on the disk."""

from __future__ import annotations

import atexit
import functools
import sqlite3
import time
import tracemalloc
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import msgspec
import trio

from majordomo2 import Majordomo, checkpoint, start_majordomo, update_data
from majordomo2.abc import Record
from majordomo2.journals import SQLiteJournal
from majordomo2.journals._sqlite import Synchronous

from . import by_hand
from .measure import Row, Side

TASKS = 1_000
SAVES = 100_000
AT_ONCE = 100
TIMES = 20  # so many checkpoints does each of those take
SMALL = 10_000
ITEMS, FEW_ITEMS = 1_000_000, 10_000
SAMPLE = 3
BATCH = 10_000  # records that are written in one transaction


@dataclass(frozen=True)
class Answer:
    """What a small task returns."""

    name: str
    size: int


@dataclass(frozen=True)
class Progress:
    """A small state."""

    done: int
    page: str


@contextmanager
def new_file() -> Generator[Path]:
    """A path in a folder of its own, for a file that is to be made."""
    with TemporaryDirectory() as folder:
        yield Path(folder, "work.db")


async def answers() -> Answer:
    return Answer("readme", 1)


async def named_ours() -> float:
    with new_file() as path:
        async with start_majordomo(journal=SQLiteJournal(path)) as jarvis:
            start = perf_counter()
            channels = [jarvis.add_task(answers, id=f"t/{n}") for n in range(TASKS)]
            for channel in channels:
                await channel.receive()
            return perf_counter() - start


async def named_by_hand() -> float:
    with new_file() as path, closing(by_hand.Records(path, "NORMAL")) as records:
        async with trio.open_nursery() as nursery:
            start = perf_counter()
            channels = [
                by_hand.add_recorded(nursery, records, f"t/{n}", answers)
                for n in range(TASKS)
            ]
            for channel in channels:
                await channel.receive()
            return perf_counter() - start


async def saves() -> float:
    """Seconds for many calls in a row."""
    states = [Progress(done, f"page-{done}") for done in range(SAVES)]
    start = perf_counter()
    for state in states:
        update_data(state)
    return perf_counter() - start


async def saves_journaled() -> float:
    with new_file() as path:
        async with start_majordomo(journal=SQLiteJournal(path)) as jarvis:
            return await jarvis.get_task_data(saves, id="saves")


async def saves_unjournaled() -> float:
    async with start_majordomo() as jarvis:
        return await jarvis.get_task_data(saves)


class Crowd:
    """Actions that take their checkpoints all at the same time.

    Attributes:
        seconds: What they took together.
    """

    def __init__(self, size: int) -> None:
        self._size = self._missing = size
        self._complete = trio.Event()
        self._start = 0.0
        self.seconds = 0.0

    async def member(self) -> None:
        await self._assemble(first=True)
        for done in range(TIMES):
            await checkpoint(Progress(done, f"page-{done}"))
            await self._assemble()

    async def _assemble(self, *, first: bool = False) -> None:
        """Wait for all of them; the last to come lets them go."""
        self._missing -= 1
        complete = self._complete
        if self._missing:
            await complete.wait()
            return
        if not first:
            self.seconds += perf_counter() - self._start
        self._missing = self._size
        self._complete = trio.Event()
        complete.set()
        self._start = perf_counter()


def checkpoints_ours(synchronous: Synchronous) -> Side:
    async def side() -> float:
        crowd = Crowd(AT_ONCE)
        with new_file() as path:
            journal = SQLiteJournal(path, synchronous=synchronous)
            async with start_majordomo(journal=journal) as jarvis:
                for n in range(AT_ONCE):
                    jarvis.add_task(crowd.member, id=f"t/{n}")
        return crowd.seconds

    return side


def checkpoints_by_hand(synchronous: Synchronous) -> Side:
    async def side() -> float:
        with new_file() as path, closing(by_hand.Records(path, synchronous)) as records:
            for n in range(AT_ONCE):
                records.started(f"t/{n}", "benchmarks.journal.Crowd.member", 1)
            start = perf_counter()
            for done in range(TIMES):
                for n in range(AT_ONCE):
                    records.saved(f"t/{n}", Progress(done, f"page-{done}"))
            return perf_counter() - start

    return side


ran: list[int] = []


async def doubled(item: int) -> int:
    ran.append(item)
    return 2 * item


def finished(item: int) -> Record:
    """What is recorded of an item of `go_through`."""
    action = f"{doubled.__module__}.{doubled.__qualname__}"
    return Record(
        f"batch/{item}",
        action,
        f"[{item}]",
        "success",
        attempts=1,
        state=None,
        data=str(2 * item),
        pinged=time.time(),
    )


async def go_through(jarvis: Majordomo, items: int) -> None:
    count = 0
    async with jarvis.map(doubled, range(items), id="batch") as results:
        async for task in results:
            assert task.data == 2 * count
            count += 1
    assert count == items


@functools.cache
def batch(items: int) -> Path:
    """A journal of a batch whose items have all finished. It is there until the end."""
    folder = TemporaryDirectory()
    atexit.register(folder.cleanup)
    path = Path(folder.name, "work.db")
    with closing(SQLiteJournal(path)) as journal:
        journal.open()
        for first in range(0, items, BATCH):
            rows = range(first, min(first + BATCH, items))
            journal.write([finished(item) for item in rows])
    return path


async def check_finished() -> None:
    """`finished` writes what is written of items that really run."""
    with new_file() as path, closing(SQLiteJournal(path)) as journal:
        async with start_majordomo(journal=SQLiteJournal(path)) as jarvis:
            await go_through(jarvis, SAMPLE)
        assert sorted(ran) == list(range(SAMPLE))
        ran.clear()
        written = [finished(item) for item in range(SAMPLE)]
        journal.open()
        records = journal.read([record.id for record in written])
    for record, other in zip(records, written, strict=True):
        assert record is not None
        assert record._replace(pinged=other.pinged) == other


async def resume(items: int) -> float:
    await check_finished()
    path = batch(items)
    start = perf_counter()
    async with start_majordomo(journal=SQLiteJournal(path)) as jarvis:
        await go_through(jarvis, items)
    seconds = perf_counter() - start
    assert not ran
    return seconds


async def resume_ours() -> float:
    return await resume(ITEMS)


async def resume_theirs() -> float:
    path = batch(ITEMS)
    start = perf_counter()
    with closing(sqlite3.connect(path)) as file:
        ids = [id for (id,) in file.execute("SELECT id FROM tasks")]
    seconds = perf_counter() - start
    assert len(ids) == ITEMS
    return seconds


def peak_of_resume(items: int) -> Side:
    """Measures the most that Python had in use meanwhile, in bytes."""

    async def side() -> float:
        batch(items)
        tracemalloc.start()
        await resume(items)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    return side


async def size_ours() -> float:
    """Bytes of the closed file for each task."""
    with new_file() as path:
        await run_small(path)
        return path.stat().st_size / SMALL


async def size_of_rows() -> float:
    """Bytes of a row as JSON, with the names of its columns."""
    with new_file() as path:
        await run_small(path)
        with closing(sqlite3.connect(path)) as file:
            columns = ", ".join(Record._fields)
            query = f"SELECT {columns} FROM tasks"  # noqa: S608 - names of columns
            lengths = [len(as_json(Record(*row))) for row in file.execute(query)]
    assert len(lengths) == SMALL
    return sum(lengths) / SMALL


async def run_small(path: Path) -> None:
    async with start_majordomo(journal=SQLiteJournal(path)) as jarvis:
        channels = [jarvis.add_task(small, n, id=f"t/{n}") for n in range(SMALL)]
        for channel in channels:
            await channel.receive()


async def small(number: int) -> Answer:
    return Answer(f"file-{number}", number)


def as_json(record: Record) -> bytes:
    """As one object, in which what was recorded as JSON is part of it."""
    encoded = {"arguments", "state", "data"}
    fields = record._asdict().items()
    return msgspec.json.encode(
        {
            name: msgspec.Raw(value.encode())
            if name in encoded and value is not None
            else value
            for name, value in fields
        }
    )


ROWS = [
    Row(
        f"{TASKS:,} named tasks with a journal, `NORMAL`",
        "the same guarantees by hand, with `sqlite3` in the Trio thread",
        *(0.9, 0.5, named_ours, named_by_hand),
    ),
    Row(
        "`update_data` with a journal",
        "without",
        *(3, 1.8, saves_journaled, saves_unjournaled),
        kind="itself",
    ),
    Row(
        f"`checkpoint` from {AT_ONCE} tasks at once",
        "one commit each by hand",
        *(0.2, 0.05, checkpoints_ours("FULL"), checkpoints_by_hand("FULL")),
    ),
    Row(
        f"`checkpoint` from {AT_ONCE} tasks at once, `NORMAL`",
        "one commit each by hand",
        *(1, 0.5, checkpoints_ours("NORMAL"), checkpoints_by_hand("NORMAL")),
    ),
    Row(
        f"resume of {ITEMS:,} finished items",
        "reading their ids in plain `sqlite3`",
        *(3, 1.5, resume_ours, resume_theirs),
        collect=True,
        rounds=3,
    ),
    Row(
        f"peak memory of the resume of {ITEMS:,} items",
        f"the same of {FEW_ITEMS:,} items",
        *(2, 1.2, peak_of_resume(ITEMS), peak_of_resume(FEW_ITEMS)),
        kind="itself",
        collect=True,
        rounds=1,
    ),
    Row(
        "bytes on disk per finished small task",
        "the JSON of its row",
        *(3, 2, size_ours, size_of_rows),
        rounds=1,
    ),
]
