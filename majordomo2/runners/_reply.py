"""What a worker process answers: a value, an exception, or a log record."""

from __future__ import annotations

import contextlib
import logging
import pickle
from typing import cast

from .. import _log as log
from .._errors import Raised
from .._remote import RemoteTraceback
from .._runner import Attempt
from . import _child, _wire


def result(attempt: Attempt, reply: _wire.Message) -> object:
    """What the attempt returns, or raises.

    Raises:
        BaseException: What its action raised.
    """
    if reply.kind == _wire.RETURNED:
        try:
            return loaded(reply, f"what {attempt.action!r} returned")
        except TypeError as error:
            return attempt.failure(error)
    declared, raised, final = cast("_child.Ending", reply.load())
    if final is not None:
        return attempt.failure(final)
    if declared is not None:
        status, pickled = declared
        try:
            data = loaded(
                _wire.Message(_wire.ENDED, 0, pickled), f"what {status}() got"
            )
        except TypeError as error:
            return attempt.failure(error)
        declare = attempt.success if status == "success" else attempt.failure
        if raised is None:
            declare(data)
        with contextlib.suppress(BaseException):
            declare(data)
    assert raised is not None
    told = _exception(attempt, *raised)
    if isinstance(told, StopIteration):  # no coroutine can raise it
        raise Raised(told) from None
    raise told


def _exception(
    attempt: Attempt, pickled: bytes, where: RemoteTraceback
) -> BaseException:
    """What was raised there, caused by the traceback there."""
    told: BaseException
    try:
        what = f"the exception that {attempt.action!r} raised"
        message = _wire.Message(_wire.ENDED, 0, pickled)
        told = cast("BaseException", loaded(message, what))
    except TypeError as error:
        told = error
    # A frozen dataclass would refuse an assignment.
    vars(BaseException)["__cause__"].__set__(told, where)
    return told


def loaded(message: _wire.Message, what: str) -> object:
    """The object in it.

    Raises:
        TypeError: Its classes don't make it here.
    """
    try:
        return message.load()
    except BaseException as error:  # whatever it is, it is no Ctrl-C: that waits
        raise TypeError(
            f"{what} came from a worker process and can't be unpickled here: {error!r}"
        ) from error


def checkpoint(message: _wire.Message) -> tuple[int, object]:
    """The number of the question, and the state."""
    return cast("tuple[int, object]", loaded(message, "the state"))


def answer(number: int, error: BaseException | None) -> bytes:
    """The answer to a question, as a pickle."""
    return pickle.dumps((number, error))


def log_record(message: _wire.Message) -> None:
    try:
        record = logging.makeLogRecord(cast("dict[str, object]", message.load()))
        logger = logging.getLogger(record.name)
        if logger.isEnabledFor(record.levelno):
            logger.handle(record)
    except Exception as error:  # to log is no reason to lose a process
        log.masked("a worker process", "its log record was lost", error)
