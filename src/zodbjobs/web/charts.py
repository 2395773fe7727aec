"""Charts: columns in SVG, drawn on the server from periods; and the same as tables."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from datetime import datetime

from zodbjobs.insights import Period, Times
from zodbjobs.web.language import Language

#: The height of a chart in its own units; each column is 1 wide.
HEIGHT = 100.0

# Of a column, what is left free at each side.
_GAP = 0.1

# The least height of what isn't nothing.
_LEAST = 1.5


@dataclasses.dataclass(frozen=True)
class Shape:
    """The parts of all columns that look the same: a class of the style, and an SVG path."""

    look: str
    path: str


@dataclasses.dataclass(frozen=True)
class Chart:
    """What is drawn. `said`: all of it in a sentence; `most`: what the full height stands for.

    `columns`: what is said of each.
    """

    name: str
    title: str
    said: str
    most: str
    since: str
    legend: tuple[tuple[str, str], ...]
    columns: tuple[str, ...]
    shapes: tuple[Shape, ...]

    @property
    def box(self) -> str:
        """The viewBox."""
        return f"0 0 {len(self.columns)} {HEIGHT:g}"


@dataclasses.dataclass(frozen=True)
class Table:
    """The numbers of some charts; each row is the start of a period, and its values."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[datetime, tuple[str, ...]], ...]


def table(language: Language, title: str, periods: Sequence[Period]) -> Table:
    """All that the charts show of periods, but of those in which nothing ended."""
    t = language.t
    heads = (t("finished"), t("without success"), t("half had waited"), t("95 of 100 had waited"))
    return Table(title, heads, tuple(_row(language, each) for each in periods if each.finished))


def _row(language: Language, period: Period) -> tuple[datetime, tuple[str, ...]]:
    times = period.waiting_time
    waited = (None, None) if times is None else (times.p50, times.p95)
    counts = (language.number(period.finished), language.number(period.failed))
    return period.start, (*counts, *(language.duration(each) for each in waited))


def throughput(
    language: Language, name: str, periods: Sequence[Period], title: str, since: str
) -> Chart:
    """How many ended, those without success at the foot of each column."""
    most = _round_up(max((each.finished for each in periods), default=0))
    good, bad = [], []
    for x, each in enumerate(periods):
        foot = _height(each.failed / most)
        bad.append(_part(x, 0, foot))
        good.append(_part(x, foot, _height((each.finished - each.failed) / most)))
    finished, failed = sum(p.finished for p in periods), sum(p.failed for p in periods)
    heads = (language.t("finished"), language.t("without success"))
    return Chart(
        name,
        title,
        _counted(language, finished, failed),
        language.number(round(most)),
        since,
        tuple(zip(("good", "bad"), heads, strict=True)),
        tuple(_counted(language, each.finished, each.failed) for each in periods),
        (Shape("good", "".join(good)), Shape("bad", "".join(bad))),
    )


def waiting(
    language: Language, name: str, periods: Sequence[Period], title: str, since: str
) -> Chart:
    """For how long jobs had waited when they were begun: half of them, and 95 of 100."""
    times_of = [period.waiting_time for period in periods]
    known = [(x, times) for x, times in enumerate(times_of) if times is not None]
    most = _round_up(max((times.p95 for _, times in known), default=0.0))
    said = [language.t("nothing was begun")] * len(periods)
    half, nearly = [], []
    for x, times in known:
        low = _height(times.p50 / most)
        half.append(_part(x, 0, low))
        nearly.append(_part(x, low, _height((times.p95 - times.p50) / most)))
        said[x] = said_times(language, times)
    heads = (language.t("half of them"), language.t("95 of 100"))
    return Chart(
        name,
        title,
        said[known[-1][0]] if known else language.t("nothing was begun"),
        language.duration(most) if known else "",
        since,
        tuple(zip(("half", "nearly"), heads, strict=True)),
        tuple(said),
        (Shape("half", "".join(half)), Shape("nearly", "".join(nearly))),
    )


def said_times(language: Language, times: Times) -> str:
    """How long jobs took, or waited, in words."""
    half, nearly = language.duration(times.p50), language.duration(times.p95)
    return language.t("half up to {half}, 95 of 100 up to {nearly}", half=half, nearly=nearly)


def _counted(language: Language, finished: int, failed: int) -> str:
    text = language.n("{count} finished", "{count} finished", finished)
    if not failed:
        return text
    bad = language.n("{count} without success", "{count} without success", failed)
    return f"{text}, {bad}"


def _height(share: float) -> float:
    """The height of a part; what isn't nothing is to be seen."""
    return 0.0 if share <= 0 else max(_LEAST, share * (HEIGHT - _LEAST))


def _part(x: int, below: float, height: float) -> str:
    """A rectangle on top of what is `below` high, as a piece of a path."""
    if not height:
        return ""
    top = max(0.0, HEIGHT - below - height)
    width = 1 - 2 * _GAP
    return f"M{x + _GAP:g} {top:.1f}h{width:g}v{height:.1f}h-{width:g}z"


def _round_up(value: float) -> float:
    """The next number that begins with 1, 2 or 5; 1 for nothing."""
    if value <= 0:
        return 1.0
    power: float = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value * 0.999)
