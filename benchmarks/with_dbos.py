"""Named workflows in DBOS with its system database in SQLite; see `killed`."""

from __future__ import annotations

import os
import time
from pathlib import Path
from time import perf_counter

from dbos import DBOS, DBOSClient, SetWorkflowID, WorkflowHandle

from .killed import ANSWER, STEP, STEPS, TASKS, Left, Log, main, step_line

QUEUE = "work"
# Workflows are registered at import; when they run they find the folder by it.
FOLDER = "BENCHMARKS_FOLDER"


def url_in(folder: Path) -> str:
    return f"sqlite:///{folder / 'work.db'}"


def launch(folder: Path) -> None:
    os.environ[FOLDER] = str(folder)
    DBOS(
        config={
            "name": "benchmarks",
            "system_database_url": url_in(folder),
            "log_level": "ERROR",
        }
    )
    DBOS.launch()
    DBOS.register_queue(QUEUE, worker_concurrency=1)


def log() -> Log:
    return Log(Path(os.environ[FOLDER]))


@DBOS.workflow()
def noop() -> int:
    return 1


@DBOS.workflow()
def finishes() -> int:
    log().add("finished")
    return ANSWER


@DBOS.step()
def take_step(step: int) -> None:
    log().add(step_line(step))
    time.sleep(STEP)


@DBOS.workflow()
def takes_steps() -> None:
    for step in range(1, STEPS + 1):
        take_step(step)
    log().add("end")


def speed(folder: Path, _variant: str) -> float:
    """In turn, in this thread: for workflows in its threads, by `start_workflow` or a
    queue, it takes longer.
    """
    launch(folder)
    start = perf_counter()
    for number in range(TASKS):
        with SetWorkflowID(f"t/{number}"):
            noop()
    seconds = perf_counter() - start
    DBOS.destroy()
    return seconds


def first(folder: Path, _variant: str) -> None:
    launch(folder)
    with SetWorkflowID("finished"):
        finishes()
    with SetWorkflowID("steps"):
        DBOS.enqueue_workflow(QUEUE, takes_steps)
    with SetWorkflowID("waiting"):
        DBOS.enqueue_workflow(QUEUE, noop)
    log().comes("end")


def second(folder: Path, _variant: str) -> Left:
    before = len(Log(folder).lines())
    client = DBOSClient(system_database_url=url_in(folder))
    known = {status.workflow_id for status in client.list_workflows()}
    steps = client.list_workflow_steps("steps")
    client.destroy()
    launch(folder)
    by_itself = log().comes("step", after=before)
    log().comes("end", after=before)
    left = Left(
        interrupted="steps" in known,
        progress=len(steps),
        waiting="waiting" in known,
        by_itself=by_itself,
        result=result_of("finished"),
        result_again=result_of("finished"),
    )
    DBOS.destroy()
    return left


def result_of(id: str) -> object:
    handle: WorkflowHandle[object] = DBOS.retrieve_workflow(id)
    return handle.get_result()


if __name__ == "__main__":
    main(speed, first, second)
