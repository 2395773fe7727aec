"""What a Sweep goes through: enumerators, each of which gives items after a cursor.

They are stored with the sweep. `zodbjobs.sweep` has what is public of this.
"""

from __future__ import annotations

import bisect
import codecs
import csv
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import IO, Any

from BTrees.Interfaces import IDictionaryIsh, ISetMutable  # type: ignore[import-untyped]
from persistent import Persistent
from ZODB.blob import Blob
from ZODB.utils import z64

from zodbjobs.errors import BadArgument
from zodbjobs.stored.attachments import Attachment
from zodbjobs.stored.lifecycle import referring

#: As many objects are asked for at once of a server.
_AHEAD = 100

_GONE = object()


class Enumerator:
    """Gives the items of something in an order that lasts, each with the cursor after it.

    A cursor is an immutable value: a key, a number, a tuple of such. Subclasses write `items`, and
    what else they know. They are stored with the job, and may refer to stored objects.
    """

    def items(self, cursor: Any) -> Iterator[tuple[Any, Any]]:
        """Pairs of a cursor and an item: those after `cursor`, all of them for None.

        The cursor of a pair is the one after its item. What is called with an item may change
        what is gone through. Each transaction begins anew, after the last cursor.
        """
        raise NotImplementedError

    def find(self, before: Any, cursor: Any) -> Any:
        """The item between two cursors that were next to each other; LookupError if it is gone."""
        for found, item in self.items(before):
            if found == cursor:
                return item
            break
        raise LookupError(f"the item at {cursor!r} is gone")

    def fraction(self, cursor: Any) -> float | None:
        """How much lies before `cursor`, from 0 to 1, for the progress; None if nobody knows."""
        return None

    def split(self, number: int) -> list[Enumerator]:
        """At most so many enumerators with all items between them; itself alone, if it can't."""
        return [self]


class _Range(Enumerator):
    """The keys of a BTree or a TreeSet, after one and up to another one, in their order."""

    def __init__(self, tree: Any, after: Any = None, upto: Any = None) -> None:
        if after is None and next(iter(tree.keys()), _GONE) is None:
            raise _none_as_key(tree)
        self.tree = tree
        self.after = after
        self.upto = upto

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {type(self.tree).__name__}>"

    def _first_after(self, key: Any) -> Any:
        """The first key after one, as the tree is now; _GONE if there is none."""
        after = self.after if key is None else key
        if after is None:
            keys = self.tree.keys() if self.upto is None else self.tree.keys(None, self.upto)
        else:
            keys = self.tree.keys(after, self.upto, True)
        return next(iter(keys), _GONE)

    def items(self, cursor: Any) -> Iterator[tuple[Any, Any]]:
        """See `Enumerator`."""
        # Key by key, for what is called may add and remove others.
        left = 0
        while (key := self._first_after(cursor)) is not _GONE:
            if not left:
                self._fetch_ahead(key)
                left = _AHEAD
            left -= 1
            if key is None:
                raise _none_as_key(self.tree)
            yield key, self._item(key)
            cursor = key

    def _fetch_ahead(self, key: Any) -> None:
        """Bring what comes next into the cache of a server's client, all at once."""

    def _item(self, key: Any) -> Any:
        return key

    def find(self, before: Any, cursor: Any) -> Any:
        """See `Enumerator`."""
        if cursor not in self.tree:
            raise LookupError(f"the key {cursor!r} is gone")
        return self._item(cursor)

    def fraction(self, cursor: Any) -> float | None:
        """See `Enumerator`."""
        low = 0.0 if self.after is None else _place(self.tree, self.after)
        high = 1.0 if self.upto is None else _place(self.tree, self.upto)
        found = low if cursor is None else _place(self.tree, cursor)
        return min(1.0, max(0.0, (found - low) / (high - low))) if high > low else None

    def split(self, number: int) -> list[Enumerator]:
        """See `Enumerator`."""
        bounds = _bounds(self.tree, number, self.after, self.upto)
        starts, ends = [self.after, *bounds], [*bounds, self.upto]
        return [type(self)(self.tree, *pair) for pair in zip(starts, ends, strict=True)]


class Keys(_Range):
    """The keys of a BTree, or what is in a TreeSet, in their order."""


class Values(_Range):
    """The values of a BTree, in the order of their keys."""

    def _fetch_ahead(self, key: Any) -> None:
        values = list(islice(self.tree.values(key, self.upto), _AHEAD))
        ghosts = [v for v in values if isinstance(v, Persistent) and v._p_changed is None]
        if ghosts:
            ghosts[0]._p_jar.prefetch([v for v in ghosts if v._p_jar is ghosts[0]._p_jar])

    def _item(self, key: Any) -> Any:
        return self.tree[key]


class Items(Values):
    """Pairs of key and value of a BTree, in the order of the keys."""

    def _item(self, key: Any) -> Any:
        return key, self.tree[key]


def _none_as_key(tree: Any) -> BadArgument:
    """The error for a tree with the key None: as a cursor that is the begin."""
    return BadArgument(
        f"a Sweep can't go through this {type(tree).__name__}, for it has the key None; give that "
        "item another key"
    )


def _children(node: Any) -> tuple[Sequence[Any], Sequence[Any]] | None:
    """The children of an inner node of a tree and the keys between them; None for a leaf, and for
    a tree that is but one.
    """
    state = node.__getstate__() if hasattr(node, "__getstate__") else None
    if not isinstance(state, tuple) or len(state) != 2 or not isinstance(state[0], tuple):
        return None
    return state[0][::2], state[0][1::2]


def _place(tree: Any, key: Any) -> float:
    """Where a key is in a tree, from 0 to 1: as if all nodes of one level had as much in them."""
    low, width, node = 0.0, 1.0, tree
    while type(node) is type(tree) and (parts := _children(node)) is not None:
        children, between = parts
        number = bisect.bisect_right(between, key)
        width /= len(children)
        low += number * width
        node = children[number]
    keys = list(node.keys())
    return low + width * bisect.bisect_right(keys, key) / max(1, len(keys))


def _bounds(tree: Any, number: int, after: Any, upto: Any) -> list[Any]:
    """Keys that divide a tree into so many ranges of about the same size, or fewer."""
    nodes: list[Any] = [tree]
    between: list[Any] = []
    while len(between) < 10 * number:
        deeper: list[Any] = []
        merged: list[Any] = []
        for place, node in enumerate(nodes):
            parts = _children(node) if type(node) is type(tree) else None
            if parts is None:
                break
            deeper += parts[0]
            merged += [*parts[1], *between[place : place + 1]]
        else:
            nodes, between = deeper, merged
            continue
        break
    if len(between) < number:
        between = list(islice(tree.keys(), 10_000))
    keys = [
        key for key in between if (after is None or key > after) and (upto is None or key < upto)
    ]
    wanted = (len(keys) * part // number for part in range(1, number))
    return [keys[place] for place in sorted(set(wanted))] if keys else []


class Stored(Enumerator):
    """The items of a list, or another sequence, by their number."""

    def __init__(self, sequence: Any, start: int = 0, stop: int | None = None) -> None:
        self.sequence = sequence
        self.start = start
        self.stop = stop

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {type(self.sequence).__name__}>"

    def _length(self) -> int:
        length = len(self.sequence)
        return length if self.stop is None else min(length, self.stop)

    def items(self, cursor: Any) -> Iterator[tuple[Any, Any]]:
        """See `Enumerator`."""
        number = self.start if cursor is None else cursor
        while number < self._length():
            if number % _AHEAD == 0 or number in (self.start, cursor):
                self._fetch_ahead(number)
            item = self.sequence[number]
            number += 1
            yield number, item

    def _fetch_ahead(self, number: int) -> None:
        # One by one, for not every sequence has slices.
        found = [self.sequence[n] for n in range(number, min(number + _AHEAD, self._length()))]
        ghosts = [v for v in found if isinstance(v, Persistent) and v._p_changed is None]
        if ghosts:
            ghosts[0]._p_jar.prefetch([v for v in ghosts if v._p_jar is ghosts[0]._p_jar])

    def fraction(self, cursor: Any) -> float | None:
        """See `Enumerator`."""
        length = self._length() - self.start
        done = 0 if cursor is None else cursor - self.start
        return min(1.0, done / length) if length > 0 else None

    def split(self, number: int) -> list[Enumerator]:
        """See `Enumerator`."""
        length = self._length() - self.start
        ends = sorted({self.start + length * part // number for part in range(1, number)})
        starts = [self.start, *(end for end in ends if end > self.start)]
        stops = [*starts[1:], self.stop]
        return [Stored(self.sequence, *pair) for pair in zip(starts, stops, strict=True)]


class Csv(Enumerator):
    """The rows of a CSV file in a blob, as dicts by the names in its first row; as lists, with
    ``header=False``.

    `encoding`: UTF-8, Latin-1, or another one in which the byte 10 ends a line; a mark of the byte
    order before UTF-8 is left out. `format`: what `csv.reader` takes, such as ``delimiter=';'``,
    or the dialect that a `csv.Sniffer` has found. The cursor is the number of the byte after a
    row, so the blob mustn't be changed meanwhile. Raises BadArgument for what is no blob, or for
    an unknown dialect, and TypeError for other arguments that `csv.reader` doesn't take.
    """

    def __init__(
        self, blob: Blob | Attachment, encoding: str = "utf-8", header: bool = True, **format: Any
    ) -> None:
        if not isinstance(blob, Blob | Attachment):
            raise BadArgument(f"Csv reads a ZODB.blob.Blob or an attachment, not {blob!r}")
        if codecs.lookup(encoding).name == "utf-8-sig":
            encoding = "utf-8"
        if "\n".encode(encoding) != b"\n":
            raise BadArgument(
                f"Csv can't find the lines of a file in {encoding!r}; store it as UTF-8"
            )
        try:
            dialect = csv.reader([], **format).dialect
        except csv.Error as error:
            raise BadArgument(
                f"Csv can't read by {format!r}: {error}; name a dialect of csv.list_dialects()"
            ) from error
        if "dialect" in format:
            # A name may be unknown to a worker, and the class of a Sniffer can't be stored.
            format = {name: getattr(dialect, name) for name in _DIALECT}
        self.blob = blob
        self.encoding = encoding
        self.header = header
        self.format = format

    def _open(self) -> IO[bytes]:
        if isinstance(self.blob, Attachment):
            return self.blob.open()
        self.blob._p_activate()
        file: IO[bytes] = self.blob.open("r" if self.blob._p_serial == z64 else "c")
        return file

    def items(self, cursor: Any) -> Iterator[tuple[Any, Any]]:
        """See `Enumerator`."""
        with self._open() as file:
            rows = _Rows(file, self.encoding, self.format)
            names = rows.next() if self.header else None
            if cursor is not None:
                rows.skip_to(cursor)
            while (row := rows.next()) is not None:
                if row:  # an empty line is no row
                    yield rows.place, row if names is None else _named(names, row)

    def fraction(self, cursor: Any) -> float | None:
        """See `Enumerator`."""
        with self._open() as file:
            size = file.seek(0, 2)
        return (cursor or 0) / size if size else None


# What a dialect of the module csv tells.
_DIALECT = (
    *("delimiter", "doublequote", "escapechar", "lineterminator", "quotechar", "quoting"),
    *("skipinitialspace", "strict"),
)


def _named(names: list[str], row: list[str]) -> dict[Any, Any]:
    """A row as `csv.DictReader` gives it."""
    named: dict[Any, Any] = dict(zip(names, row, strict=False))
    if len(row) > len(names):
        named[None] = row[len(names) :]
    for name in names[len(row) :]:
        named[name] = None
    return named


class _Rows:
    """The rows of a file, and the number of the byte after the last one that was read."""

    def __init__(self, file: IO[bytes], encoding: str, format: dict[str, Any]) -> None:
        self._file = file
        self._encoding = encoding
        self.place = 0
        self._reader = csv.reader(self._lines(), **format)

    def _lines(self) -> Iterator[str]:
        while line := self._file.readline():
            try:
                text = line.decode(self._encoding)
            except UnicodeDecodeError as error:
                raise BadArgument(
                    f"the line before byte {self._file.tell():,} of the CSV file isn't in "
                    f"{self._encoding!r} ({error.reason}); give Csv its encoding"
                ) from error
            yield text.removeprefix("\ufeff") if self.place == 0 else text

    def next(self) -> list[str] | None:
        """The next row; None if there is none."""
        try:
            row = next(self._reader, None)
        except csv.Error as error:
            raise BadArgument(
                f"the row after byte {self.place:,} of the CSV file can't be read ({error}); mend "
                "the file, give Csv its delimiter and quotechar, or raise csv.field_size_limit() "
                "in the worker, by what is wrong"
            ) from error
        self.place = self._file.tell()
        return row

    def skip_to(self, place: int) -> None:
        """Go on at a byte, unless that was passed already."""
        self.place = self._file.seek(max(place, self.place))


class Chained(Enumerator):
    """The items of several enumerators, one after the other."""

    def __init__(self, parts: Sequence[Enumerator]) -> None:
        self.parts = tuple(parts)

    def items(self, cursor: Any) -> Iterator[tuple[Any, Any]]:
        """See `Enumerator`."""
        first, inner = (0, None) if cursor is None else cursor
        for number in range(first, len(self.parts)):
            for after, item in self.parts[number].items(inner):
                yield (number, after), item
            inner = None

    def find(self, before: Any, cursor: Any) -> Any:
        """See `Enumerator`."""
        number, after = cursor
        is_same = before is not None and before[0] == number
        return self.parts[number].find(before[1] if is_same else None, after)

    def fraction(self, cursor: Any) -> float | None:
        """See `Enumerator`."""
        number, inner = (0, None) if cursor is None else cursor
        return (number + (self.parts[number].fraction(inner) or 0.0)) / len(self.parts)

    def split(self, number: int) -> list[Enumerator]:
        """See `Enumerator`."""
        if not self.parts:
            return [self]
        each = -(-number // len(self.parts))
        found = [part for whole in self.parts for part in whole.split(each)]
        size = -(-len(found) // number)
        groups = [found[start : start + size] for start in range(0, len(found), size)]
        return [group[0] if len(group) == 1 else Chained(group) for group in groups]


def _storable(items: Sequence[Any]) -> list[Any]:
    what = "an item of the source of a Sweep"
    return [referring.storable_form(item, what) for item in items]


#: What makes an enumerator of something, by a function that tells whether it can.
_KINDS: list[tuple[Callable[[Any], bool], Callable[[Any], Enumerator]]] = [
    (lambda source: isinstance(source, Enumerator), lambda source: source),
    (lambda source: isinstance(source, Blob | Attachment), Csv),
    (ISetMutable.providedBy, Keys),
    (IDictionaryIsh.providedBy, Values),
]


def enumerator_of(source: Any) -> Enumerator:
    """What goes through `source`; BadArgument for what nothing can go through."""
    own = getattr(type(source), "_as_enumerator", None)
    if own is not None:
        found: Enumerator = own(source)
        return found
    for can, make in _KINDS:
        if can(source):
            return make(source)
    if isinstance(source, Sequence):
        if isinstance(source, str | bytes):
            raise BadArgument(f"a Sweep goes through the items of a list, not of {source!r}")
        return Stored(source if isinstance(source, Persistent) else _storable(source))
    raise BadArgument(
        f"a Sweep can't go through {type(source).__name__}; give a BTree, a TreeSet, a list, a "
        "CSV blob, or an enumerator of your own (zodbjobs.sweep.Enumerator)"
    )
