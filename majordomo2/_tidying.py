"""What is made of a task's data when its action is over, in the Trio run."""

from __future__ import annotations

from trio.lowlevel import disable_ki_protection

from . import _log as log
from ._pipeline import Function, Stage, piped, settled


@disable_ki_protection
async def tidied(data: object, stages: tuple[Stage, ...], id: str) -> object:
    """The data after the pipeline."""
    return await piped(data, stages, id)


@disable_ki_protection
async def salvaged(state: object, salvages: tuple[Function, ...], id: str) -> object:
    """What is made of the state of a timeout; the state itself if that fails."""
    data = state
    try:
        for salvage in salvages:
            data = await settled(salvage(data))
    except Exception as error:
        log.masked(id, "salvage raised, the state stays as it is", error)
        return state
    return data
