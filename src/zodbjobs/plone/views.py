"""What the job of a view calls."""

from __future__ import annotations

from typing import Any

from plone.protect.authenticator import createToken
from zope.globalrequest import getRequest

from zodbjobs import local
from zodbjobs.errors import ViewFailed


def call_view(context: Any, name: str, form: dict[str, Any]) -> Any:
    """Call a view of `context` by the rights of the user, in the job's request with that `form`.

    Returns what it returns. Raises Unauthorized, NotFound, ViewFailed, and what the view raises.
    """
    request = getRequest()
    request.form.update(form)
    _be_a_form(request)
    view = context.restrictedTraverse(f"@@{name}")
    value = view()
    response = request.response
    if response.getStatus() >= 400:
        raise ViewFailed(
            f"the view {name!r} of {'/'.join(context.getPhysicalPath())} answered "
            f"{response.getStatus()}: {value if isinstance(value, str) else ''}"[:1000]
        )
    if isinstance(value, bytes):
        content_type = (response.getHeader("Content-Type") or "").partition(";")[0]
        local.attach(name, value, content_type or None)
        return None
    return None if value is response else value


def _be_a_form(request: Any) -> None:
    """Let the request be one that views accept which ask for a POST, or for a token of
    plone.protect. Nobody could have forged it: it was put by code.
    """
    request.method = request.environ["REQUEST_METHOD"] = "POST"
    request.form.setdefault("_authenticator", createToken())
