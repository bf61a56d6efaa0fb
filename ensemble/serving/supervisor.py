"""Run one command so that it can never outlive the process that asked for it. Standard library only.

Started as a script in a session of its own: `python -I -S supervisor.py STARTER_PID GRACE_S SCRATCH COMMAND...`. It
ends the command, and all that the command started, on SIGTERM or when the starter is gone, however that died; then it
also removes what the starter cannot any more. A parent-death signal alone would not do: Linux ties it to the thread
that started, and a server that is still loading ignores SIGTERM.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

__all__ = ["clean", "remove_shared_memory", "supervise"]

POLL_S = 0.2
# Processes of models may go on so long when the command ended by itself: what waits for the log is written each 40 ms.
LAST_WRITES_S = 0.2
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
WATCHED = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
LIBC = ctypes.CDLL(None, use_errno=True)


def supervise(starter_pid: int, grace_s: float, scratch: Path, command: list[str]) -> int:
    """Run `command` until it ends, SIGTERM comes, or the process `starter_pid` is no longer our parent.

    Args:
        starter_pid: the process that started this one.
        grace_s: seconds between SIGTERM and SIGKILL.
        scratch: see `clean`.
        command: the program and its arguments.

    Returns:
        The exit status of the command; 128 and the signal's number when a signal ended it, as in a shell.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_own_group)
    try:
        while not (has_ended := _has_ended(child.pid)) and os.getppid() == starter_pid:
            arrived = signal.sigtimedwait(WATCHED, POLL_S)
            if arrived is not None and arrived.si_signo != signal.SIGCHLD:
                break
        if has_ended:
            time.sleep(LAST_WRITES_S)
        status = _end(child, grace_s)
        return status if status >= 0 else 128 - status
    finally:
        _kill_group(child.pid)
        if os.getppid() != starter_pid:
            clean(scratch)


def clean(scratch: Path) -> None:
    """Remove the folder `scratch` and the shared memory whose names start with the folder's name."""
    remove_shared_memory(scratch)
    shutil.rmtree(scratch, ignore_errors=True)


def remove_shared_memory(scratch: Path) -> None:
    """Remove the shared memory whose names start with the name of the folder `scratch`."""
    for region in Path("/dev/shm").glob(f"{scratch.name}-*"):
        region.unlink(missing_ok=True)


def _own_group() -> None:
    """In the child: a group to kill as one, no inherited signal mask, and no life without the supervisor."""
    os.setpgid(0, 0)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _has_ended(pid: int) -> bool:
    """Whether a child has; it stays there, for the processes of models end once they see that it is gone."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _end(child: subprocess.Popen, grace_s: float) -> int:
    deadline = time.monotonic() + grace_s
    if child.poll() is None:
        child.terminate()
    try:
        return child.wait(max(deadline - time.monotonic(), POLL_S))
    except subprocess.TimeoutExpired:
        _kill_group(child.pid)
        return child.wait()


def _kill_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return
    try:
        while True:
            os.waitpid(-group, 0)
    except ChildProcessError:
        return


if __name__ == "__main__":
    sys.exit(supervise(int(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:]))
