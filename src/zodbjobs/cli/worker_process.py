"""``python -m zodbjobs.cli.worker_process SETTINGS``: one of the workers of a supervisor."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import threading
from typing import Any

from zodbjobs.cli import shutdown_pipes
from zodbjobs.cli.application import Application
from zodbjobs.cli.database import SERVER_SECONDS, opened
from zodbjobs.cli.errors import CommandError, errors_in_one_line, without_passwords
from zodbjobs.cli.log_output import set_up_logging
from zodbjobs.cli.worker_command import found_schedules
from zodbjobs.runtime import signals
from zodbjobs.runtime.service import Lines, Service
from zodbjobs.runtime.worker import Worker
from zodbjobs.terminal import one_line

log = logging.getLogger("zodbjobs")


def main() -> None:
    """Work until a signal, or until the supervisor stops or is gone; exits with status 2 if
    the database can't be opened, with 1 if the process is to be replaced.
    """
    settings = json.loads(sys.argv[1])
    set_up_logging(settings["name"])
    stop = threading.Event()
    shutdown_pipes.call_when_worker_stops(settings["pipes"], stop.set)
    sys.path.insert(0, os.getcwd())
    try:
        with (
            errors_in_one_line(),
            # A second one, from a terminal or an init system that signals all processes of a
            # service, changes nothing: the supervisor kills those that are to end at once.
            signals.taken(lambda number: stop.set()),
            _database(settings) as db,
        ):
            declared = found_schedules(settings["schedules"])
            worker = Worker(db, settings["queues"], settings["threads"], schedules=declared)
            status = worker.run_until(stop, service=_supervisor(settings))
    except CommandError as error:
        log.error("%s", without_passwords(one_line(error.message)))
        sys.exit(CommandError.exit_code)
    sys.exit(status)


def _supervisor(settings: dict[str, Any]) -> Service | None:
    """What speaks for this worker with a service manager, if there is one."""
    if "watchdog" not in settings:
        return None
    return Service(Lines(settings["tells"]).send, settings["watchdog"])


def _database(settings: dict[str, Any]) -> contextlib.AbstractContextManager[Any]:
    if "application" in settings:
        return Application(*settings["application"]).started()
    return opened(settings["database"], wait_seconds=SERVER_SECONDS)


if __name__ == "__main__":
    main()
