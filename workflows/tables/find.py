"""Find the files of a table: file, folder, glob, list or fsspec URL."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from workflows.core.errors import DataError
from workflows.tables.formats import format_of
from workflows.tables.lake.find import find_snapshots
from workflows.tables.source import Source
from workflows.tables.trees import LocalTree, RemoteTree, Tree, joined
from workflows.tables.visible import Visible, key_of

__all__ = ["check_no_file_twice", "find"]

LOCAL_SCHEMES = ("file", "local")


def find(table: str, spec: str | Sequence[str]) -> Source:
    """List the files that `spec` names, sorted within each folder and glob.

    What exists under the very name is taken before the name is read as a glob. A folder that is a Delta or Iceberg
    table is one at its newest version, or at that of FOLDER@VERSION. Below folders and for wildcards, hidden
    files and folders are left out, aloud; symbolic links are followed. A folder that matches a glob is read whole.

    Args:
        table: what the table is called in messages (events, items, users).
        spec: file, folder, glob or fsspec URL, or several of them.

    Raises:
        DataError: nothing is there; the format is unknown, mixed, or that of a Hudi table; a folder holds a Delta or
            Iceberg table among others, or is a part of one; a symbolic link leads nowhere or in a circle; a file is
            named twice.
        SetupError: the package that reads Delta or Iceberg is not installed.
    """
    specs = [spec] if isinstance(spec, str) else list(spec)
    if lake := find_snapshots(table, specs):
        check_no_file_twice({table: lake.files})
        return lake
    files = [file for one in specs for file in _files(table, one)]
    formats = {format_of(table, file) for file in files}
    if len(formats) > 1:
        raise DataError(f"{table}: expected files of one format, got Parquet and CSV in {specs}; name one kind")
    if not files:
        raise DataError(f"{table}: expected at least one path, got an empty list; set {key_of(table)}")
    check_no_file_twice({table: files})
    return Source(table, files, formats.pop())


def check_no_file_twice(tables: Mapping[str, Iterable[str]]) -> None:
    """Refuse files whose rows would be read twice: named twice, or one file under two names (a link).

    Args:
        tables: table -> its files, of tables that are read as one.

    Raises:
        DataError: names both.
    """
    known: dict[object, tuple[str, str]] = {}
    for table, files in tables.items():
        for file in files:
            identities = _identities(file)
            if found := next((known[identity] for identity in identities if identity in known), None):
                raise DataError(_twice(table, file, *found))
            known |= dict.fromkeys(identities, (table, file))


def _twice(table: str, file: str, before: str, name: str) -> str:
    if name == file:
        where = "twice" if before == table else f"in {before} and in {table}"
        return f"{table}: {file} is named {where}, so its rows would be read twice; name it once"
    where = "" if before == table else f" of {before}"
    return (
        f"{table}: {file} and {name}{where} are one and the same file, so its rows would be read twice; remove the "
        "link or name one of them"
    )


def _identities(file: str) -> list[object]:
    if "://" in file:
        return [file]
    stat = Path(file).stat()
    hard_links = [(stat.st_dev, stat.st_ino)] if stat.st_nlink > 1 else []
    return [str(Path(file).resolve()), *hard_links]


def _files(table: str, spec: str) -> list[str]:
    tree, path, top, wildcards = _place(table, spec)
    if tree.is_file(path):
        return [path]
    if tree.is_folder(path):
        visible = Visible(table, tree)
        visible.refuse_table_above(path)
        return _tables(visible, tree.below(path, visible.enter), f"Parquet or CSV files in {spec}, got none")
    if tree.exists(path):
        return [path]
    if "://" not in path and Path(path).is_symlink():
        _check_link(table, path)
    if not any(sign in path for sign in wildcards):
        expected = "files" if "://" in spec else "a file or folder"
        raise DataError(f"{table}: expected {expected} at {spec}, got nothing there; correct {key_of(table)}")
    parts = path.removeprefix(top).split("/")
    while len(parts) > 1 and tree.is_folder(joined(top, parts[0])):
        top = joined(top, parts.pop(0))
    visible = Visible(table, tree, parts)
    visible.refuse_table_above(top)
    return _tables(visible, _glob(visible, top, parts), f"files at {spec}, got no match")


def _place(table: str, spec: str) -> tuple[Tree, str, str, str]:
    """Where a spec is looked for, its path there, what the path starts with, and the wildcards of globs there."""
    scheme, separator, rest = spec.partition("://")
    if not separator or scheme in LOCAL_SCHEMES:
        path = rest if separator else spec
        return LocalTree(table), path.rstrip("/") or path, "/" if path.startswith("/") else "", "*?["
    # On the web, a question mark starts a query.
    return RemoteTree(table, scheme), spec.rstrip("/"), f"{scheme}://", "*[" if scheme.startswith("http") else "*?["


def _tables(visible: Visible, found: Iterable[str], expected: str) -> list[str]:
    files = sorted(set(found))
    for file in files:
        if "://" not in file:
            _check_link(visible.table, file)
    if tables := visible.tables_of(files):
        return tables
    raise DataError(f"{visible.table}: expected {expected}; correct {key_of(visible.table)}")


def _check_link(table: str, file: str) -> None:
    """Refuse a symbolic link that leads nowhere, in a circle, or where the rights end."""
    try:
        Path(file).stat()
    except OSError as error:
        if not Path(file).is_symlink():
            raise DataError(f"{table}: {file} cannot be read ({error.strerror}); correct its rights") from None
        target = Path(file).readlink()
        if error.errno == errno.ELOOP:
            raise DataError(
                f"{table}: {file} is a symbolic link to {target}, which leads back to it; remove the link"
            ) from None
        if error.errno == errno.ENOENT:
            raise DataError(
                f"{table}: {file} is a symbolic link to {target}, which is not there; bring its target back or remove "
                "the link"
            ) from None
        raise DataError(
            f"{table}: {file} is a symbolic link to {target}, which cannot be read ({error.strerror}); correct its "
            "rights or remove the link"
        ) from None


def _glob(visible: Visible, folder: str, parts: Sequence[str]) -> Iterator[str]:
    """The files in a folder that match the parts of a glob; every file of a folder that does."""
    tree, head, rest = visible.tree, parts[0], parts[1:]
    if head == "**":
        start = len(joined(folder, ""))
        for file in tree.below(folder, visible.enter):
            if _matches(file[start:].split("/"), parts):
                yield file
        return
    names = tree.names(folder)
    visible.refuse_table(folder, names)
    matching = [head] if head in names else [name for name in names if fnmatchcase(name, head)]
    for name, is_folder in visible.shown(folder, {name: names[name] for name in matching}).items():
        path = joined(folder, name)
        if rest:
            yield from _glob(visible, path, rest) if is_folder else ()
        else:
            yield from tree.below(path, visible.enter) if is_folder else [path]


def _matches(names: Sequence[str], parts: Sequence[str]) -> bool:
    """Whether the names of a path, or the first of them, match the parts of a glob."""
    if not parts:
        return True
    if parts[0] == "**":
        return any(_matches(names[skipped:], parts[1:]) for skipped in range(len(names)))
    return bool(names) and fnmatchcase(names[0], parts[0]) and _matches(names[1:], parts[1:])
