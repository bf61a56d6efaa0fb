"""What a server's log says about why it ended, as one sentence."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["reason"]

TAIL_BYTES = 1 << 20
# The most telling first: a model's own words, then Triton's about the start, then the loader's.
PATTERNS = (
    re.compile(r"failed to load '(?P<model>[^']+)' version \d+: (?:\w[\w ]*: )?(?P<why>.+)"),
    re.compile(r"failed to load model '(?P<model>[^']+)': (?P<why>.+)"),
    re.compile(r"(?:Poll failed for model directory '(?P<model>[^']+)': )(?P<why>.+)"),
    re.compile(r"error: creating server: (?:\w[\w ]* - )?(?P<why>.+)"),
    re.compile(r"(?:failed to start \w+ service|error): (?P<why>.+)"),
    re.compile(r"(?P<why>error while loading shared libraries: .+)"),
)


def reason(log_path: Path) -> str:
    """The last meaningful error of a tritonserver log, without traceback.

    Returns:
        One line; a plain remark when the log holds no error.
    """
    try:
        text = log_path.read_bytes()[-TAIL_BYTES:].decode(errors="replace")
    except OSError:
        return "its log cannot be read"
    for pattern in PATTERNS:
        if found := list(pattern.finditer(text)):
            return _sentence(found[-1])
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "its log is empty"


def _sentence(match: re.Match[str]) -> str:
    model = match.groupdict().get("model")
    why = match["why"].strip().strip('"').rstrip(".")
    return f"model '{model}': {why}" if model else why
