"""``zodbjobs worker``: what it says, and its log."""

from __future__ import annotations

import logging
import sys
from typing import Any

from rich.logging import RichHandler

from zodbjobs.cli import look
from zodbjobs.cli.database import reading
from zodbjobs.cli.problem import without_passwords
from zodbjobs.insights import all_queue_stats
from zodbjobs.installer import job_container_installer, queue_installer
from zodbjobs.runtime.worker import Worker
from zodbjobs.stored.lifecycle.root import get_queues

#: Seconds that a worker waits for its ZEO server, which may start at the same time.
WAIT_SECONDS = 30

#: How to stop it.
STOPPING = "Ctrl-C or SIGTERM stops it in order, a second one at once."


def set_up_logging(process: str = "") -> None:
    """Log what is INFO or worse to stderr: in colours to a terminal, else plain.

    `process`: the name of this one among several that write there.
    """
    mark = f"{process}: " if process else ""
    if sys.stderr.isatty():
        handler: logging.Handler = RichHandler(
            console=look.console(stderr=True), show_path=False, log_time_format="%H:%M:%S"
        )
        style = f"{mark}%(message)s"
    else:
        handler = logging.StreamHandler()
        style = f"%(asctime)s {mark}%(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=logging.INFO, format=style, handlers=[handler], force=True)
    # They say every second that there is no server, or what is of use for nobody here; that
    # the server went away is told by ZEO.ClientStorage.
    for name in ("ZEO.asyncio", "ZEO.cache", "ZODB.blob"):
        logging.getLogger(name).setLevel(logging.WARNING)


def prepare(db: Any, queues: list[str] | None) -> str:
    """Make the queues if there are none; returns what there is to do, as text."""
    queue_installer.install(db)
    job_container_installer.install(db)
    with reading(db) as connection:
        stored = get_queues(connection)
        names = [stored[name].name for name in queues or stored]
        stats = [s for s in all_queue_stats(connection, minutes=1) if s.name in names]
    waiting = sum(s.waiting + s.scheduled + s.assigned + s.active for s in stats)
    return f"{', '.join(look.queue_text(name) for name in names)}; {waiting:,} jobs to do."


def threads_text(threads: int) -> str:
    """The number of threads for people."""
    return "1 thread" if threads == 1 else f"{threads} threads"


def serve(db: Any, database: str, queues: list[str] | None, threads: int) -> None:
    """Work in this process until a signal."""
    to_do = prepare(db, queues)
    look.console(stderr=True).print(
        f"Serving {without_passwords(database)} with {threads_text(threads)}: {to_do}\n{STOPPING}",
        soft_wrap=True,
    )
    set_up_logging()
    Worker(db, queues, threads).run()
