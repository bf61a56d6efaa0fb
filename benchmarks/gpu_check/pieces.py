"""FAISS for GPUs in pieces that a bare machine takes one or some at a time, and put together there.

Usage: python -m benchmarks.gpu_check.pieces OUT    downloads with pip, and splits into OUT/1, OUT/2, ...
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

__all__ = ["Missing", "join", "split"]

# FAISS of CUDA 13 with cuVS, and what of its needs PyTorch or CuPy do not bring.
WHEELS = (
    "faiss-gpu-cuvs==1.15.1",
    *("libcuvs-cu13==26.6.*", "libraft-cu13==26.6.*", "librmm-cu13==26.6.*", "rapids-logger==0.2.*"),
)
PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_24", "manylinux_2_17", "manylinux2014")
PIECE_BYTES = 45 << 20
PIECE, MANIFEST, SITE = "piece", "manifest.json", "site"


class Missing(Exception):
    """Pieces that have not arrived, or are damaged; the sentence names them."""


def download(folder: Path) -> list[Path]:
    """The wheels for Python 3.12 on 64-bit Linux, from the index that pip is configured for."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "-d",
        str(folder),
    ]
    command += ["--python-version", "3.12", "--implementation", "cp"]
    for platform in PLATFORMS:
        command += ["--platform", f"{platform}_x86_64"]
    subprocess.run([*command, *WHEELS], check=True)
    return sorted(folder.glob("*.whl"))


def split(wheels: list[Path], out: Path, piece_bytes: int = PIECE_BYTES) -> int:
    """Write OUT/1/piece, OUT/2/piece, ..., each beside the list of all; the number of pieces."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    with tempfile.NamedTemporaryFile(dir=out) as whole:
        with tarfile.open(fileobj=whole, mode="w") as tar:
            for wheel in wheels:
                tar.add(wheel, wheel.name)
        whole.seek(0)
        sums: list[str] = []
        while piece := whole.read(piece_bytes):
            sums.append(hashlib.sha256(piece).hexdigest())
            (out / str(len(sums))).mkdir()
            (out / str(len(sums)) / PIECE).write_bytes(piece)
    manifest = json.dumps({"wheels": [wheel.name for wheel in wheels], "sha256": sums}, indent=1)
    for number in range(1, len(sums) + 1):
        (out / str(number) / MANIFEST).write_text(manifest)
    return len(sums)


def join(folder: Path) -> Path:
    """Put what has arrived together and unpack it.

    Args:
        folder: with 1/, 2/, ..., carried in any order.

    Returns:
        A folder for sys.path; made anew unless it holds these very wheels.

    Raises:
        Missing: a piece is not there or not as it was written.
    """
    manifest = next(iter(sorted(folder.glob(f"*/{MANIFEST}"))), None)
    if manifest is None:
        raise Missing(f"{folder} has no piece: scripts/gpu_check.sh faiss prepare makes them")
    listed: dict[str, Any] = json.loads(manifest.read_text())
    pieces = [folder / str(number) / PIECE for number in range(1, len(listed["sha256"]) + 1)]
    wrong = [str(path.parent) for path, sha in zip(pieces, listed["sha256"], strict=True) if _sum(path) != sha]
    if wrong:
        raise Missing(f"{len(wrong)} of {len(pieces)} pieces are missing or damaged, carry them: {', '.join(wrong)}")
    site = folder / SITE
    done = site / MANIFEST
    if done.is_file() and done.read_text() == manifest.read_text():
        return site
    shutil.rmtree(site, ignore_errors=True)
    site.mkdir()
    with tempfile.TemporaryFile(dir=folder) as whole:
        for path in pieces:
            whole.write(path.read_bytes())
        whole.seek(0)
        with tarfile.open(fileobj=whole) as tar:
            for name in listed["wheels"]:
                wheel = tar.extractfile(name)
                assert wheel is not None
                with zipfile.ZipFile(wheel) as archive:
                    archive.extractall(site)
    done.write_text(manifest.read_text())
    return site


def _sum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        found = download(Path(scratch))
        count = split(found, Path(sys.argv[1]))
    print(f"{', '.join(wheel.name for wheel in found)}: {count} pieces in {sys.argv[1]}")
