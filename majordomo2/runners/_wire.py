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
from itertools import chain
from typing import Final, NamedTuple, TypeAlias

PING: Final = 0
CALL: Final = 1  # to the worker: what to call, with what
STARTED: Final = 2  # what it takes to call it is loaded, and it starts
STATE: Final = 3
RETURNED: Final = 4
ENDED: Final = 5  # in any other way than by returning
LOGGED: Final = 6
ANNOUNCED_CALL: Final = 7  # a call whose start is to be told
CHECKPOINT: Final = 8  # a state that somebody waits to be durable, and a number
ANSWER: Final = 9  # to the worker: the number, and what went wrong, or None
GARBAGE: Final = 10  # is not sent: what somebody else has written into the pipe

ONE_PING = bytes([PING])
_PINGS = re.compile(ONE_PING + b"+")
_HEADER = struct.Struct("<BIQ")  # kind, number of buffers, bytes that follow
_LENGTH = struct.Struct("<Q")
CHUNK = 65_536  # bytes read at once, and what a pipe holds unless it is enlarged
READS = 64  # as many empty a pipe that nobody writes to any more
_ENLARGED = 1 << 20  # bytes; what Linux allows to anybody
_ALIGNMENT = 16  # bytes, of what a bytearray holds and any array needs
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
        at = (self.buffers + 1) * _LENGTH.size
        parts: list[memoryview] = []
        for (length,) in _LENGTH.iter_unpack(view[:at]):
            at += _padding(at) if parts else 0
            parts.append(view[at : at + length])
            at += length
        return pickle.loads(parts[0], buffers=parts[1:])  # noqa: S301 - as above


def frame(
    kind: int, pickled: Sequence[Part], buffers: Sequence[pickle.PickleBuffer] = ()
) -> Frame:
    """A message, to be written."""
    length = sum(map(len, pickled))
    if not buffers:
        header = _HEADER.pack(kind, 0, length)
        if length <= CHUNK:  # nearly all are so
            return Frame([b"".join([header, *pickled])])
        return Frame([header, *pickled])
    raw = [buffer.raw() for buffer in buffers]
    lengths = b"".join(map(_LENGTH.pack, [length, *map(len, raw)]))
    size = len(lengths) + length
    parts = list(pickled)
    for part in raw:  # each where an array of numbers may begin
        padding = _padding(size)
        parts += [bytes(padding), part] if padding else [part]
        size += padding + len(part)
    header = _HEADER.pack(kind, len(buffers), size) + lengths
    if size <= CHUNK:
        return Frame([b"".join([header, *parts])])
    return Frame([header, *parts])


def _padding(size: int) -> int:
    """Bytes from there to the next multiple of the alignment."""
    return -size % _ALIGNMENT


class Frame:
    """A message on its way into a pipe."""

    def __init__(self, parts: list[Part]) -> None:
        self._parts = parts
        self._next = 0  # the first that is not wholly written

    @property
    def is_large(self) -> bool:
        """Does it take a noticeable time to send, and to unpickle?"""
        return len(self._parts) > 1

    def ask_for_start(self) -> None:
        """Make a call one whose start the worker is to tell."""
        self._parts[0] = bytes([ANNOUNCED_CALL]) + bytes(self._parts[0][1:])

    def write(self, pipe: int) -> bool:
        """Write what the pipe takes; True: that was all.

        Raises:
            BlockingIOError: It takes nothing now.
            BrokenPipeError: Nobody reads it any more.
        """
        parts = self._parts
        if len(parts) == 1:
            written = os.write(pipe, parts[0])
        else:
            if not self._next:
                enlarge(pipe)
            written = os.writev(pipe, parts[self._next : self._next + _AT_ONCE])
        while self._next < len(parts) and written >= len(parts[self._next]):
            written -= len(parts[self._next])
            self._next += 1
        if written:
            parts[self._next] = memoryview(parts[self._next])[written:]
        return self._next == len(parts)


def pipes(number: int) -> list[tuple[int, int]]:
    """So many, or none.

    Raises:
        OSError: There may be no more.
    """
    made: list[tuple[int, int]] = []
    try:
        made.extend(os.pipe() for _ in range(number))
    except OSError:
        for end in chain.from_iterable(made):
            os.close(end)
        raise
    return made


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
            content = data[body : body + size]
            # What has buffers is to be changed where it arrives, as if it had been made.
            messages.append(
                Message(kind, buffers, bytearray(content) if buffers else content)
            )
            at = body + size
        self._rest = data[at:]
        return messages

    def _await(self, message: Message, beginning: bytes) -> None:
        self._large = message
        view = memoryview(message.body)
        view[: len(beginning)] = beginning
        self._missing = view[len(beginning) :]


_A_PING = Message(PING)
