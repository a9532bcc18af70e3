"""How a result is said, as a line of JSON, and how the whole is, as a summary."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePath

import msgspec

from .._task import STATUSES, Task, TaskStatus
from ._cause import cause_and_place, encodable, in_a_line, message_of, said, type_name

# So many failures are named in the summary: enough to see what is wrong, on one screen.
NAMED = 5
HINT = (
    "  hint: if the function computes rather than waits, its threads take turns: "
    "give fewer --workers, or a longer --keepalive"
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an input.

    Attributes:
        seconds: From the start of the first attempt to the end of the task.
        recalled: It comes from the journal, and was not run.
    """

    input: object
    task: Task[object]
    seconds: float
    recalled: bool = False


def line(outcome: Outcome) -> bytes:
    """The line of JSON for a result, whatever it is."""
    task = outcome.task
    common = {
        "id": task.id,
        "input": encodable(str(outcome.input)),
        "status": task.status,
        "attempts": task.attempts,
        # What is below a millisecond is the event loop's, not the function's.
        "seconds": round(outcome.seconds, 3),
    }
    recalled = {"recalled": True} if outcome.recalled else {}
    return msgspec.json.encode(common | _ending(task) | recalled) + b"\n"


def _ending(task: Task[object]) -> dict[str, object]:
    error = task.data
    if task.status != "success" and isinstance(error, BaseException):
        message = encodable(message_of(error))
        return {"error": {"type": type_name(error), "message": message}}
    try:
        return {"data": msgspec.Raw(_json(task.data))}
    except Exception:
        return {"data": encodable(said(repr, task.data)), "repr": True}


def _json(value: object) -> bytes:
    """The value as JSON.

    Raises:
        Exception: JSON can't say it.
    """
    encoded = msgspec.json.encode(value, enc_hook=_path)
    # msgspec says null for NaN and the infinities, base64 for bytes, and a Raw as it is.
    plain = msgspec.to_builtins(
        value,
        str_keys=True,
        builtin_types=(bytes, bytearray, memoryview),
        enc_hook=_path,
    )
    json.dumps(plain, allow_nan=False)
    json.loads(encoded, object_pairs_hook=_unique)
    return encoded


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object of JSON, of which no key says two things, as 1 and "1" would."""
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("two keys are the same in JSON")
    return made


def _path(value: object) -> str:
    """A path as a string: `--files` gives paths, so results are often made of them."""
    if isinstance(value, PurePath):
        return encodable(str(value))
    raise NotImplementedError


@dataclass(slots=True)
class Summary:
    """What became of all inputs.

    Args:
        keepalive: The option, in seconds, which is the cause of a timeout.
        take_turns: Is it a plain function in several threads? If it computes, each has
            the interpreter only now and then, and is silent for so much longer.
    """

    keepalive: float
    take_turns: bool
    counts: Counter[TaskStatus] = field(default_factory=Counter["TaskStatus"])
    recalled: int = 0
    failed: list[Outcome] = field(default_factory=list["Outcome"])

    def add(self, outcome: Outcome) -> None:
        status = outcome.task.status
        self.counts[status] += 1
        self.recalled += outcome.recalled
        # Those that were cancelled say nothing of what went wrong.
        if status not in ("success", "cancelled") and len(self.failed) < NAMED:
            self.failed.append(outcome)

    @property
    def all_succeeded(self) -> bool:
        return self.counts["success"] == self.counts.total()

    def lines(self) -> Iterator[str]:
        """How many of each status, and the first failures with their causes."""
        total = self.counts.total()
        # In one order, whatever ended first.
        counts = [
            f"{self.counts[status]} {status}{self._recalled(status)}"
            for status in sorted(self.counts, key=STATUSES.index)
        ]
        yield ": ".join(
            filter(None, [f"{total} input{'s' * (total != 1)}", ", ".join(counts)])
        )
        for outcome in self.failed:
            task = outcome.task
            named = task.id.endswith(encodable(f"/{outcome.input}"))  # in a journal
            yield f"  {'' if named else f'{task.id} '}{self._failure(outcome)}"
        more = self.counts["failure"] + self.counts["timeout"] - len(self.failed)
        if more:
            yield f"  … and {more} more"
        if self.take_turns and self.counts["timeout"]:
            yield HINT

    def _recalled(self, status: TaskStatus) -> str:
        recalled = status == "success" and self.recalled
        return f" ({recalled} from the journal)" if recalled else ""

    def _failure(self, outcome: Outcome) -> str:
        task = outcome.task
        if task.status == "timeout":
            cause = f"no sign of life for {self.keepalive:g} s"
        elif isinstance(task.data, BaseException):
            cause = cause_and_place(task.data)
        else:
            cause = in_a_line(said(repr, task.data))
        return f"{in_a_line(str(outcome.input))}: {task.status}: {cause}"
