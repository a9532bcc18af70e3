"""Named tasks in majordomo2 with a journal; see `killed`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from time import perf_counter
from typing import cast

import trio

from majordomo2 import Majordomo, TaskState, start_majordomo
from majordomo2.journals import SQLiteJournal
from majordomo2.journals._sqlite import Synchronous

from .killed import ANSWER, STEP, STEPS, TASKS, Left, Log, main, step_line

done = TaskState[int](int)


def journal_in(folder: Path, variant: str) -> SQLiteJournal:
    synchronous = cast("Synchronous", variant)
    return SQLiteJournal(folder / "work.db", synchronous=synchronous)


async def noop() -> int:
    return 1


async def time_noops(folder: Path, variant: str) -> float:
    async with start_majordomo(journal=journal_in(folder, variant)) as jarvis:
        start = perf_counter()
        channels = [jarvis.add_task(noop, id=f"t/{n}") for n in range(TASKS)]
        for channel in channels:
            await channel.receive()
        return perf_counter() - start


def speed(folder: Path, variant: str) -> float:
    return trio.run(time_noops, folder, variant)


async def finishes(folder: str) -> int:
    Log(Path(folder)).add("finished")
    return ANSWER


async def takes_steps(folder: str) -> None:
    log = Log(Path(folder))
    for step in range(done.get() + 1, STEPS + 1):
        log.add(step_line(step))
        await trio.sleep(STEP)
        await done.checkpoint(step)
    log.add("end")


async def run_first(folder: Path, variant: str) -> None:
    async with start_majordomo(
        max_workers=1, journal=journal_in(folder, variant)
    ) as jarvis:
        await jarvis.run(finishes, str(folder), id="finished")
        jarvis.add_task(takes_steps, str(folder), id="steps")
        jarvis.add_task(noop, id="waiting")


def first(folder: Path, variant: str) -> None:
    trio.run(run_first, folder, variant)


async def go_on(jarvis: Majordomo, folder: Path) -> tuple[bool, object, object]:
    log = Log(folder)
    before = len(log.lines())
    comes = partial(log.comes, "step", after=before)
    by_itself = await trio.to_thread.run_sync(comes)
    await jarvis.run(takes_steps, str(folder), id="steps")
    result = await jarvis.get_task_data(finishes, str(folder), id="finished")
    again = await jarvis.get_task_data(finishes, str(folder), id="finished")
    return by_itself, result, again


async def run_second(folder: Path, variant: str) -> Left:
    journal = journal_in(folder, variant)
    journal.open()
    steps, waiting = journal.read(["steps", "waiting"])
    journal.close()
    state = None if steps is None else steps.state
    async with start_majordomo(journal=journal) as jarvis:
        by_itself, result, again = await go_on(jarvis, folder)
    return Left(
        interrupted=steps is not None,
        progress=None if state is None else int(state),
        waiting=waiting is not None,
        by_itself=by_itself,
        result=result,
        result_again=again,
    )


def second(folder: Path, variant: str) -> Left:
    return trio.run(run_second, folder, variant)


if __name__ == "__main__":
    main(speed, first, second)
