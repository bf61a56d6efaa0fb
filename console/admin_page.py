"""The page on which people say the admin key, and see what was changed lately."""

from __future__ import annotations

import msgspec

from console.admin_log import Changed, log_file
from console.page import Page
from console.site import Site
from operations.blocks import blocked_now
from workflows.core.errors import ArtefactError

__all__ = ["admin_page"]

NUM_LATEST = 30


def admin_page(site: Site, *, is_signed_in: bool) -> Page:
    """For those who are signed in, the log of changes and the blocked items; for others, a form for the key.

    Raises:
        ArtefactError: what is served is gone, or a file cannot be read.
    """
    seen = {"changed": _latest(site), "blocked": blocked_now(site.target)} if is_signed_in else {}
    return Page("admin.html.j2", seen)


def _latest(site: Site) -> list[Changed]:
    """The last lines, the latest first; one that a killed process left torn is passed over."""
    path, found = log_file(site.target), list[Changed]()
    try:
        lines = path.read_bytes().splitlines() if path.is_file() else []
    except OSError as error:
        raise ArtefactError(f"{path} cannot be read ({error.strerror})") from None
    for line in reversed(lines):
        try:
            found.append(msgspec.json.decode(line, type=Changed))
        except msgspec.DecodeError:
            continue
        if len(found) == NUM_LATEST:
            break
    return found
