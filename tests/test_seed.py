"""The demonstrations of the original's document, one by one, and what they print.

Symbols are strings here, hashes are dicts and `sync` is `await channel.receive()`. The
original blocks a thread of its own for each task; here its plain functions run with
runner="inline", and those that wait are async, so that the time is virtual.
"""
# ruff: noqa: T201 - the demonstrations print

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from itertools import cycle
from typing import TypeAlias

import pytest
import trio

from majordomo2 import (
    Job,
    Majordomo,
    ResultChannel,
    Task,
    current_task,
    flatten_nested_tasks,
    is_success,
    job,
    keepalive,
    start_majordomo,
    success,
    task_return_value,
    update_data,
)
from support import untyped
from virtual import run_with

Row: TypeAlias = tuple[str, str, str]

NAMES = ["fred", "barney", "betty", "wilma", "bam-bam"]
ADDRESSES = ("4.4.4.4", "8.8.8.8", "172.67.188.90", "104.21.48.235")


def build_email_text(msg: str, names: list[str]) -> list[str]:
    return [f"Dear {name}: {msg}" for name in names]


def mock_network_function(*ip_addrs: str) -> list[Row]:
    statuses = cycle(["success", "failure", "timeout"])
    return [
        (current_task().id, addr, status)
        for addr, status in zip(ip_addrs, statuses, strict=False)
    ]


def make_task(x: object) -> Task[object]:
    return Task(x)


def emails() -> Job[list[str]]:
    return job(build_email_text, "hi there", NAMES, runner="inline")


def network() -> Job[list[Row]]:
    return job(mock_network_function, *ADDRESSES, runner="inline")


def ids_of(rows: Iterable[Row]) -> list[str]:
    return [id for id, _, _ in rows]


def without_ids(rows: Iterable[Row]) -> list[tuple[str, str]]:
    return [(addr, status) for _, addr, status in rows]


# 2.1 Simple Example


def test_2_1_simple_example() -> None:
    """A function goes in, a channel comes out, and a task out of the channel: SPEC 1, 2."""

    async def body(jarvis: Majordomo) -> object:
        result_channel = jarvis.add_task(
            build_email_text, "hi there", NAMES, runner="inline"
        )
        assert isinstance(result_channel, ResultChannel)
        result = await result_channel.receive()
        assert isinstance(result, Task)
        jarvis.stop()
        return result.data

    assert run_with(body) == [
        "Dear fred: hi there",
        "Dear barney: hi there",
        "Dear betty: hi there",
        "Dear wilma: hi there",
        "Dear bam-bam: hi there",
    ]


# 2.2 Sorting Task Results


def test_2_2_sorting_strings() -> None:
    """`#:sort-op string<?` is `.sort()`: `<` is the default op: SPEC 5.2."""

    async def body(jarvis: Majordomo) -> object:
        return (await jarvis.add_task(emails().sort()).receive()).data

    assert run_with(body) == [
        "Dear bam-bam: hi there",
        "Dear barney: hi there",
        "Dear betty: hi there",
        "Dear fred: hi there",
        "Dear wilma: hi there",
    ]


def test_2_2_the_baseline() -> None:
    """All rows come from one task and say so; the order is that of the arguments."""

    async def body(jarvis: Majordomo) -> list[Row]:
        channel = jarvis.add_task(network())
        rows = await channel.result()
        assert set(ids_of(rows)) == {channel.id}
        assert channel.id.startswith("task-")
        return rows

    assert without_ids(run_with(body)) == [
        ("4.4.4.4", "success"),
        ("8.8.8.8", "failure"),
        ("172.67.188.90", "timeout"),
        ("104.21.48.235", "success"),
    ]


@pytest.mark.parametrize("cache_keys", [True, False])
def test_2_2_sorting_by_a_key(cache_keys: bool) -> None:
    """Equal keys keep their order, with cached keys and without.

    The original caches keys only on request; here `cache_keys=True` is the default, as
    in Python's own sort (SPEC 5.2, 13).
    """

    async def body(jarvis: Majordomo) -> list[Row]:
        by_status = network().sort(
            operator.lt, key=operator.itemgetter(-1), cache_keys=cache_keys
        )
        channel = jarvis.add_task(by_status)
        rows = await channel.result()
        assert set(ids_of(rows)) == {channel.id}
        return rows

    assert without_ids(run_with(body)) == [
        ("8.8.8.8", "failure"),
        ("4.4.4.4", "success"),
        ("104.21.48.235", "success"),
        ("172.67.188.90", "timeout"),
    ]


# 2.3 Pre- and Post-Processing


def test_2_3_pre_and_post_processing() -> None:
    """First `pre`, then the sort, then `post`: SPEC 5.1."""

    def be_friendly(texts: list[str]) -> list[str]:
        return [f"{text}, my friend." for text in texts]

    def to_titles(texts: list[str]) -> list[str]:
        return [text.title() for text in texts]

    async def body(jarvis: Majordomo) -> object:
        pretty = emails().pre(be_friendly).sort(operator.lt, key=len).post(to_titles)
        return (await jarvis.add_task(pretty).receive()).data

    assert run_with(body) == [
        "Dear Fred: Hi There, My Friend.",
        "Dear Betty: Hi There, My Friend.",
        "Dear Wilma: Hi There, My Friend.",
        "Dear Barney: Hi There, My Friend.",
        "Dear Bam-Bam: Hi There, My Friend.",
    ]


# 2.4 Filtering Task Results


def test_2_4_filtering() -> None:
    """Only what `filter` lets through reaches `pre`, which would raise: SPEC 5.1."""

    def simple() -> list[object]:
        success([1, 2, 3, 4, 5, 6, False, "error"])

    def even_number(x: object) -> bool:
        return isinstance(x, int) and not isinstance(x, bool) and x % 2 == 0

    def raise_if_odd(numbers: list[object]) -> list[object]:
        if not all(map(even_number, numbers)):
            raise ValueError("failed")
        return numbers

    async def body(jarvis: Majordomo) -> object:
        work: Job[list[int]] = untyped(
            job(simple, runner="inline").filter(even_number).pre(raise_if_odd)
        )
        return (await jarvis.add_task(work.sort(operator.gt)).receive()).data

    assert run_with(body) == [6, 4, 2]


# 2.5 Restarting


def test_2_5_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    """With no retries the function is run once, and its exception is the data: SPEC 4.2."""

    def failing_func() -> None:
        print("inside failing-func")
        raise ValueError("failing-func: I don't feel so good")

    async def body(jarvis: Majordomo) -> None:
        result = await jarvis.add_task(
            failing_func, retries=0, runner="inline"
        ).receive()
        assert result.status == "failure"
        print(f"Data after failure was: {result.data!r}")

    run_with(body)
    assert capsys.readouterr().out.splitlines() == [
        "inside failing-func",
        """Data after failure was: ValueError("failing-func: I don't feel so good")""",
    ]


def test_2_5_a_failure_is_restarted(capsys: pytest.CaptureFixture[str]) -> None:
    """Without `retries=` there are 3 of them, "meaning a total of 4 attempts".

    So says the original's document. Its code ends the task at the first raise; here the
    document counts (SPEC 4.2, 13).
    """

    def failing_func() -> None:
        print("inside failing-func")
        raise ValueError("I don't feel so good")

    async def body(jarvis: Majordomo) -> int:
        return (await jarvis.add_task(failing_func, runner="inline").receive()).attempts

    assert run_with(body) == 4
    assert capsys.readouterr().out == "inside failing-func\n" * 4


def test_2_5_state_over_restarts(capsys: pytest.CaptureFixture[str]) -> None:
    """Each attempt goes on from where the one before fell silent: SPEC 4.3.

    The original gives the state of the timeout to `post`. Here a timeout never goes
    through the pipeline, so that `post` gets the type that it says; its state is tidied
    by `salvage` (SPEC 5.3, 13).
    """

    async def func_times_out(*args: int) -> None:
        match untyped(current_task().data):
            case {"remaining-args": [current, *remaining], "results": [*results]}:
                print(f"Marking {current} as processed...")
                update_data(
                    {"remaining-args": remaining, "results": [current, *results]}
                )
            case _:
                print("Initial start.  Hello!")
                update_data({"remaining-args": [*args], "results": []})
        print("Intentional timeout to demonstrate restart.")
        await trio.sleep(math.inf)
        print("Goodbye.")

    def reverse_results(state: object) -> object:
        data = untyped(state)
        return {**data, "results": data["results"][::-1]}

    async def body(jarvis: Majordomo) -> None:
        work = job(func_times_out, 1, 2, 3, 4, 5, 6, keepalive=0.1)
        result = await jarvis.add_task(work.salvage(reverse_results)).receive()
        print(f"Final status was: {result.status!r}")
        print(f"Final data was: {result.data!r}")
        assert result.attempts == 4
        assert trio.current_time() == pytest.approx(0.4)

    run_with(body)
    assert capsys.readouterr().out.splitlines() == [
        "Initial start.  Hello!",
        "Intentional timeout to demonstrate restart.",
        "Marking 1 as processed...",
        "Intentional timeout to demonstrate restart.",
        "Marking 2 as processed...",
        "Intentional timeout to demonstrate restart.",
        "Marking 3 as processed...",
        "Intentional timeout to demonstrate restart.",
        "Final status was: 'timeout'",
        "Final data was: {'remaining-args': [4, 5, 6], 'results': [1, 2, 3]}",
    ]


@pytest.mark.parametrize(
    ("seconds", "status", "data"),
    [(0.25, "success", "finished"), (0.05, "timeout", {})],
)
def test_2_5_a_long_running_task(
    seconds: float, status: str, data: object, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pings keep a long task alive, if they come soon enough: SPEC 4.3, 4.5."""

    async def long_running_task() -> str:
        for _ in range(10):
            await trio.sleep(0.1)
            keepalive()
        success("finished")

    async def body(jarvis: Majordomo) -> None:
        channel = jarvis.add_task(long_running_task, retries=0, keepalive=seconds)
        result = await channel.receive()
        print(f"Final status of long-running task was: {result.status!r}")
        print(f"Final data of long-running task was: {result.data!r}")

    run_with(body)
    assert capsys.readouterr().out.splitlines() == [
        f"Final status of long-running task was: {status!r}",
        f"Final data of long-running task was: {data!r}",
    ]


# 2.6 Parallelization


def test_2_6_in_series() -> None:
    """The id is the same throughout."""

    async def body(jarvis: Majordomo) -> list[Row]:
        return await jarvis.add_task(network()).result()

    rows = run_with(body)
    assert len(set(ids_of(rows))) == 1
    assert without_ids(rows) == [
        ("4.4.4.4", "success"),
        ("8.8.8.8", "failure"),
        ("172.67.188.90", "timeout"),
        ("104.21.48.235", "success"),
    ]


def parallel_network() -> Job[list[list[Row]]]:
    return job(mock_network_function, *ADDRESSES, parallel=True, runner="inline")


IN_PARALLEL = [
    ("4.4.4.4", "success"),
    ("8.8.8.8", "success"),
    ("172.67.188.90", "success"),
    ("104.21.48.235", "success"),
]


def test_2_6_in_parallel() -> None:
    """Each argument has a subtask and so an id of its own; the results are in order.

    `parallel` is said in `job()`, since it changes the type of the result, and
    `add_task` returns at once for it too (SPEC 6.1, 6.4, 13).
    """

    async def body(jarvis: Majordomo) -> list[list[Row]]:
        channel = jarvis.add_task(parallel_network())
        assert not channel.done
        result = await channel.receive()
        lists = result.result()
        ids = [part.id for part in result.subtasks]
        assert [ids_of(rows) for rows in lists] == [[id] for id in ids]
        assert len({channel.id, *ids}) == 5
        return lists

    lists = run_with(body)
    assert [without_ids(rows) for rows in lists] == [[row] for row in IN_PARALLEL]


def test_2_6_in_parallel_and_appended() -> None:
    """`post` joins the lists of the subtasks into one: SPEC 5.2."""

    def append(lists: list[list[Row]]) -> list[Row]:
        return [row for rows in lists for row in rows]

    async def body(jarvis: Majordomo) -> list[Row]:
        return await jarvis.add_task(parallel_network().post(append)).result()

    rows = run_with(body)
    assert len(set(ids_of(rows))) == 4
    assert without_ids(rows) == IN_PARALLEL


# 2.7 Unwrapping


def plus(*numbers: int) -> int:
    return sum(numbers)


def test_2_7_without_unwrapping() -> None:
    """The list is one argument, which the function can't add.

    It is restarted 3 times before that is the result: see 2.5 (SPEC 4.2, 13).
    """

    async def body(jarvis: Majordomo) -> None:
        args = list(range(5))
        wrong = untyped(jarvis).add_task(plus, args, runner="inline")
        result = await wrong.receive()
        assert result.status == "failure"
        assert isinstance(result.data, TypeError)
        assert "unsupported operand type(s) for +" in str(result.data)
        assert result.attempts == 4

    run_with(body)


def test_2_7_with_unwrapping() -> None:
    """`unwrap=True` takes the list as the arguments: SPEC 6.3."""

    async def body(jarvis: Majordomo) -> object:
        args = list(range(5))
        work = job(plus, args, unwrap=True, runner="inline")
        return (await jarvis.add_task(work).receive()).data

    assert run_with(body) == 10


# 2.8 Flattening


def test_2_8_flattening(capsys: pytest.CaptureFixture[str]) -> None:
    """Tasks in the data become their data, on request, at any depth: SPEC 5.4."""

    async def body(jarvis: Majordomo) -> None:
        made = job(make_task, 0, 1, 2, parallel=True, runner="inline")
        without_flatten = await jarvis.run(made)
        numbers: list[object] = [make_task(i) for i in range(3)]
        nested = await jarvis.run(
            job(make_task, numbers, unwrap=True, parallel=True, runner="inline")
        )
        last = make_task(make_task(3))
        with_flatten = await jarvis.run(
            job(
                make_task, 0, 1, 2, last, parallel=True, runner="inline"
            ).flatten_nested_tasks()
        )
        assert is_success(without_flatten)
        assert is_success(nested)
        tasks = without_flatten.data
        assert all(type(each) is Task for each in tasks)
        print(f"data from without-flatten: {[type(each).__name__ for each in tasks]}")
        print(f"data from nested tasks in it: {[task.data for task in tasks]}")
        flat = flatten_nested_tasks(without_flatten)
        assert (flat.id, flat.status) == (without_flatten.id, "success")
        print(f"data via explicit call to flatten_nested_tasks: {flat.data}")
        print(f"data via .flatten_nested_tasks(): {with_flatten.data}")
        twice = flatten_nested_tasks(nested)
        print(f"data of nested, flattened: {twice.data}")
        jarvis.stop()

    run_with(body)
    assert capsys.readouterr().out.splitlines() == [
        "data from without-flatten: ['Task', 'Task', 'Task']",
        "data from nested tasks in it: [0, 1, 2]",
        "data via explicit call to flatten_nested_tasks: [0, 1, 2]",
        "data via .flatten_nested_tasks(): [0, 1, 2, 3]",
        "data of nested, flattened: [0, 1, 2]",
    ]


# 2.9 Convenience Functions


def test_2_9_task_return_value() -> None:
    """A channel that yields a given value; no instance needs to be started: SPEC 2.

    The original starts one, and leaves it.
    """

    async def main() -> object:
        channel = task_return_value("hello")
        assert isinstance(channel, ResultChannel)
        assert channel.done
        result = await channel.receive()
        assert result.status == "success"
        return result.data

    assert trio.run(main) == "hello"


def test_2_9_get_task_data() -> None:
    """Adds a task, waits and fetches the data: SPEC 7.6."""

    def add1(number: int) -> int:
        return number + 1

    async def main() -> int:
        async with start_majordomo() as jarvis:
            return await jarvis.get_task_data(add1, 7, runner="inline")

    assert trio.run(main) == 8


def test_2_9_get_task_data_raises() -> None:
    """What the original gives as data, an exception, is raised here (SPEC 7.6, 13)."""

    async def no() -> int:
        raise ValueError("no")

    async def body(jarvis: Majordomo) -> None:
        with pytest.raises(Exception, match=r"ValueError.*no") as caught:
            await jarvis.get_task_data(no)
        assert isinstance(caught.value.__cause__, ValueError)

    run_with(body)
