"""Makes the queues and the job container of a database; safe to call at every start.

The installers are subscribers for the database-opened event of ``zope.processlifetime``.
Each works in a transaction of its own and closes its connection, whatever happens.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

import transaction
from zope.component import adapter
from zope.event import notify
from zope.interface import implementer
from zope.lifecycleevent import ObjectAddedEvent
from zope.processlifetime import IDatabaseOpened

from zodbjobs import defaults
from zodbjobs.interfaces import IInstaller, IQueueInstaller
from zodbjobs.stored.container import JobContainer
from zodbjobs.stored.lifecycle import declaring
from zodbjobs.stored.queues import Queues
from zodbjobs.stored.schedule import Schedule

log = logging.getLogger("zodbjobs")


class _Installer:
    """Puts what `_make` gives into the root of a database, unless it is there.

    `db_name`: keep it in the database of that name, one of the same multi-database
    family, with a reference from the root of the one that was opened.
    """

    _key: str
    _make: Callable[[], Any]

    def __init__(self, db_name: str | None = None) -> None:
        self.db_name = db_name
        # Also an instance may subscribe from ZCML without naming the event.
        adapter(IDatabaseOpened)(self)

    def __call__(self, event: Any) -> None:
        """Install into ``event.database``; commits. Raises what the database raises."""
        self.install(event.database)

    def install(self, db: Any) -> bool:
        """Install into `db`; commits. Returns whether there was anything to do."""
        manager = transaction.TransactionManager()
        connection = db.open(transaction_manager=manager)
        try:
            for attempt in manager.attempts(3):
                with attempt:
                    added = self._install(connection)
        finally:
            manager.abort()
            connection.close()
        if added:
            log.info("added %r to the root of the database", self._key)
        return added

    def _install(self, connection: Any) -> bool:
        root = connection.root()
        if self._key in root:
            return False
        made = type(self)._make()
        if self.db_name is not None:
            other = connection.get_connection(self.db_name)
            other.add(made)
            other.root()[self._key] = made
        root[self._key] = made
        self._added(made, root)
        return True

    def _added(self, made: Any, root: Any) -> None:
        notify(ObjectAddedEvent(made, root, self._key))


@implementer(IInstaller)
class JobContainerInstaller(_Installer):
    """Installs a JobContainer."""

    _key = defaults.CONTAINER_KEY
    _make = JobContainer


@implementer(IQueueInstaller)
class QueueInstaller(_Installer):
    """Installs the queues, with the default queue among them.

    `schedules`: a list of Schedule that the application's code declares. Each worker that this
    process starts afterwards for the database that was opened declares them with its own; see
    Worker. Raises TypeError for what isn't such a list, and BadArgument for a name that is there
    twice.
    """

    _key = defaults.QUEUES_KEY
    _make = Queues

    def __init__(self, db_name: str | None = None, schedules: Iterable[Schedule] = ()) -> None:
        super().__init__(db_name)
        self.schedules = declaring.checked(schedules)

    def __call__(self, event: Any) -> None:
        """Bring the schedules for the workers of ``event.database``, and install into it; commits.

        Raises what the database raises, and BadArgument if another installer has brought another
        schedule of the same name.
        """
        declaring.bring(event.database, self.schedules)
        super().__call__(event)

    def _added(self, made: Any, root: Any) -> None:
        queue = made.create(defaults.QUEUE_NAME)
        super()._added(made, root)
        notify(ObjectAddedEvent(queue, made, defaults.QUEUE_NAME))


#: Installs the job container in the database that was opened.
job_container_installer = JobContainerInstaller()

#: Installs the job container in the database named ``async`` of the same family.
multidb_job_container_installer = JobContainerInstaller(db_name="async")

#: Installs the queues in the database that was opened.
queue_installer = QueueInstaller()

#: Installs the queues in the database named ``async`` of the same family.
multidb_queue_installer = QueueInstaller(db_name="async")


def install(db: Any, db_name: str | None = None) -> None:
    """Make the default queue and the job container in `db`, unless they are there.

    `db_name`: keep them in that database of the same family. Commits, in transactions of
    its own. Raises ReadOnlyError on a read-only storage, KeyError for an unknown `db_name`.
    """
    QueueInstaller(db_name).install(db)
    JobContainerInstaller(db_name).install(db)
