"""The cleaner of a thread at its edges: modules that come, and that are other than expected."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import sample

from zodbjobs import cleanup
from zodbjobs.runtime.cleanup import ThreadCleaner, thread_given_back


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    before = cleanup._cleaners
    yield
    cleanup._cleaners = before


def import_later(name: str, code: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let there be a module; it is forgotten after the test."""
    (folder / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.delitem(sys.modules, name)


def test_a_module_is_found_when_it_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    cleanup.register("coming", seen.append)
    import_later("coming", "", tmp_path, monkeypatch)
    cleaner = ThreadCleaner()
    cleaner.clean()
    assert seen == []
    module = importlib.import_module("coming")
    cleaner.clean()
    assert seen == [module]


def test_a_module_that_is_being_imported_is_cleaned_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Another thread may be half through, so that what the cleaner uses isn't there yet."""
    seen: list[Any] = []
    cleanup.register("half", lambda module: seen.append(module.own), lambda module: module.own)
    import_later("half", "import sample; sample.noted.pop()(); own = 1", tmp_path, monkeypatch)
    cleaner = ThreadCleaner()

    def clean() -> None:
        with thread_given_back():
            cleaner.clean()

    sample.noted.append(clean)
    importlib.import_module("half")
    assert (seen, caplog.records, cleaner.is_clean) == ([], [], True)
    cleaner.clean()
    assert seen == [1]


def test_a_module_without_what_is_to_be_cleaned_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As if a later version of the package kept it otherwise."""
    seen: list[Any] = []
    cleanup.register("sample", seen.append)
    name = "zope.globalrequest.local"
    monkeypatch.setitem(sys.modules, name, ModuleType(name))
    cleaner = ThreadCleaner()
    with thread_given_back():
        cleaner.clean()
    assert seen
    assert not cleaner.is_clean
    errors = [r.message for r in caplog.records if r.levelno == logging.ERROR]
    assert any(f"of {name} failed" in line for line in errors)


def test_a_module_that_must_not_be_imported_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests have None in its place."""
    seen: list[Any] = []
    cleanup.register("no_such_module", seen.append, seen.append)
    monkeypatch.setitem(sys.modules, "no_such_module", None)  # type: ignore[arg-type]
    cleaner = ThreadCleaner()
    with thread_given_back():
        cleaner.clean()
    assert (seen, cleaner.is_clean) == ([], True)


def test_a_cleaner_that_is_registered_meanwhile_is_called() -> None:
    seen: list[Any] = []
    cleaner = ThreadCleaner()
    cleaner.clean()
    cleanup.register("sample", seen.append)
    cleaner.clean()
    cleanup.unregister(seen.append)
    cleaner.clean()
    assert seen == [sample]
