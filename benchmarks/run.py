"""Measures zodbjobs against the storage's own floor, and what an operator cares about.

Prints a table as it goes, writes all rounds as JSON, and ends with status 1 if a figure
wasn't reached.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from figures import FILE_FIGURES, Figure, Values
from insight_figures import INSIGHT_FIGURES
from piece_figures import PIECE_FIGURES
from poll_figures import POLL_FIGURES
from schedule_figures import SCHEDULE_FIGURES
from server_figures import SERVER_FIGURES
from sweep_figures import SWEEP_FIGURES
from together_figures import TOGETHER_FIGURES
from web_figures import WEB_FIGURES

RESULTS = Path(__file__).parent / "results"
_WEB_FIGURES = {**POLL_FIGURES, **WEB_FIGURES}
_INSIGHT_FIGURES = {**SWEEP_FIGURES, **SCHEDULE_FIGURES, **INSIGHT_FIGURES}
FIGURES = {**FILE_FIGURES, **PIECE_FIGURES, **_INSIGHT_FIGURES, **_WEB_FIGURES, **SERVER_FIGURES}
FIGURES |= TOGETHER_FIGURES

# These are averages of many in themselves, or take long.
_SLOW = ("latency", "zeo_latency", "pg_latency")
_ONCE = (
    *("backlog", "insights_million", "lists_million", "web_million", "zeo_idle", "pg_idle"),
    "sweep_memory",
    "schedules_idle",
)


def measure(figure: Figure, rounds: int) -> tuple[Values, list[Values]]:
    """The medians, and what they are the medians of."""
    values = [figure.measure() for _ in range(rounds)]
    return {name: statistics.median(v[name] for v in values) for name in values[0]}, values


def show(value: float) -> str:
    """A number as short as it is useful."""
    return f"{value:.2f}" if value < 100 else f"{value:,.0f}"


def main() -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=", ".join(FIGURES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, default=RESULTS / "latest.json")
    options = parser.parse_args()
    unknown = set(options.figures) - set(FIGURES)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(FIGURES)}")
    print(f"{'figure':58} {'to reach':>13}  median of {options.rounds}")
    report: dict[str, Any] = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "figures": {},
    }
    missed = 0
    for key in options.figures or FIGURES:
        figure = FIGURES[key]
        most = 1 if key in _ONCE else 3 if key in _SLOW else options.rounds
        rounds = min(options.rounds, most)
        medians, values = measure(figure, rounds)
        reached = figure.reached(medians)
        missed += not reached
        text = ", ".join(f"{name} {show(value)}" for name, value in medians.items())
        mark = "" if reached else "   <- missed"
        print(f"{figure.name:58} {figure.target:>13}  {text}{mark}", flush=True)
        report["figures"][key] = {"medians": medians, "rounds": values, "reached": reached}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(report, indent=2) + "\n")
    print(f"all rounds: {options.json}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
