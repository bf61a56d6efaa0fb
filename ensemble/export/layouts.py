"""The models of a repository: the files and the config.pbtxt of each, derived from the plan. Needs no Merlin."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import runtime
from ensemble.config import OnnxSteps
from ensemble.export.files import place
from ensemble.export.pbtxt import EnsembleStep, ensemble_config, onnx_config, python_config
from ensemble.profile.profile import PROFILE_FILE
from ensemble.publish_files import CONFIG_FILE
from runtime.plan import Node, Plan
from runtime.spec import CHAIN_FILE, ENCODED, ChainSpec, Instances
from runtime.triton import CHAIN_FOLDER, WHOLE_CHAIN

__all__ = [
    "CONFIG_FILE",
    "MODEL_NAME",
    "Names",
    "fused_config",
    "own_source",
    "runtime_sources",
    "sources",
    "step_config",
    "tied_config",
    "write_layout",
    "write_library",
    "write_step",
]

STEP_VERSION = 1
MODEL_NAME = "cascade"
MODEL_FILE = '''"""Written by `cascade export`: the code beside this file comes first, then Triton's model class."""

import sys
from pathlib import Path

# As Triton names it: its logger ends the process where a folder's real name is no ASCII.
sys.path.insert(0, str(Path(__file__).absolute().parent / "lib"))

from {module} import TritonPythonModel  # noqa: E402

__all__ = ["TritonPythonModel"]
'''


@dataclass(frozen=True)
class Names:
    """Names and versions of the models of one repository.

    Attributes:
        version: of the model `cascade`.
        prefix: of the step models; a published ensemble puts its version in, so that each version owns its steps.
        onnx_steps: what runs the steps that are an ONNX graph, see `ensemble.config.ChainConfig`.
    """

    version: int = 1
    prefix: str = MODEL_NAME
    onnx_steps: OnnxSteps = "python"

    def step(self, model: str) -> str:
        """Name of the Triton model of a part of the plan; its version is always STEP_VERSION."""
        return f"{self.prefix}_{model}"


def fused_config(spec: ChainSpec, plan: Plan, names: Names) -> str:
    """config.pbtxt of the model that runs the whole chain."""
    response = plan.response(spec)
    head = (MODEL_NAME, WHOLE_CHAIN, names.version, spec.max_batch_size)
    return python_config(*head, spec.request, response, spec.instances)


def step_config(spec: ChainSpec, plan: Plan, model: str, names: Names) -> str:
    """config.pbtxt of a part of the plan."""
    name = names.step(model)
    if (node := _onnx_node(plan, model, names)) is not None:
        step = node.make()
        # The graph knows its inputs by their own names, not by those between steps.
        inputs = tuple(replace(tensor, name=_plain(tensor.name)) for tensor in step.inputs(spec))
        on_tensorrt = names.onnx_steps == "tensorrt"
        return onnx_config(name, STEP_VERSION, spec.max_batch_size, inputs, step.outputs(spec), on_tensorrt=on_tensorrt)
    reads, gives = plan.boundary(model, spec)
    is_heavy = any(node.make().is_heavy for node in plan.of_model(model))
    instances = spec.instances if is_heavy else Instances()
    return python_config(name, model, STEP_VERSION, spec.max_batch_size, reads, gives, instances)


def tied_config(spec: ChainSpec, plan: Plan, names: Names) -> str:
    """config.pbtxt of the `platform: "ensemble"` model that ties the parts together, in their order."""
    response = plan.response(spec)
    # The answer's arrays go by the names of the response, all others by those of the plan.
    final = {plan.nodes[-1].gives[tensor.name]: tensor.name for tensor in response}
    requested = {tensor.name for tensor in spec.request}
    prefix = _prefix(spec, plan)
    first = plan.models[0]
    mapped = []
    for model in plan.models:
        reads, gives = plan.boundary(model, spec)
        inputs = {t.name: t.name if model == first and t.name in requested else prefix + t.name for t in reads}
        outputs = {t.name: final.get(t.name, prefix + t.name) for t in gives}
        if (node := _onnx_node(plan, model, names)) is not None:
            inputs = {_plain(own): inputs[array] for own, array in node.reads.items()}
            outputs = {own: outputs[array] for own, array in node.gives.items() if array in outputs}
        mapped.append(EnsembleStep(names.step(model), STEP_VERSION, inputs, outputs))
    return ensemble_config(MODEL_NAME, names.version, spec.max_batch_size, spec.request, response, mapped)


def write_layout(chain: Path, plan: Plan, repository: Path, layout: str, names: Names) -> None:
    """Write a model repository.

    Args:
        chain: the compiled chain.
        plan: of its graph.
        repository: an empty or absent folder.
        layout: "fused": one model runs the whole plan; "ensemble": each part of it is a model, which holds the files of
            that part alone, and a model of Triton's platform "ensemble" ties them together.
        names: of the models.
    """
    spec = ChainSpec.load(chain)
    folder = repository / MODEL_NAME / str(names.version)
    if layout == "fused":
        _write_model(chain, plan, plan.nodes, folder)
        _place_profile(chain, folder / CHAIN_FOLDER)
        (folder.parent / CONFIG_FILE).write_text(fused_config(spec, plan, names))
        return
    for model in plan.models:
        write_step(chain, plan, repository, model, names)
    folder.mkdir(parents=True)
    spec.save(folder)
    plan.save(folder)
    _place_profile(chain, folder)
    (folder.parent / CONFIG_FILE).write_text(tied_config(spec, plan, names))


def _place_profile(chain: Path, folder: Path) -> None:
    """The reference of the signals goes with the version; no step opens it."""
    if (chain / PROFILE_FILE).exists():
        place(chain / PROFILE_FILE, folder / PROFILE_FILE)


def write_step(chain: Path, plan: Plan, repository: Path, model: str, names: Names) -> None:
    """Write one part of the plan as a model; it holds the files of that part alone."""
    folder = repository / names.step(model) / str(STEP_VERSION)
    if (node := _onnx_node(plan, model, names)) is not None:
        place(chain / node.make().graph_file, folder / "model.onnx")
    else:
        _write_model(chain, plan, plan.of_model(model), folder)
    (folder.parent / CONFIG_FILE).write_text(step_config(ChainSpec.load(chain), plan, model, names))


def _write_model(chain: Path, plan: Plan, nodes: tuple[Node, ...], folder: Path) -> None:
    """A Python-backend model: model.py, lib/ with the code that it imports, chain/ with what its nodes open."""
    for name in (CHAIN_FILE, *plan.files(nodes)):
        place(chain / name, folder / CHAIN_FOLDER / name)
    plan.save(folder / CHAIN_FOLDER)
    write_library(folder, "runtime.triton", sources(plan))


def write_library(folder: Path, module: str, copied: Iterable[tuple[Path, Path]]) -> None:
    """Write model.py, which takes Triton's model class from `module`, and lib/ with the code that it imports."""
    (folder / "model.py").write_text(MODEL_FILE.format(module=module))
    for source, path in copied:
        target = folder / "lib" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        # Copied, never linked: a working tree that is edited must not reach into a repository.
        target.write_bytes(source.read_bytes())


def sources(plan: Plan) -> Iterator[tuple[Path, Path]]:
    """The files that the server process imports, each with its path under lib/.

    The package `runtime`, whole, and the modules of steps that come from elsewhere: each a file that imports nothing
    but `runtime`, NumPy and the standard library.
    """
    yield from runtime_sources()
    for module in dict.fromkeys(node.step.partition(":")[0] for node in plan.nodes):
        if module.split(".")[0] != runtime.__name__:
            yield own_source(module)


def own_source(module: str) -> tuple[Path, Path]:
    """The file of a module that is not of the package `runtime`, and its path under lib/."""
    return Path(str(importlib.import_module(module).__file__)), Path(*module.split(".")).with_suffix(".py")


def runtime_sources() -> Iterator[tuple[Path, Path]]:
    """The files of the package `runtime`, each with its path under lib/."""
    root = Path(str(runtime.__file__)).parent
    for path in sorted(path for path in root.rglob("*") if path.suffix in (".py", ".cu")):
        yield path, Path(runtime.__name__) / path.relative_to(root)


def _onnx_node(plan: Plan, model: str, names: Names) -> Node | None:
    """The one node of a model that Triton's onnxruntime backend runs."""
    nodes = plan.of_model(model)
    return nodes[0] if names.onnx_steps != "python" and len(nodes) == 1 and nodes[0].make().graph_file else None


def _prefix(spec: ChainSpec, plan: Plan) -> str:
    """What to put before the arrays between two parts, where a column of the request is called like one of them."""
    requested = {tensor.name for tensor in spec.request}
    between = {array for node in plan.nodes for array in node.gives.values()}
    prefix = ""
    while requested & {prefix + name for name in between}:
        prefix += "_"
    return prefix


def _plain(name: str) -> str:
    """A model input's own name."""
    return name.removeprefix(ENCODED)
