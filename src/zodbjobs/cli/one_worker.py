"""``python -m zodbjobs.cli.one_worker ORDERS``: one of the workers of a supervisor."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading

from zodbjobs.cli import lifeline, serve
from zodbjobs.cli.database import opened
from zodbjobs.cli.problem import Problem, one_line, told_in_one_line, without_passwords
from zodbjobs.runtime import signals
from zodbjobs.runtime.worker import Worker

log = logging.getLogger("zodbjobs")


def main() -> None:
    """Work until a signal, or until the supervisor stops or is gone."""
    orders = json.loads(sys.argv[1])
    serve.set_up_logging(orders["name"])
    stop = threading.Event()
    lifeline.watch_in_worker(orders["lifeline"], stop.set)
    sys.path.insert(0, os.getcwd())
    try:
        with (
            told_in_one_line(),
            # A second one, from a terminal or an init system that signals all processes of a
            # service, changes nothing: the supervisor kills those that are to end at once.
            signals.taken(lambda number: stop.set()),
            opened(orders["database"], wait_seconds=serve.WAIT_SECONDS) as db,
            Worker(db, orders["queues"], orders["threads"]),
        ):
            stop.wait()
    except Problem as problem:
        log.error("%s", without_passwords(one_line(problem.message)))
        sys.exit(Problem.exit_code)


if __name__ == "__main__":
    main()
