"""The Python-backend model: the whole chain or a part of its plan, as config.pbtxt's parameter `step` says."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.blocked import BlockedItems
from runtime.chain import Chain, Place, Sampled, Shown, open_nodes, parse_all
from runtime.errors import BadRequest, ServerFault
from runtime.plan import WIDTH, Plan
from runtime.request import Parsed, join, pad_columns
from runtime.spec import ChainSpec, Tensor
from runtime.step import Arrays, RequestStep

__all__ = [
    "CHAIN_FOLDER",
    "LOG_VARIABLE",
    "WHOLE_CHAIN",
    "Answer",
    "PartModel",
    "TritonPythonModel",
    "answer_all",
    "arrays_of",
    "response_of",
]

WHOLE_CHAIN = "chain"
CHAIN_FOLDER = "chain"
# Of `runtime.log.folder`, which is imported only where it is set.
LOG_VARIABLE = "CASCADE_LOG"

# What a request gets: arrays, or the sentence that refuses it.
Answer = Arrays | BadRequest
AnswerMany = Callable[[Sequence[Mapping[str, NDArray]]], list[Answer]]


class PartModel:
    """Some nodes of a plan, one Triton model of the ensemble layout; several requests are answered as one batch.

    Args:
        model: its name in the plan.
        plan: the whole one.
        folder: what the nodes open.
        spec: the chain's sizes.
        blocked: items that are never shown; the part that reads the request leaves them out.
        place: where the nodes run; None: on the CPU.

    Attributes:
        blocked: as given.
        parsed: the requests of the last `answer`, checked, where it reads them.
        request_step: the first step of the chain, where it is one of the nodes.
    """

    def __init__(
        self,
        model: str,
        plan: Plan,
        folder: Path,
        spec: ChainSpec,
        blocked: BlockedItems | None = None,
        place: Place | None = None,
    ) -> None:
        self.blocked = blocked
        self.parsed: Sequence[Parsed | BadRequest] = ()
        self._nodes = open_nodes(plan.of_model(model), folder, spec, place)
        self._inputs, self._outputs = plan.boundary(model, spec)
        first = self._nodes[0].step
        self.request_step = first if isinstance(first, RequestStep) else None
        # Slates are cut to the width that each request asked for.
        last = plan.nodes[-1]
        self._width = last.reads.get(WIDTH, "") if last.model == model else ""

    @property
    def sampled(self) -> Sampled | None:
        """What the last slates were drawn from, where this part draws them."""
        return getattr(self._nodes[-1].step, "sampled", None)

    @property
    def shown(self) -> Shown | None:
        """The rows of the last slates, where this part makes them."""
        return getattr(self._nodes[-1].step, "shown", None)

    def answer(self, requests: Sequence[Mapping[str, NDArray]]) -> list[Answer]:
        """Run the nodes on all requests together; only the first step of the chain can refuse one."""
        if self.request_step is not None:
            return self._encode(self.request_step, requests)
        arrays = {tensor.name: _stack([request[tensor.name] for request in requests]) for tensor in self._inputs}
        sizes = [len(request[self._inputs[0].name]) for request in requests]
        for node in self._nodes:
            node.run(arrays)
        return [*self._split(arrays, sizes)]

    def _encode(self, step: RequestStep, requests: Sequence[Mapping[str, NDArray]]) -> list[Answer]:
        self.parsed = parsed = parse_all(step, requests, self.blocked)
        good = [request for request in parsed if isinstance(request, Parsed)]
        if not good:
            return [request for request in parsed if isinstance(request, BadRequest)]
        arrays: Arrays = {}
        self._nodes[0].encode(arrays, join(good))
        for node in self._nodes[1:]:
            node.run(arrays)
        answers = iter(self._split(arrays, [len(request.user_row) for request in good]))
        return [request if isinstance(request, BadRequest) else next(answers) for request in parsed]

    def _split(self, arrays: Arrays, sizes: Sequence[int]) -> list[Arrays]:
        """Cut into requests."""
        answers, start = [], 0
        for size in sizes:
            stop = start + size
            width = int(arrays[self._width][start:stop].max()) if self._width else None
            answers.append({t.name: arrays[t.name][start:stop, :width] for t in self._outputs})
            start = stop
        return answers


def answer_all(
    answer: AnswerMany, requests: Sequence[Mapping[str, NDArray]], log: Callable[[str], None]
) -> list[Answer]:
    """Answer requests together; where that fails, one by one, so that a fault costs no other request its answer."""
    try:
        return answer(requests)
    except Exception as error:  # whatever it is, the other requests must be answered
        log(f"{type(error).__name__}: {error}")
        if len(requests) == 1:
            return [ServerFault()]
    return [answer_all(answer, [request], log)[0] for request in requests]


class TritonPythonModel:
    """What Triton's Python backend instantiates; one object an instance."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Open the artefacts beside model.py."""
        # The backend adds this module only after model.py has been imported.
        import triton_python_backend_utils as pb_utils

        self._pb: Any = pb_utils
        config = json.loads(args["model_config"])
        folder = Path(args["model_repository"]) / args["model_version"] / CHAIN_FOLDER
        step = config["parameters"]["step"]["string_value"]
        self._inputs = [tensor["name"] for tensor in config["input"]]
        self._outputs = [Tensor(t["name"], t["data_type"].removeprefix("TYPE_")) for t in config["output"]]
        # Triton names the model's folder; the others are beside it.
        blocked = BlockedItems.of_server(Path(args["model_repository"]).parent, folder, pb_utils.Logger.log_error)
        try:
            opened = _open(step, folder, blocked, self._place(args, folder))
        except MemoryError as error:  # also what CuPy raises
            raise pb_utils.TritonModelException(str(error)) from error
        self._answer: AnswerMany = opened.recommend_many if isinstance(opened, Chain) else opened.answer
        self._recorder: Any = None
        if os.environ.get(LOG_VARIABLE):
            self._recorder = self._open_log(args, step, opened, folder)

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer the requests of one dynamic batch, each for itself."""
        arrays = [arrays_of(self._pb, request, self._inputs) for request in requests]
        say = self._pb.Logger.log_error
        if self._recorder is None:
            answers = answer_all(self._answer, arrays, say)
        else:
            answers = self._recorder.answer(lambda: answer_all(self._answer, arrays, say), requests, arrays)
        return [response_of(self._pb, answer, self._outputs) for answer in answers]

    def finalize(self) -> None:
        """Write what the log still has to."""
        if self._recorder is not None:
            self._recorder.close()

    def _place(self, args: Mapping[str, str], folder: Path) -> Place | None:
        """The GPU of this instance, where it has one."""
        if args.get("model_instance_kind") != "GPU":
            return None
        # A server without a GPU loads nothing of it.
        from runtime.device.plan import place_on

        return place_on(int(args["model_instance_device_id"]), folder, self._pb.Logger.log_warn)

    def _open_log(self, args: Mapping[str, str], step: str, opened: Chain | PartModel, folder: Path) -> Any:
        """The log of this process; None for a part between the first and the last."""
        # A server without a log loads nothing of it.
        from runtime.log.open import open_recorder

        try:
            return open_recorder(
                *(Path(args["model_repository"]), args["model_version"], step, folder, self._warn),
                first=opened.request_step,
                blocked=opened.blocked,
                parsed=lambda: opened.parsed,
                sampled=lambda: opened.sampled,
                shown=lambda: opened.shown,
            )
        except OSError as error:
            raise self._pb.TritonModelException(str(error)) from error

    def _warn(self, what: str) -> None:
        self._pb.Logger.log_warn(f"request log: {what}")


def arrays_of(pb_utils: Any, request: Any, names: Sequence[str]) -> Arrays:
    """The inputs of a request, those that it has."""
    tensors = ((name, pb_utils.get_input_tensor_by_name(request, name)) for name in names)
    return {name: tensor.as_numpy() for name, tensor in tensors if tensor is not None}


def response_of(pb_utils: Any, answer: Answer, outputs: Sequence[Tensor]) -> Any:
    """An answer as Triton takes it."""
    if isinstance(answer, BadRequest):
        return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(answer), pb_utils.TritonError.INVALID_ARG))
    tensors = [
        pb_utils.Tensor(tensor.name, np.ascontiguousarray(answer[tensor.name], _dtype(tensor))) for tensor in outputs
    ]
    return pb_utils.InferenceResponse(tensors)


def _open(name: str, folder: Path, blocked: BlockedItems | None, place: Place | None) -> Chain | PartModel:
    if name == WHOLE_CHAIN:
        chain = Chain(folder, place=place)
        chain.blocked = blocked
        return chain
    return PartModel(name, Plan.load(folder), folder, ChainSpec.load(folder), blocked, place)


def _dtype(tensor: Tensor) -> type[np.generic]:
    return np.object_ if tensor.dtype == "STRING" else tensor.numpy_dtype


def _stack(blocks: Sequence[NDArray]) -> NDArray:
    if len(blocks) == 1:
        return blocks[0]
    return np.concatenate(blocks) if len({block.shape[1:] for block in blocks}) == 1 else pad_columns(blocks)
