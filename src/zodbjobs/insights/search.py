"""The newest of many jobs: those that pass filters, within a time."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from zodbjobs import clock, defaults
from zodbjobs.errors import BadArgument
from zodbjobs.insights.infos import JobInfo
from zodbjobs.insights.jobs import job_info, shown_labels, unreadable_reason
from zodbjobs.insights.newest import (
    BLOCKED,
    PARKED,
    PAUSED,
    SCHEDULED,
    WAITING,
    WITH_WORKER,
    Span,
    newest,
)
from zodbjobs.insights.shown import redactor_of, shown_arguments
from zodbjobs.insights.wanted import Cursor, Wanted, about_name
from zodbjobs.interfaces import CALLBACKS, COMPLETED, OUTCOMES, STATUSES, SUCCEEDED
from zodbjobs.queue_names import spoken
from zodbjobs.stored.agents import Agent
from zodbjobs.stored.job import Job
from zodbjobs.stored.lifecycle import completion, keys, listing
from zodbjobs.stored.lifecycle.root import get_queues
from zodbjobs.stored.queue import Queue

#: What jobs can be filtered by, beside their outcome. The last five are kinds of PENDING.
STATUS_WORDS = (*STATUSES, WAITING, SCHEDULED, PARKED, BLOCKED, PAUSED)

# Jobs that are looked at between two times that the connection forgets them.
_FORGET_AFTER = 1_000


class JobList(list[JobInfo]):
    """Rows of jobs, the newest first.

    `looked_back_to`: all jobs from this time on were looked at, and there are older ones; to go
    on, give it as `until`; jobs of that very microsecond may come again. None: that was all.
    `cursor`: gives the same to `before`, which goes on with the very next job.
    `leaves_out`: what can't be found by the filters though they are for it, a sentence; or None.
    """

    looked_back_to: datetime | None = None
    cursor: str | None = None
    leaves_out: str | None = None


def list_jobs(
    place: Any,
    *,
    status: str | None = None,
    outcome: str | None = None,
    queue: str | None = None,
    worker: str | None = None,
    agent: Agent | None = None,
    callable: str | None = None,
    owner: str | None = None,
    about: Any = None,
    realm: str | None = None,
    text: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    before: str | None = None,
    limit: int = 50,
    seconds: float = defaults.LOOK_SECONDS,
) -> JobList:
    """Up to `limit` jobs, the newest first.

    A job's time is that of its end, else of its put, or when it is due if it was put for
    later; of jobs for now that were put in one transaction, the first one's put. `status`:
    pending, assigned, active, callbacks, completed, or a kind of pending: waiting, scheduled,
    parked, blocked, paused. `outcome`: one of OUTCOMES. `queue`: a name. `worker`: an id, or its
    first characters, of who holds the jobs, or has ended them: that is stored of those that ended
    without success or had several attempts, so those that succeeded at once aren't found, and
    `leaves_out` of the list says so. `agent`: a stored one; what waits and it would take,
    and of what its worker holds or has ended, the same. It calls its filter in this process,
    and raises what that raises, or MissingCode. `callable`: a glob for the description, such as
    ``*:export_*``. `since`, `until`: aware datetimes; from the one until just before the other.
    `before`: the `cursor` of a list with the same filters; goes on where that ended.

    `owner`, `realm`: those of the jobs. `about`: a stored object, or the `about_id` of a JobInfo.
    With one of these three the time of each job is that of its put. `text`: in title or arguments,
    as they are shown; capitals don't matter.

    Raises BadArgument for other words, and for filters that contradict each other; UnknownQueue.

    Reads from the newest on and stops at the limit, however many there are. Once it has looked
    for `seconds` it stops at the first job that isn't wanted: `looked_back_to` of the list tells
    how far it came.
    """
    _check(status, STATUS_WORDS, "status")
    _check(outcome, OUTCOMES, "outcome")
    start = clock.monotonic()
    queues = get_queues(place)
    wanted = Wanted(owner, about_name(place, about), realm, text)
    search = _Search(status, outcome, queue, worker, agent, callable, wanted, since, until, before)
    chosen = search.choose(queues.values() if queue is None else [queues[queue]])
    return _listed(search, chosen, limit, start + seconds)


def _listed(search: _Search, queues: Iterable[Queue], limit: int, late: float) -> JobList:
    """The rows of jobs of some queues; `late`: by the monotonic clock, until when it looks."""
    listed = JobList()
    listed.leaves_out = search.leaves_out
    is_late = False
    for number, placed in enumerate(search.walk(queues), 1):
        job, is_full = placed[1], len(listed) >= limit
        has_labels = search.wanted.has_labels(job)
        if is_late or (is_full and has_labels):
            next_one = placed if has_labels else search.next_that_may_be_told(placed)
            if next_one is not None:
                listed.looked_back_to = clock.to_datetime(next_one[0] + 1)
                listed.cursor = str(Cursor.at(*next_one))
            break
        connection = job._p_jar
        row = search.row(job) if has_labels else None
        if row is not None:
            listed.append(row)
        else:
            is_late = clock.monotonic() >= late
        if number % _FORGET_AFTER == 0 and connection is not None:
            connection.cacheGC()
    return listed


@dataclasses.dataclass
class _Search:
    """What jobs are wanted. Raises BadArgument if there can't be any such."""

    status: str | None
    outcome: str | None
    queue: str | None
    worker: str | None
    agent: Agent | None
    pattern: str | None
    wanted: Wanted
    since: datetime | None
    until: datetime | None
    before: str | None

    def __post_init__(self) -> None:
        self.span = Span(
            0 if self.since is None else micros_of("since", self.since),
            keys.LAST_MICROS if self.until is None else micros_of("until", self.until),
        )
        self._cursor = None if self.before is None else Cursor.read(self.before)
        for is_wrong, what in self._contradictions():
            if is_wrong:
                raise BadArgument(
                    f"there can't be any such jobs: {what}; leave one of the two out"
                )
        if self.agent is not None and self.agent.worker is None:
            raise BadArgument(
                f"{self.agent!r} is of no worker; stored_agents of zodbjobs.insights lists those "
                "that are"
            )
        #: The names of the queues, unless it looks in all of them.
        self._only: set[str] | None = None
        self._holder = self.worker or (None if self.agent is None else self.agent.worker)

    def _contradictions(self) -> Iterator[tuple[bool, str]]:
        status, agent = self.status, self.agent
        yield (
            self.outcome is not None and status not in (None, CALLBACKS, COMPLETED),
            f"one that is {status} has no outcome, so none is {self.outcome}",
        )
        yield (
            self.worker is not None and status not in (None, *WITH_WORKER),
            f"no worker has one that is {status}",
        )
        yield (
            self.span.since >= self.span.until,
            f"since={self.since} isn't before until={self.until}",
        )
        if agent is not None:
            yield (
                self.worker is not None and not (agent.worker or "").startswith(self.worker),
                f"{agent!r} is of worker {agent.worker}, not of {self.worker}",
            )
            names = agent.queues
            yield (
                self.queue is not None and names is not None and self.queue not in names,
                f"{agent!r} takes none of {spoken(self.queue or defaults.QUEUE_NAME)}",
            )

    @property
    def leaves_out(self) -> str | None:
        """What can't be found of what is asked for, a sentence; or None."""
        ended_too = self.status in (None, CALLBACKS, COMPLETED)
        if self._holder is None or not ended_too or self.outcome not in (None, SUCCEEDED):
            return None
        return (
            "jobs that succeeded at their first attempt aren't among these: which worker ran them "
            "isn't stored"
        )

    def choose(self, queues: Iterable[Queue]) -> list[Queue]:
        """Those of the queues that may have such jobs."""
        names = None if self.agent is None else self.agent.queues
        chosen = [queue for queue in queues if names is None or queue.name in names]
        if self.queue is not None or names is not None:
            self._only = {queue.name for queue in chosen}
        return chosen

    def walk(self, queues: Iterable[Queue]) -> Iterator[tuple[int, Job]]:
        """The jobs that may be wanted, each with its microseconds, the newest first."""
        span = self.span
        if self._cursor is not None:
            span = Span(span.since, min(span.until, self._cursor.micros + 1))
        found = self._in_time(list(queues), span)
        found = (placed for placed in found if span.has(placed[0]))
        return found if self._cursor is None else self._cursor.go_on(found)

    def _in_time(self, queues: list[Queue], span: Span) -> Iterator[tuple[int, Job]]:
        """The same, also such that are not quite in the time."""
        if not queues:
            return iter(())
        name = self.wanted.index_name()
        if name is not None:
            return listing.newest([queues[0].parent], name, *span)
        return newest(
            queues,
            self.status,
            span,
            worker=self._holder,
            waiting_too=self.outcome is None and self.worker is None,
            unsuccessful=self.outcome not in (None, SUCCEEDED),
        )

    def next_that_may_be_told(self, placed: tuple[int, Job]) -> tuple[int, Job] | None:
        """Where a list goes on that has come to a job with other labels: at the next one of the
        realm, or nowhere. Who sees only that realm isn't to learn id and time of the other.
        """
        micros, job = placed
        shard, realm = completion.shard_of(job), self.wanted.realm
        if realm is None or shard is None:
            return placed
        queues, name = [shard.queue.parent], listing.name_of_realm(realm)
        return next(listing.newest(queues, name, self.span.since, micros + 1), None)

    def row(self, job: Job) -> JobInfo | None:
        """The row of a job if it is wanted, and has the labels."""
        if self._only is not None:
            shard = completion.shard_of(job)
            if shard is not None and shard.queue.name not in self._only:
                return None  # a worker holds it
        is_unreadable = unreadable_reason(job) is not None
        if not is_unreadable and not self._may_be(job):
            return None
        info = job_info(job)
        if is_unreadable and info.outcome is not None and self._holder is not None:
            return None  # nobody can tell whose it was
        is_it = (
            (self.status is None or self.status in (info.status, info.state))
            and (self.outcome is None or self.outcome == info.outcome)
            and self._matches(info.description)
            and (not is_unreadable or self.wanted.has_text(info.title, ()))
        )
        return info if is_it else None

    def _may_be(self, job: Job) -> bool:
        """Whether a job passes the filters that are cheaper to ask than its row."""
        if not self._matches(job.description):
            return False
        outcome = job.outcome
        if self.outcome is not None and outcome != self.outcome:
            return False
        if self._holder is not None and outcome is not None:
            ended_by = completion.ended_by(job)
            if ended_by is None or not ended_by.startswith(self._holder):
                return False
        if self.wanted.text is not None:
            hidden = redactor_of(job)
            title = shown_labels(job, hidden)["title"]
            if not self.wanted.has_text(title, shown_arguments(job, hidden)):
                return False
        return self.agent is None or self.agent.accepts(job)

    def _matches(self, description: str) -> bool:
        return self.pattern is None or fnmatch.fnmatchcase(description, self.pattern)


def micros_of(name: str, moment: datetime) -> int:
    """The microseconds of an aware datetime; BadArgument, with its name, for another one."""
    if not isinstance(moment, datetime) or moment.utcoffset() is None:
        raise BadArgument(
            f"{name} must be an aware datetime, not {moment!r}; write datetime(..., tzinfo=UTC)"
        )
    return min(max(clock.to_micros(moment), 0), keys.LAST_MICROS)


def _check(word: str | None, words: tuple[str, ...], what: str) -> None:
    if word is not None and word not in words:
        raise BadArgument(f"unknown {what} {word!r}; use one of {', '.join(words)}")
