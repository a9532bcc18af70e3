"""When a task starts again, and when its time is up.

A model says, attempt by attempt, what each combination of `retries`, `retry_on`,
`backoff`, the three clocks, the budget, the queue and a pipeline must come to.
"""

from __future__ import annotations

import logging
import math
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import Any, TypeAlias, cast

import pytest
import trio
import trio.testing
from hypothesis import given, settings, strategies as st

from majordomo2 import (
    Backoff,
    Job,
    Majordomo,
    ResultChannel,
    Task,
    TaskOptions,
    TaskResult,
    current_task,
    failure,
    job,
    keepalive,
    start_majordomo,
    success,
    update_data,
)
from majordomo2.abc import Attempt, Observer
from strategies import (
    HANG,
    RAISES,
    Act,
    Bad,
    Flood,
    Policy,
    Storm,
    Sulk,
    limits,
    plots,
)
from support import untyped
from virtual import run, run_with

Plot: TypeAlias = tuple[tuple[Act, ...], Policy]

# The model


@dataclass(eq=False)
class Expected:
    """One task: what it is to do, and what the model has found out so far."""

    script: tuple[Act, ...]
    policy: Policy
    starts: list[float] = field(default_factory=list[float])
    state: object = None
    status: str = ""
    data: object = None
    bad: bool = False  # retry_on failed
    ended: float = math.nan  # in the run's seconds

    @property
    def expires(self) -> float:
        return self.policy.total_timeout  # they are all added at 0

    def play(self, act: Act, now: float) -> tuple[float, str]:
        """When this attempt ends, and how: `Act.end`, or the clock that ran out."""
        pinged, policy = now, self.policy
        latest = min(now + policy.attempt_timeout, self.expires)
        waits = [act.pause] * (len(act.saves) + 1)
        if act.end == "hang":
            waits[-1] = HANG
        for wait, saved in zip(waits, (*act.saves, None), strict=True):
            cut = min(pinged + policy.keepalive, latest)
            if wait is not None and now + wait >= cut:
                return cut, "total" if cut == self.expires else "timeout"
            now = pinged = now + (wait or 0)
            self.state = self.state if saved is None else saved
        return now, act.end

    def backoff(self) -> float:
        """Seconds before the next restart."""
        if self.policy.backoff is None:
            return 0
        initial, factor, maximum = self.policy.backoff
        wait = initial
        for _ in self.starts[1:]:
            wait *= factor
        return min(wait, maximum)

    def end(self, now: float, status: str, data: object) -> None:
        self.status, self.data, self.ended = status, data, now

    def time_out(self, now: float) -> None:
        self.end(now, "timeout", self.state)
        if self.policy.salvage is not None:
            self.end(now + self.policy.salvage, "timeout", ("salvaged", self.state))

    def succeed(self, now: float, data: object) -> None:
        post = self.policy.post
        if post is None:
            self.end(now, "success", data)
        elif now + post >= self.expires:
            self.time_out(self.expires)
        else:
            self.end(now + post, "success", ("tidied", data))


class Model:
    """An instance with one worker and tasks that are all added at 0.

    What happens in one instant: first the deadlines, then the ends of attempts.
    """

    def __init__(self, tasks: list[Expected], limit: tuple[int, float] | None) -> None:
        self.now = 0.0
        self.limit = limit
        self.spent: list[float] = []
        self.busy = False
        self.queue: list[tuple[float, int, Expected]] = []
        self.held: deque[Expected] = deque()
        self.agenda: list[tuple[float, int, int, Callable[[], None]]] = []
        self.order = count()
        for task in tasks:
            self.arrive(task)
        while self.agenda:
            self.now, _, _, happen = heappop(self.agenda)
            happen()
            self.start_next()

    def at(self, time: float, rank: int, happen: Callable[[], None]) -> None:
        heappush(self.agenda, (time, rank, next(self.order), happen))

    def arrive(self, task: Expected) -> None:
        place = -task.policy.priority, next(self.order), task
        heappush(self.queue, place)
        self.start_next()

    def is_over(self, task: Expected) -> bool:
        """Has its time passed while it waited?"""
        if task.expires <= self.now and not task.status:
            task.time_out(task.expires)
        return bool(task.status)

    def start_next(self) -> None:
        while not self.busy:
            while self.held and self.is_over(self.held[0]):
                self.held.popleft()
            if self.held and self.budget_at() <= self.now:
                self.restart(self.held.popleft())
            elif not self.queue:
                return
            else:
                task = heappop(self.queue)[-1]
                if self.is_over(task):
                    continue
                if not task.starts:
                    self.start(task)
                elif self.held or self.budget_at() > self.now:
                    self.held.append(task)
                    self.await_budget()
                else:
                    self.restart(task)

    def budget_at(self) -> float:
        """When the budget allows the next restart."""
        if self.limit is None or len(self.spent) < self.limit[0]:
            return 0
        return self.spent[-self.limit[0]] + self.limit[1]

    def await_budget(self) -> None:
        self.at(self.budget_at(), 0, lambda: None)

    def restart(self, task: Expected) -> None:
        self.spent.append(self.now)
        if self.held:
            self.await_budget()
        self.start(task)

    def start(self, task: Expected) -> None:
        self.busy = True
        task.starts.append(self.now)
        act = task.script[len(task.starts) - 1]
        ended, how = task.play(act, self.now)
        self.at(ended, 1, lambda: self.attempt_ended(task, how))

    def attempt_ended(self, task: Expected, how: str) -> None:
        self.busy = False
        if how in ("return", "success", "hang"):
            task.succeed(self.now, "declared" if how == "success" else "returned")
        elif how == "failure":
            task.end(self.now, "failure", "declared")
        elif how == "total":
            task.time_out(self.now)
        elif how == "timeout":
            if len(task.starts) > task.policy.retries:
                task.time_out(self.now)
            else:
                self.wait(task, task.backoff())
        else:
            self.raised(task, how)

    def raised(self, task: Expected, kind: str) -> None:
        answer = task.policy.rule.answers[kind]
        if len(task.starts) > task.policy.retries or answer is False:
            task.end(self.now, "failure", kind)
        elif isinstance(answer, Bad):
            task.bad = True
            task.end(self.now, "failure", kind)
        else:
            self.wait(task, task.backoff() if answer is True else answer)

    def wait(self, task: Expected, seconds: float) -> None:
        if not seconds:
            self.arrive(task)
        elif self.now + seconds >= task.expires:
            task.time_out(task.expires)
        else:
            self.at(self.now + seconds, 0, lambda: self.arrive(task))


# Its counterpart


class Actor:
    """An action that follows its script, and notes when it starts."""

    def __init__(self, script: tuple[Act, ...]) -> None:
        self.script = script
        self.starts: list[float] = []
        self.raised: Exception | None = None

    async def __call__(self) -> str:
        self.starts.append(trio.current_time())
        assert current_task().attempts == len(self.starts)
        act = self.script[len(self.starts) - 1]
        for saved in act.saves:
            if act.pause is not None:
                await trio.sleep(act.pause)
            if saved is None:
                keepalive()
            else:
                update_data(saved)
        pause = HANG if act.end == "hang" else act.pause
        if pause is not None:
            await trio.sleep(pause)
        return self.end(act.end)

    def end(self, how: str) -> str:
        if how in RAISES:
            self.raised = RAISES[how]()
            raise self.raised
        if how == "success":
            success("declared")
        if how == "failure":
            failure("declared")
        return "returned"


def worked_out(actor: Actor, policy: Policy) -> Job[object]:
    """The job that the policy says."""
    options: TaskOptions = {
        "retries": policy.retries,
        "keepalive": policy.keepalive,
        "attempt_timeout": policy.attempt_timeout,
        "total_timeout": policy.total_timeout,
        "priority": policy.priority,
    }
    if policy.rule.value is not None:
        options["retry_on"] = untyped(policy.rule.value)
    if policy.backoff is not None:
        initial, factor, maximum = policy.backoff
        options["backoff"] = Backoff(
            initial=initial, factor=factor, maximum=maximum, jitter=0
        )
    work: Job[Any] = job(actor, **options)
    if policy.post is not None:
        work = work.post(slowly("tidied", policy.post))
    if policy.salvage is not None:
        work = work.salvage(slowly("salvaged", policy.salvage))
    return work


def slowly(what: str, seconds: float) -> Callable[[object], Awaitable[object]]:
    async def stage(data: object) -> object:
        await trio.sleep(seconds)
        return what, data

    return stage


async def play(
    plays: list[Plot], limit: tuple[int, float] | None, max_workers: float
) -> None:
    """Run them all at once, and compare with what the model says."""
    tasks = [Expected(*each, state={}) for each in plays]
    Model(tasks, limit)
    actors = [Actor(task.script) for task in tasks]
    ended: dict[int, float] = {}

    async def note_end(number: int, channel: ResultChannel[object]) -> None:
        await channel.receive()
        ended[number] = trio.current_time()

    async with (
        start_majordomo(max_workers=max_workers, restart_limit=limit) as jarvis,
        trio.open_nursery() as nursery,
    ):
        await trio.testing.wait_all_tasks_blocked()
        channels = [
            jarvis.add_task(worked_out(actor, task.policy))
            for actor, task in zip(actors, tasks, strict=True)
        ]
        for number, channel in enumerate(channels):
            nursery.start_soon(note_end, number, channel)
    for number, (task, actor) in enumerate(zip(tasks, actors, strict=True)):
        compare(task, actor, await channels[number].receive())
        assert ended[number] == task.ended
    assert jarvis.statistics().restarts == sum(
        max(len(task.starts) - 1, 0) for task in tasks
    )


def compare(expected: Expected, actor: Actor, task: TaskResult[object]) -> None:
    assert actor.starts == expected.starts
    assert (task.status, task.attempts) == (expected.status, len(expected.starts))
    assert task.state == expected.state
    if expected.status == "failure" and expected.data != "declared":
        assert task.data is actor.raised  # the action's own
        notes = [note for note in notes_of(task.data) if "retry_on failed" in note]
        assert len(notes) == expected.bad
    else:
        assert task.data == expected.data


def notes_of(error: object) -> list[str]:
    return cast("list[str]", getattr(error, "__notes__", []))


@settings(max_examples=300, deadline=None)  # a busy machine is slow
@given(plot=plots(), limit=limits, workers=st.sampled_from([1, 3, math.inf]))
def test_a_task_follows_its_policy(
    plot: Plot, limit: tuple[int, float] | None, workers: float
) -> None:
    """SPEC 4.2-4.6, 8: one outcome for each combination of options.

    The number of attempts, the times at which they start, the status, the data and the
    time at which it is there are what the model says, exactly.
    """
    run(partial(play, [plot], limit, workers))


@settings(max_examples=250, deadline=None)  # a busy machine is slow
@given(several=st.lists(plots(), min_size=2, max_size=5), limit=limits)
def test_tasks_follow_their_policies_in_one_queue(
    several: list[Plot], limit: tuple[int, float] | None
) -> None:
    """SPEC 7.7, 8: the same where they wait for one worker, and for the budget."""
    run(partial(play, several, limit, 1))


# retry_on


class Failing:
    """An action that raises what it is given, so many times; it notes its starts.

    Attributes:
        starts: In the run's seconds.
        fails: When each attempt failed.
    """

    def __init__(
        self,
        times: float,
        raises: Callable[[], Exception] = Sulk,
        durations: tuple[float, ...] = (0.0,),
    ) -> None:
        self.times = times
        self.raises = raises
        self.durations = durations  # of each attempt, the last of them from then on
        self.starts: list[float] = []
        self.fails: list[float] = []

    async def __call__(self) -> str:
        self.starts.append(trio.current_time())
        number = len(self.starts)
        seconds = self.durations[min(number, len(self.durations)) - 1]
        if seconds:
            await trio.sleep(seconds)
        if number <= self.times:
            self.fails.append(trio.current_time())
            raise self.raises()
        return "done"


def always(answer: object) -> Callable[[Exception], Any]:
    """A `retry_on` that gives this answer, be it a wrong one."""

    def retry_on(_: Exception) -> Any:
        return answer

    return retry_on


def alone(action: Failing, **options: object) -> Task[object]:
    """The result of the only task of an instance."""

    async def body(jarvis: Majordomo) -> Task[object]:
        task: Task[object] = await untyped(jarvis).run(action, **options)
        return task

    return run_with(body)


BAD_ANSWERS: list[tuple[object, str]] = [
    *((bad.value, repr(bad.value)) for bad in (Bad.NAN, Bad.INFINITE, Bad.NEGATIVE)),
    (-math.inf, "-inf"),
    (None, "None"),
    ("1", "'1'"),
    (b"", "b''"),
    (1j, "1j"),
    ([], "[]"),
    (Sulk, repr(Sulk)),
]


@pytest.mark.parametrize(("answer", "shown"), BAD_ANSWERS)
def test_a_wrong_answer_of_retry_on(answer: object, shown: str) -> None:
    """The task ends with the action's own exception and a note: SPEC 8.1."""
    error = Sulk("mine")
    action = Failing(9, lambda: error)
    task = alone(action, retry_on=always(answer), backoff=Backoff())
    assert (task.status, task.attempts) == ("failure", 1)
    assert task.data is error
    [note] = error.__notes__
    assert "retry_on" in note
    assert shown in note
    assert "True, False or seconds" in note


@pytest.mark.parametrize("problem", [ZeroDivisionError("p"), StopIteration(1)])
def test_a_retry_on_that_raises(problem: Exception) -> None:
    """The task ends with the action's own exception and a note: SPEC 8.1."""

    def retry_on(_: Exception) -> bool:
        raise problem

    error = Sulk("mine")
    task = alone(Failing(9, lambda: error), retry_on=retry_on)
    assert (task.status, task.attempts) == ("failure", 1)
    assert task.data is error
    assert error.__notes__ == [f"not retried: retry_on failed: {problem!r}"]


@pytest.mark.parametrize("signal", [current_task, keepalive, success, failure])
def test_a_signal_in_retry_on(signal: Callable[[], object]) -> None:
    """It is no part of the action: no current task, and no harm: SPEC 4.7, 7.1, 8.1."""
    error = Sulk("mine")

    def retry_on(_: Exception) -> bool:
        signal()
        return True

    async def body(jarvis: Majordomo) -> Task[object]:
        sibling = jarvis.add_task(trio.sleep, 1)
        failing = Failing(9, lambda: error)
        task = await jarvis.run(failing, retry_on=retry_on, backoff=Backoff())
        assert (await sibling.receive()).status == "success"
        return task

    task = run_with(body)
    assert (task.status, task.attempts) == ("failure", 1)
    assert task.data is error
    [note] = notes_of(error)
    assert note.startswith("not retried: retry_on failed: NoCurrentTask")


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_a_retry_on_that_answers_with_a_coroutine() -> None:
    """A plain function may hide an async one: no answer, so a note: SPEC 8.1."""

    async def nothing() -> bool:
        raise AssertionError

    def retry_on(_: Exception) -> Any:
        return nothing()

    error = Sulk("mine")
    task = alone(Failing(9, lambda: error), retry_on=retry_on)
    assert task.data is error
    assert "coroutine" in error.__notes__[0]


def test_a_coroutine_of_retry_on_is_closed() -> None:
    """As other coroutines that were given for a value: closed, unrun: SPEC 7.4, 8.1."""
    given: list[Any] = []

    async def nothing() -> bool:
        return True

    def retry_on(_: Exception) -> Any:
        given.append(nothing())
        return given[0]

    try:
        alone(Failing(9), retry_on=retry_on)
        assert given[0].cr_frame is None  # closed
    finally:
        given[0].close()


@pytest.mark.parametrize(
    ("seconds", "starts"),
    [
        (0, [0, 0, 0]),
        (0.0, [0, 0, 0]),
        (2.5, [0, 2.5, 5]),
        (True, [0, 8, 24]),
        (10**9, [0, 10**9, 2 * 10**9]),
    ],
)
def test_seconds_from_retry_on_replace_the_backoff(
    seconds: float, starts: list[float]
) -> None:
    """0 too: at once; True is no second, but a yes: SPEC 8.2."""
    action = Failing(2)
    backoff = Backoff(initial=8, jitter=0)
    task = alone(action, retry_on=always(seconds), backoff=backoff)
    assert (task.status, task.attempts, action.starts) == ("success", 3, starts)


def test_retry_on_is_asked_of_raises_alone() -> None:
    """And only while there are retries left; a silence is no raise: SPEC 4.3, 8.1."""
    asked: list[int] = []

    async def action() -> None:
        if current_task().attempts == 2:
            await trio.sleep_forever()
        raise Sulk(current_task().attempts)

    def retry_on(error: Exception) -> bool:
        asked.append(error.args[0])
        return True

    async def body(jarvis: Majordomo) -> Task[object]:
        return await jarvis.run(action, retry_on=retry_on, retries=3, keepalive=1)

    assert run_with(body).attempts == 4
    assert asked == [1, 3]


def test_a_silence_is_retried_whatever_retry_on_says() -> None:
    """`retry_on=()` makes a raise final, and nothing else: SPEC 4.3, 8.1."""
    action = Failing(0, durations=(9, 9, 0))
    task = alone(action, retry_on=(), keepalive=1, backoff=Backoff(jitter=0))
    assert (task.status, action.starts) == ("success", [0, 1.1, 2.1 + 0.2])


@pytest.mark.parametrize(
    ("make", "kinds", "attempts"),
    [
        (Sulk, Sulk, 2),
        (Storm, Sulk, 2),
        (Sulk, Storm, 1),
        (Flood, (Sulk, Storm), 1),
        (Flood, (), 1),
        (RAISES["sulks"], Sulk, 2),
        (RAISES["sulks"], Storm, 1),
        (RAISES["sulks"], (), 1),
        (RAISES["both"], Sulk, 1),
        (RAISES["both"], (Flood, Sulk), 2),
        (RAISES["both"], Exception, 2),
        (RAISES["both"], ExceptionGroup, 2),
        (Sulk, ExceptionGroup, 1),
    ],
)
def test_types_in_retry_on(
    make: Callable[[], Exception], kinds: object, attempts: int
) -> None:
    """Subclasses match, and a group if all its leaves do, at any depth: SPEC 8.1."""
    action = Failing(1, make)
    task = alone(action, retry_on=kinds)
    assert task.attempts == attempts
    assert task.status == ("success" if attempts == 2 else "failure")
    assert not notes_of(task.data)


def test_stop_inside_retry_on() -> None:
    """`stop` may be called from anywhere: no attempt starts after it: SPEC 7.2."""

    async def body(jarvis: Majordomo) -> tuple[Task[object], Failing]:
        action = Failing(math.inf)

        def retry_on(_: Exception) -> bool:
            jarvis.stop()
            return False

        return await jarvis.run(action, retry_on=retry_on), action

    task, action = run_with(body)
    assert task.status in ("failure", "cancelled")
    assert action.starts == [0]


@pytest.mark.parametrize("answer", [True, 0, 5])
@pytest.mark.parametrize("what", ["stop", "cancel"])
def test_no_restart_after_a_stop_inside_retry_on(answer: float, what: str) -> None:
    """Whatever it returns then, the task ends there, as cancelled: SPEC 7.2, 7.5."""

    async def body(jarvis: Majordomo) -> tuple[Task[object], Failing]:
        action = Failing(math.inf)

        def retry_on(_: Exception) -> float:
            (jarvis.stop if what == "stop" else channel.cancel)()
            return answer

        channel = jarvis.add_task(action, retry_on=retry_on)
        return await channel.receive(), action

    task, action = run_with(body)
    assert action.starts == [0]
    assert task.status in ("failure", "cancelled")


class Stopper(Observer):
    """Stops the instance when a task is about to be restarted."""

    jarvis: Majordomo

    def restarting(self, id: str, seconds: float, /) -> None:
        self.jarvis.stop()


@pytest.mark.parametrize("initial", [0, 5])
def test_no_restart_after_a_stop_in_an_observer(initial: float) -> None:
    """`stop` may be called from anywhere, also as a restart is announced: SPEC 7.2."""

    async def main() -> tuple[Task[object], Failing]:
        action, stopper = Failing(math.inf), Stopper()
        async with start_majordomo(observers=[stopper]) as jarvis:
            stopper.jarvis = jarvis
            backoff = Backoff(initial=initial, jitter=0)
            return await jarvis.run(action, backoff=backoff), action

    task, action = run(main)
    assert action.starts == [0]
    assert task.status == "cancelled"


# total_timeout, wherever the task is


async def note(text: str, notes: list[str]) -> str:
    notes.append(text)
    return text


def test_the_total_timeout_in_the_queue() -> None:
    """It ends there, at once, without a slot; what it left is tidied: SPEC 8.3."""

    async def body(jarvis: Majordomo) -> None:
        first = jarvis.add_task(trio.sleep, 9, keepalive=math.inf)
        notes: list[str] = []
        work = job(note, "ran", notes, total_timeout=2.5)
        task = await jarvis.run(work.salvage(lambda state: ("salvaged", state)))
        assert trio.current_time() == 2.5
        assert (task.status, task.attempts, task.state) == ("timeout", 0, {})
        assert task.data == ("salvaged", {})
        assert not notes
        assert (await first.receive()).status == "success"

    run_with(body, max_workers=1)


@pytest.mark.parametrize("wait", ["backoff", "budget", "retry_on"])
def test_the_total_timeout_between_attempts(wait: str) -> None:
    """It passes in whatever a restart waits for: SPEC 8.3."""

    async def main() -> None:
        action = Failing(math.inf)
        options: TaskOptions = {"total_timeout": 3, "retries": math.inf}
        if wait == "backoff":
            options["backoff"] = Backoff(initial=2, jitter=0)
        elif wait == "retry_on":
            options["retry_on"] = lambda _: 2
        async with start_majordomo(
            restart_limit=(1, 2 if wait == "budget" else 0)
        ) as jarvis:
            task = await jarvis.run(action, **options)
            assert trio.current_time() == 3
            assert (task.status, task.data) == ("timeout", {})
            assert action.starts == ([0, 0, 2] if wait == "budget" else [0, 2])
            assert task.attempts == len(action.starts)
            statistics = jarvis.statistics()
            assert (statistics.queued, statistics.waiting) == (0, 0)

    run(main)


def test_the_total_timeout_in_an_attempt_is_final(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Retries are left, pings are given, and its time is up: SPEC 8.3."""

    async def action() -> None:
        while True:
            await trio.sleep(0.75)
            update_data(trio.current_time())

    async def body(jarvis: Majordomo) -> Task[object]:
        task = await jarvis.run(action, keepalive=1, total_timeout=2)
        assert trio.current_time() == 2
        return task

    task = run_with(body)
    assert (task.status, task.data, task.attempts) == ("timeout", 1.5, 1)
    assert "the total_timeout of 2 s ran out" in caplog.text


def test_the_total_timeout_in_the_pipeline() -> None:
    """It is cut off; the action's state is salvaged, and that is not: SPEC 8.3."""

    async def action() -> str:
        update_data("state")
        return "returned"

    async def body(jarvis: Majordomo) -> Task[object]:
        work = job(action, total_timeout=2).post(slowly("tidied", 9))
        task = await jarvis.run(work.salvage(slowly("salvaged", 50)))
        assert trio.current_time() == 52
        return task

    task = run_with(body)
    assert (task.status, task.data) == ("timeout", ("salvaged", "state"))
    assert (task.state, task.attempts) == ("state", 1)


def test_an_action_that_raises_when_its_time_is_up() -> None:
    """What it raises is its failure, as at any cut, and is not retried: SPEC 4.2, 8.3."""

    async def action() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise Sulk("in its cleanup")

    async def body(jarvis: Majordomo) -> Task[object]:
        return await jarvis.run(action, keepalive=9, total_timeout=2)

    task = run_with(body)
    assert (task.status, task.attempts) == ("failure", 1)
    assert notes_of(task.data) == [
        "raised while it was cut off: the total_timeout of 2 s ran out"
    ]


def test_the_total_timeout_just_before_the_salvage() -> None:
    """It does not cover the salvage, nor its beginning: run once, whole: SPEC 8.3."""
    salvaged: list[object] = []

    async def action() -> None:
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, trio.testing.MockClock)
        try:
            await trio.sleep_forever()
        finally:
            clock.jump(5)  # a cleanup that takes the processor for so long

    async def salvage(state: object) -> str:
        salvaged.append(state)
        await trio.sleep(1)
        return "salvaged"

    async def body(jarvis: Majordomo) -> Task[object]:
        work = job(action, keepalive=1, retries=0, total_timeout=3)
        return await jarvis.run(work.salvage(salvage))

    task = run_with(body)
    assert (task.status, task.data) == ("timeout", "salvaged")
    assert salvaged == [{}]


def test_the_total_timeout_of_a_mixed_parallel_task() -> None:
    """One clock for all, the pipeline too: what is late is cut off: SPEC 6.1, 8.3."""

    async def action(number: int) -> int:
        if number == 2:
            await trio.sleep_forever()
        return number

    async def post(data: list[int]) -> list[int]:
        await trio.sleep(100)
        return data

    async def body(jarvis: Majordomo) -> Task[object]:
        work = job(action, 1, 2, parallel=True, total_timeout=1)
        task = await jarvis.run(work.post(post))
        assert trio.current_time() == 1
        return task

    assert run_with(body).status == "timeout"


def test_a_total_timeout_of_0_has_one_outcome() -> None:
    """Each combination has one defined outcome, on the first task too: SPEC 8.3."""

    async def main(jarvis: Majordomo) -> tuple[str, int]:
        task = await jarvis.run(Failing(0), total_timeout=0)
        return task.status, task.attempts

    assert len({run_with(main) for _ in range(60)}) == 1


def test_the_attempt_timeout_ignores_pings(caplog: pytest.LogCaptureFixture) -> None:
    """One attempt, pings or not; each has the whole time again: SPEC 8.3."""
    caplog.set_level(logging.INFO, "majordomo2")
    starts: list[float] = []

    async def action() -> None:
        starts.append(trio.current_time())
        while True:
            await trio.sleep(0.75)
            update_data(len(starts))

    async def body(jarvis: Majordomo) -> Task[object]:
        return await jarvis.run(action, keepalive=1, attempt_timeout=2, retries=1)

    task = run_with(body)
    assert (task.status, task.data, starts) == ("timeout", 2, [0, 2])
    assert caplog.text.count("longer than its attempt_timeout of 2 s") == 2


@pytest.mark.parametrize("by", ["cancel", "total_timeout"])
def test_the_name_of_a_task_that_ended_in_its_backoff(by: str) -> None:
    """It is free again, a given one and a fresh one: SPEC 7.8."""

    async def body(jarvis: Majordomo) -> str:
        backoff = Backoff(initial=9, jitter=0)
        total = 1 if by == "total_timeout" else math.inf
        channel = jarvis.add_task(Failing(9), backoff=backoff, total_timeout=total)
        await trio.sleep(1)
        channel.cancel()
        assert (await channel.receive()).status != "success"
        return (await jarvis.run(Failing(0), id=channel.id)).status

    assert run_with(body) == "success"


# The budget


def assert_within(limit: tuple[int, float], restarts: list[float]) -> None:
    """No half-open window of those seconds has more than n of them."""
    number, seconds = limit
    ordered = sorted(restarts)
    for early, late in zip(ordered, ordered[number:], strict=False):
        assert late >= early + seconds


def restarts_of(actions: list[Failing]) -> list[float]:
    return [start for action in actions for start in action.starts[1:]]


eighths = st.integers(0, 24).map(lambda n: n / 8)  # seconds
failings = st.builds(
    Failing,
    times=st.integers(0, 4),
    durations=st.lists(eighths, min_size=1, max_size=4).map(tuple),
)
some_limits = st.tuples(st.integers(1, 4), st.integers(1, 16).map(lambda n: n / 8))
# Odd parts of a second: never in the instant in which something else happens.
moments = st.integers(0, 40).map(lambda n: n / 8 + 1 / 64)


@settings(max_examples=150, deadline=None)  # a busy machine is slow
@given(actions=st.lists(failings, min_size=1, max_size=10), limit=some_limits)
def test_the_budget_is_used_in_order_and_to_the_full(
    actions: list[Failing], limit: tuple[int, float]
) -> None:
    """SPEC 8.4: first come, first served, as soon as the window allows; none is lost.

    First attempts are not held up.
    """
    actions = [Failing(each.times, durations=each.durations) for each in actions]

    async def main() -> list[TaskResult[str]]:
        async with start_majordomo(restart_limit=limit) as jarvis:
            channels = [
                jarvis.add_task(action, retries=9, keepalive=math.inf)
                for action in actions
            ]
        assert jarvis.statistics().waiting == 0
        return [await channel.receive() for channel in channels]

    for task, action in zip(run(main), actions, strict=True):
        assert (task.status, task.attempts) == ("success", action.times + 1)
        assert action.starts[0] == 0
    pairs = [
        pair
        for action in actions
        for pair in zip(action.fails, action.starts[1:], strict=True)
    ]
    starts: list[float] = []
    for fail, start in sorted(pairs):
        allowed = starts[-limit[0]] + limit[1] if len(starts) >= limit[0] else 0
        starts.append(max(fail, allowed))
        assert start == starts[-1]
    assert_within(limit, starts)


@settings(max_examples=150, deadline=None)  # a busy machine is slow
@given(
    actions=st.lists(failings, min_size=1, max_size=10),
    limit=some_limits,
    workers=st.sampled_from([1, 2, 3, math.inf]),
    cancels=st.lists(st.tuples(st.integers(0, 9), moments), max_size=4),
    stop=st.none() | moments,
)
def test_the_budget_holds_whatever_happens(
    actions: list[Failing],
    limit: tuple[int, float],
    workers: float,
    cancels: list[tuple[int, float]],
    stop: float | None,
) -> None:
    """SPEC 7.2, 8.4: with few slots, cancelled tasks, and a stop; none is lost."""
    actions = [Failing(each.times, durations=each.durations) for each in actions]

    async def after(moment: float, happen: Callable[[], None]) -> None:
        await trio.sleep_until(moment)
        happen()

    async def main() -> list[TaskResult[str]]:
        async with start_majordomo(max_workers=workers, restart_limit=limit) as jarvis:
            channels = [
                jarvis.add_task(action, retries=9, keepalive=math.inf)
                for action in actions
            ]
            async with trio.open_nursery() as nursery:
                for number, moment in cancels:
                    cancel = channels[number % len(channels)].cancel
                    nursery.start_soon(after, moment, cancel)
                if stop is not None:
                    nursery.start_soon(after, stop, jarvis.stop)
        statistics = jarvis.statistics()
        assert (statistics.queued, statistics.running, statistics.waiting) == (0, 0, 0)
        assert sum(statistics.finished.values()) == len(actions)
        return [await channel.receive() for channel in channels]

    cancelled = {number % len(actions) for number, _ in cancels}
    for number, task in enumerate(run(main)):
        action = actions[number]
        assert task.attempts == len(action.starts)
        if task.status == "success":
            assert len(action.starts) == action.times + 1
        else:
            assert task.status == "cancelled"
            assert stop is not None or number in cancelled
    assert_within(limit, restarts_of(actions))


@pytest.mark.parametrize("workers", [10, math.inf])
def test_a_thousand_tasks_that_fail_together(workers: float) -> None:
    """A service is down: 100 restarts a second, and the new ones go on: SPEC 8.4."""
    limit = (100, 1.0)
    actions = [Failing(1) for _ in range(1000)]
    late = Failing(0)

    async def main() -> list[TaskResult[str]]:
        async with start_majordomo(max_workers=workers, restart_limit=limit) as jarvis:
            channels = [jarvis.add_task(action) for action in actions]
            await trio.sleep(4.5)
            channels.append(jarvis.add_task(late))
            assert jarvis.statistics().waiting == 500
            assert jarvis.statistics().restarts == 500
        assert trio.current_time() == 9
        return [await channel.receive() for channel in channels]

    assert {task.status for task in run(main)} == {"success"}
    assert {action.starts[0] for action in actions} == {0}
    assert late.starts == [4.5]
    restarts = restarts_of(actions)
    assert_within(limit, restarts)
    assert sorted(restarts) == [number // 100 for number in range(1000)]


def test_the_budget_starts_in_order_after_the_backoff() -> None:
    """Who comes back first is first, however long ago it failed: SPEC 8.2, 8.4."""
    # They fail at 1, 2 and 3, and come back at 7, 4 and 5.
    actions = [Failing(1, durations=(seconds,)) for seconds in (1, 2, 3)]
    waits = [6, 2, 2]

    async def main() -> None:
        async with start_majordomo(restart_limit=(1, 4)) as jarvis:
            for action, wait in zip(actions, waits, strict=True):
                jarvis.add_task(action, retry_on=always(wait))

    run(main)
    assert [action.starts[1] for action in actions] == [12, 4, 8]


def test_a_held_restart_goes_before_no_larger_priority() -> None:
    """The budget allows it while the slot is taken; then the largest is first, and among
    equals the restart, which came earlier: SPEC 7.7, 8.4.
    """
    started: list[str] = []

    async def action(name: str, fails: int, seconds: float) -> None:
        started.append(name)
        await trio.sleep(seconds)
        if current_task().attempts <= fails:
            raise Sulk

    async def main() -> None:
        async with start_majordomo(max_workers=1, restart_limit=(1, 10)) as jarvis:
            jarvis.add_task(action, "x", 1, 0)
            jarvis.add_task(action, "y", 1, 0)  # may restart at 10: x did so at 0
            await trio.sleep(9)
            jarvis.add_task(action, "has the slot", 0, 2)
            await trio.sleep(1.5)
            jarvis.add_task(action, "low", 0, 0)
            jarvis.add_task(action, "high", 0, 0, priority=100)

    run(main)
    assert started == ["x", "y", "x", "has the slot", "high", "y", "low"]


class OneAtATime:
    """A runner that makes attempts wait for a place of its own."""

    def __init__(self) -> None:
        self.place = trio.CapacityLimiter(1)

    def check(self, action: Callable[..., object], /) -> None:
        """Any."""

    async def run(self, attempt: Attempt, /) -> object:
        async with self.place:
            attempt.start()
            return await untyped(attempt.action)(*attempt.args)


# Backoff


@dataclass
class Chance:
    """In the place of `random.uniform`: notes what it is asked, and answers a part."""

    part: float
    asked: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])

    def __call__(self, low: float, high: float) -> float:
        self.asked.append((low, high))
        return low + (high - low) * self.part


@pytest.mark.parametrize("part", [0, 0.5, 1])
def test_the_formula(part: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """min(maximum, initial * factor^(k-1) + uniform(0, jitter)): SPEC 8.2."""
    chance = Chance(part)
    monkeypatch.setattr(random, "uniform", chance)
    backoff = Backoff(initial=0.5, factor=3, maximum=14, jitter=2)
    waits = [backoff.seconds(restart) for restart in range(1, 7)]
    extra = 2 * part
    assert waits == [
        0.5 + extra,
        1.5 + extra,
        4.5 + extra,
        min(14, 13.5 + extra),
        14,
        14,
    ]
    assert set(chance.asked) == {(0, 2)}


def test_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """initial=0.1, factor=2, maximum=45, jitter=1: SPEC 8.2."""
    monkeypatch.setattr(random, "uniform", Chance(0.5))
    waits = [Backoff().seconds(restart) for restart in (1, 2, 3, 9, 10, 11)]
    assert waits == pytest.approx([0.6, 0.7, 0.9, 26.1, 45, 45])


def test_tasks_wait_for_their_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before restart k, after raises and silences alike; no slot is held: SPEC 8.2."""
    monkeypatch.setattr(random, "uniform", Chance(0.25))
    action, other = Failing(3, durations=(1, 9, 1, 0)), Failing(0, durations=(1,))

    async def body(jarvis: Majordomo) -> None:
        backoff = Backoff(initial=2, factor=2, maximum=6, jitter=2)
        one = jarvis.add_task(action, keepalive=3, retries=3, backoff=backoff)
        two = jarvis.add_task(other)
        await one.receive()
        await two.receive()

    run_with(body, max_workers=1)
    assert action.starts == [0, 1 + 2.5, 3.5 + 3 + 4.5, 11 + 1 + 6]
    assert other.starts == [1]


finite = st.floats(0, 1e300)


@given(
    initial=finite,
    factor=st.floats(1, 1e300) | st.integers(1, 10**30),
    more=finite,
    jitter=finite,
    restart=st.integers(1, 10**4),
)
def test_whatever_the_numbers(
    initial: float, factor: float, more: float, jitter: float, restart: int
) -> None:
    """From 0 to the maximum, never less than without chance: SPEC 8.2."""
    maximum = initial + more
    backoff = Backoff(initial=initial, factor=factor, maximum=maximum, jitter=jitter)
    seconds = backoff.seconds(restart)
    assert initial <= seconds <= maximum
    assert backoff.seconds(1) <= min(maximum, initial + jitter)


@pytest.mark.parametrize("restart", [1025, 1026, 5000, 10**6])
@pytest.mark.parametrize("factor", [2, 2.0])
def test_a_backoff_that_overflows(restart: int, factor: float) -> None:
    """It is the maximum: SPEC 8.2."""
    assert Backoff(initial=0.5, factor=factor).seconds(restart) == 45


def test_a_backoff_of_whole_numbers_that_overflows() -> None:
    """It is the maximum as well: SPEC 4.4, 8.2.

    An error here would leave the instance without the task, and its receivers hanging.
    """
    assert Backoff(initial=1, factor=2, maximum=3, jitter=0).seconds(1100) == 3


@pytest.mark.parametrize("factor", [2, 2.0])
def test_an_initial_of_0_stays_0(factor: float) -> None:
    """0 * factor^(k-1) is 0, whatever k: chance alone is left: SPEC 8.2."""
    backoff = Backoff(initial=0.0, factor=factor, jitter=0.5)
    assert backoff.seconds(1000) <= 0.5
    assert backoff.seconds(5000) <= 0.5


def test_a_backoff_is_a_value() -> None:
    """Equal if its numbers are, frozen, and shown as it is written: SPEC 8.2."""
    one = Backoff(initial=1, factor=3, maximum=9, jitter=0)
    assert one == Backoff(initial=1.0, factor=3, maximum=9, jitter=0)
    assert hash(one) == hash(Backoff(initial=1, factor=3, maximum=9, jitter=0))
    assert one != Backoff(initial=1, factor=3, maximum=9)
    assert repr(one) == "Backoff(initial=1, factor=3, maximum=9, jitter=0)"
    assert Backoff() == Backoff(initial=0.1, factor=2, maximum=45, jitter=1)
    with pytest.raises(AttributeError):
        untyped(one).initial = 2
    with pytest.raises(TypeError):
        untyped(Backoff)(1)
