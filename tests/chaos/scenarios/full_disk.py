"""The disk is full again and again, at any point of a job's way, and then has room again.

What does it is a limit to the size of files, of the process that has the file: the one with
the worker and the producer, or the ZEO server.
"""

from __future__ import annotations

import random
import resource
import time
from collections.abc import Callable
from pathlib import Path

from chaos import producer
from chaos.stage import PATIENCE, Stage, Stuck, staged
from chaos.table import Row
from chaos.workers import WorkerProcess

#: The most bytes that there is still room for when it becomes scarce.
ROOM = 40_000

#: Bytes that are written between two times.
BETWEEN = 30_000

#: The most seconds that it stays full once somebody has noticed: work is tried again meanwhile.
FULL_SECONDS = 1.0

WORKERS = 2

#: What is logged when a commit of the worker's finds no room.
TROUBLE = "the storage is unavailable"


def in_one_process(row: Row, folder: Path, *, jobs: int) -> None:
    """A process that puts, works and has the file."""
    with staged(row, folder, {}) as stage:
        stage.pad()
        with stage.file_is_free():
            worker = stage.workers.start(puts=jobs, done=str(folder / "done"))
            times = _fill_up(stage, worker.pid, folder / "done", lambda: None)
            row.faults += stage.workers.stop()
        refused = _take_over(stage, folder / "done")
        row.done = f"{times} times no room for the process; {refused} puts were refused"


def at_the_server(row: Row, folder: Path, *, jobs: int) -> None:
    """A ZEO server has the file. Each time a worker is killed, for others to rescue."""
    row.recovered = 0.0
    victims: list[WorkerProcess] = []
    with staged(row, folder, {}) as stage:
        stage.pad()
        stage.start_workers(WORKERS)
        putting = stage.workers.start(puts=jobs, done=str(folder / "done"), works=False)

        def kill_one() -> None:
            victims.append(random.choice([w for w in stage.workers.alive if w is not putting]))
            stage.workers.kill(victims[-1])

        def replace_it() -> None:
            stage.start_workers(1)
            seconds = stage.wait(lambda now: victims[-1].pid not in now.pids(), "the rescue")
            row.recovered = max(row.recovered or 0.0, seconds)

        times = _fill_up(stage, stage.server.pid, folder / "done", kill_one, replace_it)
        row.faults += stage.workers.let_end(putting)
        refused = _take_over(stage, folder / "done")
        row.done = (
            f"{WORKERS} workers; {times} times no room for the server, and one of them killed; "
            f"{refused} puts were refused"
        )


def _take_over(stage: Stage, done: Path) -> int:
    """Let the stage know what was put; returns how many puts were refused."""
    produced = producer.read_produced(done)
    stage.ids += produced.ids
    if not produced.refused:
        raise Stuck("no put was refused")
    return produced.refused


def _fill_up(
    stage: Stage,
    pid: int,
    done: Path,
    while_full: Callable[[], None],
    afterwards: Callable[[], None] = lambda: None,
) -> int:
    """Let the process `pid` have no room, again and again until `done` is there.

    Returns how often that was noticed.
    """
    file: Path = stage.server.file
    times = 0
    while not done.exists():
        size = file.stat().st_size
        _wait(stage, lambda: file.stat().st_size > size + BETWEEN or done.exists())  # noqa: B023
        noticed = _noticed(stage)
        limit = file.stat().st_size + random.randrange(ROOM)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        _wait(stage, lambda: _noticed(stage) > noticed or done.exists())  # noqa: B023
        while_full()
        time.sleep(random.uniform(0, FULL_SECONDS))
        resource.prlimit(
            pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        )
        afterwards()
        times += 1
    return times


def _noticed(stage: Stage) -> int:
    """How often somebody has met the limit."""
    return sum(w.says(TROUBLE) + w.says(producer.REFUSED) for w in stage.workers.all)


def _wait(stage: Stage, condition: Callable[[], bool]) -> None:
    began = time.monotonic()
    while not condition():
        dead = [worker.log.name for worker in stage.workers.alive if not worker.is_alive()]
        if dead or time.monotonic() > began + PATIENCE:
            raise Stuck(f"nothing goes on; ended by themselves: {dead}")
        time.sleep(0.01)
