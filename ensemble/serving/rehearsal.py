"""Try, inside a running server, whether the published version opens, before Triton is asked to load it."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from ensemble.serving.control import ModelControl
from workflows.core.errors import CascadeError, RequestError

__all__ = ["rehearse"]

NAME, OUTPUT = "cascade_rehearsal", "verdict"
CODE = Path(__file__).with_name("rehearsal_model.py")
CONFIG = {
    "backend": "python",
    "max_batch_size": 0,
    "input": [{"name": "go", "data_type": "TYPE_BOOL", "dims": [1]}],
    "output": [{"name": OUTPUT, "data_type": "TYPE_STRING", "dims": [1]}],
    "instance_group": [{"kind": "KIND_CPU", "count": 1}],
}


def rehearse(control: ModelControl) -> None:
    """Open the version that the server's config.pbtxt names, in a model of its own that is gone afterwards.

    A server that takes no model from a request is not rehearsed.

    Raises:
        RequestError: the version cannot be opened; says why.
    """
    try:
        control.load(NAME, CONFIG, {"file:1/model.py": CODE.read_bytes()})
    except CascadeError:
        with suppress(CascadeError, StopIteration):
            control.clear(NAME)
        return
    try:
        error = json.loads(control.ask(NAME, OUTPUT))["error"]
    finally:
        control.unload(NAME)
    if error:
        raise RequestError(f"the published version cannot be opened, the server goes on with the one it has: {error}")
