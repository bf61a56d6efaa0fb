"""The text of config.pbtxt files, with the reasons in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from runtime.spec import Instances, Tensor

__all__ = [
    "EnsembleStep",
    "ensemble_config",
    "events_config",
    "gate_config",
    "onnx_config",
    "python_config",
    "served_version",
]

VERSION_LINE = "version_policy { specific { versions: [ %d ] } }"
# In whole float32: the parity that export checked holds.
TENSORRT = (
    "optimization { execution_accelerators { gpu_execution_accelerator [ {",
    '  name: "tensorrt" parameters { key: "precision_mode" value: "FP32" }',
    "} ] } }",
)
ONE_PROCESS = Instances()
TRITON_TYPES = {"BYTES": "TYPE_STRING"}


@dataclass(frozen=True)
class EnsembleStep:
    """One step of an ensemble: a model and the tensors that it reads and writes.

    Attributes:
        model: name of the model.
        version: its version.
        inputs: name of a tensor in the model -> its name in the ensemble.
        outputs: the same for what the model writes.
    """

    model: str
    version: int
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


def python_config(
    name: str,
    step: str,
    version: int,
    max_batch_size: int,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    instances: Instances = ONE_PROCESS,
) -> str:
    """A Python-backend model that runs `step`."""
    return "\n".join(
        [
            *_head(name, version, max_batch_size),
            'backend: "python"',
            *_tensors("input", inputs, ragged=True),
            *_tensors("output", outputs),
            *_placed(instances),
            f'parameters {{ key: "step" value {{ string_value: "{step}" }} }}',
            "",
        ]
    )


def events_config(
    name: str, version: int, max_batch_size: int, inputs: Sequence[Tensor], outputs: Sequence[Tensor]
) -> str:
    """The Python-backend model that takes in events."""
    return "\n".join(
        [
            *_head(name, version, max_batch_size),
            'backend: "python"',
            *_tensors("input", inputs),
            *_tensors("output", outputs),
            "# No queue delay: the events that wait while a commit is on its way to the disk are the next commit.",
            "dynamic_batching { }",
            "# One process writes the log.",
            "instance_group [ { kind: KIND_CPU count: 1 } ]",
            "",
        ]
    )


def gate_config(
    name: str, version: int, max_batch_size: int, inputs: Sequence[Tensor], outputs: Sequence[Tensor]
) -> str:
    """The Python-backend model that decides whether a notification is worth sending."""
    return "\n".join(
        [
            *_head(name, version, max_batch_size),
            'backend: "python"',
            *_tensors("input", inputs),
            *_tensors("output", outputs),
            "# Each request is answered for itself; those that wait meet in one call.",
            "dynamic_batching { }",
            "instance_group [ { kind: KIND_CPU count: 1 } ]",
            "",
        ]
    )


def onnx_config(
    name: str,
    version: int,
    max_batch_size: int,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    *,
    on_tensorrt: bool = False,
) -> str:
    """An ONNX model on Triton's own backend, on the GPU where there is one."""
    return "\n".join(
        [
            *_head(name, version, max_batch_size),
            'backend: "onnxruntime"',
            *_tensors("input", inputs),
            *_tensors("output", outputs),
            *_batching(),
            "instance_group [ { kind: KIND_AUTO count: 1 } ]",
            *(TENSORRT if on_tensorrt else ()),
            "",
        ]
    )


def ensemble_config(
    name: str,
    version: int,
    max_batch_size: int,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    steps: Iterable[EnsembleStep],
) -> str:
    """A Triton ensemble; each step batches for itself, so requests of different users meet inside."""
    return "\n".join(
        [
            *_head(name, version, max_batch_size),
            'platform: "ensemble"',
            *_tensors("input", inputs),
            *_tensors("output", outputs),
            "ensemble_scheduling {",
            *(line for step in steps for line in _ensemble_step(step)),
            "}",
            "",
        ]
    )


def served_version(config: str) -> int:
    """The version that a config.pbtxt written here serves.

    Raises:
        ValueError: it was written by something else.
    """
    before, after = VERSION_LINE.split("%d")
    for line in config.splitlines():
        if line.startswith(before) and line.endswith(after):
            return int(line[len(before) : -len(after)])
    raise ValueError("no version_policy line of ours")


def _head(name: str, version: int, max_batch_size: int) -> list[str]:
    return [
        "# Written by `cascade export`.",
        f'name: "{name}"',
        "# Named, not `latest`: a version is served once this file says so, and rollback is this line.",
        VERSION_LINE % version,
        f"max_batch_size: {max_batch_size}",
    ]


def _placed(instances: Instances) -> list[str]:
    if instances.device == "gpu":
        return [
            "# chain.queue_delay_us: a request waits so long for company; a GPU answers many users in the time of one.",
            f"dynamic_batching {{ max_queue_delay_microseconds: {instances.queue_delay_us} }}",
            "# chain.instances: processes a GPU, each with its own copy of the items.",
            f"instance_group [ {{ kind: KIND_GPU count: {instances.count} }} ]",
        ]
    return [
        *_batching(),
        "# chain.instances: processes, each on one thread: with more, ONNX Runtime, FAISS and BLAS would fight for",
        "# the cores. One a core by default: while some compute, the others' requests are parsed and sent.",
        f"instance_group [ {{ kind: KIND_CPU count: {instances.count} }} ]",
    ]


def _batching() -> list[str]:
    return [
        "# No queue delay: requests that wait for a busy instance are batched; nobody waits for company.",
        "# No preferred sizes: a user costs the same in every batch, so the best batch is whatever waits.",
        "dynamic_batching { }",
    ]


def _tensors(kind: str, tensors: Sequence[Tensor], *, ragged: bool = False) -> list[str]:
    return [_tensor(kind, tensor, ragged=ragged) for tensor in tensors]


def _tensor(kind: str, tensor: Tensor, *, ragged: bool) -> str:
    fields = [
        f"name: {_quoted(tensor.name)}",
        f"data_type: {TRITON_TYPES.get(tensor.dtype, f'TYPE_{tensor.dtype}')}",
        f"dims: [ {tensor.length} ]",
    ]
    if kind == "input" and tensor.optional:
        fields.append("optional: true")
    if ragged and tensor.length == -1:
        fields.append("allow_ragged_batch: true")
    return f"{kind} {{ {' '.join(fields)} }}"


def _ensemble_step(step: EnsembleStep) -> list[str]:
    return [
        "  step {",
        f'    model_name: "{step.model}"',
        f"    model_version: {step.version}",
        *(_map_line("input_map", *names) for names in step.inputs.items()),
        *(_map_line("output_map", *names) for names in step.outputs.items()),
        "  }",
    ]


def _map_line(kind: str, name: str, ensemble_name: str) -> str:
    return f"    {kind} {{ key: {_quoted(name)} value: {_quoted(ensemble_name)} }}"


def _quoted(name: str) -> str:
    """A string of the text format: the names of context columns may hold anything."""
    plain = (chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\{byte:03o}" for byte in name.encode())
    return f'"{"".join(plain)}"'
