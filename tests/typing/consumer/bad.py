"""What no checker may let through, although trio-typing is installed: the marked lines."""

from __future__ import annotations

import trio

from majordomo2 import (
    Majordomo,
    ResultChannel,
    TaskState,
    job,
    start_majordomo,
    update_data,
)

progress = TaskState(dict[str, int])


async def fetch(url: str) -> bytes:
    await trio.sleep(0)
    return url.encode()


def parse(text: str) -> int:
    return len(text)


async def main(jarvis: Majordomo) -> None:
    jarvis.add_task(fetch, 1)  # E
    jarvis.add_task(fetch)  # E
    jarvis.add_task(fetch, "a", "b")  # E
    jarvis.add_task(parse, 1)  # E
    jarvis.add_task(fetch, "a", retries="3")  # E
    jarvis.add_task(fetch, "a", runner="fibre")  # E
    jarvis.add_task(trio.sleep, "1")  # E
    jarvis.add_taks(fetch, "a")  # E
    await jarvis.add_task(fetch, "a").recieve()  # E
    wrong: ResultChannel[str] = jarvis.add_task(fetch, "a")  # E
    await jarvis.run(fetch, 1)  # E
    text: str = await jarvis.get_task_data(fetch, "a")  # E
    task = await jarvis.run(fetch, "a")
    length = len(task.data)  # E
    job(parse, "a").filter(str.isdecimal)  # E
    job(parse, 1)  # E
    progress.update({"a": "b"})  # E
    update_data()  # E
    async with start_majordomo(max_workers="2") as other:  # E
        print(other, wrong, text, length)
