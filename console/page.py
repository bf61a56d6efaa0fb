"""A page before it is rendered."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from console.site import Site
from workflows.core.errors import RequestError

__all__ = ["MissingPage", "Page", "monitored"]


class MissingPage(RequestError):
    """What an address names is not there: a sentence."""


@dataclass(frozen=True)
class Page:
    """A page before it is rendered.

    Attributes:
        template: its file.
        values: what the template names.
        status: HTTP status.
    """

    template: str
    values: dict[str, Any]
    status: int = 200


def monitored(site: Site) -> Path:
    """MON.

    Raises:
        MissingPage: the console was started without one.
    """
    if site.monitor is None:
        raise MissingPage(
            "this page is of logged requests: start the console with --monitor MON, the folder that `cascade log "
            "collect LOG --out MON` fills"
        )
    return site.monitor
