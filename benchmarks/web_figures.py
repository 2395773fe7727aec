"""How long the pages of operators take on the server, with a million jobs in the history."""

from __future__ import annotations

import time
from typing import Any

import transaction
from figures import Figure, Values, database
from insight_figures import fill_history
from webob import Request

import zodbjobs
from zodbjobs.insights import list_jobs
from zodbjobs.interfaces import FAILED
from zodbjobs.web import ACTIONS, Rights, make_app


def web_million(number: int = 1_000_000, times: int = 5) -> Values:
    """The worst of the pages, each the best of several from a connection without a cache.

    The best, since what else the machine does isn't the page's; one search that finds nothing
    takes the seconds that it is allowed. Templates are compiled before.
    """
    with database() as db:
        fill_history(db, number)
        connection = db.open()
        (failed,) = list_jobs(connection, outcome=FAILED, limit=1)
        cursor = list_jobs(connection, limit=25).cursor
        zodbjobs.get_queue(connection).quotas.create("some")
        transaction.commit()
        connection.close()
        paths = {
            "overview": "/",
            "jobs": "/jobs",
            "older": f"/jobs?before={cursor}",
            "failed": "/jobs?state=failed",
            "succeeded": "/jobs?state=succeeded&rows=100",
            "range": "/jobs?until=2020-01-01T00:00",
            "no such": "/jobs?callable=nosuch:*",
            "text": "/jobs?text=nosuch",
            "one job": f"/jobs/{failed.id}",
            "retry all": "/jobs/retry?all=1&state=failed",
            "discard all": "/jobs/discard?all=1",
            "queues": "/queues",
            "queue": "/queues/-",
            "workers": "/workers",
            "parked": "/parked",
            "audit": "/audit",
        }
        app = make_app(
            lambda request: request.environ["connection"],
            lambda request: Rights("manager", overall=ACTIONS),
        )
        found = {
            name: min(_asked(db, app, path) for _ in range(1 + times))
            for name, path in paths.items()
        }
    return {"worst ms": max(found.values()), **{f"{name} ms": ms for name, ms in found.items()}}


def _asked(db: Any, app: Any, path: str) -> float:
    """Milliseconds of one page."""
    connection = db.open(transaction.TransactionManager())
    connection.cacheMinimize()
    request = Request.blank(path)
    request.environ["connection"] = connection
    start = time.perf_counter()
    response = request.get_response(app)
    spent = time.perf_counter() - start
    if response.status_int != 200:
        raise RuntimeError(f"{path} was answered with {response.status}")
    connection.close()
    return spent * 1_000


WEB_FIGURES = {
    "web_million": Figure(
        "a page of operators on the server; 1,000,000 ended jobs",
        web_million,
        "under 150",
        lambda v: v["worst ms"] < 150,
    ),
}
