"""What was done, and what came of it, as a table."""

from __future__ import annotations

import dataclasses

_HEAD = ("scenario", "storage", "jobs", "interrupted", "conflicts", "recovered in", "took")
_WIDTHS = (16, 11, 6, 11, 9, 12, 6)


@dataclasses.dataclass
class Row:
    """The outcome of one scenario on one storage.

    `done`: what was done to it. `interrupted`: how often jobs were. `conflicts`: attempts
    made again, None where that isn't known. `recovered`: seconds, the longest.
    """

    scenario: str
    storage: str
    done: str = ""
    jobs: int = 0
    interrupted: int | None = None
    conflicts: int | None = None
    recovered: float | None = None
    took: float = 0.0
    faults: list[str] = dataclasses.field(default_factory=list)

    def show(self) -> None:
        """Print it."""
        recovered = None if self.recovered is None else f"{self.recovered:.1f} s"
        _print_line(
            self.scenario,
            self.storage,
            self.jobs,
            self.interrupted,
            self.conflicts,
            recovered,
            f"{self.took:.0f} s",
        )
        print(f"    {self.done}", flush=True)
        for fault in self.faults:
            print(f"    WRONG: {fault}", flush=True)


def show_head() -> None:
    """Print the names of the columns, and a line."""
    _print_line(*_HEAD)
    print("-" * (sum(_WIDTHS) + 2 * len(_WIDTHS)), flush=True)


def _print_line(*values: object) -> None:
    texts = ("-" if value is None else str(value) for value in values)
    aligned = [
        text.ljust(width) if column < 2 else text.rjust(width)
        for column, (text, width) in enumerate(zip(texts, _WIDTHS, strict=True))
    ]
    print("  ".join(aligned), flush=True)
