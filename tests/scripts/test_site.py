"""The built documentation: no link leads nowhere; in a real browser no page is wider than its window, and axe finds
nothing serious: on a page of each kind with `make test`, on all of them with `make test-rest`.

`make docs`, which `make test` begins with, builds it.
"""

from __future__ import annotations

import html
import http.server
import importlib.util
import json
import os
import re
import shutil
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
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
NARROW, WIDE = 390, 1920
# One of each kind of page: the home, long tables and code, a list of words. Each is looked at in two of the four ways.
FEW = {
    "index.html": ((NARROW, "light"), (WIDE, "dark")),
    "RELEASE.html": ((NARROW, "dark"), (WIDE, "light")),
    "GLOSSARY.html": ((NARROW, "dark"), (WIDE, "light")),
}
SCHEMES = ("light", "dark")
LINK, ID = re.compile(r"""\b(?:href|src)=["']?([^"'\s>]+)"""), re.compile(r"""\b(?:id|name)=["']?([^"'\s>]+)""")
ELSEWHERE = re.compile(r"[a-z]+:|//")
is_built = pytest.mark.skipif(not PAGES, reason="build/site is not there: `make docs` builds it")


def browsed(test: Any) -> Any:
    """The marks of a test in a browser."""
    for mark in (pytest.mark.service("browser"), pytest.mark.slow, is_built):
        test = mark(test)
    return test


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


class Looked:
    """A page of a browser, and what was found on the pages that it was sent to.

    Attributes:
        page: of Playwright.
        found: what is wider than its window, what was asked of other places, errors of scripts, what axe found.
    """

    def __init__(self, context: Any, address: str) -> None:
        self._address, self._script = address, axe()
        self.page = context.new_page()
        self.found: dict[str, list[str]] = {"wide": [], "asked": [], "errors": [], "axe": []}
        self.page.on("pageerror", lambda error: self.found["errors"].append(f"{self.page.url}: {error}"))
        self.page.on("request", self._requested)

    def open(self, name: str) -> None:
        """Go to a page."""
        self.page.goto(self._address + name)
        self.page.evaluate(self._script)

    def measure(self, name: str, width: int) -> None:
        """Give the window a width, and note whether the page is wider."""
        self.page.set_viewport_size({"width": width, "height": 900})
        if (is_wide := self.page.evaluate("document.documentElement.scrollWidth")) > width:
            self.found["wide"].append(f"{name}: {is_wide} at {width}")

    def check(self, name: str, scheme: str) -> None:
        """Have axe look at the page as it is."""
        self.page.emulate_media(color_scheme=scheme)
        violations = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        serious = [each for each in violations if each["impact"] in SERIOUS]
        self.found["axe"] += [f"{name}, {scheme}: {each['id']}: {each['nodes'][0]['html'][:160]}" for each in serious]

    def _requested(self, asked: Any) -> None:
        if not asked.url.startswith((self._address, *OWN)):
            self.found["asked"].append(asked.url)


@pytest.fixture
def looked(chromium: Any, address: str) -> Iterator[Looked]:
    with looking(chromium, address) as found:
        yield found


@contextmanager
def looking(chromium: Any, address: str) -> Iterator[Looked]:
    """A window on the site."""
    context = chromium.new_context(bypass_csp=True, reduced_motion="reduce")
    try:
        yield Looked(context, address)
    finally:
        context.close()


@is_built
def test_every_link_of_the_site_leads_somewhere() -> None:
    text = {path: path.read_text(encoding="utf-8") for path in SITE.rglob("*.html")}
    anchors = {path: set(ID.findall(page)) for path, page in text.items()}
    links = {path: set(LINK.findall(page)) for path, page in text.items()}
    index = SITE / "search" / "search_index.json"
    links[SITE / "found"] = {entry["location"] for entry in json.loads(index.read_text())["docs"]}
    targets, lost = cache(_target), set()
    for path, found in links.items():
        for link in found:
            if ELSEWHERE.match(link):
                continue
            place, _, anchor = urllib.parse.unquote(html.unescape(link)).partition("#")
            target = targets(path.parent, place) if place else path
            if target is None or (anchor and target in anchors and anchor not in anchors[target]):
                lost.add(f"{path.relative_to(SITE)}: {link}")
    assert len(text) > 50
    assert not lost, "\n".join(sorted(lost))


def _target(folder: Path, place: str) -> Path | None:
    """The file that a link of a page in a folder leads to; None where it leads nowhere."""
    found = Path(os.path.normpath(SITE / place[1:] if place.startswith("/") else folder / place))
    found = found / "index.html" if found.is_dir() else found
    return found if found.is_file() else None


@browsed
@pytest.mark.parametrize("name", FEW)
def test_a_page_of_each_kind_fits_and_keeps_nobody_out(looked: Looked, name: str) -> None:
    looked.open(name)
    for width, scheme in FEW[name]:
        looked.measure(name, width)
        looked.check(name, scheme)
    assert not any(looked.found.values()), looked.found


@browsed
def test_what_the_search_finds_fits_and_keeps_nobody_out(looked: Looked) -> None:
    looked.page.set_viewport_size({"width": NARROW, "height": 900})
    looked.open("GLOSSARY.html")
    looked.page.keyboard.press("/")
    looked.page.keyboard.type("cascade why slate")
    looked.page.wait_for_selector(".md-search-result__item mark")
    for width, scheme in ((NARROW, "light"), (WIDE, "dark")):
        looked.measure("search", width)
        assert looked.page.is_visible(".md-search-result__item mark")
        looked.check("search", scheme)
    assert not any(looked.found.values()), looked.found


@pytest.fixture(scope="module")
def all_found(chromium: Any, address: str) -> dict[str, list[str]]:
    """Each page is opened once."""
    with looking(chromium, address) as looked:
        for name in PAGES:
            looked.open(name)
            for width in WIDTHS:
                looked.measure(name, width)
            for scheme in SCHEMES if name in IN_BOTH else SCHEMES[:1]:
                looked.check(name, scheme)
            looked.page.emulate_media(color_scheme="light")
        return looked.found


@browsed
@pytest.mark.long
@pytest.mark.parametrize("kind", ["wide", "asked", "errors", "axe"])
def test_no_page_is_too_wide_asks_elsewhere_fails_or_keeps_somebody_out(
    all_found: dict[str, list[str]], kind: str
) -> None:
    assert not all_found[kind]
