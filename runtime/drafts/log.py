"""The recorder of a model that drafts: what was shown is a row of the log as any other, with the team of each place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from runtime.drafts.spec import DraftSpec
from runtime.ids import IdMap
from runtime.log.folder import log_settings, make_log
from runtime.log.identity import served_chain
from runtime.log.recorder import Recorder
from runtime.request import RequestParser
from runtime.spec import ChainSpec
from runtime.step import load_array
from runtime.tensor import Tensor

__all__ = ["STEP", "open_recorder"]

# What config.pbtxt says that the model runs.
STEP = "draft"


def open_recorder(
    model: Path, number: str, folder: Path, outputs: Sequence[Tensor], spec: DraftSpec, say: Callable[[str], None]
) -> Recorder | None:
    """Its recorder; None where nothing is logged.

    Args:
        model: the model's folder in the repository.
        number: of its version.
        folder: with chain.json, and the ids of the items of both versions.
        outputs: of the model.
        spec: whose slates are drafted from.
        say: takes a sentence when something is wrong.

    Raises:
        OSError: the settings, the salt or the ids cannot be read.
    """
    settings, chain = log_settings(), ChainSpec.load(folder)
    if settings is None:
        return None
    make_log(settings.folder)
    users = IdMap(load_array(folder / "ids/users.npy"), padded=False)
    items = IdMap(load_array(folder / "ids/items.npy"), padded=True)
    return Recorder(
        settings,
        served_chain(model, number),
        folder,
        chain,
        request_step=RequestParser(chain, users, items),
        answer_names={tensor.name: tensor.name for tensor in outputs},
        layout="fused",
        step=STEP,
        teams=[team.name for team in spec.teams],
        say=say,
    )
