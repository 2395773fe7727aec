"""Charts: columns in SVG, drawn on the server from periods; with the same as a table."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from datetime import datetime

from zodbjobs.insights import Period
from zodbjobs.web.language import Language

#: The height of a chart in its own units; each column is 1 wide.
HEIGHT = 100.0

# Of a column, what is left free at each side.
_GAP = 0.1

# The least height of what isn't nothing.
_LEAST = 1.5


@dataclasses.dataclass(frozen=True)
class Part:
    """A rectangle: `look` is a class of the style."""

    look: str
    x: float
    y: float
    width: float
    height: float


@dataclasses.dataclass(frozen=True)
class Column:
    """A period: its parts, and what is said of it."""

    x: int
    parts: tuple[Part, ...]
    said: str


@dataclasses.dataclass(frozen=True)
class Chart:
    """What is drawn. `said`: all of it in a sentence; `most`: what the full height stands for.

    `rows`: of the table, each the start of a period and its values; `heads` are those of these.
    """

    name: str
    title: str
    said: str
    most: str
    since: str
    legend: tuple[tuple[str, str], ...]
    columns: tuple[Column, ...]
    heads: tuple[str, ...]
    rows: tuple[tuple[datetime, tuple[str, ...]], ...]

    @property
    def box(self) -> str:
        """The viewBox."""
        return f"0 0 {len(self.columns)} {HEIGHT:g}"


def throughput(
    language: Language, name: str, periods: Sequence[Period], title: str, since: str
) -> Chart:
    """How many ended, those without success at the foot of each column."""
    most = _round_up(max((each.finished for each in periods), default=0))
    finished, failed = sum(p.finished for p in periods), sum(p.failed for p in periods)
    columns = []
    for x, period in enumerate(periods):
        said = _counted(language, period.finished, period.failed)
        bad = _part("bad", x, 0, period.failed / most)
        good = _part("good", x, bad.height, (period.finished - period.failed) / most)
        columns.append(Column(x, _drawn(bad, good), said))
    return Chart(
        name,
        title,
        _counted(language, finished, failed),
        language.number(round(most)),
        since,
        (("good", language.t("finished")), ("bad", language.t("without success"))),
        tuple(columns),
        (language.t("finished"), language.t("without success")),
        tuple(
            (p.start, (language.number(p.finished), language.number(p.failed)))
            for p in periods
            if p.finished
        ),
    )


def waiting(
    language: Language, name: str, periods: Sequence[Period], title: str, since: str
) -> Chart:
    """For how long jobs had waited when they were begun: half of them, and 95 of 100."""
    times = [period.waiting_time for period in periods]
    known = [each for each in times if each is not None]
    most = _round_up(max((each.p95 for each in known), default=0.0))
    columns = []
    for x, each in enumerate(times):
        if each is None:
            columns.append(Column(x, (), language.t("nothing was begun")))
            continue
        half, nearly = language.duration(each.p50), language.duration(each.p95)
        said = language.t("half up to {half}, 95 of 100 up to {nearly}", half=half, nearly=nearly)
        low = _part("half", x, 0, each.p50 / most)
        high = _part("nearly", x, low.height, (each.p95 - each.p50) / most)
        columns.append(Column(x, _drawn(low, high), said))
    last = next((c.said for c in reversed(columns) if c.parts), language.t("nothing was begun"))
    return Chart(
        name,
        title,
        last,
        language.duration(most) if known else "",
        since,
        (("half", language.t("half of them")), ("nearly", language.t("95 of 100"))),
        tuple(columns),
        (language.t("half of them"), language.t("95 of 100")),
        tuple(
            (p.start, (language.duration(each.p50), language.duration(each.p95)))
            for p, each in zip(periods, times, strict=True)
            if each is not None
        ),
    )


def _counted(language: Language, finished: int, failed: int) -> str:
    text = language.n("{count} finished", "{count} finished", finished)
    if not failed:
        return text
    bad = language.n("{count} without success", "{count} without success", failed)
    return f"{text}, {bad}"


def _drawn(*parts: Part) -> tuple[Part, ...]:
    return tuple(part for part in parts if part.height > 0)


def _part(look: str, x: int, below: float, share: float) -> Part:
    """A part on top of what is `below` high."""
    height = 0.0 if share <= 0 else max(_LEAST, share * (HEIGHT - _LEAST))
    y = round(HEIGHT - below - height, 2)
    return Part(look, round(x + _GAP, 2), max(0.0, y), round(1 - 2 * _GAP, 2), round(height, 2))


def _round_up(value: float) -> float:
    """The next number that begins with 1, 2 or 5; 1 for nothing."""
    if value <= 0:
        return 1.0
    power: float = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value * 0.999)
