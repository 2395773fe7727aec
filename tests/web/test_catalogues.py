"""The catalogues are complete, are compiled, and are in German and English."""

from __future__ import annotations

import re
import string

import catalogues
import polib
import pytest

from zodbjobs.web.language import LANGUAGES

SOURCES = catalogues.catalogues()

# Comments, tags and expressions of a template.
_NO_TEXT = re.compile(r"<!--.*?-->|<[^>]*>|\$\{(?:[^{}]|\{[^}]*\})*\}", re.DOTALL)


def test_there_is_one_for_each_language() -> None:
    assert set(SOURCES) == set(LANGUAGES)


@pytest.mark.parametrize("code", SOURCES)
def test_it_has_each_message_and_no_other(code: str) -> None:
    catalogue = polib.pofile(str(SOURCES[code]))
    found = {(entry.msgid, entry.msgid_plural or None) for entry in catalogue}
    assert found == catalogues.messages(), "run `make catalogues`"
    assert len(found) > 50
    assert not catalogue.untranslated_entries()
    assert not catalogue.fuzzy_entries()


@pytest.mark.parametrize("code", SOURCES)
def test_it_is_compiled(code: str) -> None:
    source, compiled = (
        polib.pofile(str(SOURCES[code])),
        polib.mofile(str(SOURCES[code].with_suffix(".mo"))),
    )
    as_texts = [
        {entry.msgid: (entry.msgstr, entry.msgstr_plural) for entry in each}
        for each in (source, compiled)
    ]
    assert as_texts[0] == as_texts[1], "run `make catalogues`"


@pytest.mark.parametrize("code", SOURCES)
def test_translations_have_the_same_values(code: str) -> None:
    for entry in polib.pofile(str(SOURCES[code])):
        for text in (entry.msgstr, *entry.msgstr_plural.values()):
            if text:
                assert fields(text) == fields(entry.msgid), entry.msgid


def fields(text: str) -> set[str | None]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_no_text_of_a_template_is_left_out() -> None:
    """Words that people read are messages, those of tags aside."""
    for path in sorted((catalogues.WEB / "templates").glob("*.pt")):
        text = _NO_TEXT.sub(" ", path.read_text(encoding="utf-8"))
        assert set(text.split()) <= {"·", "%", "UTC"}, path.name
