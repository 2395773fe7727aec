"""Serves metrics, with what Python brings along: one page, for a scraper on the same machine."""

from __future__ import annotations

import contextlib
import signal
import socket
import socketserver
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

# Seconds after which who has connected and says nothing is left.
_SILENCE_SECONDS = 10

_WsgiApp = Callable[[dict[str, Any], Any], Iterable[bytes]]


class _Handler(WSGIRequestHandler):
    timeout = _SILENCE_SECONDS

    def log_message(self, *args: Any) -> None:
        """Write no line for each scrape."""


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Bind; no name of the host is looked up, which may take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]
        self.setup_environ()


def serve(app: _WsgiApp, host: str, port: int, listens: Callable[[str], None]) -> None:
    """Serve until the process is interrupted or terminated; `listens` is told the URL once it
    does. Port 0 is any that is free. Raises OSError if it can't listen.
    """
    with _make_server(host, port) as server, _terminated_in_order():
        server.set_app(_at_metrics(app))
        shown = f"[{host}]" if ":" in host else host
        listens(f"http://{shown}:{server.server_port}/metrics")
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


def _make_server(host: str, port: int) -> _Server:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = type("_Server", (_Server,), {"address_family": family})
    server: _Server = made((host, port), _Handler)
    return server


def _at_metrics(app: _WsgiApp) -> _WsgiApp:
    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] not in ("/metrics", "/"):
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"There is only /metrics.\n"]
        return app(environ, start_response)

    return application


@contextlib.contextmanager
def _terminated_in_order() -> Iterator[None]:
    """Let SIGTERM end it as an interrupt does, so that the database is closed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
