"""The jobs of somebody, about an object, or of a site."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from zope.component.hooks import getSite

from zodbjobs import defaults
from zodbjobs.errors import BadArgument
from zodbjobs.stored.job import Job
from zodbjobs.stored.lifecycle import keys, labels, listing
from zodbjobs.stored.lifecycle.root import connection_of, get_queues
from zodbjobs.stored.queues import Queues


def jobs_of(owner: str, place: Any = None) -> Iterator[Job]:
    """The jobs of a principal, given by its id, the newest put first.

    Those of all queues of the database of `place`, a connection or a stored object, by default the
    current site. It reads on as it is asked, in the caller's transaction, and jobs may be removed
    or forgotten meanwhile. Jobs are there from their put until they are taken out, forgotten or
    pruned; one that can't be loaded in this process is a broken object. Raises BadArgument for an
    owner that can't be, LookupError without a place, NotInstalled.
    """
    return _newest([_queues(place)], listing.name_of_owner(_text("owner", owner)))


def jobs_in(realm: str, place: Any = None) -> Iterator[Job]:
    """The jobs of a realm, as `jobs_of`."""
    return _newest([_queues(place)], listing.name_of_realm(_text("realm", realm)))


def jobs_about(obj: Any, place: Any = None) -> Iterator[Job]:
    """The jobs that are about a stored object, as `jobs_of`.

    By default those of its own database, and of all others that are open together with it and have
    queues. Raises BadArgument for what isn't stored.
    """
    name = listing.name_of_about(labels.name_of(obj))
    if place is not None:
        return _newest([get_queues(place)], name)
    connection = connection_of(obj)
    there = [connection.get_connection(database) for database in connection.db().databases]
    found = [each.root().get(defaults.QUEUES_KEY) for each in there]
    # The roots of two databases may have the queues of one of them.
    chosen = {id(queues): queues for queues in found if queues is not None}
    return _newest(list(chosen.values()) or [_queues(obj)], name)


def _newest(queues: list[Queues], name: str) -> Iterator[Job]:
    return (job for _, job in listing.newest(queues, name, 0, keys.LAST_MICROS))


def _queues(place: Any) -> Queues:
    if place is None:
        place = getSite()
    if place is None:
        raise LookupError(
            "there is no current site; give a connection or a stored object as `place`"
        )
    return get_queues(place)


def _text(what: str, value: Any) -> str:
    checked = labels.checked_text(what, value)
    if checked is None:
        raise BadArgument(f"whose jobs? The {what} is a str, not None")
    return checked
