"""Files that lines are added to: whole lines only, by many at once, whatever ended the one before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from workflows.core.lines import append_lines, held_for_lines

WRITER = """
import sys
from pathlib import Path
from workflows.core.lines import append_lines, held_for_lines
for number in range(50):
    with held_for_lines(Path(sys.argv[1])) as file:
        append_lines(file, [f"{sys.argv[2]} {number}".encode() * 20])
"""


def test_many_at_once_write_whole_lines(tmp_path: Path) -> None:
    path, root = tmp_path / "lines", Path(__file__).parents[2]
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(n)], cwd=root) for n in range(3)]
    assert [writer.wait(300) for writer in writers] == [0, 0, 0]
    lines = path.read_text().splitlines()
    assert sorted(lines) == sorted(f"{n} {number}" * 20 for n in range(3) for number in range(50))


@pytest.mark.parametrize("torn", [b"", b"whole\n", b"whole\nhal"])
def test_what_was_torn_is_no_part_of_the_next_line(tmp_path: Path, torn: bytes) -> None:
    (path := tmp_path / "lines").write_bytes(torn)
    with held_for_lines(path) as file:
        append_lines(file, [b"one", b"two"])
    assert path.read_bytes() == torn[: torn.rfind(b"\n") + 1] + b"one\ntwo\n"


def test_on_a_full_disk_the_file_is_what_it_was(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys\nfrom pathlib import Path\n"
        "from workflows.core.lines import append_lines, held_for_lines\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "with held_for_lines(Path(sys.argv[1])) as file:\n    append_lines(file, [b'x' * 60])\n"
        "    append_lines(file, [b'y' * 60])\n"
    )
    path = tmp_path / "lines"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], cwd=Path(__file__).parents[2], capture_output=True, check=False
    )
    assert b"OSError" in done.stderr and path.read_bytes() == b"x" * 60 + b"\n"
