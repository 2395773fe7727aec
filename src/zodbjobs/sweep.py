"""What a `zodbjobs.Sweep` goes through: ``Sweep(tree, each)`` finds an enumerator by itself.

Here are those to choose from, and the base for others. The cursors of a BTree and a TreeSet are
their keys: what is added or removed after the cursor meanwhile is seen, what is before it isn't.
Those of a sequence are numbers: what is inserted or removed before the cursor moves the rest.
"""

from __future__ import annotations

from typing import Any

from zodbjobs.errors import BadArgument
from zodbjobs.stored.enumerators import (
    Chained,
    Csv,
    Enumerator,
    Items,
    Keys,
    Values,
    enumerator_of,
)


def keys(tree: Any) -> Enumerator:
    """The keys of a BTree in their order, or what is in a TreeSet."""
    return Keys(_checked(tree, "keys"))


def values(tree: Any) -> Enumerator:
    """The values of a BTree in the order of their keys, as for the tree itself."""
    return Values(_checked(tree, "values"))


def items(tree: Any) -> Enumerator:
    """Pairs of key and value of a BTree, in the order of the keys."""
    return Items(_checked(tree, "items"))


def _checked(tree: Any, method: str) -> Any:
    if not isinstance(enumerator_of(tree), Keys | Values) or not hasattr(tree, method):
        raise BadArgument(f"a BTree is wanted, not {type(tree).__name__}")
    return tree


def chain(*sources: Any) -> Enumerator:
    """The items of several sources, one source after the other."""
    return Chained([enumerator_of(source) for source in sources])


__all__ = ["Csv", "Enumerator", "chain", "items", "keys", "values"]
