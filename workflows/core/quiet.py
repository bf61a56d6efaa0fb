"""The one place that silences known, harmless messages of pinned libraries, each by its exact wording."""

from __future__ import annotations

import logging
import os
import warnings

__all__ = ["KNOWN_WARNINGS", "quiet"]

# (regular expression that the message starts with, category). Anything else still shows.
KNOWN_WARNINGS: tuple[tuple[str, type[Warning]], ...] = (
    (r"\s*The current Dask DataFrame implementation is deprecated", DeprecationWarning),
    (r"module 'sre_constants' is deprecated", DeprecationWarning),
    # Keras 2.12 draws a fresh initializer's seed with randint(1, 1e9).
    (r"non-integer arguments to randrange\(\) have been deprecated", DeprecationWarning),
    (r"PyTorch dtype mappings did not load successfully", UserWarning),
    (r"pkg_resources is deprecated as an API", UserWarning),
    (r"pkg_resources is deprecated as an API", DeprecationWarning),
    (r"Initializing an NVTabular Dataset in CPU mode", UserWarning),
    (r"The `merlin\.loader` package has been moved to `merlin\.dataloader`", DeprecationWarning),
    # Merlin Systems' export reads its executor model so.
    (r"path is deprecated\. Use files\(\) instead", DeprecationWarning),
    (r"The `nvtabular\.loader` module has moved to a new repository", DeprecationWarning),
)
# The towers and the ranker are saved for reading weights back, not for training on.
KNOWN_LOG_LINES = ("Please fix your imports.", "Found untraced functions such as", "No training configuration found in")
LOGGERS = ("tensorflow", "absl")
ENVIRONMENT = {"TF_ENABLE_ONEDNN_OPTS": "1"}


class _DropKnown(logging.Filter):
    """Drops the log records that start with a known line."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to keep the record."""
        return not record.getMessage().startswith(KNOWN_LOG_LINES)


def quiet(log_level: str = "2") -> None:
    """Silence the known messages; call it before TensorFlow, NVTabular or Merlin is imported. Safe to repeat.

    Args:
        log_level: TensorFlow's own: "2" leaves its errors, "3" drops them too, for where an exception says the same. A
            level that the user or an earlier call has set in TF_CPP_MIN_LOG_LEVEL is kept.
    """
    for name, value in {"TF_CPP_MIN_LOG_LEVEL": log_level, **ENVIRONMENT}.items():
        os.environ.setdefault(name, value)
    for pattern, category in KNOWN_WARNINGS:
        warnings.filterwarnings("ignore", message=pattern, category=category)
    for logger in map(logging.getLogger, LOGGERS):
        if not any(isinstance(known, _DropKnown) for known in logger.filters):
            logger.addFilter(_DropKnown())
