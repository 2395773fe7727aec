"""Compositions: one job of many, one after the other or side by side."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable
from typing import Any

from zodbjobs.errors import BadArgument, BadStatus
from zodbjobs.interfaces import NEW, SUCCEEDED
from zodbjobs.stored.job import Job
from zodbjobs.stored.lifecycle import after, completion, control, followers, labels
from zodbjobs.stored.lifecycle.views import ListView, Progress


def serial(
    *jobs: Job | Callable[..., Any],
    postprocess: Job | Callable[..., Any] | None = None,
    lists_parts: bool = True,
) -> Composition:
    """A new job that runs `jobs` strictly one after the other, then `postprocess`.

    See `parallel`.
    """
    return Composition(jobs, postprocess, in_order=True, lists_parts=lists_parts)


def parallel(
    *jobs: Job | Callable[..., Any],
    postprocess: Job | Callable[..., Any] | None = None,
    lists_parts: bool = True,
) -> Composition:
    """A new job that puts all of `jobs`, new ones or callables, then `postprocess`.

    `postprocess` is called with the jobs, all ended, after its own arguments; its result is that
    of the whole, by default the list of the jobs. One that fails stops no other. More jobs can
    be added with ``whole.args.append(job)`` until `postprocess` is due. Meanwhile the whole
    is ACTIVE, and holds no thread. `lists_parts`: whether the parts are in the lists of jobs of
    an owner, an object and a realm as well; without it the whole alone is, and the parts belong to
    its owner and realm all the same.

    A retry of the whole runs again what has ended without success, then `postprocess`. Raises
    BadStatus for a job that is in a queue or in a composition already.
    """
    return Composition(jobs, postprocess, in_order=False, lists_parts=lists_parts)


def gather(*jobs: Job) -> list[Job]:
    """The default `postprocess`."""
    return list(jobs)


class Composition(Job):
    """A job of many. Its arguments are these jobs; make it with `serial` or `parallel`."""

    _is_composed = True
    _in_order = False
    _postprocess: Job | None = None

    def __init__(
        self,
        jobs: Iterable[Job | Callable[..., Any]],
        postprocess: Job | Callable[..., Any] | None,
        in_order: bool,
        lists_parts: bool = True,
    ) -> None:
        super().__init__(self.begin)
        members = tuple(job if isinstance(job, Job) else Job(job) for job in jobs)
        last = None if postprocess is None else self._as_job(postprocess)
        for job in (*members, *((last,) if last is not None else ())):
            self._take(job)
        self._args = members
        if last is not None:
            self._postprocess = last
        if in_order:
            self._in_order = True
        if not lists_parts:
            self._lists_parts = False

    @staticmethod
    def _as_job(value: Job | Callable[..., Any]) -> Job:
        return value if isinstance(value, Job) else Job(value)

    def _take(self, job: Job) -> None:
        """Make it a part of this one; raises before anything is changed."""
        if not isinstance(job, Job):
            raise TypeError(f"{self!r} is made of jobs, not of {job!r}")
        if job._is_part or job._callback_of is not None:
            raise BadStatus(f"{job!r} belongs to another job already; make another job")
        if job.status != NEW or job._finished is not None:
            raise BadStatus(f"{job!r} is {job.status}; a composition takes new jobs only")
        chain: list[tuple[Job, ...]] = [(job,)]
        while chain:
            found = chain.pop()
            if found[-1] is self:
                shown = " -> ".join(repr(part) for part in (self, *found))
                raise BadArgument(f"{self!r} can't be a part of itself: {shown}")
            if isinstance(found[-1], Composition):
                chain += [(*found, part) for part in found[-1]._args]
        job._is_part = True

    def _check(self, jar: Any) -> None:
        self._check_is_whole()
        labels.check_about(self)
        for job in (*self._args, *([] if self._postprocess is None else [self._postprocess])):
            followers.check_all(job, jar)

    @property
    def description(self) -> str:
        """What it is, as text."""
        return f"{'serial' if self._in_order else 'parallel'} of {len(self._args)} jobs"

    @property
    def args(self) -> ListView:
        """The jobs. Jobs can be added at the end until the postprocess is due."""
        return _Members(self, "_args", self._check_argument, self._change_arguments)

    @args.setter
    def args(self, values: Any) -> None:
        self._set_members(tuple(values))

    @property
    def progress(self) -> Progress:
        """How many of its parts have ended, as percent, unless somebody has set another one.

        Of parts that run side by side, and are more than a hundred, whole hundreds count.
        """
        said = super().progress
        if said.percent is not None or not self._args:
            return said
        if self.outcome is not None:
            return said._replace(percent=100.0 if self.outcome == SUCCEEDED else None)
        last = self._gate.adopts if self._gate is not None else None
        return said if last is None else said._replace(percent=self._percent(last))

    def _percent(self, last: Job) -> float:
        """The part that has ended of those that `last` waits for; a few are loaded at most."""
        if not after.is_blocked(last):
            return 100.0
        if self._in_order:
            total = len(self._args)
            ended = bisect.bisect_left(range(total), True, key=self._is_open)
        else:
            total = after.count_of(len(self._args))
            ended = total - (0 if last._gate is None else last._gate.missing)
        return 100.0 * max(0, ended) / total

    def _is_open(self, number: int) -> bool:
        return completion.completion_of(self._args[number]) is None

    # Running

    def begin(self, *jobs: Job) -> Any:
        """What the job calls: put the jobs, and return the one that waits for them."""
        queue = self.queue if self._key is not None else None
        last = self._postprocess
        if queue is None:
            for job in jobs:
                job()
            return gather(*jobs) if last is None else last(*jobs)
        last = Job(gather) if last is None else last
        has_ended = last._finished is not None  # this one was put in again
        for job in (*jobs, last):
            if job._unsuccessful is not None:
                control.renew_ended(job)
        self._put(queue, jobs, None)
        last._is_part = False
        wanted = last.queue
        (queue if wanted is None else wanted)._put_inner(last, self, jobs)
        if not has_ended:
            last._args = (*last._args, *jobs)
        return last

    def _put(self, queue: Any, jobs: Iterable[Job], before: Job | None) -> None:
        for job in jobs:
            if job.status == NEW:
                job._is_part = False
                wanted = job.queue
                into = queue if wanted is None else wanted
                behind = [before] if self._in_order and before is not None else ()
                into._put_inner(job, self, behind)
            before = job

    def _set_members(self, values: tuple[Any, ...]) -> None:
        """Have other jobs; once it has begun only more of them."""
        before = self._args
        added = [job for job in values if not any(job is member for member in before)]
        waits = self._gate is not None and self._gate.adopts is not None
        if waits or self._completion() is not None:
            last = self._gate.adopts if self._gate is not None else None
            if last is None or values[: len(before)] != before or not after.is_blocked(last):
                raise BadStatus(
                    f"{self!r} has begun; jobs can be added at its end only, and only until its "
                    "postprocess is due"
                )
            for job in added:
                self._take(job)
                followers.check_all(job, self._p_jar)
            queue = self.queue
            self._put(queue, added, before[-1] if before else None)
            after.wait_for_more(last, added)
            last._args = (*last._args, *added)
        else:
            self._change_arguments()
            for job in added:
                self._take(job)
            for job in before:
                if not any(job is member for member in values):
                    job._is_part = False
        self._args = values


class _Members(ListView):
    """The jobs of a composition, as a list."""

    def _change(self, change: Callable[[list[Any]], None]) -> None:
        values = list(self._values())
        change(values)
        self._owner._set_members(tuple(values))  # type: ignore[attr-defined]
