"""``python -m clocked_main WORDS``: the command line, for which a test says when signals come.

In the directory SIGNAL_CLOCK the file `seconds` says what time it is for the thread that
takes signals, and each look at that time adds a line to the file `looks`.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from zodbjobs import clock
from zodbjobs.cli.main import main

PLACE = Path(os.environ["SIGNAL_CLOCK"])


class SignalClock(clock.SystemClock):
    """The machine's clock for all other threads."""

    def monotonic(self) -> float:
        if threading.current_thread().name != "signals":
            return super().monotonic()
        seconds = float((PLACE / "seconds").read_text())
        with (PLACE / "looks").open("a") as looks:
            looks.write("look\n")
        return seconds


if __name__ == "__main__":
    clock.current = SignalClock()
    main()
