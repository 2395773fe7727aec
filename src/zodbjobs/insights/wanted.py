"""Wanted: filters by label and text, and the cursor with which a list is gone on with."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from ZODB.utils import p64, u64

from zodbjobs.errors import BadArgument
from zodbjobs.stored.lifecycle import labels, listing
from zodbjobs.stored.lifecycle.raw import state_of
from zodbjobs.stored.lifecycle.root import connection_of

_IDS = 1 << 63

# Characters of a cursor: two numbers of 64 bits.
_MOST_CURSOR = 41


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What labels, and what text, jobs are to have; None: any. BadArgument for what can't be."""

    owner: str | None
    about: labels.AboutName | None
    realm: str | None
    text: str | None

    def __post_init__(self) -> None:
        labels.checked_text("owner", self.owner)
        labels.checked_text("realm", self.realm)
        if self.text is not None and not (isinstance(self.text, str) and self.text):
            raise BadArgument(f"text to look for is a str, and not empty, not {self.text!r}")

    def index_name(self) -> str | None:
        """The name in the job index under which all that is wanted is to be found, or None."""
        if self.about is not None:
            return listing.name_of_about(self.about)
        if self.owner is not None:
            return listing.name_of_owner(self.owner)
        return None if self.realm is None else listing.name_of_realm(self.realm)

    def has_labels(self, job: Any) -> bool:
        """Whether a job, which may be one that can't be loaded here, has these labels."""
        wanted = (("_owner", self.owner), ("_about", self.about), ("_realm", self.realm))
        asked = [each for each in wanted if each[1] is not None]
        if not asked:
            return True
        state = state_of(job)
        return all(state.get(name) == value for name, value in asked)

    def has_text(self, title: str | None, arguments: Iterable[str]) -> bool:
        """Whether the text is in the title or in one of the arguments, as these are shown."""
        if self.text is None:
            return True
        text = self.text.casefold()
        return any(text in shown.casefold() for shown in (title or "", *arguments))


def about_name(place: Any, about: Any) -> labels.AboutName | None:
    """The name of an object, given by itself or by its `about_id`; without a database's name in
    that it is one of the database of `place`. BadArgument for anything else.
    """
    if about is None:
        return None
    if not isinstance(about, str):
        return labels.name_of(about)
    database, slash, number = about.rpartition("/")
    if not (number.isascii() and number.isdecimal()) or int(number) >= _IDS:
        raise BadArgument(
            f"{about!r} names no object; write the name of its database, a slash, and its decimal "
            "object id"
        )
    oid = p64(int(number))
    return oid, database if slash else connection_of(place).db().database_name


class Cursor(NamedTuple):
    """A job at which a list is to be gone on with: its time in the list, and its object id."""

    micros: int
    number: int

    def __str__(self) -> str:
        return f"{self.micros}-{self.number}"

    @classmethod
    def at(cls, micros: int, job: Any) -> Cursor:
        """The cursor of a job."""
        return cls(micros, u64(job._p_oid or p64(0)))

    @classmethod
    def read(cls, text: str) -> Cursor:
        """The cursor of a text; BadArgument if it is none."""
        is_short = isinstance(text, str) and len(text) <= _MOST_CURSOR
        parts = text.split("-") if is_short else []
        if len(parts) != 2 or not all(part.isascii() and part.isdecimal() for part in parts):
            raise BadArgument(f"before={text!r} isn't the cursor of a list of jobs; leave it out")
        return cls(*map(int, parts))

    def go_on(self, placed: Iterator[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
        """Those from the cursor's job on; from its microsecond on if it isn't there any more."""
        skipped: list[tuple[int, Any]] = []
        for each in placed:
            if each[0] == self.micros:
                if Cursor.at(*each) != self:
                    skipped.append(each)
                    continue
                skipped = []
            yield from skipped
            yield each
            yield from placed
            return
        yield from skipped
