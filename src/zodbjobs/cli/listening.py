"""Listening: the address that a command is given to serve at."""

from __future__ import annotations

import os

from zodbjobs.cli.errors import CommandError

LOOPBACK = ("127.0.0.1", "::1")


def address_of(text: str, default_host: str | None = None) -> tuple[str, int]:
    """Host and port of HOST:PORT, or of a PORT if there is a default. Raises CommandError."""
    host, _, port = text.rpartition(":")
    host = host.strip("[]") or (default_host if text == port else None) or ""
    if not host or not port.isdecimal() or int(port) > 65535:
        wanted = (
            "HOST:PORT, such as 127.0.0.1:8080" if default_host is None else "PORT or HOST:PORT"
        )
        raise CommandError(f"{text!r} is no address; write {wanted}")
    return host, int(port)


def reason_of(error: OSError) -> str:
    """What the system calls it; a name that isn't found has a text of its own."""
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or str(error)
