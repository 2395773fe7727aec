"""Sweep: a job that calls something for each item of something large, in many commits."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from persistent import Persistent
from zope.interface import implementer

from zodbjobs import defaults
from zodbjobs.errors import BadArgument, SweepFailed
from zodbjobs.interfaces import SUCCEEDED, ISweep
from zodbjobs.queue_names import spoken
from zodbjobs.stored.composition import Composition
from zodbjobs.stored.enumerators import Enumerator, enumerator_of
from zodbjobs.stored.failure import Failure
from zodbjobs.stored.job import Job, ProgressableJob
from zodbjobs.stored.lifecycle import calls, referring
from zodbjobs.stored.lifecycle.options import timeout_of
from zodbjobs.stored.lifecycle.views import Progress
from zodbjobs.stored.set_aside import Aside, SetAside, shown

#: What becomes of the rest if the call for an item raises.
ON_ERROR = ("set aside", "fail")

_OPTIONS = ("_on_error", "_most", "_seconds", "_throttle")

# What a part of a sweep has of the whole.
_INHERITED = (
    *("_call", "_args", "_kwargs", "_quota_names", "_retry_policy"),
    *("_failure_log_level", *_OPTIONS),
)


class Swept(NamedTuple):
    """The result of a Sweep: for how many items the call was `done`, and what was `set_aside`, a
    sequence that another Sweep can go through.
    """

    done: int
    set_aside: SetAside | tuple[()] = ()


class Source(Persistent):
    """What is gone through, in a record of its own: that of the job is written for each batch."""

    def __init__(self, enumerator: Enumerator) -> None:
        self.enumerator = enumerator


@implementer(ISweep)
class Sweep(ProgressableJob):
    """A job that calls ``each(item, *args)`` for each item of `source`, in batches.

    `source`: a BTree (its values; see `zodbjobs.sweep` for keys and items), a TreeSet, a sequence,
    a CSV file in a blob or an attachment, what another sweep has set aside, or an Enumerator. A
    worker calls `each` for items until `seconds` are over, and commits what that did together with
    the place and the progress; then it goes on, unless the job is cancelled or paused, past its
    timeout, or the worker stops. So a kill or a conflict costs one batch, and each item is done
    once.

    `on_error`: 'set aside' leaves an item out for which `each` raises, with its failure; the job
    fails at the next one after `most` of them. 'fail': it fails at the first one. What was
    committed stays then, and a retry goes on there. `parallel`: in so many jobs, each with a part
    of the source. `throttle`: which part of the time it works, more than 0 and up to 1, or a
    function that is called after each batch and returns for how many seconds to rest.

    The result has `done`, how many items, and `set_aside`, a sequence that another sweep can go
    through. Called by hand it is done in the caller's transaction, in one piece.
    Raises TypeError and BadArgument for what can't be.
    """

    _is_sweep = True
    _also_kept = (*_OPTIONS, "_source", "_parallel")
    #: How many items are done.
    _done = 0
    _aside: SetAside | None = None
    _on_error = "set aside"
    _most = defaults.SWEEP_SET_ASIDE
    _seconds = defaults.SWEEP_SECONDS
    _throttle: float | str | None = None
    _parallel = 1
    #: The composition of the parts, once they are put.
    _whole: Composition | None = None

    def __init__(
        self,
        source: Any,
        each: Callable[..., Any],
        /,
        *args: Any,
        on_error: str = "set aside",
        most: int = defaults.SWEEP_SET_ASIDE,
        seconds: float = defaults.SWEEP_SECONDS,
        throttle: float | Callable[[], float | None] | None = None,
        parallel: int = 1,
    ) -> None:
        if isinstance(each, functools.partial) and each.args:
            raise BadArgument(
                "the item comes before the arguments of the partial; give these to the Sweep"
            )
        super().__init__(each, *args)
        self._source = Source(enumerator_of(source))
        if on_error not in ON_ERROR:
            raise BadArgument(f"on_error is 'set aside' or 'fail', not {on_error!r}")
        given = {
            "_on_error": on_error,
            "_most": _checked_int("most", most),
            "_seconds": _checked_seconds(seconds),
            "_throttle": _checked_throttle(throttle),
            "_parallel": _checked_int("parallel", parallel),
        }
        for name, value in given.items():
            if value != getattr(type(self), name):
                setattr(self, name, value)

    @property
    def done(self) -> int:
        """How many items are done, as far as is committed."""
        if self._whole is not None:
            return sum(part.done for part in self._whole._args)
        return self._done

    @property
    def set_aside(self) -> SetAside | tuple[()]:
        """What was set aside so far; of one that runs in parallel at its end."""
        if self._whole is None:
            return self._aside or ()
        completion = self._completion()
        result = None if completion is None else completion.result
        return result.set_aside if isinstance(result, Swept) else ()

    @property
    def progress(self) -> Progress:
        """How far it is; the mean of its parts, if there are."""
        said = super().progress
        if self._whole is None:
            return said
        percents = [part.progress.percent or 0.0 for part in self._whole._args]
        percent = 100.0 if self.outcome == SUCCEEDED else sum(percents) / len(percents)
        return Progress(percent, _told(self.done, 0) if said.message is None else said.message)

    def _run(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Swept:
        """Call it for each item here and now, in one transaction; raises what that raises."""
        done = 0
        for _, item in self._source.enumerator.items(None):
            calls.run(function, (referring.loaded(item), *args), kwargs)
            done += 1
        return Swept(done)

    # For the worker

    def _parts(self) -> Composition | None:
        """The job of all parts, to be returned; None if it is done in one piece."""
        if self._whole is not None:
            queue = self.queue
            if queue is not None and self._whole.outcome not in (None, SUCCEEDED):
                queue.retry(self._whole)  # its parts go on where they were
            return self._whole
        sources = self._source.enumerator.split(self._parallel) if self._parallel > 1 else []
        if len(sources) < 2:
            return None
        last = Job(gathered)
        parts = [self._part(source) for source in sources]
        whole = Composition(parts, last, in_order=False, lists_parts=False)
        if self.priority:
            for made in (*parts, last, whole):
                made._priority = self.priority
        self._whole = whole
        return whole

    def _part(self, source: Enumerator) -> Sweep:
        part = type(self).__new__(type(self))
        for name in _INHERITED:
            if name in self.__dict__:
                setattr(part, name, self.__dict__[name])
        part._source = Source(source)
        part._has_timeout_of_whole = True
        if timeout_of(self) is not None:
            part._timeout = timeout_of(self)
        return part


class Failed(NamedTuple):
    """An item for which the call raised: the cursors before and after it, and its failure."""

    before: Any
    cursor: Any
    shown: str
    failure: Failure


class Plan(NamedTuple):
    """What a worker goes by: from which cursor, for how many seconds a batch, how it rests.

    `room`: how many more items may be set aside; None: none, as the first one ends the job.
    """

    enumerator: Enumerator
    cursor: Any
    seconds: float
    throttle: float | str | None
    room: int | None


def plan_of(job: Sweep) -> Plan:
    """How a sweep goes on, as the transaction has it."""
    number = 0 if job._aside is None else len(job._aside)
    room = job._most - number if job._on_error == ON_ERROR[0] else None
    return Plan(job._source.enumerator, job._cursor, job._seconds, job._throttle, room)


def keep_loaded(job: Sweep) -> None:
    """See to it that a connection which makes room keeps what is gone through: it may be a long
    list, which each batch would load again.
    """
    assert job._source.enumerator is not None  # asked for an attribute, it was used just now


def note(job: Sweep, cursor: Any, done: int, failures: Sequence[Failed]) -> None:
    """Note what is done by the end of a batch, in its transaction."""
    job._cursor = cursor
    job._done += done
    if failures and job._aside is None:
        job._aside = SetAside()
    for each in failures:
        assert job._aside is not None
        job._aside.add(Aside(job._source, each.before, each.cursor, each.shown, each.failure))


def progress_at(job: Sweep, cursor: Any, done: int, failures: int) -> dict[str, Any]:
    """The progress that is to be told once so many more are done, and it is at that cursor."""
    number = failures + (0 if job._aside is None else len(job._aside))
    values: dict[str, Any] = {"message": _told(job._done + done, number)}
    fraction = job._source.enumerator.fraction(cursor)
    if fraction is not None:
        values["percent"] = 100.0 * fraction
    return values


def parts_of(job: Sweep) -> Composition | None:
    """The job of all parts, to be returned by the attempt; None if it is done in one piece."""
    return job._parts()


def result_of(job: Sweep) -> Swept:
    """The result of a sweep that is done."""
    return Swept(job._done, job._aside or ())


def failed(before: Any, cursor: Any, item: Any, error: BaseException) -> Failed:
    """What is noted of an item for which the call raised `error`."""
    return Failed(before, cursor, shown(item), Failure.from_exception(error).brief())


def too_many(job: Sweep, error: BaseException) -> SweepFailed:
    """What a sweep fails with at an item that it may not set aside any more."""
    many = SweepFailed(
        f"{_spoken(job)} has set aside as many items as it may ({job._most:,}); see its "
        "set_aside, mend what fails, and retry it, or make one that may have more (most=)"
    )
    many.__cause__ = error
    return many


def gathered(*parts: Sweep) -> Swept:
    """The result of the whole, once all parts have ended; raises SweepFailed if one has failed."""
    for part in parts:
        if part.outcome != SUCCEEDED:
            raise SweepFailed(
                f"{_spoken(part)}, a part of a sweep, is {part.outcome}; its failure tells why: "
                "mend that, and retry the sweep, which goes on where its parts were"
            )
    together = SetAside()
    for part in parts:
        for aside in part.set_aside:
            together.add(aside)
    return Swept(sum(part.done for part in parts), together or ())


def _spoken(job: Sweep) -> str:
    queue = job.queue
    where = "" if queue is None else f" of {spoken(queue.name)}"
    return f"job {job.id} ({job.description}){where}"


def _told(done: int, set_aside: int) -> str:
    return f"{done:,} done, {set_aside:,} set aside" if set_aside else f"{done:,} done"


def _checked_int(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise BadArgument(f"{name} of a Sweep must be an int from 1, not {value!r}")
    return value


def _checked_seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 3600:
        raise BadArgument(f"seconds of a Sweep must be more than 0, up to 3600, not {value!r}")
    return float(value)


def _checked_throttle(value: Any) -> float | str | None:
    if callable(value):
        stored = calls.to_stored(value)
        if not isinstance(stored, str):
            raise BadArgument(f"throttle of a Sweep must be a function of a module, not {value!r}")
        return stored
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise BadArgument(
            "throttle of a Sweep is the part of the time in which it works, more than 0 and up to "
            f"1, or a function that returns seconds, not {value!r}"
        )
    return float(value)
