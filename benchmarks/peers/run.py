"""Measures zodbjobs and other job systems in turn, on this machine.

Prints tables, writes all rounds as JSON, and ends with status 1 if a ratio wasn't reached or
something went wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import signal
import statistics
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import environments
import report
from contenders import FLOORS, OURS, PEERS, SERVERS, Contender
from places import NotHere, Places

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results" / "peers.json"

#: For each figure: jobs of the round that is thrown away, seconds that the others are to
#: take, and the least and the most jobs for them.
SIZES = {
    "drain": (2_000, 5.0, 2_000, 100_000),
    "put": (200, 3.0, 300, 10_000),
    "effect": (1_000, 5.0, 1_000, 20_000),
}
_LONGEST_SECONDS = 600


class Failed(Exception):
    """A round ended with an error; the text is what was said."""


class Bench:
    """Takes the rounds of all contenders that can be measured here."""

    def __init__(self, names: list[str], python: str) -> None:
        self.contenders = {**OURS, **FLOORS, **{name: PEERS[name] for name in names}}
        self.problems: dict[str, str] = {}
        version = environments.version(python)
        self._pythons: dict[str, str] = {}
        for name, contender in self.contenders.items():
            if version < contender.least_python:
                least = ".".join(map(str, contender.least_python))
                self.problems[name] = f"needs Python {least}, and there is only {python}"
            else:
                self._make(name, contender.environment, contender.packages, python)
        self._make("PostgreSQL", "servers", SERVERS, python)
        self.places = Places(self._pythons)

    def _make(self, name: str, environment: str, packages: list[str], python: str) -> None:
        try:
            self._pythons[environment] = environments.make(environment, packages, python)
        except subprocess.CalledProcessError as error:
            self.problems[name] = f"its packages can't be installed: {error}"

    def versions(self) -> dict[str, dict[str, str]]:
        """What is installed in each environment."""
        return {name: environments.versions(p) for name, p in self._pythons.items()}

    def figure(self, figure: str, rounds: int) -> dict[str, Any]:
        """All rounds of a figure; who comes first is drawn by lot in each."""
        names = [n for n, c in self.contenders.items() if figure in c.figures]
        found: dict[str, Any] = {name: {"rates": []} for name in names}
        sizes: dict[str, int] = {}
        first, seconds, least, most = SIZES[figure]
        for number in range(rounds + 1):
            random.shuffle(names)
            for name in names:
                if name in self.problems:
                    found[name]["not measured"] = self.problems[name]
                    continue
                if "failed" in found[name]:
                    continue
                try:
                    if number:
                        rate = self._round(figure, name, sizes[name])
                    else:
                        rate = self._sizing_round(figure, name, first)
                except NotHere as problem:
                    self.problems[name] = found[name]["not measured"] = str(problem)
                    continue
                except Failed as problem:
                    found[name]["failed"] = str(problem)
                    print(f"{figure:6} {name:14} FAILED: {problem}", flush=True)
                    continue
                kind = f"round {number}" if number else "to find the size"
                print(f"{figure:6} {name:14} {rate:10,.0f}/s  {kind}", flush=True)
                if number:
                    found[name]["rates"].append(rate)
                else:
                    sizes[name] = found[name]["jobs"] = int(min(max(rate * seconds, least), most))
        for values in found.values():
            if values["rates"]:
                values["median"] = statistics.median(values["rates"])
        return found

    def _sizing_round(self, figure: str, name: str, number: int) -> float:
        """With more jobs if these are done before they can be measured."""
        try:
            return self._round(figure, name, number)
        except Failed as problem:
            if "too few" not in str(problem):
                raise
        return self._round(figure, name, number * 10)

    def _round(self, figure: str, name: str, number: int) -> float:
        contender = self.contenders[name]
        with self.places.empty(contender.place) as at:
            if figure == "effect" and contender.environment != "ours":
                with self.places.empty("zeo") as zodb:
                    return self._measure(contender, figure, number, at, zodb)
            if figure == "drain":
                self._call(contender, "fill", number, at, "")
                self.places.settle(contender.place)
            return self._measure(contender, figure, number, at, "")

    def _measure(
        self, contender: Contender, figure: str, number: int, at: str, zodb: str
    ) -> float:
        found = json.loads(self._call(contender, figure, number, at, zodb))
        rate: float = found["jobs"] / found["seconds"]
        return rate

    def _call(self, contender: Contender, command: str, number: int, at: str, zodb: str) -> str:
        python = self._pythons[contender.environment]
        words = [python, "measure.py", contender.module, command, str(number)]
        environment = {**os.environ, "PEERS_AT": at, "PEERS_ZODB": zodb}
        with subprocess.Popen(
            words,
            cwd=HERE,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                answer, said = process.communicate(timeout=_LONGEST_SECONDS)
            except BaseException as error:
                process.terminate()  # which ends its worker, too
                if isinstance(error, subprocess.TimeoutExpired):
                    raise Failed(f"took more than {_LONGEST_SECONDS} seconds") from None
                raise
        if process.returncode:
            print(said, file=sys.stderr)
            raise Failed(said.strip().splitlines()[-1] if said.strip() else "no word")
        return answer


def machine() -> dict[str, Any]:
    """What all this was measured on."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "memory GB": round(pages / 1e9),
        "load before": round(os.getloadavg()[0], 2),
    }


def main() -> int:
    """Run what is asked for."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peers", nargs="*", metavar="PEER", help=", ".join(PEERS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--figures", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--python", default=environments.newest_python())
    parser.add_argument("--json", type=Path, default=RESULTS)
    options = parser.parse_args()
    unknown = set(options.peers) - set(PEERS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}")
    bench = Bench(options.peers or list(PEERS), options.python)
    found: dict[str, Any] = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "python": ".".join(map(str, environments.version(options.python))),
        "rounds": options.rounds,
        "versions": bench.versions(),
        "figures": {},
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    with bench.places:
        for figure in options.figures:
            found["figures"][figure] = bench.figure(figure, options.rounds)
            found["servers"] = bench.places.versions()
            options.json.write_text(json.dumps(found, indent=2) + "\n")
    print(report.text(found))
    print(f"all rounds: {options.json}")
    return 0 if report.is_good(found) else 1


if __name__ == "__main__":
    sys.exit(main())
