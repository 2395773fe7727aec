"""A worker in a process of its own: worker_process.py CONFIGURATION; ends with its input."""

from __future__ import annotations

import os
import signal
import sys
import threading

import ZODB.config

import zodbjobs


def main() -> None:
    """Work until whoever started this process lets go of it."""

    def end_with_input() -> None:
        sys.stdin.buffer.read()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=end_with_input, daemon=True).start()
    db = ZODB.config.databaseFromString(sys.argv[1])
    zodbjobs.Worker(db).run()
    db.close()


if __name__ == "__main__":
    main()
