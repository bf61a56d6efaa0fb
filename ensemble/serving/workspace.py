"""The folder a server works in, and links with plain names in it: no name of the user's ever reaches a shell.

Triton's Python backend starts its processes with `bash -c "exec STUB MODEL ..."` and quotes nothing, and the dynamic
loader gives `:`, `;` and `$` in LD_LIBRARY_PATH a meaning. So the server is shown links, not the folders themselves.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from workflows.core.errors import ServingError

__all__ = ["link", "make_workspace"]

PLAIN = re.compile(r"[A-Za-z0-9_./+@%=,-]+")
OTHERS = (Path("/tmp"), Path("/var/tmp"))


def make_workspace() -> Path:
    """A new folder whose path a shell takes as it is: under TMPDIR, or under another temporary folder.

    Raises:
        ServingError: no temporary folder has such a path and may be written to.
    """
    for parent in (Path(tempfile.gettempdir()).absolute(), *OTHERS):
        if PLAIN.fullmatch(str(parent)) and os.access(parent, os.W_OK | os.X_OK):
            return Path(tempfile.mkdtemp(prefix="cascade-serve-", dir=parent))
    raise ServingError(
        f"the temporary folder {tempfile.gettempdir()!r} cannot be used: Triton's Python backend takes only paths of "
        "letters, digits and . _ / + @ % = , - ; set TMPDIR to such a folder"
    )


def link(workspace: Path, name: str, target: Path) -> Path:
    """A symbolic link `workspace`/`name` to a folder with any path; what changes in the folder is seen through it.

    Raises:
        ServingError: the path is too long to be linked to.
    """
    made = workspace / name
    try:
        made.symlink_to(target.resolve(), target_is_directory=True)
    except OSError as error:
        raise ServingError(f"{str(target)!r:.200} cannot be served from ({error.strerror}); move it") from None
    return made
