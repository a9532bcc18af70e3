"""The program that test_crashes.py kills: it does its work with a journal, once.

    CRASH_FOLDER=… CRASH_RUN=1 python crash_program.py

Started again in the same folder it goes on. With CRASH_ID and CRASH_MOMENT it does that
task alone, and stops for ever at that moment of it. With CRASH_LAG its journal takes so
many seconds more before and after each transaction.

What happens goes to `log`, in the order in which it happens, whichever process it happens
in. On its output it says how far it has come: "opening", "running", "closing",
"closed", "paused".
"""

from __future__ import annotations

import functools
import json
import logging
import math
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, NamedTuple, NoReturn, TypeAlias

import trio

from majordomo2 import (
    Job,
    Majordomo,
    Task,
    TaskOptions,
    TaskState,
    current_task,
    failure,
    job,
    start_majordomo,
)
from majordomo2.abc import Journal, Record, Successes
from majordomo2.journals import SQLiteJournal

STEP = 0.01  # seconds that a step takes
# A line of the log is so long, in bytes, that none lies across two pages of memory: what
# lies across two may be cut in half by SIGKILL.
LINE = 256

Kind: TypeAlias = Literal["started", "durable", "received", "delivered"]
# When a run may stop for ever: the start of its first attempt is committed, and the action
# has not started; its second state is committed, and the action has not heard of it; its
# success is to be committed; it is committed, and the program has not received it; it is
# received, and not yet noted.
Moment: TypeAlias = Literal["started", "saved", "uncommitted", "committed", "received"]


# What is logged


@dataclass(frozen=True)
class Event:
    """A line of the log.

    Attributes:
        run: Which start of the program.
        kind: "started": an attempt's action starts. "durable": its checkpoint has
            returned. "received": the program has the result, and has done nothing else
            yet. "delivered": that, noted once for each task.
        id: Of the task.
        attempt: Its number.
        done: The steps that its state has.
        status: How it has ended.
        data: Of a success; of a failure the name of the exception, or what it said.
    """

    run: int
    kind: Kind
    id: str
    attempt: int = 0
    done: int = 0
    status: str = ""
    data: object = None


def read_log(folder: Path) -> list[Event]:
    log = folder / "log"
    lines = log.read_text().splitlines() if log.exists() else []
    return [Event(**json.loads(line)) for line in lines]


@functools.cache
def log_file() -> int:
    path = Path(os.environ["CRASH_FOLDER"], "log")
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)


def run_number() -> int:
    return int(os.environ["CRASH_RUN"])


def note(event: Event) -> None:
    line = json.dumps(asdict(event)).encode().ljust(LINE - 1) + b"\n"
    assert len(line) == LINE
    assert os.write(log_file(), line) == LINE


def say(word: str) -> None:
    os.write(1, f"{word}\n".encode())


# What is done


@dataclass(frozen=True)
class Progress:
    done: int = 0
    total: int = 0


class Unlucky(Exception):
    """Raised by some attempts."""


Fault: TypeAlias = Literal["", "raises", "hangs"]
progress = TaskState(Progress)


def started() -> Progress:
    state = progress.get()
    task = current_task()
    note(Event(run_number(), "started", task.id, task.attempts, state.done))
    return state


def step(state: Progress) -> Progress:
    return Progress(state.done + 1, state.total + state.done + 1)


def noted(state: Progress) -> None:
    task = current_task()
    note(Event(run_number(), "durable", task.id, task.attempts, state.done))


def has_bad_luck() -> bool:
    return current_task().attempts % 2 == 1


async def walk(steps: int, fault: Fault = "") -> int:
    """Add up the numbers to this one, each in a step, each other one durable."""
    state = started()
    while state.done < steps:
        await trio.sleep(STEP)
        state = step(state)
        if state.done % 2:
            progress.update(state)
        else:
            await progress.checkpoint(state)
            noted(state)
        if fault and has_bad_luck():
            if fault == "raises":
                raise Unlucky
            await trio.sleep_forever()
    return state.total


def walk_blocking(steps: int, fault: Fault = "") -> int:
    """The same, for threads and processes."""
    state = started()
    while state.done < steps:
        time.sleep(STEP)
        state = step(state)
        if state.done % 2:
            progress.update(state)
        else:
            progress.checkpoint_sync(state)
            noted(state)
        if fault and has_bad_luck():
            if fault == "raises":
                raise Unlucky
            threading.Event().wait()
    return state.total


async def add_up(steps: int) -> int:
    return await walk(steps)


async def add_up_raising(steps: int) -> int:
    return await walk(steps, "raises")


async def add_up_hanging(steps: int) -> int:
    return await walk(steps, "hangs")


def add_up_blocking(steps: int) -> int:
    return walk_blocking(steps)


def add_up_blocking_raising(steps: int) -> int:
    return walk_blocking(steps, "raises")


def add_up_blocking_hanging(steps: int) -> int:
    return walk_blocking(steps, "hangs")


async def fail() -> NoReturn:
    started()
    await trio.sleep(STEP)
    raise Unlucky


def declare_failure() -> NoReturn:
    state = started()
    progress.checkpoint_sync(step(state))
    noted(step(state))
    time.sleep(STEP)
    failure("declared")


def named(
    id: str,
    *,
    retries: float = math.inf,
    keepalive: float = math.inf,
    runner: Literal["auto", "process"] = "auto",
) -> TaskOptions:
    return {"id": id, "retries": retries, "keepalive": keepalive, "runner": runner}


JOBS: dict[str, Job[object]] = {
    "async": job(add_up, 6, **named("async")),
    "thread": job(add_up_blocking, 6, **named("thread")),
    "process": job(add_up_blocking, 6, **named("process", runner="process")),
    "raises": job(add_up_raising, 4, **named("raises")),
    "raises-thread": job(add_up_blocking_raising, 4, **named("raises-thread")),
    "hangs": job(add_up_hanging, 4, **named("hangs", keepalive=0.1)),
    "hangs-process": job(
        add_up_blocking_hanging,
        3,
        **named("hangs-process", keepalive=0.1, runner="process"),
    ),
    "frail": job(add_up, 8, **named("frail", retries=1)),
    "frail-thread": job(add_up_blocking, 8, **named("frail-thread", retries=1)),
    "frail-process": job(
        add_up_blocking, 8, **named("frail-process", retries=1, runner="process")
    ),
    "fails": job(fail, **named("fails", retries=2)),
    "declares": job(declare_failure, **named("declares", retries=2)),
    "fan": job(add_up, 3, 1, 2, parallel=True, **named("fan")),
    "fan-process": job(
        add_up_blocking, 3, 1, parallel=True, **named("fan-process", runner="process")
    ),
    "summed": job(add_up, 3, 1, 2, parallel=True, **named("summed")).post(sum),
}
ITEMS = range(1, 9)  # of the map


class Plan(NamedTuple):
    """What is to become of a task.

    Attributes:
        data: Of its success; None if it never succeeds.
        retries: How often it may be restarted.
        failures: What it may fail with, and after how many attempts at the least.
        is_counted: Does each attempt log its start? One that is cut off by a clock may
            not have come so far.
        parts: The ids of its subtasks: it has no attempts of its own.
    """

    data: object
    retries: float = math.inf
    failures: tuple[tuple[str, int], ...] = ()
    is_counted: bool = True
    parts: tuple[str, ...] = ()


def plan_of_fan(id: str, parts: Sequence[int], data: object) -> dict[str, Plan]:
    plans = {f"{id}/{n}": Plan(part) for n, part in enumerate(parts)}
    return {id: Plan(data, parts=tuple(plans)), **plans}


CUT_OFF = ("WorkerDied", 2)
PLAN: dict[str, Plan] = {
    "async": Plan(21),
    "thread": Plan(21),
    "process": Plan(21),
    "raises": Plan(10),
    "raises-thread": Plan(10),
    "hangs": Plan(10, is_counted=False),
    "hangs-process": Plan(6, is_counted=False),
    "frail": Plan(36, 1, (CUT_OFF,)),
    "frail-thread": Plan(36, 1, (CUT_OFF,)),
    "frail-process": Plan(36, 1, (CUT_OFF,)),
    "fails": Plan(None, 2, (("Unlucky", 3), ("WorkerDied", 3))),
    "declares": Plan(None, 2, (("declared", 1), ("WorkerDied", 3))),
    **plan_of_fan("fan", [6, 1, 3], [6, 1, 3]),
    **plan_of_fan("fan-process", [6, 1], [6, 1]),
    **plan_of_fan("summed", [6, 1, 3], 10),
    **{f"map/k{n}": Plan(n * (n + 1) // 2) for n in ITEMS},
}


# How it is done


class Slow:
    """A journal that takes its time, so that more kills hit a transaction."""

    def __init__(self, journal: Journal, lag: float) -> None:
        self._journal = journal
        self._lag = lag

    def open(self) -> None:
        self._journal.open()

    def read(self, ids: Sequence[str], /) -> Sequence[Record | None]:
        return self._journal.read(ids)

    def successes(self, prefix: str, after: int, limit: int, /) -> Successes:
        return self._journal.successes(prefix, after, limit)

    def write(self, records: Sequence[Record], /) -> None:
        time.sleep(self._lag)
        self._journal.write(records)
        time.sleep(self._lag)

    def close(self) -> None:
        self._journal.close()


class Pausing(Slow):
    """One that stops for ever at one moment of one task."""

    def __init__(self, journal: Journal, moment: str, id: str) -> None:
        super().__init__(journal, 0)
        self._moment = moment
        self._id = id

    def write(self, records: Sequence[Record], /) -> None:
        is_now = any(map(self._is_now, records))
        if is_now and self._moment == "uncommitted":
            pause()
        super().write(records)
        if is_now:
            pause()

    def _is_now(self, record: Record) -> bool:
        if record.id != self._id:
            return False
        match self._moment:
            case "started":
                return record.attempts == run_number()
            case "saved":
                return record.state == '{"done":2,"total":3}'
            case "uncommitted" | "committed":
                return record.status == "success"
            case _:
                return False


def pause() -> NoReturn:
    say("paused")
    threading.Event().wait()
    raise AssertionError("nobody wakes it")


class Deliveries:
    """Results go to the log as they come, each once, whichever run they come in."""

    def __init__(self, folder: Path, id: str, moment: str) -> None:
        self._pauses_at = id if moment == "received" else ""
        self._noted = {e.id: e for e in read_log(folder) if e.kind == "delivered"}

    def is_wanted(self, id: str) -> bool:
        """A failure, once delivered, is final; a success may be asked for again."""
        return id not in self._noted or self._noted[id].status == "success"

    def take(self, task: Task[object]) -> None:
        result = (task.id, task.attempts, 0, task.status, said(task.data))
        note(Event(run_number(), "received", *result))
        if task.id == self._pauses_at:
            pause()
        if task.id not in self._noted:
            event = Event(run_number(), "delivered", *result)
            note(event)
            self._noted[task.id] = event


def said(data: object) -> object:
    return type(data).__name__ if isinstance(data, Exception) else data


async def do_jobs(jarvis: Majordomo, only: str, deliveries: Deliveries) -> None:
    async def deliver(*jobs: Job[object]) -> None:
        for work in jobs:
            deliveries.take(await jarvis.run(work))

    # One after the other, each run with another one first: processes take long to start.
    lane: list[Job[object]] = []
    async with trio.open_nursery() as nursery:
        for id, work in JOBS.items():
            if only in ("", id) and deliveries.is_wanted(id):
                if "process" in id:
                    lane.insert(run_number() % (len(lane) + 1), work)
                else:
                    nursery.start_soon(deliver, work)
        nursery.start_soon(deliver, *lane)


async def do_map(jarvis: Majordomo, deliveries: Deliveries) -> None:
    async with jarvis.map(
        add_up, ITEMS, key=lambda n: f"k{n}", max_in_flight=4, **named("map")
    ) as results:
        async for task in results:
            deliveries.take(task)


async def main(folder: Path, id: str, moment: str) -> None:
    deliveries = Deliveries(folder, id, moment)
    file = SQLiteJournal(folder / "work.db")
    lag = float(os.environ.get("CRASH_LAG", "0"))
    journal = Pausing(file, moment, id) if moment else Slow(file, lag) if lag else file
    only, _, _ = id.partition("/")
    say("opening")
    async with start_majordomo(max_workers=8, journal=journal) as jarvis:
        say("running")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(do_jobs, jarvis, only, deliveries)
            if only in ("", "map"):
                nursery.start_soon(do_map, jarvis, deliveries)
        say("closing")
    say("closed")


if __name__ == "__main__":
    # What goes to the error output is then a fault.
    logging.getLogger("majordomo2").addHandler(logging.NullHandler())
    asked = os.environ
    trio.run(
        main,
        Path(asked["CRASH_FOLDER"]),
        asked.get("CRASH_ID", ""),
        asked.get("CRASH_MOMENT", ""),
    )
