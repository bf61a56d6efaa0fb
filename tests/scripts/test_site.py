"""The built documentation in a real browser: no page is wider than its window, and axe finds nothing serious.

`make docs`, which `make test` begins with, builds it and lets no link lead nowhere.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scripts.tracked import ROOT

SITE = ROOT / "build" / "site"
PAGES = sorted(path.name for path in SITE.glob("*.html") if path.name != "404.html")
# A page of each folder stands for those that are made alike.
PAGES += [
    f"{folder}/{sorted((SITE / folder).glob('*.html'))[0].name}" for folder in ("experiments", "decisions") if PAGES
]
SERIOUS = ("serious", "critical")
pytestmark = [
    pytest.mark.service("browser"),
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.skipif(not PAGES, reason="build/site is not there: `make docs` builds it"),
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    path = os.environ.get("CASCADE_CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def axe() -> str:
    """The script of axe-core, of npm's package or of PyPI's axe-playwright-python."""
    if named := os.environ.get("CASCADE_AXE"):
        return Path(named).read_text(encoding="utf-8")
    found = importlib.util.find_spec("axe_playwright_python")
    if found is None or found.origin is None:
        pytest.skip("neither CASCADE_AXE nor axe-playwright-python is there")
    return (Path(found.origin).parent / "axe.min.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [390, 768, 1280, 1920])
def test_no_page_is_wider_than_the_window(chromium: Any, width: int) -> None:
    page = chromium.new_page(viewport={"width": width, "height": 900})
    wide, problems = [], []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda asked: problems.append(asked.url) if not asked.url.startswith("file:") else None)
    for name in PAGES:
        page.goto(f"file://{SITE / name}")
        if page.evaluate("document.documentElement.scrollWidth") > width:
            wide.append(name)
    page.close()
    assert not wide and not [each for each in problems if not each.startswith(("data:", "blob:"))]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(chromium: Any, scheme: str) -> None:
    script, found = axe(), []
    context = chromium.new_context(color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    for name in PAGES:
        page.goto(f"file://{SITE / name}")
        page.evaluate(script)
        violations = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        serious = [each for each in violations if each["impact"] in SERIOUS]
        found += [f"{name}: {each['id']}: {each['nodes'][0]['html'][:160]}" for each in serious]
    context.close()
    assert not found
