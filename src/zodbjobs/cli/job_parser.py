"""Makes a job of the words of a command line: MODULE:FUNCTION, arguments, a delay."""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from zodbjobs.cli.errors import CommandError
from zodbjobs.stored.job import Job, ProgressableJob

#: The longest delay of a job: ten years.
_MOST_SECONDS = 10 * 365 * 86_400

_KEYWORD = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)


def make_job(path: str, words: Sequence[str], progress: bool) -> Callable[[], Job]:
    """A function that makes the job that calls ``module:function`` with these arguments.

    Raises CommandError if there is no such function, or if it doesn't take them.
    """
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


def delay_of(seconds: float | None) -> timedelta | None:
    """The delay of a job that is due in `seconds`, None for none; CommandError if it is too
    long or negative.
    """
    if seconds is None:
        return None
    if not 0 <= seconds <= _MOST_SECONDS:
        raise CommandError(f"--in takes 0 to {_MOST_SECONDS:,} seconds, not {seconds:g}")
    return timedelta(seconds=seconds)


def _find(path: str) -> Callable[..., Any]:
    module, _, names = path.partition(":")
    if not module or not names:
        raise CommandError(f"{path!r} doesn't name a function; write MODULE:FUNCTION")
    try:
        found: Any = importlib.import_module(module)
    except (Exception, SystemExit) as error:  # the latter from a script
        raise CommandError(
            f"can't import {module} ({type(error).__name__}: {error}); go to its directory, or "
            "install it where zodbjobs is"
        ) from error
    for name in names.split("."):
        found = getattr(found, name, None)
    if found is None:
        raise CommandError(f"{module} has no function {names}; check the name")
    if not callable(found):
        kind = type(found).__name__
        raise CommandError(f"{path} is of the type {kind}, not a function; check the name")
    function: Callable[..., Any] = found
    return function


def _value(word: str) -> Any:
    try:
        return json.loads(word)
    except ValueError:
        if word.startswith("-"):  # more often a misspelt option than an argument
            raise CommandError(
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
        raise CommandError(f"{path}{signature} can't be called like this: {error}") from error
