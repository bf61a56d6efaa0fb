"""Keys that are set and have no effect: refused in one sentence, when the config is read or once the data is known."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ensemble.config import Config
from ensemble.config_file import load_config
from ensemble.unused_by_data import refuse_after_data, refuse_after_features
from models.ranking.config import TaskConfig
from models.retrieval.settled import LogFacts
from models.retrieval.unused import unused_on_log
from models.sources.config import ContentConfig, SourcesConfig
from tests.ensemble.synthetic import make_run
from tests.models.checkerboard import checkerboard_run
from tests.models.facts import FACTS, ORDERED
from workflows.core.artefacts import read_manifest, write_manifest
from workflows.core.errors import ConfigError
from workflows.core.given import Given, given_keys, refuse_unused
from workflows.core.run import Run
from workflows.tables.stage import prepare_data

ROOT = Path(__file__).parents[2]
SHOP, ANIME, GOODBOOKS = (ROOT / "configs" / f"{name}.toml" for name in ("shop", "anime", "goodbooks"))


def test_every_value_that_is_written_down_is_given() -> None:
    tree = {"a": {"b": 1, "c": {"d": [1, 2], "e.f": {}}, "g": [{"h": 1}, {"h": 2, "i": []}]}}
    given = given_keys(tree)
    assert given.keys == {"a.b", "a.c.d", "a.g[0].h", "a.g[1].h", "a.g[1].i"}
    assert given.under("a.g") == ["a.g[0].h", "a.g[1].h", "a.g[1].i"] and given.under("a.c") == ["a.c.d"]
    assert not given.under("a.bc") and not given.under("b")


def test_a_config_knows_what_its_file_and_the_overrides_say(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("[data]\nevents = 'e.parquet'\n[split]\nby = 'leave_last_out'\n[retrieval]\nseed = 1\n")
    config = load_config(path, ["retrieval.sets.patience=3"])
    assert config.given.keys == {"data.events", "split.by", "retrieval.seed", "retrieval.sets.patience"}
    assert load_config(path, ["retrieval.sets.patience=3", "retrieval.sets={}"]).given.under("retrieval.sets") == []
    with pytest.raises(ConfigError, match=r"unknown key given; allowed here: data, shop, split"):
        load_config(path, ["given.keys=['a']"])


BY_CONFIG = [
    (SHOP, ["retrieval.sets.patience=5"], "retrieval.sets.patience has no effect, since data.timestamp gives the"),
    (SHOP, ["retrieval.events.logq=true"], "takes windows; set retrieval.windows.logq"),
    (SHOP, ["retrieval.windows.patience=5", "retrieval.examples=events"], "set retrieval.events.patience"),
    (SHOP, ["retrieval.windows.dropout=0.5", "retrieval.examples=events"], "retrieval.examples = 'events'; drop it"),
    (ANIME, ["retrieval.windows.patience=5"], "set retrieval.sets.patience or retrieval.events.patience"),
    (
        ANIME,
        ["retrieval.examples=sets", "retrieval.events.history_dropout=0.1"],
        "retrieval.examples = 'sets'; drop it",
    ),
    (SHOP, ["retrieval.sets_up_to_cells=5"], "retrieval.sets_up_to_cells has no effect"),
    (ANIME, ["retrieval.examples=events", "retrieval.sets_up_to_cells=5"], "since retrieval.examples = 'events'"),
    (SHOP, ["retrieval.windows.negatives=all", "retrieval.windows.logq=true"], "windows.negatives = 'all'"),
    (SHOP, ["retrieval.windows.negatives=in_batch", "retrieval.windows.num_uniform_negatives=4"], "'in_batch'"),
    (SHOP, ["retrieval.windows.negatives=mixed", "retrieval.windows.all_negatives_up_to=4"], "negatives = 'auto'"),
    (
        SHOP,
        ["retrieval.windows.negatives=all", "retrieval.windows.max_epochs=5", "retrieval.windows.max_cells=7"],
        "retrieval.windows.max_epochs = 5 is not bounded; drop one of them",
    ),
    (ANIME, ["retrieval.sets.max_epochs=5", "retrieval.sets.max_cells=7"], "max_epochs = 5 is not bounded"),
    (ANIME, ["shop.seed=3"], "shop.seed has no effect, since data.source = 'tables'"),
    (SHOP, ["data.unknown_items=drop"], "the simulated shop has no unknown items"),
    (
        SHOP,
        ["split.column=x"],
        "split.column has no effect, since split.by = 'time'; drop it, or set",
    ),
    (SHOP, ["split.by=leave_last_out", "split.valid_fraction=0.2"], "set split.by = 'time' or 'column' or 'files'"),
    (SHOP, ["split.by=leave_last_out", "split.test_fraction=0.2"], "split.by = 'leave_last_out'"),
    (ANIME, ["split.test_fraction=0.2"], "split.by = 'column'"),
    (SHOP, ["features.items.category.boundaries=[1]"], "set the kind to 'bucketised'"),
    (
        SHOP,
        ["features.items.price.min_frequency=3"],
        "kind = 'continuous'; drop it, or set the kind to 'categorical'",
    ),
    (SHOP, ["features.items.category.max_length=3"], "features.items.category.kind = 'categorical'"),
    (SHOP, ["features.context.hour.log=true"], "features.context.hour.kind = 'bucketised'"),
    (SHOP, ["features.users.age_group.num_buckets=9"], "set the kind to 'hashed'"),
    (SHOP, ["neighbours.regressed=0", "neighbours.l2=[3.0]"], "neighbours.regressed = 0 leaves the walks alone"),
    (SHOP, ["neighbours.walk_shares=[1.0]", "neighbours.regressed=9"], "neighbours.walk_shares is 1 alone"),
    (SHOP, ["neighbours.walk_shares=[0.0]", "neighbours.walked=9"], "neighbours.walk_shares is 0 alone"),
    (SHOP, ["neighbours.recency_boosts=[0.0]", "neighbours.recency_decays=[0.5]"], "recency_boosts is 0 alone"),
    (
        SHOP,
        [
            *("neighbours.l2=[1.0]", "neighbours.walk_powers=[0.1]", "neighbours.walk_shares=[0.1]"),
            *("neighbours.recency_boosts=[1.0]", "neighbours.recency_decays=[0.5]", "neighbours.tower_shares=[0.5]"),
            "neighbours.validation_users=7",
        ],
        "every key to choose from has one value",
    ),
    (SHOP, ["index.kind=exact", "index.target_index_recall=0.9"], "index.kind = 'exact'"),
    (SHOP, ["index.kind=hnsw", "index.sample_items=9"], "index.kind = 'hnsw'"),
    (SHOP, ["index.kind=ivf", "index.exact_up_to=9"], "index.kind = 'ivf'"),
    (SHOP, ["index.recall_cutoff=201"], "index.recall_cutoff = 201 is more than chain.num_candidates = 200"),
    (
        SHOP,
        ["ranking.training_examples=impressions", "ranking.candidate_pool=9"],
        "ranking.training_examples = 'impressions'",
    ),
    (
        SHOP,
        ["features.items={}", "features.users={}", "ranking.bottom=[9]"],
        "ranking.bottom has no effect, since no feature is continuous",
    ),
    (SHOP, ["chain.layouts=['fused']", "chain.onnx_steps=python"], "chain.layouts lacks 'ensemble'"),
    (SHOP, ["chain.queue_delay_us=300"], "chain.device = 'cpu'"),
    (SHOP, ["chain.device_precision=float16"], "no embedding is copied to a GPU; drop it, or set chain.device"),
    (SHOP, ["evaluate.baselines.names=['ease']"], "set it to true, as evaluate --baselines does"),
    (SHOP, ["evaluate.baselines.ease_up_to_items=9"], "evaluate.baselines.use = false"),
    (
        SHOP,
        ["evaluate.baselines.use=true", "evaluate.baselines.names=['als']", "evaluate.baselines.ease_up_to_items=9"],
        "lacks 'ease'",
    ),
    (SHOP, ["evaluate.knn_neighbours=[9]", "evaluate.baselines.budget_s=9.0"], "so that nothing is tuned"),
    (GOODBOOKS, ["evaluate.num_truth_users=9"], "known in the simulated shop alone"),
    (ANIME, ["retrieval.examples=windows"], "retrieval.examples is 'windows', but the events have no timestamps"),
    (SHOP, ["retrieval.windows.num_heads=3"], "num_heads is 3, expected a divisor of retrieval.embedding_dim, 64"),
    (SHOP, ["retrieval.windows.min_epochs=13"], "min_epochs = 13 is more than the 12 epochs of retrieval.windows.max"),
    (SHOP, ["ranking.negatives_per_positive=201"], "candidate_pool = 200 is less than the 201 retrieved ones of"),
    (ANIME, ["sources.trending.half_life_days=[1.0]"], "without data.timestamp nothing is trending"),
    (ANIME, ["sources.latest.weight=0.5"], "neither data.timestamp nor sources.latest.column says what is new"),
    (
        ANIME,
        ["sources.fallback=latest"],
        "sources.fallback = 'latest' needs data.timestamp; set it, or",
    ),
    (SHOP, ["features.items={}", "sources.content.l2=[1.0]"], "there is no features.items to go by"),
    (
        SHOP,
        [f"sources.{name}.quota=0.1" for name in ("popularity", "trending", "latest", "content")]
        + ["sources.quotas=[0.2]"],
        "sources.quotas has no effect, since every source has a quota that is set",
    ),
    (
        SHOP,
        ["retrieval.examples=sets"],
        "retrieval.examples is 'sets', one example a user, but features.context has device, hour",
    ),
]


@pytest.mark.parametrize(("path", "overrides", "message"), BY_CONFIG, ids=[case[1][-1] for case in BY_CONFIG])
def test_a_key_without_effect_under_the_others_is_refused_when_the_config_is_read(
    path: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(path, overrides)
    assert message in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("path", [SHOP, ANIME])
def test_defaults_are_nobodys_wish(path: Path) -> None:
    """Hundreds of keys have no effect in any config; none of them is in the way as long as it is not set."""
    from ensemble.config_unused import unused_keys

    config = load_config(path)
    assert len(list(unused_keys(config))) > 20
    refuse_unused(config.given, unused_keys(config))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("retrieval.batch_size=9", "retrieval.batch_size is now retrieval.windows.batch_size (for events with"),
        ("retrieval.negatives=all", "retrieval.negatives is now retrieval.windows.negatives"),
        ("retrieval.sets.up_to_cells=9", "retrieval.sets.up_to_cells is now retrieval.sets_up_to_cells; rename it"),
        ("retrieval.rows=windows", "config: retrieval.rows is now retrieval.examples; rename it"),
        ("ranking.training_rows=auto", "config: ranking.training_rows is now ranking.training_examples; rename it"),
        ("evaluate.peers.use=true", "config: evaluate.peers is now evaluate.baselines; rename it"),
        ("evaluate.peers=3", "config: evaluate.peers is now evaluate.baselines; rename it"),
    ],
)
def test_a_key_of_an_older_config_is_told_its_new_place(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(SHOP, [override])
    assert message in str(raised.value)


def test_the_new_place_follows_from_the_kind_of_rows() -> None:
    for overrides, message in (
        (
            ["retrieval.patience=9"],
            "(for users whose events have no order) or retrieval.events.patience (for",
        ),
        (["retrieval.patience=9", "retrieval.examples=sets"], "is now retrieval.sets.patience (for users"),
        (
            ["retrieval.logq=true", "retrieval.examples=sets"],
            "retrieval.logq is gone: training on sets has every item as",
        ),
        (
            ["retrieval.logq=true", "retrieval.examples=events"],
            "is now retrieval.events.logq (for single events); move it",
        ),
        (["retrieval.logq=true", "retrieval=3"], "retrieval: expected `object`, got 3"),
        (["retrieval.logq=true", "retrieval.examples=[3]"], "retrieval.logq is now"),
    ):
        with pytest.raises(ConfigError) as raised:
            load_config(ANIME, overrides)
        assert message in str(raised.value)


ON_LOG = [
    (
        ORDERED,
        "retrieval.sets.patience",
        "so that retrieval.examples = 'auto' takes windows; set retrieval.windows",
    ),
    (FACTS, "retrieval.events.patience", "108 users times items without an order are few"),
    (FACTS, "retrieval.events.logq", "takes sets; drop it"),
    (FACTS, "retrieval.hidden", "towers of sets without any feature are the item table itself"),
    (msgspec.structs.replace(FACTS, in_memory=False), "retrieval.sets.max_cells", "do not fit in memory"),
    (msgspec.structs.replace(FACTS, in_memory=False), "retrieval.sets_up_to_cells", "do not fit in memory"),
    (msgspec.structs.replace(FACTS, context=("hour",)), "retrieval.sets.patience", "there are features of the context"),
    (
        msgspec.structs.replace(FACTS, num_users=10**9),
        "retrieval.sets.id_dropout",
        "come to 12,000,000,000 users",
    ),
    (
        ORDERED,
        "retrieval.windows.num_uniform_negatives",
        "takes all 12 items; set retrieval.windows.negatives =",
    ),
    (ORDERED, "retrieval.windows.logq", "takes all 12 items"),
    (msgspec.structs.replace(ORDERED, can_validate=False), "retrieval.windows.patience", "nothing tells one epoch"),
    (msgspec.structs.replace(FACTS, can_validate=False), "retrieval.validation_users", "nothing tells one epoch"),
    (msgspec.structs.replace(FACTS, num_valid=0), "retrieval.refit_share", "has no positive to go on with"),
]


@pytest.mark.parametrize(("facts", "key", "message"), ON_LOG, ids=[case[1] for case in ON_LOG])
def test_a_key_of_retrieval_without_effect_on_a_log_is_refused(facts: LogFacts, key: str, message: str) -> None:
    config = Config().retrieval
    with pytest.raises(ConfigError) as raised:
        refuse_unused(Given(frozenset([key])), unused_on_log(config, facts))
    assert str(raised.value).startswith(f"config: {key} has no effect, since ") and message in str(raised.value)
    refuse_unused(Given(frozenset(["retrieval.temperature", "retrieval.seed"])), unused_on_log(config, facts))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Config]:
    return make_run(tmp_path_factory.mktemp("run"))


def test_the_index_refuses_what_a_small_catalogue_leaves_without_effect(run) -> None:
    found, config = run
    for key, message in (
        ("exact_within_ms", "the catalogue has 300 items and is searched"),
        ("sample_items", "below 300"),
    ):
        with pytest.raises(ConfigError, match=message):
            refuse_after_features(found, with_given(config, f"index.{key}"), ["index"])
    refuse_after_features(found, with_given(config, "index.recall_cutoff", "index.exact_up_to"), ["index"])
    compared = msgspec.structs.replace(config.index, exact_up_to=299)
    refuse_after_features(found, with_given(config, "index.max_build_s", index=compared), ["index"])
    forced = msgspec.structs.replace(config.index, kind="ivf")
    with pytest.raises(ConfigError, match=r"index.max_build_s has no effect.*compared without a sample"):
        refuse_after_features(found, with_given(config, "index.max_build_s", index=forced), ["index"])


def test_a_forced_kind_that_a_tiny_catalogue_cannot_have_is_refused(tmp_path: Path) -> None:
    found, config = make_run(tmp_path, num_items=200)
    for kind, message in (
        ("ivf", r"index.kind has no effect, since the catalogue has 200 items, and fewer than 256 are always"),
        ("auto", r"index.exact_up_to has no effect, .* as any of fewer than 256 is"),
    ):
        forced = msgspec.structs.replace(config.index, kind=kind, exact_up_to=0)
        with pytest.raises(ConfigError, match=message):
            refuse_after_features(found, with_given(config, "index.kind", "index.exact_up_to", index=forced), ["index"])


def with_given(config: Config, *keys: str, **sections) -> Config:
    return msgspec.structs.replace(config, given=Given(frozenset(keys)), **sections)


def prepared(root: Path, split: dict[str, list[str]], **options) -> tuple[Run, Config]:
    """Data of a few events, as the stage writes it."""
    rows = {"user_id": [1, 1, 2, 2, 3, 3], "item_id": [1, 2, 1, 2, 1, 2]}
    pq.write_table(pa.table(rows | {"split": split["split"]}), root / "events.parquet")
    pq.write_table(
        pa.table({"item_id": [1, 2], "tags": [["a"], ["b", "c"]], "words": ["a|b", "c"]}), root / "items.parquet"
    )
    path = root / "c.toml"
    path.write_text(
        f"[data]\nevents = '{root}/events.parquet'\nitems = '{root}/items.parquet'\n[split]\nby = 'column'\n"
        "[features.items]\ntags = { kind = 'list' }\nwords = { kind = 'list' }\n"
    )
    config = load_config(path, options.get("overrides", []))
    run = Run(root / "run")
    prepare_data(run, config.data, config.split, config.shop, 0)
    return run, config


def test_what_a_given_split_and_lists_leave_without_effect_is_refused_after_the_data(tmp_path: Path) -> None:
    whole, held_out = tmp_path / "whole", tmp_path / "held_out"
    whole.mkdir(), held_out.mkdir()
    given = {"split": ["train", "train", "train", "train", "valid", "test"]}
    run, config = prepared(whole, given, overrides=["split.valid_fraction=0.2"])
    with pytest.raises(ConfigError, match=r"split\.valid_fraction has no effect, since the given split has valid"):
        refuse_after_data(run, config)
    without = {"split": ["train", "train", "train", "train", "train", "test"]}
    refuse_after_data(*prepared(held_out, without, overrides=["split.valid_fraction=0.5"]))
    run, config = prepared(whole, given, overrides=["features.items.words.separator='|'"])
    refuse_after_data(run, config)
    run, config = prepared(whole, given, overrides=["features.items.tags.separator='|'"])
    with pytest.raises(ConfigError, match=r"features\.items\.tags\.separator has no effect, .* holds lists, which"):
        refuse_after_data(run, config)


def test_the_stages_refuse_what_the_log_leaves_without_effect(tmp_path: Path) -> None:
    """Events with a context and without order, of which some are clicks."""
    found = checkerboard_run(tmp_path)
    for section, key, message in (
        (
            "retrieval",
            "sets.patience",
            "there are features of the context, so that retrieval.examples",
        ),
        ("retrieval", "events.logq", "takes all 24 items"),
        (
            "ranking",
            "candidate_pool",
            "label 'click' is 0 and 1 in the log, so that ranking.training_examples = 'auto'",
        ),
    ):
        with pytest.raises(ConfigError) as raised:
            refuse_after_features(found, with_given(Config(), f"{section}.{key}"), [section])
        assert message in str(raised.value)
    kept = ("retrieval.events.patience", "ranking.patience", "neighbours.validation_users", "ranking.refit_share")
    refuse_after_features(found, with_given(Config(), *kept))
    sampled = msgspec.structs.replace(Config().ranking, training_examples="sampled")
    refuse_after_features(found, with_given(Config(), "ranking.candidate_pool", "ranking.batch_size", ranking=sampled))
    torn = msgspec.structs.replace(sampled, batch_size=20)
    with pytest.raises(ConfigError, match=r"ranking.batch_size has no effect, since a positive and its negatives"):
        refuse_after_features(found, with_given(Config(), "ranking.batch_size", ranking=torn))


def test_a_task_that_the_log_cannot_teach_is_refused_before_the_towers_are_trained(tmp_path: Path) -> None:
    """Of the checkerboard's displays half are clicked, on the last day; none is two days old."""
    found = checkerboard_run(tmp_path)
    for task, message in (
        (TaskConfig(label="click", matures_after=2.0), "ranking.tasks.late: no event .* that are 2 days old has click"),
        (TaskConfig(label="click"), None),
    ):
        tasks = {"click": TaskConfig(label="click"), "late": msgspec.structs.replace(task, after="click")}
        ranking = msgspec.structs.replace(Config().ranking, tasks=tasks)
        config = with_given(Config(), "ranking.tasks.late.label", ranking=ranking)
        if message is None:
            refuse_after_features(found, config)
            continue
        with pytest.raises(ConfigError, match=message):
            refuse_after_features(found, config)


def test_content_has_no_effect_where_every_item_has_events(tmp_path: Path) -> None:
    found = checkerboard_run(tmp_path)
    (snapshot,) = (found.folder("data") / "state").glob("eval")
    shutil.copytree(snapshot, snapshot.with_name("serve"), dirs_exist_ok=True)
    none = msgspec.structs.replace(
        Config().sources, content=msgspec.structs.replace(Config().sources.content, max_events=0)
    )
    with pytest.raises(
        ConfigError, match=r"sources.content.l2 has no effect, since every item has more than .* = 0 posit"
    ):
        refuse_after_features(found, with_given(Config(), "sources.content.l2", sources=none), ["sources"])
    all_of_them = SourcesConfig(content=ContentConfig(max_events=10**6))
    refuse_after_features(found, with_given(Config(), "sources.content.l2", sources=all_of_them), ["sources"])


def test_without_valid_events_nothing_can_be_stopped_or_chosen_by(tmp_path: Path) -> None:
    found = checkerboard_run(tmp_path)
    for part in (found.folder("features") / "valid").glob("*.parquet"):
        pq.write_table(pq.read_table(part).slice(0, 0), part)
    for key, message in (
        ("retrieval.events.patience", "nothing tells one epoch from another"),
        ("retrieval.refit_share", "the valid split has no positive to go on with"),
        ("neighbours.validation_cutoff", "so the first values are taken"),
        ("sources.weights", "so that no place is chosen"),
        ("ranking.patience", "the valid split is empty"),
        ("ranking.refit_share", "the valid split is empty"),
    ):
        with pytest.raises(ConfigError, match=message):
            refuse_after_features(found, with_given(Config(), key))
    none = {
        name: msgspec.structs.replace(getattr(Config(), name), refit_share=0.0) for name in ("retrieval", "ranking")
    }
    refuse_after_features(found, with_given(Config(), "retrieval.refit_share", "ranking.refit_share", **none))


def test_the_bound_that_made_auto_take_events_has_had_its_effect() -> None:
    config = msgspec.structs.replace(Config().retrieval, sets_up_to_cells=9 * 12 - 1)
    refuse_unused(Given(frozenset(["retrieval.sets_up_to_cells"])), unused_on_log(config, FACTS))
    refuse_unused(Given(frozenset(["retrieval.sets_up_to_cells"])), unused_on_log(Config().retrieval, FACTS))


def test_nothing_is_refused_before_there_is_data(tmp_path: Path) -> None:
    refuse_after_features(Run(tmp_path), with_given(Config(), "retrieval.sets.patience", "ranking.bottom"))


def test_a_manifest_of_an_earlier_release_refuses_nothing(tmp_path: Path) -> None:
    run, config = prepared(
        tmp_path, {"split": ["train"] * 4 + ["valid", "test"]}, overrides=["split.valid_fraction=0.2"]
    )
    folder = run.folder("data")
    manifest = read_manifest(folder)
    info = {name: value for name, value in manifest.info.items() if name != "valid_given"}
    write_manifest(folder, msgspec.structs.replace(manifest, info=info))
    refuse_after_data(run, config)
