"""`cascade reload`: a running server takes the version that was published or rolled back to."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from scripts.common import one_sentence_errors
from scripts.output import run_alone
from workflows.core import console

__all__ = ["reload"]


@one_sentence_errors
def reload(
    url: Annotated[str, typer.Option("--url", help="host:port of the gRPC endpoint.")] = "localhost:8001",
) -> None:
    """Load what is published in a running server, the send gate too, and unload old steps; needs CASCADE_ADMIN_KEY."""
    from ensemble.serving.reload import reload_model
    from ensemble.serving.triton import ADMIN_KEY_VARIABLE

    found = reload_model(url, os.environ.get(ADMIN_KEY_VARIABLE, ""))
    gate = f" and version {found.gate} of cascade_gate" if found.gate else ""
    console.say(
        f"reload: {url} serves version {found.version}{gate}; unloaded: {', '.join(found.unloaded) or 'nothing'}"
    )


if __name__ == "__main__":
    run_alone(reload)
