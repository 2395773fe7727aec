"""Sources: what a request wants to have copied or moved, looked for and checked before anything
is written.

A job asks all of it again when it runs; this is so that who asks for what can't be hears of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from Acquisition import aq_base, aq_inner, aq_parent
from OFS.CopySupport import CopyError, sanity_check
from zExceptions import BadRequest, Forbidden
from zope.security import checkPermission

from zodbjobs.plone.restapi.body import body_of


class Source(NamedTuple):
    """An object, and its path from the root of the database."""

    obj: Any
    path: str


def sources_of(service: Any) -> list[Source]:
    """The sources that a request to ``@copy`` or ``@move`` names, in its order.

    Raises Forbidden if who asks may not do this, as the status of plone.restapi would tell,
    Unauthorized and ResourceLockedError as the copying does, and BadRequest for a source that
    isn't there, can't be taken, or is to be moved twice.
    """
    _check_target(service)
    given = body_of(service.request).get("source", None)
    if not given:
        raise BadRequest("Property 'source' is required")
    found = [_found(service, key) for key in (given if isinstance(given, list) else [given])]
    if service.is_moving:
        _check_each_once(found)
    for source in found:
        _check(service, source)
    return found


def _check_target(service: Any) -> None:
    if not checkPermission("cmf.AddPortalContent", service.context):
        _refuse()


def _refuse() -> None:
    raise Forbidden("You are not allowed to do this.")


def _found(service: Any, key: Any) -> Source:
    if not isinstance(key, str) or not key:
        raise BadRequest(f"Property 'source' takes URLs, paths and UIDs, not {key!r}")
    obj = service.get_object(key)
    if obj is None or not hasattr(aq_base(obj), "getPhysicalPath"):
        raise BadRequest(f"There is no source {key!r}")
    return Source(obj, "/".join(obj.getPhysicalPath()))


def _check_each_once(found: list[Source]) -> None:
    paths: set[str] = set()
    for source in found:
        if source.path in paths:
            raise BadRequest(f"{source.path!r} is given twice, and can be moved once only")
        paths.add(source.path)


def _check(service: Any, source: Source) -> None:
    """Ask all that the copying itself asks, which writes nothing."""
    obj, path = source
    parent = aq_parent(aq_inner(obj))
    if service.is_moving and not _may_delete(obj, parent):
        _refuse()
    for problem in _problems(service, obj, parent):
        raise BadRequest(f"{path!r} can't be {_deed(service)} here: {problem}")


def _may_delete(obj: Any, parent: Any) -> bool:
    return any(checkPermission("zope2.DeleteObjects", each) for each in (obj, parent))


def _problems(service: Any, obj: Any, parent: Any) -> Iterator[str]:
    context, is_moving = service.context, service.is_moving
    try:
        service.clipboard(parent, [obj.getId()])
        context._verifyObjectPaste(obj, validate_src=2 if is_moving else 1)  # noqa: SLF001
    except (CopyError, ValueError, KeyError, AttributeError) as error:
        yield str(error) or type(error).__name__
    else:
        if is_moving and not sanity_check(context, obj):
            yield "it can't be moved into itself"


def _deed(service: Any) -> str:
    return "moved" if service.is_moving else "copied"
