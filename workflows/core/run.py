"""The run directory: one folder a stage, written beside its final place and renamed into it when whole."""

from __future__ import annotations

import datetime
import importlib.metadata
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import msgspec

from workflows.core import console
from workflows.core.artefacts import Manifest, fingerprint_of, read_manifest, verify, write_manifest
from workflows.core.disk import writing
from workflows.core.errors import ArtefactError
from workflows.core.lock import hold
from workflows.core.origins import check_origins, origins
from workflows.core.record import Info

__all__ = ["STAGES", "Run", "run_stage"]

STAGES = ("data", "features", "retrieval", "neighbours", "sources", "index", "ranking", "report", "repo")
VERSIONED_PACKAGES = (
    "cascade",
    "merlin-models",
    "nvtabular",
    "merlin-systems",
    "tensorflow-cpu",
    "tensorflow",
    "faiss-cpu",
)


class Run(msgspec.Struct, frozen=True):
    """Paths of one run directory."""

    root: Path

    def folder(self, stage: str) -> Path:
        """The folder of a finished stage, one of STAGES."""
        return self.root / stage

    def scratch(self, stage: str) -> Path:
        """Where an unfinished stage keeps checkpoints; survives a killed process, removed when the stage is done."""
        return self.root / f".{stage}.scratch"

    def require(self, stage: str, *, check: bool = True) -> Path:
        """The folder of a finished stage, its files checked against the manifest.

        Raises:
            ArtefactError: the stage has not finished, or a file is missing, truncated or altered.
        """
        folder = self.folder(stage)
        if check:
            verify(folder)
        else:
            read_manifest(folder)
        return folder


def run_stage(
    run: Run,
    stage: str,
    *,
    config: Mapping[str, Any],
    after: Sequence[str],
    body: Callable[[Path], Mapping[str, Any] | Info | None],
    inputs: Mapping[str, Any] | None = None,
    volatile: Sequence[str] = (),
    helper: Callable[[], None] | None = None,
    force: bool = False,
) -> Manifest:
    """Run one stage, or do nothing when it has already finished with the same config and inputs.

    Args:
        run: the run directory.
        stage: folder name, one of STAGES.
        config: the resolved config sections that the stage depends on (any msgspec-encodable values).
        after: the stages whose artefacts it reads; each is verified first, and that they were made from each other.
        body: writes the artefacts into the folder it is given; what it returns goes into the manifest as `info`.
        inputs: further values that decide the result (fingerprints of input files).
        volatile: patterns of files whose bytes differ between equal results: they make no later stage run again.
        helper: for a process that helps another one with the stage: called instead of `body`; nothing is written here,
            and the other one has finished when it returns.
        force: run even when up to date.

    Returns:
        The manifest of the finished stage.

    Raises:
        ArtefactError: an earlier stage has not finished, its files were altered, or what it was made from has changed;
            or another process is writing the stage or one before it.
        CascadeError: the disk is full or unwritable; the earlier result, if any, is untouched.
    """
    origins(run.root, after)  # before anything is locked: where a stage is missing, nothing is written
    with nullcontext() if helper is not None else hold(run.root, writes=[stage], reads=after):
        _recover(run, stage)
        resolved = msgspec.to_builtins(dict(config))
        upstream = origins(run.root, after)
        check_origins(run.root, after)
        fingerprint = fingerprint_of(
            {"stage": stage, "config": resolved, "after": upstream, "inputs": msgspec.to_builtins(inputs or {})}
        )
        if not force and (done := _finished(run, stage, fingerprint)) is not None:
            console.say(f"{stage}: up to date")
            return done
        for name in after:
            verify(run.folder(name))
        if helper is not None:
            helper()
            return read_manifest(run.folder(stage))
        with _write_then_rename(run, stage) as folder, console.timed(stage):
            info = msgspec.json.decode(msgspec.json.encode(body(folder) or {}))  # as the next command reads it
            (folder / "config.json").write_bytes(msgspec.json.format(msgspec.json.encode(resolved), indent=1))
            manifest = write_manifest(folder, _blank(stage, fingerprint, resolved, info, upstream), volatile)
        shutil.rmtree(run.scratch(stage), ignore_errors=True)
        return manifest


def _finished(run: Run, stage: str, fingerprint: str) -> Manifest | None:
    try:
        manifest = read_manifest(run.folder(stage))
        if manifest.fingerprint != fingerprint or not manifest.content:
            return None
        return verify(run.folder(stage))
    except ArtefactError:
        return None


def _blank(
    stage: str, fingerprint: str, config: dict[str, Any], info: dict[str, Any], upstream: dict[str, str]
) -> Manifest:
    return Manifest(
        stage=stage,
        fingerprint=fingerprint,
        created_at=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        versions=package_versions(),
        config=config,
        files=[],
        info=info,
        after=upstream,
    )


def package_versions() -> dict[str, str]:
    """Packages that artefacts depend on -> their versions here."""
    found = {}
    for package in VERSIONED_PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def _recover(run: Run, stage: str) -> None:
    """Put the earlier result back where a killed process had moved it aside and not yet moved the new one in."""
    final, old = run.folder(stage), run.root / f".{stage}.old"
    if old.exists() and not final.exists():
        with suppress(FileNotFoundError):  # another process of the same stage was faster
            old.rename(final)


@contextmanager
def _write_then_rename(run: Run, stage: str) -> Iterator[Path]:
    """Give a fresh folder; move it into place only when the body ends well."""
    final, fresh, old = run.folder(stage), run.root / f".{stage}.new", run.root / f".{stage}.old"
    shutil.rmtree(fresh, ignore_errors=True)
    with writing(stage, run.root):
        try:
            fresh.mkdir(parents=True)
            yield fresh
            shutil.rmtree(old, ignore_errors=True)
            if final.exists():
                final.rename(old)
            fresh.rename(final)
            shutil.rmtree(old, ignore_errors=True)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise
