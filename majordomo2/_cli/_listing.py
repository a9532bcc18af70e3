"""What is in a journal, as a table and as JSON."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from ..abc import Record
from ..journals._reading import holder, longest_id, pages
from ._cause import in_a_line, printable
from ._usage import UNITS

# So wide a state is where there is no terminal, and so wide at least where there is one.
STATE, LEAST_STATE = 40, 10
# So wide an id at most; one that is longer moves what stands behind it.
ID = 60


def _shown(record: Record, holder: str | None) -> str:
    """The status; of a task that has not ended, what it is about."""
    if record.status != "unspecified":
        return record.status
    if not record.attempts:
        return "queued"
    return "cut off" if holder is None else "running"


# As a table


def table(file: Path, stream: BinaryIO) -> Iterator[bytes]:
    """The lines, a page at a time."""
    width = min(max(longest_id(file), len("ID")), ID)
    columns = _columns(stream)
    has_it = holder(file)
    if has_it is not None:
        yield f"in use by {in_a_line(has_it)}\n".encode()
    yield _line(width, "ID", "STATUS", "ATTEMPTS", "PING", "STATE").encode()
    for records in pages(file):
        has_it, now = holder(file), time.time()
        rows = (
            _row(record, width, columns, _shown(record, has_it), now)
            for record in records
        )
        yield "".join(rows).encode()


def _row(
    record: Record, width: int, columns: int | None, shown: str, now: float
) -> str:
    ping = _rounded(now - record.pinged)
    cells = (printable(record.id), shown, str(record.attempts), ping)
    room = STATE
    if columns is not None:
        room = max(columns - len(_line(width, *cells, "x")) + len("x\n"), LEAST_STATE)
    return _line(width, *cells, _state(record.state, room))


def _line(
    width: int, id: str, status: str, attempts: str, ping: str, state: str
) -> str:
    line = f"{id:{width}}  {status:9}  {attempts:>8}  {ping:>6}  {state}"
    return f"{line.rstrip()}\n"


def _state(state: str | bytes | None, room: int) -> str:
    if isinstance(state, bytes):
        return f"a pickle of {len(state)} bytes"
    text = in_a_line(state or "")
    return text if len(text) <= room else f"{text[: room - 1]}…"


def _rounded(seconds: float) -> str:
    """In the largest unit of which it is one or more."""
    for unit, size in UNITS.items():
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return "0 s"


def _columns(stream: BinaryIO) -> int | None:
    """How wide the terminal is; None if it is none, or doesn't say."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except OSError:
        return None


# As JSON


def objects(file: Path) -> Iterator[bytes]:
    """A line for each task, a page at a time."""
    for records in pages(file):
        has_it = holder(file)
        yield b"".join(_object(record, _shown(record, has_it)) for record in records)


def _object(record: Record, shown: str) -> bytes:
    data: object = record.data
    if record.status != "failure":  # of which it is a text
        data = _value(record.data)
    fields = {
        "id": record.id,
        "action": record.action,
        **_arguments(record.arguments),
        "status": record.status,
        "shown": shown,
        "attempts": record.attempts,
        "state": _value(record.state),
        "data": data,
        "pinged": record.pinged,
    }
    return msgspec.json.encode(fields) + b"\n"


def _arguments(encoded: str | bytes) -> dict[str, object]:
    """What was given by position; and what a `partial` gave by keyword, if it did."""
    if isinstance(encoded, bytes):
        return {"arguments": _value(encoded)}
    try:
        arguments, end = json.JSONDecoder().raw_decode(encoded)
    except ValueError:
        return {"arguments": encoded}
    keywords = encoded[end:].strip()
    more = {"keywords": _value(keywords)} if keywords else {}
    return {"arguments": arguments, **more}


def _value(encoded: str | bytes | None) -> object:
    """What JSON says; a pickle stays one, as to load it may run what it likes."""
    if encoded is None:
        return None
    if isinstance(encoded, bytes):
        return {"pickle": base64.b64encode(encoded).decode()}
    try:
        return msgspec.json.decode(encoded)
    except msgspec.MsgspecError:
        return encoded
