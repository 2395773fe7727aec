"""How long what operators look at takes, with a million jobs in the history."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import bench_jobs
import transaction
from figures import Figure, Values, database

import zodbjobs
from zodbjobs import clock, insights
from zodbjobs.interfaces import FAILED, SUCCEEDED
from zodbjobs.stored.lifecycle import delivery, history, keys, listing

_BATCH = 10_000
_SPAN = 3_600_000_000 * 24 * 7  # microseconds in which they have ended: a week
_WORK = 500


def insights_million(number: int = 1_000_000, times: int = 5) -> Values:
    """The worst of some answers, each the best of several from a connection without a cache.

    The best, since what else the machine does isn't the answer's; one search that finds nothing
    takes the seconds that it is allowed.
    """
    with database() as db:
        fill_history(db, number)
        newest = clock.to_datetime(clock.now())
        then = newest - timedelta(days=3)
        asked: dict[str, Callable[[Any], Any]] = {
            "stats": lambda place: [
                insights.all_queue_stats(place),
                insights.list_workers(place),
            ],
            "jobs": insights.list_jobs,
            "failed": lambda place: insights.list_jobs(place, outcome=FAILED),
            "no such": lambda place: insights.list_jobs(place, callable="nosuch:*"),
            "range": lambda place: insights.list_jobs(place, until=then),
            "workers": insights.list_workers,
            "totals": insights.read_totals,
        }
        found = {name: min(_asked(db, ask) for _ in range(times)) for name, ask in asked.items()}
    return {"worst ms": max(found.values()), **{f"{name} ms": ms for name, ms in found.items()}}


def lists_million(number: int = 1_000_000, times: int = 5) -> Values:
    """The same of pages of 25 jobs, of one who has a million of them, all of one realm."""
    with database() as db:
        fill_history(db, number, owner="bob", realm="/site")
        then = clock.to_datetime(clock.now()) - timedelta(days=3)
        find = functools.partial(insights.list_jobs, limit=25)
        asked: dict[str, Callable[[Any], Any]] = {
            "newest": lambda place: find(place, owner="bob"),
            "middle": lambda place: find(place, owner="bob", until=then),
            "realm": lambda place: find(place, realm="/site"),
            "jobs_of": lambda place: list(itertools.islice(zodbjobs.jobs_of("bob", place), 25)),
            "nobody": lambda place: find(place, owner="nobody"),
        }
        found = {name: min(_asked(db, ask) for _ in range(times)) for name, ask in asked.items()}
    return {"worst ms": max(found.values()), **{f"{name} ms": ms for name, ms in found.items()}}


def _asked(db: Any, ask: Callable[[Any], Any]) -> float:
    """Milliseconds of one answer."""
    connection = db.open(transaction.TransactionManager())
    connection.cacheMinimize()
    start = time.perf_counter()
    ask(connection)
    spent = time.perf_counter() - start
    connection.close()
    return spent * 1_000


def fill_history(db: Any, number: int, owner: str | None = None, realm: str | None = None) -> None:
    """Store ended jobs, and book them as a worker would, without having run them.

    One of 1,000 has failed.
    """
    connection = db.open()
    queue = zodbjobs.get_queue(connection)
    first = clock.now() - _SPAN
    for batch in range(0, number, _BATCH):
        shard = queue.shards[batch // _BATCH % len(queue.shards)]
        ended = []
        for each in range(batch, batch + _BATCH):
            put = first + _SPAN * each // number
            started, finished = put + 1_000, put + 1_000 + _WORK
            outcome = SUCCEEDED if each % 1_000 else FAILED
            job = zodbjobs.Job(bench_jobs.nothing)
            job._place(shard, keys.key_for_now(0, put))
            job._end(outcome, 1, started, finished)
            if owner is not None:
                job.owner, job.realm = owner, realm
                listing.add(queue, job, put)
            ended.append((job, finished, outcome, _WORK, started - put, owner is not None))
        history.book(shard, ended)
        delivery._producer.draw()  # as if each were another client's
        transaction.commit()
        connection.cacheGC()
    connection.close()


INSIGHT_FIGURES = {
    "lists_million": Figure(
        "a page of 25 of somebody's 1,000,000 jobs",
        lists_million,
        "under 50",
        lambda v: v["worst ms"] < 50,
    ),
    "insights_million": Figure(
        "an answer of stats, jobs, workers; 1,000,000 ended jobs",
        insights_million,
        "under 100",
        lambda v: v["worst ms"] < 100,
    ),
}
