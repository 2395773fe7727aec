"""Interrupt: tells the Ctrl-C of a person from what an application raises."""

from __future__ import annotations

import threading


def is_ctrl_c(error: BaseException) -> bool:
    """Whether it is the Ctrl-C of whoever runs jobs in the main thread, as tests do.

    Anything else that an application raises ends neither a worker nor one of its threads, whatever
    its class.
    """
    is_main = threading.current_thread() is threading.main_thread()
    return isinstance(error, KeyboardInterrupt) and is_main
