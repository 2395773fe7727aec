"""Tables of what was measured; `python report.py [FILE]` prints those of an earlier run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from contenders import FLOORS, OURS, PEERS, place

TITLES = {
    "drain": "Drain: no-op jobs queued before, one worker",
    "put": "Put: one job in each commit",
    "effect": "Effect: each job adds one to an object of its own in a ZODB",
}
_EMBEDDED = ("huey", "rq", "celery", "dramatiq")
#: Ours on PostgreSQL over the peer, at least.
_ON_POSTGRES = {"pgqueuer": 0.8, "procrastinate": 1.0, "oban": 1.0}
#: Ours on FileStorage over the best of the embedded ones, at least.
_ON_FILE = 5.0


def text(found: dict[str, Any]) -> str:
    """All tables, in Markdown."""
    parts = [_heading(found)]
    for figure, values in found["figures"].items():
        parts += [f"## {TITLES[figure]}", _table(figure, values, found)]
        if figure == "drain":
            parts += ["### Ratios", _ratio_table(values)]
    return "\n\n".join(parts) + "\n"


def is_good(found: dict[str, Any]) -> bool:
    """Whether nothing failed, and all ratios that could be told were reached."""
    figures = found["figures"].values()
    failed = any("failed" in v for values in figures for v in values.values())
    rows = ratios(found["figures"].get("drain", {}))
    return not failed and all(ratio >= target for _, ratio, target in rows)


def ratios(drain: dict[str, Any]) -> list[tuple[str, float, float]]:
    """What is compared, the ratio of the medians, and what it should be at least."""
    rows = []
    rates = {name: values["median"] for name, values in drain.items() if "median" in values}
    for name, target in _ON_POSTGRES.items():
        if name in rates and "ours-postgres" in rates:
            what = f"zodbjobs on PostgreSQL / {PEERS[name].title}"
            rows.append((what, rates["ours-postgres"] / rates[name], target))
    best = max((name for name in _EMBEDDED if name in rates), key=rates.__getitem__, default="")
    if best and "ours-file" in rates:
        others = ", ".join(PEERS[name].title for name in _EMBEDDED if name in rates)
        what = f"zodbjobs on FileStorage / {PEERS[best].title}, the best of {others}"
        rows.append((what, rates["ours-file"] / rates[best], _ON_FILE))
    return rows


def _heading(found: dict[str, Any]) -> str:
    machine = found["machine"]
    servers = ", ".join(f"{name} {v}" for name, v in sorted(found.get("servers", {}).items()))
    return (
        f"{found['when'][:10]}, {machine['system']}, {machine['cores']} shared cores, "
        f"{machine['memory GB']} GB; Python {found['python']} for all; {servers}; "
        f"median of {found['rounds']} rounds; load before: {machine['load before']}."
    )


def _table(figure: str, values: dict[str, Any], found: dict[str, Any]) -> str:
    lines = ["| system | version | jobs in | result | jobs in a round | per second |"]
    lines.append("|---|---|---|---|---:|---:|")
    every = {**OURS, **FLOORS, **PEERS}

    def rate(name: str) -> float:
        return float(values[name].get("median", 0.0))

    for name in sorted(values, key=rate, reverse=True):
        contender, value = every[name], values[name]
        versions = found["versions"].get(contender.environment, {})
        package = "zodbjobs" if contender.environment == "ours" else name
        version = versions.get(package, "")
        result = contender.results if figure == "drain" else ""
        number = f"{value['jobs']:,}" if "jobs" in value else ""
        shown = f"{rate(name):,.0f}" + _spread(value["rates"]) if value["rates"] else ""
        for problem in ("not measured", "failed"):
            if problem in value:
                shown = f"{problem}: {value[problem]}"
        cells = [contender.title, version, place(name, contender), result, number, shown]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _spread(rates: list[float]) -> str:
    return f" ({min(rates):,.0f} to {max(rates):,.0f})"


def _ratio_table(drain: dict[str, Any]) -> str:
    lines = ["| | ratio | to reach | |", "|---|---:|---:|---|"]
    for what, ratio, target in ratios(drain):
        mark = "reached" if ratio >= target else "missed"
        lines.append(f"| {what} | {ratio:.2f} | {target:.1f} | {mark} |")
    return "\n".join(lines)


if __name__ == "__main__":
    default = Path(__file__).parents[1] / "results" / "peers.json"
    print(text(json.loads(Path(sys.argv[1] if sys.argv[1:] else default).read_text())))
