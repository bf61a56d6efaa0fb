"""prepare, second half: fit the NVTabular workflows on train, encode every table, compile the encoders."""

from __future__ import annotations

from pathlib import Path

from runtime.encoders import FORMAT_VERSION
from workflows.core import device
from workflows.core.artefacts import Manifest
from workflows.core.plain import plain
from workflows.core.quiet import quiet
from workflows.core.run import Run, run_stage
from workflows.features.checks import check_features
from workflows.features.config import FeaturesConfig
from workflows.features.info import FeaturesInfo

__all__ = ["prepare_features"]

# NVTabular writes the time into them, and pickles differ; the encoders and the encoded tables say the same.
VOLATILE = ("workflows/*/metadata.json", "workflows/*/workflow.pkl")


def prepare_features(run: Run, features: FeaturesConfig, force: bool = False) -> Manifest:
    """Write features/ from data/ (docs/ARTEFACTS.md).

    Args:
        run: its data/ is finished.
        features: the [features] section.
        force: run even when up to date.

    Returns:
        The manifest of features/; its `info` is a FeaturesInfo.

    Raises:
        ConfigError: a feature's name, spec or column cannot be used.
        DataError: a column's type or values do not fit its kind.
        ArtefactError: data/ has not finished or was altered.
    """
    check_features(features)

    def body(folder: Path) -> FeaturesInfo:
        quiet()
        from workflows.features.preparation import Preparation

        chosen = device.choose(features.device, "cudf", "features.device")
        device.announce("features", chosen)
        with plain(folder) as target:
            return Preparation(run, features, chosen.kind, target).write()

    return run_stage(
        run,
        "features",
        config={"features": features},
        after=["data"],
        inputs={"format_version": FORMAT_VERSION},
        body=body,
        volatile=VOLATILE,
        force=force,
    )
