"""Tasks that a journal records, and their going on in the next process."""

from __future__ import annotations

import contextvars
import functools
import logging
import pickle
import threading
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Literal, TypeAlias, TypeVar

import pytest
import trio

import majordomo2._past
from journal_actions import (
    KINDS,
    Colour,
    Counted,
    Everything,
    Mortal,
    Point,
    Progress,
    Struct,
    counts,
    counts_in_place,
    doubled,
    doubled_async,
    fails,
    progress,
    saves_from_two_threads,
    saves_in_place,
    saves_what_can_not_be_said,
    waits_for,
)
from majordomo2 import (
    JournalConflict,
    JournalError,
    Journaling,
    Majordomo,
    Task,
    TaskState,
    WorkerDied,
    checkpoint,
    checkpoint_sync,
    current_task,
    current_task_data,
    job,
    keepalive,
    start_majordomo,
    update_data,
)
from majordomo2.abc import Journal, Observer, Record, Successes
from majordomo2.journals import MemoryJournal, SQLiteJournal
from support import untyped

T = TypeVar("T")
RunnerName: TypeAlias = Literal["async", "inline", "thread", "process"]


@pytest.fixture(params=KINDS)
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Mortal:
    return Mortal(KINDS[request.param](tmp_path))


@pytest.fixture
def memory() -> Mortal:
    return Mortal(MemoryJournal())


def run(
    journal: Journal,
    body: Callable[[Majordomo], Awaitable[T]],
    *,
    max_workers: float = float("inf"),
    journaling: Journaling | None = None,
    observers: Sequence[Observer] = (),
) -> T:
    """In an instance with this journal, as a process of its own would."""

    async def main() -> T:
        with trio.fail_after(60):
            async with start_majordomo(
                journal=journal,
                max_workers=max_workers,
                journaling=journaling,
                observers=observers,
            ) as jarvis:
                return await body(jarvis)

    return trio.run(main)


def cut_short(journal: Mortal, body: Callable[[Majordomo], Awaitable[object]]) -> None:
    """The same, but the process dies at the end of the body."""

    async def dies(jarvis: Majordomo) -> None:
        await body(jarvis)
        journal.die()
        jarvis.stop()

    run(journal, dies)


def recorded(journal: Mortal, *ids: str) -> list[Record | None]:
    """What the journal has, when no instance has it open."""
    journal.inner.open()
    found = list(journal.inner.read(ids))
    journal.inner.close()
    return found


def one(journal: Mortal, id: str) -> Record:
    (record,) = recorded(journal, id)
    assert record is not None
    return record


# What becomes of a task in the next process


def test_a_success_is_delivered_without_running(journal: Mortal) -> None:
    """SPEC 10.2: typed as it was, with its attempts and its state."""

    async def body(jarvis: Majordomo) -> Task[object]:
        return await jarvis.run(counts, 3, id="x")

    first, second = run(journal, body), run(journal, body)
    assert first == second == Task(Progress(3), id="x", status="success")
    assert second.attempts == first.attempts == 1
    assert second.state == {"done": 3}
    assert progress.of(second) == progress.of(first) == Progress(3)
    assert sum(len(batch) for batch in journal.batches if batch[0].status != "success")
    assert recorded(journal, "x") == [
        Record(
            "x",
            "journal_actions.counts",
            "[3]",
            "success",
            1,
            '{"done":3}',
            '{"done":3}',
            one(journal, "x").pinged,
        )
    ]


def test_a_failure_is_run_anew_from_its_last_state(journal: Mortal) -> None:
    """SPEC 10.2: with fresh retries."""

    async def body(jarvis: Majordomo) -> tuple[str, int, object]:
        task = await jarvis.run(fails, 1, id="x", retries=1)
        return task.status, task.attempts, task.state

    assert run(journal, body) == ("failure", 2, {"attempt": 2})
    assert one(journal, "x").data == "ValueError: no 1"
    seen: list[object] = []

    async def again(jarvis: Majordomo) -> int:
        def fails(x: int) -> int:
            seen.append(current_task_data())
            return x

        fails.__module__, fails.__qualname__ = "journal_actions", "fails"
        return await jarvis.get_task_data(fails, 1, id="x", retries=0)

    assert run(journal, again) == 1
    assert seen == [{"attempt": 2}]


@pytest.mark.parametrize("end", ["timeout", "cancelled"])
def test_what_did_not_succeed_is_run_anew(journal: Mortal, end: str) -> None:
    """SPEC 10.2: after a timeout or a cancellation too."""
    states: list[object] = []

    async def action(x: int) -> int:
        states.append(current_task_data())
        if len(states) == 1:
            await checkpoint([x])
            await trio.sleep_forever()
        return x

    async def body(jarvis: Majordomo) -> str:
        options = {"keepalive": 0.05} if end == "timeout" else {}
        channel = jarvis.add_task(action, 1, id="x", retries=0, **untyped(options))
        if end == "cancelled" and not states:
            await until(lambda: has_state(journal))
            channel.cancel()
        return (await channel.receive()).status

    assert run(journal, body) == end
    assert one(journal, "x").status == end
    assert run(journal, body) == "success"
    assert states == [{}, [1]]


def test_an_attempt_that_was_cut_off_counts(journal: Mortal) -> None:
    """SPEC 10.2: the task goes on from its last state, and has that attempt less."""

    async def until_saved(jarvis: Majordomo) -> None:
        jarvis.add_task(waits_for, 5, id="x", retries=1)
        await until(lambda: has_state(journal))

    cut_short(journal, until_saved)
    assert (one(journal, "x").status, one(journal, "x").attempts) == ("unspecified", 1)
    seen: list[tuple[int, object]] = []

    async def next_process(jarvis: Majordomo) -> Task[object]:
        async def waits_for(_: object) -> None:
            seen.append((current_task().attempts, current_task_data()))
            raise ValueError

        waits_for.__module__, waits_for.__qualname__ = "journal_actions", "waits_for"
        return await jarvis.run(waits_for, 5, id="x", retries=1)

    task = run(Mortal(journal.inner), next_process)
    assert seen == [(2, 5)]
    assert (task.status, task.attempts) == ("failure", 2)


def test_no_attempt_is_left(journal: Mortal) -> None:
    """SPEC 10.2: a task that was cut off in its last attempt fails, and says why."""

    async def until_saved(jarvis: Majordomo) -> None:
        jarvis.add_task(waits_for, 5, id="x", retries=0)
        await until(lambda: has_state(journal))

    async def body(jarvis: Majordomo) -> Task[object]:
        return await jarvis.run(waits_for, 5, id="x", retries=0)

    cut_short(journal, until_saved)
    task = run(Mortal(journal.inner), body)
    assert (task.status, task.attempts, task.state) == ("failure", 1, 5)
    assert isinstance(task.data, WorkerDied)
    assert "attempt 1 of x was cut off by the end of its process" in str(task.data)
    # So the next time it is run anew, from there.
    assert (one(journal, "x").status, one(journal, "x").state) == ("failure", "5")


def test_the_cut_off_attempt_is_forgiven(journal: Mortal) -> None:
    """SPEC 10.2: a deploy is not the task's fault, if one says so."""

    async def until_saved(jarvis: Majordomo) -> None:
        jarvis.add_task(waits_for, 5, id="x", retries=0)
        await until(lambda: has_state(journal))

    cut_short(journal, until_saved)

    async def body(jarvis: Majordomo) -> tuple[int, object]:
        async def waits_for(_: object) -> None:
            seen.append((current_task().attempts, current_task_data()))

        waits_for.__module__, waits_for.__qualname__ = "journal_actions", "waits_for"
        task = await jarvis.run(waits_for, 5, id="x", retries=0)
        return task.attempts, task.state

    seen: list[tuple[int, object]] = []
    ended = run(Mortal(journal.inner), body, journaling=Journaling(forgive=True))
    assert ended == (1, 5)
    assert seen == [(1, 5)]


def test_one_that_never_started_loses_no_attempt(journal: Mortal) -> None:
    """SPEC 10.2: what waited for a slot was not cut off."""

    async def until_saved(jarvis: Majordomo) -> None:
        jarvis.add_task(waits_for, 5, id="x")
        jarvis.add_task(doubled, 6, id="queued", retries=0)
        await until(lambda: has_state(journal))

    async def dies(jarvis: Majordomo) -> None:
        await until_saved(jarvis)
        journal.die()
        jarvis.stop()

    run(journal, dies, max_workers=1)

    async def body(jarvis: Majordomo) -> tuple[int, int]:
        task = await jarvis.run(doubled, 6, id="queued", retries=0)
        return task.result(), task.attempts

    assert run(Mortal(journal.inner), body) == (12, 1)


def test_what_waits_is_recorded(journal: Mortal) -> None:
    """SPEC 10.1: a task that is queued, and a parallel one while its parts run."""

    async def until_saved(jarvis: Majordomo) -> None:
        jarvis.add_task(job(waits_for, 5, parallel=True, id="parallel"))
        await until(lambda: has_state(journal))
        jarvis.add_task(doubled, 6, id="queued")
        await until(lambda: "queued" in {record.id for record in journal.batches[-1]})

    async def dies(jarvis: Majordomo) -> None:
        await until_saved(jarvis)
        journal.die()
        jarvis.stop()

    run(journal, dies, max_workers=1)
    found = recorded(journal, "parallel", "parallel/0", "queued")
    assert [record and (record.status, record.attempts) for record in found] == [
        ("unspecified", 0),
        ("unspecified", 1),
        ("unspecified", 0),
    ]


def test_one_that_waits_for_a_thread_loses_no_attempt(journal: Mortal) -> None:
    """SPEC 10.2: the attempt counts from when there is a place for it."""
    free = threading.Event()

    def blocks(_: int) -> None:
        free.wait(60)

    async def body(jarvis: Majordomo) -> None:
        channels = [jarvis.add_task(blocks, n, id=f"b/{n}") for n in range(41)]
        await until(lambda: len(started(journal)) >= 40)
        await trio.sleep(0.05)
        assert len(started(journal)) == 40
        free.set()
        for channel in channels:
            await channel.result()

    run(journal, body)
    assert len(started(journal)) == 41


def started(journal: Mortal) -> set[str]:
    return {
        record.id for batch in journal.batches for record in batch if record.attempts
    }


def has_state(journal: Mortal) -> bool:
    return any(record.state for batch in journal.batches for record in batch)


async def until(happened: Callable[[], bool]) -> None:
    """For what the thread of the journal does."""
    while not happened():  # noqa: ASYNC110 - a thread can't set an event of Trio's
        await trio.sleep(0.001)


# What is durable when


@pytest.mark.parametrize("runner", ["async", "inline", "thread", "process"])
def test_a_result_is_durable_before_it_is_received(
    journal: Mortal, runner: RunnerName
) -> None:
    """SPEC 10.3: and the start of an attempt before its action starts."""
    action = doubled_async if runner == "async" else doubled

    async def body(jarvis: Majordomo) -> None:
        channel = jarvis.add_task(untyped(action), 2, id="x", runner=runner)
        await channel.receive()
        written = [record for batch in journal.batches for record in batch]
        assert (written[-1].status, written[-1].data) == ("success", "4")
        before = [(record.status, record.attempts) for record in written[:-1]]
        assert before[-1] == ("unspecified", 1)

    run(journal, body)


@pytest.mark.parametrize("runner", ["inline", "thread"])
def test_the_start_of_an_attempt_is_durable(
    journal: Mortal, runner: RunnerName
) -> None:
    """SPEC 10.3: whenever the action runs, the journal has its number."""
    seen: list[tuple[int, int]] = []

    def action() -> None:
        written = [record for batch in journal.batches for record in batch]
        seen.append((current_task().attempts, written[-1].attempts))
        if len(seen) < 3:
            raise ValueError

    async def body(jarvis: Majordomo) -> None:
        await jarvis.run(action, id="x", runner=runner)

    run(journal, body)
    assert seen == [(1, 1), (2, 2), (3, 3)]


def test_a_state_is_written_soon(journal: Mortal) -> None:
    """SPEC 10.3: `update_data` alone brings it there, in no hurry."""

    async def saves() -> None:
        update_data({"n": 1})
        await until(lambda: has_state(journal))

    async def body(jarvis: Majordomo) -> None:
        await jarvis.get_task_data(saves, id="x")

    run(journal, body)


def test_states_share_a_transaction(memory: Mortal) -> None:
    """SPEC 10.3: of many that come within the delay the last is written."""

    async def saves() -> None:
        for n in range(1000):
            update_data(n)

    async def body(jarvis: Majordomo) -> None:
        await jarvis.get_task_data(saves, id="x")

    run(memory, body, journaling=Journaling(delay=30))
    states = [record.state for batch in memory.batches for record in batch]
    assert states == [None, "999"]


def test_a_ping_is_recorded(memory: Mortal) -> None:
    """SPEC 10.1: so that one sees from outside who is alive."""

    async def pings() -> None:
        before = len(memory.batches)
        keepalive()
        await until(lambda: len(memory.batches) > before)

    async def body(jarvis: Majordomo) -> None:
        await jarvis.get_task_data(pings, id="x")

    run(memory, body)


@pytest.mark.parametrize("runner", ["async", "thread", "process", "process async"])
def test_a_checkpoint_returns_when_the_state_is_durable(
    journal: Mortal, runner: str
) -> None:
    """SPEC 10.3: in the Trio run, in threads and in processes."""
    of_async = runner in ("async", "process async")
    action = counts if of_async else counts_in_place

    async def body(jarvis: Majordomo) -> None:
        options = {"runner": runner.removesuffix(" async")}
        await jarvis.get_task_data(untyped(action), 3, id="x", **untyped(options))

    run(journal, body)
    states = [record.state for batch in journal.batches for record in batch]
    assert [state for state in dict.fromkeys(states) if state] == [
        '{"done":1}',
        '{"done":2}',
        '{"done":3}',
    ]


def test_states_of_a_process_stay_in_order(memory: Mortal) -> None:
    """SPEC 10.3: what another thread saves while one waits is the later one."""

    async def body(jarvis: Majordomo) -> None:
        task = await jarvis.run(
            saves_from_two_threads, 200, id="x", runner="process", retries=0
        )
        assert task.state == task.result() == 200

    run(memory, body)
    states = [record.state for batch in memory.batches for record in batch]
    numbers = [int(str(state)) for state in states if state is not None]
    assert numbers == sorted(numbers)


def test_a_checkpoint_from_a_thread_of_trios(memory: Mortal) -> None:
    """SPEC 4.7: signals work in threads that the action enters."""

    def there() -> None:
        checkpoint_sync("there")
        trio.from_thread.run(checkpoint, "and back")

    async def action() -> None:
        await trio.to_thread.run_sync(there)
        assert memory.batches[-1][-1].state == '"and back"'

    async def body(jarvis: Majordomo) -> None:
        await jarvis.get_task_data(action, id="x")

    run(memory, body)


def test_a_checkpoint_that_would_block_the_run(memory: Mortal) -> None:
    """SPEC 10.3: a clear error instead, whichever runner it is."""

    async def body(jarvis: Majordomo) -> None:
        task = await jarvis.run(saves_in_place, 1, id="x", runner="inline", retries=0)
        assert "write await checkpoint" in str(task.data)

    run(memory, body)


def test_a_checkpoint_without_a_journal() -> None:
    """SPEC 10.3: nothing outlives the process, so there is nothing to wait for."""

    async def action() -> object:
        await checkpoint(1)
        await trio.to_thread.run_sync(checkpoint_sync, 2)
        return current_task_data()

    async def main() -> None:
        async with start_majordomo() as jarvis:
            assert await jarvis.get_task_data(action, id="x") == 2
            await jarvis.get_task_data(saves_in_place, 3, id="x", runner="process")

    trio.run(main)


@pytest.mark.parametrize("runner", ["thread", "process"])
def test_a_checkpoint_of_a_task_without_a_name(
    memory: Mortal, runner: RunnerName
) -> None:
    """SPEC 10.1: where there is a journal, it must not seem to be durable."""

    async def body(jarvis: Majordomo) -> None:
        task = await jarvis.run(saves_in_place, 1, runner=runner, retries=0)
        assert isinstance(task.data, RuntimeError)
        assert "given no name: give id=" in str(task.data)

    run(memory, body)
    assert not memory.batches


def test_a_cancelled_checkpoint(memory: Mortal) -> None:
    """SPEC 4.9: who waits for the disk can be cancelled."""
    writes, held = threading.Event(), threading.Event()

    def hold(records: Sequence[Record]) -> None:
        if any(record.state for record in records):
            writes.set()
            held.wait(60)

    async def action() -> None:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(checkpoint, 1)
                await until(writes.is_set)
                scope.cancel()
        assert scope.cancelled_caught
        held.set()

    async def body(jarvis: Majordomo) -> None:
        memory.before = hold
        await jarvis.get_task_data(action, id="x")

    run(memory, body)
    assert one(memory, "x").state == "1"


# Names


def test_other_arguments_under_the_same_name(
    journal: Mortal, caplog: pytest.LogCaptureFixture
) -> None:
    """SPEC 10.2: a conflict shows both, and leaves the record alone."""

    async def first(jarvis: Majordomo) -> None:
        await jarvis.run(doubled, 2, id="x")

    run(journal, first)
    before = one(journal, "x")

    async def body(jarvis: Majordomo) -> None:
        task = await jarvis.run(doubled, 3, id="x")
        assert isinstance(task.data, JournalConflict)
        assert (task.status, task.attempts, task.data.id) == ("failure", 0, "x")
        assert task.data.recorded == "journal_actions.doubled, called with [2]"
        assert task.data.given == "journal_actions.doubled, called with [3]"
        again = pickle.loads(pickle.dumps(task.data))  # noqa: S301 - our own
        assert (str(again), again.id) == (str(task.data), "x")
        other = await jarvis.run(doubled_async, 2, id="x")
        assert isinstance(other.data, JournalConflict)
        assert "doubled_async" in str(other.data)

    run(journal, body)
    assert one(journal, "x") == before
    assert "x (doubled) ended as failure in attempt 0: JournalConflict" in caplog.text


def test_another_form_of_the_same_call(journal: Mortal) -> None:
    """SPEC 10.2: parallel or not, and each pipeline, is another task."""
    forms = [
        job(doubled, 2, id="x"),
        job(doubled, 2, id="x", parallel=True),
        job(doubled, 2, id="x", parallel=True).post(sum),
        job(doubled, 2, id="x", parallel=True).post(max),
        job(doubled, 2, id="x", parallel=True).filter(bool),
    ]

    async def body(jarvis: Majordomo) -> list[str]:
        tasks = [await jarvis.run(untyped(form)) for form in forms]
        return [type(task.data).__name__ for task in tasks]

    assert run(journal, body) == ["int", *["JournalConflict"] * 4]


def test_parts_take_their_names(journal: Mortal) -> None:
    """SPEC 7.8: no other task has the record of one of them at the same time."""
    ran: list[int] = []
    hold = trio.Event()

    async def part(x: int) -> int:
        ran.append(x)
        await hold.wait()
        return x

    async def body(jarvis: Majordomo) -> tuple[str, str]:
        whole = jarvis.add_task(job(part, 1, 2, id="x", parallel=True))
        await until(lambda: len(ran) == 2)
        other = await jarvis.run(part, 1, id="x/0")
        hold.set()
        return other.status, (await whole.receive()).status

    assert run(journal, body) == ("rejected", "success")


@pytest.mark.parametrize("end", ["drain", "stop"])
def test_a_parallel_task_that_is_looked_up_at_the_end(
    journal: Mortal, end: str
) -> None:
    """SPEC 7.2, 7.3: drain waits for it; and a success stays one whatever comes."""
    stages: list[str] = []

    def post(numbers: list[int]) -> int:
        stages.append("post")
        return sum(numbers)

    work = job(doubled, 1, 2, id="x", parallel=True).post(post)

    async def body(jarvis: Majordomo) -> object:
        channel = jarvis.add_task(work)
        if end == "drain":
            await jarvis.drain()
        elif stages:
            jarvis.stop()
        return (await channel.receive()).data

    assert run(journal, body) == 6
    before = one(journal, "x")
    assert run(journal, body) == 6
    assert one(journal, "x") == before
    assert stages == ["post"]


def test_a_part_that_is_missing_at_the_end(memory: Mortal) -> None:
    """SPEC 7.2: after stop nothing starts, though the whole was recorded."""
    ran: list[int] = []

    async def part(x: int) -> int:
        ran.append(x)
        return x

    async def body(jarvis: Majordomo) -> tuple[str, int]:
        channel = jarvis.add_task(job(part, 1, 2, id="x", parallel=True))
        if ran:
            jarvis.stop()
        status = (await channel.receive()).status
        return status, jarvis.statistics().waiting

    assert run(memory, body, max_workers=1) == ("success", 0)
    del untyped(memory.inner).records["x/1"]
    assert run(memory, body, max_workers=1) == ("cancelled", 0)
    assert sorted(ran) == [1, 2]
    assert one(memory, "x").status == "success"


@pytest.mark.parametrize("name", ["\ud800", "a\0b"])
def test_a_name_that_can_not_be_written(memory: Mortal, name: str) -> None:
    """SPEC 7.4: at once, and nothing is left of it."""

    async def body(jarvis: Majordomo) -> None:
        with pytest.raises(ValueError, match="id must be a text that can be recorded"):
            jarvis.add_task(doubled, 1, id=name)
        assert jarvis.statistics().waiting == 0

    run(memory, body)


def test_arguments_that_can_not_be_recorded(memory: Mortal) -> None:
    """SPEC 7.4: at once, with the place; without a name they are fine."""

    async def action(_: object) -> None:
        pass

    async def body(jarvis: Majordomo) -> None:
        with pytest.raises(
            TypeError, match=r"arguments of .*: \$\[0\]\[1\] is <object"
        ):
            jarvis.add_task(action, [1, object()], id="x")
        assert jarvis.statistics().waiting == 0
        await jarvis.get_task_data(action, object())

    run(memory, body)


def test_a_name_in_use_is_rejected(memory: Mortal) -> None:
    """SPEC 7.8: while a task of that name runs; that is none of the journal's."""

    async def body(jarvis: Majordomo) -> None:
        channel = jarvis.add_task(waits_for, 1, id="x")
        assert (await jarvis.run(waits_for, 1, id="x")).status == "rejected"
        await until(lambda: has_state(memory))
        channel.cancel()
        assert (await channel.receive()).status == "cancelled"

    run(memory, body)
    assert one(memory, "x").status == "cancelled"


def test_tasks_without_a_name_are_not_recorded(memory: Mortal) -> None:
    """SPEC 10.1: nor are the items of a map without one."""

    async def body(jarvis: Majordomo) -> None:
        await jarvis.run(doubled, 2)
        await jarvis.run(job(doubled, 1, 2, parallel=True))
        async with jarvis.map(doubled, [1, 2]) as results:
            assert [task.data async for task in results] == [2, 4]

    run(memory, body)
    assert not memory.batches
    assert not memory.reads


# Many under one name


NUMBER: contextvars.ContextVar[int] = contextvars.ContextVar("NUMBER")


def test_parts_see_the_context_of_their_addition(memory: Mortal) -> None:
    """SPEC 7.4: though they are made when the journal has answered."""

    async def part(_: int) -> int:
        return NUMBER.get()

    async def body(jarvis: Majordomo) -> list[int]:
        NUMBER.set(5)
        channel = jarvis.add_task(job(part, 1, 2, parallel=True, id="x"))
        NUMBER.set(6)
        return await channel.result()

    assert run(memory, body) == [5, 5]


def test_parallel_tasks_go_on(journal: Mortal) -> None:
    """SPEC 10.1: each part is recorded; those that succeeded are not run again."""
    ran: list[int] = []
    broken = {2, 3}

    async def part(x: int) -> int:
        ran.append(x)
        if x in broken:
            raise ValueError(x)
        return 10 * x

    work = job(part, 1, 2, 3, 4, parallel=True, id="x", retries=0).post(sum)

    async def body(jarvis: Majordomo) -> Task[object]:
        return await jarvis.run(work)

    first = run(journal, body)
    assert (first.status, first.data) == ("mixed", 50)
    assert [task.id for task in first.subtasks] == ["x/0", "x/1", "x/2", "x/3"]
    broken.clear()
    second = run(journal, body)
    assert (second.status, second.data) == ("success", 100)
    assert sorted(ran) == [1, 2, 2, 3, 3, 4]
    assert [task.data for task in second.subtasks] == [10, 20, 30, 40]
    third = run(journal, body)
    assert third == second
    assert third.subtasks == second.subtasks
    assert third.attempts == second.attempts
    assert len(ran) == 6


def test_the_pipeline_of_a_success_is_not_run_again(journal: Mortal) -> None:
    """SPEC 10.2: what is delivered is what was delivered, typed by the last stage."""
    runs: list[str] = []

    def paths(numbers: list[int]) -> list[Path]:
        runs.append("post")
        return [Path(str(number)) for number in numbers]

    for work in (
        job(doubled, 1, 2, parallel=True, id="parallel").post(paths),
        job(lists, id="alone").filter(bool).sort().post(paths),
    ):

        async def body(jarvis: Majordomo) -> list[Path]:
            return await jarvis.get_task_data(work)  # noqa: B023 - called at once

        first = run(journal, body)
        assert run(journal, body) == first == [Path("2"), Path("4")]
    assert runs == ["post", "post"]


def lists() -> list[int]:
    return [4, 0, 2]


def test_a_filter_keeps_the_type(journal: Mortal) -> None:
    """SPEC 10.4: its data are a list of what the action returned."""

    async def body(jarvis: Majordomo) -> list[Progress]:
        return await jarvis.get_task_data(job(several, id="x").filter(bool))

    assert run(journal, body) == run(journal, body) == [Progress(1), Progress(2)]


def several() -> tuple[Progress, ...]:
    return Progress(1), Progress(2)


def test_other_parts_are_a_conflict(journal: Mortal) -> None:
    """SPEC 10.2: of the whole; none of the parts is run."""

    async def body(jarvis: Majordomo) -> Task[object]:
        await jarvis.run(job(doubled, 1, 2, parallel=True, id="x"))
        return await jarvis.run(job(doubled, 1, 3, parallel=True, id="x"))

    task = run(journal, body)
    assert isinstance(task.data, JournalConflict)
    assert not task.subtasks


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("kind", ["plain", "async"])
@pytest.mark.parametrize("observed", [True, False])
def test_a_map_goes_on(
    journal: Mortal,
    ordered: bool,
    kind: str,
    observed: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SPEC 10.1: whatever part of it the journal has, each item is delivered once."""
    monkeypatch.setattr(majordomo2._past, "PAGE", 7)
    ran: list[int] = []
    broken = {3, 17, 18, 39}

    async def item(x: int) -> Progress:
        ran.append(x)
        update_data([x])
        if x in broken:
            raise ValueError(x)
        return Progress(x)

    async def source(numbers: range) -> object:
        for number in numbers:
            yield number

    async def body(
        jarvis: Majordomo, numbers: range
    ) -> list[tuple[str, str, object, object]]:
        items: Iterable[int] = untyped(numbers if kind == "plain" else source(numbers))
        async with jarvis.map(
            item, items, id="x", retries=0, ordered=ordered
        ) as results:
            found: list[tuple[str, str, object, object]] = [
                (task.id, task.status, task.data, task.state) async for task in results
            ]
        assert jarvis.statistics().finished["success"] == sum(
            status == "success" for _, status, _, _ in found
        )
        return found if ordered else sorted(found, key=lambda each: int(each[0][2:]))

    observers = [Observer()] if observed else []
    first = run(journal, lambda jarvis: body(jarvis, range(40)), observers=observers)
    assert sorted(ran) == list(range(40))
    broken.clear()
    ran.clear()
    second = run(journal, lambda jarvis: body(jarvis, range(60)), observers=observers)
    assert sorted(ran) == [3, 17, 18, 39, *range(40, 60)]
    assert second == [(f"x/{n}", "success", Progress(n), [n]) for n in range(60)]
    assert [each for each in first if each[1] == "success"] == [
        each for each in second[:40] if int(each[0][2:]) not in (3, 17, 18, 39)
    ]
    ran.clear()
    third = run(journal, lambda jarvis: body(jarvis, range(60)), observers=observers)
    assert third == second
    assert not ran


def test_a_key_names_the_items(journal: Mortal) -> None:
    """SPEC 10.1: so the source may have changed in between."""

    async def body(jarvis: Majordomo, words: list[str]) -> list[tuple[str, int]]:
        async with jarvis.map(len, words, id="x", key=str.upper) as results:
            return [(task.id, task.result()) async for task in results]

    first = run(journal, lambda jarvis: body(jarvis, ["a", "bb", "ccc"]))
    assert first == [("x/A", 1), ("x/BB", 2), ("x/CCC", 3)]
    before = len(started(journal))
    second = run(journal, lambda jarvis: body(jarvis, ["ccc", "dddd", "a", "bb"]))
    assert second == [("x/CCC", 3), ("x/DDDD", 4), ("x/A", 1), ("x/BB", 2)]
    assert len(started(journal)) == before + 1


def test_items_that_changed_their_places(journal: Mortal) -> None:
    """SPEC 10.2: without a key that is a conflict for each of them."""

    async def body(jarvis: Majordomo, words: list[str]) -> list[object]:
        async with jarvis.map(len, words, id="x") as results:
            return [task.data async for task in results]

    assert run(journal, lambda jarvis: body(jarvis, ["a", "bb"])) == [1, 2]
    swapped = run(journal, lambda jarvis: body(jarvis, ["bb", "a"]))
    assert [type(data) for data in swapped] == [JournalConflict, JournalConflict]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (3, "key must be a function"),
        (doubled_async, "key must be a plain function"),
    ],
)
def test_a_bad_key(memory: Mortal, key: object, message: str) -> None:
    """SPEC 7.4: at once."""

    async def body(jarvis: Majordomo) -> None:
        with pytest.raises(TypeError, match=message):
            jarvis.map(doubled, [1], id="x", key=untyped(key))

    run(memory, body)


def test_a_key_without_a_name(memory: Mortal) -> None:
    """SPEC 7.4: there is nothing that it could name an item under."""

    async def body(jarvis: Majordomo) -> None:
        with pytest.raises(TypeError, match="give id= too"):
            jarvis.map(doubled, [1], key=str)

    run(memory, body)


@pytest.mark.parametrize("name", [None, 1.5, ""])
def test_a_key_that_names_nothing(memory: Mortal, name: object) -> None:
    """SPEC 7.9: the map ends as with a source that raises."""

    def namer(_: object) -> object:
        return name

    async def body(jarvis: Majordomo) -> None:
        async with jarvis.map(doubled, [1], id="x", key=untyped(namer)) as out:
            with pytest.raises((TypeError, ValueError), match="key must return a"):
                await anext(out)

    run(memory, body)


def test_a_key_that_fails_later(memory: Mortal) -> None:
    """SPEC 7.9: those before it are delivered first."""

    def key(x: int) -> str:
        if x == 3:
            raise ZeroDivisionError
        return str(x)

    async def body(jarvis: Majordomo) -> list[object]:
        found: list[object] = []
        async with jarvis.map(doubled, range(9), id="x", key=key) as results:
            with pytest.raises(ZeroDivisionError):  # noqa: PT012 - wherever it is
                async for task in results:
                    found.append(task.data)  # noqa: PERF401 - until it raises
        return found

    assert run(memory, body) == [0, 2, 4]
    assert run(memory, body) == [0, 2, 4]


@pytest.mark.parametrize("stays", [True, False])
def test_a_source_that_raises_while_it_is_recalled(memory: Mortal, stays: bool) -> None:
    """SPEC 7.9: what was read before is delivered first, then the error."""

    async def body(jarvis: Majordomo) -> list[object]:
        found: list[object] = []

        def source() -> object:
            yield from range(5)
            raise ZeroDivisionError

        async with jarvis.map(doubled, untyped(source()), id="x") as results:
            with pytest.raises(ZeroDivisionError):  # noqa: PT012 - wherever it is
                async for task in results:
                    found.append(task.data)  # noqa: PERF401 - until it raises
        return found

    assert run(memory, body) == [0, 2, 4, 6, 8]
    if not stays:
        untyped(memory.inner).records.pop("x/2")
    assert run(memory, body) == [0, 2, 4, 6, 8]


def test_a_success_that_the_source_does_not_come_to(memory: Mortal) -> None:
    """SPEC 7.9: it holds nobody up: the next items start as soon as there is room."""
    waiting: set[int] = set()
    first = trio.Event()

    async def item(x: int) -> int:
        waiting.add(x)
        if x == 0:
            await first.wait()
        if x == 30:
            first.set()
        return x

    async def body(jarvis: Majordomo, numbers: Iterable[int]) -> list[object]:
        async with jarvis.map(
            item, numbers, id="x", key=str, ordered=False, max_in_flight=20
        ) as results:
            return [task.data async for task in results]

    first.set()
    run(memory, lambda jarvis: body(jarvis, [99, 98]))
    first = trio.Event()
    assert len(run(memory, lambda jarvis: body(jarvis, range(40)))) == 40


def test_large_results_come_a_few_at_a_time(tmp_path: Path) -> None:
    """SPEC 10.1: memory is bounded by what is in flight, not by what was recorded."""
    journal = SQLiteJournal(tmp_path / "work.db")
    journal.open()
    text = "x" * 400_000
    journal.write(
        [
            Record(
                f"x/{n}",
                f"{__name__}.large",
                f"[{n}]",
                "success",
                1,
                None,
                f'"{text}"',
                0,
            )
            for n in range(100)
        ]
    )
    assert len(journal.successes("x/", 0, 5000).ids) == 3
    journal.close()
    lengths: list[int] = []

    async def body(jarvis: Majordomo) -> None:
        async with jarvis.map(large, range(100), id="x", max_in_flight=5) as results:
            async for task in results:
                lengths.append(len(task.result()))  # noqa: PERF401 - and nothing more

    tracemalloc.start()
    run(journal, body)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert lengths == [400_000] * 100
    assert peak < 25_000_000


async def large(_: int) -> str:
    raise AssertionError


def test_a_page_that_is_slow_to_come(memory: Mortal) -> None:
    """SPEC 10.1: whoever waits for it is not told by another transaction before."""
    successes, read = memory.inner.successes, memory.inner.read
    reads: list[str] = []

    def slow(prefix: str, after: int, limit: int, /) -> Successes:
        time.sleep(0.05)
        return successes(prefix, after, limit)

    def slow_too(ids: Sequence[str], /) -> Sequence[Record | None]:
        reads.extend(ids)
        time.sleep(0.05)
        return read(ids)

    async def body(jarvis: Majordomo) -> list[object]:
        other = jarvis.add_task(doubled_async, 1, id="other")
        async with jarvis.map(doubled_async, range(3), id="x") as results:
            found = [task.data async for task in results]
        await other.receive()
        return found

    assert run(memory, body) == [0, 2, 4]
    memory.inner.successes = slow  # type: ignore[method-assign]
    memory.inner.read = slow_too  # type: ignore[method-assign]
    assert run(memory, body) == [0, 2, 4]
    assert reads == ["other"]  # a page that is not full is as good as others


def test_leaving_a_recalled_map_early(memory: Mortal) -> None:
    """SPEC 7.9: the source is closed, and no more of it is read than there is room."""
    read: list[int] = []
    closed: list[bool] = []

    def source() -> object:
        try:
            for n in range(1000):
                read.append(n)
                yield n
        finally:
            closed.append(True)

    async def whole(jarvis: Majordomo) -> None:
        async with jarvis.map(doubled, range(100), id="x") as results:
            assert len([task async for task in results]) == 100

    async def begins(jarvis: Majordomo) -> object:
        async with jarvis.map(
            doubled, untyped(source()), id="x", max_in_flight=10
        ) as results:
            return (await anext(results)).data

    run(memory, whole)
    assert run(memory, begins) == 0
    assert read == list(range(10))
    assert closed == [True]


# What can be recorded


EVERYTHING = Everything(
    Struct(
        [{"when": datetime(2026, 1, 2, tzinfo=UTC), "path": Path("a/b")}], Colour.RED
    ),
    [Point(1, 2)],
    frozenset({"a"}),
)


async def everything(x: Everything) -> Everything:
    """It saves what it is given, and returns it."""
    state = TaskState[Everything](lambda: x)
    if state.get() != x:
        raise AssertionError
    state.update(x)
    return x


def test_types_come_back(journal: Mortal) -> None:
    """SPEC 10.4: dataclasses, typed dicts, structs, enums, datetimes, paths, bytes."""

    async def body(jarvis: Majordomo) -> Task[object]:
        return await jarvis.run(everything, EVERYTHING, id="x")

    first, second = run(journal, body), run(journal, body)
    assert first.data == second.data == EVERYTHING
    assert TaskState[Everything](untyped(dict)).of(second) == EVERYTHING


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (TaskState(Counted), Counted(4)),
        (TaskState(lambda: Progress(0)), Progress(4)),
        (TaskState[Progress](untyped(lambda: None)), Progress(4)),
        (TaskState[object](lambda: None), {"done": 4}),
        (TaskState[dict[str, int]](dict), {"done": 4}),
    ],
)
def test_a_state_is_decoded_to_its_type(
    memory: Mortal, key: TaskState[object], expected: object
) -> None:
    """SPEC 4.12, 10.4: whatever says the type of a `TaskState`."""

    async def until_saved(jarvis: Majordomo) -> None:
        jarvis.add_task(waits_for, {"done": 4}, id="x")
        await until(lambda: has_state(memory))

    async def body(jarvis: Majordomo) -> None:
        async def waits_for(_: object) -> None:
            assert current_task_data() == {"done": 4}
            first = key.get()
            assert first == expected
            assert type(first) is type(expected)
            assert key.get() is first
            assert current_task_data() is first

        waits_for.__module__, waits_for.__qualname__ = "journal_actions", "waits_for"
        await jarvis.get_task_data(waits_for, {"done": 4}, id="x")

    cut_short(memory, until_saved)
    run(Mortal(memory.inner), body)


@pytest.mark.parametrize("runner", ["thread", "process"])
def test_a_state_that_can_not_be_recorded(memory: Mortal, runner: RunnerName) -> None:
    """SPEC 10.4: `update_data` raises, and names the field."""

    async def body(jarvis: Majordomo) -> None:
        task = await jarvis.run(
            saves_what_can_not_be_said, id="x", runner=runner, retries=0
        )
        assert isinstance(task.data, TypeError)
        assert "the state of 'x' can't be recorded: $.items[1].when is <object" in str(
            task.data
        )

    run(memory, body)


class Odd:
    """JSON can't say it."""

    def __repr__(self) -> str:
        return "Odd()"


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (Odd(), "$ is Odd(), a Odd,"),
        ([1, {"a b": Odd()}], "$[1]['a b'] is Odd(), a Odd,"),
        (Progress(untyped(Odd())), "$.done is Odd(), a Odd,"),
        (Struct(untyped([Odd()]), Colour.RED), "$.rows[0] is Odd(), a Odd,"),
        ({"rate": float("nan")}, "$.rate is nan, a float,"),
        ([None, float("inf")], "$[1] is inf, a float,"),
        ({(1, 2): 3}, "$ as a key is (1, 2), a tuple,"),
        ({1: Odd()}, "$[1] is Odd(), a Odd,"),
        ("\ud800", "$ is '\\ud800', a str,"),
    ],
)
def test_the_place_of_what_can_not_be_said(
    memory: Mortal, value: object, place: str
) -> None:
    """SPEC 10.4: as JSON's paths have it."""

    async def action() -> None:
        with pytest.raises(TypeError) as caught:
            update_data(value)
        assert f"the state of 'x' can't be recorded: {place}" in str(caught.value)
        assert current_task_data() == {}

    async def body(jarvis: Majordomo) -> None:
        await jarvis.get_task_data(action, id="x")

    run(memory, body)


async def pair() -> object:
    return 1, 2


async def liar() -> int:
    lie: int = untyped("no int")
    return lie


async def odd() -> object:
    return {"a": [Odd()]}


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (pair, "would come back as [1, 2]: object, as it is annotated, does not say"),
        (liar, "'no int' is not int, as is said of it: Expected `int`"),
        (odd, "$.a[0] is Odd()"),
    ],
)
def test_a_result_that_can_not_be_recorded(
    memory: Mortal,
    action: Callable[[], Awaitable[object]],
    message: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """SPEC 10.4: a final failure, as a result that would come back as another is none."""

    async def body(jarvis: Majordomo) -> None:
        task = await jarvis.run(action, id="x")
        assert (task.status, task.attempts) == ("failure", 1)
        assert isinstance(task.data, TypeError)
        assert message in str(task.data)

    run(memory, body)
    assert one(memory, "x").status == "failure"
    assert "ended as failure" in caplog.text


def test_a_state_that_holds_itself(memory: Mortal) -> None:
    """SPEC 10.4: it is refused, and nothing hangs."""

    async def action() -> list[object]:
        endless: list[object] = []
        endless.append(endless)
        with pytest.raises(
            TypeError, match="the state of 'x' can't be recorded: it holds"
        ):
            update_data(endless)
        return endless

    async def body(jarvis: Majordomo) -> None:
        task = await jarvis.run(action, id="x")
        assert "it holds itself" in str(task.data)

    run(memory, body)


@dataclass
class Quarrelsome:
    """It compares with nobody."""

    x: int

    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError

    __hash__ = None  # type: ignore[assignment]


async def quarrels() -> Quarrelsome:
    return Quarrelsome(1)


def test_a_result_that_can_not_be_compared(memory: Mortal) -> None:
    """SPEC 10.4: a failure of the task, and not of the journal."""

    async def body(jarvis: Majordomo) -> None:
        task = await jarvis.run(quarrels, id="x")
        assert (task.status, "would come back as" in str(task.data)) == (
            "failure",
            True,
        )

    run(memory, body)


def test_a_state_key_that_would_come_back_as_another(memory: Mortal) -> None:
    """SPEC 10.4: it is refused where it is saved."""
    key = TaskState[object](lambda: None)

    async def action() -> None:
        key.update([1])
        with pytest.raises(TypeError, match=r"would come back as \[1, 2\]"):
            key.update((1, 2))
        with pytest.raises(TypeError, match="would come back"):
            await key.checkpoint((1, 2))
        with pytest.raises(TypeError, match="would come back"):
            await trio.to_thread.run_sync(key.checkpoint_sync, (1, 2))

    async def body(jarvis: Majordomo) -> None:
        await jarvis.get_task_data(action, id="x")

    run(memory, body)


# What no longer fits


@pytest.mark.parametrize("afresh", [False, True])
def test_data_that_no_longer_fit(journal: Mortal, afresh: bool) -> None:
    """SPEC 10.2: an error names the task and the field, or it starts anew."""
    ran: list[int] = []

    async def old(jarvis: Majordomo) -> None:
        def action(x: int) -> dict[str, object]:
            return {"done": [x, "many"]}

        action.__qualname__ = "action"
        await jarvis.get_task_data(action, 1, id="x")

    async def new(jarvis: Majordomo) -> Task[object]:
        def action(x: int) -> dict[str, list[int]]:
            ran.append(x)
            return {"done": [x]}

        action.__qualname__ = "action"
        return await jarvis.run(action, 1, id="x")

    run(journal, old)
    task = run(journal, new, journaling=Journaling(afresh=afresh))
    if afresh:
        assert task.data == {"done": [1]}
        assert ran == [1]
    else:
        assert isinstance(task.data, JournalError)
        assert "the data of 'x' is recorded as" in str(task.data)
        assert "Expected `int`, got `str` - at `$[...][1]`" in str(task.data)
        assert not ran
        assert one(journal, "x").status == "success"  # nothing is lost


@pytest.mark.parametrize("afresh", [False, True])
@pytest.mark.parametrize("runner", ["thread", "process"])
def test_a_state_that_no_longer_fits(
    journal: Mortal, afresh: bool, runner: RunnerName
) -> None:
    """SPEC 10.4: a final failure that names the field, or the first state."""

    async def until_saved(jarvis: Majordomo) -> None:
        jarvis.add_task(waits_for, {"done": "3"}, id="x")
        await until(lambda: has_state(journal))
        journal.inner.write(
            [
                record._replace(
                    action="journal_actions.counts_in_place", arguments="[2]"
                )._replace(id="y")
                for batch in journal.batches
                for record in batch
                if record.state
            ]
        )

    async def body(jarvis: Majordomo) -> Task[object]:
        return await jarvis.run(counts_in_place, 2, id="y", runner=runner)

    cut_short(journal, until_saved)
    task = run(Mortal(journal.inner), body, journaling=Journaling(afresh=afresh))
    if afresh:
        assert task.data == Progress(2)
    else:
        assert isinstance(task.data, JournalError)
        assert "the state of 'y' is recorded as" in str(task.data)
        assert "Expected `int`, got `str` - at `$.done`" in str(task.data)
        assert task.attempts == 2
        assert one(journal, "y").state == '{"done":"3"}'


@dataclass
class Renamed:
    """It had a field `words` once."""

    page: int
    word_count: int = 0


@pytest.mark.parametrize("afresh", [False, True])
def test_a_field_that_is_gone(memory: Mortal, afresh: bool) -> None:
    """SPEC 10.2: it is not dropped in silence; a field that is new has its default."""
    key = TaskState(lambda: Renamed(0))
    seen: list[Renamed] = []

    async def waits_for(_: object) -> None:
        seen.append(key.get())

    waits_for.__module__, waits_for.__qualname__ = "journal_actions", "waits_for"

    async def until_saved(jarvis: Majordomo) -> None:
        jarvis.add_task(OLD, {"page": 6, "words": 60}, id="x")
        jarvis.add_task(OLD, {"page": 6}, id="y")
        await until(lambda: len(states(memory)) == 2)

    async def body(jarvis: Majordomo) -> list[Task[object]]:
        return [
            await jarvis.run(waits_for, {"page": 6, "words": 60}, id="x"),
            await jarvis.run(waits_for, {"page": 6}, id="y"),
        ]

    cut_short(memory, until_saved)
    again = Mortal(memory.inner)
    first, second = run(again, body, journaling=Journaling(afresh=afresh))
    assert second.status == "success"
    if afresh:
        assert seen == [Renamed(0), Renamed(6)]
        assert first.state == {}
        assert key.of(first) is None
    else:
        assert seen == [Renamed(6)]
        assert "there is no field for `$.words` any more" in str(first.data)


OLD = waits_for


def states(journal: Mortal) -> set[object]:
    return {record.id for batch in journal.batches for record in batch if record.state}


def test_one_of_many_that_no_longer_fits(journal: Mortal) -> None:
    """SPEC 10.2: in a map the others are delivered all the same."""

    async def body(jarvis: Majordomo) -> list[object]:
        async with jarvis.map(doubled_async, range(5), id="x") as results:
            return [task.data async for task in results]

    run(journal, body)
    wrong = one(journal, "x/2")._replace(data='"four"')
    journal.inner.open()
    journal.inner.write([wrong])
    journal.inner.close()
    found = run(journal, body)
    assert [found[n] for n in (0, 1, 3, 4)] == [0, 2, 6, 8]
    assert isinstance(found[2], JournalError)
    assert "the data of 'x/2' is recorded as" in str(found[2])


def test_pickles(journal: Mortal) -> None:
    """SPEC 10.4: what JSON can't say, with a warning; JSON never loads them."""
    with pytest.warns(UserWarning, match="runs whatever code its writer put into it"):
        pickled = Journaling(pickle=True)

    async def body(jarvis: Majordomo) -> Task[object]:
        return await jarvis.run(imaginary, 2j, id="x")

    async def many(jarvis: Majordomo) -> list[object]:
        async with jarvis.map(imaginary, [1j, 2j], id="m") as results:
            return [task.data async for task in results]

    for _ in range(2):
        task = run(journal, body, journaling=pickled)
        assert (task.data, task.state) == (4j, {2j})
        assert run(journal, many, journaling=pickled) == [2j, 4j]
    assert isinstance(one(journal, "x").data, bytes)
    record = one(journal, "x")._replace(
        arguments="[1]", id="y", action=__name__ + ".one_"
    )
    journal.inner.open()
    journal.inner.write([record])
    journal.inner.close()

    async def plain(jarvis: Majordomo) -> Task[object]:
        return await jarvis.run(one_, 1, id="y")

    task = run(journal, plain)
    assert isinstance(task.data, JournalError)
    assert "recorded as a pickle" in str(task.data)


def one_(x: int) -> int:
    return x


async def imaginary(x: complex) -> complex:
    update_data({x})
    return 2 * x


# When the journal fails


@pytest.mark.parametrize("pickled", [True, False])
def test_the_other_way_to_encode(memory: Mortal, pickled: bool) -> None:
    """SPEC 10.4: a journal that was kept with pickle, or without it; it says which."""
    with pytest.warns(UserWarning, match="runs whatever code"):
        ways = {True: Journaling(pickle=True), False: Journaling()}

    async def body(jarvis: Majordomo) -> object:
        return (await jarvis.run(doubled_async, 1, id="x")).data

    run(memory, body, journaling=ways[pickled])
    error = run(memory, body, journaling=ways[not pickled])
    wanted = "with" if pickled else "without"
    assert f"'x' was recorded {wanted} pickle=True" in str(error)


def test_another_function_over_the_same_source(journal: Mortal) -> None:
    """SPEC 10.2: of a map, each item is a conflict."""

    async def body(
        jarvis: Majordomo, action: Callable[[int], Awaitable[int]]
    ) -> list[object]:
        async with jarvis.map(action, range(3), id="x") as results:
            return [type(task.data) async for task in results]

    assert run(journal, lambda jarvis: body(jarvis, doubled_async)) == [int] * 3
    assert run(journal, lambda jarvis: body(jarvis, halved)) == [JournalConflict] * 3


async def halved(x: int) -> int:
    return x // 2


def test_items_whose_names_are_taken(memory: Mortal) -> None:
    """SPEC 7.8: a task of that name runs, so the item is rejected."""

    async def body(jarvis: Majordomo) -> list[str]:
        channel = jarvis.add_task(waits_for, 1, id="x/1")
        async with jarvis.map(doubled_async, range(3), id="x") as results:
            found: list[str] = [task.status async for task in results]
        channel.cancel()
        return found

    assert run(memory, body) == ["success", "rejected", "success"]


def test_more_tasks_than_a_batch(memory: Mortal) -> None:
    """SPEC 10.1: any number may be added at once."""

    async def body(jarvis: Majordomo) -> int:
        channels = [jarvis.add_task(doubled_async, n, id=f"t/{n}") for n in range(2500)]
        return sum([await channel.result() for channel in channels])

    assert run(memory, body) == run(memory, body) == 2499 * 2500
    assert max(len(batch) for batch in memory.batches) <= 1000


def test_a_method_and_a_partial(memory: Mortal) -> None:
    """SPEC 10.2: they are known by what they call."""

    class Service:
        async def ask(self, x: int) -> int:
            return x

    async def body(jarvis: Majordomo) -> list[int]:
        bound = functools.partial(doubled, 4)
        return [
            await jarvis.get_task_data(Service().ask, 3, id="method"),
            await jarvis.get_task_data(bound, id="partial"),
        ]

    assert run(memory, body) == run(memory, body) == [3, 8]


class Unsayable(Exception):
    """Its message can't be made."""

    def __str__(self) -> str:
        raise ZeroDivisionError


def test_a_cause_that_can_not_be_said(memory: Mortal) -> None:
    """SPEC 10.1: its class is recorded."""

    async def action() -> None:
        raise Unsayable

    async def body(jarvis: Majordomo) -> None:
        await jarvis.run(action, id="x", retries=0)

    logging.getLogger("majordomo2").disabled = True  # which would say it
    try:
        run(memory, body)
    finally:
        logging.getLogger("majordomo2").disabled = False
    assert one(memory, "x").data == "Unsayable"


def test_a_checkpoint_in_a_thread_when_the_journal_fails(memory: Mortal) -> None:
    """SPEC 10.5: whoever waits is told, and nobody for ever."""
    told: list[str] = []

    def fail(records: Sequence[Record]) -> None:
        if any(record.state for record in records):
            raise Full("no space")

    def action() -> None:
        try:
            checkpoint_sync(1)
        except JournalError as error:
            told.append(str(error))
            raise

    async def body(jarvis: Majordomo) -> None:
        memory.before = fail
        jarvis.add_task(action, id="x")
        await trio.sleep_forever()

    with pytest.raises(JournalError, match="no space"):
        run(memory, body)
    assert "no space" in told[0]


def test_a_cause_that_no_file_can_hold(journal: Mortal) -> None:
    """SPEC 7.1: it harms nobody else."""

    async def action() -> None:
        raise ValueError("caf\udce9")

    async def body(jarvis: Majordomo) -> str:
        return (await jarvis.run(action, id="x", retries=0)).status

    assert run(journal, body) == "failure"
    assert one(journal, "x").data == "ValueError: caf\\udce9"


class Full(Exception):
    """What a journal raises."""


@pytest.mark.parametrize("when", ["start", "state", "result"])
def test_a_journal_that_fails(memory: Mortal, when: str) -> None:
    """SPEC 10.5: the instance ends with a clear error; nothing goes on unrecorded."""
    received: list[str] = []
    went_on: list[bool] = []

    def fail(records: Sequence[Record]) -> None:
        for record in records:
            if (when == "state" and record.state) or record.status == "success":
                raise Full("no space")
            if when == "start":
                raise Full("no space")

    async def action() -> None:
        if when == "state":
            await checkpoint(1)
            went_on.append(True)

    async def body(jarvis: Majordomo) -> None:
        memory.before = fail
        channel = jarvis.add_task(action, id="x")
        other = jarvis.add_task(trio.sleep_forever)
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                received.append((await channel.receive()).status)
                received.append((await other.receive()).status)

    with pytest.raises(JournalError, match="no space") as caught:
        run(memory, body)
    assert isinstance(caught.value.__cause__, Full)
    assert received == ["cancelled", "cancelled"]
    assert not went_on


def test_a_journal_that_can_not_be_read(memory: Mortal) -> None:
    """SPEC 10.5: the same."""

    def fail(ids: Sequence[str]) -> list[Record | None]:
        raise Full("bad page")

    memory.inner.read = fail  # type: ignore[method-assign]

    async def body(jarvis: Majordomo) -> None:
        jarvis.add_task(doubled, 1, id="x")
        await trio.sleep_forever()

    with pytest.raises(JournalError, match="bad page"):
        run(memory, body)


def test_a_journal_that_can_not_be_opened(memory: Mortal) -> None:
    """SPEC 10.5: the block is not entered."""

    def fail() -> None:
        raise JournalError("not mine")

    memory.inner.open = fail  # type: ignore[method-assign]

    async def body(_: Majordomo) -> None:
        raise AssertionError

    with pytest.raises(JournalError, match="not mine"):
        run(memory, body)


@pytest.mark.parametrize("end", ["stop", "cancel", "error", "outside", "total_timeout"])
def test_the_end_comes_while_the_journal_is_slow(memory: Mortal, end: str) -> None:
    """SPEC 7.2: no receiver hangs, and what the journal has is not changed."""
    asked, held = threading.Event(), threading.Event()
    untyped(memory.inner).records["done"] = Record(
        "done", "journal_actions.doubled_async", "[1]", "success", 1, None, "2", 0.0
    )
    read = memory.inner.read

    def slow(ids: Sequence[str]) -> Sequence[Record | None]:
        asked.set()
        held.wait(60)
        return read(ids)

    memory.inner.read = slow  # type: ignore[method-assign]
    received: dict[str, str] = {}

    async def receives(jarvis: Majordomo) -> None:
        options = {"total_timeout": 0.01} if end == "total_timeout" else {}
        channels = [
            jarvis.add_task(doubled_async, n, id=name, **untyped(options))
            for n, name in enumerate(["new", "done"])
        ]
        with trio.CancelScope(shield=True):
            await until(asked.is_set)
            if end == "stop":
                jarvis.stop()
            elif end == "cancel":
                for channel in channels:
                    channel.cancel()
            elif end == "total_timeout":
                await trio.sleep(0.05)
            else:
                jarvis.add_task(let_go, held)
            held.set()
            for channel in channels:
                received[channel.id] = (await channel.receive()).status

    async def body(jarvis: Majordomo) -> None:
        if end == "error":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(receives, jarvis)
                await until(asked.is_set)
                raise ZeroDivisionError
        with trio.CancelScope() as scope:
            if end == "outside":
                scope.cancel()
            await receives(jarvis)

    if end == "error":
        with pytest.raises(ExceptionGroup):
            run(memory, body)
    else:
        run(memory, body)
    expected = {
        "stop": "cancelled",
        "cancel": "cancelled",
        "error": "success",
        "outside": "success",
        "total_timeout": "timeout",
    }
    assert received == {"done": "success", "new": expected[end]}
    assert one(memory, "done").data == "2"


async def let_go(held: threading.Event) -> None:
    held.set()


def test_the_slot_of_a_recalled_task_is_free(memory: Mortal) -> None:
    """SPEC 7.7: what is delivered from the journal keeps nobody from starting."""

    async def body(jarvis: Majordomo) -> list[object]:
        channels = [
            jarvis.add_task(doubled_async, 1, id="x"),
            jarvis.add_task(doubled_async, 2),
        ]
        return [await channel.result() for channel in channels]

    assert run(memory, body, max_workers=1) == [2, 4]
    assert run(memory, body, max_workers=1) == [2, 4]


def test_who_is_counted_starts(memory: Mortal) -> None:
    """SPEC 10.2: a task that came first, and whose attempt counts, is not overtaken."""
    order: list[str] = []

    async def action(name: str) -> None:
        if name == "plain":
            ids = {record.id for batch in memory.batches for record in batch}
            assert ids == {"x"}
        order.append(name)

    async def body(jarvis: Majordomo) -> None:
        channels = [
            jarvis.add_task(action, "journaled", id="x", retries=0),
            jarvis.add_task(action, "plain", priority=9),
        ]
        for channel in channels:
            await channel.result()

    run(memory, body, max_workers=1)
    assert order == ["journaled", "plain"]


def test_a_budget_holds_up_what_is_not_counted(memory: Mortal) -> None:
    """SPEC 8.4, 10.2: resumed tasks are restarts; one that is held has not started."""
    records = untyped(memory.inner).records
    for name in ("a", "b"):
        records[name] = Record(
            name,
            "journal_actions.doubled_async",
            "[1]",
            "unspecified",
            1,
            None,
            None,
            0.0,
        )

    async def main() -> None:
        async with start_majordomo(journal=memory, restart_limit=(1, 1e6)) as jarvis:
            channels = [jarvis.add_task(doubled_async, 1, id=name) for name in "ab"]
            await until(lambda: any(channel.done for channel in channels))
            await until(lambda: jarvis.statistics().waiting == 1)
            jarvis.stop()

    trio.run(main)
    found = sorted((record.status, record.attempts) for record in records.values())
    assert found == [("cancelled", 1), ("success", 2)]


def test_never_more_than_the_workers(memory: Mortal) -> None:
    """SPEC 7.7: nor does the journal's slowness let more in."""
    running, most = 0, 0

    async def action(_: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(3):
            await trio.lowlevel.checkpoint()
        running -= 1

    async def body(jarvis: Majordomo) -> None:
        async with trio.open_nursery() as nursery:
            for n in range(100):
                nursery.start_soon(
                    partial_run, jarvis, action, n, f"x/{n}" if n % 3 else None
                )

    run(memory, body, max_workers=4)
    assert most == 4


async def partial_run(
    jarvis: Majordomo, action: Callable[[int], Awaitable[None]], n: int, id: str | None
) -> None:
    options = {} if id is None else {"id": id}
    await jarvis.run(action, n, **untyped(options))


def test_statistics_add_up(memory: Mortal) -> None:
    """SPEC 7.10: what waits for the journal waits."""
    seen: list[int] = []

    async def body(jarvis: Majordomo) -> None:
        channels = [jarvis.add_task(doubled_async, n, id=f"x/{n}") for n in range(5)]
        now = jarvis.statistics()
        seen.append(now.waiting + now.queued + now.running)
        for channel in channels:
            await channel.receive()
        after = jarvis.statistics()
        seen.append(after.waiting + after.queued + after.running)
        assert after.finished["success"] == 5

    run(memory, body)
    run(memory, body)
    assert seen == [5, 0, 5, 0]


def test_a_leftover_writes_nothing(memory: Mortal) -> None:
    """SPEC 4.8: an abandoned thread can't change the state that the next one has."""
    abandoned, go = threading.Event(), threading.Event()
    ended = threading.Event()
    attempts: list[int] = []

    def action() -> int:
        number = current_task().attempts
        attempts.append(number)
        if number == 1:
            abandoned.set()
            go.wait(60)
            try:
                update_data("stale")
            finally:
                ended.set()
        checkpoint_sync("fresh")
        go.set()
        ended.wait(60)
        checkpoint_sync("fresher")
        return number

    async def body(jarvis: Majordomo) -> object:
        return await jarvis.get_task_data(action, id="x", keepalive=0.2, retries=1)

    # The second attempt is silent while it waits for the leftover, but not for long.
    assert run(memory, body) == 2
    states = {record.state for batch in memory.batches for record in batch}
    assert states == {None, '"fresh"', '"fresher"'}


# Bad input


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"journal": "work.db"},
            TypeError,
            r"journal must be a Journal.*SQLiteJournal",
        ),
        ({"journal": MemoryJournal}, TypeError, "journal must be a Journal"),
        ({"journaling": Journaling()}, TypeError, "give journal= too"),
        (
            {"journal": MemoryJournal(), "journaling": 3},
            TypeError,
            "journaling must be a Journaling, not 3",
        ),
    ],
)
def test_a_bad_journal(
    options: dict[str, object], error: type[Exception], message: str
) -> None:
    """SPEC 7.4: at once."""
    with pytest.raises(error, match=message):
        start_majordomo(**untyped(options))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"delay": -1}, ValueError, "delay must be 0 seconds or more, not -1"),
        ({"delay": float("inf")}, ValueError, "delay must be 60 seconds at the most"),
        ({"delay": "1"}, TypeError, "delay must be a number of seconds"),
        ({"forgive": 1}, TypeError, "forgive must be True or False, not 1"),
        ({"afresh": None}, TypeError, "afresh must be True or False"),
        ({"pickle": "yes"}, TypeError, "pickle must be True or False"),
    ],
)
def test_bad_options(
    options: dict[str, object], error: type[Exception], message: str
) -> None:
    """SPEC 7.4: at once."""
    with pytest.raises(error, match=message):
        Journaling(**untyped(options))


def test_reprs() -> None:
    """What the options and journals show of themselves."""
    assert repr(Journaling(delay=0.0)) == (
        "Journaling(afresh=False, delay=0.0, forgive=False, pickle=False)"
    )
    assert repr(MemoryJournal()) == "<MemoryJournal of 0 tasks>"


def test_paths_of_any_kind(memory: Mortal) -> None:
    """SPEC 10.4: a pure path too, and a path among the arguments."""

    async def body(jarvis: Majordomo) -> PurePosixPath:
        return await jarvis.get_task_data(parent_of, PurePosixPath("a/b"), id="x")

    assert run(memory, body) == run(memory, body) == PurePosixPath("a")


async def parent_of(path: PurePosixPath) -> PurePosixPath:
    return path.parent
