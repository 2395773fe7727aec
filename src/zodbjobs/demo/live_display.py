"""Several jobs at a time: live bars in a terminal, a line for each change in a pipe."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from zodbjobs.terminal import duration, state_text

# Seconds between two lines of a pipe, while only the percentage changes.
_LINE_SECONDS = 2.0

# Columns of a bar.
_BAR_WIDTH = 14

# Columns of the longest state, so that nothing jumps.
_STATE_WIDTH = 9


class Row(NamedTuple):
    """What is shown of a job: its name, state, percentage, a text, and seconds of work."""

    name: str
    state: str
    percent: float | None
    text: str
    seconds: float | None


def display_for(console: Console) -> Bars | Lines:
    """The display that `console` is able to show; a context manager."""
    return Bars(console) if console.is_terminal else Lines(console)


class Bars:
    """Live bars in a terminal, one for each job."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Bars:
        self._live.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._live.stop()

    def show(self, rows: Sequence[Row]) -> None:
        """Draw all rows anew."""
        table = Table.grid(padding=(0, 2))
        # Where the terminal is too narrow, the text at the end is cut off.
        table.add_column(min_width=max(len(row.name) for row in rows))
        table.add_column(min_width=_STATE_WIDTH)
        table.add_column(min_width=_BAR_WIDTH)
        table.add_column(min_width=5, justify="right")
        table.add_column(min_width=6, justify="right")
        table.add_column(no_wrap=True, overflow="ellipsis", style="dim")
        for row in rows:
            # A job that doesn't tell how far it is has no bar.
            bar = "" if row.percent is None else ProgressBar(100, row.percent, _BAR_WIDTH)
            state, seconds = state_text(row.state), duration(row.seconds)
            table.add_row(row.name, state, bar, _percent(row), seconds, row.text)
        self._live.update(table, refresh=True)


class Lines:
    """Lines in a pipe: one for each change of a state, and now and then how far a job is."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._written: dict[str, tuple[Row, float]] = {}

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def show(self, rows: Sequence[Row]) -> None:
        """Write a line for each row that has changed."""
        now = time.monotonic()
        for row in rows:
            if self._is_new(row, now):
                self._written[row.name] = row, now
                words = (f"{row.name}: {row.state}", _percent(row), row.text)
                self._console.print("  ".join(word for word in words if word))

    def _is_new(self, row: Row, now: float) -> bool:
        if row.name not in self._written:
            return True
        written, at = self._written[row.name]
        if row.state != written.state:
            return True
        return row.percent != written.percent and now >= at + _LINE_SECONDS


def _percent(row: Row) -> str:
    return "" if row.percent is None else f"{row.percent:.0f} %"
