"""Packs of two databases that refer to each other: the queues in one, the site in the other.

A pack with garbage collection knows the references of its own database only.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sample
import transaction
import ZODB.config
from ZODB.blob import Blob
from ZODB.POSException import POSKeyError

import zodbjobs
from zodbjobs.testing import run_jobs

CONFIG = """
<zodb {name}>
  <filestorage>
    path {folder}/{name}.fs
    blob-dir {folder}/{name}.blobs
    pack-gc {gc}
  </filestorage>
</zodb>
"""


def config(folder: Path, gc: bool) -> str:
    shown = str(gc).lower()
    return "".join(CONFIG.format(name=name, folder=folder, gc=shown) for name in ("main", "async"))


def opened(folder: Path, gc: bool) -> Any:
    """The main database; the other one has the queues."""
    db = ZODB.config.databaseFromString(config(folder, gc))
    zodbjobs.install(db, db_name="async")
    return db


def closed(db: Any) -> None:
    for each in db.databases.values():
        each.close()


def pack(db: Any) -> None:
    for each in db.databases.values():
        each.pack()


def put_orphan(db: Any) -> str:
    """The id of a job with an object of the site as its argument, which the site then drops."""
    with db.transaction() as connection:
        connection.root()["account"] = sample.Account()
    with db.transaction() as connection:
        account = connection.root().pop("account")
        job = zodbjobs.get_queue(connection).put(zodbjobs.Job(account.deposit, 5))
        return zodbjobs.get_job_id(job)


def result_of(db: Any, job_id: str) -> tuple[str | None, Any]:
    run_jobs(db)
    with db.transaction() as connection:
        job = zodbjobs.get_queue(connection).get(job_id)
        return job.outcome, job.result


def keep_result(db: Any) -> None:
    """The site keeps the blob that a job returned; the job is forgotten."""
    with db.transaction() as connection:
        queue = zodbjobs.get_queue(connection)
        job_id = zodbjobs.get_job_id(queue.put(zodbjobs.Job(sample.make_blob, 100, 1)))
    run_jobs(db)
    with db.transaction() as connection:
        queue = zodbjobs.get_queue(connection)
        job = queue.get(job_id)
        connection.root()["file"] = job.result
        queue.forget(job)


def kept(db: Any) -> bytes:
    connection = db.open(transaction.TransactionManager())
    try:
        blob: Blob = connection.root()["file"]
        with blob.open() as file:
            data: bytes = file.read()
            return data
    finally:
        connection.close()


def collect_garbage(folder: Path, db: Any) -> None:
    """As an administrator does with multi-zodb-gc: it takes what an earlier state of an object
    refers to for needed, so the databases are packed before.
    """
    pack(db)
    closed(db)
    file = folder / "both.conf"
    file.write_text(config(folder, gc=False))
    code = "import sys, zc.zodbdgc; zc.zodbdgc.gc_command(sys.argv[1:])"
    # What was written in the last days stays; these are counted from tomorrow.
    subprocess.run([sys.executable, "-c", code, "--days=-1", file], check=True)


@pytest.mark.process
@pytest.mark.parametrize("collects", [False, True], ids=["packed", "collected and packed"])
def test_what_only_the_other_database_refers_to_stays(tmp_path: Path, collects: bool) -> None:
    db = opened(tmp_path, gc=False)
    keep_result(db)
    job_id = put_orphan(db)
    if collects:
        collect_garbage(tmp_path, db)
        db = opened(tmp_path, gc=False)
    pack(db)
    assert len(kept(db)) == 100
    assert result_of(db, job_id) == ("succeeded", 5)
    closed(db)


@pytest.mark.process
def test_what_nothing_refers_to_is_collected(tmp_path: Path) -> None:
    db = opened(tmp_path, gc=False)
    job_id = put_orphan(db)
    assert result_of(db, job_id) == ("succeeded", 5)
    with db.transaction() as connection:
        queue = zodbjobs.get_queue(connection)
        job = queue.get(job_id)
        oid, account = job._p_oid, job.callable.__self__._p_oid
        queue.forget(job)
    collect_garbage(tmp_path, db)
    db = opened(tmp_path, gc=False)
    pack(db)
    connection = db.open()
    for jar, gone in ((connection.get_connection("async"), oid), (connection, account)):
        with pytest.raises(POSKeyError):
            jar.get(gone)
    connection.close()
    closed(db)


def test_with_garbage_collection_of_each_alone_it_is_lost(tmp_path: Path) -> None:
    """Which is why the pages say how such databases are packed."""
    db = opened(tmp_path, gc=True)
    keep_result(db)
    job_id = put_orphan(db)
    pack(db)
    closed(db)
    db = opened(tmp_path, gc=True)
    with pytest.raises(POSKeyError):
        kept(db)
    assert result_of(db, job_id) == (None, None)  # parked: its object is gone
    closed(db)
