"""How a result is said, as a line of JSON, and how the whole is, as a summary."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import msgspec

from .._task import Task, TaskStatus

# So many failures are named in the summary: enough to see what is wrong, on one screen.
NAMED = 5
LONGEST = 300


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an input.

    Attributes:
        seconds: From the start of the first attempt to the end of the task.
    """

    input: object
    task: Task[object]
    seconds: float


def line(outcome: Outcome) -> bytes:
    """The line of JSON for a result, whatever it is."""
    task = outcome.task
    said = {
        "id": task.id,
        "input": _encodable(str(outcome.input)),
        "status": task.status,
        "attempts": task.attempts,
        # What is below a millisecond is the event loop's, not the function's.
        "seconds": round(outcome.seconds, 3),
    }
    return msgspec.json.encode(said | _ending(task)) + b"\n"


def _ending(task: Task[object]) -> dict[str, object]:
    error = task.data
    if task.status != "success" and isinstance(error, BaseException):
        message = _encodable(_said(str, error))
        return {"error": {"type": _type_name(error), "message": message}}
    try:
        return {"data": msgspec.Raw(_json(task.data))}
    except Exception:
        return {"data": _encodable(_said(repr, task.data)), "repr": True}


def _json(value: object) -> bytes:
    """The value as JSON.

    Raises:
        Exception: JSON can't say it.
    """
    encoded = msgspec.json.encode(value)
    if b"null" in encoded:  # which msgspec says for NaN and the infinities, too
        json.dumps(msgspec.to_builtins(value, str_keys=True), allow_nan=False)
    return encoded


def _type_name(error: BaseException) -> str:
    """As in a traceback: with its module, unless it is built in."""
    kind = type(error)
    if kind.__module__ in ("builtins", "__main__"):
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def _said(say: Callable[[object], str], value: object) -> str:
    """`str` or `repr` of a value whose own methods may fail."""
    try:
        return say(value)
    except Exception as error:
        cause = type(error).__name__
        return f"<{type(value).__name__}, whose {say.__name__}() raised {cause}>"


def _encodable(text: str) -> str:
    # A path need not be UTF-8; what isn't comes in surrogates, which JSON can't hold.
    return text.encode(errors="backslashreplace").decode()


def in_a_line(text: str) -> str:
    """Short, and safe to show in a terminal, whatever it holds."""
    cut = text if len(text) <= LONGEST else text[:LONGEST] + "…"
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in cut)


def cause_of(error: BaseException) -> str:
    """The type and the message, as the last line of a traceback has them."""
    message = _said(str, error)
    return _type_name(error) + (f": {message}" if message else "")


@dataclass(slots=True)
class Summary:
    """What became of all inputs.

    Args:
        keepalive: The option, in seconds, which is the cause of a timeout.
    """

    keepalive: float
    counts: Counter[TaskStatus] = field(default_factory=Counter["TaskStatus"])
    failed: list[Outcome] = field(default_factory=list["Outcome"])

    def add(self, outcome: Outcome) -> None:
        status = outcome.task.status
        self.counts[status] += 1
        # Those that were cancelled say nothing of what went wrong.
        if status not in ("success", "cancelled") and len(self.failed) < NAMED:
            self.failed.append(outcome)

    @property
    def all_succeeded(self) -> bool:
        return self.counts["success"] == self.counts.total()

    def lines(self) -> Iterator[str]:
        """How many of each status, and the first failures with their causes."""
        total = self.counts.total()
        counts = [f"{number} {status}" for status, number in self.counts.items()]
        yield ": ".join(
            filter(None, [f"{total} input{'s' * (total != 1)}", ", ".join(counts)])
        )
        for outcome in self.failed:
            yield f"  {outcome.task.id} {self._failure(outcome)}"
        more = self.counts["failure"] + self.counts["timeout"] - len(self.failed)
        if more:
            yield f"  … and {more} more"

    def _failure(self, outcome: Outcome) -> str:
        task = outcome.task
        if task.status == "timeout":
            cause = f"no sign of life for {self.keepalive:g} s"
        elif isinstance(task.data, BaseException):
            cause = cause_of(task.data)
        else:
            cause = _said(repr, task.data)
        return f"{in_a_line(str(outcome.input))}: {task.status}: {in_a_line(cause)}"
