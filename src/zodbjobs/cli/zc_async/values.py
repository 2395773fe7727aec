"""Values of Python 2 as people read them, and as Python 3 writes them."""

from __future__ import annotations

import keyword
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from math import isfinite
from typing import Any, TypeGuard

from zodbjobs.cli.zc_async.records import Instance, Reference, text_of

# Levels of lists in lists that are shown; an old list may hold itself.
_DEPTH = 20

# Longer numbers aren't shown; Python itself refuses to write those of 4,300 digits.
_BITS = 10_000

# Modules whose names are others in Python 3.
_RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg", "exceptions": "builtins"}


class NotExpressible(Exception):
    """A value that no expression of Python gives back; the text says why."""


def value_of(value: Any, depth: int = _DEPTH) -> Any:
    """The value with what is known in it made values of Python 3.

    Strings are text where they are UTF-8. References, functions and instances of other
    classes stay what they are.
    """
    if depth == 0:
        return ...
    match value:
        case bytes():
            return text_of(value)
        case int() if value.bit_length() > _BITS:
            return ...
        case list() | tuple() | set() | frozenset():
            return type(value)(value_of(item, depth - 1) for item in value)
        case dict():
            return {value_of(k, depth - 1): value_of(v, depth - 1) for k, v in value.items()}
        case Instance():
            return _known(value, depth)
    return value


def name_of(value: type[Instance]) -> str:
    """The name of a function or a class, ``"module:name"``, with the module as it is now."""
    module, _, name = value.name.partition(":")
    return f"{_RENAMED.get(module, module)}:{name}"


def dotted(name: str) -> str:
    """A name with dots only, for people and for Python."""
    return name.replace(":", ".")


def class_of(value: Instance) -> str:
    """The name of an instance's class."""
    if value.name == "copy_reg:_reconstructor" and value.args and is_global(value.args[0]):
        return name_of(value.args[0])
    return name_of(type(value))


def text(value: Any) -> str:
    """A value as people read it. Objects are shown by class and id, not by what is in them."""
    match value:
        case Reference():
            where = f" of database {value.database}" if value.database else ""
            weak = "weak reference to " if value.weak else ""
            return f"<{weak}{dotted(value.name) or 'object'} {value.id}{where}>"
        case Instance():
            return f"<{dotted(class_of(value))}>"
        case type():
            return dotted(name_of(value))
    return "..." if value is ... else _written(value, text)


def expression(value: Any) -> str:
    """Python that gives the value; raises NotExpressible.

    It uses the names `connection`, `p64` and `datetime`, and those of modules.
    """
    match value:
        case Reference():
            return _fetched(value)
        case Instance():
            raise NotExpressible(
                f"an object of the class {dotted(class_of(value))} lies within it; make it anew"
            )
        case type():
            return _looked_up(name_of(value))
    if value is ...:
        raise NotExpressible("it holds itself, or is too deep or too long; make it anew")
    return _written(value, expression)


def parts(value: Any) -> list[Any]:
    """The references and the functions in a value."""
    match value:
        case Reference() | type():
            return [value]
        case list() | tuple() | set() | frozenset():
            return [part for item in value for part in parts(item)]
        case dict():
            return [part for pair in value.items() for item in pair for part in parts(item)]
    return []


def _fetched(reference: Reference) -> str:
    if reference.weak:
        raise NotExpressible("it is a weak reference; take persistent.wref.WeakRef")
    other = f".get_connection({reference.database!r})" if reference.database else ""
    return f"connection{other}.get(p64({reference.id}))"


def _looked_up(name: str) -> str:
    for word in dotted(name).split("."):
        if not word.isidentifier() or keyword.iskeyword(word):
            raise NotExpressible(f"{dotted(name)} can't be written in Python 3; rename it")
    return dotted(name)


def _written(value: Any, write: Any) -> str:
    """A value of a builtin type, with `write` for what is in it."""
    match value:
        case list():
            return f"[{', '.join(map(write, value))}]"
        case tuple():
            return f"({', '.join(map(write, value))}{',' * (len(value) == 1)})"
        case set() | frozenset():
            items = f"[{', '.join(sorted(map(write, value)))}]"
            return f"{type(value).__name__}({items})"
        case dict():
            return f"{{{', '.join(f'{write(k)}: {write(v)}' for k, v in value.items())}}}"
        case float() if not isfinite(value):
            return f"float({str(value)!r})"
    return repr(value)


def is_global(value: Any) -> TypeGuard[type[Instance]]:
    """Whether the value is a function or a class by itself."""
    return isinstance(value, type) and issubclass(value, Instance)


def _known(value: Instance, depth: int) -> Any:
    """What an instance of a class of the standard library, or of pytz, stands for."""
    make = _MAKERS.get(type(value).name)
    try:
        return value if make is None else make(*(_part(arg, depth - 1) for arg in value.args))
    except (TypeError, ValueError):  # not what such a class writes
        return value


def _part(value: Any, depth: int) -> Any:
    """A datetime holds a string that is no text."""
    return value if isinstance(value, bytes) else value_of(value, depth)


def _zone(_: Any, seconds: int, *more: Any) -> timezone:
    return timezone(timedelta(seconds=seconds))


_MAKERS: dict[str, Callable[..., Any]] = {
    "datetime:datetime": datetime,
    "datetime:date": date,
    "datetime:time": time,
    "datetime:timedelta": timedelta,
    "pytz:_UTC": lambda: UTC,
    "pytz:_p": _zone,
    "__builtin__:set": set,
    "__builtin__:frozenset": frozenset,
    "__builtin__:complex": complex,
}
