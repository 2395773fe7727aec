"""What a running job can ask and tell: ``from zodbjobs import local``.

Nothing here writes in the job's transaction but `attach`, and nothing commits it but `checkpoint`.
Outside a running job every function raises NoCurrentJob, which is a ValueError.
"""

from __future__ import annotations

import operator
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from zodbjobs import defaults
from zodbjobs.errors import BadArgument, BadStatus, NoCurrentJob
from zodbjobs.runtime import attaching, outside
from zodbjobs.runtime.attaching import AnyData
from zodbjobs.runtime.context import Attempt, current
from zodbjobs.stored.agents import Agent
from zodbjobs.stored.attachments import Attachment
from zodbjobs.stored.job import Job
from zodbjobs.stored.lifecycle.storable import check_immutable
from zodbjobs.stored.queue import Queue

T = TypeVar("T")


def _attempt() -> Attempt:
    attempt = current.get(None)
    if attempt is None:
        raise NoCurrentJob(
            "no job is running here; call this inside a job that a worker runs, "
            "in tests one that zodbjobs.testing.run_jobs() runs"
        )
    return attempt


def get_job() -> Job:
    """The job that runs here."""
    return _attempt().job


def get_queue() -> Queue:
    """The queue of the job that runs here."""
    queue = _attempt().job.queue
    assert queue is not None
    return queue


def get_agent() -> Agent:
    """The agent for which the job runs; its `queues`, `size` and `filter` tell what it takes.

    Also if it was removed from its worker meanwhile.
    """
    agent: Agent = _attempt().agent
    return agent


def get_connection(name: str | None = None) -> Any:
    """The connection in which the job runs, to the database of the application, also if the queue
    is in another one; by name that to another database of the process.

    What is changed in it is committed with the job. Raises BadArgument for an unknown name.
    """
    connection = _attempt().connection
    if name is None:
        return connection
    names = connection.db().databases
    if name not in names:
        raise BadArgument(
            f"there is no database {name!r} here; there are {', '.join(map(repr, sorted(names)))}"
        )
    return connection.get_connection(name)


def set_progress(percent: float, message: str | None = None) -> None:
    """Report how far the job is: `percent` from 0 to 100, and a text for people.

    Others see it within about half a second; the last one is stored with the job. Raises
    BadArgument if `percent` is no number.
    """
    if isinstance(percent, bool) or not isinstance(percent, int | float) or percent != percent:
        raise BadArgument(f"percent must be a number from 0 to 100, not {percent!r}")
    values: dict[str, Any] = {"percent": min(100.0, max(0.0, float(percent)))}
    if message is not None:
        values["message"] = str(message)
    _attempt().annotate(values)


def track(iterable: Iterable[T], total: int | None = None) -> Iterator[T]:
    """Iterate and report the progress; `total` where `len()` doesn't tell it.

    Without any total the job shows no percentage until it is 100 at the end.
    """
    attempt = _attempt()
    if total is None:
        total = operator.length_hint(iterable, 0)
    step = max(1, total // 1000)
    for number, item in enumerate(iterable):
        if total and number % step == 0:
            attempt.annotate({"percent": min(100.0, 100.0 * number / total)})
        yield item
    attempt.annotate({"percent": 100.0})


def attach(
    name: str,
    data_or_file: AnyData,
    content_type: str | None = None,
    *,
    consume: bool = False,
) -> Attachment:
    """Leave a file with the job: ``job.attachments[name]`` once what the job did is committed.

    `data_or_file`: bytes; a binary file, of which the rest is read; or the path of a file, as a
    `pathlib.Path`. A large one is copied piece by piece. `consume`: the file of a path is moved
    into the database's blob folder, not copied, and is gone from its place whatever becomes of
    the job. `content_type`: by default what the name's ending says.

    In the job's transaction: an attempt that fails or conflicts leaves nothing. Raises
    BadArgument for a name that isn't a plain file name or is taken, a type that is none, data that
    isn't bytes, and for more than ``defaults.MOST_ATTACHMENTS`` files; NoBlobs where the database
    takes no files; Cancelled or TimedOut if the job was taken away meanwhile; and OSError.
    """
    return attaching.attach(_attempt(), name, data_or_file, content_type, consume)


def set_live_annotation(name: str, value: object, job: Job | None = None) -> None:
    """Show `value`, which must be immutable, as ``job.annotations[name]`` at once.

    `job`: another job that is committed, in any status, whichever process runs it. That is
    committed at once, beside this job's transaction; the other one isn't disturbed. Raises
    BadArgument for lists, dicts and other things that can change, NotStored for a job that isn't
    committed.
    """
    attempt = _attempt()
    if job is None or job is attempt.job:
        check_immutable(value, f"live annotation {name!r} of job {attempt.job.id}")
        attempt.annotate({name: value})
    else:
        check_immutable(value, f"live annotation {name!r} of {job!r}")
        outside.annotate(job, name, value)


def get_live_annotation(
    name: str, default: Any = None, timeout: float | None = None, job: Job | None = None
) -> Any:
    """A live annotation of the job that is running, else a stored one, else `default`.

    `timeout`: seconds to wait for one that isn't there, looking at what others have set as well;
    less if this job is cancelled meanwhile. `job`: read that of another job, as it is now, not as
    in this job's transaction. Raises NotStored for another job that isn't committed.
    """
    attempt = _attempt()
    is_other = job is not None and job is not attempt.job
    if not is_other:
        live = attempt.annotations or {}
        if name in live:
            return live[name]
        stored = attempt.job.annotations
        if name in stored or timeout is None:
            return stored.get(name, default)
    deadline = time.monotonic() + (timeout or 0)
    while True:
        found = outside.read_annotations(attempt.job if job is None else job)
        if name in found:
            return found[name]
        left = deadline - time.monotonic()
        if left <= 0 or attempt.cancelled:
            return default
        time.sleep(min(left, defaults.ANNOTATION_POLL_SECONDS))


def get_worker() -> str:
    """The id of the worker that runs the job, as `zodbjobs.insights` shows it."""
    return _attempt().worker


def checkpoint(cursor: object) -> None:
    """Commit what the job has done so far, with its progress and with `cursor`, which must be
    immutable: whatever tells the job where to go on. It goes on in a new transaction.

    If the job has to begin again, after a kill, a conflict, or an error with a retry, it is called
    anew, and ``local.cursor()`` is this one: what was committed stays, and isn't to be done again.
    Here the job also ends if its worker stops, its agent was removed or it is paused, and goes
    on later, maybe elsewhere. That counts as no attempt, and the count of interruptions starts
    anew.

    What was read before may have changed since. Let what it raises pass: Cancelled or TimedOut if
    the job can't commit any more, GivenBack as it is to end here, a ConflictError, and what else a
    commit raises. BadArgument for a cursor that could change, BadStatus in another thread, in
    ``tear_down``, and in what a `Sweep` calls, which makes its own.
    """
    attempt = _attempt()
    if attempt.checkpoints is None:
        raise BadStatus(
            f"{attempt.job!r} can't make a checkpoint in its tear_down, of which nothing is "
            "committed; make it in the job"
        )
    attempt.checkpoints.by_hand(attempt, cursor)


def cursor(default: Any = None) -> Any:
    """The cursor of the job's last checkpoint, in this attempt or an earlier one; `default` if
    there was none.
    """
    found = _attempt().job.cursor
    return default if found is None else found


def cancel_requested() -> bool:
    """Whether the job was cancelled, taken away, or is past its timeout: it can't commit any more
    and may just return.
    """
    attempt = _attempt()
    return attempt.cancelled or attempt.is_overdue()


def check() -> None:
    """Raise Cancelled if the job was taken away, or TimedOut if it is past its timeout.

    It can't commit any more then. Cheap: call it wherever a long job can be left.
    """
    error = _attempt().reason_to_stop()
    if error is not None:
        raise error
