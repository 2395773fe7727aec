"""The mark of callables that do nothing outside their transaction: ``@zodbjobs.transactional``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

_MARK = "__zodbjobs_transactional__"

F = TypeVar("F", bound=Callable[..., Any])


def transactional(function: F) -> F:
    """Say of a function or method that all it does is in its transaction, and return it.

    Jobs that call it may share a commit with others, see `IJob.transactional`, and are run again
    for another's sake. Below `staticmethod` or `classmethod` as well as above. Raises TypeError
    for what can't be called or marked.
    """
    if isinstance(function, type) or not callable(getattr(function, "__func__", function)):
        raise TypeError(
            f"@zodbjobs.transactional marks functions and methods, not {function!r}; of a job "
            "with another callable, set job.transactional = True"
        )
    try:
        setattr(getattr(function, "__func__", function), _MARK, True)
    except AttributeError:
        raise TypeError(
            f"{function!r} can't be marked as transactional; set job.transactional = True"
        ) from None
    return function


def is_marked(function: object) -> bool:
    """Whether a callable is marked so."""
    return getattr(function, _MARK, False) is True
