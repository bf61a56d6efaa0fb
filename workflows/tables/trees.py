"""Folders, here and behind fsspec, seen alike: the names in one, and every file below one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from workflows.core.errors import DataError
from workflows.tables.formats import has_known_format

__all__ = ["LocalTree", "Names", "RemoteTree", "Tree", "filesystem", "joined"]

Names = dict[str, bool]  # what stands in a folder -> whether it is a folder itself
Enter = Callable[[str, Names], Names]  # a folder and its names -> those that are read


class Tree(Protocol):
    """What finding needs of a filesystem."""

    def is_file(self, path: str) -> bool:
        """Whether a file is there."""
        ...

    def is_folder(self, path: str) -> bool:
        """Whether a folder is there."""
        ...

    def exists(self, path: str) -> bool:
        """Whether anything is there that can be opened."""
        ...

    def names(self, folder: str) -> Names:
        """What stands in a folder."""
        ...

    def below(self, folder: str, enter: Enter) -> Iterator[str]:
        """Every file below a folder, of the names that `enter` leaves of each folder on the way."""
        ...

    def above(self, folder: str) -> list[str]:
        """The folder under its full name, and those that hold it, nearest first."""
        ...


class LocalTree:
    """The local filesystem; symbolic links are followed.

    Args:
        table: what the table is called in messages.
    """

    def __init__(self, table: str) -> None:
        self.table = table

    def is_file(self, path: str) -> bool:
        """As in `Tree`."""
        return _is_so(Path(path).is_file)

    def is_folder(self, path: str) -> bool:
        """As in `Tree`."""
        return _is_so(Path(path).is_dir)

    def exists(self, path: str) -> bool:
        """As in `Tree`."""
        return _is_so(Path(path).exists)

    def names(self, folder: str) -> Names:
        """As in `Tree`.

        Raises:
            DataError: the folder cannot be listed.
        """
        try:
            with os.scandir(folder or ".") as entries:
                return {entry.name: _is_so(entry.is_dir) for entry in entries}
        except OSError as error:
            raise DataError(f"{self.table}: {folder} cannot be listed ({error.strerror}); correct its rights") from None

    def below(self, folder: str, enter: Enter) -> Iterator[str]:
        """As in `Tree`.

        Raises:
            DataError: a symbolic link leads back to a folder that holds it.
        """
        return self._below(folder, enter, ())

    def _below(self, folder: str, enter: Enter, holders: tuple[str, ...]) -> Iterator[str]:
        real = str(Path(folder).resolve())
        if real in holders:
            raise DataError(
                f"{self.table}: {folder} is a symbolic link back to {real}, which holds it, so that its files have no "
                "end; remove the link"
            )
        for name, is_folder in enter(folder, self.names(folder)).items():
            path = joined(folder, name)
            if is_folder:
                yield from self._below(path, enter, (*holders, real))
            else:
                yield path

    def above(self, folder: str) -> list[str]:
        """As in `Tree`."""
        whole = Path(folder).resolve()
        return [str(whole), *map(str, whole.parents)]


class RemoteTree:
    """A filesystem of fsspec. What is below a folder is listed at once: a call a folder takes minutes on object stores.

    Args:
        table: what the table is called in messages.
        scheme: of its URLs.
    """

    def __init__(self, table: str, scheme: str) -> None:
        self.table, self.scheme = table, scheme
        self.system = filesystem(table, scheme)

    def is_file(self, path: str) -> bool:
        """As in `Tree`; of a name with a known end only, as every page of a web server is a file."""
        return has_known_format(path) and bool(self._ask(self.system.isfile, path))

    def is_folder(self, path: str) -> bool:
        """As in `Tree`."""
        return bool(self._ask(self.system.isdir, path))

    def exists(self, path: str) -> bool:
        """As in `Tree`."""
        return bool(self._ask(self.system.exists, path))

    def names(self, folder: str) -> Names:
        """As in `Tree`."""
        found = self._ask(self.system.ls, folder, detail=True)
        return {entry["name"].rstrip("/").rsplit("/", 1)[-1]: entry["type"] == "directory" for entry in found}

    def below(self, folder: str, enter: Enter) -> Iterator[str]:
        """As in `Tree`."""
        top = str(self.system._strip_protocol(folder)).rstrip("/")
        inside: dict[str, Names] = {}
        for file in self._ask(self.system.find, folder):
            parts = str(file)[len(top) :].strip("/").split("/")
            for depth, name in enumerate(parts):
                place = "/".join([folder.rstrip("/"), *parts[:depth]])
                inside.setdefault(place, {})[name] = depth < len(parts) - 1
        return self._below(folder.rstrip("/"), inside, enter)

    def _below(self, folder: str, inside: dict[str, Names], enter: Enter) -> Iterator[str]:
        for name, is_folder in enter(folder, inside.get(folder, {})).items():
            path = joined(folder, name)
            if is_folder:
                yield from self._below(path, inside, enter)
            else:
                yield path

    def above(self, folder: str) -> list[str]:
        """As in `Tree`; none on the web, where nobody keeps such tables and every look is a request."""
        if self.scheme in ("http", "https"):
            return []
        parts = folder.removeprefix(f"{self.scheme}://").strip("/").split("/")
        return [f"{self.scheme}://" + "/".join(parts[:depth]) for depth in range(len(parts), 0, -1)]

    def _ask(self, call: Callable[..., Any], path: str, **options: Any) -> Any:
        try:
            return call(path, **options)
        except OSError as error:
            raise DataError(
                f"{self.table}: {path} cannot be listed ({error}); check the URL and its credentials"
            ) from None


def _is_so(check: Callable[[], bool]) -> bool:
    """False also for names that no file can have, such as a glob of more than 255 characters."""
    try:
        return check()
    except OSError:
        return False


def joined(folder: str, name: str) -> str:
    """The path of a name in a folder; "" is the working directory."""
    return f"{folder}{name}" if not folder or folder.endswith("/") else f"{folder}/{name}"


def filesystem(table: str, scheme: str, *, alone: bool = False) -> Any:
    """The filesystem of a scheme of fsspec; `alone`: an object that nobody else holds.

    Raises:
        DataError: fsspec does not know the scheme, or what it needs is not installed.
    """
    import fsspec

    try:
        return fsspec.filesystem(scheme, skip_instance_cache=alone)
    except (ValueError, ImportError, OSError) as error:
        reason = str(error).partition("\n")[0].rstrip(".:")
        raise DataError(
            f"{table}: the URL scheme {scheme}:// cannot be used ({reason}); install what is missing beside "
            "Cascade, or copy the files"
        ) from None
