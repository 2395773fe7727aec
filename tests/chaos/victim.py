"""A process with a worker that is killed at a named point: victim.py DATABASE POINT."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

from storages import open_file
from ZODB.FileStorage import FileStorage

import zodbjobs
from zodbjobs.runtime.checkpoint import Checkpoints
from zodbjobs.runtime.committer import Committer
from zodbjobs.runtime.dispatcher import Dispatcher
from zodbjobs.runtime.worker import Worker
from zodbjobs.runtime.workload import Workload


def die(*args: Any, **kwargs: Any) -> None:
    """What kill -9 does."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def die_in(kind: type, name: str, when: Any) -> None:
    """Die when the method is called and `when` says so of its arguments."""
    method = getattr(kind, name)

    def dying(self: Any, *args: Any, **kwargs: Any) -> Any:
        if when(self, *args, **kwargs):
            die()
        return method(self, *args, **kwargs)

    setattr(kind, name, dying)


def many(items: Any) -> bool:
    """Not at the first ones, so that something is done before."""
    return len(items) > 3


def die_after_commit() -> None:
    """When several ends were committed together, by a runner or with the next claim."""
    die_in(Dispatcher, "report", lambda self, results, gone=(): len(results) > 1)
    die_in(Dispatcher, "_committed", lambda self, *args: many(self._unwritten))


def before_some(results: Any) -> bool:
    """Before a commit of several, or before some of those of one."""
    return len(results) > 1 or results[0].claim.key % 7 == 0


POINTS = {
    "after-claim": lambda: die_in(Workload, "hand_out", lambda self, claims: many(claims)),
    "before-commit": lambda: die_in(
        Committer, "commit", lambda self, results, **said: before_some(results)
    ),
    "in-commit": lambda: die_in(FileStorage, "_finish", lambda self, *args: jobs_began()),
    "after-commit": die_after_commit,
    "before-booking": lambda: die_in(
        Dispatcher, "_step", lambda self, *args: many(self._reported)
    ),
    "before-checkpoint": lambda: die_in(Committer, "checkpoint", lambda self, *args: jobs_began()),
    "after-checkpoint": lambda: die_in(Checkpoints, "go_on", lambda self, *args: jobs_began()),
    "in-a-job": lambda: None,  # the job does it
}


def jobs_began() -> bool:
    """Whether the worker has done more than to register."""
    return os.path.exists(sys.argv[1] + ".began")


def main() -> None:
    """Work until the end comes, or until there is nothing to do."""
    POINTS[sys.argv[2]]()
    db = open_file(sys.argv[1])
    with Worker(db, threads=2):
        connection = db.open()
        queue = zodbjobs.get_queue(connection)
        while len(queue) or any(len(w.lease) > 1 for w in queue.parent.workers.values()):
            time.sleep(0.01)
            connection.transaction_manager.begin()
        connection.close()
    db.close()


if __name__ == "__main__":
    main()
