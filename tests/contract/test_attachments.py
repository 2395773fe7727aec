"""Files that jobs leave: there with the job's end, and with nothing else."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attachment_jobs
import patience
import pytest
import sample
import transaction
import ZODB
from storages import MAKERS, SHARED
from ZODB.blob import Blob
from ZODB.MappingStorage import MappingStorage
from ZODB.POSException import POSKeyError

import zodbjobs
from zodbjobs import defaults, insights, interfaces
from zodbjobs.errors import AttachmentLost, NoCurrentJob
from zodbjobs.interfaces import IAttachment
from zodbjobs.runtime.storage import abilities
from zodbjobs.runtime.tasks.prune import prune
from zodbjobs.testing import die_once, moving_clock, run_jobs


@pytest.fixture(params=sorted(set(MAKERS) - {"DemoStorage"}))
def any_db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """An open database on each storage in turn that takes blobs."""
    with MAKERS[request.param](tmp_path, True) as place:
        opened = place.open()
        yield opened
        opened.close()


def put(queue: Any, function: Any, *args: Any, **kwargs: Any) -> zodbjobs.Job:
    job: zodbjobs.Job = queue.put(zodbjobs.Job(function, *args, **kwargs))
    transaction.commit()
    return job


def run(db: Any, queue: Any, function: Any, *args: Any, **kwargs: Any) -> zodbjobs.Job:
    job = put(queue, function, *args, **kwargs)
    run_jobs(db)
    transaction.begin()
    return job


def contents(job: zodbjobs.Job) -> dict[str, bytes]:
    return {name: b"".join(each.chunks()) for name, each in job.attachments.items()}


def left_over(db: Any) -> list[str]:
    """What lies in the folder for blobs that aren't committed."""
    folder = abilities.blob_folder(db)
    assert folder is not None
    return [path.name for path in Path(folder).glob("*") if path.is_file()]


# What is attached


def test_bytes(any_db: Any, queue: Any) -> None:
    job = run(any_db, queue, attachment_jobs.attach, "a.csv", b"1,2\n")
    assert (job.outcome, job.result) == ("succeeded", None)
    assert list(job.attachments) == ["a.csv"]
    attachment = job.attachments["a.csv"]
    assert IAttachment.providedBy(attachment)
    assert (attachment.name, attachment.size) == ("a.csv", 4)
    assert attachment.content_type == "text/csv"
    assert repr(attachment) == "<Attachment 'a.csv' (text/csv, 4 bytes)>"
    with attachment.open() as file:
        assert file.read() == b"1,2\n"
    assert left_over(any_db) == []


def test_a_job_without_any(db: Any, queue: Any) -> None:
    job = queue.put(sample.nothing)
    assert dict(job.attachments) == {}
    transaction.commit()
    run_jobs(db)
    transaction.begin()
    assert dict(job.attachments) == {}
    with pytest.raises(TypeError):
        job.attachments["a"] = None


def test_several_in_their_order(any_db: Any, queue: Any) -> None:
    job = run(any_db, queue, attachment_jobs.attach_many, 12)
    assert job.result == 12
    assert contents(job) == {f"{n}.txt": str(n).encode() for n in range(12)}
    assert list(job.attachments) == [f"{n}.txt" for n in range(12)]


@pytest.mark.parametrize("data", [bytearray(b"hello"), memoryview(b"hello")])
def test_other_bytes(db: Any, queue: Any, data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "some_data", data, raising=False)
    job = run(db, queue, attachment_jobs.attach_some_data)
    assert contents(job) == {"a.txt": b"hello"}


def test_a_path_is_copied_or_moved(any_db: Any, queue: Any, tmp_path: Path) -> None:
    for number, consume in enumerate((False, True)):
        path = tmp_path / f"made-{number}"
        path.write_bytes(b"x" * 1_000_000)
        job = run(any_db, queue, attachment_jobs.attach_file, str(path), consume=consume)
        assert job.result is path.exists() is not consume
        assert contents(job) == {"file.bin": b"x" * 1_000_000}


def test_the_rest_of_a_binary_file(db: Any, queue: Any, tmp_path: Path) -> None:
    path = tmp_path / "made"
    path.write_bytes(b"hello")
    assert contents(run(db, queue, attachment_jobs.attach_rest, str(path))) == {
        "rest.bin": b"ello"
    }


def test_an_empty_file(any_db: Any, queue: Any) -> None:
    job = run(any_db, queue, attachment_jobs.attach, "none.txt", b"")
    assert job.attachments["none.txt"].size == 0
    assert contents(job) == {"none.txt": b""}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.csv", "text/csv"),
        ("a.PDF", "application/pdf"),
        ("a.csv.gz", "application/gzip"),
        ("x.tar.xz", "application/x-xz"),
        ("a.br", "application/octet-stream"),
        ("data:text,.pdf", "application/pdf"),
        ("nothing", "application/octet-stream"),
        ("a.xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ],
)
def test_the_type_is_told_by_the_name(db: Any, queue: Any, name: str, expected: str) -> None:
    job = run(db, queue, attachment_jobs.attach, name)
    assert job.attachments[name].content_type == expected


def test_the_type_that_is_said(db: Any, queue: Any) -> None:
    said = 'text/csv; charset=utf-8; header="present"'
    job = run(db, queue, attachment_jobs.attach, "a.bin", content_type=said)
    assert job.attachments["a.bin"].content_type == said


# What is refused


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "/etc/passwd", "a/b", "a\\b", " a", "a ", "a\nb", "a\x00", "a\u202eb"),
        *("x" * 256, "ä" * 128, "\ud800", None, b"a.txt", 5),
    ],
)
def test_names_that_are_none(db: Any, queue: Any, name: Any) -> None:
    job = run(db, queue, attachment_jobs.attach, name)
    assert job.outcome == "failed"
    assert "take a plain file name such as 'students.csv'" in job.failure.message
    assert dict(job.attachments) == {}


@pytest.mark.parametrize(
    "content_type",
    ["", "csv", "text/", "text/csv\r\nX: y", "text/csv\n", "a/b;c", "text/ä", 5, "a/b; c=\x7f"],
)
def test_types_that_are_none(db: Any, queue: Any, content_type: Any) -> None:
    job = run(db, queue, attachment_jobs.attach, content_type=content_type)
    assert "it is one such as 'text/csv; charset=utf-8'" in job.failure.message


@pytest.mark.parametrize(
    ("data", "cure"),
    [("text", "pass text.encode()"), (5, "pass bytes, a binary file"), (None, "pass bytes")],
)
def test_data_that_is_none(db: Any, queue: Any, data: Any, cure: str) -> None:
    job = run(db, queue, attachment_jobs.attach, "a.txt", data)
    assert cure in job.failure.message
    assert str(job.id) in job.failure.message
    assert left_over(db) == []


def test_a_text_file(db: Any, queue: Any, tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("text")
    job = run(db, queue, attachment_jobs.attach_text_file, str(path))
    assert "open it in binary mode" in job.failure.message
    assert left_over(db) == []


def test_what_cannot_be_moved(db: Any, queue: Any, tmp_path: Path) -> None:
    link, there = tmp_path / "link", tmp_path / "there"
    there.write_bytes(b"x")
    link.symlink_to(there)
    for path, error in ((link, "a link or no file"), (tmp_path, "a link or no file")):
        job = run(db, queue, attachment_jobs.attach_file, str(path), consume=True)
        assert error in job.failure.message
    job = run(db, queue, attachment_jobs.attach_file, str(tmp_path / "not"), consume=True)
    assert job.failure.type == "FileNotFoundError"
    job = run(db, queue, attachment_jobs.attach, "a", b"bytes", consume=True)
    assert "must be the pathlib.Path of a file" in job.failure.message
    assert there.exists()


def test_a_name_twice(any_db: Any, queue: Any) -> None:
    job = run(any_db, queue, attachment_jobs.attach_twice)
    assert "has an attachment 'a.txt' already; take another name" in job.result
    assert contents(job) == {"a.txt": b"first"}


def test_so_many_and_no_more(db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defaults, "MOST_ATTACHMENTS", 3)
    fits, more = (put(queue, attachment_jobs.attach_many, number) for number in (3, 4))
    transaction.commit()
    run_jobs(db)
    transaction.begin()
    assert len(fits.attachments) == 3
    assert "it has 3 files already; put them into one archive" in str(more.failure)


def test_outside_a_job() -> None:
    with pytest.raises(NoCurrentJob):
        zodbjobs.local.attach("a.txt", b"x")


def test_a_database_without_blobs() -> None:
    db = ZODB.DB(MappingStorage())
    zodbjobs.install(db)
    connection = db.open()
    job = run(db, zodbjobs.get_queue(connection), attachment_jobs.attach)
    assert job.failure.type == "zodbjobs.errors.NoBlobs"
    assert "open it with a blob folder (blob-dir)" in job.failure.message
    assert "of the default queue" in job.failure.message
    connection.close()
    db.close()


# With the job's end, or not at all


def test_it_is_seen_in_the_job_and_by_others_at_the_end(any_db: Any, queue: Any) -> None:
    job = run(any_db, queue, attachment_jobs.attach_and_read)
    assert job.result == b"hello"
    assert contents(job) == {"a.txt": b"hello"}


def test_as_the_result(any_db: Any, queue: Any) -> None:
    job = run(any_db, queue, attachment_jobs.attach_and_return)
    assert job.result is job.attachments["a.txt"]
    with job.result.open() as file:
        assert file.read() == b"hello"


def test_a_job_that_fails_leaves_none(any_db: Any, queue: Any) -> None:
    job = run(any_db, queue, attachment_jobs.attach_and_fail)
    assert (job.outcome, dict(job.attachments)) == ("failed", {})
    assert left_over(any_db) == []


def test_a_failure_that_is_returned_keeps_them(any_db: Any, queue: Any) -> None:
    """As all that the job did."""
    job = run(any_db, queue, attachment_jobs.attach_and_return_a_failure)
    assert (job.outcome, contents(job)) == ("failed", {"rows.csv": b"1,bad"})


def test_what_the_attempt_before_left_is_gone(any_db: Any, queue: Any) -> None:
    job = zodbjobs.Job(attachment_jobs.attach_on_the_second_attempt)
    job.retry_policy = zodbjobs.Retry(1)
    queue.put(job)
    transaction.commit()
    run_jobs(any_db)
    transaction.begin()
    assert (job.attempts, contents(job)) == (2, {"1.txt": b"x"})


def test_after_a_snooze(any_db: Any, queue: Any) -> None:
    job = run(any_db, queue, attachment_jobs.attach_and_snooze)
    assert contents(job) == {"second.txt": b"2"}


def test_an_attempt_that_conflicts_attaches_again(
    any_db: Any, queue: Any, connection: Any
) -> None:
    account = connection.root()["account"] = sample.Account()
    job = run(any_db, queue, attachment_jobs.attach_with_a_rival, account)
    assert job.conflicts == 1
    assert contents(job) == {"11.txt": b"x"}
    assert left_over(any_db) == []


def test_a_retry_by_hand_leaves_what_was_there(any_db: Any, queue: Any) -> None:
    job = run(any_db, queue, attachment_jobs.attach_and_return_a_failure)
    queue.retry(job)
    assert dict(job.attachments) == {}
    transaction.abort()
    assert list(job.attachments) == ["rows.csv"]


def test_an_abort_in_the_job(any_db: Any, queue: Any) -> None:
    job = run(any_db, queue, attachment_jobs.attach_and_abort)
    assert (job.outcome, dict(job.attachments)) == ("succeeded", {})
    job = run(any_db, queue, attachment_jobs.attach_and_roll_back)
    assert contents(job) == {"kept.txt": b"x", "last.txt": b"x"}


def test_a_job_that_returns_another_keeps_its_own(any_db: Any, queue: Any) -> None:
    job = run(any_db, queue, attachment_jobs.attach_and_return_a_job, attachment_jobs.attach)
    assert job.outcome == "succeeded"
    assert contents(job) == {"outer.txt": b"x"}


def test_jobs_of_one_bundle(any_db: Any, queue: Any) -> None:
    """Those around them end in the record that they have in common."""
    jobs = queue.put_many([sample.nothing] * 30)
    jobs += queue.put_many([zodbjobs.Job(attachment_jobs.attach, f"{n}") for n in range(30)])
    transaction.commit()
    with zodbjobs.Worker(any_db):
        patience.wait_for(jobs)
    transaction.begin()
    assert [list(job.attachments) for job in jobs] == [[]] * 30 + [[f"{n}"] for n in range(30)]


def test_what_cannot_be_read_to_its_end(any_db: Any, queue: Any) -> None:
    job = run(any_db, queue, attachment_jobs.attach_what_breaks)
    assert (job.outcome, job.result, dict(job.attachments)) == ("succeeded", 0, {})
    assert left_over(any_db) == []


def test_cancelled_while_it_attaches(any_db: Any, queue: Any) -> None:
    job = put(queue, attachment_jobs.attach_while_cancelled)
    with zodbjobs.Worker(any_db):
        patience.wait_for(job)
    transaction.begin()
    assert (job.outcome, dict(job.attachments)) == ("cancelled", {})
    assert left_over(any_db) == []


def test_timed_out_while_it_attaches(any_db: Any, queue: Any) -> None:
    with moving_clock():
        job = queue.put(attachment_jobs.attach_while_overdue, timeout=60)
        transaction.commit()
        run_jobs(any_db)
        transaction.begin()
    assert job.failure.type == "zodbjobs.errors.TimedOut"
    assert sample.noted[0] > 0
    assert dict(job.attachments) == {}
    assert left_over(any_db) == []


def test_dead_before_the_commit(any_db: Any, queue: Any) -> None:
    job = put(queue, attachment_jobs.attach)
    with die_once():
        run_jobs(any_db)
    transaction.begin()
    assert dict(job.attachments) == {}
    run_jobs(any_db)
    transaction.begin()
    assert contents(job) == {"a.txt": b"hello"}


# Reading it


def test_chunks(db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    job = run(db, queue, attachment_jobs.attach, "a", b"0123456789")
    attachment = job.attachments["a"]
    monkeypatch.setattr(zodbjobs.stored.attachments.defaults, "CHUNK_BYTES", 4)
    assert list(attachment.chunks()) == [b"0123", b"4567", b"89"]
    assert list(attachment.chunks(3, 9)) == [b"3456", b"78"]
    assert list(attachment.chunks(8, 100)) == [b"89"]
    assert list(attachment.chunks(5, 5)) == list(attachment.chunks(20)) == []
    chunks = attachment.chunks()
    next(chunks)
    chunks.close()
    assert list(chunks) == []
    with attachment.chunks() as chunks:
        assert next(chunks) == b"0123"
    assert list(chunks) == []


def test_it_is_read_after_the_connection_is_closed(any_db: Any, queue: Any) -> None:
    """As a web server does, which sends it after the transaction."""
    run(any_db, queue, attachment_jobs.attach, "a", b"0123456789")
    connection = any_db.open(transaction.TransactionManager())
    job = next(zodbjobs.get_queue(connection).finished())
    chunks = job.attachments["a"].chunks()
    connection.transaction_manager.abort()
    connection.close()
    assert b"".join(chunks) == b"0123456789"


def test_the_name_and_the_size_load_no_blob(db: Any, queue: Any) -> None:
    run(db, queue, attachment_jobs.attach)
    db.cacheMinimize()
    (job,) = queue.finished()
    (attachment,) = job.attachments.values()
    assert (attachment.name, attachment.size) == ("a.txt", 5)
    assert attachment._blob._p_changed is None


def test_data_that_is_lost(db: Any, queue: Any) -> None:
    job = run(db, queue, attachment_jobs.attach)
    attachment = job.attachments["a.txt"]
    attachment._blob._p_activate()
    path = Path(attachment._blob.committed())
    path.unlink()
    with pytest.raises(AttachmentLost, match=f"'a.txt' of job {job.id} is lost"):
        attachment.open()
    with pytest.raises(AttachmentLost):
        attachment.chunks()
    assert (attachment.name, attachment.size) == ("a.txt", 5)
    details = insights.job_details(job)
    assert details.outcome == "succeeded"
    (shown,) = details.as_json()["attachments"]
    assert shown == {"name": "a.txt", "content_type": "text/plain", "size": 5}


def test_a_record_that_is_lost(db: Any, queue: Any) -> None:
    job = run(db, queue, attachment_jobs.attach)
    attachment = job.attachments["a.txt"]
    queue._p_jar.cacheMinimize()
    attachment._blob._p_invalidate()
    other = zodbjobs.stored.attachments.Attachment("b", "text/plain", 1, Blob(), job.id)
    other._blob._p_oid, other._blob._p_jar = b"\x7f" * 8, queue._p_jar
    other._blob._p_deactivate()
    with pytest.raises(AttachmentLost, match="restore the blobs from the backup"):
        other.open()


# It goes with the job


@pytest.mark.parametrize("how", ["forget", "prune"])
def test_it_goes_with_the_job(any_db: Any, queue: Any, how: str, connection: Any) -> None:
    job = run(any_db, queue, attachment_jobs.attach)
    job_id = job.id
    assert queue.get(job_id) is insights.find_job(connection, job_id) is job
    drop(queue, job, how)
    for _ in range(2):
        assert queue.get(job_id) is None
        assert insights.find_job(connection, job_id) is None
        transaction.commit()


def drop(queue: Any, job: zodbjobs.Job, how: str) -> None:
    if how == "forget":
        queue.forget(job)
    else:
        prune([queue], 0, 0)


@pytest.mark.parametrize("how", ["forget", "prune"])
@pytest.mark.parametrize("storage", [*SHARED, "FileStorage"])
def test_the_next_pack_frees_it(storage: str, how: str, tmp_path: Path) -> None:
    with MAKERS[storage](tmp_path) as place:
        db = place.open()
        zodbjobs.install(db)
        connection = db.open()
        queue = zodbjobs.get_queue(connection)
        job = run(db, queue, attachment_jobs.attach)
        oid = job.attachments["a.txt"]._blob._p_oid
        drop(queue, job, how)
        transaction.commit()
        db.pack()
        connection.close()
        db.close()
        db = place.open("fresh")  # a client keeps what it has read
        with db.transaction() as connection, pytest.raises(POSKeyError):
            connection.get(oid)
        db.close()
        # A file keeps what it has packed away, as it does with its records, until the next one.
        kept = [path for path in tmp_path.rglob("*.blob") if ".blobs.old" not in str(path)]
        assert not kept or storage in SHARED


def test_what_the_job_manager_has_is_there_until_it_is_removed(
    any_db: Any, queue: Any, connection: Any
) -> None:
    manager = zodbjobs.JobManager()
    job_id = manager.put(zodbjobs.Job(attachment_jobs.attach), site=queue)
    transaction.commit()
    run_jobs(any_db)
    transaction.begin()
    queue.forget(queue.get(job_id))
    transaction.commit()
    job = manager.get(job_id, site=queue)
    assert job is not None
    assert contents(job) == {"a.txt": b"hello"}
    assert insights.find_job(connection, job_id) is job
    manager.remove(job_id, site=queue)
    assert insights.find_job(connection, job_id) is None


# Elsewhere, and large


@pytest.fixture(params=SHARED)
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    with MAKERS[request.param](tmp_path) as made:
        yield made


def test_read_by_another_client(shared: Any) -> None:
    web, worker = shared.open("web"), shared.open("worker")
    zodbjobs.install(web)
    connection = web.open()
    job = put(zodbjobs.get_queue(connection), attachment_jobs.attach, "a.bin", b"x" * 3_000_000)
    with zodbjobs.Worker(worker):
        patience.wait_for(job)
    assert contents(job) == {"a.bin": b"x" * 3_000_000}
    connection.close()
    worker.close()
    web.close()


def test_bounded_memory(any_db: Any, queue: Any) -> None:
    """Of a file of 64 MB no more than a few pieces are in memory, in the worker and outside.

    RelStorage stores it in SQLite as one value.
    """
    if "sqlite" in any_db.storage.getName().lower():
        pytest.skip("RelStorage gives SQLite the whole file at once")
    size = 64 * 1024 * 1024
    job = put(queue, attachment_jobs.attach_large, size)
    tracemalloc.start()
    try:
        run_jobs(any_db)
        transaction.begin()
        assert job.outcome == "succeeded"
        assert sum(map(len, job.attachments["big.bin"].chunks())) == size
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < size / 4


def test_a_file_that_is_read_in_pieces(db: Any, queue: Any) -> None:
    asked = []

    class Counting(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            asked.append(size)
            return super().read(size)

    sample.some_data = Counting(b"x")  # type: ignore[attr-defined]
    run(db, queue, attachment_jobs.attach_some_data)
    assert asked == [zodbjobs.defaults.CHUNK_BYTES] * 2


def test_the_contract(db: Any) -> None:
    assert {"name", "content_type", "size", "open", "chunks"} == set(
        interfaces.IAttachment.names()
    )
