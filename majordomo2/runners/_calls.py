"""What comes to a worker process: calls, and answers to what its action waits for."""

from __future__ import annotations

import threading
from collections import deque
from itertools import count
from typing import cast

from . import _wire


class Calls:
    """The pipe from the parent. Any thread of an action may wait for an answer.

    Whoever waits reads for all: a leftover of the last call may still do so when the next
    one comes.
    """

    def __init__(self, pipe: int) -> None:
        self._inbox = _wire.Inbox(pipe)
        self._lock = threading.Lock()
        self._calls: deque[_wire.Message] = deque()
        self._answers: dict[int, BaseException | None] = {}
        self._numbers = count(1)
        self._closed = False

    def next_call(self) -> _wire.Message | None:
        """Wait for the next one; None: no more will come."""
        while not self._calls and not self._closed:
            with self._lock:
                if not self._calls:
                    self._read()
        return self._calls.popleft() if self._calls else None

    def number(self) -> int:
        """One for a question."""
        return next(self._numbers)

    def answer(self, number: int) -> None:
        """Wait for the answer to the question of that number.

        Raises:
            BaseException: What was answered.
        """
        while number not in self._answers and not self._closed:
            with self._lock:
                if number not in self._answers:
                    self._read()
        error = self._answers.pop(number, None)
        if error is not None:
            raise error

    def _read(self) -> None:
        messages = self._inbox.read()
        if messages is None:
            self._closed = True
        for message in messages or ():
            if message.kind == _wire.ANSWER:
                number, error = cast("tuple[int, BaseException | None]", message.load())
                self._answers[number] = error
            else:
                self._calls.append(message)
