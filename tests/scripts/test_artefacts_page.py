"""docs/ARTEFACTS.md says what the structs say, and every meta.json and info is on it."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import pytest

from models.index.meta import IndexMeta
from models.neighbours.meta import NeighboursMeta
from models.ranking.meta import RankingMeta
from models.retrieval.meta import RetrievalMeta
from models.sources.meta import SourcesMeta
from runtime.plan import Plan
from runtime.spec import ChainSpec
from scripts.artefacts_page import PAGE, keys_of, page
from workflows.core.artefacts import Manifest
from workflows.core.record import Info, Meta
from workflows.features.info import FeaturesInfo
from workflows.features.schema import FeatureSchema
from workflows.tables.info import DataInfo

KINDS = (
    Manifest,
    DataInfo,
    FeatureSchema,
    FeaturesInfo,
    RetrievalMeta,
    NeighboursMeta,
    SourcesMeta,
    IndexMeta,
    RankingMeta,
    ChainSpec,
    Plan,
)


# What names a file in the code of what writes files.
PACKAGES = ("runtime", "workflows", "models", "ensemble", "operations", "console", "scripts")
NAME = re.compile(r"\w[\w./{}-]*\.(json|ndjson|npy|npz|parquet|sql|faiss|onnx|sqlite|msgpack|mdb|toml|sent|lock|log)")
# Files that stay nowhere, that people write, or that are documentation themselves.
ELSEWHERE = {
    "adbc.snowflake.sql": "an option of a driver",
    "configs/demo.toml": "of the repository",
    "config.toml": "as init calls it without --out",
    "context.json": "what people upload in the console",
    "counted.parquet": "while prepare counts",
    "data.mdb": "LMDB's own name, inside of its folders",
    "interactions.npy": "while prepare writes",
    "items/item_id.npy": "one of items/NAME.npy",
    "model.onnx": "Triton's own name",
    "outcomes.parquet": "what people put beside decisions/",
    "server.log": "while a server runs",
}


@dataclass(frozen=True)
class Point:
    """A place.

    Attributes:
        x, y: in metres.
    """

    x: float
    y: float


class Shape(msgspec.Struct, frozen=True):
    """A shape.

    Attributes:
        kind: of it; which
            takes two lines.
        corners: in order.
        centre: null where it has none.
        sizes: by name.
        holes: where, and how wide.
    """

    kind: Literal["circle", "square"]
    corners: tuple[Point, ...]
    centre: Point | None
    sizes: dict[str, int]
    holes: list[tuple[str, float, float]]


class Undescribed(msgspec.Struct, frozen=True):
    """Says nothing of its keys."""

    colour: str


def test_the_page_is_up_to_date():
    assert PAGE.read_text() == page(), "run python -m scripts.artefacts_page and commit docs/ARTEFACTS.md"


def test_a_key_is_named_with_its_type_and_its_meaning():
    assert list(keys_of(Shape)) == [
        (["kind"], '"circle" or "square"', "of it; which takes two lines."),
        (["corners"], "list of object", "in order."),
        (["corners[].x", "corners[].y"], "float", "in metres."),
        (["centre"], "object or null, as `corners[]`", "null where it has none."),
        (["sizes"], "object of int", "by name."),
        (["holes"], "list of list of string, float", "where, and how wide."),
    ]


def test_a_key_without_a_meaning_is_refused():
    with pytest.raises(ValueError, match="Undescribed has no line for 'colour'"):
        list(keys_of(Undescribed))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_key_of_every_file_is_on_the_page(kind):
    text = page()
    for paths, _, _ in keys_of(kind):
        for path in paths:
            assert f"`{path}`" in text


def test_every_file_that_is_named_in_the_code_is_on_the_page():
    text, root = page(), PAGE.parent.parent
    found = {name for package in PACKAGES for path in (root / package).rglob("*.py") for name in _names(path)}
    shown = {name: name.rpartition("/")[2].replace("{}", "") for name in found}
    lacking = {name for name, words in shown.items() if words.partition("_.")[0] not in text}
    assert lacking == set(ELSEWHERE), lacking ^ set(ELSEWHERE)


def _names(path: Path) -> Iterator[str]:
    """The texts of a file that are names of files."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and NAME.fullmatch(node.value):
            yield node.value


def test_no_type_of_a_file_is_left_out():
    root = PAGE.parent.parent
    files = sorted(path for name in ("meta", "info") for path in root.glob(f"[mwe]*/**/{name}.py"))
    assert len(files) >= 6
    for path in files:
        module = importlib.import_module(".".join(path.relative_to(root).with_suffix("").parts))
        kinds = [kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, Meta | Info)]
        assert {kind for kind in kinds if kind.__module__ == module.__name__} <= set(KINDS), path
