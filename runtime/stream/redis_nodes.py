"""Commands to a Redis or Valkey server or to the nodes of a cluster: what is away costs one wait, not one a request."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, cast

from runtime.stream.redis_url import StoreUrl
from runtime.stream.store import StoreError

__all__ = ["Command", "Nodes"]

SENTINEL_PORT = 26379
# How often a server that is away is looked for again, and how long a look and the first connection may take.
PROBE_S, CONNECT_S = 0.1, 1.0
ONLY = "the server"


class Command(NamedTuple):
    """What a node is asked.

    Attributes:
        key: which node has it follows from this key.
        arguments: the command itself, as bytes.
    """

    key: bytes
    arguments: tuple[Any, ...]


def _packer() -> Callable[[tuple[Any, ...]], bytes]:
    """What makes the bytes of a command, whose arguments are all bytes."""
    try:
        from hiredis import pack_command  # many times faster
    except ImportError:
        return _pack
    return cast(Callable[[tuple[Any, ...]], bytes], pack_command)


def _pack(arguments: tuple[Any, ...]) -> bytes:
    parts = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        parts += (b"$%d\r\n" % len(argument), argument, b"\r\n")
    return b"".join(parts)


class Nodes:
    """One server, one that sentinels name, or a cluster.

    A node that does not answer in time is away until a thread of its own has found it.

    Args:
        url: of the server, or of some nodes of the cluster.
        timeout_s: how long an answer may take.

    Attributes:
        is_cluster: whether keys are spread over nodes; false until something has answered.
    """

    def __init__(self, url: StoreUrl, timeout_s: float) -> None:
        import redis  # not needed by a chain whose state is on this machine

        self._redis: Any = redis
        self._pack = _packer()
        self._url, self._timeout_s = url, timeout_s
        self._client: Any = None
        self._down: dict[str, str] = {}
        self._lock = threading.Lock()
        self._probe: threading.Thread | None = None
        self.is_cluster = False
        if why := self._connect():
            self._lost(ONLY, why)

    def run(self, commands: Sequence[Command]) -> list[Any]:
        """The answers, in order; those of one node are to commands that it has run in order.

        An answer that could not be had is a StoreError, and one that is an error is an exception of redis.
        """
        answers: list[Any] = [None] * len(commands)
        by_node: dict[str, tuple[Any, list[int]]] = {}
        for place, command in enumerate(commands):
            name, client = self._node(command.key)
            if client is None or name in self._down:
                answers[place] = self._away(name)
            else:
                by_node.setdefault(name, (client, []))[1].append(place)
        self._exchange(by_node, commands, answers)
        if self.is_cluster:
            for place, answer in enumerate(answers):
                if isinstance(answer, (self._redis.exceptions.MovedError, self._redis.exceptions.AskError)):
                    answers[place] = self._redirected(commands[place])
        return answers

    def scan(self, pattern: bytes) -> Iterator[bytes]:
        """All keys that match; one that is there all the while comes at least once.

        Raises:
            StoreError: a node is away.
        """
        for client in self._each():
            try:
                yield from client.scan_iter(match=pattern, count=1000)
            except (self._redis.RedisError, OSError) as error:
                raise StoreError(f"the store {self._url.shown} cannot be looked through ({error})") from error

    def _each(self) -> list[Any]:
        """A client of every node that holds keys."""
        if self._client is None or self._down:
            raise self._away(next(iter(self._down), ONLY))
        if not self.is_cluster:
            return [self._client]
        return [self._client.get_redis_connection(node) for node in self._client.get_primaries()]

    def close(self) -> None:
        """Give the connections back."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _node(self, key: bytes) -> tuple[str, Any]:
        """The name of a key's node and a client of it; None where there is none."""
        client = self._client
        if client is None or not self.is_cluster:
            return ONLY, client
        try:
            node = client.get_node_from_key(key)
        except self._redis.RedisError:
            node = None
        return (ONLY, None) if node is None else (node.name, client.get_redis_connection(node))

    def _exchange(self, by_node: dict[str, tuple[Any, list[int]]], commands: Sequence[Command], answers: list) -> None:
        """Ask all nodes, then read all answers."""
        asked = []
        for name, (client, places) in by_node.items():
            connection = None
            try:
                connection = client.connection_pool.get_connection()
                connection.send_packed_command([self._pack(commands[place].arguments) for place in places])
                asked.append((name, client.connection_pool, connection, places))
            except (self._redis.RedisError, OSError) as error:
                self._give_up(name, client.connection_pool, connection, error)
                for place in places:
                    answers[place] = self._away(name)
        for name, pool, connection, places in asked:
            try:
                for place in places:
                    answers[place] = self._answer(connection)
                pool.release(connection)
            except (self._redis.RedisError, OSError) as error:
                self._give_up(name, pool, connection, error)
                for place in places:
                    answers[place] = self._away(name)

    def _answer(self, connection: Any) -> Any:
        try:
            return connection.read_response()
        except self._redis.ResponseError as error:
            return error

    def _give_up(self, name: str, pool: Any, connection: Any, error: Exception) -> None:
        if connection is not None:
            connection.disconnect()
            pool.release(connection)
        self._lost(name, str(error))

    def _redirected(self, command: Command) -> Any:
        """The answer of the node that a key has moved to."""
        try:
            return self._client.execute_command(*command.arguments)
        except (self._redis.RedisError, OSError) as error:
            return StoreError(f"the store {self._url.shown} cannot be used ({error})")

    def _away(self, name: str) -> StoreError:
        why = self._down.get(name, "it does not answer")
        return StoreError(f"the store {self._url.shown} is away ({name}: {why})")

    def _lost(self, name: str, why: str) -> None:
        with self._lock:
            self._down[name] = why
            if self._probe is None:
                self._probe = threading.Thread(target=self._look, name="cascade-store", daemon=True)
                self._probe.start()

    def _look(self) -> None:
        """Until everything is found again."""
        while True:
            time.sleep(PROBE_S)
            found = self._found()
            with self._lock:
                for name in found:
                    self._down.pop(name, None)
                if not self._down:
                    self._probe = None
                    return

    def _found(self) -> list[str]:
        """What was away and is there again, or is no node any more."""
        if self._client is None:
            return [] if self._connect() else list(self._down)
        try:
            if not self.is_cluster:
                self._client.ping()
                return list(self._down)
            self._client.nodes_manager.initialize()
            nodes = {node.name: node for node in self._client.get_nodes()}
        except (self._redis.RedisError, OSError):
            return []
        found = []
        for name in tuple(self._down):
            try:
                if name in nodes:
                    self._client.get_redis_connection(nodes[name]).ping()
                found.append(name)
            except (self._redis.RedisError, OSError):
                continue
        return found

    def _connect(self) -> str:
        """Why nothing could be reached; "" where it could."""
        own = {"socket_timeout": self._timeout_s, "socket_connect_timeout": max(self._timeout_s, 0.05)}
        if self._url.watched:
            return self._ask_sentinels(own)
        why = ""
        for url in self._url.each:
            patient = {"socket_timeout": CONNECT_S, "socket_connect_timeout": CONNECT_S}
            try:
                first = self._redis.Redis.from_url(url, **self._options(), **patient)
                self.is_cluster = bool(first.info("cluster").get("cluster_enabled"))
                first.close()
                kind = self._redis.RedisCluster if self.is_cluster else self._redis.Redis
                self._client = kind.from_url(url, **self._options(), **own)
                return ""
            except (self._redis.RedisError, OSError, TypeError, ValueError) as error:
                why = str(error)
        return why

    def _ask_sentinels(self, own: dict[str, float]) -> str:
        """Why no sentinel names the store, or it does not answer; each connection asks them anew."""
        from redis.connection import parse_url
        from redis.sentinel import Sentinel

        each = [dict(parse_url(url)) for url in self._url.each]
        hosts = [(options.pop("host", "localhost"), options.pop("port", SENTINEL_PORT)) for options in each]
        secure = each[0].pop("connection_class", None) is not None
        patient = {"socket_timeout": CONNECT_S, "socket_connect_timeout": CONNECT_S, "ssl": secure}
        try:
            sentinels = Sentinel(hosts, sentinel_kwargs={**self._options(), **patient})
            client = sentinels.master_for(self._url.watched, ssl=secure, **each[0], **self._options(), **own)
            client.ping()
        except (self._redis.RedisError, OSError, TypeError, ValueError) as error:
            return str(error)
        self._client = client
        return ""

    def _options(self) -> dict[str, Any]:
        """Nothing is tried twice: whoever asks knows what to do without an answer."""
        backoff = self._redis.backoff.NoBackoff()
        return {"protocol": 2, "retry": self._redis.retry.Retry(backoff, 0)}
