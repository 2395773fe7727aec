"""Again: a new job that calls what another one calls."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from zodbjobs.errors import BadArgument
from zodbjobs.stored.lifecycle.raw import state_of

if TYPE_CHECKING:
    from zodbjobs.stored.job import Job

# What a new job has of the other one, as it is; what is missing in that is missing in this.
_KEPT = (
    *("_call", "_args", "_kwargs", "_timeout", "_quota_names", "_retry_policy"),
    "_transactional",
    *("_failure_log_level", "_title", "_about", "_about_place", "_realm"),
    *("_schedule", "_planned"),
)


def made_again(job: Job, args: dict[int, Any], kwargs: dict[str, Any], owner: str | None) -> Job:
    """A NEW job of the class of `job`, with its call, options and title, and another owner.

    `args` by position, and `kwargs`, replace arguments. Raises BadArgument unless these, and what
    they replace, are plain JSON, and for a job that isn't a call by itself.
    """
    if job._is_composed or job._has_source:
        what = "a composition" if job._is_composed else "a callback with the result of another job"
        raise BadArgument(f"{job!r} is {what}, and can't be put again alone; retry it")
    kind = type(job)
    new: Job = kind.__new__(kind)
    for name in (*_KEPT, *kind._also_kept):
        if name in state_of(job):
            setattr(new, name, state_of(job)[name])
    new._priority = job.priority
    new._args = tuple(_own(value, job, new) for value in job._args)
    positions = list(new._args)
    for position, value in args.items():
        if not 0 <= position < len(positions):
            raise BadArgument(f"{job!r} has no argument {position + 1}")
        _check(job, f"argument {position + 1}", positions[position], value)
        positions[position] = value
    names = dict(new._kwargs or {})
    for name, value in kwargs.items():
        if name not in names:
            raise BadArgument(f"{job!r} has no argument {name!r}")
        _check(job, f"argument {name!r}", names[name], value)
        names[name] = value
    new._args, new._kwargs = tuple(positions), names or None
    new.owner = owner
    return new


def _own(value: Any, job: Job, new: Job) -> Any:
    """A job that was bound to itself is so again."""
    return new if value is job else value


def _check(job: Job, what: str, before: Any, after: Any) -> None:
    for value in (before, after):
        if not is_json(value):
            raise BadArgument(
                f"{what} of {job!r} can't be replaced: {type(value).__name__} isn't plain JSON"
            )


def is_json(value: Any) -> bool:
    """Whether JSON gives back the same: text, numbers, lists and dicts of these, None."""
    try:
        return bool(json.loads(json.dumps(value, allow_nan=False)) == value)
    except (TypeError, ValueError, RecursionError):
        return False
