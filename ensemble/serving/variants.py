"""The versions that serve beside the served one, loaded once that answers: what is wrong with one ends no server."""

from __future__ import annotations

from pathlib import Path

from ensemble.serving.control import ModelControl
from ensemble.serving.endpoints import Endpoints
from ensemble.variants import model_of, variant_versions
from runtime.log.identity import MODEL_NAME
from workflows.core import console
from workflows.core.artefacts import verify
from workflows.core.errors import CascadeError

__all__ = ["load_variants"]

LOAD_TIMEOUT_S = 120.0


def load_variants(server: Endpoints, admin_key: str, repository: Path) -> None:
    """Have a server that is ready serve the variants of the experiments that run now.

    Users of one that cannot be loaded are answered by the served version, as clients know by themselves; that is said.
    """
    try:
        versions = sorted(variant_versions(repository))
    except CascadeError as error:
        console.say(f"serve: without the experiments: {error}")
        return
    if not versions:
        return
    with ModelControl(server.grpc_address, admin_key, LOAD_TIMEOUT_S) as control:
        for version in versions:
            model = model_of(version)
            try:
                for folder in (repository / MODEL_NAME / str(version), *sorted(repository.glob(f"{model}_*"))):
                    verify(folder)
                control.load(model)
            except CascadeError as error:
                console.say(f"serve: without {model}, whose users are served as all others are: {error}")
                _forget(control, model)


def _forget(control: ModelControl, model: str) -> None:
    """A server of which a load has failed says that it is not ready."""
    try:
        if any(each.failed for each in control.index() if each.model == model):
            control.clear(model)
    except CascadeError as error:
        console.say(f"serve: {model} could not be cleared: {error}")
