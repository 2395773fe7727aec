"""Location: the container that a job is in.

A job container is named by its object id, and not referred to: an export or a copy of an object
that holds a job would take all jobs of the container along.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ZODB.POSException import ConnectionStateError, POSKeyError

from zodbjobs.interfaces import IJobContainer

if TYPE_CHECKING:
    from zodbjobs.stored.job import Job

#: The object id of a job container, and its database if that isn't the job's own.
ContainerName = tuple[bytes] | tuple[bytes, str]


def name_of(container: Any, job: Job) -> ContainerName | None:
    """How `job` names a container; None if that is referred to, for it is no job container, or
    isn't stored yet.
    """
    jar = getattr(container, "_p_jar", None)
    if jar is None or not _is_job_container(container):
        return None
    oid: bytes = container._p_oid
    if job._p_jar is None or job._p_jar.db() is jar.db():
        return (oid,)
    return oid, jar.db().database_name


def container_of(job: Job) -> Any:
    """The job container that `job` names, if it has the job; None for a copy of the job."""
    connection, name = job._p_jar, job._container
    try:
        # Without a connection it was put there in this transaction, and not stored yet.
        container: Any = _find(connection, name) if connection and name else job._v_container
        has_it = _is_job_container(container) and container.get(job.__name__) is job
    except POSKeyError:  # the container was removed, and the database packed
        return None
    except ConnectionStateError:  # the addition was aborted, and the connection closed
        if connection is not None:
            raise
        return None
    return container if has_it else None


def _is_job_container(found: Any) -> bool:
    # By its class: to ask the object would load it, and another database has another one there.
    return bool(IJobContainer.implementedBy(type(found)))


def _find(connection: Any, name: ContainerName) -> Any:
    oid, *database = name
    if not database:
        return connection.get(oid)
    if database[0] not in connection.db().databases:
        return None
    return connection.get_connection(database[0]).get(oid)
