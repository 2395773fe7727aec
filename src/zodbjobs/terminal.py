"""Texts for a terminal or a pipe: states, durations and times. Needs the extra ``cli``.

The command line and the demo share it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from zodbjobs import clock

# Columns of a pipe, which has no width of its own. What is longer is cut off.
_PIPE_WIDTH = 240

_STYLES = {
    "active": "cyan",
    "assigned": "cyan",
    "waiting": "",
    "scheduled": "blue",
    "parked": "yellow",
    "succeeded": "green",
    "failed": "bold red",
    "aborted": "bold red",
    "expired": "yellow",
    "cancelled": "yellow",
    "stuck": "yellow",
    "silent": "yellow",
    "gone": "bold red",
}


# What a terminal takes for commands, each shown as a question mark: titles and what jobs say are
# texts of anybody's.
_COMMANDS = {code: "?" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}


class _Console(Console):
    """A console that obeys nothing of what it shows."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            text, style, control = segment
            yield segment if control else Segment(text.translate(_COMMANDS), style)


def console(stderr: bool = False) -> Console:
    """The console of stdout, or of stderr."""
    made = _Console(stderr=stderr, highlight=False, emoji=False, markup=False)
    if not made.is_terminal:
        made = _Console(
            stderr=stderr, highlight=False, emoji=False, markup=False, width=_PIPE_WIDTH
        )
    return made


def state_text(state: str) -> Text:
    """The state in its colour."""
    return Text(state, _STYLES.get(state, ""))


def queue_text(name: str) -> str:
    """The name of a queue for people; the default queue has none."""
    return name or "(default)"


def duration(seconds: float | None) -> str:
    """Seconds as people say them, or an empty text for None."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86400:.0f} days"


def since(moment: datetime | None) -> str:
    """How long ago an aware datetime was, or in how long it will be; empty for None."""
    if moment is None:
        return ""
    seconds = (clock.to_datetime(clock.now()) - moment).total_seconds()
    return f"in {duration(-seconds)}" if seconds < 0 else f"{duration(seconds)} ago"


def one_line(text: object) -> str:
    """The text without line ends."""
    return " ".join(str(text).split())
