"""Exports that went wrong: in the files of a version, and in what an export is made of.

Nobody notices them at the export: each is whole, signed, and agrees with itself.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.signals.defects import rewrite
from ensemble.config import ChainConfig, Config
from ensemble.profile.profile import NO_EVENTS, PROFILE_FILE, Profile
from models.dataset.features import load_features
from runtime.encoders import OOV
from workflows.core.artefacts import read_manifest, write_manifest
from workflows.core.origins import origins
from workflows.core.run import STAGES, Run
from workflows.stream.config import StreamConfig
from workflows.tables.config import DataConfig

__all__ = [
    "OfRun",
    "coarse_index",
    "config_of",
    "half_index",
    "no_new_items",
    "off_by_one",
    "old_stock",
    "other_config",
    "other_items",
    "other_scale",
    "other_texts",
    "other_unit",
    "sign_again",
    "without_stock",
]

# Changes a copy of a run and says which config it is exported with.
OfRun = Callable[[Run, Config], Config]
ROWS_ON, DAYS_OLD, TOO_FEW, LOGIT = 100, 20, 15, 1.5
# Nanoseconds that were read as something a thousand times longer, as far as they can be written.
UNIT = 1_000
ROLLED = ("item_embeddings", "ranker/item_fields", "ranker/item_hidden")


def config_of(run: Run) -> Config:
    """The sections that a run was exported with."""
    recorded = read_manifest(run.folder("repo")).config
    stream = recorded.get("stream")
    return Config(
        data=msgspec.convert(recorded["data"], DataConfig),
        chain=msgspec.convert(recorded["chain"], ChainConfig),
        stream=None if stream is None else msgspec.convert(stream, StreamConfig),
    )


def half_index(chain: Path) -> None:
    """Half of the items cannot be found by their embedding."""

    def half(vectors: NDArray) -> NDArray:
        lost = np.random.default_rng(0).random(len(vectors)) < 0.5
        return np.where(lost[:, None], 0, vectors).astype(vectors.dtype)

    rewrite(chain / "item_embeddings.npy", half)


def other_items(chain: Path) -> None:
    """What the ranker knows of an item is of the item a hundred rows on."""
    for name in ROLLED[1:]:
        rewrite(chain / f"{name}.npy", lambda values: np.roll(values, ROWS_ON, axis=0))


def off_by_one(chain: Path) -> None:
    """All that towers and ranker know of an item is under the id of its neighbour."""
    for name in ROLLED:
        rewrite(chain / f"{name}.npy", lambda values: np.roll(values, 1, axis=0))


def coarse_index(chain: Path) -> None:
    """Of each number of an embedding one bit is left."""
    rewrite(chain / "item_embeddings.npy", lambda vectors: (np.sign(vectors) / np.sqrt(vectors.shape[1])).astype("f4"))


def other_scale(chain: Path) -> None:
    """Every logit is too large by the same: the order is right, and the probabilities are not."""
    path = chain / "ranker/top.npz"
    with np.load(path, allow_pickle=False) as archive:
        arrays = dict(archive)
    np.savez(path, **{**arrays, "b2": arrays["b2"] + np.float32(LOGIT)})


def no_new_items(chain: Path) -> None:
    """The stock says that nothing is left of what nobody had bought when the version was made."""
    decile = Profile.load(chain / PROFILE_FILE).item_decile

    def without_new(bits: NDArray) -> NDArray:
        mask = np.unpackbits(bits, bitorder="little")
        mask[: len(decile)] *= decile != NO_EVENTS
        return np.packbits(mask, bitorder="little")

    rewrite(chain / "eligible.npy", without_new)


def other_config(run: Run, config: Config) -> Config:
    """The file of an experiment: few candidates, and users are shown what they have had."""
    chain = msgspec.structs.replace(config.chain, num_candidates=TOO_FEW, slate_size=TOO_FEW, filter_seen=False)
    return msgspec.structs.replace(config, chain=msgspec.structs.replace(chain, max_slate_size=TOO_FEW))


def without_stock(run: Run, config: Config) -> Config:
    """The file does not name the column of the stock."""
    data = msgspec.structs.replace(config.data, stock=None)
    return msgspec.structs.replace(config, data=data, stream=None)


def old_stock(run: Run, config: Config) -> Config:
    """The items table is three weeks old: what came since is not for sale, and what is sold out is."""

    def change(items: pa.Table) -> pa.Table:
        launched = items["launched_at"]
        then = pc.subtract(pc.max(launched), pa.scalar(timedelta(days=DAYS_OLD)))
        at = items.column_names.index("in_stock")
        return items.set_column(at, "in_stock", pc.less_equal(launched, then))

    _rewrite_table(run.folder("data") / "items.parquet", change)
    return config


def other_texts(run: Run, config: Config) -> Config:
    """The items' tags come in another language, of which the training knows none."""
    feature = next(f for f in load_features(run).schema.side("item") if f.length)
    for path in sorted((run.folder("features") / "items").glob("*.parquet")):

        def change(items: pa.Table) -> pa.Table:
            rows = [[OOV if code else 0 for code in codes] for codes in items[feature.name].to_pylist()]
            at = items.column_names.index(feature.name)
            return items.set_column(at, feature.name, pa.array(rows, items[feature.name].type))

        _rewrite_table(path, change)
    return config


def other_unit(run: Run, config: Config) -> Config:
    """Milliseconds were read as seconds of a thousandth: every event is of the first days of 1970."""
    for split in ("train", "valid", "test"):
        for path in sorted((run.folder("data") / split).glob("*.parquet")):

            def change(events: pa.Table) -> pa.Table:
                at = events.column_names.index("at")
                return events.set_column(at, "at", pc.divide(events["at"], pa.scalar(UNIT, events["at"].type)))

            _rewrite_table(path, change)
    return config


def _rewrite_table(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pq.read_table(path)), path)


def sign_again(run: Run) -> None:
    """Bring the manifests up to date with what was changed."""
    for stage in (name for name in STAGES if run.folder(name).is_dir()):
        manifest = read_manifest(run.folder(stage))
        write_manifest(
            run.folder(stage), msgspec.structs.replace(manifest, after=origins(run.root, list(manifest.after)))
        )
