"""Who may start, and who lends the slot while it waits."""

from __future__ import annotations

import math
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from heapq import heappop, heappush

import pytest
import trio
import trio.testing
from hypothesis import example, given, settings, strategies as st

from majordomo2 import (
    Majordomo,
    ResultChannel,
    current_task,
    job,
    keepalive,
    start_majordomo,
)
from virtual import run, run_with


class Sulk(Exception):
    """Raised by actions."""


class Floor:
    """Where actions work, and how many did so at once."""

    def __init__(self) -> None:
        self.at_work = 0
        self.most = 0
        self.started: list[object] = []

    async def work(self, name: object = None, seconds: float = 1) -> object:
        self.started.append(name)
        self.at_work += 1
        self.most = max(self.most, self.at_work)
        try:
            await trio.sleep(seconds)
        finally:
            self.at_work -= 1
        return name


async def value(data: object) -> object:
    return data


# Order


@pytest.mark.parametrize("priority", [0, 7, -1.5])
def test_arrival_order(priority: float) -> None:
    """SPEC 7.7: slots are given in order of arrival, exactly."""
    floor = Floor()

    async def main(jarvis: Majordomo) -> None:
        for number in range(100):
            jarvis.add_task(floor.work, number, priority=priority)

    run_with(main, max_workers=1)
    assert floor.started == list(range(100))


def test_larger_priorities_first() -> None:
    """SPEC 7.7: and in order of arrival among equals, also for those queued before the
    first that has one.
    """
    floor = Floor()

    async def main(jarvis: Majordomo) -> None:
        jarvis.add_task(floor.work, "first")
        for number, priority in enumerate([0, 0, 1, -1, math.inf, 1, 0, -math.inf]):
            jarvis.add_task(floor.work, (priority, number), priority=priority)

    run_with(main, max_workers=1)
    assert floor.started == [
        "first",
        (math.inf, 4),
        (1, 2),
        (1, 5),
        (0, 0),
        (0, 1),
        (0, 6),
        (-1, 3),
        (-math.inf, 7),
    ]


def test_a_priority_gives_no_slot_of_those_at_work() -> None:
    """SPEC 7.7: what has started goes on."""
    floor = Floor()

    async def main(jarvis: Majordomo) -> None:
        jarvis.add_task(floor.work, "a", 10, keepalive=math.inf)
        await trio.sleep(1)
        assert (await jarvis.run(floor.work, "b", priority=9)).data == "b"
        assert trio.current_time() >= 10

    run_with(main, max_workers=1)
    assert floor.most == 1


@given(
    tasks=st.lists(
        st.tuples(st.sampled_from([-1, 0, 0, 0, 1, 2]), st.integers(0, 2)),
        max_size=15,
    ),
    cancelled=st.sets(st.integers(0, 14)),
    later=st.lists(st.tuples(st.integers(0, 8), st.integers(-1, 2)), max_size=4),
)
@example([(0, 1), (0, 0)], set(), [])
@settings(max_examples=150, deadline=None)
def test_the_order_is_that_of_a_heap(
    tasks: list[tuple[int, int]],
    cancelled: set[int],
    later: list[tuple[int, int]],
) -> None:
    """SPEC 7.7: by priority, then arrival; a restart arrives when its attempt ends, and
    who was cancelled in the queue takes no turn.

    Each action takes a second, and fails as often as it is told; with one worker, one
    starts each second.
    """
    started: list[int] = []

    async def action(number: int, fails: int) -> None:
        started.append(number)
        await trio.sleep(1)
        if current_task().attempts <= fails:
            raise Sulk

    async def main(jarvis: Majordomo) -> None:
        jarvis.add_task(action, -1, 0)
        channels = [
            jarvis.add_task(action, number, fails, priority=priority)
            for number, (priority, fails) in enumerate(tasks)
        ]
        await trio.sleep(0.25)
        for number in cancelled:
            if number < len(channels):
                channels[number].cancel()
                assert channels[number].done
        moment = 0
        for index, (seconds, priority) in enumerate(later):
            await trio.sleep(seconds)
            moment += seconds
            jarvis.add_task(action, 100 + index, 0, priority=priority)

    run_with(main, max_workers=1)

    arrivals: list[tuple[float, int, int]] = []  # when, priority, number
    due: list[tuple[float, int, int]] = []
    at = 0.25
    for index, (seconds, priority) in enumerate(later):
        at += seconds
        due.append((at, priority, 100 + index))
    fails_left = {number: fails for number, (_, fails) in enumerate(tasks)}
    priorities = {number: priority for number, (priority, _) in enumerate(tasks)}
    order = 0
    for number, priority in priorities.items():
        if number not in cancelled:
            order += 1
            heappush(arrivals, (-priority, order, number))
    expected, running, now = [-1], -1, 0.0
    while True:
        end = now + 1
        while due and due[0][0] < end:
            _, priority, number = due.pop(0)
            order += 1
            heappush(arrivals, (-priority, order, number))
        now = end
        if running >= 0 and fails_left.get(running, 0) > 0:
            fails_left[running] -= 1
            order += 1
            heappush(arrivals, (-priorities[running], order, running))
        if not arrivals:
            if not due:
                break
            now, priority, running = due.pop(0)
        else:
            running = heappop(arrivals)[2]
        expected.append(running)
    assert started == expected


# Slots


def test_cancelled_in_the_queue() -> None:
    """SPEC 7.7: it ends at once, with no attempt, and costs no slot."""
    floor = Floor()

    async def main(jarvis: Majordomo) -> None:
        for priority in (0, 1):
            jarvis.add_task(floor.work, "busy")
            lost = [
                jarvis.add_task(floor.work, "lost", priority=priority)
                for _ in range(50)
            ]
            last = jarvis.add_task(floor.work, "last")
            for channel in lost:
                channel.cancel()
                assert channel.done
                assert (await channel.receive()).attempts == 0
            assert jarvis.statistics().queued <= 2
            await last.receive()

    run_with(main, max_workers=1)
    assert floor.started == ["busy", "last"] * 2


@pytest.mark.parametrize(
    "end", ["return", "raise", "silence", "attempt_timeout", "cancel", "total_timeout"]
)
@pytest.mark.parametrize("workers", [1, 2])
def test_slots_are_given_back(end: str, workers: int) -> None:
    """SPEC 7.7: however an attempt ends; many of them leave the bound as it was."""
    floor = Floor()

    async def action() -> None:
        if end == "return":
            return
        if end == "raise":
            raise Sulk
        while True:
            await floor.work(seconds=0.5)
            if end != "silence":
                keepalive()
            else:
                await floor.work(seconds=100)

    async def main(jarvis: Majordomo) -> None:
        channels = [
            jarvis.add_task(
                action,
                retries=1,
                keepalive=3,
                attempt_timeout=2.25 if end == "attempt_timeout" else math.inf,
                total_timeout=2.25 if end == "total_timeout" else math.inf,
            )
            for _ in range(7)
        ]
        while end == "cancel" and channels:
            await trio.sleep(1)
            channels.pop(0).cancel()
        for channel in channels:
            await channel.receive()
        start = trio.current_time()
        for _ in range(4 * workers):
            jarvis.add_task(floor.work)
        await jarvis.drain()
        assert trio.current_time() - start == 4
        assert "running=0" in repr(jarvis) or "stopped" in repr(jarvis)

    run_with(main, max_workers=workers)
    assert floor.most <= workers


def test_backoff_and_parallel_parents_hold_no_slot() -> None:
    """SPEC 6.1, 8.2: others work meanwhile."""
    floor = Floor()

    async def waits(_item: int) -> None:
        if current_task().attempts == 1:
            raise Sulk

    async def main(jarvis: Majordomo) -> None:
        start = trio.current_time()
        retry: Callable[[Exception], float] = lambda _: 100.0  # noqa: E731
        slow = jarvis.add_task(job(waits, 1, 2, parallel=True, retry_on=retry))
        await jarvis.run(floor.work)
        assert trio.current_time() - start == 1
        assert (await slow.receive()).status == "success"
        assert trio.current_time() - start == 100

    run_with(main, max_workers=1)


# Lending

WAYS = ["receive", "result", "run", "get_task_data", "a child", "a thread", "parallel"]


async def wait_for(
    way: str, jarvis: Majordomo, action: Callable[[int], Awaitable[int]], arg: int
) -> int:
    """The data of a task, waited for in some way."""
    if way == "receive":
        return (await jarvis.add_task(action, arg).receive()).result()
    if way == "result":
        return await jarvis.add_task(action, arg).result()
    if way == "run":
        return (await jarvis.run(action, arg)).result()
    if way == "get_task_data":
        return await jarvis.get_task_data(action, arg)
    if way == "parallel":
        return sum(await jarvis.get_task_data(job(action, arg, parallel=True)))
    found: list[int] = []

    async def child() -> None:
        if way == "a child":
            found.append(await jarvis.get_task_data(action, arg))
        else:
            found.append(await trio.to_thread.run_sync(in_thread))

    def in_thread() -> int:
        return trio.from_thread.run(jarvis.get_task_data, action, arg)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(child)
    return found[0]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("depth", [1, 2, 7])
@pytest.mark.parametrize("way", [way for way in WAYS if way != "a thread"])
def test_nested_tasks(way: str, depth: int, workers: int) -> None:
    """SPEC 7.7: they never deadlock, at any depth, and the bound holds."""
    floor = Floor()

    async def main(jarvis: Majordomo) -> None:
        async def action(level: int) -> int:
            await floor.work(level)
            below = await wait_for(way, jarvis, action, level - 1) if level else 0
            await floor.work(level)
            return below + 1

        assert await jarvis.get_task_data(action, depth) == depth + 1
        assert f"running={0}" in repr(jarvis)

    run_with(main, max_workers=workers)
    assert floor.most == 1


@pytest.mark.parametrize("depth", [1, 3])
def test_nested_tasks_through_threads(depth: int) -> None:
    """SPEC 7.7: also if a thread inside an action waits, by `trio.from_thread`."""

    async def main() -> None:
        async with start_majordomo(max_workers=1) as jarvis:

            async def action(level: int) -> int:
                if not level:
                    return 1
                return 1 + await wait_for("a thread", jarvis, action, level - 1)

            with trio.fail_after(30):
                assert await jarvis.get_task_data(action, depth) == depth + 1

    trio.run(main)


@pytest.mark.parametrize(
    "inner",
    [
        "async",
        pytest.param(
            "thread",
        ),
    ],
)
def test_an_action_in_a_thread_that_waits(inner: str) -> None:
    """SPEC 7.7: it lends its slot, and all that goes with it."""

    async def awaited() -> int:
        return 1

    def plain() -> int:
        return 1

    async def main() -> None:
        async with start_majordomo(max_workers=1) as jarvis:

            def outer() -> int:
                if inner == "async":
                    return trio.from_thread.run(jarvis.get_task_data, awaited)
                return trio.from_thread.run(jarvis.get_task_data, plain)

            try:
                with trio.fail_after(0.5 if inner == "thread" else 30):
                    assert await jarvis.get_task_data(outer, keepalive=60) == 1
            finally:
                jarvis.stop()

    trio.run(main)


def test_as_many_threads_that_wait_as_there_may_be() -> None:
    """SPEC 7.7, 9.2: nested plain functions never deadlock, without a bound either: who
    waits lends the place of its thread, too.
    """
    number = 40  # threads at once, if `max_workers` is unlimited
    all_began = threading.Barrier(number)

    def inner() -> int:
        return 1

    async def main() -> None:
        async with start_majordomo() as jarvis:

            def outer() -> int:
                all_began.wait(30)
                return trio.from_thread.run(jarvis.get_task_data, inner)

            with trio.fail_after(10):
                for _ in range(2):  # the second time with the places of the first
                    channels = [
                        jarvis.add_task(outer, keepalive=60) for _ in range(number)
                    ]
                    assert [await each.result() for each in channels] == [1] * number

    trio.run(main)


def test_the_bound_holds_while_slots_are_lent() -> None:
    """SPEC 7.7: at every moment, with more of them than workers."""
    floor = Floor()

    async def main(jarvis: Majordomo) -> None:
        async def outer(number: int) -> object:
            await floor.work(seconds=0.5)
            found = await jarvis.get_task_data(floor.work, number, keepalive=99)
            await floor.work(seconds=1.5)
            return found

        async with jarvis.map(
            outer, range(20), max_in_flight=20, keepalive=math.inf
        ) as results:
            assert [task.data async for task in results] == list(range(20))

    run_with(main, max_workers=3)
    assert floor.most == 3


@given(
    data=st.data(),
    workers=st.integers(1, 3),
    roots=st.integers(1, 4),
)
@settings(max_examples=100, deadline=None)
def test_whatever_they_do(data: st.DataObject, workers: int, roots: int) -> None:
    """SPEC 7.7: trees of tasks that work, wait, and give up waiting all end, and never
    more than max_workers of them are at work.
    """
    steps = st.lists(
        st.tuples(
            st.sampled_from(["work", "run", "receive", "give up", "map"]),
            st.integers(0, 3),
        ),
        max_size=3,
    )
    plans = data.draw(st.lists(steps, min_size=1, max_size=5))
    floor = Floor()

    async def main(jarvis: Majordomo) -> None:
        async def action(level: int) -> int:
            await floor.work(seconds=0.25)
            for what, number in plans[level % len(plans)]:
                if what == "work" or level > 2:
                    await floor.work(seconds=number)
                elif what == "run":
                    await jarvis.run(action, level + 1, keepalive=math.inf)
                elif what == "receive":
                    channel = jarvis.add_task(action, level + 1, keepalive=math.inf)
                    await floor.work(seconds=number)
                    await channel.receive()
                elif what == "give up":
                    with trio.move_on_after(number):
                        await jarvis.run(action, level + 1, keepalive=math.inf)
                else:
                    async with jarvis.map(
                        action, [level + 1] * number, keepalive=math.inf
                    ) as results:
                        async for _ in results:
                            await floor.work(seconds=0.5)
                await floor.work(seconds=0.125)
            return level

        channels = [
            jarvis.add_task(action, 0, keepalive=math.inf) for _ in range(roots)
        ]
        for channel in channels:
            assert (await channel.receive()).status == "success"
        await jarvis.drain()  # who was cancelled may have left some behind
        left = jarvis.statistics()
        assert (left.queued, left.running, left.waiting) == (0, 0, 0)

    run_with(main, max_workers=workers)
    assert floor.most <= workers


def test_two_children_that_wait() -> None:
    """SPEC 7.7: for one task each, the second of which needs the slot."""
    floor = Floor()

    async def main(jarvis: Majordomo) -> None:
        async def action() -> None:
            channels = [jarvis.add_task(floor.work, n) for n in range(4)]
            async with trio.open_nursery() as nursery:
                for channel in channels:
                    nursery.start_soon(channel.receive)

        with trio.fail_after(1000):
            task = await jarvis.run(action, keepalive=math.inf)
        assert task.status == "success"

    run_with(main, max_workers=1)
    assert floor.started == [0, 1, 2, 3]


def test_a_child_that_waits_while_the_slot_is_asked_back() -> None:
    """SPEC 7.7: what is not there cannot be lent a second time."""
    floor = Floor()

    async def main(jarvis: Majordomo) -> None:
        async def action() -> None:
            short = jarvis.add_task(floor.work, "short")
            long = jarvis.add_task(floor.work, "long", 10, keepalive=math.inf)
            last = jarvis.add_task(floor.work, "last")

            async def early() -> None:
                await short.receive()
                await floor.work("early")

            async def late() -> None:
                await trio.sleep(3)
                await last.receive()
                await floor.work("late")

            async with trio.open_nursery() as nursery:
                nursery.start_soon(early)
                nursery.start_soon(late)
            await long.receive()

        with trio.fail_after(1000):
            assert (await jarvis.run(action, keepalive=math.inf)).status == "success"

    run_with(main, max_workers=1)
    assert floor.most == 1


def test_an_action_that_ends_while_a_leftover_waits() -> None:
    """SPEC 7.7: its slot was lent; it is not given back once more."""
    floor = Floor()

    async def main() -> None:
        async with (
            trio.open_nursery() as outer,
            start_majordomo(max_workers=1) as jarvis,
        ):

            async def action() -> None:
                channel = jarvis.add_task(floor.work, "waited for")
                for number in range(4):
                    jarvis.add_task(floor.work, number)
                outer.start_soon(channel.receive)
                await trio.sleep(0.5)

            await jarvis.run(action)

    run(main)
    assert floor.most == 1


def test_a_thread_that_is_abandoned_while_it_waits() -> None:
    """SPEC 7.7: the same for a thread, which goes on waiting."""
    most = 0
    now = 0
    lent = threading.Event()
    gate = trio.Event()

    async def main() -> None:
        async with start_majordomo(max_workers=1) as jarvis:

            async def busy() -> None:
                nonlocal most, now
                now += 1
                most = max(most, now)
                lent.set()
                await gate.wait()
                now -= 1

            def action() -> None:
                trio.from_thread.run(jarvis.run, busy)

            channel = jarvis.add_task(action, keepalive=math.inf)
            await trio.to_thread.run_sync(lent.wait)
            others = [jarvis.add_task(busy) for _ in range(3)]
            channel.cancel()
            assert (await channel.receive()).status == "cancelled"
            await trio.testing.wait_all_tasks_blocked(0.05)
            gate.set()
            for other in others:
                await other.receive()

    trio.run(main)
    assert most == 1


def test_a_leftover_that_waits_for_its_slot() -> None:
    """SPEC 7.7: the action ends meanwhile; then nobody needs the slot, and it is free."""
    floor = Floor()

    async def main() -> None:
        async with (
            trio.open_nursery() as outer,
            start_majordomo(max_workers=1) as jarvis,
        ):

            async def leftover() -> None:
                channel = jarvis.add_task(floor.work, "slow", 5, keepalive=math.inf)
                with trio.move_on_after(1):
                    await channel.receive()  # given up: back with its slot, at 5

            async def action() -> None:
                outer.start_soon(leftover)
                await trio.sleep(2)

            await jarvis.run(action)
            await trio.sleep(10)
            assert jarvis.statistics().running == 0
            assert "running=0" in repr(jarvis)
            with trio.fail_after(1000):
                channels = [jarvis.add_task(floor.work, n) for n in range(2)]
                for channel in channels:
                    await channel.receive()

    run(main)
    assert floor.started == ["slow", 0, 1]
    assert floor.most == 1


def test_a_thread_that_is_abandoned_while_it_waits_for_its_slot() -> None:
    """SPEC 7.7, 9.2: the same for a thread, and for the place that it had."""

    async def main() -> None:
        busy, gate, given_up = trio.Event(), trio.Event(), trio.CancelScope()

        async def has_the_slot() -> None:
            busy.set()
            await gate.wait()

        def plain() -> str:
            return "ran"

        async with start_majordomo(max_workers=1) as jarvis:

            async def wait() -> None:
                channel = jarvis.add_task(has_the_slot, keepalive=math.inf)
                with given_up:
                    await channel.receive()

            def action() -> None:
                trio.from_thread.run(wait)

            with trio.fail_after(10):
                channel = jarvis.add_task(action, keepalive=math.inf)
                await busy.wait()
                given_up.cancel()
                await trio.testing.wait_all_tasks_blocked()
                channel.cancel()
                assert (await channel.receive()).status == "cancelled"
                gate.set()
                for _ in range(2):
                    assert (await jarvis.run(plain)).data == "ran"
            assert "running=0" in repr(jarvis)

    trio.run(main)


def test_the_keepalive_pauses() -> None:
    """SPEC 7.7: and goes on with what was left when the wait began."""

    async def main(jarvis: Majordomo) -> None:
        async def action(left: float) -> None:
            await trio.sleep(3)
            await jarvis.run(trio.sleep, 100, keepalive=math.inf)
            await trio.sleep(left)

        start = trio.current_time()
        assert (await jarvis.run(action, 1.5, retries=0)).status == "success"
        task = await jarvis.run(action, 2.5, retries=0)
        assert task.status == "timeout"
        assert trio.current_time() - start == (3 + 100 + 1.5) + (3 + 100 + 2)

    run_with(main, max_workers=1)


def test_the_keepalive_pauses_until_the_slot_is_back() -> None:
    """SPEC 4.3, 7.7: it never runs while an action waits for its slot."""

    async def main(jarvis: Majordomo) -> None:
        async def action() -> None:
            await trio.sleep(1)
            first = jarvis.add_task(trio.sleep, 2)
            jarvis.add_task(trio.sleep, 50, keepalive=math.inf)
            jarvis.add_task(trio.sleep, 50, keepalive=math.inf)
            with trio.move_on_after(2.5):
                await trio.sleep(0.25)
                await first.receive()
                await trio.sleep(2.25)
            await trio.sleep(1)

        task = await jarvis.run(action, retries=0)
        assert task.status == "success"

    run_with(main, max_workers=1)


@pytest.mark.parametrize("clock", ["attempt_timeout", "total_timeout"])
def test_the_other_clocks_do_not_pause(clock: str) -> None:
    """SPEC 8.3: `attempt_timeout` and `total_timeout` run on while it waits."""

    async def main(jarvis: Majordomo) -> None:
        async def action() -> None:
            await jarvis.run(trio.sleep, 100, keepalive=math.inf)

        start = trio.current_time()
        if clock == "attempt_timeout":
            task = await jarvis.run(action, attempt_timeout=7, retries=0)
        else:
            task = await jarvis.run(action, total_timeout=7)
        assert task.status == "timeout"
        assert trio.current_time() - start == 7
        assert jarvis.statistics().finished["cancelled"] == 1

    run_with(main, max_workers=1)


def test_the_slot_is_back_before_the_code_goes_on() -> None:
    """SPEC 7.7: a wait that is given up may be delayed by that."""
    floor = Floor()
    moments: list[float] = []

    async def main(jarvis: Majordomo) -> None:
        async def action() -> None:
            start = trio.current_time()
            channel = jarvis.add_task(floor.work, "slow", 10, keepalive=math.inf)
            with trio.move_on_after(2) as scope:
                await channel.receive()
            assert scope.cancelled_caught
            await floor.work("after")
            moments.append(trio.current_time() - start)
            assert channel.done

        assert (await jarvis.run(action)).status == "success"

    run_with(main, max_workers=1)
    assert moments == [11]
    assert floor.most == 1


@pytest.mark.parametrize("method", ["run", "get_task_data"])
@pytest.mark.parametrize("how", ["move_on_after", "cancel", "attempt_timeout"])
def test_a_run_that_is_given_up(method: str, how: str) -> None:
    """SPEC 7.6, 7.7: the task is cancelled first, so its slot is soon free."""

    async def main(jarvis: Majordomo) -> None:
        async def action() -> None:
            wait = jarvis.run if method == "run" else jarvis.get_task_data
            sleep = partial(wait, trio.sleep_forever, keepalive=math.inf)
            if how == "move_on_after":
                with trio.move_on_after(2):
                    await sleep()
            else:
                await sleep()

        start = trio.current_time()
        timeout = 2 if how == "attempt_timeout" else math.inf
        channel = jarvis.add_task(action, attempt_timeout=timeout, retries=0)
        if how == "cancel":
            await trio.sleep(2)
            channel.cancel()
        with trio.fail_after(1000):
            status = (await channel.receive()).status
        assert trio.current_time() - start == 2
        assert (
            status
            == {
                "move_on_after": "success",
                "cancel": "cancelled",
                "attempt_timeout": "timeout",
            }[how]
        )

    run_with(main, max_workers=1)


def test_those_who_lent_come_first() -> None:
    """SPEC 7.7: a free slot goes to an action that has begun, before the queue."""
    floor = Floor()

    async def main(jarvis: Majordomo) -> None:
        async def outer() -> None:
            await jarvis.run(floor.work, "inner")
            await floor.work("outer")

        jarvis.add_task(outer)
        await trio.sleep(0.5)
        for number in range(3):
            jarvis.add_task(floor.work, number, priority=5)

    run_with(main, max_workers=1)
    assert floor.most == 1
    assert floor.started == ["inner", "outer", 0, 1, 2]


def test_stop_while_slots_are_lent() -> None:
    """SPEC 7.2: all end, at any depth."""

    async def main(jarvis: Majordomo) -> None:
        async def action(level: int) -> None:
            if level:
                await jarvis.run(action, level - 1)
            await trio.sleep_forever()

        channels = [jarvis.add_task(action, 5) for _ in range(3)]
        await trio.testing.wait_all_tasks_blocked()
        jarvis.stop()
        statuses = [(await channel.receive()).status for channel in channels]
        assert statuses == ["cancelled"] * 3

    run_with(main, max_workers=1)


def test_a_result_that_is_there_is_not_lent_for() -> None:
    """SPEC 7.7: no wait, no lending."""
    floor = Floor()

    async def main(jarvis: Majordomo) -> None:
        done = jarvis.add_task(value, 1)
        await done.receive()

        async def action() -> None:
            jarvis.add_task(floor.work, "queued")
            await done.receive()
            await floor.work("action")

        await jarvis.run(action)

    run_with(main, max_workers=1)
    assert floor.started == ["action", "queued"]


def test_another_instance_gets_nothing_lent() -> None:
    """SPEC 7.7: only who waits for its own instance lends."""
    floor = Floor()

    async def main(jarvis: Majordomo) -> None:
        async with start_majordomo(max_workers=1) as other:

            async def action() -> None:
                await other.run(trio.sleep, 3)
                await floor.work("action")

            channel = jarvis.add_task(action)
            jarvis.add_task(floor.work, "queued")
            await channel.receive()
            silent = await jarvis.run(other.run, trio.sleep, 10, retries=0)
            assert silent.status == "timeout"  # nor does the keepalive pause

    run_with(main, max_workers=1)
    assert floor.started == ["action", "queued"]


# Waits that could never end


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("workers", [1, math.inf])
def test_a_circle_of_waits(size: int, workers: float) -> None:
    """SPEC 7.7: the wait that would close it is a `RuntimeError`; the others end."""
    errors: list[RuntimeError] = []

    async def main(jarvis: Majordomo) -> None:
        channels: list[ResultChannel[None]] = []

        async def action(number: int) -> None:
            try:
                await channels[(number + 1) % size].receive()
            except RuntimeError as error:
                errors.append(error)

        channels += [jarvis.add_task(action, number) for number in range(size)]
        with trio.fail_after(1000):
            for channel in channels:
                assert (await channel.receive()).status == "success"

    run_with(main, max_workers=workers)
    assert len(errors) == 1
    assert "would wait for itself" in str(errors[0])
    assert ("directly" if size == 1 else "through") in str(errors[0])


@pytest.mark.parametrize("workers", [1, math.inf])
@pytest.mark.parametrize("who", ["a part", "who waits for it"])
def test_a_circle_through_a_parallel_parent(who: str, workers: float) -> None:
    """SPEC 7.7: the parent waits for its parts."""
    errors: list[RuntimeError] = []

    async def main(jarvis: Majordomo) -> None:
        channels: list[ResultChannel[object]] = []

        async def part(number: int) -> None:
            if number:
                try:
                    await channels[0].receive()
                except RuntimeError as error:
                    errors.append(error)

        async def waits() -> None:
            await jarvis.run(job(part, 0, 1, parallel=True))

        if who == "a part":
            channels.append(jarvis.add_task(job(part, 0, 1, parallel=True)))
        else:
            channels.append(jarvis.add_task(waits))
        with trio.fail_after(1000):
            assert (await channels[0].receive()).status == "success"

    run_with(main, max_workers=workers)
    assert len(errors) == 1


def test_a_stage_that_waits_for_its_own_task() -> None:
    """SPEC 7.7: waiting for one's own task is a `RuntimeError`, and no hang."""

    async def main(jarvis: Majordomo) -> None:
        channels: list[ResultChannel[object]] = []

        async def stage(_data: object) -> object:
            return await channels[0].receive()

        channels.append(jarvis.add_task(job(value, 1).post(stage)))
        with trio.fail_after(1000):
            task = await channels[0].receive()
        assert isinstance(task.data, RuntimeError)

    async def guarded() -> None:
        async with start_majordomo() as jarvis:
            try:
                await main(jarvis)
            finally:
                jarvis.stop()

    run(guarded)


def test_no_circle() -> None:
    """SPEC 7.7: many may wait for one, and one for many."""

    async def main(jarvis: Majordomo) -> None:
        shared = jarvis.add_task(trio.sleep, 3)

        async def action() -> None:
            await shared.receive()

        channels = [jarvis.add_task(action) for _ in range(5)]
        for channel in channels:
            assert (await channel.receive()).status == "success"

    run_with(main, max_workers=1)


def test_no_circle_through_a_wait_that_was_given_up() -> None:
    """SPEC 7.7: who asks for its slot back waits for that task no longer."""

    async def main(jarvis: Majordomo) -> None:
        channels: list[ResultChannel[object]] = []

        async def inner() -> str:
            await trio.sleep(2)
            return (await channels[0].receive()).status

        async def outer() -> None:
            channels.append(jarvis.add_task(inner, retries=0))
            with trio.move_on_after(1):
                await channels[1].receive()

        channels.append(jarvis.add_task(outer))
        with trio.fail_after(1000):
            await channels[0].receive()
            assert (await channels[1].receive()).data == "success"

    run_with(main, max_workers=1)


# Under load


THOUSANDS = 10_000


def loaded(jarvis: Majordomo, seconds: float) -> list[ResultChannel[None]]:
    return [
        jarvis.add_task(trio.sleep, seconds, keepalive=math.inf)
        for _ in range(THOUSANDS + 100)
    ]


async def statuses_of(channels: list[ResultChannel[None]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for channel in channels:
        assert channel.done
        status = (await channel.receive()).status
        found[status] = found.get(status, 0) + 1
    return found


def nothing_left(jarvis: Majordomo) -> bool:
    left = jarvis.statistics()
    ended = sum(left.finished.values())
    return (left.queued, left.running, left.waiting, ended) == (
        0,
        0,
        0,
        THOUSANDS + 100,
    )


@pytest.mark.parametrize("how", ["stop", "cancel", "cancel backwards"])
def test_all_are_cut_off_under_load(how: str) -> None:
    """SPEC 7.2, 7.5: ten thousand queued and a hundred running: all channels yield, at
    once, and nothing is left.
    """

    async def main(jarvis: Majordomo) -> None:
        channels = loaded(jarvis, math.inf)
        await trio.testing.wait_all_tasks_blocked()
        now = jarvis.statistics()
        assert (now.queued, now.running) == (THOUSANDS, 100)
        start = trio.current_time()
        if how == "stop":
            jarvis.stop()
        else:
            for channel in channels if how == "cancel" else reversed(channels):
                channel.cancel()
        assert jarvis.statistics().queued == 0
        await trio.testing.wait_all_tasks_blocked()
        assert await statuses_of(channels) == {"cancelled": THOUSANDS + 100}
        assert nothing_left(jarvis)
        assert trio.current_time() == start

    run_with(main, max_workers=100)


@pytest.mark.parametrize(
    ("grace", "ended"),
    [(0, 0), (10.5, 1000), (101.5, THOUSANDS + 100), (math.inf, THOUSANDS + 100)],
)
def test_drain_keeps_its_word_under_load(grace: float, ended: int) -> None:
    """SPEC 7.3: it waits for `grace` seconds, and no longer."""

    async def main(jarvis: Majordomo) -> None:
        channels = loaded(jarvis, 1)
        await trio.testing.wait_all_tasks_blocked()
        start = trio.current_time()
        await jarvis.drain(grace)
        assert trio.current_time() - start == pytest.approx(min(grace, 101))
        found = await statuses_of(channels)
        assert found.get("success", 0) == ended
        assert found.get("cancelled", 0) == THOUSANDS + 100 - ended
        assert nothing_left(jarvis)

    run_with(main, max_workers=100)
