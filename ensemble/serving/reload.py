"""What `cascade reload` does: a running server takes the published version and lets go of steps it no longer needs."""

from __future__ import annotations

from typing import Any

from ensemble.serving.address import parse_url
from ensemble.serving.arguments import ADMIN_HEADER, GRPC_HEADER_PREFIX
from ensemble.serving.repository import MODEL_NAME, STEP_MODEL
from ensemble.serving.transport import channel_args, clear_errors
from workflows.core.errors import ServingError

__all__ = ["TIMEOUT_S", "reload_model"]

TIMEOUT_S = 300.0


def reload_model(url: str, admin_key: str, timeout_s: float = TIMEOUT_S) -> tuple[str, list[str]]:
    """Load the model `cascade` again, over gRPC, then unload the step models of every other version.

    A version that cannot be loaded changes nothing: the server goes on with the one it has. Requests that are under
    way in an old step are answered before Triton removes it.

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
    address = parse_url(url)
    if address.protocol != "grpc":
        raise ServingError(f"reload talks gRPC, got {url}; give the gRPC endpoint, by default localhost:8001")
    import tritonclient.grpc as triton

    options = {"headers": {GRPC_HEADER_PREFIX + ADMIN_HEADER: admin_key}, "client_timeout": timeout_s}
    with (
        triton.InferenceServerClient(address.host_and_port, channel_args=channel_args(address)) as client,
        clear_errors(address, MODEL_NAME, timeout_s),
    ):
        try:
            client.load_model(MODEL_NAME, **options)
        finally:  # also the steps of a version that could not be loaded
            served, unloaded = _unload_others(client, options)
    return served, unloaded


def _unload_others(client: Any, options: dict[str, Any]) -> tuple[str, list[str]]:
    ready = [model for model in client.get_model_repository_index(**options).models if model.state == "READY"]
    served = next((model.version for model in ready if model.name == MODEL_NAME), "")
    others = sorted(model.name for model in ready if _version(model.name) not in ("", served))
    for name in others:
        client.unload_model(name, **options)
    return served, others


def _version(name: str) -> str:
    """The version that owns a step model; "" for other models."""
    found = STEP_MODEL.match(name)
    return found[1] if found else ""
