"""Packages of optional extras: whether they can be used here, and what to say when they cannot."""

from __future__ import annotations

import importlib

__all__ = ["why_missing"]


def why_missing(package: str, distribution: str, extra: str) -> str | None:
    """One clause on why a package cannot be used, and what to install; None where it can.

    Args:
        package: the name to import. A package that is installed but lacks a system library counts as missing.
        distribution: the name to install.
        extra: of this project, which brings it.
    """
    try:
        importlib.import_module(package)
    except (ImportError, OSError) as error:
        return f"needs the package {distribution}, which cannot be imported here ({error}); install the extra '{extra}'"
    return None
