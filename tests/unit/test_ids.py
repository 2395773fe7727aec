"""An id never comes to mean another job."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import sample
import transaction
import ZODB
from ZODB.FileStorage import FileStorage
from ZODB.utils import u64

import zodbjobs
from zodbjobs.testing import run_jobs


def forget(queue: Any, job: Any) -> None:
    run_jobs(queue._p_jar.db())
    transaction.begin()
    queue.forget(job)


def remove(queue: Any, job: Any) -> None:
    queue.remove(job)


@pytest.mark.parametrize("drop", [forget, remove])
def test_after_a_pack_and_a_restart(tmp_path: Path, drop: Any) -> None:
    db = ZODB.DB(FileStorage(str(tmp_path / "Data.fs")))
    zodbjobs.install(db)
    connection = db.open()
    queue = zodbjobs.get_queue(connection)
    job = queue.put(sample.nothing)
    transaction.commit()
    job_id = zodbjobs.get_job_id(job)
    drop(queue, job)
    transaction.commit()
    transaction.abort()
    connection.close()
    db.pack(time.time() + 1)
    db.close()
    db = ZODB.DB(FileStorage(str(tmp_path / "Data.fs")))
    connection = db.open()
    queue = zodbjobs.get_queue(connection)
    others = []
    for _ in range(5):
        others.append(queue.put(sample.nothing))
        transaction.commit()
    assert queue.get(job_id) is None
    assert min(u64(other._p_oid) for other in others) > int(job_id)
    transaction.abort()
    connection.close()
    db.close()
