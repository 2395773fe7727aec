"""Workers of this release and of the next one on the same database, killed by lot.

The next release is this one with more in its records, and with classes that this one hasn't.
"""

from __future__ import annotations

import contextlib
import importlib.util
import random
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import zodbjobs
from chaos import work
from chaos.books import Make
from chaos.stage import Stage, staged
from chaos.table import Row
from chaos.workers import Nursery
from zodbjobs import Job, get_queues

#: Workers of each release.
WORKERS = 2

#: Jobs that put others under the next release, and how many each.
PARENTS = 4
CHILDREN = 25

NEW_CLASSES = '''
"""Stored classes of the next release."""

from persistent import Persistent

from zodbjobs.stored.job import Job


class Notes(Persistent):
    """A record that only workers of the next release have and read."""


class NextJob(Job):
    """A job of a kind that this release doesn't know."""
'''

MORE_OF_JOB = """

def _next_init(self, callable, /, *args, _init=Job.__init__, **kwargs):
    _init(self, callable, *args, **kwargs)
    self._release = "next"


Job._release = None
Job.__init__ = _next_init
"""

MORE_OF_RECORDS = """

def _next_init(self, *args, _init=WorkerRecord.__init__, **kwargs):
    from zodbjobs.stored.new_classes import Notes

    _init(self, *args, **kwargs)
    self.notes = Notes()


WorkerRecord.notes = None
WorkerRecord.__init__ = _next_init
RunningJob.color = "red"
"""

#: Its kind is also the name of the queue for such jobs, which only the next release serves.
KIND = "zodbjobs.stored.new_classes:NextJob"
QUEUE = KIND.partition(":")[2]


def run(row: Row, folder: Path, *, jobs: int, kills: int) -> None:
    """Let both work while `kills` of their workers are killed."""
    source = _make_next_release(folder)
    with (
        _known_here(source),
        contextlib.closing(Nursery(source)) as next_release,
        staged(row, folder, {}) as stage,
    ):
        with stage.db.transaction() as connection:
            get_queues(connection).create(QUEUE)
        stage.fill(range(jobs))
        for kind in ("zodbjobs:Job", KIND):
            first = 1_000 + len(stage.ids)
            stage.fill(range(first, first + PARENTS), _parent(kind), QUEUE)
        total = jobs + 2 * PARENTS * (1 + CHILDREN)
        for nursery in [stage.workers.nursery, next_release] * WORKERS:
            _start(stage, nursery)
        stage.wait(lambda now: len(now.pids()) == 2 * WORKERS, "the workers have begun")
        for _ in range(kills):
            time.sleep(random.uniform(0.1, 0.6))  # the moment is what it is about
            victim = random.choice(stage.workers.alive)
            stage.workers.kill(victim)
            _start(stage, victim.nursery)
        parked = _retry_parked(stage, total)
        stage.take_note(total + bool(parked))
        row.faults += stage.workers.stop() + _faults(stage)
        row.done = (
            f"{WORKERS} workers of this release and {WORKERS} of the next; {kills} times kill -9 "
            f"of one; {parked} jobs of the next were parked by this one's rescue, and retried"
        )


def _make_next_release(folder: Path) -> Path:
    """A copy of the package in which more is stored; returns the folder to import it from."""
    source = folder / "next"
    package = source / "zodbjobs"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(zodbjobs.__file__).parent, package, ignore=ignored)
    stored = package / "stored"
    (stored / "new_classes.py").write_text(NEW_CLASSES)
    for name, more in (("job.py", MORE_OF_JOB), ("workers.py", MORE_OF_RECORDS)):
        with open(stored / name, "a") as module:
            module.write(more)
    return source


@contextlib.contextmanager
def _known_here(source: Path) -> Iterator[None]:
    """Let the onlooker know the new classes; it isn't a worker."""
    name = KIND.partition(":")[0]
    path = source.joinpath(*name.split(".")).with_suffix(".py")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    try:
        yield
    finally:
        del sys.modules[name]


def _start(stage: Stage, nursery: Nursery) -> None:
    queues = [""] if nursery is stage.workers.nursery else None
    stage.workers.start(nursery, options={"queues": queues})


def _parent(kind: str) -> Make:
    return lambda counter, ledger, n: Job(work.beget, counter, ledger, n, CHILDREN, kind)


def _retry_parked(stage: Stage, total: int) -> int:
    """Have the next release put in again what this one has parked; returns how many jobs."""
    stage.wait(lambda now: now.finished() + now.parked() >= total, "all is done or parked")
    with stage.books() as now:
        parked = now.parked()
    if parked:
        stage.fill([0], lambda c, ledger, n: Job(work.retry_parked, c, ledger, n), QUEUE)
    return parked


def _faults(stage: Stage) -> list[str]:
    """Whether what the next release had stored is still there, whoever ended the job."""
    put = PARENTS * CHILDREN
    with stage.books() as now:
        ended = now.ended()
        for job in ended:
            job._p_activate()
        numbers = {
            "that the next release has put": sum("_release" in vars(job) for job in ended),
            "of its new kind": sum(type(job) is not Job for job in ended),
        }
    expected = {"that the next release has put": 2 * put, "of its new kind": put}
    return [
        f"there are {number} jobs {what}, not {expected[what]}"
        for what, number in numbers.items()
        if number != expected[what]
    ]
