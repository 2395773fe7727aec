"""Which scenarios are played on which storages, in full and in small."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chaos.scenarios import killing
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


PLAYS: list[Play] = [
    *_on(
        "ZEO PostgreSQL",
        "killing",
        killing.run,
        {"jobs": 5_000, "pause": 0.5},
        {"jobs": 300, "pause": 0.5},
    ),
]
