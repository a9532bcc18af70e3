"""SIGKILL at any moment, and no promise of the journal is broken (SPEC 10.2, 10.3).

crash_program.py is killed and started again until all is done; crash_oracle.py judges it.
"""

from __future__ import annotations

import logging
import math
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
import trio

import crash_program
from crash_oracle import Kept, missing, read_journal, violations
from crash_program import PLAN, Event, Kind, Moment, Plan, read_log

KILLS = int(os.environ.get("MAJORDOMO2_KILLS", "50"))
SEED = int(os.environ.get("MAJORDOMO2_SEED", random.SystemRandom().randrange(10**9)))
LIVES_AT_ONCE = 3
LAG = 0.005  # seconds
PATIENCE = 60  # seconds of real time, for what takes a moment

logger = logging.getLogger(__name__)


class Cut(NamedTuple):
    """When a run of the program is killed.

    Attributes:
        word: What it has said by then.
        delay: Seconds from there.
    """

    word: str
    delay: float


UNCUT = Cut("", math.inf)
AT_PAUSE = Cut("paused", 0)


class Life:
    """What happens in one folder.

    Attributes:
        runs: How often the program was started.
        lag: What the program's journal takes, in seconds, before and after it writes.
        kept: What the journal held after each of them.
        last_words: What the program had said last when it was killed.
    """

    def __init__(
        self, folder: Path, *, plan: Mapping[str, Plan] = PLAN, lag: float = 0
    ) -> None:
        folder.mkdir()
        self.folder = folder
        self.lag = lag
        self.plan = plan
        self.runs = 0
        self.kept: dict[int, Kept] = {}
        self.last_words: list[str] = []

    async def run(self, cut: Cut, *, id: str = "", moment: str = "") -> bool:
        """Start the program once, and judge it. Was it killed?"""
        self.runs += 1
        process = await trio.lowlevel.open_process(
            [sys.executable, "-W", "error", crash_program.__file__],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._environment(id, moment),
        )
        assert process.stdout is not None
        async with process.stdout:
            try:
                with trio.fail_after(PATIENCE):
                    said = await heard(process.stdout, cut.word)
                with trio.move_on_after(cut.delay), trio.fail_after(PATIENCE):
                    await process.wait()
            finally:
                process.kill()
                with trio.CancelScope(shield=True):
                    await process.wait()
            with trio.fail_after(PATIENCE):
                # To the end, which comes when its worker processes have ended too.
                said += await heard(process.stdout, None)
        words = said.split()
        assert process.returncode in (0, -signal.SIGKILL), said
        assert words == WORDS[: len(words)] or words[-1] == "paused", said
        await trio.to_thread.run_sync(self._judge)
        if process.returncode == 0:
            return False
        self.last_words.append(words[-1] if words else "nothing")
        return True

    def _environment(self, id: str, moment: str) -> dict[str, str]:
        # A process that is killed could spoil the data of the coverage.
        rest = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE")}
        asked = {"CRASH_ID": id, "CRASH_MOMENT": moment, "CRASH_LAG": str(self.lag)}
        where = {"CRASH_FOLDER": str(self.folder), "CRASH_RUN": str(self.runs)}
        return rest | asked | where

    def _judge(self) -> None:
        self.kept[self.runs] = read_journal(self.folder / "work.db", self.plan)
        found = violations(self.plan, self.log(), self.kept)
        assert not found, "\n".join(found)

    def log(self) -> list[Event]:
        return read_log(self.folder)


WORDS = ["opening", "running", "closing", "closed"]


async def heard(output: trio.abc.ReceiveStream, word: str | None) -> str:
    """What it says until it says this; None: to the end."""
    said = b""
    while word is None or word.encode() not in said:
        piece = await output.receive_some()
        if not piece:
            break
        said += piece
    return said.decode()


# At any moment


def random_cut(rng: random.Random, whole: float) -> Cut:
    """Anywhere in a run that takes so many seconds, more often early, or where it is short."""
    word = rng.choices(["", "opening", "running", "closing"], [2, 1, 6, 1])[0]
    if word in ("opening", "closing"):
        return Cut(word, rng.uniform(0, 0.03))
    return Cut(word, whole * rng.random() ** 2)


class Harness:
    """Lives, until there were so many kills."""

    def __init__(self, folder: Path, kills: int, seed: int) -> None:
        self.lives: list[Life] = []
        self._folder = folder
        self._left = kills
        self._seed = seed
        self._whole = 0.0  # seconds that a run takes if nobody kills it

    async def run(self) -> None:
        start = trio.current_time()
        await self._run(self._new_life(), UNCUT)
        self._whole = trio.current_time() - start
        async with trio.open_nursery() as nursery:
            for _ in range(LIVES_AT_ONCE):
                nursery.start_soon(self._live)

    def _new_life(self) -> Life:
        number = len(self.lives)
        # In each other one a transaction takes longer, so that more kills hit it.
        life = Life(self._folder / f"life-{number}", lag=LAG * (number % 2))
        self.lives.append(life)
        return life

    async def _live(self) -> None:
        while self._left:
            rng = random.Random(f"{self._seed}/{len(self.lives)}")  # noqa: S311 - no secret
            life = self._new_life()
            ends = 0
            while ends < 2:  # when all is done, once more: nothing is done again
                ends += not await self._run(life, self._next_cut(rng))
            late = missing(life.plan, life.log())
            assert not late, f"{life.folder}, seed {self._seed}: {late}"

    def _next_cut(self, rng: random.Random) -> Cut:
        if not self._left:
            return UNCUT
        self._left -= 1
        return random_cut(rng, self._whole)

    async def _run(self, life: Life, cut: Cut) -> bool:
        try:
            was_killed = await life.run(cut)
        except BaseException as error:
            error.add_note(f"{life.folder}, run {life.runs}, seed {self._seed}")
            raise
        if cut is not UNCUT and not was_killed:  # it came too late
            self._left += 1
        return was_killed

    def summary(self) -> str:
        words = Counter(word for life in self.lives for word in life.last_words)
        kinds = Counter(event.kind for life in self.lives for event in life.log())
        said = ", ".join(f"{words[word]} after {word!r}" for word in sorted(words))
        return (
            f"{words.total()} kills ({said}) in {len(self.lives)} lives: "
            f"{kinds['started']} attempts, {kinds['durable']} checkpoints, "
            f"{kinds['received']} results received, {kinds['delivered']} noted"
        )


@pytest.mark.timeout(2 * PATIENCE + 3 * KILLS)
def test_kills_at_random_moments(tmp_path: Path) -> None:
    """No success runs again, no state goes back, no result is lost (SPEC 10.3)."""
    harness = Harness(tmp_path, KILLS, SEED)
    trio.run(harness.run)
    assert sum(len(life.last_words) for life in harness.lives) == KILLS
    logger.info("%s", harness.summary())


# At a given moment

# One of each kind, whose state is durable after two steps; and those that have subtasks.
TASKS = ("async", "thread", "process", "fan/0", "map/k3")
PARENTS = ("fan", "summed")
FRAIL = ("frail", "frail-thread")  # with one retry


class Start(NamedTuple):
    run: int
    attempt: int
    done: int


def starts(log: Sequence[Event], *ids: str) -> list[Start]:
    return [
        Start(event.run, event.attempt, event.done)
        for event in log
        if event.kind == "started" and event.id in ids
    ]


def runs(log: Sequence[Event], kind: Kind, id: str) -> list[int]:
    """The runs in which that happened."""
    return [event.run for event in log if event.kind == kind and event.id == id]


def killed_at(folder: Path, id: str, *moments: Moment) -> list[Event]:
    """What happens if it is killed at each of these moments of the task, one in each run.

    The run after the last kill is the last.
    """
    root, _, _ = id.partition("/")
    plan = {k: v for k, v in PLAN.items() if k.partition("/")[0] == root}
    life = Life(folder / "life", plan=plan)

    async def main() -> None:
        for moment in moments:
            assert await life.run(AT_PAUSE, id=id, moment=moment)
        assert not await life.run(UNCUT, id=id)

    trio.run(main)
    assert life.last_words == ["paused" for _ in moments]
    log = life.log()
    assert not missing(plan, log)
    return log


@pytest.mark.parametrize("id", TASKS)
def test_a_kill_before_the_action_starts(tmp_path: Path, id: str) -> None:
    """An attempt counts from when its start is committed (SPEC 10.2)."""
    log = killed_at(tmp_path, id, "started")
    assert starts(log, id) == [Start(2, attempt=2, done=0)]


@pytest.mark.parametrize("id", TASKS)
def test_kills_before_the_action_starts_again(tmp_path: Path, id: str) -> None:
    """A checkpoint that has not returned may be durable; then it stays so (SPEC 10.3)."""
    log = killed_at(tmp_path, id, "saved", "started", "started")
    assert starts(log, id) == [Start(1, 1, 0), Start(4, attempt=4, done=2)]


@pytest.mark.parametrize("id", FRAIL)
def test_kills_until_no_retries_are_left(tmp_path: Path, id: str) -> None:
    """Then the task has failed, and its state stays for another day (SPEC 10.2)."""
    log = killed_at(tmp_path, id, "saved", "started")
    assert starts(log, id) == [Start(1, 1, 0)]
    (end,) = (event for event in log if event.kind == "delivered")
    assert (end.run, end.status, end.data) == (3, "failure", "WorkerDied")


@pytest.mark.parametrize("id", TASKS)
def test_a_kill_before_a_result_is_committed(tmp_path: Path, id: str) -> None:
    """It was not delivered either: the task goes on from its state (SPEC 10.3)."""
    log = killed_at(tmp_path, id, "uncommitted")
    first, second = starts(log, id)
    assert (first, second[:2]) == (Start(1, 1, 0), (2, 2))
    assert second.done >= 2


@pytest.mark.parametrize("id", TASKS)
def test_a_kill_between_commit_and_delivery(tmp_path: Path, id: str) -> None:
    """A success is delivered from the journal, and does not run again (SPEC 10.2)."""
    log = killed_at(tmp_path, id, "committed")
    assert starts(log, id) == [Start(1, 1, 0)]
    asked = id if id.startswith("map/") else id.partition("/")[0]
    assert runs(log, "received", asked) == [2]
    assert runs(log, "delivered", asked) == [2]


@pytest.mark.parametrize("id", ["async", "thread", "process", "map/k3"])
def test_a_kill_between_delivery_and_its_record(tmp_path: Path, id: str) -> None:
    """A delivered success is delivered again, and does not run again (SPEC 10.3)."""
    log = killed_at(tmp_path, id, "received")
    assert starts(log, id) == [Start(1, 1, 0)]
    assert runs(log, "received", id) == [1, 2]
    assert runs(log, "delivered", id) == [2]


@pytest.mark.parametrize("id", PARENTS)
@pytest.mark.parametrize("moment", ["uncommitted", "committed", "received"])
def test_a_kill_around_the_result_of_a_parent(
    tmp_path: Path, id: str, moment: Moment
) -> None:
    """Its subtasks are done, and do not run again (SPEC 10.2)."""
    log = killed_at(tmp_path, id, moment)
    assert {start.run for start in starts(log, *PLAN[id].parts)} == {1}
    assert runs(log, "received", id) == ([1, 2] if moment == "received" else [2])
    assert runs(log, "delivered", id) == [2]
