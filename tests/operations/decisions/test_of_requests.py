"""`cascade evaluate-policy MON --policy RUN`: drawn slates of a request log, put to a version by its own code."""

from __future__ import annotations

import json
from datetime import date

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from ensemble.config_order import BoostRule, CapRule, PinRule, end_of
from ensemble.export.stage import export
from models.ope.config import OpeConfig
from operations.decisions.ask import choices_of_run
from operations.decisions.evaluate import Source, evaluate_policy
from operations.decisions.mon import drawn_slates
from operations.folder import CHAINS
from operations.replay.process import started
from operations.replay.requests import Row, questions
from operations.replay.versions import find_given
from operations.replay.worker import parsed
from runtime.chain import Chain
from runtime.explore import sample
from runtime.log.rows import CONTEXT
from runtime.spec import ChainSpec
from scripts.cli import app
from tests.ensemble.exploring import TEMPERATURE as DRAWN_AT
from tests.ensemble.exploring import make_exploring_run
from tests.ensemble.synthetic import UTILITY, item_id
from tests.operations.feedback.made import MINUTE, START, World
from workflows.core.errors import ArtefactError, CascadeError, DataError

pytestmark = pytest.mark.slow

NUM, SIZE, TEMPERATURE = 400, 3, 1.5


def cascade(*arguments):
    done = CliRunner().invoke(app, [str(word) for word in arguments])
    return done.exit_code, done.stdout, done.stderr.replace("\n", " ")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Slates that were drawn from what the version itself gives, and clicks on some of them."""
    root = tmp_path_factory.mktemp("drawn")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        world = World(root)
        chain = root / "repository/cascade/1/chain"
        context = [(column.name, column.dtype) for column in ChainSpec.load(chain).context_columns]
        none = {CONTEXT + name: None for name, _ in context}
        users = [
            (n, world.request(f"r{n}", n % 40, range(SIZE), START + n * MINUTE, user_row=n % 13 - 1))
            for n in range(NUM)
        ]
        rows = [Row({**request, **none}) for _, request in users]
        choices = choices_of_run(world.mon, rows, root / "repository").to_pylist()
    rng, requests, events = np.random.default_rng(0), [], []
    row_of = {item: row for row, item in enumerate(world.ids)}
    for (n, request), choice in zip(users, choices, strict=True):
        scores = np.array(choice["candidate_scores"])
        drawn = sample(scores[None], SIZE, TEMPERATURE, np.array([n]))
        candidates = [row_of[item] for item in choice["candidate_ids"]]
        items = [candidates[place] for place in drawn.places[0]]
        told = {
            "policy": "softmax",
            "explored": True,
            "forced": n % 100 == 7,
            "seed": n,
            "item_rows": items,
            "log_propensity": drawn.log_propensity[0].tolist(),
            "temperature": TEMPERATURE,
            "candidate_rows": [*candidates, -1],
            "candidate_scores": [*scores.tolist(), -np.inf],
        }
        if n % 10 == 3:  # ordered, as most slates of a served chain
            told |= {"policy": "deterministic", "explored": False, "log_propensity": [0.0] * SIZE, "temperature": None}
            told |= {"candidate_rows": None, "candidate_scores": None}
        requests.append({**request, **none, **told})
        at = np.datetime64(request["at"] + MINUTE, "ns")
        events += [
            {"request_id": f"r{n}", "item_id": item, "at": f"{at}Z", "label": "click", "user_id": n % 40}
            for item in items
            if rng.random() < 0.4
        ]
    world.collect(*requests, context=context, explores=True)
    return world, world.events(*events)


@pytest.fixture(scope="module")
def joined(made):
    world, events = made
    with pytest.raises(DataError, match="has no feedback of its drawn slates"):
        drawn_slates(world.mon, "click", 100, asked_again=True)
    assert cascade("feedback", world.mon, "--events", events)[0] == 0
    return world


def evaluated(world, policy, temperature=None, **kwargs):
    return evaluate_policy(Source(world.mon, **kwargs), policy, OpeConfig(), temperature)


def test_a_version_is_asked_for_its_choices_and_gives_those_that_were_drawn_from(joined):
    """Its own policy at the temperature of the log weighs every slate alike, to the last digits of float32."""
    found = evaluated(joined, joined.folder / "repository", TEMPERATURE)
    told = found.found.diagnostics
    forced = NUM // 100
    assert told.num_slates == NUM - NUM // 10 - forced and found.num_fixed == NUM // 10 + forced
    assert told.ess == pytest.approx(told.num_slates, rel=1e-6) and told.num_users == 36
    assert found.found.estimates["snips"].value == pytest.approx(found.found.logged.value, rel=1e-6)
    assert 0.3 * SIZE < found.found.logged.value < 0.5 * SIZE


def test_the_log_is_its_own_policy(joined):
    by_run, by_log = (evaluated(joined, path, 1.3) for path in (joined.folder / "repository", joined.mon))
    assert not by_run.found.refusal
    for name, got in by_run.found.estimates.items():
        assert got.value == pytest.approx(by_log.found.estimates[name].value, rel=1e-5)
    assert "a softmax of it gives their propensities" in cascade("log", "check", joined.mon)[1]
    own = evaluated(joined, joined.mon)
    assert own.temperature == TEMPERATURE and own.found.diagnostics.outside == 0.0


@pytest.mark.parametrize(
    ("slates", "is_refused"), [({"boosts": [{"file": "order/boosts.npy"}]}, False), ({"caps": [{"most": 1}]}, True)]
)
def test_the_own_policy_of_a_chain_with_rules_is_refused(joined, slates, is_refused):
    """Whatever its propensities say: a cap that hardly bound when the log was drawn binds at another temperature."""
    path = joined.folder / "repository/cascade/1/chain/chain.json"
    kept = path.read_text()
    path.write_text(json.dumps(json.loads(kept) | {"order": {"slates": slates}}))
    try:
        status, said, error = cascade("evaluate-policy", joined.mon, "--policy", joined.mon, "--temperature", "2")
    finally:
        path.write_text(kept)
    assert ("by version 1 with pins, caps, floors, diversity or calibration" in error) == is_refused
    assert (status == 1 and not said) if is_refused else "cascade_dr" in said


def test_a_run_that_orders_without_chance_is_asked_at_which_temperature(joined):
    arguments = ("evaluate-policy", joined.mon, "--policy", joined.folder / "repository")
    status, _, error = cascade(*arguments)
    assert status == 1 and "say so with --temperature" in error
    status, said, _ = cascade(*arguments, "--temperature", "1.5", "--json")
    assert status == 0 and json.loads(said)["found"]["estimator"] == "cascade_dr"


def test_the_latest_and_the_label_that_counts(joined):
    assert evaluated(joined, joined.mon, last=50).found.diagnostics.num_slates == 50
    with pytest.raises(DataError, match="has the label buy; the labels are click"):
        evaluated(joined, joined.mon, label="buy")


def test_a_log_that_cannot_be_asked_again_says_why(joined, tmp_path):
    with pytest.raises(CascadeError, match="nowhere"):
        evaluated(joined, tmp_path / "nowhere", 1.0)
    plain = World(tmp_path)
    plain.collect(plain.request("r1", 1, range(SIZE)))
    with pytest.raises(DataError, match="holds no slate that was drawn by chance"):
        evaluated(plain, plain.mon)
    record = joined.mon / CHAINS / f"{joined.key[:16]}.json"
    kept = record.read_text()
    record.write_text(json.dumps(msgspec.json.decode(kept) | {"repositories": {"fused": str(tmp_path / "gone")}}))
    try:
        with pytest.raises((CascadeError, ArtefactError), match="is not here"):
            evaluated(joined, joined.folder / "repository", 1.0)
    finally:
        record.write_text(kept)


def test_a_run_needs_the_requests_and_not_a_plain_log(joined, tmp_path):
    (tmp_path / "log.parquet").write_bytes(b"")
    status, _, error = cascade("evaluate-policy", tmp_path / "log.parquet", "--policy", joined.folder / "repository")
    assert status == 1 and "does not hold what a run is asked" in error


@pytest.mark.parametrize("utility", ["", UTILITY])
def test_choices_are_what_a_chain_that_explores_draws_from(tmp_path, utility):
    run, config = make_exploring_run(tmp_path / "run", utility=utility)
    order = msgspec.structs.replace(config.chain.order, utility=utility)
    boosts = [BoostRule(column="price", op="<", value=0.0, add=0.5)]
    config = msgspec.structs.replace(config, chain=msgspec.structs.replace(config.chain, order=order, boosts=boosts))
    export(run, config)
    version = find_given(run.root, "fused", "", None)
    chain = Chain.load(version.folder / "chain")
    nothing = {"user_row": [3, -1], "recent": [[], []], "excluded": [[], []], "slate_size": [5, 5]}
    context = {column.name: [None, None] for column in chain.spec.context_columns}
    with started(version) as process:
        asked = process.ask({**nothing, "context": context, "choices": True})
    assert asked["temperature"] == [DRAWN_AT] * 2
    chain.run(parsed({**nothing, "context": context, "seed": [1, 2], "policy": ["softmax"] * 2}, chain.spec))
    rows, utilities = chain.sampled
    np.testing.assert_array_equal(asked["candidate_rows"], rows)
    scores = np.array(asked["candidate_scores"], np.int32).view(np.float32)
    np.testing.assert_array_equal(scores[rows >= 0], utilities[rows >= 0])
    assert (chain.spec.order.utility == utility) and len(np.unique(scores[0][rows[0] >= 0])) > 5


def test_requests_are_asked_again_with_the_rules_of_their_day(tmp_path):
    run, config = make_exploring_run(tmp_path / "run")
    pins = [PinRule(item=item_id(5, False), slot=1, until=date(2999, 12, 24))]
    export(run, msgspec.structs.replace(config, chain=msgspec.structs.replace(config.chain, pins=pins)))
    version = find_given(run.root, "fused", "", None)
    columns = Chain.load(version.folder / "chain").spec.context_columns
    values = {"user_row": -1, "recent": [], "excluded": [], "slate_size": 5}
    values |= {CONTEXT + column.name: None for column in columns}
    end = end_of(pins[0].until)
    rows = [Row({**values, "at": at}) for at in (end - 2, end - 1, end)]
    found = []
    with started(version) as process:
        for _, question in questions(rows):
            found += process.ask(question)["item_rows"]
    assert [slate[0] == 5 for slate in found] == [True, True, False]


def test_a_run_whose_slates_follow_rules_is_not_asked_for_a_softmax(tmp_path):
    run, config = make_exploring_run(tmp_path / "run")
    caps = [CapRule(column="category", most=2)]
    export(run, msgspec.structs.replace(config, chain=msgspec.structs.replace(config.chain, caps=caps)))
    version = find_given(run.root, "fused", "", None)
    nothing = {"user_row": [3], "recent": [[]], "excluded": [[]], "slate_size": [5]}
    columns = Chain.load(version.folder / "chain").spec.context_columns
    question = {**nothing, "context": {column.name: [None] for column in columns}}
    with started(version) as process, pytest.raises(CascadeError, match="pins, caps, floors, diversity or calibration"):
        process.ask({**question, "choices": True})
