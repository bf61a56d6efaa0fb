"""The web application: addresses, the headers of every answer, and every error as a sentence on a page."""

from __future__ import annotations

import math
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from starlette.applications import Starlette
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from console.admin import Admin, Refused, Session
from console.admin_page import admin_page
from console.audience import Audience
from console.compare_page import compare_page
from console.events_page import events_page
from console.form import UserForm
from console.headers import Headers
from console.item_page import item_page
from console.monitor_pages import experiment_page, experiments_page, signals_page
from console.overview_page import overview_page
from console.page import MissingPage, Page
from console.posts import posts
from console.request_pages import request_page, requests_page
from console.site import Site
from console.user_page import user_page
from ensemble.html_pages import STYLE, html_pages
from operations.experiments.page import FOLDER as EXPERIMENTS
from operations.signals.monitor import date
from operations.signals.page import FOLDER as SIGNALS
from workflows.core.errors import CascadeError

__all__ = ["LOOPBACK", "application"]

HERE = Path(__file__).parent
LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "::1")
# The pages of the navigation, by their address; of MON, and of two chains.
PAGES = (
    ("/", "Overview"),
    ("/user", "User"),
    ("/item", "Item"),
    ("/events", "Events"),
    ("/experiments", "Experiments"),
)
OF_MON = (("/requests", "Request log"), ("/signals", "Signals"))
OF_TWO = (("/compare", "Compare"),)


def application(site: Site, hosts: Sequence[str] = LOOPBACK, admin: Admin | None = None) -> Starlette:
    """The console of a site.

    Args:
        site: what the pages are of.
        hosts: names under which it may be asked; another site's name that leads here is refused.
        admin: who may change something; None: nobody.
    """
    filters = {"number": _number, "percent": _percent, "count": _count, "date": date}
    pages = html_pages(HERE / "templates", filters, SIGNALS, EXPERIMENTS)

    audience = Audience(site.chain)
    offered = PAGES + (OF_MON if site.monitor is not None else ()) + (OF_TWO if site.beside is not None else ())

    def rendered(page: Page, request: Request) -> Response:
        values = {
            "pages": offered,
            "address": request.url.path,
            "target": site.target.name,
            "said": "",
            "admin": None if admin is None else {"csrf": "", "done": ""},
            **page.values,
        }
        if (session := signed_in(request)) is not None:
            values["admin"] = {"csrf": session.csrf, "done": session.said}
            session.said = ""
        if page.status == 204:
            return Response(status_code=204)
        return HTMLResponse(pages.get_template(page.template).render(values), page.status)

    def signed_in(request: Request) -> Session | None:
        return None if admin is None else admin.session(request)

    def shown(made: Callable[[Request], Page]) -> Callable[[Request], Response]:
        return lambda request: rendered(made(request), request)

    def failed(request: Request, status: int, sentence: str) -> Response:
        return rendered(Page("problem.html.j2", {"problem": sentence, "status": status}, status), request)

    def refused(request: Request, error: Exception) -> Response:
        return failed(request, 503, str(error))

    def not_made(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)
        return failed(request, error.status, str(error))

    def missing(request: Request, error: Exception) -> Response:
        return failed(request, 404, str(error))

    def wrong_address(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == 404:
            return failed(request, 404, f"there is no page {request.url.path}; the pages are listed above")
        if error.status_code == 405:
            return failed(request, 405, f"{request.url.path} is a page to look at, and takes no form")
        return failed(request, error.status_code, error.detail)

    def broken(request: Request, error: Exception) -> Response:
        traceback.print_exception(error, file=sys.stderr)
        return failed(request, 500, f"this page is broken ({type(error).__name__}); the terminal says where")

    return Starlette(
        routes=[
            Route("/", shown(lambda request: overview_page(site))),
            Route("/user", shown(lambda request: user_page(site, UserForm.of(request.query_params)))),
            Route("/item", shown(lambda request: item_page(site, audience, *_of(request, "id")))),
            Route("/events", shown(lambda request: events_page(site, *_of(request, "user", "after")))),
            Route("/requests", shown(lambda request: requests_page(site))),
            Route("/request", shown(lambda request: _request(site, request.query_params))),
            Route("/signals", shown(lambda request: signals_page(site))),
            Route("/compare", shown(lambda request: compare_page(site, UserForm.of(request.query_params)))),
            Route("/experiments", shown(lambda request: experiments_page(site))),
            Route("/experiment", shown(lambda request: experiment_page(site, request.query_params.get("name", "")))),
            Route("/admin", shown(lambda request: admin_page(site, is_signed_in=signed_in(request) is not None))),
            *posts(site, admin),
            Route("/static/pages.css", lambda request: FileResponse(STYLE)),
            Mount("/static", StaticFiles(directory=HERE / "static")),
        ],
        middleware=[Middleware(Headers), Middleware(TrustedHostMiddleware, allowed_hosts=[*hosts])],
        exception_handlers={
            MissingPage: missing,
            Refused: not_made,
            CascadeError: refused,
            HTTPException: wrong_address,
            Exception: broken,
        },
    )


def _of(request: Request, *names: str) -> list[str]:
    """Parameters of an address; those that it lacks are empty."""
    return [request.query_params.get(name, "").strip() for name in names]


def _request(site: Site, query: QueryParams) -> Page:
    """The page of a logged request, as an address names it."""
    user = query.get("user", "1")
    if not user.isascii() or not user.isdigit():
        raise MissingPage(f"user {user!r} is no place in a request: the users are counted from 1 on")
    name, item = query.get("id", "").strip(), query.get("item", "").strip()
    return request_page(site, name, again=query.get("again", "") == "1", item=item, user=int(user))


def _number(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "-"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.3g}%" if math.isfinite(value) else "-"


def _count(value: int) -> str:
    return f"{value:,}"
