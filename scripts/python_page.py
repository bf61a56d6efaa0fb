"""docs/PYTHON.md: what a program imports, from the docstrings; `python -m scripts.reference_pages` writes it.

Docstrings are as the code has them: a sentence, paragraphs, then Args, Returns, Raises, Attributes and Example.
"""

from __future__ import annotations

import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from scripts.artefacts_page import WIDTH

__all__ = ["MODULES", "python_page"]

# The modules that other people's programs import: all names of their __all__, and nothing else.
MODULES = ("cascade_client", "cascade_api")
HEAD = """<!-- Written by python -m scripts.reference_pages from the docstrings. -->
# Python

What a program imports of Cascade. Every name that is not on this page is internal, and may change with any release.
[The client by example](../client/README.md) is the page to begin with for programs that ask a server,
[a notebook](notebooks/look_at_a_run.ipynb) for people who look at a run.
"""
SECTION = re.compile(
    r"^(Args|Returns|Raises|Attributes|Yields|Example|Examples|Reference|References):[ \t]*(.*)$", re.MULTILINE
)
TITLES = {"Args": "Takes", "Attributes": "Attributes", "Raises": "Raises"}
ENTRY = re.compile(r"^([*\w, .]+): (.*)$", re.DOTALL)


def python_page() -> str:
    """The whole page."""
    return HEAD + "".join(_module(importlib.import_module(name)) for name in MODULES)


def _module(module: ModuleType) -> str:
    """A module: what it is, its classes, functions and errors, in this order."""
    found = {name: getattr(module, name) for name in sorted(module.__all__)}
    kinds = {
        "": [name for name, each in found.items() if inspect.isclass(each) and not issubclass(each, Exception)],
        "functions": [name for name, each in found.items() if inspect.isfunction(each)],
        "errors": [name for name, each in found.items() if inspect.isclass(each) and issubclass(each, Exception)],
    }
    parts = [f"\n## {module.__name__}\n\n{_text(inspect.getdoc(module) or '')}"]
    for names in kinds.values():
        parts += [_entry(name, found[name]) for name in names]
    return "".join(parts)


def _entry(name: str, each: Any) -> str:
    """A class with its public methods, or a function."""
    signature = "" if inspect.isclass(each) and issubclass(each, Exception) else _signature(name, each)
    base = f"\nIs a `{each.__bases__[0].__name__}`.\n" if not signature else ""
    text = f"\n### {name}\n{signature}{base}\n{_text(_own_doc(each))}"
    return text + "".join(_method(name, *found) for found in _methods(each)) if inspect.isclass(each) else text


def _methods(kind: type) -> Iterator[tuple[str, Any]]:
    """Public methods and properties that have a text of their own, in the order of the code."""
    if issubclass(kind, Exception):
        return
    for name, each in vars(kind).items():
        function = each.fget if isinstance(each, property) else each
        if not name.startswith("_") and (inspect.isfunction(function)) and inspect.getdoc(each):
            yield name, each


def _method(owner: str, name: str, each: Any) -> str:
    if isinstance(each, property):
        kind = each.fget.__annotations__.get("return", "") if each.fget else ""
        return f"\n#### {owner}.{name}\n\nA property, `{kind}`.\n\n{_text(inspect.getdoc(each) or '')}"
    return f"\n#### {owner}.{name}\n{_signature(name, each)}\n{_text(inspect.getdoc(each) or '')}"


def _own_doc(each: Any) -> str:
    """The text of a class that has none of its own is not that of its base."""
    return inspect.cleandoc(each.__doc__ or "")


def _signature(name: str, each: Any) -> str:
    """A call as Python writes it, on several lines where it is long; annotations as the code has them."""
    function = each.__init__ if inspect.isclass(each) else each
    signature = inspect.signature(function)
    given = [param for param in signature.parameters.values() if param.name != "self"]
    words = [str(param).replace("'", "") if param.default is param.empty else _with_default(param) for param in given]
    kinds = [param.kind for param in given]
    if inspect.Parameter.KEYWORD_ONLY in kinds and inspect.Parameter.VAR_POSITIONAL not in kinds:
        words.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
    before = "async " if inspect.iscoroutinefunction(function) else ""
    kind = signature.return_annotation
    after = "" if inspect.isclass(each) or kind is signature.empty else f" -> {kind}".replace("'", "")
    line = f"{before}{name}({', '.join(words)}){after}"
    if len(line) > WIDTH:
        line = f"{before}{name}(\n" + "".join(f"    {word},\n" for word in words) + f"){after}"
    return f"\n```text\n{line}\n```\n"


def _with_default(param: inspect.Parameter) -> str:
    kind = "" if param.annotation is param.empty else f": {param.annotation}".replace("'", "")
    return f"{param.name}{kind} = {param.default!r}"


def _text(doc: str) -> str:
    """A docstring as Markdown."""
    parts = SECTION.split(doc)
    out = [_paragraphs(parts[0])]
    for title, more, body in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        body = textwrap.dedent(f"{more}\n{body}" if more else body).strip("\n")
        if title.startswith("Example"):
            out.append(f"```text\n{body}\n```\n")
        elif title in TITLES:
            out.append(f"{TITLES[title]}:\n\n{_list(body)}")
        else:
            out.append(_fill(f"{title}: {body}") if "\n\n" not in body else f"{title}:\n\n{_paragraphs(body)}")
    return "\n".join(part for part in out if part.strip())


def _list(body: str) -> str:
    """The entries of a section: "name: text", with further lines indented."""
    entries = re.split(r"\n(?=\S)", body)
    lines = []
    for entry in entries:
        found = ENTRY.match(" ".join(entry.split()))
        words = f"`{found[1]}`: {found[2]}" if found else " ".join(entry.split())
        lines.append(textwrap.fill(f"- {words}", WIDTH, subsequent_indent="  ", **WHOLE_WORDS))
    return "\n".join(lines) + "\n"


def _paragraphs(text: str) -> str:
    return "\n".join(_fill(part) for part in re.split(r"\n\s*\n", text.strip()) if part.strip())


def _fill(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), WIDTH, **WHOLE_WORDS) + "\n"


WHOLE_WORDS: Any = {"break_long_words": False, "break_on_hyphens": False}
