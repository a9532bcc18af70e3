"""What else a user would take on one machine: how fast it is, what a SIGKILL leaves.

Not a comparison of like with like, so it has no limit: the others queue tasks for other
processes, which majordomo2 does not.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

from .killed import ANSWER, STEP, STEPS, TASKS, Left, Log, step_line

WHAT = f"{TASKS:,} named tasks beside huey and DBOS, and what a SIGKILL leaves of them"
ROUNDS = 3
KILLED_IN = 5  # the step that the task is killed in


class Tool(NamedTuple):
    """A program, and how it is set up."""

    name: str
    program: str
    variant: str


MAJORDOMO2 = Tool("majordomo2", "with_majordomo2", "NORMAL")
HUEY = Tool("huey", "with_huey", "default")
DBOS = Tool("DBOS", "with_dbos", "default")
# Each with its setting, and what a loss of power may cost with it.
SPEEDS = {
    MAJORDOMO2: ("`NORMAL`, the default", "the last moments"),
    Tool("majordomo2", "with_majordomo2", "FULL"): ("`FULL`", "nothing"),
    Tool("huey", "with_huey", "fsync=False"): ("`fsync=False`", "the file"),
    HUEY: ("the default", "nothing"),
    DBOS: ("the default", "nothing"),
}
KILLED = (MAJORDOMO2, HUEY, DBOS)


@dataclass(frozen=True)
class Found:
    """What the second process found, and what it did.

    Attributes:
        left: What it found.
        step: Where it went on, after the interrupted task was added again if need be.
        finished: How often the task ran that had finished before.
    """

    left: Left
    step: int
    finished: int


@dataclass(frozen=True)
class Compared:
    """What was measured.

    Attributes:
        speeds: Tasks per second, the medians, by `SPEEDS`.
        found: After the kill, by `KILLED`.
    """

    speeds: dict[Tool, float]
    found: dict[Tool, Found]

    def as_json(self) -> dict[str, object]:
        return {
            "speeds": [
                {**tool._asdict(), "tasks_per_second": speed}
                for tool, speed in self.speeds.items()
            ],
            "after_a_kill": [
                {**tool._asdict(), **asdict(found)}
                for tool, found in self.found.items()
            ],
        }


def compare(rounds: int | None) -> Compared:
    """So many rounds, but no more than enough; one comes first and is not counted."""
    times = ROUNDS if rounds is None else min(rounds, ROUNDS)
    runs: dict[Tool, list[float]] = {tool: [] for tool in SPEEDS}
    for _ in range(times + 1):
        for tool, seconds in runs.items():
            seconds.append(seconds_of(tool))
    return Compared(
        {tool: TASKS / median(seconds[1:]) for tool, seconds in runs.items()},
        {tool: after_a_kill(tool) for tool in KILLED},
    )


def seconds_of(tool: Tool) -> float:
    with TemporaryDirectory() as folder:
        return float(_said(_command(tool, "speed", folder)))


def after_a_kill(tool: Tool) -> Found:
    """Kill it in the middle of a step, and have a second process look."""
    with TemporaryDirectory() as folder:
        log = Log(Path(folder))
        with subprocess.Popen(  # noqa: S603 - our own
            _command(tool, "first", folder),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                assert log.comes(step_line(KILLED_IN))
                time.sleep(STEP / 2)
            finally:
                process.kill()
        before = len(log.lines())
        left = Left(**json.loads(_said(_command(tool, "second", folder))))
        lines = log.lines()
        _, step = lines[before].split()
        return Found(left, int(step), lines.count("finished"))


def _command(tool: Tool, command: str, folder: str) -> list[str]:
    program = [sys.executable, "-m", f"{__package__}.{tool.program}"]
    return [*program, command, folder, tool.variant]


def _said(command: list[str]) -> str:
    """The last line that it printed; DBOS warns of SQLite before."""
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)  # noqa: S603 - our own
    return done.stdout.splitlines()[-1]


def tables(compared: Compared) -> str:
    """Both of them, in Markdown."""
    speeds = [
        f"| {tool.name} | {setting} | {power} | {compared.speeds[tool]:,.0f} |"
        for tool, (setting, power) in SPEEDS.items()
    ]
    columns = [told(tool, found) for tool, found in compared.found.items()]
    names = " | ".join(tool.name for tool in compared.found)
    rows = [
        f"| {what} | {' | '.join(column[what] for column in columns)} |"
        for what in columns[0]
    ]
    return "\n".join(
        [
            "| tool | setting | a loss of power may cost | tasks per second |",
            "|---|---|---|---|",
            *speeds,
            "",
            f"| after a SIGKILL in step {KILLED_IN} of {STEPS} | {names} |",
            f"|---|{'---|' * len(columns)}",
            *rows,
        ]
    )


def told(tool: Tool, found: Found) -> dict[str, str]:
    """A column of the table: what became of what."""
    left = found.left
    return {
        "the result of a task that had finished": _kept(found),
        "the task that ran": "known" if left.interrupted else "**lost**",
        "its progress": _progress(tool, left),
        "it goes on": "by itself" if left.by_itself else "when it is added again",
        "with step": str(found.step),
        "a task that waited for it": "known"
        if left.waiting
        else "is to be added again",
    }


def _kept(found: Found) -> str:
    if found.left.result != ANSWER or found.finished != 1:
        return "**lost**"
    again = found.left.result_again == ANSWER
    return "kept" if again else "kept until it is read"


def _progress(tool: Tool, left: Left) -> str:
    if left.progress is None:
        return "**lost**"
    kept = {
        MAJORDOMO2: "its state",
        HUEY: "a value that the action had stored itself",
        DBOS: "the results of its steps",
    }
    return f"{left.progress} steps: {kept[tool]}"
