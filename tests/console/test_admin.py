"""Changes from the console: refused without the key, a session and a form of its own; made and logged with them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest
from typer.testing import CliRunner

from console.changes import CHANGES
from ensemble.serving.repository import served_number
from operations.blocks import blocked_now
from operations.experiments.record import Side, changing
from scripts.cli import app
from tests.console.running import Asks, running, text_of
from tests.operations.experiments.test_look import experiment
from tests.operations.repository import publish_golden

pytestmark = pytest.mark.service("console")
KEY = "a key of more than sixteen"
FORMS = {"/block": "item", "/unblock": "item", "/rollback": "version", "/experiment/stop": "name"}


@pytest.fixture
def published(tmp_path: Path) -> Path:
    publish_golden(tmp_path / "published", 1, "fused", "exact")
    publish_golden(tmp_path / "published", 2, "fused", "exact")
    return tmp_path / "published"


@pytest.fixture
def asks(published: Path) -> Iterator[Asks]:
    with running(published, admin_key=KEY) as found:
        yield found


def signed_in(asks: Asks) -> tuple[str, str]:
    """The cookie of a session, and what its forms carry."""
    answered = asks.post("/admin", {"key": KEY})
    assert answered.status == 303 and answered.headers["location"] == "/admin"
    cookie = answered.headers["set-cookie"].partition(";")[0]
    csrf = re.search(r'name="csrf" value="([^"]+)"', asks.get("/admin", cookie=cookie).body)
    assert csrf is not None
    return cookie, csrf[1]


def an_item(published: Path) -> str:
    return str(np.load(next(published.glob("cascade/2/chain/ids/items.npy")))[3])


def log_of(published: Path) -> list[dict[str, str]]:
    path = published / "console.ndjson"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def unchanged(published: Path) -> bool:
    return blocked_now(published) == [] and served_number(published) == "2"


def test_every_change_has_a_test_here() -> None:
    assert {path: change.of for path, change in CHANGES.items()} == FORMS


def test_a_console_without_a_key_changes_nothing_and_shows_no_form(published: Path) -> None:
    with running(published) as asks:
        for path in (*FORMS, "/admin", "/admin/end"):
            refused = asks.post(path, {FORMS.get(path, "key"): "2", "key": KEY})
            assert refused.status == 403 and "this console is read-only" in text_of(refused.body)
        for address in ("/", f"/item?id={an_item(published)}", "/experiments", "/admin"):
            page = asks.get(address).body
            assert 'method="post"' not in page and "Sign in" not in page
    assert unchanged(published) and log_of(published) == []


def test_without_a_session_nothing_is_changed(asks: Asks, published: Path) -> None:
    for cookie in ("", "cascade-console=guessed"):
        for path, field in FORMS.items():
            refused = asks.post(path, {field: "2", "csrf": ""}, cookie=cookie)
            assert refused.status == 401 and "sign in first" in text_of(refused.body)
        page = asks.get(f"/item?id={an_item(published)}", cookie=cookie).body
        assert 'action="/block"' not in page and "Sign in" in page
    assert unchanged(published)


def test_a_wrong_key_is_refused_and_logged(asks: Asks, published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.admin.WRONG_KEY_S", 0.0)
    for wrong in ("", KEY + "x", KEY[:-1], "é" * 20):
        refused = asks.post("/admin", {"key": wrong})
        assert refused.status == 403 and "set-cookie" not in refused.headers
    lines = log_of(published)
    assert len(lines) == 4 and all("this is not the admin key" in line["failed"] for line in lines)
    assert KEY[:-1] not in (published / "console.ndjson").read_text()


def test_a_form_of_another_site_or_session_is_refused(asks: Asks, published: Path) -> None:
    cookie, csrf = signed_in(asks)
    other, other_csrf = signed_in(asks)
    form = {"item": an_item(published), "csrf": csrf}
    assert asks.post("/block", form | {"csrf": other_csrf}, cookie=cookie).status == 403
    assert asks.post("/block", {"item": form["item"]}, cookie=cookie).status == 403
    for origin in ("https://evil.example", "http://localhost:1", "null"):
        refused = asks.post("/block", form, cookie=cookie, origin=origin)
        assert refused.status == 403 and "of another site" in text_of(refused.body)
    assert asks.post("/block", form, cookie=cookie, **{"content-type": "text/plain"}).status == 415
    assert asks.post("/block", form | {"reason": "x" * 70_000}, cookie=cookie).status == 413
    assert asks.get(f"/block?{urlencode(form)}", cookie=cookie).status == 405
    assert asks.post("/block", {"csrf": csrf}, cookie=cookie).status == 400
    assert unchanged(published)
    assert asks.post("/block", form, cookie=cookie, origin="http://localhost").status == 303
    assert other != cookie


def test_the_cookie_is_for_no_script_and_no_other_site(asks: Asks) -> None:
    said = asks.post("/admin", {"key": KEY}).headers["set-cookie"].lower()
    assert "httponly" in said and "samesite=strict" in said and "path=/" in said and KEY not in said


def test_an_item_is_blocked_and_unblocked_and_both_are_logged(asks: Asks, published: Path) -> None:
    cookie, csrf = signed_in(asks)
    item = an_item(published)
    address = f"/item?id={item}"
    assert 'action="/block"' in asks.get(address, cookie=cookie).body
    done = asks.post("/block", {"item": item, "reason": "recalled", "csrf": csrf}, cookie=cookie)
    assert (done.status, done.headers["location"]) == (303, address)
    page = asks.get(address, cookie=cookie)
    assert "is blocked: no slate shows it" in text_of(page.body) and 'action="/unblock"' in page.body
    # What was done is said once; that the item is blocked is seen by everybody.
    assert "from now on" not in text_of(asks.get(address, cookie=cookie).body)
    assert "recalled" in text_of(asks.get(address).body)
    assert [str(each.item_id) for each in blocked_now(published)] == [item]
    assert asks.post("/unblock", {"item": item, "csrf": csrf}, cookie=cookie).status == 303
    assert blocked_now(published) == []
    refused = asks.post("/block", {"item": "no number", "csrf": csrf}, cookie=cookie)
    assert refused.status == 409 and "integer ids" in text_of(refused.body)
    lines = [(line["what"], line.get("of", ""), "failed" in line) for line in log_of(published)]
    blocked = [("block", item, False), ("unblock", item, False), ("block", "no number", False)]
    assert lines == [("sign in", "", False), *blocked, ("block", "no number", True)]
    assert all(re.match(r"\d{4}-\d\d-\d\dT.*\+00:00$", line["at"]) for line in log_of(published))
    said = text_of(asks.get("/admin", cookie=cookie).body)
    assert f"block {item}" in said and "recalled" in said


def test_a_version_is_taken_back_once_however_often_the_form_is_sent(asks: Asks, published: Path) -> None:
    cookie, csrf = signed_in(asks)
    assert "Withdraw version 2" in asks.get("/", cookie=cookie).body
    form = {"version": "2", "reason": "worse", "csrf": csrf}
    assert asks.post("/rollback", form, cookie=cookie).status == 303
    page = asks.get("/", cookie=cookie).body
    assert "Version 2 is withdrawn: version 1" in text_of(page) and "Withdraw version" not in page
    again = asks.post("/rollback", form, cookie=cookie)
    assert again.status == 409 and "serves version 1 by now, not version 2" in text_of(again.body)
    assert asks.post("/rollback", form | {"version": "x"}, cookie=cookie).status == 400
    none = asks.post("/rollback", form | {"version": "1"}, cookie=cookie)
    assert none.status == 409 and "no version older than 1" in text_of(none.body)
    assert served_number(published) == "1"


def test_an_experiment_is_ended(asks: Asks, published: Path) -> None:
    cookie, csrf = signed_in(asks)
    missing = asks.post("/experiment/stop", {"name": "none", "csrf": csrf}, cookie=cookie)
    assert missing.status == 409
    with changing(published) as record:
        sides = [Side("a", 0.0, 0.5, 0.5, "", 2), Side("b", 0.5, 1.0, 1.0, "", 2)]
        record.experiments.append(experiment(name="two", variants=sides))
    assert 'action="/experiment/stop"' in asks.get("/experiment?name=two", cookie=cookie).body
    assert asks.post("/experiment/stop", {"name": "two", "csrf": csrf}, cookie=cookie).status == 303
    assert "No experiment runs" in text_of(asks.get("/experiments", cookie=cookie).body)


def test_who_signs_out_changes_nothing_any_more(asks: Asks, published: Path) -> None:
    cookie, csrf = signed_in(asks)
    assert asks.post("/admin/end", {"csrf": "x"}, cookie=cookie).status == 403
    assert asks.post("/admin/end", {"csrf": csrf}, cookie=cookie).status == 303
    assert asks.post("/block", {"item": an_item(published), "csrf": csrf}, cookie=cookie).status == 401


def test_what_cannot_be_logged_is_not_done(asks: Asks, published: Path) -> None:
    cookie, csrf = signed_in(asks)
    (published / "console.ndjson").unlink()
    (published / "console.ndjson").mkdir()
    refused = asks.post("/block", {"item": an_item(published), "csrf": csrf}, cookie=cookie)
    assert refused.status == 503 and "cannot be logged" in text_of(refused.body)
    assert unchanged(published)


def test_a_key_that_is_none_ends_the_command(published: Path, tmp_path: Path) -> None:
    (tmp_path / "short").write_text("short\n")
    (tmp_path / "bytes").write_bytes(b"\xff" * 40)
    command = ["console", str(published), "--admin-key-file"]
    wrong = {"none": "cannot be read", "short": "a key of 5 characters", "bytes": "it is no text"}
    for path, sentence in (*wrong.items(), ("/dev/zero", "more than 4,096 characters, which is no key")):
        found = CliRunner().invoke(app, [*command, str(tmp_path / path)])
        assert found.exit_code == 1 and sentence in " ".join(found.stderr.split())
    found = CliRunner().invoke(app, command[:2], env={"CASCADE_CONSOLE_KEY": "short"})
    assert found.exit_code == 1 and "CASCADE_CONSOLE_KEY has a key of 5 characters" in " ".join(found.stderr.split())
