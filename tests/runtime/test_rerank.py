"""Slates place by place against plain loops, and the probabilities of drawn ones under the same rules."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import chi2

from runtime.explore import NO_PLACE, log_propensities, sample
from runtime.rerank import SlateRuler
from runtime.slate_spec import VECTORS_FILE, Boost, Calibration, Cap, Diversity, Floor, Pin, SlateSpec
from runtime.stream.live import at_instant

STEP = 2.0**-16


def slate(spec, files, rows, utilities, size, history=None):
    """One user's slate as item rows."""
    rows, utilities = np.asarray(rows)[None], np.asarray(utilities, float)[None]
    taken = None if history is None else np.asarray(history, np.int32)[None]
    places = SlateRuler(spec, files).ordered(utilities, rows, np.array([size]), taken)[0]
    return [int(rows[0, place]) for place in places if place >= 0]


def cosine(one, other):
    length = math.sqrt(sum(x * x for x in one) * sum(x * x for x in other))
    return sum(x * y for x, y in zip(one, other, strict=True)) / length if length else 0.0


def most_alike(vectors, item, chosen):
    return max((round(cosine(vectors[item], vectors[other]) / STEP) * STEP for other in chosen), default=0.0)


def mmr_by_loops(utilities, vectors, size, weight):
    """The double loop, as the definition has it."""
    chosen: list[int] = []
    while len(chosen) < min(size, len(utilities)):
        left = [j for j in range(len(utilities)) if j not in chosen]
        value = {j: utilities[j] - weight * most_alike(vectors, j, chosen) for j in left}
        chosen.append(min(left, key=lambda j: (-value[j], j)))
    return chosen


def dpp_by_determinants(utilities, vectors, size, weight, likeness=cosine):
    """Each place by the determinant of the whole slate with the item, anew."""
    chosen: list[int] = []
    while len(chosen) < size:
        value = {}
        for j in set(range(len(utilities))) - set(chosen):
            grams = [
                np.array([[1.0 if a == b else likeness(vectors[a], vectors[b]) for a in items] for b in items])
                for items in (chosen, [*chosen, j])
            ]
            before, after = (np.linalg.det(gram) if len(gram) else 1.0 for gram in grams)
            value[j] = utilities[j] + weight * math.log(max(after / before, STEP))
        chosen.append(min(value, key=lambda j: (-value[j], j)))
    return chosen


def same_values(one, other):
    """Nine tenths of the share of the columns in which two items have the same value."""
    return 0.9 * sum(a == b >= 0 for a, b in zip(one, other, strict=True)) / len(one)


def divergence(shares, shown, size):
    """KL(p | q) of Steck 2018, of a slate of `size` places of which some are still empty."""
    return sum(p * math.log(p / (0.99 * shown.count(value) / size + 0.01 * p)) for value, p in shares.items())


def calibrated_by_divergence(utilities, values, shares, size, weight):
    """Each place by what the item takes off the divergence of the whole slate."""
    chosen: list[int] = []
    while len(chosen) < size:
        now = [values[other] for other in chosen]
        value = {
            j: utilities[j]
            + weight * size * (divergence(shares, now, size) - divergence(shares, [*now, values[j]], size))
            for j in set(range(len(utilities))) - set(chosen)
        }
        chosen.append(min(value, key=lambda j: (-value[j], j)))
    return chosen


class TestCalibration:
    """Shares of a column in slates beside those in histories."""

    def test_each_place_takes_most_off_the_divergence_for_its_utility(self):
        random = np.random.default_rng(11)
        spec = SlateSpec(calibration=Calibration(0.4, "values", "taken"))
        for _ in range(10):
            values, utilities = random.integers(-1, 5, 40).astype(np.int32), random.normal(size=40)
            history = [3, 4, 4, 5, 6, 2, 99, 0, 0]  # codes; of 2 nothing is known, 99 is beyond them, 0 is padding
            files = {"values": values, "taken": np.array([-1, -1, -1, 0, 1, 1, 7], np.int32)}
            shares = {0: 1 / 5, 1: 3 / 5, 7: 1 / 5}
            found = slate(spec, files, range(40), utilities, 8, history)
            assert found == calibrated_by_divergence(utilities.tolist(), values.tolist(), shares, 8, 0.4)

    def test_a_strong_one_shows_the_shares_of_the_history(self):
        files = {"values": np.repeat(np.int32([0, 1, 2]), 10), "taken": np.int32([-1, 0, 1, 2])}
        spec = SlateSpec(calibration=Calibration(9.0, "values", "taken"))
        found = slate(spec, files, range(30), np.linspace(1, 0, 30), 10, [1, 1, 1, 3, 2])
        assert np.bincount(files["values"][found], minlength=3).tolist() == [6, 2, 2]

    def test_without_a_history_or_a_known_value_slates_are_what_they_were(self):
        files = {"values": np.int32([0, 1, -1, 0]), "taken": np.int32([-1, -1])}
        spec = SlateSpec(calibration=Calibration(9.0, "values", "taken"))
        for history in (None, [], [0, 1, 44]):
            assert slate(spec, files, range(4), [1, 2, 3, 4], 4, history) == [3, 2, 1, 0]


class TestDiversity:
    """MMR and DPP."""

    @pytest.mark.parametrize("kind", ["mmr", "dpp"])
    def test_items_may_be_alike_by_values_of_columns(self, kind):
        random = np.random.default_rng(12)
        codes = random.integers(-1, 4, (25, 2)).astype(np.int32)
        utilities = random.normal(size=25)
        spec = SlateSpec(diversity=Diversity(kind, 0.8, "codes"))
        found = slate(spec, {"codes": codes}, range(25), utilities, 8)
        if kind == "dpp":
            assert found == dpp_by_determinants(utilities.tolist(), codes.tolist(), 8, 0.8, same_values)
            return
        chosen: list[int] = []
        for _ in range(8):
            value = {
                j: utilities[j] - 0.8 * max((same_values(codes[j], codes[i]) for i in chosen), default=0.0)
                for j in set(range(25)) - set(chosen)
            }
            chosen.append(max(value, key=lambda j: round(value[j], 4)))
        assert found == chosen

    def test_mmr_looks_at_all_that_is_shown_and_not_at_the_last_alone(self):
        vectors = np.array([[0.90, 0.44, 0, 0], [0.88, 0.47, 0, 0], [0.70, 0, 0.71, 0], [0.65, 0, 0, 0.76]], np.float32)
        spec = SlateSpec(diversity=Diversity("mmr", 1.0))  # strength .5
        assert slate(spec, {VECTORS_FILE: vectors}, range(4), vectors[:, 0], 3) == [0, 2, 3]

    @pytest.mark.parametrize("weight", [0.2, 1.0, 3.0])
    def test_mmr_is_the_double_loop(self, weight):
        random = np.random.default_rng(int(weight * 10))
        for _ in range(5):
            vectors, utilities = random.normal(size=(60, 5)).astype(np.float32), random.normal(size=60)
            spec = SlateSpec(diversity=Diversity("mmr", weight))
            found = slate(spec, {VECTORS_FILE: vectors}, range(60), utilities, 12)
            assert found == mmr_by_loops(utilities.tolist(), vectors.tolist(), 12, weight)

    def test_mmr_of_many_candidates_is_the_plain_double_loop(self):
        random = np.random.default_rng(8)
        vectors, utilities = random.normal(size=(500, 16)).astype(np.float32), random.normal(size=500)
        units = vectors / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
        alike = np.round(units @ units.T / STEP) * STEP
        chosen: list[int] = []
        for _ in range(50):
            loss = alike[:, chosen].max(axis=1, initial=-np.inf) if chosen else np.zeros(500)
            value = np.where(np.isin(np.arange(500), chosen), -np.inf, utilities - 0.7 * loss)
            chosen.append(int(np.argmax(value)))
        spec = SlateSpec(diversity=Diversity("mmr", 0.7))
        assert slate(spec, {VECTORS_FILE: vectors}, range(500), utilities, 50) == chosen

    @pytest.mark.parametrize("weight", [0.2, 1.0])
    def test_dpp_takes_what_enlarges_the_determinant_most(self, weight):
        random = np.random.default_rng(3)
        vectors, utilities = random.normal(size=(25, 12)).astype(np.float32), random.normal(size=25)
        spec = SlateSpec(diversity=Diversity("dpp", weight))
        found = slate(spec, {VECTORS_FILE: vectors}, range(25), utilities, 6)
        assert found == dpp_by_determinants(utilities.tolist(), vectors.astype(np.float64), 6, weight)

    @pytest.mark.parametrize("kind", ["mmr", "dpp"])
    def test_copies_and_few_dimensions_give_distinct_items_then_those_of_most_utility(self, kind):
        random = np.random.default_rng(4)
        base = random.normal(size=(5, 8)).astype(np.float32)
        copies = np.concatenate([base, np.repeat(base[:1], 195, axis=0)])
        low_rank = (random.normal(size=(200, 4)) @ random.normal(size=(4, 8))).astype(np.float32)
        for vectors in (copies, low_rank, np.zeros((200, 8), np.float32)):
            spec = SlateSpec(diversity=Diversity(kind, 1.0))
            flat = np.zeros(200)
            found = slate(spec, {VECTORS_FILE: vectors}, range(200), flat, 20)
            assert len(set(found)) == 20
            if kind == "dpp":  # what is left adds nothing: by utility, ties by id
                assert found[8:] == sorted(found[8:])
                ranked = slate(spec, {VECTORS_FILE: vectors}, range(200), np.linspace(0, 1e-3, 200), 20)
                assert ranked[8:] == sorted(ranked[8:], reverse=True)

    def test_without_strength_the_order_is_that_of_the_utilities(self):
        random = np.random.default_rng(5)
        vectors, utilities = random.normal(size=(40, 6)).astype(np.float32), random.integers(0, 5, 40)
        for kind in ("mmr", "dpp"):
            found = slate(SlateSpec(diversity=Diversity(kind, 0.0)), {VECTORS_FILE: vectors}, range(40), utilities, 10)
            assert found == np.lexsort((np.arange(40), -utilities))[:10].tolist()


def any_rules(random, num_items):
    """Rules as a person might write them, with their arrays."""
    files = {
        VECTORS_FILE: random.normal(size=(num_items, 4)).astype(np.float32),
        "brand": random.integers(-1, 4, num_items).astype(np.int32),
        "kind": random.integers(0, 3, num_items).astype(np.int32),
        "new": random.random(num_items) < 0.3,
        "own": random.random(num_items) < 0.3,
    }
    pins = random.choice(num_items, 3, replace=False).tolist()
    return files, SlateSpec(
        caps=(Cap("brand", 2, 0), Cap("kind", 3, 6)),
        floors=(Floor("new", 2, 5), Floor("own", 2, 0)),
        pins=(Pin(pins[0], 1), Pin(pins[1], 4), Pin(pins[2], 20)),
        diversity=[None, Diversity("mmr", 0.5), Diversity("dpp", 0.5)][random.integers(3)],
    )


class TestRules:
    """Pins, caps and floors."""

    FILES = {"brand": np.array([0, 0, 0, 1, 1, -1, -1, -1], np.int32), "new": np.arange(8) >= 6}
    UTILITIES = -np.arange(8.0)

    def of(self, size=4, rows=range(8), **rules):
        return slate(SlateSpec(**rules), self.FILES, rows, self.UTILITIES[: len(rows)], size)

    def test_a_cap_lets_so_many_of_a_value_be_shown_and_no_null_be_counted(self):
        assert self.of(8, caps=(Cap("brand", 1, 0),))[:5] == [0, 3, 5, 6, 7]

    def test_a_cap_ends_behind_its_places(self):
        assert self.of(6, caps=(Cap("brand", 1, 2),)) == [0, 3, 1, 2, 4, 5]

    def test_a_cap_leaves_no_place_empty(self):
        assert self.of(3, rows=[0, 1, 2], caps=(Cap("brand", 1, 0),)) == [0, 1, 2]

    def test_a_floor_is_met_as_late_as_it_can_be(self):
        assert self.of(4, floors=(Floor("new", 2, 0),)) == [0, 1, 6, 7]
        assert self.of(6, floors=(Floor("new", 1, 3),)) == [0, 1, 6, 2, 3, 4]

    def test_a_floor_of_what_there_is_not_takes_no_place(self):
        assert self.of(4, rows=[0, 1, 2, 3, 4, 5], floors=(Floor("new", 2, 0),)) == [0, 1, 2, 3]
        assert self.of(4, rows=[0, 1, 2, 3, 4, 6], floors=(Floor("new", 2, 0),)) == [0, 1, 2, 6]

    def test_a_pin_has_its_place_and_no_other(self):
        assert self.of(4, pins=(Pin(0, 3), Pin(7, 1))) == [7, 1, 0, 2]

    def test_a_pin_behind_the_slate_or_without_its_item_changes_nothing(self):
        assert self.of(4, pins=(Pin(0, 5),)) == self.of(4, rows=range(8), pins=(Pin(99, 2),)) == [0, 1, 2, 3]

    def test_pins_come_before_caps_and_caps_before_floors(self):
        caps, floors = (Cap("brand", 1, 0),), (Floor("new", 1, 2),)
        assert self.of(3, caps=caps, pins=(Pin(0, 1), Pin(1, 2))) == [0, 1, 3]
        assert self.of(2, caps=caps, floors=floors, pins=(Pin(7, 2),)) == [0, 7]

    def test_a_cap_keeps_room_for_the_items_that_are_pinned_behind(self):
        caps = (Cap("brand", 1, 0),)
        assert self.of(4, caps=caps, pins=(Pin(2, 4),)) == [3, 5, 6, 2]
        assert self.of(4, caps=(Cap("brand", 1, 3),), pins=(Pin(2, 4),)) == [0, 3, 5, 2]
        assert self.of(4, caps=caps, pins=(Pin(2, 9),)) == self.of(4, caps=caps)  # behind the slate

    def test_what_a_floor_could_not_get_takes_no_place_of_a_later_one(self):
        """The first wants two among two places, of which a pin has one; its kind then counts no more."""
        files = {"new": np.arange(8) >= 6, "own": np.arange(8) == 5}
        floors = (Floor("new", 2, 2), Floor("own", 1, 4))
        pins = (Pin(0, 1),)
        assert slate(SlateSpec(floors=floors, pins=pins), files, range(8), self.UTILITIES, 4) == [0, 6, 1, 5]

    def test_each_rule_ends_when_it_ends(self):
        spec = SlateSpec(
            boosts=(Boost("more"), Boost("most", 30)), caps=(Cap("brand", 1, 0, 10),), pins=(Pin(7, 1, 20), Pin(4, 2))
        )
        files = {**self.FILES, "more": np.float32([0, 0, 1.5, 0, 0, 0, 0, 0]), "most": np.float32([9] + [0] * 7)}
        ruler, rows, found = SlateRuler(spec, files), np.arange(8)[None], {}
        for instant in (9, 10, 20, 30):
            with at_instant(instant):
                now = ruler.now()
            utilities = now.boosted(-np.arange(8, dtype=np.float32)[None], rows)
            found[instant] = now.ordered(utilities, rows, np.array([4])).tolist()[0]
        assert found == {9: [7, 4, 0, 5], 10: [7, 4, 0, 2], 20: [0, 4, 2, 1], 30: [0, 4, 2, 1]}
        assert now.boosted(np.zeros((1, 8), np.float32), rows)[0, 0] == 0
        assert spec.ends == (10, 20, 30) and ruler.now().spec == spec.at(10**18)

    def test_every_slate_keeps_every_rule_that_its_candidates_allow(self):
        random = np.random.default_rng(6)
        for _ in range(60):
            files, spec = any_rules(random, 400)
            rows = random.choice(400, 120, replace=False)
            found = slate(spec, files, rows, random.normal(size=120), 10)
            assert len(set(found)) == 10
            for cap in spec.caps:
                shown = [int(files[cap.file][row]) for row in found[: cap.top or 10]]
                pins = [pin for pin in spec.pins if pin.slot <= (cap.top or 10) and pin.row in rows]
                pinned = [int(files[cap.file][pin.row]) for pin in pins]
                for code in {*shown} - {-1}:
                    assert shown.count(code) <= max(cap.most, pinned.count(code))
            for floor in spec.floors:
                assert sum(files[floor.file][found[: floor.top or 10]]) >= floor.least
            for pin in spec.pins:
                if pin.row in rows and pin.slot <= 10:
                    assert found[pin.slot - 1] == pin.row

    def test_a_user_of_a_batch_gets_what_he_gets_alone(self):
        random = np.random.default_rng(7)
        for _ in range(5):
            files, spec = any_rules(random, 300)
            rows = np.stack([random.choice(300, 40, replace=False) for _ in range(6)])
            rows[2, 30:], rows[3, 3:], rows[4] = -1, -1, -1
            utilities = np.where(rows < 0, -np.inf, random.normal(size=rows.shape))
            wanted = np.array([10, 10, 4, 10, 10, 1])
            ruler = SlateRuler(spec, files)
            together = ruler.ordered(utilities, rows, wanted)
            assert (together[4] == NO_PLACE).all() and (together[3] >= 0).sum() == 3
            seeds = np.arange(6)
            drawn = sample(utilities, 10, 0.4, seeds, rows, ruler.rules(rows, wanted))
            for user, size in enumerate(wanted.tolist()):  # what comes behind his slate is cut off
                one = slice(user, user + 1)
                alone = ruler.ordered(utilities[one], rows[one], wanted[one])
                assert alone[:, :size].tolist() == together[one, :size].tolist()
                draw = sample(utilities[one], 10, 0.4, seeds[one], rows[one], ruler.rules(rows[one], wanted[one]))
                assert draw.places[:, :size].tolist() == drawn.places[one, :size].tolist()
                assert draw.log_propensity[:, :size].tolist() == drawn.log_propensity[one, :size].tolist()


@pytest.mark.parametrize("kind", ["mmr", "dpp"])
class TestDraws:
    """C = 6, S = 3, with diversity, a cap, a floor and a pin on; with dpp calibration, too."""

    UTILITIES = np.array([0.9, 0.4, 0.4, -0.3, 0.0, 1.2])
    FILES = {
        VECTORS_FILE: np.random.default_rng(8).normal(size=(6, 3)).astype(np.float32),
        "brand": np.array([0, 0, 1, 1, 2, 0], np.int32),
        "new": np.array([False, True, False, True, False, False]),
        "taken": np.array([-1, 0, 1, 2], np.int32),
    }
    HISTORY = np.array([1, 1, 2, 0], np.int32)

    def ruler(self, kind):
        spec = SlateSpec(
            caps=(Cap("brand", 1, 2),),
            floors=(Floor("new", 1, 3),),
            pins=(Pin(4, 2),),
            diversity=Diversity(kind, 0.7),
            calibration=Calibration(0.1, "brand", "taken") if kind == "dpp" else None,
        )
        return SlateRuler(spec, self.FILES)

    def rules(self, kind, num_slates):
        rows, history = np.tile(np.arange(6), (num_slates, 1)), np.tile(self.HISTORY, (num_slates, 1))
        return self.ruler(kind).rules(rows, np.full(num_slates, 3), history)

    def all_slates(self, kind):
        slates = np.array(list(itertools.permutations(range(6), 3)))
        return slates, log_propensities(np.tile(self.UTILITIES, (120, 1)), slates, 0.5, self.rules(kind, 120)).sum(1)

    def test_the_probabilities_of_all_slates_sum_to_one(self, kind):
        slates, logs = self.all_slates(kind)
        assert abs(np.exp(logs).sum() - 1) < 1e-9
        possible = slates[np.isfinite(logs)]
        assert (possible[:, 1] == 4).all() and all(self.FILES["new"][one].any() for one in possible)
        assert len(possible) > 5

    def test_slates_are_drawn_as_often_as_their_probability_says(self, kind):
        slates, logs = self.all_slates(kind)
        count = 20_000
        draw = sample(np.tile(self.UTILITIES, (count, 1)), 3, 0.5, np.arange(count), None, self.rules(kind, count))
        found, times = np.unique(draw.places, axis=0, return_counts=True)
        seen = dict(zip(map(tuple, found.tolist()), times.tolist(), strict=True))
        expected = {
            tuple(one): math.exp(log) * count for one, log in zip(slates.tolist(), logs, strict=True) if log > -99
        }
        assert set(seen) <= set(expected)
        statistic = sum((seen.get(one, 0) - wanted) ** 2 / wanted for one, wanted in expected.items())
        assert chi2.sf(statistic, len(expected) - 1) > 0.001

    def test_at_a_low_temperature_the_draw_is_the_ordered_slate(self, kind):
        rows = np.arange(6)[None]
        ordered = self.ruler(kind).ordered(self.UTILITIES[None], rows, np.array([3]), self.HISTORY[None])
        draw = sample(self.UTILITIES[None], 3, 0.001, np.array([1]), rows, self.rules(kind, 1))
        assert draw.places.tolist() == ordered.tolist()
