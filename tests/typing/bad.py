"""What the checkers must refuse: each line marked E is an error, and no other is.

`python check.py` runs mypy --strict and pyright strict on this file and on ok.py.
"""

from __future__ import annotations

import math
import operator
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import trio

from majordomo2 import (
    Job,
    Majordomo,
    ResultChannel,
    Task,
    TaskFailed,
    TaskOptions,
    TaskResult,
    TaskState,
    TaskStatus,
    current_task,
    current_task_data,
    failure,
    flatten_nested_tasks,
    is_mixed,
    is_not_success,
    is_success,
    is_timeout,
    job,
    keepalive,
    start_majordomo,
    success,
    task_return_value,
    update_data,
)


@dataclass(frozen=True)
class Page:
    url: str
    size: int


async def fetch(url: str) -> Page:
    await trio.sleep(0)
    return Page(url, len(url))


def measure(text: str) -> int:
    return len(text)


def write_emails(message: str, names: list[str]) -> list[str]:
    return [f"Dear {name}: {message}" for name in names]


def greet(name: str, greeting: str = "hello") -> str:
    return f"{greeting} {name}"


def shout(text: str, *, loud: bool) -> str:
    return text.upper() if loud else text


def total(*numbers: int) -> int:
    return sum(numbers)


async def slow_total(*numbers: int) -> int:
    await trio.sleep(0)
    return sum(numbers)


def make_task(number: int) -> Task[int]:
    return Task(number)


def cells(count: int) -> list[int | str | None]:
    return [count, "x", None]


def parse(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


async def fetch_json(url: str, **headers: Any) -> dict[str, Any]:
    await trio.sleep(0)
    return {"url": url, **headers}


class Probe:
    def ping(self, host: str) -> float:
        return float(len(host))

    async def trace(self, host: str) -> tuple[str, ...]:
        return (host,)


def show(page: Page) -> None:
    print(page.url, page.size)


# The data of a task that did not succeed is an object, and never a T.


def before_any_test(result: TaskResult[Page]) -> None:
    show(result.data)  # E
    page: Page = result.data  # E
    task: Task[Page] = result  # E
    good: Task[Page, Literal["success"]] = result  # E
    print(page, task, good)


def compare(result: TaskResult[Page]) -> None:
    if result.status == "failure":
        show(result.data)  # E
    elif result.status == "timeout":
        show(result.data)  # E
    elif result.status == "rejected":
        show(result.data)  # E
    elif result.status == "cancelled":
        show(result.data)  # E
    elif result.status == "mixed":
        measure(result.data)  # E
    elif result.status == "success":
        measure(result.data)  # E


def leave_early(result: TaskResult[Page]) -> str:
    if result.status != "success":
        show(result.data)  # E
        return result.id
    return result.data  # E


def misspell(result: TaskResult[Page]) -> bool:
    return result.status == "succes"  # E


def misspell_on_a_task(task: Task[Page]) -> bool:
    return task.status == "timed out"  # E


def never_unspecified(result: TaskResult[Page]) -> bool:
    return result.status == "unspecified"  # E


def match_the_status(result: TaskResult[Page]) -> None:
    match result.status:
        case "success":
            measure(result.data)  # E
        case "failure":
            show(result.data)  # E
        case _:
            show(result.data)  # E


def match_the_task(result: TaskResult[Page]) -> None:
    match result:
        case Task(status="timeout", data=data):
            show(data)  # E
        case Task(status="failure", state=state):
            show(state)  # E
        case _:
            show(result.data)  # E


def ask(result: TaskResult[Page]) -> None:
    if is_timeout(result):
        show(result.data)  # E
    elif is_not_success(result):
        show(result.data)  # E
    else:
        measure(result.data)  # E


def ask_for_success(result: TaskResult[Page]) -> None:
    if is_success(result) or is_mixed(result):
        measure(result.data)  # E
    else:
        show(result.data)  # E


def raise_or_return(result: TaskResult[Page]) -> None:
    measure(result.result())  # E


def in_a_comprehension(results: list[TaskResult[Page]]) -> list[Page]:
    print([each.data.url for each in results if each.status != "mixed"])  # E
    print([measure(each.data) for each in results if is_success(each)])  # E
    return [each.data for each in results]  # E


def may_be_none(result: TaskResult[Page | None]) -> None:
    if result.status == "success":
        show(result.data)  # E


# Tasks are immutable, and generic in data and status.


def change(task: Task[int]) -> None:
    task.data = 3  # E
    task.status = "success"  # E
    task.attempts = 3  # E
    task.state = "lost"  # E
    task.note = "slow"  # E
    task.set_status("done")  # E
    task.set_id(3)  # E


def make(task: Task[int]) -> None:
    Task(3, status="done")  # E
    Task(3, name="three")  # E
    Task(3, 4, 5, 6, 7, 8, 9)  # E
    other: Task[int] = Task[int]("three")  # E
    exact: Task[int] = Task[float](3)  # E
    Task[int, Literal["success"]](3, status="failure")  # E
    narrower: Task[bool] = task  # E
    succeeded: Task[int, Literal["success"]] = task  # E
    failed: Task[int, Literal["failure"]] = Task(3, status="success")  # E
    finished: TaskResult[int] = task  # E
    fresh: TaskResult[int] = Task(3)  # E
    renamed: Task[str] = task.set_id("three")  # E
    reset: Task[int] = task.set_data("three")  # E
    unknown: TaskStatus = "timed out"  # E
    half: TaskResult[list[int]] = Task(3, status="mixed")  # E
    print(other, narrower, succeeded, failed, finished, fresh, renamed, reset)
    print(exact, unknown, half)


def look_inside(task: Task[int], anything: object) -> None:
    measure(task.data)  # E
    measure(task.state)  # E
    measure(task.subtasks[0].data)  # E
    measure(task.attempts)  # E
    is_success(anything)  # E
    is_timeout("timeout")  # E
    is_mixed(task.status)  # E


def no_task(result: TaskResult[int] | None) -> None:
    is_success(result)  # E


def bare_task(task: Task) -> int:  # E
    return 3


def bare_channel(channel: ResultChannel) -> int:  # E
    return 3


def bare_job(work: Job) -> int:  # E
    return 3


# Channels, run, and get_task_data carry the type of the action.


async def channels(jarvis: Majordomo) -> None:
    channel = jarvis.add_task(fetch, "a")
    show(channel.data)  # E
    show(await channel.done)  # E
    channel.done = True  # E
    channel.id = "a"  # E
    page: Page = await channel.receive()  # E
    size: int = await channel.result()  # E
    other: TaskResult[str] = await channel.receive()  # E
    narrower: ResultChannel[str] = channel  # E
    text: str = await jarvis.get_task_data(measure, "a")  # E
    number: int = await jarvis.get_task_data(fetch, "a")  # E
    ran: TaskResult[str] = await jarvis.run(fetch, "a")  # E
    returned: ResultChannel[int] = task_return_value("hello")  # E
    print(page, size, other, narrower, text, number, ran, returned)
    show(channel.result())  # E
    channel.receive()  # E
    channel.result()  # E
    jarvis.run(fetch, "a")  # E
    jarvis.get_task_data(fetch, "a")  # E
    await channel.cancel()  # E
    channel.cancel("late")  # E
    parsed: ResultChannel[int] = jarvis.add_task(parse, "3")  # E
    loud: ResultChannel[int] = jarvis.add_task(partial(shout, loud=True), "a")  # E
    print(parsed, loud)
    show(await jarvis.get_task_data(fetch_json, "a"))  # E
    show(await jarvis.add_task(fetch_json, "a").result())  # E
    measure(await jarvis.get_task_data(lambda url: fetch(url), "a"))  # E
    for each in await jarvis.get_task_data(job(fetch_json, "a", "b", parallel=True)):
        show(each)  # E


def what_failed(error: TaskFailed) -> None:
    show(error.task.data)  # E


# The arguments are the action's own.


def arguments(
    jarvis: Majordomo,
    names: list[str],
    probe: Probe,
    action: Callable[[str], int] | None,
) -> None:
    jarvis.add_task(write_emails, "hi")  # E
    jarvis.add_task(write_emails, names, "hi")  # E
    jarvis.add_task(write_emails, "hi", names, "extra")  # E
    jarvis.add_task(write_emails, message="hi", names=names)  # E
    jarvis.add_task(fetch)  # E
    jarvis.add_task(fetch, 3)  # E
    jarvis.add_task(fetch("a"))  # E
    jarvis.add_task(measure("a"))  # E
    jarvis.add_task("measure", "a")  # E
    jarvis.add_task(None)  # E
    jarvis.add_task(action, "a")  # E
    jarvis.add_task([measure, measure], "a")  # E
    jarvis.add_task(measure, *names)  # E
    jarvis.add_task(total, *names)  # E
    jarvis.add_task(greet, "a", 3)  # E
    jarvis.add_task(total, 1, "2")  # E
    jarvis.add_task(slow_total, 1, "2")  # E
    jarvis.add_task(shout, "a")  # E
    jarvis.add_task(shout, "a", loud=True)  # E
    jarvis.add_task(probe.ping, 3)  # E
    jarvis.add_task(probe.trace)  # E
    jarvis.add_task(Probe.ping, "a")  # E
    jarvis.add_task(lambda text: show(text), "a")  # E
    jarvis.add_task(trio.sleep, "1")  # E
    jarvis.add_task(job(measure, "a"), "b")  # E
    jarvis.add_task()  # E
    job(fetch, 3)  # E
    job(total, [1, 2, 3])  # E


async def waiting(jarvis: Majordomo) -> None:
    await jarvis.run(fetch, 3)  # E
    await jarvis.run(job(measure, 3))  # E
    await jarvis.get_task_data(fetch)  # E
    await jarvis.run(job(measure, "a"), "b")  # E
    await jarvis.get_task_data(measure, "a", "b")  # E
    await jarvis.get_task_data(job(measure, "a"), retries=0)  # E
    await jarvis.run(fetch, "a", retries="3")  # E
    await jarvis.run(measure, "a", retry=3)  # E
    await jarvis.get_task_data(fetch, "a", runner="fiber")  # E
    await jarvis.get_task_data(measure, "a", timeout=3)  # E
    await jarvis.add_task(measure, "a")  # E


# Options.


def options(jarvis: Majordomo) -> None:
    jarvis.add_task(fetch, "a", retry=3)  # E
    jarvis.add_task(fetch, "a", retries="3")  # E
    jarvis.add_task(fetch, "a", keepalive=None)  # E
    jarvis.add_task(fetch, "a", timeout=10)  # E
    jarvis.add_task(fetch, "a", runner="fiber")  # E
    jarvis.add_task(fetch, "a", runner=object())  # E
    jarvis.add_task(fetch, "a", id=3)  # E
    jarvis.add_task(fetch, "a", context={"user": "fred"})  # E
    jarvis.add_task(fetch, "a", filter=bool)  # E
    jarvis.add_task(fetch, "a", max_workers=3)  # E
    jarvis.add_task(job(fetch, "a"), retries=0)  # E
    job(fetch, "a", retries="3")  # E
    job(fetch, "a", "b", parallel=True, retries="3")  # E
    patient: TaskOptions = {"keepalive": math.inf, "retry": 3}  # E
    hasty: TaskOptions = {"keepalive": "1"}  # E
    parallel: TaskOptions = {"parallel": True}  # E
    print(patient, hasty, parallel)


# parallel and unwrap.


def one_page(jarvis: Majordomo) -> ResultChannel[Page]:
    return jarvis.add_task(fetch, "a", parallel=True)  # E


async def said_in_job_alone(jarvis: Majordomo, names: list[str]) -> None:
    jarvis.add_task(fetch, "a", "b", parallel=True)  # E
    jarvis.add_task(total, [1, 2], unwrap=True)  # E
    await jarvis.run(fetch, "a", parallel=True)  # E
    await jarvis.run(total, [1, 2], unwrap=True)  # E
    await jarvis.get_task_data(fetch, "a", parallel=True)  # E
    await jarvis.get_task_data(total, [1, 2], unwrap=True)  # E


def forms(
    names: list[str], count: list[int], flag: bool, parts: tuple[str, ...]
) -> None:
    one: Job[Page] = job(fetch, "a", parallel=True)  # E
    many: Job[list[int]] = job(fetch, names, parallel=True, unwrap=True)  # E
    single: Job[list[int]] = job(total, count, unwrap=True)  # E
    print(one, many, single)
    job(fetch, "a", 3, parallel=True)  # E
    job(measure, "a", 3, parallel=True)  # E
    job(write_emails, "a", "b", parallel=True)  # E
    job(measure, names, parallel=True)  # E
    job(measure, count, parallel=True, unwrap=True)  # E
    job(fetch, names, "more", parallel=True, unwrap=True)  # E
    job(fetch, 3, parallel=True, unwrap=True)  # E
    job(total, names, unwrap=True)  # E
    job(slow_total, names, unwrap=True)  # E
    job(total, 1, 2, unwrap=True)  # E
    job(greet, ("a", 3), unwrap=True)  # E
    job(greet, ("a", "b", "c"), unwrap=True)  # E
    job(greet, names, unwrap=True)  # E
    job(greet, parts, unwrap=True)  # E
    job(total, 3, unwrap=True)  # E
    job(total, unwrap=True)  # E
    job(fetch, parallel=True, unwrap=True)  # E
    job(write_emails, names, parallel=True, unwrap=True)  # E
    job(fetch, "a", parallel=flag)  # E
    job(fetch, "a", parallel="yes")  # E


# The pipeline: each stage takes what the one before it gives.


def to_sizes(pages: list[Page]) -> list[int]:
    return [page.size for page in pages]


async def summary(sizes: list[int]) -> str:
    return ", ".join(map(str, sizes))


async def size_of(page: Page) -> int:
    return page.size


def url_of(page: Page) -> str:
    return page.url


def is_large(page: Page) -> bool:
    return page.size > 1000


def smaller(one: int, other: int) -> bool:
    return one < other


def difference(one: Page, other: Page) -> int:
    return one.size - other.size


def size_if_any(page: Page) -> int | None:
    return page.size or None


def pipeline(
    names: list[str], jarvis: Majordomo, perhaps: Job[list[int] | None]
) -> None:
    emails = job(write_emails, "hi there", names)
    emails.filter(lambda text: is_large(text))  # E
    emails.filter(is_large)  # E
    emails.filter("isascii")  # E
    emails.pre(lambda texts: measure(texts))  # E
    emails.pre(lambda texts: [len(t) for t in texts]).sort(key=str.lower)  # E
    emails.pre(is_large)  # E
    emails.post(summary)  # E
    emails.post(lambda texts: measure(texts))  # E
    emails.post(lambda texts: " ".join(texts)).post(lambda text: to_sizes(text))  # E
    emails.post(len).post(len)  # E
    counted: Job[str] = emails.post(len)  # E
    emailed: ResultChannel[list[int]] = jarvis.add_task(emails)  # E
    print(counted, emailed)
    job(fetch_json, "a").post(lambda found: fetch(found["url"])).post(len)  # E
    emails.flatten()  # E
    job(measure, "a").filter(bool)  # E
    job(measure, "a").sort()  # E
    job(cells, 3).sort()  # E
    job(cells, 3).sort(operator.lt)  # E
    perhaps.filter(bool)  # E
    perhaps.sort()  # E
    perhaps.sort(key=abs)  # E
    perhaps.post(sum)  # E
    narrower: Job[list[bool]] = job(to_sizes, list[Page]())  # E
    print(narrower)


def sorting(names: list[str]) -> None:
    pages = job(fetch, "a", "b", parallel=True)
    emails = job(write_emails, "hi there", names)
    pages.pre(to_sizes).post(summary).post(summary)  # E
    pages.sort()  # E
    pages.sort(operator.gt)  # E
    pages.sort(key=size_if_any)  # E
    pages.sort(smaller)  # E
    pages.sort(difference)  # E
    pages.sort(lambda one, other: one.size - other.size)  # E
    pages.sort(lambda one, other: smaller(one, other.size))  # E
    pages.sort(key=lambda page: measure(page))  # E
    pages.sort(key=lambda page: object())  # E
    pages.sort(operator.lt, key=len)  # E
    pages.sort(smaller, key=url_of)  # E
    pages.sort(smaller, key=lambda page: page.url)  # E
    pages.sort(operator.gt, url_of)  # E
    pages.sort(operator.gt, sort_key=url_of)  # E
    pages.sort(operator.gt, key=url_of, cache_keys="yes")  # E
    sized: Job[list[int]] = pages.sort(smaller, key=size_of)  # E
    emails.sort(key=size_of)  # E
    print(sized)


def salvaging(pages: Job[list[Page]]) -> None:
    pages.salvage(is_large)  # E
    pages.salvage(lambda state: to_sizes(state))  # E
    salvaged: Job[str] = pages.salvage(str)  # E
    print(salvaged)


def flattening(
    task: Task[int],
    pair: Job[tuple[Task[int], ...]],
    named: Job[dict[str, Task[int]]],
    queue: Job[deque[Task[int]]],
    rows: Job[list[list[Task[int]]]],
    twice: Job[list[Task[Task[int]]]],
    results: Job[list[TaskResult[int]]],
) -> None:
    job(measure, "a").flatten_nested_tasks()  # E
    job(write_emails, "hi", ["fred"]).flatten_nested_tasks()  # E
    pair.flatten_nested_tasks()  # E
    named.flatten_nested_tasks()  # E
    queue.flatten_nested_tasks()  # E
    rows.flatten_nested_tasks().post(sum)  # E
    twice.flatten_nested_tasks().post(sum)  # E
    results.flatten_nested_tasks().sort()  # E
    made = job(make_task, 1, 2, parallel=True)
    made.sort()  # E
    made.flatten_nested_tasks().pre(to_sizes)  # E
    job(make_task, 1).flatten_nested_tasks().post(len)  # E
    flatten_nested_tasks(task)  # E
    flatten_nested_tasks([task, task])  # E


# Inside an action, and the state.


@dataclass(frozen=True)
class Progress:
    pages: tuple[Page, ...] = ()


progress = TaskState(Progress)
seen = TaskState(list[str])
best: TaskState[float | None] = TaskState(lambda: None)


def inside(result: TaskResult[Page]) -> None:
    progress.update(3)  # E
    seen.update([3])  # E
    best.update("0.5")  # E
    print(best.get() + 1)  # E
    progress.get(3)  # E
    show(progress.get())  # E
    left: Progress = progress.of(result)  # E
    progress.of("task-1")  # E
    progress.update(current_task().data)  # E
    progress.update(current_task_data())  # E
    keepalive(5)  # E
    update_data()  # E
    TaskState(Progress())  # E
    TaskState(Page)  # E
    TaskState()  # E
    print(left)


def checked_root(number: float) -> str:
    return number if number >= 0 else failure("negative")  # E


def too_many_values() -> int:
    failure("a", "b")  # E


def returns_the_wrong_type(number: int) -> str:
    if number < 0:
        failure("negative")
    if number == 0:
        success(number)
    return number  # E


# The instance.


async def instance(jarvis: Majordomo) -> None:
    jarvis.id = "jarvis"  # E
    await jarvis.stop()  # E
    await jarvis.drain("now")  # E
    await jarvis.drain(None)  # E
    jarvis.drain()  # E
    jarvis.stop(5)  # E
    await start_majordomo()  # E
    start_majordomo().add_task(fetch, "a")  # E
    async with start_majordomo(max_workers="four"):  # E
        pass
    async with start_majordomo(4):  # E
        pass
    async with start_majordomo(workers=4):  # E
        pass
    with start_majordomo():  # E
        pass
