"""The pairs of functions that capture a run context and restore it, by name."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from contextvars import ContextVar
from typing import Any, NamedTuple

from zodbjobs import cures
from zodbjobs.errors import BadArgument, MissingCode

log = logging.getLogger("zodbjobs")


class Pair(NamedTuple):
    """How a part of the run context is captured, and restored."""

    capture: Callable[[], Any]
    restore: Callable[[Any], AbstractContextManager[Any]]
    required: bool


class Part(NamedTuple):
    """A part of a job's run context, as it is stored: a plain tuple."""

    name: str
    required: bool
    value: Any


#: Replaced, not changed, for threads are reading it.
_pairs: dict[str, Pair] = {}
_lock = threading.Lock()


def register(
    name: str,
    capture: Callable[[], Any],
    restore: Callable[[Any], AbstractContextManager[Any]],
    required: bool = True,
) -> None:
    """Have jobs remember what `capture()` returns at their put, and run in `restore(value)`.

    `capture` is called in the putter's thread, at each put, and once for `put_many`. It returns
    plain data and stored objects, or None for nothing; it may raise BadArgument, with the cure.
    `restore` is called in the worker's thread, in the attempt's transaction, in the order of
    registration; it returns a context manager that is left after the commit or abort, and isn't
    to touch the database then.

    A worker in which no pair of that name is registered parks the job, if it was `required` at the
    put, else it runs it without. A `restore` may raise MissingCode, which parks the job too, or
    ContextGone, with which it fails for good; any other error is one of the job. If the pair isn't
    required, errors of both are logged, and the job is put, and run, without it.

    A pair of the same name is replaced. Raises BadArgument if `name` is no text, or if `capture`
    or `restore` can't be called.
    """
    global _pairs
    if not isinstance(name, str) or not name or not callable(capture) or not callable(restore):
        raise BadArgument(
            "a run context needs a name, a function that captures, and one that restores, not "
            f"{name!r}, {capture!r} and {restore!r}"
        )
    with _lock:
        _pairs = {**_pairs, name: Pair(capture, restore, bool(required))}


def unregister(name: str) -> None:
    """Capture and restore nothing of that name any more; it needn't be registered."""
    global _pairs
    with _lock:
        _pairs = {known: pair for known, pair in _pairs.items() if known != name}


def remember(contextvar: ContextVar[Any]) -> None:
    """Let jobs run with the value that a context variable has when they are put.

    Registers a required pair of the name ``contextvars.NAME``. None counts as nothing. Raises
    BadArgument for what is no context variable, and if there is such a pair for another one.
    """
    if not isinstance(contextvar, ContextVar):
        raise BadArgument(f"remember takes a contextvars.ContextVar, not {contextvar!r}")
    name = f"contextvars.{contextvar.name}"
    known = _pairs.get(name)
    if known is not None and known.capture != _Getter(contextvar):
        raise BadArgument(
            f"another context variable with the name {contextvar.name!r} is remembered already; "
            "register a pair for this one under a name of its own"
        )
    register(name, _Getter(contextvar), _Setter(contextvar))


@dataclasses.dataclass(frozen=True)
class _Getter:
    variable: ContextVar[Any]

    def __call__(self) -> Any:
        return self.variable.get(None)


@dataclasses.dataclass(frozen=True)
class _Setter:
    variable: ContextVar[Any]

    @contextlib.contextmanager
    def __call__(self, value: Any) -> Iterator[None]:
        token = self.variable.set(value)
        try:
            yield
        finally:
            self.variable.reset(token)


def capture() -> dict[str, Any]:
    """What a job would remember that is put here and now, by name."""
    return {part.name: part.value for part in captured()}


def captured() -> tuple[Part, ...]:
    """What a job remembers that is put here and now.

    Raises BadArgument if a pair fails that is required.
    """
    parts: tuple[Part, ...] = ()
    for name, (take, _, required) in _pairs.items():
        try:
            value = take()
        except Exception as error:
            if required and isinstance(error, BadArgument):
                raise
            if required:
                raise BadArgument(
                    f"the run context {name!r} can't be captured ({type(error).__name__}: "
                    f"{error}); mend what is registered, or put with context=False"
                ) from error
            log.error("the run context %r can't be captured", name, exc_info=True)
            continue
        if value is not None:
            parts = (*parts, Part(name, required, value))
    return parts


def parts_of(values: Mapping[str, Any]) -> tuple[Part, ...]:
    """A run context of somebody's own making; BadArgument for names that aren't registered."""
    if not isinstance(values, Mapping):
        raise BadArgument(f"a run context is a dict of values by name, not {values!r}")
    for name in values:
        if name not in _pairs:
            raise BadArgument(
                f"no run context of the name {name!r} is registered here; there are "
                f"{', '.join(map(repr, _pairs))}"
            )
    return tuple(
        Part(name, pair.required, values[name])
        for name, pair in _pairs.items()
        if values.get(name) is not None
    )


def restored(parts: Sequence[tuple[str, bool, Any]]) -> ExitStack:
    """Restore a run context, until `close` of what this returns.

    Raises MissingCode if a pair is missing that was required, and what a restore raises; what was
    restored by then is undone.
    """
    pairs = _pairs
    missing = [name for name, required, _ in parts if required and name not in pairs]
    if missing:
        needs = ", and ".join(dict.fromkeys(map(cures.of_missing, missing)))
        raise MissingCode(
            f"the job was put in a run context of which this worker lacks "
            f"{', '.join(map(repr, missing))}; {needs}, then retry the job"
        )
    values = {name: value for name, _, value in parts}
    with ExitStack() as stack:
        for name, pair in pairs.items():
            if name in values:
                _enter(stack, name, pair, values[name])
        return stack.pop_all()


def _enter(stack: ExitStack, name: str, pair: Pair, value: Any) -> None:
    try:
        stack.enter_context(pair.restore(value))
    except Exception:
        if pair.required:
            raise
        log.error("the run context %r can't be restored", name, exc_info=True)
