"""What an operation did to one job."""

from __future__ import annotations

import dataclasses

from zodbjobs.insights.infos import Info


@dataclasses.dataclass(frozen=True)
class OperationResult(Info):
    """What an operation did to one job: `refused` is None if it was done, else the reason
    with the cure.

    `queue` is the name of the job's queue and `description` what it calls; both are None if
    the job was refused.
    """

    id: str
    queue: str | None = None
    description: str | None = None
    refused: str | None = None

    @property
    def done(self) -> bool:
        """Whether the operation was done."""
        return self.refused is None
