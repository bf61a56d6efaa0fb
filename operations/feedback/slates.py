"""Logged slates, as far as feedback needs them: each once, as it was answered first."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from operations.feedback.match import Slate
from operations.log.chains import chains
from operations.replay.errors import NotReplayableError
from operations.replay.versions import find_logged
from runtime.errors import BadRequest
from runtime.ids import IdMap
from workflows.core.errors import ArtefactError

__all__ = ["answered", "find_slates", "item_rows"]

IDENTIFYING = ["request_id", "position", "slate_key", "user_key", "at", "chain_key", "attempt", "item_rows", "error"]


def answered(table: pa.Table) -> pa.Table:
    """The rows of requests with a slate, each slate once: the first answer to a request that was sent again."""
    kept = table.filter(pc.and_(pc.is_null(table["error"]), pc.is_valid(table["item_rows"])))
    order = kept.sort_by([("at", "ascending"), ("attempt", "ascending")])
    keys = order["slate_key"].combine_chunks()
    codes = pc.dictionary_encode(keys).indices.to_numpy(zero_copy_only=False)
    _, first = np.unique(codes, return_index=True)
    return order.take(pa.array(np.sort(first)))


def find_slates(paths: Iterable[Path], request_ids: Collection[str], user_keys: Collection[bytes]) -> list[Slate]:
    """The slates of some requests and users.

    Args:
        paths: files of requests.
        request_ids: of requests.
        user_keys: of users.

    Raises:
        ArtefactError: a file cannot be read.
    """
    wanted = pa.array(sorted(request_ids), pa.string()), pa.array(sorted(user_keys), pa.binary(16))
    tables = [_chosen(path, *wanted) for path in paths]
    tables = [table for table in tables if table.num_rows]
    if not tables:
        return []
    table = answered(pa.concat_tables(tables, promote_options="default").unify_dictionaries())
    table = table.set_column(table.column_names.index("at"), "at", table["at"].cast(pa.int64()))
    names = ("slate_key", "request_id", "position", "user_key", "at", "chain_key", "item_rows")
    return [Slate(*values) for values in zip(*(table[name].to_pylist() for name in names), strict=True)]


def item_rows(folder: Path, keys: Collection[str], items: Collection[str]) -> dict[str, dict[str, int]]:
    """Rows of raw item ids.

    Args:
        folder: MON.
        keys: of chains.
        items: ids as text.

    Returns:
        Key of a chain -> item -> row; without the chains whose files are gone, and the items that one does not know.
    """
    found: dict[str, dict[str, int]] = {}
    for record in chains(folder):
        key = record["chain_key"]
        if key in keys:
            for repository in record["repositories"].values():
                try:
                    ids = find_logged(Path(repository), key, int(record["model_version"])).ids("items")
                except (NotReplayableError, OSError, ValueError):
                    continue
                found[key] = _rows(IdMap(ids, padded=True), sorted(items))
                break
    return found


def _chosen(path: Path, request_ids: pa.Array, user_keys: pa.Array) -> pa.Table:
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        who = file.read(["request_id", "user_key"])
        is_one = pc.or_(
            pc.is_in(who["request_id"], value_set=request_ids), pc.is_in(who["user_key"], value_set=user_keys)
        )
        if not pc.any(is_one).as_py():
            return who.slice(0, 0).select([])
        return file.read(IDENTIFYING).filter(is_one)
    except FileNotFoundError:  # pruned meanwhile
        return pa.table({})
    except (OSError, pa.ArrowException) as error:
        raise ArtefactError(
            f"{path} cannot be read ({error}); `cascade log verify` says which files are whole"
        ) from None


def _rows(known: IdMap, items: Sequence[str]) -> dict[str, int]:
    """Rows of ids as text, whatever the ids of the version are."""
    pairs = list(_typed(items, is_text=known.ids.dtype.kind == "S"))
    if not pairs:
        return {}
    values = np.empty(len(pairs), object if known.ids.dtype.kind == "S" else np.int64)
    values[:] = [value for _, value in pairs]
    try:
        rows = known.rows("item_id", values)
    except BadRequest:  # one of them is no text of a version
        return {}
    return {item: row for (item, _), row in zip(pairs, rows.tolist(), strict=True) if row >= 0}


def _typed(items: Sequence[str], *, is_text: bool) -> Iterator[tuple[str, bytes | int]]:
    for item in items:
        if is_text:
            if item and "\0" not in item:
                yield item, item.encode("utf-8", "surrogateescape")
            continue
        try:
            number = int(item)
            np.int64(number)
        except (ValueError, OverflowError):
            continue
        if number != -1:
            yield item, number
