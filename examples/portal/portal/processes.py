"""What runs: everything in one process, or a server, a worker and the web each in its own."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time

from portal.application import application, configure, opened
from portal.register import FACULTIES, PEOPLE, make_portal
from zodbjobs import Worker
from zodbjobs.web.server import make_server

_THREADS = 4

# Seconds to wait for a server to listen.
_PATIENCE = 30

_ZEO = """
<zeo>
  address {host}:{port}
</zeo>
<filestorage 1>
  path {folder}/Data.fs
  blob-dir {folder}/blobs
</filestorage>
"""


def run_in_one(folder, port):
    """Everything in this process, which has the file alone."""
    configure()
    with opened(folder) as db:
        passwords = make_portal(db)
        worker = Worker(db, threads=_THREADS)
        server = make_server(application(db), "127.0.0.1", port, threads=_THREADS)
        worker.start()
        tell(server.url, passwords)
        try:
            server.run()
        finally:
            worker.stop()


def run_apart(folder, port):
    """A ZEO server and a worker in processes of their own, the web in this one."""
    with contextlib.ExitStack() as stack:
        address = f"127.0.0.1:{start_zeo(stack, folder)}"
        configure()
        db = stack.enter_context(opened(folder, parsed(address)))
        passwords = make_portal(db)
        worker = start(stack, "portal", "worker", "--folder", folder, "--zeo-at", address)
        server = make_server(application(db), "127.0.0.1", port, threads=_THREADS)
        tell(server.url, passwords)
        _say(f"ZEO listens at {address}; the worker is process {worker.pid}.")
        server.run()


def run_web(folder, port, address):
    """The web alone, for a database that has been set up."""
    configure()
    with opened(folder, address) as db:
        server = make_server(application(db), "127.0.0.1", port, threads=_THREADS)
        _say(f"The portal is at {server.url}")
        server.run()


def run_worker(folder, address):
    """A worker alone."""
    configure()
    with opened(folder, address) as db:
        return Worker(db, threads=_THREADS).run()


def set_up(folder, address):
    """Make the portal, and print the passwords."""
    configure()
    with opened(folder, address) as db:
        tell(None, make_portal(db))


def start_zeo(stack, folder):
    """Start a ZEO server; its port, once it listens."""
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = folder / "zeo.conf"
    settings.write_text(_ZEO.format(host="127.0.0.1", port=port, folder=folder.resolve()))
    start(stack, "ZEO.runzeo", "-C", settings)
    deadline = time.monotonic() + _PATIENCE
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return port
        if time.monotonic() > deadline:
            raise TimeoutError("the ZEO server doesn't listen")
        time.sleep(0.05)


def start(stack, module, *words):
    """Start a Python program, which is terminated when `stack` is left."""
    process = subprocess.Popen([sys.executable, "-m", module, *map(str, words)])
    stack.callback(process.wait)
    stack.callback(process.terminate)
    return process


def parsed(address):
    """Host and port of HOST:PORT."""
    host, _, port = address.rpartition(":")
    return host, int(port)


def tell(url, passwords):
    """Say where the portal is, and who can log in."""
    if url is not None:
        _say(f"The portal is at {url}")
    for login, password in passwords.items():
        title, _, faculty = PEOPLE[login]
        what = "manager" if faculty is None else f"officer of {FACULTIES[faculty][0]}"
        _say(f"  {login:6} {password:14} {title}, {what}")


def _say(text):
    print(text, flush=True)  # noqa: T201
