"""What came of the runs so far, as a table."""

from __future__ import annotations

from collections.abc import Iterable

from weather.records import Record, Records

_HEAD = ("weather", "runs passed", "failed", "tests", "tests failed", "minutes a run")


def show(records: Records, weathers: Iterable[str], runs: int) -> None:
    """Print it: a line for each weather, of the commit that is tested."""
    lines = [_HEAD, *(_line(records, weather, runs) for weather in weathers)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    print(f"\n{records.commit}")
    for line in lines:
        first, *rest = zip(line, widths, strict=True)
        cells = [first[0].ljust(first[1]), *(text.rjust(width) for text, width in rest)]
        print("  ".join(cells), flush=True)


def _line(records: Records, weather: str, runs: int) -> tuple[str, ...]:
    done = [run for run in records.runs if run.weather == weather]
    bad = [run for run in done if not run.is_good]
    return (
        weather,
        f"{records.good(weather)} of {runs}",
        str(len(bad)),
        _range(run.passed + run.failed for run in done),
        str(sum(run.failed for run in done)),
        _range(round(run.seconds / 60) for run in done),
    )


def _range(numbers: Iterable[int]) -> str:
    found = sorted(numbers)
    if not found:
        return "-"
    return str(found[0]) if found[0] == found[-1] else f"{found[0]} to {found[-1]}"


def tell(run: Record) -> str:
    """One run, as a line."""
    how = "passed" if run.is_good else "FAILED" if run.failed else "BROKE OFF"
    return (
        f"{run.weather}: {how} in {run.seconds / 60:.0f} minutes, "
        f"{run.passed} tests passed, {run.failed} failed, seed {run.seed}"
    )
