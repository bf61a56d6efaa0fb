"""`cascade export`: artefacts -> Triton model repository."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ensemble.config import Config
from scripts.common import ConfigOption, ForceOption, OutOption, SetOption, one_sentence_errors, resolve
from workflows.core.run import Run

__all__ = ["PublishOption", "export", "export_stage"]

PublishOption = Annotated[
    Path | None, typer.Option("--publish", help="Model repository that containers mount; gets the next version.")
]


def export_stage(run: Run, config: Config, publish: Path | None, force: bool) -> None:
    """The stage, with a config that is already checked; then the publication, where one is asked for."""
    from ensemble.export.shortage import say_shortages
    from ensemble.export.stage import export as stage
    from ensemble.publish import publish as publish_version

    run.require("data", check=False)
    say_shortages(run, config)
    stage(run, config, force=force)
    if publish is not None:
        publish_version(run, config, publish, config.chain.product_layouts[0])


@one_sentence_errors
def export(
    config: ConfigOption,
    out: OutOption,
    overrides: SetOption = [],
    publish: PublishOption = None,
    force: ForceOption = False,
) -> None:
    """Compile the chain and write it as a Triton model repository."""
    export_stage(*resolve(config, out, overrides), publish, force)


if __name__ == "__main__":
    typer.run(export)
