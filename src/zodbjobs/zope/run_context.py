"""The run context of Zope: the user, the site, and a request like the one that has put the job."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from AccessControl.security import newInteraction
from AccessControl.SecurityManagement import noSecurityManager
from Acquisition import aq_inner, aq_parent
from zope.component.hooks import getSite, setSite
from zope.component.interfaces import ISite
from zope.dottedname.resolve import resolve
from zope.event import notify
from zope.globalrequest import clearRequest, getRequest, setRequest
from zope.interface import alsoProvides, directlyProvidedBy
from zope.publisher.interfaces import IRequest
from zope.security.management import endInteraction
from zope.traversing.interfaces import BeforeTraverseEvent

from zodbjobs.errors import SiteGone
from zodbjobs.runtime import local
from zodbjobs.zope import paths, sites, users
from zodbjobs.zope.application import addresses_of, application, make_request, set_addresses

log = logging.getLogger("zodbjobs")

#: What is stored: texts by name. Never cookies, Authorization, the form or the body.
Stored = dict[str, str]


def capture() -> Stored | None:
    """What a job that is put here and now is to run in; None outside of requests and sites.

    Raises BadArgument if a job couldn't be in the current site, or run as the current user.
    """
    request, site, user = getRequest(), sites.current_path(), users.current()
    if request is None and site is None and user == users.ANONYMOUS:
        return None
    stored = {"user": user}
    if site is not None:
        stored["site"] = site
        if mark := sites.current_mark():
            stored["mark"] = mark
    if request is not None:
        stored |= _of_request(request)
    return stored


def _of_request(request: Any) -> Stored:
    found = {
        **addresses_of(request),
        "language": request.other.get("LANGUAGE") or "",  # not one of the form or of a cookie
        "accepts": request.get_header("Accept-Language") or "",
        "layers": " ".join(
            each.__identifier__ for each in directlyProvidedBy(request) if each.extends(IRequest)
        ),
    }
    return {name: value for name, value in found.items() if value}


@contextlib.contextmanager
def restore(stored: Stored) -> Iterator[None]:
    """Run in it: with `getRequest()`, in the site, as the user.

    Raises SiteGone and UserGone.
    """
    request = make_request(stored.get("language") or stored.get("accepts", ""))
    try:
        setRequest(request)
        app = application(local.get_connection(), request)
        _dress(request, app, stored)
        newInteraction()
        if "site" in stored:
            _enter_site(app, request, stored["site"], stored.get("mark"))
        if "language" in stored:  # what the site has found out for itself is of the new request
            request.set("LANGUAGE", stored["language"])
        users.become(app, request, stored["user"])
        yield
    finally:
        noSecurityManager()
        setSite(None)
        endInteraction()
        clearRequest()
        _close(request)


def _close(request: Any) -> None:
    try:
        request.close()
    except Exception:  # of a subscriber, which isn't to hide why the context can't be restored
        log.error("the request of a job can't be closed", exc_info=True)


def _dress(request: Any, app: Any, stored: Stored) -> None:
    """Let the request have the addresses and the layers of the one that has put the job."""
    request["PARENTS"] = [app]
    set_addresses(request, stored)
    for name in stored.get("layers", "").split():
        with contextlib.suppress(ImportError, AttributeError):  # one that was uninstalled
            alsoProvides(request, resolve(name))


def _enter_site(app: Any, request: Any, text: str, mark: str | None) -> None:
    """Be in the site, as if the publication had come to it through those above."""
    site = paths.at(app, tuple(text.split("/")))
    if site is None or not ISite.providedBy(site):
        raise SiteGone(f"the job was put in the site {text or '/'}, which isn't there any more")
    if mark is not None and sites.mark_of(site) != mark:
        raise SiteGone(
            f"the job was put in a site at {text or '/'} which isn't there any more: what is "
            "there now is another one; put another job"
        )
    above = [site]
    while (parent := aq_parent(aq_inner(above[-1]))) is not None and hasattr(parent, "getId"):
        above.append(parent)
    request["PARENTS"].clear()  # the application is among those above
    for place in reversed(above):
        request["PARENTS"].insert(0, place)
        if ISite.providedBy(place):
            setSite(place)
            notify(BeforeTraverseEvent(place, request))
    if getSite() is not site:
        setSite(site)
