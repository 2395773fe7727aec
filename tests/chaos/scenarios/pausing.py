"""A worker that is stopped, thought dead, and continued in the middle of a job that writes.

While it is away another one takes its jobs. In every second round that one doesn't work for
their queue, so they are still to be run when the first one is back.
"""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

from chaos import books, work
from chaos.books import Books
from chaos.stage import Stage, staged
from chaos.table import Row
from chaos.workers import WorkerProcess
from zodbjobs import Job, get_queues

READERS = 100
AFTER = 20

# In which others commit where nobody keeps them from it.
_SECONDS_TO_COMMIT = 5

# Results wait in memory as long as the thread is busy.
FIRST = {"threads": 1, "group_commit": 3600.0}


def run(row: Row, folder: Path, *, rounds: int, beat: float) -> None:
    """Play `rounds` rounds."""
    row.recovered = 0.0
    withheld = 0
    with staged(row, folder, {"heartbeat_seconds": beat}) as stage:
        with stage.db.transaction() as connection:
            get_queues(connection).create("aside")
        first = stage.workers.start(options=FIRST)
        for number in range(rounds):
            own = folder / f"round-{number}"
            own.mkdir()
            withheld += _round(row, stage, first, own, aside=bool(number % 2))
        with stage.books() as now:
            interrupted = now.interruptions()
        if interrupted < rounds + withheld:
            row.faults.append(f"only {interrupted} interruptions were counted")
    row.done = (
        f"{rounds} times a worker stopped in a job with {withheld} results in memory, "
        f"rescued after 3 x {beat} s, continued"
    )


def _round(row: Row, stage: Stage, first: WorkerProcess, folder: Path, aside: bool) -> int:
    """Returns how many results the worker had in memory when it was stopped."""
    begun = len(stage.ids)
    readers = stage.fill(range(READERS), make=books.read_job)
    stage.fill([begun], lambda c, ledger, n: Job(work.hang_once, c, ledger, n, str(folder)))
    stage.wait_for_file(folder / "began")
    _stop_between_commits(stage, first)
    with stage.books() as now:
        withheld = sum(job.finished is None for job in now.leased()) - 1
    second = stage.workers.start(options={"queues": ["aside"] if aside else None})
    stage.wait(lambda now: first.pid not in now.pids(), "the stopped worker is rescued")
    if not aside:
        stage.wait_until_drained()
        with stage.books() as now:
            results = _results(now, readers)
    (folder / "go").touch()
    thought_dead = first.says("was thought dead")
    first.signal(signal.SIGCONT)
    continued = time.monotonic()
    stage.wait(lambda now: first.pid in now.pids(), "it goes on under a new identity")
    stage.wait(lambda now: first.says("was thought dead") > thought_dead, "it says so")
    row.recovered = max(row.recovered or 0.0, time.monotonic() - continued)
    row.faults += stage.workers.stop_one(second)
    stage.fill(range(begun + 1, begun + 1 + AFTER), books.run_job)
    stage.wait_until_drained()
    if not aside:
        with stage.books() as now:
            if _results(now, readers) != results:
                row.faults.append("results that were stored have been replaced")
    return withheld


def _stop_between_commits(stage: Stage, worker: WorkerProcess) -> None:
    """Stop the process where it holds no lock of the storage: nobody can commit beside one that is
    stopped in a commit, as in its heartbeat's, until the server drops its connection.
    """
    while True:
        worker.signal(signal.SIGSTOP)
        looker = threading.Thread(target=_commit, args=(stage,))
        looker.start()
        looker.join(_SECONDS_TO_COMMIT)
        if not looker.is_alive():
            return
        worker.signal(signal.SIGCONT)
        looker.join()


def _commit(stage: Stage) -> None:
    with stage.db.transaction() as connection:
        connection.root()["seen stopped"] = time.time()


def _results(now: Books, readers: list[str]) -> dict[str, str]:
    wanted = set(readers)
    return {job.id: job.result for job in now.ended() if job.id in wanted}
