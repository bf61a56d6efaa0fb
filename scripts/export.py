"""`cascade export`: artefacts -> Triton model repository."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from ensemble.config import Config
from scripts.common import ConfigOption, ForceOption, OutOption, SetOption, one_sentence_errors, resolve
from scripts.gate import STATUS
from scripts.output import run_alone
from workflows.core import console
from workflows.core.errors import ConfigError
from workflows.core.run import Run

__all__ = ["LogOption", "PublishOption", "Released", "export", "export_stage", "publish_through_gate"]

PublishOption = Annotated[
    Path | None, typer.Option("--publish", help="Model repository that containers mount; gets the next version.")
]

GateOption = Annotated[bool, typer.Option("--gate", help="Publish only where `cascade gate` says RELEASE.")]
LogOption = Annotated[Path | None, typer.Option("--log", metavar="MON", help="Logged requests that --gate asks again.")]
OverrideOption = Annotated[
    str,
    typer.Option("--override", metavar="REASON", help="Publish whatever --gate says, and why."),
]


class Released(NamedTuple):
    """What came of a release.

    Attributes:
        verdict: RELEASE where it was published, whatever the gate said; else HOLD or REJECT.
        why: one sentence.
        version: that was published; 0: none.
    """

    verdict: str
    why: str
    version: int = 0


def export_stage(run: Run, config: Config, publish: Path | None, force: bool) -> None:
    """The stage, with a config that is already checked; then the publication, where one is asked for."""
    from ensemble.export.shortage import say_shortages
    from ensemble.export.stage import export as stage
    from ensemble.publish import publish as publish_version
    from workflows.core.disk import check_folder

    run.require("data", check=False)
    if publish is not None:
        check_folder("publish", publish)
    say_shortages(run, config)
    stage(run, config, force=force)
    if publish is not None:
        publish_version(run, config, publish, config.chain.product_layouts[0])


def publish_through_gate(run: Run, config: Config, target: Path, override: str, log: Path | None = None) -> Released:
    """Publish an export where the gate says RELEASE, or where somebody says why it is published all the same.

    Args:
        run: its report and export have finished.
        config: of the run.
        target: the model repository.
        override: why; empty: nobody says so.
        log: MON, whose latest requests are asked again.
    """
    from ensemble.publish import publish as publish_version
    from operations.gate.gate import gate

    gated = gate(run, target, config.gate, log)
    if gated.verdict != "RELEASE" and not override:
        console.fail(
            f"not published, the gate says {gated.verdict}: {gated.why}; `cascade gate {run.root} --against {target}` "
            'shows the figures, and `cascade export --publish --gate --override "REASON"` publishes all the same'
        )
        return Released(gated.verdict, gated.why)
    info = {"gate": {"verdict": gated.verdict, "why": gated.why, "override": override}}
    version = publish_version(run, config, target, config.chain.product_layouts[0], info=info, instead_of=gated.served)
    return Released("RELEASE", gated.why, version)


@one_sentence_errors
def export(
    config: ConfigOption,
    out: OutOption,
    overrides: SetOption = [],
    publish: PublishOption = None,
    gate: GateOption = False,
    log: LogOption = None,
    override: OverrideOption = "",
    force: ForceOption = False,
) -> None:
    """Compile the chain and write it as a Triton model repository.

    With --gate the exit status is 0 where it was published, 3 where the gate says HOLD, 4 where it says REJECT.
    """
    if gate and publish is None:
        raise ConfigError("--gate decides on a publication: name the repository with --publish")
    if log is not None and not gate:
        raise ConfigError("--log gives the gate requests to ask again: give --gate too, or drop it")
    if override.strip() and not gate:
        raise ConfigError("--override is a reason to publish against the gate: give --gate too, or drop it")
    run, found = resolve(config, out, overrides)
    export_stage(run, found, None if gate else publish, force)
    if gate and publish is not None:
        raise typer.Exit(STATUS[publish_through_gate(run, found, publish, override.strip(), log).verdict])


if __name__ == "__main__":
    run_alone(export)
