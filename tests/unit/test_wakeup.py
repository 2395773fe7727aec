"""Asking a storage that isn't told of commits."""

from __future__ import annotations

import threading
from types import SimpleNamespace

from zodbjobs.runtime.wakeup import Polled


class Session:
    """A storage's session that notes whether two threads are in it."""

    def __init__(self) -> None:
        self.threads = 0
        self.most = 0
        self.second = threading.Event()

    def poll_invalidations(self) -> None:
        self.threads += 1
        self.most = max(self.most, self.threads)
        if self.threads > 1:
            self.second.set()
        self.second.wait(0.2)  # for another thread, which is not to come
        self.threads -= 1

    def lastTransaction(self) -> bytes:
        return b"\0" * 8

    def afterCompletion(self) -> None:
        pass


def test_one_thread_asks_at_a_time() -> None:
    session = Session()
    polled = Polled(SimpleNamespace(storage=SimpleNamespace(new_instance=lambda: session)))

    def ask() -> None:
        polled.hurry()
        polled.last()

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert session.most == 1
