"""Ask a Cascade server for ranked slates and send it events: typed, from threads and asyncio, over gRPC and HTTP."""

from __future__ import annotations

from cascade_client.address import Address, parse_url
from cascade_client.aio import AsyncCascadeClient
from cascade_client.assignment import Experiments, draw, read_experiments
from cascade_client.client import CascadeClient
from cascade_client.errors import (
    BadSetting,
    CannotReach,
    CascadeClientError,
    RequestRefused,
    Timeout,
    Unavailable,
    WrongServer,
)
from cascade_client.events import Event, EventOutcome
from cascade_client.retry import Retry
from cascade_client.slate_cache import SlateCache
from cascade_client.slate_stores import CacheAway
from cascade_client.slates import Id, Slate, Slates

__all__ = [
    "Address",
    "AsyncCascadeClient",
    "BadSetting",
    "CacheAway",
    "CannotReach",
    "CascadeClient",
    "CascadeClientError",
    "Event",
    "EventOutcome",
    "Experiments",
    "Id",
    "RequestRefused",
    "Retry",
    "Slate",
    "SlateCache",
    "Slates",
    "Timeout",
    "Unavailable",
    "WrongServer",
    "draw",
    "parse_url",
    "read_experiments",
]
