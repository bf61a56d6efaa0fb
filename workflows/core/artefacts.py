"""Manifests: what a stage wrote, from which config and inputs, with a checksum per file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import msgspec

from workflows.core import console
from workflows.core.checksums import digest
from workflows.core.errors import ArtefactError

__all__ = [
    "MANIFEST_NAME",
    "FileEntry",
    "Manifest",
    "fingerprint_of",
    "read_manifest",
    "verify",
    "write_manifest",
]

# The command that writes each folder of a run.
COMMANDS = {
    "data": "cascade prepare",
    "features": "cascade prepare",
    "retrieval": "cascade train-retrieval",
    "neighbours": "cascade fit-neighbours",
    "sources": "cascade fit-sources",
    "index": "cascade build-index",
    "ranking": "cascade train-ranking",
    "report": "cascade evaluate",
    "repo": "cascade export",
}
MANIFEST_NAME = "manifest.json"
FORMAT_VERSION = 1


class FileEntry(msgspec.Struct, frozen=True):
    """One file of an artefact.

    Attributes:
        path: relative to the manifest.
        size_bytes: its size.
        sha256: of its bytes, in hex.
    """

    path: str
    size_bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """The record that a finished stage leaves beside its files.

    Attributes:
        stage: which one.
        fingerprint: hash of the config and inputs that decide the result.
        created_at: when, in UTC.
        versions: package -> version that it was made with.
        config: the resolved config sections that the stage depends on.
        files: every file of the stage, and its checksum.
        info: what the stage reports of its result.
        format_version: of the manifest itself.
        content: hash of the fingerprint and of the files that the result consists of; "" in manifests of releases that
            did not write it.
        after: earlier stage -> its content when this one was made from it.
    """

    stage: str
    fingerprint: str
    created_at: str
    versions: dict[str, str]
    config: dict[str, Any]
    files: list[FileEntry]
    info: dict[str, Any] = {}
    format_version: int = FORMAT_VERSION
    content: str = ""
    after: dict[str, str] = {}


@contextmanager
def _watched(doing: str, folder: Path, size_bytes: int) -> Iterator[Callable[[int], None]]:
    """Show how far the checksums of a folder are; gives what counts the bytes."""
    done = 0

    def advance(num_bytes: int) -> None:
        nonlocal done
        done += num_bytes

    name = folder.name.removeprefix(".").removesuffix(".new")  # .data.new will be data
    with console.step(f"{doing} {name}/", lambda: done / max(size_bytes, 1), size_bytes / 1e6, "MB"):
        yield advance


def fingerprint_of(parts: Mapping[str, Any]) -> str:
    """A stable hash of JSON-like values: equal configs and inputs give equal fingerprints."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def write_manifest(folder: Path, manifest_without_files: Manifest, volatile: Sequence[str] = ()) -> Manifest:
    """List and checksum every file under `folder`, then write its manifest.json.

    Args:
        folder: of the finished stage.
        manifest_without_files: everything but the files and the content.
        volatile: patterns of files whose bytes differ between equal results (times, random names): not of the content.
    """
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != MANIFEST_NAME]
    sizes = [path.stat().st_size for path in paths]
    with _watched("taking the checksums of", folder, sum(sizes)) as advance:
        files = [
            FileEntry(str(path.relative_to(folder)), size, digest(path, advance))
            for path, size in zip(paths, sizes, strict=True)
        ]
    lasting = {file.path: file.sha256 for file in files if not any(fnmatch(file.path, name) for name in volatile)}
    content = fingerprint_of({"fingerprint": manifest_without_files.fingerprint, "files": lasting})
    manifest = msgspec.structs.replace(manifest_without_files, files=files, content=content)
    (folder / MANIFEST_NAME).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1))
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """Read `folder`/manifest.json.

    Raises:
        ArtefactError: the manifest is missing or unreadable, or of another format version.
    """
    path = folder / MANIFEST_NAME
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        command = f", {COMMANDS[folder.name]}," if folder.name in COMMANDS else ""
        raise ArtefactError(
            f"{folder} holds no {MANIFEST_NAME}: its stage{command} has not finished; run it first"
        ) from None
    except (msgspec.DecodeError, OSError) as error:
        raise ArtefactError(f"{path} cannot be read ({error}); run its stage again with --force") from None
    if manifest.format_version != FORMAT_VERSION:
        raise ArtefactError(
            f"{path} has format version {manifest.format_version}, this Cascade reads {FORMAT_VERSION}; "
            "run its stage again"
        )
    return manifest


def verify(folder: Path) -> Manifest:
    """Check every file of `folder` against its manifest: present, same size, same checksum.

    Raises:
        ArtefactError: names the first file that is missing, truncated or altered.
    """
    manifest = read_manifest(folder)
    with _watched("checking the files of", folder, sum(entry.size_bytes for entry in manifest.files)) as advance:
        for entry in manifest.files:
            _verify(folder / entry.path, entry, advance)
    return manifest


def _verify(path: Path, entry: FileEntry, advance: Callable[[int], None]) -> None:
    if not path.is_file():
        raise ArtefactError(f"{path} is missing but listed in the manifest; run its stage again with --force")
    size = path.stat().st_size
    if size != entry.size_bytes:
        raise ArtefactError(
            f"{path} has {size} bytes, its manifest says {entry.size_bytes}; run its stage again with --force"
        )
    if digest(path, advance) != entry.sha256:
        raise ArtefactError(f"{path} does not match its checksum in the manifest; run its stage again with --force")
