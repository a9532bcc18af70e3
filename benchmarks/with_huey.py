"""Named tasks in huey with its storage in SQLite; see `killed`.

A consumer with threads, as its docs advise when in doubt. For the speed it is a process
of its own, the usual way; it is killed as part of the only process, which is the same to it.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from time import perf_counter
from typing import cast

from huey import SqliteHuey

from .killed import ANSWER, STEP, STEPS, TASKS, Left, Log, main as run, step_line

WORKERS = 2  # of the speed; one on each core
DONE = "done"  # a key of the action's own, as huey has no state for it


class App:
    """The instance in a folder, and its tasks."""

    def __init__(self, folder: Path, variant: str) -> None:
        fsync = False if variant == "fsync=False" else None  # None: its default
        self.huey = SqliteHuey("work", filename=str(folder / "work.db"), fsync=fsync)
        self.log = Log(folder)
        self.noop = self.huey.task()(noop)
        self.finishes = self.huey.task()(self._finishes)
        self.takes_steps = self.huey.task()(self._takes_steps)

    def _finishes(self) -> int:
        self.log.add("finished")
        return ANSWER

    def _takes_steps(self) -> int:
        for step in range((self.progress() or 0) + 1, STEPS + 1):
            self.log.add(step_line(step))
            time.sleep(STEP)
            self.huey.put(DONE, step)
        self.log.add("end")
        return STEPS

    def progress(self) -> int | None:
        return cast("int | None", self.huey.get(DONE, peek=True))


def noop() -> int:
    return 1


def speed(folder: Path, variant: str) -> float:
    app = App(folder, variant)
    consumer = [sys.executable, "-m", "benchmarks.with_huey", "consume"]
    with subprocess.Popen([*consumer, str(folder), variant]) as process:  # noqa: S603 - our own
        try:
            app.noop()(blocking=True)  # until it is ready
            return time_noops(app)
        finally:
            process.kill()


def time_noops(app: App) -> float:
    start = perf_counter()
    tasks = [app.noop.s(id=f"t/{number}") for number in range(TASKS)]
    results = [app.huey.enqueue(task) for task in tasks]
    for result in results:
        result(blocking=True)
    return perf_counter() - start


def consume(folder: Path, variant: str) -> None:
    App(folder, variant).huey.create_consumer(workers=WORKERS).run()


def first(folder: Path, variant: str) -> None:
    app = App(folder, variant)
    app.huey.enqueue(app.finishes.s(id="finished"))
    app.huey.enqueue(app.takes_steps.s(id="steps"))
    app.huey.enqueue(app.noop.s(id="waiting"))
    app.huey.create_consumer(workers=1).run()


def second(folder: Path, variant: str) -> Left:
    app = App(folder, variant)
    before = len(app.log.lines())
    known = {task.id for task in [*app.huey.pending(), *app.huey.scheduled()]}
    progress = app.progress()
    consumer = app.huey.create_consumer(workers=1)
    consumer.start()
    by_itself = app.log.comes("step", after=before)
    if not by_itself:
        app.huey.enqueue(app.takes_steps.s(id="steps"))
    app.log.comes("end", after=before)
    consumer.stop(graceful=True)
    return Left(
        interrupted="steps" in known,
        progress=progress,
        waiting="waiting" in known,
        by_itself=by_itself,
        result=app.huey.result("finished"),
        result_again=app.huey.result("finished"),
    )


if __name__ == "__main__":
    if sys.argv[1] == "consume":
        consume(Path(sys.argv[2]), sys.argv[3])
    else:
        run(speed, first, second)
