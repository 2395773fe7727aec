"""Which scenarios are played on which storages, in full and in small."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chaos.books import read_job, together_job
from chaos.scenarios import (
    everything,
    full_disk,
    killing,
    outage,
    pausing,
    producing,
    rating,
    releases,
    rescuing,
    suicide,
    sweeping,
)
from chaos.table import Row

Size = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Play:
    """A scenario on a storage; `full` and `small` say how much of it."""

    scenario: str
    storage: str
    run: Callable[..., None]
    full: Size
    small: Size

    def __str__(self) -> str:
        return f"{self.scenario}-{self.storage}"

    def play(self, folder: Path, size: Size) -> Row:
        """Play it with files in `folder`; returns what came of it."""
        row = Row(self.scenario, self.storage)
        self.run(row, folder, **size)
        return row


def _on(storages: str, scenario: str, run: Callable[..., None], full: Size, small: Size) -> Any:
    return [Play(scenario, storage, run, full, small) for storage in storages.split()]


BOTH = "ZEO PostgreSQL"

# Two producers that draw the same inbox conflict once, however few jobs they put.
_UNLUCKY_DRAWS = 4

PLAYS: list[Play] = [
    *_on(
        BOTH,
        "killing",
        killing.run,
        {"jobs": 5_000, "pause": 0.5, "most": 200},
        {"jobs": 150, "pause": 0.5, "most": 15},
    ),
    *_on(
        BOTH,
        "killing-readers",
        killing.run,
        {"jobs": 5_000, "pause": 0.5, "most": 200, "make": read_job},
        {"jobs": 1_500, "pause": 0.2, "most": 15, "make": read_job},
    ),
    *_on(
        BOTH,
        "killing-together",
        killing.run,
        {"jobs": 5_000, "pause": 0.5, "most": 200, "make": together_job},
        {"jobs": 600, "pause": 0.2, "most": 15, "make": together_job},
    ),
    *_on(
        BOTH,
        "everything",
        everything.run,
        {"rounds": 300, "pause": 0.5, "most": 100},
        {"rounds": 12, "pause": 0.5, "most": 6},
    ),
    *_on(BOTH, "outage", outage.run, {"blows": 40, "seconds": 4}, {"blows": 4, "seconds": 1}),
    *_on(BOTH, "pausing", pausing.run, {"rounds": 20, "beat": 0.5}, {"rounds": 2, "beat": 0.3}),
    *_on(
        BOTH,
        "rating",
        rating.run,
        {"jobs": 3_000, "rate": 100, "seconds": 5.0, "pause": 1.0},
        {"jobs": 60, "rate": 20, "seconds": 2.0, "pause": 1.0},
    ),
    *_on(BOTH, "rescuing", rescuing.run, {"rounds": 10, "held": 350}, {"rounds": 1, "held": 120}),
    *_on(
        BOTH,
        "sweeping",
        sweeping.run,
        {"sets": 10, "items": 5_000, "pause": 1.0},
        {"sets": 1, "items": 2_000, "pause": 0.5},
    ),
    *_on(BOTH, "suicide", suicide.run, {"jobs": 1_000}, {"jobs": 50}),
    *_on("FileStorage", "full-disk", full_disk.in_one_process, {"jobs": 5_000}, {"jobs": 150}),
    *_on("ZEO", "full-disk", full_disk.at_the_server, {"jobs": 3_000}, {"jobs": 150}),
    *_on("ZEO", "releases", releases.run, {"jobs": 3_000, "kills": 40}, {"jobs": 200, "kills": 4}),
    *_on(
        BOTH,
        "producing",
        producing.run,
        {"puts": 4_000, "draining": True, "most_conflicts": 31},
        {"puts": 40, "draining": True, "most_conflicts": _UNLUCKY_DRAWS},
    ),
    *_on(
        BOTH,
        "producing-alone",
        producing.run,
        {"puts": 4_000, "draining": False, "most_conflicts": 31},
        {"puts": 40, "draining": False, "most_conflicts": _UNLUCKY_DRAWS},
    ),
]
