"""Answers logged requests with the files and the code of one version: a process of its own, which imports no Cascade
but that version's.

Its first line says where the version is, each further one asks; it answers a line each, the first one with its
environment. JSON, scores as the bits of float32, and "cpu_s", what the answer took; or "error", what was raised.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["main", "parsed"]


def main() -> None:
    """Open the version, then answer until the input ends."""
    place = json.loads(sys.stdin.readline())
    sys.path[:0] = place["libraries"]
    answer = _open(Path(place["plan"]), {model: Path(folder) for model, folder in place["folders"].items()})
    _say(_environment())
    for line in sys.stdin:
        began = time.process_time()
        try:
            found = answer(json.loads(line))
        except Exception as error:  # of the version's code, whatever it is
            found = {"error": f"{type(error).__name__}: {error}"}
        _say({**found, "cpu_s": time.process_time() - began})


def _say(record: Mapping[str, Any]) -> None:
    print(json.dumps(record), flush=True)


def _environment() -> dict[str, str]:
    try:
        from runtime.log.identity import environment
    except ImportError:  # of a release that had no log
        return {}
    return dict(environment())


def _open(plan_folder: Path, folders: Mapping[str, Path]) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """Open every step of a chain, each where its model has its files.

    Args:
        plan_folder: with chain.json and perhaps plan.json.
        folders: by the name of a model; "" for all of them.
    """
    from runtime.chain import open_nodes
    from runtime.ids import IdMap
    from runtime.plan import PLAN_FILE, Plan
    from runtime.spec import ChainSpec
    from runtime.standard import standard_plan
    from runtime.step import load_array

    spec = ChainSpec.load(plan_folder)
    plan = Plan.load(plan_folder) if (plan_folder / PLAN_FILE).exists() else standard_plan(spec)
    with _without_events():
        nodes = [
            node
            for model in plan.models
            for node in open_nodes(plan.of_model(model), folders.get(model) or folders[""], spec)
        ]
    last = plan.nodes[-1]
    items = IdMap(load_array((folders.get(last.model) or folders[""]) / "ids/items.npy"), padded=True)

    ends = getattr(getattr(getattr(spec, "order", None), "slates", None), "ends", ())

    def answer(question: Mapping[str, Any]) -> dict[str, Any]:
        arrays: dict[str, Any] = {}
        with _at(question.get("live_at", question.get("at") if ends else None)):
            nodes[0].encode(arrays, parsed(question, spec))
            for node in nodes[1:]:
                node.run(arrays)
        if question.get("choices"):
            return _choices(arrays, nodes[-1].step, last, spec)
        given = {name: arrays[last.gives[name]] for name in ("item_id", "score", "num_items", "path")}
        rows = items.rows("item_id", given["item_id"])
        logs = arrays.get(last.gives.get("log_propensity", ""))
        drawn = {} if logs is None else {"log_propensity": _bits(logs)}
        return {
            **drawn,
            "item_rows": rows.tolist(),
            "scores": _bits(given["score"]),
            "num_items": given["num_items"].reshape(-1).tolist(),
            "path": [path.decode() for path in given["path"].reshape(-1).tolist()],
        }

    return answer


def _choices(arrays: Mapping[str, Any], order: Any, last: Any, spec: Any) -> dict[str, Any]:
    """What slates are drawn from: candidates, their utilities, and at which temperature the chain draws; else null."""
    from runtime.spec import POPULARITY

    try:
        from runtime.steps.order import utilities_of
    except ImportError:
        raise ValueError("it is of a release that draws no slates; export its run again") from None
    by = order.key(spec) if hasattr(order, "key") else last.settings.get("score", "ranking_score")
    batch = {name: arrays[last.reads[name]] for name in ("candidates", by, "path_code")}
    further = getattr(spec, "order", None)
    explore, slates = (getattr(further, name, None) for name in ("explore", "slates"))
    if slates is not None and slates.is_stepwise:
        raise ValueError(
            "its slates follow pins, caps, floors, diversity or calibration, and a softmax of utilities does not give "
            "the probabilities of such slates; ask a run that is exported without them"
        )
    rows = batch["candidates"]
    if hasattr(order, "utilities"):
        utilities = order.utilities(batch, slice(None))
    else:
        utilities = utilities_of(rows, batch[by], batch["path_code"] == POPULARITY)
    return {
        "candidate_rows": rows.tolist(),
        "candidate_scores": _bits(utilities),
        "temperature": [None if explore is None else explore.temperature] * len(rows),
    }


def _bits(values: Any) -> list[list[int]]:
    """Float32 [B, S] as integers."""
    bits: list[list[int]] = np.ascontiguousarray(values, np.float32).view(np.int32).tolist()
    return bits


def _without_events() -> Any:
    """What a chain with live events answered without a state; there is nothing of the kind in an old one."""
    try:
        from runtime.stream.live import without_live_state
    except ImportError:
        return nullcontext()
    return without_live_state()


def _at(instant: int | None) -> Any:
    if instant is None:
        return nullcontext()
    from runtime.stream.live import at_instant

    return at_instant(instant)


def parsed(question: Mapping[str, Any], spec: Any) -> Any:
    """The checked request that was logged, for a chain of this spec."""
    from runtime.request import Parsed

    users = len(question["user_row"])
    context = {column.name: _column(question["context"][column.name], column) for column in spec.context_columns}
    further = {"live": _live(question)} if getattr(spec, "live", None) is not None else {}
    # Of a version that explores nothing is drawn for a request that one without had answered.
    if "seed" in question and getattr(spec, "explores", False):
        further["drawn"] = _drawn(question)
    return Parsed(
        user_row=np.array(question["user_row"], np.int32),
        recent=np.array(question["recent"], np.int32).reshape(users, -1),
        exclude=np.array(question["excluded"], np.int32).reshape(users, -1),
        slate_size=np.array(question["slate_size"], np.int32),
        context=context,
        **further,
    )


def _column(values: list[Any], column: Any) -> Any:
    if column.dtype.startswith("FP"):
        return np.array([np.nan if value is None else value for value in values], column.numpy_dtype)
    made = np.empty(len(values), object)
    made[:] = [value.encode() if isinstance(value, str) else value for value in values]
    return made


def _drawn(question: Mapping[str, Any]) -> Any:
    from runtime.order_spec import POLICIES
    from runtime.request import Drawn

    policy = [POLICIES.index(name) for name in question["policy"]]
    return Drawn(np.array(question["seed"], np.int64), np.array(policy, np.int32))


def _live(question: Mapping[str, Any]) -> Any:
    from runtime.request import LiveRequest

    users = len(question["user_row"])
    return LiveRequest(
        users=(b"",) * users,
        recent=np.array(question["live_recent"], np.int64).reshape(users, -1),
        min_offset=np.zeros(users, np.int64),
    )


if __name__ == "__main__":
    main()
