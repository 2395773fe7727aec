"""Content in the arguments of a job: stored as the object and its path, and loaded with its
acquisition context.
"""

from __future__ import annotations

import sys
from typing import Any

from AccessControl.interfaces import IUser
from Acquisition import Explicit, Implicit, aq_base
from OFS.interfaces import IItem
from persistent import Persistent
from ZODB.POSException import POSKeyError
from zope.globalrequest import getRequest
from zope.publisher.interfaces import IRequest
from ZPublisher.BaseRequest import BaseRequest
from ZPublisher.BaseResponse import BaseResponse

from zodbjobs.errors import BadArgument, ObjectGone
from zodbjobs.zope import paths
from zodbjobs.zope.application import application_of, make_request

#: What is stored of where an object is: its path, as text, and the id that it keeps.
Place = tuple[str, str | None]


def recognizes(value: Any) -> bool:
    """Whether a value is more than a stored object, or can't be given to a job."""
    return (
        aq_base(value) is not value
        or IItem.providedBy(value)
        or (isinstance(value, Persistent) and isinstance(value, Explicit | Implicit))
        or IUser.providedBy(value)
        or _is_of_catalog(value)
        or _is_of_request(value)
    )


def place_of(value: Any) -> tuple[Any, Place]:
    """The bare object of content, and where it is. Raises BadArgument, with the cure, for what
    isn't content, and for content that isn't in its container.

    New content is added to the database of its container, for the queue may be in another one.
    """
    _refuse_what_passes(value)
    obj = aq_base(value)
    if not isinstance(obj, Persistent):
        raise BadArgument(
            f"{_shown(obj)} isn't stored in the database; pass the content that it belongs to, "
            "and look it up in the job"
        )
    path = paths.path_of(value)
    top = paths.top_of(value)
    if path is not None and top is None:
        path = None
    if path is None or paths.at(top, path, obj) is None:
        raise BadArgument(
            f"{_shown(obj)} has no place below the application by which the job would find it; "
            "pass it as you get it from its container, and add a new one to its container first"
        )
    if obj._p_jar is None:
        paths.add_where_it_is(value)
    return obj, ("/".join(path), paths.uid_of(value))


def _refuse_what_passes(value: Any) -> None:
    if _is_of_request(value):
        raise BadArgument(
            "a request is over when the job runs; pass what you need of its form, and in the job "
            "call zope.globalrequest.getRequest(): it has one of its own"
        )
    if _is_of_catalog(value):
        raise BadArgument(
            "a result of a catalog is of use in its transaction only; pass the content, "
            "brain.getObject(), or its UID or path"
        )
    if IUser.providedBy(value) or hasattr(aq_base(value), "getUserName"):
        raise BadArgument(
            "a user or member can't be kept; pass the id, getId(), and look it up in the job"
        )


def _is_of_request(value: Any) -> bool:
    return isinstance(value, BaseRequest | BaseResponse) or bool(IRequest.providedBy(value))


def _is_of_catalog(value: Any) -> bool:
    """Whether it is a result of a catalog, or a sequence of these, if this process has any."""
    catalog: Any = sys.modules.get("Products.ZCatalog.interfaces")
    if catalog is not None and catalog.ICatalogBrain.providedBy(value):
        return True
    sequences: Any = sys.modules.get("ZTUtils.Lazy")
    return sequences is not None and isinstance(value, sequences.Lazy)


def load_object(obj: Any, place: Place) -> Any:
    """Content with its acquisition context. Raises ObjectGone if it isn't in the site any more."""
    text, uid = place
    try:
        obj._p_activate()
    except POSKeyError as error:
        raise ObjectGone(f"the object that was {describe(place)} is gone") from error
    app = application_of(obj, getRequest() or make_request())
    found = paths.find(app, obj, tuple(text.split("/")), uid)
    if found is None:
        raise ObjectGone(
            f"{_shown(obj)} isn't {describe(place)} any more, and can't be found elsewhere: it "
            "was deleted, or moved; put another job"
        )
    return found


def describe(place: Place) -> str:
    """The path, for people."""
    return f"at {place[0] or '/'}"


def _shown(obj: Any) -> str:
    get_id = getattr(obj, "getId", None)
    name = get_id() if callable(get_id) else ""
    return f"{type(obj).__name__} {name!r}" if name else f"a {type(obj).__name__}"
