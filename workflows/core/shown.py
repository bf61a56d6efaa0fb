"""What a command was asked for, as JSON on standard output: the same data as its table, and nothing else."""

from __future__ import annotations

import sys
from typing import Any

import msgspec

__all__ = ["as_json", "print_json"]


def as_json(value: Any) -> str:
    """A value as indented JSON: structs by the names of their fields, NaN and infinity as null.

    Args:
        value: what msgspec encodes: structs, dictionaries, lists, numbers, text, times.
    """
    return msgspec.json.format(msgspec.json.encode(value), indent=1).decode()


def print_json(value: Any) -> None:
    """Print a value as JSON on standard output.

    Raises:
        OSError: nobody reads it, or its disk is full.
    """
    sys.stdout.write(as_json(value) + "\n")
    sys.stdout.flush()
