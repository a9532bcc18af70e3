"""What is called in worker processes, which import nothing more for it."""

from __future__ import annotations

import time


def noop() -> int:
    return 1


def same(item: object) -> object:
    return item


def sleep() -> None:
    time.sleep(600)
