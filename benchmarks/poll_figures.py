"""What pages cost that are open: a poll, and many of them at one server."""

from __future__ import annotations

import http.client
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from wsgiref.util import setup_testing_defaults

import bench_jobs
import transaction
from figures import Figure, Values, database
from waitress.server import create_server
from webob import Request, Response

import zodbjobs
from zodbjobs.web import Rights, make_app

# It tells of each request that waits for a thread.
logging.getLogger("waitress.queue").setLevel(logging.ERROR)

_POLLS = 2_000
_PAGES = 50
_SECONDS = 10.0
_POLLS_A_MINUTE = 60 / 5  # of a page on which a job only waits

Application = Callable[[dict[str, Any], Any], Any]


def poll() -> Values:
    """CPU of a poll of a page that hasn't changed, over an empty request of the same host."""
    with database() as db:
        path = _put(db, begin_after=timedelta(days=1))
        pages, empty = _host(db, _pages()), _host(db, Response())
        environ = {"PATH_INFO": path, "QUERY_STRING": "live=1"}
        environ["HTTP_IF_NONE_MATCH"] = _etag(pages, environ)
        spent = {}
        for _ in range(2):  # the first time everything is loaded
            for name, app in (("poll", pages), ("empty", empty)):
                start = time.process_time()
                for _ in range(_POLLS):
                    _call(app, environ)
                spent[name] = (time.process_time() - start) / _POLLS * 1_000
    return {
        "ms over empty": spent["poll"] - spent["empty"],
        "empty ms": spent["empty"],
        "ms a minute": spent["poll"] * _POLLS_A_MINUTE,
    }


def fifty_pages() -> Values:
    """Milliseconds of another request at a server of 4 threads while 50 pages of a job that runs
    are open, each asked for once a second; and of the same without these.
    """
    with database() as db, zodbjobs.Worker(db, threads=1):
        path = _put(db, bench_jobs.report_until_cancelled)
        with _served(_host(db, _pages())) as port:
            alone = _others(port, path)
            over = threading.Event()
            readers = [
                threading.Thread(target=_read, args=(port, path, n / _PAGES, over))
                for n in range(_PAGES)
            ]
            for reader in readers:
                reader.start()
            among = _others(port, path)
            over.set()
            for reader in readers:
                reader.join()
        with db.transaction() as connection:
            zodbjobs.insights.find_job(connection, path.rpartition("/")[2]).cancel()
    return {
        "p95 ms": _quantile(among, 0.95),
        "max ms": among[-1],
        "alone p95 ms": _quantile(alone, 0.95),
    }


def _put(db: Any, called: Any = bench_jobs.nothing, **more: Any) -> str:
    """The path of the page of a job that was put."""
    with db.transaction() as connection:
        job = zodbjobs.get_queue(connection).put(
            zodbjobs.ProgressableJob(called), owner="ada", title="Export", **more
        )
        return f"/jobs/{job.id}"


def _pages() -> Application:
    return make_app(
        lambda request: request.environ["connection"],
        lambda request: Rights("ada"),
    )


def _host(db: Any, app: Any) -> Application:
    """A host that opens a connection for each request, and makes a Request of it."""

    def host(environ: dict[str, Any], start_response: Any) -> Any:
        manager = transaction.TransactionManager()
        environ["connection"] = db.open(manager)
        try:
            return app(Request(environ).environ, start_response)
        finally:
            manager.abort()
            environ["connection"].close()

    return host


def _call(app: Application, environ: dict[str, Any]) -> dict[str, str]:
    environ = dict(environ)
    setup_testing_defaults(environ)
    answered: dict[str, str] = {}
    app(environ, lambda status, headers: answered.update(headers, status=status))
    return answered


def _etag(app: Application, environ: dict[str, Any]) -> str:
    return _call(app, environ)["ETag"]


@contextmanager
def _served(app: Application) -> Iterator[int]:
    server = create_server(app, host="127.0.0.1", port=0, threads=4, ident=None)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server.effective_port
    finally:
        server.close()
        server.task_dispatcher.shutdown()
        thread.join()


def _read(port: int, path: str, delay: float, over: threading.Event) -> None:
    """Keep a page open, as the script of the pages does."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    headers: dict[str, str] = {}
    over.wait(delay)
    while not over.is_set():
        connection.request("GET", f"{path}?live=1", headers=headers)
        response = connection.getresponse()
        response.read()
        if response.headers["ETag"]:
            headers = {"If-None-Match": response.headers["ETag"]}
        over.wait(1)
    connection.close()


def _others(port: int, path: str) -> list[float]:
    """Milliseconds of requests for the same page as JSON, one after the other; in order."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    found: list[float] = []
    end = time.perf_counter() + _SECONDS
    while (start := time.perf_counter()) < end:
        connection.request("GET", f"{path}.json")
        connection.getresponse().read()
        found.append((time.perf_counter() - start) * 1_000)
        time.sleep(0.02)
    connection.close()
    return sorted(found)


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[int(len(ordered) * share)]


POLL_FIGURES = {
    "web_poll": Figure(
        "poll of a page, CPU over an empty request", poll, "<= 0.3 ms", lambda v: _is_cheap(v)
    ),
    "web_fifty": Figure(
        "another request while 50 pages are open",
        fifty_pages,
        "<= 50 ms",
        lambda v: v["p95 ms"] <= 50,
    ),
}


def _is_cheap(values: Values) -> bool:
    return values["ms over empty"] <= 0.3 and values["ms a minute"] < 10
