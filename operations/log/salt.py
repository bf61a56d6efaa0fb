"""`cascade log renew-salt`: a new secret for user keys."""

from __future__ import annotations

from pathlib import Path

from runtime.log.folder import renew_salt
from runtime.stream.log.errors import LogError
from workflows.core import console
from workflows.core.errors import ArtefactError

__all__ = ["renew"]


def renew(log: Path) -> None:
    """Put a new salt in the place of the salt of a LOG folder; the old one stays while requests need it.

    Raises:
        ArtefactError: there is no salt, or the folder cannot be written.
    """
    try:
        salt = renew_salt(log)
    except LogError as error:
        raise ArtefactError(str(error)) from error
    console.say(f"log renew-salt: servers take the salt {salt.id} with their next start or reload")
