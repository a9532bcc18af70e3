"""Messages over a pipe between an instance and its worker processes.

A ping is one byte. Any other message is a header, the lengths of its out-of-band
buffers, a pickle and the buffers: so what is large is neither copied nor joined.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import pickle
import re
import struct
import termios
from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

PING: Final = 0
CALL: Final = 1  # to the worker: what to call, with what
STARTED: Final = 2  # what it takes to call it is loaded, and it starts
STATE: Final = 3
RETURNED: Final = 4
ENDED: Final = 5  # in any other way than by returning
LOGGED: Final = 6
GARBAGE: Final = 7  # is not sent: what somebody else has written into the pipe

ONE_PING = bytes([PING])
_PINGS = re.compile(ONE_PING + b"+")
_HEADER = struct.Struct("<BIQ")  # kind, number of buffers, bytes that follow
_LENGTH = struct.Struct("<Q")
CHUNK = 65_536  # bytes read at once, and what a pipe holds unless it is enlarged
_ENLARGED = 1 << 20  # bytes; what Linux allows to anybody
_AT_ONCE = 512  # parts written at once; a system allows 1024

Part: TypeAlias = bytes | memoryview


class Message(NamedTuple):
    """One that has come."""

    kind: int
    buffers: int = 0
    body: bytes | bytearray = b""

    def load(self) -> object:
        """The object in it.

        Raises:
            Exception: Whatever its classes raise.
        """
        if not self.buffers:
            return pickle.loads(self.body)  # noqa: S301 - from our own process
        view = memoryview(self.body)
        at = self.buffers * _LENGTH.size
        lengths = [length for (length,) in _LENGTH.iter_unpack(view[:at])]
        end = len(view)
        parts: list[memoryview] = []
        for length in reversed(lengths):
            parts.append(view[end - length : end])
            end -= length
        return pickle.loads(view[at:end], buffers=reversed(parts))  # noqa: S301 - as above


def frame(kind: int, pickled: bytes, buffers: Sequence[pickle.PickleBuffer]) -> Frame:
    """A message, to be written."""
    if not buffers and len(pickled) <= CHUNK:  # nearly all are so
        return Frame([_HEADER.pack(kind, 0, len(pickled)) + pickled])
    raw = [buffer.raw() for buffer in buffers]
    lengths = b"".join(_LENGTH.pack(view.nbytes) for view in raw)
    size = len(lengths) + len(pickled) + sum(view.nbytes for view in raw)
    header = _HEADER.pack(kind, len(raw), size) + lengths
    if size <= CHUNK:
        return Frame([b"".join([header, pickled, *raw])])
    return Frame([header, pickled, *raw])


class Frame:
    """A message on its way into a pipe."""

    def __init__(self, parts: list[Part]) -> None:
        self._parts = parts

    def write(self, pipe: int) -> bool:
        """Write what the pipe takes; True: that was all.

        Raises:
            BlockingIOError: It takes nothing now.
            BrokenPipeError: Nobody reads it any more.
        """
        parts = self._parts
        if len(parts) > 1:
            enlarge(pipe)
            written = os.writev(pipe, parts[:_AT_ONCE])
        else:
            written = os.write(pipe, parts[0])
        while parts and written >= len(parts[0]):
            written -= len(parts.pop(0))
        if parts and written:
            parts[0] = memoryview(parts[0])[written:]
        return not parts


def enlarge(pipe: int) -> None:
    """Let it hold more, where that can be said: each turn of a large message costs."""
    resize = getattr(fcntl, "F_SETPIPE_SZ", None)
    if resize is not None:
        with contextlib.suppress(OSError):  # somebody has so many that it is forbidden
            fcntl.fcntl(pipe, resize, _ENLARGED)


def unread(pipe: int) -> bool:
    """Is something in it that nobody has read? False too where that can't be said."""
    waiting = array.array("i", [0])
    with contextlib.suppress(OSError):
        fcntl.ioctl(pipe, termios.FIONREAD, waiting)
    return waiting[0] > 0


class Inbox:
    """The reading end of a pipe."""

    def __init__(self, pipe: int) -> None:
        self.pipe = pipe
        self._rest = b""  # the beginning of a message
        self._large: Message | None = None  # one that is still coming
        self._missing = memoryview(b"")

    def read(self) -> list[Message] | None:
        """The messages that are complete after one read; None: no more will come.

        Raises:
            BlockingIOError: There is nothing now, and the pipe doesn't wait.
        """
        if self._large is not None:
            got = os.readv(self.pipe, [self._missing])
            self._missing = self._missing[got:]
            if not got:
                return None
            if self._missing:
                return []
            message, self._large = self._large, None
            return [message]
        chunk = os.read(self.pipe, CHUNK)
        if not chunk:
            return None
        return self._parsed(self._rest + chunk if self._rest else chunk)

    def _parsed(self, data: bytes) -> list[Message]:
        messages: list[Message] = []
        at, end = 0, len(data)
        while at < end:
            pings = _PINGS.match(data, at)
            if pings is not None:  # many say no more than one
                messages.append(_A_PING)
                at = pings.end()
                continue
            if end - at < _HEADER.size:
                break
            kind, buffers, size = _HEADER.unpack_from(data, at)
            if kind >= GARBAGE:
                messages.append(Message(GARBAGE, 0, data[at : at + _HEADER.size]))
                break
            body = at + _HEADER.size
            if size > end - body:
                if size > CHUNK:
                    self._await(Message(kind, buffers, bytearray(size)), data[body:])
                    at = end
                break
            messages.append(Message(kind, buffers, data[body : body + size]))
            at = body + size
        self._rest = data[at:]
        return messages

    def _await(self, message: Message, beginning: bytes) -> None:
        self._large = message
        view = memoryview(message.body)
        view[: len(beginning)] = beginning
        self._missing = view[len(beginning) :]


_A_PING = Message(PING)
