"""The templates in `templates`: Chameleon, which escapes all that is put into them."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from chameleon import PageTemplateLoader

_FOLDER = Path(__file__).parent / "templates"
_loader = PageTemplateLoader(str(_FOLDER), auto_reload=False)
_lock = threading.Lock()
_known: dict[str, Any] = {}


def template(name: str) -> Any:
    """The template in the file `name`.pt; compiled when it is first asked for."""
    found = _known.get(name)
    if found is None:
        with _lock:
            found = _known[name] = _loader[f"{name}.pt"]
    return found


def render(name: str, frame: str, **names: Any) -> str:
    """The text of a page in a frame, itself the name of a template."""
    text: str = template(name).render(
        frame=template(frame),
        parts=template("parts").macros,
        tables=template("tables").macros,
        **names,
    )
    return text
