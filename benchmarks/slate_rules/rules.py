"""The rules that are measured, each as an operator might set it, over values drawn at random."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.encoders import FIRST
from runtime.slate_spec import Boost, Calibration, Cap, Diversity, Floor, Pin, SlateSpec

__all__ = ["EVERYTHING", "rules_of", "write_values"]

NUM_BRANDS, SHARE_NEW, SHARE_OWN = 20, 0.05, 0.1
BRAND, NEW, OWN, BOOSTS, ALIKE, TAKEN = (
    f"order/{name}.npy" for name in ("brand", "new", "own", "boosts", "alike", "taken")
)
EVERYTHING = "all of them, with mmr"


def rules_of(pinned: NDArray) -> dict[str, SlateSpec]:
    """Rules by name; `pinned` are two item rows that many users can be shown."""
    boosts = (Boost(BOOSTS),)
    caps, floors = (Cap(BRAND, 2, 10),), (Floor(NEW, 1, 5), Floor(OWN, 2, 0))
    pins = tuple(Pin(int(row), slot) for slot, row in enumerate(pinned, start=2))
    mmr, dpp = (Diversity(kind, 0.5) for kind in ("mmr", "dpp"))
    return {
        "boosts": SlateSpec(boosts=boosts),
        "two pins": SlateSpec(pins=pins),
        "a cap": SlateSpec(caps=caps),
        "two floors": SlateSpec(floors=floors),
        "mmr": SlateSpec(diversity=mmr),
        "dpp": SlateSpec(diversity=dpp),
        "dpp, by two columns": SlateSpec(diversity=Diversity("dpp", 0.5, ALIKE)),
        "calibrated": SlateSpec(calibration=Calibration(0.05, BRAND, TAKEN)),
        EVERYTHING: SlateSpec(boosts, caps, floors, pins, mmr),
    }


def write_values(folder: Path, num_items: int) -> Mapping[str, NDArray]:
    """Brands, new and own items, boosts and what is read of histories, by file of a chain."""
    random = np.random.default_rng(3)
    brands = random.integers(-1, NUM_BRANDS, num_items).astype(np.int32)
    values = {
        BRAND: brands,
        ALIKE: np.stack([brands, brands[::-1]], axis=1),
        # An item of each code, as far as there are codes.
        TAKEN: np.concatenate([np.full(FIRST, -1, np.int32), brands]),
        NEW: random.random(num_items) < SHARE_NEW,
        OWN: random.random(num_items) < SHARE_OWN,
        BOOSTS: np.where(random.random(num_items) < SHARE_OWN, 0.4, 0.0).astype(np.float32),
    }
    (folder / "order").mkdir()
    for name, array in values.items():
        np.save(folder / name, array)
    return values
