"""Which users are in which experiment, and in which variant: a keyed hash of the id, the same everywhere and always.

A number from 0 to below 1 is drawn for a user and a salt. Whether an experiment has a user and which variant that user
gets are two draws with two salts: with one for both, the users of a small experiment would all be of one variant. The
range of a variant starts where it always did and grows at its end, so users enter and leave and never change sides.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cascade_client.errors import BadSetting
from cascade_client.slates import Id

__all__ = ["FORMAT", "Assigned", "Experiment", "Experiments", "Variant", "draw", "read_experiments"]

FORMAT = 1
# A salt is the key of the hash, which takes no longer one.
LONGEST_SALT = 64
BITS = 53
# What is put behind the name of a layer and the salt of an experiment: three kinds of draws, none like another.
LAYER, VARIANT, HOLDOUT = "/layer", "/variant", "/holdout"
NAME = re.compile(r"[A-Za-z0-9_.-]{1,40}")


def draw(salt: str, unit: Id) -> float:
    """A number in [0, 1) for a unit: blake2b-64 of its id as UTF-8 text, keyed by the salt, the first 53 bits of it.

    Args:
        salt: 1 to 64 bytes of text.
        unit: an integer counts as its decimal text; the text "007" is another unit than 7.

    Example:
        >>> draw("margin-1/variant", 7) == draw("margin-1/variant", "7"), draw("margin-1/variant", "007")
        (True, 0.03386466645268371)
    """
    digest = hashlib.blake2b(str(unit).encode(), digest_size=8, key=salt.encode()).digest()
    return float((int.from_bytes(digest, "big") >> (64 - BITS)) / (1 << BITS))


@dataclass(frozen=True)
class Variant:
    """One side of an experiment.

    Attributes:
        name: of it.
        start: where its range begins, of [0, 1).
        end: where its range ends now; `start`: it has nobody.
        model: the served model that its users are asked of; "": the one that all others are.
    """

    name: str
    start: float
    end: float
    model: str = ""


@dataclass(frozen=True)
class Experiment:
    """An experiment that runs.

    Attributes:
        name: of it.
        salt: of its draw of variants.
        layer: experiments of one layer have different users.
        start: where its range of the layer begins, of [0, 1).
        end: where that ends: `end - start` of all users may be in it.
        variants: with ranges that do not meet.
    """

    name: str
    salt: str
    layer: str
    start: float
    end: float
    variants: tuple[Variant, ...]

    def variant(self, unit: Id) -> Variant | None:
        """The variant of a unit of the experiment's own range; None: of none of them now."""
        number = draw(self.salt + VARIANT, unit)
        return next((each for each in self.variants if each.start <= number < each.end), None)


@dataclass(frozen=True)
class Assigned:
    """What a user is in.

    Attributes:
        label: "experiment=variant", of several with ";" between them; "" for none.
        model: to be asked; "": the one that serves those of no experiment.
    """

    label: str = ""
    model: str = ""


@dataclass(frozen=True)
class Experiments:
    """All experiments that run on one server.

    Attributes:
        experiments: those of one layer have ranges that do not meet.
        holdout_salt: of the draw of users who are in no experiment at all.
        holdout: their share.
    """

    experiments: tuple[Experiment, ...] = ()
    holdout_salt: str = ""
    holdout: float = 0.0

    def assign(self, unit: Id) -> Assigned:
        """What a unit is in."""
        if not self.experiments or (self.holdout and draw(self.holdout_salt + HOLDOUT, unit) < self.holdout):
            return Assigned()
        labels, model, places = [], "", dict[str, float]()
        for experiment in self.experiments:
            place = places.get(experiment.layer)
            if place is None:
                place = places[experiment.layer] = draw(experiment.layer + LAYER, unit)
            if experiment.start <= place < experiment.end and (variant := experiment.variant(unit)) is not None:
                labels.append(f"{experiment.name}={variant.name}")
                model = model or variant.model
        return Assigned(";".join(labels), model)

    def assign_many(self, units: Sequence[Id]) -> list[Assigned]:
        """What each of some units is in."""
        return [self.assign(unit) for unit in (units.tolist() if isinstance(units, np.ndarray) else units)]


def read_experiments(record: Any) -> Experiments:
    """The experiments that a file says, see FORMAT.

    Args:
        record: the JSON object of `experiments.json`.

    Raises:
        BadSetting: it is no such object.
    """
    try:
        if record["format"] != FORMAT:
            raise ValueError(f"its format is {record['format']!r}, and this client reads {FORMAT}")
        held = record["holdout"]
        found = Experiments(tuple(_experiments(record["experiments"])), _salt(held["salt"]), _share(held["share"]))
        _check_layers(found.experiments)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        why = f"'{error.args[0]}' is missing" if isinstance(error, KeyError) else str(error)
        raise BadSetting(f"the experiments cannot be read: {why}; give what cascade experiment start wrote") from error
    return found


def _experiments(records: Sequence[Mapping[str, Any]]) -> Iterator[Experiment]:
    for record in records:
        start, end = _range(record)
        variants = tuple(Variant(_name(v["name"]), *_range(v), _model(v["model"])) for v in record["variants"])
        _check_apart(f"variants of '{record['name']}'", [(v.start, v.end) for v in variants])
        salt = _salt(record["salt"] + VARIANT, VARIANT)
        yield Experiment(_name(record["name"]), salt, _name(record["layer"]), start, end, variants)


def _check_layers(experiments: Sequence[Experiment]) -> None:
    for layer in {each.layer for each in experiments}:
        _check_apart(f"experiments of layer '{layer}'", [(e.start, e.end) for e in experiments if e.layer == layer])


def _check_apart(what: str, ranges: Sequence[tuple[float, float]]) -> None:
    held = sorted(each for each in ranges if each[0] < each[1])
    if any(after[0] < before[1] for before, after in zip(held, held[1:])):
        raise ValueError(f"ranges of {what} meet: {held}")


def _range(record: Mapping[str, Any]) -> tuple[float, float]:
    start, end = _share(record["start"]), _share(record["end"])
    if start > end:
        raise ValueError(f"a range of '{record['name']}' goes from {start} down to {end}")
    return start, end


def _share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ValueError(f"a share is a number from 0 to 1, got {value!r}")
    return float(value)


def _salt(value: Any, suffix: str = "") -> str:
    if not isinstance(value, str) or len(value.encode()) > LONGEST_SALT:
        raise ValueError(f"a salt is text of at most {LONGEST_SALT - len(suffix)} bytes, got {value!r}")
    return value.removesuffix(suffix) if suffix else value


def _name(value: Any) -> str:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise ValueError(f"a name is 1 to 40 letters, digits and . _ -, got {value!r}")
    return value


def _model(value: Any) -> str:
    return _name(value) if value != "" else ""
