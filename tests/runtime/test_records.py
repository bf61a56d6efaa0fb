"""Dataclasses from JSON: what fits becomes the dataclass, and anything else a sentence that names the key."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import pytest

from runtime.index.settings import Settings
from runtime.plan import PLAN_FILE, Plan
from runtime.ranker.spec import RankerSpec
from runtime.records import from_record
from runtime.spec import CHAIN_FILE, ChainSpec
from runtime.standard import standard_plan
from tests.golden.chains import GOLDEN


@dataclass(frozen=True)
class Leaf:
    name: str
    share: float = 1.0


@dataclass(frozen=True)
class Tree:
    leaves: tuple[Leaf, ...]
    sizes: dict[str, int]
    first: Leaf | None = None
    settings: Any = None
    is_old: bool = False


def test_what_was_written_is_read_again():
    tree = Tree((Leaf("a"), Leaf("b", 0.5)), {"x": 3}, Leaf("c"), {"a": [1, None]}, True)
    assert from_record(Tree, json.loads(json.dumps(asdict(tree))), "t.json") == tree
    assert from_record(Tree, {"leaves": [], "sizes": {}, "first": None}, "t.json") == Tree((), {})
    whole = from_record(Leaf, {"name": "a", "share": 2}, "t.json").share
    assert whole == 2.0 and type(whole) is float


@pytest.mark.parametrize(
    ("record", "sentence"),
    [
        ([], r"t.json is \[\], expected an object"),
        ({"leaves": []}, "t.json lacks 'sizes'$"),
        ({"leaves": [], "sizes": {}, "size": 1}, "t.json has the unknown keys 'size'$"),
        ({"leaves": [{"name": "a"}, {"name": 1}], "sizes": {}}, r"t.json: leaves\[1\]: name is 1, expected str"),
        ({"leaves": [{}], "sizes": {}}, r"t.json: leaves\[0\] lacks 'name'"),
        ({"leaves": {}, "sizes": {}}, "t.json: leaves is {}, expected tuple"),
        ({"leaves": [], "sizes": {"x": "3"}}, "t.json: sizes.x is '3', expected int"),
        ({"leaves": [], "sizes": {"x": True}}, "t.json: sizes.x is True, expected int"),
        ({"leaves": [], "sizes": {}, "is_old": 1}, "t.json: is_old is 1, expected bool"),
        ({"leaves": [], "sizes": {}, "first": 3}, "t.json: first is 3, expected an object"),
    ],
)
def test_what_does_not_fit_is_named(record, sentence):
    with pytest.raises(ValueError, match=sentence):
        from_record(Tree, record, "t.json")


def test_the_server_reads_its_part_of_what_stages_wrote():
    assert Settings.of({"kind": "ivf", "nprobe": 4, "why": "fast"}, "m") == Settings("ivf", nprobe=4)
    meta = {"factored": False, "pair_inputs": ["popularity"], "label": "click"}
    assert RankerSpec.of(meta, "m") == RankerSpec(False, pair_inputs=("popularity",))
    with pytest.raises(ValueError, match="m lacks 'factored'"):
        RankerSpec.of({}, "m")
    with pytest.raises(ValueError, match="m: nprobe is '4', expected int"):
        Settings.of({"kind": "ivf", "nprobe": "4"}, "m")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda record: record.pop("slate_size"), "chain.json lacks 'slate_size'"),
        (lambda record: record.pop("index"), "chain.json lacks 'index'"),
        (lambda record: record.update(ranker=[]), r"chain.json: ranker is \[\], expected an object"),
        (lambda record: record.update(slates=1), "chain.json has the unknown keys 'slates'"),
        (lambda record: record.update(num_items="40"), "chain.json: num_items is '40', expected int"),
        (lambda record: record.update(format_version=99), "chain.json has format version 99, this runtime reads"),
    ],
)
def test_a_chain_that_cannot_be_used_is_refused_in_one_sentence(tmp_path, change, sentence):
    record = json.loads((GOLDEN[0] / "chain" / CHAIN_FILE).read_text())
    change(record)
    (tmp_path / CHAIN_FILE).write_text(json.dumps(record))
    with pytest.raises(ValueError, match=sentence):
        ChainSpec.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda record: record.pop("nodes"), "plan.json lacks 'nodes'"),
        (lambda record: record["nodes"][1].pop("step"), r"plan.json: nodes\[1\] lacks 'step'"),
        (lambda record: record["nodes"][0].update(colour=1), r"plan.json: nodes\[0\] has the unknown keys 'colour'"),
        (lambda record: record["nodes"][0].update(parents="a"), r"nodes\[0\]: parents is 'a', expected tuple"),
        (lambda record: record.update(format_version=99), "plan.json has format version 99, this runtime reads"),
    ],
)
def test_a_plan_that_cannot_be_used_is_refused_in_one_sentence(tmp_path, change, sentence):
    plan = standard_plan(ChainSpec.load(GOLDEN[0] / "chain"))
    plan.save(tmp_path)
    assert Plan.load(tmp_path) == plan
    record = json.loads((tmp_path / PLAN_FILE).read_text())
    change(record)
    (tmp_path / PLAN_FILE).write_text(json.dumps(record))
    with pytest.raises(ValueError, match=sentence):
        Plan.load(tmp_path)
