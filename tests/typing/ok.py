"""What a program may write: every line checks, and every type is exact.

`python check.py` runs mypy --strict and pyright strict on this file and on bad.py.
"""

from __future__ import annotations

import contextvars
import copy
import dataclasses
import math
import operator
import sys
from collections.abc import (
    Awaitable,
    Callable,
    Iterable,
    Sequence,
)
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import (
    Any,
    Literal,
    Never,
    TypeAlias,
    TypeVarTuple,
    Unpack,
    assert_never,
    assert_type,
    overload,
)

import trio
from typing_extensions import TypeIs, TypeVar

from majordomo2 import (
    Job,
    Majordomo,
    MajordomoStopped,
    NoCurrentTask,
    PipelineOrderError,
    ResultChannel,
    Task,
    TaskCancelled,
    TaskFailed,
    TaskOptions,
    TaskRejected,
    TaskResult,
    TaskState,
    TaskStatus,
    TaskTimedOut,
    current_task,
    current_task_data,
    failure,
    flatten_nested_tasks,
    is_cancelled,
    is_failure,
    is_mixed,
    is_not_success,
    is_rejected,
    is_success,
    is_timeout,
    is_unspecified_status,
    job,
    keepalive,
    start_majordomo,
    success,
    task_return_value,
    update_data,
)
from majordomo2.abc import Runner

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


# Actions: plain or async functions, methods, classes, partials, callable objects.


@dataclass(frozen=True)
class Page:
    url: str
    size: int


async def fetch(url: str) -> Page:
    keepalive()
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


def cells(count: int) -> list[int | str | None]:
    return [count, "x", None]


def parse(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


async def look_up(text: str) -> int | bytes | None:
    await trio.sleep(0)
    return len(text) or None


async def fetch_json(url: str, **headers: Any) -> dict[str, Any]:
    await trio.sleep(0)
    return {"url": url, **headers}


async def fetch_rows(url: str) -> list[dict[str, Any]]:
    return [await fetch_json(url)]


def first(items: Sequence[T]) -> T:
    return items[0]


@overload
def double(value: int) -> int: ...
@overload
def double(value: str) -> str: ...
def double(value: int | str) -> int | str:
    return value * 2


def make_task(value: T) -> Task[T]:
    return Task(value)


class Probe:
    def ping(self, host: str) -> float:
        return float(len(host))

    async def trace(self, host: str) -> tuple[str, ...]:
        return (host,)

    @staticmethod
    def parse(line: str) -> int:
        return int(line)

    @classmethod
    async def discover(cls, network: str) -> list[Probe]:
        return [cls() for _ in network]


class Counter:
    async def __call__(self, text: str) -> dict[str, int]:
        return {text: len(text)}


# A task is a value: generic in its data and in its status.


def tasks(task: Task[int]) -> None:
    assert_type(Task(), Task[dict[str, object]])
    assert_type(Task(3), Task[int])
    assert_type(Task("x", id="task-9"), Task[str])
    assert_type(Task(3, status="success"), Task[int, Literal["success"]])
    assert_type(Task(status="timeout"), Task[dict[str, object], Literal["timeout"]])
    assert_type(Task[int](3), Task[int])
    assert_type(Task[int](3), Task[int, TaskStatus])
    assert_type(Task[float](3), Task[float])
    assert_type(Task[list[float]]([]), Task[list[float]])
    assert_type(Task[int](3, status="failure").data, int)
    widened: Task[float | str] = Task[float | str](3)

    assert_type(task.id, str)
    assert_type(task.status, TaskStatus)
    assert_type(task.data, int)
    assert_type(task.attempts, int)
    assert_type(task.state, object)
    assert_type(task.subtasks, tuple[Task[object], ...])
    assert_type(task.result(), int)

    assert_type(task.set_id("a"), Task[int])
    assert_type(task.set_data("a"), Task[str])
    assert_type(task.set_status("success"), Task[int, Literal["success"]])
    assert_type(
        Task(3, status="mixed").set_data([3]), Task[list[int], Literal["mixed"]]
    )
    assert_type(dataclasses.replace(task, id="a"), Task[int])
    if sys.version_info >= (3, 13):
        assert_type(copy.replace(task, id="a"), Task[int])
    match task:
        case Task(id=name, status="timeout"):
            assert_type(name, str)
        case _:
            pass

    wider_data: Task[float | str] = task
    wider_status: Task[int] = task.set_status("timeout")
    finished: TaskResult[float] = task.set_status("success")
    half: TaskResult[list[int]] = Task([3], status="mixed")
    lost: TaskResult[float] = Task("gone", status="timeout")
    print(widened, wider_data, wider_status, finished, half, lost)


def any_status(task: Task[int], status: TaskStatus) -> Task[int]:
    return task.set_status(status)


# What a channel yields is a tagged union: test the status, then use the data.

PageResult: TypeAlias = TaskResult[Page]
ListResult: TypeAlias = TaskResult[list[T]]


def named(result: PageResult, several: ListResult[Page]) -> int:
    assert_type(several, TaskResult[list[Page]])
    return result.data.size if result.status == "success" else several.attempts


def compare(result: TaskResult[Page]) -> str:
    assert_type(result.data, Page | object)
    assert_type(result.attempts, int)
    assert_type(result.result(), Page)
    assert_type(result.set_id("a"), TaskResult[Page])
    if result.status == "success":
        assert_type(result, Task[Page, Literal["success"]])
        return result.data.url
    if result.status == "mixed":
        assert_type(result, Task[Page, Literal["mixed"]])
        return result.data.url
    if result.status == "timeout":
        assert_type(result, Task[object, Literal["timeout"]])
        assert_type(result.data, object)
        return f"{result.id} stopped at {result.state}"
    assert_type(result.data, object)
    assert_type(result.status, Literal["failure", "rejected", "cancelled"])
    if result.status == "failure" or result.status == "rejected":
        return str(result.data)
    assert_type(result, Task[object, Literal["cancelled"]])
    return result.id


def leave_early(result: TaskResult[Page]) -> str:
    if result.status != "success":
        return result.id
    assert_type(result.data, Page)
    return result.data.url


def data_or_raise(result: TaskResult[Page]) -> Page:
    if result.status == "success":
        return result.data
    result.result()


def data_or_none(result: TaskResult[Page | None]) -> str | None:
    return result.data.url if is_success(result) and result.data else None


def many(results: list[TaskResult[Page]], one: TaskResult[bool]) -> TaskResult[float]:
    assert_type([each.data for each in results if is_success(each)], list[Page])
    assert_type([each.data for each in results if each.status == "success"], list[Page])
    assert_type({each.id: each.attempts for each in results}, dict[str, int])
    return one


def match_the_status(result: TaskResult[Page]) -> int:
    match result.status:
        case "success":
            assert_type(result.data, Page)
            return result.data.size
        case "mixed":
            assert_type(result.data, Page)
            return result.data.size
        case "failure":
            assert_type(result, Task[object, Literal["failure"]])
            return 0
        case "timeout" | "rejected" | "cancelled":
            assert_type(result.data, object)
            return 0
        case _:
            assert_never(result)


def match_the_task(result: TaskResult[Page]) -> str:
    match result:
        case _ if is_success(result):
            assert_type(result.data, Page)
            return result.data.url
        case Task(status="timeout", state=state):
            assert_type(state, object)
            return f"stopped at {state}"
        case Task(status="failure", data=reason):
            assert_type(reason, object)
            return f"failed: {reason}"
        case _:
            return result.status


def ask(result: TaskResult[Page]) -> str:
    if is_success(result):
        assert_type(result, Task[Page, Literal["success"]])
        return result.data.url
    if is_mixed(result):
        assert_type(result, Task[Page, Literal["mixed"]])
        return result.data.url
    if is_timeout(result):
        assert_type(result, Task[object, Literal["timeout"]])
        return "timeout"
    if is_failure(result):
        assert_type(result, Task[object, Literal["failure"]])
        return "failure"
    if is_rejected(result):
        assert_type(result, Task[object, Literal["rejected"]])
        return "rejected"
    if is_cancelled(result):
        assert_type(result, Task[object, Literal["cancelled"]])
    return result.status


def ask_for_all(result: TaskResult[Page]) -> str:
    if is_success(result) or is_mixed(result):
        return result.data.url
    if is_failure(result) or is_timeout(result):
        return str(result.data)
    if is_rejected(result) or is_cancelled(result):
        return result.id
    assert_never(result)


def ask_for_the_rest(result: TaskResult[Page]) -> str:
    if is_not_success(result):
        return result.status
    assert_type(result, Task[Page, Literal["success"]])
    return result.data.url


def ask_a_plain_task(task: Task[int]) -> int:
    if is_success(task):
        assert_type(task, Task[int, Literal["success"]])
    if is_unspecified_status(task):
        assert_type(task, Task[int, Literal["unspecified"]])
    assert_type(task.data, int)
    return task.data


# Inside an action.


@dataclass(frozen=True)
class Progress:
    remaining: tuple[str, ...] = ()
    pages: tuple[Page, ...] = ()


progress = TaskState(Progress)
seen = TaskState(list[str])
best: TaskState[float | None] = TaskState(lambda: None)
half_way = TaskState(lambda: Progress(("a", "b")))


async def crawl(*urls: str) -> list[Page]:
    state = progress.get()
    assert_type(state, Progress)
    assert_type(seen.get(), list[str])
    assert_type(best.get(), float | None)
    assert_type(half_way, TaskState[Progress])
    assert_type(current_task(), Task[object, Literal["unspecified"]])
    assert_type(current_task().data, object)
    assert_type(current_task_data(), object)
    for url in state.remaining or urls:
        pages = (*progress.get().pages, await fetch(url))
        progress.update(Progress(urls[len(pages) :], pages))
    best.update(0.5)
    update_data("anything")
    return list(progress.get().pages)


def checked_root(number: float) -> float:
    return math.sqrt(number) if number >= 0 else failure("negative")


def says_success(number: int) -> int:
    success(number)


def succeeds_with_the_state() -> int:
    success()


async def gives_up() -> int:
    failure()


def ends_in_an_inner_block(number: int) -> str:
    try:
        if number > 3:
            success("high")
        failure(ValueError(number))
    finally:
        keepalive()


def what_is_left(result: TaskResult[list[Page]], error: TaskFailed) -> None:
    assert_type(progress.of(result), Progress | None)
    assert_type(progress.of(error.task), Progress | None)
    if result.status == "timeout":
        assert_type(seen.of(result), list[str] | None)


# add_task, run and get_task_data take an action and its arguments, or a job.


async def plain_forms(jarvis: Majordomo, names: list[str], probe: Probe) -> None:
    channel = jarvis.add_task(write_emails, "hi there", names)
    assert_type(channel, ResultChannel[list[str]])
    assert_type(await channel.receive(), TaskResult[list[str]])
    assert_type(await channel.result(), list[str])
    assert_type(channel.id, str)
    assert_type(channel.done, bool)
    channel.cancel()
    wider: ResultChannel[Iterable[object]] = channel
    print(wider)

    assert_type(jarvis.add_task(fetch, "a"), ResultChannel[Page])
    assert_type(jarvis.add_task(greet, "a"), ResultChannel[str])
    assert_type(jarvis.add_task(greet, "a", "good day"), ResultChannel[str])
    assert_type(jarvis.add_task(total), ResultChannel[int])
    assert_type(jarvis.add_task(total, 1, 2, 3), ResultChannel[int])
    assert_type(jarvis.add_task(slow_total, 1, 2, 3), ResultChannel[int])
    assert_type(jarvis.add_task(crawl, "a", "b"), ResultChannel[list[Page]])
    assert_type(jarvis.add_task(says_success, 3), ResultChannel[int])

    assert_type(jarvis.add_task(probe.ping, "a"), ResultChannel[float])
    assert_type(jarvis.add_task(probe.trace, "a"), ResultChannel[tuple[str, ...]])
    assert_type(jarvis.add_task(Probe.parse, "3"), ResultChannel[int])
    assert_type(jarvis.add_task(Probe.discover, "lan"), ResultChannel[list[Probe]])
    assert_type(jarvis.add_task(Probe), ResultChannel[Probe])
    assert_type(jarvis.add_task(Counter(), "a"), ResultChannel[dict[str, int]])
    assert_type(jarvis.add_task(partial(fetch, "a")), ResultChannel[Page])
    assert_type(jarvis.add_task(partial(shout, loud=True), "a"), ResultChannel[str])
    assert_type(jarvis.add_task(len, names), ResultChannel[int])
    assert_type(jarvis.add_task(str.upper, "a"), ResultChannel[str])
    assert_type(jarvis.add_task(trio.sleep, 1), ResultChannel[None])
    assert_type(jarvis.add_task(trio.Path("a").read_text), ResultChannel[str])
    assert_type(jarvis.add_task(lambda: 3), ResultChannel[int])
    assert_type(jarvis.add_task(lambda text: len(text), "a"), ResultChannel[int])
    assert_type(jarvis.add_task(lambda: fetch("a")), ResultChannel[Page])
    assert_type(jarvis.add_task(lambda url: fetch(url), "a"), ResultChannel[Page])

    assert_type(jarvis.add_task(look_up, "a"), ResultChannel[int | bytes | None])
    assert_type(jarvis.add_task(fetch_json, "a"), ResultChannel[dict[str, Any]])
    assert_type(await jarvis.run(fetch_json, "a"), TaskResult[dict[str, Any]])
    assert_type(await jarvis.get_task_data(fetch_json, "a"), dict[str, Any])
    assert_type(jarvis.add_task(fetch_rows, "a"), ResultChannel[list[dict[str, Any]]])
    assert_type(await jarvis.get_task_data(fetch_rows, "a"), list[dict[str, Any]])
    parsed: ResultChannel[int | str] = jarvis.add_task(parse, "3")
    endless: ResultChannel[Never] = jarvis.add_task(trio.sleep_forever)
    print(parsed, endless)
    assert_type(jarvis.add_task(total, *map(len, names)), ResultChannel[int])
    assert_type(jarvis.add_task(first, names), ResultChannel[str])
    assert_type(jarvis.add_task(double, 3), ResultChannel[int])
    assert_type(jarvis.add_task(double, "a"), ResultChannel[str])
    assert_type(jarvis.add_task(sorted, names), ResultChannel[list[str]])
    assert_type(jarvis.add_task(int, "3"), ResultChannel[int])
    assert_type(jarvis.add_task(Path, "a"), ResultChannel[Path])

    assert_type(await jarvis.run(fetch, "a"), TaskResult[Page])
    assert_type(await jarvis.run(greet, "a", retries=0), TaskResult[str])
    assert_type(await jarvis.get_task_data(fetch, "a"), Page)
    assert_type(await jarvis.get_task_data(greet, "a", keepalive=0.1), str)

    if (result := await jarvis.run(fetch, "a")).status == "success":
        assert_type(result.data, Page)

    emails = job(write_emails, "hi there", names, retries=0)
    assert_type(emails, Job[list[str]])
    general: Job[Iterable[object]] = emails
    kept: list[Job[object]] = [general, job(fetch, "a"), job(measure, "a")]
    print(kept)
    assert_type(jarvis.add_task(emails), ResultChannel[list[str]])
    assert_type(jarvis.add_task(emails.post(len)), ResultChannel[int])
    assert_type(await jarvis.run(emails.post(len)), TaskResult[int])
    assert_type(await jarvis.get_task_data(emails.post(len)), int)
    assert_type(task_return_value("hello"), ResultChannel[str])


async def from_elsewhere(jarvis: Majordomo) -> None:
    run_sync = trio.from_thread.run_sync
    assert_type(run_sync(jarvis.add_task, fetch, "a"), ResultChannel[Page])
    assert_type(trio.from_thread.run(jarvis.run, fetch, "a"), TaskResult[Page])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(jarvis.add_task(fetch, "a").receive)
        nursery.start_soon(jarvis.drain, 5)


async def what_is_raised(jarvis: Majordomo) -> Page | None:
    try:
        return await jarvis.get_task_data(fetch, "a")
    except TaskTimedOut as timed_out:
        assert_type(timed_out.task, Task[object])
    except (TaskRejected, TaskCancelled) as stopped:
        assert_type(stopped.task.data, object)
    except TaskFailed as failed:
        assert_type(failed.task.subtasks, tuple[Task[object], ...])
        assert_type(failed.__cause__, BaseException | None)
    except (MajordomoStopped, NoCurrentTask, PipelineOrderError) as error:
        print(error)
    return None


# Options that leave the type alone are the same everywhere.


async def options(jarvis: Majordomo, runner: Runner) -> None:
    assert_type(
        jarvis.add_task(
            fetch,
            "a",
            keepalive=math.inf,
            retries=math.inf,
            runner="async",
            id="front page",
            context=contextvars.copy_context(),
        ),
        ResultChannel[Page],
    )
    assert_type(job(fetch, "a", runner=runner), Job[Page])
    patient: TaskOptions = {"keepalive": 60, "retries": 9}
    assert_type(jarvis.add_task(fetch, "a", **patient), ResultChannel[Page])
    assert_type(job(fetch, "a", "b", parallel=True, **patient), Job[list[Page]])
    assert_type(await jarvis.run(fetch, "a", runner="async"), TaskResult[Page])
    assert_type(await jarvis.get_task_data(measure, "a", runner="thread"), int)


async def front_page(jarvis: Majordomo, **options: Unpack[TaskOptions]) -> Page:
    return await jarvis.get_task_data(fetch, "front", **options)


# What changes the type is said in job(): parallel, unwrap, both.


async def parallel_forms(jarvis: Majordomo, urls: list[str], probe: Probe) -> None:
    assert_type(job(fetch, "a", "b", parallel=True), Job[list[Page]])
    assert_type(job(measure, "a", "b", parallel=True), Job[list[int]])
    assert_type(job(greet, "a", "b", parallel=True), Job[list[str]])
    assert_type(job(probe.trace, "a", parallel=True), Job[list[tuple[str, ...]]])
    assert_type(job(partial(shout, loud=True), "a", parallel=True), Job[list[str]])
    assert_type(job(fetch, parallel=True), Job[list[Page]])
    assert_type(job(fetch, *urls, parallel=True, retries=0), Job[list[Page]])

    assert_type(job(total, [1, 2, 3], unwrap=True), Job[int])
    assert_type(job(slow_total, range(5), unwrap=True), Job[int])
    assert_type(job(crawl, urls, unwrap=True), Job[list[Page]])
    assert_type(job(greet, ("a", "good day"), unwrap=True), Job[str])
    assert_type(job(fetch, ("a",), unwrap=True), Job[Page])
    assert_type(job(write_emails, ("hi", urls), unwrap=True), Job[list[str]])

    assert_type(job(fetch, urls, parallel=True, unwrap=True), Job[list[Page]])
    assert_type(job(measure, urls, parallel=True, unwrap=True), Job[list[int]])
    assert_type(job(look_up, *urls, parallel=True), Job[list[int | bytes | None]])
    assert_type(job(Path, urls, parallel=True, unwrap=True), Job[list[Path]])
    assert_type(job(fetch, iter(urls), parallel=True, unwrap=True), Job[list[Page]])
    assert_type(job(Probe, parallel=False, unwrap=False), Job[Probe])

    assert_type(job(fetch_json, "a"), Job[dict[str, Any]])
    assert_type(job(fetch_json, *urls, parallel=True), Job[list[dict[str, Any]]])
    assert_type(job(fetch_json, ("a",), unwrap=True), Job[dict[str, Any]])
    assert_type(
        job(fetch_json, urls, parallel=True, unwrap=True), Job[list[dict[str, Any]]]
    )
    assert_type(job(lambda url: fetch(url), *urls, parallel=True), Job[list[Page]])

    result = await jarvis.run(job(fetch, "a", "b", parallel=True))
    assert_type(result, TaskResult[list[Page]])
    if result.status == "mixed":
        assert_type(result.data, list[Page])


# The pipeline: flatten, filter, pre, sort, post; and salvage.


def to_sizes(pages: list[Page]) -> list[int]:
    return [page.size for page in pages]


async def to_urls(pages: list[Page]) -> list[str]:
    return [page.url for page in pages]


def is_large(page: Page) -> bool:
    return page.size > 1000


async def is_online(page: Page) -> bool:
    await trio.sleep(0)
    return page.size > 0


def size_of(page: Page) -> int:
    return page.size


async def age_of(page: Page) -> float:
    await trio.sleep(0)
    return float(page.size)


def smaller(one: Page, other: Page) -> bool:
    return one.size < other.size


async def older(one: float, other: float) -> bool:
    await trio.sleep(0)
    return one > other


async def summary(sizes: list[int]) -> str:
    return ", ".join(map(str, sizes))


def is_number(value: object) -> TypeIs[int]:
    return isinstance(value, int)


def pages_left(state: object) -> list[Page]:
    return list(state.pages) if isinstance(state, Progress) else []


async def store(state: object) -> str:
    await trio.sleep(0)
    return repr(state)


async def insert(rows: list[dict[str, Any]]) -> int:
    await trio.sleep(0)
    return len(rows)


def half(number: int) -> float:
    return number / 2


def pipeline_of_functions() -> None:
    pages = job(fetch, "a", "b", parallel=True)
    assert_type(pages.filter(is_large), Job[list[Page]])
    assert_type(pages.pre(to_sizes), Job[list[int]])
    assert_type(pages.sort(smaller), Job[list[Page]])
    assert_type(pages.sort(op=smaller), Job[list[Page]])
    assert_type(pages.sort(key=size_of), Job[list[Page]])
    assert_type(pages.sort(operator.gt, key=size_of), Job[list[Page]])
    assert_type(pages.sort(operator.gt, key=size_of, cache_keys=False), Job[list[Page]])
    assert_type(pages.post(len), Job[int])
    assert_type(pages.salvage(pages_left), Job[list[Page]])
    assert_type(
        pages.filter(is_large).pre(to_sizes).sort(operator.gt).post(tuple),
        Job[tuple[int, ...]],
    )
    assert_type(job(cells, 3).filter(is_number), Job[list[int]])
    assert_type(job(cells, 3).filter(is_number).sort(), Job[list[int]])
    assert_type(job(cells, 3).filter(bool), Job[list[int | str | None]])
    assert_type(job(greet, "a").post(str.split), Job[list[str]])
    assert_type(job(greet, "a").post(parse), Job[int | str])
    assert_type(pages.post(tuple).post(len), Job[int])
    assert_type(pages.filter(is_large).filter(is_online), Job[list[Page]])


def pipeline_of_lambdas(names: list[str]) -> None:
    emails = job(write_emails, "hi there", names)
    assert_type(emails.filter(lambda text: text.isascii()), Job[list[str]])
    assert_type(emails.pre(lambda texts: [len(t) for t in texts]), Job[list[int]])
    assert_type(emails.sort(lambda one, other: one < other), Job[list[str]])
    assert_type(emails.sort(key=lambda text: len(text)), Job[list[str]])
    assert_type(emails.sort(operator.gt, key=lambda text: len(text)), Job[list[str]])
    assert_type(
        emails.sort(lambda one, other: one > other, key=lambda text: len(text)),
        Job[list[str]],
    )
    assert_type(emails.post(lambda texts: dict.fromkeys(texts, 0)), Job[dict[str, int]])
    assert_type(emails.salvage(lambda state: state), Job[list[str]])
    assert_type(
        emails.filter(lambda text: text.isascii())
        .pre(lambda texts: [(text, len(text)) for text in texts])
        .sort(operator.gt, key=lambda pair: pair[1])
        .post(lambda pairs: [text for text, _ in pairs])
        .salvage(lambda _: []),
        Job[list[str]],
    )


def pipeline_of_async_functions() -> None:
    pages = job(fetch, "a", "b", parallel=True)
    assert_type(pages.filter(is_online), Job[list[Page]])
    assert_type(pages.pre(to_urls), Job[list[str]])
    assert_type(pages.sort(key=age_of), Job[list[Page]])
    assert_type(pages.sort(operator.gt, key=age_of), Job[list[Page]])
    assert_type(pages.sort(older, key=age_of), Job[list[Page]])
    assert_type(pages.post(to_urls), Job[list[str]])
    assert_type(pages.post(lambda found: to_urls(found)), Job[list[str]])
    assert_type(job(fetch_json, "a", "b", parallel=True).post(insert), Job[int])
    assert_type(pages.salvage(store), Job[list[Page]])
    assert_type(
        pages.filter(is_online).pre(to_sizes).sort().post(summary),
        Job[str],
    )


def rows(count: int) -> list[str]:
    return [str(number) for number in range(count)]


def to_ints(texts: list[str]) -> list[int]:
    return [int(text) for text in texts]


sum_of_rows: Job[int] = (
    job(rows, 3).filter(str.isdecimal).pre(to_ints).sort(key=abs).post(sum)
)
half_of_it: Job[float] = job(rows, 3).pre(to_ints).post(sum).post(half)


# Nested tasks become their data.


def crawled(count: int) -> list[TaskResult[Page]]:
    return [Task(Page("a", count), status="success")]


def good(count: int) -> list[Task[Page, Literal["success"]]]:
    return [Task(Page("a", count), status="success")]


def flattening(
    nested: Task[list[Task[int]], Literal["success"]],
    rows: Task[list[list[Task[int]]], Literal["mixed"]],
    twice: Task[list[Task[Task[int]]]],
    one: Task[Task[str]],
) -> None:
    made = job(make_task, 0, 1, 2, parallel=True)
    assert_type(made, Job[list[Task[int]]])
    assert_type(made.flatten_nested_tasks(), Job[list[int]])
    assert_type(made.flatten_nested_tasks().sort().post(len), Job[int])
    assert_type(job(make_task, "a").flatten_nested_tasks(), Job[str])
    assert_type(flatten_nested_tasks(nested), Task[list[int], Literal["success"]])
    assert_type(flatten_nested_tasks(one), Task[str])
    assert_type(flatten_nested_tasks(rows), Task[list[list[int]], Literal["mixed"]])
    assert_type(job(good, 3).flatten_nested_tasks(), Job[list[Page]])
    assert_type(
        job(good, 3, 4, parallel=True).flatten_nested_tasks(), Job[list[list[Page]]]
    )
    assert_type(flatten_nested_tasks(twice), Task[list[object]])
    flat: Task[list[int]] = flatten_nested_tasks(nested)
    print(flat)
    assert_type(job(make_task, one).flatten_nested_tasks(), Job[object])
    assert_type(job(crawled, 3).flatten_nested_tasks(), Job[list[object]])


# The instance.


async def instance() -> int:
    async with start_majordomo(max_workers=4) as jarvis:
        assert_type(jarvis, Majordomo)
        assert_type(jarvis.id, str)
        await jarvis.drain()
        await jarvis.drain(grace=5)
        jarvis.stop()
        return len(jarvis.id)


async def several(stack: AsyncExitStack, anything: object) -> Majordomo | None:
    async with start_majordomo() as one, start_majordomo(max_workers=math.inf) as two:
        print(one.id, two.id)
    assert_type(await stack.enter_async_context(start_majordomo()), Majordomo)
    return anything if isinstance(anything, Majordomo) else None


# A typed wrapper keeps the types of what it wraps.


def submit(
    jarvis: Majordomo,
    action: Callable[[*Ts], Awaitable[T]],
    *args: *Ts,
    **options: Unpack[TaskOptions],
) -> ResultChannel[T]:
    return jarvis.add_task(action, *args, **options)


class Crawler:
    def __init__(self, jarvis: Majordomo) -> None:
        self.jarvis = jarvis
        self.pending: dict[str, ResultChannel[Page]] = {}

    def add(self, url: str, **options: Unpack[TaskOptions]) -> ResultChannel[Page]:
        return self.pending.setdefault(url, self.jarvis.add_task(fetch, url, **options))

    async def all(self, work: Iterable[Job[T]]) -> list[T]:
        channels = [self.jarvis.add_task(each) for each in work]
        return [await channel.result() for channel in channels]


async def main() -> None:
    async with start_majordomo() as jarvis:
        pages = await Crawler(jarvis).all([job(fetch, "a"), job(fetch, "b")])
        assert_type(pages, list[Page])
        assert_type(submit(jarvis, fetch, "a", retries=0), ResultChannel[Page])


if __name__ == "__main__":
    trio.run(main)
