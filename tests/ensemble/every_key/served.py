"""Keys of [chain], [evaluate], [gate], [ope] and [search]."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cascade_client.assignment import Experiment, Variant
from ensemble.config import Config
from tests.ensemble.every_key.case import Case
from tests.ensemble.every_key.tables import eligible
from tests.ensemble.synthetic import make_run

__all__ = ["CASES"]


def chain(config: Config, folder: Path) -> Any:
    """What the compiled chain reports of itself."""
    from ensemble.export.compile import compile_chain

    run, made = make_run(folder / "run", utility=config.chain.order.utility)
    made = msgspec.structs.replace(made, chain=config.chain, stream=config.stream)
    compile_chain(run, made, folder / "chain", "serve")
    return json.loads((folder / "chain" / "chain.json").read_text())


def plan(config: Config, folder: Path) -> str:
    """What the graph compiles into."""
    chain(config, folder)
    return (folder / "chain" / "plan.json").read_text()


def repository(config: Config, folder: Path) -> list[str]:
    """The configs of the exported models."""
    from ensemble.export.stage import export

    run, made = make_run(folder / "run")
    export(run, msgspec.structs.replace(made, chain=config.chain))
    found = sorted(run.folder("repo").rglob("config.pbtxt"))
    return [str(path.relative_to(run.root)) + path.read_text() for path in found]


def rule(**keys: str) -> str:
    """One eligibility rule, with some other keys."""
    keys = {"column": "'number'", "op": "'<'", "value": "9.0"} | keys
    return "chain.rules=[{" + ", ".join(f"{name}={value}" for name, value in keys.items()) + "}]"


WRITTEN = {
    "boosts": {"column": "'number'", "op": "'<'", "value": "9.0", "times": "2.0"},
    "caps": {"column": "'number'", "most": "2"},
    "floors": {"column": "'number'", "op": "'<'", "value": "9.0", "least": "1"},
    "pins": {"item": "1", "slot": "1"},
}


def listed(kind: str, **keys: str) -> str:
    """One boost, cap, floor or pin, with some other keys; an empty one is left out."""
    written = {name: value for name, value in (WRITTEN[kind] | keys).items() if value}
    return f"chain.{kind}=[{{" + ", ".join(f"{name}={value}" for name, value in written.items()) + "}]"


def rules(config: Config, folder: Path) -> Any:
    """What the rules of slates compile into, for items with a number each."""
    from ensemble.export.slate_files import TAKEN_FILE, slate_files
    from ensemble.export.slate_rules import order_spec
    from workflows.core.run import Run

    (folder / "data/ids").mkdir(parents=True)
    np.save(folder / "data/ids/items.npy", np.arange(1, 13))
    items = pa.table({"item_id": np.arange(1, 13), "number": [float(n % 6) * 3 for n in range(12)]})
    pq.write_table(items, folder / "data/items.parquet")
    spec = order_spec(Run(folder), config, "serve")
    made = slate_files(Run(folder), config)
    arrays = [make().tolist() for name, make in made.items() if name != TAKEN_FILE]  # it reads the features
    return spec, arrays


def price(config: Config, folder: Path) -> Any:
    """What a floor that is a share over all slates becomes."""
    chain(config, folder)
    return np.load(folder / "chain/order/boosts_0.npy").tolist()


SHARE = "chain.floors=[{{column='price', op='<', value=-0.5, share={}}}]"
RULE = (rule(),)
SMALL = tuple(f"chain.{each}" for each in ("num_candidates=30", "slate_size=5", "max_slate_size=20"))
SMALL = (*SMALL, "evaluate.cutoffs=[5, 10]")
EXPLORING = (*SMALL, "chain.order.explore=softmax")
CHAIN = [
    *(
        Case(f"chain.{change}", chain, SMALL)
        for change in (
            *("num_candidates=40", "slate_size=7", "max_slate_size=21", "max_batch_size=7", "instances=77"),
            *("max_list_length=77", "filter_seen=false"),
        )
    ),
    Case("chain.order.utility='2*click'", chain, (*SMALL, "ranking.tasks.click.label=click")),
    *(
        Case(f"stream.{change}", chain, (*SMALL, "stream={}"))
        for change in (
            "ack=memory",
            "dedupe_last=7",
            "max_future_s=7.0",
            "segment_mb=7",
            "max_staleness_s=7.0",
            "audit_share=0.5",
        )
    ),
    Case("stream.popular_by=nothing", chain, (*SMALL, "stream={}")),
    # Each is refused without the other; tests/ensemble/stream/test_addresses.py has both together.
    Case("stream.source=kafka://broker/clicks", chain, (*SMALL, "stream={}")),
    Case("stream.store=redis://host", chain, (*SMALL, "stream={}")),
    Case(rule(column="'item_id'"), eligible, RULE, of="chain.rules[N].column"),
    Case(rule(op="'>'"), eligible, RULE, of="chain.rules[N].op"),
    Case(rule(value="3.0"), eligible, RULE, of="chain.rules[N].value"),
    Case("chain.graph=tests.ensemble.graphs:without_ranker", plan, SMALL),
    Case("chain.order.explore=softmax", chain, SMALL),
    Case("chain.order.temperature=0.7", chain, EXPLORING),
    Case("chain.order.share=0.7", chain, EXPLORING),
    Case("chain.order.diversity=mmr", chain, SMALL),
    Case("chain.order.strength=0.5", chain, (*SMALL, "chain.order.diversity=dpp")),
    Case("chain.order.alike=['category']", chain, (*SMALL, "chain.order.diversity=dpp")),
    Case(
        "chain.order.calibrate={column='item_id'}",
        rules,
        ("chain.order.calibrate={column='number'}",),
        of="chain.order.calibrate.column",
    ),
    Case(
        "chain.order.calibrate={column='category', strength=0.7}",
        chain,
        (*SMALL, "chain.order.calibrate={column='category'}"),
        of="chain.order.calibrate.strength",
    ),
    Case("chain.order.max_utility_loss=0.5", chain, (*SMALL, "chain.order.diversity=mmr", "chain.order.strength=auto")),
    *(
        Case(listed(kind, **{key: value}), rules, (listed(kind),), of=f"chain.{kind}[N].{key}")
        for kind, key, value in (
            ("boosts", "column", "'item_id'"),
            ("boosts", "op", "'>'"),
            ("boosts", "value", "3.0"),
            ("boosts", "times", "3.0"),
            ("caps", "column", "'item_id'"),
            ("caps", "most", "3"),
            ("caps", "top", "4"),
            ("floors", "column", "'item_id'"),
            ("floors", "op", "'>'"),
            ("floors", "value", "3.0"),
            ("floors", "least", "2"),
            ("floors", "top", "4"),
            ("pins", "item", "2"),
            ("pins", "slot", "3"),
            *((kind, "until", "2999-12-24") for kind in WRITTEN),
        )
    ),
    Case(SHARE.format(0.8), price, (*SMALL, SHARE.format(0.6)), of="chain.floors[N].share"),
    Case(listed("boosts", times="", add="1.0"), rules, (listed("boosts"),), of="chain.boosts[N].add"),
    Case("chain.layouts=['fused']", repository, SMALL),
    Case("chain.onnx_steps=onnxruntime", repository, SMALL),
    Case("chain.device=gpu", repository, SMALL),
    Case("chain.device_precision=float16", chain, (*SMALL, "chain.device=gpu")),
    Case("chain.queue_delay_us=300", repository, (*SMALL, "chain.device=gpu")),
]


def measured(config: Config, folder: Path) -> Any:
    """The figures of two sources on a synthetic run."""
    from ensemble.evaluation.measure import Slates
    from ensemble.evaluation.setting import open_setting
    from ensemble.evaluation.stage import measure
    from tests.ensemble.test_evaluation import make_evaluated_run

    run, made = make_evaluated_run(folder / "run")
    config = msgspec.structs.replace(made, evaluate=config.evaluate)
    setting = open_setting(run, config)
    rng = np.random.default_rng(1)
    rows = np.stack([rng.permutation(300)[:20] for _ in range(len(setting.queries))])
    scores = np.tile(np.linspace(1, 0, 20, dtype=np.float32), (len(rows), 1))
    answers = {name: Slates(name, rows[:, ::step], scores, 1.0) for name, step in (("chain", 1), ("retrieval", -1))}
    found = measure(run, config, setting, answers)
    return json.dumps({name: found[name] for name in ("cutoffs", "sources", "slices", "data")}, default=str)


def examples(config: Config, folder: Path) -> list[int]:
    """The users that the report shows."""
    from ensemble.evaluation.examples import _draw
    from ensemble.evaluation.measure import Slates
    from ensemble.evaluation.setting import open_setting
    from tests.ensemble.test_evaluation import make_evaluated_run

    run, made = make_evaluated_run(folder / "run")
    config = msgspec.structs.replace(made, evaluate=config.evaluate)
    queries = open_setting(run, config).queries
    rows = np.zeros((len(queries), 20), np.int64)
    found: list[int] = _draw(config, queries, Slates("chain", rows, rows * 1.0, 1.0)).tolist()
    return found


def label(config: Config, folder: Path) -> str:
    """What makes a test event relevant."""
    from ensemble.evaluation.queries import relevant_label

    return relevant_label(config)


def truth(config: Config, folder: Path) -> list[int]:
    """The users whose best slate is worked out."""
    from ensemble.evaluation.stage import drawn_for_truth

    found: list[int] = drawn_for_truth(config, 50).tolist()
    return found


def baselines(config: Config, folder: Path) -> Any:
    """Who is measured beside the chain, and what each is tuned over."""
    from models.baselines.choices import chosen_baselines, why_not

    chosen = chosen_baselines(config.evaluate.baselines, config.evaluate.knn_neighbours)
    return [(choice.name, dict(choice.grid), why_not(choice, config.evaluate.baselines, 100)) for choice in chosen]


def tuned(config: Config, folder: Path) -> Any:
    """How far a search comes, over users of the valid split."""
    from models.baselines.fitted import load_validation
    from models.baselines.tuning import search
    from tests.ensemble.test_evaluation import make_evaluated_run

    run, _ = make_evaluated_run(folder / "run")
    own = config.evaluate.baselines
    users = load_validation(run, own.tuning_users, config.evaluate.seed).users.tolist()
    return users, len(search({"a": (1, 2, 3)}, lambda params: time.sleep(0.02) or 0.0, own.budget_s).trials)


def targets(config: Config, folder: Path) -> Any:
    """What becomes of the lines to reach."""
    from ensemble.evaluation.targets import check_targets

    metrics = {"sources": {name: {"recall@10": {"value": v}} for name, v in (("chain", 0.5), ("ease", 0.4))}}
    return check_targets(metrics, config.evaluate.targets)


def target(**keys: str) -> str:
    """One line to reach, with some other keys."""
    keys = {"value": "'sources.chain.recall@10'", "above": "0.4"} | keys
    return "evaluate.targets=[{" + ", ".join(f"{name}={value}" for name, value in keys.items() if value) + "}]"


TARGET, BASELINES = (target(),), ("evaluate.baselines.use=true",)
EVALUATE = [
    *(
        Case(f"evaluate.{change}", measured, SMALL)
        for change in ("cutoffs=[5, 20]", "num_users=9", "num_bootstrap=50", "segments=['age_group']", "seed=2")
    ),
    Case("evaluate.knn_neighbours=[7]", baselines),
    Case("evaluate.relevant_label=buy", label),
    Case("evaluate.num_truth_users=9", truth, base="shop"),
    Case("evaluate.num_examples=2", examples, SMALL),
    Case("evaluate.baselines.use=true", baselines),
    Case("evaluate.baselines.names=['ease']", baselines, BASELINES),
    Case("evaluate.baselines.ease_up_to_items=50", baselines, BASELINES),
    Case("evaluate.baselines.budget_s=0.01", tuned),
    Case("evaluate.baselines.tuning_users=9", tuned),
    Case(target(value="'sources.ease.recall@10'"), targets, TARGET, of="evaluate.targets[N].value"),
    Case(target(name="'a line'"), targets, TARGET, of="evaluate.targets[N].name"),
    Case(target(above="0.9"), targets, TARGET, of="evaluate.targets[N].above"),
    Case(target(above="", at_least="0.9"), targets, TARGET, of="evaluate.targets[N].at_least"),
    Case(target(above="", below="0.9"), targets, TARGET, of="evaluate.targets[N].below"),
    Case(target(times="2.0"), targets, TARGET, of="evaluate.targets[N].times"),
]


def gated(config: Config, folder: Path) -> Any:
    """What is decided of a candidate that loses a little of everything, and of one that gains."""
    from operations.gate.decide import decide
    from operations.gate.requests import request_rows
    from tests.operations.gate.evidence import SHADOW, evidence

    rows = tuple(request_rows(SHADOW, config.gate))
    found = [decide(evidence(gain, further=rows), config.gate) for gain in (-0.03, 0.2)]
    found.append(decide(evidence(0.2), config.gate))
    return [msgspec.to_builtins(decision) for decision in found]


def categories(config: Config, folder: Path) -> Any:
    """Which column says an item's category."""
    from operations.shadow.shadow import categories_of

    (folder / "data/ids").mkdir(parents=True)
    np.save(folder / "data/ids/items.npy", np.array([1, 2]))
    pq.write_table(pa.table({"category": ["x", "y"], "brand": ["a", "b"]}), folder / "data/items.parquet")
    return categories_of(folder, config.gate.category)


GATE = [
    Case(f"gate.{change}", gated)
    for change in (
        *("cutoff=5", "max_loss=0.5", "max_logloss=0.5", "max_calibration=0.5", "max_slice_loss=0.5"),
        *("min_slice_users=7", "max_age_days=7", "num_bootstrap=50", "seed=2"),
        *("min_requests=7", "max_short=0.5", "max_cpu=0.5", "min_coverage=0.5", "min_exposure=0.1"),
        "expected=['blue']",
    )
]
GATE.append(Case("gate.category=brand", categories))


def policy_evaluated(config: Config, folder: Path) -> Any:
    """What is said of a policy near to the logged one, and of one far from it."""
    from models.ope.evaluate import evaluate
    from tests.models.ope.tiny import LOGGED, evidence

    found = [evaluate(evidence(800, part * LOGGED), config.ope) for part in (0.9, 0.4)]
    return [msgspec.to_builtins(each) for each in found]


OPE = [
    Case(f"ope.{change}", policy_evaluated)
    for change in ("min_ess=700", "max_weight_share=0.001", "estimators=['rips']", "interval='bootstrap-t'")
]


def study(config: Config, folder: Path) -> Any:
    """What the search opens: its metric, its space, when it prunes, what it draws first."""
    pytest.importorskip("optuna", reason="the extra 'search' is not installed")
    from ensemble.search.space import parse_space
    from ensemble.search.study import _open_study, searched_metric

    found = _open_study(folder, config.search, "m", searched_metric(config))
    pruner, draws = vars(found.pruner), [found.ask().suggest_float("x", 0, 1) for _ in range(3)]
    return searched_metric(config), parse_space(config.search.params), str(sorted(map(str, pruner.items()))), draws


def trials(config: Config, folder: Path) -> int:
    """How many trials are trained."""
    pytest.importorskip("optuna", reason="the extra 'search' is not installed")
    from ensemble.search.study import _open_study, searched_metric, trials_left

    found = _open_study(folder, config.search, "m", searched_metric(config))
    return trials_left(found, config.search)


SPACE = ("search.params={'retrieval.temperature'='uniform(0.1, 0.2)'}",)
SEARCH = [
    Case("search.params={'retrieval.temperature'='uniform(0.1, 0.3)'}", study, SPACE),
    *(Case(f"search.{change}", study, SPACE) for change in ("stage=ranking", "metric=loss", "seed=2")),
    *(Case(f"search.{change}", study, SPACE) for change in ("num_warm_up_trials=9", "num_warm_up_epochs=9")),
    Case("search.num_trials=3", trials, SPACE),
]


def experiment(config: Config, folder: Path) -> Any:
    """Who would be in which variant, and what is looked at."""
    from operations.experiments.plan import planned
    from operations.experiments.record import Record

    runs = [variant.run for variant in config.experiments["e"].variants]
    return runs, msgspec.to_builtins(planned(config, "e", Record()))


def held_out(config: Config, folder: Path) -> Any:
    """Who is in no experiment."""
    from cascade_client.assignment import Experiments

    found = Experiments(HALVES, config.holdout.salt, config.holdout.share)
    return [found.assign(user).label for user in range(200)]


TWO = "experiments.e.variants=[{name='a'}, {name='b'}]"
OTHER_RUN = "experiments.e.variants=[{name='a'}, {name='b', run='r'}]"
VARIANTS = "experiments.e.variants=[{name='a'}, {name='%s', weight=%s, run='%s'}]"
HALVES = (Experiment("e", "e-1", "l", 0.0, 1.0, (Variant("a", 0.0, 0.5), Variant("b", 0.5, 1.0))),)
EXPERIMENTS = [
    Case("experiments.e.kind=interleave", experiment, (OTHER_RUN,)),
    *(
        Case(VARIANTS % values, experiment, (TWO,), of=f"experiments.NAME.variants[N].{key}")
        for key, values in (("name", ("c", 1.0, "")), ("weight", ("b", 3.0, "")), ("run", ("b", 1.0, "runs/b")))
    ),
    *(
        Case(f"experiments.e.{change}", experiment, (TWO,))
        for change in (
            *("salt=x", "layer=x", "traffic=0.5", "metric=buy", "guardrails=['ctr']", "tolerance=0.5"),
            *("stages=[0.5]", "min_hours=1.0", "min_exposures=7", "users=7", "alpha=0.1"),
        )
    ),
    Case("holdout.share=0.5", held_out),
    Case("holdout.salt=x", held_out, ("holdout.share=0.5",)),
]

CASES = [*CHAIN, *EVALUATE, *GATE, *OPE, *SEARCH, *EXPERIMENTS]
