"""Every task ends exactly once, with exactly one status: an instance against a model.

The Trio run lives in a thread of its own; a rule is one step in it, and the virtual clock
moves by rule alone, from deadline to deadline.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio
import trio.testing
from hypothesis import settings, strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)

from majordomo2 import (
    Backoff,
    MajordomoStopped,
    ResultChannel,
    Task,
    current_task,
    current_task_data,
    failure,
    keepalive,
    start_majordomo,
    success,
    update_data,
)

TICK = 1 / 1024  # seconds between two rules, so that no two deadlines are the same


class Sulk(Exception):
    """Raised by puppets."""


@dataclass
class Puppet:
    """A task: its action, which does what it is told, and what should become of it."""

    clock: trio.testing.MockClock
    period: float
    retries: int
    stubborn: bool  # cancelled, it waits until it is told how to end
    pause: float  # seconds before each restart
    priority: int
    phase: str = "queued"  # "running", "dying", "waiting", or the status of its end
    attempts: int = 0
    due: float = math.inf  # when it is restarted
    arrived: float = 0.0  # when it was queued
    state: object = field(default_factory=dict[str, object])
    pinged: float = 0.0
    doomed: str = ""  # why it dies: "timeout" or "cancelled"
    cleaning: bool = False
    channel: ResultChannel[object] | None = None
    received: list[Task[object]] = field(default_factory=list[Task[object]])

    def __post_init__(self) -> None:
        self.say, self.hear = trio.open_memory_channel[str](10)
        self.queue()

    async def action(self) -> object:
        self.attempts += 1
        assert self.phase == "queued"
        assert current_task().attempts == self.attempts <= self.retries + 1
        assert current_task_data() == self.state
        self.phase, self.pinged = "running", trio.current_time()
        try:
            while True:
                self.obey(await self.hear.receive())
        except StopIteration as stop:
            return stop.value
        except trio.Cancelled:
            if self.stubborn:
                await self.clean_up()
            raise

    async def clean_up(self) -> None:
        self.cleaning, order = True, ""
        with trio.CancelScope(shield=True):
            order = await self.hear.receive()
        self.cleaning = False
        if order == "raise":
            raise Sulk
        if order == "success":
            success("declared")

    def obey(self, order: str) -> None:
        match order:
            case "ping":
                keepalive()
            case "save":
                update_data((self.attempts, trio.current_time()))
            case "raise":
                raise Sulk
            case "return":
                raise StopIteration("returned")
            case "success":
                success("declared")
            case _:
                failure("declared")

    @property
    def deadline(self) -> float:
        """When it is cut off, or queued again."""
        return self.pinged + self.period if self.phase == "running" else self.due

    @property
    def ended(self) -> bool:
        return self.phase not in ("queued", "running", "dying", "waiting")

    # The model

    def told(self, order: str) -> None:
        """What an order does to a task that runs, or dies stubbornly."""
        match order:
            case "ping" if self.phase == "running":
                self.pinged = self.clock.current_time()
            case "save" if self.phase == "running":
                self.pinged = self.clock.current_time()
                self.state = (self.attempts, self.pinged)
            case "raise":
                self.restart_or("failure")
            case "return" | "success" if self.phase == "running":
                self.phase = "success"
            case "success":
                self.phase = "success"
            case "failure" if self.phase == "running":
                self.phase = "failure"
            case _:
                self.died()

    def restart_or(self, end: str) -> None:
        again = self.attempts <= self.retries and self.doomed != "cancelled"
        if again and self.pause:
            self.due = self.clock.current_time() + self.pause
            self.phase = "waiting"
        elif again:
            self.queue()
        else:
            self.phase = end
        self.doomed = ""

    def died(self) -> None:
        if self.doomed == "timeout":
            self.restart_or("timeout")
        else:
            self.phase = "cancelled"

    def queue(self) -> None:
        self.phase, self.due = "queued", math.inf
        self.arrived = self.clock.current_time()

    @property
    def place(self) -> tuple[float, float]:
        """Smaller ones start first."""
        return -self.priority, self.arrived

    def time_is_up(self) -> None:
        if self.phase == "waiting":
            self.queue()
        else:
            self.cut_off("timeout")

    def cut_off(self, why: str) -> None:
        if self.ended:
            return
        if self.phase in ("queued", "waiting"):
            self.phase, self.due = "cancelled", math.inf
            return
        self.phase = "dying"
        self.doomed = why if self.doomed != "cancelled" else self.doomed
        if not self.stubborn:
            self.died()


class Machine(RuleBasedStateMachine):
    """Rules that any program could follow, at moments that Hypothesis chooses."""

    puppets = Bundle("puppets")
    receivers = Bundle("receivers")

    def __init__(self) -> None:
        super().__init__()
        self.clock = trio.testing.MockClock()
        self.all: list[Puppet] = []
        self.stopped = False
        self.starts: Counter[int] = Counter()  # of each puppet, as was seen last
        self.looked = 0.0  # when that was
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self.live)

    @initialize(
        workers=st.sampled_from([1, 2, 3, math.inf]),
        leave=st.sampled_from(["normally", "by an error", "cancelled"]),
    )
    def begin(self, workers: float, leave: str) -> None:
        self.workers, self.leave = workers, leave
        self.thread.start()
        assert self.ready.wait(30)

    def live(self) -> None:
        trio.run(self.main, clock=self.clock)

    async def main(self) -> None:
        self.token = trio.lowlevel.current_trio_token()
        self.over = trio.Event()
        async with trio.open_nursery() as self.nursery:
            with trio.CancelScope() as self.scope:
                try:
                    async with start_majordomo(max_workers=self.workers) as self.jarvis:
                        self.ready.set()
                        await self.leave_when_told()
                except Sulk:
                    pass
            await trio.sleep_forever()  # until the teardown has looked at everything

    async def leave_when_told(self) -> None:
        await self.over.wait()
        if self.leave == "by an error":
            raise Sulk

    def step(self, act: Callable[[], Awaitable[None]]) -> None:
        """Do it in the Trio run, and wait until nothing moves any more."""

        async def in_run() -> None:
            await self.pass_seconds(TICK)
            await act()
            await trio.testing.wait_all_tasks_blocked()

        trio.from_thread.run(in_run, trio_token=self.token)

    async def pass_seconds(self, seconds: float) -> None:
        self.clock.jump(seconds)
        for puppet in self.all:
            if puppet.deadline <= self.clock.current_time():
                puppet.time_is_up()
        await trio.testing.wait_all_tasks_blocked()

    @rule(
        target=puppets,
        period=st.sampled_from([1.0, 3.0, math.inf]),
        retries=st.integers(0, 2),
        stubborn=st.booleans(),
        pause=st.sampled_from([0.0, 2.0]),
        priority=st.sampled_from([0, 0, 1, -1]),
    )
    def add(
        self,
        period: float,
        retries: int,
        pause: float,
        priority: int,
        *,
        stubborn: bool,
    ) -> Puppet:
        puppet = Puppet(self.clock, period, retries, stubborn, pause, priority)

        async def act() -> None:
            puppet.queue()  # now, and not before the step
            try:
                puppet.channel = self.jarvis.add_task(
                    puppet.action,
                    keepalive=period,
                    retries=retries,
                    backoff=Backoff(initial=pause, factor=1, jitter=0),
                    priority=priority,
                )
            except MajordomoStopped:
                assert self.stopped
                puppet.phase = "refused"
            else:
                assert not self.stopped
                self.all.append(puppet)

        self.step(act)
        return puppet

    def busy(self) -> list[Puppet]:
        return [each for each in self.all if each.phase in ("running", "dying")]

    @precondition(lambda self: self.busy())
    @rule(
        index=st.integers(0, 3),
        order=st.sampled_from(
            ["ping", "save", "return", "raise", "success", "failure"]
        ),
    )
    def tell(self, index: int, order: str) -> None:
        puppet = self.busy()[index % len(self.busy())]

        async def act() -> None:
            if puppet.phase in ("running", "dying"):  # or its time came with this step
                await puppet.say.send(order)
                puppet.told(order)

        self.step(act)

    @precondition(lambda self: self.all)
    @rule(index=st.integers(0, 9))
    def cancel(self, index: int) -> None:
        puppet = self.all[-1 - index % len(self.all)]

        async def act() -> None:
            assert puppet.channel is not None
            puppet.channel.cancel()
            puppet.cut_off("cancelled")

        self.step(act)

    @rule(target=receivers, puppet=puppets)
    def receive(self, puppet: Puppet) -> trio.CancelScope:
        scope = trio.CancelScope()

        async def receiver() -> None:
            with scope:
                if puppet.channel is not None:
                    puppet.received.append(await puppet.channel.receive())

        async def act() -> None:
            self.nursery.start_soon(receiver)

        self.step(act)
        return scope

    @rule(scope=consumes(receivers))
    def give_up_receiving(self, scope: trio.CancelScope) -> None:
        async def act() -> None:
            scope.cancel()

        self.step(act)

    @rule(deadlines=st.integers(1, 3))
    def pass_time(self, deadlines: int) -> None:
        """Let some deadlines pass, one after the other."""

        async def act() -> None:
            next_one = min((puppet.deadline for puppet in self.all), default=math.inf)
            if next_one < math.inf:
                await self.pass_seconds(next_one - self.clock.current_time())

        for _ in range(deadlines):
            self.step(act)

    @precondition(lambda self: len(self.all) > 2)
    @rule()
    def stop(self) -> None:
        async def act() -> None:
            self.jarvis.stop()
            self.stopped = True
            for puppet in self.all:
                puppet.cut_off("cancelled")

        self.step(act)

    @invariant()
    def the_model_is_right(self) -> None:
        """Also: nobody waits for a task that has ended, and no worker is idle in vain."""
        busy = len(self.busy())
        waiting = sum(puppet.phase == "queued" for puppet in self.all)
        if self.all:
            assert busy == min(self.workers, busy + waiting)
        for puppet in self.all:
            assert puppet.channel is not None
            assert puppet.channel.done == puppet.ended
            assert puppet.cleaning == (puppet.phase == "dying")
            for task in puppet.received:
                assert task is puppet.received[0]

    @invariant()
    def they_start_in_order(self) -> None:
        """SPEC 7.7: larger priorities first, then arrival; restarts behind."""
        for started in self.busy():
            if started.attempts > self.starts[id(started)]:
                for queued in self.all:
                    if queued.phase == "queued" and queued.arrived <= self.looked:
                        assert started.place <= queued.place
        self.starts = Counter({id(each): each.attempts for each in self.all})
        self.looked = self.clock.current_time()

    @invariant()
    def the_statistics_are_exact(self) -> None:
        """SPEC 7.10: each number is the model's, and they add up."""
        if not self.all:
            return
        found = self.jarvis.statistics()
        phases = Counter(puppet.phase for puppet in self.all)
        assert found.queued == phases["queued"]
        assert found.running == phases["running"] + phases["dying"]
        assert found.waiting == phases["waiting"]
        assert found.finished == {status: phases[status] for status in found.finished}
        assert found.restarts == sum(max(0, each.attempts - 1) for each in self.all)
        assert found.abandoned_threads == 0
        ended = sum(found.finished.values())
        assert found.queued + found.running + found.waiting + ended == len(self.all)

    def teardown(self) -> None:
        if not self.thread.ident:
            return
        if self.thread.is_alive():
            self.step(self.leave_the_block)
            self.step(self.release_the_stubborn)
            trio.from_thread.run_sync(
                self.nursery.cancel_scope.cancel, trio_token=self.token
            )
        self.thread.join(30)
        assert not self.thread.is_alive()
        trio.run(self.look_at_the_ends)

    async def leave_the_block(self) -> None:
        if self.leave == "normally":
            self.jarvis.stop()
        if self.leave == "cancelled":
            self.scope.cancel()
        self.over.set()
        for puppet in self.all:
            puppet.cut_off("cancelled")

    async def release_the_stubborn(self) -> None:
        for puppet in self.all:
            if puppet.phase == "dying":
                await puppet.say.send("let go")
                puppet.told("let go")

    async def look_at_the_ends(self) -> None:
        for puppet in self.all:
            assert puppet.channel is not None
            assert puppet.channel.done
            task = await puppet.channel.receive()
            assert task.status == puppet.phase
            assert (task.attempts, task.state) == (puppet.attempts, puppet.state)
            assert all(each is task for each in puppet.received)


Machine.TestCase.settings = settings(
    max_examples=100, stateful_step_count=50, deadline=None
)
test_every_task_ends_exactly_once = Machine.TestCase
