"""A queue: a named place where jobs wait."""

from __future__ import annotations

import heapq
import operator
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from persistent import Persistent
from ZODB.POSException import POSKeyError
from ZODB.utils import p64
from zope.interface import implementer

from zodbjobs import clock, defaults
from zodbjobs.errors import BadStatus
from zodbjobs.interfaces import IQueue
from zodbjobs.queue_names import spoken
from zodbjobs.stored.default_policy import GivesPolicy
from zodbjobs.stored.job import Job
from zodbjobs.stored.lifecycle import browse, control, labels, pausing, put
from zodbjobs.stored.lifecycle.completion import is_forgotten
from zodbjobs.stored.lifecycle.options import UNSAID, TimeoutOption, timeout_micros
from zodbjobs.stored.lifecycle.unique import check_unique, give_unique, rely_on
from zodbjobs.stored.quotas import Quotas
from zodbjobs.stored.shard import Shard

if TYPE_CHECKING:
    from zodbjobs.stored.pauses import Pause
    from zodbjobs.stored.queues import Queues
    from zodbjobs.stored.rates import Rates
    from zodbjobs.stored.unique_keys import UniqueKeys


@implementer(IQueue)
class Queue(GivesPolicy, Persistent):
    """A named place where jobs wait."""

    #: Zope's publisher calls what has a docstring, by any URL that leads to it.
    __zpublishable__ = False

    _timeout: int | None = None  # microseconds
    _pauses: tuple[Pause, ...] = ()
    _unique_keys: UniqueKeys | None = None
    _rates: Rates | None = None  # None until a quota has a rate

    def __init__(self, name: str, parent: Queues, shards: int) -> None:
        self.name = name
        self.parent = parent
        self.shards = tuple(Shard(self, n, defaults.INBOXES) for n in range(shards))
        self.quotas = Quotas(self)

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__} {self.name!r}>"

    @property
    def timeout(self) -> timedelta | None:
        """How long an attempt may take at a job that is put from now on and says nothing of it.

        None for no limit. Settable to seconds or a timedelta; joins the transaction. Raises
        BadArgument for anything else.
        """
        return None if self._timeout is None else timedelta(microseconds=self._timeout)

    @timeout.setter
    def timeout(self, value: float | timedelta | None) -> None:
        self._timeout = timeout_micros(value)

    # Put

    def put(
        self,
        job: Job | Callable[..., Any],
        *,
        begin_after: datetime | timedelta | None = None,
        begin_by: timedelta | None = None,
        priority: int | None = None,
        after: Iterable[Job | str] = (),
        on_failure: str = "run",
        timeout: TimeoutOption = UNSAID,
        quota_names: Iterable[str] | None = None,
        unique: str | None = None,
        unique_until: str = "begun",
        context: bool = True,
        owner: str | None = None,
        about: Any = None,
        title: str | None = None,
        realm: str | None = None,
        transactional: bool | None = None,
    ) -> Job:
        """Add a job, or a callable as a job, and return the job; see IQueue."""
        options = put.options(
            self,
            begin_after,
            begin_by,
            priority,
            after,
            on_failure,
            timeout,
            quota_names,
            context,
            transactional,
        )
        if not (owner is about is title is realm is None):
            options = options._replace(labels=labels.given(owner, about, title, realm))
        if unique is not None or unique_until != "begun":
            check_unique(unique, unique_until)
        job = put.checked(self, job, options)
        behind = put.predecessors(self, job, options)
        if unique is not None:
            holder = rely_on(self, unique)
            if holder is not None:
                return holder
            give_unique(self, job, unique, unique_until == "ended")
        put.put(self, job, options, behind)
        return job

    def put_many(
        self,
        jobs: Iterable[Job | Callable[..., Any]],
        *,
        begin_after: datetime | timedelta | None = None,
        begin_by: timedelta | None = None,
        priority: int | None = None,
        timeout: TimeoutOption = UNSAID,
        quota_names: Iterable[str] | None = None,
        context: bool = True,
        owner: str | None = None,
        about: Any = None,
        title: str | None = None,
        realm: str | None = None,
        transactional: bool | None = None,
    ) -> list[Job]:
        """`put` each of `jobs`, all or none; see IQueue."""
        options = put.options(
            self,
            begin_after,
            begin_by,
            priority,
            timeout=timeout,
            quota_names=quota_names,
            context=context,
            transactional=transactional,
        )
        if not (owner is about is title is realm is None):
            options = options._replace(labels=labels.given(owner, about, title, realm))
        checked = [put.checked(self, job, options) for job in jobs]
        if len({id(job) for job in checked}) < len(checked):
            raise BadStatus(f"the same job was given twice to put_many of {spoken(self.name)}")
        behind = [put.predecessors(self, job, options) for job in checked]
        for job, before in zip(checked, behind, strict=True):
            put.put(self, job, options, before)
        return checked

    def _put_inner(self, job: Job, outer: Job, after: Iterable[Job] = ()) -> None:
        """Put what belongs to a job that was put before; a queue that drains takes it."""
        options = put.options(self, None, None, None, after, is_inner=True)
        job = put.checked(self, job, options)
        labels.inherit(job, outer)
        if not outer._lists_parts:
            labels.hide(job)
        put.put(self, job, options, put.predecessors(self, job, options))

    # Pause

    def pause(self, reason: str, match: str | None = None) -> None:
        """Begin no jobs of the queue until `resume`, or none that call what `match` is a glob for.

        See IQueue.
        """
        pausing.pause(self, reason, match)

    def resume(self, match: str | None = None) -> bool:
        """Lift the pause of the queue, and a drain, or that of `match`; whether there was one.

        See IQueue.
        """
        return pausing.resume(self, match)

    def drain(self, reason: str) -> None:
        """Take no new jobs until `resume`; see IQueue."""
        pausing.pause(self, reason, None, drains=True)

    @property
    def paused(self) -> str | None:
        """The reason for which no job of the queue is begun, or None."""
        pause = pausing.whole(self)
        return None if pause is None else pause.reason

    @property
    def draining(self) -> str | None:
        """The reason for which the queue takes no new jobs, or None."""
        return next((pause.reason for pause in self._pauses if pause.drains), None)

    @property
    def pauses(self) -> tuple[Pause, ...]:
        """The pauses of the queue, and of some of its jobs, in the order of their begin: each with
        `reason`, `match` (None for the queue's), `since`, and as `len()` how many jobs lie in it.
        """
        return tuple(pause for pause in self._pauses if not pause.drains)

    # Look up

    def get(self, job_id: str) -> Job | None:
        """The job of this queue with that decimal id, in any status, or None; see IQueue."""
        try:
            job = self._p_jar.get(p64(int(job_id)))
        except (POSKeyError, ValueError, OverflowError, TypeError):
            return None
        if not isinstance(job, Job) or job.queue is not self or is_forgotten(job):
            return None
        return job

    def __iter__(self) -> Iterator[Job]:
        return (job for _, job in browse.in_order(self.shards, clock.now()))

    def __len__(self) -> int:
        return browse.count(self.shards)

    def __bool__(self) -> bool:
        return next(iter(self), None) is not None

    def __getitem__(self, index: int) -> Job:
        index = operator.index(index)
        if index < 0:
            return list(self)[index]
        for job in islice(self, index, None):
            return job
        raise IndexError(f"{spoken(self.name)} has no waiting job number {index}")

    def __contains__(self, job: object) -> bool:
        return any(found is job for found in self)

    def finished(self, newest_first: bool = True) -> Iterator[Job]:
        """The jobs of the history by the time of their end."""
        runs = [browse.history(shard, newest_first) for shard in self.shards]
        merged = heapq.merge(*runs, key=operator.itemgetter(0), reverse=newest_first)
        return (job for _, job in merged)

    # Take out again

    def pull(self, index: int = 0) -> Job:
        """Take the waiting job at `index` out, as NEW again; IndexError if missing."""
        job = self[index]
        self.remove(job)
        return job

    def remove(self, job: Job) -> None:
        """Take a waiting or parked job out, as NEW again; see IQueue."""
        control.remove(self, job)

    def retry(self, job: Job) -> None:
        """Put a parked job, or one that ended without success, in again; see IQueue."""
        control.retry(self, job)

    def forget(self, job: Job) -> None:
        """Drop a job that has ended from the history; see IQueue."""
        control.forget(self, job)
