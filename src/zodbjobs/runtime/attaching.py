"""Attaching: a file that a running job leaves, on its way into the job's transaction."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import tempfile
from collections.abc import Iterator
from typing import IO, Any

from ZODB.blob import Blob

from zodbjobs import defaults
from zodbjobs.errors import BadArgument, NoBlobs
from zodbjobs.queue_names import spoken
from zodbjobs.runtime.context import Attempt
from zodbjobs.runtime.storage import abilities
from zodbjobs.stored.attachments import Attachment, add_to, checked_name, checked_type
from zodbjobs.stored.job import Job

#: What `local.attach` takes.
AnyData = bytes | bytearray | memoryview | os.PathLike[str] | IO[bytes]


def attach(
    attempt: Attempt, name: str, data: AnyData, content_type: str | None, consume: bool
) -> Attachment:
    """What `local.attach` does, in the transaction of `attempt`."""
    job = attempt.job
    name, folder = _checked(job, name)
    content_type = checked_type(content_type, name)
    _check_attempt(attempt)
    attempt.go_alone()  # the file isn't there any more, or isn't read twice, in another attempt
    if consume:
        return _add(job, name, content_type, _checked_path(data, name))
    with _source(data, name, job) as file, _copied(file, folder, name, attempt) as path:
        return _add(job, name, content_type, path)


def _checked(job: Job, name: str) -> tuple[str, str]:
    """The name, and the folder for what isn't committed yet."""
    name = checked_name(name)
    if name in job.attachments:
        raise BadArgument(
            f"job {job.id} of {_queue(job)} has an attachment {name!r} already; take another name"
        )
    if len(job.attachments) >= defaults.MOST_ATTACHMENTS:
        raise BadArgument(
            f"job {job.id} of {_queue(job)} can't attach {name!r}: it has "
            f"{defaults.MOST_ATTACHMENTS:,} files already; put them into one archive, as with "
            "zipfile"
        )
    database = job._p_jar.db()
    folder = abilities.blob_folder(database)
    if folder is None:
        raise NoBlobs(
            f"job {job.id} of {_queue(job)} can't attach {name!r}: the storage of the database "
            f"{database.database_name!r} takes no blobs; open it with a blob folder (blob-dir)"
        )
    return name, folder


def _queue(job: Job) -> str:
    queue = job.queue
    return "no queue" if queue is None else spoken(queue.name)


def _check_attempt(attempt: Attempt) -> None:
    """Raise what ends the attempt, if it can't be committed any more."""
    error = attempt.reason_to_stop()
    if error is not None:
        raise error


def _add(job: Job, name: str, content_type: str, path: str) -> Attachment:
    """Attach the file at `path`, which is moved."""
    size = os.stat(path).st_size
    blob = Blob()
    # So that it is moved onto the disk of the blobs, and within that at the commit.
    job._p_jar.add(blob)
    blob.consumeFile(path)
    attachment = Attachment(name, content_type, size, blob, job.id)
    add_to(job, attachment)
    return attachment


def _checked_path(data: AnyData, name: str) -> str:
    if not isinstance(data, os.PathLike):
        raise BadArgument(
            f"with consume=True attachment {name!r} must be the pathlib.Path of a file, not "
            f"{type(data).__name__}"
        )
    path = os.fspath(data)
    if not stat.S_ISREG(os.lstat(path).st_mode):  # what a link leads to belongs to somebody else
        raise BadArgument(
            f"attachment {name!r} can't be moved from {path}, which is a link or no file; leave "
            "consume=True out, and it is copied"
        )
    return path


@contextlib.contextmanager
def _source(data: Any, name: str, job: Job) -> Iterator[IO[bytes]]:
    """`data` as a file to read from; closed at the end if it was opened here."""
    if isinstance(data, bytes | bytearray | memoryview):
        with io.BytesIO(data) as file:
            yield file
    elif isinstance(data, os.PathLike):
        with open(data, "rb") as file:
            yield file
    elif callable(getattr(data, "read", None)):
        yield data
    else:
        cure = "bytes, a binary file, or the pathlib.Path of a file"
        if isinstance(data, str):
            cure = "text.encode(), or pathlib.Path(path) if it is the path of a file"
        raise BadArgument(
            f"attachment {name!r} of job {job.id} can't be of type {type(data).__name__}; pass "
            + cure
        )


@contextlib.contextmanager
def _copied(file: IO[bytes], folder: str, name: str, attempt: Attempt) -> Iterator[str]:
    """The path of a copy in `folder`, which is removed unless it was moved from there."""
    number, path = tempfile.mkstemp(prefix="attachment-", dir=folder)
    try:
        with open(number, "wb") as copy:
            while chunk := _next_chunk(file, name):
                copy.write(chunk)
                _check_attempt(attempt)
        yield path
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)


def _next_chunk(file: IO[bytes], name: str) -> bytes:
    chunk: Any = file.read(defaults.CHUNK_BYTES)
    if not isinstance(chunk, bytes | bytearray | memoryview):
        raise BadArgument(
            f"the file of attachment {name!r} gives {type(chunk).__name__}, not bytes; open it in "
            "binary mode: open(path, 'rb')"
        )
    return bytes(chunk)
