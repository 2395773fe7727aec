"""Labels: whose a job is, what it is about, which site it belongs to, and its title; checked.

The object that a job is about is named by its database and its object id, and not referred to: an
export or a copy of the job would take it along, a pack would keep it when it is deleted, and a
database may be one that isn't allowed to refer to others. Where an object is more than itself, as
in Zope, where permissions are asked on it in its place, the job has that place too, as a hint for
where to look for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ZODB.POSException import POSKeyError

from zodbjobs import defaults, redaction, references
from zodbjobs.errors import BadArgument, ZodbjobsError

if TYPE_CHECKING:
    from zodbjobs.stored.job import Job
    from zodbjobs.stored.labelled import Labelled

#: The object id of what a job is about, and the name of its database.
AboutName = tuple[bytes, str]

#: Where that is: a kind of `zodbjobs.references`, and what that kind stores of a place.
AboutPlace = tuple[str, Any]


class Labels(NamedTuple):
    """What a put says of its jobs; None for what it doesn't say."""

    owner: str | None = None
    about: Any = None
    title: str | None = None
    realm: str | None = None


def given(owner: str | None, about: Any, title: str | None, realm: str | None) -> Labels:
    """What a put says, checked; BadArgument for what can't be."""
    if about is not None:
        name_for(_placed(about)[0])
    return Labels(
        checked_text("owner", owner),
        about,
        checked_title(title),
        checked_text("realm", realm),
    )


def checked_text(
    what: str, value: str | None, most: int = defaults.LABEL_CHARACTERS
) -> str | None:
    """`value` as a plain str, or None; BadArgument for anything else, an empty or a long one."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise BadArgument(f"the {what} of a job is a str or None, not {value!r}")
    if not 0 < len(value) <= most:
        raise BadArgument(
            f"the {what} of a job has 1 to {most:,} characters, not {len(value):,}; None for none"
        )
    if not is_utf8(value):
        raise BadArgument(
            f"the {what} of a job can't be {value!r}: it isn't Unicode, as the name of a file may "
            "be; write it with os.fsencode(...).decode(errors='replace')"
        )
    return str.__str__(value)  # not a subclass, whose class the record would need


def is_utf8(text: str) -> bool:
    """Whether a text can be written as UTF-8, as the undo log of a storage has it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def checked_title(value: str | None) -> str | None:
    """The same of a title."""
    return checked_text("title", value, defaults.TITLE_CHARACTERS)


def give(job: Labelled, said: Labels) -> None:
    """Let a job have what the put of it says, and keep the rest."""
    if said.owner is not None:
        job._owner = said.owner
    if said.about is not None:
        _name_about(job, said.about)
    if said.title is not None:
        job._title = said.title
    if said.realm is not None:
        job._realm = said.realm
    mark(job)


def mark(job: Labelled) -> None:
    """Note whether a new job is to be in lists: a put looks at that alone."""
    has_any = any(each is not None for each in (job._owner, job._about, job._realm))
    job._listed = () if has_any else None


def inherit(job: Labelled, parent: Labelled) -> None:
    """Let a callback, a part or a returned job belong to whom its parent does, unless it was given
    an owner, an object or a realm of its own. The title stays the parent's alone.
    """
    if parent._listed is None:
        return
    if job._owner is None and parent._owner is not None:
        job._owner = parent._owner
    if job._about is None and parent._about is not None:
        job._about, job._v_about = parent._about, parent._v_about
        if parent._about_place is not None:
            job._about_place = parent._about_place
    if job._realm is None and parent._realm is not None:
        job._realm = parent._realm
    mark(job)


def hide(job: Labelled) -> None:
    """Let a part belong to whom it does, and be in no list. It is about nothing then: that of a
    copy can't be told from its own without the index.
    """
    job._about = job._v_about = None
    job._listed = None


def set_owner(job: Labelled, value: str | None) -> None:
    """Let a job be somebody's; None: nobody's."""
    job._owner = checked_text("owner", value)
    mark(job)


def set_about(job: Labelled, value: Any) -> None:
    """Let a job be about a stored object; None: about nothing. BadArgument if it has no id."""
    _name_about(job, value)
    mark(job)


def _name_about(job: Labelled, value: Any) -> None:
    obj, place = _placed(value)
    job._about, job._v_about = None if obj is None else name_for(obj), obj
    if place != job._about_place:
        job._about_place = place


def _placed(value: Any) -> tuple[Any, AboutPlace | None]:
    """An object, and where it is, if it is of a kind that has a place, and is in one."""
    for name, kind in references.kinds.items():
        if kind.recognizes(value):
            try:
                obj, place = kind.store(value)
            except BadArgument:
                return value, None
            return obj, (name, place)
    return value, None


def set_title(job: Labelled, value: str | None) -> None:
    """Give a job a title; None: none."""
    job._title = checked_title(value)


def set_realm(job: Labelled, value: str | None) -> None:
    """Let a job belong to a site; None: to none."""
    job._realm = checked_text("realm", value)
    mark(job)


def check_about(job: Labelled) -> None:
    """Name what a job is about anew if that was added in a transaction that was aborted; raises
    BadArgument if it can't be found any more.
    """
    value = job._v_about
    if value is not None and job._p_jar is None:
        job._about = name_for(value)


def name_of(value: Any) -> AboutName:
    """How a job names an object; BadArgument for what isn't stored."""
    jar = getattr(value, "_p_jar", None)
    oid = getattr(value, "_p_oid", None)
    if jar is None or not isinstance(oid, bytes):
        raise BadArgument(
            f"a job can be about a stored object only, not about {value!r}; add it to the "
            "database first, as with connection.add(...), or leave `about` out"
        )
    return oid, jar.db().database_name


def name_for(value: Any) -> AboutName:
    """The same of an object that a job is to be about. One that is new, and has a stored object
    above it, is added to the database of that: it has an id then.
    """
    if getattr(value, "_p_jar", value) is None:  # a persistent one
        jar = _jar_above(value)
        if jar is not None:
            jar.add(value)
    return name_of(value)


def _jar_above(value: Any) -> Any:
    """The connection of the first stored object above, or None."""
    seen: set[int] = set()
    while value is not None and id(value) not in seen:
        seen.add(id(value))
        jar = getattr(value, "_p_jar", None)
        if jar is not None:
            return jar
        value = getattr(value, "__parent__", None)
    return None


def texts(job: Labelled) -> dict[str, str | None]:
    """The labels of a job that are texts, by name."""
    return {"owner": job._owner, "title": job._title, "realm": job._realm}


def sign(manager: Any, jobs: Sequence[Job]) -> None:
    """Let the storage's undo log tell whose job has written the transaction of `manager`, and
    which job that was; of several the first, how many more, and the owner that all have.

    So does whoever conflicts with it. What they have noted there themselves stays.
    """
    if not jobs:
        return
    txn = manager.get()
    named = (job for job in jobs if job._owner is not None or job._title is not None)
    job = next(named, jobs[0])
    owners = {each._owner for each in jobs}
    if job._owner is not None and len(owners) == 1 and not txn.user:
        txn.user = job._owner
    if not txn.description:
        title = job._title and redaction.Redactor().text(job._title, "title")
        more = f" and {len(jobs) - 1} more jobs" if len(jobs) > 1 else ""
        txn.description = f"{title or job.description}{more}"


def about_of(job: Labelled) -> AboutName | None:
    """The name of what a job is about, or None. A copy of a job that was put is about nothing, nor
    is one that was forgotten: the name of the object may be that of any.
    """
    from zodbjobs.stored.lifecycle import listing  # which needs this module

    name = job._about
    if name is None or not job._listed or job._p_jar is None:
        return name
    return name if listing.is_listed(job, listing.name_of_about(name)) else None


def object_of(job: Labelled) -> Any:
    """What a job is about, in its place if it has one; None if that is nothing, is gone, or is of
    a database that isn't open here.
    """
    name, connection = about_of(job), job._p_jar
    if name is None:
        return None
    found = job._v_about if connection is None else find(connection, name)
    place = job._about_place
    if found is None or place is None or place[0] not in references.kinds:
        return found
    try:
        return references.kinds[place[0]].load(found, place[1])
    except ZodbjobsError:  # it isn't there, or nobody here can tell
        return None


def find(connection: Any, name: AboutName) -> Any:
    """The object of that name, by way of a connection; None if it is gone, or not open here."""
    oid, database = name
    if database != connection.db().database_name:
        if database not in connection.db().databases:
            return None
        connection = connection.get_connection(database)
    try:
        found = connection.get(oid)
        found._p_activate()  # the connection may know of it still
    except POSKeyError:
        return None
    return found
