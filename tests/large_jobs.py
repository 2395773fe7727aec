"""What large jobs of the tests do: in steps by hand, or as sweeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sample
from persistent import Persistent

from zodbjobs import local


def nothing(number: int) -> None:
    pass


#: Called in a job before something is committed, with the number of the item; a test sets it.
before: Callable[[int], object] = nothing

#: What jobs have met.
met: list[Any] = []


def in_steps(*accounts: sample.Account) -> str:
    """Deposit 1 in each account, with a checkpoint after each."""
    for number in range(local.cursor(0), len(accounts)):
        accounts[number].deposit(1)
        local.set_progress(100 * number / len(accounts), f"account {number}")
        before(number)
        local.checkpoint(number + 1)
    return "done"


def in_steps_whatever(*accounts: sample.Account) -> str:
    """The same, but it doesn't let errors pass."""
    try:
        return in_steps(*accounts)
    except Exception as error:
        met.append(type(error).__name__)
        return "gone on"


def in_steps_or_worse(*accounts: sample.Account) -> str:
    """The same, but it makes its own of them."""
    try:
        return in_steps(*accounts)
    except Exception as error:
        met.append(type(error).__name__)
        raise KeyError("something else") from error


class Item(Persistent):
    """Something that is swept."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.count = 0


#: The numbers of items of which the call raises.
bad: set[int] = set()


def touch(item: Item, amount: int = 1) -> None:
    """Count how often it was done."""
    item.count += amount
    before(item.number)
    if item.number in bad:
        raise ValueError(f"item {item.number} is bad")


def read(item: Item) -> None:
    """Write nothing."""
    met.append(item.number)


def take_out(pair: tuple[int, Item], tree: Any) -> None:
    """Take the item out of the tree."""
    del tree[pair[0]]
