"""Puts: what a test has put is noted, and looked for."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from persistent import Persistent

from zodbjobs import clock, events
from zodbjobs.events import JobPut, JobPutCommitted
from zodbjobs.interfaces import NEW
from zodbjobs.queue_names import spoken
from zodbjobs.stored.job import Job
from zodbjobs.stored.lifecycle import calls

# By so much the due time may differ from what is asked for.
_TOLERANCE = timedelta(seconds=1)


class _Put:
    """One put: what the job was like then."""

    def __init__(self, event: JobPut) -> None:
        job = event.job
        self.job: Job = job
        self.job_id = event.job_id
        self.queue = event.queue
        self.call = job._call  # noqa: SLF001  to be compared with that of a callable
        self.description = job.description
        self.args, self.kwargs = tuple(job.args), dict(job.kwargs)
        self.shown = calls.show(self.call, self.args, self.kwargs)
        self.at = clock.to_datetime(clock.now())
        self.due: datetime = job.due
        self.is_committed = False

    @property
    def is_there(self) -> bool:
        """Whether it was neither aborted nor taken back."""
        return self.is_committed or self.job.status != NEW

    @property
    def due_in(self) -> timedelta:
        return max(timedelta(0), self.due - self.at)

    def __str__(self) -> str:
        when = "now" if self.due_in < _TOLERANCE else f"in {self.due_in}"
        state = "committed" if self.is_committed else "not committed yet"
        return f"{self.shown} into {spoken(self.queue)}, due {when}, {state}"


# What is noted of each thread; the last one counts.
_noted: dict[int, list[list[_Put]]] = {}


@contextlib.contextmanager
def recorded_puts() -> Iterator[None]:
    """Note what this thread puts, for `assert_put` and `assert_not_put`; a context manager.

    The fixture `zodbjobs_db` does it. It is for tests with a database of their own.
    """
    thread = threading.get_ident()
    puts: list[_Put] = []

    def note(event: JobPut | JobPutCommitted) -> None:
        if threading.get_ident() != thread:
            return
        if isinstance(event, JobPut):
            puts.append(_Put(event))
            return
        for put in puts:
            put.is_committed = put.is_committed or put.job_id == event.job_id

    undo = events.subscribe(note, JobPut, JobPutCommitted)
    _noted.setdefault(thread, []).append(puts)
    try:
        yield
    finally:
        undo()
        _noted[thread].remove(puts)
        if not _noted[thread]:
            del _noted[thread]


def assert_put(
    callable: Callable[..., Any] | str,
    *,
    args: tuple[Any, ...] | list[Any] | None = None,
    queue: str | None = None,
    due_in: timedelta | None = None,
) -> Job:
    """Return the first job that this thread has put and that is like this, committed or not yet.

    Raises AssertionError if there is none, with a list of what was put. `callable`: what it calls,
    or that as the text 'module:function'. `args`: all its positional arguments; stored objects are
    the same if they have one id. `queue`: the name of its queue. `due_in`: how long after the put
    it is due, within a second; timedelta(0) for at once. What isn't given doesn't matter.
    """
    __tracebackhide__ = True
    found = _matching(callable, args, queue, due_in)
    if not found:
        raise AssertionError(f"no job was put that {_asked(callable, args, queue, due_in)}")
    return found[0].job


def assert_not_put(
    callable: Callable[..., Any] | str,
    *,
    args: tuple[Any, ...] | list[Any] | None = None,
    queue: str | None = None,
    due_in: timedelta | None = None,
) -> None:
    """Raise AssertionError if this thread has put a job that is like this; see `assert_put`."""
    __tracebackhide__ = True
    found = _matching(callable, args, queue, due_in)
    if found:
        raise AssertionError(f"a job was put that {_asked(callable, args, queue, due_in)}")


def _puts() -> list[_Put]:
    recorders = _noted.get(threading.get_ident())
    if not recorders:
        raise RuntimeError(
            "what is put isn't noted here; use the fixture zodbjobs_db, or "
            "`with zodbjobs.testing.recorded_puts():` around what puts"
        )
    return [put for put in recorders[-1] if put.is_there]


def _matching(callable: Any, args: Any, queue: str | None, due_in: timedelta | None) -> list[_Put]:
    # What jobs have in place of content, for one.
    wanted = None if args is None else calls.storable_args("what is looked for", tuple(args))
    return [
        put
        for put in _puts()
        if _calls(put, callable)
        and (wanted is None or _are_same(put.args, wanted))
        and (queue is None or put.queue == queue)
        and (due_in is None or abs(put.due_in - due_in) < _TOLERANCE)
    ]


def _calls(put: _Put, callable: Any) -> bool:
    if isinstance(callable, str):
        return bool(put.description == callable)
    wanted = calls.to_stored(callable)
    if isinstance(wanted, tuple) and isinstance(put.call, tuple):
        return _are_same(put.call, wanted)
    return _is_same(put.call, wanted)


def _are_same(some: tuple[Any, ...], others: tuple[Any, ...]) -> bool:
    return len(some) == len(others) and all(map(_is_same, some, others))


def _is_same(one: Any, other: Any) -> bool:
    if isinstance(one, Persistent) and isinstance(other, Persistent):
        if one is other:
            return True
        place, other_place = one._p_jar, other._p_jar
        if place is None or other_place is None:
            return False
        return bool(one._p_oid == other._p_oid) and place.db() is other_place.db()
    return type(one) is type(other) and bool(one == other)


def _asked(callable: Any, args: Any, queue: str | None, due_in: timedelta | None) -> str:
    """What is looked for, and what there is."""
    text = callable if isinstance(callable, str) else calls.describe(calls.to_stored(callable))
    words = [f"calls {text}"]
    words += [] if args is None else [f"with the arguments {tuple(args)!r}"]
    words += [] if queue is None else [f"into {spoken(queue)}"]
    words += [] if due_in is None else [f"due in {due_in}"]
    there = "".join(f"\n  {put}" for put in _puts()) or " nothing"
    return f"{' '.join(words)}; this thread has put:{there}"
