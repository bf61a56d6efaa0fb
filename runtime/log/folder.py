"""LOG, the folder that the processes of a server write sampled requests to: its parts by name, and its salt.

open/ holds the segments that are being written, ready/ those that a collector may take. Whoever writes a segment holds
a lock on it, which the system drops when the process ends, however it ends.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from runtime.log.usage import MOST_CONSUMERS
from runtime.stream.log.errors import LogError

__all__ = [
    "CONSUMERS_VARIABLE",
    "DROPPED_VARIABLE",
    "FOLDER_VARIABLE",
    "KEY_BYTES",
    "OPEN",
    "OPEN_SUFFIX",
    "READY",
    "READY_SUFFIX",
    "SHARE_VARIABLE",
    "LogSettings",
    "Salt",
    "check_columns",
    "log_settings",
    "make_log",
    "old_salts",
    "read_salt",
    "renew_salt",
    "salts",
]

# What tells the server's processes where the log is, and how it is kept.
FOLDER_VARIABLE, SHARE_VARIABLE = "CASCADE_LOG", "CASCADE_LOG_SHARE"
CONSUMERS_VARIABLE, DROPPED_VARIABLE = "CASCADE_LOG_CONSUMERS", "CASCADE_LOG_DROP_CONTEXT"
OPEN, READY = "open", "ready"
OPEN_SUFFIX, READY_SUFFIX = ".open", ".seg"
SALT, OLD_SALTS = "salt", "salts"
SALT_BYTES, KEY_BYTES = 32, 16


@dataclass(frozen=True)
class LogSettings:
    """How requests are logged.

    Attributes:
        folder: LOG.
        share: of the requests, from 0 to 1.
        consumers: names that are told apart; another one counts as "other"; empty: all of them.
        dropped: context columns that are never written.
    """

    folder: Path
    share: float = 0.05
    consumers: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()

    def variables(self) -> dict[str, str]:
        """What a server's processes read them from."""
        return {
            FOLDER_VARIABLE: str(self.folder.absolute()),
            SHARE_VARIABLE: repr(self.share),
            CONSUMERS_VARIABLE: ",".join(self.consumers),
            DROPPED_VARIABLE: ",".join(self.dropped),
        }


@dataclass(frozen=True)
class Salt:
    """What user keys are made with.

    Attributes:
        id: tells one from another and says nothing of it.
        secret: 32 bytes.
    """

    id: str
    secret: bytes

    def user_key(self, user: bytes) -> bytes:
        """KEY_BYTES for a raw user id; see `user_bytes` of runtime.log.sampling."""
        hashed = self._hasher.copy()
        hashed.update(user)
        return hashed.digest()

    @cached_property
    def _hasher(self) -> hashlib.blake2b:
        """A copy of it costs less than another one."""
        return hashlib.blake2b(digest_size=KEY_BYTES, key=self.secret)


def log_settings() -> LogSettings | None:
    """What the variables say; None: nothing is logged.

    Raises:
        LogError: the share is none, or too many consumers are named.
    """
    folder = os.environ.get(FOLDER_VARIABLE, "")
    if not folder:
        return None
    text = os.environ.get(SHARE_VARIABLE) or repr(LogSettings.share)
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise LogError(f"the share of requests to log must be from 0 to 1, got {text!r} in {SHARE_VARIABLE}")
    consumers, dropped = (_names(os.environ.get(name, "")) for name in (CONSUMERS_VARIABLE, DROPPED_VARIABLE))
    if len(consumers) > MOST_CONSUMERS:
        raise LogError(
            f"{CONSUMERS_VARIABLE} names {len(consumers)}, expected at most {MOST_CONSUMERS}: name those that matter"
        )
    return LogSettings(Path(folder), share, consumers, dropped)


def check_columns(settings: LogSettings, there: Collection[str]) -> None:
    """Refuse to drop a column that is misspelt: the one that was meant would be logged.

    Args:
        settings: how requests are logged.
        there: the context columns of the chain.

    Raises:
        LogError: one of `settings.dropped` is none of them.
    """
    for name in settings.dropped:
        if name not in there:
            raise LogError(
                f"the context column '{name}' is not to be logged (--log-drop-context, {DROPPED_VARIABLE}), expected "
                f"one of {', '.join(sorted(there)) or 'none'}"
            )


def make_log(folder: Path) -> None:
    """Make a LOG folder where it is absent, with a new salt where it holds nothing yet.

    Raises:
        LogError: it cannot be written, or holds requests and no salt, or a salt that others may read.
    """
    try:
        (folder / OPEN).mkdir(parents=True, exist_ok=True)
        (folder / READY).mkdir(exist_ok=True)
        is_new = not any(path for part in (OPEN, READY) for path in (folder / part).iterdir())
        if is_new and not (folder / SALT).exists() and not (folder / OLD_SALTS).exists():
            _write_salt(folder, is_first=True)
        why = "" if os.access(folder / OPEN, os.W_OK | os.X_OK) else "no permission"
    except OSError as error:
        why = error.strerror or str(error)
    if why:
        raise LogError(f"the request log {folder} cannot be written ({why}); make it writable, or name another folder")
    read_salt(folder)


def read_salt(folder: Path) -> Salt:
    """The salt of a LOG folder.

    Raises:
        LogError: there is none, or others may read it.
    """
    return _read(folder / SALT)


def renew_salt(folder: Path) -> Salt:
    """Put a new salt in the place of the salt, which is kept for what was logged with it.

    Servers take the new one with their next start or reload.

    Raises:
        LogError: there is no salt, or the folder cannot be written.
    """
    old = read_salt(folder)
    try:
        (folder / OLD_SALTS).mkdir(mode=0o700, exist_ok=True)
        kept = folder / OLD_SALTS / old.id
        if not kept.exists():
            os.link(folder / SALT, kept)
        _write_salt(folder)
    except OSError as error:
        raise LogError(f"{folder / SALT} cannot be renewed ({error.strerror})") from error
    return read_salt(folder)


def salts(folder: Path) -> list[Salt]:
    """The salt of a LOG folder and those before it that are kept.

    Raises:
        LogError: one of them cannot be read.
    """
    return [_read(path) for path in (folder / SALT, *old_salts(folder))]


def old_salts(folder: Path) -> list[Path]:
    """The files of the salts before the salt, each named by its id."""
    return sorted((folder / OLD_SALTS).iterdir()) if (folder / OLD_SALTS).is_dir() else []


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _write_salt(folder: Path, *, is_first: bool = False) -> None:
    """A new secret, which is there as a whole or not at all and which only its owner may read.

    Of several processes that write the first one, all go on with the secret of one.
    """
    fresh = folder / f".{SALT}.{os.getpid()}.{secrets.token_hex(4)}"
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(handle, secrets.token_bytes(SALT_BYTES))
        os.fsync(handle)
    finally:
        os.close(handle)
    if not is_first:
        fresh.replace(folder / SALT)
        return
    with suppress(FileExistsError):
        os.link(fresh, folder / SALT)
    fresh.unlink()


def _read(path: Path) -> Salt:
    try:
        mode, secret = path.stat().st_mode, path.read_bytes()
    except FileNotFoundError:
        raise LogError(
            f"{path} is missing, with which the user keys of this log were made; put a copy of it back, or name "
            f"another folder for the log"
        ) from None
    except OSError as error:
        raise LogError(f"{path} cannot be read ({error.strerror})") from error
    if mode & 0o077:
        raise LogError(f"{path} may be read by others (mode {mode & 0o777:o}), and it is a secret: chmod 600 {path}")
    if len(secret) != SALT_BYTES:
        raise LogError(f"{path} has {len(secret)} bytes, expected {SALT_BYTES}: put a copy of it back")
    return Salt(hashlib.blake2b(secret, digest_size=4).hexdigest(), secret)
