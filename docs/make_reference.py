"""Writes reference.md from the docstrings and signatures: ``python docs/make_reference.py``.

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
from zope.interface.interface import Method

import zodbjobs
from zodbjobs import interfaces
from zodbjobs.cli.commands import cli

PAGE = Path(__file__).with_name("reference.md")
MODULES = ("local", "testing", "insights", "errors", "web_worker")

HEAD = """\
# Reference

<!-- Made by docs/make_reference.py from the docstrings; change those, then run it. -->

Everything here is public; what isn't here may change without a word. How the pieces are
used is in the [tutorial](tutorial.md) and in the [how-tos](index.md).
"""


def reference() -> str:
    """The whole page."""
    parts = [HEAD, _package()]
    parts += [_module(f"zodbjobs.{name}") for name in MODULES]
    parts += [_interfaces(), _defaults(), _command_line()]
    return "\n".join(parts)


def _package() -> str:
    text = f"## zodbjobs\n\n{_doc(zodbjobs)}\n"
    instances = _constants("zodbjobs.installer")
    for name in zodbjobs.__all__:
        found = getattr(zodbjobs, name)
        if inspect.ismodule(found):
            text += f"\n### {name}\n\nA module, see [below](#zodbjobs{name}).\n"
        elif name in instances:
            value, comment = instances[name]
            text += f"\n### {name}\n\n`{value}`\n\n{comment}\n"
        else:
            text += "\n" + _thing(found)
    return text


def _module(path: str) -> str:
    name = path.removeprefix("zodbjobs.")
    module = getattr(zodbjobs, name, None) or importlib.import_module(path)
    names = getattr(module, "__all__", None) or [
        name
        for name, value in vars(module).items()
        if (inspect.isclass(value) or inspect.isfunction(value))
        and name[0] != "_"
        and value.__module__ == module.__name__
    ]
    things = [_thing(getattr(module, name)) for name in names]
    return f"## {path}\n\n{_doc(module)}\n\n" + "\n".join(things)


def _thing(thing: Any) -> str:
    """A class or a function."""
    name, nodes = thing.__name__, _nodes(thing.__module__)
    if not inspect.isclass(thing):
        return f"### {name}\n\n`{name}{_signature(nodes[name])}`\n\n{_doc(thing)}\n"
    start = nodes.get(f"{name}.__init__")
    bases = ", ".join(base.__name__ for base in thing.__bases__ if base.__name__[0] != "_")
    call = f"{name}{_signature(start)}" if start else f"{name}({bases})".replace("(object)", "")
    return f"### {name}\n\n`class {call}`\n\n{_doc(thing)}\n" + _members(thing)


def _members(kind: type) -> str:
    """The public members; of a class with an interface, those that it promises."""
    promised = {name for found in implementedBy(kind) for name in found.names(all=True)}
    own, text = [*vars(kind)], ""
    for base in kind.__mro__[1:]:
        own += vars(base) if base.__name__[0] == "_" else []
    for name in own:
        value = inspect.getattr_static(kind, name)
        if name in promised if promised else name[0] != "_":
            if isinstance(value, property):
                text += f"\n- `{name}`{' (settable)' if value.fset else ''}: {_inline(value)}"
            elif inspect.isfunction(value) or isinstance(value, classmethod):
                node = _nodes(value.__module__)[value.__qualname__]
                text += f"\n- `{name}{_signature(node)}`: {_inline(value)}"
    fields = [
        f"`{node.target.id}`"
        for node in _nodes(kind.__module__)[kind.__name__].body
        if isinstance(node, ast.AnnAssign) and not promised and node.target.id[0] != "_"
    ]
    return (f"\nFields: {', '.join(fields)}.\n" if fields else "") + text + "\n" * bool(text)


def _interfaces() -> str:
    text = f"## zodbjobs.interfaces\n\n{_doc(interfaces)}\n"
    for name, (value, _) in _constants(interfaces.__name__).items():
        text += f"\n- `{name} = {value}`"
    for name, found in vars(interfaces).items():
        if getattr(found, "__module__", None) != interfaces.__name__:
            continue
        text += f"\n\n### {name}\n\n{_doc(found)}\n"
        for key, value in found.namesAndDescriptions():
            is_call = isinstance(value, Method)
            node = _nodes(interfaces.__name__).get(f"{name}.{key}")
            text += f"\n- `{key}{_signature(node) if is_call else ''}`: {_inline(value)}"
    return text + "\n"


def _defaults() -> str:
    module = importlib.import_module("zodbjobs.defaults")
    text = f"## zodbjobs.defaults\n\n{_doc(module)}\n\n| name | value | meaning |\n|---|---|---|\n"
    for name, (value, comment) in _constants(module.__name__).items():
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
def _source(path: str) -> str:
    return inspect.getsource(importlib.import_module(path))


@functools.cache
def _nodes(path: str) -> dict[str, Any]:
    """The classes, functions and methods of a module in its source."""
    top = [node for node in ast.parse(_source(path)).body if hasattr(node, "name")]
    found = {node.name: node for node in top}
    for node in top:
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{n.name}": n for n in node.body if hasattr(n, "name")}
    return found


def _signature(node: Any) -> str:
    words = re.sub(r"^(self|cls)(, )?", "", ast.unparse(node.args))
    words = re.sub(r"(: [^=]+)=", r"\1 = ", words)
    returns = ast.unparse(node.returns) if node.returns else "None"
    return f"({words})" + ("" if returns == "None" else f" -> {returns}")


def _constants(path: str) -> dict[str, tuple[str, str]]:
    """Name: value and meaning, of what has a ``#:`` comment or is upper case."""
    pattern = r"^((?:#: .*\n)*)([A-Z_]+|\w+_installer) = (.+)$"
    return {
        name: (value, " ".join(re.findall(r"#: (.*)", comment)).replace("``", "`"))
        for comment, name, value in re.findall(pattern, _source(path), re.M)
    }


def _doc(thing: Any) -> str:
    text = inspect.cleandoc(thing.__doc__ or "").replace("``", "`")
    return re.sub(r"(^>>> .*(?:\n.+)*)", r"```python\n\1\n```", text, flags=re.M)


def _inline(thing: Any) -> str:
    """A docstring as the text of a list item."""
    return re.sub(r"\n(?=.)", "\n  ", _doc(thing))


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
