"""Worker processes: start, kill, stop, continue."""

from __future__ import annotations

import itertools
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from storages.place import Place

from chaos.nursery import LAST_LINE
from chaos.worker_process import Orders

TESTS = Path(__file__).parents[1]

#: Seconds that a worker has to stop in order.
STOP_SECONDS = 60


class Nursery:
    """A process that forks workers; `source`: where zodbjobs is, None for the installed one."""

    def __init__(self, source: Path | None = None) -> None:
        path = os.pathsep.join(map(str, filter(None, [source, TESTS])))
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "chaos.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            text=True,
        )

    def start(self, log: Path, orders: Orders) -> WorkerProcess:
        """Fork a worker."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([str(log), vars(orders)]) + "\n")
        self._process.stdin.flush()
        return WorkerProcess(log, int(self._process.stdout.readline()), self)

    def close(self) -> None:
        """End it, and with it all that it has forked."""
        self._process.communicate()


class WorkerProcess:
    """One process, forked by `nursery`; its log is in the file `log`."""

    def __init__(self, log: Path, pid: int, nursery: Nursery) -> None:
        self.log = log
        self.nursery = nursery
        self.pid = pid
        self._handle = os.pidfd_open(pid)

    def is_alive(self) -> bool:
        """Whether it still runs."""
        return not self._has_ended(0)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        signal.pidfd_send_signal(self._handle, number)

    def kill(self) -> None:
        """End it as kill -9 does."""
        if self.is_alive():
            self.signal(signal.SIGKILL)
        self._has_ended(STOP_SECONDS)
        os.close(self._handle)

    def stops(self) -> bool:
        """Whether it ends in order, after SIGTERM."""
        self._has_ended(STOP_SECONDS)
        self.kill()
        return self.log.read_text().rstrip().endswith(LAST_LINE)

    def _has_ended(self, seconds: float) -> bool:
        return bool(select.select([self._handle], [], [], seconds)[0])

    def last_words(self) -> str:
        """The end of its log."""
        return self.log.read_text()[-500:].strip()

    def says(self, text: str) -> int:
        """How often a text is in its log, which a process that has just been forked makes."""
        return self.log.read_text().count(text) if self.log.exists() else 0


class Workers:
    """The worker processes of one scenario, each with a client's folder of its own."""

    def __init__(self, place: Place, folder: Path, options: Mapping[str, Any]) -> None:
        self._place = place
        self._folder = folder
        self._options = options
        self._numbers = itertools.count(1)
        self.nursery = Nursery()
        self.alive: list[WorkerProcess] = []
        self.all: list[WorkerProcess] = []

    def start(self, nursery: Nursery | None = None, **orders: Any) -> WorkerProcess:
        """Start one; `orders` are those of `worker_process`."""
        name = f"worker-{next(self._numbers)}"
        orders["options"] = {**self._options, **orders.get("options", {})}
        worker = (nursery or self.nursery).start(
            self._folder / f"{name}.log", Orders(self._place.config(client=name), **orders)
        )
        self.alive.append(worker)
        self.all.append(worker)
        return worker

    def kill(self, worker: WorkerProcess) -> None:
        """End one as kill -9 does."""
        self.alive.remove(worker)
        worker.kill()

    def stop_one(self, worker: WorkerProcess) -> list[str]:
        """Stop one in order; returns what went wrong."""
        worker.signal(signal.SIGTERM)
        return self.let_end(worker)

    def let_end(self, worker: WorkerProcess) -> list[str]:
        """Wait for the end of one; returns what went wrong."""
        self.alive.remove(worker)
        return [] if worker.stops() else [f"{worker.log.name}: it didn't stop in order"]

    def bury(self) -> list[WorkerProcess]:
        """Take those that have ended by themselves off the list of those that live."""
        dead = [worker for worker in self.alive if not worker.is_alive()]
        for worker in dead:
            self.kill(worker)
        return dead

    def stop(self) -> list[str]:
        """Stop all in order; returns what went wrong."""
        faults = [
            f"{w.log.name}: the process ended by itself: {w.last_words()}" for w in self.bury()
        ]
        stopping, self.alive = self.alive, []
        for worker in stopping:
            worker.signal(signal.SIGTERM)
        faults += [f"{w.log.name}: it didn't stop in order" for w in stopping if not w.stops()]
        return faults

    def close(self) -> None:
        """End what is left."""
        for worker in list(self.alive):
            self.kill(worker)
        self.nursery.close()
