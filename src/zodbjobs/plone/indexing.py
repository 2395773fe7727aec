"""The indexing queue of CMFCore, which is kept for each thread.

It is processed in a hook before the commit. The run context of a job is left after that, so the
hook finds the job's site, user and request, and what it writes is in the job's commit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zodbjobs import cleanup

#: Where the queue is.
MODULE = "Products.CMFCore.indexing"


def register() -> None:
    """See to it that no job finds what another one has left there."""
    cleanup.register(MODULE, clear, save)


def clear(indexing: Any) -> None:
    """Drop what the calling thread has there, and its hook, whose transaction is over."""
    if indexing.localQueue is not None:
        indexing.localQueue.clear()


def save(indexing: Any) -> Callable[[], object]:
    """What puts back what is there now: what a test has indexed, and not committed yet."""
    queue = indexing.getQueue()
    state, hook = queue.getState(), queue.tmhook

    def put_back() -> None:
        queue.setState(state)
        queue.setHook(hook)

    return put_back
