"""The pages in a real browser: wide and narrow, light and dark, by keyboard, and as a screen reader finds them.

They need a Chromium that is installed (on Debian `apt-get install chromium`, or CASCADE_CHROMIUM names one):
`pytest tests/console/test_browser.py`.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from ensemble.config import ChainConfig
from ensemble.export.stage import export
from operations.experiments.record import Side, changing
from operations.log.collect import collect
from runtime.stream.log.log import EventLog
from tests.console.running import running
from tests.ensemble.synthetic import item_id, make_run, user_id
from tests.operations.experiments.test_look import experiment
from tests.operations.repository import publish_golden
from tests.operations.why.test_logged import answer_all
from tests.runtime.stream.log.made import events_of
from workflows.stream.config import StreamConfig

pytestmark = [pytest.mark.service("browser"), pytest.mark.slow]
KEY = "a key of more than sixteen"
PATIENCE_MS = 180_000
ADDRESS = f"/user?user={quote(user_id(9, True))}"
FULL = f"{ADDRESS}&context.device=phone&recent=item-00003&without=item-00001&item=item-00040"
OF_RUN = (
    "/",
    "/user",
    FULL,
    "/item?id=item-00003",
    "/events",
    "/experiments",
    "/admin",
    f"{ADDRESS}&size=x",
    "/nothing",
)
OF_LOG = ("/", "/requests", "/signals", "/experiment?name=two", "/compare?user=1000", "/admin")
WIDTHS = (390, 768, 1280, 1920)
CONTRAST = '{runOnly: ["color-contrast"]}'
SERIOUS = ("serious", "critical")
# Everything that the tabulator key is to reach.
REACHABLE = (
    "main a[href], main button:not([hidden]), main input:not([type=hidden]), main select, main textarea, summary"
)


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EventLog]:
    log = EventLog(tmp_path_factory.mktemp("events") / "EVENTS", sync=False, segment_bytes=1 << 20)
    send(log, 9, 3)
    yield log
    log.close()


def send(log: EventLog, user: int, item: int) -> None:
    log.append(events_of([user_id(user, True)], [item_id(item, True)]), 10**18)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, events: EventLog) -> Iterator[str]:
    """A console of a run, with live events and an admin key."""
    chain = ChainConfig(num_candidates=20, slate_size=4, max_slate_size=15, instances=1)
    run, config = make_run(tmp_path_factory.mktemp("browser") / "run", chain=chain, text_ids=True, num_users=20)
    export(run, msgspec.structs.replace(config, stream=StreamConfig()))
    with running(run.root, events=events._folder, admin_key=KEY) as asks:
        yield f"http://127.0.0.1:{asks.port}"


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One of a published repository with collected requests, beside another one."""
    root = tmp_path_factory.mktemp("logged")
    answer_all(root / "LOG", publish_golden(root / "published", 1, "fused", "exact"), "exact", False)
    publish_golden(root / "other", 1, "fused", "exact")
    collect(root / "LOG", root / "MON")
    with changing(root / "published") as record:
        sides = [Side("a", 0.0, 0.5, 0.5, "", 1), Side("b", 0.5, 1.0, 1.0, "", 1)]
        record.experiments.append(experiment(name="two", variants=sides))
    with running(root / "published", monitor=root / "MON", beside=root / "other", admin_key=KEY) as asks:
        yield f"http://127.0.0.1:{asks.port}"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    path = os.environ.get("CASCADE_CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=["--no-sandbox"], timeout=PATIENCE_MS)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Any) -> Iterator[Any]:
    """A page that fails the test for every error of its own and for every request that leaves the machine."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    found = context.new_page()
    problems: list[str] = []
    found.on("pageerror", lambda error: problems.append(str(error)))
    found.on("console", lambda said: problems.append(said.text) if is_error(said) else None)
    found.on("request", lambda asked: problems.append(asked.url) if "//127.0.0.1:" not in asked.url else None)
    yield found
    context.close()
    assert not [each for each in problems if not each.startswith("data:")]


def is_error(said: Any) -> bool:
    """Of what a page writes to the browser's log; that an address is answered with a status is meant."""
    return said.type == "error" and "the server responded with a status of" not in said.text


def sign_in(page: Any, base: str) -> None:
    page.goto(f"{base}/admin")
    page.get_by_role("textbox", name="Admin key").fill(KEY)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Blocked items").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_is_wider_than_the_window_and_axe_finds_nothing_serious(
    chromium: Any, base: str, logged: str, scheme: str
) -> None:
    folder = importlib.util.find_spec("axe_playwright_python").submodule_search_locations[0]
    axe = (Path(folder) / "axe.min.js").read_text()
    context = chromium.new_context(color_scheme=scheme, bypass_csp=True)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    for server, addresses in ((base, OF_RUN), (logged, OF_LOG)):
        sign_in(page, server)
        for address in addresses:
            page.goto(server + address)
            for width in WIDTHS:
                page.set_viewport_size({"width": width, "height": 900})
                assert page.evaluate("document.documentElement.scrollWidth") <= width, (address, width)
            is_dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 22, 28)"
            assert is_dark == (scheme == "dark")
            page.evaluate(axe)
            # What the colours do not decide is the same in both.
            found = page.evaluate(f"axe.run({'' if scheme == 'light' else CONTRAST})")["violations"]
            serious = [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in SERIOUS]
            assert not serious, address
    context.close()


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
    page.get_by_role("heading", name="No longer shown").wait_for(state="detached")
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
    assert "4 items for user" in page.get_by_role("status").first.inner_text()


def test_the_tabulator_key_reaches_everything_and_shows_where_it_is(page: Any, base: str) -> None:
    sign_in(page, base)
    for address in (FULL, "/item?id=item-00003", "/events", "/admin"):
        page.goto(base + address)
        page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })")
        page.evaluate(f"document.querySelectorAll('{REACHABLE}').forEach((each, place) => each.dataset.place = place)")
        wanted, reached = (
            set(page.evaluate("[...document.querySelectorAll('[data-place]')].map(e => e.dataset.place)")),
            set(),
        )
        for _ in range(3 * len(wanted) + 40):
            page.keyboard.press("Tab")
            place, outline = page.evaluate(
                "[document.activeElement.dataset.place, getComputedStyle(document.activeElement).outlineStyle]"
            )
            if place is None and reached and page.evaluate("document.activeElement === document.body"):
                break
            if place is not None:
                reached.add(place)
                assert outline != "none", (address, place)
        assert reached == wanted, address


def test_events_come_in_by_themselves_but_not_while_nobody_looks(page: Any, base: str, events: EventLog) -> None:
    page.clock.install()
    page.goto(f"{base}/events")
    rows = page.locator("#live tbody tr")
    before = rows.count()

    def passes(*, comes: bool) -> None:
        """An event is sent and the page's clock goes on."""
        nonlocal before
        send(events, 8, 5)
        page.clock.run_for(2_100)
        if comes:
            rows.nth(before).wait_for()
        before = rows.count()

    passes(comes=True)
    assert "1 new event" in page.get_by_role("status").first.inner_text()
    page.evaluate("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
    # The page's clock goes on by itself too: whoever looks does so as soon as neither holds.
    looks: list[str] = []
    page.on("request", lambda asked: looks.append(asked.url))
    passes(comes=False)
    page.get_by_role("button", name="Pause").click()
    page.evaluate("Object.defineProperty(document, 'hidden', {value: false, configurable: true})")
    passes(comes=False)
    assert not looks
    page.get_by_role("button", name="Pause").click()
    passes(comes=True)
    page.get_by_role("link", name="Slate without").first.click()
    page.get_by_role("heading", name="Left out", exact=True).wait_for()


def test_a_change_is_made_and_said(page: Any, base: str) -> None:
    page.goto(f"{base}/item?id=item-00007")
    assert page.get_by_role("button", name="Block").count() == 0
    sign_in(page, base)
    page.goto(f"{base}/item?id=item-00007")
    page.get_by_role("textbox", name="Leave it out of every slate").fill("recalled")
    page.get_by_role("button", name="Block").click()
    page.get_by_role("button", name="Unblock").click()
    page.get_by_text("is not blocked any more").wait_for()
    page.goto(f"{base}/admin")
    assert "recalled" in page.locator("#changed ~ .scroll").inner_text()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("textbox", name="Admin key").wait_for()
