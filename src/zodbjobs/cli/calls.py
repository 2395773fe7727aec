"""From words of a command line to a job, and what can be done to one."""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from zodbjobs import defaults
from zodbjobs.cli.problem import Problem
from zodbjobs.errors import BadStatus
from zodbjobs.interfaces import ACTIVE, ASSIGNED, COMPLETED
from zodbjobs.stored.job import Job, ProgressableJob
from zodbjobs.stored.lifecycle.root import get_queue

#: The longest delay of a job: ten years.
_MOST_SECONDS = 10 * 365 * 86_400

_KEYWORD = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)


def make_job(path: str, words: Sequence[str], progress: bool) -> Callable[[], Job]:
    """A maker of the job that calls ``module:function`` with these arguments."""
    function = _find(path)
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for word in words:
        keyword = _KEYWORD.fullmatch(word)
        if keyword:
            kwargs[keyword[1]] = _value(keyword[2])
        else:
            args.append(_value(word))
    _check_arguments(path, function, args, kwargs)
    kind = ProgressableJob if progress else Job
    return lambda: kind(function, *args, **kwargs)


def put(connection: Any, job: Job, queue: str, priority: int | None, delay: float | None) -> Job:
    """Put `job`, due in `delay` seconds; the caller commits."""
    after = None if delay is None else _delta(delay)
    put_job: Job = get_queue(connection, queue).put(job, begin_after=after, priority=priority)
    return put_job


def remove(job: Job) -> None:
    """Take a job out of its queue or its history, and out of the job container."""
    queue, status = job.queue, job.status
    assert queue is not None
    if status in (ASSIGNED, ACTIVE):
        raise BadStatus(f"{job!r} is {status}; cancel it first, then remove it")
    container = job._p_jar.root().get(defaults.CONTAINER_KEY, {})
    if job.id in container:
        del container[job.id]
    if status == COMPLETED:
        queue.forget(job)
    else:
        queue.remove(job)


def _delta(seconds: float) -> timedelta:
    if not 0 <= seconds <= _MOST_SECONDS:
        raise Problem(f"--in takes 0 to {_MOST_SECONDS:,} seconds, not {seconds:g}")
    return timedelta(seconds=seconds)


def _find(path: str) -> Callable[..., Any]:
    module, _, names = path.partition(":")
    if not module or not names:
        raise Problem(f"{path!r} doesn't name a function; write MODULE:FUNCTION")
    try:
        found: Any = importlib.import_module(module)
    except (Exception, SystemExit) as error:  # the latter from a script
        raise Problem(
            f"can't import {module} ({type(error).__name__}: {error}); go to its directory, or "
            "install it where zodbjobs is"
        ) from error
    for name in names.split("."):
        found = getattr(found, name, None)
    if found is None:
        raise Problem(f"{module} has no function {names}; check the name")
    if not callable(found):
        kind = type(found).__name__
        raise Problem(f"{path} is of the type {kind}, not a function; check the name")
    function: Callable[..., Any] = found
    return function


def _value(word: str) -> Any:
    try:
        return json.loads(word)
    except ValueError:
        if word.startswith("-"):  # more often a misspelt option than an argument
            raise Problem(
                f"there is no option {word}; an argument with a dash in front is written as "
                f"JSON: '\"{word}\"'"
            ) from None
        return word


def _check_arguments(
    path: str, function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]
) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some builtins don't tell
        return
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise Problem(f"{path}{signature} can't be called like this: {error}") from error
