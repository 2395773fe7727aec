"""Redactor: shows the values and texts of one job without the secrets in them."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import re
from collections import UserDict, UserList, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import quote, quote_plus

from zodbjobs.interfaces import ISecret
from zodbjobs.redaction import asking
from zodbjobs.redaction.names import is_secret_name
from zodbjobs.redaction.texts import HIDDEN, without_secrets

# Levels of what is in what, and values, that are looked at.
_MOST_DEPTH = 20
_MOST_VALUES = 10_000

# Texts of secrets that are looked for, a line of one is one too; what has more shows no text at
# all. To look for them takes time with each: a tenth of a second for these, the first time.
_MOST_TEXTS = 200

# Characters of a secret from which on it is hidden within words too, and as a line of several.
_LONG = 4
_LONG_LINE = 8

_PLAIN = frozenset({type(None), bool, int, float, complex})
_BRACKETS: dict[type, str] = {list: "[]", tuple: "()", set: "{}", frozenset: "{}"}


class Redactor:
    """Shows values and texts of a job, whose arguments are `values`; never raises.

    What a Secret among these has is hidden wherever it is met as a text.
    """

    def __init__(self, values: Iterable[Any] = ()) -> None:
        self._values = values
        self._pattern: re.Pattern[str] | None = None
        self._is_known = False

    def show(self, value: Any, most: int, name: str | None = None) -> str:
        """The repr of what may be shown of `value`, up to `most` characters of it."""
        try:
            writer = _Writer(most)
            writer.write(value, name)
            text = self._without_values("".join(writer.parts))
        except _Full:
            return f"{self._without_values(''.join(writer.parts))[:most]}... (and more)"
        except (Exception, SystemExit) as error:  # a repr may raise anything
            return f"({type(value).__name__} that can't be shown: {type(error).__name__})"
        return text if len(text) <= most else f"{text[:most]}... ({len(text)} characters)"

    def text(self, text: str, name: str | None = None) -> str:
        """What may be shown of a text, which is a log's line, say, as `name` tells."""
        try:
            answer = asking.ask(name, text)
            if not isinstance(answer, str):
                return HIDDEN
            return without_secrets(self._without_values(answer))
        except (Exception, SystemExit):
            return HIDDEN

    def value(self, value: Any, name: str | None = None) -> Any:
        """`value` itself if all of it may be shown, else a text; for plain immutable ones."""
        if type(value) is str and not is_secret_name(name):
            return self.text(value, name)
        if type(value) is tuple and not is_secret_name(name):
            return tuple(self.value(each, name) for each in value)
        try:
            shown = _Writer(_MOST_VALUES)
            shown.write(value, name)
            text = self._without_values("".join(shown.parts))
            return value if text == repr(value) else text
        except (Exception, SystemExit):
            return HIDDEN

    def _without_values(self, text: str) -> str:
        """The text without those of the secrets."""
        if not self._is_known:
            self._pattern = _pattern_of(self._values)
            self._is_known, self._values = True, ()
        return text if self._pattern is None else self._pattern.sub(HIDDEN, text)


class _Full(Exception):
    """Enough was written."""


class _Writer:
    """Writes the repr of a value into `parts`, until these have more than `most` characters."""

    def __init__(self, most: int) -> None:
        self.parts: list[str] = []
        self._left = most

    def _add(self, text: str) -> None:
        if self._left < 0:
            raise _Full
        self.parts.append(text)
        self._left -= len(text)

    def write(self, value: Any, name: str | bytes | None = None, depth: int = 0) -> None:
        """Write what may be shown of `value`, which has that name."""
        kind = type(value)
        if value is not None and name is not None and is_secret_name(name):
            self._add(HIDDEN)
            return
        if kind not in _PLAIN and kind is not str and is_secret(value):
            self._add(HIDDEN)
            return
        value = asking.ask(name if isinstance(name, str) else None, value)
        kind = type(value)
        if kind in _PLAIN:
            self._add(repr(value))
        elif kind is str:
            self._add(HIDDEN if value == HIDDEN else repr(without_secrets(value)))
        elif value is asking.Hidden or is_secret(value):
            self._add(HIDDEN)
        elif depth > _MOST_DEPTH:
            self._add("...")
        else:
            self._write_parts(value, kind, depth + 1)

    def _write_parts(self, value: Any, kind: type, depth: int) -> None:
        if isinstance(value, dict):
            start, end = ("{", "}") if kind is dict else (f"{kind.__qualname__}({{", "})")
            self._write_all(start, value.items(), end, depth, repr_of_key)
        elif isinstance(value, UserDict | UserList):
            self.write(value.data, None, depth)
        elif (brackets := _BRACKETS.get(kind)) is not None:
            self._write_list(value, kind, brackets, depth)
        elif (fields := _fields_of(value)) is not None:
            self._write_all(f"{kind.__qualname__}(", fields, ")", depth, "{}=".format)
        else:
            self._add(without_secrets(repr(value)))

    def _write_list(self, value: Any, kind: type, brackets: str, depth: int) -> None:
        start, end = brackets[0], brackets[1]
        if kind is frozenset or (kind is set and not value):
            name = kind.__name__
            start, end = (f"{name}({{", "})") if value else (f"{name}(", ")")
        if kind is tuple and len(value) == 1:
            end = ",)"
        items: Iterable[tuple[Any, Any]] = ((None, each) for each in value)
        if kind in (tuple, list) and len(value) == 2 and is_secret_name(value[0]):
            items = [(None, value[0]), value]  # as in a list of the items of a dict
        self._write_all(start, items, end, depth, lambda name: "")

    def _write_all(
        self,
        start: str,
        items: Iterable[tuple[Any, Any]],
        end: str,
        depth: int,
        label: Callable[[Any], str],
    ) -> None:
        self._add(start)
        for number, (name, each) in enumerate(items):
            self._add((", " if number else "") + label(name))
            self.write(each, name if isinstance(name, str | bytes) else None, depth)
        self._add(end)


def repr_of_key(key: Any) -> str:
    """How a key of a dict is written, with what follows it."""
    return f"{HIDDEN if is_secret(key) else without_secrets(repr(key))}: "


def is_secret(value: Any) -> bool:
    """Whether `value` is a Secret."""
    kind: Any = type(value)
    return _is_kind_of_secret(kind)


@functools.lru_cache(maxsize=1_000)
def _is_kind_of_secret(kind: Any) -> bool:
    return bool(ISecret.implementedBy(kind))


def _fields_of(value: Any) -> list[tuple[str, Any]] | None:
    """The names and values of a dataclass or a named tuple; None of anything else."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(f.name, getattr(value, f.name)) for f in dataclasses.fields(value) if f.repr]
    names = getattr(type(value), "_fields", None)
    if isinstance(value, tuple) and isinstance(names, tuple):
        return list(zip(names, value, strict=True))
    return None


# The texts of secrets

_ALL = re.compile(r".+", re.DOTALL)


def _pattern_of(values: Iterable[Any]) -> re.Pattern[str] | None:
    plain = itertools.chain.from_iterable(_texts_of(each.value) for each in _secrets_in(values))
    found = set(itertools.islice(plain, _MOST_TEXTS + 1))
    if not found:
        return None
    if len(found) > _MOST_TEXTS:
        return _ALL
    texts = {form for each in found for form in _forms_of(each)}
    longest_first = sorted(texts, key=len, reverse=True)
    return re.compile("|".join(map(_expression, longest_first)))


def _expression(text: str) -> str:
    escaped = re.escape(text)
    return escaped if len(text) >= _LONG else rf"(?<!\w){escaped}(?!\w)"


def _texts_of(secret: Any) -> Iterator[str]:
    """A secret as a text, and its lines if they are long; so are the longer texts in it."""
    yield from _lines_of(secret)
    for part in _inside(_parts_of(secret, _MOST_VALUES)):
        if isinstance(part, str | bytes) and len(part) >= _LONG:
            yield from _lines_of(part)


def _lines_of(value: Any) -> Iterator[str]:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    text = str(value)
    if text.strip():
        yield text
        yield from (s for line in text.splitlines() if len(s := line.strip()) >= _LONG_LINE)


def _forms_of(text: str) -> Iterator[str]:
    """How it may look in another text."""
    yield text
    yield repr(text)[1:-1]
    yield json.dumps(text)[1:-1]
    yield quote(text, safe="")
    yield quote_plus(text)


def _secrets_in(values: Iterable[Any]) -> Iterator[Any]:
    """The Secrets in arguments, and in what is in these; stored objects aren't looked into."""
    return (value for value in _inside(values) if is_secret(value))


def _inside(values: Iterable[Any]) -> Iterator[Any]:
    """Values that are no numbers, and what is in them, but not what is in a Secret.

    What is further in comes later: a long list doesn't keep one beside it from being found.
    """
    todo, seen = deque(values), 0
    while todo and seen < _MOST_VALUES:
        value = todo.popleft()
        seen += 1
        if type(value) in _PLAIN:
            continue
        yield value
        if not isinstance(value, str | bytes) and not is_secret(value):
            todo += _parts_of(value, _MOST_VALUES - seen)


def _parts_of(value: Any, most: int) -> list[Any]:
    """The first of what is in a value."""
    try:
        if isinstance(value, UserDict | UserList):
            value = value.data
        parts: Iterable[Any]
        if isinstance(value, dict):
            parts = itertools.chain.from_iterable(value.items())
        elif isinstance(value, list | tuple | set | frozenset):
            parts = value
        elif isinstance(value, type) or hasattr(value, "_p_jar"):
            return []
        else:
            parts = vars(value).values()
        return list(itertools.islice(parts, most))
    except (Exception, SystemExit):
        return []
