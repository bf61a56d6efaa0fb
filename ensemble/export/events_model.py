"""The model `cascade_events` of a repository: it takes in live events, beside the chain that reads what they say."""

from __future__ import annotations

from pathlib import Path

from ensemble.export.layouts import CONFIG_FILE, runtime_sources, write_library
from ensemble.export.pbtxt import events_config
from runtime.spec import ChainSpec
from runtime.stream.fields import EVENTS_MODEL, MAX_BATCH, OUTPUTS, in_extra, inputs
from runtime.stream.spec import StreamSpec
from workflows.core import console

__all__ = ["config_of", "write_events_model"]

VERSION = 1


def config_of(spec: StreamSpec, version: int) -> str:
    """Its config.pbtxt."""
    return events_config(EVENTS_MODEL, version, MAX_BATCH, inputs(spec), OUTPUTS)


def write_events_model(chain: Path, repository: Path) -> None:
    """Write the model into a repository; nothing for a chain without live events.

    Args:
        chain: the compiled chain.
        repository: folder of models.
    """
    live = ChainSpec.load(chain).live
    if live is None:
        return
    if shadowed := in_extra(live.stream):
        names = ", ".join(shadowed)
        console.say(
            f"export: {repository.name}: a live event carries the context {names} in its `extra`, since a field of "
            "events has that name"
        )
    folder = repository / EVENTS_MODEL / str(VERSION)
    folder.mkdir(parents=True)
    live.stream.save(folder)
    write_library(folder, "runtime.stream.model", runtime_sources())
    (folder.parent / CONFIG_FILE).write_text(config_of(live.stream, VERSION))
