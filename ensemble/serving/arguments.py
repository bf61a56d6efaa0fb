"""The command line of tritonserver: every setting that matters is explicit."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from ensemble.serving.binary import TritonBinary
from runtime.stream.fields import EVENTS_MODEL, KEY
from workflows.core.device import num_gpus

__all__ = ["ADMIN_HEADER", "GRPC_HEADER_PREFIX", "server_arguments"]

ADMIN_HEADER = "cascade-admin-key"
GRPC_HEADER_PREFIX = "triton-grpc-protocol-"
# Of a request: who sends it, whether it is to be logged in any case, and the sender's trace.
LOG_HEADERS = ("x-cascade-.*", "traceparent")
RESTRICTED_APIS = ("model-repository", "shared-memory", "trace", "logging")
# Small enough for several models in the 64 MB that Docker gives /dev/shm; it grows when a request needs more.
SHM_BYTES = 1 << 20
STUB_TIMEOUT_S = 300
EXIT_TIMEOUT_S = 10


def server_arguments(
    binary: TritonBinary,
    repository: Path,
    models: Sequence[str],
    *,
    hosts: Mapping[str, str],
    ports: Mapping[str, int],
    shm_prefix: str,
    admin_key: str,
    forwards_log_headers: bool = False,
) -> list[str]:
    """The program and its arguments.

    Args:
        binary: the tritonserver to start.
        repository: folder of models.
        models: those of them to load.
        hosts: addresses to listen on, or names that this machine resolves, of "http", "grpc" and "metrics".
        ports: their numbers.
        shm_prefix: start of the names in /dev/shm, unique to this server.
        admin_key: what a request to load or unload a model must carry in the header ADMIN_HEADER.
        forwards_log_headers: whether the models are told the headers that a request log keeps.
    """
    restricted = f"{','.join(RESTRICTED_APIS)}:{ADMIN_HEADER}={admin_key}"
    backends = [f"--backend-directory={binary.backends}"] if binary.backends else []
    return [
        str(binary.executable),
        f"--model-repository={repository}",
        *_endpoints(hosts, ports),
        *_models(models, forwards_log_headers),
        f"--http-restricted-api={restricted}",
        f"--grpc-restricted-protocol={restricted}",
        *backends,
        f"--backend-config=python,shm-region-prefix-name={shm_prefix}",
        f"--backend-config=python,shm-default-byte-size={SHM_BYTES}",
        f"--backend-config=python,shm-growth-byte-size={SHM_BYTES}",
        f"--backend-config=python,stub-timeout-seconds={STUB_TIMEOUT_S}",
        *_devices(),
        f"--exit-timeout-secs={EXIT_TIMEOUT_S}",
        "--log-format=ISO8601",
    ]


def _endpoints(hosts: Mapping[str, str], ports: Mapping[str, int]) -> list[str]:
    return [
        *(f"--{name}-address={_address(name, hosts[name])}" for name in ports),
        *(f"--{name}-port={port}" for name, port in ports.items()),
        *(f"--allow-{name}=true" for name in ports),
    ]


def _address(name: str, host: str) -> str:
    """As tritonserver reads it: names are none of its HTTP server's, which takes them for 255.255.255.255."""
    if ":" in host:
        return f"[{host}]" if name == "grpc" else f"ipv6:{host}"
    return socket.gethostbyname(host)


def _models(models: Sequence[str], forwards_log_headers: bool) -> list[str]:
    """Explicit control: a later version is loaded when asked for; a model that cannot load now ends the server."""
    # A gateway that adds a header keeps the key of those who send events from browsers.
    wanted = [*([KEY] if EVENTS_MODEL in models else []), *(LOG_HEADERS if forwards_log_headers else [])]
    pattern = f"(?i){wanted[0]}" if len(wanted) == 1 else f"(?i)({'|'.join(wanted)})"
    header = [f"--{name}-header-forward-pattern={pattern}" for name in ("http", "grpc") if wanted]
    return [
        "--model-control-mode=explicit",
        *(f"--load-model={model}" for model in models),
        *header,
        "--disable-auto-complete-config",
        "--exit-on-error=true",
        "--strict-readiness=true",
    ]


def _devices() -> list[str]:
    if num_gpus() > 0:
        return ["--allow-gpu-metrics=true"]
    return ["--allow-gpu-metrics=false", "--pinned-memory-pool-byte-size=0"]
