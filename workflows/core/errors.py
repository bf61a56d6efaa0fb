"""One exception tree. A command prints a CascadeError as one sentence and exits with status 1."""

from __future__ import annotations

__all__ = [
    "ArtefactError",
    "CascadeError",
    "ConfigError",
    "DataError",
    "RequestError",
    "ServingError",
    "SetupError",
    "TrainingError",
]


class CascadeError(Exception):
    """Any failure that the user can act on: what was expected, what came, how to fix it."""


class SetupError(CascadeError):
    """A Python or a package that a command needs and that is not here."""


class ConfigError(CascadeError):
    """A configuration key that is unknown, has the wrong type, or contradicts another one."""


class DataError(CascadeError):
    """An input table that cannot be used as it is."""


class TrainingError(CascadeError):
    """A training that can learn nothing more: its loss, or what it made, is no finite number."""


class ArtefactError(CascadeError):
    """A missing, truncated or altered artefact of an earlier stage."""


class ServingError(CascadeError):
    """The server could not be started, reached or stopped."""


class RequestError(CascadeError):
    """A request that the server refused."""
