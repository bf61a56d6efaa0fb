"""A finished run in a notebook: its slates as the served chain gives them, the steps to them, its figures as frames.

Importing it imports nothing heavy, and opening a run reads a few small files; a chain is opened with the first slate.
"""

from __future__ import annotations

from cascade_api.run import Funnel, Run
from workflows.core.errors import ArtefactError, CascadeError, RequestError

__all__ = ["ArtefactError", "CascadeError", "Funnel", "RequestError", "Run"]
