"""A worker that claims and runs nothing: claiming_process.py CONFIGURATION NUMBER; to be killed.

Says how many jobs it has claimed.
"""

from __future__ import annotations

import sys

import ZODB.config

from zodbjobs import clock
from zodbjobs.runtime.registration import Registration
from zodbjobs.stored.agents import Agent
from zodbjobs.stored.lifecycle.claim import claim


def main() -> None:
    """Claim, and wait for the end."""
    db = ZODB.config.databaseFromString(sys.argv[1])
    registration = Registration(db, [Agent.of_all(None, 4)])
    session = registration.session
    claimed = 0
    while claimed < int(sys.argv[2]):
        with registration.manager:
            for queue in session.queues():
                room = int(sys.argv[2]) - claimed
                now = clock.now()
                claimed += len(claim(queue, session.record, room, now, queue.shards))
    print(claimed, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
