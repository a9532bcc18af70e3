"""One contract, every runner: the same tests over all of them (SPEC 9.4).

What a runner can't do is in one table, `CAPABILITIES`, and tested to be so.
"""

from __future__ import annotations

import contextlib
import inspect
import math
import os
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import pytest
import trio
import trio.lowlevel

import contract_actions as actions
import virtual
from contract_actions import PATIENCE, Async, Huff, Plain, Progress, Sulk
from majordomo2 import (
    Backoff,
    TaskCancelled,
    TaskFailed,
    TaskOptions,
    TaskRejected,
    TaskTimedOut,
    job,
    start_majordomo,
)
from majordomo2.abc import Attempt, Observer, Runner

RunnerName: TypeAlias = Literal["async", "inline", "thread", "process"]

SHORT = 0.4  # seconds of silence that are too many
TICK = SHORT / 10


class Own:
    """A runner that knows the public protocol alone: threads of Trio's."""

    def check(self, action: Callable[..., object], /) -> None:
        if isinstance(action, Async) or inspect.iscoroutinefunction(action):
            raise TypeError(f"action must be plain, not {action!r}: give a plain one")

    async def run(self, attempt: Attempt, /) -> object:
        token = trio.lowlevel.current_trio_token()
        ended = left = False

        def call() -> object:
            attempt.start()
            try:
                return attempt.action(*attempt.args)
            finally:
                with contextlib.suppress(trio.RunFinishedError):
                    token.run_sync_soon(end)

        def end() -> None:
            nonlocal ended
            ended = True
            if left:
                attempt.stopped_running()

        await attempt.ready()
        try:
            return await trio.to_thread.run_sync(call, abandon_on_cancel=True)
        except trio.Cancelled:
            if not ended:
                left = True
                attempt.leave_running()
            raise


CutOff: TypeAlias = Literal["cancelled", "finishes", "abandoned", "killed"]


class Capabilities(NamedTuple):
    """What a runner can do, and what not.

    Attributes:
        cut_off: What happens to an action whose deadline passes, or that is cancelled:
            it is "cancelled" at its next checkpoint; it "finishes" first, as nobody can
            notice that it is silent; it is "abandoned", and goes on until its next
            signal; or it is "killed".
        takes: Plain functions, async ones, or both.
        context: Does the action see the context in which the task was added?
        stop_iteration: Is a StopIteration that is raised the data of the failure? On its
            way through a coroutine Python makes a RuntimeError of it.
    """

    cut_off: CutOff
    takes: tuple[type[Plain | Async], ...]
    context: bool = True
    stop_iteration: bool = True


CAPABILITIES: dict[str, Capabilities] = {
    "async": Capabilities("cancelled", (Async,), stop_iteration=False),
    "inline": Capabilities("finishes", (Plain,)),
    "thread": Capabilities("abandoned", (Plain,)),
    "process": Capabilities("killed", (Plain, Async), context=False),
    "own": Capabilities("abandoned", (Plain,), stop_iteration=False),
}


class Place(NamedTuple):
    """A runner, and the form in which it is given its actions."""

    name: str
    form: type[Plain | Async]

    @property
    def runner(self) -> RunnerName | Runner:
        match self.name:
            case "async" | "inline" | "thread" | "process":
                return self.name
            case _:
                return Own()

    @property
    def can(self) -> Capabilities:
        return CAPABILITIES[self.name]

    def run(self, main: Callable[[], Awaitable[None]]) -> None:
        """In a Trio run; threads and processes know of no time but the real one."""
        if self.name == "async":
            virtual.run(main)
        else:
            trio.run(main)

    def fit(self, action: Callable[..., object]) -> Callable[..., object]:
        """The action in a form that the runner takes."""
        if self.form is Plain and not inspect.isgeneratorfunction(action):
            return action
        return self.form(action)


PLACES = [
    Place(name, form) for name in CAPABILITIES for form in CAPABILITIES[name].takes
]
ONCE = [Place(name, CAPABILITIES[name].takes[0]) for name in CAPABILITIES]
INTERRUPTIBLE = [place for place in PLACES if place.can.cut_off != "finishes"]


def name_of(place: Place) -> str:
    several = len(place.can.takes) > 1
    return f"{place.name}-{place.form.__name__}" if several else place.name


@pytest.fixture(params=PLACES, ids=name_of)
def place(request: pytest.FixtureRequest) -> Place:
    """Every runner."""
    assert isinstance(request.param, Place)
    return request.param


@pytest.fixture(params=ONCE, ids=name_of)
def once(request: pytest.FixtureRequest) -> Place:
    """Every runner, for what doesn't depend on the form of the action."""
    assert isinstance(request.param, Place)
    return request.param


@pytest.fixture(params=INTERRUPTIBLE, ids=name_of)
def interruptible(request: pytest.FixtureRequest) -> Place:
    """Every runner that can end an attempt before its action ends."""
    assert isinstance(request.param, Place)
    return request.param


@pytest.fixture(autouse=True)
def release() -> Iterator[None]:
    """No thread outlives its test."""
    actions.RELEASE.clear()
    yield
    actions.RELEASE.set()


class Saved(Observer):
    """Tells when a task has saved a state: its action has begun."""

    def __init__(self) -> None:
        self._events: defaultdict[str, trio.Event] = defaultdict(trio.Event)

    def state_saved(self, id: str, state: object, /) -> None:
        self._events[id].set()

    async def by(self, id: str) -> None:
        with trio.fail_after(PATIENCE):
            await self._events[id].wait()


# 4. Attempts


def test_what_it_returns_is_the_data(place: Place) -> None:
    """SPEC 4.1: with its arguments; any value, None too, which replaces any state."""
    runner = place.runner

    async def main() -> None:
        async with start_majordomo(max_workers=1) as jarvis:
            echo = place.fit(actions.echo)
            for value in [None, 3, "text", {"a": [1, (2,)]}, Progress(3)]:
                task = await jarvis.run(echo, value, runner=runner)
                assert (task.status, task.data, task.attempts) == ("success", value, 1)
                assert task.state == {}
            minus = place.fit(actions.minus)
            assert await jarvis.get_task_data(minus, 9, 3, 1, runner=runner) == 5
            saving = place.fit(actions.replace_state)
            task = await jarvis.run(saving, None, runner=runner)
            assert (task.status, task.data, task.state) == ("success", None, "half way")

    place.run(main)


def test_a_raise_is_retried_with_the_state(place: Place) -> None:
    """SPEC 4.2, 4.4: what was saved before it is seen by the next attempt."""
    runner = place.runner

    async def main() -> None:
        async with start_majordomo(max_workers=1) as jarvis:
            remember = place.fit(actions.remember)
            task = await jarvis.run(remember, 3, runner=runner)
            assert (task.status, task.attempts) == ("success", 3)
            assert task.data == (3, (2, (1, {})))
            for retries in (0, 2):
                task = await jarvis.run(
                    remember, math.inf, runner=runner, retries=retries
                )
                assert (task.status, task.attempts) == ("failure", retries + 1)
            task = await jarvis.run(remember, 6, runner=runner, retries=math.inf)
            assert (task.status, task.attempts) == ("success", 6)
            assert jarvis.statistics().restarts == 2 + 2 + 5

    place.run(main)


def test_no_retries_left_is_a_failure(place: Place) -> None:
    """SPEC 4.2, 3.4: its data is the exception, with all that it holds."""

    async def main() -> None:
        async with start_majordomo(max_workers=1) as jarvis:
            sulking = place.fit(actions.sulk)
            task = await jarvis.run(sulking, "grim", runner=place.runner, retries=1)
            assert (task.status, task.attempts, task.state) == ("failure", 2, "saved")
            assert type(task.data) is Sulk
            assert (task.data.number, task.data.mood) == (2, "grim")
            assert str(task.data) == "sulked 2 times"
            assert task.data.__notes__ == ["a note of its own"]
            assert task.data.__traceback__ is not None
            with pytest.raises(TaskFailed) as caught:
                task.result()
            assert caught.value.__cause__ is task.data

    place.run(main)


def test_stop_iteration_is_an_exception_like_any_other(once: Place) -> None:
    """SPEC 4.2: but where it must pass through a coroutine."""

    async def main() -> None:
        async with start_majordomo(max_workers=1) as jarvis:
            first, none = once.fit(actions.first), list[int]()
            task = await jarvis.run(first, none, runner=once.runner, retries=1)
            assert (task.status, task.attempts) == ("failure", 2)
            kept = once.can.stop_iteration
            assert type(task.data) is (StopIteration if kept else RuntimeError)

    once.run(main)


def test_what_an_action_knows(place: Place) -> None:
    """SPEC 4.7, 7.4: its id, status, attempt and state; the context it was added in.

    The context does not reach other processes.
    """
    runner = place.runner

    async def main() -> None:
        async with start_majordomo(max_workers=1) as jarvis:
            who = place.fit(actions.who)
            for id in (
                "jeeves",
                "reginald",
            ):  # the second in the same process or thread
                task = await jarvis.run(who, runner=runner, id=id)
                assert task.data == (id, "unspecified", 1, {})
            actions.voice.set("soft")
            channel = jarvis.add_task(place.fit(actions.speak), runner=runner)
            actions.voice.set("loud")
            heard = "soft" if place.can.context else "none"
            assert await channel.result() == heard

    place.run(main)


def test_a_typed_state(place: Place) -> None:
    """SPEC 4.12: `initial()` at first, then what was saved, and beside the result."""
    runner = place.runner

    async def main() -> None:
        async with start_majordomo(max_workers=1) as jarvis:
            task = await jarvis.run(place.fit(actions.advance), 3, runner=runner)
            assert (task.status, task.data, task.attempts) == (
                "success",
                Progress(3),
                3,
            )
            assert actions.progress.of(task) == Progress(3)
            other = await jarvis.run(place.fit(actions.echo), 1, runner=runner)
            assert actions.progress.of(other) is None

    place.run(main)


def test_success_and_failure_end_the_action(place: Place) -> None:
    """SPEC 4.6: with data or the state; a failure is final; no `except` sees them."""
    runner = place.runner

    async def main() -> None:
        async with start_majordomo(max_workers=1) as jarvis:
            declare = place.fit(actions.declare)
            for status in ("success", "failure"):
                for given, data in [((), "the state"), ((None,), None), ((7,), 7)]:
                    task = await jarvis.run(declare, status, *given, runner=runner)
                    assert (task.status, task.data, task.attempts) == (status, data, 1)
                    assert task.state == "the state"
            task = await jarvis.run(declare, "failure", Sulk(5), runner=runner)
            assert type(task.data) is Sulk
            assert (task.data.number, task.attempts) == (5, 1)
            final = place.fit(actions.declare_in_finally)
            task = await jarvis.run(final, runner=runner)
            assert (task.status, task.data) == ("success", "said in finally")

    place.run(main)


def test_what_was_declared_stands(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """SPEC 4.6: also if the signal is swallowed; further ones raise, errors are logged."""

    async def main() -> None:
        async with start_majordomo(max_workers=1) as jarvis:
            swallow = place.fit(actions.swallow)
            for then in ("return", "ping", "save", "declare", "raise"):
                task = await jarvis.run(swallow, then, runner=place.runner)
                assert (task.status, task.data, task.attempts) == (
                    "success",
                    "declared",
                    1,
                ), then

    place.run(main)
    errors = [text for text in caplog.messages if "declared its end" in text]
    assert len(errors) == 1
    assert "sulked 1 times" in errors[0]


def test_clocks(interruptible: Place) -> None:
    """SPEC 4.3, 4.5, 5.3, 8.3: silence, and what takes too long, is a timeout.

    Its data is the last state; each attempt has the full period; pings keep it alive.
    """
    runner, fit = interruptible.runner, interruptible.fit
    ping, hang, for_ever = fit(actions.ping), fit(actions.hang), 10**9

    async def main() -> None:
        async with start_majordomo(max_workers=5) as jarvis:
            start = trio.current_time()
            alive = jarvis.add_task(
                ping, 15, TICK, "pinged", runner=runner, keepalive=SHORT, retries=0
            )
            silent = jarvis.add_task(
                hang, "saved", runner=runner, keepalive=SHORT, retries=1
            )
            once = jarvis.add_task(
                fit(actions.hang_once), runner=runner, keepalive=SHORT
            )
            zero = jarvis.add_task(hang, 0, runner=runner, keepalive=0, retries=1)
            long = job(
                ping,
                for_ever,
                TICK,
                "long",
                runner=runner,
                attempt_timeout=SHORT,
                retries=0,
            )
            overrun = jarvis.add_task(long.salvage(repr))

            task = await alive.receive()
            assert (task.status, task.data, task.attempts) == ("success", "alive", 1)
            total = jarvis.add_task(  # where it needs a process, one is there by now
                ping,
                for_ever,
                TICK,
                "so far",
                runner=runner,
                total_timeout=SHORT,
                retries=math.inf,
            )
            task = await silent.receive()
            assert (task.status, task.data, task.attempts) == ("timeout", "saved", 2)
            assert task.state == "saved"
            assert trio.current_time() - start >= 2 * SHORT
            with pytest.raises(TaskTimedOut):
                task.result()
            task = await once.receive()
            assert (task.status, task.data) == ("success", ("first", 2))
            task = await zero.receive()
            assert (task.status, task.attempts) == ("timeout", 2)
            task = await overrun.receive()
            assert (task.status, task.data, task.state) == ("timeout", "'long'", "long")
            task = await total.receive()
            assert (task.status, task.data, task.attempts) == ("timeout", "so far", 1)

    interruptible.run(main)


def test_what_is_no_exception_leaves_the_block(place: Place) -> None:
    """SPEC 4.9: and is never retried; the task ends as cancelled."""

    async def main() -> None:
        async with start_majordomo(max_workers=1) as jarvis:
            channel = jarvis.add_task(place.fit(actions.leave), 3, runner=place.runner)
            with trio.CancelScope(shield=True), trio.fail_after(PATIENCE):
                task = await channel.receive()
                assert (task.status, task.attempts) == ("cancelled", 1)
            await trio.sleep_forever()

    with pytest.raises(SystemExit) as caught:
        place.run(main)
    assert caught.value.code == 3


# 5. Pipeline, 6. Parallel


def is_odd(number: object) -> bool:
    return isinstance(number, int) and number % 2 == 1


def joined(numbers: list[object]) -> str:
    return "+".join(map(str, numbers))


def test_parallel_and_pipeline(once: Place) -> None:
    """SPEC 5.1, 6.1, 6.2, 6.3: the data in argument order, then the stages."""
    runner = once.runner

    async def main() -> None:
        async with start_majordomo(max_workers=2) as jarvis:
            square = once.fit(actions.square)
            task = await jarvis.run(job(square, 3, 1, 2, parallel=True, runner=runner))
            assert (task.status, task.data, task.attempts) == ("success", [9, 1, 4], 3)
            work = job(square, [5, 1, 2, 3], parallel=True, unwrap=True, runner=runner)
            piped = work.filter(is_odd).sort(key=repr).post(joined)
            assert await jarvis.get_task_data(piped) == "1+25+9"
            mixed = job(square, 3, -1, 2, parallel=True, runner=runner, retries=1)
            some = await jarvis.run(mixed.post(joined))
            assert (some.status, some.data, some.attempts) == ("mixed", "9+4", 4)
            assert [part.status for part in some.subtasks] == [
                "success",
                "failure",
                "success",
            ]
            assert type(some.subtasks[1].data) is Sulk

    once.run(main)


# 7. Instances


def test_map(once: Place) -> None:
    """SPEC 7.9: in the order of the source, or as they end; a failure is one of them."""
    runner = once.runner

    async def main() -> None:
        async with start_majordomo(max_workers=2) as jarvis:
            square, items = once.fit(actions.square), [0, 1, -1, 3, 4]
            async with jarvis.map(
                square, items, id="x", runner=runner, retries=0
            ) as results:
                tasks = [task async for task in results]
            assert [task.id for task in tasks] == [f"x/{n}" for n in range(5)]
            assert type(tasks.pop(2).data) is Sulk
            assert [task.data for task in tasks] == [0, 1, 9, 16]
            async with jarvis.map(
                square, range(6), ordered=False, max_in_flight=3, runner=runner
            ) as results:
                found = {task.data async for task in results}
            assert found == {0, 1, 4, 9, 16, 25}

    once.run(main)


def test_neighbours_do_not_feel_a_failure(once: Place) -> None:
    """SPEC 7.1: they end as they would have without it."""
    runner = once.runner

    async def main() -> None:
        async with start_majordomo(max_workers=2) as jarvis:
            lingering = once.fit(actions.linger)
            neighbours = [
                jarvis.add_task(lingering, 4 * TICK, n, runner=runner) for n in range(2)
            ]
            failing = [
                jarvis.add_task(once.fit(actions.huff), runner=runner, retries=1),
                jarvis.add_task(
                    once.fit(actions.declare), "failure", runner=runner, priority=1
                ),
            ]
            tasks = [await channel.receive() for channel in neighbours]
            assert [(task.status, task.data, task.attempts) for task in tasks] == [
                ("success", 0, 1),
                ("success", 1, 1),
            ]
            tasks = [await channel.receive() for channel in failing]
            assert [task.status for task in tasks] == ["failure", "failure"]

    once.run(main)


def test_a_name_is_taken_once(once: Place) -> None:
    """SPEC 7.8: the second is rejected; afterwards the name is free again."""
    runner = once.runner

    async def main() -> None:
        async with start_majordomo(max_workers=1) as jarvis:
            echo = once.fit(actions.echo)
            first = jarvis.add_task(echo, 1, runner=runner, id="x")
            second = await jarvis.run(echo, 2, runner=runner, id="x")
            assert (second.status, second.data, second.attempts) == ("rejected", {}, 0)
            with pytest.raises(TaskRejected):
                second.result()
            assert await first.result() == 1
            assert await jarvis.get_task_data(echo, 3, runner=runner, id="x") == 3

    once.run(main)


def test_cancelled_before_it_started(once: Place) -> None:
    """SPEC 7.5, 7.2: no attempt was made, and others run as if nothing had been."""

    async def main() -> None:
        async with start_majordomo(max_workers=1) as jarvis:
            echo = once.fit(actions.echo)
            kept = jarvis.add_task(echo, 1, runner=once.runner)
            dropped = jarvis.add_task(echo, 2, runner=once.runner)
            dropped.cancel()
            task = await dropped.receive()
            assert (task.status, task.data, task.attempts) == ("cancelled", {}, 0)
            assert await kept.result() == 1

    once.run(main)


def test_a_running_task_is_cancelled(interruptible: Place) -> None:
    """SPEC 7.5, 7.6: by its channel, or with who waits for it; no restart follows."""
    runner, hang = interruptible.runner, interruptible.fit(actions.hang)
    saved = Saved()

    async def main() -> None:
        async with start_majordomo(max_workers=1, observers=[saved]) as jarvis:
            channel = jarvis.add_task(
                hang, "so far", runner=runner, id="x", keepalive=PATIENCE
            )
            await saved.by("x")
            channel.cancel()
            task = await channel.receive()
            assert (task.status, task.data, task.attempts) == ("cancelled", "so far", 1)
            with pytest.raises(TaskCancelled):
                task.result()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(
                    lambda: jarvis.run(
                        hang, 1, runner=runner, id="y", keepalive=PATIENCE
                    )
                )
                await saved.by("y")
                nursery.cancel_scope.cancel()
            assert jarvis.statistics().finished["cancelled"] == 2
            echo = interruptible.fit(actions.echo)
            assert await jarvis.get_task_data(echo, 1, runner=runner) == 1

    interruptible.run(main)


def test_stop(interruptible: Place) -> None:
    """SPEC 7.2: running and queued ones end as cancelled, with their last states."""
    runner, hang = interruptible.runner, interruptible.fit(actions.hang)
    saved = Saved()

    async def main() -> None:
        async with start_majordomo(max_workers=1, observers=[saved]) as jarvis:
            running = jarvis.add_task(
                hang, "so far", runner=runner, id="x", keepalive=PATIENCE
            )
            queued = jarvis.add_task(hang, 1, runner=runner)
            await saved.by("x")
            jarvis.stop()
            tasks = [await running.receive(), await queued.receive()]
            assert [(task.status, task.data, task.attempts) for task in tasks] == [
                ("cancelled", "so far", 1),
                ("cancelled", {}, 0),
            ]

    interruptible.run(main)


def test_an_error_of_the_body_ends_them(interruptible: Place) -> None:
    """SPEC 7.1: it comes out as it is, at once."""
    hang, saved = interruptible.fit(actions.hang), Saved()

    async def main() -> None:
        async with start_majordomo(max_workers=1, observers=[saved]) as jarvis:
            runner = interruptible.runner
            jarvis.add_task(hang, 1, runner=runner, id="x", keepalive=PATIENCE)
            await saved.by("x")
            raise Huff

    start = time.monotonic()
    with pytest.raises(Huff):
        interruptible.run(main)
    assert time.monotonic() - start < PATIENCE / 2


# 8. Policies


def half_sulk(error: Exception) -> bool | float:
    return TICK if isinstance(error, Sulk) and error.number < 2 else False


def test_retry_on_and_backoff(once: Place) -> None:
    """SPEC 8.1, 8.2: by type, also of a group's leaves, or by what a function says."""
    runner = once.runner

    async def main() -> None:
        async with start_majordomo(max_workers=1) as jarvis:
            sulking, huffing = once.fit(actions.sulk), once.fit(actions.huff)
            both = once.fit(actions.sulk_twice_at_once)
            for action, args, attempts in [
                (sulking, ("grim",), 3),
                (huffing, (), 1),
                (both, (), 3),
            ]:
                task = await jarvis.run(
                    action, *args, runner=runner, retry_on=Sulk, retries=2
                )
                assert (task.status, task.attempts) == ("failure", attempts)
            task = await jarvis.run(huffing, runner=runner, retry_on=())
            assert task.attempts == 1
            start = trio.current_time()
            task = await jarvis.run(sulking, "", runner=runner, retry_on=half_sulk)
            assert task.attempts == 2
            assert trio.current_time() - start >= TICK
            backoff = Backoff(initial=TICK, factor=2, jitter=0)
            start = trio.current_time()
            task = await jarvis.run(huffing, runner=runner, backoff=backoff, retries=2)
            assert task.attempts == 3
            assert trio.current_time() - start >= 3 * TICK

    once.run(main)


# 9. What they can't do


def test_how_an_attempt_is_cut_off(interruptible: Place, tmp_path: Path) -> None:
    """SPEC 9.2, 9.3, 4.8, 4.11: what becomes of the action, and how far it gets."""
    place = interruptible
    notes, cut_off = tmp_path / "notes", place.can.cut_off

    def lines() -> list[str]:
        return notes.read_text().splitlines()

    async def main() -> None:
        async with start_majordomo(max_workers=1) as jarvis:
            runner = place.runner
            task = await jarvis.run(
                place.fit(actions.stubborn),
                notes,
                runner=runner,
                keepalive=SHORT,
                retries=0,
            )
            assert task.status == "timeout"
            assert isinstance(task.data, int)
            abandoned = jarvis.statistics().abandoned_threads
            match cut_off:
                case "cancelled":
                    assert (task.data, abandoned) == (os.getpid(), 0)
                    assert lines() == ["begun", "finally"]
                case "killed":
                    assert abandoned == 0
                    assert task.data != os.getpid()
                    with pytest.raises(ProcessLookupError):
                        os.kill(task.data, 0)
                    assert lines() == ["begun"]
                    other = await jarvis.run(place.fit(actions.pid), runner=runner)
                    assert other.data not in (task.data, os.getpid())
                case "abandoned":
                    assert (task.data, abandoned) == (os.getpid(), 1)
                    assert lines() == ["begun"]
                    # Its place is free meanwhile, and it is fenced off.
                    echo = place.fit(actions.echo)
                    assert await jarvis.get_task_data(echo, 1, runner=runner) == 1
                    actions.RELEASE.set()
                    with trio.fail_after(PATIENCE):
                        while jarvis.statistics().abandoned_threads:  # noqa: ASYNC110 - no event says so
                            await trio.sleep(TICK / 4)
                    assert lines() == ["begun", "went on", "finally"]
                case "finishes":
                    pytest.fail("nobody can notice that it is silent")

    interruptible.run(main)


def test_inline_notices_no_silence_and_cuts_nothing_off() -> None:
    """SPEC 4.11, 9.1: what returned has returned, whatever its clocks say."""
    (place,) = [place for place in PLACES if place.can.cut_off == "finishes"]

    async def main() -> None:
        async with start_majordomo() as jarvis:
            linger = place.fit(actions.linger)
            clocks: list[TaskOptions] = [
                {"runner": "inline", "keepalive": 0},
                {"runner": "inline", "keepalive": TICK},
                {"runner": "inline", "attempt_timeout": TICK},
                {"runner": "inline", "total_timeout": TICK},
            ]
            for clock in clocks:
                task = await jarvis.run(linger, 3 * TICK, "late", **clock)
                assert (task.status, task.data, task.attempts) == ("success", "late", 1)

    assert place.name == "inline"
    place.run(main)


MISFITS = [
    Place(name, form)
    for name in CAPABILITIES
    for form in (Plain, Async)
    if form not in CAPABILITIES[name].takes
]


@pytest.mark.parametrize("place", MISFITS, ids=name_of)
def test_what_does_not_fit_is_refused(place: Place) -> None:
    """SPEC 9.1: an async function at the call; a plain one when it gives a plain value."""

    async def main() -> None:
        async with start_majordomo(max_workers=1) as jarvis:
            echo = place.fit(actions.echo)
            if place.form is Async:
                with pytest.raises(TypeError):
                    jarvis.add_task(echo, 1, runner=place.runner)
                with pytest.raises(TypeError):
                    job(echo, 1, runner=place.runner)
                return
            task = await jarvis.run(echo, 1, runner=place.runner)
            assert (task.status, task.attempts) == ("failure", 1)
            assert type(task.data) is TypeError

    place.run(main)


# What the reference says of how an attempt is cut off.
WORDS: dict[CutOff, str] = {
    "cancelled": "`Cancelled`",
    "finishes": "not at all",
    "abandoned": "abandoned",
    "killed": "killed",
}


def test_the_reference_says_so() -> None:
    """SPEC 9.4: its table of runners has a row for each, with what it can't do."""
    reference = Path(__file__).parents[1] / "docs" / "reference.md"
    _, section = reference.read_text(encoding="utf-8").split("\n## Runners\n")
    rows = {
        cells[1].strip(): cells[3:]
        for line in section.split("\n## ")[0].splitlines()
        if len(cells := line.split("|")) > 4
    }
    for name, can in CAPABILITIES.items():
        if name != "own":
            cut_off, limits = rows[f'"{name}"'][:2]
            assert WORDS[can.cut_off] in cut_off, name
            assert ("notice silence" in limits) == (can.cut_off == "finishes"), name
            assert ("context variables" in limits) == (not can.context), name
