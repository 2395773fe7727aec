"""What isn't shown of jobs: on pages, in JSON, on the command line. One place decides.

Hidden is what has the name of a secret, a `zodbjobs.Secret`, and what a function of the
application's hides, which it registers here.
"""

from __future__ import annotations

from zodbjobs.redaction.asking import register
from zodbjobs.redaction.names import is_secret_name
from zodbjobs.redaction.redactor import Redactor
from zodbjobs.redaction.texts import HIDDEN

__all__ = ["HIDDEN", "Redactor", "is_secret_name", "register"]
