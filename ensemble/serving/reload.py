"""`cascade reload`: a running server loads the published version and unloads steps that it no longer needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cascade_client import parse_url
from ensemble.serving.client_errors import as_ours
from ensemble.serving.control import ModelControl
from ensemble.serving.rehearsal import rehearse
from ensemble.serving.repository import MODEL_NAME, STEP_MODEL
from runtime.log.identity import VERSION_MODEL
from workflows.core.errors import CascadeError, ServingError

__all__ = ["TIMEOUT_S", "reload_model"]

TIMEOUT_S = 300.0


def reload_model(url: str, admin_key: str, timeout_s: float = TIMEOUT_S) -> tuple[str, list[str]]:
    """Load the model `cascade` again, over gRPC, then unload the step models of every other version.

    A version that cannot be loaded changes nothing: it is opened in a process of its own first, and the server goes on
    with the one it has. Requests that are under way in an old step are answered before Triton removes it.

    Args:
        url: of the gRPC endpoint (over HTTP, a load can hold up all other requests).
        admin_key: the server's CASCADE_ADMIN_KEY.
        timeout_s: longest wait for one call.

    Returns:
        The version that is served now, and the names of the models that were unloaded.

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
        return _served(control), _unload_others(control)


def _served(control: ModelControl) -> str:
    """The version of `cascade` that is served; "" for none."""
    versions = [each.version for each in control.index() if (each.model, each.state) == (MODEL_NAME, "READY")]
    return versions[0] if versions else ""


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
