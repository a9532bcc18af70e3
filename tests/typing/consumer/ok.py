"""What a program that still has trio-typing may write, with exact types.

It avoids most of Trio's own functions: pyright complains about their types in the stubs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_type

import trio

from majordomo2 import (
    Job,
    Majordomo,
    ResultChannel,
    Task,
    TaskResult,
    TaskState,
    current_task_data,
    is_success,
    job,
    keepalive,
    start_majordomo,
    success,
    update_data,
)


@dataclass
class Page:
    url: str
    size: int


progress = TaskState(dict[str, int])


async def fetch(url: str, depth: int = 1) -> Page:
    keepalive()
    update_data({"depth": depth})
    assert_type(current_task_data(), object)
    assert_type(progress.get(), dict[str, int])
    await trio.sleep(0)
    if not url:
        success(Page("", 0))
    return Page(url, depth)


def parse(text: str) -> int:
    return len(text)


def total(numbers: list[int]) -> int:
    return sum(numbers)


async def main() -> None:
    async with start_majordomo(max_workers=2) as jarvis:
        assert_type(jarvis, Majordomo)
        assert_type(jarvis.add_task(fetch, "a", 2), ResultChannel[Page])
        assert_type(jarvis.add_task(fetch, "a", retries=1), ResultChannel[Page])
        assert_type(jarvis.add_task(parse, "a"), ResultChannel[int])
        assert_type(jarvis.add_task(trio.sleep, 1), ResultChannel[None])
        assert_type(await jarvis.run(fetch, "a"), TaskResult[Page])
        assert_type(await jarvis.get_task_data(parse, "a"), int)
        assert_type(await jarvis.add_task(fetch, "a").result(), Page)
        assert_type(jarvis.stop(), None)
        many = job(parse, "a", "b", parallel=True)
        assert_type(many, Job[list[int]])
        assert_type(many.sort().post(total), Job[int])
        assert_type(await jarvis.get_task_data(many), list[int])
        task = await jarvis.run(fetch, "a")
        if is_success(task):
            assert_type(task.data, Page)
        if task.status == "timeout":
            assert_type(progress.of(task), dict[str, int] | None)
    assert_type(Task(1).set_data("a").data, str)
