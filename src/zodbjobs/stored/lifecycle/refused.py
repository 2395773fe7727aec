"""Refused: what the filters of agents have refused, and how a claim goes round it.

A shard has a tree for each set of filters that have refused the same jobs. So an agent with a
filter takes from `ready`, and from those trees whose jobs its filter hasn't refused, and nobody
looks at a job twice; an agent without one takes from all, in the order of their keys. Those with
quotas have trees of their own, for a claim has room for so many of them: with QUOTAS in the set.
So have those that were interrupted, for they go first, and few of them run together: INTERRUPTED.

What is refused by all expires in its time: the shard's index of deadlines has those that have one.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from BTrees.LOBTree import LOBTree
from BTrees.OOBTree import OOBTree

if TYPE_CHECKING:
    from zodbjobs.stored.job import Job
    from zodbjobs.stored.shard import Shard

from zodbjobs.stored.lifecycle import keys
from zodbjobs.stored.lifecycle.entries import deadline_for, entry_of, job_of

#: The names of the filters that have refused a job, sorted.
Names = tuple[str, ...]

#: Stand first among the names of filters for: these have quotas, or were interrupted. No filter
#: has such a name.
QUOTAS = ""
INTERRUPTED = "!"


class Filter(Protocol):
    """Chooses among jobs. `asked`: for how many it was asked in the claim that is made."""

    name: str
    asked: int

    def accepts(self, job: Job) -> bool:
        """Whether the job is taken."""


def _open(shard: Shard, chooser: Filter | None, with_quotas: bool) -> list[tuple[int, Names, Any]]:
    """The trees that aren't empty of jobs which are to be taken, or asked for: each with its first
    key, the first one first.
    """
    trees: list[tuple[Names, Any]] = [((), shard.ready)]
    if shard.refused is not None:
        trees += shard.refused.items()
    found = [
        (tree.minKey(), names, tree)
        for names, tree in trees
        if tree
        and (chooser is None or chooser.name not in names)
        and (with_quotas or QUOTAS not in names)
        and INTERRUPTED not in names
    ]
    return sorted(found, key=lambda each: each[0])


def interrupted(shard: Shard, chooser: Filter | None) -> Iterator[tuple[int, Any, Names, Any]]:
    """What was interrupted and the filter hasn't refused, the first one first: the key, the
    entry, the names of the filters that have refused it, and the tree; this may not be changed
    meanwhile.
    """
    trees: list[tuple[Names, Any]] = [((), shard.interrupted)]
    if shard.refused is not None:
        trees += [
            (names[1:], tree)
            for names, tree in shard.refused.items()
            if INTERRUPTED in names and (chooser is None or chooser.name not in names)
        ]

    def of(names: Names, tree: Any) -> Iterator[tuple[int, Any, Names, Any]]:
        return ((key, item, names, tree) for key, item in tree.items())

    return heapq.merge(*(of(*each) for each in trees), key=lambda each: each[0])


def first(shard: Shard, chooser: Filter | None, with_quotas: bool) -> int | None:
    """The smallest ready key of those that the filter hasn't refused, as Shard.first()."""
    if shard.refused is None:
        return shard.first(with_quotas)
    found = [key for key, _, _ in _open(shard, chooser, with_quotas)[:1]]
    if with_quotas and shard.admitted:
        found.append(shard.admitted.minKey())
    return min(found, default=None)


def take(
    shard: Shard, last: int, limit: int, chooser: Filter | None, with_quotas: bool
) -> list[tuple[int, Any, Names]]:
    """Take out up to `limit` ready jobs, or entries, with keys up to `last`, in order, other than
    those that the filter has refused; each with the names of those that have.

    One that has quotas is the last that is taken: there may be no room for another one.
    """
    taken: list[tuple[int, Any, Names]] = []
    while len(taken) < limit:
        found = _open(shard, chooser, with_quotas)
        if not found or found[0][0] > last:
            break
        _, names, tree = found[0]
        bound = min(last, found[1][0]) if len(found) > 1 else last
        if QUOTAS in names:
            key = tree.minKey()
            return [*taken, (key, tree.pop(key), names[1:])]
        if not names:
            run = shard.take(bound, limit - len(taken))
        else:
            run = list(islice(tree.items(None, bound), limit - len(taken)))
            for key, _ in run:
                del tree[key]
        taken += [(key, item, names) for key, item in run]
    return taken


def refuse(shard: Shard, key: int, item: Any, names: Names, chooser: Filter) -> None:
    """Put a job, or an entry, that was taken to those that the filter has refused as well."""
    if shard.refused is None:
        shard.refused = OOBTree()
    entry = entry_of(item)
    marks = (QUOTAS,) if entry.names else (INTERRUPTED,) if entry.times else ()
    all_names = (*marks, *sorted({*names, chooser.name}))
    tree = shard.refused.get(all_names)
    if tree is None:
        tree = shard.refused[all_names] = LOBTree()
    free = keys.free_key(tree, key)
    job = job_of(item)
    if not shard.rekey(job, key, free):
        return
    tree[free] = item
    deadline = None
    if entry.names:  # each time: it isn't always in such a tree, and may have been missed
        deadline = entry.deadline
    elif not names:
        deadline = deadline_for(job)
    if deadline is not None:
        shard.add_deadline(deadline, free, job)
