"""A web process with worker.zcml, on waitress: it puts a job that takes a while, and serves.

The argument is a database on a file. The job writes "begun" to stdout, where the log goes too,
and ends when there is a file "go on" beside the database.
"""

from __future__ import annotations

import logging
import signal
import sys
import time
from pathlib import Path

import transaction
import waitress
import ZODB
import ZODB.FileStorage
from zope.configuration import xmlconfig
from zope.event import notify
from zope.processlifetime import DatabaseOpenedWithRoot

import zodbjobs


def wait(path: str) -> str:
    print("begun", flush=True)
    while not (Path(path).parent / "go on").exists():
        time.sleep(0.01)
    return "done"


def app(environ: object, start_response: object) -> list[bytes]:
    return []


if __name__ == "__main__":
    from web_server import wait  # by a name under which a worker finds it

    path = Path(sys.argv[1])
    # As in a terminal: a shell lets what it runs in the background ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    for name in ("configure.zcml", "single.zcml", "worker.zcml"):
        xmlconfig.file(name, zodbjobs)
    db = ZODB.DB(ZODB.FileStorage.FileStorage(str(path)))
    notify(DatabaseOpenedWithRoot(db))
    connection = db.open()
    zodbjobs.get_queue(connection).put(zodbjobs.Job(wait, str(path)))
    transaction.commit()
    connection.close()
    waitress.serve(app, listen="127.0.0.1:0")
    db.close()  # at once, as servers do
