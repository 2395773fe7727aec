"""What the jobs do: each adds one to a counter of its own, and enters itself in the ledger."""

from __future__ import annotations

import fcntl
import importlib
import os
import signal
import time
import uuid
from pathlib import Path

from BTrees.Length import Length
from BTrees.LOBTree import LOBTree
from BTrees.OOBTree import OOBTree
from persistent import Persistent
from persistent.list import PersistentList

import zodbjobs
from zodbjobs import local

#: Every so manieth job writes an object that all of these write, and that doesn't merge.
MARK_EVERY = 8


class Ledger(Persistent):
    """What all jobs write.

    The entries are made so that they merge, as the counters do: if a job were committed
    twice, the storage would not object, and both would be seen. The marks conflict.
    """

    def __init__(self) -> None:
        self.entries = OOBTree()  # "job id, run" -> number
        self.marks = PersistentList()  # numbers

    def enter(self, number: int) -> str:
        """Enter the running job; returns what tells this run from any other one."""
        run = uuid.uuid4().hex
        self.entries[f"{local.get_job().id} {run}"] = number
        if number % MARK_EVERY == 0:
            self.marks.append(number)
        return run


def run(counter: Length, ledger: Ledger, number: int) -> str:
    """What all writing jobs do; returns the run."""
    counter.change(1)
    return ledger.enter(number)


def beget(
    counter: Length, ledger: Ledger, number: int, children: int, kind: str = "zodbjobs:Job"
) -> str:
    """Also put other jobs, of the class `kind`, into the default queue or that of its name."""
    module, _, name = kind.partition(":")
    job_class = getattr(importlib.import_module(module), name)
    queue = zodbjobs.get_queue(ledger, name if name in zodbjobs.get_queues(ledger) else "")
    for n in range(children):
        queue.put(job_class(run, Length(), ledger, number * 1_000 + n))
    return run(counter, ledger, number)


def retry_parked(counter: Length, ledger: Ledger, number: int) -> str:
    """Also put in again what is parked."""
    for queue in zodbjobs.get_queues(ledger).values():
        for shard in queue.shards:
            for job in list(shard.parked.values()):
                queue.retry(job)
    return run(counter, ledger, number)


def follow(counter: Length, ledger: Ledger, number: int, result: object) -> str:
    """What callbacks do: the job that they follow has ended."""
    assert isinstance(result, str), result
    return run(counter, ledger, number)


def run_after(counter: Length, ledger: Ledger, number: int, *before: zodbjobs.Job) -> str:
    """Run after these have ended."""
    assert all(job.outcome == "succeeded" for job in before), before
    return run(counter, ledger, number)


def run_alone(counter: Length, ledger: Ledger, number: int, lock: str) -> str:
    """Run while no other one with that lock runs, on pain of failing."""
    with open(lock, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(0.001)
        return run(counter, ledger, number)


def tarry_once(counter: Length, ledger: Ledger, number: int, flag: str) -> str:
    """The first time, go on until the time limit is over."""
    result = run(counter, ledger, number)
    try:
        Path(flag).touch(exist_ok=False)
    except FileExistsError:
        return result
    while True:
        local.check()
        time.sleep(0.005)


def outcomes_of(*jobs: zodbjobs.Job) -> str:
    """What became of the parts of a composition."""
    return ", ".join(str(job.outcome) for job in jobs)


def run_noted(counter: Length, ledger: Ledger, number: int, file: str) -> str:
    """First of all leave a line with the moment, by the clock of the machine."""
    line = f"{time.monotonic_ns()}\n".encode()
    lines = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(lines, line)
    finally:
        os.close(lines)
    return run(counter, ledger, number)


def hang_once(counter: Length, ledger: Ledger, number: int, folder: str) -> str:
    """The first time, say so and wait for leave to go on, with all written but the end."""
    result = run(counter, ledger, number)
    try:
        (Path(folder) / "began").touch(exist_ok=False)
    except FileExistsError:
        return result
    while not (Path(folder) / "go").exists():
        time.sleep(0.005)
    return result


def read() -> str:
    """Write nothing; returns what tells this run from any other one."""
    return uuid.uuid4().hex


def kill(counter: Length, ledger: Ledger, number: int, record: str) -> None:
    """End the process, and leave a line about it."""
    run(counter, ledger, number)
    with open(record, "a") as lines:
        lines.write(f"{os.getpid()}\n")
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


#: Of every so many items one raises, where any does.
RAISES = 50


class Swept(Persistent):
    """An item of a sweep."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.count = 0


def count(item: Swept) -> None:
    """What a sweep does with an item."""
    item.count += 1
    time.sleep(0.0005)  # so that kills come in between


def count_or_raise(item: Swept) -> None:
    """The same, but for some items it raises."""
    count(item)
    if item.number % RAISES == 0:
        raise ValueError(f"item {item.number} is bad")


def in_steps(tree: LOBTree) -> str:
    """The same for all items, with a checkpoint after every ten."""
    for key in tree.keys(local.cursor(), None, local.cursor() is not None):
        count(tree[key])
        if key % 10 == 9:
            local.checkpoint(key)
    return "done"
