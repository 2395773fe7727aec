"""Functions of the application's, which are asked what may be shown."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from zodbjobs.errors import BadArgument

log = logging.getLogger("zodbjobs")

#: Takes a name or None, and what has it; returns that, or what is shown in its place.
Function = Callable[[str | None, Any], Any]


class Hidden:
    """What a function is taken to have returned that has raised."""


#: Replaced, not changed, for threads are reading it.
_functions: tuple[Function, ...] = ()
_lock = threading.Lock()


def register(function: Function) -> Callable[[], None]:
    """Ask ``function(name, value)`` about all that is shown of jobs; returns what undoes that.

    `name` is that of an argument, a key, a field, or what a text is (`log`, `traceback`,
    `failure`, `message`); None in a list. It returns `value`, or what is to be shown in its place,
    such as `zodbjobs.redaction.HIDDEN`. It isn't asked about what is hidden anyway, and is called
    in any thread; if it raises nothing of that value is shown. Raises BadArgument for what can't
    be called.
    """
    global _functions
    if not callable(function):
        raise BadArgument(f"what is shown of jobs is asked of a function, not of {function!r}")
    with _lock:
        _functions = (*_functions, function)
    return lambda: _unregister(function)


def _unregister(function: Function) -> None:
    global _functions
    with _lock:
        _functions = tuple(each for each in _functions if each is not function)


def ask(name: str | None, value: Any) -> Any:
    """What may be shown of `value`; Hidden if a function has raised."""
    for function in _functions:
        try:
            value = function(name, value)
        except (Exception, SystemExit) as error:
            # Not its text, nor its traceback: they may have what it was to hide.
            log.error(
                "the function %s.%s of zodbjobs.redaction raised %s; what it was asked about "
                "isn't shown",
                getattr(function, "__module__", "?"),
                getattr(function, "__qualname__", type(function).__name__),
                type(error).__name__,
            )
            return Hidden
    return value
