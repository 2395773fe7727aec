"""What large jobs of the tests do: in steps by hand, or as sweeps."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from datetime import timedelta
from pathlib import Path
from typing import Any

import sample
import together_jobs
import transaction
from persistent import Persistent
from ZODB.POSException import ConflictError

import zodbjobs
from zodbjobs import defaults, local
from zodbjobs.errors import Snooze
from zodbjobs.runtime.accidents import Died
from zodbjobs.sweep import Enumerator


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


def take_out(pair: tuple[int, Item], tree: Any) -> None:
    """Take the item out of the tree."""
    del tree[pair[0]]


def note(item: Any) -> None:
    """Write nothing."""
    met.append(item)
    before(0)


def refuse_seven(row: dict[str, str]) -> None:
    before(0)
    assert row["n"] != "7"


def seconds_to_rest() -> float | None:
    met.append("rests")
    return 0.001 if len(met) % 2 else None


class Downwards(Enumerator):
    """The values of a tree, the last one first."""

    def __init__(self, tree: Any) -> None:
        self.tree = tree

    def items(self, cursor: Any) -> Iterator[tuple[Any, Any]]:
        keys = self.tree.keys() if cursor is None else self.tree.keys(None, cursor, False, True)
        for key in reversed(list(keys)):
            yield key, self.tree[key]


class Broken(Downwards):
    """It has a fault."""

    def items(self, cursor: Any) -> Iterator[tuple[Any, Any]]:
        yield 1, self.tree[1 // 0]


def touch_and_tell(item: Item, number: int, path: str) -> None:
    """Count how often it was done; that of that number makes a file."""
    item.count += 1
    if item.number == number:
        Path(path).touch()


def tree_in_steps(tree: Any) -> None:
    """Count each item, with a checkpoint after each."""
    for key in tree.keys(local.cursor(), None, local.cursor() is not None):
        tree[key].count += 1
        local.checkpoint(key)


async def touch_later(item: Item) -> None:
    item.count += 1


def collect(item: Item, found: list[int]) -> None:
    """Raise for a bad one, and note how many of the first four there were by then."""
    if item.number >= 4:
        return
    found.append(item.number)
    met.append(len(found))
    if item.number in bad:
        raise ValueError(f"item {item.number} is bad")


def spoil(item: Item) -> None:
    touch(item)
    if item.number == 53:
        item.extra = sample.Unpicklable()  # type: ignore[attr-defined]


def exit_when_stored(item: Item) -> None:
    touch(item)
    if item.number == 53:
        item.extra = together_jobs.Exits()  # type: ignore[attr-defined]


def snooze_once(item: Item) -> None:
    touch(item)
    if item.number == 50 and not met:
        met.append("snoozes")
        raise Snooze(timedelta(seconds=60))


def checkpoint(item: Item) -> None:
    local.checkpoint(1)


#: In which place a job runs.
where: ContextVar[Any] = ContextVar("where", default=None)


@contextlib.contextmanager
def in_a_place(value: str) -> Iterator[None]:
    met.append("entered")
    token = where.set(value)
    try:
        yield
    finally:
        where.reset(token)
        met.append("left")


def note_where(item: Item) -> None:
    touch(item)
    met.append(where.get())


def look_at_cache(item: Item) -> None:
    """Note how many objects the connection has loaded."""
    assert item.count == 0
    met.append(item._p_jar._cache.cache_non_ghost_count)


def change_beside(item: Item) -> None:
    """One item is changed through a connection of its own, in the job's transaction."""
    touch(item)
    if item.number == 53:
        beside = item._p_jar.db().open(item._p_jar.transaction_manager)
        beside.root()["beside"] = 1


def abort_at_fifty(item: Item) -> None:
    """One item ends the transaction of all."""
    touch(item)
    if item.number == 50:
        transaction.abort()


def conflict(item: Item) -> None:
    """Conflict as often as there is something in `met`."""
    touch(item)
    if met:
        met.pop()
        raise ConflictError("again")


class ConflictsAtFirst(zodbjobs.Sweep):
    """One whose first attempts conflict before anything is done, and its first batches then."""

    def set_up(self) -> None:
        if len(met) > defaults.CONFLICTS_TOGETHER:
            met.pop()
            raise ConflictError("again")

    def tear_down(self, value: object) -> None:
        pass


class TearsDown(zodbjobs.Job):
    """It tries to commit what it does when it is torn down."""

    def set_up(self) -> None:
        pass

    def tear_down(self, value: object) -> None:
        self._args[0].deposit(100)
        try:
            local.checkpoint(1)
        except Exception as error:
            met.append(str(error))


def deposit_and_fail(account: sample.Account) -> None:
    account.deposit(1)
    raise ValueError("it fails")


class Unsteady(Downwards):
    """It always conflicts, half the way down."""

    def items(self, cursor: Any) -> Iterator[tuple[Any, Any]]:
        for key, item in super().items(cursor):
            if key < 50:
                raise ConflictError("again")
            yield key, item


class Nameless(Downwards):
    """Its cursors can't be stored."""

    def items(self, cursor: Any) -> Iterator[tuple[Any, Any]]:
        for _, item in super().items(None):
            tick()
            yield (lambda: 0), item


class Refusing:
    """It lets no commit pass."""

    transaction_manager = transaction.manager

    def abort(self, txn: object) -> None:
        pass

    tpc_begin = commit = tpc_finish = tpc_abort = abort

    def tpc_vote(self, txn: object) -> None:
        raise OSError("never")

    def sortKey(self) -> str:
        return "~"


def refuse(item: Item) -> None:
    tick()
    touch(item)
    transaction.get().join(Refusing())


def tick() -> None:
    """Be as if killed, where it goes on for ever."""
    met.append("tick")
    if len(met) > 2_000:
        raise Died


class OneByOne(Persistent, Sequence[Any]):
    """A sequence without slices."""

    def __init__(self, items: list[Any]) -> None:
        self.inner = items

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, number: Any) -> Any:
        return self.inner[operator.index(number)]


class Wrapped:
    """An item with a wrapper around it, which can't be stored."""

    def __init__(self, item: Item) -> None:
        self.item = item

    def __repr__(self) -> str:
        return f"<wrapped {self.item.number}>"


def touch_wrapped(wrapped: Wrapped) -> None:
    touch(wrapped.item)


class Placed:
    """An item in its place."""

    def __init__(self, item: Item, place: str) -> None:
        self.item = item
        self.place = place


def is_placed(one: object) -> bool:
    return isinstance(one, Placed)


def touch_it(one: Placed) -> None:
    touch(one.item)
    met.append(one.place)


def collect_it(one: Placed, found: list[int]) -> None:
    """Note how many there were by then."""
    found.append(one.item.number)
    met.append(len(found))
    before(one.item.number)


def look_at_source(item: Item) -> None:
    """Note which list it is that is gone through, seldom: to look at it keeps it loaded."""
    assert item.count == 0
    if item.number in (0, 1_400):
        met.append(local.get_job()._source.enumerator.sequence)  # type: ignore[attr-defined]


def note_options(item: Item) -> None:
    job = local.get_job()
    met.append((job.priority, job.timeout, job.retry_policy.times, job.owner, job.realm))
