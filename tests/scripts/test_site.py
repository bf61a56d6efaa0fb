"""The built documentation in a real browser: no page is wider than its window, and axe finds nothing serious.

`make docs`, which `make test` begins with, builds it and lets no link lead nowhere.
"""

from __future__ import annotations

import http.server
import importlib.util
import os
import shutil
import threading
from collections.abc import Iterator
from functools import partial
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
OWN = ("data:", "blob:")
WIDTHS = (390, 768, 1280, 1920)
IN_BOTH = ("index.html", "COMMANDS.html", "REALTIME.html", "PERFORMANCE.html")
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


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a web server on the site: its search works on one alone."""
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(quiet, directory=str(SITE))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def found(chromium: Any, address: str) -> dict[str, list[str]]:
    """Each page is opened once: what is wider than its window, what was asked of other places, what axe found."""
    script = axe()
    seen: dict[str, list[str]] = {"wide": [], "asked": [], "errors": [], "axe": []}
    context = chromium.new_context(bypass_csp=True, reduced_motion="reduce")
    page = context.new_page()
    page.on("pageerror", lambda error: seen["errors"].append(f"{page.url}: {error}"))
    page.on(
        "request", lambda asked: seen["asked"].append(asked.url) if not asked.url.startswith((address, *OWN)) else None
    )
    for name in PAGES:
        page.goto(address + name)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            if (is_wide := page.evaluate("document.documentElement.scrollWidth")) > width:
                seen["wide"].append(f"{name}: {is_wide} at {width}")
        page.evaluate(script)
        for scheme in ("light", "dark") if name in IN_BOTH else ("light",):
            page.emulate_media(color_scheme=scheme)
            violations = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
            serious = [each for each in violations if each["impact"] in SERIOUS]
            seen["axe"] += [f"{name}, {scheme}: {each['id']}: {each['nodes'][0]['html'][:160]}" for each in serious]
        page.emulate_media(color_scheme="light")
    context.close()
    return seen


@pytest.mark.parametrize("kind", ["wide", "asked", "errors", "axe"])
def test_no_page_is_too_wide_asks_elsewhere_fails_or_keeps_somebody_out(found: dict[str, list[str]], kind: str) -> None:
    assert not found[kind]
