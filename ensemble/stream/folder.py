"""From a path on the command line to a folder of live events and what its state is made by."""

from __future__ import annotations

from pathlib import Path

from ensemble.serving.repository import events_folder, takes_events
from runtime.stream.fields import EVENTS_MODEL
from runtime.stream.spec import STREAM_FILE, StreamSpec
from workflows.core.errors import ArtefactError

__all__ = ["find_events", "load_spec"]


def find_events(path: Path) -> Path:
    """The EVENTS folder that a path stands for.

    Args:
        path: the folder itself, a run directory or a published repository.

    Raises:
        ArtefactError: there are no live events.
    """
    named = (path, path / "repo" / "fused", path / "repo" / "ensemble")
    repositories = [folder for folder in named if takes_events(folder)]
    places = [path, *(events_folder(path, folder.resolve()) for folder in repositories)]
    for place in places:
        if (place / "log").is_dir():
            return place
    if repositories:
        raise ArtefactError(f"{places[-1]} holds no live events yet; `cascade serve {path}` takes the first ones")
    raise ArtefactError(
        f"{path} holds no live events: expected a folder that `cascade serve --events` has written to, or a run or "
        f"published repository that serves {EVENTS_MODEL}"
    )


def load_spec(events: Path) -> StreamSpec:
    """The spec of the server that wrote to an EVENTS folder last.

    Raises:
        ArtefactError: it is missing or cannot be read.
    """
    try:
        return StreamSpec.load(events)
    except (OSError, ValueError) as error:
        raise ArtefactError(
            f"{events / STREAM_FILE} cannot be read ({error}); a server writes it when it opens the folder"
        ) from None
