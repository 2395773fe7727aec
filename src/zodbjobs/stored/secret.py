"""Secret: an argument that a job can use, and nobody is shown."""

from __future__ import annotations

from typing import Any

from zope.interface import implementer

from zodbjobs.interfaces import ISecret


@implementer(ISecret)
class Secret:
    """An argument of a job that is shown as ``***``; the job takes its `value`.

    It keeps the value from being shown, not from who can read the database: it is stored as it
    is. The text of the value is hidden as well wherever it is met in what is shown of the job.
    """

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.value == self.value

    def __hash__(self) -> int:
        return hash((Secret, self.value))
