"""Puts through a job manager, in a process of its own: producer_process.py CONFIGURATION NUMBER.

Prints how many of its commits conflicted.
"""

from __future__ import annotations

import sys

import bench_jobs
import transaction
import ZODB.config
from ZODB.POSException import ConflictError

import zodbjobs


def main() -> None:
    """Put as fast as it goes, one job a commit, once all others are ready as well."""
    db = ZODB.config.databaseFromString(sys.argv[1])
    connection = db.open()
    root = connection.root()
    manager = zodbjobs.JobManager()
    print("ready", flush=True)
    sys.stdin.readline()
    conflicts = 0
    for _ in range(int(sys.argv[2])):
        while True:
            try:
                manager.put(zodbjobs.Job(bench_jobs.nothing), site=root)
                transaction.commit()
                break
            except ConflictError:
                transaction.abort()
                conflicts += 1
    print(conflicts)
    connection.close()
    db.close()


if __name__ == "__main__":
    main()
