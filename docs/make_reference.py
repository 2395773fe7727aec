"""Writes reference.md: ``python docs/make_reference.py``.

Signatures are taken from the sources, so that every Python writes the same text.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import click
from zope.interface import implementedBy

import zodbjobs
from zodbjobs import defaults, interfaces
from zodbjobs.cli.commands import cli

HEAD = """\
# Reference

<!-- Made by docs/make_reference.py from the docstrings; change those, then run it. -->

Everything here is public; what isn't here may change without a word. How the pieces are
used is in the [tutorial](tutorial.md) and in the [how-tos](index.md).
"""

_MODULES = (
    *("local", "context", "references", "events", "cleanup", "testing", "insights", "operations"),
    *(
        "operations.deeds",
        "operations.agent_deeds",
        "operations.schedule_deeds",
        "redaction",
        "load_guard",
        "errors",
        "web_worker",
    ),
)


# What can't be imported without Zope and Plone is read in the sources alone.
_SOURCES = ("zope", "plone", "plone.testing")


def reference() -> str:
    """The whole page."""
    names = [name for name in zodbjobs.__all__ if not inspect.ismodule(getattr(zodbjobs, name))]
    parts = [HEAD, _module("zodbjobs", zodbjobs, names)]
    for name in (
        "local",
        "context",
        "references",
        "cleanup",
        "testing",
        "insights",
        "sweep",
        "operations",
        "operations.deeds",
        "operations.agent_deeds",
        "operations.schedule_deeds",
        "redaction",
        "load_guard",
        "metrics",
        "errors",
        "otel",
        "pyramid",
        *_SOURCES,
        "web",
        "web_worker",
    ):
        if name in _SOURCES:
            parts.append(_source(f"zodbjobs.{name}"))
            continue
        module = getattr(zodbjobs, name, None) or importlib.import_module(f"zodbjobs.{name}")
        names = [n for n in _nodes(module.__name__) if n[0] != "_" and "." not in n]
        names = getattr(module, "__all__", names)
        names = [n for n in names if not isinstance(getattr(module, n), str)]
        parts.append(_module(f"zodbjobs.{name}", module, names))
    return "\n".join([*parts, _interfaces(), _defaults(), _command_line()])


def _module(path: str, module: Any, names: list[str]) -> str:
    things = [_thing(name, getattr(module, name)) for name in names]
    return f"## {path}\n\n{_doc(module)}\n\n" + "\n".join(things)


def _thing(name: str, thing: Any) -> str:
    """A class, a function, or an installer."""
    if isinstance(thing, frozenset):
        return f"### {name}\n\n{', '.join(f'`{each}`' for each in sorted(thing))}.\n"
    if not hasattr(thing, "__name__"):
        value, comment = _constants(type(thing).__module__)[name]
        return f"### {name}\n\n`{value}`\n\n{comment}\n"
    nodes = _nodes(thing.__module__)
    if not inspect.isclass(thing):
        return f"### {name}\n\n`{name}{_signature(nodes[name])}`\n\n{_doc(thing)}\n"
    start = nodes.get(f"{name}.__init__")
    bases = ", ".join(base.__name__ for base in thing.__bases__ if base.__name__[0] != "_")
    call = f"{name}{_signature(start)}" if start else f"{name}({bases})".replace("(object)", "")
    return f"### {name}\n\n`class {call}`\n\n{_doc(thing)}\n{_members(thing, nodes[name])}"


def _members(kind: type, node: Any) -> str:
    """The public members; of a class with an interface, those that it promises."""
    promised = {name for found in implementedBy(kind) for name in found.names(all=True)}
    typed = [part.target.id for part in node.body if isinstance(part, ast.AnnAssign)]
    fields = [f"`{name}`" for name in typed if name[0] != "_" and not promised]
    text = f"\nFields: {', '.join(fields)}.\n" if fields else ""
    for owner in [kind, *(base for base in kind.__bases__ if base.__name__[0] == "_")]:
        for name, value in vars(owner).items():
            if not (name in promised if promised else name[0] != "_"):
                continue
            if isinstance(value, property):
                text += f"\n- `{name}`{' (settable)' if value.fset else ''}: {_inline(value)}"
            elif inspect.isfunction(value) or isinstance(value, classmethod):
                method = _nodes(value.__module__)[value.__qualname__]
                text += f"\n- `{name}{_signature(method)}`: {_inline(value)}"
    return text.rstrip() + "\n" * bool(text)


def _source(path: str) -> str:
    """A module that isn't imported, with what is in its ``__all__``, or defined in it."""
    tree = _tree(path)
    exported = [node.value for node in tree.body if _defined(node) == ["__all__"]]
    own = [node for node in tree.body if not isinstance(node, ast.ImportFrom)]
    defined = [name for node in own for name in _defined(node) if name[0] != "_"]
    names = ast.literal_eval(exported[0]) if exported else defined
    things = [_of_source(path, name) for name in names]
    return f"## {path}\n\n{_doc_of(tree)}\n\n" + "\n".join(things)


def _of_source(path: str, name: str) -> str:
    """The same as `_thing` by the source alone."""
    node = next(node for node in _tree(path).body if name in _defined(node))
    if isinstance(node, ast.ImportFrom):
        home = str(node.module)
        if home.removeprefix("zodbjobs.") in _SOURCES:
            return f"### {name}\n\nThat of `{home}`.\n"
        return _of_source(home, name)
    if isinstance(node, ast.Assign):
        value, comment = _constants_of(_text_of(path))[name]
        shown = "" if value[0] == "_" else f"`{value}`\n\n"
        return f"### {name}\n\n{shown}{comment}\n"
    if isinstance(node, ast.FunctionDef):
        return f"### {name}\n\n`{name}{_signature(node)}`\n\n{_doc_of(node)}\n"
    call = f"{name}({', '.join(map(ast.unparse, node.bases))})"
    methods = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name[0] != "_"]
    items = [f"\n- `{n.name}{_signature(n)}`: {_in_item(_doc_of(n))}" for n in methods]
    return f"### {name}\n\n`class {call}`\n\n{_doc_of(node)}\n{''.join(items)}\n"


def _defined(node: Any) -> list[str]:
    """The names that a statement of a module gives it."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [each.id for each in node.targets if isinstance(each, ast.Name)]
    if isinstance(node, ast.ImportFrom):
        return [each.asname or each.name for each in node.names]
    return []


def _interfaces() -> str:
    text = f"## zodbjobs.interfaces\n\n{_doc(interfaces)}\n"
    nodes, constants = _nodes(interfaces.__name__), _constants(interfaces.__name__)
    text += "".join(f"\n- `{name} = {value}`" for name, (value, _) in constants.items())
    for name in (name for name in nodes if "." not in name):
        found = getattr(interfaces, name)
        text += f"\n\n### {name}\n\n{_doc(found)}\n"
        for key, value in found.namesAndDescriptions():
            method = nodes.get(f"{name}.{key}")
            text += f"\n- `{key}{_signature(method) if method else ''}`: {_inline(value)}"
    return text + "\n"


def _defaults() -> str:
    text = f"## zodbjobs.defaults\n\n{_doc(defaults)}\n\n| name | value | meaning |\n|-|-|-|\n"
    for name, (value, comment) in _constants(defaults.__name__).items():
        text += f"| `{name}` | `{value}` | {comment or 'as above'} |\n"
    return text


def _command_line() -> str:
    text = "## The command line\n\nNeeds the extra `cli`.\n"
    root = click.Context(cli, info_name="zodbjobs", **cli.context_settings, terminal_width=88)
    for name, command in cli.commands.items():
        context = click.Context(command, root, name, terminal_width=88)
        text += f"\n### zodbjobs {name}\n\n```text\n{command.get_help(context)}\n```\n"
    return text


@functools.cache
def _nodes(path: str) -> dict[str, Any]:
    """The classes, functions and methods of a module in its source."""
    tree = ast.parse(inspect.getsource(importlib.import_module(path)))
    found = {node.name: node for node in tree.body if hasattr(node, "name")}
    for node in [node for node in found.values() if isinstance(node, ast.ClassDef)]:
        found |= {f"{node.name}.{n.name}": n for n in node.body if hasattr(n, "name")}
    return found


@functools.cache
def _tree(path: str) -> ast.Module:
    return ast.parse(_text_of(path))


def _text_of(path: str) -> str:
    """The source of a module of zodbjobs, which isn't imported."""
    place = Path(zodbjobs.__file__).parent.joinpath(*path.split(".")[1:])
    found = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    return found.read_text(encoding="utf-8")


def _signature(node: Any) -> str:
    words = re.sub(r"^(self|cls)(, )?", "", ast.unparse(node.args))
    words = re.sub(r"(: [^=]+)=", r"\1 = ", words)
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"({words}){returns.removesuffix(' -> None')}"


def _constants(path: str) -> dict[str, tuple[str, str]]:
    return _constants_of(inspect.getsource(importlib.import_module(path)))


def _constants_of(source: str) -> dict[str, tuple[str, str]]:
    """Name: value and meaning, of what has a ``#:`` comment or is upper case."""
    pattern = r"^((?:#: .*\n)*)([A-Z_]+|\w+_installer) = (.+)$"
    return {
        name: (value, " ".join(re.findall(r"#: (.*)", comment)).replace("``", "`"))
        for comment, name, value in re.findall(pattern, source, re.M)
    }


def _doc(thing: Any) -> str:
    return _marked(thing.__doc__)


def _doc_of(node: Any) -> str:
    return _marked(ast.get_docstring(node))


def _marked(doc: str | None) -> str:
    text = inspect.cleandoc(doc or "").replace("``", "`")
    return re.sub(r"(^>>> .*(?:\n.+)*)", r"```python\n\1\n```", text, flags=re.M)


def _inline(thing: Any) -> str:
    return _in_item(_doc(thing))


def _in_item(text: str) -> str:
    """A docstring as the text of a list item."""
    return re.sub(r"\n(?=.)", "\n  ", text)


if __name__ == "__main__":
    Path(__file__).with_name("reference.md").write_text(reference(), encoding="utf-8")
