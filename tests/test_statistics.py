"""`statistics()`: exact at every moment."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Mapping
from typing import Any

import pytest
import trio
import trio.testing

from majordomo2 import (
    Backoff,
    Majordomo,
    Statistics,
    Task,
    TaskStatus,
    current_task,
    failure,
    job,
    start_majordomo,
)
from majordomo2.abc import Observer
from support import untyped
from virtual import run, run_with

STATUSES: tuple[TaskStatus, ...] = (
    "success",
    "failure",
    "timeout",
    "mixed",
    "rejected",
    "cancelled",
)


class Sulk(Exception):
    """Raised by actions."""


async def fails() -> None:
    raise Sulk


async def value(data: object) -> object:
    return data


async def odd_ones_fail(number: int) -> None:
    if number % 2:
        failure()


def now(jarvis: Majordomo) -> tuple[int, int, int, int]:
    """Queued, running, waiting, finished."""
    found = jarvis.statistics()
    return (
        found.queued,
        found.running,
        found.waiting,
        sum(found.finished.values()),
    )


def added(found: Statistics) -> int:
    ended = sum(found.finished.values())
    return found.queued + found.running + found.waiting + ended


def test_of_a_new_instance() -> None:
    """SPEC 7.10: zero of everything, each status in it."""

    async def main(jarvis: Majordomo) -> None:
        found = jarvis.statistics()
        assert found == Statistics(0, 0, 0, dict.fromkeys(STATUSES, 0), 0, 0)
        assert set(found.finished) == set(STATUSES)

    run_with(main)


def test_every_status() -> None:
    """SPEC 7.10: finished by status; a subtask is a task too."""

    async def main(jarvis: Majordomo) -> None:
        await jarvis.run(value, 1)
        await jarvis.run(fails, retries=2)
        await jarvis.run(trio.sleep_forever, retries=1)
        await jarvis.run(job(odd_ones_fail, 0, 1, 2, parallel=True))
        first = jarvis.add_task(trio.sleep_forever, id="x", keepalive=math.inf)
        await jarvis.run(value, 1, id="x")
        first.cancel()
        await first.receive()
        found = jarvis.statistics()
        assert found.finished == {
            "success": 1 + 2,
            "failure": 1 + 1,
            "timeout": 1,
            "mixed": 1,
            "rejected": 1,
            "cancelled": 1,
        }
        assert found.restarts == 2 + 1
        assert added(found) == 9

    run_with(main)


def test_queued_and_running() -> None:
    """SPEC 7.10: from `add_task` on, before anything has moved."""

    async def main(jarvis: Majordomo) -> None:
        channels = [jarvis.add_task(trio.sleep, 1 + n / 8) for n in range(4)]
        assert now(jarvis) == (2, 2, 0, 0)
        await trio.sleep(0.5)
        assert now(jarvis) == (2, 2, 0, 0)
        channels[3].cancel()
        assert now(jarvis) == (1, 2, 0, 1)
        await channels[0].receive()
        assert now(jarvis) == (0, 2, 0, 2)
        await channels[1].receive()
        assert now(jarvis) == (0, 1, 0, 3)

    run_with(main, max_workers=2)


def test_waiting_in_a_backoff() -> None:
    """SPEC 7.10: waiting, not queued; then it runs again."""

    async def twice() -> None:
        if current_task().attempts == 1:
            raise Sulk
        await trio.sleep(1)

    async def main(jarvis: Majordomo) -> None:
        backoff = Backoff(initial=10, jitter=0)
        kept = jarvis.add_task(twice, backoff=backoff)
        lost = jarvis.add_task(twice, backoff=backoff)
        await trio.sleep(5)
        assert now(jarvis) == (0, 0, 2, 0)
        lost.cancel()
        assert now(jarvis) == (0, 0, 1, 1)
        assert jarvis.statistics().restarts == 0
        await trio.sleep(5.5)
        assert now(jarvis) == (0, 1, 0, 1)
        assert jarvis.statistics().restarts == 1
        await kept.receive()
        assert now(jarvis) == (0, 0, 0, 2)

    run_with(main)


def test_waiting_for_the_budget() -> None:
    """SPEC 7.10, 8.4: those that the budget holds wait, also while others are queued."""

    async def main() -> None:
        async with start_majordomo(max_workers=1, restart_limit=(1, 10)) as jarvis:
            channels = [jarvis.add_task(fails, retries=1) for _ in range(4)]
            await trio.sleep(1)
            assert now(jarvis) == (0, 0, 3, 1)
            channels[2].cancel()
            assert now(jarvis) == (0, 0, 2, 2)
            await trio.sleep(10)
            assert now(jarvis) == (0, 0, 1, 3)
            await trio.sleep(10)
            assert now(jarvis) == (0, 0, 0, 4)
            assert jarvis.statistics().restarts == 3

    run(main)


def test_waiting_for_subtasks() -> None:
    """SPEC 7.10: a parallel parent waits, and is in hand while its pipeline runs."""

    async def stage(data: object) -> object:
        await trio.sleep(5)
        return data

    async def main(jarvis: Majordomo) -> None:
        work = job(trio.sleep, 1, 2, parallel=True).post(stage)
        channel = jarvis.add_task(work)
        assert now(jarvis) == (1, 1, 1, 0)
        await trio.sleep(0.5)
        assert now(jarvis) == (1, 1, 1, 0)
        await trio.sleep(1)
        assert now(jarvis) == (0, 1, 1, 1)
        await trio.sleep(2)
        assert now(jarvis) == (0, 1, 0, 2)
        await channel.receive()
        assert now(jarvis) == (0, 0, 0, 3)

    run_with(main, max_workers=1)


def test_a_task_whose_pipeline_runs() -> None:
    """SPEC 5.2, 7.10: it is running still, although it holds no slot."""

    async def stage(data: object) -> object:
        await trio.sleep(5)
        return data

    async def main(jarvis: Majordomo) -> None:
        jarvis.add_task(job(value, 1).post(stage))
        jarvis.add_task(trio.sleep, 3)
        await trio.sleep(1)
        assert now(jarvis) == (0, 2, 0, 0)

    run_with(main, max_workers=1)


def test_who_lent_the_slot_is_running() -> None:
    """SPEC 7.7, 7.10: it is in its action."""

    async def main(jarvis: Majordomo) -> None:
        async def outer() -> None:
            await jarvis.run(trio.sleep, 3)

        channel = jarvis.add_task(outer)
        await trio.sleep(1)
        assert now(jarvis) == (0, 2, 0, 0)
        await channel.receive()
        assert now(jarvis) == (0, 0, 0, 2)

    run_with(main, max_workers=1)


def test_a_restart_that_was_cut_off_before_it_started() -> None:
    """SPEC 7.10: restarts are attempts that were started."""

    async def main(jarvis: Majordomo) -> None:
        channel = jarvis.add_task(fails, retries=math.inf)
        for _ in range(4):
            await trio.lowlevel.checkpoint()
        channel.cancel()
        task = await channel.receive()
        assert jarvis.statistics().restarts == task.attempts - 1

    run_with(main)


def test_after_stop() -> None:
    """SPEC 7.2, 7.10: queued ones have ended at once, running ones when they have."""

    async def slow_to_end() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)

    async def main() -> None:
        async with start_majordomo(max_workers=1) as jarvis:
            jarvis.add_task(slow_to_end)
            for _ in range(3):
                jarvis.add_task(value, 1)
            await trio.testing.wait_all_tasks_blocked()
            jarvis.stop()
            assert now(jarvis) == (0, 1, 0, 3)
        assert now(jarvis) == (0, 0, 0, 4)
        assert jarvis.statistics().finished["cancelled"] == 4

    run(main)


def test_abandoned_threads() -> None:
    """SPEC 7.10, 9.2: those that still run; up when abandoned, down when they end."""
    gates = [threading.Event() for _ in range(2)]
    inside = [threading.Event() for _ in range(2)]

    def action(number: int) -> None:
        inside[number].set()
        gates[number].wait(60)

    async def main() -> None:
        async with start_majordomo(max_workers=2) as jarvis:
            channels = [
                jarvis.add_task(action, number, keepalive=math.inf)
                for number in range(2)
            ]
            for each in inside:
                await trio.to_thread.run_sync(each.wait)
            assert jarvis.statistics().abandoned_threads == 0
            for number, channel in enumerate(channels):
                channel.cancel()
                await channel.receive()
                assert jarvis.statistics().abandoned_threads == number + 1
            assert now(jarvis) == (0, 0, 0, 2)
            for number, gate in enumerate(gates):
                gate.set()
                with trio.fail_after(30):
                    while jarvis.statistics().abandoned_threads > 1 - number:  # noqa: ASYNC110 - nobody tells
                        await trio.sleep(0.001)
            assert jarvis.statistics().abandoned_threads == 0

    trio.run(main)


def test_it_is_immutable() -> None:
    """SPEC 7.10: a record of one moment, which nobody can change."""

    async def main(jarvis: Majordomo) -> None:
        before = jarvis.statistics()
        with pytest.raises(AttributeError):
            untyped(before).queued = 3
        with pytest.raises(TypeError):
            untyped(before.finished)["success"] = 3
        await jarvis.run(value, 1)
        assert before.finished["success"] == 0
        assert before != jarvis.statistics()
        assert isinstance(before.finished, Mapping)

    run_with(main)


@pytest.mark.parametrize(
    "at",
    [
        "attempt_started",
        "attempt_ended",
        "restarting",
        "task_finished",
        pytest.param(
            "task_added",
        ),
    ],
)
def test_it_adds_up_in_an_observer(at: str) -> None:
    """SPEC 7.10: at every moment, those of the events too."""
    count = 0
    sums: list[tuple[int, int]] = []

    class Adder(Observer):
        def task_added(self, id: str, /) -> None:
            nonlocal count
            count += 1
            if at == "task_added":
                look()

    def look(*_: object) -> None:
        sums.append((added(instances[0].statistics()), count))

    methods: dict[str, Any] = {} if at == "task_added" else {at: look}
    observer = type("Looks", (Adder,), methods)()
    instances: list[Majordomo] = []

    async def main() -> None:
        async with start_majordomo(max_workers=2, observers=[observer]) as jarvis:
            instances.append(jarvis)
            for backoff in (Backoff(jitter=0), Backoff(initial=0, jitter=0)):
                jarvis.add_task(fails, retries=2, backoff=backoff)
            await jarvis.run(job(odd_ones_fail, 0, 1, 2, parallel=True))
            jarvis.add_task(trio.sleep, 1, id="x")
            jarvis.add_task(trio.sleep, 1, id="x")
            jarvis.add_task(job(value, 1).post(str))

    run(main)
    assert sums
    assert [found for found, _ in sums] == [count for _, count in sums]


def test_it_adds_up_in_a_log_handler() -> None:
    """SPEC 7.10, 11.1: at every moment, those of the log too."""
    sums: list[tuple[int, int]] = []
    instances: list[Majordomo] = []
    tasks = 0

    class Looks(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            sums.append((added(instances[0].statistics()), tasks))

    async def main() -> None:
        nonlocal tasks
        async with start_majordomo(max_workers=1) as jarvis:
            instances.append(jarvis)
            tasks += 2
            jarvis.add_task(trio.sleep, 3)  # the other waits for its slot
            await jarvis.run(trio.sleep, 1, total_timeout=1)
            tasks += 1
            await jarvis.run(fails, retries=2)
            tasks += 1
            await jarvis.run(trio.sleep_forever, retries=1)
            tasks += 4
            await jarvis.run(job(odd_ones_fail, 1, 3, 5, parallel=True))
            tasks += 1
            work = job(trio.sleep_forever, total_timeout=1)
            await jarvis.run(work.salvage(str))

    logger, looks = logging.getLogger("majordomo2"), Looks()
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(looks)
    try:
        run(main)
    finally:
        logger.removeHandler(looks)
        logger.setLevel(level)
    assert len(sums) >= 9
    assert [found for found, _ in sums] == [count for _, count in sums]


def test_what_ended_is_still_known_afterwards() -> None:
    """SPEC 7.10: also after the block, and from the results themselves."""

    async def main() -> None:
        tasks: list[Task[object]] = []
        async with start_majordomo() as jarvis:
            for _ in range(3):
                tasks.append(await jarvis.run(value, 1))  # noqa: PERF401 - in turn
        assert jarvis.statistics().finished["success"] == len(tasks) == 3

    run(main)
