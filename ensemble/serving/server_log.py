"""Why a server ended, as one sentence: its exit status or signal, and what its log says about it."""

from __future__ import annotations

import re
import signal
from pathlib import Path

__all__ = ["has_crashed", "how_it_ended", "reason"]

TAIL_BYTES = 1 << 20
# What a fault of a program ends it with; the others are sent by somebody.
CRASHES = (signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)
# What a model raises whose words are a sentence.
PYTHON_ERROR = "TritonModelException: "
# The most telling first: a model's own words, then Triton's about the start, then the loader's.
PATTERNS = (
    re.compile(r"failed to load '(?P<model>[^']+)' version \d+: (?:\w[\w ]*: )?(?P<why>.+)"),
    re.compile(r"failed to load model '(?P<model>[^']+)': (?P<why>.+)"),
    re.compile(r"(?:Poll failed for model directory '(?P<model>[^']+)': )(?P<why>.+)"),
    re.compile(r"error: creating server: (?:\w[\w ]* - )?(?P<why>.+)"),
    re.compile(r"(?:failed to start \w+ service|error): (?P<why>.+)"),
    re.compile(r"(?P<why>error while loading shared libraries: .+)"),
)


def how_it_ended(status: int, log_path: Path) -> str:
    """One sentence about a server that is gone.

    Args:
        status: of the process that supervised it: the server's own exit status, 128 and the number of the signal that
            ended the server, or minus the number of the signal that ended the supervisor.
        log_path: the server's log; it says nothing about a signal, and its last line would be a wrong trail.
    """
    if status < 0:
        return f"the process that supervises tritonserver was ended by {_signal(-status)}"
    if status > 128:
        memory = "; the kernel sends it when memory runs out" if status - 128 == signal.SIGKILL else ""
        return f"tritonserver was ended by {_signal(status - 128)}{memory}"
    if status == 0:
        return "tritonserver ended with exit status 0, as when somebody asks it to"
    return f"tritonserver ended with exit status {status}: {reason(log_path)}"


def has_crashed(status: int) -> bool:
    """Whether a fault of its own ended the server; the status is as `how_it_ended` takes it."""
    return status - 128 in CRASHES


def _signal(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"


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
    # Behind the sentence, the log has what the Python backend adds, its line ends escaped.
    why = match["why"].partition("\\n")[0].strip().strip('"').rstrip(".").removeprefix(PYTHON_ERROR)
    return f"model '{model}': {why}" if model else why
