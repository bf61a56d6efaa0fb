"""Triton's HTTP protocol as bytes: what is sent to which path, and what an answer says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np

from cascade_client.address import Address
from cascade_client.failures import of_status, of_triton, reading
from cascade_client.tensors import Tensor

__all__ = ["HttpCodec", "Reply"]

HEADER_LENGTH = "Inference-Header-Content-Length"


class Reply:
    """An HTTP response that is read to its end.

    Args:
        status: its code.
        header_length: the value of HEADER_LENGTH, if there is one.
        body: its bytes.
    """

    def __init__(self, status: int, header_length: str | None, body: bytes) -> None:
        self.status, self.header_length, self.body = status, header_length, body


class HttpCodec:
    """One model behind one address.

    Args:
        address: of the server.
        model: its name.
    """

    def __init__(self, address: Address, model: str) -> None:
        import tritonclient.http as triton

        self._triton, self._address, self._model = triton, address, model
        self.metadata_path = f"/v2/models/{quote(model, safe='')}"
        self.infer_path = f"{self.metadata_path}/infer"

    def request(
        self, tensors: Sequence[Tensor], parameters: Mapping[str, str] | None = None, request_id: str = ""
    ) -> tuple[bytes, dict[str, str]]:
        """Body and headers of a request."""
        inputs = []
        for tensor in tensors:
            entry = self._triton.InferInput(tensor.name, list(tensor.array.shape), tensor.datatype)
            entry.set_data_from_numpy(tensor.array)
            inputs.append(entry)
        body, json_size = self._triton.InferenceServerClient.generate_request_body(
            inputs, request_id=request_id, parameters=dict(parameters or {})
        )
        headers = {"Content-Type": "application/octet-stream", "Accept-Encoding": "identity"}
        return body, headers if json_size is None else {**headers, HEADER_LENGTH: str(json_size)}

    def metadata(self, reply: Reply, timeout_s: float) -> Any:
        """The model's metadata.

        Raises:
            CascadeClientError: the reply holds none.
        """
        self._raise_for_status(reply, timeout_s)
        with reading(self._address):
            return json.loads(reply.body)

    def outputs(self, reply: Reply, timeout_s: float) -> dict[str, np.ndarray]:
        """The arrays of an answer.

        Raises:
            CascadeClientError: the reply holds none.
        """
        self._raise_for_status(reply, timeout_s)
        with reading(self._address):
            length = int(reply.header_length) if reply.header_length else None
            result = self._triton.InferenceServerClient.parse_response_body(reply.body, header_length=length)
            return {output["name"]: result.as_numpy(output["name"]) for output in result.get_response()["outputs"]}

    def _raise_for_status(self, reply: Reply, timeout_s: float) -> None:
        if reply.status == 200:
            return
        try:
            message = json.loads(reply.body)["error"]
        except (ValueError, LookupError, TypeError):
            message = None
        if not isinstance(message, str):
            raise of_status(reply.status, self._address, timeout_s)
        raise of_triton(message, str(reply.status), self._address, self._model, timeout_s)
