"""What large jobs of the tests do: in steps by hand, or as sweeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sample

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
