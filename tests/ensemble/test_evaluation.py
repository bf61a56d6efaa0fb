"""The stage evaluate on a synthetic run: what is queried, what is measured, what is written."""

from __future__ import annotations

import dataclasses
import json
from html.parser import HTMLParser

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ensemble.config import ChainConfig
from ensemble.evaluation.chain_source import query_chain
from ensemble.evaluation.config import EvaluateConfig, TargetConfig
from ensemble.evaluation.markdown import report_text
from ensemble.evaluation.measure import Slates, measure_source, summarise
from ensemble.evaluation.queries import load_queries
from ensemble.evaluation.stage import evaluate, print_summary
from ensemble.evaluation.tables import best_sources, markdown_table
from ensemble.export.compile import compile_chain
from models.baselines.config import BaselinesConfig
from models.dataset.features import load_state
from models.metrics.bootstrap import Resamples
from runtime.chain import Chain
from tests.ensemble.synthetic import item_id, make_run, sign_again, user_id
from workflows.core.errors import ConfigError, DataError
from workflows.shop.config import ShopConfig
from workflows.shop.world import draw_world

ALONE = ["towers", "neighbours", "trending", "latest", "content"]
SOURCES = ["popularity", "item_knn", *ALONE, "retrieval", "chain"]
CUTOFFS = (5, 20)


def make_evaluated_run(root, *, text_ids=False, events=None, filter_seen=True):
    """A synthetic run with validation and test events, ready to be evaluated."""
    chain = ChainConfig(num_candidates=30, slate_size=5, max_slate_size=20, max_batch_size=16, filter_seen=filter_seen)
    run, config = make_run(root, text_ids=text_ids, chain=chain)
    add_split(run, "test", events or random_events(1))
    add_split(run, "valid", random_events(2))
    ages = pa.array([None if row % 7 == 0 else f"age {row % 3}" for row in range(60)])
    pq.write_table(pa.table({"user_id": np.arange(60), "age_group": ages}), run.folder("data") / "users.parquet")
    sign_again(run)
    settings = EvaluateConfig(cutoffs=CUTOFFS, num_bootstrap=40, knn_neighbours=(3, 10))
    return run, msgspec.structs.replace(config, evaluate=settings)


def random_events(seed, num_users=60, num_items=300, num_events=600):
    rng = np.random.default_rng(seed)
    return {
        "user_row": rng.integers(0, num_users, num_events).tolist(),
        "item_row": rng.integers(0, num_items, num_events).tolist(),
        "click": (rng.random(num_events) < 0.5).astype(float).tolist(),
        "device": rng.choice(["phone", "desktop"], num_events).tolist(),
        "hour": rng.integers(0, 24, num_events).tolist(),
    }


def add_split(run, split, events):
    """Write one split of data/ and features/ and bring the manifests up to date."""
    rows = len(events["user_row"])
    table = {
        "user_row": pa.array(events["user_row"], pa.int64()),
        "item_row": pa.array(events["item_row"], pa.int64()),
        "at": pa.array(np.arange(rows) * 1000),
        "click": pa.array(events["click"], pa.float32()),
        "device": pa.array(events.get("device", ["phone"] * rows), pa.string()),
        "hour": pa.array(events.get("hour", [9] * rows), pa.int64()),
        "temperature": pa.array([None if i % 3 else 20.0 for i in range(rows)], pa.float64()),
    }
    for stage, columns in (("data", list(table)), ("features", ["user_row", "item_row", "at", "click"])):
        folder = run.folder(stage) / split
        folder.mkdir(exist_ok=True)
        pq.write_table(pa.table({name: table[name] for name in columns}), folder / "part_000.parquet")
    sign_again(run)


@pytest.fixture(autouse=True)
def ranker_scores(monkeypatch):
    """The synthetic ranker has no rows of its own: scores with a known quality stand for them."""
    labels, probabilities = np.array([0, 1] * 50), np.tile([0.25, 0.75], 50)

    def ranker_quality(run, config):
        from ensemble.evaluation.ranker import classification_quality

        gap = {"value": 0.0123, "low": -0.01, "high": 0.03}
        quality = {"label": "click", "rows": "rows", **classification_quality(labels, probabilities)}
        baseline = {"skipped": None, "picked": {"num_leaves": 15}, "auc": 0.9, "logloss": 0.3}
        return quality | {"baselines": {"lightgbm": baseline}, "minus": {"lightgbm": {"auc": gap, "logloss": gap}}}

    monkeypatch.setattr("ensemble.evaluation.ranker_rows.ranker_quality", ranker_quality)


@pytest.fixture(scope="module", params=[False, True], ids=["int64", "string"])
def evaluated(request, tmp_path_factory):
    run, config = make_evaluated_run(tmp_path_factory.mktemp("run") / "r", text_ids=request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ensemble.evaluation.ranker_rows.ranker_quality", lambda run, config: {"skipped": "No rows."})
        evaluate(run, config)
    return run, config, request.param


def metrics_of(run):
    return json.loads((run.folder("report") / "metrics.json").read_text())


def test_every_source_has_every_metric_with_an_interval_that_holds_it(evaluated):
    metrics = metrics_of(evaluated[0])
    assert list(metrics["sources"]) == SOURCES
    names = ("recall", "capped_recall", "ndcg", "mrr", "hit_rate", "novelty", "coverage")
    for values in metrics["sources"].values():
        assert set(values) == {f"{name}@{k}" for name in names for k in CUTOFFS}
        for name, estimate in values.items():
            assert set(estimate) == {"value", "low", "high"}
            if name.startswith("coverage"):
                assert estimate["low"] is None
            else:
                assert estimate["low"] <= estimate["value"] <= estimate["high"]
    for other in SOURCES[:-1]:
        gap = metrics["sources"]["chain"]["ndcg@20"]["value"] - metrics["sources"][other]["ndcg@20"]["value"]
        assert metrics["chain_minus"][other]["ndcg@20"]["value"] == pytest.approx(gap)


def test_recommendations_are_the_chain_s_own_answers_in_raw_ids(evaluated, tmp_path):
    run, config, text_ids = evaluated
    table = pq.read_table(run.folder("report") / "recommendations.parquet")
    assert table.schema.names == ["source", "user_id", "rank", "item_id", "score"]
    assert table.schema.field("item_id").type == (pa.string() if text_ids else pa.int64())
    frame = table.to_pandas()
    assert set(frame["source"]) == {"retrieval", "chain"}

    wide = msgspec.structs.replace(config, chain=msgspec.structs.replace(config.chain, slate_size=20))
    compile_chain(run, wide, tmp_path / "chain", "eval")
    queries = load_queries(run, config, load_state(run, "eval"))
    chain, query = Chain.load(tmp_path / "chain"), 7
    row = int(queries.user_rows[query])
    request = {"user_id": np.array([[user_id(row, text_ids)]], object if text_ids else np.int64)}
    request["device"] = np.array([[queries.context["device"][query].as_py()]], object)
    request["hour"] = np.array([[queries.context["hour"][query].as_py()]])
    temperature = queries.context["temperature"][query].as_py()
    request["temperature"] = np.array([[np.nan if temperature is None else temperature]])
    answer = chain.recommend(request)
    raw_user = user_id(row, text_ids)
    raw_user = raw_user.decode() if text_ids else raw_user
    ours = frame[(frame["user_id"] == raw_user) & (frame["source"] == "chain")]
    shown = int(answer["num_items"][0, 0])
    assert ours["rank"].tolist() == list(range(1, shown + 1))
    expected = answer["item_id"][0, :shown].tolist()
    assert ours["item_id"].tolist() == [value.decode() if text_ids else value for value in expected]
    np.testing.assert_allclose(ours["score"], answer["score"][0, :shown])


def test_no_source_shows_seen_or_out_of_stock_items(evaluated):
    run, _, text_ids = evaluated
    state = load_state(run, "eval")
    in_stock = pq.read_table(run.folder("data") / "items.parquet")["in_stock"].to_numpy()
    frame = pq.read_table(run.folder("report") / "recommendations.parquet").to_pandas()
    rows = {_readable(item_id(row, text_ids)): row for row in range(300)}
    users = {_readable(user_id(row, text_ids)): row for row in range(60)}
    shown = frame["item_id"].map(rows).to_numpy()
    assert in_stock[shown].all()
    for user, items in frame.assign(row=shown).groupby("user_id")["row"]:
        assert not set(items) & set(state.seen(users[user]).tolist())


def _readable(raw):
    return raw.decode() if isinstance(raw, bytes) else raw


class Outline(HTMLParser):
    """Checks that tags are balanced and gathers what a reader sees."""

    VOID = {"meta", "link", "br", "hr", "img", "input", "path", "use"}

    def __init__(self):
        super().__init__()
        self.open, self.text, self.unlabelled, self.outside = [], [], 0, []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.outside += [v for k, v in attrs.items() if k in ("src", "href") and v and not v.startswith("#")]
        if tag == "figure" and not attrs.get("aria-label"):
            self.unlabelled += 1
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_parses_names_every_source_and_fetches_nothing(evaluated):
    page = Outline()
    page.feed((evaluated[0].folder("report") / "index.html").read_text())
    assert page.open == []
    text = " ".join(page.text)
    for name in ("Popularity", "Item-kNN", "Retrieval alone", "Full chain", "No rows."):
        assert name in text
    assert page.unlabelled == 0
    assert page.outside == []


def test_the_page_shows_calibration_and_escapes_what_the_data_says(tmp_path):
    run, config = make_evaluated_run(tmp_path / "r")
    path = run.folder("data") / "items.parquet"
    items = pq.read_table(path)
    pq.write_table(items.append_column("title", pa.array(["<script>x</script>"] * len(items))), path)
    sign_again(run)
    evaluate(run, config)
    ranker = metrics_of(run)["ranker"]
    assert (ranker["auc"], ranker["expected_calibration_error"]) == (1.0, 0.25)
    page = (run.folder("report") / "index.html").read_text()
    assert "Ranker: observed against predicted" in page
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_a_second_call_does_nothing_and_a_new_cutoff_measures_again(tmp_path, capsys):
    run, config = make_evaluated_run(tmp_path / "r")
    first = evaluate(run, config)
    assert evaluate(run, config).created_at == first.created_at
    assert "up to date" in capsys.readouterr().err
    other = msgspec.structs.replace(config, evaluate=msgspec.structs.replace(config.evaluate, cutoffs=(3,)))
    evaluate(run, other)
    assert metrics_of(run)["cutoffs"] == [3]


def test_what_is_relevant(tmp_path):
    """Positive by label, in the catalogue, not had before, each item once."""
    run, config = make_evaluated_run(tmp_path / "r", events={"user_row": [0], "item_row": [0], "click": [1.0]})
    state = load_state(run, "eval")
    had = int(state.seen(5)[0])
    fresh = [row for row in range(300) if row not in set(state.seen(5).tolist())][:3]
    add_split(
        run,
        "test",
        {
            "user_row": [5, 5, 5, 5, 5, 5, 3],
            "item_row": [fresh[2], fresh[1], fresh[1], had, fresh[0], -1, 7],
            "click": [0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0],
            "device": ["desktop", *["phone"] * 6],
        },
    )
    queries = load_queries(run, config, state)
    assert queries.user_rows.tolist() == [5]
    assert queries.relevant(0).tolist() == fresh[:2]
    assert queries.context["device"].to_pylist() == ["desktop"]  # of the first test event, positive or not
    assert queries.facts["num_repeated_pairs_left_out"] == 1
    assert queries.facts["num_positive_events_outside_catalogue"] == 1
    again = msgspec.structs.replace(config, chain=msgspec.structs.replace(config.chain, filter_seen=False))
    assert sorted(load_queries(run, again, state).relevant(0).tolist()) == sorted([*fresh[:2], had])


def test_drawn_users_are_seeded(tmp_path):
    run, config = make_evaluated_run(tmp_path / "r")
    state = load_state(run, "eval")
    few = msgspec.structs.replace(config, evaluate=msgspec.structs.replace(config.evaluate, num_users=10))
    drawn = load_queries(run, few, state)
    assert len(drawn) == 10
    everyone = load_queries(run, config, state)
    at = np.searchsorted(everyone.user_rows, drawn.user_rows)
    assert [drawn.relevant(i).tolist() for i in range(10)] == [everyone.relevant(int(j)).tolist() for j in at]
    assert drawn.user_rows.tolist() == load_queries(run, few, state).user_rows.tolist()


def test_a_perfect_recommender_gets_one_and_an_empty_one_zero(tmp_path):
    run, config = make_evaluated_run(tmp_path / "r")
    state = load_state(run, "eval")
    queries = load_queries(run, config, state)
    perfect = np.full((len(queries), 20), -1, np.int32)
    for query in range(len(queries)):
        relevant = queries.relevant(query)[:20]
        perfect[query, : len(relevant)] = relevant
    answers = {
        "perfect": Slates("perfect", perfect, np.zeros(perfect.shape, np.float32), 1.0),
        "empty": Slates("empty", np.full_like(perfect, -1), np.zeros(perfect.shape, np.float32), 1.0),
    }
    columns = {s: measure_source(answer, queries, state, CUTOFFS) for s, answer in answers.items()}
    table = summarise(columns, answers, 300, CUTOFFS, Resamples(20, 1))
    for name in ("capped_recall@5", "ndcg@5", "ndcg@20", "mrr@5", "hit_rate@5", "recall@20"):
        assert (table["perfect"][name].value, table["perfect"][name].low) == (1.0, 1.0)
        assert table["empty"][name].value == 0.0
    assert table["empty"]["coverage@20"].value == 0.0
    assert "novelty@5" not in table["empty"]


def test_the_markdown_table_holds_values_intervals_and_marks_the_best():
    def estimate(value):
        return {"value": value, "low": value - 0.01, "high": value + 0.01}

    sources = {"popularity": {"recall@10": estimate(0.05)}, "chain": {"recall@10": estimate(0.2)}}
    text = markdown_table({"sources": sources, "cutoffs": [10]}, ["recall@10", "coverage@10"])
    assert text.splitlines() == [
        "| source | recall@10 | coverage@10 |",
        "|---|---:|---:|",
        "| Popularity | 0.0500 (0.0400 to 0.0600) | - |",
        "| Full chain | **0.2000** (0.1900 to 0.2100) | - |",
    ]
    assert best_sources({"a": {"novelty@10": estimate(9.0)}}, "novelty@10") == []


def test_the_baselines_are_measured_with_paired_differences_when_asked_for(tmp_path):
    run, config = make_evaluated_run(tmp_path / "r")
    asked = {
        "baselines": BaselinesConfig(use=True, names=("rp3beta", "ease"), budget_s=1e-9),
        "segments": ("age_group",),
        "targets": (TargetConfig(value="chain_minus.best_baseline.recall@20.low", above=0.0),),
    }
    config = msgspec.structs.replace(config, evaluate=msgspec.structs.replace(config.evaluate, **asked))
    evaluate(run, config)
    metrics = metrics_of(run)
    assert list(metrics["sources"]) == [
        *("popularity", "segment_popularity", "item_knn", "rp3beta", "ease"),
        *ALONE,
        *("retrieval", "chain"),
    ]
    assert metrics["baselines"]["ease"]["picked"] == metrics["baselines"]["ease"]["trials"][0]["params"]
    assert set(metrics["retrieval_minus"]) == set(metrics["sources"]) - {"retrieval"}
    for subject in ("retrieval", "chain"):
        for source, gaps in metrics[f"{subject}_minus"].items():
            gap, both = gaps["recall@20"], [metrics["sources"][s]["recall@20"]["value"] for s in (subject, source)]
            assert gap["value"] == pytest.approx(both[0] - both[1])
            assert gap["low"] <= gap["value"] <= gap["high"]
    page = (run.folder("report") / "index.html").read_text()
    assert "EASE" in page
    assert f"l2 = {metrics['baselines']['ease']['picked']['l2']}" in page
    best = max(metrics["baselines"], key=lambda name: metrics["sources"][name]["recall@20"]["value"])
    low = metrics["chain_minus"][best]["recall@20"]["low"]
    [target] = metrics["targets"]
    assert target == {"name": target["name"], "value": low, "target": 0.0, "met": low > 0, "missing": None}
    ages = [name for name in metrics["slices"] if name.startswith("age_group=")]
    assert ages == [f"age_group={value}" for value in ("age 0", "age 1", "age 2", "unknown")]
    assert sum(metrics["slices"][name]["num_users"] for name in ages) == metrics["data"]["num_users_measured"]
    text = report_text("r", metrics)
    assert "### r:" in text
    assert "chain_minus.best_baseline.recall@20.low" in text
    assert "chain_minus.best_baseline.recall@20.low" in page
    assert "num_leaves = 15" in page
    assert "+0.0123 (-0.0100 to +0.0300) tie" in text


def test_a_segment_that_the_users_table_lacks_is_refused_by_name(tmp_path):
    run, config = make_evaluated_run(tmp_path / "r")
    config = msgspec.structs.replace(config, evaluate=msgspec.structs.replace(config.evaluate, segments=("city",)))
    with pytest.raises(DataError, match=r"a column 'city' \(evaluate.segments\), got the columns user_id, age_group"):
        evaluate(run, config)


def test_the_summary_of_a_finished_report_is_printed(evaluated, capsys):
    print_summary(evaluated[0].root)
    printed = capsys.readouterr().err
    assert "Full chain" in printed
    assert "index.html" in printed


def test_a_context_value_that_one_user_lacks_is_left_out_for_that_user_alone(tmp_path):
    events = random_events(1)
    events["hour"] = [None if user % 2 else hour for user, hour in zip(events["user_row"], events["hour"], strict=True)]
    events["device"] = [None if user % 3 else "phone" for user in events["user_row"]]
    run, config = make_evaluated_run(tmp_path / "r", events=events)
    queries = load_queries(run, config, load_state(run, "eval"))
    compile_chain(run, config, tmp_path / "chain", "eval")
    users, items = (np.load(run.folder("data") / "ids" / f"{side}.npy") for side in ("users", "items"))
    *_, slates = query_chain(tmp_path / "chain", queries, users, items, 20)
    chain = Chain.load(tmp_path / "chain")
    for query, user in enumerate(queries.user_rows.tolist()):
        request = {"user_id": users[[[user]]], "slate_size": np.array([[20]], np.int32)}
        for name, kind in (("hour", np.int64), ("device", object), ("temperature", np.float64)):
            if (value := queries.context[name][query].as_py()) is not None:
                request[name] = np.array([[value]], kind)
        expected = chain.recommend(request)["item_id"][0]
        assert items[slates.rows[query][slates.rows[query] >= 0]].tolist() == expected[expected >= 0].tolist()


def test_the_share_of_the_best_possible_is_stated_where_the_truth_is_known(tmp_path):
    run, config = make_evaluated_run(tmp_path / "r")
    ids = {f"{side}_ids": np.load(run.folder("data") / "ids" / f"{side}s.npy") for side in ("user", "item")}
    world = draw_world(ShopConfig(num_users=60, num_items=300, num_impressions=500))
    dataclasses.replace(world.truth, **ids).save(run.folder("data") / "truth.npz")
    sign_again(run)
    evaluate(run, config)
    metrics = metrics_of(run)
    for values in metrics["sources"].values():
        assert 0 < values["share_of_best@5"]["low"] <= values["share_of_best@5"]["value"] < 1
    assert "share_of_best@5" in markdown_table(metrics)
    assert "Share of the best possible" in (run.folder("report") / "index.html").read_text()


def with_graph(config, name):
    return msgspec.structs.replace(
        config, chain=msgspec.structs.replace(config.chain, graph=f"tests.ensemble.graphs:{name}")
    )


def test_a_step_after_the_slate_is_in_what_is_measured(tmp_path):
    run, config = make_evaluated_run(tmp_path / "r")
    queries = load_queries(run, config, load_state(run, "eval"))
    users, items = (np.load(run.folder("data") / "ids" / f"{side}.npy") for side in ("users", "items"))
    slates = []
    for number, drawn in enumerate((config, with_graph(config, "turned_slates"))):
        compile_chain(run, drawn, tmp_path / f"chain{number}", "eval")
        *_, found = query_chain(tmp_path / f"chain{number}", queries, users, items, 20)
        slates.append([rows[rows >= 0].tolist() for rows in found.rows])
    assert slates[1] == [rows[::-1] for rows in slates[0]]


def test_a_graph_without_candidates_is_refused_before_the_baselines_are_fitted(tmp_path, capsys):
    run, config = make_evaluated_run(tmp_path / "r")
    with pytest.raises(ConfigError, match="retrieval alone by 'candidates', and no step"):
        evaluate(run, with_graph(config, "without_candidates"))
    assert "fitted in" not in capsys.readouterr().err
