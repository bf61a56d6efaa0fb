"""Who is in which experiment: the same number always, no user who changes sides, and experiments that are independent.

The cases are from public reports of systems that assign users to variants.
"""

from __future__ import annotations

import copy
import hashlib
import itertools

import numpy as np
import pytest

from cascade_client.assignment import Assigned, Experiment, Experiments, Variant, draw, read_experiments
from cascade_client.errors import BadSetting

NUM_USERS, SOME_USERS = 200_000, 20_000
# A change of one of these moves users of running experiments between variants: it needs a new salt, so never edit one.
GOLDEN = [
    ("margin-1/variant", 0, 0.7770078026848226),
    ("margin-1/variant", 1, 0.7051886184638645),
    ("margin-1/variant", -1, 0.44186298128591994),
    ("margin-1/variant", 7, 0.7088552838164621),
    ("margin-1/variant", "007", 0.03386466645268371),
    ("margin-1/variant", "7 ", 0.804003518745212),
    ("margin-1/variant", 2**63 - 1, 0.010127677615794362),
    ("margin-1/variant", -(2**63), 0.7068172473301679),
    ("margin-1/variant", 123456789, 0.5712753672147615),
    ("margin-1/variant", "user-1", 0.1719071557057168),
    ("margin-1/variant", "User-1", 0.1896149935329412),
    ("margin-1/variant", "\u00e9", 0.8499217355477877),
    ("margin-1/variant", "e\u0301", 0.46565900075094246),
    ("margin-1/variant", "\u6570\u636e", 0.38601291271693494),
    ("margin-1/variant", "", 0.6453678053468149),
    ("margin-1/variant", "a b\tc", 0.9851013787759898),
    ("margin-1/traffic", 7, 0.8892951590012146),
    ("s" * 64, 7, 0.41545175715400473),
    ("\u00df", 7, 0.9913883501207829),
    ("\u00df", "\u00e9", 0.4508528606924569),
]


def halves(name: str = "margin", *, start: float = 0.0, end: float = 1.0, grown: float = 1.0, layer: str = "serving"):
    """An experiment of two equal variants, each of which has the share `grown` of its range."""
    variants = Variant("control", 0.0, 0.5 * grown), Variant("margin", 0.5, 0.5 + 0.5 * grown, "cascade_v4")
    return Experiment(name, f"{name}-1", layer, start, end, variants)


def labels(*experiments: Experiment, holdout: float = 0.0, users: int = SOME_USERS) -> np.ndarray:
    """What each user is in, one text a user."""
    found = Experiments(experiments, "holdout-1", holdout)
    return np.array([each.label for each in found.assign_many(range(users))])


@pytest.mark.parametrize(("salt", "unit", "number"), GOLDEN)
def test_numbers_of_units_are_those_of_every_release(salt: str, unit: int | str, number: float) -> None:
    assert draw(salt, unit) == number
    # The recipe in words, for those who write it in another language.
    first = hashlib.blake2b(str(unit).encode("utf-8"), digest_size=8, key=salt.encode("utf-8")).digest()
    assert int.from_bytes(first, "big") // 2**11 / 2**53 == number


def test_integers_of_every_kind_are_one_unit() -> None:
    assert draw("s", 7) == draw("s", "7") == draw("s", np.int64(7)) == draw("s", np.int32(7)) != draw("s", "07")
    found = Experiments((halves(),))
    assert found.assign_many(np.arange(5)) == found.assign_many(["0", "1", "2", "3", "4"])


def test_numbers_are_even() -> None:
    counts = np.histogram([draw("s", unit) for unit in range(SOME_USERS)], 100, (0, 1))[0]
    expected = SOME_USERS / 100
    # 99 degrees of freedom: above 160 once in 10,000 salts.
    assert ((counts - expected) ** 2 / expected).sum() < 160


def test_a_tenth_of_the_users_is_of_both_variants() -> None:
    found = labels(halves(end=0.1), users=NUM_USERS)
    inside = found != ""
    assert abs(inside.mean() - 0.1) < 0.003
    assert abs((found[inside] == "margin=margin").mean() - 0.5) < 0.01


def test_nobody_changes_variant_when_the_traffic_changes() -> None:
    steps = [labels(halves(end=end), users=NUM_USERS) for end in (1.0, 0.2, 0.5)]
    for before, after in itertools.pairwise(steps):
        stays = (before != "") & (after != "")
        assert (before[stays] == after[stays]).all()
    # Fewer users leave, more users enter, and no other.
    assert set(np.flatnonzero(steps[1] != "")) < set(np.flatnonzero(steps[2] != "")) < set(range(NUM_USERS))


def test_nobody_changes_variant_from_stage_to_stage() -> None:
    stages = [labels(halves(grown=grown)) for grown in (0.01, 0.05, 0.2, 0.5, 1.0)]
    for grown, (before, after) in zip((0.05, 0.2, 0.5, 1.0), itertools.pairwise(stages), strict=True):
        assert (after[before != ""] == before[before != ""]).all()
        assert abs((after != "").mean() - grown) < 0.01


def test_one_variant_goes_to_nobody_and_the_other_stays() -> None:
    whole = labels(halves())
    off = halves()
    off = Experiment(off.name, off.salt, off.layer, 0.0, 1.0, (off.variants[0], Variant("margin", 0.5, 0.5)))
    found = labels(off)
    assert (found[whole == "margin=control"] == "margin=control").all()
    assert (found[whole == "margin=margin"] == "").all()


def test_two_experiments_of_two_layers_are_independent() -> None:
    first, second = halves("a", end=0.1, layer="a"), halves("b", end=0.1, layer="b")
    found = labels(first, second, users=NUM_USERS)
    both = np.array([";" in label for label in found])
    assert abs(both.mean() - 0.01) < 0.001
    # And a user's variant in one says nothing of that in the other.
    sides = found[both]
    assert abs(np.mean([label.count("control") == 1 for label in sides]) - 0.5) < 0.05


def test_experiments_of_one_layer_have_different_users() -> None:
    found = labels(halves("a", end=0.4), halves("b", start=0.4, end=1.0))
    assert not any(";" in label for label in found) and (found != "").all()
    assert abs(np.mean([label.startswith("a") for label in found]) - 0.4) < 0.015


def test_users_who_are_held_out_are_in_nothing() -> None:
    whole, held = labels(halves()), labels(halves(), holdout=0.05)
    out = held == ""
    assert abs(out.mean() - 0.05) < 0.006 and (held[~out] == whole[~out]).all()


def test_the_model_of_a_variant_is_that_of_its_users() -> None:
    found = Experiments((halves(),)).assign_many(range(100))
    assert {each.label: each.model for each in found} == {"margin=control": "", "margin=margin": "cascade_v4"}
    assert Experiments().assign(7) == Assigned("", "")


RECORD = {
    "format": 1,
    "holdout": {"salt": "holdout-1", "share": 0.0},
    "experiments": [
        {
            "name": "margin",
            "salt": "margin-1",
            "layer": "serving",
            "start": 0.0,
            "end": 0.2,
            "variants": [
                {"name": "control", "start": 0.0, "end": 0.5, "model": ""},
                {"name": "margin", "start": 0.5, "end": 1, "model": "cascade_v4"},
            ],
        }
    ],
}


def test_a_record_is_read() -> None:
    assert read_experiments(RECORD) == Experiments((halves(end=0.2),), "holdout-1")
    # What a later release says beside it is not in the way.
    assert read_experiments({**RECORD, "more": 1}) == read_experiments(RECORD)


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        (("format",), 2, "its format is 2, and this client reads 1"),
        (("experiments", 0, "salt"), "s" * 60, "a salt is text of at most 56 bytes"),
        (("experiments", 0, "end"), 1.5, "a share is a number from 0 to 1, got 1.5"),
        (("experiments", 0, "end"), True, "a share is a number from 0 to 1, got True"),
        (("experiments", 0, "start"), 0.9, "goes from 0.9 down to 0.2"),
        (("experiments", 0, "variants", 0, "end"), 0.6, "ranges of variants of 'margin' meet"),
        (("experiments", 0, "variants", 0, "name"), "a=b", "a name is 1 to 40 letters"),
        (("experiments", 0, "variants", 0, "model"), None, "a name is 1 to 40 letters"),
        (("experiments",), RECORD["experiments"] * 2, "ranges of experiments of layer 'serving' meet"),
        (("experiments", 0), {}, "'start' is missing"),
        (("holdout",), {}, "'salt' is missing"),
        (("holdout",), "x", "string ind"),
        ((), [], "list ind"),
    ],
)
def test_what_is_no_record_is_refused_in_a_sentence(path: tuple, value: object, why: str) -> None:
    record: object = copy.deepcopy(RECORD)
    if not path:
        record = value
    else:
        place = record
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
    with pytest.raises(BadSetting, match="experiments cannot be read") as refused:
        read_experiments(record)
    assert why in str(refused.value)
