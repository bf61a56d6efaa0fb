"""docs/PYTHON.md has every public name with all that its docstring says; docs/NUMBERS.md has every metric."""

from __future__ import annotations

import importlib
import inspect
import re

import numpy as np
import pytest

from ensemble.evaluation.page import METRICS
from models.metrics.classification import classification_metrics
from scripts.python_page import MODULES, python_page
from tests.scripts.tracked import ROOT

PAGE = python_page()


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_has_an_entry(module: str) -> None:
    found = importlib.import_module(module)
    types = {name for name in found.__all__ if inspect.isclass(getattr(found, name))}
    functions = {name for name in found.__all__ if inspect.isfunction(getattr(found, name))}
    assert types | functions <= set(re.findall(r"^### (\w+)$", PAGE, re.MULTILINE))
    for name in types | functions:
        for word in re.findall(r"^    (\w+): ", inspect.cleandoc(getattr(found, name).__doc__ or ""), re.MULTILINE):
            assert f"- `{word}`: " in PAGE, (name, word)


def test_an_entry_has_its_call_and_its_parts() -> None:
    assert "SlateCache(\n    url: str,\n    *,\n    server: str | CascadeClient | None = None," in PAGE
    assert "async send(events: Sequence[Event], *, key: str | None = None, batch: int = 512)" in PAGE
    assert "### Timeout\n\nIs a `CascadeClientError`." in PAGE
    assert "#### Slate.num_items\n\nA property, `int`." in PAGE
    assert ">>> str(client.address)\n'grpc://localhost:8001'" in PAGE
    assert not re.search(r"^(Args|Attribute):$", PAGE, re.MULTILINE)


def test_what_each_number_means_has_every_number_of_the_report() -> None:
    text = (ROOT / "docs" / "NUMBERS.md").read_text()
    ranking = {f"`{name}@k`" for name in METRICS}
    rows = np.array([1, 0])
    assert not [
        name for name in ranking | {f"`{name}`" for name in classification_metrics(rows, rows)} if name not in text
    ]
