"""Arrays of a response to slates, once they are seen to be such."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cascade_client.errors import WrongServer
from cascade_client.slates import LIVE, Slate, Slates

__all__ = ["decode"]

OUTPUTS = ("item_id", "score", "num_items", "path")
# What a model that explores gives beside them.
DRAWN = ("policy", "explored", "log_propensity", "slate_seed")
# What one that orders by utility gives.
UTILITY = "utility"
# What a model that drafts slates from those of two versions gives.
DRAFTED = ("team", "variant")
OTHER_MODEL = "serve a repository that this version of Cascade exported"


def decode(user_ids: Sequence[Any], outputs: Mapping[str, np.ndarray], request_id: str = "") -> Slates:
    """The slates of a response.

    Args:
        user_ids: the B users asked for.
        outputs: item_id [B, S], score [B, S], num_items [B, 1] and path [B, 1]; of a server with live events also
            stream_offset [B, 1] and state_age_ms [B, 1]; of one that explores policy, explored and slate_seed [B, 1]
            and log_propensity [B, S]; of one that orders by utility that, [B, S]; of one that drafts team [B, S] and
            variant [B, 1].
        request_id: of the request.

    Raises:
        WrongServer: an output is missing, of another shape, or no text: the server runs another model.
    """
    wrong = _why_wrong(len(user_ids), outputs)
    if wrong:
        raise WrongServer(f"the model's answer cannot be read: {wrong}; {OTHER_MODEL}")
    counts = outputs["num_items"].reshape(-1).tolist()
    paths = [_text("path", path) for path in outputs["path"].reshape(-1).tolist()]
    live = {name: outputs[name].reshape(-1).tolist() for name in LIVE if name in outputs}
    drawn = _drawn(outputs, counts)
    if UTILITY in outputs:
        drawn["utilities"] = [outputs[UTILITY][row, :count].tolist() for row, count in enumerate(counts)]
    if all(name in outputs for name in DRAFTED):
        drawn["team"] = [outputs["team"][row, :count].tolist() for row, count in enumerate(counts)]
        drawn["variant"] = [_text("variant", each) for each in outputs["variant"].reshape(-1).tolist()]
    slates = []
    for row, user_id in enumerate(user_ids):
        items = [_text("item_id", item) for item in outputs["item_id"][row, : counts[row]].tolist()]
        scores = outputs["score"][row, : counts[row]].tolist()
        of_user = {name: values[row] for name, values in (*live.items(), *drawn.items())}
        slates.append(Slate(_text("user_id", user_id), items, scores, str(paths[row]), **of_user))
    return Slates(slates, request_id)


def _why_wrong(num_users: int, outputs: Mapping[str, np.ndarray]) -> str:
    """What is wrong with the shapes and types of an answer; "" when they fit."""
    missing = [name for name in OUTPUTS if outputs.get(name) is None]
    if missing:
        return f"it has {', '.join(sorted(outputs)) or 'no outputs'}, and no {', '.join(missing)}"
    shapes = {name: outputs[name].shape for name in OUTPUTS}
    width = shapes["item_id"][1:]
    expected = {"item_id": (num_users, *width), "score": (num_users, *width)}
    for name in OUTPUTS:
        fits = shapes[name] == expected[name] if name in expected else outputs[name].size == num_users
        if not fits or len(width) != 1:
            return f"{name} has the shape {list(shapes[name])}, for {num_users} users"
    kinds = {"item_id": "iuO", "score": "f", "num_items": "iu", "path": "O"}
    for name in OUTPUTS:
        if outputs[name].dtype.kind not in kinds[name]:
            return f"{name} is of type {outputs[name].dtype}"
    for name in LIVE:
        if name in outputs and (outputs[name].size != num_users or outputs[name].dtype.kind != "i"):
            return f"{name} is of type {outputs[name].dtype} and shape {list(outputs[name].shape)}"
    kinds = dict(zip(DRAWN, "Obfi"))
    for name in DRAWN:
        size = num_users * (width[0] if name == "log_propensity" else 1)
        if name in outputs and (outputs[name].size != size or outputs[name].dtype.kind != kinds[name]):
            return f"{name} is of type {outputs[name].dtype} and shape {list(outputs[name].shape)}"
    if UTILITY in outputs and (outputs[UTILITY].shape != expected["score"] or outputs[UTILITY].dtype.kind != "f"):
        return f"{UTILITY} is of type {outputs[UTILITY].dtype} and shape {list(outputs[UTILITY].shape)}"
    if "team" in outputs and (outputs["team"].shape != expected["score"] or outputs["team"].dtype.kind != "i"):
        return f"team is of type {outputs['team'].dtype} and shape {list(outputs['team'].shape)}"
    counts = outputs["num_items"]
    if ((counts < 0) | (counts > width[0])).any():
        return f"num_items says {counts.reshape(-1).tolist()} of {width[0]} items"
    return ""


def _drawn(outputs: Mapping[str, np.ndarray], counts: Sequence[int]) -> dict[str, list[Any]]:
    """What a server that explores says of each slate; nothing of another."""
    if any(name not in outputs for name in DRAWN):
        return {}
    logs = outputs["log_propensity"]
    return {
        "policy": [_text("policy", policy) for policy in outputs["policy"].reshape(-1).tolist()],
        "explored": outputs["explored"].reshape(-1).tolist(),
        "log_propensity": [logs[row, :count].tolist() for row, count in enumerate(counts)],
        "seed": outputs["slate_seed"].reshape(-1).tolist(),
    }


def _text(name: str, value: Any) -> Any:
    """Bytes as text; other values as they are."""
    try:
        return value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError as error:
        raise WrongServer(f"the model's answer cannot be read: {name} {value!r} is not UTF-8; {OTHER_MODEL}") from error
