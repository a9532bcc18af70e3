"""A server for jobs: `python job_server.py [PORT [GRACE]]`.

A client sends lines, each the path of a file, and gets a line of JSON for each, with the
length of the file and its SHA-256. On SIGTERM, or Ctrl-C, the server takes no more
jobs, answers those that it has, for GRACE seconds at most, and exits with status 0.
"""

from __future__ import annotations

import hashlib
import json
import logging
import signal
import sys
from collections.abc import AsyncIterator
from functools import partial

import trio

from majordomo2 import (
    Backoff,
    Majordomo,
    MajordomoStopped,
    TaskResult,
    keepalive,
    start_majordomo,
)

LONGEST_LINE = 4096  # bytes, as long as a path may be
SENDING = 5.0  # seconds that a client may take to read an answer


def digest(path: str) -> dict[str, object]:
    """The length of a file and its SHA-256. Runs in a thread."""
    seen = hashlib.sha256()
    length = 0
    with open(path, "rb") as file:  # noqa: PTH123  - as short
        while chunk := file.read(1 << 16):
            seen.update(chunk)
            length += len(chunk)
            keepalive()
    return {"bytes": length, "sha256": seen.hexdigest()}


def may_heal(error: Exception) -> bool:
    return not isinstance(error, FileNotFoundError | IsADirectoryError)


def as_answer(path: str, task: TaskResult[dict[str, object]]) -> dict[str, object]:
    answer: dict[str, object] = {"path": path, "status": task.status}
    if task.status == "success":
        answer |= task.data
    elif task.status == "failure":
        answer["error"] = repr(task.data)
    return answer


class Server:
    """Hands the lines of its clients to an instance, one after the other for each."""

    def __init__(self, jarvis: Majordomo) -> None:
        self._jarvis = jarvis
        self._reading: set[trio.CancelScope] = set()
        self._closing = False

    async def talk(self, stream: trio.SocketStream) -> None:
        """With one client, until it goes or the server does."""
        try:
            async for line in self._lines(stream):
                answer = await self._work(line.decode("utf-8", "surrogateescape"))
                with trio.fail_after(SENDING):
                    await stream.send_all(json.dumps(answer).encode("ascii") + b"\n")
        except (trio.BrokenResourceError, trio.TooSlowError):
            pass  # it went without waiting for the answer

    async def _work(self, path: str) -> dict[str, object]:
        try:
            task = await self._jarvis.run(
                digest,
                path,
                keepalive=30,
                retries=2,
                retry_on=may_heal,
                backoff=Backoff(initial=0.1, jitter=0.1),
            )
        except MajordomoStopped:
            return {"path": path, "status": "refused"}
        return as_answer(path, task)

    async def _lines(self, stream: trio.SocketStream) -> AsyncIterator[bytes]:
        rest = b""
        while not self._closing:
            line, newline, after = rest.partition(b"\n")
            if newline:
                rest = after
                yield line
                continue
            chunk = await self._read(stream)
            if not chunk or len(rest) > LONGEST_LINE:
                return
            rest += chunk

    async def _read(self, stream: trio.SocketStream) -> bytes:
        """What the client sends; nothing if it or the server goes."""
        with trio.CancelScope() as scope:
            self._reading.add(scope)
            try:
                return bytes(await stream.receive_some())
            finally:
                self._reading.discard(scope)
        return b""

    def close(self) -> None:
        """Wait for no more jobs; answers that are on their way still go out."""
        self._closing = True
        for scope in self._reading:
            scope.cancel()


async def serve(port: int, grace: float) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with (
            start_majordomo(max_workers=4) as jarvis,
            trio.open_nursery() as clients,
        ):
            server = Server(jarvis)
            async with trio.open_nursery() as accepting:
                talk = partial(trio.serve_tcp, server.talk, port, host="127.0.0.1")
                listeners: list[trio.SocketListener] = await accepting.start(
                    partial(talk, handler_nursery=clients)
                )
                _, port = listeners[0].socket.getsockname()
                print(f"listening on 127.0.0.1:{port}", flush=True)
                await anext(signals)
                accepting.cancel_scope.cancel()
            print("draining", flush=True)
            await jarvis.drain(grace)
            server.close()
    print("done", flush=True)


def main(args: list[str]) -> None:
    logging.basicConfig(format="%(levelname)s %(message)s")
    port = int(args[0]) if args else 0
    grace = float(args[1]) if len(args) > 1 else 10.0
    trio.run(serve, port, grace)


if __name__ == "__main__":
    main(sys.argv[1:])
