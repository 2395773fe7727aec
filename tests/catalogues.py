"""The catalogues of the pages: ``python catalogues.py`` brings them up to date.

It looks through the modules and templates for messages, enters new ones, drops old ones, and
compiles. What a translator has to fill in is listed; the test compares.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import polib

WEB = Path(__file__).parents[1] / "src" / "zodbjobs" / "web"
LOCALES = WEB / "locales"

#: Functions whose first argument is a message; of those of `PLURAL` the second is its plural.
SINGULAR = {"_", "t", "message"}
PLURAL = {"n"}

_TEXT = r"'((?:[^'\\]|\\.)*)'"
_IN_TEMPLATE = re.compile(rf"\bt\({_TEXT}|\bn\({_TEXT}, ?{_TEXT}")

Message = tuple[str, str | None]


def messages() -> set[Message]:
    """Every message with its plural, None if it has none."""
    found: set[Message] = set()
    for path in WEB.rglob("*.py"):
        found |= _in_module(path.read_text(encoding="utf-8"))
    for path in WEB.rglob("*.pt"):
        for one, number, many in _IN_TEMPLATE.findall(path.read_text(encoding="utf-8")):
            found.add((one, None) if one else (number, many))
    return found


def _in_module(source: str) -> set[Message]:
    found: set[Message] = set()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", None))
        texts = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
        texts = [text for text in texts if isinstance(text, str)]
        if name in SINGULAR and texts:
            found.add((texts[0], None))
        elif name in PLURAL and len(texts) > 1:
            found.add((texts[0], texts[1]))
    return found


def catalogues() -> dict[str, Path]:
    """The source of each language's catalogue."""
    return {path.parent.parent.name: path for path in LOCALES.glob("*/LC_MESSAGES/zodbjobs.po")}


def update(path: Path) -> list[str]:
    """Bring a catalogue up to date; the messages that have no translation yet."""
    catalogue = polib.pofile(str(path), wrapwidth=98)
    is_english = path.parent.parent.name == "en"
    wanted = messages()
    for entry in list(catalogue):
        if (entry.msgid, entry.msgid_plural or None) not in wanted:
            catalogue.remove(entry)
    known = {(entry.msgid, entry.msgid_plural or None) for entry in catalogue}
    for one, many in wanted - known:
        entry = polib.POEntry(msgid=one, msgid_plural=many or "")
        if many is not None:
            entry.msgstr_plural = {0: one, 1: many} if is_english else {0: "", 1: ""}
        elif is_english:
            entry.msgstr = one
        catalogue.append(entry)
    catalogue.sort(key=lambda entry: entry.msgid)
    catalogue.save(str(path))
    catalogue.save_as_mofile(str(path.with_suffix(".mo")))
    return [entry.msgid for entry in catalogue.untranslated_entries()]


def main() -> None:
    """Update all."""
    missing = {language: update(path) for language, path in sorted(catalogues().items())}
    for language, texts in missing.items():
        for text in texts:
            print(f"{language}: {text!r} has no translation")
    sys.exit(any(missing.values()))


if __name__ == "__main__":
    main()
