"""What a job system has to offer to be measured.

Each peer's file has one `PEER`. It runs in the peer's own environment, so that nothing but the
standard library is at hand here.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

#: Where the jobs are: the URL of a server, or a folder.
AT = os.environ.get("PEERS_AT", "")

#: The application's ZODB, for those whose jobs are elsewhere: `HOST:PORT` of ZEO.
ZODB_AT = os.environ.get("PEERS_ZODB", "")


class Peer:
    """A job system. Each method works on what `AT` names."""

    def setup(self) -> None:
        """Make what is needed in the empty database."""

    def fill(self, number: int) -> None:
        """Queue jobs that return 1, as fast as it goes."""
        raise NotImplementedError

    def put(self, number: int) -> None:
        """Queue jobs that return 1, each durable before the next."""
        raise NotImplementedError

    def fill_effects(self, number: int) -> None:
        """Make so many objects in the ZODB, and queue a job for each that adds one to it."""
        raise NotImplementedError

    def changed(self) -> int:
        """How many of those objects were changed exactly once."""
        raise NotImplementedError

    def worker(self) -> list[str]:
        """The command that runs one worker."""
        return [sys.executable, "measure.py", type(self).__module__, "work"]

    def work(self) -> None:
        """Be the worker, if there is no command for it."""
        raise NotImplementedError

    def done(self, number: int) -> int:
        """How many of `number` jobs are done, in the database."""
        raise NotImplementedError

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """While one worker process runs."""
        with process(self.worker()):
            yield


def script(name: str) -> str:
    """A command of the peer's environment."""
    return str(Path(sys.executable).parent / name)


@contextlib.contextmanager
def process(command: list[str]) -> Iterator[None]:
    """A process with all that it starts; its last lines are shown if something goes wrong."""
    with tempfile.TemporaryFile("w+") as log:
        worker = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            yield
        except Exception:
            log.seek(0)
            print(log.read()[-2000:], file=sys.stderr)
            raise
        finally:
            worker.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.wait(10)
            # What it has started and left behind, such as the processes of a pool.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
