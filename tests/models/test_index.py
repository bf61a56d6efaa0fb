"""Search against brute force, with and without filters, and an advisor whose figures are true."""

from __future__ import annotations

import dataclasses

import faiss
import msgspec
import numpy as np
import pytest

from models.index.advise import advise
from models.index.config import IndexConfig
from models.index.factory import KINDS, PLANS, build, list_work, num_lists, plans_for
from models.index.tune import smallest
from models.index.workload import Truth, Workload, exact_answers, measure, recall_against
from runtime.index.allowed import Allowed, pack_rows, rows_of
from runtime.index.rounding import SCORE_STEP, quantise
from runtime.index.search import ItemSearch, open_index
from runtime.index.settings import EXACT, Settings

NUM_ITEMS = 3001
THOROUGH = {
    EXACT: Settings(),
    "ivf": Settings("ivf", nprobe=num_lists(NUM_ITEMS)),
    "ivf_pq": Settings("ivf_pq", nprobe=num_lists(NUM_ITEMS), overfetch=16),
    "ivf_fastscan": Settings("ivf_fastscan", nprobe=num_lists(NUM_ITEMS), overfetch=16),
    "hnsw": Settings("hnsw", ef_search=1000),
}


def unit(random, num_rows, num_clusters=0):
    rows = random.standard_normal((num_rows, 16))
    if num_clusters:
        rows = 0.5 * rows + random.standard_normal((num_clusters, 16))[random.integers(0, num_clusters, num_rows)]
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def brute_force(embeddings, query, allowed, count):
    """Item rows, by score and then by row, and their scores."""
    scores = quantise(embeddings @ query, SCORE_STEP)
    rows = np.flatnonzero(allowed)
    best = rows[np.lexsort((rows, -scores[rows]))][:count]
    return best, scores[best]


def pack(eligible):
    return np.packbits(eligible, bitorder="little")


@pytest.fixture(scope="module")
def vectors():
    random = np.random.default_rng(0)
    clusters = unit(random, NUM_ITEMS + 64, num_clusters=30)
    return clusters[:NUM_ITEMS], clusters[NUM_ITEMS:]


@pytest.fixture(scope="module")
def index_of(vectors, tmp_path_factory):
    opened = {EXACT: None}
    for kind in KINDS:
        path = tmp_path_factory.mktemp("index") / f"{kind}.faiss"
        faiss.write_index(build(kind, vectors[0]), str(path))
        opened[kind] = open_index(path, NUM_ITEMS)
    return opened


# Share of eligible items, and how many are blocked for each query.
FILTERS = {"none": (1.0, 0), "seen": (1.0, 40), "rules and seen": (0.5, 400), "nearly everything": (0.01, 5)}


@pytest.mark.parametrize("filters", FILTERS)
@pytest.mark.parametrize("kind", [EXACT, *KINDS])
def test_every_kind_finds_what_brute_force_finds(vectors, index_of, kind, filters):
    embeddings, queries = vectors
    share, num_blocked = FILTERS[filters]
    random = np.random.default_rng(1)
    eligible = random.random(NUM_ITEMS) < share
    search = ItemSearch(embeddings, Allowed(pack(eligible)), THOROUGH[kind], index_of[kind])
    found_share = []
    for query in queries:
        blocked = np.sort(random.choice(NUM_ITEMS, num_blocked, replace=False))
        allowed = eligible.copy()
        allowed[blocked] = False
        rows, scores = search.nearest(query, blocked, 50)
        expected, expected_scores = brute_force(embeddings, query, allowed, 50)
        assert len(rows) == len(expected) > 0  # full whenever enough items are left
        assert allowed[rows].all()
        assert len(np.unique(rows)) == len(rows)
        np.testing.assert_allclose(scores, (embeddings @ query)[rows], atol=1e-6)
        assert rows.tolist() == rows[np.lexsort((rows, -scores))].tolist()
        if kind in (EXACT, "ivf"):
            np.testing.assert_allclose(scores, expected_scores, atol=2 * SCORE_STEP)
        found_share.append(np.isin(rows, expected).mean())
    assert np.mean(found_share) > 0.97


@pytest.mark.parametrize("share", [0.5, 0.25, 0.1, 0.05])
@pytest.mark.parametrize("kind", ["ivf", "ivf_fastscan", "hnsw"])
def test_settings_tuned_with_every_item_eligible_hold_where_few_are(vectors, index_of, kind, share):
    embeddings, queries = vectors
    tuned = Settings(kind, nprobe=10, ef_search=60, overfetch=2, share_eligible=1.0)

    def recall(settings, share):
        eligible = np.random.default_rng(5).random(NUM_ITEMS) < share
        search = ItemSearch(embeddings, Allowed(pack(eligible)), settings, index_of[kind])
        return np.mean([
            np.isin(brute_force(embeddings, query, eligible, 25)[0], search.nearest(query, none, 25, fill=False)[0])
            for query in queries
        ])  # fmt: skip

    none = np.zeros(0, np.int64)
    assert recall(tuned, share) >= min(recall(tuned, 1.0), 0.99) - 0.005
    if kind == "ivf" and share == 0.25:
        assert recall(dataclasses.replace(tuned, share_eligible=0.0), share) < recall(tuned, share)


@pytest.mark.parametrize("kind", KINDS)
def test_a_hurried_search_still_fills_every_slate(vectors, index_of, kind):
    embeddings, queries = vectors
    eligible = np.random.default_rng(2).random(NUM_ITEMS) < 0.3
    hurried = Settings(kind, nprobe=1, ef_search=1, overfetch=1)
    search = ItemSearch(embeddings, Allowed(pack(eligible)), hurried, index_of[kind])
    for query in queries:
        rows, scores = search.nearest(query, np.zeros(0, np.int64), 90)
        assert len(rows) == 90
        assert eligible[rows].all()
        assert (np.diff(scores) <= 0).all()


def test_an_index_that_checks_no_filters_is_asked_for_more(vectors, index_of, monkeypatch):
    # What a search on a GPU does; here the same index answers on the CPU.
    embeddings, queries = vectors
    monkeypatch.setattr("runtime.index.search._has_gpu", lambda: True)
    monkeypatch.setattr("runtime.index.search._to_gpu", lambda index, *rest: index)
    eligible = np.random.default_rng(2).random(NUM_ITEMS) < 0.7
    index_of["ivf"].nprobe = num_lists(NUM_ITEMS)
    settings = Settings("ivf", "gpu", nprobe=num_lists(NUM_ITEMS))
    search = ItemSearch(embeddings, Allowed(pack(eligible)), settings, index_of["ivf"])
    blocked = np.arange(0, 60)
    for query in queries:
        expected = brute_force(embeddings, query, eligible & (np.arange(NUM_ITEMS) >= 60), 50)
        np.testing.assert_allclose(search.nearest(query, blocked, 50)[1], expected[1], atol=2 * SCORE_STEP)


@pytest.mark.parametrize("kind", [EXACT, "ivf"])
def test_equal_items_go_by_row_however_many_they_are(kind, tmp_path):
    random = np.random.default_rng(3)
    embeddings = unit(random, 600)
    query = unit(random, 1)[0]
    embeddings[random.permutation(600)[:400]] = 0.0  # far more than any margin, at the end of what is retrieved
    embeddings[[7, 300, 599]] = query
    settings, index = Settings(kind, nprobe=num_lists(600)), None
    if kind != EXACT:
        faiss.write_index(build(kind, embeddings), str(tmp_path / "i"))
        index = open_index(tmp_path / "i", 600)
    search = ItemSearch(embeddings, Allowed(pack(np.ones(600, bool))), settings, index)
    rows, scores = search.nearest(query, np.array([300]), 250)
    expected = brute_force(embeddings, query, np.arange(600) != 300, 250)
    assert rows[:2].tolist() == [7, 599]
    assert rows[np.abs(scores) == 0].tolist() == expected[0][expected[1] == 0].tolist()


@pytest.mark.parametrize("forced", ["auto", *KINDS])
@pytest.mark.parametrize("shape", ["one item", "two equal", "all equal", "all zero", "fewer than lists", "odd width"])
def test_degenerate_catalogues_are_answered_in_full(shape, forced, tmp_path):
    random = np.random.default_rng(4)
    embeddings = {
        "one item": unit(random, 1),
        "two equal": np.repeat(unit(random, 1), 2, axis=0),
        "all equal": np.repeat(unit(random, 1), 700, axis=0),
        "all zero": np.zeros((700, 16), np.float32),
        "fewer than lists": unit(random, 31),
        "odd width": unit(random, 300)[:, :7].copy(),
    }[shape]
    num_items = len(embeddings)
    queries = np.concatenate([embeddings[:1], unit(random, 2)[:, : embeddings.shape[1]]])
    workload = Workload(queries, [np.zeros(0, int)] * 3, np.ones(num_items, bool), 20, min(20, num_items))
    config = IndexConfig(kind=forced, exact_up_to=0, target_index_recall=1.0)
    advice = advise(embeddings, workload, config, tmp_path)
    picked = advice.picked
    settings = Settings(picked.kind, "cpu", picked.nprobe, picked.ef_search, picked.overfetch)
    index = None if picked.kind == EXACT else open_index(tmp_path / "index.faiss", num_items)
    assert (tmp_path / "index.faiss").exists() == (index is not None)
    search = ItemSearch(embeddings, Allowed(pack(np.ones(num_items, bool))), settings, index)
    for query in queries:
        rows, scores = search.nearest(query, np.zeros(0, np.int64), 20)
        assert len(np.unique(rows)) == min(20, num_items)
        if picked.index_recall_at_k == 1.0 or shape != "odd width":
            expected = brute_force(embeddings, query, np.ones(num_items, bool), 20)[1]
            np.testing.assert_allclose(scores, expected, atol=1e-5)


def workload_of(vectors, share=0.9, num_blocked=30, cutoff=20):
    random = np.random.default_rng(5)
    embeddings, queries = vectors
    blocked = [np.sort(random.choice(len(embeddings), num_blocked, replace=False)) for _ in queries]
    return Workload(queries, blocked, random.random(len(embeddings)) < share, 40, cutoff)


def alone_by_hand(embeddings, workload, search):
    """The smaller of recall and share of full answers, without exact searches in the index's place."""
    shares, full = [], []
    for query, blocked in zip(workload.queries, workload.blocked, strict=True):
        allowed = workload.eligible.copy()
        allowed[blocked] = False
        truth = brute_force(embeddings, query, allowed, workload.cutoff)[0]
        rows = search.nearest(query, blocked, 40, fill=False)[0]
        shares.append(np.isin(truth, rows[: workload.cutoff]).mean())
        full.append(len(rows) == 40)
    return min(np.mean(shares), np.mean(full))


@pytest.mark.parametrize("kind", KINDS)
def test_a_forced_kind_is_tuned_to_the_target_and_its_recall_is_true(vectors, kind, tmp_path):
    embeddings, workload = vectors[0], workload_of(vectors)
    advice = advise(embeddings, workload, IndexConfig(kind=kind, target_index_recall=0.9), tmp_path)
    picked = advice.picked
    assert picked.kind == kind
    assert picked.index_recall_at_k >= 0.9
    assert picked.index_bytes == (tmp_path / "index.faiss").stat().st_size
    settings = Settings(picked.kind, "cpu", picked.nprobe, picked.ef_search, picked.overfetch)
    index = open_index(tmp_path / "index.faiss", NUM_ITEMS)
    search = ItemSearch(embeddings, Allowed(pack(workload.eligible)), settings, index)
    alone = measure(search, workload, exact_answers(embeddings, workload), fill=False)
    assert alone_by_hand(embeddings, workload, search) == min(alone.index_recall_at_k, alone.filled) >= 0.9
    served = measure(search, workload, exact_answers(embeddings, workload))
    assert (picked.index_recall_at_k, served.filled) == (served.index_recall_at_k, 1.0)
    if kind == "ivf" and picked.nprobe > 1:
        hurried = Settings("ivf", nprobe=picked.nprobe - 1)
        fewer = ItemSearch(embeddings, Allowed(pack(workload.eligible)), hurried, index)
        assert alone_by_hand(embeddings, workload, fewer) < 0.9
    assert {row.plan for row in advice.measured if row.kind != EXACT} == set(plans_for(kind, NUM_ITEMS))
    assert sorted(row.verdict for row in advice.measured)[-1] == "picked"
    assert sum(row.verdict == "picked" for row in advice.measured) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["index.faiss"]


def test_a_setting_is_not_taken_for_an_exact_search_in_its_place(vectors, tmp_path):
    # One list holds fewer than the candidates: every slate would be filled exactly, at the price of an exact search.
    embeddings, workload = vectors[0], msgspec.structs.replace(workload_of(vectors), num_candidates=200)
    picked = advise(embeddings, workload, IndexConfig(kind="ivf", target_index_recall=0.95), tmp_path).picked
    index = open_index(tmp_path / "index.faiss", NUM_ITEMS)
    search = ItemSearch(embeddings, Allowed(pack(workload.eligible)), Settings("ivf", nprobe=picked.nprobe), index)
    truth = exact_answers(embeddings, workload)
    assert picked.nprobe > 1
    alone = measure(search, workload, truth, fill=False)
    assert min(alone.index_recall_at_k, alone.filled) >= 0.95
    hurried = ItemSearch(embeddings, Allowed(pack(workload.eligible)), Settings("ivf", nprobe=1), index)
    assert measure(hurried, workload, truth).index_recall_at_k == 1.0
    assert measure(hurried, workload, truth, fill=False).filled < 0.95


def test_auto_takes_the_cheapest_that_holds_and_says_why_the_others_were_not(vectors, tmp_path):
    workload = workload_of(vectors)
    config = IndexConfig(exact_up_to=100, exact_within_ms=1e-9, target_index_recall=0.95)
    advice = advise(vectors[0], workload, config, tmp_path)
    assert {row.kind for row in advice.measured} == {EXACT, *KINDS}
    holding = [row for row in advice.measured if row.index_recall_at_k >= 0.95]
    assert advice.picked.ms_per_query == min(row.ms_per_query for row in holding)
    assert all(row.verdict == "below the target" for row in advice.measured if row.index_recall_at_k < 0.95)
    assert sum(row.verdict == "picked" for row in advice.measured) == 1


def test_exact_is_kept_where_little_would_be_saved_and_up_to_the_limit(vectors, tmp_path):
    workload = workload_of(vectors)
    every = 1 + len(plans_for(None, NUM_ITEMS))
    for config, num_rows in ((IndexConfig(exact_up_to=100, exact_within_ms=1e6), every), (IndexConfig(), 1)):
        folder = tmp_path / str(num_rows)
        folder.mkdir()
        advice = advise(vectors[0], workload, config, folder)
        assert (advice.picked.kind, advice.picked.index_recall_at_k) == (EXACT, 1.0)
        assert len(advice.measured) == num_rows
        assert not list(folder.iterdir())  # an exact search reads item_embeddings.npy: no second copy


def test_bounds_leave_kinds_out(vectors, tmp_path):
    workload = workload_of(vectors)
    tight = {"exact_up_to": 100, "exact_within_ms": 1e-9, "sample_items": 800}
    for number, bound in enumerate(({"max_index_mb": 1e-3}, {"max_build_s": 1e-9})):
        folder = tmp_path / str(number)
        folder.mkdir()
        advice = advise(vectors[0], workload, IndexConfig(**tight, **bound), folder)
        assert advice.picked.kind == EXACT
        assert {row.num_items for row in advice.measured if row.kind != EXACT} == {800}
        assert all("would" in row.verdict for row in advice.measured if row.kind != EXACT)


def test_a_large_catalogue_is_compared_on_a_sample_and_tuned_on_the_whole(vectors, tmp_path):
    workload = workload_of(vectors)
    config = IndexConfig(exact_up_to=100, exact_within_ms=1e-9, sample_items=1000, target_index_recall=0.9)
    advice = advise(vectors[0], workload, config, tmp_path)
    on_sample = [row for row in advice.measured if row.num_items == 1000]
    assert {row.kind for row in on_sample} == set(KINDS)
    assert advice.picked.num_items == NUM_ITEMS
    assert advice.picked.index_recall_at_k >= 0.9


def test_of_a_forced_kind_only_the_best_plan_of_the_sample_is_built_on_the_whole(vectors, tmp_path):
    config = IndexConfig(kind="ivf", sample_items=1000, target_index_recall=0.9)
    advice = advise(vectors[0], workload_of(vectors), config, tmp_path)
    on_sample = [row.plan for row in advice.measured if row.num_items == 1000]
    on_whole = [row.plan for row in advice.measured if row.num_items == NUM_ITEMS and row.kind != EXACT]
    assert on_sample == plans_for("ivf", NUM_ITEMS)
    assert on_whole == [advice.picked.plan]
    assert advice.picked.kind == "ivf"


def test_plans_that_come_to_the_same_lists_are_built_once():
    assert plans_for(None, 10_000_000) == list(PLANS)
    few = plans_for(None, 300)  # enough items for 7 lists, whatever was asked for
    assert [plan.kind for plan in few] == ["ivf", "ivf_fastscan", "ivf_pq", "hnsw"]
    assert len({(p.kind, num_lists(3001, p.lists_per_root)) for p in plans_for(None, 3001)}) == 6


def test_a_sample_keeps_each_querys_own_filters(vectors):
    workload = workload_of(vectors)
    rows = np.arange(0, NUM_ITEMS, 3)
    part = workload.among(rows)
    for whole, mine in zip(workload.blocked, part.blocked, strict=True):
        assert rows[mine].tolist() == [row for row in whole.tolist() if row % 3 == 0]
    assert part.eligible.tolist() == workload.eligible[rows].tolist()


def test_the_exact_threshold_leaves_filtered_items_out(vectors):
    embeddings, workload = vectors[0], workload_of(vectors)
    truth = exact_answers(embeddings, workload)
    assert truth.counts.tolist() == [20] * len(workload.queries)
    for query, blocked, kth in zip(workload.queries, workload.blocked, truth.kth, strict=True):
        allowed = workload.eligible.copy()
        allowed[blocked] = False
        expected = brute_force(embeddings, query, allowed, 20)[1][-1]
        assert kth == pytest.approx(expected, abs=2 * SCORE_STEP)
    search = ItemSearch(embeddings, Allowed(pack(workload.eligible)), Settings())
    assert measure(search, workload, truth).index_recall_at_k == 1.0


def test_recall_is_the_share_of_the_first_k_that_belong_there():
    found = [np.array([0.9, 0.8, 0.2, 0.1], np.float32), np.array([0.5], np.float32), np.zeros(0, np.float32)]
    truth = Truth(np.array([0.8, 0.5, -np.inf], np.float32), np.array([4, 2, 0]), np.array([4, 2, 0]))
    assert recall_against(truth, found) == pytest.approx((0.5 + 0.5 + 1.0) / 3)
    assert recall_against(truth, []) == 1.0


@pytest.mark.parametrize("needed", [1, 2, 3, 7, 8, 60, 999, 1000])
def test_the_smallest_setting_is_found_to_an_eighth(needed):
    tried = []
    found = smallest(lambda n: tried.append(n) or n >= needed, 1000)
    assert needed <= found <= max(needed, needed + needed // 7)
    assert len(tried) < 20
    assert smallest(lambda n: n >= needed, needed - 1 or 1) == (None if needed > 1 else 1)


def test_a_bitmap_gives_its_rows_and_is_put_back_after_a_query():
    random = np.random.default_rng(6)
    eligible = random.random(1001) < 0.2
    allowed = Allowed(pack(eligible))
    assert rows_of(allowed.bitmap).tolist() == np.flatnonzero(eligible).tolist()
    assert allowed.num_eligible == eligible.sum()
    blocked = np.unique(random.integers(0, 1001, 300))
    with pytest.raises(RuntimeError), allowed.without(blocked) as num_left:
        left = eligible.copy()
        left[blocked] = False
        assert num_left == left.sum()
        assert rows_of(allowed.bitmap).tolist() == np.flatnonzero(left).tolist()
        assert allowed.holds(np.arange(1001)).tolist() == left.tolist()
        raise RuntimeError
    assert rows_of(allowed.bitmap).tolist() == np.flatnonzero(eligible).tolist()
    assert all(len(part) == 0 for part in pack_rows(np.zeros(0, np.int32)))


@pytest.mark.parametrize("kind", ["ivf", "ivf_fastscan", "ivf_pq"])
def test_items_that_find_their_list_through_a_graph_lie_in_the_same_lists(vectors, kind, monkeypatch, tmp_path):
    embeddings, queries = vectors
    answers = []
    for from_lists in (10_000, 1):
        monkeypatch.setattr("models.index.factory.GRAPH_FROM_LISTS", from_lists)
        index = build(kind, embeddings, lists_per_root=1)
        assert isinstance(faiss.downcast_index(index.quantizer), faiss.IndexFlatIP)
        faiss.write_index(index, str(tmp_path / "i"))
        found = open_index(tmp_path / "i", NUM_ITEMS).search(queries, 40, params=faiss.SearchParametersIVF(nprobe=5))
        answers.append(found[1])
    same = [np.isin(mine, other).mean() for mine, other in zip(*answers, strict=True)]
    assert np.mean(same) > 0.98


def test_lists_grow_with_the_root_of_the_catalogue_to_a_limit():
    assert [num_lists(n) for n in (10, 1_000_000, 10_000_000)] == [1, 4000, 8192]


def test_the_work_of_a_build_is_counted_and_stays_below_the_square():
    assert list_work(1_000_000, 4) == 10 * 256_000 * 4000 + 1_000_000 * 1024
    assert list_work(1_000_000, 1) == 10 * 256_000 * 1000 + 1_000_000 * 1000
    assert list_work(10_000, 4) == 10 * 10_000 * 256 + 10_000 * 256
    assert list_work(10_000_000, 1) == 10 * 2**18 * 3162 + 10_000_000 * 1024
    assert list_work(10_000_000) < 10 * list_work(1_000_000)


def test_an_index_of_another_catalogue_is_refused(vectors, tmp_path):
    faiss.write_index(build("ivf", vectors[0][:500]), str(tmp_path / "i"))
    with pytest.raises(ValueError, match="holds 500 items, the embeddings 501"):
        open_index(tmp_path / "i", 501)


@pytest.mark.gpu("faiss")
@pytest.mark.parametrize("kind", [EXACT, "ivf"])
def test_the_gpu_builds_and_searches_as_brute_force(vectors, kind, tmp_path):
    embeddings, queries = vectors
    index = None
    if kind != EXACT:
        faiss.write_index(build(kind, embeddings, on_gpu=True), str(tmp_path / "i"))
        index = open_index(tmp_path / "i", NUM_ITEMS)
    eligible = np.random.default_rng(2).random(NUM_ITEMS) < 0.7
    settings = Settings(kind, "gpu", nprobe=num_lists(NUM_ITEMS))
    search = ItemSearch(embeddings, Allowed(pack(eligible)), settings, index)
    for query in queries:
        expected = brute_force(embeddings, query, eligible, 50)[1]
        np.testing.assert_allclose(search.nearest(query, np.zeros(0, int), 50)[1], expected, atol=1e-5)
