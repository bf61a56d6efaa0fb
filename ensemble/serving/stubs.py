"""The Python processes of a tritonserver (its "stubs"), as /proc shows them: which model each runs, and which are dead.

Triton does not notice a dead stub before a request fails in it, and never replaces one. It reaps its stubs itself, so
a stub that died on its own stays behind as a zombie. One that is unloaded is a zombie for a short time as well.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

__all__ = ["Stub", "StubWatch", "children"]

STUB = "triton_python_backend_stub"
PROC = Path("/proc")
# A stub that is unloaded is gone after milliseconds; on a busy machine a little later.
PATIENCE_S = 0.2
# A load that fails ends its stubs as well, some before they were seen.
UNSEEN_PATIENCE_S = 5.0
# A replaced stub ends once its requests are answered. Triton never lets go of those that failed in a dead one, though,
# and then keeps every stub of that load, each with the whole model in memory.
RETIREMENT_S = 30.0
# How often the threads of a process are gone through until none of them has come or gone meanwhile.
MOST_LOOKS = 20
ZOMBIE, STOPPED = ("Z", "X"), "T"


class Stub(msgspec.Struct, frozen=True):
    """One process of a model: the model's name ("" when unknown), its version and the process id."""

    model: str
    version: str
    pid: int


class StubWatch:
    """Finds the stubs of one tritonserver that have died or stand still.

    Args:
        server_pid: the tritonserver.
    """

    def __init__(self, server_pid: int) -> None:
        self._server_pid = server_pid
        self._stubs: dict[int, Stub] = {}
        self._odd_since: dict[int, float] = {}
        self._reported: set[int] = set()
        self._retired: dict[int, float] = {}
        self.poll()

    def poll(self) -> list[Stub]:
        """The stubs that are dead, once one of them has been for PATIENCE_S; each is returned once.

        A stub that was stopped by a signal is killed, since Triton can crash when it goes on after its requests were
        given up; it is returned when it is dead.
        """
        now, living = time.monotonic(), children(self._server_pid)
        self._forget_all_but(living)
        dead = [stub for pid in living if (stub := self._look_at(pid, now))]
        if all(now - self._odd_since[stub.pid] < PATIENCE_S for stub in dead):
            return []
        self._reported.update(stub.pid for stub in dead)
        return dead

    def _look_at(self, pid: int, now: float) -> Stub | None:
        """The stub when it is dead; one of no model when it died before it was seen alive."""
        stub, state = self._stubs.get(pid) or self._recognise(pid), _state(pid)
        if pid in self._retired:
            self._end_retired(pid, state, now)
        elif state in ZOMBIE and pid not in self._reported:
            waited_s = now - self._odd_since.setdefault(pid, now)
            return stub or (Stub("", "", pid) if waited_s > UNSEEN_PATIENCE_S else None)
        elif stub and state == STOPPED:
            if now - self._odd_since.setdefault(pid, now) >= PATIENCE_S:
                _kill(pid)
        else:
            self._odd_since.pop(pid, None)
        return None

    def of(self, models: Collection[tuple[str, str]]) -> list[Stub]:
        """The stubs seen so far of these models, each with a version."""
        return [stub for stub in self._stubs.values() if (stub.model, stub.version) in models]

    def retire(self, stubs: Iterable[Stub]) -> None:
        """Take no more notice of stubs that others have replaced, but end them when they stay."""
        self._retired |= {stub.pid: time.monotonic() + RETIREMENT_S for stub in stubs}

    def _end_retired(self, pid: int, state: str, now: float) -> None:
        if now >= self._retired[pid] and state not in ZOMBIE:
            _kill(pid)

    def _recognise(self, pid: int) -> Stub | None:
        """The stub with this id, from its command line, which a zombie no longer has."""
        words = _command_line(pid)
        if len(words) < 2 or Path(words[0]).name != STUB:
            return None
        *_, model, version, _ = Path(words[1]).parts
        self._stubs[pid] = Stub(model, version, pid)
        return self._stubs[pid]

    def _forget_all_but(self, living: list[int]) -> None:
        for pid in (self._stubs.keys() | self._odd_since.keys()) - set(living):
            self._stubs.pop(pid, None)
            self._odd_since.pop(pid, None)
            self._reported.discard(pid)
            self._retired.pop(pid, None)


def children(pid: int) -> list[int]:
    """Ids of the child processes, zombies included; none when the process is gone."""
    found: dict[int, None] = {}
    threads = _threads(pid)
    # What a thread that ends has started becomes another one's, which may have been looked at already.
    for _ in range(MOST_LOOKS):
        before, found = threads, {}
        for thread in threads:
            with suppress(OSError):  # the thread has ended since
                found |= dict.fromkeys(map(int, (thread / "children").read_text().split()))
        if (threads := _threads(pid)) == before:
            break
    return list(found)


def _threads(pid: int) -> list[Path]:
    try:
        return list((PROC / str(pid) / "task").iterdir())
    except OSError:
        return []


def _state(pid: int) -> str:
    """R, S, D, T, Z, ...; "" when there is no such process."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def _command_line(pid: int) -> list[str]:
    try:
        return os.fsdecode((PROC / str(pid) / "cmdline").read_bytes()).split("\0")
    except OSError:
        return []


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
