"""The files of a compiled chain, each written when a step of the plan opens it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ensemble.config import Config
from ensemble.export.eligibility import allowed_items, eligible_items, pack, popularity_order
from ensemble.export.files import place
from ensemble.export.query import write_query
from ensemble.export.slate_files import slate_files
from ensemble.export.worth import worth_of
from ensemble.stream.catalogue import write_keys
from models.dataset.features import Features, load_state
from runtime.index.eligible import ELIGIBLE_FILE, RULES_FILE
from runtime.index.search import INDEX_FILE
from runtime.ranker.items import TABLES_FOLDER
from runtime.ranker.pairs import POPULARITY
from runtime.ranker.spec import GATHERED, STORED, RankerSpec
from runtime.spec import ChainSpec
from runtime.steps.query import QUERY_FILE
from runtime.steps.rank import WORTH_FILE, reads_items
from runtime.stream.items import KEY_ROWS_FILE, KEYS_FILE
from workflows.core.errors import ConfigError
from workflows.core.run import Run

__all__ = ["ChainFiles"]

# Where the chain keeps the files of fit-sources.
SOURCES = "sources/"
TOP_FILE = "top.npz"
ITEM_FILES = {STORED: ("item_fields.npy", "item_hidden.npy"), GATHERED: (TABLES_FOLDER,)}
PAIR_FILES = {POPULARITY: ("item_popularity.npy",)}


class ChainFiles:
    """Writes the files of a chain by name, from the artefacts of a run.

    Args:
        run: whose stages up to ranking have finished.
        config: its config.
        features: of the run.
        spec: the sizes of the chain.
        state: whose histories, seen items and popularity.
    """

    def __init__(
        self, run: Run, config: Config, features: Features, spec: ChainSpec, state: Literal["eval", "serve"]
    ) -> None:
        self._run, self._config, self._features, self._spec, self._state = run, config, features, spec, state
        self._eligible: NDArray[np.bool_] | None = None
        data, retrieval = run.folder("data"), run.folder("retrieval")
        placed = {
            **{f"ids/{side}.npy": data / "ids" / f"{side}.npy" for side in ("users", "items")},
            **{f"state/{n}.npy": data / "state" / state / f"{n}.npy" for n in ("history", "seen_indptr", "seen_rows")},
            "item_embeddings.npy": retrieval / "item_embeddings.npy",
            "neighbours": run.folder("neighbours") / "eval",
            INDEX_FILE: run.folder("index") / INDEX_FILE,
        }
        self._writers: dict[str, Callable[[Path], None]] = {
            **{name: _placer(source) for name, source in placed.items()},
            "users": lambda target: _save_columns(target, features.users),
            "items": self._write_items,
            "items/item_id.npy": lambda target: _save(target, features.items["item_id"]),
            "encoders": self._write_encoder,
            QUERY_FILE: self._write_query,
            ELIGIBLE_FILE: lambda target: np.save(target, pack(self._eligible_items())),
            RULES_FILE: lambda target: np.save(target, pack(self._allowed_items())),
            **dict.fromkeys((KEYS_FILE, KEY_ROWS_FILE), lambda target: write_keys(data / "ids/items.npy", target)),
            "popular.npy": lambda target: np.save(target, popularity_order(self._ordered_items(), self._popularity())),
            "popular_scores.npy": self._write_popularity,
            "ranker": self._write_ranker,
            WORTH_FILE: self._write_worth,
            **{name: _saver(make) for name, make in slate_files(run, config).items()},
        }

    def write(self, name: str, folder: Path) -> None:
        """Write one file or folder of the chain.

        Raises:
            ConfigError: no file of that name can be made.
        """
        further = self._run.folder("sources") / self._state / name.removeprefix(SOURCES)
        if name.startswith(SOURCES) and further.exists():
            self._write_further(further, folder / name)
            return
        if name.startswith(SOURCES):
            raise ConfigError(
                f"a retrieval source opens '{name}', which fit-sources has not written; its fit must name it in the "
                "`files` of what it fits, see docs/ADD_A_SOURCE.md"
            )
        feature = name.removeprefix("items/").removesuffix(".npy")
        if name == f"items/{feature}.npy" and feature in self._features.items:
            _save(folder / name, self._features.items[feature])
            return
        if name not in self._writers:
            raise ConfigError(
                f"chain.graph: a step opens '{name}', which no stage makes; give it to the operator with files="
            )
        self._writers[name](folder / name)

    def _write_further(self, source: Path, target: Path) -> None:
        """A file of the stage fit-sources; of an order the items that may ever be shown."""
        if source.name != "order.npy":
            place(source, target)
            return
        order = np.load(source, allow_pickle=False)
        _save(target, order[self._ordered_items()[order]])

    def _allowed_items(self) -> NDArray[np.bool_]:
        return allowed_items(self._run.folder("data") / "items.parquet", self._config)

    def _ordered_items(self) -> NDArray[np.bool_]:
        """The items of an order: the eligible ones; where the stock is live, all that may come into stock."""
        return self._allowed_items() if self._spec.live_stock else self._eligible_items()

    def _eligible_items(self) -> NDArray[np.bool_]:
        if self._eligible is None:
            self._eligible = eligible_items(self._run.folder("data") / "items.parquet", self._config)
        return self._eligible

    def _popularity(self) -> NDArray:
        return np.asarray(load_state(self._run, self._state).popularity)

    def _write_popularity(self, target: Path) -> None:
        popularity = self._popularity()
        np.save(target, (popularity / max(float(popularity.max()), 1.0)).astype(np.float32))

    def _write_items(self, target: Path) -> None:
        wanted = {"item_id", *(self._spec.ranker.item_inputs if reads_items(self._spec) else ())}
        _save_columns(target, {name: values for name, values in self._features.items.items() if name in wanted})

    def _write_encoder(self, target: Path) -> None:
        for path in sorted((self._run.folder("features") / "encoders").glob("context.*")):
            place(path, target / path.name)

    def _write_query(self, target: Path) -> None:
        ranker = self._run.folder("ranking") / "ranker_query.onnx" if self._spec.ranker.factored else None
        write_query(self._run.folder("retrieval") / "query_tower.onnx", ranker, target.parent)

    def _write_worth(self, target: Path) -> None:
        items = self._run.folder("data") / "items.parquet"
        _save(target, worth_of(self._spec.utility, self._spec.ranker.tasks, items))

    def _write_ranker(self, target: Path) -> None:
        for name in _ranker_files(self._spec.ranker):
            place(self._run.folder("ranking") / name, target / name)


def _placer(source: Path) -> Callable[[Path], None]:
    return lambda target: place(source, target)


def _saver(make: Callable[[], NDArray]) -> Callable[[Path], None]:
    return lambda target: _save(target, make())


def _save(target: Path, values: NDArray) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    np.save(target, values)


def _save_columns(folder: Path, columns: Mapping[str, NDArray]) -> None:
    for name, values in columns.items():
        _save(folder / f"{name}.npy", values)


def _ranker_files(ranker: RankerSpec) -> list[str]:
    pairs = [file for name in ranker.pair_inputs for file in PAIR_FILES.get(name, ())]
    if not ranker.factored:
        return ["ranker.onnx", *pairs]
    return [TOP_FILE, *ITEM_FILES[ranker.item_parts], *pairs]
