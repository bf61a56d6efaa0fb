"""The config: every refusal names the full key path and what is allowed, before any heavy import."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ensemble.config_file import load_config, parse_override
from workflows.core.errors import ConfigError

ROOT = Path(__file__).parents[2]
SHOP = ROOT / "configs" / "shop.toml"
GOODBOOKS = ROOT / "configs" / "goodbooks.toml"


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.toml")), ids=lambda path: path.stem)
def test_every_committed_config_is_sound(path: Path) -> None:
    load_config(path)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("retrieval.batchsize=3", "unknown key retrieval.batchsize; allowed here: embedding_dim, hidden"),
        ("nonsense.x=3", "unknown key nonsense; allowed here: data, shop, split"),
        ("retrieval.sets.batch_size=0", "retrieval.sets.batch_size: expected an integer >= 1 or 'auto', got 0"),
        ("retrieval.sets.batch_size=many", "retrieval.sets.batch_size: expected an integer >= 1 or 'auto', got 'many'"),
        ("split.by=tim", "split.by: expected one of 'column', 'files', 'leave_last_out', 'time', got 'tim'"),
        ("ranking.batch_size=0", "ranking.batch_size: expected an integer >= 1 or 'auto', got 0"),
        ("ranking.use_user_id=2", "ranking.use_user_id: expected true or false or 'auto', got 2"),
        ("chain.order.strength=1.5", "chain.order.strength: expected a number >= 0 and < 1 or 'auto', got 1.5"),
        ("features.items.price.kind=x", "features.items.price.kind: expected one of 'bucketised', 'categorical'"),
        ("features.items.price.knd=x", "unknown key features.items.price.knd; allowed here: kind, boundaries"),
        ("evaluate.cutoffs=[10, 'a']", "evaluate.cutoffs[1]: expected `int`, got 'a'"),
        ("chain=3", "chain: expected `object`, got 3"),
        (
            "sources.trending.quota=0.001",
            "sources.trending.quota = 0.001 of chain.num_candidates = 200 is no",
        ),
        ("sources.own={'a:B'={quota=0.002}}", 'sources.own."a:B".quota = 0.002 of chain.num_candidates = 200 is no'),
        (
            "sources={trending={quota=0.6}, own={'a:B'={quota=0.5}}}",
            'more places than there are: sources.trending.quota = 0.6, sources.own."a:B".quota = 0.5; together',
        ),
        ("chain.slate_size=500", "chain.slate_size = 500 is more than chain.num_candidates = 200"),
        ("chain.slate_size=150", "chain.slate_size = 150 is more than chain.max_slate_size = 100"),
        ("chain.max_slate_size=300", "chain.max_slate_size = 300 is more than chain.num_candidates = 200"),
        ("chain.num_candidates=50", "chain.max_slate_size = 100 is more than chain.num_candidates = 50"),
        ("evaluate.cutoffs=[500]", "evaluate.cutoffs has 500, more than chain.num_candidates = 200"),
        ("evaluate.cutoffs=[]", "evaluate.cutoffs: expected `array` of length >= 1, got []"),
        ("chain.layouts=[]", "chain.layouts is empty; allowed: 'fused', 'ensemble', and 'merlin' beside one of them"),
        ("chain.rules=[{column='price', op='in', value=3}]", "chain.rules[0].value must be a list for op = 'in'"),
        ("chain.rules=[{column='price', op='<', value=[3]}]", "chain.rules[0].value must be a single value for op"),
        ("data.events=x.parquet", "data.source = 'shop' writes its own tables"),
        ("data.position=device", "column 'device' has more than one role in [data]"),
        ("data.context=['history', 'device', 'hour']", "data.context names 'history', a column that Cascade adds to"),
        ("data.context=['recent_item_ids']", "data.context names 'recent_item_ids', a column that Cascade adds to"),
        ("split.by=files", "needs given tables, but data.source = 'shop'"),
        ("split.train=x.parquet", "split.train, split.valid and split.test need split.by = 'files', not 'time'"),
        ("split.valid_fraction=0.95", "leaves no training events; keep the sum under 1"),
        ("split.test_fraction=0.0", "split.test_fraction = 0 leaves nothing to evaluate"),
        ("data.context=['device']", "features.context.hour is not among data.context = ['device']; add it there"),
        (
            "data.labels=['click', 'purchase', 'user_row']",
            "data.labels names 'user_row', a column that Cascade adds to",
        ),
        ('features.items."".kind="hashed"', "expected section.key=value"),
        (
            'features.items."a\\u0000b".kind="hashed"',
            "features.items has the key 'a\\x00b': a column has a name, without",
        ),
        ("features.items.item_id.kind=hashed", "features.items.item_id: 'item_id' is an id column of [data]"),
        ("data.context=['__Given']", "data.context names '__Given', a column that Cascade adds to the events"),
        ("data.stock=__N", "data.stock is '__N', a column that Cascade adds to the table itself; rename yours"),
        ("data.labels=['click', 'purchase', 'at']", "data.labels names 'at', a column that Cascade adds to the events"),
        ("features.context.hour.boundaries=[]", "features.context.hour.boundaries: a bucketised feature needs at"),
        ("features.context.hour.boundaries=[3, 2]", "features.context.hour.boundaries: must ascend, got [3.0, 2.0]"),
        ("features.context.hour.kind=list", "features.context.hour: a context feature is one value a request"),
        ("ranking.label=likes", "ranking.label = 'likes' is not among data.labels = ['click', 'purchase']"),
    ],
)
def test_a_wrong_key_or_value_is_refused_with_its_path(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(SHOP, [override])
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "name",
    ["user_id", "exclude_item_ids", "slate_size", "item_id", "score", "num_items", "path"],
)
def test_a_context_column_called_like_a_part_of_a_request_is_refused(name: str) -> None:
    overrides = [f"data.context=['device', 'hour', '{name}']", f"features.context.{name}.kind=categorical"]
    if name in ("user_id", "item_id"):
        overrides.append(f"data.{name}=other")
    with pytest.raises(
        ConfigError, match=f"features.context.{name}: a request has an input or output '{name}' already"
    ):
        load_config(SHOP, overrides)


ODD_NAMES = [
    "labels",
    "self",
    "device.type",
    "a b",
    "Label",
    "LABEL",
    "_",
    "7",
    "x/y",
    'q"q',
    "back\\slash",
    "é",
    "path",
]


def test_columns_may_be_called_almost_anything(tmp_path: Path) -> None:
    table = "\n".join(f"{json.dumps(name)} = {{ kind = 'hashed' }}" for name in ODD_NAMES)
    path = tmp_path / "odd.toml"
    path.write_text(
        f"[data]\nevents = 'e.parquet'\nitems = 'i.parquet'\nusers = 'u.parquet'\ntimestamp = 't'\n"
        f"[features.users]\n{table}\n[features.items]\n{table}\n"
    )
    config = load_config(path, ['features.items."device.type".num_buckets=3', 'features.items."a b".kind="list"'])
    assert list(config.features.users) == list(config.features.items) == ODD_NAMES
    assert (config.features.items["device.type"].num_buckets, config.features.items["a b"].kind) == (3, "list")
    with pytest.raises(ConfigError, match=r"features\.items\.device\.type\.kind: expected one of"):
        load_config(path, ['features.items."device.type".kind="wrong"'])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["split.by=files"], "split.by = 'files' needs split.train and split.test"),
        (["features.users.age.kind=continuous"], "features.users needs data.users"),
        (["ranking.training_examples=impressions"], "ranking.training_examples = 'impressions' needs data.labels"),
    ],
)
def test_combinations_of_given_tables(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(GOODBOOKS, overrides)
    assert message in str(raised.value)


def test_a_split_by_time_needs_a_timestamp() -> None:
    assert load_config(GOODBOOKS, ['split={by="time"}']).split.by == "time"
    with pytest.raises(ConfigError, match=r"split\.by = 'time' needs data\.timestamp"):
        load_config(ROOT / "configs" / "anime.toml", ['split={by="time"}'])


def test_given_tables_need_a_path(tmp_path: Path) -> None:
    path = tmp_path / "empty.toml"
    path.write_text("")
    with pytest.raises(ConfigError, match=r"data\.events is missing"):
        load_config(path)


@pytest.mark.parametrize("text", ["novalue", "=3", "a..b=3"])
def test_an_override_that_is_not_key_value_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"expected section\.key=value"):
        parse_override(text)


@pytest.mark.parametrize(
    ("text", "value"), [("a.b=3", 3), ("a.b=x y", "x y"), ("a.b=[1, 2]", [1, 2]), ("a.b=", ""), ("a.b=true", True)]
)
def test_an_override_is_toml_or_else_a_string(text: str, value: object) -> None:
    assert parse_override(text) == (["a", "b"], value)


def test_a_missing_or_broken_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        load_config(tmp_path / "none.toml")
    path = tmp_path / "broken.toml"
    path.write_text("[data\n")
    with pytest.raises(ConfigError, match="is not valid TOML"):
        load_config(path)


def test_the_config_is_refused_before_any_heavy_import() -> None:
    code = (
        "import sys\nfrom pathlib import Path\nimport scripts.cli\nfrom ensemble.config_file import load_config\n"
        f"load_config(Path({str(SHOP)!r}))\n"
        "heavy = {'tensorflow', 'merlin', 'nvtabular', 'pandas', 'dask', 'faiss', 'duckdb', 'tritonclient'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"
