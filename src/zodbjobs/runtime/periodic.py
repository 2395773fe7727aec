"""What is done at intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from zodbjobs import clock


class Interval:
    """Tells whether `seconds` have passed, by the monotonic clock, since something was done."""

    def __init__(self, seconds: float, *, at_once: bool = False) -> None:
        self._seconds = seconds
        self._next = clock.monotonic() + (0 if at_once else seconds)

    def is_due(self) -> bool:
        """Whether it is time to do it."""
        return clock.monotonic() >= self._next

    def done(self) -> None:
        """Note that it was done now."""
        self._next = clock.monotonic() + self._seconds


class Task:
    """Something that is done every `seconds`; at once again if `run` returns True."""

    def __init__(
        self, seconds: float, run: Callable[[], object], *, at_once: bool = False
    ) -> None:
        self._interval = Interval(seconds, at_once=at_once)
        self._run = run

    def tick(self) -> None:
        """Run it if it is due."""
        if self._interval.is_due() and self._run() is not True:
            self._interval.done()


def tick(tasks: Iterable[Task]) -> None:
    """Run those of the tasks that are due."""
    for task in tasks:
        task.tick()
