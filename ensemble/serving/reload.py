"""`cascade reload`: a running server loads the published version and unloads steps that it no longer needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from cascade_client import parse_url
from ensemble.serving.client_errors import as_ours
from ensemble.serving.control import ModelControl
from ensemble.serving.rehearsal import rehearse
from ensemble.serving.repository import MODEL_NAME, STEP_MODEL
from runtime.log.identity import VERSION_MODEL
from runtime.send_gate.spec import GATE_MODEL
from workflows.core.errors import CascadeError, ServingError

__all__ = ["TIMEOUT_S", "Reloaded", "reload_model"]

TIMEOUT_S = 300.0


class Reloaded(NamedTuple):
    """What a server serves after a reload.

    Attributes:
        version: of the model `cascade`.
        gate: the version of the send gate; "" where there is none.
        unloaded: names of the models that were unloaded.
    """

    version: str
    gate: str
    unloaded: list[str]


def reload_model(url: str, admin_key: str, timeout_s: float = TIMEOUT_S) -> Reloaded:
    """Load the model `cascade` again, over gRPC, then unload the step models of every other version.

    The send gate beside it is loaded as well, where the repository has one, also by a server that started without it.
    A version that cannot be loaded changes nothing: it is opened in a process of its own first, and the server goes on
    with the one it has. Requests that are under way in an old step are answered before Triton removes it.

    Args:
        url: of the gRPC endpoint (over HTTP, a load can hold up all other requests).
        admin_key: the server's CASCADE_ADMIN_KEY.
        timeout_s: longest wait for one call.

    Returns:
        What is served now.

    Raises:
        ServingError: no server answered, not in time, it speaks HTTP only here, or the key is not the server's.
        RequestError: the published version cannot be loaded.
    """
    with as_ours():
        address = parse_url(url)
    if address.protocol != "grpc":
        raise ServingError(f"reload talks gRPC, got {url}; give the gRPC endpoint, by default localhost:8001")
    with ModelControl(address, admin_key, timeout_s) as control:
        served = _served(control)
        before = control.config(MODEL_NAME) if served else None
        if served:
            rehearse(control)
        try:
            control.load(MODEL_NAME)
        except CascadeError:
            _restore(control, before)
            raise
        _load_gate(control)
        return Reloaded(_served(control), _served(control, GATE_MODEL), _unload_others(control))


def _served(control: ModelControl, model: str = MODEL_NAME) -> str:
    """The version of a model that is served; "" for none."""
    versions = [each.version for each in control.index() if (each.model, each.state) == (model, "READY")]
    return versions[0] if versions else ""


def _load_gate(control: ModelControl) -> None:
    """Load the send gate, if the repository has one: Triton lists a model of it that was never loaded, too.

    Triton goes on with the version that it has where the new one cannot be loaded.
    """
    if any(each.model == GATE_MODEL for each in control.index()):
        control.load(GATE_MODEL)


def _restore(control: ModelControl, before: Mapping[str, Any] | None) -> None:
    """Serve again what was served before: Triton drops an ensemble when a step of its next version fails."""
    if before is not None and not _served(control):
        control.load(MODEL_NAME, before)
    _unload_others(control)
    # Or the server would say "not ready" for good.
    for loaded in control.index():
        if loaded.failed and loaded.model != MODEL_NAME:
            control.clear(loaded.model)


def _unload_others(control: ModelControl) -> list[str]:
    """Unload the steps of every version but the served one and the variants; none when none is served."""
    served = _served(control)
    ready = [each.model for each in control.index() if each.state == "READY"]
    kept = {"", served, *(found[1] for found in map(VERSION_MODEL.fullmatch, ready) if found and not found[2])}
    others = sorted(model for model in ready if served and _version(model) not in kept)
    for name in others:
        control.unload(name)
    return others


def _version(name: str) -> str:
    """The version that owns a step model; "" for other models."""
    found = STEP_MODEL.match(name)
    return found[1] if found else ""
