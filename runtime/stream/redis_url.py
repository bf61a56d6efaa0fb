"""Where a state on Redis, Valkey or a cluster of them is: the URL that CASCADE_STORE holds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit

from runtime.stream.store import StoreError

__all__ = ["STORE_VARIABLE", "StoreUrl", "read_url"]

# What tells the server's processes where the state is, when it is not on this machine.
STORE_VARIABLE = "CASCADE_STORE"
SCHEMES = ("redis", "rediss")
# Behind one of them: the hosts are sentinels, which say where the store is now.
SENTINEL = "+sentinel"
HOST = re.compile(r"([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")
DATABASE = re.compile(r"[0-9]{1,5}")
PREFIX = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
EXAMPLE = "redis://host:6379/0?prefix=shop, or for a cluster redis://host1:6379,host2:6379"
WITH_SENTINELS = "redis+sentinel://host1:26379,host2:26379/NAME, with the name of the store that the sentinels watch"


@dataclass(frozen=True)
class StoreUrl:
    """A store.

    Attributes:
        each: a URL for each server that it names, as redis takes them; of sentinels, with the store's login.
        shown: for people: without user, password and options.
        prefix: of every key, for several products in one store.
        watched: the name of the store that sentinels watch, whose hosts they are; "": they are the store's own.
    """

    each: tuple[str, ...]
    shown: str
    prefix: str
    watched: str = ""


def read_url(text: str) -> StoreUrl:
    """Read a URL.

    Raises:
        StoreError: it is none; the sentence never holds what may be a password.
    """
    try:
        parts = urlsplit(text)
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError:
        raise StoreError(f"the store's URL cannot be read; expected {EXAMPLE}") from None
    prefix = options.pop("prefix", "cascade")
    login, at, hosts = parts.netloc.rpartition("@")
    if "@" in f"{parts.path}{parts.query}" or parts.fragment:
        # A password with one of / ? # in it ends early, and the rest would be shown as host or path.
        raise StoreError("the store's URL cannot be read; write / ? # @ : in a user or password as %2F %3F %23 %40 %3A")
    scheme, is_watched = parts.scheme.removesuffix(SENTINEL), parts.scheme.endswith(SENTINEL)
    if scheme not in SCHEMES or not all(map(HOST.fullmatch, hosts.split(","))):
        raise StoreError(
            f"the store's URL must begin with redis:// or rediss:// and name a host, such as {EXAMPLE}; or with "
            f"sentinels {WITH_SENTINELS}"
        )
    if not PREFIX.fullmatch(prefix):
        raise StoreError(
            f"the store's prefix {prefix!r:.80} may have letters, digits and . : _ - alone, at most 64 of them"
        )
    watched, path = "", parts.path
    if is_watched:
        watched, _, database = parts.path.strip("/").partition("/")
        if not watched or (database and not DATABASE.fullmatch(database)):
            raise StoreError(f"the URL of sentinels must be like {WITH_SENTINELS}, and after it a number at most")
        path = f"/{database}"
    query = f"?{urlencode(options)}" if options else ""
    return StoreUrl(
        each=tuple(f"{scheme}://{login}{at}{host}{path}{query}" for host in hosts.split(",")),
        shown=f"{parts.scheme}://{hosts}{parts.path}",
        prefix=prefix,
        watched=watched,
    )
