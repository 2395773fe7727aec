"""``zodbjobs worker``: what it says, and its log."""

from __future__ import annotations

import logging
import sys
from typing import Any

from rich.logging import RichHandler

from zodbjobs.cli import look
from zodbjobs.cli.database import reading
from zodbjobs.insights import all_queue_stats
from zodbjobs.installer import job_container_installer, queue_installer
from zodbjobs.runtime.worker import Worker
from zodbjobs.stored.root import get_queues

#: Seconds that a worker waits for its ZEO server, which may start at the same time.
WAIT_SECONDS = 30


def _set_up_logging() -> None:
    """Log what is INFO or worse to stderr: in colours to a terminal, else plain."""
    if sys.stderr.isatty():
        handler: logging.Handler = RichHandler(
            console=look.console(stderr=True), show_path=False, log_time_format="%H:%M:%S"
        )
        style = "%(message)s"
    else:
        handler = logging.StreamHandler()
        style = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=logging.INFO, format=style, handlers=[handler], force=True)
    # Says every second that there is no server; that it went away is told elsewhere.
    logging.getLogger("ZEO.asyncio.client").setLevel(logging.WARNING)


def serve(db: Any, database: str, queues: list[str] | None, threads: int) -> None:
    """Make the queues if there are none, and work until a signal."""
    queue_installer.install(db)
    job_container_installer.install(db)
    with reading(db) as connection:
        stored = get_queues(connection)
        names = [stored[name].name for name in queues or stored]
        stats = [s for s in all_queue_stats(connection, minutes=1) if s.name in names]
    waiting = sum(s.waiting + s.held + s.assigned + s.active for s in stats)
    out = look.console(stderr=True)
    threads_text = "1 thread" if threads == 1 else f"{threads} threads"
    out.print(
        f"Serving {database} with {threads_text}: "
        f"{', '.join(look.queue_text(name) for name in names)}; {waiting:,} jobs to do.\n"
        "Ctrl-C or SIGTERM stops it in order, a second one at once.",
        soft_wrap=True,
    )
    _set_up_logging()
    Worker(db, queues, threads).run()
