"""From any stored object, or its connection, to the queues of its database."""

from __future__ import annotations

from typing import Any

from zodbjobs import defaults
from zodbjobs.errors import NotInstalled, NotStored
from zodbjobs.stored.queue import Queue, Queues


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
    queues = connection.root().get(defaults.QUEUES_KEY)
    if queues is None:
        raise NotInstalled(
            f"the database {connection.db().database_name!r} has no queues yet; "
            "make them once with zodbjobs.install(db)"
        )
    assert isinstance(queues, Queues)
    return queues


def get_queue(place: Any, name: str = defaults.QUEUE_NAME) -> Queue:
    """The queue `name` of the database of `place`, a connection or a stored object.

    Raises NotStored, NotInstalled, or UnknownQueue.
    """
    return get_queues(place)[name]
