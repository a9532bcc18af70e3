"""Observers: each event in its turn, and no task feels them."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest
import trio
import trio.testing

from majordomo2 import (
    Backoff,
    Majordomo,
    MajordomoStopped,
    NoCurrentTask,
    ResultChannel,
    Task,
    current_task,
    failure,
    job,
    keepalive,
    start_majordomo,
    success,
    update_data,
)
from majordomo2._events import EVENTS
from majordomo2.abc import Observer
from virtual import run

Event: TypeAlias = tuple[object, ...]


class Sulk(Exception):
    """Raised by actions and observers."""


class Diary(Observer):
    """Writes down all events; in which thread, too."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.threads: set[int] = set()

    def note(self, *event: object) -> None:
        self.events.append(event)
        self.threads.add(threading.get_ident())

    def task_added(self, id: str, /) -> None:
        self.note("added", id)

    def attempt_started(self, id: str, attempt: int, /) -> None:
        self.note("started", id, attempt)

    def pinged(self, id: str, /) -> None:
        self.note("pinged", id)

    def state_saved(self, id: str, state: object, /) -> None:
        self.note("saved", id, state)

    def attempt_ended(self, id: str, attempt: int, why: object, /) -> None:
        self.note("ended", id, attempt, why)

    def restarting(self, id: str, seconds: float, /) -> None:
        self.note("restarting", id, seconds)

    def task_finished(self, task: Task[object], /) -> None:
        self.note("finished", task.id, task.status)

    def slot_lent(self, id: str, /) -> None:
        self.note("lent", id)

    def slot_taken_back(self, id: str, /) -> None:
        self.note("taken back", id)

    def thread_abandoned(self, id: str, /) -> None:
        self.note("abandoned", id)


def watched(
    main: Callable[[Majordomo], Awaitable[object]], *, max_workers: float = math.inf
) -> list[Event]:
    """The events of a run on virtual time."""
    diary = Diary()

    async def in_run() -> None:
        async with start_majordomo(
            max_workers=max_workers, observers=[diary]
        ) as jarvis:
            await main(jarvis)

    run(in_run)
    return diary.events


async def value(data: object) -> object:
    return data


# What is told


def test_a_success() -> None:
    """SPEC 11.2: added, started, ended, finished."""

    async def main(jarvis: Majordomo) -> None:
        task = await jarvis.run(value, 1, id="x")
        assert task.data == 1

    assert watched(main) == [
        ("added", "x"),
        ("started", "x", 1),
        ("ended", "x", 1, "success"),
        ("finished", "x", "success"),
    ]


def test_the_task_that_is_told_is_the_result() -> None:
    """SPEC 11.2: the very object that the channel yields."""
    told: list[Task[object]] = []

    class Finishes(Observer):
        def task_finished(self, task: Task[object], /) -> None:
            told.append(task)

    async def main() -> None:
        async with start_majordomo(observers=[Finishes()]) as jarvis:
            task: Task[object] = await jarvis.run(value, 1)
            assert told[0] is task

    run(main)


@pytest.mark.parametrize("how", ["success", "failure"])
def test_a_declared_end(how: str) -> None:
    """SPEC 4.6, 11.2: the attempt ends as was declared."""

    async def action() -> None:
        if how == "success":
            success()
        failure()

    async def main(jarvis: Majordomo) -> None:
        await jarvis.run(action, id="x")

    assert watched(main)[-2:] == [("ended", "x", 1, how), ("finished", "x", how)]


def test_pings_and_states() -> None:
    """SPEC 11.2: with what was saved."""

    async def action() -> None:
        keepalive()
        update_data("half")
        keepalive()

    async def main(jarvis: Majordomo) -> None:
        await jarvis.run(action, id="x")

    assert watched(main)[2:5] == [
        ("pinged", "x"),
        ("saved", "x", "half"),
        ("pinged", "x"),
    ]


def test_a_failure_and_a_restart() -> None:
    """SPEC 11.2: the exception itself, then the seconds until the restart."""
    errors: list[Sulk] = []

    async def action() -> None:
        errors.append(Sulk(current_task().attempts))
        raise errors[-1]

    async def main(jarvis: Majordomo) -> None:
        await jarvis.run(action, id="x", retries=1)
        backoff = Backoff(initial=4, jitter=0)
        await jarvis.run(action, id="y", retries=1, backoff=backoff)

    events = watched(main)
    assert events[:8] == [
        ("added", "x"),
        ("started", "x", 1),
        ("ended", "x", 1, errors[0]),
        ("restarting", "x", 0),
        ("started", "x", 2),
        ("ended", "x", 2, errors[1]),
        ("finished", "x", "failure"),
        ("added", "y"),
    ]
    assert ("restarting", "y", 4) in events
    assert events[2][3] is errors[0]


@pytest.mark.parametrize("clock", ["keepalive", "attempt_timeout", "total_timeout"])
def test_a_timeout(clock: str) -> None:
    """SPEC 8.3, 11.2: a sentence that says which clock ran out."""

    async def main(jarvis: Majordomo) -> None:
        options: dict[str, Any] = {clock: 3, "retries": 0}
        await jarvis.run(trio.sleep_forever, id="x", **options)

    *_, ended, finished = watched(main)
    assert ended[:3] == ("ended", "x", 1)
    assert "3 s" in str(ended[3])
    assert ("sign of life" if clock == "keepalive" else clock) in str(ended[3])
    assert finished == ("finished", "x", "timeout")


def test_cancelled_and_rejected_tasks() -> None:
    """SPEC 7.8, 11.2: what never had a worker has no attempt."""

    async def main(jarvis: Majordomo) -> None:
        first = jarvis.add_task(trio.sleep_forever, id="x")
        queued = jarvis.add_task(value, 1, id="q")
        jarvis.add_task(value, 1, id="x")
        await trio.testing.wait_all_tasks_blocked()
        queued.cancel()
        first.cancel()

    assert watched(main, max_workers=1) == [
        ("added", "x"),
        ("added", "q"),
        ("added", "x"),
        ("finished", "x", "rejected"),
        ("started", "x", 1),
        ("finished", "q", "cancelled"),
        ("ended", "x", 1, "cancelled"),
        ("finished", "x", "cancelled"),
    ]


def test_a_parallel_task() -> None:
    """SPEC 6.1, 11.2: parent and subtasks are all added and finished; only the subtasks
    have attempts.
    """

    async def main(jarvis: Majordomo) -> None:
        await jarvis.run(job(value, 1, 2, parallel=True, id="x"))

    events = watched(main)
    assert [event[0] for event in events[:3]] == ["added"] * 3
    assert ("added", "x") in events[:3]
    assert events[-1] == ("finished", "x", "success")
    attempts = [event for event in events if event[0] in ("started", "ended")]
    assert len(attempts) == 4
    assert "x" not in {event[1] for event in attempts}


def test_a_map() -> None:
    """SPEC 7.9, 11.2: each item is a task."""

    async def main(jarvis: Majordomo) -> None:
        async with jarvis.map(value, range(2), id="x", max_in_flight=1) as results:
            async for _ in results:
                pass

    assert watched(main) == [
        event
        for name in ("x/0", "x/1")
        for event in [
            ("added", name),
            ("started", name, 1),
            ("ended", name, 1, "success"),
            ("finished", name, "success"),
        ]
    ]


def test_a_lent_slot() -> None:
    """SPEC 7.7, 11.2: lent before the other starts, taken back before it goes on."""

    async def main(jarvis: Majordomo) -> None:
        async def outer() -> None:
            await jarvis.run(value, 1, id="inner")
            keepalive()

        await jarvis.run(outer, id="outer")

    assert watched(main, max_workers=1) == [
        ("added", "outer"),
        ("started", "outer", 1),
        ("added", "inner"),
        ("lent", "outer"),
        ("started", "inner", 1),
        ("ended", "inner", 1, "success"),
        ("finished", "inner", "success"),
        ("taken back", "outer"),
        ("pinged", "outer"),
        ("ended", "outer", 1, "success"),
        ("finished", "outer", "success"),
    ]


def test_each_event_has_its_pair() -> None:
    """SPEC 11.2: what is lent is taken back, what has started ends, however it goes."""

    async def main(jarvis: Majordomo) -> None:
        async def action(level: int) -> None:
            if level == 3:
                raise Sulk
            with trio.move_on_after(level):
                await jarvis.run(action, level + 1, retries=1)
            await trio.sleep(level)

        for _ in range(5):
            jarvis.add_task(action, 0, attempt_timeout=2, keepalive=1)
        await trio.sleep(4)
        jarvis.stop()

    events = watched(main, max_workers=2)
    names = [event[0] for event in events]
    assert names.count("lent") == names.count("taken back") > 0
    assert names.count("added") == names.count("finished")
    started = [event[1:3] for event in events if event[0] == "started"]
    ended = [event[1:3] for event in events if event[0] == "ended"]
    assert len(set(started)) == len(started)
    assert len(set(ended)) == len(ended)
    assert set(started) <= set(ended)


@pytest.mark.parametrize("which", ["first", "second"])
def test_an_attempt_that_never_started_has_not_ended(which: str) -> None:
    """SPEC 11.2: cut off between the queue and its action."""

    async def action() -> None:
        raise Sulk

    async def main(jarvis: Majordomo) -> None:
        channel = jarvis.add_task(action, retries=math.inf)
        if which == "second":
            for _ in range(4):
                await trio.lowlevel.checkpoint()
        channel.cancel()

    names = [event[0] for event in watched(main)]
    assert names.count("ended") == names.count("started")


def test_an_abandoned_thread() -> None:
    """SPEC 9.2, 11.2: told once, when the attempt ends without it."""
    diary = Diary()
    gate, inside = threading.Event(), threading.Event()

    def action() -> None:
        inside.set()
        gate.wait(60)

    async def main() -> None:
        async with start_majordomo(observers=[diary]) as jarvis:
            channel = jarvis.add_task(action, id="x", keepalive=math.inf)
            await trio.to_thread.run_sync(inside.wait)
            channel.cancel()
            assert (await channel.receive()).status == "cancelled"
            gate.set()

    trio.run(main)
    assert diary.events == [
        ("added", "x"),
        ("started", "x", 1),
        ("abandoned", "x"),
        ("ended", "x", 1, "cancelled"),
        ("finished", "x", "cancelled"),
    ]


def test_events_from_threads() -> None:
    """SPEC 11.2: they arrive in the Trio run, in order, before the end of the attempt."""
    diary = Diary()

    def action() -> None:
        keepalive()
        update_data(1)
        keepalive()

    async def main() -> None:
        async with start_majordomo(observers=[diary]) as jarvis:
            await jarvis.run(action, id="x")

    trio.run(main)
    assert diary.events == [
        ("added", "x"),
        ("started", "x", 1),
        ("pinged", "x"),
        ("saved", "x", 1),
        ("pinged", "x"),
        ("ended", "x", 1, "success"),
        ("finished", "x", "success"),
    ]
    assert diary.threads == {threading.get_ident()}


def test_a_signal_that_came_too_late_is_not_told() -> None:
    """SPEC 4.8, 11.2: nothing was pinged."""
    diary = Diary()
    gate, inside, out = threading.Event(), threading.Event(), threading.Event()

    def action() -> None:
        inside.set()
        gate.wait(60)
        try:
            keepalive()
        finally:
            out.set()

    async def main() -> None:
        async with start_majordomo(observers=[diary]) as jarvis:
            channel = jarvis.add_task(action, keepalive=math.inf)
            await trio.to_thread.run_sync(inside.wait)
            channel.cancel()
            await channel.receive()
            gate.set()
            await trio.to_thread.run_sync(out.wait)

    trio.run(main)
    assert "pinged" not in [event[0] for event in diary.events]


# Who is told


def test_several_observers_in_order() -> None:
    """SPEC 11.2: each hears of each event, in the order they were given."""
    heard: list[str] = []

    class Named(Observer):
        def __init__(self, name: str) -> None:
            self.name = name

        def task_added(self, id: str, /) -> None:
            heard.append(self.name)

    async def main() -> None:
        some = (Named(name) for name in "abc")  # an iterable is enough
        async with start_majordomo(observers=some) as jarvis:
            await jarvis.run(value, 1)

    run(main)
    assert heard == ["a", "b", "c"]


@pytest.mark.parametrize("method", EVENTS)
def test_every_method_is_optional(method: str) -> None:
    """SPEC 11.2: an observer of one event hears of that one."""
    heard: list[str] = []

    def hear(_self: object, *_: object) -> None:
        heard.append(method)

    partial_one = type("Partial", (Observer,), {method: hear})
    seen = play([partial_one()])
    assert set(heard) == {method}
    assert seen == play([])


def test_no_observer() -> None:
    """SPEC 11.2: nothing is told, and all is as with one that does nothing."""
    assert play([]) == play([Observer()]) == play([Diary()])


def play(observers: list[Observer]) -> list[tuple[str, int]]:
    """Every event there is; what becomes of the tasks."""
    gate, inside = threading.Event(), threading.Event()

    async def action() -> None:
        keepalive()
        update_data(1)
        if current_task().attempts == 1:
            raise Sulk

    def hangs() -> None:
        inside.set()
        gate.wait(60)

    async def main() -> list[tuple[str, int]]:
        async with start_majordomo(max_workers=2, observers=observers) as jarvis:

            async def outer() -> None:
                await jarvis.run(action)

            tasks: list[Task[object]] = [await jarvis.run(outer)]
            channel = jarvis.add_task(hangs, keepalive=math.inf)
            await trio.to_thread.run_sync(inside.wait)
            channel.cancel()
            tasks += [await channel.receive(), await jarvis.run(outer)]
            gate.set()
            return [(task.status, task.attempts) for task in tasks]

    return trio.run(main)


# Observers that misbehave


@pytest.mark.parametrize("method", EVENTS)
def test_one_that_raises_is_dropped(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    """SPEC 11.2: at its first error, with all its methods; that is logged once, and
    neither a task nor another observer feels it.
    """
    error = Sulk("in the observer")
    heard: list[str] = []
    before, after = Diary(), Diary()

    def hear(name: str) -> Callable[..., None]:
        def told(_self: object, *_: object) -> None:
            heard.append(name)
            if name == method:
                raise error

        return told

    bad = type("Bad", (Observer,), {name: hear(name) for name in EVENTS})
    caplog.set_level(logging.ERROR, "majordomo2")
    assert play([before, bad(), after]) == play([])
    assert heard.count(method) == 1
    assert heard[-1] == method
    assert [e[0] for e in before.events] == [e[0] for e in after.events]
    mine = [each for each in caplog.records if method in each.getMessage()]
    assert len(mine) == 1
    assert "dropped" in mine[0].getMessage()
    assert mine[0].exc_info is not None
    assert mine[0].exc_info[1] is error


@pytest.mark.parametrize("signal", [current_task, keepalive, success])
@pytest.mark.parametrize(
    "event",
    [
        "task_added",
        "attempt_started",
        "pinged",
        "state_saved",
        "slot_lent",
        "slot_taken_back",
        "attempt_ended",
        "restarting",
        "task_finished",
    ],
)
def test_a_signal_in_an_observer(event: str, signal: Callable[[], object]) -> None:
    """SPEC 4.7, 11.2: it is no part of the action: there is no current task, and neither
    the task nor its sibling feels it.
    """
    problems: list[Exception] = []

    def hear(_self: object, *_: object) -> None:
        try:
            signal()
        except Exception as error:
            problems.append(error)
            raise

    async def action(jarvis: Majordomo) -> int:
        keepalive()
        update_data("here")
        await jarvis.run(trio.sleep, 0)
        if current_task().attempts == 1:
            raise Sulk
        return 1

    async def main() -> None:
        observer = type("Signals", (Observer,), {event: hear})()
        async with start_majordomo(observers=[observer]) as jarvis:
            sibling = jarvis.add_task(trio.sleep, 1)
            assert (await jarvis.run(action, jarvis)).status == "success"
            assert (await sibling.receive()).status == "success"

    run(main)
    assert [type(error) for error in problems] == [NoCurrentTask]


def test_a_log_filter_that_asks_for_the_current_task() -> None:
    """SPEC 4.7, 11.1: what is logged of a task is not said by its action."""
    names: list[str] = []

    class AddTask(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            try:
                names.append(current_task().id)
            except NoCurrentTask:
                names.append("-")
            return True

    async def action() -> None:
        raise Sulk

    async def main() -> None:
        async with start_majordomo() as jarvis:
            sibling = jarvis.add_task(trio.sleep, 1)
            assert (await jarvis.run(action, retries=1)).status == "failure"
            silent = await jarvis.run(trio.sleep, 9, keepalive=1, retries=1)
            assert silent.status == "timeout"
            assert (await sibling.receive()).status == "success"

    logger, add_task = logging.getLogger("majordomo2"), AddTask()
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addFilter(add_task)
    try:
        run(main)
    finally:
        logger.removeFilter(add_task)
        logger.setLevel(level)
    assert names == ["-"] * 4


def test_one_whose_repr_raises_too() -> None:
    """SPEC 11.2: no task feels that either."""

    class Bad(Observer):
        def __repr__(self) -> str:
            raise Sulk

        def attempt_started(self, id: str, attempt: int, /) -> None:
            raise Sulk

    async def main() -> None:
        async with start_majordomo(observers=[Bad()]) as jarvis:
            assert (await jarvis.run(value, 1)).status == "success"

    run(main)


@pytest.mark.parametrize(
    "when",
    [
        "attempt_started",
        "attempt_ended",
        "task_finished",
        "restarting",
        pytest.param(
            "task_added",
        ),
    ],
)
def test_one_that_stops_the_instance(when: str) -> None:
    """SPEC 7.2: all tasks end, and nothing starts afterwards."""
    late: list[str] = []
    stopped = False

    def stop(_self: object, *_: object) -> None:
        nonlocal stopped
        stopped = True
        instances[0].stop()

    instances: list[Majordomo] = []
    observer = type("Stops", (Observer,), {when: stop})()

    async def action() -> None:
        if stopped and when != "attempt_started":
            late.append("action")
        await trio.sleep(1)
        raise Sulk

    async def main() -> None:
        async with start_majordomo(max_workers=1, observers=[observer]) as jarvis:
            instances.append(jarvis)
            channels = [jarvis.add_task(action, retries=1)]
            if when != "task_added":
                channels.append(jarvis.add_task(action))
            for channel in channels:
                await channel.receive()
            with pytest.raises(MajordomoStopped):
                jarvis.add_task(action)
        left = jarvis.statistics()
        assert (left.queued, left.running, left.waiting) == (0, 0, 0)
        assert late == []

    run(main)


@pytest.mark.parametrize("clock", ["keepalive", "attempt_timeout"])
def test_one_that_stops_the_instance_after_a_timeout(clock: str) -> None:
    """SPEC 7.2: the task ends there, as cancelled; its retries are not used."""
    starts: list[float] = []

    class Stops(Observer):
        def attempt_ended(self, id: str, attempt: int, why: object, /) -> None:
            instances[0].stop()

    instances: list[Majordomo] = []

    async def action() -> None:
        starts.append(trio.current_time())
        await trio.sleep(9 if len(starts) == 1 else 3)

    async def main() -> None:
        async with start_majordomo(observers=[Stops()]) as jarvis:
            instances.append(jarvis)
            options: dict[str, Any] = {"keepalive": math.inf, clock: 5}
            task: Task[object] = await jarvis.run(action, **options)
            assert (task.status, task.attempts) == ("cancelled", 1)

    run(main)
    assert starts == [0]


def test_one_that_cancels_what_the_slot_was_lent_for() -> None:
    """SPEC 7.5, 11.2: the wait ends with that task, although it had not begun yet."""

    class Cancels(Observer):
        def slot_lent(self, id: str, /) -> None:
            inner[0].cancel()

    inner: list[ResultChannel[None]] = []

    async def main() -> None:
        async with start_majordomo(max_workers=1, observers=[Cancels()]) as jarvis:

            async def action() -> str:
                jarvis.add_task(trio.sleep, 1, priority=1)  # it has the slot first
                inner.append(jarvis.add_task(trio.sleep, 1))
                return (await inner[0].receive()).status

            with trio.fail_after(1000):
                task = await jarvis.run(action)
            assert (task.status, task.data) == ("success", "cancelled")

    run(main)


def test_one_that_adds_a_task() -> None:
    """SPEC 11.2: it may use the instance; each event is told to the end."""
    diary = Diary()

    class Adds(Observer):
        def task_finished(self, task: Task[object], /) -> None:
            if task.id == "x":
                instances[0].add_task(value, 2, id="y")

    instances: list[Majordomo] = []

    async def main() -> None:
        async with start_majordomo(observers=[Adds(), diary]) as jarvis:
            instances.append(jarvis)
            await jarvis.run(value, 1, id="x")

    run(main)
    assert diary.events[-1] == ("finished", "y", "success")
