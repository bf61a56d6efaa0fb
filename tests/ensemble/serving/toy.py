"""A small model repository with the request contract of `cascade`."""

from __future__ import annotations

import shutil
from pathlib import Path

from workflows.core.artefacts import Manifest, write_manifest

HERE = Path(__file__).parent
OPTIONAL = "optional: true"


def config_pbtxt(id_type: str, num_instances: int) -> str:
    inputs = [
        ("user_id", id_type, 1, ""),
        ("hour", "TYPE_INT64", 1, OPTIONAL),
        ("device", "TYPE_STRING", 1, OPTIONAL),
        ("recent_item_ids", id_type, -1, OPTIONAL),
        ("exclude_item_ids", id_type, -1, OPTIONAL),
        ("slate_size", "TYPE_INT32", 1, OPTIONAL),
    ]
    outputs = [
        ("item_id", id_type, -1),
        ("score", "TYPE_FP32", -1),
        ("num_items", "TYPE_INT32", 1),
        ("path", "TYPE_STRING", 1),
    ]
    lines = [
        'backend: "python"',
        "max_batch_size: 64",
        f"instance_group [{{ kind: KIND_CPU, count: {num_instances} }}]",
    ]
    lines += [
        f'input [{{ name: "{n}", data_type: {t}, dims: [ {d} ], allow_ragged_batch: false {o} }}]'
        for n, t, d, o in inputs
    ]
    lines += [f'output [{{ name: "{n}", data_type: {t}, dims: [ {d} ] }}]' for n, t, d in outputs]
    return "\n".join(lines) + "\n"


def seal(folder: Path) -> Path:
    write_manifest(folder, Manifest("repo", "0" * 64, "2024-01-01T00:00:00+00:00", {}, {}, []))
    return folder


def write_toy(repository: Path, id_type: str = "TYPE_INT64", code: str | None = None, num_instances: int = 1) -> Path:
    version = repository / "cascade" / "1"
    version.mkdir(parents=True)
    shutil.copyfile(HERE / "toy_model.py", version / "model.py")
    if code is not None:
        (version / "model.py").write_text(code)
    (repository / "cascade" / "config.pbtxt").write_text(config_pbtxt(id_type, num_instances))
    return seal(repository)
