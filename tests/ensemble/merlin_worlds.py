"""Two small trained runs that differ in every way that the layout `merlin` could care about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ensemble.config import Config
from ensemble.config_file import load_config
from scripts.run import model_stages
from tests.ensemble.context_columns import COLUMNS
from workflows.core.run import Run

__all__ = ["COLUMNS", "NUM_CANDIDATES", "text_world", "typed_world"]

NUM_EVENTS, NUM_CANDIDATES = 900, 15
SMALL = f"""
[retrieval]
embedding_dim = 8
hidden = [16]
[retrieval.windows]
max_epochs = 1
[neighbours]
l2 = [50.0]
walk_powers = [0.3]
tower_shares = [0.5]
[ranking]
embedding_dim = 4
top = [8]
max_epochs = 1
[evaluate]
cutoffs = [5]
[index]
kind = "exact"
[chain]
num_candidates = {NUM_CANDIDATES}
slate_size = {NUM_CANDIDATES}
max_slate_size = {NUM_CANDIDATES}
instances = 1
"""


def text_world(root: Path) -> tuple[Run, Config]:
    """Text ids, no labels, so that the ranker reads pair features; no context; seen items are shown again."""
    _write_events(root, [f"ü{n}" for n in range(25)], [f"i{n:02}" for n in range(40)], {})
    text = f"{_data(root)}\n{SMALL}filter_seen = false\n[features]\nhistory_length = 5\n"
    return _train(root, text)


def typed_world(root: Path) -> tuple[Run, Config]:
    """Impressions, a context column of every type, features with nulls and lists, stock, a rule, seen items hidden."""
    rng = np.random.default_rng(2)
    users, items = list(range(100, 130)), list(range(3, 63))
    context = {name: pa.array(_drawn(rng, values), kind) for name, (kind, _, values) in COLUMNS.items()}
    labels = {"click": pa.array(rng.random(NUM_EVENTS) < 0.4)}
    _write_events(root, users, items, {**labels, **context})
    who = {"age": pa.array([None if n % 5 == 0 else 2**53 + n % 3 for n in users], pa.int64())}
    who["spend"] = pa.array([None if n % 4 == 0 else n / 7 for n in users], pa.float64())
    who["likes"] = pa.array([None if n % 3 == 0 else [f"t{n % 4}", "é"][: n % 3] for n in users], pa.list_(pa.string()))
    pq.write_table(pa.table({"who": users, **who}), root / "users.parquet")
    what = {"price": pa.array([None if n % 6 == 0 else n * 1.5 for n in items]), "left": [n % 9 != 0 for n in items]}
    what["tags"] = pa.array([None if n % 5 == 0 else "|".join(f"g{k}" for k in range(n % 4)) for n in items])
    pq.write_table(pa.table({"what": items, **what}), root / "items.parquet")
    data = f'items = "{root}/items.parquet"\nusers = "{root}/users.parquet"\nstock = "left"\nlabels = ["click"]'
    specs = "\n".join(f"{name} = {_inline(spec)}" for name, (_, spec, _) in COLUMNS.items())
    features = f"""
[features.users]
age = {{ kind = "categorical" }}
spend = {{ kind = "continuous", log = true }}
likes = {{ kind = "list", max_length = 2 }}
[features.items]
price = {{ kind = "continuous" }}
tags = {{ kind = "list", max_length = 3, separator = "|" }}
[features.context]
{specs}
"""
    small = SMALL.replace("top = [8]", "bottom = [8]\ntop = [8]")
    rule = '[[chain.rules]]\ncolumn = "price"\nop = "<="\nvalue = 70.0\n'
    return _train(root, f"{_data(root)}\n{data}\ncontext = {json.dumps(list(COLUMNS))}\n{small}{rule}{features}")


def _write_events(root: Path, users: list[Any], items: list[Any], more: dict[str, pa.Array]) -> None:
    rng = np.random.default_rng(1)
    who = rng.integers(0, len(users), NUM_EVENTS)
    # Users of a parity prefer items of the same.
    what = (rng.integers(0, len(items) // 2, NUM_EVENTS) * 2 + who % 2) % len(items)
    columns = {"who": [users[n] for n in who], "what": [items[n] for n in what], "at": np.arange(NUM_EVENTS) + 10**9}
    pq.write_table(pa.table({**columns, **more}), root / "events.parquet")


def _drawn(rng: np.random.Generator, values: Any) -> list[Any]:
    pool = [*values, None]
    return [pool[n] for n in rng.integers(0, len(pool), NUM_EVENTS)]


def _data(root: Path) -> str:
    return f'[data]\nevents = "{root}/events.parquet"\nuser_id = "who"\nitem_id = "what"\ntimestamp = "at"'


def _inline(spec: dict[str, Any]) -> str:
    return "{ " + ", ".join(f"{key} = {json.dumps(value)}" for key, value in spec.items()) + " }"


def _train(root: Path, text: str) -> tuple[Run, Config]:
    (root / "run.toml").write_text(text)
    run, config = Run(root / "run"), load_config(root / "run.toml")
    model_stages(run, config, force=False)
    return run, config
