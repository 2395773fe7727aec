"""Cleaners take away what one job would leave in its thread for the next.

Before and after each attempt the worker takes away the current site, the interaction of
``zope.security``, AccessControl's security manager and the request of ``zope.globalrequest``, so
that a job begins without them, as in a new thread. Context variables, and with them the context of
``decimal``, need no cleaner: each attempt has a context of its own, in which they have their
defaults. An application that keeps something else for each thread registers a cleaner for it.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from zodbjobs.errors import BadArgument
from zodbjobs.interrupt import is_ctrl_c

log = logging.getLogger("zodbjobs")

_Clean = Callable[[ModuleType], object]
_Save = Callable[[ModuleType], Callable[[], object]]

# Modules of Zope and its relatives, and the name of the `threading.local` in each. All that a
# thread has in one is dropped, as a new thread has nothing there either. The functions that the
# first two have for it take 4 µs, and leave an interaction that can be restored.
_LOCALS = (
    ("zope.component.hooks", "siteinfo"),
    ("zope.security.management", "thread_local"),
    ("zope.globalrequest.local", "localData"),
)

# The cleaners that are registered. Replaced, not changed, for threads are reading it.
_cleaners: dict[tuple[str, _Clean], _Save | None] = {}
_lock = threading.Lock()


def register(
    module: str,
    clean: Callable[[ModuleType], object],
    save: Callable[[ModuleType], Callable[[], object]] | None = None,
) -> None:
    """Have `clean(module)` called in the job's thread before and after each attempt.

    `module` is the full name of the module that keeps something for each thread. As long as it
    isn't imported nothing is called, and nothing is imported for it. `clean` takes away what it
    keeps for the calling thread, as in a thread that has just begun. It is called after the
    attempt's commit or abort, and must not touch the database. `save(module)` returns a function
    without arguments that puts back what is there now; `zodbjobs.testing.run_jobs` uses it to give
    the caller's back, which is gone without it.

    A cleaner that raises is logged and harms no job: the others are called, and a worker runs no
    other job in that thread, but in a new one, which is slow. Registered once more it is still
    called once. Raises BadArgument if `module` is no text, or `clean` or `save` can't be called.
    """
    global _cleaners
    if not isinstance(module, str) or not callable(clean) or not callable(save or clean):
        raise BadArgument(
            "a cleaner needs the name of a module, a function, and perhaps a second one to save "
            f"what is there, not {module!r}, {clean!r} and {save!r}"
        )
    with _lock:
        _cleaners = {**_cleaners, (module, clean): save}


def unregister(clean: Callable[[ModuleType], object]) -> None:
    """Don't call `clean` any more, for whichever module; it needn't be registered."""
    global _cleaners
    with _lock:
        _cleaners = {key: save for key, save in _cleaners.items() if key[1] != clean}


class ThreadCleaner:
    """Cleans the thread that makes it. What fails is logged."""

    def __init__(self) -> None:
        #: Whether the thread may run another job: False once a cleaner has failed in it.
        self.is_clean = True
        self._number = -1  # of modules when it looked for those that are to be cleaned
        self._known = _cleaners
        self._values: list[dict[str, Any]] = []
        self._present: list[tuple[str, ModuleType, _Clean]] = []

    def clean(self) -> None:
        """Take away what was left in the thread; called twice for each attempt."""
        if self._number != len(sys.modules) or self._known is not _cleaners:
            self._look()
        for values in self._values:
            if values:
                values.clear()
        for name, module, clean in self._present:
            try:
                clean(module)
            except BaseException as error:
                if is_ctrl_c(error):
                    raise
                self._failed(clean, name)

    def _look(self) -> None:
        """Find what is to be cleaned; again when the number of modules has changed, as by any
        import. To look for each of them in each attempt would take longer than to clean it.
        """
        self._number, self._known = len(sys.modules), _cleaners
        self._values, self._present = [], []
        for name, local in _LOCALS:
            if self._is_there(name):
                try:
                    self._values.append(_values_in(sys.modules[name], local))
                except Exception:
                    self._failed(local, name)
        for name, clean in self._known:
            if self._is_there(name):
                self._present.append((name, sys.modules[name], clean))

    def _is_there(self, name: str) -> bool:
        """Whether the module is imported. While another thread does that it has nothing of this
        one's, and not all that its cleaner needs; it is looked for again then.
        """
        if _is_half_imported(name):
            self._number = -1
            return False
        return sys.modules.get(name) is not None

    def _failed(self, cleaner: object, name: str) -> None:
        self.is_clean = False
        log.error(
            "the cleaner %r of %s failed; mend or unregister it, for what a job has left may "
            "still be in this thread",
            cleaner,
            name,
            exc_info=True,
        )


def _is_half_imported(name: str) -> bool:
    spec = getattr(sys.modules.get(name), "__spec__", None)
    return bool(getattr(spec, "_initializing", False))


def _values_in(module: ModuleType, local: str) -> dict[str, Any]:
    """What the calling thread has in a `threading.local`; the dictionary itself."""
    values: dict[str, Any] = getattr(module, local).__dict__
    return values


@contextlib.contextmanager
def thread_given_back() -> Iterator[None]:
    """Put back at the end what the calling thread had at the beginning."""
    put_back = []
    for name, save in _saves():
        if sys.modules.get(name) is not None and not _is_half_imported(name):
            try:
                put_back.append((name, save(sys.modules[name])))
            except Exception:
                log.error("what %s has for this thread can't be saved", name, exc_info=True)
    try:
        yield
    finally:
        ThreadCleaner().clean()
        for name, restore in put_back:
            try:
                restore()
            except Exception:
                log.error("what %s had for this thread can't be put back", name, exc_info=True)


def _saves() -> Iterator[tuple[str, _Save]]:
    for name, local in _LOCALS:
        yield name, functools.partial(_save_values, local)
    for (name, _), save in _cleaners.items():
        if save is not None:
            yield name, save


def _save_values(local: str, module: ModuleType) -> Callable[[], object]:
    values = _values_in(module, local)
    return functools.partial(values.update, dict(values))


def _clean_security_manager(management: Any) -> None:
    # That is kept by the number of the thread, which is given to another one when this has ended.
    management.noSecurityManager()


def _save_security_manager(management: Any) -> Callable[[], object]:
    return functools.partial(management.setSecurityManager, management.getSecurityManager())


register("AccessControl.SecurityManagement", _clean_security_manager, _save_security_manager)

__all__ = ["register", "unregister"]
