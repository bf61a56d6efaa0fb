"""A compiled chain with some of its files replaced: what it would answer if they were others."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.index.allowed import BITS, are_set
from runtime.index.eligible import ELIGIBLE_FILE, RULES_FILE
from runtime.sources.base import Source
from runtime.sources.item_scores import ItemScores
from runtime.step import load_array

__all__ = ["allowing", "link_files", "overlay", "put_in_stock"]


def link_files(source: Path, target: Path, only: Sequence[str] = (), without: Sequence[str] = ()) -> None:
    """Link the files of a folder into another one, under the same names; those that are there stay.

    Args:
        source: the folder.
        target: the other; its folders are created.
        only: names below `source`; all where none is given.
        without: names that are left out.
    """
    paths = [source / name for name in only] if only else [path for path in source.rglob("*") if path.is_file()]
    for path in paths:
        name = path.relative_to(source)
        if name.as_posix() in without or (target / name).exists() or not path.exists():
            continue
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).symlink_to(path.absolute())


@contextmanager
def overlay(chain: Path, replaced: Mapping[str, NDArray]) -> Iterator[Path]:
    """A folder that holds the files of a chain, some of them others; gone after the block.

    What a step has opened by then it keeps: the files are mapped, or read.
    """
    with tempfile.TemporaryDirectory(prefix="cascade-why-") as name:
        target = Path(name)
        for file, values in replaced.items():
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            np.save(target / file, values)
        link_files(chain, target, without=tuple(replaced))
        yield target


def allowing(chain: Path, sources: Sequence[Source], rows: NDArray, by_rules: NDArray) -> dict[str, NDArray]:
    """The files of a chain that say what may be shown, as if more items might.

    Args:
        chain: the compiled chain.
        sources: of it, of which those by item scores have an order each.
        rows: distinct item rows, ascending, that may be shown too.
        by_rules: the same of the items that the rules allow too, in stock or not; of a chain whose stock is live.
    """
    changed: dict[str, NDArray] = {}
    is_live = (chain / RULES_FILE).is_file()
    for name, wanted in ((ELIGIBLE_FILE, rows), (RULES_FILE, by_rules)):
        if (chain / name).is_file():
            bitmap = np.array(load_array(chain / name))
            absent = wanted[~are_set(bitmap, wanted)]
            np.bitwise_or.at(bitmap, absent >> 3, BITS[absent & 7])
            changed[name] = bitmap
    for source in sources:
        if isinstance(source, ItemScores):
            order = load_array(chain / source.order_file)
            scores = load_array(chain / source.scores_file)
            changed[source.order_file] = _put_in(order, by_rules if is_live else rows, scores)
    return changed


def put_in_stock(sources: Sequence[Source], rows: NDArray, offset: int) -> None:
    """Let opened sources whose stock is live show items, whatever events say of them.

    Args:
        sources: of a chain of its own, which nobody else asks.
        rows: distinct item rows, ascending.
        offset: of the batch that will be asked; the state up to it is taken in first.
    """
    for source in sources:
        if source.live is None:
            continue
        if len(changed := source.live.refresh(offset)):
            source.stock_changed(changed)
        absent = rows[~source.live.holds(rows)]
        np.bitwise_or.at(source.live.bitmap, absent >> 3, BITS[absent & 7])
        source.stock_changed(absent)


def _put_in(order: NDArray, rows: NDArray, scores: NDArray) -> NDArray:
    """An order of items, descending score, ties by row, with more items in it."""
    more = rows[~np.isin(rows, order)].astype(order.dtype)
    joined = np.concatenate([order, more])
    ordered: NDArray = joined[np.lexsort((joined, -scores[joined]))]
    return ordered
