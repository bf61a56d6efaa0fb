"""docs/WEB_SERVICE.md: both of its services, as they stand there, in front of a server and in front of none."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.ports import free_port
from tests.scripts.code_blocks import blocks

PAGE = Path(__file__).parents[2] / "docs/WEB_SERVICE.md"
STARLETTE, FLASK = (block.code for block in blocks("page", PAGE.read_text()) if block.language == "python")
pytestmark = [pytest.mark.triton, pytest.mark.service("console")]


def made(code: str, url: str, timeout_s: float) -> dict[str, Any]:
    """What a block of the page makes, with this server; on a loaded machine 150 ms say nothing."""
    code = code.replace("localhost:8001", url).replace("timeout_s=0.15", f"timeout_s={timeout_s}")
    names: dict[str, Any] = {}
    exec(code.replace("Retry(attempt_timeout_s=0.08)", "Retry()"), names)
    return names


def asked(app: Any, *paths: str) -> list[tuple[int, dict[str, Any]]]:
    """Statuses and answers of an ASGI application, between its start and its end."""

    async def one(path: str) -> tuple[int, dict[str, Any]]:
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b""}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b"", "app": app}
        await app(scope, receive, send)
        return sent[0]["status"], json.loads(b"".join(part["body"] for part in sent[1:]))

    async def all_of_them() -> list[tuple[int, dict[str, Any]]]:
        async with app.router.lifespan_context(app):
            return [await one(path) for path in paths]

    return asyncio.run(all_of_them())


def nobody() -> str:
    """An address at which nothing listens."""
    return f"127.0.0.1:{free_port()}"


def test_the_slate_comes_from_the_server(toy_server: Any) -> None:
    [(status, found), (refused, said)] = asked(
        made(STARLETTE, toy_server.grpc_url, 30)["app"], "/slate/17", f"/slate/{2**70}"
    )
    assert status == 200 and len(found["items"]) == 5 and found["request_id"]
    assert refused == 400 and "user_id" in said["error"]


def test_the_page_comes_without_the_server() -> None:
    names = made(STARLETTE, nobody(), 0.2)
    [(status, found)] = asked(names["app"], "/slate/17")
    assert (status, found["items"]) == (200, names["POPULAR"]) and found["from"] in {"CannotReach", "Timeout"}


def test_what_a_user_saw_last_is_kept_for_when_the_server_is_away(toy_server: Any) -> None:
    names = made(STARLETTE, toy_server.grpc_url, 30)
    away = names["CascadeClientError"]("away")

    async def refuses(*_: Any, **__: Any) -> None:
        raise away

    async def twice() -> Any:
        app = names["app"]
        async with app.router.lifespan_context(app):
            request = names["Request"]({"type": "http", "app": app, "path_params": {"user": 17}})
            before = await names["slate"](request)
            app.state.client.recommend = refuses
            return json.loads(before.body), json.loads((await names["slate"](request)).body)

    before, after = asyncio.run(twice())
    assert after["items"] == before["items"] and after["from"] == "CascadeClientError"


def test_the_service_with_threads(toy_server: Any) -> None:
    pytest.importorskip("flask", reason="flask is not installed")
    with made(FLASK, toy_server.grpc_url, 30)["site"].test_client() as page:
        assert len(page.get("/slate/17").json["items"]) == 5
    names = made(FLASK, nobody(), 0.2)
    with names["site"].test_client() as page:
        assert page.get("/slate/17").json["items"] == names["popular"]
