"""Schedules in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from rich.table import Table
from rich.text import Text

from zodbjobs.insights import RunInfo, ScheduleDetails, ScheduleInfo
from zodbjobs.terminal import console, duration, one_line, queue_text

# Of a run that is this late people want to know.
_LATE = timedelta(seconds=5)


def print_schedules(found: Sequence[ScheduleInfo]) -> None:
    """Print schedules, one a line."""
    out = console()
    if not found:
        out.print("there are no schedules; `zodbjobs schedules DATABASE add` makes one")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("NAME", "STATE", "WHEN", "NEXT", "LAST", "CALLS"):
        table.add_column(name, no_wrap=name in ("STATE", "NEXT"))
    for each in found:
        when = each.when if each.zone == "UTC" else f"{each.when} {each.zone}"
        row = (each.name, _state(each), when, _next(each), _run(each.last), each.calls)
        table.add_row(*(Text(one_line(cell)) for cell in row))
    out.print(table)


def print_schedule(found: ScheduleDetails) -> None:
    """Print all of a schedule."""
    out = console()
    fields = {
        "name": found.name,
        "state": _state(found),
        "paused": _pause(found),
        "lacks here": found.unreadable,
        "when": f"{found.when} ({found.words}), {found.zone}",
        "calls": found.calls,
        "title": found.title,
        "owner": found.owner,
        "realm": found.realm,
        "queue": queue_text(found.queue),
        "catch up": f"{found.catch_up}, {_window(found.window)}",
        "overlap": found.overlap,
        "jitter": duration(found.jitter.total_seconds()) if found.jitter else None,
        "pause after": _failures(found.pause_after_failures),
        "fired": f"{found.fired:,} times",
        "declared": "by the code of workers" if found.declared else None,
    }
    for name, value in fields.items():
        if value:
            out.print(Text(f"{name:12} {one_line(value)}"), soft_wrap=True)
    for moment in found.upcoming:
        out.print(Text(f"{'next':12} {_moment(moment)}"))
    for run in found.runs:
        out.print(Text(f"{'run':12} job {run.job_id}, {_run(run)}"), soft_wrap=True)
    for planned, why in found.left_out:
        out.print(Text(f"{'left out':12} {_moment(planned)}: {why}"))


def _state(found: ScheduleInfo) -> str:
    return f"late by {_span(found.lateness)}" if found.lateness > _LATE else found.state


def _next(found: ScheduleInfo) -> str:
    return "" if found.next is None else _moment(found.next)


def _pause(found: ScheduleInfo) -> str | None:
    if found.paused is None or found.paused_since is None:
        return None
    by = f" by {found.paused_by}" if found.paused_by else ""
    return f"since {_moment(found.paused_since)}{by}: {found.paused}"


def _window(window: timedelta | None) -> str:
    return "of any age" if window is None else f"for {_span(window)}"


def _failures(number: int | None) -> str | None:
    if number is None:
        return None
    return "1 failure" if number == 1 else f"{number} failures in a row"


def _run(run: RunInfo | None) -> str:
    if run is None:
        return ""
    late = f", {_span(run.lateness)} late" if run.lateness > _LATE else ""
    return f"{_moment(run.planned)} {run.state}{late}"


def _span(span: timedelta) -> str:
    return duration(span.total_seconds())


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"
