"""Surroundings: the run context that a job is stored with, checked.

It is a tuple of parts, each a plain tuple of its name, whether it is required, and its value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from persistent import Persistent

from zodbjobs.context import registry
from zodbjobs.stored.lifecycle.storable import check_storable, is_simple

if TYPE_CHECKING:
    from zodbjobs.stored.job import Job

Parts = tuple[tuple[str, bool, Any], ...]


def captured(jar: Any) -> Parts:
    """What a job that is put here and now is to run in.

    Raises BadArgument if the connection `jar` can't store it, or if it can't be captured.
    """
    parts = registry.captured()
    if not parts:
        return ()
    check(parts, jar)
    return _plain(parts)


def given(values: Mapping[str, Any]) -> Parts:
    """What somebody wants a job to run in; BadArgument for an unknown name or what can't be
    stored.
    """
    parts = registry.parts_of(values)
    check(parts, None)
    return _plain(parts)


def _plain(parts: Iterable[tuple[str, bool, Any]]) -> Parts:
    return tuple((name, required, value) for name, required, value in parts)


def check(parts: Iterable[tuple[str, bool, Any]], jar: Any) -> None:
    """Raise BadArgument if the connection `jar` can't store it; None: whichever it will be."""
    for name, _, value in parts:
        check_storable(
            value, f"the run context {name!r} (left out by put(..., context=False))", jar
        )


def note(job: Job, parts: Parts) -> None:
    """Let a job that is put have this run context, unless it was given one."""
    if parts or job._given_context:
        job._given_context = parts


def given_to(job: Job) -> Parts:
    """What a job was given at its put; one that was set on it goes before that."""
    return job._given_context


def give(job: Job, parts: Parts) -> None:
    """Let a job that is being put have this run context, unless one was set on it."""
    job._given_context = parts


def with_part(parts: Parts, name: str, value: Any) -> Parts:
    """The same with that value for what isn't required; it is plain data."""
    return (*(part for part in parts if part[0] != name), (name, False, value))


def part_of(job: Job, name: str) -> Any:
    """The value of that name in the run context of a job, or None."""
    return next((value for each, _, value in of(job) if each == name), None)


def of(job: Job) -> Parts:
    """The run context of a job."""
    own = job._context
    return job._given_context if own is None else own


def has_plain_values(parts: Parts) -> bool:
    """Whether all of it is stored again for certain: plain values and stored objects."""
    return all(map(_is_plain, (value for _, _, value in parts)))


def _is_plain(value: Any) -> bool:
    if type(value) is tuple:
        return all(map(is_simple, value))
    if type(value) is dict:
        return all(is_simple(k) and is_simple(v) for k, v in value.items())
    return is_simple(value) or isinstance(value, Persistent)
