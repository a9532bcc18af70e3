"""The runners of an instance: which of them an action gets."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable

import trio

from . import _checks
from ._options import check_runner
from ._processes import Processes
from ._runner import Runner, RunnerName
from .runners._async import AsyncRunner
from .runners._inline import InlineRunner
from .runners._thread import ThreadRunner

# As many threads at once as Trio allows by default, where `max_workers` says nothing.
THREADS = 40


class Runners:
    """Those that come with the library, for one instance."""

    def __init__(
        self, max_workers: float, nursery: trio.Nursery, processes: Processes
    ) -> None:
        unlimited = math.isinf(max_workers)
        # Where the workers are limited, so are the threads: one that waits for another
        # task lends its slot, and must not keep a place.
        self._threads = ThreadRunner(THREADS if unlimited else sys.maxsize, nursery)
        self._runners: dict[str, Runner] = {
            "async": AsyncRunner(),
            "inline": InlineRunner(),
            "thread": self._threads,
        }
        self._places = _checks.cores() if unlimited else int(max_workers)
        self._nursery = nursery
        self._options = processes
        self._closers = [self._threads.close]

    def of(self, action: Callable[..., object], wanted: RunnerName | Runner) -> Runner:
        """The one that runs this action.

        Raises:
            TypeError: It can't run it.
            ValueError: The system has none of this kind.
        """
        if wanted == "auto":
            if _checks.is_async(action):
                return self._runners["async"]
            wanted = "thread"
        check_runner(wanted, action)
        if wanted == "process":
            return self._process_runner(action)
        return self._runners[wanted] if isinstance(wanted, str) else wanted

    def _process_runner(self, action: Callable[..., object]) -> Runner:
        if os.name != "posix":
            raise ValueError(
                "runner must not be 'process' on this system, which has no process "
                "groups, nor pipes to wait for: give 'thread'"
            )
        # Imported when it is wanted: it brings multiprocessing along.
        from .runners._process import ProcessRunner  # noqa: PLC0415

        runner = self._runners.get("process")
        if runner is None:
            runner = ProcessRunner(self._places, self._nursery, self._options)
            self._runners["process"] = runner
            self._closers.append(runner.close)
        runner.check(action)
        return runner

    def starts_at_once(self, runner: Runner) -> bool:
        """Does an action with a slot need nothing more, such as a thread?"""
        return runner in (self._runners["async"], self._runners["inline"])

    def lent(self, runner: Runner, change: int) -> None:
        """An action waits for another task, or does so no longer."""
        if runner is self._threads:
            self._threads.lent(change)

    def close(self) -> None:
        """Let go of what they keep for more."""
        for close in self._closers:
            close()
