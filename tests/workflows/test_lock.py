"""Two processes on one folder: readers together, writers alone, the one in the way named, a killed one forgotten."""

from __future__ import annotations

import errno
import fcntl
import signal
import socket
from pathlib import Path

import pytest

from tests.holder import another
from workflows.core.errors import ArtefactError, CascadeError
from workflows.core.lock import hold
from workflows.core.run import Run, run_stage


def stage(run: Run, name: str, after: tuple[str, ...] = (), **given: object) -> str:
    def body(folder: Path) -> None:
        (folder / "out.txt").write_text(name)

    run_stage(run, name, config={}, after=after, body=body, **given)
    return name


def test_one_who_is_in_the_way_is_named(tmp_path: Path) -> None:
    with another(tmp_path, writes="ranking", reads="data features") as process:
        said = rf"written by 'cascade train-ranking' \(process {process.pid}, since 20.*\); run this command again"
        for use in ({"writes": ["ranking"]}, {"reads": ["ranking"]}, {"writes": ["index", "ranking"]}):
            with pytest.raises(ArtefactError, match=said), hold(tmp_path, **use):
                pass
        with (
            pytest.raises(ArtefactError, match="is being read by 'cascade train-ranking'"),
            hold(tmp_path, writes=["data"]),
        ):
            pass
        with hold(tmp_path, writes=["index"], reads=["data", "features"]):
            pass  # another stage of the same inputs
    with hold(tmp_path, writes=["ranking", "data"]):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_stage_neither_runs_nor_changes_anything_while_another_process_writes_it_or_what_it_reads(tmp_path) -> None:
    run = Run(tmp_path)
    stage(run, "data")
    stage(run, "features", ("data",))
    for writes in ("features", "data"):
        with another(tmp_path, writes=writes), pytest.raises(ArtefactError, match="is being written by"):
            stage(run, "features", ("data",), force=True)
    with another(tmp_path, reads="features"), pytest.raises(ArtefactError, match="is being read by"):
        stage(run, "features", ("data",), force=True)
    with another(tmp_path, reads="data", writes="report"):
        assert stage(run, "features", ("data",), force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "features"]


def test_a_killed_process_is_in_nobodys_way(tmp_path: Path) -> None:
    with another(tmp_path, writes="data") as process:
        process.send_signal(signal.SIGKILL)
        process.wait(300)
        assert len(list(tmp_path.glob(".lock.*"))) == 1  # what it could not remove
        with hold(tmp_path, writes=["data"]):
            assert len(list(tmp_path.glob(".lock.*"))) == 1  # ours
    assert list(tmp_path.iterdir()) == []


def test_calls_of_one_process_add_to_each_other(tmp_path: Path) -> None:
    with hold(tmp_path, writes=["data"]):
        with hold(tmp_path, writes=["data", "features"]), pytest.raises(AssertionError), another(tmp_path, "features"):
            pass
        with another(tmp_path, writes="features"):
            pass
        with pytest.raises(AssertionError), another(tmp_path, reads="data"):
            pass
    with another(tmp_path, writes="data"):
        pass


def test_a_refused_first_command_leaves_no_folder_behind(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), hold(tmp_path / "a" / "run", writes=["data"]):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_the_same_folder_under_another_name_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "run")
    linked = pytest.raises(ArtefactError, match="link is being written by")
    with another(tmp_path / "run", writes="data"), linked, hold(tmp_path / "link", reads=["data"]):
        pass


def test_one_on_another_machine_is_named_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = socket.gethostname()
    with another(tmp_path, writes="data"):
        monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
        with pytest.raises(ArtefactError, match=rf"\(process \d+ on {name}, since"), hold(tmp_path, writes=["data"]):
            pass


def test_a_folder_that_cannot_be_written_is_used_without_a_lock() -> None:
    with hold(Path("/sys/kernel"), reads=["data"]):
        pass
    assert not Path("/sys/kernel/.lock").exists()


def test_a_file_system_without_locks_is_named_and_used(tmp_path: Path, monkeypatch, capsys) -> None:
    def no_locks(file: object, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with hold(tmp_path, writes=["data"]):
        pass
    assert "has no locks (No locks available); start no two commands on it at once" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("file", "DIR/file is no folder"),
        ("file/below/it", "DIR/file is no folder"),
        ("dangling", "DIR/dangling is no folder"),
        ("circle", "DIR/circle is no folder"),
        ("circle/below", "DIR/circle is no folder"),
        ("x" * 300, "File name too long"),
        ("/proc/nothing/below", "No such file or directory"),
    ],
)
def test_what_can_be_no_folder_is_one_sentence(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "file").write_text("kept")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(CascadeError) as caught, hold(tmp_path / name, writes=["data"]):
        pass
    assert str(caught.value).replace(str(tmp_path), "DIR") == (
        f"{tmp_path / name} cannot be made a folder ({reason}); name another one".replace(str(tmp_path), "DIR")
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["circle", "dangling", "file"]
    assert (tmp_path / "file").read_text() == "kept"
