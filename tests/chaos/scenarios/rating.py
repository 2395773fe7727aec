"""Jobs with a rate, while workers are killed or stopped in order: no window has too many begins.

None is stopped by SIGSTOP: one that is held between its look at the clock and the first line of
the job begins later than anybody could know.
"""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path

from BTrees.Length import Length

import zodbjobs
from chaos import work
from chaos.scenarios.killing import kill_until_done
from chaos.stage import Stage, staged
from chaos.table import Row

#: Seconds for which a thread may be without a processor between that look and that line.
_HELD = 0.1


def run(row: Row, folder: Path, *, jobs: int, rate: int, seconds: float, pause: float) -> None:
    """Put so many jobs, of which `rate` may begin in `seconds`; one worker in `pause` seconds is
    killed, and now and then one is stopped.
    """
    begins = folder / "begins"

    def limited(counter: Length, ledger: work.Ledger, number: int) -> zodbjobs.Job:
        job = zodbjobs.Job(work.run_noted, counter, ledger, number, str(begins))
        job.quota_names = ["mail"]
        return job

    with staged(row, folder, {"heartbeat_seconds": 0.5}) as stage:
        with stage.db.transaction() as connection:
            quotas = zodbjobs.get_queue(connection).quotas
            quotas.create("mail", rate=rate, per=timedelta(seconds=seconds))
        stage.fill(range(jobs), make=limited)
        kill_until_done(stage, row, 0, pause, lambda: _stop_one(stage, row))
        moments = sorted(map(int, begins.read_text().split()))
        most = _most(moments, seconds - _HELD)
        if most > rate:
            row.faults.append(f"{most} begins in {seconds} s, of {rate} that may be")
        row.done += f"; {len(moments)} begins, at most {most} in {seconds} s, of {rate}"


def _stop_one(stage: Stage, row: Row) -> None:
    if random.random() < 0.3:
        row.faults += stage.workers.stop_one(random.choice(stage.workers.alive))
        stage.workers.start()


def _most(moments: list[int], seconds: float) -> int:
    """The largest number of moments, in nanoseconds, that are in a window of so long."""
    most = first = 0
    for last, moment in enumerate(moments):
        while moment - moments[first] >= seconds * 1e9:
            first += 1
        most = max(most, last - first + 1)
    return most
