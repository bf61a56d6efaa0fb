"""The JSON files of a run directory as types that their writers and all their readers share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import msgspec

from workflows.core.artefacts import MANIFEST_NAME, Manifest, read_manifest
from workflows.core.errors import ArtefactError
from workflows.core.origins import COMMANDS

__all__ = ["META_FILE", "Info", "Meta", "Record"]

META_FILE = "meta.json"
VERSION = "format_version"

Made = TypeVar("Made", bound="Record")
Loaded = TypeVar("Loaded", bound="Meta")
InfoType = TypeVar("InfoType", bound="Info")


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What the stage reports of its result.

    A subclass tells in its docstring what each key means; docs/ARTEFACTS.md is made of it.
    """

    stage: ClassVar[str]

    @classmethod
    def convert(cls: type[Made], record: dict[str, Any], where: str) -> Made:
        """Make it of a JSON object.

        Args:
            record: the object.
            where: the file, for the sentence.

        Raises:
            ArtefactError: a key is missing, unknown or of another type.
        """
        again = f"run cascade {COMMANDS[cls.stage]} again with --force"
        try:
            made = msgspec.convert(record, cls)
        except msgspec.ValidationError as error:
            raise ArtefactError(f"{where} is not what this Cascade reads ({error}); {again}") from None
        if unknown := sorted(_unknown(record, msgspec.to_builtins(made))):
            raise ArtefactError(f"{where} has keys that this Cascade does not know ({', '.join(unknown)}); {again}")
        return made


class Meta(Record, frozen=True, kw_only=True):
    """meta.json of a stage.

    A subclass whose keys change gets the next version. Where only their names changed, `renamed` gives the new one by
    the old one, and files of earlier versions are read; else its stage names the version among its inputs: then it runs
    again.
    """

    version: ClassVar[int] = 1
    renamed: ClassVar[Mapping[str, str]] = {}

    def save(self, folder: Path) -> None:
        """Write `folder`/meta.json."""
        record = {VERSION: self.version, **msgspec.to_builtins(self)}
        (folder / META_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=1))

    @classmethod
    def load(cls: type[Loaded], folder: Path) -> Loaded:
        """Read `folder`/meta.json.

        Raises:
            ArtefactError: it is missing or no JSON object, of another format version, or a key is missing, unknown or
                of another type.
        """
        path, again = folder / META_FILE, f"run cascade {COMMANDS[cls.stage]} again with --force"
        try:
            record = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ArtefactError(f"{path} cannot be read ({error}); {again}") from None
        # Releases before the first that wrote a version wrote the same keys.
        version = record.pop(VERSION, 1)
        if cls.renamed and version in range(1, cls.version):
            record = {cls.renamed.get(key, key): value for key, value in record.items()}
        elif version != cls.version:
            raise ArtefactError(f"{path} has format version {version}, this Cascade reads {cls.version}; {again}")
        return cls.convert(record, str(path))


class Info(Record, frozen=True, kw_only=True):
    """`info` in the manifest of a stage."""

    @classmethod
    def load(cls: type[InfoType], folder: Path) -> InfoType:
        """Read it from the manifest of a finished stage.

        Raises:
            ArtefactError: the stage has not finished, or a key is missing, unknown or of another type.
        """
        return cls.of(read_manifest(folder), folder)

    @classmethod
    def of(cls: type[InfoType], manifest: Manifest, folder: Path) -> InfoType:
        """The same of a manifest that has been read; its folder is for the sentence."""
        return cls.convert(manifest.info, f"info in {folder / MANIFEST_NAME}")


def _unknown(given: Any, known: Any, path: str = "") -> Iterator[str]:
    """Paths of the keys that were given and are not known."""
    if isinstance(given, dict) and isinstance(known, dict):
        for name, value in given.items():
            if name not in known:
                yield f"{path}{name}"
            else:
                yield from _unknown(value, known[name], f"{path}{name}.")
    elif isinstance(given, list) and isinstance(known, list | tuple):
        for number, (value, part) in enumerate(zip(given, known, strict=True)):
            yield from _unknown(value, part, f"{path}{number}.")
