"""What stands in a job's arguments for values that can't be stored as they are."""

from __future__ import annotations

from typing import Any

from zodbjobs import references


class Reference:
    """One such value: a stored object, and where it is. `kind` names the functions of
    `zodbjobs.references` that have made it, and that load the value again.
    """

    __slots__ = ("kind", "obj", "place")

    def __init__(self, kind: str, obj: Any, place: Any) -> None:
        self.kind = kind
        self.obj = obj
        self.place = place

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Reference):
            return NotImplemented
        mine, theirs = (self.kind, self.place), (other.kind, other.place)
        return self.obj is other.obj and mine == theirs

    def __hash__(self) -> int:
        return hash((self.kind, id(self.obj)))

    def __repr__(self) -> str:
        return f"<{type(self.obj).__name__} {references.describe(self.kind, self.place)}>"


class Referring:
    """A value that is such a reference, or has some in it. `kinds`: theirs."""

    __slots__ = ("kinds", "value")

    def __init__(self, kinds: tuple[str, ...], value: Any) -> None:
        self.kinds = kinds
        self.value = value

    def __eq__(self, other: object) -> bool:
        return self.value == other.value if isinstance(other, Referring) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.kinds)

    def __repr__(self) -> str:
        return repr(self.value)

    def load(self) -> Any:
        """The value with its objects as they are now, such as a result of a job that has ended.

        Raises ObjectGone if one isn't there any more, MissingCode if this process lacks what loads
        them.
        """
        from zodbjobs.stored.lifecycle import referring  # which needs this module

        return referring.loaded(self)
