"""Who gets the signals that stop a process."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

import pytest

from zodbjobs.runtime import signals


def _mine(number: int, frame: FrameType | None) -> None:
    """A handler that is set meanwhile."""


@pytest.mark.promise(107)
def test_the_handlers_from_before_come_back() -> None:
    before = [signal.getsignal(number) for number in signals.STOP]
    came = threading.Event()
    with signals.taken(lambda number: came.set()):
        os.kill(os.getpid(), signal.SIGTERM)
        assert came.wait(60)
    assert [signal.getsignal(number) for number in signals.STOP] == before


@pytest.mark.promise(107)
def test_a_handler_that_was_set_meanwhile_stays() -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        with signals.taken(lambda number: None):
            signal.signal(signal.SIGTERM, _mine)
        assert signal.getsignal(signal.SIGTERM) is _mine
    finally:
        signal.signal(signal.SIGTERM, before)
