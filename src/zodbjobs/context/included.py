"""The run contexts that are there from the start: the site, the interaction, the trace.

Their packages are looked for among the modules that are imported, and imported where a job needs
them that was put in one.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from zodbjobs.context.registry import register
from zodbjobs.errors import ContextGone, MissingCode

#: The principal of the system itself, which no utility knows.
_SYSTEM = "zope.security.management.system_user"


def register_all() -> None:
    """Register them. The site comes first: the principals may be those of a utility in it."""
    register("site", _current_site, _in_site)
    register("interaction", _principal_ids, _as_principals)
    register("trace", _current_trace, _in_trace, required=False)


# The current site


def _current_site() -> Any:
    """The site, without its acquisition context, which can't be stored."""
    hooks: Any = sys.modules.get("zope.component.hooks")
    if hooks is None or (site := hooks.siteinfo.site) is None:
        return None
    acquisition: Any = sys.modules.get("Acquisition")
    return site if acquisition is None else acquisition.aq_base(site)


@contextlib.contextmanager
def _in_site(site: Any) -> Iterator[None]:
    from zope.component import hooks

    before = hooks.getSite()
    hooks.setSite(site)
    try:
        yield
    finally:
        hooks.setSite(before)


# The participations of the interaction


def _principal_ids() -> tuple[str, ...] | None:
    """The ids of the principals; () for an interaction without any."""
    management: Any = sys.modules.get("zope.security.management")
    if management is None:
        return None
    # What queryInteraction() does, in a tenth of the time where there is none.
    interaction = management.thread_local.__dict__.get("interaction")
    if interaction is None:
        return None
    principals = [participation.principal for participation in interaction.participations]
    return tuple(str(principal.id) for principal in principals if principal is not None)


@functools.cache
def _participation_class() -> Any:
    from zope.interface import implementer
    from zope.security.interfaces import IParticipation

    @implementer(IParticipation)
    class Participation:
        """The part of a principal in the job."""

        interaction: Any = None

        def __init__(self, principal: Any) -> None:
            self.principal = principal

    return Participation


@contextlib.contextmanager
def _as_principals(ids: tuple[str, ...]) -> Iterator[None]:
    try:
        from zope.security.management import endInteraction, newInteraction
    except ImportError as error:
        raise MissingCode(
            f"the job was put by {', '.join(ids)}, and there is no zope.security in this worker; "
            "install it, restart the worker, then retry the job"
        ) from error
    participation = _participation_class()
    newInteraction(*[participation(_principal(each)) for each in ids])
    try:
        yield
    finally:
        endInteraction()


def _principal(principal_id: str) -> Any:
    """The principal of that id; ContextGone, MissingCode if nothing tells who that is."""
    if principal_id == _SYSTEM:
        from zope.security.management import system_user

        return system_user
    from zope.component import queryUtility

    try:
        from zope.authentication.interfaces import IAuthentication, PrincipalLookupError
    except ImportError:
        utility = None
    else:
        utility = queryUtility(IAuthentication)
    if utility is None:
        raise MissingCode(
            f"the job was put by {principal_id!r}, and this worker has no utility for "
            "IAuthentication that would know who that is; load the configuration of the "
            "application in the worker, then retry the job"
        )
    try:
        return utility.getPrincipal(principal_id)
    except PrincipalLookupError as error:
        raise ContextGone(
            f"the job was put by {principal_id!r}, who isn't known any more; put another job, or "
            "let this principal be known again and retry it"
        ) from error


# The trace


def _current_trace() -> dict[str, str] | None:
    """What OpenTelemetry sends along with a request, if there is a trace."""
    trace: Any = sys.modules.get("opentelemetry.trace")
    if trace is None or not trace.get_current_span().get_span_context().is_valid:
        return None
    from opentelemetry import propagate

    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier or None


@contextlib.contextmanager
def _in_trace(carrier: Mapping[str, str]) -> Iterator[None]:
    from opentelemetry import context, propagate, trace

    found = propagate.extract(carrier)
    # That of the attempt, if there is one. It has its parent in the trace.
    span = trace.get_current_span()
    if span.get_span_context().is_valid:
        found = trace.set_span_in_context(span, found)
    token = context.attach(found)
    try:
        yield
    finally:
        context.detach(token)
