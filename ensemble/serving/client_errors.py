"""The client's errors as ours, where a command asks a server: same sentence, the client's error as the cause."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cascade_client import CascadeClientError, RequestRefused
from workflows.core.errors import RequestError, ServingError

__all__ = ["as_ours"]


@contextmanager
def as_ours() -> Iterator[None]:
    """Turn the client's errors, and no others, into RequestError and ServingError."""
    try:
        yield
    except RequestRefused as error:
        raise RequestError(str(error)) from error
    except CascadeClientError as error:
        raise ServingError(str(error)) from error
