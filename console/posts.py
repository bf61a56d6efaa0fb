"""What a console answers to forms that change something: refused without the admin key, logged before it is made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar
from urllib.parse import parse_qs, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from console.admin import KEY_VARIABLE, Admin, Refused, Session, set_cookie
from console.admin_log import note
from console.changes import CHANGES, Change, made
from console.site import Site
from workflows.core.errors import CascadeError

__all__ = ["posts"]

MOST_BYTES = 1 << 16
FORM = "application/x-www-form-urlencoded"
READ_ONLY = (
    "this console is read-only: it was started without an admin key. cascade console --admin-key-file FILE, or the "
    f"variable {KEY_VARIABLE}, gives it one"
)
Form = dict[str, str]
Result = TypeVar("Result")


def posts(site: Site, admin: Admin | None) -> list[Route]:
    """The routes of what changes something.

    Args:
        site: that is changed.
        admin: who may; None: nobody.
    """

    def changing(change: Change) -> Callable[[Request, Form], Response]:
        return lambda request, form: _change(site, admin, change, request, form)

    routes = [Route(path, _taking(changing(change)), methods=["POST"]) for path, change in CHANGES.items()]
    return [
        *routes,
        Route("/admin", _taking(lambda request, form: _sign_in(site, admin, request, form)), methods=["POST"]),
        Route("/admin/end", _taking(lambda request, form: _sign_out(site, admin, request, form)), methods=["POST"]),
    ]


def _taking(answer: Callable[[Request, Form], Response]) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint that reads a form and answers it in a thread, as pages are."""

    async def endpoint(request: Request) -> Response:
        form = await _form(request)
        return await run_in_threadpool(answer, request, form)

    return endpoint


async def _form(request: Request) -> Form:
    """The last value of each field.

    Raises:
        Refused: it is of another site, no form, or too long.
    """
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise Refused(f"this form is of another site ({origin}): changes are made from pages of the console alone")
    if request.headers.get("content-type", "").partition(";")[0].strip() != FORM:
        raise Refused("what was sent is no form of a page", 415)
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > MOST_BYTES:
            raise Refused(f"the form is longer than {MOST_BYTES:,} bytes", 413)
    fields = parse_qs(content.decode("utf-8", "replace"), keep_blank_values=True)
    return {name: values[-1].strip() for name, values in fields.items()}


def _change(site: Site, admin: Admin | None, change: Change, request: Request, form: Form) -> Response:
    session = _allowed(admin, request, form)
    of, why = form.get(change.of, ""), form.get("reason", "")
    if not of:
        raise Refused(f"the form does not say which {change.of}", 400)
    _noted(site, request, change.what, of, why)
    try:
        done = made(site, change, of, why)
    except Refused as error:
        _noted(site, request, change.what, of, why, failed=str(error))
        raise
    session.said = done.said
    return RedirectResponse(done.address, 303)


def _allowed(admin: Admin | None, request: Request, form: Form) -> Session:
    if admin is None:
        raise Refused(READ_ONLY)
    return admin.allowed(request, form.get("csrf", ""))


def _sign_in(site: Site, admin: Admin | None, request: Request, form: Form) -> Response:
    if admin is None:
        raise Refused(READ_ONLY)
    try:
        name = admin.sign_in(form.get("key", ""))
    except Refused as error:
        _noted(site, request, "sign in", failed=str(error))
        raise
    _noted(site, request, "sign in")
    answer = RedirectResponse("/admin", 303)
    set_cookie(answer, request, name)
    return answer


def _sign_out(site: Site, admin: Admin | None, request: Request, form: Form) -> Response:
    _allowed(admin, request, form)
    assert admin is not None
    admin.sign_out(request)
    _noted(site, request, "sign out")
    return RedirectResponse("/admin", 303)


def _noted(site: Site, request: Request, what: str, of: str = "", why: str = "", failed: str = "") -> None:
    """Log it.

    Raises:
        Refused: it cannot be logged, and is not done then.
    """
    address = request.client.host if request.client is not None else "?"
    try:
        note(site.target, address, what, of, why, failed)
    except (OSError, CascadeError) as error:
        why_not = error.strerror if isinstance(error, OSError) else error
        raise Refused(f"{what}: it cannot be logged ({why_not}), so it is not done", 503) from None
