"""Runs a notebook of docs/notebooks/ and keeps what its cells gave: `python -m scripts.notebook NOTEBOOK FOLDER`.

FOLDER is where its paths begin: the folder that holds runs/shop. Jupyter opens the result; none of it is needed here.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["executed"]

# Pandas puts a style of its own before each frame.
STYLE = re.compile(r"<style scoped>.*?</style>\s*", re.DOTALL)


def executed(notebook: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The same notebook with what its cells print, and what their last expressions are, in one namespace.

    Args:
        notebook: as its file has it.
        folder: the working folder of the cells.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    cells, count = [], 0
    with _inside(folder):
        for cell in notebook["cells"]:
            if cell["cell_type"] != "code":
                cells.append(cell)
                continue
            count += 1
            outputs = _run("".join(cell["source"]), names, count)
            cells.append({**cell, "execution_count": count, "outputs": outputs})
    return {**notebook, "cells": cells}


def _run(source: str, names: dict[str, Any], count: int) -> list[dict[str, Any]]:
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed, value = io.StringIO(), None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "<cell>", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": _lines(printed.getvalue())})
    if value is not None:
        data = {"text/plain": _lines(repr(value))}
        if hasattr(value, "_repr_html_"):
            data["text/html"] = _lines(STYLE.sub("", value._repr_html_()))
        outputs.append({"output_type": "execute_result", "execution_count": count, "metadata": {}, "data": data})
    return outputs


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


if __name__ == "__main__":
    path, place = Path(sys.argv[1]), Path(sys.argv[2])
    made = executed(json.loads(path.read_text(encoding="utf-8")), place)
    path.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
