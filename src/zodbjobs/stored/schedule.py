"""A schedule: what is to be put again and again, when, and what became of the last times."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, Unpack

from persistent import Persistent
from zope.interface import implementer

from zodbjobs import clock, defaults, times
from zodbjobs.errors import BadArgument, NotStored, UnknownSchedule
from zodbjobs.interfaces import ISchedule
from zodbjobs.stored.job import Job
from zodbjobs.stored.lifecycle import firing, keys, templates
from zodbjobs.stored.lifecycle.pausing import check_reason
from zodbjobs.stored.lifecycle.raw import state_of
from zodbjobs.stored.lifecycle.schedule_options import (
    CHECKS,
    ScheduleOptions,
    checked_name,
    of_new,
)

if TYPE_CHECKING:
    from zodbjobs.stored.schedules import Schedules
    from zodbjobs.times import When

#: What `edit` may change, and what is declared.
DEFINITION = ("_when", "_template", *(attribute for attribute, _ in CHECKS.values()))

_FAR = int(defaults.FAR_AHEAD_SECONDS * 1_000_000)


class Run(NamedTuple):
    """One run of a schedule: a job that it has put.

    `job_id`: decimal. `planned`, `fired`: aware UTC datetimes; for a run that somebody asked for
    `planned` is when. `outcome`: that of the job as far as a later firing has looked at it, or
    'removed'; else None.
    """

    job_id: str
    planned: datetime
    fired: datetime
    outcome: str | None

    @property
    def lateness(self) -> timedelta:
        """How long after its planned time the job was put."""
        return self.fired - self.planned


class LeftOut(NamedTuple):
    """A planned time at which no job was put, and why: 'missed' (with those that followed until
    the next run), or 'overlap'.
    """

    planned: datetime
    why: str


@implementer(ISchedule)
class Schedule(Persistent):
    """What is put again and again, to be added to a database; see ISchedule.

    What it takes are the arguments and options of ISchedules.create, but for `context`.
    Raises BadArgument, and TypeError for what isn't callable.
    """

    #: Zope's publisher calls what has a docstring, by any URL that leads to it.
    __zpublishable__ = False

    #: The schedules that it is one of.
    parent: Schedules | None = None
    name: str
    _when: When
    _template: Job
    zone = "UTC"
    queue = ""
    catch_up = "latest"
    overlap = "skip"
    _window: int | None = None
    _jitter = 0
    pause_after_failures: int | None = None
    _next: int | None = None
    #: Its key in `due`; None while it is paused, or has no next time.
    _place: int | None = None
    #: The last planned time that was decided on: what comes next is behind it.
    _last: int | None = None
    #: Why, by whom and since when it is paused.
    _pause: tuple[str, str | None, int] | None = None
    #: Of the last runs: the job's object id, planned, fired, outcome.
    _runs: tuple[tuple[int, int, int, str | None], ...] = ()
    _left_out: tuple[tuple[int, str], ...] = ()
    #: The object ids of its jobs that hadn't ended when it was looked at them last.
    _open: tuple[int, ...] = ()
    #: Runs before that moment don't count for `pause_after_failures`.
    _counted_from = 0
    #: How many jobs it has put.
    fired = 0
    #: Whether code declares it; then what an operator has changed of it, which code doesn't.
    declared = False
    _edited: tuple[str, ...] = ()

    def __init__(
        self,
        name: str,
        *what: str | Job | Callable[..., Any],
        **options: Unpack[ScheduleOptions],
    ) -> None:
        self.name = checked_name(name)
        expression, job = templates.told_apart(name, what)
        if job is None:
            raise BadArgument(
                f"the schedule {name!r} has nothing to put: give a callable or a zodbjobs.Job "
                "behind the cron expression"
            )
        self._define(expression, job, of_new(options), is_new=True)

    def _define(
        self,
        expression: str | None,
        job: Job | Callable[..., Any] | None,
        options: dict[str, Any],
        is_new: bool = False,
    ) -> None:
        """Take what is given of a definition, checked, and keep the rest."""
        options = dict(options)
        when = (expression, *(options.pop(name, None) for name in ("every", "at", "start")))
        if is_new or any(each is not None for each in when):
            self._when = times.checked(*when)
        template = None if is_new else self._template
        self._template = templates.defined(self.name, template, job, options)
        for name, value in options.items():
            if name not in CHECKS:
                raise TypeError(f"a schedule has no option {name!r}")
            attribute, check = CHECKS[name]
            setattr(self, attribute, check(value))

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__} {self.name!r}>"

    # What it is

    @property
    def job(self) -> Job:
        """The job of which it puts copies; NEW, and settable as such."""
        return self._template

    @property
    def realm(self) -> str | None:
        """That of its jobs; told also where the code of these is missing."""
        found: str | None = state_of(self._template).get("_realm")
        return found

    @property
    def when(self) -> str:
        """When it fires, as it was written: '30 2 * * *', 'every 0:05:00', 'at 2 moments'."""
        return times.shown(self._when)

    @property
    def words(self) -> str:
        """The same in English words, without the zone."""
        return times.in_words(self._when)

    @property
    def window(self) -> timedelta | None:
        """How old a missed time may be that is caught up; None: any age."""
        return None if self._window is None else timedelta(microseconds=self._window)

    @property
    def jitter(self) -> timedelta:
        """Up to so much later than planned, by chance, its jobs are due."""
        return timedelta(microseconds=self._jitter)

    # How it goes

    @property
    def next(self) -> datetime | None:
        """The planned time that comes next; None if it is paused, or if there is none any more."""
        return clock.moment(self._next)

    def upcoming(self, most: int = 10) -> list[datetime]:
        """The planned times that come next, at most so many, as if it weren't paused."""
        after = self._after() if self._next is None else self._next - 1
        found = times.times(self._when, self.zone, after)
        return [clock.to_datetime(micros) for micros in islice(found, most)]

    @property
    def runs(self) -> list[Run]:
        """The last runs, the newest first, at most REMEMBERED_RUNS."""
        return [
            Run(str(oid), clock.to_datetime(planned), clock.to_datetime(fired), outcome)
            for oid, planned, fired, outcome in reversed(self._runs)
        ]

    @property
    def left_out(self) -> list[LeftOut]:
        """The last planned times that were left out, the newest first."""
        return [LeftOut(clock.to_datetime(at), why) for at, why in reversed(self._left_out)]

    @property
    def paused(self) -> str | None:
        """The reason for which it doesn't fire, or None."""
        return None if self._pause is None else self._pause[0]

    @property
    def paused_since(self) -> datetime | None:
        """Since when it is paused, or None."""
        return None if self._pause is None else clock.to_datetime(self._pause[2])

    @property
    def paused_by(self) -> str | None:
        """Who paused it, if that was said; None also if it paused itself."""
        return None if self._pause is None else self._pause[1]

    # What people do

    def pause(self, reason: str, by: str | None = None) -> None:
        """Don't fire until `resume`; joins the transaction. BadArgument without a reason."""
        self._require()
        check_reason(reason, f"the schedule {self.name!r} is paused")
        self._pause = (reason, by, clock.now())
        self._plan()

    def resume(self) -> bool:
        """Fire again, from the next planned time on; whether it was paused.

        What was planned meanwhile is left out. Joins the transaction.
        """
        self._require()
        if self._pause is None:
            return False
        self._pause = None
        self._counted_from = clock.now()
        self._plan()
        return True

    def run(self) -> Job:
        """Put a job now, whatever is planned, paused or running; its `planned` is now.

        Joins the transaction; raises what a put raises.
        """
        self._require()
        return firing.put_now(self, clock.now())

    def remove(self) -> None:
        """Take it out of the schedules; jobs that it has put stay. Joins the transaction."""
        schedules = self._require()
        self._place_at(None)
        del schedules._by_name[self.name]
        self.parent = None

    def edit(
        self, *what: str | Job | Callable[..., Any], **changes: Unpack[ScheduleOptions]
    ) -> None:
        """Change what is given, as in `create`, and keep the rest; joins the transaction.

        A firing that is committed meanwhile conflicts. Raises BadArgument before anything is
        changed, as `create` does; TypeError for what it doesn't know.
        """
        schedules = self._require()
        changed = Schedule.__new__(Schedule)
        changed.name = self.name
        for name in DEFINITION:
            setattr(changed, name, getattr(self, name))
        changed._define(*templates.told_apart(self.name, what), dict(changes))
        if (changed._template, changed.queue) != (self._template, self.queue):
            changed._check(schedules)  # so its times can be changed where its code is missing
        again = (changed._when, changed.zone) != (self._when, self.zone)
        for name in DEFINITION:
            value = getattr(changed, name)
            if getattr(self, name) != value:
                setattr(self, name, value)
                if self.declared and name not in self._edited:
                    self._edited = (*self._edited, name)
        self._counted_from = clock.now()
        if again:
            self._plan()

    # Inside

    def _require(self) -> Schedules:
        if self.parent is None or self.parent.get(self.name) is not self:
            raise UnknownSchedule(
                f"the schedule {self.name!r} isn't one of a database, or was removed; make one "
                "with zodbjobs.get_queues(...).schedules.create(...)"
            )
        return self.parent

    def _check(self, schedules: Schedules) -> None:
        """Raise what a put of its job would raise, if it can't be put into its queue."""
        queue = schedules.parent[self.queue]
        if queue._p_jar is None:
            raise NotStored("the queues aren't stored; take them from zodbjobs.get_queues()")
        templates.check(self._template, queue)

    def _attach(self, schedules: Schedules, context: bool) -> None:
        """Become one of the schedules of a database, if it can be."""
        self._check(schedules)
        if context:
            templates.capture(self._template, schedules._p_jar)
        self.parent = schedules

    def _after(self) -> int:
        """The moment after which the next planned time is to be: no time comes twice if the clock
        was set back. If the last one is far ahead the clock was wrong then, and that is over.
        """
        now, last = clock.now(), self._last or 0
        return last if now < last <= now + _FAR else now

    def _plan(self) -> None:
        """Find the next planned time anew; none while it is paused."""
        after = self._after()
        if self._pause is not None:
            self._place_at(None)
        else:
            self._place_at(times.first_after(self._when, self.zone, after))

    def _place_at(self, micros: int | None) -> None:
        """Let it be due at a planned time, or never; whoever does so conflicts with each other."""
        schedules = self._require()
        if self._place is not None:
            schedules.due.pop(self._place, None)
        if micros is not None and micros > keys.LAST_MICROS:
            micros = None
        self._next = micros
        self._place = None if micros is None else schedules.enter(self, micros)

    def _set_aside(self) -> None:
        """Let it be due no more, and keep its next time: nobody declares it."""
        schedules = self._require()
        if self._place is not None:
            schedules.due.pop(self._place, None)
            self._place = None

    @property
    def is_aside(self) -> bool:
        """Whether it has a next time, and isn't due then, as no worker declared it."""
        return self._place is None and self._next is not None

    def _take_up(self) -> None:
        """Let it be due again at the time that it has kept; what was missed is caught up."""
        self._place_at(self._next)
