"""What every answer of the console has in front: no other host is asked, and no other site shows or reads a page."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Headers"]

# Nothing is fetched from elsewhere, and no other site can show a page in a frame, or read it by a name of its own.
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    # An Origin is then said to this console alone, and forms of other sites are told by it.
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Headers:
    """Puts HEADERS on every answer; what is not a file of ours is not kept by a browser.

    Args:
        app: that answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        kept = "max-age=3600" if scope.get("path", "").startswith("/static/") else "no-store"

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                named = {**HEADERS, "cache-control": kept}
                message["headers"] = [
                    *message.get("headers", ()),
                    *((name.encode(), value.encode()) for name, value in named.items()),
                ]
            await send(message)

        await self._app(scope, receive, sent)
