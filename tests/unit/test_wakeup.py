"""Asking a storage that isn't told of commits."""

from __future__ import annotations

from types import SimpleNamespace

from zodbjobs.runtime.wakeup import Polled


class Session:
    """A storage's session, which is for one thread at a time."""

    polled: Polled
    asked = 0

    def poll_invalidations(self) -> None:
        assert self.polled._lock.locked()
        self.asked += 1

    def lastTransaction(self) -> bytes:
        assert self.polled._lock.locked()
        return b"\0" * 8

    def afterCompletion(self) -> None:
        assert self.polled._lock.locked()


def test_one_thread_asks_at_a_time() -> None:
    session = Session()
    storage = SimpleNamespace(new_instance=lambda: session)
    session.polled = Polled(SimpleNamespace(storage=storage))
    session.polled.last()
    assert session.asked == 1
    assert not session.polled._lock.locked()
