"""Whatever the mix of raises, silences and successes."""

from __future__ import annotations

import math
from dataclasses import replace

import trio
from hypothesis import given, strategies as st

from majordomo2 import (
    Majordomo,
    current_task,
    current_task_data,
    failure,
    keepalive,
    success,
    update_data,
)
from strategies import PERIOD, Step, endings, scripts
from virtual import run_with


class Sulk(Exception):
    """Raised by scripts."""


class Actor:
    """An action that follows its script, and notes when it starts and what it finds."""

    def __init__(self, script: list[Step]) -> None:
        self.script = script
        self.starts: list[tuple[float, int, object]] = []

    async def __call__(self) -> str:
        number = current_task().attempts
        self.starts.append((trio.current_time(), number, current_task_data()))
        step = self.script[number - 1]
        for saved in step.saves:
            await trio.sleep(step.pause)
            if saved is None:
                keepalive()
            else:
                update_data(saved)
        await trio.sleep(math.inf if step.end == "hang" else step.pause)
        match step.end:
            case "raise":
                raise Sulk(number)
            case "success":
                success("declared")
            case "failure":
                failure("declared")
            case _:
                pass
        return "returned"


class Expected:
    """What a script must come to, by the rules."""

    def __init__(self, script: list[Step], retries: float) -> None:
        self.starts: list[tuple[float, int, object]] = []
        self.state: object = {}
        self.status = ""
        self.now = 0.0
        for step in script:
            self.starts.append((self.now, len(self.starts) + 1, self.state))
            self.play(step)
            if step.end in ("return", "success", "failure"):
                break
            if len(self.starts) > retries:
                break

    def play(self, step: Step) -> None:
        for saved in step.saves:
            self.now += step.pause
            self.state = self.state if saved is None else saved
        self.now += PERIOD if step.end == "hang" else step.pause
        ends = {"raise": "failure", "hang": "timeout", "return": "success"}
        self.status = ends.get(step.end, step.end)


@given(
    script=scripts,
    end=endings,
    retries=st.integers(0, 8) | st.just(math.inf),
    workers=st.sampled_from([1, 2, math.inf]),
)
def test_attempts_follow_the_rules(
    script: list[Step], end: str, retries: float, workers: float
) -> None:
    """SPEC 4.2-4.6: the number of attempts is min(retries + 1, first success).

    Each starts at the moment it should, from the state that was saved last, and the
    task ends as the last of them did.
    """
    whole = [*script, Step((), 0.25, end)]

    async def main(jarvis: Majordomo) -> None:
        actor, began = Actor(whole), trio.current_time()
        task = await jarvis.run(actor, keepalive=PERIOD, retries=retries)
        expected = Expected(whole, retries)
        starts = [(start - began, *rest) for start, *rest in actor.starts]
        assert starts == expected.starts
        assert (task.status, task.attempts) == (expected.status, len(expected.starts))
        assert task.state == expected.state
        assert trio.current_time() - began == expected.now

    run_with(main, max_workers=workers)


@given(script=scripts, several=st.integers(2, 5))
def test_tasks_do_not_touch_each_other(script: list[Step], several: int) -> None:
    """SPEC 4.8, 7.1: many at once come to what each comes to alone."""
    whole = [*script, Step((1,), 0.0, "return")]
    numbered = [
        [replace(step, saves=(*step.saves, number)) for step in whole]
        for number in range(several)
    ]

    async def main(jarvis: Majordomo) -> None:
        began = trio.current_time()
        actors = [Actor(each) for each in numbered]
        channels = [jarvis.add_task(actor, keepalive=PERIOD) for actor in actors]
        for actor, channel, each in zip(actors, channels, numbered, strict=True):
            task, expected = await channel.receive(), Expected(each, 3)
            starts = [(start - began, *rest) for start, *rest in actor.starts]
            assert starts == expected.starts
            assert (task.status, task.state) == (expected.status, expected.state)

    run_with(main)
