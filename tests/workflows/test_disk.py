"""A full disk, in the words of each library: recognised, said in one sentence, and never a killed process."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from workflows.core.disk import check_folder, is_disk_full, open_array, save_npz, takes_files, writing
from workflows.core.errors import CascadeError, DataError

FULL_DEVICE = Path("/dev/full")


@pytest.fixture
def full(tmp_path: Path) -> Path:
    """A file that takes nothing: a link, for a library may remove or replace the path it is given."""
    if not FULL_DEVICE.is_char_device():
        pytest.skip("this system has no /dev/full")
    (tmp_path / "full").symlink_to(FULL_DEVICE)
    return tmp_path / "full"


def _numpy(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        np.save(file, np.zeros(100_000))


def _faiss(path: Path) -> None:
    import faiss

    index = faiss.IndexFlatIP(64)
    index.add(np.ones((4096, 64), np.float32))
    faiss.write_index(index, str(path))


def _pyarrow(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": np.random.default_rng(0).random(100_000)}), path)


def _duckdb(path: Path) -> None:
    import duckdb

    # What it said on a full tmpfs; it writes beside the path and renames, so the device would not be asked.
    raise duckdb.IOException(f'IO Error: Could not write file "{path}": No space left on device')


def _tensorflow(path: Path) -> None:
    import tensorflow as tf

    tf.io.write_file(str(path), "x" * 100_000)


def _shutil(path: Path) -> None:
    folder = path.parent / "folder"
    folder.mkdir()
    (folder / "full").write_bytes(b"x" * 100_000)
    target = path.parent / "copy"
    target.mkdir()
    path.rename(target / "full")
    shutil.copytree(folder, target, dirs_exist_ok=True)


WRITERS: dict[str, Callable[[Path], object]] = {
    "python": lambda path: path.write_bytes(b"x" * 100_000),
    "numpy": _numpy,
    "npz": lambda path: save_npz(path, {"a": np.zeros(100_000)}),
    "faiss": _faiss,
    "pyarrow": _pyarrow,
    "duckdb": _duckdb,
    "tensorflow": _tensorflow,
    "shutil": _shutil,
}


@pytest.mark.parametrize("writer", WRITERS.values(), ids=list(WRITERS))
def test_every_librarys_error_is_recognised_and_said_in_one_sentence(writer, full, tmp_path):
    with pytest.raises(CascadeError) as raised, writing("data", tmp_path):
        writer(full)
    assert str(raised.value) == f"data: the disk of {tmp_path} is full; free some space and run the same command again"
    assert is_disk_full(raised.value.__cause__)
    assert FULL_DEVICE.is_char_device()


def test_other_errors_pass_and_an_unwritable_folder_is_named(tmp_path):
    assert not is_disk_full(ValueError("42 rows requested"))
    for error in (ZeroDivisionError(), DataError("No space left on device, says a row"), OSError(errno.EIO, "broken")):
        with pytest.raises(type(error)) as raised, writing("data", tmp_path):
            raise error
        assert raised.value is error
    unwritable = pytest.raises(CascadeError, match=r"data: .* cannot be written \(Read-only file system\)")
    with unwritable, writing("data", tmp_path):
        raise OSError(errno.EROFS, "Read-only file system")


def test_what_is_absent_counts_where_nothing_can_be_written(tmp_path):
    """ENOENT is said of what is read, too: only of a place that takes no file it is the place's."""
    refused = pytest.raises(CascadeError, match=r"^data: /proc/x cannot be written \(No such file")
    with refused, writing("data", Path("/proc")):
        Path("/proc/x").write_text("")
    (tmp_path / "file").write_text("")
    with pytest.raises(CascadeError, match="file is a file, expected a folder"), writing("data", tmp_path / "file/x"):
        (tmp_path / "file/x").mkdir()
    for where in (tmp_path, tmp_path / "not yet made"):
        with pytest.raises(FileNotFoundError), writing("data", where):
            (tmp_path / "input").read_text()
    assert takes_files(tmp_path) and not list(tmp_path.glob("tmp*"))


def test_a_folder_that_cannot_be_written_is_refused_and_none_is_made(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone/far")
    for folder in (tmp_path / "file", tmp_path / "file/x", tmp_path / "nowhere", tmp_path / "nowhere/x"):
        with pytest.raises(CascadeError, match=r"^gate: .*(file|nowhere) is a file, expected a folder"):
            check_folder("gate", folder)
    for folder in (Path("/proc/x/y"), tmp_path / ("x" * 300)):
        with pytest.raises(CascadeError, match=r"^gate: .* cannot be written"):
            check_folder("gate", folder)
    before = sorted(tmp_path.iterdir())
    for folder in (tmp_path, tmp_path / "a/b/c"):
        check_folder("gate", folder)
    assert sorted(tmp_path.iterdir()) == before


def test_a_mapped_array_takes_its_blocks_at_once_and_starts_as_zeros(tmp_path):
    array = open_array(tmp_path / "a.npy", (1000, 7), np.int32)
    assert (tmp_path / "a.npy").stat().st_blocks * 512 >= array.nbytes
    assert not array.any()
    array[3] = 5
    array.flush()
    assert np.load(tmp_path / "a.npy").sum() == 35
    assert np.load(open_array(tmp_path / "none.npy", (0,), np.int32).filename).shape == (0,)


def test_a_saved_npz_is_numpys(tmp_path):
    arrays = {"a": np.arange(6).reshape(2, 3), "b": np.array(2.5, np.float32), "c": np.array([b"x", b"yz"])}
    save_npz(tmp_path / "a.npz", arrays)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        assert file.files == list(arrays)
        for name, array in arrays.items():
            assert file[name].dtype == array.dtype
            assert np.array_equal(file[name], array)
