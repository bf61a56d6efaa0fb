"""`cascade export`: artefacts -> Triton model repository."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scripts.common import ConfigOption, ForceOption, OutOption, SetOption, one_sentence_errors, resolve

__all__ = ["PublishOption", "export"]

PublishOption = Annotated[
    Path | None, typer.Option("--publish", help="Model repository that containers mount; gets the next version.")
]


@one_sentence_errors
def export(
    config: ConfigOption,
    out: OutOption,
    overrides: SetOption = [],
    publish: PublishOption = None,
    force: ForceOption = False,
) -> None:
    """Compile the chain and write it as a Triton model repository."""
    run, resolved = resolve(config, out, overrides)
    from ensemble.export.stage import export as stage
    from ensemble.publish import publish as publish_version

    stage(run, resolved, force=force)
    if publish is not None:
        publish_version(run, resolved, publish, resolved.chain.layouts[0])


if __name__ == "__main__":
    typer.run(export)
