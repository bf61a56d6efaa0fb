"""Keys of [retrieval], [neighbours], [index] and [ranking]."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from scipy import sparse

from ensemble.config import Config
from models.dataset.features import Features, State, load_events, load_features, positive_label
from models.ranking.tasks import DAY_NS, label_matrix, resolve_tasks
from models.retrieval.settled import TowerTraining, settled
from tests.ensemble.every_key.case import Case
from tests.ensemble.every_key.tables import device_of
from tests.models.checkerboard import SCHEMA, checkerboard_run
from tests.models.facts import FACTS, ORDERED
from workflows.core.quiet import quiet
from workflows.features.schema import FeatureSchema

__all__ = ["CASES", "SLOW_CASES"]


def training(config: Config, folder: Path | None = None) -> TowerTraining:
    """Every number of the towers' training, on a log that is as ordered as the config says."""
    return settled(config.retrieval, ORDERED if config.data.timestamp else FACTS)


def towers(config: Config, folder: Path) -> list[Any]:
    """The shapes of both towers' weights."""
    quiet()
    from models.retrieval.towers import build_towers

    return [tuple(variable.shape) for variable in build_towers(SCHEMA, training(config)).variables]


def label_of(section: str) -> Any:
    """The label that a section trains on."""
    schema = FeatureSchema(SCHEMA.features, ["click", "buy"], None, 3)
    return lambda config, folder: positive_label(schema, getattr(config, section).label)


def retrieval(*changes: str, examples: str = "", base: str = "ordered", given: tuple[str, ...] = ()) -> list[Case]:
    section = f"retrieval.{examples}." if examples else "retrieval."
    return [Case(section + change, training, given, base) for change in changes]


OF_EVENTS = ("retrieval.examples=events",)
MIXED = (*OF_EVENTS, "retrieval.events.negatives=mixed")
CONTRAST = ("negatives=in_batch", "id_dropout=0.7", "history_dropout=0.7", "learning_rate=0.1", "patience=9")
RETRIEVAL = [
    *retrieval("examples=events", "temperature=0.5", "lazy_adam_from=7", "refit_share=0.5", "validation_cutoff=7"),
    *retrieval("validation_users=7", "seed=2"),
    *retrieval("sets_up_to_cells=7", base="plain"),
    Case("retrieval.label=buy", label_of("retrieval")),
    Case("retrieval.device=gpu", device_of("retrieval", "tensorflow"), ("retrieval.device=cpu",)),
    *(Case(f"retrieval.{change}", towers) for change in ("embedding_dim=8", "hidden=[7]", "use_user_id=true")),
    Case("retrieval.share_item_table=false", towers),
    Case("retrieval.windows.num_blocks=2", towers),
    Case("retrieval.windows.num_heads=4", towers),
    *retrieval(*CONTRAST, "dropout=0.7", "batch_size=9", "max_epochs=3", "max_cells=60_000", examples="windows"),
    *retrieval("min_epochs=6", examples="windows", given=("retrieval.windows.max_cells=1",)),
    *retrieval("all_negatives_up_to=3", examples="windows"),
    *retrieval(
        "num_uniform_negatives=9", "logq=false", examples="windows", given=("retrieval.windows.negatives=mixed",)
    ),
    *retrieval(*CONTRAST, "batch_size=9", "max_epochs=3", "all_negatives_up_to=3", examples="events", given=OF_EVENTS),
    *retrieval("num_uniform_negatives=9", "logq=false", examples="events", given=MIXED),
    *retrieval("batch_size=9", "learning_rate=0.1", "max_epochs=3", "max_cells=300", examples="sets", base="plain"),
    *retrieval("patience=9", "id_dropout=0.7", examples="sets", base="plain"),
]


def neighbours(config: Config, folder: Path) -> Any:
    """The choice and the lists of a small log."""
    from models.neighbours.choose import ValidationUsers, choose
    from models.neighbours.weights import fit_weights, to_lists
    from models.retrieval.validation import validation_set

    own, rng = config.neighbours, np.random.default_rng(1)
    has = rng.random((40, 16)) < np.linspace(0.15, 0.6, 16)
    seen = [np.flatnonzero(row) for row in has]
    history = np.array([np.resize(np.append(rows[:4], [-1] * 4), 4) for rows in seen], np.int32)
    ends = np.cumsum([0, *map(len, seen)])
    rows = np.concatenate(seen).astype(np.int32)
    state = State(history=history, seen_indptr=ends, seen_rows=rows, popularity=np.bincount(rows, minlength=16) * 1.0)
    weights = fit_weights(state, own, own.l2, own.walk_powers)
    ids = {"user_id": np.arange(40) + 3, "item_id": np.arange(16) + 3}
    alone = msgspec.structs.replace(SCHEMA, features=[f for f in SCHEMA.features if f.name in ids])
    features = Features(alone, {"user_id": ids["user_id"]}, {"item_id": ids["item_id"]})
    user, item = np.nonzero(~has & (rng.random(has.shape) < 0.3))
    events = type("Positives", (), {"columns": {"user_row": user, "item_row": item, "recent_item_ids": history[user]}})
    users = validation_set(features, events, state, own.validation_users, own.seed)  # type: ignore[arg-type]
    seen = sparse.csr_matrix(has[users.user_row].astype(np.float32))
    embedded = [rng.standard_normal((size, 5)).astype(np.float32) for size in (40, 16)]
    valid = ValidationUsers(users, seen, history[users.user_row], embedded[0][users.user_row], embedded[1])
    choice = choose(weights, valid, own)
    matrix = choice.blend.matrix(weights.regressions[choice.ridge], weights.walks[choice.walk])
    lists = to_lists(matrix, own.longest_list)
    return json.dumps(msgspec.to_builtins(choice)), lists.weights.tolist()


FEW = ("neighbours.validation_cutoff=4", "neighbours.l2=[5.0, 50.0]", "neighbours.regressed=8")
NEIGHBOURS = [
    *(
        Case(f"neighbours.{change}", neighbours, FEW)
        for change in (
            *(
                "regressed=2",
                "walked=2",
                "l2=[1.0]",
                "walk_powers=[0.9, 0.1]",
                "walk_shares=[0.4]",
                "tower_shares=[0.4]",
            ),
            *("recency_boosts=[3.0]", "longest_list=2", "user_power=0.9", "popularity_power=0.9"),
            *("max_pairs=400", "validation_cutoff=9", "validation_users=7"),
        )
    ),
    Case("neighbours.recency_decays=[0.3]", neighbours, (*FEW, "neighbours.recency_boosts=[3.0]")),
    Case("neighbours.seed=2", neighbours, (*FEW, "neighbours.max_pairs=400")),
]


def index(config: Config, folder: Path) -> Any:
    """What the stage reports of its choice: its reason and the figures without times."""
    from models.index.stage import Serving, build_index
    from tests.ensemble.synthetic import make_run

    run, _ = make_run(folder)
    build_index(run, config.index, Serving(num_candidates=30))
    meta = json.loads((run.folder("index") / "meta.json").read_text())
    return {name: meta[name] for name in ("kind", "recall_cutoff", "num_queries", "target_index_recall", "why")}


def advice(config: Config, folder: Path) -> Any:
    """What is chosen among kinds whose figures are given, and how many items a comparison is on."""
    from models.index.advise import _cheapest, _estimate
    from models.index.trial import Tried

    exact = Tried("exact", "cpu", 300, 0, 0, 0, 1, 1.0, 1.0, 0.0, 0)
    ivf = Tried("ivf", "cpu", 300, 16, 4, 0, 1, 1.0, 0.5, 5.0, 2**20)
    found = _cheapest([exact], [ivf, _estimate(ivf, 3000, config.index)], config.index)
    return found.picked.kind, [each.verdict for each in found.measured]


def compared_on(config: Config, folder: Path) -> list[int]:
    """How many items each kind is compared on."""
    from models.index.advise import advise
    from models.index.workload import Workload

    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((600, 8)).astype(np.float32)
    workload = Workload(vectors[:5], [np.zeros(0, np.int64)] * 5, np.ones(600, bool), num_candidates=5, cutoff=5)
    return sorted(each.num_items for each in advise(vectors, workload, config.index, folder).measured)


INDEX = [
    *(Case(f"index.{change}", index) for change in ("kind=exact", "recall_cutoff=7", "num_queries=9")),
    Case("index.exact_up_to=10", compared_on),
    Case("index.target_index_recall=0.5", index),
    Case("index.exact_within_ms=0.7", advice),
    Case("index.max_build_s=4.0", advice),
    Case("index.max_index_mb=0.5", advice),
    Case("index.sample_items=300", compared_on, ("index.exact_up_to=10",)),
    Case("index.device=gpu", device_of("index", "faiss"), ("index.device=cpu",)),
]


def ranker(config: Config, folder: Path) -> Any:
    """The shapes of the ranker's weights."""
    quiet()
    from tests.models.test_ranking_model import ranker as build
    from tests.models.test_ranking_model import schema_of

    model, _ = build(schema_of(), 0, config.ranking)
    return sorted(tuple(variable.shape) for variable in model.trainable_variables)


def item_parts(config: Config, folder: Path) -> str:
    """Where the export puts the item side of the factored ranker."""
    quiet()
    from models.ranking.export import _write_items
    from models.ranking.factor import factor
    from tests.models.test_ranking_model import features_of, schema_of
    from tests.models.test_ranking_model import ranker as build

    schema = schema_of()
    return _write_items(folder, factor(build(schema, 0)[0]), features_of(schema), config.ranking.max_stored_mb)


def drawn(config: Config, folder: Path) -> list[list[int]]:
    """The negatives of four groups among sixty items."""
    from models.ranking.sampling import _Draw

    scores = np.random.default_rng(1).standard_normal((4, 60)).astype(np.float32)
    draw = _Draw(config.ranking, np.linspace(0, 1, 61)[1:], np.random.default_rng(2))
    found: list[list[int]] = draw(scores, np.arange(4)).tolist()
    return found


def example_kind(config: Config, folder: Path) -> bool:
    """Whether the rows are sampled, where the label is 0 and 1."""
    from models.ranking.rules import LabelCounts, why_sampled

    return bool(why_sampled(LabelCounts(np.array([5, 5]), np.array([2, 1])), "click", config.ranking, of_kinds=False))


def pairs(config: Config, folder: Path) -> list[str]:
    """The pair features of impressions."""
    from models.ranking.pairing import choose_pairs

    return choose_pairs(config.ranking, sampled=False)


def tasks(config: Config, folder: Path) -> Any:
    """The tasks in order, with the labels of an event of which all of them happened on day 9 of 10."""
    resolved = resolve_tasks(config.ranking, "click")
    event = {name: np.ones(1) for name in ("click", "buy")} | {"at": np.array([9 * DAY_NS])}
    return resolved, label_matrix(resolved, event, 10 * DAY_NS).tolist()


def refit(config: Config, folder: Path) -> Any:
    """The epochs over train and valid, after one that was the eighth."""
    from models.training.refit import refitting

    return refitting(config.ranking, 8, seed=1).max_epochs


@functools.cache
def _fitted(section: bytes) -> Any:
    import tempfile

    quiet()
    import tensorflow as tf

    from benchmarks.training.examples import NoPairs
    from models.ranking.config import RankingConfig
    from models.ranking.fit import fit
    from models.ranking.groups import ImpressionGroups
    from models.ranking.model import Ranker
    from models.retrieval.checkpoint import Checkpoint

    config, none = msgspec.json.decode(section, type=RankingConfig), np.zeros(0, np.float32)
    with tempfile.TemporaryDirectory() as name:
        run = checkerboard_run(Path(name))
        features = load_features(run)
        train, valid = (ImpressionGroups(load_events(run, s), "click", features, NoPairs()) for s in ("train", "valid"))
        tf.keras.utils.set_random_seed(config.seed)
        model = Ranker(SCHEMA, config, none, none, none)
        return fit(model, train, valid, config, Checkpoint(Path(name) / "scratch", "m"), "m")


def fitted(config: Config, folder: Path) -> Any:
    """The record of every epoch of a small training."""
    return _fitted(msgspec.json.encode(config.ranking))


def send_gate(config: Config, folder: Path) -> Any:
    """What is learnt of a small log of pushes."""
    from models.send_gate.gate import learn
    from models.send_gate.log import read_push_log
    from tests.models.send_gate.made import write_log

    log = read_push_log(write_log(folder / "log", num_users=60), config.send_gate.features)
    return msgspec.structs.replace(learn(log, config.send_gate), config=None)


def notified(config: Config, folder: Path) -> Any:
    """What is decided of two days' candidates, two of each user, and the price after them."""
    from datetime import timedelta

    from operations.notify.candidates import read_candidates
    from operations.notify.notify import notify
    from tests.operations.notify.made import GATE, NOON, write_candidates

    found = []
    for day in range(2):
        path = write_candidates(folder / "c.parquet", np.linspace(-2, 3, 20), 20 * day, user_id=np.arange(20) % 10)
        candidates = read_candidates(path, GATE.encoding.names)
        decided = notify(GATE, candidates, folder / "log", config.send_gate.notify, NOON + timedelta(days=day))
        found.append((decided.answer.to_pydict(), decided.pace))
    return found


BUDGET, QUIET = ("send_gate.notify.budget=2",), ("send_gate.notify.quiet_hours=11:00-13:00",)
PUSHES = ("send_gate.min_decisions=100", "send_gate.horizon_days=7")
SAMPLED = ("ranking.training_examples=sampled",)
TINY = tuple(f"ranking.{each}" for each in ("embedding_dim=4", "top=[6]", "max_epochs=2", "batch_size=64"))
NUMBERS = ("features.items.number.kind=continuous",)
TASKS = tuple(f"ranking.tasks.{each}" for each in ("view.label=click", "order.label=buy", "order.after=view"))
RANKING = [
    *(Case(f"ranking.{change}", ranker) for change in ("embedding_dim=8", "top=[9]", "use_user_id=true")),
    Case("ranking.bottom=[9]", ranker, NUMBERS),
    Case("ranking.label=buy", label_of("ranking")),
    *(
        Case(f"ranking.tasks.order.{change}", tasks, TASKS)
        for change in ("label=click", "after=''", "weight=2.0", "matures_after=3.0")
    ),
    Case("ranking.training_examples=sampled", example_kind),
    *(Case(f"ranking.{c}", drawn, SAMPLED) for c in ("negatives_per_positive=3", "retrieved_negatives=0.2")),
    Case("ranking.candidate_pool=5", drawn, SAMPLED),
    Case("ranking.use_retrieval_score='yes'", pairs),
    Case("ranking.max_stored_mb=0.0", item_parts),
    Case("ranking.embedding_spread=0.0", ranker),
    Case("ranking.refit_share=0.5", refit),
    Case("ranking.device=gpu", device_of("ranking", "tensorflow"), ("ranking.device=cpu",)),
]
SEND_GATE = [
    *(
        Case(f"send_gate.{change}", send_gate, PUSHES)
        for change in ("features=['liking']", "alone=[]", "horizon_days=9", "discount=0.9", "min_decisions=1000000")
    ),
    *(
        Case(f"send_gate.notify.{change}", notified)
        for change in ("budget=2", "explore=0.9", "quiet_hours=11:00-13:00")
    ),
    *(Case(f"send_gate.notify.{change}", notified, BUDGET) for change in ("budget_days=7", "price_step=0.9")),
    Case("send_gate.notify.caps=[{pushes=2}]", notified, of="send_gate.notify.caps[N].pushes"),
    Case("send_gate.notify.caps=[{pushes=1, days=2}]", notified, of="send_gate.notify.caps[N].days"),
    Case("send_gate.notify.time_zone=Asia/Tokyo", notified, QUIET),
]
RUINED = (*TINY, "ranking.max_epochs=7", "ranking.learning_rate=1.0", "ranking.patience=1")
SLOW_CASES = [
    *(
        Case(f"ranking.{change}", fitted, TINY)
        for change in (
            *(
                "batch_size=32",
                "learning_rate=0.1",
                "lazy_adam_from=1",
                "max_epochs=3",
                "id_dropout=0.7",
                "dropout=0.7",
            ),
            "seed=2",
        )
    ),
    Case("ranking.patience=5", fitted, RUINED),
]

CASES = [*RETRIEVAL, *NEIGHBOURS, *INDEX, *RANKING, *SEND_GATE]
