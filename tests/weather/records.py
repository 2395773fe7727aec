"""What came of each run, kept in a file, so that hours of runs can be interrupted."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from pathlib import Path

_DIRTY = "-dirty"


@dataclasses.dataclass(frozen=True)
class Record:
    """One run of the suite. `commit` is the one that was tested, `seed` gives its order.

    `passed` and `failed` count tests; a run without any has broken off.
    """

    weather: str
    seed: int
    commit: str
    passed: int
    failed: int
    seconds: float

    @property
    def is_good(self) -> bool:
        """Whether all tests passed."""
        return self.passed > 0 and not self.failed


def commit_of(checkout: Path) -> str:
    """What is tested; ends in -dirty if there are changes that aren't committed."""
    command = ["git", "describe", "--always", "--abbrev=12", f"--dirty={_DIRTY}", "--exclude=*"]
    return subprocess.run(
        command, cwd=checkout, check=True, capture_output=True, text=True
    ).stdout.strip()


class Records:
    """The runs of the commit that is there now, read from `file` and added to it."""

    def __init__(self, file: Path, commit: str) -> None:
        self._file = file
        self.commit = commit
        lines = file.read_text().splitlines() if file.exists() else []
        known = [Record(**json.loads(line)) for line in lines]
        # What a dirty checkout was at that time, nobody knows.
        again = commit.endswith(_DIRTY)
        self.runs = [] if again else [record for record in known if record.commit == commit]

    def good(self, weather: str) -> int:
        """How many runs in that weather have passed, and need no repetition."""
        return sum(run.is_good for run in self.runs if run.weather == weather)

    def add(self, record: Record) -> None:
        """Keep it."""
        self.runs.append(record)
        with self._file.open("a") as lines:
            lines.write(json.dumps(dataclasses.asdict(record)) + "\n")
