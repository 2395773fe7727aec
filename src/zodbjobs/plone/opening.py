"""What is made as Plone starts."""

from __future__ import annotations

import logging
from typing import Any

from ZODB.POSException import ReadOnlyError

from zodbjobs import install

log = logging.getLogger("zodbjobs")

#: The database that has the queues if the process has one of that name.
ASYNC = "async"


def install_queues(event: Any) -> None:
    """Make the queues and the job container, unless they are there: in the database "async" if
    zope.conf has one, else in that of the application. Commits.
    """
    db = event.database
    try:
        install(db, ASYNC if ASYNC in db.databases else None)
    except ReadOnlyError:
        log.warning("there are no queues yet, and the database is open for reading only")
