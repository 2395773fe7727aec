"""The jobs that are about one stored object."""

from __future__ import annotations

from typing import Any

from persistent import Persistent
from ZODB.POSException import POSKeyError
from ZODB.utils import p64

from zodbjobs.stored.lifecycle import labels, listing
from zodbjobs.stored.lifecycle.unreadable import why_unreadable
from zodbjobs.web.responses import Response
from zodbjobs.web.rights import may_object
from zodbjobs.web.rows import JobRows, page_of
from zodbjobs.web.visit import NotFound, Visit


def about(visit: Visit) -> Response:
    """The jobs about an object that who asks may view. There is nothing here for who may view
    none of them, and has no permission on the object.
    """
    database, oid = visit.parts["database"], visit.parts["oid"]
    found = _find(visit.connection, database, oid)
    if found is None:
        raise NotFound
    is_permitted = may_object(visit.rights, "view", found) or visit.may("view")
    if is_permitted or visit.may_in_realm("view"):
        shown = page_of(
            visit, listing.name_of_about(labels.name_of(found)), "about", database, oid
        )
    else:
        shown = _own(visit, found, database, oid)
    if not shown.rows and not is_permitted:
        raise NotFound
    return visit.page("about", visit.t("Jobs about one object"), (oid, shown), live=shown.live)


def _own(visit: Visit, found: Any, database: str, oid: str) -> JobRows:
    """One's own of them, looked for among one's own: where the list goes on, and the time that
    it takes, would tell how many others there are.
    """
    name, principal = labels.name_of(found), visit.rights.principal
    assert principal is not None  # the route needs a name
    return page_of(
        visit,
        listing.name_of_owner(principal),
        "about",
        database,
        oid,
        is_wanted=lambda job: labels.about_of(job) == name,
    )


def _find(connection: Any, database: str, oid: str) -> Any:
    """The object of that id in a database of this process; None if there is none, or if it can't
    be loaded here.
    """
    if database not in connection.db().databases:
        return None
    try:
        found = connection.get_connection(database).get(p64(int(oid)))
        if not isinstance(found, Persistent):
            return None
        found._p_activate()
    except POSKeyError:
        return None
    except (Exception, SystemExit) as error:
        if why_unreadable(error) is None:
            raise
        return None
    return found
