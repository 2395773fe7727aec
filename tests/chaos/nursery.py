"""Forks worker processes: the imports are done once, so that a new one is there at once.

Reads the path of a log and orders, in JSON, one pair a line, and answers with the number of
the new process.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import threading

from chaos.worker_process import Orders, work

for module in ("ZEO.ClientStorage", "relstorage.storage", "psycopg2"):
    importlib.import_module(module)

#: The last line in the log of a worker that stopped in order.
LAST_LINE = "the process ends in order"


def main() -> None:
    """Fork until the input ends; then the children end too."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # leave no zombies
    lifeline, ours = os.pipe()
    for line in sys.stdin:
        log, orders = json.loads(line)
        # It waits, in the child, until that can stop in order.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        pid = os.fork()
        if not pid:
            os.close(ours)
            _be_a_worker(log, Orders(**orders), lifeline)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        print(pid, flush=True)


def _be_a_worker(log: str, orders: Orders, lifeline: int) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for descriptor in (1, 2):
        os.dup2(out, descriptor)
    threading.Thread(target=_end_with_nursery, args=(lifeline,), daemon=True).start()
    status = 1
    try:
        work(orders)
        print(LAST_LINE)
        status = 0
    finally:
        if status:
            sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        sys.stdout.flush()
        os._exit(status)


def _end_with_nursery(lifeline: int) -> None:
    os.read(lifeline, 1)
    os._exit(1)


if __name__ == "__main__":
    main()
