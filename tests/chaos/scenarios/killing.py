"""kill -9 of a worker drawn by lot, again and again, and a new one in its place."""

from __future__ import annotations

import random
import time
from pathlib import Path

from chaos.books import read_job, run_job
from chaos.stage import Stage, staged
from chaos.table import Row

WORKERS = 3


def run(row: Row, folder: Path, *, jobs: int, pause: float, write: bool = True) -> None:
    """Kill one every `pause` seconds, on the average, until all jobs are done.

    `write`: whether the jobs do; if not, they end together.
    """
    kills: dict[int, float] = {}
    row.recovered = 0.0
    with staged(row, folder, {}) as stage:
        stage.fill(range(jobs), make=run_job if write else read_job)
        stage.start_workers(WORKERS)
        while not _wait(stage, random.uniform(0.5, 1.5) * pause, kills, row):
            victim = random.choice(stage.workers.alive)
            stage.workers.kill(victim)
            kills[victim.pid] = time.monotonic()
            stage.workers.start()
        number = len(stage.workers.all) - WORKERS
        row.done = f"{WORKERS} workers; {number} times kill -9 of one, every {pause} s"
        row.done += "" if write else "; jobs that only return something"
        stage.wait(lambda now: not now.pids() & set(kills), "no record of the dead is left")


def _wait(stage: Stage, seconds: float, kills: dict[int, float], row: Row) -> bool:
    """Wait for the moment of the next kill, which is random; whether all is done before."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with stage.books() as now:
            drained = stage.is_drained(now)
            known = now.pids()
        for pid in set(kills) - known:
            row.recovered = max(row.recovered or 0.0, time.monotonic() - kills.pop(pid))
        if drained:
            return True
        time.sleep(0.02)
    return False
