"""A job's result may be a file: a blob, which each client reads through a copy of its own."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sample
import transaction
from patience import wait_for
from storages import MAKERS, SHARED
from storages.place import Place

import zodbjobs

SIZE = 5 * 1024 * 1024 + 321

READER = """
import hashlib, sys, ZODB.config
with ZODB.config.databaseFromURL(sys.argv[1]).transaction() as connection:
    blob = connection.root()["job"].result
    with blob.open() as file:
        print(hashlib.sha256(file.read()).hexdigest(), blob.committed())
"""


@pytest.fixture(params=SHARED)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with MAKERS[request.param](tmp_path, True) as made:
        yield made


@pytest.fixture
def web(place: Place) -> Iterator[Any]:
    """A connection of the process that puts the jobs."""
    db = place.open("web")
    connection = db.open()
    yield connection
    transaction.abort()
    connection.close()
    db.close()


@pytest.fixture
def worker_db(place: Place, web: Any) -> Iterator[Any]:
    """What a worker elsewhere has open."""
    db = place.open("worker")
    yield db
    db.close()


@pytest.mark.process
def test_a_blob_as_the_result(place: Place, web: Any, worker_db: Any) -> None:
    job = zodbjobs.get_queue(web).put(zodbjobs.Job(sample.make_blob, SIZE, 1))
    web.root()["job"] = job
    transaction.commit()
    with zodbjobs.Worker(worker_db):
        wait_for(job)
    expected = random.Random(1).randbytes(SIZE)
    with job.result.open() as file:
        assert file.read() == expected
    assert Path(job.result.committed()).is_relative_to(place.folder / "web")

    config = place.folder / "reader.conf"
    config.write_text(place.config(client="reader"))
    command = [sys.executable, "-c", READER, config]
    environment = {"PYTHONPATH": str(Path(sample.__file__).parent)}
    printed = subprocess.run(
        command, env=environment, check=True, capture_output=True, text=True
    ).stdout
    digest, path = printed.split()
    assert digest == hashlib.sha256(expected).hexdigest()
    assert Path(path).is_relative_to(place.folder / "reader")


def test_blobs_as_arguments_and_effects(web: Any, worker_db: Any) -> None:
    blob = sample.make_blob(SIZE, 2)
    job = zodbjobs.get_queue(web).put(zodbjobs.Job(sample.reverse_blob, blob))
    transaction.commit()
    with zodbjobs.Worker(worker_db):
        wait_for(job)
    expected = random.Random(2).randbytes(SIZE)[::-1]
    assert job.result == hashlib.sha256(expected).hexdigest()
    with blob.open() as file:
        assert file.read() == expected


def test_a_blob_of_a_job_that_has_failed_is_not_there(web: Any, worker_db: Any) -> None:
    account = web.root()["account"] = sample.Account()
    job = zodbjobs.get_queue(web).put(zodbjobs.Job(sample.store_blob_and_fail, account, SIZE))
    transaction.commit()
    with zodbjobs.Worker(worker_db):
        wait_for(job)
    assert job.outcome == "failed"
    assert not hasattr(account, "file")


def test_a_blob_of_an_attempt_that_conflicted_is_made_again(web: Any, worker_db: Any) -> None:
    account = web.root()["account"] = sample.Account()
    job = zodbjobs.get_queue(web).put(zodbjobs.Job(sample.statement_with_a_rival, account, SIZE))
    transaction.commit()
    with zodbjobs.Worker(worker_db):
        wait_for(job)
    assert (job.outcome, job.conflicts) == ("succeeded", 1)
    assert account.balance == 12
    with job.result.open() as file:
        assert file.read() == random.Random(12).randbytes(SIZE)
