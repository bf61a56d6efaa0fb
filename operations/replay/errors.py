"""Why a request cannot be asked again."""

from __future__ import annotations

from workflows.core.errors import CascadeError

__all__ = ["NotReplayableError"]


class NotReplayableError(CascadeError):
    """A logged request, or the version that is to answer it, is not there any more; or not all of it was logged."""
