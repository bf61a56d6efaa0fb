"""Triton's model control API over gRPC: load, unload, and what is loaded; for those who have the key."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import msgspec

from cascade_client import Address
from cascade_client.failures import of_grpc
from cascade_client.grpc_channel import channel_args
from ensemble.serving.arguments import ADMIN_HEADER, GRPC_HEADER_PREFIX
from ensemble.serving.client_errors import as_ours
from workflows.core.errors import CascadeError, ServingError

__all__ = ["Loaded", "ModelControl"]

# A model that Triton can never load; while its load has failed, a server with strict readiness says "not ready".
HOLD, NOT_LOADABLE = "cascade_not_ready", {"backend": "none"}
ANY_FILE = {"file:1/none": b"none"}


class Loaded(msgspec.Struct, frozen=True):
    """A version of a model in the server.

    Attributes:
        model: its name.
        version: its version.
        state: READY, LOADING, UNLOADING or UNAVAILABLE.
        reason: why it is UNAVAILABLE; "unloaded" when it was asked to be.
    """

    model: str
    version: str
    state: str
    reason: str

    @property
    def failed(self) -> bool:
        """Whether it could not be loaded."""
        return self.state == "UNAVAILABLE" and self.reason != "unloaded"


class ModelControl:
    """Model control of one server. Use as a context manager.

    Args:
        address: the gRPC endpoint.
        admin_key: the server's CASCADE_ADMIN_KEY.
        timeout_s: longest wait for one call.

    Raises:
        ServingError: (every method) no server answered, not in time, or the key is not the server's.
        RequestError: (every method) the server refused the call.
    """

    def __init__(self, address: Address, admin_key: str, timeout_s: float) -> None:
        import tritonclient.grpc as triton

        self._address, self._timeout_s = address, timeout_s
        self._options = {"headers": {GRPC_HEADER_PREFIX + ADMIN_HEADER: admin_key}, "client_timeout": timeout_s}
        self._client = triton.InferenceServerClient(address.host_and_port, channel_args=channel_args(address))

    def load(
        self, model: str, config: Mapping[str, Any] | None = None, files: Mapping[str, bytes] | None = None
    ) -> None:
        """Load a model, or load it again when it has changed; the old one serves until the new one is there.

        Args:
            model: its name.
            config: in place of its config.pbtxt.
            files: in place of its folder, by "file:VERSION/NAME"; needs a config.
        """
        text = json.dumps(config) if config is not None else None
        self._call("load_model", model, config=text, files=dict(files) if files else None)

    def load_again(self, model: str, nonce: str) -> None:
        """Load the version that is served now once more, from its files as they are: every process of it is new.

        Triton does nothing where nothing has changed, so the config gets a parameter with another value.

        Args:
            model: its name.
            nonce: never used before.
        """
        config = self.config(model)
        config.setdefault("parameters", {})["cascade_loaded_again"] = {"string_value": nonce}
        self.load(model, config)

    def unload(self, model: str) -> None:
        """Unload a model; requests that are under way in it are answered before."""
        self._call("unload_model", model)

    def config(self, model: str) -> dict[str, Any]:
        """The config that a loaded model runs with, as `load` takes it."""
        return dict(self._call("get_model_config", model, as_json=True)["config"])

    def index(self) -> list[Loaded]:
        """Every model that was loaded so far, with its state."""
        models = self._call("get_model_repository_index").models
        return [Loaded(model.name, model.version, model.state, model.reason) for model in models]

    def is_ready(self) -> bool:
        """Whether the server's readiness endpoint says ready."""
        return bool(self._call("is_server_ready"))

    def hold(self) -> None:
        """Make the server say "not ready", over HTTP and gRPC; requests are answered all the same."""
        try:
            self.load(HOLD, NOT_LOADABLE, ANY_FILE)
        except CascadeError:
            return

    def release(self) -> None:
        """End `hold`."""
        self.clear(HOLD)

    def clear(self, model: str) -> None:
        """Make the server forget that version 1 of a model could not be loaded.

        Only a load that succeeds does. So the name becomes another name of a model that is loaded, for a short time.
        """
        config = next(
            config
            for loaded in self.index()
            if loaded.state == "READY" and (config := self.config(loaded.model)).get("platform") != "ensemble"
        )
        self.load(model, _another_name(config), ANY_FILE)
        self.unload(model)

    def ask(self, model: str, output: str) -> bytes:
        """Run a model with the single input `go` and return its one value."""
        import numpy as np
        from tritonclient.grpc import InferInput

        go = InferInput("go", [1], "BOOL")
        go.set_data_from_numpy(np.array([True]))
        with _clear_errors(self._address, model, self._timeout_s):
            result = self._client.infer(model, [go], client_timeout=self._timeout_s)
        return bytes(result.as_numpy(output).reshape(-1)[0])

    def _call(self, method: str, *arguments: Any, **named: Any) -> Any:
        with _clear_errors(self._address, str(arguments[0] if arguments else ""), self._timeout_s):
            return getattr(self._client, method)(*arguments, **named, **self._options)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def __enter__(self) -> ModelControl:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def _clear_errors(address: Address, model: str, timeout_s: float) -> Iterator[None]:
    """One sentence for a call that failed."""
    from tritonclient.utils import InferenceServerException

    with as_ours(), of_grpc(address, model, timeout_s):
        try:
            yield
        except InferenceServerException as error:
            if "protocol is restricted" not in str(error.message()):
                raise
            raise ServingError(
                f"the server at {address} refused the admin key; set CASCADE_ADMIN_KEY as it was set where the "
                "server was started, and start a server with one where none was set"
            ) from error


def _another_name(config: Mapping[str, Any]) -> dict[str, Any]:
    """An ensemble of one step: the model with this config."""
    step = {
        "model_name": config["name"],
        "model_version": "-1",
        "input_map": {tensor["name"]: tensor["name"] for tensor in config["input"]},
        "output_map": {tensor["name"]: tensor["name"] for tensor in config["output"]},
    }
    kept = {key: config[key] for key in ("max_batch_size", "input", "output") if key in config}
    return {"platform": "ensemble", **kept, "ensemble_scheduling": {"step": [step]}}
