"""How a worker process is started, and what it needs to know."""

from __future__ import annotations

import logging
import sys
from multiprocessing import spawn

from . import _pickling, _wire

# The program of a worker. The face of the package, and with it Trio, is loaded when a
# function asks for it: many don't, and the process starts in half the time without.
_PROGRAM = """
import sys
sys.path[:] = {path!r}
from importlib.util import find_spec, module_from_spec
from threading import RLock
spec = find_spec("majordomo2")
package = module_from_spec(spec)
lock = RLock()
loading = []
def load(name):
    if name.startswith("_") and name != "__all__":
        raise AttributeError(name)
    with lock:
        if loading:
            raise AttributeError(name)
        if "__getattr__" in vars(package):
            loading.append(name)
            spec.loader.exec_module(package)
            del package.__getattr__
    return getattr(package, name)
package.__getattr__ = load
sys.modules["majordomo2"] = package
from majordomo2.runners._child import serve
serve(*{pipes!r})
"""


def preparation(*, forward_logs: bool, main: bool) -> _wire.Frame:
    """The first message: what a process needs to know of its parent."""
    known = spawn.get_preparation_data("majordomo2 worker")
    known["authkey"] = bytes(known["authkey"])  # as it is, it refuses to be pickled
    if not main:
        known = {k: v for k, v in known.items() if not k.startswith("init_main")}
    root = logging.root.getEffectiveLevel() if forward_logs else None
    return _pickling.packed(_wire.CALL, known | {"log_level_of_root": root})


def stdout() -> int | None:
    """What its prints go to: where those of the parent go now."""
    try:
        return sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):  # replaced by what has no file
        return None


def command(pipes: tuple[int, ...]) -> list[str]:
    """The interpreter and its flags, as multiprocessing would start it, and the program."""
    return [
        *spawn.get_command_line()[:-3],
        "-c",
        _PROGRAM.format(path=sys.path, pipes=pipes),
    ]
