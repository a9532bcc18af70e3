"""The error for a call from where an instance does not live."""

from __future__ import annotations

import trio


def misplaced(instance: str, method: str) -> RuntimeError:
    """The error for a call from where the instance does not live."""
    handle = "channel" if method in ("receive", "cancel") else "jarvis"
    enter = "run_sync" if method in ("add_task", "stop", "cancel") else "run"
    call = f"trio.from_thread.{enter}({handle}.{method}"
    if not trio.lowlevel.in_trio_run():
        return RuntimeError(
            f"{method}() of {instance} was called outside its Trio run, or in another "
            f"thread: from a thread that Trio started, write {call}, ...)"
        )
    return RuntimeError(
        f"{method}() of {instance} was called in another Trio run than its own: each "
        f"run needs its own start_majordomo(), or write {call}, ..., trio_token=token) "
        f"in a thread, with the token of the run that started it"
    )
