"""What a user may choose of the serving benchmark."""

from __future__ import annotations

import msgspec

__all__ = ["Settings"]


class Settings(msgspec.Struct, frozen=True):
    """How much is measured.

    Attributes:
        seconds: of one slice.
        rounds: slices of every variant under every load.
        compared: users whose slates are compared item for item.
        stock: whether stock Merlin Systems is measured too.
        seed: of users, contexts and the order of the slices.
    """

    seconds: float = 1.0
    rounds: int = 5
    compared: int = 200
    stock: bool = True
    seed: int = 1
