"""Pages for jobs: for users theirs, for operators all. Needs the extra ``web``.

A WSGI application that a host mounts, in its transaction and on its connection. What a host says
of who asks is a `Rights`; ``zodbjobs.web.rights.may`` alone decides what that allows. `zodbjobs
web` serves it without a host.
"""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    # It imports `cgi`, at which Python 3.11 and 3.12 warn; on 3.13 it brings a copy along.
    warnings.simplefilter("ignore", DeprecationWarning)
    import webob  # noqa: F401

from zodbjobs.web.accepted import accepted, path_about, path_of
from zodbjobs.web.app import make_app
from zodbjobs.web.rights import ACTIONS, Rights, may
from zodbjobs.web.visit import Inside

__all__ = ["ACTIONS", "Inside", "Rights", "accepted", "make_app", "may", "path_about", "path_of"]
