"""What has labels: whose it is, what it is about, which site it belongs to, and a title."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from persistent import Persistent

from zodbjobs.interfaces import NEW
from zodbjobs.stored.lifecycle import labels

if TYPE_CHECKING:
    from zodbjobs.stored.lifecycle.labels import AboutName, AboutPlace


class Labelled(Persistent):
    """The labels of a job, and where that makes it stand in lists."""

    #: Zope's publisher calls what has a docstring, by any URL that leads to it.
    __zpublishable__ = False

    _owner: str | None = None
    _about: AboutName | None = None
    _v_about: Any = None
    #: Only of what has a place beside its name.
    _about_place: AboutPlace | None = None
    _title: str | None = None
    _realm: str | None = None
    #: None unless it has an owner, an object or a realm; then where it stands in the job index, or
    #: () while it isn't there.
    _listed: tuple[int, ...] | None = None

    if TYPE_CHECKING:

        def _require(self, what: str, *statuses: str) -> None: ...

    @property
    def owner(self) -> str | None:
        """Whose job it is: the id of a principal, or None. Settable while NEW, else BadStatus.

        It is the user of the transactions in which the job runs. Callbacks, parts of a composition
        and jobs that it returns belong to the same one, unless they were given another.
        """
        return self._owner

    @owner.setter
    def owner(self, value: str | None) -> None:
        self._require("its owner can be set", NEW)
        labels.set_owner(self, value)

    @property
    def about(self) -> Any:
        """The stored object that it is about, also one of another database of the process.

        None if there is none, or if that is gone. Content of Zope comes with its acquisition
        context, if it was given with it, and is None if it isn't in its site any more. Settable
        while NEW, else BadStatus; BadArgument for what isn't stored. The job names it, and doesn't
        refer to it: to keep it is the application's affair. Inherited as `owner` is.
        """
        return labels.object_of(self)

    @about.setter
    def about(self, value: Any) -> None:
        self._require("what it is about can be set", NEW)
        labels.set_about(self, value)

    @property
    def title(self) -> str | None:
        """What people read instead of the name of a function, or None. Settable while NEW."""
        return self._title

    @title.setter
    def title(self, value: str | None) -> None:
        self._require("its title can be set", NEW)
        labels.set_title(self, value)

    @property
    def realm(self) -> str | None:
        """The site that it belongs to, by its path or name, or None. Settable while NEW.

        Those who manage one see nothing of another's. Inherited as `owner` is.
        """
        return self._realm

    @realm.setter
    def realm(self, value: str | None) -> None:
        self._require("its realm can be set", NEW)
        labels.set_realm(self, value)
