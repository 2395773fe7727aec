"""kill -9 of a worker drawn by lot, again and again, and a new one in its place."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

from chaos.books import Books, Make, read_job, run_job, together_job
from chaos.stage import Stage, staged
from chaos.table import Row

WORKERS = 3

#: After so many seconds it says how far it is.
_SILENCE = 60

_KINDS = {
    read_job: "; jobs that only return something",
    together_job: "; jobs that share their commits",
}


def run(
    row: Row, folder: Path, *, jobs: int, pause: float, most: int, make: Make = run_job
) -> None:
    """Kill one every `pause` seconds or so, `most` times, until all jobs are done.

    `make` makes the jobs: those that only return something end together, and so do those that
    share their commits.
    """
    with staged(row, folder, {}) as stage:
        stage.fill(range(jobs), make=make)
        kill_until_done(stage, row, jobs // most, pause)
        row.done += _KINDS.get(make, "")


def kill_until_done(
    stage: Stage,
    row: Row,
    share: int,
    pause: float,
    meanwhile: Callable[[], object] = lambda: None,
) -> None:
    """Kill one after another until all jobs are done; `meanwhile` is called after each."""
    kills: dict[int, float] = {}
    row.recovered = 0.0
    stage.start_workers(WORKERS)
    told = time.monotonic()
    while not _wait(stage, random.uniform(0.5, 1.5) * pause, share, kills, row):
        victim = random.choice(stage.workers.alive)
        stage.workers.kill(victim)
        kills[victim.pid] = time.monotonic()
        stage.workers.start()
        meanwhile()
        if time.monotonic() - told > _SILENCE:
            told = time.monotonic()
            print(f"    {stage.finished()} of {len(stage.ids)} jobs have ended", file=sys.stderr)
    number = len(stage.workers.all) - WORKERS
    row.done = f"{WORKERS} workers; {number} times kill -9 of one, every {pause} s"
    stage.wait(lambda now: not now.pids() & set(kills), "no record of the dead is left")


def _wait(stage: Stage, seconds: float, share: int, kills: dict[int, float], row: Row) -> bool:
    """Wait for the moment of the next kill, which is random; whether all is done before.

    Not before a `share` of the jobs has ended since the last one: where processes start slowly,
    none would get so far.
    """
    moment = time.monotonic() + seconds
    finished = stage.finished()
    drained = False

    def has_come(now: Books) -> bool:
        nonlocal drained
        for pid in set(kills) - now.pids():
            row.recovered = max(row.recovered or 0.0, time.monotonic() - kills.pop(pid))
        drained = stage.is_drained(now)
        return drained or (time.monotonic() >= moment and now.finished() >= finished + share)

    stage.wait(has_come, "some jobs end after a kill")
    return drained
