"""From any stored object, or its connection, to the queues of its database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zodbjobs import defaults
from zodbjobs.errors import NotInstalled, NotStored

if TYPE_CHECKING:
    from zodbjobs.stored.queue import Queue
    from zodbjobs.stored.queues import Queues
    from zodbjobs.stored.shard import Shard

#: How a job names its shard: its queue, its number there, and its database if that isn't the
#: job's own.
ShardName = tuple[str, int] | tuple[str, int, str]


def connection_of(place: Any) -> Any:
    """The connection of a stored persistent object; a connection itself is returned.

    Raises NotStored for anything else.
    """
    jar = getattr(place, "_p_jar", None)
    if jar is not None:
        return jar
    if hasattr(place, "root") and hasattr(place, "transaction_manager"):
        return place
    raise NotStored(
        f"{place!r} isn't stored in a database; give a connection, or an object that was "
        "added to one"
    )


def get_queues(place: Any) -> Queues:
    """The queues (IQueues) of the database of `place`, a connection or a stored object.

    Raises NotStored, or NotInstalled if the database has no queues yet.
    """
    connection = connection_of(place)
    queues: Queues | None = connection.root().get(defaults.QUEUES_KEY)
    if queues is None:
        raise NotInstalled(
            f"the database {connection.db().database_name!r} has no queues yet; "
            "make them once with zodbjobs.install(db)"
        )
    return queues


def get_queue(place: Any, name: str = defaults.QUEUE_NAME) -> Queue:
    """The queue `name` of the database of `place`, a connection or a stored object.

    Raises NotStored, NotInstalled, or UnknownQueue.
    """
    return get_queues(place)[name]


def get_secret(place: Any) -> bytes:
    """What the pages of the database of `place` sign their tokens with: 32 bytes, never shown.

    Raises as `get_queues`.
    """
    secret: bytes = get_queues(place)._secret
    return secret


def find_shard(connection: Any, name: ShardName) -> Shard | None:
    """The shard that a job of `connection` names; None if there is none of that name."""
    queue_name, index, *database = name
    if database:
        if database[0] not in connection.db().databases:
            return None
        connection = connection.get_connection(database[0])
    queues: Queues | None = connection.root().get(defaults.QUEUES_KEY)
    queue = None if queues is None else queues.get(queue_name)
    if queue is None or index >= len(queue.shards):
        return None
    return queue.shards[index]
