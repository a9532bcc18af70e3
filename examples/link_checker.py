"""Checks links over HTTP: `python link_checker.py URL...`.

Without a URL it starts a server of its own to check, which is slow, flaky, busy and
sometimes silent, but the same each time. The exit status is 0 if all links are fine.
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial

import httpx
import trio

from majordomo2 import (
    Backoff,
    Majordomo,
    Statistics,
    TaskResult,
    keepalive,
    start_majordomo,
)

# What the server does with the first requests for a path of each kind, and how many paths
# of the kind there are. It does the last of them for ever.
KINDS = {
    "fine": (20, ["200"]),
    "slow": (4, ["trickle"]),
    "flaky": (8, ["500", "503", "200"]),
    "drops": (4, ["drop", "200"]),
    "busy": (4, ["429", "200"]),
    "sleepy": (2, ["silence", "200"]),
    "gone": (3, ["404"]),
    "broken": (2, ["500"]),
    "silent": (1, ["silence"]),
}
KEEPALIVE = 1.0  # seconds of silence after which a server is asked again
RETRIES = 3
RESTART_LIMIT = (10, 1.0)  # at most ten restarts in any second, by all links together


class Server:
    """Speaks just enough HTTP/1.1 to misbehave."""

    def __init__(self) -> None:
        self._asked: Counter[str] = Counter()

    async def answer(self, stream: trio.SocketStream) -> None:
        with trio.move_on_after(60):
            request = b""
            while b"\r\n\r\n" not in request:
                chunk = await stream.receive_some()
                if not chunk:
                    return
                request += chunk
            path = request.split()[1].decode("ascii")
            with suppress(trio.BrokenResourceError):  # the client was tired of waiting
                await self._do(self._what_next(path), stream)

    def _what_next(self, path: str) -> str:
        _, script = KINDS[path.split("/")[1]]
        self._asked[path] += 1
        return script[min(self._asked[path], len(script)) - 1]

    async def _do(self, what: str, stream: trio.SocketStream) -> None:
        if what == "drop":
            return
        if what == "silence":
            await trio.sleep_forever()
        await trio.sleep(0.02)
        code = "200" if what == "trickle" else what
        extra = "Retry-After: 1\r\n" if code == "429" else ""
        head = f"HTTP/1.1 {code} Whatever\r\n{extra}Connection: close\r\n\r\n"
        await stream.send_all(head.encode("ascii"))
        for _ in range(6 if what == "trickle" else 1):
            await trio.sleep(0.25 if what == "trickle" else 0)
            await stream.send_all(b"<p>some of the page</p>\n")


def pages(base: str) -> Iterator[str]:
    for kind, (number, _) in KINDS.items():
        for page in range(number):
            yield f"{base}/{kind}/{page}"


async def check(client: httpx.AsyncClient, url: str) -> int:
    """The status of a link; raises where it may be another one next time."""
    async with client.stream("GET", url) as response:
        if response.status_code == 429 or response.is_server_error:
            response.raise_for_status()
        async for _ in response.aiter_raw():
            keepalive()  # slow is not silent
    return response.status_code


def worth_a_retry(error: Exception) -> bool | float:
    """Whether to ask again, or after how many seconds, if the server says so."""
    if isinstance(error, httpx.HTTPStatusError):
        seconds = error.response.headers.get("Retry-After", "")
        # It may be a date too; the backoff will do then.
        return float(seconds) if seconds.isdecimal() else True
    return isinstance(error, httpx.TransportError)


def outcome(task: TaskResult[int]) -> str:
    if task.status == "success":
        return str(task.data)
    if isinstance(task.data, httpx.HTTPStatusError):
        return f"gave up: {task.data.response.status_code}"
    if task.status == "timeout":
        return "gave up: silence"
    return f"gave up: {type(task.data).__name__}"


def show(now: Statistics) -> None:
    print(
        f"\r{sum(now.finished.values()):4} done, {now.running} running, "
        f"{now.queued} queued, {now.waiting} waiting, {now.restarts} restarts ",
        end="",
        file=sys.stderr,
        flush=True,
    )


async def show_progress(jarvis: Majordomo) -> None:
    """One line on standard error, written over and over."""
    while True:
        show(jarvis.statistics())
        await trio.sleep(0.1)


async def check_all(urls: Sequence[str]) -> dict[str, TaskResult[int]]:
    async with (
        # No timeout of httpx: `keepalive` is what watches over the silence.
        httpx.AsyncClient(timeout=None) as client,  # noqa: S113  - see above
        start_majordomo(max_workers=10, restart_limit=RESTART_LIMIT) as jarvis,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(show_progress, jarvis)
        async with jarvis.map(
            partial(check, client),
            urls,
            keepalive=KEEPALIVE,
            retries=RETRIES,
            retry_on=worth_a_retry,
            backoff=Backoff(initial=0.05, jitter=0.1),
        ) as results:
            tasks = [task async for task in results]
        nursery.cancel_scope.cancel()
    show(jarvis.statistics())
    print(file=sys.stderr)
    return dict(zip(urls, tasks, strict=True))


async def check_own_server() -> dict[str, TaskResult[int]]:
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, Server().answer, 0, host="127.0.0.1")
        listeners: list[trio.SocketListener] = await nursery.start(serve)
        _, port = listeners[0].socket.getsockname()
        found = await check_all(list(pages(f"http://127.0.0.1:{port}")))
        nursery.cancel_scope.cancel()
    return found


def print_table(found: dict[str, TaskResult[int]]) -> None:
    by_outcome: dict[str, list[tuple[str, int]]] = {}
    for url, task in found.items():
        by_outcome.setdefault(outcome(task), []).append((url, task.attempts))
    print(f"{'status':<18}{'links':>6}{'attempts':>10}  such as")
    for name, links in sorted(by_outcome.items()):
        attempts = sum(number for _, number in links)
        print(f"{name:<18}{len(links):>6}{attempts:>10}  {links[0][0]}")


def main(urls: Sequence[str]) -> int:
    # The table says what failed.
    logging.getLogger("majordomo2").addHandler(logging.NullHandler())
    found = trio.run(check_all, urls) if urls else trio.run(check_own_server)
    print_table(found)
    fine = (task.status == "success" and task.data < 400 for task in found.values())
    return 0 if all(fine) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
