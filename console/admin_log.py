"""What was changed from the console, when and from where: a line before each change, and one when it failed."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ensemble.history import utc_now
from ensemble.serving.repository import any_repository, blocked_file
from workflows.core import console
from workflows.core.lines import append_lines, held_for_lines

__all__ = ["ADMIN_LOG", "Changed", "log_file", "note"]

ADMIN_LOG = "console.ndjson"


class Changed(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line.

    Attributes:
        at: when, in UTC, as text.
        address: from where it was asked.
        what: sign in, sign out, block, unblock, rollback or stop experiment.
        of: the item, version or experiment.
        why: as it was given.
        failed: why it was not done; empty: it was, or the line stands before its change.
    """

    at: str
    address: str
    what: str
    of: str = ""
    why: str = ""
    failed: str = ""


def log_file(target: Path) -> Path:
    """Beside the blocked items: in a run, or in a published repository."""
    return blocked_file(any_repository(target)).with_name(ADMIN_LOG)


def note(target: Path, address: str, what: str, of: str = "", why: str = "", failed: str = "") -> None:
    """Add a line, and say it in the terminal.

    Raises:
        ArtefactError: the target is gone.
        OSError: it cannot be written.
    """
    said = " ".join(word for word in (what, of, f"({why})" if why else "") if word)
    line = Changed(utc_now(), address, what, of, why, failed)
    with held_for_lines(log_file(target)) as file:
        append_lines(file, [msgspec.json.encode(line)])
    console.say(f"{line.at} {address}: {said}{f' failed: {failed}' if failed else ''}")
