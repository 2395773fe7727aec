"""Templates: the job of a schedule, and the copies of it that are put."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from zodbjobs.errors import BadArgument, BadStatus, MissingCode
from zodbjobs.interfaces import NEW
from zodbjobs.stored.job import GIVEN_BY_THE_QUEUE, Job
from zodbjobs.stored.lifecycle import labels, put, surroundings
from zodbjobs.stored.lifecycle.options import (
    checked_priority,
    duration_micros,
    timeout_micros,
)
from zodbjobs.stored.lifecycle.raw import state_of
from zodbjobs.stored.lifecycle.storable import can_be_stored
from zodbjobs.stored.quotas import checked_names

if TYPE_CHECKING:
    from zodbjobs.stored.queue import Queue

# What a copy of a job hasn't, for it is another one's.
_OWN = frozenset(
    {*GIVEN_BY_THE_QUEUE, "_container", "_parent", "__name__", "_audit", "_waiters", "_callbacks"}
    | {"_is_part", "_wanted_queue", "_listed", "_schedule", "_planned", "_cursor"}
)

_LABELS = ("owner", "about", "title", "realm")


def told_apart(name: str, what: Iterable[Any]) -> tuple[str | None, Any]:
    """The cron expression and the job of what was given for a schedule; None for what wasn't.

    Raises BadArgument if there is more of it.
    """
    expression: str | None = None
    job: Any = None
    for each in what:
        if isinstance(each, str) and expression is None:
            expression = each
        elif not isinstance(each, str) and job is None:
            job = each
        else:
            raise BadArgument(
                f"the schedule {name!r} takes a cron expression and a job, as create(name, "
                "'30 2 * * *', job), or a job and every=timedelta(...) or at=[...]; "
                f"{each!r} is too much"
            )
    return expression, job


def defined(
    name: str,
    before: Job | None,
    job: Job | Callable[..., Any] | None,
    options: dict[str, Any],
) -> Job:
    """The template of a schedule: a copy of `job` or of the one before, with the options of jobs,
    which are taken out of `options`; the one before itself if there are none.

    Raises BadArgument, BadStatus, TypeError for what isn't callable, or MissingCode if it is the
    one before that is to be changed, and its code isn't here.
    """
    given = {key: options.pop(key) for key in (*_GIVERS, *_LABELS) if key in options}
    if job is None and before is not None and not given:
        return before
    if job is None and not can_be_stored(before):
        raise MissingCode(
            f"the job of the schedule {name!r} can't be changed here: the code of it, or of one "
            "of its arguments, is missing in this process; change it where that is, or give the "
            "schedule another job"
        )
    made = _checked_copy(name, before if job is None else job)
    if before is not None:
        _inherit(made, before)
    for key, value in given.items():
        if key in _GIVERS:
            _GIVERS[key](made, value)
        else:
            setattr(made, key, value)
    labels.mark(made)
    return made


def _checked_copy(name: str, job: Any) -> Job:
    if not isinstance(job, Job):
        job = Job(job)
    if job.status != NEW:
        raise BadStatus(f"{job!r} is {job.status}; the schedule {name!r} takes a new job")
    what = None
    if job._is_composed or job._is_part:
        what = "is a composition, or a part of one: give a function that returns it"
    elif job._callbacks or job._callback_of is not None:
        what = (
            "has callbacks, or is one, and these are for one job: give a function that adds them "
            "to zodbjobs.local.get_job()"
        )
    if what is not None:
        raise BadArgument(
            f"{job!r} can't be put again and again by the schedule {name!r}: it {what}"
        )
    return copy_of(job)


def _inherit(made: Job, before: Job) -> None:
    """Let another template belong to whom the one before did, and run in what that did."""
    state = state_of(before)
    keys = ("_owner", "_title", "_realm", "_about", "_context", "_about_place")
    # What is more than texts and numbers may be of code that is missing.
    for key in keys if can_be_stored(before) else keys[:4]:
        if getattr(made, key) is None and state.get(key) is not None:
            setattr(made, key, state[key])


def _give_begin_by(job: Job, value: Any) -> None:
    job._begin_by = duration_micros(value)


def _give_priority(job: Job, value: Any) -> None:
    job._priority = checked_priority(value)


def _give_timeout(job: Job, value: Any) -> None:
    job._timeout = timeout_micros(value)


def _give_quotas(job: Job, value: Any) -> None:
    job._quota_names = checked_names(value)


# Not by the attributes of the job: of a template that is stored these would look at its queue.
_GIVERS: dict[str, Callable[[Job, Any], None]] = {
    "begin_by": _give_begin_by,
    "priority": _give_priority,
    "timeout": _give_timeout,
    "quota_names": _give_quotas,
}


def check(template: Job, queue: Queue) -> None:
    """Raise what a put of the template into a queue would raise, but for Draining."""
    put.checked(queue, template, put.Options())
    put.predecessors(queue, template, put.Options())


def capture(template: Job, jar: Any) -> None:
    """Let its copies run in what runs here and now, unless it was given something else."""
    if template._context is None and (parts := surroundings.captured(jar)):
        template._context = parts


def copy_of(job: Job) -> Job:
    """A new job that is as `job` was before it was put, with attributes of a subclass.

    What is in its arguments is the same until it is stored.
    """
    kind = type(job)
    new: Job = kind.__new__(kind)
    for name, value in state_of(job).items():
        if name not in _OWN and not name.startswith("_v_"):
            setattr(new, name, dict(value) if type(value) is dict else value)
    new._args = tuple(new if value is job else value for value in job._args)
    labels.mark(new)
    return new


def are_alike(one: Job, other: Job) -> bool:
    """Whether the copies of two templates would be the same, as far as that can be seen."""
    if type(one) is not type(other):
        return False
    states = [
        {name: value for name, value in state_of(job).items() if not name.startswith("_v_")}
        for job in (one, other)
    ]
    try:
        return bool(states[0] == states[1])
    except Exception:  # what an argument says to that is its affair
        return False
