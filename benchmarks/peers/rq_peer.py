"""RQ: jobs in Redis, one at a time. Results are kept in Redis for 500 seconds.

`SimpleWorker` runs them in its own process; the default worker forks one for each job, which
is slower. All done: all jobs are in the registry of the finished ones.
"""

from __future__ import annotations

import functools

import peer
from redis import Redis
from rq import Queue
from rq.registry import FinishedJobRegistry

WORKER = "rq.SimpleWorker"


def nothing() -> int:
    """The job."""
    return 1


class OnRQ(peer.Peer):
    """Jobs in Redis."""

    @functools.cached_property
    def queue(self) -> Queue:
        """The default queue."""
        return Queue(connection=Redis.from_url(peer.AT))

    def fill(self, number: int) -> None:
        """1,000 in a pipeline."""
        job = Queue.prepare_data("rq_peer.nothing")
        for start in range(0, number, 1000):
            self.queue.enqueue_many([job] * min(1000, number - start))

    def put(self, number: int) -> None:
        """One after the other."""
        for _ in range(number):
            self.queue.enqueue("rq_peer.nothing")

    def worker(self) -> list[str]:
        """RQ's own."""
        return [peer.script("rq"), "worker", "-q", "-u", peer.AT, "-w", WORKER]

    def done(self, number: int) -> int:
        """Finished."""
        return FinishedJobRegistry(queue=self.queue).get_job_count(cleanup=False)


PEER = OnRQ()
