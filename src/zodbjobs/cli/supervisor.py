"""``zodbjobs worker --processes``: several workers, and a ZEO server if they need one."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zodbjobs import clock, terminal
from zodbjobs.cli import zeo_address
from zodbjobs.cli.application import Application, Database
from zodbjobs.cli.child_process import (
    ChildExited,
    ChildOutput,
    ChildProcess,
    ChildSaid,
    exit_text,
)
from zodbjobs.cli.database import (
    SERVER_SECONDS,
    blobs_of,
    check_path,
    is_uri,
    opened,
)
from zodbjobs.cli.errors import CommandError
from zodbjobs.cli.log_output import set_up_logging
from zodbjobs.cli.shutdown_pipes import STOP_SECONDS, ShutdownPipes
from zodbjobs.cli.watched_workers import WatchedWorkers
from zodbjobs.cli.worker_command import HOW_TO_STOP, make_queues, served_text, threads_text
from zodbjobs.cli.zeo_address import Address
from zodbjobs.runtime import service, signals
from zodbjobs.runtime.storage import abilities
from zodbjobs.terminal import one_line

log = logging.getLogger("zodbjobs")

# Seconds that the server has to close its file.
_CLOSE_SECONDS = 10.0


@dataclass(frozen=True)
class _Signalled:
    number: int


def supervise(
    database: Database,
    queues: list[str] | None,
    threads: int,
    processes: int,
    *,
    create: bool = False,
    address: str | None = None,
    schedules: str | None = None,
) -> int:
    """Run `processes` workers until a signal; returns the status to exit with.

    A file is served by ZEO meanwhile, at `address`: HOST:PORT, or the path of a Unix socket.
    Each worker of an application starts that by itself. Raises CommandError if the database
    can't be opened or served.
    """
    supervisor = _Supervisor(queues, threads, processes, schedules)
    if isinstance(database, Application) or is_uri(database):
        if create or address:
            raise CommandError("--create and --address are for paths; a URI has a server already")
        return supervisor.run_on_server(database)
    listen_at = zeo_address.parse(address) if address else zeo_address.beside(database)
    check_path(database, create)
    if address:
        zeo_address.check_free(listen_at)
    return supervisor.run_with_server(database, listen_at, create)


class _Supervisor:
    """Handles the events of signals and children, one after the other."""

    def __init__(
        self, queues: list[str] | None, threads: int, processes: int, schedules: str | None
    ) -> None:
        self._schedules = schedules
        self._queues = queues
        self._threads = threads
        self._processes = processes
        self._events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._pipes = ShutdownPipes()
        self._server: ChildProcess | None = None
        self._workers: list[ChildProcess] = []
        self._watched = WatchedWorkers(service.of_systemd())
        self._stopping = False
        self._deadline: float | None = None
        self._status = 0

    # Its two modes

    def run_on_server(self, database: Database) -> int:
        """Run workers on a database that has a server; returns the status to exit with.

        Raises CommandError if it can't be opened, or is for one process.
        """
        with opened(database, wait_seconds=SERVER_SECONDS) as db:
            _check_shared(database, db)
            work = make_queues(db, database, self._queues)
        with self._signals(), self._children_stopped():
            self._start_workers(database)
            shown = served_text(database)
            _print(f"Serving {shown} with {self._workers_text()}: {work}", HOW_TO_STOP)
            set_up_logging()
            self._loop()
        return self._status

    def run_with_server(self, path: str, address: Address, create: bool) -> int:
        """Run a server for the file at `path` and workers on it; returns the status to exit with.

        Raises CommandError if the file can't be opened, or the server can't listen.
        """
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._signals())
            leftovers = stack.enter_context(contextlib.ExitStack())
            stack.enter_context(self._children_stopped())
            listening = self._start_server(path, address, create)
            if listening is None:
                return self._status
            leftovers.callback(_unlink, path, listening)
            uri = _write_uri(path, listening)
            with opened(uri) as db:
                work = make_queues(db, path, self._queues)
            self._start_workers(uri)
            self._print_server(path, uri, work)
            set_up_logging()
            self._loop()
        return self._status

    def _start_server(self, path: str, address: Address, create: bool) -> Address | None:
        """Start the server; returns the address at which it listens, or None after a signal."""
        settings: dict[str, Any] = {"name": "server", "path": path, "address": address}
        settings |= {"create": create, "pipes": self._pipes.for_server()}
        server = ChildProcess("zodbjobs.cli.zeo_server", settings, self._events.put, writes=True)
        self._server = server
        server.start()
        while not self._stopping:
            event = self._events.get()
            if isinstance(event, ChildOutput):
                answer = json.loads(event.line)
                if "error" in answer:
                    raise CommandError(answer["error"])
                # The next one listens at the same address, and finds the file.
                server.settings.update(address=answer["address"], create=False)
                at = answer["address"]
                return at if isinstance(at, str) else (at[0], at[1])
            if isinstance(event, ChildExited):
                server.exited(restart=False)
                raise CommandError(
                    f"the ZEO server of {path} {exit_text(event.status)}; see its log above"
                )
            self._handle(event)
        return None

    def _start_workers(self, database: Database) -> None:
        where: dict[str, Any] = {"database": database}
        if isinstance(database, Application):
            where = {"application": [database.option, database.path]}
        for number in range(1, self._processes + 1):
            settings: dict[str, Any] = {"name": f"worker {number}", **where}
            settings |= {"queues": self._queues, "threads": self._threads}
            settings["schedules"] = self._schedules
            settings |= self._watched.settings()
            settings["pipes"] = self._pipes.for_worker()
            worker = ChildProcess(
                "zodbjobs.cli.worker_process", settings, self._events.put, writes=False
            )
            self._workers.append(worker)
            worker.start()

    # The loop

    def _loop(self) -> None:
        """Handle events until no child is left."""
        while self._children():
            try:
                event = self._events.get(timeout=self._seconds())
            except queue.Empty:
                self._on_timeout()
            else:
                self._handle(event)
            self._watched.turn()

    def _children(self) -> list[ChildProcess]:
        """The children that run, or are to be restarted."""
        every = [*self._workers, *([self._server] if self._server else [])]
        return [child for child in every if child.pid is not None or child.restart_at is not None]

    def _seconds(self) -> float | None:
        """Seconds until something is due without an event; None if nothing is."""
        times = [child.restart_at for child in self._children() if child.restart_at is not None]
        times += [self._deadline] if self._deadline is not None else []
        now = clock.monotonic()
        if (most := self._watched.most_seconds) is not None:
            times.append(now + most)
        return max(0.0, min(times) - now) if times else None

    def _on_timeout(self) -> None:
        now = clock.monotonic()
        for child in self._children():
            if child.restart_at is not None and child.restart_at <= now:
                child.start()
                log.info("%s was started again as process %s", child.name, child.pid)
        if self._deadline is not None and self._deadline <= now:
            self._deadline = None
            for child in self._workers_left() or self._children():
                log.error("%s has not stopped in time, it is killed", child.name)
                child.kill()

    def _handle(self, event: Any) -> None:
        if isinstance(event, _Signalled):
            if self._stopping:
                self._status = 128 + event.number
                for worker in self._workers:
                    worker.kill()
            self._stop()
        elif isinstance(event, ChildExited):
            self._exited(event)
        elif isinstance(event, ChildSaid):
            self._watched.heard(event)
        elif isinstance(event, ChildOutput) and "error" in (answer := json.loads(event.line)):
            log.error("%s: %s", event.child.name, one_line(answer["error"]))

    def _exited(self, event: ChildExited) -> None:
        child, pid = event.child, event.child.pid
        self._watched.exited(child)
        needed = not self._stopping or (child is self._server and bool(self._workers_left()))
        child.exited(restart=needed)
        if needed:
            assert child.restart_at is not None
            pause = max(0.0, child.restart_at - clock.monotonic())
            when = f"in {pause:.0f} s" if pause else "now"
            log.error(
                "%s (process %s) %s; it starts again %s",
                child.name,
                pid,
                exit_text(event.status),
                when,
            )
        elif child in self._workers:
            log.info("%s (process %s) %s", child.name, pid, exit_text(event.status))
            self._stop_server()

    def _workers_left(self) -> list[ChildProcess]:
        return [worker for worker in self._workers if worker.pid is not None]

    # Its shutdown

    def _stop(self) -> None:
        """Stop the workers in order, and then the server."""
        if not self._stopping:
            self._stopping = True
            self._deadline = clock.monotonic() + STOP_SECONDS
            self._watched.stop()
            for worker in self._workers:
                worker.restart_at = None
            self._pipes.stop_workers()
            self._stop_server()

    def _stop_server(self) -> None:
        if not self._workers_left():
            self._deadline = clock.monotonic() + _CLOSE_SECONDS
            if self._server is not None:
                self._server.restart_at = None
            self._pipes.stop_server()

    @contextlib.contextmanager
    def _children_stopped(self) -> Iterator[None]:
        """Stop all children at the end, whatever happens."""
        try:
            yield
        finally:
            self._stop()
            self._loop()
            self._pipes.close()

    def _signals(self) -> contextlib.AbstractContextManager[None]:
        return signals.taken(lambda number: self._events.put(_Signalled(number)))

    # Its output

    def _workers_text(self) -> str:
        pids = ", ".join(str(worker.pid) for worker in self._workers)
        if len(self._workers) == 1:
            return f"1 worker with {threads_text(self._threads)} (process {pids})"
        threads = f"{threads_text(self._threads)} each"
        return f"{len(self._workers)} workers with {threads} (processes {pids})"

    def _print_server(self, path: str, uri: str, work: str) -> None:
        assert self._server is not None
        _print(
            f"Serving {path} with {self._workers_text()}: {work}",
            f"ZEO (process {self._server.pid}) shares it; an application on this machine opens",
            "",
            f"  {uri}",
            "",
            f"which {zeo_address.served_at(path)} has too; `zodbjobs jobs {path}` and the like "
            "find it there.",
            HOW_TO_STOP,
        )


def _check_shared(database: Database, db: Any) -> None:
    """Raise CommandError if the database is for one process."""
    if isinstance(database, Application):
        alone = [each for each in db.databases.values() if abilities.is_for_one_process(each)]
        if alone:
            raise CommandError(
                f"{alone[0].storage.getName()} is for one process, and {database.shown} names it; "
                f"have a ZEO server share it, and say {database.served} there, or leave "
                "--processes out"
            )
        return
    local = database.startswith(("file:", "memory:", "demo:"))
    if not local and not abilities.is_for_one_process(db):
        return
    raise CommandError(
        f"{database} is for one process; --processes takes the path of a file, or the URI of a "
        "server, such as zeo://HOST:PORT"
    )


def _print(*lines: str) -> None:
    console = terminal.console(stderr=True)
    for line in lines:
        console.print(line, soft_wrap=True)


def _write_uri(path: str, address: Address) -> str:
    uri = zeo_address.uri_of(address, blobs_of(os.path.abspath(path)))
    try:
        zeo_address.served_at(path).write_text(f"{uri}\n", encoding="utf-8")
    except OSError as error:
        raise CommandError(
            f"can't write {zeo_address.served_at(path)} ({one_line(error)}); make room for it"
        ) from error
    return uri


def _unlink(path: str, address: Address) -> None:
    for left in (
        zeo_address.served_at(path),
        *([Path(address)] if isinstance(address, str) else []),
    ):
        left.unlink(missing_ok=True)
