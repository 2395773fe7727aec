"""How the callable of a job is stored, and found again when the job runs.

A module-level function or class is stored as the text ``"module:name"`` and looked up
when the job runs, so that new code is used; a bound method as a pair of its object and
its name; anything else as it is.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import itertools
import logging
import reprlib
import sys
from collections.abc import Callable, Coroutine, Iterator
from types import FunctionType
from typing import TYPE_CHECKING, Any

from persistent import Persistent

from zodbjobs import redaction, references
from zodbjobs.errors import BadArgument, BadStatus, MissingCode
from zodbjobs.interrupt import is_ctrl_c
from zodbjobs.marking import is_marked
from zodbjobs.stored.lifecycle import referring, surroundings
from zodbjobs.stored.lifecycle.storable import (
    can_be_stored,
    check_context,
    check_named,
    check_storable,
    is_simple,
    missing_class,
    portable_copy,
)
from zodbjobs.stored.reference import Reference, Referring
from zodbjobs.stored.result_of import ResultOf

if TYPE_CHECKING:
    from zodbjobs.stored.job import Job

StoredCall = str | tuple[object, str] | object

log = logging.getLogger("zodbjobs")

_found: dict[str, Callable[..., Any]] = {}


def unfold(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """Take ``functools.partial`` apart: its arguments become those of the call."""
    while isinstance(function, functools.partial):
        args = function.args + args
        kwargs = {**function.keywords, **kwargs}
        function = function.func
    return function, args, kwargs


def brought(
    all_args: tuple[Any, ...],
    all_kwargs: dict[str, Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> tuple[int, tuple[str, ...]] | None:
    """What a partial has added to `args` and `kwargs`: how many first ones, and which names."""
    names = tuple(name for name in all_kwargs if name not in kwargs)
    count = len(all_args) - len(args)
    return (count, names) if count or names else None


def to_stored(function: Callable[..., Any]) -> StoredCall:
    """What to store for `function`; TypeError or BadArgument if it can't be."""
    if type(function) is FunctionType:
        return _dotted(function, f"{function.__module__}:{function.__qualname__}")
    if not callable(function):
        raise TypeError(f"a job needs a callable, not {function!r}")
    owner = getattr(function, "__self__", None)
    name: str | None = getattr(function, "__name__", None)
    if owner is not None and name is not None and not inspect.ismodule(owner):
        if isinstance(owner, type):
            check_named(owner, f"the callable {owner.__qualname__}.{name}")
            return _dotted(function, f"{owner.__module__}:{owner.__qualname__}.{name}")
        what = f"the object of the method {name!r}"
        owner = referring.storable_form(owner, what)
        check_context(owner, what)
        return owner, name
    stored: StoredCall = referring.storable_form(function, "the callable")
    check_context(stored, "the callable")
    if inspect.isroutine(stored) or isinstance(stored, type):
        return _dotted(stored, f"{stored.__module__}:{stored.__qualname__}")
    return stored


def _dotted(function: Callable[..., Any], path: str) -> str:
    found = _found.get(path)
    if found is function:
        return path
    check_named(function, f"the callable {path}")
    try:
        found = _look_up(path)
    except Exception:
        found = None
    if found == function:
        _found[path] = function
    else:
        raise BadArgument(
            f"{function!r} can't be stored: looking up {path!r} doesn't give it back; "
            "define it at the top of a module that the worker can import"
        )
    return path


def storable_args(stored: StoredCall, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """What is to be stored for positional arguments; BadArgument for what can't be."""
    if not references.kinds:
        return args
    return tuple(
        referring.storable_form(value, f"argument {number} of {describe(stored)}")
        for number, value in enumerate(args, 1)
    )


def storable_kwargs(stored: StoredCall, kwargs: dict[str, Any]) -> dict[str, Any]:
    """The same for keyword arguments."""
    if not references.kinds:
        return kwargs
    return {
        name: referring.storable_form(value, f"argument {name!r} of {describe(stored)}")
        for name, value in kwargs.items()
    }


def from_stored(stored: StoredCall) -> Callable[..., Any]:
    """The callable of what `to_stored` gave; MissingCode if it isn't there."""
    if isinstance(stored, str):
        function = _found.get(stored)
        if function is None:
            try:
                function = _found[stored] = _look_up(stored)
            except (Exception, SystemExit) as error:  # a module may call sys.exit
                raise MissingCode(
                    f"{stored} can't be loaded in this process "
                    f"({type(error).__name__}: {error}); install the code that defines it, "
                    "restart the worker, then retry the job"
                ) from error
        return function
    owner, name = stored if isinstance(stored, tuple) else (stored, "__call__")
    owner = referring.loaded(owner)
    check_whole(owner)
    try:
        method: Callable[..., Any] = getattr(owner, name)
    except AttributeError as error:
        raise MissingCode(
            f"{type(owner).__name__} has no method {name!r} in this process; "
            "install the code that defines it, restart the worker, then retry the job"
        ) from error
    return method


def run(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    watch: Callable[[Callable[[], object] | None], None] | None = None,
) -> Any:
    """Call `function` and return its result; if that is a coroutine, what it leads to.

    The event loop of a coroutine is closed then, and with it what the job left in it. `watch` is
    given what cancels the coroutine from another thread, and None at its end.
    """
    result = function(*args, **kwargs)
    if not inspect.iscoroutine(result):
        return result
    import asyncio  # heavy, and few jobs need it

    coroutine = result if watch is None else _watched(result, watch)
    try:
        return asyncio.run(coroutine)
    finally:
        coroutine.close()  # where a loop runs already this one can't, and wasn't begun
        result.close()


async def _watched(
    coroutine: Coroutine[Any, Any, Any], watch: Callable[[Callable[[], object] | None], None]
) -> Any:
    import asyncio

    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None
    watch(functools.partial(loop.call_soon_threadsafe, task.cancel))
    try:
        return await coroutine
    finally:
        watch(None)


class Hooks:
    """Calls the hooks of one attempt of a job."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._values: list[Any] = []  # what set_up returned, until tear_down has it

    @property
    def is_set_up(self) -> bool:
        """Whether `tear_down` is still to be called."""
        return bool(self._values)

    def set_up(self) -> None:
        """Call `set_up`, and raise what that raises."""
        self._values.append(self._job.set_up())

    def tear_down(self) -> None:
        """Call `tear_down` if `set_up` has returned; what it raises is logged."""
        if self._values:
            try:
                self._job.tear_down(self._values.pop())
            except BaseException as error:
                if is_ctrl_c(error):
                    raise
                log.critical("tear_down of %r failed", self._job, exc_info=True)


def hooks_of(job: Job) -> Hooks | None:
    """The hooks for an attempt of a job; None if its class has none."""
    return Hooks(job) if job._has_hooks else None


def has_hooks(job: Job) -> bool:
    """Whether a job is to be called with hooks; cheap."""
    return job._has_hooks


def owner_of(job: Job | None) -> Persistent | None:
    """The object whose method a job calls, if it is one of a database."""
    stored = getattr(job, "_call", None)
    found = _target(stored[0] if isinstance(stored, tuple) else stored)
    return found if isinstance(found, Persistent) else None


def _target(owner: Any) -> Any:
    """The object itself, where a reference to it is stored."""
    if type(owner) is Referring:
        owner = owner.value
    return owner.obj if type(owner) is Reference else owner


def is_transactional(job: Job) -> bool:
    """Whether the job says that all it does is in its transaction, or what it calls does."""
    if job._transactional is not None:
        return job._transactional
    stored = job._call
    if isinstance(stored, str):
        return is_marked(_found.get(stored))
    owner, name = stored if isinstance(stored, tuple) else (stored, "__call__")
    return is_marked(getattr(type(_target(owner)), name, None))


def check_whole(value: object) -> None:
    """Raise MissingCode if `value`, or anything in it, is of a class that isn't there in this
    process.
    """
    missing = missing_class(value)
    if missing is not None:
        raise MissingCode(
            f"the class {missing} is missing in this process; "
            "install the code that defines it, restart the worker, then retry the job"
        )


def _look_up(path: str) -> Callable[..., Any]:
    module, _, names = path.partition(":")
    found: Any = importlib.import_module(module)
    for name in names.split("."):
        found = getattr(found, name)
    if not callable(found):
        raise TypeError(f"{path} is not callable")
    return found  # type: ignore[no-any-return]


def resolve(
    job: Job, context: surroundings.Parts
) -> tuple[Callable[..., Any] | None, tuple[Any, ...], dict[str, Any]]:
    """What a job calls, and with what; `context` is its run context. None if there are references:
    these are to be `loaded` once the run context is restored.

    Raises MissingCode if any of it isn't there in this process, or if the job couldn't be
    stored again with the code that is here.
    """
    function = _checked_callable(job._call)
    args, kwargs = job._args, job._kwargs or {}
    policy = job.retry_policy
    plain = policy is None and (not context or surroundings.has_plain_values(context))
    refers = False
    if policy is not None:
        check_whole(policy)  # asked for after the attempt, when it is too late to park it
    for value in (*args, *kwargs.values()):
        if type(value) is ResultOf:
            refers = True
            continue
        if type(value) is Referring:
            referring.check_known(value)
        check_whole(value)
        plain = plain and (is_simple(value) or isinstance(value, Persistent))
    for _, _, value in context:
        check_whole(value)
    if job._is_sweep:
        check_whole(job._source.enumerator)  # type: ignore[attr-defined]
        if isinstance(job._throttle, str):  # type: ignore[attr-defined]
            from_stored(job._throttle)  # type: ignore[attr-defined]
    if not plain and not can_be_stored(job):
        raise MissingCode(
            f"job {job.id} ({describe(job._call)}) can't be stored again with the code that is "
            "in this process, so it can't be run: a class or function among its arguments, in its "
            "run context, or its retry policy, is missing; install it, restart the worker, then "
            "retry the job"
        )
    if refers:
        try:
            args, kwargs = with_results(args, kwargs)
        except BadStatus as error:
            return functools.partial(_refuse, error), (), {}
    if any(type(each) is Referring for each in (*args, *kwargs.values())):
        function = None
    return function, args, kwargs


def _checked_callable(stored: StoredCall) -> Callable[..., Any] | None:
    """What a job calls; None if it is to be loaded by way of a reference. MissingCode if it isn't
    there in this process.
    """
    owner = stored[0] if isinstance(stored, tuple) else stored
    if type(owner) is not Referring:
        return from_stored(stored)
    referring.check_known(owner)
    check_whole(owner)
    return None


def loaded(
    job: Job, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """What a job calls, and these arguments, with what they refer to. Raises ObjectGone and
    MissingCode.
    """
    function = from_stored(job._call)
    args = tuple(map(referring.loaded, args))
    return function, args, {name: referring.loaded(value) for name, value in kwargs.items()}


def arguments_again(
    job: Job,
) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """What a job calls, and with what, as its record has it: a call may have changed what it was
    given. Raises as `loaded` and `with_results`.
    """
    return loaded(job, *with_results(job._args, job._kwargs or {}))


def with_results(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments with the results of other jobs where they refer to these.

    Raises BadStatus if such a job has none, MissingCode if it can't be loaded here.
    """
    return tuple(map(_value, args)), {name: _value(value) for name, value in kwargs.items()}


def _value(value: Any) -> Any:
    if type(value) is not ResultOf:
        return value
    job = value.job
    if not can_be_stored(job):
        raise MissingCode(
            "the job of which the result is an argument can't be loaded in this process; install "
            "the code that it needs, restart the worker, then retry this job"
        )
    if job.outcome is None:
        raise BadStatus(f"{job!r} is {job.status}; it has no result to be an argument")
    result = job.result
    if type(result) is Referring:
        referring.check_known(result)
    # A copy, for the call may change it, and the other job is not to change.
    return result if is_simple(result) else portable_copy(result, f"the result of {job!r}")[0]


def _refuse(error: Exception) -> Any:
    raise error


def has_simple_arguments(job: Job) -> bool:
    """Whether a call can't change any argument but objects of the database."""
    values = (*job._args, *(job._kwargs or {}).values())
    return all(is_simple(value) or isinstance(value, Persistent) for value in values)


def set_running(job: Job, is_running: bool) -> None:
    """Let its status be ACTIVE, while it is called, for whoever has this object."""
    job._v_running = is_running


def check_stored(
    stored: StoredCall, args: tuple[Any, ...], kwargs: dict[str, Any] | None, jar: Any
) -> None:
    """Raise BadArgument, naming the culprit, if `jar` can't store any of it."""
    if not isinstance(stored, str):
        check_storable(stored, f"the callable {describe(stored)}", jar)
    for number, value in enumerate(args, 1):
        if not is_simple(value):
            check_storable(value, f"argument {number} of {describe(stored)}", jar)
    if kwargs:
        for name, value in kwargs.items():
            check_storable(value, f"argument {name!r} of {describe(stored)}", jar)


def show(stored: StoredCall, args: tuple[Any, ...], kwargs: dict[str, Any] | None) -> str:
    """A call with its arguments, shortened, as text, without secrets.

    Those without a name have that of the parameter, if the code is loaded; nothing is for this.
    """
    names = _loaded_parameters(stored) if args else iter(())
    shown = [_shown(next(names, None), value) for value in args]
    shown += [f"{name}={_shown(name, value)}" for name, value in (kwargs or {}).items()]
    return f"{describe(stored)}({redaction.Redactor().text(', '.join(shown), 'arguments')})"


def _shown(name: str | None, value: Any) -> str:
    return redaction.HIDDEN if redaction.is_secret_name(name) else reprlib.repr(value)


def _loaded_parameters(stored: StoredCall) -> Iterator[str]:
    if isinstance(stored, str) and stored.partition(":")[0] not in sys.modules:
        return
    with contextlib.suppress(Exception, SystemExit):
        yield from parameters_of(from_stored(stored))


def parameters_of(function: Callable[..., Any]) -> Iterator[str]:
    """The names of the parameters for arguments without one; the last one for all others.

    Raises what `inspect.signature` does.
    """
    # A method would keep its object, and that the connection.
    names, rest = _names_of(getattr(function, "__func__", function))
    yield from names[1:] if hasattr(function, "__func__") else names
    if rest is not None:
        yield from itertools.repeat(rest)


@functools.lru_cache(maxsize=1_000)
def _names_of(function: Any) -> tuple[tuple[str, ...], str | None]:
    """The names of the parameters that take one argument each, and of that for all others."""
    names: list[str] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            return tuple(names), parameter.name
        names.append(parameter.name)
    return tuple(names), None


def describe(stored: StoredCall) -> str:
    """A short text for people; loads nothing but what is stored."""
    if isinstance(stored, str):
        return stored
    if isinstance(stored, tuple):
        owner, name = stored
        return f"{type(_target(owner)).__qualname__}.{name}"
    return type(_target(stored)).__qualname__
