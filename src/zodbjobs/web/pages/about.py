"""The jobs that are about one stored object."""

from __future__ import annotations

from typing import Any

from persistent import Persistent
from ZODB.POSException import POSKeyError
from ZODB.utils import p64

import zodbjobs
from zodbjobs.web.responses import Response
from zodbjobs.web.rights import may_object
from zodbjobs.web.rows import page_of
from zodbjobs.web.visit import NotFound, Visit

# Jobs that one page looks at for those that who asks may view.
_MOST_LOOKED_AT = 500


def about(visit: Visit) -> Response:
    """The jobs about an object that who asks may view. There is nothing here for who may view
    none of them, and has no permission on the object.
    """
    database, oid = visit.parts["database"], visit.parts["oid"]
    found = _find(visit.connection, database, oid)
    if found is None:
        raise NotFound
    jobs = zodbjobs.jobs_about(found)
    shown = page_of(visit, jobs, _MOST_LOOKED_AT, "about", database, oid)
    is_permitted = may_object(visit.rights, "view", found) or visit.may("view")
    if not shown.rows and not is_permitted:
        raise NotFound
    return visit.page("about", visit.t("Jobs about one object"), (oid, shown), live=shown.live)


def _find(connection: Any, database: str, oid: str) -> Any:
    """The object of that id in a database of this process; None if there is none."""
    if database not in connection.db().databases:
        return None
    try:
        found = connection.get_connection(database).get(p64(int(oid)))
    except POSKeyError:
        return None
    return found if isinstance(found, Persistent) else None
