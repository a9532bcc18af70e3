"""What the programs that are timed, and killed, have in common.

Each of them is started by `others` as `python -m benchmarks.with_X COMMAND FOLDER VARIANT`,
with one of three commands: `speed` prints how many seconds many named tasks take; `first`
runs tasks until it is killed; `second` looks at what is left of them and goes on.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

TASKS = 1_000
# Of the task that is killed. A step is long enough to be killed in the middle of.
STEPS = 10
STEP = 0.2  # seconds
ANSWER = 42
# How long a task may take to go on by itself; DBOS looks once a second.
PATIENCE = 10.0  # seconds
POLL = 0.01  # seconds


@dataclass(frozen=True)
class Left:
    """What the second process found.

    Attributes:
        interrupted: The task that ran when the first was killed is known.
        progress: So many of its steps are known as done; None if nothing is.
        waiting: The task that was queued behind it is known.
        by_itself: The interrupted task goes on before anybody adds it again.
        result: Of the task that had finished.
        result_again: The same, when it is asked for a second time.
    """

    interrupted: bool
    progress: int | None
    waiting: bool
    by_itself: bool
    result: object
    result_again: object


class Log:
    """What was done, by whichever process: a file with a line for each thing."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "log"
        self._path.touch()

    def add(self, line: str) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    def lines(self) -> list[str]:
        return self._path.read_text(encoding="utf-8").splitlines()

    def comes(self, line: str, *, after: int = 0) -> bool:
        """Wait for a line that begins so, after so many others."""
        late = time.monotonic() + PATIENCE
        while not any(it.startswith(line) for it in self.lines()[after:]):
            if time.monotonic() > late:
                return False
            time.sleep(POLL)
        return True


def step_line(step: int) -> str:
    return f"step {step}"


Command = Callable[[Path, str], float | Left | None]


def main(speed: Command, first: Command, second: Command) -> None:
    command, folder, variant = sys.argv[1:]
    commands = {"speed": speed, "first": first, "second": second}
    result = commands[command](Path(folder), variant)
    print(json.dumps(asdict(result) if isinstance(result, Left) else result))
