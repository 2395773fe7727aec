"""A web process with worker.zcml: runs a job, puts another one, and ends.

The argument is a database on a file.
"""

from __future__ import annotations

import sys

import transaction
import ZODB
import ZODB.FileStorage
from zope.configuration import xmlconfig
from zope.event import notify
from zope.processlifetime import DatabaseOpened, DatabaseOpenedWithRoot

import zodbjobs

for name in ("configure.zcml", "single.zcml", "worker.zcml"):
    xmlconfig.file(name, zodbjobs)
db = ZODB.DB(ZODB.FileStorage.FileStorage(sys.argv[1]))
notify(DatabaseOpened(db))
notify(DatabaseOpenedWithRoot(db))
queue = zodbjobs.get_queue(db.open())
job = queue.put(zodbjobs.Job(len, "one"))
transaction.commit()
zodbjobs.testing.wait_for(job, timeout=60)
queue.put(zodbjobs.Job(len, "last"))
transaction.commit()
