"""Keys of [sources]."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ensemble.config import Config
from models.sources.base import AsOf, Fitted
from models.sources.config import PlaceConfig
from models.sources.item_scores import PopularityFit
from models.sources.stage import fit_sources
from runtime.sources.item_scores import Popularity
from tests.ensemble.every_key.case import Case
from tests.ensemble.synthetic import L, make_run, sign_again
from workflows.features.write import fixed_lists

__all__ = ["CASES", "Own"]


class OwnStep(Popularity):
    """What the server runs of it."""

    name = "own"


class Own(PopularityFit):
    """A source of one's own."""

    name, step = "own", f"{__name__}:OwnStep"

    def candidates(self, as_of: AsOf) -> list[Fitted] | str:
        """Popularity under another name."""
        return super().candidates(as_of)


def fitted(config: Config, folder: Path) -> Any:
    """What the stage writes for a synthetic run with events of train and valid."""
    run, _ = make_run(folder / "run")
    rng = np.random.default_rng(3)
    for split, num_rows in (("train", 900), ("valid", 300)):
        (events := run.folder("features") / split).mkdir(exist_ok=True)
        columns = {
            "user_row": pa.array(rng.integers(0, 60, num_rows), pa.int32()),
            "item_row": pa.array(np.minimum(rng.zipf(1.4, num_rows), 300) - 1, pa.int32()),
            "at": pa.array(np.sort(rng.integers(0, 40 * 86_400, num_rows)) * 10**9),
            "device": pa.array(rng.integers(3, 6, num_rows), pa.int32()),
            "hour": pa.array(rng.integers(3, 7, num_rows), pa.int32()),
            "temperature": pa.array(rng.standard_normal(num_rows), pa.float32()),
            "recent_item_ids": fixed_lists(rng.integers(3, 300, (num_rows, L)).astype(np.int32)),
            "click": pa.array(np.ones(num_rows), pa.float32()),
        }
        pq.write_table(pa.table(columns), events / "part_000.parquet")
    shutil.copytree(run.folder("features") / "train", run.folder("features") / "test", dirs_exist_ok=True)
    retrieval = run.folder("retrieval")
    shutil.copytree(retrieval, retrieval.with_name("copy"))
    retrieval.with_name("copy").rename(retrieval / "train")
    sign_again(run)
    done = fit_sources(run, config.sources, 30, force=True)
    return done.content, done.info, (run.folder("sources") / "meta.json").read_text()


OWN = "tests.ensemble.every_key.sources:Own"
BUILT_IN = ("popularity", "trending", "latest", "content")
# Places that are given, which leaves nothing to choose.
GIVEN = (
    "features.items.words.kind=list",
    *(f"sources.{name}.{key}=0.0" for name in BUILT_IN for key in PlaceConfig.__struct_fields__),
)


def own(weight: float, quota: float) -> str:
    """A source of one's own and its place."""
    return f"sources.own={{'{OWN}'={{weight={weight}, quota={quota}}}}}"


CASES = [
    *(Case(f"sources.{name}.{change}", fitted, GIVEN) for name in BUILT_IN for change in ("weight=0.5", "quota=0.2")),
    Case(own(0.5, 0.0), fitted, (*GIVEN, own(0.0, 0.0)), of="sources.own.NAME.weight"),
    Case(own(0.0, 0.2), fitted, (*GIVEN, own(0.0, 0.0)), of="sources.own.NAME.quota"),
    Case("sources.trending.half_life_days=[3.0]", fitted, GIVEN),
    Case("sources.latest.column=price", fitted, GIVEN),
    *(Case(f"sources.content.{change}", fitted, GIVEN) for change in ("max_events=2", "l2=[7.0]", "max_columns=2")),
    Case("sources.content.max_items=3", fitted, GIVEN),
    Case("sources.fallback=trending", fitted, GIVEN),
    Case("sources.weights=[0.7]", fitted),
    Case("sources.quotas=[0.3]", fitted),
    Case("sources.validation_users=7", fitted),
    Case("sources.seed=2", fitted),
]
