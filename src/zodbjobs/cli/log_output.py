"""The log of a worker or a ZEO server on stderr."""

from __future__ import annotations

import logging
import sys

from rich.logging import RichHandler

from zodbjobs import terminal


def set_up_logging(process: str = "") -> None:
    """Log what is INFO or worse to stderr: in colours to a terminal, else plain.

    `process`: the name of this one among several that write there.
    """
    mark = f"{process}: " if process else ""
    if sys.stderr.isatty():
        handler: logging.Handler = RichHandler(
            console=terminal.console(stderr=True), show_path=False, log_time_format="%H:%M:%S"
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
