"""``zodbjobs worker --processes``: several workers, and a ZEO server if they need one."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zodbjobs.cli import address, look, serve
from zodbjobs.cli.address import Address
from zodbjobs.cli.children import Child, Ended, Said, how
from zodbjobs.cli.database import blobs_of, check_path, is_uri, opened
from zodbjobs.cli.lifeline import STOP_SECONDS, Lifeline
from zodbjobs.cli.problem import Problem, one_line, without_passwords
from zodbjobs.runtime import signals
from zodbjobs.runtime.storage import abilities

log = logging.getLogger("zodbjobs")

# Seconds that the server has to close its file.
_CLOSE_SECONDS = 10.0


@dataclass(frozen=True)
class _Signalled:
    number: int


def supervise(
    database: str,
    queues: list[str] | None,
    threads: int,
    processes: int,
    *,
    create: bool = False,
    place: str | None = None,
) -> int:
    """Run `processes` workers until a signal; returns the status to exit with.

    A file is served by ZEO meanwhile, at `place`: HOST:PORT, or the path of a Unix socket.
    """
    supervisor = _Supervisor(queues, threads, processes)
    if is_uri(database):
        if create or place:
            raise Problem("--create and --address are for paths; a URI has a server already")
        return supervisor.run_on_uri(database)
    where = address.parse(place) if place else address.beside(database)
    check_path(database, create)
    if place:
        address.check_free(where)
    return supervisor.run_with_server(database, where, create)


class _Supervisor:
    """Takes what comes from signals and from the children, one after the other."""

    def __init__(self, queues: list[str] | None, threads: int, processes: int) -> None:
        self._queues = queues
        self._threads = threads
        self._processes = processes
        self._events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._lifeline = Lifeline()
        self._server: Child | None = None
        self._workers: list[Child] = []
        self._stopping = False
        self._deadline: float | None = None
        self._status = 0

    # What is run

    def run_on_uri(self, uri: str) -> int:
        """Workers on a database that has a server of its own."""
        with opened(uri, wait_seconds=serve.WAIT_SECONDS) as db:
            alone = uri.startswith(("file:", "memory:", "demo:"))
            if alone or abilities.is_for_one_process(db):
                raise Problem(
                    f"{uri} is for one process; --processes takes the path of a file, or the "
                    "URI of a server, such as zeo://HOST:PORT"
                )
            to_do = serve.prepare(db, self._queues)
        with self._signals(), self._all_ended():
            self._start_workers(uri)
            shown = without_passwords(uri)
            _print(f"Serving {shown} with {self._workers_text()}: {to_do}", serve.STOPPING)
            serve.set_up_logging()
            self._loop()
        return self._status

    def run_with_server(self, path: str, where: Address, create: bool) -> int:
        """A server for the file at `path`, and workers on it."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._signals())
            remove = stack.enter_context(contextlib.ExitStack())
            stack.enter_context(self._all_ended())
            said = self._start_server(path, where, create)
            if said is None:
                return self._status
            remove.callback(_remove, path, said)
            uri = _write_uri(path, said)
            with opened(uri) as db:
                to_do = serve.prepare(db, self._queues)
            self._start_workers(uri)
            self._tell_of_server(path, uri, to_do)
            serve.set_up_logging()
            self._loop()
        return self._status

    def _start_server(self, path: str, where: Address, create: bool) -> Address | None:
        """Returns where it listens, or None if a signal came before."""
        orders: dict[str, Any] = {"name": "server", "path": path, "address": where}
        orders |= {"create": create, "lifeline": self._lifeline.for_server()}
        server = Child("zodbjobs.cli.zeo_server", orders, self._events.put, speaks=True)
        self._server = server
        server.start()
        while not self._stopping:
            event = self._events.get()
            if isinstance(event, Said):
                said = json.loads(event.line)
                if "problem" in said:
                    raise Problem(said["problem"])
                # The next one is to be found at the same place, and finds the file.
                server.orders.update(address=said["address"], create=False)
                at = said["address"]
                return at if isinstance(at, str) else (at[0], at[1])
            if isinstance(event, Ended):
                server.ended(again=False)
                raise Problem(f"the ZEO server of {path} {how(event.status)}; see its log above")
            self._take(event)
        return None

    def _start_workers(self, uri: str) -> None:
        for number in range(1, self._processes + 1):
            orders: dict[str, Any] = {"name": f"worker {number}", "database": uri}
            orders |= {"queues": self._queues, "threads": self._threads}
            orders["lifeline"] = self._lifeline.for_worker()
            worker = Child("zodbjobs.cli.one_worker", orders, self._events.put, speaks=False)
            self._workers.append(worker)
            worker.start()

    # The loop

    def _loop(self) -> None:
        """Work until no child is left."""
        while self._children():
            try:
                event = self._events.get(timeout=self._seconds())
            except queue.Empty:
                self._take_time()
            else:
                self._take(event)

    def _children(self) -> list[Child]:
        """Those that run, or are to be started again."""
        every = [*self._workers, *([self._server] if self._server else [])]
        return [child for child in every if child.pid is not None or child.due is not None]

    def _seconds(self) -> float | None:
        """Until there is something to do without an event."""
        times = [child.due for child in self._children() if child.due is not None]
        times += [self._deadline] if self._deadline is not None else []
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _take_time(self) -> None:
        now = time.monotonic()
        for child in self._children():
            if child.due is not None and child.due <= now:
                child.start()
                log.info("%s was started again as process %s", child.name, child.pid)
        if self._deadline is not None and self._deadline <= now:
            self._deadline = None
            for child in self._workers_left() or self._children():
                log.error("%s has not stopped in time, it is killed", child.name)
                child.kill()

    def _take(self, event: Any) -> None:
        if isinstance(event, _Signalled):
            if self._stopping:
                self._status = 128 + event.number
                for worker in self._workers:
                    worker.kill()
            self._stop()
        elif isinstance(event, Ended):
            self._ended(event)
        elif isinstance(event, Said) and "problem" in (said := json.loads(event.line)):
            log.error("%s: %s", event.child.name, one_line(said["problem"]))

    def _ended(self, event: Ended) -> None:
        child, pid = event.child, event.child.pid
        needed = not self._stopping or (child is self._server and bool(self._workers_left()))
        child.ended(again=needed)
        if needed:
            assert child.due is not None
            pause = max(0.0, child.due - time.monotonic())
            when = f"in {pause:.0f} s" if pause else "now"
            log.error(
                "%s (process %s) %s; it starts again %s", child.name, pid, how(event.status), when
            )
        elif child in self._workers:
            log.info("%s (process %s) %s", child.name, pid, how(event.status))
            self._stop_server()

    def _workers_left(self) -> list[Child]:
        return [worker for worker in self._workers if worker.pid is not None]

    # The end

    def _stop(self) -> None:
        """Let the workers stop in order, and then the server."""
        if not self._stopping:
            self._stopping = True
            self._deadline = time.monotonic() + STOP_SECONDS
            for worker in self._workers:
                worker.due = None
            self._lifeline.stop_workers()
            self._stop_server()

    def _stop_server(self) -> None:
        if not self._workers_left():
            self._deadline = time.monotonic() + _CLOSE_SECONDS
            if self._server is not None:
                self._server.due = None
            self._lifeline.stop_server()

    @contextlib.contextmanager
    def _all_ended(self) -> Iterator[None]:
        """Leave no child, whatever happens."""
        try:
            yield
        finally:
            self._stop()
            self._loop()
            self._lifeline.close()

    def _signals(self) -> contextlib.AbstractContextManager[None]:
        return signals.taken(lambda number: self._events.put(_Signalled(number)))

    # What is said

    def _workers_text(self) -> str:
        pids = ", ".join(str(worker.pid) for worker in self._workers)
        if len(self._workers) == 1:
            return f"1 worker with {serve.threads_text(self._threads)} (process {pids})"
        threads = f"{serve.threads_text(self._threads)} each"
        return f"{len(self._workers)} workers with {threads} (processes {pids})"

    def _tell_of_server(self, path: str, uri: str, to_do: str) -> None:
        assert self._server is not None
        _print(
            f"Serving {path} with {self._workers_text()}: {to_do}",
            f"ZEO (process {self._server.pid}) shares it; an application on this machine opens",
            "",
            f"  {uri}",
            "",
            f"which {address.served_at(path)} has too; `zodbjobs jobs {path}` and the like find "
            "it there.",
            serve.STOPPING,
        )


def _print(*lines: str) -> None:
    console = look.console(stderr=True)
    for line in lines:
        console.print(line, soft_wrap=True)


def _write_uri(path: str, where: Address) -> str:
    uri = address.uri_of(where, blobs_of(os.path.abspath(path)))
    try:
        address.served_at(path).write_text(f"{uri}\n", encoding="utf-8")
    except OSError as error:
        raise Problem(
            f"can't write {address.served_at(path)} ({one_line(error)}); make room for it"
        ) from error
    return uri


def _remove(path: str, where: Address) -> None:
    for left in (address.served_at(path), *([Path(where)] if isinstance(where, str) else [])):
        left.unlink(missing_ok=True)
