"""Modules of the user's own: steps, graphs and sources that the config names."""

from __future__ import annotations

import ast
import importlib.util
import os
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path

__all__ = ["modules_of_this_folder", "own_code", "place_of"]

INSTALLED = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib"))
PRODUCT = ("runtime", "workflows", "models", "ensemble", "scripts", "benchmarks", "cascade_client")


def modules_of_this_folder() -> None:
    """Let the config name modules of the folder where the command runs; installed ones of the same name come first."""
    if (here := os.fspath(Path.cwd())) not in sys.path:
        sys.path.append(here)


def place_of(error: BaseException) -> str:
    """What went wrong in code of the user's own, with the last line of this folder that took part."""
    frames = traceback.extract_tb(error.__traceback__)
    here = Path.cwd()
    own = [frame for frame in frames if Path(frame.filename).absolute().is_relative_to(here)]
    where = f", {Path(own[-1].filename).name} line {own[-1].lineno}" if own else ""
    return f"{type(error).__name__}: {error}{where}"


def own_code(modules: Iterable[str]) -> dict[str, str]:
    """The text of modules of the user's own and of those that they import in turn, by module; installed ones have none.

    Args:
        modules: where the reading starts; one that cannot be found is left out.
    """
    texts: dict[str, str] = {}
    waiting = [name for name in modules if name]
    while waiting:
        name = waiting.pop()
        if name in texts or (path := _file_of(name)) is None:
            continue
        texts[name] = path.read_text(errors="replace")
        waiting += _imports(texts[name], name, path)
    return dict(sorted(texts.items()))


def _file_of(module: str) -> Path | None:
    """The file of a module of the user's own; None where it is an installed one or none at all."""
    if module.split(".")[0] in (*PRODUCT, *sys.stdlib_module_names):
        return None
    try:
        top = importlib.util.find_spec(module.split(".")[0])
        if top is None or any(Path(place).resolve().is_relative_to(i) for place in _places(top) for i in INSTALLED):
            return None
        spec = importlib.util.find_spec(module)
    except Exception:  # importing a package of the user's own runs it: whoever uses it says what is wrong with it
        return None
    return Path(spec.origin) if spec is not None and spec.origin and spec.origin.endswith(".py") else None


def _places(spec: ModuleSpec) -> list[str]:
    return [*(spec.submodule_search_locations or []), *([spec.origin] if spec.origin else [])]


def _imports(text: str, module: str, path: Path) -> Iterator[str]:
    """The modules that a file imports, also inside functions."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            found = ".".join([*base, *([node.module] if node.module else [])])
            yield found
            yield from (f"{found}.{alias.name}" for alias in node.names)
