"""The pages in a real browser: wide and narrow, light and dark, by keyboard, and as a screen reader finds them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from ensemble.config import ChainConfig
from ensemble.export.stage import export
from tests.console.running import running
from tests.ensemble.synthetic import make_run, user_id

pytestmark = [pytest.mark.service("browser"), pytest.mark.slow]
ADDRESS = f"/user?user={quote(user_id(9, True))}"
FULL = f"{ADDRESS}&context.device=phone&recent=item-00003&without=item-00001&item=item-00040"
SERIOUS = ("serious", "critical")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    chain = ChainConfig(num_candidates=20, slate_size=4, max_slate_size=15, instances=1)
    run, config = make_run(tmp_path_factory.mktemp("browser") / "run", chain=chain, text_ids=True, num_users=20)
    export(run, config)
    with running(run.root) as asks:
        yield f"http://127.0.0.1:{asks.port}"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    path = os.environ.get("CASCADE_CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Any) -> Iterator[Any]:
    """A page that fails the test for every error of its own and for every request that leaves the machine."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    found = context.new_page()
    problems: list[str] = []
    found.on("pageerror", lambda error: problems.append(str(error)))
    found.on("console", lambda said: problems.append(said.text) if is_error(said) else None)
    found.on("request", lambda asked: problems.append(asked.url) if "//127.0.0.1:" not in asked.url else None)
    yield found
    context.close()
    assert not [each for each in problems if not each.startswith("data:")]


def is_error(said: Any) -> bool:
    """Of what a page writes to the browser's log; a status of 400 is meant."""
    return said.type == "error" and "a status of 400" not in said.text


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_no_page_is_wider_than_the_window(page: Any, base: str, width: int, scheme: str) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    for address in ("/user", FULL):
        page.goto(base + address)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        is_dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 22, 28)"
        assert is_dark == (scheme == "dark")


def test_a_change_is_made_in_place_and_the_browser_goes_back(page: Any, base: str) -> None:
    page.goto(base + ADDRESS)
    page.evaluate("window.same = true")
    first = page.locator("#slate ~ .scroll tbody tr th .id").first.inner_text()
    page.get_by_role("link", name=f"Exclude {first}").click()
    page.get_by_role("heading", name="No longer shown").wait_for()
    assert page.evaluate("window.same") and f"exclude={first}" in page.url
    assert page.get_by_label("Excluded items").input_value() == first
    page.go_back()
    page.wait_for_url(base + ADDRESS)
    assert page.locator("#slate ~ .scroll tbody tr th .id").first.inner_text() == first


def test_what_is_wrong_is_said_in_place(page: Any, base: str) -> None:
    page.goto(base + ADDRESS)
    page.get_by_label("Slate size").fill("900")
    page.get_by_role("button", name="Show the slate").press("Enter")
    page.get_by_role("alert").wait_for()
    assert "slate_size must be from 1 to 15" in page.get_by_role("alert").inner_text()


def test_it_is_used_by_keyboard(page: Any, base: str) -> None:
    page.goto(base + ADDRESS)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the content"
    page.keyboard.press("Enter")
    for _ in range(2):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('form') !== null")
    page.get_by_label("User id").fill(user_id(8, True).decode())
    page.keyboard.press("Enter")
    page.get_by_role("heading", name=f"User {user_id(8, True).decode()}").wait_for()
    assert "4 items for user" in page.get_by_role("status").inner_text()


@pytest.mark.skipif("CASCADE_AXE" not in os.environ, reason="CASCADE_AXE does not name axe.min.js of npm's axe-core")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(chromium: Any, base: str, scheme: str) -> None:
    context = chromium.new_context(color_scheme=scheme, bypass_csp=True)
    page, axe = context.new_page(), Path(os.environ["CASCADE_AXE"]).read_text()
    for address in ("/user", FULL, f"{ADDRESS}&size=x", "/nothing"):
        page.goto(base + address)
        page.evaluate(axe)
        found = page.evaluate("axe.run()")["violations"]
        assert not [each["id"] for each in found if each["impact"] in SERIOUS], address
    context.close()
