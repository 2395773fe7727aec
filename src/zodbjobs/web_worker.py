"""A worker inside the web process; ``worker.zcml`` subscribes it.

For sites on a FileStorage, which one process holds, and for those too small for a worker
of their own. Jobs share the interpreter with the requests.

It ends with the process: what runs is let finish, the rest goes back to the queue. So it does
when the interpreter exits in order, and when SIGTERM or SIGINT comes, if this was started in the
main thread: the worker stops first, while the server serves on, and the signal does its own work
then. A second signal doesn't wait. Where the process is killed nothing is lost either: the next
worker takes the jobs over. Threads don't survive a fork, so servers that fork must open the
database afterwards.
"""

from __future__ import annotations

import atexit
import logging
import os
from typing import Any

from zope.component import getGlobalSiteManager
from zope.processlifetime import DatabaseOpened, IDatabaseOpened, IDatabaseOpenedWithRoot

from zodbjobs import defaults
from zodbjobs.errors import BadArgument
from zodbjobs.interfaces import IInstaller
from zodbjobs.runtime.signals import StopFirst
from zodbjobs.runtime.worker import Worker

log = logging.getLogger("zodbjobs")

#: The environment variable with the number of threads.
THREADS_VARIABLE = "ZODBJOBS_THREADS"

_workers: dict[Any, Worker] = {}

_signals: StopFirst | None = None


def start_worker(event: Any) -> None:
    """Start a worker for ``event.database``, unless this process has one already.

    The installers that subscribe to the database-opened event have done their work then.
    Raises what they raise, BadArgument if ZODBJOBS_THREADS is no number, and NotInstalled
    if there are no queues and no installer makes them.
    """
    global _signals
    db = event.database
    threads = _threads()
    if db in _workers or threads == 0:
        return
    _run_installers(db)
    worker = Worker(db, threads=threads)
    worker.start()
    _workers[db] = worker
    if _signals is None:
        _signals = StopFirst(_stop_workers)
        _signals.install()
        atexit.register(_stop_at_exit)


def stop_worker(db: Any, seconds: float | None = None) -> None:
    """Stop this process's worker for `db`, if there is one; call it before closing `db`.

    `seconds` is how long to wait for running jobs, as in Worker.stop.
    """
    global _signals
    worker = _workers.pop(db, None)
    if worker is not None:
        worker.stop(seconds)
    if not _workers and _signals is not None:
        atexit.unregister(_stop_at_exit)
        _signals.remove()
        _signals = None


def _stop_workers() -> None:
    """Stop all workers of the process before a signal ends it."""
    log.info("the workers of this process stop before it ends")
    for worker in list(_workers.values()):
        worker.stop()


def _stop_at_exit() -> None:
    again = _signals is not None and _signals.again
    for worker in list(_workers.values()):
        worker.stop(0 if again else None)


def _run_installers(db: Any) -> None:
    # Of two subscribers either may be called first, and the event with the root may be
    # sent by a subscriber of the other one. Installers may run any number of times.
    adapters = getGlobalSiteManager().adapters
    for event in (IDatabaseOpened, IDatabaseOpenedWithRoot):
        for handler in adapters.subscriptions([event], None):
            if IInstaller.providedBy(handler):
                handler(DatabaseOpened(db))


def _threads() -> int:
    text = os.environ.get(THREADS_VARIABLE, "").strip() or str(defaults.THREADS)
    if not text.isdecimal():
        raise BadArgument(f"{THREADS_VARIABLE} is how many threads to start, not {text!r}")
    return int(text)
