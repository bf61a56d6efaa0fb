"""Where a server listens: hosts, ports, and the URLs that follow from them."""

from __future__ import annotations

from cascade_client import Address, parse_url

__all__ = ["Endpoints"]


class Endpoints:
    """Three ports.

    Args:
        host: address to listen on.
        ports: numbers of "http", "grpc" and "metrics"; 0 until they are chosen.
        metrics_host: where another one is meant for the metrics.
    """

    def __init__(self, host: str, ports: dict[str, int], metrics_host: str | None = None) -> None:
        self.host, self.ports = host, ports
        self.hosts = {"http": host, "grpc": host, "metrics": metrics_host or host}

    @property
    def http_url(self) -> str:
        """Base URL of the HTTP endpoint."""
        return f"http://{self._host_and_port('http')}"

    @property
    def grpc_url(self) -> str:
        """URL of the gRPC endpoint, as CascadeClient takes it."""
        return f"grpc://{self._host_and_port('grpc')}"

    @property
    def grpc_address(self) -> Address:
        """The gRPC endpoint, as ModelControl takes it."""
        return parse_url(self.grpc_url)

    @property
    def metrics_url(self) -> str:
        """URL of the Prometheus metrics."""
        return f"http://{self._host_and_port('metrics')}/metrics"

    def local_address(self, purpose: str) -> str:
        """The address that clients on this machine use for "http", "grpc" or "metrics"."""
        host = self.hosts[purpose]
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)

    def _host_and_port(self, purpose: str) -> str:
        address = self.local_address(purpose)
        return f"{f'[{address}]' if ':' in address else address}:{self.ports[purpose]}"
