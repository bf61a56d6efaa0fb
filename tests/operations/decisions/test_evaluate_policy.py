"""`cascade evaluate-policy` and `cascade log check` as a user types them."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from runtime.explore import sample
from scripts.cli import app
from tests.models.ope import tiny
from tests.models.ope.test_target import table


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = table(1_500)
    near = 0.6 * tiny.LOGGED + 0.4 * tiny.TARGET
    pq.write_table(pa.table(rows), "log.parquet")
    other = {name: rows[name] for name in ("request_id", "candidate_ids")}
    pq.write_table(pa.table(other | {"candidate_scores": [near.tolist()] * 1_500}), "other.parquet")
    return rows


def cascade(*arguments):
    done = CliRunner().invoke(app, [*arguments])
    return done.exit_code, done.stdout, done.stderr.replace("\n", " ")


def test_a_number_with_its_interval(here):
    status, said, _ = cascade("evaluate-policy", "log.parquet", "--policy", "other.parquet", "--temperature", "1")
    assert status == 0
    assert "other.parquet at temperature 1, by 1,500 slates of 1,500 users in log.parquet" in said
    assert "cascade_dr" in said and "the answer" in said and "would have earned" in said.splitlines()[-1]
    as_json = json.loads(
        cascade("evaluate-policy", "log.parquet", "--policy", "other.parquet", "--temperature", "1", "--json")[1]
    )
    answer = as_json["found"]["estimates"]["cascade_dr"]
    truth = tiny.under(0.6 * tiny.LOGGED + 0.4 * tiny.TARGET, tiny.rewards("cascade").sum(axis=1))
    assert answer["low"] <= truth <= answer["high"]


def test_too_little_overlap_is_one_sentence_and_another_status(here):
    far = {name: here[name] for name in ("request_id", "candidate_ids", "temperature")}
    pq.write_table(pa.table(far | {"candidate_scores": [(-5 * tiny.LOGGED).tolist()] * 1_500}), "far.parquet")
    arguments = ("evaluate-policy", "log.parquet", "--policy", "far.parquet")
    status, said, _ = cascade(*arguments)
    assert status == 3 and said.splitlines()[-1].startswith("no number: too little overlap: ")
    assert "cascade_dr" not in said
    status, said, _ = cascade(*arguments, "--json")
    found = json.loads(said)["found"]
    assert status == 3 and found["estimates"] == {} and found["refusal"].startswith("too little overlap")


def test_limits_come_from_the_config(here, tmp_path):
    arguments = ("evaluate-policy", "log.parquet", "--policy", "log.parquet")
    assert cascade(*arguments)[0] == 0
    status, said, _ = cascade(*arguments, "--set", "ope.min_ess=1600")
    assert status == 3 and "min_ess is 1,600" in said
    status, _, error = cascade(*arguments, "--set", "gate.cutoff=3")
    assert status == 1 and "knows keys of [ope] alone" in error
    (tmp_path / "c.toml").write_text("[data]\nsource = 'shop'\n[ope]\nmin_ess = 1601.0\n")
    assert "min_ess is 1,601" in cascade(*arguments, "--config", "c.toml")[1]


def test_a_policy_that_says_no_temperature_is_asked_for_one(here):
    status, _, error = cascade("evaluate-policy", "log.parquet", "--policy", "other.parquet")
    assert status == 1 and "say so with --temperature" in error
    pq.write_table(pa.table(here | {"temperature": [-1.0] * 1_500}), "other.parquet")
    status, _, error = cascade("evaluate-policy", "log.parquet", "--policy", "other.parquet")
    assert status == 1 and "a temperature below 0" in error


class FirstIsFifth:
    """A pin: the first place shows the item e."""

    slot = 0

    def penalties(self):
        allowed = np.array([[self.slot > 0] * 4 + [True]])
        return np.where(np.broadcast_to(allowed, (1_500, tiny.C)), 0.0, np.inf)

    def take(self, places):
        self.slot += 1


def test_the_own_policy_of_a_log_that_was_drawn_with_rules_is_refused(here):
    """At another temperature nobody knows what the pin lets the other places show: a softmax would say anything."""
    utilities = np.tile(tiny.LOGGED, (1_500, 1))
    drawn = sample(utilities, tiny.S, 1.0, np.arange(1_500), None, FirstIsFifth())
    here["item_ids"] = [["abcde"[place] for place in slate] for slate in drawn.places.tolist()]
    here["log_propensity"] = drawn.log_propensity.tolist()
    pq.write_table(pa.table(here), "log.parquet")
    status, said, error = cascade("evaluate-policy", "log.parquet", "--policy", "log.parquet", "--temperature", "2")
    assert status == 1 and "1,500 of 1,500 slates of log.parquet, r0 for one, were drawn with other chances" in error
    assert "pins, caps, floors, diversity or calibration decide too" in error and said == ""
    status, said, _ = cascade("evaluate-policy", "log.parquet", "--policy", "other.parquet", "--temperature", "1")
    assert status in (0, 3) and "other.parquet" in said  # the propensities are right, and another policy is another


def test_a_row_without_a_chance_is_named_and_left_out(here):
    here["log_propensity"][7] = [float("-inf"), -1.0, -1.0]
    pq.write_table(pa.table(here), "log.parquet")
    status, said, _ = cascade("evaluate-policy", "log.parquet", "--policy", "other.parquet", "--temperature", "1")
    assert status == 0 and "left out: r7: a propensity is 0, and yet the item was shown" in said
    status, said, _ = cascade("log", "check", "log.parquet")
    assert status == 1 and "left out: r7: a propensity is 0" in said


def test_a_check_says_what_the_log_holds(here):
    status, said, _ = cascade("log", "check", "log.parquet")
    assert status == 0 and said.startswith("1,500 slates of 1,500 users, up to 3 items, ")
    assert "a softmax of it gives their propensities" in said
    here["candidate_scores"][3] = [0.0] * tiny.C
    pq.write_table(pa.table(here | {"explored": [n > 0 for n in range(1_500)]}), "log.parquet")
    status, said, _ = cascade("log", "check", "log.parquet")
    assert status == 0 and "1 have propensities that a softmax of it does not give" in said and "r3 for one" in said
    assert "1 further slates were not drawn by chance" in said
    status, said, _ = cascade("log", "check", "log.parquet", "--json")
    found = json.loads(said)
    assert (status, found["num_slates"], found["num_fixed"], found["num_slots"]) == (0, 1_499, 1, 3)
    assert (found["num_unexplained"], found["unexplained_request"], found["refused"]) == (1, "r3", [])
    del here["candidate_scores"]
    pq.write_table(pa.table(here), "log.parquet")
    assert "does not say what the slates were chosen from" in cascade("log", "check", "log.parquet")[1]


def test_probabilities_given_as_logarithms_are_refused(here):
    here["propensity"] = here.pop("log_propensity")
    pq.write_table(pa.table(here), "log.parquet")
    status, _, error = cascade("log", "check", "log.parquet")
    assert status == 1 and "log_propensity given where propensity is expected" in error
