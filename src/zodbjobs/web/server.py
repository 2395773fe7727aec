"""Serves the application of `zodbjobs web`, by waitress."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

from waitress.server import create_server

# Bytes of the body of a request; a form is shorter.
_MOST_BODY = 1_000_000


class Server:
    """A server that listens, at `url`, and answers once `run` is called."""

    def __init__(self, server: Any, url: str) -> None:
        self._server = server
        self.url = url

    def run(self) -> None:
        """Answer requests until the process is interrupted or terminated."""
        with _terminated_in_order():
            self._server.run()
        self._server.close()


def make_server(app: Any, host: str, port: int, *, threads: int, prefix: str = "") -> Server:
    """A server that listens at once; port 0 is any that is free. Raises OSError if it can't."""
    prefix = f"/{prefix.strip('/')}" if prefix.strip("/") else ""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family)
    made = create_server(
        app,
        sockets=[listening],
        threads=threads,
        url_prefix=prefix,
        ident=None,
        clear_untrusted_proxy_headers=True,  # as waitress 3 does anyway, and 2 warns of
        max_request_body_size=_MOST_BODY,
    )
    shown = f"[{host}]" if ":" in host else host
    return Server(made, f"http://{shown}:{listening.getsockname()[1]}{prefix}/")


@contextlib.contextmanager
def _terminated_in_order() -> Iterator[None]:
    """Let SIGTERM end the server as an interrupt does, so that the database is closed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _exit)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _exit(number: int, frame: object) -> None:
    raise SystemExit(0)
