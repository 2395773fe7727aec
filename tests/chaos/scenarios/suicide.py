"""A job that kills its process each time, among others that are to come to no harm."""

from __future__ import annotations

import time
from pathlib import Path

from chaos import work
from chaos.stage import Stage, staged
from chaos.table import Row
from zodbjobs import Job, defaults

WORKERS = 3


def run(row: Row, folder: Path, *, jobs: int) -> None:
    """Replace each worker that dies until the job is given up and the others are done."""
    record = folder / "deaths"
    with staged(row, folder, {}, outcomes={"aborted": 1}) as stage:
        stage.fill(range(jobs // 2))
        stage.fill([jobs], lambda c, ledger, n: Job(work.kill, c, ledger, n, str(record)))
        stage.fill(range(jobs // 2, jobs))
        stage.start_workers(WORKERS)
        died = time.monotonic()
        deaths = 0
        while not _is_over(stage):
            for _ in stage.workers.bury():
                died = time.monotonic()
                deaths += 1
                stage.workers.start()
        row.recovered = time.monotonic() - died
        row.done = f"{WORKERS} workers, {deaths} of them killed by the same job"
        if deaths != defaults.INTERRUPTIONS + 1:
            row.faults.append(f"the job was to be given up by then: {deaths} workers died")


def _is_over(stage: Stage) -> bool:
    """Whether it is, after a moment or so."""
    dead = False

    def something(now: object) -> bool:
        nonlocal dead
        dead = not all(worker.is_alive() for worker in stage.workers.alive)
        return dead or stage.is_drained(now)  # type: ignore[arg-type]

    stage.wait(something, "a worker dies, or all is done")
    return not dead
