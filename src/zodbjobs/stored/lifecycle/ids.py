"""Ids: that of a job that is dropped is given to no other object."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ZODB.utils import u64

from zodbjobs.stored.id_keeper import IdKeeper

if TYPE_CHECKING:
    from zodbjobs.stored.job import Job
    from zodbjobs.stored.shard import Shard

# One would do; to replace it each time would make two who drop jobs conflict.
_MOST_KEEPERS = 16


def keep_ids(shard: Shard, jobs: Iterable[Job]) -> None:
    """See to it that no new object gets the object id of one of `jobs`, which are dropped.

    The id of a job that another database has is counted there, and may be far ahead. Joins the
    transaction of the shard's connection.
    """
    keepers, jar = shard.id_keepers, shard._p_jar
    oid = max((job._p_oid or b"" for job in jobs if job._p_jar is jar), default=b"")
    if jar is None or not oid or (keepers and keepers.maxKey() > u64(oid)):
        return
    while jar.new_oid() < oid:  # another client of a server may be far ahead
        pass
    keeper = IdKeeper()
    jar.add(keeper)
    if len(keepers) >= _MOST_KEEPERS:
        keepers.clear()
    keepers[u64(keeper._p_oid)] = keeper
