"""kill -9 at any moment: no job is lost, and no effect on the database is there twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import attachment_jobs
import large_jobs
import patience
import pytest
import sample
import transaction
from BTrees.LOBTree import LOBTree
from patience import wait_for
from storages import open_file

import zodbjobs

pytestmark = pytest.mark.process

TESTS = Path(__file__).parents[1]
WRITERS = 60
READERS = 60


def start_victim(path: Path, point: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(TESTS / "chaos" / "victim.py"), str(path), point]
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    return subprocess.Popen(command, env=environment)


def prepare(path: Path, *first: zodbjobs.Job, transactional: bool = False) -> list[str]:
    """A database with jobs that write, and jobs that don't; the ids of all."""
    db = open_file(str(path))
    zodbjobs.install(db)
    with db.transaction() as connection:
        accounts = connection.root()["accounts"] = [sample.Account() for _ in range(WRITERS)]
        began = str(path) + ".began"
        jobs = [*first, zodbjobs.Job(sample.touch, began)]
        for number, account in enumerate(accounts):
            jobs.append(zodbjobs.Job(account.deposit, 1))
            jobs.append(zodbjobs.Job(sample.identity, number))
        zodbjobs.get_queue(connection).put_many(jobs, transactional=transactional)
        ids = [zodbjobs.get_job_id(job) for job in jobs]
    db.close()
    return ids


def finish_and_check(path: Path, ids: list[str]) -> dict[str, Any]:
    """A new worker does what is left; then all is as if nothing had happened."""
    db = open_file(str(path))
    connection = db.open()
    queue = zodbjobs.get_queue(connection)
    jobs = [queue.get(job_id) for job_id in ids]
    assert None not in jobs
    with zodbjobs.Worker(db):
        wait_for(jobs)
    transaction.begin()
    assert {account.balance for account in connection.root()["accounts"]} <= {1}
    finished = list(queue.finished())
    assert len(finished) == len(ids)
    assert {job.id for job in finished} == set(ids)
    assert len(queue) == 0
    assert len(queue.parent.workers) == 0
    seen = {
        "outcomes": {job.id: job.outcome for job in jobs},
        "interruptions": [job.interruptions for job in jobs],
        "results": [job.result for job in jobs[-2 * READERS :]],
    }
    connection.close()
    db.close()
    return seen


@pytest.mark.promise(93, 94, 113, 125)
@pytest.mark.parametrize(
    "point", ["after-claim", "before-commit", "in-commit", "after-commit", "before-booking"]
)
@pytest.mark.parametrize("together", [False, True], ids=["alone", "together"])
def test_killed_at(point: str, together: bool, tmp_path: Path) -> None:
    path = tmp_path / "Data.fs"
    ids = prepare(path, transactional=together)
    victim = start_victim(path, point)
    assert victim.wait(60) == -signal.SIGKILL
    seen = finish_and_check(path, ids)
    assert set(seen["outcomes"].values()) == {"succeeded"}
    assert seen["results"] == [n for number in range(WRITERS) for n in (1, number)]


@pytest.mark.promise(93, 94, 113)
@pytest.mark.parametrize("point", ["after-claim", "in-commit", "after-commit", "before-booking"])
def test_killed_while_jobs_end_together(point: str, tmp_path: Path) -> None:
    path = tmp_path / "Data.fs"
    db = open_file(str(path))
    zodbjobs.install(db)
    with db.transaction() as connection:
        connection.root()["accounts"] = []
        jobs = [zodbjobs.Job(sample.touch, f"{path}.began")]
        jobs += [zodbjobs.Job(sample.identity, number) for number in range(1_000)]
        zodbjobs.get_queue(connection).put_many(jobs)
        ids = [zodbjobs.get_job_id(job) for job in jobs]
    db.close()
    assert start_victim(path, point).wait(60) == -signal.SIGKILL
    seen = finish_and_check(path, ids)
    assert set(seen["outcomes"].values()) == {"succeeded"}
    assert seen["results"] == list(range(1_000))[-2 * READERS :]


@pytest.mark.promise(113)
def test_killed_in_a_job(tmp_path: Path) -> None:
    path = tmp_path / "Data.fs"
    ids = prepare(path, zodbjobs.Job(sample.kill_once, str(tmp_path / "killed")))
    assert start_victim(path, "in-a-job").wait(60) == -signal.SIGKILL
    seen = finish_and_check(path, ids)
    assert set(seen["outcomes"].values()) == {"succeeded"}
    assert seen["interruptions"][0] == 1


def test_killed_while_a_job_attaches_a_file(tmp_path: Path) -> None:
    path = tmp_path / "Data.fs"
    job = zodbjobs.Job(attachment_jobs.attach_and_die, 10_000_000, str(tmp_path / "killed"))
    ids = prepare(path, job)
    assert start_victim(path, "in-a-job").wait(60) == -signal.SIGKILL
    blobs = tmp_path / "Data.fs.blobs"
    assert not list(blobs.rglob("*.blob"))
    seen = finish_and_check(path, ids)
    assert set(seen["outcomes"].values()) == {"succeeded"}
    assert [file.stat().st_size for file in blobs.rglob("*.blob")] == [10_000_000]
    # What a killed process had not committed is known to nobody.
    (left,) = (blobs / "tmp").iterdir()
    assert left.name.startswith("attachment-")


@pytest.mark.promise(113)
def test_a_job_that_kills_its_process_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "Data.fs"
    ids = prepare(path, zodbjobs.Job(sample.kill))
    kills = 0
    while start_victim(path, "in-a-job").wait(60):
        kills += 1
        assert kills <= 10
    assert kills == 10
    seen = finish_and_check(path, ids)
    assert seen["outcomes"].pop(ids[0]) == "aborted"
    assert set(seen["outcomes"].values()) == {"succeeded"}


def test_killed_at_any_moment(tmp_path: Path) -> None:
    path = tmp_path / "Data.fs"
    ids = prepare(path)
    for _ in range(4):
        victim = start_victim(path, "in-a-job")
        time.sleep(random.uniform(0.1, 0.9))  # the moment is the point of the test
        victim.kill()
        victim.wait(60)
    seen = finish_and_check(path, ids)
    assert set(seen["outcomes"].values()) == {"succeeded"}


SWEPT = 2_000


def prepare_large(path: Path) -> None:
    """Two sweeps and a job in steps, over a tree each; the first says when it is half way."""
    db = open_file(str(path))
    zodbjobs.install(db)
    with db.transaction() as connection:
        root, queue = connection.root(), zodbjobs.get_queue(connection)
        root["trees"] = [
            LOBTree({n: large_jobs.Item(n) for n in range(SWEPT)}),
            LOBTree({n: large_jobs.Item(n) for n in range(SWEPT)}),
            LOBTree({n: large_jobs.Item(n) for n in range(SWEPT // 10)}),
        ]
        first, second, third = root["trees"]
        began = (SWEPT // 2, str(path) + ".began")
        queue.put(zodbjobs.Sweep(first, large_jobs.touch_and_tell, *began, seconds=0.01))
        queue.put(zodbjobs.Sweep(second, large_jobs.touch, seconds=0.02, parallel=2))
        queue.put(zodbjobs.Job(large_jobs.tree_in_steps, third))
    db.close()


def finish_large(path: Path) -> None:
    """A new worker does what is left; then each item was done once."""
    db = open_file(str(path))
    connection = db.open()
    queue = zodbjobs.get_queue(connection)
    with zodbjobs.Worker(db):
        patience.until(
            lambda: transaction.begin() and len(list(queue.finished())) >= 3 + 2 + 1 + 1
        )
    transaction.begin()
    for tree in connection.root()["trees"]:
        assert {item.count for item in tree.values()} == {1}
    assert {job.outcome for job in queue.finished()} == {"succeeded"}
    assert {job.attempts for job in queue.finished()} == {1}
    connection.close()
    db.close()


@pytest.mark.parametrize("point", ["before-checkpoint", "after-checkpoint", "in-commit"])
def test_a_sweep_is_killed_at(point: str, tmp_path: Path) -> None:
    path = tmp_path / "Data.fs"
    prepare_large(path)
    assert start_victim(path, point).wait(60) == -signal.SIGKILL
    finish_large(path)


def test_sweeps_are_killed_at_any_moment(tmp_path: Path) -> None:
    path = tmp_path / "Data.fs"
    prepare_large(path)
    for _ in range(4):
        victim = start_victim(path, "in-a-job")
        time.sleep(random.uniform(0.5, 1.5))  # the moment is the point of the test
        victim.kill()
        victim.wait(60)
    finish_large(path)
