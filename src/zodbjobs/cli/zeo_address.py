"""Addresses of ZEO servers, and the URIs that lead to them."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from pathlib import Path
from urllib.parse import quote, urlsplit

from zodbjobs.cli.errors import CommandError
from zodbjobs.terminal import one_line

#: Host and port, or the path of a Unix socket.
Address = tuple[str, int] | str

_HOST = "127.0.0.1"

# Bytes of a socket's path that every system takes (Linux takes 107).
_LONGEST_PATH = 103

_CONNECT_SECONDS = 1.0
_GREETING_BYTES = 64


def served_at(path: str) -> Path:
    """The file beside a database that holds the URI of its server."""
    return Path(f"{path}.zeo")


def parse(text: str) -> Address:
    """The address that was typed: HOST:PORT, PORT, or the path of a Unix socket.

    Raises CommandError if it is none.
    """
    if "/" in text:
        return _checked(os.path.abspath(text))
    host, _, port = text.rpartition(":")
    if not re.fullmatch(r"\d+", port) or int(port) > 65535:
        raise CommandError(
            f"{text} isn't an address; write HOST:PORT, or a path with a slash for a Unix socket"
        )
    return host.strip("[]") or _HOST, int(port)


def beside(path: str) -> Address:
    """The Unix socket beside the database at `path`; CommandError if its path is too long."""
    return _checked(f"{os.path.abspath(path)}.sock")


def uri_of(address: Address, blobs: str) -> str:
    """The URI that zodburi opens on this machine, with the blobs in the directory `blobs`."""
    return f"zeo://{text(address)}?blob_dir={quote(blobs)}&shared_blob_dir=1"


def of_uri(uri: str) -> Address:
    """The address in a zeo:// URI; ValueError if there is none."""
    parts = urlsplit(uri)
    if parts.scheme != "zeo" or not (parts.path or parts.port):
        raise ValueError(uri)
    return (parts.hostname or _HOST, parts.port) if parts.port else parts.path


def serves(address: Address) -> bool:
    """Whether a ZEO server listens there; it sends a greeting to each client."""
    try:
        with _connected(address) as client:
            return bool(client.recv(_GREETING_BYTES))
    except OSError:
        return False


def check_free(address: Address) -> None:
    """Raise CommandError if no server can listen there."""
    cure = "name another one with --address"
    if isinstance(address, str):
        with contextlib.suppress(OSError), _connected(address):
            raise CommandError(f"{address} is in use; {cure}")
        if not os.access(Path(address).parent, os.W_OK):
            raise CommandError(f"can't make a socket in {Path(address).parent}; {cure}")
        if Path(address).exists() and not Path(address).is_socket():
            raise CommandError(f"{address} is there already, and no socket; {cure}")
        return
    try:
        socket.create_server(address, family=_family(address)).close()
    except OSError as error:
        raise CommandError(
            f"can't listen at {text(address)} ({one_line(error)}); {cure}"
        ) from error


def text(address: Address) -> str:
    """The address as it is in a URI."""
    if isinstance(address, str):
        return address
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _connected(address: Address) -> socket.socket:
    if not isinstance(address, str):
        return socket.create_connection(address, _CONNECT_SECONDS)
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(_CONNECT_SECONDS)
    try:
        client.connect(address)
    except BaseException:
        client.close()
        raise
    return client


def _family(address: tuple[str, int]) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address[0] else socket.AF_INET


def _checked(path: str) -> str:
    """The path of a socket, if the system and a URI can have it."""
    cure = "name a shorter one, or a port, with --address"
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise CommandError(f"{path} is too long for a Unix socket; {cure}")
    if re.search(r"[?#\s]", path):
        raise CommandError(f"{path} can't be in a URI as it is; {cure}")
    return path
